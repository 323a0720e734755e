//! Which events there are, on which topics, how grave, with which fields, and what to do about them.

mod declare;
mod entries;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::entries::{EventType, OperationKind};
use crate::{Field, Topic};

/// Where in its operation an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The operation was accepted and begins.
    Started,
    /// A step of it is done.
    Progress,
    /// It is over, and did what was asked.
    Completed,
    /// It is over, and did not.
    Failed,
    /// A fact by itself; nobody asked for it, and no operation ends with it.
    Notice,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Started,
        Self::Progress,
        Self::Completed,
        Self::Failed,
        Self::Notice,
    ];

    /// Whether nothing more follows in the same operation.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Progress => "progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Notice => "notice",
        }
    }
}

/// How grave an event is: `severitytext` of the CloudEvents severity extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    /// A step; of interest to who follows the operation.
    Debug,
    /// Something that was meant to happen.
    Info,
    /// Something to look at soon.
    Warn,
    /// Something that was asked for did not happen.
    Error,
}

impl Severity {
    /// All of them, from the least grave on.
    pub const ALL: [Self; 4] = [Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }

    /// `severitynumber` of the CloudEvents severity extension: the first of its range.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Debug => 5,
            Self::Info => 9,
            Self::Warn => 13,
            Self::Error => 17,
        }
    }
}

/// A text that names no severity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no severity {0:?}; there are debug, info, warn and error")]
pub struct UnknownSeverity(pub String);

impl FromStr for Severity {
    type Err = UnknownSeverity;

    fn from_str(text: &str) -> Result<Self, UnknownSeverity> {
        Self::ALL
            .into_iter()
            .find(|severity| severity.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownSeverity(beginning(text)))
    }
}

/// Which part of PGO will publish a type that nothing publishes yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Later {
    /// Backups, restores, schedules, volumes.
    Backups,
    /// Roles of PostgreSQL.
    Users,
    /// Policies.
    Policies,
    /// Settings, labels and certificates of running clusters.
    DayTwo,
    /// pgpool and pgBouncer.
    Proxies,
    /// Users, roles and namespaces of PGO.
    Namespaces,
    /// PGO's own services.
    Operations,
}

/// Whether anything publishes a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It does happen.
    Now,
    /// It is defined, so that consumers can be written for it.
    Later(Later),
    /// What it tells of cannot happen; its meaning says why. Each operation has it, so that consumers need no exception.
    Never,
}

/// What there is to know of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Name on the wire.
    pub name: &'static str,
    /// The operation it belongs to; none with a fact.
    pub operation: Option<OperationKind>,
    /// Where in the operation.
    pub stage: Stage,
    /// How grave.
    pub severity: Severity,
    /// The topics it is published on, besides [`Topic::All`]. One that may be about a cluster or about PGO itself is on one of
    /// these two: [`Self::topics_of`].
    pub topics: &'static [Topic],
    /// Its fields besides those that every event has.
    pub fields: &'static [Field],
    /// Whether anything publishes it.
    pub published: Published,
    /// What it means: begins with a small letter where it is composed.
    meaning: &'static str,
    /// What somebody should do about it.
    pub advice: &'static str,
}

impl About {
    /// The topics of one that is about a cluster, or is about none, besides [`Topic::All`].
    pub fn topics_of(&self, a_cluster: bool) -> impl Iterator<Item = Topic> + '_ {
        let both = [Topic::Cluster, Topic::Pgo];
        let is_either = both.iter().all(|topic| self.topics.contains(topic));
        let other = if a_cluster {
            Topic::Pgo
        } else {
            Topic::Cluster
        };
        let topics = self.topics.iter().copied();
        topics.filter(move |topic| !is_either || *topic != other)
    }

    /// What it means, a sentence.
    #[must_use]
    pub fn meaning(&self) -> String {
        let mut letters = self.meaning.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters).collect()
    }
}

impl EventType {
    /// Name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.about().name
    }

    /// The topics it is published on, besides [`Topic::All`].
    #[must_use]
    pub fn topics(self) -> &'static [Topic] {
        self.about().topics
    }

    /// Where in its operation it stands.
    #[must_use]
    pub fn stage(self) -> Stage {
        self.about().stage
    }

    /// How grave it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        self.about().severity
    }
}

/// A text that names no type of event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no event type {0:?}")]
pub struct UnknownEventType(pub String);

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(text: &str) -> Result<Self, UnknownEventType> {
        Self::ALL
            .iter()
            .copied()
            .find(|event_type| event_type.as_str() == text)
            .ok_or_else(|| UnknownEventType(beginning(text)))
    }
}

/// As much of a wrong text as an error repeats.
fn beginning(text: &str) -> String {
    text.chars().take(80).collect()
}
