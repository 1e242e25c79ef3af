use super::fuzz::content;
use super::payload::seal;
use super::*;
use crate::values::hash::Deadline;
use crate::values::packed::{Elem, Listpack};
use crate::values::sorted_set::Score;
use crate::values::stream::{Group, StreamId};
use crate::values::{Hash, List, Set, SortedSet, Stream, Value, list};
use proptest::prelude::*;

const LIMITS: fn() -> Limits = Limits::default;

fn of(value: Value) -> Restored {
    Restored::Value(value)
}

fn written(value: &Restored, compress: bool) -> Vec<u8> {
    match value {
        Restored::Text(text) => dump(Plain::Text(text), compress),
        Restored::Value(value) => dump(Plain::Value(value), compress),
    }
}

/// Writes and reads a value; what comes back is the same in content and form.
fn round(value: &Restored) -> Result<Restored, TestCaseError> {
    let mut last = None;
    for compress in [true, false] {
        let payload = written(value, compress);
        let back = restore(&payload, &LIMITS()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(content(value), content(&back));
        if let (Restored::Value(a), Restored::Value(b)) = (value, &back) {
            prop_assert_eq!(a.encoding(), b.encoding());
        }
        last = Some(back);
    }
    last.ok_or(TestCaseError::fail("no form"))
}

/// Reads a value given by its bytes.
fn read(value: &[u8], version: u16) -> Result<Vec<Vec<u8>>, Error> {
    restore(&seal(value.to_vec(), version), &LIMITS()).map(|v| content(&v))
}

fn texts(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|t| t.as_bytes().to_vec()).collect()
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        (-300i64..300).prop_map(|n| n.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..80),
        (any::<u8>(), 60usize..200).prop_map(|(b, n)| vec![b; n]),
    ]
}

fn score() -> impl Strategy<Value = Score> {
    let number = prop_oneof![
        any::<f64>(),
        (-1000i64..1000).prop_map(|n| n as f64),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(-0.0)
    ];
    number.prop_filter_map("NaN is no score", Score::new)
}

fn stream(ops: Vec<(u8, u64, Vec<u8>)>) -> Stream {
    let limits = crate::values::stream::Limits { node_bytes: 300, node_entries: 5 };
    let mut stream = Stream::new();
    let mut id = StreamId { ms: 1, seq: 0 };
    for name in [&b"g"[..], b"h"] {
        stream.create_group(name, Group::new(StreamId::MIN, Some(0)));
    }
    for (op, n, text) in ops {
        match op {
            0..6 => {
                id = StreamId { ms: id.ms + n % 3, seq: id.seq + 1 };
                let mut fields: Vec<&[u8]> = vec![b"a", &text, b"b", b"2"];
                if n % 5 == 0 {
                    fields.truncate(2);
                }
                stream.append(id, &fields, &limits);
            }
            6 => drop(stream.remove(StreamId { ms: 1 + n % 20, seq: n % 40 })),
            _ => {
                let group = stream.group_mut(if n % 2 == 0 { b"g" } else { b"h" }).expect("made above");
                group.create_consumer(&[b'c', (n % 3) as u8], n);
                group.deliver(id, &[b'c', (n % 3) as u8], n, n % 4);
                if let Some(consumer) = group.consumer_mut(&[b'c', (n % 3) as u8]) {
                    consumer.active_ms = (n % 2 == 0).then_some(n);
                }
            }
        }
    }
    stream
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 48 }))]

    #[test]
    fn strings_come_back(text in text()) {
        round(&Restored::Text(text))?;
    }

    #[test]
    fn lists_come_back(items in prop::collection::vec(text(), 1..200), size in prop_oneof![Just(-2i64), Just(3)], large in any::<bool>()) {
        let mut value = List::new();
        let limits = list::Limits::new(size);
        value.push_all(list::End::Tail, items.iter().map(Vec::as_slice), &limits);
        if large {
            value.push(list::End::Head, &vec![7; 20_000], &limits);
        }
        let value = of(Value::List(value));
        // The form follows the settings of the reader, so only the content is compared here.
        let back = restore(&written(&value, true), &LIMITS()).expect("readable");
        prop_assert_eq!(content(&value), content(&back));
    }

    #[test]
    fn sets_come_back(items in prop::collection::btree_set(text(), 1..300), ints in prop::collection::btree_set(any::<i64>(), 1..600)) {
        let limits = LIMITS().set;
        let texts: Vec<Vec<u8>> = items.into_iter().collect();
        let ints: Vec<Vec<u8>> = ints.into_iter().map(|n| n.to_string().into_bytes()).collect();
        for members in [texts, ints] {
            let mut value = Set::for_member(&members[0], 1, &limits);
            members.iter().for_each(|m| { value.insert(m, &limits); });
            round(&of(Value::Set(value)))?;
        }
    }

    #[test]
    fn hashes_come_back(fields in prop::collection::btree_map(text(), (text(), prop::option::of(0u64..1 << 47)), 1..200), any in any::<bool>()) {
        let mut value = Hash::new();
        for (name, (text, at)) in fields {
            let at = at.filter(|_| any).map_or(Deadline::Clear, Deadline::At);
            value.set_with(&name, &text, at, &LIMITS().hash);
        }
        let payload = dump(Plain::Value(&Value::Hash(value.clone())), true);
        let version = u16::from_le_bytes([payload[payload.len() - 10], payload[payload.len() - 9]]);
        prop_assert_eq!(version, if value.next_deadline().is_some() { 12 } else { 11 });
        round(&of(Value::Hash(value)))?;
    }

    #[test]
    fn sorted_sets_come_back(members in prop::collection::btree_map(text(), score(), 1..200)) {
        let mut value = SortedSet::new();
        for (member, score) in members {
            value.insert(&member, score, &LIMITS().zset);
        }
        round(&of(Value::ZSet(value)))?;
    }

    #[test]
    fn streams_come_back(ops in prop::collection::vec((0u8..9, 0u64..1000, prop::collection::vec(any::<u8>(), 0..40)), 0..80)) {
        round(&of(Value::Stream(Box::new(stream(ops)))))?;
    }

    /// Bytes changed on their way, with a checksum that is right again.
    #[test]
    fn changed_payloads_are_refused_or_mean_something(
        ops in prop::collection::vec((0u8..9, 0u64..1000, prop::collection::vec(any::<u8>(), 0..40)), 0..30),
        items in prop::collection::btree_map(text(), score(), 1..20),
        changes in prop::collection::vec((any::<u32>(), any::<u8>()), 1..8),
        kind in 0u8..6,
    ) {
        let mut zset = SortedSet::new();
        let mut hash = Hash::new();
        let mut list = List::new();
        let mut set = Set::default();
        for (item, score) in &items {
            zset.insert(item, *score, &LIMITS().zset);
            hash.set(item, b"12345", &LIMITS().hash);
            list.push(list::End::Tail, item, &LIMITS().list);
            set.insert(item, &LIMITS().set);
        }
        let value = match kind {
            0 => Value::ZSet(zset),
            1 => Value::Hash(hash),
            2 => Value::List(list),
            3 => Value::Set(set),
            4 => {
                let name = hash.iter().next().expect("one").name.to_vec();
                hash.set_deadline(&name, Some(77));
                Value::Hash(hash)
            }
            _ => Value::Stream(Box::new(stream(ops))),
        };
        let mut out = Writer::new(false);
        encode(&mut out, Plain::Value(&value));
        let mut bytes = out.into_bytes();
        for (at, to) in changes {
            let at = at as usize % bytes.len();
            bytes[at] = to;
        }
        bytes.insert(0, 0);
        fuzz_one(&bytes);
    }

    #[test]
    fn any_bytes_are_refused_or_mean_something(bytes in prop::collection::vec(any::<u8>(), 0..200), form in 0u8..26) {
        let mut data = vec![bytes.first().copied().unwrap_or(0), form];
        data.extend(bytes);
        fuzz_one(&data);
    }
}

#[test]
fn the_footer_is_that_of_redis() {
    // DUMP of the string "hello" by Redis 7.0.15.
    let payload = b"\x00\x05hello\n\x00cr\xdfve4 \n";
    assert_eq!(seal(b"\x00\x05hello".to_vec(), 10), payload);
    assert!(matches!(restore(payload, &LIMITS()), Ok(Restored::Text(text)) if text == b"hello"));
    for i in 0..payload.len() {
        let mut wrong = payload.to_vec();
        wrong[i] ^= 1;
        assert_eq!(restore(&wrong, &LIMITS()).err(), Some(Error::Footer), "byte {i}");
        assert_eq!(restore(&payload[..i], &LIMITS()).err(), Some(Error::Footer), "length {i}");
    }
    for version in [13, 79, 81, u16::MAX] {
        assert_eq!(read(b"\x00\x05hello", version), Err(Error::Footer), "{version}");
    }
}

#[test]
fn a_payload_is_written_in_version_11() {
    let payload = dump(Plain::Text(b"12"), true);
    assert_eq!(payload[..4], *b"\x00\xc0\x0c\x0b");
    assert_eq!(read(b"\x00\xc2\x00\x00\x00\x80", 11), Ok(texts(&["-2147483648"])));
    assert_eq!(read(b"\x00\xc1\xff\x7f", 11), Ok(texts(&["32767"])));
    assert_eq!(read(b"\x00\x80\x00\x00\x00\x01x", 11), Ok(texts(&["x"])));
    assert_eq!(read(b"\x00\x81\x00\x00\x00\x00\x00\x00\x00\x01x", 11), Ok(texts(&["x"])));
}

/// Values of every type and form, as small as the form allows.
fn of_every_form() -> Vec<Value> {
    let long = [b'l'; 100];
    let (mut list, mut set, mut zset) = (List::new(), Set::default(), SortedSet::new());
    let (mut hash, mut timed) = (Hash::new(), Hash::new());
    let ops = (0..40u64).map(|n| ((n % 9) as u8, n, vec![b'f'; n as usize % 12])).collect();
    let mut values = vec![Value::Stream(Box::new(stream(ops)))];
    let mut ints = Set::for_member(b"1", 1, &LIMITS().set);
    for n in 0..5u8 {
        let name = [b'm', n];
        list.push(list::End::Tail, &name, &list::Limits::new(2));
        set.insert(&name, &LIMITS().set);
        ints.insert((1000 * i64::from(n)).to_string().as_bytes(), &LIMITS().set);
        zset.insert(&name, Score::new(f64::from(n) / 4.0).expect("a number"), &LIMITS().zset);
        hash.set(&name, b"12345", &LIMITS().hash);
        let deadline = if n % 2 == 0 { Deadline::At(1 << (8 * n)) } else { Deadline::Clear };
        timed.set_with(&name, b"value", deadline, &LIMITS().hash);
    }
    let packed = [Value::List(list), Value::Set(set), Value::ZSet(zset), Value::Hash(hash)];
    for mut value in packed {
        values.push(value.clone());
        match &mut value {
            Value::List(list) => list.push(list::End::Head, &long, &list::Limits::new(2)),
            Value::Set(set) => {
                set.insert(&long, &LIMITS().set);
            }
            Value::ZSet(zset) => {
                zset.insert(&long, Score::new(-0.5).expect("a number"), &LIMITS().zset);
            }
            Value::Hash(hash) => {
                hash.set(b"long", &long, &LIMITS().hash);
            }
            _ => unreachable!("no other was made"),
        }
        values.push(value);
    }
    values.extend([Value::Set(ints), Value::Hash(timed)]);
    values
}

/// A value that was cut off, in an envelope that says nothing of it.
#[test]
fn every_prefix_of_a_value_is_refused() {
    let text = [b'x'; 70];
    let values = of_every_form();
    let plain = values.iter().map(Plain::Value).chain([Plain::Text(&text), Plain::Text(b"-70000")]);
    for (n, value) in plain.enumerate() {
        for compress in [true, false] {
            let mut out = Writer::new(compress);
            encode(&mut out, value);
            let whole = out.into_bytes();
            assert!(read(&whole, 12).is_ok(), "value {n}");
            for len in 0..whole.len() {
                let cut = read(&whole[..len], 12);
                assert!(matches!(cut, Err(Error::Value { .. })), "value {n}, {len} bytes: {cut:?}");
            }
            let more = read(&[&whole[..], b"\0"].concat(), 12);
            assert!(matches!(more, Err(Error::Value { .. })), "value {n} and a byte: {more:?}");
        }
    }
}

#[test]
fn announced_sizes_reserve_nothing() {
    let huge: [&[u8]; 9] = [
        b"\x00\x81\x00\x00\x01\x00\x00\x00\x00\x00x",
        b"\x00\xc3\x02\x81\x00\x00\x01\x00\x00\x00\x00\x00\x00a",
        b"\x01\x81\x00\x00\x01\x00\x00\x00\x00\x00\x01a",
        b"\x02\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a",
        b"\x03\x80\xff\xff\xff\xff\x01a\x011",
        b"\x04\x80\xff\xff\xff\xff\x01a\x01b",
        b"\x12\x81\x00\x00\x01\x00\x00\x00\x00\x00\x02\x01a",
        b"\x15\x81\x00\x00\x01\x00\x00\x00\x00\x00",
        b"\x0b\x0c\x08\x00\x00\x00\xff\xff\xff\xff\x01\x00\x00\x00",
    ];
    for bytes in huge {
        assert!(matches!(read(bytes, 11), Err(Error::Value { .. })), "{bytes:x?}");
    }
}

#[test]
fn forms_of_older_servers() {
    // Bytes as Redis 2 to 6 wrote them.
    assert_eq!(read(b"\x01\x02\x01a\xc0\x05", 6), Ok(texts(&["a", "5"])));
    assert_eq!(read(b"\x02\x02\x01a\x01b", 6), Ok(texts(&["a", "b"])));
    assert_eq!(read(b"\x04\x01\x01f\x01v", 6), Ok(texts(&["[102] [118] None"])));
    assert_eq!(
        read(b"\x03\x03\x01a\x031.5\x01b\xfe\x01c\xff", 6),
        Ok(texts(&["[97] 1.5", "[98] inf", "[99] -inf"]))
    );
    // Ziplist: "a", 5, -300, "bcd".
    let ziplist = b"\x19\0\0\0\x13\0\0\0\x04\0\0\x01a\x03\xf6\x02\xc0\xd4\xfe\x04\x03bcd\xff";
    let with = |form: u8, prefix: &[u8], body: &[u8]| {
        let mut bytes = vec![form];
        bytes.extend_from_slice(prefix);
        bytes.push(body.len() as u8);
        bytes.extend_from_slice(body);
        bytes
    };
    assert_eq!(read(&with(10, b"", ziplist), 6), Ok(texts(&["a", "5", "-300", "bcd"])));
    assert_eq!(read(&with(14, b"\x01", ziplist), 6), Ok(texts(&["a", "5", "-300", "bcd"])));
    assert_eq!(read(&with(13, b"", ziplist), 6).map(|f| f.len()), Ok(2));
    let scores = b"\x10\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf6\xff";
    assert_eq!(read(&with(12, b"", scores), 6), Ok(texts(&["[97] 5"])));
    let zipmap = b"\x02\x01a\x011\x00\x01b\x02\x0122x\xff";
    assert!(read(&with(9, b"", zipmap), 6).is_err());
    let zipmap = b"\x02\x01a\x01\x001\x01b\x02\x0122x\xff";
    assert_eq!(read(&with(9, b"", zipmap), 6), Ok(texts(&["[97] [49] None", "[98] [50, 50] None"])));
    // A length that is spelled longer than need be.
    let zipmap = b"\x01\xfe\x01\0\0\0a\x01\x001\xff";
    assert!(read(&with(9, b"", zipmap), 6).is_err());
    let bad = b"\x19\0\0\0\x12\0\0\0\x04\0\0\x01a\x03\xf6\x02\xc0\xd4\xfe\x04\x03bcd\xff";
    assert!(read(&with(10, b"", bad), 6).is_err(), "the tail is not the last entry");
}

#[test]
fn deadlines_of_fields_of_all_servers() {
    let want = || Ok(texts(&["[97] [49] Some(1000)", "[98] [50] None"]));
    let at = 1000u64.to_le_bytes();
    let join = |parts: &[&[u8]]| parts.concat();
    // Valkey 9; Redis 7.4 and its candidates, as tables and as listpacks.
    assert_eq!(read(&join(&[b"\x16\x02\x01a\x011", &at, b"\x01b\x012", &[255; 8]]), 80), want());
    assert_eq!(read(b"\x16\x02\x43\xe8\x01a\x011\x00\x01b\x012", 12), want());
    assert_eq!(read(&join(&[b"\x18", &at, b"\x02\x01\x01a\x011\x00\x01b\x012"]), 12), want());
    let mut pack = Listpack::new();
    for elem in ["a", "1", "1000", "b", "2", "0"] {
        pack.push_back(elem.as_bytes());
    }
    let pack = join(&[&[pack.to_bytes().len() as u8], &pack.to_bytes()]);
    assert_eq!(read(&join(&[b"\x19", &at, &pack]), 12), want());
    assert_eq!(read(&join(&[b"\x17", &pack]), 12), want());
    assert!(read(&join(&[b"\x16\x01\x01a\x011", &[254, 255, 255, 255, 255, 255, 255, 255]]), 80).is_err());
}

#[test]
fn empty_and_doubled_values_are_refused() {
    for bytes in [
        &b"\x01\x00"[..],
        b"\x02\x00",
        b"\x04\x00",
        b"\x05\x00",
        b"\x12\x00",
        b"\x12\x01\x02\x07\x07\0\0\0\0\0\xff",
        b"\x10\x07\x07\0\0\0\0\0\xff",
        b"\x0b\x08\x02\0\0\0\0\0\0\0",
        b"\x02\x02\x01a\x01a",
        b"\x04\x02\x01a\x01b\x01a\x01c",
        b"\x05\x02\x01a\0\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\0",
        b"\x05\x01\x01a\0\0\0\0\0\0\xf8\x7f",
        b"\x03\x01\x01a\xfd",
        b"\x03\x01\x01a\x03nan",
        b"\x12\x01\x03\x01a",
        b"\x06",
        b"\x07",
        b"\xff",
        b"",
        b"\x00\x01ab",
    ] {
        assert!(matches!(read(bytes, 11), Err(Error::Value { .. })), "{bytes:x?}");
    }
}

/// A stream with one pending entry, its bytes by hand.
fn forged(f: impl FnOnce(&mut Forged)) -> Result<Vec<Vec<u8>>, Error> {
    let mut forged = Forged::default();
    f(&mut forged);
    let mut source = Stream::new();
    source.append(StreamId { ms: 5, seq: 0 }, &[b"f", b"v"], &crate::values::stream::Limits::default());
    let (master, pack) = source.nodes().next().expect("one node");
    let mut out = Writer::new(false);
    out.byte(kind::STREAM_3);
    out.count(1);
    out.string(&master.to_bytes());
    out.string(&pack.to_bytes());
    out.length(forged.len);
    for n in [forged.last, 0, 5, 0, 0, 0, forged.added] {
        out.length(n);
    }
    out.count(1);
    out.string(b"g");
    for n in [5, 0, 1] {
        out.length(n);
    }
    out.count(forged.pending);
    for _ in 0..forged.pending {
        out.raw(&StreamId { ms: 5, seq: 0 }.to_bytes());
        out.fixed(9);
        out.length(1);
    }
    out.count(forged.consumers.len());
    for (name, ids) in &forged.consumers {
        out.string(name.as_bytes());
        out.fixed(9);
        out.fixed(9);
        out.count(ids.len());
        ids.iter().for_each(|ms| out.raw(&StreamId { ms: *ms, seq: 0 }.to_bytes()));
    }
    read(&out.into_bytes(), 11)
}

struct Forged {
    len: u64,
    last: u64,
    added: u64,
    pending: usize,
    consumers: Vec<(&'static str, Vec<u64>)>,
}

impl Default for Forged {
    fn default() -> Self {
        Forged { len: 1, last: 5, added: 1, pending: 1, consumers: vec![("c", vec![5])] }
    }
}

#[test]
fn streams_that_contradict_themselves_are_refused() {
    assert!(forged(|_| ()).is_ok());
    assert!(forged(|f| f.len = 2).is_err());
    assert!(forged(|f| f.last = 4).is_err());
    assert!(forged(|f| f.added = 0).is_err());
    assert!(forged(|f| f.pending = 2).is_err());
    assert!(forged(|f| f.pending = 0).is_err());
    assert!(forged(|f| f.consumers = vec![]).is_err());
    assert!(forged(|f| f.consumers = vec![("c", vec![])]).is_err());
    assert!(forged(|f| f.consumers = vec![("c", vec![5]), ("d", vec![5])]).is_err());
    assert!(forged(|f| f.consumers = vec![("c", vec![5, 5])]).is_err());
    assert!(forged(|f| f.consumers = vec![("c", vec![6])]).is_err());
    assert!(forged(|f| f.consumers = vec![("c", vec![5]), ("c", vec![])]).is_err());
}

#[test]
fn a_listpack_that_cannot_be_a_hash_or_a_sorted_set() {
    let mut pack = Listpack::new();
    pack.extend([Elem::Bytes(b"a"), Elem::Int(1), Elem::Bytes(b"b")].into_iter());
    for form in [kind::HASH_LISTPACK, kind::ZSET_LISTPACK] {
        let mut out = Writer::new(false);
        out.byte(form);
        out.string(&pack.to_bytes());
        assert!(matches!(read(&out.into_bytes(), 11), Err(Error::Value { .. })));
    }
}
