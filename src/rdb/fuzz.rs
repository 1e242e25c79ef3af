//! What the fuzz target and the test of its corpus run.

use super::{Limits, Plain, Restored, VERSION, dump, restore};
use crate::values::Value;
use crate::values::stream::StreamId;

/// Reads `data` as the value of a payload, with the footer that it lacks: it is refused, or it
/// means something that survives being written and read again. The first byte chooses the
/// version and the limits. Panics if not.
pub fn fuzz_one(data: &[u8]) {
    let Some((choice, value)) = data.split_first() else { return };
    let version = match choice & 3 {
        0 => VERSION,
        1 => 12,
        2 => 80,
        _ => 6,
    };
    let mut limits = Limits::default();
    if choice & 4 != 0 {
        limits.hash.listpack_entries = 2;
        limits.set.listpack_entries = 2;
        limits.set.intset_entries = 2;
        limits.zset.listpack_entries = 2;
    }
    let payload = super::payload::seal(value.to_vec(), version);
    let Ok(first) = restore(&payload, &limits) else { return };
    let again = dump(plain(&first), choice & 8 == 0);
    let second = restore(&again, &limits).expect("what was written can be read");
    assert_eq!(content(&first), content(&second), "what was written means something else");
}

fn plain(value: &Restored) -> Plain<'_> {
    match value {
        Restored::Text(text) => Plain::Text(text),
        Restored::Value(value) => Plain::Value(value),
    }
}

/// Everything that a value holds, in an order that its form does not change. Looks at all of it
/// in the ways in which commands do.
pub(super) fn content(value: &Restored) -> Vec<Vec<u8>> {
    match value {
        Restored::Text(text) => vec![text.clone()],
        Restored::Value(value) => of_value(value),
    }
}

fn of_value(value: &Value) -> Vec<Vec<u8>> {
    let mut parts = match value {
        Value::Str(blob) => return vec![blob.as_slice().to_vec()],
        Value::List(list) => {
            let forwards: Vec<Vec<u8>> = list.iter().map(|e| e.to_vec()).collect();
            let mut backwards: Vec<Vec<u8>> = list.iter_rev().map(|e| e.to_vec()).collect();
            backwards.reverse();
            assert_eq!(forwards, backwards, "a list reads the same both ways");
            assert_eq!(forwards.len(), list.len(), "a list knows its length");
            return forwards;
        }
        Value::Set(set) => {
            assert!(set.iter().all(|e| set.contains(&e.to_vec())), "a set finds its members");
            assert_eq!(set.iter().count(), set.len(), "a set knows its size");
            set.iter().map(|e| e.to_vec()).collect()
        }
        Value::Hash(hash) => {
            assert_eq!(hash.iter().count(), hash.len(), "a hash knows its size");
            let with_deadline = hash.iter().filter(|f| f.deadline.is_some()).count();
            assert_eq!(hash.next_deadline().is_some(), with_deadline > 0, "a hash knows its deadlines");
            let field = |f: crate::values::hash::Field<'_>| {
                assert_eq!(hash.get(&f.name.to_vec()), Some(f.value), "a hash finds its fields");
                format!("{:?} {:?} {:?}", f.name.to_vec(), f.value.to_vec(), f.deadline).into_bytes()
            };
            hash.iter().map(field).collect::<Vec<_>>()
        }
        Value::ZSet(zset) => {
            let mut parts = Vec::new();
            for (rank, (member, score)) in zset.iter().enumerate() {
                let found = zset.rank(&member.to_vec());
                assert_eq!(found, Some((rank, score)), "a sorted set finds its members");
                parts.push(format!("{:?} {}", member.to_vec(), score.get() + 0.0).into_bytes());
            }
            assert_eq!(parts.len(), zset.len(), "a sorted set knows its size");
            parts
        }
        Value::Stream(stream) => return of_stream(stream),
    };
    parts.sort();
    parts
}

fn of_stream(stream: &crate::values::Stream) -> Vec<Vec<u8>> {
    let mut parts = vec![format!("{:?} {} {}", stream.counters(), stream.len(), stream.first_id())];
    let mut ids = Vec::new();
    for entry in stream.range(StreamId::MIN, StreamId::MAX) {
        let fields: Vec<_> = entry.fields().map(|(name, text)| (name.to_vec(), text.to_vec())).collect();
        assert_eq!(fields.len(), entry.len(), "an entry knows its length");
        parts.push(format!("{} {fields:?}", entry.id));
        ids.push(entry.id);
    }
    ids.reverse();
    let backwards: Vec<_> = stream.range_rev(StreamId::MIN, StreamId::MAX).map(|e| e.id).collect();
    assert_eq!(ids, backwards, "a stream reads the same both ways");
    assert_eq!(ids.len() as u64, stream.len(), "a stream knows its length");
    for (name, group) in stream.groups() {
        let lag = stream.lag(group);
        parts.push(format!("group {name:?} {} {:?} {lag:?}", group.last_id, group.entries_read));
        let names = group.consumer_names();
        for (id, pending) in group.pending(StreamId::MIN, StreamId::MAX) {
            let owner = names.get(&pending.owner()).expect("a pending entry has an owner");
            parts.push(format!("{id} {} {} {owner:?}", pending.delivered_ms, pending.deliveries));
        }
        for (name, consumer) in group.consumers() {
            parts.push(format!("{name:?} {} {:?}", consumer.seen_ms, consumer.active_ms));
            parts.push(format!("{:?}", consumer.pending_from(StreamId::MIN).collect::<Vec<_>>()));
        }
    }
    parts.into_iter().map(String::into_bytes).collect()
}
