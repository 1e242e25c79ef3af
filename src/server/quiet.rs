//! Pages of code go when nobody has asked for anything for a while, as they do after the start.
//!
//! Requests bring back what they need, which is most of what a process with little data holds. The worker that takes a
//! sample, a few times a second at the most, says that commands run; the first time the helper thread hears of it, and
//! it looks every few seconds whether there were any since. The first requests after a quiet time take some hundred
//! microseconds longer, for the faults, so that happens seldom, however often it is quiet.

use std::time::Duration;

use crate::clock;
use crate::server::defrag::let_go_of_code;
use crate::shared::Shared;

/// Without a command for so long, nobody is there.
const QUIET_NS: u64 = 5_000_000_000;
/// Code goes once more after this time, as the allocator's thread comes to rest later.
const AGAIN_NS: u64 = 2_500_000_000;
/// Between two quiet times in which code goes, at least.
const APART_NS: u64 = 300_000_000_000;

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// Code is gone, and nobody has asked for anything since.
    #[default]
    AtRest,
    /// Commands run, or did until lately.
    InUse,
    /// Code has gone once.
    Gone,
}

/// The helper's part.
#[derive(Debug, Default)]
pub struct Quiet {
    state: State,
    /// No look before this time, unless it is at rest.
    next_ns: u64,
    /// Commands that had run at the last look.
    commands: u64,
    /// Code does not go again before this time.
    not_before_ns: u64,
}

impl Quiet {
    /// Lets go of code if it is quiet; how long it is until the next look.
    pub fn step(&mut self, shared: &Shared) -> Option<Duration> {
        let now = clock::mono_ns();
        let bell = &shared.helper.in_use;
        let due = if self.state == State::AtRest { bell.rings() } else { self.next_ns <= now };
        if due {
            // While it is in use nobody has to say so again. Before the commands are counted: who runs one later does.
            if self.state == State::Gone {
                bell.stop();
            }
            if self.look(now, shared.stats.totals().commands) {
                let_go_of_code();
            }
        }
        (self.state != State::AtRest).then(|| Duration::from_nanos(self.next_ns.saturating_sub(now)))
    }

    /// Whether code goes now.
    fn look(&mut self, now: u64, commands: u64) -> bool {
        let is_used = std::mem::replace(&mut self.commands, commands) != commands;
        if is_used || self.state == State::AtRest {
            self.state = State::InUse;
            self.next_ns = (now + QUIET_NS).max(self.not_before_ns);
            return false;
        }
        if self.state == State::InUse {
            self.state = State::Gone;
            self.next_ns = now + AGAIN_NS;
            self.not_before_ns = now + APART_NS;
        } else {
            self.state = State::AtRest;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::keyspace::{Keyspace, Options};

    #[test]
    fn without_commands_there_is_no_look() {
        let keyspace = Keyspace::new(Options { reserve_bytes: 1 << 20, ..Options::default() }).unwrap();
        let (shared, mut quiet) = (Shared::new(Config::default(), keyspace, 1), Quiet::default());
        assert_eq!(quiet.step(&shared), None);
        shared.helper.in_use.ring();
        let rest = quiet.step(&shared).unwrap();
        assert_eq!(rest.as_nanos(), u128::from(QUIET_NS));
        assert!(!shared.helper.in_use.ring(), "it is known, and nobody wakes the helper for it again");
        (quiet.next_ns, quiet.state) = (0, State::Gone);
        assert_eq!(quiet.step(&shared), None);
        assert!(shared.helper.in_use.ring(), "from now on it is news");
    }

    #[test]
    fn code_goes_twice_when_it_has_become_quiet() {
        let mut quiet = Quiet::default();
        assert!(!quiet.look(10, 1));
        for round in 1..10 {
            assert_eq!(quiet.next_ns, 10 + round * QUIET_NS);
            assert!(!quiet.look(quiet.next_ns, 1 + round), "a command was run");
        }
        assert!(quiet.look(quiet.next_ns, 10));
        assert_eq!((quiet.next_ns, &quiet.state), (10 + 10 * QUIET_NS + AGAIN_NS, &State::Gone));
        assert!(quiet.look(quiet.next_ns, 10));
        assert_eq!(quiet.state, State::AtRest);
    }

    #[test]
    fn who_asks_now_and_then_finds_code_in_its_place_nearly_always() {
        let mut quiet = Quiet::default();
        let mut gone = 0;
        // A command every ten seconds for an hour.
        for (commands, second) in (0..3600).step_by(10).enumerate() {
            let until = (second + 10) * 1_000_000_000;
            let asked = second * 1_000_000_000;
            if quiet.state == State::AtRest {
                quiet.look(asked, commands as u64);
            }
            while quiet.state != State::AtRest && quiet.next_ns < until {
                gone += usize::from(quiet.look(quiet.next_ns.max(asked), commands as u64));
            }
        }
        assert!((1..=2 * 3600 / 300).contains(&gone), "{gone} times");
    }
}
