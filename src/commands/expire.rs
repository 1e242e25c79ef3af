//! EXPIRE and its family: setting, reading and removing the time to live of a key.

use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::error::Error;
use crate::effects::Class;

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
                let shown = String::from_utf8_lossy(option);
                return Err(Error::text(format!("ERR Unsupported option {shown}")));
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
    ctx.args.seek(2);
    let n = ctx.args.int()?;
    let conditions = Conditions::parse(ctx)?;
    let base = if form.absolute { 0 } else { i64::try_from(ctx.now).unwrap_or(i64::MAX) };
    let deadline = n
        .checked_mul(form.unit_ms)
        .and_then(|ms| ms.checked_add(base))
        .ok_or(Error::InvalidExpire(form.name))?;
    let Some(old) = ctx.keys.deadline(0) else {
        ctx.reply.int(0);
        return Ok(Outcome::Done);
    };
    if !conditions.allow(old, deadline) {
        ctx.reply.int(0);
        return Ok(Outcome::Done);
    }
    let now = i64::try_from(ctx.now).unwrap_or(i64::MAX);
    if deadline <= now {
        ctx.keys.remove(0);
        ctx.fx.changed(0, Class::GENERIC, "del");
        if ctx.shared.stream_has_readers() {
            let key = ctx.keys.key(0).to_vec();
            ctx.fx.instead(&[b"DEL", &key]);
        }
    } else {
        ctx.keys.set_deadline(0, Some(deadline.unsigned_abs()))?;
        ctx.fx.changed(0, Class::GENERIC, "expire");
        if ctx.shared.stream_has_readers() {
            let key = ctx.keys.key(0).to_vec();
            ctx.fx.instead(&[b"PEXPIREAT", &key, deadline.to_string().as_bytes()]);
        }
    }
    ctx.reply.int(1);
    Ok(Outcome::Done)
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
