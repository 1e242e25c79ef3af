//! MULTI, EXEC and WATCH: Redis' semantics, and that nobody sees half of a transaction however many
//! workers there are and whatever the engines do meanwhile.
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

mod common;
#[path = "common/linearizable.rs"]
mod linearizable;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use common::rng::Rng;
use common::{Client, HOUR_MS, Options, Server, Value, step_clock, wait_until};
use linearizable::{Event, is_linearizable};
use tandem::commands::command::{Access, Arity};
use tandem::commands::table;

const PATIENCE: Duration = Duration::from_secs(20);

fn server(workers: usize) -> Server {
    Options::tandem().workers(workers).set("enable-debug-command", "yes").start()
}

/// Runs commands one after the other; what the last one answers.
fn all(client: &mut Client, commands: &[&str]) -> Value {
    commands.iter().map(|c| client.command(c)).last().expect("a command")
}

fn ints(value: Value) -> Vec<i64> {
    value.items().iter().map(|v| v.text().parse().unwrap_or(i64::MIN)).collect()
}

/// What `MULTI PING EXEC` answers after `before` on one and `meanwhile` on another connection.
fn fate(server: &Server, before: &[&str], meanwhile: &[&str]) -> bool {
    let (mut client, mut other) = (server.client(), server.client());
    other.command("FLUSHALL");
    other.command("SELECT 0");
    for command in before {
        assert!(!matches!(client.command(command), Value::Error(_)), "{command}");
    }
    for command in meanwhile {
        assert!(!matches!(other.command(command), Value::Error(_)), "{command}");
    }
    match all(&mut client, &["MULTI", "PING", "EXEC"]) {
        Value::Null => false,
        Value::Array(items) if items == [Value::Simple("PONG".into())] => true,
        other => panic!("{before:?} / {meanwhile:?}: {other:?}"),
    }
}

#[test]
fn what_makes_a_watched_transaction_fail() {
    let server = server(2);
    for (before, meanwhile, runs) in [
        (&["SET k 1", "WATCH k"][..], &[][..], true),
        (&["SET k 1", "WATCH k"], &["SET k 1"], false),
        (&["SET k 1", "WATCH k"], &["GET k", "TYPE k", "EXISTS k", "SET other 1"], true),
        // One's own writes count as well.
        (&["SET k 1", "WATCH k", "SET k 2"], &[], false),
        (&["WATCH k", "SET k 2", "UNWATCH"], &[], true),
        (&["WATCH k", "MULTI", "DISCARD"], &["SET k 1"], true),
        (&["WATCH k", "RESET"], &["SET k 1"], true),
        (&["SET k 1", "WATCH k"], &["EXPIRE k 100"], false),
        (&["SET k 1", "WATCH k"], &["PERSIST k"], true),
        (&["SET k 1", "WATCH a b k"], &["DEL k"], false),
        (&["WATCH k"], &["DEL k"], true),
        (&["WATCH k"], &["COPY a k", "RENAME k k2"][..0], true),
        (&["SET a 1", "WATCH k"], &["COPY a k"], false),
        (&["SET a 1", "WATCH a"], &["COPY a k"], true),
        (&["SET a 1", "WATCH a"], &["MOVE a 1"], false),
        // A name is watched in its database.
        (&["SELECT 1", "WATCH k", "SELECT 0"], &["SET k 1"], true),
        (&["SELECT 1", "WATCH k", "SELECT 0"], &["SELECT 1", "SET k 1"], false),
        (&["SELECT 1", "WATCH k", "SELECT 0"], &["SET k 1", "MOVE k 1"], false),
        (&["SELECT 1", "WATCH k", "SELECT 0"], &["SET k 1", "COPY k k DB 1"], false),
        // Whole databases: what matters is whether the key was there before or after.
        (&["SET k 1", "WATCH k"], &["FLUSHALL"], false),
        (&["SET k 1", "WATCH k"], &["FLUSHDB"], false),
        (&["SET k 1", "WATCH k"], &["SELECT 1", "FLUSHDB"], true),
        (&["SET x 1", "WATCH k"], &["FLUSHALL"], true),
        (&["SET x 1", "WATCH k"], &["FLUSHDB"], true),
        (&["SET x 1", "WATCH k"], &["SWAPDB 0 1"], true),
        (&["SET k 1", "WATCH k"], &["SWAPDB 0 1"], false),
        (&["SET k 1", "WATCH k"], &["SWAPDB 0 0"], true),
        (&["SET k 1", "WATCH k"], &["SWAPDB 2 1"], true),
        (&["WATCH k"], &["SELECT 1", "SET k 1", "SWAPDB 1 0"], false),
        (&["SELECT 1", "WATCH k", "SELECT 0"], &["SET k 1", "SWAPDB 1 0"], false),
    ] {
        assert_eq!(fate(&server, before, meanwhile), runs, "{before:?} / {meanwhile:?}");
    }
}

#[test]
fn keys_that_expire_while_they_are_watched() {
    let server = server(2);
    let mut client = server.client();
    for active in ["1", "0"] {
        client.command(&format!("DEBUG SET-ACTIVE-EXPIRE {active}"));
        // Past its time already: for WATCH it is not there, and its removal is no change.
        let set = format!("SET k 1 PX {HOUR_MS}");
        all(&mut client, &[&set]);
        step_clock(&mut client, HOUR_MS + 1);
        assert_eq!(all(&mut client, &["WATCH k", "DEL k", "MULTI", "PING", "EXEC"]).items().len(), 1);
        // Its time comes later.
        all(&mut client, &[&set, "WATCH k"]);
        step_clock(&mut client, HOUR_MS + 1);
        assert_eq!(all(&mut client, &["MULTI", "PING", "EXEC"]), Value::Null);
        // The same with a key that was made anew meanwhile, which is a change too.
        all(&mut client, &[&set]);
        step_clock(&mut client, HOUR_MS + 1);
        assert_eq!(all(&mut client, &["WATCH k", "SET k 2", "MULTI", "PING", "EXEC"]), Value::Null);
    }
    client.command("DEBUG SET-ACTIVE-EXPIRE 1");
}

#[test]
fn errors_before_and_in_a_transaction() {
    let server = server(1);
    let mut client = server.client();
    let error =
        |v: Value| matches!(&v, Value::Error(_)).then(|| v.text()).unwrap_or_else(|| format!("{v:?}"));
    assert_eq!(error(client.command("EXEC")), "ERR EXEC without MULTI");
    assert_eq!(error(client.command("DISCARD")), "ERR DISCARD without MULTI");
    // These two are refused, and the transaction goes on.
    client.command("MULTI");
    assert_eq!(error(client.command("MULTI")), "ERR MULTI calls can not be nested");
    assert_eq!(error(client.command("WATCH k")), "ERR WATCH inside MULTI is not allowed");
    assert_eq!(client.command("SET k 1").text(), "QUEUED");
    assert_eq!(client.command("EXEC").items().len(), 1);
    // What cannot be queued spoils the whole.
    for bad in ["NOSUCH", "GET", "GET a b", "MONITOR x", "CLIENT NOSUCH", "SHUTDOWN"] {
        all(&mut client, &["SET k old", "MULTI", "SET k new"]);
        assert!(error(client.command(bad)).starts_with("ERR "), "{bad}");
        let end = "EXECABORT Transaction discarded because of previous errors.";
        assert_eq!(error(client.command("EXEC")), end, "{bad}");
        assert_eq!(client.command("GET k").text(), "old");
    }
    // What fails when it runs does not.
    let commands = ["MULTI", "SET k 1", "LPUSH k 1", "INCR k", "COPY k k2 DB 99", "MOVE k nine", "EXEC"];
    let replies = all(&mut client, &commands).items();
    assert_eq!(replies[2], Value::Int(2));
    assert_eq!(replies.iter().filter(|r| matches!(r, Value::Error(_))).count(), 3);
    // An EXEC that is refused itself ends the transaction.
    all(&mut client, &["SET k old", "MULTI", "SET k new"]);
    let why = "wrong number of arguments for 'exec' command";
    let end = format!("EXECABORT Transaction discarded because of: {why}");
    assert_eq!(error(client.command("EXEC now")), end);
    assert_eq!(error(client.command("EXEC")), "ERR EXEC without MULTI");
    assert_eq!(client.command("GET k").text(), "old");
    // Only the command RESET acts at once, not each subcommand of that name.
    assert_eq!(all(&mut client, &["MULTI", "SLOWLOG RESET"]).text(), "QUEUED");
    assert_eq!(all(&mut client, &["LATENCY RESET", "EXEC"]).items().len(), 2);
    // In RESP3 an aborted one is a null too.
    client.command("HELLO 3");
    assert_eq!(all(&mut client, &["WATCH k", "SET k 1", "MULTI", "PING"]).text(), "QUEUED");
    assert_eq!(client.call(&["EXEC"]).expect("a reply").raw, b"_\r\n");
}

/// A command in a transaction finds the shards locked that the others name; it must not wait for them.
#[test]
fn no_command_waits_for_its_own_transaction() {
    let server = server(2);
    let mut client = server.client();
    client.command("SET k v");
    let own_end = [
        "shutdown", "quit", "reset", "exec", "discard", "multi", "watch", "monitor", "psync", "sync",
        "replconf",
    ];
    for command in table::all() {
        let keyless = matches!(command.access, Access::None | Access::Walk | Access::Whole);
        if !keyless || own_end.contains(&command.name) || command.name.ends_with("subscribe") {
            continue;
        }
        let (Arity::Exactly(n) | Arity::AtLeast(n)) = command.arity;
        let subs: Vec<Option<&str>> = match command.subcommands {
            [] => vec![None],
            subs => subs.iter().map(|s| Some(s.name)).collect(),
        };
        for sub in subs {
            if matches!((command.name, sub), ("client", Some("kill" | "pause" | "reply"))) {
                continue;
            }
            let mut words = vec![command.name];
            words.extend(sub);
            while words.len() < usize::from(n) {
                words.push("0");
            }
            let mut client = server.client();
            all(&mut client, &["MULTI", "SET k v", "SET k2 v"]);
            let queued = client.call(&words).expect("a reply").value;
            all(&mut client, &["GET k", "INCR n"]);
            let end = client.call(&["EXEC"]).unwrap_or_else(|e| panic!("{words:?}: {e}")).value;
            let expected = if queued.text() == "QUEUED" { 5 } else { 0 };
            assert_eq!(end.items().len(), expected, "{words:?}: {end:?}");
        }
    }
}

#[test]
fn large_transactions() {
    let server = server(2);
    let mut client = server.client();
    // As many keys as are locked, and as many as raise the gate, into an empty database each.
    for keys in [10, 1000, 6000] {
        client.command("FLUSHALL");
        let mut request = common::resp::encode(&["MULTI"]);
        for i in 0..keys {
            request.extend(common::resp::encode(&["SET", &format!("key:{i}"), "v"]));
        }
        request.extend(common::resp::encode(&["EXEC"]));
        client.send_raw(&request).expect("send");
        for _ in 0..=keys {
            assert!(matches!(client.read().expect("a reply").value, Value::Simple(_)));
        }
        let replies = client.read().expect("a reply").value.items();
        assert_eq!(replies.len(), keys);
        assert!(replies.iter().all(|r| r.text() == "OK"), "{keys} keys");
        assert_eq!(client.command("DBSIZE"), Value::Int(keys as i64));
        let mut words = vec!["MSET".to_owned()];
        words.extend((0..2 * keys).map(|i| format!("other:{i}")));
        client.command("FLUSHALL");
        assert_eq!(client.call(&words).expect("a reply").value.text(), "OK", "{keys} keys");
    }
}

#[test]
fn what_is_queued_is_counted_and_bounded() {
    let server = Options::tandem().set("client-query-buffer-limit", "1mb").start();
    let (mut client, mut other) = (server.client(), server.client());
    let field = |line: &str, name: &str| -> i64 {
        let value = line.split_whitespace().find_map(|f| f.strip_prefix(name)).unwrap_or("none");
        value.parse().unwrap_or_else(|_| panic!("{name} in {line}"))
    };
    all(&mut client, &["CLIENT SETNAME me", "WATCH a b", "MULTI"]);
    let big = "x".repeat(100_000);
    client.call(&["SET", "k", &big]).expect("a reply");
    let mut line = || {
        let list = other.command("CLIENT LIST").text();
        list.lines().find(|l| l.contains("name=me ")).unwrap_or_default().to_owned()
    };
    let seen = line();
    assert_eq!((field(&seen, "multi="), field(&seen, "watch=")), (1, 2));
    assert!(field(&seen, "multi-mem=") >= 100_000 && field(&seen, "tot-mem=") >= 100_000, "{seen}");
    client.command("DISCARD");
    let seen = line();
    assert_eq!((field(&seen, "multi="), field(&seen, "watch=")), (-1, 0));
    assert_eq!(field(&seen, "multi-mem="), 0);
    // More than the query buffer may hold ends the connection.
    client.command("MULTI");
    let mut closed = false;
    for _ in 0..20 {
        closed |= client.call(&["SET", "k", &big]).is_err();
    }
    assert!(closed);
    wait_until("the client is forgotten", PATIENCE, || line().is_empty());
    let info = server.client().command("INFO stats").text();
    assert!(info.contains("client_query_buffer_limit_disconnections:1"), "{info}");
}

/// Accounts whose sum stays, and two flags of which one is always up.
const ACCOUNTS: usize = 6;
const BALANCE: i64 = 1000;
const STATE: usize = ACCOUNTS + 2;

#[derive(Clone, Debug)]
enum Deed {
    /// So much went from the first to the second, who then had these.
    Transfer([usize; 2], i64, [i64; 2]),
    /// Two were read and, as nobody had changed them, set.
    Replace([usize; 2], [i64; 2], [i64; 2]),
    /// Both flags were seen up, and this one was taken down.
    Lower(usize),
    /// Both flags were put up.
    Raise,
    Read(Vec<i64>),
}

fn step(state: &[i64; STATE], deed: &Deed) -> Option<[i64; STATE]> {
    let mut after = *state;
    match deed {
        Deed::Transfer([from, to], amount, balances) => {
            after[*from] -= amount;
            after[*to] += amount;
            return ([after[*from], after[*to]] == *balances).then_some(after);
        }
        Deed::Replace([a, b], seen, set) => {
            if [state[*a], state[*b]] != *seen {
                return None;
            }
            (after[*a], after[*b]) = (set[0], set[1]);
        }
        Deed::Lower(flag) => {
            if state[ACCOUNTS..] != [1, 1] {
                return None;
            }
            after[*flag] = 0;
        }
        Deed::Raise => after[ACCOUNTS..].fill(1),
        Deed::Read(seen) => return (state[..] == seen[..]).then_some(after),
    }
    Some(after)
}

fn name(i: usize) -> String {
    format!("account:{i}")
}

/// One deed of a client, with the time of its EXEC; None if a watched key had changed.
fn deed(client: &mut Client, rng: &mut Rng, clock: &AtomicU64) -> Option<Event<Deed>> {
    let from = rng.below(ACCOUNTS);
    let to = (from + 1 + rng.below(ACCOUNTS - 1)) % ACCOUNTS;
    let (a, b) = (name(from), name(to));
    let amount = rng.range(1, 9);
    let flag = ACCOUNTS + rng.below(2);
    let (up, down) = (name(ACCOUNTS), name(ACCOUNTS + 1));
    let kind = rng.below(10);
    let mut seen = [0; 2];
    let commands: Vec<String> = match kind {
        0..4 => vec![format!("DECRBY {a} {amount}"), format!("INCRBY {b} {amount}")],
        4..6 => {
            client.command(&format!("WATCH {a} {b}"));
            seen = ints(client.command(&format!("MGET {a} {b}"))).try_into().expect("two");
            vec![format!("SET {a} {}", seen[0] + amount), format!("SET {b} {}", seen[1] - amount)]
        }
        6..8 => {
            // Of what it watches it writes only half, and somebody else writes the other half.
            client.command(&format!("WATCH {up} {down}"));
            if ints(client.command(&format!("MGET {up} {down}"))) == [1, 1] {
                vec![format!("SET {} 0", name(flag))]
            } else {
                client.command("UNWATCH");
                vec![format!("SET {up} 1"), format!("SET {down} 1")]
            }
        }
        _ => {
            let mut commands: Vec<String> = (0..STATE).map(|i| format!("GET {}", name(i))).collect();
            // With this one the gate is raised.
            commands.extend((kind == 9).then(|| "KEYS nothing".to_owned()));
            commands
        }
    };
    client.command("MULTI");
    for command in &commands {
        assert_eq!(client.command(command).text(), "QUEUED", "{command}");
    }
    let called = clock.fetch_add(1, SeqCst);
    let reply = client.command("EXEC");
    let returned = clock.fetch_add(1, SeqCst);
    if reply == Value::Null {
        return None;
    }
    assert_eq!(reply.items().len(), commands.len(), "{reply:?}");
    let mut values = ints(reply);
    let what = match kind {
        0..4 => Deed::Transfer([from, to], amount, [values[0], values[1]]),
        4..6 => Deed::Replace([from, to], seen, [seen[0] + amount, seen[1] - amount]),
        6..8 if commands.len() == 1 => Deed::Lower(flag),
        6..8 => Deed::Raise,
        _ => {
            values.truncate(STATE);
            assert_eq!(values[..ACCOUNTS].iter().sum::<i64>(), BALANCE * ACCOUNTS as i64, "{values:?}");
            assert_ne!(values[ACCOUNTS..], [0, 0]);
            Deed::Read(values)
        }
    };
    Some(Event { what, called, returned })
}

/// Grows and shrinks the database under the transactions.
fn resize(server: &Server, stop: &AtomicBool) {
    let mut client = server.client();
    client.command("DEBUG POPULATE 3000");
    for n in 0.. {
        if stop.load(SeqCst) {
            break;
        }
        client.command(if n % 5 < 2 || n % 5 == 3 {
            "DEBUG ENGINES GROW 0"
        } else {
            "DEBUG ENGINES SHRINK 0"
        });
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn transfers_between_accounts_are_linearizable() {
    const CLIENTS: u64 = 6;
    const DEEDS: usize = 250;
    let server = server(4);
    let mut start = [BALANCE; STATE];
    start[ACCOUNTS..].fill(1);
    let mut client = server.client();
    for (i, value) in start.iter().enumerate() {
        client.command(&format!("SET {} {value}", name(i)));
    }
    let (clock, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let history: Vec<Event<Deed>> = std::thread::scope(|scope| {
        let resizes = scope.spawn(|| resize(&server, &stop));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|me| {
                let (server, clock) = (&server, &clock);
                scope.spawn(move || {
                    let (mut client, mut rng) = (server.client(), Rng::new(me));
                    (0..DEEDS).filter_map(|_| deed(&mut client, &mut rng, clock)).collect::<Vec<_>>()
                })
            })
            .collect();
        let history = clients.into_iter().flat_map(|c| c.join().expect("no panic")).collect();
        stop.store(true, SeqCst);
        resizes.join().expect("no panic");
        history
    });
    assert!(history.len() > CLIENTS as usize * DEEDS / 2, "most of them succeed");
    assert!(history.iter().any(|e| matches!(e.what, Deed::Replace(..))));
    assert!(history.iter().any(|e| matches!(e.what, Deed::Lower(_))));
    assert!(is_linearizable(&history, start, step), "no order explains the history");
}

/// Two that move and copy the same keys in opposite directions do not wait for each other for ever.
#[test]
fn keys_cross_between_databases() {
    let server = server(4);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let resizes = scope.spawn(|| resize(&server, &stop));
        let clients: Vec<_> = (0..4usize)
            .map(|me| {
                let server = &server;
                scope.spawn(move || {
                    let mut client = server.client();
                    let (here, there) = (me % 2, 1 - me % 2);
                    client.command(&format!("SELECT {here}"));
                    for i in 0..200 {
                        let (a, b) = (i % 7, (i + 1 + me) % 7);
                        client.command(&format!("SET k{a} {i}"));
                        client.command(&format!("COPY k{a} k{b} DB {there} REPLACE"));
                        client.command(&format!("MOVE k{b} {there}"));
                        let rename = [format!("RENAME k{a} k{b}"), format!("COPY k{b} k{a} DB {there}")];
                        all(&mut client, &["MULTI", &rename[0], &rename[1], "EXEC"]);
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|c| c.join().expect("no panic"));
        stop.store(true, SeqCst);
        resizes.join().expect("no panic");
    });
}

#[test]
fn within_a_packet_what_changes_the_client_counts_from_the_next_command_on() {
    let server = server(1);
    let mut client = server.client();
    let packet = [
        ("SET a 1", "+OK\r\n"),
        ("INCR a", ":2\r\n"),
        ("INCR b", ":1\r\n"),
        ("SELECT 1", "+OK\r\n"),
        ("INCR a", ":1\r\n"),
        ("MULTI", "+OK\r\n"),
        ("INCR a", "+QUEUED\r\n"),
        ("GET a", "+QUEUED\r\n"),
        ("EXEC", "*2\r\n:2\r\n$1\r\n2\r\n"),
        ("INCR a", ":3\r\n"),
        ("LPUSH l x", ":1\r\n"),
        ("INCR l", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        ("GET missing", "$-1\r\n"),
        ("GET a b", "-ERR wrong number of arguments for 'get' command\r\n"),
        ("CLIENT REPLY SKIP", ""),
        ("INCR a", ""),
        ("GET a", "$1\r\n4\r\n"),
        ("GET missing", "$-1\r\n"),
        ("QUIT", "+OK\r\n"),
    ];
    let mut bytes = Vec::new();
    for (command, _) in packet {
        bytes.extend(common::resp::encode(&command.split(' ').collect::<Vec<_>>()));
    }
    client.send_raw(&bytes).expect("sent");
    let replies = client.read_to_end().expect("replies");
    let expected: String = packet.iter().map(|(_, reply)| *reply).collect();
    assert_eq!(String::from_utf8_lossy(&replies), expected);
    let stats = server.client().command("INFO commandstats").text();
    let line = |name: &str| stats.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    let incr = line("cmdstat_incr:");
    assert!(incr.contains("calls=7,") && incr.ends_with("rejected_calls=0,failed_calls=1"), "{incr}");
    let get = line("cmdstat_get:");
    assert!(get.contains("calls=4,") && get.ends_with("rejected_calls=1,failed_calls=0"), "{get}");
}
