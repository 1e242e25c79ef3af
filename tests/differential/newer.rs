//! The rows of commands that came after Redis 7.0: compared with Valkey, which has them.
//!
//! Where Redis 8 has a command too, tandem has its error texts and its events, which differ: so both servers must refuse the
//! same calls, in their own words, and events are left to tests/hash_expiry.rs.

use crate::collections::{hash, member};
use crate::compare::Compare::{EachNear, Near, Refused};
use crate::table::{G, Template, lifetime_option, none, row};

type Args = Vec<Vec<u8>>;

/// `FIELDS n field …`, with `values` for each, now and then with another count than it says.
fn fields(g: G, args: &mut Args, values: bool) {
    let n = 1 + g.rng.below(3);
    args.push(b"FIELDS".to_vec());
    args.push(match g.rng.below(30) {
        0 => g.word(&["0", "-1", "9", "abc", "9223372036854775807", "4294967297"]),
        _ => n.to_string().into_bytes(),
    });
    for _ in 0..n {
        args.push(member(g));
        if values {
            args.push(g.value());
        }
    }
}

fn of_fields(g: G, args: &mut Args) {
    args.push(hash(g));
    fields(g, args, false);
}

fn expire_fields(g: G, args: &mut Args, time: Vec<u8>) {
    args.extend([hash(g), time]);
    if g.rng.chance(35) {
        args.push(g.word(&["NX", "XX", "GT", "LT", "gt"]));
    }
    fields(g, args, false);
}

fn hsetex(g: G, args: &mut Args) {
    args.push(hash(g));
    if g.rng.chance(30) {
        args.push(g.word(&["FNX", "FXX", "fxx"]));
    }
    match g.rng.below(10) {
        0..=6 => lifetime_option(g, args),
        7 => args.push(b"KEEPTTL".to_vec()),
        _ => {}
    }
    fields(g, args, true);
}

fn hgetex(g: G, args: &mut Args) {
    args.push(hash(g));
    match g.rng.below(4) {
        0 => args.push(b"PERSIST".to_vec()),
        1 | 2 => lifetime_option(g, args),
        _ => {}
    }
    fields(g, args, false);
}

fn msetex(g: G, args: &mut Args) {
    let n = 1 + g.rng.below(3);
    args.push(match g.rng.below(20) {
        0 => g.word(&["0", "-1", "9", "abc", "9223372036854775807"]),
        _ => n.to_string().into_bytes(),
    });
    for _ in 0..n {
        args.extend([g.key(), g.value()]);
    }
    if g.rng.chance(30) {
        args.push(g.word(&["NX", "XX", "xx"]));
    }
    match g.rng.below(4) {
        0 => args.push(b"KEEPTTL".to_vec()),
        1 | 2 => lifetime_option(g, args),
        _ => {}
    }
}

fn set_if_equal(g: G, args: &mut Args) {
    args.extend([g.key(), g.value(), b"IFEQ".to_vec(), g.value()]);
    if g.rng.chance(30) {
        args.push(g.word(&["GET", "get", "NX", "XX"]));
    }
    if g.rng.chance(30) {
        lifetime_option(g, args);
    }
}

/// All rows.
pub static TEMPLATES: &[Template] = &[
    row("field-ttl", "HEXPIRE", 8, Refused, |g, a| {
        let time = g.seconds();
        expire_fields(g, a, time);
    }),
    row("field-ttl", "HPEXPIRE", 8, Refused, |g, a| {
        let time = g.milliseconds();
        expire_fields(g, a, time);
    }),
    row("field-ttl", "HEXPIREAT", 5, Refused, |g, a| {
        let time = g.moment(1);
        expire_fields(g, a, time);
    }),
    row("field-ttl", "HPEXPIREAT", 5, Refused, |g, a| {
        let time = g.moment(1000);
        expire_fields(g, a, time);
    }),
    row("field-ttl", "HTTL", 5, EachNear(5), of_fields),
    row("field-ttl", "HPTTL", 5, EachNear(5_000), of_fields),
    row("field-ttl", "HEXPIRETIME", 5, EachNear(5), of_fields),
    row("field-ttl", "HPEXPIRETIME", 10, EachNear(5_000), of_fields),
    row("field-ttl", "HPERSIST", 5, Refused, of_fields),
    row("field-ttl", "HSETEX", 10, Refused, hsetex),
    row("field-ttl", "HGETEX", 6, Refused, hgetex),
    row("field-ttl", "HGETDEL", 4, Refused, of_fields),
    row("field-ttl", "COPY", 5, Refused, |g, a| {
        a.extend([hash(g), hash(g)]);
        a.extend(g.rng.chance(70).then(|| b"REPLACE".to_vec()));
    }),
    row("field-ttl", "RENAME", 3, Refused, |g, a| a.extend([hash(g), hash(g)])),
    row("field-ttl", "PTTL", 2, Near(5_000), |g, a| a.push(hash(g))),
    row("newer", "MSETEX", 8, Refused, msetex),
    row("newer", "DELIFEQ", 6, Refused, |g, a| a.extend([g.key(), g.value()])),
    row("newer", "SET", 12, Refused, set_if_equal),
    row("newer", "CLIENT NO-TOUCH", 1, Refused, |g, a| a.push(g.word(&["on", "OFF", "maybe"]))),
    row("newer", "CLIENT SETINFO", 2, Refused, |g, a| {
        a.push(g.word(&["LIB-NAME", "lib-ver", "LIB-OTHER"]));
        a.push(g.word(&["me", "a b", "", "x\ny", "1.0"]));
    }),
    row("newer", "COMMANDLOG LEN", 1, Refused, |g, a| {
        a.push(g.word(&["large-reply", "large-request", "other"]))
    }),
    row("newer", "COMMANDLOG RESET", 1, Refused, |g, a| {
        a.push(g.word(&["slow", "large-reply", "large-request", "other"]))
    }),
    row("newer", "COMMANDLOG GET", 1, Refused, |g, a| {
        a.push(g.word(&["-2", "abc", "0"]));
        a.push(g.word(&["large-reply", "large-request", "other"]));
    }),
    row("newer", "WAITAOF", 1, Refused, |g, a| {
        a.extend([g.word(&["0", "2", "-1", "x"]), b"0".to_vec(), g.word(&["1", "-1", "x"])])
    }),
    row("newer", "SCRIPT SHOW", 1, Refused, none),
];
