//! A slice of eviction: visit some entries in hash order, then drop the best candidates.
//!
//! The hand of a database is a position in hash space. A slice claims the next stretch of it
//! with one atomic addition, so several workers may evict at once and each has a stretch of its
//! own. Candidates are remembered by hash, not by place: between the visit and the drop no lock
//! is held, and a key that was used meanwhile is spared.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::eviction::arc::Balance;
use crate::eviction::policy::{Best, Candidate, Now, Rules, VICTIMS};
use crate::expiry::is_past;
use crate::keyspace::{Batch, DbId, EntryRef, KeyHash};
use crate::values::Value;

/// Entries that a slice looks at in search of some with a deadline.
const LOOKED_AT_MAX: usize = 2048;

/// Why a key goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its time had come; it was found by the way.
    Expired,
    /// Memory is wanted.
    Evicted,
}

/// Who hears of keys that go.
pub trait Sink {
    /// Called under the shard's lock just before the key goes.
    fn gone(&mut self, db: DbId, hash: KeyHash, entry: EntryRef<'_>, why: Cause);
    /// What it held, if that stands in an allocation of its own; no lock is held.
    fn value(&mut self, value: Value);
}

/// What a slice achieved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// Keys that went.
    pub keys: u64,
    /// Bytes that they took.
    pub bytes: usize,
    /// There is no key that may go.
    pub exhausted: bool,
}

/// State of the eviction, shared by all who evict.
pub struct Eviction {
    hands: Box<[AtomicU64]>,
    /// Classes and ghosts of the adaptive policy.
    pub balance: Balance,
}

/// What a visit gathered.
#[derive(Default)]
struct Visit {
    /// Of T1 and T2; other policies use the first.
    best: [Best; 2],
    expired: smallvec::SmallVec<[u64; 16]>,
    bytes: [u64; 2],
    entries: u32,
}

impl Eviction {
    /// For so many databases.
    pub fn new(databases: DbId) -> Eviction {
        Eviction { hands: (0..databases).map(|_| AtomicU64::new(0)).collect(), balance: Balance::default() }
    }

    /// Visits the next stretch of a database and drops keys of it until `need` bytes are free, at most
    /// eight and whatever has expired. Nothing may be locked by this batch.
    pub fn slice(
        &self,
        batch: &Batch<'_>,
        rules: &Rules,
        now_ms: u64,
        need: usize,
        random: &mut fastrand::Rng,
        sink: &mut dyn Sink,
    ) -> Freed {
        let mut freed = Freed::default();
        let Some(db) = choose(batch, rules, random) else {
            freed.exhausted = true;
            return freed;
        };
        let mut visit = self.visit(batch, db, rules, now_ms, random);
        for hash in std::mem::take(&mut visit.expired) {
            drop_one(batch, db, KeyHash(hash), Cause::Expired, sink, &mut freed, |entry| {
                entry.deadline().is_some_and(|deadline| is_past(deadline, now_ms))
            });
        }
        if rules.is_arc() {
            self.balance.saw(visit.bytes[0], visit.bytes[1], visit.entries, batch.len(db));
        }
        let mut victims = 0;
        while victims < VICTIMS && freed.bytes < need {
            let Some(victim) = self.next(rules, &mut visit.best) else { break };
            let hash = KeyHash(victim.hash);
            let untouched = |entry: &EntryRef<'_>| entry.access() == victim.bits;
            if drop_one(batch, db, hash, Cause::Evicted, sink, &mut freed, untouched) {
                victims += 1;
                if rules.is_arc() {
                    self.balance.evicted(named(db, hash), victim.bits, batch.len(db));
                }
            }
        }
        freed
    }

    /// The adaptive policy's bits for a key that was just stored and is remembered.
    pub fn returned(
        &self,
        batch: &Batch<'_>,
        db: DbId,
        hash: KeyHash,
        bytes: usize,
        tick: u8,
    ) -> Option<u16> {
        self.balance.returned(named(db, hash), bytes, batch.len(db), tick)
    }

    fn visit(
        &self,
        batch: &Batch<'_>,
        db: DbId,
        rules: &Rules,
        now_ms: u64,
        random: &mut fastrand::Rng,
    ) -> Visit {
        let now = Now { ms: now_ms, tick: self.balance.tick(), lean: self.balance.lean() };
        let keys = batch.len(db).max(1);
        let eligible = if rules.is_volatile() { batch.expires(db).max(1) } else { keys };
        // So many keys are between two of those that count; a sparse kind is searched in steps.
        let wanted = (rules.visits().saturating_mul(keys) / eligible).min(LOOKED_AT_MAX.max(rules.visits()));
        let span =
            if wanted >= keys { u64::MAX } else { (u64::MAX / keys as u64).saturating_mul(wanted as u64) };
        let from = self.hands[usize::from(db)].fetch_add(span, Relaxed);
        let mut visit = Visit::default();
        batch.visit(db, from, span, &mut |entry| visit.see(batch, entry, rules, now, random));
        visit
    }

    /// The next victim: of the class that has more than its share, if it has a candidate.
    fn next(&self, rules: &Rules, best: &mut [Best; 2]) -> Option<Candidate> {
        let second = if rules.is_arc() {
            let wanted = self.balance.wants_t2();
            if best[usize::from(wanted)].is_empty() { !wanted } else { wanted }
        } else {
            false
        };
        best[usize::from(second)].pop()
    }
}

impl Visit {
    /// Looks at an entry; gives access bits to store instead of its own.
    fn see(
        &mut self,
        batch: &Batch<'_>,
        entry: EntryRef<'_>,
        rules: &Rules,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Option<u16> {
        let deadline = entry.deadline();
        if deadline.is_some_and(|deadline| is_past(deadline, now.ms)) {
            self.expired.push(batch.hash_key(entry.key()).0);
            return None;
        }
        if rules.is_volatile() && deadline.is_none() {
            return None;
        }
        let scored = rules.score(&entry, now, random, || batch.hash_key(entry.key()).0);
        let class = usize::from(scored.t2);
        if rules.is_arc() {
            self.bytes[class] += footprint(&entry) as u64;
            self.entries += 1;
        }
        if self.best[class].wants(scored.score) {
            let bits = scored.rewrite.unwrap_or_else(|| entry.access());
            let hash = batch.hash_key(entry.key()).0;
            self.best[class].offer(Candidate { score: scored.score, hash, bits });
        }
        scored.rewrite
    }
}

/// Bytes that go with an entry.
pub fn footprint(entry: &EntryRef<'_>) -> usize {
    entry.packed_bytes() + entry.out_of_line().map_or(0, |value| value.memory())
}

/// A hash that tells databases apart.
fn named(db: DbId, hash: KeyHash) -> u64 {
    hash.0 ^ u64::from(db) << 12
}

/// A database that has keys that may go, by chance and by their number; `None` if no one has.
fn choose(batch: &Batch<'_>, rules: &Rules, random: &mut fastrand::Rng) -> Option<DbId> {
    let count = |db: DbId| if rules.is_volatile() { batch.expires(db) } else { batch.len(db) };
    let mut seen = 0;
    let mut chosen = None;
    for db in 0..batch.keyspace().databases() {
        let n = count(db);
        seen += n;
        // The usual single database costs no random number.
        if n > 0 && (seen == n || random.usize(..seen) < n) {
            chosen = Some(db);
        }
    }
    chosen
}

/// Drops a key, if it is still there and `still` holds of it.
fn drop_one(
    batch: &Batch<'_>,
    db: DbId,
    hash: KeyHash,
    why: Cause,
    sink: &mut dyn Sink,
    freed: &mut Freed,
    still: impl FnOnce(&EntryRef<'_>) -> bool,
) -> bool {
    let mut guard = batch.lock(db, hash);
    let Some(pos) = guard.find_hash(hash) else { return false };
    let entry = guard.entry(pos);
    if !still(&entry) {
        return false;
    }
    freed.bytes += footprint(&entry);
    freed.keys += 1;
    sink.gone(db, hash, entry, why);
    let value = guard.remove(pos);
    drop(guard);
    if let Some(value) = value {
        sink.value(value);
    }
    true
}
