//! What to do next, complete in itself: whoever executes a [`Step`] has no choice left to make.

mod instance;
mod lease;
mod removal;
mod wishes;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use pgo_ids::{ClusterName, InstanceName, OperationId};

use crate::{
    AddressFamily, Backup, Cluster, ClusterStatus, DatabaseHost, Desired, DumpKind, DumpOrder,
    Fixture, Form, Image, JobOrder, Kind, Observed, PolicyPlace, Role, Storage, UserSecret, backup,
    cancel, crash, deletion::unrecorded, drill, dump, failover, job, password, policy, protection,
    reload, replicas, restart, restore, upgrade,
};
pub(crate) use instance::instance;
use instance::instances;
pub use lease::FirstLease;
pub(crate) use removal::{Leftover, leftovers};

/// The agents' certificate is made anew this long before it ends: a tenth of its year, so that an operator that was
/// away for weeks is still in time.
pub(crate) const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(24 * 36);

/// One change, idempotent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Put the finalizer on the Pgcluster.
    AddFinalizer,
    /// Make a user Secret with a password drawn for it.
    MakeUserSecret(UserSecret),
    /// Make a user Secret with the password that the same user of another cluster has.
    CopyUserSecret {
        /// Which one.
        which: UserSecret,
        /// The other cluster.
        from: ClusterName,
    },
    /// Make or renew the certificate of the agents.
    MakeCertificate,
    /// Make ServiceAccount, Role and RoleBinding of the agents.
    MakeAccess,
    /// Make the Lease. What it had recorded before it was lost is not in it.
    MakeLease(FirstLease),
    /// Say in the Lease whether instances may take over by themselves.
    SetAutofail(bool),
    /// Say in the Lease for how many replicas' answers commits are to wait.
    SetSynchronous(u32),
    /// Say in the Lease whether they go on without those that are missing.
    SetSyncFallback(bool),
    /// Say in the Lease which instances become primary rather than others that are as far.
    SetPreferred(BTreeSet<InstanceName>),
    /// Make the Service of the primary, or bring the one there is to what is wanted.
    MakeService,
    /// Make its EndpointSlice, empty, for addresses of this family.
    MakeEndpointSlice(AddressFamily),
    /// Make the claim of an instance.
    MakeClaim(InstanceName),
    /// Have exactly this claim ask for a larger volume.
    GrowClaim {
        /// Its instance.
        instance: InstanceName,
        /// Its uid.
        uid: String,
        /// The size, as a quantity.
        size: String,
        /// What it is made for then.
        form: Form,
    },
    /// Say on exactly this claim since when its instance is the first one of the cluster.
    MarkClaim {
        /// Its instance.
        instance: InstanceName,
        /// Its uid.
        uid: String,
        /// Since when.
        since: Timestamp,
    },
    /// Make the pod of an instance.
    MakePod {
        /// The instance.
        instance: InstanceName,
        /// What it is to be.
        role: Role,
    },
    /// Say on exactly this pod what the instance is, so that the replicas' Service leads to it or does not.
    LabelPod {
        /// Its instance.
        instance: InstanceName,
        /// Its uid.
        uid: String,
        /// What it is.
        role: Role,
    },
    /// Make the Service of the replicas, or bring the one there is to what is wanted.
    MakeReplicaService,
    /// Make a Pgreplica.
    MakeReplica(InstanceName),
    /// Put the finalizer on exactly this Pgreplica.
    HoldReplica {
        /// Its name.
        name: InstanceName,
        /// Its uid.
        uid: String,
    },
    /// Let exactly this Pgreplica go.
    ReleaseReplica {
        /// Its name.
        name: InstanceName,
        /// Its uid.
        uid: String,
    },
    /// Ask for the deletion of exactly this Pgreplica; the finalizer holds it.
    RemoveReplica {
        /// Its name.
        name: InstanceName,
        /// Its uid.
        uid: String,
    },
    /// Have the primary keep no WAL for an instance that does not belong to the cluster.
    DropSlot {
        /// The primary.
        primary: InstanceName,
        /// Name of the slot.
        slot: String,
    },
    /// Have the primary give up in order, for this instance.
    Switchover {
        /// The operation that it is for.
        operation: OperationId,
        /// The primary.
        primary: InstanceName,
        /// Who is to take over.
        to: InstanceName,
    },
    /// Have this instance take over from a primary that is gone.
    Failover {
        /// The operation that it is for.
        operation: OperationId,
        /// Who is to take over.
        to: InstanceName,
    },
    /// Have an instance read its configuration.
    Reload {
        /// The operation that it is for.
        operation: OperationId,
        /// The instance.
        instance: InstanceName,
    },
    /// Have an instance restart the server that was started then.
    Restart {
        /// The operation that it is for.
        operation: OperationId,
        /// The instance.
        instance: InstanceName,
        /// When its server was started.
        started: Timestamp,
    },
    /// Have an instance apply a policy, on the server that was started then.
    ApplyPolicy {
        /// The operation that it is for.
        operation: OperationId,
        /// Name of the policy.
        policy: String,
        /// Where and as whom.
        place: PolicyPlace,
        /// The instance.
        instance: InstanceName,
        /// When its server was started.
        started: Timestamp,
    },
    /// Make the claim of the repository of backups.
    MakeRepositoryClaim,
    /// Make its Service, or bring the one there is to what is wanted.
    MakeRepositoryService,
    /// The Secret with the key of the bucket that its backups are in, as PGO's own has it.
    MakeBucketKey,
    /// Make its Deployment, or bring the one there is to what is wanted.
    MakeRepository,
    /// Have the repository made ready for a database.
    CreateStanza {
        /// The operation that it is for.
        operation: OperationId,
        /// The instance that serves.
        primary: DatabaseHost,
    },
    /// Have the repository look whether its backups reach the target of a restore.
    CheckRestore {
        /// The operation that it is for.
        operation: OperationId,
        /// The instance that serves, where one does: what it has written is archived before.
        primary: Option<DatabaseHost>,
        /// Arguments for pgBackRest.
        options: Vec<String>,
    },
    /// Have the repository make a backup.
    Backup {
        /// The operation that it is for.
        operation: OperationId,
        /// The instance that serves.
        primary: DatabaseHost,
        /// The instance that files are copied from instead.
        replica: Option<DatabaseHost>,
        /// Arguments for pgBackRest.
        options: Vec<String>,
    },
    /// Have the repository stop what it does for an operation.
    CancelWork {
        /// The operation.
        operation: OperationId,
    },
    /// Make the claim for dumps.
    MakeDumpClaim {
        /// Its name.
        claim: String,
        /// What it is to hold.
        kind: DumpKind,
        /// What it is made of.
        storage: Storage,
    },
    /// Make the claim that a backup is restored to, for a cluster of its name.
    MakeRestoredClaim {
        /// Its name.
        claim: ClusterName,
    },
    /// Make the pod that makes or restores a dump.
    MakeDumpPod {
        /// What it is to do.
        order: DumpOrder,
        /// The claim of its volume.
        claim: String,
    },
    /// Remove exactly this pod that made or restored a dump.
    RemoveDumpPod {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Make the pod for a benchmark, or for a load.
    MakeJobPod {
        /// What it is to do.
        order: JobOrder,
    },
    /// Remove exactly this pod for a benchmark, or for a load.
    RemoveJobPod {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Have this primary keep its place when its pod ends, which is removed next.
    Stay(InstanceName),
    /// Remove exactly this pod.
    RemovePod {
        /// Its instance.
        instance: InstanceName,
        /// Its uid.
        uid: String,
    },
    /// Make the pod that asks an image for its version.
    MakeProbe {
        /// The image.
        image: Image,
        /// Id of the upgrade.
        operation: OperationId,
        /// Major version that the instances run: an image may hold several.
        series: String,
        /// The node where the image will be needed most.
        node: Option<String>,
    },
    /// Remove exactly this pod that asked.
    RemoveProbe {
        /// Its uid.
        uid: String,
    },
    /// Make the pod in which a backup is tried.
    MakeDrill {
        /// The operation that it is for.
        operation: OperationId,
        /// pgBackRest's name for the backup.
        backup: String,
    },
    /// Remove exactly this pod in which one was tried.
    RemoveDrill {
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
    /// Remove exactly this Secret with a user's password.
    RemoveUserSecret {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Remove exactly this claim or Secret with backups.
    RemoveBackup {
        /// What it is.
        backup: Backup,
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Remove exactly this fixture.
    RemoveFixture {
        /// Which one.
        fixture: Fixture,
        /// Its uid.
        uid: String,
    },
    /// Remove exactly this Pgtask.
    RemoveTask {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
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
    /// When more can be done, where that is known and nothing wakes before.
    pub look_at: Option<Timestamp>,
}

impl Plan {
    fn of(steps: Vec<Step>, waiting_for: Option<&'static str>) -> Self {
        Self {
            steps,
            waiting_for,
            look_at: None,
        }
    }
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
            ..Plan::default()
        };
    }
    let deletion = status.journal.newest(Kind::DeleteCluster);
    if cluster.is_to_go() || deletion.is_some() {
        return match deletion {
            Some(deletion) if unrecorded(status, cluster).is_none() => {
                let options = deletion.delete.unwrap_or_default();
                removal::plan(status, cluster, observed, options, now)
            }
            // Its beginning, or what was asked for besides, is not recorded yet.
            _ => Plan {
                waiting_for: Some("room for the events that tell of the deletion"),
                ..Plan::default()
            },
        };
    }
    let mut plan = Plan::default();
    if !observed.finalizer {
        plan.steps.push(Step::AddFinalizer);
    }
    labels(&mut plan, status, cluster, observed);
    failover::steps(&mut plan, status, cluster, observed);
    reload::steps(&mut plan, status, observed);
    restart::steps(&mut plan, status, cluster, observed);
    policy::steps(&mut plan, status, observed);
    cancel::steps(&mut plan, cluster, observed);
    if let Ok(desired) = &cluster.desired {
        if status.journal.newest(Kind::CreateCluster).is_none() {
            plan.waiting_for = Some("room for the event that tells of the creation");
            return plan;
        }
        // Without its passwords nothing of it is made.
        let Ok(secrets) = password::steps(desired, observed, status.was_ready()) else {
            plan.waiting_for = Some("the Secrets of the cluster that secretfrom names");
            return plan;
        };
        plan.steps.extend(secrets);
        fixtures(&mut plan, status, desired, observed, now);
        replica_service(&mut plan, status, desired, observed);
        restore::steps(&mut plan, status, cluster, observed);
        instances(&mut plan, status, cluster, observed);
        replicas::steps(&mut plan, status, cluster, observed);
        upgrade::steps(&mut plan, status, cluster, observed);
        crash::steps(&mut plan, status, cluster, observed);
        backup::steps(&mut plan, status, cluster, observed);
        drill::steps(&mut plan, status, cluster, observed, now);
        dump::steps(&mut plan, status, cluster, observed);
        job::steps(&mut plan, status, cluster, observed);
    } else {
        replicas::steps(&mut plan, status, cluster, observed);
    }
    protection::wait(&mut plan, status);
    plan
}

/// Pods say what their instances are, also where nobody understands what is wanted.
fn labels(plan: &mut Plan, status: &ClusterStatus, cluster: &Cluster, observed: &Observed) {
    let pods = observed.pods.iter().filter(|(_, pod)| !pod.terminating);
    let wrong = pods.filter_map(|(instance, pod)| {
        let role = observed.role_of((status, &cluster.name), instance);
        let is_right = pod.service.as_ref() == Some(&role.service(&cluster.name));
        (!is_right).then(|| Step::LabelPod {
            instance: instance.clone(),
            uid: pod.uid.clone(),
            role,
        })
    });
    plan.steps.extend(wrong);
}

fn fixtures(
    plan: &mut Plan,
    status: &ClusterStatus,
    desired: &Desired,
    observed: &Observed,
    now: Timestamp,
) {
    let steps = &mut plan.steps;
    // A new one that would end no later is none; it would be made again and again.
    let could_be_longer = |until| observed.authority_until.is_none_or(|end| until < end);
    let ends_soon = observed
        .certificate_until
        .is_none_or(|until| until.duration_since(now) < RENEW_BEFORE && could_be_longer(until));
    let is_as_wanted = observed.certificate_form == Some(desired.certificate_form());
    if ends_soon || !is_as_wanted || !observed.has(&[Fixture::Certificate]) {
        steps.push(Step::MakeCertificate);
    }
    if !observed.has(&Fixture::ACCESS) {
        steps.push(Step::MakeAccess);
    }
    if observed.has(&[Fixture::Lease]) {
        steps.extend(wishes::steps(desired, observed));
    } else {
        let lease = FirstLease::of(status, desired, observed);
        steps.push(Step::MakeLease(lease));
    }
    let is_as_wanted = observed.service_form == Some(desired.service_form());
    if !(is_as_wanted && observed.has(&[Fixture::Service])) {
        steps.push(Step::MakeService);
    }
    steps.extend(endpoint_slice(status, desired, observed));
}

/// The EndpointSlice is for the family of addresses that pods have; it is made anew where it is for another one.
fn endpoint_slice(status: &ClusterStatus, desired: &Desired, observed: &Observed) -> Option<Step> {
    let primary = observed.primary(&status.first(&desired.name));
    let primary = observed.pods.get(&primary);
    let of_pods = primary.and_then(|pod| AddressFamily::of(pod.ip.as_deref()?));
    let family = of_pods.or(observed.family)?;
    let fixture = Fixture::EndpointSlice;
    match (observed.fixtures.get(&fixture), &observed.endpoints) {
        (Some(uid), Some(endpoints)) if of_pods.is_some() && endpoints.family != of_pods => {
            let uid = uid.clone();
            Some(Step::RemoveFixture { fixture, uid })
        }
        (Some(_), Some(_)) => None,
        _ => Some(Step::MakeEndpointSlice(family)),
    }
}

/// The Service of the replicas is there while any replica is.
fn replica_service(
    plan: &mut Plan,
    status: &ClusterStatus,
    desired: &Desired,
    observed: &Observed,
) {
    let fixture = Fixture::ReplicaService;
    let is_wanted = status.replicas.iter().any(|known| !known.leaving);
    let is_as_wanted = observed.replica_service_form == Some(desired.replica_service_form());
    match observed.fixtures.get(&fixture) {
        Some(uid) if !is_wanted => plan.steps.push(Step::RemoveFixture {
            fixture,
            uid: uid.clone(),
        }),
        present if is_wanted && !(present.is_some() && is_as_wanted) => {
            plan.steps.push(Step::MakeReplicaService);
        }
        _ => {}
    }
}
