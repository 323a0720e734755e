//! An event as it is written, published and read: 4.1's envelope with new fields behind it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pgo_ids::{ClusterName, EventKey, Namespace, OperationId, Seq, StreamId};
use serde::{Deserialize, Serialize};

use crate::{Datum, EventType, Field, Payload, Severity, Stage, Topic, without_secrets};

/// Version of the fields below; raised when one changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// The most bytes that a cause takes as JSON. An event holds it twice, and an outbox a few events that have one.
pub const CAUSE_MOST: usize = 1024;

/// What stands for what was left out of a cause.
const LEFT_OUT: &str = " … ";

/// A cause of at most [`CAUSE_MOST`] bytes: of a longer one the middle goes. Its beginning says what failed, and its end
/// what was said last.
#[must_use]
pub fn shortened(cause: &str) -> String {
    if cause.chars().map(bytes_in_json).sum::<usize>() <= CAUSE_MOST {
        return cause.to_owned();
    }
    let half = (CAUSE_MOST - LEFT_OUT.len()) / 2;
    let head: String = fitting(cause.chars(), half).collect();
    let tail: Vec<char> = fitting(cause.chars().rev(), half).collect();
    let tail: String = tail.into_iter().rev().collect();
    format!("{head}{LEFT_OUT}{tail}")
}

/// As many of the characters as take no more than `most` bytes.
fn fitting(characters: impl Iterator<Item = char>, most: usize) -> impl Iterator<Item = char> {
    characters
        .scan(0, |taken, character| {
            *taken += bytes_in_json(character);
            Some((*taken, character))
        })
        .take_while(move |(taken, _)| *taken <= most)
        .map(|(_, character)| character)
}

/// Bytes of a character in a JSON string (RFC 8259, section 7), as serde_json writes it.
fn bytes_in_json(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        other => other.len_utf8(),
    }
}

/// Who asked: the pgouser's name, or `kubectl` and the like; empty where nobody did, as in 4.1.
pub type Actor = String;

/// What is to be told, before it has its place in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What happened.
    pub event_type: EventType,
    /// When, by the clock of who decided it.
    pub time: Timestamp,
    /// Namespace of the cluster, or the operator's.
    pub namespace: Namespace,
    /// The cluster, where the event is about one.
    pub cluster: Option<ClusterName>,
    /// The operation it belongs to.
    pub operation: OperationId,
    /// Who asked for the operation.
    pub actor: Actor,
    /// Which step is done; with progress.
    pub step: Option<String>,
    /// Why it failed, or why it happened; of any length.
    pub cause: Option<String>,
    /// Since the operation began, in milliseconds; with terminal events.
    pub duration_ms: Option<u64>,
    /// Fields of the type that are not told above. What the type does not have is left out.
    pub details: BTreeMap<Field, Datum>,
}

impl Draft {
    /// What is known of a field.
    fn known(&self, field: Field) -> Option<Datum> {
        match field {
            Field::ClusterName => Some(self.cluster.as_ref()?.to_string().into()),
            Field::WorkflowId => Some(self.operation.to_string().into()),
            Field::ErrorMessage => self.cause.clone().map(Datum::from),
            // Whatever is given: no event has a secret.
            Field::PostgresPassword => None,
            other => match self.details.get(&other)? {
                Datum::Text(text) => Some(Datum::Text(without_secrets(text).into_owned())),
                datum => Some(datum.clone()),
            },
        }
    }
}

/// 4.1's header, field by field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The type, under 4.1's capitalised key.
    #[serde(rename = "EventType")]
    pub event_type: EventType,
    /// Namespace of the cluster, or the operator's.
    pub namespace: Namespace,
    /// Who asked; may be empty.
    pub username: Actor,
    /// When, RFC 3339.
    pub timestamp: Timestamp,
    /// Topics besides `alltopic`.
    pub topic: Vec<Topic>,
}

/// An event. Its JSON is what goes over the wire, into the outbox and into the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// 4.1's header.
    pub eventheader: Header,
    /// The fields of its type, the cluster's name first.
    #[serde(flatten)]
    pub payload: Payload,
    /// The stream, first half of the key.
    pub stream: StreamId,
    /// The place in it, second half of the key.
    pub seq: Seq,
    /// The operation: equal in all events of one request.
    pub operationid: OperationId,
    /// Where in the operation.
    pub stage: Stage,
    /// How grave.
    pub severity: Severity,
    /// Which step is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Since the operation began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durationms: Option<u64>,
    /// Steps told before it were left out, so many since the event before; with the first event after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omitted: Option<u64>,
    /// [`SCHEMA_VERSION`] of who wrote it.
    pub schemaversion: u32,
}

/// Why bytes are not an event.
#[derive(Debug, thiserror::Error)]
#[error("not an event of this version: {0}")]
pub struct DecodeError(#[from] serde_json::Error);

impl Event {
    /// Gives a draft its place in a stream. Its cause is [`shortened`]; no text has what looks like a secret.
    #[must_use]
    pub fn new(mut draft: Draft, key: EventKey) -> Self {
        let clean = |text: Option<String>| text.map(|text| without_secrets(&text).into_owned());
        draft.step = clean(draft.step);
        draft.cause = clean(draft.cause).as_deref().map(shortened);
        let about = draft.event_type.about();
        let payload = Payload::of(about.fields, |field| draft.known(field));
        Self {
            eventheader: Header {
                event_type: draft.event_type,
                namespace: draft.namespace,
                username: without_secrets(&draft.actor).into_owned(),
                timestamp: draft.time,
                topic: about.topics_of(draft.cluster.is_some()).collect(),
            },
            payload,
            stream: key.stream,
            seq: key.seq,
            operationid: draft.operation,
            stage: about.stage,
            severity: about.severity,
            step: draft.step,
            cause: draft.cause,
            durationms: draft.duration_ms,
            omitted: None,
            schemaversion: SCHEMA_VERSION,
        }
    }

    /// What identifies it.
    #[must_use]
    pub fn key(&self) -> EventKey {
        EventKey {
            stream: self.stream.clone(),
            seq: self.seq,
        }
    }

    /// The cluster, where it is about one.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        self.payload.text(Field::ClusterName)
    }

    /// Its type.
    #[must_use]
    pub fn event_type(&self) -> EventType {
        self.eventheader.event_type
    }

    /// Every topic it goes to, [`Topic::All`] last, as 4.1 publishes.
    pub fn topics(&self) -> impl Iterator<Item = Topic> + '_ {
        self.eventheader.topic.iter().copied().chain([Topic::All])
    }

    /// The body of its NSQ messages: JSON indented by two blanks, as 4.1's.
    ///
    /// # Errors
    /// None that a value of this type can cause.
    pub fn to_wire(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(self)
    }

    /// Reads a body of [`Event::to_wire`], or compact JSON of the same.
    ///
    /// # Errors
    /// The bytes are not such JSON: another version's, or another program's.
    pub fn from_wire(body: &[u8]) -> Result<Self, DecodeError> {
        Ok(serde_json::from_slice(body)?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn draft(event_type: EventType) -> Draft {
        Draft {
            event_type,
            time: "2026-10-15T10:11:12.5Z".parse().expect("a time"),
            namespace: "pgouser1".parse().expect("a namespace"),
            cluster: Some("hippo".parse().expect("a name")),
            operation: "25927091-b343-4017-be4b-71575f0b3eb5"
                .parse()
                .expect("an id"),
            actor: "pgoadmin".to_owned(),
            step: None,
            cause: None,
            duration_ms: None,
            details: BTreeMap::new(),
        }
    }

    fn key() -> EventKey {
        EventKey {
            stream: "uid-1".parse().expect("a stream"),
            seq: Seq(1),
        }
    }

    #[test]
    fn a_consumer_of_4_1_finds_its_fields() {
        let event = Event::new(
            Draft {
                cause: Some("no disk".to_owned()),
                ..draft(EventType::CreateClusterFailure)
            },
            key(),
        );
        let json: serde_json::Value =
            serde_json::from_slice(&event.to_wire().expect("JSON")).expect("JSON");
        assert_eq!(json["eventheader"]["EventType"], "CreateClusterFailure");
        assert_eq!(json["eventheader"]["namespace"], "pgouser1");
        assert_eq!(json["eventheader"]["username"], "pgoadmin");
        assert_eq!(json["eventheader"]["timestamp"], "2026-10-15T10:11:12.5Z");
        assert_eq!(
            json["eventheader"]["topic"],
            serde_json::json!(["clustertopic"])
        );
        assert_eq!(json["clustername"], "hippo");
        assert_eq!(json["errormessage"], "no disk");
        assert_eq!(json["workflowid"], "25927091-b343-4017-be4b-71575f0b3eb5");
    }

    #[test]
    fn a_scaling_names_cluster_and_replica_each_in_its_field_which_4_1_swapped() {
        for event_type in [EventType::ScaleCluster, EventType::ScaleDownCluster] {
            let draft = Draft {
                details: [(Field::ReplicaName, "hippo-abcd".into())].into(),
                ..draft(event_type)
            };
            let wire = Event::new(draft, key()).to_wire().expect("JSON");
            let json: serde_json::Value = serde_json::from_slice(&wire).expect("JSON");
            assert_eq!(
                (&json["clustername"], &json["replicaname"]),
                (&"hippo".into(), &"hippo-abcd".into())
            );
        }
    }

    #[test]
    fn the_wire_carries_every_type_there_and_back() {
        for event_type in EventType::ALL {
            let event = Event::new(draft(*event_type), key());
            let read = Event::from_wire(&event.to_wire().expect("JSON")).expect("an event");
            assert_eq!(read, event);
        }
    }

    proptest! {
        #[test]
        fn a_cause_fits_and_is_told_whole_where_it_can_be(cause in "(?s).{0,1500}") {
            let told = shortened(&cause);
            let bytes = |text: &str| serde_json::to_string(text).expect("JSON").len() - 2;
            prop_assert!(bytes(&told) <= CAUSE_MOST);
            prop_assert_eq!(told == cause, bytes(&cause) <= CAUSE_MOST);
            prop_assert_eq!(shortened(&told), told);
        }
    }

    #[test]
    fn of_a_long_cause_beginning_and_end_are_told() {
        let cause = format!("initdb failed: {}: no space left", "é".repeat(CAUSE_MOST));
        let told = shortened(&cause);
        assert!(told.starts_with("initdb failed: é"), "{told}");
        assert!(
            told.contains("é … é") && told.ends_with("é: no space left"),
            "{told}"
        );
    }

    #[test]
    fn what_may_be_about_pgo_or_a_cluster_is_on_the_topic_of_what_it_is_about() {
        for event_type in [
            EventType::CertificateWarning,
            EventType::EventBacklog,
            EventType::EventBacklogCleared,
            EventType::HistoryCut,
        ] {
            let of_cluster = Event::new(draft(event_type), key());
            assert_eq!(of_cluster.eventheader.topic, [Topic::Cluster]);
            let of_pgo = Draft {
                cluster: None,
                ..draft(event_type)
            };
            assert_eq!(Event::new(of_pgo, key()).eventheader.topic, [Topic::Pgo]);
        }
        let backup = Event::new(draft(EventType::CreateBackupCompleted), key());
        assert_eq!(backup.eventheader.topic, [Topic::Cluster, Topic::Backup]);
    }

    #[test]
    fn the_header_comes_first_and_is_indented_by_two() {
        let wire = Event::new(draft(EventType::CreateCluster), key())
            .to_wire()
            .expect("JSON");
        assert!(wire.starts_with(b"{\n  \"eventheader\": {\n    \"EventType\": \"CreateCluster\""));
    }
}
