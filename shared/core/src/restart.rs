//! Restarts of PostgreSQL in place: replicas one after another, then the primary, which keeps its term.
//!
//! ```text
//! RestartRequest ─► judge ─┬─► refused: begun and failed at once, nothing is done
//!                          └─► are the others well? ─► its server ends and starts ─► it serves or follows ─┐
//!                                   ▲   └─ nobody is left: completed       └─► failed: nobody else         │
//!                                   └──────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Where all are restarted, no two are away at the same time: the next one is touched only while all others serve or follow,
//! and are near, by the same judgement as in an upgrade. Who names one instance has chosen it, and waits for nobody.
//!
//! How far a restart is stands in the status. An agent is told which server is to end, by when that was started, so that
//! whoever reconciles next can ask again and nothing ends twice.

use jiff::{SignedDuration, Timestamp};
use pgo_ids::{InstanceName, OperationId};
use serde::{Deserialize, Serialize};

use crate::{
    AgentPhase, Cluster, ClusterStatus, Kind, Observed, Operation, Outcome, Plan, Step,
    journal::{Details, Of},
    silence, upgrade, wal,
};

/// A request for a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartRequest {
    /// The request's id.
    pub operation: OperationId,
    /// Who asked.
    pub actor: String,
    /// The one instance that is to be restarted; all where none is named.
    pub target: Option<String>,
}

/// How far a restart is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restart {
    /// Its operation.
    pub operation: OperationId,
    /// Those whose turn has not come.
    pub left: Vec<InstanceName>,
    /// Whether one instance was named, which is restarted however the others are.
    #[serde(default, skip_serializing_if = "crate::status::is_false")]
    pub alone: bool,
    /// Whose turn it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Turn>,
    /// What the next turn waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// The turn of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Turn {
    /// Which one.
    pub instance: InstanceName,
    /// Uid of its pod; another pod has another server.
    pub pod: String,
    /// When the server was started that is to end.
    pub started: Timestamp,
}

/// How long one instance may take: what it has not written to its files yet is written, or recovered.
const INSTANCE_DEADLINE: SignedDuration = SignedDuration::from_mins(10);

/// How long an agent may go on saying that PostgreSQL fails, or refusing, before that counts: it tries again itself.
const GRACE: SignedDuration = SignedDuration::from_secs(20);

const RESTART: Of<'static> = (Kind::RestartCluster, None);

/// Begins what is asked for, or says why not; goes on with what goes on.
pub(crate) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    for request in &cluster.restarts {
        if next.journal.knows(request.operation) {
            continue;
        }
        if !silence::is_clear(observed, now) || !cluster.has_room(&next.journal) {
            break;
        }
        begin(next, cluster, observed, request, now);
    }
    while advance(next, cluster, observed, now) {}
}

fn begin(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    request: &RestartRequest,
    now: Timestamp,
) {
    let judged = judge(next, cluster, observed, request.target.as_deref());
    let subject = cluster.subject();
    let id = request.operation;
    let operation = Operation::begun(RESTART, id, &request.actor, cluster.generation, now);
    let primary = wal::primary_and_timeline(observed);
    match judged {
        Err(reason) => {
            let told = (reason.as_str(), primary.as_slice());
            next.journal.refuse_with(subject, operation, told, now);
        }
        Ok(left) => {
            let names: Vec<&str> = left.iter().map(InstanceName::as_str).collect();
            let cause = format!("it was asked for, of {}", names.join(", "));
            next.journal
                .begin_with(subject, operation, Some(cause), primary);
            next.restart = Some(Restart {
                operation: id,
                left,
                alone: request.target.is_some(),
                turn: None,
                held: None,
                since: now,
            });
        }
    }
}

/// Which instances are to be restarted, or why none can be.
fn judge(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    target: Option<&str>,
) -> Result<Vec<InstanceName>, String> {
    let name = &cluster.name;
    if !status.was_ready() {
        return Err("the cluster has not been ready yet".to_owned());
    }
    let mut operations = status.journal.operations.iter();
    if let Some(running) = operations.find(|operation| operation.is_running()) {
        return Err(format!(
            "another operation is going on: {}; wait for its end, then ask again",
            running.kind.what()
        ));
    }
    let mut all = upgrade::instances(status, cluster);
    all.sort();
    if let Some(target) = target
        && !all.iter().any(|instance| instance.as_str() == target)
    {
        let names: Vec<&str> = all.iter().map(InstanceName::as_str).collect();
        return Err(format!(
            "{name} has no instance {target}: its instances are {}",
            names.join(", ")
        ));
    }
    all.retain(|instance| target.is_none_or(|target| instance.as_str() == target));
    if observed.serving_primary().is_none() {
        return Err(format!(
            "no instance of {name} serves as the primary; a restart begins only while one does, not during a failover"
        ));
    }
    match all.iter().find_map(|one| not_running(observed, one)) {
        Some(why) => Err(why),
        None => Ok(all),
    }
}

/// Why there is no server of an instance that could be restarted.
fn not_running(observed: &Observed, instance: &InstanceName) -> Option<String> {
    let Some(agent) = observed.agent(instance) else {
        return Some(format!("the agent of {instance} does not answer"));
    };
    let why = agent.error.as_deref().map(|error| format!(": {error}"));
    let runs = agent.phase == AgentPhase::Running && agent.started.is_some();
    (!runs).then(|| {
        format!(
            "PostgreSQL of {instance} does not run now{}",
            why.unwrap_or_default()
        )
    })
}

/// One step of the restart that goes on; whether there was one.
fn advance(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) -> bool {
    let Some(restart) = next.restart.clone() else {
        return false;
    };
    match &restart.turn {
        Some(turn) => turned(next, cluster, observed, (&restart, turn), now),
        None => choose(next, cluster, observed, &restart, now),
    }
}

/// What is wrong with the others, so that an instance cannot be missed now.
fn beside(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    (restart, instance): (&Restart, &InstanceName),
) -> Option<String> {
    if restart.alone {
        let nobody = || "no instance serves as the primary".to_owned();
        observed.serving_primary().is_none().then(nobody)
    } else {
        upgrade::trouble_beside(Some(instance), status, cluster, observed)
    }
}

/// Whose turn is next: replicas by name, then the primary.
fn choose(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    restart: &Restart,
    now: Timestamp,
) -> bool {
    let known = upgrade::instances(next, cluster);
    let mut left = restart.left.clone();
    left.retain(|instance| known.contains(instance));
    let primary = observed.serving_primary();
    left.sort_by_key(|instance| (Some(instance) == primary, instance.clone()));
    let Some(instance) = left.first().cloned() else {
        let details = wal::primary_and_timeline(observed);
        end(next, cluster, (Outcome::Completed, None), &details, now);
        return true;
    };
    let took = now.duration_since(restart.since);
    let beside = beside(next, cluster, observed, (restart, &instance));
    let trouble = beside.or_else(|| not_running(observed, &instance));
    let started = observed.agent(&instance).and_then(|agent| agent.started);
    match (trouble, started) {
        (None, Some(started)) => {
            let pod = observed.pods.get(&instance).map(|pod| pod.uid.clone());
            left.remove(0);
            next.restart = Some(Restart {
                left,
                turn: Some(Turn {
                    instance,
                    pod: pod.unwrap_or_default(),
                    started,
                }),
                held: None,
                since: now,
                ..restart.clone()
            });
            true
        }
        (Some(trouble), _) if took >= INSTANCE_DEADLINE => {
            fail(next, cluster, observed, (&left, &trouble), now);
            true
        }
        (Some(trouble), _) if restart.held.as_ref() != Some(&trouble) => {
            // Told once a turn: what is in the way may change with each look.
            if restart.held.is_none() {
                let text = format!("instance {instance} waits for its turn: {trouble}");
                tell(next, cluster, observed, &text, now);
            }
            next.restart = Some(Restart {
                held: Some(trouble),
                ..restart.clone()
            });
            false
        }
        _ => false,
    }
}

/// What became of an instance whose turn it is; whether anything has.
fn turned(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    (restart, turn): (&Restart, &Turn),
    now: Timestamp,
) -> bool {
    let instance = &turn.instance;
    let is_gone = !upgrade::instances(next, cluster).contains(instance);
    if is_gone || is_back(observed, turn) {
        let took = now.duration_since(restart.since).as_secs();
        let text = match (is_gone, observed.serving_primary() == Some(instance)) {
            (true, _) => format!("instance {instance} was removed before"),
            (_, true) => format!("the primary {instance} was restarted, within {took} s"),
            (_, false) => format!("the replica {instance} was restarted, within {took} s"),
        };
        tell(next, cluster, observed, &text, now);
        next.restart = Some(Restart {
            turn: None,
            since: now,
            ..restart.clone()
        });
        return true;
    }
    let beside = beside(next, cluster, observed, (restart, instance));
    let Some(trouble) = trouble(observed, restart, (turn, beside), now) else {
        return false;
    };
    fail(next, cluster, observed, (&restart.left, &trouble), now);
    true
}

/// Whether an instance serves or follows again, by another server than before.
fn is_back(observed: &Observed, turn: &Turn) -> bool {
    let (Some(agent), Some(pod)) = (
        observed.agent(&turn.instance),
        observed.pods.get(&turn.instance),
    ) else {
        return false;
    };
    let is_new = pod.uid != turn.pod || agent.started > Some(turn.started);
    let serves = observed.serving_primary() == Some(&turn.instance);
    is_new && (serves || agent.follows() && agent.lag_bytes < upgrade::NEAR)
}

/// What keeps an instance from coming back, if it does not pass by itself.
fn trouble(
    observed: &Observed,
    restart: &Restart,
    (turn, beside): (&Turn, Option<String>),
    now: Timestamp,
) -> Option<String> {
    let instance = &turn.instance;
    let took = now.duration_since(restart.since);
    let refused = observed.unwilling.as_ref().filter(|answer| {
        answer.operation == restart.operation && now.duration_since(answer.since) >= GRACE
    });
    let agent = observed.agent(instance);
    let error = agent.and_then(|agent| agent.error.as_deref());
    let failed = agent.is_some_and(|agent| agent.phase == AgentPhase::Failed) && took >= GRACE;
    if let (true, Some(error)) = (failed, error) {
        return Some(format!("instance {instance} does not come up: {error}"));
    }
    if let Some(answer) = refused.filter(|_| !has_begun(observed, turn)) {
        return Some(format!(
            "instance {instance} is not restarted: {}",
            answer.reason
        ));
    }
    let minutes = INSTANCE_DEADLINE.as_mins();
    let beside = beside.filter(|_| !has_begun(observed, turn));
    (took >= INSTANCE_DEADLINE).then(|| match beside {
        Some(beside) => {
            format!("instance {instance} was not restarted within {minutes} min: {beside}")
        }
        None => {
            format!(
                "instance {instance} neither serves nor follows the primary after {minutes} min"
            )
        }
    })
}

/// Whether the former server does not serve any more.
fn has_begun(observed: &Observed, turn: &Turn) -> bool {
    observed.agent(&turn.instance).is_some_and(|agent| {
        agent.phase != AgentPhase::Running || agent.started != Some(turn.started)
    })
}

/// Tells a step, the one after those that were told.
fn tell(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    text: &str,
    now: Timestamp,
) {
    let running = next.journal.running_of(RESTART);
    let mut texts = vec![""; running.map_or(0, |running| running.steps)];
    texts.push(text);
    let (subject, primary) = (cluster.subject(), wal::primary_and_timeline(observed));
    next.journal
        .progress(subject, RESTART, (&texts, &primary), now);
}

fn fail(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    (left, trouble): (&[InstanceName], &str),
    now: Timestamp,
) {
    let left: Vec<&str> = left.iter().map(InstanceName::as_str).collect();
    let rest = match left.as_slice() {
        [] => String::new(),
        left => format!("; not restarted: {}", left.join(", ")),
    };
    let failed = (Outcome::Failed, Some(format!("{trouble}{rest}")));
    end(
        next,
        cluster,
        failed,
        &wal::primary_and_timeline(observed),
        now,
    );
}

fn end(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    how: (Outcome, Option<String>),
    details: &Details,
    now: Timestamp,
) {
    next.restart = None;
    next.journal
        .finish_with(cluster.subject(), RESTART, how, details, now);
}

/// The cluster goes: what is under way ends with it.
pub(crate) fn break_off(next: &mut ClusterStatus, cluster: &Cluster, now: Timestamp) {
    let cause = "the cluster was deleted before".to_owned();
    let failed = (Outcome::Failed, Some(cause));
    end(next, cluster, failed, &Vec::new(), now);
}

/// What is to be asked of the agents.
pub(crate) fn steps(
    plan: &mut Plan,
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
) {
    if let Some(restart) = &status.restart {
        plan.waiting_for = Some("an instance to be restarted");
        // Looked at again at the moment itself: another instance may have gone since.
        let may = |turn: &&Turn| {
            let is_heard = observed.agent(&turn.instance).is_some();
            let of = (restart, &turn.instance);
            is_heard
                && !has_begun(observed, turn)
                && beside(status, cluster, observed, of).is_none()
        };
        if let Some(turn) = restart.turn.as_ref().filter(may) {
            plan.steps.push(Step::Restart {
                operation: restart.operation,
                instance: turn.instance.clone(),
                started: turn.started,
            });
        }
    }
    let mut waiting = cluster.restarts.iter();
    if waiting.any(|request| !status.journal.knows(request.operation)) {
        plan.waiting_for = Some("the agents to be heard");
    }
}
