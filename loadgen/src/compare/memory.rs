//! Resident memory per key while a server is filled.

use anyhow::Result;
use serde::Serialize;

use super::cpu::check;
use super::table::{Table, count};
use super::{Bench, KEY_SIZE, counts};
use crate::cli::CompareArgs;
use crate::closed;
use crate::keys::Picker;
use crate::reply::Scanner;
use crate::request::{Generator, Kind, Mix};
use crate::server::Server;
use crate::worker::{Limit, Worker};

const LOAD_PIPELINE: u64 = 64;
/// Connections while loading, few: their buffers should not count.
const LOAD_CLIENTS: usize = 4;
/// After loading, the server gets this long to settle (free lists, a migration's end).
const SETTLE_MS: u64 = 1500;

/// One server at one number of keys.
#[derive(Serialize)]
pub struct Point {
    pub server: String,
    pub keys: u64,
    pub resident_kib: u64,
    /// (resident − resident when empty) / keys
    pub bytes_per_key: f64,
    /// The same without the key and the value themselves.
    pub overhead: f64,
}

pub fn run(bench: &Bench<'_>, args: &CompareArgs) -> Result<Vec<Point>> {
    let usual = [1_000_000, 1_500_000, 2_000_000, 3_000_000, 4_000_000];
    let quick = [500_000, 1_000_000];
    let counts = counts(&args.memory_keys, &usual, &quick, bench.quick);
    let mut points = Vec::new();
    for spec in &bench.servers {
        eprintln!("memory: {}", spec.name);
        let mut server = Server::start(spec, bench.dir, &bench.server_cores, &[])?;
        let most = counts.last().copied().unwrap_or(1);
        let live = std::rc::Rc::new(std::cell::Cell::new(0));
        let mut requests =
            Generator::new(&Mix::only(Kind::Set), Picker::Append, &bench.shape(most), live.clone(), 1);
        let mut worker = Worker::connect(&server.target, LOAD_CLIENTS, Scanner::new(&bench.values(), false))?;
        std::thread::sleep(std::time::Duration::from_millis(SETTLE_MS));
        let empty_kib = server.resident_kib()?;
        for &keys in &counts {
            let limit = Limit { requests: keys - live.get(), deadline_ns: u64::MAX };
            let tally = closed::run(&mut worker, &mut requests, LOAD_PIPELINE, limit);
            server.check_alive()?;
            check(&spec.name, &tally?)?;
            std::thread::sleep(std::time::Duration::from_millis(SETTLE_MS));
            let resident_kib = server.resident_kib()?;
            let bytes_per_key = resident_kib.saturating_sub(empty_kib) as f64 * 1024.0 / keys as f64;
            let overhead = bytes_per_key - (KEY_SIZE + bench.value_size) as f64;
            points.push(Point { server: spec.name.clone(), keys, resident_kib, bytes_per_key, overhead });
        }
    }
    Ok(points)
}

pub fn markdown(bench: &Bench<'_>, points: &[Point]) -> String {
    let names: Vec<&str> = bench.servers.iter().map(|s| s.name.as_str()).collect();
    let mut head = vec!["keys".to_owned()];
    for name in &names {
        head.extend([format!("{name} MiB"), format!("{name} B/key"), format!("{name} overhead")]);
    }
    for name in &names[1..] {
        head.extend([format!("{}/{name}", names[0]), format!("overhead {}/{name}", names[0])]);
    }
    let mut table = Table::new(head);
    let mut keys: Vec<u64> = points.iter().map(|p| p.keys).collect();
    keys.sort_unstable();
    keys.dedup();
    for &n in &keys {
        let at: Vec<&Point> = points.iter().filter(|p| p.keys == n).collect();
        let mut row = vec![count(n)];
        for p in &at {
            let mib = p.resident_kib as f64 / 1024.0;
            row.extend([
                format!("{mib:.1}"),
                format!("{:.1}", p.bytes_per_key),
                format!("{:.1}", p.overhead),
            ]);
        }
        for p in &at[1..] {
            let ratios = [at[0].bytes_per_key / p.bytes_per_key, at[0].overhead / p.overhead];
            row.extend(ratios.map(|r| format!("{r:.2}")));
        }
        table.row(row);
    }
    format!(
        "### Memory per key\n\nResident bytes beyond the empty server, {KEY_SIZE}-byte keys, {}-byte values; \
         overhead is what key and value do not explain.\n\n{}",
        bench.value_size,
        table.markdown()
    )
}
