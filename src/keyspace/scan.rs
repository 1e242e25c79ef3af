//! Walking a database in hash order, and picking from it at random.
//!
//! Engines differ only in how finely they cut hash space, so a cursor is a position in hash
//! space and means the same in each of them. It always stands at the start of a bucket of the
//! engine that served the last call. If buckets are larger now, what lies in front of the
//! position was visited already and is left out by its hash; if they are smaller it is the
//! start of one of them too.

use super::batch::Batch;
use super::bucket::BUCKETS;
use super::engines::Engines;
use super::hash::KeyHash;
use super::shard::ShardGuard;
use super::{DbId, EntryRef};

/// Buckets start at multiples of 2^32 (27 + 5 bits at most), so the low bits need not travel:
/// a cursor stays below 2^44, which every client's number type holds exactly.
const CURSOR_SHIFT: u32 = 20;
/// Empty buckets and shards passed per key asked for, before the call answers with few keys.
const VISITS_PER_KEY: usize = 10;

pub(super) fn scan(
    batch: &Batch<'_>,
    db: DbId,
    cursor: u64,
    count: usize,
    f: &mut dyn FnMut(EntryRef<'_>),
) -> u64 {
    if batch.engines(db).is_none() {
        return 0;
    }
    let mut position = cursor << CURSOR_SHIFT;
    let (mut seen, mut visits) = (0, 0);
    let visits_max = count.saturating_mul(VISITS_PER_KEY).max(64);
    loop {
        let guard = batch.lock(db, KeyHash(position));
        let engine = guard.engine();
        let width = engine.bucket_width_bits();
        let index = engine.index(KeyHash(position));
        let empty = guard.used() == 0;
        loop {
            let start = position >> width << width;
            if !empty {
                guard.for_each_in_bucket(KeyHash(start), &mut |entry| {
                    if start == position || entry.hash(batch.hasher()).0 >= position {
                        seen += 1;
                        f(entry);
                    }
                });
            }
            // An empty shard is passed at once.
            let span = if empty { width + 5 } else { width };
            visits += 1;
            let Some(next) = end(position, span) else {
                return 0;
            };
            position = next;
            if seen >= count || visits >= visits_max {
                return position >> CURSOR_SHIFT;
            }
            if engine.index(KeyHash(position)) != index {
                break;
            }
        }
    }
}

/// Where the aligned span of 2^`bits` hashes around a position ends; None at the end of hash space.
pub(super) fn end(position: u64, bits: u32) -> Option<u64> {
    let size = 1_u64.checked_shl(bits)?;
    (position & !(size - 1)).checked_add(size)
}

/// Shards that one visit locks at most, so that an almost empty table costs no more than a full one.
const VISIT_SHARDS_MAX: usize = 64;

/// Visits the keys of all buckets that begin within `span` hashes from `from` on, around the end of
/// hash space.
pub(super) fn visit(
    batch: &Batch<'_>,
    db: DbId,
    from: u64,
    span: u64,
    f: &mut dyn FnMut(EntryRef<'_>) -> Option<u16>,
) {
    if batch.engines(db).is_none() {
        return;
    }
    let mut position = from;
    let mut left = span;
    for _ in 0..VISIT_SHARDS_MAX {
        let mut guard = batch.lock(db, KeyHash(position));
        let engine = guard.engine();
        let width = engine.bucket_width_bits();
        let size = 1_u64 << width;
        // A bucket that begins before the position belongs to the stretch in front.
        let skip = position.wrapping_neg() & (size - 1);
        if skip > left {
            return;
        }
        position = position.wrapping_add(skip);
        left -= skip;
        if skip > 0 && engine.bucket(KeyHash(position)) == 0 {
            // That was the last bucket of its shard.
            continue;
        }
        let buckets_left = BUCKETS - engine.bucket(KeyHash(position));
        let wanted = usize::try_from(left / size)
            .unwrap_or(usize::MAX)
            .saturating_add(usize::from(!left.is_multiple_of(size)));
        let count = buckets_left.min(wanted);
        if guard.used() > 0 {
            guard.visit_buckets(KeyHash(position), count, f);
        }
        let visited = size.saturating_mul(count as u64);
        position = position.wrapping_add(visited);
        if left <= visited {
            return;
        }
        left -= visited;
    }
}

/// Shards tried by chance before the walk to the next key.
const TRIES: usize = 32;

pub(super) fn random(batch: &Batch<'_>, db: DbId, rnd: u64, f: &mut dyn FnMut(EntryRef<'_>)) -> bool {
    let Some(engines) = batch.engines(db) else {
        return false;
    };
    let mut state = rnd;
    if engines.space.keys() == 0 {
        return false;
    }
    for _ in 0..TRIES {
        let hash = KeyHash(next(&mut state));
        let guard = batch.lock(db, hash);
        // Keys per hash space, against twice the mean: shards of both engines alike.
        let mean = (engines.space.keys() >> guard.engine().bits()).max(1) as u64;
        let used = guard.used() as u64;
        if next(&mut state) % (2 * mean) < used && pick(&guard, next(&mut state), f) {
            return true;
        }
    }
    walk(batch, db, engines, &mut state, f)
}

/// Takes a key of the first shard, from a random one on, that has any.
fn walk(
    batch: &Batch<'_>,
    db: DbId,
    engines: &Engines,
    state: &mut u64,
    f: &mut dyn FnMut(EntryRef<'_>),
) -> bool {
    let bits = engines.growing.as_ref().map_or(0, |g| g.bits()).max(engines.active.bits());
    let start = next(state);
    for i in 0..1_u64 << bits {
        // The upper bits count the shards; a step of one shard more each time, around the end.
        let step = if bits == 0 { 0 } else { i << (64 - u32::from(bits)) };
        let hash = KeyHash(start.wrapping_add(step));
        if engines.choose(hash).1.used() > 0 && pick(&batch.lock(db, hash), next(state), f) {
            return true;
        }
    }
    false
}

fn pick(guard: &ShardGuard<'_>, rnd: u64, f: &mut dyn FnMut(EntryRef<'_>)) -> bool {
    let used = guard.used() as u64;
    if used == 0 {
        return false;
    }
    guard.nth((rnd % used) as usize).map(f).is_some()
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
