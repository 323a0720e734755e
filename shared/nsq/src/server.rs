//! Where an nsqd is and how to speak with it.

use std::{fmt, sync::Arc, time::Duration};

use rustls::{ClientConfig, pki_types::ServerName};

use crate::{compression::Compression, secret::Secret};

/// One nsqd, and how to speak with it: the same for a [`Producer`](crate::Producer) and a
/// [`Consumer`](crate::Consumer).
///
/// ```
/// let mut server = nsq::Server::new("nsqd.example:4150");
/// server.heartbeat = std::time::Duration::from_secs(10);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Server {
    /// `host:port` of nsqd's TCP port; the host is resolved anew for each connection.
    pub address: String,
    /// TLS, if wanted. Without it the connection stays plain.
    pub tls: Option<Tls>,
    /// Compression, if wanted and nsqd offers it; none unless set.
    pub compression: Compression,
    /// For an nsqd that asks its clients for one (`--auth-http-address`). One that does not ask is not shown it.
    pub secret: Option<Secret>,
    /// The name under which nsqd lists the connection (its statistics, nsqadmin). The variable `HOSTNAME` unless set.
    pub client_id: String,
    /// What nsqd lists as the kind of client; name and version of this crate unless set.
    pub user_agent: String,
    /// How often nsqd sends a heartbeat; 30 s unless set. nsqd takes 1 s up to its `--max-heartbeat-interval` (60 s).
    /// A connection on which nothing came for two intervals and a second is given up.
    pub heartbeat: Duration,
    /// For name resolution and the TCP connection; 5 s unless set.
    pub connect_timeout: Duration,
    /// For identification, TLS handshake, authentication and subscription together; 5 s unless set.
    pub handshake_timeout: Duration,
    /// How long the socket may take nothing before the connection is given up; 5 s unless set.
    pub write_timeout: Duration,
    /// Delays between tries to connect.
    pub backoff: Backoff,
    /// Largest frame taken from nsqd, in bytes; 16 MiB unless set. It must exceed nsqd's `--max-msg-size` (1 MiB by
    /// default) by 30 bytes. A larger one means that the peer is no nsqd, or that the connection is out of step.
    pub max_frame: usize,
}

impl Server {
    /// The nsqd at `address` (`host:port`), plain, with default settings.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            tls: None,
            compression: Compression::None,
            secret: None,
            client_id: std::env::var("HOSTNAME").unwrap_or_else(|_| "localhost".to_owned()),
            user_agent: concat!("nsq-rust/", env!("CARGO_PKG_VERSION")).to_owned(),
            heartbeat: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(5),
            backoff: Backoff::default(),
            max_frame: 16 << 20,
        }
    }

    /// The same, with TLS: nsqd's certificate must be good for `server_name`.
    ///
    /// `config` is an `Arc<ClientConfig>`, or a [`TlsConfig::source`] where it changes while the process runs.
    #[must_use]
    pub fn with_tls(
        mut self,
        config: impl Into<TlsConfig>,
        server_name: ServerName<'static>,
    ) -> Self {
        self.tls = Some(Tls {
            config: config.into(),
            server_name,
        });
        self
    }

    /// The same, compressed where nsqd offers it.
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// The same, with a secret for an nsqd that asks for one.
    #[must_use]
    pub fn with_secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }
}

/// TLS towards nsqd.
#[derive(Clone)]
pub struct Tls {
    /// Roots, client certificate, versions.
    pub config: TlsConfig,
    /// The name that nsqd's certificate must carry.
    pub server_name: ServerName<'static>,
}

/// Where the TLS configuration of the next connection comes from.
#[derive(Clone)]
pub struct TlsConfig(Arc<dyn Fn() -> Arc<ClientConfig> + Send + Sync>);

impl TlsConfig {
    /// Asks `source` for each connection, so that renewed certificates are used from the next one on. It is called on the
    /// runtime, so it must not take long.
    pub fn source(source: impl Fn() -> Arc<ClientConfig> + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    pub(crate) fn current(&self) -> Arc<ClientConfig> {
        (self.0)()
    }
}

impl From<Arc<ClientConfig>> for TlsConfig {
    /// Always the same.
    fn from(config: Arc<ClientConfig>) -> Self {
        Self::source(move || config.clone())
    }
}

impl fmt::Debug for TlsConfig {
    /// What it gives holds a private key and is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsConfig").finish_non_exhaustive()
    }
}

impl fmt::Debug for Tls {
    /// The configuration holds a private key and is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// Delays after failures: they double from `initial` to `max`, and each is shortened by chance to not less than its half,
/// so that clients do not come back all at once.
///
/// The values of [`default`](Self::default) are those for connecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure; 50 ms unless set.
    pub initial: Duration,
    /// Never longer than this; 5 s unless set.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(50),
            max: Duration::from_secs(5),
        }
    }
}

/// How nsqd gathers messages before it writes them to a consumer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputBuffer {
    /// nsqd's defaults. On a quiet topic with `max_in_flight` above 1 a message then waits up to 250 ms.
    Server,
    /// No gathering: each message is written at once. Lowest latency, more system calls in nsqd.
    #[default]
    Off,
    /// Gather up to `bytes` (64 to 65536 with nsqd's defaults) or for `timeout` (25 ms to 30 s).
    Gather {
        /// Size of the buffer.
        bytes: u32,
        /// Longest time that a message waits in it.
        timeout: Duration,
    },
}
