//! What a status says of backups.

use serde_json::{Value, json};

use super::{count, drills, dumps, label, restores, small, time, uuid, with_description};

/// What the status of a cluster says of backups.
pub(super) fn of_cluster() -> Value {
    json!({
        "stanza": stanza(),
        "backup": run(),
        "lastBackup": last(),
        "drills": drills::drills(),
        "lastProvenRestore": drills::proven(),
        "restore": restores::run(),
        "restored": restores::restored(),
        "adopted": restores::adopted(),
        "retired": restores::retired(),
        "dump": dumps::run(),
        "dumps": dumps::made(),
    })
}

/// The stanza of the repository.
fn stanza() -> Value {
    json!({
        "description": "The stanza of the repository of backups.",
        "type": "object",
        "required": ["volume", "attempt", "operation"],
        "properties": {
            "volume": {"type": "string"}, "attempt": small(), "operation": uuid(), "made": {"type": "boolean"},
            "failed": time(), "error": {"type": "string"},
        },
    })
}

/// A backup that goes on.
fn run() -> Value {
    json!({
        "description": "The backup that goes on.",
        "type": "object",
        "required": ["operation", "options", "since"],
        "properties": {
            "operation": uuid(),
            "options": {"type": "array", "items": {"type": "string"}},
            "replica": with_description(&label(), "The replica that files are copied from."),
            "since": time(),
            "begun": {"type": "boolean"},
            "away": with_description(&time(), "Since when the repository cannot be heard, or not work."),
        },
    })
}

/// The newest backup.
fn last() -> Value {
    json!({
        "description": "The newest backup.",
        "type": "object",
        "required": ["label", "type", "sizeBytes"],
        "properties": {
            "label": {"type": "string", "description": "pgBackRest's name for it."},
            "type": {"type": "string", "description": "`full`, `diff` or `incr`."},
            "finished": with_description(&time(), "When it was complete."),
            "sizeBytes": with_description(&count(), "Size of the database."),
            "damaged": {"type": "boolean", "description": "Whether pages have wrong checksums in it."},
        },
    })
}
