//! jemalloc: few arenas, pages given back after a second by its own thread, and its figures.
//!
//! The binary installs [`Allocator`]; the library alone (unit tests, fuzz targets) runs on the
//! system's allocator, and then the figures are those of an idle jemalloc. Everything that
//! may fail answers `None` or nothing: figures are never worth a crash.
#![allow(unsafe_code)] // mallctl by name and jemalloc's report are C interfaces

use std::ffi::{CStr, c_char, c_void};
use std::sync::LazyLock;

use tikv_jemalloc_ctl::thread::{ThreadLocal, allocatedp, deallocatedp};
use tikv_jemalloc_ctl::{epoch, raw, stats};

/// To be installed as `#[global_allocator]`.
pub use tikv_jemallocator::Jemalloc as Allocator;

/// Settings that jemalloc reads when it starts. Two arenas: each costs some 150 KiB in an idle process, and the workers
/// rarely meet there, since keys and small values live in segments and each thread has a cache. Dirty pages go back after
/// a second, by a thread of its own, so also in an idle process.
const SETTINGS: &CStr = c"narenas:2,tcache_max:4096,dirty_decay_ms:1000,muzzy_decay_ms:0,background_thread:true,max_background_threads:1";

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

/// jemalloc's figures as they are now. Takes some microseconds.
pub fn figures() -> Figures {
    if epoch::advance().is_err() {
        return Figures::default();
    }
    Figures {
        allocated: stats::allocated::read().unwrap_or(0).saturating_sub(cached()),
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
        ThreadBytes(allocatedp::read().and_then(|a| Ok((a, deallocatedp::read()?))).ok())
    }
}

impl ThreadBytes {
    /// Allocated less freed: two loads.
    #[inline]
    pub fn net(&self) -> i64 {
        self.0.map_or(0, |(allocated, freed)| allocated.get().wrapping_sub(freed.get()).cast_signed())
    }
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
}
