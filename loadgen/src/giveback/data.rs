//! What the keys hold: strings of mixed sizes, small and large collections, as commands.

use clap::ValueEnum;
use serde::Serialize;

use crate::keys::{Rng, scramble};

/// One key in so many stays.
const STAYS: u64 = 20;

/// What a key holds.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// A string of 8 to 1,000 bytes
    Strings,
    /// A hash of 10 fields
    Hashes,
    /// A list of 10 elements
    Lists,
    /// A set of 10 members
    Sets,
    /// A sorted set of 10 members
    Zsets,
    /// A set of 200 members, which is a hash table
    LargeSets,
    /// A hash of 200 fields
    LargeHashes,
    /// A sorted set of 200 members
    LargeZsets,
    /// A list of 1,000 elements
    LargeLists,
    /// A string of 20 to 80 KB
    LargeStrings,
}

impl Shape {
    /// Keys of this shape, for each 100,000 strings.
    pub fn scale(self, keys: u64) -> u64 {
        match self {
            Shape::Strings => keys,
            Shape::Hashes | Shape::Lists | Shape::Sets | Shape::Zsets => keys / 2,
            Shape::LargeSets | Shape::LargeHashes | Shape::LargeZsets => keys * 3 / 100,
            Shape::LargeLists => keys / 100,
            Shape::LargeStrings => keys * 3 / 100,
        }
    }

    pub fn text(self) -> &'static str {
        match self {
            Shape::Strings => "strings of 8 to 1,000 bytes",
            Shape::Hashes => "hashes of 10 fields",
            Shape::Lists => "lists of 10 elements",
            Shape::Sets => "sets of 10 members",
            Shape::Zsets => "sorted sets of 10 members",
            Shape::LargeSets => "sets of 200 members",
            Shape::LargeHashes => "hashes of 200 fields",
            Shape::LargeZsets => "sorted sets of 200 members",
            Shape::LargeLists => "lists of 1,000 elements",
            Shape::LargeStrings => "strings of 20 to 80 KB",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Shape::Strings | Shape::LargeStrings => "SET",
            Shape::Hashes | Shape::LargeHashes => "HSET",
            Shape::Lists | Shape::LargeLists => "RPUSH",
            Shape::Sets | Shape::LargeSets => "SADD",
            Shape::Zsets | Shape::LargeZsets => "ZADD",
        }
    }

    pub fn elements(self) -> u64 {
        match self {
            Shape::Strings | Shape::LargeStrings => 1,
            Shape::Hashes | Shape::Lists | Shape::Sets | Shape::Zsets => 10,
            Shape::LargeSets | Shape::LargeHashes | Shape::LargeZsets => 200,
            Shape::LargeLists => 1000,
        }
    }

    /// The command that makes the key, with `more` words at its end; the number of commands.
    pub fn make(self, n: u64, more: &[&str], out: &mut Vec<u8>) -> usize {
        let mut rng = Rng::new(scramble(n ^ 0x6769_7665));
        let mut words = vec![self.verb().as_bytes().to_vec(), name(n).into_bytes()];
        for i in 0..self.elements() {
            let mut word = |letter: char| format!("{letter}{i:03}{:08x}", rng.next_u64() as u32).into_bytes();
            match self {
                Shape::Strings | Shape::LargeStrings => {
                    let (from, to) = if self == Shape::Strings { (8, 1000) } else { (20_000, 80_000) };
                    words.push(vec![b'x'; (from + rng.below(to - from + 1)) as usize]);
                }
                Shape::Hashes | Shape::LargeHashes => {
                    words.extend([word('f'), word('v')]);
                }
                Shape::Zsets | Shape::LargeZsets => {
                    let score = scramble(n ^ i) % 1_000_000;
                    words.extend([score.to_string().into_bytes(), word('m')]);
                }
                _ => words.push(word('e')),
            }
        }
        words.extend(more.iter().map(|w| w.as_bytes().to_vec()));
        command(&words, out)
    }
}

/// Whether this key is among those that are there at the end.
pub fn stays(n: u64) -> bool {
    scramble(n).is_multiple_of(STAYS)
}

/// The key's name: 16 bytes.
pub fn name(n: u64) -> String {
    format!("key:{n:012}")
}

/// A command as it is sent; one.
pub fn command<W: AsRef<[u8]>>(words: &[W], out: &mut Vec<u8>) -> usize {
    out.extend(format!("*{}\r\n", words.len()).into_bytes());
    for word in words {
        let word = word.as_ref();
        out.extend(format!("${}\r\n", word.len()).into_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twentieth_stays_and_commands_are_whole() {
        let staying = (0..100_000).filter(|&n| stays(n)).count();
        assert!((4_500..5_500).contains(&staying), "{staying}");
        let mut out = Vec::new();
        command(&["DEL", &name(7)], &mut out);
        assert_eq!(out, b"*2\r\n$3\r\nDEL\r\n$16\r\nkey:000000000007\r\n");
        for shape in Shape::value_variants() {
            out.clear();
            shape.make(3, &[], &mut out);
            let words: usize =
                String::from_utf8_lossy(&out[1..]).split_once('\r').unwrap().0.parse().unwrap();
            assert_eq!(out.iter().filter(|&&b| b == b'\n').count(), 1 + 2 * words, "{shape:?}");
        }
    }
}
