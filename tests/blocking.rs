//! Clients that wait: who is served when, across workers, and how a wait ends.
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

#[allow(unused_imports, reason = "each test crate uses its own part of it")]
mod common;

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, Options, Server, Value, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

fn field(server: &Server, section: &str, name: &str) -> String {
    let text = server.client().command(&format!("INFO {section}")).text();
    let found =
        text.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
    found.unwrap_or_else(|| panic!("no {name} in:\n{text}"))
}

fn blocked(server: &Server) -> usize {
    field(server, "clients", "blocked_clients").parse().expect("a number")
}

fn wait_for_blocked(server: &Server, n: usize) {
    wait_until(&format!("{n} blocked clients"), PATIENCE, || blocked(server) == n);
}

/// Sends a command that is going to wait, and waits until it does.
fn begin(server: &Server, command: &str) -> Client {
    let mut client = server.client();
    let before = blocked(server);
    let words: Vec<&str> = command.split(' ').collect();
    client.send(&words).expect("send");
    wait_for_blocked(server, before + 1);
    client
}

fn texts(value: &Value) -> Vec<String> {
    value.items().iter().map(Value::text).collect()
}

fn answer(client: &mut Client) -> Value {
    client.read().expect("an answer").value
}

/// Whether nothing has come: the client still answers a later command first.
fn is_quiet(server: &Server) {
    assert_eq!(field(server, "clients", "total_blocking_keys"), "0");
    assert_eq!(field(server, "clients", "clients_in_timeout_table"), "0");
    assert_eq!(blocked(server), 0);
}

#[test]
fn clients_are_served_in_the_order_in_which_they_came_whatever_their_worker() {
    let server = Options::tandem().workers(4).start();
    let mut waiting: Vec<Client> = (0..24).map(|_| begin(&server, "BLPOP queue 0")).collect();
    assert_eq!(field(&server, "clients", "total_blocking_keys"), "1");
    let mut pushers: Vec<Client> = (0..5).map(|_| server.client()).collect();
    for (i, client) in waiting.iter_mut().enumerate() {
        let pusher = &mut pushers[i % 5];
        pusher.command(&format!("RPUSH queue {i}"));
        assert_eq!(texts(&answer(client)), ["queue".to_owned(), i.to_string()]);
    }
    is_quiet(&server);
}

#[test]
fn one_push_of_many_serves_all_in_order() {
    let server = Options::tandem().workers(4).start();
    let mut waiting: Vec<Client> = (0..8).map(|_| begin(&server, "BLPOP queue 0")).collect();
    assert_eq!(server.client().command("RPUSH queue 0 1 2 3 4 5 6 7 8").int(), Some(9));
    for (i, client) in waiting.iter_mut().enumerate() {
        assert_eq!(texts(&answer(client)), ["queue".to_owned(), i.to_string()]);
    }
    assert_eq!(server.client().command("LPOP queue").text(), "8");
    is_quiet(&server);
}

/// 200 consumers on a few keys, several producers at once: every element goes to exactly one.
#[test]
fn no_wake_up_is_lost_under_concurrent_pushes() {
    const CONSUMERS: usize = 200;
    const EACH: usize = 20;
    let server = Options::tandem().workers(4).start();
    let consumers: Vec<_> = (0..CONSUMERS)
        .map(|i| {
            let mut client = server.client();
            thread::spawn(move || {
                let command = match i % 4 {
                    0 => "BLPOP a b c 0",
                    1 => "BRPOP c b a 0",
                    2 => "BLMPOP 0 3 b a c LEFT",
                    _ => "BLPOP b c a 0",
                };
                (0..EACH)
                    .map(|_| {
                        let got = client.command(command);
                        let element = got.items().get(1).cloned().expect("key and element");
                        element.items().first().unwrap_or(&element).text()
                    })
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let producers: Vec<_> = (0..8)
        .map(|p| {
            let mut client = server.client();
            thread::spawn(move || {
                for n in 0..CONSUMERS * EACH / 8 {
                    let key = ["a", "b", "c", "c"][n % 4];
                    client.command(&format!("RPUSH {key} {p}:{n}"));
                }
            })
        })
        .collect();
    for producer in producers {
        producer.join().expect("producer");
    }
    let mut seen = BTreeSet::new();
    for consumer in consumers {
        for element in consumer.join().expect("consumer") {
            assert!(seen.insert(element), "delivered twice");
        }
    }
    assert_eq!(seen.len(), CONSUMERS * EACH);
    assert_eq!(server.client().command("EXISTS a b c").int(), Some(0));
    is_quiet(&server);
}

#[test]
fn time_outs_come_in_time_and_in_the_form_of_each_command() {
    let server = Options::tandem().workers(2).start();
    let mut client = server.client();
    for (command, form) in [
        ("BLPOP k 0.05", "*-1\r\n"),
        ("BRPOP k 0.05", "*-1\r\n"),
        ("BLMOVE k l LEFT RIGHT 0.05", "*-1\r\n"),
        ("BRPOPLPUSH k l 0.05", "*-1\r\n"),
        ("BLMPOP 0.05 1 k LEFT", "*-1\r\n"),
        ("BZPOPMIN k 0.05", "*-1\r\n"),
        ("BZMPOP 0.05 1 k MIN", "*-1\r\n"),
        ("XREAD BLOCK 50 STREAMS k $", "*-1\r\n"),
        ("WAIT 1 50", ":0\r\n"),
        ("WAITAOF 0 1 50", "*2\r\n:0\r\n:0\r\n"),
    ] {
        let begun = Instant::now();
        let words: Vec<&str> = command.split(' ').collect();
        let reply = client.call(&words).expect(command);
        assert_eq!(String::from_utf8_lossy(&reply.raw), form, "{command}");
        assert!(begun.elapsed() >= Duration::from_millis(50), "{command} after {:?}", begun.elapsed());
    }
    assert_eq!(client.command("WAIT 0 0").int(), Some(0));
    is_quiet(&server);
}

#[test]
fn bad_time_outs_are_refused() {
    let server = Options::tandem().start();
    let mut client = server.client();
    for (command, error) in [
        ("BLPOP k x", "ERR timeout is not a float or out of range"),
        ("BLPOP k nan", "ERR timeout is not a float or out of range"),
        ("BLPOP k -1", "ERR timeout is negative"),
        ("BLPOP k 1e300", "ERR timeout is out of range"),
        ("BLMOVE k l LEFT LEFT 0x7FFFFFFFFFFFFFFF", "ERR timeout is out of range"),
        ("XREAD BLOCK x STREAMS k 0", "ERR timeout is not an integer or out of range"),
        ("XREAD BLOCK -1 STREAMS k 0", "ERR timeout is negative"),
        ("WAIT 1 -1", "ERR timeout is negative"),
    ] {
        assert_eq!(client.command(command), Value::Error(error.to_owned()), "{command}");
    }
}

#[test]
fn client_unblock_ends_a_wait() {
    let server = Options::tandem().workers(4).start();
    let mut admin = server.client();
    for (how, error) in [("TIMEOUT", None), ("ERROR", Some("UNBLOCKED client unblocked via CLIENT UNBLOCK"))]
    {
        let mut client = server.client();
        let id = client.command("CLIENT ID").text();
        client.send(&["BLPOP", "k", "0"]).expect("send");
        wait_for_blocked(&server, 1);
        assert!(admin.command("CLIENT LIST").text().contains(" flags=bU "));
        assert_eq!(admin.command(&format!("CLIENT UNBLOCK {id} {how}")).int(), Some(1));
        // Settled: what is pushed now is not for that client.
        admin.command("RPUSH k left");
        let expected = error.map_or(Value::Null, |text| Value::Error(text.to_owned()));
        assert_eq!(answer(&mut client), expected);
        assert_eq!(admin.command("LPOP k").text(), "left");
        assert_eq!(admin.command(&format!("CLIENT UNBLOCK {id}")).int(), Some(0));
        assert_eq!(client.command("PING").text(), "PONG");
    }
    is_quiet(&server);
}

#[test]
fn a_client_that_goes_is_not_served() {
    let server = Options::tandem().workers(4).start();
    let first = begin(&server, "BLPOP k 0");
    let mut second = begin(&server, "BLPOP k 0");
    drop(first);
    wait_for_blocked(&server, 1);
    server.client().command("RPUSH k x");
    assert_eq!(texts(&answer(&mut second)), ["k", "x"]);
    // And one that is killed.
    let mut third = server.client();
    let id = third.command("CLIENT ID").text();
    third.send(&["BLPOP", "k", "0"]).expect("send");
    wait_for_blocked(&server, 1);
    let mut admin = server.client();
    assert_eq!(admin.command(&format!("CLIENT KILL ID {id}")).int(), Some(1));
    admin.command("RPUSH k y");
    assert!(third.read().is_err(), "closed without an answer");
    assert_eq!(admin.command("LPOP k").text(), "y");
    wait_until("nobody waits", PATIENCE, || blocked(&server) == 0);
    is_quiet(&server);
}

#[test]
fn what_is_pipelined_behind_waits_its_turn() {
    let server = Options::tandem().workers(2).start();
    let whole = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n";
    for cut in 0..=whole.len() {
        let mut client = server.client();
        let mut bytes = common::resp::encode(&["BLPOP", "k", "0"]);
        bytes.extend_from_slice(&whole[..cut]);
        client.send_raw(&bytes).expect("send");
        wait_for_blocked(&server, 1);
        let mut other = server.client();
        if cut % 2 == 0 {
            client.send_raw(&whole[cut..]).expect("send");
        }
        assert_eq!(other.command("GET a"), Value::Null);
        other.command("RPUSH k x");
        assert_eq!(texts(&answer(&mut client)), ["k", "x"]);
        if cut % 2 == 1 {
            client.send_raw(&whole[cut..]).expect("send");
        }
        assert_eq!(answer(&mut client).text(), "OK");
        assert_eq!(other.command("GETDEL a").text(), "b");
    }
    is_quiet(&server);
}

#[test]
fn two_blocking_commands_in_one_pipeline() {
    let server = Options::tandem().workers(2).start();
    let mut client = server.client();
    let bytes = [
        common::resp::encode(&["BLPOP", "k", "0"]),
        common::resp::encode(&["PING"]),
        common::resp::encode(&["BLPOP", "k", "0"]),
        common::resp::encode(&["PING"]),
    ];
    client.send_raw(&bytes.concat()).expect("send");
    wait_for_blocked(&server, 1);
    for element in ["1", "2"] {
        server.client().command(&format!("RPUSH k {element}"));
        assert_eq!(texts(&answer(&mut client)), ["k", element]);
        assert_eq!(answer(&mut client).text(), "PONG");
    }
    is_quiet(&server);
}

#[test]
fn in_a_transaction_nothing_waits() {
    let server = Options::tandem().workers(2).start();
    let mut client = server.client();
    client.command("MULTI");
    for command in
        ["BLPOP k 0", "BLMOVE k l LEFT LEFT 0", "BZPOPMAX k 0", "XREAD BLOCK 0 STREAMS k $", "WAIT 1 0"]
    {
        assert_eq!(client.command(command).text(), "QUEUED");
    }
    let expected = vec![Value::Null, Value::Null, Value::Null, Value::Null, Value::Int(0)];
    assert_eq!(client.command("EXEC"), Value::Array(expected));
    // Waiters are served after EXEC as a whole.
    let mut waiting = begin(&server, "BLPOP k 0");
    client.command("MULTI");
    for command in ["RPUSH k a", "DEL k", "RPUSH k b"] {
        client.command(command);
    }
    client.command("EXEC");
    assert_eq!(texts(&answer(&mut waiting)), ["k", "b"]);
    is_quiet(&server);
}

#[test]
fn one_waiter_feeds_the_next() {
    let server = Options::tandem().workers(4).start();
    let mut last = begin(&server, "BLPOP c 0");
    let mut middle = begin(&server, "BLMOVE b c LEFT RIGHT 0");
    let mut first = begin(&server, "BLMOVE a b LEFT RIGHT 0");
    server.client().command("RPUSH a x");
    assert_eq!(answer(&mut first).text(), "x");
    assert_eq!(answer(&mut middle).text(), "x");
    assert_eq!(texts(&answer(&mut last)), ["c", "x"]);
    is_quiet(&server);
}

#[test]
fn every_way_to_make_a_key_wakes() {
    let server = Options::tandem().workers(2).set("enable-debug-command", "yes").start();
    let mut client = server.client();
    for (prepare, make) in [
        (&["RPUSH other x"][..], "RENAME other k"),
        (&["RPUSH other x"], "RENAMENX other k"),
        (&["RPUSH other x"], "COPY other k"),
        (&["RPUSH other x"], "LMOVE other k LEFT LEFT"),
        (&["SELECT 1", "RPUSH k x"], "MOVE k 0"),
        (&["SELECT 1", "RPUSH k x"], "SWAPDB 0 1"),
        (&["SET k text", "SET k again", "DEL k"], "RPUSH k x"),
    ] {
        client.command("SELECT 0");
        let mut waiting = begin(&server, "BLPOP k 0");
        for command in prepare {
            client.command(command);
        }
        client.command(make);
        assert_eq!(texts(&answer(&mut waiting)), ["k", "x"], "{make}");
        client.command("FLUSHALL");
    }
    client.command("SELECT 0");
    // A key of another type is none of its business.
    let mut waiting = begin(&server, "BLPOP k 0");
    client.command("ZADD k 1 m");
    client.command("DEL k");
    client.command("RPUSH k x");
    assert_eq!(texts(&answer(&mut waiting)), ["k", "x"]);
    is_quiet(&server);
}

#[test]
fn sorted_sets_and_mixed_waiters_on_one_key() {
    let server = Options::tandem().workers(4).start();
    let mut list = begin(&server, "BLPOP k 0");
    let mut low = begin(&server, "BZPOPMIN k 0");
    let mut high = begin(&server, "BZMPOP 0 1 k MAX COUNT 2");
    let mut client = server.client();
    client.command("ZADD k 1 a 2 b 3 c");
    assert_eq!(texts(&answer(&mut low)), ["k", "a", "1"]);
    let rest = answer(&mut high).items()[1].items();
    assert_eq!(rest.iter().map(texts).collect::<Vec<_>>(), [["c", "3"], ["b", "2"]]);
    client.command("RPUSH k x");
    assert_eq!(texts(&answer(&mut list)), ["k", "x"]);
    is_quiet(&server);
}

#[test]
fn streams_wake_all_readers_and_each_consumer_in_turn() {
    let server = Options::tandem().workers(4).start();
    let mut client = server.client();
    client.command("XADD s 1-1 f old");
    client.command("XGROUP CREATE s g $");
    let mut readers: Vec<Client> = (0..3).map(|_| begin(&server, "XREAD BLOCK 0 STREAMS s $")).collect();
    let mut one = begin(&server, "XREADGROUP GROUP g one COUNT 1 BLOCK 0 STREAMS s >");
    let mut two = begin(&server, "XREADGROUP GROUP g two COUNT 1 BLOCK 0 STREAMS s >");
    assert_eq!(field(&server, "clients", "total_blocking_keys_on_nokey"), "1");
    let id = |reply: &Value| reply.items()[0].items()[1].items()[0].items()[0].text();
    client.command("XADD s 2-1 f v");
    for reader in &mut readers {
        assert_eq!(id(&answer(reader)), "2-1");
    }
    assert_eq!(id(&answer(&mut one)), "2-1");
    client.command("XADD s 3-1 f v");
    assert_eq!(id(&answer(&mut two)), "3-1");
    assert_eq!(client.command("XPENDING s g").items()[0].int(), Some(2));
    // The group goes, then the key.
    let mut lost = begin(&server, "XREADGROUP GROUP g one BLOCK 0 STREAMS s >");
    client.command("XGROUP DESTROY s g");
    assert!(answer(&mut lost).text().starts_with("NOGROUP "));
    client.command("XGROUP CREATE s g $");
    for end in ["DEL s", "SET s text", "FLUSHALL"] {
        client.command("XGROUP CREATE s g $ MKSTREAM");
        let mut lost = begin(&server, "XREADGROUP GROUP g one BLOCK 0 STREAMS s >");
        client.command(end);
        assert_eq!(answer(&mut lost).text(), "UNBLOCKED the stream key no longer exists", "{end}");
        client.command("DEL s");
    }
    is_quiet(&server);
}

#[test]
fn a_key_that_expires_lets_its_consumers_go() {
    let server = Options::tandem().workers(2).start();
    let mut client = server.client();
    client.command("XGROUP CREATE s g $ MKSTREAM");
    let mut lost = begin(&server, "XREADGROUP GROUP g one BLOCK 0 STREAMS s >");
    client.command("PEXPIRE s 30");
    assert_eq!(answer(&mut lost).text(), "UNBLOCKED the stream key no longer exists");
    is_quiet(&server);
}

#[test]
fn waits_are_counted_when_they_end() {
    let server = Options::tandem().workers(2).start();
    let mut client = server.client();
    let mut waiting = begin(&server, "BLPOP k 0");
    let calls = |server: &Server| {
        let text = server.client().command("INFO commandstats").text();
        text.split("\r\n").find(|line| line.starts_with("cmdstat_blpop:")).map(str::to_owned)
    };
    assert_eq!(calls(&server), None, "not yet");
    client.command("RPUSH k x");
    answer(&mut waiting);
    assert!(calls(&server).is_some_and(|line| line.starts_with("cmdstat_blpop:calls=1,")));
    client.command("CONFIG SET slowlog-log-slower-than 0");
    client.command("BLPOP k 0.01");
    assert!(calls(&server).is_some_and(|line| line.starts_with("cmdstat_blpop:calls=2,")));
    let logged = client.command("SLOWLOG GET 10").items();
    let logged: Vec<Vec<String>> = logged.iter().map(|entry| texts(&entry.items()[3])).collect();
    assert!(logged.contains(&vec!["BLPOP".to_owned(), "k".to_owned(), "0.01".to_owned()]), "{logged:?}");
}

#[test]
fn replies_that_are_switched_off_stay_off() {
    let server = Options::tandem().workers(2).start();
    let mut client = server.client();
    client.send(&["CLIENT", "REPLY", "SKIP"]).expect("send");
    client.send(&["BLPOP", "k", "0"]).expect("send");
    wait_for_blocked(&server, 1);
    server.client().command("RPUSH k x");
    wait_for_blocked(&server, 0);
    assert_eq!(client.command("PING").text(), "PONG");
}

/// What is new in a stream is read once, also if that is named twice: by who waited for it as well.
#[test]
fn a_stream_that_is_named_twice() {
    let server = Options::tandem().workers(4).start();
    let mut client = server.client();
    client.command("XGROUP CREATE s g 0 MKSTREAM");
    let ids = |reply: &Value| -> Vec<Vec<String>> {
        let ids = |stream: &Value| stream.items()[1].items().iter().map(|e| e.items()[0].text()).collect();
        reply.items().iter().map(ids).collect()
    };
    let mut waiting = begin(&server, "XREADGROUP GROUP g one BLOCK 0 STREAMS s s s > > >");
    client.command("XADD s 1-1 f v");
    assert_eq!(ids(&answer(&mut waiting)), [["1-1"]]);
    for id in ["2-1", "3-1", "4-1"] {
        client.command(&format!("XADD s {id} f v"));
    }
    let reply = client.command("XREADGROUP GROUP g one COUNT 2 STREAMS s s s s > > 2-1 >");
    assert_eq!(ids(&reply), [vec!["2-1", "3-1"], vec!["4-1"], vec!["3-1", "4-1"]]);
    assert_eq!(client.command("XREADGROUP GROUP g one STREAMS s s > >"), Value::Null);
    client.command("HELLO 3");
    client.command("XADD s 5-1 f v");
    let Value::Map(streams) = client.command("XREADGROUP GROUP g one STREAMS s s > >") else {
        panic!("not a map");
    };
    assert_eq!(streams.len(), 1);
    is_quiet(&server);
}
