//! The connection itself: PING, ECHO, SELECT, AUTH, HELLO, QUIT, RESET.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::clients::ClientHandle;
use crate::clock;
use crate::commands::command::{Arity, Command, Group, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::row::{acl, flags};
use crate::commands::session::Session;
use crate::commands::{tracking, transaction};
use crate::error::Error;
use crate::keyspace::DbId;
use crate::shared::Shared;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "auth",
        arity: Arity::AtLeast(2),
        flags: flags!(NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | SENTINEL | ALLOW_BUSY),
        acl: acl!(CONNECTION),
        syntax: "[username^6.0.0] password",
        summary: "Proves who the client is.",
        since: "1.0.0",
        group: Group::Connection,
        complexity: "O(N), N passwords of the user",
        history: &[("6.0.0", "A user name can come before the password.")],
        run: auth,
        ..Command::DEFAULT
    },
    Command {
        name: "echo",
        arity: Arity::Exactly(2),
        flags: flags!(LOADING | STALE | FAST),
        acl: acl!(CONNECTION),
        syntax: "message",
        summary: "Replies with its argument.",
        since: "1.0.0",
        group: Group::Connection,
        run: echo,
        ..Command::DEFAULT
    },
    Command {
        name: "hello",
        arity: Arity::AtLeast(1),
        flags: flags!(NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | SENTINEL | ALLOW_BUSY),
        acl: acl!(CONNECTION),
        syntax: "[arguments: protover:int [AUTH auth: username password] [SETNAME clientname]]",
        summary: "Chooses the protocol version; logs in and names the connection on the way.",
        since: "6.0.0",
        group: Group::Connection,
        history: &[("6.2.0", "Works without `protover`: it only reports then.")],
        run: hello,
        ..Command::DEFAULT
    },
    Command {
        name: "ping",
        arity: Arity::AtLeast(1),
        flags: flags!(FAST | SENTINEL),
        acl: acl!(CONNECTION),
        syntax: "[message]",
        summary: "Replies PONG, or its argument.",
        since: "1.0.0",
        group: Group::Connection,
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        run: ping,
        ..Command::DEFAULT
    },
    Command {
        name: "quit",
        arity: Arity::AtLeast(1),
        flags: flags!(NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY),
        acl: acl!(CONNECTION),
        summary: "Closes the connection after the replies.",
        since: "1.0.0",
        group: Group::Connection,
        deprecated: Some(("7.2.0", "closing the connection")),
        run: quit,
        ..Command::DEFAULT
    },
    Command {
        name: "reset",
        arity: Arity::Exactly(1),
        flags: flags!(NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY),
        acl: acl!(CONNECTION),
        summary: "Puts the connection back to its first state.",
        since: "6.2.0",
        group: Group::Connection,
        run: reset,
        ..Command::DEFAULT
    },
    Command {
        name: "select",
        arity: Arity::Exactly(2),
        flags: flags!(LOADING | STALE | FAST),
        acl: acl!(CONNECTION),
        syntax: "index:int",
        summary: "Chooses the database.",
        since: "1.0.0",
        group: Group::Connection,
        run: select,
        ..Command::DEFAULT
    },
];

/// PING
pub fn ping(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if ctx.args.count() > 2 {
        return Err(ctx.arity_error());
    }
    let message = ctx.args.next().ok();
    if ctx.session.subscriber_mode() {
        ctx.reply.array(2);
        ctx.reply.bulk(b"pong");
        ctx.reply.bulk(message.unwrap_or(b""));
    } else if let Some(message) = message {
        ctx.reply.bulk(message);
    } else {
        ctx.reply.simple("PONG");
    }
    Ok(Outcome::Done)
}

/// ECHO
pub fn echo(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let message = ctx.args.next()?;
    ctx.reply.bulk(message);
    Ok(Outcome::Done)
}

/// SELECT
pub fn select(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let db = ctx.args.int32()?;
    let db = DbId::try_from(db).ok().filter(|db| *db < ctx.shared.keyspace.databases());
    ctx.session.select(db.ok_or(Error::DbIndex)?);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// AUTH
pub fn auth(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    // Neither the slow log nor MONITOR may show a password.
    ctx.local.redacted.extend(1..ctx.args.count());
    if ctx.args.count() > 3 {
        return Err(Error::Syntax);
    }
    let (user, password) = match ctx.args.left() {
        1 => {
            if ctx.config.requirepass.is_empty() {
                return Err(Error::Line(
                    "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
                ));
            }
            (&b"default"[..], ctx.args.next()?)
        }
        _ => (ctx.args.next()?, ctx.args.next()?),
    };
    authenticate(ctx, user, password)?;
    ctx.session.authenticated = true;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

const WRONGPASS: Error = Error::Line("WRONGPASS invalid username-password pair or user is disabled.");

/// Compares digests, without an early exit and with the same work for an unknown user, so that
/// neither length nor prefix nor the existence of a user shows in the time it takes.
fn authenticate(ctx: &mut Ctx<'_, '_>, user: &[u8], password: &[u8]) -> Result<(), Error> {
    let wanted = Sha256::digest(ctx.config.requirepass.as_bytes());
    let given = Sha256::digest(password);
    let open = ctx.config.requirepass.is_empty();
    let right = bool::from(wanted.as_slice().ct_eq(given.as_slice())) | open;
    if right & (user == b"default") {
        return Ok(());
    }
    ctx.shared.stats.lane(ctx.local.worker).denied_auth += 1;
    Err(WRONGPASS)
}

/// HELLO
pub fn hello(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let mut resp3 = ctx.session.resp3;
    if ctx.args.left() > 0 {
        let version = ctx
            .args
            .int()
            .map_err(|_| Error::Line("ERR Protocol version is not an integer or out of range"))?;
        resp3 = match version {
            2 => false,
            3 => true,
            _ => return Err(Error::Line("NOPROTO unsupported protocol version")),
        };
    }
    let mut name = None;
    let mut credentials = None;
    while let Some(option) = ctx.args.peek() {
        if ctx.args.token("AUTH") && ctx.args.left() >= 2 {
            let at = ctx.args.position();
            ctx.local.redacted.extend([at, at + 1]);
            credentials = Some((ctx.args.next()?, ctx.args.next()?));
        } else if ctx.args.token("SETNAME") && ctx.args.left() >= 1 {
            name = Some(check_name(ctx.args.next()?)?);
        } else {
            return Err(Error::quoting("ERR Syntax error in HELLO option '", option, "'"));
        }
    }
    if let Some((user, password)) = credentials {
        authenticate(ctx, user, password)?;
    } else if !ctx.session.authenticated {
        return Err(Error::Line(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    // Only now, when nothing can fail any more, does the connection change.
    ctx.session.authenticated = true;
    if let Some(name) = name {
        ctx.session.handle.with_labels(|l| l.name = name.to_vec());
    }
    ctx.session.set_protocol(resp3);
    ctx.reply.set_resp3(resp3);
    describe(ctx);
    Ok(Outcome::Done)
}

fn describe(ctx: &mut Ctx<'_, '_>) {
    let id = ctx.session.id().try_into().unwrap_or(i64::MAX);
    let resp = if ctx.session.resp3 { 3 } else { 2 };
    let reply = &mut ctx.reply;
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(crate::REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.int(resp);
    reply.bulk(b"id");
    reply.int(id);
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
}

/// A client or library name: printable, without blanks.
pub fn check_name(name: &[u8]) -> Result<&[u8], Error> {
    if name.iter().all(|b| (b'!'..=b'~').contains(b)) {
        return Ok(name);
    }
    Err(Error::Line("ERR Client names cannot contain spaces, newlines or special characters."))
}

/// QUIT
pub fn quit(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.reply.ok();
    Ok(Outcome::Close)
}

/// RESET
pub fn reset(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    forget(ctx.session, ctx.shared);
    let handle = std::sync::Arc::clone(&ctx.session.handle);
    handle.reset();
    *ctx.session = Session::new(handle, ctx.config.requirepass.is_empty());
    ctx.session.set_protocol(false);
    ctx.session.select(0);
    crate::clients::apply_output_limit(&ctx.session.handle, ctx.config);
    ctx.reply.set_resp3(false);
    ctx.reply.simple("RESET");
    Ok(Outcome::Done)
}

/// Undoes everything that others know of a session that ends.
pub fn forget(session: &mut Session, shared: &Shared) {
    transaction::end(session, shared);
    if let Some(subscriptions) = session.subscriptions.take() {
        super::pubsub::forget(shared, &subscriptions, &session.handle);
    }
    tracking::end(session, shared);
    if session.monitor {
        shared.monitors.remove(session.handle.id);
    }
}

/// Milliseconds between two warnings of [`cross_protocol`], so that an attack does not fill the disk.
const WARNING_EVERY_MS: u64 = 60_000;

/// Whether this is what HTTP begins with: then somebody makes a browser send commands, and the connection must end
/// before the body of the request is taken for them.
pub fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// Warns of a connection that speaks HTTP.
pub fn cross_protocol(handle: &ClientHandle) {
    static LAST_MS: AtomicU64 = AtomicU64::new(0);
    let (last, now) = (LAST_MS.load(Relaxed), clock::mono_ms().max(1));
    if last != 0 && now.saturating_sub(last) < WARNING_EVERY_MS {
        return;
    }
    LAST_MS.store(now, Relaxed);
    tracing::warn!(
        client = handle.id,
        addr = %handle.addr,
        "Possible SECURITY ATTACK detected: somebody sends POST or Host: as if this were a web server, likely to make \
         a browser run commands (cross protocol scripting). The connection is closed."
    );
}
