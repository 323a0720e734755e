//! What a status says of policies.

use serde_json::{Value, json};

use super::{label, time, uuid};

/// The policy whose turn it is.
pub(super) fn run() -> Value {
    json!({
        "description": "The policy whose turn it is.",
        "type": "object",
        "required": ["operation", "since"],
        "properties": {
            "operation": uuid(),
            "server": {
                "description": "The server that is to run it, by when it was started.",
                "type": "object",
                "required": ["instance", "started"],
                "properties": {"instance": label(), "started": time()},
            },
            "since": time(),
        },
    })
}

/// Where and as whom a policy runs that is not run as policies are by default.
pub(super) fn place() -> Value {
    json!({
        "type": "object",
        "properties": {"database": {"type": "string"}, "secret": {"type": "string"}},
    })
}

/// The policies that were applied.
pub(super) fn applied() -> Value {
    json!({
        "description": "Names of the policies that were applied.",
        "type": "array",
        "items": {"type": "string"},
    })
}

/// Those whose making or deletion was told.
pub(super) fn told() -> Value {
    json!({
        "description": "Makings and deletions of policies that were told, as long as the policies do not show that.",
        "type": "array",
        "items": uuid(),
    })
}
