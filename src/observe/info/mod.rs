//! INFO: what the process says of itself, section by section, under Redis' field names.
//!
//! [`render`] is a function of [`Facts`], which the command gathers; nothing here asks a clock.

mod engines;
mod memory;
mod server;
mod sizes;
mod stats;

pub use engines::{reason as engine_reason, state as engine_state};

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::config::Config;
use crate::keyspace::{DbId, EngineStats, Sizes};
use crate::observe::sampler::{Rates, Used};
use crate::observe::stats::Counters;
use crate::shared::Shared;

/// One database that has ever been used.
#[derive(Debug, Clone, Copy)]
pub struct Database {
    /// Its number.
    pub id: DbId,
    /// Its engines.
    pub engines: EngineStats,
    /// Estimate of the mean time that keys with a deadline have left, in milliseconds.
    pub avg_ttl_ms: u64,
}

/// What INFO shows, as it was when it was asked.
pub struct Facts<'a> {
    /// What all workers share.
    pub shared: &'a Shared,
    /// The settings in force.
    pub config: &'a Config,
    /// Counters of all workers.
    pub counters: Counters,
    /// Rates of the last second.
    pub rates: Rates,
    /// Memory in use.
    pub used: Used,
    /// Databases that have ever been used.
    pub databases: Vec<Database>,
    /// What is known of the clients together.
    pub clients: Clients,
    /// Name of the command with a dense number.
    pub command_name: fn(u16) -> Cow<'static, str>,
    /// Unix microseconds.
    pub now_us: u64,
    /// How large the values of each database are, if that was asked for ([`asks_for_sizes`]).
    pub sizes: Vec<(DbId, Sizes)>,
}

/// Sums over all clients.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)] // as in INFO; bytes of what clients sent, of what waits for them, of what they queued in MULTI
pub struct Clients {
    pub connected: usize,
    pub blocked: usize,
    pub tracking: usize,
    pub recent_max_input: usize,
    pub recent_max_output: usize,
    pub memory_normal: usize,
    pub monitors: usize,
    pub subscribers: usize,
    pub query_bytes: usize,
    pub output_bytes: usize,
    pub queued_bytes: usize,
}

/// Writes one section after its title.
type Section = fn(&mut Text, &Facts<'_>);

/// Names that ask for a section, its title, and whether INFO without arguments shows it.
const SECTIONS: &[(&str, &str, bool, Section)] = &[
    ("server", "Server", true, server::server),
    ("clients", "Clients", true, server::clients),
    ("memory", "Memory", true, memory::memory),
    ("persistence", "Persistence", true, server::persistence),
    ("stats", "Stats", true, stats::stats),
    ("replication", "Replication", true, server::replication),
    ("cpu", "CPU", true, server::cpu),
    ("modules", "Modules", true, |_, _| {}),
    ("commandstats", "Commandstats", false, stats::commands),
    ("errorstats", "Errorstats", true, stats::errors),
    ("latencystats", "Latencystats", false, stats::latencies),
    ("cluster", "Cluster", true, server::cluster),
    ("keyspace", "Keyspace", true, engines::keyspace),
    ("keysizes", "Keysizes", false, sizes::sizes),
    ("engines", "Engines", true, engines::engines),
];

/// Whether these words ask for the sizes of values, which cost a walk over keys.
pub fn asks_for_sizes(asked: &[&[u8]]) -> bool {
    wanted("keysizes", false, asked)
}

/// Which sections are asked for.
fn wanted(name: &str, default: bool, asked: &[&[u8]]) -> bool {
    if asked.is_empty() {
        return default;
    }
    asked.iter().any(|a| {
        a.eq_ignore_ascii_case(name.as_bytes())
            || a.eq_ignore_ascii_case(b"all")
            || a.eq_ignore_ascii_case(b"everything")
            || (default && a.eq_ignore_ascii_case(b"default"))
    })
}

/// The text of the sections asked for, in their fixed order.
pub fn render(facts: &Facts<'_>, asked: &[&[u8]]) -> String {
    let mut text = Text(String::with_capacity(4096));
    for (name, title, default, section) in SECTIONS {
        if wanted(name, *default, asked) {
            if !text.0.is_empty() {
                text.0.push_str("\r\n");
            }
            text.line(format_args!("# {title}"));
            section(&mut text, facts);
        }
    }
    text.0
}

/// The lines of INFO.
struct Text(String);

impl Text {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.0.write_fmt(line);
        self.0.push_str("\r\n");
    }

    fn field(&mut self, name: &str, value: impl std::fmt::Display) {
        self.line(format_args!("{name}:{value}"));
    }

    /// A byte count and the same for people.
    fn bytes(&mut self, name: &str, value: usize) {
        self.field(name, value);
        self.line(format_args!("{name}_human:{}", human(value as u64)));
    }

    fn zeros(&mut self, names: &[&str]) {
        for name in names {
            self.field(name, 0);
        }
    }
}

/// `1.50K`
fn human(bytes: u64) -> String {
    const UNITS: [char; 5] = ['K', 'M', 'G', 'T', 'P'];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2}{}", UNITS[unit])
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_asked_for_by_name_or_in_sets() {
        let shown = |asked: &[&str]| -> Vec<&str> {
            let asked: Vec<&[u8]> = asked.iter().map(|a| a.as_bytes()).collect();
            SECTIONS.iter().filter(|s| wanted(s.0, s.2, &asked)).map(|s| s.0).collect()
        };
        assert_eq!(shown(&["CPU", "server"]), ["server", "cpu"]);
        assert_eq!(shown(&["nosuch"]), [""; 0]);
        assert_eq!(shown(&[]), shown(&["default"]));
        assert!(!shown(&[]).contains(&"commandstats"));
        assert_eq!(shown(&["all"]).len(), SECTIONS.len());
        let more = shown(&["default", "latencystats"]);
        assert!(more.contains(&"latencystats") && !more.contains(&"commandstats"));
    }

    #[test]
    fn sizes_for_people() {
        assert_eq!(human(1023), "1023B");
        assert_eq!(human(966_224), "943.58K");
        assert_eq!(human(25_276_510_208), "23.54G");
    }
}
