//! Changing sorted sets: ZADD and its kin, removals.

use smallvec::SmallVec;

use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::sorted_set::bounds::{self, Bounds, By};
use crate::effects::Class;
use crate::error::Error;
use crate::keys::Ttl;
use crate::values::sorted_set::{Limits, Score};
use crate::values::{Kind, SortedSet, Value};

const NOT_A_NUMBER: Error = Error::Line("ERR resulting score is not a number (NaN)");

/// What ZADD may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AddOptions {
    /// Only new members.
    pub nx: bool,
    /// Only members that are there.
    pub xx: bool,
    /// Only higher scores.
    pub gt: bool,
    /// Only lower scores.
    pub lt: bool,
    /// Count changed scores too.
    pub ch: bool,
    /// Add to the score.
    pub incr: bool,
}

/// Scores and members to add.
pub type Pairs<'k> = SmallVec<[(f64, &'k [u8]); 4]>;

/// What became of them.
#[derive(Default)]
struct Added {
    new: usize,
    changed: usize,
    /// The score after the last addition; `None` if a condition forbade it.
    score: Option<Score>,
}

impl AddOptions {
    fn parse(ctx: &mut Ctx<'_, '_>) -> AddOptions {
        let mut options = AddOptions::default();
        loop {
            if ctx.args.token("NX") {
                options.nx = true;
            } else if ctx.args.token("XX") {
                options.xx = true;
            } else if ctx.args.token("GT") {
                options.gt = true;
            } else if ctx.args.token("LT") {
                options.lt = true;
            } else if ctx.args.token("CH") {
                options.ch = true;
            } else if ctx.args.token("INCR") {
                options.incr = true;
            } else {
                return options;
            }
        }
    }

    fn check(&self, pairs: usize) -> Result<(), Error> {
        if self.nx && self.xx {
            return Err(Error::Line("ERR XX and NX options at the same time are not compatible"));
        }
        if self.nx && (self.gt || self.lt) || self.gt && self.lt {
            return Err(Error::Line("ERR GT, LT, and/or NX options at the same time are not compatible"));
        }
        if self.incr && pairs > 1 {
            return Err(Error::Line("ERR INCR option supports a single increment-element pair"));
        }
        Ok(())
    }

    fn is_plain(&self) -> bool {
        !(self.nx || self.xx || self.gt || self.lt || self.incr)
    }

    /// Adds one member. Only INCR can fail, and it comes with one member.
    fn apply(
        &self,
        set: &mut SortedSet,
        number: f64,
        member: &[u8],
        limits: &Limits,
        done: &mut Added,
    ) -> Result<(), Error> {
        done.score = None;
        let mut score = Score::new(number).ok_or(NOT_A_NUMBER)?;
        if !self.is_plain() {
            let old = set.score(member).map(Score::get);
            if old.is_some() && self.nx || old.is_none() && self.xx {
                return Ok(());
            }
            if let Some(old) = old {
                if self.incr {
                    score = Score::new(old + number).ok_or(NOT_A_NUMBER)?;
                }
                if self.gt && score.get() <= old || self.lt && score.get() >= old {
                    return Ok(());
                }
            }
        }
        match set.insert(member, score, limits) {
            None => done.new += 1,
            Some(old) if old != score => done.changed += 1,
            Some(_) => {}
        }
        done.score = Some(score);
        Ok(())
    }
}

/// ZADD
pub fn zadd(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let options = AddOptions::parse(ctx);
    let left = ctx.args.left();
    if left == 0 || !left.is_multiple_of(2) {
        return Err(Error::Syntax);
    }
    options.check(left / 2)?;
    let mut pairs = Pairs::new();
    while ctx.args.left() > 0 {
        pairs.push((ctx.args.float()?, ctx.args.next()?));
    }
    add(ctx, options, &pairs)
}

/// ZINCRBY
pub fn zincrby(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let pair = (ctx.args.float()?, ctx.args.next()?);
    add(ctx, AddOptions { incr: true, ..Default::default() }, &[pair])
}

/// Adds scores and members to key 0 and replies; what ZADD, ZINCRBY and GEOADD have in common.
pub fn add(ctx: &mut Ctx<'_, '_>, options: AddOptions, pairs: &[(f64, &[u8])]) -> Result<Outcome, Error> {
    let limits = bounds::limits(ctx.config);
    let mut done = Added::default();
    let apply = |set: &mut SortedSet, done: &mut Added| {
        pairs.iter().try_for_each(|(number, member)| options.apply(set, *number, member, &limits, done))
    };
    if ctx.keys.expect_kind(0, Kind::ZSet)? {
        ctx.keys.edit(0, |set: &mut SortedSet| apply(set, &mut done))?.unwrap_or(Ok(()))?;
    } else if !options.xx {
        let mut set = SortedSet::new();
        set.expect(pairs.len(), pairs.iter().map(|p| p.1.len()).max().unwrap_or(0), &limits);
        apply(&mut set, &mut done)?;
        ctx.keys.put_value(0, Value::ZSet(set), Ttl::Clear)?;
        ctx.fx.ready(0);
    }
    if done.new + done.changed > 0 {
        let event = if options.incr { "zincr" } else { "zadd" };
        ctx.changed(0, Class::ZSET, event, done.new + done.changed);
    }
    match done.score {
        Some(score) if options.incr => ctx.reply.double(score.get()),
        None if options.incr => ctx.reply.null(),
        _ => {
            let n = if options.ch { done.new + done.changed } else { done.new };
            ctx.reply.int(i64::try_from(n).unwrap_or(i64::MAX));
        }
    }
    Ok(Outcome::Done)
}

/// States a removal of `n` members from key 0 and replies with it.
fn removed(ctx: &mut Ctx<'_, '_>, n: usize, event: &'static str) -> Result<Outcome, Error> {
    if n > 0 {
        ctx.changed(0, Class::ZSET, event, n);
    }
    ctx.reply.int(i64::try_from(n).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// ZREM
pub fn zrem(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let members = ctx.args.rest();
    let n = ctx.keys.edit(0, |set: &mut SortedSet| members.filter(|m| set.remove(m).is_some()).count())?;
    removed(ctx, n.unwrap_or(0), "zrem")
}

/// ZREMRANGEBYRANK
pub fn zremrangebyrank(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    remove_range(ctx, By::Rank, "zremrangebyrank")
}

/// ZREMRANGEBYSCORE
pub fn zremrangebyscore(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    remove_range(ctx, By::Score, "zremrangebyscore")
}

/// ZREMRANGEBYLEX
pub fn zremrangebylex(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    remove_range(ctx, By::Lex, "zremrangebylex")
}

fn remove_range(ctx: &mut Ctx<'_, '_>, by: By, event: &'static str) -> Result<Outcome, Error> {
    let bounds = Bounds::parse(by, ctx.args.at(2), ctx.args.at(3))?;
    let done = ctx.keys.edit(0, |set: &mut SortedSet| {
        let ranks = bounds.ranks(set, false);
        // All of it goes as a whole, to be freed when nothing is locked.
        if ranks.len() == set.len() {
            (ranks.len(), Some(std::mem::take(set)))
        } else {
            (set.remove_ranks(ranks), None)
        }
    })?;
    let (n, all) = done.unwrap_or_default();
    if let Some(all) = all {
        ctx.keys.drop_later(Value::ZSet(all));
    }
    removed(ctx, n, event)
}
