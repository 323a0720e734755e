//! The status that Pgtask, Pgreplica, Pgpolicy and Pgbackup have in common: 4.1's state, and conditions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema;

/// 4.1's state of a request, and what became of it. Only the reconciler writes it, and nothing is decided by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RequestStatus {
    /// 4.1's `pgtask Processed` and the like.
    #[schemars(length(max = 64))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// 4.1's message to it.
    #[schemars(length(max = 256))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    // As whoever wrote them did: one that is not well formed must not hide the request.
    /// Conditions, for kubectl wait.
    #[schemars(schema_with = "schema::conditions")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Value>,
}
