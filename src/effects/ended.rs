//! What ended because its time had come.

use crate::keyspace::{DbId, Taken};
use crate::rdb::Plain;
use crate::values::hash::Field;

/// How a key's time came to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its timer came up.
    Timer,
    /// A command looked for it.
    Access,
    /// It was not moved to another engine.
    Migration,
    /// Eviction came by.
    Eviction,
    /// It was the time of a field of a hash.
    Field,
}

impl Reason {
    /// As messages have it.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Timer => "timer",
            Reason::Access => "access",
            Reason::Migration => "migration",
            Reason::Eviction => "eviction",
            Reason::Field => "field",
        }
    }
}

/// A key, or a field of one, whose time came, as it was before it went.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// Its database.
    pub db: DbId,
    /// The key.
    pub key: &'a [u8],
    /// The field, if only that ended.
    pub field: Option<&'a [u8]>,
    /// What it held.
    pub content: Plain<'a>,
    /// Its deadline, Unix milliseconds.
    pub due_ms: u64,
    /// When it was removed.
    pub fired_ms: u64,
    /// How that was found out.
    pub reason: Reason,
}

/// A field of a hash whose time came, as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedField {
    /// Its name.
    pub name: Box<[u8]>,
    /// Its value.
    pub value: Box<[u8]>,
    /// Its deadline, Unix milliseconds.
    pub due_ms: u64,
}

impl EndedField {
    /// A copy of what a field is.
    pub fn of(field: Field<'_>) -> EndedField {
        let (name, value) = (field.name.to_vec().into(), field.value.to_vec().into());
        EndedField { name, value, due_ms: field.deadline.unwrap_or(0) }
    }
}

/// What a command removed as its time had come, as it was: kept until the command's effects are delivered.
pub struct Kept {
    /// Its database.
    pub db: DbId,
    /// The key.
    pub key: Box<[u8]>,
    /// What went.
    pub what: KeptPart,
}

/// The whole of a key, or a field of it.
pub enum KeptPart {
    /// What the key held, and its deadline.
    Key(Taken, u64),
    /// A field.
    Field(EndedField),
}
