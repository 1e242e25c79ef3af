//! Memory of the packed entries: one reserved mapping, cut into segments.
//!
//! ```text
//! mapping   up to 32 GiB of address space, reserved once, never unmapped before the end
//! segment   64 KiB of it; belongs to one arena (arena.rs) of one database at a time
//! Ref       u32: offset / 8 into the mapping; 0 is "none"
//! ```
//!
//! The mapping stays readable for ever, so a stale reference reads old bytes or zeros, never
//! faults. What is in a segment is its arena's affair.
#![allow(unsafe_code)] // raw memory: the mapping, and places handed out of it

use super::OutOfSpace;
use parking_lot::Mutex;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Bytes of a segment.
pub(super) const SEGMENT_BYTES: usize = 64 << 10;
/// Granularity of places.
pub(super) const UNIT: usize = 8;
pub(super) const SEGMENT_UNITS: u32 = (SEGMENT_BYTES / UNIT) as u32;
/// All that a `Ref` can reach, less a segment, so that the end of each is a `Ref` too.
pub(super) const MAPPING_BYTES_MAX: usize = (u32::MAX as usize + 1) * UNIT - SEGMENT_BYTES;
/// No entry is of more units than this (6 + 10 header, 255 key, 4096 of a collection).
pub(super) const UNITS_MAX: usize = 576;
/// Freed segments that stay resident for reuse, at least.
const DIRTY_SEGMENTS_KEPT: usize = 16;

/// A place in the mapping; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Ref(pub u32);

impl Ref {
    pub fn segment(self) -> u32 {
        self.0 / SEGMENT_UNITS
    }
}

/// What a segment is; part of `Meta::state`.
const FREE: u32 = 0;
pub(super) const OPEN: u32 = 1;
pub(super) const CLOSED: u32 = 2;
pub(super) const EVACUATING: u32 = 3;

/// Book-keeping of a segment; all zero is a free one. Guarded by the owner's lock, atomic
/// only because the table is shared.
#[derive(Default)]
pub(super) struct Meta {
    pub state: AtomicU32,
    /// Units in living entries.
    pub live: AtomicU32,
    /// Units bumped so far, the unusable first unit of the mapping included.
    pub used: AtomicU32,
    /// Units from its start that may be resident; `used` may be beyond them.
    pub touched: AtomicU32,
    pub generation: AtomicU32,
    /// Index of the owning arena, and position in its list.
    pub arena: AtomicU32,
    pub position: AtomicU32,
}

/// Address space that is touched only where it is used.
struct Region {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a region is plain memory; who may touch which byte is the users' affair.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    #[cfg(not(miri))]
    fn reserve(bytes: usize) -> std::io::Result<Region> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping aliases nothing.
        let p = unsafe {
            libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        if p == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        // Huge pages would be torn by each give-back of 64 KiB, and inflate a small process.
        // SAFETY: advice on our own mapping; failure is harmless.
        unsafe { libc::madvise(p, bytes, libc::MADV_NOHUGEPAGE) };
        let base = NonNull::new(p.cast()).ok_or_else(|| std::io::Error::other("mapping at address 0"))?;
        Ok(Region { base, bytes })
    }

    #[cfg(miri)]
    fn reserve(bytes: usize) -> std::io::Result<Region> {
        let layout = std::alloc::Layout::from_size_align(bytes, 4096).map_err(std::io::Error::other)?;
        // SAFETY: the size is not zero.
        let p = unsafe { std::alloc::alloc_zeroed(layout) };
        let base = NonNull::new(p).ok_or_else(|| std::io::Error::other("out of memory"))?;
        Ok(Region { base, bytes })
    }

    /// Gives the pages back; they read as zeros afterwards.
    fn discard(&self, from: usize, bytes: usize) {
        assert!(from + bytes <= self.bytes);
        #[cfg(not(miri))]
        // SAFETY: inside our mapping; the caller owns these bytes (a free segment).
        unsafe {
            libc::madvise(self.base.as_ptr().add(from).cast(), bytes, libc::MADV_DONTNEED);
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        #[cfg(not(miri))]
        // SAFETY: our mapping, and the last user is gone.
        unsafe {
            libc::munmap(self.base.as_ptr().cast(), self.bytes);
        }
        #[cfg(miri)]
        // SAFETY: the same layout as in `reserve`.
        unsafe {
            let layout = std::alloc::Layout::from_size_align_unchecked(self.bytes, 4096);
            std::alloc::dealloc(self.base.as_ptr(), layout);
        }
    }
}

#[derive(Default)]
struct Pool {
    /// Segments from here on were never used.
    fresh: u32,
    /// Free and resident, then free and given back.
    dirty: Vec<u32>,
    clean: Vec<u32>,
}

/// The mapping and its segments, shared by all databases.
pub(super) struct Segments {
    region: Region,
    metas: Region,
    count: u32,
    pool: Mutex<Pool>,
    dirty: AtomicUsize,
    taken: AtomicUsize,
    given_back: AtomicU64,
}

impl Segments {
    /// Reserves `bytes` of address space, or a smaller power-of-two fraction if the system refuses.
    pub fn reserve(bytes: usize) -> std::io::Result<Segments> {
        let mut bytes = bytes.clamp(SEGMENT_BYTES * 8, MAPPING_BYTES_MAX) / SEGMENT_BYTES * SEGMENT_BYTES;
        let region = loop {
            match Region::reserve(bytes) {
                Ok(region) => break region,
                Err(e) if bytes <= 16 * SEGMENT_BYTES => return Err(e),
                Err(_) => bytes = bytes / 2 / SEGMENT_BYTES * SEGMENT_BYTES,
            }
        };
        let count = (bytes / SEGMENT_BYTES) as u32;
        let metas = Region::reserve(count as usize * size_of::<Meta>())?;
        Ok(Segments {
            region,
            metas,
            count,
            pool: Mutex::default(),
            dirty: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            given_back: AtomicU64::new(0),
        })
    }

    #[inline]
    pub fn meta(&self, segment: u32) -> &Meta {
        assert!(segment < self.count, "invariant: a segment inside the mapping");
        // SAFETY: the region holds `count` metas, zeroed, which is a valid `Meta` of atomics.
        unsafe { &*self.metas.base.as_ptr().cast::<Meta>().add(segment as usize) }
    }

    /// The address of a place. Only an address: reading needs the shard's lock.
    #[inline]
    pub fn address(&self, place: Ref) -> NonNull<u8> {
        let offset = place.0 as usize * UNIT;
        debug_assert!(offset != 0 && offset < self.region.bytes);
        // SAFETY: a `Ref` below the size of the mapping, checked when it was made.
        unsafe { self.region.base.add(offset) }
    }

    /// An address that may be garbage, for prefetching; inside the mapping all the same.
    #[inline]
    pub fn address_hint(&self, raw: u32) -> *const u8 {
        self.region.base.as_ptr().wrapping_add(raw as usize * UNIT)
    }

    /// Index of the arena that owns the place.
    #[inline]
    pub fn arena_of(&self, place: Ref) -> usize {
        self.meta(place.segment()).arena.load(Relaxed) as usize
    }

    /// Bytes of segments in use.
    pub fn taken_bytes(&self) -> usize {
        self.taken.load(Relaxed) * SEGMENT_BYTES
    }

    /// Whether less than a 64th of the segments is free.
    pub fn is_nearly_full(&self) -> bool {
        self.taken.load(Relaxed) + self.count as usize / 64 >= self.count as usize
    }

    /// Bytes of free segments that are still resident.
    pub fn dirty_bytes(&self) -> usize {
        self.dirty.load(Relaxed) * SEGMENT_BYTES
    }

    /// Bytes given back to the system since the start.
    pub fn given_back_bytes(&self) -> u64 {
        self.given_back.load(Relaxed)
    }

    /// A segment that belongs to nobody, best a warm one.
    pub fn take(&self) -> Result<u32, OutOfSpace> {
        let mut pool = self.pool.lock();
        let (segment, touched) = if let Some(s) = pool.dirty.pop() {
            self.dirty.store(pool.dirty.len(), Relaxed);
            (s, SEGMENT_UNITS)
        } else if let Some(s) = pool.clean.pop() {
            (s, 0)
        } else if pool.fresh < self.count {
            pool.fresh += 1;
            (pool.fresh - 1, 0)
        } else {
            return Err(OutOfSpace);
        };
        self.meta(segment).touched.store(touched, Relaxed);
        self.taken.fetch_add(1, Relaxed);
        Ok(segment)
    }

    /// The segment belongs to nobody any more; what referred into it is void.
    pub fn give(&self, segment: u32) {
        let meta = self.meta(segment);
        meta.generation.fetch_add(1, Relaxed);
        meta.state.store(FREE, Relaxed);
        let mut pool = self.pool.lock();
        pool.dirty.push(segment);
        self.dirty.store(pool.dirty.len(), Relaxed);
        self.taken.fetch_sub(1, Relaxed);
    }

    /// Gives back the pages behind what is used of a segment. The lock of its arena must be held: nobody bumps into it.
    pub fn discard_tail(&self, segment: u32) {
        let meta = self.meta(segment);
        let (from, to) = tail(meta);
        if from < to {
            self.region.discard(segment as usize * SEGMENT_BYTES + from, to - from);
            self.given_back.fetch_add((to - from) as u64, Relaxed);
            meta.touched.store(meta.used.load(Relaxed), Relaxed);
        }
    }

    /// Whether there are such pages.
    pub fn has_tail(&self, segment: u32) -> bool {
        let (from, to) = tail(self.meta(segment));
        from < to
    }

    fn kept(&self, quiet: bool) -> usize {
        if quiet { 0 } else { DIRTY_SEGMENTS_KEPT.max(self.taken.load(Relaxed) / 64) }
    }

    /// Whether there are pages to give back; when it is quiet nothing is kept for soon.
    pub fn wants_discard(&self, quiet: bool) -> bool {
        self.dirty.load(Relaxed) > self.kept(quiet)
    }

    /// Gives the pages of up to `limit` free segments back to the system.
    pub fn discard(&self, limit: usize, quiet: bool) -> usize {
        let keep = self.kept(quiet);
        let mut batch = Vec::new();
        {
            let mut pool = self.pool.lock();
            // The oldest go: those on top of the stack are warm.
            let n = pool.dirty.len().saturating_sub(keep).min(limit);
            batch.extend(pool.dirty.drain(..n));
            self.dirty.store(pool.dirty.len(), Relaxed);
        }
        batch.sort_unstable();
        for run in batch.chunk_by(|a, b| a + 1 == *b) {
            self.region.discard(run[0] as usize * SEGMENT_BYTES, run.len() * SEGMENT_BYTES);
        }
        self.given_back.fetch_add((batch.len() * SEGMENT_BYTES) as u64, Relaxed);
        let mut pool = self.pool.lock();
        // Low segments on top, so that the used ones stay together.
        pool.clean.extend(batch.iter().rev());
        batch.len()
    }
}

/// Where the pages behind what is used of a segment begin, and where those end that were ever used.
fn tail(meta: &Meta) -> (usize, usize) {
    let from = (meta.used.load(Relaxed) as usize * UNIT).next_multiple_of(rustix::param::page_size());
    (from, meta.touched.load(Relaxed) as usize * UNIT)
}

/// Where the first entry of a segment may be.
pub(super) const fn first_unit(segment: u32) -> u32 {
    // Unit 0 of the mapping would be `Ref` 0.
    (segment == 0) as u32
}
