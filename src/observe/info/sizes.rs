//! Keysizes: how large the values of each database are, type by type.

use std::fmt::Write as _;

use super::{Facts, Text};

pub(super) fn sizes(text: &mut Text, facts: &Facts<'_>) {
    for (db, sizes) in &facts.sizes {
        for (kind, classes) in sizes.by_type() {
            let Some(field) = field(kind).filter(|_| !classes.is_empty()) else { continue };
            let mut line = String::new();
            for (i, (from, keys)) in classes.iter().enumerate() {
                // Writing to a String cannot fail.
                let _ = write!(line, "{}{}={keys}", if i > 0 { "," } else { "" }, short(*from));
            }
            text.line(format_args!("db{db}_distrib_{field}:{line}"));
        }
        if !sizes.is_exact() {
            text.line(format_args!("keysizes_estimated_from_db{db}:{}", sizes.seen()));
        }
    }
}

/// The field of a type. Redis has none for streams.
fn field(kind: &str) -> Option<&'static str> {
    match kind {
        "string" => Some("strings_sizes"),
        "list" => Some("lists_items"),
        "set" => Some("sets_items"),
        "zset" => Some("zsets_items"),
        "hash" => Some("hashes_items"),
        _ => None,
    }
}

/// A power of two: `512`, `1K`, `4M`.
fn short(n: u64) -> String {
    const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
    let unit = n.checked_ilog2().unwrap_or(0) as usize / 10;
    format!("{}{}", n >> (10 * unit), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_short() {
        assert_eq!([0, 1, 512, 1024, 524_288].map(short), ["0", "1", "512", "1K", "512K"]);
        assert_eq!([1 << 20, 1 << 33, 1 << 63].map(short), ["1M", "8G", "8E"]);
    }
}
