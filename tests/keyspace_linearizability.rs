//! Histories of concurrent operations, recorded while engines grow and shrink, must be
//! linearizable: each operation takes effect at one moment between its call and its return.
//!
//! Keys are independent registers, so each key's history is checked for itself. Every write is
//! of a value of its own, which makes the search small.

#[path = "common/linearizable.rs"]
mod linearizable;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use tandem::keyspace::{Batch, Content, EntryRef, KeepAll, Keyspace, LockSet, Meta, Options};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Set(u64),
    /// What was found; 0 is nothing.
    Get(u64),
    /// What was there.
    Del(u64),
}

#[derive(Clone, Copy, Debug)]
struct Event {
    key: u64,
    what: What,
    called: u64,
    returned: u64,
}

/// Whether some order that respects real time explains a key's history.
fn linearizable(events: &[Event]) -> bool {
    let events: Vec<_> = events
        .iter()
        .map(|e| linearizable::Event { what: e.what, called: e.called, returned: e.returned })
        .collect();
    linearizable::is_linearizable(&events, 0, |&value, what| match *what {
        What::Set(v) => Some(v),
        What::Get(v) => (v == value).then_some(value),
        What::Del(v) => (v == value).then_some(0),
    })
}

fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn name(key: u64) -> Vec<u8> {
    // Some keys are too long to be packed.
    if key % 5 == 4 {
        format!("{key}{}", "-".repeat(300)).into_bytes()
    } else {
        format!("{key}").into_bytes()
    }
}

/// A value that names itself, of a length that makes entries move now and then.
fn encode(value: u64) -> Vec<u8> {
    let mut bytes = value.to_le_bytes().to_vec();
    bytes
        .resize(8 + (value % 9) as usize * 12 + if value.is_multiple_of(31) { 1100 } else { 0 }, value as u8);
    bytes
}

fn decode(entry: EntryRef<'_>) -> u64 {
    let whole = match (entry.bytes(), entry.value().as_deref()) {
        (Some(bytes), _) => bytes.to_vec(),
        (_, Some(tandem::values::Value::Str(blob))) => blob.as_slice().to_vec(),
        _ => panic!("only strings were written"),
    };
    let value = u64::from_le_bytes(whole[..8].try_into().expect("8 bytes"));
    assert_eq!(whole, encode(value), "a torn value");
    value
}

fn apply(batch: &Batch<'_>, key: u64, what: What) -> What {
    let name = name(key);
    let hash = batch.hash_key(&name);
    let mut set = LockSet::new();
    // One key in three is locked the way of commands with several keys.
    batch.lock_many(
        &[(0, hash), (0, batch.hash_key(b"other"))][..if key.is_multiple_of(3) { 2 } else { 1 }],
        &mut set,
    );
    let guard = set.guard(0);
    let found = guard.find(hash, &name);
    match what {
        What::Set(value) => {
            let bytes = encode(value);
            let content = Content::Bytes(&bytes);
            match found {
                Some(pos) => drop(guard.replace(pos, hash, content, Meta::default()).expect("space")),
                None => drop(guard.insert(hash, &name, content, Meta::default()).expect("space")),
            }
            what
        }
        What::Get(_) => What::Get(found.map_or(0, |pos| decode(guard.entry(pos)))),
        What::Del(_) => {
            let value = found.map_or(0, |pos| decode(guard.entry(pos)));
            if let Some(pos) = found {
                drop(guard.remove(pos));
            }
            What::Del(value)
        }
    }
}

fn client(ks: &Arc<Keyspace>, clock: &AtomicU64, me: u64, operations: u64) -> Vec<Event> {
    let mut who = ks.register();
    let mut rnd = 0x9e37_79b9 + me;
    let mut history = Vec::new();
    for i in 0..operations {
        let key = xorshift(&mut rnd) % 12;
        let what = match xorshift(&mut rnd) % 5 {
            0 | 1 => What::Set(me << 32 | (i + 1)),
            2 => What::Del(0),
            _ => What::Get(0),
        };
        let called = clock.fetch_add(1, SeqCst);
        let batch = who.enter();
        let what = apply(&batch, key, what);
        drop(batch);
        let returned = clock.fetch_add(1, SeqCst);
        history.push(Event { key, what, called, returned });
        if ks.needs_help() {
            ks.maintain(&mut who, 20, 0, &mut KeepAll);
        }
        if i % 64 == 0 {
            std::thread::yield_now();
        }
    }
    history
}

#[test]
fn histories_over_resizes_are_linearizable() {
    for round in 0..6_u64 {
        let options = Options { reserve_bytes: 256 << 20, seed: Some([round; 4]), ..Options::default() };
        let ks = Keyspace::new(options).expect("a keyspace");
        let (clock, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        // Bystanders, so that shards are not empty and there is something to compact.
        {
            let mut who = ks.register();
            let batch = who.enter();
            for i in 1000..1600 {
                apply(&batch, i, What::Set(i));
            }
        }
        let history: Vec<Event> = std::thread::scope(|scope| {
            let resizes = scope.spawn(|| {
                let mut who = ks.register_helper();
                let mut n = 0_u32;
                while !stop.load(SeqCst) {
                    // Up and down by turns, sometimes twice the same way.
                    n += u32::from(ks.force_resize(&mut who, 0, n % 5 < 2 || n % 5 == 3));
                    ks.maintain(&mut who, 100, 0, &mut KeepAll);
                }
                n
            });
            let clients: Vec<_> = (1..4)
                .map(|me| {
                    let (ks, clock) = (&ks, &clock);
                    scope.spawn(move || client(ks, clock, me, 2500))
                })
                .collect();
            let history = clients.into_iter().flat_map(|c| c.join().expect("no panic")).collect();
            stop.store(true, SeqCst);
            assert!(resizes.join().expect("no panic") > 2);
            history
        });
        for key in 0..12 {
            let events: Vec<Event> = history.iter().filter(|e| e.key == key).copied().collect();
            assert!(linearizable(&events), "round {round}, key {key}: no order explains {events:?}");
        }
    }
}

#[test]
fn the_checker_knows_right_from_wrong() {
    let event = |what, called, returned| Event { key: 0, what, called, returned };
    assert!(linearizable(&[event(What::Set(1), 0, 5), event(What::Get(0), 1, 2), event(What::Get(1), 3, 4)]));
    assert!(!linearizable(&[
        event(What::Set(1), 0, 5),
        event(What::Get(1), 1, 2),
        event(What::Get(0), 3, 4)
    ]));
    assert!(!linearizable(&[event(What::Set(1), 0, 1), event(What::Get(0), 2, 3)]));
    assert!(!linearizable(&[
        event(What::Set(1), 0, 1),
        event(What::Del(1), 2, 6),
        event(What::Del(1), 3, 5)
    ]));
    assert!(linearizable(&[event(What::Set(1), 0, 4), event(What::Set(2), 1, 3), event(What::Get(1), 5, 6)]));
}
