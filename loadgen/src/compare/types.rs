//! CPU time per request for commands of every type, row by row of a file (`crate::rows`).

use anyhow::{Context, Result};
use serde::Serialize;

use super::Bench;
use super::cpu::{PIPELINES, Sample, check, measure};
use super::table::{Spread, Table, us};
use crate::cli::CompareArgs;
use crate::closed;
use crate::reply::Scanner;
use crate::request::Generator;
use crate::rows::{self, Row};
use crate::server::Server;
use crate::stats;
use crate::worker::{Limit, Worker};

const LOAD_PIPELINE: u64 = 64;

/// One line of the table: for each server a sample per round.
#[derive(Serialize)]
pub struct Cell {
    pub row: String,
    pub pipeline: u64,
    pub samples: Vec<(String, Vec<Sample>)>,
}

pub fn run(bench: &Bench<'_>, args: &CompareArgs) -> Result<Vec<Cell>> {
    let text = match &args.rows {
        None => rows::USUAL.to_owned(),
        Some(path) => {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
        }
    };
    let rounds = args.rounds.unwrap_or(if bench.quick { 3 } else { 5 });
    let mut cells = Vec::new();
    for row in rows::parse(&text)? {
        // Fresh servers for each row: none works among what another left.
        let servers = bench
            .servers
            .iter()
            .map(|spec| Server::start(spec, bench.dir, &bench.server_cores, &[]))
            .collect::<Result<Vec<_>>>()?;
        for server in &servers {
            load(server, &row, bench)?;
        }
        for pipeline in PIPELINES {
            eprintln!("types: {}, pipeline {pipeline}", row.name);
            cells.push(cell(bench, servers.iter(), &row, pipeline, rounds)?);
        }
    }
    Ok(cells)
}

fn load(server: &Server, row: &Row, bench: &Bench<'_>) -> Result<()> {
    for (times, command) in &row.load {
        let mut worker = Worker::connect(&server.target, 1, Scanner::new(&bench.values(), false))?;
        let mut requests = Generator::of_row(vec![command.clone()], 1);
        let limit = Limit { requests: *times, deadline_ns: u64::MAX };
        check(&server.name, &closed::run(&mut worker, &mut requests, LOAD_PIPELINE, limit)?)?;
    }
    Ok(())
}

fn cell<'s>(
    bench: &Bench<'_>,
    servers: impl Iterator<Item = &'s Server> + Clone,
    row: &Row,
    pipeline: u64,
    rounds: u32,
) -> Result<Cell> {
    let mut samples: Vec<(String, Vec<Sample>)> =
        servers.clone().map(|s| (s.name.clone(), Vec::new())).collect();
    for round in 0..rounds {
        for (server, (_, out)) in servers.clone().zip(&mut samples) {
            let requests = Generator::of_row(row.send.clone(), u64::from(round) + 2);
            let sample = measure(bench, server, requests, pipeline);
            out.push(sample.with_context(|| format!("measuring {} with {}", server.name, row.name))?);
        }
    }
    Ok(Cell { row: row.name.clone(), pipeline, samples })
}

pub fn markdown(bench: &Bench<'_>, cells: &[Cell]) -> String {
    let names: Vec<&str> = bench.servers.iter().map(|s| s.name.as_str()).collect();
    let mut head = vec!["commands".to_owned(), "P".to_owned()];
    head.extend(names.iter().map(|n| (*n).to_owned()));
    head.extend(names[1..].iter().map(|n| format!("{}/{n}", names[0])));
    head.extend(names.iter().map(|n| format!("{n} k/s")));
    head.push("noise".to_owned());
    let mut table = Table::new(head);
    for cell in cells {
        let of = |i: usize, f: fn(&Sample) -> f64| Spread::of(cell.samples[i].1.iter().map(f));
        let mut line = vec![cell.row.clone(), cell.pipeline.to_string()];
        line.extend((0..names.len()).map(|i| us(of(i, |s| s.cpu_us).median)));
        line.extend((1..names.len()).map(|i| {
            let pairs = cell.samples[0].1.iter().zip(&cell.samples[i].1);
            stats::ratio_of_pairs(pairs.map(|(a, b)| (a.cpu_us, b.cpu_us))).text()
        }));
        line.extend(
            (0..names.len()).map(|i| format!("{:.0}", of(i, |s| s.requests_per_second).median / 1e3)),
        );
        let noise = cell.samples.iter().flat_map(|s| &s.1).map(|s| s.noise).fold(0.0, f64::max);
        line.push(format!("{:.0} %", noise * 100.0));
        table.row(line);
    }
    let rounds = cells.first().map_or(0, |c| c.samples[0].1.len());
    format!(
        "### CPU µs per request, by type\n\nUnix socket, {} connections, one core per side; median of {rounds} \
         alternating rounds; ratios are geometric means of neighbours with 95 % t intervals. The commands are those of `loadgen/types.rows`.\n\n{}",
        bench.clients,
        table.markdown()
    )
}
