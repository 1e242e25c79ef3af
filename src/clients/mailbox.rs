//! What others send to a client: frames that wait until its owner has time for them, and the messages that were dropped because
//! too many waited.
//!
//! Whoever sends never waits for a reader: too much for the hard limit kills the client, and a subscriber of `~lost` loses
//! messages instead, and is told how many.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use parking_lot::{Mutex, MutexGuard};

use super::{ClientHandle, State};
use crate::memory::allocator;
use crate::protocol::{OutBuf, Reply};

/// Channel on which a subscriber hears that it was too slow.
pub const LOST: &[u8] = b"~lost";

/// The mailbox of a client. Its methods are those of the client, which they wake or kill.
pub(super) struct Mailbox {
    /// Frames pushed by others; moved to the output buffer by the owner between commands, so a
    /// push never lands inside a reply.
    frames: Mutex<OutBuf>,
    any: AtomicBool,
    bytes: AtomicUsize,
    /// Of what was allocated for the mailbox, what no eviction should be made for, as it is on its way. Changed under the
    /// mailbox's lock.
    in_transit: AtomicUsize,
    /// The same of what the owner took out of it and has not yet tried to send.
    taken: AtomicUsize,
    /// Messages that were dropped and that it was not told of.
    pub(super) lost: AtomicU64,
    /// Those of all clients, ever.
    all_lost: Arc<AtomicU64>,
    /// How much may wait for a client that may lose messages.
    pub(super) messages_max: AtomicUsize,
    /// Hard limit on what may wait for this client, `usize::MAX` for none.
    output_hard: AtomicUsize,
}

impl Mailbox {
    /// An empty one without limits. `all_lost` counts what any client loses.
    pub fn new(all_lost: Arc<AtomicU64>) -> Mailbox {
        Mailbox {
            frames: Mutex::new(OutBuf::default()),
            any: AtomicBool::new(false),
            bytes: AtomicUsize::new(0),
            in_transit: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            all_lost,
            messages_max: AtomicUsize::new(usize::MAX),
            output_hard: AtomicUsize::new(usize::MAX),
        }
    }
}

impl ClientHandle {
    /// Appends frames to the mailbox and wakes the owner. `write` gets the buffer to write into.
    ///
    /// Returns the bytes that now wait in the mailbox. A client on its way out takes nothing.
    pub fn push(&self, write: impl FnOnce(&mut OutBuf)) -> usize {
        if self.state().intersects(State::ENDING) {
            return 0;
        }
        self.append(self.mailbox.frames.lock(), write)
    }

    /// The same with what eviction itself may cause: until its owner has tried to send it, it does not count as memory in
    /// use. Else each key that goes would make more go, for the news of it.
    pub fn push_in_transit(&self, write: impl FnOnce(&mut OutBuf)) -> usize {
        if self.state().intersects(State::ENDING) {
            return 0;
        }
        self.append(self.mailbox.frames.lock(), |mail| {
            // To the byte as the allocator counts: what is missing here would be evicted for, once for each client.
            let before = allocator::of_this_thread();
            write(mail);
            let grown = usize::try_from(allocator::of_this_thread() - before).unwrap_or(0);
            self.ledger.in_transit.fetch_add(grown, Relaxed);
            self.mailbox.in_transit.fetch_add(grown, Relaxed);
        })
    }

    /// Whether something was taken that was on its way; one load for each sending.
    #[inline]
    pub fn has_in_transit(&self) -> bool {
        self.mailbox.taken.load(Relaxed) != 0
    }

    /// What was on its way is sent, or waits in the connection's buffer and counts as any other reply. The owner calls
    /// this, once the gauge knows what was freed by that.
    pub fn arrived(&self) {
        self.ledger.in_transit.fetch_sub(self.mailbox.taken.swap(0, Relaxed), Relaxed);
    }

    /// The same with a message of a channel. A subscriber of `~lost` that is too slow for it loses it.
    pub fn push_message(&self, write: impl FnOnce(&mut OutBuf)) {
        let state = self.state();
        if state.intersects(State::ENDING) {
            return;
        }
        let mail = self.mailbox.frames.lock();
        if state.contains(State::LOSES_MESSAGES) && self.is_too_slow(&mail) {
            self.mailbox.all_lost.fetch_add(1, Relaxed);
            if self.mailbox.lost.fetch_add(1, Relaxed) == 0 {
                // The owner may have looked for losses just before: it looks once more.
                self.mailbox.any.store(true, Release);
                drop(mail);
                self.waker.wake();
            }
            return;
        }
        self.append(mail, write);
    }

    /// Whether a message is dropped: too much waits, or others were dropped before it, of which the client is told
    /// first.
    fn is_too_slow(&self, mail: &OutBuf) -> bool {
        self.mailbox.lost.load(Relaxed) > 0
            || mail.len() + self.figures.out.load(Relaxed) > self.mailbox.messages_max.load(Relaxed)
    }

    /// Whether messages were dropped that the client does not know of; one load for each sending.
    #[inline]
    pub fn has_lost(&self) -> bool {
        self.mailbox.lost.load(Relaxed) > 0
    }

    /// Tells the client how many messages it lost, once half of what may wait was sent. The owner calls this when it
    /// has sent something.
    pub fn report_lost(&self) {
        let mail = self.mailbox.frames.lock();
        if mail.len() + self.figures.out.load(Relaxed) > self.mailbox.messages_max.load(Relaxed) / 2 {
            return;
        }
        let lost = self.mailbox.lost.swap(0, Relaxed);
        let resp3 = self.resp3();
        self.append(mail, |out| {
            let mut reply = Reply::new(out, resp3);
            reply.push(3);
            reply.bulk(b"message");
            reply.bulk(LOST);
            reply.bulk(itoa::Buffer::new().format(lost).as_bytes());
        });
    }

    /// SUBSCRIBE and UNSUBSCRIBE of `~lost`.
    pub fn set_loses_messages(&self, may: bool) {
        self.put(State::LOSES_MESSAGES, may);
        if !may {
            self.mailbox.lost.store(0, Relaxed);
        }
    }

    fn append(&self, mut mail: MutexGuard<'_, OutBuf>, write: impl FnOnce(&mut OutBuf)) -> usize {
        write(&mut mail);
        let bytes = mail.len();
        self.mailbox.bytes.store(bytes, Relaxed);
        self.mailbox.any.store(true, Release);
        if bytes + self.figures.out.load(Relaxed) > self.mailbox.output_hard.load(Relaxed) {
            // The reader is too slow: what waits is dropped here, not when its worker notices.
            *mail = OutBuf::default();
            self.mailbox.bytes.store(0, Relaxed);
            self.set(State::KILLED | State::OVER_LIMIT);
        }
        drop(mail);
        if self.ledger.is_kept() {
            self.report();
        }
        self.waker.wake();
        bytes
    }

    /// Sets the hard limit on what may wait for this client.
    pub fn set_output_hard(&self, bytes: usize) {
        self.mailbox.output_hard.store(bytes, Relaxed);
    }

    /// The hard limit on what may wait for this client.
    pub fn output_hard(&self) -> usize {
        self.mailbox.output_hard.load(Relaxed)
    }

    /// Whether frames wait.
    #[inline]
    pub fn has_mail(&self) -> bool {
        self.mailbox.any.load(Acquire)
    }

    /// Bytes that wait in the mailbox.
    pub fn mail_bytes(&self) -> usize {
        self.mailbox.bytes.load(Relaxed)
    }

    /// Moves what waits behind the replies of the owner, who has a place for it there: not between a request that waits
    /// and its answer, nor within a reply.
    #[inline]
    pub fn move_mail_to(&self, out: &mut OutBuf) {
        if self.has_mail() {
            out.append(&mut self.take_mail());
        }
    }

    /// Takes what waits. Only the owner calls this.
    pub fn take_mail(&self) -> OutBuf {
        let mut mail = self.mailbox.frames.lock();
        self.mailbox.any.store(false, Relaxed);
        self.mailbox.bytes.store(0, Relaxed);
        self.mailbox.taken.fetch_add(self.mailbox.in_transit.swap(0, Relaxed), Relaxed);
        std::mem::take(&mut *mail)
    }

    /// Puts what was taken in front of what has come since, as its time has not come. Only the owner calls this, and
    /// looks again.
    pub fn put_back(&self, mut taken: OutBuf) {
        if taken.is_empty() {
            return;
        }
        let mut mail = self.mailbox.frames.lock();
        self.mailbox.in_transit.fetch_add(self.mailbox.taken.swap(0, Relaxed), Relaxed);
        taken.append(&mut mail);
        *mail = taken;
        self.mailbox.bytes.store(mail.len(), Relaxed);
        self.mailbox.any.store(true, Release);
    }
}

impl Drop for ClientHandle {
    fn drop(&mut self) {
        self.take_mail();
        self.arrived();
    }
}
