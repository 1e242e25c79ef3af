//! When the helper thread walks the keyspace to pack small collections that are left alone (`keyspace/pack.rs`).
//!
//! The first collection that comes out of line after a walk wakes the helper, which looks a few seconds later whether
//! there are enough for another one: a walk looks at each key. Its slices are short, and what they take of the thread and how often
//! there is a walk at all are bounded, so that keys which are written all the time cost next to nothing.

use std::time::Duration;

use crate::clock;
use crate::keyspace::{Loose, PackWalk, Participant};
use crate::shared::Shared;

/// A collection is left alone if nobody changes it for so long.
const ALONE: Duration = Duration::from_secs(5);
/// A walk begins if one key in so many may be packed, and so many at least.
const WORTH_ONE_IN: usize = 64;
const WORTH_MIN: usize = 32;
/// Longest slice of a walk, of which each lock takes a small part, and how many times as long the helper rests after it.
const SLICE_US: u64 = 200;
const RESTS: u32 = 7;
/// Between two walks is so many times what the last one took.
const WALKS_APART: u32 = 100;

#[derive(Default)]
enum State {
    /// Nothing is out of line that was not there after the last walk.
    #[default]
    AtRest,
    /// Some are: a look when the time has come.
    Waiting,
    Walking(PackWalk),
}

/// The helper's part.
#[derive(Default)]
pub struct Packer {
    state: State,
    /// No look, and no slice, before this time.
    not_before_ns: u64,
    /// What the present walk has taken so far.
    took: Duration,
    /// Collections out of line that the last walk could not pack.
    stuck: usize,
}

impl Packer {
    /// A slice, if there is something to do; how long to rest before the next one.
    pub fn step(&mut self, shared: &Shared, who: &mut Participant) -> Option<Duration> {
        let now = clock::mono_ns();
        if matches!(self.state, State::AtRest) && shared.keyspace.take_loosened() {
            self.state = State::Waiting;
            self.not_before_ns = self.not_before_ns.max(now + nanos(ALONE));
        }
        if matches!(self.state, State::AtRest) {
            return None;
        }
        if now < self.not_before_ns {
            return Some(Duration::from_nanos(self.not_before_ns - now));
        }
        match &mut self.state {
            State::AtRest => None,
            State::Waiting => {
                shared.keyspace.take_loosened();
                let loose = shared.keyspace.loose(who);
                self.state = if is_worth_a_walk(loose, self.stuck) {
                    self.took = Duration::ZERO;
                    State::Walking(PackWalk::default())
                } else {
                    State::AtRest
                };
                self.rest(Duration::ZERO)
            }
            State::Walking(walk) => {
                let goes_on = shared.keyspace.pack(who, walk, SLICE_US);
                let took = Duration::from_nanos(clock::mono_ns() - now);
                self.took += took;
                if goes_on {
                    return self.rest((took * RESTS).max(Duration::from_micros(SLICE_US)));
                }
                let walk = *walk;
                self.walked(shared, who, walk)
            }
        }
    }

    /// A walk is at its end.
    fn walked(&mut self, shared: &Shared, who: &mut Participant, walk: PackWalk) -> Option<Duration> {
        let loose = shared.keyspace.loose(who);
        self.stuck = loose.collections.saturating_sub(walk.later);
        // What was freed here may leave pages mostly unused.
        shared.helper.fragmented.ring();
        tracing::debug!(
            "{} small collections packed, {} changed meanwhile, {} out of line; took {:?}",
            walk.packed,
            walk.later,
            loose.collections,
            self.took
        );
        let next = ALONE.max(self.took * WALKS_APART);
        self.state = if is_worth_a_walk(loose, self.stuck) { State::Waiting } else { State::AtRest };
        self.rest(next)
    }

    /// Rests for so long, or without an end if there is nothing to do then.
    fn rest(&mut self, rest: Duration) -> Option<Duration> {
        self.not_before_ns = clock::mono_ns() + nanos(rest);
        (!matches!(self.state, State::AtRest)).then_some(rest)
    }

    /// MEMORY PURGE: all that may be packed, at once. The first of two walks may only find what was changed lately.
    pub fn at_once(&mut self, shared: &Shared, who: &mut Participant) {
        for _ in 0..2 {
            let mut walk = PackWalk::default();
            while !shared.keyspace.is_migrating() && shared.keyspace.pack(who, &mut walk, SLICE_US) {}
        }
    }
}

fn is_worth_a_walk(loose: Loose, stuck: usize) -> bool {
    loose.collections.saturating_sub(stuck) >= WORTH_MIN.max(loose.keys / WORTH_ONE_IN)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_is_for_many_keys() {
        let loose = |keys, collections| Loose { keys, collections };
        assert!(!is_worth_a_walk(loose(1_000_000, 500), 0));
        assert!(is_worth_a_walk(loose(1_000_000, 16_000), 0));
        assert!(!is_worth_a_walk(loose(1_000_000, 16_000), 10_000), "most of them cannot be packed");
        assert!(is_worth_a_walk(loose(40, 40), 0));
        assert!(!is_worth_a_walk(loose(5, 5), 0));
        assert!(!is_worth_a_walk(loose(100, 10), 50), "large ones have gone since");
    }
}
