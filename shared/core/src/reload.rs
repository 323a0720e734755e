//! Having PostgreSQL read its configuration anew, on every instance of a cluster.
//!
//! Reading twice is harmless, so an operation that runs is all there is to remember: whoever reconciles next asks those again
//! whose answers it has not heard.
//!
//! ```text
//! ReloadRequest ─► ReloadCluster runs ─► steps: ask each instance ─► answers ─► completed, or failed: the first reason
//! ```

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use pgo_ids::{InstanceName, OperationId};

use crate::{
    AgentPhase, Cluster, ClusterStatus, Kind, Observed, Operation, Outcome, Plan, Step, journal::Of,
};

/// A request to have the configuration read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadRequest {
    /// The request's id.
    pub operation: OperationId,
    /// Who asked.
    pub actor: String,
}

/// What the agents answered that were asked for a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloads {
    /// The operation they were asked for.
    pub operation: OperationId,
    /// By instance: the settings that wait for a restart, or why nothing was read.
    pub answers: BTreeMap<InstanceName, Result<Vec<String>, String>>,
}

/// How long all answers may take: an agent has a few seconds, and one that has just lost its connection is called again.
const DEADLINE: SignedDuration = SignedDuration::from_secs(30);

const RELOAD: Of<'static> = (Kind::ReloadCluster, None);

/// Begins what is asked for, and ends what is answered.
pub(crate) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    for request in &cluster.reloads {
        if next.journal.knows(request.operation) {
            continue;
        }
        if !cluster.has_room(&next.journal) {
            break;
        }
        begin(next, cluster, request, now);
    }
    conclude(next, cluster, observed, now);
}

fn begin(next: &mut ClusterStatus, cluster: &Cluster, request: &ReloadRequest, now: Timestamp) {
    let operation = Operation::begun(
        RELOAD,
        request.operation,
        &request.actor,
        cluster.generation,
        now,
    );
    let subject = cluster.subject();
    if next.was_ready() {
        let cause = "it was asked for".to_owned();
        next.journal.begin(subject, operation, Some(cause));
        return;
    }
    let cause = "the cluster has not been ready yet; it reads its configuration when it starts";
    next.journal.refuse(subject, operation, cause, now);
}

/// Whether an instance is to be asked: one whose server does not run reads everything when it starts.
fn is_asked(observed: &Observed, instance: &InstanceName) -> bool {
    let pod = observed.pods.get(instance);
    let agent = observed.agent(instance);
    pod.is_some_and(|pod| !pod.terminating)
        && agent.is_none_or(|agent| agent.phase == AgentPhase::Running)
}

/// The instances whose answers are not there.
fn unanswered(operation: OperationId, observed: &Observed) -> impl Iterator<Item = &InstanceName> {
    let answers = observed.reloads.as_ref();
    let answers = answers.filter(|answers| answers.operation == operation);
    let has = move |instance: &InstanceName| {
        answers.is_some_and(|answers| answers.answers.contains_key(instance))
    };
    let all = observed.pods.keys();
    all.filter(move |instance| is_asked(observed, instance) && !has(instance))
}

fn conclude(next: &mut ClusterStatus, cluster: &Cluster, observed: &Observed, now: Timestamp) {
    let Some(running) = next.journal.running_of(RELOAD) else {
        return;
    };
    let (operation, lasts) = (running.id, now.duration_since(running.started));
    let missing: Vec<&str> = unanswered(operation, observed)
        .map(InstanceName::as_str)
        .collect();
    let answers = observed.reloads.as_ref();
    let answers = answers.filter(|answers| answers.operation == operation);
    let primary = observed.serving_primary();
    let has_primary = answers
        .zip(primary)
        .is_some_and(|(answers, primary)| answers.answers.contains_key(primary));
    let how = match answers {
        Some(answers) if missing.is_empty() && has_primary => verdict(answers),
        _ if lasts < DEADLINE => return,
        _ if primary.is_none() => {
            let cause = "no instance serves as the primary; the others were asked, it reads its configuration when it starts";
            (Outcome::Failed, Some(cause.to_owned()))
        }
        _ => {
            let cause = format!(
                "no answer from {} within {} s; the others were asked",
                missing.join(", "),
                DEADLINE.as_secs()
            );
            (Outcome::Failed, Some(cause))
        }
    };
    next.journal.finish(cluster.subject(), RELOAD, how, now);
}

/// What all answers together say.
fn verdict(answers: &Reloads) -> (Outcome, Option<String>) {
    let failed = answers.answers.iter().filter_map(|(instance, answer)| {
        let why = answer.as_ref().err()?;
        Some(format!("{instance}: {why}"))
    });
    let failed: Vec<String> = failed.collect();
    if !failed.is_empty() {
        return (Outcome::Failed, Some(failed.join("; ")));
    }
    let pending = answers.answers.iter().filter_map(|(instance, answer)| {
        let names = answer.as_ref().ok().filter(|names| !names.is_empty())?;
        Some(format!("{instance} ({})", names.join(", ")))
    });
    let pending: Vec<String> = pending.collect();
    let cause = (!pending.is_empty())
        .then(|| format!("these settings wait for a restart: {}", pending.join(", ")));
    (Outcome::Completed, cause)
}

/// The cluster goes: what is under way ends with it.
pub(crate) fn break_off(next: &mut ClusterStatus, cluster: &Cluster, now: Timestamp) {
    let cause = "the cluster was deleted before".to_owned();
    let failed = (Outcome::Failed, Some(cause));
    next.journal.finish(cluster.subject(), RELOAD, failed, now);
}

/// Who is to be asked.
pub(crate) fn steps(plan: &mut Plan, status: &ClusterStatus, observed: &Observed) {
    let Some(running) = status.journal.running_of(RELOAD) else {
        return;
    };
    let operation = running.id;
    let heard = unanswered(operation, observed).filter(|one| observed.agent(one).is_some());
    plan.steps.extend(heard.map(|instance| Step::Reload {
        operation,
        instance: instance.clone(),
    }));
    plan.waiting_for = Some("the instances to read their configuration");
}
