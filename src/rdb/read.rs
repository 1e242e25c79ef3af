//! Lengths and strings on their way in. The forms are in [`write`](super::write).

use std::borrow::Cow;

use super::Bad;
use super::lzf;
use super::write::{COMPRESSED, INTEGER, LENGTH_32, LENGTH_64};

/// A cursor over bytes from outside.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    version: u16,
}

type Result<T> = std::result::Result<T, Bad>;

const CUT_OFF: Bad = Bad("the bytes end too early");

impl<'a> Reader<'a> {
    /// A cursor at the beginning of `bytes`, which a server of this RDB version wrote.
    pub fn new(bytes: &'a [u8], version: u16) -> Reader<'a> {
        Reader { bytes, at: 0, version }
    }

    /// The version of the writer.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// How far it has come.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(n).ok_or(CUT_OFF)?;
        let taken = self.bytes.get(self.at..end).ok_or(CUT_OFF)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.first_chunk().copied().ok_or(CUT_OFF)
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8> {
        self.array::<1>().map(|[b]| b)
    }

    /// A number of eight bytes.
    pub fn fixed(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A double of eight bytes.
    pub fn double(&mut self) -> Result<f64> {
        self.array().map(f64::from_le_bytes)
    }

    /// Sixteen bytes.
    pub fn sixteen(&mut self) -> Result<[u8; 16]> {
        self.array()
    }

    /// A number in the form of lengths.
    pub fn length(&mut self) -> Result<u64> {
        let first = self.byte()?;
        self.length_of(first)
    }

    fn length_of(&mut self, first: u8) -> Result<u64> {
        match first {
            0..0x40 => Ok(u64::from(first)),
            0x40..0x80 => Ok(u64::from(first & 0x3F) << 8 | u64::from(self.byte()?)),
            LENGTH_32 => Ok(u64::from(u32::from_be_bytes(self.array()?))),
            LENGTH_64 => Ok(u64::from_be_bytes(self.array()?)),
            _ => Err(Bad("a length of an unknown form")),
        }
    }

    /// A number of things that follow, each of which takes at least `least` bytes.
    pub fn count(&mut self, least: usize) -> Result<usize> {
        let n = usize::try_from(self.length()?).map_err(|_| CUT_OFF)?;
        if n.checked_mul(least.max(1)).is_none_or(|bytes| bytes > self.left()) {
            return Err(Bad("more elements are announced than there are bytes"));
        }
        Ok(n)
    }

    /// The same where there must be one.
    pub fn count_of_some(&mut self, least: usize) -> Result<usize> {
        match self.count(least)? {
            0 => Err(Bad("an empty collection")),
            n => Ok(n),
        }
    }

    /// A string, of any length that its bytes can make: settings that bound what clients send are not for what
    /// is there already.
    pub fn string(&mut self) -> Result<Cow<'a, [u8]>> {
        const SIXTEEN: u8 = INTEGER + 1;
        const THIRTY_TWO: u8 = INTEGER + 2;
        let text = |n: i32| Cow::Owned(itoa::Buffer::new().format(n).as_bytes().to_vec());
        match self.byte()? {
            INTEGER => Ok(text(i32::from(i8::from_le_bytes(self.array()?)))),
            SIXTEEN => Ok(text(i32::from(i16::from_le_bytes(self.array()?)))),
            THIRTY_TWO => Ok(text(i32::from_le_bytes(self.array()?))),
            COMPRESSED => {
                let packed = usize::try_from(self.length()?).map_err(|_| CUT_OFF)?;
                let len = usize::try_from(self.length()?).map_err(|_| CUT_OFF)?;
                let packed = self.take(packed)?;
                lzf::decompress(packed, len).map(Cow::Owned).ok_or(Bad("a compressed string is malformed"))
            }
            first => {
                let len = usize::try_from(self.length_of(first)?).map_err(|_| CUT_OFF)?;
                self.take(len).map(Cow::Borrowed)
            }
        }
    }
}
