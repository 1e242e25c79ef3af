//! The keyspace as a whole, against simple twins.

mod churn;
mod concurrent;
mod load;
mod packing;
mod sizes;
mod skew;
mod twin;
mod walk;

use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Purges everything that is due and remembers it.
#[derive(Default)]
pub(super) struct Collect(pub Vec<(DbId, Vec<u8>)>);

impl Purge for Collect {
    fn enabled(&self) -> bool {
        true
    }
    fn expired(&mut self, db: DbId, entry: EntryRef<'_>) {
        self.0.push((db, entry.key().to_vec()));
    }
}

pub(super) fn keyspace() -> Arc<Keyspace> {
    let reserve = if cfg!(miri) { 4 << 20 } else { 1 << 30 };
    let options = Options { reserve_bytes: reserve, seed: Some([1, 2, 3, 4]), ..Options::default() };
    Keyspace::new(options).expect("a keyspace")
}

pub(super) fn set(batch: &Batch<'_>, db: DbId, key: &[u8], content: Content<'_>, meta: Meta) {
    let hash = batch.hash_key(key);
    let mut guard = batch.lock(db, hash);
    match guard.find(hash, key) {
        Some(pos) => drop(guard.replace(pos, hash, content, meta).expect("space")),
        None => drop(guard.insert(hash, key, content, meta).expect("space")),
    }
}

pub(super) fn get(batch: &Batch<'_>, db: DbId, key: &[u8]) -> Option<Vec<u8>> {
    let hash = batch.hash_key(key);
    let guard = batch.lock(db, hash);
    let entry = guard.entry(guard.find(hash, key)?);
    assert_eq!(entry.key(), key);
    Some(match (entry.bytes(), entry.value().as_deref()) {
        (Some(bytes), None) => bytes.to_vec(),
        (None, Some(Value::Str(blob))) => blob.as_slice().to_vec(),
        _ => panic!("bytes or a string"),
    })
}

pub(super) fn del(batch: &Batch<'_>, db: DbId, key: &[u8]) -> bool {
    let hash = batch.hash_key(key);
    let mut guard = batch.lock(db, hash);
    let pos = guard.find(hash, key);
    pos.map(|pos| drop(guard.remove(pos))).is_some()
}

/// Works everything off.
pub(super) fn settle(keyspace: &Arc<Keyspace>, who: &mut Participant, now_ms: u64, purge: &mut dyn Purge) {
    while keyspace.maintain(who, 1_000_000, now_ms, purge) {}
}

#[test]
fn grows_and_shrinks_and_gives_back() {
    let ks = keyspace();
    let mut who = ks.register_helper();
    let n = if cfg!(miri) { 700_u32 } else { 60_000 };
    for i in 0..n {
        set(
            &who.enter(),
            0,
            format!("key:{i}").as_bytes(),
            Content::Bytes(&i.to_le_bytes().repeat(30)),
            Meta::default(),
        );
        if i % 100 == 0 {
            settle(&ks, &mut who, 0, &mut KeepAll);
        }
    }
    settle(&ks, &mut who, 0, &mut KeepAll);
    let stats = who.enter().stats(0);
    assert_eq!(stats.keys, n as usize);
    assert_eq!(stats.state, State::Steady);
    assert!(stats.load_percent > 35.0 && stats.load_percent < 90.0, "{stats:?}");
    let full = ks.memory(&mut who).segments;
    for i in 0..n {
        assert_eq!(get(&who.enter(), 0, format!("key:{i}").as_bytes()), Some(i.to_le_bytes().repeat(30)));
    }
    for i in (0..n).filter(|i| i % 20 != 0) {
        assert!(del(&who.enter(), 0, format!("key:{i}").as_bytes()));
        if i % 100 == 1 {
            settle(&ks, &mut who, 0, &mut KeepAll);
        }
    }
    ks.purge(&mut who, 0, &mut KeepAll);
    let stats = who.enter().stats(0);
    assert_eq!(stats.keys, n.div_ceil(20) as usize);
    assert!(cfg!(miri) || stats.load_percent > 20.0, "{stats:?}");
    assert!(stats.bytes_dead <= 8 * (64 << 10) + stats.bytes_segments / 10, "{stats:?}");
    assert!(cfg!(miri) || ks.memory(&mut who).segments <= full / 2);
    for i in 0..n {
        let there = get(&who.enter(), 0, format!("key:{i}").as_bytes()).is_some();
        assert_eq!(there, i % 20 == 0);
    }
    who.enter_exclusive().flush(0);
    ks.purge(&mut who, 0, &mut KeepAll);
    let memory = ks.memory(&mut who);
    assert_eq!((memory.segments, memory.tables, memory.waiting_to_be_freed), (0, 0, 0));
}

#[test]
#[cfg_attr(miri, ignore = "takes some MiB of entries")]
fn what_is_mostly_dead_is_compacted_without_rests() {
    let ks = keyspace();
    let mut who = ks.register_helper();
    let key = |i: u32| format!("key:{i}").into_bytes();
    for i in 0..8_000 {
        set(&who.enter(), 0, &key(i), Content::Bytes(&[b'v'; 900]), Meta::default());
        settle(&ks, &mut who, 0, &mut KeepAll);
    }
    assert!(!ks.has_to_move() && !ks.is_behind(&mut who));
    // A fifth is more than there should be, four fifths are far more.
    (0..8_000).filter(|i| i % 5 == 0).for_each(|i| assert!(del(&who.enter(), 0, &key(i))));
    assert!(ks.has_to_move() && !ks.is_behind(&mut who));
    (0..8_000).filter(|i| i % 5 != 0 && i % 6 != 0).for_each(|i| assert!(del(&who.enter(), 0, &key(i))));
    assert!(ks.has_to_move() && ks.is_behind(&mut who));
    settle(&ks, &mut who, 0, &mut KeepAll);
    assert!(!ks.has_to_move() && !ks.is_behind(&mut who));
}

#[test]
fn a_burst_without_any_help_still_works_and_prepare_helps() {
    let ks = keyspace();
    let mut who = ks.register();
    let n = if cfg!(miri) { 600 } else { 20_000 };
    for (db, prepare) in [(0, false), (1, true)] {
        let batch = who.enter();
        if prepare {
            batch.prepare(db, n);
            assert!(batch.stats(db).load_percent == 0.0 && batch.stats(db).shards > 1);
        }
        for i in 0..n {
            set(&batch, db, format!("key:{i}").as_bytes(), Content::Bytes(b"v"), Meta::default());
        }
        assert_eq!(batch.len(db), n);
        for i in 0..n {
            assert!(get(&batch, db, format!("key:{i}").as_bytes()).is_some());
        }
    }
}

#[test]
fn migration_purges_what_is_due_and_tells() {
    let ks = keyspace();
    let mut who = ks.register_helper();
    let due =
        |i: u32| Meta { deadline: i.is_multiple_of(2).then_some(1000 + u64::from(i)), ..Meta::default() };
    for i in 0..300_u32 {
        let key = if i % 10 == 0 { vec![b'x'; 300 + i as usize] } else { i.to_le_bytes().to_vec() };
        let long = vec![1; 2000];
        let content = if i % 3 == 0 { Content::Bytes(&long) } else { Content::Bytes(b"v") };
        set(&who.enter(), 3, &key, content, due(i));
    }
    assert_eq!(who.enter().expires(3), 150);
    let mut purged = Collect::default();
    assert!(ks.force_resize(&mut who, 3, true));
    // A key lives through the millisecond of its deadline.
    settle(&ks, &mut who, 1101, &mut purged);
    assert_eq!(purged.0.len(), 51);
    assert_eq!(who.enter().len(3), 249);
    assert_eq!(who.enter().expires(3), 99);
    assert!(ks.force_resize(&mut who, 3, false));
    settle(&ks, &mut who, u64::MAX, &mut purged);
    assert_eq!(purged.0.len(), 150);
    assert_eq!(who.enter().len(3), 150);
    assert_eq!(who.enter().expires(3), 0);
    assert_eq!(who.enter().stats(3).keys_purged, 150);
}

#[test]
fn long_and_empty_keys_and_values_and_all_their_changes() {
    let ks = keyspace();
    let mut who = ks.register();
    let metas = [None, Some(5), Some(u64::MAX)];
    // Under Miri the large sizes cost minutes and show nothing new.
    let size = |n: usize| if cfg!(miri) && n > 2000 { 1030 } else { n };
    let keys = [vec![], b"k".to_vec(), vec![7; 255], vec![7; 256], vec![9; size(70_000)]];
    let values = [vec![], b"v".to_vec(), vec![1; 1024], vec![2; 1025], vec![3; size(100_000)]];
    let batch = who.enter();
    for key in &keys {
        for from in &values {
            for to in &values {
                for deadline in metas {
                    let meta = Meta { deadline, armed: 7, access: 9, mark: true };
                    set(&batch, 0, key, Content::Bytes(from), Meta::default());
                    set(&batch, 0, key, Content::Bytes(to), meta);
                    assert_eq!(get(&batch, 0, key).as_ref(), Some(to));
                    let hash = batch.hash_key(key);
                    let mut guard = batch.lock(0, hash);
                    let pos = guard.find(hash, key).expect("there");
                    let expected = Meta {
                        deadline: deadline.map(|d| d.min((1 << 48) - 1)),
                        armed: if deadline.is_some() { 7 } else { 0 },
                        ..meta
                    };
                    assert_eq!(guard.entry(pos).meta(), expected);
                    let pos =
                        guard.set_meta(pos, Meta { deadline: Some(77), armed: 1, ..meta }).expect("space");
                    assert_eq!(guard.entry(pos).deadline(), Some(77));
                    let mut found = 0;
                    guard.for_each_candidate(hash.hash40(), &mut |at, e| {
                        found += usize::from(at == pos && e.armed() == 1);
                        false
                    });
                    assert_eq!(found, 1);
                    let pos = guard.set_meta(pos, Meta::default()).expect("space");
                    assert_eq!(guard.entry(pos).meta(), Meta::default());
                    if to.len() <= 1024 {
                        assert!(guard.value_mut(pos).is_none());
                        let bytes = guard.bytes_mut(pos).expect("packed");
                        bytes.fill(0xee);
                    } else {
                        assert!(guard.value_mut(pos).is_some() && guard.bytes_mut(pos).is_none());
                    }
                }
            }
        }
    }
    assert_eq!(batch.len(0), keys.len());
    for key in &keys {
        let hash = batch.hash_key(key);
        let mut guard = batch.lock(0, hash);
        let pos = guard.find(hash, key).expect("there");
        let (taken, _) = guard.take(pos);
        let mut bytes = Vec::new();
        let content = taken.into_content(&mut bytes);
        guard.insert(hash, key, content, Meta::default()).expect("space");
    }
    drop(batch);
    let batch = who.enter_exclusive();
    assert_eq!(batch.flush(0), keys.len());
    assert!(batch.is_empty(0));
}

#[test]
#[should_panic(expected = "a position is used while its key stands there")]
fn a_stale_position_is_a_panic() {
    let ks = keyspace();
    let mut who = ks.register();
    let batch = who.enter();
    let hash = batch.hash_key(b"k");
    let mut guard = batch.lock(0, hash);
    let pos = guard.insert(hash, b"k", Content::Bytes(b"v"), Meta::default()).expect("space");
    guard.remove(pos);
    guard.entry(pos);
}

#[test]
fn several_keys_share_locks_and_swap_exchanges() {
    let ks = keyspace();
    let mut who = ks.register();
    {
        let batch = who.enter();
        let keys: Vec<_> = (0..20_u16).map(|i| (i % 3, batch.hash_key(&i.to_le_bytes()))).collect();
        let mut set = LockSet::new();
        batch.lock_many(&keys, &mut set);
        for (i, &(db, hash)) in keys.iter().enumerate() {
            let key = (i as u16).to_le_bytes();
            set.guard(i).insert(hash, &key, Content::Bytes(&[db as u8]), Meta::default()).expect("space");
        }
        for (i, &(db, hash)) in keys.iter().enumerate() {
            let guard = set.guard_ref(i);
            let pos = guard.find(hash, &(i as u16).to_le_bytes()).expect("there");
            assert_eq!(guard.entry(pos).bytes(), Some(&[db as u8][..]));
        }
    }
    let batch = who.enter_exclusive();
    batch.swap(0, 5);
    assert_eq!((batch.len(0), batch.len(5), batch.len(1)), (0, 7, 7));
    assert_eq!(get(&batch, 5, &0_u16.to_le_bytes()), Some(vec![0]));
    batch.swap(1, 5);
    batch.swap(2, 2);
    assert_eq!(get(&batch, 1, &0_u16.to_le_bytes()), Some(vec![0]));
    assert_eq!(get(&batch, 5, &1_u16.to_le_bytes()), Some(vec![1]));
}

#[test]
fn random_keys_are_even_and_found_when_nearly_none_are_left() {
    let ks = keyspace();
    let mut who = ks.register_helper();
    let n = if cfg!(miri) { 300_usize } else { 3_000 };
    for i in 0..n {
        set(&who.enter(), 0, &i.to_le_bytes(), Content::Bytes(b""), Meta::default());
        settle(&ks, &mut who, 0, &mut KeepAll);
    }
    let rounds = if cfg!(miri) { 1_000 } else { 200_000 };
    let mut counts = vec![0_u32; n];
    for rnd in 0..rounds {
        let found = who.enter().random(0, rnd, &mut |e| {
            counts[usize::from_le_bytes(e.key().try_into().expect("8 bytes"))] += 1;
        });
        assert!(found);
    }
    if !cfg!(miri) {
        let mean = rounds as f64 / n as f64;
        let worst = counts
            .iter()
            .map(|&c| f64::from(c) / mean)
            .fold((9.0_f64, 0.0_f64), |a, x| (a.0.min(x), a.1.max(x)));
        assert!(worst.0 > 0.3 && worst.1 < 2.0, "{worst:?}");
    }
    for i in 1..n {
        assert!(del(&who.enter(), 0, &i.to_le_bytes()));
    }
    assert!(who.enter().random(0, 42, &mut |e| assert_eq!(e.key(), 0_usize.to_le_bytes())));
    assert!(del(&who.enter(), 0, &0_usize.to_le_bytes()));
    assert!(!who.enter().random(0, 42, &mut |_| panic!("none left")));
}

#[test]
fn no_space_is_an_error_that_changes_nothing() {
    let options = Options { reserve_bytes: 1, ..Options::default() };
    let ks = Keyspace::new(options).expect("a keyspace");
    let mut who = ks.register_helper();
    let mut n = 0_u32;
    loop {
        let batch = who.enter();
        let (key, hash) = (n.to_le_bytes(), batch.hash_key(&n.to_le_bytes()));
        let mut guard = batch.lock(0, hash);
        if guard.insert(hash, &key, Content::Bytes(&[5; 1000]), Meta::default()).is_err() {
            assert!(guard.find(hash, &key).is_none());
            break;
        }
        n += 1;
        assert!(n < 10_000);
    }
    assert!(n > 200, "{n}");
    assert_eq!(who.enter().len(0), n as usize);
    for i in 0..n {
        assert_eq!(get(&who.enter(), 0, &i.to_le_bytes()), Some(vec![5; 1000]));
        assert!(del(&who.enter(), 0, &i.to_le_bytes()));
    }
    settle(&ks, &mut who, 0, &mut KeepAll);
    set(&who.enter(), 0, b"again", Content::Bytes(&[6; 1000]), Meta::default());
}

/// What a handler's bug leaves behind: locks and gate are let go of, and what it had changed so far is whole.
#[test]
fn a_panic_lets_go_of_locks_and_gate() {
    let ks = keyspace();
    let mut who = ks.register();
    let meta = Meta::default();
    for i in 0..2000_u32 {
        set(&who.enter(), 0, &i.to_le_bytes(), Content::Bytes(b"before"), meta);
    }
    for exclusive in [false, true] {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let batch = if exclusive { who.enter_exclusive() } else { who.enter() };
            let named: Vec<_> = (0..8_u32).map(|i| (0, batch.hash_key(&i.to_le_bytes()))).collect();
            let mut locks = LockSet::new();
            batch.lock_many(&named, &mut locks);
            let guard = locks.guard(0);
            let pos = guard.find(named[0].1, &0_u32.to_le_bytes()).expect("there");
            drop(guard.replace(pos, named[0].1, Content::Bytes(b"half done"), meta).expect("space"));
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        // Another thread gets every lock and the gate.
        let other = Arc::clone(&ks);
        std::thread::spawn(move || {
            let mut who = other.register();
            assert_eq!(get(&who.enter(), 0, &0_u32.to_le_bytes()).as_deref(), Some(&b"half done"[..]));
            for i in 0..2000_u32 {
                set(&who.enter_exclusive(), 0, &i.to_le_bytes(), Content::Bytes(b"before"), meta);
            }
        })
        .join()
        .expect("nothing is locked");
    }
    assert_eq!(who.enter().len(0), 2000);
}

/// Tells nobody: it panics instead.
struct Mute;

impl Purge for Mute {
    fn enabled(&self) -> bool {
        true
    }
    fn expired(&mut self, _: DbId, _: EntryRef<'_>) {
        panic!("on purpose");
    }
}

#[test]
fn a_migration_outlives_who_hears_of_it() {
    let ks = keyspace();
    let mut who = ks.register_helper();
    for i in 0..600_u32 {
        let deadline = i.is_multiple_of(2).then_some(1000);
        set(&who.enter(), 0, &i.to_le_bytes(), Content::Bytes(b"v"), Meta { deadline, ..Meta::default() });
    }
    assert!(ks.force_resize(&mut who, 0, true));
    settle(&ks, &mut who, 2000, &mut Mute);
    let stats = who.enter().stats(0);
    assert_eq!((stats.state, stats.keys, stats.keys_purged), (State::Steady, 300, 300));
    for i in 0..600_u32 {
        assert_eq!(get(&who.enter(), 0, &i.to_le_bytes()).is_some(), i % 2 == 1);
    }
}

#[test]
fn a_walk_moves_everything_and_loses_nothing() {
    let keyspace = keyspace();
    let mut who = keyspace.register_helper();
    let count = if cfg!(miri) { 40 } else { 4000 };
    let key =
        |n: usize| format!("{}{n}", if n.is_multiple_of(7) { "long".repeat(80) } else { String::new() });
    let value = |n: usize| vec![n as u8; if n.is_multiple_of(3) { 3000 } else { 30 }];
    for n in 0..count {
        set(&who.enter(), (n % 2) as DbId * 3, key(n).as_bytes(), Content::Bytes(&value(n)), Meta::default());
    }
    while keyspace.maintain(&mut who, 1000, 0, &mut KeepAll) {}
    let mut renewal = Renewal::of_everything();
    let mut walk = Walk::default();
    let mut steps = 0;
    while renew::step(&who.enter(), &mut walk, &mut renewal) {
        steps += 1;
        if steps == 5 {
            // A walk is a position in hash space, whatever engines there are.
            keyspace.force_resize(&mut who, 0, true);
            while keyspace.maintain(&mut who, 1000, 0, &mut KeepAll) {}
        }
    }
    assert!(renewal.moved as usize > count / 3);
    for n in 0..count {
        assert_eq!(get(&who.enter(), (n % 2) as DbId * 3, key(n).as_bytes()), Some(value(n)), "{n}");
    }
}

#[test]
fn a_block_gives_back_what_its_entries_do_not_need() {
    let keyspace = keyspace();
    let mut who = keyspace.register_helper();
    let (count, stays) = (300, |n: usize| n.is_multiple_of(3));
    for n in 0..count {
        set(&who.enter(), 0, format!("{n}").as_bytes(), Content::Bytes(b"v"), Meta::default());
    }
    let full = who.enter().stats(0).bytes_tables;
    for n in (0..count).filter(|&n| !stays(n)) {
        del(&who.enter(), 0, format!("{n}").as_bytes());
    }
    let mut renewal = Renewal::new();
    let mut walk = Walk::default();
    while renew::step(&who.enter(), &mut walk, &mut renewal) {}
    assert!(who.enter().stats(0).bytes_tables < full);
    for n in 0..count {
        let found = get(&who.enter(), 0, format!("{n}").as_bytes());
        assert_eq!(found, stays(n).then(|| b"v".to_vec()), "{n}");
    }
}
