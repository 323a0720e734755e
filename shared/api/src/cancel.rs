//! Operations that are to go on no longer: `POST /workflowcancel`.

use crate::wire::wire;

wire! {
    /// `POST /workflowcancel`.
    pub struct CancelWorkflowRequest {
        /// Namespace to look in.
        namespace: String = "Namespace",
        /// Ids of operations.
        args: Vec<String> = "Args",
        /// Version of the client.
        client_version: String = "ClientVersion",
    }
}

wire! {
    /// Answer of `POST /workflowcancel`.
    pub response CancelWorkflowResponse {
        /// One text per operation that is being cancelled.
        results: Vec<String> = "Results",
        /// These operations.
        cancelled: Vec<CancelledWorkflow> = "Cancelled",
    }
}

wire! {
    /// An operation that is being cancelled: it is over once it has failed for that.
    pub struct CancelledWorkflow {
        /// The cluster.
        cluster: String = "Cluster",
        /// Id of the operation.
        operation: String = "OperationID",
    }
}
