//! Expiry as subscribers see it: each key once, in the right database, in time, whatever happens to it before.
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

mod common;

use std::collections::HashSet;
use std::time::Duration;

use common::rng::Rng;
use common::{Client, HOUR_MS, Options, Server, Value, now_ms, step_clock, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

fn server(workers: usize) -> Server {
    Options::tandem().workers(workers).set("enable-debug-command", "yes").start()
}

/// The channel and the text of the next message.
fn message(client: &mut Client) -> (String, String) {
    let items = client.read().expect("a message").value.items();
    assert_eq!(items.len(), 3, "{items:?}");
    assert_eq!(items[0].text(), "message");
    (items[1].text(), items[2].text())
}

/// Expires `name` in this client's database and reads events until that one; returns what came before.
fn before_marker(writer: &mut Client, listener: &mut Client, name: &str) -> Vec<String> {
    assert_eq!(writer.command(&format!("SET {name} x PX 1")).text(), "OK");
    let mut seen = Vec::new();
    loop {
        let (_, key) = message(listener);
        if key == name {
            return seen;
        }
        seen.push(key);
    }
}

#[test]
fn the_short_name_needs_no_configuration() {
    for workers in [1, 4] {
        let server = server(workers);
        let mut listener = server.client();
        let mut writer = server.client();
        assert_eq!(listener.command("SELECT 3").text(), "OK");
        let reply = listener.call(&["SUBSCRIBE", "~Ex"]).expect("confirmation");
        assert_eq!(reply.raw, b"*3\r\n$9\r\nsubscribe\r\n$3\r\n~Ex\r\n:1\r\n");
        writer.command("SET elsewhere x PX 1");
        writer.command("SELECT 3");
        writer.command("SET here x PX 1");
        assert_eq!(message(&mut listener), ("~Ex".to_owned(), "here".to_owned()));
        assert_eq!(writer.command("PUBLISH ~Ex x"), Value::Int(0));
        assert_eq!(writer.command("PUBSUB NUMSUB ~Ex").items()[1], Value::Int(1));
        assert_eq!(writer.command("PUBSUB CHANNELS").items(), [Value::Bulk(b"~Ex".to_vec())]);
        let reply = listener.call(&["UNSUBSCRIBE", "~Ex"]).expect("confirmation");
        assert_eq!(reply.raw, b"*3\r\n$11\r\nunsubscribe\r\n$3\r\n~Ex\r\n:0\r\n");
        writer.command("SET again x PX 1");
        wait_until("the key is gone", PATIENCE, || writer.command("DBSIZE") == Value::Int(0));
        assert_eq!(listener.command("PING").text(), "PONG");
        assert_eq!(listener.command("SUBSCRIBE ~Ex").items()[2], Value::Int(1));
        drop(listener);
        wait_until("the subscriber is forgotten", PATIENCE, || {
            writer.command("PUBSUB NUMSUB ~Ex").items()[1] == Value::Int(0)
        });
    }
}

#[test]
fn both_names_and_resp3() {
    let server = Options::tandem().set("notify-keyspace-events", "Ex").start();
    let mut listener = server.client();
    listener.command("HELLO 3");
    listener.send(&["SUBSCRIBE", "~Ex", "__keyevent@0__:expired"]).expect("send");
    for count in 1..=2 {
        let reply = listener.read().expect("confirmation");
        assert!(matches!(reply.value, Value::Push(ref items) if items[2] == Value::Int(count)));
    }
    server.client().command("SET k v PX 1");
    let mut names: Vec<String> = (0..2).map(|_| message(&mut listener).0).collect();
    names.sort();
    assert_eq!(names, ["__keyevent@0__:expired", "~Ex"]);
}

#[test]
fn ten_thousand_keys_once_each_and_in_time() {
    for workers in [1, 4] {
        let server = server(workers);
        let mut listener = server.client();
        listener.command("SUBSCRIBE ~Ex");
        let mut writers: Vec<Client> = (0..4).map(|_| server.client()).collect();
        let start = now_ms() + 1500;
        for (w, writer) in writers.iter_mut().enumerate() {
            let mut bytes = Vec::new();
            for i in 0..2500_u64 {
                let due = start + (i * 4 + w as u64) % 1000;
                let (key, due) = (format!("k:{w}:{due}:{i}"), due.to_string());
                bytes.extend(common::resp::encode(&["SET", &key, "v", "PXAT", &due]));
            }
            writer.send_raw(&bytes).expect("send");
            for _ in 0..2500 {
                assert_eq!(writer.read().expect("reply").value.text(), "OK");
            }
        }
        let mut seen = HashSet::new();
        let mut worst = 0;
        for _ in 0..10_000 {
            let (_, key) = message(&mut listener);
            let due: u64 = key.split(':').nth(2).and_then(|d| d.parse().ok()).expect("due time");
            let now = now_ms();
            assert!(due <= now, "{key} expired early");
            worst = worst.max(now - due);
            assert!(seen.insert(key), "an event came twice");
        }
        println!("{workers} workers: worst lateness {worst} ms");
        let rest = before_marker(&mut writers[0], &mut listener, "marker");
        assert!(rest.is_empty(), "{rest:?}");
        assert_eq!(writers[0].command("DBSIZE"), Value::Int(0));
    }
}

#[test]
fn what_happened_to_a_key_before_its_time_counts() {
    for workers in [1, 4] {
        let server = server(workers);
        let mut listener = server.client();
        listener.command("SUBSCRIBE ~Ex");
        let mut writer = server.client();
        for name in ["refreshed", "deleted", "persisted", "old", "overwritten", "stays"] {
            writer.command(&format!("SET {name} x PX {HOUR_MS}"));
        }
        assert_eq!(writer.command(&format!("PEXPIRE refreshed {}", 3 * HOUR_MS)), Value::Int(1));
        assert_eq!(writer.command("DEL deleted"), Value::Int(1));
        assert_eq!(writer.command("PERSIST persisted"), Value::Int(1));
        assert_eq!(writer.command("SET overwritten y XX").text(), "OK");
        assert_eq!(writer.command("RENAME old new").text(), "OK");
        assert!(before_marker(&mut writer, &mut listener, "before").is_empty());
        // Beyond the times that the keys had at first.
        step_clock(&mut writer, 2 * HOUR_MS);
        let mut seen = before_marker(&mut writer, &mut listener, "marker");
        seen.sort();
        assert_eq!(seen, ["new", "stays"]);
        assert_eq!(writer.command("EXISTS refreshed persisted overwritten"), Value::Int(3));
    }
}

#[test]
fn times_follow_the_data_to_other_databases() {
    for workers in [1, 4] {
        let server = server(workers);
        let mut listeners: Vec<Client> = (0..3)
            .map(|db| {
                let mut listener = server.client();
                listener.command(&format!("SELECT {db}"));
                listener.command("SUBSCRIBE ~Ex");
                listener
            })
            .collect();
        let mut writer = server.client();
        for key in ["swapped", "moved", "copied"] {
            writer.command(&format!("SET {key} x PX {HOUR_MS}"));
        }
        assert_eq!(writer.command("COPY copied copy DB 2"), Value::Int(1));
        assert_eq!(writer.command("MOVE moved 2"), Value::Int(1));
        assert_eq!(writer.command("SWAPDB 0 1").text(), "OK");
        step_clock(&mut writer, HOUR_MS + 1);
        let mut in_one = [message(&mut listeners[1]).1, message(&mut listeners[1]).1];
        in_one.sort();
        assert_eq!(in_one, ["copied", "swapped"]);
        let mut in_two = [message(&mut listeners[2]).1, message(&mut listeners[2]).1];
        in_two.sort();
        assert_eq!(in_two, ["copy", "moved"]);
        for (db, listener) in listeners.iter_mut().enumerate() {
            writer.command(&format!("SELECT {db}"));
            assert!(before_marker(&mut writer, listener, "marker").is_empty());
        }
    }
}

#[test]
fn a_key_past_its_time_is_never_served() {
    let server = server(4);
    let mut writer = server.client();
    let mut reader = server.client();
    for round in 0..200 {
        let due = now_ms() + 5;
        writer.command(&format!("SET k{round} v PXAT {due}"));
        loop {
            let asked = now_ms();
            let reply = reader.command(&format!("GET k{round}"));
            if asked > due {
                assert_eq!(reply, Value::Null, "served past its time");
            }
            if reply == Value::Null {
                break;
            }
        }
    }
    // With the wheel off, reading alone decides.
    writer.command("DEBUG SET-ACTIVE-EXPIRE 0");
    let due = now_ms() + 5;
    writer.command(&format!("SET k v PXAT {due}"));
    wait_until("its time has passed", PATIENCE, || now_ms() > due);
    assert_eq!(reader.command("EXISTS k"), Value::Int(0));
}

#[test]
fn once_each_while_the_engines_grow_and_shrink() {
    let server = server(4);
    let mut listener = server.client();
    listener.command("SUBSCRIBE ~Ex");
    let mut writer = server.client();
    let mut filler = server.client();
    let count = 20_000;
    let mut bytes = Vec::new();
    for i in 0..count {
        let (key, px) = (format!("due:{i}"), (50 + i % 900).to_string());
        bytes.extend(common::resp::encode(&["SET", &key, "v", "PX", &px]));
    }
    writer.send_raw(&bytes).expect("send");
    // Meanwhile many other keys come, which makes the engines grow, and go again.
    let adding = std::thread::spawn(move || {
        for verb in ["SET", "DEL"] {
            for part in 0..20 {
                let mut bytes = Vec::new();
                for i in 0..5000 {
                    let key = format!("other:{part}:{i}");
                    let args = [verb, &key, "v"];
                    let args = if verb == "SET" { &args[..] } else { &args[..2] };
                    bytes.extend(common::resp::encode(args));
                }
                filler.send_raw(&bytes).expect("send");
                for _ in 0..5000 {
                    filler.read().expect("reply");
                }
            }
        }
    });
    for _ in 0..count {
        assert_eq!(writer.read().expect("reply").value.text(), "OK");
    }
    let mut seen = HashSet::new();
    for _ in 0..count {
        let (_, key) = message(&mut listener);
        assert!(key.starts_with("due:"), "{key}");
        assert!(seen.insert(key), "an event came twice");
    }
    adding.join().expect("the other writer");
    assert!(before_marker(&mut writer, &mut listener, "marker").is_empty());
    assert_eq!(writer.command("DBSIZE"), Value::Int(0));
}

/// Alone a refresh touches the entry and nothing else; a transaction reaches its keys in the general way.
#[test]
fn a_deadline_is_moved_alike_alone_and_in_a_transaction() {
    let server = Options::tandem().set("notify-keyspace-events", "EA").start();
    let (mut client, mut listener) = (server.client(), server.client());
    listener.command("PSUBSCRIBE __keyevent@0__:*");
    let mut rng = Rng::new(11);
    let conditions = ["", " NX", " XX", " GT", " LT", " XX GT", " XX LT", " NX GT", " OTHER"];
    let begun = i64::try_from(now_ms()).expect("a time");
    for step in 0..400 {
        let command = match rng.below(8) {
            0 => "PERSIST {}".to_owned(),
            1 => "SET {} v".to_owned(),
            2 => "DEL {}".to_owned(),
            _ => {
                let hours = rng.below(6) as i64;
                let at = if hours == 0 { 1 } else { begun + hours * HOUR_MS };
                format!("PEXPIREAT {{}} {at}{}", conditions[rng.below(conditions.len())])
            }
        };
        let alone = client.command(&command.replace("{}", "alone"));
        client.command("MULTI");
        client.command(&command.replace("{}", "within"));
        let within = client.command("EXEC").items();
        assert_eq!(within, [alone], "{step}: {command}");
        let deadlines = ["alone", "within"].map(|key| client.command(&format!("PEXPIRETIME {key}")));
        assert_eq!(deadlines[0], deadlines[1], "{step}: {command}");
    }
    client.command("SET end v");
    let mut events: [Vec<String>; 2] = Default::default();
    loop {
        let items = listener.read().expect("an event").value.items();
        let of = match items[3].text().as_str() {
            "alone" => 0,
            "within" => 1,
            _ => break,
        };
        events[of].push(items[2].text());
    }
    assert_eq!(events[0], events[1]);
    let expire = events[0].iter().filter(|event| event.ends_with(":expire")).count();
    assert!(expire > 20, "{expire}");
}
