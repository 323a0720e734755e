//! Whether PGO was down before this process: nobody had renewed the Lease of the leader for a while.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};

/// A takeover between living processes takes no longer than the Lease and a restart of a pod.
const OUTAGE: SignedDuration = SignedDuration::from_secs(45);

/// Who leads this long after its begin did not end an outage: another led before.
const BEGIN: Duration = Duration::from_secs(30);

/// How long the API server may take to show the Lease.
const DEADLINE: Duration = Duration::from_secs(30);

/// What was seen at the begin of this process.
pub struct Outage {
    begun: Instant,
    seen: bool,
}

impl Outage {
    /// Looks at the Lease, before this process writes it.
    ///
    /// # Errors
    /// The API server does not show it.
    pub async fn look(client: &Client, namespace: &str) -> anyhow::Result<Self> {
        let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
        let lease = tokio::time::timeout(DEADLINE, api.get_opt(crate::LEASE))
            .await
            .context("the API server did not answer when asked for Lease pgo-reconciler")?
            .context("read Lease pgo-reconciler")?;
        let renewed = lease
            .and_then(|lease| lease.spec?.renew_time)
            .map(|renewed| renewed.0);
        let seen = renewed.is_some_and(|at| Timestamp::now().duration_since(at) > OUTAGE);
        Ok(Self {
            begun: Instant::now(),
            seen,
        })
    }

    /// Whether an outage ends with this process leading now.
    pub fn ended_now(&self) -> bool {
        self.seen && self.begun.elapsed() < BEGIN
    }
}
