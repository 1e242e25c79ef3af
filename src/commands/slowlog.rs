//! `SLOWLOG` and `COMMANDLOG`.

use crate::commands::command::{Arity, Command, Group};
use crate::commands::row::{flags, help, not_built};

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "commandlog",
        arity: Arity::AtLeast(2),
        summary: "Commands about the logs of slow and large commands.",
        since: "8.1.0",
        group: Group::Server,
        complexity: "that of the subcommand",
        subcommands: &[
            Command {
                name: "get",
                arity: Arity::Exactly(4),
                flags: flags!(ADMIN | LOADING | STALE),
                syntax: "count:int (type: SLOW | LARGE-REQUEST | LARGE-REPLY)",
                summary: "Entries of a command log.",
                since: "8.1.0",
                group: Group::Server,
                complexity: "O(N), N entries returned",
                tips: &["request_policy:all_nodes", "nondeterministic_output"],
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "help",
                arity: Arity::Exactly(2),
                flags: flags!(LOADING | STALE),
                summary: "Lists the subcommands.",
                since: "8.1.0",
                group: Group::Server,
                run: help,
                ..Command::DEFAULT
            },
            Command {
                name: "len",
                arity: Arity::Exactly(3),
                flags: flags!(ADMIN | LOADING | STALE),
                syntax: "(type: SLOW | LARGE-REQUEST | LARGE-REPLY)",
                summary: "Number of entries in a command log.",
                since: "8.1.0",
                group: Group::Server,
                tips: &[
                    "request_policy:all_nodes",
                    "response_policy:agg_sum",
                    "nondeterministic_output",
                ],
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "reset",
                arity: Arity::Exactly(3),
                flags: flags!(ADMIN | LOADING | STALE),
                syntax: "(type: SLOW | LARGE-REQUEST | LARGE-REPLY)",
                summary: "Empties a command log.",
                since: "8.1.0",
                group: Group::Server,
                complexity: "O(N), N entries",
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                run: not_built,
                ..Command::DEFAULT
            },
        ],
        ..Command::DEFAULT
    },
    Command {
        name: "slowlog",
        arity: Arity::AtLeast(2),
        summary: "Looks at the log of slow commands.",
        since: "2.2.12",
        group: Group::Server,
        complexity: "that of the subcommand",
        subcommands: &[
            Command {
                name: "get",
                arity: Arity::AtLeast(2),
                flags: flags!(ADMIN | LOADING | STALE),
                syntax: "[count:int]",
                summary: "Entries of the slow log.",
                since: "2.2.12",
                group: Group::Server,
                complexity: "O(N), N entries returned",
                history: &[("4.0.0", "Entries carry the client's address and name.")],
                tips: &["request_policy:all_nodes", "nondeterministic_output"],
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "help",
                arity: Arity::Exactly(2),
                flags: flags!(LOADING | STALE),
                summary: "Lists the subcommands.",
                since: "6.2.0",
                group: Group::Server,
                run: help,
                ..Command::DEFAULT
            },
            Command {
                name: "len",
                arity: Arity::Exactly(2),
                flags: flags!(ADMIN | LOADING | STALE),
                summary: "Number of entries in the slow log.",
                since: "2.2.12",
                group: Group::Server,
                tips: &[
                    "request_policy:all_nodes",
                    "response_policy:agg_sum",
                    "nondeterministic_output",
                ],
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "reset",
                arity: Arity::Exactly(2),
                flags: flags!(ADMIN | LOADING | STALE),
                summary: "Empties the slow log.",
                since: "2.2.12",
                group: Group::Server,
                complexity: "O(N), N entries",
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                run: not_built,
                ..Command::DEFAULT
            },
        ],
        ..Command::DEFAULT
    },
];
