//! What `loadgen run` prints and writes.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use serde::Serialize;

use crate::cli::{Mode, RunArgs};
use crate::plot;
use crate::run::ServerUse;
use crate::tally::Tally;

/// The percentiles of every table.
pub const PERCENTILES: [f64; 8] = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 100.0];

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Latency {
    pub mean_us: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub p9999_us: f64,
    pub max_us: f64,
}

impl Latency {
    pub fn of(h: &Histogram<u64>) -> Self {
        let at = |p: f64| h.value_at_percentile(p) as f64 / 1e3;
        Latency {
            mean_us: h.mean() / 1e3,
            p50_us: at(50.0),
            p99_us: at(99.0),
            p999_us: at(99.9),
            p9999_us: at(99.99),
            max_us: h.max() as f64 / 1e3,
        }
    }
}

/// The result of one run as it goes into JSON.
#[derive(Serialize)]
pub struct RunReport {
    server: String,
    mode: Mode,
    clients: u32,
    pipeline: u32,
    threads: u32,
    keys: u64,
    key_size: usize,
    value_size: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    seconds: f64,
    requests: u64,
    requests_per_second: f64,
    misses: u64,
    errors: u64,
    wrong: u64,
    unsent: u64,
    invalidations: u64,
    reconnects: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_bad: Option<String>,
    latency: Latency,
    #[serde(skip_serializing_if = "Option::is_none")]
    send_lag: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_cpu_us_per_request: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_cpu_waited_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_resident_kib: Option<u64>,
}

impl RunReport {
    pub fn new(args: &RunArgs, total: &Tally, used: Option<&ServerUse>) -> Self {
        let requests = total.replies;
        RunReport {
            server: args.server.to_string(),
            mode: args.mode,
            clients: args.clients,
            pipeline: args.pipeline,
            threads: args.threads,
            keys: args.keys,
            key_size: args.key_size,
            value_size: args.value_size.mean(),
            rate: args.rate.filter(|_| args.mode == Mode::Open),
            seconds: total.elapsed_ns as f64 / 1e9,
            requests,
            requests_per_second: total.per_second(),
            misses: total.misses,
            errors: total.errors,
            wrong: total.wrong,
            unsent: total.unsent,
            invalidations: total.pushes,
            reconnects: total.reconnects,
            first_bad: total.first_bad.clone(),
            latency: Latency::of(&total.latency),
            send_lag: (args.mode == Mode::Open).then(|| Latency::of(&total.send_lag)),
            server_cpu_us_per_request: used.map(|u| u.cpu.used_ns as f64 / 1e3 / requests.max(1) as f64),
            server_cpu_waited_ms: used.map(|u| u.cpu.waited_ns as f64 / 1e6),
            server_resident_kib: used.map(|u| u.resident_kib),
        }
    }

    /// One line that says what was done.
    fn caption(&self) -> String {
        let how = match self.rate {
            Some(rate) => format!("open loop at {rate:.0}/s, from when each request was due"),
            None => format!("closed loop, {:.0} requests/s, from sending", self.requests_per_second),
        };
        format!("{} requests, {} connections, pipeline {}, {how}", self.requests, self.clients, self.pipeline)
    }

    /// The report for people.
    fn text(&self, total: &Tally) -> String {
        let mut s = String::new();
        let _ = writeln!(
            s,
            "{} requests in {:.2} s: {:.0} requests/s ({} misses, {} errors, {} wrong)",
            self.requests, self.seconds, self.requests_per_second, self.misses, self.errors, self.wrong
        );
        if self.invalidations + self.reconnects > 0 {
            let _ = writeln!(s, "{} invalidations, {} reconnects", self.invalidations, self.reconnects);
        }
        if let Some(bad) = &self.first_bad {
            let _ = writeln!(s, "first bad reply: {bad}");
        }
        let from = if self.mode == Mode::Open { "from when the request was due" } else { "from sending" };
        let _ =
            writeln!(s, "\nlatency {from}, mean {:.1} µs\n\n  percentile          µs", self.latency.mean_us);
        for p in PERCENTILES {
            let us = total.latency.value_at_percentile(p) as f64 / 1e3;
            let _ = writeln!(s, "  {p:>9}%  {us:>10.1}");
        }
        if let Some(lag) = &self.send_lag {
            let _ = writeln!(
                s,
                "\nloadgen itself was late by {:.1} µs (p50), {:.1} (p99), {:.1} (max)",
                lag.p50_us, lag.p99_us, lag.max_us
            );
        }
        if self.unsent > 0 {
            let _ = writeln!(
                s,
                "{} requests were due but found no free connection until the end; they are in the latencies with \
                 the time that they had waited by then (the server is slower than the rate)",
                self.unsent
            );
        }
        if let (Some(cpu), Some(kib)) = (self.server_cpu_us_per_request, self.server_resident_kib) {
            let _ = writeln!(s, "\nserver: {cpu:.3} µs of CPU per request, {kib} KiB resident");
        }
        s
    }
}

/// Prints and writes everything that was asked for.
pub fn emit_run(args: &RunArgs, report: &RunReport, total: &Tally) -> Result<()> {
    if args.json.as_deref() != Some(Path::new("-")) {
        print!("{}", report.text(total));
    }
    if let Some(path) = &args.json {
        write_json(path, report)?;
    }
    if let Some(path) = &args.hdr {
        write_hdr(path, total)?;
    }
    if let Some(path) = &args.plot {
        let panel = plot::Panel { name: "", lines: vec![(&report.server, &total.latency)] };
        plot::percentiles(path, "Latency by percentile", &report.caption(), &[panel])?;
    }
    Ok(())
}

pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    if path == Path::new("-") {
        return std::io::stdout().write_all(text.as_bytes()).context("cannot write to standard output");
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// One interval that covers the run; any HDR tool reads it.
fn write_hdr(path: &Path, total: &Tally) -> Result<()> {
    let length = Duration::from_nanos(total.elapsed_ns);
    let whole = HdrInterval { start: Duration::ZERO, length, tag: String::new(), histogram: &total.latency };
    write_hdr_log(path, length, &[whole])
}

/// A line of an HDR log.
pub struct HdrInterval<'a> {
    /// From the beginning of the log.
    pub start: Duration,
    pub length: Duration,
    /// Empty for none.
    pub tag: String,
    pub histogram: &'a Histogram<u64>,
}

/// Writes a log that covers `length` until now.
pub fn write_hdr_log(path: &Path, length: Duration, intervals: &[HdrInterval<'_>]) -> Result<()> {
    let mut file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut serializer = V2DeflateSerializer::new();
    let start = crate::clock::wall().checked_sub(length).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut log = IntervalLogWriterBuilder::new()
        .with_start_time(start)
        .with_max_value_divisor(1e6)
        .begin_log_with(&mut file, &mut serializer)?;
    for i in intervals {
        // A tag is one word without the log's separators.
        let word: String = i
            .tag
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' })
            .collect();
        let tag = if word.is_empty() { None } else { Tag::new(&word) };
        log.write_histogram(i.histogram, i.start, i.length, tag)
            .map_err(|e| anyhow::anyhow!("cannot write {}: {e:?}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Class;

    #[test]
    fn an_hdr_log_has_one_interval() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.hlog");
        let mut tally = Tally::new().unwrap();
        for i in 1..1000 {
            tally.reply(Class::Ok, i * 1000);
        }
        tally.settle();
        tally.elapsed_ns = 1_000_000_000;
        write_hdr(&path, &tally).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().filter(|l| l.starts_with("0.000")).count(), 1, "{text}");
    }

    #[test]
    fn percentiles_come_from_the_histogram() {
        let mut tally = Tally::new().unwrap();
        for i in 1..=1000u64 {
            tally.reply(Class::Ok, i * 1000);
        }
        tally.settle();
        let l = Latency::of(&tally.latency);
        assert!((l.p50_us - 500.0).abs() < 2.0 && (l.max_us - 1000.0).abs() < 2.0, "{l:?}");
    }
}
