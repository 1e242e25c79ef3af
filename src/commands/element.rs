//! What the commands on collections have in common: writing an element, reading counts,
//! ranges and time-outs, and the reply of a scan.

use crate::commands::args::Args;
use crate::commands::ctx::Ctx;
use crate::commands::number;
use crate::error::Error;
use crate::protocol::Reply;
use crate::values::packed::Elem;

/// Writes an element as a bulk string.
#[inline]
pub fn bulk(reply: &mut Reply<'_>, elem: Elem<'_>) {
    match elem {
        Elem::Int(n) => reply.bulk_int(n),
        Elem::Bytes(bytes) => reply.bulk(bytes),
    }
}

/// A count that must not be negative.
pub fn count(arg: &[u8]) -> Result<usize, Error> {
    count_or(arg, 0, Error::MustBePositive)
}

/// A count of at least `least`, else `error`.
pub fn count_or(arg: &[u8], least: usize, error: Error) -> Result<usize, Error> {
    let n = number::parse_i64(arg).and_then(|n| usize::try_from(n).ok());
    n.filter(|n| *n >= least).ok_or(error)
}

/// How many keys follow, of which the resolver has found as many as there are.
pub fn key_count(args: &mut Args<'_>) -> Result<usize, Error> {
    count_or(args.next()?, 1, Error::Line("ERR numkeys should be greater than 0"))
}

/// How many random elements: different ones, or with repetitions if negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Picks {
    /// At most this many different ones.
    Distinct(usize),
    /// Exactly this many, each drawn anew.
    Repeated(usize),
}

/// Most elements that one reply repeats where all of it stands in memory.
const REPEATED_MAX: usize = 1 << 24;

impl Picks {
    /// Reads a count.
    pub fn parse(arg: &[u8]) -> Result<Picks, Error> {
        let n = number::parse_i64(arg).ok_or(Error::NotInteger)?;
        if n == i64::MIN {
            return Err(Error::Line(
                "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
            ));
        }
        let size = usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX);
        Ok(if n < 0 { Picks::Repeated(size) } else { Picks::Distinct(size) })
    }

    /// How many.
    pub fn size(self) -> usize {
        match self {
            Picks::Distinct(n) | Picks::Repeated(n) => n,
        }
    }

    /// A count of repetitions whose reply would not fit in memory is refused, unless it is written in
    /// pieces.
    pub fn check(self, in_pieces: bool) -> Result<Picks, Error> {
        match self {
            Picks::Repeated(n) if n > REPEATED_MAX && !in_pieces => Err(Error::OutOfRange),
            picks => Ok(picks),
        }
    }
}

/// A range of positions, from the end if negative, both ends included: where it begins in a
/// collection of `len` elements, and how many it holds.
pub fn range(start: i64, stop: i64, len: usize) -> (usize, usize) {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let from_end = |i: i64| if i < 0 { i.saturating_add(len) } else { i };
    let start = from_end(start).max(0);
    let stop = from_end(stop).min(len - 1);
    if start > stop {
        return (0, 0);
    }
    let size = |n: i64| usize::try_from(n).unwrap_or(0);
    (size(start), size(stop - start + 1))
}

/// The time-out of a blocking command, in milliseconds; 0 is none.
pub fn timeout(arg: &[u8], now: u64) -> Result<u64, Error> {
    let seconds = number::parse_f64(arg).ok_or(Error::Line("ERR timeout is not a float or out of range"))?;
    let ms = (seconds * 1000.0).ceil();
    let out_of_range = Error::Line("ERR timeout is out of range");
    if ms < 0.0 {
        return Err(Error::Line("ERR timeout is negative"));
    }
    if ms >= i64::MAX as f64 {
        return Err(out_of_range);
    }
    let ms = ms as u64;
    match ms.checked_add(now) {
        Some(at) if i64::try_from(at).is_ok() => Ok(ms),
        _ => Err(out_of_range),
    }
}

/// The reply of SSCAN and its kin: `next`, then what `write` writes, as one array.
pub fn scan_reply(ctx: &mut Ctx<'_, '_>, next: u64, elements: &[Vec<u8>]) {
    ctx.reply.array(2);
    ctx.reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    ctx.reply.array(elements.len());
    for element in elements {
        ctx.reply.bulk(element);
    }
}

/// The reply of a scan of a key that is not there.
pub fn empty_scan(reply: &mut Reply<'_>) {
    reply.array(2);
    reply.bulk(b"0");
    reply.array(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_collection() {
        for (start, stop, len, want) in [
            (0, -1, 5, (0, 5)),
            (1, 3, 5, (1, 3)),
            (-2, -1, 5, (3, 2)),
            (-100, 100, 5, (0, 5)),
            (5, 9, 5, (0, 0)),
            (3, 1, 5, (0, 0)),
            (0, -6, 5, (0, 0)),
            (i64::MIN, i64::MAX, 5, (0, 5)),
            (0, 0, 0, (0, 0)),
        ] {
            assert_eq!(range(start, stop, len), want, "{start} {stop} of {len}");
        }
    }

    #[test]
    fn counts_at_the_edges() {
        assert_eq!(Picks::parse(b"-3"), Ok(Picks::Repeated(3)));
        assert_eq!(Picks::parse(b"9223372036854775807"), Ok(Picks::Distinct(i64::MAX as usize)));
        assert!(Picks::parse(b"-9223372036854775808").is_err());
        assert!(Picks::Repeated(1_000_000_000).check(false).is_err());
        assert!(Picks::Repeated(1_000_000_000).check(true).is_ok());
        assert_eq!(count(b"-1"), Err(Error::MustBePositive));
        assert_eq!(timeout(b"0.0001", 0), Ok(1));
        assert_eq!(timeout(b"inf", 0), Err(Error::Line("ERR timeout is out of range")));
        assert_eq!(timeout(b"-1", 0), Err(Error::Line("ERR timeout is negative")));
    }
}
