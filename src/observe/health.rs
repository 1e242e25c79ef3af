//! Whether this server should get requests: what `/readyz` asks.

use crate::observe::snapshot::Snapshot;

/// How long memory may be over its limit before the server counts as not ready, in milliseconds.
const OVER_THE_LIMIT_MAX_MS: u64 = 5_000;

/// One thing that must be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name, by which a probe may leave it out.
    pub name: &'static str,
    /// Why it is not so.
    pub failure: Option<String>,
}

/// All checks, passed or not.
pub fn checks(now: &Snapshot) -> Vec<Check> {
    let failed = |bad: bool, why: &str| bad.then(|| why.to_owned());
    vec![
        Check { name: "started", failure: failed(!now.serving, "the workers are not running yet") },
        Check { name: "running", failure: failed(now.ending, "the server is shutting down") },
        Check { name: "memory", failure: memory(now) },
    ]
}

fn memory(now: &Snapshot) -> Option<String> {
    let memory = &now.memory;
    if memory.entries_nearly_full {
        return Some("the space reserved for keys is full".to_owned());
    }
    let over = memory.limit != 0 && memory.counted > memory.limit;
    (over && memory.exceeded_ms >= OVER_THE_LIMIT_MAX_MS)
        .then(|| format!("over maxmemory for {} s: writes are refused", memory.exceeded_ms / 1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::snapshot::MemoryFigures;

    #[test]
    fn memory_counts_only_while_it_is_over_the_limit() {
        let mut now = Snapshot { serving: true, ..Snapshot::default() };
        assert!(checks(&now).iter().all(|check| check.failure.is_none()));
        now.memory = MemoryFigures { limit: 10, counted: 11, exceeded_ms: 6_000, ..MemoryFigures::default() };
        assert!(memory(&now).expect("over").contains("for 6 s"));
        now.memory.counted = 10;
        assert_eq!(memory(&now), None, "nobody asked for room since");
        now.memory.entries_nearly_full = true;
        assert!(memory(&now).is_some());
        now.ending = true;
        assert_eq!(checks(&now).iter().filter(|check| check.failure.is_some()).count(), 2);
    }
}
