//! The port of the REST interface.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use axum::{Router, extract::connect_info::Connected, serve::Listener};
use kube::Client;
use pgo_telemetry::{CancellationToken, Telemetry};
use pgo_tls::{Peer, TlsListener};
use tokio::net::TcpListener;

use crate::{Settings, app::App, request};

/// How long open requests may go on once the process is asked to end. Kubernetes waits 15 s before it kills (the
/// Deployment's terminationGracePeriodSeconds).
const GRACE: Duration = Duration::from_secs(10);

/// The server, listening and not yet serving.
pub struct Server {
    app: Arc<App>,
    socket: Socket,
    addr: SocketAddr,
}

enum Socket {
    Tls(TlsListener),
    Plain(TcpListener),
}

impl Server {
    /// Reads what is needed from Kubernetes and listens. It ends when `shutdown` is cancelled.
    ///
    /// # Errors
    /// A setting, pgo.yaml or a certificate cannot be used, Kubernetes does not answer, or the port is taken.
    pub async fn start(
        settings: &Settings,
        client: Client,
        telemetry: Telemetry,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Self> {
        let app = Arc::new(App::start(settings, client, telemetry, shutdown).await?);
        let addr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, settings.port()));
        let (socket, addr) = match app.rest_tls.clone() {
            Some(tls) => {
                let listener = TlsListener::bind(addr, Arc::new(move || tls.now())).await?;
                let addr = listener.addr();
                (Socket::Tls(listener), addr)
            }
            None => {
                let listener = TcpListener::bind(addr)
                    .await
                    .with_context(|| format!("cannot listen on {addr}"))?;
                let addr = listener.local_addr()?;
                (Socket::Plain(listener), addr)
            }
        };
        Ok(Self { app, socket, addr })
    }

    /// The address in use; its port is the system's choice where 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until the token given to [`Server::start`] is cancelled, and lets open requests end.
    ///
    /// # Errors
    /// Serving fails.
    pub async fn run(self) -> anyhow::Result<()> {
        let shutdown = self.app.shutdown.clone();
        let router = Router::new().fallback(request::handle).with_state(self.app);
        match self.socket {
            Socket::Tls(listener) => serve::<_, Peer>(listener, router, shutdown).await,
            Socket::Plain(listener) => serve::<_, SocketAddr>(listener, router, shutdown).await,
        }
    }
}

async fn serve<L, P>(listener: L, router: Router, shutdown: CancellationToken) -> anyhow::Result<()>
where
    L: Listener,
    L::Addr: std::fmt::Debug,
    P: for<'a> Connected<axum::serve::IncomingStream<'a, L>> + Clone + Send + Sync + 'static,
{
    let service = router.into_make_service_with_connect_info::<P>();
    let serving =
        axum::serve(listener, service).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let overdue = async {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = async { serving.await } => served.context("serving the REST interface"),
        () = overdue => {
            tracing::warn!("requests that were still open were cut off");
            Ok(())
        }
    }
}
