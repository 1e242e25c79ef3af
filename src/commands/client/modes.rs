//! How clients are served: silently, not at all for a while, spared, or woken from a wait.

use crate::blocking::Answer;
use crate::clients::{ClientId, State};
use crate::clock;
use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::session::ReplyMode;
use crate::commands::{number, waiting};
use crate::error::Error;
use crate::shared::PauseMode;

/// CLIENT REPLY
pub fn client_reply(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if ctx.args.token("ON") {
        ctx.session.set_reply_mode(ReplyMode::On);
        ctx.session.handle.clear(State::REPLY_OFF);
        ctx.reply.ok();
    } else if ctx.args.token("OFF") {
        ctx.session.set_reply_mode(ReplyMode::Off);
        ctx.session.handle.set(State::REPLY_OFF);
    } else if ctx.args.token("SKIP") {
        if ctx.session.reply_mode != ReplyMode::Off {
            ctx.session.set_reply_mode(ReplyMode::SkipNext);
        }
    } else {
        return Err(Error::Syntax);
    }
    Ok(Outcome::Done)
}

/// CLIENT NO-EVICT
pub fn client_no_evict(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let on = on_off(ctx)?;
    ctx.session.handle.put(State::NO_EVICT, on);
    // One that may go from now on may have to go at once: its connection looks after each turn.
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// CLIENT NO-TOUCH
pub fn client_no_touch(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let on = on_off(ctx)?;
    ctx.session.no_touch = on;
    ctx.session.handle.put(State::NO_TOUCH, on);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// CLIENT IMPORT-SOURCE
pub fn client_import_source(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let _ = on_off(ctx)?;
    Err(Error::Line("ERR Server is not in import mode"))
}

fn on_off(ctx: &mut Ctx<'_, '_>) -> Result<bool, Error> {
    if ctx.args.token("ON") {
        Ok(true)
    } else if ctx.args.token("OFF") {
        Ok(false)
    } else {
        Err(Error::Syntax)
    }
}

/// CLIENT PAUSE
pub fn client_pause(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let ms = ctx.args.next()?;
    let ms = number::parse_i64(ms).ok_or(Error::Line("ERR timeout is not an integer or out of range"))?;
    let ms = u64::try_from(ms).map_err(|_| Error::Line("ERR timeout is negative"))?;
    let mode = if ctx.args.left() == 0 || ctx.args.token("ALL") {
        PauseMode::All
    } else if ctx.args.token("WRITE") {
        PauseMode::Writes
    } else {
        return Err(Error::Line("ERR CLIENT PAUSE mode must be WRITE or ALL"));
    };
    ctx.args.end()?;
    let until = clock::now_ms()
        .checked_add(ms)
        .filter(|t| *t < i64::MAX.unsigned_abs())
        .ok_or(Error::Line("ERR timeout is out of range"))?;
    ctx.shared.pause.begin(until, mode);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// CLIENT UNPAUSE
pub fn client_unpause(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.shared.pause.end();
    for client in ctx.shared.clients.list() {
        client.wake();
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// CLIENT UNBLOCK
pub fn client_unblock(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    // The reason is looked at before the id.
    ctx.args.seek(3);
    let how = if ctx.args.left() == 0 || ctx.args.token("TIMEOUT") {
        Answer::TimedOut
    } else if ctx.args.token("ERROR") {
        Answer::Unblocked
    } else {
        return Err(Error::Line("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
    };
    ctx.args.seek(2);
    let id = ctx.args.int()?;
    let ended = ClientId::try_from(id).is_ok_and(|id| waiting::end_client(ctx.shared, id, how));
    ctx.reply.int(i64::from(ended));
    Ok(Outcome::Done)
}
