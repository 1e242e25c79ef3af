//! A plain blocking connection, for what is asked one thing at a time: settings, figures, replays.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::target::Target;

/// A reply must come within this time.
const TIMEOUT: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 64 << 10;
/// Bytes of requests sent before their replies are read.
const PIPELINE_BYTES: usize = 32 << 10;
/// A reply longer than this is not one that is asked for here.
const REPLY_MAX: usize = 64 << 20;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Status(String),
    Integer(i64),
    Nil,
    Text(Vec<u8>),
    Error(String),
}

/// A connection.
pub struct Client {
    socket: File,
    buf: Vec<u8>,
    /// What of it was taken already.
    at: usize,
}

impl Client {
    pub fn connect(target: &Target) -> Result<Self> {
        let fd: OwnedFd = target.connect()?;
        rustix::io::ioctl_fionbio(&fd, false)?;
        set_socket_timeout(&fd, Timeout::Recv, Some(TIMEOUT))?;
        set_socket_timeout(&fd, Timeout::Send, Some(TIMEOUT))?;
        Ok(Client { socket: File::from(fd), buf: Vec::new(), at: 0 })
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.socket.write_all(bytes).context("cannot send")
    }

    /// One command given as words, and its reply, which must not be an error.
    pub fn call(&mut self, words: &[&str]) -> Result<Reply> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.send(request.as_bytes())?;
        match self.reply()? {
            Reply::Error(e) => bail!("{} was refused: {e}", words.join(" ")),
            reply => Ok(reply),
        }
    }

    /// Sends the commands that `write` writes for each key, some KiB at a time; it says how many. No reply may be an error.
    pub fn send_all(
        &mut self,
        keys: impl Iterator<Item = u64>,
        mut write: impl FnMut(u64, &mut Vec<u8>) -> usize,
    ) -> Result<()> {
        let mut out = Vec::new();
        let mut waiting = 0_usize;
        let mut keys = keys.peekable();
        while let Some(n) = keys.next() {
            waiting += write(n, &mut out);
            if out.len() >= PIPELINE_BYTES || keys.peek().is_none() {
                self.send(&out)?;
                out.clear();
                for _ in 0..std::mem::take(&mut waiting) {
                    if let Reply::Error(e) = self.reply()? {
                        bail!("refused: {e}");
                    }
                }
            }
        }
        Ok(())
    }

    pub fn integer(&mut self, words: &[&str]) -> Result<i64> {
        match self.call(words)? {
            Reply::Integer(n) => Ok(n),
            other => bail!("{} gave {other:?}", words.join(" ")),
        }
    }

    /// A figure of INFO.
    pub fn info(&mut self, section: &str, field: &str) -> Result<u64> {
        let value = self.info_text(section, field)?;
        value.parse().with_context(|| format!("{field} is no number: {value}"))
    }

    /// A field of INFO.
    pub fn info_text(&mut self, section: &str, field: &str) -> Result<String> {
        let Reply::Text(text) = self.call(&["INFO", section])? else {
            bail!("INFO {section} gave no text");
        };
        let text = String::from_utf8_lossy(&text).into_owned();
        let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
        let line = line.with_context(|| format!("INFO {section} has no {field}"))?;
        Ok(line.trim().to_owned())
    }

    /// The next reply: anything but arrays.
    pub fn reply(&mut self) -> Result<Reply> {
        let line = self.line()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let body = &line[1..];
        let number = || text(body).parse::<i64>().with_context(|| format!("not a number: {}", text(body)));
        match line[0] {
            b'+' => Ok(Reply::Status(text(body))),
            b'-' => Ok(Reply::Error(text(body))),
            b':' => Ok(Reply::Integer(number()?)),
            b'_' => Ok(Reply::Nil),
            b'$' | b'=' => match usize::try_from(number()?) {
                Err(_) => Ok(Reply::Nil),
                Ok(len) => Ok(Reply::Text(self.bytes(len)?)),
            },
            _ => bail!("unexpected reply: {:?}", text(&line)),
        }
    }

    fn line(&mut self) -> Result<Vec<u8>> {
        let mut looked = self.at;
        loop {
            if let Some(end) = self.buf[looked..].iter().position(|&b| b == b'\n') {
                let line = &self.buf[self.at..looked + end];
                let line =
                    line.strip_suffix(b"\r").filter(|l| !l.is_empty()).context("not a reply")?.to_vec();
                self.at = looked + end + 1;
                return Ok(line);
            }
            let unread = self.buf.len() - self.at;
            self.fill()?;
            looked = self.at + unread;
        }
    }

    fn bytes(&mut self, len: usize) -> Result<Vec<u8>> {
        ensure!(len <= REPLY_MAX, "a reply of {len} bytes");
        while self.buf.len() - self.at < len + 2 {
            self.fill()?;
        }
        let bytes = self.buf[self.at..self.at + len].to_vec();
        self.at += len + 2;
        Ok(bytes)
    }

    fn fill(&mut self) -> Result<()> {
        self.buf.drain(..self.at);
        self.at = 0;
        ensure!(self.buf.len() <= REPLY_MAX, "a reply of more than {REPLY_MAX} bytes");
        let have = self.buf.len();
        self.buf.resize(have + READ_BYTES, 0);
        let n = self.socket.read(&mut self.buf[have..]).context("no reply")?;
        self.buf.truncate(have + n);
        ensure!(n > 0, "the server closed a connection");
        Ok(())
    }
}
