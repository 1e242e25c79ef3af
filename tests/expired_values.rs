//! `__expired@N__`: what ended by time, with what it held, to those who asked for it, once each.
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Client, HOUR_MS, Options, Server, Value, now_ms, step_clock, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

fn server(workers: usize) -> Server {
    Options::tandem().workers(workers).set("enable-debug-command", "yes").start()
}

/// A subscriber in RESP3, after its confirmations.
fn subscriber(server: &Server, verb: &str, names: &[&str]) -> Client {
    let mut client = server.client();
    client.command("HELLO 3");
    client.send(&[&[verb], names].concat()).expect("send");
    for _ in names {
        assert_eq!(client.read().expect("confirmation").value.items()[0].text(), verb.to_lowercase());
    }
    client
}

/// A message: the names in front of it, and its facts.
fn message(client: &mut Client) -> (Vec<String>, BTreeMap<String, Value>) {
    let Value::Push(mut items) = client.read().expect("a message").value else { panic!("no push") };
    let Some(Value::Map(pairs)) = items.pop() else { panic!("no map in {items:?}") };
    let facts = pairs.into_iter().map(|(name, fact)| (name.text(), fact)).collect();
    (items.iter().map(Value::text).collect(), facts)
}

fn text(facts: &BTreeMap<String, Value>, name: &str) -> String {
    facts.get(name).unwrap_or_else(|| panic!("no {name} in {facts:?}")).text()
}

/// Waits until a key that was just given one millisecond is past it.
fn wait_past() {
    let now = now_ms();
    wait_until("its time has passed", PATIENCE, || now_ms() > now + 1);
}

/// The deadline of a key that was given one millisecond since then.
fn due_since(facts: &BTreeMap<String, Value>, began: u64) -> u64 {
    let due = facts["due"].int().and_then(|due| u64::try_from(due).ok()).expect("a time");
    let fired = facts["fired"].int().and_then(|fired| u64::try_from(fired).ok()).expect("a time");
    assert!(began < due && due < fired && fired <= now_ms(), "{began} {facts:?}");
    due
}

/// Nothing is left for this client: a PING is answered next.
fn nothing_more(client: &mut Client) {
    assert_eq!(client.command("PING").text(), "PONG");
}

#[test]
fn both_protocols() {
    for workers in [1, 4] {
        let server = server(workers);
        let mut new = subscriber(&server, "SUBSCRIBE", &["__expired@0__"]);
        let mut old = server.client();
        assert_eq!(old.command("PSUBSCRIBE __expired@0__:a*").items()[0].text(), "psubscribe");
        let mut writer = server.client();
        let began = now_ms();
        writer.call(&["SET", "a \"b\"\n", "caf\u{e9}", "PX", "1"]).expect("SET");
        let (names, facts) = message(&mut new);
        assert_eq!(names, ["message", "__expired@0__"]);
        let order = ["due", "fired", "key", "reason", "type", "value"];
        assert_eq!(facts.keys().collect::<Vec<_>>(), order);
        assert_eq!(text(&facts, "key"), "a \"b\"\n");
        assert_eq!(text(&facts, "value"), "caf\u{e9}");
        assert_eq!((text(&facts, "type"), text(&facts, "reason")), ("string".to_owned(), "timer".to_owned()));
        let (due, fired) = (due_since(&facts, began), text(&facts, "fired"));
        let items = old.read().expect("a message").value.items();
        let items: Vec<String> = items.iter().map(Value::text).collect();
        assert_eq!(items[..3], ["pmessage", "__expired@0__:a*", "__expired@0__:a \"b\"\n"]);
        let json = format!(
            r#"{{"key":"a \"b\"\n","type":"string","value":"café","due":{due},"fired":{fired},"reason":"timer"}}"#
        );
        assert_eq!(items[3], json);
        // Bytes that are no text.
        writer.call(&[&b"SET"[..], b"a\xff", b"\xfe\xff", b"PX", b"1"]).expect("SET");
        let json = old.read().expect("a message").value.items()[3].text();
        assert!(
            json.starts_with(r#"{"key_base64":"Yf8=","type":"string","value_base64":"/v8=","due":"#),
            "{json}"
        );
    }
}

#[test]
fn subscriptions_filter_by_key_and_hear_each_event_once() {
    let server = server(4);
    let mut all = subscriber(&server, "SUBSCRIBE", &["__expired@0__"]);
    let mut one = subscriber(&server, "SUBSCRIBE", &["__expired@0__:user:7"]);
    let mut users = subscriber(&server, "PSUBSCRIBE", &["__expired@0__:user:*"]);
    let mut everywhere = subscriber(&server, "PSUBSCRIBE", &["__expired@*"]);
    let mut short = subscriber(&server, "PSUBSCRIBE", &["__expired@?__"]);
    let mut star = subscriber(&server, "PSUBSCRIBE", &["*"]);
    let mut writer = server.client();
    assert_eq!(writer.command("PUBSUB NUMPAT"), Value::Int(4));
    let counts = writer.command("PUBSUB NUMSUB __expired@0__ __expired@0__:user:7 __expired@1__").items();
    assert_eq!([&counts[1], &counts[3], &counts[5]], [&Value::Int(1), &Value::Int(1), &Value::Int(0)]);
    let channels = writer.command("PUBSUB CHANNELS __expired@*").items();
    assert_eq!(channels.len(), 2);
    // The names stand for events: nobody can invent one.
    assert_eq!(writer.command("PUBLISH __expired@0__ x"), Value::Int(1), "the pattern * alone");
    assert_eq!(star.read().expect("a message").value.items()[3].text(), "x");
    for key in ["user:7", "user:70", "other"] {
        writer.command(&format!("SET {key} v PX 1"));
        // One after the other, so that their order is known.
        wait_until("it is gone", PATIENCE, || writer.command("DBSIZE") == Value::Int(0));
    }
    writer.command("SELECT 1");
    writer.command("SET user:7 in-one PX 1");
    wait_until("it is gone", PATIENCE, || writer.command("DBSIZE") == Value::Int(0));
    let keys = |client: &mut Client, n: usize| -> Vec<String> {
        let keys = (0..n).map(|_| text(&message(client).1, "key")).collect();
        nothing_more(client);
        keys
    };
    assert_eq!(keys(&mut all, 3), ["user:7", "user:70", "other"]);
    assert_eq!(keys(&mut one, 1), ["user:7"]);
    assert_eq!(keys(&mut users, 2), ["user:7", "user:70"]);
    assert_eq!(keys(&mut everywhere, 4), ["user:7", "user:70", "other", "user:7"]);
    assert_eq!(keys(&mut short, 4), ["user:7", "user:70", "other", "user:7"]);
    nothing_more(&mut star);
    // Who leaves hears no more, and then nobody is asked for anything.
    all.send(&["UNSUBSCRIBE"]).expect("send");
    assert_eq!(all.read().expect("confirmation").value.items()[0].text(), "unsubscribe");
    everywhere.send(&["PUNSUBSCRIBE", "__expired@*"]).expect("send");
    assert_eq!(everywhere.read().expect("confirmation").value.items()[2], Value::Int(0));
    drop((one, users, short));
    wait_until("all are forgotten", PATIENCE, || writer.command("PUBSUB NUMPAT") == Value::Int(1));
    writer.command("SET user:7 x PX 1");
    wait_until("it is gone", PATIENCE, || writer.command("DBSIZE") == Value::Int(0));
    nothing_more(&mut all);
    nothing_more(&mut everywhere);
}

#[test]
fn whoever_finds_a_key_past_its_time_tells_what_it_held() {
    let server = server(2);
    let mut listener = subscriber(&server, "SUBSCRIBE", &["__expired@0__"]);
    let mut writer = server.client();
    // The wheel is off: the others find it.
    writer.command("DEBUG SET-ACTIVE-EXPIRE 0");
    let began = now_ms();
    writer.command("SET k short PX 1");
    let long = "x".repeat(5000);
    writer.command(&format!("SET l {long} PX 1"));
    writer.command("RPUSH c 1 2 3");
    writer.command("PEXPIRE c 1");
    wait_past();
    assert_eq!(writer.command("GET k"), Value::Null);
    writer.command("MULTI");
    writer.command("EXISTS l");
    writer.command("RENAME c d");
    writer.command("EXEC");
    for (key, value) in [("k", "short"), ("l", &long)] {
        let (_, facts) = message(&mut listener);
        assert_eq!(
            [text(&facts, "key"), text(&facts, "value"), text(&facts, "reason")],
            [key, value, "access"]
        );
        due_since(&facts, began);
    }
    let (_, facts) = message(&mut listener);
    assert_eq!([text(&facts, "key"), text(&facts, "type")], ["c", "list"]);
    // A migration.
    writer.command("SET moved v PX 1");
    wait_past();
    writer.command("DEBUG ENGINES GROW");
    let (_, facts) = message(&mut listener);
    assert_eq!(
        [text(&facts, "key"), text(&facts, "value"), text(&facts, "reason")],
        ["moved", "v", "migration"]
    );
    // Eviction.
    writer.command("SET seen v PX 1");
    wait_past();
    writer.command("CONFIG SET maxmemory-policy allkeys-lru maxmemory 1");
    let (_, facts) = message(&mut listener);
    assert_eq!(
        [text(&facts, "key"), text(&facts, "value"), text(&facts, "reason")],
        ["seen", "v", "eviction"]
    );
    nothing_more(&mut listener);
}

#[test]
fn collections_come_as_payloads_that_can_be_restored() {
    let server = server(1);
    let mut listener = subscriber(&server, "SUBSCRIBE", &["__expired@0__"]);
    let mut writer = server.client();
    writer.command("SELECT 1");
    for (kind, make, read) in [
        ("list", "RPUSH k a b 7", "LRANGE k 0 -1"),
        ("set", "SADD k a", "SMEMBERS k"),
        ("zset", "ZADD k 1 a 2.5 b", "ZRANGE k 0 -1 WITHSCORES"),
        ("hash", "HSET k f v g w", "HGETALL k"),
        ("stream", "XADD k 5-1 f v", "XRANGE k - +"),
    ] {
        writer.command("SELECT 0");
        writer.command(make);
        let before = writer.command(read);
        writer.command("PEXPIRE k 1");
        let (_, facts) = message(&mut listener);
        assert_eq!(text(&facts, "type"), kind);
        let Value::Bulk(dump) = &facts["dump"] else { panic!("{facts:?}") };
        writer.command("SELECT 1");
        assert_eq!(writer.call(&[b"RESTORE", &b"k"[..], b"0", dump]).expect("RESTORE").value.text(), "OK");
        assert_eq!(writer.command(read), before);
        writer.command("DEL k");
    }
    // What is too large is counted instead of copied.
    writer.command("SELECT 0");
    writer.command("CONFIG SET event-value-max 100");
    writer.command(&format!("SET k {} PX 1", "x".repeat(101)));
    let (_, facts) = message(&mut listener);
    assert_eq!((text(&facts, "omitted"), facts.get("value")), ("101".to_owned(), None));
    writer.command(&format!("RPUSH k {}", "element ".repeat(50)));
    writer.command("PEXPIRE k 1");
    let (_, facts) = message(&mut listener);
    assert!(facts["omitted"].int().expect("bytes") > 100 && !facts.contains_key("dump"));
}

#[test]
fn fields_of_hashes_one_by_one() {
    let server = server(2);
    let mut listener = subscriber(&server, "PSUBSCRIBE", &["__expired@0__:h*"]);
    let mut writer = server.client();
    writer.command("HSET h a 1 b 2 c 3");
    let began = now_ms();
    writer.command("HPEXPIRE h 1 FIELDS 2 a b");
    let mut seen = BTreeMap::new();
    for _ in 0..2 {
        let (names, facts) = message(&mut listener);
        assert_eq!(names[2], "__expired@0__:h");
        assert_eq!([text(&facts, "key"), text(&facts, "reason")], ["h", "field"]);
        due_since(&facts, began);
        seen.insert(text(&facts, "field"), text(&facts, "value"));
    }
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(seen, BTreeMap::from([pair("a", "1"), pair("b", "2")]));
    // Found by a command; the last fields take their key with them.
    writer.command("DEBUG SET-ACTIVE-EXPIRE 0");
    writer.command("HPEXPIRE h 1 FIELDS 1 c");
    wait_past();
    assert_eq!(writer.command("HGET h c"), Value::Null);
    let (_, facts) = message(&mut listener);
    assert_eq!([text(&facts, "field"), text(&facts, "value"), text(&facts, "reason")], ["c", "3", "field"]);
    assert_eq!(writer.command("EXISTS h"), Value::Int(0));
    nothing_more(&mut listener);
}

#[test]
fn values_follow_their_keys_to_other_names_and_databases() {
    for workers in [1, 4] {
        let server = server(workers);
        let mut listener = subscriber(&server, "PSUBSCRIBE", &["__expired@*"]);
        let mut writer = server.client();
        let due = now_ms() as i64 + HOUR_MS;
        for key in ["renamed", "copied", "moved", "swapped", "deleted", "persisted", "refreshed"] {
            writer.command(&format!("SET {key} {key} PXAT {due}"));
        }
        writer.command("SET overwritten x");
        let done = [
            writer.command("RENAME renamed overwritten").text() == "OK",
            writer.command("COPY copied copy DB 2") == Value::Int(1),
            writer.command("MOVE moved 2") == Value::Int(1),
            writer.command("DEL deleted") == Value::Int(1),
            writer.command("PERSIST persisted") == Value::Int(1),
            writer.command("PEXPIRE refreshed 100000000") == Value::Int(1),
            writer.command("SWAPDB 0 1").text() == "OK",
        ];
        assert_eq!(done, [true; 7]);
        step_clock(&mut writer, HOUR_MS + 1);
        let mut seen: Vec<(String, String)> = (0..5)
            .map(|_| {
                let (names, facts) = message(&mut listener);
                assert_eq!(facts["due"], Value::Int(due));
                (names[2].clone(), text(&facts, "value"))
            })
            .collect();
        seen.sort();
        let expected = [
            ("__expired@1__:copied", "copied"),
            ("__expired@1__:overwritten", "renamed"),
            ("__expired@1__:swapped", "swapped"),
            ("__expired@2__:copy", "copied"),
            ("__expired@2__:moved", "moved"),
        ];
        assert_eq!(seen, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        writer.command("SET marker x PX 1");
        assert_eq!(text(&message(&mut listener).1, "key"), "marker");
    }
}
