//! What a message says of a key: facts, as a map in RESP3 and as JSON in RESP2.
//!
//! JSON is text. Bytes that are not UTF-8 stand there in base64, under their name with `_base64` behind it;
//! so does every DUMP.

use std::fmt::Write as _;

use crate::protocol::{OutBuf, Reply};
use crate::rdb::{self, Plain};
use crate::values::Value;

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fact<'a> {
    /// Words of this program.
    Word(&'static str),
    /// Bytes of a client.
    Bytes(&'a [u8]),
    /// The payload of a value.
    Dump(Vec<u8>),
    /// A number.
    Number(u64),
}

/// Facts under their names, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts<'a>(Vec<(&'static str, Fact<'a>)>);

impl<'a> Facts<'a> {
    /// Adds words of this program.
    pub fn word(&mut self, name: &'static str, word: &'static str) {
        self.0.push((name, Fact::Word(word)));
    }

    /// Adds bytes of a client.
    pub fn bytes(&mut self, name: &'static str, bytes: &'a [u8]) {
        self.0.push((name, Fact::Bytes(bytes)));
    }

    /// Adds a number.
    pub fn number(&mut self, name: &'static str, number: u64) {
        self.0.push((name, Fact::Number(number)));
    }

    /// Adds what a key holds: `type`, and then the `value` of a string or the `dump` of anything else. Of more than
    /// `max` bytes there is only their number, as `omitted`: this is done while the key is locked.
    pub fn content(&mut self, content: Option<Plain<'a>>, max: usize) {
        let Some(content) = content else { return self.word("type", "none") };
        let (kind, bytes) = match content {
            Plain::Text(text) => ("string", text.len()),
            Plain::Value(Value::Str(blob)) => ("string", blob.len()),
            Plain::Value(value) => (value.kind().name(), value.memory()),
        };
        self.word("type", kind);
        match content {
            _ if bytes > max => self.number("omitted", bytes as u64),
            Plain::Text(text) => self.bytes("value", text),
            Plain::Value(Value::Str(blob)) => self.bytes("value", blob.as_slice()),
            Plain::Value(_) => self.0.push(("dump", Fact::Dump(rdb::dump(content, false)))),
        }
    }

    /// The facts as names and texts, for the fields of a stream's entry.
    pub fn texts(&self) -> impl Iterator<Item = (&'static str, Vec<u8>)> + '_ {
        self.0.iter().map(|(name, fact)| {
            let text = match fact {
                Fact::Word(word) => word.as_bytes().to_vec(),
                Fact::Bytes(bytes) => bytes.to_vec(),
                Fact::Dump(bytes) => bytes.clone(),
                Fact::Number(number) => number.to_string().into_bytes(),
            };
            (*name, text)
        })
    }

    /// As a reply in this protocol.
    pub fn encode(&self, resp3: bool) -> Vec<u8> {
        let mut out = OutBuf::new();
        let mut reply = Reply::new(&mut out, resp3);
        if !resp3 {
            reply.bulk(self.json().as_bytes());
            return out.to_vec();
        }
        reply.map(self.0.len());
        for (name, fact) in &self.0 {
            reply.bulk(name.as_bytes());
            match fact {
                Fact::Word(word) => reply.bulk(word.as_bytes()),
                Fact::Bytes(bytes) => reply.bulk(bytes),
                Fact::Dump(bytes) => reply.bulk(bytes),
                Fact::Number(number) => reply.int(i64::try_from(*number).unwrap_or(i64::MAX)),
            }
        }
        out.to_vec()
    }

    fn json(&self) -> String {
        let mut text = String::from("{");
        for (at, (name, fact)) in self.0.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            // Names are words of this program, which need no escaping.
            let _ = match fact {
                Fact::Number(number) => write!(text, "\"{name}\":{number}"),
                Fact::Word(word) => write!(text, "\"{name}\":\"{word}\""),
                Fact::Dump(bytes) => write!(text, "\"{name}_base64\":\"{}\"", base64(bytes)),
                Fact::Bytes(bytes) => match std::str::from_utf8(bytes) {
                    Ok(utf8) => write!(text, "\"{name}\":\"{}\"", Escaped(utf8)),
                    Err(_) => write!(text, "\"{name}_base64\":\"{}\"", base64(bytes)),
                },
            };
        }
        text.push('}');
        text
    }
}

/// Text between the quotes of JSON.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(|c: char| matches!(c, '"' | '\\' | '\0'..='\x1f')) {
            f.write_str(&rest[..at])?;
            match rest.as_bytes()[at] {
                b'"' => f.write_str("\\\"")?,
                b'\\' => f.write_str("\\\\")?,
                b'\n' => f.write_str("\\n")?,
                b'\r' => f.write_str("\\r")?,
                b'\t' => f.write_str("\\t")?,
                control => write!(f, "\\u{control:04x}")?,
            }
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

/// Base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place > group.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_as_everybody_does() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foobar", "Zm9vYmFy"),
            (&[0xff, 0xfe, 0], "//4A"),
        ] {
            assert_eq!(base64(bytes), text);
        }
    }

    #[test]
    fn both_forms_say_the_same() {
        let mut facts = Facts::default();
        facts.bytes("key", b"a\"b\\\n\x01\xc3\xa9");
        facts.bytes("field", &[0xff]);
        facts.content(Some(Plain::Text(b"v")), 1);
        facts.number("due", 7);
        facts.word("reason", "timer");
        let json = r#"{"key":"a\"b\\\n\u0001é","field_base64":"/w==","type":"string","value":"v","due":7,"reason":"timer"}"#;
        assert_eq!(facts.json(), json);
        assert_eq!(facts.encode(false), format!("${}\r\n{json}\r\n", json.len()).into_bytes());
        let map =
            b"%6\r\n$3\r\nkey\r\n$8\r\na\"b\\\n\x01\xc3\xa9\r\n$5\r\nfield\r\n$1\r\n\xff\r\n$4\r\ntype\r\n\
            $6\r\nstring\r\n$5\r\nvalue\r\n$1\r\nv\r\n$3\r\ndue\r\n:7\r\n$6\r\nreason\r\n$5\r\ntimer\r\n";
        assert_eq!(facts.encode(true), map);
    }

    #[test]
    fn what_is_too_large_is_only_counted() {
        let mut facts = Facts::default();
        facts.content(Some(Plain::Text(b"abc")), 2);
        facts.content(None, 2);
        assert_eq!(facts.json(), r#"{"type":"string","omitted":3,"type":"none"}"#);
    }
}
