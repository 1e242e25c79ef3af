//! `loadgen hitratio`: replays traces against servers with limited memory, through the protocol:
//! GET, and on a miss SET.
//!
//! Servers take different amounts of memory for the same key, so equal limits would compare
//! memory per key and not what is evicted. Unless asked otherwise, each server's limit is
//! therefore set so that it holds the wanted number of keys while it evicts.

mod replay;
mod show;
mod trace;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::bed::{Bed, BedArgs};
use crate::cli::{count, rate};
use crate::compare;
use crate::request::VALUE_SIZE_MAX;
use crate::server::ServerSpec;

use replay::Replay;
use trace::{Trace, USUAL};

pub use trace::TraceSpec;

/// What is the same for all servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Budget {
    /// The number of keys that fit
    Keys,
    /// The limit in bytes, by which the last server holds that number of keys
    Bytes,
}

#[derive(Args)]
pub struct HitRatioArgs {
    #[command(flatten)]
    pub bed: BedArgs,
    /// zipf:S, scan, shift, loop, or NAME=FORMAT:FILE for a recorded one, FORMAT being lines (a key
    /// per line), csvN (its N-th field) or arc (first block, number of blocks); .gz is
    /// unpacked; repeat it [default: zipf:0.8, zipf:1.1, scan, shift, loop]
    #[arg(long = "trace", value_name = "TRACE")]
    pub traces: Vec<TraceSpec>,
    /// Cache sizes in percent of the different keys of a trace
    #[arg(long, value_delimiter = ',', default_values_t = [1.0, 10.0, 25.0])]
    pub caches: Vec<f64>,
    /// Keys that made-up traces draw from
    #[arg(long, default_value = "200k", value_parser = count)]
    pub keys: u64,
    /// Requests of a trace; a recorded one is cut after so many
    #[arg(long, short = 'n', default_value = "1M", value_parser = count)]
    pub requests: u64,
    /// Bytes per value
    #[arg(long, default_value_t = 512)]
    pub value_size: usize,
    /// What is the same for all servers
    #[arg(long, value_enum, default_value = "keys")]
    pub budget: Budget,
    /// Requests per second at most: the clock of redis-server's LRU ticks once a second, so a fast
    /// replay makes it blind [default: as fast as it goes]
    #[arg(long, value_parser = rate)]
    pub pace: Option<f64>,
    /// GETs in flight; fewer where a key would come twice
    #[arg(long, short = 'P', default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub pipeline: u32,
    /// Seed of made-up traces
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// The servers when none are named: tandem's own policy, and the two of redis-server.
fn usual() -> Result<Vec<ServerSpec>> {
    let mut tandem = compare::default_servers()?.swap_remove(0);
    "tandem-arc".clone_into(&mut tandem.name);
    tandem.argv.extend(["--maxmemory-policy".to_owned(), "allkeys-arc".to_owned()]);
    let redis =
        |p: &str| format!("redis-{p}=redis-server --maxmemory-policy allkeys-{p}").parse::<ServerSpec>();
    Ok(vec![tandem, redis("lru")?, redis("lfu")?])
}

/// One trace at one size on one server.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    pub trace: String,
    pub requests: u64,
    pub distinct: u64,
    pub cache_percent: f64,
    pub cache_keys: u64,
    pub server: String,
    pub hits: u64,
    pub hit_percent: f64,
    pub maxmemory: u64,
    /// SETs that the server had no room for.
    pub refused: u64,
    /// Keys in the server after the replay.
    pub keys_held: u64,
    pub requests_per_second: f64,
}

pub fn run(args: &HitRatioArgs) -> Result<()> {
    ensure!(args.value_size <= VALUE_SIZE_MAX, "--value-size may be at most {VALUE_SIZE_MAX}");
    ensure!(args.caches.iter().all(|c| (0.01..=100.0).contains(c)), "--caches are percents from 0.01 to 100");
    ensure!(u32::try_from(args.keys).is_ok_and(|k| k >= 10), "--keys is from 10 to 4 billion");
    let bed = Bed::new(&args.bed, usual, 0)?;
    let specs = if args.traces.is_empty() {
        USUAL.iter().map(|s| s.parse()).collect::<Result<Vec<TraceSpec>>>()?
    } else {
        args.traces.clone()
    };
    let bar = bar(args, (specs.len() * args.caches.len() * bed.servers.len()) as u64);
    let mut cells: Vec<Cell> = Vec::new();
    for spec in &specs {
        let trace = spec.build(args.keys, args.requests, args.seed)?;
        for &percent in &args.caches {
            bar.set_prefix(format!("{}, {percent} %", trace.name));
            cells.extend(row(&bed, args, &trace, percent, &bar)?);
        }
    }
    bar.finish_and_clear();
    args.bed.show(&show::markdown(args, &cells));
    match &args.bed.json {
        Some(path) => crate::report::write_json(path, &cells),
        None => Ok(()),
    }
}

fn bar(args: &HitRatioArgs, cells: u64) -> ProgressBar {
    if args.bed.quiet {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{elapsed_precise} {bar:40} {prefix}: {msg}");
    ProgressBar::new(cells).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// One trace at one size on all servers.
fn row(bed: &Bed, args: &HitRatioArgs, trace: &Trace, percent: f64, bar: &ProgressBar) -> Result<Vec<Cell>> {
    let wanted = ((trace.distinct as f64 * percent / 100.0).round() as u64).max(1);
    let mut limit = None;
    let mut cells = Vec::new();
    // The last server's limit is needed first if all of them get it.
    for spec in bed.servers.iter().rev() {
        bar.set_message(spec.name.clone());
        let server = bed.start(spec, &[])?;
        let mut replay = Replay::new(&server, args)?;
        let maxmemory = match limit.filter(|_| args.budget == Budget::Bytes) {
            Some(bytes) => bytes,
            None => replay.calibrate(wanted).with_context(|| spec.name.clone())?,
        };
        limit = Some(maxmemory);
        let done = replay.run(trace, maxmemory).with_context(|| spec.name.clone())?;
        cells.push(Cell {
            trace: trace.name.clone(),
            requests: trace.requests.len() as u64,
            distinct: trace.distinct,
            cache_percent: percent,
            cache_keys: wanted,
            server: spec.name.clone(),
            hits: done.hits,
            hit_percent: done.hits as f64 * 100.0 / trace.requests.len() as f64,
            maxmemory,
            refused: done.refused,
            keys_held: done.keys_held,
            requests_per_second: done.requests_per_second,
        });
        bar.inc(1);
    }
    cells.reverse();
    Ok(cells)
}
