//! What a status says of dumps.

use serde_json::{Value, json};

use super::{count, label, time, uuid, with_description};

/// A dump, or the restore of one, that goes on.
pub(super) fn run() -> Value {
    json!({
        "description": "The dump, or the restore of one, that goes on.",
        "type": "object",
        "required": ["operation", "work", "options", "claim", "since"],
        "properties": {
            "operation": uuid(),
            "work": {"type": "string", "enum": ["make", "load", "baseBackup", "baseRestore"]},
            "database": {"type": "string"},
            "all": {"type": "boolean", "description": "Whether all databases are dumped."},
            "format": {"type": "string", "enum": ["plain", "custom", "tar"]},
            "dump": {"type": "string", "description": "The dump that is restored; the newest where it is not said."},
            "options": {"type": "array", "items": {"type": "string"}},
            "source": {
                "description": "The server that pg_basebackup copies.",
                "type": "object",
                "required": ["instance", "address", "port"],
                "properties": {
                    "instance": label(),
                    "address": {"type": "string"},
                    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
                },
            },
            "backup": {"type": "string", "description": "The backup that is restored; the newest where it is not said."},
            "to": with_description(&label(), "The claim that it is restored to."),
            "nodeLabel": {"type": "string", "description": "Label of the nodes that its pod prefers."},
            "claim": {"type": "string", "description": "The claim of its volume."},
            "since": with_description(&time(), "Since when its present pod is to come."),
            "pod": {"type": "string", "description": "Uid of the pod that was seen last."},
            "lost": {
                "description": "Uids of the pods that were ended before they said what became of it.",
                "type": "array",
                "items": {"type": "string"},
            },
        },
    })
}

/// The dumps that were made.
pub(super) fn made() -> Value {
    json!({
        "description": "The dumps that were made last, the newest last.",
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name", "claim", "path", "finished", "sizeBytes"],
            "properties": {
                "name": {"type": "string", "description": "When it was begun."},
                "claim": {"type": "string", "description": "The claim of its volume."},
                "path": {"type": "string", "description": "Where it lies on that."},
                "finished": with_description(&time(), "When it was complete."),
                "sizeBytes": count(),
                "base": {"type": "boolean", "description": "Whether it is a copy by pg_basebackup."},
            },
        },
    })
}
