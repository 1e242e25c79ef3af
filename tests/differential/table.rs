//! The commands that sequences are made of, one row each.
//!
//! A row says what the command is called, how often it comes, how its reply is compared, and what arguments it takes.
//! Left out on purpose: what ends or silences a connection (QUIT, CLIENT REPLY, CLIENT KILL), and what stops the server.

use crate::compare::Compare::{self, ErrorCode, Exact, Hello, Near, Scan, Shape, Unordered, Unsubscribe};
use crate::generate::Generator;

/// Fills in the arguments after the name.
pub type Arguments = fn(&mut Generator<'_>, &mut Vec<Vec<u8>>);

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
    /// Runs on a subscriber's connection.
    pub subscriber: bool,
    /// Whether arguments may be left out, added and changed.
    pub spoil: bool,
    /// Fills in the arguments.
    pub arguments: Arguments,
}

impl Template {
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
    Template { group, name, weight, compare, subscriber: false, spoil: true, arguments }
}

const fn subscriber(name: &'static str, weight: usize, compare: Compare, arguments: Arguments) -> Template {
    Template { group: "pubsub", name, weight, compare, subscriber: true, spoil: false, arguments }
}

/// Pushes each expression as one argument.
macro_rules! args {
    ($($value:expr),* $(,)?) => { |g, a| { let _ = &g; let _ = &a; $( let value = ($value)(g); a.push(value); )* } };
}

type G<'a, 't> = &'a mut Generator<'t>;

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

fn none(_: &mut Generator<'_>, _: &mut Vec<Vec<u8>>) {}

/// One to four of something.
fn several(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>, one: fn(G) -> Vec<u8>) {
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

fn lifetime_option(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
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

fn hello(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    if g.rng.chance(80) {
        args.push(g.word(&["2", "3", "3", "1", "4", "abc"]));
        // 7.0 takes the name at once, 7.2 when nothing can fail any more.
        if g.rng.chance(10) {
            args.extend([b"AUTH".to_vec(), b"default".to_vec(), b"wrong".to_vec()]);
        } else if g.rng.chance(30) {
            args.extend([b"SETNAME".to_vec(), g.word(&["me", "with space", ""])]);
        }
    }
}

fn getkeys(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    args.push(
        g.word(&["GET", "MSET", "SET", "BITOP", "COPY", "DEL", "PING", "OBJECT", "MGET", "LCS", "nothing"]),
    );
    several(g, args, key);
}

fn config_get(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    args.push(g.word(&[
        "databases",
        "maxmemory",
        "no-such",
        "timeout",
        "APPENDONLY",
        "set-max-intset-entr?es",
        "notify-*",
    ]));
}

/// An id that others may have, too; now and then one that is none.
fn stream_id(g: G) -> Vec<u8> {
    match g.rng.below(20) {
        0 => g.word(&["-", "+", "0", "0-0", "x", "5-", "18446744073709551615-18446744073709551615"]),
        1..=4 => g.rng.below(60).to_string().into_bytes(),
        _ => format!("{}-{}", g.rng.below(60), g.rng.below(3)).into_bytes(),
    }
}

/// One end of a range of ids.
fn stream_bound(g: G) -> Vec<u8> {
    match g.rng.below(5) {
        0 => b"-".to_vec(),
        1 => b"+".to_vec(),
        2 => [b"(".to_vec(), stream_id(g)].concat(),
        _ => stream_id(g),
    }
}

fn stream_trim(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    let by_id = g.rng.chance(50);
    args.push(g.word(if by_id { &["MINID", "minid"] } else { &["MAXLEN", "maxlen"] }));
    args.extend(g.rng.chance(50).then(|| g.word(&["~", "="])));
    args.push(if by_id { stream_id(g) } else { g.rng.below(12).to_string().into_bytes() });
    if g.rng.chance(20) {
        args.extend([b"LIMIT".to_vec(), g.word(&["0", "1", "3", "100", "-1"])]);
    }
}

fn xadd(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    args.push(g.key());
    args.extend(g.rng.chance(8).then(|| b"NOMKSTREAM".to_vec()));
    if g.rng.chance(15) {
        stream_trim(g, args);
    }
    args.push(match g.rng.below(6) {
        0 => stream_id(g),
        _ => format!("{}-*", g.rng.below(60)).into_bytes(),
    });
    for _ in 0..1 + g.rng.below(3) {
        args.extend([g.word(&["a", "b", "7"]), g.value()]);
    }
}

fn stream_range(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    args.extend([g.key(), stream_bound(g), stream_bound(g)]);
    stream_count(g, args);
}

fn stream_count(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    if g.rng.chance(40) {
        args.extend([b"COUNT".to_vec(), g.word(&["1", "2", "5", "0", "-1"])]);
    }
}

fn xread(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    stream_count(g, args);
    args.push(b"STREAMS".to_vec());
    let streams = 1 + g.rng.below(3);
    args.extend((0..streams).map(|_| g.key()).collect::<Vec<_>>());
    for _ in 0..streams {
        args.push(if g.rng.chance(10) { b"$".to_vec() } else { stream_id(g) });
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
    row("generic", "OBJECT REFCOUNT", 2, Compare::Encoding, args![key]),
    row("generic", "OBJECT FREQ", 1, Exact, args![key]),
    // Redis shares small integers, and with them the time of their last use.
    row("generic", "OBJECT IDLETIME", 2, Near(600), args![key]),
    row("generic", "OBJECT", 1, Exact, args![value, key]),
    row("generic", "SWAPDB", 1, Exact, args![database, database]),
    row("generic", "FLUSHDB", 1, Exact, |g, a| a.extend(g.rng.chance(50).then(|| b"ASYNC".to_vec()))),
    row("generic", "FLUSHALL", 1, Exact, |g, a| {
        a.extend(g.rng.chance(50).then(|| g.word(&["SYNC", "ASYNC", "bad"])))
    }),
    // stream; ids are given or `ms-*`, so that both servers have the same
    row("stream", "XADD", 40, Exact, xadd),
    row("stream", "XLEN", 4, Exact, args![key]),
    row("stream", "XRANGE", 8, Exact, stream_range),
    row("stream", "XREVRANGE", 8, Exact, stream_range),
    row("stream", "XREAD", 8, ErrorCode, xread),
    row("stream", "XDEL", 6, Exact, |g, a| {
        a.push(g.key());
        several(g, a, stream_id);
    }),
    row("stream", "XTRIM", 5, Exact, |g, a| {
        a.push(g.key());
        stream_trim(g, a);
    }),
    row("stream", "XSETID", 3, Exact, |g, a| {
        // Below a deleted entry 7.0 lets an id pass and 7.2 does not.
        a.extend([g.key(), g.word(&["70-0", "71", "65-3", "x"])]);
        if g.rng.chance(30) {
            a.extend([b"ENTRIESADDED".to_vec(), g.word(&["0", "3", "50", "-1"])]);
        }
        if g.rng.chance(30) {
            a.extend([b"MAXDELETEDID".to_vec(), stream_id(g)]);
        }
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
        let past = g.rng.chance(10);
        a.extend([g.key(), if past { b"1000".to_vec() } else { g.future(1) }]);
        expire_condition(g, a);
    }),
    row("expire", "PEXPIREAT", 5, Exact, |g, a| {
        let past = g.rng.chance(10);
        a.extend([g.key(), if past { b"1000".to_vec() } else { g.future(1000) }]);
        expire_condition(g, a);
    }),
    row("expire", "TTL", 5, Near(5), args![key]),
    row("expire", "PTTL", 5, Near(5_000), args![key]),
    row("expire", "EXPIRETIME", 4, Near(5), args![key]),
    row("expire", "PEXPIRETIME", 4, Near(5_000), args![key]),
    row("expire", "PERSIST", 4, Exact, args![key]),
    // connection
    row("connection", "PING", 2, Exact, |g, a| a.extend(g.rng.chance(50).then(|| g.value()))),
    row("connection", "ECHO", 2, Exact, args![value]),
    row("connection", "SELECT", 4, Exact, args![database]),
    row("connection", "HELLO", 3, Hello, hello).unspoiled(),
    row("connection", "RESET", 1, Exact, none),
    row("connection", "AUTH", 1, Exact, args![value]),
    row("connection", "CLIENT SETNAME", 2, Exact, |g, a| a.push(g.word(&["me", "a b", "", "x\ny", "you"]))),
    row("connection", "CLIENT GETNAME", 2, Exact, none),
    row("connection", "CLIENT ID", 1, Shape, none),
    row("connection", "CLIENT INFO", 1, Shape, none),
    row("connection", "CLIENT LIST", 1, Shape, none),
    row("connection", "CLIENT NO-EVICT", 1, Exact, |g, a| a.push(g.word(&["on", "OFF", "maybe"]))),
    row("connection", "CLIENT UNBLOCK", 1, Exact, |g, a| a.push(g.word(&["999999", "abc", "-1"]))),
    row("connection", "CLIENT UNPAUSE", 1, Exact, none),
    row("connection", "CLIENT", 1, ErrorCode, args![value]),
    // server
    row("server", "TIME", 1, Shape, none),
    row("server", "INFO", 1, Shape, |g, a| {
        a.extend(g.rng.chance(70).then(|| g.word(&["server", "keyspace", "nonsense", "ALL"])))
    }),
    row("server", "LASTSAVE", 1, Shape, none),
    row("server", "COMMAND COUNT", 1, Shape, none),
    // 7.0 wants an argument more than 7.2.
    row("server", "COMMAND GETKEYS", 3, Exact, getkeys).unspoiled(),
    row("server", "CONFIG GET", 2, Unordered, config_get),
    row("server", "MEMORY USAGE", 1, Shape, args![key]),
    row("server", "SLOWLOG LEN", 1, Shape, none),
    row("server", "LATENCY RESET", 1, Shape, none),
    // Its arguments are those of tandem's own picture.
    row("server", "LOLWUT", 1, Shape, none).unspoiled(),
    row("server", "NOSUCHCOMMAND", 2, Exact, |g, a| several(g, a, value)),
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
