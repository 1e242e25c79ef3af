//! The rows of the comparison by type: which commands, written as data (`loadgen/types.rows`).
//!
//! ```text
//! row NAME                  what the table calls it
//!   load N COMMAND          N of these first, on a server that was emptied
//!   send COMMAND            measured; several are sent in turn
//! ```
//!
//! In a command, `{1000}`, `{+1000}` and `{x16}` are numbers and texts as `crate::template` has them.

use anyhow::{Context, Result, ensure};

use crate::template::Command;

/// The rows that are compared unless a file says otherwise.
pub const USUAL: &str = include_str!("../types.rows");

/// One row of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub name: String,
    pub load: Vec<(u64, Command)>,
    pub send: Vec<Command>,
}

/// The rows of a file.
pub fn parse(text: &str) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        parse_line(line, &mut rows).with_context(|| format!("line {} of the rows: {line}", number + 1))?;
    }
    for row in &rows {
        ensure!(!row.send.is_empty(), "row '{}' sends nothing", row.name);
    }
    ensure!(!rows.is_empty(), "no rows");
    Ok(rows)
}

fn parse_line(line: &str, rows: &mut Vec<Row>) -> Result<()> {
    let (word, rest) = line.split_once(' ').context("a word and what it says")?;
    if word == "row" {
        rows.push(Row { name: rest.trim().to_owned(), load: Vec::new(), send: Vec::new() });
        return Ok(());
    }
    let row = rows.last_mut().context("before the first 'row'")?;
    match word {
        "load" => {
            let (times, command) = rest.trim().split_once(' ').context("how often, and a command")?;
            row.load.push((crate::cli::count(times)?, Command::parse(command)?));
        }
        "send" => row.send.push(Command::parse(rest)?),
        _ => anyhow::bail!("'row', 'load' or 'send', not '{word}'"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_rows_are_rows() {
        let rows = parse(USUAL).unwrap();
        for name in ["LPUSH", "LRANGE 100", "HGETALL", "SISMEMBER", "ZRANK", "XREAD"] {
            assert!(rows.iter().any(|r| r.name.starts_with(name)), "{name}");
        }
    }

    #[test]
    fn bad_rows_are_refused_with_their_line() {
        for bad in [
            "",
            "send PING",
            "row a",
            "row a\nsend",
            "row a\nsend X {",
            "row a\nload x PING",
            "row a\nsend {0}",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let error = parse("row a\n\nsend X {y}").unwrap_err();
        assert!(format!("{error:#}").contains("line 3"), "{error:#}");
    }
}
