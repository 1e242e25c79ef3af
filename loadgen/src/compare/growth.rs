//! Latency while the keyspace grows and shrinks, against the same server at rest.
//!
//! Two open-loop streams share one thread. The probe sends single GETs at a fixed rate and is
//! what gets reported. The mover sends batches: new keys while growing, overwrites while at
//! rest, deletions while shrinking; always at the same rate, so that the phases differ in
//! nothing but in what the keyspace has to do.

use std::cell::Cell;
use std::rc::Rc;

use anyhow::Result;
use serde::Serialize;

use super::Bench;
use super::cpu::check;
use super::table::{Spread, Table, count, us};
use crate::cli::CompareArgs;
use crate::clock::now_ns;
use crate::keys::Picker;
use crate::open::{self, Arrivals, StreamPlan};
use crate::reply::Scanner;
use crate::report::Latency;
use crate::request::{Generator, Kind, Mix};
use crate::server::Server;
use crate::worker::{Limit, Worker};
use crate::{closed, proc};

/// Keys at both ends of the cycle.
const KEYS_LOW: u64 = 1_000;
/// Requests per batch of the mover.
const BATCH: usize = 16;
/// Connections of the mover; the probe has the rest.
const MOVER_CONNS: usize = 10;
/// Batches in flight per connection of the mover.
const MOVER_WINDOW: usize = 4 * BATCH;
/// Requests in flight per connection of the probe.
const PROBE_WINDOW: usize = 16;
/// A phase that moves keys takes at most this many times as long as the rate says.
const PATIENCE: f64 = 5.0;

/// One phase of one round on one server.
#[derive(Serialize)]
pub struct Phase {
    pub name: &'static str,
    pub latency: Latency,
    pub probes: u64,
    pub keys_per_second: f64,
    /// p99.9 against the mean of the rest phases with as many keys or more.
    pub p999_to_rest: f64,
    pub server_cpu_share: f64,
    /// How long the server was ready and did not get its core: the machine's fault.
    pub server_waited_ms: f64,
    /// Largest delay by which loadgen itself was late.
    pub send_lag_max_us: f64,
}

/// 1k keys → top → 1k keys on one server.
#[derive(Serialize)]
pub struct Cycle {
    pub server: String,
    pub round: u32,
    pub top: u64,
    pub phases: Vec<Phase>,
}

pub fn run(bench: &Bench<'_>, args: &CompareArgs) -> Result<Vec<Cycle>> {
    let rounds = args.growth_rounds.unwrap_or(if bench.quick { 1 } else { 2 });
    let top = args.growth_keys.unwrap_or(if bench.quick { 300_000 } else { 4_000_000 }).max(2 * KEYS_LOW);
    let mut cycles = Vec::new();
    for round in 0..rounds {
        for spec in &bench.servers {
            eprintln!("growth: {} round {}", spec.name, round + 1);
            let server = Server::start(spec, bench.dir, &bench.server_cores, &[])?;
            let mut phases = cycle(bench, args, &server, top)?;
            relate(&mut phases);
            cycles.push(Cycle { server: spec.name.clone(), round, top, phases });
        }
    }
    Ok(cycles)
}

fn cycle(bench: &Bench<'_>, args: &CompareArgs, server: &Server, top: u64) -> Result<Vec<Phase>> {
    let scanner = || Scanner::new(&bench.values(), false);
    let live = Rc::new(Cell::new(0));
    let shape = bench.shape(top + 1);
    let mut loader = Worker::connect(&server.target, 1, scanner())?;
    let mut first = Generator::new(&Mix::only(Kind::Set), Picker::Append, &shape, live.clone(), 1);
    let few = Limit { requests: KEYS_LOW, deadline_ns: u64::MAX };
    check(&server.name, &closed::run(&mut loader, &mut first, BATCH as u64, few)?)?;
    drop(loader);

    let probe_conns = bench.clients.saturating_sub(MOVER_CONNS).max(1);
    let mut worker = Worker::connect(&server.target, probe_conns + MOVER_CONNS, scanner())?;
    let rest_ns: u64 = if bench.quick { 2_000_000_000 } else { 10_000_000_000 };
    let steps = [
        ("at rest, 1k keys", Kind::Set, None),
        ("growing", Kind::Set, Some(true)),
        ("at rest, all keys", Kind::Set, None),
        ("shrinking", Kind::Del, Some(false)),
    ];
    let mut phases = Vec::new();
    for (i, (name, kind, grow)) in steps.into_iter().enumerate() {
        let picker = match grow {
            None => Picker::Uniform,
            Some(true) => Picker::Append,
            Some(false) => Picker::Pop,
        };
        let moves = top - KEYS_LOW;
        let seed = i as u64 + 1;
        let mover = StreamPlan {
            requests: Generator::new(&Mix::only(kind), picker, &shape, live.clone(), seed),
            arrivals: Arrivals::Constant,
            rate: args.growth_rate,
            batch: BATCH,
            window: MOVER_WINDOW,
            arrivals_max: grow.map(|_| moves / BATCH as u64),
            conns: MOVER_CONNS,
        };
        let probe = StreamPlan {
            requests: Generator::new(
                &Mix::only(Kind::Get),
                Picker::Uniform,
                &shape,
                live.clone(),
                seed + 100,
            ),
            arrivals: Arrivals::Poisson,
            rate: args.probe_rate,
            batch: 1,
            window: PROBE_WINDOW,
            arrivals_max: None,
            conns: probe_conns,
        };
        let long_enough = (moves as f64 / args.growth_rate * PATIENCE * 1e9) as u64;
        let limit = grow.map_or(rest_ns, |_| long_enough + rest_ns);
        phases.push(phase(server, &mut worker, name, vec![probe, mover], limit)?);
    }
    Ok(phases)
}

fn phase(
    server: &Server,
    worker: &mut Worker,
    name: &'static str,
    plans: Vec<StreamPlan>,
    limit_ns: u64,
) -> Result<Phase> {
    let (before, start): (proc::Cpu, u64) = (server.cpu()?, now_ns());
    let tallies = open::run(worker, plans, limit_ns, &mut ())?;
    let (used, took) = (server.cpu()?.since(before), (now_ns() - start) as f64);
    for tally in &tallies {
        check(&server.name, tally)?;
    }
    let (probe, mover) = (&tallies[0], &tallies[1]);
    Ok(Phase {
        name,
        latency: Latency::of(&probe.latency),
        probes: probe.replies,
        keys_per_second: mover.per_second(),
        p999_to_rest: f64::NAN,
        server_cpu_share: used.used_ns as f64 / took,
        server_waited_ms: used.waited_ns as f64 / 1e6,
        send_lag_max_us: probe.send_lag.max() as f64 / 1e3,
    })
}

/// Every phase against the rest phase with all keys: at 1k keys everything is in the caches,
/// which would blame growth for the size.
fn relate(phases: &mut [Phase]) {
    let rest = phases.get(2).map_or(f64::NAN, |p| p.latency.p999_us);
    for phase in phases {
        phase.p999_to_rest = phase.latency.p999_us / rest;
    }
}

pub fn markdown(cycles: &[Cycle]) -> String {
    let mut table = Table::new([
        "server",
        "phase",
        "keys/s",
        "p50",
        "p99",
        "p99.9",
        "max",
        "p99.9 / rest",
        "CPU",
        "waited ms",
        "own lag max",
    ]);
    let mut names: Vec<&str> = Vec::new();
    for cycle in cycles {
        if !names.contains(&cycle.server.as_str()) {
            names.push(&cycle.server);
        }
    }
    for name in names {
        let mine: Vec<&Cycle> = cycles.iter().filter(|c| c.server == name).collect();
        for i in 0..mine[0].phases.len() {
            let spread = |f: fn(&Phase) -> f64| Spread::of(mine.iter().map(|c| f(&c.phases[i])));
            table.row(vec![
                name.to_owned(),
                mine[0].phases[i].name.to_owned(),
                format!("{:.0}k", spread(|p| p.keys_per_second / 1e3).median),
                us(spread(|p| p.latency.p50_us).median),
                us(spread(|p| p.latency.p99_us).median),
                us(spread(|p| p.latency.p999_us).median),
                us(spread(|p| p.latency.max_us).median),
                spread(|p| p.p999_to_rest).ratio(),
                format!("{:.0} %", spread(|p| p.server_cpu_share * 100.0).median),
                format!("{:.1}", spread(|p| p.server_waited_ms).median),
                us(spread(|p| p.send_lag_max_us).median),
            ]);
        }
    }
    let (rounds, top) = cycles.last().map_or((0, 0), |c| (c.round + 1, c.top));
    format!(
        "### Latency while growing from {} to {} keys and back\n\nµs from when each GET was due, open loop; median \
         of {rounds} round(s). The mover sets new keys, overwrites (at rest) or deletes at one rate. `waited` is how \
         long the server was kept from its core by others, `own lag` by how much loadgen was late.\n\n{}",
        count(KEYS_LOW),
        count(top),
        table.markdown()
    )
}
