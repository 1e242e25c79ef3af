//! The process: local time for log lines, CPU time, open files, going to the background.
#![allow(unsafe_code)] // C interfaces without a safe crate; each is one call

use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicI32, Ordering};

/// A point in time in the process' time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// As people count.
    pub year: i32,
    /// 0 to 11.
    pub month: usize,
    /// 1 to 31.
    pub day: i32,
    /// 0 to 23.
    pub hour: i32,
    /// 0 to 59.
    pub minute: i32,
    /// 0 to 60.
    pub second: i32,
}

/// Splits Unix seconds in the process' time zone.
pub fn local_time(unix_s: i64) -> LocalTime {
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call, and all-zero bytes are a valid `tm`.
    unsafe { libc::localtime_r(&unix_s, parts.as_mut_ptr()) };
    // SAFETY: zeroed above, and perhaps filled since.
    let parts = unsafe { parts.assume_init() };
    LocalTime {
        year: parts.tm_year + 1900,
        month: usize::try_from(parts.tm_mon).unwrap_or(0),
        day: parts.tm_mday,
        hour: parts.tm_hour,
        minute: parts.tm_min,
        second: parts.tm_sec,
    }
}

/// Whose CPU time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// All threads of this process.
    Process,
    /// Its ended children.
    Children,
}

/// User and system CPU time in seconds.
pub fn cpu_time(who: Who) -> (f64, f64) {
    let who = match who {
        Who::Process => libc::RUSAGE_SELF,
        Who::Children => libc::RUSAGE_CHILDREN,
    };
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for the call.
    unsafe { libc::getrusage(who, usage.as_mut_ptr()) };
    // SAFETY: all-zero bytes are a valid `rusage`, filled or not.
    let usage = unsafe { usage.assume_init() };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    (seconds(usage.ru_utime), seconds(usage.ru_stime))
}

/// The CPU time of a thread, readable from others.
#[derive(Debug)]
pub struct CpuClock(AtomicI32);

/// No thread yet: the kernel's clocks of threads have negative numbers.
const NO_CLOCK: i32 = 0;

impl Default for CpuClock {
    fn default() -> Self {
        CpuClock(AtomicI32::new(NO_CLOCK))
    }
}

impl CpuClock {
    /// From now on it is the calling thread's.
    pub fn follow_this_thread(&self) {
        let mut clock: libc::clockid_t = NO_CLOCK;
        // SAFETY: takes no pointer and cannot fail.
        let this = unsafe { libc::pthread_self() };
        // SAFETY: a living thread, and a pointer that is valid for the call.
        if unsafe { libc::pthread_getcpuclockid(this, &raw mut clock) } == 0 {
            self.0.store(clock, Ordering::Relaxed);
        }
    }

    /// Nanoseconds; 0 if there is no such thread (any more).
    pub fn read_ns(&self) -> u64 {
        let clock = self.0.load(Ordering::Relaxed);
        if clock == NO_CLOCK {
            return 0;
        }
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the pointer is valid for the call; of a clock that is gone the kernel says so.
        let read = unsafe { libc::clock_gettime(clock, &raw mut time) };
        if read == 0 { time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs() } else { 0 }
    }
}

/// Goes on in a child that is the leader of its own session; the parent exits with 0.
///
/// To be called while there is one thread only.
///
/// # Errors
/// If the system cannot fork.
pub fn fork_to_background() -> io::Result<()> {
    // SAFETY: the caller has no other thread, so the child's memory is whole.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(rustix::process::setsid().map(|_| ())?),
        _ => std::process::exit(0),
    }
}

/// Raises the limit on open files to `wanted` or as near to it as the system allows; gives the
/// limit that is then in force.
pub fn raise_open_files(wanted: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // None is no limit.
    let current = limit.current.unwrap_or(u64::MAX);
    if current >= wanted {
        return current;
    }
    let hard = limit.maximum.unwrap_or(u64::MAX);
    // The hard limit may be raised too, by root.
    let both = Rlimit { current: Some(wanted), maximum: Some(wanted.max(hard)) };
    if setrlimit(Resource::Nofile, both).is_ok() {
        return wanted;
    }
    let reachable = wanted.min(hard);
    let soft = Rlimit { current: Some(reachable), maximum: limit.maximum };
    if setrlimit(Resource::Nofile, soft).is_ok() { reachable } else { current }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_make_sense() {
        let t = local_time(1_795_239_111);
        assert_eq!(t.year, 2026);
        assert!(t.month == 10 && (20..=22).contains(&t.day) && t.second == 51);
        assert!(cpu_time(Who::Process).0 >= 0.0);
        assert_eq!(cpu_time(Who::Children), (0.0, 0.0));
        let clock = CpuClock::default();
        assert_eq!(clock.read_ns(), 0);
        clock.follow_this_thread();
        let read = std::thread::scope(|scope| scope.spawn(|| clock.read_ns()).join().unwrap());
        assert!(read > 0 && clock.read_ns() >= read);
    }
}
