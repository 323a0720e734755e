//! The reconciler: makes what is there what was asked for.

use clap::Parser as _;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    pgo_reconciler::run(pgo_reconciler::Settings::parse()).await
}
