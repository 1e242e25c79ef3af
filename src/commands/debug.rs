//! `DEBUG`. Behind the exclusive gate: what it does, nobody else sees half done.

use std::time::Duration;

use crate::commands::command::{Access, Arity, Command, Group, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::digest;
use crate::commands::object;
use crate::commands::row::flags;
use crate::commands::{call, config, reload};
use crate::error::Error;
use crate::eviction::access;
use crate::keys::{NewString, Ttl};
use crate::keyspace::{Content, DbId, EntryRef, Meta};
use crate::observe::info::engine_state;
use crate::values::Value;

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
    run: debug,
    ..Command::DEFAULT
}];

type Run = fn(&mut Ctx<'_, '_>) -> Result<Outcome, Error>;

/// Name, fewest and most arguments, form of the arguments, what it does, the code.
const SUBCOMMANDS: &[(&str, usize, usize, &str, &str, Run)] = &[
    ("CHANGE-REPL-ID", 0, 0, "", "Takes a new replication id.", change_repl_id),
    (
        "CLOCK-STEP",
        1,
        1,
        "<milliseconds>",
        "Sets this process' clock forward or, below zero, back.",
        clock_step,
    ),
    ("CONFIG-REWRITE-FORCE-ALL", 0, 0, "", "CONFIG REWRITE with a line for every setting.", rewrite_all),
    ("DIGEST", 0, 0, "", "Signature of all data; equal data, equal signature.", digest_all),
    ("DIGEST-VALUE", 0, usize::MAX, "[<key> ...]", "Signatures of values.", digest_values),
    ("ENGINES", 1, 2, "STATUS|GROW|SHRINK [<dbid>]", "Shows the engines, or begins a resize.", engines),
    ("ERROR", 1, 1, "<text>", "Answers this error.", error),
    ("FAULT", 1, 2, "HANDLER [<key>]|EXPIRY|HELPER", "A bug in that place; the others go on.", fault),
    ("HELP", 0, 0, "", "Prints this help.", help),
    ("HTSTATS", 1, 2, "<dbid> [full]", "Figures of a database's tables.", htstats),
    ("HTSTATS-KEY", 1, 2, "<key> [full]", "Figures of a value's table.", htstats_key),
    ("LOADAOF", 0, 0, "", "Loads the append-only file again.", not_built),
    ("LOG", 1, 1, "<message>", "Writes a line to the log.", log),
    ("OBJECT", 1, 2, "<key> [fast]", "How a value is stored.", object),
    ("PANIC", 0, 0, "", "Ends the process by a panic.", panic_now),
    ("PAUSE-CRON", 1, 1, "<0|1>", "Nothing: there is no periodic task.", pause_cron),
    ("POPULATE", 1, 3, "<count> [<prefix>] [<size>]", "Creates keys <prefix>:<n>.", populate),
    ("PROTOCOL", 1, 1, "<type>", PROTOCOL_HELP, protocol),
    (
        "QUICKLIST-PACKED-THRESHOLD",
        1,
        1,
        "<size>",
        "Size from which list elements stand alone.",
        packed_threshold,
    ),
    ("RELOAD", 0, usize::MAX, "[option ...]", "Writes all values and reads them again.", reload::reload),
    ("REPLYBUFFER", 2, 2, "<what> <value>", "Nothing: clients have no reply buffers.", replybuffer),
    ("SEGFAULT", 0, 0, "", "Ends the process by SIGSEGV.", segfault),
    ("SET-ACTIVE-EXPIRE", 1, 1, "<0|1>", "Background expiry off or on.", set_active_expire),
    ("SLEEP", 1, 1, "<seconds>", "Stops the whole server for a while.", sleep),
    ("STRINGMATCH-LEN", 2, 2, "<length> <pattern>", "Matches a pattern against so many a.", stringmatch),
    ("STRUCTSIZE", 0, 0, "", "Sizes of a few structures.", structsize),
];

const PROTOCOL_HELP: &str = "Answers a value of this type: string, integer, double, bignum, null, array, set, map, \
    attrib, push, verbatim, true, false.";

/// DEBUG
pub fn debug(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let name = ctx.args.next()?;
    let left = ctx.args.left();
    let found =
        SUBCOMMANDS.iter().find(|s| s.0.as_bytes().eq_ignore_ascii_case(name) && (s.1..=s.2).contains(&left));
    match found {
        Some((.., run)) => run(ctx),
        None => {
            let before = "ERR unknown subcommand or wrong number of arguments for '";
            Err(Error::quoting(before, call::shown(name), "'. Try DEBUG HELP."))
        }
    }
}

fn ok(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.reply.ok();
    Ok(Outcome::Done)
}

fn not_built(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let name = String::from_utf8_lossy(ctx.args.at(1)).to_lowercase();
    Err(Error::not_built(&format!("debug {name}")))
}

fn help(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.reply.array(1 + 2 * SUBCOMMANDS.len());
    ctx.reply.simple("DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    for (name, _, _, form, summary, _) in SUBCOMMANDS {
        ctx.reply.simple(format!("{name} {form}").trim_end());
        ctx.reply.simple(&format!("    {summary}"));
    }
    Ok(Outcome::Done)
}

fn change_repl_id(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    tracing::warn!("Changing replication IDs after receiving DEBUG change-repl-id");
    *ctx.shared.replid.lock() = crate::shared::random_id();
    ok(ctx)
}

fn rewrite_all(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    config::rewrite(ctx, true)
}

fn digest_all(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let databases = ctx.shared.keyspace.databases();
    let signature = digest::everything(ctx.keyspace(), databases, ctx.now);
    ctx.reply.simple(&signature.hex());
    Ok(Outcome::Done)
}

fn digest_values(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.keys.no_touch();
    let keys = ctx.args.rest();
    ctx.reply.array(keys.len());
    for key in keys {
        let i = ctx.open(ctx.db, key);
        let signature = ctx.keys.with_entry(i, |e| digest::value(&e)).unwrap_or_default();
        ctx.reply.simple(&signature.hex());
    }
    Ok(Outcome::Done)
}

/// The database that the next argument names.
fn database(ctx: &mut Ctx<'_, '_>) -> Result<DbId, Error> {
    let n = ctx.args.int()?;
    let db = DbId::try_from(n).ok().filter(|db| *db < ctx.shared.keyspace.databases());
    db.ok_or(Error::Line("ERR Out of range database"))
}

fn engines(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let what = ctx.args.next()?;
    let db = if ctx.args.left() > 0 { database(ctx)? } else { ctx.db };
    let up = match what {
        w if w.eq_ignore_ascii_case(b"STATUS") => return engine_status(ctx, db),
        w if w.eq_ignore_ascii_case(b"GROW") => true,
        w if w.eq_ignore_ascii_case(b"SHRINK") => false,
        _ => return Err(Error::Syntax),
    };
    // The helper thread begins it as soon as the gate is down; STATUS shows what came of it.
    ctx.shared.helper.ask_resize(db, up);
    ctx.shared.keyspace.wake_helper();
    ok(ctx)
}

fn engine_status(ctx: &mut Ctx<'_, '_>, db: DbId) -> Result<Outcome, Error> {
    let e = ctx.keyspace().stats(db);
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    ctx.reply.map(8);
    ctx.reply.bulk(b"state");
    ctx.reply.bulk(engine_state(e.state).as_bytes());
    for (name, value) in [
        ("generation", e.generation),
        ("shards", e.shards as u64),
        ("keys", e.keys as u64),
        ("keys-moved", e.keys_moved),
        ("keys-purged", e.keys_purged),
        ("migrations-done", e.migrations_done),
        ("last-migration-ms", e.last_migration_ms),
    ] {
        ctx.reply.bulk(name.as_bytes());
        ctx.reply.int(signed(value));
    }
    Ok(Outcome::Done)
}

fn error(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let text = String::from_utf8_lossy(ctx.args.next()?).into_owned();
    Err(Error::text(text))
}

fn log(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let message = String::from_utf8_lossy(ctx.args.next()?).into_owned();
    tracing::warn!("DEBUG LOG: {message}");
    ok(ctx)
}

fn panic_now(_: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    tracing::error!("DEBUG PANIC: ending the process as asked");
    std::process::abort();
}

fn segfault(_: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    tracing::error!("DEBUG SEGFAULT: ending the process as asked");
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::SEGV);
    // The signal is under way; should it be blocked, the end comes all the same.
    std::process::abort();
}

/// `0` is off, any other number on.
fn switch(ctx: &mut Ctx<'_, '_>) -> Result<bool, Error> {
    Ok(ctx.args.int()? != 0)
}

fn pause_cron(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    switch(ctx)?;
    ok(ctx)
}

/// Clients have no reply buffers of their own, so none is resized: in time, later or never are all the same.
fn replybuffer(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if ctx.args.token("RESIZING") {
        switch(ctx)?;
    } else if ctx.args.token("PEAK-RESET-TIME") {
        if !ctx.args.token("NEVER") && !ctx.args.token("RESET") {
            ctx.args.int()?;
        }
    } else {
        return Err(Error::Syntax);
    }
    ok(ctx)
}

/// A panic, as a bug would cause it: in this command with the gate raised and a key locked and changed, in the next
/// slice of this worker's expiry, or in the helper thread. What each of them may take down is tested with it.
fn fault(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if ctx.args.token("HANDLER") {
        if ctx.args.left() > 0 {
            let key = ctx.args.next()?;
            let i = ctx.open(ctx.db, key);
            ctx.keys.put_string(i, NewString::Bytes(b"half done"), Ttl::Keep)?;
        }
        panic!("asked for by DEBUG FAULT");
    } else if ctx.args.token("EXPIRY") {
        ctx.local.panic_in_expiry = true;
    } else if ctx.args.token("HELPER") {
        ctx.shared.helper.ask_panic();
        ctx.shared.keyspace.wake_helper();
    } else {
        return Err(Error::Syntax);
    }
    ok(ctx)
}

fn clock_step(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    // A year either way: no arithmetic with times can overflow.
    const STEP_MAX: i64 = 366 * 24 * 3_600_000;
    let ms = ctx.args.int_in(-STEP_MAX..=STEP_MAX, Error::NotInteger)?;
    crate::clock::step(ms);
    ctx.shared.clock_steps.send_replace(());
    ok(ctx)
}

fn set_active_expire(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let on = switch(ctx)?;
    ctx.shared.active_expire.store(on, std::sync::atomic::Ordering::Relaxed);
    ok(ctx)
}

/// 0 is as usual.
fn packed_threshold(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let bytes = crate::config::memory_size(ctx.args.next()?).filter(|n| *n < 1 << 32);
    let bytes = bytes
        .and_then(|n| usize::try_from(n).ok())
        .ok_or(Error::Line("ERR argument must be a memory value bigger than 1 and smaller than 4gb"))?;
    crate::values::list::set_packed_threshold((bytes > 0).then_some(bytes));
    ok(ctx)
}

/// Longest sleep, so that a typing error does not stop the server for ever.
const SLEEP_MAX_S: f64 = 3600.0;

/// The gate is raised, so nobody runs a command meanwhile.
fn sleep(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let text = ctx.args.next()?;
    let seconds = crate::commands::number::parse_f64(text).unwrap_or(0.0).clamp(0.0, SLEEP_MAX_S);
    std::thread::sleep(Duration::from_secs_f64(seconds));
    ok(ctx)
}

fn stringmatch(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    const LENGTH_MAX: i64 = 1 << 20;
    let length = ctx.args.int_in(0..=LENGTH_MAX, Error::OutOfRange)?;
    let text = vec![b'a'; usize::try_from(length).unwrap_or(0)];
    let pattern = ctx.args.next()?;
    ctx.reply.int(i64::from(crate::glob::matches(pattern, &text, false)));
    Ok(Outcome::Done)
}

fn structsize(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let text = format!(
        "bits:{} value:{} client:{} command:{}",
        usize::BITS,
        size_of::<Value>(),
        size_of::<crate::clients::ClientHandle>(),
        size_of::<Command>()
    );
    ctx.reply.simple(&text);
    Ok(Outcome::Done)
}

fn protocol(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let kind = String::from_utf8_lossy(ctx.args.next()?).to_ascii_lowercase();
    let resp3 = ctx.reply.is_resp3();
    let reply = &mut ctx.reply;
    match kind.as_str() {
        "string" => reply.bulk(b"Hello World"),
        "integer" => reply.int(12345),
        // The value that the suites expect, which is not meant to be π.
        #[expect(clippy::approx_constant, reason = "a fixed test value")]
        "double" => reply.double(3.141),
        "null" => reply.null(),
        "array" | "set" => {
            if kind == "set" {
                reply.set(3)
            } else {
                reply.array(3)
            }
            (0..3).for_each(|n| reply.int(n));
        }
        "map" => {
            reply.map(3);
            for n in 0..3 {
                reply.int(n);
                reply.bool(n == 1);
            }
        }
        "attrib" => {
            if resp3 {
                reply.attribute(1);
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.int(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        "push" if !resp3 => return Err(Error::Line("ERR RESP2 is not supported by this command")),
        "push" => {
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.int(42);
            reply.bulk(b"Some real reply following the push reply");
        }
        "verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        "true" | "false" => reply.bool(kind == "true"),
        "bignum" => reply.bignum("1234567999999999999999999999999999999"),
        _ => {
            return Err(Error::Line(
                "ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(Outcome::Done)
}

/// Most keys that one POPULATE creates, and their longest value.
const POPULATE_MAX: i64 = 100_000_000;

fn populate(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let count = ctx.args.int_in(0..=POPULATE_MAX, Error::OutOfRange)?;
    let prefix = if ctx.args.left() > 0 { ctx.args.next()? } else { b"key" };
    let size = match ctx.args.left() {
        0 => None,
        _ => {
            let longest = i64::try_from(ctx.config.proto_max_bulk_len).unwrap_or(i64::MAX);
            let size = ctx.args.int_in(0..=longest, Error::OutOfRange)?;
            Some(usize::try_from(size).unwrap_or(0))
        }
    };
    let batch = ctx.keyspace();
    batch.prepare(ctx.db, usize::try_from(count).unwrap_or(0));
    let meta = Meta { access: access::fresh(ctx.local.touch, ctx.now), ..Meta::default() };
    for n in 0..count {
        let mut key = prefix.to_vec();
        key.extend_from_slice(format!(":{n}").as_bytes());
        let mut value = format!("value:{n}").into_bytes();
        if let Some(size) = size {
            value.resize(size, 0);
        }
        let hash = batch.hash_key(&key);
        let mut guard = batch.lock(ctx.db, hash);
        if guard.find(hash, &key).is_none() {
            guard.insert(hash, &key, Content::Bytes(&value), meta)?;
        }
    }
    ok(ctx)
}

fn object(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let key = ctx.args.next()?;
    ctx.keys.no_touch();
    let i = ctx.open(ctx.db, key);
    let now = ctx.now;
    let fill = ctx.config.list_max_listpack_size;
    match ctx.keys.with_entry(i, |e| describe(&e, now, fill)) {
        Some(text) => ctx.reply.simple(&text),
        None => return Err(Error::NoSuchKey),
    }
    Ok(Outcome::Done)
}

fn describe(entry: &EntryRef<'_>, now: u64, list_fill: i32) -> String {
    let held = entry.value();
    let (place, length) = match (entry.bytes(), held.as_deref()) {
        (Some(bytes), _) => (bytes.as_ptr().addr(), bytes.len()),
        (None, Some(value)) => (std::ptr::from_ref(value).addr(), value.memory()),
        (None, None) => (0, 0),
    };
    let idle = access::idle_seconds(entry.access(), now);
    let mut text = format!(
        "Value at:{place:#x} refcount:1 encoding:{} serializedlength:{length} lru:{} lru_seconds_idle:{idle}",
        object::encoding(entry),
        entry.access(),
    );
    if let Some(Value::List(list)) = held.as_deref() {
        let nodes = list.nodes().count();
        let average = list.len() as f64 / nodes.max(1) as f64;
        text.push_str(&format!(
            " ql_nodes:{nodes} ql_avg_node:{average:.2} ql_listpack_max:{list_fill} ql_compressed:0 ql_uncompressed_size:{length}"
        ));
    }
    text
}

fn htstats(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let db = database(ctx)?;
    let e = ctx.keyspace().stats(db);
    let expires = e.expires;
    let places = (e.keys as f64 / (e.load_percent / 100.0).max(0.01)) as usize;
    let text = format!(
        "[Dictionary HT]\n{}[Expires HT]\nDeadlines stand in the entries: {expires} of them\n",
        table_text(places.next_power_of_two(), e.keys, e.shards)
    );
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(Outcome::Done)
}

fn table_text(size: usize, elements: usize, shards: usize) -> String {
    if elements == 0 {
        return "No stats available for empty dictionaries\n".to_owned();
    }
    format!(
        "Hash table 0 stats (main hash table):\n table size: {size}\n number of elements: {elements}\n shards: {shards}\n"
    )
}

fn htstats_key(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let key = ctx.args.next()?;
    ctx.keys.no_touch();
    let i = ctx.open(ctx.db, key);
    if !ctx.keys.exists(i) {
        return Err(Error::NoSuchKey);
    }
    let elements = ctx.keys.value(i, |v| match v {
        Some(Value::Set(set)) if set.encoding() == "hashtable" => Some(set.len()),
        Some(Value::Hash(hash)) if hash.encoding() == "hashtable" => Some(hash.len()),
        Some(Value::ZSet(zset)) if zset.encoding() == "skiplist" => Some(zset.len()),
        _ => None,
    });
    let Some(elements) = elements else {
        return Err(Error::Line(
            "ERR The value stored at the specified key is not represented using an hash table",
        ));
    };
    let text = table_text(elements.next_power_of_two(), elements, 1);
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_once_only() {
        assert!(SUBCOMMANDS.windows(2).all(|w| w[0].0 < w[1].0));
    }
}
