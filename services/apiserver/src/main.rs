//! The process `apiserver`.

use std::process::ExitCode;

use clap::Parser as _;
use pgo_apiserver::{EXIT_CANNOT_START, Settings};

#[tokio::main]
async fn main() -> ExitCode {
    match pgo_apiserver::run(Settings::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pgo-apiserver: {error:#}");
            ExitCode::from(EXIT_CANNOT_START)
        }
    }
}
