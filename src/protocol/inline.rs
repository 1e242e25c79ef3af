//! Commands typed by hand: words on one line, with the quoting of `redis-cli`.
//!
//! A word without quotes is a range of the read buffer like any other argument; one with
//! quotes or escapes is written to the side buffer of the [`Requests`].
//!
//! | in the line | means |
//! |---|---|
//! | `"…"` | `\n \r \t \b \a`, `\xHH`, and `\` before any other byte means that byte |
//! | `'…'` | only `\'` is an escape |
//! | a quote inside a word | opens a quoted part of the same word |
//! | a quote that closes | must be followed by white space or the end of the line |
#![warn(clippy::as_conversions)]

use crate::protocol::limits::{Limits, ProtocolError};
use crate::protocol::request::{ArgRange, Requests};

/// Reads the line at `pos` and adds it to `out` as a request, if it has a word. Returns the
/// offset behind the line, or `None` if it has not arrived in full.
///
/// A NUL is no part of any line: the command then never ends and is refused as too long,
/// as Redis does it.
#[cold]
pub(crate) fn parse(
    buf: &[u8],
    pos: usize,
    limits: &Limits,
    out: &mut Requests,
) -> Result<Option<usize>, ProtocolError> {
    let rest = &buf[pos..];
    let window = &rest[..rest.len().min(limits.line_bytes_max.saturating_add(1))];
    let line_end = match memchr::memchr2(b'\n', 0, window) {
        Some(i) if window[i] == b'\n' => i,
        _ if rest.len() > limits.line_bytes_max => return Err(ProtocolError::TooBigInline),
        _ => return Ok(None),
    };
    let line = &rest[..line_end];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let first = out.ranges.len();
    let mut at = 0;
    while let Some(word) = next_word(line, &mut at, &mut out.side)? {
        out.ranges.push(match word {
            Word::Plain { start, len } => ArgRange::in_buffer(pos + start, len),
            Word::Unescaped { start, len } => ArgRange::in_side(start, len),
        });
    }
    let next = pos + line_end + 1;
    if out.ranges.len() > first {
        let name = out.arg(buf, first);
        if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
            out.ranges.truncate(first);
            return Err(ProtocolError::SecurityAttack);
        }
        out.push_span(first, next);
    }
    Ok(Some(next))
}

/// Splits a line of text into words with the same quoting, for whoever reads such lines elsewhere.
pub fn split_words(line: &[u8]) -> Result<Vec<Vec<u8>>, ProtocolError> {
    let (mut words, mut side, mut at) = (Vec::new(), Vec::new(), 0);
    while let Some(word) = next_word(line, &mut at, &mut side)? {
        words.push(match word {
            Word::Plain { start, len } => line[start..start + len].to_vec(),
            Word::Unescaped { start, len } => side[start..start + len].to_vec(),
        });
    }
    Ok(words)
}

enum Word {
    /// A range of the line.
    Plain { start: usize, len: usize },
    /// A range of the side buffer.
    Unescaped { start: usize, len: usize },
}

/// White space between words, as C's `isspace` has it.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Vertical tab and form feed separate words but do not end one.
fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0)
}

fn next_word(line: &[u8], at: &mut usize, side: &mut Vec<u8>) -> Result<Option<Word>, ProtocolError> {
    let Some(skipped) = line[*at..].iter().position(|&byte| !is_space(byte)) else {
        return Ok(None);
    };
    let start = *at + skipped;
    let plain = line[start..]
        .iter()
        .position(|&byte| ends_word(byte) || byte == b'"' || byte == b'\'')
        .map_or(line.len(), |i| start + i);
    match line.get(plain) {
        Some(b'"' | b'\'') => {
            let from = side.len();
            *at = unescape(line, start, side)?;
            Ok(Some(Word::Unescaped { start: from, len: side.len() - from }))
        }
        // Only for callers whose lines may hold NUL: it ends the line.
        Some(0) if plain == start => Ok(None),
        _ => {
            *at = plain;
            Ok(Some(Word::Plain { start, len: plain - start }))
        }
    }
}

/// Appends the word at `at` to `side` without its quotes; returns the offset behind the word.
fn unescape(line: &[u8], mut at: usize, side: &mut Vec<u8>) -> Result<usize, ProtocolError> {
    while let Some(&byte) = line.get(at) {
        match byte {
            b'"' => return double_quoted(line, at + 1, side),
            b'\'' => return single_quoted(line, at + 1, side),
            byte if ends_word(byte) => break,
            byte => side.push(byte),
        }
        at += 1;
    }
    Ok(at)
}

fn double_quoted(line: &[u8], mut at: usize, side: &mut Vec<u8>) -> Result<usize, ProtocolError> {
    loop {
        let rest = line.get(at..).unwrap_or_default();
        match rest {
            [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                side.push(hex(*high) << 4 | hex(*low));
                at += 4;
            }
            [b'\\', escaped, ..] => {
                side.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                at += 2;
            }
            [b'"', ..] => return closed(line, at + 1),
            [byte, ..] => {
                side.push(*byte);
                at += 1;
            }
            [] => return Err(ProtocolError::UnbalancedQuotes),
        }
    }
}

fn single_quoted(line: &[u8], mut at: usize, side: &mut Vec<u8>) -> Result<usize, ProtocolError> {
    loop {
        let rest = line.get(at..).unwrap_or_default();
        match rest {
            [b'\\', b'\'', ..] => {
                side.push(b'\'');
                at += 2;
            }
            [b'\'', ..] => return closed(line, at + 1),
            [byte, ..] => {
                side.push(*byte);
                at += 1;
            }
            [] => return Err(ProtocolError::UnbalancedQuotes),
        }
    }
}

/// Behind a closing quote comes white space or nothing.
fn closed(line: &[u8], at: usize) -> Result<usize, ProtocolError> {
    match line.get(at) {
        None | Some(0) => Ok(at),
        Some(&byte) if is_space(byte) => Ok(at),
        Some(_) => Err(ProtocolError::UnbalancedQuotes),
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        split_words(line.as_bytes())
            .expect("balanced")
            .iter()
            .map(|word| word.iter().map(|&byte| char::from(byte)).collect())
            .collect()
    }

    #[test]
    fn words_and_quotes() {
        assert_eq!(words("  set  key\tvalue \x0b\x0c"), ["set", "key", "value"]);
        assert_eq!(words(r#"set "a b" 'c d'"#), ["set", "a b", "c d"]);
        assert_eq!(words(r#""\x41\xff\n\r\t\b\a\q\"" '\n\'x'"#), ["A\u{ff}\n\r\t\u{8}\u{7}q\"", r"\n'x"]);
        assert_eq!(words(r#"foo"bar baz" pre'quo ted'"#), ["foobar baz", "prequo ted"]);
        assert_eq!(words(r#""" '' x"#), ["", "", "x"]);
        assert_eq!(words(r#""\xg1""#), ["xg1"]);
        assert_eq!(words("a\x0bb"), ["a\x0bb"]);
        assert_eq!(words("a\0b"), ["a"]);
        assert!(words("").is_empty() && words(" \t").is_empty());
    }

    #[test]
    fn quotes_must_balance() {
        for line in [r#"""#, r#"'"#, r#""a"b"#, r#"'a'b"#, r#"set "a"#, r#""\"#, r#""a\""#, r#""a""b""#] {
            assert_eq!(split_words(line.as_bytes()), Err(ProtocolError::UnbalancedQuotes), "{line}");
        }
    }
}
