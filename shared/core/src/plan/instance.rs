//! Claim and pod of one instance.

use pgo_ids::InstanceName;

use super::{Plan, Step};
use crate::{
    Cluster, ClusterStatus, Desired, Observed, PodPhase, Role, StorageKind, growth, restore,
};

/// The first instance.
pub(super) fn instances(
    plan: &mut Plan,
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
) {
    let first = status.first(&cluster.name);
    let is_held = restore::holds_instances(status);
    if let Some(desired) = cluster.desired_of(status, &first).filter(|_| !is_held) {
        let role = observed.role_of((status, &cluster.name), &first);
        instance(
            plan,
            &desired,
            observed,
            (&first, role),
            !status.was_ready(),
        );
    }
    if plan.waiting_for.is_none() && observed.serving_primary().is_none() {
        plan.waiting_for = Some("the primary to answer on its service");
    }
}

/// Claim and pod of an instance, for which this is wanted.
///
/// Where pods are `replaceable`, because nobody has used them yet, one that was made for something else makes way. So
/// does, at any time, a claim that waits in vain, and the pod that waits for it.
pub(crate) fn instance(
    plan: &mut Plan,
    desired: &Desired,
    observed: &Observed,
    (instance, role): (&InstanceName, Role),
    replaceable: bool,
) {
    let (claim_form, pod_form) = (desired.claim_form(), desired.pod_form());
    let (claim, pod) = (observed.claims.get(instance), observed.pods.get(instance));
    let in_vain = observed.waits_in_vain(instance, &claim_form);
    match claim {
        Some(claim) if claim.terminating => {
            plan.waiting_for = Some("a claim that is being removed");
            return;
        }
        Some(claim) if in_vain && pod.is_none() => {
            plan.steps.push(Step::RemoveClaim {
                instance: instance.clone(),
                uid: claim.uid.clone(),
            });
            plan.waiting_for = Some("a claim that is being removed");
            return;
        }
        // A pod that has its node runs without one, and goes on without.
        None if desired.storage.kind != StorageKind::EmptyDir
            && pod.is_none_or(|pod| pod.terminating || pod.node.is_none()) =>
        {
            plan.steps.push(Step::MakeClaim(instance.clone()));
        }
        Some(claim) => plan.steps.extend(growth::step(desired, instance, claim)),
        None => {}
    }
    match pod {
        None => plan.steps.push(Step::MakePod {
            instance: instance.clone(),
            role,
        }),
        Some(pod) if pod.terminating => {
            plan.waiting_for = Some("a pod that is being removed");
        }
        Some(pod)
            if pod.phase == PodPhase::Ended
                || in_vain
                || (replaceable && pod.is_outdated(&pod_form)) =>
        {
            plan.steps.push(Step::RemovePod {
                instance: instance.clone(),
                uid: pod.uid.clone(),
            });
        }
        Some(_) => {}
    }
}
