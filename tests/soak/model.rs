//! What a connection's own keys hold, and which reply each command must therefore get.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::common::Value;
use crate::common::rng::Rng;

pub type Bytes = Vec<u8>;

/// A key's value.
#[derive(Clone, Debug)]
pub enum Object {
    Str(Bytes),
    Hash(BTreeMap<Bytes, Bytes>),
    List(VecDeque<Bytes>),
    Set(BTreeSet<Bytes>),
    Sorted(BTreeMap<Bytes, i64>),
    Stream(Stream),
}

/// Entries of one field, by the first half of their ids; the other half is 0.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    pub entries: BTreeMap<u64, Bytes>,
    pub last: u64,
}

/// A command and the reply that it must get.
pub struct Step {
    pub args: Vec<Bytes>,
    pub expected: Value,
    /// The elements may come in any order.
    pub any_order: bool,
}

/// The keys of one connection.
pub struct Model {
    prefix: String,
    pub rng: Rng,
    pub keys: BTreeMap<Bytes, Object>,
    /// Keys that the numbers of names go up to; it swings, so that tables grow and shrink.
    span: usize,
}

pub fn ok() -> Value {
    Value::Simple("OK".into())
}

pub fn bulk(bytes: Option<&Bytes>) -> Value {
    bytes.map_or(Value::Null, |bytes| Value::Bulk(bytes.clone()))
}

pub fn int(n: usize) -> Value {
    Value::Int(i64::try_from(n).expect("small"))
}

pub fn array<'a>(items: impl Iterator<Item = &'a Bytes>) -> Value {
    Value::Array(items.map(|item| Value::Bulk(item.clone())).collect())
}

pub fn wrong_type() -> Value {
    Value::Error("WRONGTYPE Operation against a key holding the wrong kind of value".into())
}

/// The collection at a key of this kind, made if the key is absent; or the reply of the wrong type.
macro_rules! collection {
    ($keys:expr, $key:expr, $kind:ident) => {
        match $keys.entry($key.clone()).or_insert_with(|| $crate::model::Object::$kind(Default::default())) {
            $crate::model::Object::$kind(inner) => Ok(inner),
            _ => Err($crate::model::wrong_type()),
        }
    };
}

/// What is at a key, if it is of this kind.
macro_rules! look {
    ($keys:expr, $key:expr, $kind:ident) => {
        match $keys.get_mut($key) {
            None => Ok(None),
            Some($crate::model::Object::$kind(inner)) => Ok(Some(inner)),
            Some(_) => Err($crate::model::wrong_type()),
        }
    };
}

pub(crate) use {collection, look};

pub fn or_error(result: Result<Value, Value>) -> Value {
    result.unwrap_or_else(|error| error)
}

impl Model {
    pub fn new(connection: usize, seed: u64) -> Model {
        let rng = Rng::new(seed.wrapping_add(connection as u64 * 7919));
        Model { prefix: format!("c{connection}:"), rng, keys: BTreeMap::new(), span: 100 }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Names of all keys.
    pub fn names(&self) -> impl Iterator<Item = &Bytes> {
        self.keys.keys()
    }

    /// How many names are in use from now on.
    pub fn set_span(&mut self, span: usize) {
        self.span = span;
    }

    pub fn name(&mut self) -> Bytes {
        format!("{}{}", self.prefix, self.rng.below(self.span)).into_bytes()
    }

    pub fn value(&mut self) -> Bytes {
        let len = match self.rng.below(40) {
            0 => 1000 + self.rng.below(4000),
            1 => 0,
            _ => self.rng.below(120),
        };
        let byte = b'a' + self.rng.below(26) as u8;
        vec![byte; len]
    }

    pub fn element(&mut self) -> Bytes {
        let n = if self.rng.chance(3) { 400 } else { 12 };
        format!("e{}", self.rng.below(n)).into_bytes()
    }

    /// A name beyond the span goes, so that a smaller span means fewer keys.
    pub fn drop_beyond(&mut self, count: usize) -> Option<Step> {
        let (prefix, span) = (self.prefix.len(), self.span);
        let beyond = |key: &&Bytes| {
            let number = String::from_utf8_lossy(&key[prefix..]).parse::<usize>().expect("a number");
            number >= span
        };
        let victims: Vec<Bytes> = self.keys.keys().filter(beyond).take(count).cloned().collect();
        if victims.is_empty() {
            return None;
        }
        victims.iter().for_each(|victim| drop(self.keys.remove(victim)));
        let expected = int(victims.len());
        let verb = if self.rng.chance(50) { "DEL" } else { "UNLINK" };
        let args = std::iter::once(verb.as_bytes().to_vec()).chain(victims).collect();
        Some(Step { args, expected, any_order: false })
    }

    /// The next command, or a transaction.
    pub fn steps(&mut self) -> Vec<Step> {
        match self.rng.below(100) {
            0..60 => vec![self.usual()],
            60..96 => vec![self.further()],
            _ => self.transaction(),
        }
    }

    /// One of the usual commands, whose replies are in order.
    pub fn usual(&mut self) -> Step {
        match self.rng.below(100) {
            0..40 => self.string(),
            40..52 => self.hash(),
            52..62 => self.list(),
            62..72 => self.set(),
            72..80 => self.sorted(),
            _ => self.generic(),
        }
    }

    pub fn done(words: &[&[u8]], expected: Value) -> Step {
        Step { args: words.iter().map(|word| word.to_vec()).collect(), expected, any_order: false }
    }

    pub fn in_any_order(words: &[&[u8]], expected: Value) -> Step {
        Step { any_order: true, ..Self::done(words, expected) }
    }

    fn string(&mut self) -> Step {
        let (key, value) = (self.name(), self.value());
        match self.rng.below(9) {
            0..4 => {
                self.keys.insert(key.clone(), Object::Str(value.clone()));
                Self::done(&[b"SET", &key, &value], ok())
            }
            4 => {
                // With a deadline that is not reached: its key must not go.
                self.keys.insert(key.clone(), Object::Str(value.clone()));
                Self::done(&[b"SET", &key, &value, b"EX", b"100000"], ok())
            }
            5 => {
                let reply = look!(self.keys, &key, Str).map(|found| bulk(found.as_deref()));
                Self::done(&[b"GET", &key], or_error(reply))
            }
            6 => {
                let reply = collection!(self.keys, key, Str).map(|text| {
                    text.extend_from_slice(&value);
                    int(text.len())
                });
                // APPEND of nothing to nothing makes an empty string, as here.
                Self::done(&[b"APPEND", &key, &value], or_error(reply))
            }
            7 => {
                let absent = !self.keys.contains_key(&key);
                if absent {
                    self.keys.insert(key.clone(), Object::Str(value.clone()));
                }
                Self::done(&[b"SETNX", &key, &value], int(usize::from(absent)))
            }
            _ => {
                let reply = look!(self.keys, &key, Str).map(|found| bulk(found.as_deref()));
                if matches!(reply, Ok(Value::Bulk(_))) {
                    self.keys.remove(&key);
                }
                Self::done(&[b"GETDEL", &key], or_error(reply))
            }
        }
    }

    fn hash(&mut self) -> Step {
        let (key, field, value) = (self.name(), self.element(), self.value());
        match self.rng.below(4) {
            0 | 1 => {
                let reply = collection!(self.keys, key, Hash)
                    .map(|hash| int(usize::from(hash.insert(field.clone(), value.clone()).is_none())));
                Self::done(&[b"HSET", &key, &field, &value], or_error(reply))
            }
            2 => {
                let reply =
                    look!(self.keys, &key, Hash).map(|found| bulk(found.and_then(|hash| hash.get(&field))));
                Self::done(&[b"HGET", &key, &field], or_error(reply))
            }
            _ => {
                let reply = look!(self.keys, &key, Hash)
                    .map(|found| int(found.map_or(0, |hash| usize::from(hash.remove(&field).is_some()))));
                self.forget_empty(&key);
                Self::done(&[b"HDEL", &key, &field], or_error(reply))
            }
        }
    }

    fn list(&mut self) -> Step {
        let (key, value) = (self.name(), self.value());
        match self.rng.below(5) {
            0 | 1 => {
                let reply = collection!(self.keys, key, List).map(|list| {
                    list.push_back(value.clone());
                    int(list.len())
                });
                Self::done(&[b"RPUSH", &key, &value], or_error(reply))
            }
            2 => {
                let reply = look!(self.keys, &key, List)
                    .map(|found| bulk(found.and_then(VecDeque::pop_front).as_ref()));
                self.forget_empty(&key);
                Self::done(&[b"LPOP", &key], or_error(reply))
            }
            3 => {
                let reply = look!(self.keys, &key, List)
                    .map(|found| found.map_or(Value::Array(Vec::new()), |list| array(list.iter())));
                Self::done(&[b"LRANGE", &key, b"0", b"-1"], or_error(reply))
            }
            _ => {
                let reply = look!(self.keys, &key, List).map(|found| int(found.map_or(0, |list| list.len())));
                Self::done(&[b"LLEN", &key], or_error(reply))
            }
        }
    }

    fn set(&mut self) -> Step {
        let (key, member) = (self.name(), self.element());
        match self.rng.below(4) {
            0 | 1 => {
                let reply =
                    collection!(self.keys, key, Set).map(|set| int(usize::from(set.insert(member.clone()))));
                Self::done(&[b"SADD", &key, &member], or_error(reply))
            }
            2 => {
                let reply = look!(self.keys, &key, Set)
                    .map(|found| int(found.map_or(0, |set| usize::from(set.remove(&member)))));
                self.forget_empty(&key);
                Self::done(&[b"SREM", &key, &member], or_error(reply))
            }
            _ => {
                let reply = look!(self.keys, &key, Set)
                    .map(|found| int(found.map_or(0, |set| usize::from(set.contains(&member)))));
                Self::done(&[b"SISMEMBER", &key, &member], or_error(reply))
            }
        }
    }

    fn sorted(&mut self) -> Step {
        let (key, member, score) = (self.name(), self.element(), self.rng.below(50) as i64);
        match self.rng.below(4) {
            0 | 1 => {
                let reply = collection!(self.keys, key, Sorted)
                    .map(|sorted| int(usize::from(sorted.insert(member.clone(), score).is_none())));
                Self::done(&[b"ZADD", &key, score.to_string().as_bytes(), &member], or_error(reply))
            }
            2 => {
                let reply = look!(self.keys, &key, Sorted).map(|found| {
                    let mut all: Vec<_> = found.map_or(Vec::new(), |sorted| sorted.iter().collect());
                    all.sort_by_key(|(member, score)| (**score, (*member).clone()));
                    array(all.into_iter().map(|(member, _)| member))
                });
                Self::done(&[b"ZRANGE", &key, b"0", b"-1"], or_error(reply))
            }
            _ => {
                let reply = look!(self.keys, &key, Sorted).map(|found| {
                    int(found.map_or(0, |sorted| usize::from(sorted.remove(&member).is_some())))
                });
                self.forget_empty(&key);
                Self::done(&[b"ZREM", &key, &member], or_error(reply))
            }
        }
    }

    fn generic(&mut self) -> Step {
        let (key, other) = (self.name(), self.name());
        match self.rng.below(9) {
            0 | 1 => {
                let there = usize::from(self.keys.remove(&key).is_some());
                Self::done(&[b"DEL", &key], int(there))
            }
            2 => {
                let both = [&key, &other].into_iter().filter(|key| self.keys.contains_key(*key)).count();
                Self::done(&[b"EXISTS", &key, &other], int(both))
            }
            3 => {
                let kind = match self.keys.get(&key) {
                    None => "none",
                    Some(Object::Str(_)) => "string",
                    Some(Object::Hash(_)) => "hash",
                    Some(Object::List(_)) => "list",
                    Some(Object::Set(_)) => "set",
                    Some(Object::Sorted(_)) => "zset",
                    Some(Object::Stream(_)) => "stream",
                };
                Self::done(&[b"TYPE", &key], Value::Simple(kind.into()))
            }
            4 => {
                let there = usize::from(self.keys.contains_key(&key));
                Self::done(&[b"EXPIRE", &key, b"100000"], int(there))
            }
            5 => {
                let expected = match self.keys.remove(&key) {
                    None => Value::Error("ERR no such key".into()),
                    Some(object) => {
                        self.keys.insert(other.clone(), object);
                        ok()
                    }
                };
                Self::done(&[b"RENAME", &key, &other], expected)
            }
            6 if key != other => {
                let copy = self.keys.get(&key).cloned();
                let there = usize::from(copy.is_some());
                if let Some(object) = copy {
                    self.keys.insert(other.clone(), object);
                }
                Self::done(&[b"COPY", &key, &other, b"REPLACE"], int(there))
            }
            7 => {
                let found = |key| match self.keys.get(key) {
                    Some(Object::Str(text)) => Value::Bulk(text.clone()),
                    _ => Value::Null,
                };
                let expected = Value::Array(vec![found(&key), found(&other)]);
                Self::done(&[b"MGET", &key, &other], expected)
            }
            _ => {
                let (a, b) = (self.value(), self.value());
                self.keys.insert(key.clone(), Object::Str(a.clone()));
                self.keys.insert(other.clone(), Object::Str(b.clone()));
                Self::done(&[b"MSET", &key, &a, &other, &b], ok())
            }
        }
    }

    pub fn forget_empty(&mut self, key: &Bytes) {
        let empty = match self.keys.get(key) {
            Some(Object::Hash(hash)) => hash.is_empty(),
            Some(Object::List(list)) => list.is_empty(),
            Some(Object::Set(set)) => set.is_empty(),
            Some(Object::Sorted(sorted)) => sorted.is_empty(),
            // A stream stays when its last entry is deleted.
            Some(Object::Str(_) | Object::Stream(_)) | None => false,
        };
        if empty {
            self.keys.remove(key);
        }
    }
}
