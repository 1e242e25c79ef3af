//! What happens on a server second by second: latencies by when requests were due, and what
//! /proc says about the process.

use std::rc::Rc;

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::clock::now_ns;
use crate::open::Observer;
use crate::proc::{self, Cpu};
use crate::tide::Tide;

/// Latencies above this are recorded as this.
const LATENCY_MAX_NS: u64 = 600_000_000_000;
/// 1 % of resolution: a run has hundreds of windows.
const DIGITS: u8 = 2;

/// The server's process at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    pub resident_kib: u64,
    pub keys: u64,
    cpu: Cpu,
}

/// A stretch of time.
pub struct Window {
    pub latency: Histogram<u64>,
    pub own_lag_ns: u64,
    /// The phase that was on at the end.
    pub phase: usize,
    pub sample: Sample,
    /// CPU time of the server in this window.
    pub cpu: Cpu,
}

/// Follows one stream of a run and one process.
pub struct Recorder {
    pid: u32,
    tide: Rc<Tide>,
    stream: usize,
    began: u64,
    window_ns: u64,
    pub phase: usize,
    pub windows: Vec<Window>,
    /// Windows before this one are complete.
    closed: usize,
    last: Sample,
}

impl Recorder {
    pub fn new(pid: u32, tide: Rc<Tide>, stream: usize, window_ns: u64) -> Result<Self> {
        let mut recorder = Recorder {
            pid,
            tide,
            stream,
            began: now_ns(),
            window_ns,
            phase: 0,
            windows: Vec::new(),
            closed: 0,
            last: Sample::default(),
        };
        recorder.last = recorder.sample()?;
        Ok(recorder)
    }

    fn sample(&self) -> Result<Sample> {
        Ok(Sample {
            resident_kib: proc::resident_kib_roughly(self.pid)?,
            keys: self.tide.there(),
            cpu: proc::cpu(self.pid)?,
        })
    }

    fn window(&mut self, at: u64) -> Option<&mut Window> {
        let index = (at.saturating_sub(self.began) / self.window_ns) as usize;
        while self.windows.len() <= index {
            self.windows.push(Window {
                latency: Histogram::new_with_bounds(1, LATENCY_MAX_NS, DIGITS).ok()?,
                own_lag_ns: 0,
                phase: self.phase,
                sample: Sample::default(),
                cpu: Cpu::default(),
            });
        }
        self.windows.get_mut(index)
    }

    /// Drops the window that the end of the run cut short, if there are others.
    pub fn finish(mut self) -> Vec<Window> {
        self.windows.truncate(self.closed.max(1));
        self.windows
    }
}

impl Observer for Recorder {
    fn reply(&mut self, stream: usize, due: u64, latency: u64) {
        if stream == self.stream
            && let Some(window) = self.window(due)
        {
            window.latency.saturating_record(latency.max(1));
        }
    }

    fn unsent(&mut self, stream: usize, due: u64, waited: u64, n: u64) {
        if stream == self.stream
            && let Some(window) = self.window(due)
        {
            window.latency.saturating_record_n(waited.max(1), n);
        }
    }

    fn lag(&mut self, stream: usize, due: u64, lag: u64) {
        if stream == self.stream
            && let Some(window) = self.window(due)
        {
            window.own_lag_ns = window.own_lag_ns.max(lag);
        }
    }

    fn tick(&mut self, now: u64) -> Result<()> {
        let past = (now.saturating_sub(self.began) / self.window_ns) as usize;
        if past <= self.closed {
            return Ok(());
        }
        let (sample, before) = (self.sample()?, self.last);
        let used = sample.cpu.since(before.cpu);
        let windows = (past - self.closed) as u64;
        let (phase, closed) = (self.phase, self.closed);
        self.window(now);
        for window in &mut self.windows[closed..past] {
            window.sample = sample;
            window.phase = phase;
            window.cpu = Cpu { used_ns: used.used_ns / windows, waited_ns: used.waited_ns / windows };
        }
        (self.closed, self.last) = (past, sample);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_filled_by_when_requests_were_due() {
        let tide = Rc::new(Tide::new(10, 0.5));
        let mut r = Recorder::new(std::process::id(), tide, 1, 1_000).unwrap();
        let start = r.began;
        r.reply(1, start + 2_500, 50_000);
        r.reply(0, start + 100, 7);
        r.unsent(1, start + 100, 9_000, 3);
        r.lag(1, start + 2_999, 5);
        r.phase = 2;
        r.tick(start + 4_100).unwrap();
        let windows = r.finish();
        assert_eq!(windows.iter().map(|w| w.latency.len()).collect::<Vec<_>>(), [3, 0, 1, 0]);
        assert!(windows.iter().all(|w| w.phase == 2 && w.sample.resident_kib > 0));
        assert_eq!(windows[2].own_lag_ns, 5);
    }
}
