//! Words and quotes of redis.conf: `"…"` with escapes (`\n`, `\xHH`, …), `'…'` with `\'` only, blanks between words.

/// Quotes that do not close, or text right behind a closing one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unbalanced;

/// Splits a line into words.
pub fn split_words(line: &[u8]) -> Result<Vec<Vec<u8>>, Unbalanced> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let blank = rest.iter().take_while(|byte| is_blank(**byte)).count();
        rest = &rest[blank..];
        // A NUL ends the line, as it does for readers that work on C strings.
        if rest.is_empty() || rest[0] == 0 {
            return Ok(words);
        }
        let (word, used) = next_word(rest)?;
        words.push(word);
        rest = &rest[used..];
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// The word at the start of `rest` and how many bytes it took.
fn next_word(rest: &[u8]) -> Result<(Vec<u8>, usize), Unbalanced> {
    let mut word = Vec::new();
    let mut at = 0;
    while let Some(&byte) = rest.get(at) {
        match byte {
            b'"' => at = double_quoted(rest, at + 1, &mut word)?,
            b'\'' => at = single_quoted(rest, at + 1, &mut word)?,
            0 => break,
            _ if is_blank(byte) => break,
            _ => {
                word.push(byte);
                at += 1;
                continue;
            }
        }
        // Behind a closing quote only a blank or the end may stand.
        match rest.get(at) {
            None | Some(0) => break,
            Some(next) if is_blank(*next) => break,
            Some(_) => return Err(Unbalanced),
        }
    }
    Ok((word, at))
}

fn double_quoted(rest: &[u8], mut at: usize, word: &mut Vec<u8>) -> Result<usize, Unbalanced> {
    loop {
        match rest.get(at..) {
            Some([b'"', ..]) => return Ok(at + 1),
            Some([b'\\', b'x', high, low, ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(hex(*high) << 4 | hex(*low));
                at += 4;
            }
            Some([b'\\', escaped, ..]) => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                at += 2;
            }
            Some([byte, ..]) if *byte != 0 => {
                word.push(*byte);
                at += 1;
            }
            _ => return Err(Unbalanced),
        }
    }
}

fn single_quoted(rest: &[u8], mut at: usize, word: &mut Vec<u8>) -> Result<usize, Unbalanced> {
    loop {
        match rest.get(at..) {
            Some([b'\\', b'\'', ..]) => {
                word.push(b'\'');
                at += 2;
            }
            Some([b'\'', ..]) => return Ok(at + 1),
            Some([byte, ..]) if *byte != 0 => {
                word.push(*byte);
                at += 1;
            }
            _ => return Err(Unbalanced),
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}

/// The word in double quotes, escaped so that [`split_words`] gives it back.
pub fn repr(word: &[u8]) -> Vec<u8> {
    let mut out = vec![b'"'];
    for &byte in word {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0x07 => out.extend(b"\\a"),
            0x08 => out.extend(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => out.extend(format!("\\x{byte:02x}").bytes()),
        }
    }
    out.push(b'"');
    out
}

/// The word as it is when that reads back as the same word, else in quotes.
pub fn quote_if_needed(word: &[u8]) -> Vec<u8> {
    let safe = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'#' | b'\\');
    if !word.is_empty() && word.iter().all(safe) { word.to_vec() } else { repr(word) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Vec<String>, Unbalanced> {
        let words = split_words(line.as_bytes())?;
        Ok(words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect())
    }

    #[test]
    fn words_and_quotes() {
        assert_eq!(words("save  3600 1\t").unwrap(), ["save", "3600", "1"]);
        assert_eq!(words(r#"requirepass "a b\x41\n\"q""#).unwrap(), ["requirepass", "a bA\n\"q"]);
        assert_eq!(words(r"dir 'a\'b\n'").unwrap(), ["dir", r"a'b\n"]);
        assert_eq!(words("save ''").unwrap(), ["save", ""]);
        assert_eq!(words("").unwrap(), [""; 0]);
        assert_eq!(words(r#"x "ab"#), Err(Unbalanced));
        assert_eq!(words(r#"x "ab"c"#), Err(Unbalanced));
        assert_eq!(words("x 'ab"), Err(Unbalanced));
        assert_eq!(words(r#"x "ab\"#), Err(Unbalanced));
    }

    #[test]
    fn every_byte_survives_quoting() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(split_words(&repr(&all)).unwrap(), std::slice::from_ref(&all));
        for byte in all {
            let word = [b'a', byte, b'z'];
            assert_eq!(split_words(&quote_if_needed(&word)).unwrap(), [word.to_vec()]);
        }
    }
}
