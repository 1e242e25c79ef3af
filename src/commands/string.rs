//! Strings: the rows of all their commands, and GET and what else reads or edits a part. Whole values are written in
//! `set`, numbers in `increment`; LCS is a file of its own.

mod increment;
mod set;

use crate::commands::command::{Access, Arity, Command, Group, KeySpec, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::keyspec;
use crate::commands::lcs;
use crate::commands::row::{acl, flags, key_flags};
use crate::commands::ttl::{self, TtlOption};
use crate::effects::Class;
use crate::error::Error;
use crate::keys::{Text, Ttl};
use crate::protocol::Reply;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "append",
        arity: Arity::Exactly(3),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(STRING),
        keys: &[KeySpec::key(1, key_flags!(RW | INSERT))],
        access: Access::Keys,
        syntax: "key value",
        summary: "Appends to a string; makes it if needed.",
        since: "2.0.0",
        group: Group::String,
        complexity: "O(1) amortized for a short appendix",
        run: append,
        ..Command::DEFAULT
    },
    Command {
        name: "decr",
        arity: Arity::Exactly(2),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(STRING),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | UPDATE))],
        access: Access::Keys,
        syntax: "key",
        summary: "Subtracts one from an integer.",
        since: "1.0.0",
        group: Group::String,
        run: increment::decr,
        ..Command::DEFAULT
    },
    Command {
        name: "decrby",
        arity: Arity::Exactly(3),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(STRING),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | UPDATE))],
        access: Access::Keys,
        syntax: "key decrement:int",
        summary: "Subtracts from an integer.",
        since: "1.0.0",
        group: Group::String,
        run: increment::decrby,
        ..Command::DEFAULT
    },
    Command {
        name: "delifeq",
        arity: Arity::Exactly(3),
        flags: flags!(WRITE | FAST),
        acl: acl!(STRING),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | DELETE))],
        access: Access::Keys,
        syntax: "key value",
        summary: "Deletes a key if it has the given value.",
        since: "9.0.0",
        group: Group::String,
        run: delifeq,
        ..Command::DEFAULT
    },
    Command {
        name: "get",
        arity: Arity::Exactly(2),
        flags: flags!(READONLY | FAST),
        acl: acl!(STRING),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key",
        summary: "Value of a string.",
        since: "1.0.0",
        group: Group::String,
        run: get,
        ..Command::DEFAULT
    },
    Command {
        name: "getdel",
        arity: Arity::Exactly(2),
        flags: flags!(WRITE | FAST),
        acl: acl!(STRING),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | DELETE))],
        access: Access::Keys,
        syntax: "key",
        summary: "Value of a string, which is then deleted.",
        since: "6.2.0",
        group: Group::String,
        run: getdel,
        ..Command::DEFAULT
    },
    Command {
        name: "getex",
        arity: Arity::AtLeast(2),
        flags: flags!(WRITE | FAST),
        acl: acl!(STRING),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | UPDATE))
            .note("The time to live may change, hence an update.")],
        access: Access::Keys,
        syntax: "key [expiration: EX seconds:int | PX milliseconds:int | EXAT unix-time-seconds:time | PXAT unix-time-milliseconds:time | PERSIST]",
        summary: "Value of a string; can change its time to live.",
        since: "6.2.0",
        group: Group::String,
        run: getex,
        ..Command::DEFAULT
    },
    Command {
        name: "getrange",
        arity: Arity::Exactly(4),
        flags: flags!(READONLY),
        acl: acl!(STRING),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key start:int end:int",
        summary: "Part of a string.",
        since: "2.4.0",
        group: Group::String,
        complexity: "O(N), N bytes returned",
        run: getrange,
        ..Command::DEFAULT
    },
    Command {
        name: "getset",
        arity: Arity::Exactly(3),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(STRING),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | UPDATE))],
        access: Access::Keys,
        syntax: "key value",
        summary: "Sets a string and replies its old value.",
        since: "1.0.0",
        group: Group::String,
        deprecated: Some(("6.2.0", "`SET`, option `GET`")),
        run: getset,
        ..Command::DEFAULT
    },
    Command {
        name: "incr",
        arity: Arity::Exactly(2),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(STRING),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | UPDATE))],
        access: Access::Keys,
        syntax: "key",
        summary: "Adds one to an integer.",
        since: "1.0.0",
        group: Group::String,
        run: increment::incr,
        ..Command::DEFAULT
    },
    Command {
        name: "incrby",
        arity: Arity::Exactly(3),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(STRING),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | UPDATE))],
        access: Access::Keys,
        syntax: "key increment:int",
        summary: "Adds to an integer.",
        since: "1.0.0",
        group: Group::String,
        run: increment::incrby,
        ..Command::DEFAULT
    },
    Command {
        name: "incrbyfloat",
        arity: Arity::Exactly(3),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(STRING),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | UPDATE))],
        access: Access::Keys,
        syntax: "key increment:double",
        summary: "Adds to a number.",
        since: "2.6.0",
        group: Group::String,
        run: increment::incrbyfloat,
        ..Command::DEFAULT
    },
    Command {
        name: "lcs",
        arity: Arity::AtLeast(3),
        flags: flags!(READONLY),
        acl: acl!(STRING),
        keys: &[KeySpec::range(1, 1, 1, 0, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key1@0 key2@0 [LEN] [IDX] [MINMATCHLEN min-match-len:int] [WITHMATCHLEN]",
        summary: "Longest common subsequence of two strings.",
        since: "7.0.0",
        group: Group::String,
        complexity: "O(N*M), N and M the lengths of both",
        run: lcs::lcs,
        ..Command::DEFAULT
    },
    Command {
        name: "mget",
        arity: Arity::AtLeast(2),
        flags: flags!(READONLY | FAST),
        acl: acl!(STRING),
        keys: &[KeySpec::range(1, -1, 1, 0, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key...",
        summary: "Values of several strings.",
        since: "1.0.0",
        group: Group::String,
        complexity: "O(N), N keys",
        tips: &["request_policy:multi_shard"],
        run: mget,
        ..Command::DEFAULT
    },
    Command {
        name: "mset",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(STRING),
        keys: &[KeySpec::range(1, -1, 2, 0, key_flags!(OW | UPDATE))],
        access: Access::Keys,
        syntax: "(data: key value)...",
        summary: "Sets several strings at once.",
        since: "1.0.1",
        group: Group::String,
        complexity: "O(N), N keys",
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        run: set::mset,
        ..Command::DEFAULT
    },
    Command {
        name: "msetex",
        arity: Arity::AtLeast(4),
        flags: flags!(WRITE | DENYOOM | MOVABLEKEYS),
        acl: acl!(STRING),
        keys: &[KeySpec::counted(1, 0, 1, 2, key_flags!(OW | UPDATE))],
        access: Access::Keys,
        syntax: "numkeys:int (data: key value)... [condition: NX | XX] [expiration: EX seconds:int | PX milliseconds:int | EXAT unix-time-seconds:time | PXAT unix-time-milliseconds:time | KEEPTTL]",
        summary: "Sets several strings at once, with one time to live for all.",
        since: "8.4.0",
        group: Group::String,
        complexity: "O(N), N keys",
        run: set::msetex,
        ..Command::DEFAULT
    },
    Command {
        name: "msetnx",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(STRING),
        keys: &[KeySpec::range(1, -1, 2, 0, key_flags!(OW | INSERT))],
        access: Access::Keys,
        syntax: "(data: key value)...",
        summary: "Sets several strings at once if none of the keys exists.",
        since: "1.0.1",
        group: Group::String,
        complexity: "O(N), N keys",
        run: set::msetnx,
        ..Command::DEFAULT
    },
    Command {
        name: "psetex",
        arity: Arity::Exactly(4),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(STRING),
        keys: &[KeySpec::key(1, key_flags!(OW | UPDATE))],
        access: Access::Keys,
        syntax: "key milliseconds:int value",
        summary: "Sets a string with a time to live in milliseconds.",
        since: "2.6.0",
        group: Group::String,
        deprecated: Some(("2.6.12", "`SET`, option `PX`")),
        run: set::psetex,
        ..Command::DEFAULT
    },
    Command {
        name: "set",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(STRING),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | UPDATE | VARIABLE_FLAGS))
            .note("`GET` makes it read the old value too.")],
        access: Access::Keys,
        syntax: "key value [condition^2.6.12: NX | XX | IFEQ comparison-value^8.1.0] [GET^6.2.0] [expiration: EX seconds:int^2.6.12 | PX milliseconds:int^2.6.12 | EXAT unix-time-seconds:time^6.2.0 | PXAT unix-time-milliseconds:time^6.2.0 | KEEPTTL^6.0.0]",
        summary: "Sets a string, whatever stood there.",
        since: "1.0.0",
        group: Group::String,
        history: &[
            ("2.6.12", "Options `EX`, `PX`, `NX`, `XX`."),
            ("6.0.0", "Option `KEEPTTL`."),
            ("6.2.0", "Options `GET`, `EXAT`, `PXAT`."),
            ("7.0.0", "`NX` and `GET` may be combined."),
            ("8.1.0", "Condition `IFEQ` (version of Valkey)."),
        ],
        find: Some(keyspec::of_set),
        run: set::set,
        ..Command::DEFAULT
    },
    Command {
        name: "setex",
        arity: Arity::Exactly(4),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(STRING),
        keys: &[KeySpec::key(1, key_flags!(OW | UPDATE))],
        access: Access::Keys,
        syntax: "key seconds:int value",
        summary: "Sets a string with a time to live in seconds.",
        since: "2.0.0",
        group: Group::String,
        deprecated: Some(("2.6.12", "`SET`, option `EX`")),
        run: set::setex,
        ..Command::DEFAULT
    },
    Command {
        name: "setnx",
        arity: Arity::Exactly(3),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(STRING),
        keys: &[KeySpec::key(1, key_flags!(OW | INSERT))],
        access: Access::Keys,
        syntax: "key value",
        summary: "Sets a string if there is no such key.",
        since: "1.0.0",
        group: Group::String,
        deprecated: Some(("2.6.12", "`SET`, option `NX`")),
        run: set::setnx,
        ..Command::DEFAULT
    },
    Command {
        name: "setrange",
        arity: Arity::Exactly(4),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(STRING),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key offset:int value",
        summary: "Overwrites part of a string; it grows with zero bytes as needed.",
        since: "2.2.0",
        group: Group::String,
        complexity: "O(1) for a short value, else O(M), M bytes written",
        run: setrange,
        ..Command::DEFAULT
    },
    Command {
        name: "strlen",
        arity: Arity::Exactly(2),
        flags: flags!(READONLY | FAST),
        acl: acl!(STRING),
        keys: &[KeySpec::key(1, key_flags!(RO))],
        access: Access::Read,
        syntax: "key",
        summary: "Length of a string.",
        since: "2.2.0",
        group: Group::String,
        run: strlen,
        ..Command::DEFAULT
    },
    Command {
        name: "substr",
        arity: Arity::Exactly(4),
        flags: flags!(READONLY),
        acl: acl!(STRING),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key start:int end:int",
        summary: "Part of a string, under the old name.",
        since: "1.0.0",
        group: Group::String,
        complexity: "O(N), N bytes returned",
        deprecated: Some(("2.0.0", "`GETRANGE`")),
        run: getrange,
        ..Command::DEFAULT
    },
];

/// Writes a stored string, a large one by reference.
#[inline]
pub fn reply_text(reply: &mut Reply<'_>, value: Option<Text<'_>>) {
    match value {
        Some(Text::Packed(bytes)) => reply.bulk(bytes),
        Some(Text::Blob(blob)) => reply.bulk_blob(blob),
        None => reply.null(),
    }
}

/// GET
pub fn get(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let reply = &mut ctx.reply;
    ctx.keys.string(0, |value| reply_text(reply, value))?;
    ctx.note_miss(0);
    Ok(Outcome::Done)
}

/// GETSET
pub fn getset(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let reply = &mut ctx.reply;
    ctx.keys.string(0, |old| reply_text(reply, old))?;
    set::store(ctx, 0, 2, Ttl::Clear)?;
    Ok(Outcome::Done)
}

/// GETDEL
pub fn getdel(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let reply = &mut ctx.reply;
    let present = ctx.keys.string(0, |old| {
        let present = old.is_some();
        reply_text(reply, old);
        present
    })?;
    if present {
        ctx.keys.remove(0);
        ctx.fx.changed(0, Class::GENERIC, "del");
    }
    Ok(Outcome::Done)
}

/// GETEX
pub fn getex(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let mut option = None;
    while ctx.args.left() > 0 {
        let next = if ctx.args.token("PERSIST") {
            TtlOption::Clear
        } else {
            ttl::option(&mut ctx.args, false)?.ok_or(Error::Syntax)?
        };
        next.put(&mut option)?;
    }
    let reply = &mut ctx.reply;
    let present = ctx.keys.string(0, |old| {
        let present = old.is_some();
        reply_text(reply, old);
        present
    })?;
    let (Some(option), true) = (option, present) else {
        return Ok(Outcome::Done);
    };
    match option.resolve(ctx.now, "getex")? {
        Ttl::Clear => {
            if ctx.keys.deadline(0).flatten().is_some() {
                ctx.keys.set_deadline(0, None)?;
                ctx.fx.changed(0, Class::GENERIC, "persist");
            }
        }
        Ttl::At(deadline) if deadline <= ctx.now => {
            ctx.keys.remove(0);
            ctx.fx.changed(0, Class::GENERIC, "del");
        }
        Ttl::At(deadline) => {
            ctx.keys.set_deadline(0, Some(deadline))?;
            ctx.fx.changed(0, Class::GENERIC, "expire");
        }
        Ttl::Keep => {}
    }
    Ok(Outcome::Done)
}

/// DELIFEQ (Valkey 9)
pub fn delifeq(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let wanted = ctx.args.next()?;
    let equal = ctx.keys.string(0, |v| v.is_some_and(|v| *v == *wanted))?;
    if equal {
        ctx.keys.remove(0);
        ctx.fx.changed(0, Class::GENERIC, "del");
    }
    ctx.reply.int(i64::from(equal));
    Ok(Outcome::Done)
}

/// STRLEN
pub fn strlen(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let len = ctx.keys.string(0, |v| v.map_or(0, |v| v.len()))?;
    ctx.reply.int(i64::try_from(len).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// MGET
pub fn mget(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let n = ctx.keys.len();
    ctx.reply.array(n);
    for i in 0..n {
        let reply = &mut ctx.reply;
        // Another type counts as absent here.
        if ctx.keys.string(i, |v| reply_text(reply, v)).is_err() {
            ctx.reply.null();
        }
        ctx.note_miss(i);
    }
    Ok(Outcome::Done)
}

/// APPEND
pub fn append(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let suffix = ctx.args.at(2);
    let old = ctx.keys.string(0, |v| v.map(|v| v.len()))?;
    let Some(old) = old else {
        ctx.keys.put_string(0, set::value_at(&ctx.args, 2), Ttl::Clear)?;
        ctx.fx.changed(0, Class::STRING, "append");
        ctx.reply.int(i64::try_from(suffix.len()).unwrap_or(i64::MAX));
        return Ok(Outcome::Done);
    };
    let len = checked_len(ctx, old, suffix.len())?;
    ctx.keys.edit_string(0, len, |buf| buf[old..].copy_from_slice(suffix))?;
    ctx.fx.changed(0, Class::STRING, "append");
    ctx.reply.int(i64::try_from(len).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// `a + b`, if a string may be that long.
pub fn checked_len(ctx: &Ctx<'_, '_>, a: usize, b: usize) -> Result<usize, Error> {
    a.checked_add(b)
        .filter(|n| u64::try_from(*n).is_ok_and(|n| n <= ctx.config.proto_max_bulk_len))
        .ok_or(Error::StringTooLong)
}

/// SETRANGE
pub fn setrange(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let offset = ctx.args.int()?;
    let value = ctx.args.next()?;
    let offset = usize::try_from(offset).map_err(|_| Error::Line("ERR offset is out of range"))?;
    let old = ctx.keys.string(0, |v| v.map_or(0, |v| v.len()))?;
    if value.is_empty() {
        ctx.reply.int(i64::try_from(old).unwrap_or(i64::MAX));
        return Ok(Outcome::Done);
    }
    let end = checked_len(ctx, offset, value.len())?;
    ctx.keys.edit_string(0, end, |buf| buf[offset..end].copy_from_slice(value))?;
    ctx.fx.changed(0, Class::STRING, "setrange");
    ctx.reply.int(i64::try_from(end.max(old)).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// GETRANGE, SUBSTR
pub fn getrange(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let (start, end) = (ctx.args.int()?, ctx.args.int()?);
    let reply = &mut ctx.reply;
    ctx.keys.string(0, |v| {
        let bytes = v.as_deref().unwrap_or(&[]);
        reply.bulk(slice(bytes, start, end));
    })?;
    Ok(Outcome::Done)
}

/// `start..=end` with negative indices from the end, cut to what is there.
fn slice(bytes: &[u8], start: i64, end: i64) -> &[u8] {
    let len = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    if len == 0 || (start < 0 && end < 0 && start > end) {
        return &[];
    }
    let from_end = |i: i64| if i < 0 { (len.saturating_add(i)).max(0) } else { i };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    if start > end {
        return &[];
    }
    let at = |i: i64| usize::try_from(i).unwrap_or(0);
    &bytes[at(start)..=at(end)]
}

#[cfg(test)]
mod tests {
    use super::slice;

    #[test]
    fn ranges_are_inclusive_and_cut_to_the_string() {
        assert_eq!(slice(b"Hello World", 0, 3), b"Hell");
        assert_eq!(slice(b"Hello World", 0, -1), b"Hello World");
        assert_eq!(slice(b"Hello World", -4, -1), b"orld");
        assert_eq!(slice(b"Hello World", 5, 3), b"");
        assert_eq!(slice(b"Hello World", -5000, 10000), b"Hello World");
        assert_eq!(slice(b"abc", i64::MIN, i64::MAX), b"abc");
        assert_eq!(slice(b"", 0, 0), b"");
    }
}
