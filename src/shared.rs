//! What all workers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::*};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::blocking::Waiters;
use crate::clients::Clients;
use crate::config::{Config, OomScore};
use crate::effects::Class;
use crate::effects::audience::{Audience, Interest};
use crate::events::monitor::Monitors;
use crate::events::outbox::Outbox;
use crate::events::watch::Watches;
use crate::events::{Feeds, PubSub, Tracking};
use crate::eviction::Eviction;
use crate::expiry::Identities;
use crate::keyspace::Keyspace;
use crate::memory::limits::Pressure;
use crate::memory::{Defrag, Gauge};
use crate::observe::latency::Latency;
use crate::observe::sampler::Sampler;
use crate::observe::slowlog::CommandLogs;
use crate::observe::stats::Stats;

/// CLIENT PAUSE.
#[derive(Debug, Default)]
pub struct Pause {
    /// Unix milliseconds until which it lasts; 0 when there is none.
    until_ms: AtomicU64,
    /// 0 none, 1 writes, 2 all.
    mode: AtomicU8,
}

/// Which commands a pause holds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseMode {
    /// Those that write (and PUBLISH and the like).
    Writes,
    /// All.
    All,
}

impl Pause {
    /// Begins or prolongs a pause; the more restrictive mode and the later end win.
    pub fn begin(&self, until_ms: u64, mode: PauseMode) {
        let code = match mode {
            PauseMode::Writes => 1,
            PauseMode::All => 2,
        };
        self.mode.fetch_max(code, AcqRel);
        self.until_ms.fetch_max(until_ms, AcqRel);
    }

    /// Ends it.
    pub fn end(&self) {
        self.until_ms.store(0, Release);
        self.mode.store(0, Release);
    }

    /// Whether there may be one: a load.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.until_ms.load(Relaxed) != 0
    }

    /// The pause in force, with its end. One load when there is none.
    #[inline]
    pub fn active(&self, now_ms: u64) -> Option<(PauseMode, u64)> {
        let until = self.until_ms.load(Relaxed);
        if until == 0 {
            return None;
        }
        if until <= now_ms {
            self.end();
            return None;
        }
        let mode = if self.mode.load(Relaxed) >= 2 { PauseMode::All } else { PauseMode::Writes };
        Some((mode, until))
    }
}

/// State of the process, shared by the workers, the helper thread and whoever observes.
pub struct Shared {
    /// All databases.
    pub keyspace: Arc<Keyspace>,
    /// The settings; exchanged as a whole by CONFIG SET.
    pub config: Arc<ArcSwap<Config>>,
    /// One writer at a time: CONFIG SET reads, changes and stores under this lock.
    pub config_write: Mutex<()>,
    /// Connected clients.
    pub clients: Clients,
    /// Channels.
    pub pubsub: PubSub,
    /// Events with what they are about.
    pub feeds: Feeds,
    /// Entries of expired keys for streams.
    pub outbox: Outbox,
    /// Who wants more than names of what changes.
    pub audience: Arc<Audience>,
    /// MONITOR.
    pub monitors: Monitors,
    /// Which data each database number stands for.
    pub identities: Arc<Identities>,
    /// WATCH.
    pub watches: Watches,
    /// CLIENT TRACKING.
    pub tracking: Tracking,
    /// Clients in blocking commands.
    pub waiters: Waiters,
    /// Counters.
    pub stats: Stats,
    /// Slow commands, large requests, large replies.
    pub logs: CommandLogs,
    /// Latency events.
    pub latency: Latency,
    /// Rates and memory in use.
    pub sampler: Sampler,
    /// Memory in use at any time, and its limit.
    pub memory: Gauge,
    /// Fragmentation of the allocator's pages.
    pub defrag: Defrag,
    /// How far the limit is lowered because memory is short.
    pub pressure: Pressure,
    /// What is dropped when memory is full.
    pub eviction: Eviction,
    /// How willingly the kernel may kill this process.
    pub oom_score: Mutex<Option<OomScore>>,
    /// 40 hexadecimal digits that name the history of this data set for replicas.
    pub replid: Mutex<String>,
    /// CLIENT PAUSE.
    pub pause: Pause,
    /// Number of workers.
    pub workers: u16,
    /// Unix milliseconds of the start.
    pub started_ms: u64,
    /// 40 hexadecimal digits that name this run.
    pub run_id: String,
    /// TCP sockets that are listened on.
    pub tcp: crate::server::tcp::Listening,
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expire: AtomicBool,
    /// The workers were started.
    pub serving: AtomicBool,
    notify: AtomicU32,
    stream_readers: AtomicU32,
    shutdown: tokio::sync::watch::Sender<Option<Shutdown>>,
    /// Told when DEBUG CLOCK-STEP has set this process' clock.
    pub clock_steps: tokio::sync::watch::Sender<()>,
    /// Told when the helper thread made work that only a worker can do.
    pub errands: tokio::sync::Notify,
    /// Tells workers to give up what they keep of freed memory.
    pub caches: tokio::sync::Notify,
    /// Until when nobody has to look at the time limits of clients.
    pub time_limits: crate::server::sweep::TimeLimits,
    /// Wakes the thread that does what workers must not.
    pub helper: crate::server::helper::Mailbox,
}

/// How to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// Exit code of the process.
    pub code: u8,
}

impl Shared {
    /// The state of a process that starts with these settings.
    pub fn new(config: Config, keyspace: Arc<Keyspace>, workers: u16) -> Shared {
        let databases = keyspace.databases();
        let audience = Arc::new(Audience::default());
        audience.put(Interest::RULES, !config.expiry_rules.0.is_empty());
        let clients = Clients::new(workers);
        Shared {
            identities: Arc::new(Identities::new(databases)),
            keyspace,
            outbox: Outbox::new(clients.of_this_process()),
            clients,
            config_write: Mutex::new(()),
            pubsub: PubSub::default(),
            feeds: Feeds::new(Arc::clone(&audience)),
            audience,
            monitors: Monitors::default(),
            watches: Watches::default(),
            tracking: Tracking::new(config.tracking_table_max_keys),
            waiters: Waiters::default(),
            stats: Stats::new(usize::from(workers)),
            logs: CommandLogs::default(),
            latency: Latency::default(),
            sampler: Sampler::default(),
            memory: Gauge::default(),
            defrag: Defrag::default(),
            pressure: Pressure::default(),
            eviction: Eviction::new(databases),
            oom_score: Mutex::new(OomScore::of_this_process().ok()),
            replid: Mutex::new(random_id()),
            pause: Pause::default(),
            workers,
            started_ms: crate::clock::now_ms(),
            run_id: random_id(),
            tcp: crate::server::tcp::Listening::default(),
            active_expire: AtomicBool::new(true),
            serving: AtomicBool::new(false),
            notify: AtomicU32::new(config.notify_keyspace_events.bits()),
            stream_readers: AtomicU32::new(0),
            shutdown: tokio::sync::watch::Sender::new(None),
            clock_steps: tokio::sync::watch::Sender::new(()),
            errands: tokio::sync::Notify::new(),
            caches: tokio::sync::Notify::new(),
            time_limits: crate::server::sweep::TimeLimits::default(),
            helper: crate::server::helper::Mailbox::default(),
            config: Arc::new(ArcSwap::from_pointee(config)),
        }
    }

    /// Classes of keyspace notifications in force.
    #[inline]
    pub fn notify_classes(&self) -> Class {
        Class::from_bits_truncate(self.notify.load(Relaxed))
    }

    /// Follows `notify-keyspace-events`.
    pub fn set_notify_classes(&self, classes: Class) {
        self.notify.store(classes.bits(), Relaxed);
    }

    /// Follows `expiry-rules`.
    pub fn follow_rules(&self) {
        self.audience.put(Interest::RULES, !self.config.load().expiry_rules.0.is_empty());
    }

    /// Whether any effect has a consumer; while nobody listens the effects path is this branch.
    #[inline]
    pub fn anyone_listens(&self) -> bool {
        // One branch for all: nearly always each of them says no.
        (self.notify.load(Relaxed) != 0)
            | !self.watches.is_empty()
            | !self.tracking.is_idle()
            | !self.waiters.is_empty()
            | self.pubsub.hears_expiry()
            | self.audience.wants(Interest::all())
    }

    /// Whether anybody reads the propagation stream (AOF, replicas). While nobody does,
    /// rewritten commands need not be composed.
    #[inline]
    pub fn stream_has_readers(&self) -> bool {
        self.stream_readers.load(Relaxed) > 0
    }

    /// Asks every worker to stop.
    pub fn begin_shutdown(&self, how: Shutdown) {
        self.shutdown.send_if_modified(|s| {
            let first = s.is_none();
            if first {
                *s = Some(how);
            }
            first
        });
    }

    /// Whether the process is on its way to its end.
    pub fn is_ending(&self) -> bool {
        self.shutdown.borrow().is_some()
    }

    /// Exit code that the shutdown asked for.
    pub fn shutdown_code(&self) -> u8 {
        self.shutdown.borrow().map_or(0, |s| s.code)
    }

    /// Follows the shutdown.
    pub fn watch_shutdown(&self) -> tokio::sync::watch::Receiver<Option<Shutdown>> {
        self.shutdown.subscribe()
    }
}

/// 40 hexadecimal digits, not for secrets.
pub fn random_id() -> String {
    (0..40).map(|_| char::from_digit(fastrand::u32(0..16), 16).unwrap_or('0')).collect()
}
