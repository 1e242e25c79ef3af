//! `DEBUG RELOAD`: every value goes through its serialised form and back.
//!
//! There is no file in between: all keys are written to memory and read again from there
//! before anything is removed, so that a fault in writing or reading costs an error and no key.

use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::dump;
use crate::commands::generic;
use crate::delivery;
use crate::error::Error;
use crate::keys::Ttl;
use crate::keyspace::{DbId, EntryRef};
use crate::rdb::{self, Limits, Plain, Restored};
use crate::values::Value;

const BAD_OPTION: Error =
    Error::Line("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.");
const NO_FILE: Error = Error::Line("ERR there is no file to load from: nothing was saved");
const NO_MERGE: Error = Error::Line("ERR NOFLUSH without MERGE would load keys that are there already");
const FAILED: Error = Error::Line("ERR Error trying to load the RDB dump, check server logs.");

struct Loaded {
    key: Vec<u8>,
    value: Restored,
    deadline: Option<u64>,
    access: u16,
}

/// DEBUG RELOAD
pub fn reload(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let (mut flush, mut merge) = (true, false);
    while ctx.args.left() > 0 {
        match () {
            () if ctx.args.token("MERGE") => merge = true,
            () if ctx.args.token("NOFLUSH") => flush = false,
            () if ctx.args.token("NOSAVE") => return Err(NO_FILE),
            () => return Err(BAD_OPTION),
        }
    }
    if !flush && !merge {
        return Err(NO_MERGE);
    }
    let mut all = Vec::new();
    for db in 0..ctx.shared.keyspace.databases() {
        all.push((db, round_trip(ctx, db)?));
    }
    for (db, loaded) in all {
        if flush {
            ctx.keyspace().flush(db);
            ctx.keys.database_flushed(db);
        }
        ctx.keyspace().prepare(db, loaded.len());
        for one in loaded {
            insert(ctx, db, one)?;
        }
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// All keys of a database, their values written and read again.
fn round_trip(ctx: &mut Ctx<'_, '_>, db: DbId) -> Result<Vec<Loaded>, Error> {
    let limits = dump::limits(ctx.config);
    let compress = ctx.config.rdbcompression;
    let now = ctx.now;
    let mut loaded = Vec::with_capacity(ctx.keyspace().len(db));
    let mut failed = None;
    let mut cursor = 0;
    loop {
        cursor = ctx.keyspace().scan(db, cursor, 1000, &mut |entry| {
            // A key that is past its deadline is not loaded again, as in Redis.
            let gone = generic::is_expired(&entry, now)
                || matches!(entry.out_of_line(), Some(Value::Hash(hash)) if hash.shown() == 0);
            if failed.is_none() && !gone {
                match through(&entry, compress, &limits) {
                    Ok(one) => loaded.push(one),
                    Err(error) => failed = Some(error),
                }
            }
        });
        if cursor == 0 {
            break;
        }
    }
    match failed {
        None => Ok(loaded),
        Some(error) => {
            tracing::error!("DEBUG RELOAD: {error}");
            Err(FAILED)
        }
    }
}

fn through(entry: &EntryRef<'_>, compress: bool, limits: &Limits) -> Result<Loaded, rdb::Error> {
    let held = entry.value();
    let plain = delivery::plain(entry, held.as_deref()).unwrap_or(Plain::Text(b""));
    Ok(Loaded {
        key: entry.key().to_vec(),
        value: rdb::restore(&rdb::dump(plain, compress), limits)?,
        deadline: entry.deadline(),
        access: entry.access(),
    })
}

fn insert(ctx: &mut Ctx<'_, '_>, db: DbId, one: Loaded) -> Result<(), Error> {
    let before = ctx.keys.len();
    let i = ctx.open(db, &one.key);
    dump::put(ctx, i, one.value, one.deadline.map_or(Ttl::Clear, Ttl::At))?;
    ctx.keys.set_access(i, one.access);
    // The key was there before: nobody is told of it.
    ctx.keys.close(before, true);
    Ok(())
}
