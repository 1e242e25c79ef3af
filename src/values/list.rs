//! Lists.
//!
//! A small list is one listpack. A larger one is a quicklist: a sequence of
//! listpack nodes ([`quick`]), each of the size that `list-max-listpack-size` says.
//! The form changes where Redis 7.2 changes it: it grows when the list and what is
//! about to be added exceed one node, and shrinks when one node is left that is
//! half full or less.
//!
//! An element larger than a node gets a node of its own, which Redis calls plain.
//! `list-compress-depth` has no effect: compressed inner nodes would make memory
//! smaller, but every access to the middle of a list an LZF run under the lock.

mod quick;

use std::sync::atomic::{AtomicUsize, Ordering};

use super::packed::{Elem, Listpack};
use crate::memory::Renewal;
use quick::Quicklist;

/// When a list or a node of one is full (`list-max-listpack-size`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    bytes: usize,
    count: usize,
    /// An element of this size has a node of its own.
    alone: usize,
}

/// For tests: `Limits::alone` of limits made from now on.
static STANDS_ALONE: AtomicUsize = AtomicUsize::new(usize::MAX);

/// DEBUG QUICKLIST-PACKED-THRESHOLD: the size from which elements have nodes of their own, so that
/// small ones go the ways of large ones; `None` is as usual, by `list-max-listpack-size` alone.
pub fn set_packed_threshold(bytes: Option<usize>) {
    STANDS_ALONE.store(bytes.unwrap_or(usize::MAX), Ordering::Relaxed);
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(-2)
    }
}

impl Limits {
    /// A node that is limited by its number of elements is limited to this many
    /// bytes too.
    const SAFETY_BYTES: usize = 8192;

    /// From the setting: a positive number limits the elements of a node, -1 to -5
    /// its bytes to 4, 8, 16, 32 or 64 KiB.
    pub fn new(list_max_listpack_size: i64) -> Self {
        let alone = STANDS_ALONE.load(Ordering::Relaxed);
        if list_max_listpack_size >= 0 {
            let count = list_max_listpack_size.clamp(1, i64::from(i16::MAX)) as usize;
            Limits { bytes: Self::SAFETY_BYTES, count, alone }
        } else {
            let level = (-1i64).saturating_sub(list_max_listpack_size).clamp(0, 4);
            Limits { bytes: 4096 << level, count: usize::MAX, alone }
        }
    }

    fn exceeded(&self, bytes: usize, count: usize) -> bool {
        bytes > self.bytes || count > self.count
    }

    /// Whether a node of this size takes an element of `len` bytes more.
    fn takes(&self, bytes: usize, count: usize, len: usize) -> bool {
        if len >= self.alone {
            return false;
        }
        // Eight bytes stand for the element's header and back length, as in Redis.
        !self.exceeded(bytes.saturating_add(len).saturating_add(8), count + 1)
    }
}

/// One of the two ends of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Left.
    Head,
    /// Right.
    Tail,
}

/// A list of byte strings.
#[derive(Clone, Debug)]
pub struct List(Repr);

#[derive(Clone, Debug)]
enum Repr {
    Packed(Listpack),
    Quick(Box<Quicklist>),
}

const _: () = assert!(size_of::<List>() == 16);

/// So many elements are worth being taken out in whole chunks, to be freed elsewhere.
const TAKE_MIN: usize = if cfg!(test) { 2 } else { 1024 };

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

impl List {
    /// An empty list.
    pub fn new() -> Self {
        List(Repr::Packed(Listpack::new()))
    }

    /// A list from the nodes of an RDB file; empty ones are left out.
    pub fn from_nodes(nodes: impl Iterator<Item = Listpack>, limits: &Limits) -> Self {
        let mut quick = Quicklist::default();
        nodes.filter(|node| !node.is_empty()).for_each(|node| quick.push_node(node));
        let mut list = List(Repr::Quick(Box::new(quick)));
        list.shrink(limits, 1);
        list
    }

    /// From a listpack that was a list already.
    pub(super) fn from_own(pack: Listpack) -> Self {
        List(Repr::Packed(pack))
    }

    /// The bytes, where the list is one listpack.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match &self.0 {
            Repr::Packed(pack) => Some(pack),
            Repr::Quick(_) => None,
        }
    }

    /// The listpacks of which the list consists, from head to tail.
    pub fn nodes(&self) -> impl Iterator<Item = &Listpack> {
        let (one, many) = match &self.0 {
            Repr::Packed(pack) => (Some(pack), None),
            Repr::Quick(quick) => (None, Some(quick.packs())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// A list of the same elements, which shares the memory of this one's until one of both is
    /// changed; none where copying costs little (a listpack), or every change would (large nodes).
    pub fn snapshot(&mut self) -> Option<List> {
        match &mut self.0 {
            Repr::Packed(_) => None,
            Repr::Quick(quick) => Some(List(Repr::Quick(Box::new(quick.snapshot()?)))),
        }
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Packed(pack) => pack.len(),
            Repr::Quick(quick) => quick.len(),
        }
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Repr::Packed(pack) => pack.is_empty(),
            Repr::Quick(quick) => quick.len() == 0,
        }
    }

    /// The name that OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        match &self.0 {
            Repr::Packed(_) => "listpack",
            Repr::Quick(_) => "quicklist",
        }
    }

    /// Moves parts from `from` on, as far as that is granted; where to go on.
    pub fn renew(&mut self, from: usize, renewal: &mut Renewal) -> Option<usize> {
        match &mut self.0 {
            Repr::Packed(pack) => {
                pack.renew(renewal);
                None
            }
            Repr::Quick(quick) => {
                if from == 0 {
                    renewal.boxed(quick);
                }
                quick.renew(from, renewal)
            }
        }
    }

    /// Bytes of memory on the heap.
    pub fn memory(&self) -> usize {
        match &self.0 {
            Repr::Packed(pack) => pack.memory(),
            Repr::Quick(quick) => quick.memory(),
        }
    }

    /// Number of allocations, roughly: what freeing costs.
    pub fn allocations(&self) -> usize {
        match &self.0 {
            Repr::Packed(_) => 1,
            Repr::Quick(quick) => quick.nodes(),
        }
    }

    /// Turns into a quicklist if `count` more elements of `bytes` in total are too
    /// much for one listpack.
    fn grow(&mut self, limits: &Limits, bytes: usize, count: usize) {
        if let Repr::Packed(pack) = &mut self.0
            && (bytes >= limits.alone
                || limits.exceeded(pack.size().saturating_add(bytes), pack.len() + count))
        {
            let mut quick = Quicklist::default();
            if !pack.is_empty() {
                quick.push_node(std::mem::take(pack));
            }
            self.0 = Repr::Quick(Box::new(quick));
        }
    }

    /// Turns into a single listpack if what is left is at most 1/`share` of a node.
    fn shrink(&mut self, limits: &Limits, share: usize) {
        if let Repr::Quick(quick) = &mut self.0 {
            let half = Limits { bytes: limits.bytes / share, count: limits.count / share, ..*limits };
            if quick.len() == 0 {
                self.0 = Repr::Packed(Listpack::new());
            } else if let Some(pack) = quick.take_single(|bytes, count| !half.exceeded(bytes, count)) {
                self.0 = Repr::Packed(pack);
            }
        }
    }

    /// Adds elements one after the other at one end.
    pub fn push_all<'e>(&mut self, end: End, elems: impl Iterator<Item = &'e [u8]> + Clone, limits: &Limits) {
        let (bytes, count) = elems.clone().fold((0usize, 0), |(b, n), e| (b.saturating_add(e.len()), n + 1));
        self.grow(limits, bytes, count);
        for elem in elems {
            match (&mut self.0, end) {
                (Repr::Packed(pack), End::Head) => pack.push_front(elem),
                (Repr::Packed(pack), End::Tail) => pack.push_back(elem),
                (Repr::Quick(quick), _) => quick.push(end, elem, limits),
            }
        }
    }

    /// Adds one element.
    pub fn push(&mut self, end: End, elem: &[u8], limits: &Limits) {
        self.push_all(end, std::iter::once(elem), limits);
    }

    /// The element at one end.
    pub fn peek(&self, end: End) -> Option<Elem<'_>> {
        match end {
            End::Head => self.iter().next(),
            End::Tail => self.iter_rev().next(),
        }
    }

    /// Removes most of `count` elements at one end, if they are many, in one go; what is left to
    /// remove is done by [`drop_end`](Self::drop_end) or [`trim`](Self::trim).
    pub fn take_end(&mut self, end: End, count: usize) -> Option<List> {
        match &mut self.0 {
            Repr::Quick(quick) if count >= TAKE_MIN => {
                Some(List(Repr::Quick(Box::new(quick.take_chunks(end, count)))))
            }
            _ => None,
        }
    }

    /// Removes up to `count` elements at one end.
    pub fn drop_end(&mut self, end: End, count: usize, limits: &Limits) {
        let len = self.len();
        let count = count.min(len);
        let from = if end == End::Head { 0 } else { len - count };
        match &mut self.0 {
            Repr::Packed(pack) if end == End::Tail && count == 1 => {
                if let Some(pos) = pack.last() {
                    pack.remove(pos, 1);
                }
            }
            Repr::Packed(pack) => pack.remove_range(from, count),
            Repr::Quick(quick) => quick.drop_end(end, count),
        }
        self.shrink(limits, 2);
    }

    /// Removes the element at one end and returns it.
    pub fn pop(&mut self, end: End, limits: &Limits) -> Option<Vec<u8>> {
        let elem = self.peek(end)?.to_vec();
        self.drop_end(end, 1, limits);
        Some(elem)
    }

    /// The index that a client's index means: from the end if negative.
    fn index(&self, index: i64) -> Option<usize> {
        let len = self.len();
        if index < 0 {
            len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)
        } else {
            usize::try_from(index).ok().filter(|&i| i < len)
        }
    }

    /// The element at `index`, from the end if negative.
    pub fn get(&self, index: i64) -> Option<Elem<'_>> {
        self.iter_from(self.index(index)?).next()
    }

    /// All elements from head to tail.
    pub fn iter(&self) -> Iter<'_> {
        self.iter_from(0)
    }

    /// The elements from `index` to the tail.
    pub fn iter_from(&self, index: usize) -> Iter<'_> {
        match &self.0 {
            Repr::Packed(pack) => {
                let pos = pack.position(index);
                Iter { now: pack.range(pos, pack.end()), rest: None }
            }
            Repr::Quick(quick) => quick.iter_from(index),
        }
    }

    /// All elements from tail to head.
    pub fn iter_rev(&self) -> IterRev<'_> {
        self.iter_rev_from(self.len().saturating_sub(1))
    }

    /// The elements from `index` to the head.
    pub fn iter_rev_from(&self, index: usize) -> IterRev<'_> {
        match &self.0 {
            Repr::Packed(pack) => {
                IterRev { now: pack.range(pack.start(), pack.position(index.saturating_add(1))), rest: None }
            }
            Repr::Quick(quick) => quick.iter_rev_from(index),
        }
    }

    /// Puts `elem` at `index` (from the end if negative); whether that exists.
    pub fn set(&mut self, index: i64, elem: &[u8], limits: &Limits) -> bool {
        let Some(index) = self.index(index) else {
            return false;
        };
        self.grow(limits, elem.len(), 1);
        match &mut self.0 {
            Repr::Packed(pack) => {
                let pos = pack.position(index);
                pack.replace(pos, Elem::of(elem));
            }
            Repr::Quick(quick) => quick.set(index, elem, limits),
        }
        self.shrink(limits, 2);
        true
    }

    /// Inserts before the element at `index`, at the tail if that is the length.
    pub fn insert(&mut self, index: usize, elem: &[u8], limits: &Limits) {
        if index >= self.len() {
            return self.push(End::Tail, elem, limits);
        }
        self.grow(limits, elem.len(), 1);
        match &mut self.0 {
            Repr::Packed(pack) => {
                let pos = pack.position(index);
                pack.insert(pos, Elem::of(elem));
            }
            Repr::Quick(quick) => quick.insert(index, elem, limits),
        }
    }

    /// Inserts before or after the first element equal to `pivot`; whether there
    /// is one.
    pub fn insert_at_pivot(&mut self, pivot: &[u8], after: bool, elem: &[u8], limits: &Limits) -> bool {
        let pivot = Elem::of(pivot);
        let Some(index) = self.iter().position(|e| e == pivot) else {
            return false;
        };
        self.insert(index + usize::from(after), elem, limits);
        true
    }

    /// Removes elements equal to `needle`: the first `count` from the head if
    /// positive, from the tail if negative, all if zero. How many there were.
    pub fn remove(&mut self, count: i64, needle: &[u8], limits: &Limits) -> usize {
        let max = match usize::try_from(count.unsigned_abs()) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(n) => n,
        };
        let end = if count < 0 { End::Tail } else { End::Head };
        let removed = match &mut self.0 {
            Repr::Packed(pack) => quick::remove_equal(pack, Elem::of(needle), end, max),
            Repr::Quick(quick) => quick.remove(Elem::of(needle), end, max, limits),
        };
        if removed > 0 {
            self.shrink(limits, 2);
        }
        removed
    }

    /// Keeps `keep` elements from `start` on and removes the others.
    pub fn trim(&mut self, start: usize, keep: usize, limits: &Limits) {
        let len = self.len();
        let start = start.min(len);
        let end = start.saturating_add(keep).min(len);
        match &mut self.0 {
            Repr::Packed(pack) => {
                pack.remove_range(end, len - end);
                pack.remove_range(0, start);
            }
            Repr::Quick(quick) => {
                quick.drop_end(End::Tail, len - end);
                quick.drop_end(End::Head, start);
            }
        }
        self.shrink(limits, 2);
    }

    /// Indexes of elements equal to `needle`. `rank` is the first match that counts
    /// (negative: from the tail), `count` the most to return, `maxlen` the most
    /// elements to look at (0: all).
    pub fn positions(&self, needle: &[u8], rank: i64, count: usize, maxlen: usize) -> Vec<usize> {
        let wanted = Elem::of(needle);
        let len = self.len();
        let looks = if maxlen == 0 { len } else { maxlen.min(len) };
        let skip = usize::try_from(rank.unsigned_abs().saturating_sub(1)).unwrap_or(usize::MAX);
        let hit = |(i, e): (usize, Elem<'_>)| (e == wanted).then_some(i);
        if rank < 0 {
            let numbered = (0..len).rev().zip(self.iter_rev());
            numbered.take(looks).filter_map(hit).skip(skip).take(count).collect()
        } else {
            self.iter().enumerate().take(looks).filter_map(hit).skip(skip).take(count).collect()
        }
    }
}

/// Elements towards the tail.
#[derive(Clone)]
pub struct Iter<'a> {
    now: super::packed::listpack::Iter<'a>,
    rest: Option<quick::Rest<'a>>,
}

impl<'a> Iter<'a> {
    #[cold]
    fn next_node(&mut self) -> Option<Elem<'a>> {
        loop {
            self.now = self.rest.as_mut()?.next()?.iter();
            if let Some(elem) = self.now.next() {
                return Some(elem);
            }
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Elem<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Elem<'a>> {
        self.now.next().or_else(|| self.next_node())
    }
}

/// Elements towards the head.
#[derive(Clone)]
pub struct IterRev<'a> {
    now: super::packed::listpack::Iter<'a>,
    rest: Option<quick::Rest<'a>>,
}

impl<'a> Iterator for IterRev<'a> {
    type Item = Elem<'a>;

    #[inline]
    fn next(&mut self) -> Option<Elem<'a>> {
        loop {
            if let Some(elem) = self.now.next_back() {
                return Some(elem);
            }
            self.now = self.rest.as_mut()?.next_back()?.iter();
        }
    }
}

#[cfg(test)]
mod tests;
