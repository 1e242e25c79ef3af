//! The helper thread: migration, compaction and frees, so that workers do none of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock;
use crate::commands::outbox;
use crate::commands::room::{self, Room};
use crate::config::cores;
use crate::delivery;
use crate::effects::ended::Reason;
use crate::events::tracking::TRIM_SLICE;
use crate::expiry::Graveyard;
use crate::keyspace::{DbId, EntryRef, Participant, Purge};
use crate::memory::{Gauge, allocator};
use crate::observe::latency::MIGRATION_SLICE;
use crate::server::connection::panic_text;
use crate::server::defrag::{Bell, Defragger};
use crate::server::pace::{Pace, Reading};
use crate::server::packing::Packer;
use crate::server::quiet::Quiet;
use crate::shared::Shared;
use crate::values::Value;

/// Longest slice of eviction between two looks at the mailbox.
const SLICE_US: u64 = 2_000;

/// How long MEMORY PURGE waits for the end of a migration, which is near unless something is wrong.
const MIGRATION_ENDS_NS: u64 = 10_000_000_000;

/// Pause after a panic, so that one that comes back each time does not take a core.
const AFTER_A_PANIC: Duration = Duration::from_millis(100);

/// Work that somebody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chore {
    /// MEMORY PURGE.
    Purge,
    /// DEBUG ENGINES: begin a resize.
    Resize {
        /// The database.
        db: DbId,
        /// Twice as large, else half.
        up: bool,
    },
    /// DEBUG FAULT HELPER.
    Panic,
    /// `maxmemory auto`: look at the pressure on memory.
    Pressure,
    /// Much was freed: give unused pages back.
    Pages,
    /// Too many keys are tracked: forget some.
    TrimTracking,
    /// The last client that tracked keys is gone.
    SweepTracking,
}

/// Chores that may wait; a further one is dropped, as it would find its work done.
const CHORES_MAX: usize = 64;

/// Values that are too large to be dropped on a worker, and chores.
#[derive(Default)]
pub struct Mailbox {
    values: Mutex<Graveyard>,
    /// Other things that take time to drop.
    litter: Mutex<Vec<Box<dyn Send>>>,
    chores: Mutex<Vec<Chore>>,
    pending: std::sync::atomic::AtomicUsize,
    freed: std::sync::atomic::AtomicU64,
    evict: std::sync::atomic::AtomicBool,
    /// Somebody saw that much of the allocator's pages is unused.
    pub fragmented: Bell,
    /// Commands are run.
    pub in_use: Bell,
}

impl Mailbox {
    /// Number of values that wait to be freed (`lazyfree_pending_objects`).
    pub fn pending(&self) -> usize {
        self.pending.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Number of values freed here (`lazyfreed_objects`).
    pub fn freed(&self) -> u64 {
        self.freed.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        self.freed.store(0, std::sync::atomic::Ordering::Relaxed);
    }

    /// Hands values over; wake the helper afterwards. The gauge is told what they take. Where too much waits already, only what
    /// would hold the caller up is handed over, and the rest freed at once.
    pub fn drop_later(&self, values: impl Iterator<Item = Value>, gauge: &Gauge) {
        if gauge.is_much_leaving() {
            // What is freed here is freed before the others are kept waiting.
            let huge: Graveyard = values.filter(Value::is_huge).collect();
            self.put(huge.into_iter(), gauge);
        } else {
            self.put(values, gauge);
        }
    }

    fn put(&self, values: impl Iterator<Item = Value>, gauge: &Gauge) {
        let mut queue = self.values.lock();
        let before = queue.len();
        queue.extend(values);
        let added = queue.len() - before;
        gauge.leaving(bytes(&queue[before..]));
        self.pending.fetch_add(added, std::sync::atomic::Ordering::Relaxed);
    }

    /// Hands over anything else that takes time to drop; wake the helper afterwards.
    pub fn discard(&self, litter: Box<dyn Send>) {
        self.litter.lock().push(litter);
    }

    /// `tracking-table-max-keys` is exceeded by far; wake the helper afterwards.
    pub fn ask_trim_tracking(&self) {
        self.ask(Chore::TrimTracking);
    }

    /// Nobody tracks keys any more; wake the helper afterwards.
    pub fn ask_sweep_tracking(&self) {
        self.ask(Chore::SweepTracking);
    }

    /// MEMORY PURGE; wake the helper afterwards.
    pub fn ask_purge(&self) {
        self.ask(Chore::Purge);
    }

    /// DEBUG ENGINES: one resize, up or down; wake the helper afterwards.
    pub fn ask_resize(&self, db: DbId, up: bool) {
        self.ask(Chore::Resize { db, up });
    }

    /// DEBUG FAULT HELPER: a panic; wake the helper afterwards.
    pub fn ask_panic(&self) {
        self.ask(Chore::Panic);
    }

    /// Memory is over its limit; wake the helper afterwards.
    pub fn ask_eviction(&self) {
        self.evict.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// `maxmemory auto`: time to look at the pressure on memory; wake the helper afterwards.
    pub fn ask_pressure(&self) {
        self.ask(Chore::Pressure);
    }

    /// Unused pages are to be given back; wake the helper afterwards.
    pub fn ask_pages(&self) {
        self.ask(Chore::Pages);
    }

    fn ask(&self, chore: Chore) {
        let mut chores = self.chores.lock();
        if chores.len() < CHORES_MAX {
            chores.push(chore);
        }
    }

    /// Drops what waits here; whether there was anything.
    fn empty(&self, shared: &Shared, room: &mut Room) -> bool {
        let values = std::mem::take(&mut *self.values.lock());
        let (count, bytes) = (values.len(), bytes(&values));
        drop(values);
        drop(std::mem::take(&mut *self.litter.lock()));
        room.report(shared);
        shared.memory.leaving(-bytes);
        self.pending.fetch_sub(count, std::sync::atomic::Ordering::Relaxed);
        self.freed.fetch_add(count as u64, std::sync::atomic::Ordering::Relaxed);
        count > 0
    }
}

fn bytes(values: &[Value]) -> i64 {
    i64::try_from(values.iter().map(|v| v.memory()).sum::<usize>()).unwrap_or(i64::MAX)
}

/// Delivers the keys that a migration found past their time.
pub struct ExpiredByMigration<'s> {
    /// The process' state.
    pub shared: &'s Shared,
    /// Worker whose counters are used; the helper has its own.
    pub worker: u16,
}

impl Purge for ExpiredByMigration<'_> {
    fn enabled(&self) -> bool {
        // What is not dropped here is dropped when its timer comes up.
        self.shared.pause.active(clock::now_ms()).is_none() && !self.shared.outbox.is_full()
    }

    fn expired(&mut self, db: DbId, entry: EntryRef<'_>) {
        delivery::expired(self.shared, db, &entry, Reason::Migration, clock::now_ms());
        if entry.fields_armed().is_some() {
            let identities = &self.shared.identities;
            identities.add_hashes(identities.identity(db), -1);
        }
        let mut counters = self.shared.stats.lane(self.worker);
        counters.expired_keys += 1;
        counters.dirty += 1;
    }

    fn slice(&mut self, took_ns: u64) {
        self.shared.stats.lane(self.worker).slices.record(took_ns);
        let threshold = self.shared.config.load().latency_monitor_threshold;
        self.shared.latency.note(MIGRATION_SLICE, took_ns / 1000, threshold, clock::now_ms);
    }
}

/// Evicts for at most a slice, if that was asked for; true if there is more to do.
fn evict(shared: &Shared, room: &mut Room, participant: &mut Participant) -> bool {
    use std::sync::atomic::Ordering::Relaxed;
    if !shared.helper.evict.swap(false, Relaxed) {
        return false;
    }
    let end = clock::mono_ns() + SLICE_US * 1000;
    let mut more = true;
    while more && clock::mono_ns() < end && !shared.outbox.is_full() {
        more = room::in_background(shared, room, &participant.enter(), clock::now_ms(), shared.workers);
    }
    if more {
        shared.helper.ask_eviction();
    }
    more
}

/// Runs until the process ends. A panic is a bug that must not end growth, compaction and frees for good: it is logged,
/// and the work goes on with the next piece.
pub fn run(shared: Arc<Shared>) {
    shared.stats.is_mine(shared.workers);
    loop {
        let Err(payload) = catch_unwind(AssertUnwindSafe(|| work(&shared))) else { return };
        tracing::error!("the helper thread ended in a panic and starts again: {}", panic_text(&*payload));
        std::thread::sleep(AFTER_A_PANIC);
    }
}

/// Sleeps without a tick while there is nothing to do.
fn work(shared: &Shared) {
    let mut participant = shared.keyspace.register_helper();
    let mut purge = ExpiredByMigration { shared, worker: shared.workers };
    let mut room = Room::default();
    let mut pace = Pace::new(cores());
    let mut worked = false;
    let mut defragger = Defragger::default();
    let mut packer = Packer::default();
    let mut quiet = Quiet::default();
    loop {
        worked |= shared.helper.empty(shared, &mut room);
        room.bound_unused(shared, true);
        let chores = std::mem::take(&mut *shared.helper.chores.lock());
        for chore in chores {
            match chore {
                Chore::Purge => {
                    end_migration(shared, &mut participant, &mut purge);
                    packer.at_once(shared, &mut participant);
                    defragger.at_once(shared, &mut participant);
                    shared.keyspace.purge(&mut participant, clock::now_ms(), &mut purge);
                    allocator::flush_thread();
                    allocator::purge();
                }
                Chore::Pressure => room::follow_pressure(shared),
                Chore::Pages => shared.memory.unused.give_back(),
                Chore::Resize { db, up } => {
                    if !shared.keyspace.force_resize(&mut participant, db, up) {
                        tracing::info!("DEBUG ENGINES: database {db} cannot be resized now");
                    }
                }
                Chore::TrimTracking => while shared.tracking.trim(TRIM_SLICE) {},
                Chore::SweepTracking => shared.tracking.sweep(),
                Chore::Panic => panic!("asked for by DEBUG FAULT"),
            }
        }
        let evicts = evict(shared, &mut room, &mut participant);
        // Two of its clocks are system calls, and the helper may be woken often when it moves nothing.
        let moves = shared.keyspace.has_to_move().then(Reading::now);
        let slice_us = pace.begin(moves);
        let more = evicts | shared.keyspace.maintain(&mut participant, slice_us, clock::now_ms(), &mut purge);
        room.report(shared);
        shared.keyspace.settle_freed();
        // Keys that went may have been waited for, or belong into a stream: a worker sees to that.
        if outbox::has_errands(shared) {
            shared.errands.notify_one();
        }
        if shared.outbox.is_full() {
            std::thread::sleep(Duration::from_millis(1));
        }
        if let Some(began) = moves.filter(|_| more) {
            let percent = shared.config.load().migration_cpu_percent;
            let rest = pace.end(began, Reading::now(), percent);
            // What workers owe is the floor under the share, and so is what is dead.
            if !rest.is_zero() && !shared.keyspace.is_behind(&mut participant) {
                std::thread::sleep(rest);
            }
        }
        worked |= more;
        if !more && shared.helper.pending() == 0 {
            let tidied = std::mem::take(&mut worked);
            if tidied {
                // What it frees was allocated by workers: kept here it would serve nobody.
                allocator::flush_thread();
            }
            // What the packer frees the defragger is to look at.
            let rest = [
                packer.step(shared, &mut participant),
                defragger.step(shared, &mut participant, tidied),
                quiet.step(shared),
            ];
            shared.keyspace.wait_for_work(rest.into_iter().flatten().min());
        }
    }
}

/// MEMORY PURGE would pass over what is being moved. The last units may be in the hands of workers.
fn end_migration(shared: &Shared, participant: &mut Participant, purge: &mut dyn Purge) {
    let until = clock::mono_ns() + MIGRATION_ENDS_NS;
    while shared.keyspace.is_migrating() && clock::mono_ns() < until {
        if !shared.keyspace.maintain(participant, SLICE_US, clock::now_ms(), purge) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::keyspace::{Keyspace, Options};

    #[test]
    fn a_long_slice_of_migration_is_a_latency_event() {
        let keyspace = Keyspace::new(Options { reserve_bytes: 1 << 20, ..Options::default() }).unwrap();
        let config = Config { latency_monitor_threshold: 2, ..Config::default() };
        let shared = Shared::new(config, keyspace, 1);
        let mut purge = ExpiredByMigration { shared: &shared, worker: 0 };
        purge.slice(1_900_000);
        assert!(shared.latency.all().is_empty(), "below the threshold");
        purge.slice(3_100_000);
        let (name, series) = shared.latency.series(b"migration-slice").unwrap();
        assert_eq!((name, series.max), (MIGRATION_SLICE, 3));
    }
}
