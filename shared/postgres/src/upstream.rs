//! The server that a standby follows, and how it is reached: over TLS, by a certificate, without a password.

use std::{net::IpAddr, path::PathBuf};

/// Role that instances of a cluster replicate as. It has no password: the agents' certificate opens it, nothing else.
pub const ROLE: &str = "pgo_replication";

/// A server to replicate from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Name in its certificate.
    pub identity: String,
    /// Address it is reached at.
    pub address: IpAddr,
    /// Port of PostgreSQL.
    pub port: u16,
    /// Name of who replicates, as the server shows it.
    pub application: String,
    /// Certificate of who replicates.
    pub certificate: PathBuf,
    /// Its key, which only its owner may read: libpq refuses others.
    pub key: PathBuf,
    /// Authority that signed the server's certificate.
    pub authority: PathBuf,
}

impl Upstream {
    /// The connection in libpq's form (documentation, "Connection Strings"); `database` where one is needed.
    pub fn conninfo(&self, database: Option<&str>) -> String {
        let path = |path: &PathBuf| path.display().to_string();
        let mut pairs = vec![
            ("host", self.identity.clone()),
            ("hostaddr", self.address.to_string()),
            ("port", self.port.to_string()),
            ("user", ROLE.to_owned()),
            ("application_name", self.application.clone()),
            ("sslmode", "verify-full".to_owned()),
            ("sslrootcert", path(&self.authority)),
            ("sslcert", path(&self.certificate)),
            ("sslkey", path(&self.key)),
            // Who is gone without a word is noticed by then.
            ("connect_timeout", "5".to_owned()),
            ("keepalives_idle", "5".to_owned()),
            ("keepalives_interval", "2".to_owned()),
            ("keepalives_count", "3".to_owned()),
        ];
        if let Some(database) = database {
            pairs.push(("dbname", database.to_owned()));
        }
        let pairs = pairs
            .iter()
            .map(|(key, value)| format!("{key}={}", quoted(value)));
        pairs.collect::<Vec<_>>().join(" ")
    }
}

/// A value of a connection string.
fn quoted(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('\'', "\\'");
    format!("'{value}'")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_connection_is_verified_and_holds_no_password() {
        let upstream = Upstream {
            identity: "hippo.pgouser1.agent.pgo".to_owned(),
            address: Ipv4Addr::new(10, 0, 0, 7).into(),
            port: 5432,
            application: "hippo-ab'cd".to_owned(),
            certificate: "/pgo/tls/tls.crt".into(),
            key: "/run/postgresql/agent.key".into(),
            authority: "/pgo/tls/ca.crt".into(),
        };
        let text = upstream.conninfo(None);
        assert!(
            text.starts_with("host='hippo.pgouser1.agent.pgo' hostaddr='10.0.0.7' port='5432'")
        );
        assert!(
            text.contains("sslmode='verify-full'")
                && text.contains("application_name='hippo-ab\\'cd'")
        );
        assert!(!text.contains("password") && !text.contains("dbname"));
        assert!(
            upstream
                .conninfo(Some("postgres"))
                .ends_with("dbname='postgres'")
        );
    }
}
