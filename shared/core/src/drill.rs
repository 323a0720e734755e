//! Restore drills: a backup counts as proven once a throw-away instance was made from it, has replayed all that is archived, was
//! checked and read in full.
//!
//! ```text
//! a new backup ─► due, by the policy ─► pod: agent drill ─► its report ─┬─► proven: lastProvenRestore
//!                                         ▲    │                        └─► failed: BackupsProven is False
//!                                         └────┘ no verdict: made anew after a pause ─► for so long ─► could not be tried
//!                                                            of a former database or timeline: at once ───┘
//! ```
//!
//! Or somebody asks for one ([`DrillRequest`]). While the cluster is restored or upgraded the pod goes, and comes again afterwards. Nothing of the cluster rests on it.

mod request;
mod run;

use std::collections::BTreeMap;

use jiff::Timestamp;
use pgo_ids::OperationId;
use serde::{Deserialize, Serialize};

pub use self::request::DrillRequest;
pub(crate) use self::run::{break_off, commit, removal, steps};
pub use self::run::{is_drilled, wants_drill};

/// Name of the condition that says whether the backup that was tried last can be relied on.
pub const RESULT_PROVEN: &str = "BackupsProven";

/// When a backup is tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DrillPolicy {
    /// Each one.
    Each,
    /// The newest one, where none was begun with for a day.
    #[default]
    Daily,
    /// None.
    Never,
}

impl DrillPolicy {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Each, Self::Daily, Self::Never];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Each => "each",
            Self::Daily => "daily",
            Self::Never => "never",
        }
    }

    /// The policy of this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == word)
    }
}

/// Whether a cluster may begin, as not more than so many do at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DrillPlace {
    /// Nobody has asked for a place yet, or it is not known yet how many others go on.
    #[default]
    Unknown,
    /// Others have to end first.
    Full,
    /// It has a place.
    Taken,
}

/// What is done with a backup, in this order (`services/agent/src/drill`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DrillStage {
    /// pgBackRest copies it, and holds each file against its checksum.
    Copy,
    /// PostgreSQL replays what is archived.
    Replay,
    /// Each page is held against its checksum.
    Checksums,
    /// Tables and indexes are held against each other.
    Structure,
    /// Every table is read.
    Read,
}

impl DrillStage {
    /// All there are.
    pub const ALL: [Self; 5] = [
        Self::Copy,
        Self::Replay,
        Self::Checksums,
        Self::Structure,
        Self::Read,
    ];

    /// What is so where it fails.
    fn failing(self) -> &'static str {
        match self {
            Self::Copy => "it cannot be copied",
            Self::Replay => "what is archived after it cannot be replayed to the end",
            Self::Checksums => "pages in it have wrong checksums",
            Self::Structure => "tables and indexes in it are damaged",
            Self::Read => "not all of it can be read",
        }
    }
}

/// Why an agent can give no verdict on a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DrillUntried {
    /// The repository is away, or there is no room for the copy: it may be tried again.
    Unreachable,
    /// It takes too long.
    Late,
    /// It is of a former database, or of a timeline that was left: nobody restores it along the newest one.
    Superseded,
}

/// What an agent has found: its last words.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrillReport {
    /// pgBackRest's name for the backup.
    pub backup: String,
    /// How far it came.
    pub stage: DrillStage,
    /// What is wrong; none where the backup is proven.
    #[serde(default)]
    pub error: Option<String>,
    /// Why that is no verdict on the backup, where it is none.
    #[serde(default)]
    pub untried: Option<DrillUntried>,
    /// Size of the copy, in bytes.
    pub size: u64,
    /// The timeline that was replayed.
    pub timeline: u32,
    /// Up to where.
    #[serde(default)]
    pub lsn: String,
    /// When the last transaction was committed that is in it.
    #[serde(default)]
    pub last_commit: Option<Timestamp>,
    /// Whether pages were held against their checksums.
    pub checksums: bool,
    /// Whether tables and indexes were held against each other.
    pub structure: bool,
}

/// The pod in which a backup is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrillFacts {
    /// Its uid.
    pub uid: String,
    /// Id of the operation it was made for.
    pub operation: String,
    /// Whether its deletion was asked for.
    pub terminating: bool,
    /// What it has found.
    pub found: DrillFound,
}

/// What such a pod has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DrillFound {
    /// It has not begun; what keeps it, where that is known.
    Nothing(Option<String>),
    /// It is at it.
    Running,
    /// It is through.
    Report(DrillReport),
    /// It ended without a report, for this reason.
    Ended(String),
}

/// What is known of drills.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Drills {
    /// The one that goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<DrillRun>,
    /// When the last one began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// What became of the backups that were tried and are still there, by pgBackRest's name for each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub verdicts: BTreeMap<String, DrillVerdict>,
    /// The backups that could not be tried and are still there, of which nothing is known therefore, by the same name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub untried: BTreeMap<String, UntriedBackup>,
}

impl Drills {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A drill that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrillRun {
    /// Its operation.
    pub operation: OperationId,
    /// pgBackRest's name for the backup.
    pub backup: String,
    /// Whether somebody asked for it: the policy does not count then.
    #[serde(default, skip_serializing_if = "crate::status::is_false")]
    pub asked: bool,
    /// Since when its pod could be there; none while it has to wait for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// How many pods of it ended without a verdict.
    #[serde(default)]
    pub lost: u32,
    /// When the first of those did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub troubled: Option<Timestamp>,
    /// Before when no other one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Uid of the last of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// What became of a backup that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrillVerdict {
    /// When that was known.
    pub at: Timestamp,
    /// Whether it can be relied on.
    pub proven: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// A backup that could not be tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UntriedBackup {
    /// When it was given up.
    pub at: Timestamp,
    /// Why.
    pub cause: String,
    /// Where it is of a former database, or of a timeline that was left: the timeline of the primary then. The policy has it tried
    /// again only when that is another one, as after a restore along the timeline of the backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_on: Option<u32>,
}

/// The last restore that was proven to work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProvenRestore {
    /// pgBackRest's name for the backup.
    pub backup: String,
    /// When that was known.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Size of what was restored, in bytes.
    pub size_bytes: u64,
    /// Up to where WAL was replayed, as PostgreSQL writes it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub lsn: String,
    /// When the last transaction was committed that is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_commit: Option<Timestamp>,
    /// Whether pages were held against their checksums: the cluster has them.
    pub checksums: bool,
    /// Whether tables and indexes were held against each other: the image has pg_amcheck.
    pub structure: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_among_all() {
        // Whoever adds one is led here by the compiler.
        let place = |policy: DrillPolicy| match policy {
            DrillPolicy::Each => 0,
            DrillPolicy::Daily => 1,
            DrillPolicy::Never => 2,
        };
        assert_eq!(DrillPolicy::ALL.map(place), [0, 1, 2]);
        for policy in DrillPolicy::ALL {
            assert_eq!(DrillPolicy::named(policy.as_str()), Some(policy));
        }
        assert_eq!(DrillPolicy::named("weekly"), None);
        let place = |stage: DrillStage| match stage {
            DrillStage::Copy => 0,
            DrillStage::Replay => 1,
            DrillStage::Checksums => 2,
            DrillStage::Structure => 3,
            DrillStage::Read => 4,
        };
        assert_eq!(DrillStage::ALL.map(place), [0, 1, 2, 3, 4]);
    }
}
