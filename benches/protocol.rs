//! Cost of finding requests and writing replies, in batches as the worker does it.
//! `cargo bench --bench protocol`; divide by 16 for one request.

#![allow(missing_docs, reason = "the macros of criterion make undocumented functions")]

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use tandem::protocol::{Limits, OutBuf, Parser, Reply, Requests};

fn gets() -> Vec<u8> {
    (0..16).flat_map(|i| format!("*2\r\n$3\r\nGET\r\n$16\r\nkey:{i:012}\r\n").into_bytes()).collect()
}

fn sets() -> Vec<u8> {
    let value = "v".repeat(64);
    let set = |i| format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:{i:012}\r\n$64\r\n{value}\r\n");
    (0..16).flat_map(|i| set(i).into_bytes()).collect()
}

fn parse(c: &mut Criterion) {
    let limits = Limits::default();
    let large: Vec<u8> =
        [&b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4000\r\n"[..], &[b'v'; 4000], b"\r\n"].concat().repeat(16);
    for (name, stream) in [("16 GET", gets()), ("16 SET", sets()), ("16 SET of 4000 bytes", large)] {
        let (mut parser, mut found) = (Parser::new(), Requests::new());
        c.bench_function(&format!("parse {name}"), |b| {
            b.iter(|| {
                parser.parse(black_box(&stream), &limits, &mut found).expect("well formed");
                found.spans.len()
            });
        });
    }
}

fn reply(c: &mut Criterion) {
    let value = [b'v'; 64];
    let mut out = OutBuf::with_capacity(16 * 1024);
    c.bench_function("reply 16 bulks of 64 bytes", |b| {
        b.iter(|| {
            let mut reply = Reply::new(&mut out, false);
            for _ in 0..16 {
                reply.bulk(black_box(&value));
            }
            let n = out.len();
            out.advance(n);
            n
        });
    });
    c.bench_function("reply 16 integers", |b| {
        b.iter(|| {
            let mut reply = Reply::new(&mut out, false);
            for n in 0..16 {
                reply.int(black_box(n * 1000));
            }
            let n = out.len();
            out.advance(n);
            n
        });
    });
    c.bench_function("reply 16 doubles", |b| {
        b.iter(|| {
            let mut reply = Reply::new(&mut out, false);
            for _ in 0..16 {
                reply.double(black_box(3.7182));
            }
            let n = out.len();
            out.advance(n);
            n
        });
    });
}

/// A request's way without the command: copied in, found, its value copied out.
fn around_a_get(c: &mut Criterion) {
    let (limits, stream, value) = (Limits::default(), gets(), [b'v'; 64]);
    let (mut parser, mut found) = (Parser::new(), Requests::new());
    let mut scratch = vec![0; 16 * 1024];
    let mut out = OutBuf::with_capacity(16 * 1024);
    c.bench_function("16 GET: copy in, parse, reply 64 bytes, copy out", |b| {
        let mut sent = vec![0; 16 * 1024];
        b.iter(|| {
            scratch[..stream.len()].copy_from_slice(black_box(&stream));
            let buf = &scratch[..stream.len()];
            parser.parse(buf, &limits, &mut found).expect("well formed");
            let mut reply = Reply::new(&mut out, false);
            for span in &found.spans {
                let key = found.args_of(span)[1].bytes(buf, &found.side);
                black_box(key);
                reply.bulk(black_box(&value));
            }
            let n = out.len();
            sent[..n].copy_from_slice(out.single().expect("no large values"));
            out.advance(n);
            black_box(&mut sent);
        });
    });
}

criterion_group!(benches, parse, reply, around_a_get);
criterion_main!(benches);
