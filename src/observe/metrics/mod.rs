//! `/metrics`: every figure as Prometheus and OpenMetrics want it.
//!
//! A metric is declared once, in a table: name, kind, unit, labels, help, and how it is read from a [`Snapshot`]. From the
//! tables come the answer to a scrape and docs/metrics.md. Nothing is registered and nothing is kept between scrapes: the
//! request path touches its own worker's counters only, which the snapshot sums up
//! (docs/decisions/002-metrics-text.md says why there is no registry).
//!
//! Names of what Redis has too are those of the common exporter for Redis, so that dashboards made for it work;
//! everything else is `tandem_…`.

pub mod docs;
mod redis;
mod tandem;
mod text;

pub use text::{Form, Series};

use crate::observe::Commands;
use crate::observe::snapshot::Snapshot;
use crate::shared::Shared;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, but for a restart and CONFIG RESETSTAT.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Durations by bucket.
    Histogram,
}

impl Kind {
    /// The word in `# TYPE`.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    None,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// A share, from 0 to 1, or a ratio.
    Ratio,
}

impl Unit {
    /// As it ends a name.
    pub fn word(self) -> &'static str {
        match self {
            Unit::None => "",
            Unit::Bytes => "bytes",
            Unit::Seconds => "seconds",
            Unit::Ratio => "ratio",
        }
    }
}

/// One metric.
pub struct Metric {
    /// Its full name; that of a counter ends in `_total`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What is counted.
    pub unit: Unit,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
    read: fn(&Scrape<'_>, &mut Series<'_>),
}

/// What a scrape is made from.
#[derive(Clone, Copy)]
pub struct Scrape<'a> {
    /// The figures.
    pub now: &'a Snapshot,
    /// What does not change with time: names, settings.
    pub shared: &'a Shared,
    /// What is known of commands.
    pub commands: Commands,
}

/// Metrics under a title.
pub struct Chapter {
    /// For the manual page.
    pub title: &'static str,
    /// In the order of a scrape.
    pub metrics: &'static [Metric],
}

/// All metrics.
pub static CHAPTERS: &[Chapter] = &[
    Chapter { title: "As the exporter for Redis has them", metrics: redis::METRICS },
    Chapter { title: "Engines", metrics: tandem::ENGINES },
    Chapter { title: "Expiry, eviction and events", metrics: tandem::KEYS },
    Chapter { title: "Requests", metrics: tandem::REQUESTS },
    Chapter { title: "Memory and threads", metrics: tandem::RESOURCES },
];

/// The whole answer to a scrape.
pub fn render(scrape: &Scrape<'_>, form: Form) -> String {
    // A scrape of a server that has seen some commands is about 40 KiB.
    let mut text = String::with_capacity(48 << 10);
    for metric in CHAPTERS.iter().flat_map(|chapter| chapter.metrics) {
        let mut series = Series::new(&mut text, metric, form);
        (metric.read)(scrape, &mut series);
    }
    form.end(&mut text);
    text
}

/// Declares metrics: `kind "name" unit [labels] "help" = how it is read`.
macro_rules! metrics {
    ($( $kind:ident $name:literal $unit:ident [$($label:literal),*] $help:literal = $read:expr; )*) => {
        &[ $( $crate::observe::metrics::Metric {
            name: $name,
            kind: $crate::observe::metrics::Kind::$kind,
            unit: $crate::observe::metrics::Unit::$unit,
            labels: &[$($label),*],
            help: $help,
            read: $read,
        } ),* ]
    };
}
use metrics;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn declarations_follow_the_rules_of_openmetrics() {
        let mut names = BTreeSet::new();
        for metric in CHAPTERS.iter().flat_map(|chapter| chapter.metrics) {
            let name = metric.name;
            assert!(names.insert(name), "{name} twice");
            assert!(name.starts_with("redis_") || name.starts_with("tandem_"), "{name}");
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{name}"
            );
            assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
            if name.starts_with("tandem_") && metric.unit != Unit::None {
                assert!(
                    text::base(metric).ends_with(metric.unit.word()),
                    "{name} does not end with its unit"
                );
            }
            if metric.kind == Kind::Histogram {
                assert_eq!(metric.unit, Unit::Seconds, "{name}: the buckets are seconds");
                assert!(!metric.labels.contains(&"le"), "{name}");
            }
            assert!(!metric.help.is_empty() && !metric.help.contains(['\n', '\\', '"']), "{name}");
            assert!(metric.help.ends_with('.'), "{name}: {}", metric.help);
        }
    }
}
