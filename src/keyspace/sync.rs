//! What `gate.rs` is built from; the models in `tests/keyspace_model.rs` put loom's in its place.

pub(super) use crossbeam_utils::CachePadded;
pub(super) use parking_lot::{Condvar, Mutex, MutexGuard};
pub(super) use std::sync::Arc;
pub(super) use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_utils::Backoff;
use std::time::Duration;

/// Raises a flag before whatever the caller reads next, in one order that all threads agree on.
/// An exchange rather than a store and a fence: half the price on x86-64. (Loom knows the order of
/// fences only, so its twin is the latter.)
#[inline(always)]
pub(super) fn announce(flag: &AtomicBool) {
    flag.swap(true, Ordering::SeqCst);
}

/// Waits in a loop: by spinning, then yielding, then in short sleeps.
#[derive(Default)]
pub(super) struct Waiting(Backoff);

impl Waiting {
    pub fn pause(&mut self) {
        if self.0.is_completed() {
            std::thread::sleep(Duration::from_micros(20));
        } else {
            self.0.snooze();
        }
    }
}
