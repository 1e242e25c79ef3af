//! The subscriber's side: how late each event is, and which keys had none or more than one.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::ending::{self, wall_ns};
use crate::open::Observer;
use crate::subscriber::Subscriber;

/// Figures above this are recorded as this.
const MOST_NS: u64 = 600_000_000_000;

fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, MOST_NS, 3)?)
}

/// What was heard of the keys that end.
pub struct Heard {
    /// By how much events came after the deadlines, one per key.
    pub lateness: Histogram<u64>,
    /// Keys of which an event was heard.
    pub delivered: u64,
    pub twice: u64,
    /// Events before their time.
    pub early: u64,
    /// On the wall clock.
    pub last_event_ns: u64,
    /// One bit per key.
    bits: Vec<u64>,
    made: Rc<Cell<u64>>,
}

impl Heard {
    fn of(&mut self, key: &[u8], now_ns: u64) {
        let Some((due_ms, number)) = ending::parse(key).filter(|k| k.1 < self.made.get()) else {
            return;
        };
        let (word, bit) = ((number / 64) as usize, 1u64 << (number % 64));
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        if self.bits[word] & bit != 0 {
            self.twice += 1;
            return;
        }
        self.bits[word] |= bit;
        self.delivered += 1;
        self.last_event_ns = now_ns;
        let due_ns = due_ms * 1_000_000;
        self.early += u64::from(now_ns < due_ns);
        self.lateness.saturating_record(now_ns.saturating_sub(due_ns).max(1));
    }
}

/// Hears of expired keys while a run goes on, and sorts the latencies of its first stream.
pub struct Listener {
    subscriber: Subscriber,
    scratch: Vec<u8>,
    pub heard: Heard,
    /// End the run when every key made so far was heard of.
    pub ends_run: bool,
    /// On the monotonic clock: requests due before and after it are told apart.
    pub split_ns: u64,
    pub before: Histogram<u64>,
    pub after: Histogram<u64>,
}

impl Listener {
    pub fn new(subscriber: Subscriber, made: Rc<Cell<u64>>) -> Result<Self> {
        let heard = Heard {
            lateness: histogram()?,
            delivered: 0,
            twice: 0,
            early: 0,
            last_event_ns: 0,
            bits: Vec::new(),
            made,
        };
        Ok(Listener {
            subscriber,
            scratch: Subscriber::scratch(),
            heard,
            ends_run: false,
            split_ns: u64::MAX,
            before: histogram()?,
            after: histogram()?,
        })
    }

    /// From now on the runs of the worker with this epoll hear of expired keys.
    pub fn register(&self, epoll: &OwnedFd) -> Result<()> {
        self.subscriber.register(epoll, 0)
    }

    fn side(&mut self, due: u64) -> &mut Histogram<u64> {
        if due < self.split_ns { &mut self.before } else { &mut self.after }
    }
}

impl Observer for Listener {
    fn readable(&mut self, _id: usize) -> Result<()> {
        // Read after the receive: an event that comes while this thread waits for its core is not early.
        let (heard, mut now) = (&mut self.heard, None);
        self.subscriber.messages(&mut self.scratch, |key| heard.of(key, *now.get_or_insert_with(wall_ns)))
    }

    fn reply(&mut self, stream: usize, due: u64, latency: u64) {
        if stream == 0 {
            self.side(due).saturating_record(latency.max(1));
        }
    }

    fn unsent(&mut self, stream: usize, due: u64, waited: u64, n: u64) {
        if stream == 0 {
            self.side(due).saturating_record_n(waited.max(1), n);
        }
    }

    fn done(&self) -> bool {
        self.ends_run && self.heard.delivered == self.heard.made.get()
    }
}
