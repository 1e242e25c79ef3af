//! Times to live in arguments: EX, PX, EXAT, PXAT, KEEPTTL.

use crate::commands::args::Args;
use crate::commands::number;
use crate::error::Error;
use crate::keys::Ttl;

/// A time to live as a client writes it. Its number is read last: all options are looked at before any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TtlOption<'k> {
    /// No time to live.
    Clear,
    /// The one it has.
    Keep,
    /// So long from now.
    In {
        /// How many, as it was written.
        text: &'k [u8],
        /// Milliseconds of one.
        unit_ms: i64,
    },
    /// At this time.
    At {
        /// How many units since the epoch, as it was written.
        text: &'k [u8],
        /// Milliseconds of one.
        unit_ms: i64,
    },
}

/// Takes one of the options from the arguments, if it is next.
///
/// # Errors
/// If its number is missing.
pub fn option<'k>(args: &mut Args<'k>, keep: bool) -> Result<Option<TtlOption<'k>>, Error> {
    if keep && args.token("KEEPTTL") {
        return Ok(Some(TtlOption::Keep));
    }
    for (word, unit_ms, absolute) in
        [("EX", 1000, false), ("PX", 1, false), ("EXAT", 1000, true), ("PXAT", 1, true)]
    {
        if args.token(word) {
            let text = args.next()?;
            return Ok(Some(if absolute {
                TtlOption::At { text, unit_ms }
            } else {
                TtlOption::In { text, unit_ms }
            }));
        }
    }
    Ok(None)
}

impl<'k> TtlOption<'k> {
    /// Takes an option's place: the same word may come again and the last one counts, two different ones are a
    /// syntax error.
    ///
    /// # Errors
    /// If another one was there.
    pub fn put(self, place: &mut Option<TtlOption<'k>>) -> Result<(), Error> {
        let same = |old: &TtlOption<'_>| match (*old, self) {
            (TtlOption::In { unit_ms: a, .. }, TtlOption::In { unit_ms: b, .. })
            | (TtlOption::At { unit_ms: a, .. }, TtlOption::At { unit_ms: b, .. }) => a == b,
            (a, b) => a == b,
        };
        if !place.as_ref().is_none_or(same) {
            return Err(Error::Syntax);
        }
        *place = Some(self);
        Ok(())
    }

    /// What it means for a key that is written now.
    ///
    /// # Errors
    /// If the number is none; `invalid expire time` if it is not positive or beyond what milliseconds can say.
    pub fn resolve(self, now_ms: u64, command: &'static str) -> Result<Ttl, Error> {
        let invalid = Error::InvalidExpire(command);
        let (text, unit_ms, base) = match self {
            TtlOption::Clear => return Ok(Ttl::Clear),
            TtlOption::Keep => return Ok(Ttl::Keep),
            TtlOption::In { text, unit_ms } => (text, unit_ms, i64::try_from(now_ms).unwrap_or(i64::MAX)),
            TtlOption::At { text, unit_ms } => (text, unit_ms, 0),
        };
        let n = number::parse_i64(text).ok_or(Error::NotInteger)?;
        if n <= 0 {
            return Err(invalid);
        }
        let deadline = n.checked_mul(unit_ms).and_then(|ms| ms.checked_add(base)).ok_or(invalid)?;
        Ok(Ttl::At(deadline.unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_times_are_refused() {
        let resolve = |t: TtlOption<'_>| t.resolve(1_000, "set");
        let invalid = Err(Error::InvalidExpire("set"));
        assert_eq!(resolve(TtlOption::In { text: b"2", unit_ms: 1000 }), Ok(Ttl::At(3_000)));
        assert_eq!(resolve(TtlOption::At { text: b"2", unit_ms: 1000 }), Ok(Ttl::At(2_000)));
        for text in [&b"0"[..], b"-1", b"-9223372036854775808", b"9223372036854775807"] {
            assert_eq!(resolve(TtlOption::In { text, unit_ms: 1000 }), invalid, "{text:?}");
        }
        let huge = b"9223372036854775807";
        assert_eq!(resolve(TtlOption::In { text: huge, unit_ms: 1 }), invalid);
        assert_eq!(resolve(TtlOption::At { text: huge, unit_ms: 1 }), Ok(Ttl::At(i64::MAX as u64)));
        assert_eq!(resolve(TtlOption::In { text: b"1.5", unit_ms: 1 }), Err(Error::NotInteger));
    }

    #[test]
    fn the_same_option_may_come_again_and_another_may_not() {
        let mut place = None;
        let (one, two) = (TtlOption::In { text: b"1", unit_ms: 1 }, TtlOption::In { text: b"2", unit_ms: 1 });
        assert_eq!(one.put(&mut place), Ok(()));
        assert_eq!(two.put(&mut place), Ok(()));
        assert_eq!(place, Some(two));
        assert_eq!(TtlOption::Keep.put(&mut place), Err(Error::Syntax));
    }
}
