//! An event as Kubernetes tells it: an Event of group `events.k8s.io`, about the Pgcluster.

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use pgo_events::{EventType, Severity};
use serde_json::Value;
use uuid::Uuid;

/// The longest note, in bytes (Kubernetes API, Event v1 events.k8s.io: "should be less than 1kB").
const NOTE_MOST: usize = 1024;

/// The longest reason and action, in characters (the same place).
const WORD_MOST: usize = 128;

/// Who tells; a qualified name.
const CONTROLLER: &str = "crunchydata.com/pgo";

/// What a name is made of besides the event's key, so that it is no other program's.
const NAMES: Uuid = Uuid::from_u128(0x7d5f_9a0e_41b2_4d0c_9a6b_3c1e_5b7f_2a90);

/// The Kubernetes Event for an event as it is in the log; none for those that say nothing to who looks at a cluster: progress
/// of an operation (severity DEBUG), and what cannot be read.
///
/// `instance` is the process that tells. The name follows from the event's key, so that telling twice is refused the second
/// time.
#[must_use]
pub fn told(event: &Value, instance: &str) -> Option<Event> {
    let text = |pointer: &str| {
        event
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let severity: Severity = text("/severity").parse().ok()?;
    if severity < Severity::Info {
        return None;
    }
    let (stream, seq) = (text("/stream"), event["seq"].as_u64()?);
    let (reason, namespace) = (
        text("/eventheader/EventType"),
        text("/eventheader/namespace"),
    );
    let time: Timestamp = text("/eventheader/timestamp").parse().ok()?;
    if stream.is_empty() || reason.is_empty() || namespace.is_empty() {
        return None;
    }
    let regarding = regarding(text("/clustername"), namespace, stream);
    let about = regarding.name.as_deref().unwrap_or_default();
    let key = Uuid::new_v5(&NAMES, format!("{stream}/{seq}").as_bytes());
    Some(Event {
        metadata: ObjectMeta {
            name: Some(format!("{about}.{}", key.simple())),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(time)),
        type_: Some(kind(severity).to_owned()),
        reason: Some(characters(reason, WORD_MOST)),
        action: Some(characters(action(event), WORD_MOST)),
        note: Some(note(event)),
        regarding: Some(regarding),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(characters(instance, WORD_MOST)),
        ..Event::default()
    })
}

/// Events of a cluster are about its Pgcluster, all others about the PgInstallation; the uid of either is the stream.
/// `kubectl describe` looks for the uid.
fn regarding(cluster: &str, namespace: &str, stream: &str) -> ObjectReference {
    let (kind, name) = match cluster {
        "" => ("PgInstallation", "pgo"),
        cluster => ("Pgcluster", cluster),
    };
    ObjectReference {
        api_version: Some("crunchydata.com/v1".to_owned()),
        kind: Some(kind.to_owned()),
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        uid: Some(stream.to_owned()),
        ..ObjectReference::default()
    }
}

fn kind(severity: Severity) -> &'static str {
    match severity {
        Severity::Debug | Severity::Info => "Normal",
        Severity::Warn | Severity::Error => "Warning",
    }
}

/// What was done, which must not be empty: the stage of the operation.
fn action(event: &Value) -> &str {
    match event["stage"].as_str() {
        Some(stage) if !stage.is_empty() => stage,
        _ => "notice",
    }
}

/// What it means, whom or what it is about, why, how long it took, who asked.
fn note(event: &Value) -> String {
    let text = |pointer: &str| {
        event
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let known = EventType::ALL
        .iter()
        .find(|known| known.as_str() == text("/eventheader/EventType"));
    let meaning = known.map_or_else(
        || text("/eventheader/EventType").to_owned(),
        |known| known.about().meaning(),
    );
    let meaning = match pgo_events::about(event).as_str() {
        "" => meaning,
        about => format!("{}: {about}", meaning.trim_end_matches('.')),
    };
    let cause = match (text("/cause"), text("/step")) {
        ("", "") => None,
        ("", step) => Some(step.to_owned()),
        (cause, _) => Some(cause.to_owned()),
    };
    let took = event["durationms"]
        .as_u64()
        .map(|ms| format!("It took {}.{:03} s", ms / 1000, ms % 1000));
    let who = Some(text("/eventheader/username")).filter(|who| !who.is_empty());
    let who = who.map(|who| format!("Asked for by {who}"));
    let sentences: Vec<String> = [Some(meaning), cause, took, who]
        .into_iter()
        .flatten()
        .map(|sentence| sentence.trim_end_matches('.').to_owned() + ".")
        .collect();
    bytes(&sentences.join(" "), NOTE_MOST)
}

/// As many of the characters as fit.
fn characters(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// As many of the characters as take no more than `most` bytes; where some go, that is shown.
fn bytes(text: &str, most: usize) -> String {
    const MORE: &str = " …";
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most - MORE.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MORE}", &text[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn failure() -> Value {
        json!({
            "eventheader": {
                "EventType": "CreateClusterFailure", "namespace": "pgouser1", "username": "alice",
                "timestamp": "2026-11-25T10:11:12.5Z", "topic": ["clustertopic"],
            },
            "clustername": "hippo", "stream": "0b9f4c1e-8a1d-4a0e-9a57-3a1d3f6f2b11", "seq": 3, "stage": "failed",
            "severity": "ERROR", "durationms": 4260, "cause": "the disk is full",
        })
    }

    proptest! {
        #[test]
        fn what_is_told_keeps_kubernetes_limits(cause in ".{0,3000}", who in ".{0,300}", instance in ".{0,300}", seq in any::<u64>()) {
            let mut event = failure();
            event["cause"] = json!(cause);
            event["eventheader"]["username"] = json!(who);
            event["seq"] = json!(seq);
            let told = told(&event, &instance).expect("it is told");
            prop_assert!(told.note.expect("a note").len() <= 1024);
            prop_assert!(told.reason.expect("a reason").chars().count() <= 128);
            prop_assert!(told.reporting_instance.expect("an instance").chars().count() <= 128);
            prop_assert!(told.metadata.name.expect("a name").len() <= 253);
        }
    }

    #[test]
    fn a_failure_is_a_warning_about_its_cluster() {
        let told = told(&failure(), "event-0").expect("it is told");
        let regarding = told.regarding.expect("an object");
        assert_eq!(regarding.kind.as_deref(), Some("Pgcluster"));
        assert_eq!(regarding.name.as_deref(), Some("hippo"));
        assert_eq!(
            regarding.uid.as_deref(),
            Some("0b9f4c1e-8a1d-4a0e-9a57-3a1d3f6f2b11")
        );
        assert_eq!(told.type_.as_deref(), Some("Warning"));
        assert_eq!(told.reason.as_deref(), Some("CreateClusterFailure"));
        let note = told.note.expect("a note");
        assert!(
            note.ends_with("the disk is full. It took 4.260 s. Asked for by alice."),
            "{note}"
        );
    }

    #[test]
    fn a_note_says_which_instances_and_replicas_it_is_about() {
        let note = |event_type: &str, more: Value| {
            let mut event = failure();
            event["eventheader"]["EventType"] = json!(event_type);
            event["eventheader"]["username"] = json!("");
            event["cause"] = json!("");
            for (name, value) in more.as_object().expect("fields") {
                event[name] = value.clone();
            }
            told(&event, "event-0").and_then(|told| told.note)
        };
        let failover = json!({
            "severity": "INFO", "stage": "completed", "durationms": 11_200,
            "target": "hippo-b", "formerprimary": "hippo", "timeline": 2,
        });
        assert_eq!(
            note("FailoverClusterCompleted", failover).as_deref(),
            Some(
                "Another instance is primary and takes writes: to hippo-b, from hippo, timeline 2. It took 11.200 s."
            )
        );
        let lagging = json!({ "severity": "WARN", "stage": "notice", "durationms": null, "replicaname": "hippo-c", "lagbytes": 4096 });
        let lagging = note("ReplicaLagging", lagging).expect("a note");
        assert!(
            lagging.ends_with(": hippo-c, 4096 bytes behind."),
            "{lagging}"
        );
    }

    #[test]
    fn what_belongs_to_no_cluster_is_about_the_installation_and_progress_is_not_told() {
        let mut event = failure();
        event["clustername"] = Value::Null;
        event["severity"] = json!("INFO");
        let of_pgo = told(&event, "event-0").expect("it is told");
        let regarding = of_pgo.regarding.expect("an object");
        assert_eq!(regarding.kind.as_deref(), Some("PgInstallation"));
        assert_eq!(regarding.name.as_deref(), Some("pgo"));
        assert_eq!(
            regarding.uid.as_deref(),
            Some("0b9f4c1e-8a1d-4a0e-9a57-3a1d3f6f2b11")
        );
        assert_eq!(of_pgo.type_.as_deref(), Some("Normal"));
        event["severity"] = json!("DEBUG");
        assert_eq!(told(&event, "event-0"), None);
        assert_eq!(told(&json!({}), "event-0"), None);
    }

    #[test]
    fn the_name_follows_from_the_key() {
        let name = |seq: u64| {
            let mut event = failure();
            event["seq"] = json!(seq);
            told(&event, "event-0").and_then(|told| told.metadata.name)
        };
        assert_eq!(name(3), name(3));
        assert_ne!(name(3), name(4));
    }
}
