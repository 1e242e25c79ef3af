//! `/metrics`: a real parser reads it, docs/metrics.md says what is in it, and it says what happened.
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Options, Server, http, wait_until};
use tandem::observe::metrics::{self, Kind};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server on which everything that has a metric has happened at least once.
fn eventful() -> Server {
    let server = Options::tandem()
        .http()
        .set("enable-debug-command", "yes")
        .set("latency-monitor-threshold", "1")
        .set("slowlog-log-slower-than", "1000")
        .start();
    let mut client = server.client();
    for command in [
        "set a 1",
        "get a",
        "get nosuch",
        "set short 1 px 1",
        "hset h f v",
        "lpush l 1",
        "nosuch",
        "debug sleep 0.01",
    ] {
        client.command(command);
    }
    // The timer takes it, whoever looks; and a keyspace of this size has moved at least once.
    client.command("debug populate 3000 key 20");
    let mut subscriber = server.client();
    subscriber.command("subscribe news");
    client.command("publish news x");
    wait_until("a key has expired by its timer and keys have moved", PATIENCE, || {
        let scrape = scrape(&server);
        let at_least_one = |name: &str| scrape.get(name).is_some_and(|value| *value >= 1.0);
        at_least_one("tandem_expiry_lateness_seconds_count") && at_least_one("tandem_migrations_total")
    });
    server
}

/// Series → value, in the form of Prometheus.
fn scrape(server: &Server) -> BTreeMap<String, f64> {
    let answer = server.http_get("/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let series = answer.body.lines().filter(|line| !line.starts_with('#'));
    series
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
        })
        .collect()
}

/// Names of the families that a scrape has.
fn families(body: &str) -> BTreeSet<&str> {
    body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
}

#[test]
fn the_manual_page_is_current() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    if std::env::var_os("TANDEM_BLESS").is_some() {
        std::fs::write(&file, metrics::docs::manual()).expect("the file can be written");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == metrics::docs::manual(),
        "docs/metrics.md is stale: run TANDEM_BLESS=1 cargo test --test metrics"
    );
}

#[test]
fn the_manual_page_has_what_a_scrape_has() {
    let server = eventful();
    let answer = server.http_get("/metrics");
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md"));
    let page = page.expect("docs/metrics.md");
    let documented: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(families(&answer.body), documented);
}

#[test]
fn it_says_what_happened() {
    let server = eventful();
    let now = scrape(&server);
    for (series, expected) in [
        ("redis_up", 1.0),
        (r#"redis_commands_total{cmd="get"}"#, 2.0),
        ("redis_keyspace_hits_total", 1.0),
        ("redis_keyspace_misses_total", 1.0),
        ("redis_expired_keys_total", 1.0),
        (r#"redis_errors_total{err="ERR"}"#, 1.0),
        (r#"redis_db_keys{db="db0"}"#, 3003.0),
        ("tandem_events_delivered_total", 1.0),
        (r#"tandem_policy_hits_total{policy="noeviction"}"#, 1.0),
        (r#"tandem_policy_hit_ratio{policy="noeviction"}"#, 0.5),
        (r#"tandem_command_duration_seconds_count{family="hash"}"#, 1.0),
        ("tandem_expiry_lateness_seconds_count", 1.0),
        (r#"tandem_expiry_lateness_seconds_bucket{le="+Inf"}"#, 1.0),
    ] {
        assert_eq!(now.get(series), Some(&expected), "{series}");
    }
    for positive in [
        "redis_memory_used_bytes",
        "redis_memory_used_rss_bytes",
        "redis_net_input_bytes_total",
        "redis_net_output_bytes_total",
        "redis_total_writes_processed_total",
        "redis_slowlog_length",
        "tandem_keys_moved_total",
        r#"tandem_thread_cpu_seconds_total{thread="worker-0"}"#,
        "tandem_memory_ceiling_bytes",
    ] {
        assert!(now.get(positive).is_some_and(|value| *value > 0.0), "{positive}: {:?}", now.get(positive));
    }
    let info = now.keys().find(|name| name.starts_with("redis_instance_info{")).expect("the instance");
    assert!(info.contains(r#"role="master""#) && info.contains(r#"maxmemory_policy="noeviction""#), "{info}");
    let mut client = server.client();
    client.command("config set maxmemory-policy allkeys-lru");
    client.command("get a");
    wait_until("the new policy has the hit", PATIENCE, || {
        scrape(&server).get(r#"tandem_policy_hits_total{policy="allkeys-lru"}"#) == Some(&1.0)
    });
    assert_eq!(scrape(&server).get(r#"tandem_policy_hits_total{policy="noeviction"}"#), Some(&1.0));
    client.command("config resetstat");
    wait_until("the counters are at 0", PATIENCE, || {
        scrape(&server).get("redis_keyspace_hits_total") == Some(&0.0)
    });
}

/// Reads a scrape from standard input with the parser of prometheus-client, and prints name and kind of each family.
const PARSER: &str = "
import sys
if sys.argv[1] == 'openmetrics':
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
else:
    from prometheus_client.parser import text_string_to_metric_families as parse
for family in parse(sys.stdin.read()):
    assert family.samples, family
    print(family.name, family.type)
";

fn parsed(form: &str, text: &str) -> BTreeMap<String, String> {
    use std::io::Write;
    let python = common::target_dir().join("clients/venv/bin/python");
    let mut child = Command::new(&python)
        .args(["-c", PARSER, form])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; run scripts/test --setup", python.display()));
    child.stdin.take().expect("its input").write_all(text.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("its end");
    assert!(output.status.success(), "the parser refused this as {form}:\n{text}");
    let lines = String::from_utf8(output.stdout).expect("text");
    lines.lines().filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

#[test]
fn the_parser_of_prometheus_reads_both_forms() {
    let server = eventful();
    let plain = server.http_get("/metrics").body;
    let open = http::ask(
        server.http_stream(),
        "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.3\r\n\
         Connection: close\r\n\r\n",
    )
    .expect("an answer");
    let kind = open.header("content-type");
    assert_eq!(kind, Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let declared: BTreeMap<String, String> = metrics::CHAPTERS
        .iter()
        .flat_map(|chapter| chapter.metrics)
        .map(|metric| {
            // The parser names a counter's family without its suffix, in both forms.
            let name = match metric.kind {
                Kind::Counter => metric.name.trim_end_matches("_total"),
                _ => metric.name,
            };
            (name.to_owned(), metric.kind.word().to_owned())
        })
        .collect();
    assert_eq!(parsed("prometheus", &plain), declared);
    assert_eq!(parsed("openmetrics", &open.body), declared);
}
