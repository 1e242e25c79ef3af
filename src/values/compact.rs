//! Small collections as the one run of bytes that they are, to stand wherever bytes can.
//!
//! A collection of a few elements is a listpack or an intset, and nothing else of it is worth a word: without its
//! pointer, its length and what an allocator rounds up, ten elements take a quarter less memory. It is read where it
//! stands ([`Lent`]); to be changed it is unpacked again, which is a copy of some hundred bytes.
#![allow(unsafe_code)] // a value that does not own its bytes, to be read as any other

use super::packed::buffer::Buffer;
use super::packed::{Intset, Listpack};
use super::{Hash, Kind, List, Set, SortedSet, Value};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;

/// A collection's bytes. They are the process' own and not looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed<'a> {
    /// A listpack, or an intset.
    pub bytes: &'a [u8],
    /// Which of the two.
    pub ints: bool,
}

/// A collection that reads bytes which stand elsewhere.
pub struct Lent<'a> {
    value: ManuallyDrop<Value>,
    _bytes: PhantomData<&'a [u8]>,
}

impl std::ops::Deref for Lent<'_> {
    type Target = Value;
    #[inline]
    fn deref(&self) -> &Value {
        &self.value
    }
}

impl<'a> Packed<'a> {
    /// The collection, of the kind that it was, to be read where it stands.
    ///
    /// # Panics
    /// A string or a stream is never packed like this.
    #[inline]
    pub fn lend(self, kind: Kind) -> Lent<'a> {
        // SAFETY: it lives no longer than the bytes, is never dropped, and nobody gets it but by `&`. A copy of it has an
        // allocation of its own, and small collections have nothing that changes behind `&`.
        let value = self.holding(unsafe { Buffer::lent(self.bytes) }, kind);
        Lent { value: ManuallyDrop::new(value), _bytes: PhantomData }
    }

    /// The collection, of the kind that it was, with a copy of the bytes.
    ///
    /// # Panics
    /// A string or a stream is never packed like this.
    pub fn unpack(self, kind: Kind) -> Value {
        self.holding(Buffer::from(self.bytes), kind)
    }

    #[inline]
    fn holding(self, bytes: Buffer, kind: Kind) -> Value {
        if self.ints {
            debug_assert_eq!(kind, Kind::Set, "only sets are intsets");
            return Value::Set(Set::from(Intset::from_own(bytes)));
        }
        let pack = Listpack::from_own(bytes);
        match kind {
            Kind::List => Value::List(List::from_own(pack)),
            Kind::Set => Value::Set(Set::from_own(pack)),
            Kind::Hash => Value::Hash(Hash::from_own(pack)),
            Kind::ZSet => Value::ZSet(SortedSet::from_own(pack)),
            Kind::String | Kind::Stream => unreachable!("invariant: only small collections are packed"),
        }
    }
}

impl Value {
    /// The bytes of a collection that is one run of at most `max`.
    #[inline]
    pub fn packed(&self, max: usize) -> Option<Packed<'_>> {
        let pack = match self {
            Value::List(list) => list.as_listpack(),
            Value::Hash(hash) => hash.as_listpack(),
            Value::ZSet(zset) => zset.as_listpack(),
            Value::Set(set) => match set.form() {
                super::set::Form::Packed(pack) => Some(pack),
                super::set::Form::Ints(ints) => {
                    let bytes = ints.as_bytes();
                    return (bytes.len() <= max).then_some(Packed { bytes, ints: true });
                }
                super::set::Form::Table => None,
            },
            Value::Str(_) | Value::Stream(_) => None,
        };
        let bytes = pack?.as_bytes();
        (bytes.len() <= max).then_some(Packed { bytes, ints: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::{Blob, Stream, hash, list, set, sorted_set};

    /// Reads all of it, and several at once, as Miri sees.
    fn bytes_of(value: &Value) -> Vec<u8> {
        let (once, twice) = (value.packed(1000).expect("small"), value.packed(1000).expect("small"));
        [once.bytes, twice.bytes].concat()
    }

    fn round(value: &Value) -> Option<String> {
        let packed = value.packed(1000)?;
        let bytes = packed.bytes.to_vec();
        let again = Packed { bytes: &bytes, ..packed }.unpack(value.kind());
        assert_eq!((again.kind(), again.encoding()), (value.kind(), value.encoding()));
        assert_eq!(again.packed(1000), Some(packed));
        let there = Packed { bytes: &bytes, ..packed }.lend(value.kind());
        let copy = (*there).clone();
        drop(bytes_of(&there));
        assert_eq!(format!("{copy:?}"), format!("{:?}", *there));
        Some(format!("{again:?}"))
    }

    #[test]
    fn small_collections_come_out_as_they_went_in() {
        let (mut list, mut words, mut ints) = (List::new(), Set::default(), Set::default());
        let (mut hash, mut zset) = (Hash::new(), SortedSet::new());
        for n in 0..10 {
            let text = format!("element:{n}").into_bytes();
            list.push(list::End::Tail, &text, &list::Limits::default());
            words.insert(&text, &set::Limits::default());
            ints.insert(n.to_string().as_bytes(), &set::Limits::default());
            hash.set(&text, b"17", &hash::Limits::default());
            let score = sorted_set::Score::new(f64::from(n) / 2.0).expect("a number");
            zset.insert(&text, score, &sorted_set::Limits::default());
        }
        for value in
            [Value::List(list), Value::Set(words), Value::Set(ints), Value::Hash(hash), Value::ZSet(zset)]
        {
            assert_eq!(round(&value), Some(format!("{value:?}")));
            assert!(value.packed(20).is_none(), "too long for what there is room for");
        }
    }

    #[test]
    fn what_is_not_one_run_of_bytes_stays_as_it_is() {
        let (mut hash, mut timed) = (Hash::new(), Hash::new());
        for n in 0..200 {
            hash.set(format!("{n}").as_bytes(), b"v", &hash::Limits::default());
        }
        timed.set_with(b"f", b"v", hash::Deadline::At(5), &hash::Limits::default());
        for value in [
            Value::Hash(hash),
            Value::Hash(timed),
            Value::Str(Blob::copy_from(b"a text")),
            Value::Stream(Box::new(Stream::new())),
        ] {
            assert_eq!(round(&value), None);
        }
    }
}
