//! What a person reads rather than watches: commands, slow log, clients, migrations. Once a second.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use super::json::{Object, object};
use crate::clients::{ClientHandle, ClientId, State};
use crate::observe::http::Site;
use crate::observe::info::engine_reason;
use crate::observe::snapshot::Snapshot;
use crate::observe::stats::CommandStats;

/// Rows of each list.
const ROWS_MAX: usize = 12;
/// Characters of a name that a client gave itself.
const NAME_MAX: usize = 48;

/// What was counted when the last lists were made.
#[derive(Default)]
pub(super) struct Lists {
    at_ms: Option<u64>,
    commands: Vec<(u64, u64)>,
    clients: BTreeMap<ClientId, u64>,
}

impl Lists {
    /// The lists now.
    pub fn take(&mut self, now: &Snapshot, site: &Site) -> String {
        let seconds = self.at_ms.map(|at| now.mono_ms.saturating_sub(at) as f64 / 1000.0);
        self.at_ms = Some(now.mono_ms);
        let mut text = String::with_capacity(8 << 10);
        object(&mut text, |o| {
            server(o, now, site);
            self.commands(o, now, site, seconds);
            self.clients(o, now, site, seconds);
            slow(o, site);
            steps(o, site);
        });
        text
    }

    fn commands(&mut self, o: &mut Object<'_>, now: &Snapshot, site: &Site, seconds: Option<f64>) {
        let commands = &now.counters.commands;
        self.commands.resize(commands.len(), (0, 0));
        let mut rows: Vec<(u16, &CommandStats, f64, f64)> = Vec::new();
        for ((id, command), before) in (0_u16..).zip(commands).zip(&mut self.commands) {
            let since = (command.calls.saturating_sub(before.0), command.nanos.saturating_sub(before.1));
            *before = (command.calls, command.nanos);
            if command.calls > 0 {
                rows.push((id, command, rate(since.0, seconds), rate(since.1, seconds)));
            }
        }
        rows.sort_by(|a, b| b.3.total_cmp(&a.3).then(b.1.nanos.cmp(&a.1.nanos)));
        rows.truncate(ROWS_MAX);
        o.objects("commands", rows, |o, (id, command, calls, nanos)| {
            o.text("name", (site.commands.name)(id).as_bytes());
            o.float("rate", calls).float("core", nanos / 1e7).int("calls", command.calls);
            o.float("mean", command.nanos as f64 / 1000.0 / command.calls as f64);
            if let Some(durations) = &command.durations {
                o.float("p99", durations.value_at_quantile(0.99) as f64 / 1000.0);
            }
            o.int("failed", command.failed + command.rejected);
        });
    }

    fn clients(&mut self, o: &mut Object<'_>, now: &Snapshot, site: &Site, seconds: Option<f64>) {
        let all = site.shared.clients.list();
        let mut before = std::mem::take(&mut self.clients);
        let mut rows: Vec<(f64, usize)> = Vec::with_capacity(all.len());
        for (i, client) in all.iter().enumerate() {
            let figures = &client.figures;
            let bytes = figures.total_in.load(Relaxed) + figures.total_out.load(Relaxed);
            let since = bytes.saturating_sub(before.remove(&client.id).unwrap_or(0));
            rows.push((rate(since, seconds), i));
            self.clients.insert(client.id, bytes);
        }
        rows.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| all[b.1].memory().cmp(&all[a.1].memory())));
        rows.truncate(ROWS_MAX);
        o.objects("clients", rows, |o, (rate, i)| client(o, &all[i], rate, now.mono_ms, site));
    }
}

fn rate(count: u64, seconds: Option<f64>) -> f64 {
    seconds.filter(|seconds| *seconds > 0.0).map_or(0.0, |seconds| count as f64 / seconds)
}

fn server(o: &mut Object<'_>, now: &Snapshot, site: &Site) {
    let (shared, config) = (&site.shared, site.shared.config.load());
    let totals = shared.keyspace.totals();
    o.object("server", |o| {
        o.text("version", env!("CARGO_PKG_VERSION"))
            .int("workers", shared.workers)
            .int("pid", std::process::id());
        o.int("port", shared.tcp.port()).text("policy", config.maxmemory_policy.word());
        o.int("slower", u64::try_from(config.slowlog_log_slower_than).unwrap_or(0));
        o.int("connections", now.counters.connections);
    });
    o.object("engines", |o| {
        o.int("migrations", totals.migrations_done).int("generations", totals.generations);
        o.int("moved", totals.keys_moved).int("purged", totals.keys_purged);
        o.int("slices", totals.slices).int("workers", totals.slices_by_workers);
        o.float("mean", totals.slices_ns as f64 / 1000.0 / totals.slices.max(1) as f64);
        o.float("longest", totals.slice_longest_ns as f64 / 1000.0).int("contended", totals.contended_locks);
        o.int("compacted", totals.compacted_bytes).int("given", totals.given_back_bytes);
    });
}

fn client(o: &mut Object<'_>, client: &ClientHandle, rate: f64, mono_ms: u64, site: &Site) {
    let (figures, state) = (&client.figures, client.state());
    o.int("id", client.id).text("addr", &*client.addr).text("name", short(&client.labels().name));
    o.float("traffic", rate).int("db", figures.db.load(Relaxed));
    o.int("age", mono_ms.saturating_sub(client.created_ms) / 1000);
    o.int("idle", mono_ms.saturating_sub(figures.last_ms.load(Relaxed)) / 1000);
    o.int("memory", client.memory()).int("out", figures.out.load(Relaxed) + client.mail_bytes());
    let command = figures.cmd.load(Relaxed);
    if command != u16::MAX {
        o.text("command", (site.commands.name)(command).as_bytes());
    }
    let doing = [
        (State::MONITOR, "monitor"),
        (State::BLOCKED, "blocked"),
        (State::PUBSUB, "subscriber"),
        (State::MULTI, "in MULTI"),
        (State::TRACKING, "tracking"),
    ];
    if let Some((_, word)) = doing.iter().find(|(bit, _)| state.contains(*bit)) {
        o.text("state", word);
    }
}

/// The slow log without its keys and values: the page asks for no password.
fn slow(o: &mut Object<'_>, site: &Site) {
    o.objects("slow", site.shared.logs.slow.newest(ROWS_MAX), |o, entry| {
        o.int("id", entry.id).int("at", entry.time_s).int("us", entry.measure);
        let name = entry.args.first().map_or(&b""[..], |name| name);
        o.text("command", short(name).to_ascii_uppercase()).int("args", entry.args.len().saturating_sub(1));
        o.text("addr", &*entry.addr).text("name", short(&entry.name));
    });
}

fn steps(o: &mut Object<'_>, site: &Site) {
    o.objects("steps", site.shared.keyspace.history(ROWS_MAX), |o, step| {
        o.int("db", step.db).int("generation", step.generation).int("from", step.shards_from);
        o.int("to", step.shards_to).text("reason", engine_reason(step.reason)).int("at", step.started_ms);
        o.int("ms", step.took_ms).int("moved", step.keys_moved).int("purged", step.keys_purged);
        o.int("slices", step.slices).int("longest", step.slice_longest_us);
    });
}

fn short(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(NAME_MAX).collect()
}
