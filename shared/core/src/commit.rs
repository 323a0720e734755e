//! Which status follows from what is there: state, operations and events in one value, to be written at once.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use pgo_events::Eventing;
use pgo_ids::{ClusterName, Namespace, OperationId, StreamId};

use crate::{
    AgentPhase, ClusterStatus, ConditionStatus, DeleteOptions, Desired, InstanceStatus, Kind,
    Milestone, Observed, Operation, Outcome, Phase, Problem, RESULT_READY, RESULT_UP_TO_DATE,
    Replica, Role, ScaleDownRequest,
    applied::Applied,
    backlog, certificate,
    journal::{Of, Subject},
    plan::{Leftover, leftovers},
    problem, replicas, serving, silence,
    status::set_condition,
};

/// What a Pgtask asks for: the cluster's deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRequest {
    /// The request's id.
    pub operation: OperationId,
    /// Who asked.
    pub actor: String,
    /// What to remove.
    pub options: DeleteOptions,
}

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
    /// Deletion asked for by a Pgtask.
    pub delete_request: Option<DeleteRequest>,
    /// Its Pgreplicas.
    pub replicas: Vec<Replica>,
    /// `spec.replicaCount`.
    pub replica_count: u32,
    /// Replicas whose removal Pgtasks ask for.
    pub scale_down: Vec<ScaleDownRequest>,
    /// What the user wants, or why that cannot be understood.
    pub desired: Result<Desired, String>,
}

impl Cluster {
    /// Whether it is to be removed.
    #[must_use]
    pub fn is_to_go(&self) -> bool {
        self.deleting || self.delete_request.is_some()
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
        deletion(&mut next, cluster, observed, now);
    } else {
        creation(&mut next, cluster, observed, now);
        if next.journal.newest(Kind::CreateCluster).is_some() {
            replicas::commit(&mut next, cluster, observed, now);
        }
        let known = (next.certificate.as_ref(), observed);
        next.certificate = certificate::tell(&mut next.journal, subject, known, now);
    }
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
const CREATION: Of<'static> = (Kind::CreateCluster, None);

/// The operations that remove it.
const DELETION: Of<'static> = (Kind::DeleteCluster, None);

fn creation(next: &mut ClusterStatus, cluster: &Cluster, observed: &Observed, now: Timestamp) {
    let (reached, found) = judge(next, cluster, observed, now);
    begin_creation(next, cluster, (reached, found.as_ref()), now);
    let problem = found.or_else(|| late(next, cluster, observed, now));
    let told: Vec<&str> = Milestone::ALL
        .into_iter()
        .filter(|m| *m > Milestone::Accepted && *m < Milestone::Serving && *m <= reached)
        .map(Milestone::text)
        .collect();
    next.journal
        .progress(cluster.subject(), CREATION, &told, now);
    let holds = reached < Milestone::Serving
        && problem.is_none()
        && silence::verdict_holds(next, observed, now);
    if !holds {
        conclude(next, cluster, (reached, problem), now);
    }
    let Applied {
        status,
        reason,
        message,
    } = Applied::of(next.was_ready(), cluster, observed);
    let condition = (RESULT_UP_TO_DATE, status);
    let at = (cluster.generation, now);
    set_condition(&mut next.conditions, condition, reason, &message, at);
}

/// What follows from how far the cluster is: the end of its creation, its phase and whether it is ready.
fn conclude(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    (reached, problem): (Milestone, Option<Problem>),
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
            format!("being made: {}", reached.text()),
        ),
    };
    let former = next.conditions.iter().find(|c| c.name == RESULT_READY);
    let (former, told) = ((former, was_ready), (phase, message.as_str()));
    serving::tell(&mut next.journal, subject, former, told, now);
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
    match Milestone::reached(desired, observed) {
        Milestone::Serving => (Milestone::Serving, None),
        reached => {
            let problem = Problem::find(desired, observed, !status.was_ready(), now);
            (reached, problem)
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
    let problem = Problem::late(desired, observed)?;
    let is_late = match creation.outcome {
        // Who is silent for a moment may be at work.
        None if silence::is_brief(observed, now) => false,
        None => problem::is_overdue(creation, desired, observed, now),
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
fn begin_creation(
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
    let operation = Operation {
        id,
        kind: Kind::CreateCluster,
        instance: None,
        actor: cluster.actor.clone(),
        started: now,
        finished: None,
        outcome: None,
        cause: None,
        steps,
        generation: cluster.generation,
        delete: None,
    };
    next.journal.begin(cluster.subject(), operation, cause);
}

/// A deletion that takes longer is told as failed, though it goes on: PostgreSQL stops within a minute or two, and a volume
/// goes as fast, unless something holds it.
const DELETION_DEADLINE: SignedDuration = SignedDuration::from_mins(5);

fn deletion(next: &mut ClusterStatus, cluster: &Cluster, observed: &Observed, now: Timestamp) {
    let subject = cluster.subject();
    if next.journal.newest(Kind::DeleteCluster).is_none() {
        if next.journal.newest(Kind::CreateCluster).is_none() {
            // Nobody has begun it, and who asked for it is told all the same.
            begin_creation(next, cluster, (Milestone::Accepted, None), now);
        }
        let interrupted = "the cluster was deleted before it was ready".to_owned();
        replicas::break_off(next, cluster, now);
        next.journal
            .finish(subject, CREATION, (Outcome::Failed, Some(interrupted)), now);
    }
    begin_deletion(next, cluster, now);
    widen_deletion(next, cluster);
    take_up_deletion(next, cluster, observed, now);
    if let Some(running) = next.journal.running(Kind::DeleteCluster) {
        let (options, began) = (running.delete.unwrap_or_default(), running.started);
        let left = leftovers(cluster, observed, options);
        let told = removed(&left, options);
        let journal = &mut next.journal;
        journal.progress(subject, DELETION, &told, now);
        if left.is_empty() && cluster.deleting {
            let completed = (Outcome::Completed, None);
            journal.finish(subject, DELETION, completed, now);
        } else if now.duration_since(began) >= DELETION_DEADLINE {
            let failed = (Outcome::Failed, Some(in_the_way(&left, observed)));
            journal.finish(subject, DELETION, failed, now);
        }
    }
    let message = match next.journal.newest(Kind::DeleteCluster) {
        None => "to be removed".to_owned(),
        Some(deletion) => match (deletion.outcome, &deletion.cause) {
            (None, _) => "being removed".to_owned(),
            (Some(Outcome::Failed), Some(cause)) => cause.clone(),
            (Some(_), _) => "removed; its last events are being stored".to_owned(),
        },
    };
    describe(next, cluster, (Phase::Deleting, "Deleting"), &message, now);
}

/// A deletion begins with the request, or with that of the object itself. A request that comes to one under way, as its
/// task is seen later than what the object says, is an operation of its own, with what it asks for.
fn begin_deletion(next: &mut ClusterStatus, cluster: &Cluster, now: Timestamp) {
    let request = cluster.delete_request.clone();
    let is_begun = match &request {
        Some(request) => next.journal.knows(request.operation),
        None => next.journal.newest(Kind::DeleteCluster).is_some(),
    };
    if is_begun {
        return;
    }
    let asked = request.as_ref().map(|request| request.options);
    let former = next.journal.newest(Kind::DeleteCluster);
    // That the data stays may have been told; that it has gone is told after it.
    let steps = former.map_or(0, |former| former.steps.min(DATA_STEP));
    let former = former.and_then(|deletion| deletion.delete);
    let operation = Operation {
        id: request.as_ref().map_or_else(
            || OperationId::derived(&cluster.stream, "delete"),
            |request| request.operation,
        ),
        kind: Kind::DeleteCluster,
        instance: None,
        actor: request
            .as_ref()
            .map(|request| request.actor.clone())
            .unwrap_or_default(),
        started: now,
        finished: None,
        outcome: None,
        cause: None,
        steps,
        generation: cluster.generation,
        delete: Some(former.unwrap_or_default().with(asked.unwrap_or_default())),
    };
    next.journal.begin(cluster.subject(), operation, None);
}

/// A later request can have a deletion remove more while it goes on, never less.
fn widen_deletion(next: &mut ClusterStatus, cluster: &Cluster) {
    let Some(request) = &cluster.delete_request else {
        return;
    };
    let operations = next.journal.operations.iter_mut().rev();
    let mut deletions = operations.filter(|o| o.kind == Kind::DeleteCluster);
    let Some(deletion) = deletions.next() else {
        return;
    };
    let options = deletion.delete.unwrap_or_default();
    if deletion.outcome != Some(Outcome::Completed) && !options.covers(request.options) {
        deletion.delete = Some(options.with(request.options));
        // That the data stays may have been told; that it has gone is told after it.
        deletion.steps = deletion.steps.min(DATA_STEP);
    }
}

/// A deletion that was told as failed goes on; its end is that of an operation of its own. So is that of one which was
/// told as completed and is asked to remove more after all, while the object is still there.
fn take_up_deletion(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    let Some(ended) = next.journal.newest(Kind::DeleteCluster) else {
        return;
    };
    let options = ended.delete.unwrap_or_default();
    let asked = cluster.delete_request.as_ref();
    let asked = asked.map_or(options, |request| options.with(request.options));
    let (steps, cause) = match ended.outcome {
        Some(Outcome::Failed) if leftovers(cluster, observed, options).is_empty() => {
            (ended.steps, "what was in the way is gone")
        }
        Some(Outcome::Completed) if observed.finalizer && !options.covers(asked) => {
            (DATA_STEP, "asked to remove more than before")
        }
        _ => return,
    };
    if !cluster.deleting {
        return;
    }
    let again = format!("delete again after {}", ended.id);
    let operation = Operation {
        id: OperationId::derived(&cluster.stream, &again),
        started: now,
        finished: None,
        outcome: None,
        cause: None,
        steps,
        delete: Some(asked),
        ..ended.clone()
    };
    let cause = cause.to_owned();
    next.journal
        .begin(cluster.subject(), operation, Some(cause));
}

/// Why a deletion has not ended.
fn in_the_way(left: &BTreeSet<Leftover>, observed: &Observed) -> String {
    if let Some(refused) = &observed.refused {
        return refused.clone();
    }
    let names = |names: Vec<&str>| names.join(", ");
    let what = match left.first() {
        Some(Leftover::Replicas) => {
            let pods = observed.pods.keys().map(|name| name.as_str());
            format!("replicas do not go; pods: {}", names(pods.collect()))
        }
        Some(Leftover::Pods) => {
            let pods = observed.pods.keys().map(|name| name.as_str());
            format!("pod {} does not end", names(pods.collect()))
        }
        Some(Leftover::Data) => {
            let claims = observed.claims.keys().map(|name| name.as_str());
            format!(
                "PersistentVolumeClaim {} does not go",
                names(claims.collect())
            )
        }
        Some(Leftover::Fixtures) => "objects of the cluster do not go".to_owned(),
        Some(Leftover::Tasks) => "its tasks do not go".to_owned(),
        None => "the Pgcluster does not go".to_owned(),
    };
    let minutes = DELETION_DEADLINE.as_mins();
    format!(
        "after {minutes} min {what}: look at its finalizers and events with kubectl describe; the deletion goes on"
    )
}

/// Place of what is told of the data among [`removed`].
const DATA_STEP: usize = 1;

/// What a person reads of a deletion that has this left to remove.
fn removed(left: &BTreeSet<Leftover>, options: DeleteOptions) -> Vec<&'static str> {
    let data = match (left.contains(&Leftover::Data), options.data) {
        (true, _) => None,
        (false, true) => Some("data removed"),
        (false, false) => Some("data kept"),
    };
    if left.contains(&Leftover::Pods) || left.contains(&Leftover::Replicas) {
        return Vec::new();
    }
    ["database stopped"].into_iter().chain(data).collect()
}

fn describe(
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
                None => "",
            };
            InstanceStatus {
                name: name.clone(),
                pod_uid: pod.uid.clone(),
                role: role.to_owned(),
                ready: agent.is_some_and(|agent| agent.phase == AgentPhase::Running)
                    && !pod.terminating,
                node: pod.node.clone(),
                term: agent.map(|agent| agent.term).unwrap_or_default(),
                timeline: agent.map_or(0, |agent| agent.timeline),
                streaming: agent
                    .filter(|agent| agent.role == Some(Role::Replica))
                    .map(|agent| agent.streaming),
                lag_bytes: agent
                    .filter(|agent| agent.role == Some(Role::Replica))
                    .map(|agent| coarse(agent.lag_bytes)),
                postgres_version: agent.and_then(|agent| agent.postgres_version.clone()),
            }
        })
        .collect()
}

/// A lag as a status tells it: the next power of two, and none where it is less than a MiB. It changes all the time, and
/// each change of a status is a write.
fn coarse(bytes: u64) -> u64 {
    const LEAST: u64 = 1 << 20;
    if bytes < LEAST {
        0
    } else {
        bytes.checked_next_power_of_two().unwrap_or(u64::MAX >> 1)
    }
}
