//! What a configuration comes to on this machine: listeners, workers, settings without effect.

use std::path::Path;

use super::{Address, Config, SETTINGS, Status, Workers};

/// Most workers that `auto` gives: a sidecar leaves the machine to its application.
const AUTO_WORKERS_MAX: usize = 4;

impl Config {
    /// Number of workers: the one set, or min(CPU quota of the cgroup rounded up, cores, 4).
    pub fn worker_count(&self) -> usize {
        match self.workers {
            Workers::Fixed(count) => usize::from(count.max(1)),
            Workers::Auto => cores().clamp(1, AUTO_WORKERS_MAX),
        }
    }

    /// What it would listen on, one line each.
    pub fn listeners(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.unixsocket.is_empty() {
            let path = super::error::printable(self.unixsocket.as_bytes());
            lines.push(match self.unixsocketperm {
                0 => format!("unix {path}"),
                perm => format!("unix {path} mode {perm:04o}"),
            });
        }
        if self.port != 0 {
            lines.extend(self.bind.0.iter().map(|address| tcp_line(address, self.port)));
        }
        lines
    }

    /// Where those who watch would reach it, one line each.
    pub fn http_listeners(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.metrics_unixsocket.is_empty() {
            let path = super::error::printable(self.metrics_unixsocket.as_bytes());
            lines.push(format!("http unix {path}"));
        }
        if self.metrics_port != 0 {
            let addresses = self.metrics_bind.0.iter();
            lines.extend(addresses.map(|address| format!("http {}", tcp_line(address, self.metrics_port))));
        }
        lines
    }

    /// One line for each setting that was changed but does nothing in this version.
    pub fn without_effect(&self) -> Vec<String> {
        let changed = SETTINGS.iter().filter(|setting| !setting.same(self, super::defaults()));
        changed
            .filter_map(|setting| match setting.status {
                Status::Inert(reason) => {
                    Some(format!("'{}' is kept but has no effect: {reason}", setting.name()))
                }
                Status::Waits(feature) => {
                    let name = setting.name();
                    Some(format!(
                        "'{name}' is kept but has no effect yet: it belongs to {feature}, which is not built"
                    ))
                }
                _ => None,
            })
            .collect()
    }
}

fn tcp_line(address: &Address, port: u16) -> String {
    let optional = if address.optional { " (if available)" } else { "" };
    match address.host.contains(':') {
        true => format!("tcp [{}]:{port}{optional}", address.host),
        false => format!("tcp {}:{port}{optional}", address.host),
    }
}

/// Cores that this process may use.
pub fn cores() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    cores.min(cgroup_cpus().unwrap_or(cores)).max(1)
}

/// CPUs that the cgroup of this process may use, rounded up; nothing when there is no limit.
fn cgroup_cpus() -> Option<usize> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    quota_of(&groups, Path::new("/sys/fs/cgroup"))
}

/// The least quota on the way from the process' group up to the root, of either version of cgroups.
fn quota_of(groups: &str, root: &Path) -> Option<usize> {
    let mut least: Option<usize> = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, read): (_, fn(&Path) -> Option<usize>) = match controllers {
            "" => (root.to_owned(), quota_v2),
            list if list.split(',').any(|controller| controller == "cpu") => (root.join("cpu"), quota_v1),
            _ => continue,
        };
        // Inside a container the path may be that of the host: then only the root is there.
        for ancestor in Path::new(path.trim_start_matches('/')).ancestors() {
            if let Some(cpus) = read(&root.join(ancestor)) {
                least = Some(least.map_or(cpus, |other| other.min(cpus)));
            }
        }
    }
    least
}

fn quota_v2(group: &Path) -> Option<usize> {
    let text = std::fs::read_to_string(group.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    cpus(quota, period)
}

fn quota_v1(group: &Path) -> Option<usize> {
    let read = |name: &str| std::fs::read_to_string(group.join(name)).ok();
    cpus(read("cpu.cfs_quota_us")?.trim(), read("cpu.cfs_period_us")?.trim())
}

/// `max` and `-1` are no numbers here, and so no limit.
fn cpus(quota: &str, period: &str) -> Option<usize> {
    let (quota, period) = (quota.parse::<usize>().ok()?, period.parse::<usize>().ok()?);
    (period > 0).then(|| quota.div_ceil(period).max(1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn quotas_of_both_versions() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        std::fs::create_dir_all(at("a/b")).unwrap();
        assert_eq!(quota_of("0::/a/b\n", root.path()), None);
        std::fs::write(at("a/cpu.max"), "150000 100000\n").unwrap();
        std::fs::write(at("a/b/cpu.max"), "max 100000\n").unwrap();
        assert_eq!(quota_of("0::/a/b\n", root.path()), Some(2));
        std::fs::create_dir_all(at("cpu")).unwrap();
        std::fs::write(at("cpu/cpu.cfs_quota_us"), "-1\n").unwrap();
        std::fs::write(at("cpu/cpu.cfs_period_us"), "100000\n").unwrap();
        assert_eq!(quota_of("4:cpuacct,cpu:/elsewhere\n", root.path()), None);
        std::fs::write(at("cpu/cpu.cfs_quota_us"), "50000\n").unwrap();
        assert_eq!(quota_of("4:cpuacct,cpu:/elsewhere\n", root.path()), Some(1));
        assert_eq!(quota_of("rubbish", root.path()), None);
    }

    #[test]
    fn workers_and_listeners() {
        let mut config = Config::default();
        assert!((1..=AUTO_WORKERS_MAX).contains(&config.worker_count()));
        config.workers = Workers::Fixed(9);
        assert_eq!(config.worker_count(), 9);
        config.unixsocket = super::super::Text::new(b"/tmp/x.sock");
        let lines = ["unix /tmp/x.sock mode 0660", "tcp 127.0.0.1:6379", "tcp [::1]:6379 (if available)"];
        assert_eq!(config.listeners(), lines);
        assert!(config.http_listeners().is_empty(), "off by default");
        config.metrics_port = 9121;
        config.metrics_unixsocket = super::super::Text::new(b"m.sock");
        let lines = ["http unix m.sock", "http tcp 127.0.0.1:9121", "http tcp [::1]:9121 (if available)"];
        assert_eq!(config.http_listeners(), lines);
    }
}
