//! The timers of one worker: a wheel per database, and the slice in which due keys are worked off.
//!
//! An item names a hash, not a place, so any worker can fire it and engines may change under it.

use std::sync::Arc;

use crate::clock;
use crate::expiry::{Change, Due, Identities, Progress, Timer, Verdict, Wheel, judge, on_deadline_change};
use crate::keyspace::{Batch, DbId, EntryRef, KeyHash, Pos};
use crate::values::Value;

/// Items taken from a wheel between two looks at the clock.
const ITEMS_PER_STEP: usize = 64;

/// A worker's timers.
pub struct Expiry {
    /// By identity of the data; allocated when it first gets a deadline.
    wheels: Vec<Option<Box<Wheel>>>,
    identities: Arc<Identities>,
    now_ms: u64,
    deletes: bool,
    /// Earliest deadline armed since the expiry task last looked.
    earliest: u64,
    due: Vec<Due>,
}

impl Expiry {
    /// Timers for this many databases.
    pub fn new(databases: DbId, identities: Arc<Identities>, now_ms: u64) -> Expiry {
        let wheels = (0..databases).map(|_| None).collect();
        Expiry { wheels, identities, now_ms, deletes: true, earliest: u64::MAX, due: Vec::new() }
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
        let old = old.map(|(deadline_ms, armed)| Timer { deadline_ms, armed });
        let now = self.now_ms;
        let Some(new) = new else {
            if let (Some(_), Some(wheel)) = (old, &mut self.wheels[self.identities.identity(db)]) {
                wheel.note_stale();
            }
            return 0;
        };
        let identity = self.identities.identity(db);
        let wheel = self.wheels[identity].get_or_insert_with(|| Box::new(Wheel::new(now)));
        match on_deadline_change(old, new, now) {
            Change::Keep(tick) => tick,
            Change::Arm { stale } => {
                if stale {
                    wheel.note_stale();
                }
                self.earliest = self.earliest.min(new);
                wheel.arm(hash.hash40(), new)
            }
        }
    }

    /// A database was emptied: none of its timers stands for a key any more.
    pub fn clear(&mut self, db: DbId) {
        self.wheels[self.identities.identity(db)] = None;
    }

    /// Earliest deadline armed since [`forget_earliest`](Self::forget_earliest).
    #[inline]
    pub fn earliest(&self) -> u64 {
        self.earliest
    }

    /// The expiry task has looked at the wheels.
    pub fn forget_earliest(&mut self) {
        self.earliest = u64::MAX;
    }

    /// When the next slice may have work, in Unix milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.wheels.iter().flatten().filter_map(|w| w.next_deadline()).min()
    }

    /// Memory of all wheels.
    pub fn bytes(&self) -> usize {
        self.wheels.iter().flatten().map(|w| w.bytes()).sum()
    }

    /// Works off due keys until the budget is spent. `expired` hears of each key under its lock,
    /// before it is removed; removed values go to `graveyard`. True if more is due.
    pub fn run(
        &mut self,
        batch: &Batch<'_>,
        now_ms: u64,
        budget_us: u64,
        graveyard: &mut Vec<Box<Value>>,
        expired: &mut dyn FnMut(DbId, EntryRef<'_>),
    ) -> bool {
        let end = clock::mono_ns() + budget_us * 1000;
        let mut more = false;
        for identity in 0..self.wheels.len() {
            let Some(mut wheel) = self.wheels[identity].take() else { continue };
            let db_id = self.identities.database(identity);
            loop {
                let mut due = std::mem::take(&mut self.due);
                let progress = wheel.advance(now_ms, ITEMS_PER_STEP, &mut due);
                for item in due.drain(..) {
                    fire(&mut wheel, batch, db_id, item, now_ms, graveyard, expired);
                }
                self.due = due;
                if progress == Progress::Done {
                    break;
                }
                if clock::mono_ns() >= end {
                    more = true;
                    break;
                }
            }
            self.wheels[identity] = Some(wheel);
        }
        more
    }
}

/// Every key of the hash chain that the item may stand for gets its own verdict: with 40 bits of
/// hash, two keys of a million may share an item.
fn fire(
    wheel: &mut Wheel,
    batch: &Batch<'_>,
    db: DbId,
    item: Due,
    now_ms: u64,
    graveyard: &mut Vec<Box<Value>>,
    expired: &mut dyn FnMut(DbId, EntryRef<'_>),
) {
    let hash = KeyHash::from_hash40(item.hash40);
    let mut guard = batch.lock(db, hash);
    let mut known = false;
    loop {
        let mut action: Option<(Pos, Verdict)> = None;
        guard.for_each_candidate(item.hash40, &mut |pos, entry| {
            let timer = entry.deadline().map(|deadline_ms| Timer { deadline_ms, armed: entry.armed() });
            match judge(timer, item.tick, now_ms) {
                Verdict::Stale => false,
                verdict => {
                    action = Some((pos, verdict));
                    true
                }
            }
        });
        match action {
            None => break,
            Some((pos, Verdict::Expire)) => {
                expired(db, guard.entry(pos));
                graveyard.extend(guard.remove(pos));
            }
            Some((pos, Verdict::Rearm(at))) => {
                let mut meta = guard.entry(pos).meta();
                meta.armed = wheel.arm(item.hash40, at);
                // The entry has room for a tick already, so nothing is allocated.
                let _ = guard.set_meta(pos, meta);
                if meta.armed == item.tick {
                    known = true;
                    break;
                }
            }
            Some((_, Verdict::Stale)) => {}
        }
        known = true;
    }
    if !known {
        wheel.note_dropped();
    }
}
