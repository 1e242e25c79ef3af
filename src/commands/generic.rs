//! Keys of any type: DEL, EXISTS, TYPE, RENAME, COPY, MOVE, OBJECT and their kin.

use crate::commands::args::Args;
use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::error::Error;
use crate::commands::keys::{NewString, Ttl};
use crate::commands::number;
use crate::config::EvictionPolicy;
use crate::effects::Class;
use crate::eviction::access;
use crate::keyspace::{DbId, EntryRef};
use crate::values::{Kind, Value};

/// DEL. Values are freed off the worker if they are large, so there is nothing that UNLINK
/// could do better.
pub fn del(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let mut removed = 0;
    for i in 0..ctx.keys.len() {
        if ctx.keys.remove(i) {
            ctx.fx.changed(i, Class::GENERIC, "del");
            removed += 1;
        }
    }
    ctx.reply.int(removed);
    Ok(Outcome::Done)
}

/// UNLINK
pub fn unlink(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    del(ctx)
}

/// EXISTS
pub fn exists(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.keys.no_touch();
    count_present(ctx)
}

/// TOUCH
pub fn touch(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.keys.force_touch(ctx.local.touch);
    count_present(ctx)
}

fn count_present(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let n = (0..ctx.keys.len()).filter(|i| ctx.keys.exists(*i)).count();
    ctx.reply.int(i64::try_from(n).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// TYPE
pub fn r#type(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.keys.no_touch();
    let name = ctx.keys.kind(0).map_or("none", Kind::name);
    ctx.reply.simple(name);
    Ok(Outcome::Done)
}

/// RENAME
pub fn rename(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    rename_to(ctx, true)?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// RENAMENX
pub fn renamenx(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let renamed = rename_to(ctx, false)?;
    ctx.reply.int(i64::from(renamed));
    Ok(Outcome::Done)
}

fn rename_to(ctx: &mut Ctx<'_, '_>, replace: bool) -> Result<bool, Error> {
    if !ctx.keys.exists(0) {
        return Err(Error::NoSuchKey);
    }
    if ctx.keys.key(0) == ctx.keys.key(1) {
        return Ok(replace);
    }
    if ctx.keys.exists(1) {
        if !replace {
            return Ok(false);
        }
        ctx.keys.remove(1);
        ctx.fx.event(1, Class::GENERIC, "del");
    }
    ctx.keys.rename(0, 1)?;
    ctx.fx.changed(0, Class::GENERIC, "rename_from");
    ctx.fx.changed(1, Class::GENERIC, "rename_to");
    ctx.fx.ready(1);
    Ok(true)
}

fn database(ctx: &Ctx<'_, '_>, n: i64) -> Result<DbId, Error> {
    DbId::try_from(n).ok().filter(|db| *db < ctx.shared.keyspace.databases()).ok_or(Error::DbIndex)
}

/// MOVE. Behind the gate: its second key is in another database.
pub fn r#move(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let key = ctx.args.next()?;
    let to = ctx.args.int().map_err(|_| Error::NotInteger)?;
    let to = database(ctx, to)?;
    if to == ctx.db {
        return Err(Error::SameObject);
    }
    let from = ctx.open(ctx.db, key);
    let target = ctx.open(to, key);
    let moved = ctx.keys.exists(from) && !ctx.keys.exists(target) && ctx.keys.rename(from, target)?;
    if moved {
        ctx.fx.changed(from, Class::GENERIC, "move_from");
        ctx.fx.changed(target, Class::GENERIC, "move_to");
        ctx.fx.ready(target);
    }
    ctx.reply.int(i64::from(moved));
    Ok(Outcome::Done)
}

/// COPY. Behind the gate: its second key may be in another database.
pub fn copy(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let (source, target) = (ctx.args.next()?, ctx.args.next()?);
    let mut db = ctx.db;
    let mut replace = false;
    while ctx.args.left() > 0 {
        if ctx.args.token("REPLACE") {
            replace = true;
        } else if ctx.args.left() >= 2 && ctx.args.token("DB") {
            let n = ctx.args.int()?;
            db = database(ctx, n)?;
        } else {
            return Err(Error::Syntax);
        }
    }
    if db == ctx.db && source == target {
        return Err(Error::SameObject);
    }
    let from = ctx.open(ctx.db, source);
    let to = ctx.open(db, target);
    let copied = ctx.keys.exists(from) && (replace || !ctx.keys.exists(to));
    if copied {
        let existed = ctx.keys.remove(to);
        copy_value(ctx, from, to)?;
        if existed {
            ctx.fx.event(to, Class::GENERIC, "del");
        }
        ctx.fx.changed(to, Class::GENERIC, "copy_to");
        ctx.fx.ready(to);
    }
    ctx.reply.int(i64::from(copied));
    Ok(Outcome::Done)
}

fn copy_value(ctx: &mut Ctx<'_, '_>, from: usize, to: usize) -> Result<(), Error> {
    let deadline = ctx.keys.deadline(from).flatten();
    let ttl = deadline.map_or(Ttl::Clear, Ttl::At);
    let packed = ctx.keys.with_entry(from, |e| e.bytes().map(|b| (b.to_vec(), e.raw_encoding())));
    match packed.flatten() {
        Some((bytes, true)) => ctx.keys.put_string(to, NewString::Raw(&bytes), ttl),
        Some((bytes, false)) => ctx.keys.put_string(to, NewString::Bytes(&bytes), ttl),
        None => match ctx.keys.value(from, |v| v.cloned()) {
            Some(value) => ctx.keys.put_value(to, value, ttl),
            None => Ok(()),
        },
    }
}

/// RANDOMKEY
pub fn randomkey(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    // An expired key is not an answer; where most keys have expired, some may be passed over,
    // but not for ever.
    for _ in 0..RANDOMKEY_TRIES {
        let mut key: Option<Option<Vec<u8>>> = None;
        let now = ctx.now;
        let rnd = ctx.local.rng.u64(..);
        let any = ctx.keyspace().random(ctx.db, rnd, &mut |e| {
            key = Some((!is_expired(&e, now)).then(|| e.key().to_vec()));
        });
        match (any, key) {
            (true, Some(Some(key))) => {
                ctx.reply.bulk(&key);
                return Ok(Outcome::Done);
            }
            (true, _) => {}
            (false, _) => break,
        }
    }
    ctx.reply.null();
    Ok(Outcome::Done)
}

const RANDOMKEY_TRIES: usize = 100;

/// Whether an entry is past its time; scans and samples skip it.
pub fn is_expired(entry: &EntryRef<'_>, now: u64) -> bool {
    entry.deadline().is_some_and(|d| crate::expiry::is_past(d, now))
}

/// OBJECT ENCODING
pub fn object_encoding(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.keys.no_touch();
    match ctx.keys.with_entry(0, |e| encoding(&e)) {
        Some(name) => ctx.reply.bulk(name.as_bytes()),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

/// Longest string that Redis keeps in one allocation with its header.
const EMBSTR_MAX: usize = 44;

/// What OBJECT ENCODING answers for an entry.
pub fn encoding(entry: &EntryRef<'_>) -> &'static str {
    match (entry.bytes(), entry.value()) {
        (Some(bytes), _) => string_encoding(bytes, entry.raw_encoding()),
        (None, Some(Value::Str(_))) | (None, None) => "raw",
        (None, Some(value)) => value.encoding(),
    }
}

fn string_encoding(bytes: &[u8], raw: bool) -> &'static str {
    if raw {
        "raw"
    } else if bytes.len() <= 20 && number::parse_i64(bytes).is_some() {
        "int"
    } else if bytes.len() <= EMBSTR_MAX {
        "embstr"
    } else {
        "raw"
    }
}

/// OBJECT REFCOUNT. Values are never shared here; small integers answer as Redis' shared ones do.
pub fn object_refcount(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.keys.no_touch();
    let shared = |e: EntryRef<'_>| {
        encoding(&e) == "int"
            && e.bytes().and_then(number::parse_i64).is_some_and(|n| (0..SHARED_INTEGERS).contains(&n))
    };
    match ctx.keys.with_entry(0, shared) {
        Some(true) => ctx.reply.int(i64::from(i32::MAX)),
        Some(false) => ctx.reply.int(1),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

const SHARED_INTEGERS: i64 = 10_000;

fn lfu_in_force(ctx: &Ctx<'_, '_>) -> bool {
    matches!(ctx.config.maxmemory_policy, EvictionPolicy::AllkeysLfu | EvictionPolicy::VolatileLfu)
}

/// OBJECT IDLETIME
pub fn object_idletime(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.keys.no_touch();
    let now = ctx.now;
    let Some(bits) = ctx.keys.with_entry(0, |e| e.access()) else {
        ctx.reply.null();
        return Ok(Outcome::Done);
    };
    if lfu_in_force(ctx) {
        return Err(Error::Line(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    ctx.reply.int(i64::try_from(access::idle_seconds(bits, now)).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// OBJECT FREQ
pub fn object_freq(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.keys.no_touch();
    let now = ctx.now;
    let Some(bits) = ctx.keys.with_entry(0, |e| e.access()) else {
        ctx.reply.null();
        return Ok(Outcome::Done);
    };
    if !lfu_in_force(ctx) {
        return Err(Error::Line(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    let decay = ctx.config.lfu_decay_time;
    ctx.reply.int(i64::from(access::frequency(bits, now, decay)));
    Ok(Outcome::Done)
}

/// DBSIZE
pub fn dbsize(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let n = ctx.keyspace().len(ctx.db);
    ctx.reply.int(i64::try_from(n).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// FLUSHDB
pub fn flushdb(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    flush_option(&mut ctx.args)?;
    let db = ctx.db;
    flush(ctx, db);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// FLUSHALL
pub fn flushall(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    flush_option(&mut ctx.args)?;
    for db in 0..ctx.shared.keyspace.databases() {
        flush(ctx, db);
    }
    // Counts as a change even if everything was empty.
    ctx.fx.database(0, 1);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// SYNC and ASYNC are the same here: a database is emptied by exchanging a pointer, and what
/// it held is freed off the workers.
fn flush_option(args: &mut Args<'_>) -> Result<(), Error> {
    if args.left() > 0 && !args.token("ASYNC") && !args.token("SYNC") {
        return Err(Error::Syntax);
    }
    args.end()
}

fn flush(ctx: &mut Ctx<'_, '_>, db: DbId) {
    let dropped = ctx.keyspace().flush(db);
    ctx.keys.database_flushed(db);
    ctx.fx.database(db, dropped as u64);
}

/// SWAPDB
pub fn swapdb(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let first = ctx.args.int().map_err(|_| Error::Line("ERR invalid first DB index"))?;
    let second = ctx.args.int().map_err(|_| Error::Line("ERR invalid second DB index"))?;
    let (a, b) = (database(ctx, first)?, database(ctx, second)?);
    if a != b {
        ctx.keyspace().swap(a, b);
        ctx.shared.identities.swap(a, b);
    }
    ctx.fx.database(a, 1);
    ctx.fx.database(b, 0);
    ctx.reply.ok();
    Ok(Outcome::Done)
}
