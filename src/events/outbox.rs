//! Entries of expired keys on their way into the streams that rules name.
//!
//! A key ends while its shard is locked, and its stream may be in another shard. So the entry is put into this queue
//! under the key's lock, and appended as soon as nothing is locked (`commands/outbox.rs`): in the order in which keys
//! ended, by one thread at a time. Whoever adds entries looks after them right away, so the queue is as long as what
//! one command or one slice of expiry ended; where nobody who may run commands is at hand (the helper thread), what
//! ends is bounded by [`Outbox::is_full`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst, fence};

use parking_lot::{Mutex, MutexGuard};

use crate::clients::ClientHandle;
use crate::config::ExpiryRules;
use crate::effects::ended::Ended;
use crate::events::feeds::facts_of;
use crate::values::Blob;

/// Entries that may wait before those who can do without adding more do so.
const BACKLOG_MAX: usize = 16 * 1024;

/// An entry to be appended.
pub struct Entry {
    /// Database of its stream.
    pub db: u16,
    /// The command that appends it.
    pub argv: Vec<Blob>,
}

/// The queue.
pub struct Outbox {
    queue: Mutex<VecDeque<Entry>>,
    /// How many are in it or being appended.
    pending: AtomicUsize,
    /// Held by the one who appends.
    turn: Mutex<()>,
    appended: AtomicU64,
    failed: AtomicU64,
    /// Whose commands these are.
    client: Arc<ClientHandle>,
}

impl Outbox {
    /// An empty queue; `client` stands for it where a command needs one.
    pub fn new(client: Arc<ClientHandle>) -> Outbox {
        Outbox {
            queue: Mutex::default(),
            pending: AtomicUsize::new(0),
            turn: Mutex::default(),
            appended: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            client,
        }
    }

    /// Something ended: an entry for each rule that is about it. Values of up to `value_max` bytes are kept.
    pub fn add(&self, rules: &ExpiryRules, ended: &Ended<'_>, value_max: usize) {
        for rule in rules.0.iter().filter(|rule| rule.concerns(ended.db, ended.key)) {
            let facts = facts_of(ended, rule.value.then_some(value_max));
            let mut argv: Vec<Blob> = [&b"XADD"[..], rule.stream.as_bytes(), b"MAXLEN", b"="]
                .into_iter()
                .map(Blob::copy_from)
                .collect();
            argv.push(Blob::from_vec(rule.maxlen.to_string().into_bytes()));
            argv.push(Blob::copy_from(b"*"));
            for (name, text) in facts.texts() {
                argv.extend([Blob::copy_from(name.as_bytes()), Blob::from_vec(text)]);
            }
            let mut queue = self.queue.lock();
            queue.push_back(Entry { db: ended.db, argv });
            self.pending.fetch_add(1, SeqCst);
        }
    }

    /// Whether entries wait, or are being appended.
    #[inline]
    pub fn has_pending(&self) -> bool {
        // Either who has the turn sees an entry after giving it back, or who added it finds the turn free.
        fence(SeqCst);
        self.pending.load(SeqCst) > 0
    }

    /// Whether so many wait that what can be put off should be.
    pub fn is_full(&self) -> bool {
        self.pending.load(Relaxed) >= BACKLOG_MAX
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.queue.lock().len()
    }

    /// The turn to append; none while somebody else has it, who then appends these entries as well. When very many
    /// wait, this waits for its turn, so that whoever makes entries is not faster than who appends them.
    pub fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        fence(SeqCst);
        if self.is_full() { Some(self.turn.lock()) } else { self.turn.try_lock() }
    }

    /// The next entry; only for who has the turn, and to be followed by [`done`](Self::done).
    pub fn take(&self) -> Option<Entry> {
        let mut queue = self.queue.lock();
        let entry = queue.pop_front();
        if queue.is_empty() && queue.capacity() > 1024 {
            queue.shrink_to(64);
        }
        entry
    }

    /// What was taken was appended, or could not be.
    pub fn done(&self, appended: bool) {
        let counter = if appended { &self.appended } else { &self.failed };
        counter.fetch_add(1, Relaxed);
        self.pending.fetch_sub(1, SeqCst);
    }

    /// Whose commands append.
    pub fn client(&self) -> &Arc<ClientHandle> {
        &self.client
    }

    /// How many were appended, could not be, and wait.
    pub fn figures(&self) -> [u64; 3] {
        [self.appended.load(Relaxed), self.failed.load(Relaxed), self.pending.load(Relaxed) as u64]
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        self.appended.store(0, Relaxed);
        self.failed.store(0, Relaxed);
    }
}
