//! Cron schedules: what is due when, each time once.
//!
//! ```text
//! ConfigMap crunchy-scheduler=true ─► schedule (parse) ─► book ─► due at `now`? ─► annotation, by compare-and-swap
//!     ▲ watches, and doorbells           timetable ────────┤                        ─► Pgtask ─► note on the Pgcluster
//! Pgcluster, Pgtask ─► around ─────────────────────────────┘                         (log, metric)
//! ```

mod around;
pub mod book;
pub mod heartbeat;
pub mod metrics;
mod news;
mod perform;
mod rights;
pub mod rounds;
pub mod run;
pub mod schedule;
mod settings;

use std::sync::Arc;

use anyhow::Context as _;
use heartbeat::Heartbeat;
use kube::Client;
use metrics::Metrics;
use pgo_bus::{Doorbells, Doorman};
use pgo_k8s::lease::{Election, LeaseSettings};
use pgo_schedule::timetable;
use pgo_telemetry::CancellationToken;
use pgo_tls::TlsFiles;
pub use rights::RIGHTS;
use rounds::Rounds;
pub use settings::Settings;

/// Name of the Lease.
const LEASE: &str = "pgo-scheduler";

/// Runs the scheduler until the process is asked to end.
///
/// # Errors
/// A setting cannot be used, the administration port cannot be bound, or there is no API server of Kubernetes to be found.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let telemetry = pgo_telemetry::init(&pgo_telemetry::Settings::from_env("scheduler", version)?)?;
    let shutdown = pgo_telemetry::shutdown()?;
    let admin = telemetry.bind(settings.admin_addr).await?;
    let admin = tokio::spawn(admin.run(shutdown.clone().cancelled_owned()));
    let going = rounds::going(&telemetry);

    pgo_tls::provider();
    let client = Client::try_default()
        .await
        .context("find the API server of Kubernetes")?;
    let lease = LeaseSettings::new(&settings.operator_namespace, LEASE, &settings.identity);
    let election = Election::new(client.clone(), lease);
    let doorbells = doorbells(&settings)?;
    let rounds = Rounds {
        client,
        operator_namespace: settings.operator_namespace,
        clock: Arc::new(jiff::Timestamp::now),
        doorbells,
        namespaces: settings.namespaces,
        leadership: election.leadership(),
        heartbeat: Heartbeat::new(settings.heartbeat),
        going,
        metrics: Metrics::register(&telemetry),
    };
    let over = CancellationToken::new();
    let elected = tokio::spawn(election.run(over.clone().cancelled_owned()));
    rounds.run(shutdown).await;
    over.cancel();
    elected.await.context("give the Lease back")?;
    admin.await?;
    Ok(())
}

/// What is rung for on nsqd, where there is one.
fn doorbells(settings: &Settings) -> anyhow::Result<Doorbells> {
    let doorbells = Doorbells::default();
    if !settings.event_addr.is_empty() && settings.disable_eventing != "true" {
        let files = Arc::new(TlsFiles::open(&settings.tls_dir)?);
        let tls = nsq::TlsConfig::source(move || files.client_config());
        let nsqd = pgo_bus::server(&settings.event_addr, tls).context("EVENT_ADDR")?;
        tokio::spawn(doorbells.clone().hear(Doorman::at(nsqd, "scheduler")?));
    }
    Ok(doorbells)
}
