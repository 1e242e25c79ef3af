//! Fragmentation of the allocator's pages is watched, and survivors are moved together, by the helper thread.
//!
//! When a worker has freed some hundred KiB, and when the helper has tidied up, what the allocator holds is compared with
//! what is in use. If too much is unused, all threads first give up what they keep of freed memory, which may be all
//! there is to it. If not, a walk over the keyspace begins; each slice of it is followed by a rest, by the percentage
//! that the settings of active defragmentation come to. When all is done, pages of code that were needed on the way are
//! let go of as they are after the start.

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
/// How long after that, or after a walk, they go.
const QUIET_NS: u64 = 1_500_000_000;
/// How long the workers have to give up what they keep.
const FLUSH: Duration = Duration::from_millis(5);
/// Walks one after the other: the second finds what the first had to leave, since pages were in use for what came next.
const WALKS_MAX: u32 = 3;

/// The settings, as the memory module wants them.
fn effort(config: &Config) -> Effort {
    Effort {
        ignore_bytes: config.active_defrag_ignore_bytes,
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
    /// Bytes of segments given back when code was last let go of.
    given_bytes: u64,
    /// When pages of code go, if it stays quiet.
    let_go_ns: Option<u64>,
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
                self.let_go_ns = Some(now + QUIET_NS);
            }
        }
        if matches!(self.state, State::AtRest) {
            if !shared.helper.fragmented.rings() {
                return self.let_go(now);
            }
            if now < self.next_look_ns {
                return Some(Duration::from_nanos(self.next_look_ns - now));
            }
            self.next_look_ns = now + BETWEEN_LOOKS_NS;
            shared.helper.fragmented.stop();
        }
        if now < self.rests_until_ns {
            return Some(Duration::from_nanos(self.rests_until_ns - now));
        }
        let config = shared.config.load();
        let figures = allocator::figures();
        let percent = shared.defrag.percent(&figures, &effort(&config)).filter(|_| config.activedefrag);
        let Some(percent) = percent else {
            self.rest(shared, &figures);
            return self.let_go(now);
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
            self.rest(shared, &figures);
        }
    }

    fn rest(&mut self, shared: &Shared, figures: &allocator::Figures) {
        if !matches!(self.state, State::AtRest) {
            shared.defrag.stopped();
            self.state = State::AtRest;
            self.let_go_ns = Some(clock::mono_ns() + QUIET_NS);
        }
        shared.defrag.lower_floor(figures);
    }

    /// Lets go of code, when the time has come; how long it is until then.
    fn let_go(&mut self, now: u64) -> Option<Duration> {
        let at = self.let_go_ns?;
        if now < at {
            return Some(Duration::from_nanos(at - now));
        }
        self.let_go_ns = None;
        if process::resident() > SMALL_PROCESS {
            return None;
        }
        if let Err(error) = startup::let_go() {
            tracing::debug!("pages of code stay: {error}");
        }
        None
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

/// Some pieces. What this thread keeps for its next requests would put them back into the holes that they came from.
fn slice(shared: &Shared, who: &mut Participant, walk: &mut Walk, renewal: &mut Renewal) -> bool {
    allocator::keep_for_thread(false);
    let goes_on = shared.keyspace.renew(who, walk, renewal, SLICE_US);
    allocator::keep_for_thread(true);
    goes_on
}
