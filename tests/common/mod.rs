//! What the integration tests share: a server process in a temporary folder, and a client that shows the bytes.
//!
//! The server under test is `TANDEM_BIN`, else the binary that cargo built for this test. Nothing here sleeps to
//! wait for the server: readiness is a PING that is answered.
#![allow(dead_code, reason = "each test crate uses its own part of this module")]
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

pub mod http;
pub mod lines;
pub mod rdb;
pub mod resp;
pub mod rng;

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[allow(unused_imports)] // each test binary uses some of it
pub use resp::{Client, Reply, Value};

/// How long a server may take to answer its first PING. Generous: the machine may be building at the same time.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a server may take to leave after SIGTERM.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

/// An hour, for deadlines that come when [`step_clock`] says so, not when a busy machine has taken its time.
pub const HOUR_MS: i64 = 3_600_000;

/// Unix milliseconds, as deadlines are given.
pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_millis()).expect("in range")
}

/// The binary under test.
pub fn tandem_binary() -> PathBuf {
    std::env::var_os("TANDEM_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_tandem")), PathBuf::from)
}

/// The redis-server that is compared with.
pub fn redis_binary() -> PathBuf {
    PathBuf::from(std::env::var_os("TANDEM_REDIS_SERVER").unwrap_or_else(|| "redis-server".into()))
}

/// Cargo's target folder: what `scripts/test --setup` installs for the tests lies in there.
pub fn target_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("tmp lies in the target folder").to_path_buf()
}

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Options {
    binary: PathBuf,
    settings: Vec<(String, String)>,
    tcp: bool,
}

impl Options {
    /// The server under test, on a unix socket only.
    pub fn tandem() -> Options {
        Options { binary: tandem_binary(), settings: Vec::new(), tcp: false }
    }

    /// Debian's redis-server, on a unix socket only.
    pub fn redis() -> Options {
        Options { binary: redis_binary(), ..Options::tandem() }
    }

    /// Valkey, on a unix socket only: it has what came after Debian's redis-server.
    pub fn valkey() -> Options {
        let installed = || target_dir().join("clients/bin/valkey-server").into();
        let binary = std::env::var_os("TANDEM_VALKEY_SERVER").unwrap_or_else(installed);
        Options { binary: binary.into(), ..Options::tandem() }
    }

    /// Whether this is the server under test being redis-server itself (to try the tests out).
    pub fn is_redis(&self) -> bool {
        self.binary.file_name().is_some_and(|name| name == "redis-server")
    }

    /// One line of the configuration file.
    pub fn set(mut self, name: &str, value: &str) -> Options {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The number of workers; redis-server has no such setting and ignores this.
    pub fn workers(self, workers: usize) -> Options {
        if self.is_redis() { self } else { self.set("workers", &workers.to_string()) }
    }

    /// Listens on a free TCP port of the loopback interface as well.
    pub fn tcp(mut self) -> Options {
        self.tcp = true;
        self
    }

    /// Serves HTTP to those who watch, on a unix socket in the server's folder.
    pub fn http(self) -> Options {
        self.set("metrics-unixsocket", "metrics.sock")
    }

    /// Starts the server and waits until it answers.
    pub fn start(self) -> Server {
        Server::start(self)
    }
}

/// A running server. It is killed, and its folder removed, when this is dropped.
pub struct Server {
    child: Child,
    dir: tempfile::TempDir,
    port: Option<u16>,
    options: Options,
}

impl Server {
    fn start(options: Options) -> Server {
        // A port that was free may be taken by the time the server binds it: then another is tried.
        for _ in 0..5 {
            match Server::try_start(&options) {
                Ok(server) => return server,
                Err(log) if options.tcp && log.contains("Failed listening on port") => {}
                Err(log) => panic!("{} did not start; its output:\n{log}", options.binary.display()),
            }
        }
        panic!("no free TCP port was found for {}", options.binary.display());
    }

    fn try_start(options: &Options) -> Result<Server, String> {
        let dir = tempfile::Builder::new().prefix("tandem-").tempdir().expect("temporary folder");
        let port = options.tcp.then(free_port);
        let log = fs::File::create(dir.path().join("log")).expect("log file");
        fs::write(dir.path().join("redis.conf"), configuration(options, dir.path(), port))
            .expect("configuration");
        let child = spawn(options, dir.path(), log);
        let mut server = Server { child, dir, port, options: options.clone() };
        server.wait_ready()?;
        Ok(server)
    }

    fn wait_ready(&mut self) -> Result<(), String> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("state of the child") {
                return Err(format!("{}\n(left with {status})", self.log()));
            }
            let answer = Client::unix(&self.socket()).and_then(|mut client| client.call(&["PING"]));
            if answer.is_ok_and(|reply| reply.raw == b"+PONG\r\n" || reply.raw.starts_with(b"-NOAUTH")) {
                return Ok(());
            }
            if began.elapsed() > READY_TIMEOUT {
                return Err(format!("{}\n(no PONG within {READY_TIMEOUT:?})", self.log()));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// The unix socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// The folder of this server: configuration, log, socket, and the server's `dir`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The TCP port, if it listens on one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it wrote so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.dir.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A new client on the unix socket.
    pub fn client(&self) -> Client {
        Client::unix(&self.socket()).unwrap_or_else(|error| panic!("connect: {error}; log:\n{}", self.log()))
    }

    /// A bare connection to the unix socket.
    pub fn stream(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.socket())
    }

    /// A bare connection to the HTTP endpoint; started with `http()`.
    pub fn http_stream(&self) -> UnixStream {
        let stream =
            UnixStream::connect(self.dir().join("metrics.sock")).expect("connect to the HTTP endpoint");
        stream.set_read_timeout(Some(http::ANSWER_TIMEOUT)).expect("a time limit");
        stream
    }

    /// What the HTTP endpoint answers for this path.
    pub fn http_get(&self, path: &str) -> http::Answer {
        http::get(self.http_stream(), path).expect("an answer")
    }

    /// A new client on the TCP port.
    pub fn tcp_client(&self) -> Client {
        let port = self.port.expect("started with tcp()");
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("connect by TCP");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Client::over_tcp(stream)
    }

    /// Number of open file descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("descriptors of the server").count()
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("status of the server");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number of KiB")
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("state of the child").is_none()
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(status.expect("kill").success(), "kill -{name} {} failed", self.pid());
    }

    /// Waits until the process has left.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let mut left = None;
        wait_until("the server leaves", EXIT_TIMEOUT, || {
            left = self.child.try_wait().expect("state of the child");
            left.is_some()
        });
        left.expect("it has left")
    }

    /// Kills it without warning and starts it again in the same folder.
    pub fn kill_and_restart(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
        self.start_again();
    }

    /// Starts it again in the same folder; it must have left.
    pub fn start_again(&mut self) {
        let log = fs::OpenOptions::new().append(true).open(self.dir.path().join("log")).expect("log file");
        self.child = spawn(&self.options, self.dir.path(), log);
        if let Err(log) = self.wait_ready() {
            panic!("it did not start again; its output:\n{log}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when the process is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("--- last lines of the log of {} (pid {}):", self.options.binary.display(), self.pid());
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

fn configuration(options: &Options, dir: &Path, port: Option<u16>) -> String {
    let mut text = format!(
        "port {}\nbind 127.0.0.1\nunixsocket {}\nunixsocketperm 700\ndir {}\ndaemonize no\nsave \"\"\n",
        port.unwrap_or(0),
        dir.join("socket").display(),
        dir.display()
    );
    for (name, value) in &options.settings {
        text.push_str(&format!("{name} {}\n", if value.is_empty() { "\"\"" } else { value }));
    }
    text
}

/// The binary on the configuration in this folder.
fn spawn(options: &Options, dir: &Path, log: fs::File) -> Child {
    Command::new(&options.binary)
        .arg(dir.join("redis.conf"))
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("log file"))
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", options.binary.display()))
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

/// Sets the wall clock of the server forward, or (negative) back; needs `enable-debug-command`.
pub fn step_clock(client: &mut Client, ms: i64) {
    assert_eq!(client.command(&format!("DEBUG CLOCK-STEP {ms}")).text(), "OK");
}

/// Waits for a condition; fails with its name when it does not come true in time.
pub fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < timeout, "waited {timeout:?} in vain until {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A number from the environment, or its default.
pub fn env_number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

/// Runs a program to its end and returns its standard output; fails with all that it printed if it fails.
pub fn run(command: &mut Command) -> String {
    let name = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{name}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed with {}:\n{text}{errors}", output.status);
    text
}
