//! Small collections as the one run of bytes that they are, to stand wherever bytes can.
//!
//! A collection of a few elements is a listpack or an intset, and nothing else of it is worth a word: without its
//! pointer, its length and what an allocator rounds up, ten elements take a quarter less memory. It is read where it
//! stands ([`Lent`]); to be changed it is unpacked again, which is a copy of some hundred bytes.
#![allow(unsafe_code)] // a value that does not own its bytes, to be read as any other

use super::packed::buffer::Buffer;
use super::packed::{Intset, Listpack};
use super::{Hash, Kind, List, Set, SortedSet, Value};
use smallvec::SmallVec;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;

/// A collection's bytes. They are the process' own and not looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed<'a> {
    /// A listpack in the form of those that are lent, or an intset.
    pub bytes: &'a [u8],
    /// Which of the two.
    pub ints: bool,
}

/// The longest run of bytes that is packed.
pub const PACKED_MAX: usize = 4096;

/// Where a collection is packed before it comes to its place.
pub type Scratch = SmallVec<[u8; PACKED_MAX]>;

/// Whether elements are packed without their back lengths: only lists are read from their end.
#[inline]
fn is_bare(kind: Kind) -> bool {
    kind != Kind::List
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
        let value = unsafe {
            if self.ints {
                Value::Set(Set::from(Intset::from_own(Buffer::lent(self.bytes, false))))
            } else {
                of_kind(Listpack::lent(self.bytes, is_bare(kind)), kind)
            }
        };
        Lent { value: ManuallyDrop::new(value), _bytes: PhantomData }
    }

    /// The collection, of the kind that it was, with a copy of the bytes.
    ///
    /// # Panics
    /// A string or a stream is never packed like this.
    pub fn unpack(self, kind: Kind) -> Value {
        if self.ints {
            debug_assert_eq!(kind, Kind::Set, "only sets are intsets");
            return Value::Set(Set::from(Intset::from_own(Buffer::from(self.bytes))));
        }
        of_kind(Listpack::of_lent(self.bytes, is_bare(kind)), kind)
    }
}

#[inline]
fn of_kind(pack: Listpack, kind: Kind) -> Value {
    match kind {
        Kind::List => Value::List(List::from_own(pack)),
        Kind::Set => Value::Set(Set::from_own(pack)),
        Kind::Hash => Value::Hash(Hash::from_own(pack)),
        Kind::ZSet => Value::ZSet(SortedSet::from_own(pack)),
        Kind::String | Kind::Stream => unreachable!("invariant: only small collections are packed"),
    }
}

/// The one run of bytes that a collection is.
enum Run<'a> {
    Pack(&'a Listpack),
    Ints(&'a Intset),
}

impl Value {
    fn run(&self) -> Option<Run<'_>> {
        let pack = match self {
            Value::List(list) => list.as_listpack(),
            Value::Hash(hash) => hash.as_listpack(),
            Value::ZSet(zset) => zset.as_listpack(),
            Value::Set(set) => match set.form() {
                super::set::Form::Packed(pack) => Some(pack),
                super::set::Form::Ints(ints) => return Some(Run::Ints(ints)),
                super::set::Form::Table => None,
            },
            Value::Str(_) | Value::Stream(_) => None,
        };
        pack.map(Run::Pack)
    }

    /// Whether it is a collection of one run of at most [`PACKED_MAX`] bytes, and not lent.
    #[inline]
    pub fn is_small(&self) -> bool {
        let bytes = self.run().map(|run| match run {
            Run::Pack(pack) => pack.size(),
            Run::Ints(ints) => ints.as_bytes().len(),
        });
        bytes.is_some_and(|bytes| bytes <= PACKED_MAX)
    }

    /// Packs it if it is such a collection.
    pub fn pack<'s>(&self, scratch: &'s mut Scratch) -> Option<Packed<'s>> {
        if !self.is_small() {
            return None;
        }
        scratch.clear();
        let ints = match self.run()? {
            Run::Pack(pack) => {
                pack.lend_to(is_bare(self.kind()), scratch);
                false
            }
            Run::Ints(ints) => {
                scratch.extend_from_slice(ints.as_bytes());
                true
            }
        };
        Some(Packed { bytes: scratch, ints })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::{Blob, Stream, hash, list, set, sorted_set};

    /// Reads all of it, and several at once, as Miri sees.
    fn read(value: &Value) {
        assert_eq!(format!("{value:?}"), format!("{:?}", value.clone()));
    }

    fn round(value: &Value) -> Option<String> {
        let (mut scratch, mut other) = (Scratch::new(), Scratch::new());
        let packed = value.pack(&mut scratch)?;
        let again = packed.unpack(value.kind());
        assert_eq!((again.kind(), again.encoding()), (value.kind(), value.encoding()));
        assert_eq!(again.pack(&mut other), Some(packed));
        let (there, twice) = (packed.lend(value.kind()), packed.lend(value.kind()));
        let copy = (*there).clone();
        read(&there);
        read(&twice);
        if let (Value::ZSet(there), Value::ZSet(zset)) = (&*there, value) {
            for rank in 0..zset.len() + 2 {
                assert!(there.iter_rev_from(rank).eq(zset.iter_rev_from(rank)));
                assert!(there.iter_from(rank).eq(zset.iter_from(rank)));
            }
        }
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
        }
    }

    #[test]
    fn what_is_not_one_run_of_bytes_stays_as_it_is() {
        let (mut hash, mut timed, mut long) = (Hash::new(), Hash::new(), List::new());
        (0..70).for_each(|_| long.push(list::End::Tail, &[b'x'; 60], &list::Limits::default()));
        for n in 0..200 {
            hash.set(format!("{n}").as_bytes(), b"v", &hash::Limits::default());
        }
        timed.set_with(b"f", b"v", hash::Deadline::At(5), &hash::Limits::default());
        for value in [
            Value::Hash(hash),
            Value::Hash(timed),
            Value::List(long),
            Value::Str(Blob::copy_from(b"a text")),
            Value::Stream(Box::new(Stream::new())),
        ] {
            assert_eq!(round(&value), None);
        }
    }
}
