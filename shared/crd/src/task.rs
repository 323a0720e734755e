//! Pgtask: a request that is not a cluster's spec.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{RequestStatus, StorageSpec, label};

/// A request, under 4.1's names.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema,
)]
#[kube(
    group = "crunchydata.com",
    version = "v1",
    kind = "Pgtask",
    plural = "pgtasks",
    singular = "pgtask",
    namespaced,
    status = "RequestStatus",
    doc = "A request of an operation on a PostgreSQL cluster",
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.tasktype"),
    printcolumn(name = "Status", type_ = "string", json_path = ".spec.status"),
    printcolumn(name = "Complete", type_ = "string", json_path = ".status.conditions[?(@.type==\"Complete\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("!has(self.spec.name) || self.spec.name == '' || self.spec.name == self.metadata.name")
        .message("spec.name is the object's name")
)]
#[x_kube(
    validation = Rule::new("has(self.tasktype) && self.tasktype in ['workflow', 'delete-data', 'failover', 'minorupgradecluster', 'reload', 'restart', 'backrest', 'drill', 'restore', 'applypolicy', 'pgdump', 'pgrestore', 'pgbasebackup', 'pgbasebackuprestore', 'benchmark', 'load']")
        .message("tasktype is workflow, delete-data, failover, minorupgradecluster, reload, restart, backrest, drill, restore, applypolicy, pgdump, pgrestore, pgbasebackup, pgbasebackuprestore, benchmark or load; the other types of 4.1 are not available in this version yet"),
    validation = Rule::new("!has(self.tasktype) || self.tasktype != 'delete-data' || (has(self.parameters) && 'pg-cluster' in self.parameters && self.parameters['pg-cluster'] != '')")
        .message("a task of type delete-data names its cluster in parameters.pg-cluster"),
    validation = Rule::new("!has(self.tasktype) || self.tasktype != 'minorupgradecluster' || (has(self.parameters) && 'pg-cluster' in self.parameters && self.parameters['pg-cluster'] != '')")
        .message("a task of type minorupgradecluster names its cluster in parameters.pg-cluster"),
    validation = Rule::new("!has(self.tasktype) || !(self.tasktype in ['reload', 'restart', 'backrest', 'drill', 'applypolicy', 'pgdump', 'pgbasebackup', 'load']) || (has(self.parameters) && 'pg-cluster' in self.parameters && self.parameters['pg-cluster'] != '')")
        .message("a task of type reload, restart, backrest, drill, applypolicy, pgdump, pgbasebackup or load names its cluster in parameters.pg-cluster"),
    validation = Rule::new("!has(self.tasktype) || self.tasktype != 'delete-data' || !has(self.parameters) || ['delete-data', 'delete-backups', 'is-replica', 'is-backup'].all(key, !(key in self.parameters) || self.parameters[key] in ['', 'true', 'false'])")
        .message("delete-data, delete-backups, is-replica and is-backup in parameters are true or false"),
    validation = Rule::new("!has(self.tasktype) || self.tasktype != 'delete-data' || !has(self.parameters) || !('is-replica' in self.parameters) || self.parameters['is-replica'] != 'true' || ('replica-name' in self.parameters && self.parameters['replica-name'] != '')")
        .message("a task that deletes a replica names it in parameters.replica-name"),
    validation = Rule::new("!has(self.tasktype) || self.tasktype != 'backrest' || !has(self.parameters) || !('backrest-command' in self.parameters) || self.parameters['backrest-command'] in ['', 'backup']")
        .message("backrest-command in parameters is backup"),
    validation = Rule::new("!has(self.tasktype) || self.tasktype != 'backrest' || !has(self.parameters) || !('backrest-storage-type' in self.parameters) || self.parameters['backrest-storage-type'] in ['', 'local', 's3', 'local,s3', 's3,local', 'local, s3', 's3, local']")
        .message("backrest-storage-type in parameters is local, s3, or both with a comma between them"),
    validation = Rule::new("!has(self.tasktype) || self.tasktype != 'backrest' || !has(self.parameters) || !('backrest-opts' in self.parameters) || self.parameters['backrest-opts'].matches('^ *(-.*)?$')")
        .message("backrest-opts in parameters are options of pgBackRest; each begins with --"),
    validation = Rule::new("!has(self.tasktype) || self.tasktype != 'restore' || (has(self.parameters) && 'backrest-restore-from-cluster' in self.parameters && self.parameters['backrest-restore-from-cluster'] != '')")
        .message("a task of type restore names its cluster in parameters.backrest-restore-from-cluster"),
    validation = Rule::new("!has(self.tasktype) || self.tasktype != 'restore' || !has(self.parameters) || !('backrest-storage-type' in self.parameters) || self.parameters['backrest-storage-type'] in ['', 'local', 's3', 'local,s3', 's3,local', 'local, s3', 's3, local']")
        .message("backrest-storage-type in parameters is local, s3, or both with a comma between them"),
    validation = Rule::new("!has(self.tasktype) || self.tasktype != 'restore' || !has(self.parameters) || !('backrest-restore-opts' in self.parameters) || self.parameters['backrest-restore-opts'].matches('^ *(-.*)?$')")
        .message("backrest-restore-opts in parameters are options of pgBackRest; each begins with --"),
    validation = Rule::new("!has(self.tasktype) || self.tasktype != 'pgdump' || !has(self.parameters) || !('pgdump-opts' in self.parameters) || self.parameters['pgdump-opts'].matches('^ *(-.*)?$')")
        .message("pgdump-opts in parameters are options of pg_dump; each begins with -"),
    validation = Rule::new("!has(self.tasktype) || self.tasktype != 'pgrestore' || (has(self.parameters) && 'pgrestore-from-cluster' in self.parameters && self.parameters['pgrestore-from-cluster'] != '')")
        .message("a task of type pgrestore names its cluster in parameters.pgrestore-from-cluster"),
    validation = Rule::new("!has(self.tasktype) || self.tasktype != 'pgrestore' || !has(self.parameters) || !('pgrestore-opts' in self.parameters) || self.parameters['pgrestore-opts'].matches('^ *(-.*)?$')")
        .message("pgrestore-opts in parameters are options of pg_restore; each begins with -"),
    validation = Rule::new("!has(self.tasktype) || self.tasktype != 'pgbasebackup' || !has(self.parameters) || !('pgbasebackup-opts' in self.parameters) || self.parameters['pgbasebackup-opts'].matches('^ *(-.*)?$')")
        .message("pgbasebackup-opts in parameters are options of pg_basebackup; each begins with -"),
    validation = Rule::new("!has(self.tasktype) || self.tasktype != 'pgbasebackuprestore' || (has(self.parameters) && ['pgbasebackup-restore-from-cluster', 'pgbasebackup-restore-to-pvc'].all(key, key in self.parameters && self.parameters[key] != ''))")
        .message("a task of type pgbasebackuprestore names its cluster in parameters.pgbasebackup-restore-from-cluster and the claim to make in parameters.pgbasebackup-restore-to-pvc"),
    validation = Rule::new("!has(self.tasktype) || self.tasktype != 'benchmark' || (has(self.parameters) && 'clusterName' in self.parameters && self.parameters['clusterName'] != '')")
        .message("a task of type benchmark names its cluster in parameters.clusterName"),
    validation = Rule::new("!has(self.tasktype) || self.tasktype != 'load' || !has(self.parameters) || !('FileType' in self.parameters) || self.parameters['FileType'] in ['', 'csv', 'json']")
        .message("FileType in parameters is csv or json"),
    validation = Rule::new("!has(self.tasktype) || self.tasktype != 'applypolicy' || (has(self.parameters) && 'policy' in self.parameters && self.parameters['policy'] != '')")
        .message("a task of type applypolicy names the policy in parameters.policy"),
    validation = Rule::new("!has(self.tasktype) || self.tasktype != 'failover' || (has(self.parameters) && size(self.parameters) > 0)")
        .message("a task of type failover names its cluster by a parameter: its key is the cluster's name"),
    validation = Rule::new("!has(self.tasktype) || self.tasktype != 'delete-data' || !has(self.parameters) || !('backup-type' in self.parameters) || self.parameters['backup-type'] in ['', 'pgbasebackup', 'pgdump']")
        .message("backup-type in parameters is pgbasebackup or pgdump")
)]
pub struct PgtaskSpec {
    /// The object's namespace again.
    #[schemars(length(max = 63))]
    #[serde(default)]
    pub namespace: String,
    /// The object's name again.
    #[schemars(length(max = 253))]
    #[serde(default)]
    pub name: String,
    /// Storage, with the types that need some.
    #[serde(default)]
    pub storagespec: StorageSpec,
    /// What is asked for; 4.1's words.
    #[schemars(length(max = 64))]
    #[serde(default)]
    pub tasktype: String,
    /// 4.1's state.
    #[schemars(length(max = 256))]
    #[serde(default)]
    pub status: String,
    /// What the type needs.
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": 4096}))]
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
}

/// The types of task that PGO carries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskType {
    /// Follows a cluster's creation; nothing to do for it.
    Workflow,
    /// Removes a cluster.
    DeleteData,
    /// Makes another instance the primary.
    Failover,
    /// Gives a cluster another image.
    MinorUpgrade,
    /// Has PostgreSQL read its configuration.
    Reload,
    /// Restarts PostgreSQL.
    Restart,
    /// Makes a backup by pgBackRest.
    Backrest,
    /// Restores a backup by pgBackRest for trial; not of 4.1.
    Drill,
    /// Restores a cluster by pgBackRest.
    Restore,
    /// Applies a policy.
    ApplyPolicy,
    /// Makes a dump.
    Pgdump,
    /// Restores one.
    Pgrestore,
    /// Makes a backup by `pg_basebackup`.
    Pgbasebackup,
    /// Restores one to a claim of its own.
    PgbasebackupRestore,
    /// Measures by pgbench.
    Benchmark,
    /// Loads a file into a table.
    Load,
}

/// The cluster that a task of this type is about, by its parameters: what its labels say is not needed. None for the types
/// that ask nothing of a cluster.
#[must_use]
pub fn task_cluster<'a>(
    tasktype: &str,
    mut parameters: impl Iterator<Item = (&'a str, &'a str)>,
) -> Option<&'a str> {
    let types = TaskType::ALL;
    let wanted = match types.into_iter().find(|one| one.as_str() == tasktype)? {
        TaskType::Workflow => return None,
        // As in 4.1: the parameter is named like the cluster.
        TaskType::Failover => return parameters.next().map(|(key, _)| key),
        TaskType::Restore => crate::RESTORE_FROM,
        TaskType::DeleteData
        | TaskType::MinorUpgrade
        | TaskType::Reload
        | TaskType::Restart
        | TaskType::Backrest
        | TaskType::Drill
        | TaskType::ApplyPolicy
        | TaskType::Pgdump
        | TaskType::Pgbasebackup
        | TaskType::Load => label::PG_CLUSTER,
        TaskType::Pgrestore => crate::LOAD_CLUSTER,
        TaskType::PgbasebackupRestore => crate::BASE_FROM_CLUSTER,
        TaskType::Benchmark => crate::CLUSTER_NAME,
    };
    let found = parameters.find(|(key, _)| *key == wanted);
    found.map(|(_, value)| value)
}

impl TaskType {
    /// All there are.
    pub const ALL: [Self; 16] = [
        Self::Workflow,
        Self::DeleteData,
        Self::Failover,
        Self::MinorUpgrade,
        Self::Reload,
        Self::Restart,
        Self::Backrest,
        Self::Drill,
        Self::Restore,
        Self::ApplyPolicy,
        Self::Pgdump,
        Self::Pgrestore,
        Self::Pgbasebackup,
        Self::PgbasebackupRestore,
        Self::Benchmark,
        Self::Load,
    ];

    /// 4.1's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workflow => "workflow",
            Self::DeleteData => "delete-data",
            Self::Failover => "failover",
            Self::MinorUpgrade => "minorupgradecluster",
            Self::Reload => "reload",
            Self::Restart => "restart",
            Self::Backrest => "backrest",
            Self::Drill => "drill",
            Self::Restore => "restore",
            Self::ApplyPolicy => "applypolicy",
            Self::Pgdump => "pgdump",
            Self::Pgrestore => "pgrestore",
            Self::Pgbasebackup => "pgbasebackup",
            Self::PgbasebackupRestore => "pgbasebackuprestore",
            Self::Benchmark => "benchmark",
            Self::Load => "load",
        }
    }
}
