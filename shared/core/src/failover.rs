//! Changes of the primary that somebody asks for: planned where the primary serves, forced where it does not.
//!
//! Agents carry them out and the Lease says what became of it. So an operation that runs is all there is to remember:
//! whoever reconciles next asks the agents again, which is harmless, until the Lease has the change or the time is over.
//!
//! ```text
//! FailoverRequest ─► judge ─┬─► refused: begun and failed at once, nothing is done
//!                           └─► SwitchoverCluster / FailoverCluster runs ─► steps: ask the agent
//!                                       ▲                                        │
//!           takeover goes on with it, and ends it ◄────── Lease ◄────────────────┘
//! ```

use jiff::{SignedDuration, Timestamp};
use pgo_events::{Datum, Field};
use pgo_ids::{InstanceName, OperationId};

use crate::{
    AgentPhase, Cluster, ClusterStatus, Kind, Observed, Operation, Outcome, Plan, Role, Step,
    journal::Details, restore, silence, takeover, wal,
};

/// A request to have another instance as primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailoverRequest {
    /// The request's id.
    pub operation: OperationId,
    /// Who asked.
    pub actor: String,
    /// Name of the instance that is to be primary; the fittest where none is given.
    pub target: Option<String>,
    /// Whether it is to be done only where the primary can hand over in order.
    pub planned: bool,
}

/// How far a replica may be behind to be the target of a planned change: it has to replay that before it takes writes. As
/// much as makes it told as lagging.
pub const MOST_LAG: u64 = 128 << 20;

/// How long a planned change may take: PostgreSQL writes all that is in its memory before it stops.
const SWITCHOVER_DEADLINE: SignedDuration = SignedDuration::from_secs(120);

/// How long a forced one may take: the former primary's authority ends, then voters are asked. Either takes seconds.
const FAILOVER_DEADLINE: SignedDuration = SignedDuration::from_secs(30);

/// How long an agent has to go on refusing before that counts: it refuses also what it has just done.
const UNWILLING_GRACE: SignedDuration = SignedDuration::from_secs(3);

/// Begins what is asked for, or says why not; ends what does not come to its end.
pub(crate) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    conclude(next, cluster, observed, now);
    for request in &cluster.failover {
        if next.journal.knows(request.operation) {
            continue;
        }
        if !is_clear(next, observed, now) || !cluster.has_room(&next.journal) {
            break;
        }
        begin(next, cluster, observed, request, now);
    }
}

/// Whether it is clear how the primary is: it is heard, or not heard for long.
fn is_clear(status: &ClusterStatus, observed: &Observed, now: Timestamp) -> bool {
    observed.serving_primary().is_some()
        || silence::remembered_primary(status, observed, now).is_none()
}

/// What a change of the primary is now.
pub(crate) fn kind(observed: &Observed) -> Kind {
    match observed.serving_primary() {
        Some(_) => Kind::SwitchoverCluster,
        None => Kind::FailoverCluster,
    }
}

/// Begins a change of the primary; one that cannot be done ends at once, with the reason.
pub(crate) fn begin(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    request: &FailoverRequest,
    now: Timestamp,
) {
    let kind = kind(observed);
    let judged = if request.planned && kind == Kind::FailoverCluster {
        Err("the primary does not serve and cannot hand over in order; ask without --planned to force it".to_owned())
    } else {
        target(next, cluster, observed, (kind, request.target.as_deref()))
    };
    let named = || request.target.as_ref()?.parse().ok();
    let instance = judged.as_ref().ok().cloned().or_else(named);
    let operation = Operation::begun(
        (kind, instance.as_ref()),
        request.operation,
        &request.actor,
        cluster.generation,
        now,
    );
    let subject = cluster.subject();
    let cause = "it was asked for".to_owned();
    let details = standing(next, cluster, observed, instance.as_ref());
    next.journal
        .begin_with(subject, operation, Some(cause), details);
    if let Err(reason) = judged {
        let failed = (Outcome::Failed, Some(reason));
        let details = unchanged(next, cluster, observed, instance.as_ref());
        next.journal
            .finish_one_with(subject, request.operation, failed, &details, now);
    }
}

/// How things stand before a change: who is the primary, and up to where the one that is to be it has come.
fn standing(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    to: Option<&InstanceName>,
) -> Details {
    let primary = observed.primary(&status.first(&cluster.name));
    let mut told = vec![(Field::FormerPrimary, Datum::Text(primary.to_string()))];
    told.extend(to.map_or_else(Vec::new, |to| wal::reached(observed, to)));
    told
}

/// The same where nobody was elected. Nothing is lost while the same one serves.
fn unchanged(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    to: Option<&InstanceName>,
) -> Details {
    let mut told = standing(status, cluster, observed, to);
    let holder = observed.holder(&status.first(&cluster.name));
    if observed.serving_primary() == Some(&holder) {
        told.push((Field::LostBytes, Datum::Number(0)));
    }
    told
}

/// Which instance is to be primary, or why none can be.
fn target(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    (kind, named): (Kind, Option<&str>),
) -> Result<InstanceName, String> {
    if let Some(running) = status.journal.running_change() {
        let to = running.instance.as_ref().map(InstanceName::as_str);
        let to = to.unwrap_or("another instance");
        return Err(format!(
            "the primary is being changed to {to} already, by operation {}; ask again when that is over",
            running.id
        ));
    }
    if !status.was_ready() {
        return Err("the cluster has not been ready yet".to_owned());
    }
    if let Some(reason) = restore::in_the_way(status) {
        return Err(reason);
    }
    let others = candidates(status, cluster, observed);
    let Some(named) = named else {
        let fit = others
            .iter()
            .filter(|one| judge(cluster, observed, kind, one).is_ok());
        // Without a primary whoever is fit has received as much as the others.
        let are_equal = kind == Kind::FailoverCluster;
        return fit
            .min_by_key(|one| are_equal && !observed.prefers(one))
            .cloned()
            .ok_or_else(|| "no replica can take over now".to_owned());
    };
    let primary = observed.primary(&status.first(&cluster.name));
    if primary.as_str() == named {
        return Err(format!("{named} is the primary already"));
    }
    let Some(target) = others.iter().find(|one| one.as_str() == named) else {
        let names: Vec<&str> = others.iter().map(InstanceName::as_str).collect();
        let there = if names.is_empty() {
            "the cluster has no replica".to_owned()
        } else {
            format!("its replicas are {}", names.join(", "))
        };
        return Err(format!("{} has no replica {named}: {there}", cluster.name));
    };
    judge(cluster, observed, kind, target)?;
    Ok(target.clone())
}

/// The instances besides the primary that stay, the fittest first: of those that are as near, one that is preferred.
fn candidates(status: &ClusterStatus, cluster: &Cluster, observed: &Observed) -> Vec<InstanceName> {
    let primary = observed.primary(&status.first(&cluster.name));
    let first = status.first(&cluster.name);
    let replicas = status.replicas.iter().filter(|known| !known.leaving);
    let mut all: Vec<InstanceName> = replicas.map(|known| known.name.clone()).collect();
    all.push(first);
    all.retain(|name| *name != primary);
    let behind = |name: &InstanceName| observed.agent(name).map_or(u64::MAX, |one| one.lag_bytes);
    all.sort_by_key(|name| (behind(name), !observed.prefers(name), name.clone()));
    all
}

/// Whether this replica can take over, or why not.
fn judge(
    cluster: &Cluster,
    observed: &Observed,
    kind: Kind,
    target: &InstanceName,
) -> Result<(), String> {
    let Some(agent) = observed.agent(target) else {
        return Err(format!(
            "{target} is not there or its agent does not answer; see pgo show cluster {}",
            cluster.name
        ));
    };
    if agent.phase != AgentPhase::Running || agent.role != Some(Role::Replica) {
        return Err(format!("{target} does not run as a replica"));
    }
    if kind == Kind::FailoverCluster {
        let better = observed.agents.keys().find(|other| {
            let other = observed.agent(other);
            other.is_some_and(|other| {
                other.role == Some(Role::Replica)
                    && (other.timeline, other.received) > (agent.timeline, agent.received)
            })
        });
        return match better {
            Some(better) => Err(format!(
                "{better} has received more than {target}, which would be lost; take {better}"
            )),
            None => Ok(()),
        };
    }
    if !agent.streaming {
        return Err(format!("{target} does not stream from the primary"));
    }
    if agent.lag_bytes >= MOST_LAG {
        return Err(format!(
            "{target} lags {} bytes behind the primary; less than {MOST_LAG} can be replayed in a moment",
            agent.lag_bytes
        ));
    }
    Ok(())
}

/// Ends a change that an agent refuses, that took too long, or that nothing is left of to do.
fn conclude(next: &mut ClusterStatus, cluster: &Cluster, observed: &Observed, now: Timestamp) {
    let is_elected = next.promotion.is_some();
    let Some(running) = next.journal.running_change().filter(|_| !is_elected) else {
        return;
    };
    let (id, kind, lasts) = (
        running.id,
        running.kind,
        now.duration_since(running.started),
    );
    let unwilling = observed.unwilling.as_ref();
    let unwilling = unwilling.filter(|answer| {
        answer.operation == id && now.duration_since(answer.since) >= UNWILLING_GRACE
    });
    let deadline = match kind {
        Kind::SwitchoverCluster => SWITCHOVER_DEADLINE,
        _ => FAILOVER_DEADLINE,
    };
    let cause = match (unwilling, observed.serving_primary()) {
        (Some(answer), _) => answer.reason.clone(),
        // Another one that serves is a change that the Lease is about to show.
        (None, Some(primary))
            if kind == Kind::FailoverCluster
                && *primary == observed.holder(&next.first(&cluster.name)) =>
        {
            format!("{primary} serves again; nothing was changed")
        }
        (None, _) if lasts >= deadline => overdue(running, observed, cluster),
        _ => return,
    };
    let failed = (Outcome::Failed, Some(cause));
    let details = unchanged(next, cluster, observed, running.instance.as_ref());
    next.journal
        .finish_one_with(cluster.subject(), id, failed, &details, now);
}

fn overdue(running: &Operation, observed: &Observed, cluster: &Cluster) -> String {
    let to = running.instance.as_ref().map(InstanceName::as_str);
    let to = to.unwrap_or("no replica");
    match (running.kind, observed.serving_primary()) {
        (Kind::SwitchoverCluster, Some(primary)) => format!(
            "{to} has not taken over within {} s; {primary} serves",
            SWITCHOVER_DEADLINE.as_secs()
        ),
        (Kind::SwitchoverCluster, None) => format!(
            "{to} has not taken over within {} s, and no instance serves; see pgo show cluster {}",
            SWITCHOVER_DEADLINE.as_secs(),
            cluster.name
        ),
        _ => format!(
            "{to} has not taken over within {} s: too few of the others answer, or one of them has more than it; it takes \
             over as soon as enough of them answer",
            FAILOVER_DEADLINE.as_secs()
        ),
    }
}

/// The cluster goes: what is under way ends with it.
pub(crate) fn break_off(next: &mut ClusterStatus, cluster: &Cluster, now: Timestamp) {
    takeover::break_off(next, cluster.subject(), now);
    if let Some(running) = next.journal.running_change() {
        let id = running.id;
        let cause = "the cluster was deleted before".to_owned();
        let failed = (Outcome::Failed, Some(cause));
        next.journal.finish_one(cluster.subject(), id, failed, now);
    }
}

/// What is to be asked of the agents.
pub(crate) fn steps(
    plan: &mut Plan,
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
) {
    if status.promotion.is_some() {
        plan.waiting_for = Some("the new primary to take writes");
    } else if let Some(running) = status.journal.running_change()
        && let Some(to) = running.instance.clone()
    {
        let operation = running.id;
        let primary = observed.serving_primary().cloned();
        match (running.kind, primary) {
            // It serves already; the Lease is about to show that.
            (_, Some(primary)) if primary == to => {}
            (Kind::SwitchoverCluster, Some(primary)) => plan.steps.push(Step::Switchover {
                operation,
                primary,
                to,
            }),
            (Kind::FailoverCluster, None) => plan.steps.push(Step::Failover { operation, to }),
            _ => {}
        }
        plan.waiting_for = Some("another instance to be primary");
    }
    let mut waiting = cluster.failover.iter();
    if waiting.any(|request| !status.journal.knows(request.operation)) {
        plan.waiting_for = Some("the agent of the primary to be heard");
    }
}
