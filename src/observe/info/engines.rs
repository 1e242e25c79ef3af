//! Keyspace, and the engines behind it.

use super::{Facts, Text};
use crate::keyspace::State;

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

pub(super) fn engines(text: &mut Text, facts: &Facts<'_>) {
    let sum = |f: fn(&crate::keyspace::EngineStats) -> u64| {
        facts.databases.iter().map(|d| f(&d.engines)).sum::<u64>()
    };
    let migrating = facts.databases.iter().filter(|d| d.engines.state != State::Steady).count();
    text.field("engine_databases_in_use", facts.databases.len());
    text.field("engine_migrations_running", migrating);
    text.field("engine_migrations_done", sum(|e| e.migrations_done));
    text.field("engine_keys_moved", sum(|e| e.keys_moved));
    text.field("engine_keys_purged", sum(|e| e.keys_purged));
    for d in &facts.databases {
        let e = &d.engines;
        text.line(format_args!(
            "engine_db{}:state={},generation={},shards={},load={:.2},keys_moved={},keys_purged={},\
             migrations_done={},last_migration_ms={},contended_locks={},bytes_segments={},bytes_tables={},bytes_dead={}",
            d.id,
            state(e.state),
            e.generation,
            e.shards,
            e.load_percent,
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
