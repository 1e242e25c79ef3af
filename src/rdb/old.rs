//! Ziplists and zipmaps, which Redis wrote before it had listpacks. Only read.
//!
//! ```text
//! ziplist   total u32, offset of the last u32, count u16, entries, 0xFF     little endian
//! entry     length of the entry before (1 byte, or 0xFE and 4), encoding, body
//! zipmap    count u8, pairs, 0xFF
//! pair      length (1 byte, or 0xFE and 4), field, length, unused u8, value, unused bytes
//! ```
//!
//! Both are decoded once, while they are checked: the elements come from the same walk.

use super::Bad;
use crate::values::packed::{Elem, Listpack};

type Result<T> = std::result::Result<T, Bad>;

const BAD_ZIPLIST: Bad = Bad("a ziplist is malformed");
const BAD_ZIPMAP: Bad = Bad("a zipmap is malformed");

const HEADER: usize = 10;
const END: u8 = 0xFF;
/// A length of four bytes follows.
const LONG: u8 = 0xFE;
const COUNT_UNKNOWN: usize = u16::MAX as usize;

/// The elements of a checked ziplist.
pub struct Ziplist<'a>(Vec<Elem<'a>>);

impl<'a> Ziplist<'a> {
    /// Decodes all of it.
    pub fn check(bytes: &'a [u8]) -> Result<Ziplist<'a>> {
        let word = |at: usize| {
            let four: Option<&[u8; 4]> = bytes.get(at..).and_then(|b| b.first_chunk());
            four.map(|b| u32::from_le_bytes(*b) as usize).ok_or(BAD_ZIPLIST)
        };
        let (total, tail) = (word(0)?, word(4)?);
        let count = bytes.get(8..).and_then(|b| b.first_chunk::<2>()).ok_or(BAD_ZIPLIST)?;
        let count = usize::from(u16::from_le_bytes(*count));
        if total != bytes.len() || total <= HEADER || bytes.last() != Some(&END) {
            return Err(BAD_ZIPLIST);
        }
        let mut elems = Vec::new();
        let (mut at, mut before, mut last) = (HEADER, 0, HEADER);
        let end = total - 1;
        while at < end {
            let (elem, len) = ziplist_entry(&bytes[at..end], before).ok_or(BAD_ZIPLIST)?;
            elems.push(elem);
            (last, before) = (at, len);
            at += len;
        }
        if tail != last || count != COUNT_UNKNOWN && count != elems.len() {
            return Err(BAD_ZIPLIST);
        }
        Ok(Ziplist(elems))
    }

    /// The elements.
    pub fn elements(self) -> impl Iterator<Item = Elem<'a>> {
        self.0.into_iter()
    }

    /// The same elements as a listpack.
    pub fn to_listpack(&self) -> Listpack {
        let mut pack = Listpack::new();
        let mut buffers: Vec<itoa::Buffer> = Vec::new();
        buffers.resize_with(self.0.len(), itoa::Buffer::new);
        let texts: Vec<&[u8]> = self.0.iter().zip(&mut buffers).map(|(e, b)| e.text(b)).collect();
        pack.extend(texts.iter().map(|t| Elem::of(t)));
        pack
    }
}

/// An entry and the bytes that it takes; the one before took `before`.
fn ziplist_entry(b: &[u8], before: usize) -> Option<(Elem<'_>, usize)> {
    let (&first, rest) = b.split_first()?;
    let (previous, header) = match first {
        END => return None,
        LONG => (u32::from_le_bytes(*rest.first_chunk()?) as usize, 5),
        n => (usize::from(n), 1),
    };
    if previous != before {
        return None;
    }
    let (&code, body) = b.get(header..)?.split_first()?;
    let string = |extra: usize, len: usize| {
        let bytes = body.get(extra..extra.checked_add(len)?)?;
        Some((Elem::Bytes(bytes), header + 1 + extra + len))
    };
    let int = |n: i64, len: usize| Some((Elem::Int(n), header + 1 + len));
    match code {
        0..0x40 => string(0, usize::from(code)),
        0x40..0x80 => string(1, usize::from(code & 0x3F) << 8 | usize::from(*body.first()?)),
        0x80 => string(4, u32::from_be_bytes(*body.first_chunk()?) as usize),
        0xC0 => int(i64::from(i16::from_le_bytes(*body.first_chunk()?)), 2),
        0xD0 => int(i64::from(i32::from_le_bytes(*body.first_chunk()?)), 4),
        0xE0 => int(i64::from_le_bytes(*body.first_chunk()?), 8),
        0xF0 => {
            let [a, b, c] = *body.first_chunk()?;
            int(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8), 3)
        }
        0xFE => int(i64::from(*body.first()? as i8), 1),
        0xF1..=0xFD => int(i64::from(code & 0x0F) - 1, 0),
        _ => None,
    }
}

/// The elements of a checked zipmap: fields and values in turn.
pub struct Zipmap<'a>(Vec<&'a [u8]>);

impl<'a> Zipmap<'a> {
    /// Decodes all of it.
    pub fn check(bytes: &'a [u8]) -> Result<Zipmap<'a>> {
        let (&count, body) = bytes.split_first().ok_or(BAD_ZIPMAP)?;
        let (&END, body) = body.split_last().ok_or(BAD_ZIPMAP)? else {
            return Err(BAD_ZIPMAP);
        };
        let mut elems = Vec::new();
        let mut rest = body;
        while !rest.is_empty() {
            let (field, value, behind) = zipmap_pair(rest).ok_or(BAD_ZIPMAP)?;
            elems.extend([field, value]);
            rest = behind;
        }
        if count < LONG && usize::from(count) != elems.len() / 2 {
            return Err(BAD_ZIPMAP);
        }
        Ok(Zipmap(elems))
    }

    /// Fields and values in turn.
    pub fn elements(self) -> impl Iterator<Item = &'a [u8]> {
        self.0.into_iter()
    }
}

fn zipmap_pair(b: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (len, b) = zipmap_length(b)?;
    let (field, b) = b.split_at_checked(len)?;
    let (len, b) = zipmap_length(b)?;
    let (&unused, b) = b.split_first()?;
    let (value, b) = b.split_at_checked(len)?;
    Some((field, value, b.get(usize::from(unused)..)?))
}

/// A length that is spelled longer than need be is refused: two readers could disagree on it.
fn zipmap_length(b: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = b.split_first()?;
    match first {
        END => None,
        LONG => {
            let (long, rest) = rest.split_first_chunk::<4>()?;
            let len = u32::from_le_bytes(*long) as usize;
            (len >= usize::from(LONG)).then_some((len, rest))
        }
        n => Some((usize::from(n), rest)),
    }
}
