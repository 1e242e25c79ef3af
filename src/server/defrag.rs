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
use crate::memory::allocator::{self, Fill, Holes};
use crate::memory::renewal::Effort;
use crate::memory::{Renewal, process};
use crate::shared::Shared;
use crate::sys::startup;

/// Longest slice of a walk, of which each lock takes a small part. Where the helper thread has its core together with a
/// worker, that may have to wait for so long.
const SLICE_US: u64 = 200;
/// Looks at the figures are at least so far apart, as each takes some ten microseconds.
const BETWEEN_LOOKS_NS: u64 = 200_000_000;
/// Bytes of segments given back after which pages of code go too.
const GIVEN_MUCH: u64 = 4 << 20;
/// Above this size some hundred KiB do not matter, of code or between survivors.
const SMALL_PROCESS: usize = 64 << 20;
/// How long after that, or after a walk, they go; and again so often, as the allocator's thread, timers and packing come
/// to rest later.
const QUIET_NS: u64 = 1_500_000_000;
const LET_GO_TIMES: u32 = 6;
/// More commands than this meanwhile, and code is in use: it would come back at once.
const COMMANDS_IN_USE: u64 = 1000;
/// How long after a worker has freed much for the last time comes the thorough look, and how long it may be put off.
const CALM_NS: u64 = 500_000_000;
const CALM_MAX_NS: u64 = 5_000_000_000;
/// The thorough look ignores this part of the unused bytes that are ignored else.
const IGNORED_WHEN_CALM: u64 = 16;
/// Or this part of what is in use, if that is more.
const IGNORED_PART: usize = 32;
/// Between two slices of looking for holes.
const REST_AFTER_HOLES: Duration = Duration::from_millis(2);
/// How long the workers have to give up what they keep.
const FLUSH: Duration = Duration::from_millis(5);
/// Walks one after the other: the second finds what the first had to leave, since pages were in use for what came next.
const WALKS_MAX: u32 = 3;

/// The settings, as the memory module wants them.
fn effort(config: &Config, figures: &allocator::Figures, thorough: bool) -> Effort {
    let ignored = config.active_defrag_ignore_bytes;
    let part = (figures.allocated / IGNORED_PART) as u64;
    Effort {
        ignore_bytes: if thorough { part.max(ignored / IGNORED_WHEN_CALM) } else { ignored },
        lower: config.active_defrag_threshold_lower,
        upper: config.active_defrag_threshold_upper,
        cycle_min: config.active_defrag_cycle_min,
        cycle_max: config.active_defrag_cycle_max,
    }
}

/// How full pages are to be after a walk. What is between may cost a copy of nearly all there is: where that is little, and
/// would not be done again and again.
fn fill(calm: bool, figures: &allocator::Figures) -> Fill {
    if calm && figures.allocated <= SMALL_PROCESS { Fill::TIGHT } else { Fill::USUAL }
}

/// A request to look at the fragmentation.
#[derive(Default)]
pub struct Bell(AtomicBool);

impl Bell {
    /// Asks; whether nobody had.
    pub fn ring(&self) -> bool {
        !self.0.swap(true, Relaxed)
    }

    /// Whether somebody has asked.
    pub fn rings(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// It was heard.
    pub fn stop(&self) {
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

struct LetGo {
    at_ns: u64,
    /// How often still.
    times: u32,
    /// Commands that were run before.
    commands: u64,
}

impl LetGo {
    fn new(shared: &Shared, now: u64) -> LetGo {
        LetGo { at_ns: now + QUIET_NS, times: LET_GO_TIMES, commands: shared.stats.totals().commands }
    }
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
    /// When the thorough look is due, if it stays calm, and when in any case.
    thorough_ns: Option<(u64, u64)>,
    /// What goes on is one …
    thorough: bool,
    /// … and nobody frees much meanwhile.
    calm: bool,
    /// What is free between pieces in use goes too, after a thorough look.
    holes: Option<Holes>,
    /// Unused bytes that the last one left.
    stays: usize,
    /// Bytes of segments given back when code was last let go of.
    given_bytes: u64,
    /// When pages of code go, if it stays quiet.
    let_go: Option<LetGo>,
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
                self.let_go = Some(LetGo::new(shared, now));
            }
        }
        if now < self.rests_until_ns {
            return Some(Duration::from_nanos(self.rests_until_ns - now));
        }
        if self.holes.is_some() {
            return Some(self.forget(now));
        }
        if matches!(self.state, State::AtRest) && !self.looks(shared, now) {
            return self.at_rest(shared, now);
        }
        let config = shared.config.load();
        let figures = allocator::figures();
        let effort = effort(&config, &figures, self.thorough);
        let percent = match (self.thorough, &self.state) {
            // What is kept for next requests is given up for certain: then it shows what there is besides.
            (true, State::AtRest) => Some(effort.cycle_min),
            (true, _) => effort.percent(&figures, self.stays),
            (false, _) => shared.defrag.percent(&figures, &effort),
        };
        let percent = percent.filter(|_| config.activedefrag);
        let Some(percent) = percent else {
            self.rest(shared, &figures);
            return Some(Duration::ZERO);
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
                self.renewal.fill_up_to(fill(self.calm, &figures));
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

    /// A slice of it; how long to rest afterwards.
    fn forget(&mut self, now: u64) -> Duration {
        let end = now + SLICE_US * 1000;
        while let Some(holes) = self.holes.as_mut().filter(|_| clock::mono_ns() < end) {
            if !holes.step() {
                tracing::debug!("{} KiB between pieces in use forgotten", holes.bytes >> 10);
                self.holes = None;
            }
        }
        self.rest_for(REST_AFTER_HOLES)
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
            self.let_go = Some(LetGo::new(shared, clock::mono_ns()));
        }
        self.calm = false;
        if std::mem::take(&mut self.thorough) {
            self.holes = Some(Holes::default());
        }
        self.stays = self.stays.min(figures.unused());
        shared.defrag.lower_floor(figures);
    }

    /// Whether the figures are to be looked at now, and how.
    fn looks(&mut self, shared: &Shared, now: u64) -> bool {
        if now < self.next_look_ns {
            return false;
        }
        let bell = &shared.helper.fragmented;
        let rings = bell.rings();
        if self.thorough_ns.is_some_and(|(calm, at_last)| if rings { at_last <= now } else { calm <= now }) {
            self.thorough_ns = None;
            (self.thorough, self.calm) = (true, !rings);
            if shared.identities.has_stale() {
                shared.caches.notify_waiters();
            }
        } else if rings {
            let at_last = self.thorough_ns.map_or(now + CALM_MAX_NS, |(_, at_last)| at_last);
            self.thorough_ns = Some((now + CALM_NS, at_last));
        } else {
            return false;
        }
        bell.stop();
        self.next_look_ns = now + BETWEEN_LOOKS_NS;
        true
    }

    /// Lets go of code, if the time has come; how long it is until something else is due.
    fn at_rest(&mut self, shared: &Shared, now: u64) -> Option<Duration> {
        if let Some(it) = self.let_go.as_mut().filter(|it| it.at_ns <= now) {
            let commands = shared.stats.totals().commands;
            let is_used =
                commands.saturating_sub(std::mem::replace(&mut it.commands, commands)) > COMMANDS_IN_USE;
            it.at_ns = now + QUIET_NS;
            if !is_used {
                let_go_of_code();
                it.times -= 1;
            }
        }
        self.let_go.take_if(|it| it.times == 0);
        let rings = shared.helper.fragmented.rings().then_some(0);
        let let_go = self.let_go.as_ref().map(|it| it.at_ns);
        let thorough = self.thorough_ns.map(|(calm, _)| calm);
        let look = rings.or(thorough).map(|at| at.max(self.next_look_ns));
        let next = look.into_iter().chain(let_go).min()?;
        Some(Duration::from_nanos(next.saturating_sub(now)))
    }

    /// MEMORY PURGE: all of it at once.
    pub fn at_once(&mut self, shared: &Shared, who: &mut Participant) {
        shared.caches.notify_waiters();
        std::thread::sleep(FLUSH);
        let mut walk = Walk::default();
        self.renewal.fill_up_to(fill(true, &allocator::figures()));
        let began = clock::mono_ns();
        let before = (self.renewal.moved, self.renewal.kept);
        while !shared.keyspace.is_migrating() && slice(shared, who, &mut walk, &mut self.renewal) {}
        shared.defrag.note(0, before, &self.renewal, (clock::mono_ns() - began) / 1000);
        Holes::forget_all();
    }
}

/// Unmaps pages of code, unless the process is so large that they do not matter.
pub fn let_go_of_code() {
    if process::resident() > SMALL_PROCESS {
        return;
    }
    // Else the allocator's thread wakes up for it, and its code is needed again.
    allocator::purge();
    if let Err(error) = startup::let_go() {
        tracing::debug!("pages of code stay: {error}");
    }
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
        let start = 10 * CALM_MAX_NS;
        assert_eq!(looks(start), None, "nothing was freed");
        for round in 0..5 {
            shared.helper.fragmented.ring();
            let now = start + round * (CALM_NS - 1);
            assert_eq!(looks(now), Some(false));
            assert_eq!(looks(now + 1), None);
        }
        let calm = start + 4 * (CALM_NS - 1) + CALM_NS;
        assert_eq!(looks(calm - 1), None);
        assert_eq!(looks(calm), Some(true));
        assert_eq!(looks(calm + CALM_MAX_NS), None, "once");
    }

    #[test]
    fn who_rings_all_the_time_does_not_put_it_off_for_ever() {
        let (shared, mut defragger) = (shared(), Defragger::default());
        let mut thorough = Vec::new();
        for round in 0..100 {
            shared.helper.fragmented.ring();
            assert!(defragger.looks(&shared, round * BETWEEN_LOOKS_NS));
            thorough.push(std::mem::take(&mut defragger.thorough));
        }
        let often = thorough.iter().filter(|is| **is).count() as u64;
        assert_eq!(often, 100 * BETWEEN_LOOKS_NS / (CALM_MAX_NS + BETWEEN_LOOKS_NS));
    }

    #[test]
    fn pages_are_filled_up_where_that_is_little_work_and_is_not_undone_at_once() {
        let (shared, mut defragger) = (shared(), Defragger::default());
        let figures = |allocated| allocator::Figures { allocated, ..Default::default() };
        let start = 10 * CALM_MAX_NS;
        shared.helper.fragmented.ring();
        assert!(defragger.looks(&shared, start) && defragger.looks(&shared, start + CALM_NS));
        assert_eq!(fill(defragger.calm, &figures(50 << 20)), Fill::TIGHT);
        assert_eq!(fill(defragger.calm, &figures(70 << 20)), Fill::USUAL);
        defragger.rest(&shared, &figures(50 << 20));
        for round in 0..100 {
            shared.helper.fragmented.ring();
            assert!(defragger.looks(&shared, start + CALM_MAX_NS + round * BETWEEN_LOOKS_NS));
            assert_eq!(fill(defragger.calm, &figures(50 << 20)), Fill::USUAL, "much is freed all the time");
        }
        assert!(defragger.thorough);
    }

    #[test]
    fn at_rest_it_sleeps_until_the_next_thing_is_due_and_then_for_good() {
        let (shared, mut defragger) = (shared(), Defragger::default());
        let second = Duration::from_secs(1);
        assert_eq!(defragger.at_rest(&shared, 0), None);
        defragger.thorough_ns = Some((2_000_000_000, u64::MAX));
        defragger.let_go = Some(LetGo { at_ns: 3_000_000_000, times: LET_GO_TIMES, commands: 0 });
        assert_eq!(defragger.at_rest(&shared, 0), Some(2 * second));
        defragger.thorough_ns = None;
        assert_eq!(defragger.at_rest(&shared, 2_000_000_000), Some(second));
        shared.stats.lane(0).total_commands += 2 * COMMANDS_IN_USE;
        let rests = std::iter::successors(Some(3_000_000_000), |&now| {
            let rest = defragger.at_rest(&shared, now)?;
            Some(now + u64::try_from(rest.as_nanos()).unwrap())
        });
        let times = u32::try_from(rests.count()).unwrap();
        assert_eq!(times, 1 + LET_GO_TIMES, "the first time code was in use");
    }
}
