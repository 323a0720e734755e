//! `agent repository`: looks after the repository of backups of a cluster, and makes backups on order.
//!
//! ```text
//! Begin ─► Service ─► Keeper ─► journal (on the volume) ─► work: stanza-create, backup ─► info ─► journal
//!                        └────────────► State ─► Watch
//! ```
//!
//! pgBackRest's server, which instances push their WAL to, runs beside all that.

pub mod forward;
pub mod journal;
pub mod keeper;
pub mod service;
pub mod state;
pub mod work;

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use pgo_ids::{ClusterName, Namespace};
use pgo_postgres::{
    backrest::{
        self, Backrest,
        conf::{self, Place, Tls},
        storage::{Storage, Storages},
    },
    conf::MODE,
    files::{FileError, named, write_if_changed},
};
use pgo_proto::agent::{RepositoryState, repository_server::RepositoryServer};
use pgo_telemetry::{CancellationToken, Condition, Telemetry};
use pgo_tls::TlsFiles;
use tokio::{sync::mpsc, time::sleep};
use tokio_util::task::AbortOnDropHandle;
use zeroize::Zeroizing;

use crate::{
    backrest::{archiving::scratch, server, storage::StorageSettings},
    lock::{self, Lock},
    run,
};
use journal::Journal;
use keeper::Keeper;
use state::Reporter;

/// Variable that names the repository; where it is set, process 1 runs this role.
pub const VARIABLE: &str = "PGO_REPOSITORY";

/// Pause before what cannot be used is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Orders that may wait for the keeper, which answers each at once.
const ORDERS: usize = 16;

/// Settings of `agent repository`.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// The repository's folder, on the volume.
    #[arg(long = "repository", env = "PGO_REPOSITORY")]
    pub folder: PathBuf,
    /// Name of the cluster.
    #[arg(long, env = "PGO_CLUSTER")]
    pub cluster: ClusterName,
    /// Namespace of the cluster.
    #[arg(long, env = "PGO_NAMESPACE")]
    pub namespace: Namespace,
    /// Uid of this pod.
    #[arg(long, env = "POD_UID")]
    pub pod_uid: String,
    /// Name that leads to this pod and is in the certificate of the instances' agents: pgBackRest reaches all of them by it,
    /// and this agent forwards to where each is. The agents' identity, unless set.
    #[arg(long, env = "PGO_BACKREST_DATABASE_HOST")]
    pub database_host: Option<String>,
    /// Folder with the agent's certificate, key and authority.
    #[arg(long, env = "PGO_TLS_DIR", default_value = "/pgo/tls")]
    pub tls: PathBuf,
    /// Folder for what goes with the pod.
    #[arg(long, env = "PGO_RUN_DIR", default_value = "/run/postgresql")]
    pub run: PathBuf,
    /// Where it keeps what it has.
    #[command(flatten)]
    pub storage: StorageSettings,
    /// Where pgBackRest's server listens.
    #[arg(long, env = "PGO_BACKREST_ADDR", default_value = "0.0.0.0:8432")]
    pub backrest: SocketAddr,
    /// Where the state is told over gRPC.
    #[arg(long, env = "PGO_AGENT_ADDR", default_value = "0.0.0.0:8445")]
    pub listen: SocketAddr,
    /// The administration port.
    #[arg(long, env = "PGO_ADMIN_ADDR", default_value_t = pgo_telemetry::ADMIN_ADDR)]
    pub admin: SocketAddr,
}

impl Settings {
    /// The repository's folder in a bucket, which those of other namespaces may have, too.
    fn in_bucket(&self) -> PathBuf {
        let name = self.folder.file_name().unwrap_or_default();
        Path::new("/backrestrepo")
            .join(self.namespace.as_str())
            .join(name)
    }
}

/// What all parts need.
#[derive(Debug)]
pub struct Surroundings {
    /// Settings of the role.
    pub settings: Settings,
    /// The program.
    pub backrest: Backrest,
    /// The certificates.
    pub tls: Arc<TlsFiles>,
}

impl Surroundings {
    /// Configuration of the server and of what concerns no instance.
    pub fn conf(&self) -> PathBuf {
        self.settings.run.join("pgbackrest.conf")
    }

    /// Configuration of work with instances.
    pub fn work_conf(&self) -> PathBuf {
        self.settings.run.join("pgbackrest-work.conf")
    }

    /// Name by which instances are reached.
    pub fn database_host(&self) -> String {
        let details = self.tls.details();
        let identity = || details.identity().unwrap_or_default().to_owned();
        self.settings.database_host.clone().unwrap_or_else(identity)
    }

    fn key(&self) -> PathBuf {
        self.settings.run.join("agent.key")
    }

    /// Where this repository keeps what it has.
    pub fn storages(&self) -> &Storages {
        &self.settings.storage.storages
    }

    /// Writes the configuration of work with `databases` that concerns only what is in `storage`: what goes wrong with another
    /// place does not stand in its way.
    fn write_for(&self, storage: Storage, databases: &[conf::Database]) -> Result<(), String> {
        let scratch = scratch(&self.settings.run);
        self.write(
            (&self.work_conf(), scratch),
            &Storages::only(storage),
            databases,
        )
    }

    /// Writes the configuration of the server, and of what concerns no instance. Who pushes WAL goes by it, too, and has a lock
    /// meanwhile, which is to keep nobody here from anything.
    fn write_for_server(&self) -> Result<(), String> {
        let scratch = scratch(&self.settings.run).join("pushed");
        self.write((&self.conf(), scratch), self.storages(), &[])
    }

    /// Writes a configuration to `path`, with this folder for locks, and the key as pgBackRest takes it: of a file that is only
    /// the own user's.
    fn write(
        &self,
        (path, scratch): (&Path, PathBuf),
        storages: &Storages,
        databases: &[conf::Database],
    ) -> Result<(), String> {
        let shown = |error: FileError| error.to_string();
        let from = self.settings.tls.join("tls.key");
        let key = named(fs::read(&from), "read", &from).map(Zeroizing::new);
        write_if_changed(&self.key(), &key.map_err(shown)?, MODE).map_err(shown)?;
        let place = Place {
            tls: Tls {
                certificate: self.settings.tls.join("tls.crt"),
                key: self.key(),
                authority: self.settings.tls.join("ca.crt"),
                peer: self.tls.details().common_name,
            },
            listen: self.settings.backrest,
            repository: self.settings.folder.clone(),
            scratch,
            compression: self.backrest.compression,
        };
        let bucket = match storages.has(Storage::S3) {
            true => self.settings.storage.bucket(self.settings.in_bucket())?,
            false => None,
        };
        let text = conf::of_repository(&place, (storages, bucket.as_ref()), databases);
        let text = text.map_err(|error| error.to_string())?;
        write_if_changed(path, text.as_bytes(), MODE).map_err(shown)?;
        Ok(())
    }
}

/// Runs until it is told to end, and all that it had begun has ended.
///
/// # Errors
/// Something that is needed from the beginning is missing: certificates, ports.
pub fn main(settings: Settings) -> anyhow::Result<()> {
    run::runtime(|telemetry| async {
        let stop = pgo_telemetry::shutdown().context("cannot take signals")?;
        serve(settings, telemetry, stop).await?.await
    })
}

/// Opens the ports and begins. The future that comes back ends when everything has.
///
/// # Errors
/// Certificates cannot be read, or a port cannot be bound.
pub async fn serve(
    settings: Settings,
    telemetry: Telemetry,
    stop: CancellationToken,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>>> {
    let tls = Arc::new(TlsFiles::open(&settings.tls)?);
    let reporter = Arc::new(Reporter::new(RepositoryState {
        cluster: settings.cluster.to_string(),
        pod_uid: settings.pod_uid.clone(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..RepositoryState::default()
    }));
    let health = telemetry.readiness().condition("repository");
    health.not_met("the repository is not open yet");
    let ended = CancellationToken::new();
    let admin = telemetry.bind(settings.admin).await?;
    let admin = spawn(admin.run(ended.clone().cancelled_owned()));
    let listener = pgo_tls::grpc::listen(settings.listen, tls.clone()).await?;
    let (sender, orders) = mpsc::channel(ORDERS);
    let (found, program) = tokio::sync::watch::channel(None);
    let service = service::Service::new(reporter.watch(), sender, program);
    let grpc = pgo_tls::grpc::server()
        .add_service(RepositoryServer::new(service))
        .serve_with_incoming_shutdown(listener, ended.clone().cancelled_owned());
    let grpc = spawn(grpc);
    Ok(async move {
        let work = work(
            Opened {
                settings,
                tls,
                reporter,
                health,
                found,
                orders,
            },
            &stop,
        );
        work.await;
        ended.cancel();
        grpc.await.context("the gRPC server broke off")??;
        admin.await.context("the administration port broke off")?;
        Ok(())
    })
}

/// What the work begins with.
struct Opened {
    settings: Settings,
    tls: Arc<TlsFiles>,
    reporter: Arc<Reporter>,
    health: Condition,
    found: tokio::sync::watch::Sender<Option<Arc<Surroundings>>>,
    orders: mpsc::Receiver<keeper::Order>,
}

/// Brings the repository up, keeps its server, and does what is ordered, until `stop`.
async fn work(opened: Opened, stop: &CancellationToken) {
    let Opened {
        settings,
        tls,
        reporter,
        health,
        found,
        orders,
    } = opened;
    let brought_up = async {
        let backrest = until_usable(&reporter, &health, async || {
            let path = std::env::var_os("PATH");
            backrest::find(path.as_deref())
                .await
                .map_err(|error| error.to_string())
        })
        .await;
        reporter.change(|state| state.pgbackrest_version = backrest.release.to_string());
        let volume = until_usable(&reporter, &health, async || open(&settings)).await;
        (backrest, volume)
    };
    let (backrest, (lock, journal)) = tokio::select! {
        () = stop.cancelled() => return,
        all = brought_up => all,
    };
    let around = Arc::new(Surroundings {
        settings,
        backrest,
        tls,
    });
    found.send_replace(Some(around.clone()));
    let server = server::Keeper {
        backrest: around.backrest.clone(),
        conf: around.conf(),
        listen: around.settings.backrest,
        environment: vec![server::locks(&around.settings.run)],
        tls: around.tls.clone(),
    };
    let tell = |answers: Result<(), String>| {
        let error = answers.err();
        match &error {
            None => health.met(),
            Some(error) => health.not_met(error.clone()),
        }
        reporter.change(|state| {
            state.ready = error.is_none();
            state.error = error.unwrap_or_default();
        });
    };
    let write = || around.write_for_server();
    // Work needs the server until its end: WAL of a backup comes by it.
    let served = CancellationToken::new();
    let keeper = Keeper::new(around.clone(), journal, reporter.clone());
    let keep = async {
        keeper.keep(orders, stop).await;
        served.cancel();
    };
    tokio::join!(keep, server.keep(write, tell, served.clone()));
    lock.release();
}

/// What `open` opens, tried until it succeeds; meanwhile the reason is told.
async fn until_usable<T>(
    reporter: &Reporter,
    health: &Condition,
    open: impl AsyncFn() -> Result<T, String>,
) -> T {
    loop {
        match open().await {
            Ok(opened) => {
                reporter.change(|state| state.error.clear());
                return opened;
            }
            Err(error) => {
                health.not_met(error.clone());
                reporter.change(|state| state.error = error);
            }
        }
        sleep(RETRY).await;
    }
}

/// Makes the folders and takes the volume: one agent at a time works there.
fn open(settings: &Settings) -> Result<(Lock, Journal), String> {
    let make = |folder: &Path| {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(folder);
        named(made, "make", folder).map_err(|error| error.to_string())
    };
    make(&settings.folder)?;
    make(&scratch(&settings.run))?;
    let lock = lock::take(&settings.folder).map_err(|error| error.to_string())?;
    let folder = settings
        .folder
        .parent()
        .unwrap_or(&settings.folder)
        .join(".pgo");
    make(&folder)?;
    let name = settings.folder.file_name().unwrap_or_default();
    let mut file = name.to_owned();
    file.push(".json");
    let journal = Journal::open(&folder.join(file)).map_err(|error| error.to_string())?;
    Ok((lock, journal))
}

/// A task that ends with whoever waits for it.
fn spawn<F>(task: F) -> AbortOnDropHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    AbortOnDropHandle::new(tokio::spawn(task))
}
