//! Latency events: what took longer than `latency-monitor-threshold`, by name of the event.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use parking_lot::Mutex;

/// Samples kept of one event.
const HISTORY_MAX: usize = 160;
/// A command that is not constant-time.
pub const COMMAND: &str = "command";
/// A command that should be fast.
pub const FAST_COMMAND: &str = "fast-command";
/// Answering a client that waited in a blocking command.
pub const COMMAND_UNBLOCKING: &str = "command-unblocking";
/// Working off due keys.
pub const EXPIRE_CYCLE: &str = "expire-cycle";

/// Making room for a command by eviction.
pub const EVICTION_CYCLE: &str = "eviction-cycle";
/// Moving one part of a table into its successor, while that part is locked.
pub const MIGRATION_SLICE: &str = "migration-slice";
/// Freeing one evicted value.
pub const EVICTION_DEL: &str = "eviction-del";

/// The worst latency of one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Unix seconds.
    pub time_s: u64,
    /// Milliseconds.
    pub millis: u64,
}

/// What is kept of one event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Series {
    /// The highest latency since the last reset, in milliseconds.
    pub max: u64,
    /// Oldest first.
    pub samples: VecDeque<Sample>,
}

/// What a series comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Analysis {
    /// Highest of the samples.
    pub max: u64,
    /// Lowest.
    pub min: u64,
    /// Mean.
    pub mean: u64,
    /// Mean distance from the mean.
    pub deviation: u64,
    /// Seconds since the oldest sample.
    pub span_s: u64,
}

impl Series {
    fn add(&mut self, sample: Sample) {
        self.max = self.max.max(sample.millis);
        if let Some(last) = self.samples.back_mut()
            && last.time_s == sample.time_s
        {
            last.millis = last.millis.max(sample.millis);
            return;
        }
        if self.samples.len() == HISTORY_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// Mean, deviation and span.
    pub fn analysis(&self, now_s: u64) -> Analysis {
        let n = self.samples.len() as u64;
        let (Some(first), true) = (self.samples.front(), n > 0) else { return Analysis::default() };
        let each = || self.samples.iter().map(|s| s.millis);
        let mean = each().sum::<u64>() / n;
        Analysis {
            max: each().max().unwrap_or(0),
            min: each().min().unwrap_or(0),
            mean,
            deviation: each().map(|ms| ms.abs_diff(mean)).sum::<u64>() / n,
            span_s: now_s.saturating_sub(first.time_s).max(1),
        }
    }
}

/// All events.
#[derive(Default)]
pub struct Latency {
    events: Mutex<BTreeMap<&'static str, Series>>,
}

impl Latency {
    /// Keeps an event if it took `threshold_ms` or longer; a threshold of 0 keeps none.
    #[inline]
    pub fn note(&self, event: &'static str, micros: u64, threshold_ms: u64, now_ms: impl FnOnce() -> u64) {
        if threshold_ms > 0 && micros / 1000 >= threshold_ms {
            self.add(event, Sample { time_s: now_ms() / 1000, millis: micros / 1000 });
        }
    }

    #[cold]
    fn add(&self, event: &'static str, sample: Sample) {
        self.events.lock().entry(event).or_default().add(sample);
    }

    /// Every event with what is kept of it.
    pub fn all(&self) -> Vec<(&'static str, Series)> {
        self.events.lock().iter().map(|(name, series)| (*name, series.clone())).collect()
    }

    /// One event.
    pub fn series(&self, event: &[u8]) -> Option<(&'static str, Series)> {
        let events = self.events.lock();
        let found = events.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(event))?;
        Some((found.0, found.1.clone()))
    }

    /// Forgets the events that are named, or all if none is; returns how many there were.
    pub fn reset<'x>(&self, names: impl ExactSizeIterator<Item = &'x [u8]>) -> usize {
        let mut events = self.events.lock();
        let before = events.len();
        if names.len() == 0 {
            events.clear();
        }
        for wanted in names {
            events.retain(|name, _| !name.as_bytes().eq_ignore_ascii_case(wanted));
        }
        before - events.len()
    }
}

/// A picture of the series in four rows: the higher, the slower; under each column the time.
pub fn graph(event: &str, series: &Series, now_s: u64) -> String {
    let values = || series.samples.iter().map(|s| s.millis);
    let (high, low) = (values().max().unwrap_or(0), values().min().unwrap_or(0));
    let mut text = format!(
        "{event} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        series.max,
        "-".repeat(80)
    );
    // Within a row a sample is one of these, by how far into the row it reaches.
    const MARKS: [char; 3] = ['_', 'o', '#'];
    const ROWS: u64 = 4;
    let steps = ROWS * MARKS.len() as u64;
    let span = (high - low).max(1);
    for row in (0..ROWS).rev() {
        for value in values() {
            // 0..steps, the lowest sample at 0.
            let height = (value - low) * (steps - 1) / span;
            let inside = height.saturating_sub(row * MARKS.len() as u64);
            let mark = match height / MARKS.len() as u64 {
                r if r == row => MARKS[usize::try_from(inside).unwrap_or(0).min(2)],
                r if r > row => '|',
                _ => ' ',
            };
            text.push(mark);
        }
        text.push('\n');
    }
    text.push('\n');
    let ages: Vec<String> = series.samples.iter().map(|s| age(now_s.saturating_sub(s.time_s))).collect();
    let rows = ages.iter().map(String::len).max().unwrap_or(0);
    for row in 0..rows {
        text.extend(ages.iter().map(|age| age.chars().nth(row).unwrap_or(' ')));
        text.push('\n');
    }
    text
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_keeps_its_worst_and_old_samples_go() {
        let latency = Latency::default();
        latency.note(COMMAND, 5_000, 10, || 0);
        assert!(latency.all().is_empty(), "below the threshold");
        latency.note(COMMAND, 5_000_000, 0, || 0);
        assert!(latency.all().is_empty(), "turned off");
        for (at, ms) in [(1_000, 20), (1_900, 30), (2_000, 10)] {
            latency.note(COMMAND, ms * 1000, 10, || at);
        }
        let (_, series) = latency.series(b"COMMAND").unwrap();
        let kept: Vec<_> = series.samples.iter().map(|s| (s.time_s, s.millis)).collect();
        assert_eq!(kept, [(1, 30), (2, 10)]);
        let a = series.analysis(11);
        assert_eq!((a.mean, a.deviation, a.min, a.max, a.span_s), (20, 10, 10, 30, 10));
        for second in 0..1000 {
            latency.note(FAST_COMMAND, 20_000, 10, || second * 1000);
        }
        assert_eq!(latency.series(b"fast-command").unwrap().1.samples.len(), HISTORY_MAX);
        assert_eq!(latency.reset([b"nosuch".as_slice()].into_iter()), 0);
        assert_eq!(latency.reset([b"command".as_slice()].into_iter()), 1);
        assert_eq!(latency.reset(std::iter::empty()), 1);
    }

    #[test]
    fn the_graph_has_a_column_for_each_sample() {
        let mut series = Series::default();
        for (time_s, millis) in [(0, 1), (10, 50), (100, 100)] {
            series.add(Sample { time_s, millis });
        }
        let text = graph("command", &series, 100);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "command - high 100 ms, low 1 ms (all time high 100 ms)");
        assert_eq!(&lines[2..6], ["  #", "  |", " #|", "_||"].as_slice());
        assert_eq!(&lines[7..], ["110", "mms"].as_slice());
    }
}
