//! Random choices among the elements of a collection.

/// A small generator (wyrand's step). Good enough to choose members by; never for
/// secrets. The caller seeds it, so that tests repeat.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that starts at `seed`.
    pub const fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// 64 random bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0xA076_1D64_78BD_642F);
        let product = u128::from(self.0) * u128::from(self.0 ^ 0xE703_7ED1_A0B4_28DB);
        (product >> 64) as u64 ^ product as u64
    }

    /// A number below `n`, each equally likely to within 2⁻³². Zero if `n` is.
    #[inline]
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }
}

/// `count` different numbers below `n`, ascending, each choice equally likely.
pub fn choose(n: usize, count: usize, random: &mut Random) -> Vec<usize> {
    let mut wanted = count.min(n);
    let mut chosen = Vec::with_capacity(wanted);
    for i in 0..n {
        if random.below(n - i) < wanted {
            chosen.push(i);
            wanted -= 1;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_different_and_fair() {
        let mut random = Random::new(7);
        let mut hits = [0; 10];
        for _ in 0..10_000 {
            let chosen = choose(10, 3, &mut random);
            assert!(chosen.len() == 3 && chosen.is_sorted_by(|a, b| a < b));
            chosen.iter().for_each(|&i| hits[i] += 1);
        }
        assert!(hits.iter().all(|n| (2800..3200).contains(n)), "{hits:?}");
        assert_eq!(choose(3, 9, &mut random), [0, 1, 2]);
        assert_eq!(random.below(0), 0);
    }
}
