//! Finds requests in a read buffer without copying them.
//!
//! ```text
//! read buffer   *2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n*2\r\n$3\r\nGE
//! ranges                  [GET]     [k]    [PING]
//! spans         [----- first 0, count 2 --][f 2,c 1]          consumed: the offset of the last '*'
//! ```
//!
//! One [`Requests`] belongs to a worker and is used for every connection in turn; a
//! [`Parser`] belongs to a connection and is a pointer's size. What is left of the buffer
//! at `consumed` is an unfinished request: the caller moves it to the front of the next
//! buffer and appends what arrives. A short unfinished request is parsed again from its
//! start; one with many arguments goes on where it stopped (offsets are kept relative to
//! its start), so that a million arguments in small pieces cost linear time.
//!
//! Rules that the reader of this file may rely on:
//! - requests before an error are in `out` when `parse` returns the error;
//! - a split of the stream never changes what is found in it (a test cuts at every byte);
//! - nothing is reserved for announced bytes, only for arrived ones.
#![warn(clippy::as_conversions)]

use crate::protocol::limits::{
    LARGE_BULK, Limits, ProtocolError, QUERY_BUFFER_MAX, UNAUTHENTICATED_ARGS_MAX, UNAUTHENTICATED_BULK_MAX,
};
use crate::protocol::number::parse_i64;
use crate::protocol::owned::OwnedRequest;

/// Requests of one connection that are parsed, prefetched and run together.
pub const BATCH_MAX: usize = 16;
/// An unfinished request of fewer arguments is parsed again instead of being remembered.
const RESUME_MIN: usize = 64;
/// A vector of ranges that one giant request has grown beyond this is not kept for the next.
const RANGES_KEPT_MAX: usize = 64 * 1024;
/// In [`ArgRange::start`]: the argument was unescaped and stands in [`Requests::side`].
const SIDE: u32 = 1 << 31;
/// Arguments of an ordinary request, at most.
const ORDINARY_ARGS_MAX: usize = 8;
/// The end of a line as a little-endian number.
const CRLF: u64 = 0x0a0d;

/// An argument: a range of the read buffer, or of the side buffer (see [`Requests::arg`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArgRange {
    /// First byte; the highest bit selects the side buffer.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

impl ArgRange {
    #[inline]
    pub(crate) fn in_buffer(start: usize, len: usize) -> Self {
        ArgRange { start: narrow(start), len: narrow(len) }
    }

    pub(crate) fn in_side(start: usize, len: usize) -> Self {
        ArgRange { start: narrow(start) | SIDE, len: narrow(len) }
    }

    /// The bytes, given the buffer that was parsed and the side buffer of the [`Requests`].
    #[inline(always)]
    pub fn bytes<'b>(self, buf: &'b [u8], side: &'b [u8]) -> &'b [u8] {
        if self.start & SIDE != 0 {
            return self.unescaped(side);
        }
        let start = widen(self.start);
        &buf[start..start + widen(self.len)]
    }

    #[cold]
    fn unescaped(self, side: &[u8]) -> &[u8] {
        let start = widen(self.start & !SIDE);
        &side[start..start + widen(self.len)]
    }
}

/// A complete request: a run of ranges, the command's name first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestSpan {
    /// Index of its first argument in [`Requests::ranges`].
    pub first: u32,
    /// Number of arguments, the name included; at least one.
    pub count: u32,
    /// Offset in the buffer just behind the request.
    pub end: u32,
}

impl RequestSpan {
    /// Number of arguments, the name included.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // a request has a name
    pub fn len(&self) -> usize {
        widen(self.count)
    }
}

/// What one call of [`Parser::parse`] found. One per worker, reused.
#[derive(Debug, Default)]
pub struct Requests {
    /// The arguments of all requests.
    pub ranges: Vec<ArgRange>,
    /// The requests, in the order of the stream; at most [`BATCH_MAX`].
    pub spans: Vec<RequestSpan>,
    /// Arguments of inline commands that had quotes, unescaped.
    pub side: Vec<u8>,
}

impl Requests {
    /// Empty, with room for ordinary batches.
    pub fn new() -> Self {
        Requests { ranges: Vec::with_capacity(64), spans: Vec::with_capacity(BATCH_MAX), side: Vec::new() }
    }

    /// Forgets everything; gives back what a giant request has grown.
    #[inline]
    pub fn clear(&mut self) {
        self.ranges.clear();
        self.spans.clear();
        self.side.clear();
        if self.ranges.capacity() > RANGES_KEPT_MAX || self.side.capacity() > RANGES_KEPT_MAX {
            *self = Requests::new();
        }
    }

    /// Argument `index` of all arguments (`span.first + n` for the n-th of a request).
    #[inline(always)]
    pub fn arg<'b>(&'b self, buf: &'b [u8], index: usize) -> &'b [u8] {
        self.ranges[index].bytes(buf, &self.side)
    }

    /// The ranges of one request.
    #[inline(always)]
    pub fn args_of(&self, span: &RequestSpan) -> &[ArgRange] {
        let first = widen(span.first);
        &self.ranges[first..first + widen(span.count)]
    }

    /// The arguments of one request as slices, the name first.
    pub fn slices<'b>(&'b self, buf: &'b [u8], span: &RequestSpan) -> impl Iterator<Item = &'b [u8]> {
        self.args_of(span).iter().map(move |range| range.bytes(buf, &self.side))
    }

    /// Closes a request over all ranges from `first`.
    #[inline]
    pub(crate) fn push_span(&mut self, first: usize, end: usize) {
        let span = self.span_from(first, end);
        self.spans.push(span);
    }

    /// All ranges from `first` as one request that ends at `end`.
    #[inline]
    pub(crate) fn span_from(&self, first: usize, end: usize) -> RequestSpan {
        let count = self.ranges.len() - first;
        debug_assert!(count > 0, "a request has a name");
        RequestSpan { first: narrow(first), count: narrow(count), end: narrow(end) }
    }
}

/// How far [`Parser::parse`] came. What it found is in the [`Requests`] in each case.
#[derive(Debug)]
pub enum Progress {
    /// Everything complete was parsed; the bytes from `consumed` are an unfinished request (or none).
    All {
        /// Bytes that need not be kept.
        consumed: usize,
    },
    /// The batch is full; parse again from `consumed` after running it.
    Full {
        /// Bytes that need not be kept.
        consumed: usize,
    },
    /// After the requests found comes one whose large argument is to be received straight
    /// into `request`, which holds all that has arrived of it.
    Large {
        /// Bytes that need not be kept: the whole buffer.
        consumed: usize,
        /// The request to feed until it is complete.
        request: Box<OwnedRequest>,
    },
}

/// State of one connection's stream between two buffers.
#[derive(Debug, Default)]
pub struct Parser {
    resume: Option<Box<Resume>>,
}

/// An unfinished request of many arguments; offsets count from its first byte.
#[derive(Debug)]
struct Resume {
    ranges: Vec<ArgRange>,
    count: usize,
    /// Where the next argument's `$` is, or will be.
    at: usize,
}

/// A multibulk request whose count is known.
#[derive(Debug, Clone, Copy)]
struct Frame {
    /// Where it began.
    start: usize,
    /// Index of its first range.
    first: usize,
    count: usize,
    /// Where the next argument's `$` is, or will be.
    at: usize,
}

enum Step {
    Complete { end: usize },
    Partial { at: usize },
    Large(Box<OwnedRequest>),
}

impl Parser {
    /// At the beginning of a stream.
    pub const fn new() -> Self {
        Parser { resume: None }
    }

    /// Heap memory held for an unfinished request (its bytes are the caller's).
    pub fn heap_bytes(&self) -> usize {
        self.resume
            .as_ref()
            .map_or(0, |resume| size_of::<Resume>() + resume.ranges.capacity() * size_of::<ArgRange>())
    }

    /// Finds up to [`BATCH_MAX`] complete requests at the beginning of `buf`.
    ///
    /// `buf` begins where the last call's `consumed` was. On an error the requests before
    /// it are in `out`; they are to be run, then [`ProtocolError::reply`] is sent and the
    /// connection closed.
    pub fn parse(
        &mut self,
        buf: &[u8],
        limits: &Limits,
        out: &mut Requests,
    ) -> Result<Progress, ProtocolError> {
        out.clear();
        if buf.len() > QUERY_BUFFER_MAX {
            return Err(ProtocolError::QueryBufferLimit);
        }
        let batch_max = if limits.authenticated { BATCH_MAX } else { 1 };
        let mut resumed = self.take_resumed(out);
        let mut pos = 0;
        while out.spans.len() < batch_max {
            if limits.authenticated
                && resumed.is_none()
                && let Some(end) = ordinary(buf, pos, out)
            {
                pos = end;
                continue;
            }
            let frame = match resumed.take() {
                Some(frame) => frame,
                None => match buf.get(pos) {
                    None => return Ok(Progress::All { consumed: pos }),
                    Some(b'*') => match multibulk_header(buf, pos, limits)? {
                        None => return unfinished(buf, pos, limits),
                        Some((0, next)) => {
                            pos = next;
                            continue;
                        }
                        Some((count, next)) => Frame { start: pos, first: out.ranges.len(), count, at: next },
                    },
                    Some(_) => match crate::protocol::inline::parse(buf, pos, limits, out)? {
                        None => return unfinished(buf, pos, limits),
                        Some(next) => {
                            pos = next;
                            continue;
                        }
                    },
                },
            };
            match arguments(buf, frame, limits, out)? {
                Step::Complete { end } => {
                    out.push_span(frame.first, end);
                    pos = end;
                }
                Step::Partial { at } => {
                    self.keep(out, frame, at);
                    return unfinished(buf, pos, limits);
                }
                Step::Large(request) => {
                    out.ranges.truncate(frame.first);
                    return Ok(Progress::Large { consumed: buf.len(), request });
                }
            }
        }
        Ok(Progress::Full { consumed: pos })
    }

    #[inline]
    fn take_resumed(&mut self, out: &mut Requests) -> Option<Frame> {
        let mut resume = self.resume.take()?;
        std::mem::swap(&mut out.ranges, &mut resume.ranges);
        Some(Frame { start: 0, first: 0, count: resume.count, at: resume.at })
    }

    /// Takes the ranges of an unfinished request out of `out` and remembers them if they are many.
    #[cold]
    fn keep(&mut self, out: &mut Requests, frame: Frame, at: usize) {
        if out.ranges.len() - frame.first < RESUME_MIN {
            out.ranges.truncate(frame.first);
            return;
        }
        let mut ranges = if frame.first == 0 {
            std::mem::take(&mut out.ranges)
        } else {
            out.ranges.split_off(frame.first)
        };
        if frame.start > 0 {
            let shift = narrow(frame.start);
            ranges.iter_mut().for_each(|range| range.start -= shift);
        }
        self.resume = Some(Box::new(Resume { ranges, count: frame.count, at: at - frame.start }));
    }
}

/// A whole request with lengths of one or two digits: nearly all of them. Anything else is left
/// as it is to the careful way, and gives None.
#[inline(always)]
fn ordinary(buf: &[u8], pos: usize, out: &mut Requests) -> Option<usize> {
    let (count, mut at) = short_length(buf, pos, b'*')?;
    // Put together here first: with a fixed place for each there is no vector to ask whether it has room.
    let mut ranges = [ArgRange { start: 0, len: 0 }; ORDINARY_ARGS_MAX];
    for range in ranges.get_mut(..count)? {
        let (len, body) = short_length(buf, at, b'$')?;
        // No overflow: `body` is at most the length of the buffer, and `len` has two digits.
        let end = body.wrapping_add(len);
        if buf.get(end..)?.first_chunk() != Some(b"\r\n") {
            return None;
        }
        *range = ArgRange::in_buffer(body, len);
        at = end.wrapping_add(2);
    }
    if count == 0 {
        return None;
    }
    let first = out.ranges.len();
    // All of them, and what is too much is cut off: a copy of a fixed length is no call.
    out.ranges.extend_from_slice(&ranges);
    out.ranges.truncate(first.wrapping_add(count));
    out.spans.push(RequestSpan { first: narrow(first), count: narrow(count), end: narrow(at) });
    Some(at)
}

#[cold]
fn unfinished(buf: &[u8], consumed: usize, limits: &Limits) -> Result<Progress, ProtocolError> {
    if buf.len() - consumed > limits.held_max() {
        return Err(ProtocolError::QueryBufferLimit);
    }
    Ok(Progress::All { consumed })
}

/// Reads the arguments that `frame` still lacks and pushes their ranges.
#[inline]
fn arguments(buf: &[u8], frame: Frame, limits: &Limits, out: &mut Requests) -> Result<Step, ProtocolError> {
    let mut at = frame.at;
    let missing = frame.count - (out.ranges.len() - frame.first);
    for _ in 0..missing {
        let (len, body) = match short_length(buf, at, b'$') {
            Some(found) => found,
            None => match bulk_header(buf, at, limits)? {
                Some(found) => found,
                None => return Ok(Step::Partial { at }),
            },
        };
        // body is within the buffer.
        let arrived = buf.len() - body;
        if arrived < len.saturating_add(2) {
            if arrived < len && len >= LARGE_BULK {
                return large(buf, frame, len, body, limits, out);
            }
            return Ok(Step::Partial { at });
        }
        let end = body + len;
        if buf[end..end + 2] != *b"\r\n" {
            return Err(ProtocolError::InvalidCrlf);
        }
        out.ranges.push(ArgRange::in_buffer(body, len));
        at = end + 2;
    }
    Ok(Step::Complete { end: at })
}

#[cold]
fn large(
    buf: &[u8],
    frame: Frame,
    len: usize,
    body: usize,
    limits: &Limits,
    out: &Requests,
) -> Result<Step, ProtocolError> {
    let earlier = out.ranges[frame.first..].iter().map(|range| range.bytes(buf, &[]));
    let request = OwnedRequest::begin(earlier, frame.count, len, &buf[body..], limits)?;
    Ok(Step::Large(Box::new(request)))
}

/// A length line of one or two digits, the type byte included: nearly all of them. Anything
/// else, also near the end of the buffer, is for the careful functions below.
#[inline(always)]
fn short_length(buf: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    // One load: taken apart by shifts, as bytes of an array would be loaded one by one.
    let head = u64::from_le_bytes(*buf.get(at..)?.first_chunk()?);
    let digit = |i: u32| (head >> (8 * i) & 0xff).wrapping_sub(u64::from(b'0'));
    // Everything but the digits in one comparison.
    let kind = u64::from(kind);
    let (len, line) = if head & 0xffff_00ff == CRLF << 16 | kind && digit(1) <= 9 {
        (digit(1), 4)
    } else if head & 0xff_ff00_00ff == CRLF << 24 | kind && (1..=9).contains(&digit(1)) && digit(2) <= 9 {
        (digit(1).wrapping_mul(10).wrapping_add(digit(2)), 5)
    } else {
        return None;
    };
    // No overflow: these bytes are in the buffer.
    Some((usize::try_from(len).ok()?, at.wrapping_add(line)))
}

/// The `*n` line at `at`: the number of arguments (0 for none and for "nil") and the offset
/// behind it, or `None` if the line is not complete.
#[inline]
fn multibulk_header(buf: &[u8], at: usize, limits: &Limits) -> Result<Option<(usize, usize)>, ProtocolError> {
    let (count, next) = match short_length(buf, at, b'*') {
        Some(found) => found,
        None => match any_length(buf, at, limits.line_bytes_max) {
            Line::Partial => return Ok(None),
            Line::TooLong => return Err(ProtocolError::TooBigMultibulkCount),
            Line::NoCrlf => return Err(ProtocolError::InvalidCrlf),
            Line::Text(text, next) => (multibulk_count(text, limits)?, next),
        },
    };
    if !limits.authenticated && count > widen(UNAUTHENTICATED_ARGS_MAX) {
        return Err(ProtocolError::UnauthenticatedMultibulkLength);
    }
    Ok(Some((count, next)))
}

fn multibulk_count(text: &[u8], limits: &Limits) -> Result<usize, ProtocolError> {
    let count = parse_i64(text).ok_or(ProtocolError::InvalidMultibulkLength)?;
    if count > i64::from(limits.args_max) {
        return Err(ProtocolError::InvalidMultibulkLength);
    }
    Ok(usize::try_from(count).unwrap_or(0))
}

/// The `$n` line at `at`: the argument's length and the offset of its first byte.
#[inline(never)]
fn bulk_header(buf: &[u8], at: usize, limits: &Limits) -> Result<Option<(usize, usize)>, ProtocolError> {
    match any_length(buf, at, limits.line_bytes_max) {
        Line::Partial => Ok(None),
        Line::TooLong => Err(ProtocolError::TooBigBulkCount),
        Line::NoCrlf => Err(ProtocolError::InvalidCrlf),
        Line::Text(text, next) => Ok(Some((bulk_length(buf[at], text, limits)?, next))),
    }
}

/// What a `$n` line says, given its first byte and the text between that and CR LF.
pub(crate) fn bulk_length(kind: u8, text: &[u8], limits: &Limits) -> Result<usize, ProtocolError> {
    if kind != b'$' {
        return Err(ProtocolError::ExpectedDollar(kind));
    }
    let len = parse_i64(text).and_then(|len| u64::try_from(len).ok());
    let len = len.filter(|&len| len <= limits.bulk_len_max).ok_or(ProtocolError::InvalidBulkLength)?;
    if !limits.authenticated && len > UNAUTHENTICATED_BULK_MAX {
        return Err(ProtocolError::UnauthenticatedBulkLength);
    }
    usize::try_from(len).map_err(|_| ProtocolError::InvalidBulkLength)
}

/// A length line as far as it has arrived.
pub(crate) enum Line<'b> {
    /// It may still become one.
    Partial,
    /// It does not end within the limit.
    TooLong,
    /// CR is followed by something else than LF.
    NoCrlf,
    /// The text behind the type byte, and the offset behind the line.
    Text(&'b [u8], usize),
}

/// The line whose type byte is at `at`; `at` may be the end of the buffer.
fn any_length(buf: &[u8], at: usize, line_bytes_max: usize) -> Line<'_> {
    let rest = &buf[at..];
    // Lengths are short: look at 24 bytes before calling out for the rest.
    let near = rest.len().min(24);
    let window = rest.len().min(line_bytes_max.saturating_add(1));
    let found = rest[..near]
        .iter()
        .position(|&byte| byte == b'\r')
        .or_else(|| memchr::memchr(b'\r', &rest[near.min(window)..window]).map(|i| i + near));
    match found {
        None if rest.len() > line_bytes_max => Line::TooLong,
        None => Line::Partial,
        // The line begins with CR: there is no type byte, and CR is what was found instead.
        Some(0) => Line::Text(&[], at + 1),
        Some(cr) => match rest.get(cr + 1) {
            None => Line::Partial,
            Some(b'\n') => Line::Text(&rest[1..cr], at + cr + 2),
            Some(_) => Line::NoCrlf,
        },
    }
}

/// Offsets fit because buffers are at most [`QUERY_BUFFER_MAX`] bytes.
#[inline(always)]
#[expect(clippy::as_conversions, reason = "buffers are refused over 2^31 - 1 bytes; checked in debug builds")]
fn narrow(offset: usize) -> u32 {
    debug_assert!(offset <= QUERY_BUFFER_MAX, "an offset beyond the largest buffer");
    offset as u32
}

#[inline(always)]
#[expect(clippy::as_conversions, reason = "widening")]
fn widen(offset: u32) -> usize {
    offset as usize
}
