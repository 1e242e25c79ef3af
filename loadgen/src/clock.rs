//! The only door to time in this crate.

#![allow(clippy::disallowed_methods)] // this is that door

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

static START: OnceLock<Instant> = OnceLock::new();

/// Nanoseconds on the monotonic clock since the first call in this process.
#[inline]
pub fn now_ns() -> u64 {
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// A duration in nanoseconds, saturating after five centuries.
pub fn ns(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

/// The wall clock, for the time stamps of logs.
pub fn wall() -> SystemTime {
    SystemTime::now()
}
