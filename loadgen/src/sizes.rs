//! How long values are: one size, a range, weighted sizes, or a log-normal law. The size follows
//! from the key's number, so that a reply can be checked without remembering anything.

use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};

use crate::cli::count;
use crate::keys::{Rng, scramble};
use crate::request::VALUE_SIZE_MAX;

/// Log-normal sizes above this multiple of the median are cut off.
const TAIL_MAX: f64 = 1000.0;
/// Keys that the mean size is estimated from.
const MEAN_OF: u64 = 10_000;

/// A distribution of value sizes.
#[derive(Debug, Clone, PartialEq)]
pub enum Sizes {
    Fixed(usize),
    /// From the first to the second, all equally likely.
    Range(usize, usize),
    /// A size and the sum of the weights up to and including it.
    Weighted(Vec<(usize, u64)>),
    LogNormal {
        median: f64,
        sigma: f64,
    },
}

impl Sizes {
    /// The size of this key's value.
    #[inline]
    pub fn of(&self, key: u64) -> usize {
        match self {
            Sizes::Fixed(n) => *n,
            Sizes::Range(from, to) => from + draw(key).below((to - from) as u64 + 1) as usize,
            Sizes::Weighted(sizes) => {
                let r = draw(key).below(sizes.last().map_or(1, |s| s.1));
                sizes.iter().find(|s| r < s.1).map_or(0, |s| s.0)
            }
            Sizes::LogNormal { median, sigma } => {
                let mut rng = draw(key);
                // Box and Muller: two uniform numbers make a normal one.
                let normal = (-2.0 * rng.unit().ln()).sqrt() * (std::f64::consts::TAU * rng.unit()).cos();
                (median * (sigma * normal).exp()).min(median * TAIL_MAX) as usize
            }
        }
    }

    /// No value is larger.
    pub fn largest(&self) -> usize {
        match self {
            Sizes::Fixed(n) | Sizes::Range(_, n) => *n,
            Sizes::Weighted(sizes) => sizes.iter().map(|s| s.0).max().unwrap_or(0),
            Sizes::LogNormal { median, .. } => (median * TAIL_MAX) as usize,
        }
    }

    /// The mean over many keys.
    pub fn mean(&self) -> f64 {
        match self {
            Sizes::Fixed(n) => *n as f64,
            _ => (0..MEAN_OF).map(|k| self.of(k) as f64).sum::<f64>() / MEAN_OF as f64,
        }
    }
}

fn draw(key: u64) -> Rng {
    Rng::new(scramble(key ^ 0x7369_7a65))
}

fn size(s: &str) -> Result<usize> {
    let n = if s == "0" { 0 } else { count(s)? };
    ensure!(n <= VALUE_SIZE_MAX as u64, "a value may have {VALUE_SIZE_MAX} bytes at most");
    Ok(n as usize)
}

impl FromStr for Sizes {
    type Err = anyhow::Error;

    fn from_str(s: &str) -> Result<Self> {
        if let Some(law) = s.strip_prefix("lognormal:") {
            let (median, sigma) = law.split_once(':').context("lognormal:MEDIAN:SIGMA")?;
            let sigma: f64 = sigma.parse().with_context(|| format!("not a number: {sigma}"))?;
            ensure!((0.0..=4.0).contains(&sigma), "the sigma of a log-normal law is from 0 to 4 here");
            let median = size(median)? as f64;
            ensure!(median * TAIL_MAX <= VALUE_SIZE_MAX as f64, "too large a median: {s}");
            return Ok(Sizes::LogNormal { median, sigma });
        }
        if s.contains('=') {
            let mut sum = 0;
            let mut sizes = Vec::new();
            for part in s.split(',') {
                let (bytes, weight) = part.split_once('=').with_context(|| format!("SIZE=WEIGHT: {part}"))?;
                let weight: u64 = weight.parse().with_context(|| format!("not a weight: {weight}"))?;
                ensure!(weight <= 1_000_000, "a weight may be 1000000 at most");
                sum += weight;
                sizes.push((size(bytes)?, sum));
            }
            ensure!(sum > 0, "all weights are 0: {s}");
            return Ok(Sizes::Weighted(sizes));
        }
        match s.split_once('-') {
            None => Ok(Sizes::Fixed(size(s)?)),
            Some((from, to)) => {
                let (from, to) = (size(from)?, size(to)?);
                if from > to {
                    bail!("a range of sizes goes upwards: {s}");
                }
                Ok(Sizes::Range(from, to))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_their_law() {
        let of = |s: &str| s.parse::<Sizes>().unwrap();
        assert_eq!(of("64"), Sizes::Fixed(64));
        assert_eq!(of("0").of(9), 0);
        let range = of("32-96");
        assert!((0..1000).all(|k| (32..=96).contains(&range.of(k))));
        assert!((range.mean() - 64.0).abs() < 1.0, "{}", range.mean());
        let weighted = of("10=3,1k=1");
        let large = (0..10_000).filter(|&k| weighted.of(k) == 1000).count();
        assert!((2_300..2_700).contains(&large), "{large}");
        let log = of("lognormal:100:0.5");
        let above = (0..10_000).filter(|&k| log.of(k) >= 100).count();
        assert!((4_800..5_200).contains(&above), "{above}");
        assert!((0..10_000).all(|k| log.of(k) <= log.largest()));
        assert_eq!(log.of(7), log.of(7));
    }

    #[test]
    fn bad_laws_are_refused() {
        for bad in ["", "-", "9-", "9-1", "70M", "1=", "1=0", "=1", "lognormal:", "lognormal:1:9", "x"] {
            assert!(bad.parse::<Sizes>().is_err(), "{bad}");
        }
    }
}
