//! The body of a message on NSQ: the event, and what its publisher knows of its stream.

use bytes::Bytes;
use pgo_events::Event;
use pgo_ids::{EventKey, Seq, StreamId};
use serde::{Deserialize, Serialize};

/// An event as it was published.
///
/// No more of it is read than who passes it on must know, so that one of a later version, of a type that is not in the
/// catalogue here, is stored and shown like any other.
///
/// `unconfirmed_from` closes a gap that would stay open for ever: events that are confirmed are never published again, so
/// a history that lost them, or that was switched off then, must not wait for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What identifies the event.
    pub key: EventKey,
    /// Its topics, without the one that all events are on.
    pub topics: Vec<String>,
    /// Events of the same stream before this place will not be published again. 1 where the publisher does not say.
    pub unconfirmed_from: Seq,
    /// The event's JSON, without what its publisher knows.
    pub event: Bytes,
}

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
#[error("not an event: {0}")]
pub struct NotAnEvent(#[from] serde_json::Error);

/// The event's JSON with one more field, which must be the last one.
#[derive(Serialize)]
struct Wire<'a> {
    #[serde(flatten)]
    event: &'a Event,
    unconfirmedfrom: Seq,
}

/// What is read.
#[derive(Deserialize)]
struct Head {
    eventheader: Header,
    stream: StreamId,
    seq: Seq,
    #[serde(default)]
    unconfirmedfrom: Option<Seq>,
}

#[derive(Deserialize)]
struct Header {
    #[allow(dead_code, reason = "an event has a type, whatever it is")]
    #[serde(rename = "EventType")]
    event_type: String,
    #[serde(default)]
    topic: Vec<String>,
}

impl Message {
    /// The body: [`Event::to_wire`] with the field `unconfirmedfrom` behind.
    ///
    /// # Errors
    /// None that a value of this type can cause.
    pub fn encode(event: &Event, unconfirmed_from: Seq) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(&Wire {
            event,
            unconfirmedfrom: unconfirmed_from,
        })
    }

    /// Reads a body of [`Message::encode`], or of an event alone, of this version or of another.
    ///
    /// # Errors
    /// It is no event of ours.
    pub fn decode(body: &[u8]) -> Result<Self, NotAnEvent> {
        let head: Head = serde_json::from_slice(body)?;
        // Copies: the body may be a part of a buffer with many others, which it would keep.
        let event = head
            .unconfirmedfrom
            .and_then(|claimed| {
                let claim = format!(",\n  \"unconfirmedfrom\": {claimed}\n}}");
                let event = body.strip_suffix(claim.as_bytes())?;
                Some(Bytes::from([event, b"\n}"].concat()))
            })
            .unwrap_or_else(|| Bytes::copy_from_slice(body));
        Ok(Self {
            key: EventKey {
                stream: head.stream,
                seq: head.seq,
            },
            topics: head.eventheader.topic,
            unconfirmed_from: head.unconfirmedfrom.unwrap_or(Seq(1)),
            event,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::event;

    #[test]
    fn a_message_is_read_as_it_was_written_and_is_an_event_to_others() {
        let event = event("uid-1", 4);
        let body = Message::encode(&event, Seq(3)).expect("JSON");
        assert_eq!(Event::from_wire(&body).expect("an event"), event);
        let read = Message::decode(&body).expect("a message");
        assert_eq!(
            read,
            Message {
                key: event.key(),
                topics: vec!["clustertopic".to_owned()],
                unconfirmed_from: Seq(3),
                event: event.to_wire().expect("JSON").into(),
            }
        );
        assert!(body.starts_with(b"{\n  \"eventheader\": {\n    \"EventType\""));
    }

    #[test]
    fn each_field_of_a_message_is_in_the_schema() {
        let event = event("uid-1", 4);
        let body = Message::encode(&event, Seq(3)).expect("JSON");
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let schemas = pgo_events::reference::schemas();
        let is_in =
            |name: &str, field: &str| !schemas["$defs"][name]["properties"][field].is_null();
        for field in body.as_object().expect("an object").keys() {
            let is_known = is_in("event", field) || is_in(event.event_type().as_str(), field);
            assert!(is_known, "{field}");
        }
    }

    #[test]
    fn an_event_alone_claims_nothing() {
        let body = event("uid-1", 4).to_wire().expect("JSON");
        let read = Message::decode(&body).expect("a message");
        assert_eq!(read.unconfirmed_from, Seq(1));
        assert_eq!(read.event, body);
    }

    #[test]
    fn a_type_that_is_not_known_here_is_an_event() {
        let body = br#"{"eventheader":{"EventType":"NotYet","topic":["newtopic"]},"stream":"u","seq":2,"stage":"odd","severity":"LOUD"}"#;
        let read = Message::decode(body).expect("a message");
        assert_eq!(
            (read.key.seq, read.topics),
            (Seq(2), vec!["newtopic".to_owned()])
        );
        for none in [
            r#"{"stream":"u","seq":2}"#,
            r#"{"eventheader":{},"stream":"u","seq":2}"#,
            r#"{"eventheader":{"EventType":"PGOStart"},"stream":"u"}"#,
        ] {
            assert!(Message::decode(none.as_bytes()).is_err(), "{none}");
        }
    }
}
