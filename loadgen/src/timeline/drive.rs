//! One server from its start through all steps.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use super::record::{Recorder, Window};
use super::save::{How, LONGEST, Saved, Saver};
use super::show::Point;
use super::{LoadArgs, Plan, Step};
use crate::bed::Bed;
use crate::clock::{now_ns, ns};
use crate::closed;
use crate::compare::cpu::check;
use crate::keys::Picker;
use crate::open::{self, Arrivals, StreamPlan};
use crate::proc::Cpu;
use crate::reply::Scanner;
use crate::request::{Generator, Kind, Mix, Shape};
use crate::server::{Server, ServerSpec};
use crate::tally::Tally;
use crate::tide::Tide;
use crate::worker::{Limit, Worker};

/// Requests per batch of the mover.
const BATCH: usize = 16;
/// Batches in flight per connection of the mover.
const MOVER_WINDOW: usize = 4 * BATCH;
/// Requests in flight per connection of the probe.
const PROBE_WINDOW: usize = 16;
/// A step that moves keys may take this many times as long as the rate says, and so much longer: what is slower
/// cannot be measured.
const PATIENCE: u32 = 10;
const GRACE: Duration = Duration::from_secs(10);
/// Requests per batch while loading without measuring.
const LOAD_PIPELINE: u64 = 64;

/// A step that was measured.
pub struct Phase {
    pub step: Step,
    pub probe: Tally,
    pub moved: u64,
    pub took_ns: u64,
    pub cpu: Cpu,
    /// Keys and values at its end.
    pub data_bytes: u64,
    pub resident_kib: u64,
    /// The snapshot that was written in it.
    pub saved: Option<Saved>,
}

/// One round on one server.
pub struct Track {
    pub server: String,
    pub round: u32,
    pub phases: Vec<Phase>,
    pub windows: Vec<Window>,
    pub points: Vec<Point>,
    /// Resident memory before the first key.
    pub empty_kib: u64,
}

/// What the steps on one server share.
struct Run<'a> {
    args: &'a LoadArgs,
    shape: &'a Shape,
    server: Server,
    worker: Worker,
    tide: Rc<Tide>,
    mover_conns: usize,
    seed: u64,
    /// Where the server writes its files.
    dir: PathBuf,
    how: How,
}

pub fn drive(
    bed: &Bed,
    spec: &ServerSpec,
    args: &LoadArgs,
    plan: &Plan,
    shape: &Shape,
    round: u32,
) -> Result<Track> {
    let (server, dir) = bed.start_apart(spec, &format!("{}-{round}", spec.name))?;
    let scanner = Scanner::new(&shape.values, false);
    let clients = args.clients as usize;
    let worker = Worker::connect(&server.target, clients, scanner)?;
    let empty_kib = server.resident_kib()?;
    let tide = Rc::new(Tide::new(shape.keys, plan.stay));
    // A fifth of the connections move keys: they send in batches.
    let mover_conns = (clients / 5).max(1);
    let seed = args.seed.wrapping_mul(1000) + u64::from(round);
    let mut run =
        Run { args, shape, server, worker, tide: tide.clone(), mover_conns, seed, dir, how: plan.how };
    let bar = bar(args, plan, &spec.name, round);
    let mut steps = plan.steps.as_slice();
    if let [Step::Load, rest @ ..] = steps {
        bar.set_message("load");
        run.load()?;
        steps = rest;
    }
    let mut recorder = Recorder::new(run.server.pid(), tide, 0, ns(args.window))?;
    let mut phases = Vec::new();
    for (i, &step) in steps.iter().enumerate() {
        bar.set_message(step.name());
        recorder.phase = i;
        phases
            .push(run.step(step, &mut recorder).with_context(|| format!("{}: {}", spec.name, step.name()))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let windows = recorder.finish();
    let mut track =
        Track { server: spec.name.clone(), round, phases, windows, points: Vec::new(), empty_kib };
    track.points = super::show::points(&track, ns(args.window), shape);
    Ok(track)
}

fn bar(args: &LoadArgs, plan: &Plan, server: &str, round: u32) -> ProgressBar {
    if args.bed.quiet {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{elapsed_precise} {bar:40} {prefix}: {msg}");
    ProgressBar::new(plan.steps.len() as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_prefix(format!("{} {server}, round {} of {}", plan.name, round + 1, args.rounds))
}

impl Run<'_> {
    fn generator(&mut self, kind: Kind, picker: Picker) -> Generator {
        self.seed += 1;
        let live = Rc::new(Cell::new(0));
        Generator::new(&Mix::only(kind), picker, self.shape, live, self.seed)
    }

    fn load(&mut self) -> Result<()> {
        let requests = self.tide.turn(true);
        let mut generator = self.generator(Kind::Set, Picker::Move(self.tide.clone()));
        let limit = Limit { requests, deadline_ns: u64::MAX };
        check(&self.server.name, &closed::run(&mut self.worker, &mut generator, LOAD_PIPELINE, limit)?)
    }

    fn step(&mut self, step: Step, recorder: &mut Recorder) -> Result<Phase> {
        let moving = match step {
            Step::Grow => Some(true),
            Step::Drop => Some(false),
            Step::Load | Step::Full | Step::Rest | Step::Save => None,
        };
        let moves = moving.map(|rising| self.tide.turn(rising));
        let hold = self.args.hold;
        let by_rate = |n: u64| Duration::from_secs_f64(n as f64 / self.args.move_rate);
        let limit = moves.map_or(hold, |n| by_rate(n) * PATIENCE + GRACE);
        let (kind, picker) = match moving {
            None => (Kind::Set, Picker::There(self.tide.clone())),
            Some(true) => (Kind::Set, Picker::Move(self.tide.clone())),
            Some(false) => (Kind::Del, Picker::Move(self.tide.clone())),
        };
        let mover = StreamPlan {
            requests: self.generator(kind, picker),
            arrivals: Arrivals::Constant,
            rate: self.args.move_rate,
            batch: BATCH,
            window: MOVER_WINDOW,
            arrivals_max: moves.map(|n| n.div_ceil(BATCH as u64)),
            conns: self.mover_conns,
        };
        let probe = StreamPlan {
            requests: self.generator(Kind::Get, Picker::There(self.tide.clone())),
            arrivals: Arrivals::Poisson,
            rate: self.args.rate,
            batch: 1,
            window: PROBE_WINDOW,
            arrivals_max: None,
            conns: self.worker.conns.len() - self.mover_conns,
        };
        let (before, start) = (self.server.cpu()?, now_ns());
        let (streams, mut saved) = (vec![probe, mover], None);
        let mut tallies = if step == Step::Save {
            let saver = Saver::start(&self.server, self.dir.clone(), self.how)?;
            let tallies = open::run(&mut self.worker, streams, ns(LONGEST), &mut saver.watch(recorder));
            saved = Some(saver.finish()?);
            tallies?
        } else {
            open::run(&mut self.worker, streams, ns(limit), recorder)?
        };
        let (cpu, took_ns) = (self.server.cpu()?.since(before), now_ns() - start);
        for tally in &tallies {
            check(&self.server.name, tally)?;
        }
        if let Some(moves) = moves {
            // The next step counts on it.
            let moved = tallies[1].replies;
            ensure!(moved >= moves, "{moved} of {moves} keys were moved in {:.1} s", took_ns as f64 / 1e9);
        }
        let values = &self.shape.values;
        let key_size = self.shape.key_size as u64;
        Ok(Phase {
            step,
            moved: tallies[1].replies,
            probe: tallies.swap_remove(0),
            took_ns,
            cpu,
            data_bytes: self.tide.bytes(|key| key_size + values.of(key) as u64),
            resident_kib: self.server.resident_kib()?,
            saved,
        })
    }
}
