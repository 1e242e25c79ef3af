//! Collections of thousands of elements beside redis-server: whole replies while another client writes, and copies.
//!
//! Such a reply goes out in pieces from a snapshot, so each write that comes between its pieces must not be seen in it.
//! `TANDEM_DIFF_LARGE_STEPS` says how many writes and reads there are.

use crate::common::rng::Rng;
use crate::common::{Client, Options, Server, Value, env_number};

const KINDS: [&str; 5] = ["list", "set", "hash", "zset", "stream"];
/// Elements that one command adds or takes away at most.
const AT_ONCE: usize = 3000;
/// Numbers that elements are named by.
const NUMBERS: usize = 20_000;

type Args = Vec<String>;

fn words(text: &str) -> Args {
    text.split(' ').map(str::to_owned).collect()
}

/// What a client does to both servers.
struct Both {
    clients: [Client; 2],
}

impl Both {
    fn new(servers: &[Server; 2]) -> Both {
        Both { clients: servers.each_ref().map(Server::client) }
    }

    fn send(&mut self, args: &[String]) {
        self.clients.iter_mut().for_each(|client| client.send(args).expect("send"));
    }

    fn replies(&mut self) -> [Value; 2] {
        self.clients.each_mut().map(|client| client.read().expect("a reply").value)
    }

    fn same(&mut self, args: &[String]) {
        self.send(args);
        self.compare(args);
    }

    fn compare(&mut self, args: &[String]) {
        let [ours, theirs] = self.replies().map(|reply| ordered(&args[0], reply));
        // Not `assert_eq`, which would print all of them.
        if ours != theirs {
            let at = ours.iter().zip(&theirs).position(|(a, b)| a != b);
            let shown: Vec<&String> = args.iter().take(6).collect();
            panic!("{shown:?}: {} and {} elements, other ones from {at:?} on", ours.len(), theirs.len());
        }
    }
}

/// What a reply says, in an order of its own where it has none.
fn ordered(verb: &str, reply: Value) -> Vec<String> {
    let mut items = Vec::new();
    flatten(&reply, &mut items);
    match verb {
        "SMEMBERS" | "HKEYS" | "HVALS" => items.sort(),
        "HGETALL" => {
            let mut pairs: Vec<String> = items.chunks(2).map(|pair| pair.join("=")).collect();
            pairs.sort();
            return pairs;
        }
        _ => {}
    }
    items
}

fn flatten(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| flatten(item, out)),
        Value::Int(n) => out.push(n.to_string()),
        other => out.push(other.text()),
    }
}

/// Draws commands; what it remembers is the id of the next entry of a stream.
struct Script {
    rng: Rng,
    next_id: usize,
}

impl Script {
    fn key(&mut self, kind: &str) -> String {
        if self.rng.chance(25) { format!("{kind}:copy") } else { kind.to_owned() }
    }

    fn numbers(&mut self, most: usize) -> std::ops::Range<usize> {
        let (from, count) = (self.rng.below(NUMBERS), 1 + self.rng.below(most));
        from..from + count
    }

    /// One command that changes a collection of this kind, or several for a stream.
    fn write(&mut self, kind: &str) -> Vec<Args> {
        let key = self.key(kind);
        let most = if self.rng.chance(50) { AT_ONCE } else { 10 };
        let numbers = self.numbers(most);
        let name = |i: usize| format!("element:{}", i % NUMBERS);
        let put = |verb: &str, element: &dyn Fn(usize) -> Vec<String>| {
            vec![[words(&format!("{verb} {key}")), numbers.clone().flat_map(element).collect()].concat()]
        };
        let seed = self.rng.below(100);
        let one = |text: String| vec![words(&text)];
        match (kind, seed) {
            (_, 0..12) => one(format!("COPY {kind} {kind}:copy REPLACE")),
            (_, 12..18) => one(format!("COPY {kind}:copy {kind} REPLACE")),
            ("list", ..45) => put("RPUSH", &|i| vec![name(i)]),
            ("list", ..65) => put("LPUSH", &|i| vec![name(i)]),
            ("list", ..75) => one(format!("LPOP {key} {}", numbers.len())),
            ("list", ..85) => one(format!("LTRIM {key} {} -{}", seed, seed * 7)),
            ("list", _) => one(format!("LSET {key} {} changed", numbers.start % 5000)),
            ("set", ..65) => put("SADD", &|i| vec![name(i)]),
            ("set", _) => put("SREM", &|i| vec![name(i)]),
            ("hash", ..65) => put("HSET", &|i| vec![name(i), format!("{seed}:{i}")]),
            ("hash", ..90) => put("HDEL", &|i| vec![name(i)]),
            ("hash", _) => one(format!("HINCRBY {key} counter {seed}")),
            ("zset", ..65) => put("ZADD", &|i| vec![(i * 7919 % 1000 + seed).to_string(), name(i)]),
            ("zset", ..80) => put("ZREM", &|i| vec![name(i)]),
            ("zset", ..90) => {
                one(format!("ZREMRANGEBYRANK {key} {} {}", numbers.start % 3000, numbers.start))
            }
            ("zset", _) => one(format!("ZINCRBY {key} 3 {}", name(numbers.start))),
            ("stream", ..75) => {
                let entry = |_| {
                    self.next_id += 1;
                    words(&format!("XADD {key} {}-1 field {}", self.next_id, name(self.next_id)))
                };
                (0..numbers.len()).map(entry).collect()
            }
            ("stream", ..85) => one(format!("XTRIM {key} MAXLEN {}", 2000 + numbers.len())),
            _ => one(format!("XDEL {key} {}-1 {}-1", self.next_id / 2, self.next_id - self.next_id / 3)),
        }
    }

    /// A command whose reply is nearly all of a collection.
    fn read(&mut self, kind: &str) -> Args {
        let key = self.key(kind);
        let skip = self.rng.below(50);
        let forms: &[String] = &match kind {
            "list" => vec![format!("LRANGE {key} 0 -1"), format!("LRANGE {key} {skip} -{}", 1 + skip)],
            "set" => vec![format!("SMEMBERS {key}")],
            "hash" => vec![format!("HGETALL {key}"), format!("HKEYS {key}"), format!("HVALS {key}")],
            "zset" => vec![
                format!("ZRANGE {key} 0 -1 WITHSCORES"),
                format!("ZRANGE {key} {skip} -1 REV"),
                format!("ZRANGEBYSCORE {key} {skip} +inf"),
                format!("ZREVRANGEBYSCORE {key} +inf ({skip} WITHSCORES"),
            ],
            _ => vec![
                format!("XRANGE {key} - +"),
                format!("XREVRANGE {key} + {skip}"),
                format!("XREAD COUNT 100000 STREAMS {key} {key} 0 {skip}"),
            ],
        };
        words(&forms[self.rng.below(forms.len())])
    }
}

#[test]
fn large_collections_are_read_whole_while_others_write() {
    let servers = [Options::tandem().workers(2).start(), Options::redis().start()];
    let (mut reader, mut writer) = (Both::new(&servers), Both::new(&servers));
    let seed = env_number("TANDEM_DIFF_SEED", 1);
    let mut script = Script { rng: Rng::new(seed), next_id: 0 };
    for kind in KINDS {
        for _ in 0..4 {
            script.write(kind).iter().for_each(|args| writer.same(args));
        }
    }
    for step in 0..env_number("TANDEM_DIFF_LARGE_STEPS", 40) {
        let kind = KINDS[script.rng.below(KINDS.len())];
        let whole = script.read(kind);
        // Sent as one: when the first is answered, the second has been run, and the first piece of its reply written.
        let both =
            [words(&format!("ECHO {step}")), whole.clone()].map(|args| crate::common::resp::encode(&args));
        reader.clients.iter_mut().for_each(|client| client.send_raw(&both.concat()).expect("send"));
        assert!(reader.replies().iter().all(|echo| echo.text() == step.to_string()));
        for _ in 0..1 + script.rng.below(4) {
            let kind = if script.rng.chance(70) { kind } else { KINDS[script.rng.below(KINDS.len())] };
            let commands = script.write(kind);
            commands.iter().for_each(|args| writer.send(args));
            commands.iter().for_each(|args| writer.compare(args));
        }
        reader.compare(&whole);
    }
    for kind in KINDS {
        let whole = script.read(kind);
        reader.same(&whole);
    }
}
