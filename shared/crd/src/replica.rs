//! Pgreplica: a replica of a cluster.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ContainerResources, StorageSpec};

/// A replica, under 4.1's names.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, CustomResource, JsonSchema,
)]
#[kube(
    group = "crunchydata.com",
    version = "v1",
    kind = "Pgreplica",
    plural = "pgreplicas",
    singular = "pgreplica",
    namespaced,
    status = "PgreplicaStatus",
    doc = "A replica of a PostgreSQL cluster",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clustername"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(default)]
pub struct PgreplicaSpec {
    /// The object's namespace again.
    pub namespace: String,
    /// The object's name again.
    pub name: String,
    /// The cluster.
    pub clustername: String,
    /// Its storage.
    pub replicastorage: StorageSpec,
    /// Its resources.
    pub containerresources: ContainerResources,
    /// 4.1's state.
    pub status: String,
    /// Settings and labels.
    pub userlabels: BTreeMap<String, String>,
}

/// 4.1's state of a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PgreplicaStatus {
    /// `pgreplica Created` and the like.
    pub state: String,
    /// For people.
    pub message: String,
}
