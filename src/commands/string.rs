//! Strings.

use crate::commands::command::{
    Access, Arity, BeginSearch, Categories, Command, FindKeys, Flags, Group, KeyFlags, KeySpec, Outcome,
};
use crate::commands::ctx::Ctx;
use crate::commands::error::Error;
use crate::commands::keys::{NewString, Text, Ttl};
use crate::effects::Class;

const ONE: FindKeys = FindKeys::Range { last: 0, step: 1, limit: 0 };

/// The family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "get",
        arity: Arity::Exactly(2),
        flags: Flags::READONLY.union(Flags::FAST),
        acl: Categories::STRING,
        keys: &[KeySpec {
            flags: KeyFlags::RO.union(KeyFlags::ACCESS),
            begin: BeginSearch::Index(1),
            find: ONE,
            notes: "",
        }],
        access: Access::Read,
        syntax: "key",
        summary: "The string at a key.",
        group: Group::String,
        run: get,
        ..Command::DEFAULT
    },
    Command {
        name: "set",
        arity: Arity::AtLeast(3),
        flags: Flags::WRITE.union(Flags::DENYOOM),
        acl: Categories::STRING,
        keys: &[KeySpec {
            flags: KeyFlags::OW.union(KeyFlags::UPDATE),
            begin: BeginSearch::Index(1),
            find: ONE,
            notes: "",
        }],
        access: Access::Keys,
        syntax: "key value",
        summary: "Stores a string at a key.",
        group: Group::String,
        run: set,
        ..Command::DEFAULT
    },
];

fn get(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let reply = &mut ctx.reply;
    ctx.keys.string(0, |value| match value {
        Some(Text::Packed(bytes)) => reply.bulk(bytes),
        Some(Text::Blob(blob)) => reply.bulk_blob(blob),
        None => reply.null(),
    })?;
    Ok(Outcome::Done)
}

fn set(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.next()?;
    let at = ctx.args.position();
    let value = ctx.args.next()?;
    ctx.args.end()?;
    match ctx.args.blob_at(at) {
        Some(blob) => ctx.keys.put_string(0, NewString::Blob(blob.clone()), Ttl::Clear)?,
        None => ctx.keys.put_string(0, NewString::Bytes(value), Ttl::Clear)?,
    }
    ctx.fx.changed(0, Class::STRING, "set");
    ctx.reply.ok();
    Ok(Outcome::Done)
}
