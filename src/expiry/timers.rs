//! The timers of one worker: a wheel per data set, and the slice in which due keys are worked off.
//!
//! An item names a hash, not a place, so any worker can fire it and engines may change under it. It is resolved under
//! its shard's lock against every entry that it may stand for; so is everything that changes a deadline. Hence:
//!
//! * an entry with a deadline has its armed item in some worker's wheel, or in the hands of the slice that just took it
//!   and has not come to its lock yet: never nowhere;
//! * an entry is removed once, under the lock, by whoever finds it past its time first: this slice, a command, a
//!   migration. The others find nothing, so its event is delivered once.
//!
//! A hash with deadlines of fields has one item, under its key's hash, for the earliest of them; it keeps that item's
//! tick itself ([`Hash::armed`](crate::values::Hash::armed)). So a key may have two items, and one item may stand for both.
//!
//! Stale items (DEL, PERSIST, earlier deadlines, FLUSHDB, keys that lazy expiry removed) find nothing and are dropped.
//! They are swept out before their time when they outnumber the rest.

use std::sync::Arc;

use crate::clock;
use crate::effects::audience::{Audience, Interest};
use crate::effects::ended::{EndedField, Kept};
use crate::expiry::{
    Change, Due, Identities, Progress, Timer, Upkeep, Verdict, Wheel, is_past, judge, on_deadline_change,
};
use crate::keyspace::{Batch, DbId, EntryRef, KeyHash, Pos, ShardGuard};
use crate::values::Value;

/// Items taken from a wheel between two looks at the clock: about 30 µs of deletions.
const ITEMS_PER_STEP: usize = 64;
/// The same while values go along with the events: one of 64 KiB takes some 50 µs.
const ITEMS_PER_STEP_HEARD: usize = 4;
/// Changes of the number of stale items that a worker collects before it tells the others.
const STALE_BATCH: i64 = 64;
/// Fields of one hash that are removed in one go: about 30 µs under the shard's lock.
const FIELDS_PER_STEP: usize = 64;
/// A worker that only arms looks this often (in items) whether others made its items stale.
const ARMS_PER_LOOK: usize = 1024;

/// A wheel that is larger takes long to be freed: some 2 µs for each 16 KiB block.
const LARGE_WHEEL_BYTES: usize = 512 << 10;

/// Out-of-line values of removed keys, to be dropped when no lock is held.
pub type Graveyard = Vec<Value>;

/// What went because its time had come.
#[derive(Clone, Copy, Debug)]
pub enum Gone<'a> {
    /// The key.
    Key,
    /// Fields of the hash that it holds.
    Fields {
        /// How many.
        count: usize,
        /// Whether they were the last ones, so that the key goes with them.
        all: bool,
        /// The fields, if somebody wants to know.
        fields: &'a [EndedField],
    },
}

/// Hears of what went, under the lock of its key, which is still there.
pub type OnGone<'f> = dyn FnMut(DbId, EntryRef<'_>, Gone<'_>) + 'f;

/// One worker's timers for one data set.
#[derive(Default)]
struct Timers {
    /// Allocated when a key first gets a deadline.
    wheel: Option<Box<Wheel>>,
    /// Flushes of the data set that this worker knows of.
    flushes: u32,
    /// Stale items that the others have not been told of.
    untold: i64,
    /// The common number of stale items that the last sweep here left: they are in other wheels.
    elsewhere: i64,
    /// While there is a sweep: stale items of which it is not known whether they are here. What becomes stale meanwhile
    /// may be here, and is none of them.
    sought: Option<i64>,
}

impl Timers {
    fn note_stale(&mut self, identities: &Identities, identity: usize, n: i64) {
        self.untold += n;
        if self.untold.abs() >= STALE_BATCH {
            identities.add_stale(identity, std::mem::take(&mut self.untold));
        }
    }

    /// What the wheel wants to have done. It counts all stale items as its own until a sweep has shown otherwise.
    fn upkeep(&mut self, identities: &Identities, identity: usize) -> Option<Upkeep> {
        let wheel = self.wheel.as_ref()?;
        let stale = identities.stale(identity) + self.untold;
        self.elsewhere = self.elsewhere.min(stale);
        wheel.upkeep(usize::try_from(stale - self.elsewhere).unwrap_or(0))
    }
}

/// A worker's timers.
pub struct Expiry {
    /// By identity of the data.
    timers: Vec<Timers>,
    identities: Arc<Identities>,
    now_ms: u64,
    deletes: bool,
    /// When the timers want to be looked at, as far as that changed since the expiry task last looked.
    earliest: u64,
    due: Vec<Due>,
    audience: Arc<Audience>,
    kept: Vec<Kept>,
    /// Large wheels of data sets that were emptied, to be freed by somebody who has the time.
    litter: Vec<Wheel>,
}

impl Expiry {
    /// Timers for this many databases.
    pub fn new(databases: DbId, identities: Arc<Identities>, now_ms: u64) -> Expiry {
        let timers = (0..databases).map(|_| Timers::default()).collect();
        Expiry {
            timers,
            identities,
            now_ms,
            deletes: true,
            earliest: u64::MAX,
            due: Vec::new(),
            audience: Arc::default(),
            kept: Vec::new(),
            litter: Vec::new(),
        }
    }

    /// Looks at this word for who wants to know what went.
    pub fn set_audience(&mut self, audience: Arc<Audience>) {
        self.audience = audience;
    }

    /// Whether somebody wants to know what went.
    #[inline]
    pub fn is_heard(&self) -> bool {
        self.audience.wants(Interest::ENDED | Interest::RULES)
    }

    /// Keeps what a command removed until that is delivered.
    pub fn keep(&mut self, kept: Kept) {
        self.kept.push(kept);
    }

    /// What was kept, to be delivered.
    pub fn take_kept(&mut self) -> Vec<Kept> {
        std::mem::take(&mut self.kept)
    }

    /// The time of the batch, and whether keys found expired may be deleted in it (not while
    /// writes are paused: then they are merely not served).
    #[inline]
    pub fn begin(&mut self, now_ms: u64, deletes: bool) {
        self.now_ms = now_ms;
        self.deletes = deletes;
    }

    /// Whether a key found expired is to be deleted.
    #[inline]
    pub fn may_delete(&self) -> bool {
        self.deletes
    }

    /// The deadline of a key changes from `old` (with its armed tick) to `new`. Returns the tick
    /// to store with it.
    pub fn change(&mut self, db: DbId, hash: KeyHash, old: Option<(u64, u32)>, new: Option<u64>) -> u32 {
        let now = self.now_ms;
        let identity = self.identities.identity(db);
        self.follow_flush(identity);
        let timers = &mut self.timers[identity];
        let old = old.map(|(deadline_ms, armed)| Timer { deadline_ms, armed });
        let Some(new) = new else {
            if old.is_some() {
                timers.note_stale(&self.identities, identity, 1);
                self.look_at(identity);
            }
            return 0;
        };
        let stale = match on_deadline_change(old, new, now) {
            Change::Keep(tick) => return tick,
            Change::Arm { stale } => stale,
        };
        let wheel = timers.wheel.get_or_insert_with(|| Box::new(Wheel::new(now)));
        wheel.shift(now);
        let tick = wheel.arm(hash.hash40(), new);
        let look = stale || wheel.len().is_multiple_of(ARMS_PER_LOOK);
        self.earliest = self.earliest.min(new.saturating_add(1));
        if stale {
            timers.note_stale(&self.identities, identity, 1);
        }
        if look {
            self.look_at(identity);
        }
        tick
    }

    /// The earliest deadline of a hash's fields is `next` now; `armed` is the tick that the hash has, if it has one.
    /// Returns the tick to store with it.
    #[inline]
    pub fn change_fields(
        &mut self,
        db: DbId,
        hash: KeyHash,
        armed: Option<u32>,
        next: Option<u64>,
    ) -> Option<u32> {
        if armed.is_none() && next.is_none() {
            return None;
        }
        // The deadline that the tick was armed for is of no interest.
        let tick = self.change(db, hash, armed.map(|tick| (0, tick)), next);
        let more = i64::from(next.is_some()) - i64::from(armed.is_some());
        if more != 0 {
            self.identities.add_hashes(self.identities.identity(db), more);
        }
        next.map(|_| tick)
    }

    /// A value leaves its key: the timer of its fields, if any, stands for nothing any more.
    #[inline]
    pub fn forget_fields(&mut self, db: DbId, hash: KeyHash, value: &Value) {
        if let Value::Hash(fields) = value {
            self.change_fields(db, hash, fields.armed(), None);
        }
    }

    /// Wakes the expiry task if a wheel needs it before anything is due.
    fn look_at(&mut self, identity: usize) {
        if self.timers[identity].upkeep(&self.identities, identity).is_some() {
            self.earliest = self.earliest.min(self.now_ms);
        }
    }

    /// Drops the timers of a data set that was emptied, by this worker or another.
    #[inline]
    fn follow_flush(&mut self, identity: usize) {
        let flushes = self.identities.flushes(identity);
        if self.timers[identity].flushes != flushes {
            let before =
                std::mem::replace(&mut self.timers[identity], Timers { flushes, ..Timers::default() });
            self.litter
                .extend(before.wheel.filter(|wheel| wheel.bytes() > LARGE_WHEEL_BYTES).map(|wheel| *wheel));
        }
    }

    /// Whether there are wheels that take long to be freed.
    #[inline]
    pub fn has_litter(&self) -> bool {
        !self.litter.is_empty()
    }

    /// Those wheels, for a thread that has the time.
    pub fn take_litter(&mut self) -> Box<dyn Send> {
        Box::new(std::mem::take(&mut self.litter))
    }

    /// A database was emptied: none of its timers stands for a key any more, here and with all other workers.
    pub fn clear(&mut self, db: DbId) {
        let identity = self.identities.identity(db);
        self.identities.flushed(identity);
        self.follow_flush(identity);
    }

    /// When the timers have work, as far as that changed since [`forget_earliest`](Self::forget_earliest).
    #[inline]
    pub fn earliest(&self) -> u64 {
        self.earliest
    }

    /// The expiry task has looked at the wheels.
    pub fn forget_earliest(&mut self) {
        self.earliest = u64::MAX;
    }

    /// When the next slice may have work, in Unix milliseconds: the first millisecond in which a key is past its time,
    /// or an earlier one in which items are to be moved.
    pub fn next_deadline(&self) -> Option<u64> {
        self.wheels().filter_map(Wheel::next_deadline).min()
    }

    /// Memory of all wheels.
    pub fn bytes(&self) -> usize {
        self.wheels().map(Wheel::bytes).sum()
    }

    /// Items in all wheels, stale ones included.
    pub fn items(&self) -> usize {
        self.wheels().map(Wheel::len).sum()
    }

    fn wheels(&self) -> impl Iterator<Item = &Wheel> {
        self.timers.iter().filter_map(|t| t.wheel.as_deref())
    }

    /// Works off what is due until the budget is spent, then does what upkeep the wheels ask for. Removed values go to
    /// `graveyard`. True if there is more to do.
    pub fn run(
        &mut self,
        batch: &Batch<'_>,
        now_ms: u64,
        budget_us: u64,
        graveyard: &mut Graveyard,
        expired: &mut OnGone<'_>,
    ) -> bool {
        let end = clock::mono_ns() + budget_us * 1000;
        let mut more = false;
        let mut due = std::mem::take(&mut self.due);
        for identity in 0..self.timers.len() {
            self.follow_flush(identity);
            let Timers { wheel: Some(wheel), .. } = &mut self.timers[identity] else {
                continue;
            };
            let db = self.identities.database(identity);
            let heard = self.audience.wants(Interest::ENDED | Interest::RULES);
            let mut slice = Slice { wheel, batch, db, now_ms, heard, stale: 0, hashes: 0, unfinished: false };
            more |= slice.work_off(end, &mut due, graveyard, expired) == Progress::More;
            let (stale, hashes) = (slice.stale, slice.hashes);
            let timers = &mut self.timers[identity];
            timers.note_stale(&self.identities, identity, stale);
            if hashes != 0 {
                self.identities.add_hashes(identity, hashes);
            }
            if !more {
                more |= keep_up(timers, &self.identities, identity, batch, end) == Progress::More;
            }
        }
        self.due = due;
        more
    }
}

/// Sweeps or compacts one wheel until it asks for nothing more or the time is over.
fn keep_up(
    timers: &mut Timers,
    identities: &Identities,
    identity: usize,
    batch: &Batch<'_>,
    end_ns: u64,
) -> Progress {
    let db = identities.database(identity);
    while let Some(upkeep) = timers.upkeep(identities, identity) {
        if clock::mono_ns() >= end_ns {
            return Progress::More;
        }
        let Some(wheel) = &mut timers.wheel else { break };
        let before = wheel.len();
        let progress = match upkeep {
            Upkeep::Sweep => wheel.sweep(ITEMS_PER_STEP, |hash40, tick| is_live(batch, db, hash40, tick)),
            Upkeep::Compact => wheel.compact(ITEMS_PER_STEP),
        };
        let dropped = i64::try_from(before - wheel.len()).unwrap_or(0);
        if upkeep == Upkeep::Sweep {
            let sought = timers.sought.unwrap_or(identities.stale(identity) + timers.untold) - dropped;
            timers.sought = Some(sought).filter(|_| progress == Progress::More);
            if timers.sought.is_none() {
                timers.elsewhere = sought.max(0);
            }
        }
        timers.note_stale(identities, identity, -dropped);
    }
    Progress::Done
}

/// Whether an item stands for an entry.
fn is_live(batch: &Batch<'_>, db: DbId, hash40: u64, tick: u32) -> bool {
    let guard = batch.lock(db, KeyHash::from_hash40(hash40));
    guard.for_each_candidate(hash40, &mut |_, entry| {
        entry.deadline().is_some() && entry.armed() == tick || entry.fields_armed() == Some(tick)
    })
}

/// What an item stands for in one of its candidates.
enum Found {
    Key(Pos, Verdict),
    Fields(Pos, Verdict),
}

/// One wheel, in one slice.
struct Slice<'a, 'b> {
    wheel: &'a mut Wheel,
    batch: &'a Batch<'b>,
    db: DbId,
    now_ms: u64,
    /// Somebody wants to know what went.
    heard: bool,
    /// Items that became stale, less those that turned out to be and are gone.
    stale: i64,
    /// Change of the number of hashes with deadlines of fields.
    hashes: i64,
    /// More fields of some hash are due than go in one step: their item is in the wheel again.
    unfinished: bool,
}

impl Slice<'_, '_> {
    fn work_off(
        &mut self,
        end_ns: u64,
        due: &mut Vec<Due>,
        graveyard: &mut Graveyard,
        expired: &mut OnGone<'_>,
    ) -> Progress {
        let items = if self.heard { ITEMS_PER_STEP_HEARD } else { ITEMS_PER_STEP };
        loop {
            let progress = self.wheel.advance(self.now_ms, items, due);
            self.prefetch(due);
            for item in due.drain(..) {
                self.fire(item, graveyard, expired);
            }
            let more = progress == Progress::More || std::mem::take(&mut self.unfinished);
            if !more {
                return Progress::Done;
            }
            if clock::mono_ns() >= end_ns {
                return Progress::More;
            }
        }
    }

    /// Overlaps the cache misses of all items, as the request path does for a batch.
    fn prefetch(&self, due: &[Due]) {
        if due.len() < 2 {
            return;
        }
        if let Some(ahead) = self.batch.ahead(self.db) {
            ahead.keys(due.iter().map(|item| KeyHash::from_hash40(item.hash40)));
        }
    }

    /// Every key of the hash chain that the item may stand for gets its own verdict: with 40 bits of
    /// hash, two keys of a million may share an item. So does each key's hash of fields.
    fn fire(&mut self, item: Due, graveyard: &mut Graveyard, expired: &mut OnGone<'_>) {
        let mut guard = self.batch.lock(self.db, KeyHash::from_hash40(item.hash40));
        let mut known = false;
        while let Some(found) = self.find(&guard, item) {
            known = true;
            // The same tick again (it came up early, after a step of the clock, or more is due than goes at once)
            // stands for all candidates.
            let again = match found {
                Found::Key(pos, Verdict::Rearm(at)) => self.rearm(&mut guard, pos, item, at),
                Found::Key(pos, _) => {
                    self.remove(&mut guard, pos, Gone::Key, graveyard, expired);
                    false
                }
                Found::Fields(pos, Verdict::Rearm(at)) => self.rearm_fields(&mut guard, pos, item, Some(at)),
                Found::Fields(pos, _) => self.expire_fields(&mut guard, pos, item, graveyard, expired),
            };
            if again {
                return;
            }
        }
        self.stale -= i64::from(!known);
    }

    /// The first candidate for which the item stands.
    fn find(&self, guard: &ShardGuard<'_>, item: Due) -> Option<Found> {
        let judge_at = |deadline: Option<u64>, armed: u32| {
            let timer = deadline.map(|deadline_ms| Timer { deadline_ms, armed });
            Some(judge(timer, item.tick, self.now_ms)).filter(|v| *v != Verdict::Stale)
        };
        let mut found = None;
        guard.for_each_candidate(item.hash40, &mut |pos, entry| {
            found = judge_at(entry.deadline(), entry.armed()).map(|v| Found::Key(pos, v));
            if found.is_none()
                && let Some(armed) = entry.fields_armed()
            {
                found = judge_at(entry.next_field_deadline(), armed).map(|v| Found::Fields(pos, v));
            }
            found.is_some()
        });
        found
    }

    /// Arms an item for a key again. Whether it has the same tick.
    fn rearm(&mut self, guard: &mut ShardGuard<'_>, pos: Pos, item: Due, at: u64) -> bool {
        let mut meta = guard.entry(pos).meta();
        meta.armed = self.wheel.arm(item.hash40, at);
        // A failure cannot be, as the entry has room for a tick already.
        guard.set_meta(pos, meta).is_err() || meta.armed == item.tick
    }

    /// The same for a hash whose earliest deadline is `at` now, or that has none any more.
    fn rearm_fields(&mut self, guard: &mut ShardGuard<'_>, pos: Pos, item: Due, at: Option<u64>) -> bool {
        let tick = at.map(|at| self.wheel.arm(item.hash40, at));
        self.hashes -= i64::from(tick.is_none());
        if let Some(Value::Hash(hash)) = guard.value_mut(pos) {
            hash.set_armed(tick);
        }
        tick == Some(item.tick)
    }

    /// Removes fields that are past their deadline, and the key if they were its last.
    /// Whether the item is in the wheel again with the same tick.
    fn expire_fields(
        &mut self,
        guard: &mut ShardGuard<'_>,
        pos: Pos,
        item: Due,
        graveyard: &mut Graveyard,
        expired: &mut OnGone<'_>,
    ) -> bool {
        let Some(Value::Hash(hash)) = guard.value_mut(pos) else {
            return true;
        };
        let mut fields = Vec::new();
        let heard = self.heard;
        let count = hash.expire(self.now_ms, FIELDS_PER_STEP, |field| {
            if heard {
                fields.push(EndedField::of(field));
            }
        });
        let all = hash.is_empty();
        let gone = Gone::Fields { count, all, fields: &fields };
        if all {
            self.remove(guard, pos, gone, graveyard, expired);
            return false;
        }
        let next = hash.next_deadline();
        self.unfinished |= next.is_some_and(|at| is_past(at, self.now_ms));
        expired(self.db, guard.entry(pos), gone);
        self.rearm_fields(guard, pos, item, next)
    }

    fn remove(
        &mut self,
        guard: &mut ShardGuard<'_>,
        pos: Pos,
        gone: Gone<'_>,
        graveyard: &mut Graveyard,
        expired: &mut OnGone<'_>,
    ) {
        let entry = guard.entry(pos);
        expired(self.db, entry, gone);
        // The item of the other kind of deadline stands for nothing now.
        let fields = entry.fields_armed().is_some();
        self.hashes -= i64::from(fields);
        self.stale += i64::from(fields) + i64::from(entry.deadline().is_some()) - 1;
        graveyard.extend(guard.remove(pos));
    }
}
