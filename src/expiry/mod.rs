//! Expiry as an event: which keys are due, exactly when, at a cost that does not depend on how many are not.
//!
//! * [`wheel`]: the timer wheel, a data structure of hashes and ticks. Knows no key, no clock and no I/O.
//! * [`timers`]: a worker's wheels, and the slice in which it works off what is due, keys and fields of hashes.
//! * [`policy`]: when a deadline has passed, what a due item means for the entry that it finds, and what a changed
//!   deadline asks of the wheel. Pure functions.
//!
//! Lazy expiry is the truth: an entry whose deadline has passed is never served, whatever the wheel does. The wheel
//! turns that truth into an event (the deletion, its notification, its propagation) on time. So the wheel may lose
//! precision, carry stale items or come up too early, and is still right; it must only never forget a live deadline.

mod chunks;
pub mod identity;
mod levels;
pub mod policy;
pub mod timers;
pub mod wheel;

#[cfg(test)]
mod model;
#[cfg(all(test, not(miri)))]
mod slices;

pub use identity::Identities;
pub use policy::{Change, Timer, Verdict, is_past, judge, on_deadline_change};
pub use timers::{Expiry, Gone, Graveyard};
pub use wheel::{Due, Progress, Upkeep, Wheel};
