//! `maxmemory` as clients see it: the limit holds, the right keys go, everybody hears of it, nothing breaks.
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

mod common;

use std::collections::HashSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::resp::encode;
use common::{Client, Options, Server, Value, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);
const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";

fn info(client: &mut Client, field: &str) -> u64 {
    let text = client.command("INFO everything").text();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned));
    line.unwrap_or_else(|| panic!("no {field} in INFO")).trim().parse().expect("a number")
}

/// A limit this far above what is used now.
fn limit_above(client: &mut Client, bytes: u64) -> u64 {
    let limit = info(client, "used_memory") + bytes;
    assert_eq!(client.command(&format!("CONFIG SET maxmemory {limit}")).text(), "OK");
    limit
}

/// Sends many commands at once and gives their replies.
fn pipeline(client: &mut Client, commands: impl Iterator<Item = Vec<Vec<u8>>>) -> Vec<Value> {
    let mut replies = Vec::new();
    let mut commands = commands.peekable();
    while commands.peek().is_some() {
        let mut bytes = Vec::new();
        let mut sent = 0;
        for command in commands.by_ref().take(64) {
            bytes.extend_from_slice(&encode(&command));
            sent += 1;
        }
        client.send_raw(&bytes).expect("send");
        replies.extend((0..sent).map(|_| client.read().expect("a reply").value));
    }
    replies
}

fn set(name: &str, value: usize) -> Vec<Vec<u8>> {
    vec![b"SET".to_vec(), name.as_bytes().to_vec(), vec![b'x'; value]]
}

fn setex(name: &str, value: usize) -> Vec<Vec<u8>> {
    let mut command = set(name, value);
    command.extend([b"EX".to_vec(), b"10000".to_vec()]);
    command
}

fn all_ok(replies: &[Value]) -> bool {
    replies.iter().all(|reply| reply.text() == "OK")
}

/// Waits until a slice that may be under way has counted what it dropped: each key is there or evicted.
fn all_accounted(client: &mut Client, stored: u64) -> i64 {
    let mut left = 0;
    wait_until("each key is there or counts as evicted", PATIENCE, || {
        left = client.command("DBSIZE").int().expect("a number");
        info(client, "evicted_keys") + left as u64 == stored
    });
    left
}

#[test]
fn every_policy_keeps_the_limit() {
    for workers in [1, 2] {
        let server = Options::tandem().workers(workers).start();
        let mut client = server.client();
        for policy in [
            "allkeys-arc",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
        ] {
            client.command("FLUSHALL");
            client.command(&format!("CONFIG SET maxmemory 0 maxmemory-policy {policy}"));
            client.command("CONFIG RESETSTAT");
            client.command("SET warm x EX 1000");
            let limit = limit_above(&mut client, 300 << 10);
            let replies = pipeline(&mut client, (0..20_000).map(|i| setex(&format!("{policy}:{i}"), 50)));
            assert!(all_ok(&replies), "{policy}: {:?}", replies.iter().find(|r| r.text() != "OK"));
            let used = info(&mut client, "used_memory");
            assert!(used < limit + (64 << 10), "{policy}: {used} of {limit}");
            client.command("CONFIG SET maxmemory 0");
            let left = all_accounted(&mut client, 20_001);
            assert!(left > 500, "{policy} left {left}");
        }
    }
}

#[test]
fn volatile_policies_spare_keys_without_a_deadline() {
    let server = Options::tandem().start();
    let mut client = server.client();
    for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
        client.command("CONFIG SET maxmemory 0");
        client.command("FLUSHALL");
        client.command(&format!("CONFIG SET maxmemory-policy {policy}"));
        let kept = pipeline(&mut client, (0..1000).map(|i| set(&format!("kept:{i}"), 20)));
        assert!(all_ok(&kept));
        limit_above(&mut client, 600 << 10);
        let replies = pipeline(&mut client, (0..20_000).map(|i| setex(&format!("goes:{i}"), 50)));
        assert!(all_ok(&replies), "{policy}: {:?}", replies.iter().find(|r| r.text() != "OK"));
        for i in 0..1000 {
            assert_eq!(client.command(&format!("EXISTS kept:{i}")), Value::Int(1), "{policy}");
        }
        // Nothing is left that may go: writes are refused, reads and deletions are not.
        client.command("CONFIG SET maxmemory 1");
        wait_until("all others are gone", PATIENCE, || client.command("DBSIZE") == Value::Int(1000));
        assert_eq!(client.command("SET one more").text(), OOM);
        assert_eq!(client.command("STRLEN kept:1"), Value::Int(20));
        assert_eq!(client.command("DEL kept:1"), Value::Int(1));
    }
}

#[test]
fn the_deadline_orders_volatile_ttl() {
    let server = Options::tandem().set("maxmemory-policy", "volatile-ttl").start();
    let mut client = server.client();
    let with_ttl = |i: u32, seconds: u32| {
        vec!["SETEX".into(), format!("k{i}").into_bytes(), seconds.to_string().into_bytes(), vec![b'x'; 100]]
    };
    // So many that what the process itself takes more or less meanwhile, some 100 KiB, is little beside them.
    pipeline(&mut client, (0..8000).map(|i| with_ttl(i, if i % 2 == 0 { 100 } else { 100_000 })));
    let used = info(&mut client, "used_memory");
    client.command(&format!("CONFIG SET maxmemory {}", used - 240_000));
    wait_until("some keys go", PATIENCE, || info(&mut client, "evicted_keys") > 1200);
    // Eviction goes on until the limit is kept, and the figure follows it.
    wait_until("their memory is free", PATIENCE, || info(&mut client, "used_memory") < used - 120_000);
    let odd = (0..8000).filter(|i| i % 2 == 1);
    let left = odd.filter(|i| client.command(&format!("EXISTS k{i}")) == Value::Int(1)).count();
    assert!(left > 3600, "{left} of 4000 that live longer");
}

#[test]
fn every_evicted_key_is_an_event_and_gone() {
    for policy in ["allkeys-arc", "allkeys-lru"] {
        let server = Options::tandem()
            .workers(2)
            .set("maxmemory-policy", policy)
            .set("notify-keyspace-events", "Ee")
            .start();
        let mut client = server.client();
        let mut listener = server.client();
        listener.command("SUBSCRIBE __keyevent@0__:evicted");
        let (heard, marks) = std::sync::mpsc::channel();
        let listening = std::thread::spawn(move || {
            let mut seen = HashSet::new();
            loop {
                let event = listener.read().expect("an event").value.items();
                match event[2].text().as_str() {
                    "end" => return seen,
                    "mark" => heard.send(()).expect("the test waits for it"),
                    name => assert!(seen.insert(name.to_owned()), "twice: {name}"),
                }
            }
        });
        limit_above(&mut client, 1 << 20);
        // While the table grows, too. Events that are not read yet count as memory, as in Redis: the
        // listener keeps up, or there would be no room for any key.
        for first in (0..20_000).step_by(1000) {
            let replies = pipeline(&mut client, (first..first + 1000).map(|i| set(&format!("k{i}"), 60)));
            let refused = replies.iter().find(|reply| reply.text() != "OK");
            assert!(refused.is_none(), "{policy}, from {first}: {refused:?}");
            client.command("PUBLISH __keyevent@0__:evicted mark");
            marks.recv_timeout(PATIENCE).expect("the listener reads");
        }
        client.command("CONFIG SET maxmemory 0");
        // A key that is gone was an event before; a last slice may still drop some.
        let name = |i: usize| format!("k{i}");
        let exists =
            |client: &mut Client, name: &str| client.command(&format!("EXISTS {name}")) == Value::Int(1);
        let gone: Vec<String> = (0..20_000).map(name).filter(|name| !exists(&mut client, name)).collect();
        client.command("PUBLISH __keyevent@0__:evicted end");
        let seen = listening.join().expect("the listener");
        assert!(gone.len() > 1000);
        for name in &gone {
            assert!(seen.contains(name), "{name} went without an event");
        }
        for name in &seen {
            assert!(!exists(&mut client, name), "{name} is there although it was evicted");
        }
        all_accounted(&mut client, 20_000);
        assert!(info(&mut client, "evicted_keys") >= seen.len() as u64);
    }
}

#[test]
fn watched_keys_that_are_evicted_fail_the_transaction() {
    let server = Options::tandem().set("maxmemory-policy", "allkeys-random").start();
    let mut client = server.client();
    let mut other = server.client();
    client.command("SET a 1");
    client.command("WATCH a");
    other.command("CONFIG SET maxmemory 1");
    wait_until("it is gone", PATIENCE, || other.command("EXISTS a") == Value::Int(0));
    other.command("CONFIG SET maxmemory 0");
    client.command("MULTI");
    client.command("PING");
    assert_eq!(client.command("EXEC"), Value::Null);
}

#[test]
fn a_full_server_refuses_in_a_transaction_too() {
    let server = Options::tandem().start();
    let mut client = server.client();
    client.command("SET a 1");
    client.command("MULTI");
    client.command("SET b 1");
    let mut other = server.client();
    other.command("CONFIG SET maxmemory 1");
    assert_eq!(client.command("GET a").text(), OOM, "the queue takes memory as well");
    assert_eq!(client.command("EXEC").text(), format!("EXECABORT Transaction discarded because of: {OOM}"));
    client.command("MULTI");
    assert_eq!(client.command("DISCARD").text(), "OK");
    assert_eq!(client.command("GET a").text(), "1");
    assert!(
        info(&mut client, "current_eviction_exceeded_time") > 0
            || info(&mut client, "total_eviction_exceeded_time") < 5
    );
    other.command("CONFIG SET maxmemory 0");
    assert_eq!(client.command("SET b 1").text(), "OK");
}

#[test]
fn a_lower_limit_takes_effect_without_requests() {
    let server = Options::tandem().set("maxmemory-policy", "allkeys-lru").start();
    let mut client = server.client();
    pipeline(&mut client, (0..20_000).map(|i| set(&format!("k{i}"), 200)));
    let used = info(&mut client, "used_memory");
    client.command(&format!("CONFIG SET maxmemory {}", used - (2 << 20)));
    wait_until("keys go", PATIENCE, || info(&mut client, "used_memory") <= used - (2 << 20) + 65_536);
}

#[test]
fn a_lower_limit_holds_before_the_next_reply() {
    // Without a bound on the time that a command may be held up; the helper thread may have been first.
    let server = Options::tandem()
        .set("maxmemory-policy", "allkeys-lru")
        .set("maxmemory-eviction-tenacity", "100")
        .workers(1)
        .start();
    let mut client = server.client();
    pipeline(&mut client, (0..2_000).map(|i| set(&format!("k{i}"), 1_000)));
    let used = info(&mut client, "used_memory");
    client.command(&format!("CONFIG SET maxmemory {}", used - (1 << 20)));
    assert!(info(&mut client, "evicted_keys") > 500);
}

#[test]
fn nothing_is_evicted_for_what_a_flush_has_yet_to_free() {
    for (count, size) in [(50, 100_000), (2_000, 2_500)] {
        let server = Options::tandem().set("maxmemory-policy", "allkeys-lru").start();
        let mut client = server.client();
        limit_above(&mut client, 8 << 20);
        for round in 0..10 {
            let verb = if round % 2 == 0 { "FLUSHDB" } else { "FLUSHALL" };
            assert_eq!(client.command(verb).text(), "OK");
            assert!(all_ok(&pipeline(&mut client, (0..count).map(|i| set(&format!("k{i}"), size)))));
            assert_eq!(client.command("DBSIZE").int(), Some(count), "{verb}");
        }
        assert_eq!(info(&mut client, "evicted_keys"), 0);
    }
}

#[test]
fn large_values_count_and_go() {
    let server = Options::tandem().set("maxmemory-policy", "allkeys-arc").start();
    let mut client = server.client();
    let limit = limit_above(&mut client, 20 << 20);
    for round in 0..20 {
        for i in 0..10 {
            let reply = client.command(&format!("SETRANGE big:{round}:{i} 1000000 x"));
            assert_eq!(reply, Value::Int(1_000_001));
        }
        let list: Vec<Vec<u8>> = std::iter::once(b"RPUSH".to_vec())
            .chain(std::iter::once(format!("list:{round}").into_bytes()))
            .chain((0..5000).map(|i| format!("an element of the list, {i}").into_bytes()))
            .collect();
        assert_eq!(client.call(&list).expect("a reply").value, Value::Int(5000));
    }
    wait_until("the limit holds", PATIENCE, || info(&mut client, "used_memory") < limit + (1 << 20));
    assert!(info(&mut client, "evicted_keys") > 100);
    assert!(client.command("DBSIZE").int().expect("a number") > 5);
}

#[test]
fn a_burst_of_four_times_the_limit_from_many_connections() {
    const LIMIT: u64 = 24 << 20;
    for policy in ["allkeys-arc", "allkeys-lfu"] {
        let server = Options::tandem()
            .workers(2)
            .set("maxmemory", &LIMIT.to_string())
            .set("maxmemory-policy", policy)
            .start();
        let before = server.resident_kib();
        load(&server, 4 * LIMIT as usize);
        let mut client = server.client();
        let used = info(&mut client, "used_memory");
        assert!(used < LIMIT + LIMIT / 50, "{policy}: {used}");
        assert!(used > LIMIT * 8 / 10, "{policy} makes use of what it may: {used}");
        assert_eq!(info(&mut client, "total_error_replies"), 0);
        let resident = (server.resident_kib() - before.min(server.resident_kib())) << 10;
        assert!(resident < LIMIT * 14 / 10, "{policy}: {resident} bytes resident");
    }
}

/// Writes so many bytes of keys and values of several sizes over four connections; none may fail.
fn load(server: &Server, bytes: usize) {
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let mut client = server.client();
            scope.spawn(move || {
                let sizes = [20, 100, 300, 900, 3000, 40];
                let mean = sizes.iter().sum::<usize>() / sizes.len() + 16;
                let each = bytes / 4 / mean;
                let commands = (0..each).map(|i| set(&format!("{thread}:{i}"), sizes[i % sizes.len()]));
                let replies = pipeline(&mut client, commands);
                assert!(all_ok(&replies), "{:?}", replies.iter().find(|r| r.text() != "OK"));
            });
        }
    });
}

#[test]
fn survives_in_a_small_address_space() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("s");
    // Of 384 MiB of address space, `auto` takes a third of what threads leave as what the process may have.
    let script = format!(
        "ulimit -v {}; exec '{}' --port 0 --unixsocket '{}' --workers 1 --maxmemory auto --maxmemory-policy allkeys-arc",
        384 << 10,
        common::tandem_binary().display(),
        socket.display()
    );
    let log = std::fs::File::create(folder.path().join("log")).expect("a log");
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("log"))
        .stderr(log)
        .spawn()
        .expect("sh");
    let text = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    wait_until("it serves", PATIENCE, || Client::unix(&socket).is_ok_and(|mut c| c.call(&["PING"]).is_ok()));
    let mut client = Client::unix(&socket).expect("connect");
    let limit = info(&mut client, "maxmemory");
    assert!((30 << 20..96 << 20).contains(&limit), "{limit}");
    let end = Instant::now() + Duration::from_secs(20);
    let mut written = 0;
    let mut next = 0;
    while written < 4 * limit && Instant::now() < end {
        let names = next..next + 2000;
        next = names.end;
        let replies =
            pipeline(&mut client, names.map(|i| set(&format!("k{i}"), [30, 200, 900, 5000][i % 4])));
        assert!(all_ok(&replies), "{:?}\n{}", replies.iter().find(|r| r.text() != "OK"), text());
        written += 2000 * (30 + 200 + 900 + 5000) / 4;
    }
    assert!(info(&mut client, "evicted_keys") > 1000);
    assert!(child.try_wait().expect("a state").is_none(), "{}", text());
    let _ = child.kill();
    let _ = child.wait();
}

#[test]
fn the_policy_of_our_own_reports_what_it_tracks() {
    let server = Options::tandem().set("maxmemory", "100mb").set("maxmemory-policy", "allkeys-arc").start();
    let mut client = server.client();
    client.command("SET a 1");
    assert_eq!(client.command("OBJECT FREQ a"), Value::Int(0));
    client.command("GET a");
    client.command("GET a");
    assert_eq!(client.command("OBJECT FREQ a"), Value::Int(2));
    assert!(client.command("OBJECT IDLETIME a").text().starts_with("ERR The allkeys-arc"));
    client.command("CONFIG SET maxmemory-policy allkeys-lru");
    client.command("GET a");
    assert_eq!(client.command("OBJECT IDLETIME a"), Value::Int(0));
    let shares = client.command("CONFIG SET maxmemory 50%");
    assert_eq!(shares.text(), "OK");
    assert!(info(&mut client, "maxmemory") > 1 << 20);
    assert_eq!(client.command("CONFIG GET maxmemory").items()[1].text(), "50%");
}

#[test]
fn accesses_of_a_client_with_no_touch_leave_no_trace() {
    let server = Options::tandem()
        .set("maxmemory", "100mb")
        .set("maxmemory-policy", "allkeys-lfu")
        .set("lfu-log-factor", "0")
        .start();
    let mut client = server.client();
    let frequency = |client: &mut Client| client.command("OBJECT FREQ a").int().expect("a number");
    client.command("SET a 1");
    let first = frequency(&mut client);
    client.command("CLIENT NO-TOUCH ON");
    client.command("GET a");
    client.command("MULTI");
    client.command("GET a");
    client.command("EXEC");
    assert_eq!(frequency(&mut client), first);
    client.command("TOUCH a");
    assert_eq!(frequency(&mut client), first + 1);
    // A key that it makes begins like any other.
    client.command("SET b 1");
    assert_eq!(client.command("OBJECT FREQ b"), Value::Int(first));
    client.command("CLIENT NO-TOUCH OFF");
    client.command("GET a");
    assert_eq!(frequency(&mut client), first + 2);
}
