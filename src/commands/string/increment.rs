//! INCR, DECR, INCRBY, DECRBY and INCRBYFLOAT.

use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::long_double;
use crate::commands::number;
use crate::effects::Class;
use crate::error::Error;
use crate::keys::{NewString, Ttl};
use crate::protocol::number::Digits;
use crate::values::Kind;

/// INCR
pub fn incr(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    add(ctx, 1)
}

/// DECR
pub fn decr(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    add(ctx, -1)
}

/// INCRBY
pub fn incrby(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let by = ctx.args.int()?;
    add(ctx, by)
}

/// DECRBY
pub fn decrby(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let by = ctx.args.int()?;
    let by = by.checked_neg().ok_or(Error::Line("ERR decrement would overflow"))?;
    add(ctx, by)
}

fn add(ctx: &mut Ctx<'_, '_>, by: i64) -> Result<Outcome, Error> {
    // Nearly always the number stands in an entry that keeps its size.
    if let Some(mut place) = ctx.keys.in_place(0)
        && let Some(old) = place.entry().bytes()
    {
        let digits = sum(Some(old), by)?;
        if place.rewrite(digits.as_bytes(), true) {
            return added(ctx, &digits);
        }
    }
    add_apart(ctx, by)
}

#[inline(never)]
fn add_apart(ctx: &mut Ctx<'_, '_>, by: i64) -> Result<Outcome, Error> {
    let digits = ctx.keys.string(0, |old| sum(old.as_deref(), by))??;
    ctx.keys.put_string(0, NewString::Bytes(digits.as_bytes()), Ttl::Keep)?;
    added(ctx, &digits)
}

/// The text of a number to which something was added.
#[inline(always)]
fn sum(old: Option<&[u8]>, by: i64) -> Result<Digits, Error> {
    let old = old.map_or(Some(0), number::parse_i64).ok_or(Error::NotInteger)?;
    old.checked_add(by).map(Digits::of).ok_or(Error::IncrOverflow)
}

/// States the change. The reply has the same text.
#[inline(always)]
fn added(ctx: &mut Ctx<'_, '_>, digits: &Digits) -> Result<Outcome, Error> {
    ctx.fx.changed(0, Class::STRING, "incrby");
    ctx.reply.int_of_digits(digits);
    Ok(Outcome::Done)
}

/// INCRBYFLOAT
pub fn incrbyfloat(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.keys.expect_kind(0, Kind::String)?;
    let by = long_double::parse(ctx.args.at(2)).ok_or(Error::NotFloat)?;
    let old = ctx.keys.string(0, |v| match v {
        Some(v) => long_double::parse(&v).ok_or(Error::NotFloat),
        None => Ok(long_double::ZERO),
    })??;
    let sum = long_double::add(old, by).ok_or(Error::Line("ERR increment would produce NaN or Infinity"))?;
    let text = long_double::format(sum);
    ctx.keys.put_string(0, NewString::Bytes(text.as_bytes()), Ttl::Keep)?;
    ctx.fx.changed(0, Class::STRING, "incrbyfloat");
    if ctx.shared.stream_has_readers() {
        let key = ctx.keys.key(0).to_vec();
        ctx.fx.instead(&[b"SET", &key, text.as_bytes(), b"KEEPTTL"]);
    }
    ctx.reply.bulk(text.as_bytes());
    Ok(Outcome::Done)
}
