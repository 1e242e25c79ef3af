//! Small collections that are left alone come into their keys' entries: they take less memory, and nobody notices.

mod common;

use std::time::Duration;

use common::{Client, Options, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);
/// Enough of them for a walk.
const EACH: usize = 50;

fn make(n: usize) -> [String; 5] {
    [
        format!("HSET hash:{n} name:{n} value one 1"),
        format!("RPUSH list:{n} first:{n} second 3 fourth"),
        format!("SADD set:{n} red:{n} green blue"),
        format!("SADD ints:{n} {n} 70000 3"),
        format!("ZADD zset:{n} 1.5 low:{n} 2 high"),
    ]
}

fn usage(client: &mut Client, key: &str) -> i64 {
    client.command(&format!("MEMORY USAGE {key}")).int().expect("a number")
}

fn usages(client: &mut Client) -> Vec<i64> {
    ["hash", "list", "set", "ints", "zset"].map(|kind| usage(client, &format!("{kind}:7"))).to_vec()
}

fn texts(client: &mut Client, command: &str) -> Vec<String> {
    client.command(command).items().iter().map(|item| item.text()).collect()
}

/// Changes of elements wherever they stand, and what is left then.
#[test]
fn collections_are_packed_a_few_seconds_after_the_last_change_and_unpacked_by_the_next() {
    let server = Options::tandem().set("enable-debug-command", "yes").start();
    let mut client = server.client();
    (0..EACH)
        .flat_map(make)
        .for_each(|command| assert!(client.command(&command).int().is_some(), "{command}"));
    let (digest, before) = (client.command("DEBUG DIGEST"), usages(&mut client));
    let told = format!("engine_packed_collections:{}\r\n", 5 * EACH);
    wait_until("all are packed", PATIENCE, || client.command("INFO engines").text().contains(&told));
    let packed = usages(&mut client);
    assert!(packed.iter().zip(&before).all(|(now, before)| now < before), "{packed:?} after {before:?}");
    assert_eq!(client.command("DEBUG DIGEST"), digest);
    let encodings = ["hash", "list", "set", "ints", "zset"]
        .map(|kind| client.command(&format!("OBJECT ENCODING {kind}:7")).text());
    assert_eq!(encodings, ["listpack", "listpack", "listpack", "intset", "listpack"]);

    assert_eq!(texts(&mut client, "LRANGE list:7 0 -1"), ["first:7", "second", "3", "fourth"]);
    // As long as it was: written over.
    assert_eq!(client.command("LSET list:7 1 SECOND").text(), "OK");
    assert_eq!(usages(&mut client), packed);
    for (command, answer) in [
        ("HSET hash:7 another field", 1),
        ("LPUSH list:7 zeroth", 5),
        ("SADD set:7 yellow", 1),
        ("SADD ints:7 -5", 1),
        ("ZADD zset:7 0.5 lowest", 1),
    ] {
        assert_eq!(client.command(command).int(), Some(answer), "{command}");
    }
    assert_eq!(texts(&mut client, "LRANGE list:7 0 -1"), ["zeroth", "first:7", "SECOND", "3", "fourth"]);
    assert_eq!(texts(&mut client, "ZRANGE zset:7 0 -1"), ["lowest", "low:7", "high"]);
    assert_eq!(texts(&mut client, "SINTER ints:7 ints:7"), ["-5", "3", "7", "70000"]);
    assert!(usages(&mut client).iter().zip(&packed).all(|(now, packed)| now > packed), "out of line again");
}

/// MEMORY PURGE packs what was changed just now, too.
#[test]
fn everything_that_can_be_done_to_a_collection_can_be_done_to_a_packed_one() {
    let server = Options::tandem().set("enable-debug-command", "yes").start();
    let mut client = server.client();
    let mut packed = |command: &str| {
        assert_eq!(client.command("FLUSHALL").text(), "OK");
        (0..2).flat_map(make).for_each(|command| drop(client.command(&command)));
        let before = usage(&mut client, "hash:1");
        assert_eq!(client.command("MEMORY PURGE").text(), "OK");
        wait_until("it is packed", PATIENCE, || usage(&mut client, "hash:1") < before);
        (client.command(command), client.command("DEBUG DIGEST"))
    };
    // The same, out of line.
    let server = Options::tandem().set("enable-debug-command", "yes").start();
    let mut other = server.client();
    for command in [
        "DEL hash:1 list:1",
        "RENAME hash:1 list:1",
        "COPY zset:0 zset:5",
        "COPY set:0 set:1 REPLACE",
        "EXPIRE ints:1 1000",
        "PERSIST ints:1",
        "SET list:1 text",
        "SETRANGE list:1 3 text",
        "GET set:1",
        "HPEXPIRE hash:1 100000 FIELDS 1 one",
        "HINCRBY hash:1 one 8",
        "HINCRBY hash:1 one 800",
        "HDEL hash:1 one name:1",
        "LMOVE list:0 list:1 LEFT RIGHT",
        "LREM list:1 0 second",
        "LTRIM list:1 5 6",
        "SMOVE set:0 set:1 red:0",
        "SUNIONSTORE set:1 set:0 ints:0",
        "ZINTERSTORE zset:1 2 zset:0 set:0",
        "ZINCRBY zset:0 7 high",
        "SORT ints:1 BY nosort STORE list:1",
        "SWAPDB 0 1",
        "DUMP zset:1",
        "OBJECT FREQ set:0",
        "SSCAN ints:0 0",
        "DEBUG RELOAD",
        "RANDOMKEY x",
    ] {
        assert_eq!(other.command("FLUSHALL").text(), "OK");
        (0..2).flat_map(make).for_each(|command| drop(other.command(&command)));
        let expected = (other.command(command), other.command("DEBUG DIGEST"));
        assert_eq!(packed(command), expected, "{command}");
    }
}
