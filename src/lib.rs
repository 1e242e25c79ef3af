//! tandem: a dual-engine elastic cache sidecar that speaks the Redis protocol.
#![warn(missing_docs)]

pub mod config;
pub mod expiry;
pub mod glob;
pub mod keyspace;
pub mod protocol;
pub mod values;
