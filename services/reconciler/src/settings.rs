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
    /// host:port of nsqd; needed where events are published.
    #[arg(long, env = "EVENT_ADDR", default_value = "")]
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

/// There is no nsqd to publish to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "EVENT_ADDR is empty, so no event can be published; set it to host:port of nsqd, or DISABLE_EVENTING to true"
)]
pub struct NoNsqd;

impl Settings {
    /// Where events are published; nowhere if nothing is to be, whatever the address.
    ///
    /// # Errors
    /// They are to be published, and there is no address.
    pub fn publish_to(&self) -> Result<Option<&str>, NoNsqd> {
        match (self.disable_eventing.as_str(), self.event_addr.as_str()) {
            ("true", _) => Ok(None),
            (_, "") => Err(NoNsqd),
            (_, address) => Ok(Some(address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn with(more: &[&str]) -> Result<Settings, clap::Error> {
        let always = [
            "reconciler",
            "--operator-namespace=pgo",
            "--namespaces=pgouser1",
            "--identity=first",
            "--event-service=127.0.0.1:8444",
        ];
        Settings::try_parse_from(always.iter().chain(more))
    }

    #[test]
    fn an_installation_has_a_name() {
        assert!(with(&["--installation-name=one"]).is_ok());
        assert!(with(&["--installation-name="]).is_err());
    }

    #[test]
    fn an_address_to_publish_to_is_needed_only_where_something_is_published() {
        let to = |more: &[&str]| {
            let all = [&["--installation-name=one"], more].concat();
            let settings = with(&all).expect("settings");
            settings.publish_to().map(|to| to.map(str::to_owned))
        };
        let address = "--event-addr=nsqd:4150";
        let disabled = "--disable-eventing=true";
        assert_eq!(to(&[address]), Ok(Some("nsqd:4150".to_owned())));
        assert_eq!(to(&[]), Err(NoNsqd));
        assert_eq!(to(&["--disable-eventing=yes"]), Err(NoNsqd));
        assert_eq!(to(&[disabled]), Ok(None));
        assert_eq!(to(&[disabled, address]), Ok(None));
    }
}
