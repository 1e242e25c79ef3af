//! `ENGINE`: what the tables behind the keys are doing, for people at a redis-cli.
//!
//! Every reply is a map with names that say their unit, so that `redis-cli -3` shows a table; a
//! program reads the same figures from `INFO engines`.

use crate::commands::command::{Access, Arity, Command, Group, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::row::{acl, flags, help};
use crate::error::Error;
use crate::keyspace::{DbId, EngineStats, FILL_CLASSES, Fills, KEYS_PER_SHARD, State, Step};
use crate::observe::info::{engine_reason, engine_state};

/// The commands of this family.
pub static COMMANDS: &[Command] = &[Command {
    name: "engine",
    arity: Arity::AtLeast(2),
    summary: "Looks at the tables behind the keys.",
    since: "0.1.0",
    group: Group::Server,
    complexity: "that of the subcommand",
    subcommands: &[
        Command {
            name: "help",
            arity: Arity::Exactly(2),
            flags: flags!(LOADING | STALE),
            summary: "Lists the subcommands.",
            since: "0.1.0",
            group: Group::Server,
            run: help,
            ..Command::DEFAULT
        },
        Command {
            name: "history",
            arity: Arity::AtLeast(2),
            flags: flags!(LOADING | STALE),
            acl: acl!(DANGEROUS),
            syntax: "[count:int]",
            summary: "The last migrations, newest first: when, why, how many keys, the longest pause.",
            since: "0.1.0",
            group: Group::Server,
            complexity: "O(N), N migrations shown",
            tips: &["nondeterministic_output"],
            run: engine_history,
            ..Command::DEFAULT
        },
        Command {
            name: "shards",
            arity: Arity::AtLeast(2),
            flags: flags!(LOADING | STALE),
            acl: acl!(DANGEROUS),
            access: Access::Walk,
            syntax: "[db:int]",
            summary: "How the keys of a database are spread over the shards of its engines.",
            since: "0.1.0",
            group: Group::Server,
            complexity: "O(N), N shards: one for about 300 keys",
            tips: &["nondeterministic_output"],
            run: engine_shards,
            ..Command::DEFAULT
        },
        Command {
            name: "status",
            arity: Arity::Exactly(2),
            flags: flags!(LOADING | STALE),
            acl: acl!(DANGEROUS),
            access: Access::Walk,
            summary: "The engines of every database in use, and what was moved and given back since the start.",
            since: "0.1.0",
            group: Group::Server,
            complexity: "O(N), N databases",
            tips: &["nondeterministic_output"],
            run: engine_status,
            ..Command::DEFAULT
        },
    ],
    ..Command::DEFAULT
}];

/// Migrations that ENGINE HISTORY shows when it is not told how many.
const HISTORY_DEFAULT: usize = 10;

/// A value of a map.
enum Figure {
    Count(u64),
    Ratio(f64),
    Word(&'static str),
}

fn count(n: usize) -> Figure {
    Figure::Count(n as u64)
}

/// Percent with two digits: more would be noise on a screen.
fn percent(part: f64) -> Figure {
    Figure::Ratio((part * 100.0).round() / 100.0)
}

fn put(ctx: &mut Ctx<'_, '_>, fields: &[(&str, Figure)]) {
    for (name, value) in fields {
        ctx.reply.bulk(name.as_bytes());
        match value {
            Figure::Count(n) => ctx.reply.int(i64::try_from(*n).unwrap_or(i64::MAX)),
            Figure::Ratio(x) => ctx.reply.double(*x),
            Figure::Word(word) => ctx.reply.bulk(word.as_bytes()),
        }
    }
}

/// ENGINE STATUS
pub fn engine_status(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let keyspace = &ctx.shared.keyspace;
    let (totals, memory) = (keyspace.totals(), ctx.keyspace().memory());
    let databases: Vec<(DbId, EngineStats)> = (0..keyspace.databases())
        .map(|db| (db, ctx.keyspace().stats(db)))
        .filter(|(_, stats)| stats.generation > 0)
        .collect();
    let migrating = databases.iter().filter(|(_, stats)| stats.state != State::Steady).count();
    let fields = [
        ("migrations-running", count(migrating)),
        ("migrations-done", Figure::Count(totals.migrations_done)),
        ("keys-moved", Figure::Count(totals.keys_moved)),
        ("keys-purged", Figure::Count(totals.keys_purged)),
        ("slices", Figure::Count(totals.slices)),
        ("slices-by-workers", Figure::Count(totals.slices_by_workers)),
        ("slice-mean-us", percent(totals.slices_ns as f64 / 1000.0 / totals.slices.max(1) as f64)),
        ("slice-longest-us", Figure::Count(totals.slice_longest_ns / 1000)),
        ("contended-locks", Figure::Count(totals.contended_locks)),
        ("bytes-segments", count(memory.segments)),
        ("bytes-dead", count(memory.dead)),
        ("bytes-spare", count(memory.spare)),
        ("bytes-tables", count(memory.tables)),
        ("bytes-waiting-to-be-freed", count(memory.waiting_to_be_freed)),
        ("bytes-compacted", Figure::Count(totals.compacted_bytes)),
        ("collections-packed", Figure::Count(totals.packed_collections)),
        ("bytes-given-back", Figure::Count(totals.given_back_bytes)),
    ];
    ctx.reply.map(fields.len() + 1);
    put(ctx, &fields);
    ctx.reply.bulk(b"databases");
    ctx.reply.map(databases.len());
    for (db, stats) in databases {
        ctx.reply.bulk(format!("db{db}").as_bytes());
        status_of(ctx, &stats);
    }
    Ok(Outcome::Done)
}

fn status_of(ctx: &mut Ctx<'_, '_>, e: &EngineStats) {
    let fields = [
        ("state", Figure::Word(engine_state(e.state))),
        ("generation", Figure::Count(e.generation)),
        ("shards", count(e.shards)),
        ("shards-before", count(e.shards_from)),
        ("progress-percent", percent(e.progress_percent)),
        ("keys", count(e.keys)),
        ("keys-with-deadline", count(e.expires)),
        ("load-percent", percent(e.load_percent)),
        ("keys-moved", Figure::Count(e.keys_moved)),
        ("keys-purged", Figure::Count(e.keys_purged)),
        ("migrations-done", Figure::Count(e.migrations_done)),
        ("last-migration-ms", Figure::Count(e.last_migration_ms)),
        ("contended-locks", Figure::Count(e.contended_locks)),
        ("bytes-segments", count(e.bytes_segments)),
        ("bytes-dead", count(e.bytes_dead)),
        ("bytes-tables", count(e.bytes_tables)),
    ];
    ctx.reply.map(fields.len());
    put(ctx, &fields);
}

/// ENGINE SHARDS
pub fn engine_shards(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let db = if ctx.args.left() > 0 { ctx.args.int()? } else { i64::from(ctx.db) };
    if ctx.args.left() > 0 {
        return Err(ctx.subcommand_error());
    }
    let databases = ctx.shared.keyspace.databases();
    let db = DbId::try_from(db)
        .ok()
        .filter(|db| *db < databases)
        .ok_or(Error::Line("ERR DB index is out of range"))?;
    let engines: Vec<(&str, Fills)> = match ctx.keyspace().fills(db) {
        None => Vec::new(),
        Some((active, None)) => vec![("active", active)],
        Some((active, Some(growing))) => vec![("active", active), ("growing", growing)],
    };
    ctx.reply.map(engines.len());
    for (role, fills) in engines {
        ctx.reply.bulk(role.as_bytes());
        shards_of(ctx, &fills);
    }
    Ok(Outcome::Done)
}

fn shards_of(ctx: &mut Ctx<'_, '_>, fills: &Fills) {
    let serving = fills.shards - fills.elsewhere;
    let fields = [
        ("generation", Figure::Count(fills.generation)),
        ("shards", count(fills.shards)),
        ("shards-serving", count(serving)),
        ("keys", count(fills.keys)),
        ("slots-per-shard", count(KEYS_PER_SHARD)),
        ("keys-per-shard-mean", percent(fills.keys as f64 / serving.max(1) as f64)),
        ("keys-per-shard-least", count(fills.emptiest)),
        ("keys-per-shard-most", count(fills.fullest)),
        ("contended-locks", Figure::Count(fills.contended)),
        ("contended-locks-of-one-shard-most", Figure::Count(fills.contended_most)),
    ];
    ctx.reply.map(fields.len() + 1);
    put(ctx, &fields);
    ctx.reply.bulk(b"shards-by-fill");
    ctx.reply.map(FILL_CLASSES);
    for (class, shards) in fills.classes.iter().enumerate() {
        let name = match class {
            last if last == FILL_CLASSES - 1 => "100% and more".to_owned(),
            n => format!("{:2}-{}%", n * 10, n * 10 + 9),
        };
        put(ctx, &[(&name, count(*shards))]);
    }
}

/// ENGINE HISTORY
pub fn engine_history(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let wanted = if ctx.args.left() > 0 { ctx.args.int()? } else { HISTORY_DEFAULT as i64 };
    if ctx.args.left() > 0 {
        return Err(ctx.subcommand_error());
    }
    let wanted =
        usize::try_from(wanted).map_err(|_| Error::Line("ERR value is out of range, must be positive"))?;
    let history = ctx.shared.keyspace.history(wanted);
    ctx.reply.array(history.len());
    for step in history {
        history_of(ctx, &step);
    }
    Ok(Outcome::Done)
}

fn history_of(ctx: &mut Ctx<'_, '_>, step: &Step) {
    let up = step.shards_to > step.shards_from;
    let fields = [
        ("db", Figure::Count(step.db.into())),
        ("generation", Figure::Count(step.generation)),
        ("direction", Figure::Word(if up { "growing" } else { "shrinking" })),
        ("reason", Figure::Word(engine_reason(step.reason))),
        ("shards-before", count(step.shards_from)),
        ("shards", count(step.shards_to)),
        ("started-unix-ms", Figure::Count(step.started_ms)),
        ("took-ms", Figure::Count(step.took_ms)),
        ("keys-moved", Figure::Count(step.keys_moved)),
        ("keys-purged", Figure::Count(step.keys_purged)),
        ("slices", Figure::Count(step.slices)),
        ("busy-us", Figure::Count(step.busy_us)),
        ("slice-longest-us", Figure::Count(step.slice_longest_us)),
    ];
    ctx.reply.map(fields.len());
    put(ctx, &fields);
}
