//! `loadgen run`: threads, warm-up, measurement, report.

use std::cell::Cell;
use std::io::IsTerminal;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{Mode, RunArgs};
use crate::clock::{now_ns, ns};
use crate::closed;
use crate::keys::{Dist, Picker};
use crate::open::{self, StreamPlan};
use crate::proc::{self, Cpu};
use crate::reply::Scanner;
use crate::report::{self, RunReport};
use crate::request::{Generator, Kind, Mix};
use crate::tally::Tally;
use crate::template::Command;
use crate::worker::{Limit, Worker};

/// Requests per batch while preloading.
const PRELOAD_PIPELINE: u64 = 64;
/// What a connection begins with when the server is to track what it reads.
const TRACKING: &[u8] =
    b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*3\r\n$6\r\nCLIENT\r\n$8\r\nTRACKING\r\n$2\r\nON\r\n";
/// How often the progress bar moves.
const TICK: Duration = Duration::from_millis(100);

/// Where the threads meet: everybody connected and warm; everybody done.
struct Meeting {
    warm: Barrier,
    go: Barrier,
    end: Barrier,
    /// A thread failed before the measurement: nobody needs to measure.
    failed: AtomicBool,
    done: AtomicU64,
}

/// What the server's process used while it was measured.
pub struct ServerUse {
    pub cpu: Cpu,
    pub resident_kib: u64,
}

pub fn run(args: &RunArgs) -> Result<()> {
    args.check()?;
    if let Some(pid) = args.pid {
        proc::cpu(pid)?;
    }
    crate::limits::allow_descriptors(u64::from(args.clients) + 64)?;
    let threads = args.threads as usize;
    let meeting = Meeting {
        warm: Barrier::new(threads + 1),
        go: Barrier::new(threads + 1),
        end: Barrier::new(threads + 1),
        failed: AtomicBool::new(false),
        done: AtomicU64::new(0),
    };
    let progress: Vec<_> = (0..threads).map(|_| Arc::new(AtomicU64::new(0))).collect();
    let (tallies, used) = std::thread::scope(|scope| {
        let handles: Vec<_> = progress
            .iter()
            .enumerate()
            .map(|(i, p)| {
                let (p, meeting) = (Arc::clone(p), &meeting);
                scope.spawn(move || thread(args, i, p, meeting))
            })
            .collect();
        let used = watch(args, &meeting, &progress);
        let tallies =
            handles.into_iter().map(|h| h.join().map_err(|_| anyhow::anyhow!("a load thread panicked"))?);
        (tallies.collect::<Result<Vec<Tally>>>(), used)
    });
    let mut total = Tally::new()?;
    for tally in &tallies? {
        total.merge(tally)?;
    }
    let report = RunReport::new(args, &total, used?.as_ref());
    report::emit_run(args, &report, &total)?;
    ensure!(total.errors + total.wrong == 0, "{} error replies, {} wrong replies", total.errors, total.wrong);
    Ok(())
}

/// The main thread's side: samples the server's process around the measurement, draws progress.
fn watch(args: &RunArgs, meeting: &Meeting, progress: &[Arc<AtomicU64>]) -> Result<Option<ServerUse>> {
    meeting.warm.wait();
    let before = args.pid.map(proc::cpu).transpose();
    meeting.go.wait();
    if !meeting.failed.load(Ordering::Acquire) {
        draw(args, meeting, progress);
    }
    meeting.end.wait();
    let Some((pid, before)) = args.pid.zip(before?) else {
        return Ok(None);
    };
    let cpu = proc::cpu(pid).context("the server's process is gone")?.since(before);
    Ok(Some(ServerUse { cpu, resident_kib: proc::resident_kib(pid)? }))
}

fn draw(args: &RunArgs, meeting: &Meeting, progress: &[Arc<AtomicU64>]) {
    if args.quiet || !std::io::stderr().is_terminal() {
        return;
    }
    let style = ProgressStyle::with_template("{elapsed_precise} {bar:40} {msg}");
    let total = args.requests.unwrap_or_else(|| args.limit().as_millis() as u64);
    let bar = ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let start = now_ns();
    let mut last = 0;
    while meeting.done.load(Ordering::Acquire) < u64::from(args.threads) {
        std::thread::sleep(TICK);
        let replies: u64 = progress.iter().map(|p| p.load(Ordering::Relaxed)).sum();
        let elapsed_ms = (now_ns() - start) / 1_000_000;
        bar.set_position(if args.requests.is_some() { replies } else { elapsed_ms.min(total) });
        bar.set_message(format!(
            "{} requests/s",
            replies.saturating_sub(last) * 1000 / TICK.as_millis() as u64
        ));
        last = replies;
    }
    bar.finish_and_clear();
}

/// One load thread. It attends all meetings even when it fails, so that nobody waits for ever.
fn thread(args: &RunArgs, index: usize, progress: Arc<AtomicU64>, meeting: &Meeting) -> Result<Tally> {
    let prepared = prepare(args, index, progress);
    if prepared.is_err() {
        meeting.failed.store(true, Ordering::Release);
    }
    meeting.warm.wait();
    meeting.go.wait();
    let skip = meeting.failed.load(Ordering::Acquire);
    let result = prepared.and_then(|mut w| if skip { Tally::new() } else { w.measure(args) });
    meeting.done.fetch_add(1, Ordering::AcqRel);
    meeting.end.wait();
    result
}

/// A connected worker with its share of the load.
struct Ready {
    worker: Worker,
    requests: Option<Generator>,
    index: u64,
}

fn prepare(args: &RunArgs, index: usize, progress: Arc<AtomicU64>) -> Result<Ready> {
    if !args.cores.is_empty() {
        proc::bind(&[args.cores[index % args.cores.len()]])?;
    }
    let content = args.verify == crate::cli::Verify::Content;
    let scanner = Scanner::new(&args.value_size, content);
    let clients = share(u64::from(args.clients), args, index) as usize;
    let mut worker = Worker::connect(&args.server, clients, scanner)?;
    worker.churn = args.churn;
    if args.tracking {
        worker.handshake(TRACKING)?;
    }
    let mut ready = Ready { worker, requests: None, index: index as u64 };
    if args.preload {
        ready.preload(args, Kind::Set)?;
        if args.mix.0.iter().any(|m| m.0 == Kind::Incr) {
            ready.preload(args, Kind::Incr)?;
        }
    }
    for command in args.loads()? {
        ready.load(args, command)?;
    }
    ready.requests = Some(ready.requests(args)?);
    if !args.warmup.is_zero() {
        ready.go(args, args.warmup, None)?;
    }
    ready.worker.progress = progress;
    Ok(ready)
}

/// This thread's part of `total`, as even as it gets.
fn share(total: u64, args: &RunArgs, index: usize) -> u64 {
    let (threads, index) = (u64::from(args.threads), index as u64);
    total / threads + u64::from(index < total % threads)
}

impl Ready {
    fn generator(&self, args: &RunArgs, mix: &Mix, dist: &Dist) -> Generator {
        let picker = Picker::new(dist, args.keys, self.index, u64::from(args.threads));
        let live = Rc::new(Cell::new(args.keys));
        let seed = args.seed.wrapping_mul(1000) + self.index;
        Generator::new(mix, picker, &args.shape(), live, seed).with_ttl(args.ttl)
    }

    /// What is measured.
    fn requests(&self, args: &RunArgs) -> Result<Generator> {
        let requests = self.generator(args, &args.mix, &args.dist);
        Ok(match args.commands.is_empty() {
            true => requests,
            false => requests.with_commands(args.templates()?),
        })
    }

    fn preload(&mut self, args: &RunArgs, kind: Kind) -> Result<()> {
        let requests = self.generator(args, &Mix::only(kind), &Dist::Sequential);
        self.load_with(args, requests)
    }

    /// Sends a command once for every key of this thread.
    fn load(&mut self, args: &RunArgs, command: Command) -> Result<()> {
        let requests = self.generator(args, &Mix::only(Kind::Any), &Dist::Sequential);
        self.load_with(args, requests.with_commands(vec![(command, 1)]))
    }

    fn load_with(&mut self, args: &RunArgs, mut requests: Generator) -> Result<()> {
        let requests_max = share(args.keys, args, self.index as usize);
        let limit = Limit { requests: requests_max, deadline_ns: u64::MAX };
        let tally = closed::run(&mut self.worker, &mut requests, PRELOAD_PIPELINE, limit)?;
        let bad = tally.errors + tally.wrong;
        ensure!(bad == 0, "preloading failed: {}", tally.first_bad.unwrap_or_default());
        Ok(())
    }

    fn measure(&mut self, args: &RunArgs) -> Result<Tally> {
        let requests = args.requests.map(|n| share(n, args, self.index as usize));
        self.go(args, args.limit(), requests)
    }

    /// One stretch of load, warm-up or measured.
    fn go(&mut self, args: &RunArgs, time: Duration, requests: Option<u64>) -> Result<Tally> {
        let mut generator = match self.requests.take() {
            Some(requests) => requests,
            None => self.requests(args)?,
        };
        let Some(rate) = args.rate.filter(|_| args.mode == Mode::Open) else {
            let limit = Limit {
                requests: requests.unwrap_or(u64::MAX),
                deadline_ns: now_ns().saturating_add(ns(time)),
            };
            let tally = closed::run(&mut self.worker, &mut generator, u64::from(args.pipeline), limit);
            self.requests = Some(generator);
            return tally;
        };
        let plan = StreamPlan {
            requests: generator,
            arrivals: args.arrivals,
            rate: rate / f64::from(args.threads),
            batch: 1,
            window: args.pipeline as usize,
            arrivals_max: None,
            conns: self.worker.conns.len(),
        };
        let tallies = open::run(&mut self.worker, vec![plan], ns(time), &mut ())?;
        tallies.into_iter().next().context("no stream was run")
    }
}
