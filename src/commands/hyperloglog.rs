//! HyperLogLogs: estimates of how many different elements were seen, kept in strings.

use crate::commands::command::{Access, Arity, Command, Group, KeySpec, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::row::{acl, flags, key_flags};
use crate::effects::Class;
use crate::error::Error;
use crate::keys::{NewString, Text, Ttl};
use crate::keyspace::PACKED_VALUE_MAX;
use crate::values::hll::{self, Registers};
use crate::values::{Blob, Value};

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "pfadd",
        arity: Arity::AtLeast(2),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(HYPERLOGLOG),
        keys: &[KeySpec::key(1, key_flags!(RW | INSERT))],
        access: Access::Keys,
        syntax: "key [element]...",
        summary: "Adds elements to a HyperLogLog.",
        since: "2.8.9",
        group: Group::HyperLogLog,
        complexity: "O(1) for each element",
        run: pfadd,
        ..Command::DEFAULT
    },
    Command {
        name: "pfcount",
        arity: Arity::AtLeast(2),
        flags: flags!(READONLY | MAY_REPLICATE),
        acl: acl!(HYPERLOGLOG),
        keys: &[KeySpec::range(1, -1, 1, 0, key_flags!(RW | ACCESS))
            .note("The estimate is kept in the value, which is propagated.")],
        access: Access::Keys,
        syntax: "key...",
        summary: "Estimated number of distinct elements.",
        since: "2.8.9",
        group: Group::HyperLogLog,
        complexity: "O(1) for one key; O(N) and slower for N keys",
        run: pfcount,
        ..Command::DEFAULT
    },
    Command {
        name: "pfdebug",
        arity: Arity::Exactly(3),
        flags: flags!(WRITE | DENYOOM | ADMIN),
        acl: acl!(HYPERLOGLOG),
        keys: &[KeySpec::key(2, key_flags!(RW | ACCESS))],
        access: Access::Keys,
        syntax: "subcommand key",
        summary: "Looks inside a HyperLogLog.",
        since: "2.8.9",
        group: Group::HyperLogLog,
        complexity: "",
        internal: true,
        run: pfdebug,
        ..Command::DEFAULT
    },
    Command {
        name: "pfmerge",
        arity: Arity::AtLeast(2),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(HYPERLOGLOG),
        keys: &[
            KeySpec::key(1, key_flags!(RW | ACCESS | INSERT)),
            KeySpec::range(2, -1, 1, 0, key_flags!(RO | ACCESS)),
        ],
        access: Access::Keys,
        syntax: "destkey@0 [sourcekey@1]...",
        summary: "Joins HyperLogLogs into one.",
        since: "2.8.9",
        group: Group::HyperLogLog,
        complexity: "O(N), N HyperLogLogs, with a large constant",
        run: pfmerge,
        ..Command::DEFAULT
    },
    Command {
        name: "pfselftest",
        arity: Arity::Exactly(1),
        flags: flags!(ADMIN),
        acl: acl!(HYPERLOGLOG),
        summary: "Checks the HyperLogLog code.",
        since: "2.8.9",
        group: Group::HyperLogLog,
        complexity: "",
        internal: true,
        run: pfselftest,
        ..Command::DEFAULT
    },
];

const FOREIGN: Error = Error::Line("WRONGTYPE Key is not a valid HyperLogLog string value.");
const CORRUPT: Error = Error::Line("INVALIDOBJ Corrupted HLL object detected");

impl From<hll::Invalid> for Error {
    fn from(invalid: hll::Invalid) -> Error {
        match invalid {
            hll::Invalid::Foreign => FOREIGN,
            hll::Invalid::Corrupt => CORRUPT,
        }
    }
}

fn sparse_bytes_max(ctx: &Ctx<'_, '_>) -> usize {
    usize::try_from(ctx.config.hll_sparse_max_bytes).unwrap_or(usize::MAX)
}

/// Changes the HyperLogLog at key `i`, which is made if there is none, where it is or in a
/// copy that is stored if `change` succeeds.
fn edit<R>(
    ctx: &mut Ctx<'_, '_>,
    i: usize,
    change: impl FnOnce(&mut Vec<u8>) -> Result<R, hll::Invalid>,
) -> Result<R, Error> {
    let held = ctx.keys.string(i, |text| match text {
        Some(Text::Blob(_)) => None,
        Some(Text::Packed(bytes)) => Some(bytes.to_vec()),
        None => Some(hll::new()),
    })?;
    let Some(mut bytes) = held else {
        return ctx
            .keys
            .value_mut(i, |value| match value {
                Value::Str(blob) => Ok(change(blob.make_mut())?),
                _ => Err(Error::WrongType),
            })
            .unwrap_or(Err(Error::WrongType));
    };
    let result = change(&mut bytes)?;
    let large = bytes.len() > PACKED_VALUE_MAX;
    let stored = if large { NewString::Blob(Blob::from_vec(bytes)) } else { NewString::Raw(&bytes) };
    ctx.keys.put_string(i, stored, Ttl::Keep)?;
    Ok(result)
}

/// PFADD
pub fn pfadd(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let (elements, limit) = (ctx.args.rest(), sparse_bytes_max(ctx));
    let created = !ctx.keys.exists(0);
    let changed = edit(ctx, 0, |bytes| {
        let changed = hll::add(bytes, elements, limit)?;
        if created {
            hll::forget_count(bytes);
        }
        Ok(changed || created)
    })?;
    if changed {
        ctx.fx.changed(0, Class::STRING, "pfadd");
    }
    ctx.reply.int(i64::from(changed));
    Ok(Outcome::Done)
}

/// Takes the registers of the HyperLogLog at key `i`, if there is one, into `union`; whether
/// it is dense.
fn merge(ctx: &mut Ctx<'_, '_>, i: usize, union: &mut Registers) -> Result<bool, Error> {
    ctx.keys.string(i, |text| {
        let Some(bytes) = text else { return Ok(false) };
        union.merge(&bytes)?;
        Ok(!hll::is_sparse(&bytes))
    })?
}

/// PFCOUNT
pub fn pfcount(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let count = if ctx.keys.len() == 1 {
        count_one(ctx)?
    } else {
        let mut union = Registers::default();
        for i in 0..ctx.keys.len() {
            merge(ctx, i, &mut union)?;
        }
        union.count()
    };
    ctx.reply.int(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// The count of key 0, which the value remembers from now on.
fn count_one(ctx: &mut Ctx<'_, '_>) -> Result<u64, Error> {
    let (count, known) = ctx.keys.string(0, |text| -> Result<_, Error> {
        let Some(bytes) = text else { return Ok((0, true)) };
        hll::check(&bytes)?;
        match hll::cached_count(&bytes) {
            Some(count) => Ok((count, true)),
            None => Ok((Registers::of(&bytes)?.count(), false)),
        }
    })??;
    if !known {
        ctx.keys.edit_string(0, 0, |bytes| hll::set_cached_count(bytes, count))?;
        ctx.fx.quiet();
    }
    Ok(count)
}

/// PFMERGE: key 0 is the destination and a source.
pub fn pfmerge(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let mut union = Registers::default();
    let mut dense = false;
    for i in 0..ctx.keys.len() {
        dense |= merge(ctx, i, &mut union)?;
    }
    let limit = sparse_bytes_max(ctx);
    edit(ctx, 0, |bytes| hll::store(bytes, &union, dense, limit))?;
    ctx.fx.changed(0, Class::STRING, "pfadd");
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// PFDEBUG
pub fn pfdebug(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let what = ctx.args.next()?;
    let sparse = ctx.keys.string(0, |text| -> Result<_, Error> {
        let bytes = text.ok_or(Error::Line("ERR The specified key does not exist"))?;
        hll::check(&bytes)?;
        Ok(hll::is_sparse(&bytes))
    })??;
    if what.eq_ignore_ascii_case(b"encoding") {
        ctx.reply.simple(if sparse { "sparse" } else { "dense" });
    } else if what.eq_ignore_ascii_case(b"decode") {
        if !sparse {
            return Err(Error::Line("ERR HLL encoding is not sparse"));
        }
        let shown = ctx.keys.string(0, |text| hll::describe(text.as_deref().unwrap_or_default()))??;
        ctx.reply.bulk(shown.as_bytes());
    } else if what.eq_ignore_ascii_case(b"getreg") {
        make_dense(ctx, sparse)?;
        let registers = ctx.keys.string(0, |text| Registers::of(text.as_deref().unwrap_or_default()))??;
        ctx.reply.array(registers.values().len());
        for &register in registers.values() {
            ctx.reply.int(i64::from(register));
        }
    } else if what.eq_ignore_ascii_case(b"todense") {
        make_dense(ctx, sparse)?;
        ctx.reply.int(i64::from(sparse));
    } else {
        return Err(Error::quoting("ERR Unknown PFDEBUG subcommand '", what, "'"));
    }
    Ok(Outcome::Done)
}

fn make_dense(ctx: &mut Ctx<'_, '_>, sparse: bool) -> Result<(), Error> {
    if !sparse {
        return Ok(());
    }
    edit(ctx, 0, |bytes| {
        hll::make_dense(bytes);
        Ok(())
    })?;
    ctx.fx.changed(0, Class::empty(), "pfdebug");
    Ok(())
}

/// Elements that the self-test counts.
const SELF_TEST_ELEMENTS: u64 = 100_000;

/// PFSELFTEST: the two forms must agree, and the estimate must be near the truth.
pub fn pfselftest(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let limit = sparse_bytes_max(ctx);
    let (mut bytes, mut dense) = (hll::new(), hll::new());
    hll::make_dense(&mut dense);
    let mut checkpoint = 1;
    for n in 1..=SELF_TEST_ELEMENTS {
        let element = (n ^ 0x9e37_79b9_7f4a_7c15).to_le_bytes();
        hll::add(&mut bytes, std::iter::once(&element[..]), limit)?;
        hll::add(&mut dense, std::iter::once(&element[..]), limit)?;
        if n < checkpoint {
            continue;
        }
        checkpoint *= 10;
        let (registers, twin) = (Registers::of(&bytes)?, Registers::of(&dense)?);
        if registers.values() != twin.values() {
            return Err(Error::Line("TESTFAILED dense/sparse disagree"));
        }
        // Six standard errors of 2^14 registers, and three for the small counts.
        if registers.count().abs_diff(n) > n / 20 + 3 {
            return Err(Error::text(format!(
                "TESTFAILED Too big error. card:{n} estimate:{}",
                registers.count()
            )));
        }
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}
