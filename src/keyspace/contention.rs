//! Lock contention as a part of a shard's load: when a table grows because workers wait for each other, and when
//! that was enough.
//!
//! A small table has few shards, so few locks: three hundred keys share one. Who has to wait for a lock counts that
//! (header.rs), and each [`LOOK_EACH`]th time asks for a look at the load. A look that finds [`HOT`] waits a second or
//! more gives the table a floor of four times as many shards, up to [`SHARDS_PER_WORKER`] for each worker: from there on
//! two workers that meet want the same key, and more shards would not part them.
//!
//! The floor goes once it is known not to be needed: for [`CALM_MS`] at a stretch the waits, times the shards that would
//! be joined, have stayed below half of what raised it. So a load that swings around the threshold does not make the table
//! flap, and one that comes and goes within seconds keeps its table. While there is a floor the helper thread looks once
//! in [`WINDOW_MS`]; without one nothing ticks.

/// Waits of a database from one look to the next, when they come fast.
pub(super) const LOOK_EACH: u64 = 4096;
/// Waits per second from which on more shards are wanted. A wait costs 0.1 to some 50 microseconds, the latter if its owner
/// was descheduled.
pub(super) const HOT: u64 = 20_000;
/// Shards per worker that contention can ask for; with as many, one lock in 32 taken is that of a shard in which another
/// worker is at work, if all do nothing but hold locks.
pub(super) const SHARDS_PER_WORKER: usize = 32;
/// A rate is that of a stretch of at least this length, unless it is hot before.
pub(super) const WINDOW_MS: u64 = 1000;
/// How long it must have been calm before the floor goes.
pub(super) const CALM_MS: u64 = 10_000;
/// Steps (of a factor of two) that the floor rises at once: the next look says whether it was enough.
const RISE: u8 = 2;

/// What a database knows of waits for its locks.
#[derive(Debug, Default)]
pub(super) struct Contention {
    /// Where the present stretch began, and the waits before it.
    since_ms: u64,
    before: u64,
    calm_since_ms: Option<u64>,
    /// Least size of the table, as a power of two of shards.
    floor: u8,
}

/// The size up to which contention may let a table grow, as a power of two of shards: none for a single worker.
pub(super) fn highest(workers: u16) -> u8 {
    if workers < 2 {
        return 0;
    }
    (usize::from(workers) * SHARDS_PER_WORKER).next_power_of_two().trailing_zeros() as u8
}

impl Contention {
    /// Least size of the table.
    pub fn floor(&self) -> u8 {
        self.floor
    }

    /// Forgets the stretch under way: a migration makes workers wait too, and the table is another one afterwards.
    pub fn restart(&mut self, waits: u64, now_ms: u64) {
        (self.since_ms, self.before) = (now_ms, waits);
    }

    /// The least size of the table by what has been waited so far. `bits` is its size, `by_keys` the one that its keys alone
    /// would give it, and `highest` what contention may ask for.
    pub fn look(&mut self, waits: u64, now_ms: u64, bits: u8, by_keys: u8, highest: u8) -> u8 {
        let (new, elapsed) = (waits.saturating_sub(self.before), now_ms.saturating_sub(self.since_ms));
        if now_ms < self.since_ms {
            // The clock was set back.
            self.restart(waits, now_ms);
            self.calm_since_ms = None;
        } else if new >= LOOK_EACH && new * 1000 >= HOT * elapsed {
            self.restart(waits, now_ms);
            self.calm_since_ms = None;
            if bits < highest {
                self.floor = (bits + RISE).min(highest);
            }
        } else if elapsed >= WINDOW_MS {
            self.restart(waits, now_ms);
            self.cool(new * 1000 / elapsed, now_ms - elapsed, now_ms, by_keys);
        }
        self.floor
    }

    /// A stretch ended with so many waits a second.
    fn cool(&mut self, rate: u64, began_ms: u64, now_ms: u64, by_keys: u8) {
        if self.floor <= by_keys {
            // The keys need the room by now.
            (self.floor, self.calm_since_ms) = (0, None);
            return;
        }
        let joined = rate << (self.floor - by_keys).min(16);
        if joined >= HOT / 2 {
            self.calm_since_ms = None;
            return;
        }
        let since = *self.calm_since_ms.get_or_insert(began_ms);
        if now_ms - since.min(now_ms) >= CALM_MS {
            (self.floor, self.calm_since_ms) = (0, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks once a second while waits come at this rate; the floor after each second.
    fn seconds(
        c: &mut Contention,
        clock: &mut (u64, u64),
        rate: u64,
        seconds: u64,
        bits: &mut u8,
    ) -> Vec<u8> {
        (0..seconds)
            .map(|_| {
                clock.0 += 1000;
                clock.1 += rate;
                *bits = c.look(clock.1, clock.0, *bits, 0, highest(4)).max(*bits);
                c.floor()
            })
            .collect()
    }

    #[test]
    fn workers_bound_what_contention_may_ask_for() {
        assert_eq!((highest(0), highest(1), highest(2), highest(3), highest(4)), (0, 0, 6, 7, 7));
    }

    #[test]
    fn it_rises_by_steps_to_the_bound_and_goes_after_a_calm_stretch() {
        let (mut c, mut clock, mut bits) = (Contention::default(), (5_000, 0), 0);
        c.restart(0, 5_000);
        assert_eq!(seconds(&mut c, &mut clock, HOT * 2, 6, &mut bits), [2, 4, 6, 7, 7, 7]);
        // What little is left would be too much with a 128th of the shards.
        assert_eq!(seconds(&mut c, &mut clock, 200, 30, &mut bits), [7; 30]);
        let calm = seconds(&mut c, &mut clock, 10, 12, &mut bits);
        assert_eq!(calm.iter().position(|&floor| floor == 0), Some(9), "{calm:?}");
    }

    #[test]
    fn a_load_around_the_threshold_changes_nothing_after_it_rose() {
        let (mut c, mut clock, mut bits) = (Contention::default(), (1, 0), 0);
        c.restart(0, 1);
        for _ in 0..200 {
            seconds(&mut c, &mut clock, HOT + 5, 1, &mut bits);
            seconds(&mut c, &mut clock, HOT - 5, 1, &mut bits);
            seconds(&mut c, &mut clock, 0, 8, &mut bits);
        }
        assert_eq!((c.floor(), bits), (7, 7), "swings shorter than the calm that is asked for");
        let (mut c, mut below) = (Contention::default(), 0);
        c.restart(clock.1, clock.0);
        seconds(&mut c, &mut clock, HOT - 5, 500, &mut below);
        assert_eq!(c.floor(), 0, "not hot for once");
    }

    #[test]
    fn the_keys_overtake_it_and_a_clock_set_back_is_no_rate() {
        let (mut c, mut clock, mut bits) = (Contention::default(), (100_000, 0), 0);
        c.restart(0, 100_000);
        seconds(&mut c, &mut clock, HOT * 2, 1, &mut bits);
        assert_eq!(c.look(clock.1 + HOT * 2, clock.0 - 50_000, 2, 0, 7), 2, "a new stretch, no more");
        assert_eq!(c.look(clock.1 + HOT * 2, clock.0 - 48_000, 5, 5, 7), 0);
    }
}
