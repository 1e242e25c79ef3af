//! Who hears of what: channels, patterns, sharded channels, client-side caches, watched keys, and the monitors.
//!
//! Architecture invariant: events know clients only as mailboxes. A message is appended to
//! a mailbox and its owner's worker is woken; nobody waits for a reader here.

pub mod feeds;
pub mod message;
pub mod monitor;
mod names;
pub mod outbox;
mod patterns;
mod prefixes;
pub mod pubsub;
pub mod tracking;
pub mod watch;

pub use feeds::Feeds;
pub use pubsub::{PubSub, Scope, Subscriptions};
pub use tracking::Tracking;
