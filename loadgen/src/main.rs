//! loadgen: load for servers that speak the Redis protocol.
//!
//! From the outside in: `cli` (flags) → `run`, `compare`, `idle`, `floor` (what it can do) →
//! `closed`, `open` (the two loops) → `worker`, `conn` (sockets) → `request`, `keys`, `reply`
//! (what is sent and what must come back) → `tally`, `report` (what was counted). `server` starts
//! servers, `proc` reads what they use. Nothing here depends on the server's code.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bed;
mod churn;
mod cli;
mod client;
mod clock;
mod closed;
mod compare;
mod conn;
mod deaf;
mod ending;
mod expire;
mod fanout;
mod floor;
mod giveback;
mod hitratio;
mod idle;
mod keys;
mod limits;
mod open;
mod picture;
mod plot;
mod proc;
mod reply;
mod report;
mod request;
mod rows;
mod run;
mod server;
mod sizes;
mod stats;
mod subscriber;
mod tally;
mod target;
mod template;
mod tide;
mod timeline;
mod watched;
mod worker;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let result = match &Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Shift(args) => timeline::shift(args),
        Command::Grow(args) => timeline::grow(args),
        Command::Steady(args) => timeline::steady(args),
        Command::Snapshot(args) => timeline::snapshot(args),
        Command::Expire(args) => expire::run(args),
        Command::Hitratio(args) => hitratio::run(args),
        Command::Giveback(args) => giveback::run(args),
        Command::Churn(args) => churn::run(args),
        Command::Fanout(args) => fanout::run(args),
        Command::Deaf(args) => deaf::run(args),
        Command::Idle(args) => idle::run(args),
        Command::Watched(args) => watched::run(args),
        Command::Floor(args) => floor::serve(&args.unix, args.value_size),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("loadgen: {e:#}");
            ExitCode::FAILURE
        }
    }
}
