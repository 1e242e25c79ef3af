//! A worker: one thread, one runtime, the connections that were given to it, and its timers.

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinSet, LocalSet};

use crate::clients::NewClient;
use crate::clock;
use crate::memory::allocator;
use crate::protocol::{OutBuf, Requests};
use crate::server::alarm::Alarm;
use crate::server::batch::{Runner, Slice};
use crate::server::connection::{Connection, Desk, SCRATCH_BYTES, panic_text};
use crate::server::sweep;
use crate::server::turns::MailTurns;
use crate::shared::Shared;
use crate::sys::readiness;
use crate::sys::socket::{Stream, UnixSocket};

/// How often a worker that must not expire keys (CLIENT PAUSE, DEBUG SET-ACTIVE-EXPIRE 0) looks whether it may again.
const EXPIRY_HELD_BACK: Duration = Duration::from_millis(10);
/// How long a shutdown waits for clients that are slow to read what is due to them.
const DRAIN_MAX: Duration = Duration::from_secs(3);
/// Sockets that may wait for a worker to take them.
pub const HANDOVER_MAX: usize = 1024;

/// What a worker is given at its start.
pub struct Inlets {
    /// The unix socket, for the worker that accepts for all.
    pub unix: Option<UnixSocket>,
    /// Where sockets accepted for it arrive.
    pub sockets: mpsc::Receiver<Stream>,
    /// Where the accepting worker puts sockets for each worker.
    pub outlets: Vec<mpsc::Sender<Stream>>,
}

/// Runs a worker until the process shuts down.
///
/// # Errors
/// If its runtime or a listener cannot be set up.
pub fn run(shared: Arc<Shared>, index: u16, inlets: Inlets) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let local = LocalSet::new();
    // As a task of its own: what stands here is polled each time that any of the tasks is woken.
    local.block_on(&runtime, async {
        match tokio::task::spawn_local(serve(shared, index, inlets)).await {
            Ok(served) => served,
            Err(ended) => match ended.try_into_panic() {
                Ok(payload) => std::panic::resume_unwind(payload),
                Err(cancelled) => Err(io::Error::other(cancelled)),
            },
        }
    })
}

/// What the tasks of one worker share.
struct Worker {
    index: u16,
    shared: Arc<Shared>,
    desk: Rc<RefCell<Desk>>,
    /// Told when a deadline may be earlier than the one the expiry task sleeps for.
    earlier: Rc<Notify>,
    /// Told whenever a connection has ended.
    gone: Rc<Notify>,
}

async fn serve(shared: Arc<Shared>, index: u16, mut inlets: Inlets) -> io::Result<()> {
    shared.stats.is_mine(index);
    let (earlier, gone) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
    let desk = Rc::new(RefCell::new(Desk {
        runner: Runner::new(Arc::clone(&shared), index, Rc::clone(&earlier)),
        requests: Requests::new(),
        scratch: vec![0; SCRATCH_BYTES],
        out: OutBuf::default(),
        gone: Rc::clone(&gone),
        mail_turns: Rc::new(MailTurns::new()),
    }));
    let worker = Rc::new(Worker { index, shared: Arc::clone(&shared), desk, earlier, gone });
    let mut accepting = JoinSet::new();
    accepting.spawn_local(listen_tcp(Rc::clone(&worker)));
    if let Some(unix) = inlets.unix {
        accepting.spawn_local(accept_unix(Rc::clone(&worker), unix, inlets.outlets));
    }
    tokio::task::spawn_local(give_up_caches(Rc::clone(&worker)));
    let turns = Rc::clone(&worker.desk.borrow().mail_turns);
    tokio::task::spawn_local(async move { turns.run().await });
    tokio::task::spawn_local(expire(Rc::clone(&worker), Alarm::new()?));
    if index == 0 {
        tokio::task::spawn_local(run_errands(Rc::clone(&worker)));
        tokio::task::spawn_local(sweep::run(Arc::clone(&shared)));
    }
    let mut shutdown = shared.watch_shutdown();
    loop {
        tokio::select! {
            _ = shutdown.wait_for(Option::is_some) => break,
            stream = inlets.sockets.recv() => match stream {
                Some(stream) => worker.adopt(stream),
                None => break,
            },
        }
    }
    accepting.shutdown().await;
    drain(&worker).await;
    Ok(())
}

/// Ends the connections of this worker: no further request is read; replies and messages that are made already are
/// sent, for as long as that may take.
async fn drain(worker: &Worker) {
    let clients = &worker.shared.clients;
    clients.list().iter().filter(|client| client.worker == worker.index).for_each(|client| client.end());
    let all_gone = async {
        while clients.of_worker(usize::from(worker.index)) > 0 {
            worker.gone.notified().await;
        }
    };
    if tokio::time::timeout(DRAIN_MAX, all_gone).await.is_err() {
        let left = clients.of_worker(usize::from(worker.index));
        tracing::warn!("{left} clients read too slowly: closed with replies unsent");
    }
}

impl Worker {
    /// Makes a client of a connected socket, or turns it away. A panic in there costs this socket only.
    fn adopt(self: &Rc<Self>, stream: Stream) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.welcome(stream))) {
            tracing::error!("a new connection ended in a panic: {}", panic_text(&*payload));
        }
    }

    fn welcome(self: &Rc<Self>, stream: Stream) {
        let config = self.shared.config.load_full();
        let (addr, laddr) = addresses(&stream, &config);
        let new = NewClient {
            worker: self.index,
            fd: std::os::fd::AsRawFd::as_raw_fd(&stream),
            addr,
            laddr,
            unix: stream.is_unix(),
            now_ms: clock::mono_ms(),
        };
        if refused_by_protected_mode(&new, &config) {
            turn_away(&stream, PROTECTED_MODE);
            self.shared.stats.lane(self.index).rejected_connections += 1;
            return;
        }
        let max = usize::try_from(config.maxclients).unwrap_or(usize::MAX);
        let Some(handle) = self.shared.clients.admit(max, new) else {
            turn_away(&stream, "-ERR max number of clients reached\r\n");
            self.shared.stats.lane(self.index).rejected_connections += 1;
            return;
        };
        self.shared.stats.lane(self.index).connections += 1;
        crate::clients::apply_output_limit(&handle, &config);
        sweep::came_into_force(&handle, &self.shared);
        if let Stream::Tcp(tcp) = &stream {
            let _ = tcp.set_nodelay(true);
            keepalive(tcp, config.tcp_keepalive);
        }
        let id = handle.id;
        let authenticated = config.requirepass.as_bytes().is_empty();
        match Connection::new(stream, Rc::clone(&self.desk), handle, authenticated) {
            Ok(connection) => {
                tokio::task::spawn_local(connection.serve());
            }
            Err(error) => {
                tracing::warn!("cannot watch a new connection: {error}");
                self.shared.clients.remove(id);
            }
        }
    }
}

const PROTECTED_MODE: &str = "-DENIED tandem is running in protected mode: no password is set and this \
    connection does not come from the same machine. Connect by the unix socket or the loopback \
    interface, set a password with requirepass, or turn protected-mode off.\r\n";

fn refused_by_protected_mode(new: &NewClient, config: &crate::config::Config) -> bool {
    let local = new.unix || new.addr.starts_with("127.") || new.addr.starts_with("[::1]");
    config.protected_mode && !local && config.requirepass.as_bytes().is_empty()
}

fn turn_away(stream: &Stream, line: &str) {
    // The buffer of a fresh socket takes one line; if it does not, the close says it all.
    let _ = stream.send(&[io::IoSlice::new(line.as_bytes())]);
}

fn keepalive(tcp: &std::net::TcpStream, seconds: u32) {
    if seconds == 0 {
        return;
    }
    let interval = Duration::from_secs(u64::from(seconds / 3).max(1));
    let alive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(u64::from(seconds)))
        .with_interval(interval)
        .with_retries(3);
    let _ = socket2::SockRef::from(tcp).set_tcp_keepalive(&alive);
}

fn addresses(stream: &Stream, config: &crate::config::Config) -> (Box<str>, Box<str>) {
    match stream {
        Stream::Unix(_) => {
            let path: Box<str> = format!("{}:0", config.unixsocket.to_str_lossy()).into();
            (path.clone(), path)
        }
        Stream::Tcp(tcp) => {
            let text = |a: io::Result<std::net::SocketAddr>| match a {
                Ok(a) => a.to_string().into(),
                Err(_) => Box::from("?:0"),
            };
            (text(tcp.peer_addr()), text(tcp.local_addr()))
        }
    }
}

/// Accepts on this worker's share of the TCP addresses, and on others once CONFIG SET changed them.
async fn listen_tcp(worker: Rc<Worker>) {
    let mut changes = worker.shared.tcp.changes();
    let mut accepting = JoinSet::new();
    loop {
        changes.borrow_and_update();
        if let Some(listeners) = worker.shared.tcp.take_share(worker.index) {
            accepting.shutdown().await;
            for listener in listeners {
                accepting.spawn_local(accept_tcp(Rc::clone(&worker), listener));
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Accepts on this worker's share of a TCP address; the kernel spreads the connections.
async fn accept_tcp(worker: Rc<Worker>, listener: TcpListener) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Ok(stream) = stream.into_std() {
                    worker.adopt(Stream::Tcp(stream));
                }
            }
            // CONFIG SET closed it and is about to tell so.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => pause_accepting(&error).await,
        }
    }
}

/// Accepts for all workers and gives each socket to the one with the fewest clients.
async fn accept_unix(worker: Rc<Worker>, unix: UnixSocket, outlets: Vec<mpsc::Sender<Stream>>) {
    let Ok(listener) = readiness::watch(unix, Interest::READABLE) else { return };
    loop {
        let Ok(mut ready) = listener.readable().await else { return };
        match ready.try_io(|l| l.get_ref().listener.accept()) {
            Err(_) => {}
            Ok(Ok((stream, _))) => {
                if stream.set_nonblocking(true).is_ok() {
                    hand_over(&worker, &outlets, Stream::Unix(stream)).await;
                }
            }
            Ok(Err(error)) => pause_accepting(&error).await,
        }
    }
}

async fn hand_over(worker: &Rc<Worker>, outlets: &[mpsc::Sender<Stream>], stream: Stream) {
    let load = |i: usize| worker.shared.clients.of_worker(i) + HANDOVER_MAX - outlets[i].capacity();
    let least = (0..outlets.len()).min_by_key(|&i| load(i)).unwrap_or(0);
    if least == usize::from(worker.index) {
        worker.adopt(stream);
    } else if outlets[least].send(stream).await.is_err() {
        tracing::debug!("a worker is gone; its new connection is closed");
    }
}

/// One failed accept must not end the accepting; out of descriptors, a pause lets others close.
async fn pause_accepting(error: &io::Error) {
    tracing::warn!("accepting a connection failed: {error}");
    let wait = if error.kind() == io::ErrorKind::ConnectionAborted { 0 } else { 50 };
    tokio::time::sleep(Duration::from_millis(wait)).await;
}

/// Works off due keys between batches; sleeps until the next deadline, without a tick.
async fn expire(worker: Rc<Worker>, alarm: Alarm) {
    let mut steps = worker.shared.clock_steps.subscribe();
    loop {
        // One that comes while the wheels are looked at is seen when this is about to sleep.
        steps.mark_unchanged();
        // A panic in a slice is a bug; it must not end the expiry of this worker.
        let slice = catch_unwind(AssertUnwindSafe(|| worker.desk.borrow_mut().runner.expire_slice()));
        let slice = slice.unwrap_or_else(|payload| {
            tracing::error!("expiry ended in a panic: {}", panic_text(&*payload));
            Slice::HeldBack
        });
        let next = match slice {
            Slice::More => {
                tokio::task::yield_now().await;
                continue;
            }
            Slice::HeldBack => {
                tokio::time::sleep(EXPIRY_HELD_BACK).await;
                continue;
            }
            Slice::Until(next) => next,
        };
        let Some(at) = next else {
            worker.earlier.notified().await;
            continue;
        };
        tokio::select! {
            reached = alarm.reached(at) => if let Err(error) = reached {
                tracing::error!("the timer for expiry failed, keys may expire late: {error}");
                tokio::time::sleep(EXPIRY_HELD_BACK).await;
            },
            () = worker.earlier.notified() => {}
            // The alarm itself notices when the machine's clock is set.
            _ = steps.changed() => {}
        }
    }
}

/// Sees to what the helper thread cannot, and to what was too much for one worker at once: clients that waited for keys
/// which are gone, and entries for streams.
async fn run_errands(worker: Rc<Worker>) {
    loop {
        worker.shared.errands.notified().await;
        let done = catch_unwind(AssertUnwindSafe(|| {
            let runner = &mut worker.desk.borrow_mut().runner;
            runner.serve_ready();
            runner.after(clock::now_ms());
        }));
        if let Err(payload) = done {
            tracing::error!("an errand ended in a panic: {}", panic_text(&*payload));
        }
        // The connections have their turn before the next one.
        tokio::task::yield_now().await;
    }
}

/// Gives up what the allocator keeps for this thread, when the helper thread wants to see free pages. Timers that stand for
/// nothing any more are looked for too: of those whose keys were evicted by the helper nobody here has heard.
async fn give_up_caches(worker: Rc<Worker>) {
    loop {
        worker.shared.caches.notified().await;
        worker.earlier.notify_one();
        allocator::flush_thread();
    }
}
