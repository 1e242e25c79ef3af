//! Replication.

use crate::blocking::OnTimeout;
use crate::commands::command::{Arity, Command, Group, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::row::{acl, flags, not_built};
use crate::commands::stream_entries::timeout;
use crate::error::Error;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "failover",
        arity: Arity::AtLeast(1),
        flags: flags!(ADMIN | NOSCRIPT | STALE),
        syntax: "[TO target: host port:int [FORCE]] [ABORT] [TIMEOUT milliseconds:int]",
        summary: "Hands over to a replica in an orderly way.",
        since: "6.2.0",
        group: Group::Server,
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "psync",
        arity: Arity::AtLeast(3),
        flags: flags!(ADMIN | NOSCRIPT | NO_MULTI | NO_ASYNC_LOADING),
        syntax: "replicationid offset:int",
        summary: "Replication between servers: continues a stream.",
        since: "2.8.0",
        group: Group::Server,
        complexity: "",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "replconf",
        arity: Arity::AtLeast(1),
        flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE | ALLOW_BUSY),
        summary: "Replication between servers: settings of the link.",
        since: "3.0.0",
        group: Group::Server,
        internal: true,
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "replicaof",
        arity: Arity::Exactly(3),
        flags: flags!(ADMIN | NOSCRIPT | STALE | NO_ASYNC_LOADING),
        syntax: "(args: (host-port: host port:int) | (no-one: NO ONE))",
        summary: "Makes this server a replica, or a master again.",
        since: "5.0.0",
        group: Group::Server,
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "role",
        arity: Arity::Exactly(1),
        flags: flags!(NOSCRIPT | LOADING | STALE | FAST | SENTINEL),
        acl: acl!(ADMIN | DANGEROUS),
        summary: "Part that this server plays in replication.",
        since: "2.8.12",
        group: Group::Server,
        run: role,
        ..Command::DEFAULT
    },
    Command {
        name: "slaveof",
        arity: Arity::Exactly(3),
        flags: flags!(ADMIN | NOSCRIPT | STALE | NO_ASYNC_LOADING),
        syntax: "(args: (host-port: host port:int) | (no-one: NO ONE))",
        summary: "Makes this server a replica, under the old name.",
        since: "1.0.0",
        group: Group::Server,
        deprecated: Some(("5.0.0", "`REPLICAOF`")),
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "sync",
        arity: Arity::Exactly(1),
        flags: flags!(ADMIN | NOSCRIPT | NO_MULTI | NO_ASYNC_LOADING),
        summary: "Replication between servers: starts a stream.",
        since: "1.0.0",
        group: Group::Server,
        complexity: "",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "wait",
        arity: Arity::Exactly(3),
        acl: acl!(CONNECTION),
        syntax: "numreplicas:int timeout:int",
        summary: "Waits until replicas have received what this connection wrote.",
        since: "3.0.0",
        group: Group::Generic,
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        run: wait,
        ..Command::DEFAULT
    },
    Command {
        name: "waitaof",
        arity: Arity::Exactly(4),
        flags: flags!(NOSCRIPT),
        acl: acl!(CONNECTION),
        syntax: "numlocal:int numreplicas:int timeout:int",
        summary: "Waits until what this connection wrote is on disk here and at replicas.",
        since: "7.2.0",
        group: Group::Generic,
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        run: waitaof,
        ..Command::DEFAULT
    },
];

/// ROLE: a master at offset 0 without replicas, until replication is built.
pub fn role(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.reply.array(3);
    ctx.reply.bulk(b"master");
    ctx.reply.int(0);
    ctx.reply.array(0);
    Ok(Outcome::Done)
}

/// WAIT. No replica can connect yet, so none acknowledges within any time.
pub fn wait(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let replicas = ctx.args.int()?;
    let timeout_ms = timeout(ctx.args.next()?, ctx.now)?;
    if replicas <= 0 {
        ctx.reply.int(0);
        return Ok(Outcome::Done);
    }
    Ok(ctx.wait(0, timeout_ms, OnTimeout::NoReplica))
}

/// WAITAOF. There is no AOF yet, so only waiting for replicas can be asked for.
pub fn waitaof(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let out_of_range = Error::Line("ERR value is out of range, value must between 0 and 1");
    let local = ctx.args.int_in(0..=1, out_of_range)?;
    let replicas = ctx.args.int_in(0..=i64::MAX, Error::MustBePositive)?;
    let timeout_ms = timeout(ctx.args.next()?, ctx.now)?;
    if local > 0 {
        return Err(Error::Line(
            "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
        ));
    }
    if replicas == 0 {
        OnTimeout::NoFile.write(&mut ctx.reply);
        return Ok(Outcome::Done);
    }
    Ok(ctx.wait(0, timeout_ms, OnTimeout::NoFile))
}
