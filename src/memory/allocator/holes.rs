//! Free pieces inside of runs that are in use: their pages go back too.
//!
//! jemalloc hands small pieces out from runs of pages, and gives a run back when none of its pieces is in use. What is
//! free in the others stays in memory: in a process that has shrunk that is half a run for each size, and more where
//! survivors could not be moved together. So who has time for it takes all free pieces of a size, has the pages
//! forgotten which these cover whole, and frees the pieces again. A page comes back, by a fault, with the next use of it.
#![allow(unsafe_code)] // pieces without a type, as jemalloc's interface has them; madvise takes addresses

use std::ffi::c_void;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustix::mm::{Advice, madvise};
use rustix::param::page_size;
use tikv_jemalloc_ctl::{epoch, raw};
use tikv_jemalloc_sys::{MALLOCX_ARENA, MALLOCX_TCACHE_NONE, mallocx, sdallocx};

/// Most pieces of one size that are taken.
const PIECES_MAX: usize = 2048;

/// Bytes of pieces that are taken now: handed out, but not in use.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// These do not count as allocated.
pub(super) fn taken() -> usize {
    TAKEN.load(Relaxed)
}

/// A walk over the sizes of all arenas.
#[derive(Debug, Default)]
pub struct Holes {
    /// Where the walk is: arena, and size in that.
    at: (usize, usize),
    /// Bytes of pages that have been forgotten, of those too that were not in memory.
    pub bytes: usize,
}

/// Pieces of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pieces {
    arena: u32,
    size: usize,
    free: usize,
}

impl Holes {
    /// All of it at once.
    pub fn forget_all() {
        let mut holes = Holes::default();
        while holes.step() {}
    }

    /// Sees to one size of one arena; false when all have been seen to.
    pub fn step(&mut self) -> bool {
        // Without jemalloc for all there are no controls either; that is known, and not found out for each size.
        if super::numbers().is_none() || (self.at == (0, 0) && epoch::advance().is_err()) {
            return false;
        }
        let (Some(arenas), Some(sizes)) = (number(b"arenas.narenas\0"), number(b"arenas.nbins\0")) else {
            return false;
        };
        while self.at.0 < arenas {
            let at = self.at;
            self.at = if at.1 + 1 < sizes { (at.0, at.1 + 1) } else { (at.0 + 1, 0) };
            if let Some(pieces) = free_pieces(at.0, at.1).filter(|it| it.free * it.size >= page_size()) {
                self.bytes += forget(pieces);
                return true;
            }
        }
        false
    }
}

fn number(name: &[u8]) -> Option<usize> {
    // SAFETY: callers pass names of controls whose value is an unsigned int, as C strings.
    unsafe { raw::read::<u32>(name) }.ok().map(|it| it as usize)
}

/// What is free in an arena's runs of a size, as the figures were when they were last read.
fn free_pieces(arena: usize, size: usize) -> Option<Pieces> {
    let bin = |name: &[u8]| {
        let mut mib = [0; 6];
        raw::name_to_mib(name, &mut mib).ok()?;
        (mib[2], mib[4]) = (arena, size);
        // SAFETY: callers pass names of controls whose value is a size_t.
        unsafe { raw::read_mib::<usize>(&mib) }.ok()
    };
    let of_size = |name: &[u8]| {
        let mut mib = [0; 4];
        raw::name_to_mib(name, &mut mib).ok()?;
        mib[2] = size;
        Some(mib)
    };
    // SAFETY: the value of this control is a size_t, and of the next one an unsigned int.
    let bytes = unsafe { raw::read_mib::<usize>(&of_size(b"arenas.bin.0.size\0")?) }.ok()?;
    // SAFETY: as above.
    let in_run = unsafe { raw::read_mib::<u32>(&of_size(b"arenas.bin.0.nregs\0")?) }.ok()? as usize;
    let all = bin(b"stats.arenas.0.bins.0.curslabs\0")?.checked_mul(in_run)?;
    let free = all.saturating_sub(bin(b"stats.arenas.0.bins.0.curregs\0")?);
    Some(Pieces { arena: u32::try_from(arena).ok()?, size: bytes, free: free.min(PIECES_MAX) })
}

/// Takes these pieces, forgets the pages that they cover whole, and frees them; the bytes of those pages.
fn forget(Pieces { arena, size, free }: Pieces) -> usize {
    // Past this thread's cache: what is in there cannot be told from what is in the runs.
    let flags = MALLOCX_ARENA(arena as usize) | MALLOCX_TCACHE_NONE;
    let mut pieces: Vec<NonNull<u8>> = Vec::with_capacity(free);
    TAKEN.fetch_add(free * size, Relaxed);
    for _ in 0..free {
        // SAFETY: a size above zero, and flags without a value that could be wrong.
        let Some(piece) = NonNull::new(unsafe { mallocx(size, flags) }.cast()) else { break };
        pieces.push(piece);
    }
    pieces.sort_unstable();
    let mut bytes = 0;
    for pages in whole_pages(pieces.iter().map(|it| it.as_ptr().expose_provenance()), size, page_size()) {
        let at = std::ptr::with_exposed_provenance_mut::<c_void>(pages.start);
        // SAFETY: each byte of these pages belongs to a piece that was allocated above and is not used for anything, and
        // jemalloc keeps nothing of its own beside pieces, nor does it expect anything in free ones.
        if unsafe { madvise(at, pages.len(), Advice::LinuxDontNeed) }.is_ok() {
            bytes += pages.len();
        }
    }
    for piece in pieces {
        // SAFETY: allocated above, with this size and these flags, and not freed since.
        unsafe { sdallocx(piece.as_ptr().cast(), size, flags) };
    }
    TAKEN.fetch_sub(free * size, Relaxed);
    bytes
}

/// The pages that pieces of a size cover whole, as ranges of addresses. The pieces are in order.
fn whole_pages(
    pieces: impl Iterator<Item = usize>,
    size: usize,
    page: usize,
) -> impl Iterator<Item = Range<usize>> {
    let mut pieces = pieces.peekable();
    std::iter::from_fn(move || {
        let start = pieces.next()?;
        let mut end = start + size;
        while pieces.next_if_eq(&end).is_some() {
            end += size;
        }
        Some(start.next_multiple_of(page)..end / page * page)
    })
    .filter(|pages| !pages.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_whole_if_pieces_side_by_side_cover_them() {
        let of = |pieces: &[usize], size| {
            let pages = whole_pages(pieces.iter().copied(), size, 4096);
            pages.map(|pages| (pages.start, pages.end)).collect::<Vec<_>>()
        };
        assert_eq!(of(&[], 64), []);
        assert_eq!(of(&[8192, 8192 + 2048], 2048), [(8192, 12_288)]);
        assert_eq!(of(&[8192, 8192 + 3072], 2048), [], "there is a gap");
        assert_eq!(
            of(&[4096 + 3072, 10_240], 3072),
            [(8192, 12_288)],
            "from the middle of one page to that of another"
        );
        assert_eq!(of(&[0, 4096, 12_288], 4096), [(0, 8192), (12_288, 16_384)]);
        assert_eq!(of(&[2048, 20_480 + 2048], 6144), [(4096, 8192), (24_576, 28_672)]);
    }

    #[test]
    fn without_jemalloc_there_is_nothing_to_forget() {
        assert!(!Holes::default().step());
    }
}
