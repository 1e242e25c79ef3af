//! docs/metrics.md, written from the tables. A test fails when the file in the repository differs.

use std::fmt::Write as _;

use super::{CHAPTERS, Metric, Unit};

/// The manual page.
pub fn manual() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         `metrics-port` (or `metrics-unixsocket`) turns an HTTP endpoint on that serves `/metrics`, for Prometheus and \
         everything that reads its text form or OpenMetrics. This page is written from the program; a test holds it \
         against a live scrape.\n\n\
         Names of what Redis has too are those of the common exporter for Redis, so dashboards and alerts made for \
         that work without it. A metric without a value (no command was called, no latency event was kept) is left out. \
         Counters begin at 0 with the process; CONFIG RESETSTAT sets those of commands, keys and connections back.\n\n\
         Histograms have the bounds 1, 2, 5, 10 … µs up to 10 s.\n",
    );
    for chapter in CHAPTERS {
        let _ = write!(
            page,
            "\n## {}\n\n| name | kind | unit | labels | what it says |\n|---|---|---|---|---|\n",
            chapter.title
        );
        for metric in chapter.metrics {
            let _ = writeln!(page, "{}", row(metric));
        }
    }
    page
}

fn row(metric: &Metric) -> String {
    let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    let unit = match metric.unit {
        Unit::None => "",
        unit => unit.word(),
    };
    format!(
        "| `{}` | {} | {unit} | {} | {} |",
        metric.name,
        metric.kind.word(),
        labels.join(", "),
        metric.help
    )
}
