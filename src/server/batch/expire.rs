//! Keys and fields that come due on a worker: worked off in slices between its batches.

use std::sync::Arc;

use super::Runner;
use crate::clock;
use crate::delivery;
use crate::effects::ended::Reason;
use crate::expiry::Gone;
use crate::observe::buckets::Buckets;
use crate::observe::latency::EXPIRE_CYCLE;

impl Runner {
    /// The expiry task is going to sleep until this deadline.
    pub fn wake_for(&mut self, deadline: Option<u64>) {
        self.sleeping_until = deadline.unwrap_or(u64::MAX);
        self.lane.expiry.forget_earliest();
    }

    /// Works off due keys for at most `budget_us`. True if more is due.
    pub fn expire(&mut self, budget_us: u64) -> bool {
        let now = clock::now_ms();
        if self.shared.pause.active(now).is_some() {
            return false;
        }
        let shared = Arc::clone(&self.shared);
        let (begun, cpu_begun) = (clock::mono_ns(), clock::thread_cpu_ns());
        let turn = self.expiry_turn_began.take().map(|before| cpu_begun - before);
        let (mut keys, mut fields) = (0, 0);
        let mut lateness = Lateness::new();
        let more = {
            let batch = self.participant.enter();
            let lane = &mut self.lane;
            lane.expiry.run(&batch, now, budget_us, &mut lane.graveyard, &mut |db, entry, gone| match gone {
                Gone::Key => {
                    keys += 1;
                    lateness.note(entry.deadline());
                    delivery::expired(&shared, db, &entry, Reason::Timer, now);
                }
                Gone::Fields { count, all, fields: names } => {
                    fields += count as u64;
                    delivery::fields_expired(&shared, db, &entry, all, names, now);
                }
            })
        };
        if more {
            self.expiry_turn_began = Some(cpu_begun);
        }
        if keys + fields > 0 {
            let cpu_ns = clock::thread_cpu_ns() - cpu_begun;
            let mut counters = shared.stats.lane(self.lane.local.worker);
            counters.expiry_cpu_ns += cpu_ns;
            counters.expiry_cut_short += u64::from(more);
            if let Some(turn) = turn {
                counters.expiry_turns.record(turn);
                counters.expiry_turn_longest_ns = counters.expiry_turn_longest_ns.max(turn);
            }
            counters.expired_keys += keys;
            counters.expired_fields += fields;
            counters.dirty += keys + fields;
            counters.lateness.add(&lateness.buckets);
            drop(counters);
            let threshold = shared.config.load().latency_monitor_threshold;
            let micros = (clock::mono_ns() - begun) / 1000;
            shared.latency.note(EXPIRE_CYCLE, micros, threshold, || now);
        }
        self.serve_ready();
        self.after(now);
        more
    }
}

/// How late the keys of one slice of expiry are: a key lives through the millisecond of its deadline, so from its end on.
struct Lateness {
    buckets: Buckets,
    keys: u32,
    now_us: u64,
}

impl Lateness {
    /// Keys between two readings of the clock.
    const KEYS: u32 = 16;

    fn new() -> Lateness {
        Lateness { buckets: Buckets::default(), keys: 0, now_us: 0 }
    }

    fn note(&mut self, deadline_ms: Option<u64>) {
        let Some(deadline_ms) = deadline_ms else { return };
        if self.keys.is_multiple_of(Self::KEYS) {
            self.now_us = clock::now_us();
        }
        self.keys = self.keys.wrapping_add(1);
        self.buckets.record(self.now_us.saturating_sub((deadline_ms + 1) * 1000) * 1000);
    }
}
