//! A connection that is told things: it subscribes to channels and hands on what arrives.

use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::clock::now_ns;
use crate::target::Target;

/// Subscribers have ids from here on among the descriptors of a worker.
pub const FIRST_ID: usize = 1 << 40;
/// What one receive takes at most.
const RECV_BYTES: usize = 64 << 10;
/// A server confirms a subscription within this time.
const CONFIRM_NS: u64 = 10_000_000_000;
/// A message longer than this is not one of ours.
const MESSAGE_MAX: usize = 16 << 20;
/// Elements of the longest push (`pmessage`).
const ELEMENTS_MAX: usize = 4;

/// What a message says: its kind, its channel, its payload.
type Push<'a> = [&'a [u8]; ELEMENTS_MAX];

/// One subscribed connection.
pub struct Subscriber {
    fd: OwnedFd,
    /// What arrived of an unfinished message.
    tail: Vec<u8>,
}

impl Subscriber {
    /// Connects, subscribes, and waits until the server has confirmed it.
    pub fn open(target: &Target, channel: &str) -> Result<Self> {
        let fd = target.connect()?;
        let request = format!("*2\r\n$9\r\nSUBSCRIBE\r\n${}\r\n{channel}\r\n", channel.len());
        send(&fd, request.as_bytes(), SendFlags::NOSIGNAL).context("cannot subscribe")?;
        let mut subscriber = Subscriber { fd, tail: Vec::new() };
        let mut scratch = vec![0; RECV_BYTES];
        let mut confirmed = false;
        let deadline = now_ns() + CONFIRM_NS;
        while !confirmed {
            ensure!(now_ns() < deadline, "SUBSCRIBE {channel} was not confirmed");
            let before = subscriber.tail.len();
            subscriber.pushes(&mut scratch, |push| confirmed |= push[0] == b"subscribe")?;
            if !confirmed && subscriber.tail.len() == before {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
        Ok(subscriber)
    }

    /// Has `epoll` report it as number `index` of the subscribers.
    pub fn register(&self, epoll: &OwnedFd, index: usize) -> Result<()> {
        Ok(epoll::add(epoll, &self.fd, EventData::new_u64((FIRST_ID + index) as u64), EventFlags::IN)?)
    }

    /// A buffer for [`Subscriber::messages`]; one serves any number of them.
    pub fn scratch() -> Vec<u8> {
        vec![0; RECV_BYTES]
    }

    /// Receives once and hands on the payload of every message.
    pub fn messages(&mut self, scratch: &mut [u8], mut seen: impl FnMut(&[u8])) -> Result<()> {
        self.pushes(scratch, |push| {
            if push[0] == b"message" {
                seen(push[2]);
            }
        })
    }

    fn pushes(&mut self, scratch: &mut [u8], mut seen: impl FnMut(&Push<'_>)) -> Result<()> {
        let n = match recv(&self.fd, &mut *scratch, RecvFlags::empty()) {
            Ok((0, _)) => bail!("the server closed the connection of a subscriber"),
            Ok((n, _)) => n,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(e) => bail!("receive failed: {e}"),
        };
        if self.tail.is_empty() {
            let used = walk(&scratch[..n], &mut seen)?;
            self.tail.extend_from_slice(&scratch[used..n]);
        } else {
            self.tail.extend_from_slice(&scratch[..n]);
            let used = walk(&self.tail, &mut seen)?;
            self.tail.drain(..used);
        }
        ensure!(self.tail.len() <= MESSAGE_MAX, "a message of more than {MESSAGE_MAX} bytes");
        Ok(())
    }
}

/// Hands on the complete pushes in `buf`; returns how much they take.
fn walk(buf: &[u8], seen: &mut impl FnMut(&Push<'_>)) -> Result<usize> {
    let mut used = 0;
    while let Some((len, push)) = push(&buf[used..])? {
        used += len;
        seen(&push);
    }
    Ok(used)
}

/// The array or push of strings and integers at the front, if it is whole: its length and elements.
fn push(buf: &[u8]) -> Result<Option<(usize, Push<'_>)>> {
    let mut elements: Push<'_> = [&[]; ELEMENTS_MAX];
    let Some((head, mut at)) = line(buf, 0) else {
        return Ok(None);
    };
    let count = match head.split_first() {
        Some((b'*' | b'>', n)) => number(n).filter(|n| (1..=ELEMENTS_MAX).contains(n)),
        _ => None,
    };
    let Some(count) = count else {
        bail!("not a message: {:?}", String::from_utf8_lossy(&buf[..buf.len().min(80)]));
    };
    for element in &mut elements[..count] {
        let Some((head, next)) = line(buf, at) else {
            return Ok(None);
        };
        at = next;
        match head.split_first() {
            Some((b':', digits)) => *element = digits,
            Some((b'$', n)) => {
                let len = number(n).filter(|&n| n <= MESSAGE_MAX).context("a message of a bad length")?;
                let Some(body) = buf.get(at..at + len) else {
                    return Ok(None);
                };
                *element = body;
                at += len + 2;
            }
            _ => bail!("not an element of a message: {:?}", String::from_utf8_lossy(head)),
        }
    }
    Ok((at <= buf.len()).then_some((at, elements)))
}

/// A line at `at` without its end, and where the next one begins.
fn line(buf: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = buf.get(at..)?;
    let end = rest.iter().position(|&b| b == b'\n')?;
    Some((rest[..end].strip_suffix(b"\r")?, at + end + 1))
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_are_taken_when_they_are_whole() {
        let one = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhe\r\nl\r\n";
        let two = b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
        let both = [&one[..], &two[..]].concat();
        for cut in 0..one.len() {
            assert!(push(&both[..cut]).unwrap().is_none(), "{cut}");
        }
        let mut seen = Vec::new();
        let used = walk(&both, &mut |p| seen.push((p[0].to_vec(), p[2].to_vec()))).unwrap();
        assert_eq!(used, both.len());
        assert_eq!(seen[0], (b"message".to_vec(), b"he\r\nl".to_vec()));
        assert_eq!(seen[1], (b"subscribe".to_vec(), b"1".to_vec()));
        for bad in [&b"-ERR no\r\n"[..], b"*0\r\n", b"*9\r\n", b"*1\r\n$x\r\n", b"*1\r\n+x\r\n"] {
            assert!(push(bad).is_err());
        }
    }
}
