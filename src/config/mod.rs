//! Configuration: one declaration per setting (`table`), everything else derived from it.
//!
//! A [`Config`] is a typed, immutable snapshot. Files, flags and `CONFIG SET` all go through the same words of a
//! value into the same types; nothing here opens sockets or talks to clients.
//!
//! | module | what is in it |
//! |---|---|
//! | `setting` | what a setting is; the macro behind the table |
//! | `table` | every setting, once |
//! | `kinds`, `forms`, `rules` | the types of values |
//! | `quote` | words and quotes of redis.conf |
//! | `conf`, `yaml`, `cli` | the sources: redis.conf, sidecar.yaml, the command line that names them |
//! | `error` | what is wrong, where, and what was perhaps meant |
//! | `runtime` | `CONFIG GET` and `CONFIG SET` on snapshots |
//! | `rewrite` | `CONFIG REWRITE` |
//! | `effective` | what the settings come to here: workers, listeners |
//! | `oom` | `oom-score-adj` |
//! | `docs`, `help` | sidecar.yaml, the manual page, `--help` |
//!
//! Architecture invariant: nothing here knows a client, a command or a key. Who installs a changed snapshot applies
//! what changed, and gives the old one back when that fails ([`SetError::failed`]).

mod cli;
mod conf;
pub mod docs;
mod effective;
mod error;
mod forms;
mod help;
mod kinds;
mod oom;
mod quote;
mod rewrite;
mod rules;
mod runtime;
mod setting;
mod table;
#[cfg(test)]
mod tests;
mod yaml;

pub use cli::{Form, Start, parse, start};
pub use effective::cores;
pub use error::{BadLine, ConfigError};
pub use forms::{
    Address, Addresses, BufferLimit, BufferLimits, Directory, EventClasses, Master, OomScores, Percentiles,
    SavePoint, SavePoints,
};
pub(crate) use kinds::memory_size;
pub use kinds::{
    Allow, DisklessLoad, Endpoint, EvictionPolicy, Fsync, LogFormat, LogLevel, MemoryCap, MemoryLimit,
    OomScoreAdj, PropagationError, PubsubDefault, Renames, Sanitize, ShutdownFlags, Supervised,
    SyslogFacility, Text, TlsAuthClients, Workers,
};
pub use oom::OomScore;
pub use quote::{Unbalanced, quote_if_needed, repr, split_words};
pub use rewrite::{RewriteError, check_text, render, rewrite};
pub use rules::{ExpiryRule, ExpiryRules};
pub use runtime::{SetError, find, get, set};
pub use setting::{Setting, Spec, Status};
pub use table::{Config, SETTINGS};

impl Default for Config {
    /// Every setting at its declared default.
    fn default() -> Self {
        let mut config = Config::blank();
        for setting in SETTINGS {
            runtime::assign_text(&mut config, setting, setting.default.as_bytes())
                .expect("invariant: a test reads every declared default");
        }
        config
    }
}

/// The defaults, for comparisons.
fn defaults() -> &'static Config {
    static DEFAULTS: std::sync::LazyLock<Config> = std::sync::LazyLock::new(Config::default);
    &DEFAULTS
}

/// Where a server listens that is started as redis-server is, and is told nothing.
const REDIS_BIND: &str = "* -::*";

impl Config {
    /// The defaults for a process that was started in this directory.
    fn started_in(directory: std::path::PathBuf) -> Self {
        Config { dir: Directory(directory.clone()), started_in: directory, ..Config::default() }
    }

    /// The same for one that is started by a redis.conf or by flags alone: it listens where Redis does, with
    /// `protected-mode` in front of it. Files written for Redis count on that.
    fn started_as_redis(directory: std::path::PathBuf) -> Self {
        let mut config = Config::started_in(directory);
        let bind = runtime::find(b"bind").expect("invariant: bind is a setting");
        runtime::assign_text(&mut config, bind, REDIS_BIND.as_bytes())
            .expect("invariant: a test reads this default");
        config
    }
}

impl std::fmt::Debug for Config {
    /// What differs from the defaults, without secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut map = f.debug_map();
        for setting in SETTINGS.iter().filter(|setting| !setting.same(self, defaults())) {
            let shown = if setting.is_secret() { "(redacted)".into() } else { setting.value(self) };
            map.entry(&setting.name(), &String::from_utf8_lossy(&shown));
        }
        map.finish()
    }
}
