//! What is beside the database: `/df/{name}`, `POST /ls` and `POST /cat`; and how far something is: `GET /workflow/{id}`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::wire::wire;

/// Query of `/df/{name}`. The name `all` means all clusters of the namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DfQuery {
    /// Kubernetes label selector; before the name where both are given.
    pub selector: String,
    /// Version of the client.
    pub version: String,
    /// Namespace to look in.
    pub namespace: String,
}

impl DfQuery {
    /// As the part of a URL after `?`.
    pub fn to_query(&self) -> String {
        crate::events::query([
            ("selector", &*self.selector),
            ("version", &*self.version),
            ("namespace", &*self.namespace),
        ])
    }
}

wire! {
    /// Answer of `/df/{name}`.
    pub response DfResponse {
        /// One per instance.
        results: Vec<DfDetail> = "Results",
    }
}

wire! {
    /// An instance and its volume. What could not be had is empty or zero, and `Problem` says why.
    pub struct DfDetail {
        /// The pod.
        name: String = "Name",
        /// Size of its databases, as PostgreSQL writes it.
        pg_size: String = "PGSize",
        /// Capacity of its claim, as a quantity of Kubernetes.
        claim_size: String = "ClaimSize",
        /// How much of the volume is used, in per cent. In 4.1 it was the part of the databases alone.
        percent: i64 = "Pct",
        /// Whether its agent and its PostgreSQL answer.
        working: bool = "Working",
        /// New: the cluster.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        cluster: String = "Cluster",
        /// New: `primary`, `replica` or `repository`.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        role: String = "Role",
        /// New: the claim.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        claim: String = "Claim",
        /// New: what of the volume is used and what can still be, in bytes.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        volume_bytes: u64 = "VolumeBytes",
        /// New: what of it is used, in bytes.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        volume_used: u64 = "VolumeUsed",
        /// New: size of the databases, in bytes.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        pg_bytes: u64 = "PGBytes",
        /// New: what could not be had, and why.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        problem: String = "Problem",
    }
}

wire! {
    /// `POST /ls` and `POST /cat`.
    pub struct FilesRequest {
        /// Namespace of the cluster.
        namespace: String = "Namespace",
        /// The cluster, and then paths.
        args: Vec<String> = "Args",
    }
}

wire! {
    /// Answer of `POST /ls` and `POST /cat`.
    pub response FilesResponse {
        /// One text per path.
        results: Vec<String> = "Results",
    }
}

wire! {
    /// Answer of `GET /workflow/{id}`.
    pub response ShowWorkflowResponse {
        /// What is known of it.
        results: ShowWorkflowDetail = "Results",
    }
}

wire! {
    /// What a task says, and how far its operation is.
    pub struct ShowWorkflowDetail {
        /// The cluster.
        cluster_name: String = "ClusterName",
        /// The task's parameters, among them 4.1's steps with their times; `None` (`null`) where nothing was found.
        parameters: Option<BTreeMap<String, String>> = "Parameters",
        /// New: the task.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        task: String = "Task",
        /// New: its type, in 4.1's words.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        task_type: String = "TaskType",
        /// New: `waiting`, `running`, `completed` or `failed`; empty where nobody knows any more.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        state: String = "State",
        /// New: why it failed.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        cause: String = "Cause",
        /// New: when it began (RFC 3339).
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        started: String = "Started",
        /// New: when it ended (RFC 3339).
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        finished: String = "Finished",
    }
}
