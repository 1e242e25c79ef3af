//! Patterns as KEYS, SCAN, PSUBSCRIBE, ACLs and CONFIG GET know them: `*`, `?`, `[a-z]`, `[^x]` and `\` as escape.
//!
//! The matcher is a loop with one point to go back to, the last `*`. A later star makes going back to an earlier one
//! pointless (whatever the earlier one could still swallow, the later one can), so time is bounded by
//! pattern × text, and stacks do not grow with hostile patterns such as `*a*a*a*…`.

/// Whether `text` as a whole matches `pattern`; with `nocase`, ASCII letters match in either case.
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    // As in Redis, only an empty pattern matches the empty text; commands treat a lone `*` apart.
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    // Where to go on after the last star, and the text position that it has swallowed up to.
    let mut back: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            while pattern.get(p) == Some(&b'*') {
                p += 1;
            }
            if p == pattern.len() {
                return true;
            }
            back = Some((p, t));
            continue;
        }
        if t == text.len() {
            return p == pattern.len();
        }
        if let Some(next) = step(pattern, p, text[t], nocase) {
            p = next;
            t += 1;
            continue;
        }
        match back {
            Some((star, from)) => {
                back = Some((star, from + 1));
                p = star;
                t = from + 1;
            }
            None => return false,
        }
    }
}

/// If the element of the pattern at `p` matches `byte`, where the next element starts.
fn step(pattern: &[u8], p: usize, byte: u8, nocase: bool) -> Option<usize> {
    match *pattern.get(p)? {
        b'?' => Some(p + 1),
        b'[' => class(pattern, p + 1, byte, nocase),
        // A backslash at the very end stands for itself.
        b'\\' if p + 1 < pattern.len() => same(pattern[p + 1], byte, nocase).then_some(p + 2),
        literal => same(literal, byte, nocase).then_some(p + 1),
    }
}

fn same(a: u8, b: u8, nocase: bool) -> bool {
    a == b || nocase && a.eq_ignore_ascii_case(&b)
}

fn fold(byte: u8, nocase: bool) -> u8 {
    if nocase { byte.to_ascii_lowercase() } else { byte }
}

/// A bracket expression that starts at `p`, behind its `[`. One that is not closed ends with the pattern.
fn class(pattern: &[u8], mut p: usize, byte: u8, nocase: bool) -> Option<usize> {
    let negated = pattern.get(p) == Some(&b'^');
    if negated {
        p += 1;
    }
    let mut found = false;
    let byte = fold(byte, nocase);
    loop {
        match pattern.get(p..).unwrap_or_default() {
            [] => break,
            [b'\\', escaped, ..] => {
                found |= fold(*escaped, nocase) == byte;
                p += 2;
            }
            [b']', ..] => {
                p += 1;
                break;
            }
            [start, b'-', end, ..] => {
                let (start, end) = (fold(*start, nocase), fold(*end, nocase));
                found |= (start.min(end)..=start.max(end)).contains(&byte);
                p += 3;
            }
            [literal, ..] => {
                found |= fold(*literal, nocase) == byte;
                p += 1;
            }
        }
    }
    (found != negated).then_some(p)
}

#[cfg(test)]
mod tests {
    use super::matches;

    fn m(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), false)
    }

    #[test]
    fn plain_star_and_question() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            // The empty text: only the empty pattern, as in Redis.
            ("*", "", false),
            ("***", "abc", true),
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("*a", "ba", true),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("?", "", false),
            ("*ab*ab", "ababxab", true),
            ("*ab*cd*", "xxabyyce", false),
            ("a*b*c", "abcbc", true),
        ] {
            assert_eq!(m(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn classes_and_escapes() {
        for (pattern, text, expected) in [
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("[a-c]", "b", true),
            ("[c-a]", "b", true),
            ("[a-c]", "d", false),
            ("[\\]]", "]", true),
            ("[a\\-z]", "-", true),
            ("[a\\-z]", "m", false),
            ("[]", "a", false),
            ("[abc", "b", true),
            ("[^", "b", true),
            ("a-]", "a-]", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("a\\", "a\\", true),
            ("*[a-c]z", "xxbz", true),
            ("*\\?", "why?", true),
        ] {
            assert_eq!(m(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn case() {
        assert!(matches(b"MAX*", b"maxmemory", true));
        assert!(!matches(b"MAX*", b"maxmemory", false));
        assert!(matches(b"[A-C]x", b"bX", true));
        assert!(matches(b"\\Qx", b"qX", true));
    }

    #[test]
    fn hostile_patterns_take_no_time() {
        let pattern = b"*a".repeat(5_000);
        let mut text = vec![b'a'; 4_000];
        text.push(b'b');
        assert!(!matches(&pattern, &text, false));
        assert!(matches(&[pattern.as_slice(), b"*"].concat(), &[b'a'; 10_000], true));
    }
}
