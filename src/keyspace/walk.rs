//! Walks over all databases that have something done to each entry, a little under one lock at a time.
//!
//! A walk stands at a place in hash space, as a scan does, so engines may change under it: in each of them buckets, and the
//! shards that these are in, stand in the order of their hashes. Unlike a scan it also stops inside of a chain, and of a
//! value: what is done to these takes the time for which the lock may be held. How far it is inside is said in entries
//! of the chain, which mean nothing in the buckets of an engine of another size; so there it begins the bucket again.
//!
//! What stays where it is while the walk comes by is met, once or more often. What is added or removed in just the
//! chain where the walk stands may hide another entry of that chain from it: nothing may depend on meeting all.

use super::batch::Batch;
use super::bucket::BUCKETS;
use super::engines::Engines;
use super::hash::KeyHash;
use super::shard::{Pos, ShardGuard};
use super::{DbId, scan};

/// Shards passed in one step in which there is nothing to do.
const SHARDS: usize = 16;

/// What a walk is for.
pub(super) trait Visitor {
    /// What of a database is to be visited; asked again for each shard.
    fn wants(&self, engines: &Engines) -> Wants;

    /// Whether enough was done under one lock.
    fn is_spent(&self) -> bool;

    /// An entry, from this part of it on. Where to go on in it later, if that was not all.
    fn entry(&mut self, guard: &mut ShardGuard<'_>, pos: Pos, part: u128) -> Option<u128>;

    /// A shard whose entries, if they were wanted, were visited.
    fn shard(&mut self, _batch: &Batch<'_>, _guard: &mut ShardGuard<'_>) {}
}

/// What of a database is visited.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    Nothing,
    /// The shards alone.
    Shards,
    /// Also their entries.
    Entries,
}

/// How far a walk has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    db: DbId,
    /// In the bucket where this hash lives …
    hash: u64,
    /// … and which reaches over 2^this hashes …
    width: u32,
    /// … at this entry of its chain …
    nth: usize,
    /// … and this part of that.
    part: u128,
}

impl Walk {
    /// To the beginning of the bucket where a hash lives; of the next database without one.
    fn go_to(&mut self, hash: Option<u64>) {
        *self = match hash {
            Some(hash) => Walk { db: self.db, hash, ..Walk::default() },
            None => Walk { db: self.db + 1, ..Walk::default() },
        }
    }

    /// Takes up a place in an engine whose buckets are that wide.
    fn enter(&mut self, width: u32) {
        if self.width != width {
            *self = Walk { db: self.db, hash: self.hash, width, ..Walk::default() };
        }
    }
}

/// Goes on until the visitor has had enough, under one lock at a time; false when all databases were walked.
pub(super) fn step(batch: &Batch<'_>, walk: &mut Walk, visitor: &mut impl Visitor) -> bool {
    for _ in 0..SHARDS {
        if walk.db >= batch.keyspace().databases() {
            return false;
        }
        match batch.engines(walk.db).map_or(Wants::Nothing, |engines| visitor.wants(engines)) {
            Wants::Nothing => walk.go_to(None),
            wants => {
                if !shard(batch, walk, visitor, wants) || visitor.is_spent() {
                    return true;
                }
            }
        }
    }
    true
}

/// The rest of a shard; false if there is more of it.
fn shard(batch: &Batch<'_>, walk: &mut Walk, visitor: &mut impl Visitor, wants: Wants) -> bool {
    let mut guard = batch.lock(walk.db, KeyHash(walk.hash));
    let engine = guard.engine();
    let width = engine.bucket_width_bits();
    walk.enter(width);
    if wants == Wants::Entries && guard.used() > 0 {
        for front in engine.bucket(KeyHash(walk.hash))..BUCKETS {
            if !chain(&mut guard, front, walk, visitor) {
                return false;
            }
            if front + 1 < BUCKETS {
                walk.hash = scan::end(walk.hash, width).unwrap_or(walk.hash);
                walk.nth = 0;
            }
        }
    }
    visitor.shard(batch, &mut guard);
    walk.go_to(scan::end(walk.hash, width + BUCKETS.trailing_zeros()));
    true
}

/// The rest of a bucket's chain; false if there is more of it.
fn chain(guard: &mut ShardGuard<'_>, front: usize, walk: &mut Walk, visitor: &mut impl Visitor) -> bool {
    for pos in guard.chain(front).into_iter().skip(walk.nth) {
        if visitor.is_spent() {
            return false;
        }
        match visitor.entry(guard, pos, walk.part) {
            Some(part) => {
                walk.part = part;
                return false;
            }
            None => (walk.nth, walk.part) = (walk.nth + 1, 0),
        }
    }
    true
}
