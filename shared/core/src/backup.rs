//! Backups by pgBackRest: what is wanted and what is there of a repository, and what follows from both.
//!
//! ```text
//! Desired::backups ─► repository: claim, Service, Deployment ─► its agent works ─► stanza ─► WAL is archived
//! BackupRequest ──────────────────────────────────────────────────────────────────► backup ─► one end of it
//! ```
//!
//! A primary that cannot archive keeps its WAL: nothing here ever makes it drop any.

mod archiving;
mod damage;
pub mod options;
mod place;
mod repository;
mod run;
mod stanza;

use jiff::Timestamp;
use pgo_ids::{ClusterName, InstanceName, OperationId};
use serde::{Deserialize, Serialize};

pub(crate) use self::run::near;
pub use self::{
    archiving::RESULT_ARCHIVING,
    damage::RESULT_WHOLE,
    place::{Bucket, KeptBy, Place, Places, Retention},
    run::{BackupRequest, BackupRun},
    stanza::Stanza,
};
use crate::{
    ClaimFacts, Cluster, ClusterStatus, Desired, DrillPolicy, Fill, Fixture, Form, Observed, Plan,
    PodFacts, Storage, StorageKind, problem,
};

/// What a user wants of backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backups {
    /// The volume of the repository.
    pub storage: Storage,
    /// Where they lie.
    pub places: Places,
    /// How many of them stay.
    pub retention: Retention,
    /// After how many seconds a WAL file is archived that is not full; 0 for never.
    pub archive_timeout: u32,
    /// Which of them are tried.
    pub drills: DrillPolicy,
}

/// How archiving goes, as the agent of a primary says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archive {
    /// Why the last attempt failed; none while it works.
    pub error: Option<String>,
    /// Since when.
    pub failing_since: Option<Timestamp>,
    /// The WAL file that was archived last.
    pub last_archived: Option<String>,
    /// WAL files that are complete and not archived.
    pub waiting: u32,
}

/// The repository of a cluster, as it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repository {
    /// What its Service was made for; none where nobody wrote it down.
    pub service_form: Option<Form>,
    /// The same of its Deployment.
    pub form: Option<Form>,
    /// Its claim.
    pub claim: Option<ClaimFacts>,
    /// Its pod; that which stays, where another one ends.
    pub pod: Option<PodFacts>,
    /// Its agent.
    pub agent: Option<RepositoryFacts>,
}

impl Repository {
    /// What the agent in the present pod tells; what a former pod's agent told does not count.
    #[must_use]
    pub fn heard(&self) -> Option<&RepositoryFacts> {
        let pod = self.pod.as_ref()?;
        let agent = self.agent.as_ref();
        agent.filter(|agent| agent.pod_uid == pod.uid && !pod.terminating)
    }

    /// The same, where the repository can work now.
    pub(crate) fn works(&self) -> Option<&RepositoryFacts> {
        self.heard()
            .filter(|agent| agent.ready && agent.error.is_none())
    }

    /// What tells where its pod keeps something from other places.
    pub(crate) fn volume(&self, backups: &Backups) -> Option<String> {
        let volume = match backups.storage.kind {
            StorageKind::EmptyDir => self.pod.as_ref()?.uid.as_str(),
            StorageKind::Create | StorageKind::Dynamic => self.claim.as_ref()?.uid.as_str(),
        };
        Some(format!("{volume}{}", backups.places.mark()))
    }
}

/// What the agent of a repository tells: `proto/pgo/agent/v1/repository.proto`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepositoryFacts {
    /// Uid of its pod.
    pub pod_uid: String,
    /// Version of pgBackRest; none where the image holds none.
    pub version: Option<String>,
    /// Why the repository cannot work now.
    pub error: Option<String>,
    /// Whether pgBackRest's server answers.
    pub ready: bool,
    /// What runs now.
    pub running: Option<Work>,
    /// What has ended, the newest last.
    pub done: Vec<Done>,
    /// The backups there are, the newest last.
    pub backups: Vec<BackupSet>,
    /// How full the volume is; none where it was not measured.
    pub volume: Option<Fill>,
}

impl RepositoryFacts {
    /// How an operation ended, if it has.
    pub(crate) fn end_of(&self, operation: OperationId) -> Option<&Done> {
        let mut done = self.done.iter().rev();
        done.find(|one| one.operation == operation)
    }

    /// Whether it does something for an operation now.
    pub(crate) fn works_for(&self, operation: OperationId) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|work| work.operation == operation)
    }
}

/// What a repository does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The operation it is for.
    pub operation: OperationId,
    /// How much of it is done.
    pub percent: u32,
}

/// What a repository has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The operation it was for.
    pub operation: OperationId,
    /// Why it failed; none where it did not.
    pub error: Option<String>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// The backup that was made.
    pub backup: Option<BackupSet>,
    /// Those that were made with it in other places.
    pub more: Vec<BackupSet>,
}

/// A backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupSet {
    /// pgBackRest's name for it.
    pub label: String,
    /// `full`, `diff` or `incr`.
    pub kind: String,
    /// When it was complete.
    pub finished: Option<Timestamp>,
    /// Size of the database, in bytes.
    pub size: u64,
    /// The first WAL file that a restore needs.
    pub start_wal: String,
    /// The last one.
    pub stop_wal: String,
    /// Whether pages have wrong checksums in it.
    pub damaged: bool,
    /// Where, as far as that was said when it was made: some of the files.
    pub damaged_pages: Vec<String>,
    /// The instance that its files were copied from.
    pub source: String,
    /// Where it is: `local` or `s3`.
    pub place: String,
}

/// The newest backup, as users see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastBackup {
    /// pgBackRest's name for it.
    pub label: String,
    /// `full`, `diff` or `incr`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// Size of the database, in bytes.
    pub size_bytes: u64,
    /// Whether pages have wrong checksums in it.
    #[serde(default, skip_serializing_if = "crate::status::is_false")]
    pub damaged: bool,
}

/// An instance as pgBackRest reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseHost {
    /// The instance.
    pub instance: InstanceName,
    /// Address of its pod.
    pub address: String,
    /// Its data directory.
    pub path: String,
    /// Port of PostgreSQL.
    pub port: u16,
}

/// What comes behind a cluster's name in that of its repository, as in 4.1.
pub const REPOSITORY: &str = "-backrest-shared-repo";

/// What comes behind a cluster's name in that of the Secret with the key of its bucket, as in 4.1.
pub const REPOSITORY_SECRET: &str = "-backrest-repo-config";

/// What comes behind a cluster's name in that of its repository's claim, as in 4.1.
pub const REPOSITORY_CLAIM: &str = "-pgbr-repo";

impl Desired {
    /// Name of the repository: that of its Service, its Deployment, and its folder on the volume.
    #[must_use]
    pub fn repository_name(&self) -> String {
        format!("{}{REPOSITORY}", self.name)
    }

    /// Name of the Secret with the key of its bucket.
    #[must_use]
    pub fn repository_secret_name(&self) -> String {
        format!("{}{REPOSITORY_SECRET}", self.name)
    }

    /// Name of its claim.
    #[must_use]
    pub fn repository_claim_name(&self) -> String {
        repository_claim_name(&self.name)
    }
}

/// Name of the claim with a cluster's repository of backups, whether one is wanted or not.
#[must_use]
pub fn repository_claim_name(cluster: &ClusterName) -> String {
    format!("{cluster}{REPOSITORY_CLAIM}")
}

impl Cluster {
    /// What is wanted, for its repository: with the image that is in force; none where there is to be no repository, or what
    /// is wanted cannot be understood.
    #[must_use]
    pub fn desired_repository(&self, status: &ClusterStatus) -> Option<Desired> {
        self.desired_in_force(status)
            .filter(|desired| desired.backups.is_some())
    }

    /// What is wanted, with the image that is in force; none where it cannot be understood.
    #[must_use]
    pub fn desired_in_force(&self, status: &ClusterStatus) -> Option<Desired> {
        let mut wanted = self.desired.as_ref().ok()?.clone();
        if let Some(images) = &status.images {
            wanted.image = images.in_force.clone();
        }
        Some(wanted)
    }
}

/// The instance that serves, where it archives to the repository.
pub(crate) fn primary(cluster: &Cluster, observed: &Observed) -> Option<DatabaseHost> {
    host(cluster, observed, observed.serving_primary()?)
}

/// An instance as the repository reaches it: only what was made to archive has a server for that.
fn host(cluster: &Cluster, observed: &Observed, instance: &InstanceName) -> Option<DatabaseHost> {
    let desired = cluster.desired.as_ref().ok()?;
    let pod = observed.pods.get(instance)?;
    let form = pod.form.as_ref().filter(|form| form.archives())?;
    Some(DatabaseHost {
        instance: instance.clone(),
        address: pod.ip.clone().filter(|_| !pod.terminating)?,
        path: format!("/pgdata/{instance}"),
        port: form.port().unwrap_or(desired.port),
    })
}

/// Why a repository cannot work now, for people.
pub(crate) fn trouble(observed: &Observed, now: Timestamp) -> Option<String> {
    let repository = &observed.repository;
    if repository.works().is_some() {
        return None;
    }
    let agent = repository.heard();
    if let Some(error) = agent.and_then(|agent| agent.error.as_deref()) {
        return Some(format!("the repository of backups cannot work: {error}"));
    }
    let pod = repository.pod.as_ref().filter(|pod| !pod.terminating);
    let problem = pod.and_then(|pod| problem::of_pod("of the repository of backups", pod, now));
    let claim = repository.claim.as_ref();
    let of_claim =
        || claim.and_then(|claim| problem::of_claim("of the repository of backups", claim));
    if let Some(problem) = problem.or_else(of_claim) {
        return Some(problem.cause);
    }
    let what = match (observed.has(&[Fixture::Repository]), pod, agent) {
        (false, ..) => "is not made yet",
        (_, None, _) => "has no pod now",
        (_, _, None) => "is not heard: its agent does not answer",
        _ => "is not ready: pgBackRest's server does not answer",
    };
    Some(format!("the repository of backups {what}"))
}

/// Takes over how the repository is, and goes on with what goes on.
pub(crate) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    stanza::commit(next, cluster, observed, now);
    archiving::commit(next, cluster, observed, now);
    run::commit(next, cluster, observed, now);
    damage::commit(next, cluster, observed, now);
    if let Some(agent) = observed.repository.works() {
        next.last_backup = agent.backups.last().map(last_backup);
    }
}

fn last_backup(backup: &BackupSet) -> LastBackup {
    LastBackup {
        label: backup.label.clone(),
        kind: backup.kind.clone(),
        finished: backup.finished,
        size_bytes: backup.size,
        damaged: backup.damaged,
    }
}

/// What is to be made, removed and asked.
pub(crate) fn steps(
    plan: &mut Plan,
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
) {
    repository::steps(plan, status, cluster, observed);
    stanza::steps(plan, status, cluster, observed);
    run::steps(plan, status, cluster, observed);
    if archiving::is_about_to_be_told(status, observed) && plan.waiting_for.is_none() {
        plan.waiting_for = Some("WAL to be archived");
    }
}

/// The cluster goes: what is under way ends with it.
pub(crate) fn break_off(next: &mut ClusterStatus, cluster: &Cluster, now: Timestamp) {
    run::break_off(next, cluster, now);
}
