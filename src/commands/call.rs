//! The one place that runs a handler.
//!
//! Whoever runs a command (a connection, EXEC) comes through [`run`]: it resolves the keys
//! from the declaration, locks their shards, calls the handler, delivers its effects while
//! the locks are held, and turns an error into a reply. Connections ask [`refusal`] first.

use std::sync::atomic::Ordering::Relaxed;

use smallvec::SmallVec;

use crate::commands::args::{Args, Source};
use crate::commands::command::{Access, Command, Flags, Outcome};
use crate::commands::ctx::{Ctx, Origin};
use crate::commands::keyspec::{self, KeyList};
use crate::commands::local::{Lane, Local};
use crate::commands::room;
use crate::commands::session::Session;
use crate::commands::table::{self, Found};
use crate::commands::transaction::Queued;
use crate::commands::{rest, timing, tracking, waiting};
use crate::config::{Allow, Config};
use crate::delivery::{self, By};
use crate::error::Error;
use crate::eviction::access::Touch;
use crate::expiry::{Expiry, Graveyard};
use crate::keys::{Guards, Keys};
use crate::keyspace::{Batch, DbId, KeyHash, LockSet};
use crate::protocol::{OutBuf, Reply};
use crate::shared::Shared;

/// What stays the same for a whole batch.
#[derive(Clone, Copy)]
pub struct Env<'w> {
    /// What all workers share.
    pub shared: &'w Shared,
    /// The settings when the batch began.
    pub config: &'w Config,
    /// Unix milliseconds when the batch began.
    pub now: u64,
    /// How accesses are recorded.
    pub touch: Touch,
}

/// A worker's state, taken apart so that a command can be run inside another one (EXEC).
pub struct Hands<'a> {
    /// What handlers see.
    pub local: &'a mut Local,
    /// Timers.
    pub expiry: &'a mut Expiry,
    /// Values to drop after the locks are released.
    pub graveyard: &'a mut Graveyard,
}

impl Hands<'_> {
    /// The same for a shorter time.
    #[inline]
    pub fn reborrow(&mut self) -> Hands<'_> {
        Hands { local: self.local, expiry: self.expiry, graveyard: self.graveyard }
    }
}

impl Lane {
    /// The parts.
    pub fn hands(&mut self) -> Hands<'_> {
        Hands { local: &mut self.local, expiry: &mut self.expiry, graveyard: &mut self.graveyard }
    }
}

/// A request as it was resolved against the table.
#[derive(Clone, Copy)]
pub struct Request<'k> {
    /// The command or subcommand.
    pub found: Found,
    /// Its arguments.
    pub source: Source<'k>,
    /// Hash of its first key, if that is known already.
    pub hash: Option<KeyHash>,
    /// Who runs it.
    pub origin: Origin,
}

/// Runs one command and writes its reply, or its error, to `out`.
#[inline(never)]
pub fn run(
    env: Env<'_>,
    hands: Hands<'_>,
    batch: &Batch<'_>,
    session: &mut Session,
    out: &mut OutBuf,
    request: Request<'_>,
) -> Outcome {
    let begin = out.position();
    let mut ctx = context(env, hands, batch, session, out, request);
    // One key in a fixed place, which the batch has hashed and prefetched.
    if let (Some(index), Some(hash)) = (request.found.single_key(), request.hash) {
        ctx.keys.guards = Guards::One(batch.lock(ctx.db, hash));
        ctx.keys.push(ctx.db, hash, ctx.args.at(index));
    } else {
        lock(&mut ctx);
    }
    conclude(&mut ctx, begin)
}

/// What a handler sees, without keys.
#[inline(always)]
pub(super) fn context<'a, 'k>(
    env: Env<'a>,
    hands: Hands<'a>,
    batch: &'a Batch<'_>,
    session: &'a mut Session,
    out: &'a mut OutBuf,
    request: Request<'k>,
) -> Ctx<'a, 'k> {
    let (db, resp3) = (session.db, session.resp3);
    let policy = if session.no_touch { Touch::No } else { env.touch };
    Ctx {
        args: Args::new(request.source, request.found.words()),
        keys: Keys::new(hands.expiry, hands.graveyard, env.now, policy, env.touch),
        reply: Reply::new(out, resp3),
        fx: Default::default(),
        now: env.now,
        db,
        session,
        shared: env.shared,
        config: env.config,
        local: hands.local,
        command: request.found.command,
        id: request.found.id,
        origin: request.origin,
        batch,
    }
}

/// Calls the handler and sees to what follows. `begin`: where the reply begins.
#[inline(always)]
pub(super) fn conclude(ctx: &mut Ctx<'_, '_>, begin: usize) -> Outcome {
    let outcome = match (ctx.command.run)(ctx) {
        Ok(outcome) => outcome,
        Err(error) => return failed(ctx, begin, &error),
    };
    debug_assert!(!ctx.keys.any_emptied(), "{} did not state a removal", ctx.command.name);
    let by = By { client: &ctx.session.handle, changes: &mut ctx.local.changes };
    ctx.local.signalled |= delivery::apply(ctx.shared, &mut ctx.keys, &ctx.fx, by);
    settle(ctx);
    match outcome {
        Outcome::Block(wait) => waiting::begin(ctx, *wait),
        Outcome::More(rest) => rest::begin(ctx, rest, begin),
        outcome => outcome,
    }
}

/// The handler refused: nothing changed but what it found past its time.
#[cold]
#[inline(never)]
fn failed(ctx: &mut Ctx<'_, '_>, begin: usize, error: &Error) -> Outcome {
    debug_assert!(ctx.fx.is_empty(), "{} failed after it stated an effect", ctx.command.name);
    let by = By { client: &ctx.session.handle, changes: &mut ctx.local.changes };
    ctx.local.signalled |= delivery::apply(ctx.shared, &mut ctx.keys, &Default::default(), by);
    if ctx.session.tracking.is_some() {
        tracking::remember(ctx);
    }
    let out = ctx.reply.out();
    out.truncate_to(begin);
    fail(ctx.shared, ctx.local.worker, ctx.id, out, error);
    Outcome::Done
}

/// Runs a command inside another one (EXEC), with its reply in the same place. Its keys were
/// locked by that one, which gives their place among them, or the gate is raised.
/// Takes and gives the time between two commands, in monotonic nanoseconds.
pub fn nested(ctx: &mut Ctx<'_, '_>, queued: Queued<'_>, origin: Origin, begun_ns: u64) -> (Outcome, u64) {
    let Queued { found, source, places, words, first } = queued;
    let env = Env { shared: ctx.shared, config: ctx.config, now: ctx.now, touch: ctx.keys.touch() };
    let batch = ctx.batch;
    let (guards, expiry, graveyard) = ctx.keys.parts();
    let mut hands = Hands { local: ctx.local, expiry, graveyard };
    let request = Request { found, source, hash: None, origin };
    let worker = hands.local.worker;
    let outer = std::mem::take(&mut hands.local.redacted);
    let out = ctx.reply.out();
    let outcome = match guards {
        Guards::Many(set) => {
            let begin = out.position();
            let mut inner = context(env, hands.reborrow(), batch, ctx.session, out, request);
            for (&(db, hash), &word) in places.iter().zip(words) {
                inner.keys.push(db, hash, inner.args.at(word as usize));
            }
            inner.keys.guards = match places.len() {
                0 => Guards::None,
                1 => Guards::Lent(set.lend(first)),
                n => Guards::LentMany(Box::new(set.lend_range(first..first + n))),
            };
            conclude(&mut inner, begin)
        }
        _ => run(env, hands.reborrow(), batch, ctx.session, out, request),
    };
    let now_ns = crate::clock::mono_ns();
    let took = now_ns.saturating_sub(begun_ns);
    let redacted = std::mem::replace(&mut hands.local.redacted, outer);
    let ran = timing::Ran { found, source: request.source, redacted: &redacted };
    timing::took(env, ctx.session, took / 1000, ran);
    if is_monitored(env, found) {
        feed_monitors(env, &redacted, ctx.session, request.source);
    }
    let track = ctx.config.latency_tracking;
    ctx.session.handle.ran(1);
    let mut counters = ctx.shared.stats.lane(worker);
    counters.total_commands += 1;
    counters.command(found.id).record(1, took, track);
    drop(counters);
    (outcome, now_ns)
}

/// Whether somebody in MONITOR is to see this command.
#[inline]
pub fn is_monitored(env: Env<'_>, found: Found) -> bool {
    !env.shared.monitors.is_empty() && !found.command.flags.intersects(Flags::SKIP_MONITOR | Flags::ADMIN)
}

/// Shows a command to those in MONITOR.
#[cold]
pub fn feed_monitors(env: Env<'_>, redacted: &[usize], session: &Session, source: Source<'_>) {
    let args =
        source.iter().enumerate().map(|(i, a)| if redacted.contains(&i) { timing::REDACTED } else { a });
    env.shared.monitors.feed(crate::clock::now_us(), session.db, &session.handle, args);
}

/// Locks what the declaration says.
#[inline(never)]
fn lock(ctx: &mut Ctx<'_, '_>) {
    match ctx.command.access_for(&ctx.args) {
        Access::None | Access::Walk => {}
        Access::Whole => ctx.keys.guards = Guards::Open(ctx.batch),
        Access::Queued => lock_queued(&mut ctx.keys, ctx.batch, ctx.session),
        Access::Read | Access::Keys => lock_declared(ctx),
    }
}

/// Locks the shards of the declared keys, any number of them, and hands them to the view.
fn lock_declared(ctx: &mut Ctx<'_, '_>) {
    let Ctx { keys, args, command, batch, db, .. } = ctx;
    let (batch, db) = (*batch, *db);
    let mut named = NamedKeys::new();
    name_keys(batch, db, command, args, &mut named);
    match &named[..] {
        [] => {}
        [only] => {
            keys.guards = Guards::One(batch.lock(only.db, only.hash));
            keys.push(only.db, only.hash, args.at(only.word));
        }
        many => {
            let places: SmallVec<[(DbId, KeyHash); 8]> = many.iter().map(|k| (k.db, k.hash)).collect();
            let mut set = Box::new(LockSet::new());
            if command.flags.contains(Flags::WRITE) {
                batch.prepare(db, places.len());
            }
            batch.lock_many(&places, &mut set);
            keys.guards = Guards::Many(set);
            for k in many {
                keys.push(k.db, k.hash, args.at(k.word));
            }
        }
    }
}

/// A key that a request names.
#[derive(Clone, Copy)]
pub struct Named {
    /// Its database.
    pub db: DbId,
    /// Its hash.
    pub hash: KeyHash,
    /// Index of the argument.
    pub word: usize,
}

/// Keys that a request names, in order.
pub type NamedKeys = SmallVec<[Named; 4]>;

/// Resolves the keys of a request. A key count that makes no sense names none: the handler
/// refuses it with its own words. So does one whose other database does not exist.
pub fn name_keys(batch: &Batch<'_>, db: DbId, command: &Command, args: &Args<'_>, out: &mut NamedKeys) {
    let mut list = KeyList::new();
    if keyspec::keys_of(command, args, &mut list).is_err() {
        return;
    }
    out.extend(list.iter().map(|k| Named { db, hash: batch.hash_key(args.at(k.index)), word: k.index }));
    if let (Some(elsewhere), Some(&last)) = (command.elsewhere, out.last()) {
        if out.len() == 1 {
            out.push(last);
        }
        let there = elsewhere(args).and_then(|n| DbId::try_from(n).ok());
        if let (Some(there), Some(last)) = (there, out.last_mut())
            && there < batch.keyspace().databases()
        {
            last.db = there;
        }
    }
}

/// The keys of a transaction and those that its client watches, for EXEC. Behind the gate each
/// command locks what it needs.
#[inline(never)]
fn lock_queued<'a>(keys: &mut Keys<'a, '_>, batch: &'a Batch<'_>, session: &Session) {
    let Some(transaction) = &session.transaction else { return };
    batch.prepare(session.db, transaction.keys_written());
    keys.guards = if batch.is_exclusive() {
        Guards::Open(batch)
    } else {
        let mut set = LockSet::new();
        let mut places: SmallVec<[(DbId, KeyHash); 16]> = transaction.places().into();
        places.extend(session.watched.iter().flat_map(|w| w.places()));
        batch.lock_many(&places, &mut set);
        Guards::Many(Box::new(set))
    };
}

/// Counters that follow from what happened to the keys.
#[inline(always)]
fn settle(ctx: &mut Ctx<'_, '_>) {
    if ctx.command.flags.contains(Flags::READONLY) {
        let (hits, misses) = ctx.keys.found();
        ctx.local.tally.hits += hits;
        ctx.local.tally.misses += misses;
        if ctx.session.tracking.is_some() {
            tracking::remember(ctx);
        }
    }
    if let Touch::Arc { tick } = ctx.local.touch
        && ctx.keys.any_created()
    {
        room::recognise(ctx, tick);
    }
    if ctx.keys.any_expired() {
        ctx.local.tally.expired += ctx.keys.expired().count() as u64;
        ctx.local.tally.expired_fields += ctx.keys.expired_fields();
    }
    ctx.local.tally.dirty += ctx.fx.dirty;
}

/// Writes an error reply and counts it.
#[cold]
pub fn fail(shared: &Shared, worker: u16, id: u16, out: &mut OutBuf, error: &Error) {
    Reply::new(out, false).error(&*error.bytes());
    let mut counters = shared.stats.lane(worker);
    counters.error(&error.code());
    counters.command(id).failed += 1;
}

/// Refuses a command before it runs (unknown, wrong arity, not allowed now).
pub fn reject(shared: &Shared, worker: u16, id: Option<u16>, out: &mut OutBuf, error: &Error) {
    Reply::new(out, false).error(&*error.bytes());
    let mut counters = shared.stats.lane(worker);
    counters.error(&error.code());
    if let Some(id) = id {
        counters.command(id).rejected += 1;
    }
}

/// Why this client may not run this command now, if so.
pub fn refusal(env: Env<'_>, session: &Session, found: Found) -> Option<Error> {
    let flags = found.command.flags;
    if !session.authenticated && !flags.contains(Flags::NO_AUTH) {
        return Some(Error::Line("NOAUTH Authentication required."));
    }
    if session.subscriptions.is_some() && session.subscriber_mode() && !allowed_while_subscribed(found) {
        return Some(Error::text(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            table::full_name(found.id),
        )));
    }
    if flags.contains(Flags::PROTECTED) && !protected_allowed(env.config, session, found) {
        let name = table::container(found.id).command.name;
        return Some(Error::text(format!(
            "ERR {} command not allowed. If the enable-{}-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
            name.to_ascii_uppercase(),
            name,
        )));
    }
    None
}

fn allowed_while_subscribed(found: Found) -> bool {
    matches!(
        table::container(found.id).command.name,
        "subscribe"
            | "unsubscribe"
            | "psubscribe"
            | "punsubscribe"
            | "ssubscribe"
            | "sunsubscribe"
            | "ping"
            | "quit"
            | "reset"
    )
}

fn protected_allowed(config: &Config, session: &Session, found: Found) -> bool {
    let setting = match found.command.name {
        "debug" => config.enable_debug_command,
        _ => config.enable_module_command,
    };
    match setting {
        Allow::Yes => true,
        Allow::No => false,
        Allow::Local => session.is_local(),
    }
}

/// The error for a request that names no command.
pub fn unknown<'x>(mut args: impl Iterator<Item = &'x [u8]>) -> Error {
    let name = args.next().unwrap_or(b"");
    let mut line = b"ERR unknown command '".to_vec();
    line.extend_from_slice(up_to_nul(&name[..name.len().min(SHOWN_MAX)]));
    line.extend_from_slice(b"', with args beginning with: ");
    let mut shown = 0;
    for arg in args {
        if shown >= SHOWN_MAX {
            break;
        }
        let part = up_to_nul(&arg[..arg.len().min(SHOWN_MAX - shown)]);
        line.push(b'\'');
        line.extend_from_slice(part);
        line.extend_from_slice(b"' ");
        shown += part.len() + 3;
    }
    Error::Bytes(line.into())
}

/// Error texts end a client's word where Redis does: at a NUL.
fn up_to_nul(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr::memchr(0, bytes).unwrap_or(bytes.len())]
}

/// Bytes of a client that an error text shows.
const SHOWN_MAX: usize = 128;

/// A client's bytes inside an error text, at most 128 of them.
pub fn shown(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(SHOWN_MAX)]
}

/// Notes who ran what, for CLIENT LIST.
#[inline]
pub fn note(session: &Session, id: u16) {
    session.handle.figures.cmd.store(id, Relaxed);
}
