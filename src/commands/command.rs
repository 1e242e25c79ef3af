//! What a command is: one declaration from which everything else is derived.
//!
//! A [`Command`] is plain data with a function pointer. Dispatch, `COMMAND` and its
//! subcommands, ACL checks, key extraction and the set of locks all read this table and
//! nothing else, so a fact about a command is written once.

use crate::blocking::Wait;
use crate::commands::args::Args;
use crate::commands::ctx::Ctx;
use crate::commands::keyspec::KeyFinder;
use crate::commands::rest::Rest;
use crate::error::Error;

/// The code behind a command: synchronous, takes no lock, reads no clock.
pub type Handler = fn(&mut Ctx<'_, '_>) -> Result<Outcome, Error>;

/// What the connection does after a handler returned.
#[derive(Debug)]
pub enum Outcome {
    /// The reply stands in the output buffer.
    Done,
    /// Reply, then close the connection.
    Close,
    /// Nothing to answer with: the client waits, if it may.
    Block(Box<Wait>),
    /// The reply has begun, and this is how it goes on once nothing is locked.
    More(Box<Rest>),
}

/// Number of arguments, the command's name included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// Exactly this many.
    Exactly(u16),
    /// This many or more.
    AtLeast(u16),
}

impl Arity {
    /// Whether a request of `n` arguments (name included) is acceptable.
    #[inline]
    pub const fn accepts(self, n: usize) -> bool {
        match self {
            Arity::Exactly(want) => n == want as usize,
            Arity::AtLeast(want) => n >= want as usize,
        }
    }

    /// The form `COMMAND` reports: negative means "at least".
    pub const fn signed(self) -> i64 {
        match self {
            Arity::Exactly(n) => n as i64,
            Arity::AtLeast(n) => -(n as i64),
        }
    }
}

bitflags::bitflags! {
    /// Command flags with the meanings of Redis' `COMMAND INFO`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Flags: u32 {
        /// May change the data set.
        const WRITE = 1 << 0;
        /// Never changes the data set.
        const READONLY = 1 << 1;
        /// Refused when memory is over `maxmemory` and nothing can be evicted.
        const DENYOOM = 1 << 2;
        /// Administrative.
        const ADMIN = 1 << 3;
        /// Publish/subscribe.
        const PUBSUB = 1 << 4;
        /// Not callable from scripts.
        const NOSCRIPT = 1 << 5;
        /// May block the client.
        const BLOCKING = 1 << 6;
        /// Served while a data set is loading.
        const LOADING = 1 << 7;
        /// Served by a replica whose data is stale.
        const STALE = 1 << 8;
        /// Not shown to MONITOR.
        const SKIP_MONITOR = 1 << 9;
        /// Not kept in the slow log (its arguments may be secret).
        const SKIP_SLOWLOG = 1 << 10;
        /// Constant or logarithmic time.
        const FAST = 1 << 11;
        /// Served before authentication.
        const NO_AUTH = 1 << 12;
        /// May be propagated although it does not write.
        const MAY_REPLICATE = 1 << 13;
        /// Known to Sentinel.
        const SENTINEL = 1 << 14;
        /// Served while a script is over its time.
        const ALLOW_BUSY = 1 << 15;
        /// Keys cannot all be found from the key specifications.
        const MOVABLEKEYS = 1 << 16;
        /// Touches keys that it does not name.
        const TOUCHES_ARBITRARY_KEYS = 1 << 17;
        /// Not allowed in a transaction.
        const NO_MULTI = 1 << 18;
        /// Not served while data is loaded beside the old data.
        const NO_ASYNC_LOADING = 1 << 19;
        /// Guarded by an `enable-*` setting.
        const PROTECTED = 1 << 20;
        /// Accepted for a slot that is being imported.
        const ASKING = 1 << 21;
        /// Names at least one key, but is fine without any.
        const NO_MANDATORY_KEYS = 1 << 22;
    }
}

bitflags::bitflags! {
    /// ACL categories beyond those which follow from [`Flags`]; see [`Command::categories`].
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Categories: u32 {
        /// `@keyspace`
        const KEYSPACE = 1 << 0;
        /// `@read`
        const READ = 1 << 1;
        /// `@write`
        const WRITE = 1 << 2;
        /// `@set`
        const SET = 1 << 3;
        /// `@sortedset`
        const SORTEDSET = 1 << 4;
        /// `@list`
        const LIST = 1 << 5;
        /// `@hash`
        const HASH = 1 << 6;
        /// `@string`
        const STRING = 1 << 7;
        /// `@bitmap`
        const BITMAP = 1 << 8;
        /// `@hyperloglog`
        const HYPERLOGLOG = 1 << 9;
        /// `@geo`
        const GEO = 1 << 10;
        /// `@stream`
        const STREAM = 1 << 11;
        /// `@pubsub`
        const PUBSUB = 1 << 12;
        /// `@admin`
        const ADMIN = 1 << 13;
        /// `@fast`
        const FAST = 1 << 14;
        /// `@slow`
        const SLOW = 1 << 15;
        /// `@blocking`
        const BLOCKING = 1 << 16;
        /// `@dangerous`
        const DANGEROUS = 1 << 17;
        /// `@connection`
        const CONNECTION = 1 << 18;
        /// `@transaction`
        const TRANSACTION = 1 << 19;
        /// `@scripting`
        const SCRIPTING = 1 << 20;
    }
}

/// The family under which documentation lists a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // the names are the documentation
pub enum Group {
    Generic,
    String,
    List,
    Set,
    SortedSet,
    Hash,
    PubSub,
    Transactions,
    Connection,
    Server,
    Scripting,
    HyperLogLog,
    Cluster,
    Sentinel,
    Geo,
    Stream,
    Bitmap,
}

impl Group {
    /// The name that `COMMAND DOCS` reports.
    pub const fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Hash => "hash",
            Group::PubSub => "pubsub",
            Group::Transactions => "transactions",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Scripting => "scripting",
            Group::HyperLogLog => "hyperloglog",
            Group::Cluster => "cluster",
            Group::Sentinel => "sentinel",
            Group::Geo => "geo",
            Group::Stream => "stream",
            Group::Bitmap => "bitmap",
        }
    }
}

bitflags::bitflags! {
    /// What a command does to the keys of one specification.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct KeyFlags: u16 {
        /// Reads the value.
        const RO = 1 << 0;
        /// Reads and changes the value.
        const RW = 1 << 1;
        /// Overwrites without reading.
        const OW = 1 << 2;
        /// Deletes without reading.
        const RM = 1 << 3;
        /// Returns or copies user data.
        const ACCESS = 1 << 4;
        /// Changes user data, depending on it.
        const UPDATE = 1 << 5;
        /// Adds data without returning any.
        const INSERT = 1 << 6;
        /// Deletes user data.
        const DELETE = 1 << 7;
        /// Not a key although it looks like one.
        const NOT_KEY = 1 << 8;
        /// The specification may not find all keys.
        const INCOMPLETE = 1 << 9;
        /// The flags depend on the arguments.
        const VARIABLE_FLAGS = 1 << 10;
    }
}

/// Where the search for keys begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeginSearch {
    /// At this argument (the name is argument 0).
    Index(u16),
    /// After the given word, searched from `from` (negative: from the end).
    Keyword {
        /// The word, in upper case.
        word: &'static str,
        /// Where the search for the word starts.
        from: i16,
    },
    /// Not expressible.
    Unknown,
}

/// How keys follow from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindKeys {
    /// A range of arguments, relative to the beginning; `last` negative counts from the end.
    Range {
        /// Index of the last key, relative to the first; negative: from the end of the arguments.
        last: i16,
        /// Distance from a key to the next.
        step: u16,
        /// With `last == -1`: 0 or 1 no limit, 2 half of what remains, and so on.
        limit: u16,
    },
    /// A count argument, then the keys.
    KeyNum {
        /// Where the count is, relative to the beginning.
        at: u16,
        /// Where the first key is, relative to the beginning.
        first: u16,
        /// Distance from a key to the next.
        step: u16,
    },
    /// Not expressible.
    Unknown,
}

/// One key specification, as in `COMMAND INFO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    /// What is done to these keys.
    pub flags: KeyFlags,
    /// Where they begin.
    pub begin: BeginSearch,
    /// How they follow.
    pub find: FindKeys,
    /// A remark for `COMMAND INFO`; empty for none.
    pub notes: &'static str,
}

/// What the dispatcher locks before the handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: PING, CLIENT, CONFIG.
    None,
    /// Nothing, but it visits shards, one at a time: SCAN, KEYS, INFO. So nothing may be locked.
    Walk,
    /// The declared keys, which are only read.
    Read,
    /// The declared keys.
    Keys,
    /// What the queued commands and WATCH name: EXEC.
    Queued,
    /// Everything: the exclusive gate. Keys are opened by name as they turn up.
    Whole,
}

/// One command or subcommand.
pub struct Command {
    /// The name in lower case; of a subcommand only its own word.
    pub name: &'static str,
    /// Number of arguments, all words of the name included.
    pub arity: Arity,
    /// Flags.
    pub flags: Flags,
    /// Categories that do not follow from the flags.
    pub acl: Categories,
    /// Where the keys are.
    pub keys: &'static [KeySpec],
    /// Finds the keys where the specifications cannot, or not exactly; replaces them then.
    pub find: Option<KeyFinder>,
    /// Where the arguments name a database for the last key (or, if only one is declared, for
    /// the same name there): its number, as far as it can be read.
    pub elsewhere: Option<fn(&Args<'_>) -> Option<i64>>,
    /// What is locked.
    pub access: Access,
    /// Tells it from the arguments, for a command that needs less than `access` more often than not.
    pub access_of: Option<fn(&Args<'_>) -> Access>,
    /// Arguments as the documentation shows them, with types; the grammar is in
    /// [`syntax`](crate::commands::syntax). Parsed by `COMMAND DOCS` when asked.
    pub syntax: &'static str,
    /// One sentence, in tandem's own words.
    pub summary: &'static str,
    /// The Redis version that introduced it (or Valkey's, for its own commands).
    pub since: &'static str,
    /// Family.
    pub group: Group,
    /// Complexity in O notation.
    pub complexity: &'static str,
    /// Version/change pairs shown by `COMMAND DOCS`.
    pub history: &'static [(&'static str, &'static str)],
    /// Since when it is deprecated, and what replaces it.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Spoken between servers, not by users.
    pub internal: bool,
    /// Command tips, as Redis defines them.
    pub tips: &'static [&'static str],
    /// Subcommands; empty for most.
    pub subcommands: &'static [Command],
    /// The code.
    pub run: Handler,
}

impl Command {
    /// A command with everything optional left empty, for `..Command::DEFAULT`.
    pub const DEFAULT: Command = Command {
        name: "",
        arity: Arity::AtLeast(1),
        flags: Flags::empty(),
        acl: Categories::empty(),
        keys: &[],
        find: None,
        elsewhere: None,
        access: Access::None,
        access_of: None,
        syntax: "",
        summary: "",
        since: "1.0.0",
        group: Group::Generic,
        complexity: "O(1)",
        history: &[],
        deprecated: None,
        internal: false,
        tips: &[],
        subcommands: &[],
        run: missing,
    };

    /// What is locked for a request with these arguments.
    #[inline]
    pub fn access_for(&self, args: &Args<'_>) -> Access {
        match self.access_of {
            None => self.access,
            Some(tell) => tell(args),
        }
    }

    /// All ACL categories: the declared ones and those implied by the flags.
    pub fn categories(&self) -> Categories {
        let mut all = self.acl;
        let f = self.flags;
        if f.contains(Flags::WRITE) {
            all |= Categories::WRITE;
        }
        if f.contains(Flags::READONLY) && !all.contains(Categories::SCRIPTING) {
            all |= Categories::READ;
        }
        if f.contains(Flags::ADMIN) {
            all |= Categories::ADMIN | Categories::DANGEROUS;
        }
        if f.contains(Flags::PUBSUB) {
            all |= Categories::PUBSUB;
        }
        if f.contains(Flags::BLOCKING) {
            all |= Categories::BLOCKING;
        }
        all |= if f.contains(Flags::FAST) { Categories::FAST } else { Categories::SLOW };
        all
    }
}

/// A container such as `CLIENT` is never run itself: dispatch picks the subcommand.
fn missing(_: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    Err(Error::Syntax)
}
