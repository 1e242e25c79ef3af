//! The only door to time.
//!
//! Everything else is handed a `now`: commands, the expiry wheel, policies. That is what
//! makes them testable with invented clocks. A worker reads the clock once per batch.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, as deadlines are stored.
#[inline]
pub fn now_ms() -> u64 {
    now_us() / 1000
}

/// Microseconds since the Unix epoch.
#[inline]
pub fn now_us() -> u64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(d) => u64::try_from(d.as_micros()).unwrap_or(u64::MAX),
        Err(_) => 0,
    }
}

/// Nanoseconds of a monotonic clock whose zero is the first call in this process.
#[inline]
pub fn mono_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Milliseconds of the monotonic clock.
#[inline]
pub fn mono_ms() -> u64 {
    mono_ns() / 1_000_000
}
