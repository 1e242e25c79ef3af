//! `DEBUG`.

use crate::commands::command::{Access, Arity, Command, Group};
use crate::commands::row::{flags, not_built};

/// The commands of this family.
pub static COMMANDS: &[Command] = &[Command {
    name: "debug",
    arity: Arity::AtLeast(2),
    flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE | PROTECTED),
    access: Access::Whole,
    summary: "Tools for tests and for finding faults.",
    since: "1.0.0",
    group: Group::Server,
    complexity: "that of the subcommand",
    internal: true,
    run: not_built,
    ..Command::DEFAULT
}];
