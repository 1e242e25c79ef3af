//! CLIENT TRACKING: clients that cache what they read are told when it changed.
//!
//! Two ways to know whom to tell. By default the server remembers who read which key ([`table`]), tells
//! them once, and forgets; with BCAST a client names prefixes, and hears of every change below them.
//!
//! * A key is remembered while it is locked for the read, and invalidated while it is locked for the
//!   write, so no change falls between the two. The message goes to a mailbox, which the client's
//!   worker empties before a batch of requests or after their replies: a value that was read before the
//!   change never follows the message.
//! * Keys are names without a database, as in Redis: a change in any database counts.
//! * Broadcasts of a batch are collected by its worker ([`Changes`]) and sent before its replies are,
//!   one message for each prefix.
//! * A client that has gone stays in the table as a number that nobody answers to.

mod sync;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use indexmap::IndexMap;
use parking_lot::RwLock;

use super::prefixes::PrefixMap;
use crate::clients::{ClientHandle, ClientId, NAME_OVERHEAD, State};
use crate::effects::changes::{Changes, NOBODY};
use crate::protocol::OutBuf;
use crate::protocol::reply::Reply;

use table::{Holders, Keys, Table};

/// Where RESP2 clients hear of changes.
pub const CHANNEL: &[u8] = b"__redis__:invalidate";

/// Parts of the registry of tracking clients.
const REGISTRY_PARTS: usize = 16;
/// Keys that one insertion above the limit makes room for: one more than it adds, so that a limit that
/// was lowered is reached.
const EVICTED_BY_INSERT: usize = 2;
/// Keys that are forgotten at once when the limit is lowered.
pub const TRIM_SLICE: usize = 4096;
/// Changes that wait for a broadcast at most.
const CHANGES_MAX: usize = 1024;

/// A client with CLIENT TRACKING ON.
pub struct Tracker {
    /// The client.
    pub client: Arc<ClientHandle>,
    /// Who is told instead.
    pub redirect: Option<Arc<ClientHandle>>,
    /// It hears of all changes below its prefixes, whether it read the key or not.
    pub broadcast: bool,
    /// It does not hear of its own changes.
    pub noloop: bool,
}

/// Who is told of which changes, each with who made it.
type Group<'g> = (&'g [ClientId], Vec<(&'g [u8], ClientId)>);

/// What a client is told.
enum News<'n> {
    /// These keys: an array, as it is sent.
    Keys(&'n [u8]),
    /// All of them.
    Everything,
}

/// All that is known of tracking clients.
pub struct Tracking {
    table: Table,
    /// `tracking-table-max-keys`; 0 is no limit.
    keys_max: AtomicUsize,
    /// Clients with tracking on.
    trackers: [RwLock<HashMap<ClientId, Arc<Tracker>>>; REGISTRY_PARTS],
    /// How many they are; read on the write path.
    count: AtomicUsize,
    /// Who wants to hear of what, in BCAST mode.
    prefixes: RwLock<PrefixMap<Vec<ClientId>>>,
    prefix_count: AtomicUsize,
    /// State of a generator of numbers that choose whom the limit hits.
    random: AtomicU64,
}

impl Tracking {
    /// Nobody tracks anything; at most `keys_max` keys will be remembered.
    pub fn new(keys_max: u64) -> Tracking {
        let tracking = Tracking {
            table: Table::default(),
            keys_max: AtomicUsize::new(0),
            trackers: std::array::from_fn(|_| RwLock::default()),
            count: AtomicUsize::new(0),
            prefixes: RwLock::default(),
            prefix_count: AtomicUsize::new(0),
            random: AtomicU64::new(fastrand::u64(..)),
        };
        tracking.set_keys_max(keys_max);
        tracking
    }

    /// Whether no client has tracking on: one load on the write path.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.count.load(Relaxed) == 0
    }

    /// Number of remembered keys.
    pub fn keys(&self) -> usize {
        self.table.len()
    }

    /// Clients of all remembered keys together.
    pub fn items(&self) -> usize {
        self.table.items()
    }

    /// Number of prefixes in BCAST mode.
    pub fn prefixes(&self) -> usize {
        self.prefix_count.load(Relaxed)
    }

    fn registry(&self, client: ClientId) -> &RwLock<HashMap<ClientId, Arc<Tracker>>> {
        &self.trackers[client as usize % REGISTRY_PARTS]
    }

    /// Turns tracking on, or changes how a client is told. `added` are the prefixes that are new.
    pub fn begin<'p>(&self, tracker: Tracker, added: impl Iterator<Item = &'p [u8]>) {
        let (id, client) = (tracker.client.id, Arc::clone(&tracker.client));
        client.clear(State::TRACKING_BROKEN);
        client.put(State::TRACKING_BCAST, tracker.broadcast);
        client.set(State::TRACKING);
        client.figures.redir.store(tracker.redirect.as_ref().map_or(0, |r| r.id), Relaxed);
        if self.registry(id).write().insert(id, Arc::new(tracker)).is_none() {
            self.count.fetch_add(1, Relaxed);
        }
        let mut prefixes = self.prefixes.write();
        for prefix in added {
            // Its name stands with the client and in the table of all prefixes.
            client.figures.prefix_mem.fetch_add(2 * prefix.len() + NAME_OVERHEAD, Relaxed);
            prefixes.entry(prefix).push(id);
        }
        self.prefix_count.store(prefixes.len(), Relaxed);
    }

    /// Turns tracking off, or forgets a client that goes away, with the prefixes that it named. Whether
    /// it was the last and left keys behind, which are to be [swept](Self::sweep) away.
    pub fn end<'p>(&self, client: &ClientHandle, named: impl Iterator<Item = &'p [u8]>) -> bool {
        client.clear(State::TRACKING | State::TRACKING_BCAST | State::TRACKING_BROKEN);
        client.figures.prefix_mem.store(0, Relaxed);
        if self.registry(client.id).write().remove(&client.id).is_some() {
            self.count.fetch_sub(1, Relaxed);
        }
        let mut prefixes = self.prefixes.write();
        for prefix in named {
            let Some(clients) = prefixes.get_mut(prefix) else { continue };
            clients.retain(|id| *id != client.id);
            if clients.is_empty() {
                prefixes.remove(prefix);
            }
        }
        self.prefix_count.store(prefixes.len(), Relaxed);
        self.is_idle() && !self.table.is_empty()
    }

    /// Forgets keys that only clients without tracking have read. Takes its time.
    pub fn sweep(&self) {
        // A client is in the registry before it is in the table, so none is missed that still counts.
        self.table.retain(|client| self.registry(client).read().contains_key(&client));
    }

    fn tracker(&self, client: ClientId) -> Option<Arc<Tracker>> {
        self.registry(client).read().get(&client).cloned()
    }

    /// A client read a key, whose lock the caller holds.
    pub fn remember(&self, hash: u64, key: &[u8], client: ClientId) {
        self.table.insert(hash, key, client);
        self.trim(EVICTED_BY_INSERT);
    }

    /// A key changed; its lock is held, unless nobody can reach it any more. `by` changed it, and the
    /// result says whether that client was told something itself.
    ///
    /// A broadcast waits in `later` if there is one, else it is sent at once.
    pub fn invalidate(&self, hash: u64, key: &[u8], by: ClientId, later: Option<&mut Changes>) -> bool {
        if self.prefixes() > 0 {
            self.note(key, by, later);
        }
        let Some(holders) = self.table.take(hash, key) else { return false };
        self.tell_holders(key, &holders, by)
    }

    fn tell_holders(&self, key: &[u8], holders: &Holders, by: ClientId) -> bool {
        let mut news = Vec::new();
        let mut told_itself = false;
        for &id in holders {
            let Some(tracker) = self.tracker(id) else { continue };
            // What it read before it changed to BCAST is not meant any more.
            if tracker.broadcast || (tracker.noloop && id == by) {
                continue;
            }
            if news.is_empty() {
                news = array_of(std::iter::once(key));
            }
            told_itself |= tell(&tracker, &News::Keys(&news)) == by;
        }
        told_itself
    }

    /// Everything changed (a database was emptied or exchanged; the exclusive gate is raised). Whether
    /// `by` was told something itself, and what is forgotten, to be dropped where that may take time.
    pub fn invalidate_all(&self, by: ClientId) -> (bool, Vec<Keys>) {
        let forgotten = self.table.take_all();
        let mut told_itself = false;
        for part in &self.trackers {
            for tracker in part.read().values() {
                told_itself |= tell(tracker, &News::Everything) == by;
            }
        }
        (told_itself, forgotten)
    }

    /// Forgets all keys without telling anybody, as nobody tracks; what is to be dropped where that may take time.
    pub fn forget_all(&self) -> Vec<Keys> {
        self.table.take_all()
    }

    /// Follows `tracking-table-max-keys`. Whether there is more to forget than was forgotten at once.
    pub fn set_keys_max(&self, keys: u64) -> bool {
        self.keys_max.store(usize::try_from(keys).unwrap_or(usize::MAX), Relaxed);
        self.trim(TRIM_SLICE)
    }

    /// Forgets up to `count` keys above the limit, any of them, and tells who may have cached them.
    /// Whether there are still too many.
    pub fn trim(&self, count: usize) -> bool {
        let max = self.keys_max.load(Relaxed);
        if max == 0 {
            return false;
        }
        for _ in 0..count {
            if self.table.len() <= max {
                return false;
            }
            // Numbers that follow each other at odds with two to the power of 64, mixed.
            let step = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
            let mixed = (step ^ (step >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let Some((key, holders)) = self.table.take_any(mixed ^ (mixed >> 29)) else { return false };
            self.tell_holders(&key, &holders, NOBODY);
        }
        self.table.len() > max
    }

    fn note(&self, key: &[u8], by: ClientId, later: Option<&mut Changes>) {
        let mut wanted = false;
        self.prefixes.read().for_each_of(key, |_, _| wanted = true);
        if !wanted {
            return;
        }
        let mut now = Changes::default();
        let at_once = later.is_none();
        let changes = later.unwrap_or(&mut now);
        changes.add(key, by);
        if at_once || changes.len() >= CHANGES_MAX {
            self.broadcast(changes);
        }
    }

    /// Sends the changes of a batch: to each client one message for each of its prefixes.
    #[cold]
    pub fn broadcast(&self, changes: &mut Changes) {
        let mut groups: IndexMap<&[u8], Group<'_>> = IndexMap::new();
        let prefixes = self.prefixes.read();
        for (key, by) in changes.iter() {
            prefixes.for_each_of(key, |prefix, clients| {
                groups.entry(prefix).or_insert_with(|| (clients, Vec::new())).1.push((key, by));
            });
        }
        for (clients, keys) in groups.values() {
            let all = array_of(keys.iter().map(|(key, _)| *key));
            for &id in *clients {
                let Some(tracker) = self.tracker(id) else { continue };
                if !tracker.noloop || keys.iter().all(|(_, by)| *by != id) {
                    tell(&tracker, &News::Keys(&all));
                    continue;
                }
                let others: Vec<&[u8]> =
                    keys.iter().filter(|(_, by)| *by != id).map(|(key, _)| *key).collect();
                if !others.is_empty() {
                    tell(&tracker, &News::Keys(&array_of(others.iter().copied())));
                }
            }
        }
        drop(groups);
        changes.clear();
    }
}

/// The keys as they are sent: an array of strings is the same in both protocols.
fn array_of<'k>(keys: impl ExactSizeIterator<Item = &'k [u8]>) -> Vec<u8> {
    let mut out = OutBuf::new();
    let mut reply = Reply::new(&mut out, false);
    reply.array(keys.len());
    keys.for_each(|key| reply.bulk(key));
    out.to_vec()
}

/// Puts news into the mailbox of whoever is to be told; returns who that was, or [`NOBODY`].
fn tell(tracker: &Tracker, news: &News<'_>) -> ClientId {
    let mut to = &tracker.client;
    if let Some(redirect) = &tracker.redirect {
        if redirect.state().intersects(State::ENDING) {
            return redirect_is_broken(&tracker.client, redirect.id);
        }
        to = redirect;
    }
    let resp3 = to.resp3();
    let subscriber = tracker.redirect.is_some() && to.state().contains(State::PUBSUB);
    if !resp3 && !subscriber {
        // In RESP2 there are no messages but those of channels.
        return NOBODY;
    }
    to.push_in_transit(|out| {
        let mut reply = Reply::new(out, resp3);
        if resp3 {
            reply.push(2);
            reply.bulk(b"invalidate");
        } else {
            reply.array(3);
            reply.bulk(b"message");
            reply.bulk(CHANNEL);
        }
        match news {
            News::Keys(keys) => reply.out().extend(keys),
            News::Everything => reply.null(),
        }
    });
    to.id
}

#[cold]
fn redirect_is_broken(client: &ClientHandle, redirect: ClientId) -> ClientId {
    client.set(State::TRACKING_BROKEN);
    if !client.resp3() {
        return NOBODY;
    }
    client.push(|out| {
        let mut reply = Reply::new(out, true);
        reply.push(2);
        reply.bulk(b"tracking-redir-broken");
        reply.int(i64::try_from(redirect).unwrap_or(i64::MAX));
    });
    client.id
}
