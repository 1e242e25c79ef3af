//! Values for tests: one of every type.

use super::*;

fn text(n: usize) -> Vec<u8> {
    // Some are too long for the buckets of a table.
    format!("element:{n}:").repeat(if n.is_multiple_of(50) { 40 } else { 1 }).into_bytes()
}

/// One of each type, sets of both kinds, with so many elements.
pub(crate) fn values(n: usize) -> Vec<Value> {
    let mut list = List::new();
    let mut set = Set::for_member(b"a", n, &set::Limits::default());
    let mut ints = Set::default();
    let mut hash = Hash::new();
    let mut zset = SortedSet::new();
    let mut stream = Box::new(Stream::new());
    for i in 0..n {
        let name = text(i);
        list.push(list::End::Tail, &name, &list::Limits::default());
        set.insert(&name, &set::Limits::default());
        ints.insert(i.to_string().as_bytes(), &set::Limits::default());
        hash.set(&name, &text(i + 1), &hash::Limits::default());
        let score = sorted_set::Score::new(i as f64).expect("a number");
        zset.insert(&name, score, &sorted_set::Limits::default());
        let id = StreamId { ms: i as u64 + 1, seq: 0 };
        assert!(stream.append(id, &[b"field", &name], &stream::Limits::default()));
    }
    let blob = Blob::from_vec(text(n).repeat(50));
    vec![
        Value::Str(blob),
        Value::List(list),
        Value::Set(set),
        Value::Set(ints),
        Value::Hash(hash),
        Value::ZSet(zset),
        Value::Stream(stream),
    ]
}
