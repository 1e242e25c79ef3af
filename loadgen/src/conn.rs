//! One connection: non-blocking, what it still has to send, what it waits for.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::clock::now_ns;
use crate::reply::{Class, Pending, Scanner, whole_reply};
use crate::target::Target;

/// One receive takes at most this much; the buffer is shared by a worker's connections.
pub const RECV_BYTES: usize = 64 << 10;

/// A handshake is answered within this time.
const ASK_NS: u64 = 10_000_000_000;

/// A client connection and its requests in flight.
pub struct Conn {
    fd: OwnedFd,
    id: u64,
    pub pending: VecDeque<Pending>,
    /// An unfinished reply from the last receive.
    tail: Vec<u8>,
    unsent: Vec<u8>,
    unsent_from: usize,
    wants_write: bool,
    /// Replies that came so far.
    pub served: u64,
}

impl Conn {
    /// Connects and registers for reading under `id`.
    pub fn open(target: &Target, epoll: &OwnedFd, id: u64) -> Result<Self> {
        let fd = target.connect()?;
        epoll::add(epoll, &fd, EventData::new_u64(id), EventFlags::IN)?;
        Ok(Conn {
            fd,
            id,
            pending: VecDeque::new(),
            tail: Vec::new(),
            unsent: Vec::new(),
            unsent_from: 0,
            wants_write: false,
            served: 0,
        })
    }

    /// Sends now what the socket takes and keeps the rest until it is writable.
    #[inline]
    pub fn send(&mut self, epoll: &OwnedFd, bytes: &[u8]) -> Result<()> {
        if self.wants_write {
            self.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        let sent = send_some(&self.fd, bytes)?;
        if sent < bytes.len() {
            self.unsent.extend_from_slice(&bytes[sent..]);
            self.watch_write(epoll, true)?;
        }
        Ok(())
    }

    /// Called when the socket is writable again.
    pub fn flush(&mut self, epoll: &OwnedFd) -> Result<()> {
        if !self.wants_write {
            return Ok(());
        }
        self.unsent_from += send_some(&self.fd, &self.unsent[self.unsent_from..])?;
        if self.unsent_from == self.unsent.len() {
            self.unsent.clear();
            self.unsent_from = 0;
            self.watch_write(epoll, false)?;
        }
        Ok(())
    }

    fn watch_write(&mut self, epoll: &OwnedFd, on: bool) -> Result<()> {
        let flags = if on { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        epoll::modify(epoll, self.fd.as_fd(), EventData::new_u64(self.id), flags)?;
        self.wants_write = on;
        Ok(())
    }

    /// Receives once and hands every complete reply with its request to `seen`.
    #[inline]
    pub fn receive(
        &mut self,
        scratch: &mut [u8],
        scanner: &mut Scanner,
        mut seen: impl FnMut(Pending, Class),
    ) -> Result<()> {
        let n = match recv(&self.fd, &mut *scratch, RecvFlags::empty()) {
            Ok((0, _)) => bail!("the server closed a connection{}", self.unanswered()),
            Ok((n, _)) => n,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(e) => bail!("receive failed: {e}{}", self.unanswered()),
        };
        let waited = self.pending.len();
        if self.tail.is_empty() {
            let used = scan(&mut self.pending, &scratch[..n], scanner, &mut seen)?;
            self.tail.extend_from_slice(&scratch[used..n]);
        } else {
            self.tail.extend_from_slice(&scratch[..n]);
            let used = scan(&mut self.pending, &self.tail, scanner, &mut seen)?;
            self.tail.drain(..used);
        }
        self.served += (waited - self.pending.len()) as u64;
        if self.pending.is_empty() && !self.tail.is_empty() && self.tail[0] != b'>' {
            bail!("the server sent {} bytes that nothing asked for", self.tail.len());
        }
        Ok(())
    }

    /// Sends something whose replies are of no interest, and waits for `replies` of them.
    pub fn ask(&mut self, bytes: &[u8], replies: usize) -> Result<()> {
        let deadline = now_ns() + ASK_NS;
        let (mut buf, mut chunk, mut got, mut sent) = (Vec::new(), [0u8; 4096], 0, 0);
        while got < replies {
            ensure!(now_ns() < deadline, "no reply to the handshake of a connection");
            sent += send_some(&self.fd, &bytes[sent..])?;
            match recv(&self.fd, &mut chunk[..], RecvFlags::empty()) {
                Ok((0, _)) => bail!("the server closed a connection in its handshake"),
                Ok((n, _)) => buf.extend_from_slice(&chunk[..n]),
                Err(Errno::AGAIN | Errno::INTR) => std::thread::sleep(Duration::from_micros(50)),
                Err(e) => bail!("receive failed: {e}"),
            }
            while let Some(len) = whole_reply(&buf)? {
                let reply: Vec<u8> = buf.drain(..len).collect();
                ensure!(reply[0] != b'-', "refused: {}", String::from_utf8_lossy(&reply[1..len - 2]));
                got += 1;
            }
        }
        Ok(())
    }

    fn unanswered(&self) -> String {
        format!(" ({} requests unanswered on it)", self.pending.len())
    }
}

/// Walks through the complete replies in `buf`; returns how much they take.
#[inline]
fn scan(
    pending: &mut VecDeque<Pending>,
    buf: &[u8],
    scanner: &mut Scanner,
    seen: &mut impl FnMut(Pending, Class),
) -> Result<usize> {
    let mut used = 0;
    while used < buf.len() {
        if buf[used] == b'>' {
            let Some(len) = whole_reply(&buf[used..])? else { break };
            used += len;
            scanner.pushes += 1;
            continue;
        }
        let Some(sent) = pending.front() else { break };
        let Some((len, class)) = scanner.take(&buf[used..], sent)? else {
            break;
        };
        used += len;
        seen(*sent, class);
        pending.pop_front();
    }
    Ok(used)
}

fn send_some(fd: &OwnedFd, bytes: &[u8]) -> Result<usize> {
    match send(fd, bytes, SendFlags::NOSIGNAL) {
        Ok(n) => Ok(n),
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        Err(e) => bail!("send failed: {e}"),
    }
}
