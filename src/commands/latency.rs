//! `LATENCY`.

use std::fmt::Write as _;

use crate::clock;
use crate::commands::command::{Arity, Command, Group, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::row::{flags, help};
use crate::commands::table;
use crate::error::Error;
use crate::observe::latency::{
    self, COMMAND, COMMAND_UNBLOCKING, EVICTION_CYCLE, EVICTION_DEL, EXPIRE_CYCLE, FAST_COMMAND,
    MIGRATION_SLICE,
};
use crate::observe::stats::CommandStats;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[Command {
    name: "latency",
    arity: Arity::AtLeast(2),
    summary: "Looks at latency events.",
    since: "2.8.13",
    group: Group::Server,
    complexity: "that of the subcommand",
    subcommands: &[
        Command {
            name: "doctor",
            arity: Arity::Exactly(2),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            summary: "What the latency events mean, in words.",
            since: "2.8.13",
            group: Group::Server,
            tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
            run: latency_doctor,
            ..Command::DEFAULT
        },
        Command {
            name: "graph",
            arity: Arity::Exactly(3),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            syntax: "event",
            summary: "Picture of an event's latencies.",
            since: "2.8.13",
            group: Group::Server,
            tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
            run: latency_graph,
            ..Command::DEFAULT
        },
        Command {
            name: "help",
            arity: Arity::Exactly(2),
            flags: flags!(LOADING | STALE),
            summary: "Lists the subcommands.",
            since: "2.8.13",
            group: Group::Server,
            run: help,
            ..Command::DEFAULT
        },
        Command {
            name: "histogram",
            arity: Arity::AtLeast(2),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            syntax: "[command]...",
            summary: "How long commands took, as a histogram.",
            since: "7.0.0",
            group: Group::Server,
            complexity: "O(N), N commands with a histogram",
            tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
            run: latency_histogram,
            ..Command::DEFAULT
        },
        Command {
            name: "history",
            arity: Arity::Exactly(3),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            syntax: "event",
            summary: "Times and latencies of an event.",
            since: "2.8.13",
            group: Group::Server,
            tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
            run: latency_history,
            ..Command::DEFAULT
        },
        Command {
            name: "latest",
            arity: Arity::Exactly(2),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            summary: "Last and greatest latency of each event.",
            since: "2.8.13",
            group: Group::Server,
            tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
            run: latency_latest,
            ..Command::DEFAULT
        },
        Command {
            name: "reset",
            arity: Arity::AtLeast(2),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            syntax: "[event]...",
            summary: "Forgets events.",
            since: "2.8.13",
            group: Group::Server,
            tips: &["request_policy:all_nodes", "response_policy:agg_sum"],
            run: latency_reset,
            ..Command::DEFAULT
        },
    ],
    ..Command::DEFAULT
}];

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// LATENCY LATEST
pub fn latency_latest(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let events = ctx.shared.latency.all();
    ctx.reply.array(events.len());
    for (name, series) in events {
        let last = series.samples.back().copied();
        ctx.reply.array(4);
        ctx.reply.bulk(name.as_bytes());
        ctx.reply.int(last.map_or(0, |s| signed(s.time_s)));
        ctx.reply.int(last.map_or(0, |s| signed(s.millis)));
        ctx.reply.int(signed(series.max));
    }
    Ok(Outcome::Done)
}

/// LATENCY HISTORY
pub fn latency_history(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let event = ctx.args.next()?;
    let samples = ctx.shared.latency.series(event).map(|(_, s)| s.samples).unwrap_or_default();
    ctx.reply.array(samples.len());
    for sample in samples {
        ctx.reply.array(2);
        ctx.reply.int(signed(sample.time_s));
        ctx.reply.int(signed(sample.millis));
    }
    Ok(Outcome::Done)
}

/// LATENCY RESET
pub fn latency_reset(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let gone = ctx.shared.latency.reset(ctx.args.rest());
    ctx.reply.int(i64::try_from(gone).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// LATENCY GRAPH
pub fn latency_graph(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let event = ctx.args.next()?;
    let Some((name, series)) = ctx.shared.latency.series(event) else {
        return Err(Error::quoting("ERR No samples available for event '", event, "'"));
    };
    let text = latency::graph(name, &series, clock::now_ms() / 1000);
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(Outcome::Done)
}

/// What may be behind an event, and what to look at.
fn advice(event: &str) -> &'static str {
    match event {
        COMMAND => {
            "a command that is not constant-time ran long: see SLOWLOG GET and LATENCY HISTOGRAM for which one; \
             give large ranges a LIMIT, use SCAN for KEYS and UNLINK or expiry in small values"
        }
        FAST_COMMAND => {
            "constant-time commands took this long, so the machine was busy with something else: look at the \
             CPU quota of the container (throttling), at swapping, and at neighbours"
        }
        COMMAND_UNBLOCKING => {
            "a client that waited was answered by a command that ran long: blocking commands that move or read \
             many elements (BLMPOP, BZMPOP, XREAD) take a COUNT"
        }
        EXPIRE_CYCLE => "many keys came due at once: spread their times to live over some seconds",
        EVICTION_CYCLE => {
            "room was made for large values, or memory is written faster than it is freed: give maxmemory more \
             room, or leave more of the limit of the container to it"
        }
        EVICTION_DEL => {
            "a large value was evicted: keep values smaller, or set lazyfree-lazy-eviction to yes"
        }
        MIGRATION_SLICE => {
            "moving a part of a table to its successor took long while it was locked: the machine was busy \
             (ENGINE HISTORY has the longest slice of each move), or its keys hold large values"
        }
        _ => "see what else happened on the machine at that time",
    }
}

/// LATENCY DOCTOR
pub fn latency_doctor(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let now_s = clock::now_ms() / 1000;
    let events = ctx.shared.latency.all();
    let config = ctx.shared.config.load();
    let mut text = String::new();
    if config.latency_monitor_threshold == 0 {
        text.push_str(
            "Latency monitoring is off, so there is nothing to diagnose. Turn it on with 'CONFIG SET \
             latency-monitor-threshold <milliseconds>'.\n",
        );
    } else if events.is_empty() {
        text.push_str("Nothing took longer than latency-monitor-threshold since the last reset.\n");
    } else {
        text.push_str("Latency spikes were seen:\n\n");
    }
    for (n, (name, series)) in events.iter().enumerate() {
        let a = series.analysis(now_s);
        let count = series.samples.len().max(1);
        let period = a.span_s as f64 / count as f64;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{}. {name}: {count} latency spikes (average {}ms, mean deviation {}ms, period {period:.2} sec). \
             Worst all time event {}ms.\n   {}.",
            n + 1,
            a.mean,
            a.deviation,
            series.max,
            advice(name)
        );
    }
    let slow = config.slowlog_log_slower_than;
    let threshold = signed(config.latency_monitor_threshold.saturating_mul(1000));
    if !events.is_empty() && (slow < 0 || slow > threshold) {
        let _ = writeln!(
            text,
            "\nThe slow log keeps less than this monitor sees: 'CONFIG SET slowlog-log-slower-than {threshold}'."
        );
    }
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(Outcome::Done)
}

/// LATENCY HISTOGRAM
pub fn latency_histogram(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let stats = ctx.shared.stats.sum().commands;
    let ids: Vec<u16> = if ctx.args.left() == 0 {
        (0u16..).take(stats.len()).collect()
    } else {
        ctx.args.rest().flat_map(named).collect()
    };
    let mark = ctx.reply.defer_map();
    let mut shown = 0;
    for id in ids {
        let Some(stats) = stats.get(usize::from(id)).filter(|s| s.durations.is_some()) else { continue };
        ctx.reply.bulk(table::full_name(id).as_bytes());
        histogram(ctx, stats);
        shown += 1;
    }
    ctx.reply.finish(mark, shown);
    Ok(Outcome::Done)
}

/// A command, `container|sub`, or all subcommands of a container.
fn named(name: &[u8]) -> Vec<u16> {
    let mut words = name.splitn(2, |b| *b == b'|');
    let first = words.next().unwrap_or(b"");
    let sub = words.next();
    let Some(found) = table::lookup(first) else { return Vec::new() };
    let count = u16::try_from(found.command.subcommands.len()).unwrap_or(0);
    let subs = || (0..count).map(|i| found.id + 1 + i);
    match sub {
        None => std::iter::once(found.id).chain(subs()).collect(),
        Some(sub) => subs()
            .filter(|id| {
                let name = table::all()[usize::from(*id)].name;
                name.as_bytes().eq_ignore_ascii_case(sub)
            })
            .collect(),
    }
}

/// Upper ends of the first bucket, in nanoseconds; each further one is twice as wide.
const FIRST_BUCKET_NS: u64 = 1024;
/// Values of a histogram with two digits differ by this part at most.
const PRECISION: u64 = 128;

fn histogram(ctx: &mut Ctx<'_, '_>, stats: &CommandStats) {
    ctx.reply.map(2);
    ctx.reply.bulk(b"calls");
    ctx.reply.int(signed(stats.calls));
    ctx.reply.bulk(b"histogram_usec");
    let mark = ctx.reply.defer_map();
    let mut shown = 0;
    if let Some(durations) = &stats.durations {
        for (micros, calls) in
            buckets(durations.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value())))
        {
            ctx.reply.int(signed(micros));
            ctx.reply.int(signed(calls));
            shown += 1;
        }
    }
    ctx.reply.finish(mark, shown);
}

/// Cumulated calls by the upper end of buckets in microseconds; buckets without calls are left out.
fn buckets(values: impl Iterator<Item = (u64, impl Into<u64>)>) -> Vec<(u64, u64)> {
    let mut found: Vec<(u64, u64)> = Vec::new();
    let mut edge = FIRST_BUCKET_NS;
    let mut calls = 0;
    for (nanos, count) in values {
        // The histogram's own resolution belongs to the bucket that it begins in.
        while nanos > edge + edge / PRECISION - 1 {
            edge *= 2;
        }
        calls += count.into();
        let micros = (edge + edge / PRECISION - 1) / 1000;
        match found.last_mut() {
            Some(last) if last.0 == micros => last.1 = calls,
            _ => found.push((micros, calls)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_double_and_cumulate() {
        let values = [(500u64, 1u64), (1_500, 2), (1_600, 1), (16_500, 3), (1_000_000, 1)];
        assert_eq!(buckets(values.into_iter()), [(1, 1), (2, 4), (16, 7), (1056, 8)]);
    }

    #[test]
    fn every_event_has_advice_of_its_own() {
        let events = [
            COMMAND,
            COMMAND_UNBLOCKING,
            EVICTION_CYCLE,
            EVICTION_DEL,
            EXPIRE_CYCLE,
            FAST_COMMAND,
            MIGRATION_SLICE,
        ];
        let given: std::collections::BTreeSet<&str> = events.iter().map(|event| advice(event)).collect();
        assert!(given.len() == events.len() && !given.contains(advice("nosuch")));
    }

    #[test]
    fn a_container_stands_for_its_subcommands() {
        let names =
            |name: &str| named(name.as_bytes()).iter().map(|id| table::full_name(*id)).collect::<Vec<_>>();
        assert_eq!(names("GET"), ["get"]);
        assert_eq!(names("config|SET"), ["config|set"]);
        assert!(names("config").len() > 4);
        assert!(names("nosuch").is_empty() && names("config|nosuch").is_empty());
    }
}
