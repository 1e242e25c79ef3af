//! An arena hands out places for entries and takes them back.
//!
//! One of them is 1/8 of a database, by the top 3 bits of the hash: an open segment to bump into, closed ones, free
//! stacks per 8-byte class.
//!
//! Invariants
//! 1. A segment's meta, and the bytes that it hands out, change only under the lock of
//!    the arena that owns it. A place is written under that lock before it is published,
//!    so whoever took the lock later may read key and size of each entry in it.
//! 2. An entry's length in 8-byte units never changes while it is in its place, dead or
//!    alive: a segment can be walked from its start to `used`. A place is reused only by
//!    an entry of the same number of units.
//! 3. A free stack holds (place, generation); the segment's generation goes up when it
//!    is released or chosen for evacuation, which makes all such items void at once.
//! 4. While a segment is being evacuated nothing new is put into it; it is released by
//!    the evacuation only.

use super::OutOfSpace;
use super::segment::{CLOSED, EVACUATING, OPEN, Ref, SEGMENT_UNITS, Segments, UNIT, UNITS_MAX, first_unit};
use super::unrest::{Mood, Unrest};
use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Larger places have no free stacks: few are of the same size, and compaction finds them.
const STACKED_UNITS_MAX: usize = 192;
/// Items that one free stack keeps; further holes are left to compaction.
const STACK_ITEMS_MAX: usize = 4096;

/// A segment that is being emptied, and how far.
pub(super) struct Victim {
    segment: u32,
    unit: u32,
}

/// An eighth of a database's packed memory.
pub(super) struct Arena {
    index: u32,
    inner: Mutex<Inner>,
    keys: AtomicUsize,
    expires: AtomicUsize,
    boxed: AtomicUsize,
    loose: AtomicUsize,
    /// Units bumped in all segments, and units of them that hold living entries.
    used: AtomicUsize,
    live: AtomicUsize,
    /// A segment is being evacuated.
    unfinished: AtomicBool,
    /// Some free stacks should be looked through.
    stale: AtomicBool,
    /// Before this time no victim is looked for: there was none.
    search_after_ms: AtomicU64,
}

#[derive(Default)]
struct Inner {
    open: Option<u32>,
    segments: Vec<u32>,
    /// By number of units.
    stacks: Vec<Vec<(Ref, u32)>>,
    victim: Option<Victim>,
    /// A victim is out with a thread.
    evacuating: bool,
    sweep: usize,
    inserts: u32,
    /// Stacks that may hold places of segments that are gone; they are looked through one by one.
    stale_stacks: usize,
    /// Segments became empty by themselves since that was done last.
    emptied: bool,
    unrest: Unrest,
    /// Segments visited since the last victim was found, or since the arena was last not still.
    vain: usize,
}

/// How a change alters the counts of a database.
#[derive(Clone, Copy, Default)]
pub(super) struct Delta {
    pub keys: isize,
    pub expires: isize,
    pub boxed: isize,
    pub loose: isize,
}

impl Arena {
    pub fn new(index: u32) -> Self {
        Arena {
            index,
            inner: Mutex::default(),
            keys: AtomicUsize::new(0),
            expires: AtomicUsize::new(0),
            boxed: AtomicUsize::new(0),
            loose: AtomicUsize::new(0),
            used: AtomicUsize::new(0),
            live: AtomicUsize::new(0),
            unfinished: AtomicBool::new(false),
            stale: AtomicBool::new(false),
            search_after_ms: AtomicU64::new(0),
        }
    }

    #[inline]
    pub fn lock<'a>(&'a self, segments: &'a Segments) -> ArenaGuard<'a> {
        ArenaGuard { arena: self, segments, inner: self.inner.lock() }
    }

    pub fn keys(&self) -> usize {
        self.keys.load(Relaxed)
    }

    pub fn expires(&self) -> usize {
        self.expires.load(Relaxed)
    }

    /// Entries that own memory outside of the segment.
    pub fn boxed(&self) -> usize {
        self.boxed.load(Relaxed)
    }

    /// Collections that stand out of line.
    pub fn loose(&self) -> usize {
        self.loose.load(Relaxed)
    }

    pub fn live_bytes(&self) -> usize {
        self.live.load(Relaxed) * UNIT
    }

    pub fn dead_bytes(&self) -> usize {
        self.used.load(Relaxed).saturating_sub(self.live.load(Relaxed)) * UNIT
    }

    /// Whether an evacuation was begun and not ended.
    pub fn is_evacuating(&self) -> bool {
        self.unfinished.load(Relaxed)
    }

    /// The time before which there is no use in looking for a victim.
    pub fn search_after_ms(&self) -> u64 {
        self.search_after_ms.load(Relaxed)
    }

    /// No victim was found: not before this time again.
    pub fn search_after(&self, ms: u64) {
        self.search_after_ms.store(ms, Relaxed);
    }

    /// Whether free stacks hold what compaction has made void.
    pub fn has_stale_stacks(&self) -> bool {
        self.stale.load(Relaxed)
    }

    /// Whether more than `percent` of what is in use is dead, beyond `slack` bytes.
    #[inline]
    pub fn wants_compaction(&self, percent: usize, slack: usize) -> bool {
        let (used, live) = (self.used.load(Relaxed), self.live.load(Relaxed));
        used.saturating_sub(live) * 100 > used * percent + slack / UNIT * 100
    }
}

/// Counters have one writer at a time, the holder of the arena's lock.
#[inline]
fn add(counter: &AtomicUsize, n: isize) {
    counter.store(counter.load(Relaxed).wrapping_add_signed(n), Relaxed);
}

#[inline]
fn add32(counter: &AtomicU32, n: i32) {
    counter.store(counter.load(Relaxed).wrapping_add_signed(n), Relaxed);
}

/// The lock of an arena.
pub(super) struct ArenaGuard<'a> {
    arena: &'a Arena,
    segments: &'a Segments,
    inner: MutexGuard<'a, Inner>,
}

impl ArenaGuard<'_> {
    #[inline]
    pub fn count(&self, delta: Delta) {
        add(&self.arena.keys, delta.keys);
        add(&self.arena.expires, delta.expires);
        add(&self.arena.boxed, delta.boxed);
        add(&self.arena.loose, delta.loose);
    }

    /// Counts inserts while a migration runs; true once every `every`.
    #[inline]
    pub fn insert_tick(&mut self, every: u32) -> bool {
        self.inner.inserts += 1;
        if self.inner.inserts >= every {
            self.inner.inserts = 0;
            return true;
        }
        false
    }

    /// A place of `units`, counted as living. It must be written before the guard goes.
    #[inline]
    pub fn reserve(&mut self, units: usize) -> Result<Ref, OutOfSpace> {
        self.inner.unrest.note(units);
        if let Some(stack) = self.inner.stacks.get_mut(units) {
            while let Some((place, generation)) = stack.pop() {
                let meta = self.segments.meta(place.segment());
                if meta.generation.load(Relaxed) == generation {
                    add32(&meta.live, units as i32);
                    add(&self.arena.live, units as isize);
                    return Ok(place);
                }
            }
        }
        self.bump(units)
    }

    /// A new place at the end of the open segment.
    #[inline]
    pub fn bump(&mut self, units: usize) -> Result<Ref, OutOfSpace> {
        if let Some(segment) = self.inner.open
            && let Some(place) = self.bump_in(segment, units)
        {
            return Ok(place);
        }
        self.bump_new(units)
    }

    fn bump_in(&mut self, segment: u32, units: usize) -> Option<Ref> {
        let meta = self.segments.meta(segment);
        let used = meta.used.load(Relaxed);
        if used + units as u32 > SEGMENT_UNITS {
            return None;
        }
        meta.used.store(used + units as u32, Relaxed);
        add32(&meta.live, units as i32);
        add(&self.arena.used, units as isize);
        add(&self.arena.live, units as isize);
        Some(Ref(segment * SEGMENT_UNITS + used))
    }

    #[cold]
    #[inline(never)]
    fn bump_new(&mut self, units: usize) -> Result<Ref, OutOfSpace> {
        assert!(units <= UNITS_MAX, "invariant: an entry fits a segment");
        let segment = self.segments.take()?;
        if let Some(old) = self.inner.open.take() {
            self.segments.meta(old).state.store(CLOSED, Relaxed);
            if self.segments.meta(old).live.load(Relaxed) == 0 {
                self.give(old);
            }
        }
        let meta = self.segments.meta(segment);
        meta.state.store(OPEN, Relaxed);
        meta.live.store(0, Relaxed);
        meta.used.store(first_unit(segment), Relaxed);
        meta.arena.store(self.arena.index, Relaxed);
        meta.position.store(self.inner.segments.len() as u32, Relaxed);
        self.inner.segments.push(segment);
        self.inner.open = Some(segment);
        Ok(self.bump_in(segment, units).expect("invariant: an empty segment has room"))
    }

    /// A living place dies. The entry in it must be marked dead already.
    #[inline]
    pub fn release(&mut self, place: Ref, units: usize) {
        let segment = place.segment();
        let meta = self.segments.meta(segment);
        add32(&meta.live, -(units as i32));
        add(&self.arena.live, -(units as isize));
        let empty = meta.live.load(Relaxed) == 0;
        match meta.state.load(Relaxed) {
            CLOSED if empty => {
                self.inner.emptied = true;
                self.give(segment);
            }
            OPEN if empty => {
                self.inner.emptied = true;
                let first = first_unit(segment);
                let used = meta.used.load(Relaxed);
                add(&self.arena.used, -((used - first) as isize));
                meta.touched.store(used.max(meta.touched.load(Relaxed)), Relaxed);
                meta.used.store(first, Relaxed);
                add32(&meta.generation, 1);
            }
            CLOSED | OPEN => self.push(place, units, meta.generation.load(Relaxed)),
            // What compaction itself copies is no unrest.
            _ => return,
        }
        self.inner.unrest.note(units);
    }

    /// How much changes in this arena.
    pub fn mood(&mut self, now_ms: u64) -> Mood {
        let mood = self.inner.unrest.look(self.arena.used.load(Relaxed), now_ms);
        if mood != Mood::Still {
            self.inner.vain = 0;
        }
        mood
    }

    fn push(&mut self, place: Ref, units: usize, generation: u32) {
        let stacks = &mut self.inner.stacks;
        if units > STACKED_UNITS_MAX {
            return;
        }
        if stacks.len() <= units {
            stacks.resize_with(units + 1, Vec::new);
        }
        if stacks[units].len() < STACK_ITEMS_MAX {
            stacks[units].push((place, generation));
        }
    }

    fn give(&mut self, segment: u32) {
        let meta = self.segments.meta(segment);
        add(&self.arena.used, -((meta.used.load(Relaxed) - first_unit(segment)) as isize));
        let position = meta.position.load(Relaxed) as usize;
        self.inner.segments.swap_remove(position);
        if let Some(&other) = self.inner.segments.get(position) {
            self.segments.meta(other).position.store(position as u32, Relaxed);
        }
        self.segments.give(segment);
    }

    /// Takes the next segment to empty, or the one that was put back: one with more than
    /// `percent` dead, none if no such was met among the next `visits`. With `open`, it may also be the one that is
    /// being filled.
    pub fn take_victim(&mut self, percent: u32, open: bool, visits: usize) -> Option<Victim> {
        if self.inner.evacuating {
            return None;
        }
        if let Some(victim) = self.inner.victim.take() {
            self.inner.evacuating = true;
            return Some(victim);
        }
        self.inner.vain = self.inner.vain.saturating_add(visits);
        for _ in 0..visits.min(self.inner.segments.len()) {
            self.inner.sweep += 1;
            if self.inner.sweep >= self.inner.segments.len() {
                self.inner.sweep = 0;
            }
            let segment = self.inner.segments[self.inner.sweep];
            let meta = self.segments.meta(segment);
            let (used, live) = (meta.used.load(Relaxed), meta.live.load(Relaxed));
            let dead = used - first_unit(segment) - live;
            let state = meta.state.load(Relaxed);
            if (state == CLOSED || open && state == OPEN) && dead * 100 > used * percent {
                if state == OPEN {
                    self.inner.open = None;
                }
                meta.state.store(EVACUATING, Relaxed);
                add32(&meta.generation, 1);
                self.inner.evacuating = true;
                self.inner.vain = 0;
                self.arena.unfinished.store(true, Relaxed);
                return Some(Victim { segment, unit: first_unit(segment) });
            }
        }
        None
    }

    /// Whether each segment of a still arena was looked at since the last victim: there is no other.
    pub fn has_searched_all(&self) -> bool {
        self.inner.vain >= self.inner.segments.len()
    }

    /// Puts a victim back, to go on later; released if all of it was walked.
    pub fn put_victim(&mut self, victim: Victim) {
        self.inner.evacuating = false;
        let meta = self.segments.meta(victim.segment);
        if victim.unit < meta.used.load(Relaxed) {
            self.inner.victim = Some(victim);
        } else if meta.live.load(Relaxed) == 0 {
            self.give(victim.segment);
            self.look_through_stacks();
        } else {
            debug_assert!(false, "an entry was left behind in an evacuated segment");
            meta.state.store(CLOSED, Relaxed);
        }
        self.arena.unfinished.store(self.inner.victim.is_some(), Relaxed);
    }

    fn look_through_stacks(&mut self) {
        self.inner.emptied = false;
        self.inner.stale_stacks = self.inner.stacks.len();
        self.arena.stale.store(true, Relaxed);
    }

    /// Whether [`Self::tidy_up`] has something to do.
    pub fn is_untidy(&self) -> bool {
        self.inner.emptied || self.inner.open.is_some_and(|segment| self.segments.has_tail(segment))
    }

    /// Nothing is stored for now: gives back what is unused of the open segment, if it was used before, and has places in
    /// segments that became empty forgotten. Whether there may be such places.
    pub fn tidy_up(&mut self) -> bool {
        if let Some(segment) = self.inner.open {
            self.segments.discard_tail(segment);
        }
        let emptied = self.inner.emptied;
        if emptied {
            self.look_through_stacks();
        }
        emptied
    }

    /// Looks one free stack through: what is void goes, and so does the memory that is left over.
    pub fn prune(&mut self) {
        let Some(index) = self.inner.stale_stacks.checked_sub(1) else {
            self.arena.stale.store(false, Relaxed);
            return;
        };
        self.inner.stale_stacks = index;
        let segments = self.segments;
        if let Some(stack) = self.inner.stacks.get_mut(index) {
            stack.retain(|(place, generation)| {
                segments.meta(place.segment()).generation.load(Relaxed) == *generation
            });
            if stack.capacity() > 2 * stack.len() {
                stack.shrink_to_fit();
            }
        }
    }

    /// Bytes reserved for the free stacks.
    #[cfg(test)]
    pub fn listed_bytes(&self) -> usize {
        self.inner.stacks.iter().map(|stack| stack.capacity() * size_of::<(Ref, u32)>()).sum()
    }

    /// Gives all segments back; for a database that nobody can reach any more.
    pub fn clear(&mut self) {
        while let Some(&segment) = self.inner.segments.last() {
            self.give(segment);
        }
        *self.inner = Inner::default();
        for counter in [&self.arena.keys, &self.arena.expires, &self.arena.boxed, &self.arena.live] {
            counter.store(0, Relaxed);
        }
    }

    /// Where each segment begins and how far it is used, for walking.
    pub fn extents(&self) -> Vec<(Ref, Ref)> {
        let extent = |&s: &u32| {
            let base = s * SEGMENT_UNITS;
            (Ref(base + first_unit(s)), Ref(base + self.segments.meta(s).used.load(Relaxed)))
        };
        self.inner.segments.iter().map(extent).collect()
    }
}

impl Victim {
    /// The next place to look at, if there is one.
    pub fn place(&self, segments: &Segments) -> Option<Ref> {
        let used = segments.meta(self.segment).used.load(Relaxed);
        (self.unit < used).then(|| Ref(self.segment * SEGMENT_UNITS + self.unit))
    }

    /// Goes past an entry of this many units.
    pub fn advance(&mut self, units: usize) {
        self.unit += units as u32;
    }
}
