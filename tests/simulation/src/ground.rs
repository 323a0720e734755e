//! What the steps of a plan do to what is around a cluster.

use jiff::{SignedDuration, Timestamp};
use pgo_core::{
    ClaimFacts, ClaimPhase, ClaimSize, Cluster, ClusterStatus, Desired, Endpoints, Fixture, Found,
    Observed, PodFacts, PodPhase, ProbeFacts, Replica, Step, WantedReplica,
};

use crate::store::Ground;

/// Where a name and a uid come from: no two are the same.
fn uid(made: &mut u64) -> String {
    *made += 1;
    format!("o-{made}")
}

/// Carries out a step that makes or removes something around the cluster. Doing it again changes nothing, and what is not
/// exactly what was named stays.
pub fn carry_out(
    ground: &mut Ground,
    step: &Step,
    (cluster, status): (&Cluster, &ClusterStatus),
    made: &mut u64,
    now: Timestamp,
) {
    match step {
        Step::RemoveTask { name, uid } => {
            if ground.observed.tasks.get(name) == Some(uid) {
                ground.shaped().tasks.remove(name);
                ground.asked.remove(name);
            }
        }
        Step::RemovePod { .. }
        | Step::RemoveClaim { .. }
        | Step::RemoveUserSecret { .. }
        | Step::RemoveFixture { .. } => remove(ground.shaped(), step),
        Step::MakeClaim(instance) | Step::MakePod { instance, .. } => {
            if let Some(desired) = cluster.desired_of(status, instance) {
                make_instance(ground.shaped(), step, &desired, made);
            }
        }
        Step::MakeReplica(_)
        | Step::HoldReplica { .. }
        | Step::RemoveReplica { .. }
        | Step::ReleaseReplica { .. } => of_replica(&mut ground.replicas, step, cluster, made),
        Step::MakeProbe { .. } | Step::RemoveProbe { .. } => probe(ground.shaped(), step, made),
        Step::LabelPod {
            instance,
            uid,
            role,
        } => {
            let pods = &mut ground.shaped().pods;
            if let Some(pod) = pods.get_mut(instance).filter(|pod| pod.uid == *uid) {
                pod.service = Some(role.service(&cluster.name));
            }
        }
        // Nobody asks for larger volumes, restores or backups here.
        Step::GrowClaim { .. }
        | Step::MarkClaim { .. }
        | Step::MakeDrill { .. }
        | Step::RemoveDrill { .. } => {}
        _ => {
            if let Ok(desired) = &cluster.desired {
                make_fixture(ground.shaped(), step, desired, made, now);
            }
        }
    }
}

/// What a replica is wanted to be that says nothing itself.
pub fn wanted(desired: &Desired) -> WantedReplica {
    WantedReplica {
        storage: desired.storage.clone(),
        resources: desired.resources.clone(),
        node: None,
        image: desired.image.clone(),
        service_type: None,
    }
}

/// A Pgreplica is made, held, removed, let go: what nothing holds is gone when it is removed.
fn of_replica(replicas: &mut Vec<Replica>, step: &Step, cluster: &Cluster, made: &mut u64) {
    match (step, &cluster.desired) {
        (Step::MakeReplica(name), Ok(desired)) if replicas.iter().all(|one| one.name != *name) => {
            replicas.push(Replica {
                name: name.clone(),
                uid: uid(made),
                deleting: false,
                finalizer: true,
                derived: true,
                actor: String::new(),
                wanted: Ok(wanted(desired)),
            });
        }
        (Step::HoldReplica { uid, .. }, _) => {
            for one in replicas.iter_mut().filter(|one| one.uid == *uid) {
                one.finalizer = true;
            }
        }
        (Step::RemoveReplica { uid, .. }, _) => {
            for one in replicas.iter_mut().filter(|one| one.uid == *uid) {
                one.deleting = true;
            }
        }
        (Step::ReleaseReplica { uid, .. }, _) => {
            for one in replicas.iter_mut().filter(|one| one.uid == *uid) {
                one.finalizer = false;
            }
        }
        _ => {}
    }
    replicas.retain(|one| !one.deleting || one.finalizer);
}

/// The pod that asks an image; there is none that is called so.
fn probe(observed: &mut Observed, step: &Step, made: &mut u64) {
    match step {
        Step::MakeProbe {
            image, operation, ..
        } => {
            let version = image.0.rsplit_once(':').map(|(_, version)| version);
            let found = match version.filter(|version| *version != "none") {
                Some(version) => Found::Version(version.to_owned()),
                None => Found::Unusable("no such image".to_owned()),
            };
            observed.probe.get_or_insert_with(|| ProbeFacts {
                uid: uid(made),
                operation: operation.to_string(),
                terminating: false,
                found,
            });
        }
        Step::RemoveProbe { uid } => {
            observed.probe.take_if(|probe| probe.uid == *uid);
        }
        _ => {}
    }
}

fn make_fixture(
    observed: &mut Observed,
    step: &Step,
    desired: &Desired,
    made: &mut u64,
    now: Timestamp,
) {
    let fixtures: &[Fixture] = match step {
        Step::MakeUserSecret(which) => {
            let name = desired.secret_name(*which);
            observed
                .user_secrets
                .entry(name)
                .or_insert_with(|| uid(made));
            return;
        }
        Step::MakeCertificate => {
            observed.certificate_until = Some(now + SignedDuration::from_hours(24 * 365));
            observed.certificate_form = Some(desired.certificate_form());
            &[Fixture::Certificate]
        }
        Step::MakeAccess => &Fixture::ACCESS,
        Step::MakeLease(_) => {
            observed.autofail = Some(desired.autofail);
            observed.synchronous = Some(desired.synchronous);
            observed.sync_fallback = Some(desired.sync_fallback);
            &[Fixture::Lease]
        }
        Step::SetAutofail(autofail) => {
            observed.autofail = Some(*autofail);
            return;
        }
        Step::MakeReplicaService => {
            observed.replica_service_form = Some(desired.replica_service_form());
            &[Fixture::ReplicaService]
        }
        Step::MakeService => {
            observed.service_form = Some(desired.service_form());
            &[Fixture::Service]
        }
        Step::MakeEndpointSlice(family) => {
            observed.endpoints.get_or_insert(Endpoints {
                family: Some(*family),
                addresses: Vec::new(),
            });
            &[Fixture::EndpointSlice]
        }
        _ => return,
    };
    for fixture in fixtures {
        observed
            .fixtures
            .entry(*fixture)
            .or_insert_with(|| uid(made));
    }
}

fn make_instance(observed: &mut Observed, step: &Step, desired: &Desired, made: &mut u64) {
    match step {
        Step::MakeClaim(instance) => {
            observed
                .claims
                .entry(instance.clone())
                .or_insert_with(|| ClaimFacts {
                    uid: uid(made),
                    first_since: None,
                    phase: ClaimPhase::Pending,
                    has_volume: false,
                    form: Some(desired.claim_form()),
                    size: ClaimSize {
                        requested: desired.storage.size.clone(),
                        ..ClaimSize::default()
                    },
                    complaint: None,
                    terminating: false,
                });
        }
        Step::MakePod { instance, role } => {
            observed
                .pods
                .entry(instance.clone())
                .or_insert_with(|| PodFacts {
                    uid: uid(made),
                    phase: PodPhase::Pending,
                    node: None,
                    placed: None,
                    ip: None,
                    ready: false,
                    terminating: false,
                    unschedulable: None,
                    waiting: None,
                    complaint: None,
                    form: Some(desired.pod_form()),
                    service: Some(role.service(&desired.name)),
                });
        }
        _ => {}
    }
}

fn remove(observed: &mut Observed, step: &Step) {
    match step {
        Step::RemovePod { instance, uid } => {
            if let Some(pod) = observed.pods.get_mut(instance).filter(|p| p.uid == *uid) {
                pod.terminating = true;
            }
        }
        Step::RemoveClaim { instance, uid } => {
            observed
                .claims
                .retain(|name, claim| name != instance || claim.uid != *uid);
        }
        Step::RemoveUserSecret { name, uid } => {
            observed.user_secrets.retain(|n, u| n != name || u != uid);
        }
        Step::RemoveFixture { fixture, uid } => {
            if observed.fixtures.get(fixture) != Some(uid) {
                return;
            }
            observed.fixtures.remove(fixture);
            match fixture {
                Fixture::Service => observed.service_form = None,
                Fixture::ReplicaService => observed.replica_service_form = None,
                Fixture::EndpointSlice => observed.endpoints = None,
                Fixture::Certificate => observed.certificate_until = None,
                _ => {}
            }
        }
        _ => {}
    }
}
