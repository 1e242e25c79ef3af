//! A part of a larger sequence that a snapshot may share: the snapshot costs one reference, and
//! whoever writes first afterwards copies this one part.

use std::ops::Deref;
use std::sync::Arc;

/// A vector, or another container, of some elements.
#[derive(Clone, Debug)]
pub(super) enum Shareable<C> {
    /// Nobody else has it.
    Own(C),
    /// A snapshot has, or had, it too.
    Shared(Arc<C>),
}

impl<C: Default> Default for Shareable<C> {
    fn default() -> Self {
        Shareable::Own(C::default())
    }
}

impl<C> Deref for Shareable<C> {
    type Target = C;

    #[inline]
    fn deref(&self) -> &C {
        match self {
            Shareable::Own(own) => own,
            Shareable::Shared(shared) => shared,
        }
    }
}

impl<C: Clone + Default> Shareable<C> {
    /// The container, for this owner alone.
    #[inline]
    pub fn make_mut(&mut self) -> &mut C {
        if let Shareable::Shared(shared) = self {
            let shared = std::mem::take(shared);
            *self = Shareable::Own(Arc::unwrap_or_clone(shared));
        }
        match self {
            Shareable::Own(own) => own,
            Shareable::Shared(_) => unreachable!("invariant: made its own above"),
        }
    }

    /// The container itself, copied if somebody else has it too.
    pub fn into_inner(self) -> C {
        match self {
            Shareable::Own(own) => own,
            Shareable::Shared(shared) => Arc::unwrap_or_clone(shared),
        }
    }

    /// The container, if nobody else has it.
    pub fn own_mut(&mut self) -> Option<&mut C> {
        match self {
            Shareable::Own(own) => Some(own),
            Shareable::Shared(shared) => Arc::get_mut(shared),
        }
    }

    /// The same elements for another owner, without copying them.
    pub fn share(&mut self) -> Self {
        if let Shareable::Own(own) = self {
            *self = Shareable::Shared(Arc::new(std::mem::take(own)));
        }
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_copies() {
        let mut a = Shareable::Own(vec![1, 2]);
        let mut b = a.share();
        assert!(std::ptr::eq(a.as_ptr(), b.as_ptr()));
        a.make_mut().push(3);
        b.make_mut().push(4);
        assert_eq!((&**a, &**b), (&[1, 2, 3][..], &[1, 2, 4][..]));
        let place = b.as_ptr();
        drop(b.share());
        assert!(std::ptr::eq(b.make_mut().as_ptr(), place), "the last owner need not copy");
        assert_eq!(size_of::<Shareable<Vec<u8>>>(), size_of::<Vec<u8>>());
    }
}
