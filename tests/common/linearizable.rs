//! Is a recorded history linearizable: does each operation take effect at one moment between its
//! call and its return?
//!
//! A depth-first search over "what could have come next", with a memo of (operations done, state),
//! finds an order or proves that there is none. It is quick as long as few operations overlap.
#![allow(dead_code, reason = "each test crate uses its own part of this module")]

use std::collections::HashSet;
use std::hash::Hash;

/// What somebody did, and when: times are ticks of one counter.
#[derive(Clone, Copy, Debug)]
pub struct Event<O> {
    /// The operation with what it answered.
    pub what: O,
    /// Before it was asked for.
    pub called: u64,
    /// After its answer had come.
    pub returned: u64,
}

/// Whether some order that respects real time explains the history. `step` gives the state behind
/// an operation, or None if it cannot have answered so in this state.
pub fn is_linearizable<O: Clone, S: Clone + Eq + Hash>(
    events: &[Event<O>],
    start: S,
    step: impl Fn(&S, &O) -> Option<S>,
) -> bool {
    let mut events = events.to_vec();
    events.sort_by_key(|e| e.called);
    let mut seen = HashSet::new();
    // All before `low` are done, and of those behind it the set `done`; then the state.
    let mut stack = vec![(0_usize, Vec::<usize>::new(), start)];
    while let Some((low, done, state)) = stack.pop() {
        if low == events.len() {
            return true;
        }
        if !seen.insert((low, done.clone(), state.clone())) {
            continue;
        }
        let mut earliest_return = u64::MAX;
        for (i, event) in events.iter().enumerate().skip(low) {
            if event.called > earliest_return {
                break;
            }
            if done.contains(&i) {
                continue;
            }
            earliest_return = earliest_return.min(event.returned);
            let Some(after) = step(&state, &event.what) else { continue };
            let (mut low, mut done) = (low, done.clone());
            done.push(i);
            done.sort_unstable();
            while done.first() == Some(&low) {
                done.remove(0);
                low += 1;
            }
            stack.push((low, done, after));
        }
    }
    false
}
