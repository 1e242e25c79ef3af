//! Who may connect, and for how long.
//!
//! | limit | what happens |
//! |---|---|
//! | [`CONNECTIONS_MAX`] connections | the one that waited longest for a request makes room; if all are answering, 503 |
//! | [`HEADER_TIME`] for a request's header, idle time before it included | closed |
//! | [`HEADER_BYTES_MAX`], [`HEADERS_MAX`] | 431 |
//! | a reader who stopped reading ([`super::stalls`]) | closed |

use std::cell::{Cell, RefMut};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{AbortHandle, JoinSet};

use super::stalls::Stalls;
use super::{Listeners, Site, body::Answering, routes};
use crate::clock;

/// Connections at the same time.
const CONNECTIONS_MAX: usize = 128;
/// Time within which the header of a request must be there, counted from the end of the answer before it: longer than
/// the usual distance of two scrapes, so that a scraper keeps its connection.
const HEADER_TIME: Duration = Duration::from_secs(65);
/// Bytes of a request's header.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Lines of a request's header.
const HEADERS_MAX: usize = 64;
/// Pause after a failed accept.
const AFTER_A_FAILURE: Duration = Duration::from_millis(50);

/// The connections that are open.
#[derive(Default)]
pub(super) struct Connections {
    open: BTreeMap<u64, Open>,
    next: u64,
}

struct Open {
    /// Monotonic milliseconds since which it waits for a request; none while it is answering.
    waiting_since: Rc<Cell<Option<u64>>>,
    task: AbortHandle,
}

impl Connections {
    /// Whether there is a place, perhaps one that was made.
    fn has_room(&mut self) -> bool {
        if self.open.len() < CONNECTIONS_MAX {
            return true;
        }
        let waiting = self.open.iter().filter_map(|(id, open)| Some((open.waiting_since.get()?, *id)));
        let Some((_, longest)) = waiting.min() else { return false };
        if let Some(open) = self.open.remove(&longest) {
            open.task.abort();
        }
        true
    }
}

/// Takes a connection off the list when its task ends, however it ends.
struct Listed {
    site: Rc<Site>,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.site.connections.borrow_mut().open.remove(&self.id);
    }
}

/// Accepts on all listeners for ever.
pub(super) async fn accept_all(site: Rc<Site>, listeners: Listeners) -> io::Result<()> {
    let mut accepting = JoinSet::new();
    for listener in listeners.tcp {
        let listener = TcpListener::from_std(listener)?;
        let site = Rc::clone(&site);
        accepting.spawn_local(accept(site, async move || Ok(listener.accept().await?.0)));
    }
    if let Some(listener) = listeners.unix {
        let listener = UnixListener::from_std(listener)?;
        accepting.spawn_local(accept(site, async move || Ok(listener.accept().await?.0)));
    }
    // None of them ends but by a panic.
    while let Some(ended) = accepting.join_next().await {
        let Err(error) = ended;
        tracing::error!("a listener of the HTTP endpoint ended: {error}");
    }
    Ok(())
}

async fn accept<S>(site: Rc<Site>, next: impl AsyncFn() -> io::Result<S>) -> Infallible
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    loop {
        match next().await {
            Ok(stream) => admit(&site, stream),
            Err(error) => {
                tracing::warn!("the HTTP endpoint cannot accept a connection: {error}");
                tokio::time::sleep(AFTER_A_FAILURE).await;
            }
        }
    }
}

fn admit<S: AsyncRead + AsyncWrite + Unpin + 'static>(site: &Rc<Site>, mut stream: S) {
    let mut connections: RefMut<'_, Connections> = site.connections.borrow_mut();
    if !connections.has_room() {
        drop(connections);
        tokio::task::spawn_local(async move {
            // The buffer of a new socket takes it at once, or nobody hears it.
            let line = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = tokio::time::timeout(AFTER_A_FAILURE, stream.write_all(line)).await;
        });
        return;
    }
    let id = connections.next;
    connections.next += 1;
    let waiting_since = Rc::new(Cell::new(Some(clock::mono_ms())));
    let listed = Listed { site: Rc::clone(site), id };
    let answer = serve(Rc::clone(site), stream, Rc::clone(&waiting_since));
    let task = tokio::task::spawn_local(async move {
        let _listed = listed;
        answer.await;
    });
    connections.open.insert(id, Open { waiting_since, task: task.abort_handle() });
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    site: Rc<Site>,
    stream: S,
    waiting_since: Rc<Cell<Option<u64>>>,
) {
    let service = service_fn(move |request| {
        waiting_since.set(None);
        let answering = Answering(Rc::clone(&waiting_since));
        let answer = routes::answer(&site, &request).map(|body| body.tells(answering));
        std::future::ready(Ok::<_, std::convert::Infallible>(answer))
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(Stalls::new(stream)), service)
        .await;
    if let Err(error) = served {
        tracing::debug!("a connection of the HTTP endpoint ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> AbortHandle {
        tokio::task::spawn_local(std::future::pending::<()>()).abort_handle()
    }

    #[test]
    fn the_longest_idle_makes_room_and_the_answering_stay() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let mut connections = Connections::default();
            for id in 0..CONNECTIONS_MAX as u64 {
                assert!(connections.has_room());
                let waiting_since = Rc::new(Cell::new((id % 2 == 0).then_some(1000 - id)));
                connections.open.insert(id, Open { waiting_since, task: task() });
            }
            assert!(connections.has_room());
            let longest = CONNECTIONS_MAX as u64 - 2;
            assert!(!connections.open.contains_key(&longest), "it waited longest");
            assert_eq!(connections.open.len(), CONNECTIONS_MAX - 1);
            for open in connections.open.values() {
                open.waiting_since.set(None);
            }
            connections.open.insert(longest, Open { waiting_since: Rc::default(), task: task() });
            assert!(!connections.has_room(), "all are answering");
        });
    }
}
