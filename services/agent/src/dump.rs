//! `agent dump`: makes a dump or a backup by `pg_basebackup`, or restores one, in a pod of its own on the volume with them, and says
//! what became of it.
//!
//! ```text
//! <volume>/<cluster>-backups/<time>.partial ─► the program, without error ─► it is whole ─► on the disk ─► <time>
//! <volume>/<cluster>-backups/restores/<operation>: begun ─► the program ─► done
//! ```
//!
//! What an operation has done is on the volume before anybody is told: a pod that is made again for the same operation says what
//! the former one has done, and restores nothing a second time.

mod base;
mod folder;
mod programs;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use jiff::Timestamp;
use pgo_postgres::{
    Installation,
    base::WalRange,
    client::Server,
    dump::{self, Beside, Format, Manifest, Order, Work},
};
use pgo_telemetry::CancellationToken;
use serde::{Deserialize, Serialize};

use self::folder::{Folder, FolderError, Kept, Partial, Restore};
use crate::operation::{self, Unfinished, programs::Programs};

/// Settings of `agent dump`.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// What is to be done, as JSON.
    #[arg(long, env = "PGO_DUMP")]
    pub order: Order,
    /// Name of the cluster.
    #[arg(long, env = "PGO_CLUSTER")]
    pub cluster: pgo_ids::ClusterName,
    /// Name of the server, which its certificate has to have.
    #[arg(long, env = "PGO_DATABASE_HOST")]
    pub host: String,
    /// Port of PostgreSQL.
    #[arg(long, env = "PGPORT", default_value_t = 5432)]
    pub port: u16,
    /// Where the volume of the dumps is.
    #[arg(long, default_value = "/pgdata")]
    pub volume: PathBuf,
    /// File with the authority that signed the server's certificate.
    #[arg(long, default_value = "/pgo/tls/ca.crt")]
    pub authority: PathBuf,
    /// File with the superuser's password.
    #[arg(long, default_value = "/pgo/secrets/postgres/password")]
    pub password: PathBuf,
    /// Certificate that opens a server to who copies all of it.
    #[arg(long, default_value = "/pgo/tls/tls.crt")]
    pub certificate: PathBuf,
    /// Its key.
    #[arg(long, default_value = "/pgo/tls/tls.key")]
    pub key: PathBuf,
    /// Where the volume is that a copy is restored to.
    #[arg(long, default_value = "/restored")]
    pub target: PathBuf,
    /// After how many seconds a program is ended that makes a dump or a copy, or reads it to its end, and moves no data; 0 for never.
    #[arg(long, env = "PGO_STALL_SECONDS", default_value_t = 0)]
    pub stall: u32,
    /// File that Kubernetes reads the answer from.
    #[arg(long, default_value = "/dev/termination-log")]
    pub answer: PathBuf,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Name of the dump.
    pub name: String,
    /// Where it lies.
    pub path: String,
    /// How large it is.
    pub bytes: u64,
    /// The first and the last WAL file that a copy needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal: Option<WalRange>,
    /// Where the data ends that was made of a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// What else is to be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Where data ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Place in the WAL, as PostgreSQL writes it.
    pub lsn: String,
    /// Its timeline.
    pub timeline: u32,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
enum DumpError {
    /// It was told to end, or cannot be done.
    #[error(transparent)]
    Unfinished(#[from] Unfinished),
    /// The volume cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

impl DumpError {
    fn failed(why: impl std::fmt::Display) -> Self {
        Self::Unfinished(Unfinished::Failed(why.to_string()))
    }
}

impl DumpError {
    /// Whether the volume can be worked on.
    fn leaves_volume(&self) -> bool {
        !matches!(self, Self::Unfinished(Unfinished::Stalled { .. }))
    }
}

impl From<DumpError> for Unfinished {
    fn from(error: DumpError) -> Self {
        match error {
            DumpError::Unfinished(why) => why,
            DumpError::Folder(why) => Self::Failed(why.to_string()),
        }
    }
}

/// Does it, and writes down what became of it.
///
/// # Errors
/// It cannot begin, or cannot say what became of it.
pub fn main(settings: &Settings) -> anyhow::Result<ExitCode> {
    let name = "the dump, or the restore of one,";
    operation::run(name, &settings.answer, async |installation, stop| {
        let answer = perform(settings, installation, stop).await?;
        serde_json::to_string(&answer).map_err(|error| Unfinished::Failed(error.to_string()))
    })
}

async fn perform(
    settings: &Settings,
    installation: &Installation,
    stop: &CancellationToken,
) -> Result<Answer, DumpError> {
    match &settings.order.work {
        Work::Make { .. } => {
            let folder = open(settings, stop).await?;
            Job::new(settings, &folder, installation, stop).make().await
        }
        Work::Load {
            dump,
            database,
            options,
        } => {
            let folder = open(settings, stop).await?;
            let which = (dump.as_deref(), database.as_deref());
            Job::new(settings, &folder, installation, stop)
                .load(which, options)
                .await
        }
        Work::BaseBackup { source, options } => {
            let folder = open(settings, stop).await?;
            Job::new(settings, &folder, installation, stop)
                .copy(source, options)
                .await
        }
        Work::BaseRestore { backup, to } => {
            let folder = open(settings, stop).await?;
            Job::new(settings, &folder, installation, stop)
                .restore(backup.as_deref(), to)
                .await
        }
    }
}

/// The folder on the volume, locked.
async fn open<M: Kept>(
    settings: &Settings,
    stop: &CancellationToken,
) -> Result<Folder<M>, DumpError> {
    match Folder::open(&settings.volume, &settings.cluster, stop).await {
        Err(FolderError::Busy(_)) if stop.is_cancelled() => Err(Unfinished::Ended.into()),
        opened => Ok(opened?),
    }
}

/// What is being done, and with what.
struct Job<'a, M> {
    settings: &'a Settings,
    folder: &'a Folder<M>,
    installation: &'a Installation,
    stop: &'a CancellationToken,
}

impl<M> Job<'_, M> {
    /// For how long a program may move no data that makes something, or reads it to its end.
    fn stall(&self) -> Option<Duration> {
        let limit = Duration::from_secs(self.settings.stall.into());
        Some(limit).filter(|limit| !limit.is_zero())
    }
}

impl<'a, M> Job<'a, M> {
    fn new(
        settings: &'a Settings,
        folder: &'a Folder<M>,
        installation: &'a Installation,
        stop: &'a CancellationToken,
    ) -> Self {
        Self {
            settings,
            folder,
            installation,
            stop,
        }
    }
}

impl Job<'_, Manifest> {
    fn programs(&self) -> Result<Programs<'_>, DumpError> {
        let server = Server {
            host: self.settings.host.clone(),
            port: self.settings.port,
            authority: self.settings.authority.clone(),
            passwords: PathBuf::new(),
            application: "pgo-dump",
        };
        let password = &self.settings.password;
        Ok(Programs::new(
            self.installation,
            server,
            password,
            self.stop,
        )?)
    }

    async fn make(&self) -> Result<Answer, DumpError> {
        let Order { operation, work } = &self.settings.order;
        let Work::Make {
            database,
            all,
            format,
            options,
        } = work
        else {
            return Err(DumpError::failed("nothing is to be dumped"));
        };
        if let Some((name, manifest)) = self.folder.made_by(operation)? {
            tracing::info!(name, "the dump was made before");
            return Ok(self.answer(&name, &manifest, None));
        }
        self.folder.clear()?;
        let programs = self.programs()?.ended_after(self.stall());
        let partial = self.folder.begin(Timestamp::now())?;
        let file = partial.path().join(format.file());
        let made = programs
            .run(&dump::make(database, *all, *format, options, &file))
            .await;
        let checked = match made {
            Ok(_) => programs.check(*format, *all, &file).await,
            Err(error) => Err(error),
        };
        if let Err(error) = checked.map_err(DumpError::from) {
            return Err(discarded(partial, error)?);
        }
        let manifest = Manifest {
            operation: operation.clone(),
            database: database.clone(),
            all: *all,
            format: *format,
            options: options.clone(),
            bytes: folder::size(&file)?,
            version: self.installation.version.to_string(),
        };
        folder::synced(&file)?;
        let name = partial.keep(&manifest)?;
        tracing::info!(name, bytes = manifest.bytes, "a dump is made");
        Ok(self.answer(&name, &manifest, None))
    }

    async fn load(
        &self,
        (which, into): (Option<&str>, Option<&str>),
        options: &[String],
    ) -> Result<Answer, DumpError> {
        let operation = &self.settings.order.operation;
        match self.folder.restored_by(operation)? {
            Some(Restore::Done(answer)) => return Ok(answer),
            Some(Restore::Begun) => {
                let why = "the pod that restored it was ended meanwhile: whether it came to its end is not known; look, and \
                           restore it again where it did not";
                return Err(DumpError::failed(why));
            }
            None => {}
        }
        let (name, manifest) = self.folder.find(which)?;
        let file = self.folder.path(&name).join(manifest.format.file());
        let into = dump::target(&manifest, into, options);
        let programs = self.programs()?;
        programs.check(manifest.format, manifest.all, &file).await?;
        let begun = || self.folder.note_restore(operation, &Restore::Begun);
        let mut note = None;
        if manifest.format == Format::Plain {
            let call = dump::load_text(into, options);
            let call = call.map_err(DumpError::failed)?;
            let roles = programs.names(into, dump::ROLES).await?;
            let databases = programs.names(into, dump::DATABASES).await?;
            let mut beside = Beside::new(roles, databases, manifest.all);
            begun()?;
            let what = (file.as_path(), dump::is_one_transaction(&manifest));
            programs.feed(&call, what, &mut beside).await?;
            let left = beside.left_out;
            note = (left > 0).then(|| format!("{left} roles and databases were there already"));
        } else {
            let contents = match dump::creates(options) {
                true => None,
                false => Some(contents(&programs, into, &file).await?),
            };
            let what = (file.as_path(), contents.as_deref());
            begun()?;
            programs.run(&dump::load(into, options, what)).await?;
        }
        let answer = self.answer(&name, &manifest, note);
        self.folder
            .note_restore(operation, &Restore::Done(answer.clone()))?;
        Ok(answer)
    }

    fn answer(&self, name: &str, manifest: &Manifest, note: Option<String>) -> Answer {
        Answer {
            name: name.to_owned(),
            path: self.folder.path(name).display().to_string(),
            bytes: manifest.bytes,
            wal: None,
            end: None,
            note,
        }
    }
}

/// What is not whole goes, unless the volume may hang: then it goes with the next one.
fn discarded<M: Kept>(partial: Partial<'_, M>, error: DumpError) -> Result<DumpError, DumpError> {
    if error.leaves_volume() {
        partial.discard()?;
    }
    Ok(error)
}

/// A list of what a dump holds, but for the schemas that are there already: each cluster has one of its user, and a restore of
/// that would fail. Nothing else that is there is left out.
async fn contents(programs: &Programs<'_>, into: &str, file: &Path) -> Result<PathBuf, DumpError> {
    let schemas = programs.names(into, dump::SCHEMAS).await?;
    let all = programs.output(&dump::list(file)).await?;
    let path = programs.file("contents");
    let written = std::fs::write(&path, dump::without_schemas(&all, &schemas));
    let failed = |error| DumpError::failed(format!("cannot write {}: {error}", path.display()));
    written.map_err(failed)?;
    Ok(path)
}
