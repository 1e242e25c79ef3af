//! The keyed hash that places keys.
//!
//! One 64-bit hash of the whole key decides everything: the top bits name the
//! shard and the bucket in it, the low 8 bits are the tag in the bucket, bits 32 to
//! 63 and 0 to 7 are what the expiry wheel keeps of a key.
//!
//! The function folds 64 x 64 -> 128 bit products; every operand is mixed with a
//! secret word of its own first, all of them drawn from a random seed. Without a
//! public constant in any product there is no input known to make one zero, and
//! without the seed none that is known to collide. SipHash-1-3 would cost about
//! 8 ns more for a 16-byte key.

use std::hash::{BuildHasher, Hasher as _, RandomState};

/// Keyed 64-bit hash of a whole key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// The 40 bits that name this hash in the expiry wheel: the upper half, and the tag.
    #[inline]
    pub const fn hash40(self) -> u64 {
        ((self.0 >> 32) << 8) | (self.0 & 0xff)
    }

    /// A hash with the same place and tag as those behind these 40 bits.
    #[inline]
    pub const fn from_hash40(bits: u64) -> Self {
        KeyHash(((bits >> 8) << 32) | (bits & 0xff))
    }

    /// The tag that stands in the bucket.
    #[inline]
    pub(super) const fn tag(self) -> u8 {
        self.0 as u8
    }
}

/// The secret of one keyspace.
#[derive(Clone)]
pub(super) struct Hasher {
    secret: [u64; 8],
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let p = u128::from(a).wrapping_mul(u128::from(b));
    (p as u64) ^ ((p >> 64) as u64)
}

#[inline(always)]
fn read8(bytes: &[u8], at: usize) -> u64 {
    let mut w = [0; 8];
    w.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(w)
}

#[inline(always)]
fn read4(bytes: &[u8], at: usize) -> u64 {
    let mut w = [0; 4];
    w.copy_from_slice(&bytes[at..at + 4]);
    u64::from(u32::from_le_bytes(w))
}

impl Hasher {
    /// Spreads a seed over the secret words; `None` draws a random seed.
    pub fn new(seed: Option<[u64; 4]>) -> Self {
        let seed = seed.unwrap_or_else(|| {
            let mut words = [0; 4];
            for (i, word) in words.iter_mut().enumerate() {
                let mut h = RandomState::new().build_hasher();
                h.write_usize(i);
                *word = h.finish();
            }
            words
        });
        // SplitMix64 over a chained state: distinct, odd-weighted words from any seed.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut secret = [0; 8];
        for (i, word) in secret.iter_mut().enumerate() {
            state = (state ^ seed[i & 3]).wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *word = z ^ (z >> 31);
            state = *word;
        }
        Hasher { secret }
    }

    /// The hash of a key.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        let s = &self.secret;
        let n = key.len();
        let (a, b) = if n <= 16 {
            if n >= 8 {
                (read8(key, 0), read8(key, n - 8))
            } else if n >= 4 {
                (read4(key, 0), read4(key, n - 4))
            } else if n > 0 {
                (u64::from(key[0]) << 8 | u64::from(key[n - 1]), u64::from(key[n / 2]))
            } else {
                (0, 0)
            }
        } else {
            return self.hash_long(key);
        };
        self.finish(a, b, s[0], n)
    }

    #[inline(always)]
    fn finish(&self, a: u64, b: u64, state: u64, n: usize) -> KeyHash {
        let s = &self.secret;
        let x = fold(a ^ s[1], b ^ state ^ (n as u64));
        // The last fold spreads the product over the upper bits too, which place the key.
        KeyHash(fold(x ^ s[2], s[3] ^ (n as u64).rotate_left(32)) ^ x.rotate_left(29))
    }

    #[inline(never)]
    fn hash_long(&self, key: &[u8]) -> KeyHash {
        let s = &self.secret;
        let n = key.len();
        let (mut x, mut y) = (s[4], s[5]);
        let mut at = 0;
        while n - at > 32 {
            x = fold(read8(key, at) ^ s[4], read8(key, at + 8) ^ x);
            y = fold(read8(key, at + 16) ^ s[5], read8(key, at + 24) ^ y);
            at += 32;
        }
        if n - at > 16 {
            x = fold(read8(key, at) ^ s[6], read8(key, at + 8) ^ x);
        }
        // The last 16 bytes, overlapping what came before.
        self.finish(read8(key, n - 16), read8(key, n - 8), s[7] ^ fold(x ^ s[0], y ^ s[6]), n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn forty_bits_keep_place_and_tag() {
        let h = KeyHash(0x1234_5678_9abc_def0);
        let back = KeyHash::from_hash40(h.hash40());
        assert_eq!(back.0 >> 32, h.0 >> 32);
        assert_eq!(back.tag(), h.tag());
        assert_eq!(back.hash40(), h.hash40());
        assert!(h.hash40() < 1 << 40);
    }

    #[test]
    fn seeds_and_lengths_matter() {
        let a = Hasher::new(Some([1, 2, 3, 4]));
        let b = Hasher::new(Some([1, 2, 3, 5]));
        let mut seen = HashSet::new();
        let zeros = [0_u8; 200];
        for n in 0..200 {
            assert!(seen.insert(a.hash(&zeros[..n])), "length {n}");
            assert_ne!(a.hash(&zeros[..n]), b.hash(&zeros[..n]));
        }
    }

    #[test]
    fn no_collisions_and_even_buckets_over_counting_keys() {
        let h = Hasher::new(Some([7; 4]));
        let (mut seen, mut top, mut low) = (HashSet::new(), [0_u32; 256], [0_u32; 256]);
        let n = if cfg!(miri) { 2_000_u64 } else { 200_000 };
        for i in 0..n {
            for key in [format!("key:{i}"), format!("{i:016}"), format!("user:session:{i:032}")] {
                let x = h.hash(key.as_bytes());
                assert!(seen.insert(x));
                top[(x.0 >> 56) as usize] += 1;
                low[x.tag() as usize] += 1;
            }
        }
        let mean = (3 * n / 256) as f64;
        for counts in [top, low] {
            let chi: f64 = counts.iter().map(|&c| (f64::from(c) - mean).powi(2) / mean).sum();
            assert!(chi < 400.0, "chi square {chi} over 255 degrees of freedom");
        }
    }

    #[test]
    fn each_input_bit_moves_half_of_the_output() {
        let h = Hasher::new(Some([3, 1, 4, 1]));
        let lengths = [1, 3, 5, 8, 13, 16, 17, 31, 33, 64, 100];
        for n in lengths.into_iter().take(if cfg!(miri) { 5 } else { lengths.len() }) {
            let key = vec![0x5a_u8; n];
            let base = h.hash(&key).0;
            for bit in 0..n * 8 {
                let mut other = key.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                let moved = (h.hash(&other).0 ^ base).count_ones();
                assert!((10..=54).contains(&moved), "length {n}, bit {bit}: {moved} bits");
            }
        }
    }
}
