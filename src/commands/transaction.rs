//! MULTI, EXEC, DISCARD, WATCH and UNWATCH.

use std::sync::atomic::Ordering::Relaxed;

use crate::clients::{NAME_OVERHEAD, State};
use crate::clock;
use crate::commands::args::{Args, Source};
use crate::commands::call::{self, NamedKeys};
use crate::commands::command::{Access, Arity, Command, Flags, Group, KeySpec, Outcome};
use crate::commands::ctx::{Ctx, Origin};
use crate::commands::row::{acl, flags, key_flags};
use crate::commands::session::Session;
use crate::commands::table::Found;
use crate::error::Error;
use crate::expiry::is_past;
use crate::keyspace::{Batch, DbId, KeyHash};
use crate::protocol::request::{ArgRange, RequestSpan, Requests};
use crate::shared::Shared;
use crate::values::Blob;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "discard",
        arity: Arity::Exactly(1),
        flags: flags!(NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY),
        acl: acl!(TRANSACTION),
        summary: "Drops the queued commands.",
        since: "2.0.0",
        group: Group::Transactions,
        complexity: "O(N), N queued commands",
        run: discard,
        ..Command::DEFAULT
    },
    Command {
        name: "exec",
        arity: Arity::Exactly(1),
        flags: flags!(NOSCRIPT | LOADING | STALE | SKIP_SLOWLOG),
        acl: acl!(TRANSACTION),
        access: Access::Queued,
        summary: "Runs the queued commands in one step.",
        since: "1.2.0",
        group: Group::Transactions,
        complexity: "that of the queued commands",
        run: exec,
        ..Command::DEFAULT
    },
    Command {
        name: "multi",
        arity: Arity::Exactly(1),
        flags: flags!(NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY),
        acl: acl!(TRANSACTION),
        summary: "Starts a transaction.",
        since: "1.2.0",
        group: Group::Transactions,
        run: multi,
        ..Command::DEFAULT
    },
    Command {
        name: "unwatch",
        arity: Arity::Exactly(1),
        flags: flags!(NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY),
        acl: acl!(TRANSACTION),
        summary: "Forgets watched keys.",
        since: "2.2.0",
        group: Group::Transactions,
        run: unwatch,
        ..Command::DEFAULT
    },
    Command {
        name: "watch",
        arity: Arity::AtLeast(2),
        flags: flags!(NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY),
        acl: acl!(TRANSACTION),
        keys: &[KeySpec::range(1, -1, 1, 0, key_flags!(RO))],
        access: Access::Read,
        syntax: "key...",
        summary: "Watches keys: EXEC does nothing if one of them changed.",
        since: "2.2.0",
        group: Group::Transactions,
        complexity: "O(1) for each key",
        run: watch,
        ..Command::DEFAULT
    },
];

/// A transaction of more keys, those of WATCH included, raises the gate instead of locking them.
pub const KEYS_LOCKED_MAX: usize = 4096;

/// Bytes of words that stand together; with more, a command keeps its own.
const TEXT_MAX: usize = 1 << 30;

/// What a worker keeps of an ended transaction for the next one.
const TEXT_KEPT_MAX: usize = 16 * 1024;
const KEYS_KEPT_MAX: usize = 256;

/// An open transaction.
#[derive(Default)]
pub struct Transaction {
    queue: Vec<Entry>,
    /// The words of all commands, one after the other.
    text: Vec<u8>,
    /// Where each of them is in `text`.
    requests: Requests,
    /// Keys of all commands, one after the other: where they live, and which word they are.
    places: Vec<(DbId, KeyHash)>,
    words: Vec<u32>,
    keys_written: usize,
    aborted: bool,
    /// Some command's keys are not known beforehand.
    whole: bool,
    bytes: usize,
}

struct Entry {
    found: Found,
    words: Words,
    /// Its keys end here in `places`.
    end: usize,
}

enum Words {
    /// In `text`.
    Packed(RequestSpan),
    /// With a large value, which is not copied.
    Kept(Vec<Blob>),
}

/// A queued command, as EXEC runs it.
#[derive(Clone, Copy)]
pub struct Queued<'t> {
    /// The command.
    pub found: Found,
    /// Its words.
    pub source: Source<'t>,
    /// Where its keys live.
    pub places: &'t [(DbId, KeyHash)],
    /// Which of its words they are.
    pub words: &'t [u32],
    /// Number of its first key among those of the transaction.
    pub first: usize,
}

/// Whether a command inside a transaction needs the gate: its keys are not known, it visits
/// shards, or the keys of those behind it depend on how it ends.
fn needs_all(found: Found, access: Access) -> bool {
    matches!(access, Access::Whole | Access::Walk) || found.command.name == "select"
}

impl Transaction {
    /// Adds a command.
    pub fn queue(&mut self, found: Found, source: Source<'_>, db: DbId, batch: &Batch<'_>) {
        self.bytes += source.iter().map(|a| a.len() + size_of::<ArgRange>()).sum::<usize>();
        self.bytes += size_of::<Entry>();
        let cursor = Args::new(source, found.words());
        let access = found.command.access_for(&cursor);
        self.whole |= needs_all(found, access);
        if matches!(access, Access::Keys | Access::Read) {
            let mut named = NamedKeys::new();
            call::name_keys(batch, db, found.command, &cursor, &mut named);
            if found.command.flags.contains(Flags::WRITE) {
                self.keys_written += named.len();
            }
            self.places.extend(named.iter().map(|k| (k.db, k.hash)));
            self.words.extend(named.iter().map(|k| u32::try_from(k.word).unwrap_or(u32::MAX)));
            self.bytes += named.len() * (size_of::<(DbId, KeyHash)>() + size_of::<u32>());
        }
        let words = self.keep(source);
        self.queue.push(Entry { found, words, end: self.places.len() });
    }

    fn keep(&mut self, source: Source<'_>) -> Words {
        let fits = || source.iter().map(<[u8]>::len).sum::<usize>() + self.text.len() < TEXT_MAX;
        if matches!(source, Source::Owned(_)) || !fits() {
            return Words::Kept(source.to_owned());
        }
        let first = self.requests.ranges.len();
        for word in source.iter() {
            self.requests.ranges.push(ArgRange::in_buffer(self.text.len(), word.len()));
            self.text.extend_from_slice(word);
        }
        Words::Packed(self.requests.span_from(first, self.text.len()))
    }

    /// The commands, in order.
    fn queued(&self) -> impl Iterator<Item = Queued<'_>> {
        let mut first = 0;
        self.queue.iter().map(move |entry| {
            let keys = std::mem::replace(&mut first, entry.end)..entry.end;
            let source = match &entry.words {
                Words::Packed(span) => {
                    let requests = &self.requests;
                    Source::Buffer { buf: &self.text, requests, words: requests.args_of(span) }
                }
                Words::Kept(words) => Source::Owned(words),
            };
            Queued {
                found: entry.found,
                source,
                places: &self.places[keys.clone()],
                words: &self.words[keys.clone()],
                first: keys.start,
            }
        })
    }

    /// Empties it for the next one, if it has not become large.
    fn recycled(mut self: Box<Self>) -> Option<Box<Self>> {
        let small = self.text.capacity() <= TEXT_KEPT_MAX
            && self.requests.ranges.capacity().max(self.places.capacity()).max(self.queue.capacity())
                <= KEYS_KEPT_MAX;
        self.queue.clear();
        self.text.clear();
        self.requests.clear();
        self.places.clear();
        self.words.clear();
        (self.keys_written, self.bytes, self.aborted, self.whole) = (0, 0, false, false);
        small.then_some(self)
    }

    /// Where the keys of all commands live, in their order.
    pub fn places(&self) -> &[(DbId, KeyHash)] {
        &self.places
    }

    /// How many keys may be created.
    pub fn keys_written(&self) -> usize {
        self.keys_written
    }

    /// Whether EXEC has to raise the gate.
    pub fn needs_gate(&self, watched: usize) -> bool {
        !self.aborted && (self.whole || self.places.len() + watched > KEYS_LOCKED_MAX)
    }

    /// A command was refused while it was to be queued: EXEC will fail.
    pub fn abort(&mut self) {
        self.aborted = true;
    }

    /// Number of queued commands.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Memory of the queued commands.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Flags of all queued commands together.
    pub fn flags(&self) -> Flags {
        self.queue.iter().fold(Flags::empty(), |all, e| all | e.found.command.flags)
    }
}

struct WatchedKey {
    db: DbId,
    hash: KeyHash,
    key: Box<[u8]>,
    /// When it will have changed by itself. None too if it was past that when WATCH looked.
    deadline: Option<u64>,
}

/// The keys that a client watches.
#[derive(Default)]
pub struct Watched {
    keys: Vec<WatchedKey>,
}

impl Watched {
    /// Where they live.
    pub fn places(&self) -> impl Iterator<Item = (DbId, KeyHash)> {
        self.keys.iter().map(|k| (k.db, k.hash))
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether one of them is past its time, even if nobody has removed it yet. Its deadline is
    /// still that which WATCH saw: a new one would have been a change.
    fn any_expired(&self, now: u64) -> bool {
        self.keys.iter().any(|k| k.deadline.is_some_and(|d| is_past(d, now)))
    }
}

/// MULTI
pub fn multi(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if ctx.session.transaction.is_some() {
        return Err(Error::Line("ERR MULTI calls can not be nested"));
    }
    ctx.session.transaction = Some(ctx.local.transaction.take().unwrap_or_default());
    ctx.session.handle.set(State::MULTI);
    ctx.session.handle.figures.multi.store(0, Relaxed);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// DISCARD
pub fn discard(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if ctx.session.transaction.is_none() {
        return Err(Error::Line("ERR DISCARD without MULTI"));
    }
    end(ctx.session, ctx.shared);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// Leaves the transaction and stops watching.
pub fn end(session: &mut Session, shared: &Shared) {
    session.transaction = None;
    session.handle.clear(State::MULTI);
    session.handle.figures.multi.store(-1, Relaxed);
    session.handle.figures.multi_mem.store(0, Relaxed);
    stop_watching(session, shared);
}

/// Forgets the watched keys.
pub fn stop_watching(session: &mut Session, shared: &Shared) {
    if let Some(watched) = session.watched.take() {
        for watched in &watched.keys {
            shared.watches.remove(watched.db, &watched.key, session.handle.id);
        }
        session.handle.figures.watch.store(0, Relaxed);
        session.handle.figures.watch_mem.store(0, Relaxed);
    }
    session.handle.clear(State::DIRTY_CAS);
}

/// WATCH
pub fn watch(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if ctx.session.transaction.is_some() {
        return Err(Error::Line("ERR WATCH inside MULTI is not allowed"));
    }
    ctx.keys.no_touch();
    for i in 0..ctx.keys.len() {
        let db = ctx.keys.db(i);
        let key: Box<[u8]> = ctx.keys.key(i).into();
        let deadline = ctx.keys.deadline(i);
        let watched = ctx.session.watched.get_or_insert_default();
        if watched.keys.iter().any(|w| w.db == db && w.key == key) {
            continue;
        }
        // The key is locked, so no change can fall between this and the registration.
        ctx.shared.watches.add(db, &key, &ctx.session.handle, deadline.is_none());
        let hash = ctx.keys.hash(i);
        // Its name stands in the client's list and in the table of all watched keys.
        ctx.session.handle.figures.watch_mem.fetch_add(2 * key.len() + NAME_OVERHEAD, Relaxed);
        watched.keys.push(WatchedKey { db, hash, key, deadline: deadline.flatten() });
    }
    let count = ctx.session.watched.as_ref().map_or(0, |w| w.len());
    ctx.session.handle.figures.watch.store(u32::try_from(count).unwrap_or(u32::MAX), Relaxed);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// UNWATCH
pub fn unwatch(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    stop_watching(ctx.session, ctx.shared);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// EXEC. The shards of all keys, those watched included, are locked (or the gate is raised), so
/// nobody sees half of it, and nobody changes a watched key between the look at it and the end.
pub fn exec(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let Some(transaction) = ctx.session.transaction.take() else {
        return Err(Error::Line("ERR EXEC without MULTI"));
    };
    let expired = ctx.session.watched.as_ref().is_some_and(|w| w.any_expired(ctx.now));
    let stale = expired || ctx.session.handle.state().contains(State::DIRTY_CAS);
    if transaction.aborted || stale {
        end(ctx.session, ctx.shared);
        if transaction.aborted {
            return Err(Error::Line("EXECABORT Transaction discarded because of previous errors."));
        }
        ctx.reply.null_array();
        return Ok(Outcome::Done);
    }
    stop_watching(ctx.session, ctx.shared);
    ctx.reply.array(transaction.len());
    let mut closing = false;
    let mut begun_ns = clock::mono_ns();
    for queued in transaction.queued() {
        let (outcome, ended_ns) = call::nested(ctx, queued, Origin::Exec, begun_ns);
        closing |= matches!(outcome, Outcome::Close);
        begun_ns = ended_ns;
    }
    end(ctx.session, ctx.shared);
    ctx.local.transaction = transaction.recycled();
    Ok(if closing { Outcome::Close } else { Outcome::Done })
}
