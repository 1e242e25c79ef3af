//! Numbers as the protocol spells them: one strict function per kind.
//!
//! `str::parse` is more generous than Redis (`+1`, `01`) and less (leading blanks are
//! refused by both), so nothing outside this file and the protocol's parses a client's number.

/// Signed integers are read by the same function as the lengths of the protocol.
pub use crate::protocol::number::parse_i64;

/// A canonical unsigned 64-bit integer.
pub fn parse_u64(s: &[u8]) -> Option<u64> {
    if s.is_empty() || s.len() > 20 || (s[0] == b'0' && s.len() > 1) {
        return None;
    }
    let mut n: u64 = 0;
    for &d in s {
        let d = d.wrapping_sub(b'0');
        if d > 9 {
            return None;
        }
        n = n.checked_mul(10)?.checked_add(u64::from(d))?;
    }
    Some(n)
}

/// A float as Redis reads one: decimal or hexadecimal, `inf` in any case, never NaN, never
/// blanks around it, of less than 5 KiB.
pub fn parse_f64(s: &[u8]) -> Option<f64> {
    if s.is_empty() || s.len() >= 5 * 1024 || s[0].is_ascii_whitespace() {
        return None;
    }
    let text = std::str::from_utf8(s).ok()?;
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let value = if unsigned.len() > 2 && unsigned.as_bytes()[..2].eq_ignore_ascii_case(b"0x") {
        let n = parse_hex_float(&unsigned.as_bytes()[2..])?;
        if text.starts_with('-') { -n } else { n }
    } else {
        let n: f64 = text.parse().ok()?;
        // A decimal that overflows is out of range, not infinite.
        if n.is_infinite() && !unsigned.as_bytes()[0].eq_ignore_ascii_case(&b'i') {
            return None;
        }
        n
    };
    if value.is_nan() { None } else { Some(value) }
}

/// `h.hhh[p±d]` without the prefix.
fn parse_hex_float(s: &[u8]) -> Option<f64> {
    let mut mantissa: u64 = 0;
    let mut exponent: i32 = 0;
    let mut seen_point = false;
    let mut digits = 0usize;
    let mut i = 0;
    while i < s.len() {
        match s[i] {
            b'.' if !seen_point => seen_point = true,
            c if c.is_ascii_hexdigit() => {
                digits += 1;
                let d = (c as char).to_digit(16)?;
                if mantissa >> 60 == 0 {
                    mantissa = mantissa << 4 | u64::from(d);
                    if seen_point {
                        exponent -= 4;
                    }
                } else if !seen_point {
                    exponent += 4;
                }
            }
            b'p' | b'P' => {
                let e = &s[i + 1..];
                let e = e.strip_prefix(b"+").unwrap_or(e);
                let e: i32 = std::str::from_utf8(e).ok()?.parse().ok()?;
                exponent = exponent.checked_add(e)?;
                i = s.len();
                continue;
            }
            _ => return None,
        }
        i += 1;
    }
    if digits == 0 {
        return None;
    }
    Some(mantissa as f64 * 2f64.powi(exponent.clamp(-2000, 2000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_canonical() {
        for (text, want) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("99999999999999999999", None),
            ("+1", None),
            ("01", None),
            ("-0", None),
            ("-", None),
            ("", None),
            (" 1", None),
            ("1 ", None),
            ("1a", None),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), want, "{text:?}");
        }
    }

    #[test]
    fn floats_refuse_nan_blanks_and_overflow() {
        assert_eq!(parse_f64(b"1.5"), Some(1.5));
        assert_eq!(parse_f64(b"-inf"), Some(f64::NEG_INFINITY));
        assert_eq!(parse_f64(b"+Infinity"), Some(f64::INFINITY));
        assert_eq!(parse_f64(b"0x1p4"), Some(16.0));
        assert_eq!(parse_f64(b"0xA"), Some(10.0));
        for bad in ["nan", "-nan", " 1", "1 ", "", "1e400", "0x", "1,5", "1_0"] {
            assert_eq!(parse_f64(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
