//! Resident memory per element of collections, of few elements and of many.

use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use super::Bench;
use super::table::{Table, count};
use crate::clock::{now_ns, ns};
use crate::server::Server;
use crate::target::Target;

/// Elements of one collection.
const SIZES: [u64; 4] = [10, 100, 1_000, 100_000];
/// Elements of all collections of a measurement together.
const ELEMENTS: u64 = 1_000_000;
const ELEMENTS_QUICK: u64 = 300_000;
/// Elements in one command.
const PER_COMMAND: u64 = 100;
/// Commands that are sent before their replies are read.
const PIPELINE: usize = 32;
/// This part of them is there when the first reading is taken: so buffers and what a server is born with do not count as
/// elements. Nor do pages of code, which it may let go of and need again.
const FIRST: u64 = 5;
/// Before a reading the server is left alone until its memory has not changed for so long, as what is kept counts, not
/// what was needed on the way; but no longer than the other.
const STEADY: Duration = Duration::from_secs(7);
const STEADY_MAX: Duration = Duration::from_secs(40);
/// Less than one in so many is no change.
const NO_CHANGE: u64 = 200;

/// What is measured: its name, and the command that adds elements.
const KINDS: [(&str, &str); 5] =
    [("hash", "HSET"), ("set", "SADD"), ("intset", "SADD"), ("zset", "ZADD"), ("list", "RPUSH")];

/// One server with one kind of collection of one size.
#[derive(Serialize)]
pub struct Cell {
    pub server: String,
    pub kind: &'static str,
    /// Elements of each collection.
    pub size: u64,
    /// (anonymous memory with all elements − with the first of them) / elements added in between.
    pub bytes_per_element: f64,
}

pub fn run(bench: &Bench<'_>) -> Result<Vec<Cell>> {
    let elements = if bench.quick { ELEMENTS_QUICK } else { ELEMENTS };
    let mut cells = Vec::new();
    for (kind, verb) in KINDS {
        for size in SIZES {
            for spec in &bench.servers {
                eprintln!("collections: {kind} of {size}: {}", spec.name);
                let mut server = Server::start(spec, bench.dir, &bench.server_cores, &[])?;
                let first = elements / FIRST;
                fill(&server.target, kind, verb, size, 0..first)?;
                let before = steady_kib(&server)?;
                fill(&server.target, kind, verb, size, first..elements)?;
                let kib = steady_kib(&server)?.saturating_sub(before);
                server.check_alive()?;
                let bytes_per_element = kib as f64 * 1024.0 / (elements - first) as f64;
                cells.push(Cell { server: spec.name.clone(), kind, size, bytes_per_element });
            }
        }
    }
    Ok(cells)
}

/// Resident memory, that of code apart, once it has come to rest.
fn steady_kib(server: &Server) -> Result<u64> {
    let end = now_ns() + ns(STEADY_MAX);
    let (mut last, mut since) = (server.anonymous_kib()?, now_ns());
    while now_ns() < end.min(since + ns(STEADY)) {
        std::thread::sleep(Duration::from_millis(200));
        let now = server.anonymous_kib()?;
        if now.abs_diff(last) > last / NO_CHANGE {
            (last, since) = (now, now_ns());
        }
    }
    server.anonymous_kib()
}

fn connect(target: &Target) -> Result<UnixStream> {
    let Target::Unix(path) = target else { bail!("a comparison's servers listen on unix sockets") };
    let stream = UnixStream::connect(path).with_context(|| format!("cannot connect to {target}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(stream)
}

/// Adds these elements, so many to a collection.
fn fill(target: &Target, kind: &str, verb: &str, size: u64, elements: Range<u64>) -> Result<()> {
    let mut stream = connect(target)?;
    let mut out = Vec::new();
    let mut waiting = 0;
    let Range { start: mut element, end } = elements;
    while element < end {
        let key = format!("{kind}:{:08}", element / size);
        let n = PER_COMMAND.min(size - element % size).min(end - element);
        let args: Vec<String> = (element..element + n).flat_map(|i| arguments(kind, i)).collect();
        command(&mut out, [verb, &key].into_iter().chain(args.iter().map(String::as_str)));
        waiting += 1;
        element += n;
        if waiting == PIPELINE || element >= end {
            stream.write_all(&out)?;
            out.clear();
            read_lines(&mut stream, waiting)?;
            waiting = 0;
        }
    }
    Ok(())
}

/// Element `i` as arguments: strings of 12 bytes, integers where the kind says so.
fn arguments(kind: &str, i: u64) -> Vec<String> {
    // A fixed permutation: neighbours should not come in order.
    let i = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 24;
    match kind {
        "hash" => vec![format!("f{i:011x}"), format!("v{i:011x}")],
        "zset" => vec![(i % 1_000_000).to_string(), format!("m{i:011x}")],
        "intset" => vec![i.to_string()],
        _ => vec![format!("e{i:011x}")],
    }
}

fn command<'a>(out: &mut Vec<u8>, args: impl Iterator<Item = &'a str> + Clone) {
    out.extend(format!("*{}\r\n", args.clone().count()).into_bytes());
    for arg in args {
        out.extend(format!("${}\r\n{arg}\r\n", arg.len()).into_bytes());
    }
}

/// Reads so many integer replies.
fn read_lines(stream: &mut UnixStream, mut lines: usize) -> Result<()> {
    let mut buffer = [0; 4096];
    while lines > 0 {
        let n = stream.read(&mut buffer)?;
        ensure!(n > 0, "the server closed the connection");
        let text = &buffer[..n];
        ensure!(!text.contains(&b'-'), "the server answers {}", String::from_utf8_lossy(text));
        lines = lines.saturating_sub(text.iter().filter(|b| **b == b'\n').count());
    }
    Ok(())
}

pub fn markdown(bench: &Bench<'_>, cells: &[Cell]) -> String {
    let names: Vec<&str> = bench.servers.iter().map(|s| s.name.as_str()).collect();
    let mut head = vec!["collection".to_owned(), "elements".to_owned()];
    head.extend(names.iter().map(|name| format!("{name} B/element")));
    head.extend(names[1..].iter().map(|name| format!("{}/{name}", names[0])));
    let mut table = Table::new(head);
    for of_size in cells.chunks(names.len().max(1)) {
        let mut row = vec![of_size[0].kind.to_owned(), count(of_size[0].size)];
        row.extend(of_size.iter().map(|c| format!("{:.1}", c.bytes_per_element)));
        let first = of_size[0].bytes_per_element;
        row.extend(of_size[1..].iter().map(|c| format!("{:.2}", first / c.bytes_per_element)));
        table.row(row);
    }
    format!(
        "### Memory per element\n\nResident bytes, those of code apart, for each element added to a fifth of them, at rest. Hashes: 12-byte fields and values; sets, \
         sorted sets and lists: 12-byte elements; intset: integers.\n\n{}",
        table.markdown()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_differ_and_are_as_long_as_said() {
        let mut seen = std::collections::HashSet::new();
        for i in 0..10_000 {
            let args = arguments("hash", i);
            assert!(args.iter().all(|a| a.len() == 12));
            assert!(seen.insert(args));
        }
        let mut out = Vec::new();
        command(&mut out, ["SADD", "k", "ab"].into_iter());
        assert_eq!(out, b"*3\r\n$4\r\nSADD\r\n$1\r\nk\r\n$2\r\nab\r\n");
    }
}
