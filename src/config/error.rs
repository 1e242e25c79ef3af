//! What can be wrong with a configuration, in the words that supervisors of redis-server look for.

use std::path::{Path, PathBuf};

/// Why there is no configuration to start with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A line that cannot be taken.
    #[error("{}", line_text(.0))]
    Line(Box<BadLine>),
    /// A file that cannot be read or written.
    #[error("Fatal error, can't open config file '{}': {reason}", printable(.path.as_os_str().as_encoded_bytes()))]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: String,
    },
    /// Command-line arguments that make no sense together.
    #[error("{0}")]
    Arguments(String),
}

/// A line, where it stands, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// File, `standard input` or `command line`.
    pub source: String,
    /// Number of the line from 1; on the command line, of the option.
    pub line: usize,
    /// The line itself; secrets are taken out.
    pub text: String,
    /// What is wrong.
    pub reason: String,
}

/// Source of lines that come from flags.
pub(super) const COMMAND_LINE: &str = "command line";

fn line_text(bad: &BadLine) -> String {
    let reading = match bad.source.as_str() {
        COMMAND_LINE => format!("Reading the command line, at option {}", bad.line),
        _ => format!("Reading the configuration file, at line {}", bad.line),
    };
    format!(
        "\n*** FATAL CONFIG FILE ERROR (tandem {}) ***\n{reading}\n>>> '{}'\n{} ({}:{})",
        env!("CARGO_PKG_VERSION"),
        bad.text,
        bad.reason,
        bad.source,
        bad.line
    )
}

impl ConfigError {
    pub(super) fn file(path: &Path, error: &std::io::Error) -> Self {
        ConfigError::File { path: path.to_owned(), reason: super::forms::plain(error) }
    }
}

/// Text from a file or a client, fit for a terminal: control characters are written as escapes.
pub(super) fn printable(bytes: &[u8]) -> String {
    let mut out = String::new();
    for c in String::from_utf8_lossy(bytes).chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// The known word that is nearest to `word`, if any is near.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let limit = (word.len() / 3).max(1);
    let rated = known.map(|name| (distance(word.as_bytes(), name.as_bytes()), name));
    rated
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Edits (insert, delete, replace, swap of neighbours) between two short words.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let replaced = last[j] + usize::from(a[i] != b[j]);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_words() {
        let known = ["port", "bind", "maxmemory", "maxmemory-policy"];
        assert_eq!(nearest("prot", known.into_iter()), Some("port"));
        assert_eq!(nearest("maxmemry", known.into_iter()), Some("maxmemory"));
        assert_eq!(nearest("MAXMEMORY_POLICY", known.into_iter()), Some("maxmemory-policy"));
        assert_eq!(nearest("completely-different", known.into_iter()), None);
        assert_eq!(nearest("", known.into_iter()), None);
    }
}
