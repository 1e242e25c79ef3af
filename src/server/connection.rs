//! One client: receive, run, send, and wait for whichever comes next.
//!
//! A connection stays on its worker for life. While it is idle it holds no buffer: bytes are
//! received into the worker's scratch buffer, and only an unfinished request is kept.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::blocking::{Answer, Waiter};
use crate::clients::{ClientHandle, State};
use crate::clock;
use crate::commands::session::Session;
use crate::commands::waiting;
use crate::protocol::limits::{Limits, ProtocolError};
use crate::protocol::owned::OwnedRequest;
use crate::protocol::request::{Parser, Progress, Requests};
use crate::protocol::{OutBuf, Reply};
use crate::server::batch::{Ran, Runner, Work};
use crate::server::stream::Stream;
use crate::shared::Shared;
use crate::sys::readiness;
use crate::values::Blob;

/// Bytes received at once.
pub const SCRATCH_BYTES: usize = 64 * 1024;
/// Bytes that an unfinished request has to bring within `partial-frame-timeout`.
const PARTIAL_PROGRESS: u64 = 16 * 1024;
/// Bytes by which the buffer of an unfinished request grows.
const TAIL_STEP: usize = 16 * 1024;
/// After so many full reads a client lets the others of its worker run.
const READS_PER_TURN: usize = 4;
/// What may wait for a client that has not authenticated.
const UNAUTHENTICATED_OUTPUT_MAX: usize = 1 << 20;
/// Bytes that are read away at the end of a connection.
const UNREAD_MAX: usize = 1 << 20;
/// Buffers of output up to this size are kept between batches by the worker.
const OUTPUT_KEEP: usize = 64 * 1024;

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
}

/// Requests that wait their turn. Nothing is received meanwhile.
struct Held {
    args: Vec<Vec<Blob>>,
    reason: Reason,
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Held {
    /// Whether they may go on.
    fn poll(&mut self, cx: &mut Context<'_>, shared: &Shared) -> bool {
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            self.timer = None;
            match &self.reason {
                Reason::Pause => return true,
                Reason::Waits(waiter) => waiting::end(shared, waiter, Answer::TimedOut),
            }
        }
        match &self.reason {
            Reason::Pause => shared.pause.active(clock::now_ms()).is_none(),
            Reason::Waits(waiter) => waiter.is_answered(),
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
                Wake::Writable => self.flush(),
                Wake::Mail => self.mail(),
                Wake::Resume => self.resume().await,
                Wake::Gone => Err(End::Gone),
            };
            if let Err(end) = step {
                break end;
            }
        };
        if end == End::Asked {
            end = self.linger().await;
        }
        self.finish(end);
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
                return End::Asked;
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
        let Connection { io, session, writable, held, shared, unread, .. } = self;
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
            } else if poll_gone(io, cx, unread) {
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
            if handle.has_mail() || handle.state().intersects(State::ENDING) {
                return Poll::Ready(Wake::Mail);
            }
            if let Some(held) = held
                && held.poll(cx, shared)
            {
                return Poll::Ready(Wake::Resume);
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
        }
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Receives once, runs what is complete and sends the replies. True if the socket may hold more.
    fn receive(&mut self) -> Result<bool, End> {
        self.guarded(|connection, desk| {
            let more = connection.receive_and_run(desk);
            desk.runner.rest();
            if more.is_ok() {
                connection.send_from(desk)?;
            }
            more
        })
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

    fn receive_and_run(&mut self, desk: &mut Desk) -> Result<bool, End> {
        if self.large.is_some() {
            return self.receive_large(desk);
        }
        if self.tail.is_empty() {
            let Some((n, more)) = recv(&self.io, &mut desk.scratch)? else {
                return Ok(false);
            };
            self.count_in(desk, n);
            let scratch = std::mem::take(&mut desk.scratch);
            let result = self.consume(desk, &scratch[..n]);
            let kept = result.map(|consumed| {
                self.tail.extend_from_slice(&scratch[consumed..n]);
                consumed > 0
            });
            desk.scratch = scratch;
            let complete = kept?;
            self.note_buffers(complete);
            return Ok(more);
        }
        let have = self.tail.len();
        let room = TAIL_STEP.max(have / 2);
        if self.tail.try_reserve(room).is_err() {
            return Err(End::Gone);
        }
        self.tail.resize(have + room, 0);
        let received = recv(&self.io, &mut self.tail[have..]);
        let (n, more) = match received {
            Ok(Some((n, more))) => (n, more),
            Ok(None) => {
                self.tail.truncate(have);
                return Ok(false);
            }
            Err(end) => {
                self.tail.truncate(have);
                return Err(end);
            }
        };
        self.tail.truncate(have + n);
        self.count_in(desk, n);
        let tail = std::mem::take(&mut self.tail);
        let consumed = self.consume(desk, &tail)?;
        self.keep_tail(tail, consumed);
        self.note_buffers(consumed > 0);
        Ok(more)
    }

    /// What follows `consumed` is an unfinished request; a large buffer is not kept for a small one.
    fn keep_tail(&mut self, mut tail: Vec<u8>, consumed: usize) {
        if consumed == tail.len() {
            return;
        }
        if consumed > 0 {
            tail.drain(..consumed);
        }
        if tail.capacity() > 4 * tail.len().max(TAIL_STEP) {
            tail.shrink_to(tail.len());
        }
        self.tail = tail;
    }

    fn receive_large(&mut self, desk: &mut Desk) -> Result<bool, End> {
        let Some(request) = self.large.as_mut() else {
            return Ok(true);
        };
        let (n, more) = match request.spare(SCRATCH_BYTES) {
            Err(error) => {
                self.protocol_error(desk, error);
                return Err(End::Asked);
            }
            Ok(Some(spare)) => {
                let Some((n, more)) = recv(&self.io, spare)? else {
                    return Ok(false);
                };
                request.advance(n);
                (n, more)
            }
            // The large argument is complete; small ones follow and are fed from the scratch buffer.
            Ok(None) => {
                let Some((n, more)) = recv(&self.io, &mut desk.scratch)? else {
                    return Ok(false);
                };
                let scratch = std::mem::take(&mut desk.scratch);
                let fed = request.feed(&scratch[..n]);
                match fed {
                    Ok(used) => self.tail.extend_from_slice(&scratch[used..n]),
                    Err(error) => {
                        desk.scratch = scratch;
                        self.protocol_error(desk, error);
                        return Err(End::Asked);
                    }
                }
                desk.scratch = scratch;
                (n, more)
            }
        };
        self.count_in(desk, n);
        let complete = self.large.as_ref().is_some_and(|r| r.is_complete());
        if complete {
            self.run_large(desk)?;
            let tail = std::mem::take(&mut self.tail);
            let consumed = self.consume(desk, &tail)?;
            self.keep_tail(tail, consumed);
        }
        self.note_buffers(complete);
        Ok(more)
    }

    fn run_large(&mut self, desk: &mut Desk) -> Result<(), End> {
        let Some(request) = self.large.take() else {
            return Ok(());
        };
        let args: Vec<Blob> = request.into_args().into_iter().map(Blob::from_vec).collect();
        self.run(&mut desk.runner, &mut desk.out, Work::Kept(&[args]))
    }

    /// Parses and runs the requests in `buf`; returns how many of its bytes are done with.
    fn consume(&mut self, desk: &mut Desk, buf: &[u8]) -> Result<usize, End> {
        let mut at = 0;
        loop {
            let Desk { runner, requests, out, .. } = desk;
            let limits = limits(runner.config(), self.session.authenticated);
            let progress = self.parser.parse(&buf[at..], &limits, requests);
            if !requests.spans.is_empty() {
                self.run(runner, out, Work::Parsed { buf: &buf[at..], requests })?;
            }
            match progress {
                Err(error) => {
                    self.protocol_error(desk, error);
                    return Err(End::Asked);
                }
                Ok(Progress::All { consumed }) => return Ok(at + consumed),
                Ok(Progress::Full { consumed }) => at += consumed,
                Ok(Progress::Large { consumed, request }) => {
                    self.large = Some(request);
                    return Ok(at + consumed);
                }
            }
            if self.held.is_some() {
                return Ok(at);
            }
            self.relieve(desk)?;
            desk.runner.go_on();
        }
    }

    /// Runs requests and acts on how that ended.
    fn run(&mut self, runner: &mut Runner, out: &mut OutBuf, work: Work<'_>) -> Result<(), End> {
        let ran = runner.run(&mut self.session, out, work);
        if self.session.handle.has_mail() {
            let mut mail = self.session.handle.take_mail();
            out.append(&mut mail);
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
        if self.held.is_none() && std::mem::take(&mut self.unread) {
            return self.readable().await;
        }
        Ok(())
    }

    fn run_held(&mut self, desk: &mut Desk) -> Result<(), End> {
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
        self.send()
    }

    /// Others pushed something, or want the connection to end.
    fn mail(&mut self) -> Result<(), End> {
        if self.session.killed() {
            return Err(End::Killed);
        }
        let mut mail = self.session.handle.take_mail();
        self.pending.append(&mut mail);
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

    /// Moves the worker's output buffer to this connection if the socket cannot take it now.
    fn collect(&mut self, out: &mut OutBuf) {
        if !out.is_empty() {
            self.pending.append(out);
            out.shrink(OUTPUT_KEEP);
        }
    }

    /// Sends early when a long pipeline produced much.
    fn relieve(&mut self, desk: &mut Desk) -> Result<(), End> {
        if desk.out.len() >= SCRATCH_BYTES {
            return self.send_from(desk);
        }
        Ok(())
    }

    /// Sends what the last batch wrote.
    fn flush(&mut self) -> Result<(), End> {
        self.guarded(Connection::send_from)
    }

    fn send_from(&mut self, desk: &mut Desk) -> Result<(), End> {
        if self.pending.is_empty() && !desk.out.is_empty() {
            write_all(&self.io, &mut desk.out, &self.session.handle)?;
        }
        self.collect(&mut desk.out);
        self.send()
    }

    fn send(&mut self) -> Result<(), End> {
        if self.pending.is_empty() && self.writable.is_none() && self.pending.capacity() == 0 {
            return Ok(());
        }
        if !self.pending.is_empty() {
            if let Some(writable) = &self.writable {
                // Forget the readiness; a write that blocks again will be told of the next one.
                drop(writable.try_io(Interest::WRITABLE, |_| {
                    Err::<(), _>(io::Error::from(io::ErrorKind::WouldBlock))
                }));
            }
            write_all(&self.io, &mut self.pending, &self.session.handle)?;
        }
        let waiting = self.pending.len();
        self.session.handle.figures.out.store(waiting, Relaxed);
        if waiting == 0 {
            self.writable = None;
            self.pending.shrink(0);
            self.session.handle.figures.over_soft_since_ms.store(0, Relaxed);
            return Ok(());
        }
        self.check_output(waiting)?;
        if self.writable.is_none() {
            let fd = rustix::io::dup(self.io.get_ref()).map_err(|_| End::Gone)?;
            let again = readiness::watch(fd, Interest::WRITABLE).map_err(|_| End::Gone)?;
            self.writable = Some(again);
        }
        Ok(())
    }

    /// Output limits; a client before AUTH gets a small one.
    fn check_output(&mut self, waiting: usize) -> Result<(), End> {
        let hard = if self.session.authenticated {
            self.session.handle.output_hard()
        } else {
            UNAUTHENTICATED_OUTPUT_MAX
        };
        if waiting > hard {
            self.session.handle.set(State::KILLED | State::OVER_LIMIT);
            return Err(End::Killed);
        }
        crate::server::sweep::note_output(&self.session.handle, waiting, &self.shared);
        Ok(())
    }

    fn protocol_error(&mut self, desk: &mut Desk, error: ProtocolError) {
        if let Some(reply) = error.reply() {
            Reply::new(&mut desk.out, self.session.resp3).error(&*reply);
            let mut counters = desk.runner.shared.stats.lane(desk.runner.lane.local.worker);
            counters.error("ERR");
        }
        if error == ProtocolError::SecurityAttack {
            crate::commands::connection::cross_protocol(&self.session.handle);
        } else {
            tracing::info!(client = self.session.handle.id, addr = %self.session.handle.addr, "closing client: {error}");
        }
        if error == ProtocolError::QueryBufferLimit {
            let mut counters = desk.runner.shared.stats.lane(desk.runner.lane.local.worker);
            counters.query_buffer_closed += 1;
        }
        self.collect(&mut desk.out);
    }

    fn count_in(&self, desk: &mut Desk, n: usize) {
        let figures = &self.session.handle.figures;
        figures.last_ms.store(desk.runner.received(n), Relaxed);
        figures.total_in.store(figures.total_in.load(Relaxed) + n as u64, Relaxed);
        // While its requests run, a client's query buffer is what they were read from.
        figures.qbuf.store(n.max(self.tail.len()), Relaxed);
        if !self.tail.is_empty() || self.large.is_some() {
            desk.runner.note_memory();
        }
    }

    /// Publishes what the connection holds, and since when a request is unfinished. `complete`: one was completed.
    ///
    /// The time of an unfinished request counts from its first byte and begins anew with each further
    /// [`PARTIAL_PROGRESS`] bytes: a large value over a slow link takes its time, a byte now and then does not.
    fn note_buffers(&mut self, complete: bool) {
        let figures = &self.session.handle.figures;
        let large = self.large.as_ref().map_or(0, |l| l.heap_bytes());
        let held = self.tail.len() + large;
        figures.qbuf.store(held, Relaxed);
        figures.qbuf_free.store(self.tail.capacity() - self.tail.len(), Relaxed);
        if held == 0 || self.held.is_some() {
            figures.partial_since_ms.store(0, Relaxed);
            return;
        }
        let begun = figures.partial_since_ms.load(Relaxed) != 0;
        let received = figures.total_in.load(Relaxed);
        if complete || !begun || received - self.partial_mark >= PARTIAL_PROGRESS {
            self.partial_mark = received;
            figures.partial_since_ms.store(clock::mono_ms().max(1), Relaxed);
        }
    }

    /// Says goodbye: everything registered is undone, whatever happens on the way.
    fn finish(mut self, end: End) {
        let (id, shared) = (self.session.id(), Arc::clone(&self.shared));
        let gone = Rc::clone(&self.desk.borrow().gone);
        if let Some(Held { reason: Reason::Waits(waiter), .. }) = self.held.as_deref() {
            waiting::abandon(&self.shared, waiter);
        }
        if end == End::Asked {
            part(&self.io);
        }
        let _ = self.guarded(|connection, desk| {
            connection.forget(desk);
            Ok(())
        });
        shared.clients.remove(id);
        // The socket is closed before the worker hears of it.
        drop(self);
        gone.notify_one();
    }

    fn forget(&mut self, desk: &mut Desk) {
        desk.out.clear();
        let over = self.session.handle.state().contains(State::OVER_LIMIT);
        if over {
            tracing::warn!(client = self.session.handle.id, addr = %self.session.handle.addr,
                "client closed for overcoming of output buffer limits");
            desk.runner.shared.stats.lane(desk.runner.lane.local.worker).output_buffer_closed += 1;
        }
        crate::commands::connection::forget(&mut self.session, &desk.runner.shared);
    }
}

/// Ends the sending side, and reads away what nobody will answer: a close with unread bytes resets the connection, and
/// then the last replies may be lost on their way.
fn part(io: &AsyncFd<Stream>) {
    let _ = io.get_ref().finish_sending();
    let mut unread = [0; 4096];
    for _ in 0..UNREAD_MAX / unread.len() {
        match io.get_ref().recv(&mut unread) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
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

fn limits(config: &crate::config::Config, authenticated: bool) -> Limits {
    Limits {
        bulk_len_max: config.proto_max_bulk_len,
        query_buffer_max: usize::try_from(config.client_query_buffer_limit).unwrap_or(usize::MAX),
        authenticated,
        // As Redis 7: bounded by what arrives, not by what is announced.
        args_max: i32::MAX.unsigned_abs(),
        ..Limits::default()
    }
}

/// What a panic said, without what it carried.
pub(crate) fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    match payload.downcast_ref::<&'static str>() {
        Some(text) => text,
        None => payload.downcast_ref::<String>().map_or("no message", String::as_str),
    }
}

/// Receives once. `None` when nothing is there; the flag says whether more may be.
fn recv(io: &AsyncFd<Stream>, buf: &mut [u8]) -> Result<Option<(usize, bool)>, End> {
    loop {
        match io.get_ref().recv(buf) {
            Ok(0) => return Err(End::Gone),
            Ok(n) => {
                if n < buf.len() {
                    clear_readable(io);
                }
                return Ok(Some((n, n == buf.len())));
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                clear_readable(io);
                return Ok(None);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(End::Gone),
        }
    }
}

/// A short read means the socket is empty: forget its readiness without asking it again. The
/// next edge sets it anew, also one that came since (tokio compares ticks).
fn clear_readable(io: &AsyncFd<Stream>) {
    drop(io.try_io(Interest::READABLE, |_| Err::<(), _>(io::Error::from(io::ErrorKind::WouldBlock))));
}

/// Sends as much as the socket takes.
fn write_all(io: &AsyncFd<Stream>, out: &mut OutBuf, handle: &ClientHandle) -> Result<(), End> {
    while !out.is_empty() {
        let sent = match out.single() {
            Some(bytes) => io.get_ref().send(&[io::IoSlice::new(bytes)]),
            None => {
                let mut slices = [io::IoSlice::new(&[]); 64];
                let n = out.io_slices(&mut slices);
                io.get_ref().send(&slices[..n])
            }
        };
        match sent {
            Ok(n) => {
                out.advance(n);
                let figures = &handle.figures;
                figures.total_out.store(figures.total_out.load(Relaxed) + n as u64, Relaxed);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(End::Gone),
        }
    }
    Ok(())
}
