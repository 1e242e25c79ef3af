//! The keys that a batch changed, for those who follow prefixes of keys.
//!
//! A worker collects them while keys are locked, and lets them be told once per batch.

use indexmap::IndexMap;

/// Number of a client.
type ClientId = u64;

/// Nobody in particular: who made a key go by its time, or for memory.
pub const NOBODY: ClientId = 0;

/// Memory that is kept for the next batch.
const KEPT: usize = 64;

/// Changed keys, each once, with who changed it last.
#[derive(Default)]
pub struct Changes {
    keys: IndexMap<Box<[u8]>, ClientId>,
}

impl Changes {
    /// Number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// A client changed a key.
    pub fn add(&mut self, key: &[u8], by: ClientId) {
        self.keys.insert(key.into(), by);
    }

    /// Keys and who changed them.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], ClientId)> {
        self.keys.iter().map(|(key, by)| (&**key, *by))
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.keys.clear();
        if self.keys.capacity() > KEPT {
            self.keys = IndexMap::new();
        }
    }
}
