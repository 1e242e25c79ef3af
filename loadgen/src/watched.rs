//! `loadgen watched`: what it costs to be looked at. GETs in long pipelines on a server without its HTTP endpoint, with it,
//! while it is scraped, and while somebody has the live page open.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::bed::{Bed, BedArgs};
use crate::cli::{count, duration, rate};
use crate::clock::{now_ns, ns};
use crate::compare::cpu::{check, generator};
use crate::compare::{self, Spread, Table};
use crate::keys::Dist;
use crate::reply::Scanner;
use crate::request::{Kind, Shape};
use crate::server::{Server, ServerSpec};
use crate::sizes::Sizes;
use crate::stats::{self, Interval};
use crate::worker::{Limit, Worker};
use crate::{closed, proc, report};

const KEY_SIZE: usize = 16;
const VALUE_SIZE: usize = 64;
/// Name of the server's thread for HTTP.
const THREAD: &str = "http";
/// How soon a thread that looks notices that it is over.
const NOTICE: Duration = Duration::from_millis(50);

#[derive(Args)]
pub struct WatchedArgs {
    #[command(flatten)]
    pub bed: BedArgs,
    /// Keys
    #[arg(long, default_value = "100k", value_parser = count)]
    pub keys: u64,
    /// Connections
    #[arg(long, short, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub clients: u32,
    /// Requests per batch
    #[arg(long, short = 'P', default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub pipeline: u32,
    /// Rounds; in each of them every case is measured once
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// How long to measure a case
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub hold: Duration,
    /// Scrapes per second
    #[arg(long, default_value = "10", value_parser = rate)]
    pub scrapes: f64,
    /// Viewers of the live page in the last case
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub viewers: u32,
}

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Case {
    /// The server has no endpoint.
    Without,
    Nobody,
    Scraped(f64),
    Viewers(u32),
}

impl Case {
    fn name(self) -> String {
        match self {
            Case::Without => "no endpoint".to_owned(),
            Case::Nobody => "an endpoint, nobody looks".to_owned(),
            Case::Scraped(rate) => format!("{rate} scrapes/s"),
            Case::Viewers(1) => "1 viewer of the live page".to_owned(),
            Case::Viewers(n) => format!("{n} viewers of the live page"),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    /// All threads but the endpoint's, by request.
    cpu_ns: f64,
    /// The endpoint's thread, as a share of a core.
    endpoint: f64,
    /// Bytes that each answer, or each viewer's second, had.
    bytes: f64,
}

#[derive(Serialize)]
struct Line {
    server: String,
    case: String,
    cpu_ns: Spread,
    by_no_endpoint: Interval,
    endpoint_percent_of_core: Spread,
    kib: Spread,
}

pub fn run(args: &WatchedArgs) -> Result<()> {
    let usual = || Ok(compare::default_servers()?.into_iter().take(1).collect());
    let bed = Bed::new(&args.bed, usual, u64::from(args.clients))?;
    let mut lines = Vec::new();
    for spec in &bed.servers {
        lines.extend(measure(&bed, spec, args).with_context(|| spec.name.clone())?);
    }
    args.bed.show(&markdown(args, &lines));
    match &args.bed.json {
        Some(path) => report::write_json(path, &lines),
        None => Ok(()),
    }
}

fn measure(bed: &Bed, spec: &ServerSpec, args: &WatchedArgs) -> Result<Vec<Line>> {
    let shape = Shape {
        keys: args.keys,
        key_size: KEY_SIZE,
        values: Sizes::Fixed(VALUE_SIZE),
        derived_values: false,
    };
    shape.check()?;
    let dark = bed.start(&ServerSpec { name: format!("{}-dark", spec.name), ..spec.clone() }, &[])?;
    let http = bed.dir().join("http.sock");
    let lit = bed.start(spec, &["--metrics-unixsocket", &http.display().to_string()])?;
    let cases = [
        Case::Without,
        Case::Nobody,
        Case::Scraped(args.scrapes),
        Case::Viewers(1),
        Case::Viewers(args.viewers),
    ];
    for server in [&dark, &lit] {
        let mut worker = Worker::connect(&server.target, 4, Scanner::new(&shape.values, false))?;
        let mut requests = generator(&shape, Kind::Set, Dist::Sequential, 1);
        let limit = Limit { requests: shape.keys, deadline_ns: u64::MAX };
        check(&server.name, &closed::run(&mut worker, &mut requests, 64, limit)?)?;
    }
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); cases.len()];
    for round in 0..args.rounds {
        for (case, samples) in cases.iter().zip(&mut samples) {
            if !args.bed.quiet {
                eprintln!("watched: round {} of {}, {}", round + 1, args.rounds, case.name());
            }
            let server = if *case == Case::Without { &dark } else { &lit };
            samples.push(sample(server, *case, &http, args, &shape, u64::from(round))?);
        }
    }
    let line = |(i, case): (usize, &Case)| Line {
        server: spec.name.clone(),
        case: case.name(),
        cpu_ns: Spread::of(samples[i].iter().map(|s| s.cpu_ns)),
        by_no_endpoint: stats::ratio_of_pairs(
            samples[i].iter().zip(&samples[0]).map(|(a, b)| (a.cpu_ns, b.cpu_ns)),
        ),
        endpoint_percent_of_core: Spread::of(samples[i].iter().map(|s| s.endpoint * 100.0)),
        kib: Spread::of(samples[i].iter().map(|s| s.bytes / 1024.0)),
    };
    Ok(cases.iter().enumerate().map(line).collect())
}

fn sample(
    server: &Server,
    case: Case,
    http: &Path,
    args: &WatchedArgs,
    shape: &Shape,
    seed: u64,
) -> Result<Sample> {
    let mut worker =
        Worker::connect(&server.target, args.clients as usize, Scanner::new(&shape.values, false))?;
    let mut requests = generator(shape, Kind::Get, Dist::Uniform, seed + 2);
    let pipeline = u64::from(args.pipeline);
    let eyes = Eyes::open(case, http)?;
    check(
        &server.name,
        &closed::run(&mut worker, &mut requests, pipeline, Limit::after(ns(args.hold) / 5))?,
    )?;
    let cpu = || -> Result<(u64, u64)> {
        Ok((server.cpu()?.used_ns, proc::cpu_of_thread(server.pid(), THREAD)?.used_ns))
    };
    let (before, looks_before, began) = (cpu()?, eyes.looks(), now_ns());
    let tally = closed::run(&mut worker, &mut requests, pipeline, Limit::after(ns(args.hold)))?;
    let (after, looks, took) = (cpu()?, eyes.looks(), now_ns() - began);
    eyes.close()?;
    check(&server.name, &tally)?;
    ensure!(tally.misses == 0, "{} keys are missing", tally.misses);
    let endpoint = after.1 - before.1;
    let (seen, bytes) = (looks.0 - looks_before.0, looks.1 - looks_before.1);
    let seconds = took as f64 / 1e9;
    let each = match case {
        Case::Viewers(n) => seconds * f64::from(n),
        _ => seen.max(1) as f64,
    };
    Ok(Sample {
        cpu_ns: (after.0 - before.0).saturating_sub(endpoint) as f64 / tally.replies.max(1) as f64,
        endpoint: endpoint as f64 / took as f64,
        bytes: bytes as f64 / each,
    })
}

/// Threads that look at the server.
struct Eyes {
    over: Arc<AtomicBool>,
    /// Answers, and bytes of them.
    seen: Arc<(AtomicU64, AtomicU64)>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Eyes {
    fn open(case: Case, http: &Path) -> Result<Eyes> {
        let (over, seen) =
            (Arc::new(AtomicBool::new(false)), Arc::new((AtomicU64::new(0), AtomicU64::new(0))));
        let n = match case {
            Case::Without | Case::Nobody => 0,
            Case::Scraped(_) => 1,
            Case::Viewers(n) => n,
        };
        let threads = (0..n).map(|_| {
            let (over, seen, http) = (Arc::clone(&over), Arc::clone(&seen), http.to_owned());
            std::thread::spawn(move || match case {
                Case::Scraped(rate) => scrape(&http, rate, &over, &seen),
                _ => view(&http, &over, &seen),
            })
        });
        let threads = threads.collect();
        Ok(Eyes { over, seen, threads })
    }

    fn looks(&self) -> (u64, u64) {
        (self.seen.0.load(Ordering::Relaxed), self.seen.1.load(Ordering::Relaxed))
    }

    fn close(self) -> Result<()> {
        self.over.store(true, Ordering::Release);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow::anyhow!("a thread that looked panicked"))??;
        }
        Ok(())
    }
}

fn ask(http: &PathBuf, path: &str) -> Result<UnixStream> {
    let mut stream =
        UnixStream::connect(http).with_context(|| format!("no endpoint at {}", http.display()))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: loadgen\r\nConnection: close\r\n\r\n").as_bytes())?;
    Ok(stream)
}

fn scrape(http: &PathBuf, rate: f64, over: &AtomicBool, seen: &(AtomicU64, AtomicU64)) -> Result<()> {
    let began = now_ns();
    for i in 1_u64.. {
        if over.load(Ordering::Acquire) {
            break;
        }
        let mut answer = Vec::new();
        ask(http, "/metrics")?.read_to_end(&mut answer)?;
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "/metrics is not there");
        seen.0.fetch_add(1, Ordering::Relaxed);
        seen.1.fetch_add(answer.len() as u64, Ordering::Relaxed);
        let due = began + (i as f64 * 1e9 / rate) as u64;
        while now_ns() < due && !over.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_nanos(due.saturating_sub(now_ns())).min(NOTICE));
        }
    }
    Ok(())
}

fn view(http: &PathBuf, over: &AtomicBool, seen: &(AtomicU64, AtomicU64)) -> Result<()> {
    let mut stream = ask(http, "/live")?;
    let mut bytes = [0; 16 << 10];
    while !over.load(Ordering::Acquire) {
        let n = stream.read(&mut bytes).context("the live page sends nothing")?;
        ensure!(n > 0, "the live page ended");
        seen.0.fetch_add(1, Ordering::Relaxed);
        seen.1.fetch_add(n as u64, Ordering::Relaxed);
    }
    Ok(())
}

fn markdown(args: &WatchedArgs, lines: &[Line]) -> String {
    let mut table = Table::new([
        "server",
        "who looks",
        "CPU ns per GET",
        "by no endpoint",
        "endpoint, % of a core",
        "KiB",
    ]);
    for line in lines {
        let spread = |s: &Spread, digits: usize| {
            format!("{:.digits$} ({:.digits$}–{:.digits$})", s.median, s.min, s.max)
        };
        table.row(vec![
            line.server.clone(),
            line.case.clone(),
            spread(&line.cpu_ns, 0),
            line.by_no_endpoint.text(),
            spread(&line.endpoint_percent_of_core, 2),
            format!("{:.1}", line.kib.median),
        ]);
    }
    format!(
        "### watched\n\nGET at a pipeline of {}, {} connections, {} keys; {} rounds of {:?}. CPU of all threads but the \
         endpoint's by request, and of the endpoint's thread; KiB of a scrape, or of a viewer's second.\n\n{}",
        args.pipeline,
        args.clients,
        compare::count(args.keys),
        args.rounds,
        args.hold,
        table.markdown()
    )
}
