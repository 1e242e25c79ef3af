//! Every type beside a plain model of it: random writes to a collection and to copies that share its memory, and renewals
//! of a few pieces between them, as the helper thread makes them while clients write.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::hash::Deadline;
use super::list::End;
use super::sorted_set::Score;
use super::stream::Keep;
use super::*;

/// Elements are numbered below this: enough for several parts that a snapshot shares.
const NUMBERS: usize = if cfg!(miri) { 60 } else { 8000 };
/// Elements of one write.
const AT_ONCE: usize = if cfg!(miri) { 20 } else { 1500 };
const CASES: u32 = if cfg!(miri) { 1 } else { 12 };
const STEPS: usize = if cfg!(miri) { 12 } else { 60 };

/// What a value holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Twin {
    Sequence(VecDeque<Vec<u8>>),
    Map(BTreeMap<Vec<u8>, Vec<u8>>),
    Log(BTreeMap<u64, Vec<u8>>),
}

impl Twin {
    fn len(&self) -> usize {
        match self {
            Twin::Sequence(items) => items.len(),
            Twin::Map(items) => items.len(),
            Twin::Log(items) => items.len(),
        }
    }

    fn of(value: &Value) -> Twin {
        match value {
            Value::Str(blob) => Twin::Sequence(VecDeque::from([blob.to_vec()])),
            Value::List(list) => Twin::Sequence(list.iter().map(|e| e.to_vec()).collect()),
            Value::Set(set) => Twin::Map(set.iter().map(|e| (e.to_vec(), Vec::new())).collect()),
            Value::Hash(hash) => {
                let content = |f: hash::Field<'_>| field(&f.value.to_vec(), f.deadline);
                Twin::Map(hash.iter().map(|f| (f.name.to_vec(), content(f))).collect())
            }
            Value::ZSet(zset) => {
                let members: Vec<_> = zset.iter().map(|(m, s)| (s.get(), m.to_vec())).collect();
                assert!(members.is_sorted_by(|a, b| a < b), "by score, then by bytes");
                Twin::Map(members.into_iter().map(|(s, m)| (m, s.to_le_bytes().to_vec())).collect())
            }
            Value::Stream(stream) => {
                let entries = stream.range(StreamId::MIN, StreamId::MAX);
                Twin::Log(
                    entries.map(|e| (e.id.ms, e.fields().flat_map(|(_, v)| v.to_vec()).collect())).collect(),
                )
            }
        }
    }
}

fn field(value: &[u8], deadline: Option<u64>) -> Vec<u8> {
    [value, &deadline.unwrap_or(0).to_le_bytes()].concat()
}

/// The name of element `i`: some are short integers, some too long for the buckets of a table.
fn name(i: usize) -> Vec<u8> {
    let i = i % NUMBERS;
    match i % 60 {
        0 => format!("element:{i}:").repeat(40).into_bytes(),
        1..20 => i.to_string().into_bytes(),
        _ => format!("element:{i}").into_bytes(),
    }
}

/// A collection, and what it should hold.
#[derive(Clone)]
struct Pair {
    value: Value,
    twin: Twin,
    /// Whether fields of a hash are given deadlines.
    timed: bool,
}

impl Pair {
    fn new(value: Value, timed: bool) -> Pair {
        Pair { twin: Twin::of(&value), value, timed }
    }

    fn duplicate(&mut self) -> Pair {
        Pair { value: self.value.duplicate(), twin: self.twin.clone(), timed: self.timed }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(Twin::of(&self.value), self.twin.clone());
        Ok(())
    }

    /// Puts element `i`, new or not.
    fn put(&mut self, i: usize) {
        let (name, seed) = (name(i), i);
        match (&mut self.value, &mut self.twin) {
            (Value::List(list), Twin::Sequence(twin)) => {
                let end = if seed.is_multiple_of(3) { End::Head } else { End::Tail };
                list.push(end, &name, &list::Limits::default());
                if end == End::Head { twin.push_front(name) } else { twin.push_back(name) }
            }
            (Value::Set(set), Twin::Map(twin)) => {
                let new = set.insert(&name, &set::Limits::default());
                assert_eq!(new, twin.insert(name, Vec::new()).is_none());
            }
            (Value::Hash(hash), Twin::Map(twin)) => {
                let at = (self.timed && !seed.is_multiple_of(3)).then_some(1000 + seed as u64 % 50);
                let value = self::name(seed + 1);
                let deadline = at.map_or(Deadline::Clear, Deadline::At);
                let new = hash.set_with(&name, &value, deadline, &hash::Limits::default());
                assert_eq!(new, twin.insert(name, field(&value, at)).is_none());
            }
            (Value::ZSet(zset), Twin::Map(twin)) => {
                let score = Score::new((seed * 7919 % 500) as f64).expect("a number");
                let old = zset.insert(&name, score, &sorted_set::Limits::default());
                assert_eq!(old.is_none(), twin.insert(name, score.get().to_le_bytes().to_vec()).is_none());
            }
            (Value::Stream(stream), Twin::Log(twin)) => {
                let ms = stream.counters().last_id.ms + 1 + seed as u64 % 3;
                assert!(stream.append(StreamId { ms, seq: 0 }, &[b"f", &name], &stream::Limits::default()));
                twin.insert(ms, name);
            }
            _ => unreachable!("a twin is of its value's kind"),
        }
    }

    /// Takes element `i` away, if it is there; of a sequence, one at an end.
    fn take(&mut self, i: usize) {
        let name = name(i);
        match (&mut self.value, &mut self.twin) {
            (Value::List(list), Twin::Sequence(twin)) => {
                let head = i.is_multiple_of(2);
                let end = if head { End::Head } else { End::Tail };
                let gone = if head { twin.pop_front() } else { twin.pop_back() };
                assert_eq!(list.pop(end, &list::Limits::default()), gone);
            }
            (Value::Set(set), Twin::Map(twin)) => {
                assert_eq!(set.remove(&name), twin.remove(&name).is_some());
            }
            (Value::Hash(hash), Twin::Map(twin)) => {
                assert_eq!(hash.remove(&name), twin.remove(&name).is_some());
            }
            (Value::ZSet(zset), Twin::Map(twin)) => {
                assert_eq!(zset.remove(&name).is_some(), twin.remove(&name).is_some());
            }
            (Value::Stream(stream), Twin::Log(twin)) => {
                let Some((&ms, _)) = twin.range(i as u64..).next() else { return };
                assert!(stream.remove(StreamId { ms, seq: 0 }));
                twin.remove(&ms);
            }
            _ => unreachable!("a twin is of its value's kind"),
        }
    }

    /// Takes many away in the way that is quickest.
    fn take_many(&mut self, from: usize, count: usize) {
        match (&mut self.value, &mut self.twin) {
            (Value::List(list), Twin::Sequence(twin)) => {
                let count = count.min(twin.len());
                let taken = list.take_end(End::Head, count);
                let at_once = taken.as_ref().map_or(0, List::len);
                list.drop_end(End::Head, count - at_once, &list::Limits::default());
                let gone: Vec<Vec<u8>> = twin.drain(..count).collect();
                assert!(
                    taken.iter().flat_map(List::iter).map(|e| e.to_vec()).eq(gone.into_iter().take(at_once))
                );
            }
            (Value::ZSet(zset), Twin::Map(twin)) => {
                let from = from % (twin.len() + 1);
                let to = (from + count).min(twin.len());
                let gone: Vec<Vec<u8>> =
                    zset.iter_from(from).take(to - from).map(|(m, _)| m.to_vec()).collect();
                assert_eq!(zset.remove_ranks(from..to), to - from);
                gone.iter().for_each(|member| assert!(twin.remove(member).is_some()));
            }
            (Value::Stream(stream), Twin::Log(twin)) => {
                let left = twin.len().saturating_sub(count);
                stream.trim(Keep::Newest(left as u64), false, 0);
                while twin.len() > left {
                    twin.pop_first();
                }
            }
            _ => (from..from + count).for_each(|i| self.take(i)),
        }
    }

    /// Changes element `i` in its place, if it is there.
    fn change(&mut self, i: usize) {
        let (name, len) = (name(i), self.twin.len());
        match (&mut self.value, &mut self.twin) {
            (Value::List(list), Twin::Sequence(twin)) if len > 0 => {
                assert!(list.set((i % len) as i64, &name, &list::Limits::default()));
                twin[i % len] = name;
            }
            (Value::Hash(hash), Twin::Map(twin)) => {
                let at = self.timed.then_some(2000 + i as u64 % 7);
                assert_eq!(hash.set_deadline(&name, at), twin.contains_key(&name));
                if let Some(old) = twin.get_mut(&name) {
                    *old = field(&old[..old.len() - 8], at);
                }
            }
            (Value::ZSet(zset), Twin::Map(twin)) if twin.contains_key(&name) => {
                let score = Score::new(-((i % 90) as f64)).expect("a number");
                zset.insert(&name, score, &sorted_set::Limits::default());
                twin.insert(name, score.get().to_le_bytes().to_vec());
            }
            _ => {}
        }
    }
}

#[derive(Clone, Debug)]
enum Write {
    Put(usize, usize),
    Take(usize, usize),
    TakeMany(usize, usize),
    Change(usize, usize),
}

#[derive(Clone, Debug)]
enum Step {
    /// To the collection.
    Write(Write),
    /// A copy, to be kept.
    Copy,
    /// To a copy.
    WriteCopy(usize, Write),
    DropCopy(usize),
    /// So many looks, so many bytes; of a copy now and then.
    Renew(usize, usize, Option<usize>),
    Check,
}

fn write() -> impl Strategy<Value = Write> {
    let (from, few, many) = (0..NUMBERS, 1..AT_ONCE.min(40), 1..AT_ONCE);
    prop_oneof![
        6 => (from.clone(), many.clone()).prop_map(|(from, n)| Write::Put(from, n)),
        2 => (from.clone(), few.clone()).prop_map(|(from, n)| Write::Put(from, n)),
        3 => (from.clone(), few.clone()).prop_map(|(from, n)| Write::Take(from, n)),
        2 => (from.clone(), many).prop_map(|(from, n)| Write::TakeMany(from, n)),
        3 => (from, few).prop_map(|(from, n)| Write::Change(from, n)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let copy = prop_oneof![4 => Just(None), 1 => any::<usize>().prop_map(Some)];
    prop_oneof![
        8 => write().prop_map(Step::Write),
        2 => Just(Step::Copy),
        3 => (any::<usize>(), write()).prop_map(|(copy, write)| Step::WriteCopy(copy, write)),
        1 => any::<usize>().prop_map(Step::DropCopy),
        8 => (1usize..200, 1usize..100_000, copy).prop_map(|(looks, bytes, copy)| Step::Renew(looks, bytes, copy)),
        1 => Just(Step::Check),
    ]
}

fn apply(pair: &mut Pair, write: Write) {
    match write {
        Write::Put(from, n) => (from..from + n).for_each(|i| pair.put(i)),
        Write::Take(from, n) => (from..from + n).for_each(|i| pair.take(i)),
        Write::TakeMany(from, n) => pair.take_many(from, n),
        Write::Change(from, n) => (from..from + n).for_each(|i| pair.change(i)),
    }
}

fn play(value: Value, timed: bool, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut main = Pair::new(value, timed);
    let mut copies: Vec<Pair> = Vec::new();
    let mut renewal = Renewal::of_everything();
    // Where a walk goes on, however the collection has changed since.
    let mut at = 0;
    for step in steps {
        let chosen = |n: usize| if copies.is_empty() { 0 } else { n % copies.len() };
        match step {
            Step::Write(write) => apply(&mut main, write),
            Step::Copy if copies.len() < 6 => copies.push(main.duplicate()),
            Step::Copy => {}
            Step::WriteCopy(n, write) => {
                let n = chosen(n);
                if let Some(copy) = copies.get_mut(n) {
                    apply(copy, write);
                }
            }
            Step::DropCopy(n) if !copies.is_empty() => drop(copies.swap_remove(chosen(n))),
            Step::DropCopy(_) => {}
            Step::Renew(looks, bytes, copy) => {
                renewal.grant(looks, bytes);
                let n = copy.map(chosen);
                match n.and_then(|n| copies.get_mut(n)) {
                    Some(copy) => drop(copy.value.renew(at, &mut renewal)),
                    None => at = main.value.renew(at, &mut renewal).unwrap_or(0),
                }
            }
            Step::Check => main.check()?,
        }
    }
    main.check()?;
    for mut copy in copies {
        copy.check()?;
        // What it shared is its own again when the other is gone.
        apply(&mut copy, Write::Put(1, 10));
        copy.check()?;
    }
    Ok(())
}

macro_rules! models {
    ($($name:ident: $value:expr, $timed:expr;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]
            $(
                #[test]
                fn $name(steps in prop::collection::vec(step(), 1..STEPS)) {
                    play($value, $timed, steps)?;
                }
            )*
        }
    };
}

models! {
    a_list_and_its_copies: Value::List(List::new()), false;
    a_set_and_its_copies: Value::Set(Set::for_member(b"a", 1, &set::Limits::default())), false;
    a_hash_and_its_copies: Value::Hash(Hash::new()), false;
    a_hash_with_deadlines_and_its_copies: Value::Hash(Hash::new()), true;
    a_sorted_set_and_its_copies: Value::ZSet(SortedSet::new()), false;
    a_stream_and_its_copies: Value::Stream(Box::new(Stream::new())), false;
}
