//! Pgbackup: a base backup of a cluster.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::StorageSpec;

/// A base backup, under 4.1's names.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, CustomResource, JsonSchema,
)]
#[kube(
    group = "crunchydata.com",
    version = "v1",
    kind = "Pgbackup",
    plural = "pgbackups",
    singular = "pgbackup",
    namespaced,
    status = "PgbackupStatus",
    doc = "A base backup of a PostgreSQL cluster",
    printcolumn(name = "Status", type_ = "string", json_path = ".spec.backupstatus"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(default)]
pub struct PgbackupSpec {
    /// The object's namespace again.
    pub namespace: String,
    /// The object's name again.
    pub name: String,
    /// Where the backup goes.
    pub storagespec: StorageSpec,
    /// Tag of the image that takes it.
    pub ccpimagetag: String,
    /// Service of the database.
    pub backuphost: String,
    /// Secret of the user that takes it.
    pub backupusersecret: String,
    /// Port of the database.
    pub backupport: String,
    /// 4.1's state.
    pub backupstatus: String,
    /// Claim the backup lies on.
    pub backuppvc: String,
    /// Options of the tool.
    pub backupopts: String,
    /// Paths of the backups.
    pub toc: BTreeMap<String, String>,
}

/// 4.1's state of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PgbackupStatus {
    /// `pgbackup Created` and the like.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}
