//! `agent job`: measures by `pgbench`, or loads a file into a table, in a pod of its own, and says what became of it.
//!
//! Whoever made the pod makes no second one for the same operation: nothing is kept here.

mod programs;

use std::{
    fs::File,
    io::{BufReader, Seek as _},
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
};

use nix::fcntl::OFlag;
use pgo_postgres::{
    Installation,
    client::Server,
    job::{self, Benchmark, Load, Order, Work},
};
use pgo_telemetry::CancellationToken;
use serde::{Deserialize, Serialize};

use crate::operation::{self, Unfinished, programs::Programs};

/// How much of an answer Kubernetes takes, in bytes.
const LONGEST_ANSWER: usize = 4000;

/// Settings of `agent job`.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// What is to be done, as JSON.
    #[arg(long, env = "PGO_JOB")]
    pub order: Order,
    /// Name of the server, which its certificate has to have.
    #[arg(long, env = "PGO_DATABASE_HOST")]
    pub host: String,
    /// Port of PostgreSQL.
    #[arg(long, env = "PGPORT", default_value_t = 5432)]
    pub port: u16,
    /// Where the volume with files to load is.
    #[arg(long, default_value = "/pgdata")]
    pub files: PathBuf,
    /// File with the transaction that is run instead of pgbench's own.
    #[arg(long, default_value = "/pgconf/transactions.sql")]
    pub script: PathBuf,
    /// File with the authority that signed the server's certificate.
    #[arg(long, default_value = "/pgo/tls/ca.crt")]
    pub authority: PathBuf,
    /// File with the superuser's password.
    #[arg(long, default_value = "/pgo/secrets/postgres/password")]
    pub password: PathBuf,
    /// File that Kubernetes reads the answer from.
    #[arg(long, default_value = "/dev/termination-log")]
    pub answer: PathBuf,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// It in one line.
    pub summary: String,
    /// What the program printed, where users are to see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// How many rows were loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Size of the file that they were in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Does it, and writes down what became of it.
///
/// # Errors
/// It cannot begin, or cannot say what became of it.
pub fn main(settings: &Settings) -> anyhow::Result<ExitCode> {
    let name = "the benchmark, or the load,";
    operation::run(name, &settings.answer, async |installation, stop| {
        let answer = match &settings.order.work {
            Work::Benchmark(work) => benchmark((settings, work), installation, stop).await,
            Work::Load(work) => load((settings, work), installation, stop).await,
        };
        fitting(answer?).map_err(|error| Unfinished::Failed(error.to_string()))
    })
}

/// An answer as JSON that Kubernetes takes whole: of an output that is too long the end goes.
fn fitting(mut answer: Answer) -> Result<String, serde_json::Error> {
    loop {
        let said = serde_json::to_string(&answer)?;
        match &mut answer.output {
            Some(output) if said.len() > LONGEST_ANSWER && !output.is_empty() => {
                // In JSON a character may be longer than it is.
                let share = output.len() * LONGEST_ANSWER / said.len();
                output.truncate(output.floor_char_boundary(share.min(output.len() - 1)));
            }
            _ => return Ok(said),
        }
    }
}

fn programs<'a>(
    settings: &Settings,
    installation: &'a Installation,
    stop: &'a CancellationToken,
) -> Result<Programs<'a>, Unfinished> {
    let server = Server {
        host: settings.host.clone(),
        port: settings.port,
        authority: settings.authority.clone(),
        passwords: PathBuf::new(),
        application: "pgo-job",
    };
    Programs::new(installation, server, &settings.password, stop)
}

async fn benchmark(
    (settings, work): (&Settings, &Benchmark),
    installation: &Installation,
    stop: &CancellationToken,
) -> Result<Answer, Unfinished> {
    let programs = programs(settings, installation, stop)?;
    let tables = job::initialize(work);
    programs
        .printed(&tables, &[job::utf8()], Stdio::null())
        .await?;
    tracing::info!(
        database = work.database,
        scale = work.scale,
        "the tables of a benchmark are made"
    );
    let run = job::measure(work, &settings.script);
    let output = programs
        .printed(&run, &[job::utf8()], Stdio::null())
        .await?;
    let summary = job::figures(&output);
    tracing::info!(summary, "a benchmark is done");
    Ok(Answer {
        summary,
        output: Some(output),
        rows: None,
        bytes: None,
    })
}

async fn load(
    (settings, work): (&Settings, &Load),
    installation: &Installation,
    stop: &CancellationToken,
) -> Result<Answer, Unfinished> {
    let file = open(&settings.files, &work.file).map_err(Unfinished::Failed)?;
    let name = work.file.clone();
    let looked = tokio::task::spawn_blocking(move || look(file, &name));
    let file = tokio::select! {
        () = stop.cancelled() => return Err(Unfinished::Ended),
        looked = looked => looked.map_err(|error| Unfinished::Failed(format!("looking through the file broke off: {error}")))?,
    };
    let file = file.map_err(Unfinished::Failed)?;
    let bytes = file.metadata().ok().map(|file| file.len());
    let programs = programs(settings, installation, stop)?;
    let call = job::load(work);
    let printed = programs
        .printed(&call, &job::variables(work), Stdio::from(file))
        .await?;
    let Load {
        table, claim, file, ..
    } = work;
    let rows = job::rows(&printed).ok_or_else(|| {
        Unfinished::Failed(format!(
            "psql did not say how many rows it loaded, but {printed:?}; look at {table}"
        ))
    })?;
    tracing::info!(rows, table, "a file is loaded");
    Ok(Answer {
        summary: format!("{rows} rows of file {file} on claim {claim} are in {table}"),
        output: None,
        rows: Some(rows),
        bytes,
    })
}

/// Opens a file of a volume; a link in it may not lead out of it, to what else is in the pod.
fn open(volume: &Path, name: &str) -> Result<File, String> {
    let path = volume.join(name);
    let cannot = |why: String| format!("file {name} of the claim cannot be read: {why}");
    let opened = File::options()
        .read(true)
        // That of a pipe would wait for who writes into it.
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(&path);
    let file = opened.map_err(|error| cannot(error.to_string()))?;
    let real = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let real = real.map_err(|error| cannot(error.to_string()))?;
    let volume = volume
        .canonicalize()
        .map_err(|error| cannot(error.to_string()))?;
    if !real.starts_with(volume) {
        return Err(cannot(
            "it is a link that leads out of the claim".to_owned(),
        ));
    }
    let metadata = file.metadata().map_err(|error| cannot(error.to_string()))?;
    match metadata.is_file() {
        true => Ok(file),
        false => Err(cannot("it is no file".to_owned())),
    }
}

/// Looks through a file for what `COPY` would take for its end; gives it back at its beginning.
fn look(mut file: File, name: &str) -> Result<File, String> {
    let cannot =
        |error: std::io::Error| format!("file {name} of the claim cannot be read: {error}");
    if let Some(line) = job::early_end(BufReader::new(&file)).map_err(cannot)? {
        return Err(format!(
            "line {line} of file {name} is \\., which COPY takes for the end of the file, and more follows; take that line out"
        ));
    }
    file.rewind().map_err(cannot)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_fits_and_stays_json() {
        let answer = |length: usize| Answer {
            summary: "tps = 1".to_owned(),
            output: Some("\"ä\n".repeat(length)),
            rows: None,
            bytes: None,
        };
        let short = fitting(answer(3)).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Answer>(&short).expect("JSON"),
            answer(3)
        );
        let long = fitting(answer(9000)).expect("JSON");
        assert!(long.len() <= LONGEST_ANSWER, "{}", long.len());
        let read: Answer = serde_json::from_str(&long).expect("JSON");
        assert!(read.output.expect("some").len() > 1000);
    }
}
