//! Streams: entries of fields and values, ordered by an id that only grows.
//!
//! Entries stand in listpack nodes ([`node`]) of the layout of Redis, so that RDB
//! and DUMP copy them; the nodes in the order of their ids ([`nodes`]).
//! Consumer groups ([`group`]) know which entries they have delivered to whom.
//!
//! Removed entries stay in their node, marked, until all of it is removed: as in
//! Redis, trimming to about a length drops whole nodes and costs next to nothing.

pub mod group;
pub mod id;
mod node;
mod nodes;

use super::packed::{Corrupt, Listpack};
use crate::memory::Renewal;
pub use group::{Consumer, Group, Pending};
pub use id::StreamId;
pub use node::Entry;
use nodes::Nodes;
use std::collections::BTreeMap;
use std::collections::btree_map;

/// When a node is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `stream-node-max-bytes`, 0: as large as a listpack may get.
    pub node_bytes: usize,
    /// `stream-node-max-entries`, 0: no limit.
    pub node_entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { node_bytes: 4096, node_entries: 100 }
    }
}

/// What XTRIM and XADD keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The newest entries, that many.
    Newest(u64),
    /// The entries with this id or a later one.
    From(StreamId),
}

/// What a trim took away.
#[derive(Debug, Default)]
pub struct Trimmed {
    /// How many entries.
    pub removed: u64,
    /// Some of their nodes, for the caller to free.
    pub rest: Option<Box<Stream>>,
}

/// A stream and its consumer groups.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    nodes: Nodes,
    len: u64,
    first_id: StreamId,
    last_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
    groups: BTreeMap<Box<[u8]>, Group>,
}

/// The counters of a stream that its entries do not tell, for RDB and XSETID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counters {
    /// The largest id that was ever added.
    pub last_id: StreamId,
    /// The largest id that XDEL removed.
    pub max_deleted_id: StreamId,
    /// How many entries were ever added.
    pub entries_added: u64,
}

impl Stream {
    /// An empty stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// A stream from the nodes of an RDB file, all checked.
    pub fn from_nodes(
        nodes: impl Iterator<Item = (StreamId, Listpack)>,
        len: u64,
        counters: Counters,
    ) -> Result<Self, Corrupt> {
        let mut stream = Stream {
            last_id: counters.last_id,
            max_deleted_id: counters.max_deleted_id,
            entries_added: counters.entries_added,
            ..Stream::default()
        };
        let mut last = None;
        for (master, pack) in nodes {
            let (count, newest) = node::check(master, &pack).ok_or(Corrupt)?;
            if count == 0 || last.is_some_and(|l| l >= master) {
                return Err(Corrupt);
            }
            last = Some(newest);
            stream.len += count;
            stream.nodes.push(master, pack, count);
        }
        if stream.len != len || last.is_some_and(|l| l > stream.last_id) || stream.entries_added < len {
            return Err(Corrupt);
        }
        stream.find_first_id();
        Ok(stream)
    }

    /// The nodes with the id of their first entry, for RDB.
    pub fn nodes(&self) -> impl Iterator<Item = (&StreamId, &Listpack)> {
        self.nodes.iter()
    }

    /// How many they are.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// A stream of the same entries, which shares their memory until one of both is changed, and
    /// copies of the groups.
    pub fn snapshot(&mut self) -> Stream {
        Stream { nodes: self.nodes.snapshot(), groups: self.groups.clone(), ..*self }
    }

    /// The same without groups, to be read.
    pub fn entries_snapshot(&mut self) -> Stream {
        Stream { nodes: self.nodes.snapshot(), groups: BTreeMap::new(), ..*self }
    }

    /// Number of entries.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none. An empty stream is a value, too: it is not removed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Moves nodes from the one with this id on, as far as that is granted; where to go on. The
    /// groups stay where they are.
    pub fn renew(&mut self, from: StreamId, renewal: &mut Renewal) -> Option<StreamId> {
        self.nodes.renew(from, renewal)
    }

    /// Bytes of memory on the heap; pending entries by estimate.
    pub fn memory(&self) -> usize {
        let groups: usize = self.groups.iter().map(|(name, g)| name.len() + g.memory()).sum();
        self.nodes.memory() + groups
    }

    /// Number of allocations, roughly: what freeing costs.
    pub fn allocations(&self) -> usize {
        self.nodes.len() + self.groups.values().map(|g| g.pending_len() / 6 + 1).sum::<usize>()
    }

    /// The id of the first entry, 0-0 if there is none.
    pub fn first_id(&self) -> StreamId {
        self.first_id
    }

    /// The counters.
    pub fn counters(&self) -> Counters {
        Counters {
            last_id: self.last_id,
            max_deleted_id: self.max_deleted_id,
            entries_added: self.entries_added,
        }
    }

    /// Sets the counters, as XSETID does. The caller has checked them against the
    /// entries.
    pub fn set_counters(&mut self, counters: Counters) {
        self.last_id = counters.last_id;
        self.max_deleted_id = counters.max_deleted_id;
        self.entries_added = counters.entries_added;
    }

    /// The id that `XADD *` takes at `now_ms`; none after the last possible id.
    pub fn next_id(&self, now_ms: u64) -> Option<StreamId> {
        if now_ms > self.last_id.ms { Some(StreamId { ms: now_ms, seq: 0 }) } else { self.last_id.next() }
    }

    /// The id that `XADD ms-*` takes; none if `ms` is past or used up.
    pub fn next_id_at(&self, ms: u64) -> Option<StreamId> {
        match ms.cmp(&self.last_id.ms) {
            std::cmp::Ordering::Greater => Some(StreamId { ms, seq: 0 }),
            std::cmp::Ordering::Equal => Some(StreamId { ms, seq: self.last_id.seq.checked_add(1)? }),
            std::cmp::Ordering::Less => None,
        }
    }

    /// Adds an entry; whether its id is later than all before. `fields` are names
    /// and values in turn.
    pub fn append(&mut self, id: StreamId, fields: &[&[u8]], limits: &Limits) -> bool {
        if id <= self.last_id {
            return false;
        }
        let bytes: usize = fields.iter().fold(0, |sum, f| sum.saturating_add(f.len()));
        let has_room = |pack: &Listpack| node::has_room(pack, bytes, fields.len(), limits);
        if self.nodes.last().is_some_and(|(_, pack)| has_room(pack)) {
            self.nodes.change_last(1, |master, pack| node::append(pack, master, id, fields));
        } else {
            let mut pack = node::new(fields);
            node::append(&mut pack, id, id, fields);
            self.nodes.push(id, pack, 1);
        }
        self.len += 1;
        self.entries_added += 1;
        self.last_id = id;
        if self.len == 1 {
            self.first_id = id;
        }
        true
    }

    /// The entries between two ids, both included, ascending.
    pub fn range(&self, from: StreamId, to: StreamId) -> impl Iterator<Item = Entry<'_>> {
        let nodes = self.nodes.range(from, to);
        nodes
            .flat_map(|(master, pack)| node::entries(master, pack))
            .skip_while(move |e| e.id < from)
            .take_while(move |e| e.id <= to)
    }

    /// The same entries, descending.
    pub fn range_rev(&self, from: StreamId, to: StreamId) -> impl Iterator<Item = Entry<'_>> {
        let nodes = self.nodes.range(from, to);
        nodes
            .rev()
            .flat_map(|(master, pack)| node::entries_rev(master, pack))
            .skip_while(move |e| e.id > to)
            .take_while(move |e| e.id >= from)
    }

    /// Whether there are thousands of entries between two ids, told without a look at them.
    pub fn spans_many(&self, from: StreamId, to: StreamId) -> bool {
        self.nodes.spans_chunks(from, to)
    }

    /// How many entries there are between two ids.
    pub fn count(&self, from: StreamId, to: StreamId) -> u64 {
        let (whole, mut nodes) = self.nodes.range_counted(from, to);
        let some = |(master, pack)| {
            node::entries(master, pack).filter(|e| (from..=to).contains(&e.id)).count() as u64
        };
        let first = nodes.next().map_or(0, some);
        let last = nodes.next_back().map_or(0, some);
        whole + first + last + nodes.map(|(_, pack)| node::live(pack)).sum::<u64>()
    }

    /// The entry with this id.
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        self.range(id, id).next()
    }

    /// Removes an entry; whether it was there.
    pub fn remove(&mut self, id: StreamId) -> bool {
        let Some((master, pack)) = self.nodes.of(id) else {
            return false;
        };
        let Some(entry) = node::entries(master, pack).find(|e| e.id >= id).filter(|e| e.id == id) else {
            return false;
        };
        let at = entry.position();
        self.nodes.delete(id, 1, |pack| node::mark_deleted(pack, [at]));
        self.len -= 1;
        self.max_deleted_id = self.max_deleted_id.max(id);
        if self.len == 0 || id == self.first_id {
            self.find_first_id();
        }
        true
    }

    fn find_first_id(&mut self) {
        let first = self.range(StreamId::MIN, StreamId::MAX).next().map(|e| e.id);
        self.first_id = first.unwrap_or_default();
    }

    /// Removes the oldest entries. `approximate` drops whole nodes only; `limit` is the most
    /// entries to drop then (0: no limit).
    pub fn trim(&mut self, keep: Keep, approximate: bool, limit: u64) -> Trimmed {
        let mut gone = Trimmed::default();
        self.trim_chunks(keep, limit, &mut gone);
        while let Some((master, pack)) = self.nodes.first() {
            let entries = node::live(pack);
            if matches!(keep, Keep::Newest(n) if self.len <= n) || limit > 0 && gone.removed + entries > limit
            {
                break;
            }
            let whole = match keep {
                Keep::Newest(n) => self.len - entries >= n,
                Keep::From(id) => node::last_id(master, pack).is_some_and(|last| last < id),
            };
            if whole {
                self.nodes.pop_first(entries);
                self.len -= entries;
                gone.removed += entries;
                continue;
            }
            if !approximate {
                self.trim_node(master, keep, &mut gone);
            }
            break;
        }
        if gone.removed > 0 {
            self.find_first_id();
        }
        gone
    }

    /// Removes what goes by whole chunks, which costs next to nothing for each entry.
    fn trim_chunks(&mut self, keep: Keep, limit: u64, gone: &mut Trimmed) {
        while let Some((live, next)) = self.nodes.first_chunk() {
            let whole = match keep {
                Keep::Newest(n) => self.len.checked_sub(live).is_some_and(|left| left >= n && live > 0),
                // The entries of one chunk are before those of the next.
                Keep::From(id) => next.is_some_and(|next| next <= id),
            };
            if !whole || limit > 0 && gone.removed + live > limit {
                return;
            }
            let taken = &mut gone.rest.get_or_insert_default().nodes;
            self.nodes.pop_first_chunk(taken);
            self.len -= live;
            gone.removed += live;
        }
    }

    /// Removes some of the entries of the first node.
    fn trim_node(&mut self, master: StreamId, keep: Keep, gone: &mut Trimmed) {
        let Some((_, pack)) = self.nodes.first() else { return };
        let excess = match keep {
            Keep::Newest(n) => usize::try_from(self.len - n).unwrap_or(usize::MAX),
            Keep::From(_) => usize::MAX,
        };
        let old: Vec<usize> = node::entries(master, pack)
            .take_while(|e| !matches!(keep, Keep::From(id) if e.id >= id))
            .take(excess)
            .map(|e| e.position())
            .collect();
        let count = old.len() as u64;
        gone.removed += count;
        self.len -= count;
        self.nodes.delete(master, count, |pack| node::mark_deleted(pack, old.into_iter().rev()));
    }

    /// All groups by name.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (&**name, group))
    }

    /// A group.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }

    /// A group, to change it.
    pub fn group_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        self.groups.get_mut(name)
    }

    /// Creates a group; whether the name was free.
    pub fn create_group(&mut self, name: &[u8], group: Group) -> bool {
        match self.groups.entry(name.into()) {
            btree_map::Entry::Occupied(_) => false,
            btree_map::Entry::Vacant(place) => {
                place.insert(group);
                true
            }
        }
    }

    /// Removes a group and returns it (its pending entries may be many to free).
    pub fn remove_group(&mut self, name: &[u8]) -> Option<Group> {
        self.groups.remove(name)
    }

    /// Whether an entry at `from` or later was removed by XDEL, and is not before all that are left.
    fn has_tombstones(&self, from: StreamId) -> bool {
        self.len > 0
            && self.max_deleted_id != StreamId::MIN
            && self.first_id <= self.max_deleted_id
            && from <= self.max_deleted_id
    }

    /// How many entries were ever added up to `id`, where that can be told.
    pub fn entries_up_to(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if self.len == 0 && id <= self.last_id || id == self.last_id {
            return Some(self.entries_added);
        }
        let gaps = self.max_deleted_id != StreamId::MIN && self.max_deleted_id >= self.first_id;
        if id > self.last_id || gaps || id > self.first_id {
            return None;
        }
        // Before the first entry, or it: only a prefix is missing.
        let before = self.entries_added.saturating_sub(self.len);
        Some(before + u64::from(id == self.first_id))
    }

    /// How many entries a group has not read yet, where that can be told.
    /// Below zero where ENTRIESREAD claimed more entries than were ever added, as in Redis.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        let read = match group.entries_read {
            Some(read) if !self.has_tombstones(group.last_id) => read,
            _ => self.entries_up_to(group.last_id)?,
        };
        Some(self.entries_added.cast_signed().wrapping_sub(read.cast_signed()))
    }

    /// Moves a group's last id on to an entry that is being delivered, and its
    /// counter of read entries with it.
    pub fn advance(&mut self, name: &[u8], id: StreamId) {
        let tombstones = self.has_tombstones(id);
        let estimate = self.entries_up_to(id);
        let Some(group) = self.groups.get_mut(name).filter(|g| id > g.last_id) else {
            return;
        };
        group.entries_read = match group.entries_read {
            Some(read) if !tombstones => Some(read + 1),
            _ => estimate,
        };
        group.last_id = id;
    }
}

#[cfg(test)]
mod tests;
