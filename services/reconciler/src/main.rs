//! The reconciler: makes what is there what was asked for.

use clap::Parser as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    pgo_reconciler::run(pgo_reconciler::Settings::parse()).await
}
