//! A log line as one JSON object: time (UTC), level, pid, module, message, and then the fields of the event.

use std::fmt::Write as _;

use tracing::Level;
use tracing::field::{Field, Visit};

use super::{cut, rank};

/// The line of an event; `fields` as [`Fields`] collected them.
pub(super) fn line(now_ms: u64, pid: u32, level: Level, module: &str, fields: &Fields) -> String {
    let level = match rank(level) {
        3 => "warning",
        2 => "notice",
        1 => "verbose",
        _ => "debug",
    };
    let mut line =
        format!("{{\"time\":\"{}\",\"level\":\"{level}\",\"pid\":{pid},\"module\":", rfc3339(now_ms));
    string(&mut line, module);
    line.push_str(",\"message\":");
    string(&mut line, cut(&fields.message));
    line.push_str(&fields.rest);
    line.push_str("}\n");
    line
}

/// The message and the other fields of an event, these as JSON already.
#[derive(Default)]
pub(super) struct Fields {
    pub message: String,
    pub rest: String,
}

impl Fields {
    fn name(&mut self, field: &Field) {
        self.rest.push(',');
        string(&mut self.rest, field.name());
        self.rest.push(':');
    }

    fn plain(&mut self, field: &Field, value: impl std::fmt::Display) {
        self.name(field);
        // Writing to a String cannot fail.
        let _ = write!(self.rest, "{value}");
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.name(field);
            string(&mut self.rest, cut(value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// Text in quotes.
fn string(line: &mut String, text: &str) {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            // Also those that JSON allows and a terminal obeys.
            c if c.is_control() => {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line.push('"');
}

/// `2026-11-21T05:00:00.123Z`
fn rfc3339(unix_ms: u64) -> String {
    let (seconds, ms) = (unix_ms / 1000, unix_ms % 1000);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March end with the day that leap years add. 719,468 days lie between March of the year 0 and 1970.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_at_their_borders() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_709_251_200, "2024-03-01T00:00:00.007Z"),
            (1_795_239_111, "2026-11-21T05:31:51.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            assert_eq!(rfc3339(seconds * 1000 + 7), date);
        }
    }

    #[test]
    fn a_line_is_json_whatever_is_in_it() {
        let fields =
            Fields { message: "a\n\"b\"\\ \x1b[31m ü".to_owned(), rest: ",\"client\":7".to_owned() };
        let text = line(0, 42, Level::WARN, "tandem::server", &fields);
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed["message"], "a\n\"b\"\\ \x1b[31m ü");
        assert_eq!((parsed["client"].as_u64(), parsed["pid"].as_u64()), (Some(7), Some(42)));
        assert_eq!(parsed["level"], "warning");
        assert!(!text.contains('\x1b') && text.lines().count() == 1);
    }
}
