//! Four levels of 256 stacks each: the geometry of the wheel, and where an item stands in it.
//!
//! ```text
//! level   a slot covers   the level reaches     bits of the tick that select the slot
//!   0     1 ms            256 ms                 0.. 7
//!   1     256 ms          65.5 s                 8..15
//!   2     65.5 s          4.66 h                16..23
//!   3     4.66 h          49.7 days             24..31
//! item    u64             hash bits 40 | low 24 bits of its tick
//! ```
//!
//! The cursor is the tick that is worked on; all earlier ones are done. An item stands at the lowest level that reaches
//! its tick from the cursor. Invariants, for every item in the levels:
//!
//! 1. `cursor <= tick < cursor + 2^32`, and `tick - cursor < 2^24` on levels 0 to 2. So 24 bits and the slot give the
//!    whole tick, and moving an item never asks anyone for its deadline.
//! 2. A slot holds items of one turn only. On a level above 0 the slot that the cursor is in holds items of the *next*
//!    turn, unless the cursor stands on the first tick of that slot: then they are the ones to be cascaded now, and
//!    nothing is added to them, since what is armed from there reaches at most 255 slots further.
//! 3. The cursor stops at each first tick of a slot that holds items ([`Levels::next_event`]): none is passed over.
//!
//! Because of 2, a cascade may stop anywhere and go on later: "the slot is not empty" is all its state.

use super::chunks::{Chunks, NIL};

const LEVELS: usize = 4;
const SLOTS: usize = 256;
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
        let level = match tick - self.cursor {
            0..0x100 => 0,
            0x100..0x1_0000 => 1,
            0x1_0000..0x100_0000 => 2,
            _ => 3,
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
        let low24 = item & LOW24;
        if slot.level() < 3 {
            return self.cursor + (low24.wrapping_sub(self.cursor) & LOW24);
        }
        let low32 = (slot.at() % SLOTS) as u32 * (1 << 24) + low24 as u32;
        self.cursor + u64::from(low32.wrapping_sub(self.cursor as u32))
    }

    /// The slot of the cursor on `level`, if its time is now: on level 0 always, above at its first tick.
    pub(super) fn slot_now(&self, level: usize) -> Option<Slot> {
        self.on_first_tick(level).then(|| Slot::new(level, self.cursor >> (8 * level)))
    }

    fn on_first_tick(&self, level: usize) -> bool {
        self.cursor & ((1 << (8 * level)) - 1) == 0
    }

    /// The first tick from the cursor on at which a slot has its time: an item is due or is to be cascaded.
    #[inline]
    pub(super) fn next_event(&self) -> Option<u64> {
        let mut first: Option<u64> = None;
        for level in 0..LEVELS {
            let shift = 8 * level;
            let from = (self.cursor >> shift) + u64::from(!self.on_first_tick(level));
            if let Some(distance) = self.distance_to_filled(level, (from % SLOTS as u64) as usize) {
                let at = (from + distance) << shift;
                first = Some(first.map_or(at, |other| other.min(at)));
            }
        }
        first
    }

    /// Slots from `from`, round the level, to the first filled one.
    #[inline]
    fn distance_to_filled(&self, level: usize, from: usize) -> Option<u64> {
        let words = &self.filled[level * 4..level * 4 + 4];
        if words.iter().all(|&word| word == 0) {
            return None;
        }
        let (word, bit) = (from / 64, from % 64);
        let head = words[word] >> bit;
        if head != 0 {
            return Some(u64::from(head.trailing_zeros()));
        }
        for step in 1..=4 {
            let bits = words[(word + step) % 4];
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
