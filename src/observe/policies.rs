//! Hits, misses and evictions by the policy that was in force.
//!
//! The request path counts them without asking for the policy. When that changes, what was counted until then is put
//! down to the old one.

use parking_lot::Mutex;

use crate::config::EvictionPolicy;

/// What a policy is judged by.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Score {
    /// Keys that reads found.
    pub hits: u64,
    /// Keys that they did not find.
    pub misses: u64,
    /// Keys evicted.
    pub evicted: u64,
}

impl Score {
    /// Share of hits, from 0 to 1; none before the first read.
    pub fn hit_ratio(&self) -> Option<f64> {
        let reads = self.hits + self.misses;
        (reads > 0).then(|| self.hits as f64 / reads as f64)
    }

    fn since(&self, base: &Score) -> Score {
        Score {
            hits: self.hits.saturating_sub(base.hits),
            misses: self.misses.saturating_sub(base.misses),
            evicted: self.evicted.saturating_sub(base.evicted),
        }
    }

    fn plus(&self, more: &Score) -> Score {
        Score {
            hits: self.hits + more.hits,
            misses: self.misses + more.misses,
            evicted: self.evicted + more.evicted,
        }
    }
}

#[derive(Default)]
struct Book {
    /// In force, and the counts when it came into force.
    current: Option<(EvictionPolicy, Score)>,
    closed: Vec<(EvictionPolicy, Score)>,
}

/// The policies that were in force since the start or CONFIG RESETSTAT.
#[derive(Default)]
pub struct Policies {
    book: Mutex<Book>,
}

impl Policies {
    /// From now on this policy is in force; `counted` gives the counts of the whole process.
    pub fn follow(&self, policy: EvictionPolicy, counted: impl FnOnce() -> Score) {
        let mut book = self.book.lock();
        if book.current.is_some_and(|(current, _)| current == policy) {
            return;
        }
        let counted = counted();
        book.close(&counted);
        book.current = Some((policy, counted));
    }

    /// Each policy with its counts; the one in force is last.
    pub fn scores(&self, counted: &Score) -> Vec<(EvictionPolicy, Score)> {
        let book = self.book.lock();
        let mut scores = book.closed.clone();
        if let Some((policy, base)) = book.current {
            let mut score = counted.since(&base);
            if let Some(i) = scores.iter().position(|(other, _)| *other == policy) {
                score = score.plus(&scores.remove(i).1);
            }
            scores.push((policy, score));
        }
        scores
    }

    /// CONFIG RESETSTAT: the counts begin at 0 again.
    pub fn reset(&self) {
        let mut book = self.book.lock();
        book.closed.clear();
        if let Some((_, base)) = &mut book.current {
            *base = Score::default();
        }
    }
}

impl Book {
    fn close(&mut self, counted: &Score) {
        let Some((policy, base)) = self.current.take() else { return };
        let score = counted.since(&base);
        match self.closed.iter_mut().find(|(other, _)| *other == policy) {
            Some((_, old)) => *old = old.plus(&score),
            None => self.closed.push((policy, score)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_to_the_policy_in_force() {
        use EvictionPolicy::{AllkeysArc, AllkeysLru};
        let counted = |hits, evicted| Score { hits, misses: 0, evicted };
        let policies = Policies::default();
        policies.follow(AllkeysLru, || counted(0, 0));
        policies.follow(AllkeysLru, || panic!("nothing changed"));
        policies.follow(AllkeysArc, || counted(10, 2));
        assert_eq!(
            policies.scores(&counted(15, 5)),
            [(AllkeysLru, counted(10, 2)), (AllkeysArc, counted(5, 3))]
        );
        policies.follow(AllkeysLru, || counted(15, 5));
        assert_eq!(
            policies.scores(&counted(16, 5)),
            [(AllkeysArc, counted(5, 3)), (AllkeysLru, counted(11, 2))]
        );
        policies.reset();
        assert_eq!(policies.scores(&counted(1, 1)), [(AllkeysLru, counted(1, 1))]);
        assert_eq!(Score::default().hit_ratio(), None);
        assert_eq!(Score { hits: 3, misses: 1, evicted: 0 }.hit_ratio(), Some(0.75));
    }
}
