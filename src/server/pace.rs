//! How fast the helper thread moves keys, to other engines or out of segments with holes: at once on a machine that has a core to
//! spare, else with a share of one.
//!
//! It is crowded when the threads of this process alone leave less than a core, or when a slice took longer than it computed:
//! then somebody else wanted the core, in this process or outside of it. Then slices are short, with rests between them as
//! `migration-cpu-percent` says, and after [`CROWDED_NS`] it is tried again. Inserts that want the room sooner do not wait for this:
//! workers move a unit for each so many inserts themselves, and while they owe some the helper does not rest either. Nor does it
//! while memory is short, or most of what an arena has is dead. Without rests 4 MiB were compacted in one stretch of 10 ms, in
//! which a worker on the same core did nothing.

use std::time::Duration;

use crate::clock;

/// A slice on a machine with a core to spare. Nobody waits for it: the shards are locked one unit at a time.
const SLICE_US: u64 = 2_000;
/// A slice where it takes the core from somebody.
const SLICE_CROWDED_US: u64 = 200;
/// How long it counts as crowded once that was seen.
const CROWDED_NS: u64 = 50_000_000;
/// How long a migration goes on carefully before it may be said what the others do.
const FIRST_NS: u64 = 5_000_000;
/// Others leave a core to spare if they use less than all cores less this.
const SPARE: f64 = 0.85;
/// Longest pause between two slices.
const REST_MAX: Duration = Duration::from_millis(200);

/// Clocks at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reading {
    mono_ns: u64,
    own_ns: u64,
    process_ns: u64,
}

impl Reading {
    pub fn now() -> Self {
        Reading {
            mono_ns: clock::mono_ns(),
            own_ns: clock::thread_cpu_ns(),
            process_ns: clock::process_cpu_ns(),
        }
    }
}

/// The pace of one thread.
#[derive(Debug)]
pub(super) struct Pace {
    cores: f64,
    crowded_until_ns: u64,
    /// Since when the others' use of the cores is counted.
    from: Reading,
    moving: bool,
}

impl Pace {
    pub fn new(cores: usize) -> Self {
        Pace { cores: cores as f64, crowded_until_ns: 0, from: Reading::default(), moving: false }
    }

    /// A slice begins, of moving keys at that reading, or of something else; how many microseconds it may take.
    pub fn begin(&mut self, moves: Option<Reading>) -> u64 {
        let begins = !std::mem::replace(&mut self.moving, moves.is_some());
        let Some(now) = moves else { return SLICE_US };
        if begins {
            self.from = now;
            self.crowded_until_ns = self.crowded_until_ns.max(now.mono_ns + FIRST_NS);
        }
        if self.is_crowded(now) { SLICE_CROWDED_US } else { SLICE_US }
    }

    fn is_crowded(&self, now: Reading) -> bool {
        now.mono_ns < self.crowded_until_ns
    }

    /// A slice ended: how long to rest so that it is at most `percent` of a core.
    pub fn end(&mut self, began: Reading, now: Reading, percent: u32) -> Duration {
        let took = now.mono_ns.saturating_sub(began.mono_ns);
        let computed = now.own_ns.saturating_sub(began.own_ns);
        let waited = took > computed + computed / 4 + 30_000;
        if waited || self.others_leave_no_core(now) {
            self.crowded_until_ns = now.mono_ns + CROWDED_NS;
        }
        let percent = u64::from(percent.clamp(1, 100));
        if !self.is_crowded(now) {
            return Duration::ZERO;
        }
        Duration::from_nanos(computed * (100 - percent) / percent).min(REST_MAX)
    }

    fn others_leave_no_core(&mut self, now: Reading) -> bool {
        let passed = now.mono_ns.saturating_sub(self.from.mono_ns);
        if passed < FIRST_NS {
            return false;
        }
        let own = now.own_ns.saturating_sub(self.from.own_ns);
        let others = now.process_ns.saturating_sub(self.from.process_ns).saturating_sub(own);
        self.from = now;
        others as f64 / passed as f64 > self.cores - SPARE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Lets so many slices run, of each of which the thread waited so long, while others use so much of the cores. Gives the share of
    /// the time that it computed in, once it knows.
    fn share(cores: usize, others: f64, waited_us: u64, percent: u32) -> f64 {
        let (mut pace, mut now) = (Pace::new(cores), Reading { mono_ns: MS, own_ns: 0, process_ns: 0 });
        let pass = |now: &mut Reading, ns: u64| {
            now.mono_ns += ns;
            now.process_ns += (ns as f64 * others) as u64;
        };
        let mut settled = now;
        while now.mono_ns < 400 * MS {
            let began = now;
            let computed = pace.begin(Some(now)) * 1000;
            pass(&mut now, computed + waited_us * 1000);
            now.own_ns += computed;
            now.process_ns += computed;
            let rest = pace.end(began, now, percent);
            pass(&mut now, u64::try_from(rest.as_nanos()).unwrap());
            if now.mono_ns < 100 * MS {
                settled = now;
            }
        }
        (now.own_ns - settled.own_ns) as f64 / (now.mono_ns - settled.mono_ns) as f64
    }

    #[test]
    fn fast_where_a_core_is_to_spare() {
        assert!(share(2, 0.0, 0, 25) > 0.99, "nobody else does anything");
        assert!(share(2, 0.9, 0, 25) > 0.99, "one busy worker, two cores");
        assert!(share(8, 4.0, 0, 10) > 0.99);
    }

    #[test]
    fn a_set_share_of_a_core_where_it_is_crowded() {
        for percent in [5, 25, 50] {
            let wanted = f64::from(percent) / 100.0;
            for (cores, others, what) in [(2, 1.6, "busy workers"), (1, 0.5, "a single core")] {
                let share = share(cores, others, 0, percent);
                assert!((share - wanted).abs() < 0.03, "{what}: {share} for {percent} %");
            }
        }
        assert!(share(4, 4.0, 0, 100) > 0.99, "without a bound");
    }

    #[test]
    fn having_to_wait_for_a_core_tells_of_other_processes() {
        assert!(share(2, 0.0, 1_000, 25) < 0.3);
        assert!(share(2, 0.0, 10, 25) > 0.98, "the odd interrupt does not");
    }

    #[test]
    fn a_migration_begins_carefully_and_other_work_is_not_slowed_down() {
        let mut pace = Pace::new(4);
        let now = Reading { mono_ns: 7 * MS, own_ns: 0, process_ns: 0 };
        assert_eq!(pace.begin(None), SLICE_US);
        assert_eq!(pace.begin(Some(now)), SLICE_CROWDED_US);
        let later = Reading { mono_ns: 13 * MS, own_ns: 6 * MS, process_ns: 6 * MS };
        assert_eq!(pace.end(now, later, 25), Duration::ZERO);
        assert_eq!(pace.begin(Some(later)), SLICE_US);
    }
}
