//! Rates and peaks without a periodic tick.
//!
//! A busy process takes a sample at most every [`PERIOD_MS`], by whichever worker notices
//! first; an idle one takes none, and whoever asks takes one then. A rate is what was counted
//! since the youngest sample that is at least [`WINDOW_MS`] old.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use parking_lot::Mutex;

use crate::keyspace::Keyspace;
use crate::memory::allocator;
use crate::observe::stats::{Stats, Totals};

/// Shortest time between two samples that workers take, in milliseconds.
const PERIOD_MS: u64 = 100;
/// Rates are over at least this time, in milliseconds.
const WINDOW_MS: u64 = 1_000;
/// Samples kept: those within the window and one before it.
const KEPT: usize = 12;

#[derive(Debug, Clone, Copy)]
struct Sample {
    at_ms: u64,
    totals: Totals,
}

/// Figures per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Commands.
    pub commands: f64,
    /// Bytes received.
    pub net_in: f64,
    /// Bytes sent.
    pub net_out: f64,
    /// Reads from sockets, each of which is a batch of commands.
    pub reads: f64,
    /// Microseconds of commands per batch.
    pub micros_per_read: f64,
}

/// Memory in use, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// Handed out by the allocator, and living entries in segments.
    pub now: usize,
    /// The most that was seen.
    pub peak: usize,
    /// When the process had started.
    pub startup: usize,
    /// The allocator's part.
    pub allocator: allocator::Figures,
    /// Segments of keys in use.
    pub segments: usize,
    /// Free segments that are still resident.
    pub spare: usize,
}

/// Samples of the whole process.
#[derive(Default)]
pub struct Sampler {
    last_ms: AtomicU64,
    ring: Mutex<VecDeque<Sample>>,
    peak: AtomicUsize,
    startup: AtomicUsize,
}

impl Sampler {
    /// Whether a busy worker should take a sample: one load and a compare.
    #[inline]
    pub fn is_due(&self, now_ms: u64) -> bool {
        // A clock that was set back makes the distance huge, which is as good as due.
        now_ms.wrapping_sub(self.last_ms.load(Relaxed)) >= PERIOD_MS
    }

    /// Takes a sample, unless another worker was faster.
    ///
    /// `live` gives the bytes of living entries.
    #[cold]
    pub fn take_if_due(
        &self,
        now_ms: u64,
        mono_ms: u64,
        stats: &Stats,
        keyspace: &Keyspace,
        live: impl FnOnce() -> usize,
    ) -> Option<Used> {
        let last = self.last_ms.load(Relaxed);
        if now_ms.wrapping_sub(last) < PERIOD_MS
            || self.last_ms.compare_exchange(last, now_ms, Relaxed, Relaxed).is_err()
        {
            return None;
        }
        self.rates(mono_ms, stats.totals());
        Some(self.used(keyspace, live()))
    }

    /// Rates up to now; remembers the counts for later.
    pub fn rates(&self, mono_ms: u64, totals: Totals) -> Rates {
        let mut ring = self.ring.lock();
        let base = ring.iter().rev().find(|s| mono_ms.saturating_sub(s.at_ms) >= WINDOW_MS);
        let base = base.or(ring.front()).copied();
        // Asked again at once, the window must not shrink to nothing.
        if ring.back().is_none_or(|s| mono_ms.saturating_sub(s.at_ms) >= PERIOD_MS) {
            if ring.len() == KEPT {
                ring.pop_front();
            }
            ring.push_back(Sample { at_ms: mono_ms, totals });
        }
        drop(ring);
        base.map_or_else(Rates::default, |base| between(base, Sample { at_ms: mono_ms, totals }))
    }

    /// Memory now, with its peak; `live` are the bytes of living entries.
    pub fn used(&self, keyspace: &Keyspace, live: usize) -> Used {
        let figures = allocator::figures();
        let space = keyspace.segment_bytes();
        let now = figures.allocated + live;
        let peak = self.peak.fetch_max(now, Relaxed).max(now);
        let _ = self.startup.compare_exchange(0, now, Relaxed, Relaxed);
        Used {
            now,
            peak,
            startup: self.startup.load(Relaxed),
            allocator: figures,
            segments: space.taken,
            spare: space.spare,
        }
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        self.ring.lock().clear();
        self.peak.store(0, Relaxed);
    }
}

fn between(base: Sample, now: Sample) -> Rates {
    let seconds = now.at_ms.saturating_sub(base.at_ms) as f64 / 1000.0;
    if seconds <= 0.0 {
        return Rates::default();
    }
    let delta = |now: u64, then: u64| now.saturating_sub(then) as f64;
    let (a, b) = (&now.totals, &base.totals);
    let reads = delta(a.reads, b.reads);
    Rates {
        commands: delta(a.commands, b.commands) / seconds,
        net_in: delta(a.net_in, b.net_in) / seconds,
        net_out: delta(a.net_out, b.net_out) / seconds,
        reads: reads / seconds,
        micros_per_read: if reads > 0.0 { delta(a.nanos, b.nanos) / 1000.0 / reads } else { 0.0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(commands: u64) -> Totals {
        Totals { commands, ..Totals::default() }
    }

    #[test]
    fn a_rate_is_over_the_last_second_and_fades_when_idle() {
        let sampler = Sampler::default();
        assert_eq!(sampler.rates(0, totals(0)).commands, 0.0);
        for i in 1..=20 {
            sampler.rates(i * 100, totals(i * 100));
        }
        assert_eq!(sampler.rates(2_001, totals(2_000)).commands.round(), 999.0);
        let idle = sampler.rates(12_000, totals(2_000)).commands;
        assert!(idle < 1.0, "{idle}");
    }

    #[test]
    fn only_one_sample_a_period() {
        let sampler = Sampler::default();
        assert!(sampler.is_due(5_000));
        sampler.last_ms.store(5_000, Relaxed);
        assert!(!sampler.is_due(5_099));
        assert!(sampler.is_due(5_100));
        assert!(sampler.is_due(4_000), "the clock was set back");
    }
}
