//! Deadlines of hash fields: what each command answers, and what subscribers, watchers and INFO see of them.
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

mod common;

use std::collections::HashMap;
use std::time::Duration;

use common::lines::{short, table};
use common::{Client, HOUR_MS, Options, Server, Value, now_ms, step_clock, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

fn server(workers: usize) -> Server {
    let options = Options::tandem().workers(workers).set("enable-debug-command", "yes");
    options.set("notify-keyspace-events", "Egxh").start()
}

/// A client that hears these events of hashes in database 0.
fn listener(server: &Server) -> Client {
    let mut client = server.client();
    let events = ["hset", "hdel", "hexpire", "hexpired", "hpersist", "hincrby", "del", "expired"];
    for event in events {
        client.command(&format!("SUBSCRIBE __keyevent@0__:{event}"));
    }
    client
}

/// The name of the event, and the key, of the next message.
fn event(client: &mut Client) -> (String, String) {
    let items = client.read().expect("a message").value.items();
    let channel = items[1].text();
    (channel.rsplit(':').next().unwrap_or_default().to_owned(), items[2].text())
}

/// Events up to a marker that is set now, as `event key`.
fn events(listener: &mut Client, writer: &mut Client) -> Vec<String> {
    writer.command("SET marker x");
    writer.command("DEL marker");
    let mut seen = Vec::new();
    loop {
        let (name, key) = event(listener);
        if key == "marker" {
            return seen;
        }
        seen.push(format!("{name} {key}"));
    }
}

#[test]
fn setting_reading_and_taking_away() {
    let server = server(1);
    let mut c = server.client();
    table(
        &mut c,
        "HEXPIRE h 10 FIELDS 2 a b => [-2,-2]
         HTTL h FIELDS 1 a => [-2]
         HPERSIST h FIELDS 1 a => [-2]
         HSET h a 1 b 2 c 3 => 3
         HTTL h FIELDS 2 a x => [-1,-2]
         HEXPIRE h 1000 FIELDS 2 a x => [1,-2]
         HTTL h FIELDS 3 a b x => [1000,-1,-2]
         HEXPIRE h 500 NX FIELDS 2 a b => [0,1]
         HEXPIRE h 600 XX FIELDS 2 b c => [1,0]
         HEXPIRE h 700 GT FIELDS 3 a b c => [0,1,0]
         HEXPIRE h 300 LT FIELDS 3 a b c => [1,1,1]
         HEXPIRE h 300 lt fields 1 a => [0]
         HTTL h FIELDS 3 a b c => [300,300,300]
         HPEXPIREAT h 70368744177663 FIELDS 1 a => [1]
         HPEXPIRETIME h FIELDS 1 a => [70368744177663]
         HEXPIRETIME h FIELDS 1 a => [70368744178]
         HEXPIREAT h 33333333333 FIELDS 1 a => [1]
         HEXPIRETIME h FIELDS 2 a x => [33333333333,-2]
         HPERSIST h FIELDS 3 a x a => [1,-2,-1]
         HTTL h FIELDS 1 a => [-1]
         HPEXPIRE h 0 FIELDS 3 a x a => [2,-2,-2]
         HEXPIREAT h 1 XX FIELDS 1 x => [-2]
         HEXPIREAT h 1 NX FIELDS 2 b c => [0,0]
         HEXPIREAT h 1 FIELDS 2 b c => [2,2]
         EXISTS h => 0
         OBJECT ENCODING h => nil",
    );
}

#[test]
fn refusals() {
    let server = server(1);
    let mut c = server.client();
    table(
        &mut c,
        "SET s x => OK
         HSET h a 1 => 1
         HEXPIRE s x FIELDS 1 a => !WRONGTYPE Operation against a key holding the wrong kind of value
         HTTL s FIELD 1 a => !WRONGTYPE Operation against a key holding the wrong kind of value
         HGETEX s FIELDS 1 a => !WRONGTYPE Operation against a key holding the wrong kind of value
         HGETDEL s FIELDS 1 a => !WRONGTYPE Operation against a key holding the wrong kind of value
         HSETEX s FIELDS 1 a 1 => !WRONGTYPE Operation against a key holding the wrong kind of value
         HEXPIRE h 10 FIELDS 1 => !ERR wrong number of arguments for 'hexpire' command
         HEXPIRE h ten FIELDS 1 a => !ERR value is not an integer or out of range
         HEXPIRE h -1 FIELDS 1 a => !ERR invalid expire time, must be >= 0
         HEXPIRE h 70368744178 FIELDS 1 a => !ERR invalid expire time in 'hexpire' command
         HEXPIRE h 9223372036854775807 FIELDS 1 a => !ERR invalid expire time in 'hexpire' command
         HPEXPIREAT h 70368744177664 FIELDS 1 a => !ERR invalid expire time in 'hpexpireat' command
         HEXPIRE h 10 NX GT FIELDS 1 a => !ERR Mandatory argument FIELDS is missing or not at the right position
         HEXPIRE h 10 FIELD 1 a => !ERR Mandatory argument FIELDS is missing or not at the right position
         HEXPIRE h 10 FIELDS 0 a => !ERR Parameter `numFields` should be greater than 0
         HEXPIRE h 10 FIELDS x a => !ERR Parameter `numFields` should be greater than 0
         HEXPIRE h 10 FIELDS 2 a => !ERR The `numfields` parameter must match the number of arguments
         HTTL h FIELDS 0 a => !ERR Number of fields must be a positive integer
         HTTL h FIELDS 1 a b => !ERR The `numfields` parameter must match the number of arguments
         HPERSIST h FIELDS -1 a => !ERR Number of fields must be a positive integer
         HGETDEL h FIELDS 0 a => !ERR Number of fields must be a positive integer
         HGETEX h EX 0x FIELDS 1 a => !ERR value is not an integer or out of range
         HGETEX h EX -5 FIELDS 1 a => !ERR invalid expire time, must be >= 0
         HGETEX h KEEPTTL FIELDS 1 a => !ERR Mandatory argument FIELDS is missing or not at the right position
         HGETEX h PERSIST EX 5 FIELDS 1 a => !ERR Mandatory argument FIELDS is missing or not at the right position
         HSETEX h FNX FXX FIELDS 1 a 1 => !ERR Only one of FXX or FNX arguments can be specified
         HSETEX h EX 5 KEEPTTL FIELDS 1 a 1 => !ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified
         HSETEX h NX XX FIELDS 1 a 1 => !ERR Only one of XX or NX arguments can be specified
         HSETEX h GT FIELDS 1 a 1 => !ERR unknown argument: GT
         HSETEX h FIELDS 0 a 1 => !ERR invalid number of fields
         HSETEX h FIELDS 2 a 1 => !ERR wrong number of arguments for 'hsetex' command
         HSETEX h EX 0 FIELDS 1 a => !ERR wrong number of arguments for 'hsetex' command
         HSETEX h EX 70368744178 FIELDS 1 a 1 => !ERR invalid expire time in 'hsetex' command
         HGETALL h => [a,1]
         HTTL h FIELDS 1 a => [-1]",
    );
}

#[test]
fn reads_and_writes_with_a_time() {
    let server = server(1);
    let mut c = server.client();
    table(
        &mut c,
        "HSETEX h FXX FIELDS 1 a 1 => 0
         EXISTS h => 0
         HSETEX h XX FIELDS 1 a 1 => 0
         HSETEX h NX FIELDS 1 z 1 => 1
         HSETEX h NX FIELDS 1 z 2 => 0
         HSETEX h EX 100 FNX FIELDS 2 a 1 b 2 => 1
         HTTL h FIELDS 3 a b z => [100,100,-1]
         HSETEX h FNX FIELDS 2 c 3 a 9 => 0
         HSETEX h FXX KEEPTTL FIELDS 2 a 4 b 5 => 1
         HMGET h a b c => [4,5,nil]
         HTTL h FIELDS 2 a b => [100,100]
         HSETEX h FIELDS 1 a 6 => 1
         HTTL h FIELDS 2 a b => [-1,100]
         HGETEX h FIELDS 3 a b x => [6,5,nil]
         HGETEX h EX 50 FIELDS 2 a x => [6,nil]
         HTTL h FIELDS 2 a b => [50,100]
         HGETEX h PERSIST FIELDS 2 a b => [6,5]
         HTTL h FIELDS 2 a b => [-1,-1]
         HGETEX h PXAT 33333333333333 FIELDS 1 a => [6]
         HPEXPIRETIME h FIELDS 1 a => [33333333333333]
         HGETEX h EXAT 1 FIELDS 1 a => [6]
         HEXISTS h a => 0
         HGETEX nokey EX 5 FIELDS 2 a b => [nil,nil]
         HGETDEL nokey FIELDS 1 a => [nil]
         HGETDEL h FIELDS 3 b b x => [5,nil,nil]
         HGETDEL h FIELDS 1 z => [1]
         EXISTS h => 0
         HSETEX h PX 0 FIELDS 1 a 1 => 1
         EXISTS h => 0
         HSET h a 1 b 2 => 2
         HSETEX h EXAT 1 FIELDS 2 a 9 c 9 => 1
         HGETALL h => [b,2]",
    );
}

#[test]
fn writes_clear_or_keep_a_deadline() {
    let server = server(1);
    let mut c = server.client();
    table(
        &mut c,
        "HSETEX h EX 100 FIELDS 4 a 1 b 2 c 3 d 4 => 1
         OBJECT ENCODING h => hashtable
         HINCRBY h a 5 => 6
         HINCRBYFLOAT h b 0.5 => 2.5
         HSET h c 9 => 0
         HSETNX h d 9 => 0
         HTTL h FIELDS 4 a b c d => [100,100,-1,100]
         HMSET h d 1 => OK
         HTTL h FIELDS 1 d => [-1]
         HDEL h a => 1
         HSET h a 1 => 1
         HTTL h FIELDS 1 a => [-1]
         COPY h h2 => 1
         RENAME h2 h3 => OK
         HTTL h3 FIELDS 2 a b => [-1,100]",
    );
}

#[test]
fn events_say_what_happened() {
    let server = server(4);
    let (mut heard, mut c) = (listener(&server), server.client());
    let cases: [(&[&str], &[&str]); 12] = [
        (&["HSET h a 1 b 2 c 3"], &["hset h"]),
        (&["HEXPIRE h 100 FIELDS 2 a x", "HEXPIRE h 10 NX FIELDS 1 a"], &["hexpire h"]),
        (&["HPERSIST h FIELDS 2 a b", "HPERSIST h FIELDS 1 a"], &["hpersist h"]),
        (&["HEXPIRE h 0 FIELDS 1 a"], &["hdel h"]),
        (&["HGETEX h EX 100 FIELDS 1 b", "HGETEX h FIELDS 1 b"], &["hexpire h"]),
        (&["HGETEX h PERSIST FIELDS 1 b"], &["hpersist h"]),
        (&["HGETEX h EXAT 1 FIELDS 1 b"], &["hdel h"]),
        (&["HSETEX h EX 100 FIELDS 1 d 4"], &["hset h", "hexpire h"]),
        (&["HSETEX h PX 0 FIELDS 1 d 4"], &["hset h", "hdel h"]),
        (&["HGETDEL h FIELDS 2 c x", "HGETDEL h FIELDS 1 x"], &["hdel h", "del h"]),
        (&["HSETEX new PX 0 FIELDS 1 d 4"], &["hset new", "hdel new", "del new"]),
        (&["HSET h a 1", "HPEXPIRE h 0 FIELDS 1 a"], &["hset h", "hdel h", "del h"]),
    ];
    for (commands, want) in cases {
        commands.iter().for_each(|command| drop(c.command(command)));
        assert_eq!(events(&mut heard, &mut c), want, "{commands:?}");
    }
}

#[test]
fn a_field_past_its_time_is_never_served() {
    let server = server(4);
    let (mut writer, mut reader) = (server.client(), server.client());
    for round in 0..200 {
        let due = now_ms() + 5;
        writer.command(&format!("HSET h{round} f v stays v"));
        writer.command(&format!("HPEXPIREAT h{round} {due} FIELDS 1 f"));
        loop {
            let asked = now_ms();
            let reply = reader.command(&format!("HGET h{round} f"));
            if asked > due {
                assert_eq!(reply, Value::Null, "served past its time");
            }
            if reply == Value::Null {
                break;
            }
        }
    }
}

/// Without the wheel, and with writes paused as well, reading alone decides.
#[test]
fn what_is_due_is_hidden_where_it_must_not_be_removed() {
    let server = server(1);
    let mut c = server.client();
    c.command("DEBUG SET-ACTIVE-EXPIRE 0");
    for paused in [false, true] {
        c.command("FLUSHALL");
        // The deadlines come last: a command behind them would remove the fields on a slow machine.
        c.command("HSET h c 3");
        c.command("HSETEX h PX 1 FIELDS 2 a 1 b 2");
        let now = now_ms();
        wait_until("their time has passed", PATIENCE, || now_ms() > now + 1);
        if paused {
            c.command("CLIENT PAUSE 600000 WRITE");
        }
        table(
            &mut c,
            "HGETALL h => [c,3]
             HLEN h => 1
             HKEYS h => [c]
             HVALS h => [3]
             HGET h a => nil
             HMGET h a b c => [nil,nil,3]
             HEXISTS h a => 0
             HSTRLEN h b => 0
             HTTL h FIELDS 2 a c => [-2,-1]
             HRANDFIELD h => c
             HRANDFIELD h 5 => [c]
             HRANDFIELD h -3 => [c,c,c]
             HSCAN h 0 COUNT 100 => [0,[c,3]]",
        );
        let gone = if paused { "0" } else { "2" };
        assert_eq!(info(&mut c, "stats", "expired_subkeys").as_deref(), Some(gone));
        c.command("CONFIG RESETSTAT");
        c.command("CLIENT UNPAUSE");
        assert_eq!(c.command("HDEL h a"), Value::Int(0));
        assert_eq!(c.command("HINCRBY h b 1"), Value::Int(1), "not 3");
    }
}

/// What takes a hash as a whole finds its due fields first: they end once, under the name they were seen under.
#[test]
fn due_fields_go_before_their_hash_is_copied_or_renamed() {
    let server = server(4);
    let mut c = server.client();
    c.command("DEBUG SET-ACTIVE-EXPIRE 0");
    let mut heard = listener(&server);
    for command in ["COPY h other", "RENAME h other", "RENAMENX h other", "MOVE h 1", "DUMP h"] {
        c.command("FLUSHALL");
        c.command("HSET h stays v");
        c.command("HSETEX h EX 1000 FIELDS 1 later v");
        c.command("HSETEX h PX 1 FIELDS 2 a 1 b 2");
        let due = now_ms() + 1;
        events(&mut heard, &mut c);
        wait_until("two fields are due", PATIENCE, || now_ms() > due);
        assert!(!matches!(c.command(command), Value::Error(_)), "{command}");
        assert_eq!(events(&mut heard, &mut c), ["hexpired h"], "{command}");
        let (db, name) = match command {
            "MOVE h 1" => (1, "h"),
            "DUMP h" => (0, "h"),
            _ => (0, "other"),
        };
        c.command(&format!("SELECT {db}"));
        assert_eq!(short(&c.command(&format!("HTTL {name} FIELDS 4 stays later a b"))), "[-1,1000,-2,-2]");
        c.command("SELECT 0");
        assert!(events(&mut heard, &mut c).is_empty(), "{command}: an event more");
    }
    // One whose fields are all due is not there any more.
    c.command("HSETEX gone PX 1 FIELDS 1 a 1");
    std::thread::sleep(Duration::from_millis(10));
    table(&mut c, "COPY gone other REPLACE => 0\nRENAME gone other => !ERR no such key\nDUMP gone => nil");
}

/// More fields are due than a command removes at once: the others are hidden, and a copy has none of them.
#[test]
fn a_copy_has_only_what_is_shown() {
    let server = server(1);
    let mut c = server.client();
    c.command("DEBUG SET-ACTIVE-EXPIRE 0");
    let fields: Vec<String> = (0..1000).map(|i| format!("f{i} v")).collect();
    c.command("HSET h stays v");
    c.command(&format!("HSETEX h PX 1 FIELDS 1000 {}", fields.join(" ")));
    std::thread::sleep(Duration::from_millis(10));
    assert_eq!(c.command("COPY h other"), Value::Int(1));
    assert_eq!(c.command("HLEN other"), Value::Int(1));
    assert_eq!(info(&mut c, "stats", "expired_subkeys").as_deref(), Some("256"), "of h, none of the copy");
    let subexpiry = |c: &mut Client| info(c, "keyspace", "db0");
    assert!(subexpiry(&mut c).is_some_and(|line| line.contains("subexpiry=1")), "h alone has any");
}

/// A field of INFO.
fn info(client: &mut Client, section: &str, name: &str) -> Option<String> {
    let text = client.command(&format!("INFO {section}")).text();
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
    line.map(|l| l.trim().to_owned())
}

#[test]
fn figures_in_info() {
    let server = server(4);
    let mut c = server.client();
    let subexpiry = |c: &mut Client| {
        let line = info(c, "keyspace", "db0")?;
        line.split(',').find_map(|f| f.strip_prefix("subexpiry=").map(str::to_owned))
    };
    c.command("HSET h a 1 b 2");
    assert_eq!(subexpiry(&mut c), None);
    c.command("HEXPIRE h 100 FIELDS 1 a");
    c.command("COPY h h2");
    c.command("HSETEX h3 EX 100 FIELDS 1 a 1");
    assert_eq!(subexpiry(&mut c).as_deref(), Some("3"));
    c.command("HPERSIST h FIELDS 1 a");
    c.command("RENAME h2 h4");
    assert_eq!(subexpiry(&mut c).as_deref(), Some("2"));
    c.command("SET h4 x");
    assert_eq!(subexpiry(&mut c).as_deref(), Some("1"));
    c.command("DEL h3");
    assert_eq!(subexpiry(&mut c), None);
    c.command("HSETEX h PX 1 FIELDS 2 a 1 b 2");
    c.command("HSETEX h3 EX 100 FIELDS 1 a 1");
    wait_until("both fields are gone", PATIENCE, || c.command("EXISTS h") == Value::Int(0));
    wait_counted(&mut c, "2");
    assert_eq!(info(&mut c, "stats", "expired_keys").as_deref(), Some("0"));
    c.command("FLUSHALL");
    c.command("SET x y");
    assert_eq!(subexpiry(&mut c), None);
}

/// Waits until so many fields were counted: a worker counts at the end of a slice of expiry what others do not find any more.
fn wait_counted(client: &mut Client, fields: &str) {
    wait_until("they are counted", PATIENCE, || {
        info(client, "stats", "expired_subkeys").as_deref() == Some(fields)
    });
}

/// Every field has its own millisecond, and every key hears of each of its milliseconds once.
#[test]
fn events_once_each_and_in_time() {
    for workers in [1, 4] {
        // A deadline that has passed when it is set deletes the field at once: that is another event.
        let mut leads = [1_500, 6_000, 24_000].into_iter();
        while !due_one_by_one(workers, leads.next().expect("the machine never set 2,000 deadlines in time")) {
        }
    }
}

/// Writes 1,000 hashes of two fields whose deadlines begin in `lead` ms, and hears of all of them.
/// False if the first was due before the last was set.
fn due_one_by_one(workers: usize, lead: u64) -> bool {
    let server = server(workers);
    let mut heard = server.client();
    heard.command("SUBSCRIBE __keyevent@0__:hexpired __keyevent@0__:del");
    heard.read().expect("the second confirmation");
    let mut writers: Vec<Client> = (0..4).map(|_| server.client()).collect();
    let start = now_ms() + lead;
    for (w, writer) in writers.iter_mut().enumerate() {
        let mut bytes = Vec::new();
        for i in 0..250 {
            // Two fields, one event each, the second of which empties the hash.
            let due = start + i * 4 + w as u64;
            let key = format!("h:{due}:{w}");
            bytes.extend(common::resp::encode(&["HSET", &key, "a", "1", "b", "2"]));
            for (field, at) in [("b", due + 40), ("a", due)] {
                let at = at.to_string();
                bytes.extend(common::resp::encode(&["HPEXPIREAT", &key, &at, "FIELDS", "1", field]));
            }
        }
        writer.send_raw(&bytes).expect("send");
        for _ in 0..750 {
            writer.read().expect("reply");
        }
    }
    if now_ms() >= start {
        return false;
    }
    let mut seen: HashMap<String, Vec<String>> = HashMap::new();
    let (mut worst, mut emptied) = (0, 0);
    while emptied < 1000 {
        let (name, key) = event(&mut heard);
        let due: u64 = key.split(':').nth(1).and_then(|d| d.parse().ok()).expect("due time");
        let of_key = seen.entry(key).or_default();
        let last = name == "del";
        let due = if last { due + 40 } else { due };
        let now = now_ms();
        assert!(due <= now, "expired early");
        if last || of_key.is_empty() {
            worst = worst.max(now - due);
        }
        emptied += usize::from(last);
        of_key.push(name);
    }
    println!("{workers} workers: worst lateness {worst} ms");
    // Fields that a busy machine finds due together go together.
    let mut together = 0;
    for (key, names) in &seen {
        match names.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["hexpired", "hexpired", "del"] => {}
            ["hexpired", "del"] => together += 1,
            _ => panic!("{key}: {names:?}"),
        }
    }
    println!("{together} pairs went together");
    assert_eq!(seen.len(), 1000);
    assert_eq!(writers[0].command("DBSIZE"), Value::Int(0));
    true
}

#[test]
fn times_follow_the_data() {
    for workers in [1, 4] {
        let server = server(workers);
        let mut heard: Vec<Client> = (0..3)
            .map(|db| {
                let mut client = server.client();
                client.command(&format!("SUBSCRIBE __keyevent@{db}__:hexpired"));
                client
            })
            .collect();
        let mut c = server.client();
        for key in ["swapped", "moved", "copied", "old"] {
            c.command(&format!("HSETEX {key} PX {HOUR_MS} FIELDS 1 f v"));
            c.command(&format!("HSET {key} stays v"));
        }
        assert_eq!(c.command("COPY copied copy DB 2"), Value::Int(1));
        assert_eq!(c.command("MOVE moved 2"), Value::Int(1));
        assert_eq!(c.command("RENAME old new").text(), "OK");
        assert_eq!(c.command("SWAPDB 0 1").text(), "OK");
        step_clock(&mut c, HOUR_MS + 1);
        for (db, want) in [(1, &["copied", "new", "swapped"][..]), (2, &["copy", "moved"][..])] {
            let mut keys: Vec<String> = want.iter().map(|_| event(&mut heard[db]).1).collect();
            keys.sort();
            assert_eq!(keys, want);
            c.command(&format!("SELECT {db}"));
            for key in want {
                assert_eq!(c.command(&format!("HLEN {key}")), Value::Int(1));
            }
        }
    }
}

#[test]
fn what_happened_before_its_time_counts() {
    let server = server(4);
    let mut heard = listener(&server);
    let mut c = server.client();
    c.command("CONFIG SET notify-keyspace-events Ex");
    for key in ["refreshed", "deleted", "persisted", "cleared", "overwritten", "nothing"] {
        c.command(&format!("HSETEX {key} PX {HOUR_MS} FIELDS 1 f v"));
        c.command(&format!("HSET {key} stays v"));
    }
    c.command(&format!("HPEXPIRE refreshed {} FIELDS 1 f", 2 * HOUR_MS));
    c.command("HDEL deleted f");
    c.command("HPERSIST persisted FIELDS 1 f");
    c.command("HSET cleared f v");
    c.command("SET overwritten x");
    c.command("CONFIG SET notify-keyspace-events Eh");
    step_clock(&mut c, HOUR_MS + 1);
    assert_eq!(event(&mut heard), ("hexpired".to_owned(), "nothing".to_owned()));
    c.command("CONFIG SET notify-keyspace-events Egxh");
    assert!(events(&mut heard, &mut c).is_empty());
    table(&mut c, "HLEN refreshed => 2\nHLEN deleted => 1\nHLEN persisted => 2\nHLEN cleared => 2");
}

#[test]
fn a_transaction_sees_that_a_field_went() {
    let server = server(4);
    let (mut c, mut other) = (server.client(), server.client());
    c.command(&format!("HSETEX h PX {HOUR_MS} FIELDS 1 f v"));
    c.command("HSET h stays v");
    c.command("WATCH h");
    step_clock(&mut other, HOUR_MS + 1);
    wait_until("the field is gone", PATIENCE, || other.command("HLEN h") == Value::Int(1));
    c.command("MULTI");
    c.command("PING");
    assert_eq!(c.command("EXEC"), Value::Null);
}

/// A key with a deadline of its own whose fields have others, and a hash whose fields all are due at once.
#[test]
fn keys_and_fields_together() {
    let server = server(4);
    let (mut heard, mut c) = (listener(&server), server.client());
    c.command(&format!("HSETEX h PX {HOUR_MS} FIELDS 1 f v"));
    c.command(&format!("HSETEX h PX {} FIELDS 1 later v", 9 * HOUR_MS));
    c.command(&format!("PEXPIRE h {}", 2 * HOUR_MS));
    let px = (3 * HOUR_MS).to_string();
    let mut bytes = common::resp::encode(&["HSETEX", "large", "PX", &px, "FIELDS", "20000"]);
    bytes = Vec::from(&b"*40006\r\n"[..]).into_iter().chain(bytes.into_iter().skip(4)).collect();
    for i in 0..20_000 {
        let field = format!("field:{i}");
        bytes.extend(format!("${}\r\n{field}\r\n$1\r\nv\r\n", field.len()).into_bytes());
    }
    c.send_raw(&bytes).expect("send");
    assert_eq!(c.read().expect("reply").value, Value::Int(1));
    step_clock(&mut c, HOUR_MS + 1);
    wait_until("the first field is gone", PATIENCE, || c.command("HLEN h") == Value::Int(1));
    step_clock(&mut c, HOUR_MS);
    wait_until("the key is gone", PATIENCE, || c.command("DBSIZE") == Value::Int(1));
    step_clock(&mut c, HOUR_MS);
    wait_until("all is gone", PATIENCE, || c.command("DBSIZE") == Value::Int(0));
    let seen = events(&mut heard, &mut c);
    let of = |key: &str| seen.iter().filter(|e| e.ends_with(key)).cloned().collect::<Vec<_>>();
    assert_eq!(of(" h"), ["hset h", "hexpire h", "hset h", "hexpire h", "hexpired h", "expired h"]);
    let large = of(" large");
    assert_eq!(large[..2], ["hset large", "hexpire large"]);
    assert!(large[2..large.len() - 1].iter().all(|e| e == "hexpired large"));
    assert_eq!(large.last().map(String::as_str), Some("del large"));
    wait_counted(&mut c, "20001");
}

#[test]
fn once_each_while_the_engines_grow_and_shrink() {
    let server = server(4);
    let mut heard = server.client();
    heard.command("SUBSCRIBE __keyevent@0__:hexpired");
    let (mut writer, mut filler) = (server.client(), server.client());
    let count = 5000;
    let mut bytes = Vec::new();
    for i in 0..count {
        let (key, px) = (format!("due:{i}"), (50 + i % 700).to_string());
        bytes.extend(common::resp::encode(&["HSETEX", &key, "PX", &px, "FIELDS", "1", "f", "v"]));
    }
    writer.send_raw(&bytes).expect("send");
    let adding = std::thread::spawn(move || {
        for verb in ["SET", "DEL"] {
            let mut bytes = Vec::new();
            for i in 0..40_000 {
                let key = format!("other:{i}");
                let args = [verb, &key, "v"];
                bytes.extend(common::resp::encode(if verb == "SET" { &args[..] } else { &args[..2] }));
            }
            filler.send_raw(&bytes).expect("send");
            (0..40_000).for_each(|_| drop(filler.read().expect("reply")));
        }
    });
    for _ in 0..count {
        assert_eq!(writer.read().expect("reply").value, Value::Int(1));
    }
    let mut seen = std::collections::HashSet::new();
    for _ in 0..count {
        let (_, key) = event(&mut heard);
        assert!(key.starts_with("due:"), "{key}");
        assert!(seen.insert(key), "an event came twice");
    }
    adding.join().expect("the other writer");
    wait_until("all is gone", PATIENCE, || writer.command("DBSIZE") == Value::Int(0));
    wait_counted(&mut writer, &count.to_string());
}
