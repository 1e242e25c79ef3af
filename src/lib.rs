//! tandem: a dual-engine elastic cache sidecar that speaks the Redis protocol.
//!
//! The modules, in the order in which a request meets them:
//!
//! * [`server`]: listeners, workers, connections. Bytes in, bytes out.
//! * [`protocol`]: RESP2 and RESP3 as values; no I/O.
//! * [`commands`]: the table of commands, dispatch, one file per family.
//! * [`keyspace`]: databases, the two engines, shards, packed entries, migration.
//! * [`values`]: the data types; know no key. [`rdb`]: values as bytes, as in RDB files.
//! * [`expiry`]: timers; [`eviction`]: recency and frequency.
//! * [`effects`]: what a command did becomes what others hear of; [`events`]: who they are.
//! * [`blocking`]: clients that wait for a key.
//! * [`config`], [`observe`], [`clients`], [`shared`], [`memory`], [`clock`]: what all of these use.
//! * [`top`]: a client, for a terminal; none of the others knows it.
#![warn(missing_docs)]

/// The version of Redis whose behaviour this is, as clients are told it.
pub const REDIS_VERSION: &str = "7.2.4";

pub mod blocking;
pub mod clients;
pub mod clock;
pub mod commands;
pub mod config;
pub mod delivery;
pub mod effects;
pub mod error;
pub mod events;
pub mod eviction;
pub mod expiry;
pub mod glob;
pub mod keys;
pub mod keyspace;
pub mod memory;
pub mod observe;
pub mod protocol;
pub mod rdb;
pub mod server;
pub mod shared;
pub mod sys;
pub mod top;
pub mod values;
