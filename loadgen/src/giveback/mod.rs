//! `loadgen giveback`: how much memory a server still holds when a random 95 % of its keys are
//! gone, beside a fresh process of the same server with the keys that are left.

pub mod data;

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::bed::{Bed, BedArgs};
use crate::cli::{count, duration};
use crate::client::Client;
use crate::clock::{now_ns, wall};
use crate::compare::{self, Table};
use crate::report;
use crate::server::{Server, ServerSpec};
use data::Shape;

/// A server may take this long to drop what is expired or evicted.
const PATIENCE_NS: u64 = 120_000_000_000;
/// Keys made per second at least, to guess a time by which all are there.
const LOAD_RATE: u64 = 40_000;

#[derive(Args)]
pub struct GivebackArgs {
    #[command(flatten)]
    pub bed: BedArgs,
    /// Numbers of keys, for strings; of collections there are less
    #[arg(long, value_delimiter = ',', default_values = ["100k", "1M"], value_parser = count)]
    pub keys: Vec<u64>,
    /// Number of keys for everything but strings of mixed sizes (a half of it, less for large values)
    #[arg(long, default_value = "100k", value_parser = count)]
    pub collection_keys: u64,
    /// What the keys hold [default: everything]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub shapes: Vec<Shape>,
    /// How strings go (collections are deleted, unless one is named) [default: all four]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub ways: Vec<Way>,
    /// How long the servers get before memory is read
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub wait: Duration,
    /// Send MEMORY PURGE before
    #[arg(long)]
    pub purge: bool,
}

/// How the keys go.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// DEL, one by one
    Deleted,
    /// All at one moment
    Expired,
    /// By maxmemory and volatile-random
    Evicted,
    /// FLUSHDB, the survivors are in another database
    Flushed,
}

/// One server in one row of the table.
#[derive(Serialize)]
struct Cell {
    server: String,
    shape: Shape,
    way: Way,
    keys: u64,
    full_kib: u64,
    left_kib: u64,
    fresh_kib: u64,
    /// Left, by fresh.
    ratio: f64,
}

fn usual() -> Result<Vec<ServerSpec>> {
    compare::default_servers()
}

pub fn run(args: &GivebackArgs) -> Result<()> {
    let bed = Bed::new(&args.bed, usual, 4)?;
    let mut cells = Vec::new();
    for (shape, way, keys) in rows(args) {
        for spec in &bed.servers {
            eprintln!("giveback: {} {} {}: {}", compare::count(keys), shape.text(), name(way), spec.name);
            cells.push(measure(&bed, spec, args, (shape, way, keys))?);
        }
    }
    args.bed.show(&markdown(&bed, args, &cells));
    match &args.bed.json {
        Some(path) => report::write_json(path, &cells),
        None => Ok(()),
    }
}

/// The rows: strings in every number and way, the others in one.
fn rows(args: &GivebackArgs) -> Vec<(Shape, Way, u64)> {
    let all = Shape::value_variants();
    let shapes = if args.shapes.is_empty() { all } else { &args.shapes };
    let ways = if args.ways.is_empty() { Way::value_variants() } else { &args.ways };
    let mut rows = Vec::new();
    for &shape in shapes {
        if shape == Shape::Strings {
            rows.extend(args.keys.iter().flat_map(|&n| ways.iter().map(move |&way| (shape, way, n))));
        } else {
            let ways = if args.ways.is_empty() { &[Way::Deleted] } else { ways };
            let keys = shape.scale(args.collection_keys).max(1);
            rows.extend(ways.iter().map(|&way| (shape, way, keys)));
        }
    }
    rows
}

fn measure(
    bed: &Bed,
    spec: &ServerSpec,
    args: &GivebackArgs,
    (shape, way, keys): (Shape, Way, u64),
) -> Result<Cell> {
    let (full_kib, left_kib) = {
        let mut server = bed.start(spec, &[])?;
        let full = fill_and_empty(&mut server, shape, way, keys)?;
        (full, settled(&mut server, args)?)
    };
    let fresh_kib = {
        let mut server = bed.start(spec, &[])?;
        let mut client = Client::connect(&server.target)?;
        if way == Way::Flushed {
            client.call(&["SELECT", "1"])?;
        }
        client.send_all((0..keys).filter(|&n| data::stays(n)), |n, out| shape.make(n, &[], out))?;
        drop(client);
        settled(&mut server, args)?
    };
    let ratio = left_kib as f64 / fresh_kib.max(1) as f64;
    Ok(Cell { server: spec.name.clone(), shape, way, keys, full_kib, left_kib, fresh_kib, ratio })
}

/// Makes all keys and has those go that do not stay; gives the memory in between.
fn fill_and_empty(server: &mut Server, shape: Shape, way: Way, keys: u64) -> Result<u64> {
    let mut client = Client::connect(&server.target)?;
    let leaving = || (0..keys).filter(|&n| !data::stays(n));
    let staying = keys - leaving().count() as u64;
    // Strings are written with their time; a collection gets it when it is there.
    let due = unix_ms() + 5000 + keys * (10 + shape.elements()) * 100 / LOAD_RATE;
    let due_text = due.to_string();
    let with_time: &[&str] =
        if shape == Shape::Strings || shape == Shape::LargeStrings { &["PXAT", &due_text] } else { &[] };
    match way {
        Way::Flushed => {
            client.call(&["SELECT", "1"])?;
            client.send_all((0..keys).filter(|&n| data::stays(n)), |n, out| shape.make(n, &[], out))?;
            client.call(&["SELECT", "0"])?;
            client.send_all(leaving(), |n, out| shape.make(n, &[], out))?;
        }
        Way::Expired | Way::Evicted => {
            let far = (due + 86_400_000).to_string();
            let at = if way == Way::Expired { &due_text } else { &far };
            let with_time: Vec<&str> =
                with_time.iter().map(|w| if *w == due_text { at } else { *w }).collect();
            client.send_all(0..keys, |n, out| {
                let goes = !data::stays(n);
                let made = shape.make(n, if goes { &with_time } else { &[] }, out);
                let timed = goes && with_time.is_empty();
                made + if timed { data::command(&["PEXPIREAT", &data::name(n), at], out) } else { 0 }
            })?;
            if way == Way::Expired {
                ensure!(unix_ms() < due, "loading took longer than the keys live: {due_text}");
            }
        }
        Way::Deleted => client.send_all(0..keys, |n, out| shape.make(n, &[], out))?,
    }
    let full_kib = server.resident_kib()?;
    match way {
        Way::Deleted => client.send_all(leaving(), |n, out| data::command(&["DEL", &data::name(n)], out))?,
        Way::Flushed => {
            client.call(&["FLUSHDB"])?;
            client.call(&["SELECT", "1"])?;
        }
        Way::Expired => {}
        Way::Evicted => {
            client.call(&["CONFIG", "SET", "maxmemory-policy", "volatile-random"])?;
            client.call(&["CONFIG", "SET", "maxmemory", "1"])?;
        }
    }
    let deadline = now_ns() + PATIENCE_NS + due.saturating_sub(unix_ms()) * 1_000_000;
    loop {
        let left = client.integer(&["DBSIZE"])?;
        if left == i64::try_from(staying)? {
            break;
        }
        ensure!(now_ns() < deadline, "{} still has {left} keys, not {staying}", server.name);
        if way == Way::Evicted {
            // A write, though of nothing, has the server evict; it is refused as long as that is not enough.
            let mut request = Vec::new();
            data::command(&["SETRANGE", "none", "0", ""], &mut request);
            client.send(&request)?;
            client.reply()?;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    if way == Way::Evicted {
        client.call(&["CONFIG", "SET", "maxmemory", "0"])?;
    }
    server.check_alive()?;
    Ok(full_kib)
}

fn settled(server: &mut Server, args: &GivebackArgs) -> Result<u64> {
    if args.purge {
        Client::connect(&server.target)?.call(&["MEMORY", "PURGE"])?;
    }
    std::thread::sleep(args.wait);
    server.check_alive()?;
    server.resident_kib()
}

fn unix_ms() -> u64 {
    let now = wall().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

fn name(way: Way) -> &'static str {
    match way {
        Way::Deleted => "deleted",
        Way::Expired => "expired",
        Way::Evicted => "evicted",
        Way::Flushed => "flushed",
    }
}

fn markdown(bed: &Bed, args: &GivebackArgs, cells: &[Cell]) -> String {
    let mut head = vec!["keys".to_owned(), "how they went".to_owned()];
    for spec in &bed.servers {
        head.extend(["full", "left", "fresh"].map(|what| format!("{} {what} MiB", spec.name)));
        head.push(format!("{} left / fresh", spec.name));
    }
    let mut table = Table::new(head);
    for row in cells.chunks(bed.servers.len()) {
        let first = &row[0];
        let mut line = vec![
            format!("{} {}", compare::count(first.keys), first.shape.text()),
            name(first.way).to_owned(),
        ];
        for cell in row {
            let kib = [cell.full_kib, cell.left_kib, cell.fresh_kib];
            line.extend(kib.map(|kib| format!("{:.1}", kib as f64 / 1024.0)));
            line.push(format!("{:.2}", cell.ratio));
        }
        table.row(line);
    }
    let purge = if args.purge { " and MEMORY PURGE" } else { "" };
    format!(
        "### Giving memory back\n\nResident memory {} s{purge} after a random 95 % of the keys went, and of a fresh \
         process with those that are left.\n\n{}",
        args.wait.as_secs_f64(),
        table.markdown()
    )
}
