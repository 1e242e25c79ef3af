//! Intersection, union and difference of sets.

use super::{length, limits};
use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::element;
use crate::effects::Class;
use crate::error::Error;
use crate::protocol::Reply;
use crate::values::packed::Elem;
use crate::values::set::{Limits, Set, intersection};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Intersection,
    Union,
    Difference,
}

/// SINTER
pub fn sinter(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    answer(ctx, Operation::Intersection)
}

/// SUNION
pub fn sunion(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    answer(ctx, Operation::Union)
}

/// SDIFF
pub fn sdiff(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    answer(ctx, Operation::Difference)
}

/// SINTERSTORE
pub fn sinterstore(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    store(ctx, Operation::Intersection, "sinterstore")
}

/// SUNIONSTORE
pub fn sunionstore(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    store(ctx, Operation::Union, "sunionstore")
}

/// SDIFFSTORE
pub fn sdiffstore(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    store(ctx, Operation::Difference, "sdiffstore")
}

fn answer(ctx: &mut Ctx<'_, '_>, operation: Operation) -> Result<Outcome, Error> {
    let limits = limits(ctx.config);
    let reply = &mut ctx.reply;
    let keys = 0..ctx.keys.len();
    ctx.keys.read_many(keys, |sets: &[Option<&Set>]| match operation {
        // A union has to be made before it can be counted.
        Operation::Union => {
            let union = union(sets, &limits);
            reply.set(union.len());
            union.iter().for_each(|m| element::bulk(reply, m));
        }
        Operation::Intersection => deferred(reply, |visit| intersect(sets, visit)),
        Operation::Difference => deferred(reply, |visit| subtract(sets, visit)),
    })?;
    Ok(Outcome::Done)
}

/// Writes a set reply of members that `walk` visits.
fn deferred(reply: &mut Reply<'_>, walk: impl FnOnce(&mut dyn FnMut(Elem<'_>) -> bool)) {
    let mark = reply.defer_set();
    let mut n = 0;
    walk(&mut |member| {
        element::bulk(reply, member);
        n += 1;
        true
    });
    reply.finish(mark, n);
}

fn store(ctx: &mut Ctx<'_, '_>, operation: Operation, event: &'static str) -> Result<Outcome, Error> {
    let limits = limits(ctx.config);
    let sources = 1..ctx.keys.len();
    let result = ctx.keys.read_many(sources, |sets: &[Option<&Set>]| {
        if operation == Operation::Union {
            return union(sets, &limits);
        }
        let mut result = Set::default();
        let mut digits = itoa::Buffer::new();
        let mut add = |member: Elem<'_>| {
            result.insert(member.text(&mut digits), &limits);
            true
        };
        if operation == Operation::Intersection {
            intersect(sets, &mut add);
        } else {
            subtract(sets, &mut add);
        }
        result
    })?;
    let len = result.len();
    ctx.store(0, result, Class::SET, event)?;
    ctx.reply.int(length(len));
    Ok(Outcome::Done)
}

fn intersect(sets: &[Option<&Set>], visit: &mut dyn FnMut(Elem<'_>) -> bool) {
    if let Some(sets) = sets.iter().copied().collect::<Option<Vec<&Set>>>() {
        intersection(&sets, visit);
    }
}

fn union(sets: &[Option<&Set>], limits: &Limits) -> Set {
    let mut union = Set::default();
    let mut digits = itoa::Buffer::new();
    for member in sets.iter().flatten().flat_map(|s| s.iter()) {
        union.insert(member.text(&mut digits), limits);
    }
    union
}

/// The members of the first set that are in no other.
fn subtract(sets: &[Option<&Set>], visit: &mut dyn FnMut(Elem<'_>) -> bool) {
    let Some((Some(first), others)) = sets.split_first() else {
        return;
    };
    let mut others: Vec<&Set> = others.iter().copied().flatten().collect();
    // The largest is the likeliest to have a member, which ends the search.
    others.sort_by_key(|s| std::cmp::Reverse(s.len()));
    let mut digits = itoa::Buffer::new();
    for member in first.iter() {
        let text = member.text(&mut digits);
        if !others.iter().any(|s| s.contains(text)) && !visit(member) {
            return;
        }
    }
}

/// SINTERCARD
pub fn sintercard(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let keys = element::key_count(&mut ctx.args)?;
    if keys > ctx.args.left() {
        return Err(Error::Line("ERR Number of keys can't be greater than number of args"));
    }
    ctx.args.seek(ctx.args.position() + keys);
    let mut limit = 0;
    while ctx.args.left() > 0 {
        if ctx.args.left() < 2 || !ctx.args.token("LIMIT") {
            return Err(Error::Syntax);
        }
        let error = Error::Line("ERR LIMIT can't be negative");
        limit = element::count_or(ctx.args.next()?, 0, error)?;
    }
    let mut n = 0;
    let keys = 0..ctx.keys.len();
    ctx.keys.read_many(keys, |sets: &[Option<&Set>]| {
        intersect(sets, &mut |_| {
            n += 1;
            n != limit
        });
    })?;
    ctx.reply.int(length(n));
    Ok(Outcome::Done)
}
