//! Replicas: how many there are to be, which come and which go, and what is told of each.
//!
//! A Pgreplica is the request for one; a finalizer holds it until its pod is gone. `spec.replicaCount` of the Pgcluster is
//! how many there are: PGO makes and removes Pgreplicas until it is so, and whoever makes or removes one by himself
//! changes the number with it:
//!
//! ```text
//! spec.replicaCount ──► account ◄── Pgreplicas ◄─┐
//!         ▲                │                      │
//!         └─ projection ───┴─► plan: make, remove ┘
//! ```

mod account;
mod needed;
mod steps;
mod tell;

use jiff::Timestamp;
use pgo_ids::{InstanceName, OperationId};
use serde::{Deserialize, Serialize};

pub use self::needed::Needs;
pub(crate) use self::{
    account::{addition, is_known, know, letters},
    steps::steps,
};
use crate::{
    Cluster, ClusterStatus, Desired, Image, Kind, NodePreference, Observed, Outcome, Resources,
    Role, ServiceType, Storage,
};

/// A Pgreplica, as its object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its name, and that of its instance.
    pub name: InstanceName,
    /// Its uid.
    pub uid: String,
    /// Whether its deletion was asked for on the object itself.
    pub deleting: bool,
    /// Whether our finalizer is on it.
    pub finalizer: bool,
    /// Whether PGO made it because of the Pgcluster's `spec.replicaCount`.
    pub derived: bool,
    /// Who asked for it.
    pub actor: String,
    /// What the user wants, or why that cannot be understood.
    pub wanted: Result<WantedReplica, String>,
}

/// What a user wants of a replica, with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedReplica {
    /// Where its data lives.
    pub storage: Storage,
    /// Resources of the container with PostgreSQL.
    pub resources: Resources,
    /// Node label its pod prefers, and whether it prefers nodes without it.
    pub node: Option<NodePreference>,
    /// Image with PostgreSQL.
    pub image: Image,
    /// Type of the replicas' Service, where it asks for one.
    pub service_type: Option<ServiceType>,
}

/// A request to remove a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScaleDownRequest {
    /// Which one.
    pub replica: InstanceName,
    /// The request's id.
    pub operation: OperationId,
    /// Who asked.
    pub actor: String,
    /// Whether its data goes, too.
    pub data: bool,
}

/// How many replicas there are to be, as it was accounted last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaCount {
    /// `spec.replicaCount` at that time.
    pub asked: u32,
    /// The number itself: `spec.replicaCount` is brought to it.
    pub wanted: u32,
    /// How many PGO has made so far; each has a name of its own.
    pub made: u32,
}

/// A replica that belongs to the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatus {
    /// Its name.
    pub name: InstanceName,
    /// Uid of its Pgreplica; empty until that was seen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Whether it has followed the primary at any time.
    #[serde(default, skip_serializing_if = "crate::status::is_false")]
    pub joined: bool,
    /// Whether it is being removed.
    #[serde(default, skip_serializing_if = "crate::status::is_false")]
    pub leaving: bool,
    /// Whether its data goes with it.
    #[serde(default, skip_serializing_if = "crate::status::is_false")]
    pub data: bool,
    /// Whether it was told that it is far behind.
    #[serde(default, skip_serializing_if = "crate::status::is_false")]
    pub behind: bool,
    /// Whether it follows the primary now.
    #[serde(default)]
    pub ready: bool,
    /// One word for why.
    #[serde(default)]
    pub reason: String,
    /// For people.
    #[serde(default)]
    pub message: String,
}

impl Cluster {
    /// What is wanted of one of the cluster's instances, with the image that is in force for it; none where there is to be no such instance, or what is wanted
    /// cannot be understood.
    #[must_use]
    pub fn desired_of(&self, status: &ClusterStatus, instance: &InstanceName) -> Option<Desired> {
        let desired = self.desired.as_ref().ok()?;
        let mut wanted = if let Some(restoring) = self.restoring(desired, status, instance) {
            restoring
        } else if *instance == status.first(&self.name) {
            desired.clone()
        } else {
            let replica = self.replicas.iter().find(|one| one.name == *instance)?;
            desired.with(replica.wanted.as_ref().ok()?)
        };
        if let Some(image) = status.image_of(instance) {
            wanted.image = image.clone();
        }
        Some(wanted)
    }
}

impl Cluster {
    /// What is wanted of an instance that is made to restore.
    fn restoring(
        &self,
        desired: &Desired,
        status: &ClusterStatus,
        instance: &InstanceName,
    ) -> Option<Desired> {
        let run = status.restore.as_ref();
        let run = run.filter(|run| run.instance == *instance);
        let run = run.map(|run| (&run.order, run.node_label.as_deref()));
        let restored = status.restored.as_ref();
        let restored = restored.filter(|restored| restored.instance == *instance);
        let restored = restored.map(|one| (&one.order, one.node_label.as_deref()));
        let (order, node_label) = run.or(restored)?;
        Some(desired.clone().restoring(order, node_label))
    }
}

impl Desired {
    /// The same for a replica.
    fn with(&self, wanted: &WantedReplica) -> Self {
        Self {
            storage: wanted.storage.clone(),
            resources: wanted.resources.clone(),
            image: wanted.image.clone(),
            node: wanted.node.clone(),
            ..self.clone()
        }
    }
}

/// Takes over which replicas there are, and tells of those that come and go.
pub(crate) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    account::count(next, cluster);
    loop {
        account::notice_new(next, cluster, observed, now);
        account::notice_gone(next, cluster, observed, now);
        account::make_up(next, cluster, observed, now);
        account::answer_others(next, cluster, observed, now);
        // Whoever goes may make room for another one of its name.
        if !account::bid_farewell(next, cluster, observed, now) {
            break;
        }
    }
    for at in 0..next.replicas.len() {
        if next.replicas[at].leaving {
            continue;
        }
        tell::describe(next, at, cluster, observed, now);
    }
    former_primary(next, cluster, observed, now);
}

/// Whether no replica may go now: nobody serves as the primary, and an election may need its vote. Only a primary takes one that
/// goes out of the voters. Until a cluster is ready for the first time there is nobody to elect.
pub(crate) fn keeps_votes(status: &ClusterStatus, observed: &Observed) -> bool {
    status.was_ready() && observed.serving_primary().is_none()
}

/// The first instance has no Pgreplica. As long as another one is primary it is brought back like a replica.
fn former_primary(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    let first = next.first(&cluster.name);
    if let Err(invalid) = &cluster.desired {
        tell::gone(next, &first, cluster, (observed, invalid), now);
    }
    let Some(agent) = observed.agent(&first).filter(|_| next.was_ready()) else {
        return;
    };
    match observed.role_of((next, &cluster.name), &first) {
        Role::Restoring => {}
        Role::Replica => tell::mending(next, &first, cluster, (observed, agent), now),
        Role::Primary => tell::mended(next, &first, cluster, observed, now),
    }
}

/// The cluster goes: what is under way with its replicas ends with it.
pub(crate) fn break_off(next: &mut ClusterStatus, cluster: &Cluster, now: Timestamp) {
    let first = next.first(&cluster.name);
    let replicas: Vec<InstanceName> = next.replicas.iter().map(|one| one.name.clone()).collect();
    for name in replicas.iter().chain([&first]) {
        for kind in [
            Kind::ScaleCluster,
            Kind::ScaleDownCluster,
            Kind::RewindReplica,
        ] {
            let cause = "the cluster was deleted before".to_owned();
            let outcome = (Outcome::Failed, Some(cause));
            let of = (kind, Some(name));
            next.journal.finish(cluster.subject(), of, outcome, now);
        }
    }
}
