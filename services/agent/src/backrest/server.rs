//! Keeps `pgbackrest server` running: who archives, or makes a backup, connects to it.

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use nix::{sys::signal::Signal, unistd::Pid};
use pgo_postgres::{
    backrest::{Backrest, output},
    tail::Tail,
};
use pgo_telemetry::CancellationToken;
use pgo_tls::TlsFiles;
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::{archiving::scratch, command::config};
use crate::{processes, server::follow};

/// Time between two questions whether it answers, until it does.
const FIRST_LOOK: Duration = Duration::from_millis(100);

/// The same once it does.
const LOOK: Duration = Duration::from_secs(10);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(30);

/// Answers that may be missing until it is started anew.
const MISSES: u32 = 3;

/// Pause before it is started again after it ended.
const PAUSE: Duration = Duration::from_secs(1);

/// How long it may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lines that explain its end.
const TAIL: usize = 20;

/// A server to keep.
#[derive(Clone, Debug)]
pub struct Keeper {
    /// The program.
    pub backrest: Backrest,
    /// Its configuration.
    pub conf: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// What its processes find in their environment.
    pub environment: Vec<(&'static str, OsString)>,
    /// The certificates, which it reads anew when they change.
    pub tls: Arc<TlsFiles>,
}

/// Where a server has the locks of what it does for others. That goes by neither side's configuration: without this, all that
/// run on one machine would have them in the same folder of `/tmp`. They are not with those of the commands that run here.
pub fn locks(folder: &Path) -> (&'static str, OsString) {
    let locks = scratch(folder).join("server");
    ("PGBACKREST_LOCK_PATH", locks.into_os_string())
}

/// How one server came to its end.
enum Ended {
    /// It was to end.
    Stopped,
    /// It ended by itself or did not answer.
    Failed(String),
}

impl Keeper {
    /// Keeps it until `stop`, and ends it then. `write` writes its configuration, before each start and again and again, for what
    /// has changed;
    /// `tell` hears whether it answers, and why not.
    pub async fn keep(
        self,
        write: impl Fn() -> Result<(), String>,
        tell: impl Fn(Result<(), String>),
        stop: CancellationToken,
    ) {
        loop {
            let ended = match write() {
                Ok(()) => self.run(&write, &tell, &stop).await,
                Err(error) => Ended::Failed(error),
            };
            match ended {
                Ended::Stopped => return,
                Ended::Failed(error) => {
                    tracing::warn!(error, "pgBackRest's server is started again");
                    tell(Err(error));
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(PAUSE) => {}
            }
        }
    }

    async fn run(
        &self,
        write: &impl Fn() -> Result<(), String>,
        tell: &impl Fn(Result<(), String>),
        stop: &CancellationToken,
    ) -> Ended {
        let tail = Arc::new(Mutex::new(Tail::new(TAIL)));
        let mut child = match self.start(&tail) {
            Ok(child) => child,
            Err(error) => {
                return Ended::Failed(format!("pgBackRest's server cannot be started: {error}"));
            }
        };
        let said = || {
            let tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            output::error(&tail.to_string())
        };
        let pid = child.id().map(u32::cast_signed).map(Pid::from_raw);
        let ended = tokio::select! {
            () = stop.cancelled() => Ended::Stopped,
            status = child.wait() => {
                let how = status.map_or_else(|error| error.to_string(), |status: ExitStatus| status.to_string());
                Ended::Failed(format!("pgBackRest's server ended ({how}): {}", said()))
            }
            () = self.watch(pid, write, tell) => {
                Ended::Failed(format!("pgBackRest's server does not answer: {}", said()))
            }
        };
        end(child, pid).await;
        ended
    }

    fn start(&self, tail: &Arc<Mutex<Tail>>) -> std::io::Result<Child> {
        let mut child = Command::new(&self.backrest.program)
            .arg(config(&self.conf))
            .arg("server")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let hear = |tail: Arc<Mutex<Tail>>| {
            move |line: &str| {
                tracing::info!(target: "pgbackrest", "{line}");
                let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
                tail.push(line);
            }
        };
        if let Some(output) = output {
            tokio::spawn(follow(output, hear(tail.clone())));
        }
        if let Some(errors) = errors {
            tokio::spawn(follow(errors, hear(tail.clone())));
        }
        Ok(child)
    }

    /// Looks whether it answers, until it does not any more.
    async fn watch(
        &self,
        pid: Option<Pid>,
        write: &impl Fn() -> Result<(), String>,
        tell: &impl Fn(Result<(), String>),
    ) {
        let mut certificates = self.tls.server_config();
        let (mut misses, mut has_answered) = (0, false);
        let begin = Instant::now();
        loop {
            if self.answers().await {
                (misses, has_answered) = (0, true);
                tell(Ok(()));
            } else if has_answered {
                misses += 1;
            }
            let is_late = !has_answered && begin.elapsed() > START;
            if misses >= MISSES || is_late {
                return;
            }
            // Each connection reads it anew: a new key of S3 counts from here on.
            if let Err(error) = write() {
                tracing::warn!(error, "what pgBackRest is told is not renewed");
            } else {
                let now = self.tls.server_config();
                if !Arc::ptr_eq(&certificates, &now) {
                    let Some(pid) = pid else { return };
                    tracing::info!("pgBackRest's server reads its new certificate");
                    processes::send(pid, Signal::SIGHUP);
                    certificates = now;
                }
            }
            sleep(if has_answered { LOOK } else { FIRST_LOOK }).await;
        }
    }

    async fn answers(&self) -> bool {
        let address = match self.listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let ping = Command::new(&self.backrest.program)
            .arg(config(&self.conf))
            .args(["--log-level-stderr=off", "--io-timeout=2", "server-ping"])
            .arg(address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .status();
        match timeout(ANSWER, ping).await {
            Ok(Ok(status)) => status.success(),
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

/// Ends a server: it ends those of its processes that serve a connection.
async fn end(mut child: Child, pid: Option<Pid>) {
    let Some(pid) = pid else { return };
    if matches!(child.try_wait(), Ok(Some(_))) {
        return;
    }
    processes::send(pid, Signal::SIGTERM);
    if timeout(PATIENCE, child.wait()).await.is_err() {
        tracing::warn!("pgBackRest's server does not end; it is killed");
        if let Err(error) = child.kill().await {
            tracing::warn!(%error, "pgBackRest's server cannot be killed");
        }
    }
}
