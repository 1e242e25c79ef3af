//! Rules that write what expires to a stream: every key once, whoever found it, whatever else goes on.
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

mod common;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use common::{Client, HOUR_MS, Options, Server, Value, now_ms, resp, step_clock, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

fn server(workers: usize) -> Server {
    Options::tandem().workers(workers).set("enable-debug-command", "yes").start()
}

fn ok(client: &mut Client, command: &str) {
    assert_eq!(client.command(command).text(), "OK", "{command}");
}

/// The entries of a stream, as maps.
fn entries(client: &mut Client, stream: &str) -> Vec<BTreeMap<String, String>> {
    let list = client.command(&format!("XRANGE {stream} - +")).items();
    list.iter().map(|entry| fields(&entry.items()[1])).collect()
}

fn fields(list: &Value) -> BTreeMap<String, String> {
    list.items().chunks(2).map(|pair| (pair[0].text(), pair[1].text())).collect()
}

fn figure(client: &mut Client, name: &str) -> u64 {
    let info = client.command("INFO stats").text();
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).expect("the figure");
    line.parse().expect("a number")
}

fn wait_past() {
    let now = now_ms();
    wait_until("its time has passed", PATIENCE, || now_ms() > now + 1);
}

fn wait_length(client: &mut Client, stream: &str, n: i64) {
    wait_until("the stream is as long as it should be", PATIENCE, || {
        client.command(&format!("XLEN {stream}")) == Value::Int(n)
    });
}

#[test]
fn rules_are_set_shown_and_removed() {
    let mut server = Options::tandem().start();
    let mut c = server.client();
    c.command("HELLO 3");
    ok(&mut c, "EXPIRY RULE SET jobs PATTERN job:* STREAM expired-jobs MAXLEN 100 VALUE");
    ok(&mut c, "EXPIRY RULE SET all STREAM log PATTERN * DB 3");
    let expected = "rule jobs pattern job:* stream expired-jobs db 0 maxlen 100 value \
        rule all pattern * stream log db 3 maxlen 1000000";
    let shown = c.command("CONFIG GET expiry-rules").items()[1].text();
    assert_eq!(shown, expected);
    let rule = c.call(&["EXPIRY", "RULE", "GET", "jobs"]).expect("GET");
    let map = b"%6\r\n$4\r\nname\r\n$4\r\njobs\r\n$7\r\npattern\r\n$5\r\njob:*\r\n$6\r\nstream\r\n$12\r\nexpired-jobs\r\n\
        $2\r\ndb\r\n:0\r\n$6\r\nmaxlen\r\n:100\r\n$5\r\nvalue\r\n#t\r\n";
    assert_eq!(rule.raw, map);
    assert_eq!(c.command("EXPIRY RULE LIST").items().len(), 2);
    assert_eq!(c.command("EXPIRY RULE GET none"), Value::Null);
    assert!(c.command("EXPIRY RULE HELP").items().len() > 6);
    for bad in [
        "EXPIRY RULE",
        "EXPIRY RULE SET x",
        "EXPIRY RULE SET x PATTERN *",
        "EXPIRY RULE SET x PATTERN * STREAM s DB 16",
        "EXPIRY RULE SET x PATTERN * STREAM s OFTEN",
        "EXPIRY RULE SET x PATTERN * STREAM s rule y PATTERN * STREAM t",
        "EXPIRY RULE GET",
        "EXPIRY RULE NOSUCH",
        "CONFIG SET expiry-rules nothing",
    ] {
        assert!(matches!(c.command(bad), Value::Error(_)), "{bad}");
    }
    // It is a setting, so CONFIG REWRITE keeps it over a restart.
    ok(&mut c, "EXPIRY RULE SET all STREAM other PATTERN * DB 3");
    ok(&mut c, "CONFIG REWRITE");
    server.kill_and_restart();
    let mut c = server.client();
    let shown = c.command("CONFIG GET expiry-rules").items()[1].text();
    assert_eq!(shown, expected.replace("stream log", "stream other"));
    c.command("SELECT 3");
    c.command("SET k v PX 1");
    wait_length(&mut c, "other", 1);
    assert_eq!(c.command("EXPIRY RULE DEL all none jobs"), Value::Int(2));
    assert_eq!(c.command("EXPIRY RULE LIST"), Value::Array(Vec::new()));
    c.command("SET k v PX 1");
    wait_until("it is gone", PATIENCE, || c.command("EXISTS k") == Value::Int(0));
    assert_eq!(c.command("XLEN other"), Value::Int(1));
}

#[test]
fn an_entry_says_what_ended_and_wakes_its_readers() {
    for workers in [1, 4] {
        let server = server(workers);
        let (mut c, mut reader) = (server.client(), server.client());
        ok(&mut c, "EXPIRY RULE SET jobs PATTERN job:* STREAM due MAXLEN 100 VALUE");
        ok(&mut c, "XGROUP CREATE due workers $ MKSTREAM");
        reader
            .send(&["XREADGROUP", "GROUP", "workers", "me", "BLOCK", "0", "STREAMS", "due", ">"])
            .expect("send");
        wait_until("it waits", PATIENCE, || c.command("INFO clients").text().contains("blocked_clients:1"));
        let began = now_ms();
        c.command("SET other x PX 1");
        c.command("SET job:1 payload PX 1");
        let reply = reader.read().expect("an entry").value.items();
        let entry = fields(&reply[0].items()[1].items()[0].items()[1]);
        assert_eq!([&entry["key"], &entry["value"], &entry["type"]], ["job:1", "payload", "string"]);
        assert_eq!(entry["reason"], "timer");
        let due: u64 = entry["due"].parse().expect("a time");
        let fired: u64 = entry["fired"].parse().expect("a time");
        assert!(began < due && due < fired);
        // Without VALUE there is none; a collection has its payload.
        ok(&mut c, "EXPIRY RULE SET keys PATTERN job:2 STREAM keys");
        c.command("RPUSH job:2 a");
        c.command("PEXPIRE job:2 1");
        wait_length(&mut c, "keys", 1);
        wait_length(&mut c, "due", 2);
        assert!(!entries(&mut c, "keys")[0].contains_key("type"));
        assert!(entries(&mut c, "due")[1].contains_key("dump"));
    }
}

#[test]
fn every_key_once_while_everything_goes_on() {
    for workers in [1, 4] {
        let server = server(workers);
        let mut c = server.client();
        ok(&mut c, "EXPIRY RULE SET all PATTERN k:* STREAM s VALUE");
        let threads: Vec<_> = (0..4)
            .map(|w| {
                let mut client = server.client();
                std::thread::spawn(move || {
                    for part in 0..3 {
                        let mut batch = Vec::new();
                        for i in 0..250 {
                            let (key, px) = (format!("k:{w}:{part}:{i}"), (1 + i % 50).to_string());
                            batch.extend(resp::encode(&["SET", &key, &key, "PX", &px]));
                            // Found by commands, too, alone and in transactions, some of which write to the stream.
                            let other = format!("k:{}:{part}:{}", (w + 1) % 4, i / 2);
                            batch.extend(resp::encode(&["MULTI"]));
                            batch.extend(resp::encode(&["GET", &other]));
                            batch.extend(resp::encode(&["EXISTS", &other, "s"]));
                            batch.extend(resp::encode(&["EXEC"]));
                            batch.extend(resp::encode(&["MGET", &other, &key, "s"]));
                        }
                        client.send_raw(&batch).expect("send");
                        for _ in 0..250 * 6 {
                            assert!(!matches!(client.read().expect("reply").value, Value::Error(_)));
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("a writer");
        }
        wait_length(&mut c, "s", 3_000);
        let mut seen = HashSet::new();
        for entry in entries(&mut c, "s") {
            assert_eq!(entry["key"], entry["value"]);
            assert!(seen.insert(entry["key"].clone()), "{} is there twice", entry["key"]);
        }
        assert_eq!(c.command("DBSIZE"), Value::Int(1));
        wait_until("they are counted", PATIENCE, || {
            figure(&mut c, "expiry_rule_entries") == 3_000 && figure(&mut c, "expiry_rule_pending") == 0
        });
    }
}

#[test]
fn whoever_finds_a_key_past_its_time() {
    let server = server(2);
    let mut c = server.client();
    ok(&mut c, "EXPIRY RULE SET all PATTERN k* STREAM s VALUE");
    ok(&mut c, "EXPIRY RULE SET more PATTERN k* STREAM s DB 1");
    ok(&mut c, "DEBUG SET-ACTIVE-EXPIRE 0");
    let last = |c: &mut Client, n: i64| {
        wait_length(c, "s", n);
        let entry = entries(c, "s").pop().expect("an entry");
        [entry["key"].clone(), entry["reason"].clone()]
    };
    // A transaction appends when it is over; what it reads of the stream is of before.
    c.command("SET k1 v PX 1");
    wait_past();
    c.command("MULTI");
    c.command("GET k1");
    c.command("XLEN s");
    assert_eq!(c.command("EXEC").items(), [Value::Null, Value::Int(0)]);
    assert_eq!(last(&mut c, 1), ["k1", "access"]);
    // Behind the gate.
    c.command("SET k2 v PX 1");
    wait_past();
    c.command("MULTI");
    c.command("GET k2");
    c.command("SWAPDB 2 3");
    c.command("EXEC");
    assert_eq!(last(&mut c, 2), ["k2", "access"]);
    // The helper thread: a migration, and eviction.
    c.command("SET k3 v PX 1");
    wait_past();
    c.command("DEBUG ENGINES GROW");
    assert_eq!(last(&mut c, 3), ["k3", "migration"]);
    c.command("SET k4 v PX 1");
    wait_past();
    c.command("CONFIG SET maxmemory-policy volatile-lru maxmemory 1");
    assert_eq!(last(&mut c, 4), ["k4", "eviction"]);
    c.command("CONFIG SET maxmemory 0");
    ok(&mut c, "DEBUG SET-ACTIVE-EXPIRE 1");
    c.command("HSET k5 f v");
    c.command("HPEXPIRE k5 1 FIELDS 1 f");
    assert_eq!(last(&mut c, 5), ["k5", "field"]);
    // Another database has its own.
    c.command("SELECT 1");
    c.command("SET k6 v PX 1");
    assert_eq!(last(&mut c, 1), ["k6", "timer"]);
}

#[test]
fn what_cannot_be_appended_is_counted_and_streams_stay_short() {
    let server = server(1);
    let mut c = server.client();
    c.command("SET s text");
    ok(&mut c, "EXPIRY RULE SET all PATTERN k* STREAM s MAXLEN 3");
    c.command("SET k1 v PX 1");
    wait_until("it failed", PATIENCE, || figure(&mut c, "expiry_rule_failures") == 1);
    c.command("DEL s");
    for n in 0..10 {
        c.command(&format!("SET k{n} v PX 1"));
        wait_until("it is appended", PATIENCE, || figure(&mut c, "expiry_rule_entries") == n + 1);
    }
    assert_eq!(c.command("XLEN s"), Value::Int(3));
    // A stream that expires itself is a key like others.
    ok(&mut c, "EXPIRY RULE SET all PATTERN * STREAM s MAXLEN 3");
    c.command("PEXPIRE s 1");
    wait_until("it is about itself", PATIENCE, || {
        entries(&mut c, "s").first().is_some_and(|entry| entry["key"] == "s")
    });
}

/// A value above `event-value-max` stays out of the entry, which says how many bytes it had; the key is there all the same.
#[test]
fn a_value_that_is_too_large_is_only_counted() {
    let server = server(2);
    let mut c = server.client();
    ok(&mut c, "CONFIG SET event-value-max 1000");
    ok(&mut c, "EXPIRY RULE SET all PATTERN k:* STREAM s VALUE");
    let (fits, too_large) = ("x".repeat(1000), "x".repeat(1001));
    for (key, value) in [("k:fits", &fits), ("k:large", &too_large)] {
        ok(&mut c, &format!("SET {key} {value} PX {HOUR_MS}"));
    }
    c.command(&format!("RPUSH k:list {}", "element ".repeat(500)));
    c.command(&format!("HSET k:hash f {too_large}"));
    c.command(&format!("PEXPIRE k:list {HOUR_MS}"));
    c.command(&format!("HPEXPIRE k:hash {HOUR_MS} FIELDS 1 f"));
    step_clock(&mut c, HOUR_MS + 1);
    wait_length(&mut c, "s", 4);
    let found: BTreeMap<String, _> =
        entries(&mut c, "s").into_iter().map(|entry| (entry["key"].clone(), entry)).collect();
    assert_eq!(found["k:fits"]["value"], fits);
    assert!(!found["k:fits"].contains_key("omitted"));
    assert_eq!(found["k:large"]["omitted"], "1001");
    assert_eq!(found["k:hash"]["omitted"], "1001");
    assert!(found["k:list"]["omitted"].parse::<usize>().expect("bytes") > 1000);
    for (key, kind) in [("k:large", "string"), ("k:hash", "string"), ("k:list", "list")] {
        let entry = &found[key];
        assert!(!entry.contains_key("value") && !entry.contains_key("dump"), "{entry:?}");
        assert_eq!(entry["type"], kind);
    }
    // With a larger limit it goes along.
    ok(&mut c, "CONFIG SET event-value-max 2000");
    ok(&mut c, &format!("SET k:large {too_large} PX 1"));
    wait_length(&mut c, "s", 5);
    assert_eq!(entries(&mut c, "s")[4]["value"], too_large);
}

#[test]
fn who_waits_for_a_group_hears_when_a_migration_drops_its_stream() {
    let server = server(2);
    let (mut c, mut reader) = (server.client(), server.client());
    ok(&mut c, "DEBUG SET-ACTIVE-EXPIRE 0");
    ok(&mut c, "XGROUP CREATE s g $ MKSTREAM");
    // Not due before it waits: that would answer at once.
    c.command(&format!("PEXPIRE s {HOUR_MS}"));
    reader.send(&["XREADGROUP", "GROUP", "g", "me", "BLOCK", "0", "STREAMS", "s", ">"]).expect("send");
    wait_until("it waits", PATIENCE, || c.command("INFO clients").text().contains("blocked_clients:1"));
    step_clock(&mut c, HOUR_MS + 1);
    c.command("DEBUG ENGINES GROW");
    assert!(matches!(reader.read().expect("an answer").value, Value::Error(_)));
}
