//! Lengths and strings on their way out.
//!
//! ```text
//! 00nnnnnn                    a length of 6 bits
//! 01nnnnnn nnnnnnnn           of 14 bits, high bits first
//! 10000000 n×4, 10000001 n×8  of 32 and 64 bits, big endian
//! 110000xx                    a string that is an integer of 8, 16, 32 bits, little endian
//! 11000011 packed length      a compressed string: both lengths, then the packed bytes
//! ```

use super::lzf;
use crate::values::packed::integer;

/// First byte of a 32-bit length.
pub const LENGTH_32: u8 = 0x80;
/// First byte of a 64-bit length.
pub const LENGTH_64: u8 = 0x81;
/// First byte of a string that is an integer: plus 0, 1, 2 for 8, 16, 32 bits.
pub const INTEGER: u8 = 0xC0;
/// First byte of a compressed string.
pub const COMPRESSED: u8 = 0xC3;

/// Strings up to this length are not compressed.
const COMPRESS_ABOVE: usize = 20;
/// Longest text of a 32-bit integer.
const INTEGER_TEXT_MAX: usize = 11;

/// Collects what is written.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    compress: bool,
}

impl Writer {
    /// An empty one; `compress`: long strings are compressed.
    pub fn new(compress: bool) -> Writer {
        Writer { out: Vec::new(), compress }
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// One byte.
    pub fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    /// A length or another number in the form of lengths.
    pub fn length(&mut self, n: u64) {
        match n {
            0..0x40 => self.byte(n as u8),
            0x40..0x4000 => self.raw(&(0x4000 | n as u16).to_be_bytes()),
            0x4000..=0xFFFF_FFFF => {
                self.byte(LENGTH_32);
                self.raw(&(n as u32).to_be_bytes());
            }
            _ => {
                self.byte(LENGTH_64);
                self.raw(&n.to_be_bytes());
            }
        }
    }

    /// The number of things that follow.
    pub fn count(&mut self, n: usize) {
        self.length(n as u64);
    }

    /// A time in milliseconds, or another number of eight bytes.
    pub fn fixed(&mut self, n: u64) {
        self.raw(&n.to_le_bytes());
    }

    /// A string: as an integer, compressed, or as it is.
    pub fn string(&mut self, bytes: &[u8]) {
        if bytes.len() <= INTEGER_TEXT_MAX
            && let Some(n) = integer::parse(bytes).and_then(|n| i32::try_from(n).ok())
        {
            return self.integer(n);
        }
        if self.compress
            && bytes.len() > COMPRESS_ABOVE
            && let Some(small) = lzf::compress(bytes, bytes.len() - 4)
        {
            self.byte(COMPRESSED);
            self.count(small.len());
            self.count(bytes.len());
            return self.raw(&small);
        }
        self.count(bytes.len());
        self.raw(bytes);
    }

    fn integer(&mut self, n: i32) {
        if let Ok(n) = i8::try_from(n) {
            self.byte(INTEGER);
            self.raw(&n.to_le_bytes());
        } else if let Ok(n) = i16::try_from(n) {
            self.byte(INTEGER + 1);
            self.raw(&n.to_le_bytes());
        } else {
            self.byte(INTEGER + 2);
            self.raw(&n.to_le_bytes());
        }
    }
}
