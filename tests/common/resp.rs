//! A client that keeps the bytes of each reply beside its meaning, in RESP2 and RESP3.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long a reply may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

/// What a reply says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// `+…`
    Simple(String),
    /// `-…`
    Error(String),
    /// `:…`
    Int(i64),
    /// `$…`
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` and `_`
    Null,
    /// `*…`
    Array(Vec<Value>),
    /// `%…`
    Map(Vec<(Value, Value)>),
    /// `~…`
    Set(Vec<Value>),
    /// `>…`
    Push(Vec<Value>),
    /// `,…` as it was written
    Double(String),
    /// `#t`, `#f`
    Bool(bool),
    /// `=…` with its three letters of format
    Verbatim(Vec<u8>),
    /// `(…`
    BigNumber(String),
    /// `!…`
    BlobError(Vec<u8>),
    /// `|…` before the value that it belongs to
    Attributed(Vec<(Value, Value)>, Box<Value>),
}

impl Value {
    /// Text of a simple string, bulk string, verbatim string or error; empty for anything else.
    pub fn text(&self) -> String {
        match self {
            Value::Simple(text) | Value::Error(text) | Value::Double(text) | Value::BigNumber(text) => {
                text.clone()
            }
            Value::Bulk(bytes) | Value::BlobError(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Value::Verbatim(bytes) => {
                String::from_utf8_lossy(bytes.get(4..).unwrap_or_default()).into_owned()
            }
            Value::Int(number) => number.to_string(),
            _ => String::new(),
        }
    }

    /// The elements of an array, set or push; a map's pairs one after the other; else nothing.
    pub fn items(&self) -> Vec<Value> {
        match self {
            Value::Array(items) | Value::Set(items) | Value::Push(items) => items.clone(),
            Value::Map(pairs) => pairs.iter().flat_map(|(k, v)| [k.clone(), v.clone()]).collect(),
            _ => Vec::new(),
        }
    }

    /// The number, of an integer reply or of a string that holds one.
    pub fn int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            other => other.text().parse().ok(),
        }
    }
}

/// One reply: its bytes and its meaning.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// The bytes as they came.
    pub raw: Vec<u8>,
    /// What they say.
    pub value: Value,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.raw))
    }
}

/// Bytes as text that redis-cli takes back between double quotes.
pub fn escape(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// A command as it goes over the wire.
pub fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.as_ref().len()).as_bytes());
        out.extend_from_slice(arg.as_ref());
        out.extend_from_slice(b"\r\n");
    }
    out
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A blocking connection.
pub struct Client {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    position: usize,
}

impl Client {
    /// Connects to a unix socket.
    pub fn unix(path: &Path) -> io::Result<Client> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Client { stream: Box::new(stream), buffer: Vec::new(), position: 0 })
    }

    /// Speaks over this TCP connection.
    pub fn over_tcp(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(REPLY_TIMEOUT)).expect("time-out for reads");
        stream.set_write_timeout(Some(REPLY_TIMEOUT)).expect("time-out for writes");
        Client { stream: Box::new(stream), buffer: Vec::new(), position: 0 }
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a command, without waiting for its reply.
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<()> {
        self.send_raw(&encode(args))
    }

    /// Sends a command and reads its reply.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Reply> {
        self.send(args)?;
        self.read()
    }

    /// Sends a command given as words and returns what it says; fails when no reply comes.
    pub fn command(&mut self, words: &str) -> Value {
        let args: Vec<&str> = words.split_whitespace().collect();
        self.call(&args).unwrap_or_else(|error| panic!("{words}: {error}")).value
    }

    /// Reads the next reply or push.
    pub fn read(&mut self) -> io::Result<Reply> {
        let mut want = 1;
        loop {
            if self.buffer.len() - self.position >= want {
                let mut cursor = Cursor { bytes: &self.buffer, at: self.position };
                match cursor.value() {
                    Ok(value) => {
                        let raw = self.buffer[self.position..cursor.at].to_vec();
                        self.position = cursor.at;
                        if self.position == self.buffer.len() {
                            self.buffer.clear();
                            self.position = 0;
                        }
                        return Ok(Reply { raw, value });
                    }
                    // Double what is asked for, so that a long reply is not parsed once per packet.
                    Err(Stop::More) => want = (self.buffer.len() - self.position + 1).max(want),
                    Err(Stop::Bad(why)) => {
                        let seen = escape(&self.buffer[self.position..]);
                        return Err(io::Error::new(
                            io::ErrorKind::InvalidData,
                            format!("{why} in \"{seen}\""),
                        ));
                    }
                }
            }
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.buffer.extend_from_slice(&chunk[..length]),
            }
        }
    }

    /// Reads until the server closes the connection, and returns what came before that.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = self.buffer.split_off(self.position);
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }
}

/// The elements of a complete array, each with its bytes; nothing if it is none.
pub fn elements(raw: &[u8]) -> Vec<Reply> {
    let mut cursor = Cursor { bytes: raw, at: 1 };
    let count = match (raw.first(), cursor.line()) {
        (Some(b'*'), Ok(line)) => line.parse().unwrap_or(0),
        _ => 0usize,
    };
    let mut out = Vec::new();
    for _ in 0..count {
        let start = cursor.at;
        let Ok(value) = cursor.value() else { break };
        out.push(Reply { raw: raw[start..cursor.at].to_vec(), value });
    }
    out
}

enum Stop {
    More,
    Bad(String),
}

/// Nesting that a test's reply never reaches; it keeps a broken server from overflowing the stack.
const DEPTH_MAX: usize = 32;

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn value(&mut self) -> Result<Value, Stop> {
        self.nested(0)
    }

    fn nested(&mut self, depth: usize) -> Result<Value, Stop> {
        if depth > DEPTH_MAX {
            return Err(Stop::Bad("reply nested too deep".to_owned()));
        }
        let kind = *self.bytes.get(self.at).ok_or(Stop::More)?;
        self.at += 1;
        let line = self.line()?;
        Ok(match kind {
            b'+' => Value::Simple(line),
            b'-' => Value::Error(line),
            b':' => Value::Int(number(&line)?),
            b',' => Value::Double(line),
            b'(' => Value::BigNumber(line),
            b'_' => Value::Null,
            b'#' => Value::Bool(line == "t"),
            b'$' | b'*' if line == "-1" => Value::Null,
            b'$' => Value::Bulk(self.body(&line)?),
            b'=' => Value::Verbatim(self.body(&line)?),
            b'!' => Value::BlobError(self.body(&line)?),
            b'*' => Value::Array(self.items(&line, depth)?),
            b'~' => Value::Set(self.items(&line, depth)?),
            b'>' => Value::Push(self.items(&line, depth)?),
            b'%' => Value::Map(self.pairs(&line, depth)?),
            b'|' => Value::Attributed(self.pairs(&line, depth)?, Box::new(self.nested(depth + 1)?)),
            other => return Err(Stop::Bad(format!("reply type {:?}", char::from(other)))),
        })
    }

    fn line(&mut self) -> Result<String, Stop> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or(Stop::More)?;
        if end == 0 || rest[end - 1] != b'\r' {
            return Err(Stop::Bad("line without CR".to_owned()));
        }
        self.at += end + 1;
        Ok(rest[..end - 1].iter().map(|&byte| char::from(byte)).collect())
    }

    fn body(&mut self, length: &str) -> Result<Vec<u8>, Stop> {
        let length = length_of(length)?;
        let rest = &self.bytes[self.at..];
        if rest.len() < length + 2 {
            return Err(Stop::More);
        }
        if &rest[length..length + 2] != b"\r\n" {
            return Err(Stop::Bad("bulk string without CRLF".to_owned()));
        }
        self.at += length + 2;
        Ok(rest[..length].to_vec())
    }

    fn items(&mut self, count: &str, depth: usize) -> Result<Vec<Value>, Stop> {
        (0..length_of(count)?).map(|_| self.nested(depth + 1)).collect()
    }

    fn pairs(&mut self, count: &str, depth: usize) -> Result<Vec<(Value, Value)>, Stop> {
        (0..length_of(count)?).map(|_| Ok((self.nested(depth + 1)?, self.nested(depth + 1)?))).collect()
    }
}

fn number(text: &str) -> Result<i64, Stop> {
    text.parse().map_err(|_| Stop::Bad(format!("integer {text:?}")))
}

fn length_of(text: &str) -> Result<usize, Stop> {
    text.parse().map_err(|_| Stop::Bad(format!("length {text:?}")))
}
