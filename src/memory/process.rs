//! What the kernel says about this process and the machine.

use std::fs;

use crate::sys::process::{Who, cpu_time};

/// CPU seconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    /// In the kernel.
    pub system: f64,
    /// Outside of it.
    pub user: f64,
}

/// Resident bytes of this process; 0 if the kernel does not say.
pub fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").ok().and_then(|text| second_number(&text));
    pages.unwrap_or(0) * rustix::param::page_size()
}

fn second_number(text: &str) -> Option<usize> {
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Memory of the machine, in bytes.
pub fn machine_memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}

/// CPU time of all threads of this process.
pub fn cpu() -> Cpu {
    let (user, system) = cpu_time(Who::Process);
    Cpu { system, user }
}

/// CPU time of ended children.
pub fn cpu_of_children() -> Cpu {
    let (user, system) = cpu_time(Who::Children);
    Cpu { system, user }
}

/// CPU time of the first thread, in steps of the kernel's clock tick.
pub fn cpu_of_main_thread() -> Cpu {
    let pid = std::process::id();
    let text = fs::read_to_string(format!("/proc/self/task/{pid}/stat")).unwrap_or_default();
    // User and system time are fields 14 and 15. The program's name before them may hold
    // blanks, but ends with the last parenthesis.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut seconds = || fields.next().and_then(|f| f.parse::<u64>().ok()).unwrap_or(0) as f64 / ticks;
    let user = seconds();
    Cpu { user, system: seconds() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers() {
        assert!(resident() > 100_000);
        assert!(machine_memory() > 1 << 20);
        assert!(cpu().user + cpu().system + 0.05 >= cpu_of_main_thread().user);
        assert_eq!(cpu_of_children().user, 0.0);
    }
}
