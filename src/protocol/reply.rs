//! The one writer of replies: RESP2 and RESP3, straight into the output buffer.
//!
//! A handler says what it means (`map`, `null`, `double`); the form follows from the
//! protocol that the client chose with HELLO:
//!
//! | method | RESP3 | RESP2 |
//! |---|---|---|
//! | `null`, `null_array` | `_` | `$-1`, `*-1` |
//! | `map(n)` | `%n` | `*2n` |
//! | `set(n)`, `push(n)` | `~n`, `>n` | `*n` |
//! | `double` | `,3.1` | `$3` `3.1` |
//! | `bool` | `#t`, `#f` | `:1`, `:0` |
//! | `bignum` | `(123…` | bulk string |
//! | `verbatim` | `=n` `txt:…` | bulk string without the three letters |
//!
//! No text that a client sent can end a line early: [`Reply::error`] and [`Reply::simple`]
//! write CR, LF and NUL as spaces, and they are the only ones that write lines of text.

use crate::protocol::float::format_double;
use crate::protocol::number::{DIGITS_MAX, Digits};
use crate::protocol::outbuf::{BLOB_REFERENCE_MIN, OutBuf};
use crate::values::Blob;

/// An aggregate whose length is not known yet; to be given to [`Reply::finish`].
#[derive(Debug)]
#[must_use = "an aggregate without a length breaks the stream"]
pub struct Mark {
    at: usize,
    room: usize,
    kind: Aggregate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Array,
    Map,
    Set,
}

/// Writes one client's replies.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut OutBuf,
    resp3: bool,
}

impl<'a> Reply<'a> {
    /// A writer behind what `out` holds already.
    #[inline]
    pub fn new(out: &'a mut OutBuf, resp3: bool) -> Self {
        Reply { out, resp3 }
    }

    /// Whether the client speaks RESP3.
    #[inline]
    pub fn is_resp3(&self) -> bool {
        self.resp3
    }

    /// Changes the form of what follows (HELLO replies in the protocol that it sets).
    pub fn set_resp3(&mut self, resp3: bool) {
        self.resp3 = resp3;
    }

    /// The buffer behind the writer.
    pub fn out(&mut self) -> &mut OutBuf {
        self.out
    }

    /// Where the next reply begins.
    #[inline]
    pub fn position(&self) -> usize {
        self.out.position()
    }

    /// See [`OutBuf::written`].
    #[inline(always)]
    pub fn written(&self) -> usize {
        self.out.written()
    }

    /// Takes back everything written since `position`.
    pub fn truncate_to(&mut self, position: usize) {
        self.out.truncate_to(position);
    }

    /// `+text`: a status of the server's own words.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// `+OK`
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend(b"+OK\r\n");
    }

    /// `-text`: the text begins with its code, as in `ERR syntax error`.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'-', text.as_ref());
    }

    /// `:n`
    #[inline]
    pub fn int(&mut self, n: i64) {
        if let 0..=9 = n {
            let digit = b'0' + u8::try_from(n).unwrap_or_default();
            return self.out.extend(&[b':', digit, b'\r', b'\n']);
        }
        self.number_line(b':', n);
    }

    /// `:n`, by the text of `n`.
    #[inline(always)]
    pub fn int_of_digits(&mut self, digits: &Digits) {
        self.digits_line(b':', digits);
    }

    /// A bulk string, copied.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        let out = self.out.bytes_mut();
        // One reservation for all three parts: longest header, bytes, CR LF.
        out.reserve(bytes.len() + 32);
        push_header(out, b'$', bytes.len());
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }

    /// A bulk string that is referred to if it is large, else copied.
    pub fn bulk_blob(&mut self, blob: &Blob) {
        if blob.len() < BLOB_REFERENCE_MIN {
            return self.bulk(blob);
        }
        push_header(self.out.bytes_mut(), b'$', blob.len());
        self.out.splice(blob);
        self.out.extend(b"\r\n");
    }

    /// An integer as a bulk string.
    pub fn bulk_int(&mut self, n: i64) {
        self.bulk(itoa::Buffer::new().format(n).as_bytes());
    }

    /// A bulk string, or null for none.
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// No value.
    #[inline]
    pub fn null(&mut self) {
        self.out.extend(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// No array, where an array would stand.
    pub fn null_array(&mut self) {
        self.out.extend(if self.resp3 { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// An array of `n` replies that follow.
    #[inline]
    pub fn array(&mut self, n: usize) {
        push_header(self.out.bytes_mut(), b'*', n);
    }

    /// A map of `n` pairs that follow.
    pub fn map(&mut self, n: usize) {
        let (kind, n) = self.form(Aggregate::Map, n);
        push_header(self.out.bytes_mut(), kind, n);
    }

    /// A set of `n` replies that follow.
    pub fn set(&mut self, n: usize) {
        let (kind, n) = self.form(Aggregate::Set, n);
        push_header(self.out.bytes_mut(), kind, n);
    }

    /// An out-of-band message of `n` replies that follow; an array in RESP2.
    pub fn push(&mut self, n: usize) {
        push_header(self.out.bytes_mut(), if self.resp3 { b'>' } else { b'*' }, n);
    }

    /// `n` pairs about the reply that follows them; RESP3 only, see [`is_resp3`](Self::is_resp3).
    pub fn attribute(&mut self, n: usize) {
        debug_assert!(self.resp3, "RESP2 has no attributes");
        push_header(self.out.bytes_mut(), b'|', n);
    }

    /// A double.
    pub fn double(&mut self, value: f64) {
        let text = format_double(value);
        if self.resp3 { self.line(b',', text.as_bytes()) } else { self.bulk(text.as_bytes()) }
    }

    /// A truth value.
    pub fn bool(&mut self, value: bool) {
        self.out.extend(match (self.resp3, value) {
            (true, true) => b"#t\r\n",
            (true, false) => b"#f\r\n",
            (false, true) => b":1\r\n",
            (false, false) => b":0\r\n",
        });
    }

    /// A number of any size, given as decimal text.
    pub fn bignum(&mut self, digits: &str) {
        if self.resp3 { self.line(b'(', digits.as_bytes()) } else { self.bulk(digits.as_bytes()) }
    }

    /// Text to be shown as it is; `format` is three letters, `txt` or `mkd`.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        if !self.resp3 {
            return self.bulk(text);
        }
        debug_assert_eq!(format.len(), 3, "a format has three letters");
        push_header(self.out.bytes_mut(), b'=', text.len() + 4);
        self.out.extend(format.as_bytes());
        self.out.extend(b":");
        self.out.extend(text);
        self.out.extend(b"\r\n");
    }

    /// Complete protocol bytes that were written elsewhere.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend(bytes);
    }

    /// An array whose length [`finish`](Self::finish) will say.
    pub fn defer_array(&mut self) -> Mark {
        self.defer(Aggregate::Array, 0)
    }

    /// As [`defer_array`](Self::defer_array) for about `expected` elements. A good guess of
    /// the number of digits saves moving what was written in between.
    pub fn defer_array_of(&mut self, expected: usize) -> Mark {
        self.defer(Aggregate::Array, expected)
    }

    /// A map whose number of pairs [`finish`](Self::finish) will say.
    pub fn defer_map(&mut self) -> Mark {
        self.defer(Aggregate::Map, 0)
    }

    /// A set whose length [`finish`](Self::finish) will say.
    pub fn defer_set(&mut self) -> Mark {
        self.defer(Aggregate::Set, 0)
    }

    fn defer(&mut self, kind: Aggregate, expected: usize) -> Mark {
        let at = self.position();
        let (letter, n) = self.form(kind, expected);
        push_header(self.out.bytes_mut(), letter, n);
        Mark { at, room: self.position() - at, kind }
    }

    /// Writes the length `n` of a deferred aggregate (of a map: its pairs). Aggregates begun
    /// after it must have been finished before it.
    pub fn finish(&mut self, mark: Mark, n: usize) {
        let (letter, n) = self.form(mark.kind, n);
        let mut header = Vec::with_capacity(32);
        push_header(&mut header, letter, n);
        self.out.replace(mark.at, mark.room, &header);
    }

    /// Letter and number of elements in the client's protocol.
    fn form(&self, kind: Aggregate, n: usize) -> (u8, usize) {
        match (kind, self.resp3) {
            (Aggregate::Map, true) => (b'%', n),
            (Aggregate::Map, false) => (b'*', n * 2),
            (Aggregate::Set, true) => (b'~', n),
            (Aggregate::Set, false) | (Aggregate::Array, _) => (b'*', n),
        }
    }

    /// The only writer of lines of text: CR, LF and NUL become spaces.
    fn line(&mut self, kind: u8, text: &[u8]) {
        let out = self.out.bytes_mut();
        out.reserve(text.len() + 3);
        out.push(kind);
        out.extend(text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { byte }));
        out.extend_from_slice(b"\r\n");
    }

    fn number_line(&mut self, kind: u8, n: i64) {
        match usize::try_from(n).ok().and_then(|n| short_header(kind, n)) {
            Some(line) => push_short(self.out.bytes_mut(), line),
            None => self.digits_line(kind, &Digits::of(n)),
        }
    }

    #[inline(always)]
    fn digits_line(&mut self, kind: u8, digits: &Digits) {
        // Put together in one place first: a line is one append of a fixed length, of which what is too much is cut off.
        let mut line = [kind; 24];
        line[1..1 + DIGITS_MAX].copy_from_slice(digits.padded());
        let end = 1 + digits.as_bytes().len();
        line[end..end + 2].copy_from_slice(b"\r\n");
        let out = self.out.bytes_mut();
        let end = out.len() + end + 2;
        out.extend_from_slice(&line);
        out.truncate(end);
    }
}

/// A letter, a length and CR LF. Up to three digits are one store of eight bytes, of which
/// those too many are cut off again.
#[inline(always)]
fn push_header(out: &mut Vec<u8>, kind: u8, n: usize) {
    match short_header(kind, n) {
        Some(line) => push_short(out, line),
        None => long_header(out, kind, n),
    }
}

/// Appends what [`short_header`] made.
#[inline(always)]
fn push_short(out: &mut Vec<u8>, (word, len): (u64, usize)) {
    let end = out.len() + len;
    out.extend_from_slice(&word.to_le_bytes());
    out.truncate(end);
}

#[inline(always)]
fn short_header(kind: u8, n: usize) -> Option<(u64, usize)> {
    const CRLF: u64 = 0x0a0d;
    let n = u64::from(u16::try_from(n).ok()?);
    let (tens, ones) = (n / 10, n % 10);
    let kind = u64::from(kind);
    let digit = |d: u64| d + u64::from(b'0');
    Some(match n {
        0..=9 => (kind | digit(n) << 8 | CRLF << 16, 4),
        10..=99 => (kind | digit(tens) << 8 | digit(ones) << 16 | CRLF << 24, 5),
        100..=999 => {
            let (hundreds, tens) = (tens / 10, tens % 10);
            (kind | digit(hundreds) << 8 | digit(tens) << 16 | digit(ones) << 24 | CRLF << 32, 6)
        }
        _ => return None,
    })
}

#[cold]
fn long_header(out: &mut Vec<u8>, kind: u8, n: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `write` writes in RESP2 and in RESP3.
    fn both(write: impl Fn(&mut Reply<'_>)) -> (String, String) {
        let one = |resp3| {
            let mut out = OutBuf::new();
            write(&mut Reply::new(&mut out, resp3));
            String::from_utf8(out.to_vec()).expect("text")
        };
        (one(false), one(true))
    }

    fn same(text: &str) -> (String, String) {
        (text.to_owned(), text.to_owned())
    }

    fn forms(resp2: &str, resp3: &str) -> (String, String) {
        (resp2.to_owned(), resp3.to_owned())
    }

    #[test]
    fn each_form() {
        assert_eq!(both(|r| r.ok()), same("+OK\r\n"));
        assert_eq!(both(|r| r.simple("PONG")), same("+PONG\r\n"));
        assert_eq!(both(|r| r.error("ERR syntax error")), same("-ERR syntax error\r\n"));
        assert_eq!(both(|r| r.bulk(b"")), same("$0\r\n\r\n"));
        assert_eq!(both(|r| r.bulk(b"a\r\nb")), same("$4\r\na\r\nb\r\n"));
        assert_eq!(both(|r| r.bulk_int(-12)), same("$3\r\n-12\r\n"));
        assert_eq!(both(|r| r.null()), forms("$-1\r\n", "_\r\n"));
        assert_eq!(both(|r| r.bulk_or_null(None)), forms("$-1\r\n", "_\r\n"));
        assert_eq!(both(|r| r.null_array()), forms("*-1\r\n", "_\r\n"));
        assert_eq!(both(|r| r.array(0)), same("*0\r\n"));
        assert_eq!(both(|r| r.map(7)), forms("*14\r\n", "%7\r\n"));
        assert_eq!(both(|r| r.set(12345)), forms("*12345\r\n", "~12345\r\n"));
        assert_eq!(both(|r| r.push(3)), forms("*3\r\n", ">3\r\n"));
        assert_eq!(both(|r| r.double(3.1)), forms("$3\r\n3.1\r\n", ",3.1\r\n"));
        assert_eq!(both(|r| r.double(f64::NEG_INFINITY)), forms("$4\r\n-inf\r\n", ",-inf\r\n"));
        assert_eq!(both(|r| r.bool(true)), forms(":1\r\n", "#t\r\n"));
        assert_eq!(both(|r| r.bool(false)), forms(":0\r\n", "#f\r\n"));
        let big = "1234567999999999999999999999999999999";
        assert_eq!(both(|r| r.bignum(big)), (format!("$37\r\n{big}\r\n"), format!("({big}\r\n")));
        assert_eq!(both(|r| r.verbatim("txt", b"a\nb")), forms("$3\r\na\nb\r\n", "=7\r\ntxt:a\nb\r\n"));
        let mut out = OutBuf::new();
        Reply::new(&mut out, true).attribute(1);
        assert_eq!(out.to_vec(), b"|1\r\n");
    }

    #[test]
    fn every_width_of_number() {
        for n in [0, 1, 9, 10, 99, 100, 999, 1000, 9999, 10_000, 65_535, 65_536, 1 << 40] {
            assert_eq!(both(|r| r.array(n)), same(&format!("*{n}\r\n")));
        }
        for n in [0, 9, 10, -1, -9, i64::MIN, i64::MAX] {
            assert_eq!(both(|r| r.int(n)), same(&format!(":{n}\r\n")));
        }
    }

    /// CVE-2025-67733: a client's bytes in an error never become a second reply.
    #[test]
    fn lines_stay_lines() {
        let (text, _) = both(|r| r.error(b"ERR unknown command 'x\r\n+OK\r\n\0'"));
        assert_eq!(text, "-ERR unknown command 'x  +OK   '\r\n");
        let (text, _) = both(|r| r.simple("a\nb"));
        assert_eq!(text, "+a b\r\n");
    }

    #[test]
    fn deferred_lengths_nest() {
        for (inner_len, outer_len, expected) in [(1, 1, 0), (12, 3, 0), (3, 1200, 0), (150, 11, 5000)] {
            let write = |r: &mut Reply<'_>| {
                r.int(7);
                let outer = r.defer_array_of(expected);
                for _ in 0..outer_len {
                    let inner = r.defer_map();
                    for _ in 0..inner_len {
                        r.bulk(b"k");
                        r.bulk(b"v");
                    }
                    r.finish(inner, inner_len);
                }
                let none = r.defer_set();
                r.finish(none, 0);
                r.finish(outer, outer_len + 1);
                r.ok();
            };
            let at_once = |r: &mut Reply<'_>| {
                r.int(7);
                r.array(outer_len + 1);
                for _ in 0..outer_len {
                    r.map(inner_len);
                    for _ in 0..inner_len {
                        r.bulk(b"k");
                        r.bulk(b"v");
                    }
                }
                r.set(0);
                r.ok();
            };
            assert_eq!(both(write), both(at_once));
        }
    }

    #[test]
    fn deferred_lengths_move_large_values_too() {
        let blob = Blob::from(vec![b'v'; 20_000]);
        let mut out = OutBuf::new();
        let mut reply = Reply::new(&mut out, false);
        reply.bulk_blob(&blob);
        let mark = reply.defer_array();
        (0..10).for_each(|_| reply.bulk_blob(&blob));
        reply.finish(mark, 10);
        let bulk = [b"$20000\r\n", &blob[..], b"\r\n"].concat();
        assert!(out.to_vec() == [&bulk[..], b"*10\r\n", &bulk.repeat(10)].concat());
    }

    #[test]
    fn taken_back_replies_leave_nothing() {
        let blob = Blob::from(vec![b'v'; 20_000]);
        let mut out = OutBuf::new();
        let mut reply = Reply::new(&mut out, true);
        reply.bulk_blob(&blob);
        let start = reply.position();
        reply.array(2);
        reply.bulk_blob(&blob);
        reply.truncate_to(start);
        reply.error("WRONGTYPE Operation against a key holding the wrong kind of value");
        assert_eq!(out.len(), 8 + 20_000 + 2 + 68);
        assert_eq!(out.len(), out.to_vec().len());
        out.clear();
        assert!(!blob.is_shared(), "every reference was given back");
    }

    #[test]
    fn small_blobs_are_copied() {
        let blob = Blob::from(vec![b'v'; BLOB_REFERENCE_MIN - 1]);
        let mut out = OutBuf::new();
        Reply::new(&mut out, false).bulk_blob(&blob);
        assert!(!blob.is_shared() && out.single().is_some());
    }
}
