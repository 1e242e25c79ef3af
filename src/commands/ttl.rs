//! Times to live in arguments: EX, PX, EXAT, PXAT, KEEPTTL.

use crate::commands::args::Args;
use crate::commands::error::Error;
use crate::commands::keys::Ttl;

/// A time to live as a client writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TtlOption {
    /// No time to live.
    Clear,
    /// The one it has.
    Keep,
    /// So long from now.
    In {
        /// How many.
        n: i64,
        /// Milliseconds of one.
        unit_ms: i64,
    },
    /// At this time.
    At {
        /// How many units since the epoch.
        n: i64,
        /// Milliseconds of one.
        unit_ms: i64,
    },
}

/// Takes one of the options from the arguments, if it is next.
///
/// # Errors
/// If its number is missing or is none.
pub fn option(args: &mut Args<'_>, keep: bool) -> Result<Option<TtlOption>, Error> {
    if keep && args.token("KEEPTTL") {
        return Ok(Some(TtlOption::Keep));
    }
    for (word, unit_ms, absolute) in
        [("EX", 1000, false), ("PX", 1, false), ("EXAT", 1000, true), ("PXAT", 1, true)]
    {
        if args.token(word) {
            let n = args.int()?;
            return Ok(Some(if absolute {
                TtlOption::At { n, unit_ms }
            } else {
                TtlOption::In { n, unit_ms }
            }));
        }
    }
    Ok(None)
}

impl TtlOption {
    /// What it means for a key that is written now.
    ///
    /// # Errors
    /// `invalid expire time` if it is not positive or beyond what milliseconds can say.
    pub fn resolve(self, now_ms: u64, command: &'static str) -> Result<Ttl, Error> {
        let invalid = Error::InvalidExpire(command);
        let (n, unit_ms, base) = match self {
            TtlOption::Clear => return Ok(Ttl::Clear),
            TtlOption::Keep => return Ok(Ttl::Keep),
            TtlOption::In { n, unit_ms } => (n, unit_ms, i64::try_from(now_ms).unwrap_or(i64::MAX)),
            TtlOption::At { n, unit_ms } => (n, unit_ms, 0),
        };
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
        let resolve = |t: TtlOption| t.resolve(1_000, "set");
        let invalid = Err(Error::InvalidExpire("set"));
        assert_eq!(resolve(TtlOption::In { n: 2, unit_ms: 1000 }), Ok(Ttl::At(3_000)));
        assert_eq!(resolve(TtlOption::At { n: 2, unit_ms: 1000 }), Ok(Ttl::At(2_000)));
        for n in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(resolve(TtlOption::In { n, unit_ms: 1000 }), invalid, "{n}");
        }
        assert_eq!(resolve(TtlOption::In { n: i64::MAX, unit_ms: 1 }), invalid);
        assert_eq!(resolve(TtlOption::At { n: i64::MAX, unit_ms: 1 }), Ok(Ttl::At(i64::MAX as u64)));
    }
}
