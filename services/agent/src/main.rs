//! PID 1 in each PostgreSQL pod.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    pgo_agent::run(pgo_agent::cli::Cli::parse())
}
