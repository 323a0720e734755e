//! Settings of the process.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use crate::log::Limits;

/// What the event service needs to know to begin; each also an environment variable.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "event",
    version,
    about = "Keeps all events, and shows them to who asks"
)]
pub struct Settings {
    /// Namespace of PGO itself.
    #[arg(long, env = "PGO_OPERATOR_NAMESPACE", default_value = "pgo")]
    pub operator_namespace: String,
    /// Name of this process among its like; the pod's name.
    #[arg(long, env = "MY_POD_NAME", default_value = "")]
    pub identity: String,
    /// Address at which the other replica can ask this one, the pod's; none where there is no other.
    #[arg(long, env = "MY_POD_IP")]
    pub pod_ip: Option<IpAddr>,
    /// A replica that has not everything goes on without the other after this many seconds, in a new epoch.
    #[arg(long, env = "PGO_EVENT_GONE_SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(30..))]
    pub gone_seconds: u32,
    /// host:port of nsqd.
    #[arg(long, env = "EVENT_ADDR")]
    pub event_addr: String,
    /// Folder with tls.crt, tls.key and ca.crt of this process.
    #[arg(long, env = "PGO_TLS_DIR", default_value = "/etc/pgo/tls")]
    pub tls_dir: PathBuf,
    /// Folder of the log.
    #[arg(long, env = "PGO_EVENT_DATA", default_value = "/data")]
    pub data: PathBuf,
    /// Events are kept for this many days.
    #[arg(long, env = "PGO_EVENT_RETENTION_DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub retention_days: u32,
    /// The log's files take at most this many bytes, and never more than three quarters of their volume; older events go
    /// first.
    #[arg(long, env = "PGO_EVENT_RETENTION_BYTES", default_value_t = 1 << 30)]
    pub retention_bytes: u64,
    /// A file of the log is closed at this size in bytes; what goes, goes by files.
    #[arg(long, env = "PGO_EVENT_SEGMENT_BYTES", default_value_t = 16 << 20)]
    pub segment_bytes: u64,
    /// Address of the gRPC port.
    #[arg(long, env = "PGO_EVENT_LISTEN", default_value = "0.0.0.0:8444")]
    pub listen: SocketAddr,
    /// Address of the HTTP port.
    #[arg(long, env = "PGO_EVENT_HTTP_LISTEN", default_value = "0.0.0.0:8446")]
    pub http_listen: SocketAddr,
    /// So many readers over HTTP may there be at a time.
    #[arg(long, env = "PGO_EVENT_HTTP_READERS", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub http_readers: u32,
    /// Address of the port where nsqd asks what its clients may do.
    #[arg(long, env = "PGO_EVENT_AUTH_LISTEN", default_value = "0.0.0.0:8447")]
    pub auth_listen: SocketAddr,
    /// For so many seconds nsqd need not ask again.
    #[arg(long, env = "PGO_EVENT_AUTH_TTL", default_value_t = 86_400, value_parser = clap::value_parser!(u32).range(1..=31_536_000))]
    pub auth_ttl: u32,
    /// Folder with a file for each consumer that was withdrawn, called as NAME of NAME.consumer.pgo; it need not be there.
    #[arg(
        long,
        env = "PGO_EVENT_WITHDRAWN_DIR",
        default_value = "/etc/pgo/withdrawn"
    )]
    pub withdrawn_dir: PathBuf,
    /// Whether events are mirrored to Kubernetes Events: the process needs a kubeconfig or the account of its pod then.
    #[arg(long, env = "PGO_EVENT_MIRROR", default_value_t = false, action = clap::ArgAction::Set)]
    pub mirror: bool,
    /// Address of the administration port.
    #[arg(long, env = "PGO_ADMIN_ADDR", default_value = "0.0.0.0:9090")]
    pub admin_addr: SocketAddr,
}

impl Settings {
    /// Where the other replica can ask this one; none where there is no other.
    pub fn replica_address(&self) -> Option<String> {
        let ip = self.pod_ip?;
        Some(SocketAddr::new(ip, self.listen.port()).to_string())
    }

    /// What is kept.
    pub fn limits(&self) -> Limits {
        Limits {
            segment_bytes: self.segment_bytes,
            most_bytes: self.retention_bytes,
            longest: Duration::from_secs(u64::from(self.retention_days) * 86_400),
        }
    }
}
