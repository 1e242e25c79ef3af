//! Sorted sets: a listpack of members and scores while they are few and short, else
//! a hash table from member to score plus an ordered sequence ([`Tree`]). The large
//! form calls itself `skiplist` to clients.
//!
//! ```text
//! listpack    member score member score …     ascending by score, then by member
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
//!
//! Everything that selects members does so by rank: a range by score or by text is
//! first turned into a range of ranks in O(log n).

use super::packed::{Corrupt, Elem, Listpack, allocated};
use super::random::Random;
use super::table::{self, Table};
use super::tree::Tree;
use smallvec::SmallVec;
use std::cmp::Ordering;
use std::ops::Range;

/// When a sorted set changes its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `zset-max-listpack-entries`
    pub listpack_entries: usize,
    /// `zset-max-listpack-value`: bytes of a member.
    pub listpack_value: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { listpack_entries: 128, listpack_value: 64 }
    }
}

/// A score: any number but NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score(f64);

impl Score {
    /// The score, unless it is not a number.
    pub fn new(score: f64) -> Option<Score> {
        if score.is_nan() { None } else { Some(Score(score)) }
    }

    /// The number.
    pub const fn get(self) -> f64 {
        self.0
    }

    fn cmp(self, other: Score) -> Ordering {
        self.0.partial_cmp(&other.0).expect("invariant: a score is never NaN")
    }

    fn read(elem: Elem<'_>) -> Option<Score> {
        match elem {
            Elem::Int(n) => Some(Score(n as f64)),
            Elem::Bytes(b) => Score::new(std::str::from_utf8(b).ok()?.parse().ok()?),
        }
    }

    /// As a listpack holds it: integers as such.
    fn elem(self, buffer: &mut ryu::Buffer) -> Elem<'_> {
        const BOUND: f64 = (i64::MAX / 2) as f64;
        if (-BOUND..=BOUND).contains(&self.0) && self.0.fract() == 0.0 {
            Elem::Int(self.0 as i64)
        } else if self.0.is_finite() {
            Elem::Bytes(buffer.format_finite(self.0).as_bytes())
        } else {
            Elem::Bytes(if self.0 > 0.0 { b"inf" } else { b"-inf" })
        }
    }
}

/// A range of scores.
#[derive(Clone, Copy, Debug)]
pub struct ScoreRange {
    /// The lower end.
    pub min: Score,
    /// Whether the lower end is left out.
    pub min_exclusive: bool,
    /// The upper end.
    pub max: Score,
    /// Whether the upper end is left out.
    pub max_exclusive: bool,
}

/// One end of a range of members.
#[derive(Clone, Copy, Debug)]
pub enum LexBound<'a> {
    /// `-`
    Min,
    /// `[member`
    Inclusive(&'a [u8]),
    /// `(member`
    Exclusive(&'a [u8]),
    /// `+`
    Max,
}

impl LexBound<'_> {
    /// Whether `member` is below a lower end (`upper`: within an upper end).
    fn is_after(&self, member: &[u8], upper: bool) -> bool {
        match *self {
            LexBound::Min => false,
            LexBound::Max => true,
            LexBound::Inclusive(b) if upper => member <= b,
            LexBound::Inclusive(b) => member < b,
            LexBound::Exclusive(b) if upper => member < b,
            LexBound::Exclusive(b) => member <= b,
        }
    }
}

/// A set of members in the order of their scores.
#[derive(Clone, Debug)]
pub struct SortedSet(Repr);

#[derive(Clone, Debug)]
enum Repr {
    Packed(Listpack),
    Sorted(Box<Sorted>),
}

#[derive(Clone, Copy)]
struct Item {
    score: Score,
    name: Name,
}

/// A member as the tree knows it. The last byte is the length, or says that the first eight
/// are an id.
#[derive(Clone, Copy)]
struct Name([u8; 16]);

impl Name {
    const SHORT_MAX: usize = 15;
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
struct Sorted {
    table: Table,
    tree: Tree<Item>,
    aliases: Vec<(u64, Box<[u8]>)>,
}

impl std::fmt::Debug for Sorted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sorted({} members)", self.tree.len())
    }
}

fn score_of(payload: &[u8]) -> Score {
    Score(f64::from_le_bytes(*payload.first_chunk().expect("invariant: payloads are scores")))
}

impl Sorted {
    #[inline]
    fn member<'a>(&'a self, item: &'a Item) -> &'a [u8] {
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
    fn members<'a>(
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

    fn score(&self, member: &[u8]) -> Option<Score> {
        self.table.get(member).map(|e| score_of(e.payload))
    }

    /// The number of members before (score, member).
    fn rank(&self, score: Score, member: &[u8]) -> usize {
        self.tree.partition_point(|item| match item.score.cmp(score) {
            Ordering::Less => true,
            Ordering::Equal => self.member(item) < member,
            Ordering::Greater => false,
        })
    }

    fn insert(&mut self, member: &[u8], score: Score) -> Option<Score> {
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

    fn forget(&mut self, member: &[u8]) {
        self.aliases.retain(|a| *a.1 != *member);
        self.table.remove(member);
    }
}

impl Default for SortedSet {
    fn default() -> Self {
        Self::new()
    }
}

impl SortedSet {
    /// An empty sorted set.
    pub fn new() -> Self {
        SortedSet(Repr::Packed(Listpack::new()))
    }

    /// A sorted set from a listpack of members and scores, in order and different.
    pub fn from_listpack(pack: Listpack) -> Result<Self, Corrupt> {
        let mut seen = std::collections::HashSet::new();
        let mut elems = pack.iter();
        let mut last: Option<(Score, Vec<u8>)> = None;
        while let Some(member) = elems.next() {
            let score = elems.next().and_then(Score::read).ok_or(Corrupt)?;
            let this = (score, member.to_vec());
            if last.is_some_and(|last| last.0.cmp(this.0).then(last.1.cmp(&this.1)) != Ordering::Less)
                || !seen.insert(this.1.clone())
            {
                return Err(Corrupt);
            }
            last = Some(this);
        }
        Ok(SortedSet(Repr::Packed(pack)))
    }

    /// The bytes, where the set is a listpack.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match &self.0 {
            Repr::Packed(pack) => Some(pack),
            Repr::Sorted(_) => None,
        }
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Packed(pack) => pack.len() / 2,
            Repr::Sorted(sorted) => sorted.tree.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name that OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        match &self.0 {
            Repr::Packed(_) => "listpack",
            Repr::Sorted(_) => "skiplist",
        }
    }

    /// Bytes of memory on the heap.
    pub fn memory(&self) -> usize {
        match &self.0 {
            Repr::Packed(pack) => pack.memory(),
            Repr::Sorted(s) => allocated(size_of::<Sorted>()) + s.table.memory() + s.tree.memory(),
        }
    }

    /// Number of allocations, roughly: what freeing costs.
    pub fn allocations(&self) -> usize {
        match &self.0 {
            Repr::Packed(_) => 1,
            Repr::Sorted(s) => s.table.allocations() + s.tree.allocations(),
        }
    }

    fn make_sorted(&mut self, more: usize) -> &mut Sorted {
        if let Repr::Packed(pack) = &self.0 {
            let mut sorted = Sorted {
                table: Table::with_capacity(pack.len() / 2 + more.min(1 << 16)),
                ..Sorted::default()
            };
            for (member, score) in self.iter() {
                sorted.insert(member.text(&mut itoa::Buffer::new()), score);
            }
            self.0 = Repr::Sorted(Box::new(sorted));
        }
        match &mut self.0 {
            Repr::Sorted(sorted) => sorted,
            Repr::Packed(_) => unreachable!("invariant: converted above"),
        }
    }

    /// Prepares for `count` members of up to `longest` bytes in an empty set, or for
    /// `count` more in another: a listpack that must not hold them is left at once.
    pub fn expect(&mut self, count: usize, longest: usize, limits: &Limits) {
        if count > limits.listpack_entries || longest > limits.listpack_value {
            self.make_sorted(count);
        }
    }

    /// Turns into a listpack if that may hold all members, as the commands do that
    /// store a new sorted set.
    pub fn compact(&mut self, limits: &Limits) {
        let Repr::Sorted(_) = &self.0 else { return };
        if self.len() > limits.listpack_entries
            || self.iter().any(|(m, _)| m.text_len() > limits.listpack_value)
        {
            return;
        }
        let mut pack = Listpack::new();
        for (member, score) in self.iter() {
            let text = member.to_vec();
            if !pack.fits(text.len() + 40) {
                return;
            }
            pack.push_back(&text);
            pack.insert(pack.end(), score.elem(&mut ryu::Buffer::new()));
        }
        self.0 = Repr::Packed(pack);
    }

    /// The score of `member`.
    pub fn score(&self, member: &[u8]) -> Option<Score> {
        match &self.0 {
            Repr::Packed(pack) => {
                let pos = pack.find(pack.start(), member, 1)?;
                pack.get(pack.next(pos)).and_then(Score::read)
            }
            Repr::Sorted(sorted) => sorted.score(member),
        }
    }

    /// Sets the score of `member`; the score that it had before.
    pub fn insert(&mut self, member: &[u8], score: Score, limits: &Limits) -> Option<Score> {
        if let Repr::Packed(pack) = &mut self.0 {
            if let Some(pos) = pack.find(pack.start(), member, 1) {
                let old = pack.get(pack.next(pos)).and_then(Score::read)?;
                if old != score {
                    pack.remove(pos, 2);
                    insert_packed(pack, member, score);
                }
                return Some(old);
            }
            if pack.len() / 2 < limits.listpack_entries
                && member.len() <= limits.listpack_value
                && pack.fits(member.len() + 40)
            {
                insert_packed(pack, member, score);
                return None;
            }
        }
        self.make_sorted(1).insert(member, score)
    }

    /// Removes `member`; the score that it had.
    pub fn remove(&mut self, member: &[u8]) -> Option<Score> {
        match &mut self.0 {
            Repr::Packed(pack) => {
                let pos = pack.find(pack.start(), member, 1)?;
                let score = pack.get(pack.next(pos)).and_then(Score::read);
                pack.remove(pos, 2);
                score
            }
            Repr::Sorted(sorted) => {
                let score = sorted.score(member)?;
                sorted.tree.remove(sorted.rank(score, member));
                sorted.forget(member);
                Some(score)
            }
        }
    }

    /// Number of members before `member`, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, Score)> {
        match &self.0 {
            Repr::Packed(pack) => {
                let (pos, rank) = pack.find_counting(pack.start(), member, 1)?;
                Some((rank, pack.get(pack.next(pos)).and_then(Score::read)?))
            }
            Repr::Sorted(sorted) => {
                let score = sorted.score(member)?;
                Some((sorted.rank(score, member), score))
            }
        }
    }

    /// The member of a rank.
    pub fn get(&self, rank: usize) -> Option<(Elem<'_>, Score)> {
        self.iter_from(rank).next()
    }

    /// All members, ascending.
    pub fn iter(&self) -> Box<dyn Iterator<Item = (Elem<'_>, Score)> + '_> {
        self.iter_from(0)
    }

    /// The members from a rank on, ascending.
    pub fn iter_from(&self, rank: usize) -> Box<dyn Iterator<Item = (Elem<'_>, Score)> + '_> {
        match &self.0 {
            Repr::Packed(pack) => {
                let mut elems = pack.range(pack.skip(pack.start(), rank.saturating_mul(2)), pack.end());
                Box::new(std::iter::from_fn(move || Some((elems.next()?, Score::read(elems.next()?)?))))
            }
            Repr::Sorted(sorted) => Box::new(sorted.members(sorted.tree.iter_from(rank))),
        }
    }

    /// The members from a rank on, descending.
    pub fn iter_rev_from(&self, rank: usize) -> Box<dyn Iterator<Item = (Elem<'_>, Score)> + '_> {
        match &self.0 {
            Repr::Packed(pack) => {
                let behind = pack.skip(pack.start(), rank.saturating_add(1).saturating_mul(2));
                let mut elems = pack.range(pack.start(), behind).rev();
                Box::new(std::iter::from_fn(move || {
                    let score = Score::read(elems.next()?)?;
                    Some((elems.next()?, score))
                }))
            }
            Repr::Sorted(sorted) => Box::new(sorted.members(sorted.tree.iter_rev_from(rank))),
        }
    }

    /// The ranks of the members with a score in `range`.
    pub fn ranks_by_score(&self, range: &ScoreRange) -> Range<usize> {
        let below = |s: Score| match s.cmp(range.min) {
            Ordering::Less => true,
            Ordering::Equal => range.min_exclusive,
            Ordering::Greater => false,
        };
        let within = |s: Score| match s.cmp(range.max) {
            Ordering::Less => true,
            Ordering::Equal => !range.max_exclusive,
            Ordering::Greater => false,
        };
        let (start, end) = match &self.0 {
            Repr::Packed(_) => (
                self.iter().take_while(|(_, s)| below(*s)).count(),
                self.iter().take_while(|(_, s)| within(*s)).count(),
            ),
            Repr::Sorted(s) => {
                (s.tree.partition_point(|i| below(i.score)), s.tree.partition_point(|i| within(i.score)))
            }
        };
        start..end.max(start)
    }

    /// The ranks of the members between two texts, in a set in which all scores are
    /// equal.
    pub fn ranks_by_lex(&self, min: LexBound<'_>, max: LexBound<'_>) -> Range<usize> {
        let (start, end) = match &self.0 {
            Repr::Packed(_) => {
                let count = |bound: LexBound<'_>, upper| {
                    let mut buffer = itoa::Buffer::new();
                    self.iter().take_while(|(m, _)| bound.is_after(m.text(&mut buffer), upper)).count()
                };
                (count(min, false), count(max, true))
            }
            Repr::Sorted(s) => (
                s.tree.partition_point(|i| min.is_after(s.member(i), false)),
                s.tree.partition_point(|i| max.is_after(s.member(i), true)),
            ),
        };
        start..end.max(start)
    }

    /// Removes the members of a range of ranks.
    pub fn remove_ranks(&mut self, ranks: Range<usize>) -> usize {
        let end = ranks.end.min(self.len());
        let start = ranks.start.min(end);
        match &mut self.0 {
            Repr::Packed(pack) => pack.remove_range(start * 2, (end - start) * 2),
            Repr::Sorted(sorted) => {
                for _ in start..end {
                    if let Some(item) = sorted.tree.remove(start) {
                        let member = sorted.member(&item).to_vec();
                        sorted.forget(&member);
                    }
                }
            }
        }
        end - start
    }

    /// ZSCAN's step: visits members from `cursor` on and returns the next cursor. A
    /// listpack is visited whole, as in Redis.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Elem<'_>, Score)) -> u64 {
        match &self.0 {
            Repr::Packed(_) => {
                self.iter().for_each(|(m, s)| visit(m, s));
                0
            }
            Repr::Sorted(s) => {
                s.table.scan(cursor, count, |e| visit(Elem::Bytes(e.key), score_of(e.payload)))
            }
        }
    }

    /// A member, each equally likely.
    pub fn random(&self, random: &mut Random) -> Option<(Elem<'_>, Score)> {
        self.get(random.below(self.len()))
    }
}

fn insert_packed(pack: &mut Listpack, member: &[u8], score: Score) {
    let mut pos = pack.start();
    let mut buffer = itoa::Buffer::new();
    while let Some(other) = pack.get(pos) {
        let next = pack.next(pos);
        let other_score = pack.get(next).and_then(Score::read).expect("invariant: every member has a score");
        let order = other_score.cmp(score).then_with(|| other.text(&mut buffer).cmp(member));
        if order == Ordering::Greater {
            break;
        }
        pos = pack.next(next);
    }
    pack.insert_all(pos, [Elem::of(member), score.elem(&mut ryu::Buffer::new())].into_iter());
}

#[cfg(test)]
mod tests;
