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

/// Offsets in bits, and fields that do not end inside of the longest string: nothing is reserved for them.
#[test]
fn bits_at_their_ends() {
    let server = Options::tandem().set("proto-max-bulk-len", "1mb").start();
    let refused = "!ERR bit offset is not an integer or out of range";
    let lines = "SETBIT b 8388608 1 => REFUSED
         SETBIT b 4294967296 1 => REFUSED
         SETBIT b 9223372036854775807 1 => REFUSED
         SETBIT b 9223372036854775808 1 => REFUSED
         SETBIT b -1 1 => REFUSED
         GETBIT b -1 => REFUSED
         GETBIT b 8388608 => REFUSED
         BITFIELD b SET u1 #9223372036854775807 1 => REFUSED
         BITFIELD b SET i64 #1152921504606846975 1 => REFUSED
         BITFIELD b SET i64 #131072 1 => REFUSED
         BITFIELD b SET u8 8388601 1 => REFUSED
         BITFIELD b GET u63 8388546 => REFUSED
         BITFIELD b GET u8 -1 => REFUSED
         BITFIELD b SET u8 0 1 SET u8 #1048576 1 => REFUSED
         EXISTS b => 0
         BITFIELD b GET u63 8388545 GET i64 #131071 => [0,0]
         EXISTS b => 0
         BITFIELD b SET i64 #131071 -1 => [0]
         STRLEN b => 1048576
         GETBIT b 8388607 => 1
         BITCOUNT b -9223372036854775808 9223372036854775807 BIT => 64
         BITCOUNT b 9223372036854775807 -9223372036854775808 => 0
         BITCOUNT b 0 9223372036854775808 => !ERR value is not an integer or out of range
         BITPOS b 1 -9223372036854775808 9223372036854775807 => 8388544
         BITPOS b 0 8388544 8388607 BIT => -1
         BITPOS b 0 1048575 => 8388608
         BITPOS b 1 9223372036854775807 => -1
         BITPOS b 0 9223372036854775806 9223372036854775807 BIT => -1
         DEL b => 1
         BITFIELD b OVERFLOW SAT INCRBY i64 0 9223372036854775807 => [9223372036854775807]
         BITFIELD b OVERFLOW SAT INCRBY i64 0 9223372036854775807 => [9223372036854775807]
         BITFIELD b OVERFLOW FAIL INCRBY i64 0 1 => [nil]
         BITFIELD b OVERFLOW WRAP INCRBY i64 0 1 => [-9223372036854775808]
         BITFIELD b OVERFLOW SAT INCRBY i64 0 -9223372036854775808 => [-9223372036854775808]
         BITFIELD b OVERFLOW FAIL INCRBY u63 0 -9223372036854775808 => [nil]
         BITFIELD b OVERFLOW SAT INCRBY u63 0 -9223372036854775808 => [0]
         STRLEN b => 8";
    table(&mut server.client(), &lines.replace("REFUSED", refused));
}

/// The table of lengths has as many cells as the product of both lengths says.
#[test]
fn common_subsequences_of_long_strings() {
    let server = Options::tandem().set("proto-max-bulk-len", "1mb").workers(2).start();
    let mut c = server.client();
    c.command(&format!("MSET long {} a {} b {}", "x".repeat(100_000), "x".repeat(511), "x".repeat(512)));
    let refused = "!ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
    let lines = "LCS long long => REFUSED
         LCS long long IDX => REFUSED
         LCS a b => REFUSED
         LCS a a LEN => 511
         LCS a a IDX MINMATCHLEN 9223372036854775807 => [matches,[],len,511]
         LCS a a IDX MINMATCHLEN -9223372036854775808 WITHMATCHLEN => [matches,[[[0,510],[0,510],511]],len,511]
         LCS long none LEN => 0
         LCS long long IDX LEN => !ERR If you want both the length and indexes, please just use IDX.";
    table(&mut c, &lines.replace("REFUSED", refused));
}

/// Lists of ids that are longer than what a server might keep for them on its stack.
#[test]
fn many_ids_in_one_command() {
    let server = Options::tandem().start();
    let mut c = server.client();
    c.command("XGROUP CREATE x g 0 MKSTREAM");
    for n in [1usize, 8, 9, 10_000] {
        let ids: Vec<String> = (0..n).map(|i| format!("{n}-{}", i + 1)).collect();
        let last: Vec<Vec<u8>> = ids
            .iter()
            .flat_map(|id| common::resp::encode(&["XADD", "x", id, "f", "v"]))
            .collect::<Vec<u8>>()
            .chunks(65_536)
            .map(<[u8]>::to_vec)
            .collect();
        last.iter().for_each(|part| c.send_raw(part).expect("send"));
        ids.iter().for_each(|id| assert_eq!(c.read().expect("a reply").value.text(), *id));
        let (count, ids) = (Value::Int(n as i64), ids.join(" "));
        assert_eq!(c.command("XREADGROUP GROUP g c STREAMS x >").items()[0].items()[1].items().len(), n);
        assert_eq!(c.command(&format!("XCLAIM x g d 0 {ids} JUSTID")).items().len(), n);
        assert_eq!(c.command(&format!("XACK x g {ids}")), count);
        assert_eq!(c.command(&format!("XACK x g {ids}")), Value::Int(0));
        assert_eq!(c.command(&format!("XDEL x {ids} {ids}")), count);
        assert_eq!(c.command("XLEN x"), Value::Int(0));
        assert_eq!(c.command("XPENDING x g").items()[0], Value::Int(0));
    }
}

/// As long as an argument may be: in every type, whatever the thresholds say.
#[test]
fn elements_of_the_greatest_length() {
    let server =
        Options::tandem().set("proto-max-bulk-len", "1mb").set("enable-debug-command", "yes").start();
    let mut c = server.client();
    let longest = vec![b'x'; 1 << 20];
    let longest = longest.as_slice();
    for value in ["64", "9223372036854775807"] {
        c.command("FLUSHALL");
        for kind in ["hash", "set", "zset"] {
            assert_eq!(c.command(&format!("CONFIG SET {kind}-max-listpack-value {value}")).text(), "OK");
        }
        let mut ask = |args: &[&[u8]]| c.call(args).expect("a reply").value;
        for small in [&b"1"[..], b"2"] {
            ask(&[b"HSET", b"h", small, small]);
            ask(&[b"SADD", b"s", small]);
            ask(&[b"ZADD", b"z", b"0", small]);
            ask(&[b"RPUSH", b"l", small]);
        }
        assert_eq!(ask(&[b"HSET", b"h", longest, longest]), Value::Int(1));
        assert_eq!(ask(&[b"SADD", b"s", longest]), Value::Int(1));
        assert_eq!(ask(&[b"ZADD", b"z", b"1", longest]), Value::Int(1));
        assert_eq!(ask(&[b"LINSERT", b"l", b"AFTER", b"1", longest]), Value::Int(3));
        assert!(matches!(ask(&[b"XADD", b"x", b"*", longest, longest]), Value::Bulk(_)));
        assert_eq!(ask(&[b"HGET", b"h", longest]), Value::Bulk(longest.to_vec()));
        assert_eq!(ask(&[b"SISMEMBER", b"s", longest]), Value::Int(1));
        assert_eq!(ask(&[b"ZRANK", b"z", longest]), Value::Int(2));
        assert_eq!(ask(&[b"LPOS", b"l", longest]), Value::Int(1));
        assert_eq!(ask(&[b"HSTRLEN", b"h", longest]), Value::Int(1 << 20));
        for key in [&b"h"[..], b"s", b"z", b"l", b"x"] {
            let Value::Bulk(payload) = ask(&[b"DUMP", key]) else { panic!("DUMP of a key that is there") };
            // What is two of them long as a whole, as in a listpack, is no longer than it may be.
            assert_eq!(ask(&[b"RESTORE", key, b"0", &payload, b"REPLACE"]).text(), "OK");
        }
        assert_eq!(ask(&[b"DEBUG", b"RELOAD"]).text(), "OK");
        assert_eq!(ask(&[b"HGET", b"h", longest]), Value::Bulk(longest.to_vec()));
    }
    let mut stream = server.stream().expect("connect");
    std::io::Write::write_all(&mut stream, b"*3\r\n$5\r\nLPUSH\r\n$1\r\nl\r\n$1048577\r\n").expect("send");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("an answer, and the end");
    assert_eq!(answer, "-ERR Protocol error: invalid bulk length\r\n");
    assert_eq!(c.command("LLEN l"), Value::Int(3));
}

/// Commands whose end is missing, or whose count says more or less than is there: one error each, and nothing is done.
#[test]
fn every_prefix_of_a_command() {
    let server = Options::tandem().set("enable-debug-command", "yes").start();
    let mut c = server.client();
    table(
        &mut c,
        "HSET h a 1 b 2 => 2
         ZADD z 1 a => 1
         RPUSH l a => 1
         XADD x 1-1 f v => 1-1
         XGROUP CREATE x g 0 => OK",
    );
    let digest = c.command("DEBUG DIGEST");
    let mut fails = |words: &[&str]| {
        let reply = c.call(words).expect("a reply").value;
        assert!(matches!(reply, Value::Error(_)), "{words:?}: {reply:?}");
        assert_eq!(c.command("DEBUG DIGEST"), digest, "{words:?}");
    };
    for whole in [
        "HEXPIRE h 100 NX FIELDS 2 a b",
        "HPEXPIRE h 100000 FIELDS 2 a b",
        "HEXPIREAT h 99999999999 GT FIELDS 2 a b",
        "HPEXPIREAT h 99999999999999 LT FIELDS 2 a b",
        "HTTL h FIELDS 2 a b",
        "HPTTL h FIELDS 2 a b",
        "HEXPIRETIME h FIELDS 2 a b",
        "HPEXPIRETIME h FIELDS 2 a b",
        "HPERSIST h FIELDS 2 a b",
        "HGETDEL h FIELDS 2 a b",
        "HGETEX h EX 100 FIELDS 2 a b",
        "HSETEX h FXX EX 100 FIELDS 2 a 3 b 4",
        "ZUNIONSTORE z 2 z z",
        "ZINTER 2 z z",
        "SINTERCARD 2 s s",
        "LMPOP 2 l l LEFT",
        "ZMPOP 2 z z MIN",
        "BLMPOP 0 2 l l LEFT",
        "BZMPOP 0 2 z z MIN",
        "LMOVE l l LEFT RIGHT",
        "XREADGROUP GROUP g c STREAMS x >",
        "XREAD COUNT 1 STREAMS x 0",
        "XAUTOCLAIM x g c 0 0",
        "XCLAIM x g c 0 1-1",
        "XGROUP CREATE y g 0 MKSTREAM",
        "GEOSEARCH z FROMLONLAT 1 1 BYBOX 1 1 m",
        "GEOSEARCHSTORE z z FROMMEMBER a BYRADIUS 1 m",
    ] {
        let words: Vec<&str> = whole.split(' ').collect();
        (1..words.len()).for_each(|n| fails(&words[..n]));
        let Some(at) = words.iter().position(|word| *word == "2") else { continue };
        for count in ["0", "-1", "3", "5", "x", "", "02", "4294967298", "9223372036854775807"] {
            fails(&[&words[..at], &[count], &words[at + 1..]].concat());
        }
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
