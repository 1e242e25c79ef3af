//! Hashes: the rows. The handlers are in the files below, by what they do.

pub mod combined;
pub mod deadline;
pub mod read;
pub mod write;

use crate::commands::command::{Access, Arity, Command, Group, KeySpec};
use crate::commands::row::{acl, flags, key_flags};
use crate::config::Config;
use crate::protocol::Reply;
use crate::values::hash::Limits;
use crate::values::packed::Elem;

use super::args::Args;
use super::element;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "hdel",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | DELETE))],
        access: Access::Keys,
        syntax: "key field...",
        summary: "Removes fields of a hash.",
        since: "2.0.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        history: &[("2.4.0", "Takes several fields.")],
        run: write::hdel,
        ..Command::DEFAULT
    },
    Command {
        name: "hexists",
        arity: Arity::Exactly(3),
        flags: flags!(READONLY | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO))],
        access: Access::Read,
        syntax: "key field",
        summary: "Whether a hash has a field.",
        since: "2.0.0",
        group: Group::Hash,
        run: read::hexists,
        ..Command::DEFAULT
    },
    Command {
        name: "hexpire",
        arity: Arity::AtLeast(6),
        flags: flags!(WRITE | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key seconds:int [condition: NX | XX | GT | LT] (FIELDS fields: numfields:int field...)",
        summary: "Sets the time to live of fields in seconds.",
        since: "7.4.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: deadline::hexpire,
        ..Command::DEFAULT
    },
    Command {
        name: "hexpireat",
        arity: Arity::AtLeast(6),
        flags: flags!(WRITE | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key unix-time-seconds:time [condition: NX | XX | GT | LT] (FIELDS fields: numfields:int field...)",
        summary: "Sets the second at which fields expire.",
        since: "7.4.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: deadline::hexpireat,
        ..Command::DEFAULT
    },
    Command {
        name: "hexpiretime",
        arity: Arity::AtLeast(5),
        flags: flags!(READONLY | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key (FIELDS fields: numfields:int field...)",
        summary: "Second at which fields expire.",
        since: "7.4.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: deadline::hexpiretime,
        ..Command::DEFAULT
    },
    Command {
        name: "hget",
        arity: Arity::Exactly(3),
        flags: flags!(READONLY | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key field",
        summary: "Value of a field.",
        since: "2.0.0",
        group: Group::Hash,
        run: read::hget,
        ..Command::DEFAULT
    },
    Command {
        name: "hgetall",
        arity: Arity::Exactly(2),
        flags: flags!(READONLY),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key",
        summary: "All fields and values of a hash.",
        since: "2.0.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        tips: &["nondeterministic_output_order"],
        run: read::hgetall,
        ..Command::DEFAULT
    },
    Command {
        name: "hgetdel",
        arity: Arity::AtLeast(5),
        flags: flags!(WRITE | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | DELETE))],
        access: Access::Keys,
        syntax: "key (FIELDS fields: numfields:int field...)",
        summary: "Replies values of fields and removes them.",
        since: "8.0.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: combined::hgetdel,
        ..Command::DEFAULT
    },
    Command {
        name: "hgetex",
        arity: Arity::AtLeast(5),
        flags: flags!(WRITE | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | UPDATE))],
        access: Access::Keys,
        syntax: "key [expiration: EX seconds:int | PX milliseconds:int | EXAT unix-time-seconds:time | PXAT unix-time-milliseconds:time | PERSIST] (FIELDS fields: numfields:int field...)",
        summary: "Replies values of fields and changes their time to live.",
        since: "8.0.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: combined::hgetex,
        ..Command::DEFAULT
    },
    Command {
        name: "hincrby",
        arity: Arity::Exactly(4),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | UPDATE))],
        access: Access::Keys,
        syntax: "key field increment:int",
        summary: "Adds an integer to a field.",
        since: "2.0.0",
        group: Group::Hash,
        run: write::hincrby,
        ..Command::DEFAULT
    },
    Command {
        name: "hincrbyfloat",
        arity: Arity::Exactly(4),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | UPDATE))],
        access: Access::Keys,
        syntax: "key field increment:double",
        summary: "Adds a number to a field.",
        since: "2.6.0",
        group: Group::Hash,
        run: write::hincrbyfloat,
        ..Command::DEFAULT
    },
    Command {
        name: "hkeys",
        arity: Arity::Exactly(2),
        flags: flags!(READONLY),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key",
        summary: "All fields of a hash.",
        since: "2.0.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        tips: &["nondeterministic_output_order"],
        run: read::hkeys,
        ..Command::DEFAULT
    },
    Command {
        name: "hlen",
        arity: Arity::Exactly(2),
        flags: flags!(READONLY | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO))],
        access: Access::Read,
        syntax: "key",
        summary: "Number of fields.",
        since: "2.0.0",
        group: Group::Hash,
        run: read::hlen,
        ..Command::DEFAULT
    },
    Command {
        name: "hmget",
        arity: Arity::AtLeast(3),
        flags: flags!(READONLY | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key field...",
        summary: "Values of several fields.",
        since: "2.0.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: read::hmget,
        ..Command::DEFAULT
    },
    Command {
        name: "hmset",
        arity: Arity::AtLeast(4),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key (data: field value)...",
        summary: "Sets several fields.",
        since: "2.0.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        deprecated: Some(("4.0.0", "`HSET` with several pairs")),
        run: write::hmset,
        ..Command::DEFAULT
    },
    Command {
        name: "hpersist",
        arity: Arity::AtLeast(5),
        flags: flags!(WRITE | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key (FIELDS fields: numfields:int field...)",
        summary: "Takes the time to live of fields away.",
        since: "7.4.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: deadline::hpersist,
        ..Command::DEFAULT
    },
    Command {
        name: "hpexpire",
        arity: Arity::AtLeast(6),
        flags: flags!(WRITE | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key milliseconds:int [condition: NX | XX | GT | LT] (FIELDS fields: numfields:int field...)",
        summary: "Sets the time to live of fields in milliseconds.",
        since: "7.4.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: deadline::hpexpire,
        ..Command::DEFAULT
    },
    Command {
        name: "hpexpireat",
        arity: Arity::AtLeast(6),
        flags: flags!(WRITE | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key unix-time-milliseconds:time [condition: NX | XX | GT | LT] (FIELDS fields: numfields:int field...)",
        summary: "Sets the millisecond at which fields expire.",
        since: "7.4.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: deadline::hpexpireat,
        ..Command::DEFAULT
    },
    Command {
        name: "hpexpiretime",
        arity: Arity::AtLeast(5),
        flags: flags!(READONLY | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key (FIELDS fields: numfields:int field...)",
        summary: "Millisecond at which fields expire.",
        since: "7.4.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: deadline::hpexpiretime,
        ..Command::DEFAULT
    },
    Command {
        name: "hpttl",
        arity: Arity::AtLeast(5),
        flags: flags!(READONLY | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key (FIELDS fields: numfields:int field...)",
        summary: "Time to live of fields in milliseconds.",
        since: "7.4.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        tips: &["nondeterministic_output"],
        run: deadline::hpttl,
        ..Command::DEFAULT
    },
    Command {
        name: "hrandfield",
        arity: Arity::AtLeast(2),
        flags: flags!(READONLY),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key [options: count:int [WITHVALUES]]",
        summary: "Random fields of a hash.",
        since: "6.2.0",
        group: Group::Hash,
        complexity: "O(N), N fields returned",
        tips: &["nondeterministic_output"],
        run: read::hrandfield,
        ..Command::DEFAULT
    },
    Command {
        name: "hscan",
        arity: Arity::AtLeast(3),
        flags: flags!(READONLY),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key cursor:int [MATCH pattern:pattern] [COUNT count:int]",
        summary: "Walks through a hash in steps.",
        since: "2.8.0",
        group: Group::Hash,
        complexity: "O(1) a call, O(N) for the whole walk over N fields",
        tips: &["nondeterministic_output"],
        run: read::hscan,
        ..Command::DEFAULT
    },
    Command {
        name: "hset",
        arity: Arity::AtLeast(4),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key (data: field value)...",
        summary: "Sets fields of a hash.",
        since: "2.0.0",
        group: Group::Hash,
        complexity: "O(1) for each pair",
        history: &[("4.0.0", "Takes several pairs.")],
        run: write::hset,
        ..Command::DEFAULT
    },
    Command {
        name: "hsetex",
        arity: Arity::AtLeast(6),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key [key-condition: NX | XX] [condition: FNX | FXX] [expiration: EX seconds:int | PX milliseconds:int | EXAT unix-time-seconds:time | PXAT unix-time-milliseconds:time | KEEPTTL] (FIELDS fields: numfields:int (data: field value)...)",
        summary: "Sets fields of a hash with a time to live.",
        since: "8.0.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        run: combined::hsetex,
        ..Command::DEFAULT
    },
    Command {
        name: "hsetnx",
        arity: Arity::Exactly(4),
        flags: flags!(WRITE | DENYOOM | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RW | INSERT))],
        access: Access::Keys,
        syntax: "key field value",
        summary: "Sets a field that does not exist yet.",
        since: "2.0.0",
        group: Group::Hash,
        run: write::hsetnx,
        ..Command::DEFAULT
    },
    Command {
        name: "hstrlen",
        arity: Arity::Exactly(3),
        flags: flags!(READONLY | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO))],
        access: Access::Read,
        syntax: "key field",
        summary: "Length of a field's value.",
        since: "3.2.0",
        group: Group::Hash,
        run: read::hstrlen,
        ..Command::DEFAULT
    },
    Command {
        name: "httl",
        arity: Arity::AtLeast(5),
        flags: flags!(READONLY | FAST),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key (FIELDS fields: numfields:int field...)",
        summary: "Time to live of fields in seconds.",
        since: "7.4.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        tips: &["nondeterministic_output"],
        run: deadline::httl,
        ..Command::DEFAULT
    },
    Command {
        name: "hvals",
        arity: Arity::Exactly(2),
        flags: flags!(READONLY),
        acl: acl!(HASH),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key",
        summary: "All values of a hash.",
        since: "2.0.0",
        group: Group::Hash,
        complexity: "O(N), N fields",
        tips: &["nondeterministic_output_order"],
        run: read::hvals,
        ..Command::DEFAULT
    },
];

/// When a hash changes its form.
pub(super) fn limits(config: &Config) -> Limits {
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Limits {
        listpack_entries: size(config.hash_max_listpack_entries),
        listpack_value: size(config.hash_max_listpack_value),
    }
}

fn length(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn bulk_or_null(reply: &mut Reply<'_>, elem: Option<Elem<'_>>) {
    match elem {
        Some(elem) => element::bulk(reply, elem),
        None => reply.null(),
    }
}

/// Pairs of the arguments from `first` on.
fn pairs<'k>(args: &Args<'k>, first: usize) -> impl Iterator<Item = (&'k [u8], &'k [u8])> + use<'k> {
    let args = *args;
    (first..args.count().saturating_sub(1)).step_by(2).map(move |i| (args.at(i), args.at(i + 1)))
}
