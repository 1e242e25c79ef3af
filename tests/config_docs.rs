//! sidecar.yaml and docs/configuration.md are what the table of settings says.

use std::path::Path;

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
