//! Sets. Intersections and their kin are in [`algebra`].

mod algebra;

use algebra::{sdiff, sdiffstore, sinter, sintercard, sinterstore, sunion, sunionstore};

use crate::commands::command::{Access, Arity, Command, Group, KeySpec, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::element::{self, Picks};
use crate::commands::rest::{self, MANY, Rest};
use crate::commands::row::{acl, flags, key_flags};
use crate::commands::scan::{self, ScanOf, ScanOptions};
use crate::config::Config;
use crate::effects::Class;
use crate::error::Error;
use crate::glob;
use crate::values::random::{Choice, Random};
use crate::values::set::Limits;
use crate::values::{Kind, Set};

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "sadd",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(SET),
        keys: &[KeySpec::key(1, key_flags!(RW | INSERT))],
        access: Access::Keys,
        syntax: "key member...",
        summary: "Adds members to a set; makes it if needed.",
        since: "1.0.0",
        group: Group::Set,
        complexity: "O(1) for each member",
        history: &[("2.4.0", "Takes several members.")],
        run: sadd,
        ..Command::DEFAULT
    },
    Command {
        name: "scard",
        arity: Arity::Exactly(2),
        flags: flags!(READONLY | FAST),
        acl: acl!(SET),
        keys: &[KeySpec::key(1, key_flags!(RO))],
        access: Access::Read,
        syntax: "key",
        summary: "Number of members.",
        since: "1.0.0",
        group: Group::Set,
        run: scard,
        ..Command::DEFAULT
    },
    Command {
        name: "sdiff",
        arity: Arity::AtLeast(2),
        flags: flags!(READONLY),
        acl: acl!(SET),
        keys: &[KeySpec::range(1, -1, 1, 0, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key...",
        summary: "Members of the first set that no other has.",
        since: "1.0.0",
        group: Group::Set,
        complexity: "O(N), N members in all sets",
        tips: &["nondeterministic_output_order"],
        run: sdiff,
        ..Command::DEFAULT
    },
    Command {
        name: "sdiffstore",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(SET),
        keys: &[
            KeySpec::key(1, key_flags!(OW | UPDATE)),
            KeySpec::range(2, -1, 1, 0, key_flags!(RO | ACCESS)),
        ],
        access: Access::Keys,
        syntax: "destination@0 key@1...",
        summary: "Stores the members of the first set that no other has.",
        since: "1.0.0",
        group: Group::Set,
        complexity: "O(N), N members in all sets",
        run: sdiffstore,
        ..Command::DEFAULT
    },
    Command {
        name: "sinter",
        arity: Arity::AtLeast(2),
        flags: flags!(READONLY),
        acl: acl!(SET),
        keys: &[KeySpec::range(1, -1, 1, 0, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key...",
        summary: "Members that all sets have.",
        since: "1.0.0",
        group: Group::Set,
        complexity: "O(N*M), N the smallest set, M sets",
        tips: &["nondeterministic_output_order"],
        run: sinter,
        ..Command::DEFAULT
    },
    Command {
        name: "sintercard",
        arity: Arity::AtLeast(3),
        flags: flags!(READONLY | MOVABLEKEYS),
        acl: acl!(SET),
        keys: &[KeySpec::counted(1, 0, 1, 1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "numkeys:int key... [LIMIT limit:int]",
        summary: "Number of members that all sets have.",
        since: "7.0.0",
        group: Group::Set,
        complexity: "O(N*M), N the smallest set, M sets",
        run: sintercard,
        ..Command::DEFAULT
    },
    Command {
        name: "sinterstore",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(SET),
        keys: &[
            KeySpec::key(1, key_flags!(RW | UPDATE)),
            KeySpec::range(2, -1, 1, 0, key_flags!(RO | ACCESS)),
        ],
        access: Access::Keys,
        syntax: "destination@0 key@1...",
        summary: "Stores the members that all sets have.",
        since: "1.0.0",
        group: Group::Set,
        complexity: "O(N*M), N the smallest set, M sets",
        run: sinterstore,
        ..Command::DEFAULT
    },
    Command {
        name: "sismember",
        arity: Arity::Exactly(3),
        flags: flags!(READONLY | FAST),
        acl: acl!(SET),
        keys: &[KeySpec::key(1, key_flags!(RO))],
        access: Access::Read,
        syntax: "key member",
        summary: "Whether a set has a member.",
        since: "1.0.0",
        group: Group::Set,
        run: sismember,
        ..Command::DEFAULT
    },
    Command {
        name: "smembers",
        arity: Arity::Exactly(2),
        flags: flags!(READONLY),
        acl: acl!(SET),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key",
        summary: "All members of a set.",
        since: "1.0.0",
        group: Group::Set,
        complexity: "O(N), N members",
        tips: &["nondeterministic_output_order"],
        run: smembers,
        ..Command::DEFAULT
    },
    Command {
        name: "smismember",
        arity: Arity::AtLeast(3),
        flags: flags!(READONLY | FAST),
        acl: acl!(SET),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key member...",
        summary: "Whether a set has each of several members.",
        since: "6.2.0",
        group: Group::Set,
        complexity: "O(N), N members asked for",
        run: smismember,
        ..Command::DEFAULT
    },
    Command {
        name: "smove",
        arity: Arity::Exactly(4),
        flags: flags!(WRITE | FAST),
        acl: acl!(SET),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | DELETE)), KeySpec::key(2, key_flags!(RW | INSERT))],
        access: Access::Keys,
        syntax: "source@0 destination@1 member",
        summary: "Moves a member from one set to another.",
        since: "1.0.0",
        group: Group::Set,
        run: smove,
        ..Command::DEFAULT
    },
    Command {
        name: "spop",
        arity: Arity::AtLeast(2),
        flags: flags!(WRITE | FAST),
        acl: acl!(SET),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | DELETE))],
        access: Access::Keys,
        syntax: "key [count:int^3.2.0]",
        summary: "Removes random members and replies them.",
        since: "1.0.0",
        group: Group::Set,
        complexity: "O(1) for one, O(N) for a count of N",
        history: &[("3.2.0", "Argument `count`.")],
        tips: &["nondeterministic_output"],
        run: spop,
        ..Command::DEFAULT
    },
    Command {
        name: "srandmember",
        arity: Arity::AtLeast(2),
        flags: flags!(READONLY),
        acl: acl!(SET),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key [count:int^2.6.0]",
        summary: "Random members.",
        since: "1.0.0",
        group: Group::Set,
        complexity: "O(1) for one, O(N) for a count of N or -N",
        history: &[("2.6.0", "Argument `count`.")],
        tips: &["nondeterministic_output"],
        run: srandmember,
        ..Command::DEFAULT
    },
    Command {
        name: "srem",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | FAST),
        acl: acl!(SET),
        keys: &[KeySpec::key(1, key_flags!(RW | DELETE))],
        access: Access::Keys,
        syntax: "key member...",
        summary: "Removes members.",
        since: "1.0.0",
        group: Group::Set,
        complexity: "O(N), N members",
        history: &[("2.4.0", "Takes several members.")],
        run: srem,
        ..Command::DEFAULT
    },
    Command {
        name: "sscan",
        arity: Arity::AtLeast(3),
        flags: flags!(READONLY),
        acl: acl!(SET),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key cursor:int [MATCH pattern:pattern] [COUNT count:int]",
        summary: "Walks through a set in steps.",
        since: "2.8.0",
        group: Group::Set,
        complexity: "O(1) a call, O(N) for the whole walk over N members",
        tips: &["nondeterministic_output"],
        run: sscan,
        ..Command::DEFAULT
    },
    Command {
        name: "sunion",
        arity: Arity::AtLeast(2),
        flags: flags!(READONLY),
        acl: acl!(SET),
        keys: &[KeySpec::range(1, -1, 1, 0, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key...",
        summary: "Members that any of the sets has.",
        since: "1.0.0",
        group: Group::Set,
        complexity: "O(N), N members in all sets",
        tips: &["nondeterministic_output_order"],
        run: sunion,
        ..Command::DEFAULT
    },
    Command {
        name: "sunionstore",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(SET),
        keys: &[
            KeySpec::key(1, key_flags!(OW | UPDATE)),
            KeySpec::range(2, -1, 1, 0, key_flags!(RO | ACCESS)),
        ],
        access: Access::Keys,
        syntax: "destination@0 key@1...",
        summary: "Stores the members that any of the sets has.",
        since: "1.0.0",
        group: Group::Set,
        complexity: "O(N), N members in all sets",
        run: sunionstore,
        ..Command::DEFAULT
    },
];

/// When a set changes its form.
pub(super) fn limits(config: &Config) -> Limits {
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Limits {
        intset_entries: size(config.set_max_intset_entries),
        listpack_entries: size(config.set_max_listpack_entries),
        listpack_value: size(config.set_max_listpack_value),
    }
}

fn length(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn random(ctx: &mut Ctx<'_, '_>) -> Random {
    Random::new(ctx.local.rng.u64(..))
}

/// SADD
pub fn sadd(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let (members, limits) = (ctx.args.rest(), limits(ctx.config));
    let (count, first) = (members.len(), ctx.args.next()?);
    let added = ctx.keys.write(
        0,
        || Set::for_member(first, count, &limits),
        |set: &mut Set| {
            set.expect(count, &limits);
            members.filter(|m| set.insert(m, &limits)).count()
        },
    )?;
    if added > 0 {
        ctx.changed(0, Class::SET, "sadd", added);
    }
    ctx.reply.int(length(added));
    Ok(Outcome::Done)
}

/// SREM
pub fn srem(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let members = ctx.args.rest();
    let removed = ctx.keys.edit(0, |set: &mut Set| members.filter(|m| set.remove(m)).count())?;
    let removed = removed.unwrap_or(0);
    if removed > 0 {
        ctx.changed(0, Class::SET, "srem", removed);
    }
    ctx.reply.int(length(removed));
    Ok(Outcome::Done)
}

/// SMOVE
pub fn smove(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let member = ctx.args.at(3);
    if !ctx.keys.expect_kind(0, Kind::Set)? {
        ctx.reply.int(0);
        return Ok(Outcome::Done);
    }
    ctx.keys.expect_kind(1, Kind::Set)?;
    let there = ctx.keys.read(0, |set: Option<&Set>| set.is_some_and(|s| s.contains(member)))?;
    if there && ctx.keys.key(0) != ctx.keys.key(1) {
        let limits = limits(ctx.config);
        // Added before it is removed, so that what cannot be stored stays where it is.
        let new = || Set::for_member(member, 1, &limits);
        let added = ctx.keys.write(1, new, |set: &mut Set| set.insert(member, &limits))?;
        ctx.keys.edit(0, |set: &mut Set| set.remove(member))?;
        ctx.changed(0, Class::SET, "srem", 1);
        if added {
            ctx.changed(1, Class::SET, "sadd", 1);
        }
    }
    ctx.reply.int(i64::from(there));
    Ok(Outcome::Done)
}

/// SISMEMBER
pub fn sismember(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let member = ctx.args.at(2);
    let there = ctx.keys.read(0, |set: Option<&Set>| set.is_some_and(|s| s.contains(member)))?;
    ctx.reply.int(i64::from(there));
    Ok(Outcome::Done)
}

/// SMISMEMBER
pub fn smismember(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let members = ctx.args.rest();
    let reply = &mut ctx.reply;
    ctx.keys.read(0, |set: Option<&Set>| {
        reply.array(members.len());
        members.for_each(|m| reply.int(i64::from(set.is_some_and(|s| s.contains(m)))));
    })?;
    Ok(Outcome::Done)
}

/// SCARD
pub fn scard(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let len = ctx.keys.read(0, |set: Option<&Set>| set.map_or(0, Set::len))?;
    ctx.reply.int(length(len));
    Ok(Outcome::Done)
}

/// SMEMBERS
pub fn smembers(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.note_miss(0);
    if let Some(set) = ctx.keys.snapshot(0, |set: &Set| set.len() >= MANY) {
        ctx.reply.set(set.len());
        return Ok(members(set));
    }
    let reply = &mut ctx.reply;
    ctx.keys.read(0, |set: Option<&Set>| {
        reply.set(set.map_or(0, Set::len));
        if let Some(set) = set {
            set.iter().for_each(|m| element::bulk(reply, m));
        }
    })?;
    Ok(Outcome::Done)
}

/// All members of a set that nobody changes any more, behind the head of a reply.
fn members(set: Set) -> Outcome {
    let mut cursor = 0;
    Outcome::More(Rest::of(set, move |set: &Set, reply, until| {
        rest::put_scanned(reply, until, &mut cursor, |cursor, n, reply| {
            set.scan(cursor, n, |m| element::bulk(reply, m))
        })
    }))
}

/// SPOP
pub fn spop(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    if ctx.args.left() > 1 {
        return Err(Error::Syntax);
    }
    let count = ctx.args.peek().map(element::count).transpose()?;
    let mut random = random(ctx);
    let all = |set: &mut Set| (set.len() >= MANY && count? >= set.len()).then(|| std::mem::take(set));
    if let Some(set) = ctx.keys.edit(0, all)?.flatten() {
        return Ok(pop_all(ctx, set));
    }
    let popped = ctx.keys.edit(0, |set: &mut Set| pop(set, count.unwrap_or(1), &mut random))?;
    let popped = popped.unwrap_or_default();
    if count.is_some() {
        ctx.reply.set(popped.len());
        popped.iter().for_each(|m| ctx.reply.bulk(m));
    } else {
        ctx.reply.bulk_or_null(popped.first().map(Vec::as_slice));
    }
    if popped.is_empty() {
        return Ok(Outcome::Done);
    }
    ctx.changed(0, Class::SET, "spop", popped.len());
    if ctx.shared.stream_has_readers() {
        let key = ctx.keys.key(0).to_vec();
        let mut command: Vec<&[u8]> = vec![b"SREM", &key];
        command.extend(popped.iter().map(Vec::as_slice));
        ctx.fx.instead(&command);
    }
    Ok(Outcome::Done)
}

/// All members of a large set were popped.
fn pop_all(ctx: &mut Ctx<'_, '_>, set: Set) -> Outcome {
    ctx.reply.set(set.len());
    ctx.changed(0, Class::SET, "spop", set.len());
    if ctx.shared.stream_has_readers() {
        let key = ctx.keys.key(0).to_vec();
        ctx.fx.instead(&[b"DEL", &key]);
    }
    members(set)
}

/// Removes `count` members, each choice equally likely.
fn pop(set: &mut Set, count: usize, random: &mut Random) -> Vec<Vec<u8>> {
    if count == 1 {
        return set.pop_random(random).into_iter().collect();
    }
    let mut chosen = Vec::with_capacity(count.min(set.len()));
    set.sample(count, random, |m| chosen.push(m.to_vec()));
    if chosen.len() == set.len() {
        *set = Set::default();
    } else {
        chosen.iter().for_each(|m| {
            set.remove(m);
        });
    }
    chosen
}

/// SRANDMEMBER
pub fn srandmember(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    if ctx.args.left() > 1 {
        return Err(Error::Syntax);
    }
    let picks = ctx.args.peek().map(Picks::parse).transpose()?;
    let mut random = random(ctx);
    let present = ctx.keys.expect_kind(0, Kind::Set)?;
    let picks = if present { picks.map(|p| p.check(ctx.may_reply_on())).transpose()? } else { picks };
    if let Some(picks) = picks.filter(|picks| picks.size() >= MANY)
        && let Some(set) = ctx.keys.snapshot(0, |_: &Set| true)
    {
        return Ok(many_random(ctx, set, picks, random));
    }
    let reply = &mut ctx.reply;
    ctx.keys.read(0, |set: Option<&Set>| match (set, picks) {
        (None, None) => reply.null(),
        (None, Some(_)) => reply.array(0),
        (Some(set), None) => match set.random(&mut random) {
            Some(member) => element::bulk(reply, member),
            None => reply.null(),
        },
        (Some(set), Some(Picks::Distinct(count))) => {
            reply.array(count.min(set.len()));
            set.sample(count, &mut random, |m| element::bulk(reply, m));
        }
        (Some(set), Some(Picks::Repeated(count))) => {
            reply.array(count);
            let picked = (0..count).map_while(|_| set.random(&mut random));
            picked.for_each(|m| element::bulk(reply, m));
        }
    })?;
    Ok(Outcome::Done)
}

/// The reply of SRANDMEMBER with many members.
fn many_random(ctx: &mut Ctx<'_, '_>, set: Set, picks: Picks, mut random: Random) -> Outcome {
    let len = set.len();
    match picks {
        Picks::Repeated(mut count) => {
            ctx.reply.array(count);
            Outcome::More(Rest::of(set, move |set: &Set, reply, until| {
                let picked = (0..count).map_while(|_| set.random(&mut random));
                count -= rest::put(reply, until, picked, element::bulk);
                count > 0
            }))
        }
        Picks::Distinct(count) => {
            ctx.reply.array(count.min(len));
            let (mut cursor, mut choice) = (0, Choice::new(count.min(len), len));
            Outcome::More(Rest::of(set, move |set: &Set, reply, until| {
                rest::put_scanned(reply, until, &mut cursor, |cursor, n, reply| {
                    set.scan(cursor, n, |m| {
                        if choice.takes(&mut random) {
                            element::bulk(reply, m);
                        }
                    })
                })
            }))
        }
    }
}

/// SSCAN
pub fn sscan(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let from = scan::cursor(ctx.args.next()?)?;
    if !ctx.keys.expect_kind(0, Kind::Set)? {
        element::empty_scan(&mut ctx.reply);
        return Ok(Outcome::Done);
    }
    let options = ScanOptions::parse(ctx, ScanOf::Elements)?;
    let mut found: Vec<Vec<u8>> = Vec::new();
    let next = ctx.keys.read(0, |set: Option<&Set>| {
        set.map_or(0, |set| {
            set.scan(from, options.count, |m| {
                let mut digits = itoa::Buffer::new();
                let text = m.text(&mut digits);
                if options.pattern.is_none_or(|p| glob::matches(p, text, false)) {
                    found.push(text.to_vec());
                }
            })
        })
    })?;
    element::scan_reply(ctx, next, &found);
    Ok(Outcome::Done)
}
