//! Decimal integers as the protocol writes them: one form per number.
//!
//! `str::parse` takes `+1` and `01`; a peer that takes what another refuses can be made
//! to see different requests in one stream, so nothing here is lenient.

/// Up to eight bytes as a little-endian word, the first one lowest, and zeros behind the last one. Reads that
/// overlap instead of a copy of so many bytes. None for none and for more.
#[inline(always)]
pub fn word_of(bytes: &[u8]) -> Option<u64> {
    let n = bytes.len();
    if let (Some(front), Some(back)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        if n > 8 {
            return None;
        }
        let (front, back) = (u32::from_le_bytes(*front), u32::from_le_bytes(*back));
        Some(u64::from(front) | u64::from(back) << (8 * (n - 4)))
    } else if n > 0 {
        let byte = |i: usize| u64::from(bytes[i]) << (8 * i);
        Some(byte(0) | byte(n / 2) | byte(n - 1))
    } else {
        None
    }
}

/// A signed integer without sign `+`, leading zeros, spaces or `-0`.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    short_number(text).or_else(|| any_number(text))
}

/// One of up to eight digits, all at once: nearly all of them. None for any other.
#[inline(always)]
fn short_number(text: &[u8]) -> Option<i64> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // Behind the last digit there are zeros, and the digits go to the upper end: leading zeros then.
    let word = word_of(text)? << (8 * (8 - text.len()));
    let zeros = 0x3030_3030_3030_3030 << (8 * (8 - text.len()));
    let digits = word ^ zeros;
    // A byte above 9 sets the highest bit of its place, itself or by the sum.
    let strange = (digits.wrapping_add(EACH * 0x76) | digits) & (EACH * 0x80);
    if strange != 0 || (text[0] == b'0' && text.len() > 1) {
        return None;
    }
    // Neighbours are joined: ones to tens, pairs to hundreds, fours to the whole.
    let pairs = (digits * 10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    let all = (fours * 10_000).wrapping_add(fours >> 32) & 0xffff_ffff;
    i64::try_from(all).ok()
}

#[inline(never)]
fn any_number(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    if digits.len() > 19 {
        return None;
    }
    let mut value: u64 = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // 19 digits stay below 10^19, which fits.
        value = value * 10 + u64::from(digit);
    }
    if negative { 0i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

/// A signed integer as text.
#[derive(Clone, Copy)]
pub struct Digits {
    /// With something behind the digits: whoever copies them copies all, which is no call.
    text: [u8; DIGITS_MAX],
    len: usize,
}

/// Characters of the longest: a sign and 19 digits.
pub const DIGITS_MAX: usize = 20;

impl Digits {
    /// The text of a number.
    #[inline(always)]
    pub fn of(n: i64) -> Digits {
        match u64::try_from(n) {
            Ok(short) if short < 100_000_000 => Self::of_short(short),
            _ => Self::of_any(n),
        }
    }

    /// One of up to eight digits: all of them at once, by products instead of divisions.
    #[inline(always)]
    fn of_short(n: u64) -> Digits {
        // Fours, then pairs, then digits, the first one lowest: each step divides all parts of the word by the same number.
        let fours = (n / 10_000) | ((n % 10_000) << 32);
        let hundreds = fours.wrapping_mul(10_486) >> 20 & 0x7f_0000_007f;
        let pairs = hundreds | fours.wrapping_sub(hundreds.wrapping_mul(100)) << 16;
        let tens = pairs.wrapping_mul(103) >> 10 & 0x000f_000f_000f_000f;
        let digits = tens | pairs.wrapping_sub(tens.wrapping_mul(10)) << 8;
        // The last one stands, also if it is zero.
        let zeros = (digits | 1 << 56).trailing_zeros() / 8;
        let word = (digits | 0x3030_3030_3030_3030) >> (8 * zeros);
        let mut text = [0; DIGITS_MAX];
        text[..8].copy_from_slice(&word.to_le_bytes());
        Digits { text, len: 8_usize.wrapping_sub(usize::try_from(zeros).unwrap_or(0)) }
    }

    #[inline(never)]
    fn of_any(n: i64) -> Digits {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(n).as_bytes();
        let mut text = [0; DIGITS_MAX];
        text[..digits.len()].copy_from_slice(digits);
        Digits { text, len: digits.len() }
    }

    /// The text.
    #[inline(always)]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }

    /// The text, and something behind it.
    #[inline(always)]
    pub fn padded(&self) -> &[u8; DIGITS_MAX] {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn the_short_way_is_the_long_one(text in proptest::collection::vec(proptest::sample::select(b"0123456789-+ a/:\xb1".to_vec()), 0..10)) {
            if let Some(n) = short_number(&text) {
                proptest::prop_assert_eq!(any_number(&text), Some(n));
            } else if (1..=8).contains(&text.len()) {
                proptest::prop_assert!(any_number(&text).is_none_or(|n| n < 0), "{:?}", text);
            }
        }

        #[test]
        fn every_short_number_is_read(n in 0..100_000_000_i64, digits in 0..9_u32) {
            let n = n % 10_i64.pow(digits);
            proptest::prop_assert_eq!(short_number(n.to_string().as_bytes()), Some(n));
        }
    }

    proptest::proptest! {
        #[test]
        fn digits_are_those_of_the_number(n in proptest::num::i64::ANY, digits in 0..20_u32) {
            let n = if digits < 19 { n % 10_i64.pow(digits) } else { n };
            proptest::prop_assert_eq!(Digits::of(n).as_bytes().to_vec(), n.to_string().into_bytes());
        }
    }

    #[test]
    fn digits_of_numbers_at_the_edges() {
        let powers = (0..19).map(|e| 10_i64.pow(e));
        for n in powers.flat_map(|p| [p - 1, p, p + 1, -p]).chain([i64::MIN, i64::MAX]).chain(0..20_000) {
            assert_eq!(Digits::of(n).as_bytes(), n.to_string().as_bytes());
        }
    }

    #[test]
    fn one_form_per_number() {
        for good in [0, 1, 9, 10, -1, -10, 16384, i64::MAX, i64::MIN, i64::MAX - 1] {
            assert_eq!(parse_i64(good.to_string().as_bytes()), Some(good));
        }
        for bad in [
            "",
            "-",
            "+1",
            "01",
            "00",
            "-0",
            "-01",
            " 1",
            "1 ",
            "1a",
            "a",
            "0x1",
            "--1",
            "1\0",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "99999999999999999999",
        ] {
            assert_eq!(parse_i64(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
