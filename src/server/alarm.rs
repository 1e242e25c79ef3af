//! A worker's alarm: wakes at a time of the wall clock, and when somebody sets that clock.
//!
//! A timer descriptor instead of the runtime's own timer, which counts whole milliseconds and would add one or two to
//! the lateness of each expiry, and whose clock does not know that the wall clock was set or the machine was asleep: it
//! would need a tick to find out.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::clock;
use crate::sys::readiness;

/// One timer descriptor.
pub struct Alarm {
    timer: AsyncFd<OwnedFd>,
}

impl Alarm {
    /// An alarm that is not set.
    ///
    /// # Errors
    /// If there is no descriptor for it.
    pub fn new() -> io::Result<Alarm> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
        Ok(Alarm { timer: readiness::watch(timer, Interest::READABLE)? })
    }

    /// Returns when the wall clock has reached this Unix millisecond, or earlier if the clock was set meanwhile.
    /// May be dropped before that and used again.
    ///
    /// # Errors
    /// If the kernel refuses the timer.
    pub async fn reached(&self, unix_ms: u64) -> io::Result<()> {
        let unix_ms = clock::of_machine(unix_ms);
        // All zero would disarm it.
        let unix_ms = i64::try_from(unix_ms.max(1)).unwrap_or(i64::MAX);
        let at = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: unix_ms / 1000, tv_nsec: unix_ms % 1000 * 1_000_000 },
        };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        match timerfd_settime(&self.timer, flags, &at) {
            // The clock was set since the last wait; the timer is armed all the same.
            Ok(_) | Err(Errno::CANCELED) => {}
            Err(error) => return Err(error.into()),
        }
        loop {
            let mut ready = self.timer.readable().await?;
            let mut expirations = [0; 8];
            match rustix::io::read(&self.timer, &mut expirations) {
                Ok(_) | Err(Errno::CANCELED) => {
                    ready.clear_ready();
                    return Ok(());
                }
                // Readiness left over from a wait that was dropped.
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
    }

    #[test]
    fn wakes_in_the_millisecond_it_is_set_for() {
        runtime().block_on(async {
            let alarm = Alarm::new().expect("an alarm");
            for ms in [0, 1, 3, 20] {
                let at = clock::now_ms() + ms;
                alarm.reached(at).await.expect("wakes");
                assert!(clock::now_ms() >= at, "never early");
            }
            alarm.reached(0).await.expect("the past is reached at once");
        });
    }

    #[test]
    fn a_wait_may_be_dropped_and_another_one_begun() {
        runtime().block_on(async {
            let alarm = Alarm::new().expect("an alarm");
            let far = clock::now_ms() + 3_600_000;
            let waited = tokio::time::timeout(Duration::from_millis(5), alarm.reached(far)).await;
            assert!(waited.is_err());
            // One that expires unseen leaves nothing behind that ends the next one early.
            let soon = alarm.reached(clock::now_ms() + 1);
            drop(tokio::time::timeout(Duration::ZERO, soon).await);
            std::thread::sleep(Duration::from_millis(3));
            let at = clock::now_ms() + 10;
            alarm.reached(at).await.expect("wakes");
            assert!(clock::now_ms() >= at);
        });
    }
}
