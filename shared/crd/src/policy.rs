//! Pgpolicy: SQL that is kept by name.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::RequestStatus;

/// A policy, under 4.1's names.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema,
)]
#[kube(
    group = "crunchydata.com",
    version = "v1",
    kind = "Pgpolicy",
    plural = "pgpolicies",
    singular = "pgpolicy",
    namespaced,
    status = "RequestStatus",
    doc = "SQL that can be applied to PostgreSQL clusters",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("!has(self.spec.name) || self.spec.name == '' || self.spec.name == self.metadata.name")
        .message("spec.name is the object's name")
)]
#[x_kube(
    validation = Rule::new("(has(self.sql) && self.sql != '') || (has(self.url) && self.url != '')")
        .message("a policy has SQL, in sql, or the place of it, in url")
)]
pub struct PgpolicySpec {
    /// The object's namespace again.
    #[schemars(length(max = 63))]
    #[serde(default)]
    pub namespace: String,
    /// The object's name again.
    #[schemars(length(max = 253))]
    #[serde(default)]
    pub name: String,
    /// Where the SQL is.
    #[schemars(length(max = 2048))]
    #[serde(default)]
    pub url: String,
    /// The SQL; far below etcd's limit of 1.5 MiB for a request.
    #[schemars(length(max = 524_288))]
    #[serde(default)]
    pub sql: String,
    /// 4.1's state.
    #[schemars(length(max = 64))]
    #[serde(default)]
    pub status: String,
}
