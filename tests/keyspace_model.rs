//! Models of the keyspace's protocols, run through every interleaving that loom finds within
//! three preemptions.
//!
//! The gate is the real file, compiled against loom. The hand-over of shards is a model: its
//! names (LIVE, MOVED, PENDING, `choose`, unit, finish) and its steps are those of
//! `src/keyspace/{engines,migrate,header,shard,batch}.rs`; tables have one bucket per shard and two keys.
#![allow(dead_code, unreachable_pub)] // the gate offers more than a model uses

mod sync {
    //! Loom's types with the interface that the gate uses.
    pub use loom::sync::Arc;
    pub use loom::sync::atomic::{AtomicBool, Ordering};

    pub struct Mutex<T>(loom::sync::Mutex<T>);

    /// Some but for the moment of a wait, where loom takes the guard by value.
    pub struct MutexGuard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>);

    impl<T: Default> Default for Mutex<T> {
        fn default() -> Self {
            Mutex(loom::sync::Mutex::new(T::default()))
        }
    }

    impl<T> Mutex<T> {
        pub fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().expect("no panic elsewhere")))
        }
    }

    impl<T> std::ops::Deref for MutexGuard<'_, T> {
        type Target = T;
        fn deref(&self) -> &T {
            self.0.as_ref().expect("not waiting")
        }
    }

    impl<T> std::ops::DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect("not waiting")
        }
    }

    #[derive(Default)]
    pub struct Condvar(loom::sync::Condvar);

    impl Condvar {
        pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let inner = guard.0.take().expect("not waiting");
            guard.0 = Some(self.0.wait(inner).expect("no panic elsewhere"));
        }

        pub fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    #[derive(Default)]
    pub struct CachePadded<T>(T);

    impl<T> std::ops::Deref for CachePadded<T> {
        type Target = T;
        fn deref(&self) -> &T {
            &self.0
        }
    }

    /// Loom knows the total order of fences only, not that of sequentially consistent accesses.
    pub fn announce(flag: &AtomicBool) {
        flag.store(true, Ordering::SeqCst);
        loom::sync::atomic::fence(Ordering::SeqCst);
    }

    #[derive(Default)]
    pub struct Waiting(());

    impl Waiting {
        pub fn pause(&mut self) {
            loom::thread::yield_now();
        }
    }
}

#[path = "../src/keyspace/gate.rs"]
mod gate;
#[path = "common/model.rs"]
mod model;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex, MutexGuard};
use loom::thread;
use model::model;

/// In a batch a worker has the cell to read; whoever raised the gate has it to itself.
#[test]
fn the_raised_gate_excludes_batches() {
    model(|| {
        let gate = Arc::new(gate::Gate::default());
        let cell = Arc::new(UnsafeCell::new(0));
        let (slot, other) = (gate.register(), Arc::clone(&gate));
        let shared = Arc::clone(&cell);
        let worker = thread::spawn(move || {
            other.enter(&slot);
            // Loom itself objects if somebody has it for writing meanwhile.
            shared.with(|p| assert!(!p.is_null()));
            other.leave(&slot);
        });
        let raised = gate.raise();
        cell.with_mut(|p| assert!(!p.is_null()));
        drop(raised);
        worker.join().expect("no panic");
    });
}

/// Who only looks either has the cell to read or is told at once that the gate is raised.
#[test]
fn a_look_does_not_wait_for_the_gate() {
    model(|| {
        let gate = Arc::new(gate::Gate::default());
        let cell = Arc::new(UnsafeCell::new(0));
        let (slot, other) = (gate.register(), Arc::clone(&gate));
        let shared = Arc::clone(&cell);
        let watcher = thread::spawn(move || {
            if other.try_enter(&slot) {
                shared.with(|p| assert!(!p.is_null()));
                other.leave(&slot);
            }
        });
        let raised = gate.raise();
        cell.with_mut(|p| assert!(!p.is_null()));
        drop(raised);
        watcher.join().expect("no panic");
    });
}

#[test]
fn two_that_raise_the_gate_do_not_wait_for_each_other() {
    model(|| {
        let gate = Arc::new(gate::Gate::default());
        let cell = Arc::new(UnsafeCell::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (gate, cell, slot) = (Arc::clone(&gate), Arc::clone(&cell), gate.register());
                thread::spawn(move || {
                    gate.enter(&slot);
                    gate.leave(&slot);
                    let raised = gate.raise();
                    cell.with_mut(|p| assert!(!p.is_null()));
                    drop(raised);
                })
            })
            .collect();
        for t in threads {
            t.join().expect("no panic");
        }
    });
}

const LIVE: u8 = 0;
const MOVED: u8 = 1;
const PENDING: u8 = 2;

/// Keys 0 and 1; the one bit of their hash is their number.
type Keys = [Option<u32>; 2];

struct Shard {
    state: AtomicU8,
    keys: Mutex<Keys>,
}

struct Engine {
    bits: usize,
    shards: Vec<Shard>,
}

impl Engine {
    fn new(bits: usize, state: u8) -> Engine {
        let shard = || Shard { state: AtomicU8::new(state), keys: Mutex::new([None; 2]) };
        Engine { bits, shards: (0..1 << bits).map(|_| shard()).collect() }
    }

    fn shard(&self, key: usize) -> &Shard {
        &self.shards[if self.bits == 0 { 0 } else { key }]
    }
}

/// A value of the pointer: (active, growing).
#[derive(Clone, Copy)]
struct Engines {
    active: usize,
    growing: Option<usize>,
}

/// A database that is resized along a fixed path of sizes. Retired engines stay: what the epoch
/// does is crossbeam's own to prove.
struct Database {
    engines: Vec<Engine>,
    /// Index into `path()`: 2 i is steady on engine i, 2 i + 1 is from i to i + 1.
    pointer: AtomicUsize,
    next: Vec<AtomicUsize>,
    done: Vec<AtomicUsize>,
    finished: AtomicUsize,
    resize: Mutex<()>,
    count: AtomicUsize,
    fired: AtomicUsize,
}

impl Database {
    fn new(bits: &[usize]) -> Database {
        let engine = |(i, &b): (usize, &usize)| Engine::new(b, if i == 0 { LIVE } else { PENDING });
        let counters = || bits.iter().map(|_| AtomicUsize::new(0)).collect();
        Database {
            engines: bits.iter().enumerate().map(engine).collect(),
            pointer: AtomicUsize::new(0),
            next: counters(),
            done: counters(),
            finished: AtomicUsize::new(0),
            resize: Mutex::new(()),
            count: AtomicUsize::new(0),
            fired: AtomicUsize::new(0),
        }
    }

    fn load(&self) -> Engines {
        let p = self.pointer.load(Ordering::Acquire);
        Engines { active: p / 2, growing: (p % 2 == 1).then_some(p / 2 + 1) }
    }

    fn choose(&self, engines: Engines, key: usize) -> &Engine {
        let old = &self.engines[engines.active];
        match engines.growing {
            Some(growing) if old.shard(key).state.load(Ordering::Acquire) == MOVED => &self.engines[growing],
            _ => old,
        }
    }

    /// `Batch::lock`; begins with a pointer that may be old.
    fn lock(&self, engines: Engines, key: usize) -> MutexGuard<'_, Keys> {
        self.lock_in(engines, key).1
    }

    /// The same, with the engine where the key lives.
    fn lock_in(&self, mut engines: Engines, key: usize) -> (&Engine, MutexGuard<'_, Keys>) {
        loop {
            let engine = self.choose(engines, key);
            let shard = engine.shard(key);
            let keys = shard.keys.lock().expect("no panic elsewhere");
            match shard.state.load(Ordering::Relaxed) {
                LIVE => return (engine, keys),
                state => assert_eq!(state, MOVED, "nobody gets to a target that is not complete"),
            }
            drop(keys);
            thread::yield_now();
            engines = self.load();
        }
    }

    fn set(&self, key: usize, value: u32) {
        let mut keys = self.lock(self.load(), key);
        if keys[key].replace(value).is_none() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn get(&self, key: usize) -> Option<u32> {
        self.lock(self.load(), key)[key]
    }

    /// `LockSet::fill` of both keys, ascending, a shard that holds both once; then EXEC.
    fn transfer(&self) {
        let engines = self.load();
        let (engine, mut first) = self.lock_in(engines, 0);
        // `ShardGuard::covers`: the engine of the first guard says whether it holds the second key.
        let covers = std::ptr::eq(engine.shard(0), engine.shard(1));
        let mut second = (!covers).then(|| self.lock(engines, 1));
        let (a, b) = (first[0], second.as_ref().map_or(first[1], |s| s[1]));
        assert_eq!(a, b, "half of another's transaction");
        let after = a.map(|n| n + 1);
        first[0] = after;
        match &mut second {
            Some(second) => second[1] = after,
            None => first[1] = after,
        }
    }

    /// Lazy or timed expiry: whoever finds the key removes it and tells.
    fn expire(&self, key: usize) {
        let mut keys = self.lock(self.load(), key);
        self.expire_in(&mut keys, key);
    }

    fn expire_in(&self, keys: &mut Keys, key: usize) {
        if keys[key].take().is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
            self.fired.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn install(&self, from: usize) {
        let _resize = self.resize.lock().expect("no panic elsewhere");
        if self.pointer.load(Ordering::Acquire) == 2 * from {
            self.pointer.store(2 * from + 1, Ordering::Release);
        }
    }

    fn units(&self, from: usize) -> usize {
        1 << self.engines[from].bits.min(self.engines[from + 1].bits)
    }

    /// Claims and moves one unit; false if none is left.
    fn step(&self, purge: Option<usize>) -> bool {
        let Engines { active, growing: Some(growing) } = self.load() else {
            return false;
        };
        let (units, unit) = (self.units(active), self.next[active].fetch_add(1, Ordering::Relaxed));
        if unit >= units {
            return false;
        }
        let of = |e: &Engine| {
            let n = e.shards.len() / units;
            unit * n..(unit + 1) * n
        };
        let (old, new) = (&self.engines[active], &self.engines[growing]);
        let mut from: Vec<_> = old.shards[of(old)].iter().map(|s| s.keys.lock().expect("lock")).collect();
        let mut to: Vec<_> = new.shards[of(new)].iter().map(|s| s.keys.lock().expect("lock")).collect();
        for keys in &mut from {
            if let Some(key) = purge {
                self.expire_in(keys, key);
            }
            for key in 0..2 {
                if let Some(value) = keys[key].take() {
                    let target = if new.bits == 0 { 0 } else { key - of(new).start };
                    to[target][key] = Some(value);
                }
            }
        }
        for shard in &new.shards[of(new)] {
            assert_eq!(shard.state.load(Ordering::Relaxed), PENDING);
            shard.state.store(LIVE, Ordering::Release);
        }
        for shard in &old.shards[of(old)] {
            assert_eq!(shard.state.load(Ordering::Relaxed), LIVE);
            shard.state.store(MOVED, Ordering::Release);
        }
        drop((from, to));
        if self.done[active].fetch_add(1, Ordering::AcqRel) + 1 == units {
            self.finish(active);
        }
        true
    }

    fn finish(&self, active: usize) {
        assert!(self.engines[active].shards.iter().all(|s| s.state.load(Ordering::Acquire) == MOVED));
        let _resize = self.resize.lock().expect("no panic elsewhere");
        assert_eq!(self.pointer.load(Ordering::Acquire), 2 * active + 1, "nobody installs against it");
        self.pointer.store(2 * (active + 1), Ordering::Release);
        self.finished.fetch_add(1, Ordering::Relaxed);
    }

    fn resize(&self, from: usize) {
        self.install(from);
        while self.step(None) {}
    }

    /// Each key is in at most one live shard; how many keys there are.
    fn check(&self) {
        let mut found = 0;
        for key in 0..2 {
            let holds = |s: &&Shard| s.keys.lock().expect("lock")[key].is_some();
            let shards: Vec<&Shard> = self.engines.iter().flat_map(|e| &e.shards).filter(holds).collect();
            assert!(shards.len() <= 1, "a key in two shards");
            assert!(shards.iter().all(|s| s.state.load(Ordering::Relaxed) == LIVE));
            found += shards.len();
        }
        assert_eq!(self.count.load(Ordering::Relaxed), found, "counters balance");
    }
}

fn path(bits: &'static [usize], client: impl Fn(&Database) + Copy + Send + Sync + 'static) {
    model(move || {
        let db = Arc::new(Database::new(bits));
        db.set(0, 1);
        db.set(1, 1);
        let other = Arc::clone(&db);
        let migrator = thread::spawn(move || (0..bits.len() - 1).for_each(|i| other.resize(i)));
        client(&db);
        migrator.join().expect("no panic");
        db.check();
        assert_eq!(db.finished.load(Ordering::Relaxed), bits.len() - 1);
    });
}

/// Invariants 1 and 2: what was written is read, and stands in one live shard, both ways.
#[test]
fn writes_survive_growing_and_shrinking() {
    for bits in [&[0, 1][..], &[1, 0]] {
        path(bits, |db| {
            db.set(1, 2);
            assert_eq!(db.get(1), Some(2));
            assert_eq!(db.get(0), Some(1));
        });
    }
}

/// Invariant 3: a pointer two resizes old still leads to the key.
#[test]
fn an_old_pointer_still_ends_at_the_key() {
    for bits in [&[0, 1, 0][..], &[1, 0, 1]] {
        path(bits, |db| {
            let old = db.load();
            thread::yield_now();
            assert_eq!(db.lock(old, 1)[1], Some(1));
        });
    }
}

/// Invariant 4: two threads move units; one of them finishes, once all were moved.
#[test]
fn one_finishes_after_all_units() {
    model(|| {
        let db = Arc::new(Database::new(&[1, 1]));
        db.set(0, 1);
        db.set(1, 1);
        db.install(0);
        let other = Arc::clone(&db);
        let helper = thread::spawn(move || while other.step(None) {});
        while db.step(None) {}
        helper.join().expect("no panic");
        assert_eq!(db.finished.load(Ordering::Relaxed), 1);
        assert_eq!((db.get(0), db.get(1)), (Some(1), Some(1)));
        db.check();
    });
}

/// Invariant 5: a scan in hash order, a lock per position, sees each key once.
#[test]
fn a_scan_sees_each_key_once() {
    for bits in [&[0, 1][..], &[1, 0], &[0, 1, 0]] {
        path(bits, |db| {
            let mut seen = [0; 2];
            let mut position = 0;
            while position < 2 {
                // The shard decides how far it reaches: one position, or all from here on.
                let engines = db.load();
                let keys = db.lock(engines, position);
                let whole = keys[1 - position].is_some();
                for (key, value) in keys.iter().enumerate() {
                    // What lies in front of the position was visited before.
                    seen[key] += usize::from(value.is_some() && key >= position);
                }
                position = if whole { 2 } else { position + 1 };
            }
            assert_eq!(seen, [1, 1]);
        });
    }
}

/// Invariant 6: an expiry that races a purge fires once, and the counters balance.
#[test]
fn expiry_against_purge_fires_once() {
    for bits in [[0, 1], [1, 0]] {
        model(move || {
            let db = Arc::new(Database::new(&bits));
            db.set(0, 1);
            db.set(1, 1);
            let other = Arc::clone(&db);
            let migrator = thread::spawn(move || {
                other.install(0);
                while other.step(Some(1)) {}
            });
            db.expire(1);
            migrator.join().expect("no panic");
            assert_eq!(db.fired.load(Ordering::Relaxed), 1);
            assert_eq!((db.get(0), db.get(1)), (Some(1), None));
            db.check();
        });
    }
}

/// Two transactions of both keys, each in the order of the shards, and a resize: nobody waits in
/// a circle, and nobody sees one half.
#[test]
fn several_locks_in_one_order_against_a_resize() {
    for bits in [[0, 1], [1, 0], [1, 1]] {
        model(move || {
            let db = Arc::new(Database::new(&bits));
            db.set(0, 1);
            db.set(1, 1);
            let other = Arc::clone(&db);
            let migrator = thread::spawn(move || other.resize(0));
            let other = Arc::clone(&db);
            let second = thread::spawn(move || other.transfer());
            db.transfer();
            second.join().expect("no panic");
            migrator.join().expect("no panic");
            assert_eq!((db.get(0), db.get(1)), (Some(3), Some(3)));
            db.check();
        });
    }
}
