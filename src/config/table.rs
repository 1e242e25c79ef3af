//! Every setting, once. A row reads: explanation, field, type, default, names, form, when it may change, standing.
//!
//! The order of groups and rows is that of sidecar.yaml and of the manual page. A row whose value is a list of words
//! or has a form of its own names the form for people; its type does the checking.

use super::forms::*;
use super::kinds::*;
use super::rules::ExpiryRules;
use super::setting::*;

const INT: i64 = i32::MAX as i64;
const LONG: i64 = i64::MAX;
const SIZE: u64 = i64::MAX as u64;
const PORT: Spec = int(0, 65535, "");
const CRON: &str = "timers are exact here: no periodic task runs whose pace or effort could be set";
const THREADS: &str = "the workers read, run and write; `workers` sets their number";
const DEFRAG: &str = "large values are moved in small parts, whatever their number";
const CRASH: &str = "a crash report is left to the platform's core dump";

settings! {
    "" {
        /// Number of worker threads: `auto` takes the cores that the cgroup grants, at most four.
        workers: Workers = "auto", ["workers"], Spec::Form("auto | 1..256"), FIXED, ACTIVE;
    }
    "listen" {
        /// TCP port; 0 turns TCP off.
        port: u16 = "6379", ["port"], PORT, LIVE, ACTIVE;
        /// Addresses to listen on; one with a leading `-` may be missing, `*` and `::*` are all of IPv4 and IPv6.
        bind: Addresses = "127.0.0.1 -::1", ["bind"], Spec::Words("address …"), LIVE, ACTIVE;
        /// Path of the unix socket; empty turns it off.
        unixsocket: Text = "", ["unixsocket"], Spec::Text, FIXED, ACTIVE;
        /// Permissions of the unix socket; 0 leaves them to the umask.
        unixsocketperm: u32 = "660", ["unixsocketperm"], Spec::Octal, FIXED, ACTIVE;
        /// Length of the queue of connections that wait to be accepted.
        tcp_backlog: u32 = "511", ["tcp-backlog"], int(0, INT, ""), FIXED, ACTIVE;
        /// Idle time after which TCP peers are probed; 0 turns probes off.
        tcp_keepalive: u32 = "300", ["tcp-keepalive"], int(0, INT, "seconds"), LIVE, ACTIVE;
        /// Idle time after which a client is closed; 0 never closes one.
        timeout: u32 = "0", ["timeout"], int(0, INT, "seconds"), LIVE, ACTIVE;
        /// Time within which a request that has begun must be complete; 0 waits for ever.
        partial_frame_timeout: u32 = "10000", ["partial-frame-timeout"], int(0, INT, "milliseconds"), LIVE, ACTIVE;
        /// Mark for routing on the sockets of this server; 0 sets none.
        socket_mark_id: u32 = "0", ["socket-mark-id"], int(0, u32::MAX as i64, ""), FIXED, later("marking sockets");
        /// Source address of outgoing connections.
        bind_source_addr: Text = "", ["bind-source-addr"], Spec::Text, LIVE, waits("replication");
    }
    "security" {
        /// Refuse clients from other machines while no password is set.
        protected_mode: bool = "yes", ["protected-mode"], Spec::Bool, LIVE, ACTIVE;
        /// Password of the default user; empty asks for none.
        requirepass: Text = "", ["requirepass"], Spec::Password, LIVE | SECRET, ACTIVE;
        /// Who may change settings that name files, by CONFIG SET.
        enable_protected_configs: Allow = "no", ["enable-protected-configs"], Spec::Choice(Allow::WORDS), FIXED, ACTIVE;
        /// Who may use DEBUG.
        enable_debug_command: Allow = "no", ["enable-debug-command"], Spec::Choice(Allow::WORDS), FIXED, ACTIVE;
        /// Who may use MODULE.
        enable_module_command: Allow = "no", ["enable-module-command"], Spec::Choice(Allow::WORDS), FIXED,
            inert("tandem has no loadable modules");
        /// Commands under other names, as pairs of old and new; an empty new name takes the command away.
        rename_command: Renames = "", ["rename-command"], Spec::Words("old new …"), FIXED | HIDDEN | ADDS_UP, ACTIVE;
        /// File with users and their rules.
        aclfile: Text = "", ["aclfile"], Spec::Text, FIXED, later("ACL");
        /// Entries that ACL LOG keeps.
        acllog_max_len: u64 = "128", ["acllog-max-len"], int(0, LONG, "entries"), LIVE, waits("ACL");
        /// Channels open to users whose rules name none.
        acl_pubsub_default: PubsubDefault = "resetchannels", ["acl-pubsub-default"],
            Spec::Choice(PubsubDefault::WORDS), LIVE, waits("ACL");
        /// Keep keys and values out of the log: of commands only their names are shown.
        hide_user_data_from_log: bool = "yes", ["hide-user-data-from-log"], Spec::Bool, LIVE, ACTIVE;
    }
    "limits" {
        /// Clients at the same time; more are turned away with an error.
        maxclients: u32 = "10000", ["maxclients"], int(1, INT, "clients"), LIVE, ACTIVE;
        /// Longest string in a request.
        proto_max_bulk_len: u64 = "512mb", ["proto-max-bulk-len"], memory(1 << 20, SIZE), LIVE, ACTIVE;
        /// Most bytes of a client that may wait to be parsed.
        client_query_buffer_limit: u64 = "1gb", ["client-query-buffer-limit"], memory(1 << 20, SIZE), LIVE, ACTIVE;
        /// Per class (normal, replica, pubsub): hard limit, soft limit and its seconds for what waits to be sent.
        client_output_buffer_limit: BufferLimits =
            "normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60", ["client-output-buffer-limit"],
            Spec::Words("class hard soft seconds …"), LIVE, ACTIVE;
        /// Memory of all clients together, in bytes or as a share of maxmemory; 0 is no limit.
        maxmemory_clients: MemoryLimit = "0", ["maxmemory-clients"], Spec::MemoryOrPercent, LIVE, ACTIVE;
        /// Keys that may be tracked for client-side caching.
        tracking_table_max_keys: u64 = "1000000", ["tracking-table-max-keys"], int(0, LONG, "keys"), LIVE, ACTIVE;
    }
    "databases" {
        /// Number of databases.
        databases: u32 = "16", ["databases"], int(1, 65535, ""), FIXED, ACTIVE;
    }
    "memory" {
        /// Memory above which keys are evicted or writes refused; 0 is no limit, a share is one of the cgroup's limit or the machine's memory, `auto` is that less a reserve.
        maxmemory: MemoryCap = "0", ["maxmemory"], Spec::MemoryCap, LIVE, ACTIVE;
        /// Which keys are evicted; `allkeys-arc` adapts between recency and frequency.
        maxmemory_policy: EvictionPolicy = "noeviction", ["maxmemory-policy"], Spec::Choice(EvictionPolicy::WORDS), LIVE,
            ACTIVE;
        /// How many keys are looked at to choose one victim.
        maxmemory_samples: u32 = "5", ["maxmemory-samples"], int(1, 64, "keys"), LIVE, ACTIVE;
        /// How hard eviction works before it lets requests through, from 0 to 100.
        maxmemory_eviction_tenacity: u32 = "10", ["maxmemory-eviction-tenacity"], int(0, 100, ""), LIVE, ACTIVE;
        /// How slowly the access counter of LFU rises.
        lfu_log_factor: u32 = "10", ["lfu-log-factor"], int(0, INT, ""), LIVE, ACTIVE;
        /// Time after which the access counter of LFU is halved.
        lfu_decay_time: u32 = "1", ["lfu-decay-time"], int(0, INT, "minutes"), LIVE, ACTIVE;
        /// Free evicted values in the background, small ones too.
        lazyfree_lazy_eviction: bool = "no", ["lazyfree-lazy-eviction"], Spec::Bool, LIVE, ACTIVE;
        /// Free expired values in the background.
        lazyfree_lazy_expire: bool = "no", ["lazyfree-lazy-expire"], Spec::Bool, LIVE, ACTIVE;
        /// Free overwritten values in the background.
        lazyfree_lazy_server_del: bool = "no", ["lazyfree-lazy-server-del"], Spec::Bool, LIVE, ACTIVE;
        /// Let DEL free in the background as UNLINK does.
        lazyfree_lazy_user_del: bool = "no", ["lazyfree-lazy-user-del"], Spec::Bool, LIVE, ACTIVE;
        /// Let FLUSHALL, FLUSHDB, SCRIPT FLUSH and FUNCTION FLUSH free in the background when they say neither SYNC nor ASYNC.
        lazyfree_lazy_user_flush: bool = "no", ["lazyfree-lazy-user-flush"], Spec::Bool, LIVE, ACTIVE;
        /// Return unused memory to the system from a thread of the allocator.
        jemalloc_bg_thread: bool = "yes", ["jemalloc-bg-thread"], Spec::Bool, LIVE,
            inert("giving memory back is not optional here");
        /// Move what is out of line out of pages that are mostly unused. Packed memory is compacted always.
        activedefrag: bool = "yes", ["activedefrag"], Spec::Bool, LIVE, ACTIVE;
        /// Unused memory in the allocator's pages, beyond what the last defragmentation left, below which the next does not start; a sixteenth of it half a second after the last change.
        active_defrag_ignore_bytes: u64 = "512kb", ["active-defrag-ignore-bytes"], memory(1, SIZE), LIVE, ACTIVE;
        /// Unused memory in the allocator's pages, of what is in use, at which defragmentation starts.
        active_defrag_threshold_lower: u32 = "10", ["active-defrag-threshold-lower"], int(0, 1000, "percent"), LIVE, ACTIVE;
        /// The same at which defragmentation works its hardest.
        active_defrag_threshold_upper: u32 = "100", ["active-defrag-threshold-upper"], int(0, 1000, "percent"), LIVE, ACTIVE;
        /// Least CPU of defragmentation, while there is any.
        active_defrag_cycle_min: u32 = "5", ["active-defrag-cycle-min"], int(1, 99, "percent"), LIVE, ACTIVE;
        /// Most CPU of defragmentation.
        active_defrag_cycle_max: u32 = "25", ["active-defrag-cycle-max"], int(1, 99, "percent"), LIVE, ACTIVE;
        /// Elements of one value moved at a time by defragmentation.
        active_defrag_max_scan_fields: u64 = "1000", ["active-defrag-max-scan-fields"], int(1, LONG, ""), LIVE,
            inert(DEFRAG);
    }
    "engine" {
        /// Fill of its shards at which an engine grows.
        engine_grow_percent: u32 = "85", ["engine-grow-percent"], int(50, 95, "percent"), LIVE, ACTIVE;
        /// Fill of its shards below which an engine shrinks.
        engine_shrink_percent: u32 = "20", ["engine-shrink-percent"], int(0, 40, "percent"), LIVE, ACTIVE;
        /// Share of one core that the helper thread takes for moving keys while the machine is busy and nobody waits for room.
        migration_cpu_percent: u32 = "25", ["migration-cpu-percent"], int(1, 100, "percent"), LIVE, ACTIVE;
        /// Move keys to a larger or smaller table in idle time.
        activerehashing: bool = "yes", ["activerehashing"], Spec::Bool, LIVE,
            inert("engines move their shards in the background in any case");
    }
    "expiry" {
        /// How hard periodic expiry works, from 1 to 10.
        active_expire_effort: u32 = "1", ["active-expire-effort"], int(1, 10, ""), LIVE, inert(CRON);
        /// Rounds of the periodic task per second.
        hz: u32 = "10", ["hz"], int(0, INT, "per second"), LIVE, inert(CRON);
        /// Raise the pace of the periodic task with the number of clients.
        dynamic_hz: bool = "yes", ["dynamic-hz"], Spec::Bool, LIVE, inert(CRON);
    }
    "events" {
        /// Classes of keyspace events to publish: K keyspace, E keyevent, then g$lshzxetdnm, or A for most of them.
        notify_keyspace_events: EventClasses = "", ["notify-keyspace-events"], Spec::Form("letters of KEA g$lshzxetdnm"), LIVE,
            ACTIVE;
        /// Largest value that messages of `__expired@N__` and `__value@N__` carry; of a larger one they say how large it is.
        event_value_max: u64 = "64kb", ["event-value-max"], memory(0, SIZE), LIVE, ACTIVE;
        /// Bytes that may wait for a subscriber of `~lost`; messages beyond are dropped, counted and told to it.
        event_buffer_limit: u64 = "1mb", ["event-buffer-limit"], memory(1 << 10, SIZE), LIVE, ACTIVE;
        /// Rules that append keys to a stream when they expire; EXPIRY RULE changes them, too.
        expiry_rules: ExpiryRules = "", ["expiry-rules"],
            Spec::Words("rule name pattern pattern stream key [db number] [maxlen count] [value] …"), LIVE | ADDS_UP, ACTIVE;
    }
    "process" {
        /// Directory to work in; files without a path are kept there.
        dir: Directory = ".", ["dir"], Spec::Form("directory"), LIVE | PROTECTED, ACTIVE;
        /// Go to the background after the start.
        daemonize: bool = "no", ["daemonize"], Spec::Bool, FIXED, ACTIVE;
        /// File to which the process id is written.
        pidfile: Text = "", ["pidfile"], Spec::Text, FIXED, ACTIVE;
        /// Supervisor to tell when the server is ready.
        supervised: Supervised = "no", ["supervised"], Spec::Choice(Supervised::WORDS), FIXED, later("telling a supervisor");
        /// Longest wait for lagging replicas at shutdown.
        shutdown_timeout: u32 = "10", ["shutdown-timeout"], int(0, INT, "seconds"), LIVE, waits("replication");
        /// What SIGINT asks of the shutdown.
        shutdown_on_sigint: ShutdownFlags = "default", ["shutdown-on-sigint"], Spec::Choices(ShutdownFlags::WORDS), LIVE,
            waits("persistence");
        /// What SIGTERM asks of the shutdown.
        shutdown_on_sigterm: ShutdownFlags = "default", ["shutdown-on-sigterm"], Spec::Choices(ShutdownFlags::WORDS), LIVE,
            waits("persistence");
        /// Show what the process is in its title.
        set_proc_title: bool = "yes", ["set-proc-title"], Spec::Bool, FIXED, waits("the process title");
        /// Form of the process title.
        proc_title_template: Text = "{title} {listen-addr} {server-mode}", ["proc-title-template"], Spec::Title, LIVE,
            waits("the process title");
        /// Tell the kernel whom to kill first when memory runs out.
        oom_score_adj: OomScoreAdj = "no", ["oom-score-adj"], Spec::Choice(OomScoreAdj::WORDS), LIVE, ACTIVE;
        /// OOM scores of a master, a replica and background work.
        oom_score_adj_values: OomScores = "0 200 800", ["oom-score-adj-values"], Spec::Words("master replica background"),
            LIVE, ACTIVE;
        /// Turn transparent huge pages off for this process.
        disable_thp: bool = "yes", ["disable-thp"], Spec::Bool, FIXED, inert("no forks, so huge pages are not copied");
        /// Threads that read and write sockets.
        io_threads: u32 = "1", ["io-threads"], int(1, 128, "threads"), FIXED, inert(THREADS);
        /// Let I/O threads read too.
        io_threads_do_reads: bool = "no", ["io-threads-do-reads"], Spec::Bool, FIXED, inert(THREADS);
        /// Cores of the workers.
        server_cpulist: Text = "", ["server_cpulist"], Spec::Text, FIXED, later("choosing cores");
        /// Cores of background threads.
        bio_cpulist: Text = "", ["bio_cpulist"], Spec::Text, FIXED, later("choosing cores");
        /// Cores of the rewrite of the append-only file.
        aof_rewrite_cpulist: Text = "", ["aof_rewrite_cpulist"], Spec::Text, FIXED, later("choosing cores");
        /// Cores of background saving.
        bgsave_cpulist: Text = "", ["bgsave_cpulist"], Spec::Text, FIXED, later("choosing cores");
        /// Warnings of the start to pass over.
        ignore_warnings: Text = "", ["ignore-warnings"], Spec::Text, LIVE, inert("tandem's start checks nothing of that kind");
        /// Time after which a stuck event loop logs where it is; 0 is off.
        watchdog_period: u32 = "0", ["watchdog-period"], int(0, INT, "milliseconds"), LIVE | HIDDEN, later("the watchdog");
        /// Locale of comparisons by SORT ALPHA.
        locale_collate: Text = "", ["locale-collate"], Spec::Text, LIVE, inert("comparisons are by byte");
    }
    "log" {
        /// File to log to; empty logs to standard output.
        logfile: Text = "", ["logfile"], Spec::Text, FIXED, ACTIVE;
        /// How much is logged.
        loglevel: LogLevel = "notice", ["loglevel"], Spec::Choice(LogLevel::WORDS), LIVE, ACTIVE;
        /// Form of the lines.
        log_format: LogFormat = "redis", ["log-format"], Spec::Choice(LogFormat::WORDS), FIXED, ACTIVE;
        /// Print the logo at the start even when the output is no terminal.
        always_show_logo: bool = "no", ["always-show-logo"], Spec::Bool, FIXED, ACTIVE;
        /// Log to syslog too.
        syslog_enabled: bool = "no", ["syslog-enabled"], Spec::Bool, FIXED, later("logging to syslog");
        /// Name in syslog.
        syslog_ident: Text = "redis", ["syslog-ident"], Spec::Text, FIXED, waits("logging to syslog");
        /// Facility in syslog.
        syslog_facility: SyslogFacility = "local0", ["syslog-facility"], Spec::Choice(SyslogFacility::WORDS), FIXED,
            waits("logging to syslog");
        /// Log a report when the server crashes.
        crash_log_enabled: bool = "yes", ["crash-log-enabled"], Spec::Bool, LIVE, inert(CRASH);
        /// Test memory when the server crashes.
        crash_memcheck_enabled: bool = "yes", ["crash-memcheck-enabled"], Spec::Bool, LIVE, inert(CRASH);
        /// End a crash by exit instead of abort.
        use_exit_on_panic: bool = "no", ["use-exit-on-panic"], Spec::Bool, LIVE | HIDDEN, inert(CRASH);
        /// Extra checks for debugging.
        enable_debug_assert: bool = "no", ["enable-debug-assert"], Spec::Bool, FIXED | HIDDEN,
            inert("debug builds have theirs, release builds none");
    }
    "slowlog" {
        /// Time from which a command is kept in the slow log; -1 keeps none, 0 all.
        slowlog_log_slower_than: i64 = "10000", ["slowlog-log-slower-than", "commandlog-execution-slower-than"],
            int(-1, LONG, "microseconds"), LIVE, ACTIVE;
        /// Write what enters the slow log to the log too, with the trace id of its connection.
        slowlog_to_log: bool = "no", ["slowlog-to-log"], Spec::Bool, LIVE, ACTIVE;
        /// Entries that the slow log keeps.
        slowlog_max_len: u64 = "128", ["slowlog-max-len", "commandlog-slow-execution-max-len"], int(0, LONG, "entries"),
            LIVE, ACTIVE;
        /// Size from which a request is kept in the log of large requests; -1 keeps none.
        commandlog_request_larger_than: i64 = "1048576", ["commandlog-request-larger-than"], int(-1, LONG, "bytes"), LIVE, ACTIVE;
        /// Entries that the log of large requests keeps.
        commandlog_large_request_max_len: u64 = "128", ["commandlog-large-request-max-len"], int(0, LONG, "entries"), LIVE,
            ACTIVE;
        /// Size from which a reply is kept in the log of large replies; -1 keeps none.
        commandlog_reply_larger_than: i64 = "1048576", ["commandlog-reply-larger-than"], int(-1, LONG, "bytes"), LIVE, ACTIVE;
        /// Entries that the log of large replies keeps.
        commandlog_large_reply_max_len: u64 = "128", ["commandlog-large-reply-max-len"], int(0, LONG, "entries"), LIVE,
            ACTIVE;
    }
    "latency" {
        /// Delay from which LATENCY keeps an event; 0 is off.
        latency_monitor_threshold: u64 = "0", ["latency-monitor-threshold"], int(0, LONG, "milliseconds"), LIVE, ACTIVE;
        /// Keep a histogram of the time of each command.
        latency_tracking: bool = "yes", ["latency-tracking"], Spec::Bool, LIVE, ACTIVE;
        /// Percentiles that INFO latencystats shows.
        latency_tracking_info_percentiles: Percentiles = "50 99 99.9", ["latency-tracking-info-percentiles"],
            Spec::Words("percentile …"), LIVE, ACTIVE;
    }
    "metrics" {
        /// TCP port of the HTTP endpoint for those who watch: /metrics, /healthz, /readyz; 0 turns it off.
        metrics_port: u16 = "0", ["metrics-port"], PORT, FIXED, ACTIVE;
        /// Addresses that it listens on, in the form of `bind`; it asks for no password.
        metrics_bind: Addresses = "127.0.0.1 -::1", ["metrics-bind"], Spec::Words("address …"), FIXED, ACTIVE;
        /// Path of its unix socket; empty turns that off.
        metrics_unixsocket: Text = "", ["metrics-unixsocket"], Spec::Text, FIXED, ACTIVE;
        /// Permissions of that socket; 0 leaves them to the umask.
        metrics_unixsocketperm: u32 = "660", ["metrics-unixsocketperm"], Spec::Octal, FIXED, ACTIVE;
    }
    "types" {
        /// Most entries of a hash in compact form.
        hash_max_listpack_entries: u64 = "512", ["hash-max-listpack-entries", "hash-max-ziplist-entries"],
            int(0, LONG, "entries"), LIVE, ACTIVE;
        /// Longest field or value of a hash in compact form.
        hash_max_listpack_value: u64 = "64", ["hash-max-listpack-value", "hash-max-ziplist-value"], memory(0, SIZE), LIVE,
            ACTIVE;
        /// Size of a list's nodes: entries, or -1 to -5 for 4 to 64 KiB.
        list_max_listpack_size: i32 = "-2", ["list-max-listpack-size", "list-max-ziplist-size"],
            int(i32::MIN as i64, INT, ""), LIVE, ACTIVE;
        /// Nodes at both ends of a list that stay uncompressed; 0 compresses none.
        list_compress_depth: u32 = "0", ["list-compress-depth"], int(0, INT, "nodes"), LIVE,
            inert("nodes are never compressed: it would cost an LZF run under the lock of the key");
        /// Most members of a set of integers in compact form.
        set_max_intset_entries: u64 = "512", ["set-max-intset-entries"], int(0, LONG, "members"), LIVE, ACTIVE;
        /// Most members of a set in compact form.
        set_max_listpack_entries: u64 = "128", ["set-max-listpack-entries"], int(0, LONG, "members"), LIVE, ACTIVE;
        /// Longest member of a set in compact form.
        set_max_listpack_value: u64 = "64", ["set-max-listpack-value"], memory(0, SIZE), LIVE, ACTIVE;
        /// Most members of a sorted set in compact form.
        zset_max_listpack_entries: u64 = "128", ["zset-max-listpack-entries", "zset-max-ziplist-entries"],
            int(0, LONG, "members"), LIVE, ACTIVE;
        /// Longest member of a sorted set in compact form.
        zset_max_listpack_value: u64 = "64", ["zset-max-listpack-value", "zset-max-ziplist-value"], memory(0, SIZE), LIVE,
            ACTIVE;
        /// Size up to which a HyperLogLog stays sparse.
        hll_sparse_max_bytes: u64 = "3000", ["hll-sparse-max-bytes"], memory(0, SIZE), LIVE, ACTIVE;
        /// Size of one node of a stream; 0 is no limit.
        stream_node_max_bytes: u64 = "4096", ["stream-node-max-bytes"], memory(0, SIZE), LIVE, ACTIVE;
        /// Entries of one node of a stream; 0 is no limit.
        stream_node_max_entries: u64 = "100", ["stream-node-max-entries"], int(0, LONG, "entries"), LIVE, ACTIVE;
    }
    "scripts" {
        /// Time after which a script lets others in, with BUSY errors.
        busy_reply_threshold: u64 = "5000", ["busy-reply-threshold", "lua-time-limit"], int(0, LONG, "milliseconds"), LIVE,
            waits("scripts");
    }
    "persistence" {
        /// Save when within so many seconds so many changes happened, as pairs; empty never saves by itself.
        save: SavePoints = "", ["save"], Spec::Words("seconds changes …"), LIVE | ADDS_UP, waits("persistence");
        /// Name of the snapshot.
        dbfilename: Text = "dump.rdb", ["dbfilename"], Spec::FileName("dbfilename"), LIVE | PROTECTED, waits("persistence");
        /// Compress strings in snapshots.
        rdbcompression: bool = "yes", ["rdbcompression"], Spec::Bool, LIVE, waits("persistence");
        /// End snapshots with a checksum.
        rdbchecksum: bool = "yes", ["rdbchecksum"], Spec::Bool, FIXED, waits("persistence");
        /// Refuse writes after a failed snapshot.
        stop_writes_on_bgsave_error: bool = "yes", ["stop-writes-on-bgsave-error"], Spec::Bool, LIVE, waits("persistence");
        /// Sync snapshots bit by bit while they are written.
        rdb_save_incremental_fsync: bool = "yes", ["rdb-save-incremental-fsync"], Spec::Bool, LIVE, waits("persistence");
        /// Delete snapshots that only served replication.
        rdb_del_sync_files: bool = "no", ["rdb-del-sync-files"], Spec::Bool, LIVE, waits("persistence");
        /// Check payloads of RESTORE and snapshots in depth.
        sanitize_dump_payload: Sanitize = "no", ["sanitize-dump-payload"], Spec::Choice(Sanitize::WORDS), LIVE,
            waits("DUMP and RESTORE");
        /// For tests: pause after each key saved.
        rdb_key_save_delay: i32 = "0", ["rdb-key-save-delay"], int(i32::MIN as i64, INT, "microseconds"), LIVE | HIDDEN,
            waits("persistence");
        /// For tests: pause after each key loaded.
        key_load_delay: i32 = "0", ["key-load-delay"], int(i32::MIN as i64, INT, "microseconds"), LIVE | HIDDEN,
            waits("persistence");
        /// Bytes loaded between two looks at the clients.
        loading_process_events_interval_bytes: u64 = "2mb", ["loading-process-events-interval-bytes"],
            memory(1024, INT as u64), LIVE | HIDDEN, waits("persistence");
        /// Write each change to the append-only file.
        appendonly: bool = "no", ["appendonly"], Spec::Bool, LIVE, later("persistence");
        /// When the append-only file is synced.
        appendfsync: Fsync = "everysec", ["appendfsync"], Spec::Choice(Fsync::WORDS), LIVE, waits("persistence");
        /// Name of the append-only files.
        appendfilename: Text = "appendonly.aof", ["appendfilename"], Spec::FileName("appendfilename"), FIXED, waits("persistence");
        /// Directory of the append-only files.
        appenddirname: Text = "appendonlydir", ["appenddirname"], Spec::FileName("appenddirname"), FIXED, waits("persistence");
        /// Do not sync while a snapshot or rewrite runs.
        no_appendfsync_on_rewrite: bool = "no", ["no-appendfsync-on-rewrite"], Spec::Bool, LIVE, waits("persistence");
        /// Growth at which the append-only file is rewritten; 0 never does.
        auto_aof_rewrite_percentage: u32 = "100", ["auto-aof-rewrite-percentage"], int(0, INT, "percent"), LIVE,
            waits("persistence");
        /// Size from which the append-only file is rewritten.
        auto_aof_rewrite_min_size: u64 = "64mb", ["auto-aof-rewrite-min-size"], memory(0, SIZE), LIVE,
            waits("persistence");
        /// Load an append-only file whose end is missing.
        aof_load_truncated: bool = "yes", ["aof-load-truncated"], Spec::Bool, LIVE, waits("persistence");
        /// Begin a rewritten append-only file with a snapshot.
        aof_use_rdb_preamble: bool = "yes", ["aof-use-rdb-preamble"], Spec::Bool, LIVE, waits("persistence");
        /// Put times into the append-only file.
        aof_timestamp_enabled: bool = "no", ["aof-timestamp-enabled"], Spec::Bool, LIVE, waits("persistence");
        /// Sync a rewrite bit by bit.
        aof_rewrite_incremental_fsync: bool = "yes", ["aof-rewrite-incremental-fsync"], Spec::Bool, LIVE,
            waits("persistence");
        /// Keep append-only files that are no longer needed.
        aof_disable_auto_gc: bool = "no", ["aof-disable-auto-gc"], Spec::Bool, LIVE, waits("persistence");
    }
    "replication" {
        /// Master to copy: host and port; empty is none.
        replicaof: Master = "", ["replicaof", "slaveof"], Spec::Words("host port"), FIXED, later("replication");
        /// Password for the master.
        masterauth: Text = "", ["masterauth"], Spec::Password, LIVE | SECRET, waits("replication");
        /// User for the master.
        masteruser: Text = "", ["masteruser"], Spec::Text, LIVE, waits("replication");
        /// Answer reads while the link to the master is down.
        replica_serve_stale_data: bool = "yes", ["replica-serve-stale-data", "slave-serve-stale-data"], Spec::Bool, LIVE,
            waits("replication");
        /// Refuse writes of clients on a replica.
        replica_read_only: bool = "yes", ["replica-read-only", "slave-read-only"], Spec::Bool, LIVE, waits("replication");
        /// Leave eviction to the master.
        replica_ignore_maxmemory: bool = "yes", ["replica-ignore-maxmemory", "slave-ignore-maxmemory"], Spec::Bool, LIVE,
            waits("replication");
        /// Drop the old data in the background before a full copy.
        replica_lazy_flush: bool = "no", ["replica-lazy-flush", "slave-lazy-flush"], Spec::Bool, LIVE, waits("replication");
        /// Go on when a replica cannot write its files.
        replica_ignore_disk_write_errors: bool = "no", ["replica-ignore-disk-write-errors"], Spec::Bool, LIVE,
            waits("replication");
        /// Preference for promotion, lower first; 0 is never promoted.
        replica_priority: u32 = "100", ["replica-priority", "slave-priority"], int(0, INT, ""), LIVE, waits("replication");
        /// Show this replica to Sentinel.
        replica_announced: bool = "yes", ["replica-announced"], Spec::Bool, LIVE, waits("replication");
        /// Address that this replica tells its master.
        replica_announce_ip: Text = "", ["replica-announce-ip", "slave-announce-ip"], Spec::Text, LIVE,
            waits("replication");
        /// Port that this replica tells its master; 0 is the real one.
        replica_announce_port: u16 = "0", ["replica-announce-port", "slave-announce-port"], PORT, LIVE,
            waits("replication");
        /// Replicas that must be there for writes; 0 needs none.
        min_replicas_to_write: u32 = "0", ["min-replicas-to-write", "min-slaves-to-write"], int(0, INT, "replicas"), LIVE,
            waits("replication");
        /// Lag up to which a replica counts as there.
        min_replicas_max_lag: u32 = "10", ["min-replicas-max-lag", "min-slaves-max-lag"], int(0, INT, "seconds"), LIVE,
            waits("replication");
        /// Silence after which the other side counts as lost.
        repl_timeout: u32 = "60", ["repl-timeout"], int(1, INT, "seconds"), LIVE, waits("replication");
        /// Time between two pings to replicas.
        repl_ping_replica_period: u32 = "10", ["repl-ping-replica-period", "repl-ping-slave-period"],
            int(1, INT, "seconds"), LIVE, waits("replication");
        /// Size of the backlog for replicas that come back.
        repl_backlog_size: u64 = "1mb", ["repl-backlog-size"], memory(1, SIZE), LIVE, waits("replication");
        /// Time after the last replica left until the backlog is freed; 0 keeps it.
        repl_backlog_ttl: u64 = "3600", ["repl-backlog-ttl"], int(0, LONG, "seconds"), LIVE, waits("replication");
        /// Collect small packets to replicas.
        repl_disable_tcp_nodelay: bool = "no", ["repl-disable-tcp-nodelay"], Spec::Bool, LIVE, waits("replication");
        /// Send snapshots by socket, without a file.
        repl_diskless_sync: bool = "yes", ["repl-diskless-sync"], Spec::Bool, LIVE, waits("replication");
        /// Wait for more replicas before a snapshot by socket.
        repl_diskless_sync_delay: u32 = "5", ["repl-diskless-sync-delay"], int(0, INT, "seconds"), LIVE,
            waits("replication");
        /// Do not wait longer once so many replicas are there; 0 waits the whole time.
        repl_diskless_sync_max_replicas: u32 = "0", ["repl-diskless-sync-max-replicas"], int(0, INT, "replicas"), LIVE,
            waits("replication");
        /// Load a snapshot straight from the socket.
        repl_diskless_load: DisklessLoad = "disabled", ["repl-diskless-load"], Spec::Choice(DisklessLoad::WORDS), LIVE,
            waits("replication");
        /// What happens when propagation meets an error.
        propagation_error_behavior: PropagationError = "ignore", ["propagation-error-behavior"],
            Spec::Choice(PropagationError::WORDS), LIVE, waits("replication");
    }
    "cluster" {
        /// Be a node of a cluster.
        cluster_enabled: bool = "no", ["cluster-enabled"], Spec::Bool, FIXED, later("cluster");
        /// File in which the node keeps what it knows of the cluster.
        cluster_config_file: Text = "nodes.conf", ["cluster-config-file"], Spec::Text, FIXED, waits("cluster");
        /// Port of the cluster bus; 0 is port + 10000.
        cluster_port: u16 = "0", ["cluster-port"], PORT, FIXED, waits("cluster");
        /// Silence after which a node counts as failing.
        cluster_node_timeout: u64 = "15000", ["cluster-node-timeout"], int(0, LONG, "milliseconds"), LIVE, waits("cluster");
        /// For tests: time between two pings to other nodes.
        cluster_ping_interval: u32 = "1000", ["cluster-ping-interval"], int(0, INT, "milliseconds"), LIVE | HIDDEN,
            waits("cluster");
        /// Age of its data up to which a replica may be promoted, as a factor; 0 is any.
        cluster_replica_validity_factor: u32 = "10", ["cluster-replica-validity-factor", "cluster-slave-validity-factor"],
            int(0, INT, ""), LIVE, waits("cluster");
        /// Replicas that a master keeps before one may move on.
        cluster_migration_barrier: u32 = "1", ["cluster-migration-barrier"], int(0, INT, "replicas"), LIVE,
            waits("cluster");
        /// Let replicas move to masters without one.
        cluster_allow_replica_migration: bool = "yes", ["cluster-allow-replica-migration"], Spec::Bool, LIVE,
            waits("cluster");
        /// Serve only while all slots are served.
        cluster_require_full_coverage: bool = "yes", ["cluster-require-full-coverage"], Spec::Bool, LIVE, waits("cluster");
        /// Never promote this replica.
        cluster_replica_no_failover: bool = "no", ["cluster-replica-no-failover", "cluster-slave-no-failover"], Spec::Bool,
            LIVE, waits("cluster");
        /// Answer reads while the cluster is down.
        cluster_allow_reads_when_down: bool = "no", ["cluster-allow-reads-when-down"], Spec::Bool, LIVE, waits("cluster");
        /// Serve sharded channels while the cluster is down.
        cluster_allow_pubsubshard_when_down: bool = "yes", ["cluster-allow-pubsubshard-when-down"], Spec::Bool, LIVE,
            waits("cluster");
        /// Most memory of a link to another node; 0 is no limit.
        cluster_link_sendbuf_limit: u64 = "0", ["cluster-link-sendbuf-limit"], memory(0, SIZE), LIVE, waits("cluster");
        /// Address that this node announces.
        cluster_announce_ip: Text = "", ["cluster-announce-ip"], Spec::Text, LIVE, waits("cluster");
        /// Host name that this node announces.
        cluster_announce_hostname: Text = "", ["cluster-announce-hostname"], Spec::Text, LIVE, waits("cluster");
        /// Name for people that this node announces.
        cluster_announce_human_nodename: Text = "", ["cluster-announce-human-nodename"], Spec::Text, LIVE,
            waits("cluster");
        /// Port that this node announces; 0 is the real one.
        cluster_announce_port: u16 = "0", ["cluster-announce-port"], PORT, LIVE, waits("cluster");
        /// TLS port that this node announces; 0 is the real one.
        cluster_announce_tls_port: u16 = "0", ["cluster-announce-tls-port"], PORT, LIVE, waits("cluster");
        /// Bus port that this node announces; 0 is the real one.
        cluster_announce_bus_port: u16 = "0", ["cluster-announce-bus-port"], PORT, LIVE, waits("cluster");
        /// What clients are told of where a node is.
        cluster_preferred_endpoint_type: Endpoint = "ip", ["cluster-preferred-endpoint-type"],
            Spec::Choice(Endpoint::WORDS), LIVE, waits("cluster");
    }
    "tls" {
        /// Port for TLS; 0 turns TLS off.
        tls_port: u16 = "0", ["tls-port"], PORT, LIVE, later("TLS");
        /// Certificate of this server.
        tls_cert_file: Text = "", ["tls-cert-file"], Spec::Text, LIVE, waits("TLS");
        /// Key of the certificate.
        tls_key_file: Text = "", ["tls-key-file"], Spec::Text, LIVE, waits("TLS");
        /// Password of the key.
        tls_key_file_pass: Text = "", ["tls-key-file-pass"], Spec::Text, LIVE | SECRET, waits("TLS");
        /// Certificate for outgoing connections.
        tls_client_cert_file: Text = "", ["tls-client-cert-file"], Spec::Text, LIVE, waits("TLS");
        /// Key for outgoing connections.
        tls_client_key_file: Text = "", ["tls-client-key-file"], Spec::Text, LIVE, waits("TLS");
        /// Password of the key for outgoing connections.
        tls_client_key_file_pass: Text = "", ["tls-client-key-file-pass"], Spec::Text, LIVE | SECRET, waits("TLS");
        /// Parameters of Diffie-Hellman.
        tls_dh_params_file: Text = "", ["tls-dh-params-file"], Spec::Text, LIVE, waits("TLS");
        /// File with the authorities that are trusted.
        tls_ca_cert_file: Text = "", ["tls-ca-cert-file"], Spec::Text, LIVE, waits("TLS");
        /// Directory with the authorities that are trusted.
        tls_ca_cert_dir: Text = "", ["tls-ca-cert-dir"], Spec::Text, LIVE, waits("TLS");
        /// Ask clients for a certificate.
        tls_auth_clients: TlsAuthClients = "yes", ["tls-auth-clients"], Spec::Choice(TlsAuthClients::WORDS), LIVE,
            waits("TLS");
        /// Use TLS towards the master.
        tls_replication: bool = "no", ["tls-replication"], Spec::Bool, LIVE, later("TLS");
        /// Use TLS on the cluster bus.
        tls_cluster: bool = "no", ["tls-cluster"], Spec::Bool, LIVE, later("TLS");
        /// Versions of TLS.
        tls_protocols: Text = "", ["tls-protocols"], Spec::Text, LIVE, waits("TLS");
        /// Ciphers up to TLS 1.2.
        tls_ciphers: Text = "", ["tls-ciphers"], Spec::Text, LIVE, waits("TLS");
        /// Ciphers of TLS 1.3.
        tls_ciphersuites: Text = "", ["tls-ciphersuites"], Spec::Text, LIVE, waits("TLS");
        /// Let the server choose the cipher.
        tls_prefer_server_ciphers: bool = "no", ["tls-prefer-server-ciphers"], Spec::Bool, LIVE, waits("TLS");
        /// Resume earlier sessions.
        tls_session_caching: bool = "yes", ["tls-session-caching"], Spec::Bool, LIVE, waits("TLS");
        /// Sessions kept for resuming; 0 is no limit.
        tls_session_cache_size: u32 = "20480", ["tls-session-cache-size"], int(0, INT, "sessions"), LIVE, waits("TLS");
        /// Age up to which a session may be resumed.
        tls_session_cache_timeout: u32 = "300", ["tls-session-cache-timeout"], int(0, INT, "seconds"), LIVE, waits("TLS");
    }
}
