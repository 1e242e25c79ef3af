//! The live page and its stream, without a browser (tests/browser.rs has one).
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::{Options, Server, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

/// Looks on: reads the stream event by event.
struct Viewer(BufReader<UnixStream>);

impl Viewer {
    fn of(server: &Server) -> Viewer {
        let mut stream = server.http_stream();
        stream.write_all(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n").expect("asked");
        Viewer(BufReader::new(stream))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).expect("a line") > 0, "the stream ended");
        line.trim_end().to_owned()
    }

    /// The data of the next event of this name.
    fn event(&mut self, name: &str) -> String {
        while self.line() != format!("event: {name}") {}
        let data = self.line();
        data.strip_prefix("data: ").unwrap_or_else(|| panic!("no data: {data}")).to_owned()
    }
}

fn has_number_above_zero(json: &str, name: &str) -> bool {
    let after = json.split(&format!("\"{name}\":")).nth(1).unwrap_or_default();
    after.starts_with(|c: char| ('1'..='9').contains(&c))
}

#[test]
fn it_is_one_page_with_a_strict_policy() {
    let server = Options::tandem().http().start();
    let page = server.http_get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").expect("a policy");
    for part in ["default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "frame-ancestors 'none'"]
    {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(page.body.ends_with("</html>\n"));
}

#[test]
fn the_stream_says_what_happens() {
    let server = Options::tandem().http().set("slowlog-log-slower-than", "0").start();
    let mut client = server.client();
    client.command("client setname <script>\"me\"");
    client.call(&["set", "secret-key", "secret-value", "px", "1000000"]).expect("set");
    let mut viewer = Viewer::of(&server);
    assert_eq!(viewer.event("history"), "{\"points\":[]}");
    let tick = viewer.event("tick");
    assert!(tick.contains("\"state\":\"serving\""), "{tick}");
    for name in ["rss", "used", "clients", "keys", "expires", "commands"] {
        assert!(has_number_above_zero(&tick, name), "{name}: {tick}");
    }
    assert!(tick.contains("\"active\":\"") && !tick.contains("\"growing\""), "{tick}");
    let lists = viewer.event("lists");
    assert!(lists.contains("<script>\\\"me\\\""), "{lists}");
    assert!(lists.contains("\"command\":\"SET\",\"args\":4"), "{lists}");
    assert!(!lists.contains("secret") && !tick.contains("secret"), "{lists}");
    client.call(&["set", "another", "value"]).expect("set");
    wait_until("the key is counted", PATIENCE, || viewer.event("tick").contains("\"keys\":2,"));
    // Whoever comes later is told what was before.
    wait_until("there is a history", PATIENCE, || Viewer::of(&server).event("history").contains("\"rss\":"));
}

#[test]
fn viewers_are_bounded_and_leave_no_trace() {
    let server = Options::tandem().http().start();
    let mut viewers: Vec<Viewer> = (0..32).map(|_| Viewer::of(&server)).collect();
    for viewer in &mut viewers {
        viewer.event("tick");
    }
    assert_eq!(server.http_get("/live").status, 503);
    assert_eq!(server.http_get("/healthz").status, 200);
    drop(viewers);
    let mut next = None;
    wait_until("there is room again", PATIENCE, || {
        let mut viewer = Viewer::of(&server);
        let has_room = viewer.line().contains("200");
        next = Some(viewer);
        has_room
    });
    assert!(next.expect("a viewer").event("tick").contains("serving"));
}
