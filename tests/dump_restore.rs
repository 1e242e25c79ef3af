//! DUMP, RESTORE and DEBUG RELOAD against the real binary, and payloads exchanged with redis-server.

mod common;

use common::rdb::{FOOTER, in_version, seal};
use common::{Client, HOUR_MS, Options, Value, step_clock};

fn call(client: &mut Client, args: &[&[u8]]) -> Value {
    client.call(args).expect("a reply").value
}

fn dump(client: &mut Client, key: &str) -> Vec<u8> {
    match call(client, &[b"DUMP", key.as_bytes()]) {
        Value::Bulk(payload) => payload,
        other => panic!("DUMP {key}: {other:?}"),
    }
}

/// Keys of all types and forms; what 7.0 has no form for is left out.
fn fill(client: &mut Client) -> Vec<&'static str> {
    let long = "x".repeat(200);
    let many: String = (0..700).map(|n| format!(" member{n}")).collect();
    let scored: String = (0..300).map(|n| format!(" {n}.5 member{n}")).collect();
    let paired: String = (0..300).map(|n| format!(" field{n} {n}")).collect();
    for command in [
        "SET int 12345".to_owned(),
        "SET negative -70000".to_owned(),
        "SET big 123456789012345".to_owned(),
        "SET text hello".to_owned(),
        format!("SET long {}", long.repeat(100)),
        "SETRANGE bytes 60 end".to_owned(),
        format!("RPUSH list a 1 -300 70000 {long}"),
        format!("RPUSH nodes {many}"),
        format!("RPUSH plain {}", long.repeat(60)),
        "SADD ints 1 2 3 70000".to_owned(),
        format!("SADD table {many}"),
        format!("HSET hash a 1 b {}", &long[..50]),
        format!("HSET fields {paired}"),
        "ZADD zset 1 a 2.5 b inf c -inf d".to_owned(),
        format!("ZADD ranks {scored}"),
        "PFADD hll a b c d e f g h i j k l m n o p q r s t".to_owned(),
        "GEOADD geo 13.36 38.11 P 15.08 37.50 C".to_owned(),
        "XADD stream 1-1 a 1 b 2".to_owned(),
        "XADD stream 1-2 a 3 b 4".to_owned(),
        "XADD stream 2-0 other fields here too".to_owned(),
        "XDEL stream 1-2".to_owned(),
        "XGROUP CREATE stream g 0".to_owned(),
        "XGROUP CREATE stream h 1-1".to_owned(),
        "XREADGROUP GROUP g c COUNT 1 STREAMS stream >".to_owned(),
        "XREADGROUP GROUP g d COUNT 1 STREAMS stream >".to_owned(),
        "XGROUP CREATE empty g $ MKSTREAM".to_owned(),
    ] {
        let reply = client.command(&command);
        assert!(!matches!(reply, Value::Error(_)), "{command}: {reply:?}");
    }
    vec![
        "int", "negative", "big", "text", "long", "bytes", "list", "nodes", "plain", "ints", "table", "hash",
        "fields", "zset", "ranks", "hll", "geo", "stream", "empty",
    ]
}

/// What a key holds, in an order that its form does not change.
fn content(client: &mut Client, key: &str) -> Vec<Value> {
    let kind = client.command(&format!("TYPE {key}")).text();
    let asks: &[&str] = match kind.as_str() {
        "string" => &["GET {}"],
        "list" => &["LRANGE {} 0 -1"],
        "set" => &["SMEMBERS {}"],
        "hash" => &["HGETALL {}"],
        "zset" => &["ZRANGE {} 0 -1 WITHSCORES"],
        "stream" => &["XRANGE {} - +", "XLEN {}", "XINFO GROUPS {}", "XPENDING {} g"],
        other => panic!("{key} is {other}"),
    };
    let mut parts = vec![Value::Simple(kind.clone())];
    for ask in asks {
        let reply = client.command(&ask.replace("{}", key));
        match (kind.as_str(), reply) {
            ("set", Value::Array(mut members)) => {
                members.sort();
                parts.extend(members);
            }
            ("hash", Value::Array(fields)) => {
                let mut pairs: Vec<_> = fields.chunks(2).map(|pair| Value::Array(pair.to_vec())).collect();
                pairs.sort();
                parts.extend(pairs);
            }
            // Scores of 7.0 have 17 digits; compared as numbers.
            ("zset", Value::Array(members)) => parts.extend(members.chunks(2).map(|pair| {
                let score: f64 = pair[1].text().parse().expect("a score");
                Value::Array(vec![pair[0].clone(), Value::Simple(score.to_string())])
            })),
            (_, reply) => parts.push(reply),
        }
    }
    parts
}

fn restore(client: &mut Client, key: &str, payload: &[u8]) -> Value {
    call(client, &[b"RESTORE", key.as_bytes(), b"0", payload, b"REPLACE"])
}

#[test]
fn payloads_of_redis_are_read() {
    let (redis, tandem) = (Options::redis().start(), Options::tandem().start());
    let (mut theirs, mut ours) = (redis.client(), tandem.client());
    for key in fill(&mut theirs) {
        let payload = dump(&mut theirs, key);
        assert_eq!(restore(&mut ours, key, &payload).text(), "OK", "{key}");
        assert_eq!(content(&mut ours, key), content(&mut theirs, key), "{key}");
    }
}

#[test]
fn redis_reads_payloads_under_its_own_version() {
    let (redis, tandem) = (Options::redis().start(), Options::tandem().start());
    let (mut theirs, mut ours) = (redis.client(), tandem.client());
    let keys = fill(&mut ours);
    let version_of = |payload: &[u8]| {
        let at = payload.len() - FOOTER;
        u16::from_le_bytes([payload[at], payload[at + 1]])
    };
    let theirs_is = {
        theirs.command("SET version 1");
        version_of(&dump(&mut theirs, "version"))
    };
    for key in keys {
        let payload = dump(&mut ours, key);
        assert_eq!(version_of(&payload), 11, "{key}");
        assert_eq!(in_version(payload.clone(), 11), payload, "the checksum has a twin");
        // The third form of streams came with 7.2; all other forms are those of 7.0.
        if payload[0] == 21 && theirs_is < 11 {
            let reply = restore(&mut theirs, key, &in_version(payload, theirs_is));
            assert_eq!(reply.text(), "ERR Bad data format", "{key}");
            continue;
        }
        assert_eq!(restore(&mut theirs, key, &in_version(payload, theirs_is)).text(), "OK", "{key}");
        assert_eq!(content(&mut ours, key), content(&mut theirs, key), "{key}");
    }
}

#[test]
fn a_value_goes_through_its_own_payload() {
    let tandem = Options::tandem().set("enable-debug-command", "local").start();
    let mut client = tandem.client();
    for key in fill(&mut client) {
        let payload = dump(&mut client, key);
        assert_eq!(restore(&mut client, "copy", &payload).text(), "OK", "{key}");
        let encoding = |client: &mut Client, key: &str| client.command(&format!("OBJECT ENCODING {key}"));
        assert_eq!(content(&mut client, key), content(&mut client, "copy"), "{key}");
        assert_eq!(encoding(&mut client, key), encoding(&mut client, "copy"), "{key}");
        let digests = client.command(&format!("DEBUG DIGEST-VALUE {key} copy")).items();
        assert_eq!(digests[0], digests[1], "{key}");
    }
}

#[test]
fn restore_answers_as_redis_does() {
    let settings = |options: Options| options.set("notify-keyspace-events", "KEA");
    let (redis, tandem) = (settings(Options::redis()).start(), settings(Options::tandem()).start());
    let good = seal(b"\0\x05hello".to_vec(), 10);
    let mut bad = good.clone();
    bad[3] ^= 1;
    let unknown = seal(b"\x63\x05hello".to_vec(), 10);
    let cut = seal(b"\0\x15hello".to_vec(), 10);
    let newer = seal(b"\0\x05hello".to_vec(), 10_000);
    let far = b"99999999999999".as_slice();
    let cases: Vec<Vec<&[u8]>> = vec![
        vec![b"k", b"0", &good],
        vec![b"k", b"0", &good],
        vec![b"k", b"x", &good],
        vec![b"n", b"x", &good],
        vec![b"n", b"-1", &good],
        vec![b"k", b"0", &bad, b"REPLACE"],
        vec![b"k", b"0", &unknown, b"REPLACE"],
        vec![b"k", b"0", &cut, b"REPLACE"],
        vec![b"k", b"0", &newer, b"REPLACE"],
        vec![b"k", b"0", b"", b"REPLACE"],
        vec![b"k", b"0", b"short", b"REPLACE"],
        vec![b"k", b"0", &good, b"REPLACE", b"ABSTTL"],
        vec![b"k", far, &good, b"REPLACE", b"ABSTTL"],
        vec![b"k", b"1", &good, b"REPLACE", b"ABSTTL"],
        vec![b"n", b"1", &good, b"ABSTTL"],
        vec![b"k", b"0", &good, b"IDLETIME"],
        vec![b"k", b"0", &good, b"IDLETIME", b"-1"],
        vec![b"k", b"0", &good, b"IDLETIME", b"x"],
        vec![b"k", b"0", &good, b"FREQ", b"256"],
        vec![b"k", b"0", &good, b"FREQ", b"-1"],
        vec![b"k", b"0", &good, b"FREQ", b"1", b"IDLETIME", b"1"],
        vec![b"k", b"0", &good, b"IDLETIME", b"1", b"FREQ", b"1"],
        vec![b"k", b"0", &good, b"nonsense"],
        vec![b"k", b"0", &good, b"IDLETIME", b"100"],
        vec![b"k", b"0", &good, b"IDLETIME", b"1000", b"REPLACE"],
    ];
    let (mut theirs, mut ours) = (redis.client(), tandem.client());
    let (mut their_events, mut our_events) = (redis.client(), tandem.client());
    for events in [&mut their_events, &mut our_events] {
        events.command("PSUBSCRIBE __keyevent*");
    }
    for case in cases {
        let args: Vec<&[u8]> = std::iter::once(&b"RESTORE"[..]).chain(case.iter().copied()).collect();
        assert_eq!(
            call(&mut ours, &args),
            call(&mut theirs, &args),
            "{:?}",
            common::resp::escape(&args.concat())
        );
        assert_eq!(ours.command("GET k"), theirs.command("GET k"));
        assert_eq!(ours.command("PEXPIRETIME k"), theirs.command("PEXPIRETIME k"));
        assert_eq!(ours.command("EXISTS n"), theirs.command("EXISTS n"));
    }
    // The idle time that was restored, and the events of all that.
    for (client, events) in [(&mut ours, &mut our_events), (&mut theirs, &mut their_events)] {
        call(client, &[b"RESTORE", b"idle", b"0", &good, b"IDLETIME", b"1000"]);
        let idle = client.command("OBJECT IDLETIME idle").int().expect("a number");
        assert!((1000..1010).contains(&idle), "{idle}");
        let seen = events_so_far(client, events);
        let want = ["restore k", "restore k", "restore k", "del k", "restore k", "restore k", "restore idle"];
        let want: Vec<String> = want.iter().map(|event| format!("__keyevent@0__:{event}")).collect();
        assert_eq!(seen, want);
    }
}

/// What the client that is subscribed to the events of keys has heard.
fn events_so_far(client: &mut Client, events: &mut Client) -> Vec<String> {
    client.command("PUBLISH __keyevent@end end");
    let mut seen = Vec::new();
    loop {
        let message = events.read().expect("a message").value.items();
        let (channel, key) = (message[2].text(), message[3].text());
        if key == "end" {
            return seen;
        }
        seen.push(format!("{channel} {key}"));
    }
}

#[test]
fn reload_keeps_everything() {
    let tandem = Options::tandem().set("enable-debug-command", "local").workers(4).start();
    let mut client = tandem.client();
    let keys = fill(&mut client);
    client.command("PEXPIREAT text 99999999999999");
    client.command("SELECT 3");
    client.command("SET other 1 EX 1000");
    client.command("SELECT 0");
    let digest = client.command("DEBUG DIGEST");
    let before: Vec<_> = keys.iter().map(|key| content(&mut client, key)).collect();
    for reload in ["DEBUG RELOAD", "DEBUG RELOAD NOFLUSH MERGE"] {
        assert_eq!(client.command(reload).text(), "OK");
        assert_eq!(client.command("DEBUG DIGEST"), digest);
        let after: Vec<_> = keys.iter().map(|key| content(&mut client, key)).collect();
        assert_eq!(before, after);
        assert_eq!(client.command("PEXPIRETIME text").int(), Some(99_999_999_999_999));
    }
    for wrong in ["DEBUG RELOAD NOSAVE", "DEBUG RELOAD NOFLUSH", "DEBUG RELOAD nonsense"] {
        assert!(matches!(client.command(wrong), Value::Error(_)), "{wrong}");
        assert_eq!(client.command("DEBUG DIGEST"), digest);
    }
    // Deadlines are timed again: a key leaves although nobody asks for it.
    client.command(&format!("SET soon 1 PX {HOUR_MS}"));
    assert_eq!(client.command("DEBUG RELOAD").text(), "OK");
    step_clock(&mut client, HOUR_MS + 1);
    common::wait_until("the key is gone", std::time::Duration::from_secs(20), || {
        client.command("DBSIZE").int() == Some(19)
    });
}

#[test]
fn deadlines_of_fields_survive() {
    let tandem = Options::tandem().set("enable-debug-command", "local").start();
    let mut client = tandem.client();
    client.command("HSET hash a 1 b 2 c 3");
    assert_eq!(client.command("HPEXPIREAT hash 55555555555555 FIELDS 1 a").items(), [Value::Int(1)]);
    client.command("HPEXPIREAT hash 44444444444444 FIELDS 1 b");
    let payload = dump(&mut client, "hash");
    assert_eq!(payload[payload.len() - FOOTER], 12, "older servers refuse it by its version");
    assert_eq!(restore(&mut client, "copy", &payload).text(), "OK");
    client.command("DEBUG RELOAD");
    for key in ["hash", "copy"] {
        let times = client.command(&format!("HPEXPIRETIME {key} FIELDS 3 a b c")).items();
        let times: Vec<_> = times.iter().map(Value::int).collect();
        assert_eq!(times, [Some(55_555_555_555_555), Some(44_444_444_444_444), Some(-1)], "{key}");
    }
    // They are timed again, too.
    client.command("HSET brief a 1 b 2");
    client.command(&format!("HPEXPIRE brief {HOUR_MS} FIELDS 2 a b"));
    let payload = dump(&mut client, "brief");
    assert_eq!(restore(&mut client, "brief2", &payload).text(), "OK");
    client.command("DEBUG RELOAD");
    step_clock(&mut client, HOUR_MS + 1);
    common::wait_until("the hashes are gone", std::time::Duration::from_secs(20), || {
        client.command("DBSIZE").int() == Some(2)
    });
}
