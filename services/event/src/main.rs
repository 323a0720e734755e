//! The event service: keeps all events, and shows them to who asks.

use clap::Parser as _;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    pgo_event::run(pgo_event::Settings::parse()).await
}
