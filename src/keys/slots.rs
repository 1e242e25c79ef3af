//! What a view knows of each of its keys.

use std::borrow::Cow;
use std::ops::{Index, IndexMut};

use super::typed::Parts;
use crate::keyspace::{DbId, KeyHash, Pos};

/// What is known about one key of the view.
#[derive(Clone, Copy)]
pub(super) enum Found {
    Unknown,
    Missing,
    At(Pos),
}

pub(super) struct Slot<'k> {
    /// Not there before this command and stored by it.
    pub created: bool,
    pub db: DbId,
    pub hash: KeyHash,
    pub key: Cow<'k, [u8]>,
    pub found: Found,
    /// Removed because its time had come, during this command.
    pub expired: bool,
    /// Fields of it were removed because theirs had.
    pub parts: Option<Parts>,
    /// Removed because nothing was left in it.
    pub emptied: bool,
}

impl<'k> Slot<'k> {
    #[inline(always)]
    pub fn new(db: DbId, hash: KeyHash, key: Cow<'k, [u8]>) -> Slot<'k> {
        Slot {
            db,
            hash,
            key,
            found: Found::Unknown,
            expired: false,
            parts: None,
            emptied: false,
            created: false,
        }
    }
}

/// The slots of a view. The first stands apart: nearly every command has one key, and reaching
/// it then needs neither a pointer nor a bounds check.
pub(super) struct Slots<'k> {
    pub len: usize,
    pub first: Slot<'k>,
    pub more: Vec<Slot<'k>>,
}

impl<'k> Slots<'k> {
    #[inline(always)]
    pub fn new() -> Slots<'k> {
        Slots { len: 0, first: Slot::new(0, KeyHash(0), Cow::Borrowed(&[])), more: Vec::new() }
    }

    /// An only one, in the place of another one.
    #[inline(always)]
    pub fn begin(&mut self, only: Slot<'k>) {
        // That owned nothing; else the compiler would ask.
        std::mem::forget(std::mem::replace(&mut self.first, only));
        self.len = 1;
    }

    #[inline(always)]
    pub fn push(&mut self, slot: Slot<'k>) -> usize {
        if self.len == 0 {
            self.first = slot;
        } else {
            self.more.push(slot);
        }
        self.len += 1;
        self.len - 1
    }

    /// Whether there is nothing to free in them.
    #[inline(always)]
    pub fn is_light(&self) -> bool {
        self.more.capacity() == 0 && matches!(self.first.key, Cow::Borrowed(_))
    }

    /// Forgets the last one.
    pub fn pop(&mut self) {
        if self.more.pop().is_none() && self.len > 0 {
            self.first = Slot::new(0, KeyHash(0), Cow::Borrowed(&[]));
        }
        self.len = self.len.saturating_sub(1);
    }

    #[inline(always)]
    pub fn iter(&self) -> impl Iterator<Item = &Slot<'k>> {
        std::slice::from_ref(&self.first)[..self.len.min(1)].iter().chain(&self.more)
    }

    #[inline(always)]
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot<'k>> {
        std::slice::from_mut(&mut self.first)[..self.len.min(1)].iter_mut().chain(&mut self.more)
    }
}

impl<'k> Index<usize> for Slots<'k> {
    type Output = Slot<'k>;
    #[inline(always)]
    fn index(&self, i: usize) -> &Slot<'k> {
        debug_assert!(i < self.len, "the command has no such key");
        if i == 0 { &self.first } else { &self.more[i - 1] }
    }
}

impl IndexMut<usize> for Slots<'_> {
    #[inline(always)]
    fn index_mut(&mut self, i: usize) -> &mut Self::Output {
        debug_assert!(i < self.len, "the command has no such key");
        if i == 0 { &mut self.first } else { &mut self.more[i - 1] }
    }
}
