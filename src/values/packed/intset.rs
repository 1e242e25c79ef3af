//! A sorted array of integers of one width.
//!
//! ```text
//! u32 width in bytes (2, 4, 8)   u32 count   count integers, ascending     all little endian
//! ```
//!
//! The width is that of the widest member ever added; it never goes back.

use super::buffer::Buffer;
use super::{Corrupt, allocated};
use crate::memory::Renewal;

const HEADER: usize = 8;

/// Most members: keeps every length far from the width of its field.
pub const LEN_MAX: usize = 1 << 27;

/// A set of integers in the byte format of Redis' intset.
#[derive(Clone, PartialEq, Eq)]
pub struct Intset(Buffer);

impl Default for Intset {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Intset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Intset {
    /// An empty set, 16 bits wide.
    pub fn new() -> Self {
        Intset(Buffer::from(&[2, 0, 0, 0, 0, 0, 0, 0][..]))
    }

    /// Takes over bytes from outside after checking all of them.
    pub fn from_untrusted(bytes: &[u8]) -> Result<Self, Corrupt> {
        let width = usize::try_from(u32_at(bytes, 0).ok_or(Corrupt)?).map_err(|_| Corrupt)?;
        let count = usize::try_from(u32_at(bytes, 4).ok_or(Corrupt)?).map_err(|_| Corrupt)?;
        if !matches!(width, 2 | 4 | 8) || count > LEN_MAX || bytes.len() != HEADER + count * width {
            return Err(Corrupt);
        }
        let set = Intset(bytes.into());
        if set.iter().zip(set.iter().skip(1)).any(|(a, b)| a >= b) {
            return Err(Corrupt);
        }
        Ok(set)
    }

    /// Bytes that were one already.
    pub(in crate::values) fn from_own(bytes: Buffer) -> Self {
        Intset(bytes)
    }

    /// The bytes as Redis stores them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Moves the bytes, if need be.
    pub fn renew(&mut self, renewal: &mut Renewal) {
        self.0.renew(renewal);
    }

    /// Bytes of memory on the heap.
    pub fn memory(&self) -> usize {
        allocated(self.0.len())
    }

    /// Number of members.
    #[inline]
    pub fn len(&self) -> usize {
        (self.0.len() - HEADER) / self.width()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.len() == HEADER
    }

    #[inline]
    fn width(&self) -> usize {
        usize::from(self.0[0])
    }

    /// The member at `index` in ascending order.
    #[inline]
    pub fn get(&self, index: usize) -> Option<i64> {
        let width = self.width();
        let at = HEADER.checked_add(index.checked_mul(width)?)?;
        let b = self.0.get(at..)?;
        Some(match width {
            2 => i64::from(i16::from_le_bytes(*b.first_chunk()?)),
            4 => i64::from(i32::from_le_bytes(*b.first_chunk()?)),
            _ => i64::from_le_bytes(*b.first_chunk()?),
        })
    }

    /// All members, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + Clone + '_ {
        (0..self.len()).map(|i| self.get(i).expect("invariant: below the count"))
    }

    /// Where `value` is, or where it would be.
    fn search(&self, value: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        // Ascending insertion is the usual way to fill a set: look at the end first.
        if high > 0 && self.get(high - 1).is_some_and(|last| last < value) {
            return Err(high);
        }
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle).expect("invariant: below the count").cmp(&value) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// Whether `value` is a member.
    pub fn contains(&self, value: i64) -> bool {
        width_of(value) <= self.width() && self.search(value).is_ok()
    }

    /// Adds `value`; whether it is new.
    ///
    /// # Panics
    /// Beyond [`LEN_MAX`] members; thresholds are capped far below that.
    pub fn insert(&mut self, value: i64) -> bool {
        assert!(self.len() < LEN_MAX, "invariant: intset thresholds are capped");
        let width = width_of(value);
        if width > self.width() {
            self.upgrade(width, value);
            return true;
        }
        let Err(index) = self.search(value) else {
            return false;
        };
        let width = self.width();
        let at = HEADER + index * width;
        self.0.splice(at, at, width);
        self.0[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        self.write_count();
        true
    }

    /// Rewrites the set with wider members, and adds `value`, which is why they
    /// are wider: it is below or above all others.
    fn upgrade(&mut self, width: usize, value: i64) {
        let count = self.len();
        let mut bytes = Vec::with_capacity(HEADER + (count + 1) * width);
        bytes.extend_from_slice(&(width as u32).to_le_bytes());
        bytes.extend_from_slice(&(count as u32 + 1).to_le_bytes());
        let mut push = |n: i64| bytes.extend_from_slice(&n.to_le_bytes()[..width]);
        if value < 0 {
            push(value);
        }
        self.iter().for_each(&mut push);
        if value >= 0 {
            push(value);
        }
        self.0 = Buffer::from(&*bytes);
    }

    /// Removes `value`; whether it was there.
    pub fn remove(&mut self, value: i64) -> bool {
        if width_of(value) > self.width() {
            return false;
        }
        match self.search(value) {
            Ok(index) => {
                self.remove_range(index, 1);
                true
            }
            Err(_) => false,
        }
    }

    /// Removes up to `count` members from `index` on.
    pub fn remove_range(&mut self, index: usize, count: usize) {
        let len = self.len();
        let index = index.min(len);
        let count = count.min(len - index);
        let width = self.width();
        let start = HEADER + index * width;
        self.0.splice(start, start + count * width, 0);
        self.write_count();
    }

    fn write_count(&mut self) {
        let count = self.len() as u32; // at most LEN_MAX
        self.0[4..8].copy_from_slice(&count.to_le_bytes());
    }
}

/// Bytes that `value` needs.
fn width_of(value: i64) -> usize {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn bytes_are_those_of_redis() {
        let mut set = Intset::new();
        for n in [3, 1, 2, 1] {
            set.insert(n);
        }
        assert_eq!(set.as_bytes(), b"\x02\0\0\0\x03\0\0\0\x01\0\x02\0\x03\0");
        set.insert(-70_000);
        assert_eq!(set.as_bytes(), b"\x04\0\0\0\x04\0\0\0\x90\xee\xfe\xff\x01\0\0\0\x02\0\0\0\x03\0\0\0");
        set.insert(i64::MAX);
        assert_eq!(set.as_bytes()[..8], *b"\x08\0\0\0\x05\0\0\0");
        assert_eq!(set.iter().collect::<Vec<_>>(), [-70_000, 1, 2, 3, i64::MAX]);
    }

    #[test]
    fn forged_bytes_are_refused() {
        let good = b"\x02\0\0\0\x02\0\0\0\x01\0\x02\0";
        assert!(Intset::from_untrusted(good).is_ok());
        for bad in [
            &b""[..],
            b"\x02\0\0\0",
            b"\x03\0\0\0\x02\0\0\0\x01\0\x02\0",       // width
            b"\x02\0\0\0\x03\0\0\0\x01\0\x02\0",       // count too large
            b"\x02\0\0\0\x01\0\0\0\x01\0\x02\0",       // bytes left over
            b"\x02\0\0\0\x02\0\0\0\x02\0\x01\0",       // order
            b"\x02\0\0\0\x02\0\0\0\x01\0\x01\0",       // duplicate
            b"\x02\x01\0\0\x02\0\0\0\x01\0\x02\0",     // width beyond a byte
            b"\x08\0\0\0\xff\xff\xff\xff\x01\0\x02\0", // giant count
        ] {
            assert_eq!(Intset::from_untrusted(bad), Err(Corrupt), "{bad:?}");
        }
    }

    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![
            -20i64..20,
            -40_000i64..40_000,
            Just(i64::MIN),
            Just(i64::MAX),
            any::<i32>().prop_map(i64::from)
        ]
    }

    proptest! {
        #[test]
        fn behaves_as_a_btreeset(ops in prop::collection::vec((any::<bool>(), number()), 0..200)) {
            let mut set = Intset::new();
            let mut twin = BTreeSet::new();
            for (add, n) in ops {
                if add {
                    prop_assert_eq!(set.insert(n), twin.insert(n));
                } else {
                    prop_assert_eq!(set.contains(n), twin.contains(&n));
                    prop_assert_eq!(set.remove(n), twin.remove(&n));
                }
                prop_assert_eq!(set.len(), twin.len());
            }
            prop_assert!(set.iter().eq(twin.iter().copied()));
            prop_assert_eq!(Intset::from_untrusted(set.as_bytes()), Ok(set));
        }
    }
}
