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

/// A choice of some of many things that pass by, each choice equally likely.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    wanted: usize,
    left: usize,
}

impl Choice {
    /// `count` of `n` that will pass.
    pub fn new(count: usize, n: usize) -> Self {
        Choice { wanted: count.min(n), left: n }
    }

    /// Whether the one that passes now is taken.
    #[inline]
    pub fn takes(&mut self, random: &mut Random) -> bool {
        let takes = random.below(self.left) < self.wanted;
        self.left = self.left.saturating_sub(1);
        self.wanted -= usize::from(takes);
        takes
    }

    /// How many are still to be taken.
    pub fn wanted(&self) -> usize {
        self.wanted
    }
}

/// `count` different numbers below `n`, ascending, each choice equally likely.
pub fn choose(n: usize, count: usize, random: &mut Random) -> Vec<usize> {
    let mut choice = Choice::new(count, n);
    let mut chosen = Vec::with_capacity(choice.wanted());
    chosen.extend((0..n).filter(|_| choice.takes(random)));
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
