//! Plays a sequence to both servers and finds the first difference.

use std::collections::BTreeMap;
use std::fmt;

use crate::common::resp::escape;
use crate::common::{Client, Reply, Server, Value};
use crate::compare::{Compare, normal};
use crate::generate::{CONNECTIONS, DATABASES, SUBSCRIBERS, Step};

/// Something about each key of each database.
type Keyed<T> = BTreeMap<(i64, Vec<u8>), T>;

/// How many replays a shrinking may take.
const SHRINK_REPLAYS_MAX: usize = 600;
/// By how much two deadlines may differ: the time between the two commands, on a busy machine.
const DEADLINE_TOLERANCE_MS: u64 = 5_000;
/// SCAN rounds after which a cursor is said never to end.
const SCAN_ROUNDS_MAX: usize = 100_000;

/// The first difference of a sequence.
#[derive(Debug)]
pub struct Mismatch {
    what: String,
    tandem: String,
    redis: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "differs: {}\n  tandem: {}\n  redis:  {}", self.what, self.tandem, self.redis)
    }
}

/// Everything that is compared of a key at the end.
#[derive(Debug, PartialEq, Eq)]
struct Content {
    kind: Vec<u8>,
    encoding: Vec<u8>,
    value: Vec<Vec<u8>>,
}

struct Twin<'s> {
    server: &'s Server,
    protocol: u8,
    clients: Vec<Client>,
    fences: u64,
}

impl<'s> Twin<'s> {
    fn new(server: &'s Server, protocol: u8) -> Twin<'s> {
        Twin { server, protocol, clients: Vec::new(), fences: 0 }
    }

    /// An empty server and fresh connections.
    fn reset(&mut self) {
        self.clients.clear();
        self.fences = 0;
        let mut cleaner = self.server.client();
        let reply = cleaner.command("FLUSHALL");
        assert_eq!(reply, Value::Simple("OK".to_owned()), "FLUSHALL");
        for _ in 0..CONNECTIONS {
            let mut client = self.server.client();
            if self.protocol == 3 {
                let hello = client.command("HELLO 3");
                assert!(matches!(hello, Value::Map(_)), "HELLO 3 answered {hello:?}");
            }
            self.clients.push(client);
        }
        // The server has seen that the connections of the sequence before are gone when their subscriptions are.
        crate::common::wait_until("old subscriptions are gone", std::time::Duration::from_secs(10), || {
            cleaner.command("PUBSUB CHANNELS").items().is_empty()
                && cleaner.command("PUBSUB NUMPAT").int() == Some(0)
                && cleaner.command("PUBSUB SHARDCHANNELS").items().is_empty()
        });
    }

    fn run(&mut self, step: &Step) -> std::io::Result<Vec<Reply>> {
        if let Compare::Scan { cursor } = step.compare {
            return self.scan(&step.args, cursor).map(|reply| vec![reply]);
        }
        let client = &mut self.clients[step.connection];
        if !SUBSCRIBERS.contains(&step.connection) {
            return client.call(&step.args).map(|reply| vec![reply]);
        }
        // A subscriber gets any number of messages: all that come before the answer to this PING.
        self.fences += 1;
        let token = format!("fence-{}", self.fences);
        if !step.args.is_empty() {
            client.send(&step.args)?;
        }
        client.send(&["PING", &token])?;
        let mut replies = Vec::new();
        loop {
            let reply = client.read()?;
            let is_fence = reply.value.text() == token
                || reply.value.items().last().is_some_and(|last| last.text() == token);
            replies.push(reply);
            if is_fence {
                return Ok(replies);
            }
        }
    }

    /// Sends a batch of [`run_length`] without waiting; one alone is run by `receive`.
    fn send(&mut self, batch: &[Step]) -> std::io::Result<()> {
        if batch.len() == 1 {
            return Ok(());
        }
        let bytes: Vec<u8> = batch.iter().flat_map(|step| crate::common::resp::encode(&step.args)).collect();
        self.clients[batch[0].connection].send_raw(&bytes)
    }

    fn receive(&mut self, step: &Step, together: usize) -> std::io::Result<Vec<Reply>> {
        if together == 1 {
            return self.run(step);
        }
        self.clients[step.connection].read().map(|reply| vec![reply])
    }

    fn scan(&mut self, args: &[Vec<u8>], cursor: usize) -> std::io::Result<Reply> {
        let mut args = args.to_vec();
        let mut found = Vec::new();
        for _ in 0..SCAN_ROUNDS_MAX {
            let reply = self.clients[0].call(&args)?;
            let items = reply.value.items();
            let (Some(Value::Bulk(next)), Some(elements)) = (items.first(), items.get(1)) else {
                return Ok(reply);
            };
            found.extend(elements.items());
            if next == b"0" {
                found.sort();
                found.dedup();
                return Ok(Reply { raw: format!("{found:?}").into_bytes(), value: Value::Array(found) });
            }
            args[cursor].clone_from(next);
        }
        Err(std::io::Error::other("the cursor never came back to 0"))
    }

    /// All data of all databases used, and the deadlines.
    fn data(&self) -> (Keyed<Content>, Keyed<i64>) {
        let mut client = self.server.client();
        let (mut contents, mut deadlines) = (BTreeMap::new(), BTreeMap::new());
        for database in 0..DATABASES {
            client.command(&format!("SELECT {database}"));
            for key in client.command("KEYS *").items() {
                let Value::Bulk(key) = key else { panic!("KEYS answered {key:?}") };
                let mut ask = |args: &[&[u8]]| client.call(args).expect("reply");
                let kind = ask(&[b"TYPE", &key]);
                let mut encoding = ask(&[b"OBJECT", b"ENCODING", &key]).raw;
                // As `Compare::Encoding`.
                match (kind.value.text().as_str(), &encoding[..]) {
                    ("list", _) => encoding.clear(),
                    ("set", b"$8\r\nlistpack\r\n") => encoding = b"$9\r\nhashtable\r\n".to_vec(),
                    ("string", b"$3\r\nint\r\n") => encoding = b"$6\r\nembstr\r\n".to_vec(),
                    _ => {}
                }
                let value = match kind.value.text().as_str() {
                    "string" => vec![ask(&[b"GET", &key]).raw],
                    "list" => vec![ask(&[b"LRANGE", &key, b"0", b"-1"]).raw],
                    "set" => elements(&ask(&[b"SMEMBERS", &key]), 1),
                    "hash" => elements(&ask(&[b"HGETALL", &key]), 2),
                    "zset" => {
                        let pairs = ask(&[b"ZRANGE", &key, b"0", b"-1", b"WITHSCORES"]);
                        vec![format!("{:?}", normal(&pairs.value)).into_bytes()]
                    }
                    "stream" => vec![ask(&[b"XRANGE", &key, b"-", b"+"]).raw],
                    other => panic!("TYPE answered {other}"),
                };
                let deadline = ask(&[b"PEXPIRETIME", &key]).value.int().expect("a time");
                deadlines.insert((database, key.clone()), deadline);
                contents.insert((database, key), Content { kind: kind.raw, encoding, value });
            }
        }
        (contents, deadlines)
    }
}

/// What the first connection has queued, as redis-server answered.
#[derive(Default)]
struct Transaction {
    queued: Vec<Compare>,
}

impl Transaction {
    /// Whether both answered the same.
    fn check(
        &mut self,
        number: usize,
        step: &Step,
        ours: std::io::Result<Vec<Reply>>,
        theirs: &[Reply],
    ) -> Result<(), Mismatch> {
        let compare = self.of(step, theirs);
        let ours = match ours {
            Ok(replies) if agree(step, &compare, &replies, theirs) => return Ok(()),
            Ok(replies) => show(&replies),
            Err(error) => format!("no reply: {error}"),
        };
        Err(Mismatch { what: format!("step {number}: {step}"), tandem: ours, redis: show(theirs) })
    }

    /// How the elements of this reply are compared, if it is what an EXEC ran; notes what is queued.
    fn of(&mut self, step: &Step, theirs: &[Reply]) -> Option<Vec<Compare>> {
        if step.connection != 0 {
            return None;
        }
        match &theirs[0].value {
            Value::Simple(text) if text == "QUEUED" => {
                self.queued.push(step.compare);
                None
            }
            Value::Array(items) if step.is("EXEC") && items.len() == self.queued.len() => {
                Some(std::mem::take(&mut self.queued))
            }
            _ => {
                if ["EXEC", "DISCARD", "RESET"].iter().any(|name| step.is(name)) {
                    self.queued.clear();
                }
                None
            }
        }
    }
}

/// How many of the next steps may be sent at once: on one connection, each with one reply.
fn run_length(steps: &[Step], depth: usize) -> usize {
    let connection = steps[0].connection;
    let plain = |step: &&Step| {
        step.connection == connection
            && !SUBSCRIBERS.contains(&connection)
            && !matches!(step.compare, Compare::Scan { .. })
    };
    steps.iter().take(depth).take_while(plain).count().max(1)
}

fn agree(step: &Step, queued: &Option<Vec<Compare>>, ours: &[Reply], theirs: &[Reply]) -> bool {
    let Some(compares) = queued else {
        let waits = |replies: &[Reply]| replies[0].raw == b"+QUEUED\r\n";
        return (waits(ours) == waits(theirs)) && step.compare.agree(ours, theirs);
    };
    let (ours, theirs) =
        (crate::common::resp::elements(&ours[0].raw), crate::common::resp::elements(&theirs[0].raw));
    ours.len() == theirs.len()
        && compares.iter().zip(ours.iter().zip(&theirs)).all(|(compare, (ours, theirs))| {
            // One round of a cursor says nothing by itself.
            let compare = if matches!(compare, Compare::Scan { .. }) { Compare::Shape } else { *compare };
            compare.agree(std::slice::from_ref(ours), std::slice::from_ref(theirs))
        })
}

/// The elements of a collection that has no order, sorted; a hash's fields with their values.
fn elements(reply: &Reply, width: usize) -> Vec<Vec<u8>> {
    let items = reply.value.items();
    let mut rows: Vec<Vec<u8>> = items.chunks(width).map(|row| format!("{row:?}").into_bytes()).collect();
    rows.sort();
    rows
}

/// The two servers.
pub struct Twins<'s> {
    tandem: Twin<'s>,
    redis: Twin<'s>,
    /// Whether the encodings of the final data are compared.
    encodings: bool,
}

impl<'s> Twins<'s> {
    /// Both speak this protocol.
    pub fn new(tandem: &'s Server, redis: &'s Server, protocol: u8) -> Twins<'s> {
        Twins { tandem: Twin::new(tandem, protocol), redis: Twin::new(redis, protocol), encodings: true }
    }

    /// The final data may have other encodings.
    pub fn without_encodings(mut self) -> Twins<'s> {
        self.encodings = false;
        self
    }

    /// Plays a sequence to two empty servers.
    pub fn play(&mut self, steps: &[Step]) -> Result<(), Mismatch> {
        self.tandem.reset();
        self.redis.reset();
        let mut queued = Transaction::default();
        for (number, step) in steps.iter().enumerate() {
            let theirs = self.redis.run(step).unwrap_or_else(|error| panic!("redis-server: {step}: {error}"));
            let ours = self.tandem.run(step);
            queued.check(number, step, ours, &theirs)?;
        }
        self.compare_data()
    }

    /// The same with up to so many commands at once on a connection.
    pub fn play_pipelined(&mut self, steps: &[Step], depth: usize) -> Result<(), Mismatch> {
        self.tandem.reset();
        self.redis.reset();
        let mut queued = Transaction::default();
        let mut number = 0;
        while number < steps.len() {
            let together = run_length(&steps[number..], depth);
            let batch = &steps[number..number + together];
            // Both work at the same time.
            let sent = (self.redis.send(batch), self.tandem.send(batch));
            sent.0.unwrap_or_else(|error| panic!("redis-server: {}: {error}", batch[0]));
            for (at, step) in batch.iter().enumerate() {
                let theirs = self.redis.receive(step, together);
                let theirs = theirs.unwrap_or_else(|error| panic!("redis-server: {step}: {error}"));
                let ours = self.tandem.receive(step, together);
                queued.check(number + at, step, ours, &theirs)?;
            }
            number += together;
        }
        self.compare_data()
    }

    fn compare_data(&self) -> Result<(), Mismatch> {
        let (mut ours, our_deadlines) = self.tandem.data();
        let (mut theirs, their_deadlines) = self.redis.data();
        if !self.encodings {
            ours.values_mut().chain(theirs.values_mut()).for_each(|content| content.encoding.clear());
        }
        for key in ours.keys().chain(theirs.keys()) {
            if ours.get(key) != theirs.get(key) {
                return Err(Mismatch {
                    what: format!("data at the end: db {} key \"{}\"", key.0, escape(&key.1)),
                    tandem: show_content(ours.get(key)),
                    redis: show_content(theirs.get(key)),
                });
            }
            let (a, b) = (our_deadlines[key], their_deadlines[key]);
            if a != b && (a < 0 || b < 0 || a.abs_diff(b) > DEADLINE_TOLERANCE_MS) {
                return Err(Mismatch {
                    what: format!("deadline at the end: db {} key \"{}\"", key.0, escape(&key.1)),
                    tandem: a.to_string(),
                    redis: b.to_string(),
                });
            }
        }
        Ok(())
    }

    /// Takes away commands for as long as a difference remains.
    pub fn shrink(&mut self, steps: Vec<Step>, mismatch: Mismatch) -> (Vec<Step>, Mismatch) {
        // What only a pipeline shows is told as it was found.
        if self.play(&steps).is_ok() {
            return (steps, mismatch);
        }
        let (mut best, mut best_mismatch) = (steps, mismatch);
        let mut replays = 0;
        let mut width = best.len().div_ceil(2);
        while width > 0 {
            let (mut at, mut cut_any) = (0, false);
            while at < best.len() && replays < SHRINK_REPLAYS_MAX {
                let mut shorter = best.clone();
                shorter.drain(at..(at + width).min(best.len()));
                replays += 1;
                match self.play(&shorter) {
                    Err(mismatch) => {
                        (best, best_mismatch) = (shorter, mismatch);
                        cut_any = true;
                    }
                    Ok(()) => at += width,
                }
            }
            if replays >= SHRINK_REPLAYS_MAX || (width == 1 && !cut_any) {
                break;
            }
            width = if width == 1 { 1 } else { width / 2 };
        }
        (best, best_mismatch)
    }
}

fn show(replies: &[Reply]) -> String {
    let text = replies.iter().map(|reply| escape(&reply.raw)).collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(600) {
        Some((end, _)) => format!("{}…({} bytes)", &text[..end], text.len()),
        None => text,
    }
}

fn show_content(content: Option<&Content>) -> String {
    let Some(content) = content else {
        return "no such key".to_owned();
    };
    let mut text = format!("{} {}", escape(&content.kind), escape(&content.encoding));
    for row in &content.value {
        text.push(' ');
        text.push_str(&escape(&row[..row.len().min(300)]));
    }
    text
}
