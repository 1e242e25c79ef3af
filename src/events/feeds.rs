//! Feeds: events that carry what they are about.
//!
//! | channel | its messages |
//! |---|---|
//! | `__expired@N__:<key>`, `__expired@N__` | that key, or any key of database N, ended by time: with what it held |
//! | `__value@N__:<key>` | what that key holds now, after each change |
//!
//! Patterns that begin with these words are matched against the long names, so keys are filtered here. An event goes
//! to a subscription once, whichever of its two names that matches. Names of feeds stand for events: PUBLISH to them
//! reaches nobody, and patterns such as `*` do not hear them, as no client of Redis expects them there.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::RwLock;

use crate::clients::{ClientHandle, ClientId};
use crate::effects::audience::{Audience, Interest};
use crate::effects::ended::Ended;
use crate::events::message::Facts;
use crate::events::names::Listeners;
use crate::events::patterns::Patterns;
use crate::events::pubsub::Scope;
use crate::glob;
use crate::protocol::Reply;
use crate::rdb::Plain;

/// Begin of the names of feeds.
const ENDED: &[u8] = b"__expired@";
const VALUES: &[u8] = b"__value@";

/// What messages and entries say of what ended by time; of contents up to `value_max` bytes, or of none.
pub fn facts_of<'a>(ended: &Ended<'a>, value_max: Option<usize>) -> Facts<'a> {
    let mut facts = Facts::default();
    facts.bytes("key", ended.key);
    if let Some(field) = ended.field {
        facts.bytes("field", field);
    }
    if let Some(max) = value_max {
        facts.content(Some(ended.content), max);
    }
    facts.number("due", ended.due_ms);
    facts.number("fired", ended.fired_ms);
    facts.word("reason", ended.reason.word());
    facts
}

/// The listeners of one kind of event.
#[derive(Default)]
struct Feed {
    channels: HashMap<Box<[u8]>, Listeners>,
    patterns: Patterns,
}

impl Feed {
    fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.len() == 0
    }

    fn listen(&mut self, scope: Scope, name: &[u8], client: &Arc<ClientHandle>) {
        match scope {
            Scope::Pattern => self.patterns.add(name, client),
            _ => self.channels.entry(name.into()).or_default().add(client),
        }
    }

    fn leave(&mut self, scope: Scope, name: &[u8], client: ClientId) {
        if scope == Scope::Pattern {
            return self.patterns.remove(name, client);
        }
        if let Some(listeners) = self.channels.get_mut(name) {
            listeners.remove(client);
            if listeners.is_empty() {
                self.channels.remove(name);
            }
        }
    }

    /// Sends one event to each subscription that `name`, or its first `short` bytes, is in; returns how many they are.
    fn send<'f>(&self, name: &[u8], short: Option<usize>, facts: impl FnOnce() -> Facts<'f>) -> u64 {
        let mut message = Message::new(facts);
        for channel in std::iter::once(name).chain(short.map(|end| &name[..end])) {
            for client in self.channels.get(channel).into_iter().flat_map(|listeners| listeners.iter()) {
                message.to(client, &[b"message", channel]);
            }
        }
        self.patterns.for_each_like(name, |pattern, listeners| {
            let matches = |channel: &&[u8]| glob::matches(pattern, channel, false);
            let names = std::iter::once(name).chain(short.map(|end| &name[..end]));
            if let Some(channel) = { names }.find(matches) {
                listeners.iter().for_each(|client| message.to(client, &[b"pmessage", pattern, channel]));
            }
        });
        message.sent
    }
}

/// A message that is put together once per protocol, and only if somebody takes it.
struct Message<'f, F: FnOnce() -> Facts<'f>> {
    facts: Result<Facts<'f>, Option<F>>,
    bodies: [Option<Vec<u8>>; 2],
    /// To how many.
    sent: u64,
}

impl<'f, F: FnOnce() -> Facts<'f>> Message<'f, F> {
    fn new(facts: F) -> Self {
        Message { facts: Err(Some(facts)), bodies: [None, None], sent: 0 }
    }

    fn to(&mut self, client: &ClientHandle, head: &[&[u8]]) {
        let resp3 = client.resp3();
        if let Err(make) = &mut self.facts
            && let Some(make) = make.take()
        {
            self.facts = Ok(make());
        }
        let Ok(facts) = &self.facts else { return };
        self.sent += 1;
        let body = self.bodies[usize::from(resp3)].get_or_insert_with(|| facts.encode(resp3));
        client.push_message(|out| {
            let mut reply = Reply::new(out, resp3);
            reply.push(head.len() + 1);
            head.iter().for_each(|part| reply.bulk(part));
            out.extend(body);
        });
    }
}

/// All feeds.
pub struct Feeds {
    ended: RwLock<Feed>,
    values: RwLock<Feed>,
    audience: Arc<Audience>,
    /// Messages put into the buffers of subscribers, ever.
    delivered: AtomicU64,
}

/// Whether a subscription is one to a feed.
pub fn is_feed(scope: Scope, name: &[u8]) -> bool {
    scope != Scope::Shard && (name.starts_with(ENDED) || name.starts_with(VALUES))
}

impl Feeds {
    /// Feeds nobody listens to, which tell this word when that changes.
    pub fn new(audience: Arc<Audience>) -> Feeds {
        Feeds { ended: RwLock::default(), values: RwLock::default(), audience, delivered: AtomicU64::new(0) }
    }

    /// Messages put into the buffers of subscribers, ever; the same message once for each of them.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Relaxed)
    }

    fn count_delivered(&self, sent: u64) {
        if sent > 0 {
            self.delivered.fetch_add(sent, Relaxed);
        }
    }

    fn with<R>(&self, name: &[u8], f: impl FnOnce(&mut Feed) -> R) -> R {
        let (feed, interest) = match name.starts_with(ENDED) {
            true => (&self.ended, Interest::ENDED),
            false => (&self.values, Interest::VALUES),
        };
        let mut feed = feed.write();
        let result = f(&mut feed);
        self.audience.put(interest, !feed.is_empty());
        result
    }

    /// Adds a listener. The caller keeps the client's own list and calls this once per name.
    pub fn subscribe(&self, scope: Scope, name: &[u8], client: &Arc<ClientHandle>) {
        self.with(name, |feed| feed.listen(scope, name, client));
    }

    /// Removes a listener.
    pub fn unsubscribe(&self, scope: Scope, name: &[u8], client: ClientId) {
        self.with(name, |feed| feed.leave(scope, name, client));
    }

    /// Channels with at least one listener that match `pattern`.
    pub fn active(&self, pattern: Option<&[u8]>) -> Vec<Box<[u8]>> {
        let of = |feed: &RwLock<Feed>| feed.read().channels.keys().cloned().collect::<Vec<_>>();
        let names = of(&self.ended).into_iter().chain(of(&self.values));
        names.filter(|name| pattern.is_none_or(|p| glob::matches(p, name, false))).collect()
    }

    /// Listeners of one channel.
    pub fn listeners(&self, name: &[u8]) -> usize {
        let feed = if name.starts_with(ENDED) { &self.ended } else { &self.values };
        feed.read().channels.get(name).map_or(0, |listeners| listeners.len())
    }

    /// Number of distinct names in a scope.
    pub fn count(&self, scope: Scope) -> usize {
        let of = |feed: &RwLock<Feed>| match scope {
            Scope::Channel => feed.read().channels.len(),
            Scope::Pattern => feed.read().patterns.len(),
            Scope::Shard => 0,
        };
        of(&self.ended) + of(&self.values)
    }

    /// A key, or a field, ended by time. Contents of up to `value_max` bytes are shown.
    pub fn ended(&self, ended: &Ended<'_>, value_max: usize) {
        if !self.audience.wants(Interest::ENDED) {
            return;
        }
        let (name, short) = name_of(ENDED, ended.db, ended.key);
        let sent = self.ended.read().send(&name, Some(short), || facts_of(ended, Some(value_max)));
        self.count_delivered(sent);
    }

    /// A key holds something else now: `content`, with this deadline.
    pub fn changed<'a>(
        &self,
        db: u16,
        key: &'a [u8],
        event: &'static str,
        value_max: usize,
        content: impl FnOnce() -> (Option<Plain<'a>>, Option<u64>),
    ) {
        if !self.audience.wants(Interest::VALUES) {
            return;
        }
        let (name, _) = name_of(VALUES, db, key);
        let sent = self.values.read().send(&name, None, || {
            let mut facts = Facts::default();
            facts.bytes("key", key);
            facts.word("event", event);
            let (content, due) = content();
            facts.content(content, value_max);
            if let Some(due) = due {
                facts.number("due", due);
            }
            facts
        });
        self.count_delivered(sent);
    }
}

impl Feeds {
    /// Keys of a database that somebody follows by their names.
    pub fn followed(&self, db: u16) -> Vec<Vec<u8>> {
        let (begin, _) = name_of(VALUES, db, b"");
        let values = self.values.read();
        let names = values.channels.keys().filter_map(|name| name.strip_prefix(&begin[..]));
        names.map(<[u8]>::to_vec).collect()
    }

    /// Tells those who follow patterns that all keys of a database may be others now.
    pub fn database_changed(&self, db: u16, event: &'static str) {
        let (begin, short) = name_of(VALUES, db, b"");
        let facts = || {
            let mut facts = Facts::default();
            facts.word("event", event);
            facts
        };
        let mut message = Message::new(facts);
        let values = self.values.read();
        values.patterns.for_each_from(&begin, |pattern, listeners| {
            listeners.iter().for_each(|c| message.to(c, &[b"pmessage", pattern, &begin[..short]]));
        });
        self.count_delivered(message.sent);
    }
}

/// The long name of an event, and the length of the short one.
fn name_of(begin: &[u8], db: u16, key: &[u8]) -> (Vec<u8>, usize) {
    let mut name = Vec::with_capacity(begin.len() + 8 + key.len());
    name.extend_from_slice(begin);
    name.extend_from_slice(itoa::Buffer::new().format(db).as_bytes());
    name.extend_from_slice(b"__");
    let short = name.len();
    name.push(b':');
    name.extend_from_slice(key);
    (name, short)
}
