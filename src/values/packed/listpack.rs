//! A sequence of elements in one run of bytes.
//!
//! ```text
//! u32 total bytes   u16 count (65,535: not known)   elements …   0xFF        little endian
//! ```
//!
//! Positions are byte offsets of an element, or [`Listpack::end`]. They hold until
//! the next change. A listpack of ten elements is two words plus its bytes, rounded up as the
//! allocator does; most growth by one element at either end finds room in that ([`Buffer`]).
//!
//! One that is lent (in the entry of its key) has a shorter form: [`lent`].

pub mod lent;

use super::buffer::Buffer;
use super::element::{self, Encoded};
use super::{Corrupt, Elem, allocated};
use crate::memory::Renewal;
use std::borrow::Cow;

const HEADER: usize = 6;
const COUNT_UNKNOWN: usize = u16::MAX as usize;

/// No listpack of several elements gets larger than this; whoever adds asks
/// [`Listpack::fits`] first and converts the collection if the answer is no. Tests meet it sooner.
pub const BYTES_MAX: usize = if cfg!(test) { 1 << 20 } else { 1 << 30 };

/// What the format can hold: a single element may be as large as this allows.
const FORMAT_MAX: usize = u32::MAX as usize;

/// Longest string that any collection takes as an element.
pub const ELEMENT_BYTES_MAX: usize = FORMAT_MAX - 64;

/// A sequence of strings and integers in the byte format of Redis' listpack.
pub struct Listpack(Buffer);

impl Clone for Listpack {
    fn clone(&self) -> Self {
        if self.0.is_lent() { self.whole() } else { Listpack(self.0.clone()) }
    }
}

impl PartialEq for Listpack {
    fn eq(&self, other: &Self) -> bool {
        self.to_bytes() == other.to_bytes()
    }
}

impl Eq for Listpack {}

impl Default for Listpack {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Listpack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Listpack({} elements, {} bytes)", self.len(), self.to_bytes().len())
    }
}

impl Listpack {
    /// An empty listpack.
    pub fn new() -> Self {
        Listpack(Buffer::from(&[7, 0, 0, 0, 0, 0, element::END][..]))
    }

    /// Takes over bytes from outside after decoding all of them once. Elements that
    /// are not in their shortest form (Redis writes none) are rewritten.
    pub fn from_untrusted(bytes: &[u8]) -> Result<Self, Corrupt> {
        Self::from_untrusted_with(bytes, |_| true)
    }

    /// The same; `check` sees every element in order and may refuse.
    pub fn from_untrusted_with(
        bytes: &[u8],
        mut check: impl FnMut(Elem<'_>) -> bool,
    ) -> Result<Self, Corrupt> {
        let (total, rest) = bytes.split_first_chunk::<4>().ok_or(Corrupt)?;
        let count = u16::from_le_bytes(*rest.first_chunk::<2>().ok_or(Corrupt)?);
        if u32::from_le_bytes(*total) as usize != bytes.len()
            || bytes.len() <= HEADER
            || bytes.last() != Some(&element::END)
        {
            return Err(Corrupt);
        }
        let elements = &bytes[..bytes.len() - 1];
        let mut buffer = itoa::Buffer::new();
        let (mut at, mut seen, mut canonical) = (HEADER, 0usize, true);
        while at < elements.len() {
            let (elem, len) = element::decode(&elements[at..]).ok_or(Corrupt)?;
            let next = at + len + element::back_len(len);
            let back = element::back_read(elements.get(at + len..next).ok_or(Corrupt)?).ok_or(Corrupt)?;
            if back != (len, element::back_len(len)) || !check(elem) {
                return Err(Corrupt);
            }
            canonical &= Encoded::new(Elem::of(elem.text(&mut buffer))).span() == next - at;
            at = next;
            seen += 1;
        }
        if usize::from(count) != COUNT_UNKNOWN && usize::from(count) != seen {
            return Err(Corrupt);
        }
        let list = Listpack(bytes.into());
        Ok(if canonical { list } else { list.rewritten() })
    }

    /// The same elements, each in its shortest form.
    fn rewritten(&self) -> Listpack {
        let mut list = Listpack::new();
        let mut buffer = itoa::Buffer::new();
        for elem in self.iter() {
            list.push_back(elem.text(&mut buffer));
        }
        list
    }

    /// The bytes as Redis stores them.
    pub fn to_bytes(&self) -> Cow<'_, [u8]> {
        if self.0.is_lent() { Cow::Owned(self.whole().0.to_vec()) } else { Cow::Borrowed(&self.0) }
    }

    /// How many these are, of a listpack that is not lent.
    #[inline]
    pub fn size(&self) -> usize {
        debug_assert!(!self.0.is_lent(), "who asks for this is about to change it");
        self.0.len()
    }

    /// Bytes of memory on the heap.
    #[inline]
    pub fn memory(&self) -> usize {
        allocated(self.0.len())
    }

    /// Moves the bytes, if need be.
    pub fn renew(&mut self, renewal: &mut Renewal) {
        self.0.renew(renewal);
    }

    /// Number of elements: from the header, or counted where that does not know.
    #[inline]
    pub fn len(&self) -> usize {
        if self.0.is_lent() {
            return lent::count(&self.0);
        }
        match self.header_count() {
            COUNT_UNKNOWN => self.iter().count(),
            n => n,
        }
    }

    fn header_count(&self) -> usize {
        usize::from(u16::from_le_bytes([self.0[4], self.0[5]]))
    }

    /// Whether there are no elements.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start() == self.end()
    }

    /// Whether a string of `len` bytes can be added within [`BYTES_MAX`].
    #[inline]
    pub fn fits(&self, len: usize) -> bool {
        self.0.len().saturating_add(element::span_max(len)) <= BYTES_MAX
    }

    /// Position of the first element, which is [`Self::end`] if there is none.
    #[inline]
    pub fn start(&self) -> usize {
        if self.0.is_lent() { lent::header(&self.0) } else { HEADER }
    }

    /// The position behind the last element.
    #[inline]
    pub fn end(&self) -> usize {
        self.0.len() - usize::from(!self.0.is_lent())
    }

    /// The element at a position.
    #[inline]
    pub fn get(&self, pos: usize) -> Option<Elem<'_>> {
        if pos >= self.end() { None } else { Some(decode(&self.0, pos, false).0) }
    }

    /// The position behind the element at `pos`.
    #[inline(always)]
    pub fn next(&self, pos: usize) -> usize {
        let bytes = &self.0[pos..];
        pos + if self.0.is_bare() { element::len_at(bytes) } else { element::span_at(bytes) }
    }

    /// The position of the element before `pos`.
    #[inline]
    pub fn prev(&self, pos: usize) -> Option<usize> {
        let start = self.start();
        if pos <= start { None } else { Some(before(&self.0, start, pos, self.0.is_bare())) }
    }

    /// Position of the last element.
    #[inline]
    pub fn last(&self) -> Option<usize> {
        self.prev(self.end())
    }

    /// Position of the element at `index`, from the end if negative; walks from
    /// the nearer end.
    pub fn seek(&self, index: i64) -> Option<usize> {
        let len = self.len();
        let index = if index < 0 {
            len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?
        } else {
            usize::try_from(index).ok().filter(|&i| i < len)?
        };
        if index <= len / 2 || self.0.is_bare() {
            return Some(self.skip(self.start(), index));
        }
        let mut pos = self.end();
        for _ in index..len {
            pos = self.prev(pos)?;
        }
        Some(pos)
    }

    /// Position of the element at `index`, the end where there is none; walks from the nearer end.
    pub fn position(&self, index: usize) -> usize {
        let pos = i64::try_from(index).ok().and_then(|i| self.seek(i));
        pos.unwrap_or(self.end())
    }

    /// The position `n` elements behind `pos`, at most the end.
    pub fn skip(&self, pos: usize, n: usize) -> usize {
        fn walk<const BACK: bool>(bytes: &[u8], mut pos: usize, n: usize) -> usize {
            for _ in 0..n {
                let Some(next) = element::behind::<BACK>(bytes, pos) else { break };
                pos = next;
            }
            pos
        }
        let bytes = &*self.0;
        if self.0.is_bare() { walk::<false>(bytes, pos, n) } else { walk::<true>(bytes, pos, n) }
    }

    /// The element at `index` counted from the front.
    pub fn nth(&self, index: usize) -> Option<Elem<'_>> {
        self.get(self.seek(i64::try_from(index).ok()?)?)
    }

    /// All elements, from both ends.
    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        self.range(self.start(), self.end())
    }

    /// The elements between two positions.
    #[inline]
    pub fn range(&self, from: usize, to: usize) -> Iter<'_> {
        Iter { bytes: &self.0, bare: self.0.is_bare(), front: from, back: to }
    }

    /// Position of the first element equal to `needle`; after each look, `PASSED` elements are passed
    /// over unseen (1: look at the fields of a field-value sequence).
    pub fn find<const PASSED: usize>(&self, needle: &[u8]) -> Option<usize> {
        self.find_counting::<PASSED>(needle).map(|(pos, _)| pos)
    }

    /// The same, and how many looks found something else.
    pub fn find_counting<const PASSED: usize>(&self, needle: &[u8]) -> Option<(usize, usize)> {
        if self.0.is_bare() {
            self.look_for::<PASSED, false>(needle)
        } else {
            self.look_for::<PASSED, true>(needle)
        }
    }

    #[inline]
    fn look_for<const PASSED: usize, const BACK: bool>(&self, needle: &[u8]) -> Option<(usize, usize)> {
        // One element has one encoding (see `from_untrusted`), so bytes are compared. Where the elements end needs
        // no look of its own: the byte there is the first of none.
        let encoded = Encoded::new(Elem::of(needle));
        let (bytes, first) = (&*self.0, encoded.first());
        let (mut pos, mut looks) = (self.start(), 0);
        loop {
            if *bytes.get(pos)? == first && encoded.begins(&bytes[pos..]) {
                return Some((pos, looks));
            }
            for _ in 0..=PASSED {
                pos = element::behind::<BACK>(bytes, pos)?;
            }
            looks += 1;
        }
    }

    /// Adds at the end.
    #[inline]
    pub fn push_back(&mut self, bytes: &[u8]) {
        self.insert(self.end(), Elem::of(bytes));
    }

    /// Adds at the front.
    #[inline]
    pub fn push_front(&mut self, bytes: &[u8]) {
        self.insert(HEADER, Elem::of(bytes));
    }

    /// Adds an integer at the end.
    #[inline]
    pub fn push_int(&mut self, n: i64) {
        self.insert(self.end(), Elem::Int(n));
    }

    /// Inserts before the element at `pos`. Afterwards the new one is at `pos`.
    /// An integer must come as [`Elem::of`] makes it.
    #[inline]
    pub fn insert(&mut self, pos: usize, elem: Elem<'_>) {
        let encoded = Encoded::new(elem);
        self.splice(pos, pos, encoded.span(), 1);
        encoded.write(&mut self.0[pos..]);
    }

    /// Adds several elements at the end with one allocation.
    pub fn extend<'e>(&mut self, elems: impl Iterator<Item = Elem<'e>> + Clone) {
        self.insert_all(self.end(), elems);
    }

    /// Inserts several elements before the one at `pos`, with one allocation.
    pub fn insert_all<'e>(&mut self, pos: usize, elems: impl Iterator<Item = Elem<'e>> + Clone) {
        let (mut span, mut count) = (0usize, 0isize);
        for elem in elems.clone() {
            span = span.saturating_add(Encoded::new(elem).span());
            count += 1;
        }
        self.splice(pos, pos, span, count);
        let mut at = pos;
        for elem in elems {
            let encoded = Encoded::new(elem);
            encoded.write(&mut self.0[at..]);
            at += encoded.span();
        }
    }

    /// Puts another element in the place of the one at `pos`.
    pub fn replace(&mut self, pos: usize, elem: Elem<'_>) {
        let (encoded, end) = (Encoded::new(elem), self.next(pos));
        // What takes as much room as what was there leaves all others where they are.
        if encoded.span() != end - pos {
            self.splice(pos, end, encoded.span(), 0);
        }
        encoded.write(&mut self.0[pos..]);
    }

    /// Removes `count` elements from position `pos` on. Afterwards what stood
    /// behind them is at `pos`.
    pub fn remove(&mut self, pos: usize, count: usize) {
        let (mut end, mut removed) = (pos, 0isize);
        while (removed as usize) < count && end < self.end() {
            end = self.next(end);
            removed += 1;
        }
        self.splice(pos, end, 0, -removed);
    }

    /// Removes `count` elements from `index` on.
    pub fn remove_range(&mut self, index: usize, count: usize) {
        let pos = self.position(index);
        self.remove(pos, count);
    }

    /// Removes everything at `pos` and behind, and returns it.
    pub fn split_off(&mut self, pos: usize) -> Listpack {
        let moved = self.range(pos, self.end()).count();
        let mut tail = Listpack::new();
        let end = self.end();
        tail.splice(HEADER, HEADER, end - pos, moved as isize);
        tail.0[HEADER..HEADER + (end - pos)].copy_from_slice(&self.0[pos..end]);
        self.splice(pos, end, 0, -(moved as isize));
        tail
    }

    /// Adds all elements of `other` at the end.
    pub fn append(&mut self, other: &Listpack) {
        let at = self.end();
        let body = &other.0[HEADER..other.end()];
        self.splice(at, at, body.len(), other.len() as isize);
        self.0[at..at + body.len()].copy_from_slice(body);
    }

    /// Replaces the bytes `from..to`, which are behind the header, by `span` bytes to be written, and
    /// keeps the header right.
    fn splice(&mut self, from: usize, to: usize, span: usize, count_change: isize) {
        debug_assert!(!self.0.is_lent(), "what is lent is never changed");
        let new = (self.0.len() - (to - from)).checked_add(span).filter(|&n| n <= FORMAT_MAX);
        let new = new.expect("invariant: callers of a listpack ask whether it fits");
        self.0.splice(from, to, span);
        let count = self.header_count();
        let (total, rest) = self.0.split_at_mut(4);
        total.copy_from_slice(&(new as u32).to_le_bytes());
        if count != COUNT_UNKNOWN && count_change != 0 {
            let count = count.saturating_add_signed(count_change).min(COUNT_UNKNOWN);
            rest[..2].copy_from_slice(&(count as u16).to_le_bytes());
        }
    }
}

/// The element at a position, and the position behind it.
#[inline(always)]
fn decode(bytes: &[u8], pos: usize, bare: bool) -> (Elem<'_>, usize) {
    match element::short_at(bytes, pos) {
        Some(text) => (Elem::Bytes(text), pos + 1 + text.len() + usize::from(!bare)),
        None => decode_any(bytes, pos, bare),
    }
}

#[inline(never)]
fn decode_any(bytes: &[u8], pos: usize, bare: bool) -> (Elem<'_>, usize) {
    let (elem, len) = element::decode(&bytes[pos..]).expect("invariant: listpack bytes are validated");
    (elem, pos + len + if bare { 0 } else { element::back_len(len) })
}

/// The position of the element before `pos`, which is not before `start`.
#[inline]
fn before(bytes: &[u8], start: usize, pos: usize, bare: bool) -> usize {
    if bare {
        return lent::before(bytes, start, pos);
    }
    let (len, back) =
        element::back_read(&bytes[start..pos]).expect("invariant: listpack bytes are validated");
    pos - len - back
}

/// The elements between two positions, from both ends.
#[derive(Clone)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    bare: bool,
    front: usize,
    back: usize,
}

impl Iter<'_> {
    /// Position of the element that `next` would return.
    #[inline]
    pub fn position(&self) -> usize {
        self.front
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Elem<'a>;

    #[inline]
    fn next(&mut self) -> Option<Elem<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (elem, next) = decode(self.bytes, self.front, self.bare);
        self.front = next;
        Some(elem)
    }
}

impl<'a> DoubleEndedIterator for Iter<'a> {
    #[inline]
    fn next_back(&mut self) -> Option<Elem<'a>> {
        if self.front >= self.back {
            return None;
        }
        self.back = before(self.bytes, self.front, self.back, self.bare);
        Some(decode(self.bytes, self.back, self.bare).0)
    }
}

#[cfg(test)]
mod tests;
