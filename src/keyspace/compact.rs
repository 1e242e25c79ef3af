//! Compaction: segments with holes are emptied and given back.
//!
//! How many holes are worth it depends on how fast the arena changes (unrest.rs).
//!
//! A victim is walked from its start without its entries' locks: number of units, key and
//! hash of an entry never change in its place (entry.rs), and nothing is put into a victim any
//! more. Each living entry is then moved under the lock of its shard, if a slot there still
//! refers to it; if none does it has died since. A walk goes on for a few KiB and is put back.

use super::DbId;
use super::arena::{Arena, Victim};
use super::batch::Batch;
use super::entry;
use super::segment::UNIT;
use super::unrest::Mood;
use std::sync::atomic::Ordering::Relaxed;

/// Dead bytes, of those in use, from which on an arena is compacted while it is calm.
pub(super) const PERCENT: usize = 15;
/// The same while it is still and there is nothing else to do.
pub(super) const PERCENT_STILL: usize = 5;
/// Dead bytes of an arena that are too few to search for where they are.
const PERCENT_TRACE: usize = 1;
/// Dead bytes of a segment from which on it is emptied while its arena is restless, and once that many of the arena's are dead.
const PERCENT_RESTLESS: usize = 80;
const PERCENT_BOUND: usize = 50;
/// Dead bytes of an arena that do not matter: a segment's worth, since the open one is no victim.
pub(super) const SLACK: usize = super::segment::SEGMENT_BYTES;
/// The same while it is still and there is nothing else to do: then the open one is.
pub(super) const SLACK_STILL: usize = SLACK / 16;
/// Dead bytes of an arena from which on compaction does not rest.
const PERCENT_BEHIND: usize = 60;
/// Bytes walked before the locks, and the batch, are left.
const SLICE_BYTES: usize = 4 << 10;
/// Segments looked at in one go while searching a victim.
const VISITS: usize = 256;
/// Time to the next search in an arena that is too restless.
pub(super) const SEARCH_MS: u64 = 200;

/// What else there is for the helper thread, and for memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    /// Holes can wait until nothing changes.
    None,
    /// There is nothing else to do: what is still is compacted as far as that pays.
    Idle,
    /// Memory is short: holes do not wait for calm.
    Short,
    /// Compacted is all, as far as that pays, now.
    Now,
}

/// What a step came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// Something was done: call again.
    Worked,
    /// Holes are left for calmer times: look again in [`SEARCH_MS`].
    Waits,
    Nothing,
}

/// Walks a slice of some arena with too many dead bytes, or looks through a list of places that it left void.
pub(super) fn step(batch: &Batch<'_>, haste: Haste, now_ms: u64) -> Outcome {
    let mut waits = false;
    for (db, arena) in batch.arenas() {
        match in_arena(batch, db, arena, haste, now_ms) {
            Outcome::Worked => return Outcome::Worked,
            Outcome::Waits => waits = true,
            Outcome::Nothing => {}
        }
        if arena.has_stale_stacks() {
            arena.lock(&batch.keyspace().segments).prune();
            return Outcome::Worked;
        }
    }
    if waits { Outcome::Waits } else { Outcome::Nothing }
}

/// Whether most of what some arena has is dead: compaction does not keep up.
pub(super) fn is_behind(batch: &Batch<'_>) -> bool {
    batch.arenas().any(|(_, arena)| arena.wants_compaction(PERCENT_BEHIND, SLACK))
}

/// Gives back the pages of open segments that were full before, and has void places forgotten: of arenas that are still, or
/// of all. What was worked may leave steps to do.
pub(super) fn tidy_up(batch: &Batch<'_>, all: bool, now_ms: u64) -> Outcome {
    let (mut worked, mut waits) = (false, false);
    for (_, arena) in batch.arenas() {
        let mut guard = arena.lock(&batch.keyspace().segments);
        if all || guard.mood(now_ms) == Mood::Still {
            worked |= guard.tidy_up();
        } else {
            waits |= guard.is_untidy();
        }
    }
    match (worked, waits) {
        (true, _) => Outcome::Worked,
        (false, true) => Outcome::Waits,
        (false, false) => Outcome::Nothing,
    }
}

fn in_arena(batch: &Batch<'_>, db: DbId, arena: &Arena, haste: Haste, now_ms: u64) -> Outcome {
    let segments = &batch.keyspace().segments;
    if !arena.is_evacuating() {
        if !arena.wants_compaction(PERCENT_TRACE, SLACK_STILL) {
            return Outcome::Nothing;
        }
        let at_once = matches!(haste, Haste::Short | Haste::Now);
        if !at_once && now_ms < arena.search_after_ms() {
            return Outcome::Waits;
        }
    }
    let mut guard = arena.lock(segments);
    let search = Search::of(arena, haste, guard.mood(now_ms));
    // Who waits for the end gets it, though workers change the arena meanwhile.
    let visits = if haste == Haste::Now { usize::MAX } else { VISITS };
    let victim = search.and_then(|s| guard.take_victim(s.percent as u32, s.open, visits));
    let searched_all = guard.has_searched_all();
    drop(guard);
    if let Some(mut victim) = victim {
        let went_on = walk(batch, db, &mut victim);
        arena.lock(segments).put_victim(victim);
        return if went_on { Outcome::Worked } else { Outcome::Nothing };
    }
    match search {
        // In the hands of another thread.
        _ if arena.is_evacuating() => Outcome::Nothing,
        Some(Search { ends: Ends::Found, .. }) => Outcome::Worked,
        Some(Search { ends: Ends::Round, .. }) if !searched_all => Outcome::Worked,
        Some(Search { ends: Ends::Round, .. }) => Outcome::Nothing,
        Some(Search { ends: Ends::Later, .. }) | None => {
            arena.search_after(now_ms + SEARCH_MS);
            Outcome::Waits
        }
    }
}

/// Which segments are victims.
#[derive(Clone, Copy)]
struct Search {
    /// Dead bytes of a victim, in percent of the used ones.
    percent: usize,
    /// The segment that is being filled may be one.
    open: bool,
    ends: Ends,
}

/// What is known if there is no victim among the segments that were visited.
#[derive(Clone, Copy)]
enum Ends {
    /// So many of the arena's bytes are dead that there is one.
    Found,
    /// There may be one: all are visited once.
    Round,
    /// There may be one by and by.
    Later,
}

impl Search {
    fn of(arena: &Arena, haste: Haste, mood: Mood) -> Option<Search> {
        let wants = |percent| arena.wants_compaction(percent, SLACK);
        let by_all = |percent| Some(Search { percent, open: false, ends: Ends::Found });
        match (haste, mood) {
            (Haste::Now, _) | (Haste::Idle, Mood::Still) => {
                Some(match arena.wants_compaction(PERCENT_STILL, SLACK_STILL) {
                    true => Search { percent: PERCENT_STILL, open: true, ends: Ends::Found },
                    false => Search { percent: PERCENT, open: true, ends: Ends::Round },
                })
            }
            (Haste::Short, _) | (_, Mood::Still | Mood::Calm) if wants(PERCENT) => by_all(PERCENT),
            (_, Mood::Restless) if wants(PERCENT_BOUND) => by_all(PERCENT_BOUND),
            (_, Mood::Restless) if wants(PERCENT) => {
                Some(Search { percent: PERCENT_RESTLESS, open: false, ends: Ends::Later })
            }
            // What was begun is brought to its end.
            _ if arena.is_evacuating() => by_all(PERCENT),
            _ => None,
        }
    }
}

fn walk(batch: &Batch<'_>, db: DbId, victim: &mut Victim) -> bool {
    let segments = &batch.keyspace().segments;
    let mut left = SLICE_BYTES / UNIT;
    let (mut copied, mut went_on) = (0, true);
    while let Some(place) = victim.place(segments) {
        if left == 0 {
            break;
        }
        let seen = entry::glimpse(segments, place, batch.hasher());
        if let Some(hash) = seen.hash {
            let mut guard = batch.lock(db, hash);
            let front = guard.engine().bucket(hash);
            match guard.locked().relocate(front, place, hash) {
                Ok(moved) => copied += if moved { seen.units * UNIT } else { 0 },
                Err(_) => {
                    went_on = false;
                    break;
                }
            }
        }
        left = left.saturating_sub(seen.units);
        victim.advance(seen.units);
    }
    batch.keyspace().journal.compacted_bytes.fetch_add(copied as u64, Relaxed);
    went_on
}
