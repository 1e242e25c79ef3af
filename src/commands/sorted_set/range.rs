//! ZRANGE in all its forms.

use std::ops::Range;

use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::rest::{self, MANY, Rest};
use crate::commands::sorted_set::bounds::{self, Bounds, By, Form};
use crate::effects::Class;
use crate::error::Error;
use crate::values::SortedSet;

/// What a command's name says already; `None` is left to its options.
#[derive(Clone, Copy)]
struct Given {
    by: Option<By>,
    reverse: Option<bool>,
    /// Whether there is a destination, which stands before the source.
    store: bool,
}

/// A range with its options.
struct Query<'k> {
    bounds: Bounds<'k>,
    reverse: bool,
    /// Offset and count.
    limit: Option<(i64, i64)>,
    with_scores: bool,
}

/// ZRANGE
pub fn zrange(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    reply(ctx, Given { by: None, reverse: None, store: false })
}

/// ZREVRANGE
pub fn zrevrange(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    reply(ctx, Given { by: Some(By::Rank), reverse: Some(true), store: false })
}

/// ZRANGEBYSCORE
pub fn zrangebyscore(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    reply(ctx, Given { by: Some(By::Score), reverse: Some(false), store: false })
}

/// ZREVRANGEBYSCORE
pub fn zrevrangebyscore(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    reply(ctx, Given { by: Some(By::Score), reverse: Some(true), store: false })
}

/// ZRANGEBYLEX
pub fn zrangebylex(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    reply(ctx, Given { by: Some(By::Lex), reverse: Some(false), store: false })
}

/// ZREVRANGEBYLEX
pub fn zrevrangebylex(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    reply(ctx, Given { by: Some(By::Lex), reverse: Some(true), store: false })
}

/// ZRANGESTORE: key 0 is the destination, key 1 the source.
pub fn zrangestore(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let query = Query::parse(ctx, Given { by: None, reverse: None, store: true })?;
    let limits = bounds::limits(ctx.config);
    let outcome = ctx.keys.read(1, |set: Option<&SortedSet>| {
        let mut outcome = SortedSet::new();
        let Some(set) = set else { return outcome };
        let ranks = query.ranks(set);
        outcome.expect(ranks.len(), 0, &limits);
        let mut digits = itoa::Buffer::new();
        for (member, score) in set.iter_from(ranks.start).take(ranks.len()) {
            outcome.insert(member.text(&mut digits), score, &limits);
        }
        outcome
    })?;
    let len = outcome.len();
    ctx.store(0, outcome, Class::ZSET, "zrangestore")?;
    ctx.reply.int(i64::try_from(len).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

fn reply(ctx: &mut Ctx<'_, '_>, given: Given) -> Result<Outcome, Error> {
    let query = Query::parse(ctx, given)?;
    let form = Form::with_scores(&ctx.reply, query.with_scores);
    if let Some(set) = ctx.keys.snapshot(0, |set: &SortedSet| query.ranks(set).len() >= MANY) {
        let ranks = query.ranks(&set);
        form.begin(&mut ctx.reply, ranks.len());
        return Ok(many(set, ranks, query.reverse, form));
    }
    let reply = &mut ctx.reply;
    ctx.keys.read(0, |set: Option<&SortedSet>| {
        let Some(set) = set else { return reply.array(0) };
        let ranks = query.ranks(set);
        form.begin(reply, ranks.len());
        if ranks.is_empty() {
            return;
        }
        let members =
            if query.reverse { set.iter_rev_from(ranks.end - 1) } else { set.iter_from(ranks.start) };
        members.take(ranks.len()).for_each(|(member, score)| form.put(reply, member, score.get()));
    })?;
    Ok(Outcome::Done)
}

/// Many members of a set that nobody changes any more, behind the head of a reply.
pub(super) fn many(set: SortedSet, mut ranks: Range<usize>, reverse: bool, form: Form) -> Outcome {
    Outcome::More(Rest::of(set, move |set: &SortedSet, reply, until| {
        let members = if reverse { set.iter_rev_from(ranks.end - 1) } else { set.iter_from(ranks.start) };
        let members = members.take(ranks.len());
        let n =
            rest::put(reply, until, members, |reply, (member, score)| form.put(reply, member, score.get()));
        ranks = if reverse { ranks.start..ranks.end - n } else { ranks.start + n..ranks.end };
        n > 0 && !ranks.is_empty()
    }))
}

impl<'k> Query<'k> {
    fn parse(ctx: &mut Ctx<'_, 'k>, given: Given) -> Result<Query<'k>, Error> {
        let first = if given.store { 3 } else { 2 };
        let (mut by, mut reverse, mut limit, mut with_scores) = (given.by, given.reverse, None, false);
        ctx.args.seek(first + 2);
        while ctx.args.left() > 0 {
            if !given.store && ctx.args.token("WITHSCORES") {
                with_scores = true;
            } else if ctx.args.left() >= 3 && ctx.args.token("LIMIT") {
                limit = Some((ctx.args.int()?, ctx.args.int()?));
            } else if reverse.is_none() && ctx.args.token("REV") {
                reverse = Some(true);
            } else if by.is_none() && ctx.args.token("BYLEX") {
                by = Some(By::Lex);
            } else if by.is_none() && ctx.args.token("BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(Error::Syntax);
            }
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        // Redis takes a count of -1 for "no LIMIT given".
        if by == By::Rank && limit.is_some_and(|(_, count)| count != -1) {
            return Err(Error::Line(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if by == By::Lex && with_scores {
            return Err(Error::Line("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
        }
        let (mut min, mut max) = (ctx.args.at(first), ctx.args.at(first + 1));
        if reverse && by != By::Rank {
            (min, max) = (max, min);
        }
        let limit = limit.filter(|_| by != By::Rank);
        Ok(Query { bounds: Bounds::parse(by, min, max)?, reverse, limit, with_scores })
    }

    /// The ranks that are meant, lowest score first.
    fn ranks(&self, set: &SortedSet) -> Range<usize> {
        let ranks = self.bounds.ranks(set, self.reverse);
        let Some((offset, count)) = self.limit else { return ranks };
        let Ok(offset) = usize::try_from(offset) else { return 0..0 };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let skip = offset.min(ranks.len());
        let take = count.min(ranks.len() - skip);
        if self.reverse {
            let end = ranks.end - skip;
            end - take..end
        } else {
            let start = ranks.start + skip;
            start..start + take
        }
    }
}
