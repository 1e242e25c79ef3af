//! What is seen to once a command is over and nothing is locked: entries of rules, and clients that wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::commands::args::Source;
use crate::commands::call::{self, Env, Hands, Request};
use crate::commands::ctx::Origin;
use crate::commands::session::Session;
use crate::commands::{table, waiting};
use crate::events::outbox::Entry;
use crate::keyspace::Batch;
use crate::protocol::OutBuf;
use crate::shared::Shared;

/// Whether there is anything to see to that no command of this worker has noted.
pub fn has_errands(shared: &Shared) -> bool {
    shared.waiters.has_ready() || shared.outbox.has_pending()
}

/// How often one call goes round. What makes more work for longer is other workers, and this one has clients.
const ROUNDS_MAX: usize = 8;

/// Appends the entries of rules and serves the clients that wait; each may make work for the other. No key may be
/// locked by the caller.
#[cold]
pub fn serve(env: Env<'_>, mut hands: Hands<'_>, batch: &Batch<'_>) {
    for _ in 0..ROUNDS_MAX {
        let appended = append_all(env, hands.reborrow(), batch);
        waiting::serve(env, hands.reborrow(), batch);
        // What others are appending is theirs.
        if !appended && !env.shared.waiters.has_ready() {
            return;
        }
    }
    if has_errands(env.shared) {
        env.shared.errands.notify_one();
    }
}

/// Appends what waits now, in order. Whether there was anything.
fn append_all(env: Env<'_>, mut hands: Hands<'_>, batch: &Batch<'_>) -> bool {
    let outbox = &env.shared.outbox;
    if !outbox.has_pending() {
        return false;
    }
    let Some(turn) = outbox.turn() else { return false };
    // No more than that: others may add entries as fast as they are appended here.
    for _ in 0..outbox.waiting() {
        let Some(entry) = outbox.take() else { break };
        outbox.done(append(env, hands.reborrow(), batch, &entry));
    }
    drop(turn);
    // Whoever adds an entry from now on finds the turn free; what came before is seen by the caller, who goes round.
    true
}

/// Appends one entry by XADD, as a client would.
fn append(env: Env<'_>, hands: Hands<'_>, batch: &Batch<'_>, entry: &Entry) -> bool {
    let Some(found) = table::lookup(b"xadd") else { return false };
    let mut session = Session::new(Arc::clone(env.shared.outbox.client()), true);
    session.db = entry.db;
    let mut out = OutBuf::default();
    let request = Request { found, source: Source::Owned(&entry.argv), hash: None, origin: Origin::Rule };
    let done =
        catch_unwind(AssertUnwindSafe(|| call::run(env, hands, batch, &mut session, &mut out, request)));
    let reply = out.to_vec();
    match done {
        Ok(_) if !reply.starts_with(b"-") => true,
        Ok(_) => {
            let why = String::from_utf8_lossy(&reply);
            tracing::warn!("the entry of an expired key was not appended: {}", why.trim_end());
            false
        }
        Err(_) => {
            tracing::error!("appending the entry of an expired key ended in a panic");
            false
        }
    }
}
