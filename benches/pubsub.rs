//! Publish and subscribe: the registry with many channels and patterns, and whole servers with many subscribers.
//!
//! `cargo bench --bench pubsub` prints three tables: the cost of a look-up by the number of names, CPU of
//! tandem and of redis-server for a message to so many subscribers, and latency of GET while messages go to
//! a thousand subscribers of which ten do not read. `TANDEM_BIN` names another binary of tandem.
#![allow(clippy::disallowed_methods, reason = "benches measure real time and have no src/clock.rs")]
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use tandem::clients::{Clients, NewClient};
use tandem::events::{PubSub, Scope};

struct Server {
    child: Child,
    dir: PathBuf,
}

impl Server {
    fn start(redis: bool) -> Server {
        let dir = std::env::temp_dir().join(format!("pubsub-{}-{redis}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let tandem = std::env::var("TANDEM_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_tandem").to_owned());
        let mut command = Command::new(if redis { "redis-server" } else { &tandem });
        command.args(["--port", "0", "--save", "", "--maxclients", "5000", "--dir"]).arg(&dir);
        command.arg("--unixsocket").arg(dir.join("socket"));
        if !redis {
            command.args(["--workers", "1"]);
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Server { child, dir };
        while UnixStream::connect(server.socket()).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    /// Nanoseconds of CPU of all its threads.
    fn cpu(&self) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let of = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        tasks
            .filter_map(|task| of(task.ok()?.path().join("schedstat")).split(' ').next()?.parse::<u64>().ok())
            .sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A connection whose replies are lines.
struct Lines(BufReader<UnixStream>);

impl Lines {
    fn connect(socket: &Path) -> Lines {
        Lines(BufReader::new(UnixStream::connect(socket).unwrap()))
    }

    fn call(&mut self, command: &[u8], lines: usize) {
        self.0.get_mut().write_all(command).unwrap();
        let mut line = String::new();
        for _ in 0..lines {
            line.clear();
            self.0.read_line(&mut line).unwrap();
        }
    }
}

fn subscribers(server: &Server, count: usize) -> Vec<UnixStream> {
    let subscribed = |_| {
        let mut lines = Lines::connect(&server.socket());
        lines.call(b"SUBSCRIBE news\r\n", 6);
        lines.0.into_inner()
    };
    (0..count).map(subscribed).collect()
}

/// Reads what comes to all of them until told to stop, and counts the bytes.
fn read_all(mut streams: Vec<UnixStream>, read: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    streams.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
    let mut buffer = [0; 65536];
    let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    while !stop.load(Relaxed) {
        let mut ready: Vec<PollFd<'_>> = streams.iter().map(|s| PollFd::new(s, PollFlags::IN)).collect();
        if poll(&mut ready, Some(&timeout)).unwrap_or(0) == 0 {
            continue;
        }
        let ready: Vec<usize> = (0..ready.len()).filter(|i| !ready[*i].revents().is_empty()).collect();
        for i in ready {
            if let Ok(n) = streams[i].read(&mut buffer) {
                read.fetch_add(n as u64, Relaxed);
            }
        }
    }
}

const MESSAGE: &[u8] = b"PUBLISH news 0123456789012345678901234567890123456789012345678901234567890123\r\n";
/// `*3 $7 message $4 news $64 …`
const MESSAGE_BYTES: u64 = 4 + 4 + 9 + 4 + 6 + 5 + 66;

/// CPU of the server for one message to so many subscribers, in microseconds, and the time until all have it.
fn fan_out(redis: bool, count: usize) -> (f64, f64) {
    let server = Server::start(redis);
    let (read, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let streams = subscribers(&server, count);
    let reader = std::thread::spawn({
        let (read, stop) = (Arc::clone(&read), Arc::clone(&stop));
        move || read_all(streams, read, stop)
    });
    let mut publisher = Lines::connect(&server.socket());
    let messages = (300_000 / count).clamp(200, 20_000) as u64;
    let (cpu, began) = (server.cpu(), Instant::now());
    for sent in 1..=messages {
        publisher.call(MESSAGE, 1);
        // The next one only once all have this one: what is measured is a message, not a backlog.
        while read.load(Relaxed) < sent * MESSAGE_BYTES * count as u64 {
            std::thread::yield_now();
        }
    }
    let wall = began.elapsed().as_secs_f64() * 1e6 / messages as f64;
    let cpu = (server.cpu() - cpu) as f64 / 1000.0 / messages as f64;
    stop.store(true, Relaxed);
    reader.join().unwrap();
    (cpu, wall)
}

/// Latency of GET in microseconds (p50, p99, p99.9) while messages go to a thousand subscribers.
fn latency(redis: bool, silent: usize) -> [u128; 3] {
    let server = Server::start(redis);
    let (read, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let streams = subscribers(&server, 1000 - silent);
    let not_reading = subscribers(&server, silent);
    let reader = std::thread::spawn({
        let (read, stop) = (Arc::clone(&read), Arc::clone(&stop));
        move || read_all(streams, read, stop)
    });
    let publisher = std::thread::spawn({
        let (mut publisher, stop) = (Lines::connect(&server.socket()), Arc::clone(&stop));
        move || {
            while !stop.load(Relaxed) {
                publisher.call(MESSAGE, 1);
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    });
    let mut client = Lines::connect(&server.socket());
    let mut took: Vec<u128> = (0..20_000)
        .map(|_| {
            std::thread::sleep(Duration::from_micros(200));
            let began = Instant::now();
            client.call(b"GET missing\r\n", 1);
            began.elapsed().as_micros()
        })
        .collect();
    stop.store(true, Relaxed);
    reader.join().unwrap();
    publisher.join().unwrap();
    drop(not_reading);
    took.sort_unstable();
    [took[took.len() / 2], took[took.len() * 99 / 100], took[took.len() * 999 / 1000]]
}

/// Nanoseconds for one message to one subscriber, among so many channels and patterns.
fn look_up(channels: usize, patterns: usize) -> f64 {
    let (clients, pubsub) = (Clients::new(1), PubSub::default());
    let new = NewClient { worker: 0, fd: 0, addr: "".into(), laddr: "".into(), unix: true, now_ms: 0 };
    let client = clients.admit(10, new).unwrap();
    for i in 0..channels {
        pubsub.subscribe(Scope::Channel, format!("channel:{i}").as_bytes(), &client);
    }
    for i in 0..patterns {
        pubsub.subscribe(Scope::Pattern, format!("pattern:{i}:*").as_bytes(), &client);
    }
    let names: Vec<String> = (0..1024).map(|i| format!("channel:{}", i * 97 % channels)).collect();
    let rounds = 200;
    let began = Instant::now();
    for _ in 0..rounds {
        for name in &names {
            assert_eq!(pubsub.publish(name.as_bytes(), b"message"), 1);
        }
        client.take_mail();
    }
    began.elapsed().as_nanos() as f64 / f64::from(rounds * 1024)
}

fn main() {
    println!("| channels | patterns | ns for a message to one subscriber |\n|---:|---:|---:|");
    for (channels, patterns) in [(1, 0), (1_000, 0), (100_000, 0), (1, 10_000), (100_000, 10_000)] {
        println!("| {channels} | {patterns} | {:.0} |", look_up(channels, patterns));
    }
    println!("\n| subscribers | tandem CPU µs | redis CPU µs | ratio | tandem until all have it | redis |");
    println!("|---:|---:|---:|---:|---:|---:|");
    for count in [1, 100, 1000] {
        let mut runs: Vec<_> = (0..3).map(|_| (fan_out(false, count), fan_out(true, count))).collect();
        runs.sort_by(|a, b| (a.0.0 / a.1.0).total_cmp(&(b.0.0 / b.1.0)));
        let (ours, theirs) = runs[1];
        let ratio = ours.0 / theirs.0;
        println!(
            "| {count} | {:.1} | {:.1} | {ratio:.2} | {:.0} | {:.0} |",
            ours.0, theirs.0, ours.1, theirs.1
        );
    }
    println!("\n| server | silent of 1000 | GET p50 | p99 | p99.9 |\n|---|---:|---:|---:|---:|");
    for (redis, silent) in [(false, 0), (false, 10), (true, 0), (true, 10)] {
        let [p50, p99, p999] = latency(redis, silent);
        println!("| {} | {silent} | {p50} | {p99} | {p999} |", if redis { "redis" } else { "tandem" });
    }
}
