//! What every scenario that starts servers needs: which ones, on which cores, in what directory.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::compare;
use crate::proc;
use crate::server::{Server, ServerSpec};

/// Descriptors for everything but the connections.
const SPARE_FILES: u64 = 256;

/// The flags that these scenarios share.
#[derive(Args)]
pub struct BedArgs {
    /// A server as NAME=COMMAND; repeat it. As in `compare`
    #[arg(long = "server", value_name = "NAME=COMMAND")]
    pub servers: Vec<ServerSpec>,
    /// Core of the servers [default: the first that may be used]
    #[arg(long)]
    pub server_core: Option<usize>,
    /// Core of loadgen [default: the second]
    #[arg(long)]
    pub client_core: Option<usize>,
    /// Let servers and loadgen run on any core
    #[arg(long, conflicts_with_all = ["server_core", "client_core"])]
    pub unbound: bool,
    /// Write all figures as JSON; - is standard output
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// No progress bar
    #[arg(long, short)]
    pub quiet: bool,
}

impl BedArgs {
    /// Tables go to standard output unless the JSON does.
    pub fn show(&self, text: &str) {
        if self.json.as_deref() != Some(std::path::Path::new("-")) {
            println!("{text}");
        }
    }
}

/// The servers of a scenario and the place where they run.
pub struct Bed {
    pub servers: Vec<ServerSpec>,
    dir: tempfile::TempDir,
    cores: Vec<usize>,
}

impl Bed {
    /// `usual` are the servers when none are named. Binds this thread to its core.
    pub fn new(args: &BedArgs, usual: fn() -> Result<Vec<ServerSpec>>, connections: u64) -> Result<Bed> {
        let servers = compare::servers(&args.servers, usual)?;
        crate::limits::allow_descriptors(connections + SPARE_FILES)?;
        let cores = if args.unbound {
            proc::cores()?
        } else {
            let (server, client) = compare::choose_cores(args.server_core, args.client_core)?;
            proc::bind(&[client])?;
            vec![server]
        };
        Ok(Bed { servers, dir: tempfile::Builder::new().prefix("loadgen").tempdir()?, cores })
    }

    /// Where the servers run.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Starts it in a new folder of its own, where nothing of an earlier one is loaded.
    pub fn start_apart(&self, spec: &ServerSpec, folder: &str) -> Result<(Server, PathBuf)> {
        let dir = self.dir.path().join(folder);
        std::fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok((Server::start(spec, &dir, &self.cores, &[])?, dir))
    }

    /// `extra` are more redis-server flags.
    pub fn start(&self, spec: &ServerSpec, extra: &[&str]) -> Result<Server> {
        Server::start(spec, self.dir.path(), &self.cores, extra)
    }
}
