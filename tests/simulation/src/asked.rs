//! What Pgtasks and Pgreplicas ask for, besides what a Pgcluster says itself.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use pgo_core::{
    BackupRequest, Cluster, ClusterStatus, DeleteRequest, FailoverRequest, Kind, ReloadRequest,
    Replica, RestartRequest, ScaleDownRequest, UpgradeRequest, rests_on,
};
use pgo_ids::OperationId;

use crate::{
    store::{Ground, Kept, Object},
    wrong::Wrong,
};

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
    /// A backup.
    Backup(BackupRequest),
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
            Self::Backup(asked) => asked.operation,
        }
    }

    /// Whether it asks that the cluster goes.
    pub fn is_deletion(&self) -> bool {
        matches!(self, Self::Deletion(_))
    }

    /// Whether it has its answer.
    pub fn is_answered(&self, status: &ClusterStatus) -> bool {
        status.journal.knows(self.operation())
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
            Self::Backup(asked) => cluster.backups.push(asked),
        }
    }
}

/// The Pgtasks that ask for something, by name.
pub type Tasks = BTreeMap<String, Asked>;

/// A Pgcluster with all that these Pgtasks ask for, and these Pgreplicas.
pub fn with_requests(cluster: &Rc<Cluster>, tasks: &Tasks, replicas: &[Replica]) -> Rc<Cluster> {
    if tasks.is_empty() && replicas.is_empty() {
        return cluster.clone();
    }
    let mut all = Cluster::clone(cluster);
    for (name, asked) in tasks {
        asked.add_to(&mut all);
        if !asked.is_deletion() {
            all.tasks.insert(asked.operation(), name.clone());
        }
    }
    all.replicas = replicas.to_vec();
    Rc::new(all)
}

/// As `services/reconciler/src/sure.rs` asks Kubernetes itself for the Pgtasks on which a status rests.
pub fn surely(
    kept: &Kept,
    object: &Object,
    (tasks, replicas): (&Tasks, &[Replica]),
    commit: impl Fn(&Cluster) -> ClusterStatus,
    wrong: Option<Wrong>,
) -> (Rc<Cluster>, ClusterStatus) {
    let (mut tasks, mut sure) = (Cow::Borrowed(tasks), BTreeSet::new());
    loop {
        let cluster = with_requests(&object.cluster, &tasks, replicas);
        let next = commit(&cluster);
        let mut names = rests_on(&object.status, &next);
        names.retain(|name| !sure.contains(name));
        if names.is_empty() || wrong == Some(Wrong::TasksFromCachesOnly) {
            return (cluster, next);
        }
        let newest = &kept.ground().asked;
        let tasks = tasks.to_mut();
        for name in &names {
            match newest.get(name) {
                Some(asked) => tasks.insert(name.clone(), asked.clone()),
                None => tasks.remove(name),
            };
        }
        sure.append(&mut names);
    }
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
