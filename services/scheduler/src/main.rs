//! The scheduler: keeps the schedules of backups and policies.

use clap::Parser as _;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    pgo_scheduler::run(pgo_scheduler::Settings::parse()).await
}
