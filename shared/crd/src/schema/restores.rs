//! What a status says of restores.

use serde_json::{Value, json};

use super::{count, label, time, uuid, with_description};

fn options() -> Value {
    json!({"type": "array", "items": {"type": "string"}, "description": "Arguments for pgBackRest."})
}

fn reached() -> Value {
    json!({
        "description": "What was restored, once that is known.",
        "type": "object",
        "properties": {
            "backup": {"type": "string", "description": "pgBackRest's name for the backup."},
            "sizeBytes": with_description(&count(), "Size of the database in it."),
            "startWal": {"type": "string", "description": "The first WAL file that the backup needs."},
            "stopWal": {"type": "string", "description": "The last one."},
            "damaged": {"type": "boolean", "description": "Whether pages with wrong checksums were in it when it was made."},
            "lastCommit": with_description(&time(), "When the last transaction in it was committed."),
            "lsn": {"type": "string", "description": "Place in the WAL."},
        },
    })
}

/// A restore that goes on.
pub(super) fn run() -> Value {
    json!({
        "description": "The restore that goes on.",
        "type": "object",
        "required": ["operation", "options", "instance", "target", "stage", "since", "term"],
        "properties": {
            "operation": uuid(),
            "options": options(),
            "instance": with_description(&label(), "The new instance, and its claim."),
            "nodeLabel": {"type": "string", "description": "Node label that its pod prefers."},
            "target": {"type": "string", "description": "Up to where."},
            "stage": {
                "type": "string", "enum": ["checking", "replaying", "stopping", "giving", "clearing"],
                "description": "How far it is.",
            },
            "since": with_description(&time(), "Since when."),
            "begun": {"type": "boolean"},
            "away": with_description(&time(), "Since when who works on it is not heard, or cannot work."),
            "mark": {
                "description": "How far the new instance was when that was noted last.",
                "type": "object",
                "required": ["at", "what"],
                "properties": {"at": time(), "what": {"type": "string"}},
            },
            "term": {"type": "integer", "format": "int64", "minimum": 0},
            "reached": reached(),
            "told": {"type": "boolean", "description": "Whether its end was told, though the new instance does not serve yet."},
        },
    })
}

/// What the cluster was restored to last.
pub(super) fn restored() -> Value {
    json!({
        "description": "What the cluster was restored to last: its first instance is another one since then.",
        "type": "object",
        "required": ["operation", "options", "instance", "former"],
        "properties": {
            "operation": uuid(),
            "options": options(),
            "instance": with_description(&label(), "The instance, and its claim."),
            "nodeLabel": {"type": "string", "description": "Node label that its pod prefers."},
            "former": with_description(&label(), "The claim that has the data as it was before."),
            "reached": reached(),
            "at": with_description(&time(), "When the instance served first."),
        },
    })
}

/// The first instance of a cluster that goes on with kept data.
pub(super) fn adopted() -> Value {
    with_description(
        &label(),
        "The first instance, where a former cluster of the name had been restored to it.",
    )
}

/// Instances that made way for a restored one.
pub(super) fn retired() -> Value {
    json!({
        "description": "Former first instances whose claims have the data as it was before a restore.",
        "type": "array",
        "items": label(),
    })
}
