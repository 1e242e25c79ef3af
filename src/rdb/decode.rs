//! A value on its way in, in any form that Redis or Valkey ever wrote.

use super::old::{Ziplist, Zipmap};
use super::{Bad, Error, Reader, VERSIONS_VALKEY, kind, stream};
use crate::values::hash::Deadline;
use crate::values::packed::{ELEMENT_BYTES_MAX, Intset, Listpack};
use crate::values::sorted_set::Score;
use crate::values::{Hash, List, Set, SortedSet, Value, hash, list, set, sorted_set};

type Result<T> = std::result::Result<T, Bad>;

/// What the settings say about the forms of values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Of lists.
    pub list: list::Limits,
    /// Of sets.
    pub set: set::Limits,
    /// Of hashes.
    pub hash: hash::Limits,
    /// Of sorted sets.
    pub zset: sorted_set::Limits,
}

/// A value that was read.
#[derive(Clone, Debug)]
pub enum Restored {
    /// A string.
    Text(Vec<u8>),
    /// Anything else.
    Value(Value),
}

/// Reads a form's number and the value behind it.
pub fn decode(reader: &mut Reader<'_>, limits: &Limits) -> std::result::Result<Restored, Error> {
    form(reader, limits).map_err(|bad| Error::Value { at: reader.position(), what: bad.0 })
}

pub(super) fn form(r: &mut Reader<'_>, limits: &Limits) -> Result<Restored> {
    let value = match r.byte()? {
        kind::STRING => return Ok(Restored::Text(r.string()?.into_owned())),
        kind::LIST => Value::List(list_of_strings(r, limits)?),
        kind::LIST_ZIPLIST => Value::List(list_of_ziplists(r, 1, limits)?),
        kind::LIST_QUICKLIST => {
            let nodes = r.count_of_some(1)?;
            Value::List(list_of_ziplists(r, nodes, limits)?)
        }
        kind::LIST_QUICKLIST_2 => Value::List(quicklist(r, limits)?),
        kind::SET => Value::Set(set_of_strings(r, limits)?),
        kind::SET_INTSET => Value::Set(intset(r, limits)?),
        kind::SET_LISTPACK => Value::Set(set_listpack(r, limits)?),
        kind::HASH => Value::Hash(hash_of_strings(r, Deadlines::None, limits)?),
        kind::HASH_ZIPMAP => Value::Hash(zipmap(r, limits)?),
        kind::HASH_ZIPLIST => Value::Hash(hash_ziplist(r, limits)?),
        kind::HASH_LISTPACK => Value::Hash(hash_listpack(r, limits)?),
        kind::HASH_22 if VERSIONS_VALKEY.contains(&r.version()) => {
            Value::Hash(hash_of_strings(r, Deadlines::Behind, limits)?)
        }
        kind::HASH_22 => Value::Hash(hash_of_strings(r, Deadlines::Before, limits)?),
        kind::HASH_DEADLINES => {
            let earliest = r.fixed()?;
            Value::Hash(hash_of_strings(r, Deadlines::Since(earliest), limits)?)
        }
        kind::HASH_LISTPACK_DEADLINES_OLD => Value::Hash(hash_triples(r, limits)?),
        kind::HASH_LISTPACK_DEADLINES => {
            r.fixed()?; // the earliest, which the triples tell as well
            Value::Hash(hash_triples(r, limits)?)
        }
        kind::ZSET => Value::ZSet(zset(r, text_score, limits)?),
        kind::ZSET_2 => Value::ZSet(zset(r, binary_score, limits)?),
        kind::ZSET_ZIPLIST => Value::ZSet(zset_ziplist(r, limits)?),
        kind::ZSET_LISTPACK => Value::ZSet(zset_listpack(r, limits)?),
        version @ (kind::STREAM | kind::STREAM_2 | kind::STREAM_3) => {
            Value::Stream(Box::new(stream::decode(r, version)?))
        }
        _ => return Err(Bad("a form that is not known")),
    };
    Ok(Restored::Value(value))
}

/// A string that becomes an element of a collection.
fn element<'a>(r: &mut Reader<'a>) -> Result<std::borrow::Cow<'a, [u8]>> {
    let text = r.string()?;
    if text.len() > ELEMENT_BYTES_MAX { Err(Bad("an element is too long")) } else { Ok(text) }
}

/// A listpack that is not empty.
fn listpack(r: &mut Reader<'_>) -> Result<Listpack> {
    let pack = Listpack::from_untrusted(&r.string()?)?;
    if pack.is_empty() { Err(Bad("an empty collection")) } else { Ok(pack) }
}

fn list_of_strings(r: &mut Reader<'_>, limits: &Limits) -> Result<List> {
    let mut value = List::new();
    for _ in 0..r.count_of_some(1)? {
        value.push(list::End::Tail, &element(r)?, &limits.list);
    }
    Ok(value)
}

fn finish_list(nodes: Vec<Listpack>, limits: &Limits) -> Result<List> {
    let value = List::from_nodes(nodes.into_iter(), &limits.list);
    if value.is_empty() { Err(Bad("an empty collection")) } else { Ok(value) }
}

fn list_of_ziplists(r: &mut Reader<'_>, nodes: usize, limits: &Limits) -> Result<List> {
    let mut packs = Vec::new();
    for _ in 0..nodes {
        packs.push(Ziplist::check(&r.string()?)?.to_listpack());
    }
    finish_list(packs, limits)
}

fn quicklist(r: &mut Reader<'_>, limits: &Limits) -> Result<List> {
    let mut packs = Vec::new();
    for _ in 0..r.count_of_some(2)? {
        packs.push(match r.length()? {
            kind::NODE_PLAIN => {
                let mut pack = Listpack::new();
                pack.push_back(&element(r)?);
                pack
            }
            kind::NODE_PACKED => Listpack::from_untrusted(&r.string()?)?,
            _ => return Err(Bad("a node of an unknown form")),
        });
    }
    finish_list(packs, limits)
}

fn set_of_strings(r: &mut Reader<'_>, limits: &Limits) -> Result<Set> {
    let count = r.count_of_some(1)?;
    let first = element(&mut r.clone())?;
    let mut value = Set::for_member(&first, count, &limits.set);
    for _ in 0..count {
        if !value.insert(&element(r)?, &limits.set) {
            return Err(Bad("a member stands twice"));
        }
    }
    Ok(value)
}

fn intset(r: &mut Reader<'_>, limits: &Limits) -> Result<Set> {
    let mut value = Set::from(Intset::from_untrusted(&r.string()?)?);
    if value.is_empty() {
        return Err(Bad("an empty collection"));
    }
    value.expect(value.len(), &limits.set);
    Ok(value)
}

fn set_listpack(r: &mut Reader<'_>, limits: &Limits) -> Result<Set> {
    let mut value = Set::from_listpack(listpack(r)?)?;
    value.expect(value.len(), &limits.set);
    Ok(value)
}

/// Where the deadlines of a hash stand.
#[derive(Clone, Copy)]
enum Deadlines {
    /// Nowhere.
    None,
    /// Before the field, as a length; 0 is none.
    Before,
    /// The same, counted from 1 at this time.
    Since(u64),
    /// Behind the value, in eight bytes; -1 is none.
    Behind,
}

/// Later than any clock will show; what is beyond is no time.
const DEADLINE_MAX: u64 = (1 << 48) - 1;

fn deadline(at: u64) -> Result<Deadline> {
    if at <= DEADLINE_MAX { Ok(Deadline::At(at)) } else { Err(Bad("a deadline is out of range")) }
}

fn hash_of_strings(r: &mut Reader<'_>, deadlines: Deadlines, limits: &Limits) -> Result<Hash> {
    let count = r.count_of_some(2)?;
    let mut value = Hash::new();
    value.expect(count, std::iter::empty(), &limits.hash);
    for _ in 0..count {
        let before = match deadlines {
            Deadlines::Before | Deadlines::Since(_) => r.length()?,
            _ => 0,
        };
        let (name, text) = (element(r)?, element(r)?);
        let at = match deadlines {
            Deadlines::Behind => match r.fixed()? {
                u64::MAX => Deadline::Clear,
                at => deadline(at)?,
            },
            _ if before == 0 => Deadline::Clear,
            Deadlines::Since(earliest) => deadline(earliest.saturating_add(before - 1))?,
            _ => deadline(before)?,
        };
        add_field(&mut value, &name, &text, at, limits)?;
    }
    Ok(value)
}

fn add_field(value: &mut Hash, name: &[u8], text: &[u8], at: Deadline, limits: &Limits) -> Result<()> {
    if value.set_with(name, text, at, &limits.hash) { Ok(()) } else { Err(Bad("a field stands twice")) }
}

/// A hash from fields and values in turn.
fn hash_of_pairs(mut elems: impl Iterator<Item = Vec<u8>>, limits: &Limits) -> Result<Hash> {
    let mut value = Hash::new();
    while let Some(name) = elems.next() {
        let text = elems.next().ok_or(Bad("a field without a value"))?;
        add_field(&mut value, &name, &text, Deadline::Clear, limits)?;
    }
    if value.is_empty() { Err(Bad("an empty collection")) } else { Ok(value) }
}

fn zipmap(r: &mut Reader<'_>, limits: &Limits) -> Result<Hash> {
    hash_of_pairs(Zipmap::check(&r.string()?)?.elements().map(<[u8]>::to_vec), limits)
}

fn hash_ziplist(r: &mut Reader<'_>, limits: &Limits) -> Result<Hash> {
    hash_of_pairs(Ziplist::check(&r.string()?)?.elements().map(|e| e.to_vec()), limits)
}

fn hash_listpack(r: &mut Reader<'_>, limits: &Limits) -> Result<Hash> {
    let mut value = Hash::from_listpack(listpack(r)?)?;
    value.expect(value.len(), std::iter::empty(), &limits.hash);
    Ok(value)
}

fn hash_triples(r: &mut Reader<'_>, limits: &Limits) -> Result<Hash> {
    let pack = listpack(r)?;
    let mut value = Hash::new();
    let mut elems = pack.iter();
    while let Some(name) = elems.next() {
        let (Some(text), Some(at)) = (elems.next(), elems.next()) else {
            return Err(Bad("a field without a value or deadline"));
        };
        let at = match at.as_int().and_then(|at| u64::try_from(at).ok()) {
            Some(0) => Deadline::Clear,
            Some(at) => deadline(at)?,
            None => return Err(Bad("a deadline is out of range")),
        };
        add_field(&mut value, &name.to_vec(), &text.to_vec(), at, limits)?;
    }
    Ok(value)
}

fn score(n: f64) -> Result<Score> {
    Score::new(n).ok_or(Bad("a score is not a number"))
}

fn binary_score(r: &mut Reader<'_>) -> Result<Score> {
    score(r.double()?)
}

/// A score as text behind its length; three lengths stand for what has no digits.
fn text_score(r: &mut Reader<'_>) -> Result<Score> {
    match r.byte()? {
        253 => score(f64::NAN),
        254 => score(f64::INFINITY),
        255 => score(f64::NEG_INFINITY),
        len => parse_score(r.take(usize::from(len))?),
    }
}

fn parse_score(text: &[u8]) -> Result<Score> {
    let n = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
    score(n.ok_or(Bad("a score is not a number"))?)
}

fn zset(
    r: &mut Reader<'_>,
    read_score: fn(&mut Reader<'_>) -> Result<Score>,
    limits: &Limits,
) -> Result<SortedSet> {
    let count = r.count_of_some(2)?;
    let mut value = SortedSet::new();
    value.expect(count, 0, &limits.zset);
    for _ in 0..count {
        let member = element(r)?;
        let score = read_score(r)?;
        add_member(&mut value, &member, score, limits)?;
    }
    Ok(value)
}

fn add_member(value: &mut SortedSet, member: &[u8], score: Score, limits: &Limits) -> Result<()> {
    match value.insert(member, score, &limits.zset) {
        None => Ok(()),
        Some(_) => Err(Bad("a member stands twice")),
    }
}

fn zset_ziplist(r: &mut Reader<'_>, limits: &Limits) -> Result<SortedSet> {
    let bytes = r.string()?;
    let mut elems = Ziplist::check(&bytes)?.elements();
    let mut value = SortedSet::new();
    while let Some(member) = elems.next() {
        let score = parse_score(&elems.next().ok_or(Bad("a member without a score"))?.to_vec())?;
        add_member(&mut value, &member.to_vec(), score, limits)?;
    }
    if value.is_empty() { Err(Bad("an empty collection")) } else { Ok(value) }
}

fn zset_listpack(r: &mut Reader<'_>, limits: &Limits) -> Result<SortedSet> {
    let mut value = SortedSet::from_listpack(listpack(r)?)?;
    value.expect(value.len(), 0, &limits.zset);
    Ok(value)
}
