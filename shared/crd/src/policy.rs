//! Pgpolicy: SQL that is kept by name.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A policy, under 4.1's names.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, CustomResource, JsonSchema,
)]
#[kube(
    group = "crunchydata.com",
    version = "v1",
    kind = "Pgpolicy",
    plural = "pgpolicies",
    singular = "pgpolicy",
    namespaced,
    status = "PgpolicyStatus",
    doc = "SQL that can be applied to PostgreSQL clusters",
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(default)]
pub struct PgpolicySpec {
    /// The object's namespace again.
    pub namespace: String,
    /// The object's name again.
    pub name: String,
    /// Where the SQL is.
    pub url: String,
    /// The SQL.
    pub sql: String,
    /// 4.1's state.
    pub status: String,
}

/// 4.1's state of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PgpolicyStatus {
    /// `pgpolicy Created` and the like.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}
