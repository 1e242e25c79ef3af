//! Every setting goes SET → REWRITE → load → GET and comes back, in both forms of file. Generated over the table.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::ffi::OsString;
use std::path::Path;

use tandem::config::{self, Config, Form, SETTINGS, Setting, Spec, Start, Status};

/// Values to try for a setting.
fn samples(setting: &Setting) -> Vec<String> {
    let own: &[&str] = match setting.name() {
        "workers" => &["3", "auto", "256"],
        "bind" => &["10.0.0.1 -::1", "*", ""],
        "save" => &["3600 1 300 100 60 10000", "1 0", ""],
        "client-output-buffer-limit" => &["normal 1kb 2mb 3 replica 4gb 5 6 pubsub 7 8 9"],
        "notify-keyspace-events" => &["KEA", "AKEm", "AnKEm", "$x", ""],
        "latency-tracking-info-percentiles" => &["0.001 50 99.999 100", ""],
        "oom-score-adj-values" => &["-2000 0 2000"],
        "rename-command" => &["FLUSHALL \"\" CONFIG \"my config\""],
        "dir" => &["/"],
        "proc-title-template" => &["{title} \"x\" {port}"],
        _ => &[],
    };
    if !own.is_empty() {
        return own.iter().map(|value| (*value).to_owned()).collect();
    }
    match setting.spec {
        Spec::Bool => vec!["yes".to_owned(), "no".to_owned()],
        Spec::Int { min, max, .. } => vec![min.to_string(), max.to_string(), (min.max(0) + 1).to_string()],
        Spec::Memory { min, max } => {
            vec![min.to_string(), max.to_string(), "12345678".to_owned(), "1gb".to_owned()]
        }
        Spec::MemoryCap => vec!["7%".to_owned(), "2mb".to_owned(), "auto".to_owned()],
        Spec::MemoryOrPercent => vec!["7%".to_owned(), "2mb".to_owned(), "1".to_owned()],
        Spec::Octal => vec!["777".to_owned(), "0600".to_owned(), "0".to_owned()],
        Spec::Choice(words) | Spec::Choices(words) => words.iter().map(|word| (*word).to_owned()).collect(),
        Spec::FileName(_) => vec!["other name.x".to_owned(), "#x".to_owned()],
        Spec::Text | Spec::Title | Spec::Password => {
            let texts = [
                "",
                "plain",
                "two words",
                "\"quoted\" 'twice'",
                "# no comment",
                "a: b # c",
                "line\nbreak\r\t\x07\x1b",
                "ends with \\",
                "null",
                "~",
                "0123",
                "1e3",
                "no",
                "- x",
                "{a: b}",
                "*x",
                "&x",
                "!t",
                "%",
                "@",
                "`",
                "é ü 漢",
            ];
            texts.iter().map(|text| (*text).to_owned()).collect()
        }
        Spec::Form(_) | Spec::Words(_) => Vec::new(),
    }
}

fn load(file: &Path) -> Config {
    match config::start(&[OsString::from(file)], std::io::empty()) {
        Ok(Start::Run(config)) => *config,
        other => panic!("{other:?}"),
    }
}

/// The configuration with a setting changed: by CONFIG SET where that may, else as a file would.
fn with(base: &Config, setting: &Setting, value: &str) -> Result<Config, String> {
    let pair: [(&[u8], &[u8]); 1] = [(setting.name().as_bytes(), value.as_bytes())];
    if setting.is_live() {
        return config::set(base, &pair, true).map(|(config, _)| config).map_err(|error| error.to_string());
    }
    let quoted = String::from_utf8(config::repr(value.as_bytes())).unwrap();
    let line = format!("{} {quoted}\n", setting.name());
    let loaded = config::parse(line.as_bytes(), Form::Conf).map_err(|error| error.to_string())?;
    Ok(Config { file: base.file.clone(), enable_protected_configs: config::Allow::Yes, ..loaded })
}

fn round_trips(name: &str, text: &str) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(name);
    let mut tried = 0;
    for setting in SETTINGS {
        for value in samples(setting) {
            std::fs::write(&file, text).unwrap();
            let base = load(&file);
            assert_eq!(base.enable_protected_configs, config::Allow::Yes);
            let changed = match with(&base, setting, &value) {
                Ok(changed) => changed,
                Err(error) => {
                    let refusable = matches!(setting.status, Status::Later(_) | Status::Refused(_));
                    assert!(refusable, "{setting:?} {value:?}: {error}");
                    continue;
                }
            };
            config::rewrite(&changed, false).unwrap_or_else(|error| panic!("{setting:?} {value:?}: {error}"));
            let shown = setting.value(&changed);
            assert_eq!(setting.value(&load(&file)), shown, "{setting:?} {value:?}");
            assert!(std::fs::read_to_string(&file).unwrap().starts_with("# mine\n"), "comments stay");
            tried += 1;
        }
    }
    assert!(tried > SETTINGS.len(), "{tried} values were tried");
}

#[test]
fn redis_conf_brings_back_every_setting() {
    round_trips("redis.conf", "# mine\nenable-protected-configs yes\n");
}

#[test]
fn yaml_brings_back_every_setting() {
    round_trips("sidecar.yaml", "# mine\nsecurity:\n  enable-protected-configs: yes\n");
}

#[test]
fn the_shipped_file_can_be_rewritten() {
    let text = config::docs::sidecar_yaml()
        .replace("enable-protected-configs: \"no\"", "enable-protected-configs: \"yes\"");
    round_trips("sidecar.yaml", &format!("# mine\n{text}"));
}

#[test]
fn bytes_that_are_no_text_survive_redis_conf_and_are_refused_by_yaml() {
    let directory = tempfile::tempdir().unwrap();
    let all: Vec<u8> = (1..=255).collect();
    for (name, works) in [("a.conf", true), ("a.yaml", false)] {
        let file = directory.path().join(name);
        std::fs::write(&file, "").unwrap();
        let (changed, _) = config::set(&load(&file), &[(b"requirepass", all.as_slice())], true).unwrap();
        assert_eq!(config::rewrite(&changed, false).is_ok(), works);
        let expected: &[u8] = if works { &all } else { b"" };
        assert_eq!(load(&file).requirepass.as_bytes(), expected);
    }
    assert!(config::set(&Config::default(), &[(b"masteruser", b"a\0b")], true).is_err());
}

#[test]
fn a_file_with_every_setting_loads_as_the_same() {
    for form in [Form::Conf, Form::Yaml] {
        let config = Config::shipped();
        let text = config::render(&config, form).unwrap();
        let loaded = config::parse(&text, form).unwrap();
        assert!(SETTINGS.iter().all(|setting| setting.same(&config, &loaded)));
        for setting in SETTINGS.iter().filter(|setting| setting.name() != "rename-command") {
            let name = format!("{}{} ", setting.name(), if form == Form::Yaml { ":" } else { "" });
            let found =
                String::from_utf8_lossy(&text).lines().any(|line| line.trim_start().starts_with(&name));
            assert!(found, "{name} in {form:?}");
        }
    }
}
