//! What there is to do beside requests, and who is told.
//!
//! One word says it all: units of migration that the workers owe, and flags. A worker looks at
//! it once per batch with one relaxed load; the helper thread sleeps until a flag comes up.

use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// A database's load should be looked at.
const CHECK: u32 = 1 << 31;
/// The same, left to the helper thread.
const CHECK_LATER: u32 = 1 << 27;
/// An arena has more dead bytes than it need have; and that was seen, and can wait a little.
const COMPACT: u32 = 1 << 30;
const COMPACT_LATER: u32 = 1 << 29;
/// A collection came out of line.
const LOOSENED: u32 = 1 << 26;
/// The helper is tidying up because it was quiet.
const SETTLING: u32 = 1 << 28;
const OWED_MAX: u32 = 0xffff;
/// How long memory is short after somebody has said so.
const SHORT_MS: u64 = 1000;

#[derive(Default)]
pub(super) struct Work {
    word: AtomicU32,
    /// Databases that are being resized.
    pub migrating: AtomicUsize,
    /// When the helper looks again at what can wait, and until when memory is short; monotonic milliseconds.
    look_at_ms: AtomicU64,
    short_until_ms: AtomicU64,
    /// Some database has more shards than its keys need, and should be looked at now and then.
    watching: AtomicBool,
    woken: Mutex<bool>,
    bell: Condvar,
}

impl Work {
    #[inline]
    pub fn is_for_workers(&self) -> bool {
        self.word.load(Relaxed) & (CHECK | OWED_MAX) != 0
    }

    /// Whether the helper has something to do that needs no quiet.
    pub fn is_for_helper(&self) -> bool {
        self.word.load(Relaxed) & (CHECK | CHECK_LATER | COMPACT | SETTLING) != 0
            || self.migrating.load(Relaxed) != 0
    }

    /// Whether segments are to be emptied.
    pub fn compacts(&self) -> bool {
        self.word.load(Relaxed) & (COMPACT | SETTLING) != 0
    }

    pub fn is_watching(&self) -> bool {
        self.watching.load(Relaxed)
    }

    pub fn watch(&self) {
        self.watching.store(true, Relaxed);
    }

    /// Whoever takes it looks at all databases that are watched, and says so again if there still are some.
    pub fn take_watch(&self) -> bool {
        self.is_watching() && self.watching.swap(false, Relaxed)
    }

    pub fn owe_unit(&self) {
        if self.word.load(Relaxed) & OWED_MAX < OWED_MAX / 2 {
            self.word.fetch_add(1, Relaxed);
        }
    }

    pub fn owed(&self) -> u32 {
        self.word.load(Relaxed) & OWED_MAX
    }

    /// A unit was moved, by whomever.
    pub fn pay_unit(&self) {
        let pay = |w: u32| (w & OWED_MAX != 0).then(|| w - 1);
        let _ = self.word.fetch_update(Relaxed, Relaxed, pay);
    }

    /// Nothing is left to move.
    pub fn forgive(&self) {
        self.word.fetch_and(!OWED_MAX, Relaxed);
    }

    fn raise(&self, flag: u32) {
        if self.word.load(Relaxed) & flag == 0 && self.word.fetch_or(flag, Relaxed) & flag == 0 {
            self.wake();
        }
    }

    fn take(&self, flag: u32) -> bool {
        self.word.load(Relaxed) & flag != 0 && self.word.fetch_and(!flag, Relaxed) & flag != 0
    }

    pub fn request_check(&self) {
        self.raise(CHECK);
    }

    /// A worker leaves the look to the helper thread.
    pub fn leave_check(&self) {
        self.raise(CHECK_LATER);
    }

    /// Whether the load should be looked at now.
    pub fn take_check(&self, helper: bool) -> bool {
        self.take(CHECK) | (helper && self.take(CHECK_LATER))
    }

    /// A collection came out of line: the helper will look some time later.
    pub fn loosened(&self) {
        self.raise(LOOSENED);
    }

    pub fn take_loosened(&self) -> bool {
        self.take(LOOSENED)
    }

    /// There are holes. Nothing happens if the helper knows and waits for calm.
    #[inline]
    pub fn request_compaction(&self) {
        if self.word.load(Relaxed) & (COMPACT | COMPACT_LATER) == 0 {
            self.raise(COMPACT);
        }
    }

    /// The helper was at it and is not at the end.
    pub fn go_on_compacting(&self) {
        self.word.fetch_or(COMPACT, Relaxed);
    }

    pub fn take_compaction(&self) -> bool {
        self.take(COMPACT)
    }

    /// The helper looks again at this time.
    pub fn compact_later(&self, at_ms: u64) {
        self.look_at_ms.store(at_ms, Relaxed);
        self.word.fetch_or(COMPACT_LATER, Relaxed);
    }

    /// There is nothing to look at again: it was quiet, and all that pays is done.
    pub fn compact_no_more(&self) {
        self.word.fetch_and(!COMPACT_LATER, Relaxed);
    }

    /// The time until that, if it waits for it; when it is over, compaction is due.
    pub fn until_compaction(&self, now_ms: u64) -> Option<Duration> {
        if self.word.load(Relaxed) & COMPACT_LATER == 0 {
            return None;
        }
        let left = self.look_at_ms.load(Relaxed).saturating_sub(now_ms);
        if left == 0 {
            self.word.fetch_or(COMPACT, Relaxed);
            self.word.fetch_and(!COMPACT_LATER, Relaxed);
        }
        Some(Duration::from_millis(left))
    }

    /// For a second, holes do not wait for calm.
    pub fn memory_is_short(&self, now_ms: u64) {
        if self.short_until_ms.load(Relaxed) < now_ms + SHORT_MS / 2 {
            self.short_until_ms.store(now_ms + SHORT_MS, Relaxed);
            self.look_at_ms.store(now_ms, Relaxed);
            self.wake();
        }
    }

    pub fn is_memory_short(&self, now_ms: u64) -> bool {
        now_ms < self.short_until_ms.load(Relaxed)
    }

    pub fn settle(&self, on: bool) {
        if on {
            self.word.fetch_or(SETTLING, Relaxed);
        } else if self.is_settling() {
            self.word.fetch_and(!SETTLING, Relaxed);
        }
    }

    pub fn is_settling(&self) -> bool {
        self.word.load(Relaxed) & SETTLING != 0
    }

    /// Wakes the helper thread.
    pub fn wake(&self) {
        *self.woken.lock() = true;
        self.bell.notify_one();
    }

    /// Sleeps until it is woken or the time is over; whether it was woken.
    pub fn sleep(&self, limit: Option<Duration>) -> bool {
        let mut woken = self.woken.lock();
        while !*woken {
            match limit {
                None => self.bell.wait(&mut woken),
                Some(limit) => {
                    if self.bell.wait_for(&mut woken, limit).timed_out() {
                        break;
                    }
                }
            }
        }
        std::mem::take(&mut *woken)
    }
}
