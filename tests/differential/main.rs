//! The same random commands to tandem and to redis-server: every reply and the final data must be the same. Commands that
//! Redis 7.0 does not have are compared with Valkey.
//!
//! A sequence is made from a seed alone, so a failure names its seed, and is then cut down to the few commands that
//! still show it. To reproduce: `TANDEM_DIFF_SEED=… TANDEM_DIFF_SEQUENCES=1 scripts/test differential`.
//!
//! | variable | default | meaning |
//! |---|---|---|
//! | `TANDEM_DIFF_SEED` | 1 | seed of the first sequence; the following ones count up |
//! | `TANDEM_DIFF_SEQUENCES` | 40 | sequences per test |
//! | `TANDEM_DIFF_STEPS` | 300 | commands per sequence |
//! | `TANDEM_DIFF_GROUPS` | mixed | comma-separated groups; `mixed` is all of them |
//! | `TANDEM_DIFF_PIPELINE` | 1 | commands sent at once, for long runs |
//! | `TANDEM_DIFF_FAILURES` | 1 | sequences that may fail before a test ends |
//!
//! A new command is one line of `table.rs`; a reply that may differ in a new way is one variant of `Compare`.
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

#[path = "../common/mod.rs"]
mod common;

mod bad_arguments;
mod collections;
mod compare;
mod coverage;
mod generate;
mod large;
mod newer;
mod server;
mod sorted;
mod streams;
mod table;
mod transactions;
mod twins;
mod values;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use common::{Options, Server, env_number};
use generate::Generator;
use table::Template;
use twins::Twins;

/// Commands of a failed sequence that are shown, from its end.
const SHOWN_MAX: usize = 60;

/// Which groups a test takes: those of the environment, less those that the test cannot have.
fn templates(without: &[&str]) -> Vec<&'static Template> {
    every_template().filter(|row| is_wanted(row) && !without.contains(&row.group)).collect()
}

/// Whether the environment names the group of this row, or none.
fn is_wanted(template: &Template) -> bool {
    let wanted = std::env::var("TANDEM_DIFF_GROUPS").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').map(str::trim).filter(|group| !group.is_empty()).collect();
    matches!(wanted[..], [] | ["mixed"]) || wanted.contains(&template.group)
}

/// An even seed mixes all groups, an odd one takes the next one alone, with events and transactions.
fn of_seed(seed: u64, templates: &[&'static Template], groups: &[&str]) -> Vec<&'static Template> {
    let alone = groups[(seed / 2) as usize % groups.len()];
    let taken =
        |group: &str| seed.is_multiple_of(2) || group == alone || ["events", "transaction"].contains(&group);
    templates.iter().copied().filter(|template| taken(template.group)).collect()
}

/// All rows that are compared with redis-server.
fn every_template() -> impl Iterator<Item = &'static Template> {
    let files = [
        table::TEMPLATES,
        sorted::TEMPLATES,
        collections::TEMPLATES,
        streams::TEMPLATES,
        transactions::TEMPLATES,
        server::TEMPLATES,
        values::TEMPLATES,
    ];
    files.into_iter().flatten()
}

fn compare_sequences(protocol: u8, workers: usize, without: &[&str]) {
    let redis = started(Options::redis());
    let tandem = started(Options::tandem().workers(workers));
    let twins = Twins::new(&tandem, &redis, protocol);
    packing_all_the_time(&tandem, || {
        play_sequences(twins, &format!("RESP{protocol}, {workers} worker(s)"), &templates(without));
    });
}

/// Collections are packed between any two commands, instead of some seconds after the last change.
fn packing_all_the_time(tandem: &Server, play: impl FnOnce()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = tandem.client();
            while !over.load(Relaxed) {
                assert_eq!(client.command("MEMORY PURGE").text(), "OK");
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        // Also when a sequence differs: the scope waits for the thread.
        let _over = Ended(&over);
        play();
    });
}

struct Ended<'f>(&'f AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn started(options: Options) -> Server {
    options.set("notify-keyspace-events", "KEA").start()
}

fn play_sequences(mut twins: Twins<'_>, title: &str, templates: &[&'static Template]) {
    if templates.is_empty() {
        return;
    }
    let first = env_number("TANDEM_DIFF_SEED", 1);
    let steps = env_number("TANDEM_DIFF_STEPS", 300) as usize;
    let failures_max = env_number("TANDEM_DIFF_FAILURES", 1);
    let depth = env_number("TANDEM_DIFF_PIPELINE", 1) as usize;
    let (mut failures, mut played) = (0, 0);
    let groups: BTreeSet<&str> = templates.iter().map(|template| template.group).collect();
    let groups: Vec<&str> = groups.into_iter().collect();
    for seed in first..first + env_number("TANDEM_DIFF_SEQUENCES", 40) {
        let of_seed = of_seed(seed, templates, &groups);
        let sequence = Generator::new(seed, &of_seed).sequence(steps);
        played += sequence.len();
        let result = if depth > 1 { twins.play_pipelined(&sequence, depth) } else { twins.play(&sequence) };
        if seed % 100 == 0 {
            eprintln!("{title}: {played} commands up to seed {seed}");
        }
        if let Err(mismatch) = result {
            let (short, mismatch) = twins.shrink(sequence, mismatch);
            let from = short.len().saturating_sub(SHOWN_MAX);
            let commands: Vec<String> = short[from..].iter().map(ToString::to_string).collect();
            eprintln!(
                "TANDEM_DIFF_SEED={seed}, {title}; shortest sequence found:\n  {}\n{mismatch}",
                commands.join("\n  ")
            );
            failures += 1;
            if failures == failures_max {
                break;
            }
        }
    }
    eprintln!("{title}: {played} commands, {failures} sequences differ");
    assert_eq!(failures, 0, "sequences that differ");
}

#[test]
fn resp2_replies_and_data_are_those_of_redis() {
    compare_sequences(2, 1, &[]);
}

#[test]
fn resp3_replies_and_data_are_those_of_redis() {
    compare_sequences(3, 1, &[]);
}

/// Without pub/sub: with several workers a message may pass a PING on another connection.
#[test]
fn four_workers_answer_as_redis_does() {
    compare_sequences(3, 4, &["pubsub", "events"]);
}

/// Lifetimes of hash fields and other commands since Redis 7.0, among those that hashes and deadlines had before.
#[test]
fn newer_commands_answer_as_valkey_does() {
    let valkey = started(Options::valkey());
    let tandem = started(Options::tandem());
    let beside = ["hash", "expire"];
    let templates: Vec<&'static Template> = every_template()
        .filter(|template| beside.contains(&template.group))
        .chain(newer::TEMPLATES)
        .filter(|template| is_wanted(template))
        .collect();
    // A hash whose fields have lifetimes is a hash table in Valkey, and strings have other limits.
    let twins = Twins::new(&tandem, &valkey, 3).without_encodings();
    packing_all_the_time(&tandem, || play_sequences(twins, "Valkey", &templates));
}

/// The generator makes what it is meant to make: otherwise the tests above could pass without testing.
#[test]
fn every_template_is_generated() {
    let templates: Vec<&'static Template> = every_template().chain(newer::TEMPLATES).collect();
    let mut seen = BTreeSet::new();
    for seed in 0..60 {
        for step in Generator::new(seed, &templates).sequence(400) {
            seen.insert(step.args.first().map(|name| name.to_ascii_lowercase()).unwrap_or_default());
        }
    }
    for template in templates {
        let name = template.name.split(' ').next().unwrap_or_default().as_bytes().to_ascii_lowercase();
        assert!(seen.contains(&name), "{} is never generated", template.name);
    }
}
