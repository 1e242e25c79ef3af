//! Listening sockets: a unix socket with its final mode before anybody can connect, and TCP.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::sys::socket::UnixSocket;

/// Binds `path`. A socket file that nobody answers on is replaced; anything else there is an error.
///
/// # Errors
/// If the path is taken by a live socket or by something that is no socket, or cannot be bound.
pub fn unix(path: &Path, mode: u32, backlog: i32) -> io::Result<UnixSocket> {
    clear_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Nobody can connect before `listen`, so the mode is final before the first client.
    if mode != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    let meta = fs::symlink_metadata(path)?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(UnixSocket::new(socket.into(), path.to_owned(), &meta))
}

fn clear_stale(path: &Path) -> io::Result<()> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    if !meta.file_type().is_socket() {
        let what = "the path exists and is not a socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process is listening on this socket")),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(e) => Err(e),
    }
}

/// Binds one TCP address for `shares` workers, each with a listener of its own; the kernel
/// spreads connections over them.
///
/// # Errors
/// If the address cannot be bound.
pub fn tcp(ip: IpAddr, port: u16, backlog: i32, shares: u16) -> io::Result<Vec<TcpListener>> {
    // With SO_REUSEPORT a second process of the same user could bind as well and take some of
    // the connections. So the first socket binds and listens without it, which only one process can do,
    // and takes the option afterwards, to let the others join.
    let first = tcp_one(SocketAddr::new(ip, port), backlog, false)?;
    let addr = first.local_addr()?;
    if shares > 1 {
        socket2::SockRef::from(&first).set_reuse_port(true)?;
    }
    let mut listeners = vec![first];
    for _ in 1..shares {
        listeners.push(tcp_one(addr, backlog, true)?);
    }
    Ok(listeners)
}

fn tcp_one(addr: SocketAddr, backlog: i32, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpStream};

    #[test]
    fn workers_share_a_port_that_nobody_else_gets() {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let listeners = tcp(ip, 0, 128, 3).unwrap();
        let addr = listeners[0].local_addr().unwrap();
        let error = tcp(ip, addr.port(), 128, 3).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let clients: Vec<_> = (0..96).map(|_| TcpStream::connect(addr).unwrap()).collect();
        let counts = listeners.iter().map(|l| std::iter::from_fn(|| l.accept().ok()).count());
        let counts: Vec<usize> = counts.collect();
        assert_eq!(counts.iter().sum::<usize>(), clients.len());
        assert!(counts.iter().all(|n| *n > 0), "{counts:?}");
    }
}
