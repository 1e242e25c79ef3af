//! Who may have cached which key.
//!
//! Divided by hash into parts with a lock each, so that workers rarely meet. A key is put in while its
//! shard of the keyspace is locked for the read, and taken out while it is locked for a write; so
//! whoever read a value before it changed is in here when it changes.

use std::sync::OnceLock;

use super::sync::{AtomicUsize, Mutex, Ordering::Relaxed};

use indexmap::IndexMap;
use indexmap::map::raw_entry_v1::{RawEntryApiV1, RawEntryMut};
use smallvec::SmallVec;

/// Number of parts; of a hash the bits that the maps inside do not use.
const PARTS: usize = 256;
const PART_SHIFT: u32 = 40;
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Few different hashes, so that names share them.
    fn hash(key: &[u8]) -> u64 {
        let few = u64::from(key[0]) % 3;
        (few << PART_SHIFT) | few
    }

    #[test]
    fn agrees_with_a_plain_map() {
        let mut random = fastrand::Rng::with_seed(5);
        let table = Table::default();
        let mut twin: BTreeMap<Vec<u8>, BTreeSet<u64>> = BTreeMap::new();
        for _ in 0..20_000 {
            let key = vec![random.u8(0..40)];
            match random.u8(0..10) {
                0..6 => {
                    let client = random.u64(1..5);
                    table.insert(hash(&key), &key, client);
                    twin.entry(key).or_default().insert(client);
                }
                6..9 => {
                    let taken = table.take(hash(&key), &key).map(|h| h.into_iter().collect());
                    assert_eq!(taken, twin.remove(&key));
                }
                9 if random.u8(..) < 20 => {
                    table.retain(|client| client % 2 == 0);
                    twin.values_mut().for_each(|clients| clients.retain(|client| client % 2 == 0));
                    twin.retain(|_, clients| !clients.is_empty());
                }
                _ => {
                    let taken = table.take_any(random.u64(..));
                    assert_eq!(taken.is_some(), !twin.is_empty());
                    if let Some((key, holders)) = taken {
                        assert_eq!(twin.remove(&*key), Some(holders.into_iter().collect()));
                    }
                }
            }
            assert_eq!(table.len(), twin.len());
            assert_eq!(table.items(), twin.values().map(BTreeSet::len).sum::<usize>());
        }
        let all: usize = table.take_all().iter().map(IndexMap::len).sum();
        assert_eq!((all, table.len(), table.items()), (twin.len(), 0, 0));
    }
}
