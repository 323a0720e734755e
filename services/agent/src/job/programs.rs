//! The programs of PostgreSQL that a job needs, from their start to their end.

use std::{
    fs::File, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path, process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use pgo_postgres::{
    Installation,
    job::{Call, Server, error, password_line, place},
};
use pgo_telemetry::CancellationToken;
use tempfile::TempDir;
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
    time::timeout,
};
use zeroize::Zeroizing;

use super::JobError;
use crate::server::follow;

/// How long a program that is to end may take for that.
const PATIENCE: Duration = Duration::from_secs(5);

/// So many of its errors are told; the first says most.
const ERRORS: usize = 5;

/// How much of each is told, in bytes: Kubernetes takes 4096 of all.
const LONGEST: usize = 512;

/// How much of what one prints is read, in bytes.
const MOST: u64 = 1 << 20;

/// What runs them.
pub struct Programs<'a> {
    installation: &'a Installation,
    server: Server,
    stop: &'a CancellationToken,
    /// Holds the file with the password.
    _secrets: TempDir,
}

impl<'a> Programs<'a> {
    /// For a server that this password opens.
    ///
    /// # Errors
    /// The password cannot be read, or not be put where libpq reads it.
    pub fn new(
        installation: &'a Installation,
        server: Server,
        password: &Path,
        stop: &'a CancellationToken,
    ) -> Result<Self, String> {
        let read = std::fs::read_to_string(password).map(Zeroizing::new);
        let read = read.map_err(|error| format!("cannot read {}: {error}", password.display()))?;
        let secrets = tempfile::tempdir()
            .map_err(|error| format!("cannot make a folder for the password: {error}"))?;
        let path = secrets.path().join("pgpass");
        let line = Zeroizing::new(password_line(&read));
        // libpq takes no file that others can read.
        let made = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let written = made.and_then(|mut file| file.write_all(line.as_bytes()));
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(Self {
            installation,
            server: Server {
                passwords: path,
                ..server
            },
            stop,
            _secrets: secrets,
        })
    }

    /// Runs one to its end, with these settings of PostgreSQL; what it printed.
    ///
    /// # Errors
    /// It cannot be started, fails, or all is to end.
    pub async fn run(
        &self,
        call: &Call,
        settings: &[(&str, &str)],
        input: Stdio,
    ) -> Result<String, JobError> {
        let program = self.installation.program(call.program);
        let started = Command::new(&program)
            .args(&call.arguments)
            .envs(self.server.variables(settings))
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let child = started.map_err(|error| {
            JobError::Failed(format!(
                "cannot run {}: {error}; does the image hold PostgreSQL's client programs?",
                program.display()
            ))
        })?;
        self.until_end(call.program, child).await
    }

    async fn until_end(&self, program: &'static str, mut child: Child) -> Result<String, JobError> {
        let (mut errors, mut at) = (Vec::new(), None);
        let (output, complaints) = (child.stdout.take(), child.stderr.take());
        let hear = async {
            let Some(complaints) = complaints else { return };
            follow(complaints, |line| {
                at = at.take().or_else(|| place(line).map(str::to_owned));
                if let Some(mut said) = error(line).filter(|_| errors.len() < ERRORS) {
                    said.truncate(said.floor_char_boundary(LONGEST));
                    errors.push(said);
                }
            })
            .await;
        };
        let mut printed = Vec::new();
        let read = async {
            match output {
                Some(output) => output.take(MOST).read_to_end(&mut printed).await.map(drop),
                None => Ok(()),
            }
        };
        let ended = tokio::select! {
            () = self.stop.cancelled() => None,
            ended = async { tokio::join!(hear, read, child.wait()) } => Some(ended),
        };
        let Some(((), read, status)) = ended else {
            end(&mut child).await;
            return Err(JobError::Ended);
        };
        let failed = |why: String| Err(JobError::Failed(why));
        let status = match status {
            Ok(status) => status,
            Err(error) => return failed(format!("cannot wait for {program}: {error}")),
        };
        if !status.success() {
            let told = match errors.is_empty() {
                true => format!("{program} failed ({status})"),
                false => errors.join("; "),
            };
            return failed(match at {
                Some(place) => format!("line {place}: {told}"),
                None => told,
            });
        }
        match read {
            Ok(()) => Ok(String::from_utf8_lossy(&printed).into_owned()),
            Err(error) => failed(format!("what {program} prints cannot be read: {error}")),
        }
    }
}

/// Ends a program with everything that it has started.
async fn end(child: &mut Child) {
    let group = child.id().map(u32::cast_signed).map(Pid::from_raw);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        if let Some(group) = group {
            // That all are gone already is what is wanted.
            let _ = killpg(group, signal);
        }
        if timeout(PATIENCE, child.wait()).await.is_ok() && signal == Signal::SIGKILL {
            return;
        }
    }
}
