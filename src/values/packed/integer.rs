//! Decimal text that stands for an integer.
//!
//! A packed collection stores "12" as a number and must give back the same bytes,
//! so only the canonical spelling counts: no sign but `-`, no leading zeros, no
//! spaces, within `i64`.

/// Longest canonical spelling: `-9223372036854775808`.
pub const DIGITS_MAX: usize = 20;

/// The integer that `text` spells canonically.
///
/// ```
/// use tandem::values::packed::integer::parse;
/// assert_eq!(parse(b"-12"), Some(-12));
/// assert_eq!(parse(b"012"), None);
/// assert_eq!(parse(b"-0"), None);
/// assert_eq!(parse(b"9223372036854775808"), None);
/// ```
#[inline]
pub fn parse(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [] => return None,
        [b'0'] => return if negative { None } else { Some(0) },
        [b'1'..=b'9', ..] if digits.len() < DIGITS_MAX => {}
        _ => return None,
    }
    // At most 19 digits: no overflow of u64.
    let mut n: u64 = 0;
    for &d in digits {
        let d = d.wrapping_sub(b'0');
        if d > 9 {
            return None;
        }
        n = n * 10 + u64::from(d);
    }
    if negative { 0i64.checked_sub_unsigned(n) } else { i64::try_from(n).ok() }
}

/// Number of bytes of the canonical spelling.
pub const fn text_len(n: i64) -> usize {
    let sign = if n < 0 { 1 } else { 0 };
    match n.unsigned_abs().checked_ilog10() {
        Some(log) => sign + log as usize + 1,
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn edges() {
        for n in [0, 1, -1, 9, 10, -10, i64::MAX, i64::MIN, i64::MAX - 1] {
            assert_eq!(parse(n.to_string().as_bytes()), Some(n));
            assert_eq!(text_len(n), n.to_string().len());
        }
        for bad in [
            "",
            "-",
            "+1",
            "01",
            "-01",
            "-0",
            " 1",
            "1 ",
            "1a",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
            "18446744073709551617",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn accepts_exactly_what_prints_back_the_same(text in "-?[0-9]{0,21}") {
            let expected = text.parse::<i64>().ok().filter(|n| n.to_string() == text);
            prop_assert_eq!(parse(text.as_bytes()), expected);
        }
    }
}
