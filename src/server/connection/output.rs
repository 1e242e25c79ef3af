//! From replies to the socket: send, keep what it does not take, and watch how much that is.

use std::io;
use std::sync::atomic::Ordering::Relaxed;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{Connection, Desk, End, SCRATCH_BYTES};
use crate::clients::{ClientHandle, State};
use crate::observe::stats::Stats;
use crate::protocol::OutBuf;
use crate::sys::readiness;
use crate::sys::socket::Stream;

/// What may wait for a client that has not authenticated.
const UNAUTHENTICATED_OUTPUT_MAX: usize = 1 << 20;
/// Bytes that are read away at the end of a connection.
const UNREAD_MAX: usize = 1 << 20;
/// Buffers of output up to this size are kept between batches by the worker.
const OUTPUT_KEEP: usize = 64 * 1024;

impl Connection {
    /// Moves the worker's output buffer to this connection if the socket cannot take it now.
    pub(super) fn collect(&mut self, out: &mut OutBuf) {
        if !out.is_empty() {
            self.pending.append(out);
            out.shrink(OUTPUT_KEEP);
        }
    }

    /// Sends early when a long pipeline produced much.
    pub(super) fn relieve(&mut self, desk: &mut Desk) -> Result<(), End> {
        if desk.out.len() >= SCRATCH_BYTES {
            return self.send_from(desk);
        }
        Ok(())
    }

    /// Sends what the last batch wrote.
    pub(super) fn flush(&mut self) -> Result<(), End> {
        self.guarded(Connection::send_from)
    }

    pub(super) fn send_from(&mut self, desk: &mut Desk) -> Result<(), End> {
        // What was written counts before it is sent: a reply above the limit ends the client, however fast it reads.
        self.check_hard(self.pending.len() + desk.out.len())?;
        if self.pending.is_empty() && !desk.out.is_empty() {
            write_all(&self.io, &mut desk.out, &self.session.handle, &self.shared.stats)?;
        }
        self.collect(&mut desk.out);
        let sent = self.send();
        self.note_arrival(desk);
        sent
    }

    /// Mail that was taken is sent as far as that went: once the gauge knows, it counts as any other reply.
    pub(super) fn note_arrival(&self, desk: &mut Desk) {
        if self.session.handle.has_in_transit() {
            desk.runner.report_memory();
            self.session.handle.arrived();
        }
    }

    pub(super) fn send(&mut self) -> Result<(), End> {
        let sent = self.send_pending();
        if self.session.handle.has_lost() {
            self.session.handle.report_lost();
        }
        sent
    }

    fn send_pending(&mut self) -> Result<(), End> {
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
            write_all(&self.io, &mut self.pending, &self.session.handle, &self.shared.stats)?;
        }
        let waiting = self.pending.len();
        self.session.handle.figures.out.store(waiting, Relaxed);
        if waiting == 0 {
            self.writable = None;
            self.pending.shrink(0);
            self.session.handle.figures.out_free.store(0, Relaxed);
            self.session.handle.figures.over_soft_since_ms.store(0, Relaxed);
            return Ok(());
        }
        self.session.handle.figures.out_free.store(self.pending.unused(), Relaxed);
        self.check_output(waiting)?;
        if self.writable.is_none() {
            let fd = rustix::io::dup(self.io.get_ref()).map_err(|_| End::Gone)?;
            let again = readiness::watch(fd, Interest::WRITABLE).map_err(|_| End::Gone)?;
            self.writable = Some(again);
        }
        Ok(())
    }

    /// The hard limit on output; a client before AUTH gets a small one.
    pub(super) fn check_hard(&mut self, waiting: usize) -> Result<(), End> {
        let hard = if self.session.authenticated {
            self.session.handle.output_hard()
        } else {
            UNAUTHENTICATED_OUTPUT_MAX
        };
        if waiting > hard {
            self.session.handle.set(State::KILLED | State::OVER_LIMIT);
            return Err(End::Killed);
        }
        Ok(())
    }

    /// Output limits for what the socket did not take.
    fn check_output(&mut self, waiting: usize) -> Result<(), End> {
        self.check_hard(waiting)?;
        crate::server::sweep::note_output(&self.session.handle, waiting, &self.shared);
        Ok(())
    }
}

/// Ends the sending side, and reads away what nobody will answer: a close with unread bytes resets the connection, and
/// then the last replies may be lost on their way.
pub(super) fn part(io: &AsyncFd<Stream>) {
    let _ = io.get_ref().finish_sending();
    let mut unread = [0; 4096];
    for _ in 0..UNREAD_MAX / unread.len() {
        match io.get_ref().recv(&mut unread) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// Sends as much as the socket takes.
fn write_all(
    io: &AsyncFd<Stream>,
    out: &mut OutBuf,
    handle: &ClientHandle,
    stats: &Stats,
) -> Result<(), End> {
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
                stats.output(handle.worker).sent(n);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(End::Gone),
        }
    }
    Ok(())
}
