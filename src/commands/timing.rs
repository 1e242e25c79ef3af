//! What is kept of a command after it ran: slow log, large requests and replies, latency events.

use crate::clock;
use crate::commands::args::Source;
use crate::commands::call::Env;
use crate::commands::command::Flags;
use crate::commands::session::Session;
use crate::commands::table::{self, Found};
use crate::config::Config;
use crate::events::monitor;
use crate::observe::latency::{COMMAND, FAST_COMMAND};
use crate::observe::slowlog::{self, SlowLog};
use crate::shared::Shared;

/// A command that ran.
#[derive(Clone, Copy)]
pub struct Ran<'k, 'r> {
    /// The command.
    pub found: Found,
    /// Its arguments.
    pub source: Source<'k>,
    /// Indices of arguments that no log may show.
    pub redacted: &'r [usize],
}

/// Shown instead of an argument that is a secret.
pub const REDACTED: &[u8] = b"(redacted)";

impl<'k> Ran<'k, '_> {
    /// The arguments as logs may show them.
    pub fn shown(&self) -> impl ExactSizeIterator<Item = &'k [u8]> + '_ {
        let redacted = self.redacted;
        self.source.iter().enumerate().map(move |(i, a)| if redacted.contains(&i) { REDACTED } else { a })
    }
}

/// A command took this long, by a reading of the clock of its own.
pub fn took(env: Env<'_>, session: &Session, micros: u64, ran: Ran<'_, '_>) {
    // EXEC is not an event: what it ran is.
    if ran.found.command.flags.contains(Flags::SKIP_SLOWLOG) {
        return;
    }
    // The command may have been CONFIG SET, so what counts is what is in force now.
    let config = env.shared.config.load();
    let event = if ran.found.command.flags.contains(Flags::FAST) { FAST_COMMAND } else { COMMAND };
    env.shared.latency.note(event, micros, config.latency_monitor_threshold, clock::now_ms);
    let threshold = config.slowlog_log_slower_than;
    if threshold >= 0 && micros >= threshold.unsigned_abs() {
        let entry = keep(
            &env.shared.logs.slow,
            config.slowlog_max_len,
            session,
            micros,
            slowlog::shorten(ran.shown()),
        );
        if config.slowlog_to_log {
            log_slow(env.shared, &config, session, micros, entry, ran);
        }
    }
}

/// A slow command as a line of the log. The trace is that of the connection (this run and the client's number), the span
/// that of the command (its number in the slow log); both have the form of W3C trace context. They are put together here,
/// and so cost nothing where nobody asks.
#[cold]
fn log_slow(shared: &Shared, config: &Config, session: &Session, micros: u64, entry: u64, ran: Ran<'_, '_>) {
    let handle = &session.handle;
    let trace = format!("{:.16}{:016x}", shared.run_id, handle.id);
    // A span of zeros is none.
    let span = format!("{:016x}", entry + 1);
    let words = ran.found.words();
    let name = table::full_name(ran.found.id);
    let args = arguments(ran.shown().skip(words), config.hide_user_data_from_log);
    tracing::info!(client = handle.id, addr = %handle.addr, trace, span, entry, micros, command = %name, args, "slow command");
}

/// Most arguments of a command that the log shows.
const LOGGED_ARGS_MAX: usize = 16;
/// Most bytes of one.
const LOGGED_BYTES_MAX: usize = 64;

/// Arguments for the log: their sizes, or themselves in quotes.
fn arguments<'x>(args: impl Iterator<Item = &'x [u8]>, hide: bool) -> String {
    let mut text = String::new();
    for (i, arg) in args.enumerate() {
        if i > 0 {
            text.push(' ');
        }
        if i == LOGGED_ARGS_MAX {
            text.push_str("...");
            break;
        }
        if hide {
            text.push_str(&format!("({} bytes)", arg.len()));
        } else {
            monitor::quote(&mut text, &arg[..arg.len().min(LOGGED_BYTES_MAX)]);
        }
    }
    text
}

/// Several constant-time commands took this long together.
#[inline]
pub fn took_together(env: Env<'_>, micros: u64) {
    env.shared.latency.note(FAST_COMMAND, micros, env.config.latency_monitor_threshold, clock::now_ms);
}

/// From how many bytes on a reply is to be kept.
#[inline]
pub fn large_reply(config: &Config) -> usize {
    usize::try_from(config.commandlog_reply_larger_than).unwrap_or(usize::MAX)
}

/// A reply was so long that it is to be kept.
#[cold]
pub fn replied(env: Env<'_>, session: &Session, bytes: usize, ran: Ran<'_, '_>) {
    let max = env.config.commandlog_large_reply_max_len;
    keep_large(&env.shared.logs.large_reply, max, session, bytes, ran);
}

/// The same of a reply that was written in pieces, at its end. `shown`: the command's arguments.
#[cold]
pub fn replied_on(config: &Config, shared: &Shared, session: &Session, bytes: usize, shown: Vec<Box<[u8]>>) {
    if bytes < large_reply(config) {
        return;
    }
    let log = &shared.logs.large_reply;
    keep(log, config.commandlog_large_reply_max_len, session, bytes as u64, shown);
}

/// Whether among the requests of this buffer (None: they are kept copies) may be one that is to be kept. The length
/// of each is only summed up where the buffer is long enough.
#[inline]
pub fn may_have_large_requests(config: &Config, buf: Option<&[u8]>) -> bool {
    let threshold = config.commandlog_request_larger_than;
    let short = buf.is_some_and(|buf| (buf.len() as u64) < threshold.unsigned_abs());
    threshold >= 0 && !short
}

/// A request came that may be large.
#[cold]
pub fn requested(env: Env<'_>, session: &Session, ran: Ran<'_, '_>) {
    let bytes = ran.source.iter().map(<[u8]>::len).sum::<usize>();
    if bytes as u64 >= env.config.commandlog_request_larger_than.unsigned_abs() {
        let max = env.config.commandlog_large_request_max_len;
        keep_large(&env.shared.logs.large_request, max, session, bytes, ran);
    }
}

#[cold]
fn keep_large(log: &SlowLog, max: u64, session: &Session, bytes: usize, ran: Ran<'_, '_>) {
    if !ran.found.command.flags.contains(Flags::SKIP_SLOWLOG) {
        keep(log, max, session, bytes as u64, slowlog::shorten(ran.shown()));
    }
}

#[cold]
fn keep(log: &SlowLog, max: u64, session: &Session, measure: u64, shown: Vec<Box<[u8]>>) -> u64 {
    let name = session.handle.labels().name;
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    log.add(max, clock::now_ms() / 1000, measure, &session.handle.addr, &name, shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_hidden_or_shortened() {
        let args: [&[u8]; 2] = [b"key\n", &[b'x'; 100]];
        assert_eq!(arguments(args.into_iter(), true), "(4 bytes) (100 bytes)");
        assert_eq!(arguments(args.into_iter(), false), format!("\"key\\n\" \"{}\"", "x".repeat(64)));
        let many = std::iter::repeat_n(&b"y"[..], 40);
        assert!(arguments(many, false).ends_with("\"y\" ..."));
    }
}
