//! Settings of the process.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;

pub use crate::installation::ReadyUrl;
use crate::installation::named_url;

/// What the reconciler needs to know to begin; each also an environment variable.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "reconciler",
    version,
    about = "Makes what is there what was asked for"
)]
pub struct Settings {
    /// Namespace of PGO itself.
    #[arg(long, env = "PGO_OPERATOR_NAMESPACE")]
    pub operator_namespace: String,
    /// Name that namespaces of this installation carry in their label pgo-installation-name.
    #[arg(long, env = "PGO_INSTALLATION_NAME", value_parser = NonEmptyStringValueParser::new())]
    pub installation_name: String,
    /// Namespaces with clusters, a comma list.
    #[arg(long, env = "NAMESPACE", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Name of this process among its like; the pod's name.
    #[arg(long, env = "MY_POD_NAME")]
    pub identity: String,
    /// Folder with tls.crt, tls.key and ca.crt of this process.
    #[arg(long, env = "PGO_TLS_DIR", default_value = "/etc/pgo/tls")]
    pub tls_dir: PathBuf,
    /// Folder with tls.crt and tls.key of the authority that the agents' certificates come from.
    #[arg(long, env = "PGO_CA_DIR", default_value = "/etc/pgo/ca")]
    pub ca_dir: PathBuf,
    /// host:port of nsqd.
    #[arg(long, env = "EVENT_ADDR")]
    pub event_addr: String,
    /// host:port of the event service.
    #[arg(long, env = "EVENT_SERVICE")]
    pub event_service: String,
    /// Exactly `true`: nothing is published.
    #[arg(long, env = "DISABLE_EVENTING", default_value = "")]
    pub disable_eventing: String,
    /// Where PGO's other services do not run in pods of its namespace: a comma list of name=url, each answered with 200
    /// where that service is ready. Empty: as their Deployments and StatefulSets say.
    #[arg(long, env = "PGO_READY_URLS", value_delimiter = ',', value_parser = named_url)]
    pub ready_urls: Vec<(String, ReadyUrl)>,
    /// Address of the administration port.
    #[arg(long, env = "PGO_ADMIN_ADDR", default_value = "0.0.0.0:9090")]
    pub admin_addr: std::net::SocketAddr,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn an_installation_has_a_name() {
        let named = |name: &str| {
            let name = format!("--installation-name={name}");
            Settings::try_parse_from([
                "reconciler",
                "--operator-namespace=pgo",
                "--namespaces=pgouser1",
                "--identity=first",
                "--event-addr=127.0.0.1:4150",
                "--event-service=127.0.0.1:8444",
                &name,
            ])
        };
        assert!(named("one").is_ok());
        assert!(named("").is_err());
    }
}
