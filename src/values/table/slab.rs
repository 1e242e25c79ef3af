//! Byte strings of a table that are too long for its buckets.

use crate::memory::Renewal;
use crate::values::packed::allocated;
use crate::values::shareable::Shareable;

/// Byte strings too long to stand in a bucket.
#[derive(Clone, Default)]
pub(super) struct Slab {
    /// Shareables, because growing one long vector would copy all of it.
    chunks: Vec<Shareable<Vec<Box<[u8]>>>>,
    free: Vec<u32>,
    len: usize,
    /// Strings in it.
    pub used: usize,
    /// Bytes of memory.
    pub bytes: usize,
}

const SLAB_CHUNK: usize = 1024;

impl Slab {
    /// The same strings for another owner.
    pub fn share(&mut self) -> Slab {
        let chunks = self.chunks.iter_mut().map(Shareable::share).collect();
        Slab { chunks, free: self.free.clone(), ..*self }
    }

    pub fn get(&self, slot: usize) -> &[u8] {
        &self.chunks[slot / SLAB_CHUNK][slot % SLAB_CHUNK]
    }

    /// Moves strings from the `from`th on, as far as that is granted; where to go on.
    pub fn renew(&mut self, from: usize, renewal: &mut Renewal) -> Option<usize> {
        let mut next = from;
        while next < self.len {
            if renewal.is_spent() {
                return Some(next);
            }
            let slot = next;
            let Some(strings) = self.chunks[slot / SLAB_CHUNK].own_mut() else {
                renewal.pass();
                next = (slot / SLAB_CHUNK + 1) * SLAB_CHUNK;
                continue;
            };
            next += 1;
            if slot.is_multiple_of(SLAB_CHUNK) {
                renewal.vec(strings);
            }
            renewal.slice(&mut strings[slot % SLAB_CHUNK]);
        }
        None
    }

    pub fn insert(&mut self, bytes: &[u8]) -> usize {
        self.used += 1;
        self.bytes += allocated(bytes.len()) + size_of::<Box<[u8]>>();
        if let Some(slot) = self.free.pop() {
            let slot = slot as usize;
            self.chunks[slot / SLAB_CHUNK].make_mut()[slot % SLAB_CHUNK] = bytes.into();
            return slot;
        }
        if self.len.is_multiple_of(SLAB_CHUNK) {
            self.chunks.push(Shareable::Own(Vec::new()));
        }
        let last = self.chunks.last_mut().expect("invariant: just made");
        last.make_mut().push(bytes.into());
        self.len += 1;
        self.len - 1
    }

    pub fn remove(&mut self, slot: usize) {
        let old = std::mem::take(&mut self.chunks[slot / SLAB_CHUNK].make_mut()[slot % SLAB_CHUNK]);
        self.used -= 1;
        self.bytes -= allocated(old.len()) + size_of::<Box<[u8]>>();
        if self.used == 0 {
            *self = Slab::default();
        } else {
            self.free.push(u32::try_from(slot).expect("invariant: 2^32 strings of 257 bytes are a terabyte"));
        }
    }
}
