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
    /// Before the first one, which is `request`.
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

    /// Whether a simple command may just run, as far as its client and the process are concerned.
    #[inline(always)]
    pub fn takes(&mut self, found: Found, source: Source<'_>) -> bool {
        let Ctx { session, shared, local, .. } = &mut self.ctx;
        session.is_plain()
            && !shared.pause.is_set()
            && shared.monitors.is_empty()
            && local.room.has_budget(found, source)
    }

    /// Runs a command, whose only key is argument `key`.
    #[inline(always)]
    pub fn run(&mut self, found: Found, source: Source<'k>, key: usize, hash: KeyHash) -> Fate {
        let ctx = &mut self.ctx;
        let begin = ctx.reply.position();
        ctx.args = Args::new(source, found.words());
        (ctx.command, ctx.id) = (found.command, found.id);
        ctx.keys.begin(ctx.batch.lock(ctx.db, hash), ctx.db, hash, source.at(key));
        let outcome = conclude(ctx, begin);
        // Hardly ever is there anything to free, which the compiler's own way asks part by part, in calls.
        if ctx.keys.release() && ctx.fx.is_light() {
            std::mem::forget(std::mem::take(&mut ctx.fx));
        } else {
            Self::free(ctx);
        }
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
