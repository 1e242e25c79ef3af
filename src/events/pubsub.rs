//! Publish and subscribe: exact channels, glob patterns and sharded channels.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::RwLock;

use crate::clients::{ClientHandle, ClientId};
use crate::glob;
/// Number of a database, as it stands in the names of event channels.
type DbId = u16;
use crate::protocol::reply::Reply;

/// Short name of the expiry events of the database that its subscriber had selected.
pub const EXPIRY_ALIAS: &[u8] = b"~Ex";

/// The three name spaces of subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// SUBSCRIBE
    Channel,
    /// PSUBSCRIBE
    Pattern,
    /// SSUBSCRIBE
    Shard,
}

/// What one client is subscribed to, in the order of the names.
#[derive(Debug, Default)]
pub struct Subscriptions {
    channels: BTreeSet<Box<[u8]>>,
    patterns: BTreeSet<Box<[u8]>>,
    shards: BTreeSet<Box<[u8]>>,
}

impl Subscriptions {
    /// The names in one scope.
    pub fn of(&self, scope: Scope) -> &BTreeSet<Box<[u8]>> {
        match scope {
            Scope::Channel => &self.channels,
            Scope::Pattern => &self.patterns,
            Scope::Shard => &self.shards,
        }
    }

    /// The names in one scope, to be changed.
    pub fn of_mut(&mut self, scope: Scope) -> &mut BTreeSet<Box<[u8]>> {
        match scope {
            Scope::Channel => &mut self.channels,
            Scope::Pattern => &mut self.patterns,
            Scope::Shard => &mut self.shards,
        }
    }

    /// Whether there is none at all.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty() && self.shards.is_empty()
    }

    /// The count that (P)SUBSCRIBE replies with: channels and patterns, or shard channels.
    pub fn count(&self, scope: Scope) -> usize {
        match scope {
            Scope::Shard => self.shards.len(),
            _ => self.channels.len() + self.patterns.len(),
        }
    }
}

type Listeners = Vec<Arc<ClientHandle>>;
type Names = HashMap<Box<[u8]>, Listeners>;

/// The registry. Read-mostly: PUBLISH takes a shared lock, subscribing an exclusive one.
#[derive(Default)]
pub struct PubSub {
    channels: RwLock<Names>,
    patterns: RwLock<Names>,
    shards: RwLock<Names>,
    /// Subscribers of [`EXPIRY_ALIAS`], each with the database it follows.
    expiry: RwLock<Vec<(DbId, Arc<ClientHandle>)>>,
    /// How many they are; read on the effects path.
    expiry_count: AtomicUsize,
    /// Number of names in all scopes; lets a keyspace event that nobody hears cost one load.
    names: AtomicUsize,
    /// Messages put into the buffers of subscribers, ever. Once per PUBLISH, which reads a lock that all share anyway.
    delivered: AtomicU64,
}

impl PubSub {
    fn names_of(&self, scope: Scope) -> &RwLock<Names> {
        match scope {
            Scope::Channel => &self.channels,
            Scope::Pattern => &self.patterns,
            Scope::Shard => &self.shards,
        }
    }

    /// Whether anybody listens to anything.
    #[inline]
    pub fn is_silent(&self) -> bool {
        self.names.load(Relaxed) == 0
    }

    /// Whether anybody listens to expiry events without having them configured.
    #[inline]
    pub fn hears_expiry(&self) -> bool {
        self.expiry_count.load(Relaxed) != 0
    }

    /// Adds a listener to the expiry events of one database, by their short name.
    pub fn subscribe_expiry(&self, db: DbId, client: &Arc<ClientHandle>) {
        let mut listeners = self.expiry.write();
        listeners.push((db, Arc::clone(client)));
        self.expiry_count.store(listeners.len(), Relaxed);
    }

    /// A key of this database expired.
    pub fn publish_expired(&self, db: DbId, key: &[u8]) {
        if !self.hears_expiry() {
            return;
        }
        for (_, client) in self.expiry.read().iter().filter(|(of, _)| *of == db) {
            deliver(client, &[b"message", EXPIRY_ALIAS, key]);
        }
    }

    fn unsubscribe_expiry(&self, client: ClientId) {
        let mut listeners = self.expiry.write();
        listeners.retain(|(_, l)| l.id != client);
        self.expiry_count.store(listeners.len(), Relaxed);
    }

    /// Adds a listener. The caller keeps the client's own list and calls this once per name.
    pub fn subscribe(&self, scope: Scope, name: &[u8], client: &Arc<ClientHandle>) {
        let mut names = self.names_of(scope).write();
        names.entry(name.into()).or_insert_with(|| {
            self.names.fetch_add(1, Relaxed);
            Vec::new()
        });
        if let Some(listeners) = names.get_mut(name) {
            listeners.push(Arc::clone(client));
        }
    }

    /// Removes a listener.
    pub fn unsubscribe(&self, scope: Scope, name: &[u8], client: ClientId) {
        if is_expiry_alias(scope, name) {
            return self.unsubscribe_expiry(client);
        }
        let mut names = self.names_of(scope).write();
        let Some(listeners) = names.get_mut(name) else { return };
        listeners.retain(|l| l.id != client);
        if listeners.is_empty() {
            names.remove(name);
            self.names.fetch_sub(1, Relaxed);
            if names.capacity() > 64 && names.len() < names.capacity() / 4 {
                names.shrink_to_fit();
            }
        }
    }

    /// Delivers a message to the listeners of a channel and of the patterns that match it.
    /// Returns how many clients it went to.
    pub fn publish(&self, channel: &[u8], message: &[u8]) -> usize {
        let mut receivers = 0;
        if let Some(listeners) = self.channels.read().get(channel) {
            for client in listeners {
                deliver(client, &[b"message", channel, message]);
            }
            receivers += listeners.len();
        }
        let patterns = self.patterns.read();
        for (pattern, listeners) in patterns.iter() {
            if glob::matches(pattern, channel, false) {
                for client in listeners {
                    deliver(client, &[b"pmessage", pattern, channel, message]);
                }
                receivers += listeners.len();
            }
        }
        self.count_delivered(receivers);
        receivers
    }

    fn count_delivered(&self, receivers: usize) {
        if receivers > 0 {
            self.delivered.fetch_add(receivers as u64, Relaxed);
        }
    }

    /// Messages put into the buffers of subscribers, ever; the same message once for each of them.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Relaxed)
    }

    /// Delivers a message to the listeners of a shard channel.
    pub fn publish_shard(&self, channel: &[u8], message: &[u8]) -> usize {
        let shards = self.shards.read();
        let Some(listeners) = shards.get(channel) else { return 0 };
        for client in listeners {
            deliver(client, &[b"smessage", channel, message]);
        }
        self.count_delivered(listeners.len());
        listeners.len()
    }

    /// Channels with at least one listener that match `pattern`.
    pub fn active(&self, scope: Scope, pattern: Option<&[u8]>) -> Vec<Box<[u8]>> {
        let names = self.names_of(scope).read();
        let alias = (scope == Scope::Channel && self.hears_expiry()).then(|| Box::from(EXPIRY_ALIAS));
        let names = names.keys().cloned().chain(alias);
        names.filter(|n| pattern.is_none_or(|p| glob::matches(p, n, false))).collect()
    }

    /// Listeners of one channel.
    pub fn listeners(&self, scope: Scope, channel: &[u8]) -> usize {
        if is_expiry_alias(scope, channel) {
            return self.expiry_count.load(Relaxed);
        }
        self.names_of(scope).read().get(channel).map_or(0, Vec::len)
    }

    /// Number of distinct names in a scope.
    pub fn count(&self, scope: Scope) -> usize {
        self.names_of(scope).read().len()
    }
}

/// Whether this is a subscription to the expiry events by their short name.
pub fn is_expiry_alias(scope: Scope, name: &[u8]) -> bool {
    scope == Scope::Channel && name == EXPIRY_ALIAS
}

/// Writes one push frame into a client's mailbox.
fn deliver(client: &ClientHandle, frame: &[&[u8]]) {
    let resp3 = client.resp3();
    client.push_message(|out| {
        let mut reply = Reply::new(out, resp3);
        reply.push(frame.len());
        for part in frame {
            reply.bulk(part);
        }
    });
}
