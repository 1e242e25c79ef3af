//! Memory that others may still look at: retired by a batch, freed by the helper thread.
//!
//! What is taken out of reach is handed to crossbeam's epoch; once every batch that was
//! running then has ended it comes into the trash, and only the helper thread empties that:
//! workers free no blocks, engines, databases or large values.
//!
//! Invariant: a pointer that was loaded from a `Protected` or a shard's header during a
//! batch stays good until that batch ends, because replacing it always goes through `Pin::retire`.
#![allow(unsafe_code)] // pointers read without a lock

use super::bucket::Block;
use super::engines::Engines;
use crate::values::Value;
use crossbeam_epoch::{Collector, Guard, LocalHandle};
use parking_lot::Mutex;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Something that waits to be freed.
pub(super) enum Garbage {
    Block(Block),
    /// With the engines and the space that only it still holds, and about what their values take out of line.
    Engines(#[expect(dead_code, reason = "dropped for what it owns")] Box<Engines>, usize),
    Value(Value),
}

impl Garbage {
    fn bytes(&self) -> usize {
        match self {
            Garbage::Block(block) => block.bytes(),
            Garbage::Engines(_, bytes) => *bytes,
            Garbage::Value(value) => value.memory(),
        }
    }
}

/// Where garbage waits for the helper thread.
#[derive(Default)]
pub(super) struct Trash {
    items: Mutex<Vec<Garbage>>,
    /// Retired, but some batch may still look.
    pending: AtomicUsize,
    bytes: AtomicUsize,
    /// The same, with what has been freed since the helper thread last reported its frees.
    leaving: AtomicUsize,
    /// What that is.
    freed: AtomicUsize,
}

impl Trash {
    /// For what nobody else can see.
    pub fn push(&self, item: Garbage) {
        self.count(&item);
        self.items.lock().push(item);
    }

    pub fn is_empty(&self) -> bool {
        self.pending.load(Ordering::Relaxed) == 0 && self.items.lock().is_empty()
    }

    /// What is retired and may still be looked at.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Bytes of blocks and values that wait.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn count(&self, item: &Garbage) {
        let bytes = item.bytes();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.leaving.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that wait, or were freed by a thread that has not yet reported that.
    pub fn leaving(&self) -> usize {
        self.leaving.load(Ordering::Relaxed)
    }

    /// What was freed has been reported.
    pub fn settle(&self) {
        let freed = self.freed.swap(0, Ordering::Relaxed);
        self.leaving.fetch_sub(freed, Ordering::Relaxed);
    }

    /// Frees up to `limit` items; true if there are more.
    pub fn empty(&self, limit: usize) -> bool {
        let (batch, more) = {
            let mut items = self.items.lock();
            let from = items.len().saturating_sub(limit);
            (items.split_off(from), from > 0)
        };
        for item in batch {
            let bytes = item.bytes();
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            drop(item);
            self.freed.fetch_add(bytes, Ordering::Relaxed);
        }
        more
    }
}

/// The epochs of one keyspace.
pub(super) struct Reclaim {
    collector: Collector,
    pub trash: Arc<Trash>,
}

impl Reclaim {
    pub fn new() -> Self {
        Reclaim { collector: Collector::new(), trash: Arc::default() }
    }

    pub fn register(&self) -> LocalHandle {
        self.collector.register()
    }
}

/// Keeps everything alive that was reachable since it was made.
pub(super) struct Pin<'p> {
    guard: Guard,
    trash: &'p Arc<Trash>,
    retired: Cell<bool>,
}

impl<'p> Pin<'p> {
    #[inline]
    pub fn new(handle: &LocalHandle, trash: &'p Arc<Trash>) -> Self {
        Pin { guard: handle.pin(), trash, retired: Cell::new(false) }
    }

    /// Frees something that was just taken out of reach, later and elsewhere.
    #[inline(never)]
    pub fn retire(&self, item: Garbage) {
        self.retired.set(true);
        self.trash.pending.fetch_add(1, Ordering::Relaxed);
        self.trash.count(&item);
        let trash = Arc::clone(self.trash);
        let item = Box::new(item);
        // SAFETY: the closure owns all it touches, and may run on any thread: `Garbage` is Send.
        unsafe {
            self.guard.defer_unchecked(move || {
                trash.items.lock().push(*item);
                trash.pending.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }

    /// Helps the epoch on, so that what was retired comes into the trash.
    pub fn collect(&self) {
        self.guard.flush();
    }
}

impl Drop for Pin<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.retired.get() {
            self.guard.flush();
        }
    }
}

const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Garbage>();
};

/// An owned pointer that batches read without a lock.
pub(super) struct Protected<T> {
    pointer: AtomicPtr<T>,
}

impl<T> Default for Protected<T> {
    fn default() -> Self {
        Protected { pointer: AtomicPtr::default() }
    }
}

impl<T> Protected<T> {
    /// What it points to now; good until the pin goes.
    #[inline(always)]
    pub fn load<'a>(&self, _pin: &'a Pin<'_>) -> Option<&'a T> {
        // SAFETY: null or a box; replaced ones are retired, so they outlive the pin.
        unsafe { self.pointer.load(Ordering::Acquire).as_ref() }
    }

    /// Sets it if it is null; else gives the box back.
    pub fn fill(&self, new: Box<T>) -> Result<(), Box<T>> {
        let new = Box::into_raw(new);
        self.pointer
            .compare_exchange(std::ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
            // SAFETY: just made, and not stored.
            .map_err(|_| unsafe { Box::from_raw(new) })
    }

    /// Exchanges what two of them point to. The caller holds the gate.
    pub fn swap(&self, other: &Self) {
        let mine = self.pointer.load(Ordering::Acquire);
        let theirs = other.pointer.swap(mine, Ordering::AcqRel);
        self.pointer.store(theirs, Ordering::Release);
    }
}

impl Protected<Engines> {
    /// Replaces it and retires what was there; of that, `bytes` of values out of line go with it.
    pub fn replace(&self, new: Option<Box<Engines>>, bytes: usize, pin: &Pin<'_>) {
        let new = new.map_or(std::ptr::null_mut(), Box::into_raw);
        let old = self.pointer.swap(new, Ordering::AcqRel);
        if !old.is_null() {
            // SAFETY: a box that nobody can reach from now on but those who are pinned.
            pin.retire(Garbage::Engines(unsafe { Box::from_raw(old) }, bytes));
        }
    }
}

impl<T> Drop for Protected<T> {
    fn drop(&mut self) {
        let p = *self.pointer.get_mut();
        if !p.is_null() {
            // SAFETY: owned, and nobody else is left.
            drop(unsafe { Box::from_raw(p) });
        }
    }
}
