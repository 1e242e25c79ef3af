//! sidecar.yaml and docs/configuration.md are what the table of settings says.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::Options;
use tandem::config::{Config, Form, docs, parse};

/// Compares a file of the repository; `TANDEM_BLESS=1` writes it instead.
fn is_current(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("TANDEM_BLESS").is_some() {
        std::fs::write(&file, expected).expect("the file can be written");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == expected, "{path} is stale: run TANDEM_BLESS=1 cargo test --test config_docs");
}

#[test]
fn sidecar_yaml_is_current() {
    is_current("sidecar.yaml", &docs::sidecar_yaml());
}

#[test]
fn the_manual_page_is_current() {
    is_current("docs/configuration.md", &docs::manual());
}

#[test]
fn sidecar_yaml_loads_as_the_defaults() {
    let config = parse(docs::sidecar_yaml().as_bytes(), Form::Yaml).expect("the shipped file loads");
    let expected =
        Config { started_in: config.started_in.clone(), notes: config.notes.clone(), ..Config::shipped() };
    assert_eq!(config, expected);
    assert!(config.notes.is_empty(), "{:?}", config.notes);
}

/// All settings of a server as CONFIG GET shows them.
fn settings(options: Options) -> BTreeMap<String, String> {
    let server = options.start();
    let words: Vec<String> =
        server.client().command("CONFIG GET *").items().iter().map(|word| word.text()).collect();
    words.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

#[test]
fn defaults_are_those_of_redis_but_for_the_documented_ones() {
    // Every test server is given these.
    let given = ["port", "bind", "unixsocket", "unixsocketperm", "dir", "daemonize", "save"];
    let (ours, theirs) = (settings(Options::tandem()), settings(Options::redis()));
    let differs = |name: &&String| theirs.get(*name).is_some_and(|value| *value != ours[*name]);
    let found: BTreeSet<&str> = ours.keys().filter(differs).map(String::as_str).collect();
    let found: BTreeSet<&str> = found.into_iter().filter(|name| !given.contains(name)).collect();
    let documented = docs::DIFFERENT.iter().map(|(name, ..)| *name).filter(|name| !given.contains(name));
    assert_eq!(found, documented.collect());
    for (name, value, _) in docs::DIFFERENT.into_iter().filter(|(name, ..)| found.contains(name)) {
        let value = if value == "100mb" { "104857600" } else { value };
        assert_eq!(theirs[name], value, "{name}");
    }
}
