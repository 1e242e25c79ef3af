//! `CONFIG`.

use crate::commands::command::{Arity, Command, Group};
use crate::commands::row::{flags, help, not_built};

/// The commands of this family.
pub static COMMANDS: &[Command] = &[Command {
    name: "config",
    arity: Arity::AtLeast(2),
    summary: "Reads and changes settings.",
    since: "2.0.0",
    group: Group::Server,
    complexity: "that of the subcommand",
    subcommands: &[
        Command {
            name: "get",
            arity: Arity::AtLeast(3),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            syntax: "parameter...",
            summary: "Values of settings that match patterns.",
            since: "2.0.0",
            group: Group::Server,
            complexity: "O(N), N settings asked for",
            history: &[("7.0.0", "Takes several patterns.")],
            run: not_built,
            ..Command::DEFAULT
        },
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
            name: "resetstat",
            arity: Arity::Exactly(2),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            summary: "Sets the counters of INFO to zero.",
            since: "2.0.0",
            group: Group::Server,
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            run: not_built,
            ..Command::DEFAULT
        },
        Command {
            name: "rewrite",
            arity: Arity::Exactly(2),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            summary: "Writes the settings in force to the configuration file.",
            since: "2.8.0",
            group: Group::Server,
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            run: not_built,
            ..Command::DEFAULT
        },
        Command {
            name: "set",
            arity: Arity::AtLeast(4),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            syntax: "(data: parameter value)...",
            summary: "Changes settings, all or none.",
            since: "2.0.0",
            group: Group::Server,
            complexity: "O(N), N settings given",
            history: &[("7.0.0", "Takes several pairs.")],
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            run: not_built,
            ..Command::DEFAULT
        },
    ],
    ..Command::DEFAULT
}];
