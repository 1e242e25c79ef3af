//! jemalloc: few arenas, pages given back after a second by its own thread, and its figures.
//!
//! The binary installs [`Allocator`]; the library alone (unit tests, fuzz targets) runs on the
//! system's allocator, and then the figures are those of an idle jemalloc. Everything that
//! may fail answers `None` or nothing: figures are never worth a crash.
#![allow(unsafe_code)] // mallctl by name and jemalloc's report are C interfaces

mod holes;

pub use holes::Holes;

use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;
use std::sync::{Arc, LazyLock};

use tikv_jemalloc_ctl::thread::{ThreadLocal, allocatedp, deallocatedp};
use tikv_jemalloc_ctl::{epoch, raw, stats};

/// To be installed as `#[global_allocator]`.
pub use tikv_jemallocator::Jemalloc as Allocator;

/// Settings that jemalloc reads when it starts. One arena, to which [`arenas_for`] adds where there are many workers: each costs
/// some 120 KiB in an idle process. A thread keeps 32 pieces of a size for its next requests at most: room for more, touched or not,
/// was a sixth of an idle process' memory. Dirty pages go back after a second, by a thread of its own, so also in an idle
/// process. Each run of pages from which pieces are handed out takes 128 bytes of bookkeeping, which never go back. So runs
/// are long, 64 KiB or 512 pieces: what is free in one goes back by itself ([`Holes`]).
const SETTINGS: &CStr =
    c"narenas:1,tcache_max:4096,tcache_nslots_small_max:32,dirty_decay_ms:1000,muzzy_decay_ms:0,\
background_thread:true,max_background_threads:1,slab_sizes:16-4096:16|5120-14336:18";

/// The symbol under which jemalloc looks for its settings.
#[repr(transparent)]
pub struct Settings(*const c_char);

// SAFETY: the pointer is to a constant that is only read.
unsafe impl Sync for Settings {}

/// Read by jemalloc before `main`.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MALLOC_CONF: Settings = Settings(SETTINGS.as_ptr());

/// What jemalloc says of itself, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Handed out, what threads keep for their next requests apart.
    pub allocated: usize,
    /// In pages from which something is handed out.
    pub active: usize,
    /// Mapped and backed by memory, its own bookkeeping included.
    pub resident: usize,
}

impl Figures {
    /// In pages from which something is handed out, and not handed out itself.
    pub fn unused(&self) -> usize {
        self.active.saturating_sub(self.allocated)
    }
}

/// jemalloc's figures as they are now. Takes some microseconds.
pub fn figures() -> Figures {
    if epoch::advance().is_err() {
        return Figures::default();
    }
    Figures {
        allocated: stats::allocated::read().unwrap_or(0).saturating_sub(cached() + holes::taken()),
        active: stats::active::read().unwrap_or(0),
        resident: stats::resident::read().unwrap_or(0),
    }
}

/// Bytes in the caches of all threads.
fn cached() -> usize {
    // 4096 is jemalloc's MALLCTL_ARENAS_ALL.
    // SAFETY: the name is a C string, and its value is a size_t.
    unsafe { raw::read::<usize>(b"stats.arenas.4096.tcache_bytes\0") }.unwrap_or(0)
}

/// What the thread that made this has allocated and freed so far.
#[derive(Clone, Copy)]
pub struct ThreadBytes(Option<(ThreadLocal<u64>, ThreadLocal<u64>)>);

impl Default for ThreadBytes {
    fn default() -> Self {
        // Miri has an allocator of its own.
        if cfg!(miri) {
            return ThreadBytes(None);
        }
        ThreadBytes(allocatedp::read().and_then(|a| Ok((a, deallocatedp::read()?))).ok())
    }
}

impl ThreadBytes {
    /// Freed in all: one load.
    #[inline]
    pub fn freed(&self) -> u64 {
        self.0.map_or(0, |(_, freed)| freed.get())
    }

    /// Allocated less freed: two loads.
    #[inline]
    pub fn net(&self) -> i64 {
        self.0.map_or(0, |(allocated, freed)| allocated.get().wrapping_sub(freed.get()).cast_signed())
    }
}

/// What this thread has allocated less what it has freed.
#[inline]
pub fn of_this_thread() -> i64 {
    thread_local! {
        static BYTES: ThreadBytes = ThreadBytes::default();
    }
    BYTES.with(ThreadBytes::net)
}

/// `jemalloc-5.3.0`
pub fn name() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        let version = tikv_jemalloc_ctl::version::read().unwrap_or("unknown");
        format!("jemalloc-{}", version.split('-').next().unwrap_or(version))
    });
    &NAME
}

/// Gives unused pages of all arenas back now (MEMORY PURGE).
pub fn purge() {
    // 4096 is jemalloc's MALLCTL_ARENAS_ALL.
    command(c"arena.4096.purge");
}

/// Gives back what this thread keeps for its next requests.
pub fn flush_thread() {
    command(c"thread.tcache.flush");
}

/// Whether this thread keeps what it frees for its next requests. Without it, what it allocates comes from the fullest
/// pages there are, and what it frees goes back at once.
pub fn keep_for_thread(on: bool) {
    // SAFETY: the name is a C string, and its value is a bool.
    let _ = unsafe { raw::write(b"thread.tcache.enabled\0", on) };
}

/// Workers that share an arena. They rarely meet there: keys and small values live in segments, and each thread has a cache.
const WORKERS_PER_ARENA: usize = 4;

/// The arena of each worker; all but the first one are made here.
pub fn arenas_for(workers: usize) -> impl Iterator<Item = u32> {
    let made = (0..workers.div_ceil(WORKERS_PER_ARENA)).map(|nth| match nth {
        0 => 0,
        // SAFETY: the name is a C string, and its value is an unsigned int.
        _ => unsafe { raw::read(b"arenas.create\0") }.unwrap_or(0),
    });
    made.flat_map(|arena| [arena; WORKERS_PER_ARENA]).take(workers)
}

/// From now on this thread allocates from that arena.
pub fn allocate_from(arena: u32) {
    // SAFETY: the name is a C string, and its value is an unsigned int.
    let _ = unsafe { raw::write(b"thread.arena\0", arena) };
}

/// Something of which the allocator knows where it stands.
///
/// # Safety
/// The address is that of a living allocation of the global allocator, or inside of its first page, for as long as the
/// borrow lasts.
pub unsafe trait Allocation {
    /// Where it stands; None if there is nothing.
    fn address(&self) -> Option<NonNull<u8>>;
    /// Bytes that were asked for.
    fn bytes(&self) -> usize;
}

// SAFETY: what a box holds is allocated, unless it is nothing.
unsafe impl<T> Allocation for Box<T> {
    fn address(&self) -> Option<NonNull<u8>> {
        (size_of::<T>() > 0).then(|| NonNull::from(&**self).cast())
    }
    fn bytes(&self) -> usize {
        size_of::<T>()
    }
}

// SAFETY: as above.
unsafe impl<T> Allocation for Box<[T]> {
    fn address(&self) -> Option<NonNull<u8>> {
        (self.bytes() > 0).then(|| NonNull::from(&**self).cast())
    }
    fn bytes(&self) -> usize {
        size_of_val::<[T]>(self)
    }
}

// SAFETY: what a vector has room for is allocated, unless it is nothing.
unsafe impl<T> Allocation for Vec<T> {
    fn address(&self) -> Option<NonNull<u8>> {
        (self.bytes() > 0).then(|| NonNull::new(self.as_ptr().cast_mut().cast())).flatten()
    }
    fn bytes(&self) -> usize {
        self.capacity() * size_of::<T>()
    }
}

// SAFETY: counters and value are one allocation, and the value is right behind the counters.
unsafe impl<T> Allocation for Arc<T> {
    fn address(&self) -> Option<NonNull<u8>> {
        NonNull::new(Arc::as_ptr(self).cast_mut().cast())
    }
    fn bytes(&self) -> usize {
        size_of::<T>() + 2 * size_of::<usize>()
    }
}

/// From this size on an allocation has its pages for itself.
const ALONE_BYTES: usize = 14 << 10;

/// How full pages have to be for a piece in them to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// A piece is moved from pages of which less than this percentage is in use …
    percent: usize,
    /// … if of all pages for this size less than that is.
    percent_of_all: usize,
}

impl Fill {
    /// What is worth its copies while much changes.
    pub const USUAL: Fill = Fill { percent: 85, percent_of_all: 92 };
    /// What a small process leaves that is at rest.
    pub const TIGHT: Fill = Fill { percent: 95, percent_of_all: 98 };
}

impl Default for Fill {
    fn default() -> Self {
        Fill::USUAL
    }
}

/// What jemalloc says of the pages in which something stands, and of all for the same size in that arena. The order
/// is jemalloc's.
#[repr(C)]
#[derive(Default)]
struct Pages {
    /// Those from which it hands out next.
    current: usize,
    free: usize,
    regions: usize,
    bytes: usize,
    free_all: usize,
    regions_all: usize,
}

/// Controls that are called often, by number.
struct Numbers {
    pages: [usize; 3],
    arena: [usize; 2],
}

fn numbers() -> Option<&'static Numbers> {
    static NUMBERS: LazyLock<Option<Numbers>> = LazyLock::new(|| {
        let mut numbers = Numbers { pages: [0; 3], arena: [0; 2] };
        is_global().then_some(())?;
        raw::name_to_mib(b"experimental.utilization.query\0", &mut numbers.pages).ok()?;
        raw::name_to_mib(b"arenas.lookup\0", &mut numbers.arena).ok()?;
        Some(numbers)
    });
    NUMBERS.as_ref()
}

/// Whether jemalloc is what the whole process allocates from: not so in unit tests.
fn is_global() -> bool {
    let before = ThreadBytes::default().net();
    let probe = std::hint::black_box(Box::new([0_u8; 64]));
    let is = ThreadBytes::default().net() > before;
    drop(probe);
    is
}

/// Whether a piece of memory stands in pages that are mostly unused, so that moving it would free some. Takes a tenth of
/// a microsecond.
pub fn is_sparse(piece: &impl Allocation, fill: Fill) -> bool {
    let Some(numbers) = numbers() else { return false };
    let Some(at) = piece.address().filter(|_| piece.bytes() <= ALONE_BYTES) else { return false };
    let mut pages = Pages::default();
    // SAFETY: a living allocation of jemalloc; sizes and types are those of this control.
    let done = unsafe { ask(&numbers.pages, at, &mut pages) };
    let is_current = (pages.current..pages.current + pages.bytes).contains(&at.as_ptr().addr());
    let used = |free: usize, regions: usize| (regions - free.min(regions)) * 100 / regions.max(1);
    done && pages.free > 0
        && !is_current
        && used(pages.free, pages.regions) < fill.percent
        && used(pages.free_all, pages.regions_all) < fill.percent_of_all
}

/// From now on this thread allocates where the piece stands, so that what replaces it fills holes there.
pub fn follow(piece: &impl Allocation, current: &mut Option<u32>) {
    let (Some(numbers), Some(at)) = (numbers(), piece.address()) else { return };
    let mut arena = 0_u32;
    // SAFETY: a living allocation of jemalloc; sizes and types are those of this control.
    if unsafe { ask(&numbers.arena, at, &mut arena) } && *current != Some(arena) {
        allocate_from(arena);
        *current = Some(arena);
    }
}

/// # Safety
/// A control that takes the address of a living allocation of jemalloc and answers with a `T`.
unsafe fn ask<T>(control: &[usize], at: NonNull<u8>, answer: &mut T) -> bool {
    let (mut at, mut len) = (at.as_ptr(), size_of::<T>());
    // SAFETY: by the contract; all pointers live through the call.
    let failed = unsafe {
        tikv_jemalloc_sys::mallctlbymib(
            control.as_ptr(),
            control.len(),
            std::ptr::from_mut(answer).cast(),
            &raw mut len,
            (&raw mut at).cast(),
            size_of::<*mut u8>(),
        )
    };
    failed == 0
}

/// A fork keeps only the thread that called it: the child starts the purging thread again.
pub fn after_fork() {
    let mut on = true;
    // SAFETY: the name is a C string; the value is a bool as this name requires, and lives
    // through the call.
    unsafe {
        tikv_jemalloc_sys::mallctl(
            c"background_thread".as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            (&raw mut on).cast::<c_void>(),
            size_of::<bool>(),
        );
    }
}

/// Runs a control without arguments and result.
fn command(name: &CStr) {
    // SAFETY: the name is a C string; no value is read or written.
    unsafe {
        tikv_jemalloc_sys::mallctl(
            name.as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            0,
        );
    }
}

/// jemalloc's own report (MEMORY MALLOC-STATS).
pub fn report() -> Vec<u8> {
    let mut text: Vec<u8> = Vec::new();
    // SAFETY: `append` gets back the pointer to `text` that is passed here, on this thread and
    // before this call returns, and nobody else uses `text` meanwhile.
    unsafe {
        tikv_jemalloc_sys::malloc_stats_print(
            Some(append),
            (&raw mut text).cast::<c_void>(),
            std::ptr::null(),
        );
    }
    text
}

unsafe extern "C" fn append(to: *mut c_void, message: *const c_char) {
    // SAFETY: see `report`: `to` is its vector.
    let text = unsafe { &mut *to.cast::<Vec<u8>>() };
    // SAFETY: jemalloc passes a C string.
    let message = unsafe { CStr::from_ptr(message) };
    text.extend_from_slice(message.to_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_report_and_name_are_there() {
        assert!(name().starts_with("jemalloc-5."));
        let figures = figures();
        assert!(figures.allocated <= figures.active);
        assert!(String::from_utf8_lossy(&report()).contains("jemalloc statistics"));
        purge();
    }

    #[test]
    fn few_workers_share_an_arena() {
        let arenas = |workers| arenas_for(workers).collect::<Vec<_>>();
        assert_eq!(arenas(3), [0; 3]);
        let many = arenas(10);
        assert_eq!(many.len(), 10);
        assert!(many.chunks(WORKERS_PER_ARENA).all(|group| group.iter().all(|arena| *arena == group[0])));
        assert!(many[0] < many[4] && many[4] < many[8]);
    }
}
