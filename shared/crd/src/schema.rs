//! Schemas of what the core writes into a status: structural, and as tight as the core reads it, so that nothing can be
//! stored that it does not understand. The words come from the core's types.

mod backups;
mod drills;
mod dumps;
mod jobs;
mod policies;
mod restores;

pub(crate) use drills::drill_policy;
use pgo_core::{ConditionStatus, DrillPolicy, Kind, Level, Outcome, Phase};
use pgo_events::{EventType, Field, FieldKind, Severity, Stage, Topic};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Value, json};

/// A DNS-1035 label, as the names of clusters and instances are.
const LABEL: &str = "^[a-z]([-a-z0-9]*[a-z0-9])?$";

/// The status of a Pgcluster.
pub(crate) fn cluster_status(generator: &mut SchemaGenerator) -> Schema {
    let mut properties = of_cluster(generator);
    if let (Some(all), Value::Object(more)) = (properties.as_object_mut(), backups::of_cluster()) {
        all.extend(more);
    }
    json_schema!({
        "description": "State, operations and outbox. Only the reconciler writes it.",
        "type": "object",
        "required": ["conditions", "instances", "operations", "outbox"],
        "properties": properties,
    })
}

fn of_cluster(generator: &mut SchemaGenerator) -> Value {
    json!({
        "state": {"type": "string", "description": "4.1's `pgcluster Created` and `pgcluster Processed`."},
        "message": {"type": "string", "description": "4.1's message to it."},
        "phase": with_description(&word(&Phase::ALL), "In one word, how the cluster is."),
        "reason": {"type": "string", "description": "Why it is not ready, or what is being waited for."},
        "observedGeneration": {
            "type": "integer", "format": "int64", "description": "Generation this status is about.",
        },
        "conditions": conditions(generator),
        "promotion": promotion(),
        "lastTakeover": last_takeover(),
        "instances": instances(),
        "replicas": replicas(),
        "replicaCount": replica_count(),
        "currentPrimary": with_description(&label(), "The primary."),
        "term": {
            "type": "integer", "format": "int64", "minimum": 0,
            "description": "The newest term whose beginning was told.",
        },
        "formers": {
            "type": "object",
            "additionalProperties": {"type": "integer", "format": "int64", "minimum": 0},
            "description": "Of which former primary it was told what it had more than the primary of which term, the newest one.",
        },
        "images": images(),
        "upgrade": upgrade(),
        "settings": settings(),
        "toldNotes": {
            "description": "Notes on the Pgcluster that were told, while they are there.",
            "type": "array",
            "items": uuid(),
        },
        "toldRuns": told_runs(),
        "protection": protection(),
        "synchronous": synchronous(),
        "restart": restart(),
        "certificate": certificate(),
        "crashes": crashes(),
        "keptWal": kept_wal(),
        "job": jobs::run(),
        "policy": policies::run(),
        "appliedPolicies": policies::applied(),
        "archivingFailed": with_description(&time(), "Since when WAL is not archived, where that was told."),
        "volumes": volumes(),
        "operations": operations(),
        "outbox": outbox(),
    })
}

fn certificate() -> Value {
    json!({
        "description": "The agents' certificate.",
        "type": "object",
        "required": ["until"],
        "properties": {"until": time(), "late": {"type": "boolean"}},
    })
}

fn told_runs() -> Value {
    json!({
        "description": "Up to when the runs of each schedule were told, by its uid.",
        "type": "object",
        "additionalProperties": {"type": "string", "format": "date-time"},
    })
}

/// How many replicas there are to be.
fn replica_count() -> Value {
    json!({
        "description": "How many replicas there are to be, as it was accounted last.",
        "type": "object",
        "required": ["asked", "wanted", "made"],
        "properties": {"asked": small(), "wanted": small(), "made": small()},
    })
}

/// Pods that ended again and again.
fn crashes() -> Value {
    json!({
        "description": "Instances whose pods were made anew since they ended again and again.",
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "required": ["replaced", "pod", "since"],
            "properties": {"replaced": small(), "pod": {"type": "string"}, "since": time()},
        },
    })
}

/// WAL that replicas need.
fn kept_wal() -> Value {
    json!({
        "description": "What was told of the WAL that the primary keeps for instances that are away.",
        "type": "object",
        "additionalProperties": {"type": "string", "enum": ["atRisk", "lost"]},
    })
}

/// How full volumes are.
fn volumes() -> Value {
    json!({
        "description": "How full the volumes are, by the names of their claims.",
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "required": ["bytes", "used"],
            "properties": {
                "bytes": with_description(&count(), "What is used and what can still be, in bytes."),
                "used": with_description(&count(), "What is used, in bytes; to about a hundredth of the volume."),
                "told": with_description(&word(&Level::ALL), "How full it was told to be."),
                "marks": {
                    "description": "The last measures that differ, from which the rate follows.",
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["at", "used"],
                        "properties": {"at": time(), "used": count()},
                    },
                },
            },
        },
    })
}

/// What a change of settings is told against.
fn settings() -> Value {
    json!({
        "description": "The settings, as they were asked for last.",
        "type": "object",
        "required": ["autofail", "synchronous"],
        "properties": {
            "autofail": {"type": "boolean"}, "synchronous": small(), "syncFallback": {"type": "boolean"},
            "drills": word(&DrillPolicy::ALL), "size": {"type": "string"}, "growing": {"type": "boolean"}, "problem": {"type": "string"},
        },
    })
}

/// The status of a PgInstallation.
pub(crate) fn installation_status(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "State, operations and outbox. Only the reconciler writes it.",
        "type": "object",
        "required": ["conditions", "operations", "outbox"],
        "properties": {
            "phase": {
                "type": "string",
                "description": "`Starting`, `Running`, `Degraded`, `Stopping` or `Stopped`.",
            },
            "version": {"type": "string", "description": "Version that runs."},
            "processes": processes(),
            "leaders": {
                "description": "Who leads, by service.",
                "type": "object",
                "additionalProperties": {"type": "string"},
            },
            "toldPolicies": policies::told(),
            "config": with_description(&uuid(), "Tells the pgo.yaml that is in force from another one."),
            "certificates": {
                "description": "What was told of the certificates of its services, by Secret.",
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "required": ["until"],
                    "properties": {"until": time(), "warnedDays": small()},
                },
            },
            "observedGeneration": {
                "type": "integer", "format": "int64", "description": "Generation this status is about.",
            },
            "conditions": conditions(generator),
            "operations": operations(),
            "outbox": outbox(),
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
                "status": word(&ConditionStatus::ALL),
                "reason": {"type": "string"},
                "message": {"type": "string"},
                "lastTransitionTime": time(),
                "observedGeneration": {"type": "integer", "format": "int64"},
            },
        },
    })
}

/// Operations of a journal.
fn operations() -> Value {
    json!({
        "description": "The newest operations, oldest first.",
        "type": "array",
        "items": {
            "type": "object",
            "required": ["id", "kind", "actor", "started"],
            "properties": {
                "id": uuid(),
                "kind": word(Kind::ALL),
                "instance": label(),
                "actor": {"type": "string"},
                "task": {"type": "string"},
                "policy": {"type": "string"},
                "place": policies::place(),
                "backup": {"type": "string"},
                "table": {"type": "string"},
                "result": {"type": "string"},
                "tool": {"type": "string", "description": "With a backup that pgBackRest does not make: the program that does."},
                "started": time(),
                "finished": time(),
                "outcome": word(&Outcome::ALL),
                "cause": {"type": "string"},
                "steps": {"type": "integer", "minimum": 0},
                "generation": {"type": "integer", "format": "int64"},
                "delete": {
                    "type": "object",
                    "required": ["data", "backups"],
                    "properties": {"data": {"type": "boolean"}, "backups": {"type": "boolean"}},
                },
            },
        },
    })
}

/// An outbox. Its entries are events, which may have fields of a later version.
fn outbox() -> Value {
    json!({
        "description": "Events that the event service has not confirmed yet.",
        "type": "object",
        "required": ["last", "entries"],
        "properties": {
            "last": with_description(&count(), "Seq of the newest event."),
            "entries": {"type": "array", "x-kubernetes-list-type": "atomic", "items": event()},
            "paged": with_description(&count(), "Unconfirmed events up to this seq are in PgEventPages."),
            "omitted": with_description(&count(), "Steps left out since the newest event."),
            "waiting": with_description(&time(), "Since when something waits and nothing of it was confirmed."),
            "backlog": {
                "description": "There while events wait for too long, or too many.",
                "type": "object",
                "required": ["since", "omitted"],
                "properties": {"since": time(), "omitted": count()},
            },
            "dropped": with_description(&count(), "Events that had no room and are not told."),
            "unpublished": with_description(&count(), "There while eventing is off: events that were not published."),
        },
    })
}

fn event() -> Value {
    let mut properties = json!({
        "eventheader": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
            "required": ["EventType", "namespace", "username", "timestamp", "topic"],
            "properties": {
                "EventType": word(EventType::ALL),
                "namespace": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63},
                "username": {"type": "string"},
                "timestamp": time(),
                "topic": {"type": "array", "items": word(&Topic::ALL)},
            },
        },
        "stream": {"type": "string", "pattern": "^[-a-zA-Z0-9]+$", "maxLength": 64},
        "seq": count(),
        "operationid": uuid(),
        "stage": word(&Stage::ALL),
        "severity": word(&Severity::ALL),
        "step": {"type": "string"},
        "cause": {"type": "string"},
        "durationms": count(),
        "omitted": count(),
        "schemaversion": {"type": "integer", "minimum": 0, "maximum": u32::MAX},
    });
    for field in Field::ALL {
        properties[field.as_str()] = match field.kind() {
            FieldKind::Text => json!({"type": "string"}),
            FieldKind::Number => count(),
            FieldKind::Flag => json!({"type": "boolean"}),
        };
    }
    json!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "required": ["eventheader", "stream", "seq", "operationid", "stage", "severity", "schemaversion"],
        "properties": properties,
    })
}

/// What instances are made from.
fn images() -> Value {
    json!({
        "description": "What the instances are made from.",
        "type": "object",
        "required": ["said", "inForce"],
        "properties": {
            "said": {"type": "string", "description": "The spec's words when they were accounted for last."},
            "inForce": {"type": "string", "description": "The image of all instances."},
            "others": {
                "description": "Instances with another image.",
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["instance", "image"],
                    "properties": {"instance": label(), "image": {"type": "string"}},
                },
            },
        },
    })
}

/// How far an upgrade is.
fn upgrade() -> Value {
    json!({
        "description": "The upgrade that goes on, or the last one.",
        "type": "object",
        "required": ["operation", "image", "formerVersion", "stage", "since"],
        "properties": {
            "operation": uuid(),
            "image": {"type": "string"},
            "version": {"type": "string", "description": "Version of PostgreSQL in the image."},
            "formerVersion": {"type": "string", "description": "Oldest version that ran before."},
            "stage": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "enum": ["probing", "choosing", "replacing", "handingOver", "completed", "failed"]},
                    "instance": label(),
                    "pod": {"type": "string"},
                    "former": {"type": "string"},
                    "inPlace": {"type": "boolean", "description": "Whether a primary that could not hand over is replaced while it serves."},
                    "operation": uuid(),
                },
            },
            "since": time(),
        },
    })
}

/// What is missing of the protection that was asked for.
fn protection() -> Value {
    json!({
        "description": "What is missing of the protection that was asked for.",
        "type": "object",
        "required": ["lacks"],
        "properties": {
            "degraded": time(),
            "lacks": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["since"],
                    "properties": {
                        "instance": label(), "since": time(), "told": {"type": "boolean"}, "well": time(),
                    },
                },
            },
        },
    })
}

/// For whose answers commits wait.
fn synchronous() -> Value {
    json!({
        "description": "For whose answers commits wait, where they wait or are to.",
        "type": "object",
        "properties": {
            "asked": with_description(&small(), "For how many replicas, as the user wants it."),
            "rule": with_description(&small(), "For how many by the rule that is in force."),
            "of": with_description(&small(), "Of how many."),
            "waitFor": with_description(&small(), "For how many now: fewer while they go on without those that are missing."),
            "fellBack": with_description(&time(), "When that began last."),
            "cameBack": with_description(&time(), "When it ended."),
        },
    })
}

/// How far a restart is.
fn restart() -> Value {
    json!({
        "description": "The restart that goes on.",
        "type": "object",
        "required": ["operation", "left", "since"],
        "properties": {
            "operation": uuid(),
            "left": {"type": "array", "items": label()},
            "alone": {"type": "boolean"},
            "held": {"type": "string"},
            "turn": {
                "type": "object",
                "required": ["instance", "pod", "started"],
                "properties": {"instance": label(), "pod": {"type": "string"}, "started": time()},
            },
            "since": time(),
        },
    })
}

/// Instances of a cluster.
fn instances() -> Value {
    json!({
        "description": "The instances of the cluster.",
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name", "role", "ready", "term", "timeline"],
            "properties": {
                "name": label(),
                "podUid": {"type": "string"},
                "role": {"type": "string"},
                "ready": {"type": "boolean"},
                "node": {"type": "string"},
                "term": count(),
                "timeline": {"type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX},
                "postgresVersion": {"type": "string"},
                "streaming": {"type": "boolean"},
                "lagBytes": count(),
                "lagSeconds": count(),
                "sync": {"type": "string"},
                "pendingRestart": {"type": "array", "items": {"type": "string"}},
                "preferred": {"type": "array", "items": label()},
            },
        },
    })
}

/// A new primary that does not take writes yet.
fn promotion() -> Value {
    json!({
        "description": "The new primary that was elected and was not seen to take writes yet.",
        "type": "object",
        "required": ["operation", "takeover", "since"],
        "properties": {
            "operation": uuid(),
            "takeover": {
                "type": "object",
                "required": ["term", "from", "to", "cause", "timeline", "lsn", "at"],
                "properties": {
                    "term": count(),
                    "from": {"type": "string"},
                    "to": {"type": "string"},
                    "cause": {"type": "string", "enum": ["released", "lost"]},
                    "former_timeline": small(),
                    "timeline": small(),
                    "lsn": {"type": "string"},
                    "lost": count(),
                    "unfit": {"type": "string"},
                    "heard": time(),
                    "at": time(),
                },
            },
            "since": time(),
            "unreached": {"type": "boolean"},
        },
    })
}

/// The last change of the primary.
fn last_takeover() -> Value {
    json!({
        "description": "The last change of the primary.",
        "type": "object",
        "required": ["planned", "from", "to", "cause", "timeline", "lsn", "at", "durationMs"],
        "properties": {
            "planned": {"type": "boolean"},
            "from": {"type": "string"},
            "to": {"type": "string"},
            "cause": {"type": "string"},
            "actor": {"type": "string"},
            "timeline": small(),
            "lsn": {"type": "string"},
            "at": time(),
            "durationMs": count(),
        },
    })
}

/// Replicas of a cluster.
fn replicas() -> Value {
    json!({
        "description": "The replicas that belong to the cluster.",
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": label(),
                "uid": {"type": "string"},
                "joined": {"type": "boolean"},
                "leaving": {"type": "boolean"},
                "data": {"type": "boolean"},
                "behind": {"type": "boolean"},
                "ready": {"type": "boolean"},
                "reason": {"type": "string"},
                "message": {"type": "string"},
            },
        },
    })
}

/// Processes of PGO's services.
fn processes() -> Value {
    json!({
        "description": "Processes of PGO's services, as they were told last.",
        "type": "array",
        "items": {
            "type": "object",
            "required": ["service", "pod", "uid", "running"],
            "properties": {
                "service": {"type": "string"},
                "pod": {"type": "string"},
                "uid": {"type": "string"},
                "running": {"type": "boolean"},
                "ended": time(),
            },
        },
    })
}

/// One of these words, as the core writes them.
fn word<T: Serialize>(all: &[T]) -> Value {
    json!({"type": "string", "enum": all})
}

fn label() -> Value {
    json!({"type": "string", "pattern": LABEL, "maxLength": 63})
}

fn count() -> Value {
    json!({"type": "integer", "format": "int64", "minimum": 0})
}

fn small() -> Value {
    json!({"type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX})
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn uuid() -> Value {
    json!({"type": "string", "format": "uuid"})
}

fn with_description(schema: &Value, description: &str) -> Value {
    let mut schema = schema.clone();
    schema["description"] = description.into();
    schema
}
