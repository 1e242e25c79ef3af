//! The time of commands: the clock is read once per part of a batch, and what passed is divided among
//! the commands of that part.

use smallvec::SmallVec;

use crate::clock;
use crate::commands::args::Source;
use crate::commands::call::Env;
use crate::commands::local::{Lane, Tally};
use crate::commands::session::Session;
use crate::commands::table;
use crate::commands::timing;
use crate::observe::stats::Counters;

/// Commands that ran since the clock was last read.
pub(super) struct Segment {
    /// Monotonic nanoseconds.
    pub(super) began_ns: u64,
    /// The last one, and how often it ran in a row.
    last: u16,
    run: u32,
    /// Those before, and how many of each.
    each: SmallVec<[(u16, u32); 4]>,
}

impl Segment {
    pub(super) fn new(began_ns: u64) -> Segment {
        Segment { began_ns, last: 0, run: 0, each: SmallVec::new() }
    }

    #[inline(always)]
    pub(super) fn add(&mut self, id: u16) {
        if id != self.last {
            if self.run > 0 {
                self.note_run();
            }
            self.last = id;
        }
        self.run += 1;
    }

    /// Moves the last run to the others.
    #[inline(never)]
    fn note_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        match self.each.iter_mut().find(|(other, _)| *other == self.last) {
            Some((_, calls)) => *calls += run,
            None => self.each.push((self.last, run)),
        }
    }

    /// Forgets them.
    fn restart(&mut self, began_ns: u64) {
        self.began_ns = began_ns;
        self.run = 0;
        self.each.clear();
    }
}

/// Reads the clock and divides the time since the last reading among the commands that ran.
/// A command that was timed alone may go to the slow log.
pub(super) fn record(
    lane: &mut Lane,
    env: Env<'_>,
    session: &Session,
    segment: &mut Segment,
    alone: Option<(Source<'_>, table::Found)>,
) {
    if segment.run > 0 {
        segment.note_run();
    }
    let calls = segment.each.iter().map(|(_, calls)| calls).sum::<u32>();
    if calls == 0 {
        if lane.local.tally.reads > 0 {
            add_tally(&mut env.shared.stats.lane(lane.local.worker), &mut lane.local.tally);
        }
        return;
    }
    session.handle.ran(calls);
    let now_ns = clock::mono_ns();
    let took = now_ns.saturating_sub(segment.began_ns);
    let each = took / u64::from(calls);
    {
        let mut counters = env.shared.stats.lane(lane.local.worker);
        counters.total_commands += u64::from(calls);
        add_tally(&mut counters, &mut lane.local.tally);
        for &(id, calls) in &segment.each {
            let calls = u64::from(calls);
            counters.command(id).record(calls, each * calls, env.config.latency_tracking);
        }
    }
    segment.restart(now_ns);
    match alone {
        Some((source, found)) => {
            let ran = timing::Ran { found, source, redacted: &lane.local.redacted };
            timing::took(env, session, took / 1000, ran);
        }
        None => timing::took_together(env, took / 1000),
    }
}

pub(super) fn add_tally(counters: &mut Counters, tally: &mut Tally) {
    let tally = std::mem::take(tally);
    counters.net_in += tally.net_in;
    counters.reads += tally.reads;
    counters.keyspace_hits += tally.hits;
    counters.keyspace_misses += tally.misses;
    counters.expired_keys += tally.expired;
    counters.expired_fields += tally.expired_fields;
    counters.dirty += tally.dirty;
}
