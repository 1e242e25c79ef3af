//! The rows of lists, sets and hashes.

use crate::compare::Compare::{Exact, Scan, Shape, Unordered};
use crate::table::{G, On, Template, row};

type Args = Vec<Vec<u8>>;

/// A key of one kind, rarely of any kind.
fn key_of(g: G, prefix: &str) -> Vec<u8> {
    match g.rng.below(18) {
        0 => g.key(),
        1 => b"missing".to_vec(),
        _ => format!("{prefix}{}", g.rng.below(4)).into_bytes(),
    }
}

/// Events of all keys, so that the order of events is compared too.
const EVENTS: Template = Template {
    group: "events",
    name: "PSUBSCRIBE",
    weight: 1,
    compare: Exact,
    on: On::Subscriber,
    spoil: false,
    arguments: |_, a| a.push(b"__keyevent*".to_vec()),
};

fn list(g: G) -> Vec<u8> {
    key_of(g, "list")
}
fn set(g: G) -> Vec<u8> {
    key_of(g, "set")
}
/// A hash of those that all rows of hashes use, or something else.
pub fn hash(g: G) -> Vec<u8> {
    key_of(g, "hash")
}
fn index(g: G) -> Vec<u8> {
    g.index()
}

/// An element, a member or a field: few enough that commands meet them again.
pub fn member(g: G) -> Vec<u8> {
    match g.rng.below(20) {
        0 => g.value(),
        1 => vec![b'm'; 60 + g.rng.below(10)],
        2..=8 => g.rng.range(-3, 15).to_string().into_bytes(),
        9 => g.word(&["1.5", "007", "", "-0", "9223372036854775807"]),
        _ => format!("m{}", g.rng.below(12)).into_bytes(),
    }
}

fn several(g: G, args: &mut Args, max: usize, one: fn(G) -> Vec<u8>) {
    for _ in 0..1 + g.rng.below(max) {
        args.push(one(g));
    }
}

fn add_to_list(g: G, args: &mut Args) {
    args.push(list(g));
    // Now and then enough for more than one node.
    let max = if g.rng.chance(4) { 200 } else { 5 };
    several(g, args, max, member);
}

fn add_to_set(g: G, args: &mut Args) {
    args.push(set(g));
    if g.rng.chance(3) {
        for _ in 0..200 {
            args.push(g.rng.below(2000).to_string().into_bytes());
        }
        return;
    }
    let only_numbers = g.rng.chance(40);
    for _ in 0..1 + g.rng.below(8) {
        let one = if only_numbers { g.rng.range(-5, 20).to_string().into_bytes() } else { member(g) };
        args.push(one);
    }
}

fn pairs(g: G, args: &mut Args) {
    args.push(hash(g));
    let max = if g.rng.chance(2) { 150 } else { 4 };
    for _ in 0..1 + g.rng.below(max) {
        let field = if max > 4 { format!("f{}", g.rng.below(300)).into_bytes() } else { member(g) };
        args.extend([field, g.value()]);
    }
}

fn maybe_count(g: G, args: &mut Args) {
    if g.rng.chance(50) {
        args.push(g.rng.range(-1, 6).to_string().into_bytes());
    }
}

/// A count, of repetitions if negative.
fn picks(g: G) -> Vec<u8> {
    match g.rng.below(12) {
        0 => g.word(&["-9223372036854775808", "9223372036854775807", "abc", "4611686018427387904"]),
        _ => g.rng.range(-20, 20).to_string().into_bytes(),
    }
}

fn directions(g: G, args: &mut Args, n: usize) {
    for _ in 0..n {
        args.push(g.word(&["LEFT", "RIGHT", "left", "right"]));
    }
}

fn counted(g: G, args: &mut Args, one: fn(G) -> Vec<u8>) {
    let n = 1 + g.rng.below(3);
    let said = match g.rng.below(25) {
        0 => g.word(&["0", "-1", "9", "abc", "9223372036854775807"]),
        _ => n.to_string().into_bytes(),
    };
    args.push(said);
    for _ in 0..n {
        args.push(one(g));
    }
}

fn pop_many(g: G, args: &mut Args) {
    counted(g, args, list);
    directions(g, args, 1);
    if g.rng.chance(50) {
        args.extend([b"COUNT".to_vec(), g.rng.range(0, 5).to_string().into_bytes()]);
    }
}

/// A time-out that passes soon; the error texts of the others differ by what is wrong.
fn timeout(g: G) -> Vec<u8> {
    match g.rng.below(12) {
        0 => g.word(&["-1", "abc", "", "nan"]),
        _ => g.word(&["0.01", "0.001", "1e-2"]),
    }
}

fn pop_blocking(g: G, args: &mut Args) {
    several(g, args, 3, list);
    args.push(timeout(g));
}

fn positions(g: G, args: &mut Args) {
    args.extend([list(g), member(g)]);
    for option in ["RANK", "COUNT", "MAXLEN"] {
        if g.rng.chance(40) {
            args.extend([option.into(), g.rng.range(-3, 6).to_string().into_bytes()]);
        }
    }
}

fn sets(g: G, args: &mut Args) {
    several(g, args, 3, set);
}

fn sets_stored(g: G, args: &mut Args) {
    args.push(set(g));
    sets(g, args);
}

fn scan(g: G, args: &mut Args, key: Vec<u8>) {
    args.extend([key, b"0".to_vec()]);
    if g.rng.chance(50) {
        args.extend([b"MATCH".to_vec(), g.word(&["m*", "*", "1?", "m[1-5]"])]);
    }
    if g.rng.chance(50) {
        args.extend([b"COUNT".to_vec(), g.rng.range(1, 100).to_string().into_bytes()]);
    }
}

/// All rows.
pub static TEMPLATES: &[Template] = &[
    EVENTS,
    row("list", "LPUSH", 14, Exact, add_to_list),
    row("list", "RPUSH", 14, Exact, add_to_list),
    row("list", "LPUSHX", 3, Exact, add_to_list),
    row("list", "RPUSHX", 3, Exact, add_to_list),
    row("list", "LPOP", 6, Exact, |g, a| {
        a.push(list(g));
        maybe_count(g, a);
    }),
    row("list", "RPOP", 6, Exact, |g, a| {
        a.push(list(g));
        maybe_count(g, a);
    }),
    row("list", "LLEN", 3, Exact, |g, a| a.push(list(g))),
    row("list", "LINDEX", 5, Exact, |g, a| a.extend([list(g), index(g)])),
    row("list", "LSET", 6, Exact, |g, a| a.extend([list(g), index(g), member(g)])),
    row("list", "LINSERT", 5, Exact, |g, a| {
        a.extend([list(g), g.word(&["BEFORE", "AFTER", "after", "at"]), member(g), member(g)])
    }),
    row("list", "LRANGE", 8, Exact, |g, a| a.extend([list(g), index(g), index(g)])),
    row("list", "LTRIM", 3, Exact, |g, a| a.extend([list(g), index(g), index(g)])),
    row("list", "LREM", 5, Exact, |g, a| {
        a.extend([list(g), g.rng.range(-3, 3).to_string().into_bytes(), member(g)])
    }),
    row("list", "LPOS", 8, Exact, positions),
    row("list", "LMOVE", 6, Exact, |g, a| {
        a.extend([list(g), list(g)]);
        directions(g, a, 2);
    }),
    row("list", "RPOPLPUSH", 4, Exact, |g, a| a.extend([list(g), list(g)])),
    row("list", "LMPOP", 5, Exact, pop_many),
    row("blocking", "RPUSH", 6, Exact, add_to_list),
    row("blocking", "BLPOP", 3, Exact, pop_blocking).unspoiled(),
    row("blocking", "BRPOP", 3, Exact, pop_blocking).unspoiled(),
    row("blocking", "BLMOVE", 3, Exact, |g, a| {
        a.extend([list(g), list(g)]);
        directions(g, a, 2);
        a.push(timeout(g));
    })
    .unspoiled(),
    row("blocking", "BRPOPLPUSH", 2, Exact, |g, a| a.extend([list(g), list(g), timeout(g)])).unspoiled(),
    row("blocking", "BLMPOP", 3, Exact, |g, a| {
        a.push(timeout(g));
        pop_many(g, a);
    })
    .unspoiled(),
    row("set", "SADD", 16, Exact, add_to_set),
    row("set", "SREM", 6, Exact, |g, a| {
        a.push(set(g));
        several(g, a, 5, member);
    }),
    row("set", "SMOVE", 5, Exact, |g, a| a.extend([set(g), set(g), member(g)])),
    row("set", "SISMEMBER", 4, Exact, |g, a| a.extend([set(g), member(g)])),
    row("set", "SMISMEMBER", 4, Exact, |g, a| {
        a.push(set(g));
        several(g, a, 4, member);
    }),
    row("set", "SCARD", 4, Exact, |g, a| a.push(set(g))),
    row("set", "SMEMBERS", 4, Unordered, |g, a| a.push(set(g))),
    row("set", "SRANDMEMBER", 4, Shape, |g, a| {
        a.push(set(g));
        if g.rng.chance(60) {
            a.push(picks(g));
        }
    }),
    // What is popped is random, so only all or nothing keeps the data the same.
    row("set", "SPOP", 2, Unordered, |g, a| a.extend([set(g), g.word(&["0", "100000", "-1", "abc"])]))
        .unspoiled(),
    row("set", "SINTER", 5, Unordered, sets),
    row("set", "SUNION", 5, Unordered, sets),
    row("set", "SDIFF", 5, Unordered, sets),
    row("set", "SINTERSTORE", 3, Exact, sets_stored),
    row("set", "SUNIONSTORE", 3, Exact, sets_stored),
    row("set", "SDIFFSTORE", 3, Exact, sets_stored),
    row("set", "SINTERCARD", 5, Exact, |g, a| {
        counted(g, a, set);
        if g.rng.chance(40) {
            a.extend([b"LIMIT".to_vec(), g.rng.range(-1, 4).to_string().into_bytes()]);
        }
    }),
    row("set", "SSCAN", 4, Scan { cursor: 2 }, |g, a| {
        let key = set(g);
        scan(g, a, key);
    }),
    row("hash", "HSET", 16, Exact, pairs),
    row("hash", "HMSET", 3, Exact, pairs),
    row("hash", "HSETNX", 5, Exact, |g, a| a.extend([hash(g), member(g), g.value()])),
    row("hash", "HGET", 5, Exact, |g, a| a.extend([hash(g), member(g)])),
    row("hash", "HMGET", 5, Exact, |g, a| {
        a.push(hash(g));
        several(g, a, 4, member);
    }),
    row("hash", "HDEL", 5, Exact, |g, a| {
        a.push(hash(g));
        several(g, a, 4, member);
    }),
    row("hash", "HLEN", 3, Exact, |g, a| a.push(hash(g))),
    row("hash", "HSTRLEN", 3, Exact, |g, a| a.extend([hash(g), member(g)])),
    row("hash", "HEXISTS", 3, Exact, |g, a| a.extend([hash(g), member(g)])),
    row("hash", "HKEYS", 3, Unordered, |g, a| a.push(hash(g))),
    row("hash", "HVALS", 3, Unordered, |g, a| a.push(hash(g))),
    row("hash", "HGETALL", 3, Unordered, |g, a| a.push(hash(g))),
    row("hash", "HINCRBY", 5, Exact, |g, a| a.extend([hash(g), member(g), g.integer()])),
    row("hash", "HINCRBYFLOAT", 5, Exact, |g, a| a.extend([hash(g), member(g), g.float()])),
    row("hash", "HRANDFIELD", 4, Shape, |g, a| {
        a.push(hash(g));
        if g.rng.chance(60) {
            a.push(picks(g));
            a.extend(g.rng.chance(50).then(|| g.word(&["WITHVALUES", "withvalues", "WITHSCORES"])));
        }
    }),
    row("hash", "HSCAN", 4, Scan { cursor: 2 }, |g, a| {
        let key = hash(g);
        scan(g, a, key);
    }),
];
