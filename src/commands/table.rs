//! From a name in a request to its declaration.
//!
//! A name of up to eight bytes is read as one 64-bit word, lower-cased by OR 0x20 and looked
//! up in a table of 1,024 places; longer names and subcommands are found by a hash of all
//! bytes. For a name of letters alone the word and the length say it all; OR 0x20 also maps
//! some bytes that are no letters, so that other names get an exact compare on top.

use std::borrow::Cow;
use std::collections::HashMap;
use std::num::NonZeroU8;
use std::sync::{LazyLock, OnceLock};

use crate::commands::command::{Access, Arity, BeginSearch, Command, FindKeys, Flags};
use crate::protocol::number;

/// A row of the table: a command and its dense number, under which it is counted. A reference, so that it is handed on
/// in one word.
#[derive(Clone, Copy)]
pub struct Found(&'static Row);

/// A command as the table has it.
pub struct Row {
    /// The declaration.
    pub command: &'static Command,
    /// Index into [`all`].
    pub id: u16,
    facts: Facts,
}

impl std::ops::Deref for Found {
    type Target = Row;
    #[inline(always)]
    fn deref(&self) -> &Row {
        self.0
    }
}

impl Found {
    /// Whether it gets clock readings of its own because with so many arguments it can take long.
    #[inline]
    pub fn timed_alone(self, args: usize) -> bool {
        args > usize::from(self.facts.short_args)
    }

    /// The argument index of its only key, if its place is fixed.
    #[inline]
    pub fn single_key(self) -> Option<usize> {
        self.facts.single_key.map(|i| usize::from(i.get()))
    }

    /// Words of the name: 1, or 2 for a subcommand.
    #[inline]
    pub fn words(self) -> usize {
        usize::from(self.facts.words)
    }

    /// Whether neither gate nor setting stands in the way of a client without any special mode.
    #[inline]
    pub fn is_plain(self) -> bool {
        self.facts.plain
    }

    /// Whether with so many arguments it is plain, takes so many, is sure to be short, and locks one key in a fixed
    /// place: then nothing is to be asked about it before it runs.
    #[inline(always)]
    pub fn is_simple(self, args: usize) -> bool {
        args >= usize::from(self.facts.simple_from) && args <= usize::from(self.facts.simple_to)
    }
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
    /// See [`Found::is_simple`]: no number is between these if it never is.
    simple_from: u8,
    simple_to: u8,
    /// With more arguments than these it gets clock readings of its own.
    short_args: u8,
    /// Argument index of the only key, if there is exactly one and its place is fixed.
    single_key: Option<NonZeroU8>,
    /// Words of the name.
    words: u8,
    /// See [`Found::is_plain`].
    plain: bool,
}

/// Ids of its kin.
#[derive(Clone, Copy)]
struct Kin {
    /// Of the container, for a subcommand.
    container: Option<u16>,
    /// Of the first subcommand, for a container.
    first_sub: u16,
}

/// A place of the table of names.
#[derive(Clone, Copy)]
struct Place {
    /// The name, or its first eight bytes, lower-cased by OR 0x20.
    word: u64,
    /// Its command; None for none.
    found: Option<Found>,
    /// Length of the name.
    len: u8,
    /// Eight letters at most and nothing else, so that the word decides.
    exact: bool,
}

struct Table {
    all: Vec<&'static Command>,
    found: Vec<Found>,
    kin: Vec<Kin>,
    /// By id, the name under which a request finds the command.
    spelled: Vec<&'static [u8]>,
    places: Box<[Place; SLOTS]>,
}

const SLOTS: usize = 1024;
const NO_PLACE: Place = Place { word: 0, found: None, len: 0, exact: false };

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
fn names_of(all: &[&'static Command], kin: &[Kin], renames: &[(Vec<u8>, Vec<u8>)]) -> HashMap<Vec<u8>, u16> {
    let top = (0u16..).zip(all.iter().zip(kin)).filter(|(_, (_, kin))| kin.container.is_none());
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
            found: Vec::new(),
            kin: Vec::new(),
            spelled: Vec::new(),
            places: Box::new([NO_PLACE; SLOTS]),
        };
        for command in crate::commands::FAMILIES.iter().copied().flatten() {
            let id = table.add(command, None);
            table.kin[usize::from(id)].first_sub = id + 1;
            for sub in command.subcommands {
                table.add(sub, Some(id));
            }
        }
        let names = names_of(&table.all, &table.kin, RENAMES.get().map_or(&[], Vec::as_slice));
        let mut names: Vec<(Vec<u8>, u16)> = names.into_iter().collect();
        // Those of constant time find their place free, so that a look-up ends there: in each process, as a map has no order.
        names.sort_unstable_by_key(|&(_, id)| (table.all[usize::from(id)].complexity != "O(1)", id));
        for (name, id) in names {
            table.name(&name, id);
        }
        table
    }

    fn add(&mut self, command: &'static Command, container: Option<u16>) -> u16 {
        let id = u16::try_from(self.all.len()).unwrap_or(u16::MAX);
        self.all.push(command);
        self.spelled.push(command.name.as_bytes());
        let plain = !matches!(command.access, Access::Whole | Access::Queued)
            && command.access_of.is_none()
            && !command.flags.contains(Flags::PROTECTED);
        let (short_args, single_key) = (short_args(command), single_key_of(command));
        let (least, most) = match command.arity {
            Arity::Exactly(n) => (n, n.min(short_args.into())),
            Arity::AtLeast(n) => (n, short_args.into()),
        };
        let named = single_key.is_some_and(|key| u16::from(key.get()) < least);
        let (simple_from, simple_to) = if plain && named { (least, most) } else { (1, 0) };
        let facts = Facts {
            simple_from: u8::try_from(simple_from).unwrap_or(u8::MAX),
            simple_to: u8::try_from(simple_to).unwrap_or(0),
            short_args,
            single_key,
            words: if container.is_some() { 2 } else { 1 },
            plain,
        };
        // Once for each command in the life of the process.
        self.found.push(Found(Box::leak(Box::new(Row { command, id, facts }))));
        self.kin.push(Kin { container, first_sub: 0 });
        id
    }

    fn name(&mut self, name: &[u8], id: u16) {
        if !name.eq_ignore_ascii_case(self.spelled[usize::from(id)]) {
            // Once for each renamed command in the life of the process.
            self.spelled[usize::from(id)] = Box::leak(name.into());
        }
        let Some(word) = word_of(name) else { return };
        let mut slot = slot_of(word);
        while self.places[slot].found.is_some() {
            slot = (slot + 1) % SLOTS;
        }
        let exact = name.len() <= 8 && name.iter().all(u8::is_ascii_alphabetic);
        let found = Some(self.found[usize::from(id)]);
        // A name of more bytes than this can say, which only `rename-command` gives, is not found.
        let len = u8::try_from(name.len()).unwrap_or(0);
        self.places[slot] = Place { word, found, len, exact };
    }

    #[inline(always)]
    fn find(&self, name: &[u8]) -> Option<Found> {
        let word = word_of(name)?;
        let mut slot = slot_of(word);
        loop {
            let place = &self.places[slot % SLOTS];
            let found = place.found?;
            let same = place.word == word && usize::from(place.len) == name.len();
            if same && (place.exact || self.is_spelled(found.id, name)) {
                return Some(found);
            }
            slot += 1;
        }
    }

    #[inline(never)]
    fn is_spelled(&self, id: u16, name: &[u8]) -> bool {
        self.spelled.get(usize::from(id)).is_some_and(|spelled| spelled.eq_ignore_ascii_case(name))
    }

    #[inline(always)]
    fn found(&self, id: u16) -> Found {
        self.found[usize::from(id)]
    }
}

/// Up to eight bytes as a word, lower-cased; of more the first eight.
#[inline(always)]
fn word_of(name: &[u8]) -> Option<u64> {
    let word = match name.first_chunk() {
        Some(front) => u64::from_le_bytes(*front),
        None => number::word_of(name)?,
    };
    Some(word | 0x2020_2020_2020_2020)
}

#[inline]
fn slot_of(word: u64) -> usize {
    (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOTS.trailing_zeros())) as usize
}

/// Up to how many arguments a command is sure to be short: any number for those of constant time; for
/// the other fast ones the least that they take, since every further one is an element or a count.
fn short_args(command: &Command) -> u8 {
    let named = matches!(command.access, Access::Keys | Access::Read);
    match command.arity {
        _ if command.complexity == "O(1)" => u8::MAX,
        Arity::Exactly(n) | Arity::AtLeast(n) if named && command.flags.contains(Flags::FAST) => {
            u8::try_from(n).unwrap_or(0)
        }
        _ => 0,
    }
}

fn single_key_of(command: &Command) -> Option<NonZeroU8> {
    let named = matches!(command.access, Access::Keys | Access::Read) && command.access_of.is_none();
    if !named || command.elsewhere.is_some() {
        return None;
    }
    match command.keys {
        [spec] => match (spec.begin, spec.find) {
            (BeginSearch::Index(i), FindKeys::Range { last: 0, .. }) => {
                u8::try_from(i).ok().and_then(NonZeroU8::new)
            }
            _ => None,
        },
        _ => None,
    }
}

/// The command of this name (no subcommand).
pub fn lookup(name: &[u8]) -> Option<Found> {
    TABLE.find(name)
}

/// All names, at hand for the requests of a batch.
#[derive(Clone, Copy)]
pub struct Names(&'static Table);

/// All names.
#[inline]
pub fn names() -> Names {
    Names(&TABLE)
}

impl Names {
    /// What a request of `n` arguments names; `at` gives its arguments.
    #[inline(always)]
    pub fn lookup<'x>(self, at: impl Fn(usize) -> &'x [u8], n: usize) -> Lookup {
        if n == 0 {
            return Lookup::Unknown;
        }
        let Some(found) = self.0.find(at(0)) else { return Lookup::Unknown };
        // A container is not simple; alone it is an arity error of the container.
        if found.is_simple(n) || found.command.subcommands.is_empty() || n < 2 {
            return Lookup::Found(found);
        }
        subcommand(found, at(1))
    }
}

/// What a request of `n` arguments names; `at` gives its arguments.
pub fn lookup_request<'x>(at: impl Fn(usize) -> &'x [u8], n: usize) -> Lookup {
    names().lookup(at, n)
}

#[cold]
fn subcommand(container: Found, name: &[u8]) -> Lookup {
    let first = TABLE.kin[usize::from(container.id)].first_sub;
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

/// `get`, or `client|list` for a subcommand.
pub fn full_name(id: u16) -> Cow<'static, str> {
    let command = TABLE.all[usize::from(id)];
    match TABLE.kin[usize::from(id)].container {
        None => command.name.into(),
        Some(c) => format!("{}|{}", TABLE.all[usize::from(c)].name, command.name).into(),
    }
}

/// The family of the command with a dense number.
pub fn family(id: u16) -> &'static str {
    by_id(id).map_or("unknown", |found| found.command.group.name())
}

/// The container of a subcommand, else the command itself.
pub fn container(id: u16) -> Found {
    TABLE.found(TABLE.kin[usize::from(id)].container.unwrap_or(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whatever_their_case_and_nothing_else_is() {
        for command in all() {
            let upper = command.name.to_ascii_uppercase();
            let found = |name: &[u8]| lookup(name).map(|f| f.command.name);
            if lookup(command.name.as_bytes()).is_none() {
                continue;
            }
            assert_eq!(found(upper.as_bytes()), Some(command.name));
            for i in 0..upper.len() {
                // OR 0x20 maps this byte where the right one is, unless it is its other case.
                let mut near = upper.clone().into_bytes();
                near[i] ^= 0x20;
                let same = near.eq_ignore_ascii_case(upper.as_bytes());
                assert_eq!(found(&near).is_some_and(|f| f == command.name), same, "{near:?}");
            }
            for bad in [format!("{upper}\0"), format!("{upper} "), format!(" {upper}"), upper[1..].into()] {
                assert_ne!(found(bad.as_bytes()), Some(command.name));
            }
        }
        assert!(lookup(b"").is_none());
    }

    #[test]
    fn nothing_is_to_be_asked_about_simple_requests() {
        for id in 0..u16::try_from(all().len()).unwrap() {
            let found = by_id(id).unwrap();
            for n in (0..300).filter(|&n| found.is_simple(n)) {
                assert!(found.is_plain() && found.command.arity.accepts(n) && !found.timed_alone(n));
                assert!(
                    found.single_key().is_some_and(|key| key < n),
                    "{} with {n} words",
                    found.command.name
                );
            }
        }
        let simple = |name: &str, n| lookup(name.as_bytes()).is_some_and(|found| found.is_simple(n));
        assert!(
            simple("get", 2)
                && simple("incr", 2)
                && simple("set", 3)
                && simple("set", 5)
                && simple("lpush", 3)
        );
        assert!(!simple("get", 3) && !simple("set", 2) && !simple("lpush", 4) && !simple("mget", 2));
        assert!(!simple("exec", 1) && !simple("lrange", 4) && !simple("object", 3) && !simple("ping", 1));
    }

    #[test]
    fn commands_can_be_renamed_and_taken_away() {
        let table = &*TABLE;
        let pair = |old: &str, new: &str| (old.as_bytes().to_vec(), new.as_bytes().to_vec());
        let renames = [pair("FLUSHDB", "badger"), pair("flushall", ""), pair("badger", "stoat")];
        let names = names_of(&table.all, &table.kin, &renames);
        let id = |name: &str| names.get(name.as_bytes()).copied();
        assert_eq!(id("stoat"), lookup(b"flushdb").map(|f| f.id));
        assert_eq!((id("flushdb"), id("badger"), id("flushall")), (None, None, None));
        assert!(rename(vec![pair("nosuch", "x")]).is_err());
        assert!(rename(vec![pair("get", "set")]).is_err());
    }
}
