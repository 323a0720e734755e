//! Reload of the configuration: `POST /reload`; restarts in place: `POST /restart` and `GET /restart/{name}`.

use crate::wire::wire;

wire! {
    /// `POST /reload`.
    pub struct ReloadRequest {
        /// Namespace to look in.
        namespace: String = "Namespace",
        /// Names of clusters; `all` means all of the namespace.
        args: Vec<String> = "Args",
        /// Kubernetes label selector; before the names where both are given.
        selector: String = "Selector",
    }
}

wire! {
    /// Answer of `POST /reload`.
    pub response ReloadResponse {
        /// One text per cluster, and what waits for a restart.
        results: Vec<String> = "Results",
    }
}

wire! {
    /// `POST /restart`.
    pub struct RestartRequest {
        /// Namespace to look in.
        namespace: String = "Namespace",
        /// Names of clusters; `all` means all of the namespace.
        args: Vec<String> = "Args",
        /// Kubernetes label selector; before the names where both are given.
        selector: String = "Selector",
        /// The one instance that is to be restarted, of one cluster; all where it is empty.
        target: String = "Target",
        /// Version of the client.
        client_version: String = "ClientVersion",
    }
}

wire! {
    /// Answer of `POST /restart`.
    pub response RestartResponse {
        /// One text per cluster.
        results: Vec<String> = "Results",
        /// The restarts that were asked for.
        restarts: Vec<AskedRestart> = "Restarts",
    }
}

wire! {
    /// A restart that was asked for.
    pub struct AskedRestart {
        /// The cluster.
        cluster: String = "Cluster",
        /// Id of the operation, by which its events are found.
        operation: String = "OperationID",
    }
}

wire! {
    /// Answer of `GET /restart/{name}`.
    pub response QueryRestartResponse {
        /// The instances, the primary first.
        results: Vec<RestartTarget> = "Results",
    }
}

wire! {
    /// An instance that can be restarted.
    pub struct RestartTarget {
        /// Its name.
        name: String = "InstanceName",
        /// `primary` or `replica`; empty where it says nothing.
        role: String = "Role",
        /// `running`, or what it does instead.
        status: String = "Status",
        /// Node it runs on.
        node: String = "Node",
        /// On a replica: whether WAL flows, and how far it is behind.
        replication: String = "Replication",
        /// Whether settings wait for a restart.
        pending: bool = "PendingRestart",
        /// Their names.
        settings: Vec<String> = "PendingSettings",
    }
}
