//! `LATENCY`.

use crate::commands::command::{Arity, Command, Group};
use crate::commands::row::{flags, help, not_built};

/// The commands of this family.
pub static COMMANDS: &[Command] = &[Command {
    name: "latency",
    arity: Arity::AtLeast(2),
    summary: "Looks at latency events.",
    since: "2.8.13",
    group: Group::Server,
    complexity: "that of the subcommand",
    subcommands: &[
        Command {
            name: "doctor",
            arity: Arity::Exactly(2),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            summary: "What the latency events mean, in words.",
            since: "2.8.13",
            group: Group::Server,
            tips: &[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ],
            run: not_built,
            ..Command::DEFAULT
        },
        Command {
            name: "graph",
            arity: Arity::Exactly(3),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            syntax: "event",
            summary: "Picture of an event's latencies.",
            since: "2.8.13",
            group: Group::Server,
            tips: &[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ],
            run: not_built,
            ..Command::DEFAULT
        },
        Command {
            name: "help",
            arity: Arity::Exactly(2),
            flags: flags!(LOADING | STALE),
            summary: "Lists the subcommands.",
            since: "2.8.13",
            group: Group::Server,
            run: help,
            ..Command::DEFAULT
        },
        Command {
            name: "histogram",
            arity: Arity::AtLeast(2),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            syntax: "[command]...",
            summary: "How long commands took, as a histogram.",
            since: "7.0.0",
            group: Group::Server,
            complexity: "O(N), N commands with a histogram",
            tips: &[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ],
            run: not_built,
            ..Command::DEFAULT
        },
        Command {
            name: "history",
            arity: Arity::Exactly(3),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            syntax: "event",
            summary: "Times and latencies of an event.",
            since: "2.8.13",
            group: Group::Server,
            tips: &[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ],
            run: not_built,
            ..Command::DEFAULT
        },
        Command {
            name: "latest",
            arity: Arity::Exactly(2),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            summary: "Last and greatest latency of each event.",
            since: "2.8.13",
            group: Group::Server,
            tips: &[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ],
            run: not_built,
            ..Command::DEFAULT
        },
        Command {
            name: "reset",
            arity: Arity::AtLeast(2),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            syntax: "[event]...",
            summary: "Forgets events.",
            since: "2.8.13",
            group: Group::Server,
            tips: &["request_policy:all_nodes", "response_policy:agg_sum"],
            run: not_built,
            ..Command::DEFAULT
        },
    ],
    ..Command::DEFAULT
}];
