//! The certificates of PGO's own services, as the installer keeps them in Secrets.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use pgo_core::installation::certificates::{CertificateFacts, Renewal};
use pgo_tls::{Details, pem};

/// Names of the Secrets.
pub const CERTIFICATES: &[&str] = &[
    "pgo-ca",
    "pgo.tls",
    "pgo-apiserver-tls",
    "pgo-reconciler-tls",
    "pgo-scheduler-tls",
    "pgo-event-tls",
    "pgo-direct-tls",
    "pgo-nsqd-tls",
];

/// Those of which the installer makes no new one while they are there: all that trust them have to be given it.
const KEPT: [&str; 2] = ["pgo-ca", "pgo.tls"];

/// How often they are read. They end after months; who renews one wants to see it.
const READ: Duration = Duration::from_secs(10);

/// The certificates, as they were read last.
pub struct Certificates {
    api: Api<Secret>,
    read: Option<Instant>,
    found: Option<Vec<CertificateFacts>>,
}

impl Certificates {
    /// Those of the installation in a namespace.
    pub fn of(client: &Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client.clone(), namespace),
            read: None,
            found: None,
        }
    }

    /// Those that are there; none where they could never be read. What fails is logged: nothing else waits for it.
    pub async fn look(&mut self) -> Option<Vec<CertificateFacts>> {
        if self.read.is_none_or(|read| read.elapsed() >= READ) {
            match self.all().await {
                Ok(found) => self.found = Some(found),
                Err(error) => tracing::warn!(
                    error = format!("{error:#}"),
                    "cannot see when the certificates of PGO's services end"
                ),
            }
            self.read = Some(Instant::now());
        }
        self.found.clone()
    }

    async fn all(&self) -> anyhow::Result<Vec<CertificateFacts>> {
        let mut found = Vec::new();
        for name in CERTIFICATES {
            let secret = self.api.get_opt(name).await;
            let secret = secret.with_context(|| format!("read Secret {name}"))?;
            let Some(secret) = secret else { continue };
            match facts(name, &secret) {
                Ok(facts) => found.push(facts),
                Err(error) => tracing::warn!(
                    secret = name,
                    error = format!("{error:#}"),
                    "no certificate"
                ),
            }
        }
        Ok(found)
    }
}

fn facts(name: &str, secret: &Secret) -> anyhow::Result<CertificateFacts> {
    let data = secret.data.as_ref().and_then(|data| data.get("tls.crt"));
    let text = data.context("it has no tls.crt")?;
    let certificates = pem::certificates(&text.0, name)?;
    let own = certificates.first().context("its tls.crt is empty")?;
    Ok(CertificateFacts {
        secret: name.to_owned(),
        until: Details::of(own)?.validity.not_after,
        renewal: if KEPT.contains(&name) {
            Renewal::ByRemoval
        } else {
            Renewal::ByInstaller
        },
    })
}
