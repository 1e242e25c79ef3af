//! HGETDEL, HGETEX and HSETEX: a read or a write together with what becomes of the fields.
//!
//! As Redis 8 has them. HSETEX takes Valkey's conditions for the key, `NX` and `XX`, besides.

use super::deadline::{BAD_COUNT, Form, fields, is_change, persist_one, set_one, state};
use super::{bulk_or_null, limits, pairs};
use crate::commands::args::Args;
use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::number;
use crate::effects::Class;
use crate::error::Error;
use crate::values::hash::Deadline;
use crate::values::{Hash, Kind};

/// HGETDEL
pub fn hgetdel(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.keys.expect_kind(0, Kind::Hash)?;
    ctx.args.seek(2);
    let fields = fields(&mut ctx.args, BAD_COUNT)?;
    ctx.reply.array(fields.len());
    let reply = &mut ctx.reply;
    let mut removed: Vec<&[u8]> = Vec::new();
    let names = fields.clone();
    let there = ctx.keys.edit(0, |hash: &mut Hash| {
        for name in names {
            bulk_or_null(reply, hash.get(name));
            if hash.remove(name) {
                removed.push(name);
            }
        }
    })?;
    if there.is_none() {
        fields.for_each(|_| ctx.reply.null());
    }
    if removed.is_empty() {
        return Ok(Outcome::Done);
    }
    ctx.changed(0, Class::HASH, "hdel", removed.len());
    if ctx.shared.stream_has_readers() {
        let key = ctx.keys.key(0).to_vec();
        let mut command: Vec<&[u8]> = vec![b"HDEL", &key];
        command.extend(removed);
        ctx.fx.instead(&command);
    }
    Ok(Outcome::Done)
}

/// The times that both commands take.
const TIMES: [(&str, i64, bool); 4] =
    [("EX", 1000, false), ("PX", 1, false), ("EXAT", 1000, true), ("PXAT", 1, true)];

/// What HGETEX does with the fields that it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Nothing,
    Persist,
    Expire(u64),
}

impl Then {
    fn parse(args: &mut Args<'_>, now: u64) -> Result<Then, Error> {
        if args.token("PERSIST") {
            return Ok(Then::Persist);
        }
        for (word, unit_ms, absolute) in TIMES {
            if args.token(word) {
                let form = Form { name: "hgetex", unit_ms, absolute };
                return Ok(Then::Expire(form.deadline(args.next()?, now)?));
            }
        }
        Ok(Then::Nothing)
    }
}

/// HGETEX
pub fn hgetex(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.keys.expect_kind(0, Kind::Hash)?;
    ctx.args.seek(2);
    let now = ctx.now;
    let then = Then::parse(&mut ctx.args, now)?;
    let fields = fields(&mut ctx.args, BAD_COUNT)?;
    ctx.reply.array(fields.len());
    let reply = &mut ctx.reply;
    let names = fields.clone();
    let mut results: Vec<i64> = Vec::new();
    let there = ctx.keys.edit(0, |hash: &mut Hash| {
        for name in names {
            bulk_or_null(reply, hash.get(name));
            match then {
                Then::Nothing => {}
                Then::Persist => results.push(persist_one(hash, name)),
                Then::Expire(at) => results.push(set_one(hash, name, at, now)),
            }
        }
    })?;
    if there.is_none() {
        fields.for_each(|_| ctx.reply.null());
        return Ok(Outcome::Done);
    }
    match then {
        Then::Nothing => {}
        Then::Expire(at) => state(ctx, at, fields, &results),
        Then::Persist => {
            let kept: Vec<&[u8]> =
                fields.zip(&results).filter(|(_, r)| is_change(**r)).map(|(f, _)| f).collect();
            if !kept.is_empty() {
                ctx.changed(0, Class::HASH, "hpersist", kept.len());
                propagate_persist(ctx, &kept);
            }
        }
    }
    Ok(Outcome::Done)
}

fn propagate_persist(ctx: &mut Ctx<'_, '_>, fields: &[&[u8]]) {
    if ctx.shared.stream_has_readers() {
        let (key, count) = (ctx.keys.key(0).to_vec(), fields.len().to_string());
        let mut command: Vec<&[u8]> = vec![b"HPERSIST", &key, b"FIELDS", count.as_bytes()];
        command.extend(fields);
        ctx.fx.instead(&command);
    }
}

/// The options of HSETEX, in any order before FIELDS.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    /// The key must be there, or must not.
    key: Option<bool>,
    /// So must all of the fields, or none.
    fields: Option<bool>,
    keep: bool,
    deadline: Option<u64>,
}

impl Options {
    /// Reads up to and with `FIELDS n`.
    fn parse(ctx: &mut Ctx<'_, '_>) -> Result<Options, Error> {
        let mut options = Options::default();
        let set = |slot: &mut Option<bool>, value: bool, error: &'static str| match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(Error::Line(error)),
        };
        while !ctx.args.token("FIELDS") {
            let one_of_fields = "ERR Only one of FXX or FNX arguments can be specified";
            let one_of_keys = "ERR Only one of XX or NX arguments can be specified";
            if ctx.args.token("FXX") {
                set(&mut options.fields, true, one_of_fields)?;
            } else if ctx.args.token("FNX") {
                set(&mut options.fields, false, one_of_fields)?;
            } else if ctx.args.token("XX") {
                set(&mut options.key, true, one_of_keys)?;
            } else if ctx.args.token("NX") {
                set(&mut options.key, false, one_of_keys)?;
            } else if !options.time(ctx)? {
                return Err(match ctx.args.peek() {
                    Some(word) => Error::quoting("ERR unknown argument: ", word, ""),
                    None => ctx.arity_error(),
                });
            }
        }
        options.count(ctx)?;
        Ok(options)
    }

    /// Takes an option that says what becomes of the deadlines, if it is next.
    fn time(&mut self, ctx: &mut Ctx<'_, '_>) -> Result<bool, Error> {
        let keep = ctx.args.token("KEEPTTL");
        let time = TIMES.into_iter().find(|(word, ..)| !keep && ctx.args.token(word));
        if !keep && time.is_none() {
            return Ok(false);
        }
        if self.keep || self.deadline.is_some() {
            let line = "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified";
            return Err(Error::Line(line));
        }
        self.keep = keep;
        if let Some((_, unit_ms, absolute)) = time {
            let arg = ctx.args.next().map_err(|_| Error::Line("ERR missing expire time"))?;
            self.deadline = Some(Form { name: "hsetex", unit_ms, absolute }.deadline(arg, ctx.now)?);
        }
        Ok(true)
    }

    fn count(&self, ctx: &mut Ctx<'_, '_>) -> Result<(), Error> {
        if ctx.args.left() < 3 {
            return Err(ctx.arity_error());
        }
        let count = number::parse_i64(ctx.args.next()?).filter(|n| (1..=i64::from(i32::MAX)).contains(n));
        let count = count.ok_or(Error::Line("ERR invalid number of fields"))?;
        let left = ctx.args.left();
        if !left.is_multiple_of(2) || usize::try_from(count) != Ok(left / 2) {
            return Err(ctx.arity_error());
        }
        Ok(())
    }

    /// Whether the key and its fields are as was asked for.
    fn hold<'k>(&self, hash: Option<&Hash>, mut fields: impl Iterator<Item = &'k [u8]>) -> bool {
        if self.key.is_some_and(|there| there != hash.is_some()) {
            return false;
        }
        let is_there = |name: &[u8]| hash.is_some_and(|h| h.contains(name));
        self.fields.is_none_or(|there| fields.all(|name| is_there(name) == there))
    }
}

/// HSETEX
pub fn hsetex(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let options = Options::parse(ctx)?;
    let (args, first, limits) = (ctx.args, ctx.args.position(), limits(ctx.config));
    let names = pairs(&args, first).map(|(field, _)| field);
    if !ctx.keys.read(0, |hash: Option<&Hash>| options.hold(hash, names))? {
        ctx.reply.int(0);
        return Ok(Outcome::Done);
    }
    if options.deadline.is_some_and(|at| at <= ctx.now) {
        return set_in_the_past(ctx, first);
    }
    let count = args.left() / 2;
    let deadline = match options.deadline {
        Some(at) => Deadline::At(at),
        None if options.keep => Deadline::Keep,
        None => Deadline::Clear,
    };
    ctx.keys.write(0, Hash::new, |hash: &mut Hash| {
        hash.expect(count, args.rest(), &limits);
        pairs(&args, first).for_each(|(field, value)| {
            hash.set_with(field, value, deadline, &limits);
        });
    })?;
    ctx.changed(0, Class::HASH, "hset", count);
    if let Some(at) = options.deadline {
        ctx.fx.event(0, Class::HASH, "hexpire");
        if ctx.shared.stream_has_readers() {
            let (key, at, n) = (ctx.keys.key(0).to_vec(), at.to_string(), count.to_string());
            let mut command: Vec<&[u8]> =
                vec![b"HSETEX", &key, b"PXAT", at.as_bytes(), b"FIELDS", n.as_bytes()];
            command.extend(args.rest());
            ctx.fx.instead(&command);
        }
    }
    ctx.reply.int(1);
    Ok(Outcome::Done)
}

/// Fields that are set with a time that is not in the future are set and removed at once: they
/// are not there afterwards, and the events say both.
fn set_in_the_past(ctx: &mut Ctx<'_, '_>, first: usize) -> Result<Outcome, Error> {
    let args = ctx.args;
    let count = args.left() / 2;
    let names = || pairs(&args, first).map(|(field, _)| field);
    let there = ctx.keys.edit(0, |hash: &mut Hash| {
        names().for_each(|name| {
            hash.remove(name);
        });
    })?;
    ctx.local.tally.expired_fields += count as u64;
    ctx.fx.event(0, Class::HASH, "hset");
    ctx.changed(0, Class::HASH, "hdel", count);
    if there.is_none() {
        ctx.fx.event(0, Class::GENERIC, "del");
    }
    if ctx.shared.stream_has_readers() {
        let key = ctx.keys.key(0).to_vec();
        let mut command: Vec<&[u8]> = vec![b"HDEL", &key];
        command.extend(names());
        ctx.fx.instead(&command);
    }
    ctx.reply.int(1);
    Ok(Outcome::Done)
}
