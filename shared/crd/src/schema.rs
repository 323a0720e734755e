//! Schemas of what the core writes into a status: structural, and tight where a user may read it.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Operations of a journal.
pub(crate) fn operations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "The newest operations, oldest first.",
        "type": "array",
        "items": {
            "type": "object",
            "required": ["id", "kind", "actor", "started"],
            "properties": {
                "id": {"type": "string"},
                "kind": {"type": "string"},
                "actor": {"type": "string"},
                "started": {"type": "string", "format": "date-time"},
                "finished": {"type": "string", "format": "date-time"},
                "outcome": {"type": "string", "enum": ["Completed", "Failed"]},
                "cause": {"type": "string"},
                "steps": {"type": "integer"},
                "generation": {"type": "integer", "format": "int64"},
                "delete": {
                    "type": "object",
                    "properties": {"data": {"type": "boolean"}, "backups": {"type": "boolean"}},
                },
            },
        },
    })
}

/// An outbox; its entries are events and carry what their type has.
pub(crate) fn outbox(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Events that the event service has not confirmed yet.",
        "type": "object",
        "properties": {
            "last": {"type": "integer", "format": "int64", "description": "Seq of the newest event."},
            "entries": {
                "type": "array",
                "x-kubernetes-list-type": "atomic",
                "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            },
        },
    })
}

/// Conditions.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Conditions, for kubectl wait.",
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {"type": "string"},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "reason": {"type": "string"},
                "message": {"type": "string"},
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "observedGeneration": {"type": "integer", "format": "int64"},
            },
        },
    })
}

/// Instances of a cluster.
pub(crate) fn instances(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "The instances of the cluster.",
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "podUid": {"type": "string"},
                "role": {"type": "string"},
                "ready": {"type": "boolean"},
                "node": {"type": "string"},
                "term": {"type": "integer", "format": "int64"},
                "timeline": {"type": "integer", "format": "int64"},
                "postgresVersion": {"type": "string"},
            },
        },
    })
}
