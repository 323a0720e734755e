//! An operation in a pod of its own, as `agent dump` and `agent job` run one: from its begin to its last word, which Kubernetes keeps
//! and `services/reconciler/src/observe/worker.rs` reads.

pub mod programs;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::Context as _;
use pgo_postgres::{Installation, program};
use pgo_telemetry::CancellationToken;
use tokio::signal::unix::{SignalKind, signal};

/// Exit code of one that was told to end: nothing is known of the operation.
const ENDED: u8 = 143;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum Unfinished {
    /// It was told to end.
    #[error("it was told to end")]
    Ended,
    /// It cannot be done.
    #[error("{0}")]
    Failed(String),
    /// It got no further, and was ended. The volume may hang: nothing there is waited for any more.
    #[error("{what} moved no data for {} s and was stopped; does its volume, or the server, hang, or does another transaction hold a table?", limit.as_secs())]
    Stalled {
        /// The program.
        what: &'static str,
        /// For how long it may move none.
        limit: Duration,
    },
}

/// Does it, and writes down what became of it; `name` is what it is called for people.
///
/// # Errors
/// It cannot begin, or cannot say what became of it.
pub fn run(
    name: &str,
    answer: &Path,
    operation: impl AsyncFnOnce(&Installation, &CancellationToken) -> Result<String, Unfinished>,
) -> anyhow::Result<ExitCode> {
    let version = env!("CARGO_PKG_VERSION");
    pgo_telemetry::init(&pgo_telemetry::Settings::from_env("agent", version)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot begin to wait for programs")?;
    let done = runtime.block_on(until_told(operation));
    // A file that is still being read must not hold up the end.
    runtime.shutdown_background();
    let (code, said) = match done {
        Ok(said) => (0, said),
        Err(Unfinished::Ended) => return Ok(ExitCode::from(ENDED)),
        Err(error) => {
            tracing::error!(%error, "{name} failed");
            (1, error.to_string())
        }
    };
    std::fs::write(answer, said).with_context(|| format!("cannot write {}", answer.display()))?;
    Ok(ExitCode::from(code))
}

async fn until_told(
    operation: impl AsyncFnOnce(&Installation, &CancellationToken) -> Result<String, Unfinished>,
) -> Result<String, Unfinished> {
    let failed =
        |error: std::io::Error| Unfinished::Failed(format!("cannot wait for signals: {error}"));
    let mut ends = signal(SignalKind::terminate()).map_err(failed)?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    // Process 1 has no default for signals.
    tokio::spawn(async move {
        ends.recv().await;
        told.cancel();
    });
    let found = program::all(std::env::var_os("PATH").as_deref()).await;
    let installation = program::choose(found, None);
    let installation = installation.map_err(|error| Unfinished::Failed(error.to_string()))?;
    operation(&installation, &stop).await
}
