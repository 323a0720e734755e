//! The administration port.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::{get, put},
};
use tokio::net::TcpListener;

use crate::{NotReady, Telemetry, http};

/// Where the administration port is, if nothing else is set.
pub const ADMIN_ADDR: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 9090));

/// How long open requests may go on once the process ends; answers take milliseconds.
const GRACE: Duration = Duration::from_secs(1);

/// Longest filter text, in bytes; a filter with a directive for every module of PGO is shorter.
const FILTER_LIMIT: usize = 16 * 1024;

/// Media type of OpenMetrics text.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why the administration port is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be bound.
    #[error("administration port: cannot listen on {addr}: {cause}; is another process using it?")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// The cause.
        cause: std::io::Error,
    },
}

/// The administration port, bound and not yet served: connections wait.
pub struct AdminServer {
    listener: TcpListener,
    addr: SocketAddr,
    router: Router,
}

impl Telemetry {
    /// Binds the administration port to `addr`.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind(&self, addr: SocketAddr) -> Result<AdminServer, ServeError> {
        let failed = |cause| ServeError::Bind { addr, cause };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok(AdminServer {
            listener,
            addr,
            router: router(self.clone()),
        })
    }

    /// Serves the administration port on `addr` until `shutdown` is there.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn serve(
        &self,
        addr: SocketAddr,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        self.bind(addr).await?.run(shutdown).await;
        Ok(())
    }
}

impl AdminServer {
    /// The address in use; its port is the system's choice where 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `shutdown` is there, and lets open requests end.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) {
        http::serve(self.listener, self.router, |_, addr| addr, shutdown, GRACE).await;
    }
}

fn router(telemetry: Telemetry) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/log-level", put(log_level))
        .layer(DefaultBodyLimit::max(FILTER_LIMIT))
        .with_state(telemetry)
}

async fn livez(State(telemetry): State<Telemetry>) -> (StatusCode, String) {
    verdict(telemetry.readiness().alive())
}

async fn readyz(State(telemetry): State<Telemetry>) -> (StatusCode, String) {
    verdict(telemetry.readiness().check())
}

fn verdict(checked: Result<(), NotReady>) -> (StatusCode, String) {
    match checked {
        Ok(()) => (StatusCode::OK, "ok".to_owned()),
        Err(missing) => (StatusCode::SERVICE_UNAVAILABLE, missing.to_string()),
    }
}

async fn metrics(State(telemetry): State<Telemetry>) -> impl IntoResponse {
    ([(CONTENT_TYPE, OPENMETRICS)], telemetry.metrics_text())
}

async fn log_level(
    State(telemetry): State<Telemetry>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    filter: String,
) -> (StatusCode, String) {
    // The port is open to the cluster's network; who can forward a port to the pod may administer it.
    if !peer.ip().to_canonical().is_loopback() {
        return (
            StatusCode::FORBIDDEN,
            "only from the loopback address; use kubectl port-forward".to_owned(),
        );
    }
    match telemetry.filter.set(&filter) {
        Ok(()) => {
            tracing::info!(filter = filter.trim(), "what is logged was changed");
            (StatusCode::OK, "ok".to_owned())
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()),
    }
}
