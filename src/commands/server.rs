//! The server as a whole: `INFO`, `FLUSHALL`, `SHUTDOWN` and their kin.

use crate::clock;
use crate::commands::command::{Access, Arity, Command, Group, Outcome};
use crate::commands::ctx::{Ctx, Origin};
use crate::commands::lolwut::lolwut;
use crate::commands::row::{acl, flags, help, not_built};
use crate::commands::table;
use crate::error::Error;
use crate::keyspace::{DbId, Sizes};
use crate::observe::info::{self, Facts};
use crate::observe::snapshot;
use crate::shared::Shutdown;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "info",
        arity: Arity::AtLeast(1),
        flags: flags!(LOADING | STALE | SENTINEL),
        acl: acl!(DANGEROUS),
        access: Access::Walk,
        syntax: "[section]...",
        summary: "Facts and counters of the server.",
        since: "1.0.0",
        group: Group::Server,
        history: &[("7.0.0", "Takes several sections.")],
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        run: info,
        ..Command::DEFAULT
    },
    Command {
        name: "lolwut",
        arity: Arity::AtLeast(1),
        flags: flags!(READONLY | FAST),
        syntax: "[VERSION version:int]",
        summary: "Shows a picture and the version.",
        since: "5.0.0",
        group: Group::Server,
        complexity: "",
        run: lolwut,
        ..Command::DEFAULT
    },
    Command {
        name: "module",
        arity: Arity::AtLeast(2),
        summary: "Commands about modules.",
        since: "4.0.0",
        group: Group::Server,
        complexity: "that of the subcommand",
        subcommands: &[
            Command {
                name: "help",
                arity: Arity::Exactly(2),
                flags: flags!(LOADING | STALE),
                summary: "Lists the subcommands.",
                since: "5.0.0",
                group: Group::Server,
                run: help,
                ..Command::DEFAULT
            },
            Command {
                name: "list",
                arity: Arity::Exactly(2),
                flags: flags!(ADMIN | NOSCRIPT),
                summary: "Loaded modules.",
                since: "4.0.0",
                group: Group::Server,
                complexity: "O(N), N modules",
                tips: &["nondeterministic_output_order"],
                run: module_list,
                ..Command::DEFAULT
            },
            Command {
                name: "load",
                arity: Arity::AtLeast(3),
                flags: flags!(ADMIN | NOSCRIPT | NO_ASYNC_LOADING | PROTECTED),
                syntax: "path [arg]...",
                summary: "Loads a module.",
                since: "4.0.0",
                group: Group::Server,
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "loadex",
                arity: Arity::AtLeast(3),
                flags: flags!(ADMIN | NOSCRIPT | NO_ASYNC_LOADING | PROTECTED),
                syntax: "path [CONFIG configs: name value]...+ [ARGS args]...",
                summary: "Loads a module with settings.",
                since: "7.0.0",
                group: Group::Server,
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "unload",
                arity: Arity::Exactly(3),
                flags: flags!(ADMIN | NOSCRIPT | NO_ASYNC_LOADING | PROTECTED),
                syntax: "name",
                summary: "Unloads a module.",
                since: "4.0.0",
                group: Group::Server,
                run: not_built,
                ..Command::DEFAULT
            },
        ],
        ..Command::DEFAULT
    },
    Command {
        name: "monitor",
        arity: Arity::Exactly(1),
        flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
        summary: "Shows every command as it comes in.",
        since: "1.0.0",
        group: Group::Server,
        complexity: "",
        run: monitor,
        ..Command::DEFAULT
    },
    Command {
        name: "shutdown",
        arity: Arity::AtLeast(1),
        flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL | ALLOW_BUSY | NO_MULTI),
        syntax: "[save-selector: NOSAVE | SAVE] [NOW^7.0.0] [FORCE^7.0.0] [ABORT^7.0.0]",
        summary: "Ends the server, saving first if so configured.",
        since: "1.0.0",
        group: Group::Server,
        complexity: "O(N) when it saves, N keys in all databases; else O(1)",
        history: &[("7.0.0", "Options `NOW`, `FORCE`, `ABORT`.")],
        run: shutdown,
        ..Command::DEFAULT
    },
    Command {
        name: "time",
        arity: Arity::Exactly(1),
        flags: flags!(LOADING | STALE | FAST),
        summary: "The server's clock.",
        since: "2.6.0",
        group: Group::Server,
        tips: &["nondeterministic_output"],
        run: time,
        ..Command::DEFAULT
    },
];

/// INFO
pub fn info(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let asked: Vec<&[u8]> = ctx.args.rest().collect();
    let mut facts = facts(ctx);
    if info::asks_for_sizes(&asked) {
        facts.sizes = sizes(ctx, &facts.databases);
    }
    let text = info::render(&facts, &asked);
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(Outcome::Done)
}

/// Keys of a database that INFO looks at to say how large their values are; of more it looks at as many. Each is a
/// cache miss: 1.4 ms for all of them, measured with a million keys.
const SIZED_KEYS_MAX: usize = 8 << 10;

fn sizes(ctx: &mut Ctx<'_, '_>, databases: &[info::Database]) -> Vec<(DbId, Sizes)> {
    let shift = ctx.local.rng.u64(..);
    let one =
        |database: &info::Database| (database.id, ctx.keyspace().sizes(database.id, SIZED_KEYS_MAX, shift));
    databases.iter().filter(|database| database.engines.keys > 0).map(one).collect()
}

/// Gathers what INFO and MEMORY STATS show.
pub(super) fn facts<'a>(ctx: &mut Ctx<'a, '_>) -> Facts<'a> {
    let shared = ctx.shared;
    // First, so that what is gathered for the answer does not count.
    let used = shared.sampler.used(&shared.keyspace, ctx.keyspace().live_bytes());
    let totals = shared.stats.totals();
    Facts {
        shared,
        config: ctx.config,
        counters: shared.stats.sum(),
        rates: shared.sampler.rates(clock::mono_ms(), totals),
        used,
        databases: snapshot::databases(ctx.keyspace(), ctx.now, &mut ctx.local.rng),
        clients: snapshot::clients(shared),
        command_name: table::full_name,
        now_us: clock::now_us(),
        sizes: Vec::new(),
    }
}

/// MODULE LIST
pub fn module_list(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.reply.array(0);
    Ok(Outcome::Done)
}

/// MONITOR
pub fn monitor(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if ctx.origin != Origin::Client {
        return Err(Error::Line("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    if !ctx.session.monitor {
        ctx.session.monitor = true;
        ctx.shared.monitors.add(&ctx.session.handle);
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// TIME
pub fn time(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let now_us = clock::now_us();
    ctx.reply.array(2);
    ctx.reply.bulk((now_us / 1_000_000).to_string().as_bytes());
    ctx.reply.bulk((now_us % 1_000_000).to_string().as_bytes());
    Ok(Outcome::Done)
}

/// SHUTDOWN. There is nothing to save to yet, so asking for it is an error.
pub fn shutdown(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let (mut save, mut nosave, mut abort, mut other) = (false, false, false, false);
    while ctx.args.left() > 0 {
        let word = ctx.args.next()?;
        match word {
            w if w.eq_ignore_ascii_case(b"SAVE") => save = true,
            w if w.eq_ignore_ascii_case(b"NOSAVE") => nosave = true,
            w if w.eq_ignore_ascii_case(b"NOW") || w.eq_ignore_ascii_case(b"FORCE") => other = true,
            w if w.eq_ignore_ascii_case(b"ABORT") => abort = true,
            _ => return Err(Error::Syntax),
        }
    }
    if (abort && (save || nosave || other)) || (save && nosave) {
        return Err(Error::Syntax);
    }
    if abort {
        // Nothing delays a shutdown here, so there is never one that could be taken back.
        return Err(Error::Line("ERR No shutdown in progress."));
    }
    if save {
        return Err(Error::not_built("shutdown save"));
    }
    ctx.shared.begin_shutdown(Shutdown { code: 0 });
    Ok(Outcome::Close)
}
