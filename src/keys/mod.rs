//! The keys of a command, locked and at hand.
//!
//! A handler reaches exactly the keys that its declaration names (or, behind the exclusive
//! gate, those it opens by name). It never takes a lock, so it cannot deadlock. A key past
//! its deadline is gone as soon as it is looked at: the view removes it and remembers the
//! `expired` event, which the effects path delivers before the command's own.

mod slots;
mod store;
mod typed;

use std::borrow::Cow;

use crate::effects::ended::{Kept, KeptPart};
use crate::error::Error;
use crate::eviction::access::{Touch, touched};
use crate::expiry::{Expiry, Graveyard};
use crate::keyspace::{
    Batch, DbId, EntryRef, InPlace, KeyHash, Lent, LentSet, LockSet, Pos, ShardGuard, Taken,
};
use crate::values::{Blob, Kind, Value};

use slots::{Found, Slot, Slots};
pub(crate) use typed::Parts;
pub use typed::{Collection, MANY};

/// How the shards of the view are locked.
pub enum Guards<'a> {
    /// Nothing is locked (no keys).
    None,
    /// One shard.
    One(ShardGuard<'a>),
    /// The shards of several keys, each once. Apart, so that the view of one key stays small.
    Many(Box<LockSet<'a>>),
    /// One shard, locked by the transaction that this command is part of.
    Lent(Lent<'a>),
    /// The shards of several keys, in the same way.
    LentMany(Box<LentSet<'a>>),
    /// The gate is raised: a shard is locked for the time of one operation.
    Open(&'a Batch<'a>),
}

/// What a first look at a key finds.
enum Look<'g> {
    Missing,
    /// There, but its time has come.
    Past(Pos),
    Here(Pos, EntryRef<'g>),
}

/// What to do with a key's deadline when its value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// Remove it (SET).
    Clear,
    /// Leave it as it is (APPEND, INCR, KEEPTTL).
    Keep,
    /// Set it, in Unix milliseconds.
    At(u64),
}

/// A string value to store.
pub enum NewString<'v> {
    /// Bytes to copy; reported as int or embstr/raw by their form.
    Bytes(&'v [u8]),
    /// Bytes to copy that stay `raw` whatever their form (APPEND, SETRANGE, …).
    Raw(&'v [u8]),
    /// A large value by reference.
    Blob(Blob),
}

/// A string value as it is stored.
#[derive(Clone, Copy)]
pub enum Text<'v> {
    /// Packed in the keyspace; valid only under the lock.
    Packed(&'v [u8]),
    /// In an allocation of its own, which a reply may refer to.
    Blob(&'v Blob),
}

impl std::ops::Deref for Text<'_> {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Text::Packed(b) => b,
            Text::Blob(b) => b.as_slice(),
        }
    }
}

/// The locked keys of one command.
pub struct Keys<'a, 'k> {
    pub(crate) guards: Guards<'a>,
    slots: Slots<'k>,
    expiry: &'a mut Expiry,
    /// Values to drop once the locks are released.
    graveyard: &'a mut Graveyard,
    now: u64,
    /// How the running command's accesses are recorded.
    policy: Touch,
    /// How those of its client are, unless the command says otherwise.
    usual: Touch,
    /// How the first access to a new key is recorded.
    fresh: Touch,
    /// Any key, or fields of one, expired during this command?
    any_expired: bool,
    /// Fields removed because their time had come.
    expired_fields: u64,
}

/// Finds a key and notes the access.
#[inline(always)]
fn look<'g>(guard: &'g ShardGuard<'_>, slot: &Slot<'_>, now: u64, policy: Touch) -> Look<'g> {
    let Some((pos, entry)) = guard.find_entry(slot.hash, &slot.key) else { return Look::Missing };
    if is_past(entry, now) {
        return Look::Past(pos);
    }
    if matches!(slot.found, Found::Unknown) {
        note_access(entry, now, policy);
    }
    Look::Here(pos, entry)
}

/// The entry of a slot, found and to be written over. None if it is not there, or its time has come.
#[inline(always)]
fn in_place<'g>(
    guard: &'g mut ShardGuard<'_>,
    slot: &mut Slot<'_>,
    now: u64,
    policy: Touch,
) -> Option<InPlace<'g>> {
    match slot.found {
        Found::Missing => None,
        Found::At(pos) => Some(guard.in_place(pos)),
        Found::Unknown => {
            let Some((pos, entry)) = guard.find_in_place(slot.hash, &slot.key) else {
                slot.found = Found::Missing;
                return None;
            };
            if is_past(entry.entry(), now) {
                return None;
            }
            note_access(entry.entry(), now, policy);
            slot.found = Found::At(pos);
            Some(entry)
        }
    }
}

#[inline(always)]
fn is_past(entry: EntryRef<'_>, now: u64) -> bool {
    entry.deadline().is_some_and(|d| crate::expiry::is_past(d, now))
}

#[inline(always)]
fn note_access(entry: EntryRef<'_>, now: u64, policy: Touch) {
    if policy != Touch::No {
        entry.set_access(touched(policy, entry.access(), now));
    }
}

/// What an entry holds, if it is a string.
#[inline(always)]
fn text(entry: EntryRef<'_>) -> Result<Text<'_>, Error> {
    if let Some(bytes) = entry.bytes() {
        return Ok(Text::Packed(bytes));
    }
    match entry.out_of_line() {
        Some(Value::Str(blob)) => Ok(Text::Blob(blob)),
        _ => Err(Error::WrongType),
    }
}

impl<'a, 'k> Keys<'a, 'k> {
    /// A view without keys; see [`push`](Self::push).
    #[inline]
    pub fn new(
        expiry: &'a mut Expiry,
        graveyard: &'a mut Graveyard,
        now: u64,
        usual: Touch,
        fresh: Touch,
    ) -> Keys<'a, 'k> {
        Keys {
            guards: Guards::None,
            slots: Slots::new(),
            expiry,
            graveyard,
            now,
            policy: usual,
            usual,
            fresh,
            any_expired: false,
            expired_fields: 0,
        }
    }

    /// Another command's only key, whose shard `guard` holds, where nothing is left of the last command's.
    #[inline(always)]
    pub(crate) fn begin(&mut self, guard: ShardGuard<'a>, db: DbId, hash: KeyHash, key: &'k [u8]) {
        debug_assert!(matches!(self.guards, Guards::None) && self.slots.is_light(), "something is left");
        // What stood there owns nothing; else the compiler would ask.
        std::mem::forget(std::mem::replace(&mut self.guards, Guards::One(guard)));
        self.slots.begin(Slot::new(db, hash, Cow::Borrowed(key)));
        self.policy = self.usual;
        self.any_expired = false;
        self.expired_fields = 0;
    }

    /// The view of a command that left more behind than [`release`](Self::release) takes away is empty again.
    pub(crate) fn end(&mut self) {
        self.guards = Guards::None;
        self.slots = Slots::new();
    }

    /// Releases the lock of an only key. Whether nothing is left to drop then.
    #[inline(always)]
    pub(crate) fn release(&mut self) -> bool {
        match &self.guards {
            Guards::None => {}
            Guards::One(_) => {
                if let Guards::One(guard) = std::mem::replace(&mut self.guards, Guards::None) {
                    drop(guard);
                }
            }
            _ => return false,
        }
        self.slots.is_light()
    }

    /// Adds a key whose shard the guards hold, in the order of the lock set.
    #[inline(always)]
    pub fn push(&mut self, db: DbId, hash: KeyHash, key: &'k [u8]) -> usize {
        self.slots.push(Slot::new(db, hash, Cow::Borrowed(key)))
    }

    /// Opens a further key by name. Only behind the exclusive gate.
    ///
    /// # Panics
    /// If the gate is not raised: the command's `access` is declared wrongly.
    pub fn open(&mut self, db: DbId, hash: KeyHash, key: &[u8]) -> usize {
        assert!(matches!(self.guards, Guards::Open(_)), "invariant: keys are opened behind the gate only");
        if let Some(i) = self.slots.iter().position(|s| s.db == db && s.hash == hash && *s.key == *key) {
            return i;
        }
        self.slots.push(Slot::new(db, hash, Cow::Owned(key.to_vec())))
    }

    /// Lets go of the last key if it was opened when there were `before` of them, so that a
    /// command may look at many. One of which there is something to tell is kept, unless that is
    /// to be `forgotten`.
    pub fn close(&mut self, before: usize, forgotten: bool) {
        if self.slots.len <= before {
            return;
        }
        let slot = &self.slots[self.slots.len - 1];
        if forgotten || !(slot.created || slot.expired || slot.emptied || slot.parts.is_some()) {
            self.slots.pop();
        }
    }

    /// Sets what is known of the accesses to key `i`.
    pub fn set_access(&mut self, i: usize, access: u16) {
        if let Some(pos) = self.locate(i) {
            self.with_guard(i, |g, _| g.entry(pos).set_access(access));
        }
    }

    /// How accesses of clients without NO-TOUCH are recorded.
    pub(crate) fn touch(&self) -> Touch {
        self.fresh
    }

    /// What a command run inside this one needs.
    pub(crate) fn parts(&mut self) -> (&mut Guards<'a>, &mut Expiry, &mut Graveyard) {
        (&mut self.guards, self.expiry, self.graveyard)
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.slots.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.len == 0
    }

    /// The bytes of key `i`.
    pub fn key(&self, i: usize) -> &[u8] {
        &self.slots[i].key
    }

    /// The database of key `i`.
    pub fn db(&self, i: usize) -> DbId {
        self.slots[i].db
    }

    /// The hash of key `i`.
    pub fn hash(&self, i: usize) -> KeyHash {
        self.slots[i].hash
    }

    /// Keys that were found past their deadline and removed, by index.
    pub(crate) fn expired(&self) -> impl Iterator<Item = usize> + '_ {
        let any = self.any_expired;
        self.slots.iter().enumerate().filter(move |(_, s)| any && s.expired).map(|(i, _)| i)
    }

    /// How many keys of the view are there and how many were looked for in vain.
    #[inline]
    pub(crate) fn found(&self) -> (u64, u64) {
        let count = |slot: &Slot<'_>| match slot.found {
            Found::At(_) => (1, 0),
            Found::Missing => (0, 1),
            Found::Unknown => (0, 0),
        };
        let first = count(&self.slots.first);
        self.slots.more.iter().map(count).fold(first, |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Keys that were not there before this command, by index.
    pub(crate) fn created(&self) -> impl Iterator<Item = usize> + '_ {
        self.slots.iter().enumerate().filter(|(_, s)| s.created).map(|(i, _)| i)
    }

    #[inline]
    pub(crate) fn any_created(&self) -> bool {
        self.slots.iter().any(|s| s.created)
    }

    /// Looks at each key that this command stored first; `f` gives access bits to store, if others.
    pub(crate) fn for_each_created(&mut self, mut f: impl FnMut(DbId, KeyHash, EntryRef<'_>) -> Option<u16>) {
        for i in 0..self.slots.len {
            if !self.slots[i].created {
                continue;
            }
            self.with_guard(i, |g, slot| {
                let Some(pos) = g.find(slot.hash, &slot.key) else { return };
                if let Some(access) = f(slot.db, slot.hash, g.entry(pos)) {
                    g.entry(pos).set_access(access);
                }
            });
        }
    }

    pub(crate) fn any_expired(&self) -> bool {
        self.any_expired
    }

    /// Fields that were found past their deadline and removed.
    pub(crate) fn expired_fields(&self) -> u64 {
        self.expired_fields
    }

    /// From now on accesses are not recorded (OBJECT FREQ must not change what it reports).
    pub fn no_touch(&mut self) {
        self.policy = Touch::No;
    }

    /// TOUCH records an access even for a client with NO-TOUCH.
    pub fn force_touch(&mut self, how: Touch) {
        self.policy = how;
    }

    /// The database was emptied as a whole: its timers go with it.
    pub fn database_flushed(&mut self, db: DbId) {
        self.expiry.clear(db);
        self.forget_positions();
    }

    #[inline]
    fn with_guard<R>(&mut self, i: usize, f: impl FnOnce(&mut ShardGuard<'_>, &Slot<'k>) -> R) -> R {
        let slot = &self.slots[i];
        match &mut self.guards {
            Guards::One(g) => f(g, slot),
            Guards::Many(set) => f(set.guard(i), slot),
            Guards::Lent(lent) => lent.with(|g| f(g, slot)),
            Guards::LentMany(set) => set.guard(i).with(|g| f(g, slot)),
            Guards::Open(batch) => f(&mut batch.lock(slot.db, slot.hash), slot),
            Guards::None => unreachable!("invariant: a slot is only pushed with its guard"),
        }
    }

    /// Where key `i` is, having removed it if its time has come.
    #[inline]
    fn locate(&mut self, i: usize) -> Option<Pos> {
        match self.slots[i].found {
            // Behind the gate the guard does not outlive an operation, but nobody else is there
            // to move anything; still only the live guard may vouch for a position.
            Found::At(pos) if !matches!(self.guards, Guards::Open(_)) => return Some(pos),
            Found::Missing => return None,
            _ => {}
        }
        let (now, policy) = (self.now, self.policy);
        // Past: Err.
        let found = self.with_guard(i, |g, s| match look(g, s, now, policy) {
            Look::Missing => None,
            Look::Past(pos) => Some(Err(pos)),
            Look::Here(pos, _) => Some(Ok(pos)),
        });
        match found {
            Some(Ok(pos)) => {
                self.slots[i].found = Found::At(pos);
                Some(pos)
            }
            None => {
                self.slots[i].found = Found::Missing;
                None
            }
            Some(Err(pos)) => {
                self.expire(i, pos);
                None
            }
        }
    }

    #[cold]
    fn expire(&mut self, i: usize, pos: Pos) {
        if self.expiry.may_delete() {
            if self.expiry.is_heard() {
                self.keep(i, pos);
            } else {
                let dropped = self.with_guard(i, |g, _| g.remove(pos));
                self.bury(i, dropped);
            }
            self.slots[i].expired = true;
            self.any_expired = true;
            self.forget_positions();
        }
        self.slots[i].found = Found::Missing;
    }

    /// Removes key `i`, whose time has come, and keeps what it held for those who want to know.
    fn keep(&mut self, i: usize, pos: Pos) {
        let (taken, meta) = self.with_guard(i, |g, _| g.take(pos));
        let slot = &self.slots[i];
        if let Taken::Value(value) = &taken {
            self.expiry.forget_fields(slot.db, slot.hash, value);
        }
        let what = KeptPart::Key(taken, meta.deadline.unwrap_or(0));
        self.expiry.keep(Kept { db: slot.db, key: slot.key.as_ref().into(), what });
    }

    /// What this command removed as its time had come, if somebody wants to know.
    pub(crate) fn take_kept(&mut self) -> Vec<Kept> {
        self.expiry.take_kept()
    }

    /// Lets go of the locks, as nothing is looked at any more. A transaction keeps them, and the gate
    /// is lowered by who raised it.
    pub(crate) fn unlock(&mut self) {
        if matches!(self.guards, Guards::One(_) | Guards::Many(_)) {
            self.guards = Guards::None;
        }
    }

    /// A value is out of use; it is dropped when nothing is locked.
    pub(crate) fn drop_later(&mut self, value: Value) {
        self.graveyard.push(value);
    }

    /// Unix milliseconds of the batch.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// A value that left key `i`, to be dropped when no lock is held.
    #[inline]
    fn bury(&mut self, i: usize, dropped: Option<Value>) {
        if let Some(value) = dropped {
            self.expiry.forget_fields(self.slots[i].db, self.slots[i].hash, &value);
            self.graveyard.push(value);
        }
    }

    /// Positions are valid until the shard changes structurally.
    fn forget_positions(&mut self) {
        for slot in self.slots.iter_mut() {
            if matches!(slot.found, Found::At(_)) {
                slot.found = Found::Unknown;
            }
        }
    }

    /// After key `i` was written at `pos`: the same key may stand in the view twice
    /// (`MSET a 1 a 2`), so every other position and absence is looked up again.
    #[inline]
    fn written(&mut self, i: usize, found: Found) {
        if self.slots.len > 1 {
            for slot in self.slots.iter_mut() {
                slot.found = Found::Unknown;
            }
        }
        self.slots[i].found = found;
    }

    /// Whether key `i` is there.
    #[inline]
    pub fn exists(&mut self, i: usize) -> bool {
        self.locate(i).is_some()
    }

    /// The type of key `i`.
    pub fn kind(&mut self, i: usize) -> Option<Kind> {
        self.with_entry(i, |e| e.kind())
    }

    /// Looks at the entry of key `i`.
    #[inline]
    pub fn with_entry<R>(&mut self, i: usize, f: impl FnOnce(EntryRef<'_>) -> R) -> Option<R> {
        let pos = self.locate(i)?;
        Some(self.with_guard(i, |g, _| f(g.entry(pos))))
    }

    /// The deadline of key `i` in Unix milliseconds: `None` no key, `Some(None)` no deadline.
    pub fn deadline(&mut self, i: usize) -> Option<Option<u64>> {
        self.with_entry(i, |e| e.deadline())
    }

    /// The string at key `i`, handed to `f` (`None`: no such key).
    #[inline]
    pub fn string<R>(&mut self, i: usize, f: impl FnOnce(Option<Text<'_>>) -> R) -> Result<R, Error> {
        let slot = &mut self.slots[i];
        // Nearly always the first look at the only key: found and read in one go.
        if let (Guards::One(guard), Found::Unknown) = (&self.guards, slot.found) {
            match look(guard, slot, self.now, self.policy) {
                Look::Missing => slot.found = Found::Missing,
                Look::Here(pos, entry) => {
                    slot.found = Found::At(pos);
                    return text(entry).map(|text| f(Some(text)));
                }
                Look::Past(pos) => self.expire(i, pos),
            }
            return Ok(f(None));
        }
        let Some(pos) = self.locate(i) else { return Ok(f(None)) };
        self.with_guard(i, |g, _| text(g.entry(pos)).map(|text| f(Some(text))))
    }

    /// WRONGTYPE unless key `i` is absent or of this type.
    pub fn expect_kind(&mut self, i: usize, kind: Kind) -> Result<bool, Error> {
        match self.kind(i) {
            None => Ok(false),
            Some(k) if k == kind => Ok(true),
            Some(_) => Err(Error::WrongType),
        }
    }

    /// The collection at key `i`, or a long string, handed to `f`.
    pub fn value<R>(&mut self, i: usize, f: impl FnOnce(Option<&Value>) -> R) -> R {
        let Some(pos) = self.locate(i) else { return f(None) };
        self.with_guard(i, |g, _| f(g.entry(pos).value().as_deref()))
    }

    /// A copy of the collection at key `i`, or of a long string; a large one shares its memory with it.
    pub fn duplicate(&mut self, i: usize) -> Option<Value> {
        let pos = self.locate(i)?;
        self.with_guard(i, |g, _| {
            let entry = g.entry(pos);
            let packed = entry.packed().map(|packed| packed.unpack(entry.kind()));
            packed.or_else(|| g.value_mut(pos).map(Value::duplicate))
        })
    }

    /// A stream or a long string at key `i`, to be changed in place. `None` of what may be packed, and is.
    pub fn value_mut<R>(&mut self, i: usize, f: impl FnOnce(&mut Value) -> R) -> Option<R> {
        let pos = self.locate(i)?;
        self.with_guard(i, |g, _| g.value_mut(pos).map(f))
    }
}
