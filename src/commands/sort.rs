//! `SORT` and `SORT_RO`.

use crate::commands::command::{Access, Arity, Command, Group, KeySpec};
use crate::commands::keyspec;
use crate::commands::row::{acl, flags, key_flags, not_built};

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "sort",
        arity: Arity::AtLeast(2),
        flags: flags!(WRITE | DENYOOM | MOVABLEKEYS),
        acl: acl!(SET | SORTEDSET | LIST | DANGEROUS),
        keys: &[
            KeySpec::key(1, key_flags!(RO | ACCESS)),
            KeySpec::unknown(key_flags!(RO | ACCESS)).note("Keys of BY and GET are made from the elements."),
            KeySpec::unknown(key_flags!(OW | UPDATE)).note("STORE may stand at any place."),
        ],
        access: Access::Whole,
        syntax: "key [BY by-pattern:pattern@1#pattern] [LIMIT limit: offset:int count:int] [GET get-pattern:pattern@1#pattern]...+ [order: ASC | DESC] [ALPHA=sorting] [STORE destination@2]",
        summary: "Sorts a list, set or sorted set; replies or stores.",
        since: "1.0.0",
        group: Group::Generic,
        complexity: "O(N+M*log(M)), N elements, M returned; O(N) unsorted",
        find: Some(keyspec::of_sort),
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "sort_ro",
        arity: Arity::AtLeast(2),
        flags: flags!(READONLY | MOVABLEKEYS),
        acl: acl!(SET | SORTEDSET | LIST | DANGEROUS),
        keys: &[
            KeySpec::key(1, key_flags!(RO | ACCESS)),
            KeySpec::unknown(key_flags!(RO | ACCESS)).note("Keys of BY and GET are made from the elements."),
        ],
        access: Access::Whole,
        syntax: "key [BY by-pattern:pattern@1#pattern] [LIMIT limit: offset:int count:int] [GET get-pattern:pattern@1#pattern]...+ [order: ASC | DESC] [ALPHA=sorting]",
        summary: "Sorts a list, set or sorted set; replies only.",
        since: "7.0.0",
        group: Group::Generic,
        complexity: "O(N+M*log(M)), N elements, M returned; O(N) unsorted",
        run: not_built,
        ..Command::DEFAULT
    },
];
