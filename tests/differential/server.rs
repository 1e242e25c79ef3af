//! The rows of connections and of the server itself.

use crate::compare::Compare::{ErrorCode, Exact, Hello, Shape, Unordered};
use crate::generate::Generator;
use crate::table::{Template, none, row, several};

fn hello(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    if g.rng.chance(80) {
        args.push(g.word(&["2", "3", "3", "1", "4", "abc"]));
        // 7.0 takes the name at once, 7.2 when nothing can fail any more.
        if g.rng.chance(10) {
            args.extend([b"AUTH".to_vec(), b"default".to_vec(), b"wrong".to_vec()]);
        } else if g.rng.chance(30) {
            args.extend([b"SETNAME".to_vec(), g.word(&["me", "with space", ""])]);
        }
    }
}

fn getkeys(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    args.push(
        g.word(&["GET", "MSET", "SET", "BITOP", "COPY", "DEL", "PING", "OBJECT", "MGET", "LCS", "nothing"]),
    );
    several(g, args, |g| g.key());
}

fn config_get(g: &mut Generator<'_>, args: &mut Vec<Vec<u8>>) {
    args.push(g.word(&[
        "databases",
        "maxmemory",
        "no-such",
        "timeout",
        "APPENDONLY",
        "set-max-intset-entr?es",
        "notify-*",
    ]));
}

/// All rows.
pub static TEMPLATES: &[Template] = &[
    // connection
    row("connection", "PING", 2, Exact, |g, a| a.extend(g.rng.chance(50).then(|| g.value()))),
    row("connection", "ECHO", 2, Exact, |g, a| a.push(g.value())),
    row("connection", "SELECT", 4, Exact, |g, a| a.push(g.database())),
    row("connection", "HELLO", 3, Hello, hello).unspoiled(),
    row("connection", "RESET", 1, Exact, none),
    row("connection", "AUTH", 1, Exact, |g, a| a.push(g.value())),
    row("connection", "CLIENT SETNAME", 2, Exact, |g, a| a.push(g.word(&["me", "a b", "", "x\ny", "you"]))),
    row("connection", "CLIENT GETNAME", 2, Exact, none),
    row("connection", "CLIENT ID", 1, Shape, none),
    row("connection", "CLIENT INFO", 1, Shape, none),
    row("connection", "CLIENT LIST", 1, Shape, none),
    row("connection", "CLIENT NO-EVICT", 1, Exact, |g, a| a.push(g.word(&["on", "OFF", "maybe"]))),
    // Off or refused: messages about changes would come between the replies.
    row("connection", "CLIENT TRACKING", 2, Exact, |g, a| {
        a.push(g.word(&["off", "OFF", "maybe"]));
        a.extend(g.rng.chance(50).then(|| g.word(&["BCAST", "noloop", "OPTIN", "prefix", "REDIRECT", "x"])));
        a.extend(g.rng.chance(50).then(|| g.word(&["BCAST", "999999", "OPTOUT", "abc", "-1"])));
    }),
    row("connection", "CLIENT TRACKING ON", 1, Exact, |g, a| {
        let refused: &[&[&str]] = &[
            &["PREFIX", "a"],
            &["BCAST", "OPTIN"],
            &["OPTIN", "OPTOUT"],
            &["BCAST", "PREFIX", "a", "PREFIX", "ab"],
        ];
        a.extend(refused[g.rng.below(refused.len())].iter().map(|word| word.as_bytes().to_vec()));
    }),
    row("connection", "CLIENT CACHING", 1, Exact, |g, a| a.push(g.word(&["YES", "no", "maybe"]))),
    row("connection", "CLIENT GETREDIR", 1, Exact, none),
    row("connection", "CLIENT TRACKINGINFO", 1, Exact, none),
    row("connection", "CLIENT UNBLOCK", 1, Exact, |g, a| a.push(g.word(&["999999", "abc", "-1"]))),
    row("connection", "CLIENT UNPAUSE", 1, Exact, none),
    row("connection", "CLIENT", 1, ErrorCode, |g, a| a.push(g.value())),
    // server
    row("server", "TIME", 1, Shape, none),
    row("server", "INFO", 1, Shape, |g, a| {
        a.extend(g.rng.chance(70).then(|| g.word(&["server", "keyspace", "nonsense", "ALL"])))
    }),
    row("server", "LASTSAVE", 1, Shape, none),
    row("server", "COMMAND COUNT", 1, Shape, none),
    // 7.0 wants an argument more than 7.2.
    row("server", "COMMAND GETKEYS", 3, Exact, getkeys).unspoiled(),
    row("server", "CONFIG GET", 2, Unordered, config_get),
    row("server", "MEMORY USAGE", 1, Shape, |g, a| a.push(g.key())),
    row("server", "SLOWLOG LEN", 1, Shape, none),
    row("server", "LATENCY RESET", 1, Shape, none),
    // Its arguments are those of tandem's own picture.
    row("server", "LOLWUT", 1, Shape, none).unspoiled(),
    row("server", "NOSUCHCOMMAND", 2, Exact, |g, a| several(g, a, |g| g.value())),
    row("server", "COMMAND GETKEYSANDFLAGS", 1, Exact, getkeys).unspoiled(),
    row("server", "CONFIG SET", 2, Exact, |g, a| {
        a.extend([g.word(&["slowlog-max-len", "timeout", "latency-tracking", "no-such"])]);
        a.push(g.word(&["0", "128", "abc", "yes", "no", "-1", ""]));
    }),
    row("server", "CONFIG RESETSTAT", 1, Exact, none),
    row("server", "MEMORY DOCTOR", 1, Shape, none),
    row("server", "MEMORY PURGE", 1, Shape, none),
    row("server", "MEMORY STATS", 1, Shape, none),
    row("server", "MEMORY MALLOC-STATS", 1, Shape, none),
    row("server", "SLOWLOG GET", 1, Shape, |g, a| a.push(g.word(&["0", "1", "-1", "-2", "abc"]))),
    row("server", "SLOWLOG RESET", 1, Exact, none),
    row("server", "LATENCY LATEST", 1, Shape, none),
    row("server", "LATENCY HISTORY", 1, Shape, |g, a| a.push(g.value())),
    row("server", "LATENCY GRAPH", 1, Exact, |g, a| a.push(g.value())),
    row("server", "LATENCY DOCTOR", 1, Shape, none),
    row("server", "LATENCY HISTOGRAM", 1, Shape, |g, a| a.push(g.word(&["no-such", "get"]))),
    row("server", "ROLE", 1, Shape, none),
    row("server", "WAIT", 1, Exact, |g, a| a.extend([g.word(&["0", "-1", "x"]), g.word(&["1", "-1", "x"])])),
    row("server", "READONLY", 1, Exact, none),
    row("server", "READWRITE", 1, Exact, none),
    row("server", "ASKING", 1, Exact, none),
    row("server", "CLUSTER INFO", 1, Exact, none),
    row("server", "CLUSTER KEYSLOT", 1, Exact, |g, a| a.push(g.key())),
    row("server", "MODULE LIST", 1, Exact, none),
    row("server", "ACL WHOAMI", 1, Exact, none),
];
