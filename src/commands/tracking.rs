//! CLIENT TRACKING, CACHING, GETREDIR and TRACKINGINFO, and what a session remembers of them.

use std::sync::Arc;

use crate::clients::{ClientId, State};
use crate::commands::command::{Flags, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::keyspec::{self, KeyList};
use crate::commands::session::Session;
use crate::error::Error;
use crate::events::tracking::Tracker;
use crate::shared::Shared;

const NOT_TRACKING: Error = Error::Line(
    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
);
const NOT_OPTIN: Error =
    Error::Line("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
const NOT_OPTOUT: Error =
    Error::Line("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
const SWITCHES_BCAST: Error = Error::Line(
    "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.",
);
const SWITCHES_OPT: Error = Error::Line(
    "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.",
);

/// CLIENT TRACKING ON, as the session knows it.
#[derive(Debug, Clone, Default)]
pub struct Tracking {
    bcast: bool,
    optin: bool,
    optout: bool,
    noloop: bool,
    /// Who is told instead; 0 is nobody.
    redirect: ClientId,
    prefixes: Vec<Box<[u8]>>,
    /// CLIENT CACHING was said, and no command came since.
    pub caching: bool,
}

impl Tracking {
    /// Whether the keys of a read are remembered now.
    pub fn remembers(&self) -> bool {
        match (self.bcast, self.optin, self.optout) {
            (true, ..) => false,
            (_, true, _) => self.caching,
            (.., true) => !self.caching,
            _ => true,
        }
    }
}

/// A command of a tracking client has run, and its keys are still locked: if it was a read, they are
/// remembered.
#[cold]
#[inline(never)]
pub(super) fn remember(ctx: &Ctx<'_, '_>) {
    let Some(tracking) = &ctx.session.tracking else { return };
    let flags = ctx.command.flags;
    if !tracking.remembers() || !flags.contains(Flags::READONLY) || flags.contains(Flags::PUBSUB) {
        return;
    }
    let mut keys = KeyList::new();
    // A key count that makes no sense names none.
    if keyspec::keys_of(ctx.command, &ctx.args, &mut keys).is_err() {
        return;
    }
    for at in keys {
        let key = ctx.args.at(at.index);
        ctx.shared.tracking.remember(ctx.hash(key).0, key, ctx.session.id());
    }
}

/// Ends tracking, if it is on.
pub fn end(session: &mut Session, shared: &Shared) {
    let Some(tracking) = session.tracking.take() else { return };
    if shared.tracking.end(&session.handle, tracking.prefixes.iter().map(AsRef::as_ref)) {
        shared.helper.ask_sweep_tracking();
        shared.keyspace.wake_helper();
    }
    session.note_special();
}

/// A database is emptied. Where clients track, the news of it takes away what is remembered. What those left who track no
/// more would be swept away later, or stay if one of them tracks again by then.
pub fn forget_if_nobody_tracks(shared: &Shared) {
    if !shared.tracking.is_idle() {
        return;
    }
    let forgotten = shared.tracking.forget_all();
    if !forgotten.is_empty() {
        shared.helper.discard(Box::new(forgotten));
        shared.keyspace.wake_helper();
    }
}

/// CLIENT TRACKING
pub fn client_tracking(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let switch = ctx.args.next()?;
    let wanted = options(ctx)?;
    if switch.eq_ignore_ascii_case(b"on") {
        begin(ctx, wanted)?;
    } else if switch.eq_ignore_ascii_case(b"off") {
        end(ctx.session, ctx.shared);
    } else {
        return Err(Error::Syntax);
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

fn options(ctx: &mut Ctx<'_, '_>) -> Result<Tracking, Error> {
    let mut wanted = Tracking::default();
    while ctx.args.left() > 0 {
        let follows = ctx.args.left() > 1;
        if follows && ctx.args.token("REDIRECT") {
            if wanted.redirect != 0 {
                return Err(Error::Line("ERR A client can only redirect to a single other client"));
            }
            let id = ClientId::try_from(ctx.args.int()?).unwrap_or(0);
            if ctx.shared.clients.get(id).is_none() {
                return Err(Error::Line("ERR The client ID you want redirect to does not exist"));
            }
            wanted.redirect = id;
        } else if follows && ctx.args.token("PREFIX") {
            wanted.prefixes.push(ctx.args.next()?.into());
        } else if ctx.args.token("BCAST") {
            wanted.bcast = true;
        } else if ctx.args.token("OPTIN") {
            wanted.optin = true;
        } else if ctx.args.token("OPTOUT") {
            wanted.optout = true;
        } else if ctx.args.token("NOLOOP") {
            wanted.noloop = true;
        } else {
            return Err(Error::Syntax);
        }
    }
    Ok(wanted)
}

fn begin(ctx: &mut Ctx<'_, '_>, mut wanted: Tracking) -> Result<(), Error> {
    if !wanted.bcast && !wanted.prefixes.is_empty() {
        return Err(Error::Line("ERR PREFIX option requires BCAST mode to be enabled"));
    }
    let now = ctx.session.tracking.as_deref();
    if now.is_some_and(|now| now.bcast != wanted.bcast) {
        return Err(SWITCHES_BCAST);
    }
    if wanted.bcast && (wanted.optin || wanted.optout) {
        return Err(Error::Line("ERR OPTIN and OPTOUT are not compatible with BCAST"));
    }
    if wanted.optin && wanted.optout {
        return Err(Error::Line("ERR You can't specify both OPTIN mode and OPTOUT mode"));
    }
    if now.is_some_and(|now| (wanted.optin && now.optout) || (wanted.optout && now.optin)) {
        return Err(SWITCHES_OPT);
    }
    let known = now.map_or(&[][..], |now| &now.prefixes);
    check_prefixes(known, &wanted.prefixes)?;
    if wanted.bcast && wanted.prefixes.is_empty() {
        wanted.prefixes.push(Box::default());
    }
    // One that is there stays one: without PREFIX a second BCAST asks for what it has.
    wanted.prefixes.retain(|prefix| !known.contains(prefix));
    let redirect = ctx.shared.clients.get(wanted.redirect);
    let tracker = Tracker {
        client: Arc::clone(&ctx.session.handle),
        redirect,
        broadcast: wanted.bcast,
        noloop: wanted.noloop,
    };
    ctx.shared.tracking.begin(tracker, wanted.prefixes.iter().map(AsRef::as_ref));
    wanted.caching = now.is_some_and(|now| now.caching);
    wanted.prefixes.extend_from_slice(known);
    ctx.session.tracking = Some(Box::new(wanted));
    Ok(())
}

/// The prefixes of a client must not overlap, as it would hear of a change twice.
fn check_prefixes(known: &[Box<[u8]>], added: &[Box<[u8]>]) -> Result<(), Error> {
    let overlap = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
    for (i, prefix) in added.iter().enumerate() {
        let clash = |with: &str, other: &[u8]| {
            let with = format!("' overlaps with {with} prefix '");
            let rule = "'. Prefixes for a single client must not overlap.";
            Error::quoting_two("ERR Prefix '", prefix, &with, other, rule)
        };
        if let Some(other) = known.iter().find(|other| overlap(other, prefix)) {
            return Err(clash("an existing", other));
        }
        if let Some(other) = added[i + 1..].iter().find(|other| overlap(other, prefix)) {
            return Err(clash("another provided", other));
        }
    }
    Ok(())
}

/// CLIENT CACHING
pub fn client_caching(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let Some(tracking) = &mut ctx.session.tracking else { return Err(NOT_TRACKING) };
    if ctx.args.token("YES") {
        if !tracking.optin {
            return Err(NOT_OPTIN);
        }
    } else if ctx.args.token("NO") {
        if !tracking.optout {
            return Err(NOT_OPTOUT);
        }
    } else {
        return Err(Error::Syntax);
    }
    tracking.caching = true;
    ctx.session.note_special();
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// CLIENT GETREDIR
pub fn client_getredir(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let id = redirect(ctx.session);
    ctx.reply.int(id);
    Ok(Outcome::Done)
}

fn redirect(session: &Session) -> i64 {
    session.tracking.as_ref().map_or(-1, |t| i64::try_from(t.redirect).unwrap_or(i64::MAX))
}

/// CLIENT TRACKINGINFO
pub fn client_trackinginfo(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let session = &*ctx.session;
    let broken = session.handle.state().contains(State::TRACKING_BROKEN);
    let flags: Vec<&str> = match session.tracking.as_deref() {
        None => vec!["off"],
        Some(t) => [
            (true, "on"),
            (t.bcast, "bcast"),
            (t.optin, "optin"),
            (t.optin && t.caching, "caching-yes"),
            (t.optout, "optout"),
            (t.optout && t.caching, "caching-no"),
            (t.noloop, "noloop"),
            (broken, "broken_redirect"),
        ]
        .into_iter()
        .filter_map(|(set, word)| set.then_some(word))
        .collect(),
    };
    ctx.reply.map(3);
    ctx.reply.bulk(b"flags");
    ctx.reply.set(flags.len());
    flags.iter().for_each(|flag| ctx.reply.bulk(flag.as_bytes()));
    ctx.reply.bulk(b"redirect");
    ctx.reply.int(redirect(session));
    ctx.reply.bulk(b"prefixes");
    let prefixes = session.tracking.iter().flat_map(|t| &t.prefixes);
    ctx.reply.array(prefixes.clone().count());
    prefixes.for_each(|prefix| ctx.reply.bulk(prefix));
    Ok(Outcome::Done)
}
