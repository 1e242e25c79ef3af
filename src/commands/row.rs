//! What a command's row is written with: short forms for flags, categories and key
//! specifications, and the two handlers that many rows share.

use crate::commands::command::{BeginSearch, FindKeys, KeyFlags, KeySpec, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::{syntax, table};
use crate::error::Error;

/// `flags!(WRITE | FAST)`: a constant [`Flags`](crate::commands::command::Flags).
macro_rules! flags {
    ($($name:ident)|+) => {
        $crate::commands::command::Flags::from_bits_retain(
            0 $(| $crate::commands::command::Flags::$name.bits())+
        )
    };
}

/// `acl!(STRING)`: constant [`Categories`](crate::commands::command::Categories).
macro_rules! acl {
    ($($name:ident)|+) => {
        $crate::commands::command::Categories::from_bits_retain(
            0 $(| $crate::commands::command::Categories::$name.bits())+
        )
    };
}

/// `key_flags!(RO | ACCESS)`: constant [`KeyFlags`].
macro_rules! key_flags {
    ($($name:ident)|+) => {
        $crate::commands::command::KeyFlags::from_bits_retain(
            0 $(| $crate::commands::command::KeyFlags::$name.bits())+
        )
    };
}

pub(crate) use {acl, flags, key_flags};

impl KeySpec {
    /// One key, at argument `index`.
    pub const fn key(index: u16, flags: KeyFlags) -> KeySpec {
        KeySpec::range(index, 0, 1, 0, flags)
    }

    /// Keys from argument `index` on; see [`FindKeys::Range`].
    pub const fn range(index: u16, last: i16, step: u16, limit: u16, flags: KeyFlags) -> KeySpec {
        KeySpec {
            flags,
            begin: BeginSearch::Index(index),
            find: FindKeys::Range { last, step, limit },
            notes: "",
        }
    }

    /// Counted keys; see [`FindKeys::KeyNum`].
    pub const fn counted(index: u16, at: u16, first: u16, step: u16, flags: KeyFlags) -> KeySpec {
        KeySpec {
            flags,
            begin: BeginSearch::Index(index),
            find: FindKeys::KeyNum { at, first, step },
            notes: "",
        }
    }

    /// Keys after a word; see [`BeginSearch::Keyword`] and [`FindKeys::Range`].
    pub const fn after(
        word: &'static str,
        from: i16,
        last: i16,
        step: u16,
        limit: u16,
        flags: KeyFlags,
    ) -> KeySpec {
        let begin = BeginSearch::Keyword { word, from };
        KeySpec { flags, begin, find: FindKeys::Range { last, step, limit }, notes: "" }
    }

    /// Keys that a specification cannot express.
    pub const fn unknown(flags: KeyFlags) -> KeySpec {
        KeySpec { flags, begin: BeginSearch::Unknown, find: FindKeys::Unknown, notes: "" }
    }

    /// The same with a remark for `COMMAND INFO`.
    pub const fn note(mut self, notes: &'static str) -> KeySpec {
        self.notes = notes;
        self
    }
}

/// For a command whose part of the server is not there yet.
pub fn not_built(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    Err(Error::not_built(&table::full_name(ctx.id)))
}

/// `HELP` of any container: its subcommands as the table has them.
pub fn help(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let container = table::container(ctx.id).command;
    let title = container.name.to_ascii_uppercase();
    ctx.reply.array(1 + 2 * container.subcommands.len());
    ctx.reply.simple(&format!("{title} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for sub in container.subcommands {
        let mut line = sub.name.to_ascii_uppercase();
        if !sub.syntax.is_empty() {
            line.push(' ');
            line.push_str(&syntax::shown(sub.syntax));
        }
        ctx.reply.simple(&line);
        ctx.reply.simple(&format!("    {}", sub.summary));
    }
    Ok(Outcome::Done)
}
