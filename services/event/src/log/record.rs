//! What the log holds.

use std::sync::OnceLock;

use bytes::Bytes;
use jiff::Timestamp;
use pgo_events::EventType;
use pgo_ids::{EventKey, Seq};
use serde::Deserialize;

use super::{Offset, Term};

/// A record of the log.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its place.
    pub offset: Offset,
    /// Under whose leadership it was written.
    pub term: Term,
    /// When it was written; never earlier than that of the record before.
    pub appended: Timestamp,
    /// What identifies the event.
    pub key: EventKey,
    /// The newest event of its stream that was in the log before it; 0 if there was none.
    pub after: Seq,
    /// The event as it was published, byte for byte.
    pub event: Bytes,
    facets: OnceLock<Facets>,
}

impl Record {
    /// A record.
    pub fn new(
        place: (Offset, Term),
        appended: Timestamp,
        key: EventKey,
        after: Seq,
        event: Bytes,
    ) -> Self {
        Self {
            offset: place.0,
            term: place.1,
            appended,
            key,
            after,
            event,
            facets: OnceLock::new(),
        }
    }

    /// Events of its stream that should be between it and the one before, and never came here: how many.
    pub fn cut(&self) -> u64 {
        let between = self.key.seq.0.saturating_sub(self.after.0);
        between.saturating_sub(1)
    }

    /// Whether no event of its stream can come after it: the object whose stream it is is gone.
    pub fn ends_stream(&self) -> bool {
        let told: Option<Typed> = serde_json::from_slice(&self.event).ok();
        told.is_some_and(|told| {
            told.eventheader.event_type == EventType::DeleteClusterCompleted.as_str()
        })
    }

    /// What readers choose it by; found out when it is asked for first.
    pub fn facets(&self) -> &Facets {
        self.facets.get_or_init(|| Facets::of(&self.event))
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        let place = |record: &Self| (record.offset, record.term, record.appended);
        place(self) == place(other)
            && (&self.key, self.after) == (&other.key, other.after)
            && self.event == other.event
    }
}

impl Eq for Record {}

/// What readers choose records by.
///
/// Read leniently: a log outlives versions, and an event of another one must still be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facets {
    /// Topics besides the one that all events are on.
    pub topics: Vec<String>,
    /// Namespace of the cluster, or the operator's.
    pub namespace: String,
    /// The cluster, where the event is about one.
    pub cluster: Option<String>,
}

#[derive(Deserialize)]
struct Typed {
    eventheader: TypedHeader,
}

#[derive(Deserialize)]
struct TypedHeader {
    #[serde(rename = "EventType")]
    event_type: String,
}

#[derive(Deserialize)]
struct Body {
    eventheader: Header,
    #[serde(default)]
    clustername: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    topic: Vec<String>,
}

impl Facets {
    /// What the body of an event says.
    pub fn of(event: &[u8]) -> Self {
        serde_json::from_slice::<Body>(event).map_or_else(
            |_| Self::default(),
            |body| Self {
                topics: body.eventheader.topic,
                namespace: body.eventheader.namespace,
                cluster: body.clustername,
            },
        )
    }
}
