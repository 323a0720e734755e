//! Restores by pgBackRest: `POST /restore`.

use crate::wire::wire;

wire! {
    /// `POST /restore`. 4.1's client sends no version with it.
    pub struct RestoreRequest {
        /// Namespace of the cluster.
        namespace: String = "Namespace",
        /// The cluster.
        from_cluster: String = "FromCluster",
        /// Name of the new instance and its claim: the cluster's, a dash, and four lower-case letters. Drawn where it is empty.
        to_pvc: String = "ToPVC",
        /// Options of `pgbackrest restore`, such as `--type=xid --target=731`.
        restore_opts: String = "RestoreOpts",
        /// A point in time.
        pitr_target: String = "PITRTarget",
        /// Label of the nodes that the new instance prefers, `key=value`.
        node_label: String = "NodeLabel",
        /// `local` or `s3`; empty means what the cluster has.
        backrest_storage_type: String = "BackrestStorageType",
    }
}

wire! {
    /// Answer of `POST /restore`.
    pub response RestoreResponse {
        /// One text, and the id of the operation.
        results: Vec<String> = "Results",
        /// New, and only there where there is one: id of the operation, by which its events are found.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        operation: String = "OperationID",
    }
}
