//! Counters of the request path.
//!
//! Each worker counts for itself, behind a mutex that it takes once per run of commands and
//! that is contended only while somebody reads the sum. So the request path writes to its
//! own cache lines and INFO is exact.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;
use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::observe::buckets::Buckets;
use crate::observe::policies::{Policies, Score};
use crate::observe::snapshot::Thread;
use crate::sys::process::CpuClock;

/// Figures of one command.
#[derive(Debug, Default, Clone)]
pub struct CommandStats {
    /// Calls that ran.
    pub calls: u64,
    /// Nanoseconds spent in them.
    pub nanos: u64,
    /// Calls refused before running.
    pub rejected: u64,
    /// Calls that ran and answered an error.
    pub failed: u64,
    /// Durations in nanoseconds, while `latency-tracking` is on.
    pub durations: Option<Box<Histogram<u32>>>,
}

/// Longest duration that a histogram tells apart, in nanoseconds (as Redis: one second).
const DURATION_MAX_NS: u64 = 1_000_000_000;

impl CommandStats {
    /// Counts `calls` calls that took `nanos` together.
    #[inline]
    pub fn record(&mut self, calls: u64, nanos: u64, track: bool) {
        self.calls += calls;
        self.nanos += nanos;
        if track {
            let each = (nanos / calls.max(1)).clamp(1, DURATION_MAX_NS);
            let histogram = self.durations.get_or_insert_with(|| Box::new(new_histogram()));
            histogram.saturating_record_n(each, u32::try_from(calls).unwrap_or(u32::MAX));
        }
    }

    fn add(&mut self, other: &CommandStats) {
        self.calls += other.calls;
        self.nanos += other.nanos;
        self.rejected += other.rejected;
        self.failed += other.failed;
    }

    fn add_durations(&mut self, other: &CommandStats) {
        if let Some(theirs) = &other.durations {
            let mine = self.durations.get_or_insert_with(|| Box::new(new_histogram()));
            // Same bounds by construction, so adding cannot fail.
            let _ = mine.add(&**theirs);
        }
    }
}

fn new_histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1, DURATION_MAX_NS, 2)
        .unwrap_or_else(|_| unreachable!("invariant: the bounds are constants that hdrhistogram accepts"))
}

/// Counters of one worker, or the sum of all.
#[derive(Debug, Default, Clone)]
#[allow(missing_docs)] // names of INFO
pub struct Counters {
    pub commands: Vec<CommandStats>,
    pub total_commands: u64,
    pub connections: u64,
    pub rejected_connections: u64,
    pub net_in: u64,
    /// Only in a sum: each worker counts what it sends apart ([`Output`]).
    pub net_out: u64,
    pub reads: u64,
    /// Only in a sum, as `net_out`.
    pub writes: u64,
    pub keyspace_hits: u64,
    pub keyspace_misses: u64,
    pub expired_keys: u64,
    pub expired_fields: u64,
    pub evicted_keys: u64,
    pub dirty: u64,
    pub error_replies: u64,
    pub errors: BTreeMap<Box<str>, u64>,
    pub query_buffer_closed: u64,
    pub output_buffer_closed: u64,
    pub denied_auth: u64,
    /// How late keys expired by their timers, from their deadline to the event.
    pub lateness: Buckets,
    /// CPU time from one slice of expiry to the next while more is due, and the longest: for so long nobody looks at the
    /// sockets of a worker.
    pub expiry_turns: Buckets,
    pub expiry_turn_longest_ns: u64,
    /// Slices of expiry that ended with more to do, and the CPU time of all.
    pub expiry_cut_short: u64,
    pub expiry_cpu_ns: u64,
    /// Critical sections of migrations.
    pub slices: Buckets,
}

/// Distinct error codes that are counted; scripts could invent any number of them.
const ERROR_CODES_MAX: usize = 128;

impl Counters {
    /// The figures of command `id`.
    #[inline]
    pub fn command(&mut self, id: u16) -> &mut CommandStats {
        let id = usize::from(id);
        if id >= self.commands.len() {
            self.commands.resize_with(id + 1, CommandStats::default);
        }
        &mut self.commands[id]
    }

    /// Counts an error reply by its code.
    pub fn error(&mut self, code: &str) {
        self.error_replies += 1;
        if let Some(n) = self.errors.get_mut(code) {
            *n += 1;
        } else if self.errors.len() < ERROR_CODES_MAX {
            self.errors.insert(code.into(), 1);
        }
    }

    /// Adds all but the histograms.
    fn add(&mut self, o: &Counters) {
        for (id, theirs) in o.commands.iter().enumerate() {
            self.command(u16::try_from(id).unwrap_or(u16::MAX)).add(theirs);
        }
        for (code, n) in &o.errors {
            *self.errors.entry(code.clone()).or_default() += n;
        }
        self.total_commands += o.total_commands;
        self.connections += o.connections;
        self.rejected_connections += o.rejected_connections;
        self.net_in += o.net_in;
        self.reads += o.reads;
        self.keyspace_hits += o.keyspace_hits;
        self.keyspace_misses += o.keyspace_misses;
        self.expired_keys += o.expired_keys;
        self.expired_fields += o.expired_fields;
        self.evicted_keys += o.evicted_keys;
        self.dirty += o.dirty;
        self.error_replies += o.error_replies;
        self.query_buffer_closed += o.query_buffer_closed;
        self.output_buffer_closed += o.output_buffer_closed;
        self.denied_auth += o.denied_auth;
        self.lateness.add(&o.lateness);
        self.expiry_turns.add(&o.expiry_turns);
        self.expiry_turn_longest_ns = self.expiry_turn_longest_ns.max(o.expiry_turn_longest_ns);
        self.expiry_cut_short += o.expiry_cut_short;
        self.expiry_cpu_ns += o.expiry_cpu_ns;
        self.slices.add(&o.slices);
    }
}

/// The counters from which rates are made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // names of INFO
pub struct Totals {
    pub commands: u64,
    pub net_in: u64,
    pub net_out: u64,
    pub reads: u64,
    pub nanos: u64,
}

/// The counters of all workers, and one set for the helper thread.
pub struct Stats {
    lanes: Box<[CachePadded<Mutex<Counters>>]>,
    output: Box<[CachePadded<Output>]>,
    cpu: Box<[CpuClock]>,
    /// Which policies the hits, misses and evictions belong to.
    pub policies: Policies,
}

/// What one worker sent. Nobody else writes here, so it takes no lock.
#[derive(Debug, Default)]
pub struct Output {
    bytes: AtomicU64,
    writes: AtomicU64,
}

impl Output {
    /// A write to a socket took so many bytes. For the worker whose counters these are.
    #[inline]
    pub fn sent(&self, bytes: usize) {
        self.bytes.store(self.bytes.load(Relaxed) + bytes as u64, Relaxed);
        self.writes.store(self.writes.load(Relaxed) + 1, Relaxed);
    }
}

impl Stats {
    /// Counters for `workers` workers.
    pub fn new(workers: usize) -> Stats {
        Stats {
            lanes: (0..=workers).map(|_| CachePadded::default()).collect(),
            output: (0..=workers).map(|_| CachePadded::default()).collect(),
            policies: Policies::default(),
            cpu: (0..=workers).map(|_| CpuClock::default()).collect(),
        }
    }

    /// The counters of one worker. Held for a few additions only; never while another is taken.
    #[inline]
    pub fn lane(&self, worker: u16) -> parking_lot::MutexGuard<'_, Counters> {
        let lane = usize::from(worker).min(self.lanes.len() - 1);
        self.lanes[lane].lock()
    }

    /// What one worker sends.
    #[inline]
    pub fn output(&self, worker: u16) -> &Output {
        &self.output[usize::from(worker).min(self.output.len() - 1)]
    }

    /// The sum over all workers. A worker is held up for one histogram at a time.
    pub fn sum(&self) -> Counters {
        let mut sum = Counters::default();
        for lane in &self.lanes {
            let timed: Vec<usize> = {
                let lane = lane.lock();
                sum.add(&lane);
                let commands = lane.commands.iter().enumerate();
                commands.filter(|(_, command)| command.durations.is_some()).map(|(id, _)| id).collect()
            };
            for id in timed {
                let lane = lane.lock();
                if let (Some(theirs), Some(mine)) = (lane.commands.get(id), sum.commands.get_mut(id)) {
                    mine.add_durations(theirs);
                }
            }
        }
        sum.net_out = self.output.iter().map(|o| o.bytes.load(Relaxed)).sum();
        sum.writes = self.output.iter().map(|o| o.writes.load(Relaxed)).sum();
        sum
    }

    /// What each worker counted, and then the helper thread; without what is not counted here.
    pub fn threads(&self) -> Vec<Thread> {
        let one =
            |((lane, output), cpu): ((&CachePadded<Mutex<Counters>>, &CachePadded<Output>), &CpuClock)| {
                let lane = lane.lock();
                Thread {
                    commands: lane.total_commands,
                    net_in: lane.net_in,
                    net_out: output.bytes.load(Relaxed),
                    cpu_ns: cpu.read_ns(),
                    ..Thread::default()
                }
            };
        self.lanes.iter().zip(&self.output).zip(&self.cpu).map(one).collect()
    }

    /// The calling thread counts on this lane: from now on its CPU time can be read.
    pub fn is_mine(&self, lane: u16) {
        if let Some(cpu) = self.cpu.get(usize::from(lane)) {
            cpu.follow_this_thread();
        }
    }

    /// What policies are judged by, over all workers.
    pub fn score(&self) -> Score {
        let mut sum = Score::default();
        for lane in &self.lanes {
            let lane = lane.lock();
            sum.hits += lane.keyspace_hits;
            sum.misses += lane.keyspace_misses;
            sum.evicted += lane.evicted_keys;
        }
        sum
    }

    /// A few sums over all workers, without copying anything.
    pub fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        for lane in &self.lanes {
            let lane = lane.lock();
            sum.commands += lane.total_commands;
            sum.net_in += lane.net_in;
            sum.reads += lane.reads;
            sum.nanos += lane.commands.iter().map(|c| c.nanos).sum::<u64>();
        }
        sum.net_out = self.output.iter().map(|o| o.bytes.load(Relaxed)).sum();
        sum
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        for lane in &self.lanes {
            let mut lane = lane.lock();
            let dirty = lane.dirty;
            *lane = Counters { dirty, ..Counters::default() };
        }
        for output in &self.output {
            // A worker that sends just now may put its old count back; then it is as if it had sent a moment later.
            output.bytes.store(0, Relaxed);
            output.writes.store(0, Relaxed);
        }
        self.policies.reset();
    }
}
