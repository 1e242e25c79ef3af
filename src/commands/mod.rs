//! The commands: what they are, how they are found and run, and one file per family.
//!
//! Architecture invariant: a handler takes no lock, reads no clock, writes to no socket and
//! notifies nobody. It reads arguments, changes the keys it was given, states what it did,
//! and replies.

pub mod args;
pub mod bitfield;
pub mod bitmap;
pub mod call;
pub mod client;
pub mod command;
pub mod connection;
pub mod ctx;
pub mod dispatch;
pub mod error;
pub mod expire;
pub mod generic;
pub mod keys;
pub mod keyspec;
pub mod lcs;
pub mod local;
pub mod long_double;
pub mod number;
pub mod pubsub;
pub mod scan;
pub mod session;
pub mod string;
pub mod table;
pub mod transaction;
pub mod ttl;

use command::Command;

/// Every family of commands.
pub static FAMILIES: &[&[Command]] = &[string::COMMANDS, connection::COMMANDS];
