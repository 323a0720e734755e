//! Minor upgrades: `POST /upgrades`.

use crate::wire::wire;

wire! {
    /// `POST /upgrades`.
    pub struct CreateUpgradeRequest {
        /// Names of clusters; `all` means all of the namespace, or of all namespaces.
        args: Vec<String> = "Args",
        /// Kubernetes label selector; before the names where both are given.
        selector: String = "Selector",
        /// Namespace to look in.
        namespace: String = "Namespace",
        /// New: look in all namespaces that the user may use; goes with `all` and without `Namespace`.
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        all_namespaces: bool = "AllNamespaces",
        /// Tag of the image that is wanted; empty means that of `pgo.yaml`.
        ccp_image_tag: String = "CCPImageTag",
        /// Version of the client.
        client_version: String = "ClientVersion",
    }
}

wire! {
    /// Answer of `POST /upgrades`.
    pub response CreateUpgradeResponse {
        /// One text per cluster.
        results: Vec<String> = "Results",
        /// New: the upgrades that were asked for.
        upgrades: Vec<AskedUpgrade> = "Upgrades",
    }
}

wire! {
    /// An upgrade that was asked for.
    pub struct AskedUpgrade {
        /// The cluster.
        cluster: String = "Cluster",
        /// Its namespace.
        namespace: String = "Namespace",
        /// Id of the operation, by which its events are found.
        operation: String = "OperationID",
    }
}
