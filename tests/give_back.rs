//! Memory goes back when most keys are gone, and what stays is what it was.

mod common;

use std::time::Duration;

use common::{Client, Options, Server, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);
const KEYS: usize = 12_000;

fn stays(n: usize) -> bool {
    n.is_multiple_of(20)
}

/// A key of each form in turn, each with parts out of line.
fn make(n: usize) -> String {
    let element = |i: usize| format!("element:{n}:{i}");
    let words = |count: usize| (0..count).map(element).collect::<Vec<_>>().join(" ");
    match n / 20 % 6 {
        0 => format!("HSET {n} {}", words(20)),
        1 => format!("RPUSH {n} {}", words(15)),
        2 => format!("SADD {n} {}", words(15)),
        3 => format!(
            "ZADD {n} {}",
            (0..15).map(|i| format!("{i} {}", element(i))).collect::<Vec<_>>().join(" ")
        ),
        4 => format!("SADD {n} {}", words(150)),
        _ => format!("SET {n} {}", "long".repeat(400)),
    }
}

fn send(client: &mut Client, commands: impl Iterator<Item = String>) {
    let commands: Vec<String> = commands.collect();
    for some in commands.chunks(50) {
        client.send_raw((some.join("\r\n") + "\r\n").as_bytes()).expect("send");
        for _ in some {
            let reply = client.read().expect("a reply").value.text();
            assert!(!reply.starts_with("ERR"), "{reply}");
        }
    }
}

fn digest(client: &mut Client) -> Vec<Vec<u8>> {
    let dump = |n: usize| client.call(&["DUMP", &n.to_string()]).expect("DUMP").raw;
    (0..KEYS).filter(|&n| stays(n)).map(dump).collect()
}

fn figure(client: &mut Client, name: &str) -> u64 {
    let text = client.command("INFO everything").text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {name}"))
}

fn filled(server: &Server) -> (Client, Vec<Vec<u8>>) {
    let mut client = server.client();
    send(&mut client, (0..KEYS).map(make));
    let before = digest(&mut client);
    (client, before)
}

#[test]
fn survivors_move_together_and_are_what_they_were() {
    let server = Options::tandem().start();
    let (mut client, before) = filled(&server);
    send(&mut client, (0..KEYS).filter(|&n| !stays(n)).map(|n| format!("DEL {n}")));
    wait_until("survivors were moved", PATIENCE, || figure(&mut client, "active_defrag_hits") > 200);
    wait_until("the pages that they held are free", PATIENCE, || {
        let unused = figure(&mut client, "allocator_active") - figure(&mut client, "allocator_allocated");
        figure(&mut client, "active_defrag_running") == 0 && unused < 4 << 20
    });
    assert_eq!(digest(&mut client), before);
}

#[test]
fn nothing_moves_by_itself_when_that_is_turned_off() {
    let server = Options::tandem().set("activedefrag", "no").start();
    let (mut client, before) = filled(&server);
    send(&mut client, (0..KEYS).filter(|&n| !stays(n)).map(|n| format!("DEL {n}")));
    assert_eq!(figure(&mut client, "active_defrag_hits"), 0);
    // MEMORY PURGE is asked for, so it moves all the same.
    assert_eq!(client.command("MEMORY PURGE").text(), "OK");
    wait_until("survivors were moved", PATIENCE, || figure(&mut client, "active_defrag_hits") > 200);
    assert_eq!(digest(&mut client), before);
}

/// Bytes in memory that are in no file.
fn anonymous(server: &Server) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", server.pid()))
        .expect("figures of the server");
    let kib = text.lines().find_map(|line| line.strip_prefix("Anonymous:")?.trim().strip_suffix(" kB"));
    kib.expect("its anonymous memory").trim().parse::<u64>().expect("a number") << 10
}

/// Every other piece of three pages stays, so no run of pages becomes free.
#[test]
fn holes_between_what_stays_go_back_where_it_stands() {
    let server = Options::tandem().set("activedefrag", "no").start();
    let mut client = server.client();
    let value = "x".repeat(12_000);
    send(&mut client, (0..2000).map(|n| format!("SET {n} {value}")));
    let full = anonymous(&server);
    assert!(full > 2000 * 12_000);
    send(&mut client, (0..2000).step_by(2).map(|n| format!("DEL {n}")));
    wait_until("their memory is free", PATIENCE, || anonymous(&server) < full - 1000 * 11_000);
    assert_eq!(figure(&mut client, "active_defrag_hits"), 0);
    for n in (1..2000).step_by(2) {
        assert_eq!(client.command(&format!("GET {n}")).text(), value);
    }
}

/// Timers name hashes, not places: those of keys that the helper thread evicted are in wheels of workers that it cannot reach.
#[test]
fn timers_of_evicted_keys_go() {
    let server = Options::tandem().start();
    let mut client = server.client();
    let before = figure(&mut client, "allocator_allocated");
    send(&mut client, (0..80_000).map(|n| format!("SET {n} v EX 100000")));
    assert!(figure(&mut client, "allocator_allocated") > before + 600_000, "as many items of 8 bytes");
    for setting in ["maxmemory-policy volatile-random", "maxmemory 1"] {
        assert_eq!(client.command(&format!("CONFIG SET {setting}")).text(), "OK");
    }
    wait_until("all are evicted", PATIENCE, || {
        // A write, though of nothing, has the server evict.
        client.call(&["SETRANGE", "none", "0", ""]).expect("a reply");
        client.command("DBSIZE").int() == Some(0)
    });
    assert_eq!(client.command("CONFIG SET maxmemory 0").text(), "OK");
    wait_until("their timers are gone", PATIENCE, || {
        // Each look at the figures frees a little, and is no calm.
        std::thread::sleep(Duration::from_secs(1));
        figure(&mut client, "allocator_allocated") < before + 300_000
    });
}
