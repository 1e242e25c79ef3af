//! The connection itself: PING, ECHO, SELECT, AUTH, HELLO, QUIT, RESET.

use crate::commands::command::{Arity, Categories, Command, Flags, Group, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::error::Error;
use crate::commands::session::Session;
use crate::commands::transaction;
use crate::shared::Shared;

/// The family.
pub static COMMANDS: &[Command] = &[Command {
    name: "ping",
    arity: Arity::AtLeast(1),
    flags: Flags::FAST.union(Flags::SENTINEL),
    acl: Categories::CONNECTION,
    syntax: "[message]",
    summary: "Answers PONG, or the message.",
    group: Group::Connection,
    run: ping,
    ..Command::DEFAULT
}];

fn ping(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if ctx.args.count() > 2 {
        return Err(ctx.arity_error());
    }
    let message = ctx.args.next().ok();
    if ctx.session.subscriber_mode() {
        ctx.reply.array(2);
        ctx.reply.bulk(b"pong");
        ctx.reply.bulk(message.unwrap_or(b""));
    } else if let Some(message) = message {
        ctx.reply.bulk(message);
    } else {
        ctx.reply.simple("PONG");
    }
    Ok(Outcome::Done)
}

/// Undoes everything that others know of a session that ends.
pub fn forget(session: &mut Session, shared: &Shared) {
    transaction::stop_watching(session, shared);
    if let Some(subscriptions) = session.subscriptions.take() {
        shared.pubsub.forget(&subscriptions, session.handle.id);
    }
    if session.monitor {
        shared.monitors.remove(session.handle.id);
    }
}
