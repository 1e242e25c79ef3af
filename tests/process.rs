//! The process as whoever operates it sees it: how it starts, where it listens and logs, and how it ends.
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use common::{Client, Options, Server, Value, resp, tandem_binary, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);
/// Replies of this size, and so many of them, are far more than a socket takes.
const VALUE_BYTES: usize = 1 << 20;
const REPLIES: usize = 20;

trait Duplex: Read + Write {}
impl<T: Read + Write> Duplex for T {}

/// Asks for far more than the socket takes, and reads nothing; everything that was asked for has run on return.
fn ask_for_much(server: &Server, stream: &mut dyn Duplex) {
    let mut client = server.client();
    client.call(&[b"SET".to_vec(), b"big".to_vec(), vec![b'x'; VALUE_BYTES]]).expect("SET");
    client.command("CONFIG RESETSTAT");
    stream.write_all(&resp::encode(&["GET", "big"]).repeat(REPLIES)).expect("GETs");
    let done = format!("cmdstat_get:calls={REPLIES},");
    wait_until("the replies are made", PATIENCE, || {
        client.command("INFO commandstats").text().contains(&done)
    });
}

fn all_replies() -> usize {
    REPLIES * (format!("${VALUE_BYTES}\r\n").len() + VALUE_BYTES + 2)
}

#[test]
fn what_is_due_is_sent_before_the_end() {
    for signal in ["TERM", "INT"] {
        let mut server = Options::tandem().workers(4).tcp().start();
        let mut unix = server.stream().expect("connect");
        let mut tcp = TcpStream::connect(("127.0.0.1", server.port().expect("a port"))).expect("connect");
        for stream in [&mut unix as &mut dyn Duplex, &mut tcp] {
            ask_for_much(&server, stream);
        }
        let mut subscriber = server.client();
        subscriber.command("SUBSCRIBE news");
        server.client().command("PUBLISH news last");
        server.signal(signal);
        wait_until("nobody is let in", PATIENCE, || server.stream().is_err());
        // Whatever comes now is not answered, and must not cost what was.
        let late = [unix.write_all(b"PING\r\n"), tcp.write_all(b"PING\r\n")];
        for (number, stream) in [&mut unix as &mut dyn Duplex, &mut tcp].into_iter().enumerate() {
            let mut got = Vec::new();
            let read = stream.read_to_end(&mut got);
            // The late one may have been in time.
            let got = got.strip_suffix(b"+PONG\r\n").unwrap_or(&got).len();
            assert_eq!(got, all_replies(), "{signal}, socket {number}: {read:?}, late {late:?}");
        }
        assert_eq!(subscriber.read().expect("the message").value.items()[2].text(), "last");
        assert_eq!(server.wait_exit().code(), Some(0));
        let log = server.log();
        assert!(log.contains(&format!("Received SIG{signal} scheduling shutdown...")), "{log}");
        assert!(log.contains("ready to exit, bye bye"), "{log}");
        assert!(!server.socket().exists(), "the socket's file is left behind");
    }
}

#[test]
fn quit_waits_for_its_slow_reader_too() {
    let server = Options::tandem().start();
    let mut stream = server.stream().expect("connect");
    ask_for_much(&server, &mut stream);
    stream.write_all(b"QUIT\r\nPING\r\n").expect("QUIT");
    wait_until("it is on its way out", PATIENCE, || {
        server.client().command("CLIENT LIST").text().lines().any(|line| line.contains("cmd=quit"))
    });
    let mut got = Vec::new();
    stream.read_to_end(&mut got).expect("all of it");
    assert_eq!(got.len(), all_replies() + "+OK\r\n".len());
    assert!(got.ends_with(b"\r\n+OK\r\n"));
}

#[test]
fn who_never_reads_does_not_hold_up_the_end() {
    let mut server = Options::tandem().start();
    let mut stream = server.stream().expect("connect");
    ask_for_much(&server, &mut stream);
    server.signal("TERM");
    assert_eq!(server.wait_exit().code(), Some(0));
    assert!(server.log().contains("read too slowly"), "{}", server.log());
}

#[test]
fn a_second_interrupt_ends_it_at_once() {
    let mut server = Options::tandem().start();
    let mut stream = server.stream().expect("connect");
    ask_for_much(&server, &mut stream);
    server.signal("INT");
    wait_until("the drain has begun", PATIENCE, || server.log().contains("User requested shutdown"));
    server.signal("INT");
    assert_eq!(server.wait_exit().code(), Some(1));
}

#[test]
fn who_waits_in_a_blocking_command_does_not_hold_up_the_end() {
    let mut server = Options::tandem().workers(4).start();
    let mut waiting: Vec<Client> = (0..8).map(|_| server.client()).collect();
    for client in &mut waiting {
        client.send_raw(b"PING\r\nBLPOP nothing 0\r\nPING never\r\n").expect("send");
    }
    let mut admin = server.client();
    wait_until("all wait", PATIENCE, || {
        admin.command("INFO clients").text().contains("\r\nblocked_clients:8\r\n")
    });
    server.signal("TERM");
    for client in &mut waiting {
        assert_eq!(client.read_to_end().expect("the end"), b"+PONG\r\n");
    }
    assert_eq!(server.wait_exit().code(), Some(0));
    assert!(!server.log().contains("read too slowly"), "{}", server.log());
}

#[test]
fn a_command_ends_it_and_others_get_their_replies() {
    let mut server = Options::tandem().workers(4).start();
    let mut stream = server.stream().expect("connect");
    ask_for_much(&server, &mut stream);
    let mut client = server.client();
    client.send(&["SHUTDOWN", "NOSAVE"]).expect("SHUTDOWN");
    assert_eq!(client.read_to_end().expect("the end"), b"", "SHUTDOWN answers nothing");
    let mut got = Vec::new();
    stream.read_to_end(&mut got).expect("all of it");
    assert_eq!(got.len(), all_replies());
    assert_eq!(server.wait_exit().code(), Some(0));
}

/// The binary with these arguments in this folder, to its end.
fn tandem(directory: &Path, args: &[&str]) -> Output {
    Command::new(tandem_binary())
        .args(args)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .expect("start")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A server that a test started by hand; killed when dropped.
struct ByHand(Child);

impl Drop for ByHand {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the binary with arguments and input; standard output goes to `log` in the folder.
fn by_hand(directory: &Path, args: &[&str], input: &str) -> ByHand {
    let log = fs::File::create(directory.join("log")).expect("log");
    let mut child = Command::new(tandem_binary())
        .args(args)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(log.try_clone().expect("log"))
        .stderr(log)
        .spawn()
        .expect("start");
    child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("input");
    ByHand(child)
}

/// A client of the socket `s` in that folder, as soon as it answers.
fn client_of(directory: &Path) -> Client {
    let socket = directory.join("s");
    let mut found = None;
    wait_until("it answers", PATIENCE, || {
        found = Client::unix(&socket).ok();
        found.as_mut().is_some_and(|client| client.call(&["PING"]).is_ok())
    });
    found.expect("a client")
}

fn log_of(directory: &Path) -> String {
    fs::read_to_string(directory.join("log")).expect("log")
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let mut server = Options::tandem().start();
    let identity = || fs::metadata(server.socket()).map(|meta| std::os::unix::fs::MetadataExt::ino(&meta));
    let before = identity().expect("a socket");
    let output = tandem(server.dir(), &["--port", "0", "--unixsocket", "socket"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("another process is listening"), "{}", text(&output.stderr));
    assert_eq!(identity().expect("still there"), before);
    assert_eq!(server.client().command("PING").text(), "PONG");
    // SIGKILL leaves the file behind.
    server.kill_and_restart();
    assert_eq!(server.client().command("PING").text(), "PONG");
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().expect("folder");
    fs::write(directory.path().join("precious"), "data").expect("write");
    let output = tandem(directory.path(), &["--port", "0", "--unixsocket", "precious"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is not a socket"), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(directory.path().join("precious")).expect("read"), "data");
}

#[test]
fn a_taken_port_is_an_error_that_names_it() {
    let server = Options::tandem().tcp().start();
    let port = server.port().expect("a port").to_string();
    let output = tandem(server.dir(), &["--port", &port, "--bind", "127.0.0.1"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(said.contains(&format!("Failed listening on port {port}")), "{said}");
}

#[test]
fn started_by_flags_as_redis_server() {
    let directory = tempfile::tempdir().expect("folder");
    let at = directory.path();
    let args = ["--port", "0", "--unixsocket", "s", "--unixsocketperm", "770", "--save", ""];
    let _server = by_hand(at, &args, "");
    let mut client = client_of(at);
    assert_eq!(client.command("CONFIG GET unixsocketperm").items()[1].text(), "770");
    assert_eq!(client.command("CONFIG GET save").items()[1].text(), "");
    let meta = fs::metadata(at.join("s")).expect("the socket");
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o777, 0o770);
    let log = log_of(at);
    let ready = log.find("Ready to accept connections").expect("it says that it is ready");
    assert!(log.find("Server initialized").is_some_and(|at| at < ready), "{log}");
    assert!(log.contains(&format!("PID: {}", _server.0.id())), "{log}");
}

#[test]
fn configured_from_standard_input() {
    for input in
        ["port 0\nunixsocket s\ntimeout 77\n", "listen:\n  port: 0\n  unixsocket: s\n  timeout: 77\n"]
    {
        let directory = tempfile::tempdir().expect("folder");
        let at = directory.path();
        let _server = by_hand(at, &["-", "--maxclients", "99"], input);
        let mut client = client_of(at);
        assert_eq!(client.command("CONFIG GET timeout").items()[1].text(), "77");
        assert_eq!(client.command("CONFIG GET maxclients").items()[1].text(), "99");
    }
}

#[test]
fn started_by_the_shipped_file() {
    let directory = tempfile::tempdir().expect("folder");
    let at = directory.path();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("sidecar.yaml");
    let shipped = shipped.to_str().expect("a path");
    let _server = by_hand(at, &["--config", shipped, "--unixsocket", "s", "--port", "0"], "");
    client_of(at);
    assert!(log_of(at).contains("Try: redis-cli -s s "), "{}", log_of(at));
}

#[test]
fn unknown_settings_are_named_with_file_line_and_the_nearest_one() {
    let directory = tempfile::tempdir().expect("folder");
    let at = directory.path();
    fs::write(at.join("a.yaml"), "listen:\n  prot: 7\n").expect("write");
    let output = tandem(at, &["--config", "a.yaml"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    for part in ["a.yaml:2", "at line 2", "'listen.prot'", "'listen.port'"] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
    fs::write(at.join("a.conf"), "port 0\n\nmaxclient 7\n").expect("write");
    let output = tandem(at, &["a.conf"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    for part in ["a.conf", "at line 3", "maxclient 7", "'maxclients'"] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
}

#[test]
fn the_log_file_and_its_level() {
    let server = Options::tandem()
        .set("logfile", "tandem.log")
        .set("loglevel", "warning")
        .set("enable-debug-command", "yes")
        .start();
    let log = || fs::read_to_string(server.dir().join("tandem.log")).unwrap_or_default();
    assert!(!log().contains("Ready to accept"), "that is a notice");
    let mut client = server.client();
    client.command("DEBUG LOG hushed");
    client.command("CONFIG SET loglevel notice");
    // Renamed, as rotation does it: the next line begins a new file.
    fs::write(server.dir().join("tandem.log"), "").expect("there is a file or none yet");
    fs::rename(server.dir().join("tandem.log"), server.dir().join("rotated")).expect("rename");
    client.command("CONFIG REWRITE");
    wait_until("there is a line", PATIENCE, || log().contains("CONFIG REWRITE executed with success"));
    // Standard error is in it too, where others than the log may have something to say.
    let elsewhere = server.log();
    assert!(!elsewhere.contains(":M "), "no line goes to standard output: {elsewhere}");
}

#[test]
fn an_http_request_ends_the_connection_in_every_form() {
    let server = Options::tandem().workers(1).start();
    let forms: [&[u8]; 5] = [
        b"POST / HTTP/1.1\r\nHost: here\r\n\r\nSET k http\r\n",
        b"host: x\r\nSET k http\r\n",
        b"*1\r\n$4\r\npOsT\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\nhttp\r\n",
        b"*2\r\n$5\r\nHost:\r\n$1\r\nx\r\nSET k http\r\n",
        b"MULTI\r\n*1\r\n$4\r\nPOST\r\nEXEC\r\nSET k http\r\n",
    ];
    for form in forms {
        let mut stream = server.stream().expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("time-out");
        stream.write_all(form).expect("send");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!text(&answer).contains("-ERR"), "{}: {}", resp::escape(form), resp::escape(&answer));
    }
    assert_eq!(server.client().command("GET k"), Value::Null, "nothing behind it was run");
    assert_eq!(server.log().matches("Possible SECURITY ATTACK").count(), 1, "one warning a minute");
}

#[test]
fn half_a_connection_is_still_answered() {
    let server = Options::tandem().start();
    let mut stream: UnixStream = server.stream().expect("connect");
    stream.write_all(b"PING\r\n").expect("send");
    stream.shutdown(Shutdown::Write).expect("half");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer");
    assert_eq!(answer, "+PONG\r\n");
}
