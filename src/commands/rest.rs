//! The rest of a large reply, written piece by piece when nothing is locked any more.
//!
//! A handler that has much to say takes a snapshot of what it reads, says how long the reply will
//! be, and returns `Outcome::More` with a [`Rest`]. `call` delivers the effects and lets go of the
//! locks; then the connection has the reply written in pieces, each when the socket has taken the one
//! before. So a reply of any size holds no lock, keeps no other client of its worker waiting for
//! long, and is never in memory as a whole. Where that cannot be (EXEC, a client that waited,
//! CLIENT REPLY OFF) all of it is written at once.

use smallvec::SmallVec;

use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::keys::Collection;
pub use crate::keys::MANY;
use crate::observe::slowlog;
use crate::protocol::Reply;
use crate::values::Value;

/// Elements that a table is asked for at once.
const STEP: usize = 64;

/// Bytes that a command writes of its reply itself.
const AT_ONCE_BYTES: usize = 64 * 1024;

/// The values that a reply is made of. They are dropped where that holds nobody up.
pub type Sources = SmallVec<[Value; 1]>;

/// Writes until the reply is so long, or at its end; whether there is more.
type Next = dyn FnMut(&mut Sources, &mut Reply<'_>, usize) -> bool;

/// The rest of a reply.
pub struct Rest {
    sources: Sources,
    next: Box<Next>,
    /// Bytes of the reply that were written.
    bytes: usize,
    /// What the log of large replies would show of the command.
    shown: Vec<Box<[u8]>>,
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rest({} sources, {} bytes written)", self.sources.len(), self.bytes)
    }
}

impl Rest {
    /// A reply made of one collection. `next` is called again and again: it writes until
    /// [`Reply::position`] has reached its last argument, and says whether there is more.
    pub fn of<T: Collection>(
        source: T,
        mut next: impl FnMut(&T, &mut Reply<'_>, usize) -> bool + 'static,
    ) -> Box<Rest> {
        let sources = std::iter::once(source.wrap()).collect();
        Self::of_many(sources, move |sources, reply, until| match sources.first().and_then(T::of) {
            Some(source) => next(source, reply, until),
            None => false,
        })
    }

    /// A reply made of several values, which `next` may change as well.
    pub fn of_many(
        sources: Sources,
        next: impl FnMut(&mut Sources, &mut Reply<'_>, usize) -> bool + 'static,
    ) -> Box<Rest> {
        Box::new(Rest { sources, next: Box::new(next), bytes: 0, shown: Vec::new() })
    }

    /// Writes about so many bytes. Whether there is more.
    pub fn write(&mut self, reply: &mut Reply<'_>, bytes: usize) -> bool {
        let begin = reply.out().len();
        let until = reply.position().saturating_add(bytes);
        let more = (self.next)(&mut self.sources, reply, until);
        self.bytes = self.bytes.saturating_add(reply.out().len() - begin);
        more
    }

    /// Bytes that were written, which count for the limits of output.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What it was made of, to be dropped, and what a log would show of the command.
    pub fn into_parts(self) -> (Sources, Vec<Box<[u8]>>) {
        (self.sources, self.shown)
    }
}

/// Writes items until the reply has reached `until`; how many.
pub fn put<I: Iterator>(
    reply: &mut Reply<'_>,
    until: usize,
    items: I,
    mut one: impl FnMut(&mut Reply<'_>, I::Item),
) -> usize {
    let mut n = 0;
    for item in items {
        one(reply, item);
        n += 1;
        if reply.position() >= until {
            break;
        }
    }
    n
}

/// Writes what a table holds until the reply has reached `until`; whether there is more. `scan` goes on
/// from a cursor and returns the next one. In a snapshot, which nobody changes, it visits all once.
pub fn put_scanned(
    reply: &mut Reply<'_>,
    until: usize,
    cursor: &mut u64,
    mut scan: impl FnMut(u64, usize, &mut Reply<'_>) -> u64,
) -> bool {
    loop {
        *cursor = scan(*cursor, STEP, reply);
        if *cursor == 0 || reply.position() >= until {
            return *cursor != 0;
        }
    }
}

/// The effects of a command are delivered: its locks go, and it writes what is written at once. Its reply began at
/// `begin`.
#[cold]
pub(super) fn begin(ctx: &mut Ctx<'_, '_>, mut rest: Box<Rest>, begin: usize) -> Outcome {
    ctx.keys.unlock();
    let streams = ctx.may_reply_on();
    rest.bytes = ctx.reply.position() - begin;
    let at_once = if streams { AT_ONCE_BYTES } else { usize::MAX };
    if rest.write(&mut ctx.reply, at_once) && streams {
        rest.shown = slowlog::shorten(ctx.args.source().iter());
        return Outcome::More(rest);
    }
    rest.into_parts().0.into_iter().for_each(|source| ctx.keys.drop_later(source));
    Outcome::Done
}
