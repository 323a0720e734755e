//! What is told of a replica: how far it is, whether it follows, and what happens to it.

use jiff::{SignedDuration, Timestamp};
use pgo_events::{Datum, EventType, Field};
use pgo_ids::{InstanceName, OperationId};

use super::{keeps_votes, needed};
use crate::{
    AgentFacts, AgentPhase, ClaimPhase, Cluster, ClusterStatus, Desired, Kind, Observed, Operation,
    Outcome, PodPhase, Problem, StorageKind,
    journal::{Details, Notice, Subject},
    wal,
};

/// How far a replica is behind when that is told: a hundred times what a busy one is for a moment.
const FAR: u64 = 128 << 20;

/// How near a replica is to its primary when it counts as added: less than one file of WAL.
const NEAR: u64 = 16 << 20;

/// How long the agent of a replica may fail before that is told as the end of adding it: the primary may be about to
/// come.
const AGENT_GRACE: SignedDuration = SignedDuration::from_secs(60);

/// How far a replica is.
fn reached(desired: &Desired, observed: &Observed, instance: &InstanceName) -> Vec<&'static str> {
    let bound = desired.storage.kind == StorageKind::EmptyDir
        || observed
            .claims
            .get(instance)
            .is_some_and(|claim| claim.phase == ClaimPhase::Bound);
    let placed = observed
        .pods
        .get(instance)
        .is_some_and(|pod| pod.node.is_some());
    let phase = observed.agent(instance).map(|agent| agent.phase);
    let copied = matches!(phase, Some(AgentPhase::Recovering | AgentPhase::Running));
    let all = [
        ("volume bound and pod placed", bound && placed || copied),
        ("agent started", phase.is_some()),
        ("data copied", copied),
    ];
    let reached = all.iter().take_while(|(_, reached)| *reached);
    reached.map(|(text, _)| *text).collect()
}

/// Tells how far a replica is, and whether it follows the primary.
pub(super) fn describe(
    next: &mut ClusterStatus,
    at: usize,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    let subject = cluster.subject();
    let instance = next.replicas[at].name.clone();
    let of = (Kind::ScaleCluster, Some(&instance));
    let replica = cluster.replicas.iter().find(|one| one.name == instance);
    let invalid = replica.and_then(|replica| replica.wanted.as_ref().err());
    let agent = observed.agent(&instance);
    let follows = agent.is_some_and(|agent| agent.follows());
    if observed.serving_primary() == Some(&instance) {
        leads(next, at, cluster, observed, now);
        return;
    }
    let desired = cluster.desired_of(next, &instance);
    let told = desired.as_ref().map(|it| reached(it, observed, &instance));
    let told = told.unwrap_or_default();
    let primary = wal::primary(observed);
    next.journal.progress(subject, of, (&told, &primary), now);
    // What runs does so whatever is wanted by now.
    if let Some(agent) = agent {
        heard(next, at, cluster, (observed, agent), now);
    }
    let Some(desired) = desired else {
        let refused = refused(observed, &instance);
        let stands_still = cluster.desired.is_err() && has_no_pod(observed, &instance);
        let is_over = invalid.is_some() || refused.is_some() || stands_still;
        let (reason, message) = match (invalid, &cluster.desired, refused) {
            (Some(invalid), ..) | (None, Err(invalid), _) => ("Invalid", invalid.clone()),
            (None, Ok(_), Some(refused)) => (refused.reason, refused.cause),
            (None, Ok(_), None) => ("Creating", "being made".to_owned()),
        };
        if is_over {
            let failed = (Outcome::Failed, Some(message.clone()));
            next.journal.finish_with(subject, of, failed, &primary, now);
            gone(next, &instance, cluster, (observed, &message), now);
        }
        say(next, at, follows, reason, message);
        return;
    };
    let is_new = !next.replicas[at].joined;
    let problem = Problem::of_instance(&desired, observed, &instance, is_new, now)
        .or_else(|| refused(observed, &instance).filter(|_| is_new));
    let (reason, message) = match (follows, problem) {
        (true, _) => ("Streaming", "follows the primary".to_owned()),
        (false, Some(problem)) => {
            let began = next.journal.running_of(of).map(|running| running.started);
            let lasts = began.is_some_and(|began| now.duration_since(began) >= AGENT_GRACE);
            if lasts || problem.reason != Problem::OF_AGENT {
                let failed = (Outcome::Failed, Some(problem.cause.clone()));
                next.journal.finish_with(subject, of, failed, &primary, now);
            }
            (problem.reason, problem.cause)
        }
        (false, None) => awaited(next.replicas[at].joined, agent, told.last().copied()),
    };
    let is_to_go = replica.is_some_and(|replica| replica.deleting);
    let waits = (is_to_go && keeps_votes(next, observed)).then(waits_for_primary);
    let needed = || needed::refusal(next, cluster, &instance).filter(|_| is_to_go);
    let waits = waits.or_else(|| needed().map(|why| ("Needed", why)));
    let (reason, message) = waits.unwrap_or((reason, message));
    say(next, at, follows, reason, message);
}

/// What the agent of a replica says of whether it follows.
fn heard(
    next: &mut ClusterStatus,
    at: usize,
    cluster: &Cluster,
    (observed, agent): (&Observed, &AgentFacts),
    now: Timestamp,
) {
    if agent.follows() && agent.lag_bytes < NEAR {
        joined(next, at, cluster, observed, now);
    }
    if next.replicas[at].joined {
        let instance = next.replicas[at].name.clone();
        mending(next, &instance, cluster, (observed, agent), now);
    }
    lag(next, at, cluster, (observed, agent), now);
}

/// What keeps a replica that is to go.
fn waits_for_primary() -> (&'static str, String) {
    let message =
        "is removed when an instance serves as the primary: an election may need its vote";
    ("WaitsForPrimary", message.to_owned())
}

/// What Kubernetes refuses of what a replica needs: before its pod is there, nothing of it comes by itself.
fn refused(observed: &Observed, instance: &InstanceName) -> Option<Problem> {
    let refused = observed.refused.as_ref()?;
    let has_pod = observed.pods.contains_key(instance);
    (!has_pod).then(|| Problem::new("Refused", refused))
}

/// A replica that has become the primary: whatever there was to do for it to follow is over.
fn leads(
    next: &mut ClusterStatus,
    at: usize,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    joined(next, at, cluster, observed, now);
    let instance = next.replicas[at].name.clone();
    mended(next, &instance, cluster, observed, now);
    next.replicas[at].behind = false;
    say(next, at, true, "Primary", "is the primary".to_owned());
}

/// What is being waited for, where nothing is wrong.
fn awaited(
    joined: bool,
    agent: Option<&AgentFacts>,
    reached: Option<&str>,
) -> (&'static str, String) {
    if joined {
        return ("NotStreaming", "no WAL comes from the primary".to_owned());
    }
    let said = agent.and_then(|agent| agent.error.as_deref());
    let far = said.or(reached).unwrap_or("accepted");
    ("Creating", format!("being made: {far}"))
}

fn say(next: &mut ClusterStatus, at: usize, ready: bool, reason: &str, message: String) {
    let known = &mut next.replicas[at];
    known.ready = ready;
    known.reason = reason.to_owned();
    known.message = message;
}

/// A replica follows the primary and is near it.
fn joined(
    next: &mut ClusterStatus,
    at: usize,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    let instance = next.replicas[at].name.clone();
    let of = (Kind::ScaleCluster, Some(&instance));
    if next.replicas[at].joined {
        return;
    }
    next.replicas[at].joined = true;
    // What was told as failed has succeeded after all.
    let failed = next
        .journal
        .newest_of(of)
        .filter(|o| !o.is_running())
        .cloned();
    if let Some(failed) = failed {
        let again = format!("add again after {}", failed.id);
        let operation = Operation {
            id: OperationId::derived(&cluster.stream, &again),
            started: now,
            finished: None,
            outcome: None,
            cause: None,
            ..failed
        };
        let cause = "tried again: what made it fail has changed".to_owned();
        let primary = wal::primary(observed);
        next.journal
            .begin_with(cluster.subject(), operation, Some(cause), primary);
    }
    let subject = cluster.subject();
    let details = wal::standing(observed, &instance);
    next.journal
        .finish_with(subject, of, (Outcome::Completed, None), &details, now);
    let cause = "it streams from the primary".to_owned();
    notice(
        next,
        subject,
        (EventType::ReplicaAdded, &instance),
        (cause, details),
        now,
    );
}

/// An instance that was being brought back to what the primary has, follows or is the primary itself.
pub(super) fn mended(
    next: &mut ClusterStatus,
    instance: &InstanceName,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    let of = (Kind::RewindReplica, Some(instance));
    let details = wal::standing(observed, instance);
    let completed = (Outcome::Completed, None);
    next.journal
        .finish_with(cluster.subject(), of, completed, &details, now);
}

/// From whom an instance is brought back, and what it gives up for that.
fn strayed(observed: &Observed, agent: &AgentFacts) -> Details {
    let mut told = wal::primary(observed);
    let last = observed.takeovers.last();
    let compared = agent.lost.last().zip(last);
    // Not what it was once compared with a former one by.
    let compared = compared.filter(|(lost, last)| lost.term >= last.term);
    told.extend(compared.into_iter().flat_map(|(lost, _)| lost.given_up()));
    told
}

/// A replica that had followed the primary and cannot any more is brought back to what the primary has.
pub(super) fn mending(
    next: &mut ClusterStatus,
    instance: &InstanceName,
    cluster: &Cluster,
    (observed, agent): (&Observed, &AgentFacts),
    now: Timestamp,
) {
    let of = (Kind::RewindReplica, Some(instance));
    let subject = cluster.subject();
    let running = next.journal.running_of(of).map(|running| running.started);
    match (agent.phase, running) {
        (AgentPhase::Rewinding | AgentPhase::Cloning, None) => {
            let id = OperationId::derived(&cluster.stream, &format!("mend {instance} at {now}"));
            let operation = Operation::begun(of, id, "", cluster.generation, now);
            let cause = match agent.phase {
                AgentPhase::Rewinding => "its data may hold what the primary's has not",
                _ => "the primary does not have the WAL that it needs",
            };
            let details = strayed(observed, agent);
            next.journal
                .begin_with(subject, operation, Some(cause.to_owned()), details);
        }
        (AgentPhase::Failed, Some(began)) if now.duration_since(began) >= AGENT_GRACE => {
            let error = agent.error.clone().unwrap_or_default();
            let failed = (Outcome::Failed, Some(error));
            let details = strayed(observed, agent);
            next.journal.finish_with(subject, of, failed, &details, now);
        }
        (_, Some(_)) if agent.follows() => mended(next, instance, cluster, observed, now),
        _ => {}
    }
}

/// Whether an instance has no pod, or one that has ended: nothing of it comes by itself.
fn has_no_pod(observed: &Observed, instance: &InstanceName) -> bool {
    let pod = observed.pods.get(instance);
    pod.is_none_or(|pod| pod.phase == PodPhase::Ended)
}

/// An instance that was being brought back, and of which nothing is made now, says nothing any more once its pod is gone.
pub(super) fn gone(
    next: &mut ClusterStatus,
    instance: &InstanceName,
    cluster: &Cluster,
    (observed, why): (&Observed, &str),
    now: Timestamp,
) {
    if has_no_pod(observed, instance) {
        let of = (Kind::RewindReplica, Some(instance));
        let cause = format!("its pod is gone, and no other one is made: {why}");
        let failed = (Outcome::Failed, Some(cause));
        next.journal.finish(cluster.subject(), of, failed, now);
    }
}

/// Tells when a replica falls far behind, and when it is near again.
fn lag(
    next: &mut ClusterStatus,
    at: usize,
    cluster: &Cluster,
    (observed, agent): (&Observed, &AgentFacts),
    now: Timestamp,
) {
    let known = &mut next.replicas[at];
    if !known.joined || !agent.follows() {
        return;
    }
    let (event_type, cause) = match agent.lag_bytes {
        FAR.. if !known.behind => (
            EventType::ReplicaLagging,
            "it replays slower than the primary writes",
        ),
        ..NEAR if known.behind => (EventType::ReplicaCaughtUp, "it has replayed nearly all"),
        _ => return,
    };
    known.behind = !known.behind;
    let notice = Notice {
        event_type,
        about: format!("{} {} at {now}", event_type.as_str(), known.name),
        time: None,
        cause: cause.to_owned(),
        since: None,
        details: [
            (Field::ReplicaName, Datum::Text(known.name.to_string())),
            (Field::LagBytes, Datum::Number(agent.lag_bytes)),
        ]
        .into_iter()
        .chain(wal::standing(observed, &known.name))
        .collect(),
    };
    next.journal.tell(cluster.subject(), notice, now);
}

/// Tells a fact about a replica.
pub(super) fn notice(
    next: &mut ClusterStatus,
    subject: Subject<'_>,
    (event_type, instance): (EventType, &InstanceName),
    (cause, details): (String, Details),
    now: Timestamp,
) {
    let replica = (Field::ReplicaName, Datum::Text(instance.to_string()));
    let notice = Notice {
        event_type,
        about: format!("{} {instance} at {now}", event_type.as_str()),
        time: None,
        cause,
        since: None,
        details: [replica].into_iter().chain(details).collect(),
    };
    next.journal.tell(subject, notice, now);
}
