//! One load thread: its connections, its epoll, and what both loops share.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, bail};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::clock::now_ns;
use crate::conn::{Conn, RECV_BYTES};
use crate::proc;
use crate::reply::Scanner;
use crate::target::Target;

/// Events taken per wait.
const EVENTS: usize = 256;
/// The timer among the descriptors.
const TIMER: usize = usize::MAX;
/// Without any reply for this long while requests are out, the run is given up.
pub const STALL_NS: u64 = 30_000_000_000;

/// The connections of one thread and the buffers that they share.
pub struct Worker {
    target: Target,
    /// A connection is replaced after so many replies.
    pub churn: Option<u64>,
    pub reconnects: u64,
    pub epoll: OwnedFd,
    pub conns: Vec<Conn>,
    pub scanner: Scanner,
    pub scratch: Vec<u8>,
    pub out: Vec<u8>,
    events: Vec<Event>,
    /// Set where a wake-up comes when it is asked for; see [`Worker::sleeps_exactly`].
    timer: Option<OwnedFd>,
    /// Replies so far, for whoever draws the progress bar.
    pub progress: Arc<AtomicU64>,
}

/// How a wait for events ends at the latest.
#[derive(Debug, Clone, Copy)]
pub enum Wait {
    /// Look, do not sleep.
    Poll,
    /// Sleep at most this many milliseconds.
    Millis(u64),
    /// Sleep this long, to the precision of the kernel's timers.
    Nanos(u64),
}

/// When a run ends; whichever comes first.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    pub requests: u64,
    pub deadline_ns: u64,
}

impl Limit {
    /// From now on for so long.
    pub fn after(ns: u64) -> Self {
        Limit { requests: u64::MAX, deadline_ns: now_ns().saturating_add(ns) }
    }
}

impl Worker {
    pub fn connect(target: &Target, clients: usize, scanner: Scanner) -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let conns = (0..clients).map(|i| Conn::open(target, &epoll, i as u64)).collect::<Result<Vec<_>>>()?;
        let timer = if proc::is_real_time() { Some(timer(&epoll)?) } else { None };
        Ok(Worker {
            target: target.clone(),
            churn: None,
            reconnects: 0,
            timer,
            epoll,
            conns,
            scanner,
            scratch: vec![0; RECV_BYTES],
            out: Vec::with_capacity(RECV_BYTES),
            events: Vec::with_capacity(EVENTS),
            progress: Arc::new(AtomicU64::new(0)),
        })
    }

    /// Sends this on every connection and waits for the replies to its commands.
    pub fn handshake(&mut self, commands: &[u8]) -> Result<()> {
        let n = commands.windows(3).filter(|w| *w == b"\r\n*").count() + 1;
        self.conns.iter_mut().try_for_each(|conn| conn.ask(commands, n))
    }

    /// Replaces a connection that has served as many requests as `churn` allows and waits for none.
    #[inline]
    pub fn renew(&mut self, id: usize) -> Result<()> {
        if let Some(most) = self.churn
            && self.conns[id].served >= most
            && self.conns[id].pending.is_empty()
        {
            self.conns[id] = Conn::open(&self.target, &self.epoll, id as u64)?;
            self.reconnects += 1;
        }
        Ok(())
    }

    /// Waits for readiness and calls `ready(self, connection, readable)` for each; connections
    /// that are writable again have been flushed by then.
    pub fn poll(
        &mut self,
        wait: Wait,
        mut ready: impl FnMut(&mut Self, usize) -> Result<()>,
    ) -> Result<usize> {
        let timeout = match wait {
            Wait::Poll => Timespec { tv_sec: 0, tv_nsec: 0 },
            Wait::Nanos(ns) => self.arm(ns)?,
            Wait::Millis(ms) => {
                Timespec { tv_sec: (ms / 1000) as i64, tv_nsec: (ms % 1000 * 1_000_000) as i64 }
            }
        };
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => bail!("epoll_wait failed: {e}"),
        }
        let n = events.len();
        for event in &events {
            let (flags, id) = (event.flags, event.data.u64() as usize);
            if id == TIMER {
                continue;
            }
            if flags.contains(EventFlags::OUT) {
                self.conns[id].flush(&self.epoll)?;
            }
            if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                ready(self, id)?;
            }
        }
        self.events = events;
        Ok(n)
    }

    /// A real-time thread (`chrt -f 1`) is woken when its timer says so. It must sleep: the kernel
    /// takes the core away, for 50 ms of every second, from one that polls. Any other
    /// thread polls, because it would be woken whenever the scheduler gets to it.
    pub fn sleeps_exactly(&self) -> bool {
        self.timer.is_some()
    }

    /// Sets the timer; the time that a wait may take beside it.
    fn arm(&self, ns: u64) -> Result<Timespec> {
        let value =
            Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000).max(1) as i64 };
        if let Some(timer) = &self.timer {
            let none = Timespec { tv_sec: 0, tv_nsec: 0 };
            let spec = Itimerspec { it_interval: none, it_value: value };
            timerfd_settime(timer, TimerfdTimerFlags::empty(), &spec)?;
        }
        Ok(Timespec { tv_sec: 1 + value.tv_sec, tv_nsec: 0 })
    }

    pub fn outstanding(&self) -> usize {
        self.conns.iter().map(|c| c.pending.len()).sum()
    }

    pub fn show_progress(&self, replies: u64) {
        self.progress.store(replies, Ordering::Relaxed);
    }
}

/// A timer that wakes the epoll. Edge-triggered: nobody has to read it.
fn timer(epoll: &OwnedFd) -> Result<OwnedFd> {
    let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    epoll::add(epoll, &fd, EventData::new_u64(TIMER as u64), EventFlags::IN | EventFlags::ET)?;
    Ok(fd)
}

/// Notices that nothing has come back for [`STALL_NS`].
pub struct StallGuard {
    last_ns: u64,
}

impl StallGuard {
    pub fn new() -> Self {
        StallGuard { last_ns: now_ns() }
    }

    /// `events` is what the last wait returned, `now` the time.
    pub fn check(&mut self, events: usize, now: u64, worker: &Worker) -> Result<()> {
        if events > 0 {
            self.last_ns = now;
        } else if now.saturating_sub(self.last_ns) > STALL_NS {
            let out = worker.outstanding();
            if out > 0 {
                bail!("no reply for {} s with {out} requests unanswered", STALL_NS / 1_000_000_000);
            }
            self.last_ns = now;
        }
        Ok(())
    }
}
