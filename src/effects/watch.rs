//! WATCH: which clients' transactions depend on which keys.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::clients::{ClientHandle, ClientId, State};
use crate::keyspace::DbId;

type Watched = HashMap<(DbId, Box<[u8]>), Vec<Arc<ClientHandle>>>;

/// The table of watched keys. It names keys, not places, so engines may change under it.
#[derive(Default)]
pub struct Watches {
    keys: Mutex<Watched>,
    count: AtomicUsize,
}

impl Watches {
    /// Whether nobody watches anything; one load on the write path.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count.load(Relaxed) == 0
    }

    /// Watches a key. Once per key and client: the caller keeps the client's own list.
    pub fn add(&self, db: DbId, key: &[u8], client: &Arc<ClientHandle>) {
        let mut keys = self.keys.lock();
        keys.entry((db, key.into())).or_default().push(Arc::clone(client));
        self.count.store(keys.len(), Relaxed);
    }

    /// Stops watching a key.
    pub fn remove(&self, db: DbId, key: &[u8], client: ClientId) {
        let mut keys = self.keys.lock();
        let name = (db, Box::from(key));
        if let Some(list) = keys.get_mut(&name) {
            list.retain(|c| c.id != client);
            if list.is_empty() {
                keys.remove(&name);
            }
        }
        self.count.store(keys.len(), Relaxed);
    }

    /// A key changed: the transactions that depend on it will fail.
    pub fn touch(&self, db: DbId, key: &[u8]) {
        if self.is_empty() {
            return;
        }
        let keys = self.keys.lock();
        for client in keys.get(&(db, Box::from(key))).into_iter().flatten() {
            client.set(State::DIRTY_CAS);
        }
    }

    /// A whole database was emptied or exchanged.
    pub fn touch_database(&self, db: DbId) {
        if self.is_empty() {
            return;
        }
        let keys = self.keys.lock();
        for (_, clients) in keys.iter().filter(|((d, _), _)| *d == db) {
            for client in clients {
                client.set(State::DIRTY_CAS);
            }
        }
    }
}
