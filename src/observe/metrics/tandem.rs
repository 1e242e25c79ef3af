//! Figures that only tandem has.

use super::{Metric, Scrape, Series, metrics};
use crate::keyspace::{EngineStats, State};
use crate::observe::buckets::Buckets;
use crate::observe::snapshot::Thread;

fn databases(scrape: &Scrape<'_>, mut each: impl FnMut(&str, &EngineStats)) {
    for database in &scrape.now.databases {
        each(&format!("db{}", database.id), &database.engines);
    }
}

fn state(engines: &EngineStats) -> f64 {
    match engines.state {
        State::Steady => 0.0,
        State::Growing => 1.0,
        State::Shrinking => -1.0,
    }
}

pub(super) static ENGINES: &[Metric] = metrics! {
    Gauge "tandem_engine_generation" None ["db"] "Number of the newest engine of a database."
        = |x, s| databases(x, |db, e| s.labelled(&[db], e.generation));
    Gauge "tandem_engine_shards" None ["db"] "Shards of the newest engine."
        = |x, s| databases(x, |db, e| s.labelled(&[db], e.shards));
    Gauge "tandem_engine_load_ratio" Ratio ["db"] "Keys by places of the newest engine."
        = |x, s| databases(x, |db, e| s.labelled(&[db], e.load_percent / 100.0));
    Gauge "tandem_engine_migrating" None ["db"] "1 while keys move to a larger engine, -1 to a smaller one, else 0."
        = |x, s| databases(x, |db, e| s.labelled(&[db], state(e)));
    Gauge "tandem_engine_progress_ratio" Ratio ["db"] "How far the move has come; 1 when there is none."
        = |x, s| databases(x, |db, e| s.labelled(&[db], e.progress_percent / 100.0));
    Gauge "tandem_engine_segments_bytes" Bytes ["db"] "Entries of a database, dead ones included."
        = |x, s| databases(x, |db, e| s.labelled(&[db], e.bytes_segments));
    Gauge "tandem_engine_tables_bytes" Bytes ["db"] "Headers and buckets of a database."
        = |x, s| databases(x, |db, e| s.labelled(&[db], e.bytes_tables));
    Gauge "tandem_engine_dead_bytes" Bytes ["db"] "Dead entries that wait to be compacted."
        = |x, s| databases(x, |db, e| s.labelled(&[db], e.bytes_dead));
    Gauge "tandem_migrations_running" None [] "Databases whose keys are moving." = |x, s| s.one(x.now.migrations_running);
    Counter "tandem_engine_generations_total" None [] "Engines made because a table grew or shrank."
        = |x, s| s.one(x.now.engines.generations);
    Counter "tandem_migrations_total" None [] "Moves from one engine to another that ended."
        = |x, s| s.one(x.now.engines.migrations_done);
    Counter "tandem_keys_moved_total" None [] "Keys moved from one engine to another."
        = |x, s| s.one(x.now.engines.keys_moved);
    Counter "tandem_keys_purged_total" None [] "Keys dropped on the way because their time had come."
        = |x, s| s.one(x.now.engines.keys_purged);
    Histogram "tandem_migration_slice_seconds" Seconds []
        "Critical sections of moves: for so long a request to one of their keys may have to wait."
        = |x, s| s.histogram(&[], &x.now.counters.slices);
    Counter "tandem_migration_slices_by_workers_total" None []
        "Of them, those that workers took over as inserts came faster than the helper thread moved keys."
        = |x, s| s.one(x.now.engines.slices_by_workers);
    Counter "tandem_contended_locks_total" None [] "Locks of shards that were not free at once."
        = |x, s| s.one(x.now.engines.contended_locks);
    Counter "tandem_compacted_bytes_total" Bytes [] "Living entries copied by compaction."
        = |x, s| s.one(x.now.engines.compacted_bytes);
    Counter "tandem_packed_collections_total" None []
        "Small collections that came into their keys' entries, as nobody changed them for some seconds."
        = |x, s| s.one(x.now.engines.packed_collections);
    Counter "tandem_given_back_bytes_total" Bytes [] "Segments whose memory was given back to the system."
        = |x, s| s.one(x.now.engines.given_back_bytes);
};

fn hit_ratio(scrape: &Scrape<'_>, series: &mut Series<'_>) {
    for (policy, score) in &scrape.now.policies {
        if let Some(ratio) = score.hit_ratio() {
            series.labelled(&[policy.word()], ratio);
        }
    }
}

pub(super) static KEYS: &[Metric] = metrics! {
    Histogram "tandem_expiry_lateness_seconds" Seconds []
        "From the moment at which a key was due to its expiry by its timer; keys found due by a command are not in it."
        = |x, s| s.histogram(&[], &x.now.counters.lateness);
    Histogram "tandem_expiry_turn_seconds" Seconds []
        "While very many keys are due: CPU time from one slice of expiry to the next, what requests then wait for."
        = |x, s| s.histogram(&[], &x.now.counters.expiry_turns);
    Counter "tandem_expired_fields_total" None [] "Fields of hashes removed because their time had come."
        = |x, s| s.one(x.now.counters.expired_fields);
    Counter "tandem_policy_hits_total" None ["policy"] "Keys that reads found while this policy was in force."
        = |x, s| x.now.policies.iter().for_each(|(policy, score)| s.labelled(&[policy.word()], score.hits));
    Counter "tandem_policy_misses_total" None ["policy"] "Keys that reads did not find while this policy was in force."
        = |x, s| x.now.policies.iter().for_each(|(policy, score)| s.labelled(&[policy.word()], score.misses));
    Counter "tandem_policy_evicted_keys_total" None ["policy"] "Keys evicted by this policy."
        = |x, s| x.now.policies.iter().for_each(|(policy, score)| s.labelled(&[policy.word()], score.evicted));
    Gauge "tandem_policy_hit_ratio" Ratio ["policy"] "Hits by reads while this policy was in force." = hit_ratio;
    Counter "tandem_events_delivered_total" None []
        "Messages of channels, of expiry and of values for subscribers, once for each of them; lost ones included."
        = |x, s| s.one(x.now.events.delivered);
    Counter "tandem_events_lost_total" None []
        "Messages that slow subscribers of ~lost did not get, and were told the number of."
        = |x, s| s.one(x.now.events.lost);
    Counter "tandem_expiry_rule_entries_total" None [] "Entries that rules of expiry appended to streams."
        = |x, s| s.one(x.now.events.rules[0]);
    Counter "tandem_expiry_rule_failures_total" None []
        "Entries of rules that could not be appended, as the key of the stream holds another type."
        = |x, s| s.one(x.now.events.rules[1]);
    Gauge "tandem_expiry_rule_pending" None [] "Entries of rules that wait to be appended."
        = |x, s| s.one(x.now.events.rules[2]);
    Counter "tandem_subscribers_dropped_total" None []
        "Clients closed because more waited for them than client-output-buffer-limit allows; what waited is lost."
        = |x, s| s.one(x.now.counters.output_buffer_closed);
    Gauge "tandem_subscribers" None [] "Clients with subscriptions." = |x, s| s.one(x.now.clients.subscribers);
    Gauge "tandem_monitors" None [] "Clients in MONITOR." = |x, s| s.one(x.now.clients.monitors);
    Gauge "tandem_blocking_keys" None [] "Keys that clients wait for." = |x, s| s.one(x.now.blocked_keys);
};

/// Durations by family of commands, in the order in which the families are first met.
fn families(scrape: &Scrape<'_>, series: &mut Series<'_>) {
    let mut families: Vec<(&str, Buckets)> = Vec::new();
    for (id, command) in (0u16..).zip(&scrape.now.counters.commands) {
        let Some(durations) = &command.durations else { continue };
        let family = (scrape.commands.family)(id);
        let at = families.iter().position(|(known, _)| *known == family).unwrap_or_else(|| {
            families.push((family, Buckets::default()));
            families.len() - 1
        });
        families[at].1.add_histogram(durations, command.nanos);
    }
    families.iter().for_each(|(family, buckets)| series.histogram(&[family], buckets));
}

pub(super) static REQUESTS: &[Metric] = metrics! {
    Histogram "tandem_command_duration_seconds" Seconds ["family"]
        "What commands take, by family; without the network. Short ones are timed together and share their time evenly."
        = families;
    Gauge "tandem_clients_memory_bytes" Bytes ["part"] "Memory of all clients: query buffers, what waits to be sent, what MULTI queued."
        = |x, s| {
            s.labelled(&["query"], x.now.clients.query_bytes);
            s.labelled(&["output"], x.now.clients.output_bytes);
            s.labelled(&["multi"], x.now.clients.queued_bytes);
        };
    Counter "tandem_query_buffer_limit_disconnections_total" None [] "Clients closed for requests that were too long."
        = |x, s| s.one(x.now.counters.query_buffer_closed);
    Counter "tandem_denied_auth_total" None [] "Attempts to authenticate that failed."
        = |x, s| s.one(x.now.counters.denied_auth);
};

/// Each thread that works on requests, as `worker-0` or `helper`.
fn threads(scrape: &Scrape<'_>, mut each: impl FnMut(&str, &Thread)) {
    let workers = scrape.now.threads.len().saturating_sub(1);
    for (i, thread) in scrape.now.threads.iter().enumerate() {
        match i < workers {
            true => each(&format!("worker-{i}"), thread),
            false => each("helper", thread),
        }
    }
}

pub(super) static RESOURCES: &[Metric] = metrics! {
    Counter "tandem_thread_cpu_seconds_total" Seconds ["thread"] "CPU time of a worker or the helper thread."
        = |x, s| threads(x, |name, thread| s.labelled(&[name], thread.cpu_ns as f64 / 1e9));
    Gauge "tandem_thread_busy_ratio" Ratio ["thread"] "Its share of a core since the scrape before, at least half a second."
        = |x, s| threads(x, |name, thread| s.labelled(&[name], thread.busy));
    Counter "tandem_thread_commands_total" None ["thread"] "Commands that it ran."
        = |x, s| threads(x, |name, thread| s.labelled(&[name], thread.commands));
    Gauge "tandem_thread_clients" None ["thread"] "Its clients."
        = |x, s| threads(x, |name, thread| s.labelled(&[name], thread.clients));
    Gauge "tandem_memory_counted_bytes" Bytes [] "What counts against maxmemory." = |x, s| s.one(x.now.memory.counted);
    Gauge "tandem_memory_segments_bytes" Bytes [] "Segments of entries in use." = |x, s| s.one(x.now.memory.used.segments);
    Gauge "tandem_memory_segments_spare_bytes" Bytes [] "Free segments that are still resident."
        = |x, s| s.one(x.now.memory.used.spare);
    Gauge "tandem_memory_ceiling_bytes" Bytes []
        "What the process may have at most: the least of its cgroups' limits, its own and the machine's memory."
        = |x, s| s.one(x.now.memory.ceiling);
    Gauge "tandem_memory_pressure_ratio" Ratio []
        "Share of the last ten seconds in which something in the cgroup waited for memory."
        = |x, s| s.one(x.now.memory.stalled_percent / 100.0);
    Counter "tandem_memory_exceeded_seconds_total" Seconds [] "Time in which memory was over maxmemory."
        = |x, s| s.one(x.now.memory.exceeded_total_ms as f64 / 1000.0);
};
