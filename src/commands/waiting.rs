//! Waiting in a blocking command: how it begins, how the waiters of a key are served, and what a
//! client is answered in the end.
//!
//! A served client's command is run by the worker whose command made the key ready, after that
//! command and under no lock of it, with a reply of its own that the client's worker sends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::blocking::{Answer, Kept, Kinds, LIST, Name, OTHER, PutBack, STREAM, Wait, Waiter, ZSET};
use crate::clients::State;
use crate::clock;
use crate::commands::args::Source;
use crate::commands::call::{self, Env, Hands, Request};
use crate::commands::command::Outcome;
use crate::commands::ctx::{Ctx, Origin};
use crate::commands::session::Session;
use crate::commands::table;
use crate::commands::{dispatch, timing};
use crate::error::Error;
use crate::keyspace::Batch;
use crate::observe::latency::COMMAND_UNBLOCKING;
use crate::protocol::{OutBuf, Reply};
use crate::shared::Shared;
use crate::values::Kind;

const UNBLOCKED: Error = Error::Line("UNBLOCKED client unblocked via CLIENT UNBLOCK");
const NO_STREAM: Error = Error::Line("UNBLOCKED the stream key no longer exists");

/// A handler found nothing: the client joins the queues of its keys, which are still locked, or
/// is answered as on a time-out where it must not wait.
#[cold]
pub(super) fn begin(ctx: &mut Ctx<'_, '_>, wait: Wait) -> Outcome {
    if !ctx.origin.may_block() {
        wait.on_timeout.write_at_once(&mut ctx.reply);
        return Outcome::Done;
    }
    if ctx.origin == Origin::Woken {
        return Outcome::Block(Box::new(wait));
    }
    let mut names: Vec<Name> = Vec::with_capacity(ctx.keys.len());
    for i in 0..ctx.keys.len() {
        let name = Name { db: ctx.keys.db(i), key: ctx.keys.key(i).into() };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let (session, behind) = (&*ctx.session, wait.behind);
    let kept = Kept {
        client: Arc::clone(&session.handle),
        db: session.db,
        resp3: session.resp3,
        no_touch: session.no_touch,
        remembers: session.tracking.as_ref().is_some_and(|t| t.remembers()),
        command: ctx.id,
        request: ctx.args.source().to_owned(),
        argv: wait.argv,
        timeout_ms: wait.timeout_ms,
        on_timeout: wait.on_timeout,
    };
    // Before it can be served, so that whoever ends the wait clears it.
    session.handle.set(State::BLOCKED);
    let timed = wait.timeout_ms > 0;
    let waiter = ctx.shared.waiters.join(session.id(), names, wait.kinds, timed, behind, kept);
    ctx.local.signalled |= behind;
    ctx.local.waiter = Some(waiter);
    Outcome::Block(Box::new(Wait { argv: None, ..wait }))
}

/// Serves every key that is ready. No key may be locked by the caller.
#[cold]
pub fn serve(env: Env<'_>, mut hands: Hands<'_>, batch: &Batch<'_>) {
    while let Some(mut serving) = env.shared.waiters.take_ready() {
        loop {
            let kind = kind_of(batch, serving.name(), env.now);
            let Some(waiter) = serving.next(kind) else { break };
            let served = attempt(env, hands.reborrow(), batch, &waiter, kind);
            // Nothing is left for others that want the same, except of a stream, where each has
            // a place of its own.
            if !served && matches!(kind, LIST | ZSET) {
                break;
            }
        }
    }
    hands.local.signalled = false;
}

/// What is at a key now.
fn kind_of(batch: &Batch<'_>, name: &Name, now: u64) -> Kinds {
    let hash = batch.hash_key(&name.key);
    let guard = batch.lock(name.db, hash);
    let Some(pos) = guard.find(hash, &name.key) else { return OTHER };
    let entry = guard.entry(pos);
    if entry.deadline().is_some_and(|at| crate::expiry::is_past(at, now)) {
        return OTHER;
    }
    match entry.kind() {
        Kind::List => LIST,
        Kind::ZSet => ZSET,
        Kind::Stream => STREAM,
        _ => OTHER,
    }
}

/// Runs the command of a waiter that this worker has in hand. Whether it was answered.
fn attempt(env: Env<'_>, mut hands: Hands<'_>, batch: &Batch<'_>, waiter: &Waiter, kind: Kinds) -> bool {
    let (waiters, client) = (&env.shared.waiters, &waiter.what.client);
    loop {
        let mut out = OutBuf::default();
        // A client that is about to be closed takes nothing away from the others.
        if !client.state().contains(State::KILLED) {
            let answer = if kind != STREAM && waiter.wants(OTHER) {
                let (worker, id) = (hands.local.worker, waiter.what.command);
                call::fail(env.shared, worker, id, &mut out, &NO_STREAM);
                finished(env, &waiter.what, worker, 0);
                Some(Answer::Reply(out))
            } else {
                run_again(env, hands.reborrow(), batch, &waiter.what, out)
            };
            if let Some(answer) = answer {
                waiters.answer(waiter, answer);
                tell(waiter);
                return true;
            }
        }
        match waiters.put_back(waiter) {
            PutBack::TryAgain => {}
            PutBack::Answered => {
                tell(waiter);
                return true;
            }
            PutBack::Waits | PutBack::Gone => {
                // Its owner may have held back messages for it, as an answer was to come first.
                client.wake();
                return false;
            }
        }
    }
}

/// Runs the command once more. `None` if there is still nothing.
fn run_again(
    env: Env<'_>,
    mut hands: Hands<'_>,
    batch: &Batch<'_>,
    kept: &Kept,
    mut out: OutBuf,
) -> Option<Answer> {
    let found = table::by_id(kept.command)?;
    let mut session = Session::new(Arc::clone(&kept.client), true);
    session.db = kept.db;
    session.resp3 = kept.resp3;
    session.no_touch = kept.no_touch;
    session.tracking = kept.remembers.then(Box::default);
    let source = Source::Owned(kept.argv.as_deref().unwrap_or(&kept.request));
    let request = Request { found, source, hash: None, origin: Origin::Woken };
    let worker = hands.local.worker;
    let begun = clock::mono_ns();
    // A panic costs the client whose command it is, not the one that made the key ready.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        call::run(env, hands.reborrow(), batch, &mut session, &mut out, request)
    }));
    let took = clock::mono_ns() - begun;
    match outcome {
        Ok(Outcome::Block(_)) => None,
        Ok(_) => {
            finished(env, kept, worker, took);
            Some(Answer::Reply(out))
        }
        Err(_) => {
            tracing::error!(
                client = kept.client.id,
                "a woken command ended in a panic, its client is closed"
            );
            Some(Answer::Broken)
        }
    }
}

/// Counts a command that waited as one that ran.
fn finished(env: Env<'_>, kept: &Kept, worker: u16, took_ns: u64) {
    let Some(found) = table::by_id(kept.command) else { return };
    kept.client.ran(1);
    {
        let mut counters = env.shared.stats.lane(worker);
        counters.total_commands += 1;
        counters.command(found.id).record(1, took_ns, env.config.latency_tracking);
    }
    let config = env.shared.config.load();
    let micros = took_ns / 1000;
    env.shared.latency.note(COMMAND_UNBLOCKING, micros, config.latency_monitor_threshold, clock::now_ms);
    let session = Session::new(Arc::clone(&kept.client), true);
    let ran = timing::Ran { found, source: Source::Owned(&kept.request), redacted: &[] };
    timing::took(env, &session, micros, ran);
}

/// The waiter has its answer: its owner is told.
fn tell(waiter: &Waiter) {
    let client = &waiter.what.client;
    // It was not idle, however long it waited: `timeout` counts from now.
    client.figures.last_ms.store(clock::mono_ms(), Relaxed);
    client.clear(State::BLOCKED);
    client.wake();
}

/// Ends a wait as on a time-out or with an error.
pub fn end(shared: &Shared, waiter: &Waiter, answer: Answer) {
    if shared.waiters.end(waiter, answer) {
        tell(waiter);
    }
}

/// CLIENT UNBLOCK: whether the client waited.
pub fn end_client(shared: &Shared, client: u64, answer: Answer) -> bool {
    match shared.waiters.end_client(client, answer) {
        Some(waiter) => {
            if waiter.is_answered() {
                tell(&waiter);
            }
            true
        }
        None => false,
    }
}

/// Writes the answer of an ended wait, on the worker of the client. False if its connection is
/// to be closed instead.
pub fn reply(env: Env<'_>, worker: u16, session: &mut Session, out: &mut OutBuf, waiter: &Waiter) -> bool {
    let begin = out.position();
    let kept = &waiter.what;
    match waiter.take_answer() {
        Some(Answer::Reply(mut reply)) => out.append(&mut reply),
        Some(Answer::TimedOut) => {
            kept.on_timeout.write(&mut Reply::new(out, kept.resp3));
            finished(env, kept, worker, 0);
        }
        Some(Answer::Unblocked) => {
            call::fail(env.shared, worker, kept.command, out, &UNBLOCKED);
            finished(env, kept, worker, 0);
        }
        Some(Answer::Broken) | None => return false,
    }
    dispatch::silence(session, out, begin);
    dispatch::caching_used(session, "");
    true
}

/// The connection of a waiting client ends.
pub fn abandon(shared: &Shared, waiter: &Waiter) {
    shared.waiters.abandon(waiter);
    waiter.what.client.clear(State::BLOCKED);
}
