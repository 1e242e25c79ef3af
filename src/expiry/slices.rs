//! Workers' timers on a real keyspace: keys go once, on time, whoever armed them and whatever the engines do.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Expiry, Identities, is_past};
use crate::keyspace::{Batch, Content, DbId, EntryRef, Keyspace, Meta, Options, Participant, Purge};

const START: u64 = 1_700_000_000_000;
const HOUR: u64 = 3_600_000;

/// Several workers, taking turns on one thread.
struct House {
    keyspace: Arc<Keyspace>,
    identities: Arc<Identities>,
    workers: Vec<(Participant, Expiry)>,
    /// Event of each key that expired.
    gone: Vec<(DbId, Vec<u8>)>,
    now: u64,
}

/// Migration that leaves expiry to the timers.
struct NoPurge;

impl Purge for NoPurge {
    fn enabled(&self) -> bool {
        false
    }
    fn expired(&mut self, _: DbId, _: EntryRef<'_>) {
        unreachable!("not enabled")
    }
}

impl House {
    fn new(workers: usize) -> House {
        let options = Options { databases: 4, reserve_bytes: 1 << 30, ..Options::default() };
        let keyspace = Keyspace::new(options).expect("a keyspace");
        let identities = Arc::new(Identities::new(4));
        let workers = (0..workers)
            .map(|_| (keyspace.register(), Expiry::new(4, Arc::clone(&identities), START)))
            .collect();
        House { keyspace, identities, workers, gone: Vec::new(), now: START }
    }

    /// SET (and with `deadline` EX) as a command on this worker.
    fn set(&mut self, worker: usize, db: DbId, key: &[u8], deadline: Option<u64>) {
        let (participant, expiry) = &mut self.workers[worker];
        let batch = participant.enter();
        expiry.begin(self.now, true);
        let hash = batch.hash_key(key);
        let mut guard = batch.lock(db, hash);
        let pos = guard.find(hash, key);
        let old = pos.and_then(|pos| timer_of(guard.entry(pos)));
        let armed = expiry.change(db, hash, old, deadline);
        let meta = Meta { deadline, armed, ..Meta::default() };
        match pos {
            Some(pos) => drop(guard.replace(pos, hash, Content::Bytes(b"v"), meta).expect("room")),
            None => drop(guard.insert(hash, key, Content::Bytes(b"v"), meta).expect("room")),
        }
    }

    fn del(&mut self, worker: usize, db: DbId, key: &[u8]) {
        let (participant, expiry) = &mut self.workers[worker];
        let batch = participant.enter();
        expiry.begin(self.now, true);
        let hash = batch.hash_key(key);
        let mut guard = batch.lock(db, hash);
        if let Some(pos) = guard.find(hash, key) {
            expiry.change(db, hash, timer_of(guard.entry(pos)), None);
            drop(guard.remove(pos));
        }
    }

    fn slice(&mut self, worker: usize, budget_us: u64) -> bool {
        let (participant, expiry) = &mut self.workers[worker];
        let (gone, now) = (&mut self.gone, self.now);
        let batch = participant.enter();
        expiry.run(&batch, now, budget_us, &mut Vec::new(), &mut |db, entry| {
            assert!(is_past(entry.deadline().expect("a deadline"), now), "too early");
            gone.push((db, entry.key().to_vec()));
        })
    }

    /// All workers work until nothing is left to do now.
    fn settle(&mut self) {
        for worker in 0..self.workers.len() {
            while self.slice(worker, 50) {}
        }
    }

    fn batch<R>(&mut self, f: impl FnOnce(&Batch<'_>) -> R) -> R {
        f(&self.workers[0].0.enter())
    }

    fn len(&mut self, db: DbId) -> usize {
        self.batch(|batch| batch.len(db))
    }

    fn items(&self) -> usize {
        self.workers.iter().map(|(_, expiry)| expiry.items()).sum()
    }

    fn resize(&mut self, up: bool) {
        let participant = &mut self.workers[0].0;
        self.keyspace.force_resize(participant, 0, up);
        while self.keyspace.maintain(participant, 1000, self.now, &mut NoPurge) {}
    }
}

fn timer_of(entry: EntryRef<'_>) -> Option<(u64, u32)> {
    entry.deadline().map(|deadline| (deadline, entry.armed()))
}

fn key(i: u64) -> Vec<u8> {
    format!("key:{i}").into_bytes()
}

#[test]
fn keys_go_once_and_on_time_with_several_workers_and_moving_engines() {
    let mut house = House::new(3);
    let mut random = fastrand::Rng::with_seed(7);
    let mut deadlines: BTreeMap<u64, u64> = BTreeMap::new();
    let mut due = 0;
    for round in 0..400u64 {
        for _ in 0..50 {
            let (worker, i) = (random.usize(0..3), random.u64(0..3000));
            let had = deadlines.remove(&i);
            match random.u8(0..10) {
                0 => house.del(worker, 0, &key(i)),
                1 => house.set(worker, 0, &key(i), None),
                _ => {
                    let deadline = match had {
                        Some(old) if random.bool() => old + random.u64(0..500),
                        _ => house.now + random.u64(0..4000),
                    };
                    house.set(worker, 0, &key(i), Some(deadline));
                    deadlines.insert(i, deadline);
                }
            }
        }
        if round % 50 == 20 {
            house.resize(round % 100 == 20);
        }
        house.now += random.u64(0..30);
        let now = house.now;
        house.settle();
        let before = deadlines.len();
        deadlines.retain(|_, &mut deadline| !is_past(deadline, now));
        due += before - deadlines.len();
        assert_eq!(house.gone.len(), due, "each of those that came due, once");
        let next = house.workers.iter().filter_map(|(_, expiry)| expiry.next_deadline()).min();
        if let Some(first) = deadlines.values().min() {
            assert!(next.is_some_and(|at| at <= first + 1 && at > now), "{next:?} for {first} at {now}");
        }
    }
    assert!(due > 2000, "{due}");
    house.now += HOUR;
    house.settle();
    assert_eq!((house.gone.len(), house.items()), (due + deadlines.len(), 0));
}

#[test]
fn items_that_another_worker_made_stale_are_swept() {
    let mut house = House::new(2);
    for i in 0..20_000 {
        house.set(0, 0, &key(i), Some(START + HOUR + i));
    }
    assert_eq!(house.items(), 20_000);
    for i in 0..15_000 {
        house.del(1, 0, &key(i));
    }
    house.settle();
    assert!(house.items() < 5_200, "{}", house.items());
    // The worker that arms is told without anything being due.
    for i in 0..4 * 1024 {
        house.set(1, 0, &key(i), Some(START + 2 * HOUR));
        house.set(0, 0, &key(i), Some(START + HOUR - i));
    }
    assert!(house.workers.iter().any(|(_, expiry)| expiry.earliest() <= START));
    house.now += 3 * HOUR;
    house.settle();
    assert_eq!((house.gone.len(), house.len(0), house.items()), (5_000 + 4096, 0, 0));
}

#[test]
fn a_key_refreshed_again_and_again_costs_one_item() {
    let mut house = House::new(1);
    for i in 0..10_000 {
        house.now = START + i;
        house.set(0, 0, b"session", Some(house.now + 30_000));
        house.settle();
    }
    assert_eq!((house.items(), house.gone.len()), (1, 0));
    house.now = START + 9_999 + 30_000;
    house.settle();
    assert_eq!(house.gone.len(), 0, "served through the millisecond of its deadline");
    house.now += 1;
    house.settle();
    assert_eq!(house.gone.len(), 1);
}

#[test]
fn a_flush_empties_the_timers_of_all_workers_and_a_swap_takes_them_along() {
    let mut house = House::new(2);
    for i in 0..1000 {
        house.set(0, 0, &key(i), Some(START + 1000));
        house.set(1, 0, &key(1000 + i), Some(START + 1000));
        house.set(1, 1, &key(i), Some(START + 500));
    }
    {
        let (participant, expiry) = &mut house.workers[0];
        let batch = participant.enter_exclusive();
        batch.flush(0);
        expiry.clear(0);
    }
    house.set(1, 0, b"later", Some(START + 2000));
    house.settle();
    assert_eq!(house.items(), 1001);
    {
        let batch = house.workers[0].0.enter_exclusive();
        batch.swap(0, 1);
        house.identities.swap(0, 1);
    }
    house.now = START + 501;
    house.settle();
    assert_eq!(house.gone.len(), 1000);
    assert!(house.gone.iter().all(|(db, _)| *db == 0), "found where the data is now");
    house.now = START + 2001;
    house.settle();
    assert_eq!(house.gone.last(), Some(&(1, b"later".to_vec())));
}

#[test]
fn a_flood_is_worked_off_in_slices() {
    let mut house = House::new(1);
    for i in 0..30_000 {
        house.set(0, 0, &key(i), Some(START + 1000));
    }
    house.now = START + 1001;
    let mut slices = 0;
    while house.slice(0, 1) {
        slices += 1;
        assert!(house.gone.len() <= slices * 64, "a slice stops at its budget");
    }
    assert_eq!((house.gone.len(), house.len(0)), (30_000, 0));
}

#[test]
fn a_clock_set_back_neither_loses_nor_repeats() {
    let mut house = House::new(1);
    for i in 0..2000 {
        house.set(0, 0, &key(i), Some(START + i));
    }
    house.now = START + 1000;
    house.settle();
    assert_eq!(house.gone.len(), 1000);
    house.now = START - 24 * HOUR;
    house.set(0, 0, b"new", Some(house.now + 10));
    house.settle();
    house.now += 11;
    house.settle();
    assert_eq!((house.gone.len(), house.gone.last()), (1001, Some(&(0, b"new".to_vec()))));
    house.now = START + 3000;
    house.settle();
    assert_eq!((house.gone.len(), house.items()), (2001, 0));
}
