//! The table form of a hash, and the deadlines of its fields.

use super::super::packed::{Elem, allocated};
use super::super::random::Random;
use super::super::table::{self, Entry, Table};
use super::{Deadline, Field};
use crate::memory::Renewal;
use std::collections::{BTreeSet, HashSet};

/// Fields in a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    table: Table,
    timed: Option<Box<Timed>>,
}

/// What only a hash with deadlines has.
#[derive(Clone, Debug, Default)]
struct Timed {
    /// Deadline and hash of each field that has one.
    deadlines: BTreeSet<(u64, u64)>,
    /// Whoever owns the timers keeps the tick here for which it has armed one.
    armed: Option<u32>,
    /// Fields with an earlier deadline are not shown.
    hidden_before: u64,
}

impl Timed {
    fn hides(&self, at: u64) -> bool {
        at < self.hidden_before
    }

    /// Number of hidden fields. Costs as much as there are of these or of the later ones,
    /// whichever are fewer.
    fn hidden(&self) -> usize {
        let mut hidden = self.deadlines.range(..(self.hidden_before, 0));
        let mut later = self.deadlines.range((self.hidden_before, 0)..);
        let mut count = 0;
        while hidden.next().is_some() {
            if later.next().is_none() {
                return self.deadlines.len() - count;
            }
            count += 1;
        }
        count
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

impl<'a> Field<'a> {
    fn of(entry: Entry<'a>) -> Self {
        let (deadline, value) = split_payload(entry);
        Field { name: Elem::Bytes(entry.key), value: Elem::Bytes(value), deadline }
    }
}

impl Fields {
    pub fn with_capacity(n: usize) -> Self {
        Fields { table: Table::with_capacity(n), timed: None }
    }

    /// Number of fields, hidden ones included.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Number of fields that are shown.
    pub fn shown(&self) -> usize {
        self.table.len().saturating_sub(self.hiding().map_or(0, Timed::hidden))
    }

    /// A copy to read, without the deadlines' order; none while fields are hidden.
    pub fn snapshot(&mut self) -> Option<Fields> {
        if self.hides_any() { None } else { Some(Fields { table: self.table.snapshot(), timed: None }) }
    }

    /// Moves parts from `from` on, as far as that is granted; where to go on.
    pub fn renew(&mut self, from: usize, renewal: &mut Renewal) -> Option<usize> {
        self.table.renew(from, renewal)
    }

    pub fn memory(&self) -> usize {
        // A B-tree of pairs is about two thirds full.
        let timed = self.timed.as_ref().map_or(0, |t| allocated(size_of::<Timed>()) + t.deadlines.len() * 24);
        allocated(size_of::<Fields>()) + self.table.memory() + timed
    }

    pub fn allocations(&self) -> usize {
        self.table.allocations() + self.deadlines() / 8
    }

    pub fn deadlines(&self) -> usize {
        self.timed.as_ref().map_or(0, |t| t.deadlines.len())
    }

    pub fn next_deadline(&self) -> Option<u64> {
        self.timed.as_ref()?.deadlines.first().map(|&(at, _)| at)
    }

    pub fn armed(&self) -> Option<u32> {
        self.timed.as_ref()?.armed
    }

    pub fn set_armed(&mut self, tick: Option<u32>) {
        match &mut self.timed {
            Some(timed) => timed.armed = tick,
            None if tick.is_some() => {
                self.timed = Some(Box::new(Timed { armed: tick, ..Timed::default() }));
            }
            None => {}
        }
        self.tidy();
    }

    /// Gives up what only a hash with deadlines has, once that says nothing.
    fn tidy(&mut self) {
        if self.timed.as_ref().is_some_and(|t| t.deadlines.is_empty() && t.armed.is_none()) {
            self.timed = None;
        }
    }

    pub fn hide_before(&mut self, now: u64) {
        if let Some(timed) = &mut self.timed {
            timed.hidden_before = now;
        }
    }

    pub fn drop_hidden(&mut self) {
        if let Some(before) = self.hiding().map(|timed| timed.hidden_before) {
            self.expire(before, usize::MAX, |_| {});
            self.hide_before(0);
        }
    }

    /// The timers, where some field may be hidden.
    fn hiding(&self) -> Option<&Timed> {
        self.timed.as_deref().filter(|t| t.hidden_before > 0)
    }

    pub fn hides_any(&self) -> bool {
        self.hiding().is_some()
    }

    fn shows(&self, entry: Entry<'_>) -> bool {
        match self.hiding() {
            Some(timed) => split_payload(entry).0.is_none_or(|at| !timed.hides(at)),
            None => true,
        }
    }

    fn shown_entry(&self, name: &[u8]) -> Option<Entry<'_>> {
        self.table.get(name).filter(|e| self.shows(*e))
    }

    pub fn get(&self, name: &[u8]) -> Option<Field<'_>> {
        self.shown_entry(name).map(Field::of)
    }

    pub fn contains(&self, name: &[u8]) -> bool {
        if self.hides_any() { self.shown_entry(name).is_some() } else { self.table.contains(name) }
    }

    /// Adds a field without a deadline to a table that has none.
    pub fn fill(&mut self, name: &[u8], value: &[u8]) {
        self.table.insert(name, value, false);
    }

    /// The deadline that is stored with a field, whether it is shown or not.
    fn stored_deadline(&self, name: &[u8]) -> Option<u64> {
        if self.deadlines() == 0 { None } else { split_payload(self.table.get(name)?).0 }
    }

    /// Sets a field; whether it is new to those to whom it is shown.
    pub fn set(&mut self, name: &[u8], value: &[u8], deadline: Deadline) -> bool {
        let old = self.stored_deadline(name);
        let was_hidden = old.is_some_and(|at| self.hiding().is_some_and(|t| t.hides(at)));
        let new = match deadline {
            Deadline::Clear => None,
            Deadline::Keep => old.filter(|_| !was_hidden),
            Deadline::At(at) => Some(at),
        };
        self.write(name, value, old, new) || was_hidden
    }

    fn write(&mut self, name: &[u8], value: &[u8], old: Option<u64>, new: Option<u64>) -> bool {
        if old != new {
            self.forget(name, old);
        }
        let Some(at) = new else {
            return self.table.insert(name, value, false);
        };
        let mut payload = Vec::with_capacity(8 + value.len());
        payload.extend_from_slice(&at.to_le_bytes());
        payload.extend_from_slice(value);
        self.timed.get_or_insert_default().deadlines.insert((at, table::hash(name)));
        self.table.insert(name, &payload, true)
    }

    /// Takes a field's deadline out of the ordered set, unless another field of the same
    /// hash has the same.
    fn forget(&mut self, name: &[u8], deadline: Option<u64>) {
        let (Some(at), Some(timed)) = (deadline, &mut self.timed) else { return };
        let hash = table::hash(name);
        let same = |e: Entry<'_>| e.key != name && split_payload(e).0 == Some(at);
        if !self.table.with_hash(hash).any(same) {
            timed.deadlines.remove(&(at, hash));
        }
        self.tidy();
    }

    /// Removes a field; whether it was there. A hidden one is left to [`expire`](Self::expire).
    pub fn remove(&mut self, name: &[u8]) -> bool {
        if self.hides_any() && self.shown_entry(name).is_none() {
            return false;
        }
        self.forget(name, self.stored_deadline(name));
        self.table.remove(name)
    }

    /// Sets or takes away the deadline of a field; whether there is such a field.
    pub fn set_deadline(&mut self, name: &[u8], deadline: Option<u64>) -> bool {
        let Some(entry) = self.shown_entry(name) else {
            return false;
        };
        let (old, value) = split_payload(entry);
        if old != deadline {
            let value = value.to_vec();
            self.write(name, &value, old, deadline);
        }
        true
    }

    pub fn expire(&mut self, now: u64, max: usize, mut visit: impl FnMut(Field<'_>)) -> usize {
        let mut expired = 0;
        while expired < max
            && let Some(timed) = &mut self.timed
            && let Some(&(at, hash)) = timed.deadlines.first()
            && at < now
        {
            timed.deadlines.pop_first();
            let due = self.table.with_hash(hash).filter(|e| split_payload(*e).0 == Some(at));
            let names: Vec<Vec<u8>> = due.map(|e| e.key.to_vec()).collect();
            for name in names {
                if let Some(entry) = self.table.get(&name) {
                    visit(Field::of(entry));
                }
                self.table.remove(&name);
                expired += 1;
            }
        }
        self.tidy();
        expired
    }

    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.table.iter().filter(|e| self.shows(*e)).map(Field::of)
    }

    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Field<'_>)) -> u64 {
        self.table.scan(cursor, count, |e| {
            if self.shows(e) {
                visit(Field::of(e));
            }
        })
    }

    pub fn random(&self, random: &mut Random) -> Option<Field<'_>> {
        if !self.hides_any() {
            return self.table.random(random).map(Field::of);
        }
        let shown = self.shown();
        if shown == 0 { None } else { self.iter().nth(random.below(shown)) }
    }

    /// Visits `count` different fields, which must be far fewer than there are.
    pub fn sample_few(&self, count: usize, random: &mut Random, mut visit: impl FnMut(Field<'_>)) {
        let mut seen = HashSet::with_capacity(count);
        while seen.len() < count
            && let Some(entry) = self.table.random(random)
        {
            if seen.insert(entry.key) {
                visit(Field::of(entry));
            }
        }
    }
}
