//! The 80-bit floats of INCRBYFLOAT and HINCRBYFLOAT.
//!
//! Redis adds with C's `long double` and prints with 17 decimals, so `0.1 + 0.2` is `0.3`.
//! The same results need the same arithmetic: the extended format of x87, done in software by
//! the float library of LLVM's Rust port.

use rustc_apfloat::Float;
use rustc_apfloat::ieee::X87DoubleExtended;

/// An extended-precision float.
pub type LongDouble = X87DoubleExtended;

/// Length from which a text is no number, as in Redis.
const TEXT_MAX: usize = 5 * 1024;

/// Zero.
pub const ZERO: LongDouble = <LongDouble as Float>::ZERO;

/// Digits behind the point that are printed.
const DECIMALS: usize = 17;

/// Reads a float as C does: decimal, or `inf`; no blanks, no NaN.
pub fn parse(text: &[u8]) -> Option<LongDouble> {
    if text.is_empty() || text.len() >= TEXT_MAX || text[0].is_ascii_whitespace() {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let bare = text.strip_prefix(['+', '-']).unwrap_or(text);
    if bare.eq_ignore_ascii_case("inf") || bare.eq_ignore_ascii_case("infinity") {
        let inf = <LongDouble as Float>::INFINITY;
        return Some(if text.starts_with('-') { -inf } else { inf });
    }
    if bare.get(..2).is_some_and(|prefix| prefix.eq_ignore_ascii_case("0x")) {
        return parse_hex(&bare[2..]).map(|value| if text.starts_with('-') { -value } else { value });
    }
    if !bare.starts_with(|c: char| c.is_ascii_digit() || c == '.') || !well_formed(bare) {
        return None;
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    let value: LongDouble = text.parse().ok()?;
    if value.is_finite() { Some(value) } else { None }
}

/// Hexadecimal digits, at most one point among them, and perhaps a binary exponent.
fn parse_hex(digits: &str) -> Option<LongDouble> {
    let (mantissa, exponent) = digits.split_once(['p', 'P']).unwrap_or((digits, "0"));
    let hex = mantissa.bytes().filter(u8::is_ascii_hexdigit).count();
    let points = mantissa.bytes().filter(|b| *b == b'.').count();
    let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let exponent_ok =
        !unsigned.is_empty() && unsigned.len() <= 5 && unsigned.bytes().all(|b| b.is_ascii_digit());
    if hex == 0 || points > 1 || hex + points != mantissa.len() || !exponent_ok {
        return None;
    }
    let value: LongDouble = format!("0x{mantissa}p{exponent}").parse().ok()?;
    value.is_finite().then_some(value)
}

/// Digits, at most one point, at most one exponent with digits.
fn well_formed(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((m, e)) => (m, Some(e)),
        None => (text, None),
    };
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let points = mantissa.bytes().filter(|b| *b == b'.').count();
    let exponent_ok = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && e.len() <= 5 && e.bytes().all(|b| b.is_ascii_digit())
    });
    digits > 0 && points <= 1 && digits + points == mantissa.len() && exponent_ok
}

/// The sum, if it is a number.
pub fn add(a: LongDouble, b: LongDouble) -> Option<LongDouble> {
    let sum = (a + b).value;
    if sum.is_finite() { Some(sum) } else { None }
}

/// With up to 17 decimals, trailing zeros and `-0` removed.
pub fn format(value: LongDouble) -> String {
    let mut text = decimal(value);
    if text.contains('.') {
        let kept = text.trim_end_matches('0').trim_end_matches('.').len();
        text.truncate(kept);
    }
    if text == "-0" { "0".to_owned() } else { text }
}

/// `%.17Lf`: the exact value m × 2^e in decimal, rounded half to even at the 17th decimal.
fn decimal(value: LongDouble) -> String {
    let bits = value.to_bits();
    let negative = bits >> 79 & 1 == 1;
    let exponent = i32::try_from(bits >> 64 & 0x7fff).unwrap_or(0);
    let mantissa = u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0);
    let exponent = exponent.max(1) - 16383 - 63;
    let mut digits = scaled(mantissa, exponent);
    while digits.len() <= DECIMALS {
        digits.insert(0, b'0');
    }
    let point = digits.len() - DECIMALS;
    let mut text = String::with_capacity(digits.len() + 2);
    if negative {
        text.push('-');
    }
    text.extend(digits[..point].iter().map(|d| char::from(*d)));
    text.push('.');
    text.extend(digits[point..].iter().map(|d| char::from(*d)));
    text
}

/// Decimal digits of `mantissa × 2^exponent × 10^17`, rounded half to even.
fn scaled(mantissa: u64, exponent: i32) -> Vec<u8> {
    let mut n = Big::from(mantissa);
    for _ in 0..DECIMALS {
        n.mul_small(10);
    }
    if exponent >= 0 {
        n.shl(exponent.unsigned_abs());
    } else {
        n.shr_round(exponent.unsigned_abs());
    }
    n.digits()
}

/// Just enough of an unbounded integer, least significant word first.
struct Big(Vec<u32>);

impl Big {
    fn from(n: u64) -> Big {
        Big(vec![(n & 0xffff_ffff) as u32, (n >> 32) as u32])
    }

    fn mul_small(&mut self, by: u32) {
        let mut carry = 0u64;
        for word in &mut self.0 {
            let product = u64::from(*word) * u64::from(by) + carry;
            *word = (product & 0xffff_ffff) as u32;
            carry = product >> 32;
        }
        if carry > 0 {
            self.0.push((carry & 0xffff_ffff) as u32);
        }
    }

    fn shl(&mut self, by: u32) {
        let words = usize::try_from(by / 32).unwrap_or(0);
        self.0.splice(0..0, std::iter::repeat_n(0, words));
        self.mul_small(1 << (by % 32));
    }

    fn shr_round(&mut self, by: u32) {
        let bit = |n: &Big, i: u32| {
            n.0.get(usize::try_from(i / 32).unwrap_or(usize::MAX)).is_some_and(|w| w >> (i % 32) & 1 == 1)
        };
        let half = bit(self, by - 1);
        let rest = (0..by - 1).any(|i| bit(self, i));
        let words = usize::try_from(by / 32).unwrap_or(usize::MAX);
        self.0.drain(..words.min(self.0.len()));
        let shift = by % 32;
        if shift > 0 {
            for i in 0..self.0.len() {
                let high = self.0.get(i + 1).copied().unwrap_or(0);
                self.0[i] = self.0[i] >> shift | high << (32 - shift);
            }
        }
        if half && (rest || bit(self, 0)) {
            self.add_one();
        }
    }

    fn add_one(&mut self) {
        for word in &mut self.0 {
            let (sum, carry) = word.overflowing_add(1);
            *word = sum;
            if !carry {
                return;
            }
        }
        self.0.push(1);
    }

    fn digits(mut self) -> Vec<u8> {
        let mut digits = Vec::new();
        loop {
            let mut remainder = 0u64;
            for word in self.0.iter_mut().rev() {
                let value = remainder << 32 | u64::from(*word);
                *word = ((value / 10) & 0xffff_ffff) as u32;
                remainder = value % 10;
            }
            digits.push(b'0' + (remainder & 0xff) as u8);
            while self.0.last() == Some(&0) {
                self.0.pop();
            }
            if self.0.is_empty() {
                break;
            }
        }
        digits.reverse();
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        Some(format(add(parse(a.as_bytes())?, parse(b.as_bytes())?)?))
    }

    #[test]
    fn sums_are_those_of_a_long_double() {
        for (a, b, want) in [
            ("0.1", "0.2", "0.3"),
            ("1", "1.5", "2.5"),
            ("3.0e3", "200", "3200"),
            ("1.5", "-1.5", "0"),
            ("-0.0", "0", "0"),
            ("17179869184", "1.5", "17179869185.5"),
            ("1", "-1.1", "-0.1"),
            ("10.5", "0.1", "10.6"),
            ("9007199254740993", "0", "9007199254740993"),
            ("0x10", "-0x.8p1", "15"),
        ] {
            assert_eq!(sum(a, b).as_deref(), Some(want), "{a} + {b}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for bad in ["", " 1", "1 ", "nan", "a", "1a", "1e", "--1", ".", "1..2", "\0"] {
            assert!(parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
        assert_eq!(sum("inf", "1"), None);
    }
}
