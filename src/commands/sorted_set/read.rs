//! Looking at sorted sets: sizes, scores, ranks, random members, scans.

use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::element::Picks;
use crate::commands::rest::{self, MANY, Rest};
use crate::commands::scan::{ScanOf, ScanOptions, cursor};
use crate::commands::sorted_set::bounds::{Bounds, By, Form, member};
use crate::commands::sorted_set::range::many;
use crate::error::Error;
use crate::glob;
use crate::protocol::Reply;
use crate::protocol::float::format_double;
use crate::values::SortedSet;
use crate::values::packed::Elem;
use crate::values::random::{Choice, Random, choose};
use crate::values::sorted_set::Score;

fn size(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// ZCARD
pub fn zcard(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let len = ctx.keys.read(0, |set: Option<&SortedSet>| set.map_or(0, SortedSet::len))?;
    ctx.reply.int(size(len));
    Ok(Outcome::Done)
}

/// ZCOUNT
pub fn zcount(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    count(ctx, By::Score)
}

/// ZLEXCOUNT
pub fn zlexcount(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    count(ctx, By::Lex)
}

fn count(ctx: &mut Ctx<'_, '_>, by: By) -> Result<Outcome, Error> {
    let bounds = Bounds::parse(by, ctx.args.at(2), ctx.args.at(3))?;
    let n = ctx.keys.read(0, |set: Option<&SortedSet>| set.map_or(0, |s| bounds.ranks(s, false).len()))?;
    ctx.reply.int(size(n));
    Ok(Outcome::Done)
}

/// ZSCORE
pub fn zscore(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let wanted = ctx.args.at(2);
    match ctx.keys.read(0, |set: Option<&SortedSet>| set?.score(wanted))? {
        Some(score) => ctx.reply.double(score.get()),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

/// ZMSCORE
pub fn zmscore(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let (wanted, reply) = (ctx.args.rest(), &mut ctx.reply);
    ctx.keys.read(0, |set: Option<&SortedSet>| {
        reply.array(wanted.len());
        for one in wanted {
            match set.and_then(|set| set.score(one)) {
                Some(score) => reply.double(score.get()),
                None => reply.null(),
            }
        }
    })?;
    Ok(Outcome::Done)
}

/// ZRANK
pub fn zrank(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    rank(ctx, false)
}

/// ZREVRANK
pub fn zrevrank(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    rank(ctx, true)
}

fn rank(ctx: &mut Ctx<'_, '_>, reverse: bool) -> Result<Outcome, Error> {
    if ctx.args.count() > 4 {
        return Err(ctx.arity_error());
    }
    ctx.args.seek(3);
    let with_score = ctx.args.token("WITHSCORE");
    ctx.args.end()?;
    let wanted = ctx.args.at(2);
    let found = ctx.keys.read(0, |set: Option<&SortedSet>| {
        let set = set?;
        let (rank, score) = set.rank(wanted)?;
        Some((if reverse { set.len() - 1 - rank } else { rank }, score))
    })?;
    match found {
        Some((rank, score)) if with_score => {
            ctx.reply.array(2);
            ctx.reply.int(size(rank));
            ctx.reply.double(score.get());
        }
        Some((rank, _)) => ctx.reply.int(size(rank)),
        None if with_score => ctx.reply.null_array(),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

/// ZRANDMEMBER
pub fn zrandmember(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let mut random = Random::new(ctx.local.rng.u64(..));
    ctx.args.seek(2);
    if ctx.args.left() == 0 {
        let reply = &mut ctx.reply;
        ctx.keys.read(0, |set: Option<&SortedSet>| match set.and_then(|set| set.random(&mut random)) {
            Some((one, _)) => member(reply, one),
            None => reply.null(),
        })?;
        return Ok(Outcome::Done);
    }
    let picks = Picks::parse(ctx.args.next()?)?;
    let with_scores = ctx.args.token("WITHSCORES");
    ctx.args.end()?;
    if with_scores && picks.size() > i64::MAX as usize / 2 {
        return Err(Error::OutOfRange);
    }
    let picks = picks.check(ctx.may_reply_on())?;
    let form = Form::with_scores(&ctx.reply, with_scores);
    if picks.size() >= MANY
        && let Some(set) = ctx.keys.snapshot(0, |_: &SortedSet| true)
    {
        return Ok(many_random(ctx, set, picks, form, random));
    }
    let reply = &mut ctx.reply;
    ctx.keys.read(0, |set: Option<&SortedSet>| match (set, picks) {
        (None, _) => reply.array(0),
        (Some(set), Picks::Repeated(amount)) => {
            form.begin(reply, amount);
            let picked = (0..amount).map_while(|_| set.random(&mut random));
            picked.for_each(|(one, score)| form.put(reply, one, score.get()));
        }
        (Some(set), Picks::Distinct(amount)) if amount >= set.len() => {
            form.begin(reply, set.len());
            set.iter().for_each(|(one, score)| form.put(reply, one, score.get()));
        }
        (Some(set), Picks::Distinct(amount)) => {
            form.begin(reply, amount);
            distinct(set, amount, &mut random, |one, score| form.put(reply, one, score));
        }
    })?;
    Ok(Outcome::Done)
}

/// The reply of ZRANDMEMBER with many members.
fn many_random(
    ctx: &mut Ctx<'_, '_>,
    set: SortedSet,
    picks: Picks,
    form: Form,
    mut random: Random,
) -> Outcome {
    let len = set.len();
    match picks {
        Picks::Distinct(count) if count >= len => {
            form.begin(&mut ctx.reply, len);
            many(set, 0..len, false, form)
        }
        Picks::Distinct(count) => {
            form.begin(&mut ctx.reply, count);
            let (mut rank, mut choice) = (0, Choice::new(count, len));
            Outcome::More(Rest::of(set, move |set: &SortedSet, reply, until| {
                for (one, score) in set.iter_from(rank) {
                    rank += 1;
                    if choice.takes(&mut random) {
                        form.put(reply, one, score.get());
                        if reply.position() >= until {
                            break;
                        }
                    }
                }
                choice.wanted() > 0
            }))
        }
        Picks::Repeated(mut count) => {
            form.begin(&mut ctx.reply, count);
            Outcome::More(Rest::of(set, move |set: &SortedSet, reply, until| {
                let picked = (0..count).map_while(|_| set.random(&mut random));
                let put = |reply: &mut Reply<'_>, (one, score): (Elem<'_>, Score)| {
                    form.put(reply, one, score.get());
                };
                count -= rest::put(reply, until, picked, put);
                count > 0
            }))
        }
    }
}

/// Visits `amount` different members, fewer than there are.
fn distinct(set: &SortedSet, amount: usize, random: &mut Random, mut visit: impl FnMut(Elem<'_>, f64)) {
    // A walk over all positions is worth it for a good part of them.
    if set.as_listpack().is_some() || amount.saturating_mul(8) > set.len() {
        let mut chosen = choose(set.len(), amount, random).into_iter().peekable();
        for (rank, (one, score)) in set.iter().enumerate() {
            if chosen.next_if_eq(&rank).is_some() {
                visit(one, score.get());
            }
        }
        return;
    }
    let mut seen = std::collections::HashSet::with_capacity(amount);
    while seen.len() < amount {
        let rank = random.below(set.len());
        if seen.insert(rank)
            && let Some((one, score)) = set.get(rank)
        {
            visit(one, score.get());
        }
    }
}

/// ZSCAN. A key that is not there is answered before the options are looked at.
pub fn zscan(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let from = cursor(ctx.args.at(2))?;
    if !ctx.keys.expect_kind(0, crate::values::Kind::ZSet)? {
        ctx.reply.array(2);
        ctx.reply.bulk(b"0");
        ctx.reply.array(0);
        return Ok(Outcome::Done);
    }
    ctx.args.seek(3);
    let options = ScanOptions::parse(ctx, ScanOf::Elements)?;
    let mut found: Vec<(Vec<u8>, f64)> = Vec::new();
    let next = ctx.keys.read(0, |set: Option<&SortedSet>| {
        let mut digits = itoa::Buffer::new();
        set.map_or(0, |set| {
            set.scan(from, options.count, |one, score| {
                let text = one.text(&mut digits);
                if options.pattern.is_none_or(|p| glob::matches(p, text, false)) {
                    found.push((text.to_vec(), score.get()));
                }
            })
        })
    })?;
    ctx.reply.array(2);
    ctx.reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    ctx.reply.array(2 * found.len());
    for (one, score) in &found {
        ctx.reply.bulk(one);
        scanned_score(&mut ctx.reply, *score);
    }
    Ok(Outcome::Done)
}

/// A score as ZSCAN shows it: whole numbers without an exponent.
#[expect(clippy::cast_possible_truncation, clippy::as_conversions, reason = "whole and below 2^62")]
fn scanned_score(reply: &mut Reply<'_>, score: f64) {
    if score.fract() == 0.0 && score.abs() < 2f64.powi(62) {
        reply.bulk_int(score as i64);
    } else {
        reply.bulk(format_double(score).as_bytes());
    }
}
