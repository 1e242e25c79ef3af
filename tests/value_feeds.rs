//! `__value@N__:<key>`: what keys hold, after each change, to those who follow them.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Client, Options, Server, Value, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

fn follower(server: &Server, verb: &str, name: &str) -> Client {
    let mut client = server.client();
    client.command("HELLO 3");
    client.command(&format!("{verb} {name}"));
    client
}

/// Key, event and value of the next message; a value that is not there is empty.
fn update(client: &mut Client) -> [String; 3] {
    let facts = facts(client);
    ["key", "event", "value"].map(|name| facts.get(name).map(Value::text).unwrap_or_default())
}

fn facts(client: &mut Client) -> BTreeMap<String, Value> {
    let Value::Push(mut items) = client.read().expect("a message").value else { panic!("no push") };
    let Some(Value::Map(pairs)) = items.pop() else { panic!("no map in {items:?}") };
    pairs.into_iter().map(|(name, fact)| (name.text(), fact)).collect()
}

#[test]
fn a_follower_sees_each_value() {
    for workers in [1, 4] {
        let server = Options::tandem().workers(workers).start();
        let mut one = follower(&server, "SUBSCRIBE", "__value@0__:k");
        let mut some = follower(&server, "PSUBSCRIBE", "__value@0__:user:*");
        let mut writer = server.client();
        for (command, event, value) in [
            ("SET k 1", "set", "1"),
            ("INCR k", "incrby", "2"),
            ("APPEND k x", "append", "2x"),
            ("GETSET k 3", "set", "3"),
            ("SET k 4 EX 100", "set", "4"),
            ("PERSIST k", "persist", "4"),
            ("MSET a 1 k 5 k 6", "set", "6"),
            ("RENAME k other", "rename_from", ""),
            ("RENAME other k", "rename_to", "6"),
            ("COPY k other", "", ""),
            ("GET k", "", ""),
            ("SETNX k 7", "", ""),
            ("MOVE k 1", "move_from", ""),
            ("DEL k", "", ""),
            ("SET k 8 PX 1", "set", "8"),
        ] {
            writer.command(command);
            if !event.is_empty() {
                assert_eq!(update(&mut one), ["k", event, value], "{command}");
            }
        }
        assert_eq!(update(&mut one), ["k", "expired", ""]);
        writer.send_raw(b"MULTI\r\nSET user:1 a\r\nSET user:2 b\r\nDEL user:1\r\nEXEC\r\n").expect("send");
        assert_eq!(update(&mut some), ["user:1", "set", "a"]);
        assert_eq!(update(&mut some), ["user:2", "set", "b"]);
        assert_eq!(update(&mut some), ["user:1", "del", ""]);
        assert_eq!(one.command("PING").text(), "PONG");
    }
}

#[test]
fn collections_deadlines_and_what_is_too_large() {
    let server = Options::tandem().set("event-value-max", "200").start();
    let mut heard = follower(&server, "SUBSCRIBE", "__value@0__:h");
    let mut writer = server.client();
    writer.command("HSET h f v");
    let made = facts(&mut heard);
    assert_eq!([made["type"].text(), made["event"].text()], ["hash", "hset"]);
    let Value::Bulk(dump) = &made["dump"] else { panic!("{made:?}") };
    assert_eq!(writer.call(&[b"RESTORE", &b"copy"[..], b"0", dump]).expect("RESTORE").value.text(), "OK");
    assert_eq!(writer.command("HGET copy f").text(), "v");
    writer.command("PEXPIREAT h 9999999999999");
    assert_eq!(facts(&mut heard)["due"], Value::Int(9_999_999_999_999));
    writer.command("HPEXPIRE h 1 FIELDS 1 f");
    assert_eq!(facts(&mut heard)["event"].text(), "hexpire");
    let last = facts(&mut heard);
    assert_eq!([last["type"].text(), last["event"].text()], ["none", "hexpired"]);
    writer.command(&format!("SET h {}", "x".repeat(201)));
    assert_eq!(facts(&mut heard)["omitted"], Value::Int(201));
    // In RESP2 it is JSON.
    let mut old = server.client();
    old.command("SUBSCRIBE __value@0__:h");
    writer.command("SET h 1");
    let json = old.read().expect("a message").value.items()[2].text();
    assert_eq!(json, r#"{"key":"h","event":"set","type":"string","value":"1"}"#);
}

#[test]
fn whole_databases_change_too() {
    let server = Options::tandem().workers(2).start();
    let mut here = follower(&server, "SUBSCRIBE", "__value@0__:k");
    let mut all = follower(&server, "PSUBSCRIBE", "__value@*__:user:*");
    let mut elsewhere = follower(&server, "PSUBSCRIBE", "__value@3__:*");
    let mut writer = server.client();
    writer.command("SELECT 1");
    writer.command("SET k one");
    writer.command("SWAPDB 0 1");
    assert_eq!(update(&mut here), ["k", "database", "one"]);
    for _ in 0..2 {
        assert_eq!(update(&mut all), ["", "database", ""]);
    }
    writer.command("SELECT 0");
    writer.command("FLUSHDB");
    assert_eq!(update(&mut here), ["k", "database", ""]);
    assert_eq!(update(&mut all), ["", "database", ""]);
    assert_eq!(elsewhere.command("PING").text(), "PONG");
}

#[test]
fn evicted_keys_are_gone() {
    let server = Options::tandem().set("maxmemory-policy", "allkeys-random").start();
    let mut heard = follower(&server, "PSUBSCRIBE", "__value@0__:*");
    let mut writer = server.client();
    writer.command("SET k v");
    assert_eq!(update(&mut heard), ["k", "set", "v"]);
    writer.command("CONFIG SET maxmemory 1");
    assert_eq!(update(&mut heard), ["k", "evicted", ""]);
    wait_until("it is gone", PATIENCE, || writer.command("DBSIZE") == Value::Int(0));
}
