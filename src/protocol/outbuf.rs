//! The bytes that a connection has still to send, with large values by reference.
//!
//! ```text
//! bytes    $3\r\nabc\r\n$90000\r\n\r\n:1\r\n
//!          ^ front              ^ at: the blob's 90000 bytes go here
//! sent     everything before `front` (and before `front_blob` in the first blob)
//! ```
//!
//! A value of [`BLOB_REFERENCE_MIN`] bytes or more is not copied: a splice holds a
//! reference until it is sent. [`OutBuf::io_slices`] lists what is left for one vectored
//! write, [`OutBuf::advance`] takes away what was written and lets values go at once.
//!
//! Positions ([`OutBuf::position`]) are offsets in `bytes` and are good until the next
//! `advance`; a reply is written between two of them.

use std::collections::VecDeque;
use std::io::IoSlice;

use crate::values::Blob;

/// Smaller blobs are copied: below this a slice more in the write costs what the copy costs.
pub const BLOB_REFERENCE_MIN: usize = 8 * 1024;
/// Sent bytes at the front are moved out of the way when there are this many of them.
const COMPACT_MIN: usize = 64 * 1024;
/// What waits behind other output becomes a piece of its own from this size on.
const PIECE_MIN: usize = 64 * 1024;

/// Output of one connection.
#[derive(Debug, Default)]
pub struct OutBuf {
    bytes: Vec<u8>,
    /// Offset in `bytes` of the first one that is not sent.
    front: usize,
    /// Blobs in ascending order of position; never one at or before `front` that is sent.
    blobs: VecDeque<Splice>,
    /// Bytes of the first blob that are sent.
    front_blob: usize,
    /// Bytes of all blobs.
    blob_bytes: usize,
}

#[derive(Debug)]
struct Splice {
    at: usize,
    blob: Blob,
}

impl OutBuf {
    /// Empty, without memory.
    pub const fn new() -> Self {
        OutBuf { bytes: Vec::new(), front: 0, blobs: VecDeque::new(), front_blob: 0, blob_bytes: 0 }
    }

    /// Empty, with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        OutBuf { bytes: Vec::with_capacity(capacity), ..OutBuf::new() }
    }

    /// Bytes to send, those of referenced values included.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.front + self.blob_bytes - self.front_blob
    }

    /// Bytes behind some fixed point in the past: the difference of two readings is what was written in
    /// between, as long as nothing is sent.
    #[inline(always)]
    pub fn written(&self) -> usize {
        self.bytes.len().wrapping_add(self.blob_bytes)
    }

    /// Whether nothing is left to send.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == self.front && self.blobs.is_empty()
    }

    /// Memory of its own, without referenced values.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity() + self.blobs.capacity() * size_of::<Splice>()
    }

    /// Memory that holds nothing that is still to be sent.
    pub fn unused(&self) -> usize {
        self.capacity() - (self.bytes.len() - self.front)
    }

    /// Where the next byte goes.
    #[inline]
    pub fn position(&self) -> usize {
        self.bytes.len()
    }

    /// Takes back everything written since `position`, references included.
    pub fn truncate_to(&mut self, position: usize) {
        debug_assert!(position >= self.front, "what is sent cannot be taken back");
        self.bytes.truncate(position.max(self.front));
        while self.blobs.back().is_some_and(|splice| splice.at > position) {
            if let Some(splice) = self.blobs.pop_back() {
                self.blob_bytes -= splice.blob.len();
            }
        }
    }

    /// Forgets everything but keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        if !self.blobs.is_empty() {
            self.blobs.clear();
        }
        (self.front, self.front_blob, self.blob_bytes) = (0, 0, 0);
    }

    /// Gives memory over `keep` bytes back; only an empty buffer does.
    pub fn shrink(&mut self, keep: usize) {
        if self.is_empty() {
            self.clear();
            if self.bytes.capacity() > keep {
                self.bytes = Vec::new();
            }
            if self.blobs.capacity() > 64 {
                self.blobs = VecDeque::new();
            }
        }
    }

    /// Appends complete protocol bytes.
    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends a value by reference.
    pub fn splice(&mut self, blob: &Blob) {
        if blob.is_empty() {
            return;
        }
        self.splice_at(self.bytes.len(), blob.clone());
    }

    fn splice_at(&mut self, at: usize, blob: Blob) {
        self.blob_bytes += blob.len();
        self.blobs.push_back(Splice { at, blob });
    }

    /// Moves the content of `other` behind this one's. What collects here stands in pieces, so that a reader who is
    /// megabytes behind costs no more per message than one who is not: a single buffer would be copied whenever it grows,
    /// and when its front was sent, for milliseconds at a time.
    pub fn append(&mut self, other: &mut OutBuf) {
        if self.is_empty() {
            // A reply that was sent in part above all: what it refers to is not copied.
            self.clear();
            return std::mem::swap(self, other);
        }
        if other.front > 0 || other.front_blob > 0 {
            // Rare: replies are moved before any of them is sent.
            self.bytes.extend_from_slice(&other.to_vec());
            return other.clear();
        }
        self.close_piece();
        if other.blobs.is_empty() && other.bytes.len() >= PIECE_MIN {
            return self.splice(&Blob::from_vec(std::mem::take(&mut other.bytes)));
        }
        let shift = self.bytes.len();
        self.bytes.append(&mut other.bytes);
        for mut splice in other.blobs.drain(..) {
            splice.at += shift;
            self.blob_bytes += splice.blob.len();
            self.blobs.push_back(splice);
        }
        other.clear();
    }

    /// Puts the bytes that stand here into pieces of their own, if they are many.
    fn close_piece(&mut self) {
        if self.bytes.len() - self.front < PIECE_MIN {
            return;
        }
        if self.blobs.is_empty() {
            self.front_blob = std::mem::take(&mut self.front);
            let piece = Blob::from_vec(std::mem::take(&mut self.bytes));
            return self.splice_at(0, piece);
        }
        let (bytes, mut from) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.front));
        for Splice { at, blob } in std::mem::take(&mut self.blobs) {
            if from < at {
                self.splice_at(0, Blob::copy_from(&bytes[from..at]));
            }
            self.blobs.push_back(Splice { at: 0, blob });
            from = at;
        }
        if from < bytes.len() {
            self.splice_at(0, Blob::copy_from(&bytes[from..]));
        }
    }

    /// Copies what is left to send, blobs included, into one run of bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len());
        self.for_each_piece(|piece| {
            all.extend_from_slice(piece);
            true
        });
        all
    }

    /// The unsent bytes if they lie in one piece: then a plain write does.
    #[inline]
    pub fn single(&self) -> Option<&[u8]> {
        self.blobs.is_empty().then(|| &self.bytes[self.front..])
    }

    /// Fills `slices` with the unsent pieces in order; returns how many it filled.
    pub fn io_slices<'b>(&'b self, slices: &mut [IoSlice<'b>]) -> usize {
        let mut filled = 0;
        self.for_each_piece(|piece| match slices.get_mut(filled) {
            None => false,
            Some(slot) => {
                *slot = IoSlice::new(piece);
                filled += 1;
                true
            }
        });
        filled
    }

    fn for_each_piece<'b>(&'b self, mut visit: impl FnMut(&'b [u8]) -> bool) {
        let mut from = self.front;
        let mut blob_from = self.front_blob;
        for splice in &self.blobs {
            if from < splice.at && !visit(&self.bytes[from..splice.at]) {
                return;
            }
            from = splice.at;
            if blob_from < splice.blob.len() && !visit(&splice.blob[blob_from..]) {
                return;
            }
            blob_from = 0;
        }
        if from < self.bytes.len() {
            visit(&self.bytes[from..]);
        }
    }

    /// `n` more bytes were sent.
    ///
    /// # Panics
    /// If that is more than was left.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.len(), "more bytes sent than there were");
        if self.blobs.is_empty() {
            self.front += n;
        } else {
            self.advance_over_blobs(n);
        }
        if self.is_empty() {
            self.clear();
        } else if self.front >= COMPACT_MIN && self.front * 2 >= self.bytes.len() {
            self.unsent_to_front();
        }
    }

    #[cold]
    fn advance_over_blobs(&mut self, mut n: usize) {
        while let Some(splice) = self.blobs.front() {
            let plain = n.min(splice.at - self.front);
            self.front += plain;
            n -= plain;
            if self.front < splice.at {
                return;
            }
            let len = splice.blob.len();
            let of_blob = n.min(len - self.front_blob);
            self.front_blob += of_blob;
            n -= of_blob;
            if self.front_blob < len {
                return;
            }
            self.blobs.pop_front();
            self.blob_bytes -= len;
            self.front_blob = 0;
        }
        self.front += n;
    }

    /// Drops the sent bytes.
    #[cold]
    fn unsent_to_front(&mut self) {
        self.bytes.drain(..self.front);
        for splice in &mut self.blobs {
            splice.at -= self.front;
        }
        self.front = 0;
    }

    /// Replaces the `room` bytes at `at` by `header`; what follows moves, nested splices too.
    pub(crate) fn replace(&mut self, at: usize, room: usize, header: &[u8]) {
        self.bytes.splice(at..at + room, header.iter().copied());
        for splice in self.blobs.iter_mut().rev().take_while(|splice| splice.at > at) {
            splice.at = splice.at - room + header.len();
        }
    }

    #[inline]
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(len: usize, byte: u8) -> Blob {
        Blob::from(vec![byte; len])
    }

    /// Three plain parts with two values in between.
    fn mixed() -> (OutBuf, Vec<u8>) {
        let mut out = OutBuf::new();
        out.extend(b"one");
        out.splice(&blob(50, b'a'));
        out.extend(b"two");
        out.splice(&blob(30, b'b'));
        out.extend(b"three");
        let all = [b"one", &[b'a'; 50][..], b"two", &[b'b'; 30], b"three"].concat();
        (out, all)
    }

    /// Sends through a socket that takes `step` bytes and `width` slices at a time.
    fn send(out: &mut OutBuf, step: usize, width: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        while !out.is_empty() {
            let before = out.len();
            let taken: Vec<u8> = {
                let mut slices = vec![IoSlice::new(&[]); width];
                let n = out.io_slices(&mut slices);
                slices[..n].iter().flat_map(|slice| slice.iter().copied()).take(step).collect()
            };
            assert!(!taken.is_empty(), "unsent bytes but nothing to send");
            out.advance(taken.len());
            assert_eq!(out.len(), before - taken.len());
            sent.extend(taken);
        }
        sent
    }

    #[test]
    fn short_writes_at_every_length() {
        for step in 1..100 {
            for width in [1, 2, 16] {
                let (mut out, all) = mixed();
                assert_eq!(out.len(), all.len());
                assert_eq!(send(&mut out, step, width), all, "{step} bytes, {width} slices");
                assert_eq!((out.len(), out.position()), (0, 0));
            }
        }
    }

    #[test]
    fn appending_goes_on_behind_what_is_under_way() {
        for sent in 0..91 {
            let (mut out, all) = mixed();
            out.advance(sent);
            let (mut more, more_all) = mixed();
            out.append(&mut more);
            assert!(more.is_empty());
            out.extend(b"end");
            let want = [&all[sent..], &more_all, b"end"].concat();
            assert_eq!(out.to_vec(), want);
            assert_eq!(send(&mut out, 7, 3), want);
        }
        let (mut half_sent, all) = mixed();
        half_sent.advance(20);
        let mut out = OutBuf::new();
        out.append(&mut half_sent);
        assert_eq!(out.to_vec(), all[20..]);
    }

    #[test]
    fn values_are_let_go_as_soon_as_they_are_sent() {
        let value = blob(1000, b'v');
        let mut out = OutBuf::new();
        out.splice(&value);
        out.extend(b"\r\n");
        out.advance(999);
        assert!(value.is_shared());
        out.advance(1);
        assert!(!value.is_shared());
        assert_eq!(out.to_vec(), b"\r\n");
    }

    #[test]
    fn a_slow_reader_does_not_keep_what_it_has_read() {
        let mut out = OutBuf::new();
        for round in 0..1000 {
            out.extend(&[b'x'; 1000]);
            out.splice(&blob(10, b'b'));
            if round > 10 {
                out.advance(1010);
            }
        }
        assert_eq!(out.len(), 11 * 1010);
        assert!(out.capacity() < 1 << 20, "{}", out.capacity());
        let to_vec = out.to_vec();
        assert_eq!(send(&mut out, 333, 4), to_vec);
    }

    #[test]
    fn what_a_slow_reader_leaves_stands_in_pieces() {
        let mut random = fastrand::Rng::with_seed(5);
        let (mut out, mut twin) = (OutBuf::new(), Vec::new());
        for round in 0..2000u32 {
            let mut more = OutBuf::new();
            let len = if round % 100 == 7 { PIECE_MIN + random.usize(..1000) } else { random.usize(1..3000) };
            more.extend(&(0..len).map(|i| (round as usize + i) as u8).collect::<Vec<u8>>());
            if round % 50 == 3 {
                more.splice(&blob(9000, round as u8));
            }
            twin.extend(more.to_vec());
            out.append(&mut more);
            assert!(out.bytes.len() < 4 * PIECE_MIN, "{} bytes in one buffer", out.bytes.len());
            if round % 3 == 0 {
                let n = random.usize(..out.len().min(3000));
                out.advance(n);
                twin.drain(..n);
            }
            assert_eq!(out.len(), twin.len());
        }
        assert!(out.len() > 20 * PIECE_MIN && out.capacity() < 4 * PIECE_MIN, "{}", out.capacity());
        assert!(out.to_vec() == twin && send(&mut out, 70_000, 8) == twin);
        assert_eq!((out.len(), out.position()), (0, 0));
    }

    #[test]
    fn truncating_drops_the_values_behind() {
        let (mut out, all) = mixed();
        out.truncate_to(5);
        assert_eq!(out.to_vec(), all[..55]);
        out.truncate_to(2);
        assert_eq!(out.to_vec(), b"on");
        out.truncate_to(0);
        assert!(out.is_empty());
        out.splice(&blob(0, 0));
        assert!(out.is_empty(), "an empty value is nothing to send");
    }

    #[test]
    fn memory_is_given_back_when_empty() {
        let mut out = OutBuf::with_capacity(100_000);
        out.extend(b"x");
        out.shrink(16 * 1024);
        assert_eq!(out.to_vec(), b"x");
        out.advance(1);
        out.shrink(16 * 1024);
        assert!(out.capacity() <= 16 * 1024);
    }

    #[test]
    #[should_panic(expected = "more bytes sent than there were")]
    fn sending_more_than_there_is() {
        OutBuf::new().advance(1);
    }
}
