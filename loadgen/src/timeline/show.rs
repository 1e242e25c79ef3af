//! What these scenarios print and write: a table by phase, ratios between servers, CSV, JSON.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::drive::{Phase, Track};
use super::save::Saved;
use super::{LoadArgs, Plan, Step};
use crate::compare::{Spread, Table, count, us};
use crate::plot;
use crate::report::{self, Latency};
use crate::request::Shape;
use crate::stats::{self, Blocks, Interval};
use crate::tally::Tally;

/// The percentiles that servers are compared by.
const COMPARED: [f64; 3] = [50.0, 99.0, 99.9];

/// One window as it is written and drawn.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Point {
    /// The end of the window.
    pub seconds: f64,
    pub phase: &'static str,
    pub keys: u64,
    pub requests: u64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
    pub resident_mib: f64,
    /// What keys and values themselves take, about.
    pub data_mib: f64,
    /// Share of a core that the server used.
    pub cpu: f64,
    /// How long the server was ready and did not get a core: the machine's fault.
    pub waited_ms: f64,
    /// The largest delay by which loadgen itself was late.
    pub own_lag_us: f64,
}

pub fn points(track: &Track, window_ns: u64, shape: &Shape) -> Vec<Point> {
    let each = shape.key_size as f64 + shape.values.mean();
    let point = |(i, w): (usize, &super::record::Window)| {
        let at = |p: f64| w.latency.value_at_percentile(p) as f64 / 1e3;
        Point {
            seconds: (i + 1) as f64 * window_ns as f64 / 1e9,
            phase: track.phases.get(w.phase).map_or("", |p| p.step.name()),
            keys: w.sample.keys,
            requests: w.latency.len(),
            p50_us: at(50.0),
            p99_us: at(99.0),
            p999_us: at(99.9),
            max_us: w.latency.max() as f64 / 1e3,
            resident_mib: w.sample.resident_kib as f64 / 1024.0,
            data_mib: w.sample.keys as f64 * each / f64::from(1 << 20),
            cpu: w.cpu.used_ns as f64 / window_ns as f64,
            waited_ms: w.cpu.waited_ns as f64 / 1e6,
            own_lag_us: w.own_lag_ns as f64 / 1e3,
        }
    };
    track.windows.iter().enumerate().map(point).collect()
}

/// All steps of one kind on one server.
#[derive(Serialize)]
struct Summary {
    server: String,
    phase: Step,
    latency: Latency,
    requests: u64,
    misses: u64,
    keys_per_second: f64,
    cpu: f64,
    waited_ms: f64,
    own_lag_max_us: f64,
    /// At the ends of the steps: resident memory beyond the empty server, by the data in it.
    resident_to_data: Spread,
    resident_mib: Spread,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    snapshots: Vec<Saved>,
}

/// A percentile of the first server by another's.
#[derive(Serialize)]
struct Ratio {
    phase: Step,
    servers: [String; 2],
    percentile: f64,
    ratio: Interval,
}

#[derive(Serialize)]
pub struct Results {
    scenario: &'static str,
    keys: u64,
    key_size: usize,
    value_size: f64,
    rate: f64,
    move_rate: f64,
    clients: u32,
    rounds: u32,
    summary: Vec<Summary>,
    ratios: Vec<Ratio>,
    windows: Vec<TrackPoints>,
}

#[derive(Serialize)]
struct TrackPoints {
    server: String,
    round: u32,
    points: Vec<Point>,
}

pub fn results(plan: &Plan, args: &LoadArgs, tracks: &[Track]) -> Results {
    Results {
        scenario: plan.name,
        keys: args.keys,
        key_size: args.key_size,
        value_size: args.value_size.mean(),
        rate: args.rate,
        move_rate: args.move_rate,
        clients: args.clients,
        rounds: args.rounds,
        summary: summaries(plan, tracks),
        ratios: ratios(plan, tracks),
        windows: tracks
            .iter()
            .map(|t| TrackPoints { server: t.server.clone(), round: t.round, points: t.points.clone() })
            .collect(),
    }
}

fn names(tracks: &[Track]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for track in tracks {
        if !names.contains(&track.server.as_str()) {
            names.push(&track.server);
        }
    }
    names
}

/// The kinds of steps in their order, those that are measured.
fn kinds(plan: &Plan) -> Vec<Step> {
    let mut kinds = Vec::new();
    for &step in &plan.steps {
        if step != Step::Load && !kinds.contains(&step) {
            kinds.push(step);
        }
    }
    kinds
}

fn summaries(plan: &Plan, tracks: &[Track]) -> Vec<Summary> {
    let mut all = Vec::new();
    for name in names(tracks) {
        for kind in kinds(plan) {
            let mine = tracks.iter().filter(|t| t.server == name);
            let phases: Vec<(&Track, &Phase)> =
                mine.flat_map(|t| t.phases.iter().filter(|p| p.step == kind).map(move |p| (t, p))).collect();
            all.extend(summary(name, kind, &phases));
        }
    }
    all
}

fn summary(server: &str, phase: Step, phases: &[(&Track, &Phase)]) -> Option<Summary> {
    let mut total = Tally::new().ok()?;
    for (_, p) in phases {
        total.merge(&p.probe).ok()?;
    }
    let seconds = phases.iter().map(|(_, p)| p.took_ns as f64).sum::<f64>() / 1e9;
    let beyond = |t: &Track, p: &Phase| p.resident_kib.saturating_sub(t.empty_kib) as f64 * 1024.0;
    Some(Summary {
        server: server.to_owned(),
        phase,
        latency: Latency::of(&total.latency),
        requests: total.latency.len(),
        misses: total.misses,
        keys_per_second: phases.iter().map(|(_, p)| p.moved as f64).sum::<f64>() / seconds,
        cpu: phases.iter().map(|(_, p)| p.cpu.used_ns as f64).sum::<f64>() / 1e9 / seconds,
        waited_ms: phases.iter().map(|(_, p)| p.cpu.waited_ns as f64).sum::<f64>() / 1e6,
        own_lag_max_us: total.send_lag.max() as f64 / 1e3,
        resident_to_data: Spread::of(phases.iter().map(|(t, p)| beyond(t, p) / p.data_bytes as f64)),
        resident_mib: Spread::of(phases.iter().map(|(_, p)| p.resident_kib as f64 / 1024.0)),
        snapshots: phases.iter().filter_map(|(_, p)| p.saved).collect(),
    })
}

fn ratios(plan: &Plan, tracks: &[Track]) -> Vec<Ratio> {
    let names = names(tracks);
    let blocks = |name: &str, kind: Step| {
        let mine = tracks.iter().filter(|t| t.server == name);
        Blocks::of(mine.flat_map(|t| {
            let of_kind = |w: &&super::record::Window| t.phases.get(w.phase).is_some_and(|p| p.step == kind);
            t.windows.iter().filter(of_kind).map(|w| &w.latency)
        }))
    };
    let mut all = Vec::new();
    for kind in kinds(plan) {
        let first = blocks(names[0], kind);
        for other in &names[1..] {
            let second = blocks(other, kind);
            for percentile in COMPARED {
                let ratio = stats::ratio_of_percentiles(&first, &second, percentile);
                let servers = [names[0].to_owned(), (*other).to_owned()];
                all.push(Ratio { phase: kind, servers, percentile, ratio });
            }
        }
    }
    all
}

/// One line that says what was done.
pub fn caption(plan: &Plan, args: &LoadArgs) -> String {
    let values = args.value_size.mean();
    format!(
        "{} keys of {} bytes, values of {values:.0} bytes on average, {} GETs/s measured beside {} writes or \
         deletions/s, open loop",
        count(args.keys),
        args.key_size,
        count(args.rate as u64),
        count(args.move_rate as u64),
    ) + if plan.name == "shift" { ", one core for the server" } else { "" }
}

pub fn markdown(plan: &Plan, args: &LoadArgs, tracks: &[Track]) -> String {
    let mut table = Table::new([
        "server",
        "phase",
        "moved/s",
        "p50",
        "p99",
        "p99.9",
        "max",
        "CPU",
        "waited ms",
        "own lag max",
        "resident MiB",
        "by the data",
    ]);
    for s in summaries(plan, tracks) {
        table.row(vec![
            s.server,
            s.phase.name().to_owned(),
            format!("{:.0}k", s.keys_per_second / 1e3),
            us(s.latency.p50_us),
            us(s.latency.p99_us),
            us(s.latency.p999_us),
            us(s.latency.max_us),
            format!("{:.0} %", s.cpu * 100.0),
            format!("{:.0}", s.waited_ms),
            us(s.own_lag_max_us),
            format!("{:.0} ({:.0}–{:.0})", s.resident_mib.median, s.resident_mib.min, s.resident_mib.max),
            s.resident_to_data.ratio(),
        ]);
    }
    let mut text = format!(
        "### {}: {}\n\nµs from when each GET was due. `waited` is how long the server was kept from its core by \
         others, `own lag` by how much loadgen was late. Memory at the ends of the phases; `by the data` is what \
         is resident beyond the empty server, by the bytes of the keys and values in it.\n\n{}",
        plan.name,
        caption(plan, args),
        table.markdown()
    );
    text += &snapshots(&summaries(plan, tracks));
    let ratios = ratios(plan, tracks);
    if !ratios.is_empty() {
        let mut table = Table::new(["phase", "servers", "p50", "p99", "p99.9"]);
        for row in ratios.chunks(COMPARED.len()) {
            let mut cells = vec![
                row[0].phase.name().to_owned(),
                format!("{} / {}", row[0].servers[0], row[0].servers[1]),
            ];
            cells.extend(row.iter().map(|r| r.ratio.text()));
            table.row(cells);
        }
        let _ = write!(
            text,
            "\nRatios of latencies, with 95 % intervals from drawing whole windows again:\n\n{}",
            table.markdown()
        );
    }
    text
}

/// What the snapshots were, and what requests paid for them.
fn snapshots(summaries: &[Summary]) -> String {
    let mut table = Table::new(["server", "took s", "files MiB", "copied MiB", "p50", "p99", "p99.9", "max"]);
    for s in summaries.iter().filter(|s| !s.snapshots.is_empty()) {
        let before = summaries.iter().find(|b| b.server == s.server && b.phase == Step::Full);
        let by = |of: fn(&Latency) -> f64| {
            before.map_or_else(String::new, |b| format!("× {:.2}", of(&s.latency) / of(&b.latency)))
        };
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let copied = s.snapshots.iter().filter_map(|s| s.copied_bytes).max();
        table.row(vec![
            s.server.clone(),
            format!("{:.2}", Spread::of(s.snapshots.iter().map(|s| s.seconds)).median),
            format!("{:.1}", s.snapshots.iter().map(|s| mib(s.file_bytes)).fold(0.0, f64::max)),
            copied.map_or_else(|| "–".to_owned(), |bytes| format!("{:.1}", mib(bytes))),
            by(|l| l.p50_us),
            by(|l| l.p99_us),
            by(|l| l.p999_us),
            by(|l| l.max_us),
        ]);
    }
    if table.is_empty() {
        return String::new();
    }
    format!(
        "\nSnapshots; latencies while one was written by those before it. What was copied because it changed meanwhile is \
         what the server says.\n\n{}",
        table.markdown()
    )
}

/// Latencies by percentile: a panel for each phase, a line in it for each server.
pub fn draw_curves(path: &Path, plan: &Plan, args: &LoadArgs, tracks: &[Track]) -> Result<()> {
    let mut tallies = Vec::new();
    for kind in kinds(plan) {
        for name in names(tracks) {
            let mut total = Tally::new()?;
            let mine = tracks.iter().filter(|t| t.server == name);
            for phase in mine.flat_map(|t| &t.phases).filter(|p| p.step == kind) {
                total.merge(&phase.probe)?;
            }
            tallies.push((kind, name, total));
        }
    }
    let panel = |kind: Step| plot::Panel {
        name: kind.name(),
        lines: tallies.iter().filter(|t| t.0 == kind).map(|t| (t.1, &t.2.latency)).collect(),
    };
    let panels: Vec<plot::Panel<'_>> = kinds(plan).into_iter().map(panel).collect();
    plot::percentiles(path, &format!("Latency by percentile: {}", plan.name), &caption(plan, args), &panels)
}

pub fn write_csv(path: &Path, tracks: &[Track]) -> Result<()> {
    let mut text =
        "server,round,seconds,phase,keys,requests,p50_us,p99_us,p999_us,max_us,resident_mib,data_mib,\
                    cpu,waited_ms,own_lag_us\n"
            .to_owned();
    for track in tracks {
        for p in &track.points {
            let _ = writeln!(
                text,
                "{},{},{:.3},{},{},{},{:.1},{:.1},{:.1},{:.1},{:.2},{:.2},{:.3},{:.2},{:.1}",
                track.server,
                track.round + 1,
                p.seconds,
                p.phase,
                p.keys,
                p.requests,
                p.p50_us,
                p.p99_us,
                p.p999_us,
                p.max_us,
                p.resident_mib,
                p.data_mib,
                p.cpu,
                p.waited_ms,
                p.own_lag_us
            );
        }
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

pub fn write_hdr(path: &Path, tracks: &[Track]) -> Result<()> {
    let mut intervals = Vec::new();
    let mut start = Duration::ZERO;
    for track in tracks {
        for phase in &track.phases {
            let length = Duration::from_nanos(phase.took_ns);
            let tag = format!("{}.{}", track.server, phase.step.name());
            intervals.push(report::HdrInterval { start, length, tag, histogram: &phase.probe.latency });
            start += length;
        }
    }
    report::write_hdr_log(path, start, &intervals)
}
