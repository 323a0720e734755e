//! Pgtask: a request that is not a cluster's spec.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::StorageSpec;

/// A request, under 4.1's names.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, CustomResource, JsonSchema,
)]
#[kube(
    group = "crunchydata.com",
    version = "v1",
    kind = "Pgtask",
    plural = "pgtasks",
    singular = "pgtask",
    namespaced,
    status = "PgtaskStatus",
    doc = "A request of an operation on a PostgreSQL cluster",
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.tasktype"),
    printcolumn(name = "Status", type_ = "string", json_path = ".spec.status"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(default)]
pub struct PgtaskSpec {
    /// The object's namespace again.
    pub namespace: String,
    /// The object's name again.
    pub name: String,
    /// Storage, with the types that need some.
    pub storagespec: StorageSpec,
    /// What is asked for; 4.1's words.
    pub tasktype: String,
    /// 4.1's state.
    pub status: String,
    /// What the type needs.
    pub parameters: BTreeMap<String, String>,
}

/// 4.1's state of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PgtaskStatus {
    /// `pgtask Created` and the like.
    pub state: String,
    /// For people.
    pub message: String,
}

/// The types of task that PGO carries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskType {
    /// Follows a cluster's creation; nothing to do for it.
    Workflow,
    /// Removes a cluster.
    DeleteData,
}

impl TaskType {
    /// 4.1's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workflow => "workflow",
            Self::DeleteData => "delete-data",
        }
    }
}
