//! Keys of any type: DEL, EXISTS, TYPE, RENAME, COPY, MOVE, OBJECT and their kin.

use crate::commands::args::Args;
use crate::commands::command::{Access, Arity, Command, Group, KeySpec, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::dump;
use crate::commands::keyspec;
use crate::commands::row::{acl, flags, key_flags, not_built};
use crate::effects::Class;
use crate::error::Error;
use crate::keys::{NewString, Ttl};
use crate::keyspace::{DbId, EntryRef};
use crate::values::Kind;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "copy",
        arity: Arity::AtLeast(3),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(KEYSPACE),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS)), KeySpec::key(2, key_flags!(OW | UPDATE))],
        access: Access::Keys,
        elsewhere: Some(keyspec::database_of_copy),
        syntax: "source@0 destination@1 [DB destination-db:int] [REPLACE]",
        summary: "Copies a value to another key.",
        since: "6.2.0",
        group: Group::Generic,
        complexity: "O(N), N nested elements; O(1) for a string",
        run: copy,
        ..Command::DEFAULT
    },
    Command {
        name: "dbsize",
        arity: Arity::Exactly(1),
        flags: flags!(READONLY | FAST),
        acl: acl!(KEYSPACE),
        summary: "Number of keys in the database.",
        since: "1.0.0",
        group: Group::Server,
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        run: dbsize,
        ..Command::DEFAULT
    },
    Command {
        name: "del",
        arity: Arity::AtLeast(2),
        flags: flags!(WRITE),
        acl: acl!(KEYSPACE),
        keys: &[KeySpec::range(1, -1, 1, 0, key_flags!(RM | DELETE))],
        access: Access::Keys,
        syntax: "key...",
        summary: "Deletes keys.",
        since: "1.0.0",
        group: Group::Generic,
        complexity: "O(N) for N keys; a collection adds O(M) for its M elements",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        run: del,
        ..Command::DEFAULT
    },
    Command {
        name: "dump",
        arity: Arity::Exactly(2),
        flags: flags!(READONLY),
        acl: acl!(KEYSPACE),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key",
        summary: "Serialized form of a value.",
        since: "2.6.0",
        group: Group::Generic,
        complexity: "O(1) to find the key, O(N*M) to write N elements of mean size M",
        tips: &["nondeterministic_output"],
        run: dump::dump,
        ..Command::DEFAULT
    },
    Command {
        name: "exists",
        arity: Arity::AtLeast(2),
        flags: flags!(READONLY | FAST),
        acl: acl!(KEYSPACE),
        keys: &[KeySpec::range(1, -1, 1, 0, key_flags!(RO))],
        access: Access::Read,
        syntax: "key...",
        summary: "Number of the given keys that exist.",
        since: "1.0.0",
        group: Group::Generic,
        complexity: "O(N), N keys",
        history: &[("3.0.3", "Takes several keys.")],
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        run: exists,
        ..Command::DEFAULT
    },
    Command {
        name: "flushall",
        arity: Arity::AtLeast(1),
        flags: flags!(WRITE),
        acl: acl!(KEYSPACE | DANGEROUS),
        access: Access::Whole,
        syntax: "[flush-type: ASYNC^4.0.0 | SYNC^6.2.0]",
        summary: "Deletes all keys of all databases.",
        since: "1.0.0",
        group: Group::Server,
        complexity: "O(N), N keys in all databases",
        history: &[("4.0.0", "Mode `ASYNC`."), ("6.2.0", "Mode `SYNC`.")],
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        run: flushall,
        ..Command::DEFAULT
    },
    Command {
        name: "flushdb",
        arity: Arity::AtLeast(1),
        flags: flags!(WRITE),
        acl: acl!(KEYSPACE | DANGEROUS),
        access: Access::Whole,
        syntax: "[flush-type: ASYNC^4.0.0 | SYNC^6.2.0]",
        summary: "Deletes all keys of the database.",
        since: "1.0.0",
        group: Group::Server,
        complexity: "O(N), N keys in the database",
        history: &[("4.0.0", "Mode `ASYNC`."), ("6.2.0", "Mode `SYNC`.")],
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        run: flushdb,
        ..Command::DEFAULT
    },
    Command {
        name: "migrate",
        arity: Arity::AtLeast(6),
        flags: flags!(WRITE | MOVABLEKEYS),
        acl: acl!(KEYSPACE | DANGEROUS),
        keys: &[
            KeySpec::key(3, key_flags!(RW | ACCESS | DELETE)),
            KeySpec::after("KEYS", -2, -1, 1, 0, key_flags!(RW | ACCESS | DELETE | INCOMPLETE)),
        ],
        access: Access::Whole,
        syntax: "host port:int (key-selector: key | '\"\"'=empty-string) destination-db:int timeout:int [COPY^3.0.0] [REPLACE^3.0.0] [authentication: AUTH auth#password^4.0.7 | (AUTH2 auth2^6.0.0: username password)] [KEYS keys@1#key^3.0.6]...",
        summary: "Moves keys to another server, each in one step.",
        since: "2.6.0",
        group: Group::Generic,
        complexity: "that of DUMP and DEL here and RESTORE there, and O(N) to send N bytes",
        history: &[
            ("3.0.0", "Options `COPY`, `REPLACE`."),
            ("3.0.6", "Option `KEYS`."),
            ("4.0.7", "Option `AUTH`."),
            ("6.0.0", "Option `AUTH2`."),
        ],
        tips: &["nondeterministic_output"],
        find: Some(keyspec::of_migrate),
        run: not_built,
        ..Command::DEFAULT
    },
    Command {
        name: "move",
        arity: Arity::Exactly(3),
        flags: flags!(WRITE | FAST),
        acl: acl!(KEYSPACE),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | UPDATE))],
        access: Access::Keys,
        elsewhere: Some(keyspec::database_of_move),
        syntax: "key db:int",
        summary: "Moves a key to another database.",
        since: "1.0.0",
        group: Group::Generic,
        run: r#move,
        ..Command::DEFAULT
    },
    Command {
        name: "randomkey",
        arity: Arity::Exactly(1),
        flags: flags!(READONLY | TOUCHES_ARBITRARY_KEYS),
        acl: acl!(KEYSPACE),
        access: Access::Walk,
        summary: "Some key of the database.",
        since: "1.0.0",
        group: Group::Generic,
        tips: &["request_policy:all_shards", "response_policy:special", "nondeterministic_output"],
        run: randomkey,
        ..Command::DEFAULT
    },
    Command {
        name: "rename",
        arity: Arity::Exactly(3),
        flags: flags!(WRITE),
        acl: acl!(KEYSPACE),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | DELETE)), KeySpec::key(2, key_flags!(OW | UPDATE))],
        access: Access::Keys,
        syntax: "key newkey@1",
        summary: "Gives a key another name; what stood there is lost.",
        since: "1.0.0",
        group: Group::Generic,
        run: rename,
        ..Command::DEFAULT
    },
    Command {
        name: "renamenx",
        arity: Arity::Exactly(3),
        flags: flags!(WRITE | FAST),
        acl: acl!(KEYSPACE),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | DELETE)), KeySpec::key(2, key_flags!(OW | INSERT))],
        access: Access::Keys,
        syntax: "key newkey@1",
        summary: "Gives a key another name if that is free.",
        since: "1.0.0",
        group: Group::Generic,
        history: &[("3.2.0", "Old and new name may be the same.")],
        run: renamenx,
        ..Command::DEFAULT
    },
    Command {
        name: "restore",
        arity: Arity::AtLeast(4),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(KEYSPACE | DANGEROUS),
        keys: &[KeySpec::key(1, key_flags!(OW | UPDATE))],
        access: Access::Keys,
        syntax: "key ttl:int serialized-value [REPLACE^3.0.0] [ABSTTL^5.0.0] [IDLETIME seconds:int^5.0.0] [FREQ frequency:int^5.0.0]",
        summary: "Makes a key from its serialized form.",
        since: "2.6.0",
        group: Group::Generic,
        complexity: "O(1) to make the key, O(N*M) to read N elements of mean size M; sorted sets O(N*M*log(N))",
        history: &[
            ("3.0.0", "Option `REPLACE`."),
            ("5.0.0", "Option `ABSTTL`."),
            ("5.0.0", "Options `IDLETIME`, `FREQ`."),
        ],
        run: dump::restore,
        ..Command::DEFAULT
    },
    Command {
        name: "restore-asking",
        arity: Arity::AtLeast(4),
        flags: flags!(WRITE | DENYOOM | ASKING),
        acl: acl!(KEYSPACE | DANGEROUS),
        keys: &[KeySpec::key(1, key_flags!(OW | UPDATE))],
        access: Access::Keys,
        syntax: "key ttl:int serialized-value [REPLACE^3.0.0] [ABSTTL^5.0.0] [IDLETIME seconds:int^5.0.0] [FREQ frequency:int^5.0.0]",
        summary: "RESTORE for keys of a slot on its way.",
        since: "3.0.0",
        group: Group::Server,
        complexity: "O(1) to make the key, O(N*M) to read N elements of mean size M; sorted sets O(N*M*log(N))",
        history: &[
            ("3.0.0", "Option `REPLACE`."),
            ("5.0.0", "Option `ABSTTL`."),
            ("5.0.0", "Options `IDLETIME`, `FREQ`."),
        ],
        internal: true,
        run: dump::restore,
        ..Command::DEFAULT
    },
    Command {
        name: "swapdb",
        arity: Arity::Exactly(3),
        flags: flags!(WRITE | FAST),
        acl: acl!(KEYSPACE | DANGEROUS),
        access: Access::Whole,
        syntax: "index1:int index2:int",
        summary: "Exchanges two databases.",
        since: "4.0.0",
        group: Group::Server,
        complexity: "O(N), N clients that watch or wait for their keys",
        run: swapdb,
        ..Command::DEFAULT
    },
    Command {
        name: "touch",
        arity: Arity::AtLeast(2),
        flags: flags!(READONLY | FAST),
        acl: acl!(KEYSPACE),
        keys: &[KeySpec::range(1, -1, 1, 0, key_flags!(RO))],
        access: Access::Read,
        syntax: "key...",
        summary: "Counts as a use of the keys; replies how many exist.",
        since: "3.2.1",
        group: Group::Generic,
        complexity: "O(N), N keys",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        run: touch,
        ..Command::DEFAULT
    },
    Command {
        name: "type",
        arity: Arity::Exactly(2),
        flags: flags!(READONLY | FAST),
        acl: acl!(KEYSPACE),
        keys: &[KeySpec::key(1, key_flags!(RO))],
        access: Access::Read,
        syntax: "key",
        summary: "Type of a value.",
        since: "1.0.0",
        group: Group::Generic,
        run: r#type,
        ..Command::DEFAULT
    },
    Command {
        name: "unlink",
        arity: Arity::AtLeast(2),
        flags: flags!(WRITE | FAST),
        acl: acl!(KEYSPACE),
        keys: &[KeySpec::range(1, -1, 1, 0, key_flags!(RM | DELETE))],
        access: Access::Keys,
        syntax: "key...",
        summary: "Deletes keys; their memory is freed in the background.",
        since: "4.0.0",
        group: Group::Generic,
        complexity: "O(1) a key here, O(N) in the background for N pieces of memory",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        run: unlink,
        ..Command::DEFAULT
    },
];

/// DEL. Values are freed off the worker if they are large, so there is nothing that UNLINK
/// could do better.
pub fn del(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let mut removed = 0;
    for i in 0..ctx.keys.len() {
        if ctx.keys.remove(i) {
            ctx.fx.changed(i, Class::GENERIC, "del");
            removed += 1;
        }
    }
    ctx.reply.int(removed);
    Ok(Outcome::Done)
}

/// UNLINK
pub fn unlink(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    del(ctx)
}

/// EXISTS
pub fn exists(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.keys.no_touch();
    count_present(ctx)
}

/// TOUCH
pub fn touch(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.keys.force_touch(ctx.local.touch);
    count_present(ctx)
}

fn count_present(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let n = (0..ctx.keys.len()).filter(|i| ctx.keys.exists(*i)).count();
    ctx.reply.int(i64::try_from(n).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// TYPE
pub fn r#type(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.keys.no_touch();
    let name = ctx.keys.kind(0).map_or("none", Kind::name);
    ctx.reply.simple(name);
    Ok(Outcome::Done)
}

/// RENAME
pub fn rename(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    rename_to(ctx, true)?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// RENAMENX
pub fn renamenx(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let renamed = rename_to(ctx, false)?;
    ctx.reply.int(i64::from(renamed));
    Ok(Outcome::Done)
}

fn rename_to(ctx: &mut Ctx<'_, '_>, replace: bool) -> Result<bool, Error> {
    ctx.keys.freshen(0);
    if !ctx.keys.exists(0) {
        return Err(Error::NoSuchKey);
    }
    if ctx.keys.key(0) == ctx.keys.key(1) {
        return Ok(replace);
    }
    if ctx.keys.exists(1) {
        if !replace {
            return Ok(false);
        }
        // No `del`: Redis says nothing of what is overwritten.
        ctx.keys.remove(1);
    }
    ctx.keys.rename(0, 1)?;
    ctx.fx.changed(0, Class::GENERIC, "rename_from");
    ctx.fx.changed(1, Class::GENERIC, "rename_to");
    ctx.fx.ready(1);
    Ok(true)
}

fn database(ctx: &Ctx<'_, '_>, n: i32) -> Result<DbId, Error> {
    DbId::try_from(n).ok().filter(|db| *db < ctx.shared.keyspace.databases()).ok_or(Error::DbIndex)
}

/// MOVE. Its second key is the same in the other database.
pub fn r#move(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.next()?;
    let to = ctx.args.int32()?;
    let to = database(ctx, to)?;
    if to == ctx.db {
        return Err(Error::SameObject);
    }
    let (from, target) = (0, 1);
    debug_assert_eq!(ctx.keys.db(target), to);
    ctx.keys.freshen(from);
    let moved = ctx.keys.exists(from) && !ctx.keys.exists(target) && ctx.keys.rename(from, target)?;
    if moved {
        ctx.fx.changed(from, Class::GENERIC, "move_from");
        ctx.fx.changed(target, Class::GENERIC, "move_to");
        ctx.fx.ready(target);
    }
    ctx.reply.int(i64::from(moved));
    Ok(Outcome::Done)
}

/// COPY. Its second key may be in another database.
pub fn copy(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let (source, target) = (ctx.args.next()?, ctx.args.next()?);
    let mut db = ctx.db;
    let mut replace = false;
    while ctx.args.left() > 0 {
        if ctx.args.token("REPLACE") {
            replace = true;
        } else if ctx.args.left() >= 2 && ctx.args.token("DB") {
            let n = ctx.args.int32()?;
            db = database(ctx, n)?;
        } else {
            return Err(Error::Syntax);
        }
    }
    if db == ctx.db && source == target {
        return Err(Error::SameObject);
    }
    let (from, to) = (0, 1);
    debug_assert_eq!(ctx.keys.db(to), db);
    ctx.keys.freshen(from);
    let copied = ctx.keys.exists(from) && (replace || !ctx.keys.exists(to));
    if copied {
        ctx.keys.remove(to);
        copy_value(ctx, from, to)?;
        ctx.fx.changed(to, Class::GENERIC, "copy_to");
        ctx.fx.ready(to);
    }
    ctx.reply.int(i64::from(copied));
    Ok(Outcome::Done)
}

fn copy_value(ctx: &mut Ctx<'_, '_>, from: usize, to: usize) -> Result<(), Error> {
    let deadline = ctx.keys.deadline(from).flatten();
    let ttl = deadline.map_or(Ttl::Clear, Ttl::At);
    let packed = ctx.keys.with_entry(from, |e| e.bytes().map(|b| (b.to_vec(), e.raw_encoding())));
    match packed.flatten() {
        Some((bytes, true)) => ctx.keys.put_string(to, NewString::Raw(&bytes), ttl),
        Some((bytes, false)) => ctx.keys.put_string(to, NewString::Bytes(&bytes), ttl),
        None => match ctx.keys.duplicate(from) {
            Some(value) => ctx.keys.put_value(to, value, ttl),
            None => Ok(()),
        },
    }
}

/// RANDOMKEY
pub fn randomkey(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    // An expired key is not an answer; where most keys have expired, some may be passed over,
    // but not for ever.
    for _ in 0..RANDOMKEY_TRIES {
        let mut key: Option<Option<Vec<u8>>> = None;
        let now = ctx.now;
        let rnd = ctx.local.rng.u64(..);
        let any = ctx.keyspace().random(ctx.db, rnd, &mut |e| {
            key = Some((!is_expired(&e, now)).then(|| e.key().to_vec()));
        });
        match (any, key) {
            (true, Some(Some(key))) => {
                ctx.reply.bulk(&key);
                return Ok(Outcome::Done);
            }
            (true, _) => {}
            (false, _) => break,
        }
    }
    ctx.reply.null();
    Ok(Outcome::Done)
}

const RANDOMKEY_TRIES: usize = 100;

/// Whether an entry is past its time; scans and samples skip it.
pub fn is_expired(entry: &EntryRef<'_>, now: u64) -> bool {
    entry.deadline().is_some_and(|d| crate::expiry::is_past(d, now))
}

/// DBSIZE
pub fn dbsize(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let n = ctx.keyspace().len(ctx.db);
    ctx.reply.int(i64::try_from(n).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// FLUSHDB
pub fn flushdb(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    flush_option(&mut ctx.args)?;
    let db = ctx.db;
    flush(ctx, db);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// FLUSHALL
pub fn flushall(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    flush_option(&mut ctx.args)?;
    for db in 0..ctx.shared.keyspace.databases() {
        flush(ctx, db);
    }
    // Counts as a change even if everything was empty.
    ctx.fx.database(0, 1);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// SYNC and ASYNC are the same here: a database is emptied by exchanging a pointer, and what
/// it held is freed off the workers.
fn flush_option(args: &mut Args<'_>) -> Result<(), Error> {
    if args.left() > 0 && !args.token("ASYNC") && !args.token("SYNC") {
        return Err(Error::Syntax);
    }
    args.end()
}

/// States which watched keys of `db` change if it is emptied or exchanged with `other`: those
/// that are there, before or after.
fn state_replaced(ctx: &mut Ctx<'_, '_>, db: DbId, other: Option<DbId>) {
    for key in ctx.shared.watches.of_database(db) {
        let here = ctx.open(db, &key);
        let mut changes = ctx.keys.exists(here);
        if let Some(other) = other {
            let there = ctx.open(other, &key);
            changes |= ctx.keys.exists(there);
        }
        if changes {
            ctx.fx.replaced(db, key);
        }
    }
}

fn flush(ctx: &mut Ctx<'_, '_>, db: DbId) {
    state_replaced(ctx, db, None);
    let dropped = ctx.keyspace().flush(db);
    ctx.keys.database_flushed(db);
    crate::commands::tracking::forget_if_nobody_tracks(ctx.shared);
    ctx.fx.database(db, dropped as u64);
}

/// SWAPDB
pub fn swapdb(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let first = ctx.args.int32().map_err(|_| Error::Line("ERR invalid first DB index"))?;
    let second = ctx.args.int32().map_err(|_| Error::Line("ERR invalid second DB index"))?;
    let (a, b) = (database(ctx, first)?, database(ctx, second)?);
    if a != b {
        state_replaced(ctx, a, Some(b));
        state_replaced(ctx, b, Some(a));
        ctx.keyspace().swap(a, b);
        ctx.shared.identities.swap(a, b);
    }
    ctx.fx.database(a, 1);
    ctx.fx.database(b, 0);
    ctx.reply.ok();
    Ok(Outcome::Done)
}
