//! Version, health and status: the bodies of `/version`, `/health` and `/status`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    PGO_VERSION, StatusCluster,
    wire::{Outcome, wire},
};

wire! {
    /// Answer of `/version` and `/health`.
    pub response VersionResponse {
        /// Version of the apiserver; `healthy` from `/health`.
        version: String = "Version",
    }
}

impl VersionResponse {
    /// What `/version` says.
    pub fn current() -> Self {
        Self {
            version: PGO_VERSION.to_owned(),
            outcome: Outcome {
                msg: "apiserver version".to_owned(),
                ..Outcome::ok()
            },
        }
    }

    /// What `/health` says.
    pub fn healthy() -> Self {
        Self {
            version: "healthy".to_owned(),
            outcome: Outcome {
                msg: "healthy".to_owned(),
                ..Outcome::ok()
            },
        }
    }
}

/// Query of `GET /status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StatusQuery {
    /// Version of the client.
    pub version: String,
    /// Namespace to report about.
    pub namespace: String,
}

impl StatusQuery {
    /// As the part of a URL after `?`.
    pub fn to_query(&self) -> String {
        crate::events::query([("version", &*self.version), ("namespace", &*self.namespace)])
    }
}

wire! {
    /// Answer of `/status`. With `Code` `ok`, `Msg` names the figures that could not be had; it is empty where there are
    /// none.
    pub response StatusResponse {
        /// The figures.
        result: StatusDetail = "Result",
    }
}

wire! {
    /// Figures about one namespace and the nodes.
    pub struct StatusDetail {
        /// When PGO was started.
        operator_start_time: String = "OperatorStartTime",
        /// Number of instances.
        num_databases: i64 = "NumDatabases",
        /// Number of backup Jobs.
        num_backups: i64 = "NumBackups",
        /// Number of claims.
        num_claims: i64 = "NumClaims",
        /// Sum of the claims' capacity, as a quantity of Kubernetes.
        volume_cap: String = "VolumeCap",
        /// Image to number of containers that run it.
        db_tags: BTreeMap<String, i64> = "DbTags",
        /// Names of the instances' pods that are not ready.
        not_ready: Vec<String> = "NotReady",
        /// The nodes.
        nodes: Vec<NodeInfo> = "Nodes",
        /// `key=value` of all labels with their counts, most frequent first.
        labels: Vec<KeyValue> = "Labels",
        /// New, and only there where there are any: instances of which settings wait for a restart.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        pending_restart: Vec<String> = "PendingRestart",
        /// New, likewise: clusters whose commits go on without the replicas that they should wait for.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        fallen_back: Vec<String> = "FallenBack",
        /// New, likewise: clusters that are not ready, with pods or without.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        clusters_not_ready: Vec<String> = "ClustersNotReady",
        /// New, likewise: settings of pgo.yaml that ask for what this version does not do; clusters are made without it.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        not_available: Vec<String> = "SettingsNotAvailable",
        /// New, likewise: the clusters, by name, and how their instances stand to each other.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        clusters: Vec<StatusCluster> = "Clusters",
    }
}

wire! {
    /// A node.
    pub struct NodeInfo {
        /// Its name.
        name: String = "Name",
        /// Type of its last condition.
        status: String = "Status",
        /// Its labels.
        labels: BTreeMap<String, String> = "Labels",
    }
}

wire! {
    /// A label and how often it is there.
    pub struct KeyValue {
        /// `key=value`.
        key: String = "Key",
        /// How often.
        value: i64 = "Value",
    }
}
