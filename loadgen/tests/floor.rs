//! The whole program against its own floor server, over sockets in temporary directories.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

struct Floor {
    child: Child,
    socket: PathBuf,
    _dir: tempfile::TempDir,
}

impl Floor {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("floor.sock");
        let child = Command::new(LOADGEN).arg("floor").arg("--unix").arg(&socket).spawn().unwrap();
        for _ in 0..1000 {
            if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Floor { child, socket, _dir: dir }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn loadgen(args: &str, socket: &Path) -> Output {
    let args = args.replace("{socket}", &socket.display().to_string());
    Command::new(LOADGEN).args(args.split_whitespace()).output().unwrap()
}

fn json(out: &Output) -> serde_json::Value {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn closed_loop_sends_exactly_what_was_asked_for() {
    let floor = Floor::start();
    for mix in ["get", "set", "incr", "del"] {
        for pipeline in [1, 7, 64] {
            let args = format!(
                "run --server unix:{{socket}} -n 10001 -P {pipeline} --mix {mix} --threads 2 -c 9 --json - \
                 --pid {}",
                floor.child.id()
            );
            let out = json_or_wrong(&loadgen(&args, &floor.socket), mix);
            assert_eq!(out["requests"], 10_001, "{mix} {pipeline}");
            assert!(out["server_cpu_us_per_request"].as_f64().unwrap() > 0.0);
            assert!(out["latency"]["p50_us"].as_f64().unwrap() > 0.0);
        }
    }
}

/// The floor answers DEL with an integer that is neither 0 nor 1: counted as wrong, not lost.
fn json_or_wrong(out: &Output, mix: &str) -> serde_json::Value {
    if mix != "del" {
        return json(out);
    }
    assert!(!out.status.success());
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(report["wrong"], report["requests"]);
    report
}

#[test]
fn open_loop_keeps_its_rate() {
    let floor = Floor::start();
    for arrivals in ["poisson", "constant"] {
        let args = format!(
            "run --server unix:{{socket}} --mode open --rate 5k --arrivals {arrivals} -d 1s -P 8 --mix get --json -"
        );
        let out = json(&loadgen(&args, &floor.socket));
        let sent = out["requests"].as_u64().unwrap() + out["unsent"].as_u64().unwrap();
        assert!((4_500..=5_500).contains(&sent), "{arrivals}: {sent}");
    }
}

#[test]
fn values_of_the_wrong_length_or_content_are_noticed() {
    let floor = Floor::start();
    let short =
        loadgen("run --server unix:{socket} -n 100 --mix get --value-size 63 --json -", &floor.socket);
    let content =
        loadgen("run --server unix:{socket} -n 100 --mix get --verify content --json -", &floor.socket);
    for out in [short, content] {
        assert!(!out.status.success());
        let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(report["wrong"], 100);
        assert!(report["first_bad"].as_str().unwrap().starts_with("wrong reply to GET of key "));
    }
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let out = loadgen("run --server unix:{socket} -n 1 --threads 3", &dir.path().join("none"));
    assert!(!out.status.success());
    assert!(String::from_utf8_lossy(&out.stderr).contains("cannot connect to unix:"));
}

#[test]
fn compare_starts_and_ends_its_servers() {
    let dir = tempfile::tempdir().unwrap();
    let out = Command::new(LOADGEN)
        .args(["compare", "--quick", "--only", "cpu,memory", "--rounds", "1", "--keys", "1000"])
        .args(["--memory-keys", "1k,2k", "--json", "-"])
        .args(["--server", &format!("a={LOADGEN} floor --unix {{socket}}")])
        .args(["--server", &format!("b={LOADGEN} floor --unix '{{socket}}'")])
        .env("TMPDIR", dir.path())
        .output()
        .unwrap();
    let report = json(&out);
    assert_eq!(report["cpu"].as_array().unwrap().len(), 9);
    assert_eq!(report["memory"].as_array().unwrap().len(), 4);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the temporary directory is left behind");
}

#[test]
fn a_missing_tandem_is_said_before_anything_starts() {
    let out = Command::new(LOADGEN).arg("compare").env("TANDEM_BIN", "/nonexistent/tandem").output().unwrap();
    assert!(!out.status.success());
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(text.contains("/nonexistent/tandem") && text.contains("cargo build --release"), "{text}");
}
