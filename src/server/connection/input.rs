//! From the socket to requests: receive, keep what is unfinished, parse, run.

use std::io;
use std::sync::atomic::Ordering::Relaxed;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{Connection, Desk, End};
use crate::clock;
use crate::protocol::Reply;
use crate::protocol::limits::{Limits, ProtocolError};
use crate::protocol::request::Progress;
use crate::server::batch::Work;
use crate::server::sweep;
use crate::sys::socket::Stream;
use crate::values::Blob;

/// Bytes that an unfinished request has to bring within `partial-frame-timeout`.
const PARTIAL_PROGRESS: u64 = 16 * 1024;
/// Bytes of a large value received at once.
const LARGE_BYTES: usize = 256 * 1024;
/// Bytes by which the buffer of an unfinished request grows.
const TAIL_STEP: usize = 16 * 1024;

impl Connection {
    /// Receives once, runs what is complete and sends the replies. True if the socket may hold more.
    pub(super) fn receive(&mut self) -> Result<bool, End> {
        self.guarded(|connection, desk| {
            let more = connection.receive_and_run(desk);
            desk.runner.rest();
            if more.is_ok() {
                connection.send_from(desk)?;
            }
            desk.runner.expire_if_due();
            more
        })
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
    pub(super) fn keep_tail(&mut self, mut tail: Vec<u8>, consumed: usize) {
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
        let (n, more) = match request.spare(LARGE_BYTES) {
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
    pub(super) fn consume(&mut self, desk: &mut Desk, buf: &[u8]) -> Result<usize, End> {
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
        if let Some(large) = &self.large {
            figures.qbuf.store(self.tail.len() + large.heap_bytes(), Relaxed);
        }
        if !self.tail.is_empty() || self.large.is_some() {
            // Before it is run: a request is what a client holds most of.
            self.shared.clients.account(&self.session.handle);
            desk.runner.note_memory();
        }
    }

    /// Publishes what the connection holds, and since when a request is unfinished. `complete`: one was completed.
    ///
    /// The time of an unfinished request counts from its first byte and begins anew with each further
    /// [`PARTIAL_PROGRESS`] bytes: a large value over a slow link takes its time, a byte now and then does not.
    pub(super) fn note_buffers(&mut self, complete: bool) {
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
            if !begun {
                sweep::came_into_force(&self.session.handle, &self.shared);
            }
        }
    }
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
