//! The live page in a real browser under load. Screenshots go to `target/page/`.
//!
//! Ignored but by `scripts/test browser`, which counts it as skipped where there is no browser.

mod common;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use common::{Client, Options, resp, run, target_dir};

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
#[ignore = "needs a browser: scripts/test browser"]
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
