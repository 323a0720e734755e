//! The server process: start, watch, stop. The agent is its parent, so it knows at once when it ends.

use std::{
    convert::Infallible,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use nix::{sys::signal::Signal, unistd::Pid};
use pgo_postgres::{Installation, backrest::archive::Signals, tail::Tail};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, ChildStderr, Command},
    sync::watch,
    task::JoinHandle,
};

use crate::processes;

/// How long PostgreSQL may take for a fast shutdown, which writes a checkpoint. With everything else that happens at its end
/// less than the 120 s that the pod has.
const FAST: Duration = Duration::from_secs(80);

/// How long it may take for an immediate shutdown, which writes nothing.
const IMMEDIATE: Duration = Duration::from_secs(10);

/// How long a server that shuts down may go on to archive WAL: nobody can write meanwhile. What is left is archived by its next
/// start, where it leads again then.
const ARCHIVING: Duration = Duration::from_secs(5);

/// How long processes that outlive their postmaster get until they are looked for again.
const LEFTOVER_PAUSE: Duration = Duration::from_millis(5);

/// After how long it is told that killed processes are not gone. In an uninterruptible wait for a disk it may last.
const LEFTOVER_DEADLINE: Duration = Duration::from_secs(10);

/// Lines of PostgreSQL's output that go into an error.
const TAIL: usize = 10;

/// A server, from its start to its end.
#[derive(Debug)]
pub struct Server {
    ended: watch::Receiver<Option<ExitStatus>>,
    pid: Pid,
    data: PathBuf,
    tail: Arc<Mutex<Tail>>,
    reader: JoinHandle<()>,
    /// How its archiver is spoken with, where WAL is archived.
    signals: Option<Signals>,
}

/// What a server said last.
#[derive(Clone, Debug)]
pub struct Output(Arc<Mutex<Tail>>);

impl Output {
    /// The last lines.
    pub fn text(&self) -> String {
        let tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tail.to_string()
    }

    /// Forgets them.
    pub fn clear(&self) {
        let mut tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tail.clear();
    }
}

impl Server {
    /// Starts the server of the data directory `data`. Its log goes to ours.
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn start(
        installation: &Installation,
        data: &Path,
        signals: Option<Signals>,
    ) -> std::io::Result<Self> {
        Self::start_with(installation, data, signals, &[])
    }

    /// The same with further arguments.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(
        installation: &Installation,
        data: &Path,
        signals: Option<Signals>,
        arguments: &[String],
    ) -> std::io::Result<Self> {
        let mut child = Command::new(installation.program("postgres"))
            .arg("-D")
            .arg(data)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().map(u32::cast_signed).map(Pid::from_raw);
        let tail = Arc::new(Mutex::new(Tail::new(TAIL)));
        let reader = tokio::spawn(read(child.stderr.take(), tail.clone()));
        let (sender, ended) = watch::channel(None);
        tokio::spawn(async move {
            let status = end(child).await;
            sender.send_replace(Some(status));
        });
        Ok(Self {
            pid: pid.ok_or_else(|| std::io::Error::other("the server ended at once"))?,
            ended,
            data: data.to_owned(),
            tail,
            reader,
            signals,
        })
    }

    /// Number of the postmaster.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// How it ended, if it did.
    pub fn ended(&self) -> Option<ExitStatus> {
        *self.ended.borrow()
    }

    /// Waits until it ends. May be given up and begun again.
    pub fn end(&self) -> impl Future<Output = ExitStatus> + Send + use<> {
        let mut ended = self.ended.clone();
        async move {
            let status = ended.wait_for(Option::is_some).await;
            // Who waits for the process ends only with the runtime.
            status.ok().and_then(|status| *status).unwrap_or_default()
        }
    }

    /// Makes it read its configuration and certificates again.
    pub fn reload(&self) {
        processes::send(self.pid, Signal::SIGHUP);
    }

    /// Forgets what it has said: what comes now explains its end.
    pub fn forget_output(&self) {
        self.output().clear();
    }

    /// To be called once it ended: ends what it left, and tells how it ended and what it said last.
    pub async fn explain(self, status: ExitStatus) -> String {
        clear_leftovers(&self.data).await;
        // All that held the other side of the pipe is gone, so this is over in a moment.
        let _ = tokio::time::timeout(LEFTOVER_DEADLINE, self.reader).await;
        let said = Output(self.tail).text();
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("PostgreSQL ended with exit code {code}"),
            (None, Some(signal)) => format!("PostgreSQL was ended by signal {signal}"),
            (None, None) => "PostgreSQL ended".to_owned(),
        };
        if said.is_empty() {
            how
        } else {
            format!("{how}: {said}")
        }
    }

    /// What it says from here on, for errors; also while somebody waits for its end.
    pub fn output(&self) -> Output {
        Output(self.tail.clone())
    }

    /// Ends every process of it at once.
    pub async fn kill(self) {
        processes::send(self.pid, Signal::SIGKILL);
        if tokio::time::timeout(IMMEDIATE, self.end()).await.is_err() {
            tracing::warn!("PostgreSQL does not die");
        }
        clear_leftovers(&self.data).await;
    }

    /// Stops it: as fast as it can without losing anything, and harder after a deadline.
    pub async fn stop(&self) {
        let begin = Instant::now();
        let steps = [
            (Signal::SIGINT, FAST),
            (Signal::SIGQUIT, IMMEDIATE),
            (Signal::SIGKILL, IMMEDIATE),
        ];
        for (signal, patience) in steps {
            processes::send(self.pid, signal);
            let end = async {
                tokio::select! {
                    biased;
                    status = self.end() => status,
                    never = self.end_archiving() => match never {},
                }
            };
            match tokio::time::timeout(patience, end).await {
                Ok(status) => {
                    let millis = begin.elapsed().as_millis();
                    tracing::info!(%status, %signal, millis, "PostgreSQL has stopped");
                    break;
                }
                Err(_) => tracing::warn!(%signal, ?patience, "PostgreSQL does not stop"),
            }
        }
        clear_leftovers(&self.data).await;
    }
}

impl Server {
    /// Has a server that shuts down wait no longer for its archiver than [`ARCHIVING`], and not at all where archiving fails:
    /// PostgreSQL itself tries everything three times, however long that takes.
    async fn end_archiving(&self) -> Infallible {
        if let Some(signals) = &self.signals {
            if signals.failure().is_none() {
                tokio::time::sleep(ARCHIVING).await;
            }
            if let Err(error) = signals.end() {
                tracing::warn!(%error, "the end of PostgreSQL waits for its archiver");
            }
            // The attempt that goes on works in the data directory, as PostgreSQL does.
            for pid in processes::named_in("pgbackrest", &self.data) {
                processes::send(pid, Signal::SIGTERM);
            }
        }
        std::future::pending().await
    }
}

async fn end(mut child: Child) -> ExitStatus {
    match child.wait().await {
        Ok(status) => status,
        // Somebody else has reaped it; that it is gone is all we know.
        Err(error) => {
            tracing::warn!(%error, "how the server ended is not known");
            ExitStatus::from_raw(0)
        }
    }
}

/// Kills the server processes that outlive their postmaster: one that is in the middle of a statement notices late,
/// and until it is gone no new server can start. It ends when they are gone, however long that takes: who goes on before says
/// that servers are dead which are not.
pub async fn clear_leftovers(data: &Path) {
    let mut told = Instant::now();
    loop {
        let left = processes::working_in(data);
        if left.is_empty() {
            return;
        }
        if told.elapsed() > LEFTOVER_DEADLINE {
            tracing::warn!(
                count = left.len(),
                "killed processes of a former server do not go away; they are waited for"
            );
            told = Instant::now();
        }
        for pid in left {
            processes::send(pid, Signal::SIGKILL);
        }
        tokio::time::sleep(LEFTOVER_PAUSE).await;
    }
}

async fn read(output: Option<ChildStderr>, tail: Arc<Mutex<Tail>>) {
    if let Some(output) = output {
        follow(output, |line| {
            tracing::info!(target: "postgres", "{line}");
            if explains(line) {
                tail.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
            }
        })
        .await;
    }
}

/// Hands each line of `output` on, whatever bytes are in it.
pub(crate) async fn follow(output: impl AsyncRead + Unpin, mut each: impl FnMut(&str)) {
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match lines.read_until(b'\n', &mut line).await {
            Ok(0) => return,
            Ok(_) => each(String::from_utf8_lossy(&line).trim_end_matches('\n')),
            Err(error) => {
                tracing::warn!(%error, "the output of a program cannot be read any more");
                return;
            }
        }
    }
}

/// Whether a line of PostgreSQL's log may go into an error, which others read: it is about the server itself. Statements
/// and the values in them stay out; they may hold anything, passwords too.
fn explains(line: &str) -> bool {
    // The lines of a message after its first begin with a tab.
    if line.starts_with('\t') {
        return false;
    }
    let severity = [
        "DEBUG",
        "LOG",
        "INFO",
        "NOTICE",
        "WARNING",
        "ERROR",
        "FATAL",
        "PANIC",
        "DETAIL",
        "HINT",
        "QUERY",
        "CONTEXT",
        "STATEMENT",
        "LOCATION",
        "BACKTRACE",
    ]
    .into_iter()
    .filter_map(|name| Some((line.find(&format!("{name}:  "))?, name)))
    .min();
    match severity {
        // From before logging is set up, as a missing library.
        None => true,
        Some((_, "FATAL" | "PANIC" | "HINT")) => true,
        Some((at, "LOG" | "WARNING")) => {
            let message = &line[at..];
            ![
                "statement:",
                "execute ",
                "parse ",
                "bind ",
                "duration:",
                "fastpath",
            ]
            .iter()
            .any(|word| message.contains(word))
        }
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_explains_the_end_of_a_server_is_kept() {
        for line in [
            "2026-11-23 08:00:00.000 UTC [7] LOG:  listening on Unix socket \"/tmp/.s.PGSQL.5432\"",
            "2026-11-23 08:00:00.000 UTC [7] FATAL:  could not create shared memory segment",
            "2026-11-23 08:00:00.000 UTC [7] HINT:  The address may be in use",
            "/usr/bin/postgres: error while loading shared libraries: libx.so",
        ] {
            assert!(explains(line), "{line}");
        }
    }

    #[test]
    fn statements_and_their_values_are_not() {
        for line in [
            "2026-11-23 08:00:00 UTC [9] u@d 10.0.0.9 LOG:  statement: ALTER ROLE u PASSWORD 'x'",
            "2026-11-23 08:00:00 UTC [9] u@d 10.0.0.9 LOG:  duration: 3 ms  statement: SELECT 'x'",
            "2026-11-23 08:00:00 UTC [9] u@d 10.0.0.9 LOG:  execute <unnamed>: SELECT 'x'",
            "2026-11-23 08:00:00 UTC [9] u@d 10.0.0.9 ERROR:  invalid input: \"x FATAL:  y\"",
            "2026-11-23 08:00:00 UTC [9] u@d 10.0.0.9 STATEMENT:  ALTER ROLE u PASSWORD 'x'",
            "2026-11-23 08:00:00 UTC [9] u@d 10.0.0.9 DETAIL:  parameters: $1 = 'x'",
            "\tPASSWORD 'x' FATAL:  y",
        ] {
            assert!(!explains(line), "{line}");
        }
    }

    #[tokio::test]
    async fn lines_of_any_bytes_are_read() {
        let mut lines = Vec::new();
        follow(&b"one\nt\xffo\nthree"[..], |line| {
            lines.push(line.to_owned());
        })
        .await;
        assert_eq!(lines, ["one", "t\u{fffd}o", "three"]);
    }
}
