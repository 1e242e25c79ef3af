//! Compaction: segments with holes are emptied and given back.
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
use std::sync::atomic::Ordering::Relaxed;

/// Dead bytes, of those in use, from which on a database is compacted at once.
pub(super) const PERCENT: usize = 15;
/// The same while there is nothing else to do.
pub(super) const PERCENT_IDLE: usize = 5;
/// Dead bytes of an arena that do not matter: a segment's worth, since the open one is no victim.
pub(super) const SLACK: usize = super::segment::SEGMENT_BYTES;
/// The same while there is nothing else to do: then the open one is.
pub(super) const SLACK_IDLE: usize = SLACK / 16;
/// Bytes walked before the locks, and the batch, are left.
const SLICE_BYTES: usize = 4 << 10;
/// Segments looked at in one go while searching a victim.
const VISITS: usize = 256;

/// Walks a slice of some arena with too many dead bytes, or looks through a list of places that it left void; false
/// if there is neither.
pub(super) fn step(batch: &Batch<'_>, idle: bool) -> bool {
    let (percent, slack) = if idle { (PERCENT_IDLE, SLACK_IDLE) } else { (PERCENT, SLACK) };
    for db in 0..batch.keyspace().databases() {
        let Some(engines) = batch.engines(db) else {
            continue;
        };
        for arena in engines.space.arenas.iter() {
            if (arena.is_evacuating() || arena.wants_compaction(percent, slack))
                && slice(batch, db, arena, percent, idle)
            {
                return true;
            }
            if arena.has_stale_stacks() {
                arena.lock(&batch.keyspace().segments).prune();
                return true;
            }
        }
    }
    false
}

fn slice(batch: &Batch<'_>, db: DbId, arena: &Arena, percent: usize, idle: bool) -> bool {
    let segments = &batch.keyspace().segments;
    let victim = arena.lock(segments).take_victim(percent as u32, idle, VISITS);
    let Some(mut victim) = victim else {
        // Not found among those visited, or in the hands of another thread.
        return !arena.is_evacuating();
    };
    let went_on = walk(batch, db, &mut victim);
    arena.lock(segments).put_victim(victim);
    went_on
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
