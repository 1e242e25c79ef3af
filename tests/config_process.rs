//! The binary's own flags and exit codes.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Exit code, standard output and standard error.
fn tandem(directory: &Path, args: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tandem"))
        .args(args)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may be gone before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn version_help_and_the_default_file() {
    let directory = tempfile::tempdir().unwrap();
    for flag in ["-v", "--version"] {
        let (code, out, _) = tandem(directory.path(), &[flag], "");
        assert_eq!(code, 0);
        assert!(out.starts_with("tandem server v="), "{out}");
    }
    for flag in ["-h", "--help"] {
        let (code, out, _) = tandem(directory.path(), &[flag], "");
        assert_eq!(code, 0);
        assert!(
            out.contains("--check-config") && out.lines().all(|line| line.chars().count() <= 100),
            "{out}"
        );
    }
    let (code, out, _) = tandem(directory.path(), &["--dump-default-config"], "");
    assert_eq!((code, out), (0, tandem::config::docs::sidecar_yaml()));
}

#[test]
fn check_config() {
    let directory = tempfile::tempdir().unwrap();
    let args =
        ["--check-config", "--port", "7", "--bind", "127.0.0.1", "--unixsocket", "x.sock", "--workers", "2"];
    let (code, out, _) = tandem(directory.path(), &args, "");
    assert_eq!(
        (code, out.as_str()),
        (0, "OK\nlistens on unix x.sock mode 0660\nlistens on tcp 127.0.0.1:7\nworkers 2\n")
    );
    let (code, _, error) = tandem(directory.path(), &["-", "--check-config"], "port 0\n");
    assert_eq!(code, 1);
    assert!(error.contains("not listen anywhere"), "{error}");
    std::fs::write(directory.path().join("sidecar.yaml"), "listen:\n  port: 70\n").unwrap();
    let (_, out, _) = tandem(directory.path(), &["--check-config", "--config", "sidecar.yaml"], "");
    assert!(out.contains("tcp 127.0.0.1:70\n"), "{out}");
    std::fs::write(directory.path().join("redis.conf"), "port 71\n").unwrap();
    for args in [["redis.conf", "--check-config"], ["--check-config", "redis.conf"]] {
        let (_, out, error) = tandem(directory.path(), &args, "");
        assert!(out.contains(":71\n"), "{out}{error}");
    }
    let (_, out, _) = tandem(directory.path(), &["--check-config", "-"], "port 72\n");
    assert!(out.contains(":72\n"), "{out}");
    let (code, out, _) = tandem(directory.path(), &["--check-config"], "");
    assert_eq!(code, 0);
    assert!(out.contains("tcp 127.0.0.1:70\n"), "the file of the directory counts: {out}");
}

#[test]
fn a_bad_file_ends_the_start_with_1() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.conf"), "port 0\nnonsense 1\n").unwrap();
    let (code, out, error) = tandem(directory.path(), &["a.conf"], "");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(error.contains("*** FATAL CONFIG FILE ERROR (tandem "), "{error}");
    assert!(error.contains("Reading the configuration file, at line 2\n>>> 'nonsense 1'\n"), "{error}");
    let (code, _, error) = tandem(directory.path(), &["--requirepass", "hush", "more"], "");
    assert_eq!(code, 1);
    assert!(!error.contains("hush"), "{error}");
}

/// Files and flags that are written for redis-server count on its defaults; everything else is of this machine only.
#[test]
fn where_it_listens_when_nothing_says_so() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.conf"), "port 7\n").unwrap();
    std::fs::write(directory.path().join("a.yaml"), "listen:\n  port: 7\n").unwrap();
    let listens = |args: &[&str], input: &str| {
        let (code, out, error) = tandem(directory.path(), &[args, &["--check-config"]].concat(), input);
        assert_eq!(code, 0, "{error}");
        out.lines().filter_map(|line| line.strip_prefix("listens on tcp ")).collect::<Vec<_>>().join(" ")
    };
    for (args, input) in [(["a.conf"].as_slice(), ""), (&["--port", "7"], ""), (&["-"], "port 7\n")] {
        let found = listens(args, input);
        assert!(found.starts_with("*:7 ") && found.contains("[::*]:7"), "{args:?}: {found}");
    }
    for (args, input) in [
        (["--config", "a.yaml"].as_slice(), ""),
        (&["-"], "listen:\n  port: 7\n"),
        (&["--config", "a.yaml", "--timeout", "1"], ""),
        (&["a.conf", "--bind", "127.0.0.1"], ""),
    ] {
        let found = listens(args, input);
        assert!(found.starts_with("127.0.0.1:7") && !found.contains('*'), "{args:?}: {found}");
    }
}
