//! The REST interface of 4.1.
//!
//! ```text
//! request ─► certificate ─► route ─► user, permission ─► version ─► namespace ─► routes::… ─► Kubernetes
//!               403          404/405       401               ╰── Code "error" ──╯    │
//!                                                                                    ├─► PostgreSQL (test)
//!                                                                                    ├─► event service (events)
//!                                                                                    └─► NSQ (doorbells), of what was stored
//! ```
//!
//! What a request is checked against comes from watches ([`mirror`]): users, roles, namespaces and pgo.yaml as they are
//! now, without a call. What it asks for is done in Kubernetes, which is the only state: any number of these processes
//! may run at once.

mod access;
mod accounts;
mod agents;
mod app;
mod certificate;
mod configuration;
mod deadline;
mod doorbell;
mod events;
mod metrics;
mod mirror;
mod openapi;
mod refusal;
mod request;
mod rights;
mod routes;
mod server;
mod settings;

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

pub use openapi::openapi;
pub use rights::RIGHTS;
pub use server::Server;
pub use settings::{Settings, SettingsError};

/// Exit code where the process cannot start: 4.1's.
const EXIT_CANNOT_START: u8 = 2;

/// Runs the apiserver until the process is asked to end. If it cannot, that is said on standard error: a setting, pgo.yaml
/// or a certificate cannot be used, Kubernetes does not answer, or a port is taken.
pub async fn run(settings: Settings) -> ExitCode {
    match serve(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pgo-apiserver: {error:#}");
            ExitCode::from(EXIT_CANNOT_START)
        }
    }
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    settings.check()?;
    let logging = pgo_telemetry::Settings::from_env("apiserver", pgo_api::PGO_VERSION)?;
    let telemetry = pgo_telemetry::init(&logging)?;
    let shutdown = pgo_telemetry::shutdown()?;
    let admin = telemetry.bind(settings.admin_addr).await?;
    let admin = tokio::spawn(admin.run(shutdown.clone().cancelled_owned()));
    // Before anything that uses TLS.
    pgo_tls::provider();
    let client = connect(settings.kubeconfig.as_deref()).await?;
    let server = Server::start(&settings, client, telemetry, shutdown.clone()).await?;
    tracing::info!(addr = %server.addr(), tls = settings.tls(), "serving");
    server.run().await;
    admin.await?;
    Ok(())
}

async fn connect(kubeconfig: Option<&Path>) -> anyhow::Result<Client> {
    let config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path)
                .with_context(|| format!("cannot use the kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
        }
        None => Config::infer()
            .await
            .context("found neither KUBECONFIG nor the account of a pod")?,
    };
    Ok(Client::try_from(config)?)
}
