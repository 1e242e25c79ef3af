//! Hashes: a listpack of fields and values while they are few and short, else a
//! hash table. A field can have a deadline (a Unix time in milliseconds); a hash in
//! which one has is a hash table, as in Valkey 9.
//!
//! This module has no clock. Whoever locks a hash asks [`Hash::next_deadline`], and
//! calls [`Hash::expire`] first if it is due. Where it must not, or where that would take
//! too long at once, it calls [`Hash::hide_before`]. After that no field that is past its
//! deadline is seen, and no read needs to know the time. A field lives through the
//! millisecond of its deadline.
//!
//! ```text
//! listpack    field value field value …
//! table       key: field   payload: [deadline u64, if the entry is marked] value
//! deadlines   ordered set of (deadline, hash of the field): 16 bytes per deadline
//! ```

mod fields;

use super::packed::{Corrupt, Elem, Listpack};
use super::random::{Random, choose};
use crate::memory::Renewal;
use fields::Fields;
use std::collections::HashSet;

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

    /// From a listpack that was a hash already.
    pub(super) fn from_own(pack: Listpack) -> Self {
        Hash(Repr::Packed(pack))
    }

    /// The bytes, where the hash is a listpack.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match &self.0 {
            Repr::Packed(pack) => Some(pack),
            Repr::Table(_) => None,
        }
    }

    /// Number of fields, hidden ones included.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Packed(pack) => pack.len() / 2,
            Repr::Table(fields) => fields.len(),
        }
    }

    /// Number of fields that are shown: all, unless [`hide_before`](Self::hide_before) hides some.
    pub fn shown(&self) -> usize {
        match &self.0 {
            Repr::Packed(pack) => pack.len() / 2,
            Repr::Table(fields) => fields.shown(),
        }
    }

    /// A hash with the same fields and values to be read elsewhere, in a time that hardly
    /// depends on how many they are. Their deadlines cannot be followed in it. None where
    /// the hash is a listpack, or hides fields.
    pub fn snapshot(&mut self) -> Option<Hash> {
        match &mut self.0 {
            Repr::Packed(_) => None,
            Repr::Table(fields) => Some(Hash(Repr::Table(Box::new(fields.snapshot()?)))),
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

    /// Moves parts from `from` on, as far as that is granted; where to go on.
    pub fn renew(&mut self, from: usize, renewal: &mut Renewal) -> Option<usize> {
        match &mut self.0 {
            Repr::Packed(pack) => {
                pack.renew(renewal);
                None
            }
            Repr::Table(fields) => {
                if from == 0 {
                    renewal.boxed(fields);
                }
                fields.renew(from, renewal)
            }
        }
    }

    /// Bytes of memory on the heap.
    pub fn memory(&self) -> usize {
        match &self.0 {
            Repr::Packed(pack) => pack.memory(),
            Repr::Table(fields) => fields.memory(),
        }
    }

    /// Number of allocations, roughly: what freeing costs.
    pub fn allocations(&self) -> usize {
        match &self.0 {
            Repr::Packed(_) => 1,
            Repr::Table(fields) => fields.allocations(),
        }
    }

    fn make_table(&mut self, more: usize) -> &mut Fields {
        if let Repr::Packed(pack) = &self.0 {
            let mut fields = Fields::with_capacity(pack.len() / 2 + more.min(1 << 16));
            for field in self.iter() {
                let mut buffers = (itoa::Buffer::new(), itoa::Buffer::new());
                fields.fill(field.name.text(&mut buffers.0), field.value.text(&mut buffers.1));
            }
            self.0 = Repr::Table(Box::new(fields));
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
                let pos = pack.find::<1>(name)?;
                Some(Field { name: pack.get(pos)?, value: pack.get(pack.next(pos))?, deadline: None })
            }
            Repr::Table(fields) => fields.get(name),
        }
    }

    /// The value of a field.
    pub fn get(&self, name: &[u8]) -> Option<Elem<'_>> {
        self.field(name).map(|f| f.value)
    }

    /// Whether there is such a field.
    pub fn contains(&self, name: &[u8]) -> bool {
        match &self.0 {
            Repr::Packed(pack) => pack.find::<1>(name).is_some(),
            Repr::Table(fields) => fields.contains(name),
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
            if let Some(pos) = pack.find::<1>(name) {
                pack.replace(pack.next(pos), Elem::of(value));
                return false;
            }
            pack.extend([name, value].into_iter().map(Elem::of));
            if pack.len() / 2 > limits.listpack_entries {
                self.make_table(0);
            }
            return true;
        }
        self.make_table(0).set(name, value, deadline)
    }

    /// Removes a field; whether it was there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        match &mut self.0 {
            Repr::Packed(pack) => match pack.find::<1>(name) {
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
        self.make_table(0).set_deadline(name, deadline)
    }

    /// Number of fields that have a deadline.
    pub fn deadlines(&self) -> usize {
        match &self.0 {
            Repr::Packed(_) => 0,
            Repr::Table(fields) => fields.deadlines(),
        }
    }

    /// The earliest deadline of any field.
    pub fn next_deadline(&self) -> Option<u64> {
        match &self.0 {
            Repr::Packed(_) => None,
            Repr::Table(fields) => fields.next_deadline(),
        }
    }

    /// The tick for which the owner of the timers has armed one for this hash. It means
    /// nothing in a copy, or under another key.
    pub fn armed(&self) -> Option<u32> {
        match &self.0 {
            Repr::Packed(_) => None,
            Repr::Table(fields) => fields.armed(),
        }
    }

    /// Notes that tick.
    pub fn set_armed(&mut self, tick: Option<u32>) {
        match &mut self.0 {
            Repr::Packed(_) => debug_assert!(tick.is_none(), "a timer for a hash without deadlines"),
            Repr::Table(fields) => fields.set_armed(tick),
        }
    }

    /// From now on no read shows a field whose deadline is before `now`, although it is still
    /// stored, and a write takes it for absent. 0 shows all again.
    pub fn hide_before(&mut self, now: u64) {
        if let Repr::Table(fields) = &mut self.0 {
            fields.hide_before(now);
        }
    }

    /// Whether [`hide_before`](Self::hide_before) is in force.
    pub fn hides_any(&self) -> bool {
        match &self.0 {
            Repr::Packed(_) => false,
            Repr::Table(fields) => fields.hides_any(),
        }
    }

    /// Removes what is hidden: from a copy, which is to hold only what was shown.
    pub fn drop_hidden(&mut self) {
        if let Repr::Table(fields) = &mut self.0 {
            fields.drop_hidden();
        }
    }

    /// Removes up to about `max` fields whose deadline is before `now`, earliest first, and
    /// shows each to `visit`. How many they were.
    pub fn expire(&mut self, now: u64, max: usize, visit: impl FnMut(Field<'_>)) -> usize {
        match &mut self.0 {
            Repr::Packed(_) => 0,
            Repr::Table(fields) => fields.expire(now, max, visit),
        }
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
            Repr::Table(fields) => Box::new(fields.iter()),
        }
    }

    /// HSCAN's step: visits fields from `cursor` on and returns the next cursor. A
    /// listpack is visited whole, as in Redis.
    pub fn scan(&self, cursor: u64, count: usize, visit: impl FnMut(Field<'_>)) -> u64 {
        match &self.0 {
            Repr::Packed(_) => {
                self.iter().for_each(visit);
                0
            }
            Repr::Table(fields) => fields.scan(cursor, count, visit),
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
            Repr::Table(fields) => fields.random(random),
        }
    }

    /// Visits `count` different fields, each choice equally likely.
    pub fn sample(&self, count: usize, random: &mut Random, mut visit: impl FnMut(Field<'_>)) {
        let len = self.shown();
        match &self.0 {
            Repr::Table(fields) if count < len / 4 && !fields.hides_any() => {
                fields.sample_few(count, random, visit);
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
mod tests;
