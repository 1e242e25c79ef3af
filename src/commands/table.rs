//! From a name in a request to its declaration.
//!
//! A name of up to eight bytes is read as one 64-bit word, lower-cased by OR 0x20 and looked
//! up in a table of 1,024 places; longer names and subcommands are found by a hash of all
//! bytes. Both end in one exact, case-insensitive compare, because OR 0x20 also maps some
//! bytes that are no letters.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use crate::commands::command::{Access, BeginSearch, Command, FindKeys};

/// A command and its dense number, under which it is counted.
#[derive(Clone, Copy)]
pub struct Found {
    /// The declaration.
    pub command: &'static Command,
    /// Index into [`all`].
    pub id: u16,
}

/// What a request names.
#[derive(Clone, Copy)]
pub enum Lookup {
    /// A command, or a subcommand of a container.
    Found(Found),
    /// No such command.
    Unknown,
    /// No such subcommand of this container.
    UnknownSubcommand(&'static Command),
}

impl Lookup {
    /// The command, if there is one.
    #[inline]
    pub fn found(self) -> Option<Found> {
        match self {
            Lookup::Found(f) => Some(f),
            _ => None,
        }
    }
}

/// What the request path asks about a command, derived once.
#[derive(Clone, Copy)]
struct Facts {
    /// Not constant-time: gets clock readings of its own.
    timed_alone: bool,
    /// Argument index of the only key, if there is exactly one and its place is fixed.
    single_key: Option<u8>,
    /// Words of the name.
    words: u8,
    /// Id of the container, for a subcommand.
    container: Option<u16>,
    /// Id of the first subcommand, for a container.
    first_sub: u16,
}

struct Table {
    all: Vec<&'static Command>,
    facts: Vec<Facts>,
    /// By id, the name under which a request finds the command.
    spelled: Vec<&'static [u8]>,
    short: Box<[u16]>,
    long: HashMap<Vec<u8>, u16>,
}

const SLOTS: usize = 1024;
const EMPTY: u16 = u16::MAX;

/// `rename-command`: old and new names; an empty new name takes the command away.
static RENAMES: OnceLock<Vec<(Vec<u8>, Vec<u8>)>> = OnceLock::new();

/// Gives commands other names. To be called before the first look-up, and once.
///
/// # Errors
/// In the words of redis.conf, if an old name is none or a new one is taken.
pub fn rename(renames: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), &'static str> {
    let mut names: HashMap<Vec<u8>, ()> =
        crate::commands::FAMILIES.iter().copied().flatten().map(|c| (c.name.into(), ())).collect();
    for (old, new) in &renames {
        names.remove(&old.to_ascii_lowercase()).ok_or("No such command in rename-command")?;
        if !new.is_empty() && names.insert(new.to_ascii_lowercase(), ()).is_some() {
            return Err("Target command name already exists");
        }
    }
    // A second server in one process (tests) keeps the names of the first.
    let _ = RENAMES.set(renames);
    Ok(())
}

/// Names of all commands that are no subcommands, renamed.
fn names_of(
    all: &[&'static Command],
    facts: &[Facts],
    renames: &[(Vec<u8>, Vec<u8>)],
) -> HashMap<Vec<u8>, u16> {
    let top = (0u16..).zip(all.iter().zip(facts)).filter(|(_, (_, facts))| facts.container.is_none());
    let mut names: HashMap<Vec<u8>, u16> = top.map(|(id, (command, _))| (command.name.into(), id)).collect();
    for (old, new) in renames {
        if let Some(id) = names.remove(&old.to_ascii_lowercase())
            && !new.is_empty()
        {
            names.insert(new.to_ascii_lowercase(), id);
        }
    }
    names
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::build);

impl Table {
    fn build() -> Table {
        let mut table = Table {
            all: Vec::new(),
            facts: Vec::new(),
            spelled: Vec::new(),
            short: vec![EMPTY; SLOTS].into(),
            long: HashMap::new(),
        };
        for command in crate::commands::FAMILIES.iter().copied().flatten() {
            let id = table.add(command, None);
            table.facts[usize::from(id)].first_sub = id + 1;
            for sub in command.subcommands {
                table.add(sub, Some(id));
            }
        }
        for (name, id) in names_of(&table.all, &table.facts, RENAMES.get().map_or(&[], Vec::as_slice)) {
            table.name(&name, id);
        }
        table
    }

    fn add(&mut self, command: &'static Command, container: Option<u16>) -> u16 {
        let id = u16::try_from(self.all.len()).unwrap_or(EMPTY);
        self.all.push(command);
        self.spelled.push(command.name.as_bytes());
        self.facts.push(Facts {
            timed_alone: command.complexity != "O(1)",
            single_key: single_key_of(command),
            words: if container.is_some() { 2 } else { 1 },
            container,
            first_sub: 0,
        });
        id
    }

    fn name(&mut self, name: &[u8], id: u16) {
        if !name.eq_ignore_ascii_case(self.spelled[usize::from(id)]) {
            // Once for each renamed command in the life of the process.
            self.spelled[usize::from(id)] = Box::leak(name.into());
        }
        if let Some(word) = word_of(name) {
            let mut slot = slot_of(word);
            while self.short[slot] != EMPTY {
                slot = (slot + 1) % SLOTS;
            }
            self.short[slot] = id;
        } else {
            self.long.insert(name.to_ascii_lowercase(), id);
        }
    }

    #[inline]
    fn find(&self, name: &[u8]) -> Option<u16> {
        let Some(word) = word_of(name) else { return self.find_long(name) };
        let mut slot = slot_of(word);
        loop {
            let id = self.short[slot];
            if id == EMPTY {
                return None;
            }
            if self.spelled[usize::from(id)].eq_ignore_ascii_case(name) {
                return Some(id);
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    #[cold]
    fn find_long(&self, name: &[u8]) -> Option<u16> {
        // Longer than any command: do not copy it.
        if name.len() > 64 {
            return None;
        }
        self.long.get(&name.to_ascii_lowercase()).copied()
    }

    fn found(&self, id: u16) -> Found {
        Found { command: self.all[usize::from(id)], id }
    }
}

/// Up to eight bytes as a word, lower-cased.
#[inline]
fn word_of(name: &[u8]) -> Option<u64> {
    let mut bytes = [0u8; 8];
    bytes.get_mut(..name.len())?.copy_from_slice(name);
    Some(u64::from_le_bytes(bytes) | 0x2020_2020_2020_2020)
}

#[inline]
fn slot_of(word: u64) -> usize {
    (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOTS.trailing_zeros())) as usize
}

fn single_key_of(command: &Command) -> Option<u8> {
    if !matches!(command.access, Access::Keys | Access::Read) || command.elsewhere.is_some() {
        return None;
    }
    match command.keys {
        [spec] => match (spec.begin, spec.find) {
            (BeginSearch::Index(i), FindKeys::Range { last: 0, .. }) => u8::try_from(i).ok(),
            _ => None,
        },
        _ => None,
    }
}

/// The command of this name (no subcommand).
pub fn lookup(name: &[u8]) -> Option<Found> {
    TABLE.find(name).map(|id| TABLE.found(id))
}

/// What a request of `n` arguments names; `at` gives its arguments.
#[inline]
pub fn lookup_request<'x>(at: impl Fn(usize) -> &'x [u8], n: usize) -> Lookup {
    if n == 0 {
        return Lookup::Unknown;
    }
    let table = &*TABLE;
    let Some(id) = table.find(at(0)) else { return Lookup::Unknown };
    let found = table.found(id);
    // A container alone is an arity error of the container.
    if found.command.subcommands.is_empty() || n < 2 {
        return Lookup::Found(found);
    }
    subcommand(found, at(1))
}

#[cold]
fn subcommand(container: Found, name: &[u8]) -> Lookup {
    let first = TABLE.facts[usize::from(container.id)].first_sub;
    let subs = container.command.subcommands;
    match subs.iter().position(|s| s.name.as_bytes().eq_ignore_ascii_case(name)) {
        Some(i) => Lookup::Found(TABLE.found(first + u16::try_from(i).unwrap_or(0))),
        // COMMAND alone lists; CLIENT FOO is an error.
        None => Lookup::UnknownSubcommand(container.command),
    }
}

/// All commands and subcommands; a subcommand follows its container.
pub fn all() -> &'static [&'static Command] {
    &TABLE.all
}

/// The command of a dense number.
pub fn by_id(id: u16) -> Option<Found> {
    (usize::from(id) < TABLE.all.len()).then(|| TABLE.found(id))
}

/// Whether a command gets clock readings of its own because it can take long.
#[inline]
pub fn timed_alone(id: u16) -> bool {
    TABLE.facts[usize::from(id)].timed_alone
}

/// The argument index of a command's only key, if its place is fixed.
#[inline]
pub fn single_key(id: u16) -> Option<usize> {
    TABLE.facts[usize::from(id)].single_key.map(usize::from)
}

/// Words of the name: 1, or 2 for a subcommand.
#[inline]
pub fn words(id: u16) -> usize {
    usize::from(TABLE.facts[usize::from(id)].words)
}

/// `get`, or `client|list` for a subcommand.
pub fn full_name(id: u16) -> Cow<'static, str> {
    let command = TABLE.all[usize::from(id)];
    match TABLE.facts[usize::from(id)].container {
        None => command.name.into(),
        Some(c) => format!("{}|{}", TABLE.all[usize::from(c)].name, command.name).into(),
    }
}

/// The container of a subcommand, else the command itself.
pub fn container(id: u16) -> Found {
    TABLE.found(TABLE.facts[usize::from(id)].container.unwrap_or(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_renamed_and_taken_away() {
        let table = &*TABLE;
        let pair = |old: &str, new: &str| (old.as_bytes().to_vec(), new.as_bytes().to_vec());
        let renames = [pair("FLUSHDB", "badger"), pair("flushall", ""), pair("badger", "stoat")];
        let names = names_of(&table.all, &table.facts, &renames);
        let id = |name: &str| names.get(name.as_bytes()).copied();
        assert_eq!(id("stoat"), lookup(b"flushdb").map(|f| f.id));
        assert_eq!((id("flushdb"), id("badger"), id("flushall")), (None, None, None));
        assert!(rename(vec![pair("nosuch", "x")]).is_err());
        assert!(rename(vec![pair("get", "set")]).is_err());
    }
}
