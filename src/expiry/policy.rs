//! Decisions about deadlines, as pure functions: the only definition of "expired" in the program.
//!
//! Times are Unix milliseconds of the wall clock, as Redis has them: a deadline follows the wall clock, so a clock that
//! is set forward makes keys due and one that is set back gives them time.

/// How far behind `now` an armed tick may read as "in the past", ms. Ticks are kept in 32 bits; the wheel never arms
/// further ahead than `2^32` less twice this, so the two readings cannot meet.
pub const BEHIND_MS: u64 = 1 << 16;

/// What an entry with a time to live stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// When the key expires, Unix ms. It is still served in that millisecond and gone in the next.
    pub deadline_ms: u64,
    /// Low 32 bits of the tick at which the wheel item that stands for this entry comes up. Usually the deadline's;
    /// an earlier one if the deadline was moved later or is too far away for the wheel.
    pub armed: u32,
}

/// Whether a key with this deadline is past its time. Everything that serves, lists or counts keys asks this.
#[inline]
#[must_use]
pub fn is_past(deadline_ms: u64, now_ms: u64) -> bool {
    now_ms > deadline_ms
}

/// What is to be done about an entry whose hash a due item names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The key is past its time: delete it, with its effects.
    Expire,
    /// The item stands for this entry, whose deadline is later: arm the wheel for that time and store the new tick.
    Rearm(u64),
    /// The item does not stand for this entry: leave the entry alone. An item that finds no entry to expire or to
    /// re-arm is stale and is dropped.
    Stale,
}

/// Judges one candidate of the hash chain that a due item leads to. Several keys may share the item's 40 hash bits, so
/// this is asked for every candidate, and each gets its own verdict. `timer` is `None` for an entry without a deadline.
#[must_use]
pub fn judge(timer: Option<Timer>, item_tick: u32, now_ms: u64) -> Verdict {
    match timer {
        Some(t) if t.armed != item_tick => Verdict::Stale,
        Some(t) if is_past(t.deadline_ms, now_ms) => Verdict::Expire,
        Some(t) => Verdict::Rearm(t.deadline_ms),
        None => Verdict::Stale,
    }
}

/// What a new deadline asks of the wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The item in the wheel comes up early enough: store the new deadline beside this armed tick, nothing else.
    Keep(u32),
    /// Arm an item for the new deadline and store its tick.
    Arm {
        /// The entry had an item, which is stale from now on: tell the wheel.
        stale: bool,
    },
}

/// Decides for EXPIRE, PERSIST then EXPIRE, and for a SET that overwrites a key with a deadline. `old` is what the
/// entry held, also when the value under it is replaced: keeping the tick is what makes refreshing a key cheap.
#[must_use]
pub fn on_deadline_change(old: Option<Timer>, new_deadline_ms: u64, now_ms: u64) -> Change {
    match old {
        Some(t) if comes_up_at(t.armed, now_ms) <= new_deadline_ms => Change::Keep(t.armed),
        Some(_) => Change::Arm { stale: true },
        None => Change::Arm { stale: false },
    }
}

/// The full tick of which `armed` is the low half. An item that is overdue by more than [`BEHIND_MS`] reads as 49 days
/// away, which errs on the safe side: the caller arms one item too many.
fn comes_up_at(armed: u32, now_ms: u64) -> u64 {
    let from = now_ms.saturating_sub(BEHIND_MS);
    from.saturating_add(u64::from(armed.wrapping_sub(from as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn timer(deadline_ms: u64, armed: u64) -> Option<Timer> {
        Some(Timer { deadline_ms, armed: armed as u32 })
    }

    #[test]
    fn a_key_lives_through_the_millisecond_of_its_deadline() {
        assert!(!is_past(NOW, NOW - 1));
        assert!(!is_past(NOW, NOW));
        assert!(is_past(NOW, NOW + 1));
        assert!(!is_past(u64::MAX, u64::MAX));
    }

    #[test]
    fn an_item_expires_re_arms_or_is_stale() {
        let tick = NOW as u32;
        assert_eq!(judge(timer(NOW, NOW), tick, NOW + 1), Verdict::Expire);
        assert_eq!(judge(timer(NOW + 500, NOW), tick, NOW + 1), Verdict::Rearm(NOW + 500));
        assert_eq!(judge(timer(NOW, NOW), tick, NOW), Verdict::Rearm(NOW), "came up early");
        assert_eq!(judge(timer(NOW - 5, NOW - 5), tick, NOW + 1), Verdict::Stale, "has an item of its own");
        assert_eq!(judge(None, tick, NOW + 1), Verdict::Stale, "was persisted");
    }

    #[test]
    fn a_later_deadline_keeps_the_item_and_an_earlier_one_does_not() {
        let old = timer(NOW + 1000, NOW + 1000);
        assert_eq!(on_deadline_change(old, NOW + 2000, NOW), Change::Keep((NOW + 1000) as u32));
        assert_eq!(on_deadline_change(old, NOW + 1000, NOW), Change::Keep((NOW + 1000) as u32));
        assert_eq!(on_deadline_change(old, NOW + 999, NOW), Change::Arm { stale: true });
        assert_eq!(on_deadline_change(None, NOW + 999, NOW), Change::Arm { stale: false });
    }

    #[test]
    fn the_tick_decides_and_not_the_old_deadline() {
        // Refreshed to an hour before, still armed for the first second: a deadline in between keeps the item.
        let old = timer(NOW + 3_600_000, NOW + 1000);
        assert_eq!(on_deadline_change(old, NOW + 60_000, NOW), Change::Keep((NOW + 1000) as u32));
        // Overdue but not yet worked off.
        let late = timer(NOW - 40, NOW - 40);
        assert_eq!(on_deadline_change(late, NOW + 1, NOW), Change::Keep((NOW - 40) as u32));
        // So late that it reads as far ahead: safe.
        let lost = timer(NOW - 2 * BEHIND_MS, NOW - 2 * BEHIND_MS);
        assert_eq!(on_deadline_change(lost, NOW + 1, NOW), Change::Arm { stale: true });
    }
}
