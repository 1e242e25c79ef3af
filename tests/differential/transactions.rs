//! The rows of transactions: MULTI with what ends it, WATCH, and writes of another connection in between.
//!
//! A MULTI is ended after a few commands by the generator itself; the rows here make what is out of place.

use crate::compare::Compare::Exact;
use crate::table::{Template, none, row, several};

/// All rows.
pub static TEMPLATES: &[Template] = &[
    row("transaction", "MULTI", 24, Exact, none),
    row("transaction", "EXEC", 1, Exact, none),
    row("transaction", "DISCARD", 1, Exact, none),
    row("transaction", "WATCH", 10, Exact, |g, a| several(g, a, |g| g.key())),
    row("transaction", "UNWATCH", 2, Exact, none),
    row("transaction", "SET", 3, Exact, |g, a| a.extend([g.key(), g.value()])).by_writer(),
    row("transaction", "DEL", 3, Exact, |g, a| a.push(g.key())).by_writer(),
    row("transaction", "PEXPIRE", 2, Exact, |g, a| a.extend([g.key(), g.milliseconds()])).by_writer(),
    row("transaction", "APPEND", 2, Exact, |g, a| a.extend([g.key(), g.value()])).by_writer(),
    row("transaction", "GET", 1, Exact, |g, a| a.push(g.key())).by_writer(),
];
