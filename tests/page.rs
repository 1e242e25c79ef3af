//! The live page: its stream, and the page itself in a real browser under load.
//!
//! The browser's part is ignored unless `scripts/test page` runs it, which counts it as skipped where there is none.
//! Screenshots go to `target/page/`.
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use common::{Client, Options, Server, resp, run, target_dir, wait_until};

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

/// Chromium, if there is one: `TANDEM_BROWSER`, or by its usual names.
fn browser() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("TANDEM_BROWSER") {
        return Some(path.into());
    }
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let names = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|path| path.exists())
}

/// Grows the key space and lets it shrink, again and again, until told to stop.
fn load(mut client: Client, stop: &AtomicBool) {
    const KEYS: u32 = 60_000;
    let send = |client: &mut Client, first: u32, words: &dyn Fn(u32) -> Vec<String>| {
        let requests: Vec<u8> = (first..first + 50).flat_map(|i| resp::encode(&words(i))).collect();
        client.send_raw(&requests).expect("sent");
        for _ in 0..50 {
            client.read().expect("a reply");
        }
    };
    let set = |i: u32| {
        ["set", &format!("secret-key:{i}"), "secret-value", "px", "600000"].map(str::to_owned).to_vec()
    };
    let del = |i: u32| vec!["del".to_owned(), format!("secret-key:{i}")];
    while !stop.load(Relaxed) {
        for words in [&set as &dyn Fn(u32) -> Vec<String>, &del] {
            for first in (0..KEYS).step_by(50).take_while(|_| !stop.load(Relaxed)) {
                send(&mut client, first, words);
            }
        }
    }
}

#[test]
#[ignore = "needs a browser: scripts/test page"]
fn it_works_in_a_browser() {
    let browser = browser().expect("Chromium: Debian's package chromium-headless-shell, or TANDEM_BROWSER");
    let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).expect("a free port").port();
    let server = Options::tandem()
        .set("metrics-port", &port.to_string())
        .set("metrics-bind", "127.0.0.1")
        .set("enable-debug-command", "yes")
        .start();
    let mut client = server.client();
    client.command("client setname <b>loader</b>");
    server.client().command("debug sleep 0.02");
    let folder = target_dir().join("page");
    std::fs::create_dir_all(&folder).expect("a folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page/browser.cjs");
    let stop = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| load(client, &stop));
        let mut node = Command::new("node");
        node.arg(script).arg(browser).arg(port.to_string()).arg(folder);
        let output = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&mut node)));
        stop.store(true, Relaxed);
        output
    });
    let output = output.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    assert!(output.ends_with("all done\n"), "{output}");
}
