//! One node of a stream: entries in a listpack, in the layout of Redis.
//!
//! ```text
//! master   live   deleted   fields n   name … (n)   0
//! entry    flags   ms   seq   [n   if not the master's names]   value … or name value …   back
//! ```
//!
//! `ms` and `seq` are differences to the id under which the node is known. An entry
//! with the master's names in the master's order holds only values. `back` is the
//! number of elements of the entry before it, for walking backwards.

use super::{Limits, StreamId};
use crate::values::packed::{Elem, Listpack, listpack};

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// An entry of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its id.
    pub id: StreamId,
    pack: &'a Listpack,
    /// Where the entry begins.
    at: usize,
    /// Where its first value (or name, if it has its own) is.
    body: usize,
    fields: usize,
    same: bool,
    deleted: bool,
    /// The position behind it.
    next: usize,
}

impl<'a> Entry<'a> {
    /// Number of fields.
    pub fn len(&self) -> usize {
        self.fields
    }

    /// Whether there are none, which no client can make.
    pub fn is_empty(&self) -> bool {
        self.fields == 0
    }

    /// Names and values.
    pub fn fields(&self) -> impl Iterator<Item = (Elem<'a>, Elem<'a>)> + use<'a> {
        let names = if self.same { Head::of(self.pack).map_or(0, |h| h.names) } else { self.body };
        let mut names = self.pack.range(names, self.pack.end());
        let mut values = self.pack.range(self.body, self.pack.end());
        let same = self.same;
        (0..self.fields).map_while(move |_| {
            let name = names.next()?;
            if same {
                return Some((name, values.next()?));
            }
            Some((name, names.next()?))
        })
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }
}

struct Head {
    live: u64,
    deleted: u64,
    fields: usize,
    /// Where the names are.
    names: usize,
}

impl Head {
    fn of(pack: &Listpack) -> Option<Head> {
        let mut elems = pack.iter();
        Some(Head {
            live: u64::try_from(elems.next()?.as_int()?).ok()?,
            deleted: u64::try_from(elems.next()?.as_int()?).ok()?,
            fields: usize::try_from(elems.next()?.as_int()?).ok()?,
            names: elems.position(),
        })
    }

    /// Where the first entry begins.
    fn first(&self, pack: &Listpack) -> usize {
        let zero = pack.skip(self.names, self.fields);
        if zero < pack.end() { pack.next(zero) } else { zero }
    }
}

/// A node with no entry yet, whose master has the names of `fields`.
pub fn new(fields: &[&[u8]]) -> Listpack {
    let mut pack = Listpack::new();
    let head = [0, 0, (fields.len() / 2) as i64].map(Elem::Int);
    let names = fields.iter().step_by(2).map(|f| Elem::of(f));
    pack.extend(head.into_iter().chain(names).chain([Elem::Int(0)]));
    pack
}

/// Whether a node takes an entry of that many bytes.
pub fn has_room(pack: &Listpack, bytes: usize, elements: usize, limits: &Limits) -> bool {
    let max =
        if limits.node_bytes == 0 { listpack::BYTES_MAX } else { limits.node_bytes.min(listpack::BYTES_MAX) };
    let full = pack.size().saturating_add(bytes) >= max;
    let Some(head) = Head::of(pack) else { return false };
    let many = limits.node_entries > 0 && head.live + head.deleted >= limits.node_entries as u64;
    // Headers of elements are not in `bytes`.
    !full && !many && pack.fits(bytes.saturating_add(elements.saturating_mul(12)).saturating_add(64))
}

/// Adds an entry that is later than all of the node.
pub fn append(pack: &mut Listpack, master: StreamId, id: StreamId, fields: &[&[u8]]) {
    let head = Head::of(pack).expect("invariant: a node begins with its master");
    let names = pack.range(head.names, pack.end()).take(head.fields);
    let same = head.fields == fields.len() / 2 && names.eq(fields.iter().step_by(2).map(|f| Elem::of(f)));
    let ms = id.ms.wrapping_sub(master.ms) as i64;
    let seq = id.seq.wrapping_sub(master.seq) as i64;
    if same {
        let values = fields.iter().skip(1).step_by(2).map(|f| Elem::of(f));
        let start = [SAME_FIELDS, ms, seq].map(Elem::Int);
        let back = Elem::Int(head.fields as i64 + 3);
        pack.extend(start.into_iter().chain(values).chain([back]));
    } else {
        let start = [0, ms, seq, (fields.len() / 2) as i64].map(Elem::Int);
        let back = Elem::Int(fields.len() as i64 + 4);
        pack.extend(start.into_iter().chain(fields.iter().map(|f| Elem::of(f))).chain([back]));
    }
    pack.replace(pack.start(), Elem::Int(head.live as i64 + 1));
}

/// The entry that begins at `at`, deleted or not.
fn entry_at<'a>(master: StreamId, pack: &'a Listpack, head: &Head, at: usize) -> Option<Entry<'a>> {
    let mut elems = pack.range(at, pack.end());
    let flags = elems.next()?.as_int()?;
    let ms = master.ms.wrapping_add(elems.next()?.as_int()? as u64);
    let seq = master.seq.wrapping_add(elems.next()?.as_int()? as u64);
    let same = flags & SAME_FIELDS != 0;
    let fields = if same { head.fields } else { usize::try_from(elems.next()?.as_int()?).ok()? };
    let body = elems.position();
    let back = pack.skip(body, if same { fields } else { fields.checked_mul(2)? });
    pack.get(back)?;
    let id = StreamId { ms, seq };
    Some(Entry { id, pack, at, body, fields, same, deleted: flags & DELETED != 0, next: pack.next(back) })
}

/// The live entries, ascending.
pub fn entries(master: StreamId, pack: &Listpack) -> impl Iterator<Item = Entry<'_>> {
    let head = Head::of(pack);
    let mut at = head.as_ref().map_or(pack.end(), |h| h.first(pack));
    std::iter::from_fn(move || {
        let entry = entry_at(master, pack, head.as_ref()?, at)?;
        at = entry.next;
        Some(entry)
    })
    .filter(|e| !e.deleted)
}

/// The entry that ends at `end`.
fn entry_before<'a>(master: StreamId, pack: &'a Listpack, head: &Head, end: usize) -> Option<Entry<'a>> {
    let mut at = pack.prev(end)?;
    // The master ends with a zero, where an entry ends with at least three.
    let back = pack.get(at)?.as_int()?;
    for _ in 0..back {
        at = pack.prev(at)?;
    }
    if back == 0 { None } else { entry_at(master, pack, head, at) }
}

/// The live entries, descending.
pub fn entries_rev(master: StreamId, pack: &Listpack) -> impl Iterator<Item = Entry<'_>> {
    let head = Head::of(pack);
    let mut end = pack.end();
    std::iter::from_fn(move || {
        let entry = entry_before(master, pack, head.as_ref()?, end)?;
        end = entry.at;
        Some(entry)
    })
    .filter(|e| !e.deleted)
}

/// Number of live entries.
pub fn live(pack: &Listpack) -> u64 {
    Head::of(pack).map_or(0, |h| h.live)
}

/// The id of the last entry, deleted or not.
pub fn last_id(master: StreamId, pack: &Listpack) -> Option<StreamId> {
    entry_before(master, pack, &Head::of(pack)?, pack.end()).map(|e| e.id)
}

/// Marks live entries as deleted, given by position from the last to the first;
/// how many live ones are left.
pub fn mark_deleted(pack: &mut Listpack, positions: impl IntoIterator<Item = usize>) -> u64 {
    let mut count = 0;
    for at in positions {
        let flags = pack.get(at).and_then(|e| e.as_int()).expect("invariant: an entry begins with its flags");
        pack.replace(at, Elem::Int(flags | DELETED));
        count += 1;
    }
    let head = Head::of(pack).expect("invariant: a node begins with its master");
    let live = head.live - count;
    pack.replace(pack.start(), Elem::Int(live as i64));
    pack.replace(pack.next(pack.start()), Elem::Int((head.deleted + count) as i64));
    live
}

/// Goes through a node from outside: its live entries and the id of its last one,
/// if it is well formed.
pub fn check(master: StreamId, pack: &Listpack) -> Option<(u64, StreamId)> {
    let head = Head::of(pack)?;
    let zero = pack.skip(head.names, head.fields);
    if head.fields > pack.len() || pack.get(zero)? != Elem::Int(0) {
        return None;
    }
    let (mut at, mut live, mut deleted) = (pack.next(zero), 0, 0);
    let mut last: Option<StreamId> = None;
    while at < pack.end() {
        let entry = entry_at(master, pack, &head, at)?;
        let flags = pack.get(at)?.as_int()?;
        let elements = if entry.same { entry.fields + 3 } else { entry.fields.checked_mul(2)? + 4 };
        let back = pack.get(pack.prev(entry.next)?)?.as_int()?;
        let in_order = last.map_or(entry.id >= master, |l| l < entry.id);
        if !(0..4).contains(&flags) || usize::try_from(back).ok()? != elements || !in_order {
            return None;
        }
        *if entry.deleted { &mut deleted } else { &mut live } += 1;
        last = Some(entry.id);
        at = entry.next;
    }
    ((live, deleted) == (head.live, head.deleted)).then_some((live, last?))
}
