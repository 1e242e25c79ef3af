//! The commands that sequences are made of, one row each.
//!
//! A row says what the command is called, how often it comes, how its reply is compared, and what arguments it takes.
//! Left out on purpose: what ends or silences a connection (QUIT, CLIENT REPLY, CLIENT KILL), and what stops the server.

use crate::compare::Compare::{self, Exact, Near, Scan, Shape, Unordered, Unsubscribe};
use crate::generate::Generator;

/// Fills in the arguments after the name.
pub type Arguments = fn(&mut Generator<'_>, &mut Vec<Vec<u8>>);

/// Which connection runs a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The one that runs commands, and transactions.
    Main,
    /// One of those that subscribe.
    Subscriber,
    /// The one that writes between another's WATCH and EXEC.
    Writer,
}

/// One row.
pub struct Template {
    /// Group, for `TANDEM_DIFF_GROUPS`.
    pub group: &'static str,
    /// Name, with its subcommand.
    pub name: &'static str,
    /// Relative frequency.
    pub weight: usize,
    /// What may differ.
    pub compare: Compare,
    /// The connection that it runs on.
    pub on: On,
    /// Whether arguments may be left out, added and changed.
    pub spoil: bool,
    /// Fills in the arguments.
    pub arguments: Arguments,
}

impl Template {
    /// Run by the connection that writes while another one has a transaction.
    pub const fn by_writer(mut self) -> Template {
        self.on = On::Writer;
        self
    }

    /// Only as the row says: the two servers have different words for anything else.
    pub const fn unspoiled(mut self) -> Template {
        self.spoil = false;
        self
    }
}

/// A row for a connection that is no subscriber.
pub const fn row(
    group: &'static str,
    name: &'static str,
    weight: usize,
    compare: Compare,
    arguments: Arguments,
) -> Template {
    Template { group, name, weight, compare, on: On::Main, spoil: true, arguments }
}

const fn subscriber(name: &'static str, weight: usize, compare: Compare, arguments: Arguments) -> Template {
    Template { group: "pubsub", name, weight, compare, on: On::Subscriber, spoil: false, arguments }
}

/// Pushes each expression as one argument.
macro_rules! args {
    ($($value:expr),* $(,)?) => { |g, a| { let _ = &g; let _ = &a; $( let value = ($value)(g); a.push(value); )* } };
}

/// What a row draws its arguments from.
pub type G<'a, 't> = &'a mut Generator<'t>;

fn key(g: G) -> Vec<u8> {
    g.key()
}
fn value(g: G) -> Vec<u8> {
    g.value()
}
fn integer(g: G) -> Vec<u8> {
    g.integer()
}
fn float(g: G) -> Vec<u8> {
    g.float()
}
fn index(g: G) -> Vec<u8> {
    g.index()
}
fn offset(g: G) -> Vec<u8> {
    g.offset()
}
fn bit_offset(g: G) -> Vec<u8> {
    g.bit_offset()
}
fn fresh_seconds(g: G) -> Vec<u8> {
    g.fresh_seconds()
}
fn fresh_milliseconds(g: G) -> Vec<u8> {
    g.fresh_milliseconds()
}
fn future_seconds(g: G) -> Vec<u8> {
    g.future(1)
}
fn future_milliseconds(g: G) -> Vec<u8> {
    g.future(1000)
}
fn database(g: G) -> Vec<u8> {
    g.database()
}
fn pattern(g: G) -> Vec<u8> {
    g.pattern()
}
fn channel(g: G) -> Vec<u8> {
    g.channel()
}

/// No arguments.
pub fn none(_: &mut Generator<'_>, _: &mut Vec<Vec<u8>>) {}

/// One to four of something.
pub fn several(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>, one: fn(G) -> Vec<u8>) {
    for _ in 0..1 + g.rng.below(4) {
        args.push(one(g));
    }
}

fn keys(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    several(g, args, key);
}

fn pairs(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    for _ in 0..1 + g.rng.below(3) {
        args.push(g.key());
        args.push(g.value());
    }
}

/// A lifetime, in one of the four ways.
pub fn lifetime_option(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    let (name, one): (_, fn(G) -> Vec<u8>) = match g.rng.below(4) {
        0 => ("EX", fresh_seconds),
        1 => ("px", fresh_milliseconds),
        2 => ("EXAT", future_seconds),
        _ => ("PXAT", future_milliseconds),
    };
    args.push(name.into());
    args.push(one(g));
}

fn set(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    args.push(g.key());
    args.push(g.value());
    if g.rng.chance(25) {
        args.push(g.word(&["NX", "XX", "xx", "nx"]));
    }
    if g.rng.chance(20) {
        args.push(g.word(&["GET", "get"]));
    }
    if g.rng.chance(30) {
        lifetime_option(g, args);
    }
    if g.rng.chance(10) {
        args.push(b"KEEPTTL".to_vec());
    }
}

fn getex(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    args.push(g.key());
    match g.rng.below(4) {
        0 => args.push(b"PERSIST".to_vec()),
        1 | 2 => lifetime_option(g, args),
        _ => {}
    }
}

fn lcs(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    args.extend([g.key(), g.key()]);
    if g.rng.chance(30) {
        args.push(b"LEN".to_vec());
    }
    if g.rng.chance(40) {
        args.push(b"IDX".to_vec());
        if g.rng.chance(50) {
            args.push(b"WITHMATCHLEN".to_vec());
        }
        if g.rng.chance(50) {
            args.extend([b"MINMATCHLEN".to_vec(), g.integer()]);
        }
    }
}

fn expire_condition(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    if g.rng.chance(35) {
        args.push(g.word(&["NX", "XX", "GT", "LT", "gt"]));
    }
    if g.rng.chance(4) {
        args.push(g.word(&["NX", "GT", "LT", "bad"]));
    }
}

fn copy(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    args.extend([g.key(), g.key()]);
    if g.rng.chance(40) {
        args.extend([b"DB".to_vec(), g.database()]);
    }
    if g.rng.chance(40) {
        args.push(b"REPLACE".to_vec());
    }
}

fn scan(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    args.push(b"0".to_vec());
    if g.rng.chance(50) {
        args.extend([b"MATCH".to_vec(), g.pattern()]);
    }
    if g.rng.chance(50) {
        args.extend([b"COUNT".to_vec(), g.word(&["1", "2", "7", "1000", "0", "-3", "abc"])]);
    }
    if g.rng.chance(30) {
        args.extend([b"TYPE".to_vec(), g.word(&["string", "list", "STRING", "zset", "nonsense"])]);
    }
}

fn bit_range(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    if g.rng.chance(60) {
        args.extend([g.index(), g.index()]);
        if g.rng.chance(40) {
            args.push(g.word(&["BIT", "BYTE", "bit", "byte", "BITS"]));
        }
    }
}

fn bitop(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    args.push(g.word(&["AND", "OR", "XOR", "NOT", "and", "nope"]));
    args.push(g.key());
    if args[1].eq_ignore_ascii_case(b"NOT") && g.rng.chance(80) { args.push(g.key()) } else { keys(g, args) }
}

fn bitfield(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    args.push(g.key());
    for _ in 0..1 + g.rng.below(4) {
        let kind = g.word(&[
            "u1", "u8", "i8", "u16", "i16", "i32", "u63", "i64", "u64", "i65", "x8", "u0", "i5", "u7",
        ]);
        let at = if g.rng.chance(30) { format!("#{}", g.rng.below(20)).into_bytes() } else { g.bit_offset() };
        match g.rng.below(6) {
            0 | 1 => args.extend([b"GET".to_vec(), kind, at]),
            2 | 3 => args.extend([b"SET".to_vec(), kind, at, g.integer()]),
            4 => args.extend([b"incrby".to_vec(), kind, at, g.integer()]),
            _ => args.extend([b"OVERFLOW".to_vec(), g.word(&["WRAP", "SAT", "FAIL", "other"])]),
        }
    }
}

fn bitfield_ro(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    args.push(g.key());
    for _ in 0..1 + g.rng.below(3) {
        args.extend([
            g.word(&["GET", "get", "GET", "GET", "SET"]),
            g.word(&["u1", "i8", "u63", "i64"]),
            g.bit_offset(),
        ]);
    }
}

/// All rows.
pub static TEMPLATES: &[Template] = &[
    // string
    row("string", "SET", 40, Exact, set),
    row("string", "GET", 20, Exact, args![key]),
    row("string", "GETSET", 4, Exact, args![key, value]),
    row("string", "GETDEL", 4, Exact, args![key]),
    row("string", "GETEX", 6, Exact, getex),
    row("string", "SETNX", 4, Exact, args![key, value]),
    row("string", "SETEX", 4, Exact, args![key, fresh_seconds, value]),
    row("string", "PSETEX", 4, Exact, args![key, fresh_milliseconds, value]),
    row("string", "MGET", 4, Exact, keys),
    row("string", "MSET", 5, Exact, pairs),
    row("string", "MSETNX", 3, Exact, pairs),
    row("string", "APPEND", 8, Exact, args![key, value]),
    row("string", "STRLEN", 4, Exact, args![key]),
    row("string", "GETRANGE", 6, Exact, args![key, index, index]),
    row("string", "SUBSTR", 2, Exact, args![key, index, index]),
    row("string", "SETRANGE", 6, Exact, args![key, offset, value]),
    row("string", "INCR", 8, Exact, args![key]),
    row("string", "DECR", 4, Exact, args![key]),
    row("string", "INCRBY", 6, Exact, args![key, integer]),
    row("string", "DECRBY", 4, Exact, args![key, integer]),
    row("string", "INCRBYFLOAT", 6, Exact, args![key, float]),
    row("string", "LCS", 4, Exact, lcs),
    // bitmap
    row("bitmap", "SETBIT", 8, Exact, |g, a| {
        a.extend([g.key(), g.bit_offset(), g.word(&["0", "1", "1", "2", "x"])])
    }),
    row("bitmap", "GETBIT", 5, Exact, args![key, bit_offset]),
    row("bitmap", "BITCOUNT", 5, Compare::CheckedFirst, |g, a| {
        a.push(g.key());
        bit_range(g, a);
    }),
    row("bitmap", "BITPOS", 5, Compare::CheckedFirst, |g, a| {
        a.extend([g.key(), g.word(&["0", "1", "1", "2"])]);
        if g.rng.chance(30) { a.push(g.index()) } else { bit_range(g, a) }
    }),
    row("bitmap", "BITOP", 6, Exact, bitop),
    row("bitmap", "BITFIELD", 8, Exact, bitfield),
    row("bitmap", "BITFIELD_RO", 3, Exact, bitfield_ro),
    // generic
    row("generic", "DEL", 6, Exact, keys),
    row("generic", "UNLINK", 3, Exact, keys),
    row("generic", "EXISTS", 4, Exact, keys),
    row("generic", "TOUCH", 3, Exact, keys),
    row("generic", "TYPE", 4, Exact, args![key]),
    row("generic", "RENAME", 5, Exact, args![key, key]),
    row("generic", "RENAMENX", 4, Exact, args![key, key]),
    row("generic", "COPY", 6, Exact, copy),
    row("generic", "MOVE", 4, Exact, args![key, database]),
    row("generic", "KEYS", 4, Unordered, args![pattern]),
    row("generic", "SCAN", 6, Scan { cursor: 1 }, scan),
    row("generic", "RANDOMKEY", 2, Shape, none),
    row("generic", "DBSIZE", 4, Exact, none),
    row("generic", "OBJECT ENCODING", 8, Compare::Encoding, args![key]),
    // A value may still belong to the queued command that set it.
    row("generic", "OBJECT REFCOUNT", 2, Shape, args![key]),
    row("generic", "OBJECT FREQ", 1, Exact, args![key]),
    // Redis shares small integers, and with them the time of their last use: that of its start, maybe hours ago.
    row("generic", "OBJECT IDLETIME", 2, Near(86_400), args![key]),
    row("generic", "OBJECT", 1, Exact, args![value, key]),
    row("generic", "SWAPDB", 1, Exact, args![database, database]),
    row("generic", "FLUSHDB", 1, Exact, |g, a| a.extend(g.rng.chance(50).then(|| b"ASYNC".to_vec()))),
    row("generic", "FLUSHALL", 1, Exact, |g, a| {
        a.extend(g.rng.chance(50).then(|| g.word(&["SYNC", "ASYNC", "bad"])))
    }),
    // expiry
    row("expire", "EXPIRE", 8, Exact, |g, a| {
        a.extend([g.key(), g.seconds()]);
        expire_condition(g, a);
    }),
    row("expire", "PEXPIRE", 8, Exact, |g, a| {
        a.extend([g.key(), g.milliseconds()]);
        expire_condition(g, a);
    }),
    row("expire", "EXPIREAT", 5, Exact, |g, a| {
        a.extend([g.key(), g.moment(1)]);
        expire_condition(g, a);
    }),
    row("expire", "PEXPIREAT", 5, Exact, |g, a| {
        a.extend([g.key(), g.moment(1000)]);
        expire_condition(g, a);
    }),
    row("expire", "TTL", 5, Near(5), args![key]),
    row("expire", "PTTL", 5, Near(5_000), args![key]),
    row("expire", "EXPIRETIME", 4, Near(5), args![key]),
    row("expire", "PEXPIRETIME", 4, Near(5_000), args![key]),
    row("expire", "PERSIST", 4, Exact, args![key]),
    // pub/sub
    subscriber("SUBSCRIBE", 3, Exact, |g, a| several(g, a, channel)),
    subscriber("PSUBSCRIBE", 3, Exact, |g, a| {
        a.push(g.word(&["ch*", "*", "__keyspace*", "__keyevent@?__:*", "n[ae]ws", "ch?"]))
    }),
    subscriber("SSUBSCRIBE", 2, Exact, |g, a| several(g, a, channel)),
    subscriber("UNSUBSCRIBE", 2, Exact, |g, a| several(g, a, channel)),
    subscriber("PUNSUBSCRIBE", 2, Exact, |g, a| a.push(g.word(&["ch*", "*", "__keyspace*", "none*", "ch?"]))),
    subscriber("SUNSUBSCRIBE", 1, Exact, |g, a| several(g, a, channel)),
    subscriber("UNSUBSCRIBE", 1, Unsubscribe, none),
    subscriber("PUNSUBSCRIBE", 1, Unsubscribe, none),
    subscriber("SUNSUBSCRIBE", 1, Unsubscribe, none),
    subscriber("GET", 1, Exact, args![key]),
    row("pubsub", "PUBLISH", 10, Exact, args![channel, value]),
    row("pubsub", "SPUBLISH", 4, Exact, args![channel, value]),
    row("pubsub", "PUBSUB CHANNELS", 3, Unordered, |g, a| a.extend(g.rng.chance(60).then(|| g.pattern()))),
    row("pubsub", "PUBSUB NUMSUB", 3, Exact, |g, a| several(g, a, channel)),
    row("pubsub", "PUBSUB NUMPAT", 2, Exact, none),
    row("pubsub", "PUBSUB SHARDCHANNELS", 2, Unordered, |g, a| {
        a.extend(g.rng.chance(60).then(|| g.pattern()))
    }),
    row("pubsub", "PUBSUB SHARDNUMSUB", 2, Exact, |g, a| several(g, a, channel)),
];
