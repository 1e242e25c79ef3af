//! Hit ratios of the policies on traces made here, with the real slices on a real keyspace.

use crate::config::{Config, EvictionPolicy};
use crate::eviction::access::Touch;
use crate::eviction::{Cause, Eviction, Rules, Sink, access};
use crate::keyspace::{Content, DbId, EntryRef, KeyHash, Keyspace, Meta, Options, Participant};
use crate::values::Value;

/// Distinct keys of a trace, about.
const OBJECTS: usize = 4_000;
const REQUESTS: usize = 50_000;

/// Keys in the order in which they are asked for.
type Trace = Vec<u32>;

/// A trace by name.
type Named = (&'static str, fn() -> Trace);

/// Ranks with probability ~ 1 / rank^s, scattered over the names.
struct Zipf {
    sums: Vec<f64>,
}

impl Zipf {
    fn new(n: usize, s: f64) -> Zipf {
        let mut sum = 0.0;
        let sums = (1..=n).map(|rank| {
            sum += (rank as f64).powf(-s);
            sum
        });
        Zipf { sums: sums.collect() }
    }

    fn next(&self, random: &mut fastrand::Rng) -> u32 {
        let total = self.sums.last().copied().unwrap_or(1.0);
        let x = random.f64() * total;
        self.sums.partition_point(|&sum| sum < x) as u32
    }
}

fn zipf() -> Trace {
    let (zipf, mut random) = (Zipf::new(OBJECTS, 1.0), fastrand::Rng::with_seed(1));
    (0..REQUESTS).map(|_| zipf.next(&mut random)).collect()
}

/// Zipf, with a scan over keys that come once in between.
fn scans() -> Trace {
    let (zipf, mut random) = (Zipf::new(OBJECTS, 1.0), fastrand::Rng::with_seed(2));
    let mut once = 1_000_000;
    let mut trace = Trace::new();
    while trace.len() < REQUESTS {
        for _ in 0..1_500 {
            trace.push(zipf.next(&mut random));
        }
        for _ in 0..500 {
            once += 1;
            trace.push(once);
        }
    }
    trace
}

/// A working set that moves on: other keys are popular every so often.
fn shifts() -> Trace {
    let (zipf, mut random) = (Zipf::new(OBJECTS, 0.9), fastrand::Rng::with_seed(3));
    (0..REQUESTS).map(|i| zipf.next(&mut random) + (i / 5_000 * 250) as u32).collect()
}

/// A loop larger than the cache, beside a few popular keys.
fn loops() -> Trace {
    let (zipf, mut random) = (Zipf::new(250, 0.8), fastrand::Rng::with_seed(4));
    let looped = |i: usize| 10_000 + (i / 2 % 1_500) as u32;
    (0..REQUESTS).map(|i| if i % 2 == 0 { zipf.next(&mut random) } else { looped(i) }).collect()
}

/// Keys that come back once or twice, after twice to four times as many others as the middle cache holds, beside
/// keys that come once.
fn late() -> Trace {
    let mut random = fastrand::Rng::with_seed(5);
    let mut due: Vec<Vec<u32>> = vec![Vec::new(); REQUESTS];
    let mut trace = Trace::new();
    for at in 0..REQUESTS {
        let (key, again) = match due[at].pop() {
            Some(key) => (key, random.bool()),
            None => (at as u32, random.u32(..3) > 0),
        };
        trace.push(key);
        let next = at + random.usize(800..1_600);
        if again && let Some(slot) = due.get_mut(next) {
            slot.push(key);
        }
    }
    trace
}

struct Nobody;

impl Sink for Nobody {
    fn gone(&mut self, _: DbId, _: KeyHash, _: EntryRef<'_>, _: Cause) {}
    fn value(&mut self, _: Value) {}
}

/// A cache of so many keys.
struct Cache {
    rules: Rules,
    touch: Touch,
    who: Participant,
    eviction: Eviction,
    capacity: usize,
    random: fastrand::Rng,
}

impl Cache {
    fn new(policy: EvictionPolicy, capacity: usize) -> Cache {
        let config = Config { maxmemory_policy: policy, ..Config::default() };
        let options =
            Options { databases: 1, reserve_bytes: 64 << 20, seed: Some([1, 2, 3, 4]), ..Options::default() };
        let touch = match policy {
            EvictionPolicy::AllkeysLfu => Touch::Lfu { log_factor: 10, decay_minutes: 1 },
            EvictionPolicy::AllkeysArc => Touch::Arc { tick: 0 },
            _ => Touch::Lru,
        };
        Cache {
            rules: Rules::of(&config).unwrap(),
            touch,
            who: Keyspace::new(options).unwrap().register(),
            eviction: Eviction::new(1),
            capacity,
            random: fastrand::Rng::with_seed(7),
        }
    }

    /// GET, and SET after a miss; whether it was a hit.
    fn ask(&mut self, key: u32, now_ms: u64) -> bool {
        let (batch, key) = (self.who.enter(), key.to_le_bytes());
        let hash = batch.hash_key(&key);
        if let Touch::Arc { tick } = &mut self.touch {
            *tick = self.eviction.balance.tick();
        }
        {
            let mut guard = batch.lock(0, hash);
            if let Some(pos) = guard.find(hash, &key) {
                let bits = access::touched(self.touch, guard.entry(pos).access(), now_ms);
                guard.entry(pos).set_access(bits);
                return true;
            }
            let meta = Meta { access: access::fresh(self.touch, now_ms), ..Meta::default() };
            let pos = guard.insert(hash, &key, Content::Bytes(b"a value"), meta).unwrap();
            if let Touch::Arc { tick } = self.touch {
                let bytes = guard.entry(pos).packed_bytes();
                if let Some(bits) = self.eviction.returned(&batch, 0, hash, bytes, tick) {
                    guard.entry(pos).set_access(bits);
                }
            }
        }
        while batch.len(0) > self.capacity {
            let need = (batch.len(0) - self.capacity) * 16 + 128;
            let freed = self.eviction.slice(&batch, &self.rules, now_ms, need, &mut self.random, &mut Nobody);
            assert!(!freed.exhausted);
        }
        false
    }
}

/// Percent of the requests that hit.
fn hits(policy: EvictionPolicy, capacity: usize, trace: &Trace) -> f64 {
    let mut cache = Cache::new(policy, capacity);
    // A request takes 20 ms, so that the clocks of LRU and LFU have something to tell apart.
    let hits =
        trace.iter().enumerate().filter(|(i, key)| cache.ask(**key, 1_000_000 + *i as u64 * 20)).count();
    hits as f64 * 100.0 / trace.len() as f64
}

#[test]
#[cfg_attr(miri, ignore)]
fn the_adaptive_policy_keeps_up_with_the_better_of_lru_and_lfu() {
    let traces: [Named; 5] =
        [("zipf", zipf), ("scans", scans), ("shifts", shifts), ("loops", loops), ("late", late)];
    let mut gain = 0.0;
    let mut rows = 0.0;
    for (name, make) in traces {
        let trace = make();
        for capacity in [OBJECTS / 100, OBJECTS / 10, OBJECTS / 4] {
            let lru = hits(EvictionPolicy::AllkeysLru, capacity, &trace);
            let lfu = hits(EvictionPolicy::AllkeysLfu, capacity, &trace);
            let arc = hits(EvictionPolicy::AllkeysArc, capacity, &trace);
            println!("{name} {capacity}: lru {lru:.1} lfu {lfu:.1} arc {arc:.1}");
            assert!(arc > lru.max(lfu) - 2.0, "{name} {capacity}: {arc:.1} against {lru:.1} and {lfu:.1}");
            gain += arc - lru.max(lfu);
            rows += 1.0;
        }
    }
    let mean = gain / rows;
    println!("mean over the better of both: {mean:+.2}");
    assert!(mean > 1.5, "{mean}");
}
