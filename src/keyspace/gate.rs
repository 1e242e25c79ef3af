//! The exclusive gate.
//!
//! A participant's flag stands on a cache line of its own: up while it is in a batch. Whoever
//! raises the gate sets `raised` and waits until all other flags are down; whoever begins a
//! batch puts its flag up, looks at `raised`, and takes it down again if the gate is raised.
//! Both sides write first and read then, sequentially consistent, so one of them sees the other.
//! `tests/keyspace_model.rs` compiles this very file against loom.
//! Those who raise it queue at a mutex with their own flag down: two of them cannot deadlock.

use super::sync::{Arc, AtomicBool, CachePadded, Condvar, Mutex, MutexGuard, Ordering, Waiting, announce};

/// A participant's flag.
pub(super) type Slot = Arc<CachePadded<AtomicBool>>;

#[derive(Default)]
pub(super) struct Gate {
    raised: AtomicBool,
    turn: Mutex<()>,
    slots: Mutex<Vec<Slot>>,
    /// Where those wait who want to begin a batch while the gate is raised.
    waiting: Mutex<()>,
    lowered: Condvar,
}

/// The raised gate.
pub(super) struct Raised<'a> {
    gate: &'a Gate,
    _turn: MutexGuard<'a, ()>,
}

impl Gate {
    pub fn register(&self) -> Slot {
        let slot = Slot::default();
        self.slots.lock().push(Arc::clone(&slot));
        slot
    }

    pub fn unregister(&self, slot: &Slot) {
        self.slots.lock().retain(|s| !Arc::ptr_eq(s, slot));
    }

    /// Begins a batch.
    #[inline]
    pub fn enter(&self, slot: &AtomicBool) {
        announce(slot);
        if self.raised.load(Ordering::SeqCst) {
            self.enter_slow(slot);
        }
    }

    /// Begins a batch unless the gate is raised.
    pub fn try_enter(&self, slot: &AtomicBool) -> bool {
        announce(slot);
        let free = !self.raised.load(Ordering::SeqCst);
        if !free {
            slot.store(false, Ordering::SeqCst);
        }
        free
    }

    #[cold]
    #[inline(never)]
    fn enter_slow(&self, slot: &AtomicBool) {
        loop {
            slot.store(false, Ordering::SeqCst);
            {
                let mut waiting = self.waiting.lock();
                while self.raised.load(Ordering::SeqCst) {
                    self.lowered.wait(&mut waiting);
                }
            }
            announce(slot);
            if !self.raised.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Ends a batch.
    #[inline]
    pub fn leave(&self, slot: &AtomicBool) {
        slot.store(false, Ordering::Release);
    }

    /// Waits until nobody is in a batch, and keeps it so.
    pub fn raise(&self) -> Raised<'_> {
        let turn = self.turn.lock();
        announce(&self.raised);
        let slots: Vec<Slot> = self.slots.lock().clone();
        for slot in slots {
            let mut waiting = Waiting::default();
            while slot.load(Ordering::SeqCst) {
                waiting.pause();
            }
        }
        Raised { gate: self, _turn: turn }
    }
}

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        let waiting = self.gate.waiting.lock();
        self.gate.raised.store(false, Ordering::SeqCst);
        drop(waiting);
        self.gate.lowered.notify_all();
    }
}
