//! The reconciler: for each Pgcluster, observe → validate → plan → commit → execute → relay.
//!
//! | step | file |
//! |---|---|
//! | who leads, and what a leader does | `lib`, `leader` |
//! | what wakes a reconcile | `cache`, `agents`, `repositories`, `streams`, `confirmations`, `controller`; doorbells: `pgo_bus::Doorbells`, `pgo_k8s::ahead` |
//! | the steps in their order | `reconcile` |
//! | observe | `observe`, `complaints` |
//! | validate | `pgo_crd::desired` |
//! | plan, and which status and events follow | `pgo_core::plan`, `pgo_core::commit` |
//! | commit, one compare-and-swap | `write` |
//! | execute | `execute`, `execute/make`, `execute/remove`, `execute/own` |
//! | relay | `publishing`, `pgo_bus::Relay`; what has no room, and of clusters that are gone, `pages` |
//! | what 4.1 keeps elsewhere | `project` |
//! | what nothing is done for | `not_yet` |
//! | whose a namespace is | `ownership` |
//! | PGO itself | `installation`, `installation/services`, `installation/ready` |

mod agents;
mod cache;
mod call;
mod changes;
mod complaints;
mod conditions;
mod config;
mod confirmations;
mod context;
mod controller;
mod error;
mod execute;
mod installation;
mod leader;
mod metrics;
mod not_yet;
mod observe;
mod outage;
mod ownership;
mod pages;
mod passwords;
mod places;
mod policies;
mod preferred;
mod project;
mod publishing;
mod reconcile;
mod reloads;
mod repositories;
mod rights;
mod settings;
mod streams;
mod sure;
mod waker;
mod write;

use std::sync::Arc;

use anyhow::Context as _;
use kube::Client;
use pgo_crd::PGO_VERSION;
use pgo_k8s::lease::{Election, Leadership, LeaseSettings};
use pgo_telemetry::{CancellationToken, Telemetry};
use pgo_tls::TlsFiles;

pub use rights::RIGHTS;
pub use settings::Settings;

/// The Lease of who leads.
const LEASE: &str = "pgo-reconciler";

/// Runs until SIGTERM or until leadership is lost; what is under way is finished.
///
/// # Errors
/// It cannot begin: a setting, a certificate, Kubernetes or `pgo.yaml` is missing or wrong.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let logs = pgo_telemetry::Settings::from_env("reconciler", PGO_VERSION)?;
    let telemetry = pgo_telemetry::init(&logs)?;
    let shutdown = pgo_telemetry::shutdown().context("install the signal handlers")?;
    let admin = telemetry.bind(settings.admin_addr).await?;
    tokio::spawn(admin.run(shutdown.clone().cancelled_owned()));
    let client = Client::try_default()
        .await
        .context("find the API server of Kubernetes")?;
    serve(&settings, &telemetry, client, shutdown).await
}

/// What [`run`] does besides what belongs to the whole process: logs, signals and the administration port.
///
/// # Errors
/// As [`run`].
pub async fn serve(
    settings: &Settings,
    telemetry: &Telemetry,
    client: Client,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let started = telemetry.readiness().condition("started");
    let files = Arc::new(TlsFiles::open(&settings.tls_dir)?);
    let outage = tokio::select! {
        outage = outage::Outage::look(&client, &settings.operator_namespace) => outage?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let lease = LeaseSettings::new(&settings.operator_namespace, LEASE, &settings.identity);
    let election = Election::new(client.clone(), lease);
    let mut leadership = election.leadership();
    let ended = CancellationToken::new();
    let elected = tokio::spawn(election.run(ended.clone().cancelled_owned()));
    started.met();

    let led = tokio::select! {
        () = shutdown.cancelled() => false,
        led = leadership.wait_for(Leadership::is_leading) => led.is_ok(),
    };
    let result = if led {
        let lead = leader::lead(
            settings,
            telemetry,
            client,
            files,
            (outage.ended_now(), shutdown),
        );
        tokio::select! {
            result = lead => result,
            _ = leadership.wait_for(|now| !now.is_leading()) => {
                tracing::warn!("leadership was lost; ending, to begin anew as one who follows");
                Ok(())
            }
        }
    } else {
        Ok(())
    };
    ended.cancel();
    elected.await.context("give the Lease back")?;
    result
}
