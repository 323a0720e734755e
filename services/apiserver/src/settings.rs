//! What the environment and the flags say.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;
use pgo_telemetry::ADMIN_ADDR;

/// Port with TLS, as in 4.1.
const TLS_PORT: u16 = 8443;

/// Port without TLS.
const PLAIN_PORT: u16 = 8080;

/// One connection to the event service carries them all, and its HTTP/2 allows 200 requests at once (hyper's default): some are
/// left for dead letters, and for streams that are connected anew.
const EVENT_STREAMS: u16 = 150;

/// Routes that may be open to clients without a certificate, as in 4.1.2.
const OPEN_ROUTES: [&str; 2] = ["/health", "/healthz"];

/// The settings of the apiserver: 4.1's variables, and a flag for each.
#[derive(Clone, Debug, Parser)]
#[command(name = "pgo-apiserver", version, about = "The REST interface of PGO")]
pub struct Settings {
    /// Port of the REST interface; 8443, or 8080 without TLS.
    #[arg(long, env = "PORT")]
    pub port: Option<u16>,
    /// Exactly `true`: plain HTTP.
    #[arg(long, env = "DISABLE_TLS", default_value = "")]
    pub disable_tls: String,
    /// Comma list of paths open to clients without a certificate: /health; /healthz always is.
    #[arg(long, env = "NOAUTH_ROUTES", default_value = "")]
    pub noauth_routes: String,
    /// Namespace of PGO.
    #[arg(long, env = "PGO_OPERATOR_NAMESPACE")]
    pub operator_namespace: String,
    /// Name that namespaces of this installation carry in their label pgo-installation-name.
    #[arg(long, env = "PGO_INSTALLATION_NAME")]
    pub installation_name: String,
    /// Comma list of target namespaces; empty: all that carry the installation's labels.
    #[arg(long, env = "NAMESPACE", default_value = "")]
    pub namespaces: String,
    /// Folder with tls.crt, tls.key and ca.crt of this process.
    #[arg(long, env = "PGO_TLS_DIR", default_value = "/etc/pgo/tls")]
    pub tls_dir: PathBuf,
    /// host:port of nsqd, on which the other services are told of what was stored; empty: they learn of it from Kubernetes
    /// alone.
    #[arg(long, env = "EVENT_ADDR", default_value = "")]
    pub event_addr: String,
    /// Exactly `true`: as if EVENT_ADDR were empty.
    #[arg(long, env = "DISABLE_EVENTING", default_value = "")]
    pub disable_eventing: String,
    /// host:port of the event service; empty: there is no GET /events.
    #[arg(long, env = "EVENT_SERVICE", default_value = "")]
    pub event_service: String,
    /// So many GET /events may be open at once; further ones are answered with 503.
    #[arg(long, env = "PGO_EVENT_STREAMS", default_value_t = EVENT_STREAMS)]
    pub event_streams: u16,
    /// Path of a kubeconfig; without one: KUBECONFIG, then the pod's own account.
    #[arg(long, alias = "kubeconfig-path")]
    pub kubeconfig: Option<PathBuf>,
    /// Address of the administration port.
    #[arg(long, env = "PGO_ADMIN_ADDR", default_value_t = ADMIN_ADDR)]
    pub admin_addr: SocketAddr,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// A variable that must have a value has none.
    #[error("{0} is empty; set it")]
    Empty(&'static str),
    /// A path that must not be open.
    #[error(
        "NOAUTH_ROUTES names {0:?}, which is not supported; only /health and /healthz may be open"
    )]
    OpenRoute(String),
    /// An empty element in the list of namespaces.
    #[error(
        "'' (empty string), found within the NAMESPACE environment variable along with other namespaces; remove the surplus comma"
    )]
    EmptyNamespace,
}

impl Settings {
    /// Whether connections are TLS.
    pub fn tls(&self) -> bool {
        self.disable_tls != "true"
    }

    /// The port of the REST interface.
    pub fn port(&self) -> u16 {
        self.port
            .unwrap_or(if self.tls() { TLS_PORT } else { PLAIN_PORT })
    }

    /// The target namespaces; none: all that carry the labels.
    pub fn target_namespaces(&self) -> Vec<String> {
        list(&self.namespaces).map(str::to_owned).collect()
    }

    /// The paths that are open to clients without a certificate; one is so always, as since 4.1.2: probes have none.
    pub fn open_routes(&self) -> Vec<String> {
        let named = list(&self.noauth_routes).filter(|path| !path.is_empty());
        ["/healthz"]
            .into_iter()
            .chain(named)
            .map(str::to_owned)
            .collect()
    }

    /// Refuses what the process must not start with.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.operator_namespace.is_empty() {
            return Err(SettingsError::Empty("PGO_OPERATOR_NAMESPACE"));
        }
        if self.installation_name.is_empty() {
            return Err(SettingsError::Empty("PGO_INSTALLATION_NAME"));
        }
        if self.target_namespaces().iter().any(String::is_empty) {
            return Err(SettingsError::EmptyNamespace);
        }
        let mut open = self.open_routes().into_iter();
        match open.find(|path| !OPEN_ROUTES.contains(&path.as_str())) {
            Some(path) => Err(SettingsError::OpenRoute(path)),
            None => Ok(()),
        }
    }
}

/// The trimmed elements of a comma list; an empty text has none.
fn list(text: &str) -> impl Iterator<Item = &str> {
    let text = text.trim();
    text.split(',')
        .map(str::trim)
        .filter(move |_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(arguments: &[&str]) -> Settings {
        let needed = [
            "apiserver",
            "--operator-namespace=pgo",
            "--installation-name=one",
        ];
        Settings::parse_from(needed.iter().chain(arguments))
    }

    #[test]
    fn the_port_follows_from_tls_unless_it_is_given() {
        assert_eq!(settings(&[]).port(), 8443);
        assert_eq!(settings(&["--disable-tls=true"]).port(), 8080);
        assert_eq!(settings(&["--disable-tls=yes"]).port(), 8443);
        assert_eq!(settings(&["--port=9", "--disable-tls=true"]).port(), 9);
    }

    #[test]
    fn a_route_that_must_not_be_open_is_named() {
        let error = settings(&["--noauth-routes=/health, /version"]).check();
        assert_eq!(error, Err(SettingsError::OpenRoute("/version".to_owned())));
        assert_eq!(
            settings(&["--noauth-routes=/health,/healthz"]).check(),
            Ok(())
        );
    }

    #[test]
    fn an_empty_namespace_among_others_is_refused_and_none_at_all_is_not() {
        assert_eq!(
            settings(&["--namespaces=a,,b"]).check(),
            Err(SettingsError::EmptyNamespace)
        );
        assert_eq!(settings(&["--namespaces="]).check(), Ok(()));
        assert_eq!(
            settings(&["--namespaces=a, b"]).target_namespaces(),
            ["a", "b"]
        );
    }

    #[test]
    fn what_identifies_the_installation_must_be_given() {
        let mut settings = settings(&[]);
        settings.installation_name.clear();
        let error = settings.check();
        assert_eq!(error, Err(SettingsError::Empty("PGO_INSTALLATION_NAME")));
    }
}
