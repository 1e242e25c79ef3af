//! Fragmentation of the allocator's pages is watched, and survivors are moved together, by the helper thread.
//!
//! When a worker has freed some hundred KiB, and when the helper has tidied up, what the allocator holds is compared with
//! what is in use. If too much is unused, all threads first give up what they keep of freed memory, which may be all
//! there is to it. If not, a walk over the keyspace begins; each slice of it is followed by a rest, by the percentage
//! that the settings of active defragmentation come to.
//!
//! Once no worker has freed much for a while there is a thorough look: what a busy process had better keep for its next
//! requests is worth a walk then, and timers that stand for nothing any more go. When all is done, pages of code
//! that were needed on the way are let go of as they are after the start.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::clock;
use crate::config::Config;
use crate::keyspace::{Participant, Walk};
use crate::memory::renewal::Effort;
use crate::memory::{Renewal, allocator, process};
use crate::shared::Shared;
use crate::sys::startup;

/// Longest slice of a walk, of which each lock takes a small part. Where the helper thread has its core together with a
/// worker, that may have to wait for so long.
const SLICE_US: u64 = 200;
/// Looks at the figures are at least so far apart, as each takes some ten microseconds.
const BETWEEN_LOOKS_NS: u64 = 200_000_000;
/// Bytes of segments given back after which pages of code go too; and the size above which they do not matter.
const GIVEN_MUCH: u64 = 4 << 20;
const SMALL_PROCESS: usize = 64 << 20;
/// How long after that, or after a walk, they go; and again each time, until those that came back are few: the allocator's
/// thread comes to rest later.
const QUIET_NS: u64 = 1_500_000_000;
const FEW_BYTES: usize = 640 << 10;
const LET_GO_MAX: u32 = 4;
/// How long after a worker has freed much for the last time comes the thorough look.
const CALM_NS: u64 = 500_000_000;
/// The thorough look ignores this part of the unused bytes that are ignored else.
const IGNORED_WHEN_CALM: u64 = 8;
/// How long the workers have to give up what they keep.
const FLUSH: Duration = Duration::from_millis(5);
/// Walks one after the other: the second finds what the first had to leave, since pages were in use for what came next.
const WALKS_MAX: u32 = 3;

/// The settings, as the memory module wants them.
fn effort(config: &Config, thorough: bool) -> Effort {
    Effort {
        ignore_bytes: config.active_defrag_ignore_bytes / if thorough { IGNORED_WHEN_CALM } else { 1 },
        lower: config.active_defrag_threshold_lower,
        upper: config.active_defrag_threshold_upper,
        cycle_min: config.active_defrag_cycle_min,
        cycle_max: config.active_defrag_cycle_max,
    }
}

/// A request to look at the fragmentation.
#[derive(Default)]
pub struct Bell(AtomicBool);

impl Bell {
    /// Asks; whether nobody had.
    pub fn ring(&self) -> bool {
        !self.0.swap(true, Relaxed)
    }

    fn rings(&self) -> bool {
        self.0.load(Relaxed)
    }

    fn stop(&self) {
        self.0.store(false, Relaxed);
    }
}

#[derive(Default)]
enum State {
    #[default]
    AtRest,
    /// Everybody was asked to give up what they keep.
    Flushing,
    Walking(Walk),
}

/// The helper's part.
#[derive(Default)]
pub struct Defragger {
    state: State,
    renewal: Renewal,
    walks: u32,
    /// When the rest after the last slice ends. The helper thread is woken for other things meanwhile.
    rests_until_ns: u64,
    /// No look before this time.
    next_look_ns: u64,
    /// When the thorough look is due, if it stays calm.
    thorough_ns: Option<u64>,
    /// What goes on is one.
    thorough: bool,
    /// Unused bytes that the last one left.
    stays: usize,
    /// Bytes of segments given back when code was last let go of.
    given_bytes: u64,
    /// When pages of code go, if it stays quiet, and how often still.
    let_go: Option<(u64, u32)>,
}

impl Defragger {
    /// A slice, if there is something to do; how long to rest before the next one.
    pub fn step(&mut self, shared: &Shared, who: &mut Participant, tidied: bool) -> Option<Duration> {
        let now = clock::mono_ns();
        if tidied {
            shared.helper.fragmented.ring();
            let given = shared.keyspace.totals().given_back_bytes;
            if given.saturating_sub(self.given_bytes) >= GIVEN_MUCH {
                self.given_bytes = given;
                self.let_go = Some((now + QUIET_NS, LET_GO_MAX));
            }
        }
        if now < self.rests_until_ns {
            return Some(Duration::from_nanos(self.rests_until_ns - now));
        }
        if matches!(self.state, State::AtRest) && !self.looks(shared, now) {
            return self.at_rest(shared, now);
        }
        let config = shared.config.load();
        let figures = allocator::figures();
        let effort = effort(&config, self.thorough);
        let percent = match (self.thorough, &self.state) {
            // What is kept for next requests is given up for certain: then it shows what there is besides.
            (true, State::AtRest) => Some(effort.cycle_min),
            (true, _) => effort.percent(&figures, self.stays),
            (false, _) => shared.defrag.percent(&figures, &effort),
        };
        let percent = percent.filter(|_| config.activedefrag);
        let Some(percent) = percent else {
            self.rest(shared, &figures);
            return self.at_rest(shared, now);
        };
        match &mut self.state {
            State::AtRest => {
                shared.caches.notify_waiters();
                allocator::flush_thread();
                self.state = State::Flushing;
                Some(self.rest_for(FLUSH))
            }
            State::Flushing => {
                self.walks = 0;
                self.state = State::Walking(Walk::default());
                Some(Duration::ZERO)
            }
            State::Walking(walk) => {
                let began = clock::mono_ns();
                let before = (self.renewal.moved, self.renewal.kept);
                let goes_on = slice(shared, who, walk, &mut self.renewal);
                let took = clock::mono_ns() - began;
                shared.defrag.note(percent, before, &self.renewal, took / 1000);
                if !goes_on {
                    self.walked(shared);
                }
                let rest = took * u64::from(100 - percent.min(100)) / u64::from(percent.max(1));
                Some(self.rest_for(Duration::from_nanos(rest)))
            }
        }
    }

    fn rest_for(&mut self, rest: Duration) -> Duration {
        self.rests_until_ns = clock::mono_ns() + u64::try_from(rest.as_nanos()).unwrap_or(u64::MAX);
        rest
    }

    /// A walk is at its end.
    fn walked(&mut self, shared: &Shared) {
        self.walks += 1;
        self.state = State::Walking(Walk::default());
        if self.walks == WALKS_MAX {
            let figures = allocator::figures();
            shared.defrag.ended(&figures);
            self.stays = if self.thorough { figures.unused() } else { self.stays };
            self.rest(shared, &figures);
        }
    }

    fn rest(&mut self, shared: &Shared, figures: &allocator::Figures) {
        if !matches!(self.state, State::AtRest) {
            shared.defrag.stopped();
            self.state = State::AtRest;
            self.let_go = Some((clock::mono_ns() + QUIET_NS, LET_GO_MAX));
        }
        self.thorough = false;
        self.stays = self.stays.min(figures.unused());
        shared.defrag.lower_floor(figures);
    }

    /// Whether the figures are to be looked at now, and how.
    fn looks(&mut self, shared: &Shared, now: u64) -> bool {
        let bell = &shared.helper.fragmented;
        if bell.rings() && now >= self.next_look_ns {
            bell.stop();
            self.thorough_ns = Some(now + CALM_NS);
        } else if !bell.rings() && self.thorough_ns.is_some_and(|at| at <= now) {
            self.thorough_ns = None;
            self.thorough = true;
            if shared.identities.has_stale() {
                shared.caches.notify_waiters();
            }
        } else {
            return false;
        }
        self.next_look_ns = now + BETWEEN_LOOKS_NS;
        true
    }

    /// Lets go of code, if the time has come; how long it is until something else is due.
    fn at_rest(&mut self, shared: &Shared, now: u64) -> Option<Duration> {
        if let Some((_, times)) = self.let_go.take_if(|(at, _)| *at <= now)
            && process::resident() <= SMALL_PROCESS
            && let_go_of_code() > FEW_BYTES
            && times > 1
        {
            self.let_go = Some((now + QUIET_NS, times - 1));
        }
        let rings = shared.helper.fragmented.rings().then_some(self.next_look_ns);
        let next = [rings, self.thorough_ns, self.let_go.map(|(at, _)| at)].into_iter().flatten().min()?;
        Some(Duration::from_nanos(next.saturating_sub(now)))
    }

    /// MEMORY PURGE: all of it at once.
    pub fn at_once(&mut self, shared: &Shared, who: &mut Participant) {
        shared.caches.notify_waiters();
        std::thread::sleep(FLUSH);
        let mut walk = Walk::default();
        let began = clock::mono_ns();
        let before = (self.renewal.moved, self.renewal.kept);
        while !shared.keyspace.is_migrating() && slice(shared, who, &mut walk, &mut self.renewal) {}
        shared.defrag.note(0, before, &self.renewal, (clock::mono_ns() - began) / 1000);
    }
}

/// Gives the bytes that went.
fn let_go_of_code() -> usize {
    // Else the allocator's thread wakes up for it, and its code is needed again.
    allocator::purge();
    startup::let_go().unwrap_or_else(|error| {
        tracing::debug!("pages of code stay: {error}");
        0
    })
}

/// Some pieces. What this thread keeps for its next requests would put them back into the holes that they came from.
fn slice(shared: &Shared, who: &mut Participant, walk: &mut Walk, renewal: &mut Renewal) -> bool {
    allocator::keep_for_thread(false);
    let goes_on = shared.keyspace.renew(who, walk, renewal, SLICE_US);
    allocator::keep_for_thread(true);
    goes_on
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{Keyspace, Options};

    fn shared() -> Shared {
        let keyspace = Keyspace::new(Options { reserve_bytes: 1 << 20, ..Options::default() }).unwrap();
        Shared::new(Config::default(), keyspace, 1)
    }

    #[test]
    fn the_thorough_look_comes_when_nobody_has_rung_for_a_while() {
        let (shared, mut defragger) = (shared(), Defragger::default());
        let mut looks =
            |now| defragger.looks(&shared, now).then_some(std::mem::take(&mut defragger.thorough));
        let start = 10 * CALM_NS;
        assert_eq!(looks(start), None, "nothing was freed");
        for round in 0..5 {
            shared.helper.fragmented.ring();
            let now = start + round * (CALM_NS - 1);
            assert_eq!(looks(now), Some(false));
            assert_eq!(looks(now), None);
        }
        let calm = start + 4 * (CALM_NS - 1) + CALM_NS;
        assert_eq!(looks(calm - 1), None);
        assert_eq!(looks(calm), Some(true));
        assert_eq!(looks(calm + 100 * CALM_NS), None, "once");
    }

    #[test]
    fn at_rest_it_sleeps_until_the_next_thing_is_due_and_then_for_good() {
        let (shared, mut defragger) = (shared(), Defragger::default());
        let second = Duration::from_secs(1);
        assert_eq!(defragger.at_rest(&shared, 0), None);
        defragger.thorough_ns = Some(2_000_000_000);
        defragger.let_go = Some((3_000_000_000, LET_GO_MAX));
        assert_eq!(defragger.at_rest(&shared, 0), Some(2 * second));
        defragger.thorough_ns = None;
        assert_eq!(defragger.at_rest(&shared, 2_000_000_000), Some(second));
        let (mut now, mut times) = (3_000_000_000, 0);
        while let Some(rest) = defragger.at_rest(&shared, now) {
            now += u64::try_from(rest.as_nanos()).unwrap();
            times += 1;
        }
        assert!(times < LET_GO_MAX, "{times}");
    }
}
