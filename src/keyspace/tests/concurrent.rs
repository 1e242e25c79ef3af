//! Several threads while engines grow and shrink.

use super::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Forces resizes up and down until told to stop; gives how many there were.
fn resizer(ks: &Arc<Keyspace>, stop: &AtomicBool, most_bits: u8) -> u32 {
    let mut who = ks.register_helper();
    let (mut bits, mut up, mut n) = (0_u8, true, 0);
    while !stop.load(Ordering::Relaxed) {
        if ks.force_resize(&mut who, 0, up) {
            n += 1;
            bits = if up { bits + 1 } else { bits.saturating_sub(1) };
        }
        up = if bits >= most_bits { false } else { bits == 0 || up };
        ks.maintain(&mut who, 300, 0, &mut KeepAll);
    }
    settle(ks, &mut who, 0, &mut KeepAll);
    n
}

#[test]
fn each_thread_sees_its_own_keys_exactly_over_resizes_and_compaction() {
    let ks = keyspace();
    let stop = AtomicBool::new(false);
    let rounds = if cfg!(miri) { 60 } else { 60_000 };
    std::thread::scope(|scope| {
        let resizes = scope.spawn(|| resizer(&ks, &stop, 6));
        let writers: Vec<_> = (0..2_u64)
            .map(|me| {
                let ks = &ks;
                scope.spawn(move || {
                    let mut who = ks.register();
                    let mut twin: HashMap<u64, (u8, usize)> = HashMap::new();
                    let mut rnd = 77 + me;
                    for round in 0..rounds {
                        let batch = who.enter();
                        for _ in 0..4 {
                            let n = xorshift(&mut rnd) % 3000;
                            let key = (n << 1 | me).to_le_bytes();
                            match xorshift(&mut rnd) % 4 {
                                0 => assert_eq!(del(&batch, 0, &key), twin.remove(&n).is_some()),
                                1 => {
                                    let v = (round as u8, (xorshift(&mut rnd) % 150) as usize);
                                    set(&batch, 0, &key, Content::Bytes(&vec![v.0; v.1]), Meta::default());
                                    twin.insert(n, v);
                                }
                                _ => {
                                    let expected = twin.get(&n).map(|v| vec![v.0; v.1]);
                                    assert_eq!(get(&batch, 0, &key), expected);
                                }
                            }
                        }
                        drop(batch);
                        if ks.needs_help() {
                            ks.maintain(&mut who, 50, 0, &mut KeepAll);
                        }
                        if round % 5000 == 100 {
                            assert!(who.enter_exclusive().is_exclusive());
                        }
                    }
                    twin.len()
                })
            })
            .collect();
        let left: usize = writers.into_iter().map(|w| w.join().expect("no panic")).sum();
        stop.store(true, Ordering::Relaxed);
        let resizes = resizes.join().expect("no panic");
        assert!(cfg!(miri) || resizes > 10, "{resizes} resizes");
        let mut who = ks.register();
        assert_eq!(who.enter().len(0), left);
    });
}

#[test]
fn scans_miss_and_repeat_nothing_over_resizes() {
    let ks = keyspace();
    let stop = AtomicBool::new(false);
    let (stable, scans) = if cfg!(miri) { (100_u64, 2) } else { (4_000, 25) };
    let mut who = ks.register();
    for i in 0..stable {
        set(&who.enter(), 0, &i.to_le_bytes(), Content::Bytes(b"stays"), Meta::default());
    }
    std::thread::scope(|scope| {
        let resizes = scope.spawn(|| resizer(&ks, &stop, 7));
        let writer = scope.spawn(|| {
            let mut who = ks.register();
            let mut rnd = 5;
            while !stop.load(Ordering::Relaxed) {
                let batch = who.enter();
                let key = (stable + xorshift(&mut rnd) % 2000).to_le_bytes();
                match xorshift(&mut rnd) % 2 {
                    0 => set(&batch, 0, &key, Content::Bytes(&[0; 40]), Meta::default()),
                    _ => drop(del(&batch, 0, &key)),
                }
            }
        });
        for _ in 0..scans {
            let mut seen: HashMap<u64, u32> = HashMap::new();
            let mut cursor = 0;
            loop {
                cursor = who.enter().scan(0, cursor, 7, &mut |e| {
                    let n = u64::from_le_bytes(e.key().try_into().expect("8 bytes"));
                    *seen.entry(n).or_default() += 1;
                });
                assert!(cursor < 1 << 44);
                if cursor == 0 {
                    break;
                }
                std::thread::yield_now();
            }
            for i in 0..stable {
                assert_eq!(seen.get(&i), Some(&1), "key {i}");
            }
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("no panic");
        assert!(cfg!(miri) || resizes.join().expect("no panic") > 10);
    });
}

#[test]
fn locks_of_many_keys_do_not_deadlock_and_are_atomic() {
    let ks = keyspace();
    let stop = AtomicBool::new(false);
    let rounds = if cfg!(miri) { 20 } else { 15_000 };
    std::thread::scope(|scope| {
        let resizes = scope.spawn(|| resizer(&ks, &stop, 5));
        let workers: Vec<_> = (0..2_u64)
            .map(|me| {
                let ks = &ks;
                scope.spawn(move || {
                    let mut who = ks.register();
                    let mut rnd = 31 + me;
                    for round in 0..rounds {
                        let batch = who.enter();
                        // All keys of a group always hold the same value.
                        let group = xorshift(&mut rnd) % 8;
                        let names: Vec<_> = (0..6_u64).map(|i| (group * 6 + i).to_le_bytes()).collect();
                        let keys: Vec<_> = names.iter().map(|n| (0, batch.hash_key(n))).collect();
                        let mut set = LockSet::new();
                        batch.lock_many(&keys, &mut set);
                        let mut values = Vec::new();
                        for (i, name) in names.iter().enumerate() {
                            let guard = set.guard(i);
                            let found = guard.find(keys[i].1, name);
                            values.push(found.map(|p| guard.entry(p).bytes().expect("packed").to_vec()));
                        }
                        assert!(values.iter().all(|v| *v == values[0]), "{values:?}");
                        let value = [me as u8, round as u8].repeat(1 + round % 20);
                        for (i, name) in names.iter().enumerate() {
                            let (guard, hash) = (set.guard(i), keys[i].1);
                            let content = Content::Bytes(&value);
                            match guard.find(hash, name) {
                                Some(pos) => drop(guard.replace(pos, hash, content, Meta::default())),
                                None => drop(guard.insert(hash, name, content, Meta::default())),
                            }
                        }
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().expect("no panic");
        }
        stop.store(true, Ordering::Relaxed);
        resizes.join().expect("no panic");
    });
}

#[test]
#[cfg_attr(miri, ignore = "needs much memory and real time")]
fn the_helper_alone_gives_memory_back_when_keys_go() {
    let ks = keyspace();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let helper = scope.spawn(|| {
            let mut who = ks.register_helper();
            while !stop.load(Ordering::Relaxed) {
                if !ks.maintain(&mut who, 500, 0, &mut KeepAll) {
                    ks.wait_for_work(None);
                }
            }
        });
        let mut who = ks.register();
        for i in 0..200_000_u32 {
            set(&who.enter(), 0, &i.to_le_bytes(), Content::Bytes(&[1; 100]), Meta::default());
            if ks.needs_help() {
                ks.maintain(&mut who, 100, 0, &mut KeepAll);
            }
        }
        let full = ks.memory(&mut who);
        for i in (0..200_000_u32).filter(|i| i % 20 != 0) {
            assert!(del(&who.enter(), 0, &i.to_le_bytes()));
        }
        // 10,000 keys of 112 bytes: 1.1 MB; each of eight arenas has an open segment and its slack.
        let given_back = |m: &Memory| {
            m.segments < 3 << 20
                && m.spare <= 1 << 20
                && m.tables < full.tables / 8
                && m.waiting_to_be_freed == 0
        };
        let mut tries = 0;
        while !given_back(&ks.memory(&mut who)) {
            std::thread::sleep(Duration::from_millis(20));
            tries += 1;
            assert!(tries < 500, "{full:?} {:?} {:?}", ks.memory(&mut who), who.enter().stats(0));
        }
        assert!((who.enter().stats(0).load_percent - 50.0).abs() < 40.0);
        for i in (0..200_000_u32).step_by(20) {
            assert_eq!(get(&who.enter(), 0, &i.to_le_bytes()), Some(vec![1; 100]));
        }
        stop.store(true, Ordering::Relaxed);
        ks.wake_helper();
        helper.join().expect("no panic");
    });
}
