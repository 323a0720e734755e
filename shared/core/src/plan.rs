//! What to do next, complete in itself: whoever executes a [`Step`] has no choice left to make.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use pgo_ids::InstanceName;

use crate::{
    Cluster, ClusterStatus, DeleteOptions, Desired, Kind, Observed, PodFacts, PodPhase,
    StorageKind, UserSecret,
};

/// The agents' certificate is made anew this long before it ends: a tenth of its year, so that an operator that was
/// away for weeks is still in time.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(24 * 36);

/// How long the last events of a removed cluster may stay in its own outbox before they are copied to a page in the
/// operator's namespace, so that a deletion never hangs on the event service.
const LAST_EVENTS_WAIT: SignedDuration = SignedDuration::from_secs(5);

/// One change, idempotent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Put the finalizer on the Pgcluster.
    AddFinalizer,
    /// Make a user Secret with a password drawn for it.
    MakeUserSecret(UserSecret),
    /// Make or renew the certificate of the agents.
    MakeCertificate,
    /// Make ServiceAccount, Role and RoleBinding of the agents.
    MakeAccess,
    /// Make the Lease, naming the first primary in term 1.
    MakeLease {
        /// The instance that may make the data directory.
        first: InstanceName,
    },
    /// Make the Service of the primary.
    MakeService,
    /// Make its EndpointSlice, empty.
    MakeEndpointSlice,
    /// Make the claim of an instance.
    MakeClaim(InstanceName),
    /// Make the pod of an instance.
    MakePod(InstanceName),
    /// Remove exactly this pod.
    RemovePod {
        /// Its instance.
        instance: InstanceName,
        /// Its uid.
        uid: String,
    },
    /// Ask for the deletion of the Pgcluster itself; the finalizer holds it.
    RemoveCluster,
    /// Remove exactly this claim, and its data with it.
    RemoveClaim {
        /// Its instance.
        instance: InstanceName,
        /// Its uid.
        uid: String,
    },
    /// Remove a user Secret.
    RemoveUserSecret(UserSecret),
    /// Remove Service, EndpointSlice, Lease, certificate and access.
    RemoveFixtures,
    /// Remove the cluster's Pgtasks.
    RemoveTasks,
    /// Copy the unconfirmed events to a page in the operator's namespace.
    CopyEvents,
    /// Let the Pgcluster go.
    RemoveFinalizer,
}

/// What to do now, and what is being waited for where that is not everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step>,
    /// What must happen by itself before more can be done.
    pub waiting_for: Option<&'static str>,
}

/// Brings what is there nearer to what is wanted.
///
/// `status` is the one that was written last: nothing is begun that is not recorded there.
#[must_use]
pub fn plan(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) -> Plan {
    if !cluster.is_held(status, observed) {
        // On an object that is being deleted no finalizer can be put: nothing was begun, nothing is to be done.
        let steps = if cluster.deleting {
            Vec::new()
        } else {
            vec![Step::AddFinalizer]
        };
        return Plan {
            steps,
            waiting_for: None,
        };
    }
    if let Some(deletion) = status.journal.newest(Kind::DeleteCluster) {
        return removal(
            status,
            cluster,
            observed,
            deletion.delete.unwrap_or_default(),
            now,
        );
    }
    if cluster.is_to_go() {
        // Its beginning is not recorded yet.
        return Plan {
            steps: Vec::new(),
            waiting_for: Some("room for the event that tells of the deletion"),
        };
    }
    let mut plan = Plan::default();
    if !observed.finalizer {
        plan.steps.push(Step::AddFinalizer);
    }
    if let Ok(desired) = &cluster.desired {
        if status.journal.newest(Kind::CreateCluster).is_none() {
            plan.waiting_for = Some("room for the event that tells of the creation");
            return plan;
        }
        fixtures(&mut plan, desired, observed, now);
        let replacing = (!status.was_ready()).then_some(cluster.generation);
        instances(&mut plan, desired, observed, replacing);
    }
    plan
}

fn fixtures(plan: &mut Plan, desired: &Desired, observed: &Observed, now: Timestamp) {
    let steps = &mut plan.steps;
    steps.extend(
        UserSecret::ALL
            .into_iter()
            .filter(|secret| !observed.user_secrets.contains(secret))
            .map(Step::MakeUserSecret),
    );
    if observed
        .certificate_until
        .is_none_or(|until| until.duration_since(now) < RENEW_BEFORE)
    {
        steps.push(Step::MakeCertificate);
    }
    if !observed.access {
        steps.push(Step::MakeAccess);
    }
    if !observed.lease
        && let Some(first) = desired.instances().into_iter().next()
    {
        steps.push(Step::MakeLease { first });
    }
    if !observed.service {
        steps.push(Step::MakeService);
    }
    if observed.endpoints.is_none() {
        steps.push(Step::MakeEndpointSlice);
    }
}

/// With a `replacing` generation, a pod that was made for another one makes way: nobody has used it yet.
fn instances(plan: &mut Plan, desired: &Desired, observed: &Observed, replacing: Option<i64>) {
    let outdated = |pod: &PodFacts| replacing.is_some_and(|generation| pod.is_outdated(generation));
    for instance in desired.instances() {
        if desired.storage.kind != StorageKind::EmptyDir {
            match observed.claims.get(&instance) {
                None => plan.steps.push(Step::MakeClaim(instance.clone())),
                Some(claim) if claim.terminating => {
                    plan.waiting_for = Some("a claim that is being removed");
                    continue;
                }
                Some(_) => {}
            }
        }
        match observed.pods.get(&instance) {
            None => plan.steps.push(Step::MakePod(instance)),
            Some(pod) if pod.terminating => {
                plan.waiting_for = Some("a pod that is being removed");
            }
            Some(pod) if pod.phase == PodPhase::Ended || outdated(pod) => {
                plan.steps.push(Step::RemovePod {
                    instance,
                    uid: pod.uid.clone(),
                });
            }
            Some(_) => {}
        }
    }
    if plan.waiting_for.is_none() && observed.serving_primary().is_none() {
        plan.waiting_for = Some("the primary to answer on its service");
    }
}

/// What a deletion still has to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Leftover {
    Pods,
    Data,
    Fixtures,
    Tasks,
}

/// What is left to remove, in the order it goes.
pub(crate) fn leftovers(observed: &Observed, options: DeleteOptions) -> BTreeSet<Leftover> {
    let data = options.data && !(observed.claims.is_empty() && observed.user_secrets.is_empty());
    let fixtures = observed.service
        || observed.lease
        || observed.access
        || observed.endpoints.is_some()
        || observed.certificate_until.is_some();
    [
        (Leftover::Pods, !observed.pods.is_empty()),
        (Leftover::Data, data),
        (Leftover::Fixtures, fixtures),
        (Leftover::Tasks, observed.tasks > 0),
    ]
    .into_iter()
    .filter_map(|(what, left)| left.then_some(what))
    .collect()
}

fn removal(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    options: DeleteOptions,
    now: Timestamp,
) -> Plan {
    let mut steps = Vec::new();
    if !cluster.deleting {
        if observed.finalizer {
            steps.push(Step::RemoveCluster);
        } else {
            steps.push(Step::AddFinalizer);
        }
    }
    let left = leftovers(observed, options);
    let waiting_for = match left.first() {
        Some(Leftover::Pods) => {
            steps.extend(
                observed
                    .pods
                    .iter()
                    .filter(|(_, pod)| !pod.terminating)
                    .map(|(instance, pod)| Step::RemovePod {
                        instance: instance.clone(),
                        uid: pod.uid.clone(),
                    }),
            );
            Some("the database to stop")
        }
        Some(Leftover::Data) => {
            let claims = observed
                .claims
                .iter()
                .filter(|(_, claim)| !claim.terminating);
            steps.extend(claims.map(|(instance, claim)| Step::RemoveClaim {
                instance: instance.clone(),
                uid: claim.uid.clone(),
            }));
            steps.extend(
                observed
                    .user_secrets
                    .iter()
                    .map(|secret| Step::RemoveUserSecret(*secret)),
            );
            Some("the volumes to be removed")
        }
        Some(Leftover::Fixtures) => {
            steps.push(Step::RemoveFixtures);
            None
        }
        Some(Leftover::Tasks) => {
            steps.push(Step::RemoveTasks);
            None
        }
        None => return last_events(status, cluster, steps, now),
    };
    Plan { steps, waiting_for }
}

fn last_events(
    status: &ClusterStatus,
    cluster: &Cluster,
    mut steps: Vec<Step>,
    now: Timestamp,
) -> Plan {
    let ended = status
        .journal
        .newest(Kind::DeleteCluster)
        .and_then(|deletion| deletion.finished);
    let Some(ended) = ended.filter(|_| cluster.deleting) else {
        return Plan {
            steps,
            waiting_for: Some("the deletion to be recorded"),
        };
    };
    if !status.journal.outbox.is_empty() {
        if now.duration_since(ended) < LAST_EVENTS_WAIT {
            return Plan {
                steps,
                waiting_for: Some("the event service to store the last events"),
            };
        }
        steps.push(Step::CopyEvents);
    }
    steps.push(Step::RemoveFinalizer);
    Plan {
        steps,
        waiting_for: None,
    }
}
