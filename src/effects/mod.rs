//! The one path from "a key changed" to everybody who wants to know.
//!
//! A handler *states* what it did in an [`Effects`]; [`delivery::apply`](crate::delivery::apply) does the
//! consequences while the key locks are still held, in one fixed order: WATCH and client
//! tracking, the propagation stream, keyspace events, ready keys. Expiry, eviction and the
//! migration's purge build the same statements. Nothing else may notify anybody.

pub mod audience;
pub mod changes;
pub mod ended;

use smallvec::SmallVec;

pub use crate::config::EventClasses as Class;
use crate::keyspace::DbId;

/// One thing that happened to one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Index of the key in the command's key view.
    pub key: u16,
    /// Class of the keyspace notification.
    pub class: Class,
    /// Name of the event (`set`, `del`, `expired`, …).
    pub name: &'static str,
}

/// What goes to the AOF and to replicas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Propagation {
    /// The command as received, if anything changed.
    #[default]
    AsReceived,
    /// These commands instead.
    Instead(Vec<Vec<Vec<u8>>>),
    /// Nothing.
    Quiet,
}

/// What a command did. Empty after a handler that returned an error.
#[derive(Debug, Default)]
pub struct Effects {
    pub(crate) events: SmallVec<[Event; 2]>,
    pub(crate) ready: SmallVec<[u16; 1]>,
    pub(crate) dirty: u64,
    rare: Option<Box<Rare>>,
}

/// What few commands state. Apart, so that making and dropping the effects of all others is a few stores.
#[derive(Debug, Default)]
struct Rare {
    propagation: Propagation,
    databases: SmallVec<[DbId; 2]>,
    replaced: Vec<(DbId, Box<[u8]>)>,
}

impl Effects {
    /// Key `key` changed: counts as dirty, touches watchers and tracking, and is an event.
    #[inline]
    pub fn changed(&mut self, key: usize, class: Class, name: &'static str) {
        self.dirty += 1;
        self.event(key, class, name);
    }

    /// A further event of a change that was stated already, or one without a change.
    #[inline]
    pub fn event(&mut self, key: usize, class: Class, name: &'static str) {
        let key = u16::try_from(key).unwrap_or(u16::MAX);
        self.events.push(Event { key, class, name });
    }

    /// Changes that are no event and no change of the data for watchers: they count as dirty.
    pub fn silent(&mut self, changes: u64) {
        self.dirty += changes;
    }

    /// Clients blocked on this key may be served.
    pub fn ready(&mut self, key: usize) {
        self.ready.push(u16::try_from(key).unwrap_or(u16::MAX));
    }

    /// A whole database changed; `keys` counts as dirty.
    pub fn database(&mut self, db: DbId, keys: u64) {
        self.dirty += keys;
        self.rare().databases.push(db);
    }

    /// A watched key went or came with its whole database.
    pub fn replaced(&mut self, db: DbId, key: Box<[u8]>) {
        self.rare().replaced.push((db, key));
    }

    /// Propagate this command instead of the received one; several calls, several commands.
    pub fn instead(&mut self, argv: &[&[u8]]) {
        let command = argv.iter().map(|a| a.to_vec()).collect();
        match &mut self.rare().propagation {
            Propagation::Instead(list) => list.push(command),
            other => *other = Propagation::Instead(vec![command]),
        }
    }

    /// Propagate nothing.
    pub fn quiet(&mut self) {
        self.rare().propagation = Propagation::Quiet;
    }

    /// Whether nothing was stated.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.dirty == 0 && self.events.is_empty() && self.ready.is_empty() && self.databases().is_empty()
    }

    /// Databases that were emptied or exchanged as a whole.
    #[inline]
    pub(crate) fn databases(&self) -> &[DbId] {
        self.rare.as_ref().map_or(&[], |rare| &rare.databases)
    }

    /// Watched keys that were there in such a database, before or after.
    pub(crate) fn replaced_keys(&self) -> &[(DbId, Box<[u8]>)] {
        self.rare.as_ref().map_or(&[], |rare| &rare.replaced)
    }

    #[cold]
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Forgets what was stated, where there is nothing to free.
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        debug_assert!(self.is_light());
        self.dirty = 0;
        self.events.clear();
        if !self.ready.is_empty() {
            self.ready.clear();
        }
    }

    /// Whether there is nothing to free in it.
    #[inline(always)]
    pub(crate) fn is_light(&self) -> bool {
        self.rare.is_none() && !self.events.spilled() && !self.ready.spilled()
    }
}
