//! `COMMAND`: what the table says about itself.

use crate::commands::args::Args;
use crate::commands::command::{
    Arity, BeginSearch, Categories, Command, FindKeys, Flags, Group, KeyFlags, KeySpec, Outcome,
};
use crate::commands::ctx::Ctx;
use crate::commands::keyspec::{self, KeyList};
use crate::commands::row::{acl, flags, help};
use crate::commands::syntax::Arg;
use crate::commands::{syntax, table};
use crate::error::Error;
use crate::protocol::reply::Reply;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[Command {
    name: "command",
    arity: Arity::AtLeast(1),
    flags: flags!(LOADING | STALE | SENTINEL),
    acl: acl!(CONNECTION),
    summary: "Facts about all commands.",
    since: "2.8.13",
    group: Group::Server,
    complexity: "O(N), N commands",
    tips: &["nondeterministic_output_order"],
    run: command,
    subcommands: &[
        Command {
            name: "count",
            arity: Arity::Exactly(2),
            flags: flags!(LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            summary: "Number of commands.",
            since: "2.8.13",
            group: Group::Server,
            run: command_count,
            ..Command::DEFAULT
        },
        Command {
            name: "docs",
            arity: Arity::AtLeast(2),
            flags: flags!(LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            syntax: "[command-name]...",
            summary: "Documentation of commands.",
            since: "7.0.0",
            group: Group::Server,
            complexity: "O(N), N commands asked for",
            tips: &["nondeterministic_output_order"],
            run: command_docs,
            ..Command::DEFAULT
        },
        Command {
            name: "getkeys",
            arity: Arity::AtLeast(3),
            flags: flags!(LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            syntax: "command [arg]...",
            summary: "Keys of a complete command line.",
            since: "2.8.13",
            group: Group::Server,
            complexity: "O(N), N arguments",
            run: command_getkeys,
            ..Command::DEFAULT
        },
        Command {
            name: "getkeysandflags",
            arity: Arity::AtLeast(3),
            flags: flags!(LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            syntax: "command [arg]...",
            summary: "Keys of a complete command line, and what happens to each.",
            since: "7.0.0",
            group: Group::Server,
            complexity: "O(N), N arguments",
            run: command_getkeysandflags,
            ..Command::DEFAULT
        },
        Command {
            name: "help",
            arity: Arity::Exactly(2),
            flags: flags!(LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            summary: "Lists the subcommands.",
            since: "5.0.0",
            group: Group::Server,
            run: help,
            ..Command::DEFAULT
        },
        Command {
            name: "info",
            arity: Arity::AtLeast(2),
            flags: flags!(LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            syntax: "[command-name]...",
            summary: "Facts about some or all commands.",
            since: "2.8.13",
            group: Group::Server,
            complexity: "O(N), N commands asked for",
            history: &[("7.0.0", "All commands when none is named.")],
            tips: &["nondeterministic_output_order"],
            run: command_info,
            ..Command::DEFAULT
        },
        Command {
            name: "list",
            arity: Arity::AtLeast(2),
            flags: flags!(LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            syntax: "[FILTERBY filterby: MODULE module-name | ACLCAT category | PATTERN pattern:pattern]",
            summary: "Names of commands.",
            since: "7.0.0",
            group: Group::Server,
            complexity: "O(N), N commands",
            tips: &["nondeterministic_output_order"],
            run: command_list,
            ..Command::DEFAULT
        },
    ],
    ..Command::DEFAULT
}];

/// COMMAND: facts about every command.
fn command(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let ids = top_level();
    ctx.reply.array(ids.len());
    for id in ids {
        write_info(&mut ctx.reply, id);
    }
    Ok(Outcome::Done)
}

/// COMMAND COUNT
fn command_count(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.reply.int(top_level().len() as i64);
    Ok(Outcome::Done)
}

/// COMMAND INFO
fn command_info(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if ctx.args.left() == 0 {
        return command(ctx);
    }
    let names = ctx.args.rest();
    ctx.reply.array(names.len());
    for name in names {
        match by_full_name(name) {
            Some(id) => write_info(&mut ctx.reply, id),
            None => ctx.reply.null(),
        }
    }
    Ok(Outcome::Done)
}

/// COMMAND DOCS
fn command_docs(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let ids = match ctx.args.left() {
        0 => top_level(),
        _ => ctx.args.rest().filter_map(by_full_name).collect(),
    };
    ctx.reply.map(ids.len());
    for id in ids {
        ctx.reply.bulk(table::full_name(id).as_bytes());
        write_docs(&mut ctx.reply, id);
    }
    Ok(Outcome::Done)
}

/// COMMAND LIST
fn command_list(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let filter = list_filter(&mut ctx.args)?;
    let ids: Vec<u16> = every_id().filter(|id| filter.accepts(*id)).collect();
    ctx.reply.array(ids.len());
    for id in ids {
        ctx.reply.bulk(table::full_name(id).as_bytes());
    }
    Ok(Outcome::Done)
}

/// COMMAND GETKEYS
fn command_getkeys(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    getkeys(ctx, false)
}

/// COMMAND GETKEYSANDFLAGS
fn command_getkeysandflags(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    getkeys(ctx, true)
}

/// What `COMMAND LIST FILTERBY` asks for.
enum Filter<'k> {
    All,
    Nothing,
    Category(Categories),
    Pattern(&'k [u8]),
}

impl Filter<'_> {
    fn accepts(&self, id: u16) -> bool {
        match self {
            Filter::All => true,
            Filter::Nothing => false,
            Filter::Category(c) => table::by_id(id).is_some_and(|f| f.command.categories().contains(*c)),
            Filter::Pattern(p) => crate::glob::matches(p, table::full_name(id).as_bytes(), true),
        }
    }
}

fn list_filter<'k>(args: &mut Args<'k>) -> Result<Filter<'k>, Error> {
    if args.left() == 0 {
        return Ok(Filter::All);
    }
    if args.left() != 3 || !args.token("filterby") {
        return Err(Error::Syntax);
    }
    if args.token("module") {
        // There are no modules, so no command comes from one.
        return Ok(Filter::Nothing);
    }
    if args.token("aclcat") {
        let name = args.next()?;
        let known =
            Categories::all().iter().find(|c| category_name(*c).as_bytes().eq_ignore_ascii_case(name));
        return Ok(known.map_or(Filter::Nothing, Filter::Category));
    }
    if args.token("pattern") {
        return Ok(Filter::Pattern(args.next()?));
    }
    Err(Error::Syntax)
}

fn getkeys(ctx: &mut Ctx<'_, '_>, with_flags: bool) -> Result<Outcome, Error> {
    let inner = ctx.args.request();
    let n = inner.count();
    let Some(found) = table::lookup_request(|i| inner.at(i), n).found() else {
        return Err(Error::Line("ERR Invalid command specified"));
    };
    if !keyspec::has_keys(found.command) {
        return Err(Error::Line("ERR The command has no key arguments"));
    }
    if !found.command.arity.accepts(n) {
        return Err(Error::Line("ERR Invalid number of arguments specified for command"));
    }
    let mut keys = KeyList::new();
    if keyspec::keys_of(found.command, &inner, &mut keys).is_err() {
        keys.clear();
    }
    if keys.is_empty() && !found.command.flags.contains(Flags::NO_MANDATORY_KEYS) {
        return Err(Error::Line("ERR Invalid arguments specified for command"));
    }
    ctx.reply.array(keys.len());
    for key in keys {
        if with_flags {
            ctx.reply.array(2);
        }
        ctx.reply.bulk(inner.at(key.index));
        if with_flags {
            write_statuses(&mut ctx.reply, KEY_FLAGS, key.flags);
        }
    }
    Ok(Outcome::Done)
}

/// Ids of everything that is no subcommand.
fn top_level() -> Vec<u16> {
    every_id().filter(|id| table::container(*id).id == *id).collect()
}

fn every_id() -> impl Iterator<Item = u16> {
    0..u16::try_from(table::all().len()).unwrap_or(u16::MAX)
}

/// `get` or `client|list`.
fn by_full_name(name: &[u8]) -> Option<u16> {
    let mut parts = name.splitn(2, |b| *b == b'|');
    let (head, tail) = (parts.next()?, parts.next());
    match tail {
        None => table::lookup(head).map(|f| f.id),
        Some(sub) => {
            let container = table::lookup(head)?;
            let found = table::lookup_request(|i| if i == 0 { head } else { sub }, 2).found()?;
            (found.id != container.id).then_some(found.id)
        }
    }
}

fn subcommands(id: u16) -> std::ops::Range<u16> {
    let n = table::all()[usize::from(id)].subcommands.len();
    id + 1..id + 1 + u16::try_from(n).unwrap_or(0)
}

fn write_info(reply: &mut Reply<'_>, id: u16) {
    let command = table::all()[usize::from(id)];
    let (first, last, step) = legacy_range(command.keys);
    reply.array(10);
    reply.bulk(table::full_name(id).as_bytes());
    reply.int(command.arity.signed());
    write_statuses(reply, FLAGS, command.flags);
    for n in [first, last, step] {
        reply.int(n);
    }
    let categories = command.categories();
    reply.set(categories.iter().count());
    for category in categories.iter() {
        reply.simple(&format!("@{}", category_name(category)));
    }
    reply.set(command.tips.len());
    for tip in command.tips {
        reply.bulk(tip.as_bytes());
    }
    reply.set(command.keys.len());
    for spec in command.keys {
        write_spec(reply, spec);
    }
    if command.subcommands.is_empty() {
        reply.set(0);
        return;
    }
    reply.array(command.subcommands.len());
    for sub in subcommands(id) {
        write_info(reply, sub);
    }
}

/// The set names of all flags that a table has and that are set.
fn write_statuses<F: bitflags::Flags + Copy>(reply: &mut Reply<'_>, names: &[(F, &str)], flags: F) {
    let set = || names.iter().filter(|(flag, _)| flags.contains(*flag));
    reply.set(set().count());
    for (_, name) in set() {
        reply.simple(name);
    }
}

/// Name of an ACL category, without the `@`.
pub(super) fn category_name(category: Categories) -> String {
    category.iter_names().next().map(|(name, _)| name.to_ascii_lowercase()).unwrap_or_default()
}

/// First key, last key and step, as they were before there were specifications.
fn legacy_range(specs: &[KeySpec]) -> (i64, i64, i64) {
    let range = |spec: &KeySpec| match (spec.begin, spec.find) {
        (BeginSearch::Index(i), FindKeys::Range { last, step, .. }) => {
            let last = if last >= 0 { i64::from(i) + i64::from(last) } else { i64::from(last) };
            Some((i64::from(i), last, i64::from(step)))
        }
        _ => None,
    };
    if let [only] = specs {
        return range(only).unwrap_or((0, 0, 0));
    }
    let mut whole: Option<(i64, i64)> = None;
    for (first, last, step) in specs.iter().filter_map(range) {
        // Only ranges that touch each other add up to one.
        if step != 1 || whole.is_some_and(|(_, end)| end != first - 1) {
            return (0, 0, 0);
        }
        let begin = whole.map_or(first, |(begin, _)| begin.min(first));
        // A negative last counts from the end and so is later than any other.
        let end =
            whole.map_or(last, |(_, end)| if end < 0 || last < 0 { end.min(last) } else { end.max(last) });
        whole = Some((begin, end));
    }
    whole.map_or((0, 0, 0), |(first, last)| (first, last, 1))
}

fn write_spec(reply: &mut Reply<'_>, spec: &KeySpec) {
    reply.map(if spec.notes.is_empty() { 3 } else { 4 });
    if !spec.notes.is_empty() {
        reply.bulk(b"notes");
        reply.bulk(spec.notes.as_bytes());
    }
    reply.bulk(b"flags");
    write_statuses(reply, KEY_FLAGS, spec.flags);
    reply.bulk(b"begin_search");
    match spec.begin {
        BeginSearch::Unknown => write_step(reply, "unknown", &[]),
        BeginSearch::Index(i) => write_step(reply, "index", &[("index", i64::from(i))]),
        BeginSearch::Keyword { word, from } => {
            write_step_head(reply, "keyword", 2);
            reply.bulk(b"keyword");
            reply.bulk(word.as_bytes());
            reply.bulk(b"startfrom");
            reply.int(i64::from(from));
        }
    }
    reply.bulk(b"find_keys");
    match spec.find {
        FindKeys::Unknown => write_step(reply, "unknown", &[]),
        FindKeys::Range { last, step, limit } => {
            let facts =
                [("lastkey", i64::from(last)), ("keystep", i64::from(step)), ("limit", i64::from(limit))];
            write_step(reply, "range", &facts);
        }
        FindKeys::KeyNum { at, first, step } => {
            let facts =
                [("keynumidx", i64::from(at)), ("firstkey", i64::from(first)), ("keystep", i64::from(step))];
            write_step(reply, "keynum", &facts);
        }
    }
}

fn write_step_head(reply: &mut Reply<'_>, kind: &str, facts: usize) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(facts);
}

fn write_step(reply: &mut Reply<'_>, kind: &str, facts: &[(&str, i64)]) {
    write_step_head(reply, kind, facts.len());
    for (name, n) in facts {
        reply.bulk(name.as_bytes());
        reply.int(*n);
    }
}

fn write_docs(reply: &mut Reply<'_>, id: u16) {
    let command = table::all()[usize::from(id)];
    let args = syntax::parse(command.syntax).unwrap_or_default();
    let mark = reply.defer_map();
    let mut n = 0;
    for (name, text) in [
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.group.name()),
        ("complexity", command.complexity),
    ] {
        n += write_text(reply, name, Some(text).filter(|t| !t.is_empty()));
    }
    let doc_flags = [(command.deprecated.is_some(), "deprecated"), (command.internal, "syscmd")];
    if doc_flags.iter().any(|(set, _)| *set) {
        n += 1;
        reply.bulk(b"doc_flags");
        reply.set(doc_flags.iter().filter(|(set, _)| *set).count());
        doc_flags.iter().filter(|(set, _)| *set).for_each(|(_, name)| reply.simple(name));
    }
    n += write_text(reply, "deprecated_since", command.deprecated.map(|d| d.0));
    n += write_text(reply, "replaced_by", command.deprecated.map(|d| d.1));
    if !command.history.is_empty() {
        n += 1;
        reply.bulk(b"history");
        reply.set(command.history.len());
        for (version, change) in command.history {
            reply.array(2);
            reply.bulk(version.as_bytes());
            reply.bulk(change.as_bytes());
        }
    }
    if !args.is_empty() {
        n += 1;
        reply.bulk(b"arguments");
        write_args(reply, &args);
    }
    if !command.subcommands.is_empty() {
        n += 1;
        reply.bulk(b"subcommands");
        reply.map(command.subcommands.len());
        for sub in subcommands(id) {
            reply.bulk(table::full_name(sub).as_bytes());
            write_docs(reply, sub);
        }
    }
    reply.finish(mark, n);
}

fn write_text(reply: &mut Reply<'_>, name: &str, text: Option<&str>) -> usize {
    let Some(text) = text else { return 0 };
    reply.bulk(name.as_bytes());
    reply.bulk(text.as_bytes());
    1
}

fn write_args(reply: &mut Reply<'_>, args: &[Arg<'_>]) {
    reply.array(args.len());
    for arg in args {
        let mark = reply.defer_map();
        let mut n = write_text(reply, "name", Some(&arg.name));
        n += write_text(reply, "type", Some(arg.kind.name()));
        if !arg.kind.is_group() {
            n += write_text(reply, "display_text", Some(arg.shown.unwrap_or(&arg.name)));
        }
        if let Some(spec) = arg.spec {
            n += 1;
            reply.bulk(b"key_spec_index");
            reply.int(i64::from(spec));
        }
        n += write_text(reply, "token", arg.token);
        n += write_text(reply, "since", arg.since);
        n += write_text(reply, "deprecated_since", arg.deprecated);
        let flags =
            [(arg.optional, "optional"), (arg.multiple, "multiple"), (arg.multiple_token, "multiple_token")];
        if flags.iter().any(|(set, _)| *set) {
            n += 1;
            reply.bulk(b"flags");
            reply.set(flags.iter().filter(|(set, _)| *set).count());
            flags.iter().filter(|(set, _)| *set).for_each(|(_, name)| reply.simple(name));
        }
        if !arg.args.is_empty() {
            n += 1;
            reply.bulk(b"arguments");
            write_args(reply, &arg.args);
        }
        reply.finish(mark, n);
    }
}

/// The flags that `COMMAND INFO` shows, in its order.
const FLAGS: &[(Flags, &str)] = &[
    (Flags::WRITE, "write"),
    (Flags::READONLY, "readonly"),
    (Flags::DENYOOM, "denyoom"),
    (Flags::ADMIN, "admin"),
    (Flags::PUBSUB, "pubsub"),
    (Flags::NOSCRIPT, "noscript"),
    (Flags::BLOCKING, "blocking"),
    (Flags::LOADING, "loading"),
    (Flags::STALE, "stale"),
    (Flags::SKIP_MONITOR, "skip_monitor"),
    (Flags::SKIP_SLOWLOG, "skip_slowlog"),
    (Flags::ASKING, "asking"),
    (Flags::FAST, "fast"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
    (Flags::NO_ASYNC_LOADING, "no_async_loading"),
    (Flags::NO_MULTI, "no_multi"),
    (Flags::MOVABLEKEYS, "movablekeys"),
    (Flags::ALLOW_BUSY, "allow_busy"),
];

/// The flags of a key, in the order of `COMMAND INFO`.
const KEY_FLAGS: &[(KeyFlags, &str)] = &[
    (KeyFlags::RO, "RO"),
    (KeyFlags::RW, "RW"),
    (KeyFlags::OW, "OW"),
    (KeyFlags::RM, "RM"),
    (KeyFlags::ACCESS, "access"),
    (KeyFlags::UPDATE, "update"),
    (KeyFlags::INSERT, "insert"),
    (KeyFlags::DELETE, "delete"),
    (KeyFlags::NOT_KEY, "not_key"),
    (KeyFlags::INCOMPLETE, "incomplete"),
    (KeyFlags::VARIABLE_FLAGS, "variable_flags"),
];
