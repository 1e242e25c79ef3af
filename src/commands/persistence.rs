//! Saving and rewriting.

use crate::commands::command::{Arity, Command, Group, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::row::{acl, flags, not_built};
use crate::error::Error;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "bgrewriteaof",
        arity: Arity::Exactly(1),
        flags: flags!(ADMIN | NOSCRIPT | NO_ASYNC_LOADING),
        summary: "Rewrites the append-only file in the background.",
        since: "1.0.0",
        group: Group::Server,
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "bgsave",
        arity: Arity::AtLeast(1),
        flags: flags!(ADMIN | NOSCRIPT | NO_ASYNC_LOADING),
        syntax: "[SCHEDULE^3.2.2]",
        summary: "Saves a snapshot in the background.",
        since: "1.0.0",
        group: Group::Server,
        history: &[("3.2.2", "Option `SCHEDULE`.")],
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "lastsave",
        arity: Arity::Exactly(1),
        flags: flags!(LOADING | STALE | FAST),
        acl: acl!(ADMIN | DANGEROUS),
        summary: "Unix time of the last snapshot.",
        since: "1.0.0",
        group: Group::Server,
        tips: &["nondeterministic_output"],
        run: lastsave,
        ..Command::DEFAULT
    },
    Command {
        name: "save",
        arity: Arity::Exactly(1),
        flags: flags!(ADMIN | NOSCRIPT | NO_MULTI | NO_ASYNC_LOADING),
        summary: "Saves a snapshot and waits for it.",
        since: "1.0.0",
        group: Group::Server,
        complexity: "O(N), N keys in all databases",
        run: not_built,
        ..Command::DEFAULT
    },
];

/// LASTSAVE. Nothing was saved yet, so it is the start, as in Redis.
pub fn lastsave(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.reply.int(i64::try_from(ctx.shared.started_ms / 1000).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}
