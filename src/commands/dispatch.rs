//! From a parsed request to a command that may run now, or the reason why not.
//!
//! The order of the checks is Redis': existence, arity, protected commands, authentication,
//! subscriber mode, then queueing in a transaction, then a pause.

use std::sync::atomic::Ordering::Relaxed;

use crate::clients::State;
use crate::commands::args::{Args, Source};
use crate::commands::call::{self, Env, Hands, Request};
use crate::commands::command::{Access, Flags, Outcome};
use crate::commands::connection;
use crate::commands::ctx::Origin;
use crate::commands::room;
use crate::commands::session::{ReplyMode, Session};
use crate::commands::table::{self, Found, Lookup};
use crate::commands::transaction;
use crate::error::Error;
use crate::keyspace::{Batch, KeyHash};
use crate::protocol::{OutBuf, Reply};
use crate::shared::PauseMode;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It ran and was answered.
    Done,
    /// It was refused or queued: answered, but it did not run.
    Refused,
    /// It was answered; close the connection once the reply is written.
    Close,
    /// It needs the exclusive gate: raise it and dispatch again.
    Gate,
    /// It waits; the worker's `local` has its waiter, and there is no reply yet.
    Blocked,
    /// It ran, and the worker's `local` has the rest of its reply.
    More,
    /// CLIENT PAUSE holds it back until this time (Unix ms): dispatch it again then.
    Paused(u64),
}

impl Fate {
    /// Whether news may stand behind it: not where a reply goes on, or where the answer to a wait may have come already.
    pub fn has_place_for_news(self) -> bool {
        !matches!(self, Fate::More | Fate::Blocked)
    }
}

impl From<&Outcome> for Fate {
    #[inline(always)]
    fn from(outcome: &Outcome) -> Fate {
        match outcome {
            Outcome::Done => Fate::Done,
            Outcome::Close => Fate::Close,
            Outcome::Block(_) => Fate::Blocked,
            Outcome::More(_) => Fate::More,
        }
    }
}

/// Answers one request, unless it has to wait.
#[inline(never)]
#[allow(clippy::too_many_arguments)] // each is a different owner's; bundling them would need a RefCell
pub fn dispatch(
    env: Env<'_>,
    mut hands: Hands<'_>,
    batch: &Batch<'_>,
    session: &mut Session,
    out: &mut OutBuf,
    lookup: Lookup,
    source: Source<'_>,
    hash: Option<KeyHash>,
) -> Fate {
    let Lookup::Found(found) = lookup else {
        return refuse_unknown(env, &hands, session, out, lookup, source);
    };
    let plain = found.is_plain() && session.is_plain() && !env.shared.pause.is_set();
    // Looked at first: what it adds counts, whatever else there is to see to.
    let has_room = hands.local.room.has_budget(found, source);
    if !(plain && has_room && found.command.arity.accepts(source.len()))
        && let Some(fate) = held_up(env, &mut hands, batch, session, out, found, source)
    {
        return fate;
    }
    call::note(session, found.id);
    if !hands.local.redacted.is_empty() {
        hands.local.redacted.clear();
    }
    let begin = out.position();
    let request = Request { found, source, hash, origin: Origin::Client };
    let outcome = call::run(env, hands.reborrow(), batch, session, out, request);
    if call::is_monitored(env, found) {
        call::feed_monitors(env, &hands.local.redacted, session, source);
    }
    let fate = Fate::from(&outcome);
    match outcome {
        Outcome::Block(_) => return fate,
        Outcome::More(rest) => hands.local.rest = Some(rest),
        Outcome::Done | Outcome::Close => {}
    }
    if session.special {
        finish_special(session, out, found, begin);
    }
    fate
}

/// What becomes of a request that does not just run, or None if it does after all.
#[inline(never)]
fn held_up(
    env: Env<'_>,
    hands: &mut Hands<'_>,
    batch: &Batch<'_>,
    session: &mut Session,
    out: &mut OutBuf,
    found: Found,
    source: Source<'_>,
) -> Option<Fate> {
    if !found.command.arity.accepts(source.len()) {
        let error = Error::Arity(table::full_name(found.id));
        return Some(refuse(env, hands, session, out, Some(found.id), &error));
    }
    if let Some(error) = call::refusal(env, session, found) {
        return Some(refuse(env, hands, session, out, Some(found.id), &error));
    }
    if hands.local.room.limit != 0 && room::is_refused(env, hands, batch, session, found) {
        return Some(refuse(env, hands, session, out, Some(found.id), &Error::OutOfMemory));
    }
    if session.transaction.is_some() && !runs_in_multi(found) {
        return Some(queue(env, hands, batch, session, out, found, source));
    }
    if let Some((mode, until)) = env.shared.pause.active(env.now)
        && held_back(mode, found, session)
    {
        return Some(Fate::Paused(until));
    }
    if needs_gate(found, session, source) && !batch.is_exclusive() {
        return Some(Fate::Gate);
    }
    if session.reply_mode == ReplyMode::SkipNext {
        session.set_reply_mode(ReplyMode::Skip);
    }
    None
}

/// After a command of a client with CLIENT REPLY OFF or SKIP, or CLIENT CACHING.
#[cold]
#[inline(never)]
fn finish_special(session: &mut Session, out: &mut OutBuf, found: Found, begin: usize) {
    let family = table::container(found.id).command.name;
    // Confirmations of subscriptions are pushes, which CLIENT REPLY does not concern.
    let keep = family.ends_with("subscribe");
    silence(session, out, if keep { out.position() } else { begin });
    caching_used(session, family);
}

/// CLIENT CACHING is for the next command, or the next transaction.
pub(super) fn caching_used(session: &mut Session, family: &str) {
    if session.transaction.is_none()
        && family != "client"
        && let Some(tracking) = &mut session.tracking
    {
        tracking.caching = false;
        session.note_special();
    }
}

/// CLIENT REPLY OFF and SKIP: the reply is dropped, what others pushed is not in here.
#[inline]
pub(super) fn silence(session: &mut Session, out: &mut OutBuf, begin: usize) {
    match session.reply_mode {
        ReplyMode::On | ReplyMode::SkipNext => {}
        ReplyMode::Off => out.truncate_to(begin),
        ReplyMode::Skip => {
            out.truncate_to(begin);
            session.set_reply_mode(ReplyMode::On);
        }
    }
}

fn needs_gate(found: Found, session: &Session, source: Source<'_>) -> bool {
    match found.command.access_for(&Args::new(source, 1)) {
        Access::Whole => true,
        Access::Queued => {
            let watched = session.watched.as_ref().map_or(0, |w| w.len());
            session.transaction.as_ref().is_some_and(|t| t.needs_gate(watched))
        }
        _ => false,
    }
}

/// Commands that act at once although a transaction is open.
fn runs_in_multi(found: Found) -> bool {
    let name = table::container(found.id).command.name;
    matches!(name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
}

fn held_back(mode: PauseMode, found: Found, session: &Session) -> bool {
    if mode == PauseMode::All {
        // CLIENT must get through to end the pause.
        return table::container(found.id).command.name != "client";
    }
    if found.command.name == "exec" {
        let queued = session.transaction.as_ref().map_or(Flags::empty(), |t| t.flags());
        return queued.intersects(Flags::WRITE | Flags::MAY_REPLICATE);
    }
    found.command.flags.intersects(Flags::WRITE | Flags::MAY_REPLICATE)
}

#[cold]
fn queue(
    env: Env<'_>,
    hands: &Hands<'_>,
    batch: &Batch<'_>,
    session: &mut Session,
    out: &mut OutBuf,
    found: Found,
    source: Source<'_>,
) -> Fate {
    let begin = out.position();
    if found.command.flags.contains(Flags::NO_MULTI) {
        let error = Error::Line("ERR Command not allowed inside a transaction");
        return refuse(env, hands, session, out, Some(found.id), &error);
    }
    if let Some(transaction) = session.transaction.as_mut() {
        transaction.queue(found, source, session.db, batch);
        let figures = &session.handle.figures;
        figures.multi.store(i32::try_from(transaction.len()).unwrap_or(i32::MAX), Relaxed);
        figures.multi_mem.store(transaction.bytes(), Relaxed);
        if transaction.bytes() as u64 > env.config.client_query_buffer_limit {
            return close_oversized(env, hands, session);
        }
    }
    Reply::new(out, session.resp3).simple("QUEUED");
    silence(session, out, begin);
    Fate::Refused
}

/// Queued commands count as what the client is sending.
#[cold]
fn close_oversized(env: Env<'_>, hands: &Hands<'_>, session: &Session) -> Fate {
    let client = &session.handle;
    tracing::info!(client = client.id, addr = %client.addr, "closing client: queued more than the query buffer limit");
    env.shared.stats.lane(hands.local.worker).query_buffer_closed += 1;
    Fate::Close
}

#[cold]
fn refuse(
    env: Env<'_>,
    hands: &Hands<'_>,
    session: &mut Session,
    out: &mut OutBuf,
    id: Option<u16>,
    error: &Error,
) -> Fate {
    let begin = out.position();
    if id.and_then(table::by_id).is_some_and(|f| f.command.access == Access::Queued) {
        // EXEC, in a transaction or not.
        transaction::end(session, env.shared);
        let line = error.line();
        let why = line.strip_prefix("ERR ").unwrap_or(&line);
        let error = Error::text(format!("EXECABORT Transaction discarded because of: {why}"));
        call::reject(env.shared, hands.local.worker, id, out, &error);
    } else {
        if let Some(transaction) = session.transaction.as_mut() {
            transaction.abort();
        }
        call::reject(env.shared, hands.local.worker, id, out, error);
    }
    silence(session, out, begin);
    caching_used(session, id.map_or("", |id| table::container(id).command.name));
    Fate::Refused
}

#[cold]
fn refuse_unknown(
    env: Env<'_>,
    hands: &Hands<'_>,
    session: &mut Session,
    out: &mut OutBuf,
    lookup: Lookup,
    source: Source<'_>,
) -> Fate {
    if connection::is_http(source.at(0)) {
        connection::cross_protocol(&session.handle);
        session.handle.set(State::KILLED);
        return Fate::Close;
    }
    let error = match lookup {
        Lookup::UnknownSubcommand(container) => {
            let after = format!("'. Try {} HELP.", container.name.to_ascii_uppercase());
            Error::quoting("ERR unknown subcommand '", call::shown(source.at(1)), &after)
        }
        _ => call::unknown(source.iter()),
    };
    refuse(env, hands, session, out, None, &error)
}
