//! Large strings that replies, effects and snapshots can hold without a copy.
//!
//! A [`Blob`] is immutable while more than one owner has it. The keyspace keeps
//! one reference; a reply that is being written keeps another for as long as the
//! socket needs the bytes. A writer asks for [`Blob::make_mut`], which copies only
//! if somebody else still looks.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::memory::Renewal;

/// A reference-counted byte string. Cloning it is one atomic increment.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Blob(Arc<Vec<u8>>);

impl Blob {
    /// Takes the bytes over without copying them.
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        Blob(Arc::new(bytes))
    }

    /// Copies the bytes.
    pub fn copy_from(bytes: &[u8]) -> Self {
        Self::from_vec(bytes.to_vec())
    }

    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Number of bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes for writing: in place if this is the only owner, else a copy
    /// which from now on is this blob's own.
    pub fn make_mut(&mut self) -> &mut Vec<u8> {
        Arc::make_mut(&mut self.0)
    }

    /// The bytes as a vector of their own; copies only if shared.
    pub fn into_vec(self) -> Vec<u8> {
        Arc::unwrap_or_clone(self.0)
    }

    /// Whether somebody else holds these bytes at this moment. The answer can only
    /// go from yes to no by itself.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Moves the bytes and their head, if need be and nobody else holds them.
    pub fn renew(&mut self, renewal: &mut Renewal) {
        let head = renewal.wants(&self.0);
        let Some(bytes) = Arc::get_mut(&mut self.0) else { return };
        renewal.vec(bytes);
        if head {
            self.0 = Arc::new(std::mem::take(bytes));
        }
    }

    /// Bytes of memory behind this blob: capacity and header, owners not divided.
    pub fn memory(&self) -> usize {
        // The counters and the vector's three words stand in the Arc's allocation.
        self.0.capacity() + size_of::<Vec<u8>>() + 2 * size_of::<usize>()
    }
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from_vec(bytes)
    }
}

impl fmt::Debug for Blob {
    /// The length only: values may be secret, and huge.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.len())
    }
}

const _: () = {
    const fn is_send_sync<T: Send + Sync>() {}
    is_send_sync::<Blob>();
    assert!(size_of::<Blob>() == size_of::<usize>());
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_in_place_keeps_the_address() {
        let mut blob = Blob::from_vec(Vec::with_capacity(100));
        let before = blob.as_slice().as_ptr();
        blob.make_mut().extend_from_slice(b"hello");
        assert_eq!(&*blob, b"hello");
        assert_eq!(blob.as_slice().as_ptr(), before);
    }

    #[test]
    fn a_reader_keeps_what_it_saw() {
        let mut blob = Blob::copy_from(b"old");
        let reader = blob.clone();
        assert!(blob.is_shared());
        blob.make_mut().clear();
        assert_eq!(reader.as_slice(), b"old");
        assert!(blob.is_empty() && !blob.is_shared() && !reader.is_shared());
        assert_eq!(reader.into_vec(), b"old");
    }

    #[test]
    fn debug_output_shows_no_content() {
        assert_eq!(format!("{:?}", Blob::copy_from(b"secret")), "Blob(6 bytes)");
    }
}
