//! Hot operations of the data types, and their memory per element.
//!
//! `cargo bench --bench values` measures; `cargo bench --bench values -- memory`
//! prints bytes per element at 10, 100, 1,000 and 100,000 elements, to be put beside
//! what `redis-cli memory usage KEY samples 0` says of the same collections.

use criterion::{BatchSize, Criterion};
use std::hint::black_box;
use tandem::values::list::End;
use tandem::values::random::Random;
use tandem::values::sorted_set::Score;
use tandem::values::stream::StreamId;
use tandem::values::{Hash, List, Set, SortedSet, Stream, Value, hash, list, set, sorted_set, stream};

const SIZES: [usize; 4] = [10, 100, 1_000, 100_000];

fn member(i: usize) -> Vec<u8> {
    format!("member:{i:06}").into_bytes()
}

fn a_list(n: usize) -> List {
    let mut list = List::new();
    (0..n).for_each(|i| list.push(End::Tail, &member(i), &list::Limits::default()));
    list
}

fn a_set(n: usize, name: fn(usize) -> Vec<u8>) -> Set {
    let limits = set::Limits::default();
    let mut set = Set::for_member(&name(0), 1, &limits);
    (0..n).for_each(|i| {
        set.insert(&name(i), &limits);
    });
    set
}

fn a_hash(n: usize) -> Hash {
    let mut hash = Hash::new();
    (0..n).for_each(|i| {
        hash.set(&member(i), b"value-of-16-byte", &hash::Limits::default());
    });
    hash
}

/// Scores in a random order.
fn a_sorted_set(n: usize) -> SortedSet {
    let mut zset = SortedSet::new();
    let mut random = Random::new(1);
    (0..n).for_each(|i| {
        let score = Score::new(random.below(1 << 40) as f64).expect("a number");
        zset.insert(&member(i), score, &sorted_set::Limits::default());
    });
    zset
}

fn a_stream(n: usize) -> Stream {
    let mut stream = Stream::new();
    for i in 0..n {
        let id = StreamId { ms: 1_700_000_000_000 + i as u64, seq: 0 };
        stream.append(id, &[b"temperature", b"21", b"room", &member(i)], &stream::Limits::default());
    }
    stream
}

fn memory() {
    type Make = fn(usize) -> Value;
    let kinds: [(&str, Make); 6] = [
        ("list", |n| Value::List(a_list(n))),
        ("set", |n| Value::Set(a_set(n, member))),
        ("intset", |n| Value::Set(a_set(n, |i| i.to_string().into_bytes()))),
        ("hash", |n| Value::Hash(a_hash(n))),
        ("zset", |n| Value::ZSet(a_sorted_set(n))),
        ("stream", |n| Value::Stream(Box::new(a_stream(n)))),
    ];
    println!("bytes per element: {SIZES:?}");
    for (name, make) in kinds {
        let per = SIZES.map(|n| format!("{:.1}", make(n).memory() as f64 / n as f64));
        println!("{name:>8} {per:?}");
    }
}

fn lists(c: &mut Criterion) {
    let limits = list::Limits::default();
    let mut list = a_list(10_000);
    c.bench_function("list/push+pop", |b| {
        b.iter(|| {
            list.push(End::Head, b"value-of-16-byte", &limits);
            list.drop_end(End::Tail, 1, &limits);
        })
    });
    c.bench_function("list/range 100", |b| {
        b.iter(|| list.iter().take(100).map(|e| black_box(e.text_len())).sum::<usize>())
    });
    c.bench_function("list/index middle of 10k", |b| {
        b.iter(|| black_box(list.get(black_box(5000)).is_some()))
    });
}

fn sets(c: &mut Criterion) {
    for n in [100, 1_000_000] {
        let set = a_set(n, member);
        let names: Vec<_> = (0..1024).map(|i| member(i * 7919 % n)).collect();
        let mut i = 0;
        c.bench_function(&format!("set/contains {n}"), |b| {
            b.iter(|| {
                i += 1;
                black_box(set.contains(&names[i % 1024]))
            })
        });
    }
    let limits = set::Limits::default();
    for n in [100, 100_000] {
        let mut set = a_set(n, member);
        c.bench_function(&format!("set/add+remove {n}"), |b| {
            b.iter(|| {
                set.insert(b"one-more-of-16-b", &limits);
                set.remove(b"one-more-of-16-b")
            })
        });
    }
    let mut random = Random::new(2);
    let set = a_set(100_000, member);
    c.bench_function("set/random", |b| b.iter(|| black_box(set.random(&mut random).is_some())));
    c.bench_function("set/fill 1k", |b| {
        b.iter_batched(|| (), |()| a_set(1000, member), BatchSize::SmallInput)
    });
}

fn hashes(c: &mut Criterion) {
    for n in [10, 100_000] {
        let mut hash = a_hash(n);
        let names: Vec<_> = (0..1024).map(|i| member(i * 7919 % n)).collect();
        let mut i = 0;
        c.bench_function(&format!("hash/get {n}"), |b| {
            b.iter(|| {
                i += 1;
                black_box(hash.get(&names[i % 1024]).is_some())
            })
        });
        c.bench_function(&format!("hash/set {n}"), |b| {
            b.iter(|| {
                i += 1;
                hash.set(&names[i % 1024], b"another-16-bytes", &hash::Limits::default())
            })
        });
    }
}

fn whole_hashes(c: &mut Criterion) {
    for n in [20, 1_000] {
        let hash = a_hash(n);
        c.bench_function(&format!("hash/all {n}"), |b| {
            b.iter(|| hash.iter().map(|f| black_box(f.value.text_len())).sum::<usize>())
        });
    }
}

fn sorted_sets(c: &mut Criterion) {
    let limits = sorted_set::Limits::default();
    for n in [100, 100_000] {
        let mut zset = a_sorted_set(n);
        let score = Score::new(1.5).expect("a number");
        c.bench_function(&format!("zset/add+remove {n}"), |b| {
            b.iter(|| {
                zset.insert(b"one-more-of-16-b", score, &limits);
                zset.remove(b"one-more-of-16-b")
            })
        });
    }
    for n in [100, 100_000] {
        let mut zset = a_sorted_set(n);
        let names: Vec<_> = (0..1024).map(|i| member(i * 7919 % n)).collect();
        let mut random = Random::new(3);
        let mut i = 0;
        c.bench_function(&format!("zset/update {n}"), |b| {
            b.iter(|| {
                i += 1;
                let score = Score::new(random.below(1 << 40) as f64).expect("a number");
                zset.insert(&names[i % 1024], score, &limits)
            })
        });
        c.bench_function(&format!("zset/rank {n}"), |b| {
            b.iter(|| {
                i += 1;
                black_box(zset.rank(&names[i % 1024]).is_some())
            })
        });
        c.bench_function(&format!("zset/range 100 of {n}"), |b| {
            b.iter(|| zset.iter_from(n / 3).take(100).map(|(m, _)| black_box(m.text_len())).sum::<usize>())
        });
    }
}

fn streams(c: &mut Criterion) {
    let mut stream = a_stream(10_000);
    c.bench_function("stream/append", |b| {
        b.iter(|| {
            let id = stream.next_id(0).expect("not at the end");
            stream.append(id, &[b"temperature", b"21", b"room", b"kitchen"], &stream::Limits::default())
        })
    });
    let from = StreamId { ms: 1_700_000_005_000, seq: 0 };
    c.bench_function("stream/range 10", |b| {
        b.iter(|| {
            let entries = stream.range(from, StreamId::MAX).take(10);
            entries.map(|e| e.fields().map(|(_, v)| black_box(v.text_len())).sum::<usize>()).sum::<usize>()
        })
    });
}

fn main() {
    if std::env::args().any(|a| a == "memory") {
        return memory();
    }
    let mut criterion = Criterion::default().configure_from_args();
    for group in [lists, sets, hashes, whole_hashes, sorted_sets, streams] {
        group(&mut criterion);
    }
    criterion.final_summary();
}
