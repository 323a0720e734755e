//! Restores by pgBackRest, in place: the data of a backup comes up in a new instance beside the cluster, which serves until
//! that one has reached its target, and then makes way.
//!
//! ```text
//! RestoreRequest ─► judge ─► check: can the backups reach the target? ─► copy and replay, on a volume of its own ─► reached
//!                     │        └──────────────── failed: nothing was changed, the new instance goes ◄──┘              │
//!                     └─► refused                                                  ▲                                  ▼
//!                                        they come up again as they were ◄─────────┴────────── all other instances stop
//!                                                                                                                     │
//!                    completed ◄─ the new instance serves, as the cluster's first one ◄─ the Lease is made anew for it ◄─┘
//! ```
//!
//! No pod of the cluster is removed before the new instance has said that it reached the target, and no data at all: the claim
//! of the former first instance stays.

mod kept;
pub mod options;
mod request;
mod run;
mod steps;

use jiff::Timestamp;
use pgo_events::{Datum, Field};
use pgo_ids::{ClusterName, InstanceName, OperationId, Term};
use serde::{Deserialize, Serialize};

use self::options::RestoreOptions;
pub(crate) use self::{
    kept::{adopt, mark},
    run::advance,
    steps::{holds_instances, steps},
};
use crate::{
    BackupSet, Cluster, ClusterStatus, Desired, FirstLease, Kind, NodePreference, Observed,
    Problem, journal::Of,
};

/// A request for a restore by pgBackRest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreRequest {
    /// The request's id.
    pub operation: OperationId,
    /// Who asked.
    pub actor: String,
    /// Name of the new instance and its claim; drawn from the id where none is given.
    pub to: Option<String>,
    /// Node label that its pod prefers, `key=value`.
    pub node_label: Option<String>,
    /// Options for pgBackRest, or why what is asked for cannot be done.
    pub options: Result<RestoreOptions, String>,
}

/// What an instance is made to restore: what stands in the environment of its pod, for as long as there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreOrder {
    /// The operation.
    pub operation: OperationId,
    /// Arguments for pgBackRest.
    pub options: Vec<String>,
}

/// How far a restore is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RestoreStage {
    /// The repository is asked whether its backups reach the target.
    Checking,
    /// The new instance copies the backup and replays WAL; the cluster serves.
    Replaying,
    /// It has reached its target; all other instances stop.
    Stopping,
    /// They are gone; the Lease is made anew for it, and it is to serve.
    Giving,
    /// It has failed; what was made for it goes.
    Clearing,
}

impl RestoreStage {
    /// All there are.
    pub const ALL: [Self; 5] = [
        Self::Checking,
        Self::Replaying,
        Self::Stopping,
        Self::Giving,
        Self::Clearing,
    ];
}

/// The restore that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreRun {
    /// What the new instance is made for.
    #[serde(flatten)]
    pub order: RestoreOrder,
    /// The new instance, and its claim.
    pub instance: InstanceName,
    /// Node label that its pod prefers, `key=value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_label: Option<String>,
    /// Up to where, for people.
    pub target: String,
    /// How far it is.
    pub stage: RestoreStage,
    /// Since when.
    pub since: Timestamp,
    /// Whether the repository was seen at the check.
    #[serde(default, skip_serializing_if = "crate::status::is_false")]
    pub begun: bool,
    /// Since when who works on it is not heard, or cannot work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<Timestamp>,
    /// How far the new instance was when that was noted last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<RestoreMark>,
    /// The highest term that was seen since it began.
    pub term: Term,
    /// What was restored, once it is known.
    #[serde(default, skip_serializing_if = "Reached::is_unknown")]
    pub reached: Reached,
    /// Whether its end was told, though the new instance does not serve yet.
    #[serde(default, skip_serializing_if = "crate::status::is_false")]
    pub told: bool,
}

/// How far a new instance was at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreMark {
    /// When it was seen there first.
    pub at: Timestamp,
    /// How far, in words that differ where it gets further.
    pub what: String,
}

/// Where a restore has come out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reached {
    /// pgBackRest's name for the backup.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub backup: String,
    /// Size of the database in it, in bytes; none where the repository did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// The first WAL file that it needs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub start_wal: String,
    /// The last one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stop_wal: String,
    /// Whether pages with wrong checksums were in it when it was made.
    #[serde(default, skip_serializing_if = "crate::status::is_false")]
    pub damaged: bool,
    /// When the last transaction that is in it was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_commit: Option<Timestamp>,
    /// Place in the WAL, as PostgreSQL writes it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub lsn: String,
}

impl Reached {
    /// Nothing of it but the backup.
    fn of(backup: &BackupSet) -> Self {
        Self {
            backup: backup.label.clone(),
            size_bytes: Some(backup.size),
            start_wal: backup.start_wal.clone(),
            stop_wal: backup.stop_wal.clone(),
            damaged: backup.damaged,
            ..Self::default()
        }
    }

    /// What events tell of it; the backup's name is in the cause, as 4.1's event has no field for it.
    fn details(&self) -> Vec<(Field, Datum)> {
        let texts = [
            (Field::StartWal, &self.start_wal),
            (Field::StopWal, &self.stop_wal),
            (Field::Lsn, &self.lsn),
        ];
        let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
        let texts = texts.map(|(field, text)| (field, Datum::Text(text.clone())));
        let size = self.size_bytes.map(Datum::Number);
        texts
            .chain(size.map(|size| (Field::SizeBytes, size)))
            .collect()
    }

    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    /// What is wrong with the backup, for people; nothing where nothing is known to be.
    fn flaw(&self) -> &'static str {
        match self.damaged {
            true => " (with pages that had wrong checksums when it was made)",
            false => "",
        }
    }

    /// For people.
    fn text(&self) -> String {
        let mut text = match self.backup.as_str() {
            "" => "the backup".to_owned(),
            backup => format!("backup {backup}"),
        };
        text.push_str(self.flaw());
        if !self.lsn.is_empty() {
            text.push_str(&format!(", replayed up to {}", self.lsn));
        }
        if let Some(commit) = self.last_commit {
            text.push_str(&format!(", last commit at {commit}"));
        }
        text
    }
}

/// What the cluster was restored to last: its first instance is another one since then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// What the instance was made for: its pod is made for it ever after.
    #[serde(flatten)]
    pub order: RestoreOrder,
    /// The instance.
    pub instance: InstanceName,
    /// Node label that its pod prefers, `key=value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_label: Option<String>,
    /// The former first instance: its claim has the data as it was.
    pub former: InstanceName,
    /// What was restored.
    #[serde(default, skip_serializing_if = "Reached::is_unknown")]
    pub reached: Reached,
    /// When the instance served first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// How far an instance is that restores, as its agent says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreFacts {
    /// The operation.
    pub operation: Option<OperationId>,
    /// Why it cannot go on; it tries again where that may help.
    pub error: Option<String>,
    /// Whether no try will help.
    pub hopeless: bool,
    /// Whether it is at its target, and waits there.
    pub reached: bool,
    /// How much of the backup is copied.
    pub percent: u32,
    /// When the last transaction was committed that it has replayed.
    pub last_commit: Option<Timestamp>,
    /// Place in the WAL up to which it has replayed.
    pub lsn: String,
    /// pgBackRest's name for the backup.
    pub backup: String,
}

const RESTORE: Of<'static> = (Kind::RestoreCluster, None);

impl ClusterStatus {
    /// The first instance: that of the cluster's own name, or the one that it, or a former cluster of its name whose data was
    /// kept, was restored to. It has no Pgreplica.
    #[must_use]
    pub fn first(&self, cluster: &ClusterName) -> InstanceName {
        let restored = self.restored.as_ref().map(|restored| &restored.instance);
        let other = restored.or(self.adopted.as_ref());
        other.map_or_else(|| InstanceName::from(cluster), Clone::clone)
    }

    /// The instance that restores and does not belong to the cluster yet.
    #[must_use]
    pub fn restoring(&self) -> Option<&InstanceName> {
        let run = self.restore.as_ref()?;
        let is_apart = run.stage != RestoreStage::Giving;
        is_apart.then_some(&run.instance)
    }
}

impl Desired {
    /// The same for an instance that is made to restore.
    pub(crate) fn restoring(mut self, order: &RestoreOrder, node_label: Option<&str>) -> Self {
        self.restore = Some(order.clone());
        if let Some((key, value)) = node_label.and_then(|label| label.split_once('=')) {
            self.node = Some(NodePreference::With(key.to_owned(), value.to_owned()));
        }
        self
    }
}

/// The Lease by which the new instance takes writes, once the others are gone. Its term is above each that was seen, and
/// leaves room for one that was not: agents may have recorded another with their last breath.
pub(crate) fn lease(status: &ClusterStatus) -> Option<FirstLease> {
    let run = status.restore.as_ref()?;
    (run.stage == RestoreStage::Giving).then(|| FirstLease {
        holder: run.instance.clone(),
        term: Term(run.term.0.max(1).saturating_add(TERMS_UNSEEN)),
        take_up: true,
        restore: Some(run.order.operation),
    })
}

/// How many changes of the primary there may have been that were not seen.
const TERMS_UNSEEN: u64 = 16;

/// Name of a new instance of a cluster that nobody has named: it has four letters behind it that follow from an id.
#[must_use]
pub fn instance_name(cluster: &str, id: OperationId) -> String {
    format!("{cluster}-{}", crate::replicas::letters(id))
}

/// Why nothing else may be begun now that changes the cluster.
pub(crate) fn in_the_way(status: &ClusterStatus) -> Option<String> {
    let run = status.restore.as_ref().filter(|run| run.goes_on())?;
    Some(format!(
        "a restore is going on, operation {}; wait for its end, then ask again",
        run.order.operation
    ))
}

/// Why the cluster does not serve, where a restore is why.
pub(crate) fn problem(status: &ClusterStatus) -> Option<Problem> {
    let run = status.restore.as_ref()?;
    let instance = &run.instance;
    let cause = match run.stage {
        RestoreStage::Stopping => {
            format!("a restore goes on: instance {instance} is ready to take over, the others stop")
        }
        RestoreStage::Giving => format!("a restore goes on: instance {instance} is to take writes"),
        RestoreStage::Checking | RestoreStage::Replaying | RestoreStage::Clearing => return None,
    };
    Some(Problem::new("Restoring", &cause))
}

impl RestoreRun {
    /// Whether its operation has not ended.
    fn goes_on(&self) -> bool {
        self.stage != RestoreStage::Clearing && !self.told
    }
}

/// Begins what is asked for, or says why not.
pub(crate) fn begin(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    for request in &cluster.restores {
        if next.journal.knows(request.operation) {
            continue;
        }
        if !request::is_clear(next, now) || !cluster.has_room(&next.journal) {
            break;
        }
        request::begin(next, cluster, observed, request, now);
        run::advance(next, cluster, observed, now);
    }
}

/// The cluster goes: what is under way ends with it.
pub(crate) fn break_off(next: &mut ClusterStatus, cluster: &Cluster, now: Timestamp) {
    if let Some(run) = next.restore.take()
        && run.goes_on()
    {
        let cause = "the cluster was deleted before".to_owned();
        let failed = (crate::Outcome::Failed, Some(cause));
        let subject = cluster.subject();
        next.journal
            .finish_one(subject, run.order.operation, failed, now);
    }
}
