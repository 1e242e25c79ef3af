//! The nodes of a stream in the order of their ids, some of them together in a chunk.
//!
//! ```text
//! Nodes       chunks: ring of Chunk                 O(log) to an id
//! Chunk       count of live entries, 1 to 64 Nodes
//! Node        id of the first entry, listpack
//! ```
//!
//! A snapshot shares the chunks; who writes to one afterwards copies it, 256 KiB with nodes of the
//! usual size. Entries come at the end only, so nothing is ever inserted between two nodes.

use std::collections::VecDeque;

use super::StreamId;
use crate::memory::Renewal;
use crate::values::packed::{Listpack, allocated};
use crate::values::shareable::Shareable;

/// Few in tests, so that these see several chunks.
const CHUNK_NODES: usize = if cfg!(test) { 3 } else { 64 };

#[derive(Clone, Debug)]
struct Node {
    /// The id under which it is known: that of its first entry, deleted or not.
    master: StreamId,
    pack: Listpack,
}

#[derive(Clone, Debug, Default)]
struct Chunk {
    nodes: Shareable<Vec<Node>>,
    /// Entries that are not deleted.
    live: u64,
}

/// Where a node is: its chunk, and its index in that.
type Place = (usize, usize);

/// Nodes, ascending.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    chunks: VecDeque<Chunk>,
    len: usize,
    /// Bytes of all listpacks, as allocated.
    pub(super) pack_bytes: usize,
}

impl Nodes {
    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory on the heap.
    pub fn memory(&self) -> usize {
        let of_chunk = self.chunks.front().map_or(0, |c| c.nodes.capacity() * size_of::<Node>());
        let chunks = allocated(self.chunks.capacity() * size_of::<Chunk>());
        self.pack_bytes + chunks + allocated(of_chunk) * self.chunks.len()
    }

    /// The same nodes for another owner.
    pub fn snapshot(&mut self) -> Nodes {
        let share = |c: &mut Chunk| Chunk { nodes: c.nodes.share(), live: c.live };
        Nodes { chunks: self.chunks.iter_mut().map(share).collect(), ..*self }
    }

    /// Moves nodes from the one with this id on, as far as that is granted; where to go on. What a
    /// snapshot shares stays where it is.
    pub fn renew(&mut self, from: StreamId, renewal: &mut Renewal) -> Option<StreamId> {
        let (first, _) = self.place(from).unwrap_or((0, 0));
        for chunk in self.chunks.range_mut(first.min(self.chunks.len())..) {
            if renewal.is_spent() {
                return chunk.nodes.first().map(|n| n.master.max(from));
            }
            let Some(nodes) = chunk.nodes.own_mut() else {
                renewal.pass();
                continue;
            };
            if nodes.first().is_some_and(|n| from <= n.master) {
                renewal.vec(nodes);
            }
            for node in nodes.iter_mut().filter(|n| n.master >= from) {
                if renewal.is_spent() {
                    return Some(node.master);
                }
                node.pack.renew(renewal);
            }
        }
        None
    }

    /// All nodes.
    pub fn iter(&self) -> impl Iterator<Item = (&StreamId, &Listpack)> {
        self.chunks.iter().flat_map(|c| c.nodes.iter()).map(|n| (&n.master, &n.pack))
    }

    /// The last node that begins at `id` or before it.
    fn place(&self, id: StreamId) -> Option<Place> {
        let begins = |c: &Chunk| c.nodes.first().is_some_and(|n| n.master <= id);
        let chunk = self.chunks.partition_point(begins).checked_sub(1)?;
        let node = self.chunks[chunk].nodes.partition_point(|n| n.master <= id).checked_sub(1)?;
        Some((chunk, node))
    }

    /// The nodes that may have entries between two ids.
    pub fn range(
        &self,
        from: StreamId,
        to: StreamId,
    ) -> impl DoubleEndedIterator<Item = (StreamId, &Listpack)> {
        let (first, last) = self.ends(from, to);
        self.nodes_in(last.map_or(0..0, |last| first.0..last.0 + 1), first, last)
    }

    /// The same nodes, but for whole chunks between the first and the last, whose live entries are counted
    /// without a look at the nodes.
    pub fn range_counted(
        &self,
        from: StreamId,
        to: StreamId,
    ) -> (u64, impl DoubleEndedIterator<Item = (StreamId, &Listpack)>) {
        let (first, last) = self.ends(from, to);
        let (whole, outer) = match last {
            Some(last) if last.0 > first.0 => (first.0 + 1..last.0, [Some(first.0), Some(last.0)]),
            Some(last) => (0..0, [Some(last.0), None]),
            None => (0..0, [None, None]),
        };
        let live = self.chunks.range(whole).map(|c| c.live).sum();
        (live, self.nodes_in(outer.into_iter().flatten(), first, last))
    }

    /// Where a range begins, and where it ends if there is anything in it.
    fn ends(&self, from: StreamId, to: StreamId) -> (Place, Option<Place>) {
        let first = self.place(from).unwrap_or((0, 0));
        (first, self.place(to).filter(|last| *last >= first))
    }

    fn nodes_in(
        &self,
        chunks: impl DoubleEndedIterator<Item = usize>,
        first: Place,
        last: Option<Place>,
    ) -> impl DoubleEndedIterator<Item = (StreamId, &Listpack)> {
        chunks.flat_map(move |chunk| {
            let nodes = &self.chunks[chunk].nodes;
            let begin = if chunk == first.0 { first.1 } else { 0 };
            let end = last.filter(|last| last.0 == chunk).map_or(nodes.len(), |last| last.1 + 1);
            nodes[begin..end].iter().map(|n| (n.master, &n.pack))
        })
    }

    /// Whether a whole chunk lies between two ids.
    pub fn spans_chunks(&self, from: StreamId, to: StreamId) -> bool {
        let chunk = |id| self.place(id).map_or(0, |place| place.0);
        chunk(to) > chunk(from) + 1
    }

    /// Adds a node with so many live entries at the end.
    pub fn push(&mut self, master: StreamId, pack: Listpack, live: u64) {
        self.len += 1;
        self.pack_bytes += pack.memory();
        if self.chunks.back().is_none_or(|c| c.nodes.len() >= CHUNK_NODES) {
            self.chunks.push_back(Chunk::default());
        }
        let last = self.chunks.back_mut().expect("invariant: just made");
        last.nodes.make_mut().push(Node { master, pack });
        last.live += live;
    }

    /// The last node.
    pub fn last(&self) -> Option<(StreamId, &Listpack)> {
        self.chunks.back()?.nodes.last().map(|n| (n.master, &n.pack))
    }

    /// Changes the last node, which then has so many live entries more.
    pub fn change_last(&mut self, more: u64, f: impl FnOnce(StreamId, &mut Listpack)) {
        if let Some(chunk) = self.chunks.len().checked_sub(1) {
            let node = self.chunks[chunk].nodes.len() - 1;
            self.chunks[chunk].live += more;
            self.change((chunk, node), f);
        }
    }

    fn change(&mut self, (chunk, node): Place, f: impl FnOnce(StreamId, &mut Listpack)) {
        let node = &mut self.chunks[chunk].nodes.make_mut()[node];
        let before = node.pack.memory();
        f(node.master, &mut node.pack);
        self.pack_bytes = self.pack_bytes - before + node.pack.memory();
    }

    /// The node that may hold `id`.
    pub fn of(&self, id: StreamId) -> Option<(StreamId, &Listpack)> {
        let (chunk, node) = self.place(id)?;
        let node = &self.chunks[chunk].nodes[node];
        Some((node.master, &node.pack))
    }

    /// Marks entries of the node that holds `id` as deleted; `f` does it, and says how many are left
    /// of the node. It goes if none is.
    pub fn delete(&mut self, id: StreamId, count: u64, f: impl FnOnce(&mut Listpack) -> u64) {
        let Some(place) = self.place(id) else { return };
        let mut left = 0;
        self.change(place, |_, pack| left = f(pack));
        self.chunks[place.0].live -= count;
        if left == 0 {
            self.remove(place);
        }
    }

    fn remove(&mut self, (chunk, node): Place) {
        let nodes = self.chunks[chunk].nodes.make_mut();
        let gone = nodes.remove(node);
        self.len -= 1;
        self.pack_bytes -= gone.pack.memory();
        if nodes.is_empty() {
            self.chunks.remove(chunk);
        }
    }

    /// The first node.
    pub fn first(&self) -> Option<(StreamId, &Listpack)> {
        self.chunks.front()?.nodes.first().map(|n| (n.master, &n.pack))
    }

    /// Removes the first node, which has so many live entries.
    pub fn pop_first(&mut self, live: u64) {
        if let Some(chunk) = self.chunks.front_mut() {
            chunk.live -= live;
            self.remove((0, 0));
        }
    }

    /// What a chunk at the front tells of itself without a look at its nodes: how many live entries
    /// it has, and the id at which the next one begins, if there is one.
    pub fn first_chunk(&self) -> Option<(u64, Option<StreamId>)> {
        let next = self.chunks.get(1).and_then(|c| c.nodes.first()).map(|n| n.master);
        self.chunks.front().map(|c| (c.live, next))
    }

    /// Moves the chunk at the front to `taken`, with all that is in it.
    pub fn pop_first_chunk(&mut self, taken: &mut Nodes) {
        let Some(chunk) = self.chunks.pop_front() else { return };
        let bytes = chunk.nodes.iter().map(|n| n.pack.memory()).sum::<usize>();
        self.len -= chunk.nodes.len();
        self.pack_bytes -= bytes;
        taken.len += chunk.nodes.len();
        taken.pack_bytes += bytes;
        taken.chunks.push_back(chunk);
    }
}
