//! `~lost`: a subscriber that is too slow loses messages instead of its connection, and is told how many.

mod common;

use std::time::Duration;

use common::{Client, Options, Server, Value, resp, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);
/// Far beyond what the sockets between both take.
const MESSAGES: usize = 20_000;

fn figure(client: &mut Client, name: &str) -> usize {
    let info = client.command("INFO stats").text();
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("the figure");
    line.parse().expect("a number")
}

fn lost(client: &mut Client) -> usize {
    figure(client, "pubsub_messages_lost")
}

/// Publishes numbered messages of 1,000 bytes.
fn publish(writer: &mut Client, from: usize, count: usize) {
    let filler = "x".repeat(1000);
    for part in (from..from + count).collect::<Vec<_>>().chunks(1000) {
        let batch: Vec<u8> =
            part.iter().flat_map(|n| resp::encode(&["PUBLISH", "c", &format!("{n} {filler}")])).collect();
        writer.send_raw(&batch).expect("send");
        for _ in part {
            assert!(matches!(writer.read().expect("reply").value, Value::Int(0 | 1)));
        }
    }
}

/// The channel, and the number in front of the text.
fn message(client: &mut Client) -> (String, usize) {
    let items = client.read().expect("a message").value.items();
    let text = items[2].text();
    (items[1].text(), text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number"))
}

fn start() -> Server {
    Options::tandem().workers(2).set("event-buffer-limit", "100kb").start()
}

#[test]
fn a_slow_subscriber_is_told_what_it_lost() {
    for hello in ["HELLO 2", "HELLO 3"] {
        let server = start();
        let (mut slow, mut writer) = (server.client(), server.client());
        slow.command(hello);
        slow.command("SUBSCRIBE c");
        slow.command("SUBSCRIBE ~lost");
        publish(&mut writer, 0, MESSAGES);
        let counted = lost(&mut writer);
        assert!(counted > 0, "the sockets took everything");
        // Each gap is told of where it is, and exactly.
        let (mut next, mut missing) = (0, 0);
        while next < MESSAGES {
            let (channel, n) = message(&mut slow);
            if channel == "~lost" {
                (next, missing) = (next + n, missing + n);
            } else {
                assert_eq!(n, next, "in order, without a gap");
                next += 1;
            }
        }
        assert_eq!((next, missing), (MESSAGES, counted));
        // It goes on behind the gap.
        publish(&mut writer, MESSAGES, 1);
        assert_eq!(message(&mut slow), ("c".to_owned(), MESSAGES));
        writer.command("CONFIG RESETSTAT");
        assert_eq!(lost(&mut writer), 0);
    }
}

#[test]
fn who_does_not_ask_for_it_is_closed_as_in_redis() {
    let server = Options::tandem()
        .workers(2)
        .set("event-buffer-limit", "100kb")
        .set("client-output-buffer-limit", "pubsub 200kb 0 0")
        .start();
    let (mut slow, mut tolerant, mut writer) = (server.client(), server.client(), server.client());
    slow.command("SUBSCRIBE c");
    publish(&mut writer, 0, MESSAGES);
    wait_until("it is closed", PATIENCE, || writer.command("PUBSUB NUMSUB c").items()[1] == Value::Int(0));
    assert_eq!(lost(&mut writer), 0);
    // Having unsubscribed it is like everybody again.
    tolerant.command("SUBSCRIBE ~lost");
    tolerant.command("UNSUBSCRIBE ~lost");
    tolerant.command("SUBSCRIBE c");
    publish(&mut writer, 0, MESSAGES);
    wait_until("it is closed", PATIENCE, || writer.command("PUBSUB NUMSUB c").items()[1] == Value::Int(0));
    assert_eq!(lost(&mut writer), 0);
}

#[test]
fn events_of_expiry_are_dropped_and_counted_too() {
    let server = start();
    let (mut slow, mut writer) = (server.client(), server.client());
    slow.command("SUBSCRIBE ~lost");
    slow.command("SUBSCRIBE __expired@0__");
    let value = "x".repeat(1000);
    for part in 0..20 {
        let batch: Vec<u8> = (0..1000)
            .flat_map(|n| resp::encode(&["SET", &format!("k:{part}:{n}"), &value, "PX", "1"]))
            .collect();
        writer.send_raw(&batch).expect("send");
        for _ in 0..1000 {
            assert_eq!(writer.read().expect("reply").value.text(), "OK");
        }
    }
    wait_until("all are gone", PATIENCE, || writer.command("DBSIZE") == Value::Int(0));
    let counted = lost(&mut writer);
    assert!(counted > 0);
    let (mut heard, mut missing) = (0, 0);
    while heard + missing < 20_000 {
        let items = slow.read().expect("a message").value.items();
        match items[1].text().as_str() {
            "~lost" => missing += items[2].text().parse::<usize>().expect("a number"),
            _ => heard += 1,
        }
    }
    assert_eq!((heard + missing, missing), (20_000, counted));
    assert_eq!(figure(&mut writer, "pubsub_messages_delivered"), 20_000, "those that were lost included");
}
