//! Tests over the whole table.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

#[test]
fn the_table_is_sound() {
    let config = Config::default();
    let mut names: Vec<&str> = SETTINGS.iter().flat_map(|setting| setting.names.iter().copied()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "each name is declared once");
    for setting in SETTINGS {
        assert!(!setting.explanation().is_empty() && setting.explanation().ends_with('.'), "{setting:?}");
        let shown = setting.value(&config);
        let mut again = config.clone();
        runtime::assign_text(&mut again, setting, &shown)
            .unwrap_or_else(|error| panic!("{setting:?}: {error}"));
        assert!(setting.same(&config, &again), "{setting:?} does not read what it shows");
    }
}

#[test]
fn get_knows_patterns_aliases_and_hidden_settings() {
    let config = Config::default();
    let names =
        |pattern: &str| get(&config, &[pattern.as_bytes()]).iter().map(|(n, _)| *n).collect::<Vec<_>>();
    assert_eq!(names("MAXMEMORY-S*"), ["maxmemory-samples"]);
    assert_eq!(names("*-priority"), ["replica-priority", "slave-priority"]);
    assert_eq!(names("key-load-*"), [""; 0]);
    assert_eq!(names("key-load-delay"), ["key-load-delay"]);
    assert_eq!(names("nonsense"), [""; 0]);
    assert_eq!(get(&config, &[b"port", b"p?rt", b"port"]), [("port", b"6379".to_vec())]);
    assert_eq!(get(&config, &[b"bind"]), [("bind", b"127.0.0.1 -::1".to_vec())]);
}

fn set_one(name: &str, value: &str) -> Result<Vec<u8>, String> {
    let (config, _) =
        set(&Config::default(), &[(name.as_bytes(), value.as_bytes())], true).map_err(|e| e.to_string())?;
    Ok(find(name.as_bytes()).unwrap().value(&config))
}

#[test]
fn set_is_all_or_nothing() {
    let config = Config::default();
    let pairs: [(&[u8], &[u8]); 2] = [(b"maxmemory", b"10000001"), (b"TIMEOUT", b"7")];
    let (next, changed) = set(&config, &pairs, false).unwrap();
    assert_eq!((next.maxmemory, next.timeout), (MemoryCap::Bytes(10_000_001), 7));
    assert_eq!(changed.iter().map(|s| s.name()).collect::<Vec<_>>(), ["maxmemory", "timeout"]);
    let (_, changed) = set(&next, &pairs, false).unwrap();
    assert!(changed.is_empty());
    let wrong: [(&[u8], &[u8]); 2] = [(b"maxmemory", b"1"), (b"hz", b"x")];
    assert_eq!(
        set(&config, &wrong, false).unwrap_err().to_string(),
        "CONFIG SET failed (possibly related to argument 'hz') - argument couldn't be parsed into an integer"
    );
}

#[test]
fn set_refuses_as_redis_does() {
    let failed = |name: &str, reason: &str| {
        Err(format!("CONFIG SET failed (possibly related to argument '{name}') - {reason}"))
    };
    let unknown = "Unknown option or number of arguments for CONFIG SET - 'x'";
    assert_eq!(set_one("x", "1"), Err(unknown.to_owned()));
    assert_eq!(set_one("databases", "3"), failed("databases", "can't set immutable config"));
    assert_eq!(set_one("dir", "/"), failed("dir", "can't set protected config"));
    assert_eq!(set_one("appendonly", "YES"), failed("appendonly", "persistence is not built yet"));
    assert_eq!(set_one("appendonly", "no"), Ok(b"no".to_vec()));
    assert_eq!(set_one("protected-mode", "1"), failed("protected-mode", "argument must be 'yes' or 'no'"));
    assert_eq!(set_one("maxmemory", "9999999tb"), failed("maxmemory", "argument must be a memory value"));
    assert_eq!(set_one("maxmemory", "99999999tb"), failed("maxmemory", "argument must be a memory value"));
    assert_eq!(set_one("maxmemory", "-1"), failed("maxmemory", "argument must be a memory value"));
    let pairs: [(&[u8], &[u8]); 2] = [(b"replica-priority", b"1"), (b"replica-priority", b"2")];
    assert_eq!(
        set(&Config::default(), &pairs, false).unwrap_err(),
        SetError::failed("replica-priority", "duplicate parameter")
    );
}

#[test]
fn protected_settings_open_when_told() {
    let mut config = Config { enable_protected_configs: Allow::Local, ..Config::default() };
    let pair: [(&[u8], &[u8]); 1] = [(b"dir", b"/")];
    assert!(set(&config, &pair, false).is_err());
    assert_eq!(set(&config, &pair, true).unwrap().0.dir.0, std::path::Path::new("/"));
    config.enable_protected_configs = Allow::Yes;
    assert!(set(&config, &pair, false).is_ok());
}

#[test]
fn forms_are_canonical() {
    let ok = |text: &str| Ok(text.as_bytes().to_vec());
    assert_eq!(set_one("notify-keyspace-events", "KEA"), ok("AKE"));
    assert_eq!(set_one("notify-keyspace-events", "Elg"), ok("glE"));
    assert_eq!(set_one("notify-keyspace-events", "KEg$lshzxetd"), ok("AKE"));
    assert_eq!(set_one("notify-keyspace-events", "Emn"), ok("nEm"));
    assert_eq!(set_one("save", "3600 1 300 100"), ok("3600 1 300 100"));
    assert_eq!(set_one("save", ""), ok(""));
    assert_eq!(set_one("maxmemory-clients", "5%"), ok("5%"));
    assert_eq!(set_one("maxmemory-clients", "1gb"), ok("1073741824"));
    assert!(set_one("maxmemory-clients", "101%").is_err());
    assert_eq!(set_one("latency-tracking-info-percentiles", "0.1 50 100"), ok("0.1 50 100"));
    assert_eq!(set_one("shutdown-on-sigterm", "now NOSAVE"), ok("nosave now"));
    assert_eq!(set_one("lua-time-limit", "7"), ok("7"));
    assert_eq!(set_one("oom-score-adj", "relative"), ok("yes"));
    assert_eq!(
        set_one("client-output-buffer-limit", "replica 1kb 2 3"),
        ok("normal 0 0 0 slave 1024 2 3 pubsub 33554432 8388608 60")
    );
    assert_eq!(set_one("bind", "* -::*"), ok("* -::*"));
    assert_eq!(set_one("bind", ""), ok(""));
}

#[test]
fn debug_hides_secrets() {
    let config = Config { requirepass: Text::new(b"hush"), ..Config::default() };
    assert_eq!(format!("{config:?}"), r#"{"requirepass": "(redacted)"}"#);
}
