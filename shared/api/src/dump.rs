//! Dumps by pg_dump: `POST /pgdumpbackup`, `GET /pgdump/{name}` and `POST /pgdumprestore`. Backups by pg_basebackup, whose requests and
//! answers have the same forms: `POST /backups`, `GET /backups/{name}` and `POST /pgbasebackuprestore`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{backup::AskedBackup, wire::wire};

wire! {
    /// `POST /pgdumpbackup` and `POST /backups`. 4.1's client sends no version with it.
    pub struct CreateDumpRequest {
        /// Namespace to look in.
        namespace: String = "Namespace",
        /// Names of clusters; `all` means all of the namespace.
        args: Vec<String> = "Args",
        /// Kubernetes label selector; before the names where both are given.
        selector: String = "Selector",
        /// The claim that the dump goes to; empty means that of the cluster's dumps.
        pvc_name: String = "PVCName",
        /// Storage configuration of pgo.yaml for a claim that is not there yet.
        storage_config: String = "StorageConfig",
        /// Options of `pg_dump`, or with `--dump-all` among them of `pg_dumpall`; or of `pg_basebackup`.
        backup_opts: String = "BackupOpts",
    }
}

wire! {
    /// Answer of `POST /pgdumpbackup` and `POST /backups`.
    pub response CreateDumpResponse {
        /// One text per cluster.
        results: Vec<String> = "Results",
        /// New, and only there where there are any: the dumps that were asked for.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        backups: Vec<AskedBackup> = "Backups",
    }
}

/// Query of `GET /backupsdelete/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DeleteBackupQuery {
    /// Version of the client.
    pub version: String,
    /// Namespace to look in.
    pub namespace: String,
    /// New: `pgdump` removes dumps; without it, or with `pgbasebackup`, copies by `pg_basebackup` go.
    pub backuptype: String,
}

impl DeleteBackupQuery {
    /// As the part of a URL after `?`; what 4.1 does not know is there only where it says something.
    pub fn to_query(&self) -> String {
        let mut pairs = vec![("version", &*self.version), ("namespace", &*self.namespace)];
        if !self.backuptype.is_empty() {
            pairs.push(("backuptype", &*self.backuptype));
        }
        crate::events::query(pairs)
    }
}

wire! {
    /// Answer of `GET /backupsdelete/{name}`.
    pub response DeleteBackupResponse {
        /// The name of the cluster.
        results: Vec<String> = "Results",
        /// New, and only there where there is one: id of the operation, by which its events are found.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        operation: String = "OperationID",
    }
}

/// Query of `GET /pgdump/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ShowDumpQuery {
    /// Version of the client.
    pub version: String,
    /// Kubernetes label selector; before the name where both are given.
    pub selector: String,
    /// Namespace to look in.
    pub namespace: String,
}

impl ShowDumpQuery {
    /// As the part of a URL after `?`.
    pub fn to_query(&self) -> String {
        crate::events::query([
            ("version", &*self.version),
            ("selector", &*self.selector),
            ("namespace", &*self.namespace),
        ])
    }
}

wire! {
    /// Answer of `GET /pgdump/{name}` and `GET /backups/{name}`. No dump found is no failure.
    pub response ShowDumpResponse {
        /// What was found.
        backup_list: DumpList = "BackupList",
    }
}

wire! {
    /// A list as Kubernetes has it.
    pub struct DumpList {
        /// Empty.
        metadata: Value = "metadata",
        /// One per cluster: in the form of 4.1's Pgbackup, though none is stored.
        items: Vec<DumpItem> = "items",
    }
}

wire! {
    /// The dumps of a cluster, as 4.1's Pgbackup.
    pub struct DumpItem {
        /// When a dump was asked for last, as `creationTimestamp`.
        metadata: Value = "metadata",
        /// What was asked for.
        spec: DumpSpec = "spec",
        /// Empty.
        status: Value = "status",
    }
}

wire! {
    /// What was asked for, and what there is.
    pub struct DumpSpec {
        /// Namespace of a base backup.
        namespace: String = "namespace",
        /// Name of the task that asked for a dump; the cluster of a base backup.
        name: String = "name",
        /// What the claim is made of.
        storagespec: Value = "storagespec",
        /// Tag of the image.
        ccpimagetag: String = "ccpimagetag",
        /// Service of the database.
        backuphost: String = "backuphost",
        /// Secret of who dumps.
        backupusersecret: String = "backupusersecret",
        /// Port of the database.
        backupport: String = "backupport",
        /// 4.1's word for how far the last one is.
        backupstatus: String = "backupstatus",
        /// The claim.
        backuppvc: String = "backuppvc",
        /// The options.
        backupopts: String = "backupopts",
        /// The newest dumps on the claim: names, and where each lies; `null` where none is known.
        toc: Option<std::collections::BTreeMap<String, String>> = "toc",
    }
}

wire! {
    /// `POST /pgdumprestore`. 4.1's client sends no version with it.
    pub struct RestoreDumpRequest {
        /// Namespace of the cluster.
        namespace: String = "Namespace",
        /// The cluster.
        from_cluster: String = "FromCluster",
        /// The claim with the dump; empty means that of the cluster's dumps.
        from_pvc: String = "FromPVC",
        /// Options of `pg_restore`.
        restore_opts: String = "RestoreOpts",
        /// Name of the dump, which is when it was begun; empty means the newest.
        pitr_target: String = "PITRTarget",
        /// Label of nodes; not available.
        node_label: String = "NodeLabel",
    }
}

wire! {
    /// `POST /pgbasebackuprestore`. 4.1's client sends no version with it.
    pub struct RestoreBaseRequest {
        /// Namespace of the cluster.
        namespace: String = "Namespace",
        /// The cluster that was backed up.
        from_cluster: String = "FromCluster",
        /// The claim to make; a cluster of its name goes on with it. Empty means one with four letters behind the cluster's name.
        to_pvc: String = "ToPVC",
        /// The claim with the backup; empty means that of the cluster.
        from_pvc: String = "FromPVC",
        /// Where the backup lies on that; empty means the newest.
        backup_path: String = "BackupPath",
        /// Label of the nodes that the pod prefers, `key=value`.
        node_label: String = "NodeLabel",
    }
}
