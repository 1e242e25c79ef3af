use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

fn list(elems: &[&str], limits: &Limits) -> List {
    let mut list = List::new();
    list.push_all(End::Tail, elems.iter().map(|e| e.as_bytes()), limits);
    list
}

fn texts(list: &List) -> Vec<Vec<u8>> {
    list.iter().map(|e| e.to_vec()).collect()
}

#[test]
fn a_list_is_a_listpack_up_to_one_node() {
    let limits = Limits::new(4);
    let mut l = list(&["a", "b", "c", "d"], &limits);
    assert_eq!(l.encoding(), "listpack");
    l.push(End::Head, b"e", &limits);
    assert_eq!(l.encoding(), "quicklist");
    assert_eq!(texts(&l), [b"e", b"a", b"b", b"c", b"d"]);
    // Back only when one node of at most half the size is left.
    l.drop_end(End::Tail, 2, &limits);
    assert_eq!((l.len(), l.encoding()), (3, "quicklist"));
    l.drop_end(End::Head, 1, &limits);
    assert_eq!((l.len(), l.encoding()), (2, "listpack"));
}

#[test]
fn the_negative_settings_are_sizes() {
    for (setting, bytes) in [(-1, 4096), (-2, 8192), (-3, 16384), (-4, 32768), (-5, 65536), (-99, 65536)] {
        let limits = Limits::new(setting);
        assert_eq!(limits.bytes, bytes);
        let mut l = List::new();
        l.push(End::Tail, &vec![b'x'; bytes - 7], &limits);
        assert_eq!(l.encoding(), "listpack", "{setting}");
        let mut l = List::new();
        l.push(End::Tail, &vec![b'x'; bytes - 6], &limits);
        assert_eq!(l.encoding(), "quicklist", "{setting}");
    }
    assert_eq!(Limits::new(0), Limits::new(1));
    assert_eq!(Limits::new(i64::MAX).count, 32767);
    assert_eq!(Limits::new(i64::MIN).bytes, 65536);
}

#[test]
fn a_large_element_stands_alone() {
    let limits = Limits::new(-1);
    let mut l = list(&["a", "b"], &limits);
    l.insert(1, &[b'L'; 10_000], &limits);
    l.push(End::Tail, b"c", &limits);
    assert_eq!(l.nodes().map(Listpack::len).collect::<Vec<_>>(), [1, 1, 2]);
    assert!(l.set(1, b"small", &limits));
    assert_eq!(texts(&l), [&b"a"[..], b"small", b"b", b"c"]);
}

#[test]
fn nodes_survive_a_way_out_and_in() {
    let limits = Limits::new(3);
    let l = list(&["1", "2", "3", "4", "5", "6", "7"], &limits);
    let copy = List::from_nodes(l.nodes().cloned(), &limits);
    assert_eq!(texts(&copy), texts(&l));
    assert_eq!(copy.encoding(), "quicklist");
    assert_eq!(List::from_nodes(l.nodes().take(1).cloned(), &limits).encoding(), "listpack");
}

#[test]
fn positions_count_from_either_end() {
    let limits = Limits::new(2);
    let l = list(&["a", "b", "a", "c", "a"], &limits);
    assert_eq!(l.positions(b"a", 1, usize::MAX, 0), [0, 2, 4]);
    assert_eq!(l.positions(b"a", -1, 2, 0), [4, 2]);
    assert_eq!(l.positions(b"a", 2, 1, 0), [2]);
    assert_eq!(l.positions(b"a", -2, 5, 3), [2]);
    assert!(l.positions(b"a", i64::MIN, 5, 3).is_empty());
}

#[derive(Clone, Debug)]
enum Op {
    Push(bool, Vec<u8>),
    Drop(bool, usize),
    Take(bool, usize),
    Insert(usize, Vec<u8>),
    Set(i64, Vec<u8>),
    Remove(i64, Vec<u8>),
    Trim(usize, usize),
}

fn elem() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0u8..6).prop_map(|n| n.to_string().into_bytes()),
        3 => "[a-d]{1,9}".prop_map(String::into_bytes),
        1 => (3000usize..9000).prop_map(|n| vec![b'L'; n]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (any::<bool>(), elem()).prop_map(|(e, t)| Op::Push(e, t)),
        2 => (any::<bool>(), 0usize..5).prop_map(|(e, n)| Op::Drop(e, n)),
        1 => (any::<bool>(), 0usize..60).prop_map(|(e, n)| Op::Take(e, n)),
        5 => (any::<usize>(), elem()).prop_map(|(i, t)| Op::Insert(i, t)),
        3 => (-40i64..40, elem()).prop_map(|(i, t)| Op::Set(i, t)),
        1 => (-3i64..3, elem()).prop_map(|(n, t)| Op::Remove(n, t)),
        1 => (0usize..4, 0usize..300).prop_map(|(s, n)| Op::Trim(s, n)),
    ]
}

fn remove_from(twin: &mut VecDeque<Vec<u8>>, count: i64, needle: &[u8]) -> usize {
    let mut hits: Vec<usize> = (0..twin.len()).filter(|&i| twin[i] == needle).collect();
    if count < 0 {
        hits.reverse();
    }
    if count != 0 {
        hits.truncate(count.unsigned_abs() as usize);
    }
    hits.sort_unstable();
    for &i in hits.iter().rev() {
        twin.remove(i);
    }
    hits.len()
}

fn apply(l: &mut List, twin: &mut VecDeque<Vec<u8>>, op: Op, limits: &Limits) -> Result<(), TestCaseError> {
    let n = twin.len();
    match op {
        Op::Push(true, t) => {
            l.push(End::Head, &t, limits);
            twin.push_front(t);
        }
        Op::Push(false, t) => {
            l.push(End::Tail, &t, limits);
            twin.push_back(t);
        }
        Op::Drop(head, count) => {
            l.drop_end(if head { End::Head } else { End::Tail }, count, limits);
            let count = count.min(n);
            twin.drain(if head { 0..count } else { n - count..n });
        }
        Op::Take(head, count) => {
            let (end, count) = (if head { End::Head } else { End::Tail }, count.min(n));
            let gone: Vec<_> = twin.drain(if head { 0..count } else { n - count..n }).collect();
            let taken = l.take_end(end, count);
            let at_once = taken.as_ref().map_or(0, List::len);
            let expected = if head { &gone[..at_once] } else { &gone[count - at_once..] };
            prop_assert!(taken.iter().flat_map(texts).eq(expected.iter().cloned()));
            l.drop_end(end, count - at_once, limits);
        }
        Op::Insert(i, t) => {
            l.insert(i % (n + 1), &t, limits);
            twin.insert(i % (n + 1), t);
        }
        Op::Set(i, t) => {
            let at = if i < 0 { (n as i64 + i) as usize } else { i as usize };
            prop_assert_eq!(l.set(i, &t, limits), at < n);
            if at < n {
                twin[at] = t;
            }
        }
        Op::Remove(count, t) => prop_assert_eq!(l.remove(count, &t, limits), remove_from(twin, count, &t)),
        Op::Trim(s, keep) => {
            l.trim(s, keep, limits);
            *twin = twin.drain(..).skip(s).take(keep).collect();
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]
    #[test]
    fn behaves_as_a_ring_of_strings(setting in prop_oneof![Just(1i64), Just(2), Just(7), Just(-1), Just(-2)],
                                    ops in prop::collection::vec(op(), 0..400)) {
        let limits = Limits::new(setting);
        let (mut l, mut twin) = (List::new(), VecDeque::new());
        let mut snapshots = Vec::new();
        for (i, op) in ops.into_iter().enumerate() {
            if i % 32 == 7 && let Some(snapshot) = l.snapshot() {
                snapshots.push((snapshot, twin.clone()));
            }
            apply(&mut l, &mut twin, op, &limits)?;
            prop_assert_eq!(l.len(), twin.len());
        }
        for (mut snapshot, mut twin) in snapshots {
            prop_assert!(texts(&snapshot).iter().eq(twin.iter()));
            apply(&mut snapshot, &mut twin, Op::Set(-1, b"x".to_vec()), &limits)?;
            apply(&mut snapshot, &mut twin, Op::Insert(3, b"x".to_vec()), &limits)?;
            prop_assert!(texts(&snapshot).iter().eq(twin.iter()));
        }
        prop_assert!(texts(&l).iter().eq(twin.iter()));
        prop_assert!(l.iter_rev().map(|e| e.to_vec()).eq(twin.iter().rev().cloned()));
        for i in 0..twin.len() {
            prop_assert!(l.get(i as i64).is_some_and(|e| e == twin[i][..]));
            prop_assert!(l.iter_rev_from(i).next().is_some_and(|e| e == twin[i][..]));
            prop_assert_eq!(l.iter_from(i).count(), twin.len() - i);
        }
        prop_assert!(l.get(twin.len() as i64).is_none());
        if let Repr::Quick(quick) = &l.0 {
            prop_assert_eq!(quick.nodes(), quick.packs().count());
            prop_assert!(quick.packs().all(|p| !p.is_empty()));
        }
    }
}
