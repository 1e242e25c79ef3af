//! `loadgen churn`: bytes beyond key and value after values were overwritten with other sizes, after keys came and expired,
//! and after all sizes have shifted; and how much a server has copied for that.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::bed::{Bed, BedArgs};
use crate::cli::{count, duration};
use crate::client::Client;
use crate::clock::now_ns;
use crate::compare::{self, Table};
use crate::giveback::data::{command, name};
use crate::keys::Rng;
use crate::report;
use crate::server::{Server, ServerSpec};

/// Bytes of a key.
const KEY_SIZE: u64 = 16;
/// Bytes of values, from and to, at first and after the shift.
const SIZES: (u64, u64) = (32, 96);
const SHIFTED: (u64, u64) = (96, 160);
/// How often each key is overwritten, on average.
const OVERWRITES: u64 = 3;
/// Generations of keys that come and expire, each a quarter of all.
const GENERATIONS: u64 = 4;
/// How long such a key lives at most, in milliseconds.
const LIFE_MAX_MS: u64 = 4_000;
/// A server may take this long to drop what has expired.
const PATIENCE_NS: u64 = 120_000_000_000;
/// Keys that come and go before the first reading, so that code and buffers are there.
const WARM_UP: u64 = 5_000;
/// A server may give the pages of its start back in its first seconds.
const START: Duration = Duration::from_secs(3);
const SETTLE: Duration = Duration::from_millis(1_200);

#[derive(Args)]
pub struct ChurnArgs {
    #[command(flatten)]
    pub bed: BedArgs,
    /// Number of keys
    #[arg(long, default_value = "1M", value_parser = count)]
    pub keys: u64,
    /// How long the servers get after each step before memory is read
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub quiet_for: Duration,
}

/// What is done to the keys, one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Step {
    Loaded,
    Overwritten,
    Expired,
    Shifted,
}

impl Step {
    const ALL: [Step; 4] = [Step::Loaded, Step::Overwritten, Step::Expired, Step::Shifted];

    fn text(self) -> &'static str {
        match self {
            Step::Loaded => "loaded, values of 32 to 96 bytes",
            Step::Overwritten => "each overwritten three times with other sizes",
            Step::Expired => "four times a quarter more came and expired",
            Step::Shifted => "each overwritten with 96 to 160 bytes",
        }
    }
}

/// One server after one step.
#[derive(Serialize)]
struct Cell {
    server: String,
    step: Step,
    resident_kib: u64,
    /// (resident − resident when empty) / keys − key and value.
    overhead: f64,
    /// Bytes copied by compaction for each byte that was stored, if the server says so.
    amplification: Option<f64>,
}

fn usual() -> Result<Vec<ServerSpec>> {
    compare::default_servers()
}

pub fn run(args: &ChurnArgs) -> Result<()> {
    let bed = Bed::new(&args.bed, usual, 4)?;
    let mut cells = Vec::new();
    for spec in &bed.servers {
        let mut server = bed.start(spec, &[])?;
        cells.extend(Churn::new(&mut server, args.keys)?.all(&mut server, args.quiet_for)?);
    }
    args.bed.show(&markdown(&bed, args, &cells));
    match &args.bed.json {
        Some(path) => report::write_json(path, &cells),
        None => Ok(()),
    }
}

/// A server that is being churned.
struct Churn {
    client: Client,
    rng: Rng,
    empty_kib: u64,
    /// Size of the value of each key.
    sizes: Vec<u16>,
    /// Bytes of keys and values stored in this step.
    stored: u64,
}

impl Churn {
    fn new(server: &mut Server, keys: u64) -> Result<Churn> {
        std::thread::sleep(START);
        let mut client = Client::connect(&server.target)?;
        let value = vec![b'x'; SIZES.1 as usize];
        client
            .send_all(0..WARM_UP, |n, out| command(&[b"SET".as_slice(), name(n).as_bytes(), &value], out))?;
        client.call(&["FLUSHALL"])?;
        std::thread::sleep(SETTLE);
        let empty_kib = server.resident_kib()?;
        let sizes = vec![0; usize::try_from(keys)?];
        Ok(Churn { client, rng: Rng::new(keys), empty_kib, sizes, stored: 0 })
    }

    fn all(mut self, server: &mut Server, quiet: Duration) -> Result<Vec<Cell>> {
        let keys = self.sizes.len() as u64;
        let mut cells = Vec::new();
        for step in Step::ALL {
            eprintln!("churn: {}: {}", server.name, step.text());
            let before = self.copied();
            self.stored = 0;
            match step {
                Step::Loaded => self.overwrite(0..keys, SIZES)?,
                Step::Overwritten => {
                    let mut rng = self.rng.clone();
                    self.overwrite((0..keys * OVERWRITES).map(|_| rng.below(keys)), SIZES)?;
                }
                Step::Expired => self.come_and_expire(server)?,
                Step::Shifted => self.overwrite((0..keys).map(|n| shuffled(n, keys)), SHIFTED)?,
            }
            std::thread::sleep(quiet);
            server.check_alive()?;
            let resident_kib = server.resident_kib()?;
            let bytes = resident_kib.saturating_sub(self.empty_kib) as f64 * 1024.0;
            let net = keys * KEY_SIZE + self.sizes.iter().map(|&size| u64::from(size)).sum::<u64>();
            let overhead = (bytes - net as f64) / keys as f64;
            let copied = self.copied().zip(before).map(|(after, before)| after - before);
            let amplification = copied.map(|copied| copied as f64 / self.stored as f64);
            cells.push(Cell { server: server.name.clone(), step, resident_kib, overhead, amplification });
        }
        Ok(cells)
    }

    /// Bytes that compaction has copied so far.
    fn copied(&mut self) -> Option<u64> {
        self.client.info("engines", "engine_compacted_bytes").ok()
    }

    fn overwrite(&mut self, keys: impl Iterator<Item = u64>, (from, to): (u64, u64)) -> Result<()> {
        let Churn { client, rng, sizes, stored, .. } = self;
        let value = vec![b'x'; to as usize];
        client.send_all(keys, |n, out| {
            let size = from + rng.below(to - from + 1);
            sizes[n as usize] = size as u16;
            *stored += KEY_SIZE + size;
            command(&[b"SET".as_slice(), name(n).as_bytes(), &value[..size as usize]], out)
        })
    }

    fn come_and_expire(&mut self, server: &mut Server) -> Result<()> {
        let keys = self.sizes.len() as u64;
        let value = vec![b'x'; SIZES.1 as usize];
        for generation in 1..=GENERATIONS {
            let Churn { client, rng, stored, .. } = self;
            let names = (0..keys / GENERATIONS).map(|n| generation * keys + n);
            client.send_all(names, |n, out| {
                let size = SIZES.0 + rng.below(SIZES.1 - SIZES.0 + 1);
                *stored += KEY_SIZE + size;
                let life = (1 + rng.below(LIFE_MAX_MS)).to_string();
                let (name, value) = (name(n), &value[..size as usize]);
                command(&[b"SET".as_slice(), name.as_bytes(), value, b"PX", life.as_bytes()], out)
            })?;
            let deadline = now_ns() + PATIENCE_NS;
            while client.integer(&["DBSIZE"])? != i64::try_from(keys)? {
                ensure!(now_ns() < deadline, "{} still has expired keys", server.name);
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }
}

/// Each number below `keys` once, in another order: neighbours in time are not neighbours in memory.
fn shuffled(n: u64, keys: u64) -> u64 {
    // A step that shares no factor with the number of keys, about the golden section of it.
    let mut step = (keys as f64 * 0.618) as u64 | 1;
    while gcd(step, keys) != 1 {
        step += 2;
    }
    (u128::from(n) * u128::from(step) % u128::from(keys)) as u64
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn markdown(bed: &Bed, args: &ChurnArgs, cells: &[Cell]) -> String {
    let mut head = vec!["keys were".to_owned()];
    for spec in &bed.servers {
        head.extend(["MiB", "B/key beyond", "copied / stored"].map(|what| format!("{} {what}", spec.name)));
    }
    let mut table = Table::new(head);
    for step in Step::ALL {
        let mut line = vec![step.text().to_owned()];
        for cell in cells.iter().filter(|cell| cell.step == step) {
            line.push(format!("{:.1}", cell.resident_kib as f64 / 1024.0));
            line.push(format!("{:.1}", cell.overhead));
            line.push(cell.amplification.map_or_else(|| "–".to_owned(), |copied| format!("{copied:.3}")));
        }
        table.row(line);
    }
    format!(
        "### Churn\n\n{} keys of {KEY_SIZE} bytes; resident bytes beyond the empty server, key and value, {} s after each \
         step, and bytes that compaction copied for each byte stored in it.\n\n{}",
        compare::count(args.keys),
        args.quiet_for.as_secs_f64(),
        table.markdown()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_has_each_key_once() {
        for keys in [1, 2, 10, 618, 1_000] {
            let mut all: Vec<u64> = (0..keys).map(|n| shuffled(n, keys)).collect();
            all.sort_unstable();
            assert_eq!(all, (0..keys).collect::<Vec<_>>());
        }
    }
}
