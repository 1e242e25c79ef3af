//! HEXPIRE and its family: setting, reading and taking away the deadlines of fields.
//!
//! Replies, errors and events are those of Redis 8. A time that is not in the future removes
//! the field at once, as EXPIRE does with a key.

use smallvec::SmallVec;

use crate::commands::args::Args;
use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::number;
use crate::effects::Class;
use crate::error::Error;
use crate::values::{Hash, Kind};

/// Latest deadline of a field, Unix milliseconds: what Redis can store.
const DEADLINE_MAX: i64 = (1 << 46) - 1;

/// A field is not there.
const NO_FIELD: i64 = -2;
/// It has no deadline.
const NO_DEADLINE: i64 = -1;
/// The condition does not hold.
const REFUSED: i64 = 0;
/// Its deadline was set, or taken away.
const CHANGED: i64 = 1;
/// It was removed, as the deadline is past.
const REMOVED: i64 = 2;

/// A reply for each field.
type Results = SmallVec<[i64; 8]>;

/// Seconds or milliseconds, from now or since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub name: &'static str,
    pub unit_ms: i64,
    pub absolute: bool,
}

impl Form {
    /// Reads a time as a deadline, Unix milliseconds.
    pub fn deadline(self, arg: &[u8], now: u64) -> Result<u64, Error> {
        let n = number::parse_i64(arg).ok_or(Error::NotInteger)?;
        if n < 0 {
            return Err(Error::Line("ERR invalid expire time, must be >= 0"));
        }
        let base = if self.absolute { 0 } else { i64::try_from(now).unwrap_or(i64::MAX) };
        let at = n.checked_mul(self.unit_ms).and_then(|ms| ms.checked_add(base));
        match at.filter(|at| *at <= DEADLINE_MAX) {
            Some(at) => Ok(at.unsigned_abs()),
            None => Err(Error::InvalidExpire(self.name)),
        }
    }
}

/// `FIELDS n field …`, which must be all that is left.
pub(super) fn fields<'k>(
    args: &mut Args<'k>,
    bad_count: &'static str,
) -> Result<impl ExactSizeIterator<Item = &'k [u8]> + Clone + use<'k>, Error> {
    if !args.token("FIELDS") {
        return Err(Error::Line("ERR Mandatory argument FIELDS is missing or not at the right position"));
    }
    let count = args.peek().and_then(number::parse_i64).and_then(|n| usize::try_from(n).ok());
    let count = count.filter(|n| *n > 0).ok_or(Error::Line(bad_count))?;
    args.next()?;
    if count != args.left() {
        return Err(Error::Line("ERR The `numfields` parameter must match the number of arguments"));
    }
    Ok(args.rest())
}

/// What [`fields`] says of a count that is none.
pub(super) const BAD_COUNT: &str = "ERR Number of fields must be a positive integer";

/// HEXPIRE
pub fn hexpire(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    set(ctx, Form { name: "hexpire", unit_ms: 1000, absolute: false })
}

/// HPEXPIRE
pub fn hpexpire(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    set(ctx, Form { name: "hpexpire", unit_ms: 1, absolute: false })
}

/// HEXPIREAT
pub fn hexpireat(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    set(ctx, Form { name: "hexpireat", unit_ms: 1000, absolute: true })
}

/// HPEXPIREAT
pub fn hpexpireat(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    set(ctx, Form { name: "hpexpireat", unit_ms: 1, absolute: true })
}

/// NX, XX, GT and LT; one at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Always,
    Nx,
    Xx,
    Gt,
    Lt,
}

impl Condition {
    fn parse(args: &mut Args<'_>) -> Condition {
        for (word, condition) in
            [("NX", Condition::Nx), ("XX", Condition::Xx), ("GT", Condition::Gt), ("LT", Condition::Lt)]
        {
            if args.token(word) {
                return condition;
            }
        }
        Condition::Always
    }

    /// Whether a field with this deadline (none: it lives for ever) takes the new one.
    fn allows(self, old: Option<u64>, new: u64) -> bool {
        match self {
            Condition::Always => true,
            Condition::Nx => old.is_none(),
            Condition::Xx => old.is_some(),
            Condition::Gt => old.is_some_and(|old| new > old),
            Condition::Lt => old.is_none_or(|old| new < old),
        }
    }
}

/// Sets the deadline of one field, or removes it if that is not in the future.
pub(super) fn set_one(hash: &mut Hash, name: &[u8], at: u64, now: u64) -> i64 {
    set_if(hash, name, at, now, Condition::Always)
}

fn set_if(hash: &mut Hash, name: &[u8], at: u64, now: u64, condition: Condition) -> i64 {
    let Some(field) = hash.field(name) else { return NO_FIELD };
    if !condition.allows(field.deadline, at) {
        return REFUSED;
    }
    if at <= now {
        hash.remove(name);
        return REMOVED;
    }
    hash.set_deadline(name, Some(at));
    CHANGED
}

fn set(ctx: &mut Ctx<'_, '_>, form: Form) -> Result<Outcome, Error> {
    ctx.keys.expect_kind(0, Kind::Hash)?;
    ctx.args.seek(2);
    let at = form.deadline(ctx.args.next()?, ctx.now)?;
    let condition = Condition::parse(&mut ctx.args);
    let fields = fields(&mut ctx.args, "ERR Parameter `numFields` should be greater than 0")?;
    let now = ctx.now;
    let names = fields.clone();
    let results = ctx.keys.edit(0, |hash: &mut Hash| {
        names.map(|name| set_if(hash, name, at, now, condition)).collect::<Results>()
    })?;
    let results = answer(ctx, fields.len(), results);
    state(ctx, at, fields, &results);
    Ok(Outcome::Done)
}

/// Writes the replies; where there is no key, no field is there.
fn answer(ctx: &mut Ctx<'_, '_>, count: usize, results: Option<Results>) -> Results {
    let results = results.unwrap_or_else(|| SmallVec::from_elem(NO_FIELD, count));
    ctx.reply.array(results.len());
    results.iter().for_each(|n| ctx.reply.int(*n));
    results
}

/// States what became of fields that were given a deadline.
pub(super) fn state<'k>(
    ctx: &mut Ctx<'_, '_>,
    at: u64,
    fields: impl Iterator<Item = &'k [u8]> + Clone,
    results: &[i64],
) {
    let with = |result: i64| {
        fields.clone().zip(results).filter(move |(_, r)| **r == result).map(|(f, _)| f).collect::<Vec<_>>()
    };
    let (changed, removed) = (with(CHANGED), with(REMOVED));
    if changed.is_empty() && removed.is_empty() {
        return;
    }
    ctx.local.tally.expired_fields += removed.len() as u64;
    let event = if removed.is_empty() { "hexpire" } else { "hdel" };
    ctx.changed(0, Class::HASH, event, changed.len() + removed.len());
    if !ctx.shared.stream_has_readers() {
        return;
    }
    let key = ctx.keys.key(0).to_vec();
    if !removed.is_empty() {
        let mut command: Vec<&[u8]> = vec![b"HDEL", &key];
        command.extend(&removed);
        ctx.fx.instead(&command);
    }
    if !changed.is_empty() {
        let (at, count) = (at.to_string(), changed.len().to_string());
        let mut command: Vec<&[u8]> = vec![b"HPEXPIREAT", &key, at.as_bytes(), b"FIELDS", count.as_bytes()];
        command.extend(&changed);
        ctx.fx.instead(&command);
    }
}

/// HPERSIST
pub fn hpersist(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.keys.expect_kind(0, Kind::Hash)?;
    ctx.args.seek(2);
    let fields = fields(&mut ctx.args, BAD_COUNT)?;
    let names = fields.clone();
    let results =
        ctx.keys.edit(0, |hash: &mut Hash| names.map(|name| persist_one(hash, name)).collect::<Results>())?;
    let results = answer(ctx, fields.len(), results);
    if results.contains(&CHANGED) {
        ctx.changed(0, Class::HASH, "hpersist", 1);
    }
    Ok(Outcome::Done)
}

/// Takes the deadline of one field away.
pub(super) fn persist_one(hash: &mut Hash, name: &[u8]) -> i64 {
    match hash.field(name).map(|f| f.deadline) {
        None => NO_FIELD,
        Some(None) => NO_DEADLINE,
        Some(Some(_)) => {
            hash.set_deadline(name, None);
            CHANGED
        }
    }
}

/// Whether a result says that the field changed.
pub(super) fn is_change(result: i64) -> bool {
    result == CHANGED
}

/// HTTL
pub fn httl(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let now = ctx.now;
    read(ctx, |at| at.saturating_sub(now).div_ceil(1000))
}

/// HPTTL
pub fn hpttl(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let now = ctx.now;
    read(ctx, |at| at.saturating_sub(now))
}

/// HEXPIRETIME
pub fn hexpiretime(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    read(ctx, |at| at.div_ceil(1000))
}

/// HPEXPIRETIME
pub fn hpexpiretime(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    read(ctx, |at| at)
}

fn read(ctx: &mut Ctx<'_, '_>, show: impl Fn(u64) -> u64) -> Result<Outcome, Error> {
    ctx.keys.expect_kind(0, Kind::Hash)?;
    ctx.args.seek(2);
    let fields = fields(&mut ctx.args, BAD_COUNT)?;
    let reply = &mut ctx.reply;
    ctx.keys.read(0, |hash: Option<&Hash>| {
        reply.array(fields.len());
        for name in fields {
            reply.int(match hash.and_then(|h| h.field(name)).map(|f| f.deadline) {
                None => NO_FIELD,
                Some(None) => NO_DEADLINE,
                Some(Some(at)) => i64::try_from(show(at)).unwrap_or(i64::MAX),
            });
        }
    })?;
    ctx.note_miss(0);
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_redis_cannot_store_are_refused() {
        let relative = Form { name: "hexpire", unit_ms: 1000, absolute: false };
        let absolute = Form { name: "hpexpireat", unit_ms: 1, absolute: true };
        assert_eq!(relative.deadline(b"2", 500), Ok(2500));
        assert_eq!(absolute.deadline(b"0", 500), Ok(0));
        assert_eq!(absolute.deadline(DEADLINE_MAX.to_string().as_bytes(), 0), Ok(DEADLINE_MAX as u64));
        for (form, arg) in [(absolute, (1_i64 << 46).to_string()), (relative, i64::MAX.to_string())] {
            assert_eq!(form.deadline(arg.as_bytes(), 0), Err(Error::InvalidExpire(form.name)));
        }
        assert_eq!(relative.deadline(b"x", 0), Err(Error::NotInteger));
        assert!(matches!(relative.deadline(b"-1", 0), Err(Error::Line(_))));
    }

    #[test]
    fn conditions_compare_with_the_old_deadline() {
        let table = [
            (Condition::Always, [true, true, true, true]),
            (Condition::Nx, [true, false, false, false]),
            (Condition::Xx, [false, true, true, true]),
            (Condition::Gt, [false, true, false, false]),
            (Condition::Lt, [true, false, false, true]),
        ];
        for (condition, allowed) in table {
            for (old, want) in [None, Some(10), Some(20), Some(30)].into_iter().zip(allowed) {
                assert_eq!(condition.allows(old, 20), want, "{condition:?} {old:?}");
            }
        }
    }
}
