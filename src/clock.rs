//! The only door to time.
//!
//! Everything else is handed a `now`: commands, the expiry wheel, policies. That is what
//! makes them testable with invented clocks. A worker reads the clock once per batch.
//!
//! [`step`] sets the wall clock of this process alone, so that a running server can be tested with a clock that is set
//! forward or back, or that a machine finds later than it left it when it went to sleep.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use rustix::time::{ClockId, clock_gettime};

/// By how many microseconds this process' wall clock is ahead of the machine's.
static AHEAD_US: AtomicI64 = AtomicI64::new(0);

/// Sets the wall clock of this process forward, or (negative) back. For tests.
pub fn step(by_ms: i64) {
    AHEAD_US.fetch_add(by_ms.saturating_mul(1000), Relaxed);
}

/// What the machine's clock says when this process' says `unix_ms`, in milliseconds.
#[must_use]
pub fn of_machine(unix_ms: u64) -> u64 {
    unix_ms.saturating_add_signed(-(AHEAD_US.load(Relaxed) / 1000))
}

/// Milliseconds since the Unix epoch, as deadlines are stored.
#[inline]
pub fn now_ms() -> u64 {
    now_us() / 1000
}

/// Microseconds since the Unix epoch.
#[inline]
pub fn now_us() -> u64 {
    let t = clock_gettime(ClockId::Realtime);
    // A clock before 1970 reads 0.
    let machine = t.tv_sec.max(0).unsigned_abs() * 1_000_000 + t.tv_nsec.unsigned_abs() / 1_000;
    machine.saturating_add_signed(AHEAD_US.load(Relaxed))
}

/// Nanoseconds of a monotonic clock whose zero is the first call in this process.
///
/// Asked directly and not by way of `Instant`, whose arithmetic costs a third of the call.
#[inline]
pub fn mono_ns() -> u64 {
    static START: OnceLock<u64> = OnceLock::new();
    since(&START, machine_mono_ns())
}

#[inline]
fn machine_mono_ns() -> u64 {
    let t = clock_gettime(ClockId::Monotonic);
    t.tv_sec.unsigned_abs() * 1_000_000_000 + t.tv_nsec.unsigned_abs()
}

/// From the start to `now`; whoever comes first sets the start.
#[inline]
fn since(start: &OnceLock<u64>, now: u64) -> u64 {
    // Of two threads that come here first at once, the one that sets the start may have read the later time.
    now.saturating_sub(*start.get_or_init(|| now))
}

/// CPU time of this thread in nanoseconds: what it computed, whoever else wanted the core meanwhile. A system call.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    cpu_ns(ClockId::ThreadCPUTime)
}

/// CPU time of all threads of this process in nanoseconds. A system call.
#[must_use]
pub fn process_cpu_ns() -> u64 {
    cpu_ns(ClockId::ProcessCPUTime)
}

fn cpu_ns(clock: ClockId) -> u64 {
    let t = clock_gettime(clock);
    t.tv_sec.unsigned_abs() * 1_000_000_000 + t.tv_nsec.unsigned_abs()
}

/// Milliseconds of the monotonic clock.
#[inline]
pub fn mono_ms() -> u64 {
    mono_ns() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn who_read_the_clock_before_it_was_started_is_at_its_beginning() {
        let start = OnceLock::new();
        let (early, late) = (1_000, 1_005);
        assert_eq!(since(&start, late), 0, "the first to arrive, though not the first to read");
        assert_eq!(since(&start, early), 0);
        assert_eq!(since(&start, late + 7), 7);
    }

    #[test]
    fn threads_may_ask_first_all_at_once() {
        let (threads, rounds) = if cfg!(miri) { (2, 5) } else { (4, 100) };
        for _ in 0..rounds {
            let (start, barrier) = (OnceLock::new(), Barrier::new(threads));
            let ask = || {
                barrier.wait();
                [since(&start, machine_mono_ns()), since(&start, machine_mono_ns())]
            };
            let read: Vec<_> = std::thread::scope(|scope| {
                let asked: Vec<_> = (0..threads).map(|_| scope.spawn(ask)).collect();
                asked.into_iter().map(|thread| thread.join().expect("nobody panics")).collect()
            });
            assert!(read.iter().any(|&[first, _]| first == 0), "somebody has started it");
            assert!(read.iter().all(|&[first, second]| first <= second), "it never goes back");
        }
    }
}
