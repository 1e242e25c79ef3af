//! SET and its kin, for one key and for many: SETNX, SETEX, PSETEX, MSET, MSETNX, MSETEX.

use crate::commands::args::Args;
use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::string::reply_text;
use crate::commands::ttl::{self, TtlOption};
use crate::effects::Class;
use crate::error::Error;
use crate::keys::{NewString, Ttl};

/// The argument at `i` as a value: by reference if it has an allocation of its own.
pub(super) fn value_at<'k>(args: &Args<'k>, i: usize) -> NewString<'k> {
    match args.blob_at(i) {
        Some(blob) if blob.len() > crate::keyspace::PACKED_VALUE_MAX => NewString::Blob(blob.clone()),
        _ => NewString::Bytes(args.at(i)),
    }
}

/// When SET writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When<'k> {
    Always,
    Absent,
    Present,
    Equals(&'k [u8]),
}

impl<'k> When<'k> {
    /// Takes NX, XX or IFEQ from the arguments, if it is next.
    fn option(ctx: &mut Ctx<'_, 'k>) -> Result<Option<When<'k>>, Error> {
        Ok(if ctx.args.token("NX") {
            Some(When::Absent)
        } else if ctx.args.token("XX") {
            Some(When::Present)
        } else if ctx.args.token("IFEQ") {
            Some(When::Equals(ctx.args.next()?))
        } else {
            None
        })
    }

    /// NX NX is NX; two different conditions are a syntax error.
    fn put(self, place: &mut When<'k>) -> Result<(), Error> {
        if *place != When::Always && *place != self {
            return Err(Error::Syntax);
        }
        *place = self;
        Ok(())
    }
}

struct SetOptions<'k> {
    when: When<'k>,
    get: bool,
    ttl: Option<TtlOption<'k>>,
}

impl<'k> SetOptions<'k> {
    fn parse(ctx: &mut Ctx<'_, 'k>) -> Result<SetOptions<'k>, Error> {
        let mut options = SetOptions { when: When::Always, get: false, ttl: None };
        while ctx.args.left() > 0 {
            if let Some(when) = When::option(ctx)? {
                when.put(&mut options.when)?;
            } else if ctx.args.token("GET") {
                options.get = true;
            } else if let Some(ttl) = ttl::option(&mut ctx.args, true)? {
                ttl.put(&mut options.ttl)?;
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }
}

/// SET
pub fn set(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if ctx.args.count() == 3 {
        // The plain form, which is nearly every SET there is.
        ctx.keys.put_string(0, value_at(&ctx.args, 2), Ttl::Clear)?;
        ctx.fx.changed(0, Class::STRING, "set");
        ctx.reply.ok();
        return Ok(Outcome::Done);
    }
    ctx.args.seek(3);
    let options = SetOptions::parse(ctx)?;
    let ttl = options.ttl.unwrap_or(TtlOption::Clear).resolve(ctx.now, "set")?;
    let present = ctx.keys.exists(0);
    let write = match options.when {
        When::Always => true,
        When::Absent => !present,
        When::Present => present,
        When::Equals(wanted) => {
            if present {
                ctx.keys.string(0, |v| v.is_some_and(|v| *v == *wanted))?
            } else {
                false
            }
        }
    };
    let reply = &mut ctx.reply;
    if options.get {
        // WRONGTYPE here refuses the whole command.
        ctx.keys.string(0, |old| reply_text(reply, old))?;
    }
    if !write {
        if !options.get {
            reply.null();
        }
        return Ok(Outcome::Done);
    }
    store(ctx, 0, 2, ttl)?;
    if !options.get {
        ctx.reply.ok();
    }
    Ok(Outcome::Done)
}

/// Stores argument `at` at key `i` with the effects of SET; a relative deadline goes out as an
/// absolute one.
pub(super) fn store(ctx: &mut Ctx<'_, '_>, i: usize, at: usize, ttl: Ttl) -> Result<(), Error> {
    ctx.keys.put_string(i, value_at(&ctx.args, at), ttl)?;
    ctx.fx.changed(i, Class::STRING, "set");
    if let Ttl::At(deadline) = ttl {
        ctx.fx.event(i, Class::GENERIC, "expire");
        if ctx.shared.stream_has_readers() {
            let key = ctx.keys.key(i).to_vec();
            let ms = deadline.to_string();
            ctx.fx.instead(&[b"SET", &key, ctx.args.at(at), b"PXAT", ms.as_bytes()]);
        }
    }
    Ok(())
}

/// SETNX
pub fn setnx(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let write = !ctx.keys.exists(0);
    if write {
        store(ctx, 0, 2, Ttl::Clear)?;
    }
    ctx.reply.int(i64::from(write));
    Ok(Outcome::Done)
}

/// SETEX
pub fn setex(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    set_for(ctx, 1000, "setex")
}

/// PSETEX
pub fn psetex(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    set_for(ctx, 1, "psetex")
}

fn set_for(ctx: &mut Ctx<'_, '_>, unit_ms: i64, name: &'static str) -> Result<Outcome, Error> {
    let ttl = TtlOption::In { text: ctx.args.at(2), unit_ms }.resolve(ctx.now, name)?;
    store(ctx, 0, 3, ttl)?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// MSET
pub fn mset(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    check_pairs(ctx)?;
    set_pairs(ctx, 1, Ttl::Clear)?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// MSETNX
pub fn msetnx(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    check_pairs(ctx)?;
    let any = (0..ctx.keys.len()).any(|i| ctx.keys.exists(i));
    if !any {
        set_pairs(ctx, 1, Ttl::Clear)?;
    }
    ctx.reply.int(i64::from(!any));
    Ok(Outcome::Done)
}

fn check_pairs(ctx: &Ctx<'_, '_>) -> Result<(), Error> {
    if ctx.args.count().is_multiple_of(2) { Err(ctx.arity_error()) } else { Ok(()) }
}

/// Stores key/value pairs that begin at argument `first`.
fn set_pairs(ctx: &mut Ctx<'_, '_>, first: usize, ttl: Ttl) -> Result<(), Error> {
    for i in 0..ctx.keys.len() {
        ctx.keys.put_string(i, value_at(&ctx.args, first + 2 * i + 1), ttl)?;
        ctx.fx.changed(i, Class::STRING, "set");
        if let Ttl::At(_) = ttl {
            ctx.fx.event(i, Class::GENERIC, "expire");
        }
    }
    Ok(())
}

/// MSETEX (Valkey 9.1): numkeys key value … [NX | XX] [EX … | KEEPTTL]
pub fn msetex(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let count = ctx.args.int_in(1..=i64::from(i32::MAX), Error::Line("ERR invalid numkeys value"))?;
    let count = usize::try_from(count).map_err(|_| Error::Syntax)?;
    if count > ctx.args.left() / 2 {
        return Err(Error::Line("ERR wrong number of key-value pairs"));
    }
    ctx.args.seek(2 + 2 * count);
    let mut when = When::Always;
    let mut ttl = None;
    while ctx.args.left() > 0 {
        if ctx.args.token("NX") {
            When::Absent.put(&mut when)?;
        } else if ctx.args.token("XX") {
            When::Present.put(&mut when)?;
        } else if let Some(option) = ttl::option(&mut ctx.args, true)? {
            option.put(&mut ttl)?;
        } else {
            return Err(Error::Syntax);
        }
    }
    let ttl = ttl.unwrap_or(TtlOption::Clear).resolve(ctx.now, "msetex")?;
    let present = (0..ctx.keys.len()).filter(|i| ctx.keys.exists(*i)).count();
    let write = match when {
        When::Absent => present == 0,
        When::Present => present == ctx.keys.len(),
        _ => true,
    };
    if write {
        set_pairs(ctx, 2, ttl)?;
    }
    ctx.reply.int(i64::from(write));
    Ok(Outcome::Done)
}
