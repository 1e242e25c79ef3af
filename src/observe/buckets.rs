//! Durations in buckets of fixed bounds, as Prometheus wants histograms.
//!
//! Bounds are 1, 2, 5, 10 … microseconds up to 10 seconds: fine enough to see the promises of this project (1 and 2 ms)
//! kept or broken, and the same for every histogram, so that they can be laid over each other.

use hdrhistogram::Histogram;

/// Upper bounds in nanoseconds, each inclusive; what is longer counts in one more bucket.
pub const BOUNDS_NS: [u64; 22] = bounds();
/// The same in seconds, as text.
pub const BOUNDS_TEXT: [&str; 22] = [
    "1e-06", "2e-06", "5e-06", "1e-05", "2e-05", "5e-05", "0.0001", "0.0002", "0.0005", "0.001", "0.002",
    "0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1.0", "2.0", "5.0", "10.0",
];

const fn bounds() -> [u64; 22] {
    let mut all = [0; 22];
    let mut power = 1_000;
    let mut i = 0;
    while i < all.len() {
        all[i] = power * [1, 2, 5][i % 3];
        if i % 3 == 2 {
            power *= 10;
        }
        i += 1;
    }
    all
}

/// Counts by bucket.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Buckets {
    /// By bound; the last counts what is longer than all of them.
    pub counts: [u64; BOUNDS_NS.len() + 1],
    /// Sum of all durations.
    pub sum_ns: u64,
}

impl Buckets {
    /// Counts a duration.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.counts[place(ns)] += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Buckets) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }

    /// Adds a finer histogram, whose sum is known better than it knows itself.
    pub fn add_histogram(&mut self, fine: &Histogram<u32>, sum_ns: u64) {
        for step in fine.iter_recorded() {
            self.counts[place(step.value_iterated_to())] += step.count_since_last_iteration();
        }
        self.sum_ns = self.sum_ns.saturating_add(sum_ns);
    }

    /// Number of durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Bound of the bucket in which this share of durations lies, in nanoseconds; `u64::MAX` beyond the last.
    pub fn quantile_ns(&self, share: f64) -> u64 {
        let wanted = (self.count() as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (count, bound) in self.counts.iter().zip(BOUNDS_NS) {
            seen += count;
            if seen >= wanted {
                return bound;
            }
        }
        u64::MAX
    }
}

fn place(ns: u64) -> usize {
    BOUNDS_NS.partition_point(|bound| *bound < ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_and_their_texts_agree() {
        assert_eq!((BOUNDS_NS[0], BOUNDS_NS[4], BOUNDS_NS[21]), (1_000, 20_000, 10_000_000_000));
        for (ns, text) in BOUNDS_NS.iter().zip(BOUNDS_TEXT) {
            assert_eq!((text.parse::<f64>().unwrap() * 1e9).round(), *ns as f64, "{text}");
        }
    }

    #[test]
    fn a_bound_is_part_of_its_bucket() {
        let mut buckets = Buckets::default();
        for ns in [0, 1_000, 1_001, 10_000_000_000, 10_000_000_001] {
            buckets.record(ns);
        }
        assert_eq!((buckets.counts[0], buckets.counts[1]), (2, 1));
        assert_eq!((buckets.counts[21], buckets.counts[22]), (1, 1));
        assert_eq!((buckets.count(), buckets.sum_ns), (5, 20_000_002_002));
        assert_eq!(buckets.quantile_ns(0.5), 2_000);
        assert_eq!(buckets.quantile_ns(1.0), u64::MAX);
        let mut fine = Histogram::new_with_bounds(1, 1_000_000_000, 2).unwrap();
        fine.record_n(1_500, 7).unwrap();
        buckets.add_histogram(&fine, 10_500);
        assert_eq!((buckets.counts[1], buckets.sum_ns), (8, 20_000_012_502));
    }
}
