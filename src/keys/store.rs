//! Writing: a value put in the place of another, a deadline changed, a key removed or renamed.
//!
//! Every way keeps three things in step: what the entry holds, the timer that its deadline has in
//! the wheel, and the positions that the view remembers of its keys.

use crate::error::Error;
use crate::eviction::access::fresh;
use crate::keys::slots::Found;
use crate::keys::{Guards, Keys, NewString, Ttl, in_place};
use crate::keyspace::{Content, InPlace, Meta, Taken};
use crate::values::{Blob, Kind, Value};

/// Edits a large string where it is, unless a reply that is under way refers to it.
fn edit_blob<R>(value: Option<&mut Value>, len: usize, f: impl FnOnce(&mut [u8]) -> R) -> Result<R, Error> {
    let Some(Value::Str(blob)) = value else { return Err(Error::WrongType) };
    let vec = blob.make_mut();
    if vec.len() < len {
        vec.try_reserve(len - vec.len()).map_err(|_| Error::OutOfMemory)?;
        vec.resize(len, 0);
    }
    Ok(f(vec))
}

impl<'k> Keys<'_, 'k> {
    /// Stores a collection (or any out-of-line value) at key `i`, replacing what is there.
    pub fn put_value(&mut self, i: usize, value: Value, ttl: Ttl) -> Result<(), Error> {
        self.put(i, Content::Value(value), false, ttl)
    }

    /// Stores a string at key `i`, replacing what is there.
    #[inline]
    pub fn put_string(&mut self, i: usize, value: NewString<'_>, ttl: Ttl) -> Result<(), Error> {
        if let (NewString::Bytes(b), Ttl::Clear | Ttl::Keep) = (&value, ttl)
            && let Some(mut entry) = self.in_place(i)
            && entry.rewrite(b, ttl == Ttl::Keep)
        {
            return Ok(());
        }
        match value {
            NewString::Bytes(b) => self.put(i, Content::Bytes(b), false, ttl),
            NewString::Raw(b) => self.put(i, Content::Bytes(b), true, ttl),
            NewString::Blob(b) => self.put(i, Content::Value(Value::Str(b)), false, ttl),
        }
    }

    /// The entry of an only key, to be written over: nearly every SET of a key that is there and INCR need nothing
    /// else. None if it is not there, or its time has come, or there are other keys.
    #[inline(always)]
    pub fn in_place(&mut self, i: usize) -> Option<InPlace<'_>> {
        let Guards::One(guard) = &mut self.guards else { return None };
        in_place(guard, &mut self.slots[i], self.now, self.policy)
    }

    fn put(&mut self, i: usize, mut content: Content<'_>, raw: bool, ttl: Ttl) -> Result<(), Error> {
        let old = self.locate(i);
        let (old_ttl, access) = match old {
            Some(pos) => self.with_guard(i, |g, _| {
                let e = g.entry(pos);
                (e.deadline().map(|d| (d, e.armed())), e.access())
            }),
            None => (None, fresh(self.fresh, self.now)),
        };
        let deadline = match ttl {
            Ttl::Clear => None,
            Ttl::Keep => old_ttl.map(|(d, _)| d),
            Ttl::At(ms) => Some(ms),
        };
        let armed = self.arm(i, old_ttl, deadline);
        let fields = self.arm_fields(i, &mut content);
        let meta = Meta { deadline, armed, access, mark: raw };
        let placed = self.with_guard(i, |g, slot| match old {
            Some(pos) => g.replace(pos, slot.hash, content, meta),
            None => g.insert(slot.hash, &slot.key, content, meta).map(|pos| (pos, None)),
        });
        if placed.is_err() && fields.is_some() {
            self.expiry.change_fields(self.slots[i].db, self.slots[i].hash, fields, None);
        }
        let (pos, dropped) = placed?;
        self.bury(i, dropped);
        self.slots[i].created |= old.is_none();
        self.written(i, Found::At(pos));
        Ok(())
    }

    /// The armed tick for a deadline that changes from `old` to `new`.
    #[inline]
    fn arm(&mut self, i: usize, old: Option<(u64, u32)>, new: Option<u64>) -> u32 {
        match (old, new) {
            (None, None) => 0,
            _ => self.expiry.change(self.slots[i].db, self.slots[i].hash, old, new),
        }
    }

    /// The armed tick for the fields of a hash that comes to key `i`. One that it had is of another key.
    #[inline]
    fn arm_fields(&mut self, i: usize, content: &mut Content<'_>) -> Option<u32> {
        let Content::Value(Value::Hash(hash)) = content else { return None };
        let slot = &self.slots[i];
        let tick = self.expiry.change_fields(slot.db, slot.hash, None, hash.next_deadline());
        hash.set_armed(tick);
        tick
    }

    /// Edits the string at key `i` as a buffer of at least `len` bytes (zero-filled where it was
    /// shorter; created where there was none). The deadline stays, the encoding becomes raw.
    pub fn edit_string<R>(
        &mut self,
        i: usize,
        len: usize,
        f: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<R, Error> {
        self.expect_kind(i, Kind::String)?;
        if let Some(pos) = self.locate(i) {
            if self.with_entry(i, |e| !e.is_packed()).unwrap_or(false) {
                return self.with_guard(i, |g, _| edit_blob(g.value_mut(pos), len, f));
            }
            let mut buf: Vec<u8> = Vec::new();
            let wanted = self.string(i, |s| s.map_or(0, |s| s.len()))?.max(len);
            buf.try_reserve_exact(wanted).map_err(|_| Error::OutOfMemory)?;
            self.string(i, |s| buf.extend_from_slice(s.as_deref().unwrap_or(&[])))?;
            buf.resize(wanted, 0);
            let r = f(&mut buf);
            self.store_edited(i, buf)?;
            return Ok(r);
        }
        let mut buf = Vec::new();
        buf.try_reserve_exact(len).map_err(|_| Error::OutOfMemory)?;
        buf.resize(len, 0);
        let r = f(&mut buf);
        self.store_edited(i, buf)?;
        Ok(r)
    }

    fn store_edited(&mut self, i: usize, buf: Vec<u8>) -> Result<(), Error> {
        if buf.len() > crate::keyspace::PACKED_VALUE_MAX {
            self.put_string(i, NewString::Blob(Blob::from_vec(buf)), Ttl::Keep)
        } else {
            self.put_string(i, NewString::Raw(&buf), Ttl::Keep)
        }
    }

    /// Moves the deadline of an only key that has one, if `allows` says so of the present one: nearly every EXPIRE is a refresh,
    /// and touches nothing else. Whether it did; None if there is no such key, or it has no deadline, or there are other keys:
    /// then [`set_deadline`](Self::set_deadline) is to be asked.
    #[inline(always)]
    pub fn move_deadline(&mut self, i: usize, to: u64, allows: impl FnOnce(u64) -> bool) -> Option<bool> {
        let Guards::One(guard) = &mut self.guards else { return None };
        let slot = &mut self.slots[i];
        let mut entry = in_place(guard, slot, self.now, self.policy)?;
        let (old, armed) = (entry.entry().deadline()?, entry.entry().armed());
        if !allows(old) {
            return Some(false);
        }
        let armed = self.expiry.change(slot.db, slot.hash, Some((old, armed)), Some(to));
        Some(entry.move_deadline(to, armed))
    }

    /// Sets or removes the deadline of key `i`; false if there is no such key.
    pub fn set_deadline(&mut self, i: usize, deadline: Option<u64>) -> Result<bool, Error> {
        let Some(pos) = self.locate(i) else { return Ok(false) };
        let old = self.with_guard(i, |g, _| g.entry(pos).meta());
        let armed = self.arm(i, old.deadline.map(|d| (d, old.armed)), deadline);
        if let Some(at) = deadline
            && self.with_guard(i, |g, _| g.move_deadline(pos, at, armed))
        {
            return Ok(true);
        }
        let meta = Meta { deadline, armed, ..old };
        let pos = self.with_guard(i, |g, _| g.set_meta(pos, meta))?;
        self.written(i, Found::At(pos));
        Ok(true)
    }

    /// Removes key `i`; false if there is no such key.
    pub fn remove(&mut self, i: usize) -> bool {
        let Some(pos) = self.locate(i) else { return false };
        let (dropped, had_ttl) = self.with_guard(i, |g, _| {
            let ttl = g.entry(pos).deadline().map(|d| (d, g.entry(pos).armed()));
            (g.remove(pos), ttl)
        });
        self.arm(i, had_ttl, None);
        self.bury(i, dropped);
        self.written(i, Found::Missing);
        true
    }

    /// Moves what is at `from` to `to` with its deadline, replacing what is there.
    /// False if there is nothing at `from`.
    pub fn rename(&mut self, from: usize, to: usize) -> Result<bool, Error> {
        let Some(pos) = self.locate(from) else { return Ok(false) };
        let (taken, meta) = self.with_guard(from, |g, _| g.take(pos));
        if let Some(deadline) = meta.deadline {
            self.arm(from, Some((deadline, meta.armed)), None);
        }
        if let Taken::Value(value) = &taken {
            self.expiry.forget_fields(self.slots[from].db, self.slots[from].hash, value);
        }
        self.written(from, Found::Missing);
        self.remove(to);
        let ttl = meta.deadline.map_or(Ttl::Clear, Ttl::At);
        match taken {
            Taken::Bytes(bytes) => self.put(to, Content::Bytes(&bytes), meta.mark, ttl)?,
            Taken::Value(value) => self.put_value(to, value, ttl)?,
        }
        Ok(true)
    }
}
