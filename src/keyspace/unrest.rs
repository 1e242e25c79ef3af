//! How fast the entries of an arena come and go: what decides whether its holes are worth a copy.
//!
//! A segment that is losing its entries is copied in vain: what moves out of it dies soon after, and is copied again
//! meanwhile. Most holes are filled from the free stacks anyway, or grow until nothing is left beside them. So an arena
//! is judged by what changes in it:
//!
//! | of the bytes in use, stored or dead within the last second | emptied are segments |
//! |---|---|
//! | more than 3 % ("restless") | of which 80 % are dead; half, once half of the arena is |
//! | less | of which 15 % are dead |
//! | less than 0.1 %, or hardly anything for a second ("still"), and the helper thread has nothing else to do | of which 5 % are dead; 15 %, once less than 5 % of the arena is |
//!
//! Copying `1 - d` of a segment frees `d` of it. While all entries are being replaced by larger ones a limit of 15 %
//! copies each byte some five times; at 80 % it is a quarter, and mostly the segments are empty before.

/// Stretch over which changes are felt, in milliseconds.
const WINDOW_MS: u64 = 1000;
/// What changes within it, in thousandths of the units in use.
const RESTLESS: u64 = 30;
const STILL: u64 = 1;

/// `Unrest::felt` is in these parts of a unit.
const PARTS: u64 = 1024;

/// Changes of an arena, fading with time.
#[derive(Debug, Default)]
pub(super) struct Unrest {
    /// Units stored and units that died since the last look.
    changed: u64,
    /// The same before it, less what has faded; in parts of a unit, so that often looking rounds nothing away.
    felt: u64,
    looked_ms: u64,
    /// When more changed than does in a still arena.
    moved_ms: u64,
}

/// How much of an arena changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mood {
    Still,
    Calm,
    Restless,
}

impl Unrest {
    /// Units were stored, or died.
    #[inline]
    pub fn note(&mut self, units: usize) {
        self.changed += units as u64;
    }

    /// How it is now, in an arena with so many units in use. The clock is a monotonic one.
    pub fn look(&mut self, used: usize, now_ms: u64) -> Mood {
        let passed = now_ms.saturating_sub(self.looked_ms);
        self.looked_ms = now_ms;
        if self.changed.saturating_mul(1000 * 1000) > (used as u64 * STILL).saturating_mul(passed) {
            self.moved_ms = now_ms;
        }
        // The inverse of (1 + t/W) instead of an exponential: close to it for short steps, and whole numbers do.
        let kept = u128::from(self.felt) * u128::from(WINDOW_MS) / u128::from(WINDOW_MS + passed);
        self.felt = kept as u64 + std::mem::take(&mut self.changed) * PARTS;
        // What was a storm is over all at once: memory is given back after a second, not when the storm has faded.
        if now_ms.saturating_sub(self.moved_ms) >= WINDOW_MS {
            self.felt = 0;
        }
        match (self.felt / PARTS).saturating_mul(1000) / (used as u64).max(1) {
            0..STILL => Mood::Still,
            STILL..=RESTLESS => Mood::Calm,
            _ => Mood::Restless,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USED: usize = 100_000;

    #[test]
    fn what_was_never_changed_is_still() {
        assert_eq!(Unrest::default().look(USED, 0), Mood::Still);
        assert_eq!(Unrest::default().look(0, 5_000), Mood::Still);
    }

    #[test]
    fn a_storm_is_felt_at_once_and_forgotten_a_second_after_its_end() {
        let mut unrest = Unrest::default();
        unrest.note(USED / 2);
        assert_eq!(unrest.look(USED, 1_000), Mood::Restless);
        for ms in [200, 400, 600, 800] {
            assert_eq!(unrest.look(USED, 1_000 + ms), Mood::Restless);
        }
        assert_eq!(unrest.look(USED, 2_000), Mood::Still);
    }

    #[test]
    fn a_storm_that_ebbs_away_is_calm_first() {
        let mut unrest = Unrest::default();
        unrest.note(USED / 2);
        assert_eq!(unrest.look(USED, 1_000), Mood::Restless);
        let calm_after = (1..100).map(|n| n * 200).find(|ms| {
            unrest.note(USED / 500);
            unrest.look(USED, 1_000 + ms) != Mood::Restless
        });
        assert!((1_000..8_000).contains(&calm_after.unwrap()), "{calm_after:?}");
        assert_eq!(unrest.look(USED, 60_000), Mood::Still);
    }

    #[test]
    fn a_steady_rate_is_felt_as_such_however_often_it_is_looked_at() {
        for (per_second, mood) in [(USED / 10, Mood::Restless), (USED / 100, Mood::Calm), (10, Mood::Still)] {
            for step_ms in [1, 10, 100, 250] {
                let mut unrest = Unrest::default();
                let mut seen = Mood::Still;
                let mut owed = 0;
                for n in 1..=20_000 / step_ms {
                    owed += per_second * step_ms as usize;
                    unrest.note(owed / 1000);
                    owed %= 1000;
                    seen = unrest.look(USED, n * step_ms);
                }
                assert_eq!(seen, mood, "{per_second} units a second, a look each {step_ms} ms");
            }
        }
    }
}
