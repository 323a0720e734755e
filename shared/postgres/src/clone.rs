//! A copy of another server's data directory, which is there as a whole or not at all.
//!
//! pg_basebackup works in a folder beside the data directory, as initdb does: see [`crate::initdb`]. The copy is a
//! standby's before it gets its name, so that it never starts as a second primary.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
};

use crate::{
    Installation,
    files::{FileError, named, sync_folder_of},
    initdb::{Presence, beside, clear, presence},
    standby::{self, Standby, StandbyError},
    tail::Tail,
    upstream::Upstream,
};

/// How long pg_basebackup may say nothing. It tells its progress each second once data flows; before that the server
/// writes a checkpoint.
const STALL: Duration = Duration::from_secs(600);

/// The same where a replica is copied: another way is open then, and no checkpoint is waited for but the last one's
/// own.
const REPLICA_STALL: Duration = Duration::from_secs(60);

/// How much of its output goes into an error.
const TAIL: usize = 10;

/// `application_name` of who copies.
const APPLICATION: &str = "pgo-clone";

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    /// There is something in its place.
    #[error("{} is not empty; it is left as it is", .0.display())]
    Occupied(PathBuf),
    /// A file or folder could not be made.
    #[error(transparent)]
    File(#[from] FileError),
    /// The copy could not be made a standby's.
    #[error(transparent)]
    Standby(#[from] StandbyError),
    /// The program could not be run.
    #[error("cannot run {}: {cause}; does the image hold PostgreSQL's client programs?", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// The cause.
        cause: io::Error,
    },
    /// The program fell silent.
    #[error("pg_basebackup made no progress within {} s", .0.as_secs())]
    Stalled(Duration),
    /// The program failed.
    #[error("pg_basebackup failed ({status}): {output}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        output: Tail,
    },
}

/// Which server is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// The one that is to be followed. Its slot keeps WAL also while the copy is made.
    Followed,
    /// A replica of it, which keeps by a slot of its own, for as long as the copy takes, what the copy needs to be
    /// whole.
    Replica(&'a Upstream),
}

impl Source<'_> {
    fn stall(self) -> Duration {
        match self {
            Self::Followed => STALL,
            Self::Replica(_) => REPLICA_STALL,
        }
    }
}

/// Makes `data` a copy of the data of `source`, to follow the server that `standby` names. Its slot must be there: it
/// keeps the WAL from here on. `progress` hears how much is done, in per cent, as often as that changes.
///
/// # Errors
/// There is something in its place, or pg_basebackup fails; then what it said is in the error.
pub async fn run(
    installation: &Installation,
    data: &Path,
    standby: &Standby,
    source: Source<'_>,
    progress: impl FnMut(u8),
) -> Result<(), CloneError> {
    if presence(data)? != Presence::Nothing {
        return Err(CloneError::Occupied(data.to_owned()));
    }
    let folder = beside(data, ".clone");
    clear(&folder)?;
    if let Some(parent) = data.parent() {
        named(fs::create_dir_all(parent), "make", parent)?;
    }
    if let Err(error) = basebackup(installation, &folder, standby, source, progress).await {
        clear(&folder)?;
        return Err(error);
    }
    standby::follow(&folder, &installation.version, Some(standby))?;
    named(fs::rename(&folder, data), "rename to", data)?;
    sync_folder_of(data)?;
    Ok(())
}

async fn basebackup(
    installation: &Installation,
    folder: &Path,
    standby: &Standby,
    source: Source<'_>,
    mut progress: impl FnMut(u8),
) -> Result<(), CloneError> {
    let program = installation.program("pg_basebackup");
    let (from, slot) = match source {
        Source::Followed => (&standby.upstream, Some(&standby.slot)),
        // Without a name it makes a slot that goes with its connection (documentation, "pg_basebackup").
        Source::Replica(upstream) => (upstream, None),
    };
    // What it has received is no standby's yet, so it acknowledges nothing.
    let upstream = Upstream {
        application: APPLICATION.to_owned(),
        ..from.clone()
    };
    let mut child = Command::new(&program)
        .arg("--pgdata")
        .arg(folder)
        .arg("--dbname")
        .arg(upstream.conninfo(None))
        .args(["--wal-method=stream", "--checkpoint=fast", "--progress"])
        .arg("--no-password")
        .args(slot.map(|slot| format!("--slot={slot}")))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|cause| CloneError::Run {
            program: program.clone(),
            cause,
        })?;
    let output = listen(&mut child, source.stall(), &mut progress).await?;
    let status = child
        .wait()
        .await
        .map_err(|cause| CloneError::Run { program, cause })?;
    if status.success() {
        return Ok(());
    }
    Err(CloneError::Failed { status, output })
}

/// Hears the program out; the last lines that are no progress.
async fn listen(
    child: &mut Child,
    stall: Duration,
    progress: &mut impl FnMut(u8),
) -> Result<Tail, CloneError> {
    let mut tail = Tail::new(TAIL);
    let Some(mut output) = child.stderr.take() else {
        return Ok(tail);
    };
    let (mut buffer, mut line, mut told) = ([0; 4096], Vec::new(), None);
    loop {
        let read = tokio::time::timeout(stall, output.read(&mut buffer))
            .await
            .map_err(|_| CloneError::Stalled(stall))?;
        // One that cannot be read any more ends as well.
        let count = read.unwrap_or_default();
        for byte in &buffer[..count] {
            // Progress is written over itself, without an end of line.
            if !matches!(byte, b'\r' | b'\n') {
                line.push(*byte);
                continue;
            }
            let text = String::from_utf8_lossy(&line).into_owned();
            line.clear();
            match percent(&text) {
                Some(percent) if told != Some(percent) => {
                    told = Some(percent);
                    progress(percent);
                }
                Some(_) => {}
                None => tail.push(&text),
            }
        }
        if count == 0 {
            tail.push(&String::from_utf8_lossy(&line));
            return Ok(tail);
        }
    }
}

/// How much is done, in a line such as `22990/22990 kB (100%), 0/1 tablespace`.
fn percent(line: &str) -> Option<u8> {
    let (_, rest) = line.split_once(" kB (")?;
    rest.split_once("%)")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_from_all_else() {
        assert_eq!(percent("    1/22990 kB (0%), 0/1 tablespace"), Some(0));
        assert_eq!(percent("22990/22990 kB (100%), 1/1 tablespace"), Some(100));
        assert_eq!(percent("waiting for checkpoint"), None);
        assert_eq!(
            percent("pg_basebackup: error: connection to server failed"),
            None
        );
    }
}
