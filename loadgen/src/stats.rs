//! Ratios with their confidence: what two servers' figures say about each other.

use hdrhistogram::Histogram;

use crate::keys::Rng;

/// Resamples behind an interval.
const RESAMPLES: usize = 400;
/// Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom; then the normal one.
const T95: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];
const T95_MANY: f64 = 1.96;

/// An estimate and the 95 % interval around it.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Interval {
    pub estimate: f64,
    pub low: f64,
    pub high: f64,
}

impl Interval {
    const UNKNOWN: Interval = Interval { estimate: f64::NAN, low: f64::NAN, high: f64::NAN };

    /// `0.53 (0.50–0.57)`; without brackets where one sample says nothing about the spread.
    pub fn text(&self) -> String {
        if self.estimate.is_nan() {
            "–".to_owned()
        } else if self.low.is_nan() {
            format!("{:.2}", self.estimate)
        } else {
            format!("{:.2} ({:.2}–{:.2})", self.estimate, self.low, self.high)
        }
    }
}

/// Ratios of neighbours in time: their geometric mean, and the t interval of its logarithm.
pub fn ratio_of_pairs(pairs: impl IntoIterator<Item = (f64, f64)>) -> Interval {
    let logs: Vec<f64> = pairs.into_iter().map(|(a, b)| (a / b).ln()).filter(|l| l.is_finite()).collect();
    let n = logs.len() as f64;
    if logs.is_empty() {
        return Interval::UNKNOWN;
    }
    let mean = logs.iter().sum::<f64>() / n;
    if logs.len() == 1 {
        return Interval { estimate: mean.exp(), ..Interval::UNKNOWN };
    }
    let variance = logs.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let t = T95.get(logs.len() - 2).copied().unwrap_or(T95_MANY);
    let half = t * (variance / n).sqrt();
    Interval { estimate: mean.exp(), low: (mean - half).exp(), high: (mean + half).exp() }
}

/// Latencies in the windows of a stretch of time, small enough to be drawn again and again.
pub struct Blocks {
    /// All latencies that occur, ascending.
    values: Vec<u64>,
    /// What each window holds: an index into `values` and how often.
    windows: Vec<Vec<(u32, u64)>>,
}

impl Blocks {
    pub fn of<'a>(windows: impl IntoIterator<Item = &'a Histogram<u64>>) -> Self {
        let windows: Vec<_> = windows.into_iter().filter(|h| !h.is_empty()).collect();
        let mut values: Vec<u64> =
            windows.iter().flat_map(|h| h.iter_recorded().map(|v| v.value_iterated_to())).collect();
        values.sort_unstable();
        values.dedup();
        let place = |v: u64| values.partition_point(|&x| x < v) as u32;
        let windows = windows
            .iter()
            .map(|h| h.iter_recorded().map(|v| (place(v.value_iterated_to()), v.count_at_value())).collect())
            .collect();
        Blocks { values, windows }
    }

    /// A percentile over windows drawn with replacement; over all of them once without `rng`.
    fn percentile(&self, percentile: f64, mut rng: Option<&mut Rng>) -> f64 {
        let mut counts = vec![0u64; self.values.len()];
        for i in 0..self.windows.len() {
            let drawn = rng.as_mut().map_or(i, |rng| rng.below(self.windows.len() as u64) as usize);
            for &(place, count) in &self.windows[drawn] {
                counts[place as usize] += count;
            }
        }
        let total: u64 = counts.iter().sum();
        let wanted = (total as f64 * percentile / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (value, count) in self.values.iter().zip(counts) {
            seen += count;
            if seen >= wanted {
                return *value as f64;
            }
        }
        f64::NAN
    }
}

/// How a percentile of one relates to the other's. Requests near each other in time wait for the
/// same things, so whole windows are drawn, not requests: a block bootstrap.
pub fn ratio_of_percentiles(a: &Blocks, b: &Blocks, percentile: f64) -> Interval {
    if a.windows.is_empty() || b.windows.is_empty() {
        return Interval::UNKNOWN;
    }
    let mut rng = Rng::new(20);
    let mut ratios: Vec<f64> = (0..RESAMPLES)
        .map(|_| a.percentile(percentile, Some(&mut rng)) / b.percentile(percentile, Some(&mut rng)))
        .collect();
    ratios.sort_by(f64::total_cmp);
    Interval {
        estimate: a.percentile(percentile, None) / b.percentile(percentile, None),
        low: ratios[RESAMPLES / 40],
        high: ratios[RESAMPLES - 1 - RESAMPLES / 40],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_have_a_t_interval() {
        let i = ratio_of_pairs([(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)]);
        assert!((i.estimate - 0.5).abs() < 1e-9 && (i.high - i.low) < 1e-9);
        let i = ratio_of_pairs([(1.0, 1.0), (4.0, 1.0)]);
        assert!((i.estimate - 2.0).abs() < 1e-9 && i.low < 0.01 && i.high > 100.0);
        assert_eq!(ratio_of_pairs([(3.0, 2.0)]).text(), "1.50");
        assert_eq!(ratio_of_pairs([(0.0, 0.0)]).text(), "–");
    }

    #[test]
    fn percentiles_are_compared_window_by_window() {
        let windows = |factor: u64| -> Vec<Histogram<u64>> {
            (0..20)
                .map(|w| {
                    let mut h = Histogram::new_with_bounds(1, 1_000_000_000, 2).unwrap();
                    for i in 1..=100u64 {
                        h.record(factor * 1000 * (i + w)).unwrap();
                    }
                    h
                })
                .collect()
        };
        let (a, b) = (windows(2), windows(1));
        let i = ratio_of_percentiles(&Blocks::of(&a), &Blocks::of(&b), 50.0);
        assert!((i.estimate - 2.0).abs() < 0.05 && i.low < 2.0 && i.high > 2.0 && i.high < 2.6, "{i:?}");
        assert_eq!(ratio_of_percentiles(&Blocks::of(&[]), &Blocks::of(&b), 50.0).text(), "–");
    }
}
