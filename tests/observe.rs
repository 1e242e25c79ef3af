//! What the server says of itself, and how it is administered: INFO, CONFIG, logs, slow log, latency, DEBUG.

#[allow(unused_imports, reason = "each test crate uses its own part of it")]
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use common::{Client, Options, Server, Value, wait_until};

/// Generous: on a machine with ten times as much to do as it has cores, the helper thread comes late.
const PATIENCE: Duration = Duration::from_secs(60);

fn with_debug() -> Server {
    Options::tandem().set("enable-debug-command", "yes").start()
}

fn info(client: &mut Client, sections: &str) -> String {
    client.command(&format!("info {sections}")).text()
}

/// Section → field names in their order.
fn fields(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(title) => found.push((title.to_owned(), Vec::new())),
            None => {
                let name = line.split(':').next().unwrap_or_default().to_owned();
                found.last_mut().expect("a title first").1.push(name);
            }
        }
    }
    found
}

fn field(text: &str, name: &str) -> Option<String> {
    text.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::to_owned)
}

#[test]
fn info_has_every_field_of_redis_in_its_order() {
    let (tandem, redis) = (Options::tandem().start(), Options::redis().start());
    let ours: BTreeMap<_, _> = fields(&info(&mut tandem.client(), "everything")).into_iter().collect();
    let theirs = fields(&info(&mut redis.client(), "everything"));
    for (section, names) in &theirs {
        let mine = ours.get(section).unwrap_or_else(|| panic!("# {section} is missing"));
        let mut from = 0;
        for name in names {
            let at = mine[from..].iter().position(|n| n == name);
            from += at.unwrap_or_else(|| panic!("{section}: {name} is missing or out of order")) + 1;
        }
    }
    let titles: Vec<&String> = theirs.iter().map(|(title, _)| title).collect();
    let all = info(&mut tandem.client(), "all");
    let shown: Vec<String> = fields(&all).into_iter().map(|(title, _)| title).collect();
    let common: Vec<&String> = shown.iter().filter(|title| titles.contains(title)).collect();
    assert_eq!(common, titles);
}

/// What Redis 7.2 shows beyond 7.0, which the test above runs beside tandem.
const NEW_IN_7_2: &[(&str, &[&str])] = &[
    ("Clients", &["total_blocking_keys", "total_blocking_keys_on_nokey"]),
    (
        "Stats",
        &[
            "client_query_buffer_limit_disconnections",
            "client_output_buffer_limit_disconnections",
            "eventloop_cycles",
            "eventloop_duration_sum",
            "eventloop_duration_cmd_sum",
            "instantaneous_eventloop_cycles_per_sec",
            "instantaneous_eventloop_duration_usec",
            "acl_access_denied_auth",
            "acl_access_denied_cmd",
            "acl_access_denied_key",
            "acl_access_denied_channel",
        ],
    ),
];

#[test]
fn info_has_what_came_with_redis_7_2() {
    let server = Options::tandem().start();
    let mut client = server.client();
    let ours: BTreeMap<_, _> = fields(&info(&mut client, "everything")).into_iter().collect();
    for (section, names) in NEW_IN_7_2 {
        for name in *names {
            assert!(ours[*section].iter().any(|ours| ours == name), "{section}: {name} is missing");
        }
    }
    assert!(info(&mut client, "server").contains("listener0:name="));
}

#[test]
fn keysizes_are_counted_by_type_and_database() {
    let server = Options::tandem().set("enable-debug-command", "yes").start();
    let mut client = server.client();
    let sizes = |client: &mut Client| {
        let text = info(client, "keysizes");
        let lines = text.split("\r\n").filter(|line| !line.is_empty());
        lines.skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(sizes(&mut client).is_empty());
    client.call(&["set", "empty", ""]).expect("set");
    for command in [
        "set number 1024",
        "set seven 1234567",
        "rpush list 1 2 3 4 5",
        "sadd set a b c",
        "zadd zset 1 a",
        "hset hash f v g w",
        "xadd stream * f v",
        "select 3",
        "set elsewhere 0123456789abcdef",
    ] {
        client.command(command);
    }
    let expected = [
        "db0_distrib_strings_sizes:0=1,4=2",
        "db0_distrib_lists_items:4=1",
        "db0_distrib_sets_items:2=1",
        "db0_distrib_zsets_items:1=1",
        "db0_distrib_hashes_items:2=1",
        "db3_distrib_strings_sizes:16=1",
    ];
    assert_eq!(sizes(&mut client), expected);
    // All but what is asked for by name stays as cheap as it was.
    assert!(!info(&mut client, "").contains("Keysizes"));
    client.command("debug populate 40000 key 100");
    let found = sizes(&mut client);
    let line =
        found.iter().find_map(|line| line.strip_prefix("db3_distrib_strings_sizes:")).expect("strings");
    let about = line.split(',').find_map(|class| class.strip_prefix("64=")).expect("a class");
    let about: i64 = about.parse().expect("a number");
    assert!((about - 40_000).abs() < 800, "{line}");
    let seen =
        found.iter().find_map(|line| line.strip_prefix("keysizes_estimated_from_db3:")).expect("estimated");
    assert!((8_192..13_000).contains(&seen.parse::<u32>().expect("a number")), "{seen}");
}

#[test]
fn what_a_client_did_is_counted() {
    let server = Options::tandem().start();
    let mut client = server.client();
    let figures = |client: &mut Client| {
        let line = client.command("client info").text();
        ["tot-net-in=", "tot-net-out=", "tot-cmds="].map(|name| {
            let word = line.trim_end().split(' ').find_map(|word| word.strip_prefix(name)).expect(name);
            word.parse::<u64>().expect("a number")
        })
    };
    let before = figures(&mut client);
    for command in ["set a 1", "get a", "nosuch", "multi", "incr a", "incr a", "exec"] {
        client.command(command);
    }
    let after = figures(&mut client);
    // What the first look was, and then all but the unknown command; those in EXEC count beside it, as in Redis.
    assert_eq!(after[2] - before[2], 1 + 6);
    assert!(after[0] > before[0] && after[1] > before[1], "{before:?} {after:?}");
    let total = |client: &mut Client| -> u64 {
        field(&info(client, "stats"), "total_commands_processed").expect("a field").parse().expect("a number")
    };
    let before = total(&mut client);
    for command in ["multi", "incr a", "incr a", "exec"] {
        client.command(command);
    }
    assert_eq!(total(&mut client) - before, 1 + 4);
}

#[test]
fn info_shows_what_happened() {
    let server = Options::tandem().start();
    let mut client = server.client();
    client.command("set a b ex 100");
    client.command("get a");
    client.command("get nosuch");
    client.command("nosuch");
    client.command("set only");
    let text = info(&mut client, "stats keyspace commandstats errorstats latencystats engines memory");
    assert_eq!(field(&text, "keyspace_hits").as_deref(), Some("1"));
    assert_eq!(field(&text, "keyspace_misses").as_deref(), Some("1"));
    assert_eq!(field(&text, "errorstat_ERR").as_deref(), Some("count=2"));
    assert!(field(&text, "db0").expect("db0").starts_with("keys=1,expires=1,avg_ttl="), "{text}");
    let set = field(&text, "cmdstat_set").expect("set was called");
    assert!(set.starts_with("calls=1,") && set.ends_with("rejected_calls=1,failed_calls=0"), "{set}");
    assert!(field(&text, "latency_percentiles_usec_get").expect("get").starts_with("p50="), "{text}");
    assert!(field(&text, "engine_db0").expect("in use").starts_with("state=steady,generation=1,"), "{text}");
    assert!(field(&text, "used_memory").expect("a figure").parse::<u64>().expect("a number") > 100_000);
    assert_eq!(client.command("config resetstat").text(), "OK");
    let text = info(&mut client, "stats commandstats errorstats");
    assert_eq!(field(&text, "total_error_replies").as_deref(), Some("0"));
    assert_eq!(field(&text, "cmdstat_set"), None);
    assert!(field(&text, "cmdstat_config|resetstat").is_some());
}

#[test]
fn config_set_is_all_or_nothing() {
    let server = Options::tandem().start();
    let mut client = server.client();
    let reply = client.command("config set slowlog-max-len 7 maxmemory nonsense");
    assert!(reply.text().starts_with("ERR CONFIG SET failed (possibly related to argument 'maxmemory')"));
    assert_eq!(client.command("config get slowlog-max-len").items()[1].text(), "128");
    assert_eq!(client.command("config set slowlog-max-len 7 loglevel verbose").text(), "OK");
    let got = client.command("config get slowlog-max-len loglevel").items();
    assert_eq!(
        got.iter().map(Value::text).collect::<Vec<_>>(),
        ["loglevel", "verbose", "slowlog-max-len", "7"]
    );
}

#[test]
fn the_port_can_be_changed_and_a_taken_one_changes_nothing() {
    let server = Options::tandem().tcp().start();
    let mut client = server.client();
    let old = server.port().expect("TCP");
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a socket");
    let taken_port = taken.local_addr().expect("its address").port();
    let before = client.command("config get maxmemory").items();
    let reply = client.command(&format!("config set maxmemory 12345678 port {taken_port}")).text();
    assert!(
        reply.contains("(possibly related to argument 'port') - Unable to listen on this port"),
        "{reply}"
    );
    assert_eq!(client.command("config get maxmemory").items(), before);
    assert_eq!(server.tcp_client().command("ping").text(), "PONG");
    drop(taken);
    assert_eq!(client.command(&format!("config set port {taken_port}")).text(), "OK");
    let mut moved = Client::over_tcp(TcpStream::connect(("127.0.0.1", taken_port)).expect("the new port"));
    assert_eq!(moved.command("ping").text(), "PONG");
    assert!(TcpStream::connect(("127.0.0.1", old)).is_err(), "the old port is closed");
    assert_eq!(client.command("config set bind 127.0.0.2").text(), "OK");
    assert!(TcpStream::connect(("127.0.0.2", taken_port)).is_ok());
    assert!(TcpStream::connect(("127.0.0.1", taken_port)).is_err());
    let reply = client.command("config set bind 999.999.999.999").text();
    assert!(reply.contains("Failed to bind to specified addresses"), "{reply}");
    let mut again = Client::over_tcp(TcpStream::connect(("127.0.0.2", taken_port)).expect("as before"));
    assert_eq!(again.command("ping").text(), "PONG");
}

#[test]
fn slow_and_large_commands_are_kept_without_secrets() {
    let server =
        Options::tandem().set("enable-debug-command", "yes").set("slowlog-log-slower-than", "50000").start();
    let mut client = server.client();
    client.command("client setname tester");
    client.command("debug sleep 0.06");
    let entries = client.command("slowlog get").items();
    assert_eq!(entries.len(), 1);
    let entry = entries[0].items();
    assert!(entry[2].int().expect("microseconds") >= 50_000);
    assert_eq!(entry[3].items().iter().map(Value::text).collect::<Vec<_>>(), ["debug", "sleep", "0.06"]);
    assert_eq!(entry[5].text(), "tester");
    client.command("config set slowlog-log-slower-than 0");
    client.command("config set masterauth secret");
    let shown = format!("{:?}", client.command("slowlog get -1"));
    assert!(!shown.contains("secret"), "{shown}");
    client.command("config set commandlog-reply-larger-than 1000 commandlog-request-larger-than 1000");
    client.call(&["set", "big", &"x".repeat(5000)]).expect("set");
    client.command("get big");
    client.command("get small");
    for (log, command) in [("large-request", "set"), ("large-reply", "get")] {
        let entries = client.command(&format!("commandlog get -1 {log}")).items();
        assert_eq!(entries.len(), 1, "{log}");
        assert_eq!(entries[0].items()[3].items()[0].text(), command);
        assert!(entries[0].items()[2].int().expect("bytes") >= 5000);
    }
    // A reply that is written in pieces is kept with all of its length.
    let element = "y".repeat(100);
    let push: Vec<&str> = ["rpush", "list"].into_iter().chain(std::iter::repeat_n(&*element, 6000)).collect();
    client.call(&push).expect("rpush");
    client.command("config set commandlog-reply-larger-than 300000");
    client.command("lrange list 0 2000");
    client.command("lrange list 0 -1");
    let entries = client.command("commandlog get -1 large-reply").items();
    assert_eq!(entries.len(), 2, "the get, and one of both");
    let (bytes, args) = (entries[0].items()[2].int(), entries[0].items()[3].items());
    assert_eq!(bytes, Some(7 + 6000 * 108));
    assert_eq!(args.iter().map(Value::text).collect::<Vec<_>>(), ["lrange", "list", "0", "-1"]);
}

#[test]
fn latency_events_are_kept_above_the_threshold() {
    let server =
        Options::tandem().set("enable-debug-command", "yes").set("latency-monitor-threshold", "30").start();
    let mut client = server.client();
    client.command("debug sleep 0.05");
    let latest = client.command("latency latest").items();
    let event = latest.iter().map(Value::items).find(|e| e[0].text() == "command").expect("the sleep");
    assert!(event[2].int().expect("ms") >= 50 && event[3] == event[2]);
    assert_eq!(client.command("latency history command").items().len(), 1);
    assert!(client.command("latency graph command").text().starts_with("command - high "));
    assert!(client.command("latency doctor").text().contains("1. command: 1 latency spikes"));
    assert!(client.command("latency reset command").int() == Some(1));
    client.command("get a");
    let histogram = client.command("latency histogram get nosuch").items();
    assert_eq!(histogram[0].text(), "get");
    assert_eq!(histogram.len(), 2);
}

#[test]
fn monitor_shows_commands_but_no_passwords() {
    let server = Options::tandem().start();
    let (mut monitor, mut client) = (server.client(), server.client());
    assert_eq!(monitor.command("monitor").text(), "OK");
    client.command("set foo bar");
    client.command("auth somebody secret");
    client.command("config get maxmemory");
    client.command("ping");
    let lines: Vec<String> = (0..3).map(|_| monitor.read().expect("a line").value.text()).collect();
    assert!(lines[0].ends_with(r#""set" "foo" "bar""#), "{lines:?}");
    assert!(lines[1].ends_with(r#""auth" "(redacted)" "(redacted)""#), "{lines:?}");
    assert!(lines[2].ends_with(r#""ping""#), "{lines:?}");
}

#[test]
fn writes_are_refused_above_maxmemory() {
    let server = Options::tandem().start();
    let mut client = server.client();
    client.command("set a 1");
    client.command("config set maxmemory 1");
    assert_eq!(client.command("set a 2").text(), "OOM command not allowed when used memory > 'maxmemory'.");
    assert_eq!(client.command("get a").text(), "1");
    assert_eq!(client.command("del a").int(), Some(1));
    client.command("config set maxmemory 0");
    assert_eq!(client.command("set a 2").text(), "OK");
}

#[test]
fn a_digest_is_of_the_data_and_not_of_its_place() {
    let server = with_debug();
    let mut client = server.client();
    assert_eq!(client.command("debug digest").text(), "0".repeat(40));
    client.command("debug populate 2000 key 50");
    client.command("set other 1 px 1000000");
    let digest = client.command("debug digest").text();
    assert_eq!(digest.len(), 40);
    // It may shrink again by itself right away, so what is counted are the migrations.
    let migrations = |client: &mut Client| client.command("debug engines status").items()[13].int();
    let before = migrations(&mut client);
    client.command("debug engines grow");
    wait_until("an engine has moved", PATIENCE, || migrations(&mut client) > before);
    wait_until("it is steady", PATIENCE, || {
        client.command("debug engines status").items()[1].text() == "steady"
    });
    assert_eq!(client.command("debug digest").text(), digest);
    client.command("persist other");
    assert_ne!(client.command("debug digest").text(), digest, "a deadline counts");
    client.command("set twin 1");
    let twins = client.command("debug digest-value other twin nosuch").items();
    assert_eq!(twins[0], twins[1]);
    assert_eq!(twins[2].text(), "0".repeat(40));
    client.command("flushall");
    assert_eq!(client.command("debug digest").text(), "0".repeat(40));
}

#[test]
fn debug_is_closed_by_default() {
    let server = Options::tandem().start();
    assert!(server.client().command("debug sleep 0").text().starts_with("ERR DEBUG command not allowed."));
}

#[test]
fn shutdown_ends_with_0_and_removes_the_pid_file() {
    let mut server = Options::tandem().set("pidfile", "tandem.pid").set("always-show-logo", "yes").start();
    let pid_file = server.dir().join("tandem.pid");
    assert_eq!(fs::read_to_string(&pid_file).expect("pid file").trim(), server.pid().to_string());
    let mut client = server.client();
    assert_eq!(client.command("shutdown abort").text(), "ERR No shutdown in progress.");
    assert_eq!(client.command("shutdown save nosave").text(), "ERR syntax error");
    client.send(&["shutdown", "nosave"]).expect("sent");
    assert_eq!(client.read_to_end().expect("closed"), b"");
    assert_eq!(server.wait_exit().code(), Some(0));
    assert!(!pid_file.exists());
    let log = server.log();
    let logo = log.find(&format!(" PID: {}", server.pid())).expect("the logo");
    let initialized = log.find("Server initialized").expect("started");
    assert!(logo < initialized);
    assert!(log.contains("ready to exit, bye bye"));
    assert!(log.contains(&format!("{}:M ", server.pid())));
}

#[test]
fn it_goes_to_the_background_and_logs_to_a_file() {
    let dir = tempfile::tempdir().expect("folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let conf = format!(
        "port 0\nunixsocket {}\ndir {}\ndaemonize yes\npidfile {}\nlogfile log\n",
        path("socket"),
        dir.path().display(),
        path("pid")
    );
    fs::write(dir.path().join("conf"), conf).expect("conf");
    let status = Command::new(common::tandem_binary()).arg(dir.path().join("conf")).status().expect("start");
    assert!(status.success());
    wait_until("it answers", PATIENCE, || {
        Client::unix(&dir.path().join("socket")).is_ok_and(|mut c| c.call(&["ping"]).is_ok())
    });
    let pid = fs::read_to_string(dir.path().join("pid")).expect("pid file").trim().to_owned();
    let mut client = Client::unix(&dir.path().join("socket")).expect("connected");
    assert_eq!(field(&info(&mut client, "server"), "process_id").as_deref(), Some(pid.as_str()));
    client.send(&["shutdown"]).expect("sent");
    client.read_to_end().expect("closed");
    wait_until("the pid file is gone", PATIENCE, || !dir.path().join("pid").exists());
    assert!(fs::read_to_string(dir.path().join("log")).expect("log").contains("Ready to accept connections"));
}

#[test]
fn memory_is_reported_and_given_back() {
    let server = with_debug();
    let mut client = server.client();
    assert_eq!(client.command("memory usage nosuch"), Value::Null);
    client.command("set a 1");
    let small = client.command("memory usage a").int().expect("bytes");
    assert!((8..100).contains(&small), "{small}");
    assert_eq!(client.command("memory usage a samples -1").text(), "ERR syntax error");
    client.call(&["set", "b", &"x".repeat(100_000)]).expect("set");
    assert!(client.command("memory usage b samples 0").int().expect("bytes") > 100_000);
    assert!(client.command("memory doctor").text().len() > 10);
    assert!(client.command("memory malloc-stats").text().contains("jemalloc statistics"));
    assert_eq!(client.command("memory purge").text(), "OK");
    let stats = client.command("memory stats").items();
    assert!(stats.iter().any(|v| v.text() == "db.0"));
    assert_eq!(stats.len() % 2, 0);
}

#[test]
fn the_load_of_the_engines_follows_its_settings() {
    let server = with_debug();
    let mut client = server.client();
    let shards = |client: &mut Client| {
        let info = info(client, "engines");
        let line = info.split("\r\n").find(|line| line.starts_with("engine_db0:")).expect("db0").to_owned();
        let value = |name: &str| {
            let found = line.split([':', ',']).find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_else(|| panic!("{name} in {line}")).to_owned()
        };
        (value("state"), value("shards").parse::<u32>().expect("a number"))
    };
    client.command("config set migration-cpu-percent 50");
    client.command("debug populate 5000");
    wait_until("it has grown", PATIENCE, || shards(&mut client).0 == "steady");
    let before = shards(&mut client).1;
    assert_eq!(client.command("config set engine-shrink-percent 0 engine-grow-percent 50").text(), "OK");
    let mut n = 0;
    wait_until("it grows at half the load", PATIENCE, || {
        n += 1;
        client.command(&format!("set more:{n} x"));
        let now = shards(&mut client);
        now.0 == "steady" && now.1 > before
    });
    assert!(n < 5000, "after {n} more keys");
    assert_eq!(client.command("dbsize"), Value::Int(5000 + n));
}

/// The lines of a log of JSON; anything else in it fails.
fn json_log(server: &Server) -> Vec<serde_json::Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    server.log().lines().map(parse).collect()
}

#[test]
fn the_log_can_be_json_and_names_connections_but_no_data() {
    let server = Options::tandem()
        .set("log-format", "json")
        .set("enable-debug-command", "yes")
        .set("slowlog-log-slower-than", "0")
        .set("slowlog-to-log", "yes")
        .start();
    let mut client = server.client();
    let id = client.command("client id").int().expect("a number");
    client.command("set secretkey secretvalue");
    client.command("config set masterauth secretword");
    client.command("get secretkey");
    client.command("config set hide-user-data-from-log no");
    client.command("set open sesame");
    client.command("config set masterauth secretword2");
    client.command("ping");
    let ours = |command: &str| -> Vec<serde_json::Value> {
        let lines = json_log(&server).into_iter();
        lines.filter(|line| line["command"] == command && line["client"] == id).collect()
    };
    wait_until("the last command is logged", PATIENCE, || !ours("ping").is_empty());
    assert!(!server.log().contains("secret"), "{}", server.log());
    let sets = ours("set");
    assert_eq!(sets[0]["args"], "(9 bytes) (11 bytes)");
    assert_eq!(sets[1]["args"], r#""open" "sesame""#);
    let gets = ours("get");
    assert_eq!(gets[0]["trace"], sets[0]["trace"], "of one connection");
    assert_ne!(gets[0]["span"], sets[0]["span"], "of two commands");
    let run_id = field(&info(&mut client, "server"), "run_id").expect("run_id");
    assert_eq!(sets[0]["trace"].as_str(), Some(format!("{}{id:016x}", &run_id[..16]).as_str()));
    assert!(sets[0]["micros"].is_u64() && sets[0]["addr"].is_string() && sets[0]["level"] == "notice");
    let started = &json_log(&server)[0];
    assert_eq!(started["pid"], server.pid());
    assert!(started["message"].as_str().is_some_and(|text| text.contains("starting")), "{started}");
    assert!(started["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{started}");
}
