//! When tables change their size: by how full they are, and by how often workers wait for each other. Clocks and waits
//! are invented.

use super::*;
use crate::keyspace::contention::{CALM_MS, HOT, LOOK_EACH, SHARDS_PER_WORKER};
use std::sync::atomic::Ordering;

fn keyspace_for(workers: u16) -> Arc<Keyspace> {
    let reserve = if cfg!(miri) { 4 << 20 } else { 256 << 20 };
    let options = Options { reserve_bytes: reserve, seed: Some([1, 2, 3, 4]), workers, ..Options::default() };
    Keyspace::new(options).expect("a keyspace")
}

fn fill(who: &mut Participant, keys: std::ops::Range<u32>) {
    for i in keys {
        set(&who.enter(), 0, &i.to_le_bytes(), Content::Bytes(b"v"), Meta::default());
    }
}

fn drop_keys(who: &mut Participant, keys: std::ops::Range<u32>) {
    for i in keys {
        assert!(del(&who.enter(), 0, &i.to_le_bytes()));
    }
}

/// Workers wait so often for each other within one second, and somebody looks.
fn waits(ks: &Arc<Keyspace>, who: &mut Participant, now_ms: &mut u64, times: u64) {
    *now_ms += 1000;
    {
        let batch = who.enter();
        let space = &batch.engines(0).expect("used").space;
        space.counters.contended.fetch_add(times, Ordering::Relaxed);
        if times >= LOOK_EACH {
            space.request_check();
        }
    }
    // What the helper thread does when a table is watched and its time is over.
    if ks.work.is_watching() {
        ks.work.request_check();
    }
    settle(ks, who, *now_ms, &mut KeepAll);
}

fn shards(who: &mut Participant) -> usize {
    who.enter().stats(0).shards
}

#[test]
fn contention_grows_a_table_up_to_a_bound_by_workers_and_it_shrinks_back() {
    let ks = keyspace_for(4);
    let mut who = ks.register_helper();
    let mut now = 1_000_000;
    fill(&mut who, 0..100);
    waits(&ks, &mut who, &mut now, 0);
    assert_eq!(shards(&mut who), 1);
    let seen: Vec<usize> = (0..8)
        .map(|_| {
            waits(&ks, &mut who, &mut now, HOT * 3);
            shards(&mut who)
        })
        .collect();
    let bound = 4 * SHARDS_PER_WORKER;
    // The first look after a long time only begins a stretch.
    assert_eq!(seen, [1, 4, 16, 64, bound, bound, bound, bound]);
    assert!(ks.history(9).iter().all(|step| step.reason == Reason::Contention));
    // A little goes on: with the shards joined it would be much.
    for _ in 0..2 * CALM_MS / 1000 {
        waits(&ks, &mut who, &mut now, HOT / 100);
        assert_eq!(shards(&mut who), bound);
    }
    let mut calm = 0;
    while shards(&mut who) > 1 {
        assert!(ks.work.is_watching() && calm <= CALM_MS / 1000);
        waits(&ks, &mut who, &mut now, 0);
        calm += 1;
    }
    assert!(calm >= CALM_MS / 1000 - 1, "{calm} s");
    assert!(!ks.work.is_watching(), "nothing ticks any more");
    assert_eq!(ks.history(1)[0].shards_to, 1);
    for i in 0..100_u32 {
        assert!(get(&who.enter(), 0, &i.to_le_bytes()).is_some());
    }
}

#[test]
fn a_single_worker_has_nobody_to_wait_for() {
    let ks = keyspace_for(1);
    let mut who = ks.register_helper();
    let mut now = 1_000_000;
    fill(&mut who, 0..100);
    for _ in 0..5 {
        waits(&ks, &mut who, &mut now, HOT * 3);
    }
    assert_eq!((shards(&mut who), ks.totals().generations), (1, 0));
}

#[test]
fn a_table_beyond_the_bound_does_not_grow_by_contention() {
    let ks = keyspace_for(2);
    let mut who = ks.register_helper();
    let mut now = 1_000_000;
    let n = if cfg!(miri) { 1_000 } else { 40_000 };
    for i in (0..n).step_by(50) {
        fill(&mut who, i..i + 50);
        settle(&ks, &mut who, now, &mut KeepAll);
    }
    let before = shards(&mut who);
    for _ in 0..5 {
        waits(&ks, &mut who, &mut now, HOT * 3);
    }
    assert!(cfg!(miri) || before >= 2 * SHARDS_PER_WORKER);
    assert!(cfg!(miri) || shards(&mut who) == before);
}

#[test]
fn waits_that_come_and_go_do_not_make_it_flap() {
    let ks = keyspace_for(4);
    let mut who = ks.register_helper();
    let mut now = 1_000_000;
    fill(&mut who, 0..100);
    for _ in 0..8 {
        waits(&ks, &mut who, &mut now, HOT * 2);
    }
    let done = ks.totals().generations;
    for _ in 0..30 {
        for _ in 0..CALM_MS / 1000 - 2 {
            waits(&ks, &mut who, &mut now, 0);
        }
        waits(&ks, &mut who, &mut now, HOT * 2);
    }
    assert_eq!(ks.totals().generations, done);
}

#[test]
fn a_fill_that_swings_around_a_threshold_does_not_make_it_flap() {
    let ks = keyspace_for(1);
    let mut who = ks.register_helper();
    let full = KEYS_PER_SHARD as u32 * 85 / 100;
    fill(&mut who, 0..full - 10);
    settle(&ks, &mut who, 0, &mut KeepAll);
    for _ in 0..50 {
        fill(&mut who, full - 10..full + 10);
        settle(&ks, &mut who, 0, &mut KeepAll);
        drop_keys(&mut who, full - 10..full + 10);
        settle(&ks, &mut who, 0, &mut KeepAll);
    }
    assert_eq!((ks.totals().generations, shards(&mut who)), (1, 2), "it grew once");
    // The same around the threshold below.
    let empty = 2 * KEYS_PER_SHARD as u32 * 20 / 100;
    drop_keys(&mut who, empty + 10..full - 10);
    for _ in 0..50 {
        drop_keys(&mut who, empty - 10..empty + 10);
        settle(&ks, &mut who, 0, &mut KeepAll);
        fill(&mut who, empty - 10..empty + 10);
        settle(&ks, &mut who, 0, &mut KeepAll);
    }
    assert_eq!((ks.totals().generations, shards(&mut who)), (2, 1), "it shrank once");
}

#[test]
fn whoever_has_to_wait_counts_that_and_asks_for_a_look() {
    let ks = keyspace_for(2);
    let mut who = ks.register();
    fill(&mut who, 0..1);
    let batch = who.enter();
    let space = &batch.engines(0).expect("used").space;
    space.counters.contended.store(LOOK_EACH - 1, Ordering::Relaxed);
    assert!(!ks.needs_help());
    let hash = batch.hash_key(b"k");
    let guard = batch.lock(0, hash);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut who = ks.register();
            let batch = who.enter();
            drop(batch.lock(0, hash));
        });
        while space.counters.contended.load(Ordering::Relaxed) < LOOK_EACH {
            std::thread::yield_now();
        }
        drop(guard);
        other.join().expect("no panic");
    });
    assert!(ks.needs_help());
    assert_eq!(ks.totals().contended_locks, 1);
}

#[test]
fn shards_beyond_a_mark_have_nobody_look_while_the_table_is_not() {
    let ks = keyspace_for(1);
    let mut who = ks.register_helper();
    let shards_wanted = if cfg!(miri) { 4 } else { 64 };
    let slots = (shards_wanted * KEYS_PER_SHARD) as u32;
    who.enter().prepare(0, slots as usize / 2);
    // Around the threshold above: half of the shards are beyond the mark.
    let nearly = slots * 84 / 100;
    fill(&mut who, 0..nearly);
    settle(&ks, &mut who, 0, &mut KeepAll);
    assert_eq!(shards(&mut who), shards_wanted);
    let fills = who.enter().fills(0).expect("used").0;
    let mut asked = 0;
    for i in 0..slots / 16 {
        drop_keys(&mut who, i..i + 1);
        fill(&mut who, nearly + i..nearly + i + 1);
        asked += u32::from(ks.needs_help());
        settle(&ks, &mut who, 0, &mut KeepAll);
    }
    assert_eq!(asked, 0, "{fills:?}");
    // Beyond it one is enough.
    fill(&mut who, 2 * slots..2 * slots + slots / 50);
    assert!(ks.needs_help());
    settle(&ks, &mut who, 0, &mut KeepAll);
    assert_eq!(shards(&mut who), 2 * shards_wanted);
}
