//! The HTTP endpoint for those who watch: probes, metrics, and whatever else the route table has.
//!
//! ```text
//! mod          the thread, what its tasks share      connections   who may connect, for how long
//! routes       path → handler; probes                body          answers, whole or as a stream
//! stalls       a reader who stopped reading is let go          page   the live page and its stream
//! ```
//!
//! All of it runs on one thread with a runtime of its own, so a worker never waits for it and a panic in it costs the
//! request in which it happens. The thread exists only if a listener is configured. Answers are made from a
//! [`Snapshot`], which is gathered at most every [`FRESH_MS`] however many ask.
//!
//! Architecture invariant: nothing here changes anything in the server.

mod body;
mod connections;
mod page;
mod routes;
mod stalls;

pub use body::{Body, Sender};
pub use routes::{ROUTES, Route};

use std::cell::{self, RefCell};
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::LocalSet;

use crate::clock;
use crate::keyspace::{Cell, DbId};
use crate::observe::Commands;
use crate::observe::snapshot::{Collector, Snapshot};
use crate::shared::Shared;
use connections::Connections;

/// Age up to which a snapshot is shown again, in milliseconds.
const FRESH_MS: u64 = 50;
/// Answers without an end (the live page) at the same time.
pub const STREAMS_MAX: usize = 32;

/// Sockets that are bound and listen already.
pub struct Listeners {
    /// By address.
    pub tcp: Vec<TcpListener>,
    /// By path; whoever bound it removes the file.
    pub unix: Option<UnixListener>,
}

/// What the tasks of the thread share.
pub struct Site {
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// What is known of commands.
    pub commands: Commands,
    collector: RefCell<Collector>,
    latest: RefCell<Option<Rc<Snapshot>>>,
    connections: RefCell<Connections>,
    streams: Rc<cell::Cell<usize>>,
    feed: page::Feed,
}

/// The engines of a database as a picture.
pub struct Field {
    /// Its number.
    pub db: DbId,
    /// The engine that serves alone or is being left.
    pub active: Vec<Cell>,
    /// The one that keys move to.
    pub growing: Option<Vec<Cell>>,
}

impl Site {
    fn new(shared: Arc<Shared>, commands: Commands) -> Site {
        let collector = Collector::new(Arc::clone(&shared));
        Site {
            shared,
            commands,
            collector: RefCell::new(collector),
            latest: RefCell::default(),
            connections: RefCell::default(),
            streams: Rc::default(),
            feed: page::Feed::default(),
        }
    }

    /// The engines of the databases that are worth a picture, at most `cells` for each engine.
    pub fn fields(&self, cells: usize) -> Vec<Field> {
        self.collector.borrow_mut().fields(cells)
    }

    /// All live figures, as they were at most [`FRESH_MS`] ago.
    pub fn snapshot(&self) -> Rc<Snapshot> {
        let now_ms = clock::mono_ms();
        let mut latest = self.latest.borrow_mut();
        if let Some(snapshot) = &*latest
            && now_ms.saturating_sub(snapshot.mono_ms) < FRESH_MS
        {
            return Rc::clone(snapshot);
        }
        // Freed first: two of them at once are never needed here.
        *latest = None;
        let snapshot = Rc::new(self.collector.borrow_mut().take());
        *latest = Some(Rc::clone(&snapshot));
        snapshot
    }

    /// An answer without an end, and where to write it; none if there are too many already. The task that writes runs
    /// by `tokio::task::spawn_local`; sending fails once the reader is gone.
    pub fn stream(&self) -> Option<(Sender, Body)> {
        if self.streams.get() >= STREAMS_MAX {
            return None;
        }
        Some(body::stream(Rc::clone(&self.streams)))
    }
}

/// Starts the thread that serves these listeners, until the process ends.
///
/// # Errors
/// If the system gives no thread.
pub fn start(listeners: Listeners, shared: Arc<Shared>, commands: Commands) -> io::Result<()> {
    let work = move || {
        let served = catch_unwind(AssertUnwindSafe(|| serve(listeners, shared, commands)));
        match served {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("the HTTP endpoint cannot be served: {error}"),
            Err(_) => tracing::error!("the HTTP endpoint ended in a panic; the server goes on without it"),
        }
    };
    std::thread::Builder::new().name("http".into()).spawn(work).map(drop)
}

fn serve(listeners: Listeners, shared: Arc<Shared>, commands: Commands) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let site = Rc::new(Site::new(shared, commands));
    LocalSet::new().block_on(&runtime, connections::accept_all(site, listeners))
}
