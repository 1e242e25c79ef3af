//! The rows of streams. Ids are given or `ms-*`, so that both servers have the same.

use crate::compare::Compare::{Ages, ErrorCode, Exact, Groups, Shape, StreamInfo};
use crate::generate::Generator;
use crate::table::{G, Template, row, several};

/// A stream, rarely another key.
fn stream(g: G) -> Vec<u8> {
    match g.rng.below(14) {
        0 => g.key(),
        _ => format!("stream{}", g.rng.below(3)).into_bytes(),
    }
}

fn group(g: G) -> Vec<u8> {
    match g.rng.below(16) {
        0 => b"nogroup".to_vec(),
        _ => format!("g{}", g.rng.below(3)).into_bytes(),
    }
}

fn consumer(g: G) -> Vec<u8> {
    format!("c{}", g.rng.below(3)).into_bytes()
}

/// An id that others may have, too; now and then one that is none.
fn stream_id(g: G) -> Vec<u8> {
    match g.rng.below(20) {
        0 => g.word(&["-", "+", "0", "0-0", "x", "5-"]),
        1..=4 => g.rng.below(60).to_string().into_bytes(),
        _ => format!("{}-{}", g.rng.below(60), g.rng.below(3)).into_bytes(),
    }
}

/// One end of a range of ids.
fn stream_bound(g: G) -> Vec<u8> {
    match g.rng.below(5) {
        0 => b"-".to_vec(),
        1 => g.word(&["+", "18446744073709551615-18446744073709551615"]),
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
    args.push(stream(g));
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
    args.extend([stream(g), stream_bound(g), stream_bound(g)]);
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
    args.extend((0..streams).map(|_| stream(g)).collect::<Vec<_>>());
    for _ in 0..streams {
        args.push(if g.rng.chance(10) { b"$".to_vec() } else { stream_id(g) });
    }
}

fn make_group(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    args.extend([stream(g), group(g), if g.rng.chance(30) { b"$".to_vec() } else { stream_id(g) }]);
    if g.rng.chance(50) {
        args.push(b"MKSTREAM".to_vec());
    }
    entries_read(g, args);
}

fn entries_read(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    if g.rng.chance(15) {
        args.extend([b"ENTRIESREAD".to_vec(), g.word(&["0", "1", "5", "-1", "-2", "x"])]);
    }
}

fn read_group(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    args.extend([b"GROUP".to_vec(), group(g), consumer(g)]);
    stream_count(g, args);
    if g.rng.chance(15) {
        args.push(b"NOACK".to_vec());
    }
    args.push(b"STREAMS".to_vec());
    let streams = 1 + g.rng.below(3);
    args.extend((0..streams).map(|_| stream(g)).collect::<Vec<_>>());
    for _ in 0..streams {
        args.push(if g.rng.chance(70) { b">".to_vec() } else { stream_id(g) });
    }
}

fn claim(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    args.extend([stream(g), group(g), consumer(g), g.word(&["0", "0", "0", "100000", "-1", "x"])]);
    several(g, args, stream_id);
    if g.rng.chance(20) {
        args.extend([b"IDLE".to_vec(), g.word(&["0", "5000", "-1", "x"])]);
    }
    if g.rng.chance(10) {
        args.extend([b"TIME".to_vec(), g.word(&["0", "1500000000000", "x"])]);
    }
    if g.rng.chance(20) {
        args.extend([b"RETRYCOUNT".to_vec(), g.word(&["0", "7", "-1"])]);
    }
    for word in ["FORCE", "JUSTID"] {
        if g.rng.chance(30) {
            args.push(word.into());
        }
    }
    if g.rng.chance(10) {
        args.extend([b"LASTID".to_vec(), stream_id(g)]);
    }
}

fn auto_claim(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    args.extend([stream(g), group(g), consumer(g), g.word(&["0", "0", "0", "100000"])]);
    args.push(if g.rng.chance(60) { b"0".to_vec() } else { stream_bound(g) });
    if g.rng.chance(40) {
        args.extend([b"COUNT".to_vec(), g.word(&["1", "2", "10", "0", "-1"])]);
    }
    if g.rng.chance(30) {
        args.push(b"JUSTID".to_vec());
    }
}

fn pending(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    args.extend([stream(g), group(g)]);
    if g.rng.chance(60) {
        if g.rng.chance(20) {
            args.extend([b"IDLE".to_vec(), g.word(&["0", "10000000", "x"])]);
        }
        args.extend([stream_bound(g), stream_bound(g), g.word(&["1", "3", "100", "0", "-1", "x"])]);
        if g.rng.chance(30) {
            args.push(consumer(g));
        }
    }
}

/// All rows.
pub static TEMPLATES: &[Template] = &[
    row("stream", "XADD", 40, Exact, xadd),
    row("stream", "XLEN", 4, Exact, |g, a| a.push(stream(g))),
    row("stream", "XRANGE", 8, Exact, stream_range),
    row("stream", "XREVRANGE", 8, Exact, stream_range),
    row("stream", "XREAD", 8, ErrorCode, xread),
    row("stream", "XDEL", 6, Exact, |g, a| {
        a.push(stream(g));
        several(g, a, stream_id);
    }),
    row("stream", "XTRIM", 5, Exact, |g, a| {
        a.push(stream(g));
        stream_trim(g, a);
    }),
    row("stream", "XSETID", 3, Exact, |g, a| {
        // Below a deleted entry 7.0 lets an id pass and 7.2 does not.
        a.extend([stream(g), g.word(&["70-0", "71", "65-3", "x"])]);
        if g.rng.chance(30) {
            a.extend([b"ENTRIESADDED".to_vec(), g.word(&["0", "3", "50", "-1"])]);
        }
        if g.rng.chance(30) {
            a.extend([b"MAXDELETEDID".to_vec(), stream_id(g)]);
        }
    })
    .unspoiled(),
    row("stream", "XGROUP CREATE", 10, Exact, make_group),
    row("stream", "XGROUP SETID", 3, Exact, |g, a| {
        a.extend([stream(g), group(g), if g.rng.chance(30) { b"$".to_vec() } else { stream_id(g) }]);
        entries_read(g, a);
    }),
    row("stream", "XGROUP DESTROY", 2, Exact, |g, a| a.extend([stream(g), group(g)])),
    // Since 7.2 XREADGROUP makes the consumer even if it has nothing to deliver.
    row("stream", "XGROUP CREATECONSUMER", 3, Shape, |g, a| a.extend([stream(g), group(g), consumer(g)])),
    row("stream", "XGROUP DELCONSUMER", 2, Exact, |g, a| a.extend([stream(g), group(g), consumer(g)])),
    // Unbalanced lists have a new text in 7.2.
    row("stream", "XREADGROUP", 14, Exact, read_group).unspoiled(),
    row("stream", "XACK", 6, Exact, |g, a| {
        a.extend([stream(g), group(g)]);
        several(g, a, stream_id);
    }),
    row("stream", "XCLAIM", 8, Exact, claim),
    row("stream", "XAUTOCLAIM", 6, Exact, auto_claim),
    row("stream", "XPENDING", 8, Ages, pending),
    row("stream", "XINFO STREAM", 6, StreamInfo, |g, a| a.push(stream(g))),
    // 7.2 shows one more time of each consumer.
    row("stream", "XINFO STREAM", 2, Shape, |g, a| {
        a.extend([stream(g), b"FULL".to_vec()]);
        if g.rng.chance(50) {
            a.extend([b"COUNT".to_vec(), g.word(&["0", "1", "3", "-1", "x"])]);
        }
    }),
    row("stream", "XINFO GROUPS", 4, Groups, |g, a| a.push(stream(g))),
    // 7.2 shows one more time.
    row("stream", "XINFO CONSUMERS", 3, Shape, |g, a| a.extend([stream(g), group(g)])),
];
