//! What a status says of benchmarks and loads.

use serde_json::{Value, json};

use super::{time, uuid, with_description};

/// The benchmark, or the load, that goes on.
pub(super) fn run() -> Value {
    let texts = || json!({"type": "array", "items": {"type": "string"}});
    let number = || json!({"type": "integer", "minimum": 0, "maximum": u32::MAX});
    let group = || json!({"type": "integer", "format": "int64"});
    json!({
        "description": "The benchmark, or the load, that goes on.",
        "type": "object",
        "required": ["operation", "work", "since"],
        "properties": {
            "operation": uuid(),
            "work": {"type": "string", "enum": ["benchmark", "load"]},
            "database": {"type": "string"},
            "init": texts(),
            "options": texts(),
            "clients": number(),
            "threads": number(),
            "scale": number(),
            "transactions": number(),
            "script": {"type": "string", "description": "The ConfigMap with the transaction."},
            "role": {"type": "string", "description": "The role whose rights a load has."},
            "table": {"type": "string"},
            "claim": {"type": "string", "description": "The claim with the file."},
            "file": {"type": "string"},
            "format": {"type": "string", "enum": ["csv", "json"]},
            "fsGroup": group(),
            "supplementalGroup": group(),
            "since": with_description(&time(), "Since when it goes on."),
            "pod": {"type": "string", "description": "Uid of its pod."},
        },
    })
}
