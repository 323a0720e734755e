//! What Pgtasks and Pgreplicas ask for, besides what a Pgcluster says itself.

use std::rc::Rc;

use pgo_core::{
    Cluster, ClusterStatus, DeleteRequest, FailoverRequest, Kind, ReloadRequest, Replica,
    RestartRequest, ScaleDownRequest, UpgradeRequest,
};
use pgo_ids::OperationId;

use crate::store::Ground;

/// What a Pgtask asks for.
#[derive(Clone, Debug)]
pub enum Asked {
    /// That the cluster goes.
    Deletion(DeleteRequest),
    /// That one of its replicas goes.
    Removal(ScaleDownRequest),
    /// Another primary.
    Change(FailoverRequest),
    /// That the configuration is read.
    Reload(ReloadRequest),
    /// That PostgreSQL is restarted.
    Restart(RestartRequest),
    /// Another image.
    Upgrade(UpgradeRequest),
}

impl Asked {
    /// Id of the request.
    pub fn operation(&self) -> OperationId {
        match self {
            Self::Deletion(asked) => asked.operation,
            Self::Removal(asked) => asked.operation,
            Self::Change(asked) => asked.operation,
            Self::Reload(asked) => asked.operation,
            Self::Restart(asked) => asked.operation,
            Self::Upgrade(asked) => asked.operation,
        }
    }

    /// Whether it asks that the cluster goes.
    pub fn is_deletion(&self) -> bool {
        matches!(self, Self::Deletion(_))
    }

    /// Whether it has its answer: it is told, or it is an upgrade of which that is remembered.
    pub fn is_answered(&self, status: &ClusterStatus) -> bool {
        let id = self.operation();
        status.journal.knows(id) || status.answered_upgrades.contains(&id)
    }

    /// Whether what became of it can be noted in its Pgtask. A deletion's goes with the cluster.
    pub fn is_over(&self, status: &ClusterStatus) -> bool {
        let id = self.operation();
        let mut operations = status.journal.operations.iter();
        !self.is_deletion() && operations.any(|one| one.id == id && !one.is_running())
    }

    fn add_to(&self, cluster: &mut Cluster) {
        match self.clone() {
            Self::Deletion(asked) => cluster.delete_requests.push(asked),
            Self::Removal(asked) => cluster.scale_down.push(asked),
            Self::Change(asked) => cluster.failover.push(asked),
            Self::Reload(asked) => cluster.reloads.push(asked),
            Self::Restart(asked) => cluster.restarts.push(asked),
            Self::Upgrade(asked) => cluster.upgrades.push(asked),
        }
    }
}

/// A Pgcluster with all that is asked for beside it, and these Pgreplicas.
pub fn with_requests(cluster: &Rc<Cluster>, around: &Ground, replicas: &[Replica]) -> Rc<Cluster> {
    if around.asked.is_empty() && replicas.is_empty() {
        return cluster.clone();
    }
    let mut all = Cluster::clone(cluster);
    for asked in around.asked.values() {
        asked.add_to(&mut all);
    }
    all.replicas = replicas.to_vec();
    Rc::new(all)
}

/// Whether the status knows a Pgreplica that is not among these, or does not know one of them.
pub fn differ(status: &ClusterStatus, replicas: &[Replica]) -> bool {
    let is_shown = |uid: &str| replicas.iter().any(|replica| replica.uid == uid);
    let mut known = status.replicas.iter();
    known.any(|known| !known.uid.is_empty() && !is_shown(&known.uid))
        || has_unseen(status, replicas)
}

/// Whether nobody has seen one of these.
pub fn has_unseen(status: &ClusterStatus, replicas: &[Replica]) -> bool {
    let is_known = |replica: &Replica| status.replicas.iter().any(|one| one.name == replica.name);
    let mut there = replicas.iter().filter(|replica| !replica.deleting);
    there.any(|replica| !is_known(replica))
}

/// Whether a cluster is asked to go.
pub fn is_to_go(cluster: &Cluster, around: &Ground) -> bool {
    cluster.deleting || around.asked.values().any(Asked::is_deletion)
}

/// How many deletions were asked for, or are told of.
pub fn deletions(status: &ClusterStatus, around: &Ground) -> usize {
    let asked = around.asked.values().filter(|asked| asked.is_deletion());
    status.journal.all(Kind::DeleteCluster).count() + asked.count()
}
