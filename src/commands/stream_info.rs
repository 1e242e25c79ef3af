//! `XINFO`: facts about streams, groups and consumers.

use crate::commands::call;
use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::stream_args::{read, reply_entries, reply_entry, reply_id};
use crate::error::Error;
use crate::protocol::reply::Reply;
use crate::values::Stream;
use crate::values::stream::{Consumer, Group, StreamId};

/// Entries that FULL shows if it is not told.
const FULL_COUNT: usize = 10;

fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn size(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn int(reply: &mut Reply<'_>, name: &str, n: i64) {
    reply.bulk(name.as_bytes());
    reply.int(n);
}

fn int_or_null(reply: &mut Reply<'_>, name: &str, n: Option<i64>) {
    reply.bulk(name.as_bytes());
    match n {
        Some(n) => reply.int(n),
        None => reply.null(),
    }
}

fn id(reply: &mut Reply<'_>, name: &str, id: StreamId) {
    reply.bulk(name.as_bytes());
    reply_id(reply, id);
}

fn bulk(reply: &mut Reply<'_>, name: &str, text: &[u8]) {
    reply.bulk(name.as_bytes());
    reply.bulk(text);
}

/// What FULL asks for: how many entries, or not at all.
fn full_option(ctx: &Ctx<'_, '_>) -> Result<Option<usize>, Error> {
    let mut args = ctx.args;
    args.seek(3);
    let wrong = || {
        let before = "ERR unknown subcommand or wrong number of arguments for '";
        Error::quoting(before, call::shown(ctx.args.at(1)), "'. Try XINFO HELP.")
    };
    match args.left() {
        0 => Ok(None),
        1 if args.token("FULL") => Ok(Some(FULL_COUNT)),
        3 if args.token("FULL") && args.token("COUNT") => {
            let n = args.int()?;
            Ok(Some(match usize::try_from(n) {
                Ok(0) => usize::MAX,
                Ok(n) => n,
                Err(_) => FULL_COUNT,
            }))
        }
        _ => Err(wrong()),
    }
}

/// XINFO STREAM
pub fn stream(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if !read(&mut ctx.keys, 0, |s| s.is_some())? {
        return Err(Error::NoSuchKey);
    }
    let full = full_option(ctx)?;
    let reply = &mut ctx.reply;
    read(&mut ctx.keys, 0, |s| {
        if let Some(s) = s {
            match full {
                None => summary(reply, s),
                Some(count) => everything(reply, s, count),
            }
        }
    })?;
    Ok(Outcome::Done)
}

fn counters(reply: &mut Reply<'_>, s: &Stream) {
    let counters = s.counters();
    let nodes = size(s.node_count());
    int(reply, "length", number(s.len()));
    int(reply, "radix-tree-keys", nodes);
    // The tree here is a B-tree, whose nodes nobody counts: one for each packed node and the
    // root, which is what a radix tree of few keys has.
    int(reply, "radix-tree-nodes", nodes + 1);
    id(reply, "last-generated-id", counters.last_id);
    id(reply, "max-deleted-entry-id", counters.max_deleted_id);
    int(reply, "entries-added", number(counters.entries_added));
    id(reply, "recorded-first-entry-id", s.first_id());
}

fn summary(reply: &mut Reply<'_>, s: &Stream) {
    reply.map(10);
    counters(reply, s);
    int(reply, "groups", size(s.groups().len()));
    let first = s.range(StreamId::MIN, StreamId::MAX).next();
    let last = s.range_rev(StreamId::MIN, StreamId::MAX).next();
    for (name, entry) in [("first-entry", first), ("last-entry", last)] {
        reply.bulk(name.as_bytes());
        match entry {
            Some(entry) => reply_entry(reply, &entry),
            None => reply.null(),
        }
    }
}

fn everything(reply: &mut Reply<'_>, s: &Stream, count: usize) {
    reply.map(9);
    counters(reply, s);
    reply.bulk(b"entries");
    reply_entries(reply, s.range(StreamId::MIN, StreamId::MAX).take(count));
    reply.bulk(b"groups");
    reply.array(s.groups().len());
    for (name, group) in s.groups() {
        full_group(reply, s, name, group, count);
    }
}

fn full_group(reply: &mut Reply<'_>, s: &Stream, name: &[u8], group: &Group, count: usize) {
    reply.map(7);
    bulk(reply, "name", name);
    id(reply, "last-delivered-id", group.last_id);
    int_or_null(reply, "entries-read", group.entries_read.map(number));
    int_or_null(reply, "lag", s.lag(group));
    int(reply, "pel-count", size(group.pending_len()));
    reply.bulk(b"pending");
    reply.array(group.pending_len().min(count));
    let names = group.consumer_names();
    for (id, pending) in group.pending(StreamId::MIN, StreamId::MAX).take(count) {
        reply.array(4);
        reply_id(reply, id);
        reply.bulk(names.get(&pending.owner()).copied().unwrap_or_default());
        reply.int(number(pending.delivered_ms));
        reply.int(number(pending.deliveries));
    }
    reply.bulk(b"consumers");
    reply.array(group.consumers().len());
    for (name, consumer) in group.consumers() {
        full_consumer(reply, name, group, consumer, count);
    }
}

fn full_consumer(reply: &mut Reply<'_>, name: &[u8], group: &Group, consumer: &Consumer, count: usize) {
    reply.map(5);
    bulk(reply, "name", name);
    int(reply, "seen-time", number(consumer.seen_ms));
    int(reply, "active-time", consumer.active_ms.map_or(-1, number));
    int(reply, "pel-count", size(consumer.pending_len()));
    reply.bulk(b"pending");
    reply.array(consumer.pending_len().min(count));
    for id in consumer.pending_from(StreamId::MIN).take(count) {
        let pending = group.get(id);
        reply.array(3);
        reply_id(reply, id);
        reply.int(pending.map_or(0, |p| number(p.delivered_ms)));
        reply.int(pending.map_or(0, |p| number(p.deliveries)));
    }
}

/// XINFO GROUPS
pub fn groups(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let reply = &mut ctx.reply;
    let found = read(&mut ctx.keys, 0, |s| {
        let s = s?;
        reply.array(s.groups().len());
        for (name, group) in s.groups() {
            reply.map(6);
            bulk(reply, "name", name);
            int(reply, "consumers", size(group.consumers().len()));
            int(reply, "pending", size(group.pending_len()));
            id(reply, "last-delivered-id", group.last_id);
            int_or_null(reply, "entries-read", group.entries_read.map(number));
            int_or_null(reply, "lag", s.lag(group));
        }
        Some(())
    })?;
    found.map(|()| Outcome::Done).ok_or(Error::NoSuchKey)
}

/// XINFO CONSUMERS
pub fn consumers(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let (key, name) = (ctx.args.at(2), ctx.args.at(3));
    let now = number(ctx.now);
    let reply = &mut ctx.reply;
    let found = read(&mut ctx.keys, 0, |s| {
        Some(s?.group(name).map(|group| {
            reply.array(group.consumers().len());
            for (name, consumer) in group.consumers() {
                let ago = |ms: u64| now.saturating_sub(number(ms)).max(0);
                reply.map(4);
                bulk(reply, "name", name);
                int(reply, "pending", size(consumer.pending_len()));
                int(reply, "idle", ago(consumer.seen_ms));
                int(reply, "inactive", consumer.active_ms.map_or(-1, ago));
            }
        }))
    })?;
    match found {
        None => Err(Error::NoSuchKey),
        Some(Some(())) => Ok(Outcome::Done),
        Some(None) => {
            Err(Error::quoting_two("NOGROUP No such consumer group '", name, "' for key name '", key, "'"))
        }
    }
}
