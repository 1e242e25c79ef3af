//! Figures that Redis has too, under the names of the common exporter.

use super::{Metric, Scrape, Series, metrics};
use crate::memory::process;
use crate::observe::info;

/// A command that was called, by its name.
fn commands(scrape: &Scrape<'_>, mut each: impl FnMut(&str, &crate::observe::stats::CommandStats)) {
    for (id, command) in (0u16..).zip(&scrape.now.counters.commands) {
        if command.calls > 0 || command.rejected > 0 || command.failed > 0 {
            each(&(scrape.commands.name)(id), command);
        }
    }
}

/// A database, as `db0`.
fn databases(scrape: &Scrape<'_>, mut each: impl FnMut(&str, &info::Database)) {
    for database in &scrape.now.databases {
        each(&format!("db{}", database.id), database);
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn instance(scrape: &Scrape<'_>, series: &mut Series<'_>) {
    let config = scrape.shared.config.load();
    let system = rustix::system::uname();
    let os = format!(
        "{} {} {}",
        system.sysname().to_string_lossy(),
        system.release().to_string_lossy(),
        system.machine().to_string_lossy()
    );
    let labels = [
        "master",
        crate::REDIS_VERSION,
        "0",
        if config.cluster_enabled { "cluster" } else { "standalone" },
        &os,
        config.maxmemory_policy.word(),
        &scrape.shared.tcp.port().to_string(),
        &scrape.shared.run_id,
        &std::process::id().to_string(),
    ];
    series.labelled(&labels, true);
}

fn percentiles(scrape: &Scrape<'_>, series: &mut Series<'_>) {
    let config = scrape.shared.config.load();
    commands(scrape, |name, command| {
        let Some(durations) = &command.durations else { return };
        for percentile in &config.latency_tracking_info_percentiles.0 {
            let micros = durations.value_at_percentile(*percentile) as f64 / 1000.0;
            series.labelled(&[name, &percentile.to_string()], micros);
        }
    });
}

pub(super) static METRICS: &[Metric] = metrics! {
    Gauge "redis_up" None [] "1: whoever can read this has reached the server." = |_, s| s.one(true);
    Gauge "redis_instance_info" None
        ["role", "redis_version", "redis_build_id", "redis_mode", "os", "maxmemory_policy", "tcp_port", "run_id", "process_id"]
        "1, with what is known of the server in the labels." = instance;
    Gauge "redis_start_time_seconds" Seconds [] "Unix time of the start."
        = |x, s| s.one(x.shared.started_ms as f64 / 1000.0);
    Gauge "redis_uptime_in_seconds" Seconds [] "Time since the start."
        = |x, s| s.one(x.now.uptime_ms / 1000);
    Gauge "redis_process_id" None [] "Number of the process." = |_, s| s.one(u64::from(std::process::id()));

    Gauge "redis_connected_clients" None [] "Clients that are connected." = |x, s| s.one(x.now.clients.connected);
    Gauge "redis_blocked_clients" None [] "Clients that wait in a blocking command."
        = |x, s| s.one(x.now.clients.blocked);
    Gauge "redis_tracking_clients" None [] "Clients that have what they read tracked."
        = |x, s| s.one(x.now.clients.tracking);
    Gauge "redis_config_maxclients" None [] "Setting maxclients."
        = |x, s| s.one(u64::from(x.shared.config.load().maxclients));
    Gauge "redis_client_recent_max_input_buffer_bytes" Bytes [] "Largest input buffer of a client now."
        = |x, s| s.one(x.now.clients.recent_max_input);
    Gauge "redis_client_recent_max_output_buffer_bytes" Bytes [] "Largest output buffer of a client now."
        = |x, s| s.one(x.now.clients.recent_max_output);
    Counter "redis_connections_received_total" None [] "Connections that were accepted."
        = |x, s| s.one(x.now.counters.connections);
    Counter "redis_rejected_connections_total" None [] "Connections that were turned away."
        = |x, s| s.one(x.now.counters.rejected_connections);

    Gauge "redis_memory_used_bytes" Bytes [] "Memory in use: handed out by the allocator, and living entries."
        = |x, s| s.one(x.now.memory.used.now);
    Gauge "redis_memory_used_rss_bytes" Bytes [] "Resident memory, as the kernel counts it."
        = |x, s| s.one(x.now.memory.resident);
    Gauge "redis_memory_used_peak_bytes" Bytes [] "Most memory that was in use." = |x, s| s.one(x.now.memory.used.peak);
    Gauge "redis_memory_used_startup_bytes" Bytes [] "Memory in use after the start."
        = |x, s| s.one(x.now.memory.used.startup);
    Gauge "redis_memory_used_overhead_bytes" Bytes [] "Memory that is not the data set: start, clients, tables."
        = |x, s| s.one(x.now.overhead());
    Gauge "redis_memory_used_dataset_bytes" Bytes [] "Memory of the data set."
        = |x, s| s.one(x.now.memory.used.now.saturating_sub(x.now.overhead()));
    Gauge "redis_memory_max_bytes" Bytes [] "maxmemory as it is in force; 0 is no limit."
        = |x, s| s.one(x.now.memory.limit);
    Gauge "redis_config_maxmemory" Bytes [] "The same." = |x, s| s.one(x.now.memory.limit);
    Gauge "redis_mem_fragmentation_ratio" Ratio [] "Resident memory by memory in use."
        = |x, s| s.one(ratio(x.now.memory.resident, x.now.memory.used.now));
    Gauge "redis_mem_clients_normal" Bytes [] "Memory of clients and their buffers, replicas apart."
        = |x, s| s.one(x.now.clients.memory_normal);
    Gauge "redis_mem_not_counted_for_eviction_bytes" Bytes [] "Memory that does not count against maxmemory."
        = |x, s| s.one(x.shared.memory.uncounted());
    Gauge "redis_allocator_allocated_bytes" Bytes [] "Handed out by the allocator."
        = |x, s| s.one(x.now.memory.used.allocator.allocated);
    Gauge "redis_allocator_active_bytes" Bytes [] "In pages from which the allocator has handed something out."
        = |x, s| s.one(x.now.memory.used.allocator.active);
    Gauge "redis_allocator_resident_bytes" Bytes [] "Resident in the allocator."
        = |x, s| s.one(x.now.memory.used.allocator.resident);
    Gauge "redis_allocator_frag_ratio" Ratio [] "Active by allocated."
        = |x, s| s.one(ratio(x.now.memory.used.allocator.active, x.now.memory.used.allocator.allocated));
    Gauge "redis_allocator_rss_ratio" Ratio [] "Resident in the allocator by active."
        = |x, s| s.one(ratio(x.now.memory.used.allocator.resident, x.now.memory.used.allocator.active));
    Gauge "redis_total_system_memory_bytes" Bytes [] "Memory of the machine." = |_, s| s.one(process::machine_memory());
    Gauge "redis_lazyfree_pending_objects" None [] "Values that wait to be freed in the background."
        = |x, s| s.one(x.now.lazyfree_pending);
    Counter "redis_lazyfreed_objects_total" None [] "Values that were freed in the background."
        = |x, s| s.one(x.now.lazyfreed);

    Counter "redis_commands_processed_total" None [] "Commands that ran." = |x, s| s.one(x.now.counters.total_commands);
    Counter "redis_commands_total" None ["cmd"] "Calls of a command."
        = |x, s| commands(x, |name, command| s.labelled(&[name], command.calls));
    Counter "redis_commands_duration_seconds_total" Seconds ["cmd"] "Time spent in a command."
        = |x, s| commands(x, |name, command| s.labelled(&[name], command.nanos as f64 / 1e9));
    Counter "redis_commands_rejected_calls_total" None ["cmd"] "Calls that were refused before the command ran."
        = |x, s| commands(x, |name, command| s.labelled(&[name], command.rejected));
    Counter "redis_commands_failed_calls_total" None ["cmd"] "Calls that ran and answered an error."
        = |x, s| commands(x, |name, command| s.labelled(&[name], command.failed));
    Gauge "redis_latency_percentiles_usec" None ["cmd", "quantile"]
        "Microseconds that a command takes, by the percentiles of latency-tracking-info-percentiles." = percentiles;
    Counter "redis_errors_total" None ["err"] "Error replies by their code."
        = |x, s| x.now.counters.errors.iter().for_each(|(code, count)| s.labelled(&[code], *count));
    Counter "redis_total_error_replies_total" None [] "Error replies." = |x, s| s.one(x.now.counters.error_replies);
    Counter "redis_net_input_bytes_total" Bytes [] "Bytes received from clients." = |x, s| s.one(x.now.counters.net_in);
    Counter "redis_net_output_bytes_total" Bytes [] "Bytes sent to clients." = |x, s| s.one(x.now.counters.net_out);
    Counter "redis_total_reads_processed_total" None [] "Reads from sockets." = |x, s| s.one(x.now.counters.reads);
    Counter "redis_total_writes_processed_total" None [] "Writes to sockets." = |x, s| s.one(x.now.counters.writes);
    Gauge "redis_slowlog_length" None [] "Entries of the slow log." = |x, s| s.one(x.now.slowlog.length);
    Gauge "redis_slowlog_last_id" None [] "Number of the newest entry of the slow log."
        = |x, s| s.one(x.now.slowlog.newest.map_or(0, |(id, _)| id));
    Gauge "redis_last_slow_execution_duration_seconds" Seconds [] "What the newest entry of the slow log took."
        = |x, s| s.one(x.now.slowlog.newest.map_or(0, |(_, us)| us) as f64 / 1e6);
    Gauge "redis_latency_spike_last" None ["event_name"] "Unix time of the newest latency event of this name."
        = |x, s| x.now.latency.iter().for_each(|event| s.labelled(&[event.name], event.at_s));
    Gauge "redis_latency_spike_duration_seconds" Seconds ["event_name"] "What the newest latency event of this name took."
        = |x, s| x.now.latency.iter().for_each(|event| s.labelled(&[event.name], event.millis as f64 / 1000.0));

    Gauge "redis_db_keys" None ["db"] "Keys of a database."
        = |x, s| databases(x, |name, database| s.labelled(&[name], database.engines.keys));
    Gauge "redis_db_keys_expiring" None ["db"] "Keys of a database that have a time to live."
        = |x, s| databases(x, |name, database| s.labelled(&[name], database.engines.expires));
    Gauge "redis_db_avg_ttl_seconds" Seconds ["db"] "Mean time that such keys have left, estimated from a few of them."
        = |x, s| databases(x, |name, database| s.labelled(&[name], database.avg_ttl_ms as f64 / 1000.0));
    Counter "redis_keyspace_hits_total" None [] "Keys that a read found." = |x, s| s.one(x.now.counters.keyspace_hits);
    Counter "redis_keyspace_misses_total" None [] "Keys that a read did not find."
        = |x, s| s.one(x.now.counters.keyspace_misses);
    Counter "redis_expired_keys_total" None [] "Keys removed because their time had come."
        = |x, s| s.one(x.now.counters.expired_keys);
    Counter "redis_evicted_keys_total" None [] "Keys removed because memory was full."
        = |x, s| s.one(x.now.counters.evicted_keys);

    Gauge "redis_rdb_changes_since_last_save" None [] "Changes to the data set since it was last saved, or the start."
        = |x, s| s.one(x.now.counters.dirty);
    Gauge "redis_rdb_last_save_timestamp_seconds" Seconds [] "Unix time of the last snapshot, or of the start."
        = |x, s| s.one(x.shared.started_ms as f64 / 1000.0);
    Gauge "redis_rdb_bgsave_in_progress" None [] "1 while a snapshot is written; always 0, as this version writes none."
        = |_, s| s.one(false);
    Gauge "redis_aof_enabled" None [] "1 if changes are logged to a file; always 0, as this version keeps no such file."
        = |_, s| s.one(false);
    Gauge "redis_loading_dump_file" None [] "1 while a file is loaded; always 0, as this version starts empty."
        = |_, s| s.one(false);
    Gauge "redis_connected_slaves" None [] "Replicas that are connected; always 0, as this version has none."
        = |_, s| s.one(0_u64);
    Gauge "redis_master_repl_offset" None [] "Bytes of the stream for replicas; always 0, as this version writes none."
        = |_, s| s.one(0_u64);
    Gauge "redis_repl_backlog_is_active" None [] "1 while a backlog is kept for replicas; always 0, as this version has none."
        = |_, s| s.one(false);
    Gauge "redis_replication_backlog_bytes" Bytes [] "Setting repl-backlog-size."
        = |x, s| s.one(x.shared.config.load().repl_backlog_size);

    Gauge "redis_pubsub_channels" None [] "Channels with subscribers." = |x, s| s.one(x.now.events.channels);
    Gauge "redis_pubsub_patterns" None [] "Patterns with subscribers." = |x, s| s.one(x.now.events.patterns);
    Gauge "redis_pubsubshard_channels" None [] "Shard channels with subscribers."
        = |x, s| s.one(x.now.events.shard_channels);

    Counter "redis_cpu_sys_seconds_total" Seconds [] "CPU time in the kernel." = |x, s| s.one(x.now.cpu.system);
    Counter "redis_cpu_user_seconds_total" Seconds [] "CPU time outside of the kernel." = |x, s| s.one(x.now.cpu.user);
};
