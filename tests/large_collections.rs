//! Large hashes and sets that are read whole while others write to them.

mod common;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use common::{Client, Options, Server, Value};

const MEMBERS: usize = 20_000;

fn fill(client: &mut Client, verb: &str, key: &str) {
    for from in (0..MEMBERS).step_by(1000) {
        let names: Vec<String> = (from..from + 1000).map(|i| format!("m{i}")).collect();
        let mut args = vec![verb, key];
        for name in &names {
            args.push(name);
            if verb == "HSET" {
                args.push("0");
            }
        }
        assert_eq!(client.call(&args).expect("reply").value, Value::Int(1000));
    }
}

/// A writer moves one member back and forth and increments a field; every reply that is read
/// meanwhile is the collection as it was at one moment.
#[test]
fn a_whole_reply_is_of_one_moment() {
    for workers in [1, 4] {
        let server = Options::tandem().workers(workers).start();
        let mut reader = server.client();
        fill(&mut reader, "SADD", "s");
        fill(&mut reader, "HSET", "h");
        let done = Arc::new(AtomicBool::new(false));
        let (mut writer, end) = (server.client(), Arc::clone(&done));
        let writing = std::thread::spawn(move || {
            let mut turns = 0;
            while !end.load(Relaxed) {
                let (old, new) = if turns % 2 == 0 { ("m7", "other") } else { ("other", "m7") };
                writer.command("MULTI");
                writer.command(&format!("SREM s {old}"));
                writer.command(&format!("SADD s {new}"));
                writer.command("HINCRBY h m1 1");
                writer.command("HINCRBY h m19999 1");
                assert_eq!(
                    writer.command("EXEC"),
                    Value::Array(
                        vec![Value::Int(1); 2].into_iter().chain(vec![Value::Int(turns + 1); 2]).collect()
                    )
                );
                turns += 1;
            }
            turns
        });
        for round in 0..8 {
            let members = reader.command("SMEMBERS s").items();
            let distinct: HashSet<String> = members.iter().map(Value::text).collect();
            assert_eq!((members.len(), distinct.len()), (MEMBERS, MEMBERS), "{round}");
            assert!(distinct.contains("m7") != distinct.contains("other"));
            let pairs = reader.command("HGETALL h").items();
            assert_eq!(pairs.len(), 2 * MEMBERS);
            let of = |name: &str| {
                let at = pairs.iter().step_by(2).position(|f| f.text() == name).expect("a field");
                pairs[2 * at + 1].text()
            };
            assert_eq!(of("m1"), of("m19999"));
            assert_eq!(reader.command("HKEYS h").items().len(), MEMBERS);
        }
        done.store(true, Relaxed);
        assert!(writing.join().expect("the writer") > 0);
        // Behind the gate, and after a reading.
        reader.command("MULTI");
        reader.command("SMEMBERS s");
        reader.command("SREM s m1");
        reader.command("SMEMBERS s");
        let replies = reader.command("EXEC").items();
        assert_eq!((replies[0].items().len(), replies[2].items().len()), (MEMBERS, MEMBERS - 1));
    }
}

/// With names of 20 bytes enough for several pieces of a reply.
const MANY: usize = 15_000;

/// A server that begins with the smallest piece.
fn start(workers: usize) -> Server {
    Options::tandem().workers(workers).set("commandlog-reply-larger-than", "-1").start()
}

/// Fills a list, a sorted set and a stream of [`MANY`] elements.
fn fill_ordered(client: &mut Client) {
    for from in (0..MANY).step_by(1000) {
        let names: Vec<String> = (from..from + 1000).map(|i| format!("member-{i:05}-of-many")).collect();
        let mut push = vec!["RPUSH", "l"];
        push.extend(names.iter().map(String::as_str));
        client.call(&push).expect("reply");
        let scores: Vec<String> = (from..from + 1000).map(|i| i.to_string()).collect();
        let mut add = vec!["ZADD", "z"];
        for (score, name) in scores.iter().zip(&names) {
            add.extend([score.as_str(), name.as_str()]);
        }
        client.call(&add).expect("reply");
        for i in from..from + 1000 {
            client.send(&["XADD", "x", &format!("{}-1", i + 1), "n", &i.to_string()]).expect("sent");
        }
        for _ in 0..1000 {
            client.read().expect("an id");
        }
    }
}

fn texts(reply: &Value) -> Vec<String> {
    reply.clone().items().iter().map(Value::text).collect()
}

fn names(range: impl Iterator<Item = usize>) -> Vec<String> {
    range.map(|i| format!("member-{i:05}-of-many")).collect()
}

fn entry_numbers(reply: &Value) -> Vec<usize> {
    let number =
        |entry: &Value| entry.clone().items()[1].clone().items()[1].text().parse().expect("a number");
    reply.clone().items().iter().map(number).collect()
}

/// Every long reply, in pieces, is what the same command answers inside a transaction, where it is
/// written at once.
#[test]
fn pieces_are_the_whole() {
    let server = start(2);
    let mut client = server.client();
    fill_ordered(&mut client);
    fill(&mut client, "SADD", "s");
    fill(&mut client, "HSET", "h");
    for resp in ["2", "3"] {
        client.call(&["HELLO", resp]).expect("hello");
        for command in [
            "LRANGE l 0 -1",
            "LRANGE l 1000 -2001",
            "ZRANGE z 0 -1 WITHSCORES",
            "ZRANGE z 14000 3 REV BYSCORE LIMIT 2 9000 WITHSCORES",
            "ZREVRANGE z 0 -1",
            "ZRANGE z [m [n BYLEX",
            "XRANGE x - +",
            "XRANGE x 3 14990 COUNT 14000",
            "XREVRANGE x + -",
            "XREAD STREAMS x x 5 2000-0",
            "HGETALL h",
            "HKEYS h",
            "SMEMBERS s",
            "LPOS l member-14999-of-many COUNT 0",
            "DUMP z",
            "SUNION s",
            "ZUNION 2 z s WITHSCORES",
            "ZINTER 2 z z",
            "ZDIFF 2 z s",
            "SDIFF s nothing",
            "SINTER s s",
        ] {
            // What RESP3 writes otherwise is enough there.
            if resp == "3"
                && !["ZRANGE z 0", "HGETALL", "SMEMBERS", "XREAD "].iter().any(|c| command.starts_with(c))
            {
                continue;
            }
            let alone = client.command(command);
            client.command("MULTI");
            client.command(command);
            client.command("PING");
            let both = client.command("EXEC").items();
            assert_eq!(both[1].text(), "PONG", "{command}");
            let sort = |value: &Value| {
                let mut items: Vec<String> = value.clone().items().iter().map(|i| format!("{i:?}")).collect();
                items.sort_unstable();
                items
            };
            match command.as_bytes()[0] {
                // In no order that means anything.
                b'S' | b'H' => assert!(sort(&alone) == sort(&both[0]), "{command}"),
                _ => assert!(alone == both[0], "{command}"),
            }
        }
    }
    client.call(&["HELLO", "2"]).expect("hello");
    assert_eq!(texts(&client.command("LRANGE l 0 -1")), names(0..MANY));
    assert_eq!(texts(&client.command("ZREVRANGE z 0 -1")), names((0..MANY).rev()));
    assert_eq!(entry_numbers(&client.command("XREVRANGE x + -")), (0..MANY).rev().collect::<Vec<_>>());
}

/// What is pipelined behind a reply in pieces is answered behind it, and others are answered while a
/// client does not read its own.
#[test]
fn others_go_on_while_a_reply_is_read_slowly() {
    let server = start(1);
    let (mut slow, mut other) = (server.client(), server.client());
    fill_ordered(&mut slow);
    for command in ["LRANGE l 0 -1", "ZRANGE z 0 -1 WITHSCORES", "PING", "XRANGE x - +", "PING", "LLEN l"] {
        slow.send(&command.split(' ').collect::<Vec<_>>()).expect("sent");
    }
    // None of the replies is read yet, and the first is being written.
    assert_eq!(other.command("LPUSH l new"), Value::Int(MANY as i64 + 1));
    assert_eq!(other.command("DEL z"), Value::Int(1));
    let list = texts(&slow.read().expect("a list").value);
    assert!(list == names(0..MANY) || list[1..] == names(0..MANY), "of one moment");
    let set = slow.read().expect("a sorted set").value.items();
    assert!(set.is_empty() || set.len() == 2 * MANY);
    assert_eq!(slow.read().expect("a reply").value.text(), "PONG");
    assert_eq!(slow.read().expect("a stream").value.items().len(), MANY);
    assert_eq!(slow.read().expect("a reply").value.text(), "PONG");
    assert_eq!(slow.read().expect("a length").value, Value::Int(MANY as i64 + 1));
}

/// A reply that would be a billion elements long costs no memory while it is not read, and ends with
/// the limit of output if there is one.
#[test]
fn a_reply_without_end_costs_no_memory() {
    let server = start(1);
    let mut client = server.client();
    client.command("SADD s one");
    client.command("HSET h one 1");
    client.command("ZADD z 1 one");
    let used = |client: &mut Client| -> u64 {
        let info = client.command("INFO memory").text();
        let line = info.lines().find_map(|l| l.strip_prefix("used_memory:")).expect("a figure");
        line.trim().parse().expect("a number")
    };
    let before = used(&mut client);
    let endless =
        ["SRANDMEMBER s -1000000000", "HRANDFIELD h -1000000000 WITHVALUES", "ZRANDMEMBER z -1000000000"];
    let mut readers: Vec<Client> = Vec::new();
    for command in endless {
        let mut reader = server.client();
        reader.send(&command.split(' ').collect::<Vec<_>>()).expect("sent");
        readers.push(reader);
    }
    // Each of them has begun to answer.
    common::wait_until("the replies have begun", Duration::from_secs(30), || {
        let list = client.command("CLIENT LIST").text();
        list.lines().filter(|l| l.contains("cmd=") && l.contains("rand")).count() == endless.len()
    });
    assert!(used(&mut client) < before + (16 << 20));
    drop(readers);
    let limit = ["CONFIG", "SET", "client-output-buffer-limit", "normal 300000 0 0"];
    assert_eq!(client.call(&limit).expect("a reply").value.text(), "OK");
    for command in endless {
        let mut reader = server.client();
        reader.send(&command.split(' ').collect::<Vec<_>>()).expect("sent");
        assert!(reader.read().is_err(), "{command} ends with the connection");
    }
    // Where all of it would stand in memory it is refused.
    client.command("MULTI");
    client.command(endless[0]);
    let replies = client.command("EXEC").items();
    assert!(matches!(&replies[0], Value::Error(text) if text.contains("out of range")), "{replies:?}");
}

/// Many elements leave a list, a set or a sorted set at once.
#[test]
fn many_elements_go_at_once() {
    let server = start(1);
    let mut client = server.client();
    fill_ordered(&mut client);
    assert_eq!(texts(&client.command("LPOP l 5000")), names(0..5000));
    assert_eq!(texts(&client.command("RPOP l 5000")), names((MANY - 5000..MANY).rev()));
    let popped = client.command("LMPOP 2 no l RIGHT COUNT 4500").items();
    assert_eq!(texts(&popped[1]), names((MANY - 9500..MANY - 5000).rev()));
    assert_eq!(client.command("LTRIM l 100 -101").text(), "OK");
    assert_eq!(texts(&client.command("LRANGE l 0 -1")), names(5100..5400));
    assert_eq!(client.command("LTRIM l 5 1").text(), "OK");
    assert_eq!(client.command("EXISTS l"), Value::Int(0));
    assert_eq!(client.command("COPY z y"), Value::Int(1));
    assert_eq!(client.command("COPY x w"), Value::Int(1));
    assert_eq!(client.command("ZREMRANGEBYSCORE z -inf +inf"), Value::Int(MANY as i64));
    assert_eq!(client.command("EXISTS z"), Value::Int(0));
    assert_eq!(client.command("ZREMRANGEBYRANK y 10 -11"), Value::Int(MANY as i64 - 20));
    assert_eq!(texts(&client.command("ZRANGE y 0 -1")).len(), 20);
    assert_eq!(client.command("XTRIM x MAXLEN 10"), Value::Int(MANY as i64 - 10));
    let left: Vec<usize> = (MANY - 10..MANY).collect();
    assert_eq!(entry_numbers(&client.command("XRANGE x - +")), left);
    assert_eq!(client.command("XTRIM w MINID 10001"), Value::Int(10_000));
    assert_eq!(entry_numbers(&client.command("XRANGE w - +")), (10_000..MANY).collect::<Vec<_>>());
    fill(&mut client, "SADD", "s");
    let all: HashSet<String> = texts(&client.command("SPOP s 1000000")).into_iter().collect();
    assert_eq!(all.len(), MEMBERS);
    assert_eq!(client.command("EXISTS s"), Value::Int(0));
}
