//! The rows of HyperLogLogs, sorted sets and geo indexes.

use crate::compare::Compare::Exact;
use crate::generate::Generator;
use crate::table::{Template, row};

type G<'a, 't> = &'a mut Generator<'t>;
type Args = Vec<Vec<u8>>;

/// A key of one kind, rarely of any kind.
fn key_of(g: G, prefix: &str) -> Vec<u8> {
    match g.rng.below(14) {
        0 => g.key(),
        1 => b"missing".to_vec(),
        _ => format!("{prefix}{}", g.rng.below(4)).into_bytes(),
    }
}

fn sketch(g: G) -> Vec<u8> {
    key_of(g, "hll")
}

fn pfadd(g: G, args: &mut Args) {
    args.push(sketch(g));
    let many = if g.rng.chance(5) { 400 } else { 6 };
    for _ in 0..g.rng.below(many) {
        args.push(g.rng.below(100_000).to_string().into_bytes());
    }
}

fn sketches(g: G, args: &mut Args) {
    for _ in 0..1 + g.rng.below(3) {
        args.push(sketch(g));
    }
}

/// All rows.
pub static TEMPLATES: &[Template] = &[
    row("hyperloglog", "PFADD", 12, Exact, pfadd),
    row("hyperloglog", "PFCOUNT", 6, Exact, sketches),
    row("hyperloglog", "PFMERGE", 4, Exact, sketches),
    row("hyperloglog", "PFDEBUG", 2, Exact, |g, a| {
        a.extend([g.word(&["ENCODING", "decode", "TODENSE", "GETREG", "nope"]), sketch(g)])
    }),
];
