//! The feeder of the second nsqd, that of 4.1's direct watch.
//!
//! ```text
//! event service ─Read─► log ─► feed ─► nsqd of this pod ─► pgo watch --pgo-event-address, through a forwarded port
//!                               └── subscribers: topics that somebody reads
//! ```
//!
//! It is live, as 4.1 is: what happens while somebody reads a topic goes there, each event once and in the log's order.
//! Nothing is kept here or in that nsqd for somebody who may come: the history is in the event service. Up to where the log
//! was fed is kept as long as the pod, for those who stay connected while this process is away.

mod feed;
mod log;
mod metrics;
mod place;
mod settings;
mod subscribers;

use std::sync::Arc;

use anyhow::Context as _;
use feed::Feed;
use log::Log;
use metrics::Metrics;
use nsq::{Server, State};
use pgo_bus::NsqPublisher;
use pgo_telemetry::{CancellationToken, Condition, Telemetry};
use pgo_tls::TlsFiles;
use place::Place;
pub use settings::Settings;
use subscribers::Subscribers;
use tokio::sync::watch;

/// Identity of the event service.
const EVENT: &str = "event.pgo";

/// Runs the feeder until the process is asked to end.
///
/// # Errors
/// A setting or a certificate cannot be used, or the administration port cannot be bound.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let telemetry = pgo_telemetry::init(&pgo_telemetry::Settings::from_env("direct", version)?)?;
    let shutdown = pgo_telemetry::shutdown().context("install the signal handlers")?;
    let admin = telemetry.bind(settings.admin_addr).await?;
    let admin = tokio::spawn(admin.run(shutdown.clone().cancelled_owned()));
    serve(&settings, &telemetry, shutdown).await?;
    admin.await?;
    Ok(())
}

/// What [`run`] does besides what belongs to the whole process: logs, signals and the administration port.
///
/// # Errors
/// A setting or a certificate cannot be used.
pub async fn serve(
    settings: &Settings,
    telemetry: &Telemetry,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let following = telemetry.readiness().condition("log");
    let connected = telemetry.readiness().condition("nsqd");
    let files = Arc::new(TlsFiles::open(&settings.tls_dir)?);
    let channel =
        pgo_tls::grpc::channel(&settings.event_service, EVENT, files).context("EVENT_SERVICE")?;
    let nsqd = NsqPublisher::connect(Server::new(&settings.nsqd));
    let watching = tokio::spawn(watch_connection(nsqd.state(), connected));
    let feed = Feed {
        log: Log::new(channel, following, Place::in_folder(settings.data.clone())),
        subscribers: Subscribers::of(settings.nsqd_http),
        nsqd,
        metrics: Metrics::register(telemetry),
    };
    tokio::select! {
        () = feed.run() => {}
        () = shutdown.cancelled() => {}
    }
    watching.abort();
    Ok(())
}

/// Tells the readiness whether nsqd is there.
async fn watch_connection(mut state: watch::Receiver<State>, condition: Condition) {
    loop {
        match &*state.borrow_and_update() {
            State::Connected => condition.met(),
            State::Disconnected { reason } => condition.not_met(reason.to_string()),
            _ => condition.not_met("connecting"),
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}
