//! What the log holds.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;

use super::Offset;

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub offset: Offset,
    /// When it was written here; never earlier than that of the record before.
    pub appended: Timestamp,
    /// The event as it was published, byte for byte.
    pub event: Bytes,
    /// What readers choose by.
    pub facets: Facets,
}

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
