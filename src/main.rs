//! The `tandem` binary: flags and exit codes, nothing else.

use std::io::Write;
use std::process::ExitCode;

use tandem::config::{self, Config, Start};
use tandem::memory::allocator::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    let args: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|word| word == "top") {
        return tandem::top::run(&args[1..]).map_or_else(|reason| fail(&reason), |()| ExitCode::SUCCESS);
    }
    match config::start(&args, std::io::stdin()) {
        Ok(Start::Run(config)) => match tandem::server::run(*config) {
            Ok(code) => ExitCode::from(code),
            Err(error) => fail(&format!("{error:#}")),
        },
        Ok(Start::Check(config)) => check(&config),
        Ok(Start::Print(text)) => print(&text),
        Err(error) => fail(&error.to_string()),
    }
}

fn check(config: &Config) -> ExitCode {
    let listeners = config.listeners();
    if listeners.is_empty() {
        return fail("Configured to not listen anywhere: set port, unixsocket or both");
    }
    let mut text = String::from("OK\n");
    for line in listeners.into_iter().chain(config.http_listeners()) {
        text.push_str(&format!("listens on {line}\n"));
    }
    text.push_str(&format!("workers {}\n", config.worker_count()));
    for note in &config.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    print(&text)
}

fn fail(reason: &str) -> ExitCode {
    // Nothing is left to do when even this cannot be written.
    let _ = writeln!(std::io::stderr(), "{reason}");
    ExitCode::FAILURE
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
