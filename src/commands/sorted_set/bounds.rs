//! What the commands of sorted sets share: ends of ranges, limits, and members in replies.

use std::ops::Range;

use crate::commands::number;
use crate::config::Config;
use crate::error::Error;
use crate::protocol::Reply;
use crate::values::SortedSet;
use crate::values::packed::Elem;
use crate::values::sorted_set::{LexBound, Limits, Score, ScoreRange};

/// What a range of a sorted set is given by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Positions, from 0 or, negative, from the end.
    Rank,
    /// Scores.
    Score,
    /// Texts of the members, where all scores are equal.
    Lex,
}

/// A range of a sorted set.
#[derive(Clone, Copy)]
pub enum Bounds<'k> {
    /// By positions, both included.
    Rank(i64, i64),
    /// By scores.
    Score(ScoreRange),
    /// By texts.
    Lex(LexBound<'k>, LexBound<'k>),
}

/// Sizes up to which a sorted set stays compact.
pub fn limits(config: &Config) -> Limits {
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Limits {
        listpack_entries: size(config.zset_max_listpack_entries),
        listpack_value: size(config.zset_max_listpack_value),
    }
}

/// One end of a range of scores, and whether it is left out. Redis reads these with
/// `strtod`, so nothing is zero, blanks may lead, and what is too large is infinite.
fn score_end(arg: &[u8]) -> Result<(Score, bool), Error> {
    let (text, exclusive) = match arg {
        [b'(', rest @ ..] => (rest, true),
        _ => (arg, false),
    };
    // A C string ends at a NUL.
    let text = &text[..memchr::memchr(0, text).unwrap_or(text.len())];
    let digits = text.trim_ascii_start();
    let overflown = || {
        let n: f64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        n.is_infinite().then_some(n)
    };
    let score = if text.is_empty() { Some(0.0) } else { number::parse_f64(digits).or_else(overflown) };
    let score = score.and_then(Score::new).ok_or(Error::Line("ERR min or max is not a float"))?;
    Ok((score, exclusive))
}

fn lex_end(arg: &[u8]) -> Result<LexBound<'_>, Error> {
    match arg {
        b"-" => Ok(LexBound::Min),
        b"+" => Ok(LexBound::Max),
        [b'[', member @ ..] => Ok(LexBound::Inclusive(member)),
        [b'(', member @ ..] => Ok(LexBound::Exclusive(member)),
        _ => Err(Error::Line("ERR min or max not valid string range item")),
    }
}

impl<'k> Bounds<'k> {
    /// Reads the two ends, the lower one first.
    ///
    /// # Errors
    /// If one of them is none, in the words that fit the kind of range.
    pub fn parse(by: By, min: &'k [u8], max: &'k [u8]) -> Result<Bounds<'k>, Error> {
        Ok(match by {
            By::Rank => {
                let rank = |arg| number::parse_i64(arg).ok_or(Error::NotInteger);
                Bounds::Rank(rank(min)?, rank(max)?)
            }
            By::Score => {
                let ((min, min_exclusive), (max, max_exclusive)) = (score_end(min)?, score_end(max)?);
                Bounds::Score(ScoreRange { min, min_exclusive, max, max_exclusive })
            }
            By::Lex => Bounds::Lex(lex_end(min)?, lex_end(max)?),
        })
    }

    /// The ranks in the range, lowest score first; `reverse`: positions count from the end.
    pub fn ranks(&self, set: &SortedSet, reverse: bool) -> Range<usize> {
        match self {
            Bounds::Rank(start, end) => {
                let ranks = positions(*start, *end, set.len());
                if reverse { set.len() - ranks.end..set.len() - ranks.start } else { ranks }
            }
            Bounds::Score(range) => set.ranks_by_score(range),
            Bounds::Lex(min, max) => set.ranks_by_lex(*min, *max),
        }
    }
}

/// The positions from `start` to `end`, both included and negative from the end.
fn positions(start: i64, end: i64, len: usize) -> Range<usize> {
    let total = i64::try_from(len).unwrap_or(i64::MAX);
    let from_end = |i: i64| if i < 0 { total.saturating_add(i) } else { i };
    let start = from_end(start).max(0);
    let behind = from_end(end).min(total - 1).saturating_add(1);
    if start >= behind {
        return 0..0;
    }
    let index = |i: i64| usize::try_from(i).unwrap_or(0);
    index(start)..index(behind)
}

/// Writes a member.
#[inline]
pub fn member(reply: &mut Reply<'_>, member: Elem<'_>) {
    match member {
        Elem::Int(n) => reply.bulk_int(n),
        Elem::Bytes(bytes) => reply.bulk(bytes),
    }
}

/// How members are written with their scores.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Without.
    Members,
    /// One after the other.
    Flat,
    /// Each pair in an array of its own.
    Pairs,
}

impl Form {
    /// The form of a reply with scores: RESP3 has pairs.
    pub fn with_scores(reply: &Reply<'_>, scores: bool) -> Form {
        match (scores, reply.is_resp3()) {
            (false, _) => Form::Members,
            (true, false) => Form::Flat,
            (true, true) => Form::Pairs,
        }
    }

    /// Begins an array of `n` members.
    pub fn begin(self, reply: &mut Reply<'_>, n: usize) {
        reply.array(if self == Form::Flat { 2 * n } else { n });
    }

    /// Writes one of them.
    pub fn put(self, reply: &mut Reply<'_>, elem: Elem<'_>, score: f64) {
        if self == Form::Pairs {
            reply.array(2);
        }
        member(reply, elem);
        if self != Form::Members {
            reply.double(score);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_from_both_ends() {
        assert_eq!(positions(0, -1, 5), 0..5);
        assert_eq!(positions(-2, 100, 5), 3..5);
        assert_eq!(positions(-100, 1, 5), 0..2);
        for (start, end) in [(3, 2), (5, 9), (0, -6), (i64::MAX, i64::MAX), (0, i64::MIN)] {
            assert!(positions(start, end, 5).is_empty(), "{start} {end}");
        }
        assert_eq!(positions(i64::MIN, i64::MAX, 5), 0..5);
        assert!(positions(0, -1, 0).is_empty());
    }

    #[test]
    fn ends_of_scores_are_read_as_strtod_does() {
        let end = |text: &str| score_end(text.as_bytes()).map(|(s, x)| (s.get(), x)).ok();
        assert_eq!(end("(1.5"), Some((1.5, true)));
        assert_eq!(end("-inf"), Some((f64::NEG_INFINITY, false)));
        assert_eq!(end("(+inf"), Some((f64::INFINITY, true)));
        assert_eq!(end("1e400"), Some((f64::INFINITY, false)));
        assert_eq!(end(""), Some((0.0, false)));
        assert_eq!(end(" 7"), Some((7.0, false)));
        for bad in ["nan", "((1", "1 ", " ", "str", "(", "1(2"].into_iter().filter(|b| *b != "(") {
            assert_eq!(end(bad), None, "{bad:?}");
        }
    }
}
