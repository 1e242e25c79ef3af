use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const SMALL: Limits = Limits { listpack_entries: 4, listpack_value: 6 };

#[test]
fn forms_change_where_redis_changes_them() {
    let mut h = Hash::new();
    for i in 0..4 {
        assert!(h.set(format!("f{i}").as_bytes(), b"1", &SMALL));
    }
    assert!(!h.set(b"f0", b"2", &SMALL));
    assert_eq!(h.encoding(), "listpack");
    h.set(b"f4", b"1", &SMALL);
    assert_eq!(h.encoding(), "hashtable");
    let mut h = Hash::new();
    h.set(b"f", b"1234567", &SMALL);
    assert_eq!(h.encoding(), "hashtable");
    let mut h = Hash::new();
    h.expect(5, [].into_iter(), &SMALL);
    assert_eq!(h.encoding(), "hashtable");
}

#[test]
fn fields_expire_in_the_order_of_their_deadlines() {
    let mut h = Hash::new();
    for (name, at) in [("a", 30), ("b", 10), ("c", 20), ("d", 10)] {
        h.set_with(name.as_bytes(), b"v", Deadline::At(at), &SMALL);
    }
    h.set(b"stays", b"v", &SMALL);
    assert_eq!((h.next_deadline(), h.deadlines()), (Some(10), 4));
    assert_eq!(h.expire(10, 100, |_| unreachable!()), 0);
    let mut gone = Vec::new();
    assert_eq!(h.expire(21, 100, |f| gone.push((f.deadline, f.name.to_vec()))), 3);
    assert!(gone[..2].iter().all(|g| g.0 == Some(10)) && gone[2] == (Some(20), b"c".to_vec()));
    assert_eq!((h.len(), h.next_deadline()), (2, Some(30)));
}

#[test]
fn a_write_keeps_or_clears_the_deadline_as_told() {
    let mut h = Hash::new();
    h.set(b"f", b"1", &SMALL);
    assert!(h.set_deadline(b"f", Some(5)) && !h.set_deadline(b"g", Some(5)));
    h.set_with(b"f", b"2", Deadline::Keep, &SMALL);
    assert_eq!(h.field(b"f").map(|f| (f.value.to_vec(), f.deadline)), Some((b"2".to_vec(), Some(5))));
    h.set(b"f", b"3", &SMALL);
    assert_eq!((h.next_deadline(), h.deadlines()), (None, 0));
    h.set_deadline(b"f", Some(6));
    assert!(h.set_deadline(b"f", None));
    assert_eq!(h.next_deadline(), None);
}

#[test]
fn hidden_fields_are_seen_by_nobody_and_stay_until_they_expire() {
    let mut h = Hash::new();
    for i in 0..20u64 {
        h.set_with(format!("f{i}").as_bytes(), b"v", Deadline::At(100 + i), &SMALL);
    }
    h.set(b"stays", b"v", &SMALL);
    h.hide_before(110);
    assert!(h.hides_any());
    assert_eq!((h.len(), h.shown(), h.iter().count()), (21, 11, 11));
    assert!(!h.contains(b"f9") && h.get(b"f9").is_none() && h.contains(b"f10"));
    let mut scanned = 0;
    assert_eq!(h.scan(0, 1000, |_| scanned += 1), 0);
    assert_eq!(scanned, 11);
    let mut random = Random::new(1);
    for _ in 0..200 {
        assert!(h.random(&mut random).is_some_and(|f| f.deadline.is_none_or(|at| at >= 110)));
    }
    for count in [1, 5, 11, 30] {
        let mut seen = HashSet::new();
        h.sample(count, &mut random, |f| assert!(seen.insert(f.name.to_vec())));
        assert_eq!(seen.len(), count.min(11));
    }
    assert!(!h.remove(b"f3") && !h.set_deadline(b"f3", None), "absent to writers, too");
    assert!(h.set_with(b"f4", b"new", Deadline::Keep, &SMALL), "and new");
    assert_eq!(h.field(b"f4").map(|f| (f.value.to_vec(), f.deadline)), Some((b"new".to_vec(), None)));
    assert_eq!(h.expire(110, usize::MAX, |_| ()), 9);
    h.hide_before(0);
    assert_eq!((h.len(), h.shown(), h.hides_any()), (12, 12, false));
    h.hide_before(1000);
    assert_eq!(h.random(&mut random).map(|f| f.deadline), Some(None));
}

#[test]
fn the_tick_stays_with_the_deadlines() {
    let mut h = Hash::new();
    h.set(b"f", b"v", &SMALL);
    h.set_armed(None);
    h.set_deadline(b"f", Some(7));
    h.set_armed(Some(7));
    assert_eq!((h.armed(), h.next_deadline()), (Some(7), Some(7)));
    h.set(b"f", b"v", &SMALL);
    assert_eq!((h.armed(), h.next_deadline()), (Some(7), None), "until its owner has seen it");
    h.set_armed(None);
    assert_eq!((h.armed(), h.deadlines()), (None, 0));
}

#[test]
fn a_forged_listpack_is_refused() {
    let pack = |elems: &[&str]| {
        let mut pack = Listpack::new();
        elems.iter().for_each(|e| pack.push_back(e.as_bytes()));
        pack
    };
    assert!(Hash::from_listpack(pack(&["a", "1", "b", "2"])).is_ok());
    assert!(Hash::from_listpack(pack(&["a", "1", "b"])).is_err());
    assert!(Hash::from_listpack(pack(&["a", "1", "a", "2"])).is_err());
}

proptest! {
    #[test]
    fn behaves_as_a_map_with_deadlines(ops in prop::collection::vec((0u8..8, "[a-h]", "[0-9]{0,8}", 0u64..50), 0..120)) {
        let mut h = Hash::new();
        let mut twin: BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)> = BTreeMap::new();
        for (op, name, value, at) in ops {
            let (name, value) = (name.into_bytes(), value.into_bytes());
            let old = twin.get(&name).and_then(|f| f.1);
            match op {
                0..3 => prop_assert_eq!(h.set(&name, &value, &SMALL), twin.insert(name, (value, None)).is_none()),
                3 => prop_assert_eq!(h.set_with(&name, &value, Deadline::Keep, &SMALL), twin.insert(name, (value, old)).is_none()),
                4 => prop_assert_eq!(h.set_with(&name, &value, Deadline::At(at), &SMALL), twin.insert(name, (value, Some(at))).is_none()),
                5 => prop_assert_eq!(h.remove(&name), twin.remove(&name).is_some()),
                6 => prop_assert_eq!(h.set_deadline(&name, Some(at)), twin.get_mut(&name).map(|f| f.1 = Some(at)).is_some()),
                _ => {
                    let before = twin.len();
                    twin.retain(|_, f| f.1.is_none_or(|d| d >= at / 4));
                    prop_assert_eq!(h.expire(at / 4, usize::MAX, |_| ()), before - twin.len());
                }
            }
            prop_assert_eq!(h.len(), twin.len());
            prop_assert_eq!(h.next_deadline(), twin.values().filter_map(|f| f.1).min());
        }
        let all: BTreeMap<_, _> = h.iter().map(|f| (f.name.to_vec(), (f.value.to_vec(), f.deadline))).collect();
        prop_assert_eq!(&all, &twin);
        for (name, (value, deadline)) in &twin {
            let f = h.field(name).expect("there");
            prop_assert_eq!((f.value.to_vec(), f.deadline), (value.clone(), *deadline));
        }
    }
}
