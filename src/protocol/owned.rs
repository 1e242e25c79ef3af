//! A request with a large argument, received straight into the memory of the value.
//!
//! The parser makes one when a bulk string of [`LARGE_BULK`](crate::protocol::limits::LARGE_BULK)
//! bytes or more has not arrived in full. Arguments before it are copied; the bulk itself is
//! received into the vector that becomes the value, so it is copied once less and lies in no
//! read buffer. The connection then alternates:
//!
//! ```text
//! while !request.is_complete() {
//!     match request.spare(hint)? {
//!         Some(room) => { let n = recv(room); request.advance(n); }        // inside a bulk
//!         None => { let n = recv(scratch); used = request.feed(&scratch[..n])?; }
//!     }                                           // scratch[used..n] belongs to the next request
//! }
//! let args = request.into_args();
//! ```
//!
//! Memory follows the bytes that arrived, never the announced length alone, and a finished
//! argument's capacity is its length.
#![warn(clippy::as_conversions)]

use crate::protocol::limits::{Limits, ProtocolError};
use crate::protocol::request::bulk_length;

/// The first reservation for a bulk; the next ones double what has arrived.
const FIRST_STEP: usize = 256 * 1024;
/// What an argument counts against the query buffer limit beyond its bytes.
const ARG_OVERHEAD: usize = 32;

/// A request that owns its arguments.
#[derive(Debug)]
pub struct OwnedRequest {
    args: Vec<Vec<u8>>,
    /// Number of arguments when complete.
    count: usize,
    stage: Stage,
    /// The argument under way; may be longer than `filled` (zeroed room for receiving).
    bulk: Vec<u8>,
    /// Bytes of `bulk` that have arrived.
    filled: usize,
    /// Bytes held for finished arguments.
    held: usize,
    limits: Limits,
}

/// What comes next in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A `$n` line; `bulk` holds what has arrived of it.
    Header,
    /// The rest of a bulk of this length.
    Bulk(usize),
    /// CR and LF behind a bulk.
    Cr,
    /// LF behind a bulk.
    Lf,
    /// Nothing: all arguments are there.
    Complete,
}

impl OwnedRequest {
    /// `earlier` arguments are complete; the next has `len` bytes, of which `arrived` is the beginning.
    pub(crate) fn begin<'b>(
        earlier: impl ExactSizeIterator<Item = &'b [u8]>,
        count: usize,
        len: usize,
        arrived: &[u8],
        limits: &Limits,
    ) -> Result<Self, ProtocolError> {
        debug_assert!(arrived.len() < len && earlier.len() < count);
        let mut request = OwnedRequest {
            args: Vec::new(),
            count,
            stage: Stage::Bulk(len),
            bulk: Vec::new(),
            filled: 0,
            held: 0,
            limits: *limits,
        };
        request.args.try_reserve(earlier.len() + 1).map_err(|_| ProtocolError::OutOfMemory)?;
        for arg in earlier {
            let mut copy = Vec::new();
            copy.try_reserve_exact(arg.len()).map_err(|_| ProtocolError::OutOfMemory)?;
            copy.extend_from_slice(arg);
            request.push(copy)?;
        }
        request.feed(arrived)?;
        Ok(request)
    }

    /// Whether all arguments are there.
    pub fn is_complete(&self) -> bool {
        self.stage == Stage::Complete
    }

    /// The arguments, the command's name first. Only for a complete request.
    pub fn into_args(self) -> Vec<Vec<u8>> {
        debug_assert!(self.is_complete(), "arguments are missing");
        self.args
    }

    /// Bytes of memory held.
    pub fn heap_bytes(&self) -> usize {
        self.held + self.bulk.capacity()
    }

    /// Room for at most `hint` more bytes (at least 1) of the bulk under way, to be received
    /// into and then reported by [`advance`](Self::advance). `None` outside a bulk: what
    /// comes next is for [`feed`](Self::feed). The room never goes beyond the bulk.
    pub fn spare(&mut self, hint: usize) -> Result<Option<&mut [u8]>, ProtocolError> {
        let Stage::Bulk(len) = self.stage else {
            return Ok(None);
        };
        let end = self.filled + hint.clamp(1, len - self.filled);
        self.reserve(end, len)?;
        if self.bulk.len() < end {
            self.bulk.resize(end, 0);
        }
        Ok(Some(&mut self.bulk[self.filled..end]))
    }

    /// `n` bytes were received into the room given by [`spare`](Self::spare).
    pub fn advance(&mut self, n: usize) {
        let Stage::Bulk(len) = self.stage else {
            debug_assert!(n == 0, "advance without room");
            return;
        };
        assert!(n <= self.bulk.len() - self.filled, "more bytes received than there was room");
        self.filled += n;
        if self.filled == len {
            self.stage = Stage::Cr;
        }
    }

    /// Takes what belongs to this request from the beginning of `data`; returns how much.
    /// Less than all means that the request is complete.
    pub fn feed(&mut self, data: &[u8]) -> Result<usize, ProtocolError> {
        let mut at = 0;
        while at < data.len() {
            let rest = &data[at..];
            match self.stage {
                Stage::Complete => break,
                Stage::Header => at += self.feed_header(rest)?,
                Stage::Bulk(len) => {
                    let n = rest.len().min(len - self.filled);
                    let end = self.filled + n;
                    self.reserve(end, len)?;
                    self.bulk.truncate(self.filled);
                    self.bulk.extend_from_slice(&rest[..n]);
                    self.advance(n);
                    at += n;
                }
                Stage::Cr if rest[0] == b'\r' => {
                    self.stage = Stage::Lf;
                    at += 1;
                }
                Stage::Lf if rest[0] == b'\n' => {
                    self.finish_bulk()?;
                    at += 1;
                }
                Stage::Cr | Stage::Lf => return Err(ProtocolError::InvalidCrlf),
            }
        }
        Ok(at)
    }

    /// Collects a `$n` line in `bulk`.
    fn feed_header(&mut self, rest: &[u8]) -> Result<usize, ProtocolError> {
        // A line is complete with the byte behind its CR.
        let taken = if self.bulk.last() == Some(&b'\r') {
            1
        } else {
            let max = self.limits.line_bytes_max.saturating_add(1) - self.bulk.len();
            let window = &rest[..rest.len().min(max)];
            match memchr::memchr(b'\r', window) {
                None if window.len() == max => return Err(ProtocolError::TooBigBulkCount),
                None => window.len(),
                Some(0) if self.bulk.is_empty() => return Err(ProtocolError::ExpectedDollar(b'\r')),
                Some(cr) => (cr + 2).min(rest.len()),
            }
        };
        self.bulk.extend_from_slice(&rest[..taken]);
        let line = match self.bulk.as_slice() {
            [kind, text @ .., b'\r', b'\n'] => bulk_length(*kind, text, &self.limits)?,
            [.., b'\r', _] => return Err(ProtocolError::InvalidCrlf),
            _ => return Ok(taken),
        };
        self.bulk = Vec::new();
        self.filled = 0;
        self.stage = if line == 0 { Stage::Cr } else { Stage::Bulk(line) };
        Ok(taken)
    }

    /// The bulk and its CR LF are there.
    fn finish_bulk(&mut self) -> Result<(), ProtocolError> {
        self.bulk.truncate(self.filled);
        // Reservations end at the announced length, so there is hardly ever anything to give back.
        self.bulk.shrink_to_fit();
        self.filled = 0;
        let arg = std::mem::take(&mut self.bulk);
        self.push(arg)?;
        self.stage = if self.args.len() == self.count { Stage::Complete } else { Stage::Header };
        Ok(())
    }

    fn push(&mut self, arg: Vec<u8>) -> Result<(), ProtocolError> {
        self.held = self.held.saturating_add(arg.len()).saturating_add(ARG_OVERHEAD);
        self.check_limit(0)?;
        self.args.try_reserve(1).map_err(|_| ProtocolError::OutOfMemory)?;
        self.args.push(arg);
        Ok(())
    }

    fn check_limit(&self, under_way: usize) -> Result<(), ProtocolError> {
        if self.held.saturating_add(under_way) > self.limits.held_max() {
            return Err(ProtocolError::QueryBufferLimit);
        }
        Ok(())
    }

    /// Room in `bulk` up to `end`, of `len` in all.
    fn reserve(&mut self, end: usize, len: usize) -> Result<(), ProtocolError> {
        self.check_limit(end)?;
        if self.bulk.capacity() < end {
            let target = end.max(self.filled.saturating_mul(2)).max(FIRST_STEP).min(len);
            self.bulk.try_reserve_exact(target - self.bulk.len()).map_err(|_| ProtocolError::OutOfMemory)?;
        }
        Ok(())
    }
}
