//! Bad input: every command of tandem's table with wrong arity, wrong types and wrong numbers.
//!
//! The calls are made from the table: the least that the syntax allows, and the same with each optional part; then
//! one argument is missing, one is too many, keys have another type, or one argument is an odd number. Where
//! redis-server knows the command its error has to be the same; where it does not, an answer has to come.

use tandem::commands::command::{Command, Flags};
use tandem::commands::syntax::{self, Arg, Kind};
use tandem::commands::table;

use crate::common::resp::escape;
use crate::common::{Client, Options, Reply, Server, Value};

/// What stands in the place of an argument.
const ODD: &[&[u8]] = &[
    b"",
    b"abc",
    b"-1",
    b"0",
    b"-0",
    b"1.5",
    b"nan",
    b"inf",
    b"-inf",
    b"1e400",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"99999999999999999999",
    b"4294967296",
    b" 1",
    b"1 ",
    b"0x10",
    b"\0",
    b"\xff\xfe",
];

/// A key of each type, and one that is not there.
const KEYS: &[&str] = &["string", "list", "set", "hash", "zset", "stream", "none"];

/// Makes the keys.
const DATA: &[&str] = &[
    "SELECT 0",
    "DEL string list set hash zset stream none a",
    "SET string 10",
    "RPUSH list 1 2",
    "SADD set 1 2",
    "HSET hash a 1",
    "ZADD zset 1 a",
    "XADD stream 1-1 a 1",
];

/// Commands that are not called, with the reason. A container stands for all its subcommands.
const NOT_CALLED: &[(&str, &str)] = &[
    ("client|kill", "ends the connection"),
    ("client|pause", "holds the connection up"),
    ("client|reply", "silences the connection"),
    ("config|rewrite", "writes the configuration file"),
    ("config|set", "the error names the setting that failed, compared in group server"),
    ("debug", "has no limits: sleeps, crashes, changes the server"),
    ("failover", "changes the server's role"),
    ("hello", "changes the protocol; compared in group connection"),
    ("lolwut", "tandem's own picture with its own arguments"),
    ("monitor", "streams for ever"),
    ("psubscribe", "subscribes; compared in group pubsub"),
    ("psync", "streams for ever"),
    ("punsubscribe", "answers by channel; compared in group pubsub"),
    ("bgrewriteaof", "starts a process of its own in Redis"),
    ("bgsave", "starts a process of its own in Redis"),
    ("exec", "EXECABORT is compared in group transaction"),
    ("quit", "ends the connection"),
    ("replicaof", "changes the server's role"),
    ("replconf", "internal"),
    ("shutdown", "ends the server"),
    ("slaveof", "changes the server's role"),
    ("ssubscribe", "subscribes; compared in group pubsub"),
    ("subscribe", "subscribes; compared in group pubsub"),
    ("sunsubscribe", "answers by channel; compared in group pubsub"),
    ("sync", "streams for ever"),
    ("unsubscribe", "answers by channel; compared in group pubsub"),
];

/// Where 7.2 answers otherwise than the redis-server that is compared with: where one of them refuses, the other may
/// accept, or refuse in other words.
const NEWER: &[(&str, &str)] = &[
    ("blmove", "huge time-outs have a new text"),
    ("blmpop", "huge time-outs have a new text"),
    ("blpop", "huge time-outs have a new text"),
    ("brpop", "huge time-outs have a new text"),
    ("brpoplpush", "huge time-outs have a new text"),
    ("bzmpop", "huge time-outs have a new text"),
    ("bzpopmax", "huge time-outs have a new text"),
    ("bzpopmin", "huge time-outs have a new text"),
    ("command|getkeys", "takes one argument less"),
    ("command|getkeysandflags", "takes one argument less"),
    ("lpos", "the lowest rank is refused"),
    ("wait", "huge time-outs are refused"),
    ("xread", "new text for unbalanced lists; huge time-outs are refused"),
    ("xreadgroup", "new text for unbalanced lists; huge time-outs are refused"),
    ("zrank", "WITHSCORE is new"),
    ("zrevrank", "WITHSCORE is new"),
];

fn reason<'r>(list: &[(&str, &'r str)], name: &str) -> Option<&'r str> {
    let container = name.split('|').next().unwrap_or(name);
    list.iter().find(|(entry, _)| *entry == name || *entry == container).map(|(_, why)| *why)
}

/// The least that an argument takes, or with optional parts up to a number of them: `parts` counts down.
fn fill(arg: &Arg<'_>, key: &str, parts: &mut usize, out: &mut Vec<Vec<u8>>) {
    if arg.optional {
        if *parts == 0 {
            return;
        }
        *parts -= 1;
        // Only the last one is taken.
        if *parts > 0 {
            return;
        }
    }
    if let Some(token) = arg.token {
        out.push(token.into());
    }
    match arg.kind {
        Kind::PureToken => {}
        Kind::OneOf => {
            if let Some(first) = arg.args.first() {
                fill(first, key, parts, out);
            }
        }
        Kind::Block => arg.args.iter().for_each(|arg| fill(arg, key, parts, out)),
        Kind::Key => out.push(key.into()),
        Kind::Integer => out.push(b"1".to_vec()),
        Kind::Double => out.push(b"1.5".to_vec()),
        Kind::UnixTime => out.push(b"4000000000".to_vec()),
        _ => out.push(b"a".to_vec()),
    }
}

/// How many optional parts a list of arguments has.
fn optional_parts(args: &[Arg<'_>]) -> usize {
    args.iter().map(|arg| usize::from(arg.optional) + optional_parts(&arg.args)).sum()
}

/// All calls of one command.
fn calls(name: &str, command: &Command) -> Vec<Vec<Vec<u8>>> {
    let words: Vec<Vec<u8>> = name.split('|').map(|word| word.as_bytes().to_vec()).collect();
    let args = syntax::parse(command.syntax).expect("syntax of the row");
    let valid = |key: &str, parts: usize| {
        let mut out = words.clone();
        let mut left = parts;
        args.iter().for_each(|arg| fill(arg, key, &mut left, &mut out));
        out
    };
    let mut calls = Vec::new();
    let least = valid("string", 0);
    // Arity: from the bare name to two more than it takes.
    calls.extend((words.len()..=least.len()).map(|length| least[..length].to_vec()));
    calls.extend((1..=2).map(|more| [least.clone(), vec![b"x".to_vec(); more]].concat()));
    let own = KEYS.iter().find(|key| command.group_keys().contains(key)).unwrap_or(&"string");
    for parts in 0..=optional_parts(&args) {
        calls.extend(KEYS.iter().map(|key| valid(key, parts)));
        let good = valid(own, parts);
        calls.push([good.clone(), vec![b"x".to_vec()]].concat());
        for at in words.len()..good.len() {
            calls.extend(ODD.iter().map(|odd| {
                let mut bad = good.clone();
                bad[at] = odd.to_vec();
                bad
            }));
        }
    }
    calls.sort();
    calls.dedup();
    calls
}

trait GroupKeys {
    /// The names of the keys that the command is meant for.
    fn group_keys(&self) -> &'static [&'static str];
}

impl GroupKeys for Command {
    fn group_keys(&self) -> &'static [&'static str] {
        match self.group.name() {
            "list" => &["list"],
            "set" => &["set"],
            "hash" => &["hash"],
            "sorted-set" | "geo" => &["zset"],
            "stream" => &["stream"],
            _ => &["string"],
        }
    }
}

struct Caller<'s> {
    server: &'s Server,
    client: Client,
}

impl<'s> Caller<'s> {
    fn new(server: &'s Server) -> Caller<'s> {
        Caller { server, client: server.client() }
    }

    /// The reply, of EXEC if the command could wait otherwise.
    fn call(&mut self, args: &[Vec<u8>], in_transaction: bool) -> Vec<Reply> {
        let mut send = Vec::new();
        let mut expected = 1;
        if in_transaction {
            send.extend(crate::common::resp::encode(&["MULTI"]));
        }
        send.extend(crate::common::resp::encode(args));
        if in_transaction {
            send.extend(crate::common::resp::encode(&["EXEC"]));
            expected = 3;
        }
        let read = |client: &mut Client| {
            client.send_raw(&send)?;
            (0..expected).map(|_| client.read()).collect::<std::io::Result<Vec<Reply>>>()
        };
        read(&mut self.client).unwrap_or_else(|error| {
            panic!("no reply to {}: {error}; log:\n{}", show(args), self.server.log())
        })
    }

    fn set_up(&mut self) {
        let bytes: Vec<u8> = DATA
            .iter()
            .flat_map(|line| crate::common::resp::encode(&line.split(' ').collect::<Vec<_>>()))
            .collect();
        self.client.send_raw(&bytes).expect("send");
        for line in DATA {
            let reply = self.client.read().expect("reply");
            assert!(!matches!(reply.value, Value::Error(_)), "{line}: {reply:?}");
        }
    }
}

fn show(args: &[Vec<u8>]) -> String {
    args.iter().map(|arg| format!("\"{}\"", escape(arg))).collect::<Vec<_>>().join(" ")
}

fn is_error(replies: &[Reply]) -> bool {
    replies.iter().any(|reply| reply.raw.starts_with(b"-") || reply.raw.windows(3).any(|w| w == b"\n-E"))
}

fn same(ours: &[Reply], theirs: &[Reply]) -> bool {
    let kind = |reply: &Reply| match &reply.value {
        Value::Error(text) => (b'-', text.clone()),
        Value::Null => (b'_', String::new()),
        _ => (reply.raw[0], String::new()),
    };
    let flat = |replies: &[Reply]| -> Vec<(u8, String)> {
        let inner = replies.iter().flat_map(|reply| match replies.len() {
            1 => vec![reply.clone()],
            _ if reply.raw.starts_with(b"*") => crate::common::resp::elements(&reply.raw),
            _ => vec![reply.clone()],
        });
        inner.map(|reply| kind(&reply)).collect()
    };
    flat(ours) == flat(theirs)
}

#[test]
fn every_command_refuses_bad_arguments_as_redis_does() {
    let tandem = Options::tandem().start();
    let redis = Options::redis().start();
    let (mut ours, mut theirs) = (Caller::new(&tandem), Caller::new(&redis));
    let only = std::env::var("TANDEM_DIFF_COMMAND").unwrap_or_default();
    let (mut made, mut wrong) = (0, Vec::new());
    for id in 0..table::all().len() {
        let id = u16::try_from(id).expect("fits");
        let (name, command) = (table::full_name(id).into_owned(), table::all()[usize::from(id)]);
        let chosen = only.is_empty() || only.split(',').any(|prefix| name.starts_with(prefix));
        if !command.subcommands.is_empty() || reason(NOT_CALLED, &name).is_some() || !chosen {
            continue;
        }
        let waits = command.flags.contains(Flags::BLOCKING) || name.starts_with("wait");
        let mut changed = true;
        for args in calls(&name, command) {
            if changed {
                ours.set_up();
                theirs.set_up();
            }
            made += 1;
            let (our_reply, their_reply) = (ours.call(&args, waits), theirs.call(&args, waits));
            changed = !is_error(&our_reply) || !is_error(&their_reply);
            if !agrees(&name, command, &args, &our_reply, &their_reply) {
                wrong.push(format!("{}\n  tandem: {our_reply:?}\n  redis:  {their_reply:?}", show(&args)));
            }
        }
    }
    assert!(!tandem.log().contains("panic"), "{}", tandem.log());
    assert!(made > 2_000 || !only.is_empty(), "only {made} calls were made");
    // A few of each command.
    let mut shown: Vec<&str> = Vec::new();
    for group in wrong.chunk_by(|a, b| a.split('"').nth(1) == b.split('"').nth(1)) {
        shown.extend(group.iter().take(5).map(String::as_str));
    }
    assert!(wrong.is_empty(), "{} of {made} calls differ, some of them:\n{}", wrong.len(), shown.join("\n"));
}

fn agrees(name: &str, command: &Command, args: &[Vec<u8>], ours: &[Reply], theirs: &[Reply]) -> bool {
    let text =
        |replies: &[Reply]| String::from_utf8_lossy(&replies[replies.len().min(2) - 1].raw).into_owned();
    let (our_text, their_text) = (text(ours), text(theirs));
    let unknown = their_text.contains("unknown command") || their_text.contains("unknown subcommand");
    if unknown || our_text.contains("not built yet") {
        // Nothing to compare with: but what has the wrong number of arguments is refused.
        return command.arity.accepts(args.len()) || is_error(ours);
    }
    let newer = reason(NEWER, name).is_some();
    same(ours, theirs) || newer && (is_error(ours) || is_error(theirs))
}
