//! EXPIRE and its family: setting, reading and removing the time to live of a key.

use crate::commands::command::{Access, Arity, Command, Group, KeySpec, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::number;
use crate::commands::row::{acl, flags, key_flags};
use crate::effects::Class;
use crate::error::Error;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "expire",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | FAST),
        acl: acl!(KEYSPACE),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key seconds:int [condition^7.0.0: NX | XX | GT | LT]",
        summary: "Sets a time to live in seconds.",
        since: "1.0.0",
        group: Group::Generic,
        history: &[("7.0.0", "Conditions `NX`, `XX`, `GT`, `LT`.")],
        run: expire,
        ..Command::DEFAULT
    },
    Command {
        name: "expireat",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | FAST),
        acl: acl!(KEYSPACE),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key unix-time-seconds:time [condition^7.0.0: NX | XX | GT | LT]",
        summary: "Sets the second at which a key expires.",
        since: "1.2.0",
        group: Group::Generic,
        history: &[("7.0.0", "Conditions `NX`, `XX`, `GT`, `LT`.")],
        run: expireat,
        ..Command::DEFAULT
    },
    Command {
        name: "expiretime",
        arity: Arity::Exactly(2),
        flags: flags!(READONLY | FAST),
        acl: acl!(KEYSPACE),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key",
        summary: "Second at which a key expires.",
        since: "7.0.0",
        group: Group::Generic,
        run: expiretime,
        ..Command::DEFAULT
    },
    Command {
        name: "persist",
        arity: Arity::Exactly(2),
        flags: flags!(WRITE | FAST),
        acl: acl!(KEYSPACE),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key",
        summary: "Takes the time to live away.",
        since: "2.2.0",
        group: Group::Generic,
        run: persist,
        ..Command::DEFAULT
    },
    Command {
        name: "pexpire",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | FAST),
        acl: acl!(KEYSPACE),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key milliseconds:int [condition^7.0.0: NX | XX | GT | LT]",
        summary: "Sets a time to live in milliseconds.",
        since: "2.6.0",
        group: Group::Generic,
        history: &[("7.0.0", "Conditions `NX`, `XX`, `GT`, `LT`.")],
        run: pexpire,
        ..Command::DEFAULT
    },
    Command {
        name: "pexpireat",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | FAST),
        acl: acl!(KEYSPACE),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key unix-time-milliseconds:time [condition^7.0.0: NX | XX | GT | LT]",
        summary: "Sets the millisecond at which a key expires.",
        since: "2.6.0",
        group: Group::Generic,
        history: &[("7.0.0", "Conditions `NX`, `XX`, `GT`, `LT`.")],
        run: pexpireat,
        ..Command::DEFAULT
    },
    Command {
        name: "pexpiretime",
        arity: Arity::Exactly(2),
        flags: flags!(READONLY | FAST),
        acl: acl!(KEYSPACE),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key",
        summary: "Millisecond at which a key expires.",
        since: "7.0.0",
        group: Group::Generic,
        run: pexpiretime,
        ..Command::DEFAULT
    },
    Command {
        name: "pttl",
        arity: Arity::Exactly(2),
        flags: flags!(READONLY | FAST),
        acl: acl!(KEYSPACE),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key",
        summary: "Time to live in milliseconds.",
        since: "2.6.0",
        group: Group::Generic,
        history: &[("2.8.0", "Replies -2 where there is no key.")],
        tips: &["nondeterministic_output"],
        run: pttl,
        ..Command::DEFAULT
    },
    Command {
        name: "ttl",
        arity: Arity::Exactly(2),
        flags: flags!(READONLY | FAST),
        acl: acl!(KEYSPACE),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key",
        summary: "Time to live in seconds.",
        since: "1.0.0",
        group: Group::Generic,
        history: &[("2.8.0", "Replies -2 where there is no key.")],
        tips: &["nondeterministic_output"],
        run: ttl,
        ..Command::DEFAULT
    },
];

/// Seconds or milliseconds, relative or absolute.
#[derive(Clone, Copy)]
struct Form {
    name: &'static str,
    unit_ms: i64,
    absolute: bool,
}

/// EXPIRE
pub fn expire(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    change(ctx, Form { name: "expire", unit_ms: 1000, absolute: false })
}

/// PEXPIRE
pub fn pexpire(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    change(ctx, Form { name: "pexpire", unit_ms: 1, absolute: false })
}

/// EXPIREAT
pub fn expireat(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    change(ctx, Form { name: "expireat", unit_ms: 1000, absolute: true })
}

/// PEXPIREAT
pub fn pexpireat(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    change(ctx, Form { name: "pexpireat", unit_ms: 1, absolute: true })
}

/// NX, XX, GT and LT.
#[derive(Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(ctx: &mut Ctx<'_, '_>) -> Result<Conditions, Error> {
        let mut c = Conditions::default();
        ctx.args.seek(3);
        while let Some(option) = ctx.args.peek() {
            if ctx.args.token("NX") {
                c.nx = true;
            } else if ctx.args.token("XX") {
                c.xx = true;
            } else if ctx.args.token("GT") {
                c.gt = true;
            } else if ctx.args.token("LT") {
                c.lt = true;
            } else {
                return Err(Error::quoting("ERR Unsupported option ", option, ""));
            }
        }
        if c.nx && (c.xx || c.gt || c.lt) {
            return Err(Error::Line("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if c.gt && c.lt {
            return Err(Error::Line("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(c)
    }

    /// Whether a key with this deadline (none: it lives for ever) takes the new one.
    fn allow(&self, old: Option<u64>, new: i64) -> bool {
        let old = old.map(|o| i64::try_from(o).unwrap_or(i64::MAX));
        !(self.nx && old.is_some()
            || self.xx && old.is_none()
            || self.gt && old.is_none_or(|old| new <= old)
            || self.lt && old.is_some_and(|old| new >= old))
    }
}

fn change(ctx: &mut Ctx<'_, '_>, form: Form) -> Result<Outcome, Error> {
    // The options are looked at before the number.
    let conditions = if ctx.args.count() > 3 { Conditions::parse(ctx)? } else { Conditions::default() };
    let n = number::parse_i64(ctx.args.at(2)).ok_or(Error::NotInteger)?;
    let now = i64::try_from(ctx.now).unwrap_or(i64::MAX);
    let deadline = n
        .checked_mul(form.unit_ms)
        .and_then(|ms| ms.checked_add(if form.absolute { 0 } else { now }))
        .ok_or(Error::InvalidExpire(form.name))?;
    if deadline <= now {
        return Ok(end(ctx, &conditions, deadline));
    }
    let at = deadline.unsigned_abs();
    let set = match ctx.keys.move_deadline(0, at, |old| conditions.allow(Some(old), deadline)) {
        Some(moved) => moved,
        None => {
            let old = ctx.keys.deadline(0);
            old.is_some_and(|old| conditions.allow(old, deadline)) && ctx.keys.set_deadline(0, Some(at))?
        }
    };
    if set {
        ctx.fx.changed(0, Class::GENERIC, "expire");
        if ctx.shared.stream_has_readers() {
            let key = ctx.keys.key(0).to_vec();
            ctx.fx.instead(&[b"PEXPIREAT", &key, deadline.to_string().as_bytes()]);
        }
    }
    ctx.reply.int(i64::from(set));
    Ok(Outcome::Done)
}

/// A deadline that is not ahead: the key goes at once.
fn end(ctx: &mut Ctx<'_, '_>, conditions: &Conditions, deadline: i64) -> Outcome {
    let ends = ctx.keys.deadline(0).is_some_and(|old| conditions.allow(old, deadline));
    if ends {
        ctx.keys.remove(0);
        ctx.fx.changed(0, Class::GENERIC, "del");
        if ctx.shared.stream_has_readers() {
            let key = ctx.keys.key(0).to_vec();
            ctx.fx.instead(&[b"DEL", &key]);
        }
    }
    ctx.reply.int(i64::from(ends));
    Outcome::Done
}

/// PERSIST
pub fn persist(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let had = ctx.keys.deadline(0).flatten().is_some();
    if had {
        ctx.keys.set_deadline(0, None)?;
        ctx.fx.changed(0, Class::GENERIC, "persist");
    }
    ctx.reply.int(i64::from(had));
    Ok(Outcome::Done)
}

/// TTL
pub fn ttl(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    read(ctx, |deadline, now| (deadline.saturating_sub(now) + 500) / 1000)
}

/// PTTL
pub fn pttl(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    read(ctx, |deadline, now| deadline.saturating_sub(now))
}

/// EXPIRETIME
pub fn expiretime(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    read(ctx, |deadline, _| (deadline + 500) / 1000)
}

/// PEXPIRETIME
pub fn pexpiretime(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    read(ctx, |deadline, _| deadline)
}

fn read(ctx: &mut Ctx<'_, '_>, show: impl Fn(u64, u64) -> u64) -> Result<Outcome, Error> {
    ctx.keys.no_touch();
    let n = match ctx.keys.deadline(0) {
        None => -2,
        Some(None) => -1,
        Some(Some(deadline)) => i64::try_from(show(deadline, ctx.now)).unwrap_or(i64::MAX),
    };
    ctx.reply.int(n);
    Ok(Outcome::Done)
}
