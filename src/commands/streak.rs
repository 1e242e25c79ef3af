//! The way of nearly all commands: simple ones, one after the other.
//!
//! A command is simple ([`Found::is_simple`]) if nothing but its client or the state of the process can stand between it and
//! its handler, and if it locks one key in a fixed place. A pipeline is mostly runs of such commands.

use crate::commands::args::{Args, Source};
use crate::commands::call::{self, Env, Hands, Request, conclude, context};
use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::dispatch::Fate;
use crate::commands::session::Session;
use crate::commands::table::Found;
use crate::keyspace::{Batch, KeyHash};
use crate::protocol::OutBuf;

/// Simple commands of one client, which see the same [`Ctx`] one after the other. To make it anew for each of them, and
/// to ask again what cannot have changed, took longer than most of them take themselves.
pub struct Streak<'a, 'k> {
    ctx: Ctx<'a, 'k>,
}

impl<'a, 'k> Streak<'a, 'k> {
    /// Before the first one, which is `request`. The client is in no special mode ([`Session::is_plain`]), and simple
    /// commands do not change that.
    #[inline(always)]
    pub fn new(
        env: Env<'a>,
        hands: Hands<'a>,
        batch: &'a Batch<'_>,
        session: &'a mut Session,
        out: &'a mut OutBuf,
        request: Request<'k>,
    ) -> Streak<'a, 'k> {
        // A simple command has nothing to hide from the logs, and the one before it is through with them.
        hands.local.redacted.clear();
        Streak { ctx: context(env, hands, batch, session, out, request) }
    }

    /// Whether a simple command may just run, as far as the process is concerned.
    #[inline(always)]
    pub fn takes(&mut self, found: Found, source: Source<'_>) -> bool {
        let Ctx { session, shared, local, .. } = &mut self.ctx;
        debug_assert!(session.is_plain(), "a simple command changed the mode of its client");
        !shared.pause.is_set() && shared.monitors.is_empty() && local.room.has_budget(found, source)
    }

    /// Runs a command with its only key.
    #[inline(always)]
    pub fn run(&mut self, found: Found, source: Source<'k>, key: &'k [u8], hash: KeyHash) -> Fate {
        let ctx = &mut self.ctx;
        let begin = ctx.reply.position();
        ctx.args = Args::new(source, found.words());
        (ctx.command, ctx.id) = (found.command, found.id);
        ctx.keys.begin(ctx.batch.lock(ctx.db, hash), ctx.db, hash, key);
        let outcome = conclude(ctx, begin);
        // Hardly ever is there anything to free, which the compiler's own way asks part by part, in calls.
        if ctx.keys.release() && ctx.fx.is_light() {
            ctx.fx.clear();
        } else {
            Self::free(ctx);
        }
        if matches!(outcome, Outcome::Done) {
            std::mem::forget(outcome);
            return Fate::Done;
        }
        Self::special(ctx, outcome)
    }

    #[cold]
    #[inline(never)]
    fn special(ctx: &mut Ctx<'_, '_>, outcome: Outcome) -> Fate {
        let fate = Fate::from(&outcome);
        if let Outcome::More(rest) = outcome {
            ctx.local.rest = Some(rest);
        }
        fate
    }

    #[cold]
    #[inline(never)]
    fn free(ctx: &mut Ctx<'_, '_>) {
        ctx.keys.end();
        ctx.fx = Default::default();
    }

    /// See [`OutBuf::written`].
    #[inline(always)]
    pub fn written(&self) -> usize {
        self.ctx.reply.written()
    }

    /// The client.
    pub fn session(&self) -> &Session {
        self.ctx.session
    }

    /// Whether the last one leads to something besides its reply.
    #[inline(always)]
    pub fn is_signalled(&self) -> bool {
        self.ctx.local.signalled
    }

    /// After the last one.
    #[inline(always)]
    pub fn end(self) {
        call::note(self.ctx.session, self.ctx.id);
        // Each of them has let go of what it had.
        std::mem::forget(self.ctx);
    }
}
