//! HyperLogLogs.

use crate::commands::command::{Access, Arity, Command, Group, KeySpec};
use crate::commands::row::{acl, flags, key_flags, not_built};

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "pfadd",
        arity: Arity::AtLeast(2),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(HYPERLOGLOG),
        keys: &[KeySpec::key(1, key_flags!(RW | INSERT))],
        access: Access::Keys,
        syntax: "key [element]...",
        summary: "Adds elements to a HyperLogLog.",
        since: "2.8.9",
        group: Group::HyperLogLog,
        complexity: "O(1) for each element",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "pfcount",
        arity: Arity::AtLeast(2),
        flags: flags!(READONLY | MAY_REPLICATE),
        acl: acl!(HYPERLOGLOG),
        keys: &[KeySpec::range(1, -1, 1, 0, key_flags!(RW | ACCESS))
            .note("The estimate is kept in the value, which is propagated.")],
        access: Access::Keys,
        syntax: "key...",
        summary: "Estimated number of distinct elements.",
        since: "2.8.9",
        group: Group::HyperLogLog,
        complexity: "O(1) for one key; O(N) and slower for N keys",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "pfdebug",
        arity: Arity::Exactly(3),
        flags: flags!(WRITE | DENYOOM | ADMIN),
        acl: acl!(HYPERLOGLOG),
        keys: &[KeySpec::key(2, key_flags!(RW | ACCESS))],
        access: Access::Keys,
        syntax: "subcommand key",
        summary: "Looks inside a HyperLogLog.",
        since: "2.8.9",
        group: Group::HyperLogLog,
        complexity: "",
        internal: true,
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "pfmerge",
        arity: Arity::AtLeast(2),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(HYPERLOGLOG),
        keys: &[
            KeySpec::key(1, key_flags!(RW | ACCESS | INSERT)),
            KeySpec::range(2, -1, 1, 0, key_flags!(RO | ACCESS)),
        ],
        access: Access::Keys,
        syntax: "destkey@0 [sourcekey@1]...",
        summary: "Joins HyperLogLogs into one.",
        since: "2.8.9",
        group: Group::HyperLogLog,
        complexity: "O(N), N HyperLogLogs, with a large constant",
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "pfselftest",
        arity: Arity::Exactly(1),
        flags: flags!(ADMIN),
        acl: acl!(HYPERLOGLOG),
        summary: "Checks the HyperLogLog code.",
        since: "2.8.9",
        group: Group::HyperLogLog,
        complexity: "",
        internal: true,
        run: not_built,
        ..Command::DEFAULT
    },
];
