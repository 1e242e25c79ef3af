//! The rows of the comparison by type: which commands, written as data (`loadgen/types.rows`).
//!
//! ```text
//! row NAME                  what the table calls it
//!   load N COMMAND          N of these first, on a server that was emptied
//!   send COMMAND            measured; several are sent in turn
//! ```
//!
//! In a command, `{1000}` is a random number below 1000 with as many digits as 999 has, `{+1000}`
//! counts 0 to 999 over and over, and `{x16}` is a text of 16 bytes.

use anyhow::{Context, Result, ensure};

use crate::keys::Rng;

/// The rows that are compared unless a file says otherwise.
pub const USUAL: &str = include_str!("../types.rows");
/// Largest text or number that a row may ask for.
const PLACE_MAX: u64 = 1 << 40;

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub name: String,
    pub load: Vec<(u64, Command)>,
    pub send: Vec<Command>,
}

/// A frame and the places in it that change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    frame: Vec<u8>,
    places: Vec<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    at: usize,
    digits: usize,
    below: u64,
    counts: bool,
    next: u64,
}

impl Command {
    pub fn parse(text: &str) -> Result<Command> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        ensure!(!words.is_empty(), "a command is missing");
        let mut command = Command { frame: format!("*{}\r\n", words.len()).into_bytes(), places: Vec::new() };
        for word in words {
            command.word(word)?;
        }
        Ok(command)
    }

    fn word(&mut self, mut rest: &str) -> Result<()> {
        let mut bytes = Vec::new();
        let mut places = Vec::new();
        while let Some((before, behind)) = rest.split_once('{') {
            let (inside, after) = behind.split_once('}').context("a '{' without its '}'")?;
            bytes.extend_from_slice(before.as_bytes());
            if let Some(len) = inside.strip_prefix('x') {
                let len: u64 = len.parse().with_context(|| format!("not a length: {{{inside}}}"))?;
                ensure!(len <= 1 << 20, "a text may have a megabyte at most");
                bytes.resize(bytes.len() + len as usize, b'x');
            } else {
                let bound = inside.strip_prefix('+').unwrap_or(inside);
                let below: u64 = bound.parse().with_context(|| format!("not a bound: {{{inside}}}"))?;
                ensure!((1..=PLACE_MAX).contains(&below), "a bound is from 1 to {PLACE_MAX}");
                let digits = (below - 1).to_string().len();
                places.push(Place { at: bytes.len(), digits, below, counts: bound != inside, next: 0 });
                bytes.resize(bytes.len() + digits, b'0');
            }
            rest = after;
        }
        bytes.extend_from_slice(rest.as_bytes());
        self.frame.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
        let base = self.frame.len();
        self.places.extend(places.into_iter().map(|p| Place { at: base + p.at, ..p }));
        self.frame.extend_from_slice(&bytes);
        self.frame.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Appends one request.
    #[inline]
    pub fn push(&mut self, rng: &mut Rng, out: &mut Vec<u8>) {
        let base = out.len();
        out.extend_from_slice(&self.frame);
        for place in &mut self.places {
            let n = if place.counts {
                let n = place.next;
                place.next = (n + 1) % place.below;
                n
            } else {
                rng.below(place.below)
            };
            let at = base + place.at;
            crate::request::write_digits(&mut out[at..at + place.digits], n);
        }
    }
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
    fn commands_are_filled_in() {
        let mut command = Command::parse("SADD s:{+3} m{1000} {x4}").unwrap();
        let mut rng = Rng::new(1);
        let mut out = Vec::new();
        for i in [0, 1, 2, 0] {
            out.clear();
            command.push(&mut rng, &mut out);
            let text = String::from_utf8(out.clone()).unwrap();
            assert!(text.starts_with(&format!("*4\r\n$4\r\nSADD\r\n$3\r\ns:{i}\r\n$4\r\nm")), "{text}");
            assert!(text.ends_with("\r\n$4\r\nxxxx\r\n"), "{text}");
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
