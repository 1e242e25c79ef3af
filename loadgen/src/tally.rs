//! What a run counted: requests by outcome and a latency histogram.

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::reply::Class;

/// Latencies above this are recorded as this (ten minutes).
const LATENCY_MAX_NS: u64 = 600_000_000_000;
/// Three digits: 0.1 % resolution in about 200 KiB.
const DIGITS: u8 = 3;

/// Counters and latencies of one thread, one phase or a whole run.
#[derive(Debug, Clone)]
pub struct Tally {
    pub latency: Histogram<u64>,
    /// Open loop: how late the generator itself sent what it was free to send.
    pub send_lag: Histogram<u64>,
    pub replies: u64,
    pub misses: u64,
    pub errors: u64,
    pub wrong: u64,
    /// Open loop: due before the end, but the server never freed a connection for them.
    pub unsent: u64,
    /// Messages of the server that answer no request.
    pub pushes: u64,
    /// Connections that were replaced.
    pub reconnects: u64,
    pub elapsed_ns: u64,
    pub first_bad: Option<String>,
    run_of: (u64, u64),
}

impl Tally {
    pub fn new() -> Result<Self> {
        Ok(Tally {
            latency: Histogram::new_with_bounds(1, LATENCY_MAX_NS, DIGITS)?,
            send_lag: Histogram::new_with_bounds(1, LATENCY_MAX_NS, DIGITS)?,
            replies: 0,
            misses: 0,
            errors: 0,
            wrong: 0,
            unsent: 0,
            pushes: 0,
            reconnects: 0,
            elapsed_ns: 0,
            first_bad: None,
            run_of: (0, 0),
        })
    }

    /// Counts a reply of `latency_ns`; equal neighbours share one visit to the histogram.
    #[inline]
    pub fn reply(&mut self, class: Class, latency_ns: u64) {
        self.replies += 1;
        match class {
            Class::Ok => {}
            Class::Miss => self.misses += 1,
            Class::Error => self.errors += 1,
            Class::Wrong => self.wrong += 1,
        }
        if self.run_of.0 == latency_ns {
            self.run_of.1 += 1;
        } else {
            self.settle();
            self.run_of = (latency_ns, 1);
        }
    }

    /// Puts the pending run into the histogram; call before reading it.
    #[inline]
    pub fn settle(&mut self) {
        let (value, count) = std::mem::take(&mut self.run_of);
        if count > 0 {
            let value = value.clamp(1, LATENCY_MAX_NS);
            self.latency.record_n(value, count).expect("invariant: the value was clamped to the bounds");
        }
    }

    pub fn lag(&mut self, ns: u64) {
        self.send_lag.saturating_record(ns.max(1));
    }

    /// Takes another thread's figures in; threads run at the same time.
    pub fn merge(&mut self, other: &Tally) -> Result<()> {
        self.settle();
        self.latency.add(&other.latency)?;
        self.send_lag.add(&other.send_lag)?;
        self.replies += other.replies;
        self.misses += other.misses;
        self.errors += other.errors;
        self.wrong += other.wrong;
        self.unsent += other.unsent;
        self.pushes += other.pushes;
        self.reconnects += other.reconnects;
        self.elapsed_ns = self.elapsed_ns.max(other.elapsed_ns);
        if self.first_bad.is_none() {
            self.first_bad.clone_from(&other.first_bad);
        }
        Ok(())
    }

    pub fn per_second(&self) -> f64 {
        self.replies as f64 * 1e9 / self.elapsed_ns.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_merges_lose_nothing() {
        let mut a = Tally::new().unwrap();
        for latency in [5, 5, 5, 7, 5, u64::MAX] {
            a.reply(Class::Ok, latency);
        }
        a.reply(Class::Miss, 0);
        a.settle();
        let mut b = Tally::new().unwrap();
        b.reply(Class::Error, 9);
        b.settle();
        a.merge(&b).unwrap();
        assert_eq!((a.replies, a.misses, a.errors, a.latency.len()), (8, 1, 1, 8));
        assert_eq!(a.latency.count_at(5), 4);
    }
}
