//! What goes on beside the connections with models: keys that expire, rounds of SCAN, a client that waits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::common::rng::Rng;
use crate::common::{Client, Server, Value, now_ms, wait_until};

/// Keys that nobody changes.
pub const LASTING: usize = 500;
/// Names of keys with deadlines.
const MORTAL: usize = 2_000;
/// Longest time to live, in milliseconds.
const LIFE_MAX: usize = 400;
/// What a wait for a push is bounded by, in seconds: more than a reply may take.
const WAIT_S: &str = "15";

/// The name of a key that stays.
pub fn lasting(n: usize) -> Vec<u8> {
    format!("stays:{n}").into_bytes()
}

pub fn store_lasting(client: &mut Client) {
    for n in 0..LASTING {
        let reply = client.call(&[b"SET".as_slice(), &lasting(n), b"x"]).expect("a reply");
        assert_eq!(reply.value.text(), "OK");
    }
}

/// SCAN gives each key that stays once and only once in each round, whatever becomes of the tables meanwhile.
pub fn scan(server: &Server, stop: &AtomicBool) {
    let mut client = server.client();
    while !stop.load(Relaxed) {
        let mut seen = [0_u8; LASTING];
        let mut cursor = "0".to_owned();
        loop {
            let reply = client.command(&format!("SCAN {cursor} COUNT 500")).items();
            for name in reply[1].items() {
                if let Some(n) = name.text().strip_prefix("stays:") {
                    seen[n.parse::<usize>().expect("a number")] += 1;
                }
            }
            cursor = reply[0].text();
            if cursor == "0" {
                break;
            }
        }
        assert!(seen.iter().all(|times| *times == 1), "{seen:?}");
    }
}

/// A key with a deadline: what it holds, and from when until when it may end, in unix milliseconds.
struct Mortal {
    value: Vec<u8>,
    earliest: u64,
    latest: u64,
}

/// A key is there until its deadline and not afterwards, by the clock that client and server share. What lies between the
/// two readings that are sure is not judged.
pub fn expire(server: &Server, seed: u64, end: Instant) {
    let mut client = server.client();
    let mut rng = Rng::new(seed ^ 0xE0);
    let mut there: HashMap<usize, Mortal> = HashMap::new();
    let name = |n: usize| format!("mortal:{n}").into_bytes();
    while Instant::now() < end {
        let n = rng.below(MORTAL);
        if rng.chance(50) {
            let life = 1 + rng.below(LIFE_MAX);
            let len = if rng.chance(5) { 3_000 } else { rng.below(200) };
            let value = rng.bytes(len);
            let (before, text) = (now_ms(), life.to_string());
            let words = [b"SET".as_slice(), &name(n), &value, b"PX", text.as_bytes()];
            assert_eq!(client.call(&words).expect("a reply").value.text(), "OK");
            let (earliest, latest) = (before + life as u64, now_ms() + life as u64);
            there.insert(n, Mortal { value, earliest, latest });
            continue;
        }
        let before = now_ms();
        let found = client.call(&[b"GET".as_slice(), &name(n)]).expect("a reply").value;
        let after = now_ms();
        match there.get(&n) {
            Some(mortal) if after < mortal.earliest => {
                assert_eq!(found, Value::Bulk(mortal.value.clone()), "{n} ended too early");
            }
            Some(mortal) if before <= mortal.latest => {
                assert!(found == Value::Null || found == Value::Bulk(mortal.value.clone()), "{n}");
            }
            _ => assert_eq!(found, Value::Null, "{n} is there after its time"),
        }
    }
    let longest = Duration::from_secs(60);
    wait_until("all keys with deadlines are gone", longest, || {
        let names = client.command("SCAN 0 MATCH mortal:* COUNT 10000000").items();
        names[1].items().is_empty()
    });
}

/// A client gets what another one pushes, in order, whether it waits already or comes later.
pub fn wait(server: &Server, stop: &AtomicBool) {
    let (mut pusher, mut popper) = (server.client(), server.client());
    let mut n = 0_u64;
    while !stop.load(Relaxed) {
        let list = format!("queue:{}", n % 7);
        let push = format!("RPUSH {list} {n} {}", n + 1);
        let pop = format!("BLPOP {list} {WAIT_S}");
        let early = n.is_multiple_of(4);
        if early {
            popper.send_raw(format!("{pop}\r\n").as_bytes()).expect("send");
        }
        // Of two elements for a client that waits one is left when the push is answered, or both are still there.
        assert_eq!(pusher.command(&push).int(), Some(2));
        for expected in [n, n + 1] {
            let popped = if early && expected == n {
                popper.read().expect("a reply").value
            } else {
                popper.command(&pop)
            };
            let words: Vec<String> = popped.items().iter().map(Value::text).collect();
            assert_eq!(words, [list.clone(), expected.to_string()]);
        }
        n += 2;
    }
}
