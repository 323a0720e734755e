//! Settings of the process.

use std::{net::SocketAddr, path::PathBuf};

/// What the scheduler needs to know to begin; each also an environment variable.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "scheduler",
    version,
    about = "Keeps the schedules of backups and policies"
)]
pub struct Settings {
    /// Namespace of PGO itself.
    #[arg(long, env = "PGO_OPERATOR_NAMESPACE")]
    pub operator_namespace: String,
    /// Namespaces with schedules, a comma list.
    #[arg(long, env = "NAMESPACE", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Name of this process among its like; the pod's name.
    #[arg(long, env = "MY_POD_NAME")]
    pub identity: String,
    /// host:port of nsqd, on which it is told that a schedule has changed; empty: it learns of it from Kubernetes alone.
    #[arg(long, env = "EVENT_ADDR", default_value = "")]
    pub event_addr: String,
    /// Exactly `true`: as if EVENT_ADDR were empty.
    #[arg(long, env = "DISABLE_EVENTING", default_value = "")]
    pub disable_eventing: String,
    /// Folder with tls.crt, tls.key and ca.crt of this process; needed with nsqd.
    #[arg(long, env = "PGO_TLS_DIR", default_value = "/etc/pgo/tls")]
    pub tls_dir: PathBuf,
    /// File that is written at least every minute while the scheduler works.
    #[arg(
        long,
        env = "PGO_SCHEDULER_HEARTBEAT",
        default_value = "/tmp/scheduler.hb"
    )]
    pub heartbeat: PathBuf,
    /// Address of the administration port.
    #[arg(long, env = "PGO_ADMIN_ADDR", default_value = "0.0.0.0:9090")]
    pub admin_addr: SocketAddr,
}
