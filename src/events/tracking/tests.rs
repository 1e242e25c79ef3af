//! The table against a plain map. Not in its file, which `tests/tracking_model.rs` compiles as well.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use super::table::{PART_SHIFT, Table};

/// Few different hashes, so that names share them.
fn hash(key: &[u8]) -> u64 {
    let few = u64::from(key[0]) % 3;
    (few << PART_SHIFT) | few
}

#[test]
fn agrees_with_a_plain_map() {
    let mut random = fastrand::Rng::with_seed(5);
    let table = Table::default();
    let mut twin: BTreeMap<Vec<u8>, BTreeSet<u64>> = BTreeMap::new();
    for _ in 0..20_000 {
        let key = vec![random.u8(0..40)];
        match random.u8(0..10) {
            0..6 => {
                let client = random.u64(1..5);
                table.insert(hash(&key), &key, client);
                twin.entry(key).or_default().insert(client);
            }
            6..9 => {
                let taken = table.take(hash(&key), &key).map(|h| h.into_iter().collect());
                assert_eq!(taken, twin.remove(&key));
            }
            9 if random.u8(..) < 20 => {
                table.retain(|client| client % 2 == 0);
                twin.values_mut().for_each(|clients| clients.retain(|client| client % 2 == 0));
                twin.retain(|_, clients| !clients.is_empty());
            }
            _ => {
                let taken = table.take_any(random.u64(..));
                assert_eq!(taken.is_some(), !twin.is_empty());
                if let Some((key, holders)) = taken {
                    assert_eq!(twin.remove(&*key), Some(holders.into_iter().collect()));
                }
            }
        }
        assert_eq!(table.len(), twin.len());
        assert_eq!(table.items(), twin.values().map(BTreeSet::len).sum::<usize>());
    }
    let all: usize = table.take_all().iter().map(IndexMap::len).sum();
    assert_eq!((all, table.len(), table.items()), (twin.len(), 0, 0));
}
