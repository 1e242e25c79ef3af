//! What changes with every tick.

use std::collections::VecDeque;
use std::fmt::Write as _;

use super::durations::Lately;
use super::json::{Object, object};
use crate::keyspace::{Cell, DbId, EngineStats};
use crate::observe::buckets::Buckets;
use crate::observe::http::Field;
use crate::observe::info::engine_state;
use crate::observe::snapshot::Snapshot;

/// Cells of one engine: as many as can be told apart on a telephone.
pub(super) const CELLS_MAX: usize = 256;

/// One second of the history.
pub(super) struct Point {
    at_ms: u64,
    commands: f64,
    lately: Lately,
    used: usize,
    resident: usize,
}

impl Point {
    pub fn new(now: &Snapshot, lately: &Lately) -> Point {
        Point {
            at_ms: now.at_us / 1000,
            commands: now.rates.commands,
            lately: *lately,
            used: now.memory.used.now,
            resident: now.memory.resident,
        }
    }
}

/// The last minutes, for who comes new.
pub(super) fn history(points: &VecDeque<Point>) -> String {
    let mut text = String::with_capacity(64 * points.len() + 32);
    object(&mut text, |o| {
        o.objects("points", points, |o, point| {
            o.int("t", point.at_ms).float("ops", point.commands).int("used", point.used);
            o.int("rss", point.resident);
            durations(o, &point.lately);
        });
    });
    text
}

fn durations(o: &mut Object<'_>, lately: &Lately) {
    o.float("p50", lately.p50).float("p99", lately.p99).float("p999", lately.p999).float("max", lately.max);
}

/// One frame.
pub(super) fn tick(now: &Snapshot, lately: &Lately, fields: &[Field]) -> String {
    let mut text = String::with_capacity(8 << 10);
    object(&mut text, |o| {
        let (c, m) = (&now.counters, &now.memory);
        o.int("t", now.at_us / 1000).int("up", now.uptime_ms);
        o.text("state", state(now));
        o.float("ops", now.rates.commands).float("in", now.rates.net_in).float("out", now.rates.net_out);
        durations(o, lately);
        o.int("commands", c.total_commands).int("hits", c.keyspace_hits).int("misses", c.keyspace_misses);
        o.int("expired", c.expired_keys).int("evicted", c.evicted_keys).int("errors", c.error_replies);
        o.int("used", m.used.now).int("peak", m.used.peak).int("rss", m.resident).int("limit", m.limit);
        o.int("ceiling", if m.ceiling == u64::MAX { 0 } else { m.ceiling })
            .float("stalled", m.stalled_percent);
        o.int("segments", m.used.segments)
            .int("spare", m.used.spare)
            .int("allocated", m.used.allocator.allocated);
        let e = now.databases.iter().map(|d| &d.engines);
        o.int("dead", e.map(|e| e.bytes_dead).sum::<usize>());
        let clients = &now.clients;
        o.int("clients", clients.connected).int("blocked", clients.blocked);
        o.object("late", |o| lateness(o, &c.lateness));
        o.floats("busy", now.threads.iter().map(|thread| thread.busy * 100.0));
        o.objects("dbs", &now.databases, |o, db| {
            database(o, db.id, &db.engines);
            o.int("ttl", db.avg_ttl_ms);
            if let Some(field) = fields.iter().find(|field| field.db == db.id) {
                o.text("active", cells(&field.active));
                if let Some(growing) = &field.growing {
                    o.text("growing", cells(growing));
                }
            }
        });
    });
    text
}

fn state(now: &Snapshot) -> &'static str {
    match (now.ending, now.serving) {
        (true, _) => "ending",
        (false, true) => "serving",
        (false, false) => "starting",
    }
}

fn database(o: &mut Object<'_>, id: DbId, e: &EngineStats) {
    o.int("db", id).text("state", engine_state(e.state)).int("generation", e.generation);
    o.int("shards", e.shards).int("from", e.shards_from).float("progress", e.progress_percent);
    o.int("keys", e.keys).int("expires", e.expires).float("load", e.load_percent);
    o.int("moved", e.keys_moved).int("purged", e.keys_purged).int("contended", e.contended_locks);
}

/// How late keys expired, since the start: counts by bucket, and bounds within which so many of them were, in
/// microseconds; 0 if that is beyond the last bound.
fn lateness(o: &mut Object<'_>, late: &Buckets) {
    let within = |share: f64| match late.quantile_ns(share) {
        _ if late.count() == 0 => 0.0,
        u64::MAX => 0.0,
        ns => ns as f64 / 1000.0,
    };
    o.float("p50", within(0.5)).float("p99", within(0.99)).float("max", within(1.0));
    o.ints("counts", if late.count() > 0 { &late.counts[..] } else { &[] });
}

/// Three digits a cell: load in percent as two hexadecimal ones, and the share that serves, from 0 to 9.
fn cells(cells: &[Cell]) -> String {
    let mut text = String::with_capacity(cells.len() * 3);
    for cell in cells {
        // Both casts cut off: neither is negative, and what is above the range is as good as its end.
        let load = cell.load_percent.clamp(0.0, 255.0).round() as u8;
        let mut serving = (cell.serving * 9.0).floor() as u8;
        // A few that serve are not none.
        if serving == 0 && cell.serving > 0.0 {
            serving = 1;
        }
        let _ = write!(text, "{load:02x}{}", serving.min(9));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_by_bounds() {
        let shown = |late: &Buckets| {
            let mut text = String::new();
            object(&mut text, |o| lateness(o, late));
            text
        };
        assert_eq!(shown(&Buckets::default()), r#"{"p50":0.00,"p99":0.00,"max":0.00,"counts":[]}"#);
        let mut late = Buckets::default();
        (0..60).for_each(|_| late.record(900));
        (0..40).for_each(|_| late.record(4_000));
        assert!(shown(&late).starts_with(r#"{"p50":1.00,"p99":5.00,"max":5.00,"counts":[60,0,40,0,"#));
        late.record(u64::MAX);
        assert!(shown(&late).contains(r#""p99":5.00,"max":0.00"#), "{}", shown(&late));
    }

    #[test]
    fn a_cell_takes_three_digits() {
        let cell = |load_percent, serving| Cell { load_percent, serving };
        let shown = cells(&[cell(0.0, 1.0), cell(74.6, 0.5), cell(12.0, 0.01), cell(999.0, 0.0)]);
        assert_eq!(shown, "0094b40c1ff0");
    }
}
