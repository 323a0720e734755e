//! The topics of 4.1.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A topic that 4.1 publishes on. Every event is on its own type's topics and on [`Topic::All`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Topic {
    /// Every event.
    #[serde(rename = "alltopic")]
    All,
    /// Clusters.
    #[serde(rename = "clustertopic")]
    Cluster,
    /// Backups.
    #[serde(rename = "backuptopic")]
    Backup,
    /// Loads of data.
    #[serde(rename = "loadtopic")]
    Load,
    /// Roles in PostgreSQL.
    #[serde(rename = "postgresusertopic")]
    PostgresUser,
    /// Policies.
    #[serde(rename = "policytopic")]
    Policy,
    /// pgpool.
    #[serde(rename = "pgpooltopic")]
    Pgpool,
    /// pgBouncer.
    #[serde(rename = "pgbouncertopic")]
    Pgbouncer,
    /// PGO itself.
    #[serde(rename = "pgotopic")]
    Pgo,
    /// Users of PGO.
    #[serde(rename = "pgousertopic")]
    PgoUser,
}

/// A text that names no topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no topic {0:?}; the topics are {list}", list = Topic::names())]
pub struct UnknownTopic(pub String);

impl Topic {
    /// All of them, in 4.1's order.
    pub const ALL: [Self; 10] = [
        Self::All,
        Self::Cluster,
        Self::Backup,
        Self::Load,
        Self::PostgresUser,
        Self::Policy,
        Self::Pgpool,
        Self::Pgbouncer,
        Self::Pgo,
        Self::PgoUser,
    ];

    /// Name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "alltopic",
            Self::Cluster => "clustertopic",
            Self::Backup => "backuptopic",
            Self::Load => "loadtopic",
            Self::PostgresUser => "postgresusertopic",
            Self::Policy => "policytopic",
            Self::Pgpool => "pgpooltopic",
            Self::Pgbouncer => "pgbouncertopic",
            Self::Pgo => "pgotopic",
            Self::PgoUser => "pgousertopic",
        }
    }

    fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Topic {
    type Err = UnknownTopic;

    fn from_str(text: &str) -> Result<Self, UnknownTopic> {
        Self::ALL
            .into_iter()
            .find(|topic| topic.as_str() == text)
            .ok_or_else(|| UnknownTopic(text.chars().take(80).collect()))
    }
}
