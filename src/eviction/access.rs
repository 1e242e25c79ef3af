//! The 16 access bits of an entry: a clock under LRU policies, a decaying counter under LFU.
//!
//! LRU: seconds of the wall clock, modulo 2^16, so an idle time reads modulo 18.2 hours.
//! LFU: the upper byte is the minute of the last decrement modulo 256, the lower byte a
//! logarithmic counter (the probabilistic counter described in Redis' eviction document).

use crate::eviction::arc;

/// How an access is recorded in the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// Not at all (CLIENT NO-TOUCH, OBJECT, DEBUG …).
    No,
    /// As the time of the access.
    Lru,
    /// As a logarithmic counter with decay.
    Lfu {
        /// `lfu-log-factor`
        log_factor: u32,
        /// `lfu-decay-time`, minutes
        decay_minutes: u32,
    },
    /// As class, frequency and tick of the adaptive policy.
    Arc {
        /// The tick of the batch.
        tick: u8,
    },
}

/// Where the counter of a new key starts, so that it is not the first to go.
pub const LFU_INIT: u8 = 5;

/// Access bits of a new entry.
#[inline]
pub fn fresh(policy: Touch, now_ms: u64) -> u16 {
    match policy {
        Touch::No | Touch::Lru => seconds(now_ms),
        Touch::Arc { tick } => arc::fresh(tick),
        Touch::Lfu { .. } => minutes(now_ms) << 8 | u16::from(LFU_INIT),
    }
}

/// Access bits after one more access.
#[inline]
pub fn touched(policy: Touch, old: u16, now_ms: u64) -> u16 {
    match policy {
        Touch::No => old,
        Touch::Lru => seconds(now_ms),
        Touch::Arc { tick } => arc::touched(old, tick),
        Touch::Lfu { log_factor, decay_minutes } => {
            let counter = increment(decayed(old, now_ms, decay_minutes), log_factor, fastrand::f64());
            minutes(now_ms) << 8 | u16::from(counter)
        }
    }
}

/// Seconds since the last access, under an LRU policy.
pub fn idle_seconds(access: u16, now_ms: u64) -> u64 {
    u64::from(seconds(now_ms).wrapping_sub(access))
}

/// Access bits as if the last access had been `idle` seconds ago (RESTORE IDLETIME).
pub fn with_idle(idle: u64, now_ms: u64) -> u16 {
    seconds(now_ms.saturating_sub(idle.min(u64::from(u16::MAX)) * 1000))
}

/// The counter as it stands now, under an LFU policy.
pub fn frequency(access: u16, now_ms: u64, decay_minutes: u32) -> u8 {
    decayed(access, now_ms, decay_minutes)
}

/// Access bits with a given counter (RESTORE FREQ).
pub fn with_frequency(counter: u8, now_ms: u64) -> u16 {
    minutes(now_ms) << 8 | u16::from(counter)
}

fn seconds(now_ms: u64) -> u16 {
    ((now_ms / 1000) & 0xffff) as u16
}

fn minutes(now_ms: u64) -> u16 {
    ((now_ms / 60_000) & 0xff) as u16
}

fn decayed(access: u16, now_ms: u64, decay_minutes: u32) -> u8 {
    let counter = (access & 0xff) as u8;
    let elapsed = u32::from((minutes(now_ms).wrapping_sub(access >> 8)) & 0xff);
    match elapsed.checked_div(decay_minutes) {
        None => counter,
        Some(periods) => counter.saturating_sub(u8::try_from(periods).unwrap_or(u8::MAX)),
    }
}

/// One step with probability 1 / ((counter - init) * factor + 1); `chance` is uniform in 0..1.
fn increment(counter: u8, log_factor: u32, chance: f64) -> u8 {
    if counter == u8::MAX {
        return counter;
    }
    let above = f64::from(counter.saturating_sub(LFU_INIT));
    if chance < 1.0 / (above * f64::from(log_factor) + 1.0) { counter + 1 } else { counter }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_the_distance_of_the_clocks() {
        let bits = fresh(Touch::Lru, 1_000_000_000);
        assert_eq!(idle_seconds(bits, 1_000_000_000), 0);
        assert_eq!(idle_seconds(bits, 1_000_042_000), 42);
        assert_eq!(idle_seconds(with_idle(100, 1_000_000_000), 1_000_000_000), 100);
    }

    #[test]
    fn the_counter_grows_ever_more_slowly_and_decays_by_the_minute() {
        assert_eq!(increment(LFU_INIT, 10, 0.99), LFU_INIT + 1);
        assert_eq!(increment(100, 10, 0.5), 100);
        assert_eq!(increment(u8::MAX, 10, 0.0), u8::MAX);
        let bits = with_frequency(50, 0);
        assert_eq!(frequency(bits, 3 * 60_000, 1), 47);
        assert_eq!(frequency(bits, 3 * 60_000, 0), 50);
    }
}
