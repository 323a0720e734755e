//! Dumps by `pg_dump` and `pg_dumpall`, and what is restored from them, into the cluster as it runs; backups by `pg_basebackup`, and
//! what is restored from those, to a claim of its own.
//!
//! ```text
//! DumpRequest ─► judge ─► claim, and a pod of its own on it ─► that pod says what became of it ─► completed, or failed
//!                  └─► refused                └─ gone before it said so: another one, a few times
//! ```
//!
//! Which operation its volume has done, the pod knows by that volume: one that comes again makes no second dump, and restores
//! none again of which it is not known whether it came to its end.

pub mod base;
pub mod options;
mod removal;
mod run;

use jiff::Timestamp;
use pgo_ids::{ClusterName, OperationId};
use serde::{Deserialize, Serialize};

pub use self::removal::{BackupRemoval, Removed};
pub(crate) use self::run::{break_off, commit, steps};
use self::{
    base::{BaseOptions, BaseSource},
    options::{DumpFormat, DumpOptions, LoadOptions},
};
use crate::{Kind, Step, Storage, WorkerPod, WorkerState};

/// A request for a dump, or for what one has to be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpRequest {
    /// The request's id.
    pub operation: OperationId,
    /// Who asked.
    pub actor: String,
    /// Whether a dump is to be made or restored.
    pub kind: DumpKind,
    /// The claim of its volume; none means that of the cluster's dumps.
    pub claim: Option<String>,
    /// What is asked for, or why that cannot be done.
    pub wanted: Result<DumpWish, String>,
}

/// What is to become of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpKind {
    /// It is made.
    Make,
    /// It is restored.
    Load,
    /// A server is copied by `pg_basebackup`.
    BaseBackup,
    /// Such a copy is restored to a claim of its own.
    BaseRestore,
}

impl DumpKind {
    /// The kind of its operation.
    pub(crate) fn operation(self) -> Kind {
        match self {
            Self::Make => Kind::CreateDump,
            Self::Load => Kind::RestoreDump,
            Self::BaseBackup => Kind::CreateBackup,
            Self::BaseRestore => Kind::RestoreBaseBackup,
        }
    }

    /// The program that makes it, where operations of its kind are mostly those of another one.
    pub(crate) fn tool(self) -> Option<String> {
        (self == Self::BaseBackup).then(|| base::TOOL.to_owned())
    }

    /// Whether it is about copies by `pg_basebackup`.
    #[must_use]
    pub fn is_base(self) -> bool {
        matches!(self, Self::BaseBackup | Self::BaseRestore)
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DumpWish {
    /// A dump.
    Make {
        /// The database; none means the cluster's.
        database: Option<String>,
        /// Options for the program.
        options: DumpOptions,
        /// What a claim that is not there is made of.
        storage: Storage,
    },
    /// A restore.
    Load {
        /// Name of the dump; none means the newest.
        dump: Option<String>,
        /// The database; none means that which was dumped.
        database: Option<String>,
        /// Options for the program.
        options: LoadOptions,
        /// Label of the nodes that its pod prefers, `key=value`.
        node_label: Option<String>,
    },
    /// A backup by `pg_basebackup`.
    BaseBackup {
        /// Options for the program.
        options: BaseOptions,
        /// What a claim that is not there is made of.
        storage: Storage,
    },
    /// A data directory made of one.
    BaseRestore {
        /// Name of the backup; none means the newest.
        backup: Option<String>,
        /// The claim that is made for it, and the cluster that can be made on it.
        to: ClusterName,
        /// Label of the nodes that its pod prefers, `key=value`.
        node_label: Option<String>,
    },
}

/// What the pod is to do, as it stands in its environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "work", rename_all = "camelCase")]
pub enum DumpWork {
    /// Make a dump.
    Make {
        /// The database; where all are dumped, the one to begin with.
        #[serde(default)]
        database: String,
        /// Whether all databases are meant.
        #[serde(default, skip_serializing_if = "crate::status::is_false")]
        all: bool,
        /// How it is written.
        #[serde(default)]
        format: DumpFormat,
        /// Arguments for the program.
        options: Vec<String>,
    },
    /// Restore one.
    #[serde(rename_all = "camelCase")]
    Load {
        /// Its name; none means the newest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dump: Option<String>,
        /// The database; none means that which was dumped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        database: Option<String>,
        /// Label of the nodes that the pod prefers, `key=value`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node_label: Option<String>,
        /// Arguments for the program.
        options: Vec<String>,
    },
    /// Copy a server.
    BaseBackup {
        /// That server; none in what PGO has not written.
        #[serde(default)]
        source: Option<BaseSource>,
        /// Arguments for the program.
        options: Vec<String>,
    },
    /// Make a data directory of such a copy.
    #[serde(rename_all = "camelCase")]
    BaseRestore {
        /// Its name; none means the newest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backup: Option<String>,
        /// Name of the claim that it goes to, and of the data directory.
        #[serde(default)]
        to: String,
        /// Label of the nodes that the pod prefers, `key=value`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node_label: Option<String>,
        /// There are none.
        options: Vec<String>,
    },
}

impl DumpWork {
    /// What kind of work it is.
    #[must_use]
    pub fn kind(&self) -> DumpKind {
        match self {
            Self::Make { .. } => DumpKind::Make,
            Self::Load { .. } => DumpKind::Load,
            Self::BaseBackup { .. } => DumpKind::BaseBackup,
            Self::BaseRestore { .. } => DumpKind::BaseRestore,
        }
    }
}

/// What a pod for a dump is made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpOrder {
    /// The operation.
    pub operation: OperationId,
    /// What it is to do.
    #[serde(flatten)]
    pub work: DumpWork,
}

/// The dump, or restore of one, that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DumpRun {
    /// What its pod is made for.
    #[serde(flatten)]
    pub order: DumpOrder,
    /// The claim of its volume.
    pub claim: String,
    /// Since when its present pod is to come.
    pub since: Timestamp,
    /// Uid of the pod that was seen last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Uids of the pods that were ended before they said what became of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
}

/// A dump that was made, as users see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DumpMade {
    /// Its name: when it was begun.
    pub name: String,
    /// The claim of its volume.
    pub claim: String,
    /// Where it lies on that.
    pub path: String,
    /// When it was complete.
    pub finished: Timestamp,
    /// How large it is.
    pub size_bytes: u64,
    /// Whether it is a copy by `pg_basebackup`.
    #[serde(default, skip_serializing_if = "crate::status::is_false")]
    pub base: bool,
}

/// The pod for a dump, as it is there.
pub type DumpFacts = WorkerPod<DumpResult>;

/// How far a pod for a dump is.
pub type DumpState = WorkerState<DumpResult>;

/// What a pod says of what it has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpResult {
    /// Name of the dump.
    pub name: String,
    /// Where it lies on the volume.
    pub path: String,
    /// How large it is.
    pub bytes: u64,
    /// The first and the last WAL file that a copy needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal: Option<base::BaseWal>,
    /// Where the data ends that was made of a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<base::BaseEnd>,
    /// What else is to be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Name of the claim with a cluster's dumps where none is said, as in 4.1.
#[must_use]
pub fn dump_claim_name(cluster: &ClusterName) -> String {
    format!("backup-{cluster}-pgdump-pvc")
}

/// Name of the claim with a cluster's backups by `pg_basebackup` where none is said, as in 4.1.
#[must_use]
pub fn base_claim_name(cluster: &ClusterName) -> String {
    format!("{cluster}-backup")
}

/// Name of the pod for a dump: 4.1's, with letters that follow from the operation.
#[must_use]
pub fn dump_pod_name(cluster: &ClusterName, kind: DumpKind, operation: OperationId) -> String {
    let letters = crate::replicas::letters(operation);
    match kind {
        DumpKind::Make => format!("backup-{cluster}-pgdump-{letters}"),
        DumpKind::Load => format!("restore-{cluster}-pgdump-{letters}"),
        DumpKind::BaseBackup => format!("backup-{cluster}-pgbasebackup-{letters}"),
        DumpKind::BaseRestore => format!("pgbasebackup-restore-{cluster}-{letters}"),
    }
}

/// The removal of a pod that is left of one that is over, or of a cluster that goes: it holds a claim.
pub(crate) fn left(observed: &crate::Observed) -> Option<Step> {
    let pod = observed.dump.as_ref().filter(|pod| !pod.terminating)?;
    Some(Step::RemoveDumpPod {
        name: pod.name.clone(),
        uid: pod.uid.clone(),
    })
}
