//! The data types: what a key can hold when it is more than a short string.
//!
//! Pure data structures. Nothing here knows keys, databases, locks, clocks,
//! RESP or settings: thresholds come in as plain `Limits` structs, the time as a
//! number, and what happened goes out as return values.
//!
//! ```text
//! blob        large strings, shared by reference count
//! list        listpack, or a sequence of them
//! set         intset, listpack or table
//! hash        listpack or table, with deadlines of fields
//! sorted_set  listpack, or table and tree
//! stream      entries in listpack nodes, consumer groups
//! tree        a sequence with O(log n) access by position
//! shareable   parts of these that a snapshot shares until somebody writes
//! table       the hash table that grows bucket by bucket; random: choices
//! geo         places as scores of a sorted set
//! hll         HyperLogLog on the bytes of a string
//! packed      listpack, intset: small collections as one run of bytes
//! compact     such a run by itself, wherever bytes can stand
//! model       tests: each type beside a plain model, with copies and renewals between its writes
//! samples     tests: a value of every type
//! ```

pub mod blob;
mod compact;
pub mod geo;
pub mod hash;
pub mod hll;
pub mod list;
#[cfg(test)]
mod model;
pub mod packed;
pub mod random;
#[cfg(test)]
pub(crate) mod samples;
pub mod set;
mod shareable;
pub mod sorted_set;
pub mod stream;
pub mod table;
pub mod tree;

pub use blob::Blob;
pub use compact::{Lent, PACKED_MAX, Packed, Scratch};
pub use hash::Hash;
pub use list::List;
pub use set::Set;
pub use sorted_set::SortedSet;
pub use stream::Stream;

use crate::memory::Renewal;
use stream::StreamId;

/// The type of a key's value. The numbers are part of the keyspace's entry
/// layout and of the RDB writer's tables: never renumber them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A byte string, an integer among them.
    String = 0,
    /// A list.
    List = 1,
    /// A set.
    Set = 2,
    /// A sorted set.
    ZSet = 3,
    /// A hash.
    Hash = 4,
    /// A stream.
    Stream = 5,
}

impl Kind {
    /// Every kind, in the order of its number.
    pub const ALL: [Kind; 6] = [Kind::String, Kind::List, Kind::Set, Kind::ZSet, Kind::Hash, Kind::Stream];

    /// The name that TYPE answers.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::ZSet => "zset",
            Kind::Hash => "hash",
            Kind::Stream => "stream",
        }
    }

    /// The kind with this number.
    pub const fn from_u8(n: u8) -> Option<Kind> {
        if (n as usize) < Self::ALL.len() { Some(Self::ALL[n as usize]) } else { None }
    }

    /// The kind with this TYPE name, in any letter case.
    pub fn from_name(name: &[u8]) -> Option<Kind> {
        Self::ALL.into_iter().find(|k| name.eq_ignore_ascii_case(k.name().as_bytes()))
    }
}

/// A value that lives outside of its key's entry.
///
/// It stands in the entry of its key, so every word counts: a tag, and a packed collection's
/// pointer and length.
#[derive(Clone, Debug)]
pub enum Value {
    /// A string too long to stand in the entry.
    Str(Blob),
    /// A list.
    List(List),
    /// A set.
    Set(Set),
    /// A hash.
    Hash(Hash),
    /// A sorted set.
    ZSet(SortedSet),
    /// A stream.
    Stream(Box<Stream>),
}

const _: () = assert!(size_of::<Value>() == 24);

impl Value {
    /// The type of this value.
    pub const fn kind(&self) -> Kind {
        match self {
            Value::Str(_) => Kind::String,
            Value::List(_) => Kind::List,
            Value::Set(_) => Kind::Set,
            Value::Hash(_) => Kind::Hash,
            Value::ZSet(_) => Kind::ZSet,
            Value::Stream(_) => Kind::Stream,
        }
    }

    /// A copy. A large collection shares its memory with it until one of both writes, so it costs
    /// little then. Fields that are hidden stay behind.
    pub fn duplicate(&mut self) -> Value {
        let shared = match self {
            Value::List(list) => list.snapshot().map(Value::List),
            Value::Set(set) => set.snapshot().map(Value::Set),
            Value::Hash(hash) if hash.next_deadline().is_none() => hash.snapshot().map(Value::Hash),
            Value::ZSet(zset) => zset.snapshot().map(Value::ZSet),
            Value::Stream(stream) => Some(Value::Stream(Box::new(stream.snapshot()))),
            _ => None,
        };
        let mut copy = shared.unwrap_or_else(|| self.clone());
        if let Value::Hash(hash) = &mut copy {
            hash.drop_hidden();
        }
        copy
    }

    /// The name that OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        match self {
            Value::Str(_) => "raw",
            Value::List(list) => list.encoding(),
            Value::Set(set) => set.encoding(),
            Value::Hash(hash) => hash.encoding(),
            Value::ZSet(zset) => zset.encoding(),
            Value::Stream(_) => "stream",
        }
    }

    /// Bytes of memory on the heap. Large collections answer from counters, so the cost is
    /// constant.
    pub fn memory(&self) -> usize {
        match self {
            Value::Str(blob) => blob.memory(),
            Value::List(list) => list.memory(),
            Value::Set(set) => set.memory(),
            Value::Hash(hash) => hash.memory(),
            Value::ZSet(zset) => zset.memory(),
            Value::Stream(stream) => size_of::<Stream>() + stream.memory(),
        }
    }

    /// Moves those parts that stand in sparse pages, beginning at `from` (0 at first), as far as that is granted; where
    /// to go on. Nothing that can be seen of the value changes.
    pub fn renew(&mut self, from: u128, renewal: &mut Renewal) -> Option<u128> {
        let part = usize::try_from(from).unwrap_or(usize::MAX);
        let next = match self {
            Value::Str(blob) => {
                blob.renew(renewal);
                None
            }
            Value::List(list) => list.renew(part, renewal),
            Value::Set(set) => set.renew(part, renewal),
            Value::Hash(hash) => hash.renew(part, renewal),
            Value::ZSet(zset) => return zset.renew(from, renewal),
            Value::Stream(stream) => {
                if from == 0 {
                    renewal.boxed(stream);
                }
                let id = StreamId { ms: (from >> 64) as u64, seq: from as u64 };
                return stream.renew(id, renewal).map(|id| u128::from(id.ms) << 64 | u128::from(id.seq));
            }
        };
        next.map(|part| part as u128)
    }

    /// Whether freeing this value takes long enough (many allocations, or one
    /// that goes back to the system) that it is better done off the worker.
    pub fn is_large(&self) -> bool {
        match self {
            Value::Str(blob) => blob.len() >= LARGE_BYTES,
            _ => self.allocations() > LARGE_ALLOCATIONS,
        }
    }

    /// Whether freeing this value takes so long (a millisecond, about) that it is never done on a worker.
    pub fn is_huge(&self) -> bool {
        match self {
            Value::Str(blob) => blob.len() >= HUGE_BYTES,
            _ => self.allocations() > HUGE_ALLOCATIONS,
        }
    }

    fn allocations(&self) -> usize {
        match self {
            Value::Str(_) => 1,
            Value::List(list) => list.allocations(),
            Value::Set(set) => set.allocations(),
            Value::Hash(hash) => hash.allocations(),
            Value::ZSet(zset) => zset.allocations(),
            Value::Stream(stream) => stream.allocations(),
        }
    }
}

/// From this size on one free may unmap pages.
const LARGE_BYTES: usize = 1 << 20;

/// More frees than this are worth a message to the helper thread.
const LARGE_ALLOCATIONS: usize = 64;

/// From these on a free takes a millisecond.
const HUGE_BYTES: usize = 32 << 20;
const HUGE_ALLOCATIONS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::samples::values;
    use super::*;

    #[test]
    fn kinds_keep_their_numbers_and_names() {
        let expected = ["string", "list", "set", "zset", "hash", "stream"];
        for (n, name) in expected.iter().enumerate() {
            let kind = Kind::from_u8(n as u8).expect("a kind");
            assert_eq!(kind as usize, n);
            assert_eq!(kind.name(), *name);
            assert_eq!(Kind::from_name(name.to_uppercase().as_bytes()), Some(kind));
        }
        assert_eq!(Kind::from_u8(6), None);
        assert_eq!(Kind::from_name(b"module"), None);
    }

    fn contents(value: &Value) -> Vec<Vec<u8>> {
        match value {
            Value::Str(blob) => vec![blob.to_vec()],
            Value::List(list) => list.iter().map(|e| e.to_vec()).collect(),
            Value::Set(set) => set.iter().map(|e| e.to_vec()).collect(),
            Value::Hash(hash) => hash.iter().flat_map(|f| [f.name.to_vec(), f.value.to_vec()]).collect(),
            Value::ZSet(zset) => zset
                .iter()
                .map(|(m, score)| [m.to_vec(), score.get().to_le_bytes().to_vec()].concat())
                .collect(),
            Value::Stream(stream) => stream
                .range(StreamId::MIN, StreamId::MAX)
                .flat_map(|entry| {
                    entry
                        .fields()
                        .map(|(name, value)| [name.to_vec(), value.to_vec()].concat())
                        .collect::<Vec<_>>()
                })
                .collect(),
        }
    }

    fn snapshot(value: &mut Value) -> Option<Value> {
        match value {
            Value::Str(_) => None,
            Value::List(list) => list.snapshot().map(Value::List),
            Value::Set(set) => set.snapshot().map(Value::Set),
            Value::Hash(hash) => hash.snapshot().map(Value::Hash),
            Value::ZSet(zset) => zset.snapshot().map(Value::ZSet),
            Value::Stream(stream) => Some(Value::Stream(Box::new(stream.entries_snapshot()))),
        }
    }

    #[test]
    fn renewed_values_hold_what_they_held() {
        let sizes: &[usize] = if cfg!(miri) { &[10, 150] } else { &[10, 700, 5000] };
        for mut value in sizes.iter().flat_map(|&n| values(n)) {
            let (before, memory) = (contents(&value), value.memory());
            let mut renewal = Renewal::of_everything();
            let (mut from, mut slices) = (Some(0), 0);
            while let Some(part) = from {
                renewal.grant(7, 10_000);
                from = value.renew(part, &mut renewal);
                slices += 1;
                assert!(slices < 10_000, "it comes to an end");
            }
            assert!(renewal.moved > 0);
            assert_eq!(contents(&value), before);
            assert_eq!(value.memory(), memory, "{:?}", value.kind());
        }
    }

    /// It takes its time as well, so it is done in slices too.
    #[test]
    fn what_snapshots_share_is_passed_over_in_slices() {
        for mut value in values(if cfg!(miri) { 600 } else { 5000 }) {
            let Some(snapshot) = snapshot(&mut value) else { continue };
            let mut renewal = Renewal::of_everything();
            let (mut from, mut slices) = (Some(0), 0);
            while let Some(part) = from {
                renewal.grant(2, usize::MAX);
                from = value.renew(part, &mut renewal);
                slices += 1;
                assert!(slices < 10_000, "it comes to an end");
            }
            assert!(slices > 1, "{:?} at once", value.kind());
            assert_eq!(contents(&value), contents(&snapshot));
        }
    }

    /// Thresholds under which packed forms might grow for ever: they end at a length of their own.
    #[test]
    #[cfg_attr(miri, ignore)] // megabytes
    fn packed_forms_end_at_their_greatest_length() {
        let (set_limits, hash_limits, zset_limits) = (
            set::Limits { intset_entries: 0, listpack_entries: usize::MAX, listpack_value: usize::MAX },
            hash::Limits { listpack_entries: usize::MAX, listpack_value: usize::MAX },
            sorted_set::Limits { listpack_entries: usize::MAX, listpack_value: usize::MAX },
        );
        let stream_limits = stream::Limits { node_bytes: 0, node_entries: 0 };
        let size = packed::listpack::BYTES_MAX / 8;
        let element = |i: usize| [i.to_string().as_bytes(), &vec![b'e'; size]].concat();
        let (mut set, mut hash, mut zset) = (Set::default(), Hash::new(), SortedSet::new());
        let (mut list, mut stream) = (List::new(), Box::new(Stream::new()));
        for i in 0..10 {
            let (element, score) = (element(i), sorted_set::Score::new(i as f64).expect("a number"));
            list.push(list::End::Tail, &element, &list::Limits::new(i64::MAX));
            set.insert(&element, &set_limits);
            hash.set(&element[..10], &element, &hash_limits);
            zset.insert(&element, score, &zset_limits);
            let id = StreamId { ms: i as u64 + 1, seq: 0 };
            assert!(stream.append(id, &[b"field", &element], &stream_limits));
            let packed = i < 7;
            assert_eq!(hash.encoding() == "listpack", packed, "{i}");
            assert_eq!(set.encoding() == "listpack", packed, "{i}");
            assert_eq!(zset.encoding() == "listpack", packed, "{i}");
            assert_eq!(stream.nodes().count() == 1, packed, "{i}");
        }
        for value in
            [Value::List(list), Value::Set(set), Value::Hash(hash), Value::ZSet(zset), Value::Stream(stream)]
        {
            let held = contents(&value);
            for i in 0..10 {
                let element = element(i);
                let found = held.iter().any(|one| one.starts_with(&element) || one.ends_with(&element));
                assert!(found, "{:?} lost element {i}", value.kind());
            }
        }
    }

    #[test]
    fn what_others_hold_stays_where_it_is() {
        let mut value = Value::Str(Blob::from_vec(vec![7; 5000]));
        let other = value.clone();
        let mut renewal = Renewal::of_everything();
        renewal.grant(10, 10_000);
        assert_eq!(value.renew(0, &mut renewal), None);
        let (Value::Str(a), Value::Str(b)) = (&value, &other) else { unreachable!("both are strings") };
        assert_eq!(a.as_slice().as_ptr(), b.as_slice().as_ptr());
    }

    #[test]
    fn a_string_value_describes_itself() {
        let value = Value::Str(Blob::from_vec(vec![7; 5000]));
        assert_eq!(value.kind(), Kind::String);
        assert_eq!(value.encoding(), "raw");
        assert!(value.memory() >= 5000 && value.memory() < 6000);
        assert!(!value.is_large());
        assert!(Value::Str(Blob::from_vec(vec![7; 1 << 20])).is_large());
    }
}
