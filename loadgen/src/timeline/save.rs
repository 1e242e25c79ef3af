//! A snapshot while the load goes on: asked for on a connection of its own, and followed until it is written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use serde::Serialize;

use super::record::Recorder;
use crate::client::Client;
use crate::clock::now_ns;
use crate::open::Observer;
use crate::server::Server;

/// How often the server is asked whether it is done.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// Longest snapshot.
pub const LONGEST: Duration = Duration::from_secs(600);

/// What writes the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    Bgsave,
    Save,
    Bgrewriteaof,
}

impl How {
    fn command(self) -> &'static str {
        match self {
            How::Bgsave => "BGSAVE",
            How::Save => "SAVE",
            How::Bgrewriteaof => "BGREWRITEAOF",
        }
    }

    /// Fields of INFO that are 0 when it is over, and the one that says how it went.
    fn fields(self) -> (&'static [&'static str], &'static str) {
        match self {
            How::Bgsave | How::Save => (&["rdb_bgsave_in_progress"], "rdb_last_bgsave_status"),
            How::Bgrewriteaof => {
                (&["aof_rewrite_in_progress", "aof_rewrite_scheduled"], "aof_last_bgrewrite_status")
            }
        }
    }
}

/// A snapshot that was written.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Saved {
    pub seconds: f64,
    pub file_bytes: u64,
    /// Memory that was copied because it changed meanwhile, if the server says so.
    pub copied_bytes: Option<u64>,
}

/// The server wrote none.
#[derive(Debug)]
pub struct NotSaved(String);

impl std::fmt::Display for NotSaved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotSaved {}

/// A snapshot under way.
pub struct Saver {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Result<Saved>>,
}

impl Saver {
    /// Asks for it.
    pub fn start(server: &Server, dir: PathBuf, how: How) -> Result<Saver> {
        let mut client = Client::connect(&server.target)?;
        let over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let result = save(&mut client, &dir, how);
            flag.store(true, Ordering::Release);
            result
        });
        Ok(Saver { over, thread })
    }

    /// An observer that ends the run with the snapshot.
    pub fn watch<'a>(&'a self, recorder: &'a mut Recorder) -> Watch<'a> {
        Watch { recorder, over: &self.over }
    }

    /// Waits for it.
    pub fn finish(self) -> Result<Saved> {
        let result =
            self.thread.join().map_err(|_| anyhow::anyhow!("the thread of the snapshot panicked"))?;
        result.map_err(|e| NotSaved(format!("{e:#}")).into())
    }
}

fn save(client: &mut Client, dir: &Path, how: How) -> Result<Saved> {
    let began = now_ns();
    client.call(&[how.command()])?;
    let (busy, status) = how.fields();
    loop {
        let mut waiting = 0;
        for field in busy {
            waiting += client.info("persistence", field)?;
        }
        if waiting == 0 {
            break;
        }
        ensure!(now_ns() - began < LONGEST.as_nanos() as u64, "{} takes too long", how.command());
        std::thread::sleep(ASK_EVERY);
    }
    let seconds = (now_ns() - began) as f64 / 1e9;
    let went = client.info_text("persistence", status)?;
    ensure!(went == "ok", "{} ended with {status}:{went}", how.command());
    let copied = match how {
        How::Bgsave => Some("rdb_last_cow_size"),
        How::Bgrewriteaof => Some("aof_last_cow_size"),
        How::Save => None,
    };
    let copied_bytes = copied.and_then(|field| client.info("persistence", field).ok());
    Ok(Saved { seconds, file_bytes: bytes_below(dir)?, copied_bytes })
}

/// Bytes of the files of a snapshot.
fn bytes_below(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sum += bytes_below(&entry.path())?;
        } else if kind.is_file() && entry.path().extension().is_none_or(|e| e != "log") {
            sum += entry.metadata()?.len();
        }
    }
    Ok(sum)
}

/// A recorder that is done when the snapshot is.
pub struct Watch<'a> {
    recorder: &'a mut Recorder,
    over: &'a AtomicBool,
}

impl Observer for Watch<'_> {
    fn reply(&mut self, stream: usize, due: u64, latency: u64) {
        self.recorder.reply(stream, due, latency);
    }

    fn unsent(&mut self, stream: usize, due: u64, waited: u64, n: u64) {
        self.recorder.unsent(stream, due, waited, n);
    }

    fn lag(&mut self, stream: usize, due: u64, lag: u64) {
        self.recorder.lag(stream, due, lag);
    }

    fn tick(&mut self, now: u64) -> Result<()> {
        self.recorder.tick(now)
    }

    fn done(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}
