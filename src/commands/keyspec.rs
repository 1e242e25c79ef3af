//! Which arguments are keys. The one resolver: dispatch locks what it returns, `COMMAND
//! GETKEYS` shows it, and permissions are checked on it.

use smallvec::SmallVec;

use crate::commands::args::Args;
use crate::commands::command::{BeginSearch, Command, FindKeys, KeyFlags, KeySpec};
use crate::commands::number;

/// A key of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyAt {
    /// Argument index.
    pub index: usize,
    /// What is done to it.
    pub flags: KeyFlags,
}

/// Keys of a request, in order.
pub type KeyList = SmallVec<[KeyAt; 4]>;

/// The arguments do not have the form from which keys could be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

/// Finds the keys of a request.
///
/// # Errors
/// [`Invalid`] if a key count is no number or exceeds the arguments.
#[inline]
pub fn keys_of(command: &Command, args: &Args<'_>, out: &mut KeyList) -> Result<(), Invalid> {
    for spec in command.keys {
        one(spec, args, out)?;
    }
    Ok(())
}

fn one(spec: &KeySpec, args: &Args<'_>, out: &mut KeyList) -> Result<(), Invalid> {
    if spec.flags.contains(KeyFlags::NOT_KEY) {
        return Ok(());
    }
    let count = args.count();
    let first = match spec.begin {
        BeginSearch::Index(i) => usize::from(i),
        BeginSearch::Keyword { word, from } => match keyword(args, word, from) {
            Some(i) => i + 1,
            None => return Ok(()),
        },
        BeginSearch::Unknown => return Ok(()),
    };
    if first >= count {
        return Ok(());
    }
    match spec.find {
        FindKeys::Range { last, step, limit } => {
            let last = last_of(first, last, limit, count);
            let mut i = first;
            while i <= last && i < count {
                out.push(KeyAt { index: i, flags: spec.flags });
                i += usize::from(step.max(1));
            }
            Ok(())
        }
        FindKeys::KeyNum { at, first: offset, step } => {
            let at = first + usize::from(at);
            if at >= count {
                return Err(Invalid);
            }
            let n = number::parse_i64(args.at(at)).ok_or(Invalid)?;
            let n = usize::try_from(n).map_err(|_| Invalid)?;
            let begin = first + usize::from(offset);
            let step = usize::from(step.max(1));
            if n == 0 || n > count || begin + (n - 1) * step >= count {
                return Err(Invalid);
            }
            out.extend((0..n).map(|k| KeyAt { index: begin + k * step, flags: spec.flags }));
            Ok(())
        }
        FindKeys::Unknown => Ok(()),
    }
}

/// Index of the last key of a range.
fn last_of(first: usize, last: i16, limit: u16, count: usize) -> usize {
    if last >= 0 {
        return first + usize::from(last.unsigned_abs());
    }
    if limit > 1 && last == -1 {
        return first + (count - first) / usize::from(limit) - 1;
    }
    count.saturating_sub(usize::from(last.unsigned_abs()))
}

/// Index of a word, searched forwards from `from` or, if that is negative, backwards from the end.
fn keyword(args: &Args<'_>, word: &str, from: i16) -> Option<usize> {
    let count = args.count();
    let is = |i: &usize| args.at(*i).eq_ignore_ascii_case(word.as_bytes());
    if from >= 0 {
        (usize::from(from.unsigned_abs())..count).find(is)
    } else {
        let end = count.checked_sub(usize::from(from.unsigned_abs()))?;
        (1..=end.min(count - 1)).rev().find(is)
    }
}
