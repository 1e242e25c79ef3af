//! The TCP addresses that are listened on, and their change while the server runs.
//!
//! Each address has one listener per worker. [`Listening`] keeps a second handle of every
//! listener: with it CONFIG SET closes an address at once, whatever the workers are doing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, ToSocketAddrs};

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::sync::watch;

use crate::config::{Addresses, Config};
use crate::server::listen;

/// Listeners that were bound together.
#[derive(Default)]
pub struct Bound {
    /// Per address, one listener per worker.
    addresses: Vec<Vec<TcpListener>>,
    port: u16,
}

impl Bound {
    /// Whether nothing is listened on.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// The port that is really bound; 0 if there is none.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn duplicate(&self) -> io::Result<Bound> {
        let copy = |listeners: &Vec<TcpListener>| listeners.iter().map(TcpListener::try_clone).collect();
        Ok(Bound { addresses: self.addresses.iter().map(copy).collect::<io::Result<_>>()?, port: self.port })
    }

    fn listeners(&self) -> impl Iterator<Item = &TcpListener> {
        self.addresses.iter().flatten()
    }

    /// Stops listening, for every handle of these sockets.
    fn close(&self) {
        for listener in self.listeners() {
            // It can only fail for a socket that does not listen.
            let _ = SockRef::from(listener).shutdown(Shutdown::Both);
        }
    }
}

/// An address that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{host}:{port}: {reason}")]
pub struct CannotListen {
    host: String,
    port: u16,
    reason: io::Error,
}

/// Binds the addresses of these settings for `workers` workers; none if the port is 0.
///
/// # Errors
/// If an address that is not optional cannot be bound.
pub fn bind(config: &Config, workers: u16) -> Result<Bound, CannotListen> {
    bind_all(&config.bind, config.port, backlog(config), workers)
}

/// Binds the addresses that those who watch reach it by; none if their port is 0.
///
/// # Errors
/// If an address that is not optional cannot be bound.
pub fn bind_http(config: &Config) -> Result<Vec<TcpListener>, CannotListen> {
    let bound = bind_all(&config.metrics_bind, config.metrics_port, backlog(config), 1)?;
    Ok(bound.addresses.into_iter().flatten().collect())
}

fn bind_all(addresses: &Addresses, mut port: u16, backlog: i32, workers: u16) -> Result<Bound, CannotListen> {
    let mut bound = Bound::default();
    if port == 0 {
        return Ok(bound);
    }
    for address in &addresses.0 {
        let listeners = resolve(&address.host).and_then(|ip| listen::tcp(ip, port, backlog, workers));
        match listeners {
            Ok(listeners) => {
                let first = listeners.first().and_then(|l| l.local_addr().ok());
                port = first.map_or(port, |address| address.port());
                bound.port = port;
                bound.addresses.push(listeners);
            }
            Err(error) if address.optional || error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                tracing::info!("not listening on {}: {error}", address.host);
            }
            Err(reason) => return Err(CannotListen { host: address.host.clone(), port, reason }),
        }
    }
    Ok(bound)
}

fn backlog(config: &Config) -> i32 {
    i32::try_from(config.tcp_backlog).unwrap_or(511)
}

/// An address, a host name, or `*` and `::*` for everything.
fn resolve(host: &str) -> io::Result<IpAddr> {
    match host {
        "*" => Ok(Ipv4Addr::UNSPECIFIED.into()),
        "::*" => Ok(Ipv6Addr::UNSPECIFIED.into()),
        _ => match host.parse() {
            Ok(ip) => Ok(ip),
            Err(_) => {
                let mut found = (host, 0).to_socket_addrs()?;
                found.next().map(|a| a.ip()).ok_or_else(|| io::ErrorKind::NotFound.into())
            }
        },
    }
}

/// What is listened on now.
#[derive(Default)]
pub struct Listening {
    /// Handles for closing.
    current: Mutex<Bound>,
    /// Per worker, the listeners that it has not taken yet.
    shares: Mutex<Vec<Option<Vec<TcpListener>>>>,
    generation: watch::Sender<u64>,
}

impl Listening {
    /// The port that is really bound; 0 if there is none.
    pub fn port(&self) -> u16 {
        self.current.lock().port
    }

    /// Tells when there are other listeners to take.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Stops listening, for a shutdown.
    pub fn stop(&self) {
        self.current.lock().close();
    }

    /// A worker's listeners, if they changed since it last asked.
    pub fn take_share(&self, worker: u16) -> Option<Vec<TcpListener>> {
        self.shares.lock().get_mut(usize::from(worker))?.take()
    }

    /// Puts these listeners in the place of those before.
    ///
    /// # Errors
    /// If the system gives no further descriptors.
    pub fn install(&self, mut bound: Bound, workers: u16) -> io::Result<()> {
        let handles = bound.duplicate()?;
        let share = |_| Some(bound.addresses.iter_mut().filter_map(Vec::pop).collect());
        *self.shares.lock() = (0..workers).map(share).collect();
        let old = std::mem::replace(&mut *self.current.lock(), handles);
        old.close();
        self.generation.send_modify(|n| *n += 1);
        Ok(())
    }

    /// Listens where the new settings say instead of where the old ones do.
    ///
    /// # Errors
    /// If an address cannot be bound; then the old ones are listened on as before.
    pub fn rebind(&self, old: &Config, new: &Config, workers: u16) -> io::Result<()> {
        // Old and new addresses of one port may overlap (127.0.0.1 and *), so the old go first.
        let old_go_first = self.port() == new.port;
        if old_go_first {
            self.current.lock().close();
        }
        let result = bind(new, workers).map_err(|error| {
            tracing::warn!("Could not create server TCP listening socket {error}");
            error.reason
        });
        let result = result.and_then(|bound| self.install(bound, workers));
        if result.is_err() && old_go_first {
            // New sockets: the runtime would take the closed ones for closed for ever.
            let again = bind(old, workers).map_err(|error| error.reason);
            if let Err(error) = again.and_then(|bound| self.install(bound, workers)) {
                tracing::error!("cannot listen on the old address again: {error}");
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn connects(port: u16) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    }

    /// A port that was free a moment ago.
    fn free_port() -> u16 {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
    }

    fn settings(port: u16, hosts: &[&str]) -> Config {
        let mut config = Config { port, ..Config::default() };
        config.bind.0 = hosts
            .iter()
            .map(|host| crate::config::Address { host: (*host).to_owned(), optional: false })
            .collect();
        config
    }

    #[test]
    fn the_port_changes_and_a_taken_one_changes_nothing() {
        let listening = Listening::default();
        let (first, second) = (free_port(), free_port());
        listening.rebind(&settings(0, &[]), &settings(first, &["127.0.0.1"]), 2).unwrap();
        assert!(connects(first));
        listening.rebind(&settings(first, &["127.0.0.1"]), &settings(second, &["127.0.0.1"]), 2).unwrap();
        assert!(connects(second) && !connects(first));
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(
            listening.rebind(&settings(second, &["127.0.0.1"]), &settings(port, &["127.0.0.1"]), 2).is_err()
        );
        assert!(connects(second));
        assert_eq!(listening.port(), second);
        assert_eq!(listening.take_share(0).unwrap().len(), 1);
        assert!(listening.take_share(0).is_none(), "taken already");
    }

    #[test]
    fn overlapping_addresses_of_one_port_replace_each_other() {
        let listening = Listening::default();
        let port = free_port();
        let (one, all) = (settings(port, &["127.0.0.1"]), settings(port, &["*"]));
        listening.rebind(&settings(0, &[]), &one, 1).unwrap();
        listening.rebind(&one, &all, 1).unwrap();
        assert!(connects(port));
        assert!(listening.rebind(&all, &settings(port, &["192.0.2.1"]), 1).is_err());
        assert!(connects(port), "the old address again");
        listening.rebind(&all, &settings(port, &[]), 1).unwrap();
        assert!(!connects(port));
    }
}
