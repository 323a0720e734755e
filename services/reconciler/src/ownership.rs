//! Whose a namespace is: two installations must not look after the same clusters.
//!
//! A Role gives a right to read its own namespace, but none to watch it, so that it is looked at again and again. What is
//! not known changes nothing: an API server that does not answer takes no namespace away.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt as _};
use pgo_crd::label::{INSTALLATION, Owner, VENDOR};
use tokio::time::{Instant, sleep, timeout};

use crate::metrics::Metrics;

/// Between two looks at a namespace.
const EVERY: Duration = Duration::from_secs(5);

/// How long Kubernetes may take for an answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// How often it is said that it cannot be found out.
const COMPLAINT: Duration = Duration::from_secs(30);

/// What is known of a namespace.
pub struct Ownership {
    namespaces: Api<Namespace>,
    namespace: String,
    installation: String,
    metrics: Metrics,
    /// As it was told last.
    owner: Option<Owner>,
    complained: Option<Instant>,
}

impl Ownership {
    /// Of a namespace that nothing is known of yet.
    pub fn new(client: &Client, namespace: &str, installation: &str, metrics: &Metrics) -> Self {
        Self {
            namespaces: Api::all(client.clone()),
            namespace: namespace.to_owned(),
            installation: installation.to_owned(),
            metrics: metrics.clone(),
            owner: None,
            complained: None,
        }
    }

    /// Name of the namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Waits until it belongs to this installation.
    pub async fn gained(&mut self) {
        while !self.look().await {
            sleep(EVERY).await;
        }
    }

    /// Waits until it is known to belong to this installation no more.
    pub async fn lost(&mut self) {
        loop {
            sleep(EVERY).await;
            if !self.look().await {
                return;
            }
        }
    }

    /// Whether it belongs to this installation, as far as that is known.
    async fn look(&mut self) -> bool {
        match timeout(DEADLINE, self.namespaces.get_opt(&self.namespace)).await {
            Ok(Ok(found)) => self.tell(found.map_or(Owner::Nobody, |namespace| {
                Owner::of(namespace.labels(), &self.installation)
            })),
            Ok(Err(error)) => self.complain(&error.to_string()),
            Err(_) => self.complain("Kubernetes does not answer"),
        }
        self.owner == Some(Owner::Us)
    }

    /// Says whose it is, where that is news.
    fn tell(&mut self, owner: Owner) {
        self.complained = None;
        if self.owner.as_ref() == Some(&owner) {
            return;
        }
        let namespace = self.namespace.as_str();
        let wanted = format!("{VENDOR}=crunchydata,{INSTALLATION}={}", self.installation);
        match &owner {
            Owner::Us => tracing::info!(namespace, "the namespace belongs to this installation"),
            Owner::Another(installation) => tracing::error!(
                namespace,
                installation,
                wanted,
                "the namespace belongs to another installation by its label {INSTALLATION}, so nothing is done for its \
                 clusters; take it out of NAMESPACE, or label it as wanted"
            ),
            Owner::Nobody => tracing::error!(
                namespace,
                wanted,
                "the namespace is not there or not labelled as one of this installation, so nothing is done for its \
                 clusters; install.sh labels those of NAMESPACE as wanted"
            ),
        }
        self.metrics.leaves_alone(namespace, owner != Owner::Us);
        self.owner = Some(owner);
    }

    /// Says that it cannot be found out; nothing changes by that.
    fn complain(&mut self, error: &str) {
        if self.complained.is_some_and(|at| at.elapsed() < COMPLAINT) {
            return;
        }
        self.complained = Some(Instant::now());
        let namespace = self.namespace.as_str();
        tracing::error!(
            namespace,
            error,
            known = self.owner.is_some(),
            "it cannot be found out whose the namespace is; until it is known, nothing is done for its clusters, and where \
             it was known, that holds. Has the installer given the reconciler its Role in it? It is tried again"
        );
    }
}
