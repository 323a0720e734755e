//! The feeder: gives events to an nsqd that 4.1's clients read.

use clap::Parser as _;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    pgo_direct::run(pgo_direct::Settings::parse()).await
}
