//! Keys and fields that come due on a worker: worked off in slices between its batches.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Runner;
use crate::clock;
use crate::delivery;
use crate::effects::ended::Reason;
use crate::expiry::Gone;
use crate::observe::buckets::Buckets;
use crate::observe::latency::EXPIRE_CYCLE;

/// Microseconds of expiry between two looks at the connections: about what they themselves take of a turn under load, so a
/// flood of expiries adds some 100 µs to a request. With 200 it was worked off a tenth sooner, at 100 µs more for each.
const SLICE_US: u64 = 100;

/// What a slice of expiry leaves.
pub enum Slice {
    /// More is due.
    More,
    /// Nothing may be deleted now, although something may be due.
    HeldBack,
    /// Nothing is due before this time (Unix ms), if ever.
    Until(Option<u64>),
}

impl Runner {
    /// A slice of what is due; if that was all, it sets when the next one is.
    pub fn expire_slice(&mut self) -> Slice {
        self.expiry_sleeps = false;
        assert!(!std::mem::take(&mut self.lane.local.panic_in_expiry), "asked for by DEBUG FAULT");
        let shared = &self.shared;
        let held_back = !shared.active_expire.load(Relaxed) || shared.pause.active(clock::now_ms()).is_some();
        if !held_back && self.expire(SLICE_US) {
            return Slice::More;
        }
        let next = self.lane.expiry.next_deadline();
        self.sleeping_until = next.unwrap_or(u64::MAX);
        self.lane.expiry.forget_earliest();
        if held_back && next.is_some() {
            return Slice::HeldBack;
        }
        self.expiry_sleeps = true;
        Slice::Until(next)
    }

    /// Between two clients' requests: if what the expiry task sleeps for has come due, a first slice is worked off here. The
    /// task itself stands behind everybody who waits: once until the alarm is seen, and once more until it has its turn. When
    /// requests have piled up that is milliseconds.
    #[inline]
    pub fn expire_if_due(&mut self) {
        if self.expiry_sleeps && self.moment.wall_us / 1000 >= self.sleeping_until {
            self.expire_first();
        }
    }

    #[cold]
    #[inline(never)]
    fn expire_first(&mut self) {
        // The alarm for this deadline goes off all the same: the task goes on where this stops.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.expire_slice())) {
            tracing::error!("expiry ended in a panic: {}", crate::server::connection::panic_text(&*payload));
        }
    }

    /// Works off due keys for at most `budget_us`. True if more is due.
    fn expire(&mut self, budget_us: u64) -> bool {
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

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::sync::Notify;

    use super::*;
    use crate::clients::NewClient;
    use crate::commands::session::Session;
    use crate::config::Config;
    use crate::keyspace::{Keyspace, Options};
    use crate::protocol::OutBuf;
    use crate::server::batch::Work;
    use crate::shared::Shared;
    use crate::values::Blob;

    fn run(runner: &mut Runner, session: &mut Session, request: &[&[u8]]) {
        let args = request.iter().map(|word| Blob::copy_from(word)).collect();
        runner.received(1);
        runner.run(session, &mut OutBuf::default(), Work::Kept(&[args]));
    }

    #[test]
    fn what_comes_due_while_requests_wait_does_not_wait_for_the_task() {
        let options = Options { reserve_bytes: 1 << 20, ..Options::default() };
        let shared = Arc::new(Shared::new(Config::default(), Keyspace::new(options).expect("a keyspace"), 1));
        let mut runner = Runner::new(Arc::clone(&shared), 0, Rc::new(Notify::new()));
        let new = NewClient { worker: 0, fd: 0, addr: "".into(), laddr: "".into(), unix: true, now_ms: 0 };
        let mut session = Session::new(shared.clients.admit(10, new).expect("a place"), true);
        let keys = |runner: &mut Runner| runner.participant.enter().len(0);

        run(&mut runner, &mut session, &[b"SET", b"far", b"v", b"EX", b"1000"]);
        let soon = clock::now_ms() + 2;
        run(&mut runner, &mut session, &[b"SET", b"soon", b"v", b"PXAT", soon.to_string().as_bytes()]);
        let Slice::Until(Some(at)) = runner.expire_slice() else { panic!("keys are to come due") };
        assert!(at <= soon + 1 || keys(&mut runner) == 1);
        // From now on the task has no turn.
        let last = clock::now_ms() + 20_000;
        while keys(&mut runner) == 2 && clock::now_ms() < last {
            run(&mut runner, &mut session, &[b"GET", b"other"]);
            runner.expire_if_due();
        }
        assert_eq!(keys(&mut runner), 1, "what is due went, the other one stays");
        assert!(runner.expiry_sleeps && runner.sleeping_until > soon + 1);
    }
}
