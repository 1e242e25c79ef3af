//! The rows of what works on values of several types: SORT, DUMP and RESTORE.

use crate::common::rdb::seal;
use crate::compare::Compare::{Exact, Shape, Unordered};
use crate::table::{G, Template, row};

type Args = Vec<Vec<u8>>;

/// An element that weights can be found for.
fn element(g: G) -> Vec<u8> {
    match g.rng.below(5) {
        0 => g.float(),
        1 => format!("e{}", g.rng.below(6)).into_bytes(),
        _ => g.rng.range(-4, 12).to_string().into_bytes(),
    }
}

fn source(g: G) -> Vec<u8> {
    match g.rng.below(16) {
        // No sorted set: redis-server turns one into a skip list when it is sorted.
        0 => b"w_1".to_vec(),
        1 => b"sl9".to_vec(),
        n if n % 3 == 0 => format!("ss{}", g.rng.below(3)).into_bytes(),
        _ => format!("sl{}", g.rng.below(3)).into_bytes(),
    }
}

fn limit(g: G, args: &mut Args) {
    if g.rng.chance(40) {
        args.push(b"LIMIT".to_vec());
        args.extend([g.index(), g.word(&["0", "1", "3", "100", "-1", "9223372036854775807", "x"])]);
    }
}

fn gets(g: G, args: &mut Args) {
    for _ in 0..g.rng.below(3) {
        args.extend([b"GET".to_vec(), g.word(&["#", "w_*", "h_*->w", "h_*->no", "const", "h_*->", "sl*"])]);
    }
}

fn order(g: G, args: &mut Args) {
    args.extend(g.rng.chance(60).then(|| g.word(&["ASC", "DESC", "desc"])));
}

fn store(g: G, args: &mut Args) {
    if g.rng.chance(25) {
        let into = if g.rng.chance(80) { b"sorted".to_vec() } else { source(g) };
        args.extend([b"STORE".to_vec(), into]);
    }
}

/// By numbers: the element, or what a pattern leads to. Equal numbers are ordered by the element.
fn sort_numbers(g: G, args: &mut Args) {
    args.push(source(g));
    if g.rng.chance(60) {
        args.extend([b"BY".to_vec(), g.word(&["w_*", "h_*->w", "no_*", "h_*->no"])]);
    }
    order(g, args);
    limit(g, args);
    gets(g, args);
}

fn sort(g: G, args: &mut Args) {
    sort_numbers(g, args);
    store(g, args);
}

/// By text: all elements are different or the same.
fn sort_text(g: G, args: &mut Args) {
    args.extend([source(g), b"ALPHA".to_vec()]);
    order(g, args);
    limit(g, args);
    gets(g, args);
    store(g, args);
}

/// Not sorted: a list in its own order, or backwards.
fn sort_nothing(g: G, args: &mut Args) {
    args.extend([format!("sl{}", g.rng.below(3)).into_bytes(), b"BY".to_vec(), b"nosort".to_vec()]);
    order(g, args);
    limit(g, args);
    gets(g, args);
    store(g, args);
}

/// Values as 7.0 writes them.
const VALUES: &[&[u8]] = &[
    b"\0\x05hello",
    b"\0\xc0\x0c",
    b"\0\xc3\x05\x0a\x00a\xe0\x00\x00",
    b"\x12\x01\x02\x0f\x0f\0\0\0\x03\0\x81a\x02\x05\x01\x81b\x02\xff",
    b"\x01\x02\x01a\xc0\x05",
    b"\x0b\x0e\x02\0\0\0\x03\0\0\0\x01\0\x02\0\x03\0",
    b"\x02\x02\x01a\x01b",
    b"\x10\x0c\x0c\0\0\0\x02\0\x81f\x02\x01\x01\xff",
    b"\x04\x01\x01f\x01v",
    b"\x11\x0c\x0c\0\0\0\x02\0\x81m\x02\x01\x01\xff",
    b"\x05\x01\x01m\0\0\0\0\0\0\xf8\x3f",
    b"\x03\x02\x01a\x031.5\x01b\xfe",
    b"\x0a\x19\x19\0\0\0\x13\0\0\0\x04\0\0\x01a\x03\xf6\x02\xc0\xd4\xfe\x04\x03bcd\xff",
    b"\x63\x00",
    b"\0\x15hello",
];

fn restore(g: G, args: &mut Args) {
    let value = VALUES[g.rng.below(VALUES.len())].to_vec();
    let mut payload = seal(value, if g.rng.chance(95) { 6 + g.rng.below(5) as u16 } else { 1000 });
    if g.rng.chance(5) {
        let at = g.rng.below(payload.len());
        payload[at] ^= 1;
    }
    let absolute = g.rng.chance(30);
    let ttl = match g.rng.below(3) {
        0 if absolute => g.future(1000),
        1 if !absolute => match g.fresh_milliseconds() {
            // Added to the time that it is, it overflows there.
            largest if largest == b"9223372036854775807" => b"-2".to_vec(),
            ttl => ttl,
        },
        _ => g.word(&["0", "0", "0", "-1", "x"]),
    };
    args.extend([g.key(), ttl, payload]);
    args.extend(g.rng.chance(60).then(|| g.word(&["REPLACE", "replace"])));
    args.extend(absolute.then(|| b"ABSTTL".to_vec()));
    if g.rng.chance(20) {
        args.extend([g.word(&["IDLETIME", "FREQ"]), g.word(&["0", "5", "255", "256", "-1", "x"])]);
    }
}

/// The rows.
pub const TEMPLATES: &[Template] = &[
    // sort
    row("sort", "RPUSH", 30, Exact, |g, a| {
        a.push(format!("sl{}", g.rng.below(3)).into_bytes());
        for _ in 0..1 + g.rng.below(8) {
            a.push(element(g));
        }
    }),
    row("sort", "SADD", 20, Exact, |g, a| {
        a.push(format!("ss{}", g.rng.below(3)).into_bytes());
        for _ in 0..1 + g.rng.below(8) {
            a.push(element(g));
        }
    }),
    row("sort", "SET", 30, Exact, |g, a| a.extend([[b"w_".to_vec(), element(g)].concat(), g.float()]))
        .unspoiled(),
    row("sort", "HSET", 20, Exact, |g, a| {
        a.extend([[b"h_".to_vec(), element(g)].concat(), b"w".to_vec(), g.integer()]);
    })
    .unspoiled(),
    // Not spoiled: a pattern without its star would show a set in its own order.
    row("sort", "SORT", 30, Exact, sort).unspoiled(),
    row("sort", "SORT_RO", 10, Exact, sort_numbers).unspoiled(),
    row("sort", "SORT", 15, Exact, sort_text),
    row("sort", "SORT", 10, Exact, sort_nothing),
    // Elements of equal weight come in any order.
    row("sort", "SORT", 10, Unordered, |g, a| {
        a.extend([source(g), b"ALPHA".to_vec(), b"BY".to_vec(), g.word(&["w_*", "h_*->w"])]);
    })
    .unspoiled(),
    row("sort", "DEL", 3, Exact, |g, a| a.push(source(g))),
    // dump
    row("dump", "RESTORE", 30, Exact, restore),
    row("dump", "DUMP", 10, Shape, |g, a| a.push(g.key())),
];
