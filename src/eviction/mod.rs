//! What is kept when memory is full: recency and frequency of access, and what goes by them.
//!
//! * [`access`]: the 16 access bits of an entry under the policies of Redis. Pure.
//! * [`arc`]: the same bits under the policy of our own, its ghosts and its balance.
//! * [`policy`]: the settings as rules, the score of an entry, the best candidates of a visit.
//! * [`walk`]: a slice of eviction: visit some entries in hash order, drop the best candidates.
//!
//! A hand walks each database in hash order. A slice visits about 128 entries, shard by shard
//! under its lock, and drops up to eight of them; each policy is a way to score an entry. So
//! the cost of a slice is bounded whatever the policy, both engines of a growing database are
//! walked alike (positions are in hash space), and no list or sample pool needs memory.
//!
//! Absent here on purpose: how much memory is in use and who asks for room (`memory`,
//! `commands::room`), who hears of evicted keys (the caller's [`walk::Sink`]).

pub mod access;
pub mod arc;
pub mod policy;
pub mod walk;

#[cfg(test)]
mod simulator;

pub use policy::Rules;
pub use walk::{Cause, Eviction, Freed, Sink};
