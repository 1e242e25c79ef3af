//! Server, clients, persistence, replication, CPU, cluster.

use super::{Facts, Text};
use crate::memory::process;

pub(super) fn server(text: &mut Text, facts: &Facts<'_>) {
    let (shared, config) = (facts.shared, facts.config);
    let system = rustix::system::uname();
    let now_ms = facts.now_us / 1000;
    let uptime = now_ms.saturating_sub(shared.started_ms) / 1000;
    text.field("redis_version", crate::REDIS_VERSION);
    text.field("server_name", "tandem");
    text.field("tandem_version", env!("CARGO_PKG_VERSION"));
    text.field("redis_git_sha1", "00000000");
    text.field("redis_git_dirty", 0);
    text.field("redis_build_id", 0);
    text.field("redis_mode", if config.cluster_enabled { "cluster" } else { "standalone" });
    text.line(format_args!(
        "os:{} {} {}",
        system.sysname().to_string_lossy(),
        system.release().to_string_lossy(),
        system.machine().to_string_lossy()
    ));
    text.field("arch_bits", usize::BITS);
    text.field("monotonic_clock", "POSIX clock_gettime");
    text.field("multiplexing_api", "epoll");
    text.field("atomicvar_api", "std");
    text.field("gcc_version", "0.0.0");
    text.field("process_id", std::process::id());
    text.field("process_supervised", "no");
    text.field("run_id", &shared.run_id);
    text.field("tcp_port", shared.tcp.port());
    text.field("server_time_usec", facts.now_us);
    text.field("uptime_in_seconds", uptime);
    text.field("uptime_in_days", uptime / 86_400);
    text.field("hz", config.hz);
    text.field("configured_hz", config.hz);
    text.field("lru_clock", (now_ms / 1000) & 0xff_ffff);
    let executable = std::env::current_exe().unwrap_or_default();
    text.field("executable", executable.display());
    text.field("config_file", config.file.as_deref().unwrap_or(std::path::Path::new("")).display());
    text.field("io_threads_active", 0);
    text.field("workers", shared.workers);
    listeners(text, facts);
}

fn listeners(text: &mut Text, facts: &Facts<'_>) {
    let config = facts.config;
    let mut n = 0;
    let port = facts.shared.tcp.port();
    if port != 0 {
        let hosts: String = config.bind.0.iter().map(|a| format!(",bind={}", a.host)).collect();
        text.line(format_args!("listener{n}:name=tcp{hosts},port={port}"));
        n += 1;
    }
    if !config.unixsocket.is_empty() {
        text.line(format_args!("listener{n}:name=unix,bind={}", config.unixsocket.to_str_lossy()));
    }
}

pub(super) fn clients(text: &mut Text, facts: &Facts<'_>) {
    let clients = &facts.clients;
    text.field("connected_clients", clients.connected);
    text.field("cluster_connections", 0);
    text.field("maxclients", facts.config.maxclients);
    text.field("client_recent_max_input_buffer", clients.recent_max_input);
    text.field("client_recent_max_output_buffer", clients.recent_max_output);
    text.field("blocked_clients", clients.blocked);
    text.field("tracking_clients", clients.tracking);
    text.field("clients_in_timeout_table", facts.shared.waiters.figures().timed);
    let waiting = facts.shared.waiters.figures();
    text.field("total_blocking_keys", waiting.keys);
    text.field("total_blocking_keys_on_nokey", waiting.keys_on_nokey);
}

pub(super) fn persistence(text: &mut Text, facts: &Facts<'_>) {
    text.zeros(&["loading", "async_loading", "current_cow_peak", "current_cow_size", "current_cow_size_age"]);
    text.field("current_fork_perc", "0.00");
    text.zeros(&["current_save_keys_processed", "current_save_keys_total"]);
    text.field("rdb_changes_since_last_save", facts.counters.dirty);
    text.zeros(&["rdb_bgsave_in_progress"]);
    text.field("rdb_last_save_time", facts.shared.started_ms / 1000);
    text.field("rdb_last_bgsave_status", "ok");
    text.field("rdb_last_bgsave_time_sec", -1);
    text.field("rdb_current_bgsave_time_sec", -1);
    text.zeros(&[
        "rdb_saves",
        "rdb_last_cow_size",
        "rdb_last_load_keys_expired",
        "rdb_last_load_keys_loaded",
        "aof_enabled",
        "aof_rewrite_in_progress",
        "aof_rewrite_scheduled",
    ]);
    text.field("aof_last_rewrite_time_sec", -1);
    text.field("aof_current_rewrite_time_sec", -1);
    text.field("aof_last_bgrewrite_status", "ok");
    text.zeros(&["aof_rewrites", "aof_rewrites_consecutive_failures"]);
    text.field("aof_last_write_status", "ok");
    text.zeros(&["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"]);
}

pub(super) fn replication(text: &mut Text, facts: &Facts<'_>) {
    text.field("role", "master");
    text.field("connected_slaves", 0);
    text.field("master_failover_state", "no-failover");
    text.field("master_replid", facts.shared.replid.lock());
    text.field("master_replid2", "0".repeat(40));
    text.field("master_repl_offset", 0);
    text.field("second_repl_offset", -1);
    text.field("repl_backlog_active", 0);
    text.field("repl_backlog_size", facts.config.repl_backlog_size);
    text.zeros(&["repl_backlog_first_byte_offset", "repl_backlog_histlen"]);
}

pub(super) fn cpu(text: &mut Text, _: &Facts<'_>) {
    for (suffix, cpu) in [
        ("", process::cpu()),
        ("_children", process::cpu_of_children()),
        ("_main_thread", process::cpu_of_main_thread()),
    ] {
        text.line(format_args!("used_cpu_sys{suffix}:{:.6}", cpu.system));
        text.line(format_args!("used_cpu_user{suffix}:{:.6}", cpu.user));
    }
}

pub(super) fn cluster(text: &mut Text, facts: &Facts<'_>) {
    text.field("cluster_enabled", u8::from(facts.config.cluster_enabled));
}
