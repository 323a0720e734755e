//! A listener whose connections are through with their TLS handshake, for tonic and for axum.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::Stream;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{Error, peer_identities};

/// How long a client may take for its handshake; two round trips and two signatures fit many times.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// Handshakes at a time; more wait in the kernel's queue. Bounds memory, some 20 kB each.
const HANDSHAKES: usize = 256;

/// Pause after a failed accept: most often file descriptors are short, and some must be freed first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end. Handlers of tonic get it as connection information; who serves HTTP asks the [`Connection`].
#[derive(Clone, Debug)]
pub struct Peer {
    /// Address of the peer.
    pub addr: SocketAddr,
    /// The certificates it showed, its own first; none where the server does not insist.
    pub certificates: Arc<[CertificateDer<'static>]>,
}

impl Peer {
    /// The identity in the peer's certificate: its first DNS name.
    pub fn identity(&self) -> Option<String> {
        let names = peer_identities(self.certificates.first()?).ok()?;
        names.into_iter().next()
    }

    /// Whether the peer showed a certificate (that the server's configuration accepts).
    pub fn has_certificate(&self) -> bool {
        !self.certificates.is_empty()
    }
}

/// One connection, after its handshake.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
}

impl Connection {
    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

/// Where the configuration for the next connection comes from; it may change between connections.
pub type ConfigSource = Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;

/// Accepts connections and does their handshakes beside each other, so that a slow client delays no other.
///
/// It is a [`Stream`] for tonic's `serve_with_incoming` and an [`axum::serve::Listener`]. Dropping it closes the port.
#[derive(Debug)]
pub struct TlsListener {
    ready: mpsc::Receiver<Connection>,
    addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl TlsListener {
    /// Listens on `addr`.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind(addr: SocketAddr, config: ConfigSource) -> Result<Self, Error> {
        let failed = |cause| Error::Bind { addr, cause };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let (sender, ready) = mpsc::channel(1);
        Ok(Self {
            ready,
            addr,
            accepting: tokio::spawn(accept(listener, config, sender)),
        })
    }

    /// The address in use; its port is the system's choice where 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, config: ConfigSource, ready: mpsc::Sender<Connection>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(permit) = handshakes.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, addr)) => {
                let acceptor = TlsAcceptor::from(config());
                tokio::spawn(handshake(stream, addr, acceptor, ready.clone(), permit));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn handshake(
    stream: TcpStream,
    addr: SocketAddr,
    acceptor: TlsAcceptor,
    ready: mpsc::Sender<Connection>,
    permit: OwnedSemaphorePermit,
) {
    // Small answers must not wait for more to send.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%addr, %error, "no TCP_NODELAY");
    }
    let stream = match tokio::time::timeout(HANDSHAKE_DEADLINE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        // What a TCP probe does: not worth a line.
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            tracing::debug!(%addr, %error, "connection ended before its handshake");
            return;
        }
        Ok(Err(error)) => {
            tracing::info!(%addr, %error, "TLS handshake failed");
            return;
        }
        Err(_) => {
            tracing::info!(%addr, "TLS handshake took too long");
            return;
        }
    };
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let peer = Peer {
        addr,
        certificates: certificates.into(),
    };
    // Nobody takes it: the listener was dropped in the meantime.
    let _ = ready.send(Connection { stream, peer }).await;
    // Until here: connections that the server does not take yet count, too.
    drop(permit);
}

impl Stream for TlsListener {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready
            .poll_recv(context)
            .map(|connection| connection.map(Ok))
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.ready.recv().await {
            Some(connection) => {
                let addr = connection.peer.addr;
                (connection, addr)
            }
            // The accepting task never ends before this listener does.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}

impl tonic::transport::server::Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
