//! What the on-call sees: INFO, counters, slow log, latency events, log lines, and an HTTP endpoint for probes and metrics.

pub mod buckets;
pub mod health;
pub mod http;
pub mod info;
pub mod latency;
pub mod log;
pub mod metrics;
pub mod policies;
pub mod sampler;
pub mod slowlog;
pub mod snapshot;
pub mod stats;

/// What is known of a command by its dense number. Who gathers figures is given it, as nothing here knows commands.
#[derive(Clone, Copy)]
pub struct Commands {
    /// Its full name.
    pub name: fn(u16) -> std::borrow::Cow<'static, str>,
    /// The family that it belongs to.
    pub family: fn(u16) -> &'static str,
}
