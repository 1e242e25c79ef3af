//! What compaction copies, and what it leaves, while entries come and go. The clock is the test's.

use super::*;
use crate::keyspace::compact::{self, Haste, Outcome};

const KEYS: u32 = if cfg!(miri) { 500 } else { 60_000 };
/// Writes between two looks of the helper thread, and the time that they take.
const WRITES: u32 = KEYS / 60;
const WRITES_MS: u64 = 20;

/// A keyspace that is written to while somebody compacts it.
struct Churned {
    ks: Arc<Keyspace>,
    who: Participant,
    rng: fastrand::Rng,
    now_ms: u64,
    stored: u64,
}

impl Churned {
    fn new() -> Self {
        let ks = keyspace();
        let who = ks.register_helper();
        let mut churned = Churned { ks, who, rng: fastrand::Rng::with_seed(7), now_ms: 1, stored: 0 };
        churned.who.enter().prepare(0, 2 * KEYS as usize);
        churned
    }

    /// Compacts until there is nothing to do at this time.
    fn compact(&mut self, haste: Haste) -> Outcome {
        loop {
            let outcome = compact::step(&self.who.enter(), haste, self.now_ms);
            if outcome != Outcome::Worked {
                return outcome;
            }
        }
    }

    fn pass(&mut self, haste: Haste, written: u32) {
        if written.is_multiple_of(WRITES) {
            self.now_ms += WRITES_MS;
            self.compact(haste);
        }
    }

    fn write(
        &mut self,
        keys: impl Iterator<Item = u32>,
        sizes: std::ops::RangeInclusive<usize>,
        haste: Haste,
    ) {
        for (n, key) in keys.enumerate() {
            let size = self.rng.usize(sizes.clone());
            let value = vec![key as u8; size];
            set(&self.who.enter(), 0, &key.to_le_bytes(), Content::Bytes(&value), Meta::default());
            self.stored += size as u64 + 4;
            self.pass(haste, n as u32);
        }
    }

    fn shuffled(&mut self) -> std::vec::IntoIter<u32> {
        let mut keys: Vec<u32> = (0..KEYS).collect();
        self.rng.shuffle(&mut keys);
        keys.into_iter()
    }

    /// Lets time pass until the arenas are still and compacted.
    fn rest(&mut self) {
        for _ in 0..100 {
            self.now_ms += compact::SEARCH_MS;
            if self.compact(Haste::Idle) == Outcome::Nothing {
                return;
            }
        }
        panic!("the helper thread has no rest");
    }

    fn copied(&self) -> u64 {
        self.ks.totals().compacted_bytes
    }

    /// Dead bytes, and all of entries.
    fn dead(&mut self) -> (usize, usize) {
        let stats = self.who.enter().stats(0);
        (stats.bytes_dead, stats.bytes_segments)
    }

    fn assert_compact(&mut self) {
        let (dead, all) = self.dead();
        assert!(cfg!(miri) || dead <= all / 33, "{dead} of {all} bytes are dead");
    }

    fn assert_copied_little(&self) {
        let (copied, stored) = (self.copied(), self.stored);
        assert!(cfg!(miri) || copied <= stored / 5, "{copied} bytes copied for {stored} stored");
    }
}

#[test]
fn a_shift_of_all_sizes_copies_little_and_leaves_little() {
    let mut churned = Churned::new();
    churned.write(0..KEYS, 32..=96, Haste::None);
    churned.rest();
    let keys = churned.shuffled();
    churned.stored = 0;
    churned.write(keys, 96..=160, Haste::Idle);
    churned.rest();
    churned.assert_copied_little();
    churned.assert_compact();
    let batch = churned.who.enter();
    for key in 0..KEYS {
        let value = get(&batch, 0, &key.to_le_bytes()).expect("it is there");
        assert!((96..=160).contains(&value.len()) && value.iter().all(|&b| b == key as u8));
    }
}

#[test]
fn overwriting_with_other_sizes_fills_the_holes() {
    let mut churned = Churned::new();
    churned.write(0..KEYS, 32..=96, Haste::None);
    churned.stored = 0;
    for _ in 0..3 {
        let keys = churned.shuffled();
        churned.write(keys, 32..=96, Haste::Idle);
    }
    churned.rest();
    churned.assert_copied_little();
}

#[test]
fn segments_of_keys_that_go_by_and_by_are_not_copied() {
    let mut churned = Churned::new();
    churned.write(0..KEYS, 32..=96, Haste::None);
    churned.stored = 0;
    for _ in 0..4 {
        churned.write(KEYS..KEYS + KEYS / 4, 32..=96, Haste::Idle);
        for n in 0..KEYS / 4 {
            assert!(del(&churned.who.enter(), 0, &(KEYS + n).to_le_bytes()));
            churned.pass(Haste::Idle, n);
        }
    }
    churned.rest();
    churned.assert_copied_little();
    churned.assert_compact();
}

#[test]
fn holes_do_not_wait_where_memory_is_short() {
    let mut churned = Churned::new();
    churned.write(0..KEYS, 32..=96, Haste::None);
    let half: Vec<u32> = churned.shuffled().take(KEYS as usize / 2).collect();
    churned.write(half.iter().copied(), 96..=160, Haste::None);
    let (waiting, all) = churned.dead();
    assert!(cfg!(miri) || waiting > all / 6, "{waiting} of {all} bytes wait for calm");
    churned.compact(Haste::Short);
    let (dead, all) = churned.dead();
    assert!(dead <= all / 6 + 8 * (64 << 10), "{dead} of {all} bytes are dead");
}

#[test]
fn half_of_an_arena_is_the_most_that_waits() {
    let mut churned = Churned::new();
    churned.write(0..KEYS, 96..=160, Haste::None);
    let mut most = 0.0_f64;
    for from in (32..96).rev().step_by(8) {
        // Ever smaller, so that no hole fits.
        let keys = churned.shuffled();
        churned.write(keys, from..=from, Haste::None);
        let (dead, all) = churned.dead();
        most = most.max(dead.saturating_sub(8 * (64 << 10)) as f64 / all as f64);
    }
    assert!(most <= 0.55, "{most} of all bytes were dead");
    churned.rest();
    churned.assert_compact();
}

#[test]
fn pages_behind_what_is_used_go_back_and_may_be_used_again() {
    let mut churned = Churned::new();
    churned.write(0..KEYS, 32..=96, Haste::None);
    for key in (0..KEYS).filter(|key| key % 20 != 0) {
        assert!(del(&churned.who.enter(), 0, &key.to_le_bytes()));
    }
    churned.rest();
    let given_back = churned.ks.totals().given_back_bytes;
    churned.now_ms += 60_000;
    compact::tidy_up(&churned.who.enter(), false, churned.now_ms);
    let tails = churned.ks.totals().given_back_bytes - given_back;
    assert!(cfg!(miri) || tails > 8 * (16 << 10), "{tails} bytes went back");
    compact::tidy_up(&churned.who.enter(), true, churned.now_ms);
    assert_eq!(churned.ks.totals().given_back_bytes - given_back, tails, "they go once");
    for key in (0..KEYS).filter(|key| key % 20 == 0) {
        assert!(get(&churned.who.enter(), 0, &key.to_le_bytes()).is_some());
    }
    churned.write(0..KEYS / 2, 64..=64, Haste::None);
    for key in 0..KEYS / 2 {
        assert_eq!(get(&churned.who.enter(), 0, &key.to_le_bytes()), Some(vec![key as u8; 64]));
    }
}

#[test]
fn a_quiet_look_that_finds_nothing_is_the_last_one() {
    let ks = keyspace();
    let mut who = ks.register_helper();
    set(&who.enter(), 0, b"key", Content::Bytes(b"value"), Meta::default());
    ks.work.compact_later(0);
    assert!(ks.work.until_compaction(u64::MAX).is_some());
    ks.work.compact_later(0);
    ks.work.settle(true);
    while ks.maintain(&mut who, 1000, 0, &mut KeepAll) {}
    assert!(ks.work.until_compaction(u64::MAX).is_none());
}
