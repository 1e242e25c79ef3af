use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

fn numbered(n: usize) -> Table {
    let mut table = Table::new();
    for i in 0..n {
        assert!(table.insert(format!("key:{i}").as_bytes(), &i.to_le_bytes(), false));
    }
    table
}

#[test]
fn grows_and_shrinks_one_bucket_at_a_time() {
    let mut table = Table::new();
    for i in 0..3000u32 {
        let before = table.buckets;
        table.insert(&i.to_le_bytes(), b"", false);
        assert!(table.buckets <= before + 1);
    }
    assert_eq!(table.buckets, 250);
    for i in 0..3000u32 {
        let before = table.buckets;
        assert!(table.remove(&i.to_le_bytes()));
        assert!(table.buckets + 1 >= before);
    }
    assert_eq!((table.len(), table.buckets, table.bytes), (0, 1, 0));
}

#[test]
fn a_scan_sees_everything_once_while_the_table_changes_size() {
    let mut table = numbered(5000);
    for (grow, rounds) in [(true, 40), (false, 40)] {
        let mut seen: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut cursor = 0;
        let mut extra = 0;
        loop {
            cursor = table.scan(cursor, 10, |e| *seen.entry(e.key.to_vec()).or_default() += 1);
            if cursor == 0 {
                break;
            }
            for _ in 0..rounds {
                extra += 1;
                let name = format!("extra:{extra}");
                if grow {
                    table.insert(name.as_bytes(), b"", false);
                } else {
                    table.remove(name.as_bytes());
                }
            }
        }
        for i in 0..5000 {
            assert_eq!(seen.get(format!("key:{i}").as_bytes()), Some(&1), "{i} grow={grow}");
        }
        assert!(seen.values().all(|&n| n == 1));
    }
}

#[test]
fn random_choice_is_uniform() {
    let table = numbered(100);
    let mut random = Random::new(1);
    let mut hits = HashMap::<Vec<u8>, u32>::new();
    for _ in 0..100_000 {
        *hits.entry(table.random(&mut random).expect("not empty").key.to_vec()).or_default() += 1;
    }
    assert_eq!(hits.len(), 100);
    // 1,000 expected, standard deviation 31.
    assert!(hits.values().all(|n| (840..1160).contains(n)), "{hits:?}");
}

#[test]
fn entries_are_found_by_their_hash() {
    let table = numbered(1000);
    for key in [&b"key:0"[..], b"key:999"] {
        let found: Vec<_> = table.with_hash(hash(key)).map(|e| e.key).collect();
        assert_eq!(found, [key]);
    }
    assert_eq!(table.with_hash(hash(b"none")).count(), 0);
}

#[test]
fn small_entries_cost_few_bytes() {
    let table = numbered(100_000);
    let content: usize = table.iter().map(|e| e.key.len() + e.payload.len()).sum();
    let overhead = (table.memory() - content) as f64 / 100_000.0;
    assert!(overhead < 8.0, "{overhead}");
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(0u8..6, 0..3),
        1 => (0u8..4, 30usize..600).prop_map(|(b, n)| vec![b; n]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn behaves_as_a_hash_map(ops in prop::collection::vec((0u8..3, bytes(), bytes(), any::<bool>()), 0..300)) {
        let mut table = Table::new();
        let mut twin = HashMap::new();
        for (op, key, payload, mark) in ops {
            match op {
                0 | 1 => {
                    let new = twin.insert(key.clone(), (payload.clone(), mark)).is_none();
                    prop_assert_eq!(table.insert(&key, &payload, mark), new);
                }
                _ => prop_assert_eq!(table.remove(&key), twin.remove(&key).is_some()),
            }
            prop_assert_eq!(table.len(), twin.len());
        }
        for (key, (payload, mark)) in &twin {
            prop_assert_eq!(table.get(key), Some(Entry { key, payload, mark: *mark }));
        }
        prop_assert_eq!(table.iter().count(), twin.len());
        prop_assert!(table.iter().all(|e| twin.contains_key(e.key)));
        let buckets: usize = table.segments.iter().flat_map(|s| s.iter()).map(|b| allocated(b.len())).sum();
        prop_assert_eq!(buckets, table.bytes);
        prop_assert_eq!(table.slab.used, twin.iter().map(|(k, (p, _))| usize::from(k.len() > 256) + usize::from(p.len() > 256)).sum::<usize>());
    }
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let mut table = Table::default();
    for i in 0..5000u32 {
        let value = if i % 50 == 0 { vec![7; 400] } else { i.to_le_bytes().to_vec() };
        table.insert(&i.to_le_bytes(), &value, false);
    }
    let mut snapshot = table.snapshot();
    let before = table.clone();
    for i in 0..5000u32 {
        match i % 3 {
            0 => assert!(table.remove(&i.to_le_bytes())),
            1 => assert!(!table.insert(&i.to_le_bytes(), b"changed", true)),
            _ => assert!(table.insert(&(i + 10_000).to_le_bytes(), b"new", false)),
        }
    }
    let all = |t: &Table| {
        let mut all: Vec<_> = t.iter().map(|e| (e.key.to_vec(), e.payload.to_vec(), e.mark)).collect();
        all.sort();
        all
    };
    assert_eq!(all(&snapshot), all(&before));
    assert_ne!(all(&table), all(&before));
    // And the other way round.
    let changed = all(&table);
    for i in 0..5000u32 {
        snapshot.remove(&i.to_le_bytes());
    }
    assert!(snapshot.is_empty());
    assert_eq!(all(&table), changed);
}
