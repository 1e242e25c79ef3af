//! Log lines as redis-server writes them: `PID:M 21 Nov 2026 05:00:00.123 * message`; or as JSON (`log-format`).
//!
//! A `tracing` subscriber of its own, because the form is fixed and spans are not used.
//! ERROR and WARN are Redis' warning (`#`), INFO is notice (`*`), DEBUG verbose (`-`) and
//! TRACE debug (`.`). A log file is opened for every line, so that it can be rotated by
//! renaming; lines are rare.

mod json;

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::clock;
use crate::config::{Config, LogFormat, LogLevel};
use crate::sys::process::local_time;

/// Longest message; what is beyond is cut off.
const MESSAGE_MAX: usize = 1024;

/// The level in force, as the number of [`rank`].
static THRESHOLD: AtomicU8 = AtomicU8::new(2);

/// Debug 0, verbose 1, notice 2, warning 3, nothing 4.
fn rank_of(level: LogLevel) -> u8 {
    match level {
        LogLevel::Debug => 0,
        LogLevel::Verbose => 1,
        LogLevel::Notice => 2,
        LogLevel::Warning => 3,
        LogLevel::Nothing => 4,
    }
}

fn rank(level: Level) -> u8 {
    match level {
        Level::ERROR | Level::WARN => 3,
        Level::INFO => 2,
        Level::DEBUG => 1,
        Level::TRACE => 0,
    }
}

/// Follows `loglevel`.
pub fn set_level(level: LogLevel) {
    THRESHOLD.store(rank_of(level), Relaxed);
    tracing::callsite::rebuild_interest_cache();
}

/// Begins to log as these settings say, and writes the logo if they ask for it.
pub fn install(config: &Config) {
    let path = (!config.logfile.is_empty()).then(|| config.logfile.as_path().to_owned());
    let show_logo = config.always_show_logo || (path.is_none() && std::io::stdout().is_terminal());
    THRESHOLD.store(rank_of(config.loglevel), Relaxed);
    let lines = Lines { path, format: config.log_format };
    // A picture is no JSON.
    if show_logo && config.log_format == LogFormat::Redis && config.loglevel != LogLevel::Nothing {
        lines.write(logo(config).as_bytes());
    }
    // A second subscriber in one process (tests) leaves the first in force.
    let _ = tracing::subscriber::set_global_default(lines);
}

/// Where the lines go.
struct Lines {
    /// None: standard output.
    path: Option<PathBuf>,
    format: LogFormat,
}

impl Lines {
    fn write(&self, bytes: &[u8]) {
        // Nobody can be told that the log cannot be written.
        let _ = match &self.path {
            None => std::io::stdout().lock().write_all(bytes),
            Some(path) => OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .and_then(|mut file| file.write_all(bytes)),
        };
    }
}

/// Events of this crate only: libraries underneath have their own.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("tandem")
}

impl Subscriber for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.enabled(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && is_ours(metadata) && rank(*metadata.level()) >= THRESHOLD.load(Relaxed)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match THRESHOLD.load(Relaxed) {
            0 => LevelFilter::TRACE,
            1 => LevelFilter::DEBUG,
            2 => LevelFilter::INFO,
            3 => LevelFilter::WARN,
            _ => LevelFilter::OFF,
        })
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let (now_ms, pid, level) = (clock::now_ms(), std::process::id(), *event.metadata().level());
        let line = match self.format {
            LogFormat::Redis => {
                let mut message = Message::default();
                event.record(&mut message);
                line(now_ms, pid, level, &message.text())
            }
            LogFormat::Json => {
                let mut fields = json::Fields::default();
                event.record(&mut fields);
                json::line(now_ms, pid, level, event.metadata().target(), &fields)
            }
        };
        self.write(line.as_bytes());
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The message and then the fields of an event.
#[derive(Default)]
struct Message {
    message: String,
    fields: String,
}

impl Message {
    fn text(mut self) -> String {
        self.message.push_str(&self.fields);
        self.message
    }
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn line(now_ms: u64, pid: u32, level: Level, message: &str) -> String {
    let sign = match rank(level) {
        3 => '#',
        2 => '*',
        1 => '-',
        _ => '.',
    };
    let t = local_time(i64::try_from(now_ms / 1000).unwrap_or(0));
    let mut line = format!(
        "{pid}:M {:02} {} {} {:02}:{:02}:{:02}.{:03} {sign} ",
        t.day,
        MONTHS.get(t.month).unwrap_or(&"???"),
        t.year,
        t.hour,
        t.minute,
        t.second,
        now_ms % 1000
    );
    escape(&mut line, message);
    line.push('\n');
    line
}

/// What of a text is logged.
fn cut(text: &str) -> &str {
    let end = (0..=MESSAGE_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

/// One line stays one line, and a terminal is told nothing by a client's bytes.
fn escape(line: &mut String, message: &str) {
    let begin = line.len();
    for c in message.chars() {
        if line.len() - begin >= MESSAGE_MAX {
            line.push_str("...");
            return;
        }
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
}

/// Two engines, one filling from the other, and what is running here.
fn logo(config: &Config) -> String {
    let mode = if config.cluster_enabled { "cluster" } else { "standalone" };
    let version = env!("CARGO_PKG_VERSION");
    let workers = config.worker_count();
    let pid = std::process::id();
    let mut text = String::new();
    let art = [
        "",
        "     .------.          .------------.",
        "    | ## #. |   -->   | ## .. #. ## |",
        "    | #. .. |   -->   | .. #. .. .. |",
        "     '------'          '------------'",
        "      active              growing",
        "",
    ];
    for line in art {
        text.push_str(line);
        text.push('\n');
    }
    let _ = writeln!(text, "  tandem {version}, speaks Redis {} in {mode} mode", crate::REDIS_VERSION);
    let _ = writeln!(text, "  Port: {}   Workers: {workers}   PID: {pid}\n", config.port);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_redis_form_and_stays_one_line() {
        let text = line(1_795_239_111_083, 4614, Level::WARN, "a\nb\x1b[31m");
        assert!(text.starts_with("4614:M "), "{text}");
        assert!(text.contains(" Nov 2026 "), "{text}");
        assert!(text.ends_with(":51.083 # a\\nb\\u{1b}[31m\n"), "{text}");
        assert_eq!(text.matches('\n').count(), 1);
    }

    #[test]
    fn levels_have_redis_signs() {
        let sign = |level| line(0, 1, level, "x").split(' ').nth(5).map(str::to_owned);
        assert_eq!(sign(Level::ERROR).as_deref(), Some("#"));
        assert_eq!(sign(Level::INFO).as_deref(), Some("*"));
        assert_eq!(sign(Level::DEBUG).as_deref(), Some("-"));
        assert_eq!(sign(Level::TRACE).as_deref(), Some("."));
    }

    #[test]
    fn a_long_message_is_cut() {
        let text = line(0, 1, Level::INFO, &"x".repeat(5000));
        assert!(text.len() < MESSAGE_MAX + 80 && text.ends_with("...\n"));
    }

    #[test]
    fn the_logo_names_the_process() {
        let text = logo(&Config::default());
        assert!(text.contains(&format!(" PID: {}\n", std::process::id())));
    }
}
