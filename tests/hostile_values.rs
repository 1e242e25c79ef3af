//! Bugs that servers of this family had in their data types: what each of them was provoked with, and what is right.
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

mod common;

use common::lines::table;
use common::{Options, Value};

#[test]
fn numbers_at_their_ends() {
    let server = Options::tandem().start();
    table(
        &mut server.client(),
        "RPUSH l a b => 2
         LSET l 4294967296 v => !ERR index out of range
         LINDEX l 4294967296 => nil
         LTRIM l -4294967297 4294967296 => OK
         LRANGE l 0 -1 => [a,b]
         ZADD z 1 a => 1
         ZRANGE z 4294967296 4294967297 => []
         HSET h f 1 => 1
         HINCRBYFLOAT h f nan => !ERR value is not a valid float
         HINCRBYFLOAT h f inf => !ERR value is NaN or Infinity
         HGET h f => 1
         SRANDMEMBER l -9223372036854775808 => !ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
         HRANDFIELD h -9223372036854775808 WITHVALUES => !ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
         ZRANDMEMBER z -9223372036854775808 => !ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
         HRANDFIELD h -4611686018427387905 WITHVALUES => !ERR value is out of range
         ZRANDMEMBER z -4611686018427387905 WITHSCORES => !ERR value is out of range
         SETRANGE s 9223372036854775807 x => !ERR string exceeds maximum allowed size (proto-max-bulk-len)
         EXPIRE h 9223372036854775807 => !ERR invalid expire time in 'expire' command
         PEXPIREAT h 9223372036854775807 => 1
         EXISTS h s => 1
         XADD x 1-1 f v => 1-1
         XGROUP CREATE x g 0 => OK
         XREADGROUP GROUP g c STREAMS x > => [[x,[[1-1,[f,v]]]]]
         XDEL x 1-1 => 1
         XAUTOCLAIM x g d 0 0 COUNT 9223372036854775807 => !ERR COUNT must be > 0
         XAUTOCLAIM x g d 0 0 COUNT 576460752303423487 => [0-0,[],[1-1]]",
    );
}

#[test]
fn the_same_key_twice() {
    let server = Options::tandem().workers(2).start();
    table(
        &mut server.client(),
        "MSETNX k 1 k 2 => 1
         GET k => 2
         RENAME k k => OK
         COPY k k => !ERR source and destination objects are the same
         SADD s a => 1
         SMOVE s s a => 1
         RPUSH l a b => 2
         LMOVE l l LEFT RIGHT => a
         LRANGE l 0 -1 => [b,a]
         ZADD z 1 a => 1
         ZUNIONSTORE z 2 z z => 1
         ZSCORE z a => 2
         SINTERSTORE s 2 s s => 0
         SDIFFSTORE s s s => 0
         EXISTS s => 0",
    );
}

/// Thresholds at their ends: packed forms grow, and what they do not take turns them into another.
#[test]
fn packed_forms_with_the_highest_thresholds() {
    let server = Options::tandem().start();
    let mut c = server.client();
    for setting in [
        "hash-max-listpack-entries",
        "hash-max-listpack-value",
        "set-max-listpack-entries",
        "set-max-listpack-value",
        "zset-max-listpack-entries",
        "zset-max-listpack-value",
        "set-max-intset-entries",
        "stream-node-max-entries",
    ] {
        assert_eq!(c.command(&format!("CONFIG SET {setting} 9223372036854775807")).text(), "OK", "{setting}");
    }
    c.command("CONFIG SET list-max-listpack-size 2147483647 stream-node-max-bytes 0");
    let sizes = [0, 1, 62, 63, 64, 4095, 4096, 70_000];
    for (n, size) in sizes.into_iter().enumerate() {
        let element = vec![b'x'; size];
        let element = element.as_slice();
        let mut ask = |args: &[&[u8]]| c.call(args).expect("a reply").value;
        assert_eq!(ask(&[b"HSET", b"h", element, element]), Value::Int(1));
        assert_eq!(ask(&[b"SADD", b"s", element]), Value::Int(1));
        assert_eq!(ask(&[b"ZADD", b"z", b"1", element]), Value::Int(1));
        assert_eq!(ask(&[b"LPUSH", b"l", element]), Value::Int(n as i64 + 1));
        assert_eq!(ask(&[b"HGET", b"h", element]).text().len(), size);
        assert_eq!(ask(&[b"SISMEMBER", b"s", element]), Value::Int(1));
        assert_eq!(ask(&[b"ZRANK", b"z", element]), Value::Int(n as i64));
        assert_eq!(ask(&[b"LINDEX", b"l", b"0"]).text().len(), size);
        ask(&[b"XADD", b"x", b"*", b"f", element]);
    }
    let last = c.command("XREVRANGE x + - COUNT 1").items()[0].items()[1].items()[1].text();
    assert_eq!(last.len(), 70_000);
    for key in ["h", "s", "z"] {
        assert_eq!(c.command(&format!("OBJECT ENCODING {key}")).text(), "listpack");
    }
}

/// All fields but one are past their time, and none of them is removed by a timer.
#[test]
fn a_random_field_where_nearly_all_are_due() {
    let server = Options::tandem().set("enable-debug-command", "yes").start();
    let mut c = server.client();
    c.command("DEBUG SET-ACTIVE-EXPIRE 0");
    let fields: Vec<String> = (0..20_000).map(|i| format!("f{i} v")).collect();
    c.command("HSET h stays v");
    c.command(&format!("HSETEX h PX 1 FIELDS 20000 {}", fields.join(" ")));
    common::wait_until("the fields are due", std::time::Duration::from_secs(20), || {
        c.command("HLEN h") == Value::Int(1)
    });
    table(
        &mut c,
        "HRANDFIELD h => stays
         HRANDFIELD h 5 => [stays]
         HRANDFIELD h -3 => [stays,stays,stays]",
    );
}

/// Patterns that other matchers need exponential time for.
#[test]
fn patterns_of_many_stars() {
    let server = Options::tandem().start();
    let mut c = server.client();
    let (key, pattern) = ("a".repeat(60_000), format!("{}b", "*a".repeat(30_000)));
    c.command(&format!("SET {key} v"));
    assert_eq!(c.command(&format!("KEYS {pattern}")).items().len(), 0);
    assert_eq!(c.command(&format!("KEYS {}", "*a".repeat(30_000))).items().len(), 1);
}
