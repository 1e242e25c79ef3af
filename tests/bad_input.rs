//! Hostile and broken input: afterwards the server serves as before, and has kept neither memory nor descriptors.
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

mod common;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::rng::Rng;
use common::{Options, Server, Value, env_number, resp, wait_until};

/// Connections that stay open with half a frame while others come.
const LINGERING_MAX: usize = 100;
/// Growth of resident memory that is put down to buffers and allocator, not to a leak.
const GROWTH_KIB_MAX: u64 = 24 * 1024;
const PATIENCE: Duration = Duration::from_secs(20);

/// Announcements that no frame may make true.
const ANNOUNCED: &[&str] = &[
    "*1000000000\r\n",
    "*2147483648\r\n",
    "*-2147483649\r\n",
    "*9223372036854775808\r\n",
    "*1048577\r\n",
    "*+1\r\n$4\r\nPING\r\n",
    "*01\r\n$4\r\nPING\r\n",
    "* 1\r\n$4\r\nPING\r\n",
    "*\r\n",
    "*-1\r\n",
    "*0\r\n",
    "*abc\r\n",
    "*1\r\n$-1\r\n",
    "*1\r\n$-5\r\n",
    "*1\r\n$+4\r\nPING\r\n",
    "*1\r\n$04\r\nPING\r\n",
    "*1\r\n$536870913\r\n",
    "*1\r\n$4294967296\r\n",
    "*1\r\n$99999999999999999999\r\n",
    "*1\r\n$\r\n",
    "*1\r\n:4\r\nPING\r\n",
    "*1\r\n*1\r\n$4\r\nPING\r\n",
    "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc",
    "$4\r\nPING\r\n",
    "GET \"unbalanced\r\n",
    "GET 'a'b\r\n",
    "SET k \"\\xZZ\"\r\n",
    "\r\n\r\n\r\n",
    "\n",
    "\0\0\0\0\r\n",
];

fn valid(rng: &mut Rng) -> Vec<u8> {
    let length = rng.below(300);
    let blob = rng.bytes(length);
    let key = format!("bad:{}", rng.below(50)).into_bytes();
    match rng.below(6) {
        0 => resp::encode(&["PING"]),
        1 => resp::encode(&[b"SET".to_vec(), key, blob]),
        2 => resp::encode(&[b"GET".to_vec(), key]),
        3 => resp::encode(&[b"ECHO".to_vec(), blob]),
        4 => resp::encode(&[b"MGET".to_vec(), key.clone(), key]),
        _ => b"PING inline\r\n".to_vec(),
    }
}

fn frame(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..rng.below(3) {
        bytes.extend(valid(rng));
    }
    match rng.below(10) {
        0 => {
            let length = 1 + rng.below(2000);
            bytes.extend(rng.bytes(length));
        }
        1..=3 => bytes.extend_from_slice(rng.pick(ANNOUNCED).as_bytes()),
        4 | 5 => {
            let whole = valid(rng);
            bytes.extend_from_slice(&whole[..rng.below(whole.len())]);
        }
        6 | 7 => {
            let mut whole = valid(rng);
            for _ in 0..1 + rng.below(4) {
                let at = rng.below(whole.len());
                whole[at] = rng.next() as u8;
            }
            bytes.extend(whole);
        }
        8 => {
            let length = 60_000 + rng.below(20_000);
            let fill = *b"xX \"".get(rng.below(4)).unwrap_or(&b'x');
            bytes.extend(std::iter::repeat_n(fill, length));
        }
        _ => {
            let count = 1 + rng.below(2000);
            bytes.extend(format!("*{}\r\n", count + 1).into_bytes());
            bytes.extend(std::iter::repeat_n(&b"$1\r\nx\r\n"[..], count).flatten());
        }
    }
    bytes
}

/// Sends a frame; the server may close at any time, so a failing write is an answer too.
fn throw(server: &Server, rng: &mut Rng) -> UnixStream {
    let mut stream = server.stream().expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("time-out");
    stream.set_write_timeout(Some(PATIENCE)).expect("time-out");
    let bytes = frame(rng);
    let cut = rng.below(bytes.len() + 1);
    let _ = stream.write_all(&bytes[..cut]).and_then(|()| stream.write_all(&bytes[cut..]));
    stream
}

/// After our end is closed, the server must close its own.
fn finish(mut stream: UnixStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::ConnectionReset,
            "the server keeps a closed connection: {error}"
        );
    }
}

/// Descriptors that a process may still open for itself after its first answer.
const STARTING_UP: usize = 16;

#[test]
fn ten_thousand_bad_frames_leave_no_trace() {
    let mut server = Options::tandem().start();
    server.client().command("SET untouched yes");
    let mut rng = Rng::new(env_number("TANDEM_BAD_INPUT_SEED", 1));
    let frames = env_number("TANDEM_BAD_INPUT_FRAMES", 10_000);
    // The first PONG may come before every thread of the process has opened its own few descriptors; a leak in
    // ten thousand frames is far above that.
    let descriptors = server.descriptors() + STARTING_UP;
    let mut lingering = Vec::new();
    let mut resident = 0;
    for number in 0..frames {
        let stream = throw(&server, &mut rng);
        match rng.below(10) {
            0 => drop(stream),
            1 => lingering.push(stream),
            _ => finish(stream),
        }
        if lingering.len() > LINGERING_MAX {
            lingering.clear();
        }
        if number % 1000 == 999 {
            assert_eq!(server.client().command("PING"), Value::Simple("PONG".to_owned()));
            if resident == 0 {
                // What serving costs at all: buffers and the allocator's caches are there by now.
                resident = server.resident_kib();
            }
        }
    }
    drop(lingering);
    assert!(server.is_running());
    assert_eq!(server.client().command("GET untouched"), Value::Bulk(b"yes".to_vec()));
    wait_until("descriptors are as before", PATIENCE, || server.descriptors() <= descriptors);
    let now = server.resident_kib();
    assert!(
        resident == 0 || now < resident + GROWTH_KIB_MAX,
        "resident memory went from {resident} to {now} KiB"
    );
}

/// What the server says until it closes, after these bytes and our end of the connection.
fn answer(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut stream = server.stream().expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("time-out");
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    all
}

#[test]
fn protocol_errors_are_those_of_redis() {
    let (tandem, redis) = (Options::tandem().start(), Options::redis().start());
    for frame in ANNOUNCED {
        for before in ["", "*1\r\n$4\r\nPING\r\n"] {
            let bytes = [before.as_bytes(), frame.as_bytes()].concat();
            let (ours, theirs) = (answer(&tandem, &bytes), answer(&redis, &bytes));
            assert_eq!(resp::escape(&ours), resp::escape(&theirs), "after \"{}\"", resp::escape(&bytes));
        }
    }
    let inline = vec![b'x'; 70_000];
    assert_eq!(answer(&tandem, &inline), answer(&redis, &inline), "an endless inline command");
}

#[test]
fn strangers_may_send_little() {
    let start = |options: Options| options.set("requirepass", "secret").start();
    let (tandem, redis) = (start(Options::tandem()), start(Options::redis()));
    for frame in [
        "*10\r\n",
        "*11\r\n",
        "*2\r\n$4\r\nAUTH\r\n$16384\r\n",
        "*2\r\n$4\r\nAUTH\r\n$16385\r\n",
        "GET k\r\n",
        "AUTH wrong\r\n",
    ] {
        let (ours, theirs) = (answer(&tandem, frame.as_bytes()), answer(&redis, frame.as_bytes()));
        assert_eq!(resp::escape(&ours), resp::escape(&theirs), "after {frame:?}");
    }
}
