//! Models of client-side caches: a client that reads a key and one that writes it, through every interleaving that
//! loom finds within three preemptions.
//!
//! The table is the real file, compiled against loom. `Server` stands for what is around it: a value behind the lock of
//! its shard as in `src/keyspace`, `read` as `remember` in `src/commands/tracking.rs` and `write` as `invalidate` in
//! `src/events/tracking/mod.rs`, both under that lock; `end` and `sweep` as in the registry of tracking clients.
#![allow(dead_code, unreachable_pub)] // the table offers more than a model uses

#[path = "common/loom_mutex.rs"]
mod loom_mutex;
#[path = "common/model.rs"]
mod model;

mod sync {
    //! Loom's types with the interface that the table uses.
    pub use super::loom_mutex::Mutex;
    pub use loom::sync::atomic::{AtomicUsize, Ordering};

    pub const PARTS: usize = 2;
}

#[path = "../src/events/tracking/table.rs"]
mod table;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering::SeqCst};
use loom::thread;
use model::model;
use sync::Mutex;
use table::Table;

const KEY: &[u8] = b"k";
const HASH: u64 = 7;
const READER: u64 = 1;
const OTHER: u64 = 2;

struct Server {
    value: Mutex<u32>,
    table: Table,
    /// What each client was told, by its number: that the key is not what it read.
    told: [Mutex<u32>; 3],
    /// Whether the other client has tracking on.
    tracks: AtomicBool,
}

impl Server {
    fn new() -> Arc<Server> {
        let told = std::array::from_fn(|_| Mutex::new(0));
        Arc::new(Server {
            value: Mutex::new(0),
            table: Table::default(),
            told,
            tracks: AtomicBool::new(true),
        })
    }

    /// GET by a client that caches what it reads, with the number of messages that it had before: its worker sends those
    /// that come from then on behind the reply.
    fn read(&self, client: u64) -> (u32, u32) {
        let told = *self.told[client as usize].lock();
        let value = self.value.lock();
        self.table.insert(HASH, KEY, client);
        (*value, told)
    }

    /// SET by a client that caches nothing, or an expiry.
    fn write(&self) {
        let mut value = self.value.lock();
        *value += 1;
        for client in self.table.take(HASH, KEY).into_iter().flatten() {
            *self.told[client as usize].lock() += 1;
        }
    }

    /// `tracking-table-max-keys` hits the key: no lock of it is held.
    fn trim(&self) {
        if let Some((_, holders)) = self.table.take_any(0) {
            for client in holders {
                *self.told[client as usize].lock() += 1;
            }
        }
    }

    /// Whoever read an old value was told after that, and is told no more than once for what it read.
    fn expect_no_stale_cache(&self, client: u64, read: (u32, u32)) {
        let (value, told) = (*self.value.lock(), *self.told[client as usize].lock());
        if read.0 != value {
            assert!(told > read.1, "it still shows {} and the key holds {value}", read.0);
        }
        assert!(told <= read.1 + 1, "{} messages for one read", told - read.1);
    }
}

#[test]
fn a_read_beside_a_write_is_of_the_new_value_or_told_of_it() {
    model(|| {
        let server = Server::new();
        let writer = thread::spawn({
            let server = Arc::clone(&server);
            move || server.write()
        });
        let read = server.read(READER);
        writer.join().expect("writer");
        server.expect_no_stale_cache(READER, read);
    });
}

#[test]
fn two_writes_beside_two_readers() {
    model(|| {
        let server = Server::new();
        let first = server.read(OTHER);
        let writer = thread::spawn({
            let server = Arc::clone(&server);
            move || {
                server.write();
                server.write();
            }
        });
        let read = server.read(READER);
        writer.join().expect("writer");
        server.expect_no_stale_cache(READER, read);
        server.expect_no_stale_cache(OTHER, first);
        assert!(*server.told[OTHER as usize].lock() == 1, "it read once");
    });
}

#[test]
fn what_the_limit_forgets_is_told_too() {
    model(|| {
        let server = Server::new();
        let other = thread::spawn({
            let server = Arc::clone(&server);
            move || server.trim()
        });
        let writer = thread::spawn({
            let server = Arc::clone(&server);
            move || server.write()
        });
        let read = server.read(READER);
        other.join().expect("trim");
        writer.join().expect("writer");
        server.expect_no_stale_cache(READER, read);
        assert_eq!(server.table.items(), usize::from(!server.table.is_empty()));
    });
}

#[test]
fn a_sweep_takes_only_those_who_are_gone() {
    model(|| {
        let server = Server::new();
        server.read(OTHER);
        let sweep = thread::spawn({
            let server = Arc::clone(&server);
            move || {
                server.tracks.store(false, SeqCst);
                let tracks = |client| client != OTHER || server.tracks.load(SeqCst);
                server.table.retain(tracks);
            }
        });
        let read = server.read(READER);
        sweep.join().expect("sweep");
        server.write();
        server.expect_no_stale_cache(READER, read);
        assert!(server.table.is_empty() && server.table.items() == 0);
    });
}
