//! How two replies are compared: byte for byte, unless the command's row says what may differ.

use std::collections::BTreeMap;

use crate::common::{Reply, Value};

/// What may differ between two right replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Nothing.
    Exact,
    /// The order of the elements.
    Unordered,
    /// A non-negative number, by so much; a negative one has a meaning and must be the same.
    Near(i64),
    /// The numbers of an array, each as for [`Compare::Near`], or errors as for [`Compare::Refused`].
    EachNear(i64),
    /// Everything but the reply's type: random, machine-bound or own words.
    Shape,
    /// The first word of an error; other replies exactly. For texts that name what the server's version knows.
    ErrorCode,
    /// The whole text of an error; other replies exactly. For commands whose errors two families of servers word differently.
    Refused,
    /// Names of encodings: small lists and sets are listpacks since 7.2, and an integer is `int` wherever it comes from
    /// (in Redis INCRBYFLOAT leaves it as text).
    Encoding,
    /// The values of HELLO's `server`, `version` and `id`.
    Hello,
    /// A cursor: the command is repeated until it ends, and the elements found are compared as a set.
    /// The cursor is the argument of this number.
    Scan {
        /// Number of the argument.
        cursor: usize,
    },
    /// How numbers are spelled: 7.0 prints 17 digits of a double, tandem the fewest that say the same.
    Numbers,
    /// The figure behind `radix-tree-nodes`: tandem keeps the nodes of a stream in another tree.
    StreamInfo,
    /// Whether arguments are looked at before an absent key: since 7.2 they are, so an error of ours is right.
    CheckedFirst,
    /// Rows of XPENDING: how long ago something was delivered, by as much as a slow machine takes.
    Ages,
    /// XINFO GROUPS without the number of consumers: since 7.2 a read makes them even if it delivers nothing.
    Groups,
    /// The order in which an UNSUBSCRIBE of everything names the channels.
    Unsubscribe,
}

impl Compare {
    /// Whether these are both right, if one of them is.
    pub fn agree(self, ours: &[Reply], theirs: &[Reply]) -> bool {
        if ours == theirs {
            return true;
        }
        match self {
            Compare::Unsubscribe => channels(ours) == channels(theirs),
            _ if ours.len() == 1 && theirs.len() == 1 => self.agree_one(&ours[0], &theirs[0]),
            // Messages: each subscription's own order counts, not how they interleave.
            _ => by_subscription(ours) == by_subscription(theirs),
        }
    }

    fn agree_one(self, ours: &Reply, theirs: &Reply) -> bool {
        if ours.raw == theirs.raw {
            return true;
        }
        match self {
            Compare::CheckedFirst => ours.raw.starts_with(b"-"),
            Compare::Exact | Compare::Unsubscribe => false,
            Compare::Scan { .. } => {
                let all = |value: &Value| {
                    let mut items = sorted(&normal(value));
                    items.dedup();
                    items
                };
                ours.raw.first() == theirs.raw.first() && all(&ours.value) == all(&theirs.value)
            }
            Compare::Unordered => {
                ours.raw.first() == theirs.raw.first() && sorted(&ours.value) == sorted(&theirs.value)
            }
            Compare::Numbers => {
                ours.raw.first() == theirs.raw.first() && normal(&ours.value) == normal(&theirs.value)
            }
            Compare::StreamInfo => same_stream(ours, theirs),
            Compare::Near(tolerance) => near(&ours.value, &theirs.value, tolerance),
            Compare::EachNear(_) if both_refuse(&ours.value, &theirs.value) => true,
            Compare::EachNear(tolerance) => {
                let (ours, theirs) = (ours.value.items(), theirs.value.items());
                let all_near = || ours.iter().zip(&theirs).all(|(a, b)| near(a, b, tolerance));
                ours.len() == theirs.len() && !ours.is_empty() && all_near()
            }
            Compare::Shape => shape(ours) == shape(theirs),
            Compare::ErrorCode => match (&ours.value, &theirs.value) {
                (Value::Error(a), Value::Error(b)) => a.split(' ').next() == b.split(' ').next(),
                _ => false,
            },
            Compare::Refused => both_refuse(&ours.value, &theirs.value),
            Compare::Encoding => {
                let (ours, theirs) = (ours.value.text(), theirs.value.text());
                matches!(
                    (ours.as_str(), theirs.as_str()),
                    ("listpack", "quicklist" | "hashtable") | ("int", "embstr")
                )
            }
            Compare::Ages => {
                ours.raw.first() == theirs.raw.first() && ageless(&ours.value) == ageless(&theirs.value)
            }
            Compare::Groups => {
                let without = |reply: &Reply| -> Vec<Vec<Value>> {
                    let rows = reply.value.items();
                    rows.iter().map(|row| without(&["consumers"], row)).collect()
                };
                ours.raw.first() == theirs.raw.first() && without(ours) == without(theirs)
            }
            Compare::Hello => {
                ours.raw.first() == theirs.raw.first()
                    && without(&VARYING, &ours.value) == without(&VARYING, &theirs.value)
            }
        }
    }
}

/// XINFO STREAM, but for how many nodes there are.
fn same_stream(ours: &Reply, theirs: &Reply) -> bool {
    let facts = |reply: &Reply| {
        let mut facts = reply.value.items();
        let mut take = |name: &str| {
            let at = facts.iter().position(|fact| fact.text() == name)?;
            facts.remove(at + 1).int()
        };
        let (nodes, _) = (take("radix-tree-keys"), take("radix-tree-nodes"));
        (nodes, facts)
    };
    let ((ours_nodes, ours_facts), (their_nodes, their_facts)) = (facts(ours), facts(theirs));
    // Redis keeps the node that a trim by MINID emptied, if its last entry was deleted before.
    let spare = their_nodes.zip(ours_nodes).map_or(0, |(theirs, ours)| theirs - ours);
    ours.raw.first() == theirs.raw.first()
        && !ours.raw.starts_with(b"-")
        && ours_facts == their_facts
        && (0..=1).contains(&spare)
}

fn both_refuse(ours: &Value, theirs: &Value) -> bool {
    matches!((ours, theirs), (Value::Error(_), Value::Error(_)))
}

fn near(ours: &Value, theirs: &Value, tolerance: i64) -> bool {
    match (ours, theirs) {
        (Value::Int(a), Value::Int(b)) => {
            a == b || (*a >= 0 && *b >= 0 && a.abs_diff(*b) <= tolerance as u64)
        }
        _ => false,
    }
}

fn sorted(value: &Value) -> Vec<Value> {
    let mut items = value.items();
    items.sort();
    items
}

/// The same value with every fraction and every exponent spelled in one way. A negative zero is a zero: a listpack
/// does not keep its sign, and when a sorted set leaves the listpack differs between versions.
pub fn normal(value: &Value) -> Value {
    let spelled = |text: &str| -> Option<String> {
        if text == "-0" {
            return Some("0".to_owned());
        }
        let number: f64 = (text.contains(['.', 'e']) || text.len() > 15).then(|| text.parse().ok())??;
        Some(format!("{number:?}"))
    };
    let all = |values: &[Value]| values.iter().map(normal).collect();
    match value {
        Value::Double(text) => Value::Double(spelled(text).unwrap_or_else(|| text.clone())),
        Value::Bulk(bytes) => match std::str::from_utf8(bytes).ok().and_then(spelled) {
            Some(text) => Value::Bulk(text.into_bytes()),
            None => value.clone(),
        },
        Value::Array(values) => Value::Array(all(values)),
        Value::Set(values) => Value::Set(all(values)),
        Value::Push(values) => Value::Push(all(values)),
        other => other.clone(),
    }
}

/// The type; for an error its code as well, since a wrong error is not "random".
fn shape(reply: &Reply) -> (u8, String) {
    let kind = reply.raw.first().copied().unwrap_or_default();
    match &reply.value {
        Value::Error(text) => (kind, text.clone()),
        Value::Null => (b'_', String::new()),
        _ => (kind, String::new()),
    }
}

/// What HELLO says of each server's own.
const VARYING: [&str; 3] = ["server", "version", "id"];

/// A map as a list of names and values, less the values of some names.
fn without(names: &[&str], value: &Value) -> Vec<Value> {
    let mut items = value.items();
    for at in 1..items.len() {
        if at % 2 == 1 && names.contains(&items[at - 1].text().as_str()) {
            items[at] = Value::Null;
        }
    }
    items
}

/// The rows of XPENDING without their third column, the age.
fn ageless(value: &Value) -> Vec<Value> {
    let without = |row: Value| match row {
        Value::Array(mut columns) if columns.len() == 4 && matches!(columns[2], Value::Int(_)) => {
            columns.remove(2);
            Value::Array(columns)
        }
        other => other,
    };
    match value {
        Value::Array(rows) => rows.iter().cloned().map(without).collect(),
        other => vec![other.clone()],
    }
}

/// What an unsubscription named, in order of names, and the count of subscriptions at its end.
fn channels(replies: &[Reply]) -> (Vec<Vec<Value>>, Option<Value>) {
    let mut names: Vec<Vec<Value>> = replies
        .iter()
        .filter(|reply| !is_of_consumer(reply))
        .map(|reply| reply.value.items())
        .map(|items| items.into_iter().take(2).collect())
        .collect();
    names.sort();
    // The last one is the PONG after it.
    let last = replies.len().checked_sub(2).and_then(|at| replies[at].value.items().last().cloned());
    (names, last)
}

/// Messages by the subscription that they belong to.
fn by_subscription(replies: &[Reply]) -> BTreeMap<Vec<Value>, Vec<Vec<u8>>> {
    let mut groups: BTreeMap<Vec<Value>, Vec<Vec<u8>>> = BTreeMap::new();
    for reply in replies {
        let items = reply.value.items();
        if is_of_consumer(reply) {
            continue;
        }
        let subscription = items.iter().take(2).cloned().collect();
        groups.entry(subscription).or_default().push(reply.raw.clone());
    }
    groups
}

/// An event of a consumer. Since 7.2 reads and claims make theirs even if they deliver nothing, and say so; such a one can
/// then be deleted.
fn is_of_consumer(reply: &Reply) -> bool {
    let has = |event: &[u8]| reply.raw.windows(event.len()).any(|text| text == event);
    has(b"xgroup-createconsumer") || has(b"xgroup-delconsumer")
}
