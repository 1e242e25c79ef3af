//! Sockets that own their descriptor: a client's, unix or TCP, as plain non-blocking calls, and a bound unix socket.

use std::fs::{self, Metadata};
use std::io::{self, IoSlice, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use rustix::net::{RecvFlags, SendFlags};

/// A connected, non-blocking socket.
#[derive(Debug)]
pub enum Stream {
    /// By unix socket.
    Unix(UnixStream),
    /// By TCP.
    Tcp(TcpStream),
}

impl Stream {
    /// Receives once. Asks the kernel itself: the C library's `recv` and `send` are points at which a thread may be
    /// cancelled, and they pay for that.
    #[inline]
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(self, buf, RecvFlags::empty())?.0)
    }

    /// Sends once, from several places.
    #[inline]
    pub fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, parts) {
            (_, [one]) => Ok(rustix::net::send(self, one, SendFlags::NOSIGNAL)?),
            (Stream::Unix(s), many) => (&*s).write_vectored(many),
            (Stream::Tcp(s), many) => (&*s).write_vectored(many),
        }
    }

    /// Tells the peer that nothing more comes.
    pub fn finish_sending(&self) -> io::Result<()> {
        match self {
            Stream::Unix(s) => s.shutdown(Shutdown::Write),
            Stream::Tcp(s) => s.shutdown(Shutdown::Write),
        }
    }

    /// Whether it is a unix socket.
    pub fn is_unix(&self) -> bool {
        matches!(self, Stream::Unix(_))
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Stream::Unix(s) => s.as_raw_fd(),
            Stream::Tcp(s) => s.as_raw_fd(),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Unix(s) => s.as_fd(),
            Stream::Tcp(s) => s.as_fd(),
        }
    }
}

/// A bound unix socket, which removes its file when it is dropped, if the file is still its own.
#[derive(Debug)]
pub struct UnixSocket {
    /// The listener.
    pub listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file.
    identity: (u64, u64),
}

impl UnixSocket {
    /// A listener and the file that was made for it.
    pub fn new(listener: UnixListener, path: PathBuf, file: &Metadata) -> UnixSocket {
        UnixSocket { listener, path, identity: (file.dev(), file.ino()) }
    }
}

impl AsRawFd for UnixSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.listener.as_raw_fd()
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if let Ok(meta) = fs::symlink_metadata(&self.path)
            && (meta.dev(), meta.ino()) == self.identity
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}
