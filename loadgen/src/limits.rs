//! Limits of this process.

use anyhow::{Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files as far as needed; children inherit it.
pub fn allow_descriptors(wanted: u64) -> Result<()> {
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|soft| soft >= wanted) {
        return Ok(());
    }
    ensure!(
        now.maximum.is_none_or(|hard| hard >= wanted),
        "{wanted} open files are needed and the hard limit is {}: raise it (ulimit -Hn) or use fewer connections",
        now.maximum.unwrap_or(0)
    );
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: now.maximum })?;
    Ok(())
}
