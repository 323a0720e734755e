//! Which events there are, on which topics, and how grave.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Topic;

/// Where in its operation an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
}

impl Stage {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Started, Self::Progress, Self::Completed, Self::Failed];

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
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Debug, Self::Info, Self::Warn, Self::Error];
}

macro_rules! catalogue {
    ($($(#[$doc:meta])* $variant:ident = $wire:literal, [$($topic:ident),+], $stage:ident, $severity:ident;)+) => {
        /// A type of event. The name on the wire is 4.1's where 4.1 has the type.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum EventType {
            $($(#[$doc])* #[serde(rename = $wire)] $variant,)+
        }

        impl EventType {
            /// Every type.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Name on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $wire,)+ }
            }

            /// The topics it is published on, besides [`Topic::All`].
            #[must_use]
            pub fn topics(self) -> &'static [Topic] {
                match self { $(Self::$variant => &[$(Topic::$topic),+],)+ }
            }

            /// Where in its operation it stands.
            #[must_use]
            pub fn stage(self) -> Stage {
                match self { $(Self::$variant => Stage::$stage,)+ }
            }

            /// How grave it is.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)+ }
            }
        }
    };
}

catalogue! {
    /// A cluster's creation begins.
    CreateCluster = "CreateCluster", [Cluster], Started, Info;
    /// A step of a cluster's creation is done.
    CreateClusterProgress = "CreateClusterProgress", [Cluster], Progress, Debug;
    /// A cluster's creation failed. It is tried again by itself; a later success is an operation of its own.
    CreateClusterFailure = "CreateClusterFailure", [Cluster], Failed, Error;
    /// A cluster answers on its Service.
    CreateClusterCompleted = "CreateClusterCompleted", [Cluster], Completed, Info;
    /// A cluster's deletion begins.
    DeleteCluster = "DeleteCluster", [Cluster], Started, Info;
    /// A step of a cluster's deletion is done.
    DeleteClusterProgress = "DeleteClusterProgress", [Cluster], Progress, Debug;
    /// A cluster's deletion failed.
    DeleteClusterFailure = "DeleteClusterFailure", [Cluster], Failed, Error;
    /// A cluster is gone, with its data where that was asked for.
    DeleteClusterCompleted = "DeleteClusterCompleted", [Cluster], Completed, Info;
    /// PGO starts.
    PgoStart = "PGOStart", [Pgo], Started, Info;
    /// PGO did not come up in time; the cause names the services that are missing.
    PgoStartFailure = "PGOStartFailure", [Pgo], Failed, Error;
    /// Every service of PGO is ready.
    PgoStartCompleted = "PGOStartCompleted", [Pgo], Completed, Info;
    /// PGO is being stopped; databases go on.
    PgoStop = "PGOStop", [Pgo], Started, Info;
    /// PGO has nothing left to publish and may go.
    PgoStopCompleted = "PGOStopCompleted", [Pgo], Completed, Info;
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
            .ok_or_else(|| UnknownEventType(text.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_by_its_name() {
        for event_type in EventType::ALL {
            assert_eq!(event_type.as_str().parse(), Ok(*event_type));
        }
    }

    #[test]
    fn every_stage_and_severity_is_among_all() {
        // Whoever adds one is led here by the compiler.
        let place = |stage: Stage| match stage {
            Stage::Started => 0,
            Stage::Progress => 1,
            Stage::Completed => 2,
            Stage::Failed => 3,
        };
        assert_eq!(Stage::ALL.map(place), [0, 1, 2, 3]);
        let place = |severity: Severity| match severity {
            Severity::Debug => 0,
            Severity::Info => 1,
            Severity::Warn => 2,
            Severity::Error => 3,
        };
        assert_eq!(Severity::ALL.map(place), [0, 1, 2, 3]);
    }

    #[test]
    fn no_type_names_the_topic_that_all_events_are_on() {
        for event_type in EventType::ALL {
            assert!(!event_type.topics().contains(&Topic::All), "{event_type}");
        }
    }

    #[test]
    fn failures_are_errors() {
        for event_type in EventType::ALL {
            assert_eq!(
                event_type.stage() == Stage::Failed,
                event_type.severity() == Severity::Error,
                "{event_type}"
            );
        }
    }
}
