//! The status of a Pgcluster: state, operations and outbox, written as one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use pgo_ids::{InstanceName, OperationId, Term};
use serde::{Deserialize, Serialize};

use crate::{
    BackupRun, Certificate, Crashes, Drills, DumpMade, DumpRun, Images, JobRun, Journal, KeptWal,
    Kind, LastBackup, Outcome, PolicyRun, Promotion, Protection, ProvenRestore, ReplicaCount,
    ReplicaStatus, Restart, RestoreRun, Restored, Settings, Stanza, Synchronous, Upgrade,
    VolumeStatus,
};

/// Name of the condition that says whether a cluster can be used.
pub const RESULT_READY: &str = "Ready";

/// Name of the condition that says whether everything that the spec asks for is in force.
pub const RESULT_UP_TO_DATE: &str = "UpToDate";

/// Name of the condition that says whether events wait to be stored, too long or too many.
pub const RESULT_BACKLOG: &str = "EventBacklog";

/// Name of the condition that says whether no volume is nearly full.
pub const RESULT_ROOM: &str = "VolumesHaveRoom";

/// In one word, how a cluster is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Not looked at yet.
    #[default]
    Pending,
    /// Being made.
    Creating,
    /// Answers on its Service.
    Ready,
    /// Was ready and is not.
    NotReady,
    /// Cannot be made; tried again by itself.
    Failed,
    /// Being removed.
    Deleting,
}

impl Phase {
    /// All there are.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Creating,
        Self::Ready,
        Self::NotReady,
        Self::Failed,
        Self::Deleting,
    ];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Creating => "Creating",
            Self::Ready => "Ready",
            Self::NotReady => "NotReady",
            Self::Failed => "Failed",
            Self::Deleting => "Deleting",
        }
    }
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
}

impl ConditionStatus {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::True, Self::False];
}

/// A condition, with the fields of Kubernetes' `metav1.Condition`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Its name.
    #[serde(rename = "type")]
    pub name: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// One word for why.
    pub reason: String,
    /// For people.
    pub message: String,
    /// When `status` changed last.
    pub last_transition_time: Timestamp,
    /// `metadata.generation` it was judged for.
    #[serde(default)]
    pub observed_generation: i64,
}

/// An instance as users see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// Its name, and its pod's.
    pub name: InstanceName,
    /// Uid of the pod that the rest is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pod_uid: String,
    /// `primary`, `replica` or empty.
    pub role: String,
    /// Whether it answers.
    pub ready: bool,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Term it serves under.
    pub term: Term,
    /// Timeline of its data.
    pub timeline: u32,
    /// Version of its PostgreSQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres_version: Option<String>,
    /// On a replica: whether WAL flows to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streaming: Option<bool>,
    /// How far a replica is behind, coarsely: 0 is less than a MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_bytes: Option<u64>,
    /// How far a replica is behind in time, coarsely: 0 is less than a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<u64>,
    /// Whether commits wait for a replica, in PostgreSQL's word: `async`, `sync`, `quorum` or `potential`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<String>,
    /// The settings that take over their values in the files only with a restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending_restart: Vec<String>,
    /// The instances to which it leaves the place of a primary that is gone, where they are as far as it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub preferred: BTreeSet<InstanceName>,
}

/// The last change of the primary, as users see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastTakeover {
    /// Whether the former primary handed over in order.
    pub planned: bool,
    /// The former primary.
    pub from: String,
    /// The new one.
    pub to: String,
    /// Why.
    pub cause: String,
    /// Who asked for it; empty where nobody did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub actor: String,
    /// Timeline that began.
    pub timeline: u32,
    /// Place in the WAL where it began, as PostgreSQL writes it.
    pub lsn: String,
    /// When the new primary began to take writes.
    pub at: Timestamp,
    /// How long it took until then, in milliseconds: since it was asked for, or since the former primary was heard last.
    pub duration_ms: u64,
}

/// The status of a Pgcluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterStatus {
    /// 4.1's `pgcluster Created` and `pgcluster Processed`.
    pub state: String,
    /// 4.1's message to it.
    pub message: String,
    /// In one word, how the cluster is.
    pub phase: Phase,
    /// Why it is not ready, or what is being waited for.
    pub reason: String,
    /// `metadata.generation` this status is about.
    pub observed_generation: i64,
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// Instances.
    pub instances: Vec<InstanceStatus>,
    /// The primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_primary: Option<InstanceName>,
    /// The newest term whose beginning was told; terms rise with each change of the primary.
    #[serde(skip_serializing_if = "is_untold")]
    pub term: Term,
    /// The new primary that was elected and was not seen to take writes yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promotion: Option<Promotion>,
    /// The last change of the primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_takeover: Option<LastTakeover>,
    /// Of which former primary it was told what it had more than the primary of which term, the newest one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub formers: BTreeMap<InstanceName, Term>,
    /// The replicas that belong to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicaStatus>,
    /// How many there are to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica_count: Option<ReplicaCount>,
    /// What the instances are made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<Images>,
    /// The upgrade that goes on, or the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Upgrade>,
    /// Its settings, as they were asked for last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
    /// Notes on the Pgcluster that were told, while they are there: none is told twice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub told_notes: Vec<OperationId>,
    /// Up to when the runs of each schedule were told, by its uid: none is told twice.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub told_runs: BTreeMap<String, Timestamp>,
    /// What it lacks of the protection that was asked for.
    #[serde(skip_serializing_if = "Protection::is_whole")]
    pub protection: Protection,
    /// For whose answers commits wait, where they wait or are to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synchronous: Option<Synchronous>,
    /// The restart that goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// The agents' certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// Instances whose pods were made anew since they ended again and again.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub crashes: BTreeMap<InstanceName, Crashes>,
    /// What was told of the WAL that the primary keeps for instances that are away.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kept_wal: BTreeMap<InstanceName, KeptWal>,
    /// The stanza of the repository of backups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stanza: Option<Stanza>,
    /// The backup that goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupRun>,
    /// The newest backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_backup: Option<LastBackup>,
    /// Which backups were tried, and what became of them.
    #[serde(skip_serializing_if = "Drills::is_empty")]
    pub drills: Drills,
    /// The last restore that was proven to work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_proven_restore: Option<ProvenRestore>,
    /// The restore that goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreRun>,
    /// What it was restored to last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored: Option<Restored>,
    /// The first instance, where a former cluster of the name had been restored to it: its claim has the data that was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopted: Option<InstanceName>,
    /// Former first instances whose claims have the data as it was before a restore.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<InstanceName>,
    /// The dump, or restore of one, that goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dump: Option<DumpRun>,
    /// The dumps that were made last, the newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dumps: Vec<DumpMade>,
    /// The benchmark, or the load, that goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobRun>,
    /// The policy whose turn it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRun>,
    /// Names of the policies that were applied.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub applied_policies: BTreeSet<String>,
    /// Since when archiving fails, where that was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archiving_failed: Option<Timestamp>,
    /// How full the volumes are, by the names of their claims.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, VolumeStatus>,
    /// Operations and outbox.
    #[serde(flatten)]
    pub journal: Journal,
}

/// Whether a mark is not set: those are left out.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(crate) fn is_false(value: &bool) -> bool {
    !*value
}

fn is_untold(term: &Term) -> bool {
    *term == Term::default()
}

impl ClusterStatus {
    /// Whether its creation came to its end once.
    #[must_use]
    pub fn was_ready(&self) -> bool {
        self.journal
            .newest(Kind::CreateCluster)
            .is_some_and(|creation| creation.outcome == Some(Outcome::Completed))
    }

    /// Whether the cluster can be used, as far as this status knows.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.conditions
            .iter()
            .any(|c| c.name == RESULT_READY && c.status == ConditionStatus::True)
    }
}

/// Sets a condition; its transition time moves only when its status does.
pub(crate) fn set_condition(
    conditions: &mut Vec<Condition>,
    (name, status): (&str, ConditionStatus),
    reason: &str,
    message: &str,
    (generation, now): (i64, Timestamp),
) {
    let since = conditions
        .iter()
        .find(|c| c.name == name && c.status == status)
        .map_or(now, |c| c.last_transition_time);
    conditions.retain(|c| c.name != name);
    conditions.push(Condition {
        name: name.to_owned(),
        status,
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: since,
        observed_generation: generation,
    });
    conditions.sort_by(|a, b| a.name.cmp(&b.name));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_among_all() {
        // Whoever adds one is led here by the compiler.
        let place = |phase: Phase| match phase {
            Phase::Pending => 0,
            Phase::Creating => 1,
            Phase::Ready => 2,
            Phase::NotReady => 3,
            Phase::Failed => 4,
            Phase::Deleting => 5,
        };
        assert_eq!(Phase::ALL.map(place), [0, 1, 2, 3, 4, 5]);
        let place = |status: ConditionStatus| match status {
            ConditionStatus::True => 0,
            ConditionStatus::False => 1,
        };
        assert_eq!(ConditionStatus::ALL.map(place), [0, 1]);
    }
}
