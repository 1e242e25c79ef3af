//! The shard's header: its lock, its state and where its block is.
//!
//! ```text
//! Shard    16 bytes, four to a cache line
//!   0   lock u8     0 free, 1 taken
//!   1   state u8    LIVE, MOVED, PENDING (engines.rs)
//!   2   used u16    keys
//!   4   contended   u32: how often the lock was not free at once
//!   8   block       word of the block (bucket.rs), null while there never was a key
//! ```
//!
//! The lock stands here and not in the bucket: a lock byte in the line that the look-up
//! wants next costs 2.5 times as much. Unlocking is a plain store. Who had to park looks
//! again after a time-out, so the wake-up may be missed in the one case that a plain store
//! leaves open; parking happens only behind a migration step or a descheduled owner.
//!
//! `state` changes only under the lock, PENDING -> LIVE -> MOVED; so do `used` and `block`,
//! whose only writer is `Locked` (shard.rs).

use super::bucket::{Bucket, Word};
use super::engines::Space;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

/// All keys of the shard's range are here.
pub(super) const LIVE: u8 = 0;
/// They are in the growing engine, for ever.
pub(super) const MOVED: u8 = 1;
/// They have not come yet.
pub(super) const PENDING: u8 = 2;

/// Parked threads of the process. Almost always 0, so unlocking reads a line that stays shared.
static PARKED: AtomicUsize = AtomicUsize::new(0);
const SPINS: u32 = 100;
const PARK_AT_MOST: Duration = Duration::from_micros(500);

/// A shard's header.
#[repr(C)]
pub(super) struct Shard {
    lock: AtomicU8,
    state: AtomicU8,
    used: AtomicU16,
    contended: AtomicU32,
    block: AtomicPtr<Bucket>,
}

const _: () = assert!(size_of::<Shard>() == 16);

impl Shard {
    pub fn new(state: u8) -> Self {
        Shard {
            lock: AtomicU8::new(0),
            state: AtomicU8::new(state),
            used: AtomicU16::new(0),
            contended: AtomicU32::new(0),
            block: AtomicPtr::default(),
        }
    }

    #[inline(always)]
    pub fn is_moved(&self) -> bool {
        self.state.load(Ordering::Acquire) == MOVED
    }

    /// Whether it serves, as may be seen without the lock.
    pub fn is_live(&self) -> bool {
        self.state.load(Ordering::Acquire) == LIVE
    }

    /// How often the lock was not free at once.
    pub fn contended(&self) -> u32 {
        self.contended.load(Ordering::Relaxed)
    }

    /// The block's word as it may be seen without the lock.
    #[inline(always)]
    pub fn word(&self) -> Word {
        self.block.load(Ordering::Acquire)
    }

    #[inline(always)]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed).into()
    }

    /// The block's word, as whoever holds the lock sees it.
    #[inline(always)]
    pub fn word_locked(&self) -> Word {
        self.block.load(Ordering::Relaxed)
    }

    /// Puts another block's word there, and hands over the one that was there.
    pub fn exchange_word(&self, word: Word) -> Word {
        self.block.swap(word, Ordering::AcqRel)
    }

    /// The state, as whoever holds the lock sees it.
    #[inline(always)]
    pub fn state_locked(&self) -> u8 {
        self.state.load(Ordering::Relaxed)
    }

    /// Changes the state; for whoever holds the lock.
    pub fn set_state(&self, state: u8) {
        self.state.store(state, Ordering::Release);
    }

    /// Changes the number of keys; for whoever holds the lock.
    pub fn set_used(&self, used: u16) {
        self.used.store(used, Ordering::Relaxed);
    }

    /// Takes the lock.
    #[inline(always)]
    pub fn acquire(&self, space: &Space) {
        if self.lock.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.acquire_slow(space);
        }
    }

    #[cold]
    #[inline(never)]
    fn acquire_slow(&self, space: &Space) {
        space.waited();
        self.contended.fetch_add(1, Ordering::Relaxed);
        loop {
            for _ in 0..SPINS {
                if self.lock.load(Ordering::Relaxed) == 0
                    && self.lock.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
                {
                    return;
                }
                std::hint::spin_loop();
            }
            PARKED.fetch_add(1, Ordering::SeqCst);
            let (lot, woken) = self.lot();
            let mut lot = lot.lock();
            if self.lock.load(Ordering::SeqCst) != 0 {
                woken.wait_for(&mut lot, PARK_AT_MOST);
            }
            PARKED.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Where threads park that wait for this shard (and for some others).
    fn lot(&self) -> &'static (Mutex<()>, Condvar) {
        static LOTS: [(Mutex<()>, Condvar); 16] = [const { (Mutex::new(()), Condvar::new()) }; 16];
        &LOTS[std::ptr::from_ref(self).addr() / size_of::<Shard>() % LOTS.len()]
    }

    /// Gives the lock back; for whoever holds it.
    #[inline(always)]
    pub fn release(&self) {
        self.lock.store(0, Ordering::Release);
        if PARKED.load(Ordering::Relaxed) != 0 {
            self.wake();
        }
    }

    #[cold]
    #[inline(never)]
    fn wake(&self) {
        let (lot, woken) = self.lot();
        drop(lot.lock());
        woken.notify_all();
    }
}
