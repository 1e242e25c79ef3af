//! Four levels of 512 stacks each: the geometry of the wheel, and where an item stands in it.
//!
//! ```text
//! level   a slot covers   it is cascaded          bits of the tick that select the slot
//!   0     1 ms            never: its tick is due   0.. 8
//!   1     256 ms          0.25 to 0.5 s ahead      8..16
//!   2     65.5 s          1 to 2 min ahead        16..24
//!   3     4.66 h          4.66 to 9.3 h ahead     24..32
//! item    u64             hash bits 40 | low 24 bits of its tick
//! ```
//!
//! The cursor is the tick that is worked on; all earlier ones are done. A slot is cascaded while the cursor is in the slot
//! *before* it: when its own time begins its items stand where they are due, and none of them is late because others had to
//! be moved first. So an item stands at the lowest level on which its tick is in a slot that the cursor's slot of the next
//! level covers, or the one behind that. Invariants, for every item in the levels:
//!
//! 1. `cursor <= tick < cursor + 2^32`. On each level the slot is at most 511 slots behind the one that the cursor is in. So
//!    slot and 24 bits give the whole tick, and moving an item never asks anyone for its deadline.
//! 2. A slot holds items of one turn only, and nothing is added to a slot that is being cascaded.
//! 3. Should the cursor come to the first tick of a slot that is not empty yet it stops there ([`Levels::next_due`]): none is
//!    passed over.
//!
//! Because of 2, a cascade may stop anywhere and go on later: "the slot is not empty" is all its state.

use super::chunks::{Chunks, NIL};

const LEVELS: usize = 4;
const SLOTS: usize = 512;
const LOW24: u64 = (1 << 24) - 1;

/// Hash bits 40 above tick bits 24.
#[inline]
pub(super) fn pack(hash40: u64, tick: u64) -> u64 {
    (hash40 << 24) | (tick & LOW24)
}

/// The hash bits of an item.
#[inline]
pub(super) fn hash_of(item: u64) -> u64 {
    item >> 24
}

/// One slot, by its number over all levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u16);

impl Slot {
    fn new(level: usize, index: u64) -> Slot {
        Slot((level * SLOTS) as u16 + (index % SLOTS as u64) as u16)
    }

    fn at(self) -> usize {
        usize::from(self.0)
    }

    fn level(self) -> usize {
        self.at() / SLOTS
    }
}

/// What a sweep has taken off a slot and not looked at yet. It still belongs to the slot: the slot's bit stays set, and
/// [`Levels::pop`] goes on with it when the rest of the slot is empty.
#[derive(Clone, Copy)]
struct Detached {
    slot: Slot,
    stack: u32,
}

pub(super) struct Levels {
    pub(super) cursor: u64,
    stacks: Box<[u32; LEVELS * SLOTS]>,
    filled: [u64; LEVELS * SLOTS / 64],
    detached: Detached,
}

impl Levels {
    pub(super) fn new(cursor: u64) -> Self {
        Levels {
            cursor,
            stacks: Box::new([NIL; LEVELS * SLOTS]),
            filled: [0; LEVELS * SLOTS / 64],
            detached: Detached { slot: Slot(0), stack: NIL },
        }
    }

    pub(super) const BYTES: usize = LEVELS * SLOTS * size_of::<u32>();

    pub(super) fn is_empty(&self) -> bool {
        self.filled.iter().all(|&word| word == 0)
    }

    /// Adds an item for a tick that invariant 1 allows.
    #[inline]
    pub(super) fn push(&mut self, chunks: &mut Chunks, hash40: u64, tick: u64) {
        debug_assert!(tick >= self.cursor && tick - self.cursor < 1 << 32);
        let near = |bits: u32| (tick >> bits) - (self.cursor >> bits) < 2;
        let level = match () {
            () if near(8) => 0,
            () if near(16) => 1,
            () if near(24) => 2,
            () => 3,
        };
        let slot = Slot::new(level, tick >> (8 * level));
        self.push_at(chunks, slot, pack(hash40, tick));
    }

    #[inline]
    fn push_at(&mut self, chunks: &mut Chunks, slot: Slot, item: u64) {
        let stack = &mut self.stacks[slot.at()];
        *stack = chunks.push(*stack, item);
        self.filled[slot.at() / 64] |= 1 << (slot.at() % 64);
    }

    /// Takes an item out of a slot.
    #[inline]
    pub(super) fn pop(&mut self, chunks: &mut Chunks, slot: Slot) -> Option<u64> {
        if self.stacks[slot.at()] == NIL {
            if self.detached.slot != slot || self.detached.stack == NIL {
                self.clear_bit(slot);
                return None;
            }
            self.stacks[slot.at()] = std::mem::replace(&mut self.detached.stack, NIL);
        }
        let (item, rest) = chunks.pop(self.stacks[slot.at()]);
        self.stacks[slot.at()] = rest;
        Some(item)
    }

    fn clear_bit(&mut self, slot: Slot) {
        self.filled[slot.at() / 64] &= !(1 << (slot.at() % 64));
    }

    /// The tick of an item that stands in `slot`.
    pub(super) fn tick_of(&self, slot: Slot, item: u64) -> u64 {
        let shift = 8 * slot.level();
        let low = (((slot.at() % SLOTS) as u64) << shift) | (item & ((1 << shift) - 1));
        self.cursor + (low.wrapping_sub(self.cursor) & (((SLOTS as u64) << shift) - 1))
    }

    /// The slot so many behind that of the cursor, if it holds items.
    #[inline]
    pub(super) fn filled(&self, level: usize, behind: u64) -> Option<Slot> {
        let slot = Slot::new(level, (self.cursor >> (8 * level)) + behind);
        (self.filled[slot.at() / 64] >> (slot.at() % 64) & 1 != 0).then_some(slot)
    }

    /// On each level, the number of slots from the cursor's to the first filled one.
    #[inline]
    fn distances(&self) -> impl Iterator<Item = (usize, u64)> {
        (0..LEVELS).filter_map(|level| {
            let from = (self.cursor >> (8 * level)) % SLOTS as u64;
            self.distance_to_filled(level, from as usize).map(|distance| (level, distance))
        })
    }

    /// The first tick of the slot so many behind the cursor's, or the cursor if that is later.
    #[inline]
    fn begin(&self, level: usize, behind: u64) -> u64 {
        let shift = 8 * level;
        (((self.cursor >> shift) + behind) << shift).max(self.cursor)
    }

    /// The first tick from the cursor on at which something has to be done: items are due, or have to be cascaded at last.
    #[inline]
    pub(super) fn next_due(&self) -> Option<u64> {
        self.distances().map(|(level, distance)| self.begin(level, distance)).min()
    }

    /// The first tick from the cursor on at which something can be done: items are due, or can be cascaded.
    pub(super) fn next_event(&self) -> Option<u64> {
        let ahead = |level: usize| u64::from(level > 0);
        self.distances()
            .map(|(level, distance)| self.begin(level, distance.saturating_sub(ahead(level))))
            .min()
    }

    /// Slots from `from`, round the level, to the first filled one.
    #[inline]
    fn distance_to_filled(&self, level: usize, from: usize) -> Option<u64> {
        const WORDS: usize = SLOTS / 64;
        let words = &self.filled[level * WORDS..(level + 1) * WORDS];
        if words.iter().all(|&word| word == 0) {
            return None;
        }
        let (word, bit) = (from / 64, from % 64);
        let head = words[word] >> bit;
        if head != 0 {
            return Some(u64::from(head.trailing_zeros()));
        }
        for step in 1..=WORDS {
            let bits = words[(word + step) % WORDS];
            if bits != 0 {
                return Some((step * 64 - bit) as u64 + u64::from(bits.trailing_zeros()));
            }
        }
        None
    }

    /// A filled slot whose number is `from` or more.
    pub(super) fn filled_from(&self, from: usize) -> Option<Slot> {
        let mut word = from / 64;
        let mut bits = self.filled.get(word)? & (u64::MAX << (from % 64));
        while bits == 0 {
            word += 1;
            bits = *self.filled.get(word)?;
        }
        Some(Slot((word * 64) as u16 + bits.trailing_zeros() as u16))
    }

    /// Looks at up to `left` items of the slots from number `from` on, and puts back those that `keep` wants.
    /// Returns the slot number to go on with and how many items were dropped; `None` when all slots are done.
    pub(super) fn sift(
        &mut self,
        chunks: &mut Chunks,
        mut from: usize,
        left: &mut usize,
        keep: &mut dyn FnMut(u64, u32) -> bool,
    ) -> (Option<usize>, usize) {
        let mut dropped = 0;
        while *left > 0 {
            if self.detached.stack == NIL {
                let Some(slot) = self.filled_from(from) else {
                    return (None, dropped);
                };
                from = slot.at() + 1;
                self.detached = Detached { slot, stack: std::mem::replace(&mut self.stacks[slot.at()], NIL) };
                if self.detached.stack == NIL {
                    self.clear_bit(slot);
                    continue;
                }
            }
            let slot = self.detached.slot;
            let (item, rest) = chunks.pop(self.detached.stack);
            self.detached.stack = rest;
            *left -= 1;
            // An item whose exact twin was just kept is as good as stale: the twin reaches the same candidates.
            let twin = chunks.tops_with(self.stacks[slot.at()], item);
            if !twin && keep(hash_of(item), self.tick_of(slot, item) as u32) {
                self.push_at(chunks, slot, item);
            } else {
                dropped += 1;
                if rest == NIL && self.stacks[slot.at()] == NIL {
                    self.clear_bit(slot);
                }
            }
        }
        (Some(from), dropped)
    }
}
