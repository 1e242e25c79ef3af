//! Which arguments are keys. The one resolver: dispatch locks what it returns, permissions
//! are checked on it, and `COMMAND GETKEYS` shows it. So a handler cannot reach a key that
//! was not checked.
//!
//! Most commands are described by their [`KeySpec`]s. The few whose keys depend on options
//! name a [`KeyFinder`] in their row, which then replaces the specifications; it follows the
//! same rules as the handler's own parsing (where an option is given twice, the last counts).
//!
//! Nothing here trusts a number from outside: any arity and any key count end in a list or in
//! [`Invalid`], never in a panic or a large allocation.

use smallvec::SmallVec;

use crate::commands::args::Args;
use crate::commands::command::{BeginSearch, Command, FindKeys, Flags, KeyFlags, KeySpec};
use crate::commands::number;
use crate::commands::row::key_flags;

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

/// Finds the keys of a command whose specifications do not suffice.
pub type KeyFinder = fn(&Command, &Args<'_>, &mut KeyList) -> Result<(), Invalid>;

/// Finds the keys of a request.
///
/// # Errors
/// [`Invalid`] if a key count is no number or exceeds the arguments. The handler then refuses
/// the request in its own words before it touches a key.
#[inline]
pub fn keys_of(command: &Command, args: &Args<'_>, out: &mut KeyList) -> Result<(), Invalid> {
    // GET and most others: one key at a fixed place.
    if let (
        [KeySpec { flags, begin: BeginSearch::Index(i), find: FindKeys::Range { last: 0, .. }, .. }],
        None,
    ) = (command.keys, command.find)
        && !flags.contains(KeyFlags::NOT_KEY)
    {
        let index = usize::from(*i);
        if index < args.count() {
            out.push(KeyAt { index, flags: *flags });
        }
        return Ok(());
    }
    match command.find {
        None => by_specs(command, args, out),
        Some(find) => find(command, args, out),
    }
}

/// Whether a command can name keys at all.
pub fn has_keys(command: &Command) -> bool {
    command.keys.iter().any(|spec| !spec.flags.contains(KeyFlags::NOT_KEY))
}

fn by_specs(command: &Command, args: &Args<'_>, out: &mut KeyList) -> Result<(), Invalid> {
    let none_is_fine = command.flags.contains(Flags::NO_MANDATORY_KEYS);
    command.keys.iter().try_for_each(|spec| one(spec, none_is_fine, args, out))
}

fn one(spec: &KeySpec, none_is_fine: bool, args: &Args<'_>, out: &mut KeyList) -> Result<(), Invalid> {
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
            let end = end_of(first, last, limit, count);
            let keys = (first..end).step_by(usize::from(step.max(1)));
            out.extend(keys.map(|index| KeyAt { index, flags: spec.flags }));
            Ok(())
        }
        FindKeys::KeyNum { at, first: offset, step } => {
            let counted = Counted {
                at: first + usize::from(at),
                first: first + usize::from(offset),
                step: usize::from(step.max(1)),
                none_is_fine,
            };
            counted.find(spec.flags, args, out)
        }
        FindKeys::Unknown => Ok(()),
    }
}

/// One past the last key of a range.
fn end_of(first: usize, last: i16, limit: u16, count: usize) -> usize {
    let back = usize::from(last.unsigned_abs());
    let end = if last >= 0 {
        first + back + 1
    } else if limit > 1 {
        (first + (count - first) / usize::from(limit) + 1).saturating_sub(back)
    } else {
        (count + 1).saturating_sub(back)
    };
    end.min(count)
}

/// A count and the keys that it counts.
struct Counted {
    at: usize,
    first: usize,
    step: usize,
    none_is_fine: bool,
}

impl Counted {
    fn find(&self, flags: KeyFlags, args: &Args<'_>, out: &mut KeyList) -> Result<(), Invalid> {
        let count = args.count();
        if self.at >= count {
            return Err(Invalid);
        }
        let n = number::parse_i64(args.at(self.at)).ok_or(Invalid)?;
        let n = usize::try_from(n).map_err(|_| Invalid)?;
        let Some(more) = n.checked_sub(1) else {
            return if self.none_is_fine { Ok(()) } else { Err(Invalid) };
        };
        // Compared before anything is reserved.
        let last = more.checked_mul(self.step).and_then(|d| d.checked_add(self.first)).ok_or(Invalid)?;
        if last >= count {
            return Err(Invalid);
        }
        out.extend((0..n).map(|k| KeyAt { index: self.first + k * self.step, flags }));
        Ok(())
    }
}

/// Index of a word, searched forwards from `from` or, if that is negative, backwards from the end.
fn keyword(args: &Args<'_>, word: &str, from: i16) -> Option<usize> {
    let count = args.count();
    let is = |i: &usize| is_word(args, *i, word);
    let distance = usize::from(from.unsigned_abs());
    if from >= 0 { (distance..count).find(is) } else { (1..=count.checked_sub(distance)?).rev().find(is) }
}

fn is_word(args: &Args<'_>, i: usize, word: &str) -> bool {
    args.at(i).eq_ignore_ascii_case(word.as_bytes())
}

/// SET: the key is read too if `GET` or `IFEQ` is given.
pub fn of_set(_: &Command, args: &Args<'_>, out: &mut KeyList) -> Result<(), Invalid> {
    let count = args.count();
    if count > 1 {
        let reads = (3..count).any(|i| is_word(args, i, "get") || is_word(args, i, "ifeq"));
        let flags = if reads { key_flags!(RW | ACCESS | UPDATE) } else { key_flags!(OW | UPDATE) };
        out.push(KeyAt { index: 1, flags });
    }
    Ok(())
}

/// BITFIELD: the key is only read if there is nothing but `GET` and `OVERFLOW`.
pub fn of_bitfield(_: &Command, args: &Args<'_>, out: &mut KeyList) -> Result<(), Invalid> {
    let count = args.count();
    if count < 2 {
        return Ok(());
    }
    let mut i = 2;
    while i < count {
        i += match () {
            () if is_word(args, i, "get") && i + 2 < count => 3,
            () if is_word(args, i, "overflow") && i + 1 < count => 2,
            () => break,
        };
    }
    let flags = if i >= count { key_flags!(RO | ACCESS) } else { key_flags!(RW | ACCESS | UPDATE) };
    out.push(KeyAt { index: 1, flags });
    Ok(())
}

/// SORT: the source, and where `STORE` says. Keys of `BY` and `GET` are made from elements;
/// whoever may use those must be allowed to read all keys.
pub fn of_sort(_: &Command, args: &Args<'_>, out: &mut KeyList) -> Result<(), Invalid> {
    let count = args.count();
    if count < 2 {
        return Ok(());
    }
    out.push(KeyAt { index: 1, flags: key_flags!(RO | ACCESS) });
    let mut store = None;
    let mut i = 2;
    while i < count {
        if is_word(args, i, "limit") {
            i += 2;
        } else if is_word(args, i, "get") || is_word(args, i, "by") {
            i += 1;
        } else if is_word(args, i, "store") && i + 1 < count {
            i += 1;
            store = Some(i);
        }
        i += 1;
    }
    out.extend(store.map(|index| KeyAt { index, flags: key_flags!(OW | UPDATE) }));
    Ok(())
}

/// MIGRATE: the key at its place or, if that is empty, those after `KEYS`.
pub fn of_migrate(_: &Command, args: &Args<'_>, out: &mut KeyList) -> Result<(), Invalid> {
    let flags = key_flags!(RW | ACCESS | DELETE);
    let count = args.count();
    if count < 4 {
        return Ok(());
    }
    let mut i = 6;
    while i < count {
        if is_word(args, i, "keys") {
            if !args.at(3).is_empty() {
                return Err(Invalid);
            }
            out.extend((i + 1..count).map(|index| KeyAt { index, flags }));
            return Ok(());
        }
        i += match () {
            () if is_word(args, i, "auth") => 2,
            () if is_word(args, i, "auth2") => 3,
            () => 1,
        };
    }
    out.push(KeyAt { index: 3, flags });
    Ok(())
}

/// GEORADIUS: the index, and where the last `STORE` or `STOREDIST` says.
pub fn of_georadius(_: &Command, args: &Args<'_>, out: &mut KeyList) -> Result<(), Invalid> {
    with_store(args, 6, out);
    Ok(())
}

/// GEORADIUSBYMEMBER, in the same way.
pub fn of_georadiusbymember(_: &Command, args: &Args<'_>, out: &mut KeyList) -> Result<(), Invalid> {
    with_store(args, 5, out);
    Ok(())
}

fn with_store(args: &Args<'_>, options: usize, out: &mut KeyList) {
    let count = args.count();
    if count < 2 {
        return;
    }
    out.push(KeyAt { index: 1, flags: key_flags!(RO | ACCESS) });
    let mut store = None;
    let mut i = options;
    while i + 1 < count {
        if is_word(args, i, "store") || is_word(args, i, "storedist") {
            i += 1;
            store = Some(i);
        }
        i += 1;
    }
    out.extend(store.map(|index| KeyAt { index, flags: key_flags!(OW | UPDATE) }));
}

/// XREAD and XREADGROUP: half of what follows `STREAMS`. The word is looked for where an
/// option may stand, so that a group, consumer or stream may have that name.
pub fn of_xread(command: &Command, args: &Args<'_>, out: &mut KeyList) -> Result<(), Invalid> {
    let count = args.count();
    let mut i = 1;
    while i < count && !is_word(args, i, "streams") {
        i += match () {
            () if is_word(args, i, "block") || is_word(args, i, "count") => 2,
            () if is_word(args, i, "group") => 3,
            () if is_word(args, i, "noack") => 1,
            () => return Err(Invalid),
        };
    }
    if i >= count {
        return Err(Invalid);
    }
    let flags = command.keys.first().map_or(key_flags!(RO | ACCESS), |spec| spec.flags);
    let streams = (count - i - 1) / 2;
    out.extend((i + 1..=i + streams).map(|index| KeyAt { index, flags }));
    Ok(())
}

/// MOVE: the database comes last.
pub fn database_of_move(args: &Args<'_>) -> Option<i64> {
    (args.count() == 3).then(|| number::parse_i64(args.at(2))).flatten()
}

/// COPY: behind the last `DB`.
pub fn database_of_copy(args: &Args<'_>) -> Option<i64> {
    let mut db = None;
    let mut i = 3;
    while i < args.count() {
        if is_word(args, i, "db") && i + 1 < args.count() {
            db = number::parse_i64(args.at(i + 1));
            i += 1;
        }
        i += 1;
    }
    db
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::args::Source;
    use crate::commands::table;
    use crate::values::Blob;

    fn keys(line: &str) -> Result<Vec<String>, Invalid> {
        let owned: Vec<Blob> =
            line.split(' ').map(|w| Blob::copy_from(w.trim_matches('"').as_bytes())).collect();
        let args = Args::new(Source::Owned(&owned), 0);
        let found =
            table::lookup_request(|i| owned[i].as_slice(), owned.len()).found().expect("a known command");
        let mut list = KeyList::new();
        keys_of(found.command, &args, &mut list)?;
        Ok(list.iter().map(|k| String::from_utf8_lossy(args.at(k.index)).into_owned()).collect())
    }

    #[test]
    fn the_key_that_is_used_is_the_key_that_is_found() {
        for (line, want) in [
            ("get k", "k"),
            ("mget a b c", "a b c"),
            ("mset a 1 b 2", "a b"),
            ("msetex 2 a 1 b 2 EX 5", "a b"),
            ("sort src STORE a BY STORE STORE b", "src b"),
            ("georadius g 0 0 1 km STORE a STORE b", "g b"),
            ("georadiusbymember g m 1 km STOREDIST a", "g a"),
            ("xreadgroup GROUP STREAMS STREAMS STREAMS k >", "k"),
            ("xread COUNT 1 STREAMS streams b 0 0", "streams b"),
            ("migrate h 1 \"\" 0 10 AUTH keys KEYS a b", "a b"),
            ("migrate h 1 k 0 10 COPY", "k"),
            ("eval s 2 a b c", "a b"),
            ("eval s 0 a b", ""),
            ("zunionstore d 2 a b WEIGHTS 1 2", "d a b"),
            ("blpop a b 0", "a b"),
            ("bitop and d a b", "d a b"),
            ("lmpop 2 a b LEFT", "a b"),
            ("memory usage k", "k"),
            ("object encoding k", "k"),
            ("pfmerge d a b", "d a b"),
        ] {
            assert_eq!(keys(line).map(|k| k.join(" ")), Ok(want.to_owned()), "{line}");
        }
    }

    #[test]
    fn counts_that_make_no_sense() {
        for n in [
            "-1",
            "x",
            "",
            "+1",
            "01",
            "3",
            "1000000000",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
        ] {
            assert_eq!(keys(&format!("zunion {n} a b")), Err(Invalid), "{n}");
            assert!(keys(&format!("msetex {n} a b")).is_err(), "{n}");
        }
    }

    #[test]
    fn no_arity_and_no_words_make_it_panic() {
        let words = [
            "",
            "0",
            "1",
            "2",
            "-1",
            "1000000000",
            "9223372036854775807",
            "STORE",
            "KEYS",
            "STREAMS",
            "GET",
            "LIMIT",
            "AUTH2",
            "GROUP",
        ];
        let mut rng = 0x9e37_79b9_7f4a_7c15u64;
        for command in table::all() {
            for n in 0..14 {
                for _ in 0..40 {
                    let owned: Vec<Blob> = (0..n)
                        .map(|_| {
                            rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                            Blob::copy_from(words[(rng >> 33) as usize % words.len()].as_bytes())
                        })
                        .collect();
                    let mut list = KeyList::new();
                    let _ = keys_of(command, &Args::new(Source::Owned(&owned), 0), &mut list);
                    assert!(list.iter().all(|k| k.index < n && k.index > 0), "{}", command.name);
                }
            }
        }
    }
}
