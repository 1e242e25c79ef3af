//! The floor: what the socket alone costs. A raw epoll server that receives once and sends
//! once per batch and does nothing in between but count the requests by their length.
//!
//! Every request of a connection must be as long as its first one, and gets the same constant
//! reply: an OK for SET, an integer for INCR and DEL, a bulk string for GET.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// What one receive takes at most.
const RECV_BYTES: usize = 64 << 10;
/// Replies are cut from buffers of this size.
const REPLY_BYTES: usize = 1 << 20;
const EVENTS: usize = 256;
const LISTENER: u64 = u64::MAX;

/// A connection: the length of its requests and how far the last one has come in.
struct Peer {
    fd: OwnedFd,
    /// 0 until the first request was seen.
    request_bytes: usize,
    kind: usize,
    partial: usize,
}

/// A buffer full of one reply.
struct Replies {
    bytes: Vec<u8>,
    each: usize,
}

impl Replies {
    fn of(reply: &[u8]) -> Self {
        let n = (REPLY_BYTES / reply.len()).max(1);
        Replies { bytes: reply.repeat(n), each: reply.len() }
    }
}

/// Serves until the process is ended.
pub fn serve(path: &Path, value_size: usize) -> Result<()> {
    if let Err(e) = fs::remove_file(path)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        return Err(e).with_context(|| format!("cannot replace {}", path.display()));
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let bulk = format!("${value_size}\r\n{}\r\n", "x".repeat(value_size));
    let replies = [Replies::of(bulk.as_bytes()), Replies::of(b"+OK\r\n"), Replies::of(b":1000\r\n")];
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let mut buf = vec![0; RECV_BYTES];
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => bail!("epoll_wait failed: {e}"),
        }
        for event in &events {
            let id = event.data.u64();
            if id == LISTENER {
                accept_all(&listener, &epoll, &mut peers)?;
                continue;
            }
            let slot = &mut peers[id as usize];
            if let Some(peer) = slot
                && let Err(why) = answer(peer, &mut buf, &replies)
            {
                if !why.to_string().is_empty() {
                    eprintln!("floor: {why}");
                }
                *slot = None;
            }
        }
    }
}

fn accept_all(listener: &UnixListener, epoll: &OwnedFd, peers: &mut Vec<Option<Peer>>) -> Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e).context("accept failed"),
        };
        stream.set_nonblocking(true)?;
        let slot = peers.iter().position(Option::is_none).unwrap_or_else(|| {
            peers.push(None);
            peers.len() - 1
        });
        let fd = OwnedFd::from(stream);
        epoll::add(epoll, fd.as_fd(), EventData::new_u64(slot as u64), EventFlags::IN)?;
        peers[slot] = Some(Peer { fd, request_bytes: 0, kind: 0, partial: 0 });
    }
}

/// One receive, one send. An error closes the connection; an empty one means that the client left.
fn answer(peer: &mut Peer, buf: &mut [u8], replies: &[Replies; 3]) -> Result<()> {
    let n = match recv(&peer.fd, &mut *buf, RecvFlags::empty()) {
        Ok((0, _)) | Err(Errno::CONNRESET) => bail!(""),
        Ok((n, _)) => n,
        Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    if peer.request_bytes == 0 {
        let first = request_len(&buf[..n]).context("the first request of a connection must arrive whole")?;
        peer.request_bytes = first;
        peer.kind = kind_of(&buf[..n]);
    } else if peer.partial == 0 && buf[0] != b'*' {
        bail!("requests of one connection must all have the same length");
    }
    let have = peer.partial + n;
    peer.partial = have % peer.request_bytes;
    let requests = have / peer.request_bytes;
    if requests == 0 {
        return Ok(());
    }
    let reply = &replies[peer.kind];
    let bytes = requests * reply.each;
    let bytes = reply.bytes.get(..bytes).context("too many replies in one batch")?;
    match send(&peer.fd, bytes, SendFlags::NOSIGNAL) {
        Ok(sent) if sent == bytes.len() => Ok(()),
        Ok(_) | Err(Errno::AGAIN) => bail!("a batch of replies did not fit into the socket"),
        Err(Errno::PIPE | Errno::CONNRESET) => bail!(""),
        Err(e) => Err(e.into()),
    }
}

/// Length of the RESP array of bulk strings at the front, if it is whole.
fn request_len(buf: &[u8]) -> Option<usize> {
    let (args, mut at) = number_line(buf, 0, b'*')?;
    for _ in 0..args {
        let (len, body) = number_line(buf, at, b'$')?;
        at = body.checked_add(len)?.checked_add(2)?;
    }
    (at <= buf.len()).then_some(at)
}

/// `<mark>number\r\n` at `at`: the number and where the line ends.
fn number_line(buf: &[u8], at: usize, mark: u8) -> Option<(usize, usize)> {
    let line = buf.get(at..)?;
    let end = line.iter().position(|&b| b == b'\n')?;
    let digits = line[..end].strip_prefix(&[mark])?.strip_suffix(b"\r")?;
    let n = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((n, at + end + 1))
}

/// Which reply: by the command's first letter behind `*2\r\n$3\r\n`.
fn kind_of(buf: &[u8]) -> usize {
    match buf.get(8).map(u8::to_ascii_uppercase) {
        Some(b'G') => 0,
        Some(b'S') => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_kinds() {
        let get = b"*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000000\r\n";
        assert_eq!(request_len(get), Some(get.len()));
        assert_eq!(request_len(&get.repeat(3)), Some(get.len()));
        for cut in 0..get.len() {
            assert_eq!(request_len(&get[..cut]), None);
        }
        assert_eq!(kind_of(get), 0);
        assert_eq!(kind_of(b"*3\r\n$3\r\nSET\r\n"), 1);
        assert_eq!(kind_of(b"*2\r\n$4\r\nINCR\r\n"), 2);
        assert_eq!(request_len(b"*1\r\n$18446744073709551615\r\n"), None);
    }
}
