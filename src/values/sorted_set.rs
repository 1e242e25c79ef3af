//! Sorted sets: a listpack of members and scores while they are few and short, else
//! a hash table from member to score plus an ordered sequence ([`large`]). The large
//! form calls itself `skiplist` to clients.
//!
//! ```text
//! listpack    member score member score …     ascending by score, then by member
//! ```
//!
//! Everything that selects members does so by rank: a range by score or by text is
//! first turned into a range of ranks in O(log n).

mod large;

use super::packed::{Corrupt, Elem, Listpack, allocated};
use super::random::Random;
use crate::memory::Renewal;
use large::{Sorted, score_of};
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

    /// From a listpack that was a sorted set already.
    pub(super) fn from_own(pack: Listpack) -> Self {
        SortedSet(Repr::Packed(pack))
    }

    /// The bytes, where the set is a listpack.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match &self.0 {
            Repr::Packed(pack) => Some(pack),
            Repr::Sorted(_) => None,
        }
    }

    /// A sorted set with the same members, which shares the memory of this one's until one of both
    /// is changed; none where the set is a listpack, as copying that costs little.
    pub fn snapshot(&mut self) -> Option<SortedSet> {
        match &mut self.0 {
            Repr::Packed(_) => None,
            Repr::Sorted(sorted) => Some(SortedSet(Repr::Sorted(Box::new(sorted.snapshot())))),
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

    /// Moves parts from `from` on, as far as that is granted; where to go on.
    pub fn renew(&mut self, from: u128, renewal: &mut Renewal) -> Option<u128> {
        match &mut self.0 {
            Repr::Packed(pack) => {
                pack.renew(renewal);
                None
            }
            Repr::Sorted(sorted) => {
                if from == 0 {
                    renewal.boxed(sorted);
                }
                sorted.renew(from, renewal)
            }
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
            let mut sorted = Sorted::with_capacity(pack.len() / 2 + more.min(1 << 16));
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
                let pos = pack.find::<1>(member)?;
                pack.get(pack.next(pos)).and_then(Score::read)
            }
            Repr::Sorted(sorted) => sorted.score(member),
        }
    }

    /// Sets the score of `member`; the score that it had before.
    pub fn insert(&mut self, member: &[u8], score: Score, limits: &Limits) -> Option<Score> {
        if let Repr::Packed(pack) = &mut self.0 {
            if let Some(pos) = pack.find::<1>(member) {
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
                let pos = pack.find::<1>(member)?;
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
                let (pos, rank) = pack.find_counting::<1>(member)?;
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
                if let Some(mut starts) = pack.pairs(rank.saturating_add(1)) {
                    return Box::new(std::iter::from_fn(move || {
                        let mut pair = pack.range(starts.pop()?.into(), pack.end());
                        Some((pair.next()?, Score::read(pair.next()?)?))
                    }));
                }
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
