//! The repository: claim, Service and Deployment. Its claim stays when it goes.

use crate::{
    Backup, ClaimPhase, Cluster, ClusterStatus, Desired, Fixture, Observed, Plan, Step, StorageKind,
};

/// Makes what is not there as it should be, and removes what is not wanted.
pub(super) fn steps(
    plan: &mut Plan,
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
) {
    match cluster.desired_repository(status) {
        Some(desired) => make(plan, status, &desired, observed),
        None => remove(plan, observed),
    }
}

fn make(plan: &mut Plan, status: &ClusterStatus, desired: &Desired, observed: &Observed) {
    let repository = &observed.repository;
    let service_form = Some(desired.repository_service_form());
    if !observed.has(&[Fixture::RepositoryService]) || repository.service_form != service_form {
        plan.steps.push(Step::MakeRepositoryService);
    }
    let Some(backups) = &desired.backups else {
        return;
    };
    let secret = (Backup::Secret, desired.repository_secret_name());
    if backups.places.bucket().is_some() && !observed.backups.contains_key(&secret) {
        plan.steps.push(Step::MakeBucketKey);
    }
    let present = observed.fixtures.get(&Fixture::Repository);
    if backups.storage.kind != StorageKind::EmptyDir {
        match &repository.claim {
            None => plan.steps.push(Step::MakeRepositoryClaim),
            Some(claim) if claim.terminating => {
                plan.waiting_for = Some("the repository's claim, which is being removed");
                return;
            }
            // No data goes with it: it has no volume.
            Some(claim) if waits_in_vain(desired, observed) => {
                plan.steps.extend(present.map(|uid| Step::RemoveFixture {
                    fixture: Fixture::Repository,
                    uid: uid.clone(),
                }));
                plan.steps.push(Step::RemoveBackup {
                    backup: Backup::Claim,
                    name: desired.repository_claim_name(),
                    uid: claim.uid.clone(),
                });
                plan.waiting_for = Some("the repository's claim, which is being removed");
                return;
            }
            Some(_) => {}
        }
    }
    let is_as_wanted = repository.form == Some(desired.repository_form());
    // A pod that is made anew interrupts what it does.
    let works = status.backup.is_some() || status.restoring().is_some();
    let is_at_work = present.is_some() && works;
    if !(present.is_some() && is_as_wanted || is_at_work) {
        plan.steps.push(Step::MakeRepository);
    }
}

fn waits_in_vain(desired: &Desired, observed: &Observed) -> bool {
    let wanted = desired.repository_claim_form();
    observed.repository.claim.as_ref().is_some_and(|claim| {
        claim.phase == ClaimPhase::Pending
            && !claim.has_volume
            && claim
                .form
                .as_ref()
                .is_some_and(|made| made.differs(&wanted))
    })
}

/// While an instance archives to it, it stays: WAL would pile up on that one's volume.
fn remove(plan: &mut Plan, observed: &Observed) {
    let mut pods = observed.pods.values();
    if pods.any(|pod| pod.form.as_ref().is_some_and(crate::Form::archives)) {
        return;
    }
    for fixture in [Fixture::Repository, Fixture::RepositoryService] {
        let present = observed.fixtures.get(&fixture);
        plan.steps.extend(present.map(|uid| Step::RemoveFixture {
            fixture,
            uid: uid.clone(),
        }));
    }
}
