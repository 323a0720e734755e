//! The durable log of events, and its readers.
//!
//! ```text
//! nsqd, alltopic/history ─► consume ─► intake (judge) ─► log (append, fsync) ─► head ─► reader ─► Read
//!                             │                            │
//!                             └─ finish                    └─► confirmations ─┬─► Confirmations ─► relay of the reconciler
//!                                                                            └─► news ─► nsqd, pgo.confirm
//! ```
//!
//! A reader comes by gRPC ([`service`]) or by HTTP ([`http`]). What clients of nsqd may do is answered by
//! [`auth`]. A reader of our own tells Kubernetes ([`mirror`]). What nobody can
//! handle is kept by [`dead`]. Of two replicas one leads: only that one reads from nsqd, gives hints and tells Kubernetes
//! ([`work`]); what the other one cannot answer itself it asks the one that leads ([`forward`]).

pub mod append;
pub mod auth;
pub mod consume;
pub mod dead;
mod faces;
pub mod filter;
pub mod forward;
pub mod http;
pub mod identity;
pub mod intake;
pub mod keeper;
pub mod log;
pub mod metrics;
pub mod mirror;
pub mod news;
pub mod reader;
pub mod replication;
mod rights;
pub mod service;
mod settings;
pub mod together;
pub mod withdrawn;
pub mod work;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use dead::DeadLetterService;
use faces::Faces;
use forward::{Leader, forward};
use jiff::Timestamp;
use log::Log;
use metrics::Metrics;
use pgo_proto::event::{
    dead_letters_server::{DeadLettersServer, SERVICE_NAME as DEAD_LETTERS},
    event_log_server::EventLogServer,
    event_replica_server::{EventReplicaServer, SERVICE_NAME as REPLICA},
};
use pgo_telemetry::{CancellationToken, Telemetry};
use pgo_tls::TlsFiles;
use replication::{Replica, ReplicaService, Turn, Way};
pub use rights::RIGHTS;
use service::Service;
pub use settings::Settings;
use together::{Grpc, together};
use tokio::{sync::broadcast, task::spawn_blocking};
use work::Work;

/// Confirmations that a slow listener may be behind; after that it gets all watermarks.
const CONFIRMATIONS: usize = 1024;

/// How long a process that is asked to end waits for the replica that copies from it; a pod gets 30 s to end.
const HAND_OVER: Duration = Duration::from_secs(15);

/// Runs the event service until the process is asked to end.
///
/// # Errors
/// A setting, a certificate or the log cannot be used, or a port cannot be bound; later, the log cannot be written.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let telemetry = pgo_telemetry::init(&pgo_telemetry::Settings::from_env("event", version)?)?;
    let shutdown = pgo_telemetry::shutdown()?;
    let admin = telemetry.bind(settings.admin_addr).await?;
    tracing::info!(addr = %admin.addr(), "serving the administration port");
    let admin = tokio::spawn(admin.run(shutdown.clone().cancelled_owned()));
    let served = serve(&settings, &telemetry, shutdown.clone()).await;
    shutdown.cancel();
    admin.await?;
    served
}

async fn serve(
    settings: &Settings,
    telemetry: &Telemetry,
    asked: CancellationToken,
) -> anyhow::Result<()> {
    let (turn, way) = (Turn::new(None), Way::new(None));
    let shutdown = after_handing_over(asked, &turn);
    let log_open = telemetry.readiness().condition("log");
    let connected = telemetry.readiness().condition("nsqd");
    let metrics = Metrics::register(telemetry);
    let files = Arc::new(TlsFiles::open(&settings.tls_dir)?);

    let faces = Faces::new(settings, &files, &metrics, &shutdown);
    // Before all else: nsqd asks here whether this process may read.
    faces.auth().await?;
    let log = Arc::new(open(settings).await?);
    log_open.met();
    let (confirmations, _) = broadcast::channel(CONFIRMATIONS);

    let mirror = faces.mirror(&log).await;
    let face = faces.http(&log).await?;
    let (undertaker, dead) = faces.dead_letters(&turn)?;
    let shelf = dead.shelf.clone();
    let service = Service {
        log: log.clone(),
        confirmations: confirmations.clone(),
        metrics: metrics.clone(),
        shutdown: shutdown.clone(),
    };
    let listener = pgo_tls::grpc::listen(settings.listen, files.clone()).await?;
    tracing::info!(addr = %listener.addr(), "serving the log");
    let serving = pgo_tls::grpc::server().serve_with_incoming_shutdown(
        shown(service, dead, &turn, &way),
        listener,
        shutdown.clone().cancelled_owned(),
    );

    tokio::spawn(keeper::keep(log.clone(), metrics.clone(), shutdown.clone()));
    let work = Work {
        nsqd: faces.nsqd()?,
        log,
        confirmations,
        undertaker,
        shelf,
        mirror,
        metrics,
        takes: log_open,
        connected,
    };
    let ending = shutdown.clone();
    let consuming = take_over_events(settings, telemetry, work, (turn, way), files, ending);
    let consuming = async {
        let ended = consuming.await;
        // Without a writer the readers must not go on as if all were well.
        shutdown.cancel();
        ended
    };
    let serving = async { serving.await.context("serve the log") };
    let (consumed, served, ()) = tokio::join!(consuming, serving, face);
    consumed?;
    served
}

/// Is cancelled after `asked` is, and once another replica that copies from this one has everything.
fn after_handing_over(asked: CancellationToken, turn: &Turn) -> CancellationToken {
    let (shutdown, turn) = (CancellationToken::new(), turn.subscribe());
    let ending = shutdown.clone();
    tokio::spawn(async move {
        asked.cancelled().await;
        let leading = turn.borrow().clone();
        if let Some(leading) = leading {
            leading.hand_over(HAND_OVER).await;
        }
        ending.cancel();
    });
    shutdown
}

/// What the gRPC port shows.
fn shown(service: Service, dead: DeadLetterService, turn: &Turn, way: &Way) -> impl Grpc {
    let replica = ReplicaService {
        log: service.log.clone(),
        shelf: dead.shelf.clone(),
        turn: turn.subscribe(),
    };
    let leader = Leader {
        log: service.log.clone(),
        way: way.subscribe(),
        shutdown: service.shutdown.clone(),
    };
    let (dead, service) = (DeadLettersServer::new(dead), EventLogServer::new(service));
    let clients = forward(leader, together(DEAD_LETTERS, dead, service));
    together(REPLICA, EventReplicaServer::new(replica), clients)
}

/// Alone, or as one of two replicas, in turns.
async fn take_over_events(
    settings: &Settings,
    telemetry: &Telemetry,
    work: Work,
    (turn, way): (Turn, Way),
    files: Arc<TlsFiles>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Some(address) = settings.replica_address() else {
        work.metrics.leads(true);
        return work.run(None, shutdown).await;
    };
    pgo_tls::provider();
    let client = kube::Client::try_default().await;
    let replica = Replica {
        log: work.log.clone(),
        shelf: work.shelf.clone(),
        me: settings.identity.clone(),
        address,
        namespace: settings.operator_namespace.clone(),
        client: client.context("find the API server of Kubernetes")?,
        turn,
        way,
        confirmations: work.confirmations.clone(),
        files,
        condition: telemetry.readiness().condition("replica"),
        metrics: work.metrics.clone(),
        gone_after: Duration::from_secs(settings.gone_seconds.into()),
    };
    work.connected.met();
    let lead = |leading, stop| work.run(Some(leading), stop);
    replica.run(lead, shutdown).await
}

async fn open(settings: &Settings) -> anyhow::Result<Log> {
    let (data, limits) = (settings.data.clone(), settings.limits());
    let alone = settings.replica_address().is_none();
    let open = if alone { Log::open } else { Log::open_replica };
    let log = spawn_blocking(move || open(&data, limits, Timestamp::now()))
        .await
        .context("open the log")??;
    log.set_follows(!alone);
    let (oldest, next) = (log.oldest(), *log.head().borrow());
    tracing::info!(oldest, next, bytes = log.bytes(), "the log is open");
    Ok(log)
}
