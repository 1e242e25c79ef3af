//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::churn::ChurnArgs;
use crate::deaf::DeafArgs;
use crate::expire::ExpireArgs;
use crate::fanout::FanoutArgs;
use crate::giveback::GivebackArgs;
use crate::hitratio::HitRatioArgs;
use crate::keys::Dist;
use crate::open::Arrivals;
use crate::request::{Mix, Shape};
use crate::server::ServerSpec;
use crate::sizes::Sizes;
use crate::target::Target;
use crate::template::{Command as Template, Filling, Weighted};
use crate::timeline::{GrowArgs, ShiftArgs, SnapshotArgs, SteadyArgs};
use crate::watched::WatchedArgs;

/// Load for servers that speak the Redis protocol, and comparisons between them.
#[derive(Parser)]
#[command(name = "loadgen", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Put load on a running server and report throughput and latency
    Run(RunArgs),
    /// Start servers side by side, alternate between them, print CPU, memory and latency ratios
    ///
    /// `loadgen compare` alone compares target/release/tandem with redis-server from PATH and
    /// with a raw epoll floor (what the socket alone costs), each bound to one core, loadgen on
    /// another, over unix sockets in a temporary directory. Needs no other preparation than
    /// `cargo build --release`.
    ///
    /// On a machine that others use too, start the CPU part as `chrt -f 1 loadgen compare --only
    /// cpu` (needs the privilege): it then has its two cores to itself and the `noise` column
    /// drops to about 0. Not so the growth part: it polls, and the kernel takes the core away
    /// from a real-time process that does for 50 ms of every second.
    Compare(CompareArgs),
    /// Grow a key space, drop to a few percent, grow again: latency and memory over time
    Shift(ShiftArgs),
    /// Grow a key space once: latency and memory over time
    Grow(GrowArgs),
    /// Load a key space and stay: latency and memory over time at a fixed rate
    Steady(SteadyArgs),
    /// Load a key space and write a snapshot of it: latency and memory before, meanwhile and after
    Snapshot(SnapshotArgs),
    /// How late the events of expiring keys reach a subscriber, while other requests run
    Expire(ExpireArgs),
    /// Replay traces against servers with limited memory: which share of the requests hits
    Hitratio(HitRatioArgs),
    /// A random 95 % of the keys go: resident memory, beside a fresh process with the others
    Giveback(GivebackArgs),
    /// Keys are overwritten, expire and change their sizes: bytes beyond key and value, and bytes copied for that
    Churn(ChurnArgs),
    /// One channel, one publisher, many subscribers: how long messages take
    Fanout(FanoutArgs),
    /// What requests pay for subscribers who never read
    Deaf(DeafArgs),
    /// Start a server and measure what it costs while nobody asks it anything
    Idle(IdleArgs),
    /// What it costs tandem to be scraped and looked at
    Watched(WatchedArgs),
    /// Serve constant replies with one receive and one send per batch: the cost of the socket
    Floor(FloorArgs),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The next requests go out when the last ones are answered
    Closed,
    /// Requests go out at --rate whatever the server does; latency counts from when each was due
    Open,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// Reply type, and the length of values
    Length,
    /// Values byte by byte as well (they are then made from the key; needs --preload or a fresh server)
    Content,
}

#[derive(Args)]
pub struct RunArgs {
    /// unix:/path or tcp:host:port
    #[arg(long)]
    pub server: Target,
    #[arg(long, value_enum, default_value = "closed")]
    pub mode: Mode,
    /// Requests per second, all threads together (open loop)
    #[arg(long, value_parser = rate, required_if_eq("mode", "open"))]
    pub rate: Option<f64>,
    /// Spacing of the requests (open loop)
    #[arg(long, value_enum, default_value = "poisson")]
    pub arrivals: Arrivals,
    /// Connections, all threads together
    #[arg(long, short, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub clients: u32,
    /// Requests in flight per connection (closed: sent as one batch; open: at most)
    #[arg(long, short = 'P', default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub pipeline: u32,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,
    /// Number of different keys
    #[arg(long, default_value = "100k", value_parser = count)]
    pub keys: u64,
    /// Bytes per key
    #[arg(long, default_value_t = 16)]
    pub key_size: usize,
    /// Bytes per value: 64, 32-96, 64=80,1k=20 (size=weight) or lognormal:MEDIAN:SIGMA; each key keeps its size
    #[arg(long, default_value = "64")]
    pub value_size: Sizes,
    /// Commands and weights: get, set, incr, del, or for example get=80,set=20
    #[arg(long, default_value = "get=50,set=50")]
    pub mix: Mix,
    /// A command instead of the mix, with its weight in front; repeat it. In it {key} is a key of --dist, {value} its value
    /// of --value-size, {ttl} milliseconds of --ttl, {1000} a random number below 1000, {+1000} counts, {x16} is a text:
    /// '80 HGET {key} f{20}'
    #[arg(long = "command", value_name = "[WEIGHT ]COMMAND", conflicts_with_all = ["mix", "preload"])]
    pub commands: Vec<Weighted>,
    /// Send this once for every key, in turn, before anything else; repeat it
    #[arg(long, value_name = "COMMAND", conflicts_with = "preload")]
    pub load: Vec<String>,
    /// Every SET has a deadline so far away: 10s, or 1s-60s for evenly between
    #[arg(long, value_parser = ttl)]
    pub ttl: Option<(u64, u64)>,
    /// Close a connection and open another after so many requests on it
    #[arg(long, value_parser = count)]
    pub churn: Option<u64>,
    /// RESP3, and the server tracks the keys that connections read (CLIENT TRACKING ON); the
    /// invalidations are counted
    #[arg(long, conflicts_with = "churn")]
    pub tracking: bool,
    /// Which keys: uniform, sequential, zipf:EXPONENT, hot:KEYS%:REQUESTS%, or trace:FORMAT:FILE
    /// with the formats of `hitratio`
    #[arg(long, default_value = "uniform")]
    pub dist: Dist,
    /// How long to measure, for example 10s or 500ms [default: 10s, or no limit with --requests]
    #[arg(long, short, value_parser = duration)]
    pub duration: Option<Duration>,
    /// Stop after so many requests (closed loop)
    #[arg(long, short = 'n', value_parser = count)]
    pub requests: Option<u64>,
    /// Load without measuring first
    #[arg(long, default_value = "0s", value_parser = duration)]
    pub warmup: Duration,
    /// SET every key once before anything else (with incr in the mix, INCR every counter too)
    #[arg(long)]
    pub preload: bool,
    /// What is checked in the reply to a GET
    #[arg(long, value_enum, default_value = "length")]
    pub verify: Verify,
    /// Seed of the random choices
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Cores for the threads, in turn, for example 1 or 2,3
    #[arg(long, value_delimiter = ',')]
    pub cores: Vec<usize>,
    /// Report CPU time and resident memory of this process (the server)
    #[arg(long)]
    pub pid: Option<u32>,
    /// Write the result as JSON; - is standard output
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Write the latencies as an HDR histogram log
    #[arg(long)]
    pub hdr: Option<PathBuf>,
    /// Draw the latencies by percentile, as SVG or PNG
    #[arg(long)]
    pub plot: Option<PathBuf>,
    /// No progress bar
    #[arg(long, short)]
    pub quiet: bool,
}

impl RunArgs {
    pub fn shape(&self) -> Shape {
        Shape {
            keys: self.keys,
            key_size: self.key_size,
            values: self.value_size.clone(),
            derived_values: self.verify == Verify::Content,
        }
    }

    /// What is sent instead of the mix, with weights.
    pub fn templates(&self) -> Result<Vec<(Template, u32)>> {
        let parse = |w: &Weighted| Ok((self.template(&w.text)?, w.weight));
        self.commands.iter().map(parse).collect()
    }

    /// What is sent once for every key.
    pub fn loads(&self) -> Result<Vec<Template>> {
        self.load.iter().map(|text| self.template(text)).collect()
    }

    fn template(&self, text: &str) -> Result<Template> {
        let shape = self.shape();
        let filling = Filling { shape: &shape, ttl: self.ttl };
        Template::parse_with(text, Some(filling)).with_context(|| format!("in the command '{text}'"))
    }

    /// The time limit of the measured part.
    pub fn limit(&self) -> Duration {
        match (self.duration, self.requests) {
            (Some(d), _) => d,
            (None, Some(_)) => DURATION_MAX,
            (None, None) => Duration::from_secs(10),
        }
    }

    pub fn check(&self) -> Result<()> {
        self.shape().check()?;
        self.templates()?;
        self.loads()?;
        ensure!(self.clients >= self.threads, "--clients must be at least --threads");
        ensure!(
            self.mode == Mode::Closed || self.requests.is_none(),
            "--requests goes with the closed loop; the open loop takes --duration"
        );
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    Cpu,
    Types,
    Memory,
    Collections,
    Growth,
}

#[derive(Args)]
pub struct CompareArgs {
    /// A server as NAME=COMMAND; repeat it. {socket} in the command is replaced by the socket's
    /// path, without it redis-server's flags are appended. The first is compared with the others.
    /// [default: tandem="$TANDEM_BIN --workers 1", redis=redis-server]
    #[arg(long = "server", value_name = "NAME=COMMAND")]
    pub servers: Vec<ServerSpec>,
    /// Smaller and shorter: some minutes less; the types and collections parts still take several each
    #[arg(long)]
    pub quick: bool,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<Part>,
    /// The rows of the types part, instead of those in loadgen/types.rows
    #[arg(long, value_name = "FILE")]
    pub rows: Option<PathBuf>,
    /// Rounds of the CPU and types parts [default: 5, quick 3]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: Option<u32>,
    /// Rounds of the growth part [default: 2, quick 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub growth_rounds: Option<u32>,
    /// Key counts of the CPU part [default: 100k,1M, quick 100k]
    #[arg(long, value_delimiter = ',', value_parser = count)]
    pub keys: Vec<u64>,
    /// Key counts at which memory is read [default: 1M,1.5M,2M,3M,4M, quick 500k,1M]
    #[arg(long, value_delimiter = ',', value_parser = count)]
    pub memory_keys: Vec<u64>,
    /// Keys at the top of the growth part [default: 4M, quick 300k]
    #[arg(long, value_parser = count)]
    pub growth_keys: Option<u64>,
    /// Requests per second that the growth part measures
    #[arg(long, default_value = "20k", value_parser = rate)]
    pub probe_rate: f64,
    /// Keys per second by which the growth part grows and shrinks
    #[arg(long, default_value = "200k", value_parser = rate)]
    pub growth_rate: f64,
    /// Core of the servers [default: the first that may be used]
    #[arg(long)]
    pub server_core: Option<usize>,
    /// Core of loadgen [default: the second]
    #[arg(long)]
    pub client_core: Option<usize>,
    #[arg(long, short, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub clients: u32,
    #[arg(long, default_value_t = 64)]
    pub value_size: usize,
    /// Write all figures as JSON; - is standard output
    #[arg(long)]
    pub json: Option<PathBuf>,
}

#[derive(Args)]
pub struct IdleArgs {
    /// A server as NAME=COMMAND; repeat it. As in `compare`
    #[arg(long = "server", value_name = "NAME=COMMAND")]
    pub servers: Vec<ServerSpec>,
    /// Idle connections to hold
    #[arg(long, short, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub connections: u32,
    /// Starts to take the median of
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub starts: u32,
    /// How long to watch the CPU time, once without and once with the connections
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub watch: Duration,
    /// Write all figures as JSON; - is standard output
    #[arg(long)]
    pub json: Option<PathBuf>,
}

#[derive(Args)]
pub struct FloorArgs {
    /// Path of the socket
    #[arg(long)]
    pub unix: PathBuf,
    /// Bytes of the value in the reply to a GET
    #[arg(long, default_value_t = 64)]
    pub value_size: usize,
}

/// Nothing runs longer than a day.
pub const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);

/// `1000`, `100k`, `1.5M`.
pub fn count(s: &str) -> Result<u64> {
    let (digits, factor) = match s.as_bytes().last() {
        Some(b'k' | b'K') => (&s[..s.len() - 1], 1e3),
        Some(b'm' | b'M') => (&s[..s.len() - 1], 1e6),
        Some(b'g' | b'G') => (&s[..s.len() - 1], 1e9),
        _ => (s, 1.0),
    };
    let n: f64 = digits.parse().with_context(|| format!("not a count: {s}"))?;
    let n = n * factor;
    ensure!((1.0..=1e15).contains(&n) && n.fract() == 0.0, "a count is a whole number from 1: {s}");
    Ok(n as u64)
}

/// A rate per second, at most ten million.
pub fn rate(s: &str) -> Result<f64> {
    let n = count(s)?;
    ensure!(n <= 10_000_000, "a rate may be at most 10M per second");
    Ok(n as f64)
}

/// Milliseconds: `10s` or `1s-60s`.
fn ttl(s: &str) -> Result<(u64, u64)> {
    let (from, to) = s.split_once('-').unwrap_or((s, s));
    let (from, to) = (duration(from)?.as_millis() as u64, duration(to)?.as_millis() as u64);
    ensure!(from >= 1 && from <= to, "a time to live is 1ms at least, and a range goes upwards: {s}");
    Ok((from, to))
}

/// `10s`, `500ms`, `2m`; a bare number is seconds.
pub fn duration(s: &str) -> Result<Duration> {
    let split = s.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(s.len());
    let n: f64 = s[..split].parse().with_context(|| format!("not a duration: {s}"))?;
    let seconds = match &s[split..] {
        "ms" => n / 1e3,
        "" | "s" => n,
        "m" | "min" => n * 60.0,
        "h" => n * 3600.0,
        unit => bail!("unknown unit '{unit}' (ms, s, m, h)"),
    };
    ensure!(seconds >= 0.0 && seconds <= DURATION_MAX.as_secs_f64(), "a duration is at most a day: {s}");
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn counts_and_durations() {
        assert_eq!(count("100k").unwrap(), 100_000);
        assert_eq!(count("1.5M").unwrap(), 1_500_000);
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("2m").unwrap(), Duration::from_secs(120));
        for bad in ["", "k", "-1", "0", "1.5", "1x", "nan", "1e99"] {
            assert!(count(bad).is_err(), "{bad}");
        }
        assert_eq!(ttl("1s-1m").unwrap(), (1000, 60_000));
        assert_eq!(ttl("5ms").unwrap(), (5, 5));
        for bad in ["", "0s", "2s-1s", "1s-"] {
            assert!(ttl(bad).is_err(), "{bad}");
        }
        for bad in ["", "s", "-1s", "2d", "25h", "nan"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn combinations_that_make_no_sense_are_refused() {
        let run = |args: &str| {
            let words = format!("loadgen run --server unix:/x {args}");
            match Cli::try_parse_from(words.split_whitespace()).map(|c| c.command) {
                Ok(Command::Run(run)) => run.check().is_ok(),
                _ => false,
            }
        };
        assert!(run(""));
        assert!(run("--mode open --rate 1000"));
        assert!(!run("--mode open"));
        assert!(!run("--mode open --rate 1000 -n 5"));
        assert!(!run("--threads 4 --clients 2"));
        assert!(!run("--key-size 5"));
        assert!(!run("--clients 0"));
        assert!(run("--command PING --load PING"));
        assert!(!run("--command PING --mix get"));
        assert!(!run("--command PING --preload"));
        assert!(!run("--command {nosuch}"));
        assert!(!run("--command {ttl}") && run("--command {ttl} --ttl 5s"));
    }
}
