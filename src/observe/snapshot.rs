//! All live figures at one moment: what `/metrics`, the live page and everything else that watches is made from.
//!
//! Gathering one visits no key (but a few that the mean time to live is estimated from) and holds no lock of a worker for
//! longer than it takes to add up one histogram. It takes some hundred microseconds.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::clients::{Role, State};
use crate::clock;
use crate::config::EvictionPolicy;
use crate::events::Scope;
use crate::keyspace::{Batch, DbId, Participant, Totals};
use crate::memory::process::Cpu;
use crate::memory::{limits, process};
use crate::observe::http::Field;
use crate::observe::info::{Clients, Database};
use crate::observe::latency::Series;
use crate::observe::policies::Score;
use crate::observe::sampler::{Rates, Used};
use crate::observe::stats::Counters;
use crate::shared::Shared;

/// Keys looked at to estimate the mean time to live.
const TTL_SAMPLES: usize = 16;
/// Databases of which there is a picture.
const FIELDS_MAX: usize = 4;
/// Shortest time over which a share of CPU time is given, in nanoseconds.
const BUSY_OVER_NS: u64 = 500_000_000;
/// How often the limits of the cgroup and the kernel's pressure are read from their files, in milliseconds.
const LIMITS_EVERY_MS: u64 = 1_000;

/// The figures.
#[derive(Debug, Default, Clone)]
pub struct Snapshot {
    /// Unix microseconds.
    pub at_us: u64,
    /// Monotonic milliseconds.
    pub mono_ms: u64,
    /// Since the start.
    pub uptime_ms: u64,
    /// The workers were started.
    pub serving: bool,
    /// The server is shutting down.
    pub ending: bool,
    /// Sums over all workers and the helper thread.
    pub counters: Counters,
    /// Each worker, and then the helper thread.
    pub threads: Vec<Thread>,
    /// What was counted in the last second.
    pub rates: Rates,
    /// Memory.
    pub memory: MemoryFigures,
    /// Databases that have ever been used.
    pub databases: Vec<Database>,
    /// Sums over all clients.
    pub clients: Clients,
    /// Sums over the engines of all databases since the start.
    pub engines: Totals,
    /// Databases that are being resized.
    pub migrations_running: usize,
    /// The policies of eviction that were in force, with what they are judged by; the last one is in force.
    pub policies: Vec<(EvictionPolicy, Score)>,
    /// Who listens.
    pub events: EventFigures,
    /// Keys and clients of blocking commands.
    pub blocked_keys: usize,
    /// Values that wait for the helper thread to free them, and how many it has freed.
    pub lazyfree_pending: usize,
    /// See above.
    pub lazyfreed: u64,
    /// The newest of each latency event.
    pub latency: Vec<LatencyEvent>,
    /// The slow log.
    pub slowlog: SlowLogFigures,
    /// CPU time of the whole process.
    pub cpu: Cpu,
}

impl Snapshot {
    /// Memory that is not the data set: what the process started with, clients, tables.
    pub fn overhead(&self) -> usize {
        let tables: usize = self.databases.iter().map(|database| database.engines.bytes_tables).sum();
        self.memory.used.startup + self.clients.memory_normal + tables
    }
}

/// Channels and their messages.
#[derive(Debug, Default, Clone, Copy)]
pub struct EventFigures {
    /// Channels with subscribers.
    pub channels: usize,
    /// Patterns with subscribers.
    pub patterns: usize,
    /// Shard channels with subscribers.
    pub shard_channels: usize,
    /// Messages for subscribers, those included that were lost.
    pub delivered: u64,
    /// Messages that slow subscribers of `~lost` did not get.
    pub lost: u64,
    /// Entries of rules: appended, refused by their stream's key, and waiting.
    pub rules: [u64; 3],
}

/// The newest of one kind of latency event.
#[derive(Debug, Default, Clone, Copy)]
pub struct LatencyEvent {
    /// Its name.
    pub name: &'static str,
    /// Unix seconds.
    pub at_s: u64,
    /// How long it took.
    pub millis: u64,
    /// The longest.
    pub max_millis: u64,
}

/// The slow log.
#[derive(Debug, Default, Clone, Copy)]
pub struct SlowLogFigures {
    /// Entries.
    pub length: usize,
    /// Number and microseconds of the newest.
    pub newest: Option<(u64, u64)>,
}

/// One thread that works on requests.
#[derive(Debug, Default, Clone, Copy)]
pub struct Thread {
    /// Commands that it ran.
    pub commands: u64,
    /// Bytes that it received.
    pub net_in: u64,
    /// Bytes that it sent.
    pub net_out: u64,
    /// Its clients.
    pub clients: usize,
    /// CPU time that it has used, in nanoseconds.
    pub cpu_ns: u64,
    /// Its share of a core, lately: from 0 to 1.
    pub busy: f64,
}

/// Memory, in bytes.
#[derive(Debug, Default, Clone, Copy)]
pub struct MemoryFigures {
    /// As INFO has it.
    pub used: Used,
    /// In memory, as the kernel counts it.
    pub resident: usize,
    /// `maxmemory` as it is in force; 0 is none.
    pub limit: u64,
    /// What counts against it.
    pub counted: u64,
    /// Milliseconds over the limit at a stretch until now.
    pub exceeded_ms: u64,
    /// Milliseconds over the limit in all.
    pub exceeded_total_ms: u64,
    /// The space reserved for entries is almost full.
    pub entries_nearly_full: bool,
    /// What the process may have at most, by its cgroups, its own limits and the machine.
    pub ceiling: u64,
    /// Share of time in which something waited for memory over the last ten seconds, in percent.
    pub stalled_percent: f64,
}

/// Gathers snapshots; lives on the thread of whoever wants them.
pub struct Collector {
    shared: Arc<Shared>,
    participant: Participant,
    rng: fastrand::Rng,
    /// As they were when the keyspace could last be looked at.
    databases: Vec<Database>,
    live: usize,
    /// CPU times of the threads when their shares were last made, and these shares.
    cpu: Vec<u64>,
    cpu_at_ns: u64,
    busy: Vec<f64>,
    ceiling: u64,
    stalled_percent: f64,
    limits_at_ms: Option<u64>,
}

impl Collector {
    /// A collector for this thread.
    pub fn new(shared: Arc<Shared>) -> Collector {
        Collector {
            participant: shared.keyspace.register(),
            shared,
            rng: fastrand::Rng::new(),
            databases: Vec::new(),
            live: 0,
            cpu: Vec::new(),
            cpu_at_ns: 0,
            busy: Vec::new(),
            ceiling: u64::MAX,
            stalled_percent: 0.0,
            limits_at_ms: None,
        }
    }

    /// The figures as they are now. What the databases hold may be older while a script or FLUSHALL has the keyspace to
    /// itself: nobody who watches waits for these.
    pub fn take(&mut self) -> Snapshot {
        let (at_us, mono_ms) = (clock::now_us(), clock::mono_ms());
        let shared = Arc::clone(&self.shared);
        if let Some(batch) = self.participant.try_enter() {
            self.databases = databases(&batch, at_us / 1000, &mut self.rng);
            self.live = batch.live_bytes();
        }
        let rates = shared.sampler.rates(mono_ms, shared.stats.totals());
        Snapshot {
            at_us,
            mono_ms,
            uptime_ms: (at_us / 1000).saturating_sub(shared.started_ms),
            serving: shared.serving.load(Relaxed),
            ending: shared.is_ending(),
            threads: self.threads(),
            rates,
            memory: self.memory(mono_ms),
            databases: self.databases.clone(),
            clients: clients(&shared),
            engines: shared.keyspace.totals(),
            migrations_running: shared.keyspace.migrations_running(),
            policies: shared.stats.policies.scores(&shared.stats.score()),
            events: events(&shared),
            blocked_keys: shared.waiters.figures().keys,
            lazyfree_pending: shared.helper.pending(),
            lazyfreed: shared.helper.freed(),
            latency: latency(&shared),
            slowlog: slowlog(&shared),
            cpu: process::cpu(),
            counters: shared.stats.sum(),
        }
    }

    /// The engines of the databases with the most keys, as at most `cells` for each engine; none while a script or
    /// FLUSHALL has the keyspace to itself.
    pub fn fields(&mut self, cells: usize) -> Vec<Field> {
        let mut largest: Vec<&Database> = self.databases.iter().collect();
        largest.sort_by_key(|database| std::cmp::Reverse(database.engines.keys));
        let Some(batch) = self.participant.try_enter() else { return Vec::new() };
        let field = |database: &&Database| {
            let (active, growing) = batch.cells(database.id, cells)?;
            Some(Field { db: database.id, active, growing })
        };
        largest.iter().take(FIELDS_MAX).filter_map(field).collect()
    }

    fn threads(&mut self) -> Vec<Thread> {
        let shared = &self.shared;
        let mut threads = shared.stats.threads();
        for (i, thread) in threads.iter_mut().enumerate() {
            thread.clients = shared.clients.of_worker(i);
        }
        let now_ns = clock::mono_ns();
        let passed = now_ns.saturating_sub(self.cpu_at_ns);
        if self.cpu.len() != threads.len() || passed >= BUSY_OVER_NS {
            let before = self.cpu.iter().copied().chain(std::iter::repeat(0));
            // The first shares are those since the start, by the same division.
            let share = |(thread, before): (&Thread, u64)| {
                (thread.cpu_ns.saturating_sub(before) as f64 / passed.max(1) as f64).min(1.0)
            };
            self.busy = threads.iter().zip(before).map(share).collect();
            self.cpu = threads.iter().map(|thread| thread.cpu_ns).collect();
            self.cpu_at_ns = now_ns;
        }
        for (thread, busy) in threads.iter_mut().zip(&self.busy) {
            thread.busy = *busy;
        }
        threads
    }

    fn memory(&mut self, mono_ms: u64) -> MemoryFigures {
        if self.limits_at_ms.is_none_or(|at| mono_ms.saturating_sub(at) >= LIMITS_EVERY_MS) {
            self.ceiling = limits::ceiling();
            self.stalled_percent = limits::stalled();
            self.limits_at_ms = Some(mono_ms);
        }
        let shared = &self.shared;
        let (exceeded_total_ms, exceeded_ms) = shared.memory.exceeded_ms(mono_ms);
        MemoryFigures {
            used: shared.sampler.used(&shared.keyspace, self.live),
            resident: process::resident(),
            limit: shared.memory.limit(),
            counted: shared.memory.used(self.live),
            exceeded_ms,
            exceeded_total_ms,
            entries_nearly_full: shared.keyspace.is_nearly_full(),
            ceiling: self.ceiling,
            stalled_percent: self.stalled_percent,
        }
    }
}

fn events(shared: &Shared) -> EventFigures {
    EventFigures {
        channels: shared.pubsub.count(Scope::Channel) + shared.feeds.count(Scope::Channel),
        patterns: shared.pubsub.count(Scope::Pattern) + shared.feeds.count(Scope::Pattern),
        shard_channels: shared.pubsub.count(Scope::Shard),
        delivered: shared.pubsub.delivered() + shared.feeds.delivered(),
        lost: shared.clients.lost_messages(),
        rules: shared.outbox.figures(),
    }
}

fn latency(shared: &Shared) -> Vec<LatencyEvent> {
    let newest = |(name, series): (&'static str, Series)| {
        let sample = series.samples.back()?;
        Some(LatencyEvent { name, at_s: sample.time_s, millis: sample.millis, max_millis: series.max })
    };
    shared.latency.all().into_iter().filter_map(newest).collect()
}

fn slowlog(shared: &Shared) -> SlowLogFigures {
    let (length, newest) = shared.logs.slow.newest_of_all();
    SlowLogFigures { length, newest }
}

/// Figures of the databases that have ever been used.
pub fn databases(batch: &Batch<'_>, now_ms: u64, rng: &mut fastrand::Rng) -> Vec<Database> {
    let all = 0..batch.keyspace().databases();
    all.filter_map(|db| database(batch, db, now_ms, rng)).collect()
}

fn database(batch: &Batch<'_>, id: DbId, now_ms: u64, rng: &mut fastrand::Rng) -> Option<Database> {
    let engines = batch.stats(id);
    if engines.generation == 0 {
        return None;
    }
    let (mut sum, mut n) = (0u64, 0u64);
    if engines.expires > 0 {
        for _ in 0..TTL_SAMPLES {
            batch.random(id, rng.u64(..), &mut |entry| {
                if let Some(deadline) = entry.deadline().filter(|deadline| *deadline > now_ms) {
                    sum += deadline - now_ms;
                    n += 1;
                }
            });
        }
    }
    Some(Database { id, engines, avg_ttl_ms: sum.checked_div(n).unwrap_or(0) })
}

/// Sums over all clients.
pub fn clients(shared: &Shared) -> Clients {
    let mut sum = Clients::default();
    for client in shared.clients.list() {
        let state = client.state();
        if state.contains(State::KILLED) {
            continue;
        }
        let figures = &client.figures;
        sum.connected += 1;
        sum.blocked += usize::from(state.contains(State::BLOCKED));
        sum.tracking += usize::from(state.contains(State::TRACKING));
        sum.recent_max_input = sum.recent_max_input.max(figures.qbuf.load(Relaxed));
        sum.recent_max_output = sum.recent_max_output.max(figures.out.load(Relaxed));
        sum.monitors += usize::from(state.contains(State::MONITOR));
        sum.subscribers += usize::from(client.role() == Role::PubSub);
        sum.query_bytes += figures.qbuf.load(Relaxed) + figures.qbuf_free.load(Relaxed);
        sum.output_bytes += figures.out.load(Relaxed) + client.mail_bytes();
        sum.queued_bytes += figures.multi_mem.load(Relaxed);
        if client.role() != Role::Replica {
            sum.memory_normal += client.memory();
        }
    }
    sum
}
