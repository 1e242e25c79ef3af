//! The large form of a sorted set.
//!
//! ```text
//! table       key: member   payload: score
//! tree        score and name in the same order, 24 bytes each
//! name        a member of up to 15 bytes itself, else its id
//! ```
//!
//! So a range of short members is read from the tree alone, one after the other. A long member
//! is there once, in the table: its id is its 64-bit hash, by which the table finds it, and it
//! is looked up to be compared only between equal scores. Both together are half the memory of
//! a dictionary plus a skip list. Two long members of one hash are possible in principle; the
//! second gets an id of its own, kept in `aliases`.

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::Score;
use crate::memory::Renewal;
use crate::values::packed::Elem;
use crate::values::table::{self, Table};
use crate::values::tree::Tree;

#[derive(Clone, Copy)]
pub(super) struct Item {
    pub score: Score,
    name: Name,
}

/// A member as the tree knows it. The last byte is the length, or says that the first eight
/// are an id.
#[derive(Clone, Copy)]
pub(super) struct Name([u8; 16]);

impl Name {
    pub const SHORT_MAX: usize = 15;
    const ID: u8 = 0xFF;

    /// The name of a member that is short enough.
    fn short(member: &[u8]) -> Option<Name> {
        let mut bytes = [0; 16];
        bytes.get_mut(..member.len()).filter(|b| b.len() <= Self::SHORT_MAX)?.copy_from_slice(member);
        bytes[15] = member.len() as u8;
        Some(Name(bytes))
    }

    fn long(id: u64) -> Name {
        let mut bytes = [Self::ID; 16];
        bytes[..8].copy_from_slice(&id.to_le_bytes());
        Name(bytes)
    }

    /// The member itself, or else its id.
    #[inline]
    fn member(&self) -> Result<&[u8], u64> {
        match self.0[15] {
            Self::ID => Err(u64::from_le_bytes(*self.0.first_chunk().expect("invariant: 16 bytes"))),
            len => Ok(&self.0[..usize::from(len)]),
        }
    }
}

/// So many members are looked for together.
const AHEAD: usize = 16;

#[derive(Clone, Default)]
pub(super) struct Sorted {
    pub table: Table,
    pub tree: Tree<Item>,
    aliases: Vec<(u64, Box<[u8]>)>,
}

impl std::fmt::Debug for Sorted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sorted({} members)", self.tree.len())
    }
}

pub(super) fn score_of(payload: &[u8]) -> Score {
    Score(f64::from_le_bytes(*payload.first_chunk().expect("invariant: payloads are scores")))
}

impl Sorted {
    /// An empty one with the room that `len` members will want.
    pub fn with_capacity(len: usize) -> Sorted {
        Sorted { table: Table::with_capacity(len), ..Sorted::default() }
    }

    #[inline]
    pub fn member<'a>(&'a self, item: &'a Item) -> &'a [u8] {
        item.name.member().unwrap_or_else(|id| self.long_member(id))
    }

    fn long_member(&self, id: u64) -> &[u8] {
        // A short member may have the same hash.
        let is_long = |key: &[u8]| key.len() > Name::SHORT_MAX;
        let found = if self.aliases.is_empty() {
            self.table.key_of(id, is_long)
        } else if let Some((_, member)) = self.aliases.iter().find(|a| a.0 == id) {
            Some(&**member)
        } else {
            let mut keys = self.table.with_hash(id).map(|e| e.key);
            keys.find(|key| is_long(key) && self.id(key) == id)
        };
        found.expect("invariant: the tree's members are in the table")
    }

    /// The members of items. Long ones stand in buckets all over the table, which are asked for
    /// some items ahead.
    pub fn members<'a>(
        &'a self,
        items: impl Iterator<Item = &'a Item> + 'a,
    ) -> impl Iterator<Item = (Elem<'a>, Score)> + 'a {
        let mut items = items.fuse();
        let mut ahead: SmallVec<[&'a Item; AHEAD]> = SmallVec::new();
        // Who wants one member only should not pay for more.
        let mut step = 1;
        std::iter::from_fn(move || {
            if ahead.is_empty() {
                ahead.extend(items.by_ref().take(step));
                ahead.reverse();
                step = (2 * step).min(AHEAD);
                let ids = ahead.iter().filter_map(|item| item.name.member().err());
                std::hint::black_box(ids.fold(0, |sum, id| sum ^ self.table.approach(id)));
            }
            let item = ahead.pop()?;
            Some((Elem::Bytes(self.member(item)), item.score))
        })
    }

    fn id(&self, member: &[u8]) -> u64 {
        match self.aliases.iter().find(|a| *a.1 == *member) {
            Some(alias) => alias.0,
            None => table::hash(member),
        }
    }

    /// The name of a member that is not in the table yet.
    fn new_name(&mut self, member: &[u8]) -> Name {
        Name::short(member).unwrap_or_else(|| Name::long(self.new_id(member)))
    }

    /// An id for a long member that is not in the table yet.
    fn new_id(&mut self, member: &[u8]) -> u64 {
        let hash = table::hash(member);
        let taken =
            |id: u64| self.table.with_hash(id).next().is_some() || self.aliases.iter().any(|a| a.0 == id);
        if !taken(hash) {
            return hash;
        }
        let id =
            (1..).map(|n| hash.wrapping_add(n)).find(|&id| !taken(id)).expect("invariant: fewer than 2^64");
        self.aliases.push((id, member.into()));
        id
    }

    pub fn score(&self, member: &[u8]) -> Option<Score> {
        self.table.get(member).map(|e| score_of(e.payload))
    }

    /// The same members for another owner.
    pub fn snapshot(&mut self) -> Sorted {
        Sorted { table: self.table.snapshot(), tree: self.tree.snapshot(), aliases: self.aliases.clone() }
    }

    /// The number of members before (score, member).
    pub fn rank(&self, score: Score, member: &[u8]) -> usize {
        self.tree.partition_point(|item| match item.score.cmp(score) {
            Ordering::Less => true,
            Ordering::Equal => self.member(item) < member,
            Ordering::Greater => false,
        })
    }

    pub fn insert(&mut self, member: &[u8], score: Score) -> Option<Score> {
        let old = self.score(member);
        let name = match old {
            Some(old) if old == score => return Some(old),
            Some(old) => {
                let rank = self.rank(old, member);
                let item = self.tree.remove(rank).expect("invariant: the table's members are in the tree");
                self.table.overwrite(member, &score.0.to_le_bytes());
                item.name
            }
            None => {
                let name = self.new_name(member);
                self.table.insert(member, &score.0.to_le_bytes(), false);
                name
            }
        };
        self.tree.insert(self.rank(score, member), Item { score, name });
        old
    }

    /// Puts a long member at `rank` under an id that is not its hash.
    #[cfg(test)]
    pub fn insert_alias(&mut self, rank: usize, member: &[u8], score: Score) {
        let id = table::hash(member).wrapping_add(5);
        self.aliases.push((id, member.into()));
        self.table.insert(member, &score.0.to_le_bytes(), false);
        self.tree.insert(rank, Item { score, name: Name::long(id) });
    }

    /// Moves parts from `from` on, as far as that is granted; where to go on. The table's come first, then the tree's.
    pub fn renew(&mut self, from: u128, renewal: &mut Renewal) -> Option<u128> {
        const TREE: u128 = 1 << 64;
        if from < TREE
            && let Some(next) = self.table.renew(from as usize, renewal)
        {
            return Some(next as u128);
        }
        let next = self.tree.renew(from.saturating_sub(TREE) as usize, renewal)?;
        Some(TREE + next as u128)
    }

    pub fn forget(&mut self, member: &[u8]) {
        self.aliases.retain(|a| *a.1 != *member);
        self.table.remove(member);
    }
}
