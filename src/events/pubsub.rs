//! Publish and subscribe: exact channels, glob patterns and sharded channels.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::RwLock;

use crate::clients::{ClientHandle, ClientId};
use crate::glob;
/// Number of a database, as it stands in the names of event channels.
type DbId = u16;
use super::names::{Channels, Listeners, Patterns};
use crate::protocol::OutBuf;
use crate::protocol::outbuf::BLOB_REFERENCE_MIN;
use crate::protocol::reply::Reply;
use crate::values::Blob;

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

/// The registry. Read-mostly: PUBLISH takes shared locks, subscribing an exclusive one.
#[derive(Default)]
pub struct PubSub {
    channels: Channels,
    patterns: Patterns,
    shards: Channels,
    /// Subscribers of [`EXPIRY_ALIAS`], each with the database it follows.
    expiry: RwLock<Vec<(DbId, Arc<ClientHandle>)>>,
    /// How many they are; read on the effects path.
    expiry_count: AtomicUsize,
    /// Messages put into the buffers of subscribers, ever. Once per PUBLISH, which reads a lock that all share anyway.
    delivered: AtomicU64,
}

impl PubSub {
    /// Whether anybody listens to anything.
    #[inline]
    pub fn is_silent(&self) -> bool {
        self.channels.len() + self.patterns.len() == 0
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
        let mut receivers = 0;
        for (_, client) in self.expiry.read().iter().filter(|(of, _)| *of == db) {
            deliver(client, &[b"message", EXPIRY_ALIAS, key]);
            receivers += 1;
        }
        self.count_delivered(receivers);
    }

    fn unsubscribe_expiry(&self, client: ClientId) {
        let mut listeners = self.expiry.write();
        listeners.retain(|(_, l)| l.id != client);
        self.expiry_count.store(listeners.len(), Relaxed);
    }

    /// Adds a listener. The caller keeps the client's own list and calls this once per name.
    pub fn subscribe(&self, scope: Scope, name: &[u8], client: &Arc<ClientHandle>) {
        match scope {
            Scope::Channel => self.channels.add(name, client),
            Scope::Pattern => self.patterns.add(name, client),
            Scope::Shard => self.shards.add(name, client),
        }
    }

    /// Removes a listener.
    pub fn unsubscribe(&self, scope: Scope, name: &[u8], client: ClientId) {
        match scope {
            Scope::Channel if name == EXPIRY_ALIAS => self.unsubscribe_expiry(client),
            Scope::Channel => self.channels.remove(name, client),
            Scope::Pattern => self.patterns.remove(name, client),
            Scope::Shard => self.shards.remove(name, client),
        }
    }

    /// Delivers a message to the listeners of a channel and of the patterns that match it.
    /// Returns how many clients it went to.
    pub fn publish(&self, channel: &[u8], message: &[u8]) -> usize {
        let to_channel = |listeners: &Listeners| deliver_to(listeners, &[b"message", channel, message]);
        let mut receivers = self.channels.with(channel, to_channel).unwrap_or(0);
        self.patterns.for_each_match(channel, |pattern, listeners| {
            receivers += deliver_to(listeners, &[b"pmessage", pattern, channel, message]);
        });
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
        let to_shard = |listeners: &Listeners| deliver_to(listeners, &[b"smessage", channel, message]);
        let receivers = self.shards.with(channel, to_shard).unwrap_or(0);
        self.count_delivered(receivers);
        receivers
    }

    fn channels_of(&self, scope: Scope) -> &Channels {
        if scope == Scope::Shard { &self.shards } else { &self.channels }
    }

    /// Channels with at least one listener that match `pattern`.
    pub fn active(&self, scope: Scope, pattern: Option<&[u8]>) -> Vec<Box<[u8]>> {
        let wanted = |name: &[u8]| pattern.is_none_or(|p| glob::matches(p, name, false));
        let mut names = self.channels_of(scope).names(wanted);
        if scope == Scope::Channel && self.hears_expiry() && wanted(EXPIRY_ALIAS) {
            names.push(EXPIRY_ALIAS.into());
        }
        names
    }

    /// Listeners of one channel.
    pub fn listeners(&self, scope: Scope, channel: &[u8]) -> usize {
        if is_expiry_alias(scope, channel) {
            return self.expiry_count.load(Relaxed);
        }
        self.channels_of(scope).with(channel, |listeners| listeners.len()).unwrap_or(0)
    }

    /// Number of distinct names in a scope.
    pub fn count(&self, scope: Scope) -> usize {
        match scope {
            Scope::Pattern => self.patterns.len(),
            _ => self.channels_of(scope).len(),
        }
    }
}

/// Whether this is a subscription to the expiry events by their short name.
pub fn is_expiry_alias(scope: Scope, name: &[u8]) -> bool {
    scope == Scope::Channel && name == EXPIRY_ALIAS
}

/// Writes one push frame into a client's mailbox.
fn deliver(client: &ClientHandle, frame: &[&[u8]]) {
    let resp3 = client.resp3();
    client.push_message(|out| write_frame(&mut Reply::new(out, resp3), frame));
}

fn write_frame(reply: &mut Reply<'_>, frame: &[&[u8]]) {
    reply.push(frame.len());
    for part in frame {
        reply.bulk(part);
    }
}

/// Writes one push frame into the mailboxes of several clients; returns how many they are. What is the
/// same for all is put together once, and a large message is not copied for each.
fn deliver_to(listeners: &[Arc<ClientHandle>], frame: &[&[u8]]) -> usize {
    if let [only] = listeners {
        deliver(only, frame);
        return 1;
    }
    let mut forms: [Option<Encoded>; 2] = [None, None];
    for client in listeners {
        let resp3 = client.resp3();
        let form = forms[usize::from(resp3)].get_or_insert_with(|| Encoded::new(frame, resp3));
        client.push_message(|out| form.copy_to(out));
    }
    listeners.len()
}

/// A frame as it is sent in one of the protocols.
struct Encoded {
    before: Vec<u8>,
    /// A message that is large enough to be sent from one place to all.
    large: Option<Blob>,
}

impl Encoded {
    fn new(frame: &[&[u8]], resp3: bool) -> Encoded {
        let mut out = OutBuf::new();
        let mut reply = Reply::new(&mut out, resp3);
        let Some((message, before)) = frame.split_last() else {
            return Encoded { before: Vec::new(), large: None };
        };
        reply.push(frame.len());
        before.iter().for_each(|part| reply.bulk(part));
        let large = message.len() >= BLOB_REFERENCE_MIN;
        if large {
            reply.raw(format!("${}\r\n", message.len()).as_bytes());
        } else {
            reply.bulk(message);
        }
        Encoded { before: out.to_vec(), large: large.then(|| Blob::copy_from(message)) }
    }

    fn copy_to(&self, out: &mut OutBuf) {
        out.extend(&self.before);
        if let Some(large) = &self.large {
            out.splice(large);
            out.extend(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::clients::{Clients, NewClient};

    fn client(clients: &Clients, resp3: bool) -> Arc<ClientHandle> {
        let new = NewClient { worker: 0, fd: 0, addr: "".into(), laddr: "".into(), unix: true, now_ms: 0 };
        let client = clients.admit(1000, new).expect("a place");
        client.figures.resp.store(if resp3 { 3 } else { 2 }, Relaxed);
        client
    }

    fn encoded(frame: &[&[u8]], resp3: bool) -> Vec<u8> {
        let mut out = OutBuf::new();
        write_frame(&mut Reply::new(&mut out, resp3), frame);
        out.to_vec()
    }

    /// Random subscriptions and messages against a list of who listens to what.
    #[test]
    fn agrees_with_a_plain_list() {
        let (clients, pubsub) = (Clients::new(1), PubSub::default());
        let all: Vec<_> = (0..6).map(|i| client(&clients, i % 2 == 0)).collect();
        let names: [&[u8]; 12] =
            [b"a", b"ab", b"abc", b"b", b"*", b"a*", b"ab?", b"[ab]*", b"a\\*", b"a*c", b"", b"?"];
        let channels: [&[u8]; 8] = [b"a", b"ab", b"abc", b"abcc", b"b", b"a*", b"", b"zz"];
        let mut twin: BTreeMap<(bool, &[u8], usize), ()> = BTreeMap::new();
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..1000 {
            let (is_pattern, name, who) = (random.bool(), names[random.usize(0..12)], random.usize(0..6));
            let scope = if is_pattern { Scope::Pattern } else { Scope::Channel };
            if twin.remove(&(is_pattern, name, who)).is_some() {
                pubsub.unsubscribe(scope, name, all[who].id);
            } else {
                twin.insert((is_pattern, name, who), ());
                pubsub.subscribe(scope, name, &all[who]);
            }
            let distinct = |pattern: bool| {
                let mut names: Vec<_> = twin.keys().filter(|k| k.0 == pattern).map(|k| k.1).collect();
                names.dedup();
                names.len()
            };
            assert_eq!(
                (pubsub.count(Scope::Channel), pubsub.count(Scope::Pattern)),
                (distinct(false), distinct(true))
            );
            let channel = channels[random.usize(0..8)];
            let message = vec![b'm'; if random.u8(..) < 8 { BLOB_REFERENCE_MIN } else { 3 }];
            let mut expected = vec![Vec::new(); 6];
            for (is_pattern, name, who) in twin.keys() {
                match is_pattern {
                    false if *name == channel => {
                        expected[*who].push(encoded(&[b"message", channel, &message], who % 2 == 0))
                    }
                    true if glob::matches(name, channel, false) => {
                        expected[*who].push(encoded(&[b"pmessage", name, channel, &message], who % 2 == 0));
                    }
                    _ => {}
                }
            }
            let receivers = pubsub.publish(channel, &message);
            assert_eq!(receivers, expected.iter().map(Vec::len).sum::<usize>());
            for (who, mut expected) in expected.into_iter().enumerate() {
                let got = all[who].take_mail().to_vec();
                // Patterns come in no particular order.
                let mut rest = &got[..];
                while let Some(at) = expected.iter().position(|frame| rest.starts_with(frame)) {
                    rest = &rest[expected.swap_remove(at).len()..];
                }
                assert!(expected.is_empty() && rest.is_empty(), "{:?}", rest.escape_ascii().to_string());
            }
        }
    }
}
