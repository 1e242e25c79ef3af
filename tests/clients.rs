//! Clients that people use, each doing real work over the unix socket: redis-cli, redis-benchmark, redis-py, ioredis,
//! redis-rs; and the examples, which are written in three of them.
//!
//! `scripts/test --setup` installs them; redis-py and ioredis go to a folder below cargo's target folder.
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

mod common;
#[path = "../examples/presence.rs"]
mod presence;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Options, Server, resp, run, target_dir};

fn redis_cli(server: &Server, args: &[&str]) -> String {
    let text = run(Command::new("redis-cli").arg("-s").arg(server.socket()).args(args));
    text.trim_end_matches('\n').to_owned()
}

fn redis_cli_fed(server: &Server, args: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("redis-cli")
        .arg("-s")
        .arg(server.socket())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("redis-cli");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(input).expect("write to redis-cli");
    drop(stdin);
    let output = child.wait_with_output().expect("redis-cli");
    assert!(output.status.success(), "redis-cli {args:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn redis_cli_works() {
    let server = Options::tandem().start();
    assert_eq!(redis_cli(&server, &["PING"]), "PONG");
    assert_eq!(redis_cli(&server, &["SET", "greeting", "hello world"]), "OK");
    assert_eq!(redis_cli(&server, &["GET", "greeting"]), "hello world");
    assert_eq!(redis_cli(&server, &["-3", "GET", "greeting"]), "hello world");
    assert_eq!(redis_cli(&server, &["-n", "3", "GET", "greeting"]), "");
    assert_eq!(redis_cli(&server, &["-r", "50", "INCR", "counter"]).lines().last(), Some("50"));
    assert_eq!(redis_cli(&server, &["--no-raw", "MGET", "greeting", "none"]), "1) \"hello world\"\n2) (nil)");
    assert_eq!(redis_cli(&server, &["--json", "GET", "counter"]), "\"50\"");
    let binary = b"\x00\xff\r\n$5\r\n";
    assert_eq!(redis_cli_fed(&server, &["-x", "SET", "binary"], binary), "OK\n");
    assert_eq!(server.client().call(&["GET", "binary"]).expect("GET").raw, b"$8\r\n\x00\xff\r\n$5\r\n\r\n");
    assert!(redis_cli(&server, &["INFO", "server"]).contains("redis_version:"));
    assert!(redis_cli(&server, &["NOSUCHCOMMAND"]).starts_with("ERR unknown command 'NOSUCHCOMMAND'"));
}

#[test]
fn redis_cli_loads_and_scans_many_keys() {
    const KEYS: usize = 20_000;
    let server = Options::tandem().start();
    let load: Vec<u8> =
        (0..KEYS).flat_map(|n| resp::encode(&["SET", &format!("load:{n}"), &format!("value {n}")])).collect();
    let printed = redis_cli_fed(&server, &["--pipe"], &load);
    assert!(printed.contains(&format!("errors: 0, replies: {KEYS}")), "{printed}");
    let found = redis_cli(&server, &["--scan", "--pattern", "load:*"]);
    let mut names: Vec<&str> = found.lines().collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!((found.lines().count(), names.len()), (KEYS, KEYS), "each key exactly once");
    assert_eq!(redis_cli(&server, &["GET", "load:19999"]), "value 19999");
    assert_eq!(redis_cli(&server, &["DBSIZE"]), KEYS.to_string());
}

/// `calls=` of a command in INFO commandstats.
fn calls(server: &Server, command: &str) -> u64 {
    let info = server.client().command("INFO commandstats").text();
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    let line = line.unwrap_or_else(|| panic!("no cmdstat_{command} in:\n{info}"));
    line.split(',').next().and_then(|calls| calls.parse().ok()).expect("a number of calls")
}

#[test]
fn redis_benchmark_works() {
    const REQUESTS: u64 = 20_000;
    let server = Options::tandem().start();
    for pipeline in ["1", "16"] {
        server.client().command("CONFIG RESETSTAT");
        let output = run(Command::new("redis-benchmark").arg("-s").arg(server.socket()).args([
            "-t",
            "get,set,incr,mset",
            "-n",
            "20000",
            "-c",
            "10",
            "-P",
            pipeline,
            "-r",
            "1000",
            "--csv",
        ]));
        assert!(!output.contains("Error"), "{output}");
        for test in ["SET", "GET", "INCR", "MSET (10 keys)"] {
            assert!(output.contains(&format!("\"{test}\",")), "no line for {test}:\n{output}");
        }
        for command in ["get", "set", "incr", "mset"] {
            let counted = calls(&server, command);
            // With a pipeline the last batches may go beyond the number asked for.
            assert!(
                (REQUESTS..REQUESTS + 200).contains(&counted),
                "{command}: {counted} calls, pipeline {pipeline}"
            );
        }
    }
    // -r 1000: a thousand different keys for SET, GET and MSET, and a thousand counters.
    assert_eq!(server.client().command("DBSIZE").int(), Some(2000));
}

/// A program below `target/clients`, where `scripts/test --setup` puts what clients need.
fn installed(path: &str) -> PathBuf {
    let found = target_dir().join("clients").join(path);
    assert!(found.exists(), "{} is missing: run scripts/test --setup", found.display());
    found
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

#[test]
fn redis_py_works() {
    let python = installed("venv/bin/python");
    let server = Options::tandem().set("notify-keyspace-events", "Ex").start();
    let output = run(Command::new(python).arg(script("redis_py.py")).arg(server.socket()));
    assert!(output.ends_with("all done\n"), "{output}");
}

#[test]
fn ioredis_works() {
    let modules = installed("node_modules/ioredis").parent().expect("a folder").to_path_buf();
    let server = Options::tandem().set("notify-keyspace-events", "Ex").start();
    let output =
        run(Command::new("node").arg(script("ioredis.cjs")).arg(server.socket()).env("NODE_PATH", modules));
    assert!(output.ends_with("all done\n"), "{output}");
}

/// A file below `examples/`, which users copy: each shows what it does and checks it.
fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

#[test]
fn the_example_of_delayed_jobs_works() {
    let server = Options::tandem().start();
    let python = installed("venv/bin/python");
    let output = run(Command::new(python).arg(example("delayed_jobs.py")).arg(server.socket()));
    assert!(output.ends_with("all done\n"), "{output}");
}

#[test]
fn the_example_of_session_expiry_works() {
    let server = Options::tandem().start();
    let modules = installed("node_modules/ioredis").parent().expect("a folder").to_path_buf();
    let mut node = Command::new("node");
    let output = run(node.arg(example("session_expiry.cjs")).arg(server.socket()).env("NODE_PATH", modules));
    assert!(output.ends_with("all done\n"), "{output}");
}

#[test]
fn the_example_of_presence_works() {
    let server = Options::tandem().start();
    presence::run(server.socket().to_str().expect("a path")).expect("it runs");
}
