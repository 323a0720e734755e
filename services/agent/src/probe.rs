//! `agent probe`: which PostgreSQL an image holds, asked before any instance is made from it.

use std::path::PathBuf;

use anyhow::Context as _;
use pgo_postgres::program;

/// Settings of `agent probe`.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// The major version to look for; where the image does not hold it, the newest that it holds is told.
    #[arg(long, default_value = "")]
    pub series: String,
    /// File that Kubernetes reads the answer from.
    #[arg(long, default_value = "/dev/termination-log")]
    pub answer: PathBuf,
}

/// Finds PostgreSQL's programs and writes their version down.
///
/// # Errors
/// The image holds no PostgreSQL, or the file cannot be written.
pub fn main(settings: &Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot begin to wait for programs")?;
    let path = std::env::var_os("PATH");
    let found = runtime.block_on(program::all(path.as_deref()));
    let series = Some(settings.series.as_str()).filter(|series| !series.is_empty());
    let chosen =
        program::choose(found.clone(), series).or_else(|_| program::choose(found, None))?;
    let answer = &settings.answer;
    std::fs::write(answer, chosen.version.to_string())
        .with_context(|| format!("cannot write {}", answer.display()))
}
