//! Survivors that stand out of line, and blocks, are moved out of pages that are mostly unused.
//!
//! Under one lock a walk looks at some pieces of memory, and goes on later in the middle of a value if that has more.
//! What was added behind its back is in no sparse page, and what it misses the next walk finds.

use super::batch::Batch;
use super::bucket::Block;
use super::engines::Engines;
use super::shard::{Locked, Pos, ShardGuard};
use super::walk::{self, Visitor, Walk, Wants};
use crate::memory::Renewal;

/// Pieces looked at, and bytes copied, under one lock.
const LOOKS: usize = 64;
const BYTES: usize = 32 << 10;

/// Some pieces; false when all databases were walked.
pub(super) fn step(batch: &Batch<'_>, walk: &mut Walk, renewal: &mut Renewal) -> bool {
    renewal.grant(LOOKS, BYTES);
    walk::step(batch, walk, renewal)
}

impl Visitor for Renewal {
    fn wants(&self, engines: &Engines) -> Wants {
        let any_out_of_line = engines.space.arenas.iter().any(|arena| arena.boxed() > 0);
        if any_out_of_line { Wants::Entries } else { Wants::Shards }
    }

    fn is_spent(&self) -> bool {
        Renewal::is_spent(self)
    }

    fn entry(&mut self, guard: &mut ShardGuard<'_>, pos: Pos, part: u128) -> Option<u128> {
        guard.renew(pos, part, self)
    }

    fn shard(&mut self, batch: &Batch<'_>, guard: &mut ShardGuard<'_>) {
        if let Some(old) = renew_block(guard.locked(), self) {
            batch.retire_block(old);
        }
    }
}

/// Gives the shard another block if its own stands in sparse pages, or is larger than need be; the old one.
fn renew_block(locked: &mut Locked<'_>, renewal: &mut Renewal) -> Option<Block> {
    let block = locked.block()?;
    let sparse = renewal.wants(&block);
    let new = Block::rebuilt(block, sparse)?;
    locked.set_block(Some(new))
}
