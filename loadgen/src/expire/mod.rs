//! `loadgen expire`: how late the events of expiring keys are as a subscriber sees them, while
//! other requests run and other keys with far deadlines sit there; and, with `--burst`, what
//! other requests feel when very many keys are due in the same millisecond.
//!
//! A key that no event was heard of within the patience counts as later than all others, so a
//! server that delivers few events quickly does not look better than one that delivers all.

mod listen;
mod show;

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::bed::{Bed, BedArgs};
use crate::cli::{count, duration, rate};
use crate::client::Client;
use crate::clock::{now_ns, ns};
use crate::closed;
use crate::compare::{self, cpu::check};
use crate::ending::{Ending, When, wall_ns};
use crate::keys::Picker;
use crate::open::{self, Arrivals, StreamPlan};
use crate::plot;
use crate::reply::Scanner;
use crate::request::{Generator, Kind, Mix, Shape};
use crate::server::{Server, ServerSpec};
use crate::sizes::Sizes;
use crate::subscriber::Subscriber;
use crate::template::Command;
use crate::worker::{Limit, Worker};

use listen::Listener;
use show::Outcome;

const CHANNEL: &str = "__keyevent@0__:expired";
/// Requests per batch of the stream that sets the ending keys, and while loading.
const BATCH: usize = 16;
const LOAD_PIPELINE: u64 = 64;
/// Connections of the stream that sets the ending keys.
const SETTERS: usize = 10;
/// Keys that the other requests use, and their values.
const OTHER_KEYS: u64 = 100_000;
const OTHER_SIZE: usize = 64;
/// Requests in flight per connection.
const WINDOW: usize = 64;
/// A burst is due this long after it was loaded, and baselines are taken until then.
const BURST_LEAD_MS: u64 = 3000;
/// Keys per second that the lead of a burst allows for.
const BURST_LOAD_RATE: u64 = 100_000;

#[derive(Args)]
pub struct ExpireArgs {
    #[command(flatten)]
    pub bed: BedArgs,
    /// Keys that expire per second
    #[arg(long, default_value = "100k", value_parser = rate)]
    pub expiries: f64,
    /// Other requests per second, half GET and half SET
    #[arg(long, default_value = "100k", value_parser = rate)]
    pub ops: f64,
    /// Other keys with deadlines weeks away
    #[arg(long, default_value = "1M", value_parser = at_least_none)]
    pub far: u64,
    /// How long keys are set
    #[arg(long, short, default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// Shortest and longest life of a key
    #[arg(long, num_args = 2, default_values = ["1s", "2s"], value_parser = duration)]
    pub ttl: Vec<Duration>,
    /// How long after the last deadline events are awaited
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub patience: Duration,
    /// Instead: so many keys that are all due in the same millisecond
    #[arg(long, value_parser = count)]
    pub burst: Option<u64>,
    /// Connections of the other requests
    #[arg(long, short, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub clients: u32,
    /// Other requests per batch
    #[arg(long, short = 'P', default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub pipeline: u32,
    /// Draw which share of the events was there how late, as SVG
    #[arg(long)]
    pub plot: Option<PathBuf>,
}

/// A count that may be 0.
fn at_least_none(s: &str) -> Result<u64> {
    if s == "0" { Ok(0) } else { count(s) }
}

/// The servers when none are named: redis-server as it comes, and at its highest `hz`.
fn usual() -> Result<Vec<ServerSpec>> {
    let tandem = compare::default_servers()?.swap_remove(0);
    let hz = |n: u32| format!("redis-hz{n}=redis-server --hz {n}").parse::<ServerSpec>();
    Ok(vec![tandem, hz(10)?, hz(500)?])
}

pub fn run(args: &ExpireArgs) -> Result<()> {
    let ttl = (args.ttl[0].as_millis() as u64, args.ttl[1].as_millis() as u64);
    ensure!(ttl.0 >= 1 && ttl.0 <= ttl.1, "--ttl takes the shortest life first, 1ms at least");
    let bed = Bed::new(&args.bed, usual, u64::from(args.clients) + SETTERS as u64)?;
    let mut outcomes = Vec::new();
    for spec in &bed.servers {
        let outcome = Run::new(&bed, spec, args)?.all(ttl);
        outcomes.push(outcome.with_context(|| spec.name.clone())?);
    }
    args.bed.show(&show::markdown(args, &outcomes));
    if let Some(path) = &args.plot {
        let lines: Vec<plot::Curve<'_>> = outcomes.iter().map(Outcome::curve).collect();
        plot::curves(
            path,
            "Events of expired keys that a subscriber has, by how late they are",
            &show::caption(args),
            &lines,
        )?;
    }
    match &args.bed.json {
        Some(path) => crate::report::write_json(path, &outcomes),
        None => Ok(()),
    }
}

/// One server.
struct Run<'a> {
    args: &'a ExpireArgs,
    server: Server,
    worker: Worker,
    shape: Shape,
    made: Rc<Cell<u64>>,
    bar: ProgressBar,
}

impl<'a> Run<'a> {
    fn new(bed: &Bed, spec: &ServerSpec, args: &'a ExpireArgs) -> Result<Self> {
        let bar = if args.bed.quiet { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        let style = ProgressStyle::with_template("{elapsed_precise} expire {prefix}: {msg}");
        let bar = bar
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
            .with_prefix(spec.name.clone());
        let server = bed.start(spec, &["--notify-keyspace-events", "Ex"])?;
        let values = Sizes::Fixed(OTHER_SIZE);
        let scanner = Scanner::new(&values, false);
        let worker = Worker::connect(&server.target, args.clients as usize + SETTERS, scanner)?;
        let shape = Shape { keys: OTHER_KEYS, key_size: 16, values, derived_values: false };
        Ok(Run { args, server, worker, shape, made: Rc::default(), bar })
    }

    fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        self.bar.tick();
    }

    fn load(&mut self, mut requests: Generator, n: u64) -> Result<()> {
        let limit = Limit { requests: n, deadline_ns: u64::MAX };
        check(&self.server.name, &closed::run(&mut self.worker, &mut requests, LOAD_PIPELINE, limit)?)
    }

    fn others(&self, mix: &Mix, picker: Picker) -> Generator {
        Generator::new(mix, picker, &self.shape, Rc::new(Cell::new(OTHER_KEYS)), 7)
    }

    fn ending(&self, when: When) -> Generator {
        Generator::of_ending(Ending { when, made: self.made.clone() }, 8)
    }

    fn all(mut self, ttl: (u64, u64)) -> Result<Outcome> {
        self.say("loading");
        let sequence = Picker::Sequential { next: 0, step: 1 };
        self.load(self.others(&Mix::only(Kind::Set), sequence), OTHER_KEYS)?;
        if self.args.far > 0 {
            // Eleven to twenty-three days away.
            let far = Command::parse(&format!("SET far:{{+{}}} {{x16}} EX 1{{1000000}}", self.args.far))?;
            self.load(Generator::of_row(vec![far], 9), self.args.far)?;
        }
        let subscriber = Subscriber::open(&self.server.target, CHANNEL)?;
        let mut listener = Listener::new(subscriber, self.made.clone())?;
        let outcome = match self.args.burst {
            None => self.steady(&mut listener, ttl),
            Some(n) => self.burst(&mut listener, n),
        };
        self.bar.finish_and_clear();
        outcome
    }

    fn other_requests(&self) -> Result<StreamPlan> {
        let batch = self.args.pipeline as usize;
        Ok(StreamPlan {
            requests: self.others(&"get=50,set=50".parse()?, Picker::Uniform),
            arrivals: Arrivals::Poisson,
            rate: self.args.ops,
            batch,
            window: WINDOW,
            arrivals_max: None,
            conns: self.args.clients as usize,
        })
    }

    fn steady(&mut self, listener: &mut Listener, ttl: (u64, u64)) -> Result<Outcome> {
        let setter = StreamPlan {
            requests: self.ending(When::Within(ttl.0, ttl.1)),
            arrivals: Arrivals::Constant,
            rate: self.args.expiries,
            batch: BATCH,
            window: WINDOW,
            arrivals_max: None,
            conns: SETTERS,
        };
        listener.register(&self.worker.epoll)?;
        self.say("keys are set and expire");
        let (cpu, start) = (self.server.cpu()?, now_ns());
        let plans = vec![self.other_requests()?, setter];
        for tally in open::run(&mut self.worker, plans, ns(self.args.duration), listener)? {
            check(&self.server.name, &tally)?;
        }
        self.say("the last keys expire");
        listener.ends_run = true;
        let patience = ns(self.args.patience) + ttl.1 * 1_000_000;
        let others = vec![self.other_requests()?];
        let tail = open::run(&mut self.worker, others, patience, listener)?;
        check(&self.server.name, &tail[0])?;
        let took = (now_ns() - start) as f64;
        let used = self.server.cpu()?.since(cpu);
        Ok(Outcome::new(self, listener, used, took))
    }

    fn burst(&mut self, listener: &mut Listener, n: u64) -> Result<Outcome> {
        self.say("loading the burst");
        let lead = BURST_LEAD_MS + n * 1000 / BURST_LOAD_RATE;
        let due_ms = wall_ns() / 1_000_000 + lead;
        let requests = self.ending(When::At(due_ms));
        self.load(requests, n)?;
        let left = due_ms.saturating_sub(wall_ns() / 1_000_000);
        ensure!(left >= BURST_LEAD_MS / 3, "loading the burst took too long: {left} ms were left of {lead}");
        listener.split_ns = now_ns() + left * 1_000_000;
        listener.ends_run = true;
        listener.register(&self.worker.epoll)?;
        self.say("all are due at once");
        let (cpu, start) = (self.server.cpu()?, now_ns());
        let limit = left * 1_000_000 + ns(self.args.patience);
        let others = vec![self.other_requests()?];
        let tallies = open::run(&mut self.worker, others, limit, listener)?;
        check(&self.server.name, &tallies[0])?;
        let took = (now_ns() - start) as f64;
        let used = self.server.cpu()?.since(cpu);
        let mut outcome = Outcome::new(self, listener, used, took);
        outcome.worked_off_ms = (listener.heard.delivered == n)
            .then(|| listener.heard.last_event_ns as f64 / 1e6 - due_ms as f64);
        let told = Client::connect(&self.server.target)?.info("stats", "expiry_turn_longest_usec");
        outcome.longest_turn_us = told.ok();
        Ok(outcome)
    }
}
