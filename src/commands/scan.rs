//! KEYS and SCAN: walks over a database in hash order, a few buckets at a time.

use crate::commands::command::{Access, Arity, Command, Group, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::generic::is_expired;
use crate::commands::number;
use crate::commands::row::{acl, flags};
use crate::error::Error;
use crate::glob;
use crate::values::Kind;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "keys",
        arity: Arity::Exactly(2),
        flags: flags!(READONLY),
        acl: acl!(KEYSPACE | DANGEROUS),
        access: Access::Walk,
        syntax: "pattern:pattern",
        summary: "Names of all keys that match a pattern.",
        since: "1.0.0",
        group: Group::Generic,
        complexity: "O(N), N keys in the database",
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        run: keys,
        ..Command::DEFAULT
    },
    Command {
        name: "scan",
        arity: Arity::AtLeast(2),
        flags: flags!(READONLY | TOUCHES_ARBITRARY_KEYS),
        acl: acl!(KEYSPACE),
        access: Access::Walk,
        syntax: "cursor:int [MATCH pattern:pattern] [COUNT count:int] [TYPE type^6.0.0]",
        summary: "Walks through the keys in steps.",
        since: "2.8.0",
        group: Group::Generic,
        complexity: "O(1) a call, O(N) for the whole walk over N keys",
        history: &[("6.0.0", "Option `TYPE`.")],
        tips: &["nondeterministic_output", "request_policy:special", "response_policy:special"],
        run: scan,
        ..Command::DEFAULT
    },
];

/// Keys visited per lock while KEYS walks.
const KEYS_STEP: usize = 256;

/// KEYS
pub fn keys(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let pattern = ctx.args.next()?;
    let now = ctx.now;
    let mark = ctx.reply.defer_array();
    let mut found = 0;
    let mut cursor = 0;
    loop {
        let reply = &mut ctx.reply;
        cursor = ctx.batch.scan(ctx.db, cursor, KEYS_STEP, &mut |e| {
            if !is_expired(&e, now) && (pattern == b"*" || glob::matches(pattern, e.key(), false)) {
                reply.bulk(e.key());
                found += 1;
            }
        });
        if cursor == 0 {
            break;
        }
    }
    ctx.reply.finish(mark, found);
    Ok(Outcome::Done)
}

/// What SCAN and the scans of collections have in common.
pub struct ScanOptions<'k> {
    /// MATCH
    pub pattern: Option<&'k [u8]>,
    /// COUNT
    pub count: usize,
    /// TYPE (SCAN only)
    pub kind: Option<KindFilter>,
    /// NOVALUES (HSCAN only)
    pub no_values: bool,
}

/// TYPE: a name that is no type matches nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindFilter(Option<Kind>);

/// Which options a scan takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanOf {
    /// SCAN
    Keys,
    /// SSCAN, ZSCAN
    Elements,
    /// HSCAN
    Fields,
}

/// Reads a cursor.
pub fn cursor(arg: &[u8]) -> Result<u64, Error> {
    // Redis reads it as C does: nothing is 0, a NUL ends it, and a sign is taken.
    let text = &arg[..memchr::memchr(0, arg).unwrap_or(arg.len())];
    let (negative, digits) = match text {
        [] => return Ok(0),
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let zeros = digits.len().saturating_sub(1).min(digits.iter().take_while(|b| **b == b'0').count());
    let n = number::parse_u64(&digits[zeros..]).ok_or(Error::Line("ERR invalid cursor"))?;
    Ok(if negative { n.wrapping_neg() } else { n })
}

impl<'k> ScanOptions<'k> {
    /// Parses what follows the cursor.
    pub fn parse(ctx: &mut Ctx<'_, 'k>, of: ScanOf) -> Result<ScanOptions<'k>, Error> {
        let mut options = ScanOptions { pattern: None, count: 10, kind: None, no_values: false };
        while ctx.args.left() > 0 {
            if of == ScanOf::Fields && ctx.args.token("NOVALUES") {
                options.no_values = true;
                continue;
            }
            if ctx.args.left() < 2 {
                return Err(Error::Syntax);
            }
            if ctx.args.token("COUNT") {
                let count = ctx.args.int()?;
                options.count = usize::try_from(count).ok().filter(|n| *n > 0).ok_or(Error::Syntax)?;
            } else if ctx.args.token("MATCH") {
                let pattern = ctx.args.next()?;
                options.pattern = (pattern != b"*").then_some(pattern);
            } else if of == ScanOf::Keys && ctx.args.token("TYPE") {
                options.kind = Some(KindFilter(Kind::from_name(ctx.args.next()?)));
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }
}

/// SCAN
pub fn scan(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let from = cursor(ctx.args.next()?)?;
    let options = ScanOptions::parse(ctx, ScanOf::Keys)?;
    let now = ctx.now;
    let mut found: Vec<Vec<u8>> = Vec::new();
    let next = ctx.batch.scan(ctx.db, from, options.count, &mut |e| {
        let wanted = !is_expired(&e, now)
            && options.kind.is_none_or(|k| k.0 == Some(e.kind()))
            && options.pattern.is_none_or(|p| glob::matches(p, e.key(), false));
        if wanted {
            found.push(e.key().to_vec());
        }
    });
    ctx.reply.array(2);
    let mut digits = itoa::Buffer::new();
    ctx.reply.bulk(digits.format(next).as_bytes());
    ctx.reply.array(found.len());
    for key in &found {
        ctx.reply.bulk(key);
    }
    Ok(Outcome::Done)
}
