//! What is to be made, removed and asked for a restore.

use pgo_ids::InstanceName;

use super::{RestoreRun, RestoreStage, kept::mark};
use crate::{Cluster, ClusterStatus, Fixture, Observed, Plan, PodFacts, Step, backup, plan};

/// The pods of the instances besides the new one, whether they end or not.
pub(super) fn others<'a>(
    run: &RestoreRun,
    observed: &'a Observed,
) -> impl Iterator<Item = (&'a InstanceName, &'a PodFacts)> {
    let pods = observed.pods.iter();
    pods.filter(|(name, _)| **name != run.instance)
}

/// Whether no other instance is made now: a restore has them stop.
pub(crate) fn holds_instances(status: &ClusterStatus) -> bool {
    let run = status.restore.as_ref();
    run.is_some_and(|run| matches!(run.stage, RestoreStage::Stopping | RestoreStage::Giving))
}

/// What is to be done for the restore that goes on, and with what former ones have left.
pub(crate) fn steps(
    plan: &mut Plan,
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
) {
    remove_retired(plan, status, observed);
    plan.steps.extend(mark(status, observed));
    let Some(run) = &status.restore else {
        return;
    };
    match run.stage {
        RestoreStage::Checking => check(plan, cluster, observed, run),
        RestoreStage::Replaying => {
            make(plan, status, cluster, observed, run);
            plan.waiting_for = Some("the new instance to reach its target");
        }
        RestoreStage::Stopping => {
            make(plan, status, cluster, observed, run);
            stop(plan, status, cluster, observed, run);
            plan.waiting_for = Some("the other instances to stop");
        }
        RestoreStage::Giving => {
            make(plan, status, cluster, observed, run);
            give(plan, status, cluster, observed, run);
            plan.waiting_for = Some("the new instance to take writes");
        }
        RestoreStage::Clearing => clear(plan, run, observed),
    }
}

/// Has the repository look whether its backups reach the target, until it knows that.
fn check(plan: &mut Plan, cluster: &Cluster, observed: &Observed, run: &RestoreRun) {
    plan.waiting_for = Some("the repository to check its backups");
    let operation = run.order.operation;
    let Some(agent) = observed.repository.works() else {
        return;
    };
    let knows = agent.running.is_some() || agent.end_of(operation).is_some();
    if !run.begun && !knows {
        plan.steps.push(Step::CheckRestore {
            operation,
            primary: backup::primary(cluster, observed),
            options: run.order.options.clone(),
        });
    }
}

/// Claim and pod of the new instance.
fn make(
    plan: &mut Plan,
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    run: &RestoreRun,
) {
    if let Some(desired) = cluster.desired_of(status, &run.instance) {
        let role = observed.role_of((status, &cluster.name), &run.instance);
        plan::instance(plan, &desired, observed, (&run.instance, role), false);
    }
}

/// Removes the others: replicas first, so that none of them takes over from a primary that ends.
fn stop(
    plan: &mut Plan,
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    run: &RestoreRun,
) {
    let primary = observed.primary(&status.first(&cluster.name));
    let any_replica = others(run, observed).any(|(name, _)| *name != primary);
    let now = others(run, observed).filter(|(name, _)| !any_replica || **name != primary);
    remove(plan, now);
}

fn remove<'a>(plan: &mut Plan, pods: impl Iterator<Item = (&'a InstanceName, &'a PodFacts)>) {
    let here = pods.filter(|(_, pod)| !pod.terminating);
    plan.steps
        .extend(here.map(|(instance, pod)| Step::RemovePod {
            instance: instance.clone(),
            uid: pod.uid.clone(),
        }));
}

/// The Lease goes that is not the new instance's, once nobody else is there who could go by it; that there is one again is seen
/// to with the other fixtures.
fn give(
    plan: &mut Plan,
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    run: &RestoreRun,
) {
    if others(run, observed).next().is_some() {
        // Another process may have made it that did not know yet.
        stop(plan, status, cluster, observed, run);
        return;
    }
    let is_given = observed.lease_restore == Some(run.order.operation);
    let lease = observed.fixtures.get(&Fixture::Lease);
    plan.steps
        .extend(lease.filter(|_| !is_given).map(|uid| Step::RemoveFixture {
            fixture: Fixture::Lease,
            uid: uid.clone(),
        }));
}

/// What was made for a restore that has failed goes: the pod, then the claim.
fn clear(plan: &mut Plan, run: &RestoreRun, observed: &Observed) {
    let instance = &run.instance;
    if let Some(pod) = observed.pods.get(instance) {
        remove(plan, [(instance, pod)].into_iter());
    } else if let Some(claim) = observed.claims.get(instance).filter(|one| !one.terminating) {
        plan.steps.push(Step::RemoveClaim {
            instance: instance.clone(),
            uid: claim.uid.clone(),
        });
    }
    plan.waiting_for = Some("what a failed restore has made to go");
}

/// No pod is to run on the data as it was before a restore: it would follow the cluster, and bring its data to what that has.
fn remove_retired(plan: &mut Plan, status: &ClusterStatus, observed: &Observed) {
    let retired = status.retired.iter();
    let pods = retired.filter_map(|name| observed.pods.get_key_value(name));
    remove(plan, pods);
}
