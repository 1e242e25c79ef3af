//! How much memory is in use, and how much may be: known at any time, without asking the allocator.
//!
//! The allocator's own figure takes microseconds. So it is read now and then, and in between each
//! thread reports what it has allocated and freed since, which jemalloc counts for every thread in
//! two words ([`Tap`]). Keys in segments count as the bytes of living entries: the holes between
//! them are the segments' fragmentation, as pages of the allocator are its own.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use crate::memory::allocator::ThreadBytes;
use crate::memory::unused::{Due, Unused};

/// What a thread keeps to itself before it reports.
const UNREPORTED_MAX: i64 = 1024;

/// The part of what may be had that may be free without having been given back, or wait to be freed; with a limit.
const PART: u64 = 64;
/// To give pages back costs some microseconds, so it is for so much at least.
const PART_MIN: u64 = 1 << 20;

/// What a thread frees before others hear of it.
const UNTOLD_MAX: u64 = 64 << 10;

/// What a thread frees before somebody looks whether that left pages mostly unused.
const FREED_MUCH: u64 = 256 << 10;

/// The memory of the process, and its limit.
pub struct Gauge {
    /// Handed out by the allocator.
    allocated: CachePadded<AtomicI64>,
    /// Of it, what waits to be freed by the helper thread: gone as far as eviction is concerned.
    leaving: AtomicI64,
    /// More of that is too much to wait for the helper thread.
    leaving_max: AtomicI64,
    /// Of it, what eviction must not count: buffers of replicas.
    uncounted: AtomicUsize,
    /// Bytes; 0 is none.
    limit: CachePadded<AtomicU64>,
    exceeded: Exceeded,
    /// Pages that are free.
    pub unused: Unused,
}

impl Default for Gauge {
    fn default() -> Gauge {
        Gauge {
            allocated: CachePadded::default(),
            leaving: AtomicI64::default(),
            leaving_max: AtomicI64::new(i64::MAX),
            uncounted: AtomicUsize::default(),
            limit: CachePadded::default(),
            exceeded: Exceeded::default(),
            unused: Unused::default(),
        }
    }
}

/// Since when, and for how long in all, memory was over its limit. Monotonic milliseconds.
#[derive(Default)]
struct Exceeded {
    since: AtomicU64,
    total: AtomicU64,
}

impl Gauge {
    /// The limit in force, 0 for none: one load.
    #[inline]
    pub fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    /// Sets the limit, of the `ceiling` that may be had in all.
    pub fn set_limit(&self, bytes: u64, ceiling: impl FnOnce() -> u64) {
        self.limit.store(bytes, Relaxed);
        let part = if bytes > 0 { (ceiling() / PART).max(PART_MIN) } else { u64::MAX };
        self.unused.set_most(part);
        self.leaving_max.store(i64::try_from(part).unwrap_or(i64::MAX), Relaxed);
    }

    /// What counts against the limit; `live` are the bytes of entries.
    pub fn used(&self, live: usize) -> u64 {
        let apart = self.leaving.load(Relaxed).max(0) + signed(self.uncounted.load(Relaxed));
        let bytes = self.allocated.load(Relaxed) + signed(live) - apart;
        u64::try_from(bytes).unwrap_or(0)
    }

    /// The allocator's figure was read.
    pub fn calibrate(&self, allocated: usize) {
        self.allocated.store(signed(allocated), Relaxed);
    }

    /// A value was handed to the helper thread (positive), or freed by it.
    pub fn leaving(&self, bytes: i64) {
        self.leaving.fetch_add(bytes, Relaxed);
    }

    /// Whether so much waits for the helper thread that whatever is freed quickly should not. It may have no core for a while,
    /// and nothing goes on counting what waits.
    pub fn is_much_leaving(&self) -> bool {
        self.leaving.load(Relaxed) > self.leaving_max.load(Relaxed)
    }

    /// What eviction does not count.
    pub fn uncounted(&self) -> usize {
        self.uncounted.load(Relaxed)
    }

    /// Memory is over its limit and could not be brought under it at once, or it is under it again.
    pub fn note_exceeded(&self, over: bool, mono_ms: impl FnOnce() -> u64) {
        let since = self.exceeded.since.load(Relaxed);
        if over == (since != 0) {
            return;
        }
        let now = mono_ms().max(1);
        if over {
            self.exceeded.since.store(now, Relaxed);
        } else if self.exceeded.since.swap(0, Relaxed) != 0 {
            self.exceeded.total.fetch_add(now.saturating_sub(since), Relaxed);
        }
    }

    /// Milliseconds over the limit: in all, and at a stretch until now.
    pub fn exceeded_ms(&self, mono_ms: u64) -> (u64, u64) {
        let since = self.exceeded.since.load(Relaxed);
        let current = if since == 0 { 0 } else { mono_ms.saturating_sub(since) };
        (self.exceeded.total.load(Relaxed) + current, current)
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        self.exceeded.since.store(0, Relaxed);
        self.exceeded.total.store(0, Relaxed);
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// One thread's reports to the gauge.
pub struct Tap {
    bytes: ThreadBytes,
    reported: i64,
    /// What had been freed when that was last worth a look at the fragmentation.
    freed: u64,
    /// What had been freed when others last heard of it.
    told: u64,
}

impl Default for Tap {
    fn default() -> Self {
        let bytes = ThreadBytes::default();
        Tap { reported: bytes.net(), freed: bytes.freed(), told: bytes.freed(), bytes }
    }
}

impl Tap {
    /// Reports what this thread has allocated, less what it has freed, since the last report, if that
    /// is worth it. Gives the bytes.
    #[inline]
    pub fn report(&mut self, gauge: &Gauge) -> i64 {
        let delta = self.bytes.net() - self.reported;
        if delta.abs() < UNREPORTED_MAX { 0 } else { self.report_now(gauge) }
    }

    /// The same, however little it is.
    pub fn report_now(&mut self, gauge: &Gauge) -> i64 {
        let now = self.bytes.net();
        let delta = now - self.reported;
        self.reported = now;
        gauge.allocated.fetch_add(delta, Relaxed);
        delta
    }

    /// Whether this thread has freed so much since the last time that this was true that pages may be mostly unused now.
    #[inline]
    pub fn has_freed_much(&mut self) -> bool {
        let freed = self.bytes.freed();
        let much = freed.wrapping_sub(self.freed) >= FREED_MUCH;
        if much {
            self.freed = freed;
        }
        much
    }

    /// Tells of what this thread has freed, if that is worth it; who is to give unused pages back.
    #[inline]
    pub fn tell_freed(&mut self, gauge: &Gauge) -> Due {
        let freed = self.bytes.freed().wrapping_sub(self.told);
        if freed < UNTOLD_MAX {
            return Due::No;
        }
        self.told = self.bytes.freed();
        gauge.unused.freed(freed)
    }

    /// The allocator's figure was read just now, on this thread.
    pub fn forget(&mut self) {
        self.reported = self.bytes.net();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_does_not_count() {
        let gauge = Gauge::default();
        gauge.calibrate(10_000);
        assert_eq!(gauge.used(500), 10_500);
        gauge.leaving(3_000);
        assert_eq!(gauge.used(500), 7_500);
        gauge.leaving(-3_000);
        assert_eq!(gauge.used(0), 10_000);
        gauge.leaving(20_000);
        assert_eq!(gauge.used(0), 0);
    }

    #[test]
    fn time_over_the_limit_adds_up() {
        let gauge = Gauge::default();
        gauge.note_exceeded(false, || 5);
        gauge.note_exceeded(true, || 10);
        gauge.note_exceeded(true, || 15);
        assert_eq!(gauge.exceeded_ms(20), (10, 10));
        gauge.note_exceeded(false, || 30);
        assert_eq!(gauge.exceeded_ms(40), (20, 0));
        gauge.reset();
        assert_eq!(gauge.exceeded_ms(50), (0, 0));
    }
}
