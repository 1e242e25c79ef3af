//! A map from prefixes that finds every prefix of a name without looking at the others.
//!
//! The prefixes stand in the order of their bytes. All that begin a name come before it, and between
//! the name and its longest prefix there are only names that share less with it. So each look at the
//! nearest smaller entry finds a prefix, or shortens what a prefix can still be.

use std::collections::BTreeMap;
use std::ops::Bound::{Included, Unbounded};

/// Values under prefixes.
#[derive(Debug)]
pub struct PrefixMap<V> {
    map: BTreeMap<Box<[u8]>, V>,
}

impl<V> Default for PrefixMap<V> {
    fn default() -> Self {
        PrefixMap { map: BTreeMap::new() }
    }
}

impl<V> PrefixMap<V> {
    /// Number of prefixes.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// The value under exactly this prefix, made if there is none.
    pub fn entry(&mut self, prefix: &[u8]) -> &mut V
    where
        V: Default,
    {
        self.map.entry(prefix.into()).or_default()
    }

    /// The value under exactly this prefix.
    pub fn get_mut(&mut self, prefix: &[u8]) -> Option<&mut V> {
        self.map.get_mut(prefix)
    }

    /// Takes a prefix out.
    pub fn remove(&mut self, prefix: &[u8]) -> Option<V> {
        self.map.remove(prefix)
    }

    /// All prefixes, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &V)> {
        self.map.iter().map(|(prefix, value)| (&**prefix, value))
    }

    /// Hands every prefix with which `name` begins to `f`, the longest first.
    pub fn for_each_of<'m>(&'m self, name: &[u8], mut f: impl FnMut(&'m [u8], &'m V)) {
        let mut end = name.len();
        loop {
            let near = self.map.range::<[u8], _>((Unbounded, Included(&name[..end]))).next_back();
            let Some((prefix, value)) = near else { return };
            let common = prefix.iter().zip(&name[..end]).take_while(|(a, b)| a == b).count();
            if common < prefix.len() {
                // It differs there, and no prefix of the name lies between the two.
                end = common;
                continue;
            }
            f(prefix, value);
            if common == 0 {
                return;
            }
            end = common - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(map: &PrefixMap<()>, name: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        map.for_each_of(name, |prefix, ()| found.push(prefix.to_vec()));
        found
    }

    #[test]
    fn every_prefix_is_found_longest_first() {
        let mut map = PrefixMap::default();
        for prefix in ["", "a", "ab", "abc", "abd", "b", "ac", "abcde"] {
            map.entry(prefix.as_bytes());
        }
        assert_eq!(found(&map, b"abcd"), [b"abc" as &[u8], b"ab", b"a", b""]);
        assert_eq!(found(&map, b""), [b""]);
        assert_eq!(found(&map, b"zz"), [b""]);
        map.remove(b"");
        assert_eq!(found(&map, b"zz"), [b""; 0]);
        assert_eq!(found(&map, b"acx"), [b"ac" as &[u8], b"a"]);
    }

    #[test]
    fn agrees_with_looking_at_all_of_them() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..300 {
            let mut word =
                |max| (0..random.usize(0..max)).map(|_| random.u8(b'a'..b'd')).collect::<Vec<u8>>();
            let mut map = PrefixMap::default();
            let mut all: Vec<Vec<u8>> = (0..20).map(|_| word(6)).collect();
            all.sort();
            all.dedup();
            for prefix in &all {
                map.entry(prefix);
            }
            for _ in 0..20 {
                let name = word(9);
                let mut expected: Vec<_> = all.iter().filter(|p| name.starts_with(p)).cloned().collect();
                expected.sort_by_key(|p| std::cmp::Reverse(p.len()));
                assert_eq!(found(&map, &name), expected);
            }
        }
    }
}
