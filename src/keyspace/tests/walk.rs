//! Walks that do something to each entry: whom they meet, and what may happen under them.

use super::*;
use crate::keyspace::engines::Engines;
use crate::keyspace::walk::{self, Visitor, Wants};
use proptest::prelude::*;
use std::collections::HashMap;

/// Each entry has so many parts.
const PARTS: u128 = 3;

/// Counts how often it met the last part of each key, and the shards.
#[derive(Default)]
struct Counter {
    met: HashMap<Vec<u8>, u32>,
    shards: usize,
    visits: usize,
    granted: usize,
}

impl Visitor for Counter {
    fn wants(&self, engines: &Engines) -> Wants {
        if engines.space.keys() == 0 { Wants::Shards } else { Wants::Entries }
    }

    fn is_spent(&self) -> bool {
        self.granted == 0
    }

    fn entry(&mut self, guard: &mut ShardGuard<'_>, pos: Pos, part: u128) -> Option<u128> {
        assert!(self.granted > 0, "asked before each entry");
        self.granted -= 1;
        self.visits += 1;
        if part + 1 < PARTS {
            return Some(part + 1);
        }
        *self.met.entry(guard.entry(pos).key().to_vec()).or_default() += 1;
        None
    }

    fn shard(&mut self, _: &Batch<'_>, _: &mut ShardGuard<'_>) {
        self.shards += 1;
    }
}

/// A step that may do so much; false at the end of the walk.
fn step(who: &mut Participant, walk: &mut Walk, counter: &mut Counter, granted: usize) -> bool {
    counter.granted = granted;
    walk::step(&who.enter(), walk, counter)
}

fn fill(who: &mut Participant, db: DbId, keys: u32) {
    for key in 0..keys {
        set(&who.enter(), db, &key.to_le_bytes(), Content::Bytes(b"v"), Meta::default());
    }
}

#[test]
fn each_part_of_each_entry_is_met_once() {
    let ks = keyspace();
    let mut who = ks.register_helper();
    let keys = if cfg!(miri) { 40 } else { 1500 };
    fill(&mut who, 3, keys);
    settle(&ks, &mut who, 0, &mut KeepAll);
    for granted in [1, 7, 1000] {
        let (mut counter, mut walk) = (Counter::default(), Walk::default());
        while step(&mut who, &mut walk, &mut counter, granted) {}
        assert!(counter.met.len() == keys as usize && counter.met.values().all(|&times| times == 1));
        assert_eq!(counter.visits, keys as usize * PARTS as usize);
        assert_eq!(counter.shards, who.enter().stats(3).shards);
    }
}

#[test]
fn an_emptied_database_has_its_shards_visited() {
    let ks = keyspace();
    let mut who = ks.register_helper();
    fill(&mut who, 0, 1);
    del(&who.enter(), 0, &0_u32.to_le_bytes());
    let (mut counter, mut walk) = (Counter::default(), Walk::default());
    while step(&mut who, &mut walk, &mut counter, 1) {}
    assert_eq!((counter.visits, counter.shards), (0, 1));
}

#[derive(Clone, Debug)]
enum Op {
    Walk { granted: usize },
    Resize { up: bool },
    Move,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1..40_usize).prop_map(|granted| Op::Walk { granted }),
        2 => any::<bool>().prop_map(|up| Op::Resize { up }),
        4 => Just(Op::Move),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 64 }, ..ProptestConfig::default() })]

    /// Also in the middle of a migration, and wherever in a chain the walk stands.
    #[test]
    fn what_stays_is_met_whatever_engines_there_are(ops in proptest::collection::vec(op(), 1..200)) {
        let ks = keyspace();
        let mut who = ks.register_helper();
        let keys = if cfg!(miri) { 30 } else { 900 };
        fill(&mut who, 0, keys);
        settle(&ks, &mut who, 0, &mut KeepAll);
        let (mut counter, mut walk) = (Counter::default(), Walk::default());
        for op in ops {
            match op {
                Op::Walk { granted } => _ = step(&mut who, &mut walk, &mut counter, granted),
                Op::Resize { up } => _ = ks.force_resize(&mut who, 0, up),
                Op::Move => _ = ks.maintain(&mut who, 0, 0, &mut KeepAll),
            }
        }
        while step(&mut who, &mut walk, &mut counter, 50) {}
        for key in 0..keys {
            prop_assert!(counter.met.contains_key(key.to_le_bytes().as_slice()), "{key} was not met");
        }
    }
}
