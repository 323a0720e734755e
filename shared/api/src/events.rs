//! `GET /events`: the history and what follows, one JSON line each.
//!
//! ```text
//! {"cursor":"…","event":{…}}      an event: 4.1's envelope with the new fields
//! {"cursor":"…"}                  all that was there when the request came has been sent; what follows is live
//! {"cut":"…"}                     events are missing here; the text says which
//!                                 (an empty line: nothing to say, still here)
//! {"Code":"error","Msg":"…"}      the request is refused; the only line
//! ```
//!
//! Whoever reconnects with the last cursor it was given misses nothing and gets nothing twice. The answer's status
//! is sent when the log is being read: from then on nothing is missed. Where the log cannot be reached, the status
//! is 503; it is worth another try.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::wire::Code;

/// Media type of the stream.
pub const STREAM_TYPE: &str = "application/x-ndjson";

/// Pause after which the apiserver sends an empty line. A client that hears nothing for three of them may take the
/// connection for dead.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What to read. Without `cursor`, `since` and `last` it begins with what happens from now on; `cursor` goes before
/// `since`, and that before `last`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EventsQuery {
    /// A topic of 4.1, `alltopic` for all of them.
    pub topic: String,
    /// Only events of this namespace; empty: of all namespaces that the user may read.
    pub namespace: String,
    /// Version of the client.
    pub version: String,
    /// Events at or after this time (RFC 3339), then what follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// So many events of the past, then what follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u32>,
    /// Continue after this place, which an earlier line named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Only events of these clusters; names with commas between them. Empty: of all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub clusters: String,
    /// Only events of clusters with these labels, as Kubernetes writes a selector: those that have them while the stream
    /// goes on. Empty: of all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// Only events of these types, with commas between them, where `*` stands for any text. Empty: of all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub types: String,
    /// Only events at least this grave: debug, info, warn or error. Empty: all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub severity: String,
    /// Only events for which this CloudEvents SQL expression is true. Empty: all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter: String,
}

impl EventsQuery {
    /// The names of all parameters.
    pub const PARAMETERS: [&'static str; 11] = [
        "topic",
        "namespace",
        "version",
        "since",
        "last",
        "cursor",
        "clusters",
        "selector",
        "types",
        "severity",
        "filter",
    ];

    /// As the part of a URL after `?`.
    pub fn to_query(&self) -> String {
        let last = self.last.map(|last| last.to_string());
        // In the order of PARAMETERS.
        let given = [
            Some(self.topic.as_str()),
            Some(self.namespace.as_str()),
            Some(self.version.as_str()),
            self.since.as_deref(),
            last.as_deref(),
            self.cursor.as_deref(),
            chosen(&self.clusters),
            chosen(&self.selector),
            chosen(&self.types),
            chosen(&self.severity),
            chosen(&self.filter),
        ];
        let named = Self::PARAMETERS.into_iter().zip(given);
        query(named.filter_map(|(name, value)| Some((name, value?))))
    }
}

/// What is chosen; nothing where the text is empty.
fn chosen(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Joins names and values to a query, with all but RFC 3986's unreserved characters escaped.
pub(crate) fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={}", escape(value)))
        .collect();
    pairs.join("&")
}

pub(crate) fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// One line of the stream.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamLine {
    /// Empty: the connection lives.
    KeepAlive,
    /// An event.
    Event {
        /// The place behind it.
        cursor: String,
        /// 4.1's envelope with the new fields.
        event: Value,
    },
    /// All that was there when the request came has been sent; comes again while nothing else does.
    CaughtUp {
        /// The place to continue from, also where no event was sent.
        cursor: String,
    },
    /// Events are missing here.
    Cut {
        /// Which, for a person to read.
        text: String,
    },
    /// There will be no events.
    Refused {
        /// Why.
        why: String,
    },
}

/// A line of the stream that is none.
#[derive(Debug, thiserror::Error)]
pub enum NotALine {
    /// It is not JSON.
    #[error(
        "line of the event stream is not JSON ({0}); does the URL name the apiserver of this version?"
    )]
    Json(#[from] serde_json::Error),
    /// It is JSON with neither of the expected fields.
    #[error(
        "line of the event stream has neither 'cursor' nor 'cut'; does the URL name the apiserver of this version?"
    )]
    Fields,
}

#[derive(Deserialize)]
struct Fields {
    cursor: Option<String>,
    event: Option<Value>,
    cut: Option<String>,
    #[serde(rename = "Code")]
    code: Option<Code>,
    #[serde(rename = "Msg", default)]
    msg: String,
}

impl StreamLine {
    /// Reads a line, with or without its end.
    pub fn parse(line: &str) -> Result<Self, NotALine> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(Self::KeepAlive);
        }
        match serde_json::from_str(line)? {
            Fields {
                code: Some(Code::Error),
                msg,
                ..
            } => Ok(Self::Refused { why: msg }),
            Fields {
                cut: Some(text), ..
            } => Ok(Self::Cut { text }),
            Fields {
                cursor: Some(cursor),
                event: Some(event),
                ..
            } => Ok(Self::Event { cursor, event }),
            Fields {
                cursor: Some(cursor),
                ..
            } => Ok(Self::CaughtUp { cursor }),
            Fields { .. } => Err(NotALine::Fields),
        }
    }

    /// The line with its end.
    pub fn to_line(&self) -> String {
        match self {
            Self::KeepAlive => "\n".to_owned(),
            Self::CaughtUp { cursor } => format!("{}\n", json!({ "cursor": cursor })),
            Self::Event { cursor, event } => {
                format!("{}\n", json!({ "cursor": cursor, "event": event }))
            }
            Self::Cut { text } => format!("{}\n", json!({ "cut": text })),
            Self::Refused { why } => format!("{}\n", json!({ "Code": Code::Error, "Msg": why })),
        }
    }
}
