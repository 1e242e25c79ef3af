//! The rows of HyperLogLogs, sorted sets and geo indexes.

use crate::compare::Compare::{Exact, Numbers, Scan, Shape};
use crate::table::{G, Template, none, row};

type Args = Vec<Vec<u8>>;

/// A key of one kind, rarely of any kind.
fn key_of(g: G, prefix: &str) -> Vec<u8> {
    match g.rng.below(14) {
        0 => g.key(),
        1 => b"missing".to_vec(),
        _ => format!("{prefix}{}", g.rng.below(4)).into_bytes(),
    }
}

fn sketch(g: G) -> Vec<u8> {
    key_of(g, "hll")
}

/// One to write to: keys that APPEND and its kin do not reach, as tandem refuses a damaged sketch sooner.
fn own_sketch(g: G) -> Vec<u8> {
    format!("hll{}", g.rng.below(4)).into_bytes()
}

fn pfadd(g: G, args: &mut Args) {
    args.push(own_sketch(g));
    let many = if g.rng.chance(5) { 400 } else { 6 };
    for _ in 0..g.rng.below(many) {
        args.push(g.rng.below(100_000).to_string().into_bytes());
    }
}

fn pfmerge(g: G, args: &mut Args) {
    args.push(own_sketch(g));
    sketches(g, args);
}

fn sketches(g: G, args: &mut Args) {
    for _ in 0..1 + g.rng.below(3) {
        args.push(sketch(g));
    }
}

fn zset(g: G) -> Vec<u8> {
    key_of(g, "z")
}

/// A sorted set in which all scores are equal.
fn lexical(g: G) -> Vec<u8> {
    format!("lex{}", g.rng.below(2)).into_bytes()
}

fn member(g: G) -> Vec<u8> {
    match g.rng.below(40) {
        0 => Vec::new(),
        1 => b"binary\x00\xff".to_vec(),
        2 => vec![b'm'; 60 + g.rng.below(8)],
        3..=9 => g.rng.range(-3, 12).to_string().into_bytes(),
        _ => format!("m{}", g.rng.below(25)).into_bytes(),
    }
}

fn score(g: G) -> Vec<u8> {
    match g.rng.below(20) {
        0 => g.float(),
        1 => g.word(&["inf", "-inf", "+inf", "-0", "1e300", "1e-7", "nan", "0.1", "9007199254740993"]),
        2..=5 => format!("{}.{}", g.rng.range(-5, 6), g.rng.below(100)).into_bytes(),
        _ => g.rng.range(-6, 7).to_string().into_bytes(),
    }
}

fn zadd(g: G, args: &mut Args) {
    args.push(zset(g));
    for (chance, words) in [
        (25, &["NX", "XX", "xx", "nx"][..]),
        (20, &["GT", "LT", "gt"][..]),
        (25, &["CH", "ch"][..]),
        (12, &["INCR", "incr"][..]),
    ] {
        if g.rng.chance(chance) {
            args.push(g.word(words));
        }
    }
    let many = if g.rng.chance(2) { 260 } else { 1 + g.rng.below(4) };
    for number in 0..many {
        args.push(score(g));
        args.push(if many > 10 { format!("n{number}").into_bytes() } else { member(g) });
    }
}

fn zadd_lexical(g: G, args: &mut Args) {
    args.push(lexical(g));
    for _ in 0..1 + g.rng.below(5) {
        args.push(b"0".to_vec());
        args.push(lex_member(g));
    }
}

fn lex_member(g: G) -> Vec<u8> {
    let length = g.rng.below(3);
    (0..length).map(|_| b'a' + g.rng.below(5) as u8).collect()
}

fn score_end(g: G) -> Vec<u8> {
    match g.rng.below(10) {
        0 => g.word(&["-inf", "+inf", "inf", "(inf", "(-inf", "nan", "(", "", " 1", "abc"]),
        1..=3 => format!("({}", g.rng.range(-6, 7)).into_bytes(),
        4 => format!("{}.5", g.rng.range(-6, 7)).into_bytes(),
        _ => g.rng.range(-8, 8).to_string().into_bytes(),
    }
}

fn lex_end(g: G) -> Vec<u8> {
    match g.rng.below(8) {
        0 => b"-".to_vec(),
        1 => b"+".to_vec(),
        2 => g.word(&["a", "", "(", "[", "+a", "-a"]),
        at => [if at < 5 { &b"["[..] } else { &b"("[..] }, &lex_member(g)].concat(),
    }
}

fn limit(g: G, args: &mut Args) {
    if g.rng.chance(35) {
        args.extend([b"LIMIT".to_vec(), g.index(), g.index()]);
    }
}

fn with_scores(g: G, args: &mut Args) {
    if g.rng.chance(50) {
        args.push(g.word(&["WITHSCORES", "withscores"]));
    }
}

fn zrange_options(g: G, args: &mut Args, what: usize) {
    match what {
        0 => args.extend([g.index(), g.index()]),
        1 => args.extend([score_end(g), score_end(g), b"BYSCORE".to_vec()]),
        _ => args.extend([lex_end(g), lex_end(g), b"bylex".to_vec()]),
    }
    if g.rng.chance(35) {
        args.push(b"REV".to_vec());
    }
    if what > 0 || g.rng.chance(4) {
        limit(g, args);
    }
}

fn zrange(g: G, args: &mut Args) {
    let what = g.rng.below(3);
    args.push(if what == 2 { lexical(g) } else { zset(g) });
    zrange_options(g, args, what);
    if what < 2 || g.rng.chance(4) {
        with_scores(g, args);
    }
}

fn zrangestore(g: G, args: &mut Args) {
    let what = g.rng.below(3);
    args.push(zset(g));
    args.push(if what == 2 { lexical(g) } else { zset(g) });
    zrange_options(g, args, what);
}

fn by_score(g: G, args: &mut Args) {
    args.extend([zset(g), score_end(g), score_end(g)]);
    with_scores(g, args);
    limit(g, args);
}

fn by_lex(g: G, args: &mut Args) {
    args.extend([lexical(g), lex_end(g), lex_end(g)]);
    limit(g, args);
}

fn inputs(g: G, args: &mut Args) -> usize {
    let n = 1 + g.rng.below(3);
    args.push(if g.rng.chance(3) { g.word(&["0", "-1", "abc", "9"]) } else { n.to_string().into_bytes() });
    for _ in 0..n {
        args.push(zset(g));
    }
    n
}

fn combination(g: G, args: &mut Args, weighs: bool) {
    let n = inputs(g, args);
    if weighs && g.rng.chance(35) {
        args.push(b"WEIGHTS".to_vec());
        for _ in 0..n {
            args.push(score(g));
        }
    }
    if weighs && g.rng.chance(35) {
        args.extend([b"aggregate".to_vec(), g.word(&["sum", "MIN", "MAX", "MAX", "avg"])]);
    }
}

fn mpop(g: G, args: &mut Args) {
    inputs(g, args);
    args.push(g.word(&["MIN", "MAX", "min", "MAX", "mid"]));
    if g.rng.chance(50) {
        args.extend([b"COUNT".to_vec(), g.word(&["1", "2", "5", "100", "0", "-1", "x"])]);
    }
}

fn pop(g: G, args: &mut Args) {
    args.push(zset(g));
    if g.rng.chance(50) {
        args.push(g.word(&["0", "1", "2", "3", "200", "-1", "abc"]));
    }
}

fn timeout(g: G) -> Vec<u8> {
    match g.rng.below(12) {
        0 => g.word(&["-1", "abc", "nan"]),
        _ => b"0.01".to_vec(),
    }
}

fn pop_blocking(g: G, args: &mut Args) {
    args.extend((0..1 + g.rng.below(3)).map(|_| zset(g)));
    args.push(timeout(g));
}

fn random_member(g: G, args: &mut Args) {
    args.push(zset(g));
    if g.rng.chance(70) {
        args.push(g.word(&["0", "1", "3", "-3", "1000", "-9223372036854775808", "abc"]));
        with_scores(g, args);
    }
}

fn scan_options(g: G, args: &mut Args) {
    args.extend([zset(g), b"0".to_vec()]);
    if g.rng.chance(40) {
        args.extend([b"MATCH".to_vec(), g.word(&["m*", "*1", "n[0-9]", "*", "x"])]);
    }
    if g.rng.chance(40) {
        args.extend([b"COUNT".to_vec(), g.word(&["1", "10", "2000", "0", "x"])]);
    }
}

fn store(g: G, args: &mut Args, weighs: bool) {
    args.push(zset(g));
    combination(g, args, weighs);
}

fn geo(g: G) -> Vec<u8> {
    key_of(g, "geo")
}

fn degrees(g: G, bound: i64) -> Vec<u8> {
    match g.rng.below(60) {
        0 => g.float(),
        // The upper edges are left out: searches from there miss places in Redis.
        1 => g.word(&["180.1", "-180", "85.06", "-85.05112878", "0", "nan", "1e9"]),
        // Many places near to each other, so that small searches find some.
        2..=40 => format!("{}.{:04}", g.rng.range(10, 14), g.rng.below(10_000)).into_bytes(),
        _ => format!("{}.{:06}", g.rng.range(-bound, bound), g.rng.below(1_000_000)).into_bytes(),
    }
}

fn place(g: G, args: &mut Args) {
    args.push(degrees(g, 180));
    args.push(degrees(g, 85));
}

/// All places differ, and so do their distances from anywhere.
fn town(g: G) -> Vec<u8> {
    format!("town{}", g.rng.below(30)).into_bytes()
}

fn unit(g: G) -> Vec<u8> {
    g.word(&["m", "km", "km", "KM", "ft", "mi", "mi", "M", "parsec"])
}

fn radius(g: G) -> Vec<u8> {
    match g.rng.below(20) {
        0 => g.word(&["0", "-1", "abc", "nan", "inf", "1e300"]),
        1..=3 => g.rng.range(1_000, 30_000).to_string().into_bytes(),
        _ => format!("{}.5", g.rng.range(1, 600)).into_bytes(),
    }
}

fn geoadd(g: G, args: &mut Args) {
    args.push(geo(g));
    if g.rng.chance(20) {
        args.push(g.word(&["NX", "xx", "CH"]));
    }
    if g.rng.chance(10) {
        args.push(g.word(&["NX", "xx", "CH"]));
    }
    let many = if g.rng.chance(3) { 150 } else { 1 + g.rng.below(6) };
    for number in 0..many {
        place(g, args);
        args.push(if many > 10 { format!("n{number}").into_bytes() } else { town(g) });
    }
}

fn radius_options(g: G, args: &mut Args, stores: bool) {
    for word in ["WITHDIST", "WITHCOORD", "withhash"] {
        if g.rng.chance(if stores { 3 } else { 30 }) {
            args.push(word.into());
        }
    }
    if g.rng.chance(40) {
        args.push(g.word(&["ASC", "DESC", "desc"]));
    }
    if g.rng.chance(40) {
        args.extend([b"COUNT".to_vec(), g.word(&["1", "3", "10", "1000", "0", "-1", "x"])]);
        if g.rng.chance(40) {
            args.push(b"ANY".to_vec());
        }
    }
    if g.rng.chance(2) {
        args.push(b"ANY".to_vec());
    }
}

fn older_store(g: G, args: &mut Args) {
    if g.rng.chance(30) {
        radius_options(g, args, true);
        // Distances are not places: keys of their own, as places that coincide may come in any order.
        let distances = g.rng.chance(30);
        args.push(g.word(if distances { &["STOREDIST"] } else { &["STORE", "store"] }));
        args.push(if distances { key_of(g, "distances") } else { geo(g) });
    } else {
        radius_options(g, args, false);
    }
}

fn from_and_by(g: G, args: &mut Args) {
    match g.rng.below(20) {
        0 => {}
        1..=9 => args.extend([b"FROMMEMBER".to_vec(), town(g)]),
        _ => {
            args.push(b"fromlonlat".to_vec());
            place(g, args);
        }
    }
    match g.rng.below(20) {
        0 => {}
        1..=9 => args.extend([b"BYBOX".to_vec(), radius(g), radius(g), unit(g)]),
        _ => args.extend([b"byradius".to_vec(), radius(g), unit(g)]),
    }
}

/// All rows.
pub static TEMPLATES: &[Template] = &[
    row("hyperloglog", "PFADD", 12, Exact, pfadd),
    row("hyperloglog", "PFCOUNT", 6, Exact, sketches),
    row("hyperloglog", "PFMERGE", 4, Exact, pfmerge),
    row("hyperloglog", "PFSELFTEST", 1, Exact, none).unspoiled(),
    row("hyperloglog", "PFDEBUG", 2, Exact, |g, a| {
        a.extend([g.word(&["ENCODING", "decode", "TODENSE", "GETREG", "nope"]), sketch(g)])
    }),
    row("sorted_set", "ZADD", 40, Numbers, zadd),
    row("sorted_set", "ZADD", 8, Exact, zadd_lexical),
    row("sorted_set", "SADD", 4, Exact, |g, a| {
        a.push(zset(g));
        a.extend((0..1 + g.rng.below(6)).map(|_| member(g)));
    }),
    row("sorted_set", "DEL", 2, Exact, |g, a| a.push(zset(g))),
    row("sorted_set", "EXPIRE", 1, Exact, |g, a| a.extend([zset(g), b"1000".to_vec()])),
    row("sorted_set", "ZINCRBY", 6, Numbers, |g, a| a.extend([zset(g), score(g), member(g)])),
    row("sorted_set", "ZCARD", 3, Exact, |g, a| a.push(zset(g))),
    row("sorted_set", "ZSCORE", 4, Numbers, |g, a| a.extend([zset(g), member(g)])),
    row("sorted_set", "ZMSCORE", 3, Numbers, |g, a| {
        a.push(zset(g));
        a.extend((0..1 + g.rng.below(4)).map(|_| member(g)));
    }),
    // 7.2 takes an argument more.
    row("sorted_set", "ZRANK", 4, Exact, |g, a| a.extend([zset(g), member(g)])).unspoiled(),
    row("sorted_set", "ZREVRANK", 4, Exact, |g, a| a.extend([zset(g), member(g)])).unspoiled(),
    row("sorted_set", "ZCOUNT", 4, Exact, |g, a| a.extend([zset(g), score_end(g), score_end(g)])),
    row("sorted_set", "ZLEXCOUNT", 4, Exact, |g, a| a.extend([lexical(g), lex_end(g), lex_end(g)])),
    row("sorted_set", "ZREM", 6, Exact, |g, a| {
        a.push(zset(g));
        a.extend((0..1 + g.rng.below(4)).map(|_| member(g)));
    }),
    row("sorted_set", "ZREMRANGEBYRANK", 2, Exact, |g, a| a.extend([zset(g), g.index(), g.index()])),
    row("sorted_set", "ZREMRANGEBYSCORE", 2, Exact, |g, a| a.extend([zset(g), score_end(g), score_end(g)])),
    row("sorted_set", "ZREMRANGEBYLEX", 2, Exact, |g, a| a.extend([lexical(g), lex_end(g), lex_end(g)])),
    row("sorted_set", "ZRANGE", 12, Numbers, zrange),
    row("sorted_set", "ZRANGESTORE", 5, Exact, zrangestore),
    row("sorted_set", "ZREVRANGE", 3, Numbers, |g, a| {
        a.extend([zset(g), g.index(), g.index()]);
        with_scores(g, a);
    }),
    row("sorted_set", "ZRANGEBYSCORE", 4, Numbers, by_score),
    row("sorted_set", "ZREVRANGEBYSCORE", 4, Numbers, by_score),
    row("sorted_set", "ZRANGEBYLEX", 4, Exact, by_lex),
    row("sorted_set", "ZREVRANGEBYLEX", 4, Exact, by_lex),
    row("sorted_set", "ZUNION", 4, Numbers, |g, a| {
        combination(g, a, true);
        with_scores(g, a);
    }),
    row("sorted_set", "ZINTER", 4, Numbers, |g, a| {
        combination(g, a, true);
        with_scores(g, a);
    }),
    row("sorted_set", "ZDIFF", 4, Numbers, |g, a| {
        combination(g, a, false);
        with_scores(g, a);
    }),
    row("sorted_set", "ZUNIONSTORE", 3, Exact, |g, a| store(g, a, true)),
    row("sorted_set", "ZINTERSTORE", 3, Exact, |g, a| store(g, a, true)),
    row("sorted_set", "ZDIFFSTORE", 3, Exact, |g, a| store(g, a, false)),
    row("sorted_set", "ZINTERCARD", 3, Exact, |g, a| {
        inputs(g, a);
        if g.rng.chance(50) {
            a.extend([b"LIMIT".to_vec(), g.word(&["0", "1", "3", "100", "-1", "x"])]);
        }
    }),
    row("sorted_set", "ZPOPMIN", 3, Numbers, pop),
    row("sorted_set", "ZPOPMAX", 3, Numbers, pop),
    row("sorted_set", "ZMPOP", 3, Numbers, mpop),
    row("blocking", "ZADD", 5, Numbers, zadd),
    row("blocking", "BZPOPMIN", 2, Numbers, pop_blocking).unspoiled(),
    row("blocking", "BZPOPMAX", 2, Numbers, pop_blocking).unspoiled(),
    row("blocking", "BZMPOP", 2, Numbers, |g, a| {
        a.push(timeout(g));
        mpop(g, a);
    })
    .unspoiled(),
    row("sorted_set", "ZRANDMEMBER", 3, Shape, random_member),
    row("sorted_set", "ZSCAN", 3, Scan { cursor: 2 }, scan_options),
    row("geo", "GEOADD", 20, Exact, geoadd),
    row("geo", "ZREM", 2, Exact, |g, a| a.extend([geo(g), town(g)])),
    row("geo", "GEODIST", 5, Exact, |g, a| {
        a.extend([geo(g), town(g), town(g)]);
        if g.rng.chance(60) {
            a.push(unit(g));
        }
    }),
    row("geo", "GEOHASH", 4, Exact, |g, a| {
        a.push(geo(g));
        a.extend((0..g.rng.below(4)).map(|_| town(g)));
    }),
    row("geo", "GEOPOS", 4, Exact, |g, a| {
        a.push(geo(g));
        a.extend((0..g.rng.below(4)).map(|_| town(g)));
    }),
    row("geo", "GEORADIUS", 6, Exact, |g, a| {
        a.push(geo(g));
        place(g, a);
        a.extend([radius(g), unit(g)]);
        older_store(g, a);
    }),
    row("geo", "GEORADIUS_RO", 4, Exact, |g, a| {
        a.push(geo(g));
        place(g, a);
        a.extend([radius(g), unit(g)]);
        radius_options(g, a, false);
    }),
    row("geo", "GEORADIUSBYMEMBER", 6, Exact, |g, a| {
        a.extend([geo(g), town(g), radius(g), unit(g)]);
        older_store(g, a);
    }),
    row("geo", "GEORADIUSBYMEMBER_RO", 4, Exact, |g, a| {
        a.extend([geo(g), town(g), radius(g), unit(g)]);
        radius_options(g, a, false);
    }),
    row("geo", "GEOSEARCH", 12, Exact, |g, a| {
        a.push(geo(g));
        from_and_by(g, a);
        radius_options(g, a, false);
    }),
    row("geo", "GEOSEARCHSTORE", 6, Exact, |g, a| {
        let distances = g.rng.chance(30);
        a.extend([if distances { key_of(g, "distances") } else { geo(g) }, geo(g)]);
        from_and_by(g, a);
        radius_options(g, a, true);
        if distances {
            a.push(b"STOREDIST".to_vec());
        }
    }),
];
