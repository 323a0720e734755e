//! Another primary: `POST /failover` and `GET /failover/{name}`; whether instances take over by themselves:
//! `POST /clustersupdate`.

use crate::wire::wire;

wire! {
    /// `POST /failover`.
    pub struct CreateFailoverRequest {
        /// Namespace of the cluster.
        namespace: String = "Namespace",
        /// The cluster.
        cluster_name: String = "ClusterName",
        /// `true`, `false` or empty. The former primary follows as a replica in any case, in the place of the promoted one.
        autofail_replace_replica: String = "AutofailReplaceReplica",
        /// The instance that is to be primary; the fittest where it is empty.
        target: String = "Target",
        /// Version of the client.
        client_version: String = "ClientVersion",
        /// New: only where the primary can hand over in order; goes also while instances may take over by themselves.
        planned: bool = "Planned",
    }
}

wire! {
    /// Answer of `POST /failover`.
    pub response CreateFailoverResponse {
        /// One text, and the id of the operation.
        results: Vec<String> = "Results",
        /// Always empty, as in 4.1.
        targets: String = "Targets",
        /// New: id of the operation, by which its events are found.
        operation: String = "OperationID",
    }
}

wire! {
    /// Answer of `GET /failover/{name}`.
    pub response QueryFailoverResponse {
        /// Empty in 4.1.
        results: Option<Vec<String>> = "Results",
        /// The replicas.
        targets: Option<Vec<FailoverTarget>> = "Targets",
    }
}

wire! {
    /// A replica that can become the primary.
    pub struct FailoverTarget {
        /// Its name.
        name: String = "Name",
        /// `ready/all` containers.
        ready_status: String = "ReadyStatus",
        /// Node it runs on.
        node: String = "Node",
        /// Whether the node is one that `PreferredFailoverNode` of pgo.yaml selects.
        preferred_node: bool = "PreferredNode",
        /// New in what it says: whether WAL flows, and how far behind the replica is.
        rep_status: String = "RepStatus",
        /// How far it has received WAL, in bytes.
        receive_location: u64 = "ReceiveLocation",
        /// How far it has replayed WAL, in bytes.
        replay_location: u64 = "ReplayLocation",
    }
}

wire! {
    /// `POST /clustersupdate`.
    pub struct UpdateClusterRequest {
        /// Names of clusters.
        cluster_names: Vec<String> = "Clustername",
        /// Kubernetes label selector; before the names where both are given.
        selector: String = "Selector",
        /// Version of the client.
        client_version: String = "ClientVersion",
        /// Namespace to look in.
        namespace: String = "Namespace",
        /// All clusters of the namespace.
        all_flag: bool = "AllFlag",
        /// Whether instances take over by themselves.
        autofail: bool = "Autofail",
        /// New: leaves that as it is.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        keep_autofail: bool = "KeepAutofail",
        /// New: the size that volumes are to have, as a quantity of Kubernetes; empty: the one they have.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        pvc_size: String = "PVCSize",
        /// New: which backups are restored for trial from now on: `each`, `daily` or `never`; empty: as it is.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        restore_drills: String = "RestoreDrills",
    }
}

wire! {
    /// Answer of `POST /clustersupdate`.
    pub response UpdateClusterResponse {
        /// One text per cluster.
        results: Vec<String> = "Results",
    }
}
