//! A clock that is set forward or back, a machine that was asleep, and a process that has nothing to do.
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

mod common;

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

use common::{Client, HOUR_MS, Options, Server, Value, step_clock as step, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

fn server(workers: usize) -> Server {
    Options::tandem().workers(workers).set("enable-debug-command", "yes").start()
}

/// The key of the next event.
fn event(listener: &mut Client) -> String {
    listener.read().expect("an event").value.items()[2].text()
}

/// Expires a key and reads events until that one; returns what came before.
fn before_marker(writer: &mut Client, listener: &mut Client) -> Vec<String> {
    writer.command("SET marker x PX 1");
    let mut seen = Vec::new();
    loop {
        match event(listener).as_str() {
            "marker" => return seen,
            key => seen.push(key.to_owned()),
        }
    }
}

#[test]
fn a_clock_set_forward_makes_keys_due_at_once() {
    // To the program this is also what waking from sleep looks like: the wall clock has jumped.
    for workers in [1, 4] {
        let server = server(workers);
        let (mut writer, mut listener) = (server.client(), server.client());
        listener.command("SUBSCRIBE ~Ex");
        let mut others: Vec<Client> = (0..4).map(|_| server.client()).collect();
        for n in 0..1000 {
            // Each worker has timers of its own.
            let ms = HOUR_MS - n;
            others[(n % 4) as usize].command(&format!("SET k{n} x PX {ms}"));
        }
        writer.command("HSET h f v");
        writer.command(&format!("HPEXPIRE h {HOUR_MS} FIELDS 1 f"));
        writer.command(&format!("SET later x PX {}", 2 * HOUR_MS));
        assert_eq!(before_marker(&mut writer, &mut listener), Vec::<String>::new());
        step(&mut writer, HOUR_MS + 1);
        let seen: HashSet<String> = (0..1000).map(|_| event(&mut listener)).collect();
        assert_eq!(seen.len(), 1000, "each once");
        wait_until("the field is gone, too", PATIENCE, || writer.command("EXISTS h") == Value::Int(0));
        assert_eq!(before_marker(&mut writer, &mut listener), Vec::<String>::new());
        let left = writer.command("PTTL later").int().expect("a time");
        assert!((1..HOUR_MS).contains(&left), "{left}");
    }
}

#[test]
fn a_clock_set_back_gives_keys_more_time() {
    for workers in [1, 4] {
        let server = server(workers);
        let (mut writer, mut listener) = (server.client(), server.client());
        listener.command("SUBSCRIBE ~Ex");
        for n in 0..100 {
            writer.command(&format!("SET old{n} x PX {}", 60_000 + n));
        }
        writer.command("SET gone x PX 1");
        assert_eq!(event(&mut listener), "gone");
        step(&mut writer, -HOUR_MS);
        let left = writer.command("PTTL old0").int().expect("a time");
        assert!(left > HOUR_MS - 1000, "{left}");
        // What comes now is on time, whatever the wheel had gone through before.
        for n in 0..100 {
            writer.command(&format!("SET new{n} x PX {}", 1 + n % 20));
        }
        let seen: HashSet<String> = (0..100).map(|_| event(&mut listener)).collect();
        assert!(seen.len() == 100 && seen.iter().all(|key| key.starts_with("new")), "{seen:?}");
        // Forth again by small steps: nothing is lost, nothing comes twice.
        for _ in 0..60 {
            step(&mut writer, HOUR_MS / 60);
        }
        step(&mut writer, 60_200);
        let seen: HashSet<String> = (0..100).map(|_| event(&mut listener)).collect();
        assert!(seen.len() == 100 && seen.iter().all(|key| key.starts_with("old")), "{seen:?}");
        assert_eq!(before_marker(&mut writer, &mut listener), Vec::<String>::new());
        assert_eq!(writer.command("DBSIZE"), Value::Int(0));
    }
}

#[test]
fn the_value_and_the_rule_see_the_times_of_the_clock() {
    let server = server(2);
    let (mut writer, mut listener) = (server.client(), server.client());
    writer.command("EXPIRY RULE SET all PATTERN k STREAM s");
    listener.command("SUBSCRIBE __expired@0__:k");
    writer.command(&format!("SET k v PX {HOUR_MS}"));
    let due = writer.command("PEXPIRETIME k").int().expect("a time");
    step(&mut writer, 2 * HOUR_MS);
    let json = listener.read().expect("a message").value.items()[2].text();
    assert!(json.contains(&format!("\"due\":{due},")), "{json}");
    let fired: i64 =
        json.split("\"fired\":").nth(1).and_then(|t| t.split(',').next()?.parse().ok()).expect("a time");
    assert!(fired >= due + HOUR_MS, "{json}");
    wait_until("the entry is there", PATIENCE, || writer.command("XLEN s") == Value::Int(1));
}

/// Voluntary switches and CPU ticks of all threads: how often and how long the process ran.
fn activity(server: &Server) -> (u64, u64) {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("threads");
    let mut sum = (0, 0);
    for task in tasks.map(|task| task.expect("a thread").path()) {
        let status = fs::read_to_string(task.join("status")).expect("its status");
        let line =
            status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:")).expect("the count");
        sum.0 += line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).expect("a number");
        let stat = fs::read_to_string(task.join("stat")).expect("its figures");
        let figures: Vec<&str> = stat.rsplit(')').next().expect("figures").split_whitespace().collect();
        sum.1 += figures[11].parse::<u64>().expect("ticks") + figures[12].parse::<u64>().expect("ticks");
    }
    sum
}

/// Waits for a second in which the process slept: one look at time limits a second is allowed for, a tick is not.
fn wait_asleep(server: &Server, when: &str) {
    const SWITCHES_MAX: u64 = 6;
    let began = Instant::now();
    loop {
        let (before, since) = (activity(server), Instant::now());
        wait_until("a second is over", PATIENCE, || since.elapsed() >= Duration::from_secs(1));
        let after = activity(server);
        let (switches, ticks) = (after.0 - before.0, after.1 - before.1);
        if switches <= SWITCHES_MAX && ticks <= 1 {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{when}: {switches} switches and {ticks} ticks in a second");
    }
}

#[test]
fn a_process_with_nothing_due_sleeps() {
    let server = server(4);
    let mut c = server.client();
    for part in 0..20 {
        let mut batch = Vec::new();
        for n in 0..1000 {
            let key = format!("k:{part}:{n}");
            batch.extend(common::resp::encode(&["SET", &key, "v", "EX", "100000"]));
        }
        c.send_raw(&batch).expect("send");
        for _ in 0..1000 {
            assert_eq!(c.read().expect("reply").value.text(), "OK");
        }
    }
    c.command("SUBSCRIBE ~Ex __expired@0__");
    wait_asleep(&server, "with far deadlines");
    let mut other = server.client();
    step(&mut other, -HOUR_MS);
    wait_asleep(&server, "after the clock was set back");
    step(&mut other, HOUR_MS);
    wait_asleep(&server, "after it was set right");
}
