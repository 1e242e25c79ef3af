//! The slow log and its kin: the last commands that took too long, or asked for or answered too much.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Arguments kept of one command; the last one then says how many more there were.
const ARGS_MAX: usize = 32;
/// Bytes kept of one argument.
const ARG_BYTES_MAX: usize = 128;

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Ascending number, never reset.
    pub id: u64,
    /// Unix seconds at which it ran.
    pub time_s: u64,
    /// Microseconds it took, or bytes of its request or reply.
    pub measure: u64,
    /// Its arguments, shortened.
    pub args: Vec<Box<[u8]>>,
    /// The client's address.
    pub addr: Box<str>,
    /// The client's name.
    pub name: Box<[u8]>,
}

#[derive(Default)]
struct Log {
    entries: VecDeque<Entry>,
    next_id: u64,
}

/// The three logs of commands.
#[derive(Default)]
pub struct CommandLogs {
    /// Commands that took long.
    pub slow: SlowLog,
    /// Commands with large requests.
    pub large_request: SlowLog,
    /// Commands with large replies.
    pub large_reply: SlowLog,
}

/// One log, newest first.
#[derive(Default)]
pub struct SlowLog {
    log: Mutex<Log>,
}

impl SlowLog {
    /// Adds an entry, with arguments as [`shorten`] made them, and drops the oldest beyond `max`. Gives its number.
    pub fn add(
        &self,
        max: usize,
        time_s: u64,
        measure: u64,
        addr: &str,
        name: &[u8],
        args: Vec<Box<[u8]>>,
    ) -> u64 {
        let mut log = self.log.lock();
        let id = log.next_id;
        log.next_id += 1;
        log.entries.push_front(Entry { id, time_s, measure, args, addr: addr.into(), name: name.into() });
        log.entries.truncate(max);
        id
    }

    /// The newest `count` entries.
    pub fn newest(&self, count: usize) -> Vec<Entry> {
        self.log.lock().entries.iter().take(count).cloned().collect()
    }

    /// Its length, and number and measure of the newest entry, if there was ever one.
    pub fn newest_of_all(&self) -> (usize, Option<(u64, u64)>) {
        let log = self.log.lock();
        (log.entries.len(), log.entries.front().map(|entry| (entry.id, entry.measure)))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.log.lock().entries.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all entries.
    pub fn reset(&self) {
        self.log.lock().entries.clear();
    }

    /// Drops the oldest entries beyond `max` (CONFIG SET slowlog-max-len).
    pub fn shrink(&self, max: usize) {
        self.log.lock().entries.truncate(max);
    }
}

/// Arguments as an entry has them.
pub fn shorten<'x>(args: impl ExactSizeIterator<Item = &'x [u8]>) -> Vec<Box<[u8]>> {
    let n = args.len();
    let keep = if n > ARGS_MAX { ARGS_MAX - 1 } else { n };
    let mut kept: Vec<Box<[u8]>> = args
        .take(keep)
        .map(|a| {
            if a.len() > ARG_BYTES_MAX {
                let mut short = a[..ARG_BYTES_MAX].to_vec();
                short.extend_from_slice(format!("... ({} more bytes)", a.len() - ARG_BYTES_MAX).as_bytes());
                short.into()
            } else {
                a.into()
            }
        })
        .collect();
    if keep < n {
        kept.push(format!("... ({} more arguments)", n - keep).into_bytes().into());
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commands_are_shortened() {
        let log = SlowLog::default();
        let args: Vec<Vec<u8>> = (0..40).map(|i| vec![b'x'; i * 10]).collect();
        log.add(2, 0, 1, "a", b"", shorten(args.iter().map(Vec::as_slice)));
        let entry = &log.newest(1)[0];
        assert_eq!(entry.args.len(), 32);
        assert_eq!(&*entry.args[31], b"... (9 more arguments)");
        assert!(entry.args[30].ends_with(b"... (172 more bytes)"));
    }

    #[test]
    fn the_oldest_go_first() {
        let log = SlowLog::default();
        for i in 0..5u64 {
            log.add(2, i, i, "a", b"", shorten(std::iter::empty()));
        }
        assert_eq!(log.newest(10).iter().map(|e| e.id).collect::<Vec<_>>(), [4, 3]);
    }
}
