//! Hashes: a listpack of fields and values while they are few and short, else a
//! hash table. A field can have a deadline (a Unix time in milliseconds); a hash in
//! which one has is a hash table, as in Valkey 9.
//!
//! This module has no clock. Whoever locks a hash asks [`Hash::next_deadline`], and
//! calls [`Hash::expire`] first if it is due; after that no field is overdue, and
//! no read needs to know the time.
//!
//! ```text
//! listpack    field value field value …
//! table       key: field   payload: [deadline u64, if the entry is marked] value
//! deadlines   ordered set of (deadline, hash of the field): 16 bytes per deadline
//! ```

use super::packed::{Corrupt, Elem, Listpack, allocated};
use super::random::{Random, choose};
use super::table::{self, Entry, Table};
use std::collections::{BTreeSet, HashSet};

/// When a hash changes its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `hash-max-listpack-entries`
    pub listpack_entries: usize,
    /// `hash-max-listpack-value`: bytes of a field or value.
    pub listpack_value: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { listpack_entries: 128, listpack_value: 64 }
    }
}

/// What a write does to the deadline of its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// Takes it away, as HSET does.
    Clear,
    /// Leaves it, as HINCRBY and KEEPTTL do.
    Keep,
    /// Sets it.
    At(u64),
}

/// A map from field to value.
#[derive(Clone, Debug)]
pub struct Hash(Repr);

#[derive(Clone, Debug)]
enum Repr {
    Packed(Listpack),
    Table(Box<Fields>),
}

#[derive(Clone, Debug, Default)]
struct Fields {
    table: Table,
    deadlines: BTreeSet<(u64, u64)>,
}

/// A field with what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name.
    pub name: Elem<'a>,
    /// Its value.
    pub value: Elem<'a>,
    /// When it expires, in Unix milliseconds.
    pub deadline: Option<u64>,
}

impl<'a> Field<'a> {
    fn of(entry: Entry<'a>) -> Self {
        let (deadline, value) = split_payload(entry);
        Field { name: Elem::Bytes(entry.key), value: Elem::Bytes(value), deadline }
    }
}

fn split_payload(entry: Entry<'_>) -> (Option<u64>, &[u8]) {
    if !entry.mark {
        return (None, entry.payload);
    }
    let (deadline, value) =
        entry.payload.split_first_chunk().expect("invariant: marked payloads have a deadline");
    (Some(u64::from_le_bytes(*deadline)), value)
}

impl Fields {
    fn deadline(&self, field: &[u8]) -> Option<u64> {
        if self.deadlines.is_empty() { None } else { split_payload(self.table.get(field)?).0 }
    }

    fn write(&mut self, field: &[u8], value: &[u8], deadline: Option<u64>) -> bool {
        self.forget(field);
        let Some(at) = deadline else {
            return self.table.insert(field, value, false);
        };
        let mut payload = Vec::with_capacity(8 + value.len());
        payload.extend_from_slice(&at.to_le_bytes());
        payload.extend_from_slice(value);
        self.deadlines.insert((at, table::hash(field)));
        self.table.insert(field, &payload, true)
    }

    /// Takes the field's deadline out of the ordered set, unless another field of
    /// the same hash has the same.
    fn forget(&mut self, field: &[u8]) {
        let Some(at) = self.deadline(field) else { return };
        let hash = table::hash(field);
        let other = self.table.with_hash(hash).any(|e| e.key != field && split_payload(e).0 == Some(at));
        if !other {
            self.deadlines.remove(&(at, hash));
        }
    }

    fn remove(&mut self, field: &[u8]) -> bool {
        self.forget(field);
        self.table.remove(field)
    }
}

impl Default for Hash {
    fn default() -> Self {
        Self::new()
    }
}

impl Hash {
    /// An empty hash.
    pub fn new() -> Self {
        Hash(Repr::Packed(Listpack::new()))
    }

    /// A hash from a listpack of fields and values; the fields must differ.
    pub fn from_listpack(pack: Listpack) -> Result<Self, Corrupt> {
        let mut seen = HashSet::new();
        let mut elems = pack.iter();
        while let Some(field) = elems.next() {
            if elems.next().is_none() || !seen.insert(field.to_vec()) {
                return Err(Corrupt);
            }
        }
        Ok(Hash(Repr::Packed(pack)))
    }

    /// The bytes, where the hash is a listpack.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match &self.0 {
            Repr::Packed(pack) => Some(pack),
            Repr::Table(_) => None,
        }
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Packed(pack) => pack.len() / 2,
            Repr::Table(fields) => fields.table.len(),
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
            Repr::Table(_) => "hashtable",
        }
    }

    /// Bytes of memory on the heap.
    pub fn memory(&self) -> usize {
        match &self.0 {
            Repr::Packed(pack) => pack.memory(),
            // A B-tree of pairs is about two thirds full.
            Repr::Table(f) => allocated(size_of::<Fields>()) + f.table.memory() + f.deadlines.len() * 24,
        }
    }

    /// Number of allocations, roughly: what freeing costs.
    pub fn allocations(&self) -> usize {
        match &self.0 {
            Repr::Packed(_) => 1,
            Repr::Table(fields) => fields.table.allocations() + fields.deadlines.len() / 8,
        }
    }

    fn make_table(&mut self, more: usize) -> &mut Fields {
        if let Repr::Packed(pack) = &self.0 {
            let mut table = Table::with_capacity(pack.len() / 2 + more.min(1 << 16));
            for field in self.iter() {
                let mut buffers = (itoa::Buffer::new(), itoa::Buffer::new());
                table.insert(field.name.text(&mut buffers.0), field.value.text(&mut buffers.1), false);
            }
            self.0 = Repr::Table(Box::new(Fields { table, deadlines: BTreeSet::new() }));
        }
        match &mut self.0 {
            Repr::Table(fields) => fields,
            Repr::Packed(_) => unreachable!("invariant: converted above"),
        }
    }

    /// Prepares for fields and values that are about to be set: what a listpack
    /// must not hold turns it into a table at once.
    pub fn expect<'e>(&mut self, pairs: usize, mut texts: impl Iterator<Item = &'e [u8]>, limits: &Limits) {
        if let Repr::Packed(pack) = &self.0 {
            let mut bytes = 0usize;
            let too_long = texts.any(|t| {
                bytes = bytes.saturating_add(t.len());
                t.len() > limits.listpack_value
            });
            if pairs > limits.listpack_entries || too_long || !pack.fits(bytes) {
                self.make_table(pairs);
            }
        }
    }

    /// The field `name`.
    pub fn field(&self, name: &[u8]) -> Option<Field<'_>> {
        match &self.0 {
            Repr::Packed(pack) => {
                let pos = pack.find(pack.start(), name, 1)?;
                Some(Field { name: pack.get(pos)?, value: pack.get(pack.next(pos))?, deadline: None })
            }
            Repr::Table(fields) => fields.table.get(name).map(Field::of),
        }
    }

    /// The value of a field.
    pub fn get(&self, name: &[u8]) -> Option<Elem<'_>> {
        self.field(name).map(|f| f.value)
    }

    /// Whether there is such a field.
    pub fn contains(&self, name: &[u8]) -> bool {
        match &self.0 {
            Repr::Packed(pack) => pack.find(pack.start(), name, 1).is_some(),
            Repr::Table(fields) => fields.table.contains(name),
        }
    }

    /// Sets a field, and takes its deadline away; whether it is new.
    pub fn set(&mut self, name: &[u8], value: &[u8], limits: &Limits) -> bool {
        self.set_with(name, value, Deadline::Clear, limits)
    }

    /// Sets a field and its deadline; whether it is new.
    pub fn set_with(&mut self, name: &[u8], value: &[u8], deadline: Deadline, limits: &Limits) -> bool {
        if let Repr::Packed(pack) = &mut self.0
            && !matches!(deadline, Deadline::At(_))
            && name.len().max(value.len()) <= limits.listpack_value
            && pack.fits(name.len() + value.len() + 20)
        {
            if let Some(pos) = pack.find(pack.start(), name, 1) {
                pack.replace(pack.next(pos), Elem::of(value));
                return false;
            }
            pack.extend([name, value].into_iter().map(Elem::of));
            if pack.len() / 2 > limits.listpack_entries {
                self.make_table(0);
            }
            return true;
        }
        let fields = self.make_table(0);
        let deadline = match deadline {
            Deadline::Clear => None,
            Deadline::Keep => fields.deadline(name),
            Deadline::At(at) => Some(at),
        };
        fields.write(name, value, deadline)
    }

    /// Removes a field; whether it was there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        match &mut self.0 {
            Repr::Packed(pack) => match pack.find(pack.start(), name, 1) {
                Some(pos) => {
                    pack.remove(pos, 2);
                    true
                }
                None => false,
            },
            Repr::Table(fields) => fields.remove(name),
        }
    }

    /// Sets or takes away the deadline of a field; whether there is such a field.
    pub fn set_deadline(&mut self, name: &[u8], deadline: Option<u64>) -> bool {
        if deadline.is_none() && matches!(self.0, Repr::Packed(_)) {
            return self.contains(name);
        }
        if !self.contains(name) {
            return false;
        }
        let fields = self.make_table(0);
        if fields.deadline(name) != deadline
            && let Some(value) = fields.table.get(name).map(|e| split_payload(e).1.to_vec())
        {
            fields.write(name, &value, deadline);
        }
        true
    }

    /// Number of fields that have a deadline.
    pub fn deadlines(&self) -> usize {
        match &self.0 {
            Repr::Packed(_) => 0,
            Repr::Table(fields) => fields.deadlines.len(),
        }
    }

    /// The earliest deadline of any field.
    pub fn next_deadline(&self) -> Option<u64> {
        match &self.0 {
            Repr::Packed(_) => None,
            Repr::Table(fields) => fields.deadlines.first().map(|&(at, _)| at),
        }
    }

    /// Removes up to about `max` fields whose deadline is `now` or earlier, earliest
    /// first, and shows each to `visit`. How many they were.
    pub fn expire(&mut self, now: u64, max: usize, mut visit: impl FnMut(Field<'_>)) -> usize {
        let Repr::Table(fields) = &mut self.0 else {
            return 0;
        };
        let mut expired = 0;
        while expired < max
            && let Some(&(at, hash)) = fields.deadlines.first()
            && at <= now
        {
            fields.deadlines.pop_first();
            let due = fields.table.with_hash(hash).filter(|e| split_payload(*e).0 == Some(at));
            let names: Vec<Vec<u8>> = due.map(|e| e.key.to_vec()).collect();
            for name in names {
                if let Some(entry) = fields.table.get(&name) {
                    visit(Field::of(entry));
                }
                fields.table.remove(&name);
                expired += 1;
            }
        }
        expired
    }

    /// All fields, in no order that means anything.
    pub fn iter(&self) -> Box<dyn Iterator<Item = Field<'_>> + '_> {
        match &self.0 {
            Repr::Packed(pack) => {
                let mut elems = pack.iter();
                Box::new(std::iter::from_fn(move || {
                    Some(Field { name: elems.next()?, value: elems.next()?, deadline: None })
                }))
            }
            Repr::Table(fields) => Box::new(fields.table.iter().map(Field::of)),
        }
    }

    /// HSCAN's step: visits fields from `cursor` on and returns the next cursor. A
    /// listpack is visited whole, as in Redis.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Field<'_>)) -> u64 {
        match &self.0 {
            Repr::Packed(_) => {
                self.iter().for_each(visit);
                0
            }
            Repr::Table(fields) => fields.table.scan(cursor, count, |e| visit(Field::of(e))),
        }
    }

    /// A field, each equally likely.
    pub fn random(&self, random: &mut Random) -> Option<Field<'_>> {
        match &self.0 {
            Repr::Packed(pack) if !pack.is_empty() => {
                let pos = pack.skip(pack.start(), 2 * random.below(pack.len() / 2));
                Some(Field { name: pack.get(pos)?, value: pack.get(pack.next(pos))?, deadline: None })
            }
            Repr::Packed(_) => None,
            Repr::Table(fields) => fields.table.random(random).map(Field::of),
        }
    }

    /// Visits `count` different fields, each choice equally likely.
    pub fn sample(&self, count: usize, random: &mut Random, mut visit: impl FnMut(Field<'_>)) {
        let len = self.len();
        match &self.0 {
            Repr::Table(fields) if count < len / 4 => {
                let mut seen = HashSet::with_capacity(count);
                while seen.len() < count
                    && let Some(entry) = fields.table.random(random)
                {
                    if seen.insert(entry.key) {
                        visit(Field::of(entry));
                    }
                }
            }
            _ if count >= len => self.iter().for_each(visit),
            _ => {
                let mut chosen = choose(len, count, random).into_iter().peekable();
                for (_, field) in self.iter().enumerate().filter(|(i, _)| chosen.next_if_eq(i).is_some()) {
                    visit(field);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const SMALL: Limits = Limits { listpack_entries: 4, listpack_value: 6 };

    #[test]
    fn forms_change_where_redis_changes_them() {
        let mut h = Hash::new();
        for i in 0..4 {
            assert!(h.set(format!("f{i}").as_bytes(), b"1", &SMALL));
        }
        assert!(!h.set(b"f0", b"2", &SMALL));
        assert_eq!(h.encoding(), "listpack");
        h.set(b"f4", b"1", &SMALL);
        assert_eq!(h.encoding(), "hashtable");
        let mut h = Hash::new();
        h.set(b"f", b"1234567", &SMALL);
        assert_eq!(h.encoding(), "hashtable");
        let mut h = Hash::new();
        h.expect(5, [].into_iter(), &SMALL);
        assert_eq!(h.encoding(), "hashtable");
    }

    #[test]
    fn fields_expire_in_the_order_of_their_deadlines() {
        let mut h = Hash::new();
        for (name, at) in [("a", 30), ("b", 10), ("c", 20), ("d", 10)] {
            h.set_with(name.as_bytes(), b"v", Deadline::At(at), &SMALL);
        }
        h.set(b"stays", b"v", &SMALL);
        assert_eq!((h.next_deadline(), h.deadlines()), (Some(10), 4));
        assert_eq!(h.expire(9, 100, |_| unreachable!()), 0);
        let mut gone = Vec::new();
        assert_eq!(h.expire(20, 100, |f| gone.push((f.deadline, f.name.to_vec()))), 3);
        assert!(gone[..2].iter().all(|g| g.0 == Some(10)) && gone[2] == (Some(20), b"c".to_vec()));
        assert_eq!((h.len(), h.next_deadline()), (2, Some(30)));
    }

    #[test]
    fn a_write_keeps_or_clears_the_deadline_as_told() {
        let mut h = Hash::new();
        h.set(b"f", b"1", &SMALL);
        assert!(h.set_deadline(b"f", Some(5)) && !h.set_deadline(b"g", Some(5)));
        h.set_with(b"f", b"2", Deadline::Keep, &SMALL);
        assert_eq!(h.field(b"f").map(|f| (f.value.to_vec(), f.deadline)), Some((b"2".to_vec(), Some(5))));
        h.set(b"f", b"3", &SMALL);
        assert_eq!((h.next_deadline(), h.deadlines()), (None, 0));
        h.set_deadline(b"f", Some(6));
        assert!(h.set_deadline(b"f", None));
        assert_eq!(h.next_deadline(), None);
    }

    #[test]
    fn a_forged_listpack_is_refused() {
        let pack = |elems: &[&str]| {
            let mut pack = Listpack::new();
            elems.iter().for_each(|e| pack.push_back(e.as_bytes()));
            pack
        };
        assert!(Hash::from_listpack(pack(&["a", "1", "b", "2"])).is_ok());
        assert!(Hash::from_listpack(pack(&["a", "1", "b"])).is_err());
        assert!(Hash::from_listpack(pack(&["a", "1", "a", "2"])).is_err());
    }

    proptest! {
        #[test]
        fn behaves_as_a_map_with_deadlines(ops in prop::collection::vec((0u8..8, "[a-h]", "[0-9]{0,8}", 0u64..50), 0..120)) {
            let mut h = Hash::new();
            let mut twin: BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)> = BTreeMap::new();
            for (op, name, value, at) in ops {
                let (name, value) = (name.into_bytes(), value.into_bytes());
                let old = twin.get(&name).and_then(|f| f.1);
                match op {
                    0..3 => prop_assert_eq!(h.set(&name, &value, &SMALL), twin.insert(name, (value, None)).is_none()),
                    3 => prop_assert_eq!(h.set_with(&name, &value, Deadline::Keep, &SMALL), twin.insert(name, (value, old)).is_none()),
                    4 => prop_assert_eq!(h.set_with(&name, &value, Deadline::At(at), &SMALL), twin.insert(name, (value, Some(at))).is_none()),
                    5 => prop_assert_eq!(h.remove(&name), twin.remove(&name).is_some()),
                    6 => prop_assert_eq!(h.set_deadline(&name, Some(at)), twin.get_mut(&name).map(|f| f.1 = Some(at)).is_some()),
                    _ => {
                        let before = twin.len();
                        twin.retain(|_, f| f.1.is_none_or(|d| d > at / 4));
                        prop_assert_eq!(h.expire(at / 4, usize::MAX, |_| ()), before - twin.len());
                    }
                }
                prop_assert_eq!(h.len(), twin.len());
                prop_assert_eq!(h.next_deadline(), twin.values().filter_map(|f| f.1).min());
            }
            let all: BTreeMap<_, _> = h.iter().map(|f| (f.name.to_vec(), (f.value.to_vec(), f.deadline))).collect();
            prop_assert_eq!(&all, &twin);
            for (name, (value, deadline)) in &twin {
                let f = h.field(name).expect("there");
                prop_assert_eq!((f.value.to_vec(), f.deadline), (value.clone(), *deadline));
            }
        }
    }
}
