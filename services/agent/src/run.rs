//! `agent run`: puts the parts together.

use std::sync::Arc;

use anyhow::Context as _;
use kube::Client;
use nix::sys::signal::SigSet;
use pgo_proto::agent::agent_server::AgentServer;
use pgo_telemetry::{CancellationToken, Telemetry};
use pgo_tls::TlsFiles;

use crate::{
    cli::Settings,
    grpc,
    state::{Reporter, State},
    store::Kubernetes,
    supervise::Supervisor,
};

/// Threads besides those that wait for files: one for PostgreSQL, one for who asks.
const THREADS: usize = 2;

/// Runs until it is told to end, and PostgreSQL has stopped.
///
/// # Errors
/// Something that is needed from the beginning is missing: certificates, ports, the way to Kubernetes.
pub fn main(settings: Box<Settings>) -> anyhow::Result<()> {
    // Process 1 waits for signals and has all of them blocked, which its children inherit.
    SigSet::all()
        .thread_unblock()
        .context("cannot take signals")?;
    let version = env!("CARGO_PKG_VERSION");
    let telemetry = pgo_telemetry::init(&pgo_telemetry::Settings::from_env("agent", version)?)?;
    pgo_tls::provider();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(run(*settings, telemetry))
}

async fn run(settings: Settings, telemetry: Telemetry) -> anyhow::Result<()> {
    let stop = pgo_telemetry::shutdown().context("cannot take signals")?;
    let client = Client::try_default()
        .await
        .context("cannot find the way to Kubernetes; is the ServiceAccount's token mounted?")?;
    let store = Kubernetes::new(client, &settings.namespace, &settings.cluster);
    let served = serve(settings, store, telemetry, stop).await?;
    served.await
}

/// Opens the ports and starts the supervisor. The future that comes back ends when everything has.
///
/// # Errors
/// Certificates cannot be read, or a port cannot be bound.
pub async fn serve<S: crate::store::Store>(
    settings: Settings,
    store: S,
    telemetry: Telemetry,
    stop: CancellationToken,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>>> {
    let tls = Arc::new(TlsFiles::open(&settings.tls)?);
    let reporter = Reporter::new(State {
        cluster: settings.cluster.to_string(),
        instance: settings.instance.to_string(),
        pod_uid: settings.pod_uid.clone(),
        ..State::default()
    });
    let ended = CancellationToken::new();

    let admin = telemetry.bind(settings.admin).await?;
    let admin = tokio::spawn(admin.run(ended.clone().cancelled_owned()));
    let listener = pgo_tls::grpc::listen(settings.listen, tls.clone()).await?;
    let service = AgentServer::new(grpc::Service::new(reporter.watch(), settings.socket()));
    let grpc = pgo_tls::grpc::server().serve_with_incoming_shutdown(
        service,
        listener,
        ended.clone().cancelled_owned(),
    );
    let grpc = tokio::spawn(grpc);

    let supervisor = Supervisor::new(settings, store, tls, reporter, &telemetry);
    Ok(async move {
        // Its end drops the reporter, so that the streams of those who watch end, too.
        supervisor.run(stop).await;
        ended.cancel();
        grpc.await.context("the gRPC server broke off")??;
        admin.await.context("the administration port broke off")?;
        Ok(())
    })
}
