//! Consumer groups: what was delivered to whom and not yet acknowledged.
//!
//! A pending entry stands once in the group (id → delivery) and once in its
//! consumer (id). The delivery names the consumer by a number, so that a consumer's
//! name is stored once. Both lists are private, and every change goes through
//! [`Group::deliver`] and [`Group::acknowledge`]: an entry cannot have two owners.

use super::StreamId;
use std::collections::{BTreeMap, BTreeSet};

/// A consumer group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The last entry that was delivered.
    pub last_id: StreamId,
    /// How many entries of the stream that is, where it is known.
    pub entries_read: Option<u64>,
    pending: BTreeMap<StreamId, Pending>,
    names: BTreeMap<Box<[u8]>, u32>,
    consumers: BTreeMap<u32, Consumer>,
    next_number: u32,
}

/// A delivered entry that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// When it was delivered last, in Unix milliseconds.
    pub delivered_ms: u64,
    /// How often it was delivered.
    pub deliveries: u64,
    consumer: u32,
}

/// A member of a group.
#[derive(Clone, Debug, Default)]
pub struct Consumer {
    /// When it last tried to read or claim, in Unix milliseconds.
    pub seen_ms: u64,
    /// When it last got something; none: never.
    pub active_ms: Option<u64>,
    pending: BTreeSet<StreamId>,
}

impl Consumer {
    /// Number of its pending entries.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Its pending entries from `from` on.
    pub fn pending_from(&self, from: StreamId) -> impl Iterator<Item = StreamId> + '_ {
        self.pending.range(from..).copied()
    }
}

impl Group {
    /// A group that begins behind `last_id`.
    pub fn new(last_id: StreamId, entries_read: Option<u64>) -> Self {
        Group { last_id, entries_read, ..Group::default() }
    }

    /// Bytes of memory on the heap, by estimate.
    pub fn memory(&self) -> usize {
        const PER_PENDING: usize = (2 * size_of::<StreamId>() + size_of::<Pending>()) * 3 / 2;
        const PER_CONSUMER: usize = size_of::<Consumer>() + 64;
        size_of::<Self>() + self.pending.len() * PER_PENDING + self.consumers.len() * PER_CONSUMER
    }

    /// Number of pending entries.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The pending entries between two ids, both included. Their owners' names are in
    /// [`Self::consumer_names`].
    pub fn pending(&self, from: StreamId, to: StreamId) -> impl Iterator<Item = (StreamId, Pending)> + '_ {
        let range = if from <= to { Some(self.pending.range(from..=to)) } else { None };
        range.into_iter().flatten().map(|(id, p)| (*id, *p))
    }

    /// The first and the last pending id.
    pub fn pending_bounds(&self) -> Option<(StreamId, StreamId)> {
        Some((*self.pending.first_key_value()?.0, *self.pending.last_key_value()?.0))
    }

    /// The names of the consumers by the number that a [`Pending`] has.
    pub fn consumer_names(&self) -> BTreeMap<u32, &[u8]> {
        self.names.iter().map(|(name, number)| (*number, &**name)).collect()
    }

    /// A pending entry.
    pub fn get(&self, id: StreamId) -> Option<Pending> {
        self.pending.get(&id).copied()
    }

    /// All consumers by name.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = (&[u8], &Consumer)> {
        self.names.iter().map(|(name, number)| (&**name, &self.consumers[number]))
    }

    /// The number of a consumer, to be compared with [`Pending::owner`].
    pub fn consumer_number(&self, name: &[u8]) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// A consumer.
    pub fn consumer(&self, name: &[u8]) -> Option<&Consumer> {
        self.consumers.get(self.names.get(name)?)
    }

    /// A consumer, to set its times.
    pub fn consumer_mut(&mut self, name: &[u8]) -> Option<&mut Consumer> {
        self.consumers.get_mut(self.names.get(name)?)
    }

    /// Creates a consumer; whether the name was free.
    pub fn create_consumer(&mut self, name: &[u8], seen_ms: u64) -> bool {
        if self.names.contains_key(name) {
            return false;
        }
        while self.consumers.contains_key(&self.next_number) {
            self.next_number = self.next_number.wrapping_add(1);
        }
        self.names.insert(name.into(), self.next_number);
        self.consumers.insert(self.next_number, Consumer { seen_ms, ..Consumer::default() });
        self.next_number = self.next_number.wrapping_add(1);
        true
    }

    /// Removes a consumer and forgets its pending entries; how many they were.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let number = self.names.remove(name)?;
        let consumer = self.consumers.remove(&number)?;
        for id in &consumer.pending {
            self.pending.remove(id);
        }
        Some(consumer.pending.len())
    }

    /// Makes an entry pending for a consumer, which takes it from whoever has it.
    /// Whether there is such a consumer.
    pub fn deliver(&mut self, id: StreamId, name: &[u8], delivered_ms: u64, deliveries: u64) -> bool {
        let Some(&number) = self.names.get(name) else {
            return false;
        };
        let new = Pending { delivered_ms, deliveries, consumer: number };
        let before = self.pending.insert(id, new).map(|p| p.consumer);
        if before != Some(number) {
            if let Some(other) = before.and_then(|n| self.consumers.get_mut(&n)) {
                other.pending.remove(&id);
            }
            if let Some(consumer) = self.consumers.get_mut(&number) {
                consumer.pending.insert(id);
            }
        }
        true
    }

    /// Forgets a pending entry; whether it was one.
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(&id) else {
            return false;
        };
        if let Some(consumer) = self.consumers.get_mut(&pending.consumer) {
            consumer.pending.remove(&id);
        }
        true
    }
}

impl Pending {
    /// The number of the consumer that has it.
    pub fn owner(&self) -> u32 {
        self.consumer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(ms: u64) -> StreamId {
        StreamId { ms, seq: 0 }
    }

    #[test]
    fn an_entry_has_one_owner() {
        let mut group = Group::new(StreamId::MIN, None);
        assert!(
            group.create_consumer(b"a", 1)
                && group.create_consumer(b"b", 1)
                && !group.create_consumer(b"a", 2)
        );
        assert!(group.deliver(id(1), b"a", 10, 1) && group.deliver(id(2), b"a", 10, 1));
        assert!(!group.deliver(id(3), b"nobody", 10, 1));
        group.deliver(id(1), b"b", 20, 2);
        assert_eq!(group.consumer(b"a").map(Consumer::pending_len), Some(1));
        let pending = group.get(id(1)).expect("pending");
        assert_eq!((pending.deliveries, Some(pending.owner())), (2, group.consumer_number(b"b")));
        assert_eq!(group.remove_consumer(b"b"), Some(1));
        assert_eq!(group.pending_bounds(), Some((id(2), id(2))));
        assert!(group.acknowledge(id(2)) && !group.acknowledge(id(2)));
        assert_eq!((group.pending_len(), group.pending_bounds()), (0, None));
    }

    proptest! {
        #[test]
        fn both_lists_always_agree(ops in prop::collection::vec((0u8..5, 0u64..20, "[a-c]"), 0..200)) {
            let mut group = Group::default();
            for (op, n, name) in ops {
                match op {
                    0 => { group.create_consumer(name.as_bytes(), n); }
                    1 => { group.acknowledge(id(n)); }
                    2 if n < 3 => { group.remove_consumer(name.as_bytes()); }
                    _ => { group.deliver(id(n), name.as_bytes(), n, 1); }
                }
                let of_consumers: BTreeSet<_> = group
                    .consumers()
                    .flat_map(|(name, c)| {
                        let number = group.consumer_number(name);
                        c.pending_from(StreamId::MIN).map(move |id| (id, number))
                    })
                    .collect();
                let of_group: BTreeSet<_> = group.pending(StreamId::MIN, StreamId::MAX).map(|(id, p)| (id, Some(p.owner()))).collect();
                prop_assert_eq!(of_consumers, of_group);
            }
        }
    }
}
