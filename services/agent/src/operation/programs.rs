//! The programs of PostgreSQL that an operation needs, from their start to their end.

use std::{
    fs::File,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use pgo_postgres::{
    Installation,
    client::{Call, Server, password_line},
};
use pgo_telemetry::CancellationToken;
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::timeout,
};
use zeroize::Zeroizing;

use super::Unfinished;
use crate::{
    backrest::stall::{self, Stall},
    server::follow,
};

/// How long a program that is to end may take for that.
const PATIENCE: Duration = Duration::from_secs(5);

/// So many of its errors are told; the first says most.
const ERRORS: usize = 5;

/// How much of each is told, in bytes: Kubernetes takes 4096 of all.
const LONGEST: usize = 512;

/// What runs them.
pub struct Programs<'a> {
    installation: &'a Installation,
    variables: Vec<(&'static str, String)>,
    stop: &'a CancellationToken,
    /// For how long one may move no data.
    stall: Option<Duration>,
    /// Holds the file with the password.
    secrets: TempDir,
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
    ) -> Result<Self, Unfinished> {
        let secrets = folder()?;
        let passwords = secrets.path().join("pgpass");
        keep(password, &passwords).map_err(Unfinished::Failed)?;
        let server = Server {
            passwords,
            ..server
        };
        Ok(Self {
            installation,
            variables: server.variables(),
            stop,
            stall: None,
            secrets,
        })
    }

    /// For those that no password opens a server to.
    ///
    /// # Errors
    /// There is no room for what they need beside them.
    pub fn without_password(
        installation: &'a Installation,
        stop: &'a CancellationToken,
    ) -> Result<Self, Unfinished> {
        Ok(Self {
            installation,
            // What they say is read by a program.
            variables: vec![("LC_ALL", "C".to_owned())],
            stop,
            stall: None,
            secrets: folder()?,
        })
    }

    /// The same, of which each is ended that moves no data for so long; none means never.
    pub fn ended_after(self, stall: Option<Duration>) -> Self {
        Self { stall, ..self }
    }

    /// Starts one, with further variables.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        &self,
        call: &Call,
        further: &[(&'static str, String)],
        (input, output): (Stdio, Stdio),
    ) -> Result<Child, Unfinished> {
        let program = self.installation.program(call.program);
        let started = Command::new(&program)
            .args(&call.arguments)
            .envs(self.variables.iter().chain(further).cloned())
            .stdin(input)
            .stdout(output)
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        started.map_err(|error| {
            Unfinished::Failed(format!(
                "cannot run {}: {error}; does the image hold PostgreSQL's client programs?",
                program.display()
            ))
        })
    }

    /// Hears each line of what a program complains of, until it ends and the work beside it; or ends it, where all is to end, or it
    /// gets no further.
    ///
    /// # Errors
    /// It was ended.
    pub async fn until_end<T>(
        &self,
        what: &'static str,
        mut child: Child,
        hear: impl FnMut(&str),
        work: impl Future<Output = T>,
    ) -> Result<(io::Result<ExitStatus>, T), Unfinished> {
        let complaints = child.stderr.take();
        let heard = async {
            if let Some(complaints) = complaints {
                follow(complaints, hear).await;
            }
        };
        let mut stall = Stall::begin(self.stall, group(&child), stall::ANY);
        let stalled = async {
            loop {
                if let Some(limit) = stall.look().await {
                    break limit;
                }
            }
        };
        let ended = tokio::select! {
            () = self.stop.cancelled() => Err(Unfinished::Ended),
            limit = stalled => Err(Unfinished::Stalled { what, limit }),
            ended = async { tokio::join!(heard, work, child.wait()) } => Ok(ended),
        };
        match ended {
            Ok(((), worked, status)) => Ok((status, worked)),
            Err(why) => {
                end(&mut child).await;
                Err(why)
            }
        }
    }

    /// A file beside the password, which goes with it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.secrets.path().join(name)
    }
}

/// What a program complains of, as much as is told.
#[derive(Debug, Default)]
pub struct Errors {
    said: Vec<String>,
    more: u32,
}

impl Errors {
    /// One more.
    pub fn add(&mut self, mut said: String) {
        if self.said.len() >= ERRORS {
            self.more += 1;
            return;
        }
        said.truncate(said.floor_char_boundary(LONGEST));
        self.said.push(said);
    }

    /// All of them, for people; none where there are none.
    pub fn told(mut self) -> Option<String> {
        if self.more > 0 {
            self.said.push(format!("and {} more", self.more));
        }
        (!self.said.is_empty()).then(|| self.said.join("; "))
    }
}

fn folder() -> Result<TempDir, Unfinished> {
    let made = tempfile::tempdir();
    made.map_err(|error| Unfinished::Failed(format!("cannot make a folder for secrets: {error}")))
}

/// Puts a password where libpq reads it, which takes no file that others can read.
fn keep(password: &Path, path: &Path) -> Result<(), String> {
    let read = std::fs::read_to_string(password).map(Zeroizing::new);
    let read = read.map_err(|error| format!("cannot read {}: {error}", password.display()))?;
    let line = Zeroizing::new(password_line(&read));
    let made = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let written = made.and_then(|mut file| file.write_all(line.as_bytes()));
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// A program, with everything that it has started.
fn group(child: &Child) -> Option<Pid> {
    child.id().map(u32::cast_signed).map(Pid::from_raw)
}

/// Ends a program with everything that it has started.
async fn end(child: &mut Child) {
    let group = group(child);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_errors_the_first_are_told_and_how_many_more_there_are() {
        let mut errors = Errors::default();
        for number in 1..=7 {
            errors.add(format!("{number}{}", "ä".repeat(400)));
        }
        let told = errors.told().expect("some");
        assert!(
            told.starts_with("1ä") && told.ends_with("; and 2 more"),
            "{told}"
        );
        assert!(told.len() < 5 * (LONGEST + 2) + 20, "{}", told.len());
        assert_eq!(Errors::default().told(), None);
    }
}
