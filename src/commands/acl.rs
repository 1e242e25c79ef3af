//! `ACL`.

use crate::commands::command::{Arity, Categories, Command, Group, Outcome};
use crate::commands::command_info::category_name;
use crate::commands::ctx::Ctx;
use crate::commands::row::{flags, help, not_built};
use crate::commands::table;
use crate::error::Error;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[Command {
    name: "acl",
    arity: Arity::AtLeast(2),
    flags: flags!(SENTINEL),
    summary: "Commands about users and permissions.",
    since: "6.0.0",
    group: Group::Server,
    complexity: "that of the subcommand",
    subcommands: &[
        Command {
            name: "cat",
            arity: Arity::AtLeast(2),
            flags: flags!(NOSCRIPT | LOADING | STALE | SENTINEL),
            syntax: "[category]",
            summary: "Categories, or the commands of one.",
            since: "6.0.0",
            group: Group::Server,
            complexity: "O(1): their number is fixed",
            run: acl_cat,
            ..Command::DEFAULT
        },
        Command {
            name: "deluser",
            arity: Arity::AtLeast(3),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL),
            syntax: "username...",
            summary: "Removes users and closes their connections.",
            since: "6.0.0",
            group: Group::Server,
            complexity: "O(1) amortized for a usual user",
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            run: not_built,
            ..Command::DEFAULT
        },
        Command {
            name: "dryrun",
            arity: Arity::AtLeast(4),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL),
            syntax: "username command [arg]...",
            summary: "Says whether a user might run a command, without running it.",
            since: "7.0.0",
            group: Group::Server,
            run: not_built,
            ..Command::DEFAULT
        },
        Command {
            name: "genpass",
            arity: Arity::AtLeast(2),
            flags: flags!(NOSCRIPT | LOADING | STALE | SENTINEL),
            syntax: "[bits:int]",
            summary: "A random password.",
            since: "6.0.0",
            group: Group::Server,
            run: not_built,
            ..Command::DEFAULT
        },
        Command {
            name: "getuser",
            arity: Arity::Exactly(3),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL),
            syntax: "username",
            summary: "All rules of a user.",
            since: "6.0.0",
            group: Group::Server,
            complexity: "O(N), N rules of the user",
            history: &[
                ("6.2.0", "Channel patterns."),
                ("7.0.0", "Selectors; keys and channels are shown as rules."),
            ],
            run: not_built,
            ..Command::DEFAULT
        },
        Command {
            name: "help",
            arity: Arity::Exactly(2),
            flags: flags!(LOADING | STALE | SENTINEL),
            summary: "Lists the subcommands.",
            since: "6.0.0",
            group: Group::Server,
            run: help,
            ..Command::DEFAULT
        },
        Command {
            name: "list",
            arity: Arity::Exactly(2),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL),
            summary: "All users as lines of an ACL file.",
            since: "6.0.0",
            group: Group::Server,
            complexity: "O(N), N users",
            run: not_built,
            ..Command::DEFAULT
        },
        Command {
            name: "load",
            arity: Arity::Exactly(2),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL),
            summary: "Reads the ACL file again.",
            since: "6.0.0",
            group: Group::Server,
            complexity: "O(N), N users",
            run: not_built,
            ..Command::DEFAULT
        },
        Command {
            name: "log",
            arity: Arity::AtLeast(2),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL),
            syntax: "[operation: count:int | RESET]",
            summary: "What was denied lately.",
            since: "6.0.0",
            group: Group::Server,
            complexity: "O(N), N entries shown",
            history: &[("7.2.0", "Entries carry a number and two times.")],
            run: not_built,
            ..Command::DEFAULT
        },
        Command {
            name: "save",
            arity: Arity::Exactly(2),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL),
            summary: "Writes the users to the ACL file.",
            since: "6.0.0",
            group: Group::Server,
            complexity: "O(N), N users",
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            run: not_built,
            ..Command::DEFAULT
        },
        Command {
            name: "setuser",
            arity: Arity::AtLeast(3),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL),
            syntax: "username [rule]...",
            summary: "Makes or changes a user.",
            since: "6.0.0",
            group: Group::Server,
            complexity: "O(N), N rules given",
            history: &[
                ("6.2.0", "Channel patterns."),
                ("7.0.0", "Selectors; separate read and write permission for keys."),
            ],
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            run: not_built,
            ..Command::DEFAULT
        },
        Command {
            name: "users",
            arity: Arity::Exactly(2),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL),
            summary: "Names of all users.",
            since: "6.0.0",
            group: Group::Server,
            complexity: "O(N), N users",
            run: not_built,
            ..Command::DEFAULT
        },
        Command {
            name: "whoami",
            arity: Arity::Exactly(2),
            flags: flags!(NOSCRIPT | LOADING | STALE | SENTINEL),
            summary: "User of this connection.",
            since: "6.0.0",
            group: Group::Server,
            run: acl_whoami,
            ..Command::DEFAULT
        },
    ],
    ..Command::DEFAULT
}];

/// ACL WHOAMI: there is one user until ACL is built.
pub fn acl_whoami(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let user = ctx.session.handle.labels().user;
    ctx.reply.bulk(&user);
    Ok(Outcome::Done)
}

/// ACL CAT
pub fn acl_cat(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if ctx.args.left() > 1 {
        return Err(ctx.arity_error());
    }
    let Ok(wanted) = ctx.args.next() else {
        ctx.reply.array(Categories::all().iter().count());
        for category in Categories::all().iter() {
            ctx.reply.bulk(category_name(category).as_bytes());
        }
        return Ok(Outcome::Done);
    };
    let category =
        Categories::all().iter().find(|c| category_name(*c).as_bytes().eq_ignore_ascii_case(wanted));
    let Some(category) = category else {
        return Err(Error::quoting("ERR Unknown category '", wanted, "'"));
    };
    let ids = (0u16..).zip(table::all());
    let members: Vec<u16> = ids
        .filter(|(_, c)| c.subcommands.is_empty() && c.categories().contains(category))
        .map(|(id, _)| id)
        .collect();
    ctx.reply.array(members.len());
    for id in members {
        ctx.reply.bulk(table::full_name(id).as_bytes());
    }
    Ok(Outcome::Done)
}
