//! The large form of a list: listpack nodes in a two-level sequence.
//!
//! ```text
//! Quicklist   chunks: ring of Chunk             O(nodes / 32) to an index
//! Chunk       count of elements, ring of up to 64 Nodes
//! Node        24 bytes: listpack, count of elements
//! ```
//!
//! One ring of nodes would be simpler, but its growth would copy 24 bytes for each
//! node at once: 15 MB in the middle of a push for five million elements of 1 KiB.
//! The outer ring stays below 1 MB there. No node and no chunk is ever empty.
//!
//! A snapshot shares the chunks. Who writes to one of them afterwards copies it, half a megabyte with
//! nodes of the usual size, so a list of larger ones has no snapshots.

use super::{End, Iter, IterRev, Limits};
use crate::memory::Renewal;
use crate::values::packed::{Elem, Listpack, allocated};
use crate::values::shareable::Shareable;
use std::collections::{VecDeque, vec_deque};

/// Few in tests, so that these see several chunks.
const CHUNK_NODES: usize = if cfg!(test) { 4 } else { 64 };
/// What a write to a chunk that is shared may have to copy.
const COPY_BYTES_MAX: usize = 1 << 20;

#[derive(Clone)]
struct Node {
    pack: Listpack,
    count: u32,
}

const _: () = assert!(size_of::<Node>() == 24);

impl Node {
    fn new(pack: Listpack) -> Self {
        let count = u32::try_from(pack.len())
            .expect("invariant: an element takes at least two bytes of at most 4 GiB");
        Node { pack, count }
    }

    fn of(elem: &[u8]) -> Self {
        let mut pack = Listpack::new();
        pack.push_back(elem);
        Node { pack, count: 1 }
    }

    fn count(&self) -> usize {
        self.count as usize
    }

    fn takes(&self, len: usize, limits: &Limits) -> bool {
        limits.takes(self.pack.size(), self.count(), len)
    }

    fn insert(&mut self, pos: usize, elem: &[u8]) {
        self.pack.insert(pos, Elem::of(elem));
        self.count += 1;
    }
}

#[derive(Clone, Default)]
struct Chunk {
    nodes: Shareable<VecDeque<Node>>,
    count: usize,
}

/// A place in the list: chunk, node in it, element in that.
#[derive(Clone, Copy)]
struct Place {
    chunk: usize,
    node: usize,
    index: usize,
}

/// A list of listpack nodes.
#[derive(Clone, Default)]
pub struct Quicklist {
    chunks: VecDeque<Chunk>,
    len: usize,
    nodes: usize,
    /// Bytes of all listpacks, as allocated.
    pack_bytes: usize,
}

impl std::fmt::Debug for Quicklist {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Quicklist({} elements, {} nodes)", self.len, self.nodes)
    }
}

impl Quicklist {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn nodes(&self) -> usize {
        self.nodes
    }

    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + self.pack_bytes
            + allocated(self.chunks.capacity() * size_of::<Chunk>())
            + self.chunks.front().map_or(0, |c| c.nodes.capacity() * size_of::<Node>()) * self.chunks.len()
    }

    /// Moves parts from the `from`th on, as far as that is granted; where to go on. The ring of chunks is part 0, and the
    /// nth node part n + 1. What a snapshot shares stays where it is.
    pub fn renew(&mut self, from: usize, renewal: &mut Renewal) -> Option<usize> {
        if from == 0 {
            renewal.ring(&mut self.chunks);
        }
        let from = from.saturating_sub(1);
        let mut at = 0;
        for chunk in &mut self.chunks {
            let nodes = chunk.nodes.len();
            if at + nodes <= from {
                at += nodes;
                continue;
            }
            if renewal.is_spent() {
                return Some(at.max(from) + 1);
            }
            let Some(ring) = chunk.nodes.own_mut() else {
                renewal.pass();
                at += nodes;
                continue;
            };
            if from <= at {
                renewal.ring(ring);
            }
            for node in ring.iter_mut().skip(from.saturating_sub(at)) {
                if renewal.is_spent() {
                    return Some(at.max(from) + 1);
                }
                node.pack.renew(renewal);
                at = at.max(from) + 1;
            }
        }
        None
    }

    pub fn packs(&self) -> impl Iterator<Item = &Listpack> {
        self.chunks.iter().flat_map(|c| c.nodes.iter()).map(|n| &n.pack)
    }

    /// A list of the same elements, which shares the nodes until one of both is changed; none
    /// if the nodes are too large to be copied for a change.
    pub fn snapshot(&mut self) -> Option<Quicklist> {
        if self.pack_bytes / self.nodes.max(1) * CHUNK_NODES > COPY_BYTES_MAX {
            return None;
        }
        let share = |c: &mut Chunk| Chunk { nodes: c.nodes.share(), count: c.count };
        Some(Quicklist { chunks: self.chunks.iter_mut().map(share).collect(), ..*self })
    }

    /// Takes all elements of whole chunks at one end, `count` at most, in a time that does not depend on
    /// how many they are.
    pub fn take_chunks(&mut self, end: End, count: usize) -> Quicklist {
        let mut taken = Quicklist::default();
        loop {
            let next = if end == End::Head { self.chunks.front() } else { self.chunks.back() };
            if next.is_none_or(|c| taken.len + c.count > count) {
                return taken;
            }
            let Some(chunk) = (match end {
                End::Head => self.chunks.pop_front(),
                End::Tail => self.chunks.pop_back(),
            }) else {
                return taken;
            };
            let bytes = chunk.nodes.iter().map(|n| n.pack.memory()).sum::<usize>();
            for (list, sign) in [(&mut *self, -1isize), (&mut taken, 1)] {
                list.len = list.len.wrapping_add_signed(sign * chunk.count as isize);
                list.nodes = list.nodes.wrapping_add_signed(sign * chunk.nodes.len() as isize);
                list.pack_bytes = list.pack_bytes.wrapping_add_signed(sign * bytes as isize);
            }
            match end {
                End::Head => taken.chunks.push_back(chunk),
                End::Tail => taken.chunks.push_front(chunk),
            }
        }
    }

    /// The only node, if `accept` takes its bytes and count.
    pub fn take_single(&mut self, accept: impl Fn(usize, usize) -> bool) -> Option<Listpack> {
        if self.nodes != 1 {
            return None;
        }
        let node = self.chunks.front_mut()?.nodes.make_mut().front_mut()?;
        accept(node.pack.size(), node.count()).then(|| std::mem::take(&mut node.pack))
    }

    /// Adds a node at the tail.
    pub fn push_node(&mut self, pack: Listpack) {
        self.push_end(End::Tail, Node::new(pack));
    }

    fn push_end(&mut self, end: End, node: Node) {
        self.nodes += 1;
        self.len += node.count();
        self.pack_bytes += node.pack.memory();
        let room = |c: Option<&Chunk>| c.is_some_and(|c| c.nodes.len() < CHUNK_NODES);
        let count = node.count();
        let chunk = match end {
            End::Head => {
                if !room(self.chunks.front()) {
                    self.chunks.reserve_exact(usize::from(self.chunks.is_empty()));
                    self.chunks.push_front(Chunk::default());
                }
                let chunk = &mut self.chunks[0];
                chunk.nodes.make_mut().push_front(node);
                chunk
            }
            End::Tail => {
                if !room(self.chunks.back()) {
                    self.chunks.reserve_exact(usize::from(self.chunks.is_empty()));
                    self.chunks.push_back(Chunk::default());
                }
                let chunk = self.chunks.back_mut().expect("invariant: just made");
                chunk.nodes.make_mut().push_back(node);
                chunk
            }
        };
        chunk.count += count;
    }

    /// Changes one node and keeps the counters; the node may be empty afterwards.
    fn change<R>(&mut self, chunk: usize, node: usize, f: impl FnOnce(&mut Node) -> R) -> R {
        let c = &mut self.chunks[chunk];
        let n = &mut c.nodes.make_mut()[node];
        let (count, bytes) = (n.count(), n.pack.memory());
        let result = f(n);
        c.count = c.count - count + n.count();
        self.len = self.len - count + n.count();
        self.pack_bytes = self.pack_bytes - bytes + n.pack.memory();
        result
    }

    fn insert_node(&mut self, chunk: usize, node: usize, new: Node) {
        self.nodes += 1;
        self.len += new.count();
        self.pack_bytes += new.pack.memory();
        let c = &mut self.chunks[chunk];
        c.count += new.count();
        let nodes = c.nodes.make_mut();
        nodes.insert(node, new);
        if nodes.len() > CHUNK_NODES {
            let nodes = nodes.split_off(CHUNK_NODES / 2);
            let count = nodes.iter().map(Node::count).sum();
            c.count -= count;
            self.chunks.insert(chunk + 1, Chunk { nodes: Shareable::Own(nodes), count });
        }
    }

    fn remove_node(&mut self, chunk: usize, node: usize) -> Node {
        let c = &mut self.chunks[chunk];
        let old = c.nodes.make_mut().remove(node).expect("invariant: places point to nodes");
        c.count -= old.count();
        if c.nodes.is_empty() {
            self.chunks.remove(chunk);
        }
        self.nodes -= 1;
        self.len -= old.count();
        self.pack_bytes -= old.pack.memory();
        old
    }

    /// Where the element `index` is; walks from the nearer end.
    fn place(&self, index: usize) -> Option<Place> {
        if index >= self.len {
            return None;
        }
        let (mut chunk, mut at);
        if index < self.len / 2 {
            (chunk, at) = (0, index);
            while at >= self.chunks[chunk].count {
                at -= self.chunks[chunk].count;
                chunk += 1;
            }
        } else {
            chunk = self.chunks.len() - 1;
            let mut begin = self.len - self.chunks[chunk].count;
            while begin > index {
                chunk -= 1;
                begin -= self.chunks[chunk].count;
            }
            at = index - begin;
        }
        for (node, n) in self.chunks[chunk].nodes.iter().enumerate() {
            if at < n.count() {
                return Some(Place { chunk, node, index: at });
            }
            at -= n.count();
        }
        unreachable!("invariant: a chunk's count is the sum of its nodes'")
    }

    pub fn push(&mut self, end: End, elem: &[u8], limits: &Limits) {
        let place = match end {
            End::Head => (!self.chunks.is_empty()).then_some((0, 0)),
            End::Tail => self.chunks.len().checked_sub(1).map(|c| (c, self.chunks[c].nodes.len() - 1)),
        };
        match place {
            Some((c, n)) if self.chunks[c].nodes[n].takes(elem.len(), limits) => self.change(c, n, |node| {
                let pos = if end == End::Head { node.pack.start() } else { node.pack.end() };
                node.insert(pos, elem);
            }),
            _ => self.push_end(end, Node::of(elem)),
        }
    }

    /// Inserts before the element `index`, which exists.
    pub fn insert(&mut self, index: usize, elem: &[u8], limits: &Limits) {
        let Place { chunk, node, index } = self.place(index).expect("invariant: callers check the index");
        let n = &self.chunks[chunk].nodes[node];
        if n.takes(elem.len(), limits) {
            return self.change(chunk, node, |n| {
                let pos = n.pack.position(index);
                n.insert(pos, elem);
            });
        }
        if index == 0 {
            // Between two nodes: the end of the one before may have room.
            if node > 0 && self.chunks[chunk].nodes[node - 1].takes(elem.len(), limits) {
                return self.change(chunk, node - 1, |n| n.insert(n.pack.end(), elem));
            }
            return self.insert_node(chunk, node, Node::of(elem));
        }
        let tail = self.change(chunk, node, |n| {
            let pos = n.pack.position(index);
            let tail = Node::new(n.pack.split_off(pos));
            n.count -= tail.count;
            tail
        });
        if self.chunks[chunk].nodes[node].takes(elem.len(), limits) {
            self.change(chunk, node, |n| n.insert(n.pack.end(), elem));
            self.insert_node(chunk, node + 1, tail);
        } else {
            self.insert_node(chunk, node + 1, tail);
            // The chunk may have been divided by that.
            let at = self.place_after(chunk, node);
            self.insert_node(at.0, at.1, Node::of(elem));
        }
    }

    /// The place behind a node, after one more may have divided its chunk.
    fn place_after(&self, chunk: usize, node: usize) -> (usize, usize) {
        let nodes = self.chunks[chunk].nodes.len();
        if node < nodes { (chunk, node + 1) } else { (chunk + 1, node - nodes + 1) }
    }

    /// Puts `elem` in the place of the element `index`, which exists.
    pub fn set(&mut self, index: usize, elem: &[u8], limits: &Limits) {
        let Place { chunk, node, index: at } = self.place(index).expect("invariant: callers check the index");
        let n = &self.chunks[chunk].nodes[node];
        let alone = n.count == 1;
        let old = n.pack.nth(at).map_or(0, |e| e.text_len());
        if alone || elem.len() <= old || n.takes(elem.len() - old, limits) {
            self.change(chunk, node, |n| {
                let pos = n.pack.position(at);
                n.pack.replace(pos, Elem::of(elem));
            });
        } else {
            self.insert(index, elem, limits);
            self.remove_at(index + 1);
        }
    }

    fn remove_at(&mut self, index: usize) {
        let Place { chunk, node, index } = self.place(index).expect("invariant: callers check the index");
        let left = self.change(chunk, node, |n| {
            n.pack.remove_range(index, 1);
            n.count -= 1;
            n.count
        });
        if left == 0 {
            self.remove_node(chunk, node);
        }
    }

    pub fn drop_end(&mut self, end: End, mut count: usize) {
        while count > 0 && self.len > 0 {
            let chunk = if end == End::Head { 0 } else { self.chunks.len() - 1 };
            let node = if end == End::Head { 0 } else { self.chunks[chunk].nodes.len() - 1 };
            let here = self.chunks[chunk].nodes[node].count();
            if here <= count {
                self.remove_node(chunk, node);
                count -= here;
                continue;
            }
            self.change(chunk, node, |n| {
                match end {
                    End::Head => n.pack.remove_range(0, count),
                    End::Tail => {
                        let mut pos = n.pack.end();
                        for _ in 0..count {
                            pos = n.pack.prev(pos).expect("invariant: fewer than the node has");
                        }
                        n.pack.remove(pos, count);
                    }
                }
                n.count -= count as u32;
            });
            return;
        }
    }

    pub fn remove(&mut self, needle: Elem<'_>, end: End, max: usize, limits: &Limits) -> usize {
        let mut removed = 0;
        let (mut chunk, mut node) = match end {
            End::Head => (0, 0),
            End::Tail => match self.chunks.len().checked_sub(1) {
                Some(c) => (c, self.chunks[c].nodes.len() - 1),
                None => return 0,
            },
        };
        while removed < max && chunk < self.chunks.len() {
            let here = self.change(chunk, node, |n| {
                let here = remove_equal(&mut n.pack, needle, end, max - removed);
                n.count -= here as u32;
                here
            });
            removed += here;
            let chunks = self.chunks.len();
            let gone = self.chunks[chunk].nodes[node].count == 0;
            if gone {
                self.remove_node(chunk, node);
            } else if here > 0 && self.merge_with_next(chunk, node, limits) && end == End::Head {
                continue; // what joined this node has not been looked at
            }
            let chunk_gone = self.chunks.len() < chunks;
            match end {
                End::Head if chunk_gone => node = 0,
                End::Head => {
                    node += usize::from(!gone);
                    if node >= self.chunks[chunk].nodes.len() {
                        (chunk, node) = (chunk + 1, 0);
                    }
                }
                End::Tail if node > 0 => node -= 1,
                End::Tail if chunk > 0 => {
                    chunk -= 1;
                    node = self.chunks[chunk].nodes.len() - 1;
                }
                End::Tail => break,
            }
        }
        removed
    }

    /// Joins a node with the next of its chunk if both together are half full at
    /// most, so that removals from the middle do not leave many tiny nodes.
    fn merge_with_next(&mut self, chunk: usize, node: usize, limits: &Limits) -> bool {
        let nodes = &self.chunks[chunk].nodes;
        let Some(next) = nodes.get(node + 1) else {
            return false;
        };
        let this = &nodes[node];
        let bytes = this.pack.size() + next.pack.size();
        if limits.exceeded(bytes.saturating_mul(2), (this.count() + next.count()) * 2) {
            return false;
        }
        let next = self.remove_node(chunk, node + 1);
        self.change(chunk, node, |n| {
            n.pack.append(&next.pack);
            n.count += next.count;
        });
        true
    }

    pub fn iter_from(&self, index: usize) -> Iter<'_> {
        match self.place(index) {
            None => {
                let last = self.packs_between(self.chunks.len(), 0);
                Iter { now: EMPTY.iter(), rest: Some(last) }
            }
            Some(p) => {
                let pack = &self.chunks[p.chunk].nodes[p.node].pack;
                let pos = pack.position(p.index);
                Iter { now: pack.range(pos, pack.end()), rest: Some(self.packs_between(p.chunk, p.node + 1)) }
            }
        }
    }

    pub fn iter_rev_from(&self, index: usize) -> IterRev<'_> {
        let Some(p) = self.place(index) else {
            return IterRev { now: EMPTY.iter(), rest: None };
        };
        let pack = &self.chunks[p.chunk].nodes[p.node].pack;
        let to = pack.position(p.index + 1);
        let rest =
            Rest { chunks: self.chunks.range(..p.chunk), nodes: self.chunks[p.chunk].nodes.range(..p.node) };
        IterRev { now: pack.range(pack.start(), to), rest: Some(rest) }
    }

    fn packs_between(&self, chunk: usize, node: usize) -> Rest<'_> {
        match self.chunks.get(chunk) {
            None => Rest { chunks: self.chunks.range(chunk..), nodes: vec_deque::Iter::default() },
            Some(c) => Rest { chunks: self.chunks.range(chunk + 1..), nodes: c.nodes.range(node..) },
        }
    }
}

static EMPTY: std::sync::LazyLock<Listpack> = std::sync::LazyLock::new(Listpack::new);

/// The nodes on the other side of an iterator's current one, nearest first.
#[derive(Clone)]
pub struct Rest<'a> {
    chunks: vec_deque::Iter<'a, Chunk>,
    nodes: vec_deque::Iter<'a, Node>,
}

impl<'a> Rest<'a> {
    pub fn next(&mut self) -> Option<&'a Listpack> {
        loop {
            if let Some(node) = self.nodes.next() {
                return Some(&node.pack);
            }
            self.nodes = self.chunks.next()?.nodes.iter();
        }
    }

    pub fn next_back(&mut self) -> Option<&'a Listpack> {
        loop {
            if let Some(node) = self.nodes.next_back() {
                return Some(&node.pack);
            }
            self.nodes = self.chunks.next_back()?.nodes.iter();
        }
    }
}

/// Removes up to `max` elements equal to `needle`, from one end on.
pub fn remove_equal(pack: &mut Listpack, needle: Elem<'_>, end: End, max: usize) -> usize {
    let mut removed = 0;
    match end {
        End::Head => {
            let mut pos = pack.start();
            while removed < max
                && let Some(elem) = pack.get(pos)
            {
                if elem == needle {
                    pack.remove(pos, 1);
                    removed += 1;
                } else {
                    pos = pack.next(pos);
                }
            }
        }
        End::Tail => {
            let mut pos = pack.end();
            while removed < max
                && let Some(before) = pack.prev(pos)
            {
                if pack.get(before).is_some_and(|e| e == needle) {
                    pack.remove(before, 1);
                    removed += 1;
                }
                pos = before;
            }
        }
    }
    removed
}
