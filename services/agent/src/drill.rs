//! `agent drill`: restores one backup into a folder that goes with the pod, and finds out whether it can be relied on.
//!
//! ```text
//! Copy ─► Replay ─► Checksums ─► Structure ─► Read ─► the report, which Kubernetes keeps as the pod's last words
//! pgbackrest    to the end       pg_checksums  pg_amcheck  pg_dumpall
//! restore       of the archive   on what is    on what has been started
//!                                stopped       again
//! ```
//!
//! The copy is nobody's member, archives nothing, and of the repository only reads. It has no address: only this process gets in.

mod check;
mod copy;
mod replay;
mod report;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use pgo_postgres::{Installation, Socket, backrest::Backrest};
use pgo_tls::TlsFiles;

pub use report::{Report, Stage, Untried};

use crate::{backrest::archiving::ArchiveSettings, run, server::Server};

/// How long the whole of it may take.
const DEADLINE: Duration = Duration::from_secs(24 * 3600);

/// How often all of it is done where WAL is not there: it may come while it is looked for, as where a former primary brings what
/// it had not archived.
const ATTEMPTS: u32 = 2;

/// Settings of `agent drill`.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// pgBackRest's name for the backup.
    #[arg(long, env = "PGO_DRILL_BACKUP")]
    pub backup: String,
    /// Folder for the copy; what is in it is removed.
    #[arg(long, env = "PGO_DRILL_DIR", default_value = "/pgdrill")]
    pub folder: PathBuf,
    /// Folder with the agent's certificate, key and authority.
    #[arg(long, env = "PGO_TLS_DIR", default_value = "/pgo/tls")]
    pub tls: PathBuf,
    /// Folder for what goes with the pod.
    #[arg(long, env = "PGO_RUN_DIR", default_value = "/run/postgresql")]
    pub run: PathBuf,
    /// Part of the socket's name.
    #[arg(long, env = "PGPORT", default_value_t = 5432)]
    pub port: u16,
    /// File that Kubernetes reads the report from.
    #[arg(long, env = "PGO_DRILL_REPORT", default_value = "/dev/termination-log")]
    pub answer: PathBuf,
    /// Where the repository is.
    #[command(flatten)]
    pub archiving: ArchiveSettings,
}

impl Settings {
    /// The copy.
    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn socket(&self) -> Socket {
        Socket {
            folder: self.run.clone(),
            port: self.port,
        }
    }
}

/// What it says of a backup that something did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// Whoever restores it meets the same.
    Final,
    /// The same, unless another try shows otherwise.
    Doubtful,
    /// Nothing, and no other try helps: it is none of the backups that the cluster is restored from by now.
    Superseded,
    /// Nothing: the repository is away, or the copy has no room.
    Passing,
}

/// Something that did not work.
#[derive(Clone, Debug)]
struct Trouble {
    weight: Weight,
    error: String,
}

impl Trouble {
    fn passing(error: String) -> Self {
        let weight = Weight::Passing;
        Self { weight, error }
    }
}

/// Why a backup is not proven: in which stage, and what was found.
#[derive(Clone, Debug)]
struct Failure {
    stage: Stage,
    error: String,
    weight: Weight,
}

impl Failure {
    fn at(stage: Stage) -> impl Fn(String) -> Self {
        move |error| Self {
            stage,
            error,
            weight: Weight::Final,
        }
    }

    fn of(stage: Stage) -> impl Fn(Trouble) -> Self {
        move |Trouble { weight, error }| Self {
            stage,
            error,
            weight,
        }
    }

    fn tell(self, report: &mut Report) {
        let Self { stage, error, .. } = self;
        let untried = match self.weight {
            Weight::Passing => Some(Untried::Unreachable),
            Weight::Superseded => Some(Untried::Superseded),
            Weight::Final | Weight::Doubtful => None,
        };
        let verdict = match untried {
            Some(_) => "the backup cannot be tried",
            None => "the backup cannot be relied on",
        };
        tracing::error!(backup = report.backup, ?stage, error, "{verdict}");
        report.fail(stage, &error, untried);
    }
}

/// A drill, with all that it needs.
struct Drill {
    settings: Settings,
    backrest: Backrest,
    tls: Arc<TlsFiles>,
}

/// A copy that has replayed all that is archived.
struct Replayed {
    installation: Installation,
    /// Arguments of a server that nothing gets out of.
    isolated: Vec<String>,
    checksums: bool,
    lsn: String,
    last_commit: Option<Timestamp>,
}

/// Does it, and writes the report, whatever it says.
///
/// # Errors
/// Nothing could be found out: a part of what is needed is missing, or the report cannot be written.
pub fn main(settings: Settings) -> anyhow::Result<()> {
    run::runtime(|_| async move {
        let begin = std::time::Instant::now();
        let backrest = pgo_postgres::backrest::find(std::env::var_os("PATH").as_deref()).await?;
        let tls = TlsFiles::open(&settings.tls).map(Arc::new)?;
        let answer = settings.answer.clone();
        let mut report = Report::of(&settings.backup);
        let drill = Drill {
            settings,
            backrest,
            tls,
        };
        let done = tokio::time::timeout(DEADLINE, drill.run(&mut report)).await;
        match done {
            Ok(Ok(())) => {
                tracing::info!(backup = report.backup, took = ?begin.elapsed(), "the backup is proven");
            }
            Ok(Err(failure)) => failure.tell(&mut report),
            Err(_) => {
                let hours = DEADLINE.as_secs() / 3600;
                let late = format!("it did not end within {hours} hours");
                tracing::error!(backup = report.backup, late);
                report.fail(report.stage, &late, Some(Untried::Late));
            }
        }
        std::fs::write(&answer, report.text())
            .with_context(|| format!("cannot write {}", answer.display()))
    })
}

impl Drill {
    async fn run(&self, report: &mut Report) -> Result<(), Failure> {
        let mut attempt = 1;
        let replayed = loop {
            match self.restore(report).await {
                Err(failure)
                    if failure.stage == Stage::Replay
                        && attempt < ATTEMPTS
                        && failure.weight == Weight::Doubtful =>
                {
                    tracing::warn!(error = failure.error, "it is tried once more");
                    attempt += 1;
                }
                ended => break ended?,
            }
        };
        report.lsn.clone_from(&replayed.lsn);
        report.last_commit = replayed.last_commit;
        report.stage = Stage::Checksums;
        if replayed.checksums {
            self.check_pages(&replayed).await?;
            report.checksums = true;
        }
        report.stage = Stage::Structure;
        let server = self.start_again(&replayed).await?;
        let looked = self.look(&replayed, &server, report).await;
        server.kill().await;
        looked
    }

    async fn look(
        &self,
        replayed: &Replayed,
        server: &Server,
        report: &mut Report,
    ) -> Result<(), Failure> {
        report.structure = self.check_structure(replayed, server).await?;
        report.stage = Stage::Read;
        self.read_all(replayed).await
    }

    async fn restore(&self, report: &mut Report) -> Result<Replayed, Failure> {
        report.stage = Stage::Copy;
        let chosen = self.copy().await.map_err(Failure::of(Stage::Copy))?;
        report.size = self.size();
        report.timeline = chosen.timeline;
        report.stage = Stage::Replay;
        self.replay(&chosen).await
    }
}
