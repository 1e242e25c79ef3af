//! Keyspace, and the engines behind it.

use super::{Facts, Text};
use crate::keyspace::{Reason, State};

pub(super) fn keyspace(text: &mut Text, facts: &Facts<'_>) {
    for d in facts.databases.iter().filter(|d| d.engines.keys > 0) {
        let hashes = facts.shared.identities.hashes(d.id);
        // Redis 7.2 has no such field: it is shown where there is something to say.
        let subexpiry = if hashes > 0 { format!(",subexpiry={hashes}") } else { String::new() };
        text.line(format_args!(
            "db{}:keys={},expires={},avg_ttl={}{subexpiry}",
            d.id, d.engines.keys, d.engines.expires, d.avg_ttl_ms
        ));
    }
}

/// The word for what a database's engines are doing.
pub fn state(state: State) -> &'static str {
    match state {
        State::Steady => "steady",
        State::Growing => "growing",
        State::Shrinking => "shrinking",
    }
}

/// The word for why a migration began.
pub fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Load => "load",
        Reason::Contention => "contention",
        Reason::Announced => "announced",
        Reason::Asked => "asked",
    }
}

pub(super) fn engines(text: &mut Text, facts: &Facts<'_>) {
    let totals = facts.shared.keyspace.totals();
    text.field("engine_databases_in_use", facts.databases.len());
    text.field("engine_migrations_running", facts.shared.keyspace.migrations_running());
    text.field("engine_migrations_done", totals.migrations_done);
    text.field("engine_generations", totals.generations);
    text.field("engine_keys_moved", totals.keys_moved);
    text.field("engine_keys_purged", totals.keys_purged);
    text.field("engine_slices", totals.slices);
    text.field("engine_slices_by_workers", totals.slices_by_workers);
    text.field("engine_slices_usec", totals.slices_ns / 1000);
    text.field("engine_slice_longest_usec", totals.slice_longest_ns / 1000);
    text.field("engine_contended_locks", totals.contended_locks);
    text.field("engine_compacted_bytes", totals.compacted_bytes);
    text.field("engine_packed_collections", totals.packed_collections);
    text.field("engine_given_back_bytes", totals.given_back_bytes);
    for d in &facts.databases {
        let e = &d.engines;
        text.line(format_args!(
            "engine_db{}:state={},generation={},shards={},load={:.2},progress={:.2},keys_moved={},keys_purged={},\
             migrations_done={},last_migration_ms={},contended_locks={},bytes_segments={},bytes_tables={},bytes_dead={}",
            d.id,
            state(e.state),
            e.generation,
            e.shards,
            e.load_percent,
            e.progress_percent,
            e.keys_moved,
            e.keys_purged,
            e.migrations_done,
            e.last_migration_ms,
            e.contended_locks,
            e.bytes_segments,
            e.bytes_tables,
            e.bytes_dead
        ));
    }
}
