//! DEBUG DIGEST: a signature of values and of whole data sets.
//!
//! Equal data gives equal signatures, whatever the order of sets, hashes and keys, the
//! encodings, and the engine that holds them. A deadline counts by being there, not by its
//! time. The construction is tandem's own: signatures are comparable between tandems only.

use sha1::{Digest as _, Sha1};

use crate::keyspace::{Batch, DbId, EntryRef};
use crate::values::packed::Elem;
use crate::values::stream::StreamId;
use crate::values::{Hash, List, Set, SortedSet, Stream, Value};

/// A signature, or the sum of several in any order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signature([u8; 20]);

impl Signature {
    /// 40 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn of(hash: Sha1) -> Signature {
        Signature(hash.finalize().into())
    }

    /// Adds one that may come in any order.
    fn mix(&mut self, other: Signature) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine ^= theirs;
        }
    }
}

/// Feeds bytes with their length, so that no two lists of parts look alike.
fn part(hash: &mut Sha1, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

fn elem(hash: &mut Sha1, elem: Elem<'_>) {
    part(hash, elem.text(&mut itoa::Buffer::new()));
}

/// Signature of what an entry holds and whether it has a deadline; its key does not count.
pub fn value(entry: &EntryRef<'_>) -> Signature {
    let mut hash = Sha1::new();
    part(&mut hash, entry.kind().name().as_bytes());
    hash.update([u8::from(entry.deadline().is_some())]);
    match (entry.bytes(), entry.value().as_deref()) {
        (Some(bytes), _) => part(&mut hash, bytes),
        (None, Some(Value::Str(blob))) => part(&mut hash, blob.as_slice()),
        (None, Some(Value::List(list))) => of_list(&mut hash, list),
        (None, Some(Value::Set(set))) => hash.update(of_set(set).0),
        (None, Some(Value::Hash(fields))) => hash.update(of_hash(fields).0),
        (None, Some(Value::ZSet(zset))) => hash.update(of_zset(zset).0),
        (None, Some(Value::Stream(stream))) => of_stream(&mut hash, stream),
        (None, None) => {}
    }
    Signature::of(hash)
}

fn of_list(hash: &mut Sha1, list: &List) {
    for item in list.iter() {
        elem(hash, item);
    }
}

fn of_set(set: &Set) -> Signature {
    let mut sum = Signature::default();
    for member in set.iter() {
        let mut hash = Sha1::new();
        elem(&mut hash, member);
        sum.mix(Signature::of(hash));
    }
    sum
}

fn of_hash(fields: &Hash) -> Signature {
    let mut sum = Signature::default();
    for field in fields.iter() {
        let mut hash = Sha1::new();
        elem(&mut hash, field.name);
        elem(&mut hash, field.value);
        hash.update([u8::from(field.deadline.is_some())]);
        sum.mix(Signature::of(hash));
    }
    sum
}

fn of_zset(zset: &SortedSet) -> Signature {
    let mut sum = Signature::default();
    for (member, score) in zset.iter() {
        let mut hash = Sha1::new();
        elem(&mut hash, member);
        // Adding zero makes the two zeros one.
        hash.update((score.get() + 0.0).to_le_bytes());
        sum.mix(Signature::of(hash));
    }
    sum
}

fn id(hash: &mut Sha1, id: StreamId) {
    hash.update(id.ms.to_le_bytes());
    hash.update(id.seq.to_le_bytes());
}

fn of_stream(hash: &mut Sha1, stream: &Stream) {
    let counters = stream.counters();
    id(hash, counters.last_id);
    for entry in stream.range(StreamId::MIN, StreamId::MAX) {
        id(hash, entry.id);
        for (field, text) in entry.fields() {
            elem(hash, field);
            elem(hash, text);
        }
    }
    for (name, group) in stream.groups() {
        part(hash, name);
        id(hash, group.last_id);
        hash.update((group.pending_len() as u64).to_le_bytes());
        for (name, consumer) in group.consumers() {
            part(hash, name);
            hash.update((consumer.pending_len() as u64).to_le_bytes());
        }
    }
}

/// Signature of all databases; that of nothing is all zeros.
pub fn everything(batch: &Batch<'_>, databases: DbId, now: u64) -> Signature {
    let mut sum = Signature::default();
    for db in 0..databases {
        let mut cursor = 0;
        loop {
            cursor = batch.scan(db, cursor, 1000, &mut |entry| {
                if !super::generic::is_expired(&entry, now) {
                    let mut hash = Sha1::new();
                    hash.update(db.to_le_bytes());
                    part(&mut hash, entry.key());
                    hash.update(value(&entry).0);
                    sum.mix(Signature::of(hash));
                }
            });
            if cursor == 0 {
                break;
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::set::Limits;

    #[test]
    fn order_does_not_count_but_members_do() {
        let limits = Limits::default();
        let set = |members: &[&str]| {
            let mut set = Set::for_member(members[0].as_bytes(), members.len(), &limits);
            for member in members {
                set.insert(member.as_bytes(), &limits);
            }
            of_set(&set)
        };
        assert_eq!(set(&["a", "b", "c"]), set(&["c", "a", "b"]));
        assert_ne!(set(&["a", "b", "c"]), set(&["a", "b", "d"]));
        assert_eq!(Signature::default().hex(), "0".repeat(40));
    }
}
