//! Lua scripts.

use crate::commands::command::{Access, Arity, Command, Group, KeySpec};
use crate::commands::row::{acl, flags, help, key_flags, not_built};

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "eval",
        arity: Arity::AtLeast(3),
        flags: flags!(NOSCRIPT | STALE | SKIP_MONITOR | MAY_REPLICATE | MOVABLEKEYS | NO_MANDATORY_KEYS),
        acl: acl!(SCRIPTING),
        keys: &[KeySpec::counted(2, 0, 1, 1, key_flags!(RW | ACCESS | UPDATE))
            .note("What the script does to its keys is not known beforehand; read and write are assumed.")],
        access: Access::Whole,
        syntax: "script numkeys:int [key]... [arg]...",
        summary: "Runs a Lua script.",
        since: "2.6.0",
        group: Group::Scripting,
        complexity: "that of the script",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "eval_ro",
        arity: Arity::AtLeast(3),
        flags: flags!(READONLY | NOSCRIPT | STALE | SKIP_MONITOR | MOVABLEKEYS | NO_MANDATORY_KEYS),
        acl: acl!(SCRIPTING),
        keys: &[KeySpec::counted(2, 0, 1, 1, key_flags!(RO | ACCESS))
            .note("What the script does to its keys is not known beforehand; reading is assumed.")],
        access: Access::Whole,
        syntax: "script numkeys:int [key]... [arg]...",
        summary: "Runs a Lua script that only reads.",
        since: "7.0.0",
        group: Group::Scripting,
        complexity: "that of the script",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "evalsha",
        arity: Arity::AtLeast(3),
        flags: flags!(NOSCRIPT | STALE | SKIP_MONITOR | MAY_REPLICATE | MOVABLEKEYS | NO_MANDATORY_KEYS),
        acl: acl!(SCRIPTING),
        keys: &[KeySpec::counted(2, 0, 1, 1, key_flags!(RW | ACCESS | UPDATE))],
        access: Access::Whole,
        syntax: "sha1 numkeys:int [key]... [arg]...",
        summary: "Runs a cached Lua script by its SHA-1.",
        since: "2.6.0",
        group: Group::Scripting,
        complexity: "that of the script",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "evalsha_ro",
        arity: Arity::AtLeast(3),
        flags: flags!(READONLY | NOSCRIPT | STALE | SKIP_MONITOR | MOVABLEKEYS | NO_MANDATORY_KEYS),
        acl: acl!(SCRIPTING),
        keys: &[KeySpec::counted(2, 0, 1, 1, key_flags!(RO | ACCESS))],
        access: Access::Whole,
        syntax: "sha1 numkeys:int [key]... [arg]...",
        summary: "Runs a cached Lua script that only reads.",
        since: "7.0.0",
        group: Group::Scripting,
        complexity: "that of the script",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "script",
        arity: Arity::AtLeast(2),
        summary: "Commands about Lua scripts.",
        since: "2.6.0",
        group: Group::Scripting,
        complexity: "that of the subcommand",
        subcommands: &[
            Command {
                name: "debug",
                arity: Arity::Exactly(3),
                flags: flags!(NOSCRIPT),
                acl: acl!(SCRIPTING),
                syntax: "(mode: YES | SYNC | NO)",
                summary: "Switches the script debugger.",
                since: "3.2.0",
                group: Group::Scripting,
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "exists",
                arity: Arity::AtLeast(3),
                flags: flags!(NOSCRIPT),
                acl: acl!(SCRIPTING),
                syntax: "sha1...",
                summary: "Whether scripts are cached.",
                since: "2.6.0",
                group: Group::Scripting,
                complexity: "O(N), N scripts asked for",
                tips: &["request_policy:all_shards", "response_policy:agg_logical_and"],
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "flush",
                arity: Arity::AtLeast(2),
                flags: flags!(NOSCRIPT),
                acl: acl!(SCRIPTING),
                syntax: "[flush-type^6.2.0: ASYNC | SYNC]",
                summary: "Empties the script cache.",
                since: "2.6.0",
                group: Group::Scripting,
                complexity: "O(N), N cached scripts",
                history: &[("6.2.0", "Modes `ASYNC`, `SYNC`.")],
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "help",
                arity: Arity::Exactly(2),
                flags: flags!(LOADING | STALE),
                acl: acl!(SCRIPTING),
                summary: "Lists the subcommands.",
                since: "5.0.0",
                group: Group::Scripting,
                run: help,
                ..Command::DEFAULT
            },
            Command {
                name: "kill",
                arity: Arity::Exactly(2),
                flags: flags!(NOSCRIPT | ALLOW_BUSY),
                acl: acl!(SCRIPTING),
                summary: "Ends a script that runs too long.",
                since: "2.6.0",
                group: Group::Scripting,
                tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "load",
                arity: Arity::Exactly(3),
                flags: flags!(NOSCRIPT | STALE),
                acl: acl!(SCRIPTING),
                syntax: "script",
                summary: "Puts a script into the cache.",
                since: "2.6.0",
                group: Group::Scripting,
                complexity: "O(N), N bytes of source",
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                run: not_built,
                ..Command::DEFAULT
            },
            Command {
                name: "show",
                arity: Arity::Exactly(3),
                flags: flags!(NOSCRIPT | STALE),
                acl: acl!(SCRIPTING),
                syntax: "sha1",
                summary: "Source of a cached script.",
                since: "8.0.0",
                group: Group::Scripting,
                run: not_built,
                ..Command::DEFAULT
            },
        ],
        ..Command::DEFAULT
    },
];
