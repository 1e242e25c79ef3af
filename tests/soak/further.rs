//! The commands beyond the usual ones of each type, and what they reply by the model.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{
    Bytes, Model, Object, Step, Stream, array, bulk, collection, int, look, ok, or_error, wrong_type,
};
use crate::common::Value;

fn number(n: i64) -> Value {
    Value::Int(n)
}

fn not_an_integer() -> Value {
    Value::Error("ERR value is not an integer or out of range".into())
}

/// What Redis takes for a number.
fn parsed(text: &[u8]) -> Result<i64, Value> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
    number.filter(|number| number.to_string().as_bytes() == text).ok_or_else(not_an_integer)
}

fn id(n: u64) -> Bytes {
    format!("{n}-0").into_bytes()
}

fn entry((n, text): (&u64, &Bytes)) -> Value {
    let fields = vec![Value::Bulk(b"f".to_vec()), Value::Bulk(text.clone())];
    Value::Array(vec![Value::Bulk(id(*n)), Value::Array(fields)])
}

/// Members by score and name.
fn ranked(sorted: &BTreeMap<Bytes, i64>) -> Vec<(i64, Bytes)> {
    let mut all: Vec<_> = sorted.iter().map(|(member, score)| (*score, member.clone())).collect();
    all.sort();
    all
}

fn score(n: i64) -> Value {
    Value::Bulk(n.to_string().into_bytes())
}

impl Model {
    /// The next of the commands in this file.
    pub fn further(&mut self) -> Step {
        match self.rng.below(6) {
            0 => self.more_of_strings(),
            1 => self.more_of_hashes(),
            2 => self.more_of_lists(),
            3 => self.more_of_sets(),
            4 => self.more_of_sorted_sets(),
            _ => self.stream(),
        }
    }

    /// A few of the usual commands in a transaction.
    pub fn transaction(&mut self) -> Vec<Step> {
        let queued = || Value::Simple("QUEUED".into());
        let mut steps = vec![Self::done(&[b"MULTI"], ok())];
        let mut replies = Vec::new();
        for _ in 0..1 + self.rng.below(4) {
            let step = self.usual();
            replies.push(step.expected);
            steps.push(Step { args: step.args, expected: queued(), any_order: false });
        }
        steps.push(Self::done(&[b"EXEC"], Value::Array(replies)));
        steps
    }

    fn more_of_strings(&mut self) -> Step {
        let (key, value) = (self.name(), self.value());
        let at = self.rng.below(900);
        match self.rng.below(8) {
            0 => {
                let reply = look!(self.keys, &key, Str).map(|found| int(found.map_or(0, |text| text.len())));
                Self::done(&[b"STRLEN", &key], or_error(reply))
            }
            1 => {
                let reply = look!(self.keys, &key, Str).map(|found| {
                    let text = found.map_or(&[][..], |text| text.as_slice());
                    Value::Bulk(text.iter().skip(at / 10).take(20).copied().collect())
                });
                let (from, to) = ((at / 10).to_string(), (at / 10 + 19).to_string());
                Self::done(&[b"GETRANGE", &key, from.as_bytes(), to.as_bytes()], or_error(reply))
            }
            2 if !value.is_empty() => {
                let reply = collection!(self.keys, key, Str).map(|text| {
                    text.resize(text.len().max(at + value.len()), 0);
                    text[at..at + value.len()].copy_from_slice(&value);
                    int(text.len())
                });
                Self::done(&[b"SETRANGE", &key, at.to_string().as_bytes(), &value], or_error(reply))
            }
            3 => {
                let bit = self.rng.below(2) as u8;
                let reply = collection!(self.keys, key, Str).map(|text| {
                    text.resize(text.len().max(at / 8 + 1), 0);
                    let mask = 0x80 >> (at % 8);
                    let was = usize::from(text[at / 8] & mask != 0);
                    text[at / 8] = (text[at / 8] & !mask) | (bit * mask);
                    int(was)
                });
                let words = [at.to_string(), bit.to_string()];
                Self::done(&[b"SETBIT", &key, words[0].as_bytes(), words[1].as_bytes()], or_error(reply))
            }
            4 => {
                let reply = look!(self.keys, &key, Str).map(|found| {
                    int(found.map_or(0, |text| text.iter().map(|byte| byte.count_ones() as usize).sum()))
                });
                Self::done(&[b"BITCOUNT", &key], or_error(reply))
            }
            5 => {
                let reply = look!(self.keys, &key, Str).map(|found| bulk(found.as_deref()));
                if reply.is_ok() {
                    self.keys.insert(key.clone(), Object::Str(value.clone()));
                }
                Self::done(&[b"SET", &key, &value, b"GET"], or_error(reply))
            }
            _ => {
                let absent = !self.keys.contains_key(&key);
                let by = at as i64 - 400;
                let reply = collection!(self.keys, key, Str).and_then(|text| {
                    let old = if absent { 0 } else { parsed(text)? };
                    *text = (old + by).to_string().into_bytes();
                    Ok(number(old + by))
                });
                Self::done(&[b"INCRBY", &key, by.to_string().as_bytes()], or_error(reply))
            }
        }
    }

    fn more_of_hashes(&mut self) -> Step {
        let (key, field, other) = (self.name(), self.element(), self.element());
        match self.rng.below(7) {
            0 => {
                let reply = look!(self.keys, &key, Hash).map(|found| int(found.map_or(0, |hash| hash.len())));
                Self::done(&[b"HLEN", &key], or_error(reply))
            }
            1 => {
                let reply = look!(self.keys, &key, Hash)
                    .map(|found| int(found.map_or(0, |hash| usize::from(hash.contains_key(&field)))));
                Self::done(&[b"HEXISTS", &key, &field], or_error(reply))
            }
            2 => {
                let reply = look!(self.keys, &key, Hash).map(|found| {
                    let of = |name| bulk(found.as_ref().and_then(|hash| hash.get(name)));
                    Value::Array(vec![of(&field), of(&other)])
                });
                Self::done(&[b"HMGET", &key, &field, &other], or_error(reply))
            }
            3 => {
                let reply = look!(self.keys, &key, Hash).map(|found| {
                    let hash = found.map(|hash| hash.clone()).unwrap_or_default();
                    array(hash.iter().flat_map(|(field, value)| [field, value]))
                });
                Self::in_any_order(&[b"HGETALL", &key], or_error(reply))
            }
            4 => {
                let reply = look!(self.keys, &key, Hash)
                    .map(|found| found.map_or(Value::Array(Vec::new()), |hash| array(hash.keys())));
                Self::in_any_order(&[b"HKEYS", &key], or_error(reply))
            }
            5 => {
                let value = self.value();
                let reply = collection!(self.keys, key, Hash).map(|hash| {
                    let absent = !hash.contains_key(&field);
                    hash.entry(field.clone()).or_insert_with(|| value.clone());
                    int(usize::from(absent))
                });
                Self::done(&[b"HSETNX", &key, &field, &value], or_error(reply))
            }
            _ => {
                // Of fields with names of their own, so that they hold numbers.
                let field = [b"n".as_slice(), &field].concat();
                let reply = collection!(self.keys, key, Hash).map(|hash| {
                    let old = hash.get(&field).map_or(0, |text| parsed(text).expect("a number"));
                    hash.insert(field.clone(), (old + 7).to_string().into_bytes());
                    number(old + 7)
                });
                Self::done(&[b"HINCRBY", &key, &field, b"7"], or_error(reply))
            }
        }
    }

    fn more_of_lists(&mut self) -> Step {
        let (key, value) = (self.name(), self.value());
        let at = self.rng.below(6);
        let place = at.to_string();
        match self.rng.below(7) {
            0 | 1 => {
                let reply = collection!(self.keys, key, List).map(|list| {
                    list.push_front(value.clone());
                    int(list.len())
                });
                Self::done(&[b"LPUSH", &key, &value], or_error(reply))
            }
            2 => {
                let reply = look!(self.keys, &key, List)
                    .map(|found| bulk(found.and_then(|list| list.pop_back()).as_ref()));
                self.forget_empty(&key);
                Self::done(&[b"RPOP", &key], or_error(reply))
            }
            3 => {
                let reply =
                    look!(self.keys, &key, List).map(|found| bulk(found.and_then(|list| list.get(at))));
                Self::done(&[b"LINDEX", &key, place.as_bytes()], or_error(reply))
            }
            4 => {
                let reply = look!(self.keys, &key, List).and_then(|found| {
                    let list = found.ok_or_else(|| Value::Error("ERR no such key".into()))?;
                    let there =
                        list.get_mut(at).ok_or_else(|| Value::Error("ERR index out of range".into()))?;
                    there.clone_from(&value);
                    Ok(ok())
                });
                Self::done(&[b"LSET", &key, place.as_bytes(), &value], or_error(reply))
            }
            5 => {
                let reply = look!(self.keys, &key, List).map(|found| {
                    if let Some(list) = found {
                        list.truncate(20 + at);
                    }
                    ok()
                });
                Self::done(&[b"LTRIM", &key, b"0", (19 + at).to_string().as_bytes()], or_error(reply))
            }
            _ => {
                let to = self.name();
                let target = self.keys.get(&to).is_none_or(|object| matches!(object, Object::List(_)));
                let reply = match look!(self.keys, &key, List) {
                    Ok(Some(_)) if !target => Err(wrong_type()),
                    Ok(Some(list)) => Ok(list.pop_front()),
                    Ok(None) => Ok(None),
                    Err(error) => Err(error),
                };
                if let Ok(Some(moved)) = &reply
                    && let Ok(list) = collection!(self.keys, to, List)
                {
                    list.push_back(moved.clone());
                }
                self.forget_empty(&key);
                let reply = reply.map(|moved| bulk(moved.as_ref()));
                Self::done(&[b"LMOVE", &key, &to, b"LEFT", b"RIGHT"], or_error(reply))
            }
        }
    }

    /// The members at two names; the error if one of them is no set.
    fn two_sets(&self, a: &Bytes, b: &Bytes) -> Result<[BTreeSet<Bytes>; 2], Value> {
        let of = |key| match self.keys.get(key) {
            None => Ok(BTreeSet::new()),
            Some(Object::Set(set)) => Ok(set.clone()),
            Some(_) => Err(wrong_type()),
        };
        Ok([of(a)?, of(b)?])
    }

    fn more_of_sets(&mut self) -> Step {
        let (key, other, member) = (self.name(), self.name(), self.element());
        let both = self.two_sets(&key, &other);
        match self.rng.below(7) {
            0 => {
                let reply = look!(self.keys, &key, Set).map(|found| int(found.map_or(0, |set| set.len())));
                Self::done(&[b"SCARD", &key], or_error(reply))
            }
            1 => {
                let reply = self.two_sets(&key, &key).map(|[set, _]| array(set.iter()));
                Self::in_any_order(&[b"SMEMBERS", &key], or_error(reply))
            }
            2 => {
                let reply = both.map(|[a, b]| array(a.union(&b)));
                Self::in_any_order(&[b"SUNION", &key, &other], or_error(reply))
            }
            3 => {
                let reply = both.map(|[a, b]| array(a.difference(&b)));
                Self::in_any_order(&[b"SDIFF", &key, &other], or_error(reply))
            }
            4 => {
                let to = self.name();
                let reply = both.map(|[a, b]| {
                    let union: BTreeSet<Bytes> = a.union(&b).cloned().collect();
                    let count = union.len();
                    self.keys.insert(to.clone(), Object::Set(union));
                    self.forget_empty(&to);
                    int(count)
                });
                Self::done(&[b"SUNIONSTORE", &to, &key, &other], or_error(reply))
            }
            5 => {
                let third = self.element();
                let reply = look!(self.keys, &key, Set).map(|found| {
                    let of = |name| int(found.as_ref().map_or(0, |set| usize::from(set.contains(name))));
                    Value::Array(vec![of(&member), of(&third)])
                });
                Self::done(&[b"SMISMEMBER", &key, &member, &third], or_error(reply))
            }
            _ => {
                let reply = both.map(|[a, _]| {
                    let there = a.contains(&member);
                    if there && key != other {
                        if let Ok(Some(from)) = look!(self.keys, &key, Set) {
                            from.remove(&member);
                        }
                        if let Ok(to) = collection!(self.keys, other, Set) {
                            to.insert(member.clone());
                        }
                        self.forget_empty(&key);
                    }
                    int(usize::from(there))
                });
                // Where the source is absent, Redis does not look at the target.
                let absent = !self.keys.contains_key(&key) && reply.is_err();
                let reply = if absent { int(0) } else { or_error(reply) };
                Self::done(&[b"SMOVE", &key, &other, &member], reply)
            }
        }
    }

    fn more_of_sorted_sets(&mut self) -> Step {
        let (key, member) = (self.name(), self.element());
        let low = self.rng.below(50) as i64;
        let bounds = [low.to_string(), (low + 10).to_string()];
        let [from, to] = [bounds[0].as_bytes(), bounds[1].as_bytes()];
        let within = |(n, _): &&(i64, Bytes)| (low..=low + 10).contains(n);
        let all =
            look!(self.keys, &key, Sorted).map(|found| found.map_or(Vec::new(), |sorted| ranked(sorted)));
        match self.rng.below(7) {
            0 => {
                let reply = all.map(|all| {
                    all.iter().find(|(_, name)| *name == member).map_or(Value::Null, |(n, _)| score(*n))
                });
                Self::done(&[b"ZSCORE", &key, &member], or_error(reply))
            }
            1 => {
                let reply =
                    all.map(|all| all.iter().position(|(_, name)| *name == member).map_or(Value::Null, int));
                Self::done(&[b"ZRANK", &key, &member], or_error(reply))
            }
            2 => {
                let reply = collection!(self.keys, key, Sorted).map(|sorted| {
                    let there = sorted.entry(member.clone()).or_insert(0);
                    *there += 3;
                    score(*there)
                });
                Self::done(&[b"ZINCRBY", &key, b"3", &member], or_error(reply))
            }
            3 => {
                let reply = all.map(|all| int(all.iter().filter(within).count()));
                Self::done(&[b"ZCOUNT", &key, from, to], or_error(reply))
            }
            4 => {
                let reply = all.map(|all| array(all.iter().filter(within).map(|(_, name)| name)));
                Self::done(&[b"ZRANGEBYSCORE", &key, from, to], or_error(reply))
            }
            5 => {
                let reply = all.map(|all| {
                    let first = all.first();
                    if let (Some((_, name)), Ok(Some(sorted))) = (first, look!(self.keys, &key, Sorted)) {
                        sorted.remove(name);
                    }
                    Value::Array(
                        first.iter().flat_map(|(n, name)| [Value::Bulk(name.clone()), score(*n)]).collect(),
                    )
                });
                self.forget_empty(&key);
                Self::done(&[b"ZPOPMIN", &key], or_error(reply))
            }
            _ => {
                let reply = all.map(|all| {
                    if let Ok(Some(sorted)) = look!(self.keys, &key, Sorted) {
                        sorted.retain(|_, n| !(low..=low + 10).contains(n));
                    }
                    int(all.iter().filter(within).count())
                });
                self.forget_empty(&key);
                Self::done(&[b"ZREMRANGEBYSCORE", &key, from, to], or_error(reply))
            }
        }
    }

    fn stream(&mut self) -> Step {
        let (key, value) = (self.name(), self.value());
        match self.rng.below(7) {
            0..3 => {
                let step = 1 + self.rng.below(3) as u64;
                let mut next = step;
                let reply = collection!(self.keys, key, Stream).map(|stream: &mut Stream| {
                    next += stream.last;
                    stream.last = next;
                    stream.entries.insert(next, value.clone());
                    Value::Bulk(id(next))
                });
                Self::done(&[b"XADD", &key, &id(next), b"f", &value], or_error(reply))
            }
            3 => {
                let reply =
                    look!(self.keys, &key, Stream).map(|found| int(found.map_or(0, |s| s.entries.len())));
                Self::done(&[b"XLEN", &key], or_error(reply))
            }
            4 => {
                let n = 1 + self.rng.below(20) as u64;
                let reply = look!(self.keys, &key, Stream).map(|found| {
                    int(found.map_or(0, |stream| usize::from(stream.entries.remove(&n).is_some())))
                });
                Self::done(&[b"XDEL", &key, &id(n)], or_error(reply))
            }
            5 => {
                let reply = look!(self.keys, &key, Stream).map(|found| {
                    let trimmed = found.as_ref().map_or(0, |stream| stream.entries.len().saturating_sub(5));
                    if let Some(stream) = found {
                        (0..trimmed).for_each(|_| drop(stream.entries.pop_first()));
                    }
                    int(trimmed)
                });
                Self::done(&[b"XTRIM", &key, b"MAXLEN", b"5"], or_error(reply))
            }
            _ => {
                let reply = look!(self.keys, &key, Stream).map(|found| {
                    Value::Array(
                        found.map_or(Vec::new(), |stream| stream.entries.iter().map(entry).collect()),
                    )
                });
                Self::done(&[b"XRANGE", &key, b"-", b"+"], or_error(reply))
            }
        }
    }
}
