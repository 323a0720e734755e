//! Scale clusters up and down: the queries of `/clusters/scale/{name}`, `/scale/{name}` and `/scaledown/{name}`, and their
//! answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::wire::wire;

/// Query of `/clusters/scale/{name}`. An empty text means the cluster's own setting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct ScaleQuery {
    /// How many replicas are added.
    pub replica_count: String,
    /// Resource configuration of pgo.yaml.
    pub resources_config: String,
    /// Storage configuration of pgo.yaml.
    pub storage_config: String,
    /// `key=value` that a node must have for the replicas to run there.
    pub node_label: String,
    /// Version of the client.
    pub version: String,
    /// Tag of the image.
    pub ccp_image_tag: String,
    /// `ClusterIP`, `NodePort` or `LoadBalancer`.
    pub service_type: String,
    /// Namespace of the cluster.
    pub namespace: String,
}

impl ScaleQuery {
    /// As the part of a URL after `?`.
    pub fn to_query(&self) -> String {
        crate::events::query([
            ("replica-count", &*self.replica_count),
            ("resources-config", &*self.resources_config),
            ("storage-config", &*self.storage_config),
            ("node-label", &*self.node_label),
            ("version", &*self.version),
            ("ccp-image-tag", &*self.ccp_image_tag),
            ("service-type", &*self.service_type),
            ("namespace", &*self.namespace),
        ])
    }
}

/// Query of `/scaledown/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct ScaleDownQuery {
    /// Version of the client.
    pub version: String,
    /// The replica that goes.
    pub replica_name: String,
    /// `true`: its data goes too.
    pub delete_data: String,
    /// Namespace of the cluster.
    pub namespace: String,
}

impl ScaleDownQuery {
    /// As the part of a URL after `?`.
    pub fn to_query(&self) -> String {
        crate::events::query([
            ("version", &*self.version),
            ("replica-name", &*self.replica_name),
            ("delete-data", &*self.delete_data),
            ("namespace", &*self.namespace),
        ])
    }
}

wire! {
    /// Answer of `/clusters/scale/{name}`.
    pub response ClusterScaleResponse {
        /// One text per replica. `None` (`null`) where nothing was done, as 4.1 has it.
        results: Option<Vec<String>> = "Results",
    }
}

wire! {
    /// Answer of `/scale/{name}`.
    pub response ScaleQueryResponse {
        /// Empty in 4.1; `None` (`null`) where the request was refused.
        results: Option<Vec<String>> = "Results",
        /// The replicas; `None` (`null`) likewise.
        targets: Option<Vec<ScaleQueryTarget>> = "Targets",
    }
}

wire! {
    /// A replica that can be removed.
    pub struct ScaleQueryTarget {
        /// Its name.
        name: String = "Name",
        /// `ready/all` containers.
        ready_status: String = "ReadyStatus",
        /// Node it runs on.
        node: String = "Node",
        /// Positions in the WAL, as in `receive 50331648 replay 50331648`.
        rep_status: String = "RepStatus",
    }
}

wire! {
    /// Answer of `/scaledown/{name}`.
    pub response ScaleDownResponse {
        /// One text.
        results: Vec<String> = "Results",
        /// New: id of the operation, by which its events are found.
        operation: String = "OperationID",
    }
}
