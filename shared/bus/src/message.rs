//! The body of a message on NSQ: the event, and what its publisher knows of its stream.

use pgo_events::{DecodeError, Event};
use pgo_ids::Seq;
use serde::{Deserialize, Serialize};

/// An event as it is published.
///
/// `unconfirmed_from` closes a gap that would stay open for ever: events that are confirmed are never published again, so
/// a history that lost them, or that was switched off then, must not wait for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The event.
    pub event: Event,
    /// Events of the same stream before this place will not be published again. 1 where the publisher does not say.
    pub unconfirmed_from: Seq,
}

/// The event's JSON with one more field.
#[derive(Serialize)]
struct Wire<'a> {
    #[serde(flatten)]
    event: &'a Event,
    unconfirmedfrom: Seq,
}

/// That field alone.
#[derive(Deserialize)]
struct Claim {
    #[serde(default)]
    unconfirmedfrom: Option<Seq>,
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

    /// Reads a body of [`Message::encode`], or of an event alone.
    ///
    /// # Errors
    /// It is no event of ours.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let event = Event::from_wire(body)?;
        let claim: Claim = serde_json::from_slice(body)?;
        Ok(Self {
            unconfirmed_from: claim.unconfirmedfrom.unwrap_or(Seq(1)),
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
                event,
                unconfirmed_from: Seq(3)
            }
        );
        assert!(body.starts_with(b"{\n  \"eventheader\": {\n    \"EventType\""));
    }

    #[test]
    fn an_event_alone_claims_nothing() {
        let body = event("uid-1", 4).to_wire().expect("JSON");
        let read = Message::decode(&body).expect("a message");
        assert_eq!(read.unconfirmed_from, Seq(1));
    }
}
