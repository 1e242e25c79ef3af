//! Workers' timers on a real keyspace: keys go once, on time, whoever armed them and whatever the engines do.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Expiry, Gone, Identities, is_past};
use crate::keyspace::{
    Batch, Content, DbId, EntryRef, KeepAll, KeyHash, Keyspace, Meta, Options, Participant,
};
use crate::values::hash::{Deadline, Limits};
use crate::values::{Hash, Value};

const START: u64 = 1_700_000_000_000;
const HOUR: u64 = 3_600_000;

/// Several workers, taking turns on one thread.
struct House {
    keyspace: Arc<Keyspace>,
    identities: Arc<Identities>,
    workers: Vec<(Participant, Expiry)>,
    /// Event of each key that expired.
    gone: Vec<(DbId, Vec<u8>)>,
    /// Key, number and whether they were all, of each event of fields.
    fields: Vec<(Vec<u8>, usize, bool)>,
    now: u64,
}

impl House {
    fn new(workers: usize) -> House {
        let options = Options { databases: 4, reserve_bytes: 1 << 30, ..Options::default() };
        let keyspace = Keyspace::new(options).expect("a keyspace");
        let identities = Arc::new(Identities::new(4));
        let workers = (0..workers)
            .map(|_| (keyspace.register(), Expiry::new(4, Arc::clone(&identities), START)))
            .collect();
        House { keyspace, identities, workers, gone: Vec::new(), fields: Vec::new(), now: START }
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

    /// HSETEX, or HSET without `deadline`, of one field as a command on this worker.
    fn hset(&mut self, worker: usize, key: &[u8], field: &[u8], deadline: Option<u64>) {
        let (participant, expiry) = &mut self.workers[worker];
        let batch = participant.enter();
        expiry.begin(self.now, true);
        let hash = batch.hash_key(key);
        let mut guard = batch.lock(0, hash);
        let pos = guard.find(hash, key).unwrap_or_else(|| {
            let new = Content::Value(Value::Hash(Hash::new()));
            guard.insert(hash, key, new, Meta::default()).expect("room")
        });
        let Some(Value::Hash(value)) = guard.value_mut(pos) else { panic!("a hash") };
        let deadline = deadline.map_or(Deadline::Clear, Deadline::At);
        value.set_with(field, b"v", deadline, &Limits::default());
        let tick = expiry.change_fields(0, hash, value.armed(), value.next_deadline());
        value.set_armed(tick);
    }

    fn del(&mut self, worker: usize, db: DbId, key: &[u8]) {
        let (participant, expiry) = &mut self.workers[worker];
        let batch = participant.enter();
        expiry.begin(self.now, true);
        let hash = batch.hash_key(key);
        let mut guard = batch.lock(db, hash);
        if let Some(pos) = guard.find(hash, key) {
            if let Some(timer) = timer_of(guard.entry(pos)) {
                expiry.change(db, hash, Some(timer), None);
            }
            if let Some(value) = guard.remove(pos) {
                expiry.forget_fields(db, hash, &value);
            }
        }
    }

    fn slice(&mut self, worker: usize, budget_us: u64) -> bool {
        let (participant, expiry) = &mut self.workers[worker];
        let (gone, fields, now) = (&mut self.gone, &mut self.fields, self.now);
        let batch = participant.enter();
        expiry.run(&batch, now, budget_us, &mut Vec::new(), &mut |db, entry, what| match what {
            Gone::Key => {
                assert!(is_past(entry.deadline().expect("a deadline"), now), "too early");
                gone.push((db, entry.key().to_vec()));
            }
            Gone::Fields { count, all, .. } => fields.push((entry.key().to_vec(), count, all)),
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
        while self.keyspace.maintain(participant, 1000, self.now, &mut KeepAll) {}
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
fn what_becomes_stale_behind_a_sweep_is_swept_too() {
    let mut house = House::new(2);
    for i in 0..20_000 {
        house.set(0, 0, &key(i), Some(START + HOUR));
    }
    for i in 0..11_000 {
        house.del(1, 0, &key(i));
    }
    let before = house.items();
    while house.items() > before - 5_000 {
        assert!(house.slice(0, 1), "a slice stops at its budget");
    }
    for i in 11_000..20_000 {
        house.del(1, 0, &key(i));
    }
    house.settle();
    assert!(house.items() < 2_000, "{}", house.items());
    let bytes = house.workers[0].1.bytes();
    assert!(bytes < 200_000, "few items, few blocks: {bytes}");
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
fn a_large_wheel_of_an_emptied_data_set_is_freed_elsewhere() {
    let mut house = House::new(1);
    let flush = |house: &mut House| {
        let (participant, expiry) = &mut house.workers[0];
        participant.enter_exclusive().flush(0);
        expiry.clear(0);
        expiry.has_litter()
    };
    house.set(0, 0, b"only", Some(START + 1000));
    assert!(!flush(&mut house), "a small one is freed at once");
    let expiry = &mut house.workers[0].1;
    for i in 0..70_000 {
        expiry.change(0, KeyHash::from_hash40(i), None, Some(START + 1000));
    }
    assert!(flush(&mut house));
    let expiry = &mut house.workers[0].1;
    drop(expiry.take_litter());
    assert!(!expiry.has_litter() && expiry.items() == 0);
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

#[test]
fn fields_go_on_time_and_take_their_emptied_hash_with_them() {
    let mut house = House::new(2);
    for (field, after) in [("a", 10), ("b", 500), ("c", 10), ("d", 70_000)] {
        house.hset(1, b"h", field.as_bytes(), Some(START + after));
    }
    assert_eq!((house.items(), house.identities.hashes(0)), (1, 1), "one item for all fields");
    house.now = START + 10;
    house.settle();
    assert!(house.fields.is_empty(), "they live through the millisecond of their deadline");
    for (now, count, all) in [(11, 2, false), (501, 1, false), (70_001, 1, true)] {
        house.now = START + now;
        house.settle();
        assert_eq!(house.fields.pop(), Some((b"h".to_vec(), count, all)));
        assert!(house.fields.is_empty());
    }
    assert_eq!((house.len(0), house.items(), house.identities.hashes(0)), (0, 0, 0));
}

#[test]
fn many_fields_of_one_hash_go_in_steps() {
    let mut house = House::new(1);
    for i in 0..5000 {
        house.hset(0, b"h", &key(i), Some(START + 5));
    }
    house.hset(0, b"h", b"stays", None);
    house.now = START + 6;
    house.settle();
    assert!(house.fields.iter().all(|(_, count, all)| *count <= 64 && !all));
    assert_eq!(house.fields.iter().map(|f| f.1).sum::<usize>(), 5000);
    assert_eq!((house.len(0), house.items(), house.identities.hashes(0)), (1, 0, 0));
}

#[test]
fn fields_of_many_hashes_with_several_workers_and_moving_engines() {
    let mut house = House::new(3);
    let mut random = fastrand::Rng::with_seed(11);
    let mut twin: BTreeMap<(u64, u8), u64> = BTreeMap::new();
    let mut keys: BTreeMap<u64, u64> = BTreeMap::new();
    let (mut due, mut went) = (0, 0);
    for round in 0..300u64 {
        for _ in 0..40 {
            let (worker, i, field) = (random.usize(0..3), random.u64(0..800), random.u8(0..6));
            match random.u8(0..12) {
                0 => {
                    house.del(worker, 0, &key(i));
                    twin.retain(|(k, _), _| *k != i);
                    keys.remove(&i);
                }
                1 => {
                    house.hset(worker, &key(i), &[field], None);
                    house.hset(worker, &key(i), b"stays", None);
                    twin.remove(&(i, field));
                    keys.insert(i, u64::MAX);
                }
                _ => {
                    let at = house.now + random.u64(1..400);
                    house.hset(worker, &key(i), &[field], Some(at));
                    twin.insert((i, field), at);
                    keys.entry(i).or_insert(0);
                }
            }
        }
        house.now += random.u64(1..40);
        house.settle();
        let before = twin.len();
        twin.retain(|_, at| !is_past(*at, house.now));
        due += before - twin.len();
        went += house.fields.drain(..).map(|f| f.1).sum::<usize>();
        assert_eq!(went, due, "round {round}");
        // A key whose last field went is gone; those with a field that stays are not.
        keys.retain(|i, stays| *stays > 0 || twin.range((*i, 0)..=(*i, u8::MAX)).next().is_some());
        assert_eq!(house.len(0), keys.len());
        let timed: std::collections::BTreeSet<u64> = twin.keys().map(|(i, _)| *i).collect();
        assert_eq!(house.identities.hashes(0), timed.len() as u64);
        if round % 50 == 20 {
            house.resize(round % 100 == 20);
        }
    }
    assert!(due > 2000, "{due}");
}
