//! One listpack element.
//!
//! ```text
//! first byte   meaning                         bytes before the back length
//! 0xxxxxxx     integer 0..=127                 1
//! 10xxxxxx     string of up to 63 bytes        1 + n
//! 110xxxxx     integer of 13 bits, signed      2, high bits first
//! 1110xxxx     string of up to 4,095 bytes     2 + n, high bits first
//! 0xF0         string of up to 2^32-1 bytes    5 + n, little endian
//! 0xF1..=0xF4  integer of 16, 24, 32, 64 bits  3, 4, 5, 9, little endian
//! 0xFF         end of the listpack
//! ```
//!
//! Behind it stands its length once more (without itself), in groups of seven
//! bits, to be read from right to left: the lowest group comes last, and every
//! group except the first in memory carries the top bit.

use super::integer;

/// The byte behind the last element.
pub const END: u8 = 0xFF;

const STR6: u8 = 0x80;
const INT13: u8 = 0xC0;
const STR12: u8 = 0xE0;
const STR32: u8 = 0xF0;
const INT16: u8 = 0xF1;
const INT24: u8 = 0xF2;
const INT32: u8 = 0xF3;
const INT64: u8 = 0xF4;

/// An element as it is stored: what looks like an integer is one.
#[derive(Clone, Copy, Debug)]
pub enum Elem<'a> {
    /// An integer; its text is the canonical decimal.
    Int(i64),
    /// Any other string.
    Bytes(&'a [u8]),
}

impl<'a> Elem<'a> {
    /// The element as it would be stored.
    #[inline]
    pub fn of(bytes: &'a [u8]) -> Self {
        match integer::parse(bytes) {
            Some(n) => Elem::Int(n),
            None => Elem::Bytes(bytes),
        }
    }

    /// Number of bytes of the text. (Named so as an element is never "empty" in
    /// the sense of a collection.)
    pub fn text_len(&self) -> usize {
        match *self {
            Elem::Int(n) => integer::text_len(n),
            Elem::Bytes(b) => b.len(),
        }
    }

    /// The text; integers are spelled into `buffer`.
    #[inline]
    pub fn text<'b>(&self, buffer: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Elem::Int(n) => buffer.format(n).as_bytes(),
            Elem::Bytes(b) => b,
        }
    }

    /// The text in a vector of its own.
    pub fn to_vec(&self) -> Vec<u8> {
        self.text(&mut itoa::Buffer::new()).to_vec()
    }

    /// The integer, also where the text was stored as a string.
    #[inline]
    pub fn as_int(&self) -> Option<i64> {
        match *self {
            Elem::Int(n) => Some(n),
            Elem::Bytes(b) => integer::parse(b),
        }
    }
}

impl PartialEq for Elem<'_> {
    /// Equal if the texts are, whichever way they are stored.
    #[inline]
    fn eq(&self, other: &Elem<'_>) -> bool {
        match (*self, *other) {
            (Elem::Bytes(a), Elem::Bytes(b)) => a == b,
            (Elem::Int(a), Elem::Int(b)) => a == b,
            (Elem::Int(n), Elem::Bytes(b)) | (Elem::Bytes(b), Elem::Int(n)) => integer::parse(b) == Some(n),
        }
    }
}

impl Eq for Elem<'_> {}

impl PartialEq<[u8]> for Elem<'_> {
    fn eq(&self, other: &[u8]) -> bool {
        *self == Elem::Bytes(other)
    }
}

/// An element ready to be written: header (or whole integer), body, back length.
pub struct Encoded<'a> {
    head: [u8; 9],
    head_len: u8,
    back: [u8; 5],
    back_len: u8,
    body: &'a [u8],
}

impl<'a> Encoded<'a> {
    /// Encodes `elem` in the shortest form.
    ///
    /// # Panics
    /// On strings of 4 GiB and more; [`super::listpack::BYTES_MAX`] stands before that.
    #[inline]
    pub fn new(elem: Elem<'a>) -> Self {
        let mut e = Encoded { head: [0; 9], head_len: 0, back: [0; 5], back_len: 0, body: &[] };
        match elem {
            Elem::Int(n) => e.integer(n),
            Elem::Bytes(b) => e.string(b),
        }
        e.back_len = back_write(e.head_len as usize + e.body.len(), &mut e.back);
        e
    }

    fn integer(&mut self, n: i64) {
        let (code, bytes) = match n {
            0..=127 => {
                self.head[0] = n as u8;
                self.head_len = 1;
                return;
            }
            -4096..=4095 => {
                let bits = (n & 0x1FFF) as u16;
                self.head[0] = INT13 | (bits >> 8) as u8;
                self.head[1] = bits as u8;
                self.head_len = 2;
                return;
            }
            -0x8000..=0x7FFF => (INT16, 2),
            -0x80_0000..=0x7F_FFFF => (INT24, 3),
            -0x8000_0000..=0x7FFF_FFFF => (INT32, 4),
            _ => (INT64, 8),
        };
        self.head[0] = code;
        self.head[1..].copy_from_slice(&n.to_le_bytes());
        self.head_len = 1 + bytes;
    }

    fn string(&mut self, body: &'a [u8]) {
        self.body = body;
        let len = u32::try_from(body.len()).expect("invariant: listpack elements are limited before");
        self.head_len = match len {
            0..=63 => {
                self.head[0] = STR6 | len as u8;
                1
            }
            64..=4095 => {
                self.head[0] = STR12 | (len >> 8) as u8;
                self.head[1] = len as u8;
                2
            }
            _ => {
                self.head[0] = STR32;
                self.head[1..5].copy_from_slice(&len.to_le_bytes());
                5
            }
        };
    }

    /// Bytes that it takes in a listpack, back length included.
    #[inline]
    pub fn span(&self) -> usize {
        self.head_len as usize + self.body.len() + self.back_len as usize
    }

    /// Its first byte.
    #[inline(always)]
    pub fn first(&self) -> u8 {
        self.head[0]
    }

    /// Whether `bytes` begin with this element, whose first byte they have.
    #[inline]
    pub fn begins(&self, bytes: &[u8]) -> bool {
        let head = self.head_len as usize;
        // Members of one set are often of one length and differ at the end.
        let last = self.body.len().checked_sub(1);
        (head == 1 || bytes.get(..head) == Some(&self.head[..head]))
            && last.is_none_or(|last| bytes.get(head + last) == Some(&self.body[last]))
            && bytes.get(head..head + self.body.len()) == Some(self.body)
    }

    /// Writes it to the beginning of `out`, which holds at least [`Self::span`] bytes.
    #[inline]
    pub fn write(&self, out: &mut [u8]) {
        let (head, out) = out.split_at_mut(self.head_len as usize);
        copy(&self.head[..self.head_len as usize], head);
        let (body, out) = out.split_at_mut(self.body.len());
        body.copy_from_slice(self.body);
        copy(&self.back[..self.back_len as usize], &mut out[..self.back_len as usize]);
    }
}

/// Copies a few bytes, nearly always one: to call for that takes longer.
#[inline(always)]
fn copy(from: &[u8], to: &mut [u8]) {
    match (from, &mut *to) {
        ([byte], [place]) => *place = *byte,
        _ => to.copy_from_slice(from),
    }
}

/// Upper bound for the bytes that a string of `len` bytes takes in a listpack.
pub const fn span_max(len: usize) -> usize {
    len.saturating_add(10)
}

/// Reads the element at the beginning of `b`; also its length without the back
/// length. `None` if it is cut off, spelled longer than need be, or no element.
#[inline]
pub fn decode(b: &[u8]) -> Option<(Elem<'_>, usize)> {
    let (&first, rest) = b.split_first()?;
    let string = |header: usize, len: usize| {
        let end = header.checked_add(len)?;
        Some((Elem::Bytes(b.get(header..end)?), end))
    };
    match first {
        0..STR6 => Some((Elem::Int(i64::from(first)), 1)),
        STR6..INT13 => string(1, usize::from(first & 0x3F)),
        INT13..STR12 => {
            let bits = u16::from(first & 0x1F) << 8 | u16::from(*rest.first()?);
            Some((Elem::Int(i64::from((bits << 3) as i16 >> 3)), 2))
        }
        STR12..STR32 => {
            let len = usize::from(first & 0x0F) << 8 | usize::from(*rest.first()?);
            if len < 64 { None } else { string(2, len) }
        }
        STR32 => {
            let len = u32::from_le_bytes(*rest.first_chunk()?) as usize;
            if len < 4096 { None } else { string(5, len) }
        }
        INT16 => Some((Elem::Int(i64::from(i16::from_le_bytes(*rest.first_chunk()?))), 3)),
        INT24 => {
            let [a, b, c] = *rest.first_chunk()?;
            Some((Elem::Int(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8)), 4))
        }
        INT32 => Some((Elem::Int(i64::from(i32::from_le_bytes(*rest.first_chunk()?))), 5)),
        INT64 => Some((Elem::Int(i64::from_le_bytes(*rest.first_chunk()?)), 9)),
        _ => None,
    }
}

/// The text of the element at `pos` if that is a string of up to 63 bytes, as nearly all are. It takes one byte more.
#[inline(always)]
pub fn short_at(b: &[u8], pos: usize) -> Option<&[u8]> {
    let first = b[pos];
    if first & 0xC0 == STR6 { b.get(pos + 1..pos + 1 + usize::from(first & 0x3F)) } else { None }
}

/// The length without the back length, without looking at the body. Nearly all are short.
#[inline(always)]
pub fn len_at(b: &[u8]) -> usize {
    match b[0] {
        0..STR6 => 1,
        first @ STR6..INT13 => 1 + usize::from(first & 0x3F),
        INT13..STR12 => 2,
        _ => long_len_at(b),
    }
}

#[inline(never)]
fn long_len_at(b: &[u8]) -> usize {
    match b[0] {
        STR12..STR32 => 2 + (usize::from(b[0] & 0x0F) << 8 | usize::from(b[1])),
        STR32 => 5 + u32::from_le_bytes([b[1], b[2], b[3], b[4]]) as usize,
        INT16 => 3,
        INT24 => 4,
        INT32 => 5,
        INT64 => 9,
        _ => unreachable!("invariant: a listpack is validated before it is walked"),
    }
}

/// The length with the back length: all that a walk over elements needs.
#[inline(always)]
pub fn span_at(b: &[u8]) -> usize {
    match b[0] {
        0..STR6 => 2,
        first @ STR6..INT13 => 2 + usize::from(first & 0x3F),
        INT13..STR12 => 3,
        _ => long_span_at(b),
    }
}

/// The position behind the element at `pos` of a listpack, in which back lengths stand or not; None at its end.
#[inline(always)]
pub fn behind<const BACK: bool>(b: &[u8], pos: usize) -> Option<usize> {
    let len = match *b.get(pos)? {
        0..STR6 => 1,
        first @ STR6..INT13 => 1 + usize::from(first & 0x3F),
        INT13..STR12 => 2,
        END => return None,
        _ if BACK => return Some(pos + long_span_at(&b[pos..])),
        _ => return Some(pos + long_len_at(&b[pos..])),
    };
    Some(pos + len + usize::from(BACK))
}

#[inline(never)]
fn long_span_at(b: &[u8]) -> usize {
    let len = long_len_at(b);
    len + back_len(len)
}

/// Bytes that the back length of an element of `len` bytes takes.
#[inline]
pub const fn back_len(len: usize) -> usize {
    match len {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5,
    }
}

/// Writes the back length of an element of `len` bytes; the bytes that it takes.
pub(super) fn back_write(len: usize, out: &mut [u8; 5]) -> u8 {
    let n = back_len(len);
    for (i, byte) in out[..n].iter_mut().rev().enumerate() {
        *byte = (len >> (7 * i) & 0x7F) as u8 | 0x80;
    }
    out[0] &= 0x7F;
    n as u8
}

/// Reads the back length that ends right before the end of `b`: the length of the
/// element and of the back length itself.
#[inline]
pub fn back_read(b: &[u8]) -> Option<(usize, usize)> {
    let mut len = 0usize;
    for (i, byte) in b.iter().rev().take(5).enumerate() {
        len |= usize::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((len, i + 1));
        }
    }
    None
}
