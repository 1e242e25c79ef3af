//! Functions.

use crate::commands::command::{Access, Arity, Command, Group, KeySpec};
use crate::commands::row::{acl, flags, help, key_flags, not_built};

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "fcall",
        arity: Arity::AtLeast(3),
        flags: flags!(NOSCRIPT | STALE | SKIP_MONITOR | MAY_REPLICATE | MOVABLEKEYS | NO_MANDATORY_KEYS),
        acl: acl!(SCRIPTING),
        keys: &[KeySpec::counted(2, 0, 1, 1, key_flags!(RW | ACCESS | UPDATE))
            .note("What the function does to its keys is not known beforehand; read and write are assumed.")],
        access: Access::Whole,
        syntax: "function numkeys:int [key]... [arg]...",
        summary: "Calls a function.",
        since: "7.0.0",
        group: Group::Scripting,
        complexity: "that of the function",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "fcall_ro",
        arity: Arity::AtLeast(3),
        flags: flags!(READONLY | NOSCRIPT | STALE | SKIP_MONITOR | MOVABLEKEYS | NO_MANDATORY_KEYS),
        acl: acl!(SCRIPTING),
        keys: &[KeySpec::counted(2, 0, 1, 1, key_flags!(RO | ACCESS))
            .note("What the function does to its keys is not known beforehand; reading is assumed.")],
        access: Access::Whole,
        syntax: "function numkeys:int [key]... [arg]...",
        summary: "Calls a function that only reads.",
        since: "7.0.0",
        group: Group::Scripting,
        complexity: "that of the function",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "function",
        arity: Arity::AtLeast(2),
        summary: "Commands about functions.",
        since: "7.0.0",
        group: Group::Scripting,
        complexity: "that of the subcommand",
        subcommands: &[
            Command {
                name: "delete",
                arity: Arity::Exactly(3),
                flags: flags!(WRITE | NOSCRIPT),
                acl: acl!(SCRIPTING),
                syntax: "library-name",
                summary: "Removes a library and its functions.",
                since: "7.0.0",
                group: Group::Scripting,
                tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "dump",
                arity: Arity::Exactly(2),
                flags: flags!(NOSCRIPT),
                acl: acl!(SCRIPTING),
                summary: "Serialized form of all libraries.",
                since: "7.0.0",
                group: Group::Scripting,
                complexity: "O(N), N functions",
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "flush",
                arity: Arity::AtLeast(2),
                flags: flags!(WRITE | NOSCRIPT),
                acl: acl!(SCRIPTING),
                syntax: "[flush-type: ASYNC | SYNC]",
                summary: "Removes all libraries.",
                since: "7.0.0",
                group: Group::Scripting,
                complexity: "O(N), N functions",
                tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "help",
                arity: Arity::Exactly(2),
                flags: flags!(LOADING | STALE),
                acl: acl!(SCRIPTING),
                summary: "Lists the subcommands.",
                since: "7.0.0",
                group: Group::Scripting,
                run: help,
                ..Command::DEFAULT
            },
            Command {
                name: "kill",
                arity: Arity::Exactly(2),
                flags: flags!(NOSCRIPT | ALLOW_BUSY),
                acl: acl!(SCRIPTING),
                summary: "Ends a function that runs too long.",
                since: "7.0.0",
                group: Group::Scripting,
                tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "list",
                arity: Arity::AtLeast(2),
                flags: flags!(NOSCRIPT),
                acl: acl!(SCRIPTING),
                syntax: "[LIBRARYNAME library-name-pattern] [WITHCODE]",
                summary: "Libraries and their functions.",
                since: "7.0.0",
                group: Group::Scripting,
                complexity: "O(N), N functions",
                tips: &["nondeterministic_output_order"],
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "load",
                arity: Arity::AtLeast(3),
                flags: flags!(WRITE | DENYOOM | NOSCRIPT),
                acl: acl!(SCRIPTING),
                syntax: "[REPLACE] function-code",
                summary: "Makes a library from its source.",
                since: "7.0.0",
                group: Group::Scripting,
                complexity: "O(1), compiling left aside",
                tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "restore",
                arity: Arity::AtLeast(3),
                flags: flags!(WRITE | DENYOOM | NOSCRIPT),
                acl: acl!(SCRIPTING),
                syntax: "serialized-value [policy: FLUSH | APPEND | REPLACE]",
                summary: "Brings libraries back from their serialized form.",
                since: "7.0.0",
                group: Group::Scripting,
                complexity: "O(N), N functions in the payload",
                tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "stats",
                arity: Arity::Exactly(2),
                flags: flags!(NOSCRIPT | ALLOW_BUSY),
                acl: acl!(SCRIPTING),
                summary: "The running function and the engines.",
                since: "7.0.0",
                group: Group::Scripting,
                tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
                run: not_built,
                ..Command::DEFAULT
            },
        ],
        ..Command::DEFAULT
    },
];
