//! What other objects than its Pgcluster ask for of a cluster.

use std::collections::BTreeMap;

use pgo_core::{
    BackupRemoval, BackupRequest, Cluster, DeleteRequest, DrillRequest, DumpRequest,
    FailoverRequest, JobRequest, PolicyRequest, ReloadRequest, Replica, RestartRequest,
    RestoreRequest, ScaleDownRequest, UpgradeRequest,
};
use pgo_ids::OperationId;

/// What other objects ask for of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    /// Its deletion.
    pub delete: Vec<DeleteRequest>,
    /// The removal of replicas.
    pub scale_down: Vec<ScaleDownRequest>,
    /// Changes of the primary.
    pub failover: Vec<FailoverRequest>,
    /// Its replicas.
    pub replicas: Vec<Replica>,
    /// Reloads of the configuration.
    pub reloads: Vec<ReloadRequest>,
    /// Restarts.
    pub restarts: Vec<RestartRequest>,
    /// Upgrades.
    pub upgrades: Vec<UpgradeRequest>,
    /// Backups by pgBackRest.
    pub backups: Vec<BackupRequest>,
    /// Restore drills.
    pub drills: Vec<DrillRequest>,
    /// Restores by pgBackRest.
    pub restores: Vec<RestoreRequest>,
    /// Dumps, and restores of some.
    pub dumps: Vec<DumpRequest>,
    /// Removals of copies by `pg_basebackup`, or dumps.
    pub removals: Vec<BackupRemoval>,
    /// Benchmarks and loads.
    pub jobs: Vec<JobRequest>,
    /// Policies.
    pub policies: Vec<PolicyRequest>,
    /// Names of the Pgtasks that ask for any of these but the deletion.
    pub tasks: BTreeMap<OperationId, String>,
    /// What is to go on no longer, and who wants that.
    pub cancelled: BTreeMap<OperationId, String>,
}

impl Requests {
    /// `cluster` with what Pgtasks ask for by this, in the place of what they did; its Pgreplicas stay.
    #[must_use]
    pub fn of(self, cluster: Cluster) -> Cluster {
        Cluster {
            delete_requests: self.delete,
            scale_down: self.scale_down,
            failover: self.failover,
            reloads: self.reloads,
            restarts: self.restarts,
            upgrades: self.upgrades,
            backups: self.backups,
            restores: self.restores,
            drills: self.drills,
            dumps: self.dumps,
            removals: self.removals,
            jobs: self.jobs,
            policies: self.policies,
            tasks: self.tasks,
            cancelled: self.cancelled,
            ..cluster
        }
    }
}
