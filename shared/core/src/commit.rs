//! Which status follows from what is there: state, operations and events in one value, to be written at once.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pgo_events::Eventing;
use pgo_ids::{ClusterName, InstanceName, Namespace, OperationId, StreamId};

use crate::{
    AgentPhase, BackupRemoval, BackupRequest, ChangedBy, ClusterStatus, ConditionStatus, Data,
    DeleteRequest, Desired, DrillRequest, DumpRequest, FailoverRequest, InstanceStatus, JobRequest,
    Kind, Milestone, Notes, Observed, Operation, Outcome, Phase, PolicyRequest, Problem,
    RESULT_READY, RESULT_UP_TO_DATE, ReloadRequest, Replica, RestartRequest, RestoreRequest, Role,
    ScaleDownRequest, UpgradeRequest,
    applied::Applied,
    backlog, backup, cancel, certificate, crash,
    deletion::deletion,
    drill, dump, failover, job,
    journal::{Of, Subject},
    notes, policy, problem, protection, reload, replicas, restart, restore, serving, silence,
    slots,
    status::set_condition,
    synchronous, takeover, upgrade, volumes,
};

/// A Pgcluster as its object says: identity, requests, and what the user wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its name.
    pub name: ClusterName,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its uid.
    pub stream: StreamId,
    /// `metadata.generation`.
    pub generation: i64,
    /// Whether its deletion was asked for on the object itself.
    pub deleting: bool,
    /// Who asked for it.
    pub actor: String,
    /// 4.1's workflow id, where the request had one.
    pub workflow: Option<OperationId>,
    /// Deletion asked for by Pgtasks, the first to ask first.
    pub delete_requests: Vec<DeleteRequest>,
    /// Its Pgreplicas.
    pub replicas: Vec<Replica>,
    /// `spec.replicaCount`.
    pub replica_count: u32,
    /// Replicas whose removal Pgtasks ask for.
    pub scale_down: Vec<ScaleDownRequest>,
    /// Changes of the primary that Pgtasks ask for.
    pub failover: Vec<FailoverRequest>,
    /// Reloads of the configuration that Pgtasks ask for.
    pub reloads: Vec<ReloadRequest>,
    /// Restarts that Pgtasks ask for.
    pub restarts: Vec<RestartRequest>,
    /// Upgrades that Pgtasks ask for.
    pub upgrades: Vec<UpgradeRequest>,
    /// Backups by pgBackRest that Pgtasks ask for.
    pub backups: Vec<BackupRequest>,
    /// Restore drills that Pgtasks ask for.
    pub drills: Vec<DrillRequest>,
    /// Restores by pgBackRest that Pgtasks ask for.
    pub restores: Vec<RestoreRequest>,
    /// Dumps, and restores of some, that Pgtasks ask for.
    pub dumps: Vec<DumpRequest>,
    /// Removals of copies by `pg_basebackup`, or dumps, that Pgtasks ask for.
    pub removals: Vec<BackupRemoval>,
    /// Benchmarks and loads that Pgtasks ask for.
    pub jobs: Vec<JobRequest>,
    /// Policies that Pgtasks ask to apply.
    pub policies: Vec<PolicyRequest>,
    /// The policies to apply when it is ready for the first time, in this order.
    pub policies_at_creation: Vec<String>,
    /// Names of the Pgtasks that ask for any of these but its deletion, by the operation that they ask for.
    pub tasks: BTreeMap<OperationId, String>,
    /// The operations that somebody wants to go on no longer, and who that is; also those that are over.
    pub cancelled: BTreeMap<OperationId, String>,
    /// What is noted on it.
    pub notes: Notes,
    /// Who changed it last without a request.
    pub changed_by: ChangedBy,
    /// What the spec itself says of the image, without what `pgo.yaml` adds.
    pub image_said: String,
    /// What the user wants, or why that cannot be understood.
    pub desired: Result<Desired, String>,
}

impl Cluster {
    /// Whether it is to be removed.
    #[must_use]
    pub fn is_to_go(&self) -> bool {
        self.deleting || !self.delete_requests.is_empty()
    }

    /// Whether the object stays until what is begun has been told to its end: the finalizer holds it. Nothing begins
    /// before.
    pub(crate) fn is_held(&self, status: &ClusterStatus, observed: &Observed) -> bool {
        observed.finalizer || !status.journal.operations.is_empty()
    }

    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject {
            stream: &self.stream,
            namespace: &self.namespace,
            cluster: Some(&self.name),
        }
    }
}

/// The status that follows.
///
/// `eventing` says whether events are published, and how far the event service has the cluster's stream on disk. The same arguments give the same status,
/// and the status given back as argument gives itself: nothing is told twice. Nothing is begun before the finalizer is
/// there, so the status stays as it is until then.
#[must_use]
pub fn commit(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    eventing: Eventing,
    now: Timestamp,
) -> ClusterStatus {
    let mut next = status.clone();
    if !cluster.is_held(status, observed) {
        return next;
    }
    let subject = cluster.subject();
    backlog::open(&mut next.journal, subject, eventing, now);
    next.observed_generation = cluster.generation;
    if cluster.is_to_go() || next.journal.newest(Kind::DeleteCluster).is_some() {
        notes::of_one_that_goes(&mut next, cluster, now);
        deletion(&mut next, cluster, observed, now);
    } else {
        restore::adopt(&mut next, cluster, observed);
        restore::advance(&mut next, cluster, observed, now);
        creation(&mut next, cluster, observed, now);
        if next.journal.newest(Kind::CreateCluster).is_some() {
            takeover::tell(&mut next, subject, observed, now);
            takeover::conclude(&mut next, subject, observed, now);
            takeover::tell_lost(&mut next, cluster, observed, now);
            cancel::commit(&mut next, cluster, now);
            restore::begin(&mut next, cluster, observed, now);
            replicas::commit(&mut next, cluster, observed, now);
            failover::commit(&mut next, cluster, observed, now);
            reload::commit(&mut next, cluster, observed, now);
            restart::commit(&mut next, cluster, observed, now);
            synchronous::commit(&mut next, cluster, observed, now);
            volumes::commit(&mut next, cluster, observed, now);
            backup::commit(&mut next, cluster, observed, now);
            dump::commit(&mut next, cluster, observed, now);
            job::commit(&mut next, cluster, observed, now);
            let is_first = !status.was_ready() && next.was_ready();
            policy::commit(&mut next, cluster, observed, is_first, now);
            upgrade::account(&mut next, cluster, observed);
            upgrade::commit(&mut next, cluster, observed, now);
            drill::commit(&mut next, cluster, observed, now);
            notes::commit(&mut next, cluster, observed, now);
            protection::commit(&mut next, cluster, observed, now);
            crash::commit(&mut next, cluster, observed, now);
            slots::commit(&mut next, cluster, observed, now);
        }
        judge_spec(&mut next, cluster, observed, now);
        let known = (next.certificate.as_ref(), observed);
        next.certificate = certificate::tell(&mut next.journal, subject, known, now);
    }
    next.journal.note_tasks(&cluster.tasks);
    next.journal.forget(|id| cluster.asks_for(id));
    next.instances = instances(status, observed, now);
    next.current_primary = observed
        .serving_primary()
        .or_else(|| silence::remembered_primary(status, observed, now))
        .cloned();
    backlog::close(&mut next.journal, subject, eventing, now);
    let (condition, reason, message) = backlog::condition(&next.journal.outbox);
    let at = (cluster.generation, now);
    set_condition(&mut next.conditions, condition, reason, &message, at);
    next
}

/// The operations that make a cluster.
pub(crate) const CREATION: Of<'static> = (Kind::CreateCluster, None);

/// The operations that remove it.
pub(crate) const DELETION: Of<'static> = (Kind::DeleteCluster, None);

fn creation(next: &mut ClusterStatus, cluster: &Cluster, observed: &Observed, now: Timestamp) {
    let (reached, found) = judge(next, cluster, observed, now);
    begin_creation(next, cluster, (reached, found.as_ref()), now);
    let problem = found.or_else(|| late(next, cluster, observed, now));
    let data = Data::of(&next.first(&cluster.name), observed);
    let told: Vec<&str> = Milestone::ALL
        .into_iter()
        .filter(|m| *m > Milestone::Accepted && *m < Milestone::Serving && *m <= reached)
        .map(|milestone| milestone.text(data))
        .collect();
    next.journal
        .progress(cluster.subject(), CREATION, (&told, &[]), now);
    let holds = reached < Milestone::Serving
        && problem.is_none()
        && silence::verdict_holds(next, observed, now);
    if !holds {
        let of = (cluster, observed);
        conclude(next, of, (reached, problem, data), now);
    }
}

/// Whether everything that the spec asks for is in force.
fn judge_spec(next: &mut ClusterStatus, cluster: &Cluster, observed: &Observed, now: Timestamp) {
    let Applied {
        status,
        reason,
        message,
    } = Applied::of(next, cluster, observed);
    let condition = (RESULT_UP_TO_DATE, status);
    let at = (cluster.generation, now);
    set_condition(&mut next.conditions, condition, reason, &message, at);
}

/// What follows from how far the cluster is: the end of its creation, its phase and whether it is ready.
fn conclude(
    next: &mut ClusterStatus,
    (cluster, observed): (&Cluster, &Observed),
    (reached, problem, data): (Milestone, Option<Problem>, Data),
    now: Timestamp,
) {
    let was_ready = next.was_ready();
    let subject = cluster.subject();
    let journal = &mut next.journal;
    let (phase, reason, message) = match (reached, problem) {
        (Milestone::Serving, _) => {
            let completed = (Outcome::Completed, None);
            journal.finish(subject, CREATION, completed, now);
            (Phase::Ready, "Serving", "answers on its service".to_owned())
        }
        (_, Some(problem)) => {
            let outcome = (Outcome::Failed, Some(problem.cause.clone()));
            journal.finish(subject, CREATION, outcome, now);
            let phase = if was_ready {
                Phase::NotReady
            } else {
                Phase::Failed
            };
            (phase, problem.reason, problem.cause)
        }
        (_, None) if was_ready => (
            Phase::NotReady,
            "PrimaryNotServing",
            "the primary does not answer on its service".to_owned(),
        ),
        (reached, None) => (
            Phase::Creating,
            "Creating",
            format!("being made: {}", reached.text(data)),
        ),
    };
    let former = next.conditions.iter().find(|c| c.name == RESULT_READY);
    let (former, told) = ((former, was_ready), (phase, message.as_str()));
    let primary = (next.current_primary.as_ref(), observed);
    serving::tell(&mut next.journal, subject, former, told, primary, now);
    describe(next, cluster, (phase, reason), &message, now);
}

/// How far the creation is, and what keeps it from getting further.
fn judge(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) -> (Milestone, Option<Problem>) {
    let desired = match &cluster.desired {
        Ok(desired) => desired,
        Err(invalid) => return judge_invalid(status, observed, invalid, now),
    };
    let first = status.first(&cluster.name);
    match Milestone::reached((desired, &first), observed) {
        Milestone::Serving => (Milestone::Serving, None),
        reached => {
            let of_restore = restore::problem(status);
            let found = || Problem::find((desired, &first), observed, !status.was_ready(), now);
            (reached, of_restore.or_else(found))
        }
    }
}

/// What is wrong with a spec is no word about a database that serves; whether the spec is in force is another condition.
/// Without a primary it is what keeps one from being made.
fn judge_invalid(
    status: &ClusterStatus,
    observed: &Observed,
    invalid: &str,
    now: Timestamp,
) -> (Milestone, Option<Problem>) {
    if !status.was_ready() {
        return (Milestone::Accepted, Some(Problem::new("Invalid", invalid)));
    }
    if observed.serving_primary().is_some() {
        return (Milestone::Serving, None);
    }
    let cause = format!(
        "the primary does not answer on its service, and nothing is made while the spec is not understood: {invalid}"
    );
    let holds = silence::verdict_holds(status, observed, now);
    let problem = (!holds).then(|| Problem::new("Invalid", &cause));
    (Milestone::Accepted, problem)
}

/// A creation that takes too long; one that ended for that stays so until it gets further.
fn late(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) -> Option<Problem> {
    let desired = cluster.desired.as_ref().ok()?;
    let creation = status.journal.newest(Kind::CreateCluster)?;
    let first = status.first(&cluster.name);
    let problem = Problem::late((desired, &first), observed)?;
    let is_late = match creation.outcome {
        // Who is silent for a moment may be at work.
        None if silence::is_brief(observed, now) => false,
        None => problem::is_overdue(creation, &first, observed, now),
        Some(Outcome::Failed) => told_reason(status) == Some(problem.reason),
        Some(Outcome::Completed) => false,
    };
    is_late.then_some(problem)
}

/// The reason that was told last for not being ready.
fn told_reason(status: &ClusterStatus) -> Option<&str> {
    let ready = status.conditions.iter().find(|c| c.name == RESULT_READY)?;
    Some(ready.reason.as_str())
}

/// A creation begins with the object, and again when a failed one gets further than it was without what made it fail, or
/// is asked for differently.
pub(crate) fn begin_creation(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    (reached, problem): (Milestone, Option<&Problem>),
    now: Timestamp,
) {
    let (id, cause) = match next.journal.newest(Kind::CreateCluster) {
        None => (
            cluster
                .workflow
                .unwrap_or_else(|| OperationId::derived(&cluster.stream, "create")),
            None,
        ),
        Some(failed) if failed.outcome == Some(Outcome::Failed) => {
            let further = Milestone::ALL
                .get(failed.steps + 1)
                .is_some_and(|next_step| reached >= *next_step);
            // Kubernetes' words for one and the same problem change, its reason does not.
            let same = problem.is_some_and(|problem| told_reason(next) == Some(problem.reason));
            if (!further || same) && failed.generation == cluster.generation {
                return;
            }
            let again = format!("create again after {}", failed.id);
            (
                OperationId::derived(&cluster.stream, &again),
                Some("tried again: what made it fail has changed".to_owned()),
            )
        }
        Some(_) => return,
    };
    let steps = next
        .journal
        .newest(Kind::CreateCluster)
        .map_or(0, |failed| failed.steps);
    let of = (Kind::CreateCluster, None);
    let operation = Operation {
        steps,
        ..Operation::begun(of, id, &cluster.actor, cluster.generation, now)
    };
    next.journal.begin(cluster.subject(), operation, cause);
}

pub(crate) fn describe(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    (phase, reason): (Phase, &str),
    message: &str,
    now: Timestamp,
) {
    next.phase = phase;
    next.reason = message.to_owned();
    "pgcluster Processed".clone_into(&mut next.state);
    "Successfully processed Pgcluster by controller".clone_into(&mut next.message);
    let ready = if phase == Phase::Ready {
        ConditionStatus::True
    } else {
        ConditionStatus::False
    };
    let at = (cluster.generation, now);
    set_condition(
        &mut next.conditions,
        (RESULT_READY, ready),
        reason,
        message,
        at,
    );
}

fn instances(status: &ClusterStatus, observed: &Observed, now: Timestamp) -> Vec<InstanceStatus> {
    observed
        .pods
        .iter()
        .map(|(name, pod)| {
            if let Some(remembered) = silence::remembered(status, observed, name, now) {
                return remembered.clone();
            }
            let agent = observed.agent(name);
            let role = match agent.and_then(|agent| agent.role) {
                Some(Role::Primary) => "primary",
                Some(Role::Replica) => "replica",
                Some(Role::Restoring) | None => "",
            };
            let replica = agent.filter(|agent| agent.role == Some(Role::Replica));
            InstanceStatus {
                name: name.clone(),
                pod_uid: pod.uid.clone(),
                role: role.to_owned(),
                ready: agent.is_some_and(|agent| agent.phase == AgentPhase::Running)
                    && !pod.terminating,
                node: pod.node.clone(),
                term: agent.map(|agent| agent.term).unwrap_or_default(),
                timeline: agent.map_or(0, |agent| agent.timeline),
                streaming: replica.map(|agent| agent.streaming),
                lag_bytes: replica.map(|agent| coarse(agent.lag_bytes, 1 << 20)),
                lag_seconds: replica.map(|agent| coarse(agent.lag_ms, 1000) / 1000),
                sync: replica.and_then(|_| sync(observed, name)),
                postgres_version: agent.and_then(|agent| agent.postgres_version.clone()),
                pending_restart: agent
                    .map(|agent| agent.pending_restart.clone())
                    .unwrap_or_default(),
                preferred: agent
                    .map(|agent| agent.preferred.clone())
                    .unwrap_or_default(),
            }
        })
        .collect()
}

/// The primary's word for whether commits wait for a replica.
fn sync(observed: &Observed, replica: &InstanceName) -> Option<String> {
    let primary = observed.agent(observed.serving_primary()?)?;
    let slot = replica.slot();
    let mut followers = primary.followers.iter();
    let word = &followers.find(|follower| follower.slot == slot)?.sync;
    (!word.is_empty()).then(|| word.clone())
}

/// A lag as a status tells it: `unit` times the next power of two, and none where it is less than that unit. It changes all
/// the time, and each change of a status is a write.
fn coarse(lag: u64, unit: u64) -> u64 {
    if lag < unit {
        return 0;
    }
    let units = lag.div_ceil(unit).checked_next_power_of_two();
    units.unwrap_or(u64::MAX >> 1).saturating_mul(unit)
}
