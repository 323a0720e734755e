//! Policies: SQL that users keep, applied to a cluster on request, and once when it is ready for the first time.
//!
//! ```text
//! PolicyRequest ─► ApplyPolicy runs ─► its turn: which server ─► step: its agent ─► answer ─► completed, or failed
//! spec.policies, at the first Serving ─┘       (in the status)      └─ that server is gone: failed, it is not known
//! ```
//!
//! SQL run twice may do harm. So which server is to run it is in the status before anybody is asked; the agent of that server
//! runs an operation once, however often it is asked, and no other server does. Where that server ended before its answer
//! came, nobody can say what became of it: that is told, and it is up to the user.

use jiff::{SignedDuration, Timestamp};
use pgo_ids::{InstanceName, OperationId};
use serde::{Deserialize, Serialize};

use crate::{
    Cluster, ClusterStatus, Kind, Observed, Operation, Outcome, Plan, Step, journal::Ending,
    restore,
};

/// A request to apply a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRequest {
    /// The request's id.
    pub operation: OperationId,
    /// Who asked.
    pub actor: String,
    /// Name of the policy, or what is wrong with the name.
    pub policy: Result<String, String>,
    /// Where and as whom.
    pub place: PolicyPlace,
}

/// Where and as whom a policy runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyPlace {
    /// The database; `postgres` where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The Secret of the cluster that holds the user's name; the superuser where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// The policy whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRun {
    /// Its operation.
    pub operation: OperationId,
    /// The server that is to run it, once one serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<PolicyServer>,
    /// Since when it is its turn, and since when that server is to run it.
    pub since: Timestamp,
}

/// A server, by when it was started: who serves there later is another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyServer {
    /// Its instance.
    pub instance: InstanceName,
    /// When it was started.
    pub started: Timestamp,
}

/// What became of a policy, as its agent says, or as was found before one could be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyAnswer {
    /// The operation that it was for.
    pub operation: OperationId,
    /// How many warnings and notices it gave, or why it was not applied.
    pub applied: Result<u32, String>,
}

/// How long a primary that serves is waited for.
const PRIMARY_DEADLINE: SignedDuration = SignedDuration::from_secs(30);

/// How long the answer may take: a policy has 5 min, which its agent sees to, and its text may have to be fetched.
const ANSWER_DEADLINE: SignedDuration = SignedDuration::from_secs(6 * 60);

/// So many names of applied policies are remembered; the first in order.
const REMEMBERED: usize = 256;

/// Begins what is asked for, and what the spec asks for where the cluster is ready for the first time; goes on with the policy
/// whose turn it is.
pub(crate) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    is_first: bool,
    now: Timestamp,
) {
    if is_first {
        for policy in &cluster.policies_at_creation {
            let about = format!("policy {policy} at the creation");
            let id = OperationId::derived(&cluster.stream, &about);
            let cause = "the cluster is ready for the first time";
            let operation = operation(cluster, (id, &cluster.actor, policy), now);
            begin(next, cluster, operation, cause);
        }
    }
    for request in &cluster.policies {
        if next.journal.knows(request.operation) {
            continue;
        }
        if !cluster.has_room(&next.journal) {
            break;
        }
        let (id, actor) = (request.operation, request.actor.as_str());
        let refusal = match &request.policy {
            Err(reason) => Some((String::new(), reason.clone())),
            Ok(policy) if !next.was_ready() => Some((
                policy.clone(),
                "the cluster has not been ready yet; ask again when it is".to_owned(),
            )),
            // The restore would undo it.
            Ok(policy) => match restore::in_the_way(next) {
                Some(reason) => Some((policy.clone(), reason)),
                None => {
                    let place = &request.place;
                    let operation = Operation {
                        place: (*place != PolicyPlace::default()).then(|| place.clone()),
                        ..operation(cluster, (id, actor, policy), now)
                    };
                    begin(next, cluster, operation, "it was asked for");
                    None
                }
            },
        };
        if let Some((policy, reason)) = refusal {
            let operation = operation(cluster, (id, actor, &policy), now);
            next.journal
                .refuse(cluster.subject(), operation, &reason, now);
        }
    }
    while advance(next, cluster, observed, now) {}
}

fn operation(
    cluster: &Cluster,
    (id, actor, policy): (OperationId, &str, &str),
    now: Timestamp,
) -> Operation {
    let of = (Kind::ApplyPolicy, None);
    Operation {
        policy: Some(policy.to_owned()),
        ..Operation::begun(of, id, actor, cluster.generation, now)
    }
}

fn begin(next: &mut ClusterStatus, cluster: &Cluster, operation: Operation, cause: &str) {
    next.journal
        .begin(cluster.subject(), operation, Some(cause.to_owned()));
}

/// The policies that wait or are being applied, the first to begin first.
fn running(status: &ClusterStatus) -> impl Iterator<Item = &Operation> {
    let operations = status.journal.operations.iter();
    operations.filter(|o| o.kind == Kind::ApplyPolicy && o.is_running())
}

/// Those that no instance was named for yet: none is asked to run them.
pub(crate) fn unsent(status: &ClusterStatus) -> Vec<OperationId> {
    let all = running(status).map(|operation| operation.id);
    all.filter(|id| !is_sent(status, *id)).collect()
}

/// Whether an instance is asked to run one.
pub(crate) fn is_sent(status: &ClusterStatus, id: OperationId) -> bool {
    let run = status.policy.as_ref();
    run.is_some_and(|run| run.operation == id && run.server.is_some())
}

/// Goes on with the first one; whether another one may follow at once.
fn advance(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) -> bool {
    let Some(first) = running(next).next() else {
        next.policy = None;
        return false;
    };
    let (id, policy) = (first.id, first.policy.clone().unwrap_or_default());
    let known = next.policy.take().filter(|run| run.operation == id);
    let mut run = known.unwrap_or(PolicyRun {
        operation: id,
        server: None,
        since: now,
    });
    let ending = match &run.server {
        Some(server) => verdict((id, run.since, server), observed, now),
        None => match serving(observed) {
            Some(server) => {
                run = PolicyRun {
                    server: Some(server),
                    since: now,
                    ..run
                };
                None
            }
            None => too_long(now, run.since, PRIMARY_DEADLINE).then(|| {
                let cause = "no instance serves as the primary; nothing was run, apply it again when one does";
                (Outcome::Failed, Some(cause.to_owned()))
            }),
        },
    };
    let Some(ending) = ending else {
        next.policy = Some(run);
        return false;
    };
    if ending.0 == Outcome::Completed && next.applied_policies.len() < REMEMBERED {
        next.applied_policies.insert(policy);
    }
    next.journal.finish_one(cluster.subject(), id, ending, now);
    true
}

fn too_long(now: Timestamp, since: Timestamp, limit: SignedDuration) -> bool {
    now.duration_since(since) >= limit
}

/// The server of the primary that serves.
fn serving(observed: &Observed) -> Option<PolicyServer> {
    let instance = observed.serving_primary()?;
    Some(PolicyServer {
        instance: instance.clone(),
        started: observed.agent(instance)?.started?,
    })
}

/// How it ends, where it does: by the answer, or as none can come any more.
fn verdict(
    (id, since, server): (OperationId, Timestamp, &PolicyServer),
    observed: &Observed,
    now: Timestamp,
) -> Option<Ending> {
    let answer = observed.policy.as_ref();
    if let Some(answer) = answer.filter(|answer| answer.operation == id) {
        return Some(match &answer.applied {
            Ok(0) => (Outcome::Completed, None),
            Ok(1) => (
                Outcome::Completed,
                Some("with one warning or notice".to_owned()),
            ),
            Ok(notices) => {
                let cause = format!("with {notices} warnings or notices");
                (Outcome::Completed, Some(cause))
            }
            Err(why) => (Outcome::Failed, Some(why.clone())),
        });
    }
    let not_known =
        "whether it was applied is not known; look, and apply it again where it was not";
    // Who is silent is no other server yet.
    let there = observed.agent(&server.instance);
    let ended = there.is_some_and(|agent| agent.started.is_some_and(|at| at != server.started))
        || !observed.pods.contains_key(&server.instance)
        || serving(observed).is_some_and(|other| other != *server);
    let cause = if ended {
        format!(
            "the server of {} ended, or is the primary no more, before it had said what became of it; {not_known}",
            server.instance
        )
    } else if too_long(now, since, ANSWER_DEADLINE) {
        let minutes = ANSWER_DEADLINE.as_mins();
        format!(
            "no answer from {} within {minutes} min; {not_known}",
            server.instance
        )
    } else {
        return None;
    };
    Some((Outcome::Failed, Some(cause)))
}

/// The cluster goes: what is under way ends with it.
pub(crate) fn break_off(next: &mut ClusterStatus, cluster: &Cluster, now: Timestamp) {
    let all: Vec<OperationId> = running(next).map(|operation| operation.id).collect();
    for id in all {
        let cause = "the cluster was deleted before".to_owned();
        let failed = (Outcome::Failed, Some(cause));
        next.journal.finish_one(cluster.subject(), id, failed, now);
    }
    next.policy = None;
}

/// Who is to be asked to apply it.
pub(crate) fn steps(plan: &mut Plan, status: &ClusterStatus, observed: &Observed) {
    let Some(run) = &status.policy else {
        return;
    };
    plan.waiting_for = Some("a policy to be applied");
    let Some(server) = &run.server else {
        return;
    };
    let operation = running(status).find(|operation| operation.id == run.operation);
    let what = operation.and_then(|operation| {
        let place = operation.place.clone().unwrap_or_default();
        Some((operation.policy.clone()?, place))
    });
    let answered = observed.policy.as_ref();
    let is_answered = answered.is_some_and(|answer| answer.operation == run.operation);
    let is_heard = observed.agent(&server.instance).is_some();
    if let Some((policy, place)) = what.filter(|_| is_heard && !is_answered) {
        plan.steps.push(Step::ApplyPolicy {
            operation: run.operation,
            policy,
            place,
            instance: server.instance.clone(),
            started: server.started,
        });
    }
}
