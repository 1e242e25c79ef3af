//! Survivors that stand out of line, and blocks, are moved out of pages that are mostly unused.
//!
//! A walk goes over hash space as a scan does, so engines may change under it. Under one lock it looks at some pieces
//! of memory, and goes on later in the middle of a value if that has more. What was added behind its back is in no
//! sparse page, and what it misses the next walk finds: nothing depends on its being complete.

use super::batch::Batch;
use super::bucket::{BUCKETS, Block};
use super::hash::KeyHash;
use super::shard::Locked;
use super::{DbId, scan};
use crate::memory::Renewal;
use smallvec::SmallVec;

/// Pieces looked at, and bytes copied, under one lock.
const LOOKS: usize = 64;
const BYTES: usize = 32 << 10;
/// Shards passed in one step that hold nothing out of line.
const SHARDS: usize = 16;

/// How far a walk has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    db: DbId,
    /// The bucket where this hash lives, the entry in its chain, and the part of its value.
    hash: u64,
    nth: usize,
    part: u128,
}

impl Walk {
    fn next_database(&mut self) {
        *self = Walk { db: self.db + 1, ..Walk::default() };
    }
}

/// Some pieces; false when all databases were walked.
pub(super) fn step(batch: &Batch<'_>, walk: &mut Walk, renewal: &mut Renewal) -> bool {
    renewal.grant(LOOKS, BYTES);
    for _ in 0..SHARDS {
        let Some(engines) = (walk.db < batch.keyspace().databases()).then(|| batch.engines(walk.db)) else {
            return false;
        };
        let Some(engines) = engines else {
            walk.next_database();
            continue;
        };
        let any_out_of_line = engines.space.arenas.iter().any(|arena| arena.boxed() > 0);
        if !shard(batch, walk, renewal, any_out_of_line) || renewal.is_spent() {
            return true;
        }
    }
    true
}

/// The rest of a shard; false if not all of it was looked at.
fn shard(batch: &Batch<'_>, walk: &mut Walk, renewal: &mut Renewal, entries: bool) -> bool {
    let mut guard = batch.lock(walk.db, KeyHash(walk.hash));
    let engine = guard.engine();
    let width = engine.bucket_width_bits();
    let first = engine.bucket(KeyHash(walk.hash));
    let locked = guard.locked();
    if entries {
        for front in first..BUCKETS {
            if !chain(locked, front, walk, renewal) {
                return false;
            }
            if front + 1 < BUCKETS {
                // Buckets are in the order of their hashes.
                walk.hash = scan::end(walk.hash, width).unwrap_or(walk.hash);
            }
        }
    }
    if let Some(old) = renew_block(locked, renewal) {
        batch.retire_block(old);
    }
    match scan::end(walk.hash, width + BUCKETS.trailing_zeros()) {
        Some(hash) => *walk = Walk { db: walk.db, hash, ..Walk::default() },
        None => walk.next_database(),
    }
    true
}

/// The values of a chain's entries; false if not all was looked at.
fn chain(locked: &mut Locked<'_>, front: usize, walk: &mut Walk, renewal: &mut Renewal) -> bool {
    let block = locked.block();
    let places: SmallVec<[_; 32]> =
        block.iter().flat_map(|b| b.chain_entries(front)).map(|(_, _, place)| place).skip(walk.nth).collect();
    for place in places {
        if renewal.is_spent() {
            return false;
        }
        match locked.entry_mut(place).renew(walk.part, renewal) {
            Some(part) => {
                walk.part = part;
                return false;
            }
            None => (walk.nth, walk.part) = (walk.nth + 1, 0),
        }
    }
    walk.nth = 0;
    true
}

/// Gives the shard another block if its own stands in sparse pages, or is larger than need be; the old one.
fn renew_block(locked: &mut Locked<'_>, renewal: &mut Renewal) -> Option<Block> {
    let block = locked.block()?;
    let sparse = renewal.wants(&block);
    let new = Block::rebuilt(block, sparse)?;
    locked.set_block(Some(new))
}
