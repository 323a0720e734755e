//! The process `apiserver`.

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    pgo_apiserver::run(pgo_apiserver::Settings::parse()).await
}
