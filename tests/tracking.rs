//! CLIENT TRACKING: what a client-side cache is told, when, and that it is never left with an old value.
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

#[allow(unused_imports, reason = "each test crate uses its own part of it")]
mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use common::rng::Rng;
use common::{Client, HOUR_MS, Options, Server, Value, step_clock, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

/// A client that speaks RESP3.
fn resp3(server: &Server) -> Client {
    let mut client = server.client();
    client.command("HELLO 3");
    client
}

fn tracking(server: &Server, options: &str) -> Client {
    let mut client = resp3(server);
    assert_eq!(client.command(&format!("CLIENT TRACKING ON {options}")).text(), "OK");
    client
}

fn next(client: &mut Client) -> Value {
    client.read().expect("a reply or a message").value
}

/// The keys of an invalidation; `None` if it is for all of them.
fn invalidated(value: &Value) -> Option<Vec<String>> {
    let items = value.items();
    assert!(matches!(value, Value::Push(_)), "no message: {value:?}");
    assert_eq!(items[0].text(), "invalidate");
    match &items[1] {
        Value::Null => None,
        keys => Some(keys.items().iter().map(Value::text).collect()),
    }
}

fn next_invalidated(client: &mut Client) -> Vec<String> {
    invalidated(&next(client)).expect("keys")
}

/// Everything that came before a PONG.
fn drain(client: &mut Client) -> Vec<Value> {
    client.send(&["PING"]).expect("send");
    let mut seen = Vec::new();
    loop {
        match next(client) {
            Value::Simple(text) if text == "PONG" => return seen,
            other => seen.push(other),
        }
    }
}

fn figure(server: &Server, name: &str) -> usize {
    let text = server.client().command("INFO").text();
    let found = text.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.unwrap_or_else(|| panic!("no {name}")).parse().expect("a number")
}

#[test]
fn a_read_key_is_invalidated_once_by_whatever_changes_it() {
    let server = Options::tandem().workers(4).start();
    let (mut cache, mut other) = (tracking(&server, ""), server.client());
    let changes = [
        ("SET k 1", "SET k 2"),
        ("SET k 1", "DEL k"),
        ("SET k 1", "APPEND k x"),
        ("SET k 1", "RENAME k l"),
        ("SET l 1", "RENAME l k"),
        ("SET k 1", "EXPIRE k 1000"),
        ("SET k 1", "MOVE k 1"),
        ("SET l 2", "COPY l k REPLACE"),
        ("SADD s 1", "SUNIONSTORE k s"),
        ("SET k 1", "GETDEL k"),
        ("SET k 1", "PEXPIRE k 1"),
    ];
    for (before, change) in &changes {
        other.command(before);
        cache.command("EXISTS k");
        other.command(change);
        assert_eq!(next_invalidated(&mut cache), ["k"], "{change}");
        other.command("SET k again");
        assert_eq!(drain(&mut cache), [], "{change} was told of already");
        other.command("FLUSHALL");
        assert_eq!(invalidated(&next(&mut cache)), None);
    }
}

#[test]
fn keys_that_go_by_themselves_are_invalidated_at_that_moment() {
    let server = Options::tandem().workers(2).set("enable-debug-command", "yes").start();
    let (mut cache, mut all) = (tracking(&server, ""), tracking(&server, "BCAST PREFIX t: NOLOOP"));
    let mut other = server.client();
    other.command(&format!("SET t:1 v PX {HOUR_MS}"));
    cache.command("GET t:1");
    other.command("HSET t:2 f v");
    other.command(&format!("HPEXPIRE t:2 {HOUR_MS} FIELDS 1 f"));
    cache.command("HGET t:2 f");
    step_clock(&mut other, HOUR_MS + 1);
    // Nobody looks at them.
    let mut told: Vec<_> = (0..2).flat_map(|_| next_invalidated(&mut cache)).collect();
    told.sort();
    assert_eq!(told, ["t:1", "t:2"]);
    let mut heard = HashMap::new();
    while heard.values().sum::<usize>() < 5 {
        next_invalidated(&mut all).into_iter().for_each(|key| *heard.entry(key).or_default() += 1);
    }
    assert_eq!(heard, HashMap::from([("t:1".to_owned(), 2), ("t:2".to_owned(), 3)]));
}

#[test]
fn a_database_that_is_emptied_or_exchanged_invalidates_everything() {
    let server = Options::tandem().workers(2).start();
    let (mut cache, mut prefixed) = (tracking(&server, ""), tracking(&server, "BCAST PREFIX x"));
    let mut other = server.client();
    for command in ["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC", "SWAPDB 0 1"] {
        cache.command("GET k");
        assert_eq!(figure(&server, "tracking_total_keys"), 1);
        other.command(command);
        assert_eq!(invalidated(&next(&mut cache)), None, "{command}");
        assert_eq!(invalidated(&next(&mut prefixed)), None, "{command}");
        assert_eq!(figure(&server, "tracking_total_keys"), 0);
    }
}

#[test]
fn own_changes_come_behind_the_reply_of_the_command_that_made_them() {
    let server = Options::tandem().workers(2).start();
    let mut cache = tracking(&server, "");
    cache.command("MSET a 1 b 2");
    cache.command("MGET a b");
    let pipeline = [
        "*1\r\n$4\r\nPING\r\n",
        "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n3\r\n",
        "*2\r\n$3\r\nGET\r\n$1\r\na\r\n",
    ];
    cache.send_raw(pipeline.concat().as_bytes()).expect("send");
    let came: Vec<_> = (0..4).map(|_| next(&mut cache)).collect();
    assert_eq!([came[0].text(), came[1].text(), came[3].text()], ["PONG", "OK", "3"]);
    assert_eq!(invalidated(&came[2]).expect("keys"), ["a"]);
    // A transaction's reply is one.
    for command in ["MULTI", "SET a 4", "DEL b"] {
        cache.command(command);
    }
    assert_eq!(cache.command("EXEC").items().len(), 2);
    assert_eq!([next_invalidated(&mut cache), next_invalidated(&mut cache)], [["a"], ["b"]]);
}

#[test]
fn optin_optout_and_noloop_remember_what_they_should() {
    let server = Options::tandem().workers(2).start();
    let mut other = server.client();
    let mut heard = |cache: &mut Client, by_itself: bool| {
        match by_itself {
            true => cache.command("SET k v"),
            false => other.command("SET k v"),
        };
        drain(cache).len() == 1
    };
    let mut optin = tracking(&server, "OPTIN");
    optin.command("GET k");
    assert!(!heard(&mut optin, false));
    // It is for the next command; CLIENT does not count as one, any other does.
    for (between, remembered) in [("CLIENT ID", true), ("PING", false), ("NOSUCHCOMMAND", false)] {
        optin.command("CLIENT CACHING YES");
        optin.command(between);
        optin.command("GET k");
        assert_eq!(heard(&mut optin, false), remembered, "{between}");
    }
    for command in ["CLIENT CACHING YES", "MULTI", "PING", "GET k", "EXEC"] {
        optin.command(command);
    }
    assert!(heard(&mut optin, false), "a whole transaction is the next command");
    let mut optout = tracking(&server, "OPTOUT");
    optout.command("CLIENT CACHING NO");
    optout.command("GET k");
    assert!(!heard(&mut optout, false));
    optout.command("GET k");
    assert!(heard(&mut optout, false));
    let mut noloop = tracking(&server, "NOLOOP");
    for by_itself in [true, false] {
        noloop.command("GET k");
        assert_eq!(heard(&mut noloop, by_itself), !by_itself);
    }
}

#[test]
fn broadcasts_are_one_message_for_each_batch_and_prefix() {
    let server = Options::tandem().workers(2).start();
    let mut cache = tracking(&server, "BCAST PREFIX a: PREFIX b:");
    assert_eq!(figure(&server, "tracking_total_prefixes"), 2);
    server.client().command("MSET a:1 x b:1 x c:1 x a:2 x a:1 y");
    assert_eq!(
        [next_invalidated(&mut cache), next_invalidated(&mut cache)],
        [vec!["a:1", "a:2"], vec!["b:1"]]
    );
    assert_eq!(drain(&mut cache), []);
    for (options, error) in [
        ("BCAST PREFIX a:x", "'a:x' overlaps with an existing prefix 'a:'"),
        ("BCAST PREFIX c PREFIX cc", "'c' overlaps with another provided prefix 'cc'"),
    ] {
        let reply = cache.command(&format!("CLIENT TRACKING ON {options}"));
        assert!(matches!(&reply, Value::Error(text) if text.contains(error)), "{reply:?}");
    }
    drop(cache);
    wait_until("the prefixes are gone", PATIENCE, || figure(&server, "tracking_total_prefixes") == 0);
}

#[test]
fn another_connection_can_be_told_and_its_end_is_noticed() {
    let server = Options::tandem().workers(3).start();
    let mut listener = server.client();
    let id = listener.command("CLIENT ID").int().expect("a number");
    listener.command("SUBSCRIBE __redis__:invalidate");
    let (mut cache, mut other) = (tracking(&server, &format!("REDIRECT {id}")), server.client());
    cache.command("GET k");
    other.command("SET k 1");
    let message = next(&mut listener).items();
    assert_eq!([message[0].text(), message[1].text()], ["message", "__redis__:invalidate"]);
    assert_eq!(message[2].items(), [Value::Bulk(b"k".to_vec())]);
    other.command("FLUSHDB");
    assert_eq!(next(&mut listener).items()[2], Value::Null);
    let line = cache.command("CLIENT INFO").text();
    assert!(line.contains(" flags=tU ") && line.contains(&format!(" redir={id} ")), "{line}");
    drop(listener);
    wait_until("it is gone", PATIENCE, || figure(&server, "connected_clients") == 3);
    cache.command("GET k");
    other.command("SET k 2");
    let broken = next(&mut cache).items();
    assert_eq!((broken[0].text(), broken[1].int()), ("tracking-redir-broken".to_owned(), Some(id)));
    assert!(cache.command("CLIENT INFO").text().contains(" flags=tRU "));
    // RESP2 has no messages of its own.
    let mut old = server.client();
    assert_eq!(old.command("CLIENT TRACKING ON").text(), "OK");
    old.command("GET k");
    other.command("SET k 3");
    assert_eq!(drain(&mut old), []);
}

#[test]
fn the_table_keeps_its_limit_and_says_what_it_forgets() {
    let server = Options::tandem().workers(2).set("tracking-table-max-keys", "10").start();
    let mut cache = tracking(&server, "");
    for i in 0..100 {
        cache.command(&format!("GET k{i}"));
        let told = drain(&mut cache);
        assert_eq!(told.len(), usize::from(i >= 10), "{told:?}");
        assert!(figure(&server, "tracking_total_keys") <= 10);
    }
    server.client().command("CONFIG SET tracking-table-max-keys 3");
    assert_eq!(drain(&mut cache).len(), 7);
    drop(cache);
    wait_until("nobody's keys are forgotten", PATIENCE, || figure(&server, "tracking_total_keys") == 0);
}

#[test]
fn a_waiting_client_gets_its_answer_before_the_news_that_follow_it() {
    let server = Options::tandem().workers(4).start();
    let mut writer = server.client();
    for round in 0..200 {
        let mut cache = tracking(&server, "");
        let stream = format!("stream{round}");
        cache.send(&["XREAD", "BLOCK", "0", "STREAMS", &stream, "0"]).expect("send");
        wait_until("it waits", PATIENCE, || figure(&server, "blocked_clients") == 1);
        // Both in one packet: the second comes while the first is being served.
        let add = common::resp::encode(&["XADD", &stream, "*", "f", "v"]);
        writer.send_raw(&[add.clone(), add].concat()).expect("send");
        next(&mut writer);
        next(&mut writer);
        let came = drain(&mut cache);
        let answer = came.iter().position(|v| !matches!(v, Value::Push(_))).expect("an answer");
        let seen = came[answer].items()[1].items().len();
        // What it has not seen, it is told of behind what it has.
        assert!(seen == 2 || came.len() > answer + 1, "{came:?}");
    }
}

#[test]
fn news_never_stands_within_a_reply_that_is_written_in_pieces() {
    let server = Options::tandem().workers(2).start();
    let (mut cache, mut other) = (tracking(&server, ""), server.client());
    let elements: Vec<String> = (0..5_000).map(|n| format!("element:{n}")).collect();
    let push: Vec<&str> = ["RPUSH", "list"].into_iter().chain(elements.iter().map(String::as_str)).collect();
    assert_eq!(other.call(&push).expect("RPUSH").value, Value::Int(5_000));
    // Of its own change of a list that it has read.
    other.command("COPY list own");
    cache.command("LLEN own");
    cache.send(&["LPOP", "own", "4999"]).expect("send");
    let reply = next(&mut cache).items();
    assert!(
        reply.iter().map(Value::text).eq(elements[..4_999].iter().cloned()),
        "there is something else in the reply"
    );
    assert_eq!(next_invalidated(&mut cache), ["own"]);
    // Of changes by others.
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let batch = b"INCR k\r\n".repeat(100);
            while !stop.load(Relaxed) {
                other.send_raw(&batch).expect("send");
                (0..100).for_each(|_| drop(next(&mut other)));
            }
        });
        for _ in 0..100 {
            // It is told of a change of `k` at any moment from when it has read it.
            cache.send_raw(b"GET k\r\nLRANGE list 0 -1\r\n").expect("send");
            let mut replies = Vec::new();
            while replies.len() < 2 {
                match next(&mut cache) {
                    Value::Push(_) => {}
                    reply => replies.push(reply),
                }
            }
            let list: Vec<String> = replies[1].items().iter().map(Value::text).collect();
            assert!(list == elements, "there is something else in the list");
        }
        stop.store(true, Relaxed);
        writer.join().expect("the writer");
    });
}

#[test]
fn a_flush_forgets_what_those_read_who_track_no_more() {
    let server = Options::tandem().workers(2).start();
    let mut cache = tracking(&server, "");
    for flush in ["FLUSHALL", "FLUSHDB"] {
        for n in 0..1000 {
            cache.command(&format!("GET k{n}"));
        }
        cache.command("CLIENT TRACKING OFF");
        cache.command(flush);
        cache.command("CLIENT TRACKING ON");
        assert_eq!(figure(&server, "tracking_total_keys"), 0);
        assert_eq!(figure(&server, "tracking_total_items"), 0);
    }
}

/// A cache as a client library keeps it: what came by GET, until it is told otherwise.
struct Cache {
    client: Client,
    held: HashMap<String, String>,
}

impl Cache {
    fn note(&mut self, message: &Value) {
        match invalidated(message) {
            None => self.held.clear(),
            Some(keys) => keys.iter().for_each(|key| drop(self.held.remove(key))),
        }
    }

    /// Reads a few keys in one packet, those that it does not have.
    fn look(&mut self, keys: &[String], before: &str) {
        let wanted: Vec<&String> = keys.iter().filter(|key| !self.held.contains_key(*key)).collect();
        for key in &wanted {
            let words = format!("{before}GET {key}");
            for command in words.split(';') {
                let args: Vec<&str> = command.split(' ').collect();
                self.client.send(&args).expect("send");
            }
        }
        for key in wanted {
            for step in before.matches(';').map(|_| false).chain([true]) {
                let value = loop {
                    match next(&mut self.client) {
                        message @ Value::Push(_) => self.note(&message),
                        value => break value,
                    }
                };
                if step {
                    self.held.insert(key.clone(), value.text());
                }
            }
        }
    }
}

/// Readers cache, writers write, on four workers. Once all is quiet and the messages are read, no cache
/// holds a value that is not the present one.
fn no_cache_is_left_behind(options: &str, before: &str) {
    let server = Options::tandem().workers(4).set("tracking-table-max-keys", "20").start();
    let keys: Vec<String> = (0..30).map(|i| format!("key:{i}")).collect();
    let caches: Vec<Cache> = thread::scope(|scope| {
        let (server, keys) = (&server, &keys);
        let readers: Vec<_> = (0..3)
            .map(|seed| {
                scope.spawn(move || {
                    let mut random = Rng::new(seed + 1);
                    let mut cache = Cache { client: tracking(server, options), held: HashMap::new() };
                    for _ in 0..1500 {
                        let some: Vec<String> =
                            (0..4).map(|_| keys[random.below(keys.len())].clone()).collect();
                        cache.look(&some, before);
                    }
                    cache
                })
            })
            .collect();
        for seed in 0..2 {
            scope.spawn(move || {
                let (mut random, mut client) = (Rng::new(100 + seed), server.client());
                for i in 0..1500 {
                    let key = &keys[random.below(keys.len())];
                    let command = match random.below(20) {
                        0 => format!("DEL {key}"),
                        1 => format!("SET {key} {seed}-{i} PX {}", 1 + random.below(5)),
                        2 => format!("RENAME {key} {}", keys[random.below(keys.len())]),
                        3 if i % 100 == 0 => "FLUSHDB".to_owned(),
                        _ => format!("SET {key} {seed}-{i}"),
                    };
                    client.command(&command);
                }
            });
        }
        readers.into_iter().map(|reader| reader.join().expect("a reader")).collect()
    });
    let mut other = server.client();
    let is_quiet = |other: &mut Client| {
        let keyspace = other.command("INFO keyspace").text();
        !keyspace.contains("db0") || keyspace.contains("expires=0")
    };
    wait_until("all that has a deadline is gone", PATIENCE, || is_quiet(&mut other));
    let now: HashMap<&String, String> =
        keys.iter().map(|key| (key, other.command(&format!("GET {key}")).text())).collect();
    for mut cache in caches {
        drain(&mut cache.client).iter().for_each(|message| cache.note(message));
        for (key, value) in &cache.held {
            assert_eq!(value, &now[key], "{key} is stale in a cache");
        }
    }
}

#[test]
fn no_cache_is_left_behind_that_is_told_what_it_read() {
    no_cache_is_left_behind("", "");
}

#[test]
fn no_cache_is_left_behind_that_asks_for_each_key() {
    no_cache_is_left_behind("OPTIN", "CLIENT CACHING YES;");
}

#[test]
fn no_cache_is_left_behind_that_is_told_of_all_changes() {
    no_cache_is_left_behind("BCAST PREFIX key:", "");
}
