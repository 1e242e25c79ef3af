//! Clients that wait in a blocking command.
//!
//! A command that finds nothing and may wait is kept with its arguments, and run again as it is
//! when one of its keys is signalled; so BLPOP has no second implementation. [`table`] has the
//! queues and decides who is tried when; `commands/waiting.rs` does the trying; the connection
//! waits for the answer, for the time-out, or for its own end, whichever comes first.
//!
//! Architecture invariant: nothing here runs a command, takes a key's lock or knows a socket.

mod sync;
pub mod table;

use std::sync::Arc;

use crate::clients::ClientHandle;
use crate::keyspace::DbId;
use crate::protocol::{OutBuf, Reply};
use crate::values::Blob;

pub use table::{Kinds, LIST, Name, OTHER, PutBack, STREAM, ZSET};

/// The table of a process.
pub type Waiters = table::Table<Kept, Answer>;
/// A client that waits.
pub type Waiter = table::Waiter<Kept, Answer>;

/// What a blocking command answers when its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTimeout {
    /// A null array.
    NullArray,
    /// A null where it may not wait at all. Once it has waited, a null array as of the others: by then Redis does
    /// not know which command it was.
    Null,
    /// That no replica has acknowledged (WAIT).
    NoReplica,
    /// That neither the local file nor a replica has it (WAITAOF).
    NoFile,
}

impl OnTimeout {
    /// Writes the answer of a command that may not wait.
    pub fn write_at_once(self, reply: &mut Reply<'_>) {
        match self {
            OnTimeout::Null => reply.null(),
            other => other.write(reply),
        }
    }

    /// Writes it.
    pub fn write(self, reply: &mut Reply<'_>) {
        match self {
            OnTimeout::NullArray | OnTimeout::Null => reply.null_array(),
            OnTimeout::NoReplica => reply.int(0),
            OnTimeout::NoFile => {
                reply.array(2);
                reply.int(0);
                reply.int(0);
            }
        }
    }
}

/// What a handler states when it found nothing and would wait.
#[derive(Debug, PartialEq, Eq)]
pub struct Wait {
    /// Kinds of keys for which it wants to be tried again; none for a mere wait.
    pub kinds: Kinds,
    /// Milliseconds until it gives up, 0 for never.
    pub timeout_ms: u64,
    /// What it answers then.
    pub on_timeout: OnTimeout,
    /// What is to be run instead of the request as it came (XREAD with `$`).
    pub argv: Option<Vec<Blob>>,
    /// It did not look, as others wait in front of it.
    pub behind: bool,
}

/// What is kept of a client that waits.
pub struct Kept {
    /// The client.
    pub client: Arc<ClientHandle>,
    /// Its database.
    pub db: DbId,
    /// Whether it speaks RESP3.
    pub resp3: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// CLIENT TRACKING: the keys that it reads are remembered.
    pub remembers: bool,
    /// Dense number of the command.
    pub command: u16,
    /// The request as it came.
    pub request: Vec<Blob>,
    /// The request to run, where it is another.
    pub argv: Option<Vec<Blob>>,
    /// When it gives up.
    pub timeout_ms: u64,
    /// What it answers then.
    pub on_timeout: OnTimeout,
}

/// How a wait ended.
pub enum Answer {
    /// With this reply.
    Reply(OutBuf),
    /// In time, or by CLIENT UNBLOCK TIMEOUT.
    TimedOut,
    /// By CLIENT UNBLOCK ERROR.
    Unblocked,
    /// In a panic: the connection is closed.
    Broken,
}
