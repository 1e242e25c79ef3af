//! A vector that a snapshot may share: the snapshot costs one reference, and whoever writes
//! first afterwards copies this one vector.

use std::ops::Deref;
use std::sync::Arc;

/// Some elements of a larger sequence.
#[derive(Clone, Debug)]
pub(super) enum Chunk<T> {
    /// Nobody else has it.
    Own(Vec<T>),
    /// A snapshot has, or had, it too.
    Shared(Arc<Vec<T>>),
}

impl<T> Deref for Chunk<T> {
    type Target = Vec<T>;

    #[inline]
    fn deref(&self) -> &Vec<T> {
        match self {
            Chunk::Own(vec) => vec,
            Chunk::Shared(vec) => vec,
        }
    }
}

impl<T: Clone> Chunk<T> {
    /// The vector, for this owner alone.
    #[inline]
    pub fn make_mut(&mut self) -> &mut Vec<T> {
        if let Chunk::Shared(shared) = self {
            let shared = std::mem::take(shared);
            *self = Chunk::Own(Arc::unwrap_or_clone(shared));
        }
        match self {
            Chunk::Own(vec) => vec,
            Chunk::Shared(_) => unreachable!("invariant: made its own above"),
        }
    }

    /// The same elements for another owner, without copying them.
    pub fn share(&mut self) -> Self {
        if let Chunk::Own(vec) = self {
            *self = Chunk::Shared(Arc::new(std::mem::take(vec)));
        }
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_copies() {
        let mut a = Chunk::Own(vec![1, 2]);
        let mut b = a.share();
        assert!(std::ptr::eq(a.as_ptr(), b.as_ptr()));
        a.make_mut().push(3);
        b.make_mut().push(4);
        assert_eq!((&**a, &**b), (&[1, 2, 3][..], &[1, 2, 4][..]));
        let place = b.as_ptr();
        drop(b.share());
        assert!(std::ptr::eq(b.make_mut().as_ptr(), place), "the last owner need not copy");
        assert_eq!(size_of::<Chunk<u8>>(), size_of::<Vec<u8>>());
    }
}
