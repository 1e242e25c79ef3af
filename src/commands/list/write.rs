//! Commands that change one list.

use super::read::many;
use super::{length, limits};
use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::element;
use crate::commands::rest::{self, MANY, Rest};
use crate::effects::Class;
use crate::error::Error;
use crate::protocol::Reply;
use crate::values::list::{End, Limits};
use crate::values::packed::Elem;
use crate::values::{Kind, List, Value};

/// LPUSH
pub fn lpush(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    push(ctx, End::Head, true)
}

/// RPUSH
pub fn rpush(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    push(ctx, End::Tail, true)
}

/// LPUSHX
pub fn lpushx(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    push(ctx, End::Head, false)
}

/// RPUSHX
pub fn rpushx(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    push(ctx, End::Tail, false)
}

pub(super) fn push_event(end: End) -> &'static str {
    if end == End::Head { "lpush" } else { "rpush" }
}

pub(super) fn pop_event(end: End) -> &'static str {
    if end == End::Head { "lpop" } else { "rpop" }
}

fn push(ctx: &mut Ctx<'_, '_>, end: End, create: bool) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let (elements, limits) = (ctx.args.rest(), limits(ctx.config));
    let count = elements.len();
    let add = |list: &mut List| {
        list.push_all(end, elements, &limits);
        list.len()
    };
    let len = if create { Some(ctx.keys.write(0, List::new, add)?) } else { ctx.keys.edit(0, add)? };
    if len.is_some() {
        ctx.changed(0, Class::LIST, push_event(end), count);
        ctx.fx.ready(0);
    }
    ctx.reply.int(length(len.unwrap_or(0)));
    Ok(Outcome::Done)
}

/// LPOP
pub fn lpop(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    pop(ctx, End::Head)
}

/// RPOP
pub fn rpop(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    pop(ctx, End::Tail)
}

fn pop(ctx: &mut Ctx<'_, '_>, end: End) -> Result<Outcome, Error> {
    if ctx.args.count() > 3 {
        return Err(ctx.arity_error());
    }
    ctx.args.seek(2);
    let count = ctx.args.peek().map(element::count).transpose()?;
    let limits = limits(ctx.config);
    if let Some(list) = take_many(ctx, 0, end, count.unwrap_or(1))? {
        ctx.changed(0, Class::LIST, pop_event(end), list.len());
        return Ok(many_popped(ctx, list, end));
    }
    let reply = &mut ctx.reply;
    let popped = ctx.keys.edit(0, |list: &mut List| {
        if let Some(count) = count {
            reply.array(count.min(list.len()));
        }
        take(list, end, count.unwrap_or(1), reply, &limits)
    })?;
    match popped {
        None if count.is_some() => ctx.reply.null_array(),
        None => ctx.reply.null(),
        Some(0) => {}
        Some(n) => ctx.changed(0, Class::LIST, pop_event(end), n),
    }
    Ok(Outcome::Done)
}

/// Takes `count` elements from one end of the list at key `i` into a list of their own, if they are
/// many: whole chunks of them at once.
pub(super) fn take_many(
    ctx: &mut Ctx<'_, '_>,
    i: usize,
    end: End,
    count: usize,
) -> Result<Option<List>, Error> {
    if count < MANY {
        return Ok(None);
    }
    let limits = limits(ctx.config);
    let taken = ctx.keys.edit(i, |list: &mut List| {
        let count = count.min(list.len());
        let mut taken = list.take_end(end, count).filter(|_| count >= MANY)?;
        let left = count - taken.len();
        let mut move_over = |elem: Elem<'_>, to| taken.push(to, elem.text(&mut itoa::Buffer::new()), &limits);
        match end {
            End::Head => list.iter().take(left).for_each(|e| move_over(e, End::Tail)),
            End::Tail => list.iter_rev().take(left).for_each(|e| move_over(e, End::Head)),
        }
        list.drop_end(end, left, &limits);
        Some(taken)
    })?;
    Ok(taken.flatten())
}

/// The array of many elements that were popped, the last first if they come from the tail.
pub(super) fn many_popped(ctx: &mut Ctx<'_, '_>, list: List, end: End) -> Outcome {
    let mut left = list.len();
    ctx.reply.array(left);
    if end == End::Head {
        return many(list, 0, left);
    }
    Outcome::More(Rest::of(list, move |list: &List, reply, until| {
        left -= rest::put(reply, until, list.iter_rev_from(left - 1).take(left), element::bulk);
        left > 0
    }))
}

/// Moves up to `count` elements from one end of a list into the reply.
pub(super) fn take(list: &mut List, end: End, count: usize, reply: &mut Reply<'_>, limits: &Limits) -> usize {
    let count = count.min(list.len());
    match end {
        End::Head => list.iter().take(count).for_each(|e| element::bulk(reply, e)),
        End::Tail => list.iter_rev().take(count).for_each(|e| element::bulk(reply, e)),
    }
    if count > 0 {
        list.drop_end(end, count, limits);
    }
    count
}

/// LSET
pub fn lset(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if !ctx.keys.expect_kind(0, Kind::List)? {
        return Err(Error::NoSuchKey);
    }
    ctx.args.seek(2);
    let (index, value) = (ctx.args.int()?, ctx.args.next()?);
    let limits = limits(ctx.config);
    let set = ctx.keys.edit(0, |list: &mut List| list.set(index, value, &limits))?;
    if set != Some(true) {
        return Err(Error::IndexOutOfRange);
    }
    ctx.changed(0, Class::LIST, "lset", 1);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// LINSERT
pub fn linsert(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let after = ctx.args.token("AFTER");
    if !after && !ctx.args.token("BEFORE") {
        return Err(Error::Syntax);
    }
    let (pivot, value) = (ctx.args.next()?, ctx.args.next()?);
    let limits = limits(ctx.config);
    let inserted = ctx.keys.edit(0, |list: &mut List| {
        let found = list.insert_at_pivot(pivot, after, value, &limits);
        found.then(|| list.len())
    })?;
    let answer = match inserted {
        None => 0,
        Some(None) => -1,
        Some(Some(len)) => {
            ctx.changed(0, Class::LIST, "linsert", 1);
            length(len)
        }
    };
    ctx.reply.int(answer);
    Ok(Outcome::Done)
}

/// LTRIM
pub fn ltrim(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let (start, stop) = (ctx.args.int()?, ctx.args.int()?);
    let limits = limits(ctx.config);
    let done = ctx.keys.edit(0, |list: &mut List| {
        let (from, count) = element::range(start, stop, list.len());
        let removed = list.len() - count;
        let gone = [list.take_end(End::Tail, removed - from), list.take_end(End::Head, from)];
        let from = from - gone[1].as_ref().map_or(0, List::len);
        list.trim(from, count, &limits);
        (removed, gone)
    })?;
    if let Some((removed, gone)) = done {
        gone.into_iter().flatten().for_each(|list| ctx.keys.drop_later(Value::List(list)));
        ctx.changed(0, Class::LIST, "ltrim", removed);
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// LREM
pub fn lrem(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let (count, value) = (ctx.args.int()?, ctx.args.next()?);
    let limits = limits(ctx.config);
    let removed = ctx.keys.edit(0, |list: &mut List| list.remove(count, value, &limits))?;
    let removed = removed.unwrap_or(0);
    if removed > 0 {
        ctx.changed(0, Class::LIST, "lrem", removed);
    }
    ctx.reply.int(length(removed));
    Ok(Outcome::Done)
}
