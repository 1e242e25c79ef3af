//! Where settings come from: redis.conf, sidecar.yaml, standard input, flags; and what errors say.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::ffi::OsString;
use std::path::Path;

use tandem::config::{self, Config, ConfigError, Form, Start, find};

fn start(args: &[&str], stdin: &str) -> Result<Config, ConfigError> {
    let args: Vec<OsString> = args.iter().map(OsString::from).collect();
    match config::start(&args, stdin.as_bytes())? {
        Start::Run(config) => Ok(*config),
        other => panic!("{other:?}"),
    }
}

/// The value of a setting after these flags.
fn flag(args: &[&str], name: &str) -> String {
    let config = start(args, "").unwrap_or_else(|error| panic!("{args:?}: {error}"));
    String::from_utf8(find(name.as_bytes()).unwrap().value(&config)).unwrap()
}

fn error(args: &[&str], stdin: &str) -> String {
    start(args, stdin).unwrap_err().to_string()
}

fn bad_line(text: &str, form: Form) -> (usize, String) {
    match config::parse(text.as_bytes(), form) {
        Err(ConfigError::Line(bad)) => (bad.line, bad.reason),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn flags_are_read_as_redis_reads_them() {
    assert_eq!(flag(&["--port", "0", "--unixsocket", "/tmp/x", "--save", ""], "unixsocket"), "/tmp/x");
    assert_eq!(flag(&["--save", "3600", "1", "--save", "60", "1000"], "save"), "3600 1 60 1000");
    assert_eq!(flag(&["--save", "3600 1 60 1000"], "save"), "3600 1 60 1000");
    assert_eq!(flag(&["--save", "60 1", "--save", ""], "save"), "");
    assert_eq!(flag(&["--save", "--port", "7"], "port"), "7");
    assert_eq!(flag(&["--port", "7", "--save"], "save"), "");
    assert_eq!(flag(&["--port 7", "--timeout", "3"], "port"), "7");
    assert_eq!(flag(&["--shutdown-on-sigint", "nosave force"], "shutdown-on-sigint"), "nosave force");
    assert_eq!(flag(&["--shutdown-on-sigint", "nosave", "force"], "shutdown-on-sigint"), "nosave force");
    let title = ["--proc-title-template", "--my--title--template", "--port", "1"];
    assert_eq!(flag(&title, "proc-title-template"), "--my--title--template");
    assert_eq!(flag(&["--PORT", "1", "--port", "2"], "port"), "2");
    assert_eq!(flag(&["--slave-priority", "5"], "replica-priority"), "5");
}

#[test]
fn wrong_flags_say_what_is_wrong() {
    for (args, line, reason) in [
        (
            ["--replicaof", "127.0.0.1", "abc"].as_slice(),
            "'replicaof \"127.0.0.1\" \"abc\"'",
            "Invalid master port",
        ),
        (
            &["--replicaof", "--127.0.0.1", "--abc"],
            "'replicaof \"--127.0.0.1\"'",
            "wrong number of arguments",
        ),
        (&["--port"], "'port'", "wrong number of arguments"),
        (&["--foo"], "'foo'", "Bad directive or wrong number of arguments"),
        (&["--port", "0", "foo"], "'port \"0\" \"foo\"'", "wrong number of arguments"),
        (&["--maxmemory", "9999999tb"], "'maxmemory \"9999999tb\"'", "argument must be a memory value"),
        (&["--prot", "1"], "'prot \"1\"'", "the nearest known one is 'port'"),
        (&["--appendonly", "yes"], "'appendonly \"yes\"'", "persistence is not built yet"),
        (&["--cluster-enabled", "yes"], "'cluster-enabled \"yes\"'", "cluster is not built yet"),
        (&["--tls-port", "1"], "'tls-port \"1\"'", "TLS is not built yet"),
        (&["--requirepass", "a", "b"], "'requirepass (redacted)'", "wrong number of arguments"),
    ] {
        let text = error(args, "");
        assert!(text.contains("*** FATAL CONFIG FILE ERROR (tandem "), "{text}");
        assert!(text.contains(&format!("\n>>> {line}\n{reason}")) || text.contains(reason), "{text}");
        assert!(text.contains(line), "{text}");
    }
    for args in [["--test-memory", "1"], ["--check-system", ""], ["--sentinel", "x"]] {
        assert!(matches!(start(&args, ""), Err(ConfigError::Arguments(_))));
    }
    assert!(
        error(&["/nonexistent/a.conf"], "")
            .contains("can't open config file '/nonexistent/a.conf': No such file")
    );
    let config = start(&["--appendonly", "yes", "--appendonly", "no"], "").unwrap();
    assert!(!config.appendonly, "a later value takes back what is not built");
}

#[test]
fn redis_conf() {
    let text = b"# comment\r\n\n  PORT 7000  \n\"maxclients\" '12'\nsave 900 1\nsave \"\"\nsave 60 10\n\
        rename-command FLUSHALL \"\"\nrename-command CONFIG cfg\nhash-max-ziplist-entries 3\nbind * -::*\n\
        client-output-buffer-limit replica 1mb 2kb 3\nunixsocketperm 0700\nlua-time-limit 8\nsave 70 11";
    let config = config::parse(text, Form::Conf).unwrap();
    assert_eq!((config.port, config.maxclients, config.hash_max_listpack_entries), (7000, 12, 3));
    assert_eq!((config.unixsocketperm, config.busy_reply_threshold), (0o700, 8));
    let value = |name: &str| String::from_utf8(find(name.as_bytes()).unwrap().value(&config)).unwrap();
    assert_eq!(value("save"), "60 10 70 11");
    assert_eq!(
        value("client-output-buffer-limit"),
        "normal 0 0 0 slave 1048576 2048 3 pubsub 33554432 8388608 60"
    );
    assert_eq!(value("rename-command"), "FLUSHALL \"\" CONFIG \"cfg\"");
    assert!(config.notes.iter().any(|note| note.starts_with("'save' is kept but has no effect yet")));
}

#[test]
fn redis_conf_errors_have_lines() {
    let near = "Bad directive or wrong number of arguments; the nearest known one is 'maxmemory-policy'";
    assert_eq!(bad_line("port 1\n\nmaxmemory-polcy x", Form::Conf), (3, near.to_owned()));
    let unbalanced = "Unbalanced quotes in configuration line";
    assert_eq!(bad_line("port 1\ndir \"x", Form::Conf), (2, unbalanced.to_owned()));
    assert_eq!(bad_line("port", Form::Conf), (1, "wrong number of arguments".to_owned()));
    assert_eq!(bad_line("user alice on", Form::Conf).0, 1);
    assert_eq!(bad_line("loadmodule x.so", Form::Conf), (1, "tandem has no loadable modules".to_owned()));
    assert_eq!(
        bad_line("appendonly yes\nport 1", Form::Conf),
        (1, "persistence is not built yet".to_owned())
    );
    assert_eq!(bad_line("save 1", Form::Conf), (1, "Invalid save parameters".to_owned()));
    assert_eq!(bad_line("maxmemory-policy x", Form::Conf).0, 1);
    let text = config::parse(b"port 1\nfoo \x1b[31m", Form::Conf).unwrap_err().to_string();
    assert!(text.contains("Reading the configuration file, at line 2\n>>> 'foo \\u{1b}[31m'\n"), "{text}");
}

#[test]
fn yaml_errors_have_lines_and_near_keys() {
    for (text, line, reason) in [
        (
            "listen:\n  port: 1\n  prot: 2\n",
            3,
            "unknown key 'listen.prot'; the nearest known one is 'listen.port', column 3",
        ),
        (
            "maxmemory: 1gb\n",
            1,
            "unknown key 'maxmemory'; the nearest known one is 'memory.maxmemory', column 1",
        ),
        ("lisen:\n  port: 1\n", 1, "unknown key 'lisen'; the nearest known one is 'listen', column 1"),
        ("zzzzzzzzzz: 1\n", 1, "unknown key 'zzzzzzzzzz', column 1"),
        (
            "\n\nlisten:\n  port: abc\n",
            4,
            "listen.port: argument couldn't be parsed into an integer, column 9",
        ),
        (
            "listen: {port: 70000}\n",
            1,
            "listen.port: argument must be between 0 and 65535 inclusive, column 16",
        ),
        ("workers: 0\n", 1, "workers: argument must be 'auto' or a number between 1 and 256, column 10"),
        ("listen:\n  port: 1\n  port: 2\n", 3, "'port' is given twice, column 3"),
        (
            "persistence:\n  appendonly: true\n",
            2,
            "persistence.appendonly: persistence is not built yet, column 15",
        ),
        (
            "security:\n  protected-mode: 1\n",
            2,
            "security.protected-mode: argument must be 'yes' or 'no', column 19",
        ),
    ] {
        assert_eq!(bad_line(text, Form::Yaml), (line, reason.to_owned()), "{text}");
    }
    for text in [
        "listen: 3\n",
        "- a\n",
        "listen:\n\tport: 3\n",
        "a: [",
        "listen:\n  port: [1]\n",
        "x",
        "1: 2",
        "{}: 1",
    ] {
        assert!(bad_line(text, Form::Yaml).0 >= 1, "{text}");
    }
}

#[test]
fn yaml_values() {
    let text = b"workers: 2\nlisten:\n  port: 0\n  bind: [\"127.0.0.1\", \"-::1\"]\n  unixsocketperm: 0600\n\
        security:\n  requirepass: 0123\n  protected-mode: no\nlimits:\nmemory: ~\npersistence:\n  save:\n  - 900 1\n  - 60 100\n  rdbcompression: false\n\
        latency:\n  latency-tracking-info-percentiles: [50, 99.9]\nlog: {logfile: null}\n";
    let config = config::parse(text, Form::Yaml).unwrap();
    assert_eq!((config.worker_count(), config.port, config.unixsocketperm), (2, 0, 0o600));
    assert_eq!(config.requirepass.as_bytes(), b"0123");
    assert!(!config.protected_mode && !config.rdbcompression && config.logfile.is_empty());
    assert_eq!(config.bind, Config::default().bind);
    assert_eq!(config.save.0.len(), 2);
    assert_eq!(config.latency_tracking_info_percentiles.0, [50.0, 99.9]);
    assert!(config::parse(b"", Form::Yaml).is_ok());
    assert!(config::parse(b"# nothing\n", Form::Yaml).is_ok());
}

#[test]
fn files_input_and_flags_in_their_order() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("a.conf"), "port 1\ntimeout 1\nmaxclients 1\nsave 900 1\n").unwrap();
    std::fs::write(at("a.yaml"), "listen:\n  port: 1\n  timeout: 1\n").unwrap();
    for file in [at("a.conf"), at("a.yaml")] {
        let config = start(&[&file, "--port", "3", "-"], "port 2\ntimeout 2\n").unwrap();
        assert_eq!((config.port, config.timeout), (3, 2));
        assert_eq!(config.file.as_deref(), Some(Path::new(&file).canonicalize().unwrap().as_path()));
        assert_eq!(start(&["--config", &file], "").unwrap().port, 1);
        assert_eq!(start(&["--port", "5", &format!("--config={file}")], "").unwrap().port, 5);
    }
    assert_eq!(flag(&[&at("a.conf"), "--save", "100", "100"], "save"), "900 1 100 100");
    assert_eq!(flag(&[&at("a.conf"), "--save", ""], "save"), "");
    assert_eq!(start(&["-"], "listen:\n  port: 9\n").unwrap().port, 9);
    assert_eq!(start(&["-", "--port", "4"], "# only\nport 9").unwrap().port, 4);
    assert!(start(&[&at("a.conf"), "--config", &at("a.yaml")], "").is_err());
}

#[test]
fn includes() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(at("d")).unwrap();
    std::fs::write(at("d/1.conf"), "timeout 1\nmaxclients 1\n").unwrap();
    std::fs::write(at("d/2.conf"), "timeout 2\n").unwrap();
    std::fs::write(at("d/.hidden.conf"), "foo\n").unwrap();
    std::fs::write(at("a.conf"), format!("include {}\nmaxclients 7\n", at("d/*.conf"))).unwrap();
    let config = start(&[&at("a.conf")], "").unwrap();
    assert_eq!((config.timeout, config.maxclients), (2, 7));
    std::fs::write(at("a.conf"), format!("include {}\n", at("none/*.conf"))).unwrap();
    assert!(start(&[&at("a.conf")], "").is_ok(), "a pattern may match nothing");
    std::fs::write(at("a.conf"), format!("include {}\n", at("none.conf"))).unwrap();
    assert!(error(&[&at("a.conf")], "").contains("No such file or directory"));
    std::fs::write(at("d/1.conf"), "\nport x\n").unwrap();
    std::fs::write(at("a.conf"), format!("include {}\n", at("d/1.conf"))).unwrap();
    assert!(error(&[&at("a.conf")], "").contains("d/1.conf:2)"));
    std::fs::write(at("a.conf"), format!("include {0}\ninclude {0}\n", at("a.conf"))).unwrap();
    assert!(error(&[&at("a.conf")], "").contains("too many files include each other"));
    std::fs::write(at("a.conf"), format!("dir {}\ninclude d/2.conf\n", directory.path().display())).unwrap();
    assert_eq!(start(&[&at("a.conf")], "").unwrap().timeout, 2, "relative to dir, as Redis has it");
}

#[test]
fn redis_own_file_loads() {
    let path = "/etc/redis/redis.conf";
    let Ok(text) = std::fs::read(path) else { return };
    // What that file sets beyond the defaults is directories of its package, which need not be there.
    let lines =
        text.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"dir ")).collect::<Vec<_>>();
    let config = config::parse(&lines.join(b"\n".as_slice()), Form::Conf).unwrap();
    assert_eq!(config.port, 6379);
}
