//! The settings as rules, how they score an entry, and the best candidates of a visit.

use crate::config::{Config, EvictionPolicy};
use crate::eviction::{access, arc};
use crate::keyspace::EntryRef;

/// By what entries are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Arc,
    Lru,
    Lfu { decay_minutes: u32 },
    Random,
    Ttl,
}

/// What may go, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    order: Order,
    /// Only keys with a deadline.
    volatile: bool,
    /// Entries that a slice visits.
    visits: usize,
}

/// Entries that a slice visits with `maxmemory-samples 5`, its default.
const VISITS: usize = 128;
const SAMPLES: usize = 5;
/// Victims of a slice.
pub const VICTIMS: usize = 8;

impl Rules {
    /// The rules in force; none with `noeviction`.
    pub fn of(config: &Config) -> Option<Rules> {
        use EvictionPolicy::*;
        let (order, volatile) = match config.maxmemory_policy {
            Noeviction => return None,
            AllkeysArc => (Order::Arc, false),
            AllkeysLru => (Order::Lru, false),
            VolatileLru => (Order::Lru, true),
            AllkeysLfu => (Order::Lfu { decay_minutes: config.lfu_decay_time }, false),
            VolatileLfu => (Order::Lfu { decay_minutes: config.lfu_decay_time }, true),
            AllkeysRandom => (Order::Random, false),
            VolatileRandom => (Order::Random, true),
            VolatileTtl => (Order::Ttl, true),
        };
        let samples = usize::try_from(config.maxmemory_samples).unwrap_or(SAMPLES);
        Some(Rules { order, volatile, visits: (VISITS * samples / SAMPLES).max(2 * VICTIMS) })
    }

    /// Whether the balance of classes decides.
    pub fn is_arc(&self) -> bool {
        self.order == Order::Arc
    }

    /// Whether only keys with a deadline may go.
    pub fn is_volatile(&self) -> bool {
        self.volatile
    }

    /// Entries that a slice visits.
    pub fn visits(&self) -> usize {
        // A random choice needs no choice among many.
        if self.order == Order::Random { 2 * VICTIMS } else { self.visits }
    }

    /// The score of an entry that may go: the higher, the sooner.
    #[inline]
    pub fn score(
        &self,
        entry: &EntryRef<'_>,
        at: Now,
        random: &mut fastrand::Rng,
        hash: impl FnOnce() -> u64,
    ) -> Scored {
        let bits = entry.access();
        let one = |score: u64| Scored { score, t2: false, rewrite: None };
        match self.order {
            Order::Arc => {
                let t2 = arc::is_t2(bits);
                let (spared, chance) = (at.lean.spared(t2, hash), at.lean.chance(t2, random));
                let sight = arc::look(bits, at.tick, spared, chance);
                Scored { score: sight.score.into(), t2: sight.t2, rewrite: sight.rewrite }
            }
            Order::Lru => one(access::idle_seconds(bits, at.ms)),
            Order::Lfu { decay_minutes } => {
                one((u8::MAX - access::frequency(bits, at.ms, decay_minutes)).into())
            }
            Order::Random => one(random.u64(..)),
            Order::Ttl => one(u64::MAX - entry.deadline().unwrap_or(u64::MAX)),
        }
    }
}

/// The clocks of a slice.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Unix milliseconds.
    pub ms: u64,
    /// Tick of the adaptive policy.
    pub tick: u8,
    /// What else the adaptive policy ranks by.
    pub lean: arc::Lean,
}

/// What the rules make of an entry.
#[derive(Debug, Clone, Copy)]
pub struct Scored {
    /// The higher, the sooner it goes.
    pub score: u64,
    /// Class of the adaptive policy; others have one class.
    pub t2: bool,
    /// Access bits to store instead.
    pub rewrite: Option<u16>,
}

/// A key that may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The higher, the sooner.
    pub score: u64,
    /// Its hash.
    pub hash: u64,
    /// Its access bits when it was seen.
    pub bits: u16,
}

/// The best candidates of a class, best last.
#[derive(Debug, Default)]
pub struct Best {
    kept: smallvec::SmallVec<[Candidate; VICTIMS]>,
}

impl Best {
    /// Whether a candidate with this score would be kept.
    #[inline]
    pub fn wants(&self, score: u64) -> bool {
        self.kept.len() < VICTIMS || score > self.kept[0].score
    }

    /// Keeps a candidate, and lets the worst go.
    pub fn offer(&mut self, candidate: Candidate) {
        let at = self.kept.partition_point(|kept| kept.score < candidate.score);
        if self.kept.len() < VICTIMS {
            self.kept.insert(at, candidate);
        } else if at > 0 {
            self.kept[..at].rotate_left(1);
            self.kept[at - 1] = candidate;
        }
    }

    /// Takes the best.
    pub fn pop(&mut self) -> Option<Candidate> {
        self.kept.pop()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_in_order() {
        let mut best = Best::default();
        for score in [5, 1, 9, 3, 7, 2, 8, 4, 6, 10, 0] {
            if best.wants(score) {
                best.offer(Candidate { score, hash: score, bits: 0 });
            }
        }
        let order: Vec<u64> = std::iter::from_fn(|| best.pop()).map(|c| c.score).collect();
        assert_eq!(order, [10, 9, 8, 7, 6, 5, 4, 3]);
    }

    #[test]
    fn rules_follow_the_settings() {
        let rules = |policy, samples| {
            Rules::of(&Config { maxmemory_policy: policy, maxmemory_samples: samples, ..Config::default() })
        };
        assert_eq!(rules(EvictionPolicy::Noeviction, 5), None);
        let lru = rules(EvictionPolicy::AllkeysLru, 5).unwrap();
        assert_eq!((lru.visits(), lru.is_volatile()), (128, false));
        assert_eq!(rules(EvictionPolicy::VolatileTtl, 10).unwrap().visits(), 256);
        assert_eq!(rules(EvictionPolicy::AllkeysRandom, 10).unwrap().visits(), 16);
        assert!(rules(EvictionPolicy::AllkeysArc, 1).unwrap().is_arc());
    }
}
