//! `loadgen idle`: what a server costs while nobody asks it anything.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::cli::IdleArgs;
use crate::compare::{self, Spread, Table};
use crate::server::{Server, ServerSpec, first_reply};
use crate::{clock, limits, proc, report};

/// Descriptors for everything but the idle connections, here and in the server.
const SPARE_FILES: u64 = 256;
/// A server gets this long to give back what starting or accepting left behind. (tandem's last step is 12.5 s after the last
/// request.)
const SETTLE: Duration = Duration::from_secs(15);
const REPLY_NS: u64 = 5_000_000_000;

/// What one server costs.
#[derive(Serialize)]
struct Cost {
    server: String,
    first_pong_ms: Spread,
    resident_kib: u64,
    connections: u32,
    kib_per_connection: f64,
    cpu_ms_idle: f64,
    cpu_ms_with_connections: f64,
    watched_seconds: f64,
}

pub fn run(args: &IdleArgs) -> Result<()> {
    let servers = compare::servers(&args.servers, compare::default_servers)?;
    limits::allow_descriptors(u64::from(args.connections) + SPARE_FILES)?;
    let costs = servers.iter().map(|spec| probe(spec, args)).collect::<Result<Vec<_>>>()?;
    if args.json.as_deref() != Some(Path::new("-")) {
        println!("{}", markdown(&costs));
    }
    match &args.json {
        Some(path) => report::write_json(path, &costs),
        None => Ok(()),
    }
}

fn probe(spec: &ServerSpec, args: &IdleArgs) -> Result<Cost> {
    eprintln!("idle: {}", spec.name);
    let dir = tempfile::Builder::new().prefix("loadgen").tempdir()?;
    let cores = proc::cores()?;
    let most = (args.connections + 64).to_string();
    let start = || Server::start(spec, dir.path(), &cores, &["--maxclients", &most]);
    let mut pongs = Vec::new();
    for _ in 1..args.starts {
        pongs.push(start()?.ready_ns);
    }
    let server = start()?;
    pongs.push(server.ready_ns);
    std::thread::sleep(SETTLE);
    let resident_kib = server.resident_kib()?;
    let cpu_ms_idle = watch(&server, args.watch)?;
    let held = hold(&server, args.connections)?;
    std::thread::sleep(SETTLE);
    let with_kib = server.resident_kib()?;
    let cpu_ms_with_connections = watch(&server, args.watch)?;
    drop(held);
    Ok(Cost {
        server: spec.name.clone(),
        first_pong_ms: Spread::of(pongs.into_iter().map(|ns| ns as f64 / 1e6)),
        resident_kib,
        connections: args.connections,
        kib_per_connection: with_kib.saturating_sub(resident_kib) as f64 / f64::from(args.connections.max(1)),
        cpu_ms_idle,
        cpu_ms_with_connections,
        watched_seconds: args.watch.as_secs_f64(),
    })
}

fn watch(server: &Server, time: Duration) -> Result<f64> {
    let before = server.cpu()?;
    std::thread::sleep(time);
    Ok(server.cpu()?.since(before).used_ns as f64 / 1e6)
}

/// Opens connections that have each been served once: an unused one may not have been accepted.
fn hold(server: &Server, connections: u32) -> Result<Vec<OwnedFd>> {
    let mut held = Vec::new();
    for i in 0..connections {
        let fd = server.target.connect()?;
        let served = first_reply(&fd, clock::now_ns() + REPLY_NS);
        served
            .then_some(())
            .with_context(|| format!("{} did not serve connection {}", server.name, i + 1))?;
        held.push(fd);
    }
    Ok(held)
}

fn markdown(costs: &[Cost]) -> String {
    let mut table = Table::new([
        "server",
        "first PONG ms",
        "resident KiB",
        "connections",
        "KiB per connection",
        "CPU ms idle",
        "CPU ms with connections",
    ]);
    for c in costs {
        table.row(vec![
            c.server.clone(),
            c.first_pong_ms.ratio(),
            c.resident_kib.to_string(),
            c.connections.to_string(),
            format!("{:.2}", c.kib_per_connection),
            format!("{:.2}", c.cpu_ms_idle),
            format!("{:.2}", c.cpu_ms_with_connections),
        ]);
    }
    let seconds = costs.first().map_or(0.0, |c| c.watched_seconds);
    format!("### Idle cost (CPU over {seconds} s)\n\n{}", table.markdown())
}
