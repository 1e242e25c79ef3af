//! Small collections as one run of bytes, in the byte formats of Redis, so that
//! DUMP, RDB files and replication copy them as they are.
//!
//! ```text
//! buffer      bytes with room at both ends
//! integer     decimal text ⇄ i64, where only the one canonical spelling counts
//! element     one listpack element: encode, decode, compare
//! listpack    a sequence of elements, walked both ways
//! intset      a sorted array of integers of one width
//! ```
//!
//! Bytes from outside come in through `from_untrusted`, which decodes everything
//! once with the very functions that later read it. After that, malformed bytes
//! are a broken invariant and panic (safe indexing everywhere; `unsafe` only in `buffer.rs` and `listpack/lent.rs`).

pub(super) mod buffer;
pub mod element;
pub mod integer;
pub mod intset;
pub mod listpack;

pub use element::Elem;
pub use intset::Intset;
pub use listpack::{ELEMENT_BYTES_MAX, Listpack};

/// Bytes from outside that are not a well-formed packed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad data format")]
pub struct Corrupt;

/// What the allocator sets aside for a request of `n` bytes: jemalloc's size
/// classes, four to each doubling.
pub const fn allocated(n: usize) -> usize {
    if n == 0 {
        0
    } else if n <= 8 {
        8
    } else if n <= 128 {
        n.next_multiple_of(16)
    } else {
        let step = (1usize << (usize::BITS - 1 - (n - 1).leading_zeros())) >> 2;
        n.next_multiple_of(step)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn allocation_sizes_follow_the_classes() {
        for (asked, given) in
            [(0, 0), (1, 8), (9, 16), (17, 32), (113, 128), (129, 160), (161, 192), (256, 256), (257, 320)]
        {
            assert_eq!(super::allocated(asked), given, "{asked}");
        }
        assert_eq!(super::allocated(8193), 10240);
    }
}
