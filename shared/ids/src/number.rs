//! Identifiers of events, operations and terms.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not a [`StreamId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a stream is named by an object's uid, 1 to 64 characters of a-z, A-Z, 0-9 and '-', not {0:?}"
)]
pub struct StreamIdError(String);

/// A stream of events: the uid of the object whose status holds its outbox. Uids are never used again, names are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamId(String);

impl StreamId {
    /// The uid as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StreamId {
    type Err = StreamIdError;

    fn from_str(text: &str) -> Result<Self, StreamIdError> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(StreamIdError(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for StreamId {
    type Error = StreamIdError;

    fn try_from(text: String) -> Result<Self, StreamIdError> {
        text.parse()
    }
}

impl From<StreamId> for String {
    fn from(id: StreamId) -> Self {
        id.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Place of an event in its stream: 1 for the first, without gaps. 0 stands for "before the first".
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The place after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What identifies an event for ever. Two messages with the same key are the same event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventKey {
    /// The stream.
    pub stream: StreamId,
    /// The place in it.
    pub seq: Seq,
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stream, self.seq)
    }
}

/// Why a text is not an [`OperationId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an operation's id is a UUID such as 25927091-b343-4017-be4b-71575f0b3eb5, not {0:?}")]
pub struct OperationIdError(String);

/// One request and all that follows from it; 4.1's workflow id where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OperationId(Uuid);

impl OperationId {
    /// An id that is derived from a name, so that whoever derives it again gets the same one (RFC 9562, section 5.5).
    #[must_use]
    pub fn derived(stream: &StreamId, what: &str) -> Self {
        let name = format!("{stream}/{what}");
        Self(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()))
    }
}

impl From<Uuid> for OperationId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl FromStr for OperationId {
    type Err = OperationIdError;

    fn from_str(text: &str) -> Result<Self, OperationIdError> {
        Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| OperationIdError(text.chars().take(80).collect()))
    }
}

impl TryFrom<String> for OperationId {
    type Error = OperationIdError;

    fn try_from(text: String) -> Result<Self, OperationIdError> {
        text.parse()
    }
}

impl From<OperationId> for String {
    fn from(id: OperationId) -> Self {
        id.0.to_string()
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who may be primary is decided once for each term; a higher term overrules a lower one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Term(pub u64);

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_id_is_the_same_each_time_and_differs_by_what_it_is_for() {
        let stream: StreamId = "25927091-b343".parse().expect("a stream");
        let id = OperationId::derived(&stream, "create");
        assert_eq!(id, OperationId::derived(&stream, "create"));
        assert_ne!(id, OperationId::derived(&stream, "delete"));
    }

    #[test]
    fn a_key_reads_as_stream_and_place() {
        let key = EventKey {
            stream: "abc".parse().expect("a stream"),
            seq: Seq(0).next(),
        };
        assert_eq!(key.to_string(), "abc/1");
    }
}
