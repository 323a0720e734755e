//! Policies: the bodies of `/policies`, `/showpolicies`, `/policiesdelete` and `/policies/apply`.

use serde_json::Value;

use crate::wire::wire;

wire! {
    /// `POST /policies`, whose answer is an outcome alone.
    pub struct CreatePolicyRequest {
        /// Name of the policy.
        name: String = "Name",
        /// Where its SQL is; it is fetched when it is applied, where there is none beside it.
        url: String = "URL",
        /// Its SQL.
        sql: String = "SQL",
        /// Namespace of the policy.
        namespace: String = "Namespace",
        /// Version of the client.
        client_version: String = "ClientVersion",
    }
}

wire! {
    /// `POST /showpolicies`.
    pub struct ShowPolicyRequest {
        /// Sent by no client.
        selector: String = "Selector",
        /// Namespace to look in.
        namespace: String = "Namespace",
        /// All policies of the namespace.
        all: bool = "AllFlag",
        /// Version of the client.
        client_version: String = "ClientVersion",
        /// Name of one.
        policy_name: String = "Policyname",
    }
}

wire! {
    /// Answer of `POST /showpolicies`. Nothing found is no failure.
    pub response ShowPolicyResponse {
        /// What was found.
        policy_list: PolicyList = "PolicyList",
    }
}

wire! {
    /// A list as Kubernetes has it.
    pub struct PolicyList {
        /// With a version where all were asked for.
        metadata: Value = "metadata",
        /// Pgpolicies as Kubernetes has them; `null` where one was asked for and is not there.
        items: Option<Vec<Value>> = "items",
    }
}

wire! {
    /// `POST /policiesdelete`.
    pub struct DeletePolicyRequest {
        /// Sent by no client.
        selector: String = "Selector",
        /// Namespace to look in.
        namespace: String = "Namespace",
        /// All policies of the namespace.
        all: bool = "AllFlag",
        /// Version of the client.
        client_version: String = "ClientVersion",
        /// Name of one.
        policy_name: String = "PolicyName",
    }
}

wire! {
    /// Answer of `POST /policiesdelete`.
    pub response DeletePolicyResponse {
        /// One text per policy.
        results: Vec<String> = "Results",
    }
}

wire! {
    /// `POST /policies/apply`.
    pub struct ApplyPolicyRequest {
        /// Name of the policy.
        name: String = "Name",
        /// Kubernetes label selector of clusters.
        selector: String = "Selector",
        /// Whether only to say on which clusters it would be applied.
        dry_run: bool = "DryRun",
        /// Namespace to look in.
        namespace: String = "Namespace",
        /// Version of the client.
        client_version: String = "ClientVersion",
    }
}

wire! {
    /// Answer of `POST /policies/apply`. Nothing selected is no failure.
    pub response ApplyPolicyResponse {
        /// The clusters that it was, or would be, applied to, by the names 4.1 gives their Deployments.
        name: Vec<String> = "Name",
        /// New, and only there where there are any: those that it had been applied to before.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        before: Vec<String> = "AppliedBefore",
    }
}
