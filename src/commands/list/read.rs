//! Commands that only read.

use super::length;
use crate::commands::args::Args;
use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::element;
use crate::commands::rest::{self, MANY, Rest};
use crate::error::Error;
use crate::values::{Kind, List};

/// LLEN
pub fn llen(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let len = ctx.keys.read(0, |list: Option<&List>| list.map_or(0, List::len))?;
    ctx.reply.int(length(len));
    Ok(Outcome::Done)
}

/// LINDEX
pub fn lindex(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    // A missing key is null whatever the index is.
    if !ctx.keys.expect_kind(0, Kind::List)? {
        ctx.reply.null();
        ctx.note_miss(0);
        return Ok(Outcome::Done);
    }
    ctx.args.seek(2);
    let index = ctx.args.int()?;
    let reply = &mut ctx.reply;
    ctx.keys.read(0, |list: Option<&List>| match list.and_then(|l| l.get(index)) {
        Some(elem) => element::bulk(reply, elem),
        None => reply.null(),
    })?;
    Ok(Outcome::Done)
}

/// LRANGE
pub fn lrange(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let (start, stop) = (ctx.args.int()?, ctx.args.int()?);
    let range = |list: &List| element::range(start, stop, list.len());
    if let Some(list) = ctx.keys.snapshot(0, |list: &List| range(list).1 >= MANY) {
        let (from, count) = range(&list);
        ctx.reply.array(count);
        return Ok(many(list, from, count));
    }
    let reply = &mut ctx.reply;
    ctx.keys.read(0, |list: Option<&List>| {
        let Some(list) = list else { return reply.array(0) };
        let (from, count) = element::range(start, stop, list.len());
        reply.array(count);
        list.iter_from(from).take(count).for_each(|e| element::bulk(reply, e));
    })?;
    ctx.note_miss(0);
    Ok(Outcome::Done)
}

/// Many elements of a list that nobody changes any more, behind the head of a reply.
pub(super) fn many(list: List, mut from: usize, count: usize) -> Outcome {
    let end = from + count;
    Outcome::More(Rest::of(list, move |list: &List, reply, until| {
        from += rest::put(reply, until, list.iter_from(from).take(end - from), element::bulk);
        from < end
    }))
}

struct PosOptions {
    rank: i64,
    count: Option<usize>,
    maxlen: usize,
}

impl PosOptions {
    fn parse(args: &mut Args<'_>) -> Result<PosOptions, Error> {
        let mut options = PosOptions { rank: 1, count: None, maxlen: 0 };
        while args.left() > 0 {
            if args.left() < 2 {
                return Err(Error::Syntax);
            }
            if args.token("RANK") {
                options.rank = args.int()?;
                if options.rank == i64::MIN {
                    return Err(Error::Line(
                        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
                    ));
                }
                if options.rank == 0 {
                    return Err(Error::Line(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list",
                    ));
                }
            } else if args.token("COUNT") {
                let error = Error::Line("ERR COUNT can't be negative");
                options.count = Some(element::count_or(args.next()?, 0, error)?);
            } else if args.token("MAXLEN") {
                let error = Error::Line("ERR MAXLEN can't be negative");
                options.maxlen = element::count_or(args.next()?, 0, error)?;
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }
}

/// LPOS
pub fn lpos(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let value = ctx.args.next()?;
    let options = PosOptions::parse(&mut ctx.args)?;
    let count = match options.count {
        None => 1,
        Some(0) => usize::MAX,
        Some(n) => n,
    };
    let found = ctx.keys.read(0, |list: Option<&List>| {
        list.map_or(Vec::new(), |l| l.positions(value, options.rank, count, options.maxlen))
    })?;
    if options.count.is_some() {
        ctx.reply.array(found.len());
        found.iter().for_each(|i| ctx.reply.int(length(*i)));
    } else {
        match found.first() {
            Some(i) => ctx.reply.int(length(*i)),
            None => ctx.reply.null(),
        }
    }
    Ok(Outcome::Done)
}
