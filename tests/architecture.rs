//! Dependencies between the folders of src/ point one way (the map is in docs/architecture.md).
//!
//! Reads every `crate::…` path outside of test code and fails on an arrow that `ALLOWED` does not have. An arrow is
//! added here on purpose and with the page, never to make a build pass.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules that everybody may use: they know nothing of tandem.
const FOUNDATION: &[&str] = &["clock", "glob", "sync", "sys"];

/// Module → what it may use. Top to bottom is the way of a request.
const ALLOWED: &[(&str, &[&str])] = &[
    ("main", &["server", "config", "memory", "top"]),
    // A client of its own: it knows nothing of the server's inside.
    ("top", &[]),
    (
        "server",
        &[
            "shared",
            "protocol",
            "commands",
            "config",
            "observe",
            "security",
            "memory",
            "keys",
            "keyspace",
            "expiry",
            "effects",
            "delivery",
            "eviction",
            "events",
            "persistence",
            "replication",
            "cluster",
            "clients",
            "values",
            "blocking",
        ],
    ),
    // What all workers share; it holds one of each, so that nothing else needs to.
    (
        "shared",
        &[
            "commands",
            "config",
            "keyspace",
            "expiry",
            "effects",
            "events",
            "observe",
            "protocol",
            "security",
            "memory",
            "eviction",
            "persistence",
            "replication",
            "cluster",
            "scripting",
            "server",
            "clients",
            "blocking",
        ],
    ),
    (
        "commands",
        &[
            "shared",
            "protocol",
            "error",
            "keys",
            "keyspace",
            "values",
            "effects",
            "delivery",
            "events",
            "expiry",
            "config",
            "observe",
            "memory",
            "scripting",
            "cluster",
            "security",
            "persistence",
            "replication",
            "eviction",
            "clients",
            "blocking",
            "rdb",
        ],
    ),
    ("scripting", &["shared", "commands", "protocol", "config", "security"]),
    // What the workers know of each other's connections.
    ("clients", &["config", "memory", "protocol"]),
    // Who waits for which key, and with what; commands run them.
    ("blocking", &["clients", "keyspace", "protocol", "values"]),
    ("protocol", &["values"]),
    ("keyspace", &["values", "memory"]),
    ("values", &["memory"]),
    ("rdb", &["values"]),
    ("expiry", &["keyspace", "effects", "values", "memory"]),
    ("eviction", &["keyspace", "effects", "expiry", "memory", "values", "config"]),
    // What handlers state. Who hears of it is the matter of `delivery`.
    ("effects", &["keyspace", "values", "rdb", "config"]),
    ("delivery", &["effects", "keys", "events", "clients", "keyspace", "rdb", "shared", "values"]),
    // The locked keys of a command; handlers and delivery see the keyspace through them.
    ("keys", &["error", "effects", "eviction", "expiry", "keyspace", "values"]),
    ("error", &["keyspace"]),
    ("events", &["effects", "keyspace", "protocol", "values", "rdb", "config", "clients"]),
    ("persistence", &["rdb", "effects", "keyspace", "values", "config", "expiry", "protocol", "memory"]),
    ("replication", &["effects", "keyspace", "persistence", "protocol", "config", "values"]),
    ("cluster", &["effects", "keyspace", "replication", "protocol", "config"]),
    ("sentinel", &["shared", "protocol", "config", "commands"]),
    ("security", &["config"]),
    ("config", &["protocol", "memory"]),
    ("observe", &["config", "keyspace", "memory", "protocol", "expiry", "events", "shared", "clients"]),
    ("memory", &[]),
    ("sys", &[]),
    ("clock", &[]),
    ("glob", &[]),
    ("sync", &[]),
    ("lib", &[]),
];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a source folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            sources(&entry, into);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            into.push(entry);
        }
    }
}

/// `src/keyspace/shard.rs` → `keyspace`.
fn module_of(root: &Path, file: &Path) -> String {
    let inside = file.strip_prefix(root).expect("below src/");
    let first = inside.iter().next().expect("a name").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// Code without comments, and without what follows `#[cfg(test)]` on a module or file.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn name_at(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// First names of all `crate::` paths, those in `crate::{a, b::c}` included.
fn used(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            names.insert(name_at(rest));
            continue;
        };
        let (mut depth, mut at_start) = (1, true);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' => at_start = true,
                c if c.is_whitespace() => {}
                _ if at_start && depth == 1 => {
                    names.insert(name_at(&group[at..]));
                    at_start = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    names
}

#[test]
fn dependencies_point_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut files = Vec::new();
    sources(&root, &mut files);
    let modules: BTreeSet<String> = files.iter().map(|file| module_of(&root, file)).collect();
    let mut wrong = Vec::new();
    for file in &files {
        let from = module_of(&root, file);
        let Some(may) = allowed.get(from.as_str()) else {
            wrong.push(format!("{}: src/{from} is not on the map in tests/architecture.rs", file.display()));
            continue;
        };
        for to in used(&code(&fs::read_to_string(file).expect("a source file"))) {
            let known = to == from || FOUNDATION.contains(&to.as_str()) || may.contains(&to.as_str());
            // A name that is no module is an item or macro of the crate root.
            if modules.contains(&to) && !known {
                wrong.push(format!("{}: {from} → {to}", file.strip_prefix(&root).unwrap_or(file).display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that the map does not have:\n  {}", wrong.join("\n  "));
}

/// No file so long that nobody finds anything in it. Tables of data are the exception.
#[test]
fn files_stay_readable() {
    const LINES_MAX: usize = 900;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let long: Vec<String> = files
        .iter()
        .map(|file| (file, fs::read_to_string(file).expect("a source file").lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(file, lines)| format!("{}: {lines} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "over {LINES_MAX} lines:\n  {}", long.join("\n  "));
}

#[test]
fn the_reader_of_paths_reads_them() {
    let text = "use crate::values::Blob;\nuse crate::{clock, keyspace::{Batch, Entry}, sys::mmap};\n// crate::server\nfn f() { crate::memory::used(); }";
    let names = used(&code(text));
    let expected = ["clock", "keyspace", "memory", "sys", "values"];
    assert_eq!(names, expected.into_iter().map(str::to_owned).collect());
}
