//! Entries that are changed where they stand, and that die.
#![allow(unsafe_code)] // typed access to raw places

use super::header;
use super::{DEAD, EntryRef, Held, KIND, LONG, MARK, NewEntry, OUT, Raw, TTL, VALUE_PACKED_MAX, ValuePart};
use crate::keyspace::OutOfSpace;
use crate::keyspace::arena::{ArenaGuard, Delta};
use crate::keyspace::segment::{Ref, Segments, UNIT};
use crate::memory::Renewal;
use crate::values::{Kind, Scratch, Value};
use std::marker::PhantomData;
use std::sync::atomic::Ordering::Relaxed;

/// An entry that may be written over where it stands.
pub struct InPlace<'g>(pub(in crate::keyspace) EntryMut<'g>);

impl<'g> InPlace<'g> {
    /// The key and what it holds.
    #[inline(always)]
    pub fn entry(&self) -> EntryRef<'_> {
        self.0.view()
    }

    /// Overwrites a packed string if that changes neither the size of the entry nor its deadline
    /// (`keep` leaves a deadline as it is); else nothing happens, and the answer is false.
    #[inline(always)]
    pub fn rewrite(&mut self, bytes: &[u8], keep: bool) -> bool {
        self.0.rewrite_packed(bytes, keep)
    }

    /// Another deadline for an entry that has one, with its tick; false for one that has none.
    #[inline(always)]
    pub fn move_deadline(&mut self, deadline: u64, armed: u32) -> bool {
        self.0.move_deadline(deadline, armed)
    }

    /// What the key holds that is no packed string, to be read.
    #[inline(always)]
    pub fn held(self) -> Option<Held<'g>> {
        self.0.into_view().value()
    }

    /// The out-of-line value; None of what is packed.
    #[inline(always)]
    pub fn value_mut(self) -> Option<&'g mut Value> {
        self.0.value_mut()
    }
}

/// An entry of a locked shard that may be changed.
pub(in crate::keyspace) struct EntryMut<'g> {
    raw: Raw,
    place: Ref,
    _lock: PhantomData<&'g mut [u8]>,
}

impl<'g> EntryMut<'g> {
    /// # Safety
    /// A living entry whose shard is locked, and used through this only, for `'g`.
    #[inline(always)]
    pub unsafe fn new(segments: &'g Segments, place: Ref) -> Self {
        EntryMut { raw: Raw(segments.address(place)), place, _lock: PhantomData }
    }

    #[inline(always)]
    pub fn view(&self) -> EntryRef<'_> {
        EntryRef { raw: self.raw, _lock: PhantomData }
    }

    #[inline(always)]
    fn into_view(self) -> EntryRef<'g> {
        EntryRef { raw: self.raw, _lock: PhantomData }
    }

    /// The bytes of a packed string.
    pub fn bytes_mut(self) -> Option<&'g mut [u8]> {
        if self.raw.flags() & (OUT | KIND) != 0 {
            return None;
        }
        let at = self.raw.at(self.raw.key_at() + self.raw.key_area());
        // SAFETY: the value area of a packed string, ours alone for 'g.
        Some(unsafe { std::slice::from_raw_parts_mut(at, self.raw.value_area()) })
    }

    /// The value out of line, which is marked as changed.
    #[inline(always)]
    pub fn value_mut(self) -> Option<&'g mut Value> {
        if self.raw.flags() & OUT == 0 {
            return None;
        }
        self.set_mark(true);
        // SAFETY: alive, OUT, and ours alone for 'g.
        Some(unsafe { &mut *self.raw.out_value() })
    }

    #[inline(always)]
    fn set_mark(&self, mark: bool) {
        let old = self.raw.flags();
        let new = if mark { old | MARK } else { old & !MARK };
        if new != old {
            self.raw.byte(1).store(new, Relaxed);
        }
    }

    /// Takes the mark of a value out of line away; whether it was there.
    pub fn take_mark(&self) -> bool {
        let marked = self.view().mark();
        self.set_mark(false);
        marked
    }

    /// Writes a packed collection over as it is now, if it is still one run of bytes of the same sort, the entry keeps
    /// its size, and this was not done since pack.rs last came by. (What is written often is changed faster out of line.
    /// Of sets nothing says that: they hardly ever keep their size.)
    pub fn rewrite_collection(&self, value: &Value) -> bool {
        let flags = self.raw.flags();
        debug_assert!(flags & OUT == 0 && flags & KIND != 0, "a packed collection");
        let is_set = self.view().kind() == Kind::Set;
        if flags & MARK != 0 && !is_set {
            return false;
        }
        let mut scratch = Scratch::new();
        let Some(packed) = value.pack(&mut scratch) else { return false };
        let value_at = header(flags & TTL != 0) + self.raw.key_area();
        if packed.ints != (flags & MARK != 0)
            || (value_at + packed.bytes.len()).div_ceil(UNIT) != self.raw.units()
        {
            return false;
        }
        // SAFETY: the same number of units, so the new bytes are inside; ours alone.
        unsafe { self.raw.write_value(value_at, ValuePart::Packed(packed.bytes)) };
        self.raw.half(2).store(packed.bytes.len() as u16, Relaxed);
        self.set_mark(packed.ints || !is_set);
        true
    }

    /// Takes away what `rewrite_collection` left.
    pub fn was_walked(&self) {
        let view = self.view();
        if view.is_packed() && !matches!(view.kind(), Kind::String | Kind::Set) {
            self.set_mark(false);
        }
    }

    /// Moves the value's parts from `from` on, and a long key, if they stand in sparse pages; where to go on.
    pub fn renew(&mut self, from: u128, renewal: &mut Renewal) -> Option<u128> {
        let flags = self.raw.flags();
        if flags & LONG != 0 && from == 0 {
            // SAFETY: alive and LONG; the box stays, what it holds is ours alone.
            renewal.slice(unsafe { &mut *self.raw.long_key() });
        }
        // SAFETY: alive, OUT, and ours alone.
        if flags & OUT != 0 { unsafe { &mut *self.raw.out_value() }.renew(from, renewal) } else { None }
    }

    /// Writes other bytes, not raw, over those of a packed string if the entry keeps its size
    /// and has no deadline, or one that is to be kept.
    #[inline(always)]
    pub fn rewrite_packed(&self, bytes: &[u8], keep: bool) -> bool {
        let flags = self.raw.flags();
        if flags & (OUT | LONG | KIND) != 0 || (flags & TTL != 0 && !keep) {
            return false;
        }
        let value_at = header(flags & TTL != 0) + self.raw.key_area();
        let units = |value: usize| (value_at + value).div_ceil(UNIT);
        if bytes.len() > VALUE_PACKED_MAX || units(self.raw.value_area()) != units(bytes.len()) {
            return false;
        }
        // SAFETY: the same number of units, so the new value is inside; ours alone.
        unsafe { self.raw.write_value(value_at, ValuePart::Packed(bytes)) };
        self.raw.half(2).store(bytes.len() as u16, Relaxed);
        self.set_mark(false);
        true
    }

    /// Writes a new value over the old one if the entry keeps its size and its key its
    /// place; the old value, if it stood out of line, is the caller's then. `keeps`: the value is
    /// the old one, and only the meta changes.
    pub fn rewrite(&self, new: &NewEntry<'_>, keeps: bool) -> Result<Option<Value>, ()> {
        let old = self.raw.flags();
        if (old & TTL != 0) != new.meta.deadline.is_some() || self.raw.units() != new.units() {
            return Err(());
        }
        let mut given_up = None;
        if !keeps {
            let at = self.raw.key_at() + self.raw.key_area();
            // SAFETY: an OUT entry gives its value up, which is overwritten then; the same number
            // of units, so the new value is inside; ours alone.
            unsafe {
                given_up = (old & OUT != 0).then(|| self.raw.out_value().read());
                self.raw.write_value(at, new.value);
            }
        }
        self.raw.half(2).store(new.value_area() as u16, Relaxed);
        self.raw.byte(1).store(new.flags() & !LONG | old & LONG, Relaxed);
        self.raw.half(4).store(new.meta.access, Relaxed);
        if let Some(deadline) = new.meta.deadline {
            self.raw.set_deadline(deadline, new.meta.armed);
        }
        Ok(given_up)
    }

    /// Another deadline for an entry that has one, with its tick; false for one that has none.
    #[inline(always)]
    pub fn move_deadline(&self, deadline: u64, armed: u32) -> bool {
        let has = self.raw.flags() & TTL != 0;
        if has {
            self.raw.set_deadline(deadline, armed);
        }
        has
    }

    /// The entry dies and gives its value up; a boxed key is dropped here.
    pub fn kill(self, arena: &mut ArenaGuard<'_>) -> Option<Value> {
        arena.count(self.view().delta());
        let flags = self.raw.flags();
        // SAFETY: alive until the flag below says otherwise; key and value are taken once.
        let value = unsafe {
            if flags & LONG != 0 {
                drop(Box::from_raw(self.raw.long_key()));
            }
            (flags & OUT != 0).then(|| self.raw.out_value().read())
        };
        self.bury(arena);
        value
    }

    /// Another entry has taken over value, key and counts; only the place is given back.
    pub fn bury(self, arena: &mut ArenaGuard<'_>) {
        let units = self.raw.units();
        self.raw.byte(1).store(self.raw.flags() | DEAD, Relaxed);
        arena.release(self.place, units);
    }

    /// How the counts change when `new` takes over from this entry.
    pub fn delta_to(&self, new: &NewEntry<'_>) -> Delta {
        let (old, new) = (self.view().delta(), new.delta());
        Delta {
            keys: 0,
            expires: old.expires + new.expires,
            boxed: old.boxed + new.boxed,
            loose: old.loose + new.loose,
        }
    }

    /// Copies the entry to a fresh place and leaves the old one dead.
    pub fn relocate(self, arena: &mut ArenaGuard<'_>, segments: &Segments) -> Result<Ref, OutOfSpace> {
        let units = self.raw.units();
        let place = arena.bump(units).or_else(|_| arena.reserve(units))?;
        let to = segments.address(place).as_ptr();
        // SAFETY: a new place of the same size; the source is locked. Words, because the
        // bytes may be parts of pointers.
        unsafe { to.copy_from_nonoverlapping(self.raw.at(0), units * UNIT) };
        self.bury(arena);
        Ok(place)
    }
}
