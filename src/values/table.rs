//! The hash table of large sets, hashes and sorted sets.
//!
//! Linear hashing: the table grows by dividing one bucket for about every twelve
//! insertions and shrinks by joining one, so no operation ever moves more than a
//! few dozen entries, at five million elements as at fifty. A bucket is one
//! allocation in which the entries stand one behind the other, keys and payloads
//! inline. That costs about six bytes per entry beyond its bytes, where a table of
//! pointers to separately allocated elements needs thirty and more.
//!
//! ```text
//! Table     segments of 256 buckets (16 bytes each: pointer, length)
//! bucket    empty, or: u16 count, entries …
//! entry     tag u8 | key code | payload code | key | payload
//! code      LEB128 of: length << 2 | mark << 1 | 0        bytes stand inline
//!                      slot << 2   | mark << 1 | 1        bytes are in the side slab
//! ```
//!
//! The tag is eight bits of the hash, so that a look-up compares one key. Keys and
//! payloads over 256 bytes stand in a slab beside, so that dividing and growing a
//! bucket stay cheap. The mark of the key's code is the caller's (a payload with a
//! deadline, say).
//!
//! **Cursors.** The order of iteration is that of the bit-reversed hash. A bucket
//! holds an interval of that order at every size of the table; a cursor is the
//! point up to which everything was seen. So a scan returns every element that is
//! there throughout exactly once, however often the table grows or shrinks.

use super::chunk::Chunk;
use super::packed::{ELEMENT_BYTES_MAX, allocated};
use super::random::Random;
use smallvec::SmallVec;
use std::hash::BuildHasher;
use std::sync::LazyLock;

/// Entries per bucket on average above which one bucket is divided.
const LOAD_MAX: usize = 12;
/// … and below which two are joined.
const LOAD_MIN: usize = 4;
const SEGMENT: usize = 256;
const INLINE_MAX: usize = 256;

static HASHER: LazyLock<std::hash::RandomState> = LazyLock::new(std::hash::RandomState::new);

/// The keyed hash of an element: the key is drawn once per process, so clients
/// cannot aim at one bucket.
#[inline]
pub fn hash(key: &[u8]) -> u64 {
    HASHER.hash_one(key)
}

type Bucket = Box<[u8]>;

/// An entry as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it is found by.
    pub key: &'a [u8],
    /// What belongs to it.
    pub payload: &'a [u8],
    /// One bit for the caller.
    pub mark: bool,
}

/// A map from byte strings to byte strings.
#[derive(Clone, Default)]
pub struct Table {
    segments: Vec<Chunk<Bucket>>,
    buckets: usize,
    len: usize,
    /// The largest count that any bucket ever had: the bound for random choices.
    bucket_len_max: usize,
    /// Bytes of all buckets, as allocated.
    bytes: usize,
    slab: Slab,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({} entries, {} buckets)", self.len, self.buckets)
    }
}

/// Where an entry stands in its bucket.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
    key: Code,
    payload: Code,
    /// Where the inline bytes begin.
    body: usize,
}

#[derive(Clone, Copy)]
struct Code(u64);

impl Code {
    fn inline_len(self) -> usize {
        if self.0 & 1 == 0 { (self.0 >> 2) as usize } else { 0 }
    }

    fn slot(self) -> Option<usize> {
        (self.0 & 1 == 1).then_some((self.0 >> 2) as usize)
    }

    fn mark(self) -> bool {
        self.0 & 2 != 0
    }
}

#[inline]
fn tag_of(hash: u64) -> u8 {
    (hash >> 56) as u8
}

fn count_of(bucket: &[u8]) -> usize {
    bucket.first_chunk::<2>().map_or(0, |b| usize::from(u16::from_le_bytes(*b)))
}

#[inline]
fn read_code(bucket: &[u8], at: &mut usize) -> Code {
    let first = bucket[*at];
    *at += 1;
    if first < 0x80 {
        return Code(u64::from(first));
    }
    let mut value = u64::from(first & 0x7F);
    let mut shift = 7;
    loop {
        let byte = bucket[*at];
        *at += 1;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Code(value);
        }
        shift += 7;
    }
}

fn write_code(out: &mut SmallVec<[u8; 24]>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline]
fn span_at(bucket: &[u8], start: usize) -> Span {
    let mut at = start + 1;
    let key = read_code(bucket, &mut at);
    let payload = read_code(bucket, &mut at);
    Span { start, end: at + key.inline_len() + payload.inline_len(), key, payload, body: at }
}

fn spans(bucket: &[u8]) -> impl Iterator<Item = Span> + '_ {
    let mut at = 2;
    std::iter::from_fn(move || {
        (at < bucket.len()).then(|| {
            let span = span_at(bucket, at);
            at = span.end;
            span
        })
    })
}

impl Table {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty table with the buckets that `len` entries will want.
    pub fn with_capacity(len: usize) -> Self {
        let mut table = Self::default();
        for _ in 0..len.div_ceil(LOAD_MAX) {
            table.add_bucket();
        }
        table
    }

    /// Number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory on the heap, `size_of::<Table>()` not included.
    pub fn memory(&self) -> usize {
        let directory = self.segments.first().map_or(0, |s| s.capacity() * size_of::<Bucket>());
        self.bytes + allocated(directory) * self.segments.len() + self.slab.bytes
    }

    /// A table with the same entries, in a time that depends on the number of segments only.
    /// Neither table sees what the other does from now on; who writes to a segment first
    /// copies its 256 buckets.
    pub fn snapshot(&mut self) -> Table {
        let slab = &mut self.slab;
        let chunks = slab.chunks.iter_mut().map(Chunk::share).collect();
        Table {
            segments: self.segments.iter_mut().map(Chunk::share).collect(),
            slab: Slab { chunks, free: slab.free.clone(), ..*slab },
            ..*self
        }
    }

    /// Number of allocations, roughly: what freeing costs.
    pub fn allocations(&self) -> usize {
        self.buckets + self.slab.used
    }

    fn bucket(&self, index: usize) -> &Bucket {
        &self.segments[index / SEGMENT][index % SEGMENT]
    }

    fn bucket_mut(&mut self, index: usize) -> &mut Bucket {
        &mut self.segments[index / SEGMENT].make_mut()[index % SEGMENT]
    }

    fn add_bucket(&mut self) {
        if self.buckets.is_multiple_of(SEGMENT) {
            let capacity = if self.buckets == 0 { 1 } else { SEGMENT };
            self.segments.push(Chunk::Own(Vec::with_capacity(capacity)));
        }
        let last = self.segments.last_mut().expect("invariant: just made");
        last.make_mut().push(Bucket::default());
        self.buckets += 1;
    }

    fn drop_last_bucket(&mut self) -> Bucket {
        let segment = self.segments.last_mut().expect("invariant: not the only bucket");
        let bucket = segment.make_mut().pop().expect("invariant: segments are not empty");
        if segment.is_empty() {
            self.segments.pop();
        }
        self.buckets -= 1;
        bucket
    }

    /// The bucket of a hash and the number of its low bits that decide so.
    #[inline]
    fn place(&self, hash: u64) -> (usize, u32) {
        let bits = usize::BITS - (self.buckets - 1).leading_zeros();
        let index = (hash & ((1u64 << bits) - 1)) as usize;
        if index < self.buckets {
            // Not divided yet at this level if its partner would be beyond the end.
            let own = bits > 0 && index < (1 << (bits - 1)) && index + (1 << (bits - 1)) >= self.buckets;
            (index, bits - u32::from(own))
        } else {
            (index & !(1 << (bits - 1)), bits - 1)
        }
    }

    fn entry<'a>(&'a self, bucket: &'a [u8], span: Span) -> Entry<'a> {
        let middle = span.body + span.key.inline_len();
        let key = match span.key.slot() {
            None => &bucket[span.body..middle],
            Some(slot) => self.slab.get(slot),
        };
        let payload = match span.payload.slot() {
            None => &bucket[middle..span.end],
            Some(slot) => self.slab.get(slot),
        };
        Entry { key, payload, mark: span.key.mark() }
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<(usize, Span)> {
        if self.len == 0 {
            return None;
        }
        let (index, _) = self.place(hash);
        let bucket = self.bucket(index);
        let tag = tag_of(hash);
        spans(bucket)
            .find(|span| bucket[span.start] == tag && self.entry(bucket, *span).key == key)
            .map(|span| (index, span))
    }

    /// The entry of `key`.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<Entry<'_>> {
        let (index, span) = self.find(hash(key), key)?;
        Some(self.entry(self.bucket(index), span))
    }

    /// The entries whose key has this hash: one, but for a collision of all bits.
    pub fn with_hash(&self, wanted: u64) -> impl Iterator<Item = Entry<'_>> {
        let bucket: &[u8] = if self.len == 0 { &[] } else { self.bucket(self.place(wanted).0) };
        let tag = tag_of(wanted);
        spans(bucket)
            .filter(move |span| bucket[span.start] == tag)
            .map(move |span| self.entry(bucket, span))
            .filter(move |entry| hash(entry.key) == wanted)
    }

    /// The key of this hash and payload, which must be there: the hash of a key is
    /// computed only if its tag and payload do not tell.
    pub fn key_of(&self, wanted: u64, payload: &[u8]) -> Option<&[u8]> {
        if self.len == 0 {
            return None;
        }
        let bucket: &[u8] = self.bucket(self.place(wanted).0);
        let tag = tag_of(wanted);
        let fits = |span: &Span| bucket[span.start] == tag && self.entry(bucket, *span).payload == payload;
        let mut found = spans(bucket).filter(fits);
        let first = found.next()?;
        let only = found.next().is_none();
        let key = self.entry(bucket, first).key;
        if only { Some(key) } else { self.with_hash(wanted).find(|e| e.payload == payload).map(|e| e.key) }
    }

    /// Whether `key` is there.
    #[inline]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.find(hash(key), key).is_some()
    }

    fn store(slab: &mut Slab, bytes: &[u8]) -> u64 {
        assert!(bytes.len() <= ELEMENT_BYTES_MAX, "invariant: elements are limited before");
        if bytes.len() <= INLINE_MAX {
            (bytes.len() as u64) << 2
        } else {
            (slab.insert(bytes) as u64) << 2 | 1
        }
    }

    /// Writes an entry in the place of `from..to` of a bucket.
    fn write(&mut self, index: usize, from: usize, to: usize, tag: u8, entry: Entry<'_>) {
        let key_code = Self::store(&mut self.slab, entry.key) | u64::from(entry.mark) << 1;
        let payload_code = Self::store(&mut self.slab, entry.payload);
        let mut head = SmallVec::new();
        head.push(tag);
        write_code(&mut head, key_code);
        write_code(&mut head, payload_code);
        let key = if key_code & 1 == 0 { entry.key } else { &[] };
        let payload = if payload_code & 1 == 0 { entry.payload } else { &[] };
        let parts = [&head[..], key, payload];
        self.splice(index, from, to, &parts);
    }

    fn splice(&mut self, index: usize, from: usize, to: usize, parts: &[&[u8]]) {
        let bucket = self.bucket_mut(index);
        let mut bytes = std::mem::take(bucket).into_vec();
        let old = bytes.len();
        let span: usize = parts.iter().map(|p| p.len()).sum();
        let new = old - (to - from) + span;
        if new > old {
            bytes.reserve_exact(new - old);
            bytes.resize(new, 0);
        }
        bytes.copy_within(to..old, from + span);
        bytes.truncate(new);
        let mut at = from;
        for part in parts {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        *bucket = bytes.into_boxed_slice();
        self.bytes = self.bytes - allocated(old) + allocated(new);
    }

    /// Sets the payload of `key`; whether the key is new.
    pub fn insert(&mut self, key: &[u8], payload: &[u8], mark: bool) -> bool {
        let hash = hash(key);
        let entry = Entry { key, payload, mark };
        if let Some((index, span)) = self.find(hash, key) {
            self.free(span);
            self.write(index, span.start, span.end, tag_of(hash), entry);
            return false;
        }
        if self.buckets == 0 {
            self.add_bucket();
        }
        let (index, _) = self.place(hash);
        self.push(index, tag_of(hash), entry);
        self.len += 1;
        if self.len > self.buckets * LOAD_MAX {
            self.divide();
        }
        true
    }

    fn push(&mut self, index: usize, tag: u8, entry: Entry<'_>) {
        let end = self.bucket(index).len();
        let count = self.counted(index, 1);
        if end == 0 {
            self.splice(index, 0, 0, &[&count]);
        }
        self.write(index, end.max(2), end.max(2), tag, entry);
    }

    /// Changes the count in a bucket's header, and returns the new header.
    fn counted(&mut self, index: usize, change: isize) -> [u8; 2] {
        let bucket = self.bucket_mut(index);
        let count = count_of(bucket).checked_add_signed(change).expect("invariant: counts match");
        let header =
            u16::try_from(count).expect("invariant: a keyed hash fills no bucket with 65,535").to_le_bytes();
        if let Some(old) = bucket.first_chunk_mut() {
            *old = header;
        }
        self.bucket_len_max = self.bucket_len_max.max(count);
        header
    }

    fn free(&mut self, span: Span) {
        for code in [span.key, span.payload] {
            if let Some(slot) = code.slot() {
                self.slab.remove(slot);
            }
        }
    }

    /// Removes `key`; whether it was there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let Some((index, span)) = self.find(hash(key), key) else {
            return false;
        };
        self.free(span);
        self.counted(index, -1);
        self.splice(index, span.start, span.end, &[]);
        if self.bucket(index).len() == 2 {
            self.splice(index, 0, 2, &[]);
        }
        self.len -= 1;
        if self.buckets > 1 && self.len < self.buckets * LOAD_MIN {
            self.join();
        }
        true
    }

    /// Overwrites the payload of `key` by one of the same length below 256 bytes.
    pub fn overwrite(&mut self, key: &[u8], payload: &[u8]) -> bool {
        let Some((index, span)) = self.find(hash(key), key) else {
            return false;
        };
        let at = span.body + span.key.inline_len();
        let bucket = self.bucket_mut(index);
        assert_eq!(span.end - at, payload.len(), "invariant: the same length, and inline");
        bucket[at..span.end].copy_from_slice(payload);
        true
    }

    fn replace_bucket(&mut self, index: usize, new: Vec<u8>) {
        let bucket = std::mem::replace(self.bucket_mut(index), new.into_boxed_slice());
        self.bytes = self.bytes + allocated(self.bucket(index).len()) - allocated(bucket.len());
    }

    /// Divides the next bucket of the current level.
    fn divide(&mut self) {
        let level = usize::BITS - 1 - self.buckets.leading_zeros();
        let from = self.buckets - (1 << level);
        self.add_bucket();
        let to = self.buckets - 1;
        let bucket = self.bucket(from);
        let (mut low, mut high) = (Vec::with_capacity(bucket.len()), Vec::with_capacity(bucket.len()));
        let mut counts = [0u16; 2];
        for span in spans(bucket) {
            let is_high = hash(self.entry(bucket, span).key) >> level & 1 == 1;
            counts[usize::from(is_high)] += 1;
            let half = if is_high { &mut high } else { &mut low };
            if half.is_empty() {
                half.extend_from_slice(&[0, 0]);
            }
            half.extend_from_slice(&bucket[span.start..span.end]);
        }
        for (half, count) in [&mut low, &mut high].into_iter().zip(counts) {
            if let Some(header) = half.first_chunk_mut() {
                *header = count.to_le_bytes();
            }
        }
        self.replace_bucket(from, low);
        self.replace_bucket(to, high);
    }

    /// Joins the last bucket with the one that it was divided from.
    fn join(&mut self) {
        let gone = self.drop_last_bucket();
        self.bytes -= allocated(gone.len());
        if gone.is_empty() {
            return;
        }
        let level = usize::BITS - 1 - self.buckets.leading_zeros();
        let into = self.buckets - (1 << level);
        let end = self.bucket(into).len();
        let count = self.counted(into, count_of(&gone) as isize);
        if end == 0 {
            self.splice(into, 0, 0, &[&count]);
        }
        self.splice(into, end.max(2), end.max(2), &[&gone[2..]]);
    }

    /// All entries, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.segments.iter().flat_map(|s| s.iter()).flat_map(|b| spans(b).map(|span| self.entry(b, span)))
    }

    /// Visits entries from `cursor` on, whole buckets at a time until `count` were
    /// visited or ten times as many buckets; returns the next cursor, 0 at the end.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Entry<'_>)) -> u64 {
        if self.len == 0 {
            return 0;
        }
        let (mut cursor, mut visited) = (cursor, 0usize);
        for _ in 0..count.max(1).saturating_mul(10) {
            let (index, bits) = self.place(cursor.reverse_bits());
            let bucket = self.bucket(index);
            let width = 1u128 << (64 - bits);
            let begin = u128::from(cursor) & !(width - 1);
            for span in spans(bucket) {
                let entry = self.entry(bucket, span);
                // In the middle of a bucket only after the table has shrunk.
                if u128::from(cursor) == begin || hash(entry.key).reverse_bits() >= cursor {
                    visited += 1;
                    visit(entry);
                }
            }
            match u64::try_from(begin + width) {
                Ok(next) => cursor = next,
                Err(_) => return 0,
            }
            if visited >= count {
                break;
            }
        }
        cursor
    }

    /// An entry, each equally likely.
    pub fn random(&self, random: &mut Random) -> Option<Entry<'_>> {
        if self.len == 0 {
            return None;
        }
        loop {
            // A bucket and a place in the fullest bucket: what is not there is
            // thrown again, so that entries of full buckets are not less likely.
            let bucket = self.bucket(random.below(self.buckets));
            let nth = random.below(self.bucket_len_max);
            if nth < count_of(bucket) {
                let span = spans(bucket).nth(nth).expect("invariant: counts match");
                return Some(self.entry(bucket, span));
            }
        }
    }
}

/// Byte strings too long to stand in a bucket.
#[derive(Clone, Default)]
struct Slab {
    /// Chunks, because growing one long vector would copy all of it.
    chunks: Vec<Chunk<Box<[u8]>>>,
    free: Vec<u32>,
    len: usize,
    used: usize,
    bytes: usize,
}

const SLAB_CHUNK: usize = 1024;

impl Slab {
    fn get(&self, slot: usize) -> &[u8] {
        &self.chunks[slot / SLAB_CHUNK][slot % SLAB_CHUNK]
    }

    fn insert(&mut self, bytes: &[u8]) -> usize {
        self.used += 1;
        self.bytes += allocated(bytes.len()) + size_of::<Box<[u8]>>();
        if let Some(slot) = self.free.pop() {
            let slot = slot as usize;
            self.chunks[slot / SLAB_CHUNK].make_mut()[slot % SLAB_CHUNK] = bytes.into();
            return slot;
        }
        if self.len.is_multiple_of(SLAB_CHUNK) {
            self.chunks.push(Chunk::Own(Vec::new()));
        }
        let last = self.chunks.last_mut().expect("invariant: just made");
        last.make_mut().push(bytes.into());
        self.len += 1;
        self.len - 1
    }

    fn remove(&mut self, slot: usize) {
        let old = std::mem::take(&mut self.chunks[slot / SLAB_CHUNK].make_mut()[slot % SLAB_CHUNK]);
        self.used -= 1;
        self.bytes -= allocated(old.len()) + size_of::<Box<[u8]>>();
        if self.used == 0 {
            *self = Slab::default();
        } else {
            self.free.push(u32::try_from(slot).expect("invariant: 2^32 strings of 257 bytes are a terabyte"));
        }
    }
}

#[cfg(test)]
mod tests;
