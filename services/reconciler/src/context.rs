//! What every reconcile shares.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use kube::{Client, ResourceExt as _};
use pgo_core::Cluster;
use pgo_crd::{Pgcluster, PgoConfig, label};
use pgo_events::Outbox;
use pgo_ids::{Namespace, StreamId};
use pgo_objects::LogSettings;
use pgo_tls::Authority;
use tokio::sync::watch;

use crate::{
    agents::Agents, cache::Cache, changes::Changes, metrics::Metrics, observe::Looks,
    places::Places, policies::Policies, preferred::Nodes, publishing::Publishing, reloads::Reloads,
    repositories::Repositories, waker::Waker,
};

/// What every reconcile of one namespace shares.
pub struct Context {
    /// Kubernetes.
    pub client: Client,
    /// The operator's own namespace.
    pub operator_namespace: Namespace,
    /// What is there in the namespace.
    pub cache: Cache,
    /// What the agents say.
    pub agents: Agents,
    /// What those of repositories of backups say.
    pub repositories: Repositories,
    /// Signs the agents' certificates.
    pub authority: Arc<Authority>,
    /// `pgo.yaml`, as it is now.
    pub config: watch::Receiver<Arc<PgoConfig>>,
    /// The nodes whose instances become primary rather than others that are as far.
    pub preferred_nodes: watch::Receiver<Nodes>,
    /// What the agents log and how.
    pub agent_logs: LogSettings,
    /// Publishes outboxes.
    pub publishing: Publishing,
    /// Which clusters are being upgraded.
    pub upgrades: Places,
    /// Of which clusters a backup is being tried.
    pub drills: Places,
    waker: Waker,
    /// Counts.
    pub metrics: Metrics,
    /// Objects as this process wrote them last, for as long as the cache has not seen that.
    written: Mutex<HashMap<String, Written>>,
    /// What agents answer that are asked for another primary, or for a restart.
    pub changes: Changes,
    /// What agents answered that were asked for a reload.
    pub reloads: Reloads,
    /// What agents answered that were asked to apply a policy.
    pub policies: Policies,
    /// What Kubernetes said of clusters that go.
    pub looks: Looks,
    /// What Kubernetes refused of a cluster's last plan, by uid.
    refused: Mutex<HashMap<String, String>>,
}

struct Written {
    /// Version the write began from.
    from: Option<String>,
    object: Arc<Pgcluster>,
}

impl Context {
    /// A context in which nothing was written yet.
    #[allow(
        clippy::too_many_arguments,
        reason = "each is a part of its own, and this is where they meet"
    )]
    pub fn new(
        client: Client,
        operator_namespace: Namespace,
        cache: Cache,
        (agents, repositories): (Agents, Repositories),
        authority: Arc<Authority>,
        (config, preferred_nodes): (watch::Receiver<Arc<PgoConfig>>, watch::Receiver<Nodes>),
        agent_logs: LogSettings,
        publishing: Publishing,
        (upgrades, drills): (Places, Places),
        waker: Waker,
        metrics: Metrics,
    ) -> Self {
        Self {
            client,
            operator_namespace,
            cache,
            agents,
            repositories,
            authority,
            config,
            preferred_nodes,
            agent_logs,
            publishing,
            upgrades,
            drills,
            waker,
            metrics,
            written: Mutex::default(),
            changes: Changes::default(),
            reloads: Reloads::default(),
            policies: Policies::default(),
            looks: Looks::default(),
            refused: Mutex::default(),
        }
    }

    /// Publishes what is unconfirmed of a cluster, which is reconciled again when it is stored.
    pub async fn offer(&self, cluster: &Cluster, outbox: &Outbox) {
        let wake = self.waking(cluster);
        self.publishing.offer(&cluster.stream, outbox, wake).await;
    }

    /// Has a cluster looked at again when it is called.
    pub fn waking(&self, cluster: &Cluster) -> impl Fn() + Clone + Send + Sync + use<> {
        let (waker, namespace, name) = (
            self.waker.clone(),
            cluster.namespace.clone(),
            cluster.name.clone(),
        );
        move || waker.wake(namespace.as_str(), name.as_str())
    }

    /// Has a cluster looked at again at once.
    pub fn wake(&self, cluster: &Cluster) {
        self.waker
            .wake(cluster.namespace.as_str(), cluster.name.as_str());
    }

    /// Has every cluster of the namespace looked at again.
    pub fn wake_all(&self) {
        for lease in self.cache.leases.state() {
            let cluster = lease.labels().get(label::PG_CLUSTER);
            if let (Some(namespace), Some(cluster)) = (lease.namespace(), cluster) {
                self.waker.wake(&namespace, cluster);
            }
        }
    }

    /// The object as it is newest known: our own last write while the cache still shows what that began from.
    pub fn newest(&self, cached: Arc<Pgcluster>) -> Arc<Pgcluster> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = cached.uid().unwrap_or_default();
        match written.get(&uid) {
            Some(ours) if ours.from == cached.resource_version() => ours.object.clone(),
            Some(_) => {
                written.remove(&uid);
                cached
            }
            None => cached,
        }
    }

    /// Remembers a write that began from what the cache showed as version `from`.
    pub fn remember(&self, from: Option<String>, object: Arc<Pgcluster>) {
        let uid = object.uid().unwrap_or_default();
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let from = match written.get(&uid) {
            // Several writes in a row: the cache still shows what the first began from.
            Some(before) if before.object.resource_version() == from => before.from.clone(),
            _ => from,
        };
        written.insert(uid, Written { from, object });
    }

    /// Remembers, or forgets, what Kubernetes refused.
    pub fn set_refused(&self, uid: &str, refused: Option<String>) -> bool {
        let mut all = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match refused {
            Some(text) => all.insert(uid.to_owned(), text.clone()) != Some(text),
            None => all.remove(uid).is_some(),
        }
    }

    /// What Kubernetes refused of the last plan.
    pub fn refused(&self, uid: &str) -> Option<String> {
        let all = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(uid).cloned()
    }

    /// Forgets a cluster that is gone.
    pub fn forget(&self, stream: &StreamId) {
        self.publishing.forget(stream);
        self.changes.forget(stream);
        self.reloads.forget(stream);
        self.policies.forget(stream);
        self.looks.forget(stream);
        self.upgrades.forget(stream);
        self.drills.forget(stream);
        self.set_refused(stream.as_str(), None);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.remove(stream.as_str());
    }
}
