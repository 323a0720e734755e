//! PID 1 in each PostgreSQL pod.

use std::process::ExitCode;

use clap::Parser as _;
use pgo_agent::cli::{Cli, Role};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.role {
        None => pgo_agent::init::main(),
        Some(Role::Run(settings)) => pgo_agent::run::main(settings).map(|()| ExitCode::SUCCESS),
        Some(Role::Install(settings)) => {
            pgo_agent::install::main(&settings).map(|()| ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        // Logging may be what failed.
        eprintln!("agent: {error:#}");
        ExitCode::FAILURE
    })
}
