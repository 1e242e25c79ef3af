//! Patterns and who listens to them, found by the text that they begin with.
//!
//! A message looks only at those that begin as its name does. Nearly always a pattern is the only one that begins as it
//! does, so one takes no memory but its entry; very many that begin alike (`*…`) are a map of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::names::Listeners;
use super::prefixes::PrefixMap;
use crate::clients::{ClientHandle, ClientId};

/// Patterns with the same literal beginning.
enum Alike {
    One(Box<[u8]>, Listeners),
    Many(BTreeMap<Box<[u8]>, Listeners>),
}

impl Default for Alike {
    fn default() -> Self {
        Alike::Many(BTreeMap::new())
    }
}

impl Alike {
    fn is_empty(&self) -> bool {
        match self {
            Alike::One(_, listeners) => listeners.is_empty(),
            Alike::Many(patterns) => patterns.is_empty(),
        }
    }

    fn get_mut(&mut self, pattern: &[u8]) -> Option<&mut Listeners> {
        match self {
            Alike::One(only, listeners) => (**only == *pattern).then_some(listeners),
            Alike::Many(patterns) => patterns.get_mut(pattern),
        }
    }

    /// A pattern that is not there yet.
    fn insert(&mut self, pattern: &[u8], listeners: Listeners) {
        match std::mem::take(self) {
            Alike::Many(patterns) if patterns.is_empty() => *self = Alike::One(pattern.into(), listeners),
            Alike::Many(mut patterns) => {
                patterns.insert(pattern.into(), listeners);
                *self = Alike::Many(patterns);
            }
            Alike::One(first, its) => {
                *self = Alike::Many([(first, its), (pattern.into(), listeners)].into());
            }
        }
    }

    fn remove(&mut self, pattern: &[u8]) {
        match self {
            Alike::One(..) => *self = Alike::default(),
            Alike::Many(patterns) => {
                patterns.remove(pattern);
                if patterns.len() == 1
                    && let Some((last, listeners)) = patterns.pop_first()
                {
                    *self = Alike::One(last, listeners);
                }
            }
        }
    }

    fn for_each<'a>(&'a self, mut f: impl FnMut(&'a [u8], &'a Listeners)) {
        match self {
            Alike::One(pattern, listeners) => f(pattern, listeners),
            Alike::Many(patterns) => patterns.iter().for_each(|(pattern, listeners)| f(pattern, listeners)),
        }
    }
}

/// Patterns with their listeners.
#[derive(Default)]
pub struct Patterns {
    /// Under the text that they begin with.
    beginnings: PrefixMap<Alike>,
    len: usize,
}

/// What every name that a pattern matches begins with.
fn literal_beginning(pattern: &[u8]) -> &[u8] {
    let special = pattern.iter().position(|b| matches!(b, b'*' | b'?' | b'[' | b'\\'));
    &pattern[..special.unwrap_or(pattern.len())]
}

impl Patterns {
    /// Number of patterns.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Adds a listener, who is not one yet.
    pub fn add(&mut self, pattern: &[u8], client: &Arc<ClientHandle>) {
        let alike = self.beginnings.entry(literal_beginning(pattern));
        if let Some(listeners) = alike.get_mut(pattern) {
            return listeners.add(client);
        }
        let mut listeners = Listeners::default();
        listeners.add(client);
        alike.insert(pattern, listeners);
        self.len += 1;
    }

    /// Removes a listener.
    pub fn remove(&mut self, pattern: &[u8], client: ClientId) {
        let beginning = literal_beginning(pattern);
        let Some(alike) = self.beginnings.get_mut(beginning) else { return };
        let Some(listeners) = alike.get_mut(pattern) else { return };
        listeners.remove(client);
        if listeners.is_empty() {
            alike.remove(pattern);
            self.len -= 1;
            if alike.is_empty() {
                self.beginnings.remove(beginning);
            }
        }
    }

    /// Hands each pattern that begins as `name` does to `f`, with its listeners: none of the others can match it.
    pub fn for_each_like<'a>(&'a self, name: &[u8], mut f: impl FnMut(&'a [u8], &'a Listeners)) {
        self.beginnings.for_each_of(name, |_, alike| alike.for_each(&mut f));
    }

    /// Hands each pattern to `f` that may match some name which begins with `begin`.
    pub fn for_each_from<'a>(&'a self, begin: &[u8], mut f: impl FnMut(&'a [u8], &'a Listeners)) {
        for (beginning, alike) in self.beginnings.iter() {
            if beginning.starts_with(begin) || begin.starts_with(beginning) {
                alike.for_each(&mut f);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::clients::{Clients, NewClient};
    use crate::glob;

    /// Random patterns that begin alike or not, against a plain set.
    #[test]
    fn agrees_with_a_plain_set() {
        let clients = Clients::new(1);
        let new = || NewClient { worker: 0, fd: 0, addr: "".into(), laddr: "".into(), unix: true, now_ms: 0 };
        let listeners: Vec<_> = (0..3).map(|_| clients.admit(10, new()).expect("a place")).collect();
        let mut random = fastrand::Rng::with_seed(5);
        let (mut patterns, mut twin) = (Patterns::default(), BTreeSet::new());
        for _ in 0..3_000 {
            let starts = ["", "a", "ab", "b"];
            let ends = ["", "*", "?", "*c", "[ab]", "\\*"];
            let pattern = format!("{}{}", starts[random.usize(0..4)], ends[random.usize(0..6)]);
            let who = random.usize(0..3);
            if twin.insert((pattern.clone(), who)) {
                patterns.add(pattern.as_bytes(), &listeners[who]);
            } else {
                twin.remove(&(pattern.clone(), who));
                patterns.remove(pattern.as_bytes(), listeners[who].id);
            }
            let distinct: BTreeSet<&str> = twin.iter().map(|(pattern, _)| pattern.as_str()).collect();
            assert_eq!(patterns.len(), distinct.len());
            let name = ["", "a", "abc", "b", "aa*", "c"][random.usize(0..6)].as_bytes();
            let mut found = BTreeSet::new();
            patterns.for_each_like(name, |pattern, those| {
                assert!(!those.is_empty());
                if glob::matches(pattern, name, false) {
                    let of = |client: &Arc<ClientHandle>| listeners.iter().position(|l| l.id == client.id);
                    found.extend(those.iter().map(|c| (pattern.to_vec(), of(c).expect("one of them"))));
                }
            });
            let matching = twin.iter().filter(|(pattern, _)| glob::matches(pattern.as_bytes(), name, false));
            assert_eq!(found, matching.map(|(p, who)| (p.clone().into_bytes(), *who)).collect());
            let mut all = 0;
            patterns.for_each_from(b"", |_, _| all += 1);
            assert_eq!(all, distinct.len());
        }
    }
}
