//! Survivors move together, so that the pages which they held one by one can go back.
//!
//! jemalloc never moves anything: of a million small allocations a random twentieth that stays may keep every page. So
//! whoever owns a piece of memory allocates it anew and frees the old one, if that stands in pages which are mostly
//! unused. [`Renewal`] decides that piece by piece and limits how much is done in one go; [`Defrag`] says whether it is
//! worth while at all, how hard to try, and what came of it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::memory::allocator::{self, Allocation, Figures, Fill};

/// Decides which pieces are allocated anew.
#[derive(Default)]
pub struct Renewal {
    /// Every piece, not only those in sparse pages: for tests.
    everything: bool,
    /// Which pages count as mostly unused.
    fill: Fill,
    looks: usize,
    bytes: usize,
    arena: Option<u32>,
    /// Pieces moved so far.
    pub moved: u64,
    /// Pieces that stay where they are.
    pub kept: u64,
}

impl Renewal {
    /// Moves what stands in sparse pages.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves every piece.
    #[cfg(test)]
    pub fn of_everything() -> Self {
        Renewal { everything: true, ..Self::default() }
    }

    /// From now on pages count as mostly unused that are not as full as this.
    pub fn fill_up_to(&mut self, fill: Fill) {
        self.fill = fill;
    }

    /// Allows so many looks and so many bytes to be copied.
    pub fn grant(&mut self, looks: usize, bytes: usize) {
        (self.looks, self.bytes) = (looks, bytes);
    }

    /// Whether what was granted is used up.
    pub fn is_spent(&self) -> bool {
        self.looks == 0 || self.bytes == 0
    }

    /// A look at what cannot be moved, which takes its time too.
    #[inline]
    pub fn pass(&mut self) {
        self.looks = self.looks.saturating_sub(1);
    }

    /// Whether this piece is to be allocated anew, which the caller then does.
    pub fn wants(&mut self, piece: &impl Allocation) -> bool {
        self.pass();
        if piece.address().is_none() {
            return false;
        }
        let wanted = self.everything || allocator::is_sparse(piece, self.fill);
        if wanted {
            self.bytes = self.bytes.saturating_sub(piece.bytes());
            self.moved += 1;
            allocator::follow(piece, &mut self.arena);
        } else {
            self.kept += 1;
        }
        wanted
    }

    /// Moves a slice, if need be.
    pub fn slice<T: Copy>(&mut self, piece: &mut Box<[T]>) {
        if self.wants(piece) {
            *piece = Box::from(&**piece);
        }
    }

    /// Moves a vector, which keeps its capacity.
    pub fn vec<T>(&mut self, piece: &mut Vec<T>) {
        if self.wants(piece) {
            let mut new = Vec::with_capacity(piece.capacity());
            new.append(piece);
            *piece = new;
        }
    }

    /// Moves what a ring holds.
    pub fn ring<T>(&mut self, piece: &mut VecDeque<T>) {
        // Its vector is the same allocation, and both ways take no copy if it begins at its beginning.
        piece.make_contiguous();
        let mut vec = Vec::from(std::mem::take(piece));
        self.vec(&mut vec);
        *piece = VecDeque::from(vec);
    }

    /// Moves what a box holds; its own parts stay where they are.
    #[expect(clippy::replace_box, reason = "another allocation is what this is for")]
    pub fn boxed<T: Default>(&mut self, piece: &mut Box<T>) {
        if self.wants(piece) {
            let value = std::mem::take(&mut **piece);
            *piece = Box::new(value);
        }
    }
}

/// How hard to try, as configured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Unused bytes below which it is not worth while.
    pub ignore_bytes: u64,
    /// Unused bytes, in percent of those in use, from which on it is …
    pub lower: u32,
    /// … and from which on it takes all that it may.
    pub upper: u32,
    /// Percentage of a thread that it takes at least …
    pub cycle_min: u32,
    /// … and at most.
    pub cycle_max: u32,
}

impl Effort {
    /// The percentage of a thread to spend, if more is unused than is ignored, beyond what is known to stay.
    pub fn percent(&self, figures: &Figures, stays: usize) -> Option<u32> {
        let unused = figures.unused();
        let ignored = usize::try_from(self.ignore_bytes).unwrap_or(usize::MAX);
        let percent = unused.saturating_mul(100) / figures.allocated.max(1);
        if unused <= stays.saturating_add(ignored) || percent < self.lower as usize {
            return None;
        }
        let span = self.upper.saturating_sub(self.lower).max(1) as usize;
        let above = (percent - self.lower as usize).min(span);
        let (min, max) = (self.cycle_min.min(self.cycle_max), self.cycle_max);
        Some(min + ((max - min) as usize * above / span) as u32)
    }
}

/// What is known about unused memory in the allocator's pages.
#[derive(Default)]
pub struct Defrag {
    /// What the last walk could not free.
    floor: AtomicUsize,
    running: AtomicU32,
    hits: AtomicU64,
    misses: AtomicU64,
    micros: AtomicU64,
}

/// What INFO shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DefragFigures {
    /// Percentage of a thread that is spent now; 0 is at rest.
    pub running: u32,
    /// Pieces moved.
    pub hits: u64,
    /// Pieces looked at that stay.
    pub misses: u64,
    /// Time spent.
    pub micros: u64,
}

impl Defrag {
    /// Whether to begin, or to go on with, a walk: the percentage of a thread to spend on it.
    pub fn percent(&self, figures: &Figures, effort: &Effort) -> Option<u32> {
        effort.percent(figures, self.floor.load(Relaxed))
    }

    /// A walk is at its end, and this is left: it is not tried again before there is more.
    pub fn ended(&self, figures: &Figures) {
        self.floor.store(figures.unused(), Relaxed);
    }

    /// No walk is going on.
    pub fn stopped(&self) {
        self.running.store(0, Relaxed);
    }

    /// Less is unused than the last walk left: from now on that is the mark.
    pub fn lower_floor(&self, figures: &Figures) {
        self.floor.fetch_min(figures.unused(), Relaxed);
    }

    /// A slice was done.
    pub fn note(&self, percent: u32, before: (u64, u64), renewal: &Renewal, micros: u64) {
        self.running.store(percent, Relaxed);
        self.hits.fetch_add(renewal.moved - before.0, Relaxed);
        self.misses.fetch_add(renewal.kept - before.1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
    }

    /// For INFO.
    pub fn figures(&self) -> DefragFigures {
        DefragFigures {
            running: self.running.load(Relaxed),
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            micros: self.micros.load(Relaxed),
        }
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        for counter in [&self.hits, &self.misses, &self.micros] {
            counter.store(0, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EFFORT: Effort = Effort { ignore_bytes: 100, lower: 10, upper: 110, cycle_min: 1, cycle_max: 25 };

    fn figures(allocated: usize, active: usize) -> Figures {
        Figures { allocated, active, resident: active }
    }

    #[test]
    fn effort_grows_with_what_is_unused() {
        let defrag = Defrag::default();
        assert_eq!(defrag.percent(&figures(1000, 1100), &EFFORT), None, "not more than is ignored");
        assert_eq!(defrag.percent(&figures(10_000, 10_900), &EFFORT), None, "below the threshold");
        assert_eq!(defrag.percent(&figures(10_000, 11_000), &EFFORT), Some(1));
        assert_eq!(defrag.percent(&figures(10_000, 16_000), &EFFORT), Some(13));
        assert_eq!(defrag.percent(&figures(10_000, 90_000), &EFFORT), Some(25));
    }

    #[test]
    fn what_a_walk_left_is_not_tried_again() {
        let defrag = Defrag::default();
        defrag.ended(&figures(1000, 2000));
        assert_eq!(defrag.percent(&figures(1000, 2100), &EFFORT), None);
        assert!(defrag.percent(&figures(1000, 2200), &EFFORT).is_some());
        defrag.lower_floor(&figures(1000, 1200));
        assert!(defrag.percent(&figures(1000, 1400), &EFFORT).is_some());
    }

    #[test]
    fn pieces_keep_what_they_hold() {
        let mut renewal = Renewal::of_everything();
        renewal.grant(3, 1000);
        let mut vec = Vec::with_capacity(10);
        vec.extend([1, 2, 3]);
        renewal.vec(&mut vec);
        assert_eq!((vec.as_slice(), vec.capacity()), (&[1, 2, 3][..], 10));
        let mut ring = VecDeque::from([2, 3]);
        ring.push_front(1);
        renewal.ring(&mut ring);
        assert_eq!(ring, [1, 2, 3]);
        assert!(!renewal.is_spent());
        let mut boxed = Box::new(vec);
        renewal.boxed(&mut boxed);
        assert_eq!(*boxed, [1, 2, 3]);
        assert!(renewal.is_spent());
        renewal.slice(&mut Box::<[u8]>::default());
        assert_eq!(renewal.moved, 3);
    }

    #[test]
    fn without_jemalloc_nothing_is_sparse() {
        let mut renewal = Renewal::new();
        let mut piece: Box<[u8]> = Box::from([7; 100]);
        renewal.slice(&mut piece);
        assert_eq!((renewal.moved, renewal.kept), (0, 1));
    }
}
