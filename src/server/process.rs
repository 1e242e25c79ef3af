//! What is done to the process before it serves: directory, background, log, limits, pid file.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::config::Config;
use crate::memory::allocator;
use crate::observe::log;
use crate::sys::process::{fork_to_background, raise_open_files};

/// Descriptors beyond those of clients: listeners, log, event queues.
pub const OTHER_FILES: u64 = 32;

/// Settles the process. While what it gives back lives, so does the pid file.
///
/// # Errors
/// If the directory cannot be entered or the process cannot go to the background.
pub fn prepare(config: &mut Config) -> anyhow::Result<PidFile> {
    let directory = config.dir.0.clone();
    std::env::set_current_dir(&directory)
        .with_context(|| format!("can't chdir to '{}'", directory.display()))?;
    if config.daemonize {
        fork_to_background().context("going to the background")?;
        detach_from_terminal();
        allocator::after_fork();
    }
    log::install(config);
    for note in &config.notes {
        tracing::info!("{note}");
    }
    limit_clients(config);
    Ok(PidFile::create(config))
}

/// The terminal is no longer ours; whatever still writes there goes nowhere.
fn detach_from_terminal() {
    let Ok(null) = File::options().read(true).write(true).open("/dev/null") else { return };
    let _ = rustix::stdio::dup2_stdin(&null);
    let _ = rustix::stdio::dup2_stdout(&null);
    let _ = rustix::stdio::dup2_stderr(&null);
}

/// Raises the limit on open files for `maxclients`, or lowers `maxclients` to the limit.
fn limit_clients(config: &mut Config) {
    let wanted = u64::from(config.maxclients) + OTHER_FILES;
    let got = raise_open_files(wanted);
    if got < wanted {
        let possible = u32::try_from(got.saturating_sub(OTHER_FILES).max(1)).unwrap_or(u32::MAX);
        tracing::warn!(
            "You requested maxclients of {} requiring at least {wanted} max file descriptors. The system allows \
             {got}: maxclients has been reduced to {possible}.",
            config.maxclients
        );
        config.maxclients = possible;
    }
}

/// The pid file, removed when this is dropped.
#[derive(Debug)]
pub struct PidFile {
    path: Option<PathBuf>,
}

impl PidFile {
    fn create(config: &Config) -> PidFile {
        if config.pidfile.is_empty() {
            return PidFile { path: None };
        }
        let path = config.pidfile.as_path();
        match write(path) {
            // Absolute, so that a later CONFIG SET dir does not matter.
            Ok(()) => PidFile { path: Some(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())) },
            Err(error) => {
                tracing::warn!("Failed to write PID file: {error}");
                PidFile { path: None }
            }
        }
    }
}

fn write(path: &Path) -> std::io::Result<()> {
    writeln!(File::create(path)?, "{}", std::process::id())
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            tracing::info!("Removing the pid file.");
            let _ = fs::remove_file(path);
        }
    }
}
