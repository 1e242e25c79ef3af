//! One server: finding its limit, and the replay itself.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::HitRatioArgs;
use super::trace::Trace;
use crate::client::{Client, Reply};
use crate::clock::now_ns;
use crate::server::Server;

/// Tries to find the limit that holds the wanted number of keys.
const TRIES: u32 = 8;
/// The number of keys that is held may differ by this share.
const NEAR: f64 = 0.01;
/// Evictions in the background have ended when the number of keys stays so long.
const SETTLE: Duration = Duration::from_millis(20);
const SETTLE_TRIES: u32 = 100;

/// What a replay found.
pub struct Done {
    pub hits: u64,
    pub refused: u64,
    pub keys_held: u64,
    pub requests_per_second: f64,
}

/// A connection and the frames that are sent on it.
pub struct Replay {
    client: Client,
    value: Vec<u8>,
    pipeline: usize,
    /// Mean time between requests.
    every_ns: Option<f64>,
    out: Vec<u8>,
    /// SETs that the server had no room for.
    refused: u64,
}

impl Replay {
    pub fn new(server: &Server, args: &HitRatioArgs) -> Result<Self> {
        let mut value = format!("${}\r\n", args.value_size).into_bytes();
        value.resize(value.len() + args.value_size, b'x');
        value.extend_from_slice(b"\r\n");
        Ok(Replay {
            client: Client::connect(&server.target)?,
            value,
            pipeline: args.pipeline as usize,
            every_ns: args.pace.map(|rate| 1e9 / rate),
            out: Vec::new(),
            refused: 0,
        })
    }

    fn push_key(&mut self, command: &str, key: u32, kind: char) {
        // All keys are equally long, so that all entries are.
        self.out.extend_from_slice(command.as_bytes());
        self.out.extend_from_slice(format!("$16\r\n{kind}:{key:014}\r\n").as_bytes());
    }

    fn push_set(&mut self, key: u32, kind: char) {
        self.push_key("*3\r\n$3\r\nSET\r\n", key, kind);
        let Replay { out, value, .. } = self;
        out.extend_from_slice(value);
    }

    fn flush(&mut self) -> Result<()> {
        self.client.send(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Takes the replies to so many SETs. A server may have no room for one: that key is not cached.
    fn stored(&mut self, sets: usize) -> Result<()> {
        for _ in 0..sets {
            match self.client.reply()? {
                Reply::Status(_) => {}
                Reply::Error(e) if e.starts_with("OOM") => self.refused += 1,
                other => bail!("SET gave {other:?}"),
            }
        }
        Ok(())
    }

    fn limit(&mut self, bytes: u64) -> Result<()> {
        self.client.call(&["CONFIG", "SET", "maxmemory", &bytes.to_string()])?;
        Ok(())
    }

    /// Writes keys that no trace has.
    fn fill(&mut self, from: u64, keys: u64) -> Result<()> {
        let mut left = keys;
        while left > 0 {
            // As many in flight as in the replay: the server counts the buffers of its clients too.
            let batch = left.min(self.pipeline as u64);
            for i in 0..batch {
                self.push_set((from + keys - left + i) as u32, 'f');
            }
            self.flush()?;
            self.stored(batch as usize)?;
            left -= batch;
        }
        Ok(())
    }

    /// The number of keys once it stays.
    fn keys_held(&mut self) -> Result<u64> {
        let mut before = -1;
        for _ in 0..SETTLE_TRIES {
            let keys = self.client.integer(&["DBSIZE"])?;
            if keys == before {
                break;
            }
            before = keys;
            std::thread::sleep(SETTLE);
        }
        Ok(before.max(0) as u64)
    }

    /// The limit with which the server holds `wanted` keys while it evicts.
    pub fn calibrate(&mut self, wanted: u64) -> Result<u64> {
        self.limit(0)?;
        let empty = self.client.info("memory", "used_memory")?;
        self.fill(0, wanted)?;
        let mut limit = self.client.info("memory", "used_memory")?;
        let each = (limit.saturating_sub(empty) as f64 / wanted as f64).max(1.0);
        let (mut from, mut best) = (wanted, (f64::INFINITY, limit));
        for _ in 0..TRIES {
            self.limit(limit)?;
            // Several times over, so that the server is evicting as it will be in the replay.
            self.fill(from, 2 * wanted)?;
            from += 2 * wanted;
            let held = self.keys_held()?;
            let off = (held as f64 - wanted as f64) / wanted as f64;
            if off.abs() < best.0 {
                best = (off.abs(), limit);
            }
            if off.abs() <= NEAR {
                break;
            }
            limit = limit.saturating_add_signed(((wanted as f64 - held as f64) * each) as i64).max(1);
        }
        ensure!(best.0 < 0.5, "no limit was found with which it holds {wanted} keys");
        self.limit(0)?;
        self.client.call(&["FLUSHALL"])?;
        Ok(best.1)
    }

    /// GET, and on a miss SET, for every request; starts with an empty server.
    pub fn run(&mut self, trace: &Trace, maxmemory: u64) -> Result<Done> {
        self.limit(maxmemory)?;
        self.refused = 0;
        let (start, mut hits, mut at) = (now_ns(), 0, 0);
        let mut missed = Vec::new();
        while at < trace.requests.len() {
            self.await_turn(start, at);
            // A batch ends before a key that is in it already: that request may hit what this one sets.
            let rest = &trace.requests[at..(at + self.pipeline).min(trace.requests.len())];
            let batch = (1..rest.len()).find(|&i| rest[..i].contains(&rest[i])).unwrap_or(rest.len());
            for &key in &rest[..batch] {
                self.push_key("*2\r\n$3\r\nGET\r\n", key, 'k');
            }
            self.flush()?;
            missed.clear();
            for &key in &rest[..batch] {
                match self.client.reply()? {
                    Reply::Text(_) => hits += 1,
                    Reply::Nil => missed.push(key),
                    other => bail!("GET gave {other:?}"),
                }
            }
            if !missed.is_empty() {
                for &key in &missed {
                    self.push_set(key, 'k');
                }
                self.flush()?;
                self.stored(missed.len())?;
            }
            at += batch;
        }
        let seconds = (now_ns() - start) as f64 / 1e9;
        Ok(Done {
            hits,
            refused: self.refused,
            keys_held: self.keys_held()?,
            requests_per_second: trace.requests.len() as f64 / seconds,
        })
    }

    fn await_turn(&self, start: u64, at: usize) {
        let Some(every_ns) = self.every_ns else { return };
        let due = start + (at as f64 * every_ns) as u64;
        if let Some(early) = due.checked_sub(now_ns()) {
            std::thread::sleep(Duration::from_nanos(early));
        }
    }
}
