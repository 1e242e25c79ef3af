//! Who may have cached which key.
//!
//! Divided by hash into parts with a lock each, so that workers rarely meet. A key is put in while its
//! shard of the keyspace is locked for the read, and taken out while it is locked for a write; so
//! whoever read a value before it changed is in here when it changes.

use std::sync::OnceLock;

use super::sync::{AtomicUsize, Mutex, Ordering::Relaxed, PARTS};

use indexmap::IndexMap;
use indexmap::map::raw_entry_v1::{RawEntryApiV1, RawEntryMut};
use smallvec::SmallVec;

/// A part is chosen by the bits of a hash that the maps inside do not use.
pub(super) const PART_SHIFT: u32 = 40;
/// A part that was this large gives memory back when most of it is empty.
const SHRINK_MIN: usize = 64;

/// The clients that may have cached a key, in ascending order.
pub type Holders = SmallVec<[u64; 2]>;

/// Keys under a hash that the caller has already, in no order: one at random can be had.
pub type Keys = IndexMap<Box<[u8]>, Holders, ()>;

#[derive(Default)]
struct Part {
    keys: Keys,
    /// Holders of all keys together.
    items: usize,
}

/// A part on a cache line of its own.
#[repr(align(64))]
struct Aligned(Mutex<Part>);

/// Keys and their holders. It has no memory until the first key is put in.
#[derive(Default)]
pub struct Table {
    parts: OnceLock<Box<[Aligned]>>,
    keys: AtomicUsize,
}

impl Table {
    /// Number of keys.
    #[inline]
    pub fn len(&self) -> usize {
        self.keys.load(Relaxed)
    }

    /// Whether there is none: one load on the write path.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Holders of all keys together.
    pub fn items(&self) -> usize {
        self.parts.get().map_or(0, |parts| parts.iter().map(|part| part.0.lock().items).sum())
    }

    fn part(&self, hash: u64) -> &Mutex<Part> {
        let parts =
            self.parts.get_or_init(|| (0..PARTS).map(|_| Aligned(Mutex::new(Part::default()))).collect());
        &parts[(hash >> PART_SHIFT) as usize % PARTS].0
    }

    /// `client` has read a key. The key's lock is held.
    pub fn insert(&self, hash: u64, key: &[u8], client: u64) {
        let mut part = self.part(hash).lock();
        match part.keys.raw_entry_mut_v1().from_hash(hash, |k| **k == *key) {
            RawEntryMut::Occupied(mut entry) => {
                let holders = entry.get_mut();
                let Err(at) = holders.binary_search(&client) else { return };
                holders.insert(at, client);
            }
            RawEntryMut::Vacant(entry) => {
                entry.insert_hashed_nocheck(hash, key.into(), SmallVec::from_slice(&[client]));
                self.keys.fetch_add(1, Relaxed);
            }
        }
        part.items += 1;
    }

    /// A key changed: whoever may have cached it, who is then no longer in here for it.
    pub fn take(&self, hash: u64, key: &[u8]) -> Option<Holders> {
        if self.is_empty() {
            return None;
        }
        let mut part = self.part(hash).lock();
        let RawEntryMut::Occupied(entry) = part.keys.raw_entry_mut_v1().from_hash(hash, |k| **k == *key)
        else {
            return None;
        };
        let holders = entry.swap_remove();
        self.took(&mut part, &holders);
        Some(holders)
    }

    /// Takes out any key, `random` says which.
    pub fn take_any(&self, random: u64) -> Option<(Box<[u8]>, Holders)> {
        let parts = self.parts.get()?;
        let (first, within) = (random as usize % PARTS, (random >> 32) as usize);
        for i in 0..PARTS {
            let mut part = parts[(first + i) % PARTS].0.lock();
            let len = part.keys.len();
            if len > 0
                && let Some((key, holders)) = part.keys.swap_remove_index(within % len)
            {
                self.took(&mut part, &holders);
                return Some((key, holders));
            }
        }
        None
    }

    fn took(&self, part: &mut Part, holders: &Holders) {
        part.items -= holders.len();
        self.keys.fetch_sub(1, Relaxed);
        if part.keys.capacity() > SHRINK_MIN && part.keys.len() < part.keys.capacity() / 4 {
            part.keys.shrink_to(part.keys.len() * 2);
        }
    }

    /// Takes everything out. What comes back is to be dropped where that may take its time.
    pub fn take_all(&self) -> Vec<Keys> {
        let mut all = Vec::new();
        for part in self.parts.get().into_iter().flatten() {
            let mut part = part.0.lock();
            if !part.keys.is_empty() {
                self.keys.fetch_sub(part.keys.len(), Relaxed);
                all.push(std::mem::take(&mut part.keys));
                part.items = 0;
            }
        }
        all
    }

    /// Takes out the clients that are not to be kept, and the keys that none is left for.
    pub fn retain(&self, keep: impl Fn(u64) -> bool) {
        for part in self.parts.get().into_iter().flatten() {
            let mut part = part.0.lock();
            let (before, mut items) = (part.keys.len(), 0);
            part.keys.retain(|_, holders| {
                holders.retain(|client| keep(*client));
                items += holders.len();
                !holders.is_empty()
            });
            self.keys.fetch_sub(before - part.keys.len(), Relaxed);
            part.items = items;
            part.keys.shrink_to_fit();
        }
    }
}
