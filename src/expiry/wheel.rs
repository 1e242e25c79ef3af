//! The timer wheel: one worker's, for one database.
//!
//! An item is 8 bytes: 40 bits of a key's hash and 24 bits of the tick at which it comes up; its slot implies the other
//! bits. It names a hash and not a place, so it survives every move of the entry, and any worker can resolve it.
//! The caller resolves a due item with [`super::judge`] against the entries with these hash bits, all of them.
//!
//! **When.** An item armed for deadline `d` comes up in the first [`Wheel::advance`] with `now_ms > d`, as Redis has it:
//! a key is served through the millisecond of its deadline. Never earlier, except after a step of the clock (below).
//!
//! **Cost.** Arming touches one chunk; the items of a slot move at most three times, long before they are due, when
//! nothing else is. All work over more than one item is sliced by a budget of items, and stopping costs nothing: see the invariants of `levels`.
//!
//! **Clock.** Ticks are Unix milliseconds of the wall clock, since deadlines are. Forward, by however much: the wheel
//! goes from event to event, empty stretches cost nothing, and everything that became due is handed out in slices.
//! Backward by more than [`BACKSTEP_TOLERANCE_MS`]: the levels, whose cursor is now in the future, are set aside and new
//! ones are started at the new time, so what is armed from then on comes up on time; the old items move over in slices,
//! with the ticks they have. Those few that are now further ahead than the wheel reaches come up at once, and their
//! entries re-arm them. No item is lost and none is handed out twice.

use super::chunks::Chunks;
use super::levels::{Levels, hash_of};
use super::policy::BEHIND_MS;

/// How far ahead an item can be armed: 49.7 days, less what [`BEHIND_MS`] asks for. A later deadline is armed for this
/// time and re-armed by whoever resolves the item.
const AHEAD_MS_MAX: u64 = (1 << 32) - 2 * BEHIND_MS;

/// Steps back up to this are taken for clock jitter between readers. What is armed for the time between the two
/// readings comes up late by at most this much.
pub const BACKSTEP_TOLERANCE_MS: u64 = 16;

/// Levels set aside by steps back of the clock that are not yet moved over. With more than these, a slice moves some
/// whole, budget or not: a clock that steps back this often within milliseconds may cost a pause, but no memory.
const RETIRED_MAX: usize = 16;

/// Items moved ahead of their time between two looks at the clock, also where fewer are handed out.
const AHEAD_ITEMS: usize = 64;

/// Below this many items a wheel is not swept for stale ones.
pub(super) const SWEEP_ITEMS_MIN: usize = 1024;

/// Free chunks beyond the used ones before a wheel is compacted: two blocks, 128 KiB.
const COMPACT_SLACK_CHUNKS: usize = 1024;

/// An item whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The hash bits that were armed.
    pub hash40: u64,
    /// The tick it was armed for, to be compared with what the entry stores.
    pub tick: u32,
}

/// Whether a sliced operation is through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is left to do.
    Done,
    /// The budget ran out: call again.
    More,
}

/// Work that a wheel asks for when there is time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// More items are stale than live: call [`Wheel::sweep`] until it is done.
    Sweep,
    /// Long-lived items hold on to the memory of a burst: call [`Wheel::compact`] until it is done.
    Compact,
}

/// A pass over all slots that was begun.
#[derive(Clone, Copy)]
struct Pass {
    kind: Upkeep,
    from: usize,
}

/// A hierarchical timer wheel.
pub struct Wheel {
    levels: Levels,
    retired: Vec<Levels>,
    chunks: Chunks,
    len: usize,
    pass: Option<Pass>,
    /// Free chunks that the last compaction left: not worth another one until there are more.
    settled: usize,
}

impl Wheel {
    /// An empty wheel. Takes 8 KiB; items take more, in blocks of 64 KiB.
    #[must_use]
    pub fn new(now_ms: u64) -> Self {
        Wheel {
            levels: Levels::new(now_ms.saturating_sub(1)),
            retired: Vec::new(),
            chunks: Chunks::new(),
            len: 0,
            pass: None,
            settled: 0,
        }
    }

    /// Adds an item for a key's deadline and returns the tick that its entry is to store. `hash40` are the bits of the
    /// key's hash that lead back to it. A deadline in the past comes up in the next [`Wheel::advance`].
    #[inline]
    pub fn arm(&mut self, hash40: u64, deadline_ms: u64) -> u32 {
        debug_assert!(hash40 < 1 << 40);
        let cursor = self.levels.cursor;
        let tick = deadline_ms.clamp(cursor, cursor + AHEAD_MS_MAX);
        self.levels.push(&mut self.chunks, hash40, tick);
        self.len += 1;
        tick as u32
    }

    /// Tells the wheel what the wall clock says, in constant time. To be called before the first [`Wheel::arm`] of a
    /// batch, so that an item armed after the clock was set back is not put where the cursor was; `advance` does it too.
    #[inline]
    pub fn shift(&mut self, now_ms: u64) {
        if now_ms.saturating_add(BACKSTEP_TOLERANCE_MS) < self.levels.cursor {
            self.step_back(now_ms);
        }
    }

    #[cold]
    fn step_back(&mut self, now_ms: u64) {
        let levels = std::mem::replace(&mut self.levels, Levels::new(now_ms.saturating_sub(1)));
        if self.len > 0 && !levels.is_empty() {
            self.retired.push(levels);
        }
        // A pass does not go on in other levels: what it has detached is found by whoever empties the old ones.
        self.pass = None;
    }

    /// Hands out what is due: items with a deadline before `now_ms`, in the order of their ticks. Looks at no more than
    /// `budget` items, moved ones included; the rest is for the next call. When all of that is done, it moves some that are
    /// to be due soon.
    pub fn advance(&mut self, now_ms: u64, budget: usize, due: &mut Vec<Due>) -> Progress {
        self.shift(now_ms);
        let mut left = budget;
        if !self.retired.is_empty() && self.resettle(&mut left, due) == Progress::More {
            return Progress::More;
        }
        while let Some(tick) = self.levels.next_due() {
            if tick >= now_ms {
                break;
            }
            self.levels.cursor = tick;
            if self.cascade(0, &mut left) == Progress::More || self.drain(&mut left, due) == Progress::More {
                return Progress::More;
            }
        }
        self.levels.cursor = self.levels.cursor.max(now_ms.saturating_sub(1));
        self.settled = self.settled.min(self.chunks.free());
        self.cascade(1, &mut budget.max(AHEAD_ITEMS))
    }

    /// Moves the items of the cursor's slots, or of those so many behind them, one or more levels down, the highest level
    /// first.
    fn cascade(&mut self, behind: u64, left: &mut usize) -> Progress {
        for level in (1..4).rev() {
            let Some(slot) = self.levels.filled(level, behind) else {
                continue;
            };
            loop {
                if *left == 0 {
                    return Progress::More;
                }
                let Some(item) = self.levels.pop(&mut self.chunks, slot) else {
                    break;
                };
                let tick = self.levels.tick_of(slot, item);
                self.levels.push(&mut self.chunks, hash_of(item), tick);
                *left -= 1;
            }
        }
        Progress::Done
    }

    /// Hands out the items of the cursor's tick.
    fn drain(&mut self, left: &mut usize, due: &mut Vec<Due>) -> Progress {
        let tick = self.levels.cursor as u32;
        let Some(slot) = self.levels.filled(0, 0) else {
            return Progress::Done;
        };
        loop {
            if *left == 0 {
                return Progress::More;
            }
            let Some(item) = self.levels.pop(&mut self.chunks, slot) else {
                return Progress::Done;
            };
            due.push(Due { hash40: hash_of(item), tick });
            self.len -= 1;
            *left -= 1;
        }
    }

    /// Moves items over from levels that a step back of the clock has set aside.
    fn resettle(&mut self, left: &mut usize, due: &mut Vec<Due>) -> Progress {
        while let Some(mut old) = self.retired.pop() {
            let unbounded = self.retired.len() >= RETIRED_MAX;
            while let Some(slot) = old.filled_from(0) {
                if *left == 0 && !unbounded {
                    self.retired.push(old);
                    return Progress::More;
                }
                let Some(item) = old.pop(&mut self.chunks, slot) else {
                    continue;
                };
                let (hash40, tick) = (hash_of(item), old.tick_of(slot, item));
                // At the old cursor stand items for deadlines before it, too: their true time is in the entry.
                let fits = tick > self.levels.cursor && tick - self.levels.cursor <= AHEAD_MS_MAX;
                if fits && tick > old.cursor {
                    self.levels.push(&mut self.chunks, hash40, tick);
                } else {
                    due.push(Due { hash40, tick: tick as u32 });
                    self.len -= 1;
                }
                *left = left.saturating_sub(1);
            }
        }
        Progress::Done
    }

    /// The earliest time at which [`Wheel::advance`] may have work: a worker with nothing else to do sleeps until then.
    /// `None` if the wheel is empty. May be earlier than the first deadline, by the cascades that lead to it (three at most).
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        if !self.retired.is_empty() {
            return Some(self.levels.cursor);
        }
        if self.len == 0 {
            return None;
        }
        self.levels.next_event().map(|tick| tick + 1)
    }

    /// The work that the wheel asks for now, if any. `stale` is how many items its owner believes to stand for no entry
    /// any more: their keys were removed, persisted or given an earlier deadline, perhaps by another worker, so the
    /// wheel cannot count them itself.
    #[must_use]
    pub fn upkeep(&self, stale: usize) -> Option<Upkeep> {
        if let Some(pass) = self.pass {
            return Some(pass.kind);
        }
        if !self.retired.is_empty() {
            return None;
        }
        if self.len >= SWEEP_ITEMS_MIN && stale > self.len - stale.min(self.len) {
            return Some(Upkeep::Sweep);
        }
        let free = self.chunks.free();
        if free > self.chunks.used() + COMPACT_SLACK_CHUNKS && free > self.settled + COMPACT_SLACK_CHUNKS {
            return Some(Upkeep::Compact);
        }
        None
    }

    /// Drops stale items ([`Wheel::len`] tells how many): asks `is_live(hash40, tick)` for up to `budget` of them. A pass that was begun goes on where it
    /// stopped, whatever happened in between; items that move meanwhile may be left for the next pass.
    pub fn sweep(&mut self, budget: usize, mut is_live: impl FnMut(u64, u32) -> bool) -> Progress {
        self.pass_over(Upkeep::Sweep, budget, &mut is_live)
    }

    /// Packs the items into as few blocks as they need, up to `budget` of them, without asking anyone.
    pub fn compact(&mut self, budget: usize) -> Progress {
        self.pass_over(Upkeep::Compact, budget, &mut |_, _| true)
    }

    fn pass_over(&mut self, kind: Upkeep, budget: usize, keep: &mut dyn FnMut(u64, u32) -> bool) -> Progress {
        let from = match self.pass {
            Some(pass) if pass.kind == kind => pass.from,
            _ => 0,
        };
        let mut left = budget;
        let (next, dropped) = self.levels.sift(&mut self.chunks, from, &mut left, keep);
        self.len -= dropped;
        self.pass = next.map(|from| Pass { kind, from });
        if self.pass.is_some() {
            return Progress::More;
        }
        // A sweep leaves what it kept in the blocks where it found it: packing that is worth a pass of its own.
        self.settled = if kind == Upkeep::Compact { self.chunks.free() } else { 0 };
        Progress::Done
    }

    /// Forgets all items, as when the database was emptied.
    pub fn clear(&mut self) {
        *self = Wheel::new(self.levels.cursor + 1);
    }

    #[cfg(test)]
    pub(super) fn retired_levels(&self) -> usize {
        self.retired.len()
    }

    /// Items, stale ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that the wheel holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Wheel>()
            + (1 + self.retired.len()) * Levels::BYTES
            + self.retired.capacity() * size_of::<Levels>()
            + self.chunks.bytes()
    }
}
