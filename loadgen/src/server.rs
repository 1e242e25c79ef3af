//! Servers that a comparison starts itself: on a unix socket in a temporary directory, bound
//! to a core, ended with the value that holds them.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Signal, kill_process};

use crate::clock::now_ns;
use crate::proc;
use crate::target::Target;

/// A server must listen within this time and end within this time.
const START_NS: u64 = 20_000_000_000;
const STOP_NS: u64 = 10_000_000_000;

/// `name=command`: how to start a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSpec {
    pub name: String,
    pub argv: Vec<String>,
}

impl FromStr for ServerSpec {
    type Err = anyhow::Error;

    fn from_str(s: &str) -> Result<Self> {
        let (name, command) = s.split_once('=').context("a server is NAME=COMMAND")?;
        ensure!(!name.is_empty() && !name.contains('|'), "a server needs a name before the =");
        let argv = split_words(command)?;
        ensure!(!argv.is_empty(), "server '{name}' has no command");
        Ok(ServerSpec { name: name.to_owned(), argv })
    }
}

impl ServerSpec {
    /// The command with the socket's path: in place of `{socket}`, or else as redis-server's flags.
    fn command_line(&self, socket: &Path, extra: &[&str]) -> Vec<String> {
        let path = socket.display().to_string();
        let mut argv: Vec<String> = self.argv.iter().map(|a| a.replace("{socket}", &path)).collect();
        if !self.argv.iter().any(|a| a.contains("{socket}")) {
            let flags = ["--port", "0", "--unixsocket", &path, "--save", "", "--appendonly", "no"];
            argv.extend(flags.iter().chain(extra).map(|s| (*s).to_owned()));
        }
        argv
    }

    /// Fails with what to do about it when the command is not there.
    pub fn check(&self) -> Result<()> {
        let program = &self.argv[0];
        let found = if program.contains('/') {
            Path::new(program).is_file()
        } else {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
        };
        if found {
            return Ok(());
        }
        if self.name == "tandem" {
            bail!(
                "no tandem at {program}: build it with `cargo build --release`, set TANDEM_BIN to another \
                 binary, or name the servers yourself with --server NAME=COMMAND"
            );
        }
        bail!("server '{}': no such program: {program}", self.name)
    }
}

/// Splits like a shell would: blanks separate, quotes keep together, no expansion of anything.
fn split_words(command: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in command.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    ensure!(quote.is_none(), "a quote is not closed in: {command}");
    words.extend(word);
    Ok(words)
}

/// A running server.
pub struct Server {
    child: Child,
    pub name: String,
    pub target: Target,
    /// From exec to the first reply.
    pub ready_ns: u64,
    log: PathBuf,
}

impl Server {
    /// Starts it on `cores` and waits until it answers. `extra` are more redis-server flags.
    pub fn start(spec: &ServerSpec, dir: &Path, cores: &[usize], extra: &[&str]) -> Result<Self> {
        let socket = dir.join(format!("{}.sock", spec.name));
        let log = dir.join(format!("{}.log", spec.name));
        let argv = spec.command_line(&socket, extra);
        let out = std::fs::File::create(&log)?;
        let mine = proc::cores()?;
        // It runs in another folder: a path that was meant from here would not lead there.
        let program = match argv[0].contains('/') {
            true => std::path::absolute(&argv[0])?,
            false => PathBuf::from(&argv[0]),
        };
        // A child inherits its parent's cores; ours are given back at once.
        proc::bind(cores)?;
        let began = now_ns();
        let child = Command::new(&program)
            .args(&argv[1..])
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn();
        proc::bind(&mine)?;
        let child = child.with_context(|| format!("cannot start {}", argv.join(" ")))?;
        let target = Target::Unix(socket);
        let mut server = Server { child, name: spec.name.clone(), target, ready_ns: 0, log };
        server.await_ready(began)?;
        Ok(server)
    }

    fn await_ready(&mut self, began: u64) -> Result<()> {
        loop {
            if let Ok(fd) = self.target.connect()
                && first_reply(&fd, now_ns() + 1_000_000_000)
            {
                self.ready_ns = now_ns() - began;
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                let how = status.signal().map_or_else(|| status.to_string(), |s| format!("signal {s}"));
                bail!("{} ended before it served ({how}):\n{}", self.name, self.log_tail());
            }
            ensure!(now_ns() - began < START_NS, "{} does not answer:\n{}", self.name, self.log_tail());
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn cpu(&self) -> Result<proc::Cpu> {
        proc::cpu(self.pid())
    }

    pub fn resident_kib(&self) -> Result<u64> {
        proc::resident_kib(self.pid())
    }

    /// Without its code.
    pub fn anonymous_kib(&self) -> Result<u64> {
        proc::anonymous_kib(self.pid())
    }

    /// Fails with the end of its log if the server is gone.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}:\n{}", self.name, self.log_tail()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Ok(pid) = proc::pid(self.child.id()) else {
            return;
        };
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let _ = kill_process(pid, Signal::TERM);
        let deadline = now_ns() + STOP_NS;
        while now_ns() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a PING (an array of one, which the floor answers too) and waits for any whole line.
pub fn first_reply(fd: &std::os::fd::OwnedFd, deadline_ns: u64) -> bool {
    use rustix::net::{RecvFlags, SendFlags, recv, send};
    if send(fd, b"*1\r\n$4\r\nPING\r\n", SendFlags::NOSIGNAL).is_err() {
        return false;
    }
    let mut buf = [0u8; 256];
    while now_ns() < deadline_ns {
        match recv(fd, &mut buf[..], RecvFlags::empty()) {
            Ok((0, _)) => return false,
            // -LOADING is not ready yet.
            Ok((n, _)) => return buf[..n].ends_with(b"\r\n") && buf[0] != b'-',
            Err(rustix::io::Errno::AGAIN) => std::thread::sleep(Duration::from_micros(20)),
            Err(_) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_commands() {
        let words = split_words("redis-server --save '' --x \"a b\"c  ").unwrap();
        assert_eq!(words, ["redis-server", "--save", "", "--x", "a bc"]);
        assert!(split_words("a 'b").is_err());
    }

    #[test]
    fn fills_in_the_socket() {
        let spec: ServerSpec = "x=srv --at {socket}".parse().unwrap();
        assert_eq!(spec.command_line(Path::new("/t/s"), &["--extra"]), ["srv", "--at", "/t/s"]);
        let spec: ServerSpec = "redis=redis-server --workers 1".parse().unwrap();
        let line = spec.command_line(Path::new("/t/s"), &["--maxclients", "20"]);
        let want =
            "redis-server --workers 1 --port 0 --unixsocket /t/s --save  --appendonly no --maxclients 20";
        assert_eq!(line.join(" "), want);
        for bad in ["", "name", "=cmd", "name=", "name=  "] {
            assert!(bad.parse::<ServerSpec>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_missing_program_says_what_to_do() {
        let spec: ServerSpec = "tandem=/nonexistent/tandem".parse().unwrap();
        assert!(spec.check().unwrap_err().to_string().contains("cargo build --release"));
        let spec: ServerSpec = "other=no-such-program-at-all".parse().unwrap();
        assert!(spec.check().is_err());
    }
}
