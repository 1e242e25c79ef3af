//! What a worker keeps to itself and lends to the commands it runs.

use std::sync::Arc;

use crate::blocking::Waiter;
use crate::commands::rest::Rest;
use crate::commands::transaction::Transaction;
use crate::effects::audience::Audience;
use crate::effects::changes::Changes;
use crate::expiry::{Expiry, Graveyard, Identities};

/// The part of a worker's state that handlers see. Never shared, so nothing here is locked.
pub struct Local {
    /// Index of the worker.
    pub worker: u16,
    /// Random numbers for RANDOMKEY and its kin. Not for secrets.
    pub rng: fastrand::Rng,
    /// A buffer for whoever needs one for the time of a command.
    pub scratch: Vec<u8>,
    /// How accesses are recorded by clients without NO-TOUCH.
    pub touch: crate::eviction::access::Touch,
    /// Arguments of the running command that no log may show.
    pub redacted: smallvec::SmallVec<[usize; 2]>,
    /// Keys that clients wait for were signalled, or the client itself was told of a change: see to
    /// it once nothing is locked.
    pub signalled: bool,
    /// What changed in this batch, for clients that follow prefixes.
    pub changes: Changes,
    /// The client of the running command waits now, and this is how.
    pub waiter: Option<Arc<Waiter>>,
    /// The reply of the command that just ran goes on with this.
    pub rest: Option<Box<Rest>>,
    /// An emptied transaction, so that MULTI need not ask for its memory.
    pub transaction: Option<Box<Transaction>>,
    /// Keeping `maxmemory`.
    pub room: crate::commands::room::Room,
    /// Counts that are added to the worker's counters with the next run of commands.
    pub tally: Tally,
    /// DEBUG FAULT EXPIRY: the next slice of this worker's expiry panics.
    pub panic_in_expiry: bool,
}

/// Figures that commands leave behind.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Bytes received.
    pub net_in: u64,
    /// Reads from sockets.
    pub reads: u64,
    /// Keys that a read found.
    pub hits: u64,
    /// Keys that a read did not find.
    pub misses: u64,
    /// Keys removed because their time had come.
    pub expired: u64,
    /// Fields of hashes removed because theirs had.
    pub expired_fields: u64,
    /// Changes to the data set.
    pub dirty: u64,
}

/// A worker's state as far as running commands needs it.
pub struct Lane {
    /// What handlers see.
    pub local: Local,
    /// Timers of the keys that this worker gave a deadline.
    pub expiry: Expiry,
    /// Values removed by the running batch, dropped after its locks are released.
    pub graveyard: Graveyard,
}

impl Lane {
    /// A worker's state at its start.
    pub fn new(
        worker: u16,
        databases: u16,
        identities: Arc<Identities>,
        audience: Arc<Audience>,
        now_ms: u64,
    ) -> Lane {
        let mut expiry = Expiry::new(databases, identities, now_ms);
        expiry.set_audience(audience);
        Lane {
            local: Local {
                worker,
                rng: fastrand::Rng::new(),
                scratch: Vec::new(),
                touch: crate::eviction::access::Touch::Lru,
                redacted: Default::default(),
                signalled: false,
                changes: Changes::default(),
                waiter: None,
                rest: None,
                transaction: None,
                room: Default::default(),
                tally: Tally::default(),
                panic_in_expiry: false,
            },
            expiry,
            graveyard: Vec::new(),
        }
    }
}
