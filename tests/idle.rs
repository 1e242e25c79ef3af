//! A process whose clients say nothing does not run; and what has a time limit is ended all the same.

#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, Options, Server, resp, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than any tick there might be.
const WINDOW: Duration = Duration::from_secs(6);

/// How often any thread of the server stopped running.
fn switches(server: &Server) -> u64 {
    let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("threads of the server");
    let of_thread = |path: std::path::PathBuf| {
        let status = fs::read_to_string(path.join("status")).unwrap_or_default();
        let counts = status.lines().filter_map(|line| line.split_once("voluntary_ctxt_switches:"));
        counts.map(|(_, count)| count.trim().parse::<u64>().expect("a number")).sum::<u64>()
    };
    threads.map(|thread| of_thread(thread.expect("a thread").path())).sum()
}

/// Returns when no thread has run for a while.
fn wait_until_still(server: &Server) {
    let mut before = switches(server);
    assert!(before > 0);
    wait_until("nothing runs any more", 3 * PATIENCE, || {
        thread::sleep(WINDOW);
        let now = switches(server);
        std::mem::replace(&mut before, now) == now
    });
}

fn clients(server: &Server, count: usize) -> Vec<Client> {
    (0..count).map(|_| server.client()).collect()
}

/// What the server sends until it closes, with nothing sent from here.
fn until_closed(mut stream: UnixStream) {
    stream.set_read_timeout(Some(PATIENCE)).expect("time-out");
    match stream.read_to_end(&mut Vec::new()) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("not closed: {error}"),
        _ => {}
    }
}

fn set(client: &mut Client, name: &str, value: &str) {
    assert_eq!(client.call(&["CONFIG", "SET", name, value]).expect("CONFIG SET").raw, b"+OK\r\n");
}

/// One connection on each of two workers, each of which has sent something.
fn pair(server: &Server) -> [UnixStream; 2] {
    [(); 2].map(|()| {
        let mut stream = server.stream().expect("connect");
        stream.write_all(b"PING\r\n").expect("send");
        stream.read_exact(&mut [0; 7]).expect("PONG");
        stream
    })
}

#[test]
fn connected_clients_that_say_nothing_cost_no_tick() {
    let server = Options::tandem().workers(2).start();
    let mut clients = clients(&server, 8);
    for (number, client) in clients.iter_mut().enumerate() {
        for command in ["SET k v EX 100000", "HSET h f v", "GET k", "INCR n", "DEL h", "INFO"] {
            client.command(&command.replace('k', &number.to_string()));
        }
    }
    // Time limits that came into force, and did not end anybody.
    let half = [b"*1\r\n$4\r\nPI".as_slice(), b"NG\r\n"];
    for client in &mut clients {
        client.send_raw(half[0]).expect("send");
    }
    for client in &mut clients {
        client.send_raw(half[1]).expect("send");
        assert_eq!(client.read().expect("a reply").value.text(), "PONG");
    }
    wait_until_still(&server);
    for client in &mut clients {
        assert_eq!(client.command("PING").text(), "PONG");
    }
}

/// Resident memory of files, so of code, in KiB.
fn code(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("status of the server");
    let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).expect("RssFile");
    line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}

/// Whether code goes within a minute after it was needed.
fn code_goes() -> bool {
    let server = Options::tandem().workers(2).start();
    let mut clients = clients(&server, 4);
    for command in ["SET k v", "HSET h f v", "CONFIG GET *", "COMMAND DOCS", "INFO everything", "PING"] {
        for client in &mut clients {
            client.command(command);
        }
    }
    let (used, began) = (code(&server), Instant::now());
    let mut is_gone = false;
    while !is_gone && began.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(100));
        is_gone = code(&server) < used / 2;
    }
    for client in &mut clients {
        assert_eq!(client.command("GET k").text(), "v");
    }
    is_gone
}

#[test]
fn code_that_requests_needed_goes_when_it_is_quiet() {
    // It does so once in five minutes: if this machine stopped after the start, that may have been taken for the end.
    assert!((0..3).any(|_| code_goes()));
}

#[test]
fn a_timeout_that_is_set_meanwhile_ends_idle_clients() {
    let server = Options::tandem().workers(2).start();
    let idle = pair(&server);
    // Of another kind: it may stay.
    let mut subscriber = server.client();
    subscriber.command("SUBSCRIBE news");
    set(&mut server.client(), "timeout", "1000");
    set(&mut server.client(), "timeout", "1");
    idle.into_iter().for_each(until_closed);
    // Nobody has a limit but who comes now.
    for late in pair(&server) {
        until_closed(late);
    }
    assert_eq!(server.client().command("PUBLISH news x").int(), Some(1));
}

#[test]
fn a_half_sent_request_wakes_who_looks() {
    let server = Options::tandem().workers(2).set("partial-frame-timeout", "300").start();
    for mut stream in pair(&server) {
        stream.write_all(b"*1\r\n$4\r\nPI").expect("send");
        until_closed(stream);
    }
}

#[test]
fn a_limit_on_half_sent_requests_that_is_set_meanwhile() {
    let server = Options::tandem().workers(2).set("partial-frame-timeout", "0").start();
    let mut streams = pair(&server);
    for stream in &mut streams {
        stream.write_all(b"PING\r\n*1\r\n$4\r\nPI").expect("send");
        // The rest was received with it.
        stream.read_exact(&mut [0; 7]).expect("PONG");
    }
    set(&mut server.client(), "partial-frame-timeout", "300000");
    set(&mut server.client(), "partial-frame-timeout", "300");
    streams.into_iter().for_each(until_closed);
}

/// Two clients that read nothing, with more waiting for each than the socket takes; then another limit.
fn closed_by_a_limit_that_is_set_meanwhile(before: &str, after: &str) {
    let limit = "client-output-buffer-limit";
    let server = Options::tandem().workers(2).set(limit, before).start();
    let mut client = server.client();
    client.call(&[b"SET".to_vec(), b"k".to_vec(), vec![b'x'; 100_000]]).expect("SET");
    let mut streams = pair(&server);
    for stream in &mut streams {
        stream.write_all(&resp::encode(&["GET", "k"]).repeat(50)).expect("send");
    }
    wait_until("replies wait for both", PATIENCE, || {
        let list = client.command("CLIENT LIST").text();
        let waiting = list.lines().filter(|line| line.contains("cmd=get") && !line.contains(" omem=0 "));
        waiting.count() == 2
    });
    set(&mut client, limit, after);
    wait_until("both are closed", PATIENCE, || {
        let info = client.command("INFO stats").text();
        info.contains("\r\nclient_output_buffer_limit_disconnections:2\r\n")
    });
}

#[test]
fn how_long_a_soft_limit_may_be_exceeded() {
    closed_by_a_limit_that_is_set_meanwhile("normal 0 100kb 0", "normal 0 100kb 1");
}

#[test]
fn a_soft_limit_below_what_waits_already() {
    closed_by_a_limit_that_is_set_meanwhile("normal 0 0 0", "normal 0 100kb 1");
}

#[test]
fn a_hard_limit_below_what_waits_already() {
    closed_by_a_limit_that_is_set_meanwhile("normal 0 0 0", "normal 100kb 0 0");
}
