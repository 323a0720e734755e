//! A data directory that has diverged is brought back to what the primary has, by pg_rewind.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::process::Command;

use crate::{Installation, tail::Tail, upstream::Upstream};

/// How long pg_rewind may take. It reads all of the data directory's WAL since the divergence, and copies what changed.
const DEADLINE: Duration = Duration::from_secs(3600);

/// How much of its output goes into an error.
const TAIL: usize = 10;

/// The first version in which another role than a superuser can be given what pg_rewind needs of its source.
const SINCE: u32 = 11;

/// The database that it connects to.
const DATABASE: &str = "postgres";

/// Why a data directory was not rewound.
#[derive(Debug, thiserror::Error)]
pub enum RewindError {
    /// This version cannot.
    #[error("pg_rewind of PostgreSQL {0} needs a superuser at its source")]
    Version(String),
    /// The program could not be run.
    #[error("cannot run {}: {cause}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// The cause.
        cause: io::Error,
    },
    /// The program did not end in time.
    #[error("pg_rewind did not end within {} s", DEADLINE.as_secs())]
    Deadline,
    /// The program failed; the data directory may be changed in part.
    #[error("pg_rewind failed ({status}): {output}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        output: Tail,
    },
}

impl RewindError {
    /// Whether nothing was changed: the source could not be reached in the first place.
    pub fn is_early(&self) -> bool {
        match self {
            Self::Run { .. } => true,
            // libpq's words from version 14 on, and before.
            Self::Failed { output, .. } => {
                let said = output.to_string();
                ["connection to server at", "could not connect to server"]
                    .iter()
                    .any(|words| said.contains(words))
            }
            Self::Version(_) | Self::Deadline => false,
        }
    }
}

/// Rewinds `data`, on which no server runs, to what `source` has; a data directory that has not diverged stays as it is.
/// It is a primary's afterwards: make it a standby's before it starts.
///
/// # Errors
/// It cannot be rewound, or pg_rewind fails; then the data is of no use any more.
pub async fn run(
    installation: &Installation,
    data: &Path,
    source: &Upstream,
) -> Result<(), RewindError> {
    if installation.version.major() < SINCE {
        return Err(RewindError::Version(installation.version.to_string()));
    }
    let program = installation.program("pg_rewind");
    let with = |name: &str, value: &std::ffi::OsStr| {
        let mut argument = OsString::from(name);
        argument.push(value);
        argument
    };
    let output = Command::new(&program)
        .arg(with("--target-pgdata=", data.as_os_str()))
        .arg(with(
            "--source-server=",
            source.conninfo(Some(DATABASE)).as_ref(),
        ))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(DEADLINE, output)
        .await
        .map_err(|_| RewindError::Deadline)?
        .map_err(|cause| RewindError::Run { program, cause })?;
    let mut said = Tail::new(TAIL);
    said.push_all(&String::from_utf8_lossy(&output.stdout));
    said.push_all(&String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        tracing::info!(%said, "the data directory follows the primary's history again");
        return Ok(());
    }
    Err(RewindError::Failed {
        status: output.status,
        output: said,
    })
}
