//! Room for a command before it runs: what `maxmemory` asks for.
//!
//! While there is no limit this is one branch per request. With one, each worker may add so many
//! bytes before it looks at the gauge again, half of what is left divided among the workers: far
//! from the limit it rarely looks, at the limit before every command that may add something. Then
//! it evicts slice by slice until there is room, no longer than `maxmemory-eviction-tenacity`
//! says; what is left to do the helper thread does.

use crate::clock;
use crate::commands::args::Source;
use crate::commands::call::{Env, Hands};
use crate::commands::command::Flags;
use crate::commands::session::Session;
use crate::commands::table::Found;
use crate::config::{Config, MemoryCap};
use crate::delivery;
use crate::effects::ended::Reason;
use crate::eviction::{Cause, Rules, Sink};
use crate::expiry::Expiry;
use crate::keyspace::{Batch, DbId, EntryRef, KeyHash};
use crate::memory::{Due, Tap, allocator, limits};
use crate::observe::latency::{EVICTION_CYCLE, EVICTION_DEL};
use crate::shared::Shared;
use crate::values::Value;

/// Bytes that a worker may add at most before it looks at the gauge again.
const BUDGET_MAX: u64 = 256 << 10;
/// What an entry takes beside its arguments, at most.
const ENTRY_EXTRA: usize = 64;
/// Bytes by which eviction goes below the limit, so that a slice serves several commands, and blocks of a table that wait
/// for the helper thread do not lift the figure above it.
const SLACK_MAX: u64 = 8192;

/// A worker's part in keeping the limit.
pub struct Room {
    /// The limit when the batch began; 0 is none.
    pub limit: u64,
    /// The limit for which this worker has looked at the gauge.
    looked: u64,
    budget: i64,
    tap: Tap,
    random: fastrand::Rng,
}

impl Default for Room {
    fn default() -> Self {
        Room { limit: 0, looked: 0, budget: 0, tap: Tap::default(), random: fastrand::Rng::new() }
    }
}

/// How an attempt to make room ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    /// There is room.
    Enough,
    /// Not yet, but there are keys that may go.
    Unfinished,
    /// There is nothing that may go.
    Full,
}

/// What counts against the limit; `live` are the bytes of entries.
fn in_use(shared: &Shared, live: usize) -> u64 {
    // Others push and send meanwhile: what is in one of the two sums only must not be taken for memory in use.
    let apart = || shared.clients.in_transit() + shared.keyspace.leaving_bytes() as u64;
    let before = apart();
    let used = shared.memory.used(live);
    used.saturating_sub(before.max(apart()))
}

/// A worker hears of a limit, or of another one, before it runs a request: then that finds memory within it, as it does in
/// Redis, where every command looks first.
#[cold]
pub fn first_look(env: Env<'_>, hands: &mut Hands<'_>, batch: &Batch<'_>) {
    look(env, hands, batch);
}

/// Whether there is no room for this command, and none can be made. What it adds is counted already.
#[cold]
pub fn is_refused(
    env: Env<'_>,
    hands: &mut Hands<'_>,
    batch: &Batch<'_>,
    session: &Session,
    found: Found,
) -> bool {
    adds(session, found) && hands.local.room.budget < 0 && look(env, hands, batch) == Made::Full
}

/// Whether a command may add to the data set or, in a transaction, to its queue.
fn adds(session: &Session, found: Found) -> bool {
    if found.command.flags.contains(Flags::DENYOOM) {
        return true;
    }
    match (&session.transaction, found.command.name) {
        (None, _) | (_, "discard" | "quit" | "reset") => false,
        (Some(transaction), "exec") => transaction.flags().contains(Flags::DENYOOM),
        _ => true,
    }
}

/// Looks at the gauge, and makes room if there is none.
fn look(env: Env<'_>, hands: &mut Hands<'_>, batch: &Batch<'_>) -> Made {
    let shared = env.shared;
    hands.local.room.tap.report_now(&shared.memory);
    let limit = hands.local.room.limit;
    let used = in_use(shared, batch.live_bytes());
    let full = batch.keyspace().is_nearly_full();
    // Holes are not in use, but they are resident: with them the limit is kept too, as far as compaction can.
    if used + batch.dead_bytes() as u64 > limit {
        batch.keyspace().memory_is_short();
    }
    if used <= limit && !full {
        hands.local.room.grant(limit - used, shared.workers);
        shared.memory.note_exceeded(false, clock::mono_ms);
        return Made::Enough;
    }
    // During a pause nothing is deleted; what is held back comes later.
    if shared.pause.active(env.now).is_some() {
        return Made::Enough;
    }
    let Some(rules) = Rules::of(env.config) else {
        shared.memory.note_exceeded(true, clock::mono_ms);
        return if used > limit { Made::Full } else { Made::Enough };
    };
    let Hands { local, expiry, .. } = hands;
    let mut sink = Dropped::new(shared, env.config, Timers::Own(expiry));
    let made = make(shared, env, &mut local.room, batch, &rules, &mut sink);
    local.signalled |= super::outbox::has_errands(shared);
    sink.count(local.worker);
    shared.memory.note_exceeded(made != Made::Enough, clock::mono_ms);
    if made == Made::Unfinished {
        shared.helper.ask_eviction();
        shared.keyspace.wake_helper();
    }
    made
}

fn make(
    shared: &Shared,
    env: Env<'_>,
    room: &mut Room,
    batch: &Batch<'_>,
    rules: &Rules,
    sink: &mut Dropped<'_>,
) -> Made {
    let began = clock::mono_ns();
    let time = time_limit_ns(env.config.maxmemory_eviction_tenacity);
    let made = loop {
        let made = slice(shared, room, batch, rules, env.now, sink);
        if made != Made::Unfinished || clock::mono_ns().saturating_sub(began) >= time {
            break made;
        }
    };
    let micros = (clock::mono_ns() - began) / 1000;
    let threshold = env.config.latency_monitor_threshold;
    shared.latency.note(EVICTION_CYCLE, micros, threshold, || env.now);
    shared.latency.note(EVICTION_DEL, sink.longest_ns / 1000, threshold, || env.now);
    made
}

/// One slice of eviction, and whether there is room after it.
fn slice(
    shared: &Shared,
    room: &mut Room,
    batch: &Batch<'_>,
    rules: &Rules,
    now_ms: u64,
    sink: &mut Dropped<'_>,
) -> Made {
    let limit = room.limit;
    let used = in_use(shared, batch.live_bytes());
    let slack = SLACK_MAX.min(limit / 64);
    let need = usize::try_from((used + slack).saturating_sub(limit)).unwrap_or(usize::MAX);
    let freed = shared.eviction.slice(batch, rules, now_ms, need.max(1), &mut room.random, sink);
    room.tap.report_now(&shared.memory);
    let used = in_use(shared, batch.live_bytes());
    if used <= limit {
        room.grant(limit - used, shared.workers);
        Made::Enough
    } else if freed.exhausted {
        Made::Full
    } else {
        Made::Unfinished
    }
}

impl Room {
    /// Counts what a command may add; whether that much was granted. One branch without a limit.
    #[inline]
    pub fn has_budget(&mut self, found: Found, source: Source<'_>) -> bool {
        self.limit == 0 || !found.command.flags.contains(Flags::DENYOOM) || self.spend(source)
    }

    #[inline(never)]
    fn spend(&mut self, source: Source<'_>) -> bool {
        let bytes = source.iter().map(<[u8]>::len).sum::<usize>() + ENTRY_EXTRA;
        self.budget -= i64::try_from(bytes).unwrap_or(i64::MAX);
        self.budget >= 0
    }

    fn grant(&mut self, left: u64, workers: u16) {
        let share = (left / (2 * u64::from(workers.max(1)))).min(BUDGET_MAX);
        self.budget = share.cast_signed();
    }

    /// Between batches: what commands took beside their arguments (buffers, large values) counts too.
    /// Whether that exceeds the limit.
    #[cold]
    pub fn after_batch(&mut self, shared: &Shared, live: impl FnOnce() -> usize) -> bool {
        let added = self.tap.report(&shared.memory);
        self.budget -= added.max(0);
        added > 0 && self.budget < 0 && in_use(shared, live()) > self.limit
    }

    /// The allocator's figure was read just now on this thread; so much is in use.
    pub fn calibrated(&mut self, shared: &Shared, used: u64) {
        self.tap.forget();
        if self.limit != 0 && used > self.limit {
            shared.helper.ask_eviction();
            shared.keyspace.wake_helper();
        }
    }

    /// Whether there is a limit for which the gauge was not looked at yet; it is now.
    #[inline]
    pub fn is_new(&mut self) -> bool {
        self.limit != std::mem::replace(&mut self.looked, self.limit) && self.limit != 0
    }

    /// Follows the limit.
    #[inline]
    pub fn begin(&mut self, limit: u64) {
        if self.limit != limit {
            if self.limit == 0 {
                // Nothing was reported so far; the gauge was set with the limit.
                self.tap.forget();
            }
            self.limit = limit;
            self.budget = -1;
        }
    }

    /// Whether this thread has freed so much that a look at the fragmentation is due.
    #[inline]
    pub fn has_freed_much(&mut self) -> bool {
        self.tap.has_freed_much()
    }

    /// Reports what this thread has allocated and freed.
    pub fn report(&mut self, shared: &Shared) {
        self.tap.report(&shared.memory);
    }

    /// With a limit: has unused pages given back after much was freed, by the helper thread if it comes to it.
    #[inline]
    pub fn bound_unused(&mut self, shared: &Shared, is_helper: bool) {
        match self.tap.tell_freed(&shared.memory) {
            Due::No => {}
            Due::Helper if !is_helper => {
                shared.helper.ask_pages();
                shared.keyspace.wake_helper();
            }
            Due::Helper | Due::Now => shared.memory.unused.give_back(),
        }
    }
}

/// How long one command may be held up, in nanoseconds: Redis' curve.
fn time_limit_ns(tenacity: u32) -> u64 {
    match tenacity {
        0..=10 => 50_000 * u64::from(tenacity),
        11..=99 => (500_000.0 * 1.15_f64.powi(tenacity.cast_signed() - 10)) as u64,
        _ => u64::MAX,
    }
}

/// Where timers of dropped keys are noted.
enum Timers<'a> {
    /// A worker's own.
    Own(&'a mut Expiry),
    /// The common count.
    Common,
}

/// What becomes of dropped keys: events, timers, memory, counters.
struct Dropped<'a> {
    shared: &'a Shared,
    timers: Timers<'a>,
    lazy: bool,
    evicted: u64,
    expired: u64,
    /// The longest time that freeing one value took.
    longest_ns: u64,
}

impl<'a> Dropped<'a> {
    fn new(shared: &'a Shared, config: &Config, timers: Timers<'a>) -> Dropped<'a> {
        let lazy = config.lazyfree_lazy_eviction;
        Dropped { shared, timers, lazy, evicted: 0, expired: 0, longest_ns: 0 }
    }

    fn count(self, worker: u16) {
        if self.evicted + self.expired > 0 {
            let mut counters = self.shared.stats.lane(worker);
            counters.evicted_keys += self.evicted;
            counters.expired_keys += self.expired;
            counters.dirty += self.evicted + self.expired;
        }
    }
}

impl Sink for Dropped<'_> {
    fn gone(&mut self, db: DbId, hash: KeyHash, entry: EntryRef<'_>, why: Cause) {
        match why {
            Cause::Expired => {
                self.expired += 1;
                delivery::expired(self.shared, db, &entry, Reason::Eviction, clock::now_ms());
            }
            Cause::Evicted => {
                self.evicted += 1;
                delivery::evicted(self.shared, db, entry.key());
            }
        }
        if let Some(deadline) = entry.deadline() {
            match &mut self.timers {
                Timers::Own(expiry) => {
                    expiry.change(db, hash, Some((deadline, entry.armed())), None);
                }
                Timers::Common => self.shared.identities.add_stale(self.shared.identities.identity(db), 1),
            }
        }
    }

    fn value(&mut self, value: Value) {
        if self.lazy || value.is_large() {
            self.shared.helper.drop_later(std::iter::once(value), &self.shared.memory);
            self.shared.keyspace.wake_helper();
        } else {
            let began = clock::mono_ns();
            drop(value);
            self.longest_ns = self.longest_ns.max(clock::mono_ns() - began);
        }
    }
}

/// After a batch that exceeded the limit: a slice is evicted at once, so that those who cached a key
/// hear of it before the next request is answered; the rest is left to the helper thread.
#[cold]
pub fn pay_back(shared: &Shared, config: &Config, hands: Hands<'_>, batch: &Batch<'_>, now_ms: u64) {
    let Hands { local, expiry, .. } = hands;
    let rules = Rules::of(config).filter(|_| shared.pause.active(now_ms).is_none());
    let made = rules.map(|rules| {
        let mut sink = Dropped::new(shared, config, Timers::Own(expiry));
        let made = slice(shared, &mut local.room, batch, &rules, now_ms, &mut sink);
        sink.count(local.worker);
        made
    });
    if made != Some(Made::Enough) {
        shared.helper.ask_eviction();
        shared.keyspace.wake_helper();
    }
}

/// What the helper thread does for a limit that is exceeded while nobody asks for room, or by more than
/// a command should wait for. One slice; true if there is more to do.
pub fn in_background(shared: &Shared, room: &mut Room, batch: &Batch<'_>, now_ms: u64, lane: u16) -> bool {
    let config = shared.config.load();
    room.begin(shared.memory.limit());
    room.tap.report_now(&shared.memory);
    let over = room.limit != 0 && in_use(shared, batch.live_bytes()) > room.limit;
    let rules = Rules::of(&config).filter(|_| over && shared.pause.active(now_ms).is_none());
    let Some(rules) = rules else {
        shared.memory.note_exceeded(over, clock::mono_ms);
        return false;
    };
    let mut sink = Dropped::new(shared, &config, Timers::Common);
    let made = slice(shared, room, batch, &rules, now_ms, &mut sink);
    sink.count(lane);
    shared.memory.note_exceeded(made != Made::Enough, clock::mono_ms);
    made == Made::Unfinished
}

/// Follows `maxmemory`, `maxmemory-clients` and `maxmemory-policy`: at the start, after CONFIG SET, and (with `auto`) with the
/// pressure on the machine's memory.
pub fn follow_settings(shared: &Shared) {
    let config = shared.config.load();
    let bytes = match config.maxmemory {
        MemoryCap::Bytes(bytes) => bytes,
        MemoryCap::Percent(share) => limits::ceiling() / 100 * u64::from(share),
        MemoryCap::Auto => shared.pressure.limit(limits::ceiling()),
    };
    shared.memory.set_limit(bytes, limits::ceiling);
    shared.stats.policies.follow(config.maxmemory_policy, || shared.stats.score());
    shared.clients.set_memory_limit(config.maxmemory_clients.resolve(bytes));
    if !Rules::of(&config).is_some_and(|rules| rules.is_arc()) {
        shared.eviction.balance.forget();
    }
    if bytes > 0 {
        shared.memory.calibrate(allocator::figures().allocated);
        shared.helper.ask_eviction();
        shared.keyspace.wake_helper();
    }
}

/// Looks at the pressure on memory, with `maxmemory auto`. For the helper thread: it reads files.
pub fn follow_pressure(shared: &Shared) {
    if shared.config.load().maxmemory == MemoryCap::Auto && shared.pressure.look(limits::ceiling()) {
        follow_settings(shared);
        tracing::debug!("maxmemory is {} now", shared.memory.limit());
    }
}

/// Whether the pressure should be looked at again.
pub fn wants_look_at_pressure(shared: &Shared, config: &Config, now_ms: u64) -> bool {
    config.maxmemory == MemoryCap::Auto && shared.pressure.is_due(now_ms)
}

/// Gives the adaptive policy's bits to keys that were just stored and that it remembers.
#[cold]
pub fn recognise(ctx: &mut crate::commands::ctx::Ctx<'_, '_>, tick: u8) {
    let batch = ctx.batch;
    let eviction = &ctx.shared.eviction;
    ctx.keys.for_each_created(|db, hash, entry| {
        let bytes = crate::eviction::walk::footprint(&entry);
        eviction.returned(batch, db, hash, bytes, tick)
    });
}
