//! Which key comes next: a small random generator and the distributions over key numbers.

use std::cell::Cell;
use std::rc::Rc;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use crate::hitratio::TraceSpec;
use crate::tide::Tide;

/// A recorded trace is cut after so many requests.
const TRACE_MAX: u64 = 50_000_000;

/// Splitmix64: one multiply chain per number, plenty for choosing keys.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }

    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble(self.0)
    }

    /// A number below `n` (`n` > 0), by multiplication instead of division.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// A number in (0, 1]: never zero, so that its logarithm exists.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        ((self.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }
}

/// The finaliser of splitmix64: a bijection that spreads every bit.
#[inline]
pub fn scramble(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A distribution as the user names it.
#[derive(Debug, Clone, PartialEq)]
pub enum Dist {
    Uniform,
    Zipf(f64),
    Sequential,
    /// So many percent of the keys get so many percent of the requests.
    Hot(f64, f64),
    /// The order of a recorded trace, over and over.
    Trace(Arc<Vec<u32>>),
}

impl FromStr for Dist {
    type Err = anyhow::Error;

    fn from_str(s: &str) -> Result<Self> {
        match s.split_once(':') {
            None if s == "uniform" => Ok(Dist::Uniform),
            None if s == "sequential" => Ok(Dist::Sequential),
            None if s == "zipf" => Ok(Dist::Zipf(1.0)),
            Some(("zipf", exponent)) => match exponent.parse::<f64>() {
                Ok(e) if e > 0.0 && e <= 10.0 => Ok(Dist::Zipf(e)),
                _ => bail!("zipf:S needs an exponent above 0 and up to 10"),
            },
            Some(("hot", shares)) => {
                let (keys, requests) = shares.split_once(':').context("hot:KEYS%:REQUESTS%")?;
                let percent = |s: &str| s.trim_end_matches('%').parse::<f64>().ok();
                match (percent(keys), percent(requests)) {
                    (Some(k), Some(r)) if k > 0.0 && k < 100.0 && (0.0..=100.0).contains(&r) => {
                        Ok(Dist::Hot(k, r))
                    }
                    _ => bail!("hot:KEYS%:REQUESTS% needs two percentages, as hot:10:90"),
                }
            }
            Some(("trace", file)) => {
                let trace = format!("trace={file}").parse::<TraceSpec>()?.build(1, TRACE_MAX, 1)?;
                Ok(Dist::Trace(Arc::new(trace.requests)))
            }
            _ => bail!(
                "a distribution is uniform, sequential, zipf:EXPONENT, hot:KEYS%:REQUESTS% or trace:FORMAT:FILE, \
                 not '{s}'"
            ),
        }
    }
}

/// Source of key numbers. `live` is shared by the generators of one thread, so that one of
/// them may add keys while another reads those that are there.
pub enum Picker {
    Uniform,
    Zipf(Zipf),
    /// `next`, then `next + step` and so on, wrapping at the number of keys.
    Sequential {
        next: u64,
        step: u64,
    },
    /// The first `share` of the keys with a chance of `often` in 2^64, else one of the others.
    Hot {
        share: f64,
        often: u64,
    },
    Trace {
        requests: Arc<Vec<u32>>,
        next: usize,
        step: usize,
    },
    /// A key that did not exist yet; raises `live`.
    Append,
    /// The newest key; lowers `live`.
    Pop,
    /// The next key of a tide to write or to delete.
    Move(Rc<Tide>),
    /// A random key that the tide has left there.
    There(Rc<Tide>),
}

impl Picker {
    /// `part` of `parts`: sequential threads take interleaved keys, so that together they take all.
    pub fn new(dist: &Dist, keys: u64, part: u64, parts: u64) -> Self {
        match dist {
            Dist::Uniform => Picker::Uniform,
            Dist::Zipf(exponent) => Picker::Zipf(Zipf::new(keys, *exponent)),
            Dist::Hot(share, often) => {
                Picker::Hot { share: share / 100.0, often: (often / 100.0 * u64::MAX as f64) as u64 }
            }
            Dist::Trace(requests) => {
                Picker::Trace { requests: requests.clone(), next: part as usize, step: parts as usize }
            }
            Dist::Sequential => Picker::Sequential { next: part, step: parts },
        }
    }

    #[inline]
    pub fn pick(&mut self, rng: &mut Rng, live: &Rc<Cell<u64>>) -> u64 {
        match self {
            Picker::Uniform => rng.below(live.get().max(1)),
            Picker::Zipf(zipf) => zipf.sample(rng) - 1,
            Picker::Sequential { next, step } => {
                let n = *next;
                *next = n + *step;
                n % live.get().max(1)
            }
            Picker::Hot { share, often } => {
                let all = live.get().max(1);
                let hot = ((all as f64 * *share) as u64).clamp(1, all);
                if rng.next_u64() <= *often || hot == all {
                    rng.below(hot)
                } else {
                    hot + rng.below(all - hot)
                }
            }
            Picker::Trace { requests, next, step } => {
                let key = requests[*next % requests.len()];
                *next += *step;
                u64::from(key) % live.get().max(1)
            }
            Picker::Append => live.replace(live.get() + 1),
            Picker::Pop => {
                let top = live.get().saturating_sub(1);
                live.set(top);
                top
            }
            Picker::Move(tide) => tide.next(),
            Picker::There(tide) => tide.any(rng),
        }
    }
}

/// Zipf over 1..=n by rejection-inversion (Hörmann and Derflinger 1996): constant time, no
/// tables, any exponent above zero.
#[derive(Debug, Clone)]
pub struct Zipf {
    n: f64,
    exponent: f64,
    h_first: f64,
    h_last: f64,
    squeeze: f64,
}

impl Zipf {
    pub fn new(n: u64, exponent: f64) -> Self {
        let mut z = Zipf { n: n.max(1) as f64, exponent, h_first: 0.0, h_last: 0.0, squeeze: 0.0 };
        z.h_first = z.integral(1.5) - 1.0;
        z.h_last = z.integral(z.n + 0.5);
        z.squeeze = 2.0 - z.integral_inverse(z.integral(2.5) - z.weight(2.0));
        z
    }

    fn weight(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// The integral of the weight, normalised so that exponent 1 is its limit (the logarithm).
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        expm1_over((1.0 - self.exponent) * log) * log
    }

    fn integral_inverse(&self, x: f64) -> f64 {
        let t = (x * (1.0 - self.exponent)).max(-1.0);
        (ln1p_over(t) * x).exp()
    }

    pub fn sample(&self, rng: &mut Rng) -> u64 {
        loop {
            let u = self.h_last + rng.unit() * (self.h_first - self.h_last);
            let x = self.integral_inverse(u);
            let k = (x + 0.5).floor().clamp(1.0, self.n);
            if k - x <= self.squeeze || u >= self.integral(k + 0.5) - self.weight(k) {
                return k as u64;
            }
        }
    }
}

/// (e^x - 1) / x, with its limit at zero.
fn expm1_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.exp_m1() / x } else { 1.0 + x / 2.0 }
}

/// ln(1 + x) / x, with its limit at zero.
fn ln1p_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.ln_1p() / x } else { 1.0 - x / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_distributions() {
        assert_eq!("uniform".parse::<Dist>().unwrap(), Dist::Uniform);
        assert_eq!("zipf:0.9".parse::<Dist>().unwrap(), Dist::Zipf(0.9));
        assert_eq!("hot:10:90%".parse::<Dist>().unwrap(), Dist::Hot(10.0, 90.0));
        for bad in
            ["zipf:", "zipf:0", "zipf:-1", "zipf:nan", "hot", "hot:1", "hot:0:1", "uniform:1", "trace:x"]
        {
            assert!(bad.parse::<Dist>().is_err(), "{bad}");
        }
    }

    #[test]
    fn zipf_frequencies_follow_the_law() {
        for exponent in [0.7, 1.0, 1.3] {
            let (n, draws) = (100u64, 400_000);
            let zipf = Zipf::new(n, exponent);
            let mut rng = Rng::new(7);
            let mut seen = vec![0u64; n as usize + 1];
            for _ in 0..draws {
                seen[zipf.sample(&mut rng) as usize] += 1;
            }
            let total: f64 = (1..=n).map(|k| (k as f64).powf(-exponent)).sum();
            for k in [1u64, 2, 10, 100] {
                let want = (k as f64).powf(-exponent) / total * draws as f64;
                let got = seen[k as usize] as f64;
                assert!((got - want).abs() < 5.0 * want.sqrt() + 1.0, "s={exponent} k={k}: {got} for {want}");
            }
        }
    }

    #[test]
    fn interleaved_sequences_cover_every_key_once() {
        let live = Rc::new(Cell::new(10));
        let mut rng = Rng::new(1);
        let mut seen = vec![0; 10];
        for part in 0..2 {
            let mut picker = Picker::new(&Dist::Sequential, 10, part, 2);
            for _ in 0..5 {
                seen[picker.pick(&mut rng, &live) as usize] += 1;
            }
        }
        assert_eq!(seen, vec![1; 10]);
    }

    #[test]
    fn hot_keys_and_traces() {
        let live = Rc::new(Cell::new(100));
        let mut rng = Rng::new(1);
        let mut hot = Picker::new(&Dist::Hot(10.0, 90.0), 100, 0, 1);
        let picked: Vec<u64> = (0..10_000).map(|_| hot.pick(&mut rng, &live)).collect();
        let often = picked.iter().filter(|&&k| k < 10).count();
        assert!((8_800..9_200).contains(&often) && picked.iter().all(|&k| k < 100), "{often}");
        let mut trace = Picker::new(&Dist::Trace(Arc::new(vec![3, 105, 7])), 100, 1, 2);
        let picked: Vec<u64> = (0..3).map(|_| trace.pick(&mut rng, &live)).collect();
        assert_eq!(picked, [5, 3, 7]);
    }

    #[test]
    fn append_and_pop_move_the_end() {
        let live = Rc::new(Cell::new(5));
        let mut rng = Rng::new(1);
        assert_eq!(Picker::Append.pick(&mut rng, &live), 5);
        assert_eq!(live.get(), 6);
        assert_eq!(Picker::Pop.pick(&mut rng, &live), 5);
        assert_eq!(live.get(), 5);
    }

    #[test]
    fn below_stays_below() {
        let mut rng = Rng::new(3);
        assert!((0..10_000).all(|_| rng.below(7) < 7));
        assert!((0..10_000).map(|_| rng.unit()).all(|u| u > 0.0 && u <= 1.0));
    }
}
