//! What one connection is to the commands: its database, protocol, user and modes.

use std::sync::Arc;

use crate::clients::{ClientHandle, State};
use crate::commands::tracking::Tracking;
use crate::commands::transaction::{Transaction, Watched};
use crate::events::Subscriptions;
use crate::keyspace::DbId;

/// CLIENT REPLY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplyMode {
    /// Replies are sent.
    #[default]
    On,
    /// None is sent.
    Off,
    /// The next command's is not sent.
    SkipNext,
    /// The running command's is not sent.
    Skip,
}

/// State of one connection, owned by its worker.
pub struct Session {
    /// The connection as others see it.
    pub handle: Arc<ClientHandle>,
    /// The selected database.
    pub db: DbId,
    /// RESP3?
    pub resp3: bool,
    /// Whether commands beyond AUTH, HELLO, QUIT and RESET are allowed.
    pub authenticated: bool,
    /// CLIENT REPLY.
    pub reply_mode: ReplyMode,
    /// There is something to see to after a command: CLIENT REPLY, or CLIENT CACHING, is not as usual.
    pub special: bool,
    /// CLIENT NO-TOUCH ON.
    pub no_touch: bool,
    /// MULTI and its queue.
    pub transaction: Option<Box<Transaction>>,
    /// WATCH.
    pub watched: Option<Box<Watched>>,
    /// CLIENT TRACKING.
    pub tracking: Option<Box<Tracking>>,
    /// Channels and patterns.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// Feeds on MONITOR.
    pub monitor: bool,
    /// Capabilities the client announced (CLIENT CAPA).
    pub capa_redirect: bool,
}

impl Session {
    /// A fresh session.
    pub fn new(handle: Arc<ClientHandle>, authenticated: bool) -> Session {
        Session {
            handle,
            db: 0,
            resp3: false,
            authenticated,
            reply_mode: ReplyMode::On,
            special: false,
            no_touch: false,
            transaction: None,
            watched: None,
            tracking: None,
            subscriptions: None,
            monitor: false,
            capa_redirect: false,
        }
    }

    /// The client's number.
    pub fn id(&self) -> u64 {
        self.handle.id
    }

    /// Whether the client is in RESP2 subscriber mode, where few commands are allowed.
    pub fn subscriber_mode(&self) -> bool {
        !self.resp3 && self.subscriptions.as_ref().is_some_and(|s| !s.is_empty())
    }

    /// Whether the client is in no mode that changes what a command may do.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.authenticated && !self.special && self.transaction.is_none() && self.subscriptions.is_none()
    }

    /// Sets CLIENT REPLY.
    pub fn set_reply_mode(&mut self, mode: ReplyMode) {
        self.reply_mode = mode;
        self.note_special();
    }

    /// Follows a change of what `special` stands for.
    pub fn note_special(&mut self) {
        let caching = self.tracking.as_ref().is_some_and(|t| t.caching);
        self.special = caching || self.reply_mode != ReplyMode::On;
    }

    /// Switches the protocol version.
    pub fn set_protocol(&mut self, resp3: bool) {
        self.resp3 = resp3;
        let version = if resp3 { 3 } else { 2 };
        self.handle.figures.resp.store(version, std::sync::atomic::Ordering::Relaxed);
    }

    /// Selects a database that is known to exist.
    pub fn select(&mut self, db: DbId) {
        self.db = db;
        self.handle.figures.db.store(db, std::sync::atomic::Ordering::Relaxed);
    }

    /// Whether the client is on this machine: by unix socket or a loopback address.
    pub fn is_local(&self) -> bool {
        self.handle.state().contains(State::UNIX)
            || self.handle.addr.starts_with("127.")
            || self.handle.addr.starts_with("[::1]")
    }

    /// Whether others asked for the connection's end.
    pub fn killed(&self) -> bool {
        self.handle.state().contains(State::KILLED)
    }
}
