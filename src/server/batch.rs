//! Runs the requests of one read: hash and prefetch in passes, then one after the other.
//!
//! Prefetching shard headers, buckets and entries for the whole batch before the first
//! command runs overlaps their cache misses; it is worth more than all other tuning of the
//! request path together (`docs/architecture.md`, "The request path").

mod expire;
mod memory;
mod part;
mod timed;

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::blocking::Waiter;
use crate::clock;
use crate::commands::args::Source;
use crate::commands::call::Env;
use crate::commands::dispatch::{Fate, dispatch};
use crate::commands::local::Lane;
use crate::commands::rest::Rest;
use crate::commands::session::Session;
use crate::commands::{outbox, table, timing, waiting};
use crate::config::{Config, EvictionPolicy};
use crate::eviction::access::Touch;
use crate::keyspace::{Batch, Participant};
use crate::protocol::OutBuf;
use crate::protocol::request::{BATCH_MAX, Requests};
use crate::shared::Shared;
use crate::values::Blob;
use part::{Part, Resolved, UNRESOLVED};
use timed::{Segment, add_tally, record};

pub use expire::Slice;

/// Microseconds of maintenance that a worker does after a batch when inserts outrun the helper.
const HELP_US: u64 = 100;

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
    /// The deadline for which the expiry task sleeps, if it does.
    sleeping_until: u64,
    expiry_sleeps: bool,
    /// CPU time of this thread when the last slice of expiry began, if that left something to do.
    expiry_turn_began: Option<u64>,
    moment: Moment,
    /// When bytes came last, in monotonic nanoseconds.
    received_ns: u64,
    resolved: Box<[Resolved; BATCH_MAX]>,
}

/// A reading of both clocks, carried on by the monotonic one.
#[derive(Clone, Copy, Default)]
struct Moment {
    mono_ns: u64,
    wall_us: u64,
    /// Not used up yet: whoever runs next may take it for the present.
    fresh: bool,
}

impl Moment {
    fn read() -> Moment {
        Moment { mono_ns: clock::mono_ns(), wall_us: clock::now_us(), fresh: true }
    }

    /// The same clocks at a later reading of the monotonic one.
    #[inline]
    fn at(self, mono_ns: u64) -> Moment {
        let passed_us = mono_ns.saturating_sub(self.mono_ns) / 1000;
        Moment { mono_ns, wall_us: self.wall_us + passed_us, fresh: false }
    }
}

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
                Source::Buffer { buf, requests, words: requests.args_of(&requests.spans[i]) }
            }
            Work::Kept(list) => Source::Owned(&list[i]),
        }
    }

    /// The buffer that they are in, unless they are kept.
    fn buffer(&self) -> Option<&'r [u8]> {
        match self {
            Work::Parsed { buf, .. } => Some(buf),
            Work::Kept(_) => None,
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
    /// Up to the request before this one, whose reply goes on: `local.rest` says how.
    More {
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

impl Ran {
    /// As [`Fate::has_place_for_news`].
    pub fn has_place_for_news(self) -> bool {
        !matches!(self, Ran::Blocked { .. } | Ran::More { .. })
    }
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
                Arc::clone(&shared.audience),
                clock::now_ms(),
            ),
            config: arc_swap::Cache::new(Arc::clone(&shared.config)),
            earlier,
            sleeping_until: u64::MAX,
            expiry_sleeps: false,
            expiry_turn_began: None,
            moment: Moment::default(),
            received_ns: 0,
            resolved: Box::new([UNRESOLVED; BATCH_MAX]),
            shared,
        }
    }

    /// Serves keys that became ready, and appends entries of keys that expired, other than by a command.
    pub fn serve_ready(&mut self) {
        if !outbox::has_errands(&self.shared) {
            return;
        }
        let Runner { shared, participant, lane, config, .. } = self;
        let config: &Config = config.load();
        let env = Env { shared, config, now: clock::now_ms(), touch: touch(shared, config) };
        let batch = participant.enter();
        lane.expiry.begin(env.now, shared.pause.active(env.now).is_none());
        outbox::serve(env, lane.hands(), &batch);
    }

    /// Writes what a client that waited is answered. False if its connection is to be closed.
    pub fn answer(&mut self, session: &mut Session, out: &mut OutBuf, waiter: &Waiter) -> bool {
        let Runner { shared, lane, config, .. } = self;
        let config: &Config = config.load();
        let env = Env { shared, config, now: clock::now_ms(), touch: touch(shared, config) };
        waiting::reply(env, lane.local.worker, session, out, waiter)
    }

    /// The settings as they are now.
    pub fn config(&mut self) -> &Config {
        self.config.load()
    }

    /// Bytes came: reads the clocks, for the requests in them as well. Monotonic milliseconds.
    #[inline]
    pub fn received(&mut self, bytes: usize) -> u64 {
        self.lane.local.tally.net_in += bytes as u64;
        self.lane.local.tally.reads += 1;
        self.moment = Moment::read();
        self.received_ns = self.moment.mono_ns;
        self.received_ns / 1_000_000
    }

    /// How long the requests took that came last, as far as the clock was read.
    pub fn read_took_ns(&self) -> u64 {
        self.moment.mono_ns.saturating_sub(self.received_ns)
    }

    /// More of what was received is about to be run.
    #[inline]
    pub fn go_on(&mut self) {
        self.moment.fresh = true;
    }

    /// What was received has been run as far as it was complete.
    #[inline]
    pub fn rest(&mut self) {
        self.moment.fresh = false;
        if self.lane.local.tally.reads > 0 {
            add_tally(&mut self.shared.stats.lane(self.lane.local.worker), &mut self.lane.local.tally);
        }
    }

    /// Runs requests, in order.
    pub fn run(&mut self, session: &mut Session, out: &mut OutBuf, work: Work<'_>) -> Ran {
        // Taken apart, so that neither the settings' nor the process' reference count, which all
        // workers share, is touched by a batch.
        let Runner { shared, participant, lane, config, moment, resolved, .. } = self;
        let config: &Config = config.load();
        if !moment.fresh {
            *moment = Moment::read();
        }
        let mut env = Env { shared, config, now: moment.wall_us / 1000, touch: touch(shared, config) };
        lane.local.touch = env.touch;
        lane.expiry.begin(env.now, shared.pause.active(env.now).is_none());
        lane.local.room.begin(shared.memory.limit());
        if lane.local.room.is_new() {
            crate::commands::room::first_look(env, &mut lane.hands(), &participant.enter());
        }
        let mut turn = Turn { participant, lane, resolved };
        let mut segment = Segment::new(moment.mono_ns);
        let mut at = 0;
        let ran = loop {
            match turn.shared_part(env, session, out, work, &mut at, &mut segment) {
                None if at < work.len() => {}
                None => break Ran::All,
                Some(Fate::Done | Fate::Refused) => {}
                Some(Fate::Close) => break Ran::Closed,
                Some(Fate::Paused(until_ms)) => break Ran::Paused { at, until_ms },
                Some(Fate::Blocked) => break Ran::Blocked { next: at },
                Some(Fate::More) => break Ran::More { next: at },
                Some(Fate::Gate) => {
                    record(turn.lane, env, session, &mut segment, None);
                    match turn.exclusive(env, session, out, work.source(at), &mut segment) {
                        Fate::Close => break Ran::Closed,
                        Fate::Paused(until_ms) => break Ran::Paused { at, until_ms },
                        Fate::More => break Ran::More { next: at + 1 },
                        // What runs behind the gate never waits.
                        Fate::Done | Fate::Refused | Fate::Gate | Fate::Blocked => {}
                    }
                    at += 1;
                    env.now = clock::now_ms();
                }
            }
        };
        record(turn.lane, env, session, &mut segment, None);
        *moment = moment.at(segment.began_ns);
        let now = env.now;
        self.after(now);
        ran
    }

    /// What is done between batches, when no lock is held.
    pub fn after(&mut self, now: u64) {
        let shared = &*self.shared;
        if !self.lane.local.changes.is_empty() {
            shared.tracking.broadcast(&mut self.lane.local.changes);
        }
        if !self.lane.graveyard.is_empty() {
            bury(shared, &mut self.lane.graveyard);
        }
        if self.lane.expiry.has_litter() {
            shared.helper.discard(self.lane.expiry.take_litter());
            shared.keyspace.wake_helper();
        }
        if self.lane.expiry.earliest() < self.sleeping_until {
            self.sleeping_until = self.lane.expiry.earliest();
            self.earlier.notify_one();
        }
        if shared.sampler.is_due(now) {
            self.sample(now);
        }
        self.note_memory();
        let shared = &*self.shared;
        if shared.keyspace.needs_help() {
            let mut purge = super::helper::ExpiredByMigration { shared, worker: self.lane.local.worker };
            shared.keyspace.maintain(&mut self.participant, HELP_US, now, &mut purge);
            shared.keyspace.wake_helper();
            self.serve_ready();
        }
    }
}

impl Runner {
    /// A reply that was written in pieces is at its end, or its client is: drops what it was made of.
    pub fn end_reply(&mut self, session: &Session, rest: Rest) {
        let bytes = rest.bytes();
        let (sources, shown) = rest.into_parts();
        timing::replied_on(self.config.load(), &self.shared, session, bytes, shown);
        self.lane.graveyard.extend(sources);
        bury(&self.shared, &mut self.lane.graveyard);
    }
}

/// Drops small values here and hands large ones to the helper thread.
fn bury(shared: &Shared, graveyard: &mut crate::expiry::Graveyard) {
    graveyard.retain(|v| v.is_large());
    if !graveyard.is_empty() {
        shared.helper.drop_later(graveyard.drain(..), &shared.memory);
        shared.keyspace.wake_helper();
    }
    if graveyard.capacity() > 1024 {
        graveyard.shrink_to(64);
    }
}

/// The parts of a worker that one run of requests borrows.
struct Turn<'r> {
    participant: &'r mut Participant,
    lane: &'r mut Lane,
    /// Scratch: the requests of one part, looked up.
    resolved: &'r mut [Resolved; BATCH_MAX],
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
        let Turn { participant, lane, resolved } = self;
        let batch = participant.enter();
        let part = Part::new(env, &batch, work, *at, session.db, resolved);
        while *at < part.end() {
            let before = *at;
            let mut fate = part.streak(lane, session, out, at, segment);
            if *at == before {
                fate = part.one(lane, session, out, at, segment);
            }
            if matches!(fate, Fate::Gate | Fate::Paused(_)) {
                return Some(fate);
            }
            if lane.local.signalled {
                serve(lane, env, session, out, &batch, segment, fate);
            }
            match fate {
                Fate::Blocked => return Some(fate),
                Fate::Close => return Some(fate),
                _ if session.killed() => return Some(Fate::Close),
                Fate::More => return Some(fate),
                _ => {}
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
        if let (Fate::Done | Fate::Close | Fate::More, Some(found)) = (fate, lookup.found()) {
            segment.add(found.id);
            record(self.lane, env, session, segment, Some((source, found)));
        }
        if self.lane.local.signalled {
            serve(self.lane, env, session, out, &batch, segment, fate);
        }
        fate
    }
}

/// What the last command leads to besides its reply: the client hears of its own changes, and clients
/// that it made ready are served; their time is not its time.
#[cold]
fn serve(
    lane: &mut Lane,
    env: Env<'_>,
    session: &Session,
    out: &mut OutBuf,
    batch: &Batch<'_>,
    segment: &mut Segment,
    fate: Fate,
) {
    record(lane, env, session, segment, None);
    if fate.has_place_for_news() {
        session.handle.move_mail_to(out);
    }
    outbox::serve(env, lane.hands(), batch);
    segment.began_ns = clock::mono_ns();
}

fn touch(shared: &Shared, config: &Config) -> Touch {
    match config.maxmemory_policy {
        EvictionPolicy::AllkeysLfu | EvictionPolicy::VolatileLfu => {
            Touch::Lfu { log_factor: config.lfu_log_factor, decay_minutes: config.lfu_decay_time }
        }
        EvictionPolicy::AllkeysArc => Touch::Arc { tick: shared.eviction.balance.tick() },
        _ => Touch::Lru,
    }
}
