//! Commands that only read.

use super::{bulk_or_null, length};
use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::element::{self, Picks};
use crate::commands::rest::{self, MANY, Rest};
use crate::commands::scan::{self, ScanOf, ScanOptions};
use crate::error::Error;
use crate::glob;
use crate::protocol::Reply;
use crate::values::hash::Field;
use crate::values::random::{Choice, Random};
use crate::values::{Hash, Kind};

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

/// HLEN
pub fn hlen(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let len = ctx.keys.read(0, |hash: Option<&Hash>| hash.map_or(0, Hash::shown))?;
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
    one: impl Fn(&mut Reply<'_>, Field<'_>) + 'static,
) -> Result<Outcome, Error> {
    ctx.note_miss(0);
    if let Some(hash) = ctx.keys.snapshot(0, |hash: &Hash| hash.len() >= MANY) {
        begin(&mut ctx.reply, hash.shown());
        let mut cursor = 0;
        return Ok(Outcome::More(Rest::of(hash, move |hash: &Hash, reply, until| {
            rest::put_scanned(reply, until, &mut cursor, |cursor, n, reply| {
                hash.scan(cursor, n, |field| one(reply, field))
            })
        })));
    }
    let reply = &mut ctx.reply;
    ctx.keys.read(0, |hash: Option<&Hash>| {
        begin(reply, hash.map_or(0, Hash::shown));
        if let Some(hash) = hash {
            hash.iter().for_each(|field| one(reply, field));
        }
    })?;
    Ok(Outcome::Done)
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
    let picks = if present { picks.map(|p| p.check(ctx.may_reply_on())).transpose()? } else { picks };
    if let Some(picks) = picks.filter(|picks| picks.size() >= MANY)
        && let Some(hash) = ctx.keys.snapshot(0, |_: &Hash| true)
    {
        return Ok(many_random(ctx, hash, picks, values, random));
    }
    let reply = &mut ctx.reply;
    ctx.keys.read(0, |hash: Option<&Hash>| match (hash, picks) {
        (None, None) => reply.null(),
        (None, Some(_)) => reply.array(0),
        (Some(hash), None) => bulk_or_null(reply, hash.random(&mut random).map(|f| f.name)),
        (Some(hash), Some(Picks::Distinct(count))) => {
            begin_picks(reply, count.min(hash.shown()), values);
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

/// The reply of HRANDFIELD with many fields.
fn many_random(ctx: &mut Ctx<'_, '_>, hash: Hash, picks: Picks, values: bool, mut random: Random) -> Outcome {
    let len = hash.shown();
    match picks {
        Picks::Repeated(mut count) => {
            begin_picks(&mut ctx.reply, count, values);
            Outcome::More(Rest::of(hash, move |hash: &Hash, reply, until| {
                let picked = (0..count).map_while(|_| hash.random(&mut random));
                count -= rest::put(reply, until, picked, |reply, field| pick(reply, field, values));
                count > 0
            }))
        }
        Picks::Distinct(count) => {
            begin_picks(&mut ctx.reply, count.min(len), values);
            let (mut cursor, mut choice) = (0, Choice::new(count, len));
            Outcome::More(Rest::of(hash, move |hash: &Hash, reply, until| {
                rest::put_scanned(reply, until, &mut cursor, |cursor, n, reply| {
                    hash.scan(cursor, n, |field| {
                        if choice.takes(&mut random) {
                            pick(reply, field, values);
                        }
                    })
                })
            }))
        }
    }
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
