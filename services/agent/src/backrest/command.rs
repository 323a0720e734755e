//! One command of pgBackRest, from its start to its end.

use std::{ffi::OsString, path::Path, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use pgo_postgres::{
    backrest::{Backrest, STANZA, output, storage::Storage},
    tail::Tail,
};
use pgo_telemetry::CancellationToken;
use tokio::{
    process::{Child, Command},
    sync::mpsc,
    time::timeout,
};

use super::stall::{self, Stall};
use crate::server::follow;

/// How long a command that is to end may take for that.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long what a command has written may be on its way after its end. Whatever it left behind holds the pipe.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Lines that an error is looked for in.
const TAIL: usize = 40;

/// Why a command did not do what it was to do.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CommandError {
    /// The program cannot be run.
    #[error("pgbackrest {command} cannot be started: {cause}")]
    Start {
        /// The command.
        command: String,
        /// The cause.
        cause: String,
    },
    /// It failed.
    #[error("pgbackrest {command} failed: {said}")]
    Failed {
        /// The command.
        command: String,
        /// What it said.
        said: String,
    },
    /// It took too long and was ended.
    #[error("pgbackrest {command} did not end within {} s and was stopped: {said}", deadline.as_secs())]
    Deadline {
        /// The command.
        command: String,
        /// How long it had.
        deadline: Duration,
        /// What it said until then.
        said: String,
    },
    /// It got no further and was ended.
    #[error(
        "pgbackrest {command} said nothing and moved no data for {} s and was stopped: {said}", limit.as_secs()
    )]
    Stalled {
        /// The command.
        command: String,
        /// How long it may do nothing.
        limit: Duration,
        /// What it said until then.
        said: String,
    },
    /// Somebody wanted it to end.
    #[error("pgbackrest {0} was stopped")]
    Stopped(String),
}

impl CommandError {
    /// Whether it says nothing of what the repository has.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Failed { said, .. } => output::is_passing(said),
            Self::Start { .. }
            | Self::Deadline { .. }
            | Self::Stalled { .. }
            | Self::Stopped(_) => true,
        }
    }
}

/// A command to run.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// The program.
    pub backrest: &'a Backrest,
    /// Its configuration.
    pub conf: &'a Path,
    /// Such as `backup`.
    pub command: &'a str,
    /// Its options.
    pub options: Vec<String>,
    /// How long it may take; none where nobody knows.
    pub deadline: Option<Duration>,
    /// For how long it may do nothing: neither say something nor move data.
    pub stall: Option<Duration>,
}

/// Why a command is ended.
enum Ending {
    Cancelled,
    Deadline(Duration),
    Stalled(Duration),
}

impl Ending {
    fn error(self, command: String, said: String) -> CommandError {
        match self {
            Self::Cancelled => CommandError::Stopped(command),
            Self::Deadline(deadline) => CommandError::Deadline {
                command,
                deadline,
                said,
            },
            Self::Stalled(limit) => CommandError::Stalled {
                command,
                limit,
                said,
            },
        }
    }
}

impl Order<'_> {
    /// Runs it to its end, or until `stop`; `each` hears every line that it writes.
    ///
    /// # Errors
    /// It cannot be started, fails, or has to be ended.
    pub async fn run(
        self,
        stop: &CancellationToken,
        mut each: impl FnMut(&str),
    ) -> Result<(), CommandError> {
        let (sender, mut lines) = mpsc::unbounded_channel();
        let mut running = Running::start(&self, sender)?;
        let mut tail = Tail::new(TAIL);
        let command = self.command.to_owned();
        let mut hear = |line: &str| {
            tail.push(line);
            each(line);
        };
        let mut stall = Stall::begin(self.stall, running.group, stall::OF_BACKREST);
        let end = async {
            loop {
                tokio::select! {
                    biased;
                    Some(line) = lines.recv() => {
                        stall.heard();
                        hear(&line);
                    }
                    status = running.child.wait() => break Ok(status),
                    stalled = stall.look() => if let Some(limit) = stalled {
                        break Err(Ending::Stalled(limit));
                    },
                }
            }
        };
        let ended = tokio::select! {
            () = stop.cancelled() => Err(Ending::Cancelled),
            ended = within(self.deadline, end) => ended.map_err(Ending::Deadline).flatten(),
        };
        let status = match ended {
            Ok(status) => status,
            Err(why) => {
                running.end().await;
                return Err(why.error(command, output::error(&tail.to_string())));
            }
        };
        let rest = async {
            while let Some(line) = lines.recv().await {
                hear(&line);
            }
        };
        // Cut off, an error may lack its last line, and nothing else is lost.
        let _ = timeout(LAST_WORDS, rest).await;
        match status {
            Ok(status) if status.success() => Ok(()),
            _ => {
                running.end().await;
                let said = output::error(&tail.to_string());
                Err(CommandError::Failed { command, said })
            }
        }
    }
}

/// The result of `work`, or the deadline that it did not keep.
async fn within<T>(
    deadline: Option<Duration>,
    work: impl Future<Output = T>,
) -> Result<T, Duration> {
    match deadline {
        None => Ok(work.await),
        Some(deadline) => timeout(deadline, work).await.map_err(|_| deadline),
    }
}

/// A command that runs, with the processes that it has started: they are a group of their own.
struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    fn start(
        order: &Order<'_>,
        lines: mpsc::UnboundedSender<String>,
    ) -> Result<Self, CommandError> {
        let started = Command::new(&order.backrest.program)
            .arg(config(order.conf))
            .arg(format!("--stanza={STANZA}"))
            // One stream for all, with what tells progress and without what the log has anyway.
            .args([
                "--log-level-console=detail",
                "--log-level-stderr=off",
                "--no-log-timestamp",
            ])
            .args(&order.options)
            .arg(order.command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let mut child = started.map_err(|error| CommandError::Start {
            command: order.command.to_owned(),
            cause: error.to_string(),
        })?;
        let group = child.id().map(u32::cast_signed).map(Pid::from_raw);
        if let Some(output) = child.stdout.take() {
            tokio::spawn(hand_on(output, lines.clone()));
        }
        if let Some(output) = child.stderr.take() {
            tokio::spawn(hand_on(output, lines));
        }
        Ok(Self { child, group })
    }

    /// Ends it with everything that it has started: what is left would hold its lock.
    async fn end(&mut self) {
        self.send(Signal::SIGTERM);
        if timeout(PATIENCE, self.child.wait()).await.is_err() {
            tracing::warn!("a command of pgBackRest does not end; it is killed");
        }
        self.send(Signal::SIGKILL);
        if timeout(PATIENCE, self.child.wait()).await.is_err() {
            tracing::error!("a command of pgBackRest does not die");
        }
    }

    fn send(&self, signal: Signal) {
        if let Some(group) = self.group {
            // That all are gone already is what is wanted.
            let _ = killpg(group, signal);
        }
    }
}

async fn hand_on(output: impl tokio::io::AsyncRead + Unpin, lines: mpsc::UnboundedSender<String>) {
    follow(output, |line| {
        // Nobody hears any more what comes after a command was given up.
        let _ = lines.send(line.to_owned());
    })
    .await;
}

/// The option that names a configuration file.
pub fn config(conf: &Path) -> OsString {
    let mut option = OsString::from("--config=");
    option.push(conf);
    option
}

/// What `pgbackrest info` says, as JSON or as text, of all that there is or of what is in one place.
///
/// # Errors
/// It fails or takes too long.
pub async fn info(
    backrest: &Backrest,
    conf: &Path,
    json: bool,
    storage: Option<Storage>,
) -> Result<String, CommandError> {
    let format = match json {
        true => "--output=json",
        false => "--output=text",
    };
    // S3 that is away is found to be so after four times as long.
    const QUICKLY: &str = "--io-timeout=3";
    let storage = storage.map(Storage::option);
    let storage = storage.iter().map(String::as_str);
    let arguments: Vec<&str> = storage.chain([QUICKLY, format, "info"]).collect();
    ask(backrest, conf, &arguments).await
}

/// What a command says that only looks: options, its name, what it is to look at.
///
/// # Errors
/// It fails or takes too long.
pub async fn ask(
    backrest: &Backrest,
    conf: &Path,
    arguments: &[&str],
) -> Result<String, CommandError> {
    const DEADLINE: Duration = Duration::from_secs(60);
    let name = arguments.iter().find(|word| !word.starts_with("--"));
    let command = name.copied().unwrap_or_default().to_owned();
    let run = Command::new(&backrest.program)
        .arg(config(conf))
        // The repository's server lets nobody in who does not say what for.
        .arg(format!("--stanza={STANZA}"))
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let said = String::new();
    let ended = timeout(DEADLINE, run)
        .await
        .map_err(|_| CommandError::Deadline {
            command: command.clone(),
            deadline: DEADLINE,
            said,
        })?;
    let output = ended.map_err(|error| CommandError::Start {
        command: command.clone(),
        cause: error.to_string(),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let said = output::error(&text);
    Err(CommandError::Failed { command, said })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

    use pgo_postgres::backrest::{Compression, Release};

    use super::*;

    /// A pgBackRest that is this script.
    struct Script {
        folder: tempfile::TempDir,
        backrest: Backrest,
        stall: Option<Duration>,
    }

    impl Script {
        fn new(script: &str) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let program = folder.path().join("pgbackrest");
            fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
            let backrest = Backrest {
                program,
                release: Release(2, 45),
                compression: Compression::Gzip,
            };
            Self {
                folder,
                backrest,
                stall: None,
            }
        }

        async fn run(
            &self,
            deadline: Option<Duration>,
            stop: &CancellationToken,
        ) -> (Result<(), CommandError>, Vec<String>) {
            loop {
                let conf = PathBuf::from("/c");
                let order = Order {
                    backrest: &self.backrest,
                    conf: &conf,
                    command: "backup",
                    options: vec!["--type=full".to_owned()],
                    deadline,
                    stall: self.stall,
                };
                let mut lines = Vec::new();
                let ended = order.run(stop, |line| lines.push(line.to_owned())).await;
                match ended {
                    // Another test that starts a program may hold the script for a moment.
                    Err(CommandError::Start { cause, .. }) if cause.contains("busy") => {}
                    ended => return (ended, lines),
                }
            }
        }
    }

    #[tokio::test]
    async fn each_line_is_heard_and_the_command_comes_last() {
        let script = Script::new("echo \"$@\"; echo two >&2");
        let (ended, lines) = script.run(None, &CancellationToken::new()).await;
        assert_eq!(ended, Ok(()));
        assert!(lines.contains(&"two".to_owned()), "{lines:?}");
        let arguments = lines.iter().find(|line| line.starts_with("--config=/c"));
        let arguments = arguments.expect("its arguments");
        assert!(arguments.ends_with("--type=full backup"), "{arguments}");
    }

    #[tokio::test]
    async fn a_failure_says_what_the_command_said() {
        let script = Script::new("echo 'P00  ERROR: [050]: lock'; exit 50");
        let (ended, _) = script.run(None, &CancellationToken::new()).await;
        let error = ended.expect_err("failed").to_string();
        assert_eq!(error, "pgbackrest backup failed: [050]: lock");
    }

    #[tokio::test]
    async fn what_takes_too_long_is_ended_with_all_that_it_has_started() {
        let script = Script::new("sleep 600 & echo $! >\"$(dirname \"$0\")/child\"; wait");
        let limit = Some(Duration::from_millis(300));
        let (ended, _) = script.run(limit, &CancellationToken::new()).await;
        assert!(
            matches!(ended, Err(CommandError::Deadline { .. })),
            "{ended:?}"
        );
        let child = fs::read_to_string(script.folder.path().join("child")).expect("a child");
        let begin = std::time::Instant::now();
        let stat = format!("/proc/{}/stat", child.trim());
        let lives = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        while lives() {
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "{child} lives on"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn what_gets_no_further_is_ended_and_what_moves_data_or_speaks_is_not() {
        let stalled = |script: &str| Script {
            stall: Some(Duration::from_secs(2)),
            ..Script::new(script)
        };
        let never = CancellationToken::new();
        // Each takes longer than it may do nothing.
        for works in [
            "for n in 1 2 3 4 5 6; do sleep 0.6; echo $n; done",
            "(for n in 1 2 3 4 5 6; do sleep 0.6; head -c 2000000 /dev/zero; done) | cat >/dev/null",
        ] {
            let (ended, _) = stalled(works).run(None, &never).await;
            assert_eq!(ended, Ok(()), "{works}");
        }
        let (ended, _) = stalled("echo begun; sleep 600").run(None, &never).await;
        let error = ended.expect_err("it hangs").to_string();
        assert_eq!(
            error,
            "pgbackrest backup said nothing and moved no data for 2 s and was stopped: begun"
        );
    }

    #[tokio::test]
    async fn it_can_be_stopped() {
        let script = Script::new("sleep 600");
        let stop = CancellationToken::new();
        stop.cancel();
        let (ended, _) = script.run(None, &stop).await;
        assert_eq!(ended, Err(CommandError::Stopped("backup".to_owned())));
    }
}
