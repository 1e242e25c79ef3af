//! `CONFIG`.

use std::sync::Arc;

use crate::commands::command::{Arity, Command, Group, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::row::{flags, help};
use crate::config::{self, Config, SetError, Setting};
use crate::effects::Class;
use crate::error::Error;
use crate::observe::log;
use crate::shared::Shared;
use crate::sys::process::raise_open_files;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[Command {
    name: "config",
    arity: Arity::AtLeast(2),
    summary: "Reads and changes settings.",
    since: "2.0.0",
    group: Group::Server,
    complexity: "that of the subcommand",
    subcommands: &[
        Command {
            name: "get",
            arity: Arity::AtLeast(3),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            syntax: "parameter...",
            summary: "Values of settings that match patterns.",
            since: "2.0.0",
            group: Group::Server,
            complexity: "O(N), N settings asked for",
            history: &[("7.0.0", "Takes several patterns.")],
            run: config_get,
            ..Command::DEFAULT
        },
        Command {
            name: "help",
            arity: Arity::Exactly(2),
            flags: flags!(LOADING | STALE),
            summary: "Lists the subcommands.",
            since: "5.0.0",
            group: Group::Server,
            run: help,
            ..Command::DEFAULT
        },
        Command {
            name: "resetstat",
            arity: Arity::Exactly(2),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            summary: "Sets the counters of INFO to zero.",
            since: "2.0.0",
            group: Group::Server,
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            run: config_resetstat,
            ..Command::DEFAULT
        },
        Command {
            name: "rewrite",
            arity: Arity::Exactly(2),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            summary: "Writes the settings in force to the configuration file.",
            since: "2.8.0",
            group: Group::Server,
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            run: config_rewrite,
            ..Command::DEFAULT
        },
        Command {
            name: "set",
            arity: Arity::AtLeast(4),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE),
            syntax: "(data: parameter value)...",
            summary: "Changes settings, all or none.",
            since: "2.0.0",
            group: Group::Server,
            complexity: "O(N), N settings given",
            history: &[("7.0.0", "Takes several pairs.")],
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            run: config_set,
            ..Command::DEFAULT
        },
    ],
    ..Command::DEFAULT
}];

/// CONFIG GET
pub fn config_get(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let patterns: Vec<&[u8]> = ctx.args.rest().collect();
    let found = config::get(&ctx.shared.config.load(), &patterns);
    ctx.reply.map(found.len());
    for (name, value) in found {
        // A setting that was asked for by its name is answered in the client's spelling.
        let asked = patterns.iter().find(|p| p.eq_ignore_ascii_case(name.as_bytes()));
        ctx.reply.bulk(asked.copied().unwrap_or(name.as_bytes()));
        ctx.reply.bulk(&value);
    }
    Ok(Outcome::Done)
}

/// CONFIG SET
pub fn config_set(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if !ctx.args.left().is_multiple_of(2) {
        return Err(Error::Syntax);
    }
    let mut pairs: Vec<(&[u8], &[u8])> = Vec::new();
    while ctx.args.left() > 0 {
        let name = ctx.args.next()?;
        // Before anything can fail: neither the slow log nor MONITOR may show a password.
        if config::find(name).is_some_and(Setting::is_secret) {
            ctx.local.redacted.push(ctx.args.position());
        }
        pairs.push((name, ctx.args.next()?));
    }
    let shared = ctx.shared;
    let _only_one = shared.config_write.lock();
    let old = shared.config.load_full();
    let refuse = |e: SetError| Error::text(format!("ERR {e}"));
    let (new, changed) = config::set(&old, &pairs, ctx.session.is_local()).map_err(refuse)?;
    let done = apply_fallible(shared, &old, &new, &changed).map_err(refuse)?;
    shared.config.store(Arc::new(new));
    done.keep();
    follow(shared, &changed);
    if changed.iter().any(|s| matches!(s.name(), "engine-grow-percent" | "engine-shrink-percent")) {
        let config = shared.config.load();
        let [grow, shrink] = [config.engine_grow_percent, config.engine_shrink_percent]
            .map(|percent| u8::try_from(percent).unwrap_or(u8::MAX));
        shared.keyspace.set_load_limits(ctx.keyspace(), grow, shrink);
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// What was done to the process for a change that may still be refused. Dropped, it is undone.
struct Undo<'s> {
    shared: &'s Shared,
    /// The settings to go back to.
    old: &'s Config,
    oom: bool,
    directory: bool,
}

impl Undo<'_> {
    fn keep(mut self) {
        self.oom = false;
        self.directory = false;
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        // Going back to where it just was; nobody could be told of a failure but the log.
        if self.oom
            && let Err(error) = set_oom_score(self.shared, self.old)
        {
            tracing::warn!("cannot restore the OOM score: {error}");
        }
        if self.directory
            && let Err(error) = std::env::set_current_dir(&self.old.dir.0)
        {
            tracing::warn!("cannot go back to the old directory: {error}");
        }
    }
}

/// Descriptors that are not those of clients.
const OTHER_FILES: u64 = 32;

/// Does what the system may refuse.
fn apply_fallible<'s>(
    shared: &'s Shared,
    old: &'s Config,
    new: &Config,
    changed: &[&'static Setting],
) -> Result<Undo<'s>, SetError> {
    let is_changed = |name: &str| changed.iter().any(|s| s.name() == name);
    let mut undo = Undo { shared, old, oom: false, directory: false };
    if is_changed("maxclients") {
        let wanted = u64::from(new.maxclients) + OTHER_FILES;
        let got = raise_open_files(wanted);
        if got < wanted {
            let possible = got.saturating_sub(OTHER_FILES);
            let reason = format!(
                "The operating system is not able to handle the specified number of clients, try with {possible}"
            );
            return Err(SetError::failed("maxclients", reason));
        }
    }
    if is_changed("oom-score-adj") || is_changed("oom-score-adj-values") {
        undo.oom = true;
        set_oom_score(shared, new).map_err(|_| {
            SetError::failed(
                "oom-score-adj",
                "Failed to apply new oom_score_adj configuration, check server logs.",
            )
        })?;
    }
    if is_changed("dir") {
        undo.directory = true;
        std::env::set_current_dir(&new.dir.0).map_err(|e| SetError::failed("dir", e.to_string()))?;
    }
    if is_changed("port") || is_changed("bind") {
        // Last, because nothing after it may fail: clients are not told of a port that comes and goes.
        shared.tcp.rebind(old, new, shared.workers).map_err(|_| match is_changed("port") {
            true => SetError::failed("port", "Unable to listen on this port. Check server logs."),
            false => SetError::failed("bind", "Failed to bind to specified addresses."),
        })?;
    }
    Ok(undo)
}

fn set_oom_score(shared: &Shared, config: &Config) -> std::io::Result<()> {
    match shared.oom_score.lock().as_mut() {
        Some(score) => score.apply(config),
        None => Err(std::io::ErrorKind::Unsupported.into()),
    }
}

/// Does what cannot fail, after the change is in force.
fn follow(shared: &Shared, changed: &[&'static Setting]) {
    let config = shared.config.load();
    for setting in changed {
        match setting.name() {
            "notify-keyspace-events" => {
                shared.set_notify_classes(Class::from_bits_truncate(config.notify_keyspace_events.bits()))
            }
            "expiry-rules" => shared.follow_rules(),
            "loglevel" => log::set_level(config.loglevel),
            "maxmemory" | "maxmemory-policy" | "maxmemory-clients" => {
                crate::commands::room::follow_settings(shared)
            }
            "slowlog-max-len" => shared.logs.slow.shrink(length(config.slowlog_max_len)),
            "commandlog-large-request-max-len" => {
                shared.logs.large_request.shrink(length(config.commandlog_large_request_max_len));
            }
            "commandlog-large-reply-max-len" => {
                shared.logs.large_reply.shrink(length(config.commandlog_large_reply_max_len));
            }
            "tracking-table-max-keys" => limit_tracked_keys(shared, config.tracking_table_max_keys),
            "client-output-buffer-limit" | "event-buffer-limit" => {
                for client in shared.clients.list() {
                    crate::clients::apply_output_limit(&client, &config);
                }
                shared.time_limits.look();
            }
            "timeout" | "partial-frame-timeout" => shared.time_limits.look(),
            _ => {}
        }
    }
}

fn limit_tracked_keys(shared: &Shared, keys: u64) {
    if shared.tracking.set_keys_max(keys) {
        shared.helper.ask_trim_tracking();
        shared.keyspace.wake_helper();
    }
}

fn length(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// CONFIG RESETSTAT
pub fn config_resetstat(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.shared.stats.reset();
    ctx.shared.sampler.reset();
    ctx.shared.memory.reset();
    ctx.shared.defrag.reset();
    ctx.shared.helper.reset();
    ctx.shared.clients.reset();
    ctx.shared.outbox.reset();
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// CONFIG REWRITE
pub fn config_rewrite(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    rewrite(ctx, false)
}

/// Writes the settings to their file; with `all`, also those at their default.
pub(super) fn rewrite(ctx: &mut Ctx<'_, '_>, all: bool) -> Result<Outcome, Error> {
    let _only_one = ctx.shared.config_write.lock();
    if let Err(error) = config::rewrite(&ctx.shared.config.load(), all) {
        tracing::warn!("CONFIG REWRITE failed: {error}");
        return Err(Error::text(format!("ERR {error}")));
    }
    tracing::info!("CONFIG REWRITE executed with success.");
    ctx.reply.ok();
    Ok(Outcome::Done)
}
