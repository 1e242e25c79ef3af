//! Values as bytes, in the format of Redis' RDB files: what DUMP and RESTORE exchange.
//!
//! ```text
//! kind     the numbers of the forms
//! write    lengths and strings out          read     the same in, bounded
//! encode   a value out                      decode   a value of any form in
//! stream   streams, both ways               old      ziplist and zipmap, in only
//! lzf      compression of strings           payload  a value with version and checksum
//! ```
//!
//! What is written is version 11, as Redis 7.2 writes it; only a hash with deadlines of
//! fields is written as Redis 7.4 does, in version 12, which older servers refuse by its
//! number. What is read is everything up to Redis 8 and Valkey 9, modules left out.
//!
//! Architecture invariant: bytes from outside are decoded once, by the very code that makes
//! the value; no length from them reserves memory before it was compared with the bytes that
//! are there. Bad bytes are an [`Error`] with the place and the reason, never a panic.

mod decode;
mod encode;
mod fuzz;
mod kind;
mod lzf;
mod old;
mod payload;
mod read;
mod stream;
mod write;

pub use decode::{Limits, Restored, decode};
pub use encode::{Plain, encode};
pub use fuzz::fuzz_one;
pub use payload::{dump, restore};
pub use read::Reader;
pub use write::Writer;

/// The version that is written.
pub const VERSION: u16 = 11;
/// The version that hashes with deadlines of fields need.
pub const VERSION_FIELD_DEADLINES: u16 = 12;
/// Newest version of Redis whose forms are known.
const VERSION_REDIS_MAX: u16 = 12;
/// Versions of Valkey that left Redis' numbering; their form 22 is one of their own.
const VERSIONS_VALKEY: std::ops::RangeInclusive<u16> = 80..=80;

/// Why bytes are not a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A payload without a footer, of an unknown version, or changed on its way.
    #[error("the footer is missing, of an unknown version, or its checksum is wrong")]
    Footer,
    /// Something in the value is not as it must be.
    #[error("{what}, before byte {at}")]
    Value {
        /// Where reading had come to.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// What is wrong, before it is known where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bad(pub(crate) &'static str);

impl From<crate::values::packed::Corrupt> for Bad {
    fn from(_: crate::values::packed::Corrupt) -> Bad {
        Bad("a packed value is malformed")
    }
}

#[cfg(test)]
mod tests;
