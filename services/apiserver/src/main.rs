//! The process `apiserver`.

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    pgo_apiserver::run(pgo_apiserver::Settings::parse()).await
}
