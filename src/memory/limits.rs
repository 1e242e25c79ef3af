//! What the process may have: limits of its cgroup, of the process, of the machine; and the pressure
//! that the kernel reports before it kills.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::memory::process;

/// Bytes that this process may have at most: the least of what its cgroups, its own limits and the
/// machine grant.
pub fn ceiling() -> u64 {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits =
        [of_cgroups(&own, Path::new("/sys/fs/cgroup")), of_process(), Some(process::machine_memory())];
    limits.into_iter().flatten().min().unwrap_or(u64::MAX)
}

/// `ulimit -v`: the address space that the process may have.
pub fn address_space() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::As).current
}

/// Address space that goes to stacks and to what allocators reserve ahead for each thread.
const SPACE_OF_THREADS: u64 = 192 << 20;

/// Of the rest of a limited address space a third is reserved for entries, and as much may be used in
/// all: what is in allocations of its own needs room beside it, with its holes.
pub fn for_entries(space: u64) -> u64 {
    (space - SPACE_OF_THREADS.min(space / 2)) / 3
}

/// `ulimit -d` and what `ulimit -v` leaves.
fn of_process() -> Option<u64> {
    use rustix::process::{Resource, getrlimit};
    let space = address_space().map(for_entries);
    let data = getrlimit(Resource::Data).current;
    [space, data].into_iter().flatten().min()
}

/// The least limit of the cgroups on the way from the process' own to the root, of both versions.
fn of_cgroups(own: &str, mount: &Path) -> Option<u64> {
    let mut least = None;
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (root, file) = match (number, controllers) {
            ("0", "") => (mount.to_owned(), "memory.max"),
            (_, list) if list.split(',').any(|c| c == "memory") => {
                (mount.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for folder in upwards(&root, path) {
            let limit = fs::read_to_string(folder.join(file)).ok().and_then(|text| text.trim().parse().ok());
            least = [least, limit].into_iter().flatten().min();
        }
    }
    least
}

/// The folder of a cgroup and those above it. A container may see its own as the root.
fn upwards(root: &Path, path: &str) -> Vec<PathBuf> {
    let mut folder = root.join(path.trim_start_matches('/'));
    let mut all = Vec::new();
    while folder.starts_with(root) {
        all.push(folder.clone());
        if !folder.pop() {
            break;
        }
    }
    all
}

/// Share of the time in which some task waited for memory, over the last ten seconds, in percent.
pub fn stalled() -> f64 {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let of_cgroup = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/')).join("memory.pressure");
    let text = fs::read_to_string(of_cgroup).or_else(|_| fs::read_to_string("/proc/pressure/memory"));
    text.ok().and_then(|text| avg10(&text)).unwrap_or(0.0)
}

fn avg10(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    line.split(' ').find_map(|word| word.strip_prefix("avg10="))?.parse().ok()
}

/// Milliseconds between two looks.
const PERIOD_MS: u64 = 500;
/// The limit is never lowered below this share of what `auto` grants, in thousandths.
const LEAST: u32 = 500;

/// How far `maxmemory auto` is lowered because the kernel says that memory is short.
pub struct Pressure {
    /// Thousandths of what `auto` grants.
    share: AtomicU32,
    looked_ms: AtomicU64,
}

impl Default for Pressure {
    fn default() -> Self {
        Pressure { share: AtomicU32::new(1000), looked_ms: AtomicU64::new(0) }
    }
}

impl Pressure {
    /// The limit under `auto`.
    pub fn limit(&self, ceiling: u64) -> u64 {
        granted(ceiling) / 1000 * u64::from(self.share.load(Relaxed))
    }

    /// Whether it is time for a look; true for one caller.
    pub fn is_due(&self, now_ms: u64) -> bool {
        let last = self.looked_ms.load(Relaxed);
        now_ms.wrapping_sub(last) >= PERIOD_MS
            && self.looked_ms.compare_exchange(last, now_ms, Relaxed, Relaxed).is_ok()
    }

    /// Looks at resident memory and at the kernel's pressure information; whether the limit changes.
    pub fn look(&self, ceiling: u64) -> bool {
        let old = self.share.load(Relaxed);
        let new = next_share(old, process::resident() as u64, ceiling, stalled());
        self.share.store(new, Relaxed);
        new != old
    }
}

/// What `auto` grants: all but 12 MiB for the process itself and what is on its way, and 15 % for holes between entries, pages
/// on their way back and the page cache.
fn granted(ceiling: u64) -> u64 {
    let reserve = (12 << 20) + ceiling / 100 * 15;
    (ceiling.saturating_sub(reserve)).max(ceiling / 2)
}

/// Down fast, up slowly.
fn next_share(share: u32, resident: u64, ceiling: u64, stalled_percent: f64) -> u32 {
    let filled = resident / (ceiling / 1000).max(1);
    let next = if filled > 970 || stalled_percent > 20.0 {
        share * 9 / 10
    } else if filled > 920 || stalled_percent > 5.0 {
        share * 97 / 100
    } else if filled < 880 && stalled_percent < 1.0 {
        share + 10
    } else {
        share
    };
    next.clamp(LEAST, 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_both_versions_are_found_on_the_way_up() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("a/b/memory.max", "max\n");
        write("a/memory.max", "67108864\n");
        assert_eq!(of_cgroups("0::/a/b\n", root), Some(64 << 20));
        assert_eq!(of_cgroups("0::/\n", root), None);
        write("memory/x/memory.limit_in_bytes", "1000\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(of_cgroups("12:memory:/x\n3:cpu,cpuacct:/x\n0::/a\n", root), Some(1000));
        assert_eq!(of_cgroups("12:memory:/elsewhere\n", root), Some(9_223_372_036_854_771_712));
        assert!(ceiling() > 1 << 20);
    }

    #[test]
    fn auto_leaves_a_reserve() {
        assert_eq!(granted(64 << 20) >> 20, 42);
        assert_eq!(granted(1 << 30) >> 20, 858);
        assert_eq!(granted(8 << 20), 4 << 20);
    }

    #[test]
    fn pressure_lowers_the_limit_fast_and_quiet_raises_it_slowly() {
        const C: u64 = 64 << 20;
        assert_eq!(next_share(1000, C, C, 0.0), 900);
        assert_eq!(next_share(1000, C / 2, C, 30.0), 900);
        assert_eq!(next_share(1000, C * 94 / 100, C, 0.0), 970);
        assert_eq!(next_share(900, C * 90 / 100, C, 0.0), 900);
        assert_eq!(next_share(900, C / 2, C, 0.0), 910);
        assert_eq!(next_share(500, C, C, 90.0), 500);
        assert_eq!(avg10("some avg10=1.25 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.50 x"), Some(1.25));
        assert!(stalled() >= 0.0);
    }
}
