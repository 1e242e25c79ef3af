//! From settings to a running process, and to its end.

use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use anyhow::{Context, anyhow};
use tokio::sync::mpsc;

use crate::config::Config;
use crate::keyspace::{Keyspace, Options};
use crate::server::listen::{self, UnixSocket};
use crate::server::process;
use crate::server::worker::{self, HANDOVER_MAX, Inlets};
use crate::shared::{Shared, Shutdown};

/// Starts everything and returns when the process was asked to end, with its exit code.
///
/// # Errors
/// If a socket cannot be bound or a thread not be started.
pub fn run(mut config: Config) -> anyhow::Result<u8> {
    let _pid_file = process::prepare(&mut config)?;
    let workers = u16::try_from(config.worker_count()).context("workers: at most 65535")?;
    // Commands are looked up in a table that is built once; not on the first request.
    let commands = crate::commands::table::all().len();
    let mode = if config.cluster_enabled { "cluster" } else { "standalone" };
    tracing::info!("tandem {} starting, PID: {}", env!("CARGO_PKG_VERSION"), std::process::id());
    tracing::info!("Running mode={mode}, port={}, workers={workers}, commands={commands}, PID: {}.",
        config.port, std::process::id());
    let sockets = bind(&config, workers)?;
    let keyspace = Keyspace::new(Options {
        databases: u16::try_from(config.databases).context("databases: at most 65535")?,
        grow_percent: u8::try_from(config.engine_grow_percent).unwrap_or(85),
        shrink_percent: u8::try_from(config.engine_shrink_percent).unwrap_or(20),
        ..Options::default()
    })
    .context("reserving address space for the keyspace")?;
    let shared = Arc::new(Shared::new(config, keyspace, workers));
    shared.tcp_port.store(u32::from(sockets.port), Relaxed);
    shared.sampler.used(&shared.keyspace, 0);
    if let Some(score) = shared.oom_score.lock().as_mut()
        && let Err(error) = score.apply(&shared.config.load())
    {
        tracing::warn!("Unable to write oom_score_adj: {error}");
    }
    let helper = Arc::clone(&shared);
    thread::Builder::new().name("helper".into()).spawn(move || super::helper::run(helper))?;
    tracing::info!("Server initialized");
    let threads = spawn_workers(&shared, sockets)?;
    wait_for_signal(&shared);
    for handle in threads {
        let _ = handle.join();
    }
    let code = shared.shutdown_code();
    tracing::warn!("tandem is now ready to exit, bye bye...");
    Ok(code)
}

struct Sockets {
    unix: Option<UnixSocket>,
    /// Per address, one listener per worker.
    tcp: Vec<Vec<std::net::TcpListener>>,
    port: u16,
}

fn bind(config: &Config, workers: u16) -> anyhow::Result<Sockets> {
    let backlog = i32::try_from(config.tcp_backlog).unwrap_or(511);
    let mut sockets = Sockets { unix: None, tcp: Vec::new(), port: 0 };
    if config.port != 0 {
        bind_tcp(config, workers, backlog, &mut sockets)?;
    }
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

fn bind_tcp(config: &Config, workers: u16, backlog: i32, sockets: &mut Sockets) -> anyhow::Result<()> {
    let mut port = config.port;
    for address in &config.bind.0 {
        let ip = resolve(&address.host)?;
        match listen::tcp(ip, port, backlog, workers) {
            Ok(listeners) => {
                if let Some(first) = listeners.first() {
                    port = first.local_addr()?.port();
                }
                sockets.port = port;
                sockets.tcp.push(listeners);
            }
            Err(e) if address.optional || unsupported(&e) => {
                tracing::info!("not listening on {ip}: {e}");
            }
            Err(e) => {
                tracing::error!("Could not create server TCP listening socket {ip}:{port}: bind: {e}");
                tracing::error!("Failed listening on port {port} (tcp), aborting.");
                return Err(anyhow!("Failed listening on port {port}: {ip}: {e}"));
            }
        }
    }
    Ok(())
}

/// An address, a host name, or `*` and `::*` for everything.
fn resolve(host: &str) -> anyhow::Result<IpAddr> {
    match host {
        "*" => Ok(std::net::Ipv4Addr::UNSPECIFIED.into()),
        "::*" => Ok(std::net::Ipv6Addr::UNSPECIFIED.into()),
        _ => {
            let mut found = (host, 0).to_socket_addrs().with_context(|| format!("bind {host}"))?;
            found.next().map(|a| a.ip()).ok_or_else(|| anyhow!("bind {host}: no such host"))
        }
    }
}

fn unsupported(e: &std::io::Error) -> bool {
    e.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

type Handles = Vec<thread::JoinHandle<()>>;

fn spawn_workers(shared: &Arc<Shared>, mut sockets: Sockets) -> anyhow::Result<Handles> {
    let workers = usize::from(shared.workers);
    let (outlets, inlets): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(HANDOVER_MAX)).unzip();
    let mut handles = Vec::new();
    for (i, sockets_for) in inlets.into_iter().enumerate() {
        let tcp = sockets.tcp.iter_mut().filter_map(Vec::pop).collect();
        let unix = if i == 0 { sockets.unix.take() } else { None };
        let inlets = Inlets { tcp, unix, sockets: sockets_for, outlets: outlets.clone() };
        let shared = Arc::clone(shared);
        let index = u16::try_from(i).unwrap_or(u16::MAX);
        let work = move || {
            if let Err(error) = worker::run(Arc::clone(&shared), index, inlets) {
                tracing::error!("worker {index} ended: {error}");
                shared.begin_shutdown(Shutdown { code: 1 });
            }
        };
        handles.push(thread::Builder::new().name(format!("worker-{i}")).spawn(work)?);
    }
    announce(shared);
    Ok(handles)
}

fn announce(shared: &Shared) {
    let config = shared.config.load();
    if !config.unixsocket.is_empty() {
        tracing::info!("The server is now ready to accept connections at {}", config.unixsocket.to_str_lossy());
        tracing::info!("Try: redis-cli -s {} set greeting hello", config.unixsocket.to_str_lossy());
    }
    let port = shared.tcp_port.load(Relaxed);
    if port != 0 {
        tracing::info!("Ready to accept connections tcp, port {port}");
    } else {
        tracing::info!("Ready to accept connections unix");
    }
}

/// Sleeps until SIGTERM, SIGINT or a command asks for the end.
fn wait_for_signal(shared: &Arc<Shared>) {
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
        tokio::select! {
            _ = term.recv() => tracing::warn!("Received SIGTERM scheduling shutdown..."),
            _ = int.recv() => tracing::warn!("Received SIGINT scheduling shutdown..."),
            _ = asked.wait_for(Option::is_some) => {}
        }
        tracing::warn!("User requested shutdown...");
        shared.begin_shutdown(Shutdown { code: 0 });
    });
}
