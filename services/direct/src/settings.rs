//! Settings of the process.

use std::{net::SocketAddr, path::PathBuf};

/// What the feeder needs to know to begin; each also an environment variable.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "direct",
    version,
    about = "Gives events to an nsqd that 4.1's clients read"
)]
pub struct Settings {
    /// host:port of the event service.
    #[arg(long, env = "EVENT_SERVICE")]
    pub event_service: String,
    /// Folder with tls.crt, tls.key and ca.crt of this process.
    #[arg(long, env = "PGO_TLS_DIR", default_value = "/etc/pgo/tls")]
    pub tls_dir: PathBuf,
    /// host:port of the nsqd that is fed, without TLS: it is in the same pod.
    #[arg(long, env = "PGO_DIRECT_NSQD", default_value = "127.0.0.1:4150")]
    pub nsqd: String,
    /// host:port of its HTTP.
    #[arg(long, env = "PGO_DIRECT_NSQD_HTTP", default_value = "127.0.0.1:4151")]
    pub nsqd_http: SocketAddr,
    /// Folder in which it is kept up to where the log was fed; without one, who reads nsqd misses what happens while the feeder
    /// is away.
    #[arg(long, env = "PGO_DIRECT_DATA")]
    pub data: Option<PathBuf>,
    /// Address of the administration port.
    #[arg(long, env = "PGO_ADMIN_ADDR", default_value = "0.0.0.0:9090")]
    pub admin_addr: SocketAddr,
}
