//! Consumer groups: XACK, XGROUP, XREADGROUP, XPENDING, XCLAIM, XAUTOCLAIM.

use smallvec::SmallVec;

use crate::blocking::{LIST, OTHER, OnTimeout, STREAM, ZSET};
use crate::commands::call::shown;
use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::number;
use crate::commands::stream_args::{
    edit, id, id_or_end, id_text, interval, parse, read, reply_entry, reply_id, start,
};
use crate::commands::stream_entries::{newest_and_last, read_options, reply_streams};
use crate::effects::Class;
use crate::error::Error;
use crate::keys::Ttl;
use crate::values::stream::{Group, Pending, StreamId};
use crate::values::{Stream, Value};

const ATTEMPTS_PER_ENTRY: usize = 10;
const NO_KEY: Error = Error::Line(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
);

fn no_group_of_key(group: &[u8], key: &[u8]) -> Error {
    Error::quoting_two("NOGROUP No such consumer group '", group, "' for key name '", key, "'")
}

fn no_key_or_group(key: &[u8], group: &[u8]) -> Error {
    Error::quoting_two("NOGROUP No such key '", key, "' or consumer group '", group, "'")
}

/// WRONGTYPE, or whether the key and the group are there.
fn known(ctx: &mut Ctx<'_, '_>, i: usize, group: &[u8]) -> Result<bool, Error> {
    read(&mut ctx.keys, i, |s| s.is_some_and(|s| s.group(group).is_some()))
}

/// Changes a group that [`known`] has found.
fn edit_group<R>(
    ctx: &mut Ctx<'_, '_>,
    i: usize,
    name: &[u8],
    f: impl FnOnce(&mut Group) -> R,
) -> Result<R, Error> {
    edit(&mut ctx.keys, i, |s| s.group_mut(name).map(f))?.flatten().ok_or(Error::NoSuchKey)
}

/// `ENTRIESREAD` as a counter; -1 is unknown.
fn entries_read(n: i64) -> Result<Option<u64>, Error> {
    match n {
        -1 => Ok(None),
        n => u64::try_from(n)
            .map(Some)
            .map_err(|_| Error::Line("ERR value for ENTRIESREAD must be positive or -1")),
    }
}

/// The options of XGROUP CREATE and SETID: whether to make the stream, entries read.
fn group_options(ctx: &Ctx<'_, '_>, create: bool) -> Result<(bool, Option<u64>), Error> {
    let mut args = ctx.args;
    let (mut make, mut read) = (false, None);
    args.seek(5);
    while args.left() > 0 {
        if create && args.token("MKSTREAM") {
            make = true;
        } else if args.left() >= 2 && args.token("ENTRIESREAD") {
            read = entries_read(args.int()?)?;
        } else {
            let before = "ERR unknown subcommand or wrong number of arguments for '";
            return Err(Error::quoting(before, shown(args.at(1)), "'. Try XGROUP HELP."));
        }
    }
    Ok((make, read))
}

/// XGROUP CREATE
pub fn create(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let args = ctx.args;
    let (make, entries_read) = group_options(ctx, true)?;
    let last = read(&mut ctx.keys, 0, |s| s.map(|s| s.counters().last_id))?;
    if last.is_none() && !make {
        return Err(NO_KEY);
    }
    let from = match args.at(4) {
        b"$" => last.unwrap_or_default(),
        text => id(text, 0)?,
    };
    let group = Group::new(from, entries_read);
    if last.is_none() {
        let mut stream = Stream::new();
        stream.create_group(args.at(3), group);
        ctx.keys.put_value(0, Value::Stream(Box::new(stream)), Ttl::Clear)?;
    } else if edit(&mut ctx.keys, 0, |s| s.create_group(args.at(3), group))? != Some(true) {
        return Err(Error::Line("BUSYGROUP Consumer Group name already exists"));
    }
    ctx.fx.changed(0, Class::STREAM, "xgroup-create");
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// The checks that the other subcommands share.
fn expect_group(ctx: &mut Ctx<'_, '_>) -> Result<(), Error> {
    let args = ctx.args;
    match read(&mut ctx.keys, 0, |s| s.map(|s| s.group(args.at(3)).is_some()))? {
        None => Err(NO_KEY),
        Some(false) => Err(no_group_of_key(args.at(3), args.at(2))),
        Some(true) => Ok(()),
    }
}

/// XGROUP SETID
pub fn setid(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let args = ctx.args;
    let (_, entries_read) = group_options(ctx, false)?;
    expect_group(ctx)?;
    let last = read(&mut ctx.keys, 0, |s| s.map(|s| s.counters().last_id))?.unwrap_or_default();
    let new = match args.at(4) {
        b"$" => last,
        text => id_or_end(text, 0)?,
    };
    edit_group(ctx, 0, args.at(3), |g| {
        g.last_id = new;
        g.entries_read = entries_read;
    })?;
    ctx.fx.changed(0, Class::STREAM, "xgroup-setid");
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// XGROUP DESTROY
pub fn destroy(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let args = ctx.args;
    let removed = edit(&mut ctx.keys, 0, |s| s.remove_group(args.at(3)).is_some())?.ok_or(NO_KEY)?;
    if removed {
        ctx.fx.changed(0, Class::STREAM, "xgroup-destroy");
        ctx.fx.ready(0);
    }
    ctx.reply.int(i64::from(removed));
    Ok(Outcome::Done)
}

/// XGROUP CREATECONSUMER
pub fn createconsumer(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let (args, now) = (ctx.args, ctx.now);
    expect_group(ctx)?;
    let created = edit_group(ctx, 0, args.at(3), |g| g.create_consumer(args.at(4), now))?;
    if created {
        ctx.fx.changed(0, Class::STREAM, "xgroup-createconsumer");
    }
    ctx.reply.int(i64::from(created));
    Ok(Outcome::Done)
}

/// XGROUP DELCONSUMER
pub fn delconsumer(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let args = ctx.args;
    expect_group(ctx)?;
    let pending = edit_group(ctx, 0, args.at(3), |g| g.remove_consumer(args.at(4)))?;
    if pending.is_some() {
        ctx.fx.changed(0, Class::STREAM, "xgroup-delconsumer");
    }
    ctx.reply.int(pending.unwrap_or(0) as i64);
    Ok(Outcome::Done)
}

/// XACK
pub fn xack(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let args = ctx.args;
    let mut acknowledged = 0;
    if known(ctx, 0, args.at(2))? {
        let ids = (3..args.count()).map(|i| id(args.at(i), 0)).collect::<Result<SmallVec<[_; 8]>, _>>()?;
        acknowledged =
            edit_group(ctx, 0, args.at(2), |g| ids.iter().filter(|&&id| g.acknowledge(id)).count())?;
        ctx.fx.silent(acknowledged as u64);
    }
    ctx.reply.int(acknowledged as i64);
    Ok(Outcome::Done)
}

/// The consumer, made if needed and noted as seen.
fn see_consumer(ctx: &mut Ctx<'_, '_>, i: usize, group: &[u8], consumer: &[u8]) -> Result<(), Error> {
    let now = ctx.now;
    let created = edit_group(ctx, i, group, |g| {
        let created = g.create_consumer(consumer, now);
        if let Some(consumer) = g.consumer_mut(consumer) {
            consumer.seen_ms = now;
        }
        created
    })?;
    if created {
        ctx.fx.changed(i, Class::STREAM, "xgroup-createconsumer");
    }
    Ok(())
}

/// XREADGROUP
pub fn xreadgroup(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let args = ctx.args;
    let options = read_options(ctx, true)?;
    let Some((group, consumer)) = options.group else { return Err(Error::Syntax) };
    // For each stream the history from an id on, or what is new, if there is any.
    let mut wanted: SmallVec<[(Option<StreamId>, bool); 4]> = SmallVec::new();
    for i in 0..options.streams {
        let state = read(&mut ctx.keys, i, |s| {
            s.and_then(|s| s.group(group).map(|g| newest_and_last(s).0.is_some_and(|n| n > g.last_id)))
        })?;
        let Some(news) = state else {
            let key = args.at(options.first + i);
            let after = "' in XREADGROUP with GROUP option";
            return Err(Error::quoting_two(
                "NOGROUP No such key '",
                key,
                "' or consumer group '",
                group,
                after,
            ));
        };
        wanted.push(match args.at(options.first + options.streams + i) {
            b"$" => {
                return Err(Error::Line(
                    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
                ));
            }
            b">" => (None, news),
            text => match id(text, 0)? {
                // The highest id is how Redis keeps `>`.
                StreamId::MAX => (None, news),
                after => (Some(after), true),
            },
        });
    }
    let served = wanted.iter().filter(|(_, served)| *served).count();
    // Consumers that came earlier get the new entries first.
    let behind = options.block.is_some()
        && (0..wanted.len()).any(|i| matches!(wanted[i], (None, true)) && ctx.is_contested(i));
    if let Some(ms) = options.block.filter(|_| served == 0 || behind) {
        for i in 0..wanted.len() {
            see_consumer(ctx, i, group, consumer)?;
        }
        return Ok(if behind {
            ctx.wait_behind(STREAM | OTHER | LIST | ZSET, ms, OnTimeout::NullArray)
        } else {
            ctx.wait(STREAM | OTHER | LIST | ZSET, ms, OnTimeout::NullArray)
        });
    }
    if served > 0 {
        reply_streams(ctx, served);
    }
    for (i, (after, served)) in wanted.into_iter().enumerate() {
        see_consumer(ctx, i, group, consumer)?;
        if !served {
            continue;
        }
        if !ctx.reply.is_resp3() {
            ctx.reply.array(2);
        }
        ctx.reply.bulk(args.at(options.first + i));
        match after {
            Some(after) => history(ctx, i, group, consumer, after, options.count)?,
            None => news(ctx, i, group, consumer, options.count, options.noack)?,
        }
    }
    if served == 0 {
        ctx.reply.null_array();
    }
    Ok(Outcome::Done)
}

/// The pending entries of a consumer behind an id.
fn history(
    ctx: &mut Ctx<'_, '_>,
    i: usize,
    group: &[u8],
    consumer: &[u8],
    after: StreamId,
    count: usize,
) -> Result<(), Error> {
    let (reply, now) = (&mut ctx.reply, ctx.now);
    edit(&mut ctx.keys, i, |s| {
        let ids: Vec<StreamId> = after
            .next()
            .and_then(|from| {
                Some(s.group(group)?.consumer(consumer)?.pending_from(from).take(count).collect())
            })
            .unwrap_or_default();
        reply.array(ids.len());
        for id in ids {
            let found = s.get(id).map(|entry| reply_entry(reply, &entry)).is_some();
            if !found {
                reply.array(2);
                reply_id(reply, id);
                reply.null_array();
            } else if let Some(g) = s.group_mut(group)
                && let Some(pending) = g.get(id)
            {
                g.deliver(id, consumer, now, pending.deliveries + 1);
            }
        }
    })?;
    Ok(())
}

/// New entries of a stream, which become pending.
fn news(
    ctx: &mut Ctx<'_, '_>,
    i: usize,
    group: &[u8],
    consumer: &[u8],
    count: usize,
    noack: bool,
) -> Result<(), Error> {
    let (reply, now) = (&mut ctx.reply, ctx.now);
    let mut delivered: Vec<StreamId> = Vec::new();
    let state = edit(&mut ctx.keys, i, |s| {
        let from = s.group(group).and_then(|g| g.last_id.next());
        let mark = reply.defer_array();
        for entry in from.into_iter().flat_map(|from| s.range(from, StreamId::MAX)).take(count) {
            reply_entry(reply, &entry);
            delivered.push(entry.id);
        }
        reply.finish(mark, delivered.len());
        for &id in &delivered {
            s.advance(group, id);
        }
        let g = s.group_mut(group)?;
        if !noack {
            for &id in &delivered {
                g.deliver(id, consumer, now, 1);
            }
        }
        if !delivered.is_empty()
            && let Some(consumer) = g.consumer_mut(consumer)
        {
            consumer.active_ms = Some(now);
        }
        Some((g.last_id, g.entries_read))
    })?
    .flatten();
    ctx.fx.silent(delivered.len() as u64);
    if let Some((last_id, entries_read)) = state
        && ctx.shared.stream_has_readers()
    {
        let key = ctx.keys.key(i).to_vec();
        if !noack {
            for id in delivered {
                propagate_claim(ctx, &key, group, consumer, id, now, 1);
            }
        }
        let read = entries_read.map_or_else(|| "-1".to_owned(), |n| n.to_string());
        let argv =
            [b"XGROUP", &b"SETID"[..], &key, group, &id_text(last_id), b"ENTRIESREAD", read.as_bytes()];
        ctx.fx.instead(&argv);
    }
    Ok(())
}

/// Propagates that an entry is pending for a consumer.
fn propagate_claim(
    ctx: &mut Ctx<'_, '_>,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
    id: StreamId,
    delivered_ms: u64,
    deliveries: u64,
) {
    let (time, retries) = (delivered_ms.to_string(), deliveries.to_string());
    let id = id_text(id);
    let argv: [&[u8]; 12] = [
        b"XCLAIM",
        key,
        group,
        consumer,
        b"0",
        &id,
        b"TIME",
        time.as_bytes(),
        b"RETRYCOUNT",
        retries.as_bytes(),
        b"FORCE",
        b"JUSTID",
    ];
    ctx.fx.instead(&argv);
}

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
