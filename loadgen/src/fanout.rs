//! `loadgen fanout`: one channel, one publisher, many subscribers. How long a message takes to
//! each of them, from when it was due, and how many arrive per second.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::bed::{Bed, BedArgs};
use crate::cli::{count, duration, rate};
use crate::clock::{now_ns, ns};
use crate::compare::{self, Table, cpu::check, us};
use crate::open::{self, Arrivals, Observer, StreamPlan};
use crate::plot;
use crate::reply::Scanner;
use crate::report::Latency;
use crate::request::{Generator, write_digits};
use crate::server::{Server, ServerSpec};
use crate::sizes::Sizes;
use crate::subscriber::Subscriber;
use crate::worker::Worker;

/// The channel of [`Publish`].
pub const CHANNEL: &str = "fanout";
/// Digits at the front of a message: when it was sent, on this process' clock.
const STAMP: usize = 16;
/// Messages in flight at most.
const WINDOW: usize = 64;
/// Stragglers are awaited so long.
const PATIENCE_NS: u64 = 5_000_000_000;
const MOST_NS: u64 = 600_000_000_000;

#[derive(Args)]
pub struct FanoutArgs {
    #[command(flatten)]
    pub bed: BedArgs,
    /// Numbers of subscribers
    #[arg(long, value_delimiter = ',', default_values = ["1", "100", "1000"], value_parser = count)]
    pub subscribers: Vec<u64>,
    /// Messages that arrive per second, all subscribers together; the publisher sends as many as it takes
    #[arg(long, default_value = "50k", value_parser = rate)]
    pub rate: f64,
    /// Bytes per message
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=1_000_000))]
    pub size: u32,
    /// How long to publish
    #[arg(long, short, default_value = "5s", value_parser = duration)]
    pub duration: Duration,
    /// Rounds; the servers take turns
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Draw which share of the messages was there how late, as SVG, for the largest number of subscribers
    #[arg(long)]
    pub plot: Option<PathBuf>,
}

/// One number of subscribers on one server in one round.
#[derive(Serialize)]
struct Outcome {
    server: String,
    round: u32,
    subscribers: u64,
    published: u64,
    /// Messages that arrived, and that should have.
    delivered: u64,
    expected: u64,
    delivered_per_second: f64,
    /// From when a message was sent until a subscriber had it.
    delivery: Latency,
    /// From when PUBLISH was due until its reply.
    publish: Latency,
    cpu_us_per_delivery: f64,
    waited_ms: f64,
    /// Milliseconds and the percentage of the messages that were there by then.
    distribution: Vec<(f64, f64)>,
}

/// The subscribers' side.
struct Audience {
    subscribers: Vec<Subscriber>,
    scratch: Vec<u8>,
    delivery: Histogram<u64>,
    delivered: u64,
    expected: Option<u64>,
}

impl Observer for Audience {
    fn readable(&mut self, id: usize) -> Result<()> {
        let index = id.wrapping_sub(crate::subscriber::FIRST_ID);
        let subscriber = self.subscribers.get_mut(index).context("invariant: a subscriber's id")?;
        let (delivery, delivered, mut now) = (&mut self.delivery, &mut self.delivered, None);
        subscriber.messages(&mut self.scratch, |message| {
            let stamp = message.get(..STAMP).and_then(|s| std::str::from_utf8(s).ok()?.parse::<u64>().ok());
            if let Some(sent) = stamp {
                let now = *now.get_or_insert_with(now_ns);
                delivery.saturating_record(now.saturating_sub(sent).max(1));
                *delivered += 1;
            }
        })
    }

    fn done(&self) -> bool {
        self.expected == Some(self.delivered)
    }
}

/// The frame of a PUBLISH whose message begins with the time.
pub struct Publish {
    frame: Vec<u8>,
    stamp_at: usize,
}

impl Publish {
    /// Messages of so many bytes.
    pub fn new(size: usize) -> Self {
        let head = format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{CHANNEL}\r\n${size}\r\n", CHANNEL.len());
        let mut frame = head.into_bytes();
        let stamp_at = frame.len();
        frame.resize(stamp_at + size, b'x');
        frame.extend_from_slice(b"\r\n");
        Publish { frame, stamp_at }
    }

    /// Appends one request.
    pub fn push(&mut self, out: &mut Vec<u8>) {
        write_digits(&mut self.frame[self.stamp_at..self.stamp_at + STAMP], now_ns());
        out.extend_from_slice(&self.frame);
    }
}

pub fn run(args: &FanoutArgs) -> Result<()> {
    let most = args.subscribers.iter().copied().max().unwrap_or(1);
    let bed = Bed::new(&args.bed, compare::default_servers, most)?;
    let bar = bar(args, &bed);
    let mut outcomes = Vec::new();
    for round in 0..args.rounds {
        for spec in &bed.servers {
            outcomes.extend(server(&bed, spec, args, round, &bar).with_context(|| spec.name.clone())?);
        }
    }
    bar.finish_and_clear();
    args.bed.show(&markdown(args, &outcomes));
    if let Some(path) = &args.plot {
        let shown = outcomes.iter().filter(|o| o.subscribers == most && o.round == 0);
        let lines: Vec<_> = shown.map(|o| plot::Curve { name: &o.server, points: &o.distribution }).collect();
        let caption = format!("{most} subscribers, {} messages/s arrive", compare::count(args.rate as u64));
        plot::curves(path, "Messages that a subscriber has, by how long they took", &caption, &lines)?;
    }
    match &args.bed.json {
        Some(path) => crate::report::write_json(path, &outcomes),
        None => Ok(()),
    }
}

fn bar(args: &FanoutArgs, bed: &Bed) -> ProgressBar {
    if args.bed.quiet {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{elapsed_precise} {bar:40} fanout {msg}");
    let steps = args.rounds as usize * bed.servers.len() * args.subscribers.len();
    ProgressBar::new(steps as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn server(
    bed: &Bed,
    spec: &ServerSpec,
    args: &FanoutArgs,
    round: u32,
    bar: &ProgressBar,
) -> Result<Vec<Outcome>> {
    let server = bed.start(spec, &[])?;
    let mut outcomes = Vec::new();
    for &subscribers in &args.subscribers {
        bar.set_message(format!("{}: {subscribers} subscribers", spec.name));
        outcomes.push(one(&server, args, subscribers, round)?);
        bar.inc(1);
    }
    Ok(outcomes)
}

fn one(server: &Server, args: &FanoutArgs, subscribers: u64, round: u32) -> Result<Outcome> {
    let mut worker = Worker::connect(&server.target, 1, Scanner::new(&Sizes::Fixed(0), false))?;
    let mut audience = Audience {
        subscribers: Vec::new(),
        scratch: Subscriber::scratch(),
        delivery: Histogram::new_with_bounds(1, MOST_NS, 3)?,
        delivered: 0,
        expected: None,
    };
    for i in 0..subscribers as usize {
        let subscriber = Subscriber::open(&server.target, CHANNEL)?;
        subscriber.register(&worker.epoll, i)?;
        audience.subscribers.push(subscriber);
    }
    let plan = |rate: f64| StreamPlan {
        requests: Generator::of_publish(Publish::new(args.size as usize), 1),
        arrivals: Arrivals::Poisson,
        rate,
        batch: 1,
        window: WINDOW,
        arrivals_max: None,
        conns: 1,
    };
    let (cpu, start) = (server.cpu()?, now_ns());
    let plans = vec![plan((args.rate / subscribers as f64).max(0.1))];
    let tally = open::run(&mut worker, plans, ns(args.duration), &mut audience)?.swap_remove(0);
    check(&server.name, &tally)?;
    let took = (now_ns() - start) as f64;
    let expected = tally.replies * subscribers;
    audience.expected = Some(expected);
    // The replies are there; what they announced may still be on its way.
    open::run(&mut worker, Vec::new(), PATIENCE_NS, &mut audience)?;
    let used = server.cpu()?.since(cpu);
    let (mut sum, all) = (0, expected.max(1) as f64);
    let steps = audience.delivery.iter_recorded().map(|v| {
        sum += v.count_since_last_iteration();
        (v.value_iterated_to() as f64 / 1e6, sum as f64 * 100.0 / all)
    });
    Ok(Outcome {
        server: server.name.clone(),
        round,
        subscribers,
        published: tally.replies,
        delivered: audience.delivered,
        expected,
        delivered_per_second: audience.delivered as f64 * 1e9 / took,
        delivery: Latency::of(&audience.delivery),
        publish: Latency::of(&tally.latency),
        cpu_us_per_delivery: used.used_ns as f64 / 1e3 / audience.delivered.max(1) as f64,
        waited_ms: used.waited_ns as f64 / 1e6,
        distribution: steps.collect(),
    })
}

fn markdown(args: &FanoutArgs, outcomes: &[Outcome]) -> String {
    let mut table = Table::new([
        "subscribers",
        "server",
        "published",
        "arrived",
        "arrived/s",
        "delivery p50",
        "p99",
        "p99.9",
        "max",
        "PUBLISH p50",
        "p99",
        "CPU µs per delivery",
        "waited ms",
    ]);
    for &subscribers in &args.subscribers {
        for o in outcomes.iter().filter(|o| o.subscribers == subscribers) {
            table.row(vec![
                subscribers.to_string(),
                o.server.clone(),
                o.published.to_string(),
                format!("{:.2} %", o.delivered as f64 * 100.0 / o.expected.max(1) as f64),
                format!("{:.0}k", o.delivered_per_second / 1e3),
                us(o.delivery.p50_us),
                us(o.delivery.p99_us),
                us(o.delivery.p999_us),
                us(o.delivery.max_us),
                us(o.publish.p50_us),
                us(o.publish.p99_us),
                us(o.cpu_us_per_delivery),
                format!("{:.0}", o.waited_ms),
            ]);
        }
    }
    format!(
        "### fanout: {} bytes per message, {} messages/s arrive\n\nµs. Delivery counts from when the message was sent \
         until a subscriber had it, PUBLISH from when it was due until its reply.\n\n{}",
        args.size,
        compare::count(args.rate as u64),
        table.markdown()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_begin_with_the_time() {
        let mut out = Vec::new();
        Publish::new(20).push(&mut out);
        let text = String::from_utf8(out).unwrap();
        let rest = text.strip_prefix("*3\r\n$7\r\nPUBLISH\r\n$6\r\nfanout\r\n$20\r\n").unwrap();
        assert!(rest[..STAMP].parse::<u64>().unwrap() <= now_ns());
        assert_eq!(&rest[STAMP..], "xxxx\r\n");
    }
}
