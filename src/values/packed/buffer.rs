//! Bytes in one allocation, with room at both ends.
//!
//! ```text
//! | room | bytes … | room |      allocated(len) in all
//! ```
//!
//! The allocation is always of the size class of what is in it, so it takes as much memory as one of exactly so many bytes. What
//! the allocator would have rounded up is room: at the beginning if something was added or removed there last, else
//! at the end. So most changes at either end move nothing and do not ask the allocator, and a stack or a queue costs the
//! same at both.
#![allow(unsafe_code)] // a vector of 16 bytes, with room at its beginning, is not to be had from the standard library

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::allocated;
use crate::memory::Renewal;
use crate::memory::allocator::Allocation;

/// The bytes and the room around them. As large as a boxed slice.
pub struct Buffer {
    /// The bytes, all of them initialised.
    bytes: NonNull<u8>,
    /// They begin so far behind the beginning of an allocation of `size(len)` bytes; or they are `LENT`, or `BARE`.
    start: u32,
    len: u32,
}

/// Instead of room, of which there is never so much: the bytes are somebody else's; and besides they lack something that
/// bytes of one's own have, which is for whoever reads them to know.
const LENT: u32 = u32::MAX - 1;
const BARE: u32 = u32::MAX;

const _: () = assert!(size_of::<Option<Buffer>>() == size_of::<Box<[u8]>>());

// SAFETY: it owns what it points to, and changes it by `&mut` only.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

/// Size of the allocation for so many bytes; never nothing.
#[inline]
const fn size(len: usize) -> usize {
    if len == 0 { allocated(1) } else { allocated(len) }
}

#[inline]
fn layout(size: usize) -> Layout {
    // SAFETY: one is a power of two, and a size class for at most 4 GiB is far below `isize::MAX`.
    unsafe { Layout::from_size_align_unchecked(size, 1) }
}

fn allocate(size: usize) -> NonNull<u8> {
    // SAFETY: no size class is zero.
    let at = unsafe { alloc(layout(size)) };
    NonNull::new(at).unwrap_or_else(|| handle_alloc_error(layout(size)))
}

impl Buffer {
    /// Its allocation, with the room in front.
    #[inline]
    fn allocation(&self) -> NonNull<u8> {
        debug_assert!(self.start < LENT, "lent bytes have none");
        // SAFETY: the bytes begin so far behind it.
        unsafe { self.bytes.sub(self.start as usize) }
    }

    /// The bytes are now in this allocation, so far behind its beginning.
    #[inline]
    fn set(&mut self, at: NonNull<u8>, start: usize, len: u32) {
        // SAFETY: by the callers, who have just written there, that is inside.
        self.bytes = unsafe { at.add(start) };
        (self.start, self.len) = (start as u32, len);
    }

    /// Replaces the bytes `from..to` by `span` zeros.
    ///
    /// # Panics
    /// If there is no such range, or at more than 4 GiB.
    #[inline]
    pub fn splice(&mut self, from: usize, to: usize, span: usize) {
        let (start, old) = (self.start as usize, self.len as usize);
        assert!(from <= to && to <= old, "invariant: a range of these bytes");
        let new = u32::try_from(old - (to - from) + span).expect("invariant: callers limit what they add");
        let (head, tail) = (from, old - to);
        // What is behind is moved, as in a vector, unless hardly anything is before.
        let front = head < tail / 8;
        let room = size(old);
        if room != size(new as usize) {
            return self.splice_anew(from, to, span, new, front);
        }
        let begin = if front {
            (start + (to - from)).checked_sub(span).unwrap_or(room - new as usize)
        } else if start + new as usize <= room {
            start
        } else {
            0
        };
        let allocation = self.allocation();
        let at = allocation.as_ptr();
        // SAFETY: `start + old` and `begin + new` are within the allocation. Head and tail keep their order, so the one towards
        // which both may move goes first, and neither is written over before it was moved.
        unsafe {
            let move_head = || at.add(start).copy_to(at.add(begin), head);
            let move_tail = || at.add(start + to).copy_to(at.add(begin + head + span), tail);
            if begin < start {
                move_head();
            }
            if start + to != begin + head + span {
                move_tail();
            }
            if begin > start {
                move_head();
            }
            at.add(begin + head).write_bytes(0, span);
        }
        self.set(allocation, begin, new);
    }

    /// The same with an allocation of another size.
    #[cold]
    #[inline(never)]
    fn splice_anew(&mut self, from: usize, to: usize, span: usize, new: u32, front: bool) {
        let (start, old) = (self.start as usize, self.len as usize);
        let (room, wanted, tail) = (size(old), size(new as usize), old - to);
        let was = self.allocation();
        let in_place = start == 0 && !front && wanted > room;
        // Where something was added more will be.
        let begin = if front && wanted > room { wanted - new as usize } else { 0 };
        let at = if in_place {
            // SAFETY: the allocation is of that size, and the new one is not smaller.
            let at = unsafe { realloc(was.as_ptr(), layout(room), wanted) };
            NonNull::new(at).unwrap_or_else(|| handle_alloc_error(layout(wanted)))
        } else {
            allocate(wanted)
        };
        let (source, target) = (if in_place { at } else { was }.as_ptr(), at.as_ptr());
        // SAFETY: `start + old` is within the old allocation and `begin + new` within the new one. Where both are the same nothing
        // is before either, so the head stays where it is.
        unsafe {
            source.add(start + to).copy_to(target.add(begin + from + span), tail);
            if !in_place {
                source.add(start).copy_to(target.add(begin), from);
                dealloc(source, layout(room));
            }
            target.add(begin + from).write_bytes(0, span);
        }
        self.set(at, begin, new);
    }

    /// So many zeros.
    pub fn zeroed(len: usize) -> Self {
        let at = allocate(size(len));
        // SAFETY: the new allocation has room for them.
        unsafe { at.write_bytes(0, len) };
        Buffer {
            bytes: at,
            start: 0,
            len: u32::try_from(len).expect("invariant: callers limit what they store"),
        }
    }

    /// Bytes that stand elsewhere, as if they were in an allocation of their own.
    ///
    /// # Safety
    /// The result is only read, and only while the bytes can be. What is made of it is never changed, and never dropped.
    pub unsafe fn lent(bytes: &[u8], bare: bool) -> Self {
        let len = u32::try_from(bytes.len()).expect("invariant: what is lent is small");
        Buffer { bytes: NonNull::from(bytes).cast(), start: if bare { BARE } else { LENT }, len }
    }

    /// Whether the bytes are lent.
    #[inline(always)]
    pub fn is_lent(&self) -> bool {
        self.start >= LENT
    }

    /// Whether they are lent as bare ones.
    #[inline(always)]
    pub fn is_bare(&self) -> bool {
        self.start == BARE
    }

    /// Moves the bytes, if need be.
    pub fn renew(&mut self, renewal: &mut Renewal) {
        if renewal.wants(self) {
            *self = Buffer::from(&**self);
        }
    }
}

impl From<&[u8]> for Buffer {
    fn from(bytes: &[u8]) -> Self {
        let len = u32::try_from(bytes.len()).expect("invariant: callers limit what they store");
        let at = allocate(size(bytes.len()));
        // SAFETY: the new allocation has room for them.
        unsafe { at.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Buffer { bytes: at, start: 0, len }
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        Buffer::from(&**self)
    }
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this is the size with which it was allocated.
        unsafe { dealloc(self.allocation().as_ptr(), layout(size(self.len as usize))) };
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: these bytes are within the allocation and initialised.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr(), self.len as usize) }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and nobody else has them.
        unsafe { std::slice::from_raw_parts_mut(self.bytes.as_ptr(), self.len as usize) }
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Buffer) -> bool {
        **self == **other
    }
}

impl Eq for Buffer {}

// SAFETY: the allocation is its own for as long as it lives.
unsafe impl Allocation for Buffer {
    fn address(&self) -> Option<NonNull<u8>> {
        Some(self.allocation())
    }
    fn bytes(&self) -> usize {
        size(self.len as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Begin and end of the room in front, of the bytes and of the room behind.
    fn shape(buffer: &Buffer) -> (usize, usize, usize) {
        let (start, len) = (buffer.start as usize, buffer.len as usize);
        (start, len, size(len) - start - len)
    }

    #[test]
    fn room_is_where_something_was_added() {
        let mut buffer = Buffer::from(&[1; 100][..]);
        assert_eq!(shape(&buffer), (0, 100, 12));
        buffer.splice(2, 2, 5);
        assert_eq!(shape(&buffer), (7, 105, 0), "all of it, with the bytes that had to be moved");
        let at = buffer.allocation();
        buffer.splice(2, 2, 7);
        assert_eq!((shape(&buffer), buffer.allocation()), ((0, 112, 0), at));
        buffer.splice(2, 2, 8);
        assert_eq!(shape(&buffer), (8, 120, 0), "another size class");
        buffer.splice(120, 120, 8);
        assert_eq!(shape(&buffer), (0, 128, 0));
        buffer.splice(128, 128, 2);
        assert_eq!(shape(&buffer), (0, 130, 30));
        buffer.splice(0, 3, 1);
        assert_eq!(shape(&buffer), (0, 128, 0));
        buffer.splice(0, 128, 0);
        assert_eq!(shape(&buffer), (0, 0, 8));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]

        #[test]
        fn changes_are_those_of_a_vector(
            len in 0usize..200,
            steps in prop::collection::vec((0usize..4, any::<u16>(), 0usize..40, 0usize..60), 1..60),
        ) {
            let mut vec: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let mut buffer = Buffer::from(&*vec);
            for (n, (place, at, cut, span)) in steps.into_iter().enumerate() {
                let from = [0, 6, usize::from(at), usize::MAX][place].min(vec.len());
                let to = (from + cut * (n % 3)).min(vec.len());
                buffer.splice(from, to, span);
                prop_assert!(buffer[from..from + span].iter().all(|&b| b == 0));
                buffer[from..from + span].fill(n as u8);
                vec.splice(from..to, std::iter::repeat_n(n as u8, span));
                prop_assert_eq!(&*buffer, &*vec);
                prop_assert!(buffer.start as usize + vec.len() <= size(vec.len()));
            }
            prop_assert_eq!(&*buffer.clone(), &*vec);
        }
    }
}
