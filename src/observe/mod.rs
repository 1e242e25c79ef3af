//! What the on-call sees: counters, slow log, latency events, log lines.

pub mod slowlog;
pub mod stats;
