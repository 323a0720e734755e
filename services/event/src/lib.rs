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
//! handle is kept by [`dead`].

pub mod auth;
pub mod consume;
pub mod dead;
mod faces;
pub mod filter;
pub mod http;
pub mod identity;
pub mod intake;
pub mod log;
pub mod metrics;
pub mod mirror;
pub mod news;
pub mod reader;
mod rights;
pub mod service;
mod settings;

use std::sync::Arc;

use anyhow::Context as _;
use faces::Faces;
use jiff::Timestamp;
use log::Log;
use metrics::Metrics;
use pgo_proto::event::event_log_server::EventLogServer;
use pgo_telemetry::{CancellationToken, Telemetry};
use pgo_tls::TlsFiles;
pub use rights::RIGHTS;
use service::Service;
pub use settings::Settings;
use tokio::{sync::broadcast, task::spawn_blocking};

/// Confirmations that a slow listener may be behind; after that it gets all watermarks.
const CONFIRMATIONS: usize = 1024;

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
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let log_open = telemetry.readiness().condition("log");
    let connected = telemetry.readiness().condition("nsqd");
    let metrics = Metrics::register(telemetry);
    let files = Arc::new(TlsFiles::open(&settings.tls_dir)?);

    let faces = Faces {
        settings,
        files: &files,
        metrics: &metrics,
        shutdown: &shutdown,
    };
    // Before all else: nsqd asks here whether this process may read.
    faces.auth().await?;
    let log = Arc::new(open(settings).await?);
    log_open.met();
    let (confirmations, _) = broadcast::channel(CONFIRMATIONS);

    faces.mirror(&log).await;
    let face = faces.http(&log).await?;
    let (undertaker, dead) = faces.dead_letters()?;
    let service = Service {
        log: log.clone(),
        confirmations: confirmations.clone(),
        metrics: metrics.clone(),
        shutdown: shutdown.clone(),
    };
    let listener = pgo_tls::grpc::listen(settings.listen, files.clone()).await?;
    tracing::info!(addr = %listener.addr(), "serving the log");
    let serving = pgo_tls::grpc::server().serve_with_incoming_shutdown(
        faces::both(EventLogServer::new(service), dead),
        listener,
        shutdown.clone().cancelled_owned(),
    );

    let nsqd = faces.nsqd()?;
    let _news = news::begin(&nsqd, &confirmations)?;
    let consumer = pgo_bus::history_consumer(nsqd, undertaker.after_many_attempts())?;
    tokio::spawn(consume::watch_connection(consumer.state(), connected));
    let consuming = consume::consume(
        consumer,
        log,
        confirmations,
        undertaker,
        metrics.clone(),
        shutdown.clone(),
    );

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

async fn open(settings: &Settings) -> anyhow::Result<Log> {
    let (data, limits) = (settings.data.clone(), settings.limits());
    let log = spawn_blocking(move || Log::open(&data, limits, Timestamp::now()))
        .await
        .context("open the log")??;
    let (oldest, next) = (log.oldest(), *log.head().borrow());
    tracing::info!(oldest, next, bytes = log.bytes(), "the log is open");
    Ok(log)
}
