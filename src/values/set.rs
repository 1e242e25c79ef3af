//! Sets: an intset while all members are integers and few, a listpack while they
//! are few and short, else a hash table. The form changes where Redis 7.2 changes
//! it, and never back by a removal.

use super::packed::{Elem, Intset, Listpack, integer};
use super::random::{Random, choose};
use super::table::Table;
use crate::memory::Renewal;

/// When a set changes its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `set-max-intset-entries`
    pub intset_entries: usize,
    /// `set-max-listpack-entries`
    pub listpack_entries: usize,
    /// `set-max-listpack-value`: bytes of a member.
    pub listpack_value: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { intset_entries: 512, listpack_entries: 128, listpack_value: 64 }
    }
}

impl Limits {
    fn ints(&self) -> usize {
        self.intset_entries.min(super::packed::intset::LEN_MAX - 1)
    }
}

/// A set of byte strings.
#[derive(Clone, Debug)]
pub struct Set(Repr);

#[derive(Clone, Debug)]
enum Repr {
    Ints(Intset),
    Packed(Listpack),
    Table(Box<Table>),
}

/// The bytes of a set, for DUMP and RDB.
#[derive(Debug)]
pub enum Form<'a> {
    /// Integers only.
    Ints(&'a Intset),
    /// A listpack of members.
    Packed(&'a Listpack),
    /// Neither: go through [`Set::iter`].
    Table,
}

impl Default for Set {
    fn default() -> Self {
        Set(Repr::Ints(Intset::new()))
    }
}

impl From<Intset> for Set {
    fn from(ints: Intset) -> Self {
        Set(Repr::Ints(ints))
    }
}

impl Set {
    /// An empty set in the form that suits a first member and a hint how many follow.
    pub fn for_member(first: &[u8], count_hint: usize, limits: &Limits) -> Self {
        if integer::parse(first).is_some() && count_hint <= limits.ints() {
            Set(Repr::Ints(Intset::new()))
        } else if count_hint <= limits.listpack_entries {
            Set(Repr::Packed(Listpack::new()))
        } else {
            Set(Repr::Table(Box::new(Table::with_capacity(count_hint.min(1 << 16)))))
        }
    }

    /// A set from a listpack of members that must differ.
    pub fn from_listpack(pack: Listpack) -> Result<Self, super::packed::Corrupt> {
        let mut seen = std::collections::HashSet::new();
        if pack.iter().all(|e| seen.insert(e.to_vec())) {
            Ok(Set(Repr::Packed(pack)))
        } else {
            Err(super::packed::Corrupt)
        }
    }

    /// From a listpack that was a set already.
    pub(super) fn from_own(pack: Listpack) -> Self {
        Set(Repr::Packed(pack))
    }

    /// The bytes, where there is a packed form.
    pub fn form(&self) -> Form<'_> {
        match &self.0 {
            Repr::Ints(ints) => Form::Ints(ints),
            Repr::Packed(pack) => Form::Packed(pack),
            Repr::Table(_) => Form::Table,
        }
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Ints(ints) => ints.len(),
            Repr::Packed(pack) => pack.len(),
            Repr::Table(table) => table.len(),
        }
    }

    /// A set with the same members, in a time that hardly depends on how many they are. None
    /// where the set is not a table.
    pub fn snapshot(&mut self) -> Option<Set> {
        match &mut self.0 {
            Repr::Table(table) => Some(Set(Repr::Table(Box::new(table.snapshot())))),
            Repr::Ints(_) | Repr::Packed(_) => None,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Repr::Ints(ints) => ints.is_empty(),
            Repr::Packed(pack) => pack.is_empty(),
            Repr::Table(table) => table.is_empty(),
        }
    }

    /// The name that OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        match &self.0 {
            Repr::Ints(_) => "intset",
            Repr::Packed(_) => "listpack",
            Repr::Table(_) => "hashtable",
        }
    }

    /// Moves parts from `from` on, as far as that is granted; where to go on.
    pub fn renew(&mut self, from: usize, renewal: &mut Renewal) -> Option<usize> {
        match &mut self.0 {
            Repr::Ints(ints) => ints.renew(renewal),
            Repr::Packed(pack) => pack.renew(renewal),
            Repr::Table(table) => {
                if from == 0 {
                    renewal.boxed(table);
                }
                return table.renew(from, renewal);
            }
        }
        None
    }

    /// Bytes of memory on the heap.
    pub fn memory(&self) -> usize {
        match &self.0 {
            Repr::Ints(ints) => ints.memory(),
            Repr::Packed(pack) => pack.memory(),
            Repr::Table(table) => size_of::<Table>() + table.memory(),
        }
    }

    /// Number of allocations, roughly: what freeing costs.
    pub fn allocations(&self) -> usize {
        match &self.0 {
            Repr::Table(table) => table.allocations(),
            _ => 1,
        }
    }

    /// Whether `member` is in the set.
    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.0 {
            Repr::Ints(ints) => integer::parse(member).is_some_and(|n| ints.contains(n)),
            Repr::Packed(pack) => pack.find::<0>(member).is_some(),
            Repr::Table(table) => table.contains(member),
        }
    }

    fn make_table(&mut self, more: usize) {
        let mut table = Table::with_capacity(self.len() + more.min(1 << 16));
        let mut buffer = itoa::Buffer::new();
        for member in self.iter() {
            table.insert(member.text(&mut buffer), b"", false);
        }
        self.0 = Repr::Table(Box::new(table));
    }

    /// Makes room for `count` members that are about to be added: a small form that
    /// could not hold that many is left at once.
    pub fn expect(&mut self, count: usize, limits: &Limits) {
        let small = match &self.0 {
            Repr::Ints(_) => limits.ints(),
            Repr::Packed(_) => limits.listpack_entries,
            Repr::Table(_) => return,
        };
        if count > small {
            self.make_table(count);
        }
    }

    /// Adds `member`; whether it is new.
    pub fn insert(&mut self, member: &[u8], limits: &Limits) -> bool {
        match &mut self.0 {
            Repr::Table(table) => return table.insert_new(member, b""),
            Repr::Ints(ints) => {
                if let Some(n) = integer::parse(member) {
                    let new = ints.insert(n);
                    if new && ints.len() > limits.ints() {
                        self.make_table(0);
                    }
                    return new;
                }
                let longest =
                    [ints.get(0), ints.iter().next_back()].into_iter().flatten().map(integer::text_len).max();
                if ints.len() < limits.listpack_entries
                    && member.len() <= limits.listpack_value
                    && longest.unwrap_or(0) <= limits.listpack_value
                {
                    let mut pack = Listpack::new();
                    pack.extend(ints.iter().map(Elem::Int));
                    pack.push_back(member);
                    self.0 = Repr::Packed(pack);
                    return true;
                }
            }
            Repr::Packed(pack) => {
                if pack.find::<0>(member).is_some() {
                    return false;
                }
                if pack.len() < limits.listpack_entries
                    && member.len() <= limits.listpack_value
                    && pack.fits(member.len())
                {
                    pack.push_back(member);
                    return true;
                }
            }
        }
        self.make_table(1);
        self.insert(member, limits)
    }

    /// Removes `member`; whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.0 {
            Repr::Ints(ints) => integer::parse(member).is_some_and(|n| ints.remove(n)),
            Repr::Packed(pack) => match pack.find::<0>(member) {
                Some(pos) => {
                    pack.remove(pos, 1);
                    true
                }
                None => false,
            },
            Repr::Table(table) => table.remove(member),
        }
    }

    /// Turns into an intset if all members are integers and not too many, as the
    /// commands do that store a new set.
    pub fn compact_to_ints(&mut self, limits: &Limits) {
        if matches!(self.0, Repr::Ints(_)) || self.len() > limits.ints() {
            return;
        }
        let Some(mut numbers) = self.iter().map(|e| e.as_int()).collect::<Option<Vec<i64>>>() else {
            return;
        };
        numbers.sort_unstable();
        let mut ints = Intset::new();
        numbers.into_iter().for_each(|n| {
            ints.insert(n);
        });
        self.0 = Repr::Ints(ints);
    }

    /// All members, in no order that means anything (an intset's are ascending).
    pub fn iter(&self) -> Box<dyn Iterator<Item = Elem<'_>> + '_> {
        match &self.0 {
            Repr::Ints(ints) => Box::new(ints.iter().map(Elem::Int)),
            Repr::Packed(pack) => Box::new(pack.iter()),
            Repr::Table(table) => Box::new(table.iter().map(|e| Elem::Bytes(e.key))),
        }
    }

    /// SSCAN's step: visits members from `cursor` on and returns the next cursor.
    /// The small forms are visited whole, as in Redis.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Elem<'_>)) -> u64 {
        match &self.0 {
            Repr::Table(table) => table.scan(cursor, count, |e| visit(Elem::Bytes(e.key))),
            _ => {
                self.iter().for_each(visit);
                0
            }
        }
    }

    /// A member, each equally likely.
    pub fn random(&self, random: &mut Random) -> Option<Elem<'_>> {
        match &self.0 {
            Repr::Ints(ints) => ints.get(random.below(ints.len())).map(Elem::Int),
            Repr::Packed(pack) => pack.nth(random.below(pack.len())),
            Repr::Table(table) => table.random(random).map(|e| Elem::Bytes(e.key)),
        }
    }

    /// Visits `count` different members, each choice equally likely.
    pub fn sample(&self, count: usize, random: &mut Random, mut visit: impl FnMut(Elem<'_>)) {
        let len = self.len();
        match &self.0 {
            Repr::Table(table) if count < len / 4 => {
                let mut seen = std::collections::HashSet::with_capacity(count);
                while seen.len() < count
                    && let Some(entry) = table.random(random)
                {
                    if seen.insert(entry.key) {
                        visit(Elem::Bytes(entry.key));
                    }
                }
            }
            _ if count >= len => self.iter().for_each(visit),
            _ => {
                let mut chosen = choose(len, count, random).into_iter().peekable();
                for (_, member) in self.iter().enumerate().filter(|(i, _)| chosen.next_if_eq(i).is_some()) {
                    visit(member);
                }
            }
        }
    }

    /// Removes a member, each equally likely, and returns it.
    pub fn pop_random(&mut self, random: &mut Random) -> Option<Vec<u8>> {
        let member = self.random(random)?.to_vec();
        self.remove(&member);
        Some(member)
    }
}

/// Visits the members that are in all of `sets`: walks the smallest and asks the
/// others, from small to large. `visit` returns whether to go on.
pub fn intersection(sets: &[&Set], mut visit: impl FnMut(Elem<'_>) -> bool) {
    let mut sorted = sets.to_vec();
    sorted.sort_by_key(|s| s.len());
    let Some((smallest, others)) = sorted.split_first() else {
        return;
    };
    let mut buffer = itoa::Buffer::new();
    for member in smallest.iter() {
        let text = member.text(&mut buffer);
        if others.iter().all(|s| std::ptr::eq(*s, *smallest) || s.contains(text)) && !visit(member) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeSet, HashSet};

    const SMALL: Limits = Limits { intset_entries: 4, listpack_entries: 6, listpack_value: 5 };

    fn set(members: &[&str], limits: &Limits) -> Set {
        let mut set = Set::for_member(members[0].as_bytes(), members.len(), limits);
        for m in members {
            set.insert(m.as_bytes(), limits);
        }
        set
    }

    fn texts(set: &Set) -> BTreeSet<Vec<u8>> {
        set.iter().map(|e| e.to_vec()).collect()
    }

    #[test]
    fn forms_change_where_redis_changes_them() {
        assert_eq!(set(&["1", "2", "3", "4"], &SMALL).encoding(), "intset");
        let mut s = set(&["1", "2", "3", "4"], &SMALL);
        s.insert(b"5", &SMALL);
        assert_eq!(s.encoding(), "hashtable"); // too many integers: not a listpack
        assert_eq!(set(&["1", "2", "a"], &SMALL).encoding(), "listpack");
        assert_eq!(set(&["a", "123456"], &SMALL).encoding(), "hashtable");
        assert_eq!(set(&["123456", "a"], &SMALL).encoding(), "hashtable"); // an integer too long for a listpack
        let mut s = set(&["a", "b", "c", "d", "e", "f"], &SMALL);
        assert_eq!(s.encoding(), "listpack");
        assert!(!s.insert(b"a", &SMALL));
        s.insert(b"g", &SMALL);
        assert_eq!(s.encoding(), "hashtable");
        for m in ["a", "b", "c", "d", "e"] {
            s.remove(m.as_bytes());
        }
        assert_eq!((s.len(), s.encoding()), (2, "hashtable"));
        assert_eq!(Set::for_member(b"x", 7, &SMALL).encoding(), "hashtable");
        let mut s = set(&["x", "1"], &SMALL);
        s.remove(b"x");
        s.compact_to_ints(&SMALL);
        assert_eq!(s.encoding(), "intset");
    }

    #[test]
    fn the_intersection_walks_the_smallest() {
        let (a, b) = (set(&["1", "2", "3"], &SMALL), set(&["x", "3", "2", "9"], &SMALL));
        let mut out = Vec::new();
        intersection(&[&b, &a, &a], |m| {
            out.push(m.to_vec());
            true
        });
        assert_eq!(out, [b"2", b"3"]);
        intersection(&[], |_| unreachable!());
    }

    #[test]
    fn samples_are_different_members() {
        let mut s = Set::default();
        for i in 0..2000 {
            s.insert(format!("m{i}").as_bytes(), &Limits::default());
        }
        let mut random = Random::new(3);
        for count in [0, 1, 300, 1500, 2000, 5000] {
            let mut seen = HashSet::new();
            s.sample(count, &mut random, |m| assert!(seen.insert(m.to_vec())));
            assert_eq!(seen.len(), count.min(2000));
        }
        let popped = s.pop_random(&mut random).expect("not empty");
        assert!(!s.contains(&popped) && s.len() == 1999);
    }

    proptest! {
        #[test]
        fn behaves_as_a_set_of_strings(ops in prop::collection::vec((0u8..4, prop_oneof!["-?[0-9]{1,2}", "[a-c]{0,3}", Just("123456789".into())]), 0..150)) {
            let (mut s, mut twin) = (Set::default(), BTreeSet::new());
            for (op, m) in ops {
                let m = m.into_bytes();
                prop_assert_eq!(s.contains(&m), twin.contains(&m));
                if op > 0 {
                    prop_assert_eq!(s.insert(&m, &SMALL), twin.insert(m));
                } else {
                    prop_assert_eq!(s.remove(&m), twin.remove(&m));
                }
                prop_assert_eq!(s.len(), twin.len());
            }
            prop_assert_eq!(texts(&s), twin.clone());
            let mut scanned = BTreeSet::new();
            let mut cursor = 0;
            loop {
                cursor = s.scan(cursor, 3, |e| assert!(scanned.insert(e.to_vec())));
                if cursor == 0 { break; }
            }
            prop_assert_eq!(scanned, twin);
        }
    }
}
