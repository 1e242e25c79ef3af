//! Limits on what a client may cost: each is reached, does what it says, and lets the others be.
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, Options, Server, Value, env_number, resp, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

/// What the server sends until it closes, with nothing sent from here.
fn until_closed(stream: &mut UnixStream) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).expect("time-out");
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        // Whoever is cut off with something unread sees a reset.
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("not closed: {error}"),
        _ => all,
    }
}

fn info(server: &Server, field: &str) -> i64 {
    info_of(&mut server.client(), field)
}

fn info_of(client: &mut Client, field: &str) -> i64 {
    let text = client.command("INFO everything").text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("no {field} in:\n{text}"))
}

#[test]
fn maxclients() {
    let server = Options::tandem().workers(4).set("maxclients", "3").start();
    // The connection that asked whether the server is ready may still be there.
    let mut first = None;
    wait_until("the server is empty", PATIENCE, || {
        let mut client = server.client();
        let alone = client.call(&["INFO", "clients"]);
        let alone = alone.is_ok_and(|info| info.value.text().contains("connected_clients:1\r\n"));
        first = alone.then_some(client);
        alone
    });
    let mut kept: Vec<Client> = first.into_iter().chain((0..2).map(|_| server.client())).collect();
    for client in &mut kept {
        assert_eq!(client.command("PING").text(), "PONG");
    }
    let mut fourth = server.stream().expect("connect");
    assert_eq!(until_closed(&mut fourth), b"-ERR max number of clients reached\r\n");
    assert_eq!(kept[0].command("CONFIG SET maxclients 4").text(), "OK");
    assert_eq!(server.client().command("PING").text(), "PONG");
    kept.pop();
    wait_until("there is room again", PATIENCE, || {
        let mut next = server.client();
        next.call(&["PING"]).is_ok_and(|reply| reply.raw == b"+PONG\r\n")
    });
    // On a connection that stands: a new one may still be turned away.
    assert!(info_of(&mut kept[0], "rejected_connections") >= 1);
}

#[test]
fn the_longest_string() {
    let server = Options::tandem().set("proto-max-bulk-len", "1mb").start();
    let mut client = server.client();
    let longest = vec![b'x'; 1 << 20];
    let set = client.call(&[b"SET".as_slice(), b"k", &longest]).expect("SET");
    assert_eq!(set.raw, b"+OK\r\n");
    let too_long = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n";
    for command in ["APPEND k x", "SETRANGE k 1048576 x", "SETRANGE other 1048570 1234567"] {
        let words: Vec<&str> = command.split(' ').collect();
        assert_eq!(client.call(&words).expect(command).raw, too_long.as_bytes(), "{command}");
    }
    assert_eq!(client.command("STRLEN k"), Value::Int(1 << 20));
    let mut stream = server.stream().expect("connect");
    stream.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048577\r\n").expect("send");
    assert_eq!(until_closed(&mut stream), b"-ERR Protocol error: invalid bulk length\r\n");
}

#[test]
fn the_query_buffer() {
    let server = Options::tandem().set("client-query-buffer-limit", "1mb").start();
    let mut stream = server.stream().expect("connect");
    let argument = b"$1000\r\n".iter().copied().chain([b'x'; 1000]).chain(*b"\r\n").collect::<Vec<u8>>();
    stream.write_all(b"*100000\r\n").expect("send");
    let refused = (0..10_000).any(|_| stream.write_all(&argument).is_err());
    assert!(refused || until_closed(&mut stream).is_empty());
    wait_until("it is counted", PATIENCE, || info(&server, "client_query_buffer_limit_disconnections") == 1);
    assert_eq!(server.client().command("PING").text(), "PONG");
}

#[test]
fn idle_clients_go_and_listeners_stay() {
    let server = Options::tandem().set("timeout", "1").start();
    let mut subscriber = server.client();
    subscriber.command("SUBSCRIBE news");
    let mut monitor = server.client();
    assert_eq!(monitor.command("MONITOR").text(), "OK");
    let mut busy = server.client();
    let mut idle = server.stream().expect("connect");
    idle.set_nonblocking(true).expect("non-blocking");
    let began = Instant::now();
    wait_until("the idle one is closed", PATIENCE, || {
        assert_eq!(busy.command("PING").text(), "PONG");
        matches!(idle.read(&mut [0; 16]), Ok(0))
    });
    assert!(began.elapsed() > Duration::from_millis(900), "closed after {:?}", began.elapsed());
    assert_eq!(busy.command("PUBLISH news here"), Value::Int(1));
    assert_eq!(subscriber.read().expect("message").value.items()[2].text(), "here");
    assert!(monitor.read().is_ok(), "the monitor is still fed");
}

/// The timer of the server's end of this client's connection, as /proc/net/tcp shows it; 2 is the one of keep-alive.
fn timer(server: &Server, client_port: u16) -> Option<String> {
    let (ours, theirs) = (format!(":{:04X}", server.port().expect("TCP")), format!(":{client_port:04X}"));
    let table = fs::read_to_string("/proc/net/tcp").expect("connections");
    table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find_map(|line| {
        let it = line.len() > 5 && line[1].ends_with(&ours) && line[2].ends_with(&theirs);
        it.then(|| line[5].split(':').next().unwrap_or_default().to_owned())
    })
}

#[test]
fn keepalive_probes_of_tcp() {
    let server = Options::tandem().tcp().set("tcp-keepalive", "100").start();
    for (expected, setting) in [("02", "100"), ("00", "0")] {
        assert_eq!(server.client().command(&format!("CONFIG SET tcp-keepalive {setting}")).text(), "OK");
        let stream =
            std::net::TcpStream::connect(("127.0.0.1", server.port().expect("TCP"))).expect("connect");
        let port = stream.local_addr().expect("address").port();
        let mut client = Client::over_tcp(stream);
        assert_eq!(client.command("PING").text(), "PONG");
        // Right after the reply the timer is that of its acknowledgement.
        wait_until("the timer is the expected one", PATIENCE, || {
            timer(&server, port).as_deref() == Some(expected)
        });
    }
}

#[test]
fn hard_limit_on_unread_replies() {
    let server = Options::tandem().set("client-output-buffer-limit", "normal 2mb 0 0").start();
    let mut client = server.client();
    client.call(&[b"SET".to_vec(), b"k".to_vec(), vec![b'x'; 100_000]]).expect("SET");
    let mut stream = server.stream().expect("connect");
    let _ = stream.write_all(&resp::encode(&["GET", "k"]).repeat(200));
    let got = until_closed(&mut stream);
    assert!(got.len() < 100 * 100_000, "all {} bytes were sent", got.len());
    assert_eq!(info(&server, "client_output_buffer_limit_disconnections"), 1);
    assert!(server.log().contains("output buffer limits"), "{}", server.log());
    assert_eq!(client.command("STRLEN k"), Value::Int(100_000));
}

#[test]
fn soft_limit_on_unread_replies() {
    let server = Options::tandem().set("client-output-buffer-limit", "normal 0 500kb 2").start();
    let mut client = server.client();
    client.call(&[b"SET".to_vec(), b"k".to_vec(), vec![b'x'; 100_000]]).expect("SET");
    let mut slow = server.stream().expect("connect");
    let mut in_time = server.stream().expect("connect");
    let many = resp::encode(&["GET", "k"]).repeat(30);
    let began = Instant::now();
    slow.write_all(&many).expect("send");
    in_time.write_all(&many).expect("send");
    let mut all = vec![0; 30 * (100_000 + "$100000\r\n\r\n".len())];
    in_time.read_exact(&mut all).expect("who reads in time gets everything");
    wait_until("the slow one is closed", PATIENCE, || {
        info(&server, "client_output_buffer_limit_disconnections") == 1
    });
    assert!(began.elapsed() > Duration::from_secs(2), "closed after {:?}", began.elapsed());
    in_time.write_all(b"PING\r\n").expect("send");
    in_time.read_exact(&mut all[..7]).expect("it lives");
    assert!(until_closed(&mut slow).len() < all.len());
}

#[test]
fn limits_on_unread_messages() {
    for limit in ["pubsub 1mb 0 0", "pubsub 0 300kb 1"] {
        let server = Options::tandem().workers(4).set("client-output-buffer-limit", limit).start();
        let mut slow = server.stream().expect("connect");
        slow.write_all(b"SUBSCRIBE news\r\n").expect("send");
        let mut publisher = server.client();
        wait_until("it listens", PATIENCE, || publisher.command("PUBLISH news x") == Value::Int(1));
        let message = "m".repeat(50_000);
        // More than the socket and the limit take together, but not without end for the soft one.
        for _ in 0..40 {
            publisher.command(&format!("PUBLISH news {message}"));
        }
        wait_until("the slow subscriber is gone", PATIENCE, || {
            publisher.command("PUBLISH news x") == Value::Int(0)
        });
        until_closed(&mut slow);
        assert_eq!(info(&server, "client_output_buffer_limit_disconnections"), 1, "{limit}");
    }
}

#[test]
fn a_request_in_drops_has_an_end() {
    let server = Options::tandem().set("partial-frame-timeout", "1000").start();
    let began = Instant::now();
    let mut drops = server.stream().expect("connect");
    drops.set_nonblocking(true).expect("non-blocking");
    let mut steady = server.stream().expect("connect");
    steady.set_read_timeout(Some(PATIENCE)).expect("time-out");
    let mut large = server.stream().expect("connect");
    let (value, piece) = (4 << 20, vec![b'x'; 64 * 1024]);
    large.write_all(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${value}\r\n").as_bytes()).expect("send");
    drops.write_all(b"*2\r\n$3\r\nGET\r\n$100000\r\n").expect("send");
    steady.write_all(b"*1\r\n$4\r\nPI").expect("send");
    let (mut pieces, mut pongs, mut closed) = (0, 0, None);
    // Pacing is the input of this test: a byte, a half-finished pipeline, and a large value, all without a break.
    while closed.is_none() || pieces * piece.len() < value {
        thread::sleep(Duration::from_millis(50));
        assert!(began.elapsed() < PATIENCE);
        if closed.is_none() && (drops.write_all(b"x").is_err() || matches!(drops.read(&mut [0; 1]), Ok(0))) {
            closed = Some(began.elapsed());
        }
        steady.write_all(b"NG\r\n*1\r\n$4\r\nPI").expect("who completes its requests is not closed");
        pongs += 1;
        if pieces * piece.len() < value {
            large.write_all(&piece).expect("a value that goes on is not closed");
            pieces += 1;
        }
    }
    let closed = closed.expect("closed");
    assert!(closed > Duration::from_millis(1000), "closed after {closed:?}");
    large.write_all(b"\r\n").expect("send");
    let mut ok = [0; 5];
    large.read_exact(&mut ok).expect("a reply");
    assert_eq!(&ok, b"+OK\r\n");
    let mut all = vec![0; pongs * "+PONG\r\n".len()];
    steady.read_exact(&mut all).expect("all replies");
}

#[test]
fn waiting_in_a_blocking_command_is_no_unfinished_request() {
    let server = Options::tandem().set("partial-frame-timeout", "500").set("timeout", "1").start();
    let mut waiting = server.client();
    waiting.send_raw(b"BLPOP list 2.5\r\n*1\r\n$4\r\nPI").expect("send");
    assert_eq!(waiting.read().expect("the time-out of the command").value, Value::Null);
    waiting.send_raw(b"NG\r\n").expect("send");
    assert_eq!(waiting.read().expect("the rest").value.text(), "PONG");
}

#[test]
fn a_pause_is_no_unfinished_request() {
    let server = Options::tandem().set("partial-frame-timeout", "500").start();
    let mut admin = server.client();
    assert_eq!(admin.command("CLIENT PAUSE 2500 WRITE").text(), "OK");
    let mut held = server.client();
    held.send_raw(b"SET k v\r\nGET k\r\n*1\r\n$4\r\nPI").expect("send");
    assert_eq!(held.read().expect("after the pause").value.text(), "OK");
    assert_eq!(held.read().expect("after the pause").value.text(), "v");
    held.send_raw(b"NG\r\n").expect("send");
    assert_eq!(held.read().expect("the rest").value.text(), "PONG");
}

/// Far above what a release build needs, which `loadgen idle` prints; this one is not optimised.
const IDLE_BYTES_MAX: u64 = 12 * 1024;

#[test]
fn idle_connections_are_cheap_and_leave_nothing() {
    let clients = env_number("TANDEM_IDLE_CLIENTS", 800);
    let server = Options::tandem().workers(2).start();
    let round = |clients: u64| {
        let mut all: Vec<Client> = (0..clients).map(|_| server.client()).collect();
        for client in &mut all {
            assert_eq!(client.command("PING").text(), "PONG");
        }
        server.resident_kib()
    };
    round(8);
    let before = server.resident_kib();
    let with = round(clients);
    let each = with.saturating_sub(before) * 1024 / clients;
    assert!(each < IDLE_BYTES_MAX, "{each} bytes for an idle connection");
    wait_until("all are gone", PATIENCE, || info(&server, "connected_clients") == 1);
    let again = round(clients);
    assert!(again < with + with / 4 + 1024, "{with} KiB with all of them, {again} KiB the second time");
}

#[test]
fn a_value_of_100_megabytes() {
    const BYTES: usize = 100_000_000;
    let server = Options::tandem().start();
    let mut client = server.client();
    client.command("SET small x");
    let before = server.resident_kib();
    let value: Vec<u8> = (0..BYTES).map(|i| (i % 251) as u8).collect();
    assert_eq!(client.call(&[b"SET".as_slice(), b"k", &value]).expect("SET").raw, b"+OK\r\n");
    let with = server.resident_kib() - before;
    // Once, not twice: it was received where it stays.
    assert!(with < 130 * 1024, "{with} KiB for a value of {} KiB", BYTES / 1024);
    assert_eq!(client.command("STRLEN k"), Value::Int(BYTES as i64));
    assert_eq!(client.command("APPEND k tail"), Value::Int(BYTES as i64 + 4));
    assert_eq!(client.command("GETRANGE k 99999998 -1").text().as_bytes()[2..], *b"tail");
    assert_eq!(client.command("GETRANGE k 0 2").text().as_bytes(), &value[..3]);
    let mut stream = server.stream().expect("connect");
    stream.write_all(b"GET k\r\n").expect("send");
    // It is sent by reference: while the reply waits, the value is still there once.
    let mut head = vec![0; "$100000004\r\n".len()];
    stream.read_exact(&mut head).expect("the length");
    let sending = server.resident_kib() - before;
    assert!(sending < 260 * 1024, "{sending} KiB while it is sent");
    let mut got = vec![0; BYTES + 4 + 2];
    stream.read_exact(&mut got).expect("the value");
    assert!(got[..BYTES] == value[..] && got[BYTES..] == *b"tail\r\n");
    assert_eq!(client.command("DEL k"), Value::Int(1));
    wait_until("its memory goes back", PATIENCE, || server.resident_kib() < before + 24 * 1024);
}
