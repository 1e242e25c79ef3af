//! Costs of the timer wheel: per operation, per expired item, in memory, and the longest slice.
//!
//! `cargo bench --bench expiry`, or with `--profile quick`. In the first parts the entries are an array, so that what is
//! measured is the wheel and the decision; the last ones are a worker's slices on the keyspace, deletion included. Times are CPU time of the
//! thread: on a shared machine the longest slice by the wall is the scheduler's.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use tandem::expiry::{
    Change, Due, Expiry, Identities, Progress, Timer, Upkeep, Verdict, Wheel, judge, on_deadline_change,
};
use tandem::keyspace::{Content, KeepAll, Keyspace, Meta, Options};

const KEYS: usize = 1_000_000;
const START: u64 = 1_700_000_000_000;
/// Items per slice. A slice is to stay well below 250 µs with the entries' deletion in it.
const BUDGET: usize = 256;

/// A small generator: the benchmark needs no better one.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// CPU time of this thread.
struct Cpu(Duration);

impl Cpu {
    fn read() -> Duration {
        let t = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
    }

    fn start() -> Cpu {
        Cpu(Cpu::read())
    }

    fn elapsed(&self) -> Duration {
        Cpu::read() - self.0
    }
}

/// How long slices took.
struct Slices(Vec<Duration>);

impl Slices {
    fn print(&mut self) {
        self.0.sort_unstable();
        let us = |d: Duration| d.as_nanos() as f64 / 1000.0;
        let last = self.0.len() - 1;
        line("slices", (last + 1) as f64, "");
        line("slice p99.9", us(self.0[last - last / 1000]), "µs");
        line("longest slice", us(self.0[last]), "µs");
    }
}

fn main() {
    println!("{:<44} {:>10}", "1M items, ms 1..60,000", "");
    mixed();
    println!("{:<44} {:>10}", "1M items due in one millisecond, 100 s ahead", "");
    one_millisecond();
    upkeep();
    println!("{:<44} {:>10}", "1M keys in the keyspace, ms 1..60,000", "");
    keyspace(|random| 1 + random.below(60_000));
    println!("{:<44} {:>10}", "1M keys in the keyspace, all due in one ms", "");
    keyspace(|_| 30_000);
}

fn line(what: &str, value: f64, unit: &str) {
    println!("  {what:<42} {value:>10.2} {unit}");
}

fn per_item(what: &str, n: usize, took: Duration) {
    line(what, took.as_nanos() as f64 / n as f64, "ns");
}

/// Keys are numbered, and the number is the hash.
fn set(wheel: &mut Wheel, entries: &mut [Timer], key: usize, deadline_ms: u64, now: u64) {
    let armed = match on_deadline_change(Some(entries[key]), deadline_ms, now) {
        Change::Keep(armed) => armed,
        Change::Arm { .. } => wheel.arm(key as u64, deadline_ms),
    };
    entries[key] = Timer { deadline_ms, armed };
}

fn mixed() {
    let mut random = Random(88_172_645_463_325_252);
    let mut wheel = Wheel::new(START);
    let keys: Vec<usize> = (0..KEYS).map(|_| random.below(KEYS as u64) as usize).collect();
    let ttls: Vec<u64> = (0..KEYS).map(|_| 1 + random.below(60_000)).collect();

    let begin = Cpu::start();
    let mut entries: Vec<Timer> = Vec::with_capacity(KEYS);
    for (key, ttl) in ttls.iter().enumerate() {
        entries.push(Timer { deadline_ms: START + ttl, armed: wheel.arm(key as u64, START + ttl) });
    }
    per_item("arm", KEYS, begin.elapsed());
    line("bytes per item", wheel.bytes() as f64 / KEYS as f64, "");

    let begin = Cpu::start();
    for &key in &keys {
        let later = entries[key].deadline_ms + 5000;
        set(&mut wheel, &mut entries, key, later, START);
    }
    per_item("deadline to later (random key)", KEYS, begin.elapsed());

    let begin = Cpu::start();
    for (&key, ttl) in keys.iter().zip(&ttls) {
        let earlier = (START + ttl).min(entries[key].deadline_ms - 5000);
        set(&mut wheel, &mut entries, key, earlier, START);
    }
    per_item("deadline to earlier (random key)", KEYS, begin.elapsed());

    let (items, mut due) = (wheel.len(), Vec::new());
    let (mut fired, mut slices, mut busy) = (0, Slices(Vec::with_capacity(300_000)), Duration::ZERO);
    for ms in 1..=130_000 {
        let now = START + ms;
        loop {
            let begin = Cpu::start();
            let progress = wheel.advance(now, BUDGET, &mut due);
            for Due { hash40, tick } in due.drain(..) {
                let timer = entries[hash40 as usize];
                match judge(Some(timer), tick, now) {
                    Verdict::Expire => {
                        fired += 1;
                        entries[hash40 as usize].armed = !tick;
                    }
                    Verdict::Rearm(at) => entries[hash40 as usize].armed = wheel.arm(hash40, at),
                    Verdict::Stale => {}
                }
            }
            let took = begin.elapsed();
            slices.0.push(took);
            busy += took;
            if progress == Progress::Done {
                break;
            }
        }
    }
    assert!(wheel.is_empty() && fired == KEYS, "{fired} fired, {} left", wheel.len());
    per_item("advance and judge, per expired key", KEYS, busy);
    per_item("advance and judge, per item", items, busy);
    slices.print();

    let begin = Cpu::start();
    for ms in 0..KEYS as u64 {
        black_box(wheel.advance(START + 200_000 + ms / 1000, BUDGET, &mut due));
        black_box(wheel.next_deadline());
    }
    per_item("advance with nothing due", KEYS, begin.elapsed());
}

fn one_millisecond() {
    let mut wheel = Wheel::new(START);
    for key in 0..KEYS as u64 {
        wheel.arm(key, START + 100_000);
    }
    let (mut due, mut now) = (Vec::with_capacity(BUDGET), START);
    let (mut slices, mut handed_out) = (Slices(Vec::with_capacity(20_000)), 0);
    let whole = Cpu::start();
    while !wheel.is_empty() {
        let begin = Cpu::start();
        let progress = wheel.advance(now, BUDGET, &mut due);
        slices.0.push(begin.elapsed());
        handed_out += black_box(&due).len();
        due.clear();
        if progress == Progress::Done {
            now = wheel.next_deadline().unwrap_or(now);
        }
    }
    assert_eq!(handed_out, KEYS);
    per_item("cascades and hand-out, per item", KEYS, whole.elapsed());
    slices.print();
    line("KiB held afterwards", wheel.bytes() as f64 / 1024.0, "");
}

fn upkeep() {
    println!("{:<44} {:>10}", "upkeep", "");
    let mut wheel = Wheel::new(START);
    let mut latest = vec![0; KEYS];
    for round in 0..2u64 {
        for (key, latest) in (0..).zip(&mut latest) {
            *latest = wheel.arm(key, START + 3_600_000 + key - round * 5000);
        }
    }
    let (items, begin) = (wheel.len(), Cpu::start());
    while wheel.sweep(BUDGET, |hash40, tick| latest[hash40 as usize] == tick) == Progress::More {}
    per_item("sweep, per item (half of them stale)", items, begin.elapsed());
    assert_eq!(wheel.len(), KEYS);
    let mut passes = 0;
    let begin = Cpu::start();
    while wheel.upkeep(0) == Some(Upkeep::Compact) {
        wheel.compact(BUDGET);
        passes += 1;
    }
    if passes > 0 {
        per_item("compact, per item", KEYS, begin.elapsed());
    }
    line("bytes per item afterwards", wheel.bytes() as f64 / KEYS as f64, "");
    let begin = Cpu::start();
    let mut due = Vec::new();
    wheel.shift(START - 86_400_000);
    while wheel.advance(START - 86_400_000, BUDGET, &mut due) == Progress::More {}
    per_item("clock set back by a day, per item moved", KEYS, begin.elapsed());
    assert_eq!((wheel.len(), due.len()), (KEYS, 0));
}

/// A worker's slices of 200 µs on 1M keys of 16 bytes with values of 64, deletion included.
fn keyspace(mut ttl: impl FnMut(&mut Random) -> u64) {
    let keyspace = Keyspace::new(Options::default()).expect("address space");
    let mut participant = keyspace.register();
    let mut expiry = Expiry::new(16, Arc::new(Identities::new(16)), START);
    let mut random = Random(88_172_645_463_325_252);
    let mut loading = Duration::ZERO;
    for chunk in 0..KEYS / 1000 {
        let begin = Cpu::start();
        let batch = participant.enter();
        expiry.begin(START, true);
        for i in 0..1000 {
            let key = format!("key:{:012}", chunk * 1000 + i);
            let deadline = START + ttl(&mut random);
            let hash = batch.hash_key(key.as_bytes());
            let mut guard = batch.lock(0, hash);
            let armed = expiry.change(0, hash, None, Some(deadline));
            let meta = Meta { deadline: Some(deadline), armed, ..Meta::default() };
            guard.insert(hash, key.as_bytes(), Content::Bytes(&[b'v'; 64]), meta).expect("room");
        }
        drop(batch);
        loading += begin.elapsed();
        while keyspace.maintain(&mut participant, 10_000, START, &mut KeepAll) {}
    }
    let (mut now, mut fired) = (START, 0);
    let (mut slices, mut busy, mut graveyard) =
        (Slices(Vec::with_capacity(100_000)), Duration::ZERO, Vec::new());
    while let Some(next) = expiry.next_deadline() {
        now = next.max(now);
        loop {
            let begin = Cpu::start();
            let batch = participant.enter();
            let more = expiry.run(&batch, now, 200, &mut graveyard, &mut |_, entry, _| {
                fired += usize::from(!black_box(entry.key()).is_empty());
            });
            drop(batch);
            let took = begin.elapsed();
            slices.0.push(took);
            busy += took;
            if !more {
                break;
            }
        }
    }
    assert_eq!((fired, expiry.items()), (KEYS, 0));
    per_item("set with a deadline, growth apart", KEYS, loading);
    per_item("a slice, per expired key", KEYS, busy);
    slices.print();
}
