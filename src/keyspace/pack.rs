//! Small collections that are left alone are packed: the one run of bytes that such a collection is comes into the entry.
//!
//! Written to, a collection has memory of its own, which can grow in place. Most are written once and then only
//! read, though, and of ten elements the pointer, the length and what the allocator rounds up are a good part. So a walk
//! comes by now and then. It takes the mark away that every change leaves on an
//! entry, and packs what has carried none since the walk before: nothing that is written all the time goes to and fro.

use super::batch::Batch;
use super::engines::Engines;
use super::shard::{Pos, ShardGuard};
use super::walk::{self, Visitor, Walk, Wants};
use std::sync::atomic::Ordering::Relaxed;

/// Collections looked at and bytes packed under one lock.
const LOOKS: usize = 72;
const BYTES: usize = 16 << 10;

/// How much there may be to pack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loose {
    /// Keys in all.
    pub keys: usize,
    /// Of them collections that stand out of line, however large.
    pub collections: usize,
}

/// What became of a key.
pub(super) enum Packing {
    /// Packed; so many bytes.
    Done(usize),
    /// It was changed since the last walk.
    Later,
    /// Nothing to pack: a string, a large collection, or packed already.
    Cannot,
}

/// How far a walk has come, and what it met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackWalk {
    at: Walk,
    /// Collections packed.
    pub packed: usize,
    /// Collections that were changed since the walk before.
    pub later: usize,
}

/// Some collections; false when all databases were walked.
pub(super) fn step(batch: &Batch<'_>, walk: &mut PackWalk) -> bool {
    let mut packer = Packer { looks: LOOKS, bytes: BYTES, packed: 0, later: 0 };
    let goes_on = walk::step(batch, &mut walk.at, &mut packer);
    walk.packed += packer.packed;
    walk.later += packer.later;
    batch.keyspace().journal.packed_collections.fetch_add(packer.packed as u64, Relaxed);
    goes_on
}

/// What may be done under the present lock, and what was done.
struct Packer {
    looks: usize,
    bytes: usize,
    packed: usize,
    later: usize,
}

impl Visitor for Packer {
    fn wants(&self, engines: &Engines) -> Wants {
        let any = engines.space.arenas.iter().any(|arena| arena.loose() > 0);
        if any { Wants::Entries } else { Wants::Nothing }
    }

    fn is_spent(&self) -> bool {
        self.looks == 0 || self.bytes == 0
    }

    fn entry(&mut self, guard: &mut ShardGuard<'_>, pos: Pos, _part: u128) -> Option<u128> {
        self.looks = self.looks.saturating_sub(1);
        match guard.pack(pos) {
            Ok(Packing::Done(bytes)) => {
                self.bytes = self.bytes.saturating_sub(bytes);
                self.packed += 1;
            }
            Ok(Packing::Later) => self.later += 1,
            // Without room it stays where it is, and the next walk sees.
            Ok(Packing::Cannot) | Err(_) => {}
        }
        None
    }
}
