//! Popping from the ends of sorted sets.

use crate::blocking::{OnTimeout, ZSET};
use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::element;
use crate::commands::number;
use crate::commands::sorted_set::bounds::Form;
use crate::effects::Class;
use crate::error::Error;
use crate::values::{Kind, SortedSet};

/// Which end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

/// How a pop is answered.
#[derive(Clone, Copy)]
enum Answer {
    /// Only members and scores, in this form.
    Popped(Form),
    /// `key member score`
    Triple,
    /// `key [[member score]…]`
    KeyAndPairs,
}

/// ZPOPMIN
pub fn zpopmin(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    pop_one_key(ctx, End::Min)
}

/// ZPOPMAX
pub fn zpopmax(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    pop_one_key(ctx, End::Max)
}

fn pop_one_key(ctx: &mut Ctx<'_, '_>, end: End) -> Result<Outcome, Error> {
    if ctx.args.count() > 3 {
        return Err(Error::Syntax);
    }
    ctx.args.seek(2);
    let (mut count, mut form) = (1, Form::Flat);
    if let Some(arg) = ctx.args.peek() {
        let n = number::parse_i64(arg).filter(|n| *n >= 0).ok_or(Error::MustBePositive)?;
        count = usize::try_from(n).unwrap_or(usize::MAX);
        form = Form::with_scores(&ctx.reply, true);
    }
    if ctx.keys.expect_kind(0, Kind::ZSet)? && count > 0 {
        pop(ctx, 0, end, count, Answer::Popped(form))?;
    } else {
        ctx.reply.array(0);
    }
    Ok(Outcome::Done)
}

/// ZMPOP
pub fn zmpop(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let (end, count) = many_options(ctx)?;
    match first_key(ctx)? {
        Some(i) => pop(ctx, i, end, count, Answer::KeyAndPairs)?,
        None => ctx.reply.null_array(),
    }
    Ok(Outcome::Done)
}

/// BZMPOP
pub fn bzmpop(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let timeout = ctx.args.next()?;
    let (end, count) = many_options(ctx)?;
    let timeout_ms = element::timeout(timeout, ctx.now)?;
    pop_or_wait(ctx, end, count, Answer::KeyAndPairs, timeout_ms)
}

/// BZPOPMIN
pub fn bzpopmin(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    pop_one_or_wait(ctx, End::Min)
}

/// BZPOPMAX
pub fn bzpopmax(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    pop_one_or_wait(ctx, End::Max)
}

fn pop_one_or_wait(ctx: &mut Ctx<'_, '_>, end: End) -> Result<Outcome, Error> {
    let timeout_ms = element::timeout(ctx.args.at(ctx.args.count() - 1), ctx.now)?;
    pop_or_wait(ctx, end, 1, Answer::Triple, timeout_ms)
}

fn pop_or_wait(
    ctx: &mut Ctx<'_, '_>,
    end: End,
    count: usize,
    answer: Answer,
    timeout_ms: u64,
) -> Result<Outcome, Error> {
    match first_key(ctx)? {
        None => Ok(ctx.wait(ZSET, timeout_ms, OnTimeout::NullArray)),
        Some(i) if ctx.is_contested(i) => Ok(ctx.wait_behind(ZSET, timeout_ms, OnTimeout::NullArray)),
        Some(i) => {
            pop(ctx, i, end, count, answer)?;
            Ok(Outcome::Done)
        }
    }
}

/// `numkeys key… MIN|MAX [COUNT n]`
fn many_options(ctx: &mut Ctx<'_, '_>) -> Result<(End, usize), Error> {
    let keys = element::count_or(ctx.args.next()?, 1, Error::Line("ERR numkeys should be greater than 0"))?;
    if keys >= ctx.args.left() {
        return Err(Error::Syntax);
    }
    ctx.args.seek(ctx.args.position() + keys);
    let end = if ctx.args.token("MIN") {
        End::Min
    } else if ctx.args.token("MAX") {
        End::Max
    } else {
        return Err(Error::Syntax);
    };
    let mut count = 1;
    if ctx.args.token("COUNT") {
        count = element::count_or(ctx.args.next()?, 1, Error::Line("ERR count should be greater than 0"))?;
    }
    ctx.args.end()?;
    Ok((end, count))
}

/// The first of the keys that is there.
fn first_key(ctx: &mut Ctx<'_, '_>) -> Result<Option<usize>, Error> {
    for i in 0..ctx.keys.len() {
        if ctx.keys.expect_kind(i, Kind::ZSet)? {
            return Ok(Some(i));
        }
    }
    Ok(None)
}

/// Pops from key `i`, which is a sorted set.
fn pop(ctx: &mut Ctx<'_, '_>, i: usize, end: End, count: usize, answer: Answer) -> Result<(), Error> {
    let (keys, reply) = (&mut ctx.keys, &mut ctx.reply);
    let key = match answer {
        Answer::Popped(_) => Vec::new(),
        _ => keys.key(i).to_vec(),
    };
    let popped = keys.edit(i, |set: &mut SortedSet| {
        let n = count.min(set.len());
        let form = match answer {
            Answer::Popped(form) => {
                form.begin(reply, n);
                form
            }
            Answer::Triple => {
                reply.array(3);
                reply.bulk(&key);
                Form::Flat
            }
            Answer::KeyAndPairs => {
                reply.array(2);
                reply.bulk(&key);
                reply.array(n);
                Form::Pairs
            }
        };
        let (ranks, members) = match end {
            End::Min => (0..n, set.iter()),
            End::Max => (set.len() - n..set.len(), set.iter_rev_from(set.len().saturating_sub(1))),
        };
        members.take(n).for_each(|(member, score)| form.put(reply, member, score.get()));
        set.remove_ranks(ranks)
    })?;
    let n = popped.unwrap_or(0);
    let event = if end == End::Min { "zpopmin" } else { "zpopmax" };
    ctx.changed(i, Class::ZSET, event, n);
    match answer {
        Answer::Popped(_) => {}
        Answer::Triple => ctx.fx.instead(&[event.as_bytes(), &key]),
        Answer::KeyAndPairs => {
            ctx.fx.instead(&[event.as_bytes(), &key, itoa::Buffer::new().format(n).as_bytes()]);
        }
    }
    Ok(())
}
