//! Doubles as text, in the form that Redis 7.2 sends.
//!
//! | value | text |
//! |---|---|
//! | a whole number within ±2^52 | `3`, `-17`, and `-0` for negative zero |
//! | other whole numbers that need at most seven zeros behind their digits | `9007199254740992`, `12345678901234567000` |
//! | fractions of up to six decimals, or of any number between 0.001 and 10000 | `0.00001`, `0.30000000000000004` |
//! | others | `1e+22`, `1.5e-9`: sign and no leading zeros in the exponent |
//! | not finite | `inf`, `-inf`, `nan` |
//!
//! The digits are the fewest that read back as the same double. Redis 7.2 finds them with
//! Grisu2, which in rare cases (one in a thousand) takes one digit more. Redis 7.0 prints 17
//! significant digits instead (`%.17g`: `3.1000000000000001`); clients that compare text see
//! that difference between 7.0 and 7.2 already.

/// Longest text that [`format_double`] makes.
pub const DOUBLE_BYTES_MAX: usize = 32;

/// Text of a double, on the stack.
#[derive(Debug, Clone, Copy)]
pub struct DoubleText {
    bytes: [u8; DOUBLE_BYTES_MAX],
    len: usize,
}

impl DoubleText {
    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn new() -> Self {
        DoubleText { bytes: [0; DOUBLE_BYTES_MAX], len: 0 }
    }

    fn of(text: &[u8]) -> Self {
        let mut all = DoubleText::new();
        all.push(text);
        all
    }

    fn push(&mut self, text: &[u8]) {
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }

    fn zeros(&mut self, n: usize) {
        self.bytes[self.len..self.len + n].fill(b'0');
        self.len += n;
    }
}

/// Writes `value` as Redis 7.2 does.
pub fn format_double(value: f64) -> DoubleText {
    if value.is_nan() {
        return DoubleText::of(b"nan");
    }
    if value.is_infinite() {
        return DoubleText::of(if value > 0.0 { b"inf" } else { b"-inf" });
    }
    if value == 0.0 {
        return DoubleText::of(if value.is_sign_negative() { b"-0" } else { b"0" });
    }
    if let Some(whole) = as_whole(value) {
        return DoubleText::of(itoa::Buffer::new().format(whole).as_bytes());
    }
    let mut text = DoubleText::new();
    if value < 0.0 {
        text.push(b"-");
    }
    let mut buffer = ryu::Buffer::new();
    let (digits, exponent) = Digits::of(buffer.format_finite(value.abs()).as_bytes());
    place_point(&mut text, digits.as_bytes(), exponent);
    text
}

/// The value as an integer if it is one within ±2^52.
fn as_whole(value: f64) -> Option<i64> {
    const LIMIT: f64 = 4_503_599_627_370_496.0;
    if !(-LIMIT..=LIMIT).contains(&value) {
        return None;
    }
    #[expect(clippy::as_conversions, reason = "within 2^52, where i64 and f64 agree")]
    let (whole, back) = (value as i64, (value as i64) as f64);
    (back == value).then_some(whole)
}

/// Significant digits, without zeros at either end.
struct Digits {
    bytes: [u8; 20],
    len: usize,
}

impl Digits {
    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Digits and the power of ten of the last one, from `12.5`, `1e21` or `1.5e-9`.
    fn of(text: &[u8]) -> (Digits, i32) {
        let mut digits = Digits { bytes: [0; 20], len: 0 };
        let mut exponent = 0i32;
        let mut after_point = false;
        let mut rest = text;
        while let [byte, tail @ ..] = rest {
            rest = tail;
            match byte {
                b'.' => after_point = true,
                b'e' => {
                    exponent += small_number(tail);
                    break;
                }
                digit => {
                    exponent -= i32::from(after_point);
                    if digits.len > 0 || *digit != b'0' {
                        digits.bytes[digits.len] = *digit;
                        digits.len += 1;
                    }
                }
            }
        }
        while digits.len > 1 && digits.bytes[digits.len - 1] == b'0' {
            digits.len -= 1;
            exponent += 1;
        }
        (digits, exponent)
    }
}

fn small_number(text: &[u8]) -> i32 {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    sign * digits.iter().fold(0, |n, digit| n * 10 + i32::from(digit - b'0'))
}

/// `digits` times 10^`exponent`, in the shape that the table above says.
fn place_point(text: &mut DoubleText, digits: &[u8], exponent: i32) {
    let n = i32::try_from(digits.len()).unwrap_or(0);
    // The power of ten of the first digit.
    let magnitude = exponent + n - 1;
    let size = magnitude.abs();
    if exponent >= 0 && size < n + 7 {
        text.push(digits);
        text.zeros(usize::try_from(exponent).unwrap_or(0));
    } else if exponent < 0 && (exponent > -7 || size < 4) {
        match usize::try_from(n + exponent) {
            Ok(before) if before > 0 => {
                text.push(&digits[..before]);
                text.push(b".");
                text.push(&digits[before..]);
            }
            _ => {
                text.push(b"0.");
                text.zeros(usize::try_from(-(n + exponent)).unwrap_or(0));
                text.push(digits);
            }
        }
    } else {
        text.push(&digits[..1]);
        if n > 1 {
            text.push(b".");
            text.push(&digits[1..]);
        }
        text.push(if magnitude < 0 { b"e-" } else { b"e+" });
        text.push(itoa::Buffer::new().format(size).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: f64) -> String {
        String::from_utf8(format_double(value).as_bytes().to_vec()).expect("ASCII")
    }

    #[test]
    fn forms() {
        for (value, want) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (4_503_599_627_370_496.0, "4503599627370496"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (3.1, "3.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (-1.5, "-1.5"),
            (100.25, "100.25"),
            (1e15, "1000000000000000"),
            (1e16, "1e+16"),
            (1.5e16, "1.5e+16"),
            (12_345_678_901_234_567e3, "12345678901234567000"),
            (1e20, "1e+20"),
            (1e22, "1e+22"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (2.2250738585072014e-308, "2.2250738585072014e-308"),
            (1e-5, "0.00001"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1.5e-9, "1.5e-9"),
            (0.0001234567, "1.234567e-4"),
            (0.001234567, "0.001234567"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (-f64::NAN, "nan"),
        ] {
            assert_eq!(text(value), want, "{value:e}");
        }
    }

    proptest::proptest! {
        #[test]
        fn reads_back_and_fits(bits in proptest::prelude::any::<u64>()) {
            let value = f64::from_bits(bits);
            let written = text(value);
            proptest::prop_assert!(written.len() <= 25);
            if !value.is_nan() {
                let back: f64 = written.parse().expect("a number");
                proptest::prop_assert_eq!(back.to_bits(), value.to_bits(), "{}", written);
            }
        }
    }
}
