//! Where the load goes: a unix socket or a TCP address.

use std::fmt;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long a TCP connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A server's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl Target {
    /// Connects and makes the socket non-blocking. The connect itself blocks, so that a full
    /// backlog makes the caller wait instead of failing.
    pub fn connect(&self) -> Result<OwnedFd> {
        match self {
            Target::Unix(path) => {
                let stream =
                    UnixStream::connect(path).with_context(|| format!("cannot connect to {self}"))?;
                stream.set_nonblocking(true)?;
                Ok(stream.into())
            }
            Target::Tcp(addr) => {
                let stream = TcpStream::connect_timeout(addr, CONNECT_TIMEOUT)
                    .with_context(|| format!("cannot connect to {self}"))?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                Ok(stream.into())
            }
        }
    }
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(s: &str) -> Result<Self> {
        if let Some(path) = s.strip_prefix("unix:") {
            if path.is_empty() {
                bail!("unix: needs a path, as in unix:/run/tandem.sock");
            }
            return Ok(Target::Unix(path.into()));
        }
        if let Some(addr) = s.strip_prefix("tcp:") {
            let mut found = addr.to_socket_addrs().with_context(|| format!("not a host:port: {addr}"))?;
            return found.next().map(Target::Tcp).with_context(|| format!("no address for {addr}"));
        }
        bail!("a server is unix:/path or tcp:host:port, not '{s}'")
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Unix(path) => write!(f, "unix:{}", path.display()),
            Target::Tcp(addr) => write!(f, "tcp:{addr}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_both_forms_and_refuses_others() {
        assert_eq!("unix:/a b".parse::<Target>().unwrap(), Target::Unix("/a b".into()));
        assert_eq!(
            "tcp:127.0.0.1:6379".parse::<Target>().unwrap(),
            Target::Tcp("127.0.0.1:6379".parse().unwrap())
        );
        for bad in ["", "unix:", "tcp:127.0.0.1", "/run/x.sock", "redis://x"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
