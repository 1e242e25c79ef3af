//! Random operations, resizes and compaction against a `HashMap`.

use super::*;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

#[derive(Clone, Debug)]
enum Op {
    Set { key: u16, len: usize, ttl: Option<u64> },
    Meta { key: u16, ttl: Option<u64>, access: u16 },
    Del { key: u16 },
    Get { key: u16 },
    Resize { up: bool },
    Maintain,
    Step,
    Purge,
    ScanAll,
    Flush,
    Move { from: u16, to: u16 },
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..400_u16;
    let len = prop_oneof![8 => 0..120_usize, 2 => 1000..1100_usize];
    let ttl = prop_oneof![2 => Just(None), 1 => (0..2000_u64).prop_map(Some)];
    prop_oneof![
        30 => (key.clone(), len, ttl.clone()).prop_map(|(key, len, ttl)| Op::Set { key, len, ttl }),
        6 => (key.clone(), ttl, any::<u16>()).prop_map(|(key, ttl, access)| Op::Meta { key, ttl, access }),
        12 => key.clone().prop_map(|key| Op::Del { key }),
        10 => key.clone().prop_map(|key| Op::Get { key }),
        3 => any::<bool>().prop_map(|up| Op::Resize { up }),
        1 => Just(Op::Maintain),
        6 => Just(Op::Step),
        1 => Just(Op::Purge),
        2 => Just(Op::ScanAll),
        1 => Just(Op::Flush),
        4 => (key.clone(), key).prop_map(|(from, to)| Op::Move { from, to }),
    ]
}

/// Some keys are too long for their entry.
fn key_bytes(key: u16) -> Vec<u8> {
    if key.is_multiple_of(37) {
        format!("{key}:{}", "x".repeat(260)).into_bytes()
    } else {
        format!("k{key}").into_bytes()
    }
}

fn scan_all(batch: &Batch<'_>) -> Vec<Vec<u8>> {
    let (mut cursor, mut keys) = (0, Vec::new());
    loop {
        cursor = batch.scan(0, cursor, 10, &mut |e| keys.push(e.key().to_vec()));
        if cursor == 0 {
            return keys;
        }
    }
}

fn run(ops: Vec<Op>) {
    let ks = keyspace();
    let mut who = ks.register_helper();
    let mut twin: HashMap<Vec<u8>, (Vec<u8>, Option<u64>)> = HashMap::new();
    for (i, op) in ops.into_iter().enumerate() {
        match op {
            Op::Set { key, len, ttl } => {
                let (key, value) = (key_bytes(key), vec![i as u8; len]);
                let meta = Meta { deadline: ttl, ..Meta::default() };
                set(&who.enter(), 0, &key, Content::Bytes(&value), meta);
                twin.insert(key, (value, ttl));
            }
            Op::Meta { key, ttl, access } => {
                let key = key_bytes(key);
                let batch = who.enter();
                let hash = batch.hash_key(&key);
                let mut guard = batch.lock(0, hash);
                let pos = guard.find(hash, &key);
                assert_eq!(pos.is_some(), twin.contains_key(&key));
                if let Some(pos) = pos {
                    let pos = guard.set_meta(pos, Meta { deadline: ttl, access, ..Meta::default() });
                    assert_eq!(guard.entry(pos.expect("space")).access(), access);
                    twin.get_mut(&key).expect("there").1 = ttl;
                }
            }
            Op::Del { key } => {
                let key = key_bytes(key);
                assert_eq!(del(&who.enter(), 0, &key), twin.remove(&key).is_some());
            }
            Op::Get { key } => {
                let key = key_bytes(key);
                assert_eq!(get(&who.enter(), 0, &key).as_ref(), twin.get(&key).map(|v| &v.0));
            }
            Op::Resize { up } => {
                ks.force_resize(&mut who, 0, up);
            }
            Op::Maintain => settle(&ks, &mut who, 0, &mut KeepAll),
            Op::Step => {
                ks.maintain(&mut who, 0, 0, &mut KeepAll);
            }
            Op::Purge => {
                let mut purged = Collect::default();
                ks.purge(&mut who, 1000, &mut purged);
                for (_, key) in purged.0 {
                    let (_, ttl) = twin.remove(&key).expect("purged once");
                    assert!(ttl.is_some_and(|t| t <= 1000));
                }
            }
            Op::ScanAll => {
                let keys = scan_all(&who.enter());
                let set: HashSet<_> = keys.iter().cloned().collect();
                assert_eq!(set.len(), keys.len(), "a duplicate");
                assert_eq!(set, twin.keys().cloned().collect());
            }
            Op::Flush => {
                assert_eq!(who.enter_exclusive().flush(0), twin.len());
                twin.clear();
            }
            Op::Move { from, to } => rename(&who.enter(), &mut twin, &key_bytes(from), &key_bytes(to)),
        }
        let batch = who.enter();
        assert_eq!(batch.len(0), twin.len());
        assert_eq!(batch.expires(0), twin.values().filter(|v| v.1.is_some()).count());
    }
    for (key, value) in &twin {
        assert_eq!(get(&who.enter(), 0, key).as_ref(), Some(&value.0));
    }
}

fn rename(batch: &Batch<'_>, twin: &mut HashMap<Vec<u8>, (Vec<u8>, Option<u64>)>, from: &[u8], to: &[u8]) {
    let hashes = [(0, batch.hash_key(from)), (0, batch.hash_key(to))];
    let mut set = LockSet::new();
    batch.lock_many(&hashes, &mut set);
    let Some(pos) = set.guard(0).find(hashes[0].1, from) else {
        assert!(!twin.contains_key(from));
        return;
    };
    let (taken, meta) = set.guard(0).take(pos);
    if let Some(pos) = set.guard(1).find(hashes[1].1, to) {
        set.guard(1).remove(pos);
    }
    let mut bytes = Vec::new();
    let content = taken.into_content(&mut bytes);
    set.guard(1).insert(hashes[1].1, to, content, meta).expect("space");
    let value = twin.remove(from).expect("there");
    twin.insert(to.to_vec(), value);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 48 }, ..ProptestConfig::default() })]
    #[test]
    fn behaves_like_a_map(ops in proptest::collection::vec(op(), 1..if cfg!(miri) { 60 } else { 3000 })) {
        run(ops);
    }
}
