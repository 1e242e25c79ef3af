//! Each scenario for a moment against tandem: that it runs, and what its files hold. No speeds.
//!
//! tandem is taken from `TANDEM_BIN` or from beside these tests, where a build of the workspace
//! puts it. Without one these tests have nothing to run against and say so.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

fn tandem() -> Option<PathBuf> {
    let beside = Path::new(LOADGEN).with_file_name("tandem");
    let path = std::env::var_os("TANDEM_BIN").map_or(beside, PathBuf::from);
    if path.is_file() {
        return Some(path);
    }
    eprintln!("no tandem at {}: build the workspace, or set TANDEM_BIN", path.display());
    None
}

/// A directory for the files of one run, and the servers that it runs against.
struct Bench {
    dir: tempfile::TempDir,
    tandem: PathBuf,
}

impl Bench {
    fn new() -> Option<Self> {
        Some(Bench { tandem: tandem()?, dir: tempfile::tempdir().unwrap() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a scenario on `servers` tandems; `{dir}` in the arguments is this directory.
    fn run(&self, args: &str, servers: &[&str]) -> Output {
        let args = args.replace("{dir}", &self.dir.path().display().to_string());
        let mut command = Command::new(LOADGEN);
        command.args(args.split_whitespace()).args(["--unbound", "--quiet"]);
        for name in servers {
            let policy = "--maxmemory-policy allkeys-lru";
            command.arg("--server").arg(format!("{name}='{}' --workers 1 {policy}", self.tandem.display()));
        }
        command.output().unwrap()
    }

    fn ok(&self, args: &str, servers: &[&str]) -> String {
        let out = self.run(args, servers);
        assert!(out.status.success(), "{args}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.path(name)).unwrap()).unwrap()
    }

    /// The rows of a CSV file, its head first; all of them are equally long.
    fn csv(&self, name: &str) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        let rows: Vec<Vec<String>> =
            text.lines().map(|l| l.split(',').map(str::to_owned).collect()).collect();
        assert!(rows.iter().all(|r| r.len() == rows[0].len()), "{text}");
        rows
    }

    /// A picture that has lines and these words.
    fn picture(&self, name: &str, words: &[&str]) {
        let svg = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{name}");
        assert!(svg.contains("<polyline"), "{name} has no lines");
        for word in words {
            assert!(svg.contains(word), "{name} does not say {word}");
        }
    }
}

const SMALL: &str = "--keys 3k --rate 2k --move-rate 30k --hold 100ms --window 50ms -c 10 \
                     --csv {dir}/w.csv --plot {dir}/p.svg --hdr {dir}/l.hlog --json {dir}/r.json";

#[test]
fn shift_writes_windows_of_all_phases_of_all_servers() {
    let Some(bench) = Bench::new() else { return };
    let table = bench.ok(&format!("shift --cycles 2 --stay 10 {SMALL}"), &["one", "two"]);
    assert!(table.contains("one / two") && table.contains(" grow |"), "{table}");

    let report = bench.json("r.json");
    assert_eq!(report["scenario"], "shift");
    assert_eq!(report["summary"].as_array().unwrap().len(), 2 * 4);
    assert_eq!(report["ratios"].as_array().unwrap().len(), 4 * 3);
    for line in report["summary"].as_array().unwrap() {
        assert!(line["requests"].as_u64().unwrap() > 0, "{line}");
        assert!(line["resident_mib"]["median"].as_f64().unwrap() > 0.0, "{line}");
    }
    let rows = bench.csv("w.csv");
    assert_eq!(rows[0][..4], ["server", "round", "seconds", "phase"]);
    for server in ["one", "two"] {
        for phase in ["grow", "full", "drop", "rest"] {
            assert!(rows.iter().any(|r| r[0] == server && r[3] == phase), "no {phase} of {server}");
        }
    }
    let keys: Vec<u64> = rows[1..].iter().map(|r| r[4].parse().unwrap()).collect();
    assert_eq!(*keys.iter().max().unwrap(), 3000);
    bench.picture("p.svg", &["one", "two", "p99.9", "resident memory"]);
    let log = std::fs::read_to_string(bench.path("l.hlog")).unwrap();
    assert_eq!(log.lines().filter(|l| l.starts_with("Tag=two.drop,")).count(), 2, "{log}");
}

#[test]
fn grow_and_steady_keep_every_key() {
    let Some(bench) = Bench::new() else { return };
    bench.ok(&format!("grow --rounds 2 {SMALL}"), &["one"]);
    let report = bench.json("r.json");
    assert_eq!(report["summary"].as_array().unwrap().len(), 2);
    assert_eq!(report["windows"].as_array().unwrap().len(), 2);
    let last = bench.csv("w.csv").pop().unwrap();
    assert_eq!((last[1].as_str(), last[4].as_str()), ("2", "3000"));

    bench.ok(&format!("steady {SMALL} --value-size 64=3,1k=1"), &["one"]);
    let report = bench.json("r.json");
    let summary = &report["summary"][0];
    assert_eq!((summary["phase"].as_str(), summary["misses"].as_u64()), (Some("full"), Some(0)));
    assert!(bench.csv("w.csv")[1..].iter().all(|r| r[4] == "3000"));
    bench.picture("p.svg", &["one"]);
}

#[test]
fn expire_hears_of_every_key_once() {
    let Some(bench) = Bench::new() else { return };
    let load =
        "expire --expiries 3k --ops 2k --far 1k -c 5 --patience 60s --json {dir}/r.json --plot {dir}/p.svg";
    for how in ["-d 300ms --ttl 50ms 200ms", "--burst 2k"] {
        let table = bench.ok(&format!("{load} {how}"), &["one", "two"]);
        assert!(table.contains(" one |"), "{table}");
        let report = bench.json("r.json");
        assert_eq!(report.as_array().unwrap().len(), 2);
        for server in report.as_array().unwrap() {
            assert_eq!(server["delivered"], server["due"], "{server}");
            assert!(server["due"].as_u64().unwrap() > 0);
            assert_eq!((server["twice"].as_u64(), server["early"].as_u64()), (Some(0), Some(0)));
            assert_eq!(how.contains("burst"), server["worked_off_ms"].is_number(), "{server}");
            let shares = server["distribution"].as_array().unwrap();
            assert_eq!(shares[shares.len() - 1][1].as_f64().unwrap(), 100.0);
        }
        bench.picture("p.svg", &["one", "two", "100 %"]);
    }
}

#[test]
fn deaf_subscribers_hear_nothing_and_the_others_everything() {
    let Some(bench) = Bench::new() else { return };
    let table = bench.ok(
        "deaf --subscribers 20 --deaf 5 --messages 200 --ops 2k --rounds 1 -c 5 -d 500ms --json {dir}/r.json",
        &["one", "two"],
    );
    assert!(table.contains("never read"), "{table}");
    for line in bench.json("r.json").as_array().unwrap() {
        let [deaf, published, heard] =
            ["deaf", "published", "heard"].map(|name| line[name].as_u64().unwrap());
        // What was published last may still be on its way.
        assert!(heard <= published * (20 - deaf) && heard > 0, "{line}");
    }
}

#[test]
fn fanout_delivers_to_everybody() {
    let Some(bench) = Bench::new() else { return };
    let table = bench.ok(
        "fanout --subscribers 1,20 --rate 2k -d 500ms --json {dir}/r.json --plot {dir}/p.svg",
        &["one", "two"],
    );
    assert!(table.contains(" 20 |"), "{table}");
    let outcomes = bench.json("r.json");
    assert_eq!(outcomes.as_array().unwrap().len(), 4);
    for o in outcomes.as_array().unwrap() {
        assert_eq!(o["delivered"], o["expected"], "{o}");
        assert_eq!(
            o["expected"].as_u64().unwrap(),
            o["published"].as_u64().unwrap() * o["subscribers"].as_u64().unwrap()
        );
    }
    bench.picture("p.svg", &["one", "two"]);
}

#[test]
fn hit_ratios_are_of_every_trace_size_and_server() {
    let Some(bench) = Bench::new() else { return };
    let lines: String = (0..3000).map(|i| format!("{i},key{}\n", i * i % 1009)).collect();
    std::fs::write(bench.path("t.csv"), lines).unwrap();
    let table = bench.ok(
        "hitratio --trace zipf:1 --trace recorded=csv2:{dir}/t.csv --caches 50,100 --keys 2k -n 3k --value-size 2000 \
         --budget keys --json {dir}/r.json",
        &["one", "two"],
    );
    assert!(table.contains("recorded") && table.contains("mean"), "{table}");
    let cells = bench.json("r.json");
    assert_eq!(cells.as_array().unwrap().len(), 2 * 2 * 2);
    for cell in cells.as_array().unwrap() {
        let (hits, requests) = (cell["hits"].as_u64().unwrap(), cell["requests"].as_u64().unwrap());
        assert_eq!(requests, 3000);
        assert!(hits > 0 && hits < requests, "{cell}");
        assert!(cell["maxmemory"].as_u64().unwrap() > 0 && cell["keys_held"].as_u64().unwrap() > 0);
    }
}

/// A tandem that runs until this is dropped.
struct Running {
    child: std::process::Child,
    socket: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bench {
    fn serve(&self) -> Running {
        let socket = self.path("running.sock");
        let child = Command::new(&self.tandem)
            .args(["--port", "0", "--unixsocket"])
            .arg(&socket)
            .current_dir(self.dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let running = Running { child, socket };
        // Generous, for a machine that is busy with other tests.
        for _ in 0..6000 {
            if std::os::unix::net::UnixStream::connect(&running.socket).is_ok() {
                return running;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("tandem does not listen");
    }
}

/// The report of `loadgen run` on this server.
fn run_on(server: &Running, args: &[&str]) -> Value {
    let target = format!("unix:{}", server.socket.display());
    let out = Command::new(LOADGEN)
        .args(["run", "--server", &target, "-q", "--json", "-"])
        .args(args)
        .output()
        .unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn a_mix_takes_any_commands() {
    let Some(bench) = Bench::new() else { return };
    let server = bench.serve();
    let plot = bench.path("p.svg").display().to_string();
    let common =
        ["--keys", "300", "--value-size", "5-50", "-c", "4", "-P", "8", "-n", "4k", "--ttl", "60s-90s"];
    let commands = [
        "--load",
        "HSET h:{key} f {value}",
        "--load",
        "RPUSH list:{+10} {x16} {7}",
        "--command",
        "3 HGET h:{key} f",
        "--command",
        "LRANGE list:{10} 0 -1",
        "--command",
        "1 SET s:{key} {value} PX {ttl}",
        "--plot",
        &plot,
    ];
    let report = run_on(&server, &[&common[..], &commands].concat());
    assert_eq!((report["requests"].as_u64(), report["misses"].as_u64()), (Some(4000), Some(0)));
    bench.picture("p.svg", &["99.9 %", "Latency by percentile"]);
    // What is not there is a miss, whatever the command.
    let report = run_on(&server, &["--keys", "300", "-n", "100", "--command", "GET nosuch:{key}"]);
    assert_eq!(report["misses"].as_u64(), Some(100));
}

#[test]
fn connections_are_replaced_and_caches_invalidated() {
    let Some(bench) = Bench::new() else { return };
    let server = bench.serve();
    let few = ["--keys", "10", "-n", "2k", "-c", "4", "--preload"];
    let report = run_on(&server, &[&few[..], &["--churn", "50"]].concat());
    assert!(report["reconnects"].as_u64().unwrap() >= 30, "{report}");
    let report = run_on(&server, &[&few[..], &["--tracking"]].concat());
    assert!(report["invalidations"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn being_watched_is_measured() {
    let Some(bench) = Bench::new() else { return };
    let table = bench
        .ok("watched --keys 1k -c 4 -P 16 --rounds 2 --hold 300ms --viewers 2 --json {dir}/r.json", &["one"]);
    assert!(table.contains("10 scrapes/s") && table.contains("2 viewers"), "{table}");
    let lines = bench.json("r.json");
    assert_eq!(lines.as_array().unwrap().len(), 5);
    for line in lines.as_array().unwrap() {
        assert!(line["cpu_ns"]["median"].as_f64().unwrap() > 0.0, "{line}");
        if line["case"] == "no endpoint" {
            assert_eq!(line["endpoint_percent_of_core"]["max"].as_f64(), Some(0.0), "{line}");
        }
    }
}

const SNAPSHOT: &str = "snapshot --keys 3k --rate 500 --move-rate 2k --hold 100ms --window 50ms -c 5 --json {dir}/r.json \
                        --curves {dir}/c.svg --plot {dir}/p.svg";

/// A server that writes none says so in its own words, and the others are measured.
#[test]
fn a_snapshot_is_written_or_refused() {
    let Some(bench) = Bench::new() else { return };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let redis = std::env::split_paths(&path).any(|dir| dir.join("redis-server").is_file());
    let alone = bench.run(SNAPSHOT, &["one"]);
    let refused = !alone.status.success();
    let said = String::from_utf8_lossy(&alone.stderr).into_owned();
    assert!(!refused || said.contains("one: save: BGSAVE was refused: ERR"), "{said}");
    if !redis {
        eprintln!("no redis-server in the PATH: its snapshots are not tested");
        return;
    }
    for how in ["bgsave", "save", "bgrewriteaof"] {
        let out = bench.ok(&format!("{SNAPSHOT} --how {how} --server redis=redis-server"), &["one"]);
        assert!(out.contains("Snapshots; latencies"), "{out}");
        let report = bench.json("r.json");
        let of_redis = |s: &&Value| s["server"] == "redis" && s["phase"] == "save";
        let save = report["summary"].as_array().unwrap().iter().find(of_redis).unwrap();
        let snapshot = &save["snapshots"][0];
        // Keys of 16 bytes, however well their values are compressed.
        assert!(snapshot["file_bytes"].as_u64().unwrap() > 3_000 * 10, "{save}");
        assert!(snapshot["seconds"].as_f64().unwrap() > 0.0);
        bench.picture("c.svg", &["redis", "save", "90 %"]);
        bench.picture("p.svg", &["redis", "p99.9"]);
    }
}

#[test]
fn figures_that_make_no_sense_are_refused() {
    let Some(bench) = Bench::new() else { return };
    for args in [
        "shift --stay 95",
        "shift --keys 0",
        "steady --window 1ms",
        "grow --key-size 4",
        "grow -c 1",
        "expire --ttl 2s 1s",
        "expire --burst 0",
    ] {
        assert!(!bench.run(args, &["one"]).status.success(), "{args}");
    }
}
