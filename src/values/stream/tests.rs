use super::*;
use proptest::prelude::*;

const SMALL: Limits = Limits { node_bytes: 4096, node_entries: 3 };

fn id(ms: u64) -> StreamId {
    StreamId { ms, seq: 0 }
}

fn stream(n: u64) -> Stream {
    let mut s = Stream::new();
    for i in 1..=n {
        assert!(s.append(id(i), &[b"f", i.to_string().as_bytes()], &SMALL));
    }
    s
}

fn ids(s: &Stream) -> Vec<u64> {
    s.range(StreamId::MIN, StreamId::MAX).map(|e| e.id.ms).collect()
}

fn content(e: &Entry<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    e.fields().map(|(n, v)| (n.to_vec(), v.to_vec())).collect()
}

#[test]
fn node_bytes_are_those_of_redis() {
    let mut s = Stream::new();
    s.append(StreamId { ms: 5, seq: 1 }, &[b"a", b"1", b"b", b"x"], &SMALL);
    s.append(StreamId { ms: 7, seq: 0 }, &[b"a", b"2", b"b", b"y"], &SMALL);
    s.append(StreamId { ms: 7, seq: 2 }, &[b"c", b"3"], &SMALL);
    let (master, pack) = s.nodes().next().expect("one node");
    assert_eq!(*master, StreamId { ms: 5, seq: 1 });
    let texts: Vec<_> = pack.iter().map(|e| String::from_utf8(e.to_vec()).expect("text")).collect();
    assert_eq!(
        texts.join(" "),
        "3 0 2 a b 0 2 0 0 1 x 5 2 2 -1 2 y 5 0 2 1 1 c 3 6",
        "master, two entries of its fields, one of its own"
    );
    assert_eq!(s.node_count(), 1);
    s.append(id(9), &[b"d", b"4"], &SMALL);
    assert_eq!(s.node_count(), 2);
}

#[test]
fn ids_only_grow() {
    let mut s = stream(3);
    assert!(!s.append(id(3), &[b"f", b"v"], &SMALL));
    assert_eq!(s.next_id(2), Some(StreamId { ms: 3, seq: 1 }));
    assert_eq!(s.next_id(9), Some(id(9)));
    assert_eq!((s.next_id_at(2), s.next_id_at(3)), (None, Some(StreamId { ms: 3, seq: 1 })));
    s.append(StreamId::MAX, &[b"f", b"v"], &SMALL);
    assert_eq!((s.next_id(1), s.next_id_at(u64::MAX)), (None, None));
}

#[test]
fn removed_entries_leave_counters() {
    let mut s = stream(7);
    assert!(s.remove(id(1)) && !s.remove(id(1)) && !s.remove(id(100)));
    assert_eq!((s.first_id(), s.len(), s.counters().max_deleted_id), (id(2), 6, id(1)));
    s.remove(id(3));
    s.remove(id(2));
    assert_eq!((s.node_count(), s.first_id()), (2, id(4)));
    for i in 4..=7 {
        s.remove(id(i));
    }
    assert_eq!((s.len(), s.first_id(), s.node_count(), s.nodes.pack_bytes), (0, StreamId::MIN, 0, 0));
    assert_eq!(s.counters(), Counters { last_id: id(7), max_deleted_id: id(7), entries_added: 7 });
}

#[test]
fn trimming_is_exact_or_at_node_boundaries() {
    let mut s = stream(10);
    assert_eq!(s.trim(Keep::Newest(5), true, 0).removed, 3);
    assert_eq!(s.trim(Keep::Newest(5), true, 0).removed, 0);
    assert_eq!(s.trim(Keep::Newest(5), false, 0).removed, 2);
    assert_eq!(ids(&s), [6, 7, 8, 9, 10]);
    assert_eq!(s.trim(Keep::From(id(8)), true, 0).removed, 1);
    assert_eq!(s.trim(Keep::From(id(8)), false, 0).removed, 1);
    assert_eq!((ids(&s), s.first_id()), (vec![8, 9, 10], id(8)));
    let mut s = stream(10);
    assert_eq!(s.trim(Keep::Newest(0), true, 7).removed, 6);
    assert_eq!(s.trim(Keep::Newest(0), false, 0).removed, 4);
    assert_eq!(s.counters().max_deleted_id, StreamId::MIN);
}

#[test]
fn the_lag_is_known_where_it_can_be() {
    let mut s = stream(5);
    s.create_group(b"g", Group::new(StreamId::MIN, None));
    assert_eq!(s.lag(s.group(b"g").expect("group")), Some(5));
    s.advance(b"g", id(1));
    s.advance(b"g", id(2));
    assert_eq!(s.group(b"g").map(|g| (g.entries_read, s.lag(g))), Some((Some(2), Some(3))));
    s.remove(id(4));
    assert_eq!(s.group(b"g").map(|g| s.lag(g)), Some(None));
    s.advance(b"g", id(3));
    s.advance(b"g", id(5));
    assert_eq!(s.group(b"g").map(|g| (g.entries_read, s.lag(g))), Some((Some(5), Some(0))));
    assert_eq!(Stream::new().lag(&Group::default()), Some(0));
}

#[test]
fn forged_nodes_are_refused() {
    let pack = |text: &str| {
        let mut pack = Listpack::new();
        text.split(' ').for_each(|t| pack.push_back(t.as_bytes()));
        pack
    };
    let load = |text: &str, len| {
        let counters = Counters { last_id: id(90), entries_added: 10, ..Counters::default() };
        Stream::from_nodes([(id(5), pack(text))].into_iter(), len, counters)
    };
    assert!(load("1 0 1 a 0 2 0 0 v 4", 1).is_ok());
    assert!(load("1 1 1 a 0 2 0 0 v 4 3 1 0 v 4", 1).is_ok());
    for (bad, len) in [
        ("1 0 1 a 0 2 0 0 v 4", 2),           // length
        ("2 0 1 a 0 2 0 0 v 4", 1),           // count
        ("1 0 1 a 1 2 0 0 v 4", 1),           // end of the master
        ("1 0 9 a 0 2 0 0 v 4", 1),           // names
        ("1 0 1 a 0 2 0 0 v 5", 1),           // back count
        ("1 0 1 a 0 7 0 0 v 4", 1),           // flags
        ("1 0 1 a 0 2 99 0 v 4", 1),          // id above the last
        ("1 0 1 a 0 2 -1 0 v 4", 1),          // id below the node's
        ("2 0 1 a 0 2 1 0 v 4 2 1 0 v 4", 2), // duplicate
        ("1 0 1 a 0 0 0 0 999999 a v 6", 1),  // fields
        ("1 0 1 a 0 2 0 0", 1),               // cut off
        ("0 0 1 a 0", 0),                     // no entry
        ("x 0 1 a 0 2 0 0 v 4", 1),
    ] {
        assert!(load(bad, len).is_err(), "{bad}");
    }
}

#[derive(Clone, Debug)]
enum Op {
    Append(u64, Vec<(String, String)>),
    Remove(usize),
    Trim(bool, bool, usize),
}

fn op() -> impl Strategy<Value = Op> {
    let fields = prop::collection::vec(("[ab]", "[0-9]{1,3}|[a-z]{0,90}"), 1..3);
    prop_oneof![
        10 => (0u64..3, fields).prop_map(|(gap, f)| Op::Append(gap, f)),
        2 => any::<usize>().prop_map(Op::Remove),
        1 => (any::<bool>(), any::<bool>(), 0usize..30).prop_map(|(a, b, n)| Op::Trim(a, b, n)),
    ]
}

type Twin = BTreeMap<StreamId, Vec<(Vec<u8>, Vec<u8>)>>;

fn apply(s: &mut Stream, twin: &mut Twin, op: Op) -> Result<(), TestCaseError> {
    match op {
        Op::Append(gap, fields) => {
            let new = s.next_id(s.counters().last_id.ms + gap).expect("not at the end");
            let flat: Vec<&[u8]> = fields.iter().flat_map(|(n, v)| [n.as_bytes(), v.as_bytes()]).collect();
            prop_assert!(s.append(new, &flat, &SMALL));
            twin.insert(new, fields.into_iter().map(|(n, v)| (n.into_bytes(), v.into_bytes())).collect());
        }
        Op::Remove(i) if !twin.is_empty() => {
            let victim = *twin.keys().nth(i % twin.len()).expect("in range");
            prop_assert!(s.remove(victim));
            twin.remove(&victim);
        }
        Op::Trim(by_id, approximate, n) => {
            let boundary = twin.keys().nth(twin.len().saturating_sub(n)).copied().unwrap_or(StreamId::MAX);
            let keep = if by_id { Keep::From(boundary) } else { Keep::Newest(n as u64) };
            let removed = s.trim(keep, approximate, 0).removed;
            for _ in 0..removed {
                prop_assert!(twin.pop_first().is_some_and(|(id, _)| id < boundary));
            }
            if !approximate {
                prop_assert!(twin.keys().next().is_none_or(|&id| id >= boundary));
            }
        }
        Op::Remove(_) => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn behaves_as_a_map_of_entries(ops in prop::collection::vec(op(), 0..120), from in 0u64..60, to in 0u64..60) {
        let (mut s, mut twin) = (Stream::new(), Twin::new());
        let mut snapshots = Vec::new();
        for (i, op) in ops.into_iter().enumerate() {
            if i % 16 == 7 {
                snapshots.push((s.snapshot(), twin.clone()));
            }
            apply(&mut s, &mut twin, op)?;
            prop_assert_eq!(s.len(), twin.len() as u64);
            prop_assert_eq!(s.first_id(), twin.keys().next().copied().unwrap_or_default());
        }
        for (mut snapshot, mut twin) in snapshots {
            let found: Twin = snapshot.range(StreamId::MIN, StreamId::MAX).map(|e| (e.id, content(&e))).collect();
            prop_assert_eq!(&found, &twin);
            apply(&mut snapshot, &mut twin, Op::Remove(from as usize))?;
            prop_assert_eq!(snapshot.len(), twin.len() as u64);
        }
        let expected = |from: StreamId, to: StreamId| -> Vec<_> {
            twin.iter().filter(|(id, _)| (from..=to).contains(*id)).map(|(id, f)| (*id, f.clone())).collect()
        };
        for (from, to) in [(StreamId::MIN, StreamId::MAX), (id(from), id(to))] {
            let mut wanted = expected(from, to);
            let found: Vec<_> = s.range(from, to).map(|e| (e.id, content(&e))).collect();
            prop_assert_eq!(&found, &wanted);
            prop_assert_eq!(s.count(from, to), wanted.len() as u64);
            wanted.reverse();
            let found: Vec<_> = s.range_rev(from, to).map(|e| (e.id, content(&e))).collect();
            prop_assert_eq!(&found, &wanted);
        }
        let nodes: Vec<_> = s.nodes().map(|(id, p)| (*id, p.clone())).collect();
        let copy = Stream::from_nodes(nodes.into_iter(), s.len(), s.counters()).expect("well formed");
        prop_assert_eq!((copy.len(), copy.first_id(), copy.nodes.pack_bytes), (s.len(), s.first_id(), s.nodes.pack_bytes));
    }
}
