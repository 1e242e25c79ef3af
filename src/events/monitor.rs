//! MONITOR: every command as it was received, to the clients that asked for it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::RwLock;

use crate::clients::{ClientHandle, ClientId, State};
use crate::protocol::Reply;

/// The clients in MONITOR.
#[derive(Default)]
pub struct Monitors {
    clients: RwLock<Vec<Arc<ClientHandle>>>,
    count: AtomicUsize,
}

impl Monitors {
    /// Whether nobody watches; one load on the request path.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count.load(Relaxed) == 0
    }

    /// Adds a client.
    pub fn add(&self, client: &Arc<ClientHandle>) {
        let mut clients = self.clients.write();
        clients.push(Arc::clone(client));
        client.set(State::MONITOR);
        self.count.store(clients.len(), Relaxed);
    }

    /// Removes a client.
    pub fn remove(&self, id: ClientId) {
        let mut clients = self.clients.write();
        clients.retain(|c| c.id != id);
        self.count.store(clients.len(), Relaxed);
    }

    /// Feeds one command.
    pub fn feed<'x>(&self, now_us: u64, db: u16, from: &ClientHandle, args: impl Iterator<Item = &'x [u8]>) {
        let mut line = format!("{}.{:06} [{} ", now_us / 1_000_000, now_us % 1_000_000, db);
        if from.state().contains(State::UNIX) {
            let _ = write!(line, "unix:{}]", from.addr.trim_end_matches(":0"));
        } else {
            let _ = write!(line, "{}]", from.addr);
        }
        for arg in args {
            line.push(' ');
            quote(&mut line, arg);
        }
        for client in self.clients.read().iter() {
            client.push(|out| {
                Reply::new(out, false).simple(&line);
            });
        }
    }
}

/// Appends `bytes` in double quotes with everything unprintable escaped.
pub fn quote(line: &mut String, bytes: &[u8]) {
    line.push('"');
    for &b in bytes {
        match b {
            b'\\' | b'"' => {
                line.push('\\');
                line.push(char::from(b));
            }
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            0x07 => line.push_str("\\a"),
            0x08 => line.push_str("\\b"),
            0x20..=0x7e => line.push(char::from(b)),
            _ => {
                let _ = write!(line, "\\x{b:02x}");
            }
        }
    }
    line.push('"');
}
