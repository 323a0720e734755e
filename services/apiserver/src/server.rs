//! The port of the REST interface.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use axum::Router;
use kube::Client;
use pgo_telemetry::{CancellationToken, Telemetry, serve};
use pgo_tls::{Connection, TlsListener};
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
    pub async fn run(self) {
        let ending = self.app.shutdown.clone().cancelled_owned();
        let router = Router::new().fallback(request::handle).with_state(self.app);
        let cut_off = match self.socket {
            Socket::Tls(listener) => {
                let who = |connection: &Connection, _| connection.peer().clone();
                serve(listener, router, who, ending, GRACE).await
            }
            Socket::Plain(listener) => serve(listener, router, |_, addr| addr, ending, GRACE).await,
        };
        if cut_off > 0 {
            tracing::warn!(cut_off, "requests that were still open were cut off");
        }
    }
}
