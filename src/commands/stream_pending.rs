//! What consumers were given and have not acknowledged: XPENDING, XCLAIM, XAUTOCLAIM.

use smallvec::SmallVec;

use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::number;
use crate::commands::stream_args::{edit, id, id_text, interval, parse, read, reply_entry, reply_id, start};
use crate::commands::stream_group::{edit_group, known, no_key_or_group, propagate_claim, see_consumer};
use crate::error::Error;
use crate::values::Stream;
use crate::values::stream::{Pending, StreamId};

const ATTEMPTS_PER_ENTRY: usize = 10;

/// XPENDING
pub fn xpending(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let mut args = ctx.args;
    if args.count() == 3 {
        return pending_summary(ctx);
    }
    if args.count() < 6 || args.count() > 9 {
        return Err(Error::Syntax);
    }
    args.seek(3);
    let mut min_idle = 0;
    if args.token("IDLE") {
        min_idle = u64::try_from(args.int()?).unwrap_or(0);
        if args.count() < 8 {
            return Err(Error::Syntax);
        }
    }
    let at = args.position();
    let count = number::parse_i64(args.at(at + 2)).ok_or(Error::NotInteger)?;
    let count = usize::try_from(count).unwrap_or(0);
    let (from, to) = interval(args.at(at), args.at(at + 1))?;
    let consumer = (at + 3 < args.count()).then(|| args.at(at + 3));
    let (reply, now) = (&mut ctx.reply, ctx.now);
    let found = read(&mut ctx.keys, 0, |s| {
        let group = s?.group(args.at(2))?;
        let mark = reply.defer_array();
        let owner = consumer.map(|name| group.consumer_number(name));
        let names = group.consumer_names();
        let chosen = group
            .pending(from, to)
            .filter(|(_, p)| owner.is_none_or(|owner| owner == Some(p.owner())))
            .filter(|(_, p)| min_idle == 0 || now.saturating_sub(p.delivered_ms) >= min_idle)
            .take(count);
        let mut n = 0;
        for (id, p) in chosen {
            reply.array(4);
            reply_id(reply, id);
            reply.bulk(names.get(&p.owner()).copied().unwrap_or_default());
            reply.int(now.saturating_sub(p.delivered_ms) as i64);
            reply.int(p.deliveries as i64);
            n += 1;
        }
        reply.finish(mark, n);
        Some(())
    })?;
    found.map(|()| Outcome::Done).ok_or_else(|| no_key_or_group(args.at(1), args.at(2)))
}

fn pending_summary(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let args = ctx.args;
    let reply = &mut ctx.reply;
    let found = read(&mut ctx.keys, 0, |s| {
        let group = s?.group(args.at(2))?;
        reply.array(4);
        reply.int(group.pending_len() as i64);
        let Some((first, last)) = group.pending_bounds() else {
            reply.null();
            reply.null();
            reply.null_array();
            return Some(());
        };
        reply_id(reply, first);
        reply_id(reply, last);
        let mark = reply.defer_array();
        let mut n = 0;
        for (name, consumer) in group.consumers().filter(|(_, c)| c.pending_len() > 0) {
            reply.array(2);
            reply.bulk(name);
            reply.bulk_int(consumer.pending_len() as i64);
            n += 1;
        }
        reply.finish(mark, n);
        Some(())
    })?;
    found.map(|()| Outcome::Done).ok_or_else(|| no_key_or_group(args.at(1), args.at(2)))
}

/// Options of XCLAIM.
struct Claim {
    min_idle: u64,
    ids: SmallVec<[StreamId; 8]>,
    delivered_ms: u64,
    retries: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
}

fn claim_options(ctx: &Ctx<'_, '_>) -> Result<Claim, Error> {
    let (mut args, now) = (ctx.args, ctx.now);
    let int = |text: &[u8], error: &'static str| number::parse_i64(text).ok_or(Error::Line(error));
    let min_idle = int(args.at(4), "ERR Invalid min-idle-time argument for XCLAIM")?;
    args.seek(5);
    let ids: SmallVec<[StreamId; 8]> = args.rest().map_while(|text| parse(text, 0)).collect();
    args.seek(5 + ids.len());
    let mut out = Claim {
        min_idle: u64::try_from(min_idle).unwrap_or(0),
        ids,
        delivered_ms: now,
        retries: None,
        force: false,
        just_id: false,
        last_id: StreamId::MIN,
    };
    while args.left() > 0 {
        let more = args.left() > 1;
        if args.token("FORCE") {
            out.force = true;
        } else if args.token("JUSTID") {
            out.just_id = true;
        } else if more && args.token("IDLE") {
            let idle = int(args.next()?, "ERR Invalid IDLE option argument for XCLAIM")?;
            out.delivered_ms = u64::try_from(idle).ok().and_then(|idle| now.checked_sub(idle)).unwrap_or(now);
        } else if more && args.token("TIME") {
            let time = int(args.next()?, "ERR Invalid TIME option argument for XCLAIM")?;
            out.delivered_ms = u64::try_from(time).unwrap_or(now).min(now);
        } else if more && args.token("RETRYCOUNT") {
            let n = int(args.next()?, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
            out.retries = u64::try_from(n).ok();
        } else if more && args.token("LASTID") {
            out.last_id = id(args.next()?, 0)?;
        } else {
            let text = args.next()?;
            return Err(Error::quoting("ERR Unrecognized XCLAIM option '", text, "'"));
        }
    }
    Ok(out)
}

/// What became of an entry that was to be claimed.
enum Claimed {
    /// It is the consumer's now, with this many deliveries.
    Taken(u64),
    /// It is in the stream no more and was forgotten.
    Gone,
    /// It stays as it is.
    Left,
}

/// Takes one entry over.
fn take(s: &mut Stream, group: &[u8], consumer: &[u8], id: StreamId, claim: &Claim, now: u64) -> Claimed {
    let there = s.get(id).is_some();
    let Some(g) = s.group_mut(group) else { return Claimed::Left };
    let pending: Option<Pending> = g.get(id);
    if !there {
        return if g.acknowledge(id) { Claimed::Gone } else { Claimed::Left };
    }
    let before = match pending {
        Some(p) if claim.min_idle > 0 && now.saturating_sub(p.delivered_ms) < claim.min_idle => {
            return Claimed::Left;
        }
        Some(p) => p.deliveries,
        None if claim.force => 1,
        None => return Claimed::Left,
    };
    let deliveries = claim.retries.unwrap_or(before + u64::from(!claim.just_id));
    g.deliver(id, consumer, claim.delivered_ms, deliveries);
    if let Some(consumer) = g.consumer_mut(consumer) {
        consumer.active_ms = Some(now);
    }
    Claimed::Taken(deliveries)
}

/// Takes an entry over, replies and propagates it.
fn claim_one(
    ctx: &mut Ctx<'_, '_>,
    group: &[u8],
    consumer: &[u8],
    id: StreamId,
    claim: &Claim,
) -> Result<Claimed, Error> {
    let (reply, now) = (&mut ctx.reply, ctx.now);
    let done = edit(&mut ctx.keys, 0, |s| {
        let done = take(s, group, consumer, id, claim, now);
        if let Claimed::Taken(_) = done {
            match s.get(id) {
                Some(entry) if !claim.just_id => reply_entry(reply, &entry),
                _ => reply_id(reply, id),
            }
        }
        done
    })?
    .unwrap_or(Claimed::Left);
    match done {
        Claimed::Taken(deliveries) => {
            ctx.fx.silent(1);
            if ctx.shared.stream_has_readers() {
                let key = ctx.keys.key(0).to_vec();
                propagate_claim(ctx, &key, group, consumer, id, claim.delivered_ms, deliveries);
            }
        }
        Claimed::Gone => {
            ctx.fx.silent(1);
            if ctx.shared.stream_has_readers() {
                let key = ctx.keys.key(0).to_vec();
                ctx.fx.instead(&[b"XACK", &key, group, &id_text(id)]);
            }
        }
        Claimed::Left => {}
    }
    Ok(done)
}

/// XCLAIM
pub fn xclaim(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let args = ctx.args;
    let (group, consumer) = (args.at(2), args.at(3));
    if !known(ctx, 0, group)? {
        return Err(no_key_or_group(args.at(1), group));
    }
    let claim = claim_options(ctx)?;
    let moved = edit_group(ctx, 0, group, |g| {
        let moved = claim.last_id > g.last_id;
        g.last_id = g.last_id.max(claim.last_id);
        moved
    })?;
    if moved {
        ctx.fx.silent(1);
    }
    see_consumer(ctx, 0, group, consumer)?;
    let mark = ctx.reply.defer_array();
    let mut n = 0;
    for &id in &claim.ids {
        n += usize::from(matches!(claim_one(ctx, group, consumer, id, &claim)?, Claimed::Taken(_)));
    }
    ctx.reply.finish(mark, n);
    if moved && ctx.shared.stream_has_readers() {
        ctx.fx.instead(&[b"XGROUP", b"SETID", args.at(1), group, &id_text(claim.last_id)]);
    }
    Ok(Outcome::Done)
}

/// XAUTOCLAIM
pub fn xautoclaim(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    const COUNT_MAX: i64 = i64::MAX / 16;
    let mut args = ctx.args;
    let (group, consumer) = (args.at(2), args.at(3));
    let min_idle = number::parse_i64(args.at(4))
        .ok_or(Error::Line("ERR Invalid min-idle-time argument for XAUTOCLAIM"))?;
    let from = start(args.at(5))?;
    args.seek(6);
    let (mut count, mut just_id) = (100, false);
    while args.left() > 0 {
        if args.left() > 1 && args.token("COUNT") {
            let bad = Error::Line("ERR COUNT must be > 0");
            let n = number::parse_i64(args.next()?).filter(|n| (1..=COUNT_MAX).contains(n)).ok_or(bad)?;
            count = usize::try_from(n).unwrap_or(usize::MAX);
        } else if args.token("JUSTID") {
            just_id = true;
        } else {
            return Err(Error::Syntax);
        }
    }
    if !known(ctx, 0, group)? {
        return Err(no_key_or_group(args.at(1), group));
    }
    see_consumer(ctx, 0, group, consumer)?;
    let claim = Claim {
        min_idle: u64::try_from(min_idle).unwrap_or(0),
        ids: SmallVec::new(),
        delivered_ms: ctx.now,
        retries: None,
        force: false,
        just_id,
        last_id: StreamId::MIN,
    };
    // One more than may be looked at: where the next call begins.
    let attempts = count.saturating_mul(ATTEMPTS_PER_ENTRY);
    let ids: Vec<StreamId> = edit_group(ctx, 0, group, |g| {
        g.pending(from, StreamId::MAX).map(|(id, _)| id).take(attempts.saturating_add(1)).collect()
    })?;
    let begin = ctx.reply.position();
    let mut scratch = sweep(ctx, group, consumer, &claim, &ids, attempts, count)?;
    ctx.reply.truncate_to(begin);
    let (claimed, gone, next) = (scratch.0.len(), std::mem::take(&mut scratch.1), scratch.2);
    ctx.reply.array(3);
    reply_id(&mut ctx.reply, next);
    let reply = &mut ctx.reply;
    reply.array(claimed);
    read(&mut ctx.keys, 0, |s| {
        for &id in &scratch.0 {
            match s.and_then(|s| s.get(id)) {
                Some(entry) if !just_id => reply_entry(reply, &entry),
                _ => reply_id(reply, id),
            }
        }
    })?;
    ctx.reply.array(gone.len());
    for id in gone {
        reply_id(&mut ctx.reply, id);
    }
    Ok(Outcome::Done)
}

/// Goes through pending entries: those taken, those gone, and the next one to look at.
fn sweep(
    ctx: &mut Ctx<'_, '_>,
    group: &[u8],
    consumer: &[u8],
    claim: &Claim,
    ids: &[StreamId],
    attempts: usize,
    count: usize,
) -> Result<(Vec<StreamId>, Vec<StreamId>, StreamId), Error> {
    let (mut taken, mut gone) = (Vec::new(), Vec::new());
    for (tried, &id) in ids.iter().enumerate() {
        if tried == attempts || taken.len() + gone.len() == count {
            return Ok((taken, gone, id));
        }
        match claim_one(ctx, group, consumer, id, claim)? {
            Claimed::Taken(_) => taken.push(id),
            Claimed::Gone => gone.push(id),
            Claimed::Left => {}
        }
    }
    Ok((taken, gone, StreamId::MIN))
}
