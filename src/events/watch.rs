//! WATCH: which clients' transactions depend on which keys.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::clients::{ClientHandle, ClientId, State};
use crate::keyspace::DbId;

/// Who watches a key, and whether there was none when that began.
struct Watcher {
    client: Arc<ClientHandle>,
    absent: bool,
}

type Watched = HashMap<(DbId, Box<[u8]>), Vec<Watcher>>;

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

    /// Watches a key, which is absent or not. Once per key and client: the caller keeps the
    /// client's own list.
    pub fn add(&self, db: DbId, key: &[u8], client: &Arc<ClientHandle>, absent: bool) {
        let mut keys = self.keys.lock();
        keys.entry((db, key.into())).or_default().push(Watcher { client: Arc::clone(client), absent });
        self.count.store(keys.len(), Relaxed);
    }

    /// Stops watching a key.
    pub fn remove(&self, db: DbId, key: &[u8], client: ClientId) {
        let mut keys = self.keys.lock();
        let name = (db, Box::from(key));
        if let Some(list) = keys.get_mut(&name) {
            list.retain(|w| w.client.id != client);
            if list.is_empty() {
                keys.remove(&name);
            }
        }
        self.count.store(keys.len(), Relaxed);
    }

    /// A key changed: the transactions that depend on it will fail.
    pub fn touch(&self, db: DbId, key: &[u8]) {
        self.touch_if(db, key, |_| true);
    }

    /// A key was removed because its time had come. For those who found it past its time when
    /// they began to watch, that is no change; had it been made anew, they would know.
    pub fn expired(&self, db: DbId, key: &[u8]) {
        self.touch_if(db, key, |w| !w.absent);
    }

    fn touch_if(&self, db: DbId, key: &[u8], concerned: impl Fn(&Watcher) -> bool) {
        if self.is_empty() {
            return;
        }
        let keys = self.keys.lock();
        for watcher in keys.get(&(db, Box::from(key))).into_iter().flatten().filter(|w| concerned(w)) {
            watcher.client.set(State::DIRTY_CAS);
        }
    }

    /// The watched keys of a database.
    pub fn of_database(&self, db: DbId) -> Vec<Box<[u8]>> {
        if self.is_empty() {
            return Vec::new();
        }
        self.keys.lock().keys().filter(|(d, _)| *d == db).map(|(_, key)| key.clone()).collect()
    }
}
