//! Memory of the packed entries: one reserved mapping, cut into segments.
//!
//! ```text
//! mapping   up to 32 GiB of address space, reserved once, never unmapped before the end
//! segment   64 KiB of it; belongs to one arena of one database at a time
//! Ref       u32: offset / 8 into the mapping; 0 is "none"
//! arena     1/8 of one database by the top 3 bits of the hash: an open segment to bump
//!           into, closed ones, free stacks per 8-byte class
//! ```
//!
//! Invariants
//! 1. A segment's meta, and the bytes that it hands out, change only under the lock of
//!    the arena that owns it. A place is written under that lock before it is published,
//!    so whoever took the lock later may read key and size of each entry in it.
//! 2. An entry's length in 8-byte units never changes while it is in its place, dead or
//!    alive: a segment can be walked from its start to `used`. A place is reused only by
//!    an entry of the same number of units.
//! 3. A free stack holds (place, generation); the segment's generation goes up when it
//!    is released or chosen for evacuation, which makes all such items void at once.
//! 4. While a segment is being evacuated nothing new is put into it; it is released by
//!    the evacuation only.
//! 5. The mapping stays readable for ever, so a stale reference reads old bytes or
//!    zeros, never faults.
#![allow(unsafe_code)] // raw memory: the mapping, and places handed out of it

use super::OutOfSpace;
use parking_lot::{Mutex, MutexGuard};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Bytes of a segment.
pub(super) const SEGMENT_BYTES: usize = 64 << 10;
/// Granularity of places.
pub(super) const UNIT: usize = 8;
const SEGMENT_UNITS: u32 = (SEGMENT_BYTES / UNIT) as u32;
/// All that a `Ref` can reach, less a segment, so that the end of each is a `Ref` too.
pub(super) const MAPPING_BYTES_MAX: usize = (u32::MAX as usize + 1) * UNIT - SEGMENT_BYTES;
/// Entries of more units than this are never packed (6 + 10 header, 255 key, 1024 value).
pub(super) const UNITS_MAX: usize = 192;
/// Items that one free stack keeps; further holes are left to compaction.
const STACK_ITEMS_MAX: usize = 4096;
/// Freed segments that stay resident for reuse, at least.
const DIRTY_SEGMENTS_KEPT: usize = 16;

/// A place in the mapping; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Ref(pub u32);

impl Ref {
    fn segment(self) -> u32 {
        self.0 / SEGMENT_UNITS
    }
}

/// What a segment is; part of `Meta::state`.
const FREE: u32 = 0;
const OPEN: u32 = 1;
const CLOSED: u32 = 2;
const EVACUATING: u32 = 3;

/// Book-keeping of a segment; all zero is a free one. Guarded by the owner's lock, atomic
/// only because the table is shared.
#[derive(Default)]
struct Meta {
    state: AtomicU32,
    /// Units in living entries.
    live: AtomicU32,
    /// Units bumped so far, the unusable first unit of the mapping included.
    used: AtomicU32,
    generation: AtomicU32,
    /// Index of the owning arena, and position in its list.
    arena: AtomicU32,
    position: AtomicU32,
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
    fn meta(&self, segment: u32) -> &Meta {
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

    fn take(&self) -> Result<u32, OutOfSpace> {
        let mut pool = self.pool.lock();
        let segment = if let Some(s) = pool.dirty.pop() {
            self.dirty.store(pool.dirty.len(), Relaxed);
            s
        } else if let Some(s) = pool.clean.pop() {
            s
        } else if pool.fresh < self.count {
            pool.fresh += 1;
            pool.fresh - 1
        } else {
            return Err(OutOfSpace);
        };
        self.taken.fetch_add(1, Relaxed);
        Ok(segment)
    }

    fn give(&self, segment: u32) {
        let meta = self.meta(segment);
        meta.generation.fetch_add(1, Relaxed);
        meta.state.store(FREE, Relaxed);
        let mut pool = self.pool.lock();
        pool.dirty.push(segment);
        self.dirty.store(pool.dirty.len(), Relaxed);
        self.taken.fetch_sub(1, Relaxed);
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

const fn first_unit(segment: u32) -> u32 {
    // Unit 0 of the mapping would be `Ref` 0.
    (segment == 0) as u32
}

/// A segment that is being emptied, and how far.
pub(super) struct Victim {
    segment: u32,
    unit: u32,
}

/// An eighth of a database's packed memory.
pub(super) struct Arena {
    index: u32,
    inner: Mutex<Inner>,
    keys: AtomicUsize,
    expires: AtomicUsize,
    boxed: AtomicUsize,
    /// Units bumped in all segments, and units of them that hold living entries.
    used: AtomicUsize,
    live: AtomicUsize,
    /// A segment is being evacuated.
    unfinished: AtomicBool,
    /// Some free stacks should be looked through.
    stale: AtomicBool,
}

#[derive(Default)]
struct Inner {
    open: Option<u32>,
    segments: Vec<u32>,
    /// By number of units.
    stacks: Vec<Vec<(Ref, u32)>>,
    victim: Option<Victim>,
    /// A victim is out with a thread.
    evacuating: bool,
    sweep: usize,
    inserts: u32,
    /// Stacks that may hold places of segments that are gone; they are looked through one by one.
    stale_stacks: usize,
}

/// How a change alters the counts of a database.
#[derive(Clone, Copy, Default)]
pub(super) struct Delta {
    pub keys: isize,
    pub expires: isize,
    pub boxed: isize,
}

impl Arena {
    pub fn new(index: u32) -> Self {
        Arena {
            index,
            inner: Mutex::default(),
            keys: AtomicUsize::new(0),
            expires: AtomicUsize::new(0),
            boxed: AtomicUsize::new(0),
            used: AtomicUsize::new(0),
            live: AtomicUsize::new(0),
            unfinished: AtomicBool::new(false),
            stale: AtomicBool::new(false),
        }
    }

    #[inline]
    pub fn lock<'a>(&'a self, segments: &'a Segments) -> ArenaGuard<'a> {
        ArenaGuard { arena: self, segments, inner: self.inner.lock() }
    }

    pub fn keys(&self) -> usize {
        self.keys.load(Relaxed)
    }

    pub fn expires(&self) -> usize {
        self.expires.load(Relaxed)
    }

    /// Entries that own memory outside of the segment.
    pub fn boxed(&self) -> usize {
        self.boxed.load(Relaxed)
    }

    pub fn live_bytes(&self) -> usize {
        self.live.load(Relaxed) * UNIT
    }

    pub fn dead_bytes(&self) -> usize {
        self.used.load(Relaxed).saturating_sub(self.live.load(Relaxed)) * UNIT
    }

    /// Whether an evacuation was begun and not ended.
    pub fn is_evacuating(&self) -> bool {
        self.unfinished.load(Relaxed)
    }

    /// Whether free stacks hold what compaction has made void.
    pub fn has_stale_stacks(&self) -> bool {
        self.stale.load(Relaxed)
    }

    /// Whether more than `percent` of what is in use is dead, beyond `slack` bytes.
    #[inline]
    pub fn wants_compaction(&self, percent: usize, slack: usize) -> bool {
        let (used, live) = (self.used.load(Relaxed), self.live.load(Relaxed));
        used.saturating_sub(live) * 100 > used * percent + slack / UNIT * 100
    }
}

/// Counters have one writer at a time, the holder of the arena's lock.
#[inline]
fn add(counter: &AtomicUsize, n: isize) {
    counter.store(counter.load(Relaxed).wrapping_add_signed(n), Relaxed);
}

#[inline]
fn add32(counter: &AtomicU32, n: i32) {
    counter.store(counter.load(Relaxed).wrapping_add_signed(n), Relaxed);
}

/// The lock of an arena.
pub(super) struct ArenaGuard<'a> {
    arena: &'a Arena,
    segments: &'a Segments,
    inner: MutexGuard<'a, Inner>,
}

impl ArenaGuard<'_> {
    #[inline]
    pub fn count(&self, delta: Delta) {
        add(&self.arena.keys, delta.keys);
        add(&self.arena.expires, delta.expires);
        add(&self.arena.boxed, delta.boxed);
    }

    /// Counts inserts while a migration runs; true once every `every`.
    #[inline]
    pub fn insert_tick(&mut self, every: u32) -> bool {
        self.inner.inserts += 1;
        if self.inner.inserts >= every {
            self.inner.inserts = 0;
            return true;
        }
        false
    }

    /// A place of `units`, counted as living. It must be written before the guard goes.
    #[inline]
    pub fn reserve(&mut self, units: usize) -> Result<Ref, OutOfSpace> {
        if let Some(stack) = self.inner.stacks.get_mut(units) {
            while let Some((place, generation)) = stack.pop() {
                let meta = self.segments.meta(place.segment());
                if meta.generation.load(Relaxed) == generation {
                    add32(&meta.live, units as i32);
                    add(&self.arena.live, units as isize);
                    return Ok(place);
                }
            }
        }
        self.bump(units)
    }

    /// A new place at the end of the open segment.
    #[inline]
    pub fn bump(&mut self, units: usize) -> Result<Ref, OutOfSpace> {
        if let Some(segment) = self.inner.open
            && let Some(place) = self.bump_in(segment, units)
        {
            return Ok(place);
        }
        self.bump_new(units)
    }

    fn bump_in(&mut self, segment: u32, units: usize) -> Option<Ref> {
        let meta = self.segments.meta(segment);
        let used = meta.used.load(Relaxed);
        if used + units as u32 > SEGMENT_UNITS {
            return None;
        }
        meta.used.store(used + units as u32, Relaxed);
        add32(&meta.live, units as i32);
        add(&self.arena.used, units as isize);
        add(&self.arena.live, units as isize);
        Some(Ref(segment * SEGMENT_UNITS + used))
    }

    #[cold]
    #[inline(never)]
    fn bump_new(&mut self, units: usize) -> Result<Ref, OutOfSpace> {
        assert!(units <= UNITS_MAX, "invariant: an entry fits a segment");
        let segment = self.segments.take()?;
        if let Some(old) = self.inner.open.take() {
            self.segments.meta(old).state.store(CLOSED, Relaxed);
            if self.segments.meta(old).live.load(Relaxed) == 0 {
                self.give(old);
            }
        }
        let meta = self.segments.meta(segment);
        meta.state.store(OPEN, Relaxed);
        meta.live.store(0, Relaxed);
        meta.used.store(first_unit(segment), Relaxed);
        meta.arena.store(self.arena.index, Relaxed);
        meta.position.store(self.inner.segments.len() as u32, Relaxed);
        self.inner.segments.push(segment);
        self.inner.open = Some(segment);
        Ok(self.bump_in(segment, units).expect("invariant: an empty segment has room"))
    }

    /// A living place dies. The entry in it must be marked dead already.
    #[inline]
    pub fn release(&mut self, place: Ref, units: usize) {
        let segment = place.segment();
        let meta = self.segments.meta(segment);
        add32(&meta.live, -(units as i32));
        add(&self.arena.live, -(units as isize));
        let empty = meta.live.load(Relaxed) == 0;
        match meta.state.load(Relaxed) {
            CLOSED if empty => self.give(segment),
            OPEN if empty => {
                let first = first_unit(segment);
                add(&self.arena.used, -((meta.used.load(Relaxed) - first) as isize));
                meta.used.store(first, Relaxed);
                add32(&meta.generation, 1);
            }
            CLOSED | OPEN => self.push(place, units, meta.generation.load(Relaxed)),
            _ => {}
        }
    }

    fn push(&mut self, place: Ref, units: usize, generation: u32) {
        let stacks = &mut self.inner.stacks;
        if stacks.len() <= units {
            stacks.resize_with(units + 1, Vec::new);
        }
        if stacks[units].len() < STACK_ITEMS_MAX {
            stacks[units].push((place, generation));
        }
    }

    fn give(&mut self, segment: u32) {
        let meta = self.segments.meta(segment);
        add(&self.arena.used, -((meta.used.load(Relaxed) - first_unit(segment)) as isize));
        let position = meta.position.load(Relaxed) as usize;
        self.inner.segments.swap_remove(position);
        if let Some(&other) = self.inner.segments.get(position) {
            self.segments.meta(other).position.store(position as u32, Relaxed);
        }
        self.segments.give(segment);
    }

    /// Takes the next segment to empty, or the one that was put back: one with more than
    /// `percent` dead, none if no such was met among the next `visits`. With `open`, it may also be the one that is
    /// being filled.
    pub fn take_victim(&mut self, percent: u32, open: bool, visits: usize) -> Option<Victim> {
        if self.inner.evacuating {
            return None;
        }
        if let Some(victim) = self.inner.victim.take() {
            self.inner.evacuating = true;
            return Some(victim);
        }
        for _ in 0..visits.min(self.inner.segments.len()) {
            self.inner.sweep += 1;
            if self.inner.sweep >= self.inner.segments.len() {
                self.inner.sweep = 0;
            }
            let segment = self.inner.segments[self.inner.sweep];
            let meta = self.segments.meta(segment);
            let (used, live) = (meta.used.load(Relaxed), meta.live.load(Relaxed));
            let dead = used - first_unit(segment) - live;
            let state = meta.state.load(Relaxed);
            if (state == CLOSED || open && state == OPEN) && dead * 100 > used * percent {
                if state == OPEN {
                    self.inner.open = None;
                }
                meta.state.store(EVACUATING, Relaxed);
                add32(&meta.generation, 1);
                self.inner.evacuating = true;
                self.arena.unfinished.store(true, Relaxed);
                return Some(Victim { segment, unit: first_unit(segment) });
            }
        }
        None
    }

    /// Puts a victim back, to go on later; released if all of it was walked.
    pub fn put_victim(&mut self, victim: Victim) {
        self.inner.evacuating = false;
        let meta = self.segments.meta(victim.segment);
        if victim.unit < meta.used.load(Relaxed) {
            self.inner.victim = Some(victim);
        } else if meta.live.load(Relaxed) == 0 {
            self.give(victim.segment);
            self.inner.stale_stacks = self.inner.stacks.len();
            self.arena.stale.store(true, Relaxed);
        } else {
            debug_assert!(false, "an entry was left behind in an evacuated segment");
            meta.state.store(CLOSED, Relaxed);
        }
        self.arena.unfinished.store(self.inner.victim.is_some(), Relaxed);
    }

    /// Looks one free stack through: what is void goes, and so does the memory that is left over.
    pub fn prune(&mut self) {
        let Some(index) = self.inner.stale_stacks.checked_sub(1) else {
            self.arena.stale.store(false, Relaxed);
            return;
        };
        self.inner.stale_stacks = index;
        let segments = self.segments;
        if let Some(stack) = self.inner.stacks.get_mut(index) {
            stack.retain(|(place, generation)| {
                segments.meta(place.segment()).generation.load(Relaxed) == *generation
            });
            if stack.capacity() > 2 * stack.len() {
                stack.shrink_to_fit();
            }
        }
    }

    /// Bytes reserved for the free stacks.
    #[cfg(test)]
    pub fn listed_bytes(&self) -> usize {
        self.inner.stacks.iter().map(|stack| stack.capacity() * size_of::<(Ref, u32)>()).sum()
    }

    /// Gives all segments back; for a database that nobody can reach any more.
    pub fn clear(&mut self) {
        while let Some(&segment) = self.inner.segments.last() {
            self.give(segment);
        }
        *self.inner = Inner::default();
        for counter in [&self.arena.keys, &self.arena.expires, &self.arena.boxed, &self.arena.live] {
            counter.store(0, Relaxed);
        }
    }

    /// Where each segment begins and how far it is used, for walking.
    pub fn extents(&self) -> Vec<(Ref, Ref)> {
        let extent = |&s: &u32| {
            let base = s * SEGMENT_UNITS;
            (Ref(base + first_unit(s)), Ref(base + self.segments.meta(s).used.load(Relaxed)))
        };
        self.inner.segments.iter().map(extent).collect()
    }
}

impl Victim {
    /// The next place to look at, if there is one.
    pub fn place(&self, segments: &Segments) -> Option<Ref> {
        let used = segments.meta(self.segment).used.load(Relaxed);
        (self.unit < used).then(|| Ref(self.segment * SEGMENT_UNITS + self.unit))
    }

    /// Goes past an entry of this many units.
    pub fn advance(&mut self, units: usize) {
        self.unit += units as u32;
    }
}
