//! One client: receive, run, send, and wait for whichever comes next.
//!
//! A connection stays on its worker for life. While it is idle it holds no buffer: bytes are
//! received into the worker's scratch buffer, and only an unfinished request is kept.

mod input;
mod output;
mod pieces;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::blocking::{Answer, Waiter};
use crate::clients::{ClientHandle, State};
use crate::clock;
use crate::commands::rest::Rest;
use crate::commands::session::Session;
use crate::commands::waiting;
use crate::protocol::OutBuf;
use crate::protocol::owned::OwnedRequest;
use crate::protocol::request::{Parser, Requests};
use crate::server::batch::{Ran, Runner, Work};
use crate::server::turns::MailTurns;
use crate::shared::Shared;
use crate::sys::readiness;
use crate::sys::socket::Stream;
use crate::values::Blob;

/// Bytes received at once.
pub const SCRATCH_BYTES: usize = 64 * 1024;
/// After so many full reads a client lets the others of its worker run …
const READS_PER_TURN: usize = 4;
/// … and after one that took so long.
const LONG_READ_NS: u64 = 250_000;

/// What the connections of one worker share.
pub struct Desk {
    /// Runs commands.
    pub runner: Runner,
    /// Ranges of the requests being run.
    pub requests: Requests,
    /// Where bytes are received.
    pub scratch: Vec<u8>,
    /// Where replies are written.
    pub out: OutBuf,
    /// Told whenever a connection has ended.
    pub gone: Rc<Notify>,
    /// Who may empty its mailbox now.
    pub mail_turns: Rc<MailTurns>,
}

impl Desk {
    /// Back to a state that the next connection can work with, after a panic left it half-way.
    /// Whatever was written may be half a reply, and belongs to a connection that is closed.
    fn repair(&mut self) {
        self.out = OutBuf::default();
        self.requests = Requests::new();
        self.scratch.resize(SCRATCH_BYTES, 0);
        self.runner.rest();
        self.runner.lane.local.redacted.clear();
        self.runner.lane.local.waiter = None;
        self.runner.lane.local.rest = None;
    }
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The peer closed or the socket failed.
    Gone,
    /// A command or a protocol error asked for it; replies are sent first.
    Asked,
    /// Killed by others; nothing more is sent.
    Killed,
}

/// What woke the task.
enum Wake {
    Readable,
    Writable,
    Mail,
    Resume,
    Gone,
}

/// Why requests are held back.
enum Reason {
    /// CLIENT PAUSE.
    Pause,
    /// The request before them waits for its answer.
    Waits(Arc<Waiter>),
    /// The request before them has a reply that is still being written.
    Replies(Box<Rest>),
}

/// Requests that wait their turn. Nothing is received meanwhile.
struct Held {
    args: Vec<Vec<Blob>>,
    reason: Reason,
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Held {
    /// Whether news may be sent now: not while the request before them has its answer, or part of it, or is about to.
    fn has_place_for_news(&self) -> bool {
        match &self.reason {
            Reason::Pause => true,
            Reason::Waits(waiter) => !waiter.is_in_hand(),
            Reason::Replies(_) => false,
        }
    }

    /// Whether the reply before them is still being written.
    fn replies(&self) -> bool {
        matches!(self.reason, Reason::Replies(_))
    }

    /// Whether they, or the reply before them, may go on. `sent`: the socket has taken what was written.
    fn poll(&mut self, cx: &mut Context<'_>, shared: &Shared, sent: bool) -> bool {
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            self.timer = None;
            match &self.reason {
                Reason::Pause | Reason::Replies(_) => return true,
                Reason::Waits(waiter) => waiting::end(shared, waiter, Answer::TimedOut),
            }
        }
        match &self.reason {
            Reason::Pause => shared.pause.active(clock::now_ms()).is_none(),
            Reason::Waits(waiter) => waiter.is_answered(),
            Reason::Replies(_) => sent,
        }
    }
}

/// A connected client.
pub struct Connection {
    io: AsyncFd<Stream>,
    desk: Rc<RefCell<Desk>>,
    /// Here as well, for when the desk is lent out.
    shared: Arc<Shared>,
    session: Session,
    parser: Parser,
    /// An unfinished request, or requests that a pause holds back.
    tail: Vec<u8>,
    /// A request whose large value is being received.
    large: Option<Box<OwnedRequest>>,
    /// Bytes received in all when the time limit of the unfinished request began to count.
    partial_mark: u64,
    /// Replies that the socket did not take.
    pending: OutBuf,
    /// A second registration of the socket, made only while replies wait.
    writable: Option<AsyncFd<std::os::fd::OwnedFd>>,
    held: Option<Box<Held>>,
    /// Bytes came in while requests were held.
    unread: bool,
}

impl Connection {
    /// Takes over a connected, non-blocking socket.
    pub fn new(
        stream: Stream,
        desk: Rc<RefCell<Desk>>,
        handle: Arc<ClientHandle>,
        authenticated: bool,
    ) -> io::Result<Connection> {
        let shared = Arc::clone(&desk.borrow().runner.shared);
        Ok(Connection {
            shared,
            io: readiness::watch(stream, Interest::READABLE)?,
            desk,
            session: Session::new(handle, authenticated),
            parser: Parser::new(),
            tail: Vec::new(),
            large: None,
            partial_mark: 0,
            pending: OutBuf::default(),
            writable: None,
            held: None,
            unread: false,
        })
    }

    /// Serves the client until it goes.
    pub async fn serve(mut self) {
        let mut end = loop {
            let step = match self.wait().await {
                Wake::Readable => self.readable().await,
                Wake::Writable => self.sent(Self::flush),
                Wake::Mail => self.mail_in_turn().await,
                Wake::Resume => self.resume().await,
                Wake::Gone => Err(End::Gone),
            };
            self.shared.clients.account(&self.session.handle);
            if let Err(end) = step {
                break end;
            }
        };
        if end == End::Asked {
            end = self.linger().await;
        }
        self.finish(end);
    }

    /// Messages wait for their turn; an end does not.
    async fn mail_in_turn(&mut self) -> Result<(), End> {
        if !self.session.handle.state().intersects(State::ENDING) {
            let turns = Rc::clone(&self.desk.borrow().mail_turns);
            turns.take().await;
        }
        self.sent(Self::mail)
    }

    /// A step outside of a batch that may free what another thread allocated. The gauge hears of it at once: until then
    /// it would count for a limit, and keys would go for memory that is free already.
    fn sent(&mut self, step: fn(&mut Connection) -> Result<(), End>) -> Result<(), End> {
        self.desk.borrow_mut().runner.report_memory();
        let result = step(self);
        let mut desk = self.desk.borrow_mut();
        desk.runner.report_memory();
        self.note_arrival(&mut desk);
        result
    }

    /// Before an end that was asked for, what is due is sent, however slowly the client reads it. It ends early when
    /// the client goes, when somebody kills it, when it breaks an output limit, or with the drain of a shutdown.
    async fn linger(&mut self) -> End {
        self.session.handle.set(State::CLOSE_AFTER_REPLY);
        loop {
            if let Err(end) = self.flush() {
                return end;
            }
            if self.pending.is_empty() {
                if !self.is_replying() {
                    return End::Asked;
                }
                if let Err(end) = self.guarded(Connection::send_piece) {
                    return end;
                }
                tokio::task::yield_now().await;
                continue;
            }
            let Connection { session, writable, .. } = self;
            let killed = poll_fn(|cx| {
                session.handle.register(cx.waker());
                if session.killed() {
                    return Poll::Ready(true);
                }
                match writable {
                    Some(writable) => writable.poll_write_ready(cx).map(|_| false),
                    None => Poll::Ready(false),
                }
            });
            if killed.await {
                return End::Killed;
            }
        }
    }

    /// Sleeps until there is something to do.
    async fn wait(&mut self) -> Wake {
        let Connection { io, session, writable, held, shared, unread, pending, .. } = self;
        let handle = &*session.handle;
        poll_fn(|cx| {
            // First, so that a client which always has something to say cannot outlast its end.
            if handle.state().intersects(State::ENDING) {
                return Poll::Ready(Wake::Mail);
            }
            if held.is_none() {
                if io.poll_read_ready(cx).is_ready() {
                    return Poll::Ready(Wake::Readable);
                }
            } else if held.as_ref().is_some_and(|held| !held.replies()) && poll_gone(io, cx, unread) {
                return Poll::Ready(Wake::Gone);
            }
            if let Some(writable) = writable
                && writable.poll_write_ready(cx).is_ready()
            {
                return Poll::Ready(Wake::Writable);
            }
            handle.register(cx.waker());
            // After registering: a message or a kill that came before is seen here, one that
            // comes later wakes the task.
            if handle.state().intersects(State::ENDING) {
                return Poll::Ready(Wake::Mail);
            }
            if let Some(held) = held
                && held.poll(cx, shared, pending.is_empty())
            {
                return Poll::Ready(Wake::Resume);
            }
            // An answer that was read before a change must not follow the news of it, so that news waits
            // until it is clear whether there is an answer.
            if handle.has_mail() && held.as_ref().is_none_or(|held| held.has_place_for_news()) {
                return Poll::Ready(Wake::Mail);
            }
            Poll::Pending
        })
        .await
    }

    /// Receives and runs until the socket is empty or others should have their turn.
    async fn readable(&mut self) -> Result<(), End> {
        for _ in 0..READS_PER_TURN {
            let more = self.receive()?;
            if !more || self.held.is_some() {
                return Ok(());
            }
            if self.desk.borrow().runner.read_took_ns() > LONG_READ_NS {
                break;
            }
        }
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Lends the desk to `step`. A panic in there is a bug, and costs this connection only: the
    /// guards on the stack have let go of locks and gate, and the desk is made usable again.
    fn guarded<T>(&mut self, step: fn(&mut Connection, &mut Desk) -> Result<T, End>) -> Result<T, End> {
        let desk = Rc::clone(&self.desk);
        let mut desk = desk.borrow_mut();
        let desk = &mut *desk;
        match catch_unwind(AssertUnwindSafe(|| step(self, desk))) {
            Ok(result) => result,
            Err(payload) => {
                tracing::error!(client = self.session.handle.id, addr = %self.session.handle.addr,
                    "a request ended in a panic, its connection is closed: {}", panic_text(&*payload));
                desk.repair();
                Err(End::Killed)
            }
        }
    }

    /// Runs requests and acts on how that ended.
    fn run(&mut self, runner: &mut Runner, out: &mut OutBuf, work: Work<'_>) -> Result<(), End> {
        // What came before the requests stands before their replies.
        self.session.handle.move_mail_to(out);
        let ran = runner.run(&mut self.session, out, work);
        if ran.has_place_for_news() {
            self.session.handle.move_mail_to(out);
        }
        match ran {
            Ran::All => Ok(()),
            Ran::Closed => {
                self.collect(out);
                Err(if self.session.killed() { End::Killed } else { End::Asked })
            }
            Ran::Paused { at, until_ms } => {
                let ms = until_ms.saturating_sub(clock::now_ms()).max(1);
                self.hold(work.copies(at), Reason::Pause, ms);
                Ok(())
            }
            Ran::More { next } => {
                let Some(rest) = runner.lane.local.rest.take() else { return Err(End::Killed) };
                self.hold(work.copies(next), Reason::Replies(rest), 0);
                Ok(())
            }
            Ran::Blocked { next } => {
                let Some(waiter) = runner.lane.local.waiter.take() else { return Err(End::Killed) };
                let ms = waiter.what.timeout_ms;
                self.hold(work.copies(next), Reason::Waits(waiter), ms);
                Ok(())
            }
        }
    }

    /// Holds requests back, for so many milliseconds at most unless that is 0.
    fn hold(&mut self, args: Vec<Vec<Blob>>, reason: Reason, ms: u64) {
        let timer = (ms > 0).then(|| Box::pin(tokio::time::sleep(Duration::from_millis(ms))));
        self.held = Some(Box::new(Held { args, reason, timer }));
    }

    /// A pause or a wait ended: runs what was held back, and looks at what came in meanwhile.
    async fn resume(&mut self) -> Result<(), End> {
        self.guarded(Connection::run_held)?;
        if self.is_replying() {
            // Others of this worker have their turn between two pieces of a reply.
            tokio::task::yield_now().await;
            return Ok(());
        }
        if self.held.is_none() && std::mem::take(&mut self.unread) {
            return self.readable().await;
        }
        Ok(())
    }

    fn run_held(&mut self, desk: &mut Desk) -> Result<(), End> {
        if self.reply_on(desk)? {
            return self.send_from(desk);
        }
        let Some(held) = self.held.take() else {
            return Ok(());
        };
        if let Reason::Waits(waiter) = &held.reason
            && !desk.runner.answer(&mut self.session, &mut desk.out, waiter)
        {
            return Err(End::Killed);
        }
        if !held.args.is_empty() {
            self.run(&mut desk.runner, &mut desk.out, Work::Kept(&held.args))?;
        }
        if self.held.is_none() && !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            let consumed = self.consume(desk, &tail)?;
            self.keep_tail(tail, consumed);
        }
        self.note_buffers(true);
        self.collect(&mut desk.out);
        let sent = self.send();
        self.note_arrival(desk);
        sent
    }

    /// Others pushed something, or want the connection to end.
    fn mail(&mut self) -> Result<(), End> {
        if self.session.killed() {
            return Err(End::Killed);
        }
        if !self.is_replying() {
            let mut mail = self.session.handle.take_mail();
            // Some of it may have come since this was looked at, after the answer to a wait: then all of it waits.
            if !self.held.as_ref().is_none_or(|held| held.has_place_for_news()) {
                self.session.handle.put_back(mail);
            } else if self.pending.capacity() == 0 {
                self.pending = mail;
            } else {
                self.pending.append(&mut mail);
            }
        }
        if self.session.handle.state().contains(State::CLOSE_AFTER_REPLY) {
            self.guarded(Connection::last_answer)?;
            return Err(End::Asked);
        }
        self.send()
    }

    /// What a client that waited was given is still sent when everything ends.
    fn last_answer(&mut self, desk: &mut Desk) -> Result<(), End> {
        if let Some(Held { reason: Reason::Waits(waiter), .. }) = self.held.as_deref()
            && waiter.is_answered()
            && !desk.runner.answer(&mut self.session, &mut desk.out, waiter)
        {
            return Err(End::Killed);
        }
        self.collect(&mut desk.out);
        Ok(())
    }

    /// Says goodbye: everything registered is undone, whatever happens on the way.
    fn finish(mut self, end: End) {
        let (id, shared) = (self.session.id(), Arc::clone(&self.shared));
        let gone = Rc::clone(&self.desk.borrow().gone);
        if let Some(Held { reason: Reason::Waits(waiter), .. }) = self.held.as_deref() {
            waiting::abandon(&self.shared, waiter);
        }
        if end == End::Asked {
            output::part(&self.io);
        }
        let _ = self.guarded(|connection, desk| {
            connection.forget(desk);
            Ok(())
        });
        shared.clients.remove(id);
        let desk = Rc::clone(&self.desk);
        // The socket is closed before the worker hears of it.
        drop(self);
        desk.borrow_mut().runner.report_memory();
        gone.notify_one();
    }

    fn forget(&mut self, desk: &mut Desk) {
        desk.out.clear();
        self.end_reply(desk);
        let over = self.session.handle.state().contains(State::OVER_LIMIT);
        if over {
            tracing::warn!(client = self.session.handle.id, addr = %self.session.handle.addr,
                "client closed for overcoming of output buffer limits");
            desk.runner.shared.stats.lane(desk.runner.lane.local.worker).output_buffer_closed += 1;
        }
        crate::commands::connection::forget(&mut self.session, &desk.runner.shared);
    }
}

/// While requests are held nothing is received, but the end of the connection is noticed.
fn poll_gone(io: &AsyncFd<Stream>, cx: &mut Context<'_>, unread: &mut bool) -> bool {
    while let Poll::Ready(ready) = io.poll_read_ready(cx) {
        match ready {
            Ok(mut guard) if !guard.ready().is_read_closed() => {
                *unread = true;
                guard.clear_ready();
            }
            _ => return true,
        }
    }
    false
}

/// What a panic said, without what it carried.
pub(crate) fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    match payload.downcast_ref::<&'static str>() {
        Some(text) => text,
        None => payload.downcast_ref::<String>().map_or("no message", String::as_str),
    }
}
