//! Hashes.

use rustc_apfloat::Float as _;

use crate::commands::args::Args;
use crate::commands::command::{Access, Arity, Command, Group, KeySpec, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::element::{self, Picks};
use crate::commands::error::Error;
use crate::commands::long_double;
use crate::commands::row::{acl, flags, key_flags, not_built};
use crate::commands::scan::{self, ScanOf, ScanOptions};
use crate::config::Config;
use crate::effects::Class;
use crate::glob;
use crate::protocol::Reply;
use crate::values::hash::{Deadline, Field, Limits};
use crate::values::packed::Elem;
use crate::values::random::Random;
use crate::values::{Hash, Kind};

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "hdel",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | DELETE))],
        access: Access::Keys,
        syntax: "key field...",
        summary: "Removes fields of a hash.",
        since: "2.0.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        history: &[("2.4.0", "Takes several fields.")],
        run: hdel,
        ..Command::DEFAULT
    },
    Command {
        name: "hexists",
        arity: Arity::Exactly(3),
        flags: flags!(READONLY | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO))],
        access: Access::Read,
        syntax: "key field",
        summary: "Whether a hash has a field.",
        since: "2.0.0",
        group: Group::Hash,
        run: hexists,
        ..Command::DEFAULT
    },
    Command {
        name: "hexpire",
        arity: Arity::AtLeast(6),
        flags: flags!(WRITE | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key seconds:int [condition: NX | XX | GT | LT] (FIELDS fields: numfields:int field...)",
        summary: "Sets the time to live of fields in seconds.",
        since: "7.4.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "hexpireat",
        arity: Arity::AtLeast(6),
        flags: flags!(WRITE | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key unix-time-seconds:time [condition: NX | XX | GT | LT] (FIELDS fields: numfields:int field...)",
        summary: "Sets the second at which fields expire.",
        since: "7.4.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "hexpiretime",
        arity: Arity::AtLeast(5),
        flags: flags!(READONLY | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key (FIELDS fields: numfields:int field...)",
        summary: "Second at which fields expire.",
        since: "7.4.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "hget",
        arity: Arity::Exactly(3),
        flags: flags!(READONLY | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key field",
        summary: "Value of a field.",
        since: "2.0.0",
        group: Group::Hash,
        run: hget,
        ..Command::DEFAULT
    },
    Command {
        name: "hgetall",
        arity: Arity::Exactly(2),
        flags: flags!(READONLY),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key",
        summary: "All fields and values of a hash.",
        since: "2.0.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        tips: &["nondeterministic_output_order"],
        run: hgetall,
        ..Command::DEFAULT
    },
    Command {
        name: "hgetdel",
        arity: Arity::AtLeast(5),
        flags: flags!(WRITE | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | DELETE))],
        access: Access::Keys,
        syntax: "key (FIELDS fields: numfields:int field...)",
        summary: "Replies values of fields and removes them.",
        since: "8.0.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "hgetex",
        arity: Arity::AtLeast(5),
        flags: flags!(WRITE | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | UPDATE))],
        access: Access::Keys,
        syntax: "key [expiration: EX seconds:int | PX milliseconds:int | EXAT unix-time-seconds:time | PXAT unix-time-milliseconds:time | PERSIST] (FIELDS fields: numfields:int field...)",
        summary: "Replies values of fields and changes their time to live.",
        since: "8.0.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "hincrby",
        arity: Arity::Exactly(4),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | UPDATE))],
        access: Access::Keys,
        syntax: "key field increment:int",
        summary: "Adds an integer to a field.",
        since: "2.0.0",
        group: Group::Hash,
        run: hincrby,
        ..Command::DEFAULT
    },
    Command {
        name: "hincrbyfloat",
        arity: Arity::Exactly(4),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | UPDATE))],
        access: Access::Keys,
        syntax: "key field increment:double",
        summary: "Adds a number to a field.",
        since: "2.6.0",
        group: Group::Hash,
        run: hincrbyfloat,
        ..Command::DEFAULT
    },
    Command {
        name: "hkeys",
        arity: Arity::Exactly(2),
        flags: flags!(READONLY),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key",
        summary: "All fields of a hash.",
        since: "2.0.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        tips: &["nondeterministic_output_order"],
        run: hkeys,
        ..Command::DEFAULT
    },
    Command {
        name: "hlen",
        arity: Arity::Exactly(2),
        flags: flags!(READONLY | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO))],
        access: Access::Read,
        syntax: "key",
        summary: "Number of fields.",
        since: "2.0.0",
        group: Group::Hash,
        run: hlen,
        ..Command::DEFAULT
    },
    Command {
        name: "hmget",
        arity: Arity::AtLeast(3),
        flags: flags!(READONLY | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key field...",
        summary: "Values of several fields.",
        since: "2.0.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: hmget,
        ..Command::DEFAULT
    },
    Command {
        name: "hmset",
        arity: Arity::AtLeast(4),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key (data: field value)...",
        summary: "Sets several fields.",
        since: "2.0.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        deprecated: Some(("4.0.0", "`HSET` with several pairs")),
        run: hmset,
        ..Command::DEFAULT
    },
    Command {
        name: "hpersist",
        arity: Arity::AtLeast(5),
        flags: flags!(WRITE | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key (FIELDS fields: numfields:int field...)",
        summary: "Takes the time to live of fields away.",
        since: "7.4.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "hpexpire",
        arity: Arity::AtLeast(6),
        flags: flags!(WRITE | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key milliseconds:int [condition: NX | XX | GT | LT] (FIELDS fields: numfields:int field...)",
        summary: "Sets the time to live of fields in milliseconds.",
        since: "7.4.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "hpexpireat",
        arity: Arity::AtLeast(6),
        flags: flags!(WRITE | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key unix-time-milliseconds:time [condition: NX | XX | GT | LT] (FIELDS fields: numfields:int field...)",
        summary: "Sets the millisecond at which fields expire.",
        since: "7.4.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "hpexpiretime",
        arity: Arity::AtLeast(5),
        flags: flags!(READONLY | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key (FIELDS fields: numfields:int field...)",
        summary: "Millisecond at which fields expire.",
        since: "7.4.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "hpttl",
        arity: Arity::AtLeast(5),
        flags: flags!(READONLY | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key (FIELDS fields: numfields:int field...)",
        summary: "Time to live of fields in milliseconds.",
        since: "7.4.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        tips: &["nondeterministic_output"],
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "hrandfield",
        arity: Arity::AtLeast(2),
        flags: flags!(READONLY),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key [options: count:int [WITHVALUES]]",
        summary: "Random fields of a hash.",
        since: "6.2.0",
        group: Group::Hash,
        complexity: "O(N), N fields returned",
        tips: &["nondeterministic_output"],
        run: hrandfield,
        ..Command::DEFAULT
    },
    Command {
        name: "hscan",
        arity: Arity::AtLeast(3),
        flags: flags!(READONLY),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key cursor:int [MATCH pattern:pattern] [COUNT count:int]",
        summary: "Walks through a hash in steps.",
        since: "2.8.0",
        group: Group::Hash,
        complexity: "O(1) a call, O(N) for the whole walk over N fields",
        tips: &["nondeterministic_output"],
        run: hscan,
        ..Command::DEFAULT
    },
    Command {
        name: "hset",
        arity: Arity::AtLeast(4),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key (data: field value)...",
        summary: "Sets fields of a hash.",
        since: "2.0.0",
        group: Group::Hash,
        complexity: "O(1) for each pair",
        history: &[("4.0.0", "Takes several pairs.")],
        run: hset,
        ..Command::DEFAULT
    },
    Command {
        name: "hsetex",
        arity: Arity::AtLeast(6),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key [key-condition: NX | XX] [condition: FNX | FXX] [expiration: EX seconds:int | PX milliseconds:int | EXAT unix-time-seconds:time | PXAT unix-time-milliseconds:time | KEEPTTL] (FIELDS fields: numfields:int (data: field value)...)",
        summary: "Sets fields of a hash with a time to live.",
        since: "8.0.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "hsetnx",
        arity: Arity::Exactly(4),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | INSERT))],
        access: Access::Keys,
        syntax: "key field value",
        summary: "Sets a field that does not exist yet.",
        since: "2.0.0",
        group: Group::Hash,
        run: hsetnx,
        ..Command::DEFAULT
    },
    Command {
        name: "hstrlen",
        arity: Arity::Exactly(3),
        flags: flags!(READONLY | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO))],
        access: Access::Read,
        syntax: "key field",
        summary: "Length of a field's value.",
        since: "3.2.0",
        group: Group::Hash,
        run: hstrlen,
        ..Command::DEFAULT
    },
    Command {
        name: "httl",
        arity: Arity::AtLeast(5),
        flags: flags!(READONLY | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key (FIELDS fields: numfields:int field...)",
        summary: "Time to live of fields in seconds.",
        since: "7.4.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        tips: &["nondeterministic_output"],
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "hvals",
        arity: Arity::Exactly(2),
        flags: flags!(READONLY),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key",
        summary: "All values of a hash.",
        since: "2.0.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        tips: &["nondeterministic_output_order"],
        run: hvals,
        ..Command::DEFAULT
    },
];

/// When a hash changes its form.
pub(super) fn limits(config: &Config) -> Limits {
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Limits {
        listpack_entries: size(config.hash_max_listpack_entries),
        listpack_value: size(config.hash_max_listpack_value),
    }
}

fn length(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn bulk_or_null(reply: &mut Reply<'_>, elem: Option<Elem<'_>>) {
    match elem {
        Some(elem) => element::bulk(reply, elem),
        None => reply.null(),
    }
}

/// Pairs of the arguments from `first` on.
fn pairs<'k>(args: &Args<'k>, first: usize) -> impl Iterator<Item = (&'k [u8], &'k [u8])> + use<'k> {
    let args = *args;
    (first..args.count().saturating_sub(1)).step_by(2).map(move |i| (args.at(i), args.at(i + 1)))
}

fn set_pairs(ctx: &mut Ctx<'_, '_>) -> Result<usize, Error> {
    if !ctx.args.count().is_multiple_of(2) {
        return Err(ctx.arity_error());
    }
    ctx.args.seek(2);
    let (args, limits) = (ctx.args, limits(ctx.config));
    let count = args.left() / 2;
    let new = ctx.keys.write(0, Hash::new, |hash: &mut Hash| {
        hash.expect(count, args.rest(), &limits);
        pairs(&args, 2).filter(|(field, value)| hash.set(field, value, &limits)).count()
    })?;
    ctx.changed(0, Class::HASH, "hset", count);
    Ok(new)
}

/// HSET
pub fn hset(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let new = set_pairs(ctx)?;
    ctx.reply.int(length(new));
    Ok(Outcome::Done)
}

/// HMSET
pub fn hmset(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    set_pairs(ctx)?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// HSETNX
pub fn hsetnx(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let (field, value) = (ctx.args.at(2), ctx.args.at(3));
    let limits = limits(ctx.config);
    let there = ctx.keys.read(0, |hash: Option<&Hash>| hash.is_some_and(|h| h.contains(field)))?;
    if !there {
        ctx.keys.write(0, Hash::new, |hash: &mut Hash| hash.set(field, value, &limits))?;
        ctx.changed(0, Class::HASH, "hset", 1);
    }
    ctx.reply.int(i64::from(!there));
    Ok(Outcome::Done)
}

/// HGET
pub fn hget(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let field = ctx.args.at(2);
    let reply = &mut ctx.reply;
    ctx.keys.read(0, |hash: Option<&Hash>| bulk_or_null(reply, hash.and_then(|h| h.get(field))))?;
    ctx.note_miss(0);
    Ok(Outcome::Done)
}

/// HMGET
pub fn hmget(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let fields = ctx.args.rest();
    let reply = &mut ctx.reply;
    ctx.keys.read(0, |hash: Option<&Hash>| {
        reply.array(fields.len());
        fields.for_each(|field| bulk_or_null(reply, hash.and_then(|h| h.get(field))));
    })?;
    ctx.note_miss(0);
    Ok(Outcome::Done)
}

/// HDEL
pub fn hdel(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let fields = ctx.args.rest();
    let removed = ctx.keys.edit(0, |hash: &mut Hash| fields.filter(|f| hash.remove(f)).count())?;
    let removed = removed.unwrap_or(0);
    if removed > 0 {
        ctx.changed(0, Class::HASH, "hdel", removed);
    }
    ctx.reply.int(length(removed));
    Ok(Outcome::Done)
}

/// HLEN
pub fn hlen(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let len = ctx.keys.read(0, |hash: Option<&Hash>| hash.map_or(0, Hash::len))?;
    ctx.reply.int(length(len));
    Ok(Outcome::Done)
}

/// HSTRLEN
pub fn hstrlen(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let field = ctx.args.at(2);
    let len = ctx
        .keys
        .read(0, |hash: Option<&Hash>| hash.and_then(|h| h.get(field)).map_or(0, |value| value.text_len()))?;
    ctx.reply.int(length(len));
    Ok(Outcome::Done)
}

/// HEXISTS
pub fn hexists(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let field = ctx.args.at(2);
    let there = ctx.keys.read(0, |hash: Option<&Hash>| hash.is_some_and(|h| h.contains(field)))?;
    ctx.reply.int(i64::from(there));
    Ok(Outcome::Done)
}

/// HKEYS
pub fn hkeys(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    all(ctx, Reply::array, |reply, field| element::bulk(reply, field.name))
}

/// HVALS
pub fn hvals(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    all(ctx, Reply::array, |reply, field| element::bulk(reply, field.value))
}

/// HGETALL
pub fn hgetall(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    all(ctx, Reply::map, |reply, field| {
        element::bulk(reply, field.name);
        element::bulk(reply, field.value);
    })
}

fn all<'a>(
    ctx: &mut Ctx<'a, '_>,
    begin: impl FnOnce(&mut Reply<'a>, usize),
    one: impl Fn(&mut Reply<'a>, Field<'_>),
) -> Result<Outcome, Error> {
    let reply = &mut ctx.reply;
    ctx.keys.read(0, |hash: Option<&Hash>| {
        begin(reply, hash.map_or(0, Hash::len));
        if let Some(hash) = hash {
            hash.iter().for_each(|field| one(reply, field));
        }
    })?;
    ctx.note_miss(0);
    Ok(Outcome::Done)
}

/// HINCRBY
pub fn hincrby(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let field = ctx.args.at(2);
    ctx.args.seek(3);
    let by = ctx.args.int()?;
    let old = ctx.keys.read(0, |hash: Option<&Hash>| match hash.and_then(|h| h.get(field)) {
        Some(value) => value.as_int().ok_or(Error::Line("ERR hash value is not an integer")),
        None => Ok(0),
    })??;
    let sum = old.checked_add(by).ok_or(Error::IncrOverflow)?;
    write_sum(ctx, field, itoa::Buffer::new().format(sum).as_bytes(), "hincrby")?;
    ctx.reply.int(sum);
    Ok(Outcome::Done)
}

/// HINCRBYFLOAT
pub fn hincrbyfloat(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let field = ctx.args.at(2);
    let by = long_double::parse(ctx.args.at(3)).ok_or(Error::NotFloat)?;
    if !by.is_finite() {
        return Err(Error::Line("ERR value is NaN or Infinity"));
    }
    let old = ctx.keys.read(0, |hash: Option<&Hash>| match hash.and_then(|h| h.get(field)) {
        Some(value) => {
            let mut digits = itoa::Buffer::new();
            long_double::parse(value.text(&mut digits)).ok_or(Error::Line("ERR hash value is not a float"))
        }
        None => Ok(long_double::ZERO),
    })??;
    let sum = long_double::add(old, by).ok_or(Error::Line("ERR increment would produce NaN or Infinity"))?;
    let text = long_double::format(sum);
    write_sum(ctx, field, text.as_bytes(), "hincrbyfloat")?;
    if ctx.shared.stream_has_readers() {
        let key = ctx.keys.key(0).to_vec();
        ctx.fx.instead(&[b"HSET", &key, field, text.as_bytes()]);
    }
    ctx.reply.bulk(text.as_bytes());
    Ok(Outcome::Done)
}

/// Writes the result of an increment; the field keeps its deadline.
fn write_sum(ctx: &mut Ctx<'_, '_>, field: &[u8], sum: &[u8], event: &'static str) -> Result<(), Error> {
    let limits = limits(ctx.config);
    ctx.keys.write(0, Hash::new, |hash: &mut Hash| hash.set_with(field, sum, Deadline::Keep, &limits))?;
    ctx.changed(0, Class::HASH, event, 1);
    Ok(())
}

/// HRANDFIELD
pub fn hrandfield(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let picks = ctx.args.peek().map(Picks::parse).transpose()?;
    ctx.args.seek(3);
    let values = ctx.args.token("WITHVALUES");
    ctx.args.end()?;
    // With values the reply has twice as many elements.
    if values && picks.is_some_and(|p| p.size() > i64::MAX as usize / 2) {
        return Err(Error::OutOfRange);
    }
    let mut random = Random::new(ctx.local.rng.u64(..));
    let present = ctx.keys.expect_kind(0, Kind::Hash)?;
    let picks = if present { picks.map(Picks::check).transpose()? } else { picks };
    let reply = &mut ctx.reply;
    ctx.keys.read(0, |hash: Option<&Hash>| match (hash, picks) {
        (None, None) => reply.null(),
        (None, Some(_)) => reply.array(0),
        (Some(hash), None) => bulk_or_null(reply, hash.random(&mut random).map(|f| f.name)),
        (Some(hash), Some(Picks::Distinct(count))) => {
            begin_picks(reply, count.min(hash.len()), values);
            hash.sample(count, &mut random, |field| pick(reply, field, values));
        }
        (Some(hash), Some(Picks::Repeated(count))) => {
            begin_picks(reply, count, values);
            let picked = (0..count).map_while(|_| hash.random(&mut random));
            picked.for_each(|field| pick(reply, field, values));
        }
    })?;
    Ok(Outcome::Done)
}

/// With values an array of pairs in RESP3, and one flat array in RESP2.
fn begin_picks(reply: &mut Reply<'_>, count: usize, values: bool) {
    reply.array(if values && !reply.is_resp3() { 2 * count } else { count });
}

fn pick(reply: &mut Reply<'_>, field: Field<'_>, values: bool) {
    if values && reply.is_resp3() {
        reply.array(2);
    }
    element::bulk(reply, field.name);
    if values {
        element::bulk(reply, field.value);
    }
}

/// HSCAN
pub fn hscan(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let from = scan::cursor(ctx.args.next()?)?;
    if !ctx.keys.expect_kind(0, Kind::Hash)? {
        element::empty_scan(&mut ctx.reply);
        return Ok(Outcome::Done);
    }
    let options = ScanOptions::parse(ctx, ScanOf::Fields)?;
    let mut found: Vec<Vec<u8>> = Vec::new();
    let next = ctx.keys.read(0, |hash: Option<&Hash>| {
        hash.map_or(0, |hash| {
            hash.scan(from, options.count, |field| {
                let mut digits = itoa::Buffer::new();
                let name = field.name.text(&mut digits);
                if options.pattern.is_none_or(|p| glob::matches(p, name, false)) {
                    found.push(name.to_vec());
                    if !options.no_values {
                        found.push(field.value.to_vec());
                    }
                }
            })
        })
    })?;
    element::scan_reply(ctx, next, &found);
    Ok(Outcome::Done)
}
