//! `loadgen shift`, `grow`, `steady`, `snapshot`: latency and memory over time, open loop, on any number of
//! servers one after the other.
//!
//! Two streams share one thread. The probe sends single GETs of keys that are there, at a fixed
//! rate, and is what gets reported. The mover sends batches at a fixed rate too: new keys while
//! the key space rises, deletions while it falls, overwrites while it holds; so the phases differ
//! in nothing but in what the key space has to do.

mod drive;
mod record;
mod save;
mod show;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use crate::bed::{Bed, BedArgs};
use crate::cli::{count, duration, rate};
use crate::compare;
use crate::plot;
use crate::request::Shape;
use crate::server::ServerSpec;
use crate::sizes::Sizes;

pub use show::Point;

use save::{How, NotSaved};

/// What these scenarios share.
#[derive(Args)]
pub struct LoadArgs {
    #[command(flatten)]
    pub bed: BedArgs,
    /// Keys at the top
    #[arg(long, default_value = "2M", value_parser = count)]
    pub keys: u64,
    /// GETs per second, whose latency is measured
    #[arg(long, default_value = "20k", value_parser = rate)]
    pub rate: f64,
    /// Keys per second that are written, overwritten or deleted beside them
    #[arg(long, default_value = "200k", value_parser = rate)]
    pub move_rate: f64,
    /// How long to stay when nothing has to grow or shrink
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub hold: Duration,
    /// Bytes per key
    #[arg(long, default_value_t = 16)]
    pub key_size: usize,
    /// Bytes per value, as in `run`
    #[arg(long, default_value = "32-96")]
    pub value_size: Sizes,
    /// Connections
    #[arg(long, short, default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub clients: u32,
    /// Rounds; the servers take turns
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Length of a window of the CSV and the plot
    #[arg(long, default_value = "500ms", value_parser = duration)]
    pub window: Duration,
    /// Write the windows as CSV
    #[arg(long)]
    pub csv: Option<PathBuf>,
    /// Draw the first round over time, as SVG or PNG
    #[arg(long)]
    pub plot: Option<PathBuf>,
    /// Draw the latencies of all rounds by percentile, as SVG or PNG
    #[arg(long)]
    pub curves: Option<PathBuf>,
    /// Write the latencies as an HDR histogram log, an interval per phase, tagged SERVER.PHASE
    #[arg(long)]
    pub hdr: Option<PathBuf>,
    /// Seed of the random choices
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

#[derive(Args)]
pub struct ShiftArgs {
    #[command(flatten)]
    pub load: LoadArgs,
    /// How often to grow and drop
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub cycles: u32,
    /// Percent of the keys, random ones, that a drop leaves
    #[arg(long, default_value_t = 5.0)]
    pub stay: f64,
}

#[derive(Args)]
pub struct GrowArgs {
    #[command(flatten)]
    pub load: LoadArgs,
}

#[derive(Args)]
pub struct SteadyArgs {
    #[command(flatten)]
    pub load: LoadArgs,
}

#[derive(Args)]
pub struct SnapshotArgs {
    #[command(flatten)]
    pub load: LoadArgs,
    /// The command that writes the snapshot
    #[arg(long, value_enum, default_value = "bgsave")]
    pub how: How,
}

/// One step of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// All keys at once, as fast as they go in, without being measured.
    Load,
    Grow,
    Full,
    Drop,
    Rest,
    /// As long as a snapshot is being written.
    Save,
}

impl Step {
    pub fn name(self) -> &'static str {
        match self {
            Step::Load => "load",
            Step::Grow => "grow",
            Step::Full => "full",
            Step::Drop => "drop",
            Step::Rest => "rest",
            Step::Save => "save",
        }
    }
}

/// What is done to every server.
pub struct Plan {
    name: &'static str,
    steps: Vec<Step>,
    /// Share of the keys that a drop leaves.
    stay: f64,
    /// What writes snapshots.
    how: How,
}

pub fn shift(args: &ShiftArgs) -> Result<()> {
    ensure!((0.0..=90.0).contains(&args.stay), "--stay is from 0 to 90 percent");
    let cycle = [Step::Grow, Step::Full, Step::Drop, Step::Rest];
    run(
        &args.load,
        &Plan { stay: args.stay / 100.0, ..Plan::of("shift", cycle.repeat(args.cycles as usize)) },
    )
}

pub fn grow(args: &GrowArgs) -> Result<()> {
    run(&args.load, &Plan::of("grow", vec![Step::Grow, Step::Full]))
}

pub fn steady(args: &SteadyArgs) -> Result<()> {
    run(&args.load, &Plan::of("steady", vec![Step::Load, Step::Full]))
}

pub fn snapshot(args: &SnapshotArgs) -> Result<()> {
    let steps = vec![Step::Load, Step::Full, Step::Save, Step::Rest];
    run(&args.load, &Plan { how: args.how, ..Plan::of("snapshot", steps) })
}

impl Plan {
    fn of(name: &'static str, steps: Vec<Step>) -> Plan {
        Plan { name, steps, stay: 0.0, how: How::Bgsave }
    }
}

fn run(args: &LoadArgs, plan: &Plan) -> Result<()> {
    let shape = Shape {
        keys: args.keys,
        key_size: args.key_size,
        values: args.value_size.clone(),
        derived_values: false,
    };
    shape.check()?;
    ensure!(args.window >= Duration::from_millis(10), "--window is 10ms at least");
    let bed = Bed::new(&args.bed, compare::default_servers, u64::from(args.clients))?;
    let mut tracks = Vec::new();
    let mut servers: Vec<&ServerSpec> = bed.servers.iter().collect();
    let mut refusals = Vec::new();
    for round in 0..args.rounds {
        for spec in std::mem::take(&mut servers) {
            match drive::drive(&bed, spec, args, plan, &shape, round) {
                Ok(track) => {
                    tracks.push(track);
                    servers.push(spec);
                }
                // The others are still worth measuring.
                Err(e) if e.is::<NotSaved>() => refusals.push(format!("{e:#}")),
                Err(e) => return Err(e),
            }
        }
    }
    ensure!(!tracks.is_empty(), "no server wrote a snapshot\n  {}", refusals.join("\n  "));
    for refusal in &refusals {
        eprintln!("loadgen: {refusal}: this server is left out");
    }
    args.bed.show(&show::markdown(plan, args, &tracks));
    if let Some(path) = &args.csv {
        show::write_csv(path, &tracks)?;
    }
    if let Some(path) = &args.hdr {
        show::write_hdr(path, &tracks)?;
    }
    if let Some(path) = &args.plot {
        let drawn: Vec<plot::Track<'_>> = tracks
            .iter()
            .filter(|t| t.round == 0)
            .map(|t| plot::Track { name: &t.server, points: &t.points })
            .collect();
        plot::timeline(path, &show::caption(plan, args), &drawn)?;
    }
    if let Some(path) = &args.curves {
        show::draw_curves(path, plan, args, &tracks)?;
    }
    match &args.bed.json {
        Some(path) => crate::report::write_json(path, &show::results(plan, args, &tracks)),
        None => Ok(()),
    }
}
