//! Consumer groups: XACK, XGROUP, XREADGROUP. What they have delivered is in `stream_pending`.

use smallvec::SmallVec;

use crate::blocking::{LIST, OTHER, OnTimeout, STREAM, ZSET};
use crate::commands::call::shown;
use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::stream_args::{edit, id, id_or_end, id_text, read, reply_entry, reply_id};
use crate::commands::stream_entries::{ReadOptions, defer_streams, newest_and_last, read_options};
use crate::effects::Class;
use crate::error::Error;
use crate::keys::Ttl;
use crate::values::stream::{Group, StreamId};
use crate::values::{Stream, Value};

const NO_KEY: Error = Error::Line(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
);

fn no_group_of_key(group: &[u8], key: &[u8]) -> Error {
    Error::quoting_two("NOGROUP No such consumer group '", group, "' for key name '", key, "'")
}

pub(super) fn no_key_or_group(key: &[u8], group: &[u8]) -> Error {
    Error::quoting_two("NOGROUP No such key '", key, "' or consumer group '", group, "'")
}

/// WRONGTYPE, or whether the key and the group are there.
pub(super) fn known(ctx: &mut Ctx<'_, '_>, i: usize, group: &[u8]) -> Result<bool, Error> {
    read(&mut ctx.keys, i, |s| s.is_some_and(|s| s.group(group).is_some()))
}

/// Changes a group that [`known`] has found.
pub(super) fn edit_group<R>(
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
pub(super) fn see_consumer(
    ctx: &mut Ctx<'_, '_>,
    i: usize,
    group: &[u8],
    consumer: &[u8],
) -> Result<(), Error> {
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
    let wanted = wanted(ctx, &options, group)?;
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
    let head = (served > 0).then(|| defer_streams(ctx, served));
    let mut replied = 0;
    for (i, (after, served)) in wanted.into_iter().enumerate() {
        see_consumer(ctx, i, group, consumer)?;
        // A stream that is named twice may have given all that is new at its first place.
        if !served || after.is_none() && has_news(ctx, i, group)? != Some(true) {
            continue;
        }
        replied += 1;
        if !ctx.reply.is_resp3() {
            ctx.reply.array(2);
        }
        ctx.reply.bulk(args.at(options.first + i));
        match after {
            Some(after) => history(ctx, i, group, consumer, after, options.count)?,
            None => news(ctx, i, group, consumer, options.count, options.noack)?,
        }
    }
    match head {
        Some(head) => ctx.reply.finish(head, replied),
        None => ctx.reply.null_array(),
    }
    Ok(Outcome::Done)
}

/// For each stream of XREADGROUP the id behind which its history is wanted, or none for what is new; and whether
/// there is something to reply.
type Wanted = SmallVec<[(Option<StreamId>, bool); 4]>;

fn wanted(ctx: &mut Ctx<'_, '_>, options: &ReadOptions<'_>, group: &[u8]) -> Result<Wanted, Error> {
    let args = ctx.args;
    let mut wanted = Wanted::new();
    for i in 0..options.streams {
        let Some(news) = has_news(ctx, i, group)? else {
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
    Ok(wanted)
}

/// Whether a stream has entries that its group has not seen; none without the stream or the group.
fn has_news(ctx: &mut Ctx<'_, '_>, i: usize, group: &[u8]) -> Result<Option<bool>, Error> {
    read(&mut ctx.keys, i, |s| {
        s.and_then(|s| s.group(group).map(|g| newest_and_last(s).0.is_some_and(|n| n > g.last_id)))
    })
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
pub(super) fn propagate_claim(
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
