//! Percentiles of the commands of the last second, from histograms that only grow.

use std::collections::VecDeque;

use hdrhistogram::Histogram;

use crate::observe::stats::CommandStats;

/// What was counted at least so long ago is subtracted, in milliseconds.
const WINDOW_MS: u64 = 1_000;
/// Histograms kept: those within the window and one before it.
const KEPT: usize = 6;

/// Sums at the last ticks.
#[derive(Default)]
pub(super) struct Durations {
    sums: VecDeque<(u64, Histogram<u64>)>,
}

/// Durations in microseconds; all zero if nothing was measured.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Lately {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Durations {
    /// The percentiles since about a second ago, or since the first call.
    pub fn lately(&mut self, mono_ms: u64, commands: &[CommandStats]) -> Lately {
        let histograms = commands.iter().filter_map(|command| command.durations.as_deref());
        let mut sum: Option<Histogram<u64>> = None;
        for histogram in histograms {
            let sum = sum.get_or_insert_with(|| wide(histogram));
            for step in histogram.iter_recorded() {
                sum.saturating_record_n(step.value_iterated_to(), step.count_at_value().into());
            }
        }
        let Some(sum) = sum else {
            self.sums.clear();
            return Lately::default();
        };
        let base = self.sums.iter().rev().find(|(at, _)| mono_ms.saturating_sub(*at) >= WINDOW_MS);
        let base = base.or(self.sums.front());
        let mut lately = sum.clone();
        match base {
            // It cannot be subtracted if CONFIG RESETSTAT came between.
            Some((_, base)) if lately.subtract(base).is_err() => self.sums.clear(),
            Some(_) => {}
            None => lately.reset(),
        }
        if self.sums.len() == KEPT {
            self.sums.pop_front();
        }
        self.sums.push_back((mono_ms, sum));
        percentiles(&lately)
    }
}

/// An empty histogram with the same bounds.
fn wide(like: &Histogram<u32>) -> Histogram<u64> {
    Histogram::new_with_bounds(like.low(), like.high(), like.sigfig())
        .unwrap_or_else(|_| unreachable!("invariant: the bounds are those of a histogram"))
}

fn percentiles(histogram: &Histogram<u64>) -> Lately {
    if histogram.is_empty() {
        return Lately::default();
    }
    let micros = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    Lately { p50: micros(0.5), p99: micros(0.99), p999: micros(0.999), max: histogram.max() as f64 / 1000.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_second_counts() {
        let mut durations = Durations::default();
        let mut commands = [CommandStats::default(), CommandStats::default()];
        assert_eq!(durations.lately(0, &commands), Lately::default());
        commands[0].record(1, 900_000_000, true);
        assert_eq!(durations.lately(100, &commands), Lately::default(), "from the first look on");
        for tick in 1..=8_u64 {
            commands[1].record(100, 100 * 10_000, true);
            let lately = durations.lately(100 + tick * 250, &commands);
            assert!((lately.max - 10.0).abs() < 0.2 && lately.p50 <= lately.max, "{lately:?}");
        }
        assert_eq!(durations.lately(9_000, &commands), Lately::default(), "nothing happened");
        commands[1] = CommandStats::default();
        commands[1].record(1, 5_000, true);
        let after = durations.lately(9_250, &commands);
        assert!(after.max > 0.0, "a reset is survived: {after:?}");
    }
}
