//! The same random commands to tandem and to redis-server: every reply and the final data must be the same.
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
mod server;
mod sorted;
mod streams;
mod table;
mod transactions;
mod twins;
mod values;

use std::collections::BTreeSet;

use common::{Options, env_number};
use generate::Generator;
use table::Template;
use twins::Twins;

/// Commands of a failed sequence that are shown, from its end.
const SHOWN_MAX: usize = 60;

/// Which groups a test takes: those of the environment, less those that the test cannot have.
fn templates(without: &[&str]) -> Vec<&'static Template> {
    let wanted = std::env::var("TANDEM_DIFF_GROUPS").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').map(str::trim).filter(|group| !group.is_empty()).collect();
    let chosen = |template: &&Template| match wanted[..] {
        [] | ["mixed"] => !without.contains(&template.group),
        _ => wanted.contains(&template.group) && !without.contains(&template.group),
    };
    every_template().filter(chosen).collect()
}

/// An even seed mixes all groups, an odd one takes the next one alone, with events and transactions.
fn of_seed(seed: u64, templates: &[&'static Template], groups: &[&str]) -> Vec<&'static Template> {
    let alone = groups[(seed / 2) as usize % groups.len()];
    let taken =
        |group: &str| seed.is_multiple_of(2) || group == alone || ["events", "transaction"].contains(&group);
    templates.iter().copied().filter(|template| taken(template.group)).collect()
}

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
    let templates = templates(without);
    if templates.is_empty() {
        return;
    }
    let settings = |options: Options| options.set("notify-keyspace-events", "KEA");
    let tandem = settings(Options::tandem()).workers(workers).start();
    let redis = settings(Options::redis()).start();
    let mut twins = Twins::new(&tandem, &redis, protocol);
    let first = env_number("TANDEM_DIFF_SEED", 1);
    let steps = env_number("TANDEM_DIFF_STEPS", 300) as usize;
    let failures_max = env_number("TANDEM_DIFF_FAILURES", 1);
    let depth = env_number("TANDEM_DIFF_PIPELINE", 1) as usize;
    let (mut failures, mut played) = (0, 0);
    let groups: BTreeSet<&str> = templates.iter().map(|template| template.group).collect();
    let groups: Vec<&str> = groups.into_iter().collect();
    for seed in first..first + env_number("TANDEM_DIFF_SEQUENCES", 40) {
        let of_seed = of_seed(seed, &templates, &groups);
        let sequence = Generator::new(seed, &of_seed).sequence(steps);
        played += sequence.len();
        let result = if depth > 1 { twins.play_pipelined(&sequence, depth) } else { twins.play(&sequence) };
        if seed % 100 == 0 {
            eprintln!("RESP{protocol}, {workers} worker(s): {played} commands up to seed {seed}");
        }
        if let Err(mismatch) = result {
            let (short, mismatch) = twins.shrink(sequence, mismatch);
            let from = short.len().saturating_sub(SHOWN_MAX);
            let commands: Vec<String> = short[from..].iter().map(ToString::to_string).collect();
            eprintln!(
                "TANDEM_DIFF_SEED={seed}, RESP{protocol}, {workers} worker(s); shortest sequence found:\n  {}\n{mismatch}",
                commands.join("\n  ")
            );
            failures += 1;
            if failures == failures_max {
                break;
            }
        }
    }
    eprintln!("RESP{protocol}, {workers} worker(s): {played} commands, {failures} sequences differ");
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

/// The generator makes what it is meant to make: otherwise the tests above could pass without testing.
#[test]
fn every_template_is_generated() {
    let templates = templates(&[]);
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
