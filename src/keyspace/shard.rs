//! The lock on a shard, and the guard through which its keys are used.
//!
//! Invariants
//! 1. `used`, `block`, the block's contents, and all of its entries but what entry.rs lists
//!    change only under the lock.
//! 2. `state` changes only under the lock: PENDING -> LIVE -> MOVED.
//! 3. A reference into an entry is never kept beyond the lock: it borrows the guard.
#![allow(unsafe_code)] // entries and blocks are reached through raw places

mod packed;

use super::arena::Arena;
use super::batch::Batch;
use super::bucket::{At, Block, BlockView, SLOTS, Word};
use super::engines::{Engine, Engines, Space};
use super::entry::{self, EntryMut, EntryRef, InPlace, NewEntry, Owned, ValuePart};
use super::hash::KeyHash;
use super::header::{LIVE, MOVED, PENDING, Shard};
use super::migrate;
use super::segment::Ref;
use super::{Content, Meta, OutOfSpace, Taken};
use crate::memory::Renewal;
use crate::values::{Blob, Kind, Value};
use std::mem::ManuallyDrop;
use std::sync::atomic::Ordering;

/// The exclusive lock on a shard, whatever its state.
pub(super) struct Locked<'b> {
    shard: &'b Shard,
    space: &'b Space,
}

impl Drop for Locked<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.shard.release();
    }
}

impl<'b> Locked<'b> {
    #[inline(always)]
    pub fn new(shard: &'b Shard, space: &'b Space) -> Self {
        shard.acquire(space);
        Locked { shard, space }
    }

    #[inline(always)]
    pub fn state(&self) -> u8 {
        self.shard.state_locked()
    }

    pub fn set_state(&self, state: u8) {
        debug_assert_eq!(state, if self.state() == PENDING { LIVE } else { MOVED });
        self.shard.set_state(state);
    }

    #[inline(always)]
    pub fn used(&self) -> usize {
        self.shard.used()
    }

    pub fn set_used(&self, n: usize) {
        self.shard.set_used(n.try_into().expect("invariant: a shard counts to 65535"));
    }

    #[inline(always)]
    pub fn block(&self) -> Option<BlockView<'_>> {
        // SAFETY: locked for as long as the view lives.
        unsafe { BlockView::from_word(self.shard.word_locked()) }
    }

    /// Sets the block; the old one goes out of reach.
    pub fn set_block(&self, block: Option<Block>) -> Option<Block> {
        let bytes = &self.space.counters.table_bytes;
        if let Some(b) = &block {
            bytes.fetch_add(b.bytes(), Ordering::Relaxed);
        }
        let word = block.map_or(std::ptr::null_mut(), Block::into_word);
        // SAFETY: the header owned the word, and forgets it here; the caller retires it.
        let old = unsafe { Block::from_word(self.shard.exchange_word(word)) };
        if let Some(b) = &old {
            bytes.fetch_sub(b.bytes(), Ordering::Relaxed);
        }
        old
    }

    /// The entry of a slot of this shard.
    #[inline(always)]
    pub fn entry(&self, place: Ref) -> EntryRef<'_> {
        // SAFETY: a taken slot of a locked shard refers to a living entry; it is changed only
        // through `entry_mut`, which wants the guard for itself.
        unsafe { EntryRef::new(&self.space.segments, place) }
    }

    #[inline(always)]
    pub fn entry_mut(&mut self, place: Ref) -> EntryMut<'_> {
        // SAFETY: as `entry`, and `&mut self` is the only way to it.
        unsafe { EntryMut::new(&self.space.segments, place) }
    }

    /// Drops a key that is in no slot any more; gives its value up.
    pub fn kill(&mut self, place: Ref, hash: KeyHash) -> Option<Value> {
        let space = self.space;
        let mut arena = space.arena(hash).lock(&space.segments);
        self.entry_mut(place).kill(&mut arena)
    }

    /// Moves the entry at `place` to another segment, if a slot of this shard still refers to it.
    pub fn relocate(&mut self, front: usize, place: Ref, hash: KeyHash) -> Result<bool, OutOfSpace> {
        let space = self.space;
        let at = self.block().and_then(|b| b.chain_entries(front).find(|e| e.2 == place).map(|e| e.0));
        let Some(at) = at else { return Ok(false) };
        let to = {
            let mut arena = space.arena(hash).lock(&space.segments);
            self.entry_mut(place).relocate(&mut arena, &space.segments)?
        };
        let block = self.block().expect("invariant: found in this block");
        block.bucket(at.bucket.into()).set(at.slot.into(), to);
        Ok(true)
    }
}

/// Place of a key inside its locked shard; good until that key is inserted, replaced or
/// removed again. Using it later on is a panic, not a wrong answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pos {
    at: At,
    place: Ref,
}

/// Exclusive lock on the shard where a hash lives.
pub struct ShardGuard<'b> {
    locked: Locked<'b>,
    engine: &'b Engine,
    engines: &'b Engines,
    batch: &'b Batch<'b>,
}

/// A guard that is lent to a command inside of a transaction: it ends without unlocking.
/// Only calls reach it, so that nobody can put another guard in its place.
pub struct Lent<'b>(ManuallyDrop<ShardGuard<'b>>);

impl Lent<'_> {
    /// Calls `f` with the guard.
    #[inline]
    pub fn with<R>(&mut self, f: impl FnOnce(&mut ShardGuard<'_>) -> R) -> R {
        f(&mut self.0)
    }
}

impl<'b> std::ops::Deref for Lent<'b> {
    type Target = ShardGuard<'b>;
    fn deref(&self) -> &ShardGuard<'b> {
        &self.0
    }
}

impl<'b> ShardGuard<'b> {
    /// Lends the guard; it cannot be used until that ends.
    pub(super) fn lend(&mut self) -> Lent<'_> {
        let locked = Locked { shard: self.locked.shard, space: self.locked.space };
        Lent(ManuallyDrop::new(ShardGuard {
            locked,
            engine: self.engine,
            engines: self.engines,
            batch: self.batch,
        }))
    }

    #[inline(always)]
    pub(super) fn new(
        locked: Locked<'b>,
        engine: &'b Engine,
        engines: &'b Engines,
        batch: &'b Batch<'b>,
    ) -> Self {
        ShardGuard { locked, engine, engines, batch }
    }

    /// Whether this is the lock for a hash of the same database.
    #[inline]
    pub(super) fn covers(&self, hash: KeyHash) -> bool {
        std::ptr::eq(self.engine.shard(hash), self.locked.shard)
    }

    pub(super) fn engine(&self) -> &'b Engine {
        self.engine
    }

    pub(super) fn locked(&mut self) -> &mut Locked<'b> {
        &mut self.locked
    }

    #[inline(always)]
    fn place(&self, pos: Pos) -> Ref {
        let block = self.locked.block();
        let found = block.and_then(|b| b.bucket(pos.at.bucket.into()).get(pos.at.slot.into()));
        assert!(found == Some(pos.place), "invariant: a position is used while its key stands there");
        pos.place
    }

    /// Where a key stands.
    #[inline]
    pub fn find(&self, hash: KeyHash, key: &[u8]) -> Option<Pos> {
        self.find_entry(hash, key).map(|found| found.0)
    }

    /// Where a key stands, and what it holds.
    #[inline(always)]
    pub fn find_entry(&self, hash: KeyHash, key: &[u8]) -> Option<(Pos, EntryRef<'_>)> {
        debug_assert!(self.covers(hash), "the hash belongs to another shard");
        let block = self.locked.block()?;
        let mut index = self.engine.bucket(hash);
        let mut bucket = block.front(index);
        loop {
            let mut bits = bucket.matching(hash.tag());
            while bits != 0 {
                let slot = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let place = Ref(bucket.raw(slot));
                let entry = self.locked.entry(place);
                if entry.is(hash, key) {
                    let at = At { bucket: index as u16, slot: slot as u16 };
                    return Some((Pos { at, place }, entry));
                }
            }
            index = bucket.overflow()?;
            bucket = block.bucket(index);
        }
    }

    /// Where a key stands, and its entry, to be written over. What was found just now need not be looked at again.
    #[inline(always)]
    pub fn find_in_place(&mut self, hash: KeyHash, key: &[u8]) -> Option<(Pos, InPlace<'_>)> {
        let (pos, _) = self.find_entry(hash, key)?;
        Some((pos, InPlace(self.locked.entry_mut(pos.place))))
    }

    /// The entry, to be written over.
    pub fn in_place(&mut self, pos: Pos) -> InPlace<'_> {
        let place = self.place(pos);
        InPlace(self.locked.entry_mut(place))
    }

    /// The key and what it holds.
    #[inline]
    pub fn entry(&self, pos: Pos) -> EntryRef<'_> {
        self.locked.entry(self.place(pos))
    }

    /// The out-of-line value, taken for changed; None of what is packed.
    pub fn value_mut(&mut self, pos: Pos) -> Option<&mut Value> {
        let place = self.place(pos);
        self.locked.entry_mut(place).value_mut()
    }

    /// Moves what an entry of this shard holds out of line, from this part of it on; where to go on, if that was not all.
    #[inline]
    pub(super) fn renew(&mut self, pos: Pos, part: u128, renewal: &mut Renewal) -> Option<u128> {
        debug_assert_eq!(self.place(pos), pos.place);
        self.locked.entry_mut(pos.place).renew(part, renewal)
    }

    /// The bytes of a packed string; None of anything else.
    pub fn bytes_mut(&mut self, pos: Pos) -> Option<&mut [u8]> {
        let place = self.place(pos);
        self.locked.entry_mut(place).bytes_mut()
    }

    /// Calls `f` for each key whose hash has these 40 bits and that has a deadline, or holds a
    /// hash with deadlines of fields, until it answers true. The caller compares the armed tick as well: different keys may share the bits.
    pub fn for_each_candidate(&self, hash40: u64, f: &mut dyn FnMut(Pos, EntryRef<'_>) -> bool) -> bool {
        let hash = KeyHash::from_hash40(hash40);
        let Some(block) = self.locked.block() else {
            return false;
        };
        for (index, bucket) in block.chain(self.engine.bucket(hash)) {
            let bits = bucket.matching(hash.tag());
            for slot in (0..SLOTS).filter(|slot| bits >> slot & 1 == 1) {
                let place = Ref(bucket.raw(slot));
                let entry = self.locked.entry(place);
                let timed = entry.deadline().is_some() || entry.fields_armed().is_some();
                if !timed || entry.hash(self.batch.hasher()).hash40() != hash40 {
                    continue;
                }
                let at = At { bucket: index as u16, slot: slot as u16 };
                if f(Pos { at, place }, entry) {
                    return true;
                }
            }
        }
        false
    }

    /// Where a key with this hash stands.
    pub fn find_hash(&self, hash: KeyHash) -> Option<Pos> {
        let block = self.locked.block()?;
        for (index, bucket) in block.chain(self.engine.bucket(hash)) {
            let mut bits = bucket.matching(hash.tag());
            while bits != 0 {
                let slot = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let place = Ref(bucket.raw(slot));
                if self.locked.entry(place).hash(self.batch.hasher()) == hash {
                    let at = At { bucket: index as u16, slot: slot as u16 };
                    return Some(Pos { at, place });
                }
            }
        }
        None
    }

    /// Keys of the shard.
    pub(super) fn used(&self) -> usize {
        self.locked.used()
    }

    /// The n-th key of the shard, in no particular order.
    pub(super) fn nth(&self, n: usize) -> Option<EntryRef<'_>> {
        let place = self.locked.block()?.entries().nth(n)?.3;
        Some(self.locked.entry(place))
    }

    /// Visits the keys of the bucket where a hash lives.
    pub(super) fn for_each_in_bucket(&self, hash: KeyHash, f: &mut dyn FnMut(EntryRef<'_>)) {
        let Some(block) = self.locked.block() else { return };
        for (_, _, place) in block.chain_entries(self.engine.bucket(hash)) {
            f(self.locked.entry(place));
        }
    }

    /// Visits the keys of some buckets, from the one where a hash lives on; `f` gives access bits to
    /// store, if others. What comes next is asked for ahead.
    pub(super) fn visit_buckets(
        &mut self,
        first: KeyHash,
        count: usize,
        f: &mut dyn FnMut(EntryRef<'_>) -> Option<u16>,
    ) {
        let segments = &self.locked.space.segments;
        let Some(block) = self.locked.block() else { return };
        let front = self.engine.bucket(first);
        let ahead = |bucket: usize| {
            for (_, _, place) in block.chain_entries(bucket) {
                super::bucket::prefetch(segments.address_hint(place.0));
            }
        };
        ahead(front);
        for bucket in front..front + count {
            if bucket + 1 < front + count {
                ahead(bucket + 1);
            }
            for (_, _, place) in block.chain_entries(bucket) {
                let entry = self.locked.entry(place);
                if let Some(access) = f(entry) {
                    entry.set_access(access);
                }
            }
        }
    }

    /// Adds a key that is not there yet.
    pub fn insert(
        &mut self,
        hash: KeyHash,
        key: &[u8],
        content: Content<'_>,
        meta: Meta,
    ) -> Result<Pos, OutOfSpace> {
        debug_assert!(self.find(hash, key).is_none(), "the key is there already");
        if self.locked.used() == usize::from(u16::MAX) {
            return Err(OutOfSpace);
        }
        let (value, kind) = split(content);
        let new = NewEntry { key: entry::key_part(key, hash), value, kind, meta };
        let placed = self.place_new(hash, &new);
        let Ok(place) = placed else {
            entry::discard_key(new.key);
            entry::discard_value(new.value);
            return Err(OutOfSpace);
        };
        let Some(at) = self.link(hash, place) else {
            drop(self.locked.kill(place, hash));
            return Err(OutOfSpace);
        };
        let used = self.locked.used() + 1;
        self.locked.set_used(used);
        if used >= self.batch.grow_mark() {
            self.request_check(self.locked.space.arena(hash));
        }
        Ok(Pos { at, place })
    }

    #[inline]
    fn place_new(&self, hash: KeyHash, new: &NewEntry<'_>) -> Result<Ref, OutOfSpace> {
        let space = self.locked.space;
        let mut arena = space.arena(hash).lock(&space.segments);
        let place = new.place(&mut arena, &space.segments)?;
        let delta = new.delta();
        arena.count(delta);
        if delta.loose > 0 {
            self.batch.loosened();
        }
        if self.engines.growing.is_some() && arena.insert_tick(super::migrate::INSERTS_PER_UNIT) {
            self.batch.owe_unit();
        }
        Ok(place)
    }

    /// Puts the entry into a slot.
    #[inline]
    fn link(&mut self, hash: KeyHash, place: Ref) -> Option<At> {
        let front = self.engine.bucket(hash);
        loop {
            if let Some(block) = self.locked.block()
                && let Some(at) = block.insert(front, hash.tag(), place)
            {
                return Some(at);
            }
            self.make_room()?;
        }
    }

    #[cold]
    #[inline(never)]
    fn make_room(&mut self) -> Option<()> {
        let larger = match self.locked.block() {
            None => Block::new(0)?,
            Some(view) => Block::enlarged(view)?,
        };
        if let Some(old) = self.locked.set_block(Some(larger)) {
            self.batch.retire_block(old);
        }
        Some(())
    }

    /// Has the load looked at if this shard, which is fuller or emptier than a table should be, is not the only one.
    #[cold]
    #[inline(never)]
    fn request_check(&self, arena: &Arena) {
        if self.engines.growing.is_none() && migrate::is_worth_a_look(self.batch, self.engines, arena) {
            self.locked.space.request_check();
        }
    }

    /// New content and meta for a key that is there. Gives the old out-of-line value, if any,
    /// to be dropped off the worker. If it fails, nothing has changed.
    pub fn replace(
        &mut self,
        pos: Pos,
        hash: KeyHash,
        content: Content<'_>,
        meta: Meta,
    ) -> Result<(Pos, Option<Value>), OutOfSpace> {
        let place = self.place(pos);
        let (value, kind) = split(content);
        let old = self.detached(place);
        let key = old.key_part(self.batch.hasher());
        let new = NewEntry { key, value, kind, meta };
        self.overwrite(pos, hash, &new, false).inspect_err(|_| entry::discard_value(new.value))
    }

    /// Changes deadline, armed tick, access bits and mark; the value stays.
    pub fn set_meta(&mut self, pos: Pos, meta: Meta) -> Result<Pos, OutOfSpace> {
        let place = self.place(pos);
        let old = self.detached(place);
        let hasher = self.batch.hasher();
        let new = NewEntry { key: old.key_part(hasher), value: old.value_part(), kind: old.kind(), meta };
        let hash = old.hash(hasher);
        let (pos, dropped) = self.overwrite(pos, hash, &new, true)?;
        debug_assert!(dropped.is_none());
        Ok(pos)
    }

    /// Another deadline for an entry that has one, with its tick: nothing else of it is touched. False for one that has
    /// none, for which [`set_meta`](Self::set_meta) makes room.
    pub fn move_deadline(&mut self, pos: Pos, deadline: u64, armed: u32) -> bool {
        self.locked.entry_mut(pos.place).move_deadline(deadline, armed)
    }

    /// An entry that is about to be overwritten, beside `&mut self`.
    fn detached(&self, place: Ref) -> EntryRef<'b> {
        // SAFETY: a living entry of the locked shard. It is not changed before `overwrite`, which reads what is left of
        // it only while it stands.
        unsafe { EntryRef::new(&self.locked.space.segments, place) }
    }

    /// `keeps`: the new entry's value is that of the old one.
    fn overwrite(
        &mut self,
        pos: Pos,
        hash: KeyHash,
        new: &NewEntry<'_>,
        keeps: bool,
    ) -> Result<(Pos, Option<Value>), OutOfSpace> {
        let space = self.locked.space;
        let segments = &space.segments;
        let old = self.locked.entry_mut(pos.place);
        let delta = old.delta_to(new);
        if delta.loose > 0 {
            self.batch.loosened();
        }
        if let Ok(dropped) = old.rewrite(new, keeps) {
            if (delta.boxed, delta.loose) != (0, 0) {
                space.arena(hash).lock(segments).count(delta);
            }
            return Ok((pos, dropped));
        }
        let mut arena = space.arena(hash).lock(segments);
        let place = new.place(&mut arena, segments)?;
        arena.count(delta);
        let dropped = match old.view().value_part() {
            // SAFETY: the old entry is buried below without what it owned: a boxed key went over
            // to the new entry, and so did the value if that keeps it.
            ValuePart::Out(value) if !keeps => Some(unsafe { value.take() }),
            _ => None,
        };
        old.bury(&mut arena);
        drop(arena);
        self.batch.released(space.arena(hash));
        let block = self.locked.block().expect("invariant: the key stands in it");
        block.bucket(pos.at.bucket.into()).set(pos.at.slot.into(), place);
        Ok((Pos { at: pos.at, place }, dropped))
    }

    /// Removes the key; gives its out-of-line value, to be dropped off the worker.
    pub fn remove(&mut self, pos: Pos) -> Option<Value> {
        let place = self.place(pos);
        let block = self.locked.block().expect("invariant: the key stands in it");
        block.bucket(pos.at.bucket.into()).clear(pos.at.slot.into());
        let used = self.locked.used() - 1;
        self.locked.set_used(used);
        let space = self.locked.space;
        let arena = &space.arenas[space.segments.arena_of(place)];
        let mut held = arena.lock(&space.segments);
        let value = self.locked.entry_mut(place).kill(&mut held);
        drop(held);
        if used <= self.batch.shrink_mark() && self.engine.bits() > 0 {
            self.request_check(arena);
        }
        self.batch.released(arena);
        value
    }

    /// Removes the key and gives what it held.
    pub fn take(&mut self, pos: Pos) -> (Taken, Meta) {
        let entry = self.entry(pos);
        let meta = entry.meta();
        let text = entry.bytes().map(|bytes| Taken::Bytes(bytes.to_vec()));
        let packed = entry.packed().map(|packed| Taken::Value(packed.unpack(entry.kind())));
        let removed = self.remove(pos).map(Taken::Value);
        (text.or(packed).or(removed).expect("invariant: an entry holds bytes or a value"), meta)
    }
}

/// How a content stands in an entry: as bytes or as a value.
fn split(content: Content<'_>) -> (ValuePart<'_>, Kind) {
    let value = match content {
        Content::Bytes(bytes) if bytes.len() <= entry::VALUE_PACKED_MAX => {
            return (ValuePart::Packed(bytes), Kind::String);
        }
        Content::Bytes(bytes) => Value::Str(Blob::copy_from(bytes)),
        Content::Value(value) => value,
    };
    let kind = value.kind();
    (ValuePart::Out(Owned::new(value)), kind)
}

/// Frees the block of a shard that nobody else can reach any more.
pub(super) fn drop_block(shard: &mut Shard) {
    // SAFETY: `&mut`: nobody else is left, and the word is taken once.
    drop(unsafe { Block::from_word(shard.exchange_word(std::ptr::null_mut())) });
}

/// A look at a shard's bucket without the lock, for prefetching.
#[inline(always)]
pub(super) fn peek<'a>(word: Word, _batch: &'a Batch<'_>) -> Option<BlockView<'a>> {
    // SAFETY: the batch pins the epoch, and blocks are retired through it.
    unsafe { BlockView::from_word(word) }
}

impl Drop for Space {
    /// The last engine has gone, so nobody can reach an entry any more.
    fn drop(&mut self) {
        for arena in self.arenas.iter() {
            let mut held = arena.lock(&self.segments);
            if arena.boxed() > 0 {
                for (mut place, end) in held.extents() {
                    while place < end {
                        // SAFETY: unreachable for everybody else, and each start once.
                        place.0 += unsafe { entry::drop_boxes(&self.segments, place) } as u32;
                    }
                }
            }
            held.clear();
        }
    }
}
