//! What /proc says about a process, and which core a thread may run on.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

/// CPU time of a process so far.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Cpu {
    /// Time on a core.
    pub used_ns: u64,
    /// Time ready to run while something else had the core: a measure of the machine's noise.
    pub waited_ns: u64,
}

impl Cpu {
    pub fn since(self, earlier: Cpu) -> Cpu {
        Cpu {
            used_ns: self.used_ns.saturating_sub(earlier.used_ns),
            waited_ns: self.waited_ns.saturating_sub(earlier.waited_ns),
        }
    }
}

/// The scheduler's own nanoseconds (`schedstat`), summed over the threads. They are exact for a
/// process that is asleep, so read them when it has nothing to do. Where the kernel does not
/// keep them, `stat` serves with ticks of 10 ms.
pub fn cpu(pid: u32) -> Result<Cpu> {
    if let Some(sum) = cpu_of_tasks(pid, |_| true)? {
        return Ok(sum);
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = parse_stat_ticks(&stat).with_context(|| format!("cannot read /proc/{pid}/stat"))?;
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Ok(Cpu { used_ns: ticks * (1_000_000_000 / per_second), waited_ns: 0 })
}

/// The same for the threads of this name; nothing if there is none, or the kernel does not keep it.
pub fn cpu_of_thread(pid: u32, name: &str) -> Result<Cpu> {
    let is_it = |task: &Path| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name);
    Ok(cpu_of_tasks(pid, is_it)?.unwrap_or_default())
}

fn cpu_of_tasks(pid: u32, wanted: impl Fn(&Path) -> bool) -> Result<Option<Cpu>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("no process {pid}"))?;
    let mut sum = None;
    for task in tasks {
        let path = task?.path();
        let Ok(text) = fs::read_to_string(path.join("schedstat")) else {
            continue;
        };
        if let Some(one) = parse_schedstat(&text).filter(|_| wanted(&path)) {
            let all: &mut Cpu = sum.get_or_insert_default();
            all.used_ns += one.used_ns;
            all.waited_ns += one.waited_ns;
        }
    }
    Ok(sum)
}

fn parse_schedstat(text: &str) -> Option<Cpu> {
    let mut fields = text.split_ascii_whitespace().map(str::parse::<u64>);
    let used_ns = fields.next()?.ok()?;
    let waited_ns = fields.next()?.ok()?;
    (used_ns > 0).then_some(Cpu { used_ns, waited_ns })
}

/// utime + stime. The second field may hold spaces and parentheses, so count from its end.
fn parse_stat_ticks(stat: &str) -> Option<u64> {
    let rest = &stat[stat.rfind(')')? + 1..];
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let utime: u64 = fields.next()?.parse().ok()?;
    let stime: u64 = fields.next()?.parse().ok()?;
    Some(utime + stime)
}

/// Resident memory in KiB. `smaps_rollup` counts pages; `status` may lag by some per core.
pub fn resident_kib(pid: u32) -> Result<u64> {
    memory_kib(pid, ["Rss:", "VmRSS:"])
}

/// The same without pages of files: code that was used, above all.
pub fn anonymous_kib(pid: u32) -> Result<u64> {
    memory_kib(pid, ["Anonymous:", "RssAnon:"])
}

fn memory_kib(pid: u32, [exact, rough]: [&str; 2]) -> Result<u64> {
    for (file, field) in [("smaps_rollup", exact), ("status", rough)] {
        if let Ok(text) = fs::read_to_string(format!("/proc/{pid}/{file}"))
            && let Some(kib) = parse_kib(&text, field)
        {
            return Ok(kib);
        }
    }
    bail!("cannot read the resident memory of process {pid}")
}

/// The same from a file that costs the other process nothing: it may lag by some pages per core.
pub fn resident_kib_roughly(pid: u32) -> Result<u64> {
    let text =
        fs::read_to_string(format!("/proc/{pid}/statm")).with_context(|| format!("no process {pid}"))?;
    let pages: Option<u64> = text.split_ascii_whitespace().nth(1).and_then(|s| s.parse().ok());
    let pages = pages.with_context(|| format!("cannot read /proc/{pid}/statm"))?;
    Ok(pages * (rustix::param::page_size() as u64 / 1024))
}

/// Whether this process runs under a real-time policy (`chrt -f` or `-r`).
pub fn is_real_time() -> bool {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    parse_stat_policy(&stat).is_some_and(|policy| policy == 1 || policy == 2)
}

/// The 41st field: 0 for ordinary threads, 1 for FIFO, 2 for round robin.
fn parse_stat_policy(stat: &str) -> Option<u32> {
    stat[stat.rfind(')')? + 1..].split_ascii_whitespace().nth(38)?.parse().ok()
}

fn parse_kib(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find(|l| l.starts_with(field))?;
    line[field.len()..].trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The cores this thread may use, ascending.
pub fn cores() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&c| set.is_set(c)).collect())
}

/// Binds the calling thread, and what it starts from now on, to these cores.
pub fn bind(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        if core >= CpuSet::MAX_CPU {
            bail!("no core {core}");
        }
        set.set(core);
    }
    sched_setaffinity(None, &set).with_context(|| format!("cannot run on core {cores:?}"))
}

/// A process id as the system calls want it.
pub fn pid(id: u32) -> Result<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw).with_context(|| format!("not a process id: {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_formats() {
        let cpu = parse_schedstat("276278 12 1\n").unwrap();
        assert_eq!((cpu.used_ns, cpu.waited_ns), (276_278, 12));
        assert!(parse_schedstat("0 0 0\n").is_none());
        assert_eq!(parse_stat_ticks("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 30 12 0"), Some(42));
        let fields: Vec<String> = (3..=52).map(|n| n.to_string()).collect();
        assert_eq!(parse_stat_policy(&format!("7 (a) b) {}", fields.join(" "))), Some(41));
        assert_eq!(parse_kib("x\nRss:      1234 kB\n", "Rss:"), Some(1234));
    }

    #[test]
    fn knows_this_process() {
        let me = std::process::id();
        let before = cpu(me).unwrap();
        let mut x = 1u64;
        for i in 0..20_000_000u64 {
            x = std::hint::black_box(x.wrapping_mul(i | 1));
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert!(cpu(me).unwrap().since(before).used_ns > 0);
        assert!(resident_kib(me).unwrap() > 100);
        assert!(resident_kib_roughly(me).unwrap() > 100);
        assert!(!cores().unwrap().is_empty());
        assert!(cpu(u32::MAX).is_err());
    }
}
