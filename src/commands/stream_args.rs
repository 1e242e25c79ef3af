//! What the stream commands share: ids as arguments, the way to a stream, the form of an entry.

use smallvec::SmallVec;

use crate::error::Error;
use crate::keys::Keys;
use crate::protocol::reply::Reply;
use crate::values::packed::Elem;
use crate::values::stream::{Entry, StreamId};
use crate::values::{Kind, Stream, Value};

const BAD_ID: Error = Error::Line("ERR Invalid stream ID specified as stream command argument");
const BAD_START: Error = Error::Line("ERR invalid start ID for the interval");
const BAD_END: Error = Error::Line("ERR invalid end ID for the interval");

/// Longer arguments are no ids.
const ID_BYTES_MAX: usize = 127;

/// One half of an id. Blanks and a plus before it are let through, as Redis does.
fn half(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    if digits.contains(&b'-') {
        return None;
    }
    StreamId::parse(digits, 0).map(|id| id.ms)
}

/// An id: `ms` or `ms-seq`.
pub(super) fn id(text: &[u8], missing_seq: u64) -> Result<StreamId, Error> {
    parse(text, missing_seq).ok_or(BAD_ID)
}

/// The same, where it is not an error to be none.
pub(super) fn parse(text: &[u8], missing_seq: u64) -> Option<StreamId> {
    if text.len() > ID_BYTES_MAX {
        return None;
    }
    let (ms, seq) = match text.iter().position(|&b| b == b'-') {
        Some(dash) => (half(&text[..dash])?, half(&text[dash + 1..])?),
        None => (half(text)?, missing_seq),
    };
    Some(StreamId { ms, seq })
}

/// An id, or `-` and `+` for the first and the last possible one.
pub(super) fn id_or_end(text: &[u8], missing_seq: u64) -> Result<StreamId, Error> {
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => id(text, missing_seq),
    }
}

/// One end of a range; whether it is excluded.
fn bound(text: &[u8], missing_seq: u64) -> Result<(StreamId, bool), Error> {
    match text {
        [b'(', rest @ ..] if !rest.is_empty() => Ok((id(rest, missing_seq)?, true)),
        _ => Ok((id_or_end(text, missing_seq)?, false)),
    }
}

/// The first id of a range.
pub(super) fn start(text: &[u8]) -> Result<StreamId, Error> {
    match bound(text, 0)? {
        (id, true) => id.next().ok_or(BAD_START),
        (id, false) => Ok(id),
    }
}

/// Both ends of a range, included.
pub(super) fn interval(first: &[u8], last: &[u8]) -> Result<(StreamId, StreamId), Error> {
    let from = start(first)?;
    let to = match bound(last, u64::MAX)? {
        (id, true) => id.prev().ok_or(BAD_END)?,
        (id, false) => id,
    };
    Ok((from, to))
}

/// The id that XADD is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewId {
    /// `*`
    Auto,
    /// `ms-*`
    AutoSeq(u64),
    /// `ms-seq`
    Given(StreamId),
}

/// An id to add: also with the sequence left to the server.
pub(super) fn new_id(text: &[u8]) -> Result<NewId, Error> {
    match text {
        b"*" => Ok(NewId::Auto),
        [ms @ .., b'-', b'*'] if text.len() <= ID_BYTES_MAX => half(ms).map(NewId::AutoSeq).ok_or(BAD_ID),
        _ => id(text, 0).map(NewId::Given),
    }
}

/// The stream at key `i`, or none; other types are refused.
pub(super) fn read<R>(
    keys: &mut Keys<'_, '_>,
    i: usize,
    f: impl FnOnce(Option<&Stream>) -> R,
) -> Result<R, Error> {
    keys.expect_kind(i, Kind::Stream)?;
    Ok(keys.value(i, |value| match value {
        Some(Value::Stream(stream)) => f(Some(stream)),
        _ => f(None),
    }))
}

/// The stream at key `i` to be changed; none if there is no such key.
pub(super) fn edit<R>(
    keys: &mut Keys<'_, '_>,
    i: usize,
    f: impl FnOnce(&mut Stream) -> R,
) -> Result<Option<R>, Error> {
    if !keys.expect_kind(i, Kind::Stream)? {
        return Ok(None);
    }
    Ok(keys
        .value_mut(i, |value| match value {
            Value::Stream(stream) => Some(f(stream)),
            _ => None,
        })
        .flatten())
}

/// An id as text.
pub(super) fn id_text(id: StreamId) -> SmallVec<[u8; 41]> {
    let mut buffer = itoa::Buffer::new();
    let mut text = SmallVec::new();
    text.extend_from_slice(buffer.format(id.ms).as_bytes());
    text.push(b'-');
    text.extend_from_slice(buffer.format(id.seq).as_bytes());
    text
}

/// Replies an id.
pub(super) fn reply_id(reply: &mut Reply<'_>, id: StreamId) {
    reply.bulk(&id_text(id));
}

/// Replies an entry: its id, its fields and values.
pub(super) fn reply_entry(reply: &mut Reply<'_>, entry: &Entry<'_>) {
    reply.array(2);
    reply_id(reply, entry.id);
    reply.array(2 * entry.len());
    for (name, value) in entry.fields() {
        for elem in [name, value] {
            match elem {
                Elem::Int(n) => reply.bulk_int(n),
                Elem::Bytes(bytes) => reply.bulk(bytes),
            }
        }
    }
}

/// Replies entries as an array; how many there were.
pub(super) fn reply_entries<'e>(reply: &mut Reply<'_>, entries: impl Iterator<Item = Entry<'e>>) -> usize {
    let mark = reply.defer_array();
    let mut n = 0;
    for entry in entries {
        reply_entry(reply, &entry);
        n += 1;
    }
    reply.finish(mark, n);
    n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_intervals() {
        let at = |ms, seq| StreamId { ms, seq };
        assert_eq!(id(b"5", 7), Ok(at(5, 7)));
        assert_eq!(id(b" 5-+1", 7), Ok(at(5, 1)));
        for bad in [&b"-"[..], b"+", b"5-", b"1-2-3", b"x", b"", b"-1", b"1--1"] {
            assert_eq!(id(bad, 0), Err(BAD_ID));
        }
        assert_eq!(interval(b"-", b"+"), Ok((StreamId::MIN, StreamId::MAX)));
        assert_eq!(interval(b"(1-1", b"(2"), Ok((at(1, 2), at(2, u64::MAX - 1))));
        assert_eq!(interval(b"(18446744073709551615-18446744073709551615", b"x"), Err(BAD_START));
        assert_eq!(interval(b"1", b"(0-0"), Err(BAD_END));
        assert_eq!(interval(b"(", b"+"), Err(BAD_ID));
        assert_eq!(interval(b"(-", b"+"), Err(BAD_ID));
        assert_eq!(new_id(b"*"), Ok(NewId::Auto));
        assert_eq!(new_id(b"7-*"), Ok(NewId::AutoSeq(7)));
        assert_eq!(new_id(b"7"), Ok(NewId::Given(at(7, 0))));
        assert_eq!(new_id(b"-*"), Err(BAD_ID));
    }
}
