//! MULTI, EXEC, DISCARD, WATCH and UNWATCH.

use crate::clients::State;
use crate::commands::call;
use crate::commands::command::{Access, Arity, Command, Flags, Group, KeySpec, Outcome};
use crate::commands::ctx::{Ctx, Origin};
use crate::commands::error::Error;
use crate::commands::row::{acl, flags, key_flags};
use crate::commands::session::Session;
use crate::commands::table::Found;
use crate::keyspace::DbId;
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

/// An open transaction.
#[derive(Default)]
pub struct Transaction {
    queue: Vec<(Found, Vec<Blob>)>,
    aborted: bool,
    bytes: usize,
}

impl Transaction {
    /// Adds a command.
    pub fn queue(&mut self, found: Found, args: Vec<Blob>) {
        self.bytes += args.iter().map(|a| a.len() + size_of::<Blob>()).sum::<usize>();
        self.queue.push((found, args));
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

    /// Memory of the queued arguments.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether any queued command may write.
    pub fn writes(&self) -> bool {
        self.queue.iter().any(|(f, _)| f.command.flags.intersects(Flags::WRITE | Flags::MAY_REPLICATE))
    }
}

/// The keys that a client watches, with whether they had expired already when it began.
#[derive(Default)]
pub struct Watched {
    keys: Vec<(DbId, Box<[u8]>, bool)>,
}

/// MULTI
pub fn multi(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if ctx.session.transaction.is_some() {
        return Err(Error::Line("ERR MULTI calls can not be nested"));
    }
    ctx.session.transaction = Some(Box::default());
    ctx.session.handle.set(State::MULTI);
    ctx.session.handle.figures.multi.store(0, std::sync::atomic::Ordering::Relaxed);
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
    session.handle.figures.multi.store(-1, std::sync::atomic::Ordering::Relaxed);
    stop_watching(session, shared);
}

/// Forgets the watched keys.
pub fn stop_watching(session: &mut Session, shared: &Shared) {
    if let Some(watched) = session.watched.take() {
        for (db, key, _) in &watched.keys {
            shared.watches.remove(*db, key, session.handle.id);
        }
        session.handle.figures.watch.store(0, std::sync::atomic::Ordering::Relaxed);
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
        let absent = !ctx.keys.exists(i);
        let watched = ctx.session.watched.get_or_insert_default();
        if watched.keys.iter().any(|(d, k, _)| *d == db && *k == key) {
            continue;
        }
        // The key is locked, so no change can fall between this and the registration.
        ctx.shared.watches.add(db, &key, &ctx.session.handle);
        watched.keys.push((db, key, absent));
    }
    let count = ctx.session.watched.as_ref().map_or(0, |w| w.keys.len());
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    ctx.session.handle.figures.watch.store(count, std::sync::atomic::Ordering::Relaxed);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// UNWATCH
pub fn unwatch(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    stop_watching(ctx.session, ctx.shared);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// EXEC. Runs behind the exclusive gate, so nobody sees half of it.
pub fn exec(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let Some(transaction) = ctx.session.transaction.take() else {
        return Err(Error::Line("ERR EXEC without MULTI"));
    };
    let stale = ctx.session.handle.state().contains(State::DIRTY_CAS) || watched_key_expired(ctx);
    end(ctx.session, ctx.shared);
    if transaction.aborted {
        return Err(Error::Line("EXECABORT Transaction discarded because of previous errors."));
    }
    if stale {
        ctx.reply.null_array();
        return Ok(Outcome::Done);
    }
    ctx.reply.array(transaction.queue.len());
    let mut closing = false;
    for (found, args) in &transaction.queue {
        closing |= call::nested(ctx, *found, args, Origin::Exec) == Outcome::Close;
    }
    Ok(if closing { Outcome::Close } else { Outcome::Done })
}

/// A watched key that was there and is past its time now counts as changed, even if nobody
/// has removed it yet.
fn watched_key_expired(ctx: &mut Ctx<'_, '_>) -> bool {
    let Some(watched) = ctx.session.watched.take() else {
        return false;
    };
    let mut expired = false;
    for (db, key, absent) in &watched.keys {
        let i = ctx.open(*db, key);
        expired |= !absent && !ctx.keys.exists(i);
    }
    ctx.session.watched = Some(watched);
    expired
}
