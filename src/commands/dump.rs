//! `DUMP` and `RESTORE`; their rows are in `generic`.

use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::{hash, list, object, set, sorted_set};
use crate::config::Config;
use crate::delivery;
use crate::effects::Class;
use crate::error::Error;
use crate::eviction::access;
use crate::eviction::access::Touch;
use crate::keys::{NewString, Ttl};
use crate::keyspace::PACKED_VALUE_MAX;
use crate::rdb::{self, Limits, Restored};
use crate::values::{Blob, Hash, Kind};

const BUSY: Error = Error::Line("BUSYKEY Target key name already exists.");
const BAD_TTL: Error = Error::Line("ERR Invalid TTL value, must be >= 0");
const BAD_IDLE: Error = Error::Line("ERR Invalid IDLETIME value, must be >= 0");
const BAD_FREQUENCY: Error = Error::Line("ERR Invalid FREQ value, must be >= 0 and <= 255");
const BAD_FOOTER: Error = Error::Line("ERR DUMP payload version or checksum are wrong");
const BAD_VALUE: Error = Error::Line("ERR Bad data format");

/// What the settings say about the forms of values.
pub(super) fn limits(config: &Config) -> Limits {
    Limits {
        list: list::limits(config),
        set: set::limits(config),
        hash: hash::limits(config),
        zset: sorted_set::bounds::limits(config),
    }
}

/// The payload of key `i`; `None` if it is not there.
pub(super) fn payload(ctx: &mut Ctx<'_, '_>, i: usize) -> Option<Vec<u8>> {
    if ctx.keys.kind(i) == Some(Kind::Hash) {
        // Fields past their deadline are gone before anybody sees them.
        ctx.keys.read::<Hash, _>(i, |hash| hash.filter(|h| h.shown() > 0).map(|_| ())).ok()??;
    }
    let compress = ctx.config.rdbcompression;
    let written = ctx.keys.with_entry(i, |entry| {
        let held = entry.value();
        Some(rdb::dump(delivery::plain(&entry, held.as_deref())?, compress))
    });
    written.flatten()
}

/// Stores a value that was read, replacing what is there.
pub(super) fn put(ctx: &mut Ctx<'_, '_>, i: usize, value: Restored, ttl: Ttl) -> Result<(), Error> {
    match value {
        Restored::Text(text) if text.len() > PACKED_VALUE_MAX => {
            ctx.keys.put_string(i, NewString::Blob(Blob::from_vec(text)), ttl)
        }
        Restored::Text(text) => ctx.keys.put_string(i, NewString::Bytes(&text), ttl),
        Restored::Value(value) => ctx.keys.put_value(i, value, ttl),
    }
}

/// DUMP
pub fn dump(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    match payload(ctx, 0) {
        Some(bytes) => ctx.reply.bulk_blob(&Blob::from_vec(bytes)),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle: Option<u64>,
    frequency: Option<u8>,
}

impl Options {
    fn parse(ctx: &Ctx<'_, '_>) -> Result<Options, Error> {
        let mut args = ctx.args;
        let mut options = Options::default();
        args.seek(4);
        while args.left() > 0 {
            if args.token("REPLACE") {
                options.replace = true;
            } else if args.token("ABSTTL") {
                options.absolute = true;
            } else if args.left() >= 2 && options.frequency.is_none() && args.token("IDLETIME") {
                options.idle = Some(u64::try_from(args.int()?).map_err(|_| BAD_IDLE)?);
            } else if args.left() >= 2 && options.idle.is_none() && args.token("FREQ") {
                options.frequency = Some(u8::try_from(args.int()?).map_err(|_| BAD_FREQUENCY)?);
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }
}

/// RESTORE, RESTORE-ASKING
pub fn restore(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let options = Options::parse(ctx)?;
    if !options.replace && ctx.keys.exists(0) {
        return Err(BUSY);
    }
    let mut args = ctx.args;
    args.seek(2);
    let ttl = u64::try_from(args.int()?).map_err(|_| BAD_TTL)?;
    let value = read(args.next()?, &limits(ctx.config))?;
    let deadline = match (ttl, options.absolute) {
        (0, _) => None,
        (ttl, true) => Some(ttl),
        (ttl, false) => Some(ttl.saturating_add(ctx.now).min(i64::MAX as u64)),
    };
    if deadline.is_some_and(|at| at <= ctx.now) {
        return expired_already(ctx);
    }
    put(ctx, 0, value, deadline.map_or(Ttl::Clear, Ttl::At))?;
    set_access(ctx, &options);
    ctx.fx.changed(0, Class::GENERIC, "restore");
    ctx.fx.ready(0);
    if let Some(at) = deadline.filter(|_| !options.absolute) {
        propagate(ctx, at);
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

fn read(payload: &[u8], limits: &Limits) -> Result<Restored, Error> {
    rdb::restore(payload, limits).map_err(|error| match error {
        rdb::Error::Footer => BAD_FOOTER,
        rdb::Error::Value { .. } => {
            tracing::warn!("RESTORE: {error}");
            BAD_VALUE
        }
    })
}

/// What would be gone at once is not stored, but what it replaces goes.
fn expired_already(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if ctx.keys.remove(0) {
        ctx.fx.changed(0, Class::GENERIC, "del");
        let key = ctx.keys.key(0).to_vec();
        ctx.fx.instead(&[b"DEL", &key]);
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

fn set_access(ctx: &mut Ctx<'_, '_>, options: &Options) {
    let bits = match (options.idle, options.frequency) {
        // Neither means anything to it.
        _ if matches!(ctx.local.touch, Touch::Arc { .. }) => return,
        (Some(idle), _) if !object::lfu_in_force(ctx) => access::with_idle(idle, ctx.now),
        (_, Some(frequency)) if object::lfu_in_force(ctx) => access::with_frequency(frequency, ctx.now),
        _ => return,
    };
    ctx.keys.set_access(0, bits);
}

/// The same with the deadline as a time.
fn propagate(ctx: &mut Ctx<'_, '_>, deadline: u64) {
    let mut buffer = itoa::Buffer::new();
    let mut argv: Vec<&[u8]> = ctx.args.source().iter().collect();
    argv[2] = buffer.format(deadline).as_bytes();
    argv.push(b"ABSTTL");
    ctx.fx.instead(&argv);
}
