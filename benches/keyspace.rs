//! The keyspace alone: ns per get and set, steady and half migrated, and bytes per key.
//!
//! `cargo bench --bench keyspace [-- MAX_KEYS]`; one thread, ns are of its CPU time. Memory is
//! what the process has resident beyond what it had before, keys and values subtracted.

use std::sync::Arc;
use tandem::clock::thread_cpu_ns as cpu_ns;
use tandem::keyspace::{Batch, Content, KeepAll, Keyspace, Meta, Options, Participant};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn key(n: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let mut n = n;
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (n % 10) as u8;
        n /= 10;
    }
    key
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
    statm.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok()).expect("pages") * 4096
}

fn settle(ks: &Keyspace, who: &mut Participant) {
    while ks.maintain(who, 10_000, 0, &mut KeepAll) {}
}

fn set(batch: &Batch<'_>, key: &[u8], value: &[u8]) {
    let hash = batch.hash_key(key);
    let mut guard = batch.lock(0, hash);
    match guard.find(hash, key) {
        Some(pos) => drop(guard.replace(pos, hash, Content::Bytes(value), Meta::default()).expect("space")),
        None => drop(guard.insert(hash, key, Content::Bytes(value), Meta::default()).expect("space")),
    }
}

fn get(batch: &Batch<'_>, key: &[u8], out: &mut Vec<u8>) -> bool {
    let hash = batch.hash_key(key);
    let guard = batch.lock(0, hash);
    let Some(pos) = guard.find(hash, key) else {
        return false;
    };
    let bytes = guard.entry(pos).bytes().unwrap_or_default();
    out.clear();
    out.extend_from_slice(bytes);
    true
}

fn report(what: &str, keys: u64, who: &mut Participant) {
    let rounds = 1_000_000_u64;
    let (mut rnd, mut out) = (88172645463325252, Vec::with_capacity(256));
    let value = [7_u8; 64];
    let mut best = [f64::MAX; 3];
    for _ in 0..5 {
        let mut times = [0_u64; 3];
        let start = cpu_ns();
        for _ in 0..rounds / 16 {
            let batch = who.enter();
            for _ in 0..16 {
                assert!(get(&batch, &key(xorshift(&mut rnd) % keys), &mut out));
            }
        }
        times[0] = cpu_ns() - start;
        let start = cpu_ns();
        for _ in 0..rounds / 16 {
            let batch = who.enter();
            let names: [[u8; 16]; 16] = std::array::from_fn(|_| key(xorshift(&mut rnd) % keys));
            let hashes = names.map(|k| batch.hash_key(&k));
            if let Some(ahead) = batch.ahead(0) {
                ahead.keys(hashes.iter().copied());
            }
            for (name, &hash) in names.iter().zip(&hashes) {
                let guard = batch.lock(0, hash);
                let pos = guard.find(hash, name).expect("there");
                out.clear();
                out.extend_from_slice(guard.entry(pos).bytes().unwrap_or_default());
            }
        }
        times[1] = cpu_ns() - start;
        let start = cpu_ns();
        for _ in 0..rounds / 16 {
            let batch = who.enter();
            for _ in 0..16 {
                set(&batch, &key(xorshift(&mut rnd) % keys), &value);
            }
        }
        times[2] = cpu_ns() - start;
        for (best, t) in best.iter_mut().zip(times) {
            *best = best.min(t as f64 / rounds as f64);
        }
    }
    println!(
        "{keys:>9} keys {what:<14} get {:6.1}  get in batches of 16 {:6.1}  set {:6.1} ns",
        best[0], best[1], best[2]
    );
}

fn speed(keys: u64) {
    let ks = Keyspace::new(Options::default()).expect("a keyspace");
    let mut who = ks.register_helper();
    for n in 0..keys {
        set(&who.enter(), &key(n), &[1; 64]);
        if n % 64 == 0 {
            settle(&ks, &mut who);
        }
    }
    settle(&ks, &mut who);
    report("steady", keys, &mut who);
    let shards = who.enter().stats(0).shards;
    let before = who.enter().stats(0).keys_moved;
    let start = cpu_ns();
    assert!(ks.force_resize(&mut who, 0, true));
    let mut longest = 0;
    while who.enter().stats(0).keys_moved - before < keys / 2 {
        let start = cpu_ns();
        ks.maintain(&mut who, 0, 0, &mut KeepAll);
        longest = longest.max(cpu_ns() - start);
    }
    let moved = who.enter().stats(0).keys_moved - before;
    println!(
        "          from {shards} shards, {:.1} ns per key moved, longest step {:.0} us",
        (cpu_ns() - start) as f64 / moved as f64,
        longest as f64 / 1000.0
    );
    report("half migrated", keys, &mut who);
    settle(&ks, &mut who);
    report("after", keys, &mut who);
}

/// Bytes beyond key and value over a growth cycle: the last two doublings up to `most` keys.
fn density(value: usize, most: u64) {
    let before = resident();
    let ks: Arc<Keyspace> = Keyspace::new(Options::default()).expect("a keyspace");
    let mut who = ks.register_helper();
    let value = vec![1_u8; value];
    let (mut worst, mut best, mut sum, mut counted, mut points) = (0.0_f64, f64::MAX, 0.0, 0.0, 0);
    let mut next = most / 4;
    for n in 1..=most {
        set(&who.enter(), &key(n), &value);
        if n % 64 == 0 {
            settle(&ks, &mut who);
        }
        if n >= next {
            next = next + next / 16 + 1;
            ks.purge(&mut who, 0, &mut KeepAll);
            let net = (16 + value.len()) as f64;
            let overhead = (resident() - before) as f64 / n as f64 - net;
            let memory = ks.memory(&mut who);
            let accounted = (memory.segments + memory.spare + memory.tables) as f64 / n as f64 - net;
            counted += accounted;
            (worst, best) = (worst.max(overhead), best.min(overhead));
            (sum, points) = (sum + overhead, points + 1);
        }
    }
    println!(
        "value {:>3} bytes: {:.1} beyond key and value on average over a growth cycle (best {best:.1}, worst {worst:.1}; {:.1} by the keyspace's own account)",
        value.len(),
        sum / f64::from(points),
        counted / f64::from(points)
    );
}

/// A process of its own per figure, so that none starts in the holes of the one before; pages
/// that the allocator holds back for reuse are not to be counted.
fn density_alone(value: usize, most: u64) {
    let status = std::process::Command::new(std::env::current_exe().expect("own path"))
        .args(["density", &value.to_string(), &most.to_string()])
        .env("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")
        .status();
    assert!(status.is_ok_and(|s| s.success()));
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let numbers: Vec<u64> = args.iter().filter_map(|a| a.parse().ok()).collect();
    if args.iter().any(|a| a == "density") {
        return density(numbers[0] as usize, numbers[1]);
    }
    let most = numbers.first().copied().unwrap_or(1_000_000);
    for value in [8, 64, 200] {
        density_alone(value, most);
    }
    for keys in [1_000, 100_000, 1_000_000] {
        if keys <= most {
            speed(keys);
        }
    }
}
