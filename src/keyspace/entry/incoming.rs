//! Entries on their way in: what a new one is to hold, and who owns that until it is placed.
#![allow(unsafe_code)] // ownership of values as bytes

use super::{KEY_PACKED_MAX, KIND_SHIFT, LONG, LONG_AREA, LongKey, MARK, OUT, Raw, TTL};
use super::{header, is_loose, out_at, units};
use crate::keyspace::arena::{ArenaGuard, Delta};
use crate::keyspace::hash::KeyHash;
use crate::keyspace::segment::{Ref, Segments, UNIT};
use crate::keyspace::{Meta, OutOfSpace};
use crate::values::{Kind, Value};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::sync::atomic::Ordering::Relaxed;

#[derive(Clone, Copy)]
pub(in crate::keyspace) enum KeyPart<'a> {
    Packed(&'a [u8]),
    /// Hash and ownership of a `Box<LongKey>`.
    Long(u64, *mut LongKey),
}

#[derive(Clone, Copy)]
pub(in crate::keyspace) enum ValuePart<'a> {
    Packed(&'a [u8]),
    Out(Owned),
}

/// Ownership of a `Value` on its way into an entry, or from one entry to another. To be taken
/// exactly once.
#[derive(Clone, Copy)]
pub(in crate::keyspace) struct Owned(MaybeUninit<[u64; size_of::<Value>() / UNIT]>);

impl Owned {
    pub fn new(value: Value) -> Self {
        let value = ManuallyDrop::new(value);
        // SAFETY: as many bytes, of any kind; the value is not dropped here.
        Owned(unsafe { std::ptr::from_ref(&value).cast::<MaybeUninit<_>>().read() })
    }

    /// # Safety
    /// Once for each value.
    pub unsafe fn take(self) -> Value {
        // SAFETY: made of a value; aligned as one.
        unsafe { self.0.as_ptr().cast::<Value>().read() }
    }
}

/// An entry that is to be written.
#[derive(Clone, Copy)]
pub(in crate::keyspace) struct NewEntry<'a> {
    pub key: KeyPart<'a>,
    pub value: ValuePart<'a>,
    pub kind: Kind,
    pub meta: Meta,
}

impl NewEntry<'_> {
    fn key_area(&self) -> usize {
        match self.key {
            KeyPart::Packed(key) => key.len(),
            KeyPart::Long(..) => LONG_AREA,
        }
    }

    pub fn value_area(&self) -> usize {
        match self.value {
            ValuePart::Packed(bytes) => bytes.len(),
            ValuePart::Out(_) => {
                let key_end = header(self.meta.deadline.is_some()) + self.key_area();
                out_at(key_end) - key_end + size_of::<Value>()
            }
        }
    }

    pub(super) fn flags(&self) -> u8 {
        let mut flags = (self.kind as u8) << KIND_SHIFT;
        flags |= if self.meta.deadline.is_some() { TTL } else { 0 };
        flags |= if self.meta.mark { MARK } else { 0 };
        flags |= if matches!(self.value, ValuePart::Out(_)) { OUT } else { 0 };
        flags | if matches!(self.key, KeyPart::Long(..)) { LONG } else { 0 }
    }

    pub fn units(&self) -> usize {
        units(self.meta.deadline.is_some(), self.key_area(), self.value_area())
    }

    /// How the counts change when this entry comes.
    pub fn delta(&self) -> Delta {
        let flags = self.flags();
        Delta {
            keys: 1,
            expires: self.meta.deadline.is_some().into(),
            boxed: (flags & (OUT | LONG) != 0).into(),
            loose: is_loose(flags).into(),
        }
    }

    /// Writes the entry into a new place. Value and boxed key are the entry's from now on.
    pub fn place(&self, arena: &mut ArenaGuard<'_>, segments: &Segments) -> Result<Ref, OutOfSpace> {
        let place = arena.reserve(self.units())?;
        let entry = Raw(segments.address(place));
        entry.byte(0).store(self.key_area() as u8, Relaxed);
        entry.half(2).store(self.value_area() as u16, Relaxed);
        entry.half(4).store(self.meta.access, Relaxed);
        if let Some(deadline) = self.meta.deadline {
            entry.set_deadline(deadline, self.meta.armed);
        }
        let key_at = header(self.meta.deadline.is_some());
        // SAFETY: `units()` bytes were reserved for us alone under the arena's lock; all
        // offsets lie inside them, and a source in the mapping is another, living, entry.
        unsafe {
            match self.key {
                KeyPart::Packed(key) => entry.at(key_at).copy_from_nonoverlapping(key.as_ptr(), key.len()),
                KeyPart::Long(hash, key) => {
                    entry.at(key_at).cast::<u64>().write_unaligned(hash);
                    entry.at(key_at + 8).cast::<*mut LongKey>().write_unaligned(key);
                }
            }
            entry.write_value(key_at + self.key_area(), self.value);
        }
        entry.byte(1).store(self.flags(), Relaxed);
        Ok(place)
    }
}

/// The key part for a new key.
pub(in crate::keyspace) fn key_part(key: &[u8], hash: KeyHash) -> KeyPart<'_> {
    if key.len() <= KEY_PACKED_MAX {
        KeyPart::Packed(key)
    } else {
        KeyPart::Long(hash.0, Box::into_raw(Box::new(key.into())))
    }
}

/// Undoes `key_part` for an entry that could not be placed.
pub(in crate::keyspace) fn discard_key(part: KeyPart<'_>) {
    if let KeyPart::Long(_, key) = part {
        // SAFETY: made by `key_part`, and no entry took it.
        drop(unsafe { Box::from_raw(key) });
    }
}

/// Drops a value that could not be placed.
pub(in crate::keyspace) fn discard_value(part: ValuePart<'_>) {
    if let ValuePart::Out(value) = part {
        // SAFETY: the caller's, and no entry took it.
        drop(unsafe { value.take() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::samples::values;

    /// Most of all for Miri: pointers survive the way through bytes, and nothing is freed twice or never.
    #[test]
    fn values_come_out_as_they_went_in() {
        for value in values(3) {
            let before = (value.kind(), value.memory(), format!("{value:?}"));
            let part = ValuePart::Out(Owned::new(value));
            let copy = part;
            let ValuePart::Out(owned) = copy else { unreachable!("made above") };
            // SAFETY: the only one of both copies that is taken.
            let value = unsafe { owned.take() };
            assert_eq!((value.kind(), value.memory(), format!("{value:?}")), before);
        }
        values(3).into_iter().for_each(|value| discard_value(ValuePart::Out(Owned::new(value))));
        discard_key(key_part(&[1; 300], KeyHash(5)));
    }
}
