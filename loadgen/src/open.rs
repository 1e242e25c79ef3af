//! The open loop: requests are due at times that the server has no influence on, and their
//! latency counts from then. A server that stalls therefore pays for every request that
//! became due meanwhile (no coordinated omission).
//!
//! Arrivals that find no free connection are not queued anywhere: the stream simply stays
//! behind its schedule, and the next free connection takes the oldest. Memory is bounded
//! however slow the server is.

use std::collections::VecDeque;

use anyhow::Result;

use crate::clock::now_ns;
use crate::reply::Pending;
use crate::request::Generator;
use crate::tally::Tally;
use crate::worker::{StallGuard, Wait, Worker};

/// Arrivals sent between two looks at the replies.
const BURST: usize = 32;
/// The last stretch before an arrival is polled, not slept: a wake-up late by a scheduler
/// tick would count as the server's latency.
const POLL_BELOW_NS: u64 = 1_500_000;
/// With a timer that wakes exactly, gaps above this are slept through.
const SPIN_NS: u64 = 5_000;
/// Unsent arrivals are entered in at most about this many steps.
const UNSENT_STEPS: u64 = 1_000_000;
/// After the end of the schedule, replies are awaited this long before the run is given up.
const DRAIN_NS: u64 = 30_000_000_000;

/// How arrivals are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    Poisson,
    Constant,
}

/// Who follows a run while it goes on. All of it is called on the thread that sends.
pub trait Observer {
    /// A request of this stream that was due at `due` was answered.
    fn reply(&mut self, _stream: usize, _due: u64, _latency: u64) {}
    /// `n` requests due at `due` were not even sent when the run ended, `waited` later.
    fn unsent(&mut self, _stream: usize, _due: u64, _waited: u64, _n: u64) {}
    /// loadgen itself sent so much later than it could have.
    fn lag(&mut self, _stream: usize, _due: u64, _lag: u64) {}
    /// Once per turn of the loop.
    fn tick(&mut self, _now: u64) -> Result<()> {
        Ok(())
    }
    /// Nothing more to wait for: the run may end.
    fn done(&self) -> bool {
        false
    }
    /// A descriptor that belongs to none of the streams is readable.
    fn readable(&mut self, _id: usize) -> Result<()> {
        Ok(())
    }
}

/// Nobody looks.
impl Observer for () {}

/// A schedule of arrivals with connections and counters of its own.
pub struct Stream {
    requests: Generator,
    arrivals: Arrivals,
    /// Mean time between arrivals.
    every_ns: f64,
    /// Requests per arrival.
    batch: usize,
    /// Requests in flight per connection at most.
    window: usize,
    /// The run ends when this many arrivals were sent.
    left: Option<u64>,
    next_at: f64,
    free: VecDeque<usize>,
    /// An arrival is due and has no free connection.
    starved: bool,
    /// When the last such wait ended: what was due before was late by the server's fault.
    caught_up_at: u64,
    first_conn: usize,
    conns: usize,
    index: usize,
    pub tally: Tally,
}

/// What a stream is made of.
pub struct StreamPlan {
    pub requests: Generator,
    pub arrivals: Arrivals,
    /// Requests per second.
    pub rate: f64,
    pub batch: usize,
    pub window: usize,
    pub arrivals_max: Option<u64>,
    pub conns: usize,
}

impl Stream {
    fn new(plan: StreamPlan, index: usize, first_conn: usize, start: u64) -> Result<Self> {
        let mut stream = Stream {
            requests: plan.requests,
            arrivals: plan.arrivals,
            every_ns: 1e9 * plan.batch as f64 / plan.rate,
            batch: plan.batch,
            window: plan.window.max(plan.batch),
            left: plan.arrivals_max,
            next_at: start as f64,
            free: (first_conn..first_conn + plan.conns).collect(),
            starved: false,
            caught_up_at: 0,
            first_conn,
            conns: plan.conns,
            index,
            tally: Tally::new()?,
        };
        stream.advance();
        Ok(stream)
    }

    fn advance(&mut self) {
        self.next_at += match self.arrivals {
            Arrivals::Constant => self.every_ns,
            Arrivals::Poisson => -self.requests.unit().ln() * self.every_ns,
        };
    }

    fn owns(&self, conn: usize) -> bool {
        (self.first_conn..self.first_conn + self.conns).contains(&conn)
    }

    fn done(&self) -> bool {
        self.left == Some(0)
    }

    /// Sends what is due, as far as connections are free.
    fn send_due(
        &mut self,
        worker: &mut Worker,
        now: u64,
        end: u64,
        observer: &mut impl Observer,
    ) -> Result<()> {
        for _ in 0..BURST {
            let due = self.next_at as u64;
            if due > now || due >= end || self.done() {
                return Ok(());
            }
            let Some(id) = self.free.pop_front() else {
                self.starved = true;
                return Ok(());
            };
            if std::mem::take(&mut self.starved) {
                self.caught_up_at = now;
            }
            if due >= self.caught_up_at {
                self.tally.lag(now - due);
                observer.lag(self.index, due, now - due);
            }
            self.send_one(worker, id, due)?;
            self.advance();
            if let Some(left) = &mut self.left {
                *left -= 1;
            }
        }
        Ok(())
    }

    fn send_one(&mut self, worker: &mut Worker, id: usize, due: u64) -> Result<()> {
        worker.out.clear();
        let conn = &mut worker.conns[id];
        for _ in 0..self.batch {
            let (kind, key) = self.requests.push(&mut worker.out);
            conn.pending.push_back(Pending { at: due, key, kind });
        }
        conn.send(&worker.epoll, &worker.out)?;
        if conn.pending.len() + self.batch <= self.window {
            self.free.push_back(id);
        }
        Ok(())
    }

    fn receive(&mut self, worker: &mut Worker, id: usize, observer: &mut impl Observer) -> Result<()> {
        let conn = &mut worker.conns[id];
        let was_free = conn.pending.len() + self.batch <= self.window;
        let (tally, before, index) = (&mut self.tally, now_ns(), self.index);
        conn.receive(&mut worker.scratch, &mut worker.scanner, |sent, class| {
            let latency = before.saturating_sub(sent.at);
            tally.reply(class, latency);
            observer.reply(index, sent.at, latency);
        })?;
        let free = conn.pending.len() + self.batch <= self.window;
        worker.renew(id)?;
        if !was_free && free {
            self.free.push_back(id);
        }
        Ok(())
    }

    /// Requests that were due before `end` and never sent have waited at least until `now`.
    fn count_unsent(&mut self, end: u64, now: u64, observer: &mut impl Observer) {
        let behind = (end as f64 - self.next_at).max(0.0) / self.every_ns;
        let step = (behind as u64 / UNSENT_STEPS + 1).min(self.left.unwrap_or(u64::MAX).max(1));
        while (self.next_at as u64) < end && !self.done() {
            let waited = now.saturating_sub(self.next_at as u64).max(1);
            let requests = step * self.batch as u64;
            self.tally.latency.saturating_record_n(waited, requests);
            observer.unsent(self.index, self.next_at as u64, waited, requests);
            self.tally.unsent += requests;
            self.next_at += self.every_ns * step as f64;
        }
    }
}

/// Runs the streams together until `duration_ns` has passed or one of them has sent all its
/// arrivals, then waits for the replies.
pub fn run(
    worker: &mut Worker,
    plans: Vec<StreamPlan>,
    duration_ns: u64,
    observer: &mut impl Observer,
) -> Result<Vec<Tally>> {
    let start = now_ns();
    let mut end = start.saturating_add(duration_ns);
    let mut first_conn = 0;
    let mut streams = Vec::new();
    for (index, plan) in plans.into_iter().enumerate() {
        let conns = plan.conns;
        streams.push(Stream::new(plan, index, first_conn, start)?);
        first_conn += conns;
    }
    let mut stall = StallGuard::new();
    loop {
        let now = now_ns();
        observer.tick(now)?;
        if now < end {
            for stream in &mut streams {
                stream.send_due(worker, now, end, observer)?;
            }
            if streams.iter().any(Stream::done) || observer.done() {
                end = now;
            }
        } else if worker.outstanding() == 0 || now > end.saturating_add(DRAIN_NS) {
            break;
        }
        let wait = pause(&streams, now, end, worker.sleeps_exactly());
        let events = worker.poll(wait, |w, id| match streams.iter_mut().find(|s| s.owns(id)) {
            Some(stream) => stream.receive(w, id, observer),
            None => observer.readable(id),
        })?;
        stall.check(events, now, worker)?;
        worker.show_progress(streams.iter().map(|s| s.tally.replies).sum());
    }
    let now = now_ns();
    let first_bad = worker.scanner.first_bad.take();
    let (mut pushes, mut reconnects) =
        (std::mem::take(&mut worker.scanner.pushes), std::mem::take(&mut worker.reconnects));
    Ok(streams
        .into_iter()
        .map(|mut stream| {
            stream.tally.settle();
            stream.count_unsent(end, now, observer);
            stream.tally.elapsed_ns = end - start;
            stream.tally.first_bad.clone_from(&first_bad);
            // They belong to the connections, not to a stream: the first one tells of them.
            stream.tally.pushes = std::mem::take(&mut pushes);
            stream.tally.reconnects = std::mem::take(&mut reconnects);
            stream.tally
        })
        .collect())
}

/// How long the next wait may take without missing an arrival.
fn pause(streams: &[Stream], now: u64, end: u64, exact: bool) -> Wait {
    // A starved stream is woken by a reply, not by the clock.
    let next = streams.iter().filter(|s| !s.starved && now < end).map(|s| s.next_at as u64).min();
    match next.map(|at| at.saturating_sub(now)) {
        Some(gap) if exact && gap > SPIN_NS => Wait::Nanos(gap),
        Some(gap) if exact || gap <= POLL_BELOW_NS => Wait::Poll,
        Some(gap) => Wait::Millis(((gap - POLL_BELOW_NS) / 1_000_000).clamp(1, 100)),
        None => Wait::Millis(10),
    }
}
