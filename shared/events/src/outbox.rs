//! Events that are written but not yet known to be on disk at the event service.

use pgo_ids::{EventKey, Seq, StreamId};
use serde::{Deserialize, Serialize};

use crate::{Draft, Event, Stage};

/// The outbox of one stream, a part of the status it lives in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbox {
    /// Seq of the newest event that was ever put in.
    pub last: Seq,
    /// Not confirmed yet, oldest first, contiguous up to `last`.
    pub entries: Vec<Event>,
}

/// There is no room for a transition, so the operation that wants to tell it must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the outbox holds {0} events that the event service has not confirmed; no operation begins until it does"
)]
pub struct OutboxFull(pub usize);

impl Outbox {
    /// The most entries: with [`Outbox::MOST_BYTES`], what keeps a status far below etcd's limit of 1.5 MiB for a
    /// request and cheap to rewrite.
    pub const MOST: usize = 32;

    /// The most bytes of JSON.
    pub const MOST_BYTES: usize = 16 * 1024;

    /// What the beginning and the end of an operation take at most, each with the longest cause and the longest names.
    const OPERATION_BYTES: usize = 6 * 1024;

    /// Progress is told only while fewer entries than these wait: transitions need the rest.
    pub const PROGRESS_UP_TO: usize = 16;

    /// Whether an operation may begin: its beginning and its end must both fit.
    ///
    /// # Errors
    /// Too much is unconfirmed.
    pub fn room_for_an_operation(&self) -> Result<(), OutboxFull> {
        let full = self.bytes() + Self::OPERATION_BYTES > Self::MOST_BYTES;
        if full || self.entries.len() + 4 > Self::MOST {
            return Err(OutboxFull(self.entries.len()));
        }
        Ok(())
    }

    /// Puts an event in and gives it its seq; progress is left out silently when much is waiting, before it has a seq,
    /// so that the stream stays without gaps.
    pub fn push(&mut self, stream: &StreamId, draft: Draft) -> Option<&Event> {
        if draft.event_type.stage() == Stage::Progress
            && (self.entries.len() >= Self::PROGRESS_UP_TO || self.bytes() > Self::MOST_BYTES / 2)
        {
            return None;
        }
        self.last = self.last.next();
        let key = EventKey {
            stream: stream.clone(),
            seq: self.last,
        };
        self.entries.push(Event::new(draft, key));
        self.entries.last()
    }

    /// Drops what the event service has on disk: everything up to `watermark`.
    pub fn confirm(&mut self, watermark: Seq) {
        self.entries.retain(|event| event.seq > watermark);
    }

    /// Whether everything was confirmed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn bytes(&self) -> usize {
        serde_json::to_vec(&self.entries).map_or(usize::MAX / 2, |json| json.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{EventType, event::tests::draft};

    fn stream() -> StreamId {
        "uid-1".parse().expect("a stream")
    }

    fn longest_stream() -> StreamId {
        "u".repeat(64).parse().expect("a stream")
    }

    /// A draft with names as long as they can be. Who asked is a label's value or a field manager: 128 bytes.
    fn longest(event_type: EventType, cause: Option<String>) -> Draft {
        Draft {
            namespace: "n".repeat(63).parse().expect("a namespace"),
            cluster: Some("c".repeat(58).parse().expect("a name")),
            actor: "a".repeat(128),
            step: Some("secrets, certificate and service made".to_owned()),
            cause,
            duration_ms: Some(u64::MAX),
            ..draft(event_type)
        }
    }

    fn any_cause() -> impl Strategy<Value = Option<String>> {
        let long = (any::<char>(), 0usize..4000).prop_map(|(c, count)| c.to_string().repeat(count));
        prop::option::of(prop_oneof!["(?s).{0,40}", long, Just("\0".repeat(2000))])
    }

    proptest! {
        #[test]
        fn seqs_are_contiguous_whatever_is_pushed_and_confirmed(
            actions in prop::collection::vec((0..EventType::ALL.len(), 0u64..80), 0..120),
        ) {
            let mut outbox = Outbox::default();
            let mut told = Vec::new();
            for (kind, watermark) in actions {
                if let Some(event) = outbox.push(&stream(), draft(EventType::ALL[kind])) {
                    told.push(event.seq.0);
                }
                outbox.confirm(Seq(watermark.min(outbox.last.0)));
            }
            let expected: Vec<u64> = (1..=told.len() as u64).collect();
            prop_assert_eq!(told, expected);
        }

        #[test]
        fn operations_that_ask_for_room_stay_within_the_limits_whatever_their_causes(
            causes in prop::collection::vec((any_cause(), any_cause()), 0..10),
        ) {
            let mut outbox = Outbox::default();
            for (began, failed) in causes {
                if outbox.room_for_an_operation().is_ok() {
                    outbox.push(&longest_stream(), longest(EventType::CreateCluster, began));
                    for _ in 0..5 {
                        let progress = longest(EventType::CreateClusterProgress, None);
                        outbox.push(&longest_stream(), progress);
                    }
                    outbox.push(&longest_stream(), longest(EventType::CreateClusterFailure, failed));
                }
                prop_assert!(outbox.entries.len() <= Outbox::MOST);
                prop_assert!(outbox.bytes() <= Outbox::MOST_BYTES, "{} bytes", outbox.bytes());
            }
        }
    }

    #[test]
    fn confirmed_events_go_and_the_others_stay() {
        let mut outbox = Outbox::default();
        outbox.push(&stream(), draft(EventType::CreateCluster));
        outbox.push(&stream(), draft(EventType::CreateClusterCompleted));
        outbox.confirm(Seq(1));
        assert_eq!(outbox.entries.len(), 1);
        assert_eq!(outbox.entries[0].seq, Seq(2));
        assert_eq!(outbox.last, Seq(2));
    }
}
