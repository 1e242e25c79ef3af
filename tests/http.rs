//! The HTTP endpoint for those who watch: probes, limits, and that it harms nobody.
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use common::{Options, Value, http, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn probes_are_answered() {
    let server = Options::tandem().http().start();
    let alive = server.http_get("/healthz");
    assert_eq!((alive.status, alive.body.as_str()), (200, "ok\n"));
    assert_eq!(alive.header("cache-control"), Some("no-store"));
    // The server answers before its last worker is counted as running.
    wait_until("it is ready", PATIENCE, || server.http_get("/readyz").status == 200);
    let ready = server.http_get("/readyz?verbose");
    assert_eq!(ready.body, "ok started\nok running\nok memory\nready\n");
}

#[test]
fn it_is_not_there_unless_asked_for() {
    let server = Options::tandem().start();
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.pid())).expect("its threads");
    let names: Vec<String> = threads
        .map(|task| std::fs::read_to_string(task.expect("a thread").path().join("comm")).unwrap_or_default())
        .collect();
    assert!(names.iter().any(|name| name.starts_with("worker")), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("http")), "{names:?}");
    let mut client = server.client();
    for (setting, value) in [("metrics-port", "0"), ("metrics-unixsocket", "")] {
        let got = client.command(&format!("config get {setting}")).items();
        assert_eq!(got[1].text(), value);
    }
    let refused = client.command("config set metrics-port 9121").text();
    assert!(refused.contains("can't set immutable config"), "{refused}");
}

#[test]
fn it_listens_on_tcp() {
    let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).expect("a free port").port();
    let server =
        Options::tandem().set("metrics-port", &port.to_string()).set("metrics-bind", "127.0.0.1").start();
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    assert_eq!(http::get(stream, "/healthz").expect("an answer").status, 200);
    drop(server);
}

#[test]
fn a_taken_socket_is_an_error_at_the_start() {
    let dir = tempfile::tempdir().expect("folder");
    std::fs::write(dir.path().join("file"), "").expect("a file");
    let output = std::process::Command::new(common::tandem_binary())
        .args(["--port", "0", "--unixsocket", "s", "--metrics-unixsocket", "file", "--dir", "."])
        .current_dir(dir.path())
        .output()
        .expect("start");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("metrics-unixsocket file: the path exists and is not a socket"), "{text}");
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let server = Options::tandem().http().start();
    let missing = server.http_get("/nosuch");
    assert_eq!(missing.status, 404);
    assert!(missing.body.contains("/healthz"), "it says what is there");
    let ask = |request: &str| http::ask(server.http_stream(), request);
    let posted =
        ask("POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
    let posted = posted.expect("an answer");
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
    let head = ask("HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("an answer");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(ask("GET / NONSENSE\r\n\r\n").expect("an answer").status, 400);
    let long = format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    assert_eq!(ask(&long).expect("an answer").status, 431);
    let many = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100));
    assert_eq!(ask(&many).expect("an answer").status, 431);
    assert_eq!(server.http_get("/healthz").status, 200);
}

#[test]
fn a_connection_answers_several_requests() {
    let server = Options::tandem().http().start();
    let mut stream = server.http_stream();
    for _ in 0..3 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        let mut text = String::new();
        while !text.ends_with("\r\n\r\nok\n") {
            let mut bytes = [0; 512];
            let n = stream.read(&mut bytes).expect("an answer");
            assert!(n > 0, "closed after {text:?}");
            text.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
    }
}

/// Whoever opens connections and says nothing (or never ends a header) keeps nobody out.
#[test]
fn those_who_wait_make_room() {
    let server = Options::tandem().http().start();
    let mut silent: Vec<_> = (0..300).map(|_| server.http_stream()).collect();
    for stream in &mut silent {
        // The oldest may have been closed already.
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nX-Slow: ");
    }
    assert_eq!(server.http_get("/healthz").status, 200);
    let mut byte = [0];
    assert_eq!(silent[0].read(&mut byte).unwrap_or(0), 0, "the first was closed");
    assert_eq!(server.client().command("ping").text(), "PONG");
}

#[test]
fn a_command_that_has_the_keyspace_to_itself_does_not_hold_it_up() {
    let server = Options::tandem().http().workers(1).set("enable-debug-command", "yes").start();
    let mut client = server.client();
    client.send(&["debug", "sleep", "1"]).expect("sent");
    assert_eq!(server.http_get("/readyz").status, 200);
    assert_eq!(client.read().expect("a reply").value, Value::Simple("OK".into()));
}

#[test]
fn a_shutdown_is_seen_while_clients_are_waited_for() {
    let mut server = Options::tandem().http().start();
    // A client that does not read keeps the server waiting.
    let mut slow = server.client();
    slow.call(&["set", "big", &"x".repeat(8 << 20)]).expect("set");
    slow.send(&["get", "big"]).expect("sent");
    let mut watcher = server.http_stream();
    server.signal("TERM");
    wait_until("it says so in its log", PATIENCE, || server.log().contains("User requested shutdown"));
    let asked = watcher.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    if asked.is_ok() && watcher.read_to_string(&mut answer).is_ok() && !answer.is_empty() {
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("failed running: the server is shutting down"), "{answer}");
    }
    drop(slow);
    assert_eq!(server.wait_exit().code(), Some(0));
    assert!(!server.dir().join("metrics.sock").exists(), "its socket is removed");
}
