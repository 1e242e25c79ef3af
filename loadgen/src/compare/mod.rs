//! `loadgen compare`: servers side by side, alternating, as a table and as JSON.

mod collections;
pub mod cpu;
mod growth;
mod memory;
mod table;
mod types;

pub use table::{Spread, Table, count, us};

use std::path::Path;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::cli::{CompareArgs, Part};
use crate::proc;
use crate::request::Shape;
use crate::server::ServerSpec;
use crate::sizes::Sizes;

/// Bytes per key of every scenario.
const KEY_SIZE: usize = 16;
/// The name of the floor among the servers.
const FLOOR: &str = "floor";

/// What all parts need to know.
pub struct Bench<'a> {
    pub servers: Vec<ServerSpec>,
    pub floor: ServerSpec,
    pub dir: &'a Path,
    pub server_cores: Vec<usize>,
    pub clients: usize,
    pub value_size: usize,
    pub quick: bool,
}

impl Bench<'_> {
    pub fn shape(&self, keys: u64) -> Shape {
        Shape { keys, key_size: KEY_SIZE, values: self.values(), derived_values: false }
    }

    pub fn values(&self) -> Sizes {
        Sizes::Fixed(self.value_size)
    }
}

/// All figures.
#[derive(Serialize)]
struct Results {
    servers: Vec<String>,
    clients: usize,
    key_size: usize,
    value_size: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cpu: Vec<cpu::Cell>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    types: Vec<types::Cell>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    memory: Vec<memory::Point>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    collections: Vec<collections::Cell>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    growth: Vec<growth::Cycle>,
}

/// The servers that a comparison takes when none are named.
pub fn default_servers() -> Result<Vec<ServerSpec>> {
    let binary = std::env::var("TANDEM_BIN").unwrap_or_else(|_| "target/release/tandem".to_owned());
    let binary = std::path::absolute(&binary)?.display().to_string();
    let argv = vec![binary, "--workers".to_owned(), "1".to_owned()];
    let redis = vec!["redis-server".to_owned()];
    Ok(vec![
        ServerSpec { name: "tandem".to_owned(), argv },
        ServerSpec { name: "redis".to_owned(), argv: redis },
    ])
}

/// The servers named, or the default ones; all of them are there and named differently.
pub fn servers(named: &[ServerSpec], usual: fn() -> Result<Vec<ServerSpec>>) -> Result<Vec<ServerSpec>> {
    let servers = if named.is_empty() { usual()? } else { named.to_vec() };
    for (i, server) in servers.iter().enumerate() {
        server.check()?;
        let taken = servers[..i].iter().any(|s| s.name == server.name) || server.name == FLOOR;
        ensure!(!taken, "two servers are named '{}'", server.name);
    }
    Ok(servers)
}

/// Server core and client core: two different ones if there are two.
pub fn choose_cores(server: Option<usize>, client: Option<usize>) -> Result<(usize, usize)> {
    let cores = proc::cores()?;
    let server = server.unwrap_or(cores[0]);
    let other = cores.iter().copied().find(|&c| c != server);
    let client = client.or(other).unwrap_or(server);
    if client == server {
        eprintln!("loadgen: servers and load share core {server}: compare CPU times only, not throughput");
    }
    Ok((server, client))
}

pub fn run(args: &CompareArgs) -> Result<()> {
    let servers = servers(&args.servers, default_servers)?;
    let (server_core, client_core) = choose_cores(args.server_core, args.client_core)?;
    let dir = tempfile::Builder::new().prefix("loadgen").tempdir()?;
    crate::limits::allow_descriptors(u64::from(args.clients) + 128)?;
    let me = std::env::current_exe()?.display().to_string();
    let floor = ["floor", "--unix", "{socket}", "--value-size", &args.value_size.to_string()];
    let floor_argv = std::iter::once(me).chain(floor.iter().map(|s| (*s).to_owned())).collect();
    let bench = Bench {
        servers,
        floor: ServerSpec { name: FLOOR.to_owned(), argv: floor_argv },
        dir: dir.path(),
        server_cores: vec![server_core],
        clients: args.clients as usize,
        value_size: args.value_size,
        quick: args.quick,
    };
    bench.shape(1).check()?;
    proc::bind(&[client_core])?;
    let wants = |part| args.only.is_empty() || args.only.contains(&part);
    let mut results = Results {
        servers: bench.servers.iter().map(|s| s.name.clone()).collect(),
        clients: bench.clients,
        key_size: KEY_SIZE,
        value_size: bench.value_size,
        cpu: Vec::new(),
        types: Vec::new(),
        memory: Vec::new(),
        collections: Vec::new(),
        growth: Vec::new(),
    };
    let quiet = args.json.as_deref() == Some(Path::new("-"));
    let show = |text: String| {
        if !quiet {
            println!("{text}");
        }
    };
    if wants(Part::Cpu) {
        results.cpu = cpu::run(&bench, args)?;
        show(cpu::markdown(&bench, &results.cpu));
    }
    if wants(Part::Types) {
        results.types = types::run(&bench, args)?;
        show(types::markdown(&bench, &results.types));
    }
    if wants(Part::Memory) {
        results.memory = memory::run(&bench, args)?;
        show(memory::markdown(&bench, &results.memory));
    }
    if wants(Part::Collections) {
        results.collections = collections::run(&bench)?;
        show(collections::markdown(&bench, &results.collections));
    }
    if wants(Part::Growth) {
        results.growth = growth::run(&bench, args)?;
        show(growth::markdown(&results.growth));
    }
    if let Some(path) = &args.json {
        crate::report::write_json(path, &results)?;
    }
    Ok(())
}

/// The key counts that were asked for, or these, ascending.
fn counts(asked: &[u64], usual: &[u64], quick: &[u64], is_quick: bool) -> Vec<u64> {
    let from = match (asked, is_quick) {
        ([], true) => quick,
        ([], false) => usual,
        (asked, _) => asked,
    };
    let mut counts = from.to_vec();
    counts.sort_unstable();
    counts.dedup();
    counts
}
