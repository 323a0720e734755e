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

/// What became of a request that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestVerdict {
    /// It did what was asked.
    Completed,
    /// It did not; why.
    Failed(String),
}

impl RequestStatus {
    /// What became of the request; none while it is not over.
    #[must_use]
    pub fn verdict(&self) -> Option<RequestVerdict> {
        let mut conditions = self.conditions.iter();
        conditions.find_map(|condition| match condition {
            condition if condition["type"] != "Complete" => None,
            condition if condition["status"] == "True" => Some(RequestVerdict::Completed),
            condition if condition["reason"] == "Failed" => {
                let why = condition["message"].as_str().unwrap_or_default();
                Some(RequestVerdict::Failed(why.to_owned()))
            }
            _ => None,
        })
    }
}
