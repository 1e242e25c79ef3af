//! Who wants to know more of a change than its name: one word that the effects path reads.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

bitflags::bitflags! {
    /// What somebody wants to know.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Interest: u32 {
        /// What ended by time, with what it held.
        const ENDED = 1 << 0;
        /// What keys hold after each change.
        const VALUES = 1 << 1;
        /// What ended by time, for the streams that rules name.
        const RULES = 1 << 2;
    }
}

/// The interests of the whole process.
#[derive(Debug, Default)]
pub struct Audience(AtomicU32);

impl Audience {
    /// Whether anybody wants any of this: one relaxed load.
    #[inline]
    pub fn wants(&self, what: Interest) -> bool {
        self.0.load(Relaxed) & what.bits() != 0
    }

    /// Somebody wants it now, or nobody does any more.
    pub fn put(&self, what: Interest, wanted: bool) {
        if wanted {
            self.0.fetch_or(what.bits(), Relaxed);
        } else {
            self.0.fetch_and(!what.bits(), Relaxed);
        }
    }
}
