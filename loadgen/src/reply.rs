//! Reply scanning: as little work as possible, but every reply is counted and checked
//! against the request that it answers.

use anyhow::{Result, bail};

use crate::request::{Kind, value_belongs_to};
use crate::sizes::Sizes;

/// A request that waits for its reply.
#[derive(Debug, Clone, Copy)]
pub struct Pending {
    /// When it was sent, or in the open loop when it should have been.
    pub at: u64,
    pub key: u64,
    pub kind: Kind,
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Ok,
    /// GET or DEL of a key that is not there.
    Miss,
    /// An error reply.
    Error,
    /// A well-formed reply that is not this request's answer: wrong length, content or type.
    Wrong,
}

/// Knows what right replies look like.
pub struct Scanner {
    /// `$64\r\n` for the expected value size; empty if values differ in size.
    bulk_head: Vec<u8>,
    values: Sizes,
    check_content: bool,
    /// The first error line or wrong reply, for the report.
    pub first_bad: Option<String>,
    /// Messages that answer no request (RESP3).
    pub pushes: u64,
}

/// A reply header longer than this is not a header.
const LINE_MAX: usize = 64 << 10;

impl Scanner {
    pub fn new(values: &Sizes, check_content: bool) -> Self {
        let bulk_head = match values {
            Sizes::Fixed(size) => format!("${size}\r\n").into_bytes(),
            _ => Vec::new(),
        };
        Scanner { bulk_head, values: values.clone(), check_content, first_bad: None, pushes: 0 }
    }

    /// Takes one reply off the front: its length and class, or `None` if it is not complete.
    #[inline]
    pub fn take(&mut self, buf: &[u8], sent: &Pending) -> Result<Option<(usize, Class)>> {
        match sent.kind {
            Kind::Get => {
                if let (Sizes::Fixed(size), head) = (&self.values, self.bulk_head.len()) {
                    let end = head + size + 2;
                    if buf.len() >= end && buf[..head] == self.bulk_head[..] && &buf[end - 2..end] == b"\r\n"
                    {
                        if self.check_content && !value_belongs_to(sent.key, &buf[head..end - 2]) {
                            return Ok(Some((end, self.wrong(sent, &buf[..end]))));
                        }
                        return Ok(Some((end, Class::Ok)));
                    }
                }
            }
            Kind::Set => {
                if buf.starts_with(b"+OK\r\n") {
                    return Ok(Some((5, Class::Ok)));
                }
            }
            Kind::Incr | Kind::Del => {}
            Kind::Any => return self.take_whole(buf, sent),
        }
        self.take_any(buf, sent)
    }

    /// A reply of any type but an error.
    fn take_whole(&mut self, buf: &[u8], sent: &Pending) -> Result<Option<(usize, Class)>> {
        if buf.first() == Some(&b'-') {
            return self.take_any(buf, sent);
        }
        let nothing = [&b"$-1\r\n"[..], b"*-1\r\n", b"_\r\n"].iter().any(|nil| buf.starts_with(nil));
        let class = if nothing { Class::Miss } else { Class::Ok };
        Ok(whole_reply(buf)?.map(|len| (len, class)))
    }

    fn take_any(&mut self, buf: &[u8], sent: &Pending) -> Result<Option<(usize, Class)>> {
        let Some(line_end) = buf.iter().take(LINE_MAX).position(|&b| b == b'\n') else {
            if buf.len() >= LINE_MAX {
                bail!("a reply line is longer than {LINE_MAX} bytes");
            }
            return Ok(None);
        };
        let len = line_end + 1;
        if line_end < 2 || buf[line_end - 1] != b'\r' {
            bail!("not a reply: {:?}", text(&buf[..len]));
        }
        let body = &buf[1..line_end - 1];
        match buf[0] {
            b'-' => {
                self.note(|| text(body));
                Ok(Some((len, Class::Error)))
            }
            b':' => {
                let class = match sent.kind {
                    Kind::Incr if is_integer(body) => Class::Ok,
                    Kind::Del if body == b"1" => Class::Ok,
                    Kind::Del if body == b"0" => Class::Miss,
                    _ => self.wrong(sent, &buf[..len]),
                };
                Ok(Some((len, class)))
            }
            b'$' if body == b"-1" => self.null(buf, len, sent),
            b'_' => self.null(buf, len, sent),
            b'$' => self.bulk(buf, len, body, sent),
            b'+' => Ok(Some((len, self.wrong(sent, &buf[..len])))),
            _ => bail!("unexpected reply to {}: {:?}", sent.kind.name(), text(&buf[..len])),
        }
    }

    fn null(&mut self, buf: &[u8], len: usize, sent: &Pending) -> Result<Option<(usize, Class)>> {
        let class = if sent.kind == Kind::Get { Class::Miss } else { self.wrong(sent, &buf[..len]) };
        Ok(Some((len, class)))
    }

    /// A bulk string: either the expected one, not yet complete, or one of another length.
    fn bulk(
        &mut self,
        buf: &[u8],
        len: usize,
        body: &[u8],
        sent: &Pending,
    ) -> Result<Option<(usize, Class)>> {
        let Some(size) = std::str::from_utf8(body).ok().and_then(|s| s.parse::<usize>().ok()) else {
            bail!("bad bulk length in a reply: {:?}", text(body));
        };
        if size > crate::request::VALUE_SIZE_MAX {
            bail!("a reply of {size} bytes to {}", sent.kind.name());
        }
        let end = len + size + 2;
        if buf.len() < end {
            return Ok(None);
        }
        let right = sent.kind == Kind::Get
            && size == self.values.of(sent.key)
            && &buf[end - 2..end] == b"\r\n"
            && (!self.check_content || value_belongs_to(sent.key, &buf[len..end - 2]));
        Ok(Some((end, if right { Class::Ok } else { self.wrong(sent, &buf[..end]) })))
    }

    #[cold]
    fn wrong(&mut self, sent: &Pending, reply: &[u8]) -> Class {
        self.note(|| format!("wrong reply to {} of key {}: {}", sent.kind.name(), sent.key, text(reply)));
        Class::Wrong
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if self.first_bad.is_none() {
            self.first_bad = Some(what());
        }
    }
}

fn is_integer(s: &[u8]) -> bool {
    let digits = s.strip_prefix(b"-").unwrap_or(s);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// Bytes for a message: escaped and short.
fn text(bytes: &[u8]) -> String {
    bytes.iter().take(120).flat_map(|&b| std::ascii::escape_default(b)).map(char::from).collect()
}

/// How long the reply of any type at the front is, if it is complete.
pub fn whole_reply(buf: &[u8]) -> Result<Option<usize>> {
    let (mut at, mut missing) = (0, 1);
    while missing > 0 {
        let rest = buf.get(at..).unwrap_or_default();
        let Some(line) = rest.iter().take(LINE_MAX).position(|&b| b == b'\n') else {
            return Ok(None);
        };
        let number = rest
            .get(1..line.saturating_sub(1))
            .and_then(|s| std::str::from_utf8(s).ok()?.parse::<i64>().ok());
        missing -= 1;
        at += line + 1;
        match (rest[0], number) {
            (b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(', _) => {}
            (b'$' | b'=' | b'!', Some(n)) => at += usize::try_from(n).map_or(0, |n| n + 2),
            (b'*' | b'~' | b'>', Some(n)) => missing += n.max(0),
            (b'%', Some(n)) => missing += 2 * n.max(0),
            _ => bail!("not a reply: {:?}", text(rest)),
        }
        if at > buf.len() {
            return Ok(None);
        }
    }
    Ok(Some(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(kind: Kind) -> Pending {
        Pending { at: 0, key: 5, kind }
    }

    fn take(kind: Kind, buf: &[u8]) -> Option<(usize, Class)> {
        Scanner::new(&Sizes::Fixed(3), false).take(buf, &sent(kind)).unwrap()
    }

    #[test]
    fn right_answers() {
        assert_eq!(take(Kind::Get, b"$3\r\nabc\r\n$3"), Some((9, Class::Ok)));
        assert_eq!(take(Kind::Set, b"+OK\r\n+OK\r\n"), Some((5, Class::Ok)));
        assert_eq!(take(Kind::Incr, b":-12\r\n"), Some((6, Class::Ok)));
        assert_eq!(take(Kind::Del, b":1\r\n"), Some((4, Class::Ok)));
    }

    #[test]
    fn misses_errors_and_wrong_answers() {
        assert_eq!(take(Kind::Get, b"$-1\r\n"), Some((5, Class::Miss)));
        assert_eq!(take(Kind::Get, b"_\r\n"), Some((3, Class::Miss)));
        assert_eq!(take(Kind::Del, b":0\r\n"), Some((4, Class::Miss)));
        assert_eq!(take(Kind::Get, b"$2\r\nab\r\n"), Some((8, Class::Wrong)));
        assert_eq!(take(Kind::Set, b"+QUEUED\r\n"), Some((9, Class::Wrong)));
        assert_eq!(take(Kind::Set, b"$-1\r\n"), Some((5, Class::Wrong)));
        let mut scanner = Scanner::new(&Sizes::Fixed(3), false);
        let got = scanner.take(b"-ERR no\r\n", &sent(Kind::Get)).unwrap();
        assert_eq!((got, scanner.first_bad.as_deref()), (Some((9, Class::Error)), Some("ERR no")));
    }

    #[test]
    fn every_prefix_is_incomplete() {
        let cases: [(Kind, &[u8]); 5] = [
            (Kind::Get, b"$3\r\nabc\r\n"),
            (Kind::Get, b"$-1\r\n"),
            (Kind::Set, b"+OK\r\n"),
            (Kind::Incr, b":12\r\n"),
            (Kind::Set, b"-ERR x\r\n"),
        ];
        for (kind, whole) in cases {
            for cut in 0..whole.len() {
                assert_eq!(take(kind, &whole[..cut]), None, "{kind:?} {cut}");
            }
        }
    }

    #[test]
    fn whole_replies_of_any_type() {
        let whole = b"*3\r\n$3\r\nabc\r\n*2\r\n:1\r\n$-1\r\n*-1\r\n";
        for cut in 0..whole.len() {
            assert_eq!(take(Kind::Any, &whole[..cut]), None, "{cut}");
        }
        let two = [&whole[..], b"+OK\r\n"].concat();
        assert_eq!(take(Kind::Any, &two), Some((whole.len(), Class::Ok)));
        assert_eq!(take(Kind::Any, b"-ERR no\r\n"), Some((9, Class::Error)));
        assert_eq!(take(Kind::Any, b"*-1\r\n:1\r\n"), Some((5, Class::Miss)));
        assert!(Scanner::new(&Sizes::Fixed(3), false).take(b"$x\r\n", &sent(Kind::Any)).is_err());
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bad in [&b"\r\n"[..], b"x\r\n", b"*1\r\n", b"$9999999999999\r\n", b"+OK\n"] {
            assert!(Scanner::new(&Sizes::Fixed(3), false).take(bad, &sent(Kind::Set)).is_err(), "{bad:?}");
        }
        let long = vec![b'+'; LINE_MAX];
        assert!(Scanner::new(&Sizes::Fixed(3), false).take(&long, &sent(Kind::Set)).is_err());
    }

    #[test]
    fn content_is_compared_when_asked() {
        let mut scanner = Scanner::new(&Sizes::Fixed(3), true);
        let got = scanner.take(b"$3\r\nxyz\r\n", &sent(Kind::Get)).unwrap();
        assert_eq!(got, Some((9, Class::Wrong)));
    }
}
