//! CPU time per request: every server and the floor, one after the other in each round.

use std::cell::Cell as StdCell;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::table::{Spread, Table, count, us};
use super::{Bench, counts};
use crate::cli::CompareArgs;
use crate::keys::{Dist, Picker};
use crate::reply::Scanner;
use crate::request::{Generator, Kind, Mix, Shape};
use crate::server::Server;
use crate::stats::{self, Interval};
use crate::tally::Tally;
use crate::worker::{Limit, Worker};
use crate::{closed, compare, proc};

pub(super) const PIPELINES: [u64; 3] = [1, 16, 64];
const KINDS: [Kind; 3] = [Kind::Get, Kind::Set, Kind::Incr];
const LOAD_PIPELINE: u64 = 64;
/// A sample during which the server or loadgen waited for its core longer than this share of
/// the time is taken again: a client that is held up makes requests arrive in heaps, which
/// makes every server look cheaper than it is.
const NOISE_MAX: f64 = 0.05;

/// One measurement of one server.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sample {
    pub cpu_us: f64,
    pub requests_per_second: f64,
    /// Share of the time that server and loadgen were kept from their cores by others.
    pub noise: f64,
    /// Replies that said there is nothing.
    pub misses: u64,
}

/// One line of the table: for each server (the floor last) a sample per round.
#[derive(Serialize)]
pub struct Cell {
    pub keys: u64,
    pub pipeline: u64,
    pub command: Kind,
    pub samples: Vec<(String, Vec<Sample>)>,
}

impl Cell {
    fn cpu(&self, server: usize) -> Spread {
        Spread::of(self.samples[server].1.iter().map(|s| s.cpu_us))
    }

    fn throughput(&self, server: usize) -> Spread {
        Spread::of(self.samples[server].1.iter().map(|s| s.requests_per_second))
    }

    /// The noisiest sample of the line.
    fn noise(&self) -> f64 {
        self.samples.iter().flat_map(|s| &s.1).map(|s| s.noise).fold(0.0, f64::max)
    }

    /// Ratios of neighbours in time: the k-th sample of one to the k-th of the other.
    fn ratio(&self, server: usize, to: usize) -> Interval {
        let pairs = self.samples[server].1.iter().zip(&self.samples[to].1);
        stats::ratio_of_pairs(pairs.map(|(a, b)| (a.cpu_us, b.cpu_us)))
    }
}

pub fn run(bench: &Bench<'_>, args: &CompareArgs) -> Result<Vec<Cell>> {
    let rounds = args.rounds.unwrap_or(if bench.quick { 3 } else { 5 });
    let mut cells = Vec::new();
    for keys in counts(&args.keys, &[100_000, 1_000_000], &[100_000], bench.quick) {
        let specs = bench.servers.iter().chain([&bench.floor]);
        let mut servers = specs
            .map(|spec| Server::start(spec, bench.dir, &bench.server_cores, &[]))
            .collect::<Result<Vec<_>>>()?;
        let shape = bench.shape(keys);
        for server in &servers {
            load(server, &shape, bench)?;
        }
        for pipeline in PIPELINES {
            for command in KINDS {
                eprintln!("cpu: {} keys, pipeline {pipeline}, {}", count(keys), command.name());
                cells.push(cell(bench, &mut servers, &shape, pipeline, command, rounds)?);
            }
        }
    }
    Ok(cells)
}

/// Every key and every counter once.
fn load(server: &Server, shape: &Shape, bench: &Bench<'_>) -> Result<()> {
    for kind in [Kind::Set, Kind::Incr] {
        let mut worker = Worker::connect(&server.target, 4, Scanner::new(&bench.values(), false))?;
        let mut requests = generator(shape, kind, Dist::Sequential, 1);
        let limit = Limit { requests: shape.keys, deadline_ns: u64::MAX };
        let tally = closed::run(&mut worker, &mut requests, LOAD_PIPELINE, limit)?;
        check(&server.name, &tally)?;
    }
    Ok(())
}

pub fn generator(shape: &Shape, kind: Kind, dist: Dist, seed: u64) -> Generator {
    let live = Rc::new(StdCell::new(shape.keys));
    Generator::new(&Mix::only(kind), Picker::new(&dist, shape.keys, 0, 1), shape, live, seed)
}

/// A measurement with bad replies is no measurement.
pub fn check(server: &str, tally: &Tally) -> Result<()> {
    let bad = tally.errors + tally.wrong;
    ensure!(bad == 0, "{server} gave {bad} bad replies: {}", tally.first_bad.as_deref().unwrap_or(""));
    Ok(())
}

fn cell(
    bench: &Bench<'_>,
    servers: &mut [Server],
    shape: &Shape,
    pipeline: u64,
    command: Kind,
    rounds: u32,
) -> Result<Cell> {
    let mut samples: Vec<(String, Vec<Sample>)> =
        servers.iter().map(|s| (s.name.clone(), Vec::new())).collect();
    for round in 0..rounds {
        for (server, (_, out)) in servers.iter_mut().zip(&mut samples) {
            let requests = generator(shape, command, Dist::Uniform, u64::from(round) + 1);
            let sample = measure(bench, server, requests, pipeline);
            server.check_alive()?;
            let sample = sample.with_context(|| format!("measuring {}", server.name))?;
            // All of these keys were loaded; rows of other commands may ask for what is not there.
            ensure!(
                sample.misses == 0,
                "{} misses {} of the keys that were loaded",
                server.name,
                sample.misses
            );
            out.push(sample);
        }
    }
    Ok(Cell { keys: shape.keys, pipeline, command, samples })
}

/// The quietest of a few tries; the first quiet one ends them.
pub(super) fn measure(
    bench: &Bench<'_>,
    server: &Server,
    mut requests: Generator,
    pipeline: u64,
) -> Result<Sample> {
    let tries = if bench.quick { 2 } else { 3 };
    let warm_ns = if bench.quick { 30_000_000 } else { 100_000_000 };
    let scanner = Scanner::new(&bench.values(), false);
    let mut worker = Worker::connect(&server.target, bench.clients, scanner)?;
    check(&server.name, &closed::run(&mut worker, &mut requests, pipeline, Limit::after(warm_ns))?)?;
    let mut best: Option<Sample> = None;
    for _ in 0..tries {
        let sample = sample(bench, server, &mut worker, &mut requests, pipeline)?;
        if best.is_none_or(|b| sample.noise < b.noise) {
            best = Some(sample);
        }
        if sample.noise <= NOISE_MAX {
            break;
        }
    }
    best.context("invariant: at least one try")
}

/// Reads the CPU clock of the idle server before and after a stretch of load.
fn sample(
    bench: &Bench<'_>,
    server: &Server,
    worker: &mut Worker,
    requests: &mut Generator,
    pipeline: u64,
) -> Result<Sample> {
    let measure_ns = if bench.quick { 120_000_000 } else { 400_000_000 };
    let own = std::process::id();
    let (before, own_before) = (server.cpu()?, proc::cpu(own)?);
    let tally = closed::run(worker, requests, pipeline, Limit::after(measure_ns))?;
    let (used, own_used) = (server.cpu()?.since(before), proc::cpu(own)?.since(own_before));
    check(&server.name, &tally)?;
    Ok(Sample {
        misses: tally.misses,
        cpu_us: used.used_ns as f64 / 1e3 / tally.replies.max(1) as f64,
        requests_per_second: tally.per_second(),
        noise: (used.waited_ns + own_used.waited_ns) as f64 / tally.elapsed_ns.max(1) as f64,
    })
}

pub fn markdown(bench: &Bench<'_>, cells: &[Cell]) -> String {
    let names: Vec<&str> = bench.servers.iter().map(|s| s.name.as_str()).chain([compare::FLOOR]).collect();
    let floor = names.len() - 1;
    let mut head = vec!["keys".to_owned(), "P".to_owned(), "command".to_owned()];
    head.extend(names.iter().map(|n| (*n).to_owned()));
    head.extend((1..floor).map(|i| format!("{}/{}", names[0], names[i])));
    head.extend((0..floor).map(|i| format!("{}/{}", names[i], names[floor])));
    head.extend(names.iter().map(|n| format!("{n} k/s")));
    head.push("noise".to_owned());
    let mut table = Table::new(head);
    for cell in cells {
        let mut row = vec![count(cell.keys), cell.pipeline.to_string(), cell.command.name().to_owned()];
        row.extend((0..=floor).map(|i| us(cell.cpu(i).median)));
        row.extend((1..floor).map(|i| cell.ratio(0, i).text()));
        row.extend((0..floor).map(|i| cell.ratio(i, floor).text()));
        row.extend((0..=floor).map(|i| format!("{:.0}", cell.throughput(i).median / 1e3)));
        row.push(format!("{:.0} %", cell.noise() * 100.0));
        table.row(row);
    }
    let rounds = cells.first().map_or(0, |c| c.samples[0].1.len());
    format!(
        "### CPU µs per request\n\nUnix socket, {} connections, {}-byte keys, {}-byte values, one core per side; \
         median of {rounds} alternating rounds; ratios are geometric means of neighbours with 95 % t intervals. `noise` is the largest share of a \
         sample's time that server and loadgen were kept from their cores by other processes.\n\n{}",
        bench.clients,
        compare::KEY_SIZE,
        bench.value_size,
        table.markdown()
    )
}
