//! Every connected client as the rest of the process sees it.
//!
//! A connection lives on one worker for life; what other workers may do to it (deliver a
//! message, list it, kill it) goes through its [`ClientHandle`]. Its owner publishes what
//! `CLIENT LIST` shows as relaxed counters, so that listing stops nobody.

mod mailbox;
mod memory;

pub use mailbox::LOST;
use mailbox::Mailbox;
pub use memory::NAME_OVERHEAD;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicI32, AtomicU16, AtomicU32, AtomicU64, AtomicUsize};

use atomic_waker::AtomicWaker;
use parking_lot::RwLock;

use crate::config::{BufferLimit, Config};

/// A client's number, never reused while the process lives.
pub type ClientId = u64;

/// `CLIENT LIST`'s idea of what a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// Sends commands.
    Normal = 0,
    /// Has subscriptions.
    PubSub = 1,
    /// A replica of this server.
    Replica = 2,
    /// The link to this server's master.
    Master = 3,
}

bitflags::bitflags! {
    /// States that others may see and, for some, set.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct State: u32 {
        /// Close as soon as the owner notices; unread replies are dropped.
        const KILLED = 1 << 0;
        /// In MULTI.
        const MULTI = 1 << 1;
        /// Waiting in a blocking command.
        const BLOCKED = 1 << 2;
        /// Feeds on MONITOR.
        const MONITOR = 1 << 3;
        /// Has subscriptions.
        const PUBSUB = 1 << 4;
        /// CLIENT NO-EVICT ON.
        const NO_EVICT = 1 << 5;
        /// CLIENT NO-TOUCH ON.
        const NO_TOUCH = 1 << 6;
        /// A watched key was changed: EXEC will fail.
        const DIRTY_CAS = 1 << 7;
        /// CLIENT TRACKING in BCAST mode.
        const TRACKING_BCAST = 1 << 8;
        /// Who was to be told of changes instead is gone.
        const TRACKING_BROKEN = 1 << 9;
        /// Connected by the unix socket.
        const UNIX = 1 << 10;
        /// Close after the replies that are due were written.
        const CLOSE_AFTER_REPLY = 1 << 11;
        /// CLIENT TRACKING ON.
        const TRACKING = 1 << 12;
        /// CLIENT REPLY OFF; pushes still go out.
        const REPLY_OFF = 1 << 13;
        /// Killed because more waited for it than its output limit allows.
        const OVER_LIMIT = 1 << 15;
        /// Sends data that was moved here (CLIENT IMPORT-SOURCE ON).
        const IMPORT_SOURCE = 1 << 14;
        /// Subscribed to `~lost`: loses messages that it is too slow for, instead of its connection.
        const LOSES_MESSAGES = 1 << 20;
        /// On its way out: takes no further requests and no messages.
        const ENDING = Self::KILLED.bits() | Self::CLOSE_AFTER_REPLY.bits();
    }
}

/// Text attributes, changed rarely and read by CLIENT LIST.
#[derive(Debug, Default, Clone)]
pub struct Labels {
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub lib_ver: Vec<u8>,
    /// The authenticated user.
    pub user: Vec<u8>,
}

/// What the owner publishes for CLIENT LIST and the memory limits. All relaxed.
#[derive(Debug, Default)]
#[allow(missing_docs)] // the fields of CLIENT LIST under their names there
pub struct Figures {
    pub last_ms: AtomicU64,
    pub db: AtomicU16,
    /// Dense command number of the last command, `u16::MAX` for none.
    pub cmd: AtomicU16,
    pub resp: AtomicU16,
    pub sub: AtomicU32,
    pub psub: AtomicU32,
    pub ssub: AtomicU32,
    /// Queued commands, −1 outside MULTI.
    pub multi: AtomicI32,
    pub watch: AtomicU32,
    /// Who is told of changes instead, 0 for nobody; counts while tracking is on.
    pub redir: AtomicU64,
    pub qbuf: AtomicUsize,
    pub qbuf_free: AtomicUsize,
    pub argv_mem: AtomicUsize,
    pub multi_mem: AtomicUsize,
    /// Bytes of watched keys, of channels and patterns, and of prefixes of tracking.
    pub watch_mem: AtomicUsize,
    pub sub_mem: AtomicUsize,
    pub prefix_mem: AtomicUsize,
    /// Bytes of replies that wait for the socket.
    pub out: AtomicUsize,
    /// Memory of the buffer of replies beyond these bytes.
    pub out_free: AtomicUsize,
    pub total_in: AtomicU64,
    pub total_out: AtomicU64,
    pub total_cmds: AtomicU64,
    /// Monotonic milliseconds since which a frame is unfinished; 0 when none is.
    pub partial_since_ms: AtomicU64,
    /// Monotonic milliseconds since which the soft output limit is exceeded; 0 when it is not.
    pub over_soft_since_ms: AtomicU64,
}

/// One client as seen from everywhere.
pub struct ClientHandle {
    /// Its number.
    pub id: ClientId,
    /// The worker that owns it.
    pub worker: u16,
    /// File descriptor, for CLIENT LIST only.
    pub fd: i32,
    /// Peer address, `path:0` for a unix socket.
    pub addr: Box<str>,
    /// Local address.
    pub laddr: Box<str>,
    /// Monotonic milliseconds of the connect.
    pub created_ms: u64,
    /// Published by the owner.
    pub figures: Figures,
    state: AtomicU32,
    labels: RwLock<Labels>,
    mailbox: Mailbox,
    waker: AtomicWaker,
    /// What it counts for in the sum of all clients.
    reported: AtomicUsize,
    ledger: Arc<memory::Ledger>,
}

impl std::fmt::Debug for ClientHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientHandle").field("id", &self.id).field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl ClientHandle {
    /// The states now.
    #[inline]
    pub fn state(&self) -> State {
        State::from_bits_truncate(self.state.load(Acquire))
    }

    /// Sets states.
    pub fn set(&self, s: State) {
        self.state.fetch_or(s.bits(), AcqRel);
    }

    /// Clears states.
    pub fn clear(&self, s: State) {
        self.state.fetch_and(!s.bits(), AcqRel);
    }

    /// Sets or clears.
    pub fn put(&self, s: State, on: bool) {
        if on { self.set(s) } else { self.clear(s) }
    }

    /// RESET: back to the states and labels of a fresh connection.
    pub fn reset(&self) {
        let kept = State::UNIX.union(State::ENDING);
        self.state.fetch_and(kept.bits(), AcqRel);
        *self.labels.write() = Labels { user: b"default".to_vec(), ..Labels::default() };
        for figure in [&self.figures.sub, &self.figures.psub, &self.figures.ssub, &self.figures.watch] {
            figure.store(0, Relaxed);
        }
        self.figures.watch_mem.store(0, Relaxed);
        self.figures.sub_mem.store(0, Relaxed);
        self.figures.multi.store(-1, Relaxed);
        self.mailbox.lost.store(0, Relaxed);
    }

    /// Reads the labels.
    pub fn labels(&self) -> Labels {
        self.labels.read().clone()
    }

    /// Changes the labels.
    pub fn with_labels<R>(&self, f: impl FnOnce(&mut Labels) -> R) -> R {
        f(&mut self.labels.write())
    }

    /// RESP version that pushes to this client are written in.
    pub fn resp3(&self) -> bool {
        self.figures.resp.load(Relaxed) == 3
    }

    /// What CLIENT LIST and the output limits count it as.
    pub fn role(&self) -> Role {
        if self.state().contains(State::PUBSUB) { Role::PubSub } else { Role::Normal }
    }

    /// Asks the owner to close the connection, dropping what it has not written.
    pub fn kill(&self) {
        self.set(State::KILLED);
        self.waker.wake();
    }

    /// Asks the owner to close the connection once everything that waits for the client was sent.
    pub fn end(&self) {
        self.set(State::CLOSE_AFTER_REPLY);
        self.waker.wake();
    }

    /// Wakes the owner's task, which then looks at `state` and the mailbox.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Registers the owner's task. After this, check `has_mail` and `state` again.
    pub fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    /// So many of its commands ran. For the worker that owns it, or who has it in hand while it waits: nobody else writes
    /// here.
    #[inline]
    pub fn ran(&self, commands: u32) {
        let total = &self.figures.total_cmds;
        total.store(total.load(Relaxed) + u64::from(commands), Relaxed);
    }

    /// Memory held for this client, as `tot-mem` shows it.
    pub fn memory(&self) -> usize {
        let f = &self.figures;
        f.qbuf.load(Relaxed)
            + f.qbuf_free.load(Relaxed)
            + f.argv_mem.load(Relaxed)
            + f.multi_mem.load(Relaxed)
            + f.watch_mem.load(Relaxed)
            + f.sub_mem.load(Relaxed)
            + f.prefix_mem.load(Relaxed)
            + f.out.load(Relaxed)
            + f.out_free.load(Relaxed)
            + self.mail_bytes()
            + size_of::<ClientHandle>()
    }
}

/// What is known of a connection when it is accepted.
#[derive(Debug)]
pub struct NewClient {
    /// Owning worker.
    pub worker: u16,
    /// Descriptor number.
    pub fd: i32,
    /// Peer address.
    pub addr: Box<str>,
    /// Local address.
    pub laddr: Box<str>,
    /// By unix socket?
    pub unix: bool,
    /// Monotonic milliseconds.
    pub now_ms: u64,
}

/// The registry of all clients.
pub struct Clients {
    // Ordered by id, as CLIENT LIST is. Written on connect and disconnect only.
    all: RwLock<BTreeMap<ClientId, Arc<ClientHandle>>>,
    next_id: AtomicU64,
    count: AtomicUsize,
    /// Messages that were dropped.
    lost: Arc<AtomicU64>,
    per_worker: Box<[AtomicUsize]>,
    ledger: Arc<memory::Ledger>,
}

impl Clients {
    /// An empty registry.
    pub fn new(workers: u16) -> Clients {
        Clients {
            all: RwLock::default(),
            next_id: AtomicU64::new(0),
            count: AtomicUsize::new(0),
            lost: Arc::default(),
            per_worker: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            ledger: Arc::default(),
        }
    }

    /// Clients of one worker.
    pub fn of_worker(&self, worker: usize) -> usize {
        self.per_worker.get(worker).map_or(0, |n| n.load(Relaxed))
    }

    /// Messages that slow subscribers of `~lost` did not get.
    pub fn lost_messages(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        self.lost.store(0, Relaxed);
        self.reset_evicted();
    }

    /// Number of connected clients.
    pub fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Takes a place if fewer than `max` clients are connected.
    pub fn admit(&self, max: usize, new: NewClient) -> Option<Arc<ClientHandle>> {
        if self.count.fetch_add(1, AcqRel) >= max {
            self.count.fetch_sub(1, AcqRel);
            return None;
        }
        if let Some(n) = self.per_worker.get(usize::from(new.worker)) {
            n.fetch_add(1, Relaxed);
        }
        let id = self.next_id.fetch_add(1, Relaxed) + 1;
        let handle = Arc::new(self.handle(id, new));
        self.all.write().insert(id, Arc::clone(&handle));
        Some(handle)
    }

    /// A client that stands for this process where a command needs one. It is in no list.
    pub fn of_this_process(&self) -> Arc<ClientHandle> {
        let (addr, laddr) = (Box::default(), Box::default());
        Arc::new(self.handle(0, NewClient { worker: 0, fd: -1, addr, laddr, unix: false, now_ms: 0 }))
    }

    fn handle(&self, id: ClientId, new: NewClient) -> ClientHandle {
        let figures = Figures::default();
        figures.resp.store(2, Relaxed);
        figures.multi.store(-1, Relaxed);
        figures.cmd.store(u16::MAX, Relaxed);
        figures.last_ms.store(new.now_ms, Relaxed);
        ClientHandle {
            id,
            worker: new.worker,
            fd: new.fd,
            addr: new.addr,
            laddr: new.laddr,
            created_ms: new.now_ms,
            figures,
            state: AtomicU32::new(if new.unix { State::UNIX.bits() } else { 0 }),
            labels: RwLock::new(Labels { user: b"default".to_vec(), ..Labels::default() }),
            mailbox: Mailbox::new(Arc::clone(&self.lost)),
            waker: AtomicWaker::new(),
            reported: AtomicUsize::new(0),
            ledger: Arc::clone(&self.ledger),
        }
    }

    /// Forgets a client; its owner calls this exactly once.
    pub fn remove(&self, id: ClientId) {
        if let Some(client) = self.all.write().remove(&id) {
            // Whoever still has the handle sees that nobody is there.
            client.set(State::KILLED);
            client.report_gone();
            self.count.fetch_sub(1, AcqRel);
            if let Some(n) = self.per_worker.get(usize::from(client.worker)) {
                n.fetch_sub(1, Relaxed);
            }
        }
    }

    /// The client of that number.
    pub fn get(&self, id: ClientId) -> Option<Arc<ClientHandle>> {
        self.all.read().get(&id).cloned()
    }

    /// All clients in order of their numbers.
    pub fn list(&self) -> Vec<Arc<ClientHandle>> {
        self.all.read().values().cloned().collect()
    }
}

/// The output limits of a class of clients.
pub fn output_limit(config: &Config, role: Role) -> BufferLimit {
    let limits = &config.client_output_buffer_limit;
    match role {
        Role::Normal | Role::Master => limits.normal,
        Role::Replica => limits.replica,
        Role::PubSub => limits.pubsub,
    }
}

/// Sets a client's output limits from the settings and its role.
pub fn apply_output_limit(handle: &ClientHandle, config: &Config) {
    let hard = output_limit(config, handle.role()).hard;
    let hard = if hard == 0 { usize::MAX } else { usize::try_from(hard).unwrap_or(usize::MAX) };
    handle.set_output_hard(hard);
    let messages = usize::try_from(config.event_buffer_limit).unwrap_or(usize::MAX);
    handle.mailbox.messages_max.store(messages, Relaxed);
}
