//! `SLOWLOG` and `COMMANDLOG`.

use crate::commands::command::{Arity, Command, Group, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::row::{flags, help};
use crate::error::Error;
use crate::observe::slowlog::{CommandLogs, Entry, SlowLog};

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "commandlog",
        arity: Arity::AtLeast(2),
        summary: "Commands about the logs of slow and large commands.",
        since: "8.1.0",
        group: Group::Server,
        complexity: "that of the subcommand",
        subcommands: &[
            Command {
                name: "get",
                arity: Arity::Exactly(4),
                flags: flags!(ADMIN | LOADING | STALE),
                syntax: "count:int (type: SLOW | LARGE-REQUEST | LARGE-REPLY)",
                summary: "Entries of a command log.",
                since: "8.1.0",
                group: Group::Server,
                complexity: "O(N), N entries returned",
                tips: &["request_policy:all_nodes", "nondeterministic_output"],
                run: commandlog_get,
                ..Command::DEFAULT
            },
            Command {
                name: "help",
                arity: Arity::Exactly(2),
                flags: flags!(LOADING | STALE),
                summary: "Lists the subcommands.",
                since: "8.1.0",
                group: Group::Server,
                run: help,
                ..Command::DEFAULT
            },
            Command {
                name: "len",
                arity: Arity::Exactly(3),
                flags: flags!(ADMIN | LOADING | STALE),
                syntax: "(type: SLOW | LARGE-REQUEST | LARGE-REPLY)",
                summary: "Number of entries in a command log.",
                since: "8.1.0",
                group: Group::Server,
                tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
                run: commandlog_len,
                ..Command::DEFAULT
            },
            Command {
                name: "reset",
                arity: Arity::Exactly(3),
                flags: flags!(ADMIN | LOADING | STALE),
                syntax: "(type: SLOW | LARGE-REQUEST | LARGE-REPLY)",
                summary: "Empties a command log.",
                since: "8.1.0",
                group: Group::Server,
                complexity: "O(N), N entries",
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                run: commandlog_reset,
                ..Command::DEFAULT
            },
        ],
        ..Command::DEFAULT
    },
    Command {
        name: "slowlog",
        arity: Arity::AtLeast(2),
        summary: "Looks at the log of slow commands.",
        since: "2.2.12",
        group: Group::Server,
        complexity: "that of the subcommand",
        subcommands: &[
            Command {
                name: "get",
                arity: Arity::AtLeast(2),
                flags: flags!(ADMIN | LOADING | STALE),
                syntax: "[count:int]",
                summary: "Entries of the slow log.",
                since: "2.2.12",
                group: Group::Server,
                complexity: "O(N), N entries returned",
                history: &[("4.0.0", "Entries carry the client's address and name.")],
                tips: &["request_policy:all_nodes", "nondeterministic_output"],
                run: slowlog_get,
                ..Command::DEFAULT
            },
            Command {
                name: "help",
                arity: Arity::Exactly(2),
                flags: flags!(LOADING | STALE),
                summary: "Lists the subcommands.",
                since: "6.2.0",
                group: Group::Server,
                run: help,
                ..Command::DEFAULT
            },
            Command {
                name: "len",
                arity: Arity::Exactly(2),
                flags: flags!(ADMIN | LOADING | STALE),
                summary: "Number of entries in the slow log.",
                since: "2.2.12",
                group: Group::Server,
                tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
                run: slowlog_len,
                ..Command::DEFAULT
            },
            Command {
                name: "reset",
                arity: Arity::Exactly(2),
                flags: flags!(ADMIN | LOADING | STALE),
                summary: "Empties the slow log.",
                since: "2.2.12",
                group: Group::Server,
                complexity: "O(N), N entries",
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                run: slowlog_reset,
                ..Command::DEFAULT
            },
        ],
        ..Command::DEFAULT
    },
];

/// Entries that SLOWLOG GET answers when no count is given.
const DEFAULT_COUNT: usize = 10;

/// SLOWLOG GET
pub fn slowlog_get(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if ctx.args.left() > 1 {
        return Err(ctx.subcommand_error());
    }
    let count = if ctx.args.left() == 0 { DEFAULT_COUNT } else { count(ctx)? };
    entries(ctx, &ctx.shared.logs.slow.newest(count));
    Ok(Outcome::Done)
}

/// A number of entries; -1 is all.
fn count(ctx: &mut Ctx<'_, '_>) -> Result<usize, Error> {
    const WRONG: Error = Error::Line("ERR count should be greater than or equal to -1");
    match ctx.args.int().map_err(|_| WRONG)? {
        -1 => Ok(usize::MAX),
        n => usize::try_from(n).map_err(|_| WRONG),
    }
}

fn entries(ctx: &mut Ctx<'_, '_>, entries: &[Entry]) {
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    ctx.reply.array(entries.len());
    for entry in entries {
        ctx.reply.array(6);
        ctx.reply.int(signed(entry.id));
        ctx.reply.int(signed(entry.time_s));
        ctx.reply.int(signed(entry.measure));
        ctx.reply.array(entry.args.len());
        for arg in &entry.args {
            ctx.reply.bulk(arg);
        }
        ctx.reply.bulk(entry.addr.as_bytes());
        ctx.reply.bulk(&entry.name);
    }
}

/// SLOWLOG LEN
pub fn slowlog_len(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.reply.int(i64::try_from(ctx.shared.logs.slow.len()).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// SLOWLOG RESET
pub fn slowlog_reset(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.shared.logs.slow.reset();
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// The log that the next argument names.
fn log<'s>(ctx: &mut Ctx<'s, '_>) -> Result<&'s SlowLog, Error> {
    let logs: &'s CommandLogs = &ctx.shared.logs;
    if ctx.args.token("SLOW") {
        Ok(&logs.slow)
    } else if ctx.args.token("LARGE-REQUEST") {
        Ok(&logs.large_request)
    } else if ctx.args.token("LARGE-REPLY") {
        Ok(&logs.large_reply)
    } else {
        Err(Error::Line("ERR type should be one of the following: slow, large-request, large-reply"))
    }
}

/// COMMANDLOG GET
pub fn commandlog_get(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let count = count(ctx)?;
    let log = log(ctx)?;
    entries(ctx, &log.newest(count));
    Ok(Outcome::Done)
}

/// COMMANDLOG LEN
pub fn commandlog_len(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let log = log(ctx)?;
    ctx.reply.int(i64::try_from(log.len()).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// COMMANDLOG RESET
pub fn commandlog_reset(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    log(ctx)?.reset();
    ctx.reply.ok();
    Ok(Outcome::Done)
}
