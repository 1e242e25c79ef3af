//! What a table that grows and shrinks costs at worst: the longest pieces of work, in CPU time of their thread.
//!
//! `cargo bench --bench resize [-- KEYS]`: from a thousand keys to KEYS (4 million) and back. One thread plays a worker, which
//! stores or deletes 16 keys in turn with a step of the helper thread, so that each step can be told apart; then the same
//! without a helper, so that the worker moves all keys itself. Every key operation and every step is timed on its own. CPU time
//! leaves out what others took the core for, but interrupts and the hypervisor are in it: the same work is done three times in
//! the same order, and of each piece the least of the three counts.

use std::collections::HashMap;
use tandem::clock::thread_cpu_ns as cpu_ns;
use tandem::keyspace::{Batch, Content, KeepAll, Keyspace, Meta, Options, Participant, Totals};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const FEW: u64 = 1_000;
const ROUNDS: usize = 3;
/// What a worker may spend between two batches, as in the server.
const HELP_US: u64 = 50;

/// Kinds of work, as the table shows them.
const KINDS: [&str; 8] = [
    "worker: store a new key",
    "worker: delete a key",
    "worker: move a unit (the floor)",
    "helper: begin, and move the first unit",
    "helper: move a unit",
    "helper: move the last unit, and end",
    "helper: compact 4 KiB",
    "helper: free, discard, tidy",
];

/// Pieces of at least so long are kept, to be compared with the same piece of other rounds.
const LONG_NS: u64 = 20_000;

#[derive(Default)]
struct Kind {
    times: u64,
    sum_ns: u64,
    /// By their number.
    long: HashMap<u64, u64>,
}

#[derive(Default)]
struct Table([Kind; KINDS.len()]);

impl Table {
    fn timed<R>(&mut self, kind: usize, f: impl FnOnce() -> R) -> R {
        let began = cpu_ns();
        let result = f();
        self.add(kind, cpu_ns() - began);
        result
    }

    fn add(&mut self, kind: usize, ns: u64) {
        let kind = &mut self.0[kind];
        kind.times += 1;
        kind.sum_ns += ns;
        if ns >= LONG_NS {
            kind.long.insert(kind.times, ns);
        }
    }
}

/// What a step of the helper thread was, by the counters before and after it.
fn kind_of(before: &Totals, after: &Totals) -> usize {
    if after.generations != before.generations {
        3
    } else if after.migrations_done != before.migrations_done {
        5
    } else if after.slices != before.slices {
        4
    } else if after.compacted_bytes != before.compacted_bytes {
        6
    } else {
        7
    }
}

fn helper_step(ks: &Keyspace, who: &mut Participant, table: &mut Table) -> bool {
    let before = ks.totals();
    let began = cpu_ns();
    let more = ks.maintain(who, 0, 0, &mut KeepAll);
    let took = cpu_ns() - began;
    table.add(kind_of(&before, &ks.totals()), took);
    more
}

fn help(ks: &Keyspace, who: &mut Participant, table: &mut Table) {
    while ks.needs_help() {
        let before = ks.totals();
        let began = cpu_ns();
        ks.maintain(who, HELP_US, 0, &mut KeepAll);
        let units = (ks.totals().slices - before.slices).max(1);
        // Several short ones in one go: each as long as their mean.
        table.add(2, (cpu_ns() - began) / units);
    }
}

fn store(batch: &Batch<'_>, key: &[u8]) {
    let hash = batch.hash_key(key);
    batch.lock(0, hash).insert(hash, key, Content::Bytes(&[7; 64]), Meta::default()).expect("space");
}

fn delete(batch: &Batch<'_>, key: &[u8]) {
    let hash = batch.hash_key(key);
    let mut guard = batch.lock(0, hash);
    let pos = guard.find(hash, key).expect("there");
    drop(guard.remove(pos));
}

fn name(n: u64) -> [u8; 16] {
    let mut name = *b"key:000000000000";
    name[8..].copy_from_slice(&n.to_be_bytes());
    name
}

fn round(keys: u64, helper: bool) -> Table {
    let mut table = Table::default();
    let ks = Keyspace::new(Options { seed: Some([1, 2, 3, 4]), ..Options::default() }).expect("a keyspace");
    let (mut worker, mut other) = (ks.register(), ks.register_helper());
    for n in 0..FEW {
        store(&worker.enter(), &name(n));
    }
    for (kind, range) in [(0, FEW..keys), (1, FEW..keys)] {
        for n in range {
            table.timed(kind, || {
                let batch = worker.enter();
                if kind == 0 { store(&batch, &name(n)) } else { delete(&batch, &name(n)) }
            });
            if n % 16 == 0 {
                if helper {
                    helper_step(&ks, &mut other, &mut table);
                }
                help(&ks, &mut worker, &mut table);
            }
        }
        while helper && helper_step(&ks, &mut other, &mut table) {}
    }
    table
}

fn print(what: &str, rounds: &[Table]) {
    println!(
        "\n{what}\n\n| | times | mean µs | longest µs | of one round | over 100 µs |\n|---|---:|---:|---:|---:|---:|"
    );
    for (kind, label) in KINDS.iter().enumerate() {
        let [first, others @ ..] = rounds else { return };
        let first = &first.0[kind];
        if first.times == 0 {
            continue;
        }
        let of_others =
            |n: u64| others.iter().map(|t| t.0[kind].long.get(&n).copied().unwrap_or(0)).min().unwrap_or(0);
        let least: Vec<u64> = first.long.iter().map(|(&n, &ns)| ns.min(of_others(n))).collect();
        println!(
            "| {label} | {} | {:.2} | {:.0} | {:.0} | {} |",
            first.times,
            first.sum_ns as f64 / first.times as f64 / 1000.0,
            least.iter().max().copied().unwrap_or(0) as f64 / 1000.0,
            first.long.values().max().copied().unwrap_or(0) as f64 / 1000.0,
            least.iter().filter(|&&ns| ns > 100_000).count(),
        );
    }
}

fn main() {
    // Links the settings with which the server runs its allocator.
    std::hint::black_box(&tandem::memory::allocator::MALLOC_CONF);
    let keys = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(4_000_000_u64).max(2 * FEW);
    for (helper, what) in [(true, "with the helper thread"), (false, "a worker alone")] {
        let rounds: Vec<Table> = (0..ROUNDS).map(|_| round(keys, helper)).collect();
        print(&format!("{FEW} to {keys} keys and back, {what}"), &rounds);
    }
}
