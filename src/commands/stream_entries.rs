//! Entries of streams: XADD, XDEL, XLEN, XRANGE, XREAD, XREVRANGE, XSETID, XTRIM.

use smallvec::SmallVec;

use crate::blocking::{OnTimeout, STREAM};
use crate::commands::args::Args;
use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::number;
use crate::commands::rest::MANY;
use crate::commands::stream_args::{
    NewId, edit, id, id_text, interval, new_id, read, reply_entries, reply_id,
};
use crate::commands::stream_pieces::{any_spans_many, many_entries, many_of_many};
use crate::config::Config;
use crate::effects::Class;
use crate::error::Error;
use crate::keys::Ttl;
use crate::protocol::Mark;
use crate::values::stream::{Keep, Limits, StreamId, Trimmed};
use crate::values::{Blob, Stream, Value};

/// Largest entry, with room for the headers of its elements, so that it fits into one node.
const ENTRY_BYTES_MAX: usize = 1 << 30;
const ELEMENT_HEAD_MAX: usize = 12;

/// What XADD and XTRIM are told to remove.
#[derive(Clone, Copy, Debug, Default)]
struct Trim {
    keep: Option<Keep>,
    approximate: bool,
    limit: u64,
}

/// Options of XADD and XTRIM.
struct Options {
    make: bool,
    trim: Trim,
    id: NewId,
    /// Argument behind the id (XADD).
    fields: usize,
}

/// Reads the options; XADD's end with the id.
fn options(args: &Args<'_>, config: &Config, xadd: bool) -> Result<Options, Error> {
    let mut out = Options { make: true, trim: Trim::default(), id: NewId::Auto, fields: args.count() + 1 };
    let mut limit = None;
    let mut i = 2;
    while i < args.count() {
        let word = args.at(i);
        let more = args.count() - 1 - i;
        if xadd && word == b"*" {
            out.fields = i + 1;
            break;
        }
        let by_len = word.eq_ignore_ascii_case(b"MAXLEN");
        if (by_len || word.eq_ignore_ascii_case(b"MINID")) && more >= 1 {
            i = threshold(args, i, by_len, &mut out.trim)?;
        } else if word.eq_ignore_ascii_case(b"LIMIT") && more >= 1 {
            let n = number::parse_i64(args.at(i + 1)).ok_or(Error::NotInteger)?;
            let n = u64::try_from(n).map_err(|_| Error::Line("ERR The LIMIT argument must be >= 0."))?;
            limit = Some(n);
            i += 1;
        } else if xadd && word.eq_ignore_ascii_case(b"NOMKSTREAM") {
            out.make = false;
        } else if xadd {
            out.id = new_id(word)?;
            out.fields = i + 1;
            break;
        } else {
            return Err(Error::Syntax);
        }
        i += 1;
    }
    if limit.is_some_and(|n| n > 0) && out.trim.keep.is_none() {
        return Err(Error::Line(
            "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
        ));
    }
    if !xadd && out.trim.keep.is_none() {
        return Err(Error::Line("ERR syntax error, XTRIM must be called with a trimming strategy"));
    }
    if limit.is_some() && !out.trim.approximate {
        return Err(Error::Line("ERR syntax error, LIMIT cannot be used without the special ~ option"));
    }
    if out.trim.approximate {
        out.trim.limit = limit.unwrap_or_else(|| usual_limit(config));
    }
    Ok(out)
}

/// How many entries an approximate trim removes at most, unless told.
fn usual_limit(config: &Config) -> u64 {
    match config.stream_node_max_entries.saturating_mul(100) {
        0 => 10_000,
        n => n.min(1_000_000),
    }
}

/// MAXLEN or MINID at argument `i`; the index of its last argument.
fn threshold(args: &Args<'_>, mut i: usize, by_len: bool, trim: &mut Trim) -> Result<usize, Error> {
    if trim.keep.is_some() {
        return Err(Error::Line(
            "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
        ));
    }
    trim.approximate = false;
    if args.count() - 1 - i >= 2 && matches!(args.at(i + 1), b"~" | b"=") {
        trim.approximate = args.at(i + 1) == b"~";
        i += 1;
    }
    let value = args.at(i + 1);
    trim.keep = Some(if by_len {
        let n = number::parse_i64(value).ok_or(Error::NotInteger)?;
        let n = u64::try_from(n).map_err(|_| Error::Line("ERR The MAXLEN argument must be >= 0."))?;
        Keep::Newest(n)
    } else {
        Keep::From(id(value, 0)?)
    });
    Ok(i + 1)
}

fn limits(config: &Config) -> Limits {
    Limits {
        node_bytes: usize::try_from(config.stream_node_max_bytes).unwrap_or(usize::MAX),
        node_entries: usize::try_from(config.stream_node_max_entries).unwrap_or(usize::MAX),
    }
}

/// XADD
pub fn xadd(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let args = ctx.args;
    let options = options(&args, ctx.config, true)?;
    let count = args.count().saturating_sub(options.fields);
    if count < 2 || count % 2 == 1 {
        return Err(ctx.arity_error());
    }
    if options.id == NewId::Given(StreamId::MIN) {
        return Err(Error::Line("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let fields: SmallVec<[&[u8]; 16]> = (options.fields..args.count()).map(|i| args.at(i)).collect();
    let counters = read(&mut ctx.keys, 0, |s| s.map(Stream::counters))?;
    if counters.is_none() && !options.make {
        ctx.reply.null();
        return Ok(Outcome::Done);
    }
    let last_id = counters.unwrap_or_default().last_id;
    if last_id == StreamId::MAX {
        return Err(Error::Line(
            "ERR The stream has exhausted the last possible ID, unable to add more items",
        ));
    }
    let bytes = fields.iter().fold(0usize, |sum, f| sum.saturating_add(f.len() + ELEMENT_HEAD_MAX));
    if bytes > ENTRY_BYTES_MAX {
        return Err(Error::Line("ERR Elements are too large to be stored"));
    }
    let limits = limits(ctx.config);
    let (now, trim) = (ctx.now, options.trim);
    let add = |stream: &mut Stream| {
        let id = match options.id {
            NewId::Auto => stream.next_id(now),
            NewId::AutoSeq(ms) => stream.next_id_at(ms),
            NewId::Given(id) => Some(id),
        }
        .filter(|&id| stream.append(id, &fields, &limits))?;
        let gone = trim.keep.map(|keep| stream.trim(keep, trim.approximate, trim.limit));
        Some((id, gone.unwrap_or_default(), stream.len(), stream.first_id()))
    };
    let added = if counters.is_some() {
        edit(&mut ctx.keys, 0, add)?.flatten()
    } else {
        let mut stream = Stream::new();
        let added = add(&mut stream);
        if added.is_some() {
            ctx.keys.put_value(0, Value::Stream(Box::new(stream)), Ttl::Clear)?;
        }
        added
    };
    let (id, gone, len, first) = added.ok_or(Error::Line(
        "ERR The ID specified in XADD is equal or smaller than the target stream top item",
    ))?;
    ctx.fx.changed(0, Class::STREAM, "xadd");
    if bury(ctx, gone) > 0 {
        ctx.fx.event(0, Class::STREAM, "xtrim");
    }
    ctx.fx.ready(0);
    if ctx.shared.stream_has_readers() {
        let id = id_text(id);
        let kept = kept(&trim, len, first);
        let mut argv = vec![&b"XADD"[..], args.at(1)];
        argv.extend(kept.iter().map(|word| &word[..]));
        argv.push(&id);
        argv.extend_from_slice(&fields);
        ctx.fx.instead(&argv);
    }
    reply_id(&mut ctx.reply, id);
    Ok(Outcome::Done)
}

/// How many entries a trim removed. Their memory is freed when nothing is locked.
fn bury(ctx: &mut Ctx<'_, '_>, gone: Trimmed) -> u64 {
    if let Some(rest) = gone.rest {
        ctx.keys.drop_later(Value::Stream(rest));
    }
    gone.removed
}

/// A trim as an exact one with the same result.
fn kept(trim: &Trim, len: u64, first: StreamId) -> Vec<Vec<u8>> {
    match trim.keep {
        None => Vec::new(),
        Some(Keep::Newest(_)) => vec![b"MAXLEN".to_vec(), b"=".to_vec(), len.to_string().into_bytes()],
        Some(Keep::From(id)) => {
            let id = if trim.approximate && len > 0 { first } else { id };
            vec![b"MINID".to_vec(), b"=".to_vec(), id_text(id).to_vec()]
        }
    }
}

/// XTRIM
pub fn xtrim(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let args = ctx.args;
    let trim = options(&args, ctx.config, false)?.trim;
    let Some(keep) = trim.keep else { return Err(Error::Syntax) };
    let done = edit(&mut ctx.keys, 0, |s| {
        let gone = s.trim(keep, trim.approximate, trim.limit);
        (gone, s.len(), s.first_id())
    })?;
    let (gone, len, first) = done.unwrap_or_default();
    let removed = bury(ctx, gone);
    if removed > 0 {
        ctx.fx.changed(0, Class::STREAM, "xtrim");
        ctx.fx.silent(removed - 1);
        if trim.approximate && ctx.shared.stream_has_readers() {
            let kept = kept(&trim, len, first);
            let mut argv = vec![&b"XTRIM"[..], args.at(1)];
            argv.extend(kept.iter().map(|word| &word[..]));
            ctx.fx.instead(&argv);
        }
    }
    ctx.reply.int(removed as i64);
    Ok(Outcome::Done)
}

/// XLEN
pub fn xlen(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let len = read(&mut ctx.keys, 0, |s| s.map_or(0, Stream::len))?;
    ctx.note_miss(0);
    ctx.reply.int(len as i64);
    Ok(Outcome::Done)
}

/// XRANGE
pub fn xrange(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    range(ctx, false)
}

/// XREVRANGE
pub fn xrevrange(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    range(ctx, true)
}

fn range(ctx: &mut Ctx<'_, '_>, reverse: bool) -> Result<Outcome, Error> {
    let mut args = ctx.args;
    let (first, last) = if reverse { (args.at(3), args.at(2)) } else { (args.at(2), args.at(3)) };
    let (from, to) = interval(first, last)?;
    args.seek(4);
    let mut count = None;
    while args.left() > 0 {
        if args.left() < 2 || !args.token("COUNT") {
            return Err(Error::Syntax);
        }
        count = Some(usize::try_from(args.int()?).unwrap_or(0));
    }
    let most = count.unwrap_or(usize::MAX);
    let many = |s: &Stream| most >= MANY && s.spans_many(from, to);
    if let Some(stream) = ctx.keys.snapshot(0, many) {
        return Ok(many_entries(stream, from, to, most, reverse));
    }
    let reply = &mut ctx.reply;
    read(&mut ctx.keys, 0, |s| match (s, count) {
        (None, _) => reply.array(0),
        (Some(_), Some(0)) => reply.null_array(),
        (Some(s), _) => {
            if reverse {
                reply_entries(reply, s.range_rev(from, to).take(most));
            } else {
                reply_entries(reply, s.range(from, to).take(most));
            }
        }
    })?;
    ctx.note_miss(0);
    Ok(Outcome::Done)
}

/// XDEL
pub fn xdel(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let args = ctx.args;
    if !read(&mut ctx.keys, 0, |s| s.is_some())? {
        ctx.reply.int(0);
        return Ok(Outcome::Done);
    }
    let ids = (2..args.count()).map(|i| id(args.at(i), 0)).collect::<Result<SmallVec<[_; 8]>, _>>()?;
    let removed = edit(&mut ctx.keys, 0, |s| ids.iter().filter(|&&id| s.remove(id)).count())?.unwrap_or(0);
    if removed > 0 {
        ctx.fx.changed(0, Class::STREAM, "xdel");
        ctx.fx.silent(removed as u64 - 1);
    }
    ctx.reply.int(removed as i64);
    Ok(Outcome::Done)
}

/// XSETID
pub fn xsetid(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let mut args = ctx.args;
    let new = id(args.at(2), 0)?;
    let (mut added, mut deleted) = (None, StreamId::MIN);
    args.seek(3);
    while args.left() > 0 {
        if args.left() >= 2 && args.token("ENTRIESADDED") {
            let n = u64::try_from(args.int()?);
            added = Some(n.map_err(|_| Error::Line("ERR entries_added must be positive"))?);
        } else if args.left() >= 2 && args.token("MAXDELETEDID") {
            deleted = id(args.next()?, 0)?;
            if new < deleted {
                return Err(Error::Line(
                    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                ));
            }
        } else {
            return Err(Error::Syntax);
        }
    }
    let set = |s: &mut Stream| {
        let mut counters = s.counters();
        if new < counters.max_deleted_id {
            return Err(Error::Line(
                "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
            ));
        }
        let newest = s.range_rev(StreamId::MIN, StreamId::MAX).next().map(|e| e.id);
        if newest.is_some_and(|newest| new < newest) {
            return Err(Error::Line(
                "ERR The ID specified in XSETID is smaller than the target stream top item",
            ));
        }
        if newest.is_some() && added.is_some_and(|n| n < s.len()) {
            return Err(Error::Line(
                "ERR The entries_added specified in XSETID is smaller than the target stream length",
            ));
        }
        counters.last_id = new;
        counters.entries_added = added.unwrap_or(counters.entries_added);
        if deleted != StreamId::MIN {
            counters.max_deleted_id = deleted;
        }
        s.set_counters(counters);
        Ok(())
    };
    edit(&mut ctx.keys, 0, set)?.unwrap_or(Err(Error::NoSuchKey))?;
    ctx.fx.changed(0, Class::STREAM, "xsetid");
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// Options of XREAD and XREADGROUP.
pub(super) struct ReadOptions<'k> {
    /// Most entries of one stream.
    pub count: usize,
    /// Milliseconds to wait if nothing is there; 0 for as long as it takes.
    pub block: Option<u64>,
    /// Group and consumer.
    pub group: Option<(&'k [u8], &'k [u8])>,
    /// NOACK
    pub noack: bool,
    /// Number of streams.
    pub streams: usize,
    /// Argument with the first key.
    pub first: usize,
}

/// Reads the options of XREAD and XREADGROUP up to the streams.
pub(super) fn read_options<'k>(ctx: &Ctx<'_, 'k>, grouped: bool) -> Result<ReadOptions<'k>, Error> {
    let mut args = ctx.args;
    let mut out =
        ReadOptions { count: usize::MAX, block: None, group: None, noack: false, streams: 0, first: 0 };
    while args.left() > 0 {
        let more = args.left() - 1;
        if more >= 1 && args.token("BLOCK") {
            out.block = Some(timeout(args.next()?, ctx.now)?);
        } else if more >= 1 && args.token("COUNT") {
            out.count = match args.int()? {
                n if n <= 0 => usize::MAX,
                n => usize::try_from(n).unwrap_or(usize::MAX),
            };
        } else if more >= 1 && args.token("STREAMS") {
            out.first = args.position();
            out.streams = args.left() / 2;
            if !args.left().is_multiple_of(2) {
                return Err(unbalanced(grouped));
            }
            break;
        } else if more >= 2 && args.token("GROUP") {
            if !grouped {
                return Err(Error::Line(
                    "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
                ));
            }
            out.group = Some((args.next()?, args.next()?));
        } else if args.token("NOACK") {
            if !grouped {
                return Err(Error::Line(
                    "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
                ));
            }
            out.noack = true;
        } else {
            return Err(Error::Syntax);
        }
    }
    if out.first == 0 {
        return Err(Error::Syntax);
    }
    if grouped && out.group.is_none() {
        return Err(Error::Line("ERR Missing GROUP option for XREADGROUP"));
    }
    // The resolver of keys reads the same words; without its keys there is nothing to read.
    if ctx.keys.len() != out.streams {
        return Err(Error::Syntax);
    }
    Ok(out)
}

fn unbalanced(grouped: bool) -> Error {
    let (name, symbol) = if grouped { ("xreadgroup", '>') } else { ("xread", '$') };
    Error::text(format!(
        "ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{symbol}' must be specified."
    ))
}

/// A time-out in milliseconds.
pub(super) fn timeout(text: &[u8], now: u64) -> Result<u64, Error> {
    let ms = number::parse_i64(text).ok_or(Error::Line("ERR timeout is not an integer or out of range"))?;
    let ms = u64::try_from(ms).map_err(|_| Error::Line("ERR timeout is negative"))?;
    match ms.checked_add(now) {
        Some(at) if i64::try_from(at).is_ok() => Ok(ms),
        _ => Err(Error::Line("ERR timeout is out of range")),
    }
}

/// XREAD
pub fn xread(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let args = ctx.args;
    let options = read_options(ctx, false)?;
    // What to read where: nothing, or from this id on.
    let mut wanted: SmallVec<[Option<StreamId>; 4]> = SmallVec::new();
    let mut last_ids: SmallVec<[Option<StreamId>; 4]> = SmallVec::new();
    for i in 0..options.streams {
        let text = args.at(options.first + options.streams + i);
        let newest = read(&mut ctx.keys, i, |s| s.map(newest_and_last))?;
        let after = match text {
            b"$" => newest.map_or(StreamId::MIN, |(_, last)| last),
            b">" => {
                return Err(Error::Line(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
                ));
            }
            _ => id(text, 0)?,
        };
        let has_more = newest.is_some_and(|(newest, _)| newest.is_some_and(|newest| newest > after));
        wanted.push(if has_more { after.next() } else { None });
        last_ids.push((text == b"$").then_some(after));
    }
    let served = wanted.iter().flatten().count();
    if served == 0 {
        return Ok(wait_for_entries(ctx, &options, &last_ids));
    }
    reply_streams(ctx, served);
    if options.count >= MANY && any_spans_many(ctx, &wanted) {
        return Ok(many_of_many(ctx, &options, &wanted));
    }
    for (i, from) in wanted.iter().enumerate() {
        let Some(from) = *from else { continue };
        let reply = &mut ctx.reply;
        if !reply.is_resp3() {
            reply.array(2);
        }
        reply.bulk(args.at(options.first + i));
        read(&mut ctx.keys, i, |s| {
            let entries = s.into_iter().flat_map(|s| s.range(from, StreamId::MAX));
            reply_entries(reply, entries.take(options.count))
        })?;
    }
    Ok(Outcome::Done)
}

/// The id of the last entry that is there, and the last one that ever was.
pub(super) fn newest_and_last(stream: &Stream) -> (Option<StreamId>, StreamId) {
    let newest = stream.range_rev(StreamId::MIN, StreamId::MAX).next().map(|e| e.id);
    (newest, stream.counters().last_id)
}

/// The head of a reply with several streams.
fn reply_streams(ctx: &mut Ctx<'_, '_>, n: usize) {
    if ctx.reply.is_resp3() {
        ctx.reply.map(n);
    } else {
        ctx.reply.array(n);
    }
}

/// The same for about so many streams.
pub(super) fn defer_streams(ctx: &mut Ctx<'_, '_>, expected: usize) -> Mark {
    if ctx.reply.is_resp3() { ctx.reply.defer_map() } else { ctx.reply.defer_array_of(expected) }
}

/// XREAD has found nothing. Where it said `$`, it will be asking for what comes after now.
fn wait_for_entries(
    ctx: &mut Ctx<'_, '_>,
    options: &ReadOptions<'_>,
    last_ids: &[Option<StreamId>],
) -> Outcome {
    let Some(ms) = options.block else {
        ctx.reply.null_array();
        return Outcome::Done;
    };
    let mut outcome = ctx.wait(STREAM, ms, OnTimeout::NullArray);
    if let Outcome::Block(wait) = &mut outcome
        && last_ids.iter().any(Option::is_some)
    {
        let mut argv = ctx.args.source().to_owned();
        let first = options.first + options.streams;
        for (i, id) in last_ids.iter().enumerate() {
            if let Some(id) = id {
                argv[first + i] = Blob::copy_from(&id_text(*id));
            }
        }
        wait.argv = Some(argv);
    }
    outcome
}
