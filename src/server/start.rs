//! From settings to a running process, and to its end.

use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::sync::mpsc;

use crate::commands::table;
use crate::config::Config;
use crate::keyspace::{Keyspace, Options};
use crate::memory::allocator::{self, Holes};
use crate::memory::limits;
use crate::observe::{Commands, http};
use crate::server::connection::panic_text;
use crate::server::listen;
use crate::server::process;
use crate::server::tcp::{self, Bound};
use crate::server::worker::{self, HANDOVER_MAX, Inlets};
use crate::shared::{Shared, Shutdown};
use crate::sys::socket::UnixSocket;
use crate::sys::startup;

/// When the start counts as over; and then once more, when the allocator's thread has come to rest too.
const SETTLED_AFTER: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(2300)];

/// Starts everything and returns when the process was asked to end, with its exit code.
///
/// # Errors
/// If a socket cannot be bound or a thread not be started.
pub fn run(mut config: Config) -> anyhow::Result<u8> {
    let _pid_file = process::prepare(&mut config)?;
    let workers = u16::try_from(config.worker_count()).context("workers: at most 65535")?;
    let renames = config.rename_command.0.iter();
    let renames = renames.map(|(old, new)| (old.as_bytes().to_vec(), new.as_bytes().to_vec())).collect();
    table::rename(renames).map_err(|error| anyhow!(error))?;
    // Commands are looked up in a table that is built once; not on the first request.
    let commands = table::all().len();
    let mode = if config.cluster_enabled { "cluster" } else { "standalone" };
    tracing::info!("tandem {} starting, PID: {}", env!("CARGO_PKG_VERSION"), std::process::id());
    tracing::info!(
        "Running mode={mode}, port={}, workers={workers}, commands={commands}, PID: {}.",
        config.port,
        std::process::id()
    );
    let sockets = bind(&config, workers)?;
    let http = bind_http(&config)?;
    let keyspace = Keyspace::new(Options {
        databases: u16::try_from(config.databases).context("databases: at most 65535")?,
        grow_percent: u8::try_from(config.engine_grow_percent).unwrap_or(85),
        shrink_percent: u8::try_from(config.engine_shrink_percent).unwrap_or(20),
        reserve_bytes: reserve_bytes(),
        workers,
        ..Options::default()
    })
    .context("reserving address space for the keyspace")?;
    let shared = Arc::new(Shared::new(config, keyspace, workers));
    let used = shared.sampler.used(&shared.keyspace, 0);
    shared.memory.calibrate(used.allocator.allocated);
    crate::commands::room::follow_settings(&shared);
    if let Some(score) = shared.oom_score.lock().as_mut()
        && let Err(error) = score.apply(&shared.config.load())
    {
        tracing::warn!("Unable to write oom_score_adj: {error}");
    }
    let helper = Arc::clone(&shared);
    thread::Builder::new().name("helper".into()).spawn(move || super::helper::run(helper))?;
    let _http_socket = serve_http(&shared, http)?;
    tracing::info!("Server initialized");
    let (threads, running) = spawn_workers(&shared, sockets)?;
    shared.serving.store(true, Relaxed);
    wait_for_end(&shared, running);
    for handle in threads {
        let _ = handle.join();
    }
    let code = shared.shutdown_code();
    tracing::warn!("tandem is now ready to exit, bye bye...");
    Ok(code)
}

/// Address space for entries: all that they can use, or their part where it is limited.
fn reserve_bytes() -> usize {
    let all = Options::default().reserve_bytes;
    match limits::address_space() {
        Some(space) => usize::try_from(limits::for_entries(space)).map_or(all, |part| part.min(all)),
        None => all,
    }
}

struct Sockets {
    unix: Option<UnixSocket>,
    tcp: Bound,
}

fn bind(config: &Config, workers: u16) -> anyhow::Result<Sockets> {
    let backlog = i32::try_from(config.tcp_backlog).unwrap_or(511);
    let tcp = tcp::bind(config, workers).map_err(|error| {
        tracing::error!("Could not create server TCP listening socket {error}");
        tracing::error!("Failed listening on port {} (tcp), aborting.", config.port);
        anyhow!("Failed listening on port {}: {error}", config.port)
    })?;
    let mut sockets = Sockets { unix: None, tcp };
    if !config.unixsocket.is_empty() {
        let path = config.unixsocket.as_path();
        let socket = listen::unix(path, config.unixsocketperm, backlog).map_err(|e| {
            tracing::error!("Failed opening Unix socket: bind: {e}");
            anyhow!("unix socket {}: {e}", path.display())
        })?;
        sockets.unix = Some(socket);
    }
    if sockets.unix.is_none() && sockets.tcp.is_empty() {
        return Err(anyhow!("nothing to listen on: set unixsocket or port"));
    }
    Ok(sockets)
}

fn bind_http(config: &Config) -> anyhow::Result<(Vec<TcpListener>, Option<UnixSocket>)> {
    let tcp = tcp::bind_http(config)
        .map_err(|error| anyhow!("Failed listening on metrics-port {}: {error}", config.metrics_port))?;
    let path = config.metrics_unixsocket.as_path();
    if config.metrics_unixsocket.is_empty() {
        return Ok((tcp, None));
    }
    let backlog = i32::try_from(config.tcp_backlog).unwrap_or(511);
    let unix = listen::unix(path, config.metrics_unixsocketperm, backlog)
        .map_err(|error| anyhow!("metrics-unixsocket {}: {error}", path.display()))?;
    Ok((tcp, Some(unix)))
}

/// Starts the thread for those who watch, if it has anything to listen on. Gives back what removes the socket file.
fn serve_http(
    shared: &Arc<Shared>,
    (tcp, unix): (Vec<TcpListener>, Option<UnixSocket>),
) -> anyhow::Result<Option<UnixSocket>> {
    if tcp.is_empty() && unix.is_none() {
        return Ok(None);
    }
    let listeners =
        http::Listeners { tcp, unix: unix.as_ref().map(|unix| unix.listener.try_clone()).transpose()? };
    let commands = Commands { name: table::full_name, family: table::family };
    http::start(listeners, Arc::clone(shared), commands)?;
    tracing::info!("HTTP endpoint for metrics and probes is listening");
    Ok(unix)
}

/// The threads, and what closes when the last of them has ended.
type Workers = (Vec<thread::JoinHandle<()>>, mpsc::Receiver<()>);

fn spawn_workers(shared: &Arc<Shared>, mut sockets: Sockets) -> anyhow::Result<Workers> {
    let workers = usize::from(shared.workers);
    let (outlets, inlets): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(HANDOVER_MAX)).unzip();
    shared.tcp.install(sockets.tcp, shared.workers)?;
    let mut handles = Vec::new();
    let (alive, running) = mpsc::channel(1);
    for ((i, sockets_for), arena) in inlets.into_iter().enumerate().zip(allocator::arenas_for(workers)) {
        let unix = if i == 0 { sockets.unix.take() } else { None };
        let inlets = Inlets { unix, sockets: sockets_for, outlets: outlets.clone() };
        let shared = Arc::clone(shared);
        let index = u16::try_from(i).unwrap_or(u16::MAX);
        let alive = alive.clone();
        let work = move || {
            let _alive = alive;
            allocator::allocate_from(arena);
            let ran = catch_unwind(AssertUnwindSafe(|| worker::run(Arc::clone(&shared), index, inlets)));
            let why = match &ran {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(payload) => panic_text(&**payload).to_owned(),
            };
            // Its clients are gone. Rather a process that is started again than one that is half there.
            tracing::error!("worker {index} ended: {why}");
            shared.begin_shutdown(Shutdown { code: 1 });
        };
        handles.push(thread::Builder::new().name(format!("worker-{i}")).spawn(work)?);
    }
    announce(shared);
    Ok((handles, running))
}

fn announce(shared: &Shared) {
    let config = shared.config.load();
    if !config.unixsocket.is_empty() {
        tracing::info!(
            "The server is now ready to accept connections at {}",
            config.unixsocket.to_str_lossy()
        );
        tracing::info!("Try: redis-cli -s {} set greeting hello", config.unixsocket.to_str_lossy());
    }
    let port = shared.tcp.port();
    if port != 0 {
        tracing::info!("Ready to accept connections tcp, port {port}");
    } else {
        tracing::info!("Ready to accept connections unix");
    }
}

/// Sleeps until SIGTERM, SIGINT or a command asks for the end, and then until the workers have ended.
fn wait_for_end(shared: &Arc<Shared>, mut running: mpsc::Receiver<()>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot wait for signals: {error}");
            return shared.begin_shutdown(Shutdown { code: 1 });
        }
    };
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            tracing::error!("cannot watch for signals");
            return shared.begin_shutdown(Shutdown { code: 1 });
        };
        let mut asked = shared.watch_shutdown();
        let settled = async {
            for wait in SETTLED_AFTER {
                tokio::time::sleep(wait).await;
                let_go_of_the_start();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = settled => {}
            _ = term.recv() => tracing::warn!("Received SIGTERM scheduling shutdown..."),
            _ = int.recv() => tracing::warn!("Received SIGINT scheduling shutdown..."),
            _ = asked.wait_for(Option::is_some) => {}
        }
        tracing::warn!("User requested shutdown...");
        shared.tcp.stop();
        shared.begin_shutdown(Shutdown { code: 0 });
        tokio::select! {
            _ = running.recv() => {}
            _ = int.recv() => {
                tracing::warn!("You insist... exiting now.");
                std::process::exit(1);
            }
        }
    });
}

/// Memory that only the start needed goes back: code that ran once, and what it allocated.
fn let_go_of_the_start() {
    Holes::forget_all();
    allocator::purge();
    // Last: what runs after it comes back.
    if let Err(error) = startup::let_go() {
        tracing::debug!("the pages of the start stay mapped: {error}");
    }
}
