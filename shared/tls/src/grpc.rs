//! gRPC between our processes: who is called is named by identity, wherever it is.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Request, Status,
    transport::{Channel, Endpoint, Server},
};

use crate::{Error, Peer, TlsFiles, TlsListener, listener::HANDSHAKE_DEADLINE};

/// How long it may take to reach a process, handshake included.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Interval of HTTP/2 pings. With the time for the answer, a peer whose node is gone is known within 15 s.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// How long a ping may stay without an answer.
const PING_DEADLINE: Duration = Duration::from_secs(5);

/// How much of one answer may wait here unread: a reader of a stream that stops holds no more than this. On one machine
/// or in one network it is far more than is on its way at a time.
const STREAM_WINDOW: u32 = 256 * 1024;

/// How much of all answers of a channel may wait here: as much as HTTP/2 allows (RFC 9113, section 6.9.1). Whatever streams
/// are not read, what they hold of it leaves the others their own window.
const CONNECTION_WINDOW: u32 = i32::MAX.unsigned_abs();

/// Listens on `addr` with the certificates in `files`: clients must show one of the same authority.
///
/// # Errors
/// The address cannot be bound.
pub async fn listen(addr: SocketAddr, files: Arc<TlsFiles>) -> Result<TlsListener, Error> {
    TlsListener::bind(addr, Arc::new(move || files.server_config())).await
}

/// A server that notices clients whose node is gone, as [`channel`] does it with servers: what it holds for them would
/// stay for ever otherwise.
pub fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_DEADLINE))
}

/// A channel to the process `identity` at `address` (`host:port`). It connects when first used, and anew as needed.
///
/// Its streams have back-pressure of their own: one that is not read slows no other.
///
/// # Errors
/// `address` or `identity` cannot be one.
pub fn channel(address: &str, identity: &str, files: Arc<TlsFiles>) -> Result<Channel, Error> {
    let wrong = || Error::Address(address.to_owned());
    let authority: http::uri::Authority = address.parse().map_err(|_| wrong())?;
    let port = authority.port_u16().ok_or_else(wrong)?;
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(identity.to_owned())
        .map_err(|_| Error::Identity(identity.to_owned()))?;
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| wrong())?
        .connect_timeout(CONNECT_DEADLINE)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_DEADLINE)
        .keep_alive_while_idle(true);
    let connector = tower::service_fn(move |_: http::Uri| {
        let (host, name, files) = (host.clone(), name.clone(), files.clone());
        async move { connect(&host, port, name, &files).await.map(TokioIo::new) }
    });
    Ok(endpoint.connect_with_connector_lazy(connector))
}

async fn connect(
    host: &str,
    port: u16,
    name: ServerName<'static>,
    files: &TlsFiles,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let connector = TlsConnector::from(files.client_config());
    tokio::time::timeout(HANDSHAKE_DEADLINE, connector.connect(name, stream))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "TLS handshake took too long"))?
}

/// The caller's identity, if it is one of `allowed`: what a method checks first.
///
/// # Errors
/// `unauthenticated` where there is no certificate, `permission_denied` where it is another's.
pub fn require_identity<T>(request: &Request<T>, allowed: &[&str]) -> Result<String, Status> {
    let identity = request
        .extensions()
        .get::<Peer>()
        .and_then(Peer::identity)
        .ok_or_else(|| Status::unauthenticated("no client certificate with a DNS name"))?;
    if allowed.contains(&identity.as_str()) {
        Ok(identity)
    } else {
        Err(Status::permission_denied(format!(
            "{identity} may not call this; allowed: {}",
            allowed.join(", ")
        )))
    }
}
