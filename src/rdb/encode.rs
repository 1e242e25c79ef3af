//! A value on its way out, in the forms of Redis 7.2.

use super::Writer;
use super::{kind, stream};
use crate::values::packed::{Elem, Listpack};
use crate::values::set::Form;
use crate::values::{Hash, List, Set, SortedSet, Value};

/// A value as the keyspace holds it.
#[derive(Clone, Copy, Debug)]
pub enum Plain<'a> {
    /// A string that stands in its entry.
    Text(&'a [u8]),
    /// Anything else.
    Value(&'a Value),
}

/// An element larger than this gets a node of its own, without a listpack around it.
const PLAIN_NODE_ABOVE: usize = 8192;

/// Writes the form's number and the value. Fields of a hash that are hidden are left out.
pub fn encode(out: &mut Writer, value: Plain<'_>) {
    match value {
        Plain::Text(text) => string(out, text),
        Plain::Value(Value::Str(blob)) => string(out, blob.as_slice()),
        Plain::Value(Value::List(value)) => list(out, value),
        Plain::Value(Value::Set(value)) => set(out, value),
        Plain::Value(Value::Hash(value)) => hash(out, value),
        Plain::Value(Value::ZSet(value)) => sorted_set(out, value),
        Plain::Value(Value::Stream(value)) => stream::encode(out, value),
    }
}

fn string(out: &mut Writer, text: &[u8]) {
    out.byte(kind::STRING);
    out.string(text);
}

fn elem(out: &mut Writer, elem: Elem<'_>) {
    out.string(elem.text(&mut itoa::Buffer::new()));
}

fn list(out: &mut Writer, value: &List) {
    out.byte(kind::LIST_QUICKLIST_2);
    out.count(value.nodes().count());
    for pack in value.nodes() {
        match alone(pack) {
            Some(bytes) => {
                out.length(kind::NODE_PLAIN);
                out.string(bytes);
            }
            None => {
                out.length(kind::NODE_PACKED);
                out.string(&pack.to_bytes());
            }
        }
    }
}

/// The only element of a node, if it is large.
fn alone(pack: &Listpack) -> Option<&[u8]> {
    if pack.end() < PLAIN_NODE_ABOVE || pack.next(pack.start()) != pack.end() {
        return None;
    }
    match pack.get(pack.start())? {
        Elem::Bytes(bytes) => Some(bytes),
        Elem::Int(_) => None,
    }
}

fn set(out: &mut Writer, value: &Set) {
    match value.form() {
        Form::Ints(ints) => {
            out.byte(kind::SET_INTSET);
            out.string(ints.as_bytes());
        }
        Form::Packed(pack) => {
            out.byte(kind::SET_LISTPACK);
            out.string(&pack.to_bytes());
        }
        Form::Table => {
            out.byte(kind::SET);
            out.count(value.len());
            value.iter().for_each(|member| elem(out, member));
        }
    }
}

fn hash(out: &mut Writer, value: &Hash) {
    if let Some(pack) = value.as_listpack() {
        out.byte(kind::HASH_LISTPACK);
        return out.string(&pack.to_bytes());
    }
    let Some(earliest) = value.next_deadline() else {
        out.byte(kind::HASH);
        out.count(value.shown());
        for field in value.iter() {
            elem(out, field.name);
            elem(out, field.value);
        }
        return;
    };
    out.byte(kind::HASH_DEADLINES);
    out.fixed(earliest);
    out.count(value.shown());
    for field in value.iter() {
        // No deadline is 0; the others count from 1 at the earliest.
        out.length(field.deadline.map_or(0, |at| at.saturating_sub(earliest) + 1));
        elem(out, field.name);
        elem(out, field.value);
    }
}

fn sorted_set(out: &mut Writer, value: &SortedSet) {
    if let Some(pack) = value.as_listpack() {
        out.byte(kind::ZSET_LISTPACK);
        return out.string(&pack.to_bytes());
    }
    out.byte(kind::ZSET_2);
    out.count(value.len());
    for (member, score) in value.iter() {
        elem(out, member);
        out.raw(&score.get().to_le_bytes());
    }
}
