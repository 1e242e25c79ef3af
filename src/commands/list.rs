//! Lists. What moves elements between lists or waits for one is in [`moves`].

mod moves;

use crate::commands::args::Args;
use crate::commands::command::{Access, Arity, Command, Group, KeySpec, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::element;
use crate::commands::row::{acl, flags, key_flags};
use crate::config::Config;
use crate::effects::Class;
use crate::error::Error;
use crate::protocol::Reply;
use crate::values::list::{End, Limits};
use crate::values::{Kind, List};
use moves::{blmove, blmpop, blpop, brpop, brpoplpush, lmove, lmpop, rpoplpush};

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "blmove",
        arity: Arity::Exactly(6),
        flags: flags!(WRITE | DENYOOM | BLOCKING),
        acl: acl!(LIST),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | DELETE)), KeySpec::key(2, key_flags!(RW | INSERT))],
        access: Access::Keys,
        syntax: "source@0 destination@1 (wherefrom: LEFT | RIGHT) (whereto: LEFT | RIGHT) timeout:double",
        summary: "Moves an element between lists; waits for one.",
        since: "6.2.0",
        group: Group::List,
        run: blmove,
        ..Command::DEFAULT
    },
    Command {
        name: "blmpop",
        arity: Arity::AtLeast(5),
        flags: flags!(WRITE | BLOCKING | MOVABLEKEYS),
        acl: acl!(LIST),
        keys: &[KeySpec::counted(2, 0, 1, 1, key_flags!(RW | ACCESS | DELETE))],
        access: Access::Keys,
        syntax: "timeout:double numkeys:int key... (where: LEFT | RIGHT) [COUNT count:int]",
        summary: "Pops from the first list that has elements; waits for one.",
        since: "7.0.0",
        group: Group::List,
        complexity: "O(N+M), N keys, M elements returned",
        run: blmpop,
        ..Command::DEFAULT
    },
    Command {
        name: "blpop",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | BLOCKING),
        acl: acl!(LIST),
        keys: &[KeySpec::range(1, -2, 1, 0, key_flags!(RW | ACCESS | DELETE))],
        access: Access::Keys,
        syntax: "key... timeout:double",
        summary: "Pops from the left of the first list that has elements; waits for one.",
        since: "2.0.0",
        group: Group::List,
        complexity: "O(N), N keys",
        history: &[("6.0.0", "Fractions of a second are allowed for `timeout`.")],
        run: blpop,
        ..Command::DEFAULT
    },
    Command {
        name: "brpop",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | BLOCKING),
        acl: acl!(LIST),
        keys: &[KeySpec::range(1, -2, 1, 0, key_flags!(RW | ACCESS | DELETE))],
        access: Access::Keys,
        syntax: "key... timeout:double",
        summary: "Pops from the right of the first list that has elements; waits for one.",
        since: "2.0.0",
        group: Group::List,
        complexity: "O(N), N keys",
        history: &[("6.0.0", "Fractions of a second are allowed for `timeout`.")],
        run: brpop,
        ..Command::DEFAULT
    },
    Command {
        name: "brpoplpush",
        arity: Arity::Exactly(4),
        flags: flags!(WRITE | DENYOOM | BLOCKING),
        acl: acl!(LIST),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | DELETE)), KeySpec::key(2, key_flags!(RW | INSERT))],
        access: Access::Keys,
        syntax: "source@0 destination@1 timeout:double",
        summary: "Moves an element from the right of a list to the left of another; waits for one.",
        since: "2.2.0",
        group: Group::List,
        history: &[("6.0.0", "Fractions of a second are allowed for `timeout`.")],
        deprecated: Some(("6.2.0", "`BLMOVE`, options `RIGHT` and `LEFT`")),
        run: brpoplpush,
        ..Command::DEFAULT
    },
    Command {
        name: "lindex",
        arity: Arity::Exactly(3),
        flags: flags!(READONLY),
        acl: acl!(LIST),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key index:int",
        summary: "Element at a position.",
        since: "1.0.0",
        group: Group::List,
        complexity: "O(N), N elements passed on the way; O(1) at either end",
        run: lindex,
        ..Command::DEFAULT
    },
    Command {
        name: "linsert",
        arity: Arity::Exactly(5),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(LIST),
        keys: &[KeySpec::key(1, key_flags!(RW | INSERT))],
        access: Access::Keys,
        syntax: "key (where: BEFORE | AFTER) pivot element",
        summary: "Puts an element before or after another.",
        since: "2.2.0",
        group: Group::List,
        complexity: "O(N), N elements passed on the way",
        run: linsert,
        ..Command::DEFAULT
    },
    Command {
        name: "llen",
        arity: Arity::Exactly(2),
        flags: flags!(READONLY | FAST),
        acl: acl!(LIST),
        keys: &[KeySpec::key(1, key_flags!(RO))],
        access: Access::Read,
        syntax: "key",
        summary: "Number of elements.",
        since: "1.0.0",
        group: Group::List,
        run: llen,
        ..Command::DEFAULT
    },
    Command {
        name: "lmove",
        arity: Arity::Exactly(5),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(LIST),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | DELETE)), KeySpec::key(2, key_flags!(RW | INSERT))],
        access: Access::Keys,
        syntax: "source@0 destination@1 (wherefrom: LEFT | RIGHT) (whereto: LEFT | RIGHT)",
        summary: "Moves an element between lists.",
        since: "6.2.0",
        group: Group::List,
        run: lmove,
        ..Command::DEFAULT
    },
    Command {
        name: "lmpop",
        arity: Arity::AtLeast(4),
        flags: flags!(WRITE | MOVABLEKEYS),
        acl: acl!(LIST),
        keys: &[KeySpec::counted(1, 0, 1, 1, key_flags!(RW | ACCESS | DELETE))],
        access: Access::Keys,
        syntax: "numkeys:int key... (where: LEFT | RIGHT) [COUNT count:int]",
        summary: "Pops from the first list that has elements.",
        since: "7.0.0",
        group: Group::List,
        complexity: "O(N+M), N keys, M elements returned",
        run: lmpop,
        ..Command::DEFAULT
    },
    Command {
        name: "lpop",
        arity: Arity::AtLeast(2),
        flags: flags!(WRITE | FAST),
        acl: acl!(LIST),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | DELETE))],
        access: Access::Keys,
        syntax: "key [count:int^6.2.0]",
        summary: "Pops from the left.",
        since: "1.0.0",
        group: Group::List,
        complexity: "O(N), N elements returned",
        history: &[("6.2.0", "Argument `count`.")],
        run: lpop,
        ..Command::DEFAULT
    },
    Command {
        name: "lpos",
        arity: Arity::AtLeast(3),
        flags: flags!(READONLY),
        acl: acl!(LIST),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key element [RANK rank:int] [COUNT num-matches:int] [MAXLEN len:int]",
        summary: "Positions of an element.",
        since: "6.0.6",
        group: Group::List,
        complexity: "O(N), N elements looked at",
        run: lpos,
        ..Command::DEFAULT
    },
    Command {
        name: "lpush",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(LIST),
        keys: &[KeySpec::key(1, key_flags!(RW | INSERT))],
        access: Access::Keys,
        syntax: "key element...",
        summary: "Pushes on the left; makes the list if needed.",
        since: "1.0.0",
        group: Group::List,
        complexity: "O(1) for each element",
        history: &[("2.4.0", "Takes several elements.")],
        run: lpush,
        ..Command::DEFAULT
    },
    Command {
        name: "lpushx",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(LIST),
        keys: &[KeySpec::key(1, key_flags!(RW | INSERT))],
        access: Access::Keys,
        syntax: "key element...",
        summary: "Pushes on the left of a list that exists.",
        since: "2.2.0",
        group: Group::List,
        complexity: "O(1) for each element",
        history: &[("4.0.0", "Takes several elements.")],
        run: lpushx,
        ..Command::DEFAULT
    },
    Command {
        name: "lrange",
        arity: Arity::Exactly(4),
        flags: flags!(READONLY),
        acl: acl!(LIST),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key start:int stop:int",
        summary: "Elements from one position to another.",
        since: "1.0.0",
        group: Group::List,
        complexity: "O(S+N), S the distance from the nearer end, N elements returned",
        run: lrange,
        ..Command::DEFAULT
    },
    Command {
        name: "lrem",
        arity: Arity::Exactly(4),
        flags: flags!(WRITE),
        acl: acl!(LIST),
        keys: &[KeySpec::key(1, key_flags!(RW | DELETE))],
        access: Access::Keys,
        syntax: "key count:int element",
        summary: "Removes elements of a value.",
        since: "1.0.0",
        group: Group::List,
        complexity: "O(N+M), N elements, M removed",
        run: lrem,
        ..Command::DEFAULT
    },
    Command {
        name: "lset",
        arity: Arity::Exactly(4),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(LIST),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key index:int element",
        summary: "Changes the element at a position.",
        since: "1.0.0",
        group: Group::List,
        complexity: "O(N), N elements; O(1) at either end",
        run: lset,
        ..Command::DEFAULT
    },
    Command {
        name: "ltrim",
        arity: Arity::Exactly(4),
        flags: flags!(WRITE),
        acl: acl!(LIST),
        keys: &[KeySpec::key(1, key_flags!(RW | DELETE))],
        access: Access::Keys,
        syntax: "key start:int stop:int",
        summary: "Keeps a range and removes the rest.",
        since: "1.0.0",
        group: Group::List,
        complexity: "O(N), N elements removed",
        run: ltrim,
        ..Command::DEFAULT
    },
    Command {
        name: "rpop",
        arity: Arity::AtLeast(2),
        flags: flags!(WRITE | FAST),
        acl: acl!(LIST),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | DELETE))],
        access: Access::Keys,
        syntax: "key [count:int^6.2.0]",
        summary: "Pops from the right.",
        since: "1.0.0",
        group: Group::List,
        complexity: "O(N), N elements returned",
        history: &[("6.2.0", "Argument `count`.")],
        run: rpop,
        ..Command::DEFAULT
    },
    Command {
        name: "rpoplpush",
        arity: Arity::Exactly(3),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(LIST),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | DELETE)), KeySpec::key(2, key_flags!(RW | INSERT))],
        access: Access::Keys,
        syntax: "source@0 destination@1",
        summary: "Moves an element from the right of a list to the left of another.",
        since: "1.2.0",
        group: Group::List,
        deprecated: Some(("6.2.0", "`LMOVE`, options `RIGHT` and `LEFT`")),
        run: rpoplpush,
        ..Command::DEFAULT
    },
    Command {
        name: "rpush",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(LIST),
        keys: &[KeySpec::key(1, key_flags!(RW | INSERT))],
        access: Access::Keys,
        syntax: "key element...",
        summary: "Pushes on the right; makes the list if needed.",
        since: "1.0.0",
        group: Group::List,
        complexity: "O(1) for each element",
        history: &[("2.4.0", "Takes several elements.")],
        run: rpush,
        ..Command::DEFAULT
    },
    Command {
        name: "rpushx",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(LIST),
        keys: &[KeySpec::key(1, key_flags!(RW | INSERT))],
        access: Access::Keys,
        syntax: "key element...",
        summary: "Pushes on the right of a list that exists.",
        since: "2.2.0",
        group: Group::List,
        complexity: "O(1) for each element",
        history: &[("4.0.0", "Takes several elements.")],
        run: rpushx,
        ..Command::DEFAULT
    },
];

/// When a list and its nodes are full.
pub(super) fn limits(config: &Config) -> Limits {
    Limits::new(i64::from(config.list_max_listpack_size))
}

/// LPUSH
pub fn lpush(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    push(ctx, End::Head, true)
}

/// RPUSH
pub fn rpush(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    push(ctx, End::Tail, true)
}

/// LPUSHX
pub fn lpushx(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    push(ctx, End::Head, false)
}

/// RPUSHX
pub fn rpushx(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    push(ctx, End::Tail, false)
}

fn push_event(end: End) -> &'static str {
    if end == End::Head { "lpush" } else { "rpush" }
}

fn pop_event(end: End) -> &'static str {
    if end == End::Head { "lpop" } else { "rpop" }
}

fn push(ctx: &mut Ctx<'_, '_>, end: End, create: bool) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let (elements, limits) = (ctx.args.rest(), limits(ctx.config));
    let count = elements.len();
    let add = |list: &mut List| {
        list.push_all(end, elements, &limits);
        list.len()
    };
    let len = if create { Some(ctx.keys.write(0, List::new, add)?) } else { ctx.keys.edit(0, add)? };
    if len.is_some() {
        ctx.changed(0, Class::LIST, push_event(end), count);
        ctx.fx.ready(0);
    }
    ctx.reply.int(length(len.unwrap_or(0)));
    Ok(Outcome::Done)
}

fn length(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// LPOP
pub fn lpop(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    pop(ctx, End::Head)
}

/// RPOP
pub fn rpop(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    pop(ctx, End::Tail)
}

fn pop(ctx: &mut Ctx<'_, '_>, end: End) -> Result<Outcome, Error> {
    if ctx.args.count() > 3 {
        return Err(ctx.arity_error());
    }
    ctx.args.seek(2);
    let count = ctx.args.peek().map(element::count).transpose()?;
    let limits = limits(ctx.config);
    let reply = &mut ctx.reply;
    let popped = ctx.keys.edit(0, |list: &mut List| {
        if let Some(count) = count {
            reply.array(count.min(list.len()));
        }
        take(list, end, count.unwrap_or(1), reply, &limits)
    })?;
    match popped {
        None if count.is_some() => ctx.reply.null_array(),
        None => ctx.reply.null(),
        Some(0) => {}
        Some(n) => ctx.changed(0, Class::LIST, pop_event(end), n),
    }
    Ok(Outcome::Done)
}

/// Moves up to `count` elements from one end of a list into the reply.
fn take(list: &mut List, end: End, count: usize, reply: &mut Reply<'_>, limits: &Limits) -> usize {
    let count = count.min(list.len());
    match end {
        End::Head => list.iter().take(count).for_each(|e| element::bulk(reply, e)),
        End::Tail => list.iter_rev().take(count).for_each(|e| element::bulk(reply, e)),
    }
    if count > 0 {
        list.drop_end(end, count, limits);
    }
    count
}

/// LLEN
pub fn llen(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let len = ctx.keys.read(0, |list: Option<&List>| list.map_or(0, List::len))?;
    ctx.reply.int(length(len));
    Ok(Outcome::Done)
}

/// LINDEX
pub fn lindex(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    // A missing key is null whatever the index is.
    if !ctx.keys.expect_kind(0, Kind::List)? {
        ctx.reply.null();
        ctx.note_miss(0);
        return Ok(Outcome::Done);
    }
    ctx.args.seek(2);
    let index = ctx.args.int()?;
    let reply = &mut ctx.reply;
    ctx.keys.read(0, |list: Option<&List>| match list.and_then(|l| l.get(index)) {
        Some(elem) => element::bulk(reply, elem),
        None => reply.null(),
    })?;
    Ok(Outcome::Done)
}

/// LSET
pub fn lset(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if !ctx.keys.expect_kind(0, Kind::List)? {
        return Err(Error::NoSuchKey);
    }
    ctx.args.seek(2);
    let (index, value) = (ctx.args.int()?, ctx.args.next()?);
    let limits = limits(ctx.config);
    let set = ctx.keys.edit(0, |list: &mut List| list.set(index, value, &limits))?;
    if set != Some(true) {
        return Err(Error::IndexOutOfRange);
    }
    ctx.changed(0, Class::LIST, "lset", 1);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// LINSERT
pub fn linsert(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let after = ctx.args.token("AFTER");
    if !after && !ctx.args.token("BEFORE") {
        return Err(Error::Syntax);
    }
    let (pivot, value) = (ctx.args.next()?, ctx.args.next()?);
    let limits = limits(ctx.config);
    let inserted = ctx.keys.edit(0, |list: &mut List| {
        let found = list.insert_at_pivot(pivot, after, value, &limits);
        found.then(|| list.len())
    })?;
    let answer = match inserted {
        None => 0,
        Some(None) => -1,
        Some(Some(len)) => {
            ctx.changed(0, Class::LIST, "linsert", 1);
            length(len)
        }
    };
    ctx.reply.int(answer);
    Ok(Outcome::Done)
}

/// LRANGE
pub fn lrange(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let (start, stop) = (ctx.args.int()?, ctx.args.int()?);
    let reply = &mut ctx.reply;
    ctx.keys.read(0, |list: Option<&List>| {
        let Some(list) = list else { return reply.array(0) };
        let (from, count) = element::range(start, stop, list.len());
        reply.array(count);
        list.iter_from(from).take(count).for_each(|e| element::bulk(reply, e));
    })?;
    ctx.note_miss(0);
    Ok(Outcome::Done)
}

/// LTRIM
pub fn ltrim(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let (start, stop) = (ctx.args.int()?, ctx.args.int()?);
    let limits = limits(ctx.config);
    let removed = ctx.keys.edit(0, |list: &mut List| {
        let (from, count) = element::range(start, stop, list.len());
        let removed = list.len() - count;
        list.trim(from, count, &limits);
        removed
    })?;
    if let Some(removed) = removed {
        ctx.changed(0, Class::LIST, "ltrim", removed);
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// LREM
pub fn lrem(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let (count, value) = (ctx.args.int()?, ctx.args.next()?);
    let limits = limits(ctx.config);
    let removed = ctx.keys.edit(0, |list: &mut List| list.remove(count, value, &limits))?;
    let removed = removed.unwrap_or(0);
    if removed > 0 {
        ctx.changed(0, Class::LIST, "lrem", removed);
    }
    ctx.reply.int(length(removed));
    Ok(Outcome::Done)
}

struct PosOptions {
    rank: i64,
    count: Option<usize>,
    maxlen: usize,
}

impl PosOptions {
    fn parse(args: &mut Args<'_>) -> Result<PosOptions, Error> {
        let mut options = PosOptions { rank: 1, count: None, maxlen: 0 };
        while args.left() > 0 {
            if args.left() < 2 {
                return Err(Error::Syntax);
            }
            if args.token("RANK") {
                options.rank = args.int()?;
                if options.rank == i64::MIN {
                    return Err(Error::Line(
                        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
                    ));
                }
                if options.rank == 0 {
                    return Err(Error::Line(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list",
                    ));
                }
            } else if args.token("COUNT") {
                let error = Error::Line("ERR COUNT can't be negative");
                options.count = Some(element::count_or(args.next()?, 0, error)?);
            } else if args.token("MAXLEN") {
                let error = Error::Line("ERR MAXLEN can't be negative");
                options.maxlen = element::count_or(args.next()?, 0, error)?;
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }
}

/// LPOS
pub fn lpos(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let value = ctx.args.next()?;
    let options = PosOptions::parse(&mut ctx.args)?;
    let count = match options.count {
        None => 1,
        Some(0) => usize::MAX,
        Some(n) => n,
    };
    let found = ctx.keys.read(0, |list: Option<&List>| {
        list.map_or(Vec::new(), |l| l.positions(value, options.rank, count, options.maxlen))
    })?;
    if options.count.is_some() {
        ctx.reply.array(found.len());
        found.iter().for_each(|i| ctx.reply.int(length(*i)));
    } else {
        match found.first() {
            Some(i) => ctx.reply.int(length(*i)),
            None => ctx.reply.null(),
        }
    }
    Ok(Outcome::Done)
}
