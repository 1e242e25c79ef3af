//! OBJECT: how a value is kept, and how it was used.

use crate::commands::command::{Access, Arity, Command, Group, KeySpec, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::number;
use crate::commands::row::{acl, flags, help, key_flags};
use crate::config::EvictionPolicy;
use crate::error::Error;
use crate::eviction::{access, arc};
use crate::keyspace::EntryRef;
use crate::values::Value;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[Command {
    name: "object",
    arity: Arity::AtLeast(2),
    summary: "Looks at how a value is kept.",
    since: "2.2.3",
    group: Group::Generic,
    complexity: "that of the subcommand",
    subcommands: &[
        Command {
            name: "encoding",
            arity: Arity::Exactly(3),
            flags: flags!(READONLY),
            acl: acl!(KEYSPACE),
            keys: &[KeySpec::key(2, key_flags!(RO))],
            access: Access::Read,
            syntax: "key",
            summary: "Internal form of a value.",
            since: "2.2.3",
            group: Group::Generic,
            tips: &["nondeterministic_output"],
            run: object_encoding,
            ..Command::DEFAULT
        },
        Command {
            name: "freq",
            arity: Arity::Exactly(3),
            flags: flags!(READONLY),
            acl: acl!(KEYSPACE),
            keys: &[KeySpec::key(2, key_flags!(RO))],
            access: Access::Read,
            syntax: "key",
            summary: "How often a key is used, on a logarithmic scale.",
            since: "4.0.0",
            group: Group::Generic,
            tips: &["nondeterministic_output"],
            run: object_freq,
            ..Command::DEFAULT
        },
        Command {
            name: "help",
            arity: Arity::Exactly(2),
            flags: flags!(LOADING | STALE),
            acl: acl!(KEYSPACE),
            summary: "Lists the subcommands.",
            since: "6.2.0",
            group: Group::Generic,
            run: help,
            ..Command::DEFAULT
        },
        Command {
            name: "idletime",
            arity: Arity::Exactly(3),
            flags: flags!(READONLY),
            acl: acl!(KEYSPACE),
            keys: &[KeySpec::key(2, key_flags!(RO))],
            access: Access::Read,
            syntax: "key",
            summary: "Seconds since a key was used.",
            since: "2.2.3",
            group: Group::Generic,
            tips: &["nondeterministic_output"],
            run: object_idletime,
            ..Command::DEFAULT
        },
        Command {
            name: "refcount",
            arity: Arity::Exactly(3),
            flags: flags!(READONLY),
            acl: acl!(KEYSPACE),
            keys: &[KeySpec::key(2, key_flags!(RO))],
            access: Access::Read,
            syntax: "key",
            summary: "How many hold the value.",
            since: "2.2.3",
            group: Group::Generic,
            tips: &["nondeterministic_output"],
            run: object_refcount,
            ..Command::DEFAULT
        },
    ],
    ..Command::DEFAULT
}];

/// OBJECT ENCODING
pub fn object_encoding(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.keys.no_touch();
    match ctx.keys.with_entry(0, |e| encoding(&e)) {
        Some(name) => ctx.reply.bulk(name.as_bytes()),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

/// Longest string that Redis keeps in one allocation with its header.
const EMBSTR_MAX: usize = 44;

/// What OBJECT ENCODING answers for an entry.
pub fn encoding(entry: &EntryRef<'_>) -> &'static str {
    match (entry.bytes(), entry.value().as_deref()) {
        (Some(bytes), _) => string_encoding(bytes, entry.raw_encoding()),
        (None, Some(Value::Str(_))) | (None, None) => "raw",
        (None, Some(value)) => value.encoding(),
    }
}

fn string_encoding(bytes: &[u8], raw: bool) -> &'static str {
    if raw {
        "raw"
    } else if bytes.len() <= 20 && number::parse_i64(bytes).is_some() {
        "int"
    } else if bytes.len() <= EMBSTR_MAX {
        "embstr"
    } else {
        "raw"
    }
}

/// OBJECT REFCOUNT. Values are never shared here; small integers answer as Redis' shared ones do.
pub fn object_refcount(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.keys.no_touch();
    // Where each key has its own access bits, Redis does not share.
    let may_share = ctx.shared.memory.limit() == 0 || !tracks_access(ctx.config.maxmemory_policy);
    let shared = |e: EntryRef<'_>| {
        may_share
            && encoding(&e) == "int"
            && e.bytes().and_then(number::parse_i64).is_some_and(|n| (0..SHARED_INTEGERS).contains(&n))
    };
    match ctx.keys.with_entry(0, shared) {
        Some(true) => ctx.reply.int(i64::from(i32::MAX)),
        Some(false) => ctx.reply.int(1),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

const SHARED_INTEGERS: i64 = 10_000;

fn tracks_access(policy: EvictionPolicy) -> bool {
    use EvictionPolicy::*;
    matches!(policy, AllkeysArc | AllkeysLru | AllkeysLfu | VolatileLru | VolatileLfu)
}

/// Whether keys are chosen for eviction by how often they are used.
pub(super) fn lfu_in_force(ctx: &Ctx<'_, '_>) -> bool {
    matches!(ctx.config.maxmemory_policy, EvictionPolicy::AllkeysLfu | EvictionPolicy::VolatileLfu)
}

/// OBJECT IDLETIME
pub fn object_idletime(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.keys.no_touch();
    let now = ctx.now;
    let Some(bits) = ctx.keys.with_entry(0, |e| e.access()) else {
        ctx.reply.null();
        return Ok(Outcome::Done);
    };
    if lfu_in_force(ctx) {
        return Err(Error::Line(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    if ctx.config.maxmemory_policy == EvictionPolicy::AllkeysArc {
        return Err(Error::Line("ERR The allkeys-arc maxmemory policy is selected, idle time not tracked."));
    }
    ctx.reply.int(i64::try_from(access::idle_seconds(bits, now)).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// OBJECT FREQ
pub fn object_freq(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.keys.no_touch();
    let now = ctx.now;
    let Some(bits) = ctx.keys.with_entry(0, |e| e.access()) else {
        ctx.reply.null();
        return Ok(Outcome::Done);
    };
    if ctx.config.maxmemory_policy == EvictionPolicy::AllkeysArc {
        ctx.reply.int(i64::from(arc::frequency(bits)));
        return Ok(Outcome::Done);
    }
    if !lfu_in_force(ctx) {
        return Err(Error::Line(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    let decay = ctx.config.lfu_decay_time;
    ctx.reply.int(i64::from(access::frequency(bits, now, decay)));
    Ok(Outcome::Done)
}
