//! `loadgen deaf`: what requests pay for subscribers who never read. Many hear one channel beside other requests; in
//! every second case some of them never take anything from their sockets.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::bed::{Bed, BedArgs};
use crate::cli::{count, duration, rate};
use crate::clock::{now_ns, ns};
use crate::compare::{self, Spread, Table, cpu::check, us};
use crate::fanout::{CHANNEL, Publish};
use crate::keys::Picker;
use crate::open::{self, Arrivals, Observer, StreamPlan};
use crate::reply::Scanner;
use crate::report::{self, Latency};
use crate::request::{Generator, Kind, Mix, Shape};
use crate::server::ServerSpec;
use crate::sizes::Sizes;
use crate::subscriber::{FIRST_ID, Subscriber};
use crate::tally::Tally;
use crate::worker::{Limit, Worker};
use crate::{closed, proc::Cpu};

const SHAPE: Shape = Shape { keys: 100_000, key_size: 16, values: Sizes::Fixed(64), derived_values: false };
/// Requests in flight per connection.
const WINDOW: usize = 64;

#[derive(Args)]
pub struct DeafArgs {
    #[command(flatten)]
    pub bed: BedArgs,
    /// Subscribers, those who never read included
    #[arg(long, default_value = "1000", value_parser = count)]
    pub subscribers: u64,
    /// Those of them who never read
    #[arg(long, default_value = "10", value_parser = count)]
    pub deaf: u64,
    /// Messages published per second
    #[arg(long, default_value = "50", value_parser = rate)]
    pub messages: f64,
    /// Bytes per message
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(16..=1_000_000))]
    pub size: u32,
    /// Other requests per second, half GET and half SET
    #[arg(long, default_value = "50k", value_parser = rate)]
    pub ops: f64,
    /// Connections of the other requests
    #[arg(long, short, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub clients: u32,
    /// How long each case takes
    #[arg(long, short, default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// Rounds; the cases take turns
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
}

/// All rounds of one case on one server.
struct Case {
    latency: Histogram<u64>,
    /// Of each round.
    p999_us: Vec<f64>,
    heard: u64,
    published: u64,
    cpu: Cpu,
    took_ns: u64,
}

#[derive(Serialize)]
struct Line {
    server: String,
    deaf: u64,
    published: u64,
    heard: u64,
    requests: Latency,
    cpu: f64,
    waited_ms: f64,
    /// What the machine does to one round is not what the server does.
    p999_us_of_rounds: Spread,
    /// Round by round, by that of the case in which all read.
    p999_by_without: Spread,
}

/// Those who read.
struct Audience {
    subscribers: Vec<Subscriber>,
    scratch: Vec<u8>,
    heard: u64,
}

impl Observer for Audience {
    fn readable(&mut self, id: usize) -> Result<()> {
        let heard = &mut self.heard;
        let subscriber = self.subscribers.get_mut(id.wrapping_sub(FIRST_ID)).context("invariant: an id")?;
        subscriber.messages(&mut self.scratch, |_| *heard += 1)
    }
}

pub fn run(args: &DeafArgs) -> Result<()> {
    ensure!(args.deaf <= args.subscribers, "there are fewer subscribers than deaf ones");
    let bed = Bed::new(&args.bed, compare::default_servers, args.subscribers + u64::from(args.clients))?;
    let mut lines = Vec::new();
    for spec in &bed.servers {
        lines.extend(server(&bed, spec, args).with_context(|| spec.name.clone())?);
    }
    args.bed.show(&markdown(args, &lines));
    match &args.bed.json {
        Some(path) => report::write_json(path, &lines),
        None => Ok(()),
    }
}

fn server(bed: &Bed, spec: &ServerSpec, args: &DeafArgs) -> Result<Vec<Line>> {
    let mut cases: Vec<(u64, Case)> = Vec::new();
    for deaf in [0, args.deaf] {
        let latency = Tally::new()?.latency;
        let (p999_us, cpu) = (Vec::new(), Cpu::default());
        cases.push((deaf, Case { latency, p999_us, heard: 0, published: 0, cpu, took_ns: 0 }));
    }
    for round in 0..args.rounds {
        if !args.bed.quiet {
            eprintln!("deaf: {}, round {} of {}", spec.name, round + 1, args.rounds);
        }
        for turn in 0..cases.len() {
            let at = (turn + round as usize) % cases.len();
            let (deaf, case) = &mut cases[at];
            one(bed, spec, args, *deaf, case)?;
        }
    }
    let without = &cases[0].1.p999_us;
    let line = |(deaf, case): &(u64, Case)| Line {
        server: spec.name.clone(),
        deaf: *deaf,
        published: case.published,
        heard: case.heard,
        requests: Latency::of(&case.latency),
        cpu: case.cpu.used_ns as f64 / case.took_ns.max(1) as f64,
        waited_ms: case.cpu.waited_ns as f64 / 1e6,
        p999_us_of_rounds: Spread::of(case.p999_us.iter().copied()),
        p999_by_without: Spread::of(case.p999_us.iter().zip(without).map(|(with, without)| with / without)),
    };
    Ok(cases.iter().map(line).collect())
}

/// One case in one round, on a fresh server.
fn one(bed: &Bed, spec: &ServerSpec, args: &DeafArgs, deaf: u64, case: &mut Case) -> Result<()> {
    let server = bed.start(spec, &[])?;
    let scanner = Scanner::new(&SHAPE.values, false);
    let mut worker = Worker::connect(&server.target, args.clients as usize + 1, scanner)?;
    let live = Rc::new(Cell::new(SHAPE.keys));
    let others = |mix: &Mix, picker| Generator::new(mix, picker, &SHAPE, live.clone(), 7);
    let mut load = others(&Mix::only(Kind::Set), Picker::Sequential { next: 0, step: 1 });
    let limit = Limit { requests: SHAPE.keys, deadline_ns: u64::MAX };
    check(&server.name, &closed::run(&mut worker, &mut load, WINDOW as u64, limit)?)?;
    let mut audience = Audience { subscribers: Vec::new(), scratch: Subscriber::scratch(), heard: 0 };
    let mut silent = Vec::new();
    for i in 0..args.subscribers {
        let subscriber = Subscriber::open(&server.target, CHANNEL)?;
        if i < deaf {
            silent.push(subscriber);
        } else {
            subscriber.register(&worker.epoll, audience.subscribers.len())?;
            audience.subscribers.push(subscriber);
        }
    }
    let plan = |requests, rate, conns| StreamPlan {
        requests,
        arrivals: Arrivals::Poisson,
        rate,
        batch: 1,
        window: WINDOW,
        arrivals_max: None,
        conns,
    };
    let publish = Generator::of_publish(Publish::new(args.size as usize), 1);
    let plans = vec![
        plan(others(&"get=50,set=50".parse()?, Picker::Uniform), args.ops, args.clients as usize),
        plan(publish, args.messages, 1),
    ];
    let (cpu, start) = (server.cpu()?, now_ns());
    let tallies = open::run(&mut worker, plans, ns(args.duration), &mut audience)?;
    case.took_ns += now_ns() - start;
    let used = server.cpu()?.since(cpu);
    case.cpu.used_ns += used.used_ns;
    case.cpu.waited_ns += used.waited_ns;
    for tally in &tallies {
        check(&server.name, tally)?;
    }
    case.latency.add(&tallies[0].latency)?;
    case.p999_us.push(Latency::of(&tallies[0].latency).p999_us);
    case.published += tallies[1].replies;
    case.heard += audience.heard;
    Ok(())
}

fn markdown(args: &DeafArgs, lines: &[Line]) -> String {
    let head = [
        "server",
        "never read",
        "published",
        "heard",
        "requests p50",
        "p99",
        "p99.9",
        "max",
        "p99.9 of rounds",
        "by without",
        "CPU",
        "waited ms",
    ];
    let mut table = Table::new(head);
    for line in lines {
        let Latency { p50_us, p99_us, p999_us, max_us, .. } = line.requests;
        let mut row = vec![
            line.server.clone(),
            line.deaf.to_string(),
            line.published.to_string(),
            line.heard.to_string(),
        ];
        row.extend([p50_us, p99_us, p999_us, max_us].map(us));
        row.extend([
            us(line.p999_us_of_rounds.median),
            line.p999_by_without.ratio(),
            format!("{:.0} %", line.cpu * 100.0),
            format!("{:.0}", line.waited_ms),
        ]);
        table.row(row);
    }
    format!(
        "### deaf: {} subscribers of {} messages/s of {} bytes, beside {} other requests/s\n\nLatency of the other requests \
         in µs from when each was due.\n\n{}",
        args.subscribers,
        args.messages,
        args.size,
        compare::count(args.ops as u64),
        table.markdown()
    )
}
