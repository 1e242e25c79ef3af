//! Collections by their type: a handler says `read::<List, _>` and gets the list, nothing, or
//! WRONGTYPE.
//!
//! Two things happen here so that no handler can forget them. A collection that became empty
//! is removed with its key, and [`Ctx::changed`](crate::commands::ctx::Ctx::changed) states
//! the `del` behind the event that emptied it. Fields of a hash that are past their deadline
//! go before anybody sees them.

use std::ops::Range;

use crate::effects::ended::{EndedField, Kept, KeptPart};
use crate::error::Error;
use crate::expiry::is_past;
use crate::keys::slots::Found;
use crate::keys::{Guards, Keys, Ttl};
use crate::keyspace::{InPlace, LockSet, Pos};
use crate::values::hash::Field;
use crate::values::{Hash, Kind, List, Set, SortedSet, Stream, Value};

/// A type of value that lives out of line.
pub trait Collection: Sized {
    /// Its kind.
    const KIND: Kind;
    /// The value as this type.
    fn of(value: &Value) -> Option<&Self>;
    /// The same to be changed.
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    /// As a value to store.
    fn wrap(self) -> Value;
    /// Whether its key goes, as there is nothing in it.
    fn vanishes(&self) -> bool;
    /// Whether a part of it is past its deadline.
    #[inline]
    fn is_due(&self, _now: u64) -> bool {
        false
    }
    /// Removes those parts if it may, as many as go at once, and hides the others from whoever
    /// looks. How many went; each is shown to `_gone` before.
    fn drop_due(&mut self, _now: u64, _may_delete: bool, _gone: &mut dyn FnMut(Field<'_>)) -> usize {
        0
    }
    /// A copy for a reader, where that costs little: it shares the memory of a large collection.
    fn snapshot(&mut self) -> Option<Self> {
        None
    }
    /// How parts of it are timed.
    fn timer(&self) -> Timer {
        (None, None)
    }
}

/// The tick that is armed for parts of a value, and the earliest of their deadlines.
type Timer = (Option<u32>, Option<u64>);

macro_rules! collection {
    ($type:ident, $kind:ident, $vanishes:expr $(, $more:item)*) => {
        impl Collection for $type {
            const KIND: Kind = Kind::$kind;
            #[inline]
            fn of(value: &Value) -> Option<&Self> {
                if let Value::$kind(v) = value { Some(v) } else { None }
            }
            #[inline]
            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                if let Value::$kind(v) = value { Some(v) } else { None }
            }
            fn wrap(self) -> Value {
                Value::$kind(self.into())
            }
            #[inline]
            fn vanishes(&self) -> bool {
                let vanishes: fn(&Self) -> bool = $vanishes;
                vanishes(self)
            }
            $($more)*
        }
    };
}

collection!(
    List,
    List,
    List::is_empty,
    fn snapshot(&mut self) -> Option<Self> {
        List::snapshot(self)
    }
);
collection!(
    Set,
    Set,
    Set::is_empty,
    fn snapshot(&mut self) -> Option<Self> {
        Set::snapshot(self).or_else(|| (self.len() < MANY).then(|| self.clone()))
    }
);
collection!(
    SortedSet,
    ZSet,
    SortedSet::is_empty,
    fn snapshot(&mut self) -> Option<Self> {
        SortedSet::snapshot(self).or_else(|| (self.len() < MANY).then(|| self.clone()))
    }
);
// A stream without entries still has its last id and its groups.
collection!(
    Stream,
    Stream,
    |_| false,
    fn snapshot(&mut self) -> Option<Self> {
        Some(self.entries_snapshot())
    }
);
collection!(
    Hash,
    Hash,
    Hash::is_empty,
    #[inline]
    fn is_due(&self, now: u64) -> bool {
        self.next_deadline().is_some_and(|at| is_past(at, now)) || self.hides_any()
    },
    fn drop_due(&mut self, now: u64, may_delete: bool, gone: &mut dyn FnMut(Field<'_>)) -> usize {
        let gone = if may_delete { self.expire(now, PARTS_AT_ONCE, gone) } else { 0 };
        let more = self.next_deadline().is_some_and(|at| is_past(at, now));
        self.hide_before(if more { now } else { 0 });
        gone
    },
    fn snapshot(&mut self) -> Option<Self> {
        Hash::snapshot(self).or_else(|| (self.len() < MANY).then(|| self.clone()))
    },
    #[inline]
    fn timer(&self) -> Timer {
        (self.armed(), self.next_deadline())
    }
);

/// From so many elements on a collection is read from a snapshot rather than under its lock.
pub const MANY: usize = 4096;

/// Fields that a command removes because their time has come, before it looks at the others.
const PARTS_AT_ONCE: usize = 256;

/// What was expired inside of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    /// Some of its fields.
    Some,
    /// All of them, and the key with them.
    All,
}

impl Keys<'_, '_> {
    /// The collection at key `i` where a single look finds it and nothing else has to be seen to: its key is alone in
    /// the view, and nothing of it is past its deadline. None of all others, which are for
    /// [`locate_fresh`](Self::locate_fresh).
    #[inline(always)]
    fn at_once<T: Collection>(&mut self, i: usize) -> Option<&mut T> {
        let now = self.now;
        self.in_place(i)?.value_mut().and_then(T::of_mut).filter(|value| !value.is_due(now))
    }

    /// The collection at key `i`, handed to `f` (`None`: no such key).
    #[inline]
    pub fn read<T: Collection, R>(&mut self, i: usize, f: impl FnOnce(Option<&T>) -> R) -> Result<R, Error> {
        let now = self.now;
        let held = self.in_place(i).and_then(InPlace::held);
        if let Some(value) = held.as_deref().and_then(T::of).filter(|value| !value.is_due(now)) {
            return Ok(f(Some(value)));
        }
        let Some(pos) = self.locate_fresh::<T>(i) else {
            return Ok(f(None));
        };
        self.with_guard(i, |g, _| match g.entry(pos).value().as_deref().and_then(T::of) {
            Some(value) => Ok(f(Some(value))),
            None => Err(Error::WrongType),
        })
    }

    /// A snapshot of the collection at key `i`, if it is `wanted` and costs little. None of a key
    /// that is not there, and what is of another type is left to [`read`](Self::read) to refuse.
    pub fn snapshot<T: Collection>(&mut self, i: usize, wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        let pos = self.locate_fresh::<T>(i)?;
        self.with_guard(i, |g, _| {
            // Looked at first: to be changed it would have to be fetched for writing. What is packed is not large.
            if !g.entry(pos).out_of_line().and_then(T::of).is_some_and(wanted) {
                return None;
            }
            g.value_mut(pos).and_then(T::of_mut).and_then(T::snapshot)
        })
    }

    /// The collections at several keys at once.
    pub fn read_many<T: Collection, R>(
        &mut self,
        keys: Range<usize>,
        f: impl FnOnce(&[Option<&T>]) -> R,
    ) -> Result<R, Error> {
        let mut present = Vec::with_capacity(keys.len());
        for i in keys.clone() {
            self.read::<T, _>(i, |_| ())?;
        }
        for i in keys.clone() {
            present.push(self.locate(i).is_some());
        }
        let mut own = LockSet::new();
        if let Guards::Open(batch) = &self.guards {
            let named: Vec<_> = keys.clone().map(|i| (self.slots[i].db, self.slots[i].hash)).collect();
            batch.lock_many(&named, &mut own);
        }
        let mut found = Vec::with_capacity(keys.len());
        for (n, i) in keys.enumerate() {
            let guard = match &self.guards {
                Guards::One(guard) => guard,
                Guards::Many(set) => set.guard_ref(i),
                Guards::Lent(lent) => lent,
                Guards::LentMany(set) => set.guard_ref(i),
                Guards::Open(_) => own.guard_ref(n),
                Guards::None => unreachable!("invariant: a slot is only pushed with its guard"),
            };
            let slot = &self.slots[i];
            let pos = guard.find(slot.hash, &slot.key).filter(|_| present[n]);
            found.push(pos.and_then(|pos| guard.entry(pos).value()));
        }
        let found: Vec<Option<&T>> = found.iter().map(|held| held.as_deref().and_then(T::of)).collect();
        Ok(f(&found))
    }

    /// The collection at key `i` to be changed in place, if it is there. The key goes if
    /// nothing is left in it.
    pub fn edit<T: Collection, R>(
        &mut self,
        i: usize,
        f: impl FnOnce(&mut T) -> R,
    ) -> Result<Option<R>, Error> {
        if let Some(value) = self.at_once::<T>(i) {
            let (result, empty, timer) = (f(value), value.vanishes(), value.timer());
            self.edited(i, empty, timer);
            return Ok(Some(result));
        }
        let Some(pos) = self.locate_fresh::<T>(i) else {
            return Ok(None);
        };
        let (result, empty, timer) =
            self.change::<T, _>(i, pos, |value| (f(value), value.vanishes(), value.timer()))?;
        self.edited(i, empty, timer);
        Ok(Some(result))
    }

    /// The collection at key `i` was changed in place: the key goes with its last element.
    #[inline]
    fn edited(&mut self, i: usize, empty: bool, timer: Timer) {
        if empty {
            self.remove(i);
            self.slots[i].emptied = true;
        } else {
            self.follow_deadlines(i, timer);
        }
    }

    /// The collection at key `i` to be changed in place, or the one that `new` makes, which
    /// is then stored.
    pub fn write<T: Collection, R>(
        &mut self,
        i: usize,
        new: impl FnOnce() -> T,
        f: impl FnOnce(&mut T) -> R,
    ) -> Result<R, Error> {
        if let Some(value) = self.at_once::<T>(i) {
            let (result, timer) = (f(value), value.timer());
            self.follow_deadlines(i, timer);
            return Ok(result);
        }
        let Some(pos) = self.locate_fresh::<T>(i) else {
            let mut value = new();
            let result = f(&mut value);
            self.put_value(i, value.wrap(), Ttl::Clear)?;
            return Ok(result);
        };
        let (result, timer) = self.change::<T, _>(i, pos, |value| (f(value), value.timer()))?;
        self.follow_deadlines(i, timer);
        Ok(result)
    }

    /// Changes the collection at `pos`, which key `i` has.
    fn change<T: Collection, R>(
        &mut self,
        i: usize,
        pos: Pos,
        f: impl FnOnce(&mut T) -> R,
    ) -> Result<R, Error> {
        let changed = self.with_guard(i, |g, slot| {
            if g.entry(pos).kind() != T::KIND {
                return Err(Error::WrongType);
            }
            let of =
                |value: &mut Value| f(T::of_mut(value).expect("invariant: the value is of its entry's kind"));
            Ok(g.change(pos, slot.hash, of)?)
        })?;
        // A string: no collection is one.
        let (result, now_at) = changed.ok_or(Error::WrongType)?;
        if now_at != pos {
            self.written(i, Found::At(now_at));
        }
        Ok(result)
    }

    /// The value at key `i` was changed in place: its timer follows the earliest deadline in it.
    #[inline(always)]
    fn follow_deadlines(&mut self, i: usize, timer: Timer) {
        if timer != (None, None) {
            self.rearm(i, timer);
        }
    }

    #[inline(never)]
    fn rearm(&mut self, i: usize, (armed, next): Timer) {
        let Some(pos) = self.locate(i) else { return };
        let slot = &self.slots[i];
        let tick = self.expiry.change_fields(slot.db, slot.hash, armed, next);
        if tick == armed {
            return;
        }
        self.with_guard(i, |g, _| {
            if let Some(Value::Hash(hash)) = g.value_mut(pos) {
                hash.set_armed(tick);
            }
        });
    }

    /// Takes out of key `i` what is past its deadline inside of it, as a look at it would: for what takes the value
    /// as a whole, so that nothing ends under another name than that under which it was seen.
    pub fn freshen(&mut self, i: usize) {
        let _ = self.locate_fresh::<Hash>(i);
    }

    /// Whether an edit emptied and removed key `i`, asked once.
    pub(crate) fn take_emptied(&mut self, i: usize) -> bool {
        std::mem::take(&mut self.slots[i].emptied)
    }

    /// Whether a removal by an edit was not stated.
    pub(crate) fn any_emptied(&self) -> bool {
        self.slots.iter().any(|s| s.emptied)
    }

    /// Keys in which fields were past their deadline.
    pub(crate) fn expired_parts(&self) -> impl Iterator<Item = (usize, Parts)> + '_ {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(i, s)| s.parts.map(|p| (i, p)))
    }

    /// Where key `i` is, less what is past its deadline inside of it.
    #[inline]
    fn locate_fresh<T: Collection>(&mut self, i: usize) -> Option<Pos> {
        let pos = self.locate(i)?;
        if T::KIND != Kind::Hash {
            return Some(pos);
        }
        let now = self.now;
        let value_is_due = |v: &Value| T::of(v).is_some_and(|v| v.is_due(now));
        if self.with_guard(i, |g, _| g.entry(pos).out_of_line().is_some_and(value_is_due)) {
            self.expire_parts::<T>(i, pos);
        }
        self.locate(i)
    }

    #[cold]
    fn expire_parts<T: Collection>(&mut self, i: usize, pos: Pos) {
        let (now, may_delete, heard) = (self.now, self.expiry.may_delete(), self.expiry.is_heard());
        let mut fields = Vec::new();
        let done = self.with_guard(i, |g, _| {
            let value = g.value_mut(pos).and_then(T::of_mut)?;
            let mut keep = |field: Field<'_>| {
                if heard {
                    fields.push(EndedField::of(field));
                }
            };
            Some((value.drop_due(now, may_delete, &mut keep), value.vanishes(), value.timer()))
        });
        let Some((gone @ 1.., all, timer)) = done else {
            return;
        };
        for field in fields {
            let (db, key) = (self.slots[i].db, self.slots[i].key.as_ref().into());
            self.expiry.keep(Kept { db, key, what: KeptPart::Field(field) });
        }
        if all {
            self.remove(i);
        } else {
            self.follow_deadlines(i, timer);
        }
        self.slots[i].parts = Some(if all { Parts::All } else { Parts::Some });
        self.expired_fields += gone as u64;
        self.any_expired = true;
    }
}
