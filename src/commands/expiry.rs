//! `EXPIRY`: rules that write keys to a stream when they expire.

use std::sync::Arc;

use crate::commands::command::{Arity, Command, Group, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::row::{flags, help};
use crate::config::{Config, ExpiryRule, ExpiryRules};
use crate::error::Error;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[Command {
    name: "expiry",
    arity: Arity::AtLeast(2),
    summary: "What happens when keys expire.",
    since: "0.1.0",
    group: Group::Server,
    complexity: "that of the subcommand",
    subcommands: &[
        Command {
            name: "help",
            arity: Arity::Exactly(2),
            flags: flags!(LOADING | STALE),
            summary: "Lists the subcommands.",
            since: "0.1.0",
            group: Group::Server,
            run: help,
            ..Command::DEFAULT
        },
        Command {
            name: "rule",
            arity: Arity::AtLeast(3),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            syntax: "action:string [argument:string]...",
            summary: "Rules that append keys to a stream when they expire; see EXPIRY RULE HELP.",
            since: "0.1.0",
            group: Group::Server,
            complexity: "O(N), N rules",
            run: rule,
            ..Command::DEFAULT
        },
    ],
    ..Command::DEFAULT
}];

const HELP: &[(&str, &str)] = &[
    (
        "SET <name> PATTERN <pattern> STREAM <key> [DB <db>] [MAXLEN <count>] [VALUE]",
        "Appends keys that match to a stream when they expire; replaces the rule of this name.",
    ),
    ("GET <name>", "Shows a rule."),
    ("DEL <name> [<name> ...]", "Removes rules; how many there were."),
    ("LIST", "Shows all rules."),
    ("HELP", "Prints this help."),
];

/// EXPIRY RULE
pub fn rule(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let action = ctx.args.next()?.to_ascii_lowercase();
    let arguments: Vec<&[u8]> = ctx.args.rest().collect();
    match (action.as_slice(), &arguments[..]) {
        (b"set", words) if !words.is_empty() => set(ctx, words),
        (b"get", [name]) => get(ctx, name),
        (b"del", names) if !names.is_empty() => del(ctx, names),
        (b"list", []) => {
            let config = ctx.shared.config.load();
            ctx.reply.array(config.expiry_rules.0.len());
            config.expiry_rules.0.iter().for_each(|rule| show(ctx, rule));
            Ok(Outcome::Done)
        }
        (b"help", []) => {
            ctx.reply.array(1 + 2 * HELP.len());
            ctx.reply.simple("EXPIRY RULE <action> [<arg> ...]. Actions are:");
            for (syntax, summary) in HELP {
                ctx.reply.simple(syntax);
                ctx.reply.simple(&format!("    {summary}"));
            }
            Ok(Outcome::Done)
        }
        _ => {
            let before = "ERR unknown action or wrong number of arguments for '";
            let word = crate::commands::call::shown(ctx.args.at(2));
            Err(Error::quoting(before, word, "'. Try EXPIRY RULE HELP."))
        }
    }
}

fn set(ctx: &mut Ctx<'_, '_>, words: &[&[u8]]) -> Result<Outcome, Error> {
    let (rule, rest) = ExpiryRule::read(words).map_err(|why| Error::text(format!("ERR {why}")))?;
    if !rest.is_empty() {
        return Err(Error::Syntax);
    }
    if rule.db >= ctx.keyspace().keyspace().databases() {
        return Err(Error::Line("ERR DB index is out of range"));
    }
    change(ctx, |rules| rules.put(rule))?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

fn del(ctx: &mut Ctx<'_, '_>, names: &[&[u8]]) -> Result<Outcome, Error> {
    let mut removed = 0;
    change(ctx, |rules| {
        let before = rules.0.len();
        rules.0.retain(|rule| !names.contains(&rule.name.as_bytes()));
        removed = before - rules.0.len();
        Ok(())
    })?;
    ctx.reply.int(i64::try_from(removed).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// Changes the setting `expiry-rules`, which CONFIG GET shows and CONFIG REWRITE keeps.
fn change(ctx: &Ctx<'_, '_>, f: impl FnOnce(&mut ExpiryRules) -> Result<(), String>) -> Result<(), Error> {
    let shared = ctx.shared;
    let _only_one = shared.config_write.lock();
    let mut new = Config::clone(&shared.config.load());
    f(&mut new.expiry_rules).map_err(|why| Error::text(format!("ERR {why}")))?;
    shared.config.store(Arc::new(new));
    shared.follow_rules();
    Ok(())
}

fn get(ctx: &mut Ctx<'_, '_>, name: &[u8]) -> Result<Outcome, Error> {
    let config = ctx.shared.config.load();
    match config.expiry_rules.0.iter().find(|rule| rule.name.as_bytes() == name) {
        Some(rule) => show(ctx, rule),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

fn show(ctx: &mut Ctx<'_, '_>, rule: &ExpiryRule) {
    ctx.reply.map(6);
    for (name, text) in [("name", &rule.name), ("pattern", &rule.pattern), ("stream", &rule.stream)] {
        ctx.reply.bulk(name.as_bytes());
        ctx.reply.bulk(text.as_bytes());
    }
    for (name, number) in [("db", u64::from(rule.db)), ("maxlen", rule.maxlen)] {
        ctx.reply.bulk(name.as_bytes());
        ctx.reply.int(i64::try_from(number).unwrap_or(i64::MAX));
    }
    ctx.reply.bulk(b"value");
    ctx.reply.bool(rule.value);
}
