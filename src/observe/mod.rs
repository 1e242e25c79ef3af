//! What the on-call sees: INFO, counters, slow log, latency events, log lines.

pub mod info;
pub mod latency;
pub mod log;
pub mod sampler;
pub mod slowlog;
pub mod stats;
