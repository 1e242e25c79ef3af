//! Commands that move elements between lists, pop from the first of several, or wait.

use super::limits;
use super::write::{many_popped, pop_event, push_event, take, take_many};
use crate::blocking::{LIST, OnTimeout};
use crate::commands::args::Args;
use crate::commands::command::{Flags, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::element;
use crate::effects::Class;
use crate::error::Error;
use crate::values::list::End;
use crate::values::{Kind, List};

/// LEFT or RIGHT.
fn end(args: &mut Args<'_>) -> Result<End, Error> {
    if args.token("LEFT") {
        Ok(End::Head)
    } else if args.token("RIGHT") {
        Ok(End::Tail)
    } else {
        Err(Error::Syntax)
    }
}

/// LMOVE
pub fn lmove(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(3);
    let (from, to) = (end(&mut ctx.args)?, end(&mut ctx.args)?);
    if !move_element(ctx, from, to)? {
        ctx.reply.null();
    }
    Ok(Outcome::Done)
}

/// RPOPLPUSH
pub fn rpoplpush(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if !move_element(ctx, End::Tail, End::Head)? {
        ctx.reply.null();
    }
    Ok(Outcome::Done)
}

/// Moves an element from the first key to the second, which may be the same list. Whether
/// there was one.
fn move_element(ctx: &mut Ctx<'_, '_>, from: End, to: End) -> Result<bool, Error> {
    if !ctx.keys.expect_kind(0, Kind::List)? {
        return Ok(false);
    }
    ctx.keys.expect_kind(1, Kind::List)?;
    let limits = limits(ctx.config);
    let first =
        ctx.keys.read(0, |list: Option<&List>| list.and_then(|l| l.peek(from)).map(|e| e.to_vec()))?;
    let Some(elem) = first else { return Ok(false) };
    // Pushed before it is dropped: what cannot be stored stays where it is, and one list is no
    // special case.
    ctx.keys.write(1, List::new, |list: &mut List| list.push(to, &elem, &limits))?;
    ctx.changed(1, Class::LIST, push_event(to), 1);
    ctx.fx.ready(1);
    ctx.keys.edit(0, |list: &mut List| list.drop_end(from, 1, &limits))?;
    ctx.changed(0, Class::LIST, pop_event(from), 1);
    if ctx.command.flags.contains(Flags::BLOCKING) && ctx.shared.stream_has_readers() {
        let side = |end| if end == End::Head { &b"LEFT"[..] } else { b"RIGHT" };
        let (src, dst) = (ctx.keys.key(0).to_vec(), ctx.keys.key(1).to_vec());
        ctx.fx.instead(&[b"LMOVE", &src, &dst, side(from), side(to)]);
    }
    ctx.reply.bulk(&elem);
    Ok(true)
}

/// What LMPOP and BLMPOP take, behind the time-out.
fn pop_options(ctx: &mut Ctx<'_, '_>) -> Result<(End, usize), Error> {
    let keys = element::key_count(&mut ctx.args)?;
    if keys >= ctx.args.left() {
        return Err(Error::Syntax);
    }
    ctx.args.seek(ctx.args.position() + keys);
    let end = end(&mut ctx.args)?;
    let mut count = 1;
    if ctx.args.left() >= 2 && ctx.args.token("COUNT") {
        let error = Error::Line("ERR count should be greater than 0");
        count = element::count_or(ctx.args.next()?, 1, error)?;
    }
    ctx.args.end()?;
    Ok((end, count))
}

/// LMPOP
pub fn lmpop(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let (end, count) = pop_options(ctx)?;
    match first_list(ctx)? {
        Some(i) => pop_from(ctx, i, end, Some(count)),
        None => {
            ctx.reply.null_array();
            Ok(Outcome::Done)
        }
    }
}

/// The first key that has elements.
fn first_list(ctx: &mut Ctx<'_, '_>) -> Result<Option<usize>, Error> {
    for i in 0..ctx.keys.len() {
        if ctx.keys.expect_kind(i, Kind::List)? {
            return Ok(Some(i));
        }
    }
    Ok(None)
}

/// Pops from key `i`, which is a list. The reply is the key and an array of `count` elements, or
/// without a count the key and one element.
fn pop_from(ctx: &mut Ctx<'_, '_>, i: usize, end: End, count: Option<usize>) -> Result<Outcome, Error> {
    let limits = limits(ctx.config);
    ctx.reply.array(2);
    ctx.reply.bulk(ctx.keys.key(i));
    let mut outcome = Outcome::Done;
    let popped = if let Some(list) = take_many(ctx, i, end, count.unwrap_or(1))? {
        let popped = list.len();
        outcome = many_popped(ctx, list, end);
        popped
    } else {
        let reply = &mut ctx.reply;
        let popped = ctx.keys.edit(i, |list: &mut List| {
            if let Some(count) = count {
                reply.array(count.min(list.len()));
            }
            take(list, end, count.unwrap_or(1), reply, &limits)
        })?;
        popped.unwrap_or(0)
    };
    ctx.changed(i, Class::LIST, pop_event(end), popped);
    if ctx.shared.stream_has_readers() {
        let name: &[u8] = if end == End::Head { b"LPOP" } else { b"RPOP" };
        let key = ctx.keys.key(i).to_vec();
        if count.is_some() {
            ctx.fx.instead(&[name, &key, popped.to_string().as_bytes()]);
        } else {
            ctx.fx.instead(&[name, &key]);
        }
    }
    Ok(outcome)
}

/// BLPOP
pub fn blpop(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    blocking_pop(ctx, End::Head)
}

/// BRPOP
pub fn brpop(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    blocking_pop(ctx, End::Tail)
}

fn blocking_pop(ctx: &mut Ctx<'_, '_>, end: End) -> Result<Outcome, Error> {
    let timeout_ms = element::timeout(ctx.args.at(ctx.args.count() - 1), ctx.now)?;
    pop_or_wait(ctx, end, None, timeout_ms)
}

/// BLMPOP
pub fn blmpop(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    // The time-out comes first and is looked at last.
    let timeout = ctx.args.next()?;
    let (end, count) = pop_options(ctx)?;
    let timeout_ms = element::timeout(timeout, ctx.now)?;
    pop_or_wait(ctx, end, Some(count), timeout_ms)
}

fn pop_or_wait(
    ctx: &mut Ctx<'_, '_>,
    end: End,
    count: Option<usize>,
    timeout_ms: u64,
) -> Result<Outcome, Error> {
    match first_list(ctx)? {
        None => Ok(ctx.wait(LIST, timeout_ms, OnTimeout::NullArray)),
        Some(i) if ctx.is_contested(i) => Ok(ctx.wait_behind(LIST, timeout_ms, OnTimeout::NullArray)),
        Some(i) => pop_from(ctx, i, end, count),
    }
}

/// BLMOVE
pub fn blmove(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(3);
    let (from, to) = (end(&mut ctx.args)?, end(&mut ctx.args)?);
    let timeout_ms = element::timeout(ctx.args.next()?, ctx.now)?;
    move_or_wait(ctx, from, to, timeout_ms)
}

/// BRPOPLPUSH
pub fn brpoplpush(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let timeout_ms = element::timeout(ctx.args.at(3), ctx.now)?;
    move_or_wait(ctx, End::Tail, End::Head, timeout_ms)
}

fn move_or_wait(ctx: &mut Ctx<'_, '_>, from: End, to: End, timeout_ms: u64) -> Result<Outcome, Error> {
    if ctx.keys.expect_kind(0, Kind::List)? && ctx.is_contested(0) {
        return Ok(ctx.wait_behind(LIST, timeout_ms, OnTimeout::Null));
    }
    if move_element(ctx, from, to)? {
        return Ok(Outcome::Done);
    }
    Ok(ctx.wait(LIST, timeout_ms, OnTimeout::Null))
}
