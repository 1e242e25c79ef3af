//! The client's side of RESP2: one request, one reply.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Bytes of one reply, and elements of one array: more than any that is asked for here.
const REPLY_MAX: usize = 16 << 20;
const ELEMENTS_MAX: usize = 1 << 16;
/// Arrays inside arrays.
const DEPTH_MAX: usize = 8;
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A reply.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    /// A line, a bulk string or a number as text; nil is empty.
    Text(String),
    /// An array.
    Items(Vec<Reply>),
    /// An error.
    Error(String),
}

impl Reply {
    pub fn text(&self) -> &str {
        match self {
            Reply::Text(text) | Reply::Error(text) => text,
            Reply::Items(_) => "",
        }
    }

    pub fn items(&self) -> &[Reply] {
        match self {
            Reply::Items(items) => items,
            _ => &[],
        }
    }

    /// The value behind a name in an array of names and values.
    pub fn get(&self, name: &str) -> Option<&Reply> {
        self.items().chunks_exact(2).find(|pair| pair[0].text() == name).map(|pair| &pair[1])
    }

    /// A number behind a name; 0 if there is none.
    pub fn number(&self, name: &str) -> f64 {
        self.get(name).and_then(|value| value.text().parse().ok()).unwrap_or(0.0)
    }
}

/// A connection to a server.
pub(super) struct Wire<S> {
    stream: BufReader<S>,
}

/// By path.
pub(super) fn unix(path: &str) -> io::Result<Wire<UnixStream>> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(Wire { stream: BufReader::new(stream) })
}

/// By `host:port`.
pub(super) fn tcp(address: &str) -> io::Result<Wire<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(Wire { stream: BufReader::new(stream) })
}

/// Whatever answers.
pub(super) trait Ask {
    /// Sends all these and reads their replies.
    fn ask(&mut self, requests: &[&[&str]]) -> io::Result<Vec<Reply>>;
}

impl<S: Read + Write> Ask for Wire<S> {
    fn ask(&mut self, requests: &[&[&str]]) -> io::Result<Vec<Reply>> {
        let mut bytes = Vec::new();
        for request in requests {
            bytes.extend(format!("*{}\r\n", request.len()).bytes());
            for word in *request {
                bytes.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
            }
        }
        self.stream.get_mut().write_all(&bytes)?;
        requests.iter().map(|_| read(&mut self.stream, 0)).collect()
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("this is not the protocol of Redis: {what}"))
}

fn read(stream: &mut impl BufRead, depth: usize) -> io::Result<Reply> {
    let mut line = Vec::new();
    stream.by_ref().take(REPLY_MAX as u64).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = String::from_utf8_lossy(&line);
    let line = line.trim_end_matches(['\r', '\n']);
    let mut rest = line.chars();
    let kind = rest.next().unwrap_or(' ');
    let rest = rest.as_str();
    match kind {
        '+' | ':' => Ok(Reply::Text(rest.to_owned())),
        '-' => Ok(Reply::Error(rest.to_owned())),
        '$' | '*' if rest == "-1" => Ok(Reply::Text(String::new())),
        '$' => {
            let length = rest.parse().ok().filter(|n| *n <= REPLY_MAX).ok_or_else(|| wrong(line))?;
            let mut bytes = vec![0; length + 2];
            stream.read_exact(&mut bytes)?;
            bytes.truncate(length);
            Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        '*' if depth < DEPTH_MAX => {
            let n: usize = rest.parse().ok().filter(|n| *n <= ELEMENTS_MAX).ok_or_else(|| wrong(line))?;
            (0..n).map(|_| read(stream, depth + 1)).collect::<io::Result<_>>().map(Reply::Items)
        }
        _ => Err(wrong(line)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(bytes: &[u8]) -> io::Result<Reply> {
        read(&mut &*bytes, 0)
    }

    #[test]
    fn replies() {
        let map = reply(b"*4\r\n$1\r\na\r\n:7\r\n$1\r\nb\r\n*1\r\n$-1\r\n").unwrap();
        assert_eq!((map.number("a"), map.number("none")), (7.0, 0.0));
        assert_eq!(map.get("b").unwrap().items(), [Reply::Text(String::new())]);
        assert_eq!(reply(b"-ERR no\r\n").unwrap(), Reply::Error("ERR no".into()));
        for bad in
            [&b""[..], b"HTTP/1.1 200\r\n", b"$99999999999\r\n", b"*99999999\r\n", b"$5\r\nab", b"*1\r\n"]
        {
            assert!(reply(bad).is_err(), "{bad:?}");
        }
        assert!(reply("*1\r\n".repeat(100).as_bytes()).is_err(), "too deep");
    }
}
