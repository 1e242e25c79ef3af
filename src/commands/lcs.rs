//! LCS: the longest common subsequence of two strings.
//!
//! Dynamic programming over a table of (n + 1) × (m + 1) 32-bit lengths. The table is bounded
//! before it is reserved: it grows with the product of the lengths. No table is larger than the
//! largest string may be (`proto-max-bulk-len`).

use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::error::Error;

#[derive(Default)]
struct Options {
    len: bool,
    idx: bool,
    with_match_len: bool,
    min_match_len: usize,
}

impl Options {
    fn parse(ctx: &mut Ctx<'_, '_>) -> Result<Options, Error> {
        ctx.args.seek(3);
        let mut o = Options::default();
        while ctx.args.left() > 0 {
            if ctx.args.token("IDX") {
                o.idx = true;
            } else if ctx.args.token("LEN") {
                o.len = true;
            } else if ctx.args.token("WITHMATCHLEN") {
                o.with_match_len = true;
            } else if ctx.args.left() >= 2 && ctx.args.token("MINMATCHLEN") {
                o.min_match_len = usize::try_from(ctx.args.int()?.max(0)).unwrap_or(usize::MAX);
            } else {
                return Err(Error::Syntax);
            }
        }
        if o.idx && o.len {
            return Err(Error::Line("ERR If you want both the length and indexes, please just use IDX."));
        }
        Ok(o)
    }
}

/// A run that stands in both strings, ends included.
#[derive(Debug, PartialEq, Eq)]
struct Match {
    a: (usize, usize),
    b: (usize, usize),
}

struct Table {
    cells: Vec<u32>,
    width: usize,
}

impl Table {
    /// How many cells strings of these lengths take, if that is allowed.
    fn cells(a: usize, b: usize, bytes_max: u64) -> Result<usize, Error> {
        // Lengths are counted in 32 bits.
        if a.max(b) >= u32::MAX as usize {
            return Err(Error::Line("ERR String too long for LCS"));
        }
        let fits = |n: &usize| (*n as u64).saturating_mul(size_of::<u32>() as u64) <= bytes_max;
        (a + 1).checked_mul(b + 1).filter(fits).ok_or(Error::Line(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ))
    }

    fn build(a: &[u8], b: &[u8], cells: usize) -> Result<Table, Error> {
        let width = b.len() + 1;
        let mut table = Table { cells: Vec::new(), width };
        let failed = Error::Line("ERR Insufficient memory, failed allocating transient memory for LCS");
        table.cells.try_reserve_exact(cells).map_err(|_| failed)?;
        table.cells.resize(cells, 0);
        for i in 1..=a.len() {
            for j in 1..=b.len() {
                let length = if a[i - 1] == b[j - 1] {
                    table.at(i - 1, j - 1) + 1
                } else {
                    table.at(i - 1, j).max(table.at(i, j - 1))
                };
                table.cells[i * width + j] = length;
            }
        }
        Ok(table)
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.width + j]
    }
}

/// LCS
pub fn lcs(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    const WRONG: Error = Error::Line("ERR The specified keys must contain string values");
    let mut length = |i| ctx.keys.string(i, |v| v.map_or(0, |v| v.len())).map_err(|_| WRONG);
    let (a, b) = (length(0)?, length(1)?);
    // The options are looked at behind the types, and nothing is copied before the size is known to be allowed.
    let options = Options::parse(ctx)?;
    let cells = Table::cells(a, b, ctx.config.proto_max_bulk_len)?;
    let mut read = |i| ctx.keys.string(i, |v| v.as_deref().unwrap_or(&[]).to_vec());
    let (a, b) = (read(0)?, read(1)?);
    let table = Table::build(&a, &b, cells)?;
    let length = i64::from(table.at(a.len(), b.len()));
    if options.len {
        ctx.reply.int(length);
        return Ok(Outcome::Done);
    }
    let (text, matches) = walk(&table, &a, &b);
    if !options.idx {
        ctx.reply.bulk(&text);
        return Ok(Outcome::Done);
    }
    let shown: Vec<&Match> = matches.iter().filter(|m| m.a.1 - m.a.0 + 1 >= options.min_match_len).collect();
    let int = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    ctx.reply.map(2);
    ctx.reply.bulk(b"matches");
    ctx.reply.array(shown.len());
    for m in shown {
        ctx.reply.array(if options.with_match_len { 3 } else { 2 });
        for (first, last) in [m.a, m.b] {
            ctx.reply.array(2);
            ctx.reply.int(int(first));
            ctx.reply.int(int(last));
        }
        if options.with_match_len {
            ctx.reply.int(int(m.a.1 - m.a.0 + 1));
        }
    }
    ctx.reply.bulk(b"len");
    ctx.reply.int(length);
    Ok(Outcome::Done)
}

/// Walks the table from its end: the subsequence, and its runs from the last to the first.
fn walk(table: &Table, a: &[u8], b: &[u8]) -> (Vec<u8>, Vec<Match>) {
    let (mut i, mut j) = (a.len(), b.len());
    let mut text = Vec::new();
    let mut matches = Vec::new();
    let mut run: Option<Match> = None;
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            text.push(a[i - 1]);
            match &mut run {
                Some(m) if m.a.0 == i && m.b.0 == j => {
                    m.a.0 = i - 1;
                    m.b.0 = j - 1;
                }
                _ => {
                    matches.extend(run.take());
                    run = Some(Match { a: (i - 1, i - 1), b: (j - 1, j - 1) });
                }
            }
            i -= 1;
            j -= 1;
        } else if table.at(i - 1, j) > table.at(i, j - 1) {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    matches.extend(run);
    text.reverse();
    (text, matches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subsequence_and_its_runs() {
        let (a, b) = (&b"ohmytext"[..], &b"mynewtext"[..]);
        let table = Table::build(a, b, Table::cells(a.len(), b.len(), 1000).expect("small")).expect("memory");
        let (text, matches) = walk(&table, a, b);
        assert_eq!(text, b"mytext");
        assert_eq!(matches, [Match { a: (4, 7), b: (5, 8) }, Match { a: (2, 3), b: (0, 1) }]);
    }

    #[test]
    fn the_table_is_bounded_before_it_is_reserved() {
        assert!(Table::cells(100_000, 100_000, 512 << 20).is_err());
        assert!(Table::cells(u32::MAX as usize, 0, u64::MAX).is_err());
        assert!(Table::cells(u32::MAX as usize - 1, u32::MAX as usize - 1, 1 << 40).is_err());
        // (3 + 1) * (4 + 1) cells of 4 bytes.
        assert!(Table::cells(3, 4, 79).is_err());
        assert!(Table::cells(3, 4, 80).is_ok());
    }
}
