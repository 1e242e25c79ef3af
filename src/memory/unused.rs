//! Pages that are free and still the process' own: bounded where little may be had.
//!
//! The allocator keeps freed pages for a second, as they may be wanted again, and its own thread looks after them ten
//! times a second. Where values of some KiB are replaced as fast as they come, that is half as much again as is in use: more
//! than `maxmemory auto` leaves below a small limit of a container, which kills. No page becomes
//! unused without something being freed, so who has freed a certain part of what may be had gives them all back:
//! the helper thread, or the worker itself where the helper does not come to it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::memory::allocator;

/// What was freed since unused pages were given back.
pub struct Unused {
    freed: AtomicU64,
    /// `u64::MAX` is no bound.
    most: AtomicU64,
}

impl Default for Unused {
    fn default() -> Unused {
        Unused { freed: AtomicU64::new(0), most: AtomicU64::new(u64::MAX) }
    }
}

/// Who is to give pages back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nobody yet.
    No,
    /// The helper thread.
    Helper,
    /// Whoever asks, as the helper has not.
    Now,
}

impl Unused {
    /// So much may be freed before they are given back; `u64::MAX` is no bound.
    pub fn set_most(&self, bytes: u64) {
        self.most.store(bytes, Relaxed);
    }

    /// So many bytes were freed.
    pub fn freed(&self, bytes: u64) -> Due {
        let before = self.freed.fetch_add(bytes, Relaxed);
        let most = self.most.load(Relaxed);
        // Only those who step over a mark: one helper, and one worker.
        let over = |mark: u64| before < mark && before.saturating_add(bytes) >= mark;
        if over(most.saturating_mul(2)) {
            Due::Now
        } else if over(most) {
            Due::Helper
        } else {
            Due::No
        }
    }

    /// Gives them back.
    pub fn give_back(&self) {
        self.freed.store(0, Relaxed);
        allocator::purge();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_helper_is_asked_first_and_once() {
        let unused = Unused::default();
        assert_eq!(unused.freed(u64::MAX / 2), Due::No);
        unused.give_back();
        unused.set_most(2 << 20);
        let steps = [1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20].map(|bytes| unused.freed(bytes));
        assert_eq!(steps, [Due::No, Due::Helper, Due::No, Due::Now, Due::No]);
        unused.give_back();
        assert_eq!(unused.freed(8 << 20), Due::Now);
        unused.give_back();
        unused.set_most(u64::MAX);
        assert_eq!(unused.freed(1 << 40), Due::No);
    }
}
