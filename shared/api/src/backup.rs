//! Backups by pgBackRest: `POST /backrestbackup`, `GET /backrest/{name}` and `POST /restoredrill`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::wire::wire;

wire! {
    /// `POST /backrestbackup`. 4.1's client sends no version with it.
    pub struct CreateBackrestBackupRequest {
        /// Namespace to look in.
        namespace: String = "Namespace",
        /// Names of clusters; `all` means all of the namespace.
        args: Vec<String> = "Args",
        /// Kubernetes label selector; before the names where both are given.
        selector: String = "Selector",
        /// Options of `pgbackrest backup`, such as `--type=full`.
        backup_opts: String = "BackupOpts",
        /// `local`, `s3` or both; empty means what the cluster has.
        backrest_storage_type: String = "BackrestStorageType",
    }
}

wire! {
    /// Answer of `POST /backrestbackup`.
    pub response CreateBackrestBackupResponse {
        /// One text per cluster.
        results: Vec<String> = "Results",
        /// New, and only there where there are any: the backups that were asked for.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        backups: Vec<AskedBackup> = "Backups",
    }
}

wire! {
    /// A backup that was asked for.
    pub struct AskedBackup {
        /// The cluster.
        cluster: String = "Cluster",
        /// Id of the operation, by which its events are found.
        operation: String = "OperationID",
    }
}

/// Query of `GET /backrest/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ShowBackrestQuery {
    /// Version of the client.
    pub version: String,
    /// Kubernetes label selector; before the name where both are given.
    pub selector: String,
    /// Namespace to look in.
    pub namespace: String,
    /// New: `json` asks for what pgBackRest says as JSON, instead of as text.
    pub format: String,
}

impl ShowBackrestQuery {
    /// As the part of a URL after `?`; what 4.1 does not know is there only where it says something.
    pub fn to_query(&self) -> String {
        let mut pairs = vec![
            ("version", &*self.version),
            ("selector", &*self.selector),
            ("namespace", &*self.namespace),
        ];
        if !self.format.is_empty() {
            pairs.push(("format", &*self.format));
        }
        crate::events::query(pairs)
    }
}

wire! {
    /// Answer of `GET /backrest/{name}`. Nothing selected is no failure.
    pub response ShowBackrestResponse {
        /// One entry per cluster.
        items: Vec<ShowBackrestDetail> = "Items",
    }
}

wire! {
    /// What pgBackRest knows of a cluster's backups.
    pub struct ShowBackrestDetail {
        /// The cluster.
        name: String = "Name",
        /// What `pgbackrest info` prints, behind a line with the type of storage.
        info: String = "Info",
        /// New, and only there where JSON is asked for, instead of the text: what `pgbackrest info --output=json` prints.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        stanzas: Value = "Stanzas",
        /// New: what became of the backups that were restored for trial, and those that were not.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        trials: Vec<BackupTrial> = "Trials",
    }
}

wire! {
    /// Whether a backup was restored for trial, and what became of it.
    pub struct BackupTrial {
        /// pgBackRest's name for the backup.
        backup: String = "Backup",
        /// `proven`, `failed`, `running` or `not yet`.
        outcome: String = "Outcome",
        /// When that was known (RFC 3339); empty where it is not.
        at: String = "At",
        /// Why it failed, or could not be tried.
        cause: String = "Cause",
        /// Whether pgBackRest found pages with wrong checksums in it when it was made; missing where it did not.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        damaged: bool = "Damaged",
    }
}

wire! {
    /// `POST /restoredrill`.
    pub struct CreateDrillRequest {
        /// Namespace to look in.
        namespace: String = "Namespace",
        /// Names of clusters; `all` means all of the namespace.
        args: Vec<String> = "Args",
        /// Kubernetes label selector; before the names where both are given.
        selector: String = "Selector",
        /// pgBackRest's name for the backup; empty means the newest one of each.
        backup: String = "Backup",
        /// Version of the client.
        client_version: String = "ClientVersion",
    }
}

wire! {
    /// Answer of `POST /restoredrill`.
    pub response CreateDrillResponse {
        /// One text per cluster.
        results: Vec<String> = "Results",
        /// The drills that were asked for.
        drills: Vec<AskedBackup> = "Drills",
    }
}
