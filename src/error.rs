//! The errors that commands answer. The variants *are* Redis' error lines.

use std::borrow::Cow;

/// Why a command was refused. `Err` from a handler means that nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// `ERR syntax error`
    Syntax,
    /// `WRONGTYPE …`
    WrongType,
    /// `ERR value is not an integer or out of range`
    NotInteger,
    /// `ERR value is not a valid float`
    NotFloat,
    /// `ERR value is out of range`
    OutOfRange,
    /// `ERR value is out of range, must be positive`
    MustBePositive,
    /// `ERR index out of range`
    IndexOutOfRange,
    /// `ERR no such key`
    NoSuchKey,
    /// `ERR source and destination objects are the same`
    SameObject,
    /// `ERR DB index is out of range`
    DbIndex,
    /// `ERR increment or decrement would overflow`
    IncrOverflow,
    /// `ERR string exceeds maximum allowed size (proto-max-bulk-len)`
    StringTooLong,
    /// `ERR bit offset is not an integer or out of range`
    BitOffset,
    /// `ERR invalid expire time in '<command>' command`
    InvalidExpire(&'static str),
    /// `ERR wrong number of arguments for '<command>' command`; subcommands as `a|b`.
    Arity(Cow<'static, str>),
    /// `OOM command not allowed …`
    OutOfMemory,
    /// A fixed line, code included (`ERR …`).
    Line(&'static str),
    /// A composed line, code included. The reply writer removes control characters.
    Text(Box<str>),
    /// A composed line that quotes a client's bytes, which need not be UTF-8.
    Bytes(Box<[u8]>),
}

impl Error {
    /// A composed error line, code included.
    pub fn text(line: impl Into<Box<str>>) -> Error {
        Error::Text(line.into())
    }

    /// A line around a client's bytes, which end where Redis' formats end them: at a NUL.
    pub fn quoting(before: &str, bytes: &[u8], after: &str) -> Error {
        let bytes = &bytes[..memchr::memchr(0, bytes).unwrap_or(bytes.len())];
        Error::Bytes([before.as_bytes(), bytes, after.as_bytes()].concat().into())
    }

    /// The same around two words.
    pub fn quoting_two(before: &str, one: &[u8], between: &str, two: &[u8], after: &str) -> Error {
        let two = &two[..memchr::memchr(0, two).unwrap_or(two.len())];
        let second = Error::quoting("", two, after);
        let first = Error::quoting(before, one, between);
        Error::Bytes([first.bytes(), second.bytes()].concat().into())
    }

    /// The answer of a command whose part of the server is not there yet.
    pub fn not_built(what: &str) -> Error {
        Error::text(format!("ERR '{what}' is not built yet in this version of tandem"))
    }

    /// The whole line as it is sent, without the leading `-`.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Error::Bytes(line) => Cow::Borrowed(line),
            other => match other.line() {
                Cow::Borrowed(line) => Cow::Borrowed(line.as_bytes()),
                Cow::Owned(line) => Cow::Owned(line.into_bytes()),
            },
        }
    }

    /// The whole line without the leading `-`.
    pub fn line(&self) -> Cow<'_, str> {
        match self {
            Error::Syntax => "ERR syntax error".into(),
            Error::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value".into(),
            Error::NotInteger => "ERR value is not an integer or out of range".into(),
            Error::NotFloat => "ERR value is not a valid float".into(),
            Error::OutOfRange => "ERR value is out of range".into(),
            Error::MustBePositive => "ERR value is out of range, must be positive".into(),
            Error::IndexOutOfRange => "ERR index out of range".into(),
            Error::NoSuchKey => "ERR no such key".into(),
            Error::SameObject => "ERR source and destination objects are the same".into(),
            Error::DbIndex => "ERR DB index is out of range".into(),
            Error::IncrOverflow => "ERR increment or decrement would overflow".into(),
            Error::StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)".into(),
            Error::BitOffset => "ERR bit offset is not an integer or out of range".into(),
            Error::InvalidExpire(cmd) => format!("ERR invalid expire time in '{cmd}' command").into(),
            Error::Arity(name) => format!("ERR wrong number of arguments for '{name}' command").into(),
            Error::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.".into(),
            Error::Line(line) => (*line).into(),
            Error::Text(line) => (&**line).into(),
            Error::Bytes(line) => String::from_utf8_lossy(line),
        }
    }

    /// The first word, under which `INFO errorstats` counts it.
    pub fn code(&self) -> Cow<'_, str> {
        match self.line() {
            Cow::Borrowed(line) => line.split(' ').next().unwrap_or("ERR").into(),
            Cow::Owned(line) => line.split(' ').next().unwrap_or("ERR").to_owned().into(),
        }
    }
}

impl From<crate::keyspace::OutOfSpace> for Error {
    fn from(_: crate::keyspace::OutOfSpace) -> Error {
        Error::OutOfMemory
    }
}
