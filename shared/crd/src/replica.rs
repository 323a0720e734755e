//! Pgreplica: a replica of a cluster.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{ContainerResources, RequestStatus, StorageSpec};

/// A replica, under 4.1's names.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema,
)]
#[kube(
    group = "crunchydata.com",
    version = "v1",
    kind = "Pgreplica",
    plural = "pgreplicas",
    singular = "pgreplica",
    namespaced,
    status = "RequestStatus",
    doc = "A replica of a PostgreSQL cluster",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clustername"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("!has(self.spec.name) || self.spec.name == '' || self.spec.name == self.metadata.name")
        .message("spec.name is the object's name")
)]
#[x_kube(
    validation = Rule::new("has(self.clustername) && self.clustername.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("clustername is the name of the replica's cluster")
)]
pub struct PgreplicaSpec {
    /// The object's namespace again.
    #[schemars(length(max = 63))]
    #[serde(default)]
    pub namespace: String,
    /// The object's name again.
    #[schemars(length(max = 253))]
    #[serde(default)]
    pub name: String,
    /// The cluster.
    #[schemars(length(max = 58))]
    #[serde(default)]
    pub clustername: String,
    /// Its storage.
    #[serde(default)]
    pub replicastorage: StorageSpec,
    /// Its resources.
    #[serde(default)]
    pub containerresources: ContainerResources,
    /// 4.1's state.
    #[schemars(length(max = 64))]
    #[serde(default)]
    pub status: String,
    /// Settings and labels.
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": 1024}))]
    #[serde(default)]
    pub userlabels: BTreeMap<String, String>,
}
