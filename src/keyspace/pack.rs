//! Small collections that are left alone are packed: the one run of bytes that such a collection is comes into the entry.
//!
//! Written to, a collection has memory of its own, which can grow in place. Most are written once and then only
//! read, though, and of ten elements the pointer, the length and what the allocator rounds up are a good part. So a walk
//! over hash space comes by now and then, as a scan does. It takes the mark away that every change leaves on an
//! entry, and packs what has carried none since the walk before: nothing that is written all the time goes to and fro.

use super::batch::Batch;
use super::bucket::BUCKETS;
use super::hash::KeyHash;
use super::{DbId, scan};
use std::sync::atomic::Ordering::Relaxed;

/// Collections looked at and bytes packed under one lock.
const LOOKS: usize = 64;
const BYTES: usize = 16 << 10;
/// Shards passed in one step that hold nothing out of line.
const SHARDS: usize = 16;

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
    db: DbId,
    /// The bucket where this hash lives.
    hash: u64,
    /// Collections packed.
    pub packed: usize,
    /// Collections that were changed since the walk before.
    pub later: usize,
}

impl PackWalk {
    fn go_to(&mut self, hash: Option<u64>) {
        match hash {
            Some(hash) => self.hash = hash,
            None => (self.db, self.hash) = (self.db + 1, 0),
        }
    }
}

/// Some collections; false when all databases were walked.
pub(super) fn step(batch: &Batch<'_>, walk: &mut PackWalk) -> bool {
    let mut granted = Granted { looks: LOOKS, bytes: BYTES };
    let before = walk.packed;
    let goes_on = some_shards(batch, walk, &mut granted);
    let packed = (walk.packed - before) as u64;
    batch.keyspace().journal.packed_collections.fetch_add(packed, Relaxed);
    goes_on
}

fn some_shards(batch: &Batch<'_>, walk: &mut PackWalk, granted: &mut Granted) -> bool {
    for _ in 0..SHARDS {
        if walk.db >= batch.keyspace().databases() {
            return false;
        }
        let any = batch
            .engines(walk.db)
            .is_some_and(|engines| engines.space.arenas.iter().any(|arena| arena.loose() > 0));
        if any {
            shard(batch, walk, granted);
        } else {
            walk.go_to(None);
        }
        if granted.is_spent() {
            break;
        }
    }
    true
}

struct Granted {
    looks: usize,
    bytes: usize,
}

impl Granted {
    fn is_spent(&self) -> bool {
        self.looks == 0 || self.bytes == 0
    }
}

/// The rest of a shard, or as much of it as is granted.
fn shard(batch: &Batch<'_>, walk: &mut PackWalk, granted: &mut Granted) {
    let mut guard = batch.lock(walk.db, KeyHash(walk.hash));
    let engine = guard.engine();
    let width = engine.bucket_width_bits();
    if guard.used() == 0 {
        walk.go_to(scan::end(walk.hash, width + BUCKETS.trailing_zeros()));
        return;
    }
    for front in engine.bucket(KeyHash(walk.hash))..BUCKETS {
        for pos in guard.chain(front) {
            granted.looks = granted.looks.saturating_sub(1);
            match guard.pack(pos) {
                Ok(Packing::Done(bytes)) => {
                    granted.bytes = granted.bytes.saturating_sub(bytes);
                    walk.packed += 1;
                }
                Ok(Packing::Later) => walk.later += 1,
                // Without room it stays where it is, and the next walk sees.
                Ok(Packing::Cannot) | Err(_) => {}
            }
        }
        walk.go_to(scan::end(walk.hash, width));
        if granted.is_spent() {
            return;
        }
    }
}
