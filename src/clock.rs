//! The only door to time.
//!
//! Everything else is handed a `now`: commands, the expiry wheel, policies. That is what
//! makes them testable with invented clocks. A worker reads the clock once per batch.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::sync::OnceLock;

use rustix::time::{ClockId, clock_gettime};

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
    t.tv_sec.max(0).unsigned_abs() * 1_000_000 + t.tv_nsec.unsigned_abs() / 1_000
}

/// Nanoseconds of a monotonic clock whose zero is the first call in this process.
///
/// Asked directly and not by way of `Instant`, whose arithmetic costs a third of the call.
#[inline]
pub fn mono_ns() -> u64 {
    static START: OnceLock<u64> = OnceLock::new();
    let t = clock_gettime(ClockId::Monotonic);
    let now = t.tv_sec.unsigned_abs() * 1_000_000_000 + t.tv_nsec.unsigned_abs();
    now - START.get_or_init(|| now)
}

/// Milliseconds of the monotonic clock.
#[inline]
pub fn mono_ms() -> u64 {
    mono_ns() / 1_000_000
}
