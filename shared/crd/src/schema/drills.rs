//! What a status says of restore drills.

use pgo_core::DrillPolicy;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::{count, small, time, uuid, with_description};

/// When backups are tried.
pub(crate) fn drill_policy(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": DrillPolicy::ALL})
}

/// Which backups were tried.
pub(super) fn drills() -> Value {
    json!({
        "description": "Which backups were restored for trial, and what became of them.",
        "type": "object",
        "properties": {
            "run": {
                "description": "The trial that goes on.",
                "type": "object",
                "required": ["operation", "backup"],
                "properties": {
                    "operation": uuid(),
                    "backup": {"type": "string", "description": "pgBackRest's name for the backup."},
                    "asked": {"type": "boolean", "description": "Whether somebody asked for it."},
                    "since": with_description(&time(), "Since when its pod could be there."),
                    "lost": with_description(&small(), "How many pods of it ended without a verdict."),
                    "troubled": with_description(&time(), "When the first of those did."),
                    "notBefore": with_description(&time(), "Before when no other one is made."),
                    "ended": {"type": "string", "description": "Uid of the last of those."},
                },
            },
            "last": with_description(&time(), "When the last one began."),
            "verdicts": {
                "description": "What became of the backups that are still there, by pgBackRest's name for each.",
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "required": ["at", "proven"],
                    "properties": {
                        "at": time(),
                        "proven": {"type": "boolean", "description": "Whether it can be relied on."},
                        "cause": {"type": "string", "description": "Why not."},
                    },
                },
            },
            "untried": {
                "description": "The backups that could not be tried, of which nothing is known therefore, by the same name.",
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "required": ["at", "cause"],
                    "properties": {
                        "at": with_description(&time(), "When it was given up."),
                        "cause": {"type": "string", "description": "Why."},
                        "supersededOn": with_description(
                            &small(),
                            "Where it is of a former database, or of a timeline that was left: the timeline of the primary then. The \
                             policy has it tried again only on another one.",
                        ),
                    },
                },
            },
        },
    })
}

/// The last restore that was proven to work.
pub(super) fn proven() -> Value {
    json!({
        "description": "The last restore that was proven to work.",
        "type": "object",
        "required": ["backup", "at", "durationMs", "sizeBytes", "checksums", "structure"],
        "properties": {
            "backup": {"type": "string", "description": "pgBackRest's name for the backup."},
            "at": with_description(&time(), "When that was known."),
            "durationMs": with_description(&count(), "How long it took."),
            "sizeBytes": with_description(&count(), "Size of what was restored."),
            "lsn": {"type": "string", "description": "Up to where WAL was replayed."},
            "lastCommit": with_description(&time(), "When the last transaction in it was committed."),
            "checksums": {"type": "boolean", "description": "Whether pages were held against their checksums."},
            "structure": {"type": "boolean", "description": "Whether tables and indexes were held against each other."},
        },
    })
}
