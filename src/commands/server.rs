//! The server as a whole: `INFO`, `FLUSHALL`, `SHUTDOWN` and their kin.

use crate::commands::command::{Arity, Command, Group};
use crate::commands::row::{acl, flags, help, not_built};

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "info",
        arity: Arity::AtLeast(1),
        flags: flags!(LOADING | STALE | SENTINEL),
        acl: acl!(DANGEROUS),
        syntax: "[section]...",
        summary: "Facts and counters of the server.",
        since: "1.0.0",
        group: Group::Server,
        history: &[("7.0.0", "Takes several sections.")],
        tips: &[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ],
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "lolwut",
        arity: Arity::AtLeast(1),
        flags: flags!(READONLY | FAST),
        syntax: "[VERSION version:int]",
        summary: "Shows a picture and the version.",
        since: "5.0.0",
        group: Group::Server,
        complexity: "",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "module",
        arity: Arity::AtLeast(2),
        summary: "Commands about modules.",
        since: "4.0.0",
        group: Group::Server,
        complexity: "that of the subcommand",
        subcommands: &[
            Command {
                name: "help",
                arity: Arity::Exactly(2),
                flags: flags!(LOADING | STALE),
                summary: "Lists the subcommands.",
                since: "5.0.0",
                group: Group::Server,
                run: help,
                ..Command::DEFAULT
            },
            Command {
                name: "list",
                arity: Arity::Exactly(2),
                flags: flags!(ADMIN | NOSCRIPT),
                summary: "Loaded modules.",
                since: "4.0.0",
                group: Group::Server,
                complexity: "O(N), N modules",
                tips: &["nondeterministic_output_order"],
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "load",
                arity: Arity::AtLeast(3),
                flags: flags!(ADMIN | NOSCRIPT | NO_ASYNC_LOADING | PROTECTED),
                syntax: "path [arg]...",
                summary: "Loads a module.",
                since: "4.0.0",
                group: Group::Server,
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "loadex",
                arity: Arity::AtLeast(3),
                flags: flags!(ADMIN | NOSCRIPT | NO_ASYNC_LOADING | PROTECTED),
                syntax: "path [CONFIG configs: name value]...+ [ARGS args]...",
                summary: "Loads a module with settings.",
                since: "7.0.0",
                group: Group::Server,
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "unload",
                arity: Arity::Exactly(3),
                flags: flags!(ADMIN | NOSCRIPT | NO_ASYNC_LOADING | PROTECTED),
                syntax: "name",
                summary: "Unloads a module.",
                since: "4.0.0",
                group: Group::Server,
                run: not_built,
                ..Command::DEFAULT
            },
        ],
        ..Command::DEFAULT
    },
    Command {
        name: "monitor",
        arity: Arity::Exactly(1),
        flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
        summary: "Shows every command as it comes in.",
        since: "1.0.0",
        group: Group::Server,
        complexity: "",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "shutdown",
        arity: Arity::AtLeast(1),
        flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL | ALLOW_BUSY | NO_MULTI),
        syntax: "[save-selector: NOSAVE | SAVE] [NOW^7.0.0] [FORCE^7.0.0] [ABORT^7.0.0]",
        summary: "Ends the server, saving first if so configured.",
        since: "1.0.0",
        group: Group::Server,
        complexity: "O(N) when it saves, N keys in all databases; else O(1)",
        history: &[("7.0.0", "Options `NOW`, `FORCE`, `ABORT`.")],
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "time",
        arity: Arity::Exactly(1),
        flags: flags!(LOADING | STALE | FAST),
        summary: "The server's clock.",
        since: "2.6.0",
        group: Group::Server,
        tips: &["nondeterministic_output"],
        run: not_built,
        ..Command::DEFAULT
    },
];
