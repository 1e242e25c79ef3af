//! Sizes of values: exact in a small database, close in a large one.

use super::*;
use crate::values::{Blob, List};

fn strings(batch: &Batch<'_>, most: usize, shift: u64) -> (Vec<(u64, u64)>, bool) {
    let sizes = batch.sizes(0, most, shift);
    let exact = sizes.is_exact();
    let found = sizes.by_type().find(|(kind, _)| *kind == "string").map(|(_, classes)| classes);
    (found.unwrap_or_default(), exact)
}

#[test]
fn each_value_is_in_the_class_of_its_size() {
    let ks = keyspace();
    let mut who = ks.register_helper();
    let batch = who.enter();
    assert_eq!(strings(&batch, 100, 0), (Vec::new(), true));
    for (key, size) in [("none", 0), ("one", 1), ("two", 2), ("three", 3), ("four", 4), ("seven", 7)] {
        set(&batch, 0, key.as_bytes(), Content::Bytes(&vec![b'x'; size]), Meta::default());
    }
    let long = Value::Str(Blob::from_vec(vec![0; 70_000]));
    set(&batch, 0, b"long", Content::Value(long), Meta::default());
    let list = List::default();
    set(&batch, 0, b"list", Content::Value(Value::List(list)), Meta::default());
    set(&batch, 1, b"elsewhere", Content::Bytes(b"xxxxxxxxxxxxxxxxxxxx"), Meta::default());
    assert_eq!(strings(&batch, 100, 0), (vec![(0, 1), (1, 1), (2, 2), (4, 2), (65_536, 1)], true));
    let sizes = batch.sizes(0, 100, 0);
    let lists = sizes.by_type().find(|(kind, _)| *kind == "list").map(|(_, classes)| classes);
    assert_eq!((lists, sizes.seen()), (Some(vec![(0, 1)]), 8));
}

#[test]
fn a_large_database_is_estimated_from_a_part_of_it() {
    let ks = keyspace();
    let mut who = ks.register_helper();
    let n = if cfg!(miri) { 700_u32 } else { 40_000 };
    for i in 0..n {
        // Three quarters have 10 bytes, the others 100.
        let value = vec![b'x'; if i % 4 == 0 { 100 } else { 10 }];
        set(&who.enter(), 0, format!("key:{i}").as_bytes(), Content::Bytes(&value), Meta::default());
        if i % 100 == 0 {
            settle(&ks, &mut who, 0, &mut KeepAll);
        }
    }
    let all = vec![(8, u64::from(n) * 3 / 4), (64, u64::from(n) / 4)];
    assert_eq!(strings(&who.enter(), n as usize, 0), (all.clone(), true));
    for shift in [0, 1, u64::MAX, 1 << 37] {
        let (found, exact) = strings(&who.enter(), n as usize / 10, shift);
        assert!(!exact);
        for ((class, about), (wanted, keys)) in found.iter().zip(&all) {
            assert_eq!(class, wanted);
            assert!(about.abs_diff(*keys) < keys / 5, "{found:?}, not {all:?}");
        }
        let sum: u64 = found.iter().map(|(_, keys)| keys).sum();
        assert!(sum.abs_diff(n.into()) <= 1, "{sum}");
    }
}

/// Until nothing waits to be freed.
fn tidy(keyspace: &Keyspace, who: &mut Participant) {
    while keyspace.maintain(who, 1000, 0, &mut KeepAll) || !keyspace.reclaim.trash.is_empty() {}
}

#[test]
fn what_an_emptied_database_held_out_of_line_leaves_at_once() {
    for (count, spread) in [(50, 1), (3_000, 3)] {
        let keyspace = keyspace();
        let mut who = keyspace.register_helper();
        for n in 0..count * spread {
            // Of the larger database only each third value is out of line.
            let size = if n % spread == 0 { 10_000 } else { 8 };
            let content = vec![b'x'; size];
            set(&who.enter(), 0, format!("{n}").as_bytes(), Content::Bytes(&content), Meta::default());
        }
        tidy(&keyspace, &mut who);
        keyspace.settle_freed();
        assert_eq!(keyspace.leaving_bytes(), 0);
        who.enter_exclusive().flush(0);
        let (least, most) = if spread == 1 { (10, 11) } else { (7, 14) };
        let (least, most) = (count * least * 1000, count * most * 1000);
        let leaving = keyspace.leaving_bytes();
        assert!((least..=most).contains(&leaving), "{leaving} of {least} to {most}");
        tidy(&keyspace, &mut who);
        assert_eq!(keyspace.leaving_bytes(), leaving, "freed, but nobody has reported that yet");
        keyspace.settle_freed();
        assert_eq!(keyspace.leaving_bytes(), 0);
    }
}
