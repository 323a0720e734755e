//! Pgbackup: a base backup of a cluster.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{RequestStatus, StorageSpec};

/// A base backup, under 4.1's names.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema,
)]
#[kube(
    group = "crunchydata.com",
    version = "v1",
    kind = "Pgbackup",
    plural = "pgbackups",
    singular = "pgbackup",
    namespaced,
    status = "RequestStatus",
    doc = "A base backup of a PostgreSQL cluster",
    printcolumn(name = "Status", type_ = "string", json_path = ".spec.backupstatus"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("!has(self.spec.name) || self.spec.name == '' || self.spec.name == self.metadata.name")
        .message("spec.name is the object's name")
)]
#[x_kube(
    validation = Rule::new("!has(self.backupport) || self.backupport == '' || (self.backupport.matches('^[0-9]{1,5}$') && int(self.backupport) >= 1 && int(self.backupport) <= 65535)")
        .message("backupport is a number from 1 to 65535")
)]
pub struct PgbackupSpec {
    /// The object's namespace again.
    #[schemars(length(max = 63))]
    #[serde(default)]
    pub namespace: String,
    /// The object's name again.
    #[schemars(length(max = 253))]
    #[serde(default)]
    pub name: String,
    /// Where the backup goes.
    #[serde(default)]
    pub storagespec: StorageSpec,
    /// Tag of the image that takes it.
    #[schemars(length(max = 128))]
    #[serde(default)]
    pub ccpimagetag: String,
    /// Service of the database.
    #[schemars(length(max = 253))]
    #[serde(default)]
    pub backuphost: String,
    /// Secret of the user that takes it.
    #[schemars(length(max = 253))]
    #[serde(default)]
    pub backupusersecret: String,
    /// Port of the database.
    #[schemars(length(max = 5))]
    #[serde(default)]
    pub backupport: String,
    /// 4.1's state.
    #[schemars(length(max = 64))]
    #[serde(default)]
    pub backupstatus: String,
    /// Claim the backup lies on.
    #[schemars(length(max = 253))]
    #[serde(default)]
    pub backuppvc: String,
    /// Options of the tool.
    #[schemars(length(max = 4096))]
    #[serde(default)]
    pub backupopts: String,
    /// Paths of the backups.
    #[schemars(extend("maxProperties" = 1024, "additionalProperties" = {"type": "string", "maxLength": 1024}))]
    #[serde(default)]
    pub toc: BTreeMap<String, String>,
}
