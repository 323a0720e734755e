//! What is to be done for the replicas.

use std::collections::BTreeSet;

use super::{Replica, ReplicaStatus, keeps_votes, needed};
use crate::{Cluster, ClusterStatus, Observed, Plan, Step, plan, restore};

/// What is to be done for the replicas. Those that go do so also where nobody understands what is wanted of the cluster.
pub(crate) fn steps(
    plan: &mut Plan,
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
) {
    for known in &status.replicas {
        let object = cluster
            .replicas
            .iter()
            .find(|replica| replica.name == known.name);
        if known.leaving && keeps_votes(status, observed) && remains(known, observed) {
            plan.waiting_for = Some("a primary that can do without this replica's vote");
            continue;
        }
        if known.leaving {
            if observed.primary(&status.first(&cluster.name)) == known.name {
                plan.waiting_for = Some("another instance to be primary, so that this one can go");
            } else {
                remove(plan, known, object, observed);
            }
            continue;
        }
        let waits = object.is_some_and(|object| object.deleting);
        if waits && keeps_votes(status, observed) {
            plan.waiting_for = Some("a primary that can do without this replica's vote");
        } else if waits && needed::refusal(status, cluster, &known.name).is_some() {
            plan.waiting_for = Some("a cluster that can do without this replica");
        }
        let Some(object) = object else {
            if known.uid.is_empty() && cluster.desired.is_ok() {
                plan.steps.push(Step::MakeReplica(known.name.clone()));
            }
            continue;
        };
        if !object.finalizer && !object.deleting {
            plan.steps.push(Step::HoldReplica {
                name: object.name.clone(),
                uid: object.uid.clone(),
            });
        }
        if restore::holds_instances(status) {
            continue;
        }
        if let Some(desired) = cluster.desired_of(status, &known.name) {
            let role = observed.role_of((status, &cluster.name), &known.name);
            let of = (&known.name, role);
            plan::instance(plan, &desired, observed, of, !known.joined);
        }
    }
    release_strangers(plan, status, cluster, observed);
    forget_slots(plan, status, cluster, observed);
}

/// Whether a replica that goes could come back and vote.
fn remains(known: &ReplicaStatus, observed: &Observed) -> bool {
    let runs = observed.pods.get(&known.name);
    let data = observed.claims.get(&known.name).filter(|_| known.data);
    runs.is_some_and(|pod| !pod.terminating) || data.is_some_and(|claim| !claim.terminating)
}

/// Pgreplicas that were removed before anybody has seen them are held by nothing but our finalizer.
fn release_strangers(
    plan: &mut Plan,
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
) {
    let is_known = |replica: &Replica| {
        let mut known = status.replicas.iter();
        known.any(|known| known.name == replica.name) || observed.pods.contains_key(&replica.name)
    };
    let strangers = cluster.replicas.iter();
    let strangers = strangers.filter(|one| one.deleting && one.finalizer && !is_known(one));
    plan.steps.extend(strangers.map(|one| Step::ReleaseReplica {
        name: one.name.clone(),
        uid: one.uid.clone(),
    }));
}

/// A replica goes: pod, data, then the request itself.
fn remove(plan: &mut Plan, known: &ReplicaStatus, object: Option<&Replica>, observed: &Observed) {
    let ours = object.filter(|object| object.uid == known.uid);
    if let Some(object) = ours.filter(|object| !object.deleting) {
        plan.steps.push(Step::RemoveReplica {
            name: object.name.clone(),
            uid: object.uid.clone(),
        });
    }
    if let Some(pod) = observed.pods.get(&known.name) {
        if !pod.terminating {
            plan.steps.push(Step::RemovePod {
                instance: known.name.clone(),
                uid: pod.uid.clone(),
            });
        }
        plan.waiting_for = Some("a replica to stop");
        return;
    }
    if let Some(claim) = observed.claims.get(&known.name).filter(|_| known.data) {
        if !claim.terminating {
            plan.steps.push(Step::RemoveClaim {
                instance: known.name.clone(),
                uid: claim.uid.clone(),
            });
        }
        plan.waiting_for = Some("the volume of a replica to be removed");
        return;
    }
    if let Some(object) = ours.filter(|object| object.finalizer) {
        plan.steps.push(Step::ReleaseReplica {
            name: object.name.clone(),
            uid: object.uid.clone(),
        });
    }
}

/// WAL is kept for no instance that does not belong to the cluster.
fn forget_slots(plan: &mut Plan, status: &ClusterStatus, cluster: &Cluster, observed: &Observed) {
    let Some((primary, agent)) = observed
        .serving_primary()
        .and_then(|primary| Some((primary, observed.agent(primary)?)))
    else {
        return;
    };
    let mut kept: BTreeSet<String> = status
        .replicas
        .iter()
        .filter(|known| !known.leaving || observed.pods.contains_key(&known.name))
        .map(|known| known.name.slot())
        .collect();
    kept.insert(status.first(&cluster.name).slot());
    let strangers = agent
        .followers
        .iter()
        .filter(|follower| !kept.contains(&follower.slot) && !follower.streaming);
    plan.steps.extend(strangers.map(|follower| Step::DropSlot {
        primary: primary.clone(),
        slot: follower.slot.clone(),
    }));
}
