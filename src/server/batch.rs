//! Runs the requests of one read: hash and prefetch in passes, then one after the other.
//!
//! Prefetching shard headers, buckets and entries for the whole batch before the first
//! command runs overlaps their cache misses; it is worth more than all other tuning of the
//! request path together (`docs/architecture.md`, "The request path").

use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::blocking::Waiter;
use crate::clock;
use crate::commands::args::Source;
use crate::commands::call::Env;
use crate::commands::dispatch::{Fate, dispatch};
use crate::commands::keys::Touch;
use crate::commands::local::Lane;
use crate::commands::session::Session;
use crate::commands::table::{self, Lookup};
use crate::commands::{timing, waiting};
use crate::config::{Config, EvictionPolicy};
use crate::effects::deliver;
use crate::expiry::Gone;
use crate::keyspace::{Batch, DbId, KeyHash, Participant};
use crate::observe::latency::EXPIRE_CYCLE;
use crate::protocol::OutBuf;
use crate::protocol::request::{BATCH_MAX, Requests};
use crate::shared::Shared;
use crate::values::Blob;

/// Microseconds of maintenance that a worker does after a batch when inserts outrun the helper.
const HELP_US: u64 = 100;
/// With a slow log threshold below this, every command is timed alone.
const EXACT_BELOW_US: i64 = 1_000;

/// What a worker needs to run commands.
pub struct Runner {
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// This worker's place in the gate and the epochs.
    pub participant: Participant,
    /// Its own state.
    pub lane: Lane,
    config: arc_swap::Cache<Arc<arc_swap::ArcSwap<Config>>, Arc<Config>>,
    earlier: Rc<Notify>,
    /// The deadline for which the expiry task sleeps.
    sleeping_until: u64,
}

/// A request that was looked up.
#[derive(Clone, Copy)]
struct Resolved {
    lookup: Lookup,
    hash: Option<KeyHash>,
}

const UNRESOLVED: Resolved = Resolved { lookup: Lookup::Unknown, hash: None };

/// Requests to run, wherever their bytes are.
#[derive(Clone, Copy)]
pub enum Work<'r> {
    /// As the parser found them in a buffer.
    Parsed {
        /// What was parsed.
        buf: &'r [u8],
        /// Where the requests are in it.
        requests: &'r Requests,
    },
    /// Kept copies.
    Kept(&'r [Vec<Blob>]),
}

impl<'r> Work<'r> {
    #[inline]
    fn len(&self) -> usize {
        match self {
            Work::Parsed { requests, .. } => requests.spans.len(),
            Work::Kept(list) => list.len(),
        }
    }

    #[inline]
    fn source(&self, i: usize) -> Source<'r> {
        match self {
            Work::Parsed { buf, requests } => {
                Source::Buffer { buf, side: &requests.side, ranges: requests.args_of(&requests.spans[i]) }
            }
            Work::Kept(list) => Source::Owned(&list[i]),
        }
    }

    /// Copies of the requests from `from` on, for the time of a pause.
    pub fn copies(&self, from: usize) -> Vec<Vec<Blob>> {
        (from..self.len()).map(|i| self.source(i).to_owned()).collect()
    }
}

/// How far a batch came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// All of it.
    All,
    /// Up to this request, which asked for the end of the connection.
    Closed,
    /// Up to the request before this one, whose client waits now: `local.waiter` says how.
    Blocked {
        /// Index of the request behind it.
        next: usize,
    },
    /// Up to this request, which CLIENT PAUSE holds back until then.
    Paused {
        /// Index of the request that waits.
        at: usize,
        /// Unix milliseconds.
        until_ms: u64,
    },
}

/// Commands that ran since the clock was last read.
struct Segment {
    began_ns: u64,
    ids: SmallVec<[u16; BATCH_MAX]>,
}

impl Runner {
    /// The parts of a worker that run commands.
    ///
    /// `earlier` is told when a deadline was set before the one that the expiry task sleeps for.
    pub fn new(shared: Arc<Shared>, worker: u16, earlier: Rc<Notify>) -> Runner {
        Runner {
            participant: shared.keyspace.register(),
            lane: Lane::new(
                worker,
                shared.keyspace.databases(),
                Arc::clone(&shared.identities),
                clock::now_ms(),
            ),
            config: arc_swap::Cache::new(Arc::clone(&shared.config)),
            earlier,
            sleeping_until: u64::MAX,
            shared,
        }
    }

    /// The expiry task is going to sleep until this deadline.
    pub fn wake_for(&mut self, deadline: Option<u64>) {
        self.sleeping_until = deadline.unwrap_or(u64::MAX);
        self.lane.expiry.forget_earliest();
    }

    /// Works off due keys for at most `budget_us`. True if more is due.
    pub fn expire(&mut self, budget_us: u64) -> bool {
        let now = clock::now_ms();
        if self.shared.pause.active(now).is_some() {
            return false;
        }
        let shared = Arc::clone(&self.shared);
        let begun = clock::mono_ns();
        let (mut keys, mut fields) = (0, 0);
        let more = {
            let batch = self.participant.enter();
            let lane = &mut self.lane;
            lane.expiry.run(&batch, now, budget_us, &mut lane.graveyard, &mut |db, entry, gone| match gone {
                Gone::Key => {
                    keys += 1;
                    deliver::expired(&shared, db, entry.key());
                }
                Gone::Fields { count, all } => {
                    fields += count as u64;
                    deliver::fields_expired(&shared, db, entry.key(), all);
                }
            })
        };
        if keys + fields > 0 {
            let mut counters = shared.stats.lane(self.lane.local.worker);
            counters.expired_keys += keys;
            counters.expired_fields += fields;
            counters.dirty += keys + fields;
            drop(counters);
            let threshold = shared.config.load().latency_monitor_threshold;
            let micros = (clock::mono_ns() - begun) / 1000;
            shared.latency.note(EXPIRE_CYCLE, micros, threshold, || now);
        }
        self.serve_ready();
        self.after(now);
        more
    }

    /// Serves keys that became ready other than by a command.
    pub fn serve_ready(&mut self) {
        if !self.shared.waiters.has_ready() {
            return;
        }
        let Runner { shared, participant, lane, config, .. } = self;
        let config: &Config = config.load();
        let env = Env { shared, config, now: clock::now_ms(), touch: touch(config) };
        let batch = participant.enter();
        waiting::serve(env, lane.hands(), &batch);
    }

    /// Writes what a client that waited is answered. False if its connection is to be closed.
    pub fn answer(&mut self, session: &mut Session, out: &mut OutBuf, waiter: &Waiter) -> bool {
        let Runner { shared, lane, config, .. } = self;
        let config: &Config = config.load();
        let env = Env { shared, config, now: clock::now_ms(), touch: touch(config) };
        waiting::reply(env, lane.local.worker, session, out, waiter)
    }

    /// The settings as they are now.
    pub fn config(&mut self) -> &Config {
        self.config.load()
    }

    /// Runs requests, in order.
    pub fn run(&mut self, session: &mut Session, out: &mut OutBuf, work: Work<'_>) -> Ran {
        // Taken apart, so that neither the settings' nor the process' reference count, which all
        // workers share, is touched by a batch.
        let Runner { shared, participant, lane, config, .. } = self;
        let config: &Config = config.load();
        let mut env = Env { shared, config, now: clock::now_ms(), touch: touch(config) };
        lane.local.touch = env.touch;
        lane.expiry.begin(env.now, shared.pause.active(env.now).is_none());
        let mut turn = Turn { participant, lane };
        let mut segment = Segment { began_ns: clock::mono_ns(), ids: SmallVec::new() };
        let mut at = 0;
        let ran = loop {
            match turn.shared_part(env, session, out, work, &mut at, &mut segment) {
                None if at < work.len() => {}
                None => break Ran::All,
                Some(Fate::Done | Fate::Refused) => {}
                Some(Fate::Close) => break Ran::Closed,
                Some(Fate::Paused(until_ms)) => break Ran::Paused { at, until_ms },
                Some(Fate::Blocked) => break Ran::Blocked { next: at },
                Some(Fate::Gate) => {
                    record(turn.lane, env, session, &mut segment, None);
                    match turn.exclusive(env, session, out, work.source(at), &mut segment) {
                        Fate::Close => break Ran::Closed,
                        Fate::Paused(until_ms) => break Ran::Paused { at, until_ms },
                        // What runs behind the gate never waits.
                        Fate::Done | Fate::Refused | Fate::Gate | Fate::Blocked => {}
                    }
                    at += 1;
                    env.now = clock::now_ms();
                }
            }
        };
        record(turn.lane, env, session, &mut segment, None);
        let now = env.now;
        self.after(now);
        ran
    }

    /// What is done between batches, when no lock is held.
    pub fn after(&mut self, now: u64) {
        let shared = &*self.shared;
        if !self.lane.graveyard.is_empty() {
            bury(shared, &mut self.lane.graveyard);
        }
        if self.lane.expiry.earliest() < self.sleeping_until {
            self.sleeping_until = self.lane.expiry.earliest();
            self.earlier.notify_one();
        }
        if shared.sampler.is_due(now) {
            let maxmemory = shared.config.load().maxmemory;
            let mono_ms = clock::mono_ms();
            shared.sampler.take_if_due(now, mono_ms, &shared.stats, &shared.keyspace, maxmemory);
        }
        if shared.keyspace.needs_help() {
            let mut purge = super::helper::ExpiredByMigration { shared, worker: self.lane.local.worker };
            shared.keyspace.maintain(&mut self.participant, HELP_US, now, &mut purge);
            shared.keyspace.wake_helper();
        }
    }
}

/// Drops small values here and hands large ones to the helper thread.
fn bury(shared: &Shared, graveyard: &mut crate::expiry::Graveyard) {
    graveyard.retain(|v| v.is_large());
    if !graveyard.is_empty() {
        shared.helper.drop_later(graveyard.drain(..));
        shared.keyspace.wake_helper();
    }
    if graveyard.capacity() > 1024 {
        graveyard.shrink_to(64);
    }
}

/// Looks the commands up, hashes single keys, and prefetches where they will be found.
#[inline]
fn resolve(batch: &Batch<'_>, db: DbId, work: Work<'_>, begin: usize, resolved: &mut [Resolved]) {
    for (i, place) in resolved.iter_mut().enumerate() {
        let source = work.source(begin + i);
        let n = source.len();
        let lookup = table::lookup_request(|i| source.at(i), n);
        let key = lookup.found().and_then(|f| table::single_key(f.id)).filter(|key| *key < n);
        let hash = key.map(|key| batch.hash_key(source.at(key)));
        if let Some(hash) = hash {
            batch.prefetch_shard(db, hash);
        }
        *place = Resolved { lookup, hash };
    }
    if resolved.len() > 1 {
        for hash in resolved.iter().filter_map(|r| r.hash) {
            batch.prefetch_bucket(db, hash);
        }
        for hash in resolved.iter().filter_map(|r| r.hash) {
            batch.prefetch_entry(db, hash);
        }
    }
}

/// The parts of a worker that one run of requests borrows.
struct Turn<'r> {
    participant: &'r mut Participant,
    lane: &'r mut Lane,
}

impl Turn<'_> {
    /// Runs up to [`BATCH_MAX`] requests inside one batch of the gate, or until one needs it
    /// exclusively.
    fn shared_part(
        &mut self,
        env: Env<'_>,
        session: &mut Session,
        out: &mut OutBuf,
        work: Work<'_>,
        at: &mut usize,
        segment: &mut Segment,
    ) -> Option<Fate> {
        let batch = self.participant.enter();
        let begin = *at;
        let end = work.len().min(begin + BATCH_MAX);
        let mut resolved = [UNRESOLVED; BATCH_MAX];
        resolve(&batch, session.db, work, begin, &mut resolved[..end - begin]);
        let exact = every_command_alone(env.config);
        while *at < end {
            let Resolved { lookup, hash } = resolved[*at - begin];
            let source = work.source(*at);
            let alone = exact || lookup.found().is_none_or(|f| table::timed_alone(f.id));
            if alone && !segment.ids.is_empty() {
                record(self.lane, env, session, segment, None);
            }
            let before = out.len();
            let fate = dispatch(env, self.lane.hands(), &batch, session, out, lookup, source, hash);
            match fate {
                Fate::Gate | Fate::Paused(_) => return Some(fate),
                Fate::Done | Fate::Close | Fate::Refused | Fate::Blocked => {}
            }
            // One that waits counts when it is answered.
            let ran = !matches!(fate, Fate::Refused | Fate::Blocked);
            if let Some(found) = lookup.found().filter(|_| ran) {
                let ran = timing::Ran { found, source, redacted: &self.lane.local.redacted };
                timing::requested(env, session, ran);
                timing::replied(env, session, out.len().saturating_sub(before), ran);
                segment.ids.push(found.id);
                if alone {
                    record(self.lane, env, session, segment, Some((source, found)));
                }
            }
            *at += 1;
            if self.lane.local.signalled {
                serve(self.lane, env, session, &batch, segment);
            }
            if fate == Fate::Blocked {
                return Some(fate);
            }
            if fate == Fate::Close || session.killed() {
                return Some(Fate::Close);
            }
        }
        None
    }

    /// Runs one request behind the raised gate.
    fn exclusive(
        &mut self,
        env: Env<'_>,
        session: &mut Session,
        out: &mut OutBuf,
        source: Source<'_>,
        segment: &mut Segment,
    ) -> Fate {
        let batch = self.participant.enter_exclusive();
        segment.began_ns = clock::mono_ns();
        let lookup = table::lookup_request(|i| source.at(i), source.len());
        let fate = dispatch(env, self.lane.hands(), &batch, session, out, lookup, source, None);
        if let (Fate::Done | Fate::Close, Some(found)) = (fate, lookup.found()) {
            segment.ids.push(found.id);
            record(self.lane, env, session, segment, Some((source, found)));
        }
        if self.lane.local.signalled {
            serve(self.lane, env, session, &batch, segment);
        }
        fate
    }
}

/// Serves the clients that the last command made ready; their time is not its time.
#[cold]
fn serve(lane: &mut Lane, env: Env<'_>, session: &Session, batch: &Batch<'_>, segment: &mut Segment) {
    record(lane, env, session, segment, None);
    waiting::serve(env, lane.hands(), batch);
    segment.began_ns = clock::mono_ns();
}

/// Reads the clock and divides the time since the last reading among the commands that ran.
/// A command that was timed alone may go to the slow log.
fn record(
    lane: &mut Lane,
    env: Env<'_>,
    session: &Session,
    segment: &mut Segment,
    alone: Option<(Source<'_>, table::Found)>,
) {
    if segment.ids.is_empty() {
        return;
    }
    let now_ns = clock::mono_ns();
    let took = now_ns.saturating_sub(segment.began_ns);
    let each = took / segment.ids.len().max(1) as u64;
    let tally = std::mem::take(&mut lane.local.tally);
    {
        let mut counters = env.shared.stats.lane(lane.local.worker);
        counters.total_commands += segment.ids.len() as u64;
        counters.keyspace_hits += tally.hits;
        counters.keyspace_misses += tally.misses;
        counters.expired_keys += tally.expired;
        counters.expired_fields += tally.expired_fields;
        counters.dirty += tally.dirty;
        for &id in &segment.ids {
            counters.command(id).record(1, each, env.config.latency_tracking);
        }
    }
    segment.ids.clear();
    segment.began_ns = now_ns;
    match alone {
        Some((source, found)) => {
            let ran = timing::Ran { found, source, redacted: &lane.local.redacted };
            timing::took(env, session, took / 1000, ran);
        }
        None => timing::took_together(env, took / 1000),
    }
}

fn every_command_alone(config: &Config) -> bool {
    (0..EXACT_BELOW_US).contains(&config.slowlog_log_slower_than)
}

fn touch(config: &Config) -> Touch {
    if matches!(config.maxmemory_policy, EvictionPolicy::AllkeysLfu | EvictionPolicy::VolatileLfu) {
        Touch::Lfu { log_factor: config.lfu_log_factor, decay_minutes: config.lfu_decay_time }
    } else {
        Touch::Lru
    }
}
