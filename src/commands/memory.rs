//! `MEMORY`.

use crate::commands::command::{Access, Arity, Command, Group, KeySpec};
use crate::commands::row::{flags, help, key_flags, not_built};

/// The commands of this family.
pub static COMMANDS: &[Command] = &[Command {
    name: "memory",
    arity: Arity::AtLeast(2),
    summary: "Looks at memory.",
    since: "4.0.0",
    group: Group::Server,
    complexity: "that of the subcommand",
    subcommands: &[
        Command {
            name: "doctor",
            arity: Arity::Exactly(2),
            summary: "What the memory figures mean, in words.",
            since: "4.0.0",
            group: Group::Server,
            tips: &[
                "nondeterministic_output",
                "request_policy:all_shards",
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
            since: "4.0.0",
            group: Group::Server,
            run: help,
            ..Command::DEFAULT
        },
        Command {
            name: "malloc-stats",
            arity: Arity::Exactly(2),
            summary: "Report of the allocator.",
            since: "4.0.0",
            group: Group::Server,
            complexity: "grows with the memory in use, may be slow",
            tips: &[
                "nondeterministic_output",
                "request_policy:all_shards",
                "response_policy:special",
            ],
            run: not_built,
            ..Command::DEFAULT
        },
        Command {
            name: "purge",
            arity: Arity::Exactly(2),
            summary: "Asks the allocator to return memory.",
            since: "4.0.0",
            group: Group::Server,
            complexity: "grows with the memory in use, may be slow",
            tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
            run: not_built,
            ..Command::DEFAULT
        },
        Command {
            name: "stats",
            arity: Arity::Exactly(2),
            summary: "Where the memory goes.",
            since: "4.0.0",
            group: Group::Server,
            tips: &[
                "nondeterministic_output",
                "request_policy:all_shards",
                "response_policy:special",
            ],
            run: not_built,
            ..Command::DEFAULT
        },
        Command {
            name: "usage",
            arity: Arity::AtLeast(3),
            flags: flags!(READONLY),
            keys: &[KeySpec::key(2, key_flags!(RO))],
            access: Access::Read,
            syntax: "key [SAMPLES count:int]",
            summary: "Bytes that a key and its value take.",
            since: "4.0.0",
            group: Group::Server,
            complexity: "O(N), N elements sampled",
            run: not_built,
            ..Command::DEFAULT
        },
    ],
    ..Command::DEFAULT
}];
