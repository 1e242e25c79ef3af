//! A reply that is written in pieces: the next one when the socket has taken the one before.
//!
//! Meanwhile nothing is received, what was pipelined behind waits, and messages of others stay in the
//! mailbox: nothing may stand in the middle of a reply.

use super::{Connection, Desk, End, Held, Reason, SCRATCH_BYTES};
use crate::protocol::Reply;

impl Connection {
    /// Whether a reply is being written in pieces.
    pub(super) fn is_replying(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.replies())
    }

    /// Writes the next piece to the worker's buffer; whether there are more.
    pub(super) fn reply_on(&mut self, desk: &mut Desk) -> Result<bool, End> {
        let Some(Held { reason: Reason::Replies(rest), .. }) = self.held.as_deref_mut() else {
            return Ok(false);
        };
        let more = rest.write(&mut Reply::new(&mut desk.out, self.session.resp3), SCRATCH_BYTES);
        let bytes = rest.bytes();
        if !more {
            self.end_reply(desk);
        }
        // What is sent already counts too: a reply above the limit ends the client, however fast it reads.
        self.check_hard(bytes)?;
        Ok(more)
    }

    /// Writes the next piece and sends it.
    pub(super) fn send_piece(&mut self, desk: &mut Desk) -> Result<(), End> {
        self.reply_on(desk)?;
        self.send_from(desk)
    }

    /// The last piece was written, or none will be any more.
    pub(super) fn end_reply(&mut self, desk: &mut Desk) {
        if let Some(held) = self.held.as_deref_mut()
            && let Reason::Replies(rest) = std::mem::replace(&mut held.reason, Reason::Pause)
        {
            desk.runner.end_reply(&self.session, *rest);
        }
    }
}
