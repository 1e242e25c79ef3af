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
//! bucket    tags, then entries (bucket.rs)
//! slab      keys and payloads over 256 bytes (slab.rs)
//! ```
//!
//! An entry has a mark, which is the caller's (a payload with a deadline, say). Long keys and
//! payloads stand beside, so that dividing and growing a bucket stay cheap.
//!
//! **Cursors.** The order of iteration is that of the bit-reversed hash. A bucket
//! holds an interval of that order at every size of the table; a cursor is the
//! point up to which everything was seen. So a scan returns every element that is
//! there throughout exactly once, however often the table grows or shrinks.

mod bucket;
mod slab;

use super::packed::{ELEMENT_BYTES_MAX, allocated};
use super::random::Random;
use super::shareable::Shareable;
use crate::memory::Renewal;
use bucket::{Bucket, Code, New, Span};
use slab::Slab;
use smallvec::SmallVec;
use std::hash::{BuildHasher, Hasher};
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
    // The bytes alone: their number, which a slice's own hash begins with, is in the function's end anyway.
    let mut hasher = HASHER.build_hasher();
    hasher.write(key);
    hasher.finish()
}

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
    /// The first ones stand here, so that a table of up to 6,000 entries has one step less to
    /// its buckets.
    segments: SmallVec<[Shareable<Vec<Bucket>>; 2]>,
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

#[inline]
fn tag_of(hash: u64) -> u8 {
    (hash >> 56) as u8
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
        Table {
            segments: self.segments.iter_mut().map(Shareable::share).collect(),
            slab: self.slab.share(),
            ..*self
        }
    }

    /// Number of allocations, roughly: what freeing costs.
    pub fn allocations(&self) -> usize {
        self.buckets + self.slab.used
    }

    /// Moves parts of the table from the `from`th on, as far as that is granted; where to go on. What a snapshot shares
    /// stays where it is.
    pub fn renew(&mut self, from: usize, renewal: &mut Renewal) -> Option<usize> {
        let segments = self.segments.len();
        let mut next = from;
        while next < segments * SEGMENT {
            if renewal.is_spent() {
                return Some(next);
            }
            let part = next;
            let Some(buckets) = self.segments[part / SEGMENT].own_mut() else {
                renewal.pass();
                next = (part / SEGMENT + 1) * SEGMENT;
                continue;
            };
            next += 1;
            if part.is_multiple_of(SEGMENT) {
                renewal.vec(buckets);
            }
            if let Some(bucket) = buckets.get_mut(part % SEGMENT) {
                renewal.slice(bucket);
            }
        }
        let first = segments * SEGMENT;
        Some(first + self.slab.renew(from.max(first) - first, renewal)?)
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
            self.segments.push(Shareable::Own(Vec::with_capacity(capacity)));
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

    #[inline]
    fn entry<'a>(&'a self, bucket: &'a [u8], span: Span) -> Entry<'a> {
        let payload = match span.payload.slot() {
            None => &bucket[span.body + span.key.inline_len()..span.end],
            Some(slot) => self.slab.get(slot),
        };
        Entry { key: self.key(bucket, span), payload, mark: span.key.mark() }
    }

    #[inline]
    fn find(&self, hash: u64, key: &[u8]) -> Option<(usize, Span)> {
        if self.len == 0 {
            return None;
        }
        let (index, _) = self.place(hash);
        let bucket = self.bucket(index);
        let found = bucket::find(bucket, tag_of(hash), |span| self.key(bucket, span) == key)?;
        Some((index, found))
    }

    #[inline]
    fn key<'a>(&'a self, bucket: &'a [u8], span: Span) -> &'a [u8] {
        match span.key.slot() {
            None => &bucket[span.body..span.body + span.key.inline_len()],
            Some(slot) => self.slab.get(slot),
        }
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
        let (tag, tags) = (tag_of(wanted), bucket::tags(bucket));
        bucket::spans(bucket)
            .filter(move |span| tags[span.nth] == tag)
            .map(move |span| self.entry(bucket, span))
            .filter(move |entry| hash(entry.key) == wanted)
    }

    /// The only key of this hash for which `is` holds. It must be there: hashes of keys are
    /// computed, and `is` asked, only if the tags of their bucket do not tell.
    #[inline]
    pub fn key_of(&self, wanted: u64, is: impl Fn(&[u8]) -> bool) -> Option<&[u8]> {
        if self.len == 0 {
            return None;
        }
        let bucket: &[u8] = self.bucket(self.place(wanted).0);
        let tag = tag_of(wanted);
        if bucket::tags(bucket).iter().filter(|t| **t == tag).count() == 1 {
            return bucket::find(bucket, tag, |_| true).map(|span| self.key(bucket, span));
        }
        self.with_hash(wanted).map(|e| e.key).find(|key| is(key))
    }

    /// Reads the first byte of the bucket of a hash, for nothing but that it be in the cache
    /// when the keys of several hashes are asked for: so their misses overlap.
    #[inline]
    pub fn approach(&self, wanted: u64) -> u8 {
        if self.len == 0 { 0 } else { self.bucket(self.place(wanted).0).first().copied().unwrap_or(0) }
    }

    /// Whether `key` is there.
    #[inline]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.find(hash(key), key).is_some()
    }

    /// Sets the payload of `key`; whether the key is new.
    pub fn insert(&mut self, key: &[u8], payload: &[u8], mark: bool) -> bool {
        let hash = hash(key);
        let entry = Entry { key, payload, mark };
        match self.find(hash, key) {
            Some((index, span)) => {
                self.free(span);
                let new = New::of(&mut self.slab, entry);
                self.change(index, |bucket| bucket::replace(bucket, span, &new));
                false
            }
            None => {
                self.add(hash, entry);
                true
            }
        }
    }

    /// Adds `key` if it is not there; whether it is new.
    pub fn insert_new(&mut self, key: &[u8], payload: &[u8]) -> bool {
        let hash = hash(key);
        let is_new = self.find(hash, key).is_none();
        if is_new {
            self.add(hash, Entry { key, payload, mark: false });
        }
        is_new
    }

    fn add(&mut self, hash: u64, entry: Entry<'_>) {
        if self.buckets == 0 {
            self.add_bucket();
        }
        let (index, _) = self.place(hash);
        let new = New::of(&mut self.slab, entry);
        self.change(index, |bucket| bucket::push(bucket, tag_of(hash), &new));
        self.note_count(index);
        self.len += 1;
        if self.len > self.buckets * LOAD_MAX {
            self.divide();
        }
    }

    /// Changes a bucket and keeps account of its size.
    #[inline]
    fn change(&mut self, index: usize, f: impl FnOnce(&mut Bucket)) {
        let bucket = self.bucket_mut(index);
        let old = bucket.len();
        f(bucket);
        let new = bucket.len();
        if old != new {
            self.bytes = self.bytes - allocated(old) + allocated(new);
        }
    }

    fn note_count(&mut self, index: usize) {
        self.bucket_len_max = self.bucket_len_max.max(bucket::count(self.bucket(index)));
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
        self.change(index, |bucket| bucket::remove(bucket, span));
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

    /// Divides the next bucket of the current level.
    fn divide(&mut self) {
        let level = usize::BITS - 1 - self.buckets.leading_zeros();
        let from = self.buckets - (1 << level);
        self.add_bucket();
        let bucket = self.bucket(from);
        let is_high = |span| hash(self.key(bucket, span)) >> level & 1 == 1;
        let [low, high] = bucket::divide(bucket, is_high);
        self.change(from, |bucket| *bucket = low);
        self.change(self.buckets - 1, |bucket| *bucket = high);
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
        self.change(into, |bucket| *bucket = bucket::join(bucket, &gone));
        self.note_count(into);
    }

    /// All entries, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.segments
            .iter()
            .flat_map(|s| s.iter())
            .flat_map(|b| bucket::spans(b).map(|span| self.entry(b, span)))
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
            for span in bucket::spans(bucket) {
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
            if nth < bucket::count(bucket) {
                let span = bucket::spans(bucket).nth(nth).expect("invariant: counts match");
                return Some(self.entry(bucket, span));
            }
        }
    }
}

impl<'a> New<'a> {
    /// What is written for an entry; long bytes go into the slab.
    fn of(slab: &mut Slab, entry: Entry<'a>) -> Self {
        let mut store = |bytes: &'a [u8]| {
            assert!(bytes.len() <= ELEMENT_BYTES_MAX, "invariant: elements are limited before");
            if bytes.len() <= INLINE_MAX {
                ((bytes.len() as u64) << 2, bytes)
            } else {
                ((slab.insert(bytes) as u64) << 2 | 1, &[][..])
            }
        };
        let (key, key_bytes) = store(entry.key);
        let (payload, payload_bytes) = store(entry.payload);
        let key = Code(key | u64::from(entry.mark) << 1);
        New { key, payload: Code(payload), bytes: [key_bytes, payload_bytes] }
    }
}

#[cfg(test)]
mod tests;
