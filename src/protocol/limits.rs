//! What a client may send before it is refused, and the words of the refusal.

use std::borrow::Cow;

/// An inline command or a length line may be this long, its line feed not counted.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Bulk strings of this size and more are received straight into the allocation of the value.
pub const LARGE_BULK: usize = 32 * 1024;
/// Arguments of one request; more is an invalid multibulk length.
pub const ARGS_MAX: u32 = 1024 * 1024;
/// Arguments of one request before AUTH.
pub const UNAUTHENTICATED_ARGS_MAX: u32 = 10;
/// Bytes of one argument before AUTH.
pub const UNAUTHENTICATED_BULK_MAX: u64 = 16384;
/// Offsets in a read buffer have 31 bits, so no setting can allow a larger one.
pub const QUERY_BUFFER_MAX: usize = (1 << 31) - 1;

/// Limits in force for one connection, checked before memory is reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `proto-max-bulk-len`: bytes of one argument.
    pub bulk_len_max: u64,
    /// Arguments of one request.
    pub args_max: u32,
    /// `client-query-buffer-limit`: bytes held for one unfinished request.
    pub query_buffer_max: usize,
    /// Bytes of an inline command or of a length line.
    pub line_bytes_max: usize,
    /// Whether the client has the right to send large requests. While it has not, one
    /// request is parsed at a time, so that an AUTH takes effect for the next one.
    pub authenticated: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            bulk_len_max: 512 * 1024 * 1024,
            args_max: ARGS_MAX,
            query_buffer_max: 1024 * 1024 * 1024,
            line_bytes_max: LINE_BYTES_MAX,
            authenticated: true,
        }
    }
}

impl Limits {
    /// Bytes of an unfinished request, whatever was configured.
    #[inline]
    pub(crate) fn held_max(&self) -> usize {
        self.query_buffer_max.min(QUERY_BUFFER_MAX)
    }
}

/// Why a connection is closed. All of them are final: what follows in the stream has no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// `*n` is no number in its range.
    #[error("invalid multibulk length")]
    InvalidMultibulkLength,
    /// `$n` is no number in its range.
    #[error("invalid bulk length")]
    InvalidBulkLength,
    /// Too many arguments before AUTH.
    #[error("unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// Too large an argument before AUTH.
    #[error("unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// The line after `*` does not end.
    #[error("too big mbulk count string")]
    TooBigMultibulkCount,
    /// The line after `$` does not end.
    #[error("too big bulk count string")]
    TooBigBulkCount,
    /// An inline command does not end.
    #[error("too big inline request")]
    TooBigInline,
    /// An argument does not begin with `$` but with this byte.
    #[error("expected '$', got '{}'", char::from(*.0))]
    ExpectedDollar(u8),
    /// A quoted word of an inline command does not end, or goes on after its end.
    #[error("unbalanced quotes in request")]
    UnbalancedQuotes,
    /// The two bytes after an argument or a length are not CR LF.
    #[error("invalid CRLF in request")]
    InvalidCrlf,
    /// The first line looks like HTTP: somebody makes a browser send commands.
    #[error("possible SECURITY ATTACK: POST or Host: is no command")]
    SecurityAttack,
    /// More bytes of an unfinished request than `client-query-buffer-limit`.
    #[error("client reached the query buffer limit")]
    QueryBufferLimit,
    /// The allocator refused memory for an argument.
    #[error("no memory for the request")]
    OutOfMemory,
}

impl ProtocolError {
    /// The error to send before closing, without `-` and CR LF; `None` closes without a word.
    /// May hold a control byte that the client sent: [`crate::protocol::Reply::error`] cleans it.
    pub fn reply(self) -> Option<Cow<'static, [u8]>> {
        let text: &'static str = match self {
            ProtocolError::InvalidMultibulkLength => "ERR Protocol error: invalid multibulk length",
            ProtocolError::InvalidBulkLength => "ERR Protocol error: invalid bulk length",
            ProtocolError::UnauthenticatedMultibulkLength => {
                "ERR Protocol error: unauthenticated multibulk length"
            }
            ProtocolError::UnauthenticatedBulkLength => "ERR Protocol error: unauthenticated bulk length",
            ProtocolError::TooBigMultibulkCount => "ERR Protocol error: too big mbulk count string",
            ProtocolError::TooBigBulkCount => "ERR Protocol error: too big bulk count string",
            ProtocolError::TooBigInline => "ERR Protocol error: too big inline request",
            ProtocolError::UnbalancedQuotes => "ERR Protocol error: unbalanced quotes in request",
            ProtocolError::InvalidCrlf => "ERR Protocol error: invalid CRLF in request",
            ProtocolError::ExpectedDollar(byte) => {
                let mut text = b"ERR Protocol error: expected '$', got '".to_vec();
                text.extend_from_slice(&[byte, b'\'']);
                return Some(Cow::Owned(text));
            }
            ProtocolError::SecurityAttack | ProtocolError::QueryBufferLimit | ProtocolError::OutOfMemory => {
                return None;
            }
        };
        Some(Cow::Borrowed(text.as_bytes()))
    }
}
