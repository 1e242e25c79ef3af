//! Everything that a handler may touch, as disjoint fields.

use crate::blocking::{Kinds, OnTimeout, Wait};
use crate::commands::args::Args;
use crate::commands::command::{Command, Outcome};
use crate::commands::local::Local;
use crate::commands::session::Session;
use crate::config::Config;
use crate::effects::{Class, Effects};
use crate::error::Error;
use crate::keys::{Collection, Keys, Ttl};
use crate::keyspace::{Batch, DbId, KeyHash};
use crate::protocol::reply::Reply;
use crate::shared::Shared;

/// Who runs a command. Read by `call`, not by handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A connection, directly.
    Client,
    /// A connection's EXEC.
    Exec,
    /// A rule that appends expired keys to a stream.
    Rule,
    /// A client that waited, as one of its keys was signalled.
    Woken,
}

impl Origin {
    /// Whether a command that finds nothing may wait, or answers as on a time-out.
    pub fn may_block(self) -> bool {
        matches!(self, Origin::Client | Origin::Woken)
    }
}

/// The context of one command.
pub struct Ctx<'a, 'k> {
    /// Cursor over the arguments after the name.
    pub args: Args<'k>,
    /// The declared keys, locked.
    pub keys: Keys<'a, 'k>,
    /// The only writer of the reply.
    pub reply: Reply<'a>,
    /// What happened.
    pub fx: Effects,
    /// Unix milliseconds; the same for a whole batch.
    pub now: u64,
    /// The database of the keys.
    pub db: DbId,
    /// The connection.
    pub session: &'a mut Session,
    /// What all workers share.
    pub shared: &'a Shared,
    /// The settings as they were when the batch began.
    pub config: &'a Config,
    /// The worker's own scratch, wheel and counters.
    pub local: &'a mut Local,
    /// The command itself.
    pub command: &'static Command,
    /// Its dense number.
    pub id: u16,
    /// Who runs it.
    pub origin: Origin,
    pub(crate) batch: &'a Batch<'a>,
}

impl<'a> Ctx<'a, '_> {
    /// Hash of a key.
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        self.batch.hash_key(key)
    }

    /// The keyspace as a whole: scans, sizes; behind the exclusive gate also flush and swap.
    /// Must not be used for single keys: those come by `keys`.
    pub fn keyspace(&self) -> &'a Batch<'a> {
        self.batch
    }

    /// Opens a key by name behind the exclusive gate; see [`Keys::open`].
    pub fn open(&mut self, db: DbId, key: &[u8]) -> usize {
        let hash = self.batch.hash_key(key);
        self.keys.open(db, hash, key)
    }

    /// Nothing is there: the client waits until one of its keys is of these kinds. Where it may
    /// not, `call` answers as on a time-out.
    pub fn wait(&self, kinds: Kinds, timeout_ms: u64, on_timeout: OnTimeout) -> Outcome {
        Outcome::Block(Box::new(Wait { kinds, timeout_ms, on_timeout, argv: None, behind: false }))
    }

    /// Whether a reply may go on when the command has ended.
    pub fn may_reply_on(&self) -> bool {
        self.origin == Origin::Client && !self.session.special
    }

    /// Whether others wait for key `i` who will be served first: then a blocking command must
    /// not take from it, but wait behind them, which is what [`wait_behind`](Self::wait_behind) says.
    pub fn is_contested(&self, i: usize) -> bool {
        self.origin == Origin::Client && self.shared.waiters.is_contested(self.keys.db(i), self.keys.key(i))
    }

    /// The same as [`wait`](Self::wait) for a client that did not look into a contested key.
    pub fn wait_behind(&self, kinds: Kinds, timeout_ms: u64, on_timeout: OnTimeout) -> Outcome {
        Outcome::Block(Box::new(Wait { kinds, timeout_ms, on_timeout, argv: None, behind: true }))
    }

    /// States that `n` elements of the collection at key `i` changed, and that the key went
    /// if an edit emptied it.
    #[inline]
    pub fn changed(&mut self, i: usize, class: Class, event: &'static str, n: usize) {
        self.fx.changed(i, class, event);
        self.fx.dirty += n.saturating_sub(1) as u64;
        if self.keys.take_emptied(i) {
            self.fx.event(i, Class::GENERIC, "del");
        }
    }

    /// Stores a command's whole outcome at key `i`, replacing what is there, and states
    /// `event`; an empty outcome removes the key.
    pub fn store<T: Collection>(
        &mut self,
        i: usize,
        outcome: T,
        class: Class,
        event: &'static str,
    ) -> Result<(), Error> {
        if !outcome.vanishes() {
            self.keys.put_value(i, outcome.wrap(), Ttl::Clear)?;
            self.fx.changed(i, class, event);
            self.fx.ready(i);
        } else if self.keys.remove(i) {
            self.fx.changed(i, Class::GENERIC, "del");
        }
        Ok(())
    }

    /// States a `keymiss` event if key `i` was looked for in vain.
    #[inline]
    pub fn note_miss(&mut self, i: usize) {
        if self.shared.notify_classes().contains(Class::KEY_MISS) && !self.keys.exists(i) {
            self.fx.event(i, Class::KEY_MISS, "keymiss");
        }
    }

    /// An arity error of the running command (with its container's name).
    pub fn arity_error(&self) -> Error {
        Error::Arity(crate::commands::table::full_name(self.id))
    }

    /// The answer of a subcommand whose arguments can only be counted by itself.
    pub fn subcommand_error(&self) -> Error {
        let container = crate::commands::table::container(self.id).command.name.to_ascii_uppercase();
        let before = "ERR unknown subcommand or wrong number of arguments for '";
        let word = crate::commands::call::shown(self.args.at(1));
        Error::quoting(before, word, &format!("'. Try {container} HELP."))
    }
}
