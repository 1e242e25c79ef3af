//! `MEMORY`.

mod doctor;

use crate::commands::command::{Access, Arity, Command, Group, KeySpec, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::row::{flags, help, key_flags};
use crate::commands::server::facts;
use crate::error::Error;
use crate::keyspace::EntryRef;
use crate::memory::{allocator, process};
use crate::observe::info::Facts;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[Command {
    name: "memory",
    arity: Arity::AtLeast(2),
    summary: "Looks at memory.",
    since: "4.0.0",
    group: Group::Server,
    complexity: "that of the subcommand",
    subcommands: &[
        Command {
            name: "doctor",
            arity: Arity::Exactly(2),
            access: Access::Walk,
            summary: "What the memory figures mean, in words.",
            since: "4.0.0",
            group: Group::Server,
            tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
            run: memory_doctor,
            ..Command::DEFAULT
        },
        Command {
            name: "help",
            arity: Arity::Exactly(2),
            flags: flags!(LOADING | STALE),
            summary: "Lists the subcommands.",
            since: "4.0.0",
            group: Group::Server,
            run: help,
            ..Command::DEFAULT
        },
        Command {
            name: "malloc-stats",
            arity: Arity::Exactly(2),
            summary: "Report of the allocator.",
            since: "4.0.0",
            group: Group::Server,
            complexity: "grows with the memory in use, may be slow",
            tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
            run: memory_malloc_stats,
            ..Command::DEFAULT
        },
        Command {
            name: "purge",
            arity: Arity::Exactly(2),
            summary: "Asks the allocator to return memory.",
            since: "4.0.0",
            group: Group::Server,
            complexity: "grows with the memory in use, may be slow",
            tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
            run: memory_purge,
            ..Command::DEFAULT
        },
        Command {
            name: "stats",
            arity: Arity::Exactly(2),
            access: Access::Walk,
            summary: "Where the memory goes.",
            since: "4.0.0",
            group: Group::Server,
            tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
            run: memory_stats,
            ..Command::DEFAULT
        },
        Command {
            name: "usage",
            arity: Arity::AtLeast(3),
            flags: flags!(READONLY),
            keys: &[KeySpec::key(2, key_flags!(RO))],
            access: Access::Read,
            syntax: "key [SAMPLES count:int]",
            summary: "Bytes that a key and its value take.",
            since: "4.0.0",
            group: Group::Server,
            complexity: "O(N), N elements sampled",
            run: memory_usage,
            ..Command::DEFAULT
        },
    ],
    ..Command::DEFAULT
}];

/// Bytes of the table for one key: its tag and reference, and its part of the empty places.
const SLOT_BYTES: usize = 8;

/// Bytes that a key and its value take.
pub(super) fn footprint(entry: &EntryRef<'_>) -> usize {
    SLOT_BYTES + entry.packed_bytes() + entry.out_of_line().map_or(0, |v| v.memory())
}

/// MEMORY USAGE. Large collections count as they go, so nothing needs to be sampled.
pub fn memory_usage(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.next()?;
    while ctx.args.left() > 0 {
        if ctx.args.left() < 2 || !ctx.args.token("SAMPLES") {
            return Err(Error::Syntax);
        }
        if ctx.args.int()? < 0 {
            return Err(Error::Syntax);
        }
    }
    ctx.keys.no_touch();
    match ctx.keys.with_entry(0, |e| footprint(&e)) {
        Some(bytes) => ctx.reply.int(i64::try_from(bytes).unwrap_or(i64::MAX)),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

/// MEMORY PURGE: the helper thread does it; the reply says that it was told.
pub fn memory_purge(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.shared.helper.ask_purge();
    ctx.shared.keyspace.wake_helper();
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// MEMORY MALLOC-STATS
pub fn memory_malloc_stats(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.reply.verbatim("txt", &allocator::report());
    Ok(Outcome::Done)
}

/// A value of MEMORY STATS.
enum Figure {
    Bytes(i64),
    Ratio(f64),
}

fn bytes(n: usize) -> Figure {
    Figure::Bytes(i64::try_from(n).unwrap_or(i64::MAX))
}

fn difference(a: usize, b: usize) -> Figure {
    Figure::Bytes(i64::try_from(a).unwrap_or(i64::MAX).saturating_sub(i64::try_from(b).unwrap_or(i64::MAX)))
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// MEMORY STATS
pub fn memory_stats(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let facts = facts(ctx);
    let before = figures_before(&facts);
    let after = figures_after(&facts);
    let databases: Vec<_> = facts.databases.iter().filter(|d| d.engines.keys > 0).collect();
    ctx.reply.map(before.len() + databases.len() + after.len());
    show(ctx, &before);
    for d in databases {
        ctx.reply.bulk(format!("db.{}", d.id).as_bytes());
        ctx.reply.map(3);
        show(
            ctx,
            &[
                ("overhead.hashtable.main", bytes(d.engines.bytes_tables)),
                ("overhead.hashtable.expires", bytes(0)),
                ("overhead.hashtable.slot-to-keys", bytes(0)),
            ],
        );
    }
    show(ctx, &after);
    Ok(Outcome::Done)
}

fn show(ctx: &mut Ctx<'_, '_>, figures: &[(&str, Figure)]) {
    for (name, figure) in figures {
        ctx.reply.bulk(name.as_bytes());
        match figure {
            Figure::Bytes(n) => ctx.reply.int(*n),
            Figure::Ratio(r) => ctx.reply.double(*r),
        }
    }
}

fn figures_before(facts: &Facts<'_>) -> Vec<(&'static str, Figure)> {
    vec![
        ("peak.allocated", bytes(facts.used.peak)),
        ("total.allocated", bytes(facts.used.now)),
        ("startup.allocated", bytes(facts.used.startup)),
        ("replication.backlog", bytes(0)),
        ("clients.slaves", bytes(0)),
        ("clients.normal", bytes(facts.clients.memory_normal)),
        ("cluster.links", bytes(0)),
        ("aof.buffer", bytes(0)),
        ("lua.caches", bytes(0)),
        ("functions.caches", bytes(0)),
    ]
}

fn figures_after(facts: &Facts<'_>) -> Vec<(&'static str, Figure)> {
    let used = facts.used;
    let a = used.allocator;
    let keys: usize = facts.databases.iter().map(|d| d.engines.keys).sum();
    let tables: usize = facts.databases.iter().map(|d| d.engines.bytes_tables).sum();
    let overhead = used.startup + facts.clients.memory_normal + tables;
    let dataset = used.now.saturating_sub(overhead);
    let net = used.now.saturating_sub(used.startup);
    let rss = process::resident();
    vec![
        ("overhead.total", bytes(overhead)),
        ("keys.count", bytes(keys)),
        ("keys.bytes-per-key", bytes(net.checked_div(keys).unwrap_or(0))),
        ("dataset.bytes", bytes(dataset)),
        ("dataset.percentage", Figure::Ratio((ratio(dataset, net) * 100.0).min(100.0))),
        ("peak.percentage", Figure::Ratio(ratio(used.now, used.peak) * 100.0)),
        ("allocator.allocated", bytes(a.allocated)),
        ("allocator.active", bytes(a.active)),
        ("allocator.resident", bytes(a.resident)),
        ("allocator-fragmentation.ratio", Figure::Ratio(ratio(a.active, a.allocated))),
        ("allocator-fragmentation.bytes", difference(a.active, a.allocated)),
        ("allocator-rss.ratio", Figure::Ratio(ratio(a.resident, a.active))),
        ("allocator-rss.bytes", difference(a.resident, a.active)),
        ("rss-overhead.ratio", Figure::Ratio(ratio(rss, a.resident))),
        ("rss-overhead.bytes", difference(rss, a.resident)),
        ("fragmentation", Figure::Ratio(ratio(rss, used.now))),
        ("fragmentation.bytes", difference(rss, used.now)),
    ]
}

/// MEMORY DOCTOR
pub fn memory_doctor(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let text = doctor::diagnosis(&facts(ctx), process::resident());
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(Outcome::Done)
}
