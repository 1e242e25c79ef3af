//! Commands that set, remove and increment fields.

use rustc_apfloat::Float as _;

use super::{length, limits, pairs};
use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::long_double;
use crate::effects::Class;
use crate::error::Error;
use crate::values::Hash;
use crate::values::hash::Deadline;

fn set_pairs(ctx: &mut Ctx<'_, '_>) -> Result<usize, Error> {
    if !ctx.args.count().is_multiple_of(2) {
        return Err(ctx.arity_error());
    }
    ctx.args.seek(2);
    let (args, limits) = (ctx.args, limits(ctx.config));
    let count = args.left() / 2;
    let new = ctx.keys.write(0, Hash::new, |hash: &mut Hash| {
        // Most have one pair, which `set` looks at itself.
        if count == 1 {
            return usize::from(hash.set(args.at(2), args.at(3), &limits));
        }
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
    let timed = write_sum(ctx, field, text.as_bytes(), "hincrbyfloat")?;
    if ctx.shared.stream_has_readers() {
        let key = ctx.keys.key(0).to_vec();
        if timed {
            ctx.fx.instead(&[b"HSETEX", &key, b"KEEPTTL", b"FIELDS", b"1", field, text.as_bytes()]);
        } else {
            ctx.fx.instead(&[b"HSET", &key, field, text.as_bytes()]);
        }
    }
    ctx.reply.bulk(text.as_bytes());
    Ok(Outcome::Done)
}

/// Writes the result of an increment; the field keeps its deadline. Whether it has one.
fn write_sum(ctx: &mut Ctx<'_, '_>, field: &[u8], sum: &[u8], event: &'static str) -> Result<bool, Error> {
    let limits = limits(ctx.config);
    let timed = ctx.keys.write(0, Hash::new, |hash: &mut Hash| {
        hash.set_with(field, sum, Deadline::Keep, &limits);
        hash.next_deadline().is_some() && hash.field(field).is_some_and(|f| f.deadline.is_some())
    })?;
    ctx.changed(0, Class::HASH, event, 1);
    Ok(timed)
}
