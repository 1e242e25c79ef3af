//! Which data set a database number stands for.
//!
//! SWAPDB exchanges the data of two numbers. Timers belong to the data, and each worker has
//! its own, so they are kept under an identity that moves with the data instead of being
//! exchanged in every worker.

use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use crate::keyspace::DbId;

/// The identity of the data behind each database number. Changed behind the exclusive gate
/// only, whose hand-over orders the relaxed accesses.
#[derive(Debug)]
pub struct Identities {
    of: Box<[AtomicU16]>,
}

impl Identities {
    /// Every number stands for itself.
    pub fn new(databases: DbId) -> Identities {
        Identities { of: (0..databases).map(AtomicU16::new).collect() }
    }

    /// Identity of the data at `db`.
    #[inline]
    pub fn identity(&self, db: DbId) -> usize {
        usize::from(self.of[usize::from(db)].load(Relaxed))
    }

    /// The number under which that data is found now.
    pub fn database(&self, identity: usize) -> DbId {
        let place = self.of.iter().position(|i| usize::from(i.load(Relaxed)) == identity);
        place.and_then(|p| DbId::try_from(p).ok()).unwrap_or(0)
    }

    /// SWAPDB.
    pub fn swap(&self, a: DbId, b: DbId) {
        let (a, b) = (&self.of[usize::from(a)], &self.of[usize::from(b)]);
        let old = a.load(Relaxed);
        a.store(b.load(Relaxed), Relaxed);
        b.store(old, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_move_with_the_data() {
        let ids = Identities::new(4);
        ids.swap(0, 2);
        ids.swap(2, 3);
        assert_eq!([ids.identity(0), ids.identity(2), ids.identity(3)], [2, 3, 0]);
        assert_eq!([ids.database(0), ids.database(2), ids.database(3)], [3, 0, 2]);
    }
}
